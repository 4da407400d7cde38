"""Fitting: derivatives against differences, known bodies found again, limits, priors, bad input."""

import numpy as np
import pytest
from keras import ops
from scipy.stats import multivariate_normal

import hmrlib
from hmrlib import fitting, geometry, skeleton
from hmrlib.learn import correctives
from hmrlib.motion import prior as priors

CAMERA = np.array([600.0, 256.0, 256.0])


@pytest.fixture(scope="module")
def body():
    return hmrlib.load_body()


@pytest.fixture(scope="module")
def people(body):
    """32 poses and shapes, turned any way: betas, pose, translation, the body's output."""
    rng = np.random.default_rng(0)
    pose = correctives.sample_poses(32, seed=1).astype("float32")
    pose[:, 0] = rng.normal(size=(32, 3))
    betas = rng.normal(size=(32, 10)).astype("float32")
    translation = rng.normal(size=(32, 3)).astype("float32")
    return betas, pose, translation, body(betas, pose, translation)


def rest(body):
    template, shapedirs = fitting.sites(body)
    joints = slice(0, fitting.NUM_JOINTS)
    return (
        ops.convert_to_tensor(np.concatenate([template[joints], template])),
        ops.convert_to_tensor(np.concatenate([shapedirs[:, joints], shapedirs], axis=1)),
    )


@pytest.mark.backends
def test_sites_are_the_bodys_own_points(body, people):
    betas, pose, translation, out = people
    nothing = np.full((len(pose), len(fitting.SITE_NAMES), 2), np.nan)
    nothing[:, 0] = CAMERA[1:]
    sight = fitting.Sight(nothing, fitting.SITE_NAMES)
    stay = [fitting.Stage("as they are", steps=0)]
    fit, _ = fitting.improve(body, sight, CAMERA, (pose, betas, translation), stay)
    np.testing.assert_allclose(fit.points[:, :24], np.asarray(out.joints), atol=1e-5)
    # the head's landmarks move rigidly with it, up to skinning weights and correctives
    head = body.keypoints(out, fitting.body_keypoints.LANDMARK_NAMES)
    away = np.linalg.norm(fit.points[:, 24:30] - np.asarray(head), axis=-1)
    assert away.max() < 0.006
    matrices = [np.asarray(geometry.axis_angle_to_matrix(p)) for p in (fit.pose, pose)]
    np.testing.assert_allclose(*matrices, atol=1e-5)
    world = np.array(matrices[1])
    for joint, parent in enumerate(skeleton.PARENTS[1:], start=1):
        world[:, joint] = world[:, parent] @ world[:, joint]
    np.testing.assert_allclose(fit.rotations, world, atol=1e-5)


@pytest.mark.parametrize("traced", [False, True])
def test_more_people_than_are_fitted_at_once_are_fitted_in_turn(body, people, traced):
    again = np.r_[: len(people[0]), :2]  # one full chunk, and two people more
    betas, pose, translation = (array[again] for array in people[:3])
    assert len(again) not in fitting.CHUNKS and len(people[0]) in fitting.CHUNKS
    away = np.array([0.0, 0.0, 5.0])
    points = np.asarray(people[3].joints)[again] + away
    seen = CAMERA[0] * points[..., :2] / points[..., 2:] + CAMERA[1:]
    sight, start = fitting.Sight(seen, "smpl-24"), (pose, betas, translation + away)
    stages = [fitting.Stage("stay", steps=0), fitting.Stage("a few", steps=3)]
    trace = [] if traced else None
    fit, before = fitting.improve(body, sight, CAMERA, start, stages, trace=trace)
    assert before.shape == fit.energy.shape == (len(again),)
    for array in fit[1:5]:
        np.testing.assert_allclose(array[-2:], array[:2], atol=1e-3)


@pytest.mark.backends
def test_derivatives_are_differences(body):
    rng = np.random.default_rng(2)
    angles = 0.6 * rng.normal(size=(2, 24, 3)).astype("float32")
    angles[:, 0] = 0
    angles[1, 5] = 0  # a swing of zero
    root = geometry.axis_angle_to_matrix(rng.normal(size=(2, 3)).astype("float32"))
    state = fitting.State(ops.convert_to_tensor(angles), root, ops.zeros((2, 3)), ops.ones((2, 4)))
    model = rest(body)
    not_root = ops.convert_to_tensor((np.arange(24) > 0)[:, None].astype("float32"))
    derivative = np.asarray(fitting.kinematics(state, model, fitting.SITE_OWNERS)[1])

    def moved(unknown, by):
        change = np.zeros(79, "float32")
        change[unknown] = by
        change = ops.convert_to_tensor(change)
        turn = geometry.axis_angle_to_matrix(change[None, :3])
        here = fitting.State(
            state.angles + ops.reshape(change[:72], (24, 3)) * not_root,
            ops.matmul(root, turn),
            state.translation + change[72:75],
            state.betas + change[75:],
        )
        return np.asarray(fitting.kinematics(here, model, fitting.SITE_OWNERS)[0])

    for unknown in (0, 2, 10, 17, 30, 41, 50, 56, 66, 73, 75, 78):
        difference = (moved(unknown, 1e-2) - moved(unknown, -1e-2)) / 2e-2
        np.testing.assert_allclose(derivative[..., unknown], difference, atol=1e-4)


@pytest.mark.backends
def test_mixture_is_scipys_and_its_gradient_a_difference():
    rng = np.random.default_rng(0)
    means = rng.normal(size=(3, 4))
    factors = rng.normal(size=(3, 4, 4)) * 0.4 + np.eye(4)
    covariances = factors @ factors.transpose(0, 2, 1)
    weights = np.array([0.2, 0.5, 0.3])
    mixture = priors.Prior(weights, means, covariances, None, {}).mixture
    x = rng.normal(size=(5, 4))

    def value(x):
        parts = [
            w * multivariate_normal(m, c).pdf(x)
            for w, m, c in zip(weights, means, covariances, strict=True)
        ]
        return -np.log(np.sum(parts, axis=0))

    tensors = [ops.convert_to_tensor(array) for array in mixture]
    found, slope, bend = map(
        np.asarray, fitting.gaussian_mixture(ops.convert_to_tensor(x, "float32"), *tensors)
    )
    np.testing.assert_allclose(found, value(x), rtol=1e-4)
    for d in range(4):
        step = 1e-5 * np.eye(4)[d]
        difference = (value(x + step) - value(x - step)) / 2e-5
        np.testing.assert_allclose(slope[:, d], difference, rtol=2e-3, atol=1e-4)
    # the curvature's parabola lies above, so that a step with it never makes matters worse
    newton = x - np.linalg.solve(bend, slope[..., None])[..., 0]
    assert (value(newton) <= value(x) + 1e-5).all()


@pytest.mark.backends
@pytest.mark.parametrize("names", ["smpl-24", "union-22"])
def test_known_bodies_are_found_again(body, people, names):
    betas, _, _, out = people
    points = np.asarray(body.keypoints(out, names))
    fit = fitting.fit_points(body, points, names, betas=betas)
    off = np.linalg.norm(fit.points - points, axis=-1)
    assert np.median(off) < 0.001 and np.percentile(off.mean(axis=1), 80) < 0.005
    again = body(betas, fit.pose, fit.translation)
    away = np.linalg.norm(np.asarray(body.keypoints(again, names)) - fit.points, axis=-1)
    assert away.max() < 0.01


def test_unknown_points_are_left_to_the_relaxed_pose(body, people):
    betas, _, _, out = people
    points = np.array(body.keypoints(out, "union-22"))
    names = skeleton.KEYPOINT_SETS["union-22"].names
    gone = [names.index(name) for name in ("left_elbow", "left_wrist")]
    points[:, gone] = np.nan
    fit = fitting.fit_points(body, points, "union-22", betas=betas)
    known = np.delete(np.arange(len(names)), gone)
    off = np.linalg.norm(fit.points - points, axis=-1)[:, known]
    assert np.median(off) < 0.002
    angles = np.asarray(fitting.pose_angles(fit.pose))[:, skeleton.JOINT_NAMES.index("left_elbow")]
    relaxed = fitting.RELAXED[skeleton.JOINT_NAMES.index("left_elbow")]
    assert np.median(np.abs(angles - relaxed)) < 0.02
    # a weight of 0 says the same as NaN
    weights = np.isfinite(points).all(axis=-1).astype(float)
    same = fitting.fit_points(body, np.nan_to_num(points), "union-22", weights, betas=betas)
    np.testing.assert_allclose(same.pose, fit.pose, atol=1e-5)


def test_joint_limits_hold_against_the_points(body):
    pose = skeleton.pose_from_degrees({"left_knee": (-70, 0, 0)})[None]  # bent forwards
    points = np.asarray(body(pose=pose).joints)
    knee = skeleton.JOINT_NAMES.index("left_knee")
    held, free = (
        np.asarray(fitting.pose_angles(fitting.fit_points(body, points, limits=limits).pose))
        for limits in (100.0, 0.0)
    )
    assert np.degrees(held[0, knee, 0]) > -12
    assert np.degrees(free[0, knee, 0]) < -55


def test_bodies_of_a_batch_do_not_see_each_other(body, people):
    betas, _, _, out = people
    points = np.array(out.joints)
    points[1:] += np.random.default_rng(0).normal(0, 0.3, points[1:].shape)  # no bodies
    together = fitting.fit_points(body, points[:7], betas=betas[:7])
    alone = fitting.fit_points(body, points[:1], betas=betas[:1])
    # a chunk stops when nearly all are done, hence not to the last digit
    for fit in (alone, together):
        assert np.linalg.norm(fit.points[0] - points[0], axis=-1).mean() < 0.003


def test_shape_is_found_from_bone_lengths(body):
    betas = np.array([1.0, -0.5, 0.8])
    joints = np.asarray(body(betas[None]).joints)[0]
    index = skeleton.JOINT_NAMES.index
    pairs = [(skeleton.JOINT_NAMES[a], skeleton.JOINT_NAMES[b]) for a, b in skeleton.BONES]
    lengths = {p: np.linalg.norm(joints[index(p[0])] - joints[index(p[1])]) for p in pairs}
    found = fitting.fit_shape(body, lengths, num_betas=10, scale=1e-4)
    moved = np.asarray(body(found[None]).joints)[0]
    for (a, b), length in lengths.items():
        assert np.linalg.norm(moved[index(a)] - moved[index(b)]) == pytest.approx(length, abs=1e-3)
    with pytest.raises(fitting.FittingError, match="no sites"):
        fitting.fit_shape(body, {("left_hip", "tail"): 1.0})
    with pytest.raises(fitting.FittingError, match="positive"):
        fitting.fit_shape(body, {("left_hip", "left_knee"): -1.0})


@pytest.fixture(scope="module")
def pictures(body):
    """Eight of the prior's people before a camera: points (8, 22, 3) in its frame, pixels."""
    rng = np.random.default_rng(5)
    pose = priors.load_prior().sample(8, seed=5)
    facing = rng.uniform(-0.6, 0.6, 8) + np.pi * (np.arange(8) % 2)
    turns = geometry.axis_angle_to_matrix(np.stack([0 * facing, facing, 0 * facing], 1))
    upright = np.diag([1.0, -1.0, -1.0]).astype("float32")
    pose[:, 0] = np.asarray(geometry.matrix_to_axis_angle(upright @ np.asarray(turns, "float32")))
    translation = np.stack(
        [rng.uniform(-0.3, 0.3, 8), rng.uniform(-0.2, 0.2, 8), 4 + 0 * facing], 1
    )
    points = np.asarray(body.keypoints(body(None, pose, translation)))
    return points, project(points)


def project(points):
    return CAMERA[0] * points[..., :2] / points[..., 2:] + CAMERA[1:]


def test_keypoints_in_pictures_are_explained(body, pictures):
    points, pixels = pictures
    trace = []
    fit = fitting.fit_keypoints(body, pixels, CAMERA, priors.load_prior(), trace=trace)
    off = np.linalg.norm(project(fit.points) - pixels, axis=-1).mean(axis=1)
    assert np.median(off) < 3 and off.max() < 12  # pixels, of people 200 tall
    assert len(trace) == 5 and trace[-1].points.shape == points.shape
    torso = np.linalg.norm(project(trace[0].points) - pixels, axis=-1).mean(axis=1)
    assert np.median(torso) > 2 * np.median(off)
    aligned = [geometry.procrustes(a, b) for a, b in zip(fit.points, points, strict=True)]
    errors = [
        np.linalg.norm(np.asarray(s) * a @ np.asarray(r).T + np.asarray(t) - b, axis=-1).mean()
        for (s, r, t), a, b in zip(aligned, fit.points, points, strict=True)
    ]
    assert np.median(errors) < 0.08  # metres


def test_an_outlier_hardly_pulls(body, pictures):
    _, pixels = pictures
    wrong = np.array(pixels)
    ankle = skeleton.KEYPOINT_SETS["union-22"].names.index("left_ankle")
    wrong[:, ankle] += (400, -300)
    fit = fitting.fit_keypoints(body, wrong, CAMERA, priors.load_prior())
    others = np.delete(np.arange(22), ankle)
    off = np.linalg.norm(project(fit.points) - pixels, axis=-1)[:, others].mean(axis=1)
    assert np.median(off) < 8


def test_without_the_prior_poses_are_less_likely(body, pictures):
    _, pixels = pictures
    prior = priors.load_prior()
    fits = [fitting.fit_keypoints(body, pixels, CAMERA, p) for p in (prior, None)]
    with_it, without = (np.asarray(prior.log_density(fit.pose)) for fit in fits)
    assert np.median(with_it - without) > 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((2, 23, 3)), "smpl-24"), r"shape \(B, 24, 3\).*found \(2, 23, 3\)"),
        ((np.full((1, 24, 3), np.nan), "smpl-24"), "frame 0 has no known keypoint"),
        ((np.zeros((1, 24, 3)), "smpl-25"), "unknown keypoint set"),
        ((np.zeros((1, 1, 3)), ["tail"]), "no keypoint 'tail'"),
        ((np.zeros((1, 24, 3)), "smpl-24", np.full(24, -1.0)), "not negative"),
        ((np.zeros((2, 24, 3)), "smpl-24", None, np.zeros((3, 10))), "betas must have the shape"),
    ],
)
def test_bad_input_is_explained(body, arguments, message):
    with pytest.raises(ValueError, match=message):
        fitting.fit_points(body, *arguments)


WAVING = skeleton.pose_from_degrees(skeleton.POSES["waving"])
HALVES = {  # what is seen -> the points of it, by what their names hold
    "all": "",
    "upper body": "nose thorax eye ear shoulder elbow wrist",
    "head and shoulders": "nose thorax eye ear shoulder",
}


@pytest.mark.parametrize("names", ["openpose-25", "openpose-18"])
@pytest.mark.parametrize("half", HALVES)
def test_half_a_body_as_openpose_sees_it(body, names, half):
    points = np.asarray(body.keypoints(body(pose=WAVING[None]), names))[0]
    points = points * [1, -1, -1] + [0, 0, 4]
    seen = np.array(
        [
            any(part in name for part in HALVES[half].split() or [""])
            for name in skeleton.names_of(names)
        ]
    )
    pixels = project(points)
    keypoints = np.where(seen[:, None], np.column_stack([pixels, np.full(len(seen), 1.04)]), 0)
    fit = fitting.fit_keypoints(body, keypoints[None], CAMERA, priors.load_prior(), names=names)
    off = np.linalg.norm(project(fit.points[0]) - pixels, axis=-1)[seen]
    assert off.mean() < 12  # pixels
    assert np.isfinite(fit.pose).all() and np.abs(fit.betas).max() < 4
    assert 3 < fit.translation[0, 2] < 5.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": np.full((1, 22, 2), np.inf)}, "points must be within"),
        ({"keypoints": np.full((1, 22, 2), 1e9)}, "points must be within"),
        ({"keypoints": [["x"] * 22]}, "keypoints must be numbers"),
        ({"keypoints": np.zeros((0, 22, 2))}, "at least one frame"),
        ({"keypoints": np.full((1, 22, 3), np.nan)}, "weights must be finite"),
        ({"camera": [np.nan, 0, 0]}, "camera must be finite"),
        ({"camera": [0.0, 0, 0]}, "focal length must be positive"),
        ({"sigma": np.nan}, "sigma must be a positive"),
    ],
)
def test_numbers_of_no_picture_are_named(body, change, message):
    arguments = {"keypoints": np.ones((1, 22, 2)), "camera": CAMERA, "prior": None} | change
    with pytest.raises(fitting.FittingError, match=message):
        fitting.fit_keypoints(body, **arguments)


def test_pictures_need_a_torso(body):
    keypoints = np.full((2, 22, 2), np.nan)
    keypoints[:, :2] = 100
    with pytest.raises(fitting.FittingError, match="picture 0 shows fewer than two keypoints"):
        fitting.fit_keypoints(body, keypoints, CAMERA, None)
