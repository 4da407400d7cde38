"""What goes in: a photograph from wherever it comes, its focal length, the people's boxes, a crop.

Pixels are counted as in `hmrlib.camera`: from the upper left corner, centres at halves.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from hmrlib.data.pipeline import affine, invert_affine, warp
from hmrlib.data.records import box_around
from hmrlib.io import images

MAX_BOX = 270  # a larger person is reduced to this before the crop, as the records of training are
FULL_FRAME = float(np.hypot(36, 24))  # millimetres, the diagonal of the film that EXIF speaks of
# EXIF's tags, and millimetres to a unit of FocalPlaneResolutionUnit
EXIF_BLOCK, FOCAL_LENGTH, FOCAL_35MM = 0x8769, 0x920A, 0xA405
PLANE_X, PLANE_UNIT, PIXELS_X = 0xA20E, 0xA210, 0xA002
_UNITS = {2: 25.4, 3: 10.0, 4: 1.0, 5: 1e-3}


class PredictionError(ValueError):
    """A photograph, a box or points are not what can be worked on; the message says what is."""


class Photograph(NamedTuple):
    """A picture to look for people in.

    Attributes:
        image: (H, W, 3) uint8, upright.
        focal: pixels.
        focal_from: in words, where the focal length comes from.
        source: name of the file, or "" for an array.
    """

    image: np.ndarray
    focal: float
    focal_from: str
    source: str


def read_photograph(source, focal=None):
    """A photograph and its focal length.

    Args:
        source: path of a file, the bytes of one, a PIL image, or an array (H, W), (H, W, 1), 3 or
            4 channels, of uint8, uint16, booleans, or floats from 0 to 1; transparent parts come
            over white.
        focal: of the lens, in pixels; None: as EXIF says, else the picture's diagonal, which is a
            field of view of 53 degrees from corner to corner (Li et al., "CLIFF", 2022).

    Raises:
        hmrlib.io.images.ImageError: it is no picture that can be read.
        PredictionError: an array of another form, or a focal length that is not positive.
        OSError: there is no such file.
    """
    if isinstance(source, np.ndarray):
        picture, name = Image.fromarray(_as_uint8(source)), ""
    elif isinstance(source, Image.Image):
        picture, name = source, str(getattr(source, "filename", "") or "")
    elif isinstance(source, str | Path | bytes):
        picture = images.load(source)
        name = "" if isinstance(source, bytes) else str(source)
    else:
        raise PredictionError(
            "expected a photograph: a file's name, its bytes, an array or a PIL image; found "
            f"{type(source).__name__}"
        )
    try:
        image = np.asarray(images.to_rgb(picture))
    except images.ImageError as error:
        raise images.ImageError(error.reason, error.detail, name) from error
    diagonal = float(np.hypot(*image.shape[:2]))
    if focal is not None:
        if not (isinstance(focal, int | float) and 0 < focal < np.inf):
            raise PredictionError(f"expected a focal length in pixels, found {focal!r}")
        return Photograph(image, float(focal), "given", name)
    found = exif_focal(picture)
    if found is not None:
        return Photograph(image, found, "EXIF", name)
    return Photograph(image, diagonal, "assumed: the picture's diagonal", name)


def _as_uint8(array):
    """An array of any usual form as one that Pillow takes: (H, W), (H, W, 3) or (H, W, 4) uint8."""
    array = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if not fits or not array.size:
        raise PredictionError(f"expected an image (H, W, 3), found an array {array.shape}")
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return (array >> 8).astype(np.uint8)
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype.kind == "f" and array.min() >= -1e-3 and array.max() <= 1 + 1e-3:  # no NaN
        return np.rint(array.clip(0, 1) * 255).astype(np.uint8)
    raise PredictionError(
        f"expected an image of uint8 (0 to 255) or floats (0 to 1), found {array.dtype}"
    )


def exif_focal(picture):
    """The focal length of a PIL image in pixels, as its EXIF block tells it; None if it does not.

    Of two ways the first that is there: the length for film of 36 x 24 mm with the same diagonal
    (all phones write it), or the length in millimetres and the pixels to a millimetre of the
    sensor, by the width that the picture had when it was taken.
    """
    try:
        exif = picture.getexif().get_ifd(EXIF_BLOCK)
        film = float(exif.get(FOCAL_35MM, 0))
        if film > 0:
            return _believed(film / FULL_FRAME * float(np.hypot(*picture.size)), picture.size)
        unit = _UNITS.get(exif.get(PLANE_UNIT, 2))
        pixels = float(exif[FOCAL_LENGTH]) * float(exif[PLANE_X]) / unit
        taken = float(exif.get(PIXELS_X, 0)) or max(picture.size)
        return _believed(pixels * max(picture.size) / taken, picture.size)
    except Exception:  # a damaged block of EXIF, or none: the pixels are whole
        return None


def _believed(focal, size):
    """A focal length, if a lens for photographs has it: fields of view of 4 to 130 degrees."""
    return focal if 0.2 < focal / np.hypot(*size) < 15 else None


def check_boxes(boxes, shape, source=""):
    """Boxes around people, as given by a caller.

    Args:
        boxes: (N, 4) or (4,): left, top, right, bottom, pixels.
        shape: (H, W, ...) of the picture.

    Returns:
        (N, 4) floats.

    Raises:
        PredictionError: another shape, a box without extent, or one outside of the picture.
    """
    where = f"{source}: " if source else ""
    try:
        boxes = np.array(boxes, float)
    except (TypeError, ValueError) as error:
        raise PredictionError(f"{where}expected boxes (N, 4), numbers: {error}") from error
    boxes = boxes[None] if boxes.shape == (4,) else boxes
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not len(boxes) or not np.isfinite(boxes).all():
        raise PredictionError(
            f"{where}expected boxes (N, 4): left, top, right, bottom in pixels, found "
            f"{boxes.tolist()!s:.200}"
        )
    height, width = shape[:2]
    for x0, y0, x1, y1 in boxes:
        box = f"the box ({x0:g}, {y0:g}, {x1:g}, {y1:g})"
        if x1 - x0 < 1 or y1 - y0 < 1:
            raise PredictionError(
                f"{where}{box} has no extent: expected left, top, right, bottom in pixels"
            )
        if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
            raise PredictionError(f"{where}{box} lies outside of the picture, {width} x {height}")
    return boxes


def boxes_around(keypoints):
    """(N, K, 3) points, the last column > 0 where known -> (N, 4) square boxes, as in training.

    Raises:
        PredictionError: of somebody no point is known.
    """
    boxes = []
    for points in keypoints:
        center, size = box_around(points)
        if not np.isfinite(size):
            raise PredictionError("of one person no point is known: leave that one out")
        boxes.append([*(center - size / 2), *(center + size / 2)])
    return np.array(boxes).reshape(-1, 4)


def crop_square(box):
    """The square that the network is to see of a box (4,): center (2,) and side, pixels."""
    box = np.asarray(box, float)
    return (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max()


def crop(image, center, side, size):
    """A square of an image as the network takes it, black beyond the picture.

    Large ones are reduced first with all their pixels, as the records of training were: a bilinear
    look at every tenth pixel would see noise.

    Args:
        image: (H, W, 3) uint8.
        center: (2,) and side: of the square, pixels.
        size: side of the crop, pixels.

    Returns:
        (size, size, 3) uint8.
    """
    reduce_by = side / MAX_BOX
    low = np.zeros(2)
    if reduce_by > 1:
        height, width = image.shape[:2]
        low = np.floor(center - side / 2 - reduce_by).clip(0)
        high = np.ceil(center + side / 2 + reduce_by).clip(None, [width, height])
        part = image[int(low[1]) : int(high[1]), int(low[0]) : int(high[0])]
        to = np.maximum(np.rint((high - low) / reduce_by), 1).astype(int)
        part = Image.fromarray(part).resize(to.tolist(), Image.Resampling.BICUBIC, reducing_gap=3.0)
        ratio = to / (high - low)  # not quite the same along both sides, as pixels are whole
        image, center, side = np.asarray(part), (center - low) * ratio, side * ratio.mean()
    way = affine(np.asarray(center), size / side, 0.0, False, np.full(2, size / 2))
    return warp(image, invert_affine(way), size)
