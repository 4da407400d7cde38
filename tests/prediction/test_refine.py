"""The body fitted to landmarks: a known pose comes back, no energy rises, garbage is given back."""

import numpy as np
import pytest

import hmrlib
from hmrlib import fitting
from hmrlib.fitting import FittingError
from hmrlib.prediction.landmarks import LANDMARK_NAMES, Landmarks
from hmrlib.prediction.refine import SITES, Refined, landmark_offsets, refine
from hmrlib.skeleton import POSES, pose_from_degrees

CAMERA = np.array([800.0, 320, 240])
NAMES = ("walking", "sitting", "waving", "lunging")


@pytest.fixture(scope="module")
def body():
    return hmrlib.load_body()


def truth():
    pose = np.stack([pose_from_degrees(POSES[name]) for name in NAMES])
    pose[:, 0] = [np.pi, 0, 0]  # upright before a camera whose y points down
    pose[3, 0] = [0.2, 0.1, 0.1]  # on the head
    betas = np.zeros((len(NAMES), 10))
    betas[:, 0] = [0, 1, -1, 0.5]
    return pose, betas, np.tile([0.1, 0.3, 4.0], (len(NAMES), 1))


def seen(body, pose, betas, translation):
    """What perfect landmarks of these bodies are."""
    points = fitting.improve(
        body,
        fitting.Sight(np.zeros((len(pose), 33, 2)), SITES, offsets=landmark_offsets()),
        CAMERA,
        (pose, betas, translation),
        [fitting.Stage("none", steps=0)],
    )[0].points
    xy = CAMERA[0] * points[..., :2] / points[..., 2:] + CAMERA[1:]
    world = points - points[:, 23:25].mean(axis=1, keepdims=True)
    one = np.ones(33)
    return [
        Landmarks(p, CAMERA[0] / 4 * w[:, 2], w, one, 1.0, np.r_[p.min(0), p.max(0)], 0 * one)
        for p, w in zip(xy, world, strict=True)
    ]


@pytest.fixture(scope="module")
def fitted(body):
    """Bodies, their landmarks, where the fit began, what it found, its stages."""
    pose, betas, translation = truth()
    landmarks = seen(body, pose, betas, translation)
    rng = np.random.default_rng(0)
    start = pose + rng.normal(0, 0.15, pose.shape), 0 * betas, np.add(translation, [0.1, 0, 0.3])
    trace = []
    found = refine(body, *start, CAMERA, landmarks, trace=trace)
    return (pose, betas, translation), landmarks, start, found, trace


def joints(body, pose, betas, translation):
    posed = body(np.float32(betas), np.float32(pose))
    return np.asarray(posed.joints) + translation[:, None]


def test_a_known_pose_comes_back(body, fitted):
    true, landmarks, start, found, _ = fitted
    assert isinstance(found, Refined) and found.refined.all() and not any(found.note)
    there, here, begin = (joints(body, *those) for those in (true, found[:3], start))
    there, here, begin = (p - p[:, :1] for p in (there, here, begin))
    off, before = (np.linalg.norm(p - there, axis=-1).mean(axis=1) for p in (here, begin))
    assert (off < 0.04).all() and (off < 0.5 * before).all()
    seen_now = seen(body, *found[:3])
    for now, then in zip(seen_now, landmarks, strict=True):
        assert np.median(np.linalg.norm(now.xy - then.xy, axis=1)) < 4


def test_energy_falls_below_the_start(fitted):
    _, _, _, found, trace = fitted
    assert (found.energy < found.energy_before).all()
    assert [name for name, _ in trace] == ["place", "pose", "details"]
    np.testing.assert_allclose(trace[-1][1].energy, found.energy, rtol=1e-5)
    np.testing.assert_allclose(trace[-1][1].pose, found.pose, atol=1e-5)


def test_all_angles_end_within_their_limits(fitted):
    angles = np.asarray(fitting.pose_angles(np.float32(fitted[3].pose)))[:, 1:]
    beyond = np.maximum(fitting.LEAST[1:] - angles, angles - fitting.MOST[1:])
    assert beyond.max() < 1e-3


def test_a_network_that_took_the_front_for_the_back_is_turned(body, fitted):
    true, landmarks, *_ = fitted
    turned = true[0].copy()
    turned[:3, 0] = [0, 0, np.pi]  # upright, but facing away
    found = refine(body, turned, true[1], true[2], CAMERA, landmarks)
    there, here = (joints(body, *those) for those in (true, found[:3]))
    there, here = there - there[:, :1], here - here[:, :1]
    assert (np.linalg.norm(here - there, axis=-1).mean(axis=1) < 0.1).all()


def test_a_person_alone_or_among_others_is_the_same(body, fitted):
    _, landmarks, start, found, _ = fitted
    alone = refine(body, *(part[1:2] for part in start), CAMERA, landmarks[1:2])
    np.testing.assert_allclose(alone.pose[0], found.pose[1], atol=0.05)


def test_the_landmarks_lie_on_the_body():
    """Offsets are short, and mirrored left to right."""
    offsets = landmark_offsets()
    assert offsets.shape == (33, 3) and np.abs(offsets).max() < 0.15
    from hmrlib.prediction.landmarks import LANDMARK_NAMES
    from hmrlib.skeleton import mirror_order

    mirrored = offsets[list(mirror_order(LANDMARK_NAMES))] * [-1, 1, 1]
    np.testing.assert_allclose(mirrored, offsets, atol=1e-6)


# --- what is not to be trusted --------------------------------------------------------------------


def given_back(body, fitted, **changes):
    true, landmarks, *_ = fitted
    landmarks = [landmarks[0]._replace(**changes), landmarks[1]]
    start = [part[:2] for part in true]
    found = refine(body, *start, CAMERA, landmarks)
    assert list(found.refined) == [False, True]
    for new, old in zip(found[:3], start, strict=True):
        np.testing.assert_array_equal(new[0], old[0])
    assert found.energy[0] == found.energy_before[0]
    return found.note[0]


def test_landmarks_of_a_low_score_give_the_networks_answer_back(body, fitted):
    assert "score is 0.20" in given_back(body, fitted, score=0.2)


def test_a_person_who_is_not_seen_is_given_back(body, fitted):
    assert "too little" in given_back(body, fitted, visibility=np.full(33, 0.05))


def test_landmarks_that_two_looks_saw_elsewhere_are_given_back(body, fitted):
    assert "two looks saw them 0.30" in given_back(body, fitted, apart=np.full(33, 0.3))


def test_a_landmark_that_two_looks_saw_elsewhere_hardly_pulls(body, fitted):
    true, landmarks, start, *_ = fitted
    wrist = LANDMARK_NAMES.index("left_wrist")
    xy, apart = landmarks[0].xy.copy(), np.zeros(33)
    xy[wrist, 0] += 40
    apart[wrist] = 1.0
    one = landmarks[0]._replace(xy=xy)
    start = [part[:1] for part in start]
    trusted, doubted = (
        refine(body, *start, CAMERA, [one._replace(apart=value)]) for value in (0 * apart, apart)
    )
    hands = [
        np.asarray(body.posed_keypoints(betas, pose, ["left_wrist"]))[0, 0] + place[0]
        for pose, betas, place in (trusted[:3], doubted[:3], [part[:1] for part in true])
    ]
    off = [np.linalg.norm(hand - hands[2]) for hand in hands[:2]]
    assert off[1] < off[0] / 2


def test_garbage_is_given_back(body, fitted):
    xy = np.random.default_rng(0).uniform(0, 480, (33, 2))
    assert "no body reaches" in given_back(body, fitted, xy=xy)


def test_nobody_is_nobody(body):
    none = refine(body, np.zeros((0, 24, 3)), np.zeros((0, 10)), np.zeros((0, 3)), CAMERA, [])
    assert none.pose.shape == (0, 24, 3) and none.note == []


def test_numbers_that_are_not_finite_are_named(body, fitted):
    true, landmarks, *_ = fitted
    pose = true[0].copy()
    pose[0, 3] = np.nan
    with pytest.raises(FittingError, match="pose must be finite"):
        refine(body, pose, *true[1:], CAMERA, landmarks)


def test_depth_says_which_way_a_knee_bends_that_the_picture_does_not(body):
    """Two poses whose landmarks look alike: their depth tells them apart."""
    pose = np.zeros((2, 24, 3))
    pose[:, 0] = [np.pi, 0, 0]
    pose[0, 16], pose[1, 16] = [0, -1.0, 0], [0, 0.5, 0]  # an arm forward, an arm back
    betas, translation = np.zeros((2, 10)), np.tile([0.0, 0.3, 8.0], (2, 1))
    landmarks = seen(body, pose, betas, translation)
    start = 0 * pose
    start[:, 0] = pose[:, 0]
    found = refine(body, start, betas, translation, CAMERA, landmarks)
    elbow = hmrlib.skeleton.JOINT_NAMES.index("left_elbow")
    here = joints(body, *found[:3])
    forward = here[:, 16, 2] - here[:, elbow, 2]  # towards the viewer
    assert forward[0] > 0.1 and forward[1] < -0.03
