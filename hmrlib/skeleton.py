"""The 24 joints of SMPL's skeleton, and the keypoint sets that data sets annotate. Plain data.

Left and right are the person's own. Names say what a point is, so that two sets are matched by
name (`correspondence`) and mirrored by name (`mirror_order`); no index table is typed twice.
"""

from dataclasses import dataclass

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
}


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
    source, target = _names(source), _names(target)
    index = {name: i for i, name in enumerate(source)}
    pairs = [(index[name], i) for i, name in enumerate(target) if name in index]
    if not pairs:
        raise ValueError(f"no point in common between {source} and {target}")
    of, to = zip(*pairs, strict=True)
    return list(of), list(to)


def _names(names):
    if not isinstance(names, str):
        return tuple(names)
    if names not in KEYPOINT_SETS:
        raise ValueError(f"unknown keypoint set {names!r}; known are {sorted(KEYPOINT_SETS)}")
    return KEYPOINT_SETS[names].names
