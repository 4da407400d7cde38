"""The body model: parity with a plain float64 reference, invariants, gradients, bad inputs.

Runs unchanged on TensorFlow, JAX and PyTorch (`make test-backends`).
"""

import copy
import pickle

import keras
import numpy as np
import pytest
from keras import ops
from scipy.spatial.transform import Rotation

import hmrlib
from hmrlib import skeleton
from hmrlib.body import compiled, model
from hmrlib.body.model import BodyInputError, pose_feature
from hmrlib.body.skinning import same_hemisphere
from tests.gradients import gradient, traced
from tests.reference import posed_body

pytestmark = pytest.mark.backends

LEFT_ELBOW, LEFT_WRIST = (skeleton.JOINT_NAMES.index(f"left_{j}") for j in ("elbow", "wrist"))


@pytest.fixture(scope="module")
def body():
    return hmrlib.load_body()


@pytest.fixture
def inputs(body):
    """Eight random bodies in random poses: betas (8, S), pose (8, 72)."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(8, body.num_betas)), rng.normal(scale=0.5, size=(8, 72))


def array(tensor):
    return np.asarray(ops.convert_to_numpy(tensor))


def volume(vertices, faces):
    """Enclosed volume by the divergence theorem."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return np.einsum("fc,fc->", a, np.cross(b, c)) / 6


@pytest.mark.parametrize("correctives", [True, False])
def test_lbs_is_the_papers_function(body, inputs, correctives):
    out = body(*inputs, correctives=correctives)
    for i, (betas, pose) in enumerate(zip(*inputs, strict=True)):
        vertices, joints = posed_body(body, betas, pose, correctives)
        np.testing.assert_allclose(array(out.vertices)[i], vertices, atol=5e-6)
        np.testing.assert_allclose(array(out.joints)[i], joints, atol=5e-6)


@pytest.mark.slow
@pytest.mark.parametrize("skinning", ["lbs", "dqs"])
def test_compiled_equals_plain(body, inputs, skinning):
    plain, fast = (
        body(*inputs, skinning=skinning, compiles=False),
        body.compile(skinning=skinning)(*inputs),
    )
    for a, b in zip(plain, fast, strict=True):
        np.testing.assert_allclose(array(a), array(b), atol=3e-6)


@pytest.mark.slow
def test_compiled_equals_plain_for_a_file_where_every_joint_moves_every_vertex(body, inputs):
    rng = np.random.default_rng(7)
    weights = (body.weights + 0.01 * rng.random(body.weights.shape)).astype("float32")
    posedirs = rng.normal(scale=1e-3, size=body.posedirs.shape).astype("float32")
    dense = {"weights": weights / weights.sum(axis=1, keepdims=True), "posedirs": posedirs}
    full = hmrlib.Body({**body.model, **dense})
    plain, fast = full(*inputs, compiles=False).vertices, full.compile()(*inputs).vertices
    np.testing.assert_allclose(array(plain), array(fast), atol=3e-6)


@pytest.mark.slow
@pytest.mark.parametrize("is_compiled", [False, True])
def test_a_long_motion_is_computed_some_frames_at_a_time(body, inputs, monkeypatch, is_compiled):
    expected = body(*inputs)
    monkeypatch.setattr("hmrlib.body.compiled.CHUNK", 3)
    forward = body.compile() if is_compiled else body
    for found, wanted in zip(forward(*inputs, np.ones(3)), expected, strict=True):
        np.testing.assert_allclose(array(found), array(wanted) + 1, atol=3e-6)
    for found, wanted in zip(forward(inputs[0], inputs[1][:1]), expected, strict=True):
        assert found.shape == wanted.shape
        np.testing.assert_allclose(array(found)[0], array(wanted)[0], atol=3e-6)


@pytest.mark.parametrize("skinning", ["lbs", "dqs"])
def test_the_rest_pose_is_the_shaped_template(body, inputs, skinning):
    out = body(inputs[0], np.zeros((8, 72)), skinning=skinning)
    shaped = body.v_template + np.einsum("bs,vcs->bvc", inputs[0], body.shapedirs)
    np.testing.assert_allclose(array(out.vertices), shaped, atol=3e-6)


def test_without_arguments_it_is_the_mean_body_at_rest(body):
    np.testing.assert_allclose(array(body().vertices)[0], body.v_template, atol=1e-6)


@pytest.mark.parametrize("skinning", ["lbs", "dqs"])
def test_a_rotation_of_the_root_moves_the_body_as_one(body, inputs, skinning):
    betas, pose = inputs
    turned = pose.copy()
    turn = Rotation.random(8, rng=np.random.default_rng(1))
    turned[:, :3] = (turn * Rotation.from_rotvec(pose[:, :3])).as_rotvec()
    shift = np.random.default_rng(2).normal(size=(8, 3))
    before = body(betas, pose, skinning=skinning)
    after = body(betas, turned, translation=shift, skinning=skinning)
    root = array(before.joints)[:, :1]
    for a, b in zip(before, after, strict=True):
        expected = np.einsum("bcd,bvd->bvc", turn.as_matrix(), array(a) - root)
        np.testing.assert_allclose(array(b), expected + root + shift[:, None], atol=5e-6)


@pytest.mark.parametrize("skinning", ["lbs", "dqs"])
def test_pose_as_axis_angle_or_as_matrices_gives_the_same(body, inputs, skinning):
    betas, pose = inputs
    matrices = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(8, 24, 3, 3)
    by_angles = body(betas, pose, skinning=skinning)
    for other in (matrices, pose.reshape(8, 24, 3)):
        by_other = body(betas, other, skinning=skinning)
        np.testing.assert_allclose(array(by_other.vertices), array(by_angles.vertices), atol=5e-6)


def test_a_mirrored_pose_gives_the_mirrored_joints_and_volume(body):
    pose = np.random.default_rng(3).normal(scale=0.4, size=(4, 24, 3))
    flipped = pose[:, skeleton.JOINT_MIRROR] * [1, -1, -1]
    one, other = body(None, pose), body(None, flipped)
    mirrored = array(one.joints)[:, skeleton.JOINT_MIRROR] * [-1, 1, 1]
    np.testing.assert_allclose(array(other.joints), mirrored, atol=5e-6)
    for a, b in zip(array(one.vertices), array(other.vertices), strict=True):
        assert volume(a, body.faces) == pytest.approx(volume(b, body.faces), rel=1e-4)


def test_fewer_betas_and_a_batch_of_one_are_filled_up(body, inputs):
    betas, pose = inputs
    few = np.zeros_like(betas)
    few[:, :4] = betas[:, :4]
    expected = array(body(few, pose).vertices)
    np.testing.assert_allclose(array(body(betas[:, :4], pose).vertices), expected, atol=3e-6)
    expected = array(body(np.repeat(betas[:1], 8, 0), pose).vertices)
    np.testing.assert_allclose(array(body(betas[0], pose).vertices), expected, atol=1e-6)


def limb(body, low=0.25, high=0.75):
    """Vertices of the left forearm between two fractions of its length."""
    joints = array(body().joints)[0]
    elbow, wrist = joints[LEFT_ELBOW], joints[LEFT_WRIST]
    along = (body.v_template - elbow) @ (wrist - elbow) / np.sum((wrist - elbow) ** 2)
    return np.flatnonzero((along > low) & (along < high) & (body.v_template[:, 0] > elbow[0]))


def test_dqs_keeps_a_limb_twisted_by_a_half_turn_where_lbs_collapses_it(body):
    """Weights that pass linearly from elbow to wrist, and the wrist turned by 180 degrees."""
    joints = array(body().joints)[0]
    axis = (joints[LEFT_WRIST] - joints[LEFT_ELBOW]).astype(float)
    axis /= np.linalg.norm(axis)
    pose = np.zeros((1, 24, 3))
    pose[0, LEFT_WRIST] = np.pi * axis
    arm = limb(body, 0.02, 0.98)
    along = (body.v_template[arm] - joints[LEFT_ELBOW]) @ axis
    along /= np.linalg.norm(joints[LEFT_WRIST] - joints[LEFT_ELBOW])
    weights = body.weights.copy()
    weights[arm] = 0
    weights[arm, LEFT_ELBOW], weights[arm, LEFT_WRIST] = 1 - along, along
    linear = hmrlib.Body({**body.model, "weights": weights})

    middle = arm[np.abs(along - 0.5) < 0.05]

    def radius(vertices):
        offset = vertices[middle] - joints[LEFT_ELBOW]
        return np.linalg.norm(offset - (offset @ axis)[:, None] * axis, axis=1)

    rest = radius(body.v_template)
    lbs = radius(array(linear(None, pose, correctives=False).vertices)[0])
    dqs = radius(array(linear(None, pose, skinning="dqs", correctives=False).vertices)[0])
    np.testing.assert_allclose(dqs, rest, rtol=1e-3)
    assert (lbs < 0.15 * rest).all()


def test_dqs_does_not_care_which_of_two_quaternions_a_rotation_comes_as():
    quaternions = np.random.default_rng(4).normal(size=(5, 24, 4)).astype("float32")
    quaternions /= np.linalg.norm(quaternions, axis=-1, keepdims=True)
    signs = np.random.default_rng(5).choice([-1, 1], size=(5, 24, 1)).astype("float32")
    signs[:, 0] = 1  # the root's sign is free: it flips all
    one = array(same_hemisphere(ops.convert_to_tensor(quaternions), skeleton.PARENTS))
    other = array(same_hemisphere(ops.convert_to_tensor(signs * quaternions), skeleton.PARENTS))
    np.testing.assert_array_equal(one, other)
    parents = np.array(skeleton.PARENTS[1:])
    assert (np.sum(one[:, 1:] * one[:, parents], axis=-1) >= 0).all()


@pytest.mark.parametrize("skinning", ["lbs", "dqs"])
def test_a_full_turn_changes_nothing(body, inputs, skinning):
    """theta and theta - 2 pi are one rotation: no vertex may tell them apart."""
    betas, pose = inputs
    pose = pose.reshape(8, 24, 3)
    angle = np.linalg.norm(pose, axis=-1, keepdims=True)
    other = pose * (1 - 2 * np.pi / angle)
    a, b = (array(body(betas, p, skinning=skinning).vertices) for p in (pose, other))
    np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("skinning", ["lbs", "dqs"])
@pytest.mark.parametrize("at_rest", [True, False])
@pytest.mark.parametrize("wanted", ["betas", "pose", "translation"])
def test_gradients_reach_every_input_and_equal_finite_differences(body, skinning, at_rest, wanted):
    rng = np.random.default_rng(6)
    scale = 0.0 if at_rest else 0.4
    given = {
        "betas": rng.normal(scale=scale, size=(1, body.num_betas)),
        "pose": rng.normal(scale=scale, size=(1, 72)),
        "translation": rng.normal(scale=scale, size=(1, 3)),
    }
    weights = rng.normal(size=(1, len(body.v_template), 3)).astype("float32")
    weights = ops.convert_to_tensor(weights / len(body.v_template) ** 0.5)

    def loss(value):
        vertices = body(**{**given, wanted: value}, skinning=skinning).vertices
        return ops.sum(vertices * weights)

    point = given[wanted].astype("float32")
    found = gradient(loss, point)
    direction = rng.normal(size=point.shape).astype("float32")
    step = 2e-2 / np.linalg.norm(direction)
    ahead, behind = (
        float(loss(ops.convert_to_tensor(point + sign * step * direction))) for sign in (1, -1)
    )
    slope = (ahead - behind) / (2 * step)
    assert np.isfinite(found).all() and (np.abs(found) > 0).all()
    # float32 sums over 20,670 numbers leave about 1e-5 / step of noise in the difference
    assert np.sum(found * direction) == pytest.approx(slope, rel=2e-2, abs=2e-2)


@pytest.mark.slow
def test_gradients_of_the_compiled_body(body, inputs):
    fast = body.compile()
    point = inputs[1].astype("float32")

    def loss(run):
        return lambda pose: ops.sum(run(inputs[0], pose).joints ** 2)

    np.testing.assert_allclose(gradient(loss(fast), point), gradient(loss(body), point), atol=2e-4)


def test_a_shape_that_comes_again_is_compiled_and_equals_plain(body, inputs):
    expected = body(*inputs, np.ones(3), compiles=False)
    for _ in range(3):
        for found, wanted in zip(body(*inputs, np.ones(3)), expected, strict=True):
            np.testing.assert_allclose(array(found), array(wanted), atol=3e-6)
    for found, wanted in zip(body(*inputs, np.ones(3), compiles=False), expected, strict=True):
        np.testing.assert_array_equal(array(found), array(wanted))


def test_a_body_that_was_compiled_is_copied_and_pickled(body, inputs):
    for _ in range(2):
        expected = array(body(*inputs).vertices)
    for copied in (copy.copy(body), copy.deepcopy(body), pickle.loads(pickle.dumps(body))):
        assert repr(copied) == repr(body)
        np.testing.assert_allclose(array(copied(*inputs).vertices), expected, atol=3e-6)


@pytest.mark.parametrize("skinning", ["lbs", "dqs"])
def test_gradients_and_traces_go_through_a_shape_that_was_compiled(body, inputs, skinning):
    betas, pose = inputs[0].astype("float32"), inputs[1].astype("float32")
    for _ in range(2):
        plain = body(betas, pose, skinning=skinning)

    def loss(pose):
        return ops.sum(body(betas, pose, skinning=skinning).joints ** 2)

    def within(pose):  # all given are arrays, within a trace
        return ops.sum(pose) + ops.sum(body(betas, inputs[1], skinning=skinning).joints ** 2)

    point = ops.convert_to_tensor(pose)
    np.testing.assert_allclose(float(traced(loss)(point)), float(loss(point)), rtol=1e-5)
    np.testing.assert_allclose(
        float(traced(within)(point)), pose.sum() + (array(plain.joints) ** 2).sum(), rtol=1e-4
    )
    of_arrays, of_graph = gradient(loss, pose), gradient(traced(loss), pose)
    assert np.abs(of_arrays).max() > 0
    np.testing.assert_allclose(of_graph, of_arrays, atol=2e-4)
    np.testing.assert_allclose(gradient(within, pose), np.ones_like(pose), atol=1e-6)


def test_only_shapes_that_come_again_are_compiled_and_few_are_kept(body):
    compiler = compiled.Compiler(body, model.posed_body)
    options = {"parents": body.parents, "skinning": "lbs", "correctives": True}

    def ask(size):
        arrays = (np.zeros((1, 10)), np.zeros((size, 72)), np.zeros((1, 3)))
        return compiler.by_shape([array.astype("float32") for array in arrays], **options)

    calls = compiled.CALLS.get(keras.backend.backend())
    if calls is None:
        assert ask(1) is None and ask(1) is None
        return
    for _ in range(calls):
        assert ask(1) is None
    first = ask(1)
    assert first is not None and ask(1) is first
    assert ask(compiled.CHUNK + 1) is ask(compiled.CHUNK) or calls  # no larger one is computed
    for size in range(2, compiled.SHAPES + 2):
        ask(size)
    assert ask(1) is not first


def test_pose_feature_is_zero_at_rest_and_leaves_out_the_root():
    rotations = np.tile(np.eye(3, dtype="float32"), (2, 24, 1, 1))
    rotations[1, 0] = Rotation.from_euler("x", 1.0).as_matrix()
    assert not array(pose_feature(ops.convert_to_tensor(rotations))).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pose": np.zeros((2, 71))}, r"pose must have the shape \(B, 72\).*found \(2, 71\)"),
        ({"pose": np.zeros((2, 23, 3, 3))}, r"or \(B, 24, 3, 3\), found \(2, 23, 3, 3\)"),
        ({"betas": np.zeros((2, 999))}, r"betas must have the shape .* or fewer, found \(2, 999\)"),
        ({"betas": np.zeros((3, 10)), "pose": np.zeros((2, 72))}, "one batch size.*3, 2, 1"),
        ({"pose": np.full((2, 72), np.nan)}, r"pose has NaN or infinity, first at index \[0, 0\]"),
        ({"betas": [[0, np.inf]]}, r"betas has NaN or infinity, first at index \[0, 1\]"),
        ({"betas": [None] * 10}, "betas has NaN or infinity"),
        ({"betas": "x"}, "betas must be numbers in rows of one length"),
        ({"pose": [[0.0] * 72, [0.0] * 71]}, "pose must be numbers in rows of one length"),
        ({"pose": np.full((1, 72), 1e300)}, "pose has NaN or infinity"),
        ({"translation": np.zeros((2, 2))}, r"translation must have the shape \(B, 3\)"),
        ({"skinning": "cubic"}, r"unknown skinning 'cubic'.*dqs.*lbs"),
    ],
)
def test_bad_inputs_are_named(body, arguments, message):
    with pytest.raises(BodyInputError, match=message):
        body(**arguments)
    with pytest.raises(BodyInputError, match=message):
        options = {k: arguments.pop(k) for k in ("skinning",) if k in arguments}
        body.compile(**options)(**arguments)
