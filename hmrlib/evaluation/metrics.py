"""How far a recovered body is from the true one. Metres in, metres out.

A number means nothing without its protocol: which points, which alignment. Here it is the one of
HMR and its successors: 14 points (`EVALUATED`), centred between the hips for MPJPE, aligned by
rotation, scale and translation for PA-MPJPE; the mean over points, then over samples.
"""

import numpy as np
from keras import ops

from hmrlib import geometry
from hmrlib.skeleton import JOINT_NAMES, KEYPOINT_SETS, PARENTS

EVALUATED = KEYPOINT_SETS["h36m-14"].names  # the first 14 of "union-22", too
PARTS = [
    JOINT_NAMES.index(name)
    for name in (
        *("pelvis", "left_hip", "right_hip", "left_knee", "right_knee"),
        *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow"),
    )
]  # trunk, thighs, shins, upper arms, forearms
_HIPS = [EVALUATED.index("right_hip"), EVALUATED.index("left_hip")]
_TORSO = [EVALUATED.index("left_shoulder"), EVALUATED.index("right_hip")]


def joint_distances(predicted, true, hips=None):
    """How far each point is from the true one, both bodies centred between the hips.

    Args:
        predicted, true: (N, K, 3) metres, K = 14 points in the order of `EVALUATED`, or any if
            `hips`, a pair of indices, says where the hips are.

    Returns:
        (N, K) metres.
    """
    predicted, true = (centred(_points(x), hips) for x in (predicted, true))
    return np.linalg.norm(predicted - true, axis=-1)


def centred(points, hips=None):
    """Points (N, K, 3) with the middle of the hips at the origin; see `joint_distances`."""
    return points - points[:, list(_HIPS if hips is None else hips)].mean(axis=1, keepdims=True)


def aligned_joint_distances(predicted, true):
    """The same after the similarity that fits best (Procrustes), (N, K) metres."""
    predicted, true = (_points(x) for x in (predicted, true))
    scale, rotation, translation = (
        ops.convert_to_numpy(part)
        for part in geometry.procrustes(*map(ops.convert_to_tensor, (predicted, true)))
    )
    turned = np.einsum("ncd,nkd->nkc", rotation, predicted)
    aligned = scale[:, None, None] * turned + translation[:, None]
    return np.linalg.norm(aligned - true, axis=-1)


def mpjpe(predicted, true, hips=None):
    """Mean per-joint position error, (N,) metres; see `joint_distances`."""
    return joint_distances(predicted, true, hips).mean(axis=-1)


def pa_mpjpe(predicted, true):
    """The same after Procrustes, (N,) metres: the error of pose alone."""
    return aligned_joint_distances(predicted, true).mean(axis=-1)


def pve(predicted, true):
    """Mean per-vertex error of two bodies, both with the pelvis at the origin.

    Args:
        predicted, true: pairs of vertices (N, V, 3) and joints (N, J, 3), the pelvis first; metres.

    Returns:
        (N,) metres, one a sample.
    """
    centred = [_points(vertices) - _points(joints)[:, :1] for vertices, joints in (predicted, true)]
    return np.linalg.norm(centred[0] - centred[1], axis=-1).mean(axis=-1)


def reprojection_error(predicted, true, visible):
    """Mean distance of the visible keypoints in the picture.

    Args:
        predicted, true: (N, K, 2), pixels or any unit.
        visible: (N, K), above 0 where the keypoint is known.

    Returns:
        (N,) in that unit; NaN where a sample has none.
    """
    known = np.asarray(visible) > 0
    distance = np.linalg.norm(np.asarray(predicted) - np.asarray(true), axis=-1)
    count = known.sum(axis=-1)
    total = np.where(known, distance, 0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def pck(predicted, true, visible, within=0.2, torso=None):
    """Percentage of correct keypoints: how many are near enough, measured by the torso.

    Near enough is `within` times the distance from the left shoulder to the right hip, as is usual
    for LSP (Yang and Ramanan 2013).

    Args:
        predicted, true: (N, K, 2), pixels or any unit.
        visible: (N, K), above 0 where the keypoint is known.
        torso: indices of that shoulder and that hip; by default those of `EVALUATED`.

    Returns:
        (N,) from 0 to 1; NaN where a sample does not know its torso.
    """
    shoulder, hip = _TORSO if torso is None else torso
    predicted, true, known = np.asarray(predicted), np.asarray(true), np.asarray(visible) > 0
    reach = within * np.linalg.norm(true[:, shoulder] - true[:, hip], axis=-1)
    near = np.linalg.norm(predicted - true, axis=-1) <= reach[:, None]
    share = (near & known).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)
    return np.where(known[:, shoulder] & known[:, hip], share, np.nan)


def auc(distances, most=0.15, steps=30):
    """Area under the curve of correct points over the distance that counts as correct.

    MPI-INF-3DHP's (Mehta et al. 2017): the mean over thresholds from 0 to 150 mm.

    Args:
        distances: (..., K) metres; NaN where a point is not known.
        most: the last threshold, metres.
        steps: thresholds between.

    Returns:
        (..., K) from 0 to 1, NaN where the distance is: its mean over points is the area.
    """
    thresholds = np.linspace(0, most, steps + 1)
    share = (np.asarray(distances)[..., None] <= thresholds).mean(axis=-1)
    return np.where(np.isnan(distances), np.nan, share)


def part_angles(predicted, true, parts=PARTS):
    """How far the parts of the body are turned from the true ones (3DPW's MPJAE, their mean).

    Args:
        predicted, true: (N, 24, 3, 3) rotations of each joint relative to its parent, the first
            the whole body's.
        parts: whose rotations in the camera's frame are compared; 3DPW's nine.

    Returns:
        (N, len(parts)) radians, from 0 to pi.
    """
    predicted, true = (_world(np.asarray(x, np.float64))[:, list(parts)] for x in (predicted, true))
    trace = np.einsum("npij,npij->np", predicted, true)  # of the rotation from one to the other
    return np.arccos(np.clip((trace - 1) / 2, -1, 1))


def acceleration_errors(predicted, true, fps):
    """Difference of accelerations of a motion (Kanazawa et al. 2019), one for each inner frame.

    Args:
        predicted, true: (F, K, 3) metres, frames that follow one another, F >= 3.
        fps: frames a second.

    Returns:
        (F - 2,) metres / s^2, the mean over points.
    """
    bend = [x[:-2] - 2 * x[1:-1] + x[2:] for x in (_points(predicted), _points(true))]
    return np.linalg.norm(bend[0] - bend[1], axis=-1).mean(axis=-1) * fps**2


def _world(rotations):
    """Rotations in the camera's frame, from those relative to the parents."""
    world = rotations.copy()
    for joint, parent in enumerate(PARENTS[1:], start=1):
        world[:, joint] = world[:, parent] @ rotations[:, joint]
    return world


def _points(points):
    points = np.asarray(points, np.float32)
    if points.ndim != 3 or points.shape[-1] != 3 or not np.isfinite(points).all():
        raise ValueError(f"expected finite points (N, K, 3), found {points.shape}")
    return points
