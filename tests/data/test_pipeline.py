"""Batches: labels follow their pictures, nothing is lost, any step can come next."""

import itertools
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

import hmrlib
from hmrlib.data import pipeline, records
from hmrlib.data.feed import Feed
from hmrlib.data.pipeline import NONE, Augmentation, MixedDataset
from tests.data.test_records import make_sample

K = records.K


@pytest.fixture(scope="module")
def people():
    """Eight people of the open body before a camera, labels all consistent; stacked fields."""
    rng = np.random.default_rng(0)
    body = hmrlib.load_body()
    count = 8
    pose = rng.normal(0, 0.25, (count, 24, 3))
    # upright in front of the camera: turned by half a circle about x, and then a little
    root = Rotation.from_rotvec(rng.normal(0, 0.4, (count, 3))) * Rotation.from_rotvec(
        [np.pi, 0, 0]
    )
    pose[:, 0] = root.as_rotvec()
    betas = rng.normal(size=(count, 10))
    translation = rng.normal((0, 0, 4), 0.3, (count, 3))
    out = body(betas, pose, translation)
    points = np.asarray(body.keypoints(out), float)
    focal, principal = 300.0, np.array([130.0, 120.0])
    pixels = focal * points[..., :2] / points[..., 2:] + principal
    low, high = pixels.min(1), pixels.max(1)
    samples = [
        make_sample(
            i,
            shape=(256, 256),
            id=str(i),
            center=(low[i] + high[i]) / 2,
            size=1.2 * (high[i] - low[i]).max(),
            keypoints_2d=np.c_[pixels[i], np.ones(K)],
            keypoints_3d=np.c_[points[i], np.ones(K)],
            pose=pose[i],
            betas=betas[i],
            translation=translation[i],
            camera=(focal, *principal),
        )
        for i in range(count)
    ]
    samples = [records.check_sample(sample) for sample in samples]
    return {name: np.stack([sample[name] for sample in samples]) for name in pipeline.LABELS}


@pytest.fixture(scope="module")
def affines(people):
    rng = np.random.default_rng(1)
    return pipeline.draw_affines(rng, people["center"], people["size"], Augmentation())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Records of two sources, `a` with 10 and `b` with 7 samples, in two shards each."""
    root = tmp_path_factory.mktemp("records")
    for name, cuts in (("a", (0, 6, 10)), ("b", (0, 3, 7))):
        (root / name).mkdir()
        for shard, (first, last) in enumerate(itertools.pairwise(cuts)):
            samples = [make_sample(i, source=name, id=str(i)) for i in range(first, last)]
            records.write_shard(root / name / f"train-{shard}.tfrecord", samples)
    return root


def as_matrices(pose):
    return Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(*pose.shape[:-1], 3, 3)


def assert_labels_equal(found, expected, within):
    for name in pipeline.LABELS:
        a, b = found[name], expected[name]
        if name == "pose":  # one rotation has many axis-angle vectors
            a, b = as_matrices(a), as_matrices(b)
        np.testing.assert_allclose(a, b, rtol=0, atol=within, err_msg=name)


# --- labels -------------------------------------------------------------------------------------


def test_augment_and_invert_is_where_it_began(people, affines):
    assert (np.linalg.det(affines[:, :, :2]) < 0).any()  # some are mirrored
    there = pipeline.apply_affine(people, affines)
    back = pipeline.apply_affine(there, pipeline.invert_affine(affines))
    assert np.abs(there["keypoints_2d"] - people["keypoints_2d"]).max() > 10
    assert_labels_equal(back, people, within=1e-4)


def test_flipping_twice_is_where_it_began(people):
    flip = pipeline.affine(people["center"], np.ones(8), np.zeros(8), np.ones(8, bool), 112.0)
    once = pipeline.apply_affine(people, flip)
    twice = pipeline.apply_affine(once, flip)
    away = twice["center"] - people["center"]  # the mirror does not lie in the box's middle
    np.testing.assert_allclose(twice["center"], people["center"] + away)
    flip_back = pipeline.affine(
        once["center"], np.ones(8), np.zeros(8), np.ones(8, bool), people["center"]
    )
    assert_labels_equal(pipeline.apply_affine(once, flip_back), people, within=1e-4)


def test_one_sample_or_many(people, affines):
    together = pipeline.apply_affine(people, affines)
    for i in range(8):
        alone = pipeline.apply_affine({n: v[i] for n, v in people.items()}, affines[i])
        assert_labels_equal(alone, {n: v[i] for n, v in together.items()}, within=1e-5)


def test_left_and_right_swap_when_mirrored(people):
    names = records.KEYPOINT_SETS[records.KEYPOINTS].names
    left, right = names.index("left_wrist"), names.index("right_wrist")
    flip = pipeline.affine(np.zeros((8, 2)), np.ones(8), np.zeros(8), np.ones(8, bool), 0.0)
    there = pipeline.apply_affine(people, flip)
    expected = people["keypoints_2d"][:, left] * [-1, 1, 1]
    np.testing.assert_allclose(there["keypoints_2d"][:, right], expected, rtol=1e-6)
    np.testing.assert_array_equal(there["occluded"][:, right], people["occluded"][:, left])


def test_the_camera_sees_what_the_labels_say(people, affines):
    """3D points through the new camera fall on the new 2D points: shift, scale, turn, mirror."""
    there = pipeline.apply_affine(people, affines)
    points, camera = there["keypoints_3d"][..., :3].astype(float), there["camera"].astype(float)
    pixels = camera[:, None, :1] * points[..., :2] / points[..., 2:] + camera[:, None, 1:]
    np.testing.assert_allclose(pixels, there["keypoints_2d"][..., :2], rtol=0, atol=2e-3)


def test_the_body_stands_where_the_labels_say(people, affines):
    """The new pose and translation give the new 3D points, through the body itself."""
    body = hmrlib.load_body()
    there = pipeline.apply_affine(people, affines)
    out = body(there["betas"], there["pose"], there["translation"])
    error = np.linalg.norm(
        np.asarray(body.keypoints(out)) - there["keypoints_3d"][..., :3], axis=-1
    )
    assert error.max() < 1e-4  # metres: the open body is its own mirror image


def test_what_is_unknown_stays_unknown(people, affines):
    unknown = {name: np.zeros_like(value) for name, value in people.items()}
    unknown |= {"center": people["center"], "size": people["size"]}
    there = pipeline.apply_affine(unknown, affines)
    for name in set(pipeline.LABELS) - {"center", "size"}:
        assert not there[name].any(), name


def test_the_box_lies_in_the_crops_middle(people):
    rng = np.random.default_rng(0)
    plain = pipeline.draw_affines(rng, people["center"], people["size"])
    there = pipeline.apply_affine(people, plain)
    np.testing.assert_allclose(there["center"], 112, atol=1e-4)
    np.testing.assert_allclose(there["size"], 224, atol=1e-4)


def test_augmentation_keeps_to_its_limits():
    rng, count = np.random.default_rng(0), 4000
    size, center = rng.uniform(50, 500, count), rng.uniform(0, 500, (count, 2))
    drawn = pipeline.draw_affines(rng, center, size, Augmentation())
    moved = np.einsum("bcd,bd->bc", drawn[..., :2], center) + drawn[..., 2] - 112
    determinant = np.linalg.det(drawn[..., :2])
    scale = np.sqrt(np.abs(determinant)) * size / 224
    turned = np.degrees(np.arctan2(drawn[:, 1, 0] * np.sign(determinant), drawn[:, 1, 1]))
    for value, limit in ((moved, 20), (turned, 30)):
        assert 0.98 * limit < value.max() <= limit + 1e-6 and value.min() < -0.98 * limit
    assert 0.8 <= scale.min() < 0.81 and 1.22 < scale.max() <= 1.23 + 1e-6
    assert 0.46 < (determinant < 0).mean() < 0.54


# --- pixels -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dots(tmp_path_factory):
    """Records whose keypoints are white blobs on black."""
    root = tmp_path_factory.mktemp("dots")
    y, x = np.mgrid[:160, :200] + 0.5
    samples = []
    for i, (a, b) in enumerate([(60.3, 70.8), (130.0, 40.5), (100.7, 110.2)]):
        blob = 255 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / 18)
        points = np.zeros((K, 3))
        points[14] = (a, b, 1)  # the nose, which has no other side
        image = np.repeat(np.uint8(blob)[..., None], 3, 2)
        samples.append(
            make_sample(i, (160, 200), image=image, keypoints_2d=points, center=(98, 77), size=180)
        )
    records.write_shard(root / "train-0.tfrecord", samples, quality=98)
    return root


def test_pixels_move_with_the_labels(dots):
    augmentation = replace(Augmentation(), gain=0.0, offset=0.0, patches=0)
    batch = MixedDataset(dots, 12, seed=4, augmentation=augmentation)[0]
    y, x = np.mgrid[:224, :224] + 0.5
    for image, points in zip(batch["image"], batch["keypoints_2d"], strict=True):
        weight = np.where(image[..., 0] > 40, image[..., 0], 0).astype(float)
        found = [(weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()]
        np.testing.assert_allclose(found, points[14, :2], atol=0.1)


def test_segmentation_moves_with_the_picture(tmp_path):
    """Pictures whose grey says which label: it still does when both were moved and mirrored."""
    rng = np.random.default_rng(0)
    samples = []
    for i in range(4):
        labels = np.kron(rng.integers(1, 4, (4, 4)), np.ones((24, 24))).astype(np.uint8)
        fields = {"image": np.repeat(80 * labels[..., None], 3, 2), "center": (48, 48)}
        fields["segmentation"] = labels if i < 3 else None
        samples.append(make_sample(i, (96, 96), **fields))
    records.write_shard(tmp_path / "train-0.tfrecord", samples)
    options = {"crop": 64, "once": True, "segmentation": True}
    plain = Augmentation(gain=0, offset=0, patches=0)
    mixed = MixedDataset(tmp_path, 4, augmentation=plain, **options)
    batch = mixed[0]
    assert (np.linalg.det(batch["affine"][:3, :, :2]) < 0).any()  # one is mirrored
    assert batch["has_segmentation"].tolist() == [1, 1, 1, 0] and not batch["segmentation"][3].any()
    grey = np.rint(batch["image"][:3, ..., 0] / 80)
    agree = grey == batch["segmentation"][:3]
    assert agree.mean() > 0.9  # all but the edges
    assert np.unique(batch["segmentation"]).tolist() == [0, 1, 2, 3]
    hidden = MixedDataset(tmp_path, 4, augmentation=replace(plain, patches=3), **options)[0]
    covered = (hidden["image"] != batch["image"]).any(-1)[:3]
    maps, before = hidden["segmentation"][:3], batch["segmentation"][:3]
    assert covered.mean() > 0.02 and not maps[covered].any()
    assert ((maps == before) | (maps == 0)).all() and (maps == before)[~covered].mean() > 0.95
    assert "segmentation" not in MixedDataset(tmp_path, 4)[0]


def test_processes_share_a_batch(folder):
    options = {"batch_size": 8, "seed": 3, "poses": np.ones((5, 24, 3))}
    mixed = MixedDataset(folder / "a", **options)
    whole = mixed[1]
    parts = [mixed.for_process(index, 2)[1] for index in (0, 1)]
    for name in whole:
        assert len(parts[0][name]) == 4
        joined = np.concatenate([part[name] for part in parts])
        np.testing.assert_array_equal(joined, whole[name], err_msg=name)


def test_the_warp_is_pillows():
    """Another implementation of the same thing, but for the picture's edge."""
    rng = np.random.default_rng(0)
    image = np.uint8(255 * rng.uniform(size=(12, 15, 3))).repeat(8, 0).repeat(8, 1)
    back = np.array([[0.7, -0.3, 20.5], [0.3, 0.7, -8.2]])
    found = pipeline.warp(image, back, 90, fill=(9, 8, 7)).astype(int)
    bilinear, way = Image.Resampling.BILINEAR, Image.Transform.AFFINE
    by_pillow = Image.fromarray(image).transform((90, 90), way, tuple(back.ravel()), bilinear)
    inside = (np.asarray(by_pillow) > 0).all(-1)
    assert np.abs(found - np.asarray(by_pillow))[inside].max() <= 1
    assert (found == (9, 8, 7)).all(-1).sum() > 100
    whole = pipeline.warp(records.encode_jpeg(image, 95), np.eye(3)[:2], 90)
    np.testing.assert_array_equal(
        whole, records.decode_image(records.encode_jpeg(image, 95))[:90, :90]
    )


def test_patches_and_colours(people):
    rng = np.random.default_rng(0)
    wild = Augmentation(patches=3, gain=0.3)
    patches = pipeline.draw_patches(rng, 500, wild)
    colours = pipeline.draw_colours(rng, 500, wild)
    there = (patches[..., 2:4] > patches[..., :2]).all(-1)
    assert patches.shape == (500, 3, 7) and 0.4 < there.mean() < 0.6
    assert 1 < colours[:, 0].max() < 1.3**1.5 and 1.3**-1.5 < colours[:, 0].min() < 1
    image = np.full((50, 60, 3), 100, np.uint8)
    colour = np.float32([[1, 1, 2], [0, 10, 0]])
    image = pipeline.warp(image, np.eye(3)[:2], 50, colour)
    pipeline.paint(image, np.float32([[-5, 10, 20, 30, 1, 2, 3]]))
    np.testing.assert_array_equal(image[15, 19], (1, 2, 3))
    np.testing.assert_array_equal(image[15, 20], (100, 110, 200))
    assert (image == (1, 2, 3)).all(-1).sum() == 20 * 20


def test_hidden_points_are_occluded_and_still_known(people):
    labels = {**people, "occluded": np.zeros((8, K), np.uint8)}
    wrist = labels["keypoints_2d"][:, 6, :2]
    patches = np.concatenate([wrist - 2, wrist + 2, np.zeros((8, 3))], -1)[:, None]
    hidden = pipeline.hide_behind(labels, patches)
    assert hidden["occluded"][:, 6].all() and hidden["occluded"].sum() < 8 * K / 2
    np.testing.assert_array_equal(hidden["keypoints_2d"], people["keypoints_2d"])


# --- batches ------------------------------------------------------------------------------------


def ids(mixed, step):
    return [mixed.sources[n].read(i, images=False)["id"] for n, i in mixed.plan(step)]


def test_every_sample_is_seen_once_an_epoch(folder):
    mixed = MixedDataset(folder / "a", 5, seed=3)
    assert len(mixed) == 2
    epochs = [sorted(ids(mixed, step) + ids(mixed, step + 1)) for step in (0, 2, 40)]
    assert epochs == [sorted(map(str, range(10)))] * 3
    assert ids(mixed, 0) + ids(mixed, 1) != ids(mixed, 2) + ids(mixed, 3)  # in another order
    odd = MixedDataset(folder / "b", 3)  # 7 samples: an epoch ends inside a batch
    seen = [number for step in range(7) for number in ids(odd, step)]
    assert sorted(seen[:7]) == sorted(seen[7:14]) == sorted(map(str, range(7)))


def test_once_gives_all_in_order_and_the_last_part(folder):
    mixed = MixedDataset([folder / "a"][0], 4, once=True)
    batches = [mixed[step] for step in range(len(mixed))]
    assert [len(batch["image"]) for batch in batches] == [4, 4, 2] and len(mixed) == 3
    order = np.concatenate([batch["index"] for batch in batches])
    np.testing.assert_array_equal(order, np.stack([np.zeros(10), np.arange(10)], 1))
    both = MixedDataset({folder / "a": 1, folder / "b": 1}, 4, once=True)
    assert sum(len(both.plan(step)) for step in range(len(both))) == 17
    with pytest.raises(IndexError, match="no step 3"):
        mixed[3]


@pytest.mark.parametrize(
    ("shares", "batch_size", "counts"),
    [
        ([0.5, 0.5], 64, [32, 32]),
        ([1, 3], 8, [2, 6]),
        ([0.9, 0.1], 10, [9, 1]),
        ([0.5, 0.3, 0.2], 64, [32, 19, 13]),
        ([0.999, 0.001], 8, [7, 1]),
    ],
)
def test_shares_are_met_in_every_batch(shares, batch_size, counts):
    assert pipeline.samples_of_each(shares, batch_size).tolist() == counts


def test_sources_are_mixed_as_asked(folder):
    mixed = MixedDataset({folder / "a": 0.75, folder / "b": 0.25}, 8)
    for step in (0, 1, 17):
        assert np.bincount(mixed.plan(step)[:, 0]).tolist() == [6, 2]
        assert (mixed[step]["index"] == mixed.plan(step)).all()


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name, strict=True)


# batch 2 of seed 5, as it has been since the crop is the box: name -> sum over all its numbers
KNOWN = {"index": 17, "affine": 131.454585, "keypoints_2d": 21127.6280}
KNOWN |= {"mocap_pose": -17.6655822, "mocap_betas": -8.94974204}


def test_a_step_is_always_the_same(folder):
    poses = np.random.default_rng(0).normal(size=(9, 24, 3))
    first, again = (MixedDataset(folder / "a", 4, 5, poses=poses) for _ in range(2))
    for step in (3, 1, 3):
        assert_same(again[step], first[step])
    for name, expected in KNOWN.items():
        assert first[2][name].sum(dtype=float) == pytest.approx(expected, rel=1e-5), name
    other = MixedDataset(folder / "a", 4, 6, poses=poses)[0]
    assert np.abs(other["affine"] - first[0]["affine"]).max() > 0.01


@pytest.mark.parametrize("cores", [2, 5], ids=["threads", "processes"])
def test_a_feed_gives_the_same_batches_from_any_step_on(folder, cores):
    mixed = MixedDataset({folder / "a": 0.6, folder / "b": 0.4}, 8, poses=np.ones((5, 24, 3)))
    with closing(Feed(mixed, first=2, steps=3, cores=cores)) as feed:
        for _ in range(2):  # `fit` may look at some, and begin anew
            batches = [batch for (batch,) in feed]
            assert len(batches) == len(feed) == 3
            for step, batch in enumerate(batches, start=2):
                assert_same(batch, mixed[step])


@pytest.mark.parametrize("cores", [2, 5], ids=["threads", "processes"])
def test_what_goes_wrong_ahead_is_said(folder, tmp_path, cores):
    path = tmp_path / "train-0.tfrecord"
    records.write_shard(path, [make_sample(i) for i in range(3)])
    mixed = MixedDataset(tmp_path, 2)
    path.write_bytes(bytes(path.stat().st_size))
    with closing(Feed(mixed, cores=cores)) as feed:
        with pytest.raises(records.RecordError, match="not one record can be read"):
            feed[0]
        assert isinstance(feed.error, records.RecordError)


def test_a_damaged_record_gives_way_and_is_counted(tmp_path):
    path = tmp_path / "train-0.tfrecord"
    records.write_shard(path, [make_sample(i, id=str(i)) for i in range(6)])
    data = bytearray(path.read_bytes())
    data[records.finished(path)["lengths"][0] + 16 + 50] ^= 255  # in the second record
    path.write_bytes(data)
    mixed = MixedDataset(tmp_path, 6, augmentation=NONE)
    batch = mixed[0]
    assert len(batch["image"]) == 6 and 1 not in batch["index"][:, 1]
    assert mixed.skipped.total() >= 1 and "record 1" in next(iter(mixed.skipped))


def test_a_damaged_picture_is_black_with_nothing_known(tmp_path, monkeypatch):
    records.write_shard(tmp_path / "train-0.tfrecord", [make_sample(i) for i in range(3)])
    source = records.open_records(tmp_path)
    whole = MixedDataset(source, 3, once=True, segmentation=True)[0]
    read = source.read

    def cut_short(index, images=True):
        sample = read(index, images)
        half = len(sample["image"]) // 2
        changed = {"image": sample["image"][:half]} if index == 1 else {"segmentation": b"PNG"}
        return sample | (changed if index else {})

    monkeypatch.setattr(source, "read", cut_short)
    mixed = MixedDataset(source, 3, once=True, segmentation=True)
    batch = mixed[0]
    for name in batch:
        np.testing.assert_array_equal(batch[name][0], whole[name][0])
    assert not batch["image"][1].any() and not batch["has_pose"][1]
    assert not batch["keypoints_2d"][1].any() and not batch["keypoints_3d"][1].any()
    assert batch["image"][2].any() and batch["has_pose"][2]
    assert batch["has_segmentation"].tolist() == [1, 1, 0] and mixed.skipped.total() == 2


def test_poses_come_beside(folder, tmp_path):
    poses = np.arange(4 * 72, dtype=np.float32).reshape(4, 24, 3)
    np.savez(tmp_path / "poses.npz", pose=poses)
    batch = MixedDataset(folder / "a", 16, poses=tmp_path / "poses.npz")[0]
    assert {tuple(pose.ravel()) for pose in batch["mocap_pose"]} <= {
        tuple(p.ravel()) for p in poses
    }
    assert batch["mocap_betas"].shape == (16, 10) and batch["mocap_betas"].std() > 0.5
    assert "mocap_pose" not in MixedDataset(folder / "a", 2)[0]


def test_bad_settings_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="shares that are positive"):
        MixedDataset({folder / "a": 1, folder / "b": 0}, 4)
    with pytest.raises(ValueError, match="2 sources do not fit into a batch of 1"):
        MixedDataset({folder / "a": 1, folder / "b": 1}, 1)
    with pytest.raises(ValueError, match=r"poses \(N, 24, 3\)"):
        MixedDataset(folder / "a", 4, poses=np.zeros((3, 72)))
    with pytest.raises(records.RecordError, match="no such folder"):
        MixedDataset(tmp_path / "missing", 4)
    with pytest.raises(ValueError, match="scales > 0"):
        Augmentation(scale=(1.2, 0.8))


def test_batches_need_no_tensorflow(folder):
    code = (
        "import sys\nfrom hmrlib.data.pipeline import MixedDataset\n"
        f"batch = MixedDataset(r'{folder / 'a'}', 4)[0]\n"
        "assert batch['image'].shape == (4, 224, 224, 3)\n"
        "assert not {'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.backends
def test_keras_meets_each_batch_of_a_feed_once_and_in_order(folder):
    import keras

    from hmrlib.training.adversarial import LastValue

    class Witness(keras.Model):
        def __init__(self):
            super().__init__()
            self.weight, self.seen = self.add_weight(shape=()), LastValue("seen")
            self.built = True

        def call(self, batch, training=False):
            return keras.ops.mean(batch["affine"])

        def compute_loss(self, x, y, y_pred, *rest, **more):
            self.seen.update_state(y_pred)
            return self.weight * y_pred

    model, seen = Witness(), []
    note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda _, logs: seen.append(logs))
    model.compile("sgd")
    mixed = MixedDataset(folder / "a", 5)
    with closing(Feed(mixed, first=3, steps=7)) as feed:
        model.fit(feed, shuffle=False, verbose=0, callbacks=[note])
    expected = [mixed[step]["affine"].mean() for step in range(3, 10)]
    np.testing.assert_allclose([float(logs["seen"]) for logs in seen], expected, rtol=1e-5)
