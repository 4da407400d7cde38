"""Keypoints of the body: where they should be, and how they move."""

import numpy as np
import pytest
from keras import ops

import hmrlib
from hmrlib import skeleton
from hmrlib.body.keypoints import LANDMARK_NAMES, keypoint_matrix, landmark_vertices
from tests.gradients import gradient

pytestmark = pytest.mark.backends
UNION = skeleton.KEYPOINT_SETS["union-22"]


@pytest.fixture(scope="module")
def body():
    return hmrlib.load_body()


def named(body, output, names="union-22"):
    points = np.asarray(ops.convert_to_numpy(body.keypoints(output, names)))[0]
    order = skeleton.KEYPOINT_SETS[names].names if isinstance(names, str) else names
    return dict(zip(order, points, strict=True))


def test_the_set_of_all_points_has_every_annotated_point():
    for name, points in skeleton.KEYPOINT_SETS.items():
        if name not in ("smpl-24", "openpose-25", "body-25"):  # which have joints, or feet
            assert set(points.names) <= set(UNION.names)
    assert UNION.names[:19] == skeleton.KEYPOINT_SETS["cocoplus-19"].names


def test_landmarks_are_where_a_face_has_them(body):
    point = named(body, body())
    assert point["head_top"][1] == pytest.approx(body.v_template[:, 1].max(), abs=1e-5)
    face = [point[name] for name in ("nose", "left_eye", "right_eye")]
    ears = [point["left_ear"], point["right_ear"]]
    assert min(p[2] for p in face) > 0.05 + max(p[2] for p in ears)
    assert 0.05 < point["left_eye"][0] - point["right_eye"][0] < 0.07  # adults: 54 to 74 mm
    assert point["nose"][1] < point["left_eye"][1] < point["head_top"][1]
    for left, right in (("left_eye", "right_eye"), ("left_ear", "right_ear")):
        np.testing.assert_allclose(point[left] * [-1, 1, 1], point[right], atol=1e-5)


def test_eyes_are_in_front_of_makehumans_eyeballs(assets):
    """The rule that finds the pupils, on MakeHuman's own mesh, whose eyeballs are known."""
    vertices, groups = assets.vertices[:13380], assets.groups
    neck = assets.vertices[groups["joint-neck"]].mean(axis=0)
    weights = np.zeros((len(vertices), 24))
    weights[vertices[:, 1] > neck[1] + 0.06, skeleton.JOINT_NAMES.index("head")] = 1
    found = dict(zip(LANDMARK_NAMES, vertices[landmark_vertices(vertices, weights)], strict=True))
    for side in "lr":
        eyeball = assets.vertices[groups[f"helper-{side}-eye"]].mean(axis=0)
        eye = found["left_eye" if side == "l" else "right_eye"]
        assert np.linalg.norm((eye - eyeball)[:2]) < 0.008


def test_openposes_feet_are_where_feet_have_them(body):
    point = named(body, body(), "openpose-25")
    middle = (point["left_hip"] + point["right_hip"]) / 2
    np.testing.assert_allclose(point["mid_hip"], middle, atol=1e-6)
    ground = body.v_template[:, 1].min()
    for side, outwards in (("left", 1), ("right", -1)):
        toe, little, heel = (point[f"{side}_{n}"] for n in ("big_toe", "small_toe", "heel"))
        assert 0.2 < toe[2] - heel[2] < 0.32, "a foot's length in metres"
        assert 0.02 < toe[2] - little[2] < 0.09 and 0.03 < outwards * (little - toe)[0] < 0.1
        assert max(toe[1], little[1], heel[1]) < ground + 0.08
        assert heel[2] < point[f"{side}_ankle"][2] < little[2]
    for name in ("big_toe", "small_toe", "heel"):
        mirrored = point[f"left_{name}"] * [-1, 1, 1]
        np.testing.assert_allclose(mirrored, point[f"right_{name}"], atol=1e-6)


def test_keypoints_alone_are_those_of_the_whole_body(body):
    rng = np.random.default_rng(2)
    betas, pose = rng.normal(size=(3, 10)), rng.normal(scale=0.4, size=(3, 24, 3))
    whole = ops.convert_to_numpy(body.keypoints(body(betas, pose)))
    alone = ops.convert_to_numpy(body.posed_keypoints(betas, pose))
    np.testing.assert_allclose(alone, whole, atol=1e-5)


def test_joints_are_joints_and_the_rest_lies_between(body):
    pose = np.random.default_rng(0).normal(scale=0.4, size=(1, 72))
    out = body(None, pose)
    joints = dict(zip(skeleton.JOINT_NAMES, np.asarray(out.joints)[0], strict=True))
    point = named(body, out)
    for name in set(UNION.names) & set(joints):
        np.testing.assert_allclose(point[name], joints[name], atol=1e-5)
    middle = (joints["left_shoulder"] + joints["right_shoulder"]) / 2
    np.testing.assert_allclose(point["thorax"], middle, atol=1e-5)
    some = named(body, out, ("head_top", "left_wrist"))
    np.testing.assert_array_equal(some["head_top"], point["head_top"])


def test_a_turned_body_has_turned_keypoints_with_gradients(body):
    quarter = np.zeros((1, 72), np.float32)
    quarter[0, 1] = np.pi / 2  # to its left: +z becomes +x
    before, after = named(body, body()), named(body, body(None, quarter))
    pelvis = before["pelvis"]
    for name in UNION.names:
        x, y, z = before[name] - pelvis
        np.testing.assert_allclose(after[name] - pelvis, [z, y, -x], atol=1e-5)

    slope = gradient(lambda pose: ops.sum(body.keypoints(body(None, pose))[:, 14]), quarter)
    assert np.isfinite(slope).all() and np.abs(slope).max() > 0.1


def test_unknown_points_are_refused():
    with pytest.raises(ValueError, match="unknown keypoint set 'lsp'"):
        keypoint_matrix("lsp")
    with pytest.raises(ValueError, match="no keypoint 'tail'; known are"):
        keypoint_matrix(["tail"])
