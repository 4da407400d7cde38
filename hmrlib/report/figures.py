"""In a notebook: hand a figure or a number to the report under a name."""

import io
import numbers
import os
import re
from pathlib import Path

import numpy as np

from hmrlib.report.store import ReportError, as_json, write

MAX_FIGURE_BYTES = 300_000
DPI = 200  # of matplotlib figures; 6.5 inches give 1300 pixels, sharp on paper and screen
NAME = re.compile(r"[a-z][a-z0-9_]*")


def save_figure(name, figure, caption, format="png"):
    """Hand a figure to the report under `name`. Outside a report run it only checks its input.

    PNGs are kept below 300 kB: first losslessly, then with a palette of 256 colours, then smaller.

    Args:
        name: lower-case letters, digits and underscores; no other figure may have it.
        figure: a matplotlib Figure, or an image (H, W), (H, W, 3) or (H, W, 4): uint8, or
            floats in 0..1.
        caption: Markdown; a sentence that says what to see.
        format: "png"; "jpg" for photographs; or "svg" for a matplotlib figure made of lines.

    Returns:
        None for a Figure, which matplotlib shows by itself; a PIL image for an image, so that the
        notebook shows it when the call is the last line of its cell.

    Raises:
        ReportError: a bad or repeated name, no caption, not an image, or too large a file.
    """
    _check_name(name)
    if not caption.strip():
        raise ReportError(f"figure {name}: the caption is empty")
    if format not in ("png", "jpg", "svg"):
        raise ReportError(f"figure {name}: format must be 'png', 'jpg' or 'svg', found {format!r}")
    is_matplotlib = hasattr(figure, "savefig")
    if format == "svg" and not is_matplotlib:
        raise ReportError(f"figure {name}: only a matplotlib Figure can be saved as svg")
    shown = None if is_matplotlib else _image(name, figure)
    folder = os.environ.get("HMR_REPORT_DIR")
    if folder:
        if format == "svg":
            data, size = _svg(name, figure)
        else:
            data, size = encoded(name, _draw(figure) if is_matplotlib else shown, format)
        if len(data) > MAX_FIGURE_BYTES:
            raise ReportError(f"figure {name}: {len(data)} bytes, more than {MAX_FIGURE_BYTES}")
        keep_figure(folder, name, data, size, caption.strip(), format)
    return shown


def save_number(name, value, unit="", digits=2, note="", expect=None):
    """Print a number and hand it to the report under `name`.

    Args:
        name: lower-case letters, digits and underscores; no other number may have it.
        value: a finite real number, or an array or tensor of one.
        unit: "mm", "%", "ms", ...; "" for a count or a ratio.
        digits: decimals to print; integers are printed without.
        note: how it was measured, where the name does not say it.
        expect: (low, high), the bounds that the text around it stands on. A run for the report
            fails outside of them; elsewhere, where a reader may have changed something, they are
            printed beside the number.

    Raises:
        ReportError: a bad or repeated name, not a finite number, or in a report run one that is
            not within `expect`.
    """
    _check_name(name)
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise ReportError(f"number {name}: expected one finite number, found {value!r}")
    value = array.item()
    record = {"value": value, "unit": unit, "digits": digits, "note": note}
    if expect is not None:
        record["expect"] = _bounds(name, expect)
    print(f"{name} = {format_number(record)}" + (f" ({note})" if note else ""))
    folder = os.environ.get("HMR_REPORT_DIR")
    if expect is not None and not within(record):
        low, high = record["expect"]
        message = f"number {name}: {value:g} is not within {low:g} to {high:g}, as the text has it"
        if folder:
            raise ReportError(message)
        print(message)
    if folder:
        keep_record(folder, "number", name, record)


def save_table(name, columns, caption, digits=2):
    """Hand a table to the report under `name`. Outside a report run it only checks its input.

    Args:
        name: lower-case letters, digits and underscores; no other table may have it.
        columns: dict from a column's head to its entries, words or finite numbers, as many in each.
        caption: Markdown; a sentence that says what stands in it.
        digits: decimals of its numbers; integers have none.

    Raises:
        ReportError: a bad or repeated name, no caption, columns of different lengths, or an entry
            that is neither a word nor a finite number.
    """
    _check_name(name)
    if not caption.strip():
        raise ReportError(f"table {name}: the caption is empty")
    columns = {head: np.asarray(entries).tolist() for head, entries in columns.items()}
    lengths = {head: len(entries) for head, entries in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ReportError(f"table {name}: its columns should be equally long, found {lengths}")
    for entry in (entry for entries in columns.values() for entry in entries):
        if not (isinstance(entry, str) or np.isfinite(entry)):
            raise ReportError(f"table {name}: expected words and finite numbers, found {entry!r}")
    folder = os.environ.get("HMR_REPORT_DIR")
    if folder:
        record = {"columns": columns, "caption": caption.strip(), "digits": digits}
        keep_record(folder, "table", name, record)


def format_table(record):
    """A table's record as Markdown, numbers on the right; without its caption."""
    columns = record["columns"]
    words = {head: isinstance(entries[0], str) for head, entries in columns.items()}
    lines = [columns, [":--" if word else "--:" for word in words.values()]]
    for row in zip(*columns.values(), strict=True):
        lines.append(
            entry
            if isinstance(entry, str)
            else format_number({"value": entry, "digits": record["digits"], "unit": ""})
            for entry in row
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _bounds(name, expect):
    """[low, high] of a number, as floats or integers."""
    array = np.asarray(expect)
    if array.shape != (2,) or array.dtype.kind not in "iuf" or not array[0] <= array[1]:
        raise ReportError(f"number {name}: expect must be (low, high), found {expect!r}")
    return array.tolist()


def within(record):
    """Whether a number's record keeps to the bounds that it came with, if it did."""
    low, high = record.get("expect", (record["value"], record["value"]))
    return low <= record["value"] <= high


def format_number(record, unit=True):
    """A number's record as text: "13,776", "3.66 mm", "97.4 %" (with no-break spaces)."""
    digits = 0 if isinstance(record["value"], numbers.Integral) else record["digits"]
    text = f"{record['value']:,.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return f"{text}\N{NO-BREAK SPACE}{record['unit']}" if unit and record["unit"] else text


def _check_name(name):
    if not NAME.fullmatch(name):
        raise ReportError(f"{name!r} is no name: use lower-case letters, digits and underscores")


def keep_figure(folder, name, data, size, caption, format="png"):
    """Leave a figure's bytes, and its record, in a notebook's folder."""
    file = f"{name}.{format}"
    keep_record(folder, "figure", name, {"file": file, "caption": caption, "size": size})
    write(Path(folder) / file, data)


def keep_record(folder, kind, name, record):
    """Leave the record of a figure or a number in the notebook's folder."""
    path = Path(folder) / f"{name}.{kind}.json"
    if path.exists():
        raise ReportError(f"this notebook has saved a {kind} named {name} already")
    write(path, as_json(record))


def _image(name, array):
    """A PIL image of (H, W), (H, W, 3) or (H, W, 4); uint8, or floats in 0..1."""
    from PIL import Image

    array = np.asarray(array)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise ReportError(
            f"figure {name}: expected (H, W), (H, W, 3) or (H, W, 4), found {array.shape}"
        )
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ReportError(f"figure {name}: floats must be finite and in 0..1")
        array = np.round(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise ReportError(f"figure {name}: expected uint8 or floats in 0..1, found {array.dtype}")
    return Image.fromarray(array)


def _draw(figure):
    """A matplotlib figure as a PIL image."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    image = Image.open(buffer, formats=["PNG"])
    opaque = image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255)
    return image.convert("RGB") if opaque else image


def encoded(name, image, format):
    """The bytes of a PNG or JPEG that is small enough, and its (width, height) in pixels."""
    from PIL import Image

    for scale in (1.0, 0.8, 0.64, 0.5):
        size = tuple(round(scale * length) for length in image.size)
        resized = image if scale == 1 else image.resize(size, Image.Resampling.LANCZOS)
        for candidate, options in _candidates(resized, format):
            buffer = io.BytesIO()
            candidate.save(buffer, **options)
            if buffer.tell() <= MAX_FIGURE_BYTES:
                return buffer.getvalue(), size
    raise ReportError(
        f"figure {name}: cannot be brought below {MAX_FIGURE_BYTES} bytes as {format}"
    )


def _candidates(image, format):
    """(image, options to save it with), the largest file first."""
    if format == "png":
        yield from (
            (one, {"format": "png", "optimize": True}) for one in (image, image.quantize(256))
        )
    else:
        rgb = image.convert("RGB")
        yield from ((rgb, {"format": "jpeg", "quality": quality}) for quality in (92, 84))


def _svg(name, figure):
    """The SVG's bytes, the same at every run, and its (width, height) in points."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue(), [round(72 * inches) for inches in figure.get_size_inches()]
