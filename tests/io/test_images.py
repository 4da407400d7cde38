"""Pictures out of files: each kind as it is seen, or an error that names what is wrong."""

import io
import os

import numpy as np
import pytest
from PIL import Image

import hmrlib
from hmrlib.io import images
from hmrlib.io.images import ImageError, below, read_image

W, H = 80, 60
RAMP = np.tile(np.linspace(0, 255, W), (H, 1)).astype(np.uint8)
RGB = np.stack([RAMP, RAMP[:, ::-1], np.full_like(RAMP, 80)], -1)
GREY = np.repeat(RAMP[..., None], 3, -1)


def file_of(array, kind, mode=None, **options):
    """The bytes of a picture file, of an array or of a Pillow image."""
    image = Image.fromarray(array) if isinstance(array, np.ndarray) else array
    file = io.BytesIO()
    (image if mode is None else image.convert(mode)).save(file, kind, **options)
    return file.getvalue()


def with_alpha(array, alpha):
    return Image.merge(
        "RGBA" if array.ndim == 3 else "LA",
        [*Image.fromarray(array).split(), Image.new("L", (W, H), alpha)],
    )


@pytest.mark.parametrize(
    ("data", "shown", "within"),
    [
        (file_of(RGB, "PNG"), RGB, 0),
        (file_of(RGB, "BMP"), RGB, 0),
        (file_of(RGB, "TIFF"), RGB, 0),
        (file_of(RGB, "WEBP", lossless=True), RGB, 0),
        (file_of(RGB, "JPEG", quality=95), RGB, 3),
        (file_of(RGB, "JPEG", "CMYK", quality=95), RGB, 4),
        (file_of(RAMP, "JPEG", quality=95), GREY, 2),
        (file_of(RAMP, "PNG"), GREY, 0),
        (file_of(RAMP.astype(np.uint16) * 257, "PNG"), GREY, 0),
        (file_of(RAMP.astype(np.uint16) * 257, "TIFF"), GREY, 0),
        (file_of(RAMP > 127, "PNG"), np.uint8(255 * (GREY > 127)), 0),
        (file_of(Image.fromarray(RGB).quantize(128), "PNG"), RGB, 8),
        (file_of(with_alpha(RGB, 255), "PNG"), RGB, 0),
        (file_of(with_alpha(RGB, 0), "PNG"), np.full_like(RGB, 255), 0),  # over white
        (file_of(with_alpha(RAMP, 127), "PNG"), 127.5 + GREY / 2, 1),
        (file_of(RGB // 2, "PNG", transparency=(0, 0, 0)), RGB // 2, 0),
    ],
)
def test_a_picture_of_any_kind_is_read_as_it_is_seen(data, shown, within):
    read = read_image(data)
    assert read.dtype == np.uint8 and read.shape == (H, W, 3)
    assert np.abs(read.astype(float) - shown).mean() <= within


def test_of_an_animation_the_first_picture_counts():
    first, second = Image.fromarray(RGB).quantize(64), Image.new("P", (W, H))
    data = file_of(first, "GIF", save_all=True, append_images=[second])
    assert np.abs(read_image(data).astype(float) - RGB).mean() < 8


STORED = {  # EXIF's number -> what was done to the upright picture
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("number", range(1, 9))
def test_a_picture_that_is_stored_lying_stands_upright(kind, number):
    upright = Image.new("RGB", (40, 64), "white")
    upright.paste("red", (0, 0, 16, 8))
    stored = upright if number == 1 else upright.transpose(STORED[number])
    exif = Image.Exif()
    exif[images.ORIENTATION] = number
    data = file_of(stored, kind, exif=exif)
    shown = np.asarray(upright, float)
    assert np.abs(read_image(data) - shown).mean() < 3
    if kind != "TIFF":  # there Pillow always turns
        assert images.orientation(images.load(data)) == number
        as_stored = read_image(data, upright=False)
        assert np.abs(as_stored - np.asarray(stored, float)).mean() < 3


def test_a_damaged_block_of_exif_is_passed_over():
    data = file_of(RGB, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 30)
    assert read_image(data).shape == (H, W, 3)


NOISE = np.random.default_rng(0).integers(0, 255, (H, W, 3), np.uint8)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (file_of(NOISE, "JPEG")[:3000], "the image is cut short"),
        (file_of(NOISE, "PNG")[:3000], "the image is cut short"),
        (file_of(NOISE, "TIFF")[:3000], "the image is cut short"),
        (file_of(NOISE, "WEBP")[:3000], "the image is damaged"),
        (file_of(RAMP.astype(np.float32), "TIFF"), "an image of 32-bit numbers"),
        (file_of(RGB, "EPS"), "not an image of a kind that is read"),  # PostScript is a program
        (b"<html>404</html>", "not an image of a kind that is read"),
        (b"", "not an image of a kind that is read"),
        (b"\0\0\0\x18ftypheic", "an image of a kind that is not read"),
    ],
)
def test_what_is_no_picture_is_named(data, reason, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=reason) as caught:
        read_image(path)
    assert caught.value.reason == reason and "a.jpg" in str(caught.value)
    with pytest.raises(ImageError, match=reason):
        read_image(data)


def resized(data, width, height):
    """A PNG that claims another size than it has."""
    import struct
    import zlib

    head = data[12:16] + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((20000, 10000), "200 megapixels, more than 128"),
        ((10000, 9000), "bytes claim to be 90 megapixels"),
    ],
)
def test_a_picture_too_large_is_named_before_its_pixels_are_made(size, message):
    data = resized(file_of(RGB, "PNG"), *size)
    for read in (read_image, images.shape_of):
        with pytest.raises(ImageError, match=message) as caught:
            read(data)
        assert caught.value.reason == "the image is too large"


def test_the_shape_of_a_picture_comes_from_its_header():
    assert images.shape_of(file_of(RGB, "JPEG")) == (H, W)
    with pytest.raises(ImageError, match="those are JPEG"):
        images.shape_of(file_of(RGB, "PNG"), kinds=["JPEG"])


def test_a_pipe_is_no_picture(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes in folders here")
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="not a file"):
        read_image(tmp_path / "a.jpg")
    with pytest.raises(FileNotFoundError):
        hmrlib.read_image(tmp_path / "b.jpg")


# --- names out of files -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a.jpg", "in/a.jpg", "in\\a.jpg", "./in//a.jpg", "in/../a.jpg", "no such.jpg"]
)
def test_a_name_out_of_a_file_means_one_below_the_folder(tmp_path, name):
    (tmp_path / "in").mkdir()
    path = below(tmp_path, name)
    assert path.parts[-1] == name.replace("\\", "/").split("/")[-1]
    assert path.resolve().is_relative_to(tmp_path.resolve())


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/hostname", "../a.jpg", "in/../../a.jpg", "a\0.jpg", "", " ", None, 3, ["a.jpg"]),
        *("..\\a.jpg", "C:\\a.jpg", "c:a.jpg", "\\\\host\\share\\a.jpg", "\\a.jpg"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, name):
    (tmp_path / "in").mkdir()
    for links in (False, True):
        with pytest.raises(ValueError, match=r"expected the name|relative to|leads out of"):
            below(tmp_path, name, links)


def test_a_link_that_leads_out_is_refused(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir(), outside.mkdir()
    (outside / "a.jpg").write_bytes(b"")
    (inside / "a.jpg").symlink_to(outside / "a.jpg")
    (inside / "folder").symlink_to(outside)
    (tmp_path / "link").symlink_to(inside)  # the folder itself may be one
    for name in ("a.jpg", "folder/a.jpg"):
        with pytest.raises(ValueError, match="leads out of"):
            below(inside, name)
        assert below(inside, name, links=True).exists()  # its user's own
    assert below(tmp_path / "link", "b.jpg").name == "b.jpg"
