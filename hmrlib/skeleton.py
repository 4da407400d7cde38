"""The 24 joints of SMPL's skeleton, and the keypoint sets that data sets annotate. Plain data.

Left and right are the person's own. Names say what a point is, so that two sets are matched by
name (`correspondence`) and mirrored by name (`mirror_order`); no index table is typed twice.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

JOINT_NAMES = (
    "pelvis",
    "left_hip",
    "right_hip",
    "spine1",
    "left_knee",
    "right_knee",
    "spine2",
    "left_ankle",
    "right_ankle",
    "spine3",
    "left_foot",
    "right_foot",
    "neck",
    "left_collar",
    "right_collar",
    "head",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hand",
    "right_hand",
)

# parent of each joint (the first row of SMPL's kintree_table); the root has none: -1
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)

BONES = tuple((parent, child) for child, parent in enumerate(PARENTS) if parent >= 0)


def mirror_order(names):
    """The index of each name's mirror image: left_x <-> right_x, any other is its own.

    Raises:
        ValueError: a left name has no right one, or the reverse.
    """
    index = {name: i for i, name in enumerate(names)}
    swap = {"left": "right", "right": "left"}
    order = []
    for name in names:
        side, _, rest = name.partition("_")
        other = f"{swap[side]}_{rest}" if side in swap else name
        if other not in index:
            raise ValueError(f"{name!r} has no mirror image: {other!r} is not among the names")
        order.append(index[other])
    return tuple(order)


JOINT_MIRROR = mirror_order(JOINT_NAMES)


@dataclass(frozen=True)
class KeypointSet:
    """Named points in a data set's order, and the bones by which they are drawn.

    Attributes:
        names: one name a point.
        bones: pairs of indices into `names`.
        source: where the order is defined.
    """

    names: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    source: str

    @property
    def mirror(self):
        """The index of each point's mirror image."""
        return mirror_order(self.names)

    def __len__(self):
        return len(self.names)


def _keypoint_set(names, bones, source):
    names = tuple(names.split())
    pairs = (bone.split("-") for bone in bones.split())
    return KeypointSet(names, tuple((names.index(a), names.index(b)) for a, b in pairs), source)


_LEGS_ANKLE_UP = "right_ankle right_knee right_hip left_hip left_knee left_ankle"
_ARMS_WRIST_UP = "right_wrist right_elbow right_shoulder left_shoulder left_elbow left_wrist"
_LIMB_BONES = (
    "right_hip-right_knee right_knee-right_ankle left_hip-left_knee left_knee-left_ankle "
    "right_shoulder-right_elbow right_elbow-right_wrist "
    "left_shoulder-left_elbow left_elbow-left_wrist "
)
_TORSO_BONES = "right_hip-left_hip right_shoulder-right_hip left_shoulder-left_hip "
_NECK_BONES = "neck-right_shoulder neck-left_shoulder neck-head_top "
_FACE_BONES = "nose-left_eye nose-right_eye left_eye-left_ear right_eye-right_ear "
_H36M_BONES = (
    "pelvis-right_hip pelvis-left_hip pelvis-spine spine-thorax thorax-nose nose-head_top "
    "thorax-left_shoulder thorax-right_shoulder "
)

KEYPOINT_SETS = {
    "smpl-24": KeypointSet(JOINT_NAMES, BONES, "Loper et al. 2015"),
    "lsp-14": _keypoint_set(
        f"{_LEGS_ANKLE_UP} {_ARMS_WRIST_UP} neck head_top",
        _LIMB_BONES + _TORSO_BONES + _NECK_BONES,
        "Johnson & Everingham 2010",
    ),
    "coco-17": _keypoint_set(
        "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow "
        "right_elbow left_wrist right_wrist left_hip right_hip left_knee right_knee "
        "left_ankle right_ankle",
        _LIMB_BONES + _TORSO_BONES + _FACE_BONES + "left_shoulder-right_shoulder",
        "Lin et al. 2014",
    ),
    "cocoplus-19": _keypoint_set(
        f"{_LEGS_ANKLE_UP} {_ARMS_WRIST_UP} neck head_top nose left_eye right_eye left_ear "
        "right_ear",
        _LIMB_BONES + _TORSO_BONES + _NECK_BONES + _FACE_BONES + "neck-nose",
        "Kanazawa et al. 2018: LSP's 14, then COCO's face",
    ),
    "mpii-16": _keypoint_set(
        f"{_LEGS_ANKLE_UP} pelvis thorax neck head_top {_ARMS_WRIST_UP}",
        _LIMB_BONES + "pelvis-right_hip pelvis-left_hip pelvis-thorax thorax-neck neck-head_top "
        "thorax-right_shoulder thorax-left_shoulder",
        "Andriluka et al. 2014",
    ),
    "h36m-17": _keypoint_set(
        "pelvis right_hip right_knee right_ankle left_hip left_knee left_ankle spine thorax nose "
        "head_top left_shoulder left_elbow left_wrist right_shoulder right_elbow right_wrist",
        _LIMB_BONES + _H36M_BONES,
        "Ionescu et al. 2014, the 17 joints that move",
    ),
    "h36m-14": _keypoint_set(
        f"{_LEGS_ANKLE_UP} {_ARMS_WRIST_UP} neck head_top",
        _LIMB_BONES + _TORSO_BONES + _NECK_BONES,
        "Kanazawa et al. 2018: the common 14 of Human3.6M, in LSP's order",
    ),
    # what hmrlib's records hold: cocoplus-19 comes first, so that it is the first 19 columns
    "union-22": _keypoint_set(
        f"{_LEGS_ANKLE_UP} {_ARMS_WRIST_UP} neck head_top nose left_eye right_eye left_ear "
        "right_ear pelvis thorax spine",
        _LIMB_BONES + _NECK_BONES + _FACE_BONES + "neck-nose pelvis-right_hip pelvis-left_hip "
        "pelvis-spine spine-thorax thorax-right_shoulder thorax-left_shoulder",
        "every point that one of the sets above annotates, joints of the model left aside",
    ),
}

_OPENPOSE_BONES = (
    _LIMB_BONES + _FACE_BONES + "thorax-nose thorax-right_shoulder thorax-left_shoulder "
)
KEYPOINT_SETS["openpose-25"] = KEYPOINT_SETS["body-25"] = _keypoint_set(
    "nose thorax right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist "
    "mid_hip right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye "
    "right_ear left_ear left_big_toe left_small_toe left_heel right_big_toe right_small_toe "
    "right_heel",
    _OPENPOSE_BONES + "thorax-mid_hip mid_hip-right_hip mid_hip-left_hip "
    "left_ankle-left_heel left_ankle-left_big_toe left_big_toe-left_small_toe "
    "right_ankle-right_heel right_ankle-right_big_toe right_big_toe-right_small_toe",
    "Cao et al. 2019, BODY_25; its neck is the middle of the shoulders: the thorax",
)
KEYPOINT_SETS["openpose-18"] = _keypoint_set(
    "nose thorax right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist "
    "right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear "
    "left_ear",
    _OPENPOSE_BONES + "thorax-right_hip thorax-left_hip",
    "Cao et al. 2017, COCO's 17 and the middle of the shoulders, in OpenPose's order",
)


def correspondence(source, target):
    """Pairs of indices of the points that two sets of names share.

    Args:
        source, target: sequences of names, or names of sets in `KEYPOINT_SETS`.

    Returns:
        Two lists of equal length, into `source` and into `target`, in the target's order:
        `target_points[:, to] = source_points[:, of]`.

    Raises:
        ValueError: a set's name is unknown, or the two share no point.
    """
    source, target = names_of(source), names_of(target)
    index = {name: i for i, name in enumerate(source)}
    pairs = [(index[name], i) for i, name in enumerate(target) if name in index]
    if not pairs:
        raise ValueError(f"no point in common between {source} and {target}")
    of, to = zip(*pairs, strict=True)
    return list(of), list(to)


def names_of(names):
    """The names of a keypoint set, or the given names as a tuple."""
    if not isinstance(names, str):
        return tuple(names)
    if names not in KEYPOINT_SETS:
        raise ValueError(f"unknown keypoint set {names!r}; known are {sorted(KEYPOINT_SETS)}")
    return KEYPOINT_SETS[names].names


class JointLimits(NamedTuple):
    """How far a joint turns: (least, relaxed, most) about each axis, in degrees.

    A rotation is swing * twist: first the twist about `twist`, the axis nearest to the bone in the
    T-pose, then a swing whose rotation vector has the other two components.
    """

    twist: str
    x: tuple[float, float, float]
    y: tuple[float, float, float]
    z: tuple[float, float, float]


JOINT_LIMITS = {
    # of the left side; the right side is its mirror image (y and z change their sign).
    # legs: -x lifts the thigh, +x bends the knee, +z spreads; arms: +z lifts, -y swings forward
    "left_hip": JointLimits("y", (-120, -20, 15), (-35, 0, 40), (-20, 3, 45)),
    "left_knee": JointLimits("y", (0, 25, 140), (-15, 0, 15), (-5, 0, 5)),
    "left_ankle": JointLimits("y", (-25, 0, 45), (-20, 0, 25), (-20, 0, 20)),
    "left_foot": JointLimits("z", (-40, -5, 25), (-5, 0, 5), (-5, 0, 5)),
    "spine1": JointLimits("y", (-15, 5, 35), (-20, 0, 20), (-18, 0, 18)),
    "spine2": JointLimits("y", (-12, 3, 30), (-20, 0, 20), (-15, 0, 15)),
    "spine3": JointLimits("y", (-10, 2, 20), (-20, 0, 20), (-12, 0, 12)),
    "neck": JointLimits("y", (-30, 5, 35), (-40, 0, 40), (-25, 0, 25)),
    "head": JointLimits("y", (-25, 0, 25), (-35, 0, 35), (-20, 0, 20)),
    "left_collar": JointLimits("x", (-10, 0, 10), (-25, -2, 15), (-10, 0, 30)),
    "left_shoulder": JointLimits("x", (-70, 0, 70), (-110, -20, 35), (-85, -50, 85)),
    "left_elbow": JointLimits("x", (-45, 0, 45), (-145, -35, 0), (-5, 0, 5)),
    "left_wrist": JointLimits("x", (-80, 0, 80), (-25, 0, 20), (-65, 0, 65)),
    "left_hand": JointLimits("x", (-5, 0, 5), (-10, 0, 10), (-60, -10, 20)),
}
"""Rounded after the ranges of motion in Boone and Azen 1979, told from the T-pose. The share of
each spine joint, and of elbow and wrist in the forearm's twist, is our choice."""


# Poses made by hand: the axis-angle vector of each joint that is turned, in degrees.
POSES = {
    "standing": {
        "left_hip": (-2, 0, 3),
        "right_hip": (2, 0, -3),
        "left_collar": (0, 0, -5),
        "right_collar": (0, 0, 5),
        "left_shoulder": (5, -15, -70),
        "right_shoulder": (15, 10, 70),
        "left_elbow": (0, -15, 0),
        "right_elbow": (0, 20, 0),
    },
    "arms_akimbo": {
        "pelvis": (0, 0, 4),
        "left_hip": (0, 0, 2),
        "right_hip": (-5, -10, -8),
        "spine1": (0, 0, -4),
        "right_knee": (10, 0, 0),
        "right_ankle": (-5, 0, 4),
        "head": (0, 15, 0),
        "left_shoulder": (75, -5, -40),
        "right_shoulder": (75, 5, 40),
        "left_elbow": (10, -100, 0),
        "right_elbow": (10, 105, 0),
        "left_wrist": (0, -10, 20),
        "right_wrist": (0, 5, -20),
    },
    "walking": {
        "pelvis": (3, -5, 0),
        "left_hip": (-28, 5, 2),
        "right_hip": (15, 5, -2),
        "left_knee": (8, 0, 0),
        "right_knee": (25, 0, 0),
        "spine2": (0, 10, 0),
        "left_ankle": (5, 0, 0),
        "right_ankle": (10, 0, 0),
        "spine3": (0, 5, 0),
        "right_foot": (-25, 0, 0),
        "head": (0, -8, 0),
        "left_shoulder": (20, 15, -75),
        "right_shoulder": (-20, 15, 75),
        "left_elbow": (0, -15, 0),
        "right_elbow": (0, 30, 0),
    },
    "sitting": {
        "pelvis": (-5, 0, 0),
        "left_hip": (-82, 5, 8),
        "right_hip": (-82, -5, -8),
        "spine1": (5, 0, 0),
        "left_knee": (85, 0, 0),
        "right_knee": (85, 0, 0),
        "spine3": (10, 0, 0),
        "head": (5, 0, 0),
        "left_shoulder": (5, -30, -70),
        "right_shoulder": (5, 30, 70),
        "left_elbow": (0, -45, 0),
        "right_elbow": (0, 45, 0),
        "left_wrist": (0, -25, 5),
        "right_wrist": (0, 25, -5),
    },
    "squatting": {
        "pelvis": (35, 0, 0),
        "left_hip": (-115, 25, 15),
        "right_hip": (-115, -25, -15),
        "spine1": (10, 0, 0),
        "left_knee": (125, 0, 0),
        "right_knee": (125, 0, 0),
        "left_ankle": (-30, 0, 0),
        "right_ankle": (-30, 0, 0),
        "spine3": (5, 0, 0),
        "neck": (-20, 0, 0),
        "head": (-25, 0, 0),
        "left_shoulder": (-5, -65, -40),
        "right_shoulder": (-5, 65, 40),
        "left_elbow": (0, -70, 0),
        "right_elbow": (0, 60, 0),
        "left_wrist": (0, -5, 5),
        "right_wrist": (0, 20, -15),
    },
    "reaching": {
        "left_hip": (0, 0, 3),
        "right_hip": (8, 0, -3),
        "spine1": (0, 0, 4),
        "spine2": (-3, 0, 5),
        "left_ankle": (25, 0, 0),
        "right_ankle": (25, 0, 0),
        "spine3": (-3, 5, 8),
        "left_foot": (-25, 0, 0),
        "right_foot": (-25, 0, 0),
        "neck": (-5, -10, -5),
        "right_collar": (0, 0, -20),
        "head": (-10, -10, -5),
        "left_shoulder": (10, 5, -70),
        "right_shoulder": (-20, 35, -55),
        "left_elbow": (0, -25, 0),
        "right_elbow": (0, 20, 0),
    },
    "waving": {
        "left_hip": (0, 0, 3),
        "right_hip": (0, 0, -3),
        "spine3": (0, 0, -3),
        "left_collar": (0, 0, -5),
        "head": (0, -10, 5),
        "left_shoulder": (10, -15, -70),
        "right_shoulder": (-75, -10, 30),
        "left_elbow": (0, -20, 0),
        "right_elbow": (0, 95, 0),
        "right_wrist": (0, 0, 15),
    },
    "running": {
        "pelvis": (12, 0, 0),
        "left_hip": (-70, 0, 3),
        "right_hip": (12, 0, -3),
        "left_knee": (85, 0, 0),
        "right_knee": (50, 0, 0),
        "right_ankle": (15, 0, 0),
        "right_foot": (-20, 0, 0),
        "spine2": (0, 8, 0),
        "spine3": (5, 8, 0),
        "head": (-10, -12, 0),
        "left_shoulder": (35, 25, -65),
        "right_shoulder": (-5, 35, 65),
        "left_elbow": (0, -75, 0),
        "right_elbow": (0, 85, 0),
    },
    "lunging": {
        "left_hip": (-75, 5, 4),
        "right_hip": (28, 0, -4),
        "left_knee": (78, 0, 0),
        "right_knee": (12, 0, 0),
        "right_ankle": (-15, 0, 0),
        "right_foot": (-30, 0, 0),
        "spine3": (-5, 0, 0),
        "left_shoulder": (0, 0, 5),
        "right_shoulder": (0, 0, -5),
    },
    "kneeling": {
        "left_hip": (-85, 8, 6),
        "left_knee": (88, 0, 0),
        "right_hip": (-2, 0, -5),
        "right_knee": (92, 0, 0),
        "right_ankle": (25, 0, 0),
        "right_foot": (-30, 0, 0),
        "spine1": (8, 0, 0),
        "spine3": (8, 0, 0),
        "head": (10, 0, 0),
        "left_shoulder": (5, -45, -55),
        "right_shoulder": (10, 10, 70),
        "left_elbow": (0, -50, 0),
        "right_elbow": (0, 25, 0),
    },
    "cheering": {
        "left_hip": (0, 0, 8),
        "right_hip": (0, 0, -8),
        "spine2": (-5, 0, 0),
        "spine3": (-5, 0, 0),
        "head": (-12, 0, 0),
        "left_collar": (0, 0, 18),
        "right_collar": (0, 0, -18),
        "left_shoulder": (0, -10, 45),
        "right_shoulder": (0, 10, -45),
        "left_elbow": (0, -20, 0),
        "right_elbow": (0, 20, 0),
    },
    "bowing": {
        "pelvis": (35, 0, 0),
        "left_hip": (-40, 0, 2),
        "right_hip": (-40, 0, -2),
        "spine1": (20, 0, 0),
        "spine2": (12, 0, 0),
        "spine3": (10, 0, 0),
        "neck": (15, 0, 0),
        "head": (10, 0, 0),
        "left_knee": (5, 0, 0),
        "right_knee": (5, 0, 0),
        "left_shoulder": (0, -30, -65),
        "right_shoulder": (0, 30, 65),
        "left_elbow": (0, -15, 0),
        "right_elbow": (0, 15, 0),
    },
}


def pose_from_degrees(degrees):
    """A dict as in `POSES`, joint's name -> (3,) degrees, as a pose: (24, 3) axis-angle, radians.

    Raises:
        ValueError: no joint has this name.
    """
    pose = np.zeros((len(JOINT_NAMES), 3))
    for name, vector in degrees.items():
        if name not in JOINT_NAMES:
            raise ValueError(f"no joint is named {name!r}; the names are {', '.join(JOINT_NAMES)}")
        pose[JOINT_NAMES.index(name)] = np.radians(vector)
    return pose


def joint_limits():
    """`JOINT_LIMITS` of all joints as arrays, in radians, the right side mirrored.

    The angles of a joint are the rotation vectors of its swing and its twist in one: see
    `geometry.swing_twist_to_matrix`. The root has no limits: infinite, relaxed at 0.

    Returns:
        twist_axis (24, 3), ones and zeros; least, relaxed, most (24, 3).
    """
    twist_axis = np.zeros((len(JOINT_NAMES), 3))
    twist_axis[0, 1] = 1
    ranges = np.zeros((3, len(JOINT_NAMES), 3))
    ranges[:, 0] = np.array([-np.inf, 0, np.inf])[:, None]
    for j, name in enumerate(JOINT_NAMES[1:], start=1):
        limits = JOINT_LIMITS[name.replace("right_", "left_")]
        twist_axis[j, "xyz".index(limits.twist)] = 1
        ranges[:, j] = np.radians([limits.x, limits.y, limits.z]).T
        if name.startswith("right_"):  # the mirror image turns the other way about y and z
            ranges[:, j, 1:] = -ranges[::-1, j, 1:]
    return twist_axis, *ranges
