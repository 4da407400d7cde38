"""Keypoints of the body: what data sets annotate, from the model's joints and points of its face.

Most annotated points are joints of the model. Nose, eyes, ears, the top of the head, toes and heels
are points of its skin: they are found on the mean body by what they are (the foremost point of the
head, its outermost ones, ...), not by vertex numbers, so that they exist for any file in SMPL's
layout.
"""

import numpy as np

from hmrlib.skeleton import JOINT_NAMES, KEYPOINT_SETS

LANDMARK_NAMES = ("head_top", "nose", "left_eye", "right_eye", "left_ear", "right_ear")
FEET_NAMES = tuple(
    f"{side}_{name}" for side in ("left", "right") for name in ("big_toe", "small_toe", "heel")
)
SOURCES = (*JOINT_NAMES, *LANDMARK_NAMES, *FEET_NAMES)

# points that are neither a joint nor a landmark, as means of joints
_BETWEEN = {
    "thorax": ("left_shoulder", "right_shoulder"),
    "spine": ("spine1", "spine2"),
    "mid_hip": ("left_hip", "right_hip"),
}

# the pupils, measured on the mean open body: their distance over the width of the head (ears
# included), and their height between the tip of the nose and the top of the head
_PUPILS_APART = 0.35
_PUPILS_UP = 0.27


def landmark_vertices(v_template, weights):
    """The vertices at the landmarks of the head, in the order of `LANDMARK_NAMES`.

    Args:
        v_template: (V, 3) metres, y up, facing +z, its left at +x.
        weights: (V, 24) skinning weights; they say which vertices are the head's.

    Returns:
        (6,) vertex indices.
    """
    head = _carried(weights, "head")
    points = v_template[head]
    width = np.ptp(points[:, 0])
    middle = np.abs(points[:, 0] - np.median(points[:, 0])) < 0.05 * width
    top = np.where(middle, points[:, 1], -np.inf).argmax()
    nose = np.where(middle, points[:, 2], -np.inf).argmax()
    up = points[nose, 1] + _PUPILS_UP * (points[top, 1] - points[nose, 1])
    in_front = points[:, 2] > points[:, 2].mean()
    eyes = []
    for side in (1, -1):
        off = np.hypot(points[:, 0] - side * _PUPILS_APART / 2 * width, points[:, 1] - up)
        eyes.append(np.where(in_front, off, np.inf).argmin())
    ears = points[:, 0].argmax(), points[:, 0].argmin()
    return head[[top, nose, *eyes, *ears]]


def _carried(weights, *joints):
    """The vertices that mostly move with these joints; all, where a file has none."""
    share = weights[:, [JOINT_NAMES.index(joint) for joint in joints]].sum(axis=1)
    return np.flatnonzero(share > 0.5) if (share > 0.5).any() else np.arange(len(weights))


def feet_vertices(v_template, weights):
    """The vertices at toes and heels, (6,), in the order of `FEET_NAMES`; see `landmark_vertices`.

    The big toe is the foremost point of the foot's inner half, the small toe the outermost of its
    front third, the heel the hindmost.
    """
    found = []
    for side, outwards in (("left", 1), ("right", -1)):
        foot = _carried(weights, f"{side}_ankle", f"{side}_foot")
        out, forward = outwards * v_template[foot, 0], v_template[foot, 2]
        inner = out <= (out.min() + out.max()) / 2
        front = forward >= forward.max() - np.ptp(forward) / 3
        big = np.where(inner, forward, -np.inf).argmax()
        small = np.where(front, out, -np.inf).argmax()
        found += [foot[big], foot[small], foot[forward.argmin()]]
    return np.array(found)


def keypoint_matrix(names, sources=(*JOINT_NAMES, *LANDMARK_NAMES)):
    """How keypoints come out of joints and landmarks: keypoints = matrix @ [joints, landmarks].

    Args:
        names: a set of `skeleton.KEYPOINT_SETS`, or a sequence of names.
        sources: names of the points that there are, S = 24 + 6; `SOURCES` has the feet, too.

    Returns:
        (K, S) float32; each row sums to one.

    Raises:
        ValueError: a set or a point is unknown.
    """
    if isinstance(names, str):
        if names not in KEYPOINT_SETS:
            raise ValueError(f"unknown keypoint set {names!r}; known are {sorted(KEYPOINT_SETS)}")
        names = KEYPOINT_SETS[names].names
    matrix = np.zeros((len(names), len(sources)), np.float32)
    for row, name in zip(matrix, names, strict=True):
        parts = _BETWEEN.get(name, (name,))
        if not set(parts) <= set(sources):
            raise ValueError(f"no keypoint {name!r}; known are {[*sources, *_BETWEEN]}")
        row[[sources.index(part) for part in parts]] = 1 / len(parts)
    return matrix
