"""Keypoints by name: to the records' 22, and out of boxes and cameras."""

import re

import numpy as np

from hmrlib.data import records
from hmrlib.data.datasets.base import LeftOut, as_numbers
from hmrlib.skeleton import KEYPOINT_SETS, correspondence

POINTS_MARGIN = 1.1  # side of a box that is taken from points, in what they span


def to_union(points, names):
    """(n, c) points of a named set -> (22, c) those of the records, zero where not in the set."""
    of, to = correspondence(names, records.KEYPOINTS)
    union = np.zeros((records.K, points.shape[1]), np.float32)
    with np.errstate(over="ignore"):  # what is infinite is refused later
        union[to] = np.asarray(points)[of]
    return union


_UNION = KEYPOINT_SETS[records.KEYPOINTS]
_LEGS, _ARMS = (
    [_UNION.names.index(f"{side}_{part}") for side in ("left", "right") for part in parts]
    for parts in (("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist"))
)
AGREE = 0.3  # mean distance, in torsos, up to which annotator and network saw the same person
WRONG = 0.4  # distance of a point, from which on one of them is wrong


def reconcile(annotated, guessed):
    """What an annotator and a landmark network say of the same person, joined.

    Where annotators were in haste the network is nearer to the truth; where it saw nothing, or
    another person, they are. So legs or arms whose annotated sides fit the network's only when they
    are exchanged, are exchanged. Where both then agree on the person, the network's points count:
    one on which they differ widely is unknown, and one that only one of them has is taken as it is.
    Where they do not agree, the annotated points stay.

    Args:
        annotated, guessed: (22, 3), pixels and 1 where known; of the second, what is sure.

    Returns:
        (22, 3) float32; whether they agree on the person.
    """
    points, guessed = np.array(annotated, np.float32), np.asarray(guessed, np.float32)
    size = max(torso_length(points), torso_length(guessed), 1e-6)
    for limbs in (_LEGS, _ARMS):
        other = points.copy()
        other[limbs] = points[[_UNION.mirror[i] for i in limbs]]
        before, after = (_apart(some[limbs], guessed[limbs]) / size for some in (points, other))
        if min(len(before), len(after)) >= 3 and after.mean() < 0.4 * before.mean() > 0.1:
            points = other
    apart = _apart(points[_LEGS + _ARMS], guessed[_LEGS + _ARMS]) / size
    if len(apart) < 6 or np.minimum(apart, 1).mean() > AGREE:
        return points, False
    for i in np.flatnonzero(guessed[:, 2] > 0):
        wrong = (_apart(points[[i]], guessed[[i]]) > WRONG * size).any()
        points[i] = 0 if wrong else guessed[i]
    return points, True


def _apart(one, other):
    """Distances of the points that both know."""
    both = (one[:, 2] > 0) & (other[:, 2] > 0)
    return np.linalg.norm(one[both, :2] - other[both, :2], axis=-1)


def torso_length(points):
    """The longer of the diagonals from a shoulder to the other side's hip, (22, 3) -> pixels; 0."""
    ends = [[_UNION.names.index(f"{side}_shoulder"), _UNION.names.index(f"{other}_hip")]
            for side, other in (("left", "right"), ("right", "left"))]  # fmt: skip
    known = [points[pair, :2] for pair in ends if (points[pair, 2] > 0).all()]
    return max([float(np.linalg.norm(a - b)) for a, b in known], default=0.0)


_SIDED = re.compile(
    "(left|right|l|r)?(shoulder|elbow|wrist|hip|knee|ankle|eye|ear)(left|right|l|r)?"
)
_MIDDLE = {
    "tophead": "head_top",
    "topofhead": "head_top",
    "headtop": "head_top",
    "upperneck": "neck",
    "midhip": "pelvis",
}


def point_names(names):
    """The points' names of a tool or another data set, as hmrlib calls them.

    Sides and joints are recognized in "Left Shoulder", "l_shoulder", "LShoulder", "shoulder.L".
    CrowdPose's "head" is the top of it. A name of which nothing is known stays as it is, and its
    point is not used.
    """
    ours = tuple(_point_name(name) for name in names)
    with_top = ["head_top" if name == "head" else name for name in ours]
    crowdpose = sorted(with_top) == sorted(KEYPOINT_SETS["lsp-14"].names)
    return tuple(with_top) if crowdpose else ours


def _point_name(name):
    letters = re.sub("[^a-z0-9]", "", name.lower())
    sided = _SIDED.fullmatch(letters)
    if sided and bool(sided[1]) != bool(sided[3]):
        side = {"l": "left", "r": "right"}[(sided[1] or sided[3])[0]]
        return f"{side}_{sided[2]}"
    return _MIDDLE.get(letters, name.strip().lower().replace(" ", "_"))


def named_points(names):
    """`point_names` of a list out of a file; None where it is no list of different names, or
    none of them is known."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    ours = point_names(names)
    known = set(ours) & set(KEYPOINT_SETS[records.KEYPOINTS].names)
    return ours if known and len(set(ours)) == len(ours) else None


def box_corners(box):
    """[left, top, width, height] -> (2, 3) its corners, as known points; none of no area.

    Raises:
        LeftOut: it is not four finite numbers.
    """
    if box is None or box == []:
        return np.zeros((0, 3))
    left, top, width, height = as_numbers(box, "a box", (4,)).tolist()
    if not np.isfinite([left, top, width, height]).all():
        raise LeftOut("a box that is not finite")
    if not (width > 0 and height > 0):
        return np.zeros((0, 3))
    return np.array([[left, top, 1], [left + width, top + height, 1]])


def fit_camera(points_2d, points_3d, within=5.0):
    """The pinhole that made (N, 2) pixels of (N, 3) points in its frame, by least squares.

    Points at the camera or behind it, and those with a NaN, have no picture and are left out.

    Returns:
        (3,) focal length and principal point, pixels; None if it misses by more than `within`
        pixels at the median, or fewer than three points are left: then they are no such pair.
    """
    points_2d, points_3d = np.asarray(points_2d, float), np.asarray(points_3d, float)
    seen = np.isfinite(points_2d).all(1) & np.isfinite(points_3d).all(1) & (points_3d[:, 2] > 1e-3)
    points_2d, points_3d = points_2d[seen], points_3d[seen]
    if len(points_2d) < 3:
        return None
    over_depth = points_3d[:, :2] / points_3d[:, 2:]
    zeros, ones = np.zeros(len(over_depth)), np.ones(len(over_depth))
    rows = [
        np.stack([over_depth[:, 0], ones, zeros], 1),
        np.stack([over_depth[:, 1], zeros, ones], 1),
    ]
    matrix, target = np.concatenate(rows), points_2d.T.ravel()
    camera = np.linalg.lstsq(matrix, target, rcond=None)[0]
    miss = np.abs(matrix @ camera - target)
    return camera.astype(np.float32) if np.median(miss) <= within and camera[0] > 0 else None
