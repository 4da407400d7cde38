"""Pseudo poses: annotated points and guessed depth become bodies, where that is likely right."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

pytest.importorskip("ai_edge_litert", reason="runs the landmark networks")

from hmrlib import skeleton
from hmrlib.data import records
from hmrlib.data.datasets.points import torso_length
from hmrlib.motion.library import read_poses
from hmrlib.prediction import pseudo
from hmrlib.prediction.predictor import Predictor
from tests.sample_people import write_people

SIZE = 192


def flat(sample):
    """Points in the picture alone, as photographs are annotated."""
    kept = ("image", "center", "size", "keypoints_2d", "source", "id")
    return {name: sample[name] for name in kept}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Everything known; the points alone; what was fitted to them; its index."""
    place = tmp_path_factory.mktemp("pseudo")
    write_people(place / "true", 6, 0, SIZE)
    write_people(place / "flat", 6, 0, SIZE, flat)
    index = pseudo.fit_records(place / "flat", place / "fit", progress=False)
    return place / "true", place / "flat", place / "fit", index


def test_what_is_kept_is_near_the_truth(folders):
    true, _, fit, index = folders
    kept = 0
    for sample, known in zip(records.open_records(fit), records.open_records(true), strict=True):
        assert sample["id"] == known["id"]
        np.testing.assert_array_equal(sample["keypoints_2d"], known["keypoints_2d"])
        if not sample["has_pose"]:
            assert not sample["pseudo_3d"] and not sample["keypoints_3d"].any()
            continue
        kept += 1
        assert sample["pseudo_3d"] and sample["has_betas"] and sample["has_camera"]
        points = sample["keypoints_3d"][:, :3]
        focal, *middle = sample["camera"]
        seen = focal * points[:, :2] / points[:, 2:] + middle
        off = np.linalg.norm(seen - known["keypoints_2d"][:, :2], axis=-1)[:12].mean()
        assert off < 0.1 * known["size"]
    assert kept == index["notes"]["kept"] == index["known"]["pose"] >= 3


def test_kept_poses_are_a_library_upright(folders):
    true, _, fit, index = folders
    poses = read_poses(fit / "poses.npz")
    assert len(poses) == index["notes"]["kept"]
    known = [sample["pose"][0] for sample, fitted in
             zip(records.open_records(true), records.open_records(fit), strict=True)
             if fitted["has_pose"]]  # fmt: skip
    # in the camera's frame, whose y points down, each is turned by half a turn about x
    turned = Rotation.from_rotvec([np.pi, 0, 0]) * Rotation.from_rotvec(known)
    apart = (turned * Rotation.from_rotvec(poses[:, 0]).inv()).magnitude()
    assert np.degrees(np.median(apart)) < 40


def test_every_fit_is_told_of(folders):
    *_, fit, index = folders
    told = json.loads((fit / "fits.json").read_text())
    assert len(told) == index["samples"] == 6
    assert sum(not one["refused"] for one in told.values()) == index["notes"]["kept"]
    assert "| upright |" in pseudo.coverage(fit)


def test_a_second_call_changes_nothing(folders, tmp_path):
    _, flat_folder, fit, index = folders
    before = {path.name: path.read_bytes() for path in fit.glob("*.tfrecord")}
    assert pseudo.fit_records(flat_folder, fit, progress=False) == index
    assert {path.name: path.read_bytes() for path in fit.glob("*.tfrecord")} == before


def test_poses_that_are_known_stay(folders, tmp_path):
    true = folders[0]
    index = pseudo.fit_records(true, tmp_path / "out", progress=False)
    assert index["notes"]["has a pose already"] == 6 and not index["notes"].get("kept")
    for one, other in zip(
        records.open_records(true), records.open_records(tmp_path / "out"), strict=True
    ):
        np.testing.assert_array_equal(one["pose"], other["pose"])


def test_judgement():
    image = np.full((200, 200, 3), 128, np.uint8)
    points = np.zeros((22, 3))
    predictor = Predictor(refine=False)
    person = predictor(image, boxes=[[40, 20, 160, 190]])[0]
    person = replace(person, refined=True)
    points[:, :2] = person.keypoints_2d("union-22")
    points[:, 2] = 1
    found = pseudo.judge(person, points)
    assert found.residual == pytest.approx(0, abs=1e-3)
    points[:12, 0] += 0.5 * torso_length(points)
    assert pseudo.judge(person, points).residual == pytest.approx(0.5, abs=1e-3)
    assert pseudo.judge(person, points).refused == "far from the points"
    person = replace(person, refined=False, note="why")
    assert pseudo.judge(person, points).refused == "not fitted: why"


def test_beyond_limits():
    pose = np.zeros((2, 24, 3))
    knee = skeleton.JOINT_NAMES.index("left_knee")
    least, _, most = skeleton.JOINT_LIMITS["left_knee"].x
    pose[0, knee, 0] = np.radians(most - 5)
    pose[1, knee, 0] = np.radians(least - 20)
    found = pseudo.beyond_limits(pose)[:, knee]
    np.testing.assert_allclose(found, [0, 20], atol=0.1)


def test_folders_that_do_not_fit(folders, tmp_path):
    _, flat_folder, fit, _ = folders
    with pytest.raises(pseudo.PseudoError, match="another folder than that of the records"):
        pseudo.fit_records(flat_folder, flat_folder)
    with pytest.raises(pseudo.PseudoError, match="was made with other limits"):
        pseudo.fit_records(flat_folder, fit, pseudo.Limits(residual=0.1))
    with pytest.raises(records.RecordError, match="no records"):
        pseudo.fit_records(tmp_path, tmp_path / "out")
