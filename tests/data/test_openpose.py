"""OpenPose's JSON: what it wrote is read, and anything else is named."""

import json

import numpy as np
import pytest

from hmrlib import skeleton
from hmrlib.data.openpose import SETS, OpenPoseError, read_openpose


def person(count=25, name="pose_keypoints_2d", **other):
    points = np.random.default_rng(count).uniform(1, 900, (count, 3))
    points[:, 2] = 1.04  # of real files, the largest
    points[3] = 0
    return {
        "person_id": [-1],
        name: points.ravel().tolist(),
        "face_keypoints_2d": [0.5] * 210,
    } | other


def written(path, *people, **other):
    path.write_text(json.dumps({"version": 1.3, "people": people, "part_candidates": []} | other))
    return path


@pytest.mark.parametrize("count", SETS)
@pytest.mark.parametrize("name", ["pose_keypoints_2d", "pose_keypoints"])
def test_people_are_read(tmp_path, count, name):
    people = [person(count, name), person(count, name)]
    found = read_openpose(written(tmp_path / "a.json", *people))
    assert found.shape == (2, count, 3) and found.dtype == np.float32
    assert len(skeleton.KEYPOINT_SETS[SETS[count]]) == count
    np.testing.assert_allclose(found[0].ravel(), people[0][name], rtol=1e-6)


def test_nobody_and_somebody_without_a_body(tmp_path):
    assert read_openpose(written(tmp_path / "a.json")).shape == (0, 25, 3)
    found = read_openpose(written(tmp_path / "a.json", person(18), {"pose_keypoints_2d": []}))
    assert found.shape == (2, 18, 3) and not found[1].any()
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text("\ufeff" + text, "utf-8")
    np.testing.assert_array_equal(read_openpose(tmp_path / "a.json"), found)


@pytest.mark.parametrize(
    ("people", "message"),
    [
        ([person(15)], r"25 or 18 points for each person, found \[15\]"),
        ([person(25), person(18)], r"found \[18, 25\]"),
        ([{}], "no list 'pose_keypoints_2d'"),
        ([None], "no list 'pose_keypoints_2d'"),
        ([person(pose_keypoints_2d=[1.0] * 74)], "three numbers"),
        ([person(pose_keypoints_2d=[None] * 75)], "three numbers"),
        ([person(pose_keypoints_2d=["1"] * 75)], "three numbers"),
        ([person(pose_keypoints_2d=[float("nan")] * 75)], "finite"),
        ([person(pose_keypoints_2d=[1e300] * 75)], "finite"),
        ([person(pose_keypoints_2d=[-1.0] * 75)], "confidences from 0"),
        ([person(pose_keypoints_2d=[0.5] * 75)], "parts of the picture"),
        ([person(pose_keypoints_2d=[10**400] * 75)], "too large"),
    ],
)
def test_what_openpose_does_not_write_is_named(tmp_path, people, message):
    with pytest.raises(OpenPoseError, match=rf"a\.json: .*{message}"):
        read_openpose(written(tmp_path / "a.json", *people))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b"{}", b"[" * 100_000, None])
def test_other_files_are_named(tmp_path, content):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(OpenPoseError, match=r"a\.json: expected OpenPose's JSON"):
        read_openpose(tmp_path / "a.json")
