"""What the readers of all data sets have in common: what they return, raise and read with."""

import json
import re
from functools import lru_cache, wraps
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np

from hmrlib.data.records import SampleError, Skip
from hmrlib.io import foreign, images, safe_pickle

MIN_POINTS = 6  # a person of whom fewer points are known is left out, where boxes are annotated
SPLITS = {  # the words for them in names of files, and what they are here
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


class DataSetError(ValueError):
    """The folder is not such a data set; the message says what was expected."""


class LeftOut(Exception):
    """Raised while a sample is made: it is left out and counted under this reason."""


class Listing(NamedTuple):
    """What a data set holds: `splits` {split: items}, and `load`, item -> samples and `Skip`s.

    `name`: item -> what it is called where it is skipped.
    """

    splits: dict
    load: object
    name: object = str


def with_skips(load, name=str):
    """`load`, with what may be wrong with one image or person turned into counted skips."""

    def tried(item):
        try:
            # what is too large for its type becomes infinite, which the schema refuses
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                return load(item)
        except LeftOut as reason:
            return [Skip(str(reason), name(item)[:200])]
        except images.ImageError as error:
            return [Skip(error.reason, f"{name(item)}: {error.detail}"[:200])]
        except SampleError as error:
            return [Skip("breaks the schema", str(error))]
        except (safe_pickle.UnsafePickleError, ModuleNotFoundError, MemoryError):
            raise
        except Exception as error:  # there may be anything in the place of anything
            return [Skip("labels that are not as they should be", f"{name(item)}: {error!r}"[:200])]

    return tried


def as_numbers(value, what, shape):
    """Numbers out of a file as an array (shape); null becomes NaN.

    Raises:
        LeftOut: they are ragged, text, or of another shape.
    """
    try:
        array = np.array(value, float)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise LeftOut(f"{what} that are not numbers in rows of equal length") from error
    if array.shape == (np.prod(shape),):
        array = array.reshape(shape)  # all in one row
    if array.shape != shape:
        raise LeftOut(f"{what} of shape {array.shape}, not {shape}")
    return array


def as_list(value):
    """MATLAB's struct array or cell array, of which it makes no list where there is but one."""
    return value if isinstance(value, list) else [value]


def require(path):
    """The path; `FileNotFoundError` if there is no such thing."""
    if not path.exists():
        raise FileNotFoundError(2, "no such file", str(path))
    return path


def read_json(path):
    """What a JSON file holds, in any of Unicode's encodings.

    Raises:
        DataSetError: it is no JSON.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataSetError(f"{path}: expected JSON, saved as UTF-8 ({error})") from error


def read_image(folder, name):
    """The bytes of an image file, of a name that stands in a file or follows from one.

    Raises:
        LeftOut: it is not there, or the name leads out of the folder.
    """
    try:
        path = images.below(folder, name)
    except ValueError as error:
        told = "an image's name that leads out of its folder" if name else "no name of an image"
        raise LeftOut(told) from error
    try:
        if not path.is_file():
            raise LeftOut("no image")
        return path.read_bytes()
    except OSError as error:
        raise LeftOut("no image") from error


def read_matlab(path, *names):
    """Variables of a MATLAB file by name, read in a process of their own."""
    return foreign.read("mat", names, require(path))


def frames_of(folder):
    """[(number, path)] of the images in a folder of frames, numbered from 0."""
    numbered = sorted(
        (int(found.group(1)), path)
        for path in [*folder.glob("*.jpg"), *folder.glob("*.png")]
        if (found := re.search(r"(\d+)\.\w+$", path.name))
    )
    first = 1 if numbered and numbered[0][0] == 1 else 0  # ffmpeg counts from 1 by default
    return [(number - first, path) for number, path in numbered]


def remembered(keep):
    """Decorates what reads the labels of a sequence: `keep` of them are remembered.

    However many threads ask, a file is read once, and not again if it is damaged: then all that
    belongs to it is left out.
    """

    def decorate(read):
        slots = lru_cache(keep)(lambda arguments, changed: (Lock(), []))

        @wraps(read)
        def remembered(*arguments):
            lock, kept = slots(arguments, arguments[0].stat().st_mtime_ns)
            with lock:
                if not kept:
                    kept.append(_result_or_error(read, arguments))
            result, error = kept[0]
            if isinstance(error, safe_pickle.UnsafePickleError | ModuleNotFoundError | MemoryError):
                raise error
            if error is not None:
                raise LeftOut("labels that cannot be read") from error
            return result

        return remembered

    return decorate


def _result_or_error(read, arguments):
    try:
        return read(*arguments), None
    except Exception as error:  # each library has its own for a damaged file
        return None, error
