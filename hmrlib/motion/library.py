"""Libraries of poses: what `hmr data mocap` writes and all others read."""

import numpy as np

from hmrlib.io import ArchiveError, read_npz


class PoseError(ValueError):
    """Poses are not what is expected, or no file of them; the message says what was found."""


def read_poses(path):
    """The poses (N, 24, 3) of a library, axis-angle, float32.

    Args:
        path: a `.npz` with an array `pose`, as `hmr data mocap` writes it.

    Raises:
        PoseError: it is damaged, or holds no such array.
        FileNotFoundError: there is no such file.
    """
    try:
        arrays = read_npz(path)
        if "pose" not in arrays:
            raise PoseError(f"expected an array `pose` (N, 24, 3), found {sorted(arrays)}")
        return check_poses(arrays["pose"])
    except (ArchiveError, PoseError) as error:
        raise PoseError(f"{path}: {error}") from error


def check_poses(poses):
    """Poses (N, 24, 3) as float32; `PoseError` if they are of another shape or not finite."""
    if poses.dtype.kind in "fiu":
        with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is infinite
            poses = poses.astype(np.float32, copy=False)
    if poses.dtype != np.float32 or poses.shape[1:] != (24, 3) or not np.isfinite(poses).all():
        raise PoseError(f"expected poses (N, 24, 3), all finite, found {poses.dtype} {poses.shape}")
    return poses
