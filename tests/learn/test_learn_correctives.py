"""Pose correctives, on a small two-limbed tube body: invariants, parity of the two solvers."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hmrlib.body import kinematics
from hmrlib.learn import correctives
from hmrlib.skeleton import JOINT_MIRROR, JOINT_NAMES

pytestmark = pytest.mark.slow

FLIP = np.array([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def body():
    """A closed tube along x, from hand to hand, with joints on its axis and smooth weights."""
    x = np.linspace(-0.8, 0.8, 49)
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ring = 0.05 * np.stack([np.cos(angles), np.sin(angles)], axis=1)  # (12, 2) of y, z
    tube = np.stack([np.tile([a, *r], 1) for a in x for r in ring])
    v = np.concatenate([tube, [[-0.83, 0, 0], [0.83, 0, 0]]])
    rows, around = len(x), len(angles)
    index = np.arange(rows * around).reshape(rows, around)
    a, b = index[:-1], index[1:]
    c, d = np.roll(b, -1, axis=1), np.roll(a, -1, axis=1)
    first = np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)
    low, high = rows * around, rows * around + 1
    caps = [[low, index[0, k], index[0, (k + 1) % around]] for k in range(around)]
    caps += [[high, index[-1, (k + 1) % around], index[-1, k]] for k in range(around)]
    faces = np.concatenate([*first, caps])[:, ::-1]
    mirror = np.concatenate([index[::-1].ravel(), [high, low]])
    v = (v + v[mirror] * FLIP) / 2

    places = {"collar": 0.1, "shoulder": 0.2, "elbow": 0.4, "wrist": 0.6, "hand": 0.7}
    joints = np.zeros((24, 3))
    for j, name in enumerate(JOINT_NAMES):
        side, _, part = name.partition("_")
        if part in places:
            joints[j, 0] = places[part] * (1 if side == "left" else -1)
        elif "hip" in name or "knee" in name or "ankle" in name or "foot" in name:
            depth = ["hip", "knee", "ankle", "foot"].index(part) + 1
            joints[j] = [0.05 * (1 if side == "left" else -1), -0.2 * depth, 0]
        elif name in ("neck", "head"):
            joints[j, 1] = 0.1 + 0.1 * (name == "head")
    order = [JOINT_NAMES.index(f"left_{part}") for part in places]
    weights = np.zeros((len(v), 24))
    chain = [JOINT_NAMES.index("spine3"), *order]
    for vertex, x in enumerate(np.abs(v[:, 0])):
        step = np.clip((x - np.array(list(places.values()))) / 0.06 + 0.5, 0, 1)
        ladder = np.array([1, *step, 0])
        sides = chain if v[vertex, 0] >= 0 else [JOINT_MIRROR[j] for j in chain]
        weights[vertex, sides] += ladder[:-1] - ladder[1:]
    return {"v_template": v, "faces": faces, "joints": joints, "weights": weights, "mirror": mirror}


@pytest.fixture(scope="module")
def learned(body):
    return correctives.learn_correctives(**body, poses=60, held_out=20, progress=False)


@pytest.fixture(scope="module")
def deformer(body):
    return correctives.TargetDeformer(**{k: a for k, a in body.items() if k != "mirror"})


def test_poses_stay_within_the_limits():
    for kind in ("natural", "single"):
        pose = correctives.sample_poses(300, 5, kind)
        assert np.array_equal(pose, correctives.sample_poses(300, 5, kind))
        assert not np.array_equal(pose, correctives.sample_poses(300, 6, kind))
        assert np.all(pose[:, 0] == 0)
        for side, flip in (("left", 1), ("right", -FLIP)):
            # the knee barely swings but about x: its angle is its bend
            knee = np.degrees(pose[:, JOINT_NAMES.index(f"{side}_knee")] * flip)
            assert knee[:, 0].min() > -8 and 100 < knee[:, 0].max() < 145
    assert np.all((np.abs(correctives.sample_poses(46, 0, "single")).sum(2) > 0).sum(1) == 1)


def test_limits_cover_every_joint():
    for name in JOINT_NAMES[1:]:
        limits = correctives.JOINT_LIMITS[name.replace("right_", "left_")]
        for least, relaxed, most in (limits.x, limits.y, limits.z):
            assert least <= relaxed <= most


def test_last_bits_choose_no_strut(body):
    """Rays along the ring at x = 0 run into its edges, where two faces meet."""
    v, faces = body["v_template"], body["faces"]
    struts = correctives.struts(v, faces, 0.3)
    ring = np.flatnonzero(v[:, 0] == 0)
    assert len(ring) == 12 and (struts[ring][:, ring].sum(axis=1) > 0).all()
    rng = np.random.default_rng(0)
    for noise in 1e-13 * rng.standard_normal((3, *v.shape)):
        again = correctives.struts(v + noise, rng.permutation(faces), 0.3)
        assert abs(again - struts).max() < 1e-9


def test_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="natural"):
        correctives.sample_poses(3, 0, "wild")


def test_mirrored_features_are_those_of_the_mirrored_pose():
    pose = correctives.sample_poses(5, 1)
    mirrored = pose[:, list(JOINT_MIRROR)] * -FLIP
    order, sign = correctives.mirror_features()
    features = kinematics.pose_feature(correctives.rotation_matrices(pose))
    expected = kinematics.pose_feature(correctives.rotation_matrices(mirrored))
    np.testing.assert_allclose(features[:, order] * sign, expected, atol=1e-12)


def test_rest_pose_stays(body, deformer):
    still = np.tile(np.eye(3), (1, 24, 1, 1))
    np.testing.assert_allclose(deformer.deform(still)[0], body["v_template"], atol=1e-9)
    arrays = (body[k] for k in ("v_template", "joints", "weights"))
    some = np.ones((len(body["v_template"]), 3, 207))
    skinned = correctives.blend_skinning(*arrays, still, some)
    np.testing.assert_allclose(skinned[0], body["v_template"], atol=1e-12)


def test_root_turns_everything_as_one(body, deformer):
    pose = correctives.sample_poses(2, 3)
    turn = Rotation.from_rotvec([0.4, -1.0, 0.7])
    turned = pose.copy()
    turned[:, 0] = turn.as_rotvec()
    still, moved = (deformer.deform(correctives.rotation_matrices(p)) for p in (pose, turned))
    pelvis = body["joints"][0]
    expected = (still - pelvis) @ turn.as_matrix().T + pelvis
    np.testing.assert_allclose(moved, expected, atol=1e-6)


def test_target_of_the_mirrored_pose_is_the_mirrored_target(body, deformer):
    # the tube's diagonals are not symmetric, so only the skinning step can be exact
    pose = correctives.sample_poses(2, 4)
    mirrored = pose[:, list(JOINT_MIRROR)] * -FLIP
    one, other = (
        deformer.dual_quaternion_skinning(correctives.rotation_matrices(p), spread=True)
        for p in (pose, mirrored)
    )
    np.testing.assert_allclose(one[:, body["mirror"]] * FLIP, other, atol=1e-9)


def test_twist_keeps_the_forearm_round(body, deformer):
    pose = np.zeros((1, 24, 3))
    pose[0, JOINT_NAMES.index("left_wrist"), 0] = np.radians(90)
    rotations = correctives.rotation_matrices(pose)
    at_wrist = np.abs(body["v_template"][:, 0] - 0.6) < 1e-9
    assert at_wrist.sum() == 12
    blended = correctives.blend_skinning(
        *(body[k] for k in ("v_template", "joints", "weights")), rotations
    )
    radius = {
        "lbs": np.linalg.norm(blended[0, at_wrist, 1:], axis=1).max(),
        "target": np.linalg.norm(deformer.deform(rotations)[0, at_wrist, 1:], axis=1).min(),
    }
    assert radius["lbs"] < 0.038 and radius["target"] > 0.047
    # half way up the forearm the skin has turned by half of the twist
    middle = np.abs(body["v_template"][:, 0] - 0.5) < 1e-9
    before, after = body["v_template"][middle, 1:], deformer.deform(rotations)[0, middle, 1:]
    sine = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    angle = np.arctan2(sine, (before * after).sum(axis=1))
    np.testing.assert_allclose(np.degrees(angle), 45, atol=5)


def test_relaxation_lowers_the_energy(body, deformer):
    rotations = correctives.rotation_matrices(correctives.sample_poses(3, 8))
    edges = np.unique(np.sort(body["faces"][:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)), axis=0)

    def lengths(vertices):
        return np.linalg.norm(
            vertices[..., edges[:, 0], :] - vertices[..., edges[:, 1], :], axis=-1
        )

    def stretch(vertices):
        return np.mean((lengths(vertices) - lengths(body["v_template"])) ** 2)

    before = deformer.dual_quaternion_skinning(rotations, spread=True)
    assert stretch(deformer.deform(rotations)) < 0.9 * stretch(before)


def test_known_correctives_are_found_again(body):
    """A target that linear blend skinning can reach: both solvers must find its correctives."""
    rng = np.random.default_rng(0)
    support = np.repeat(correctives.feature_support(body["weights"])[:, 1:], 9, axis=1)
    truth = 0.01 * rng.standard_normal((len(body["v_template"]), 3, 207)) * support[:, None]
    order, sign = correctives.mirror_features()
    truth = (truth + truth[body["mirror"]][:, :, order] * sign * FLIP[:, None]) / 2
    rotations = correctives.rotation_matrices(correctives.sample_poses(100, 2))
    arrays = [body[k] for k in ("v_template", "joints", "weights")]
    target = correctives.blend_skinning(*arrays, rotations, truth)
    problem = correctives.LeastSquares(*arrays, body["mirror"], rotations, target)
    closed = correctives.solve_closed_form(problem, ridge=1e-12)
    reached = correctives.blend_skinning(*arrays, rotations, closed)
    assert np.abs(reached - target).max() < 1e-6
    np.testing.assert_allclose(closed, truth, atol=1e-4)


def test_gradient_and_closed_form_agree(body, learned):
    posedirs, report = learned
    assert report["difference_mm"] < 1e-3
    loss = np.array(report["loss"])
    assert np.all(np.diff(loss) <= 1e-12) and loss[-1] < 0.2 * loss[0]
    assert report["correctives"] < 0.4 * report["lbs"]
    assert report["correctives"] == pytest.approx(min(report["held_out_mm"].values()), abs=1e-6)
    assert report["method"] == "gradient"  # they tie, and of equals the first is returned
    order, sign = correctives.mirror_features()
    image = posedirs[body["mirror"]][:, :, order] * sign * FLIP[:, None]
    assert np.array_equal(posedirs, image)


def test_support_is_local(body, learned):
    posedirs, _ = learned
    left = body["v_template"][:, 0] > 0.3
    right_elbow = JOINT_NAMES.index("right_elbow") - 1
    assert np.all(posedirs[left][:, :, 9 * right_elbow : 9 * right_elbow + 9] == 0)
    assert np.abs(posedirs[left]).max() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints": np.zeros((23, 3))}, "joints has shape"),
        ({"weights": np.zeros((590, 24))}, "sum to one"),
        ({"mirror": np.roll(np.arange(590), 1)}, "mirror image of a mirror image"),
        ({"mirror": np.arange(590)}, "from its mirror image"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(body, change, message):
    with pytest.raises(ValueError, match=message):
        correctives.learn_correctives(**body | change, poses=3, held_out=1, progress=False)
