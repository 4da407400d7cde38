"""Photographs of one's own as backgrounds."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from hmrlib.io.images import ImageError, below, load, to_rgb


@lru_cache(maxsize=64)
def read_photograph(path):
    """A photograph, upright, at most 640 pixels along a side; None if it cannot be read."""
    try:
        image = to_rgb(load(path, reduce_to=(640, 640)))
    except (OSError, ImageError):
        return None
    image.thumbnail((640, 640))
    return image


def crop(folder, size, photograph):
    """The square of a `Photograph` as background (H, W, 3); None if the file cannot be read."""
    image = read_photograph(str(below(folder or ".", photograph.name, links=True)))
    if image is None or min(image.size) < 32:
        return None
    length, at = photograph.side * min(image.size), photograph.at
    left, top = (a * (whole - length) for a, whole in zip(at, image.size, strict=True))
    box = (left, top, left + length, top + length)
    square = np.asarray(image.resize(size, Image.Resampling.BILINEAR, box))
    return np.ascontiguousarray(square[:, ::-1] if photograph.flip else square)


def find_photographs(folder):
    """Names of the pictures in a folder and below, sorted.

    Raises:
        FileNotFoundError: there is no such folder, or no picture in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of photographs")
    names = [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")
    ]
    if not names:
        raise FileNotFoundError(f"{folder}: no .jpg, .jpeg, .png or .webp in it")
    return sorted(names)
