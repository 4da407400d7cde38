"""A sample as it is stored: cropped around its person."""

import numpy as np
from PIL import Image

from hmrlib.data import records
from hmrlib.data.datasets.base import LeftOut
from hmrlib.data.pipeline import apply_affine
from hmrlib.io import images

MAX_BOX = 270  # a larger box is reduced to this side, pixels
CONTEXT = 2.4  # stored around the box, in its sides: what the largest augmentation can show
FAR = 1e7  # pixels that no picture has


def crop_to_person(sample, by_hand=False, upright=False):
    """A sample as it is stored: cropped around its person, and reduced if that is large.

    Args:
        sample: with `image` as the bytes of a file. A JPEG of which most is needed, and at its
            own size, is kept bit by bit.
        by_hand: its 2D points were set by hand, so one outside the picture is a slip and becomes
            unknown. (Projected points may well lie outside.)
        upright: whether its labels were drawn on the picture as its EXIF orientation turns it, or
            the (width, height) of the picture that they were drawn on.

    Raises:
        images.ImageError: the image is damaged, too large, or of a kind that is not read.
        SampleError: a label breaks the schema.
        LeftOut: the image does not show the box.
    """
    sample, notes = dict(sample), []
    box = np.array([*sample["center"], sample["size"]], float)
    if not (np.abs(box).max() < FAR and sample["size"] > 0):  # a NaN is not, either
        raise LeftOut("a box or points that are not finite, or of no extent")
    picture = images.load(sample["image"])
    turned = _is_turned(picture, upright)
    a_jpeg = picture.format == "JPEG" and picture.mode in ("RGB", "L") and not turned
    picture = images.to_rgb(picture, turned)
    size = np.array(picture.size)
    if by_hand:
        points = np.array(sample["keypoints_2d"], float)
        slip = (points[:, 2] > 0) & ~((points[:, :2] >= -1) & (points[:, :2] <= size + 1)).all(1)
        points[slip] = 0
        sample["keypoints_2d"] = points
        notes = ["a point outside the picture, left out"] * int(slip.sum())
    half = CONTEXT * sample["size"] / 2
    low = np.clip(np.floor(np.asarray(sample["center"]) - half), 0, size).astype(int)
    high = np.clip(np.ceil(np.asarray(sample["center"]) + half), 0, size).astype(int)
    if (high - low).min() < 2:
        raise LeftOut("the image does not show the box")
    scale = min(1.0, MAX_BOX / sample["size"])
    if a_jpeg and scale == 1 and np.prod(high - low) > 0.6 * np.prod(size):
        image = records.Jpeg(sample["image"])
        image.shape = picture.size[::-1]
        return {**records.check_sample({**sample, "image": image}), "notes": notes}
    to = np.maximum((scale * (high - low)).astype(int), 1)
    box = (*low.tolist(), *np.minimum(low + to / scale, size).tolist())
    picture = picture.resize(to.tolist(), Image.Resampling.BICUBIC, box, reducing_gap=3.0)
    checked = records.check_sample({**sample, "image": np.asarray(picture)})
    affine = np.array([[scale, 0, -scale * low[0]], [0, scale, -scale * low[1]]])
    checked |= apply_affine(checked, affine)
    return {**checked, "notes": notes}


def _is_turned(picture, upright):
    """Whether labels were drawn on a picture turned as its EXIF orientation says."""
    number = images.orientation(picture)
    if isinstance(upright, bool):
        return upright and number != 1
    lying = number >= 5  # these change width and height
    return lying and tuple(upright) == picture.size[::-1] != picture.size
