"""Records: what is written comes back, by two readers; what is damaged is named or counted."""

import io
import json
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from hmrlib.data import records
from hmrlib.data.records import RecordError, SampleError, Skip

K = records.K


def make_sample(seed=0, shape=(48, 64), **fields):
    """A person with everything known, over smooth colours (JPEG keeps those)."""
    rng = np.random.default_rng(seed)
    height, width = shape
    ramp = np.linspace(0, 255, width)[None, :, None] * np.linspace(0.3, 1, height)[:, None, None]
    return {
        "image": np.uint8(ramp * rng.uniform(0.2, 1, 3)),
        "center": (width / 2, height / 2),
        "size": 40.0,
        "keypoints_2d": np.c_[rng.uniform(0, 48, (K, 2)), rng.uniform(0.1, 1, K)],
        "occluded": rng.integers(0, 2, K),
        "keypoints_3d": np.c_[rng.normal((0, 0, 4), 0.5, (K, 3)), np.ones(K)],
        "pose": rng.normal(0, 0.4, (24, 3)),
        "betas": rng.normal(size=10),
        "translation": (0.1, -0.2, 4.0),
        "camera": (300.0, 32.5, 24.5),
        "segmentation": rng.integers(0, 3, shape, dtype=np.uint8),
        "source": "made",
        "id": f"ü-{seed}",
        "recipe": json.dumps({"seed": seed}),
        **fields,
    }


def assert_same(read, written, image_off=8):
    for field in (*records.FLOATS, *records.FLAGS):
        expected = np.asarray(records.check_sample(written)[field])
        np.testing.assert_array_equal(read[field], expected, err_msg=field, strict=True)
    assert {name: read[name] for name in records.STRINGS} == {
        name: written[name] for name in records.STRINGS
    }
    assert np.abs(read["image"].astype(int) - written["image"]).max() <= image_off
    np.testing.assert_array_equal(read["segmentation"], written["segmentation"], strict=True)


@pytest.fixture
def folder(tmp_path):
    """Two shards of a training split and one of a test split: 4 + 3 + 2 samples."""
    for name, seeds in (("train-00000", range(4)), ("train-00001", (4, 5, 6)), ("test-0", (7, 8))):
        records.write_shard(tmp_path / f"{name}.tfrecord", map(make_sample, seeds))
    return tmp_path


def test_samples_come_back(folder):
    read = records.open_records(folder, "train")
    assert len(read) == 7 and [sample["id"] for sample in read] == [f"ü-{i}" for i in range(7)]
    for seed, sample in enumerate(read):
        assert_same(sample, make_sample(seed))
    assert_same(read[-1], make_sample(6))
    assert len(records.open_records([folder / "test-0.tfrecord"])) == 2
    assert len(records.open_records(folder)) == 9 and not read.skipped


def test_tensorflow_reads_the_same(folder):
    import tensorflow as tf

    field = tf.io.FixedLenFeature
    features = {name: field(shape, tf.float32) for name, shape in records.FLOATS.items()}
    features |= {name: field(shape, tf.int64) for name, shape in records.FLAGS.items()}
    features |= {name: field((), tf.string) for name in (*records.STRINGS, *records.IMAGES)}
    read = {}
    for data in tf.data.TFRecordDataset([str(path) for path in records.find_shards(folder)]):
        sample = {k: v.numpy() for k, v in tf.io.parse_single_example(data, features).items()}
        read[sample["id"].decode()] = sample
    ours = records.open_records(folder)
    assert len(read) == len(ours) == 9
    for sample in ours:
        other = read[sample["id"]]
        assert other["recipe"].decode() == sample["recipe"]
        for field in (*records.FLOATS, *records.FLAGS):
            np.testing.assert_array_equal(other[field], sample[field], err_msg=field)
        image = tf.io.decode_jpeg(other["image"], 3, dct_method="INTEGER_ACCURATE")
        np.testing.assert_array_equal(image, sample["image"])
        segmentation = tf.io.decode_png(other["segmentation"])[..., 0]
        np.testing.assert_array_equal(segmentation, sample["segmentation"])


def test_our_message_is_tensorflows(tmp_path):
    """Written by TensorFlow's own writer, read by ours."""
    import tensorflow as tf

    path = tmp_path / "train-0.tfrecord"
    data = records.encode_sample(make_sample(3))
    example = tf.train.Example.FromString(data)
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(example.SerializeToString())
        writer.write(data)
    read = records.open_records(path)
    assert len(read) == 2
    for sample in read:
        assert_same(sample, make_sample(3))


def test_reading_and_writing_need_no_tensorflow(tmp_path):
    code = (
        "import sys, numpy as np\n"
        "from tests.data.test_records import make_sample, records\n"
        f"records.write_shard(r'{tmp_path / 'a-0.tfrecord'}', [make_sample()])\n"
        f"assert records.open_records(r'{tmp_path}')[0]['id'] == 'ü-0'\n"
        "assert not {'tensorflow', 'keras', 'jax'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_left_out_is_unknown(tmp_path):
    few = {name: make_sample()[name] for name in records.REQUIRED}
    points = np.full((K, 3), np.nan)
    points[:5] = (10, 20, 1)
    summary = records.write_shard(
        tmp_path / "train-0.tfrecord", [few, {**few, "keypoints_2d": points}]
    )
    first, second = records.open_records(tmp_path)
    for name in ("keypoints_2d", "keypoints_3d", "pose", "has_pose", "has_betas", "has_camera"):
        assert not first[name].any(), name
    assert first["segmentation"] is None and first["recipe"] == ""
    np.testing.assert_array_equal(second["keypoints_2d"][:, 2], [1] * 5 + [0] * (K - 5))
    assert not second["keypoints_2d"][5:].any()  # NaN where unknown is stored as zero
    assert summary["known"] == {"keypoints_2d": 1}


def test_a_jpeg_is_stored_as_it_is(tmp_path):
    data = records.encode_jpeg(make_sample(1)["image"], quality=60)
    records.write_shard(tmp_path / "a-0.tfrecord", [make_sample(1, image=data)])
    read = records.open_records(tmp_path)
    assert read.read(0, images=False)["image"] == data
    np.testing.assert_array_equal(read[0]["image"], records.decode_image(data))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"colour": 1}, "unknown colour"),
        ({"pose": np.zeros((23, 3))}, r"pose of shape \(24, 3\), found \(23, 3\)"),
        ({"pose": np.full((24, 3), np.nan)}, r"pose\[0, 0\] is not"),
        ({"pose": np.full((24, 3), 40.0)}, "pose within ±12.5664, found 40"),
        ({"betas": np.full(10, np.inf)}, "finite"),
        ({"size": 0.0}, "positive size"),
        ({"center": (np.nan, 1)}, r"center\[0\] is not"),
        ({"keypoints_2d": np.full((K, 3), 2.0)}, "confidences from 0 to 1"),
        ({"keypoints_2d": np.tile([9e3, 0, 1], (K, 1))}, "right_ankle is 8968 pixels away"),
        ({"keypoints_3d": np.full((K, 4), 0.5)}, "fourth column"),
        ({"occluded": np.full(K, 2)}, "occluded to be 0 or 1"),
        ({"camera": (-1, 2, 3)}, "positive focal length, found -1"),
        ({"image": np.zeros((4, 4, 3))}, "uint8"),
        ({"image": b"no picture"}, "not a whole JPEG"),
        ({"image": records.encode_jpeg(make_sample()["image"])[:-200]}, "not a whole JPEG"),
        ({"segmentation": np.zeros((5, 5), np.uint8)}, "segmentation uint8 of the image's shape"),
    ],
)
def test_bad_samples_are_named(fields, message):
    with pytest.raises(SampleError, match=f"sample made/ü-0: .*{message}"):
        records.encode_sample(make_sample(**fields))


def test_a_missing_field_is_named():
    sample = make_sample()
    del sample["center"]
    with pytest.raises(SampleError, match="missing center"):
        records.encode_sample(sample)


def test_skips_are_counted_and_summed_up(tmp_path):
    stream = [make_sample(0), Skip("no image", "b"), make_sample(1, size=np.nan), make_sample(2)]
    summary = records.write_shard(tmp_path / "train-0.tfrecord", stream)
    assert summary["samples"] == 2
    assert summary["skipped"] == {"no image": 1, "breaks the schema": 1}
    assert summary["examples"][0] == "b: no image" and "ü-1" in summary["examples"][1]
    records.write_shard(tmp_path / "test-0.tfrecord", [Skip("no image"), make_sample(3)])
    index = records.write_index(tmp_path, source="made", licence="none")
    assert index == json.loads((tmp_path / "index.json").read_text("utf-8"))
    assert index["samples"] == 3 and index["splits"] == {"train": 2, "test": 1}
    assert index["skipped"] == {"no image": 2, "breaks the schema": 1}
    assert index["known"]["pose"] == 3 and index["licence"] == "none"


def test_nothing_but_bad_samples_is_an_error(tmp_path):
    with pytest.raises(SampleError, match="ü-0"):
        records.write_shard(tmp_path / "a-0.tfrecord", [make_sample(size=-1.0)] * 3)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_shard_leaves_nothing(tmp_path):
    def stream():
        yield make_sample()
        raise KeyboardInterrupt

    path = tmp_path / "a-0.tfrecord"
    with pytest.raises(KeyboardInterrupt):
        records.write_shard(path, stream())
    assert not list(tmp_path.iterdir()) and records.finished(path) is None
    records.write_shard(path, [make_sample()])
    assert records.finished(path)["samples"] == 1


def cut(path, at):
    path.write_bytes(path.read_bytes()[:at])


@pytest.mark.parametrize("with_json", [True, False])
def test_a_truncated_shard_gives_its_whole_records(folder, with_json):
    path = folder / "train-00000.tfrecord"
    lengths = records.finished(path)["lengths"]
    cut(path, sum(lengths[:3]) + 3 * 16 + 50)  # in the middle of the fourth
    if not with_json:
        path.with_suffix(".json").unlink()
    assert records.finished(path) is None
    with pytest.warns(UserWarning, match="train-00000.tfrecord: the shard ends in the middle"):
        read = records.open_records(folder, "train")
    assert [sample["id"] for sample in read] == [f"ü-{i}" for i in (0, 1, 2, 4, 5, 6)]
    assert read.skipped == {"the shard ends in the middle of a record": 1}


def test_a_damaged_record_is_passed_over_and_counted(folder):
    path = folder / "train-00000.tfrecord"
    data = bytearray(path.read_bytes())
    data[records.finished(path)["lengths"][0] + 16 + 12 + 100] ^= 1  # one bit of the second
    path.write_bytes(data)
    read = records.open_records(folder, "train")
    with pytest.raises(RecordError, match=r"train-00000.tfrecord, record 1: .*checksum"):
        read[1]
    assert len(list(read)) == 6
    assert list(read.skipped.values()) == [1]


def test_a_shard_that_shrinks_while_it_is_read(folder):
    read = records.open_records(folder, "test")
    cut(folder / "test-0.tfrecord", 100)
    with pytest.raises(RecordError, match="record 1: the shard has changed or ends too soon"):
        read[1]


def test_another_version_is_refused_and_counted(folder, monkeypatch):
    monkeypatch.setattr(records, "VERSION", records.VERSION + 1)
    records.write_shard(folder / "train-00002.tfrecord", [make_sample(9)])
    monkeypatch.undo()
    read = records.open_records(folder, "train")
    with pytest.raises(RecordError, match=r"expected version 1 of the schema, found \[2\]; write"):
        read[7]
    assert len(list(read)) == 7 and read.skipped.total() == 1


def test_what_is_no_record_is_refused(tmp_path):
    (tmp_path / "train-0.tfrecord").write_bytes(b"never a record at all")
    with pytest.warns(UserWarning, match="no TFRecord file"):
        assert len(records.open_records(tmp_path)) == 0
    frame = struct.pack("<Q", 3)
    frame += struct.pack("<I", records.masked_crc(frame)) + b"\xff\xff\xff"
    frame += struct.pack("<I", records.masked_crc(b"\xff\xff\xff"))
    (tmp_path / "train-0.tfrecord").write_bytes(frame)
    with pytest.raises(RecordError, match=r"not a tf\.train\.Example"):
        records.open_records(tmp_path)[0]


def rewritten(path, change):
    """Write a shard's first record again, changed, with checksums that fit; without its .json."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    message = records.example_class()()
    message.ParseFromString(data[12 : 12 + length])
    change(message.features.feature)
    changed, rest = message.SerializeToString(), data[16 + length :]
    head = struct.pack("<Q", len(changed))
    head += struct.pack("<I", records.masked_crc(head))
    path.write_bytes(head + changed + struct.pack("<I", records.masked_crc(changed)) + rest)
    path.with_suffix(".json").unlink()
    return path


def number(field, value, index=0):
    def change(feature):
        feature[field].float_list.value[index] = value

    return change


def file(field, data):
    def change(feature):
        feature[field].bytes_list.value[0] = data

    return change


def flag(field, value):
    def change(feature):
        feature[field].int64_list.value[0] = value

    return change


def saved(image, kind):
    target = io.BytesIO()
    image.save(target, kind)
    return target.getvalue()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *((number(name, float("nan")), "not finite") for name in records.FLOATS),
        (number("pose", float("inf")), "not finite"),
        (number("betas", 1e30), "out of range"),
        (number("size", -1.0), "a box of positive size"),
        (number("keypoints_2d", 3.0, index=2), "confidences from 0 to 1"),
        (number("camera", 0.0), "a positive focal length"),
        (flag("occluded", 2), "neither 0 nor 1"),
        (flag("has_pose", 300), "has_pose is damaged"),
        (flag("has_pose", -1), "has_pose is damaged"),
        (file("recipe", b"\xff"), "recipe is damaged"),
        (lambda feature: feature["pose"].float_list.value.pop(), "pose is damaged"),
        (lambda feature: feature["image"].Clear(), "image is damaged"),
        (file("image", b"\xff\xd8\xff\xe0"), "the image cannot be read"),
        (file("image", saved(Image.new("RGB", (64, 48)), "EPS")), "the image cannot be read"),
        (file("segmentation", b"PNG"), "the segmentation cannot be read"),
        (file("segmentation", saved(Image.new("RGB", (64, 48)), "PNG")), "segmentation is of mode"),
        (file("segmentation", saved(Image.new("L", (9, 9)), "PNG")), "not of the image's size"),
        (file("segmentation", saved(Image.new("1", (20000, 10000)), "PNG")), "200 megapixels"),
    ],
)
def test_a_right_checksum_is_no_warrant(folder, change, message):
    path = rewritten(folder / "train-00000.tfrecord", change)
    read = records.open_records(path)
    with pytest.raises(RecordError, match=message):
        read[0]
    assert len(list(read)) == 3 and read.skipped.total() == 1


@pytest.mark.parametrize("length", [2**60, 2**64 - 1, 1000])
def test_a_length_that_is_not_there_is_passed_over(folder, length):
    path = folder / "train-00000.tfrecord"
    head = struct.pack("<Q", length)
    with open(path, "ab") as file:
        file.write(head + struct.pack("<I", records.masked_crc(head)))
    with pytest.warns(UserWarning, match="ends in the middle of a record"):
        assert len(records.open_records(path)) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"lengths": [2**60]},
        {"lengths": [-16, 16]},
        {"lengths": "many"},
        {"lengths": [1.5]},
        {"lengths": None},
        {"samples": 10**9},
        {"known": {"pose": "all"}},
        {"skipped": None},
        {"bytes": "1"},
    ],
)
def test_what_a_shard_is_said_to_be_is_not_trusted(folder, change):
    path = folder / "train-00000.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change), "utf-8")
    assert records.finished(path.with_suffix(".tfrecord")) is None  # so it would be made again
    assert len(records.open_records(folder, "train")) == 7
    assert records.write_index(folder)["samples"] == 5
    path.write_text("[" * 10**5, "utf-8")
    assert records.finished(path.with_suffix(".tfrecord")) is None


def test_no_shards_is_an_error_that_says_what_there_is(folder, tmp_path):
    with pytest.raises(RecordError, match=r"no records of the split 'val'; there are test, train"):
        records.open_records(folder, "val")
    with pytest.raises(RecordError, match="no such folder"):
        records.open_records(tmp_path / "nowhere")


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (64, 63), (20, 24)])
@pytest.mark.parametrize("count", [1, 3, 4, 5, 256])
def test_segmentation_comes_back(shape, count):
    labels = np.random.default_rng(0).integers(0, count, shape, dtype=np.uint8)
    for given in (labels, labels[:, ::-1]):
        data = records.encode_segmentation(given)
        with Image.open(io.BytesIO(data)) as picture:
            picture.verify()  # the chunks' checksums
        np.testing.assert_array_equal(records.decode_segmentation(data), given)
