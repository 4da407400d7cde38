"""Frames of a studio's cameras, with joints in 2D and 3D: what MPI-INF-3DHP and Human3.6M share."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from hmrlib.data import records
from hmrlib.data.datasets.base import DataSetError, LeftOut, read_image
from hmrlib.data.datasets.crop import crop_to_person
from hmrlib.data.datasets.points import fit_camera, to_union


class Sequence(NamedTuple):
    """Labels of one camera's frames: names, (F, J, 2) pixels, (F, J, 3) m, camera, which count."""

    names: list
    points_2d: np.ndarray
    points_3d: np.ndarray
    camera: np.ndarray | None
    valid: np.ndarray


def make_sequence(names, points_2d, millimetres, valid=None):
    """`Sequence` of a file's positions, in any shape that has the frames first; finds its camera.

    Raises:
        DataSetError: not as many frames in 2D, in 3D and in the marks of what is valid.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is not finite
        points_2d = np.asarray(points_2d, np.float32).reshape(-1, len(names), 2)
        points_3d = np.asarray(millimetres, np.float32).reshape(-1, len(names), 3) / 1000
    if len(points_2d) != len(points_3d):
        raise DataSetError(f"{len(points_2d)} frames in 2D and {len(points_3d)} in 3D")
    valid = np.ones(len(points_2d), bool) if valid is None else np.asarray(valid).ravel() > 0
    if len(valid) != len(points_2d):
        raise DataSetError(f"{len(points_2d)} frames, and {len(valid)} marks of which are valid")
    finite = np.isfinite(points_2d).all((1, 2)) & np.isfinite(points_3d).all((1, 2))
    some = np.flatnonzero(valid & finite & (points_3d[..., 2] > 0).all(1))
    some = some[:: max(1, len(some) // 100)]
    camera = None
    if some.size:
        camera = fit_camera(points_2d[some].reshape(-1, 2), points_3d[some].reshape(-1, 3))
    return Sequence(names, points_2d, points_3d, camera, valid)


def studio_sample(sequence, number, image, source, name):
    """A sample of a frame by its number in a `Sequence`; `LeftOut` where it has no good labels."""
    if number >= len(sequence.valid):
        raise LeftOut("a frame without labels")
    if not sequence.valid[number]:
        raise LeftOut("a frame that is marked as not valid")
    known = np.ones((len(sequence.names), 1))
    points_2d, points_3d = (
        to_union(np.concatenate([points[number], known], 1), sequence.names)
        for points in (sequence.points_2d, sequence.points_3d)
    )
    center, size = records.box_around(points_2d)
    sample = {
        "image": read_image(image.parent, image.name),
        "center": center,
        "size": size,
        "keypoints_2d": points_2d,
        "keypoints_3d": points_3d,
        "source": source,
        "id": name,
    }
    if sequence.camera is not None:
        sample["camera"] = sequence.camera
    return crop_to_person(sample)


def frame_name(item):
    """What a frame of a sequence is called where it is skipped, from (labels, ..., image)."""
    labels, *_, image = item
    return str(labels if image is None else Path(*image.parts[-3:]))
