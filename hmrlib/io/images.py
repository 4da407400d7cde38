"""Pictures out of files: of any usual kind, upright, and no more of them than memory holds.

Every picture that hmrlib reads comes through here. Pillow does the work; what it is handed is one
of `KINDS` (left to itself it runs Ghostscript on PostScript that is named .jpg), within `LARGEST`
pixels, and what comes back is what a viewer shows: 16-bit greys scaled, what is transparent over
white, the first frame of an animation.
"""

import io
import os
import warnings
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

# Opened as these classes and not by `Image.open`, whose limit is the process' and lower than ours.
# A phone's JPEG with a second picture in it (MPO) is read as the JPEG that it begins with.
KINDS = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
}
LARGEST = 128e6  # pixels of a picture: what the largest phones take, but not their 200 megapixels
# Fewer are always read. More must be in the file: 1,000 to a byte is what PNG makes of one colour
ALWAYS, TO_A_BYTE = 25e6, 1000
ORIENTATION = 0x0112  # EXIF's tag: how the stored picture is to be turned to stand upright
_TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(ValueError):
    """A picture cannot be read: `reason` in a few words; the message has `detail` and file too."""

    def __init__(self, reason, detail="", file=""):
        super().__init__(": ".join(filter(None, (file, reason, detail))))
        self.reason, self.detail = reason, detail


def read_image(source, upright=True):
    """A picture as it is seen.

    Args:
        source: path of a file, or the bytes of one: JPEG, PNG, WebP, TIFF, BMP, GIF.
        upright: turn it as its EXIF orientation says, as viewers and labelling tools do. A phone
            stores most of its photographs lying.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ImageError: it is damaged, cut short, too large, or of another kind.
        OSError: there is no such file, or it may not be read.
    """
    picture = load(source)
    try:
        return np.asarray(to_rgb(picture, upright))
    except ImageError as error:
        file = "" if isinstance(source, bytes) else str(source)
        raise ImageError(error.reason, error.detail, file) from error.__cause__


def load(source, kinds=tuple(KINDS), reduce_to=None):
    """A picture with all its pixels, in the mode and the orientation in which it is stored.

    Args:
        source: path of a file, or the bytes of one.
        kinds: of `KINDS`, those that are taken.
        reduce_to: (W, H), a JPEG may come reduced to no less than that, which is quicker.

    Returns:
        a `PIL.Image.Image`; `to_rgb` makes the usual form of it.

    Raises:
        ImageError, OSError: see `read_image`.
    """
    file = "" if isinstance(source, bytes) else str(source)
    data = _bytes_of(Path(source)) if file else source
    try:
        with _muted(data):
            picture = _open(data, kinds)
            _check_size(picture, len(data))
            if reduce_to is not None:
                picture.draft("RGB", reduce_to)
            picture.load()
    except ImageError as error:
        raise ImageError(error.reason, error.detail, file) from error.__cause__
    except MemoryError as error:
        raise ImageError("the image is too large", "there is no memory for it", file) from error
    except Exception as error:  # Pillow has many for a damaged file
        short = "truncated" in str(error)
        reason = "the image is cut short" if short else "the image is damaged"
        raise ImageError(reason, str(error), file) from error
    return picture


def shape_of(data, kinds=tuple(KINDS)):
    """(H, W) of a picture as it is stored, from the header in the bytes of its file.

    Raises:
        ImageError: see `read_image`.
    """
    try:
        with _muted(data):
            picture = _open(data, kinds)
    except ImageError:
        raise
    except Exception as error:  # Pillow has many for a damaged file
        raise ImageError("the image is damaged", str(error)) from error
    _check_size(picture, len(data))
    return picture.size[::-1]


def to_rgb(picture, upright=True):
    """A loaded picture in mode RGB, turned upright or left as it is stored.

    Raises:
        ImageError: its numbers have no white (32 bits, floats), or its colours are of a kind that
            Pillow does not convert.
    """
    turn = _TURNS[orientation(picture)] if upright else None
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    elif picture.mode in ("I", "F"):
        raise ImageError(
            "an image of 32-bit numbers", "what is white is not said; save it with 8 or 16 bits"
        )
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGB", picture.size, "white")
        white.paste(picture, mask=picture.getchannel("A"))
        picture = white
    elif picture.mode != "RGB":
        try:
            picture = picture.convert("RGB")
        except ValueError as error:
            reason = f"an image in the colours {picture.mode}"
            raise ImageError(reason, "save it as RGB") from error
    return picture if turn is None else picture.transpose(turn)


def orientation(picture):
    """EXIF's number, 1 to 8, of how a picture is to be turned; 1, as it is, where none is said."""
    try:
        with _muted():
            number = picture.getexif().get(ORIENTATION)
    except Exception:  # a damaged block of EXIF; the pixels are whole
        number = None
    return number if number in _TURNS else 1


def below(folder, name, links=False):
    """The file that a name out of a file means: below a folder, and nowhere else.

    Args:
        folder: the folder; it may itself be a link.
        name: relative, its parts set apart by "/", or "\\\\" as Windows writes it.
        links: follow the links in the folder wherever they lead, as its user has set them.

    Returns:
        Path of it. It need not exist.

    Raises:
        ValueError: the name is no text, is absolute, has a drive, or leads out of the folder by
            ".." or by a link.
    """
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise ValueError(f"expected the name of a file, found {name!r:.80}")
    folder = Path(folder)
    given = PureWindowsPath(name)  # knows both kinds of separator
    if given.anchor:
        raise ValueError(f"expected a name relative to {folder.name}, found {name!r:.80}")
    path = folder / name
    if not path.exists():  # "\" may be a letter of a name where Windows is not
        path = folder.joinpath(*given.parts)
    whole = os.path.abspath if links else os.path.realpath
    if not Path(whole(path)).is_relative_to(whole(folder)):
        raise ValueError(f"{name!r:.80} leads out of {folder.name}")
    return path


def _bytes_of(path):
    if path.exists() and not path.is_file():  # a device or a pipe may never end
        raise ImageError("not a file", file=str(path))
    return path.read_bytes()


@contextmanager
def _muted(data=b"Exif"):
    """Let Pillow not warn of damage in what stands beside the pixels, if a file has any of that.

    Nobody looks at it here but for the orientation, and to have it damaged is no fault of a
    picture. (Not around every file: in threads, filters of warnings get in each other's way.)
    """
    if data[:2] not in (b"II", b"MM") and b"Exif" not in data[:4096]:
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        yield


def _open(data, kinds):
    for kind in kinds:
        try:
            return KINDS[kind](io.BytesIO(data))
        except SyntaxError:  # how Pillow says that it is of another kind
            continue
    if data[4:8] == b"ftyp":
        raise ImageError("an image of a kind that is not read", "HEIC or AVIF; save it as JPEG")
    raise ImageError("not an image of a kind that is read", f"those are {', '.join(kinds)}")


def _check_size(picture, size):
    pixels = picture.width * picture.height
    if pixels > LARGEST:
        raise ImageError(
            "the image is too large",
            f"{pixels / 1e6:.0f} megapixels, more than {LARGEST / 1e6:.0f}; reduce it first",
        )
    if pixels > max(ALWAYS, TO_A_BYTE * size):
        raise ImageError(
            "the image is too large",
            f"its {size:,} bytes claim to be {pixels / 1e6:.0f} megapixels",
        )
