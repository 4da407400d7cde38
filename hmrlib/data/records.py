"""The project's records: people in pictures, with all that is known of each.

A record folder holds shards, and beside each what is in it:

    OUT/
      train-00000.tfrecord   samples, one after another, in TensorFlow's TFRecord framing
      train-00000.json       their number and lengths, and what was skipped and why
      ...                    a shard's name begins with its split: train, validation or test
      index.json             the sum over all shards, the data set's source and licence

A sample is a dict of arrays. K = 22 keypoints, `skeleton.KEYPOINT_SETS["union-22"]`; the camera
frame is x right, y down, z forward; pixels are those of the image, as `hmrlib.camera` counts them
(the first pixel's centre is (0.5, 0.5)). What is not given is unknown and stored as zero.

    image         (H, W, 3) uint8; stored as JPEG. Bytes of a JPEG file are stored as they are
    center, size  (2,), (): the person's square box, its middle and side, pixels: tight around what
                  the picture shows of the person, clothes and all
    keypoints_2d  (K, 3): x, y in pixels, confidence 0 to 1; 0 is unknown
    occluded      (K,): 1 where the point is known but hidden in the picture
    keypoints_3d  (K, 4): metres in the camera frame, 1 where known. Without a camera, only their
                  positions relative to each other count
    pose          (24, 3) axis-angle; the root's turns into the camera frame:
                  vertices_cam = body(betas, pose).vertices + translation
    betas         (10,)
    translation   (3,) metres; known if pose and camera are
    camera        (3,): focal length and principal point (cx, cy), pixels of the image
    segmentation  (H, W) uint8, whatever `recipe` says its numbers mean; stored as PNG
    has_pose, has_betas, has_camera   0 or 1; if left out: 1 where the field is given
    pseudo_3d     1: the 3D labels are another model's guesses
    source, id    the data set's name, and the sample's in it
    recipe        "" or a JSON string: how the sample was made

On disk a sample is a `tf.train.Example` of features by these names, and `shape` (H, W) and
`version`. Nothing here needs TensorFlow: framing and checksums follow TFRecord's description, the
message is built with protobuf.
"""

import io
import json
import struct
import warnings
import zlib
from collections import Counter
from functools import cache
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from hmrlib.io import atomic_write, extra
from hmrlib.io import images as pictures
from hmrlib.skeleton import KEYPOINT_SETS

VERSION = 1
KEYPOINTS = "union-22"
K = len(KEYPOINT_SETS[KEYPOINTS])

FLOATS = {
    "center": (2,),
    "size": (),
    "keypoints_2d": (K, 3),
    "keypoints_3d": (K, 4),
    "pose": (24, 3),
    "betas": (10,),
    "translation": (3,),
    "camera": (3,),
}
FLAGS = {"occluded": (K,), "has_pose": (), "has_betas": (), "has_camera": (), "pseudo_3d": ()}
STRINGS = ("source", "id", "recipe")
IMAGES = ("image", "segmentation")
REQUIRED = ("image", "center", "size", "source", "id")

QUALITY = 92  # of the JPEG
MAX_SIDE = 65500  # of a JPEG, pixels
FAR = 10  # a keypoint further from its box than so many box sides is an error
# largest size of an entry that a person can have: radians, standard deviations, metres
LIMITS = {"pose": 4 * np.pi, "betas": 50.0, "translation": 1e4, "keypoints_3d": 1e4}


class SampleError(ValueError):
    """A sample breaks the schema; the message names it and says what was expected."""


class RecordError(ValueError):
    """A shard cannot be read: missing, damaged, or written by another version."""


class Skip(NamedTuple):
    """Stands in a stream of samples for one that was left out, so that it is counted."""

    reason: str
    id: str = ""


# --- samples -----------------------------------------------------------------------------------


class Jpeg(bytes):
    """Bytes of a JPEG file that has been made or read: whole for sure, of known shape (H, W)."""

    shape: tuple


def check_sample(sample):
    """The sample with all fields of the schema, as float32, uint8 and str; `image` as it came.

    Raises:
        SampleError: a field is missing, unknown, not finite, out of range or of another shape.
    """
    name = f"sample {sample.get('source', '?')}/{sample.get('id', '?')}"
    missing = [field for field in REQUIRED if field not in sample]
    unknown = sorted(set(sample) - {*FLOATS, *FLAGS, *STRINGS, *IMAGES})
    if missing or unknown:
        raise SampleError(
            f"{name}: expected the fields {', '.join(REQUIRED)} at least"
            + (f"; missing {', '.join(missing)}" if missing else "")
            + (f"; unknown {', '.join(unknown)}" if unknown else "")
        )
    checked = {field: str(sample.get(field, "")) for field in STRINGS}
    for field, shape in FLOATS.items():
        if field not in sample:
            checked[field] = np.zeros(shape, np.float32)
            continue
        with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is infinite
            value = np.array(sample[field], np.float32)
        if value.shape != shape:
            raise SampleError(f"{name}: expected {field} of shape {shape}, found {value.shape}")
        if field.startswith("keypoints"):
            value[~(value[:, -1] > 0)] = 0  # what is unknown may be NaN where it comes from
        largest = float(np.maximum.reduce(np.abs(value), axis=None))  # NaN if one is
        if not isfinite(largest):
            bad = np.argwhere(~np.isfinite(value))[0].tolist()
            raise SampleError(f"{name}: expected finite numbers, {field}{bad} is not")
        if largest > LIMITS.get(field, np.inf):
            raise SampleError(
                f"{name}: expected {field} within ±{LIMITS[field]:g}, found {largest:g}"
            )
        checked[field] = value
    for field, shape in FLAGS.items():
        if field not in sample:
            given = field.startswith("has_") and field[4:] in sample
            checked[field] = np.full(shape, given, np.uint8)
            continue
        value = np.array(sample[field])
        if value.shape != shape or not ((value == 0) | (value == 1)).all():
            raise SampleError(
                f"{name}: expected {field} to be 0 or 1, shape {shape}; found shape {value.shape}, "
                f"{np.unique(value)[:5].tolist()}"
            )
        checked[field] = value.astype(np.uint8)
    _check_ranges(name, checked)
    checked["image"] = _check_image(name, sample["image"])
    segmentation = sample.get("segmentation")
    if segmentation is not None:
        segmentation = np.asarray(segmentation)
        shape = image_shape(checked["image"])
        if segmentation.dtype != np.uint8 or segmentation.shape != shape:
            raise SampleError(
                f"{name}: expected segmentation uint8 of the image's shape {shape}, found "
                f"{segmentation.dtype} {segmentation.shape}"
            )
    checked["segmentation"] = segmentation
    return checked


def box_around(points, margin=1.1):
    """The square box of a person of whom these points are known.

    Args:
        points: (n, 3), the last column > 0 where known.
        margin: side of the box, in the larger side of what the points span: flesh is around them.

    Returns:
        center (2,), size (): a box of at least one pixel; NaN where no point is known.
    """
    known = np.asarray(points, float)[np.asarray(points)[:, 2] > 0, :2]
    if not len(known):
        return np.full(2, np.nan), np.nan
    low, high = known.min(0), known.max(0)
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused later
        return (low + high) / 2, max(margin * (high - low).max(), 1.0)


def _check_ranges(name, sample):
    points, size = sample["keypoints_2d"].astype(float), float(sample["size"])
    confidence, known = points[:, 2], points[:, 2] > 0
    if not size > 0:
        raise SampleError(f"{name}: expected a box of positive size, found {size:g}")
    if confidence.min() < 0 or confidence.max() > 1:
        raise SampleError(f"{name}: expected confidences from 0 to 1, found {confidence.tolist()}")
    known_3d = sample["keypoints_3d"][:, 3]
    if not ((known_3d == 0) | (known_3d == 1)).all():
        raise SampleError(f"{name}: expected the fourth column of keypoints_3d to be 0 or 1")
    away = np.abs(points[:, :2] - sample["center"]).max(1) * known
    if away.max() > FAR * size:
        worst = KEYPOINT_SETS[KEYPOINTS].names[int(away.argmax())]
        raise SampleError(
            f"{name}: expected keypoints within {FAR} box sides ({size:g} pixels) of the box's "
            f"middle, {worst} is {away.max():g} pixels away"
        )
    if sample["has_camera"] and not sample["camera"][0] > 0:
        raise SampleError(
            f"{name}: expected a positive focal length, found {sample['camera'][0]:g}"
        )


def _check_image(name, image):
    """An array as it is, or the bytes of a JPEG file that decodes to the end."""
    if isinstance(image, Jpeg):
        return image
    if isinstance(image, bytes):
        try:
            mode = pictures.load(image, ["JPEG"]).mode
        except pictures.ImageError as error:
            raise SampleError(f"{name}: the image is not a whole JPEG file ({error})") from error
        if mode not in ("RGB", "L"):
            raise SampleError(f"{name}: expected a JPEG in colour or grey, found mode {mode}")
        return image
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise SampleError(
            f"{name}: expected an image uint8 (H, W, 3), or the bytes of a JPEG; found "
            f"{image.dtype} {image.shape}"
        )
    if max(image.shape) > MAX_SIDE:
        raise SampleError(f"{name}: an image of {image.shape[:2]} does not fit into a JPEG")
    return image


def image_shape(image):
    """(H, W) of an image (H, W, 3), or of the bytes of a JPEG, from the file's header."""
    if isinstance(image, np.ndarray | Jpeg):
        return image.shape[:2]
    return pictures.shape_of(image, ["JPEG"])


def encode_jpeg(image, quality=QUALITY):
    """(H, W, 3) uint8 -> the bytes of a JPEG file, as `Jpeg`."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    data = Jpeg(file.getvalue())
    data.shape = image.shape[:2]
    return data


def encode_segmentation(labels):
    """(H, W) uint8 -> the bytes of a PNG file.

    The numbers are stored as places in a palette of greys: few bits each, and Pillow tries none of
    PNG's filters on them, which takes half the time.
    """
    picture, file = Image.fromarray(labels), io.BytesIO()
    greys = np.arange(int(labels.max()) + 1, dtype=np.uint8)
    picture.putpalette(np.repeat(greys, 3).tobytes())
    picture.save(file, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
    return file.getvalue()


def decode_segmentation(data):
    """The bytes of a PNG file -> (H, W) uint8.

    Raises:
        RecordError: they are no such file, or it is damaged.
    """
    try:
        picture = pictures.load(data, ["PNG"])
    except pictures.ImageError as error:
        raise RecordError(f"the segmentation cannot be read ({error})") from error
    if picture.mode not in ("L", "P"):
        raise RecordError(f"the segmentation is of mode {picture.mode}, not one number a pixel")
    return np.asarray(picture)


def decode_image(data):
    """The bytes of a JPEG file -> (H, W, 3) uint8, as it is stored: labels fit that.

    Raises:
        RecordError: they are no such file, or it is damaged.
    """
    try:
        return np.asarray(pictures.to_rgb(pictures.load(data, ["JPEG"]), upright=False))
    except pictures.ImageError as error:
        raise RecordError(f"the image cannot be read ({error})") from error


# --- the message -------------------------------------------------------------------------------


@cache
def example_class():
    """The message class of `tf.train.Example`, described by hand: it needs no TensorFlow."""
    with extra("train"):
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="hmrlib/example.proto", package="hmrlib", syntax="proto3"
    )

    def message(parent, name):
        add = parent.message_type if parent is file else parent.nested_type
        return add.add(name=name)

    def add(parent, name, number, kind, repeated=False, type_name=None, **more):
        parent.field.add(
            name=name,
            number=number,
            type=kind,
            label=field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL,
            type_name=type_name,
            **more,
        )

    feature = message(file, "Feature")
    feature.oneof_decl.add(name="kind")
    kinds = {"bytes": field.TYPE_BYTES, "float": field.TYPE_FLOAT, "int64": field.TYPE_INT64}
    for number, (name, kind) in enumerate(kinds.items(), 1):
        title = f"{name.title()}List"
        add(message(file, title), "value", 1, kind, repeated=True)
        of = f".hmrlib.{title}"
        add(feature, f"{name}_list", number, field.TYPE_MESSAGE, type_name=of, oneof_index=0)
    features = message(file, "Features")
    entry = message(features, "FeatureEntry")
    entry.options.map_entry = True
    add(entry, "key", 1, field.TYPE_STRING)
    add(entry, "value", 2, field.TYPE_MESSAGE, type_name=".hmrlib.Feature")
    of = ".hmrlib.Features.FeatureEntry"
    add(features, "feature", 1, field.TYPE_MESSAGE, repeated=True, type_name=of)
    example = message(file, "Example")
    add(example, "features", 1, field.TYPE_MESSAGE, type_name=".hmrlib.Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("hmrlib.Example"))


def encode_sample(sample, quality=QUALITY):
    """A sample as the bytes of a `tf.train.Example`.

    Raises:
        SampleError: see `check_sample`.
    """
    return _encode(check_sample(sample), quality)


def _encode(sample, quality):
    example = example_class()()
    feature = example.features.feature
    image, segmentation = sample["image"], sample["segmentation"]
    feature["version"].int64_list.value.append(VERSION)
    feature["shape"].int64_list.value.extend(image_shape(image))
    image = image if isinstance(image, bytes) else encode_jpeg(image, quality)
    feature["image"].bytes_list.value.append(image)
    if segmentation is not None:
        feature["segmentation"].bytes_list.value.append(encode_segmentation(segmentation))
    for field in FLOATS:
        feature[field].float_list.value.extend(sample[field].ravel().tolist())
    for field in FLAGS:
        feature[field].int64_list.value.extend(sample[field].ravel().tolist())
    for field in STRINGS:
        feature[field].bytes_list.value.append(sample[field].encode())
    return example.SerializeToString(deterministic=True)


def decode_sample(data, images=True):
    """The bytes of a `tf.train.Example` -> the sample, with all fields.

    Args:
        data: bytes, as `encode_sample` makes them.
        images: False leaves `image` and `segmentation` as the bytes of their files.

    Raises:
        RecordError: not such a message, of another version, or what `check_sample` refuses: numbers
            that are not finite or out of range.
    """
    message = example_class()()
    try:
        message.ParseFromString(data)
    except Exception as error:  # protobuf's DecodeError, whichever implementation runs
        raise RecordError("not a tf.train.Example: damaged, or another kind of file") from error
    feature = message.features.feature
    version = list(feature["version"].int64_list.value)
    if version != [VERSION]:
        raise RecordError(
            f"expected version {VERSION} of the schema, found {version or 'none'}; write the "
            "records again with this version of hmrlib (`hmr data`)"
        )
    sample = {}
    try:
        for field, shape in FLOATS.items():
            value = np.fromiter(feature[field].float_list.value, np.float32)
            sample[field] = value.reshape(shape)
        for field, shape in FLAGS.items():
            value = np.fromiter(feature[field].int64_list.value, np.uint8)
            sample[field] = value.reshape(shape)
        for field in STRINGS:
            sample[field] = feature[field].bytes_list.value[0].decode()
        field = "image"
        image = feature[field].bytes_list.value[0]
    except (ValueError, IndexError, OverflowError) as error:
        raise RecordError(f"the field {field} is damaged ({error})") from error
    _check_stored(sample)
    stored = feature["segmentation"].bytes_list.value
    segmentation = stored[0] if stored else None
    if images:
        image = decode_image(image)
        segmentation = decode_segmentation(segmentation) if stored else None
        if stored and segmentation.shape != image.shape[:2]:
            raise RecordError("the segmentation is not of the image's size")
    return sample | {"image": image, "segmentation": segmentation}


# of every number in FLOATS, in their order
_LIMITS = np.concatenate(
    [
        np.full(shape, LIMITS.get(field, np.finfo(np.float32).max), np.float32).ravel()
        for field, shape in FLOATS.items()
    ]
)


def _check_stored(sample):
    """What came out of a file keeps to the schema's ranges: its checksum may fit all the same."""
    numbers = np.concatenate([sample[field].ravel() for field in FLOATS])
    if not (np.abs(numbers) <= _LIMITS).all():  # a NaN is not
        raise RecordError("a number is not finite, or is out of range")
    if not all((sample[field] <= 1).all() for field in FLAGS):
        raise RecordError("a flag is neither 0 nor 1")
    try:
        _check_ranges("", sample)
    except SampleError as error:
        raise RecordError(str(error).removeprefix(": ")) from error


# --- shards ------------------------------------------------------------------------------------

# TFRecord: length (8 bytes), its checksum (4), the data, their checksum (4); little-endian
_HEADER, _FOOTER = struct.Struct("<QI"), struct.Struct("<I")
_COUNTERS = ("known", "skipped", "notes")  # of a shard's .json


def masked_crc(data):
    """CRC-32C, turned and shifted as TFRecord wants it."""
    with extra("train"):
        import google_crc32c

    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def write_shard(path, samples, quality=QUALITY, notes=None):
    """Write samples to one shard; it takes its name when it is whole.

    A sample that breaks the schema is left out and counted, so that a long run does not die of it;
    if not one sample is good, the first one's error is raised. An interrupted run goes on by
    asking `finished` before it makes a shard.

    Args:
        path: SPLIT-NUMBER.tfrecord in a folder that exists.
        samples: iterable of samples and of `Skip`s.
        quality: of the JPEG, for images given as arrays.
        notes: {what was mended: count}, read when all samples have come.

    Returns:
        what the shard's .json says: `samples`, `bytes`, `lengths` of the records, `known` (how
        many samples know keypoints_2d, keypoints_3d, pose, ...), `skipped` {reason: count}, `notes`
        and up to 20 `examples` of what was skipped.

    Raises:
        SampleError: every sample breaks the schema.
    """
    path = Path(path)
    lengths, known, skipped, examples, first = [], Counter(), Counter(), [], None
    with atomic_write(path) as file:
        for sample in samples:
            if not isinstance(sample, Skip):
                try:
                    sample = check_sample(sample)
                    data = _encode(sample, quality)
                except SampleError as error:
                    first = first or error
                    examples.append(str(error))
                    sample = Skip("breaks the schema")
                else:
                    length = struct.pack("<Q", len(data))
                    file.write(length + _FOOTER.pack(masked_crc(length)))
                    file.write(data + _FOOTER.pack(masked_crc(data)))
                    lengths.append(len(data))
                    known.update(what_is_known(sample))
                    continue
            elif sample.id:
                examples.append(f"{sample.id}: {sample.reason}")
            skipped[sample.reason] += 1
        if first and not lengths:
            raise first
        size = file.tell()
        path.with_suffix(".json").unlink(missing_ok=True)  # it told of another shard
    summary = {
        "samples": len(lengths),
        "bytes": size,
        "known": dict(known),
        "skipped": dict(skipped),
        "notes": dict(notes or {}),
        "examples": examples[:20],
        "lengths": lengths,
    }
    _write_json(path.with_suffix(".json"), summary, indent=None)
    return summary


def what_is_known(sample):
    """The names of the labels that a sample has."""
    names = [field for field in ("keypoints_2d", "keypoints_3d") if sample[field][:, -1].any()]
    names += [field for field in ("pose", "betas", "camera") if sample[f"has_{field}"]]
    names += ["segmentation"] if sample.get("segmentation") is not None else []
    return names + (["pseudo_3d"] if sample["pseudo_3d"] else [])


def finished(path):
    """What a whole shard's .json says, or None: missing, cut short, or not described."""
    path = Path(path)
    try:
        summary = json.loads(path.with_suffix(".json").read_text("utf-8"))
        lengths, size = summary["lengths"], path.stat().st_size
        counts = [count for name in _COUNTERS for count in summary[name].values()]
        described = all(type(n) is int and n >= 0 for n in (*lengths, *counts))
        framed = sum(lengths) + len(lengths) * (_HEADER.size + _FOOTER.size)
        fits = summary["bytes"] == size == framed and summary["samples"] == len(lengths)
        return summary if described and fits else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def write_index(folder, **about):
    """Sum up the finished shards of a folder in its index.json.

    Args:
        about: what else to say: source, licence, citation, the command's arguments ...

    Returns:
        the index: `about`, `version`, `samples`, `splits` {split: samples}, `known`, `skipped`,
        `notes`.
    """
    folder = Path(folder)
    splits, known, skipped, notes = (Counter() for _ in range(4))
    for path in sorted(folder.glob("*.tfrecord")):
        summary = finished(path)
        if summary is not None:
            splits[path.name.rpartition("-")[0]] += summary["samples"]
            known.update(summary["known"])
            skipped.update(summary["skipped"])
            notes.update(summary["notes"])
    index = {
        **about,
        "version": VERSION,
        "keypoints": KEYPOINTS,
        "samples": splits.total(),
        "splits": dict(splits),
        "known": dict(known),
        "skipped": dict(skipped),
        "notes": dict(notes),
    }
    _write_json(folder / "index.json", index)
    return index


def _write_json(path, value, indent=1):
    with atomic_write(path) as file:
        file.write((json.dumps(value, indent=indent, ensure_ascii=False) + "\n").encode())


# --- reading -----------------------------------------------------------------------------------


class Records:
    """The records of some shards, read in any order; `len`, `[i]` and `for` work as on a list.

    `records[i]` raises `RecordError` for a damaged record; `for sample in records` passes over
    it, and counts it in `skipped`.

    Attributes:
        paths: the shards.
        shard, offset, length: (N,) where each record lies.
        skipped: Counter {reason: count} of what could not be read so far.
    """

    def __init__(self, paths):
        self.paths = [Path(path) for path in paths]
        self.skipped = Counter()
        spans = [self._spans(path) for path in self.paths]
        counts = [len(offset) for offset, _ in spans]
        self.shard = np.repeat(np.arange(len(spans)), counts)
        self.offset = np.concatenate([offset for offset, _ in spans] or [[]]).astype(np.int64)
        self.length = np.concatenate([length for _, length in spans] or [[]]).astype(np.int64)

    def _spans(self, path):
        """Offsets and lengths of a shard's records, as its .json says or as the file shows."""
        summary = finished(path)
        if summary is None:
            lengths, fault = _scan(path)
            if fault:
                self.skipped[fault] += 1
                warnings.warn(f"{path}: {fault}; read {len(lengths)} records", stacklevel=4)
        else:
            lengths = summary["lengths"]
        lengths = np.array(lengths, np.int64)
        framed = lengths + _HEADER.size + _FOOTER.size
        return np.cumsum(framed) - framed, lengths

    def __len__(self):
        return len(self.offset)

    def __getitem__(self, index):
        return self.read(index)

    def __iter__(self):
        for index in range(len(self)):
            try:
                yield self.read(index)
            except RecordError as error:
                self.skipped[str(error.__cause__ or error)] += 1

    def draw(self, count, seed=0):
        """`count` samples drawn at random, fewer if there are fewer, in their order."""
        order = np.random.default_rng(seed).permutation(len(self))[:count]
        return [self[index] for index in sorted(order.tolist())]

    def read(self, index, images=True):
        """One sample, see `decode_sample`.

        Raises:
            RecordError: damaged, or of another version; the message names shard and record.
        """
        index = range(len(self))[index]
        path, length = self.paths[self.shard[index]], int(self.length[index])
        try:
            with open(path, "rb") as file:
                file.seek(self.offset[index])
                header, data = file.read(_HEADER.size), file.read(length)
                footer = file.read(_FOOTER.size)
            if len(footer) < _FOOTER.size or _HEADER.unpack(header)[0] != length:
                raise RecordError("the shard has changed or ends too soon")
            if _FOOTER.unpack(footer)[0] != masked_crc(data):
                raise RecordError("a record's checksum does not fit its data")
            return decode_sample(data, images)
        except RecordError as error:
            at = index - int(np.searchsorted(self.shard, self.shard[index]))
            raise RecordError(f"{path}, record {at}: {error}") from error


def _scan(path):
    """Lengths of the whole records of a shard, and what is wrong with what follows, or None."""
    lengths, end, size = [], 0, path.stat().st_size
    with open(path, "rb") as file:
        while end < size:
            file.seek(end)
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return lengths, "the shard ends in the middle of a record"
            length, checksum = _HEADER.unpack(header)
            if checksum != masked_crc(header[:8]):
                return lengths, "the shard is damaged, or no TFRecord file"
            end += _HEADER.size + length + _FOOTER.size
            if end > size:
                return lengths, "the shard ends in the middle of a record"
            lengths.append(length)
    return lengths, None


def find_shards(source, split=None):
    """The shards meant by a folder, a file, or a list of such; `split` picks among folders'.

    Raises:
        RecordError: there is none.
    """
    if not isinstance(source, str | Path):
        return [path for item in source for path in find_shards(item, split)]
    source = Path(source)
    if source.is_file():
        return [source]
    paths = sorted(source.glob(f"{split}-*.tfrecord" if split else "*.tfrecord"))
    if not paths:
        here = sorted({path.name.rpartition("-")[0] for path in source.glob("*.tfrecord")})
        raise RecordError(
            f"{source}: no records"
            + (f" of the split {split!r}; there are {', '.join(here)}" if split and here else "")
            + ("" if source.is_dir() else ", no such folder")
            + ("" if here else ". `hmr data convert` and `hmr data render` write some")
        )
    return paths


def open_records(source, split=None):
    """The `Records` of a folder, a shard or a list of such.

    A shard that ends too soon gives a warning, and its whole records.

    Raises:
        RecordError: there are no shards.
    """
    return Records(find_shards(source, split))
