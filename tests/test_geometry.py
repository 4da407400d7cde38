"""Rotations against SciPy, at random and where the formulas divide by zero; gradients included."""

import numpy as np
import pytest
from keras import ops
from scipy.spatial.transform import Rotation

from hmrlib import geometry as g
from tests.gradients import gradient

pytestmark = pytest.mark.backends

ANGLES = [0.0, 1e-8, 1e-4, 1e-2, 0.011, 1.0, 3.0, np.pi - 1e-3, np.pi - 1e-6]


@pytest.fixture
def axis_angles():
    """Random axes at every angle of interest: (9 * 20, 3)."""
    axes = np.random.default_rng(0).normal(size=(len(ANGLES), 20, 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    return (axes * np.array(ANGLES)[:, None, None]).reshape(-1, 3).astype("float32")


def array(tensor):
    return np.asarray(ops.convert_to_numpy(tensor))


def test_axis_angle_to_matrix_is_scipys(axis_angles):
    ours = array(g.axis_angle_to_matrix(ops.convert_to_tensor(axis_angles)))
    theirs = Rotation.from_rotvec(axis_angles.astype(float)).as_matrix()
    np.testing.assert_allclose(ours, theirs, atol=5e-7)


def test_axis_angle_survives_a_round_trip_through_matrix_and_quaternion(axis_angles):
    tensor = ops.convert_to_tensor(axis_angles)
    for there, back in [
        (g.axis_angle_to_matrix, g.matrix_to_axis_angle),
        (g.axis_angle_to_quaternion, g.quaternion_to_axis_angle),
    ]:
        np.testing.assert_allclose(array(back(there(tensor))), axis_angles, atol=3e-6)


def test_a_half_turn_about_any_axis_is_recovered_up_to_sign():
    axes = np.concatenate([np.eye(3), np.random.default_rng(1).normal(size=(50, 3))])
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    matrices = 2 * axes[:, :, None] * axes[:, None] - np.eye(3)
    found = array(g.matrix_to_axis_angle(ops.convert_to_tensor(matrices.astype("float32"))))
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), np.pi, atol=2e-6)
    np.testing.assert_allclose(np.abs((found / np.pi * axes).sum(-1)), 1, atol=2e-6)


def test_quaternions_are_scipys():
    rng = np.random.default_rng(2)
    a, b = Rotation.random(50, rng=rng), Rotation.random(50, rng=rng)
    qa, qb = (r.as_quat(scalar_first=True).astype("float32") for r in (a, b))
    qa, qb = ops.convert_to_tensor(qa), ops.convert_to_tensor(qb)
    product = array(g.quaternion_to_matrix(g.quaternion_multiply(qa, qb)))
    np.testing.assert_allclose(product, (a * b).as_matrix(), atol=1e-6)
    inverse = array(g.quaternion_to_matrix(g.quaternion_conjugate(qa)))
    np.testing.assert_allclose(inverse, a.inv().as_matrix(), atol=1e-6)


def test_6d_round_trip_and_any_six_numbers_give_a_rotation():
    rotations = Rotation.random(50, rng=np.random.default_rng(3)).as_matrix().astype("float32")
    back = array(g.matrix_from_6d(g.matrix_to_6d(ops.convert_to_tensor(rotations))))
    np.testing.assert_allclose(back, rotations, atol=1e-6)
    six = np.random.default_rng(4).normal(size=(50, 6)).astype("float32") * 10
    matrices = array(g.matrix_from_6d(ops.convert_to_tensor(six)))
    unit = np.broadcast_to(np.eye(3), (50, 3, 3))
    np.testing.assert_allclose(matrices @ matrices.swapaxes(-1, -2), unit, atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(matrices), 1, atol=1e-5)


def test_dual_quaternion_moves_points_as_the_rigid_motion_it_came_from():
    rng = np.random.default_rng(5)
    rotation = Rotation.random(20, rng=rng)
    translation = rng.normal(size=(20, 3)).astype("float32")
    quaternion = ops.convert_to_tensor(rotation.as_quat(scalar_first=True).astype("float32"))
    dual = g.rigid_to_dual_quaternion(quaternion, ops.convert_to_tensor(translation))
    q, t = g.dual_quaternion_to_rigid(3.0 * dual)  # any length
    np.testing.assert_allclose(array(t), translation, atol=2e-6)
    np.testing.assert_allclose(array(g.quaternion_to_matrix(q)), rotation.as_matrix(), atol=1e-6)


def test_procrustes_recovers_a_similarity_and_never_reflects():
    rng = np.random.default_rng(6)
    source = rng.normal(size=(4, 14, 3))
    rotation = Rotation.random(4, rng=rng).as_matrix()
    target = 1.7 * source @ rotation.swapaxes(-1, -2) + [[[1.0, 2.0, 3.0]]]
    scale, found, shift = g.procrustes(
        *(ops.convert_to_tensor(points.astype("float32")) for points in (source, target))
    )
    np.testing.assert_allclose(array(scale), 1.7, rtol=1e-5)
    np.testing.assert_allclose(array(found), rotation, atol=1e-5)
    np.testing.assert_allclose(array(shift), np.broadcast_to([1, 2, 3], (4, 3)), atol=1e-5)
    pair = (ops.convert_to_tensor(p.astype("float32")) for p in (source, source * [-1, 1, 1]))
    _, found, _ = g.procrustes(*pair)
    np.testing.assert_allclose(np.linalg.det(array(found)), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "point"),
    [
        (g.axis_angle_to_matrix, np.zeros(3)),
        (g.axis_angle_to_quaternion, np.zeros(3)),
        (g.quaternion_to_axis_angle, np.array([1.0, 0, 0, 0])),
        (lambda r: g.axis_angle_to_matrix(g.matrix_to_axis_angle(r)), np.eye(3)),
        (lambda r: g.matrix_to_quaternion(r), np.diag([1.0, -1, -1])),
        (g.axis_angle_to_matrix, np.array([0.3, -2.0, 0.7])),
    ],
)
def test_gradients_equal_finite_differences_also_where_formulas_divide_by_zero(function, point):
    weights = np.random.default_rng(7).normal(size=array(function(tensor(point))).shape)

    def loss(x):
        return ops.sum(function(x) * ops.convert_to_tensor(weights.astype("float32")))

    found = gradient(loss, point.astype("float32"))
    step, numeric = 1e-2, np.zeros_like(point)
    for index in np.ndindex(point.shape):
        offset = np.zeros_like(point)
        offset[index] = step
        ahead, behind = (float(loss(tensor(point + sign * offset))) for sign in (1, -1))
        numeric[index] = (ahead - behind) / (2 * step)
    np.testing.assert_allclose(found, numeric, atol=3e-3)


def tensor(point):
    return ops.convert_to_tensor(point.astype("float32"))


def test_the_nearest_rotation_turns_points_as_scipy_does_and_never_reflects():
    rng = np.random.default_rng(8)
    points, others = rng.normal(size=(2, 5, 10, 3)).astype("float32")
    found = array(g.nearest_rotation(np.einsum("bki,bkj->bij", others, points)))
    for turn, x, y in zip(found, points, others, strict=True):
        np.testing.assert_allclose(
            turn, Rotation.align_vectors(y, x)[0].as_matrix(), atol=1e-4
        )  # the same minimum, by quaternions
    np.testing.assert_allclose(np.linalg.det(found), 1, atol=1e-5)
    mirrored = array(g.nearest_rotation(np.diag([3.0, 2.0, -1.0]).astype("float32")))
    np.testing.assert_allclose(mirrored, np.eye(3), atol=1e-6)
