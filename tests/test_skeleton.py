"""The skeleton and the keypoint sets are consistent with themselves and with the papers."""

import numpy as np
import pytest

from hmrlib import skeleton


def test_the_tree_has_one_root_and_parents_come_before_children():
    assert len(skeleton.JOINT_NAMES) == len(skeleton.PARENTS) == 24
    assert skeleton.PARENTS.count(-1) == 1
    assert all(parent < child for child, parent in enumerate(skeleton.PARENTS))


def test_mirror_images_have_mirrored_parents():
    mirror, parents = skeleton.JOINT_MIRROR, skeleton.PARENTS
    assert [mirror[mirror[j]] for j in range(24)] == list(range(24))
    assert all(parents[mirror[j]] == mirror[parents[j]] for j in range(1, 24))
    assert sum(mirror[j] == j for j in range(24)) == 6  # pelvis, three of the spine, neck, head


@pytest.mark.parametrize("name", skeleton.KEYPOINT_SETS)
def test_keypoint_sets_are_whole(name):
    points = skeleton.KEYPOINT_SETS[name]
    count = int(name.split("-")[1])
    assert len(points) == len(set(points.names)) == count
    assert {i for bone in points.bones for i in bone} == set(range(count)), "a point has no bone"
    mirrored = {frozenset(points.mirror[i] for i in bone) for bone in points.bones}
    assert mirrored == {frozenset(bone) for bone in points.bones}, "bones are not symmetric"


def test_correspondence_matches_by_name():
    of, to = skeleton.correspondence("coco-17", "lsp-14")
    lsp, coco = skeleton.KEYPOINT_SETS["lsp-14"].names, skeleton.KEYPOINT_SETS["coco-17"].names
    assert [coco[i] for i in of] == [lsp[i] for i in to]
    assert len(of) == 12  # all of LSP but neck and head top


def test_unknown_or_disjoint_sets_are_refused():
    with pytest.raises(ValueError, match=r"unknown keypoint set 'lsp'.*lsp-14"):
        skeleton.correspondence("lsp", "coco-17")
    with pytest.raises(ValueError, match="no point in common"):
        skeleton.correspondence(["tail"], "coco-17")
    with pytest.raises(ValueError, match="'left_paw' has no mirror image"):
        skeleton.mirror_order(["left_paw"])


@pytest.mark.parametrize("name", skeleton.POSES)
def test_poses_bend_knees_and_elbows_the_way_they_bend(name):
    pose = np.degrees(skeleton.pose_from_degrees(skeleton.POSES[name]))
    joint = {joint: pose[i] for i, joint in enumerate(skeleton.JOINT_NAMES)}
    assert pose.shape == (24, 3) and np.linalg.norm(pose, axis=1).max() < 150
    assert joint["left_knee"][0] >= 0 and joint["right_knee"][0] >= 0
    assert joint["left_elbow"][1] <= 0 <= joint["right_elbow"][1]


def test_pose_from_degrees():
    pose = skeleton.pose_from_degrees({"left_knee": (90, 0, 0)})
    assert pose[4] == pytest.approx([np.pi / 2, 0, 0]) and np.count_nonzero(pose) == 1
    with pytest.raises(ValueError, match="no joint is named 'tail'"):
        skeleton.pose_from_degrees({"tail": (1, 2, 3)})
