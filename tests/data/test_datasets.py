"""Data sets: miniatures in the official layouts, written here, read by the converters."""

import json
import os
import pickle
import re
from collections import Counter

import cdflib
import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from scipy.spatial.transform import Rotation
from tqdm import tqdm

import hmrlib
from hmrlib.cli import main
from hmrlib.data import datasets, records
from hmrlib.data.datasets import DataSetError, convert
from hmrlib.data.datasets.points import reconcile, torso_length
from hmrlib.io.safe_pickle import UnsafePickleError
from hmrlib.skeleton import KEYPOINT_SETS
from tests.conftest import ROOT

K = records.K
NAMES = KEYPOINT_SETS[records.KEYPOINTS].names
SHARED = ROOT.parent / "shared" / "data"


def picture(path, size=(120, 90)):
    """A JPEG of smooth colours, (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.linspace(0, 255, size[0])[None, :, None] * np.linspace(0.3, 1, size[1])[:, None, None]
    Image.fromarray(np.uint8(ramp * [1, 0.7, 0.4])).save(path, quality=90)
    return path


def converted(name, source, out, **options):
    """The index, and {id: sample}."""
    index, read = read_back(name, source, out, **options)
    if name in datasets.KNOWN and not options.get("pseudo_3d"):
        found = set(index["known"]) | ({"occluded"} if _any_hidden(read) else set())
        assert found == set(datasets.KNOWN[name])
    return index, read


def read_back(name, source, out, **options):
    """The same, whatever is known."""
    index = convert(name, source, out, progress=False, **options)
    read = {sample["id"]: sample for sample in records.open_records(out)}
    assert len(read) == index["samples"]
    return index, read


def _any_hidden(read):
    return any(sample["occluded"].any() for sample in read.values())


def named(sample, field="keypoints_2d"):
    """{name: row} of the known points."""
    return {n: row for n, row in zip(NAMES, sample[field], strict=True) if row[-1] > 0}


# --- LSP ----------------------------------------------------------------------------------------


@pytest.fixture
def lsp_folder(tmp_path):
    """lsp_dataset/ with 1,002 columns; images 1 to 4 and 1001, one broken."""
    rng = np.random.default_rng(0)
    joints = np.zeros((3, 14, 1002))
    joints[0], joints[1] = rng.uniform(10, 110, (14, 1002)), rng.uniform(10, 80, (14, 1002))
    joints[2, :, 1] = np.arange(14) < 4  # occluded
    joints[:, :, 2] = 0
    joints[0, 0, 3] = 500  # a slip of the hand
    source = tmp_path / "lsp_dataset"
    for number in (1, 2, 3, 4, 1001):
        picture(source / "images" / f"im{number:04d}.jpg")
    path = source / "images" / "im0001.jpg"
    (source / "images" / "im0005.jpg").write_bytes(path.read_bytes()[:300])
    savemat(source / "joints.mat", {"joints": joints})
    return source, joints


def test_lsp(lsp_folder, tmp_path):
    source, joints = lsp_folder
    index, read = converted("lsp", source, tmp_path / "out")
    assert index["splits"] == {"train": 3, "test": 1}
    assert index["skipped"] == {"no image": 996, "no joints": 1, "the image is damaged": 1}
    assert index["images"] == {"train": 1000, "test": 2}
    assert index["samples"] + sum(index["skipped"].values()) == 1002
    assert index["notes"] == {"a point outside the picture, left out": 1}
    first, second = read["im00001"], read["im00002"]
    lsp_names = KEYPOINT_SETS["lsp-14"].names
    points = named(first)
    assert set(points) == set(lsp_names)
    for i, name in enumerate(lsp_names):  # MATLAB's pixels begin at 1
        np.testing.assert_allclose(points[name], [*(joints[:2, i, 0] - 0.5), 1], rtol=1e-6)
    assert not first["occluded"].any()
    hidden = {n for n, flag in zip(NAMES, second["occluded"], strict=True) if flag}
    assert hidden == set(lsp_names[:4]) and len(named(second)) == 14
    assert "right_ankle" not in named(read["im00004"])
    kept = records.open_records(tmp_path / "out").read(0, images=False)["image"]
    assert kept == (source / "images" / "im0001.jpg").read_bytes()  # bit by bit
    assert not first["has_pose"] and not first["has_camera"]


def test_lsp_extended_and_pseudo_labels(tmp_path):
    rng = np.random.default_rng(1)
    joints = rng.uniform(10, 80, (14, 3, 3))
    joints[:, 2] = rng.integers(0, 2, (14, 3))
    joints[:6, 2] = 1
    for number in (1, 2, 3):
        picture(tmp_path / "lspet" / "images" / f"im{number:05d}.jpg")
    savemat(tmp_path / "lspet" / "joints.mat", {"joints": joints})
    world = rng.normal(size=(3, 33, 3)).astype(np.float16)
    visibility = np.ones((3, 33), np.float16)
    visibility[0, 0] = 0.1
    np.savez(
        tmp_path / "lspet" / "blazepose.npz",
        world=world, visibility=visibility, score=np.float16([0.9, 0.9, 0.2]),
    )  # fmt: skip
    index, read = converted("lsp_extended", tmp_path / "lspet", tmp_path / "plain")
    assert index["known"] == {"keypoints_2d": 3} and index["splits"] == {"train": 3}
    for number in range(3):
        points = named(read[f"im{number + 1:05d}"])
        visible = joints[:, 2, number] > 0
        assert set(points) == {KEYPOINT_SETS["lsp-14"].names[i] for i in np.flatnonzero(visible)}

    index, read = converted("lsp_extended", tmp_path / "lspet", tmp_path / "pseudo", pseudo_3d=True)
    assert index["known"] == {"keypoints_2d": 3, "keypoints_3d": 2, "pseudo_3d": 2}
    first = named(read["im00001"], "keypoints_3d")
    assert read["im00001"]["pseudo_3d"] == 1 and read["im00003"]["pseudo_3d"] == 0
    assert "nose" not in first and "neck" not in first
    np.testing.assert_allclose(first["left_wrist"][:3], world[0, 15], rtol=1e-3)
    np.testing.assert_allclose(first["right_hip"][:3], world[0, 24], rtol=1e-3)


def test_points_are_reconciled_with_a_landmark_networks():
    rng = np.random.default_rng(0)
    true = np.ones((22, 3), np.float32)
    true[:, :2] = rng.uniform(0, 200, (22, 2))
    mirror = list(KEYPOINT_SETS["union-22"].mirror)
    hasty = true.copy()
    hasty[:, :2] += rng.normal(0, 4, (22, 2))
    joined, agree = reconcile(hasty, true)
    assert agree
    np.testing.assert_array_equal(joined, true)

    swapped = hasty.copy()
    swapped[:12] = hasty[mirror][:12]  # legs and arms; faces have no haste
    joined, agree = reconcile(swapped, true)
    assert agree
    np.testing.assert_array_equal(joined, true)

    unsure, far = true.copy(), hasty.copy()
    unsure[0] = 0  # seen by the annotator alone
    far[5, :2] += 0.6 * torso_length(true)
    far[7] = 0  # seen by the network alone
    joined, agree = reconcile(far, unsure)
    assert agree and joined[5, 2] == 0
    np.testing.assert_array_equal(joined[0], hasty[0])
    np.testing.assert_array_equal(joined[7], true[7])

    other = true + np.float32([0.8 * torso_length(true), 0, 0])  # another person, or a bad guess
    for guess in (other, np.zeros((22, 3))):
        joined, agree = reconcile(hasty, guess)
        assert not agree
        np.testing.assert_array_equal(joined, hasty)


def test_joined_points_are_those_to_learn_from_alone(tmp_path):
    rng = np.random.default_rng(2)
    source, count = tmp_path / "lspet", 10
    joints = np.concatenate([rng.uniform(10, 80, (14, 2, count)), np.ones((14, 1, count))], 1)
    xy = rng.uniform(10, 80, (count, 33, 2))
    of = [28, 26, 24, 23, 25, 27, 16, 14, 12, 11, 13, 15]  # LSP's order in BlazePose's
    xy[:, of] = joints[:12, :2].transpose(2, 0, 1) + 2
    for number in range(1, count + 1):
        picture(source / "images" / f"im{number:05d}.jpg")
    savemat(source / "joints.mat", {"joints": joints})
    sure = {"visibility": np.ones((count, 33)), "score": np.ones(count)}
    np.savez(source / "blazepose.npz", xy=xy, **sure)
    _, read = converted("lsp_extended", source, tmp_path / "out", landmarks=True)
    np.testing.assert_allclose(
        named(read["im00001"])["right_knee"][:2], joints[1, :2, 0] + 2, atol=1e-4
    )
    assert "nose" in named(read["im00001"])
    np.testing.assert_allclose(  # the tenth validates: what people annotated
        named(read["im00010"])["right_knee"][:2], joints[1, :2, 9] - 0.5, atol=1e-4
    )
    assert "nose" not in named(read["im00010"])
    np.savez(source / "blazepose.npz", xy=xy[:, :9], **sure)
    with pytest.raises(DataSetError, match=r"expected xy \('N', 33, 2\)"):
        convert("lsp_extended", source, tmp_path / "bad", progress=False, landmarks=True)


@pytest.mark.parametrize("name", ["lsp", "lsp_extended"])
def test_the_real_thing(name, tmp_path):
    """The images of the first shard; `hmr data convert` takes a minute for all of LSP-extended."""
    source = SHARED / name
    if not source.is_dir():
        pytest.skip(f"no data set at {source}")
    listing = datasets.DATASETS[name](source)
    assert {split: len(items) for split, items in listing.splits.items()} == {
        "lsp": {"train": 1000, "test": 1000},
        "lsp_extended": {"train": 9000, "validation": 1000},
    }[name]
    loaded = map(datasets.with_skips(listing.load), listing.splits["train"][:300])
    samples = datasets.counted_samples(loaded, Counter(), tqdm(disable=True))
    written = records.write_shard(tmp_path / "train-0.tfrecord", samples)
    assert written["samples"] + sum(written["skipped"].values()) == 300
    assert set(written["skipped"]) <= {"no image"}
    assert written["samples"] == 300 or (name == "lsp" and written["samples"] > 200)
    for sample in records.open_records(tmp_path):
        known = sample["keypoints_2d"][sample["keypoints_2d"][:, 2] > 0, :2]
        height, width = sample["image"].shape[:2]
        assert len(known) >= 4 and (known >= -1).all() and (known <= (width + 1, height + 1)).all()


# --- COCO, MPII ---------------------------------------------------------------------------------


def test_coco(tmp_path):
    rng = np.random.default_rng(2)
    source = tmp_path / "coco"
    (source / "annotations").mkdir(parents=True)

    def person(number, image, left=20, flags=2, **more):
        points = np.c_[rng.integers(left, left + 60, 17), rng.integers(100, 350, 17), [flags] * 17]
        return {
            "id": number, "image_id": image, "category_id": 1, "iscrowd": 0,
            "bbox": [left - 10.0, 90.0, 80.0, 270.0], "num_keypoints": 17,
            "keypoints": points.ravel().tolist(), **more,
        }  # fmt: skip

    few = person(12, 1)
    few["keypoints"] = few["keypoints"][:9] + [0] * 42
    mixed = person(11, 1, left=400)
    mixed["keypoints"][5] = 1  # the left eye is hidden
    mixed["keypoints"][6:9] = [0, 0, 0]  # the right one is not labelled
    people = [person(10, 1), mixed, few, person(13, 1, iscrowd=1), person(14, 3)]
    images = [{"id": i, "file_name": f"{i:012d}.jpg"} for i in (1, 2, 3)]
    for name, labels in (("train2017", people), ("val2017", [person(20, 2)])):
        text = json.dumps({"images": images, "annotations": labels, "categories": []})
        (source / "annotations" / f"person_keypoints_{name}.json").write_text(text)
    picture(source / "train2017" / "000000000001.jpg", (1280, 480))
    picture(source / "val2017" / "000000000002.jpg", (640, 480))

    index, read = converted("coco", source, tmp_path / "out")
    assert index["splits"] == {"train": 2, "validation": 1} and set(read) == {"10", "11", "20"}
    assert index["skipped"] == {"a crowd": 1, "fewer than 6 points": 1, "no image": 1}
    sample = read["11"]
    assert sample["occluded"][NAMES.index("left_eye")] and "right_eye" not in named(sample)
    assert sample["image"].shape[1] < 700  # cropped: the labels follow
    x, y = mixed["keypoints"][:2]
    shift = np.array([x + 0.5, y + 0.5]) - named(sample)["nose"][:2]
    assert (shift == np.rint(shift)).all() and (shift >= 0).all() and shift[0] > 0
    left_wrist = np.array(mixed["keypoints"][27:29]) + 0.5 - shift
    np.testing.assert_allclose(named(sample)["left_wrist"][:2], left_wrist)
    np.testing.assert_allclose(sample["size"], 270)


def mpii_point(number, x, y, visible=None):
    point = {"x": float(x), "y": float(y), "id": number}
    return point if visible is None else {**point, "is_visible": visible}


@pytest.mark.parametrize("nested", [True, False])
def test_mpii(tmp_path, nested):
    rng = np.random.default_rng(3)
    at = rng.uniform(20, 80, (16, 2))
    whole = [
        mpii_point(i, *at[i], None if i in (8, 9) else str(int(i != 3)) if i < 6 else int(i != 3))
        for i in range(16)
    ]
    head = {"x1": 1, "y1": 2, "x2": 3, "y2": 4}
    full = {**head, "scale": 1.2, "objpos": {"x": 50.0, "y": 60.0}, "annopoints": {"point": whole}}
    part = {
        **head,
        "scale": 1.0,
        "objpos": {"x": 5.0, "y": 6.0},
        "annopoints": {"point": whole[:3]},
    }
    annolist = [
        {"image": {"name": "a.jpg"}, "annorect": [full, part]},
        {"image": {"name": "b.jpg"}, "annorect": full},
        {"image": {"name": "c.jpg"}, "annorect": {"scale": 1.0, "objpos": {"x": 1.0, "y": 1.0}}},
        {"image": {"name": "d.jpg"}, "annorect": np.zeros((0, 0))},
    ]
    table = np.zeros((1, 4), [("image", object), ("annorect", object)])
    for i, row in enumerate(annolist):
        rects = row["annorect"]
        if isinstance(rects, list):
            array = np.zeros((1, len(rects)), [(name, object) for name in rects[0]])
            for j, rect in enumerate(rects):
                array[0, j] = tuple(_matlab_points(rect)[name] for name in rects[0])
            rects = array
        elif isinstance(rects, dict):
            rects = _matlab_points(rects)
        table[0, i] = (row["image"], rects)
    source = tmp_path / "mpii"
    folder = source / "mpii_human_pose_v1_u12_2" if nested else source
    folder.mkdir(parents=True)
    release = {"annolist": table, "img_train": np.array([[1, 1, 0, 1]])}
    savemat(folder / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": release})
    for name in "abcd":
        picture(source / "images" / f"{name}.jpg")

    index, read = converted("mpii", source, tmp_path / "out")
    assert set(read) == {"a/0", "b/0"}
    assert index["skipped"] == {
        "fewer than 6 points": 1,
        "a test image: its labels are not public": 1,
        "no person": 1,
    }
    points = named(read["a/0"])
    assert set(points) == set(KEYPOINT_SETS["mpii-16"].names)
    np.testing.assert_allclose(points["pelvis"][:2], at[6] - 0.5, rtol=1e-6)
    np.testing.assert_allclose(points["head_top"][:2], at[9] - 0.5, rtol=1e-6)
    hidden = {n for n, flag in zip(NAMES, read["b/0"]["occluded"], strict=True) if flag}
    assert hidden == {"left_hip"}


def _matlab_points(rect):
    """A rect whose points are a struct array with all fields, as MATLAB has them."""
    if "annopoints" not in rect:
        return rect
    points = rect["annopoints"]["point"]
    fields = ("x", "y", "id", "is_visible")
    array = np.zeros((1, len(points)), [(name, object) for name in fields])
    for i, point in enumerate(points):
        array[0, i] = tuple(point.get(name, np.zeros((0, 0))) for name in fields)
    return {**rect, "annopoints": {"point": array}}


# --- studios ------------------------------------------------------------------------------------


def studio(rng, frames, joints, camera=(1500.0, 1024.0, 1020.0)):
    """Pixels (F, J, 2) and millimetres (F, J, 3) of people who walk before a camera."""
    middle = np.array([0, 0, 4000]) + 200 * rng.normal(size=(frames, 1, 3))
    points = middle + rng.normal(size=(frames, joints, 3)) * [200, 450, 200]
    return camera[0] * points[..., :2] / points[..., 2:] + camera[1:], points


def assert_projects(sample, within=0.05):
    points, (focal, *middle) = sample["keypoints_3d"], sample["camera"]
    known = (points[:, 3] > 0) & (sample["keypoints_2d"][:, 2] > 0)
    pixels = focal * points[known, :2] / points[known, 2:3] + middle
    np.testing.assert_allclose(pixels, sample["keypoints_2d"][known, :2], atol=within)
    assert known.sum() >= 14 and sample["has_camera"]


def test_mpi_inf_3dhp(tmp_path):
    rng = np.random.default_rng(4)
    source = tmp_path / "mpi_inf_3dhp"
    views = [studio(rng, 25, 28) for _ in range(2)]
    annot2, annot3 = np.empty((2, 1), object), np.empty((2, 1), object)
    for i, (pixels, points) in enumerate(views):
        annot2[i, 0], annot3[i, 0] = pixels.reshape(25, 56), points.reshape(25, 84)
    for folder in ("S1/Seq1", "S2/Seq2"):
        (source / folder).mkdir(parents=True)
        savemat(source / folder / "annot.mat", {"annot2": annot2, "annot3": annot3})
    for number in range(27):  # two frames more than labels
        picture(source / "S1/Seq1/imageFrames/video_1" / f"{number:06d}.jpg", (2048, 2048))
    test = source / "mpi_inf_3dhp_test_set" / "TS1"
    pixels, points = studio(rng, 4, 17)
    (test / "imageSequence").mkdir(parents=True)
    with h5py.File(test / "annot_data.mat", "w") as file:
        file["annot2"], file["annot3"] = pixels[:, None], points[:, None]
        file["valid_frame"] = np.array([[1], [0], [1], [1]])
    for number in range(1, 5):
        picture(test / "imageSequence" / f"img_{number:06d}.jpg", (2048, 2048))

    (source / "S3" / "Seq1").mkdir(parents=True)
    (source / "S3" / "Seq1" / "annot.mat").write_bytes(b"MATLAB, but not much of it")
    picture(source / "S3/Seq1/imageFrames/video_0" / "000000.jpg")
    index, read = converted("mpi_inf_3dhp", source, tmp_path / "out", every=13)
    assert index["splits"] == {"train": 2, "test": 3}
    assert index["skipped"] == {
        "a frame without labels": 1,
        "no frames extracted from the videos": 1,
        "a frame that is marked as not valid": 1,
        "labels that cannot be read": 1,
    }
    sample = read["S1/Seq1/1/13"]
    assert max(sample["image"].shape) <= datasets.CONTEXT * datasets.MAX_BOX + 2
    assert sample["size"] <= datasets.MAX_BOX + 1e-3
    relative = views[1][1][13] / 1000
    for name, number in (("pelvis", 4), ("head_top", 7), ("right_ankle", 25), ("spine", 3)):
        np.testing.assert_allclose(
            named(sample, "keypoints_3d")[name][:3], relative[number], atol=1e-4
        )
    for sample in read.values():
        assert_projects(sample)
    wrist = named(read["mpi_inf_3dhp_test_set/TS1/test/2"], "keypoints_3d")["left_wrist"]
    np.testing.assert_allclose(wrist[:3], points[2, 7] / 1000, atol=1e-4)


def write_cdf(path, pose):
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cdflib.cdfwrite.CDF(str(path))
    spec = {
        "Variable": "Pose", "Data_Type": 44, "Num_Elements": 1, "Rec_Vary": True,
        "Dim_Sizes": [pose.shape[0], pose.shape[1]],
    }  # fmt: skip
    writer.write_var(spec, var_data=pose[None].astype(np.float32))
    writer.close()


def test_h36m(tmp_path):
    rng = np.random.default_rng(5)
    source, labels = tmp_path / "h36m", {}
    for subject, stem in (
        ("S1", "Directions 1.54138969"),
        ("S9", "Eating.60457274"),
        ("S5", "X.1"),
    ):
        pixels, points = studio(rng, 12, 32, (1145.0, 500.0, 505.0))
        labels[subject] = points / 1000
        features = source / subject / "MyPoseFeatures"
        write_cdf(features / "D2_Positions" / f"{stem}.cdf", pixels.reshape(12, 64))
        write_cdf(features / "D3_Positions_mono" / f"{stem}.cdf", points.reshape(12, 96))
        if subject != "S5":
            for number in range(1, 13):  # as ffmpeg counts by default
                picture(source / subject / "Images" / stem / f"{number:06d}.jpg", (1000, 1002))
    torn = source / "S6" / "MyPoseFeatures" / "D3_Positions_mono" / "Torn.cdf"
    torn.parent.mkdir(parents=True)
    torn.write_bytes(b"half a file")
    picture(source / "S6" / "Images" / "Torn" / "000000.jpg")
    index, read = converted("h36m", source, tmp_path / "out", every=6)
    assert index["splits"] == {"train": 2, "test": 2}
    assert index["skipped"] == {
        "no frames extracted from the video": 1,
        "labels that cannot be read": 1,
    }
    sample = read["S9/Eating.60457274/6"]
    points = named(sample, "keypoints_3d")
    assert set(points) == set(KEYPOINT_SETS["h36m-17"].names)
    for name, number in (("pelvis", 0), ("right_hip", 1), ("left_knee", 7), ("right_wrist", 27)):
        np.testing.assert_allclose(points[name][:3], labels["S9"][6, number], atol=1e-4)
    for sample in read.values():
        assert_projects(sample)


def test_a_camera_that_does_not_fit_is_not_known():
    rng = np.random.default_rng(0)
    pixels, points = studio(rng, 5, 17)
    camera = datasets.fit_camera(pixels.reshape(-1, 2), points.reshape(-1, 3))
    np.testing.assert_allclose(camera, (1500, 1024, 1020), rtol=1e-5)
    shuffled = rng.permutation(pixels.reshape(-1, 2))
    assert datasets.fit_camera(shuffled, points.reshape(-1, 3)) is None


def test_a_camera_is_found_beside_points_that_have_no_picture():
    pixels, points = (a.reshape(-1, a.shape[-1]) for a in studio(np.random.default_rng(0), 5, 17))
    points[0, 2], points[1, 2], points[2, 0], pixels[3, 1] = 0, -1, np.nan, np.inf
    camera = datasets.fit_camera(pixels, points)
    np.testing.assert_allclose(camera, (1500, 1024, 1020), rtol=1e-5)
    assert datasets.fit_camera(pixels, 0 * points) is None  # all of them where the camera is


# --- 3DPW ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def people_outdoors():
    """Labels of one sequence as 3DPW has them: 2 people, 3 frames, and a camera that moves."""
    rng = np.random.default_rng(6)
    body, frames = hmrlib.load_body(), 3
    to_camera = np.tile(np.eye(4), (frames, 1, 1))
    turn = Rotation.from_euler("yx", [[10 * i, 180 + 3 * i] for i in range(frames)], degrees=True)
    to_camera[:, :3, :3] = turn.as_matrix()
    to_camera[:, :3, 3] = [0.2, 0.1, 5.0]
    pose = rng.normal(0, 0.2, (2, frames, 24, 3))
    trans = rng.normal(0, 0.3, (2, frames, 3))
    joints = [
        np.asarray(body(np.zeros((1, 10)), p, t).joints, float)
        for p, t in zip(pose, trans, strict=True)
    ]
    detected = rng.uniform(100, 900, (2, frames, 3, 18))
    detected[:, :, 2] = rng.uniform(0.2, 0.9, (2, frames, 18))
    detected[1, 2] = 0
    intrinsics = np.array([[1960.0, 0, 540], [0, 1964.0, 960], [0, 0, 1]])
    return {
        "sequence": "walk_00",
        "poses": list(pose.reshape(2, frames, 72)),
        "trans": list(trans),
        "jointPositions": [j.reshape(frames, 72) for j in joints],
        "betas": [np.ones(10), np.zeros(10)],
        "poses2d": list(detected),
        "campose_valid": [np.array([1, 1, 1]), np.array([1, 0, 1])],
        "cam_poses": to_camera,
        "cam_intrinsics": intrinsics,
        "genders": ["m", "f"],
        "img_frame_ids": np.arange(frames),
    }


def test_3dpw(people_outdoors, tmp_path):
    labels, source = people_outdoors, tmp_path / "3DPW"
    for split in ("train", "test"):
        path = source / "sequenceFiles" / split / f"{split}_00.pkl"
        path.parent.mkdir(parents=True)
        path.write_bytes(pickle.dumps(labels, protocol=2))
        for frame in range(3):
            picture(source / "imageFiles" / f"{split}_00" / f"image_{frame:05d}.jpg", (1080, 1920))
    path.with_name("torn_00.pkl").write_bytes(path.read_bytes()[:500])
    index, read = converted("3dpw", source, tmp_path / "out")
    assert index["splits"] == {"train": 5, "test": 5}
    assert index["skipped"] == {
        "a camera that is marked as not valid": 2,
        "labels that cannot be read": 1,
    }
    body = hmrlib.load_body()
    for frame, person in ((0, 0), (2, 1)):
        sample = read[f"test_00/{person}/{frame}"]
        out = body(sample["betas"][None], sample["pose"][None], sample["translation"][None])
        known = sample["keypoints_3d"][:, 3] > 0
        error = np.asarray(body.keypoints(out))[0] - sample["keypoints_3d"][:, :3]
        assert np.abs(error[known]).max() < 1e-4  # the body stands where the data's joints are
        joints = labels["jointPositions"][person].reshape(3, 24, 3)[frame]
        pelvis = labels["cam_poses"][frame] @ [*joints[0], 1]
        np.testing.assert_allclose(
            sample["keypoints_3d"][NAMES.index("pelvis"), :3], pelvis[:3], atol=1e-4
        )
    assert not named(read["train_00/1/2"]) and len(named(read["train_00/0/0"])) == 18
    sample = read["train_00/0/1"]
    assert not sample["has_betas"] and json.loads(sample["recipe"])["gender"] == "m"
    scale = sample["camera"][0] / 1962
    nose = labels["poses2d"][0][1][:, 0]
    crop = named(sample)["nose"][:2] - scale * nose[:2]
    wrist = scale * labels["poses2d"][0][1][:2, 7] + crop
    np.testing.assert_allclose(named(sample)["left_wrist"][:2], wrist, atol=1e-2)


class Bomb:
    def __reduce__(self):
        return (print, ("boom",))


def test_3dpw_runs_nothing_of_a_pickle(tmp_path, capsys):
    path = tmp_path / "sequenceFiles" / "train" / "a.pkl"
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps({"poses": [Bomb()]}))
    with pytest.raises(UnsafePickleError, match=r"a\.pkl: .*Nothing was run"):
        convert("3dpw", tmp_path, tmp_path / "out", progress=False)
    assert "boom" not in capsys.readouterr().out


# --- AMASS --------------------------------------------------------------------------------------


def test_amass_becomes_a_pose_library(tmp_path, capsys):
    rng = np.random.default_rng(8)
    poses = rng.normal(0, 0.2, (61, 156))
    path = tmp_path / "AMASS" / "CMU" / "01" / "01_01_poses.npz"
    path.parent.mkdir(parents=True)
    np.savez(path, poses=poses, trans=rng.normal(size=(61, 3)), mocap_framerate=120.0)
    out = tmp_path / "out"
    out.mkdir()
    assert main(["data", "convert", "amass", str(tmp_path / "AMASS"), str(out)]) == 0
    assert "library.npz" in capsys.readouterr().out
    with np.load(out / "library.npz") as library:
        assert library["pose"].shape == (2 * 16, 24, 3)  # 30 a second, and their mirror images
        np.testing.assert_allclose(
            library["pose"][1, 1:22], poses[4, 3:66].reshape(21, 3), atol=1e-6
        )
        assert library["clip_folders"].tolist() == ["CMU/01"]


# --- one's own ----------------------------------------------------------------------------------


@pytest.fixture
def own_folder(tmp_path):
    rng = np.random.default_rng(7)
    points = np.c_[rng.uniform(20, 80, (17, 2)), np.ones(17)].tolist()
    source = tmp_path / "mine"
    people = [
        {"image": "in/a.jpg", "keypoints": points},
        {"image": "in/a.jpg", "keypoints": points, "split": "test", "box": [10, 20, 50, 60]},
        {"image": "in/b.png", "keypoints": points, "betas": [0.5] * 10, "occluded": [1] + [0] * 16},
        {"image": "in/none.jpg", "keypoints": points},
        {"image": "in/a.jpg", "keypoints": points[:3]},
        {"image": "in/a.jpg", "keypoints": points, "betas": [float("nan")] * 10},
        {"image": "in/a.jpg", "keypoints": [[0, 0, 0]] * 17},
    ]
    with Image.open(picture(source / "in" / "a.jpg")) as image:
        image.save(source / "in" / "b.png")
    labels = {"keypoints": "coco-17", "people": people}
    (source / "labels.json").write_text(json.dumps(labels), "utf-8")
    return source


def test_a_folder_of_ones_own(own_folder, tmp_path):
    index, read = converted("folder", own_folder, tmp_path / "out")
    assert set(read) == {"in/a.jpg/0", "in/a.jpg/1", "in/b.png/2"}
    assert index["splits"] == {"train": 2, "test": 1}
    assert index["skipped"] == {
        "no image": 1,
        "keypoints of shape (3, 3), not (17, 3)": 1,
        "breaks the schema": 1,
        "neither a box nor a point": 1,
    }
    np.testing.assert_array_equal(read["in/a.jpg/1"]["center"], (35, 50))
    assert read["in/a.jpg/1"]["size"] == 60
    png = read["in/b.png/2"]
    assert png["has_betas"] and not png["has_pose"] and png["occluded"].sum() == 1
    assert png["occluded"][NAMES.index("nose")] == 1


SHOWN = np.array([[40 + 3 * i, 30 + 2 * i, 1.0] for i in range(17)])  # 17 points of a person
GOOD = {"image": "a.jpg", "keypoints": SHOWN.tolist()}


def own(source, people, names="coco-17"):
    """Labels of one's own, beside whatever pictures are there."""
    source.mkdir(parents=True, exist_ok=True)
    labels = {"keypoints": names, "people": people}
    (source / "labels.json").write_text(json.dumps(labels), "utf-8")
    return source


@pytest.mark.parametrize(
    ("person", "reason"),
    [
        ({"keypoints": SHOWN.tolist()}, "no name of an image"),
        ({"image": 3, "keypoints": SHOWN.tolist()}, "leads out|no name of an image"),
        ({"image": "a.jpg"}, "no keypoints"),
        ({"image": "a.jpg", "keypoints": None}, "no keypoints"),
        ({"image": "a.jpg", "keypoints": "many"}, "not numbers"),
        ({"image": "a.jpg", "keypoints": {}}, "not numbers"),
        ({"image": "a.jpg", "keypoints": [[1, 2, 1]] * 16 + [[1, 2]]}, "not numbers"),
        (GOOD | {"box": [1, 2, 3]}, "a box of shape"),
        (GOOD | {"box": [1, 2, float("inf"), 3]}, "a box that is not finite"),
        (GOOD | {"box": ["a", 2, 3, 4]}, "not numbers"),
        (GOOD | {"box": [1e30, 2, 3, 4]}, "finite"),
        (GOOD | {"occluded": [0, 1]}, "occluded of shape"),
        (GOOD | {"occluded": [7] * 17}, "breaks the schema"),
        (GOOD | {"pose": [[0, 0, None]] * 24}, "breaks the schema"),
        (GOOD | {"camera": [1e400, 1, 1]}, "breaks the schema"),
        (GOOD | {"keypoints": (SHOWN * [1, 1, 2]).tolist()}, "breaks the schema"),
        (GOOD | {"keypoints": (SHOWN * [np.inf, 1, 1]).tolist()}, "not finite"),
        (GOOD | {"split": 1}, "a split that is none"),
        (GOOD | {"split": ["train"]}, "a split that is none"),
        (GOOD | {"split": "../victim/train"}, "a split that is none"),
        (["a.jpg", SHOWN.tolist()], "no object of JSON"),
        (None, "no object of JSON"),
    ],
)
def test_one_bad_person_is_counted_and_the_others_converted(person, reason, tmp_path):
    source = own(tmp_path / "mine", [GOOD, person, GOOD])
    picture(source / "a.jpg")
    index, _ = converted("folder", source, tmp_path / "out")
    assert index["samples"] == 2 and index["splits"] == {"train": 2}
    ((found, count),) = index["skipped"].items()
    assert re.search(reason, found) and count == 1
    summary = json.loads((tmp_path / "out" / "train-00000.json").read_text("utf-8"))
    assert "1" in summary["examples"][0]  # which one it was


def test_a_split_of_nothing_but_bad_people_ends_no_conversion(tmp_path):
    bad = GOOD | {"occluded": [7] * 17, "split": "test"}
    source = own(tmp_path / "mine", [GOOD, bad])
    picture(source / "a.jpg")
    index, _ = converted("folder", source, tmp_path / "out")
    assert index["splits"] == {"train": 1, "test": 0}
    assert index["skipped"] == {"breaks the schema": 1}


def test_small_liberties_of_labels_are_taken(tmp_path):
    flat = {"image": "in\\a.jpg", "keypoints": SHOWN.ravel().tolist(), "split": "Val"}
    detected = np.where(np.arange(17)[:, None] == 3, -1, SHOWN * [1, 1, 1.03])
    people = [
        flat,
        {"image": "in/a.jpg", "keypoints": detected.tolist(), "split": None, "box": [1, 2, 0, 0]},
    ]
    source = own(tmp_path / "mine", people)
    picture(source / "in" / "a.jpg")
    index, read = converted("folder", source, tmp_path / "out")
    assert index["splits"] == {"train": 1, "validation": 1} and not index["skipped"]
    points = named(read["in/a.jpg/1"])
    assert len(points) == 16 and points["nose"][2] == 1
    np.testing.assert_allclose(read["in/a.jpg/1"]["size"], 1.1 * 48)  # of the points, no box


@pytest.mark.parametrize("names", ["coco17", 3, None, ["a", "b"], ["nose", "nose"], ["nose", 1]])
def test_points_without_a_known_name_are_refused(names, tmp_path):
    with pytest.raises(
        DataSetError, match=r"labels\.json: expected keypoints to be one of smpl-24"
    ):
        convert("folder", own(tmp_path / "mine", [GOOD], names), tmp_path / "out", progress=False)


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", '{"people": []}', "[" * 10**5, "\udcff"])
def test_labels_that_are_no_labels_are_refused(text, tmp_path):
    (tmp_path / "labels.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataSetError, match=r"labels\.json: expected JSON"):
        convert("folder", tmp_path, tmp_path / "out", progress=False)


def test_no_name_in_labels_leads_out(tmp_path):
    picture(tmp_path / "secret.jpg")
    names = ["../secret.jpg", str(tmp_path / "secret.jpg"), "..\\secret.jpg", "C:\\secret.jpg"]
    source = own(tmp_path / "mine", [{**GOOD, "image": name} for name in [*names, "link.jpg"]])
    (source / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    index, _ = converted("folder", source, tmp_path / "out")
    assert index["samples"] == 0
    assert index["skipped"] == {"an image's name that leads out of its folder": 5}
    assert [path.name for path in tmp_path.glob("*/*.tfrecord")] == ["train-00000.tfrecord"]


def lying(path, shown, number=6):
    """A phone's file: what is to be shown, stored lying."""
    exif = Image.Exif()
    exif[0x0112] = number
    path.parent.mkdir(parents=True, exist_ok=True)
    turned = shown.transpose(Image.Transpose.ROTATE_90)
    turned.save(path, quality=95, exif=exif)


def upright_photo():
    shown = Image.new("RGB", (90, 120), "gray")
    shown.paste("red", (36, 26, 45, 35))  # around the nose of SHOWN
    return shown


def under_the_nose(sample):
    x, y = named(sample)["nose"][:2].astype(int)
    return sample["image"][y, x].astype(int)


def test_ones_own_labels_are_of_the_picture_as_it_is_seen(tmp_path):
    source = own(tmp_path / "mine", [GOOD])
    lying(source / "a.jpg", upright_photo())
    _, read = converted("folder", source, tmp_path / "out")
    red, green, _ = under_the_nose(read["a.jpg/0"])
    assert red > 150 and green < 100


# --- COCO's form ---


def coco_person(number, image=1, points=SHOWN, **more):
    """An annotation; what is None is left out."""
    person = {
        "id": number, "image_id": image, "category_id": 1, "iscrowd": 0,
        "keypoints": (np.asarray(points) * [1, 1, 2]).ravel().tolist(), "bbox": [30, 20, 65, 50],
        **more,
    }  # fmt: skip
    return {name: value for name, value in person.items() if value is not None}


def coco_folder(source, people, file="annotations/person_keypoints_train2017.json", **more):
    images = [{"id": 1, "file_name": "a.jpg", "width": 120, "height": 90}]
    labels = {"images": images, "annotations": people, "categories": [{"id": 1}], **more}
    path = source / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(labels), "utf-8")
    return source


@pytest.mark.parametrize(
    ("person", "reason"),
    [
        (coco_person(2, keypoints=None, category_id=18), "no keypoints"),
        (coco_person(2, points=SHOWN[:14]), "14 points, which no category names"),
        (coco_person(2) | {"keypoints": [None, None, 2] * 17}, "not finite"),
        (coco_person(2) | {"keypoints": [None, None, 0] * 17}, "fewer than 6 points"),
        (coco_person(2) | {"keypoints": ["x"] * 51}, "not numbers"),
        (coco_person(2) | {"keypoints": 3}, "^0 points"),
        (coco_person(2) | {"keypoints": [[1, 2], 3]}, "not as they should be"),
        (coco_person(2, bbox=[1, 2]), "a box of shape"),
        (coco_person(2, image=99), "an image that is not listed"),
        (coco_person(2, image=[1]), "an image that is not listed"),
        (coco_person(2, iscrowd=1), "a crowd"),
        ("person", "an image that is not listed"),
        (None, "an image that is not listed"),
    ],
)
def test_one_bad_annotation_is_counted_and_the_others_converted(person, reason, tmp_path):
    source = coco_folder(tmp_path / "coco", [coco_person(1), person, coco_person(3)])
    picture(source / "train2017" / "a.jpg")
    index, read = read_back("coco", source, tmp_path / "out")
    assert set(read) == {"1", "3"}
    ((found, count),) = index["skipped"].items()
    assert re.search(reason, found) and count == 1


def test_ids_of_any_kind_and_boxes_of_no_area(tmp_path):
    people = [
        coco_person(1.0, image=1.0),
        coco_person("2", image="1", bbox=None),
        coco_person("p3", bbox=[0, 0, 0, 0]),
        coco_person(4, bbox=[], segmentation={"counts": [1, 2], "size": [90, 120]}),
    ]
    source = coco_folder(tmp_path / "coco", people)
    picture(source / "train2017" / "a.jpg")
    _, read = read_back("coco", source, tmp_path / "out")
    assert set(read) == {"1", "2", "p3", "4"}
    for number in ("2", "p3", "4"):
        np.testing.assert_allclose(read[number]["size"], 1.1 * 48)


def test_cocos_form_as_tools_write_it(tmp_path):
    people = [
        coco_person(1, iscrowd="0"),
        coco_person(2) | {"keypoints": (SHOWN * [1, 1, 2]).tolist()},  # point by point
        coco_person(3, category_id=18),
    ]
    categories = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]
    source = coco_folder(tmp_path / "coco", people, categories=categories)
    picture(source / "train2017" / "a.jpg")
    path = source / "annotations" / "person_keypoints_train2017.json"
    text = path.read_text("utf-8")
    (source / "annotations" / "results.json").write_text(json.dumps(people))
    for name, coding in (("a.JSON", "utf-8"), ("b.json", "utf-16"), ("c.json", "utf-8-sig")):
        path.unlink()
        path = source / "annotations" / name
        path.write_bytes(text.encode(coding))
        index, read = read_back("coco", source, tmp_path / name)
        assert set(read) == {"1", "2"}
        assert list(index["skipped"]) == ["17 points, which no category names as points of a body"]


def test_what_has_not_cocos_form_is_refused(tmp_path):
    source = coco_folder(tmp_path / "coco", [coco_person(1)], images={"1": {"file_name": "a.jpg"}})
    with pytest.raises(DataSetError, match=r"train2017\.json: expected lists of images"):
        convert("coco", source, tmp_path / "out", progress=False)
    path = source / "annotations" / "person_keypoints_train2017.json"
    path.write_bytes('{"keypoints": "Füße"}'.encode("latin-1"))
    with pytest.raises(DataSetError, match="expected JSON, saved as UTF-8"):
        convert("coco", source, tmp_path / "out", progress=False)


CROWDPOSE = [
    *(f"{side}_{joint}" for joint in ("shoulder", "elbow", "wrist") for side in ("left", "right")),
    *(f"{side}_{joint}" for joint in ("hip", "knee", "ankle") for side in ("left", "right")),
    "head",
    "neck",
]


@pytest.mark.parametrize(
    ("file", "image", "names", "split"),
    [
        ("annotations/person_keypoints_default.json", "images/a.jpg", None, "train"),
        ("annotations/person_keypoints_Test.json", "images/Test/a.jpg", None, "test"),
        ("my labels.json", "photos/a.jpg", None, "train"),
        ("latest.json", "a.jpg", None, "train"),
        ("valid/_annotations.coco.json", "valid/a.jpg", None, "validation"),
        ("json/crowdpose_val.json", "images/a.jpg", CROWDPOSE, "validation"),
        ("a.json", "images/a.jpg", [f"R {n}" if n % 2 else f"l_{n}" for n in range(6)], None),
    ],
)
def test_cocos_form_under_other_names(file, image, names, split, tmp_path):
    points = SHOWN if names is None else SHOWN[: len(names)]
    categories = [{"id": 1, "name": "x"} | ({} if names is None else {"keypoints": names})]
    people = [coco_person(1, points=points)]
    source = coco_folder(tmp_path / "x", people, file, categories=categories)
    picture(source / image)
    (source / "annotations").mkdir(exist_ok=True)
    (source / "annotations" / "instances.json").write_text('{"images": [], "annotations": []}')
    index, read = read_back("coco", source, tmp_path / "out")
    if split is None:
        assert index["samples"] == 0 and "no category names" in str(index["skipped"])
        return
    assert index["splits"] == {split: 1}
    if names == CROWDPOSE:
        points = named(read["1"])
        assert set(points) == set(KEYPOINT_SETS["lsp-14"].names)
        for name, number in (("left_shoulder", 0), ("right_ankle", 11), ("head_top", 12)):
            np.testing.assert_allclose(points[name][:2], SHOWN[number, :2] + 0.5)


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ("left_eye", "left_eye"),
        ("Left Shoulder", "left_shoulder"),
        ("RShoulder", "right_shoulder"),
        ("r_ear", "right_ear"),
        ("rear", "right_ear"),
        ("leftKnee", "left_knee"),
        ("hip.L", "left_hip"),
        ("Nose", "nose"),
        ("mid_hip", "pelvis"),
        ("top_head", "head_top"),
        ("head", "head"),
        ("shoulder", "shoulder"),
        ("left front paw", "left_front_paw"),
    ],
)
def test_points_go_by_many_names(given, ours):
    assert datasets.point_names([given]) == (ours,)


def test_two_files_of_cocos_form_may_number_alike(tmp_path):
    source = tmp_path / "coco"
    for kind, left in (("train", 0), ("val", 10)):
        person = coco_person(1, points=SHOWN + np.array([left, 0, 0]))
        coco_folder(source, [person], f"annotations/person_keypoints_{kind}.json")
        picture(source / "images" / kind / "a.jpg")
    index = convert("coco", source, tmp_path / "out", progress=False)
    assert index["splits"] == {"train": 1, "validation": 1}
    train, validation = (
        records.open_records(tmp_path / "out", split)[0] for split in index["splits"]
    )
    moved = named(validation)["nose"] - named(train)["nose"]
    np.testing.assert_allclose(moved, (10, 0, 0))


def test_no_file_name_of_coco_leads_out(tmp_path):
    picture(tmp_path / "secret.jpg")
    names = ["../secret.jpg", "../../secret.jpg", str(tmp_path / "secret.jpg"), None, 3]
    images = [{"id": number, "file_name": name} for number, name in enumerate(names)]
    people = [coco_person(number, image=number) for number in range(5)]
    source = coco_folder(tmp_path / "coco", people, images=images)
    (source / "train2017").mkdir()
    index, _ = read_back("coco", source, tmp_path / "out")
    assert index["samples"] == 0 and sum(index["skipped"].values()) == 5


@pytest.mark.parametrize("declared", ["stored", "upright"])
def test_cocos_points_are_of_the_picture_of_the_size_it_says(declared, tmp_path):
    size = {"stored": (120, 90), "upright": (90, 120)}[declared]
    images = [{"id": 1, "file_name": "a.jpg", "width": size[0], "height": size[1]}]
    source = coco_folder(tmp_path / "coco", [coco_person(1)], images=images)
    shown = upright_photo()
    if declared == "stored":  # drawn on what is stored, whatever EXIF says of it
        shown = upright_photo().transpose(Image.Transpose.ROTATE_270)
        shown.paste("gray", (0, 0, 120, 90))
        shown.paste("red", (36, 26, 45, 35))
        shown = shown.transpose(Image.Transpose.ROTATE_270)
    lying(source / "train2017" / "a.jpg", shown)
    _, read = read_back("coco", source, tmp_path / "out")
    red, green, _ = under_the_nose(read["1"])
    assert red > 150 and green < 100


# --- what is damaged ---


def test_a_damaged_matlab_file_is_named(tmp_path):
    (tmp_path / "joints.mat").write_bytes(b"MATLAB 5.0, but not much of it" * 9)
    with pytest.raises(DataSetError, match=r"joints\.mat: .*pydoc"):
        convert("lsp", tmp_path, tmp_path / "out", progress=False)
    savemat(tmp_path / "joints.mat", {"joints": np.array(["text"])})
    with pytest.raises(DataSetError, match=r"joints\.mat: expected joints \(3, 14, 'N'\)"):
        convert("lsp", tmp_path, tmp_path / "out", progress=False)
    savemat(tmp_path / "joints.mat", {"joints": np.full((3, 14, 2), np.nan)})
    for number in (1, 2):
        picture(tmp_path / "images" / f"im{number:04d}.jpg")
    index = convert("lsp", tmp_path, tmp_path / "out", progress=False)
    assert index["skipped"] == {"a box or points that are not finite, or of no extent": 2}
    np.savez(tmp_path / "blazepose.npz", world=np.zeros((2, 33, 3)), score=np.zeros(2))
    with pytest.raises(DataSetError, match=r"blazepose\.npz: expected .*missing visibility"):
        convert("lsp", tmp_path, tmp_path / "other", progress=False, pseudo_3d=True)


def test_a_name_in_matlabs_file_leads_nowhere_else(tmp_path):
    picture(tmp_path / "secret.jpg")
    points = [mpii_point(i, 20 + i, 30 + i, 1) for i in range(16)]
    rect = _matlab_points({"scale": 1.0, "annopoints": {"point": points}})
    annolist = np.zeros((1, 2), [("image", object), ("annorect", object)])
    for i, name in enumerate(("../../secret.jpg", str(tmp_path / "secret.jpg"))):
        annolist[0, i] = ({"name": name}, rect)
    source = tmp_path / "mpii"
    (source / "images").mkdir(parents=True)
    release = {"annolist": annolist, "img_train": np.array([[1, 1]])}
    savemat(source / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": release})
    index, _ = read_back("mpii", source, tmp_path / "out")
    assert index["skipped"] == {"an image's name that leads out of its folder": 2}


def test_labels_of_a_sequence_are_read_once_damaged_or_not(tmp_path):
    calls = []

    @datasets.remembered(keep=2)
    def read(path):
        calls.append(path)
        return path.read_text("utf-8")[10]

    path = tmp_path / "a.txt"
    path.write_text("short")
    for _ in range(3):
        with pytest.raises(datasets.LeftOut, match="labels that cannot be read"):
            read(path)
    assert len(calls) == 1
    path.write_text("long enough")  # mended: read again
    os.utime(path, ns=(1, 1))
    assert [read(path), read(path)] == ["h", "h"] and len(calls) == 2


# --- the way of all -----------------------------------------------------------------------------


def test_an_interrupted_conversion_goes_on(lsp_folder, tmp_path, monkeypatch):
    source, _ = lsp_folder
    expected = convert("lsp", source, tmp_path / "at_once", shard=2, progress=False)
    write, calls = records.write_shard, []

    def stop_at_third(path, *args, **kwargs):
        calls.append(path.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return write(path, *args, **kwargs)

    monkeypatch.setattr(records, "write_shard", stop_at_third)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        convert("lsp", source, out, shard=2, progress=False)
    assert len(list(out.glob("*.tfrecord"))) == 2
    index = convert("lsp", source, out, shard=2, progress=False)
    assert index == expected
    assert calls[3] == "train-00002.tfrecord"  # the first two are not written again
    for path in out.glob("*.tfrecord"):
        assert path.read_bytes() == (tmp_path / "at_once" / path.name).read_bytes()


@pytest.mark.parametrize("shard", [1, 7, 1000])
def test_no_sample_is_lost_at_a_shards_boundary(lsp_folder, tmp_path, shard):
    source, _ = lsp_folder
    index, read = converted("lsp", source, tmp_path / "out", shard=shard)
    assert sorted(read) == ["im00001", "im00002", "im00004", "im01001"]
    assert index["samples"] + sum(index["skipped"].values()) == 1002


def test_other_records_are_not_overwritten(lsp_folder, own_folder, tmp_path):
    out = tmp_path / "out"
    convert("folder", own_folder, out, progress=False)
    with pytest.raises(DataSetError, match="holds records of other source"):
        convert("lsp", lsp_folder[0], out, progress=False)
    (out / "index.json").unlink()
    with pytest.raises(DataSetError, match="unknown origin"):
        convert("folder", own_folder, out, progress=False)


@pytest.mark.parametrize("name", datasets.DATASETS)
def test_an_empty_folder_says_what_belongs_there(name, tmp_path):
    with pytest.raises(DataSetError, match=r"expected .*(mat|json|mono|train) there.*pydoc"):
        convert(name, tmp_path, tmp_path / "out", progress=False)
    with pytest.raises(DataSetError, match="no such folder"):
        convert(name, tmp_path / "missing", tmp_path / "out", progress=False)


@pytest.mark.parametrize("name", datasets.DATASETS)
def test_each_function_draws_its_layout_and_says_who_has_it(name):
    text = datasets.DATASETS[name].__doc__
    assert "Licence:" in text and ("/" in text) and datasets.LICENCES[name]
    assert name == "folder" or "Source:" in text


def test_convert_and_show_on_the_command_line(own_folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["data", "convert", "folder", str(own_folder), str(out)]) == 0
    printed = capsys.readouterr().out
    assert "breaks the schema" in printed and "samples" in printed
    assert main(["data", "show", str(out), "--count", "3", "--out", str(tmp_path / "a.png")]) == 0
    assert "3 of 3 samples" in capsys.readouterr().out
    with Image.open(tmp_path / "a.png") as image:
        assert image.width > 300
    assert main(["data", "convert", "list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in datasets.DATASETS)
    assert main(["data", "convert", "cocoa", "a", "b"]) == 2
    assert "unknown data set 'cocoa'; known are lsp" in capsys.readouterr().err
    assert main(["data", "convert", "lsp", str(own_folder), str(out), "--every", "3"]) == 2
    assert "lsp takes no option every" in capsys.readouterr().err
