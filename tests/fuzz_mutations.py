"""Mutations of small valid files: functions of a `random.Random` and of what they change."""

import copy
import io
import json
import pickle
import pickletools
import re
import struct
import zipfile
import zlib
from functools import lru_cache

import numpy as np

from hmrlib.data import records

INTEGERS = (0, 1, -1, 2, 255, 65535, 65536, 2**24, 2**31 - 1, 2**31, -(2**31), 2**32 - 1)
INTEGERS += (2**63 - 1, 2**63, -(2**63), 2**64 - 1)
NUMBERS = (*INTEGERS, 10**30, 0.5, -0.0, 1e-320, 1e39, 1e308, -1e308)
NUMBERS += (float("nan"), float("inf"), -float("inf"))
WORDS = ("nan", "inf", "-Infinity", "1e308", "1e400", "-1", "0", "1e-320", str(2**63), "9" * 400)
WORDS += (
    "",
    "null",
    "{}",
    "[[]]",
    '"',
    "é",
    "\0",
    "../../x",
    "0x10",
    "1_000",
    "\u0663",
    "#",
    "true",
)
WORDS += (
    "[" * 3000,
    "(" * 3000,
    ".nan",
    ".inf",
    "2026-01-01",
    "!!python/none",
    "&a [*a]",
    "\ufeff",
)
VALUES = (*NUMBERS, None, True, "", "x", "nan", "1", "../../etc/passwd", "/dev/zero", "C:\\x", "\0")
VALUES += ([], {}, [[]], [[[1]]], [None], [1, [2]], {"a": {}}, [[1, 2], [3]], ["x"], [0] * 1000)


def some(rng, most=4):
    """How many changes: mostly one."""
    return min(most, 1 + int(rng.expovariate(1.2)))


# --- bytes ---------------------------------------------------------------------------------------


def of_bytes(rng, data, other):
    """Flipped bits, other bytes and numbers, parts cut, repeated, put in, or taken from `other`."""
    data = bytearray(data)
    for _ in range(some(rng)):
        rng.choice(_BYTES)(rng, data, other)
    return bytes(data)


def _flip(rng, data, other):
    for _ in range(rng.choice((1, 1, 1, 4))):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _number(rng, data, other):
    """A number of 1 to 8 bytes, of either order: a length, a count, an offset, a size."""
    width = rng.choice((1, 2, 4, 8))
    at = rng.randrange(max(1, len(data) - width))
    value = rng.choice(INTEGERS) % 2 ** (8 * width)
    data[at : at + width] = value.to_bytes(width, rng.choice(("little", "big")))


def _part(rng, data):
    begin = rng.randrange(len(data) + 1)
    length = rng.choice((1, 4, 16, 64, max(1, len(data) // 2)))
    return begin, min(len(data), begin + length)


def _cut(rng, data, other):
    begin, end = _part(rng, data)
    del data[begin:end]


def _truncate(rng, data, other):
    del data[rng.randrange(len(data) + 1) :]


def _repeat(rng, data, other):
    begin, end = _part(rng, data)
    data[end:end] = data[begin:end] * rng.choice((1, 1, 2, 50))


def _insert(rng, data, other):
    at, count = rng.randrange(len(data) + 1), rng.choice((1, 4, 64))
    data[at:at] = rng.choice((bytes(count), b"\xff" * count, rng.randbytes(count)))


def _splice(rng, data, other):
    """The beginning of one file and the end of another."""
    data[rng.randrange(len(data) + 1) :] = other[rng.randrange(len(other) + 1) :]


_BYTES = (_flip, _flip, _number, _number, _cut, _truncate, _repeat, _insert, _splice)


# --- text ----------------------------------------------------------------------------------------


def of_text(rng, data, other):
    """Words, numbers and lines of a text changed, dropped, repeated, swapped; other encodings."""
    text = data.decode("utf-8", "replace")
    for _ in range(some(rng)):
        text = rng.choice(_TEXT)(rng, text)
    encoding = rng.choices(("utf-8", "utf-8-sig", "utf-16", "latin-1"), (90, 4, 2, 2))[0]
    return text.encode(encoding, "replace")


def _words(pattern, change):
    def changed(rng, text):
        found = list(re.finditer(pattern, text))
        if not found:
            return text
        word = rng.choice(found)
        return text[: word.start()] + change(rng, word[0]) + text[word.end() :]

    return changed


def _lines(rng, text):
    lines = text.splitlines(keepends=True) or [""]
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.randrange(4)
    if kind == 0:
        del lines[a]
    elif kind == 1:
        lines[b:b] = [lines[a]]
    elif kind == 2:
        lines[a], lines[b] = lines[b], lines[a]
    else:
        del lines[a:]
    return "".join(lines)


_NUMBER = r"-?\d+\.?\d*(?:[eE][-+]?\d+)?"
_TEXT = (
    _words(_NUMBER, lambda rng, word: rng.choice(WORDS)),
    _words(_NUMBER, lambda rng, word: str(rng.choice(NUMBERS))),
    _words(_NUMBER, lambda rng, word: word + rng.choice(("0" * 9, "e9", "e300", "-", ".", "x"))),
    _words(r"\S+", lambda rng, word: rng.choice(WORDS)),
    _words(r"\S+", lambda rng, word: ""),
    _words(r"\S+", lambda rng, word: f"{word} {word}"),
    _words(
        r"\w+", lambda rng, word: rng.choice((word.upper(), word.lower(), word[:-1], word + "x"))
    ),
    _words(r"\s+", lambda rng, word: rng.choice(("", " ", "\n", "\t", "\r\n", "\x0b", "\u2028"))),
    _lines,
    _lines,
)


# --- trees of values: what JSON, pickles, .npz and .mat hold -----------------------------------


def of_tree(rng, tree):
    """A copy with some values changed, dropped, renamed, repeated, or put in another's place."""
    tree = copy.deepcopy(tree)
    for _ in range(some(rng)):
        places = _places(tree)
        if not places:
            break
        holder, key = rng.choice(places)
        rng.choice(_TREE)(rng, holder, key, places)
    return tree


def _places(tree, around=()):
    """(holder, key) of every value in a tree of dicts and lists, but not of its endless depths."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    places, around = [], (*around, tree)
    for key, value in list(items):
        places.append((tree, key))
        deeper = isinstance(value, dict | list) and len(around) < 100
        if deeper and not any(value is holder for holder in around):
            places += _places(value, around)
    return places


def _value(rng, holder, key, places):
    value = holder[key]
    if isinstance(value, np.ndarray) and rng.random() < 0.9:
        holder[key] = of_array(rng, value)
    elif isinstance(value, str) and rng.random() < 0.5:
        holder[key] = of_text(rng, value.encode(), b"").decode("utf-8", "replace")
    elif isinstance(value, int | float) and rng.random() < 0.5:
        holder[key] = rng.choice(NUMBERS)
    else:
        holder[key] = copy.deepcopy(rng.choice(VALUES))  # what follows may change it


def _drop(rng, holder, key, places):
    del holder[key]


def _rename(rng, holder, key, places):
    if isinstance(holder, dict):
        holder[rng.choice((str(key) + "x", str(key).upper(), "", "id"))] = holder.pop(key)
    else:
        holder[key:key] = [holder[key]] * rng.choice((1, 2, 100))


def _wrap(rng, holder, key, places):
    value = holder[key]
    holder[key] = rng.choice(([value], {"a": value}, [value, value], str(value)))


def _elsewhere(rng, holder, key, places):
    other, name = rng.choice(places)
    holder[key] = copy.deepcopy(other[name])


_TREE = (_value, _value, _value, _value, _drop, _rename, _wrap, _elsewhere)


def of_array(rng, array):
    """An array of other numbers, type, or shape."""
    array = np.array(array)
    kind = rng.randrange(10)
    if kind < 4 and array.size and array.dtype.kind in "biufc":
        value, at = rng.choice(NUMBERS), rng.randrange(array.size)
        with np.errstate(all="ignore"):
            try:
                array.reshape(-1)[at] = value
            except (OverflowError, ValueError):
                array = array.astype(float)
                array.reshape(-1)[at] = float(value)
        return array
    if kind < 6:
        dtype = rng.choice(
            ("f2", "f4", "f8", ">f8", "i1", "u1", "i8", "u8", "c8", "?", "U8", "S4", "O")
        )
        with np.errstate(all="ignore"):
            try:
                return array.astype(dtype)
            except (TypeError, ValueError, OverflowError):
                return np.array(None, object)
    if kind == 6:
        return np.array(rng.choice(VALUES[: len(VALUES) - 3]), object)
    if kind == 7:
        return np.full(array.shape, rng.choice((np.nan, np.inf, 0.0, -1.0, 1e308)))
    if not array.ndim:
        return rng.choice((array[None], array[None, None]))
    shapes = (array[None], array[..., None], array.T, array.ravel(), array[:0], array[:1])
    return rng.choice((*shapes, array[:-1], array[..., :-1], np.repeat(array, 2, 0), array[::-1]))


# --- containers ----------------------------------------------------------------------------------


@lru_cache(64)
def _json(data):
    return json.loads(data)


def of_json(rng, data, other):
    """A JSON file of another tree; NaN and infinity as Python writes them."""
    tree = {"": _json(data)}
    tree = of_tree(rng, tree)
    return _dumped(tree.get("", None), data)


def _dumped(tree, data):
    """A tree as JSON; `data`, as it was, of one that holds itself, which JSON cannot."""
    try:
        return json.dumps(tree).encode()
    except (ValueError, RecursionError):
        return data


def of_item(name):
    """A mutation: JSON of whose list of this name one item, the first, is another."""

    def changed(rng, data, other):
        tree = copy.deepcopy(_json(data))
        tree[name][0] = of_tree(rng, [tree[name][0]] if rng.random() < 0.1 else tree[name][0])
        return _dumped(tree, data)

    return changed


@lru_cache(64)
def _npz(data):
    with np.load(io.BytesIO(data)) as archive:
        return {name: archive[name] for name in archive.files}


def of_npz(rng, data, other):
    """An archive of other arrays, or of whole members whose headers declare something else."""
    arrays = of_tree(rng, _npz(data)) if rng.random() < 0.7 else dict(_npz(data))
    changed, file = rng.choice(list(arrays) or [""]), io.BytesIO()
    compression = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    inside = rng.random() < 0.4
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, value in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asanyarray(_plain(value)))
            member = member.getvalue()
            if name == changed and inside:
                member = of_npy(rng, member)
            archive.writestr(
                zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), member, compression
            )
    return file.getvalue()


def _plain(value):
    """What NumPy cannot make an array of becomes one object."""
    try:
        return np.asarray(value)
    except (ValueError, OverflowError):
        return np.array(None)


def of_npy(rng, member):
    """One .npy: another shape or type in its header, or other bytes."""
    if rng.random() < 0.5:
        return of_bytes(rng, member, member)
    length = struct.unpack("<H", member[8:10])[0]
    header = member[10 : 10 + length].decode("latin-1")
    if rng.random() < 0.5:
        shape = rng.choice(("(4000000000,)", "(-1,)", "(2, 3)", "()", "(1, 70000, 70000)", "(0,)"))
        header = re.sub(r"\([^)]*\)", shape, header, count=1)
    else:
        header = of_text(rng, header.encode(), b"").decode("latin-1")
    header = header.encode("latin-1")
    return member[:8] + struct.pack("<H", len(header) % 65536) + header + member[10 + length :]


@lru_cache(64)
def _operations(data):
    """[(position, length)] of a pickle's instructions."""
    at = [position for _, _, position in pickletools.genops(data)]
    return list(zip(at, [*at[1:], len(data)], strict=True))


def of_pickle(rng, data, other):
    """Instructions dropped, repeated, or with another number where a length or an index stands."""
    operations = list(_operations(data))
    for _ in range(some(rng)):
        begin, end = rng.choice(operations)
        part = data[begin:end]
        kind = rng.randrange(5)
        if kind < 2 and len(part) > 1:
            width = min(len(part) - 1, rng.choice((1, 4, 8)))
            value = rng.choice(INTEGERS) % 2 ** (8 * width)
            part = part[:1] + value.to_bytes(width, "little") + part[1 + width :]
        elif kind == 2:
            part = part * rng.choice((0, 2, 30))
        elif kind == 3:  # put aside, fetch, copy, gather
            part += rng.choice(
                (b"0", b"2", b"(", b"t", b"l", b"d", b"h\x00", b"q\x00", b"\x94", b"b")
            )
        else:
            begin, end = rng.choice(operations)
            part += data[begin:end]
        at = rng.choice(operations)[0] if rng.random() < 0.2 else begin
        data = data[:at] + part + data[max(at, end) :]
        operations = [span for span in operations if span[1] <= at] or operations[:1]
    return data


def of_pickled_tree(rng, data, other):
    """A pickle, of any protocol, of other arrays."""
    tree = of_tree(rng, _pickled(data))
    try:
        return pickle.dumps(tree, protocol=rng.choice((0, 2, 4)))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return data


@lru_cache(64)
def _pickled(data):
    return pickle.loads(data, encoding="latin1")  # the harness's own file


# --- records, pictures ---------------------------------------------------------------------------


def of_shard(rng, data, other):
    """A shard with right checksums, one of whose records has other fields or bytes."""
    frames = [bytearray(frame) for frame in _frames(data)]
    at = rng.randrange(len(frames))
    frames[at] = (
        _of_example(rng, frames[at])
        if rng.random() < 0.7
        else of_bytes(rng, frames[at], _frames(other)[0])
    )
    return b"".join(framed(bytes(frame)) for frame in frames)


def framed(data):
    """A record as TFRecord frames it."""
    length = struct.pack("<Q", len(data))
    crc = [struct.pack("<I", records.masked_crc(part)) for part in (length, data)]
    return length + crc[0] + data + crc[1]


@lru_cache(64)
def _frames(data):
    frames, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        frames.append(data[at + 12 : at + 12 + length])
        at += 16 + length
    return frames


def _of_example(rng, data):
    message = records.example_class()()
    message.ParseFromString(bytes(data))
    feature = message.features.feature
    for _ in range(some(rng)):
        name = rng.choice(sorted(feature) or ["image"])
        kind = rng.randrange(8)
        one = feature[name]
        held = one.WhichOneof("kind")
        values = getattr(one, held).value if held else []
        if kind == 0:
            del feature[name]
        elif kind == 1:
            feature[name].CopyFrom(feature[rng.choice(sorted(feature))])
        elif kind == 2 and len(values):
            values.extend(list(values) * rng.choice((1, 20)))
        elif kind == 3 and len(values):
            del values[rng.randrange(len(values)) :]
        elif kind == 4:
            getattr(one, rng.choice(("bytes_list", "float_list", "int64_list"))).SetInParent()
        elif len(values):
            spot = rng.randrange(len(values))
            if held == "float_list":
                values[spot] = (
                    max(-3e38, min(3e38, rng.choice(NUMBERS)))
                    if rng.random() < 0.5
                    else (rng.choice((float("nan"), float("inf"), 3e38, -1.0)))
                )
            elif held == "int64_list":
                values[spot] = rng.choice([n for n in INTEGERS if -(2**63) <= n < 2**63])
            else:
                old = values[spot]
                values[spot] = (
                    of_png(rng, old, old) if old[:4] == b"\x89PNG" else of_bytes(rng, old, old)
                )
    return message.SerializeToString(deterministic=True)


def of_png(rng, data, other):
    """A PNG with right checksums, of whose chunks one has other bytes, such as another size."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return of_bytes(rng, data, other)
    at = 0 if rng.random() < 0.5 else rng.randrange(len(chunks))
    name, body = chunks[at]
    if name == b"IHDR" and rng.random() < 0.5:
        width, height = (
            rng.choice((1, 4000, 13000, 60000, 2**31 - 1)),
            rng.choice((1, 13000, 60000)),
        )
        body = struct.pack(">II", width, height) + body[8:]
    else:
        body = of_bytes(rng, body, body)
    chunks[at] = (name, body)
    if rng.random() < 0.1:
        chunks.insert(at, rng.choice(chunks))
    parts = [
        struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks
    ]
    return data[:8] + b"".join(parts)
