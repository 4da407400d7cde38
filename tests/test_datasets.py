"""Data sets: miniatures in the official layouts, written here, read by the converters."""

import json
import pickle
from collections import Counter
from pathlib import Path

import cdflib
import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from scipy.spatial.transform import Rotation
from tqdm import tqdm

import hmrlib
from hmrlib.body.safe_pickle import UnsafePickleError
from hmrlib.cli import main
from hmrlib.data import datasets, records
from hmrlib.data.datasets import DataSetError, convert
from hmrlib.skeleton import KEYPOINT_SETS

K = records.K
NAMES = KEYPOINT_SETS[records.KEYPOINTS].names
SHARED = Path(__file__).parents[2] / "shared" / "data"


def picture(path, size=(120, 90)):
    """A JPEG of smooth colours, (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.linspace(0, 255, size[0])[None, :, None] * np.linspace(0.3, 1, size[1])[:, None, None]
    Image.fromarray(np.uint8(ramp * [1, 0.7, 0.4])).save(path, quality=90)
    return path


def converted(name, source, out, **options):
    """The index, and {id: sample}."""
    index = convert(name, source, out, progress=False, **options)
    read = {sample["id"]: sample for sample in records.open_records(out)}
    assert len(read) == index["samples"]
    if name in datasets.KNOWN and not options.get("pseudo_3d"):
        found = set(index["known"]) | ({"occluded"} if _any_hidden(read) else set())
        assert found == set(datasets.KNOWN[name])
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


@pytest.mark.parametrize("name", ["lsp", "lsp_extended"])
def test_the_real_thing(name, tmp_path):
    """The images of the first shard; `hmr data convert` takes a minute for all of LSP-extended."""
    source = SHARED / name
    if not source.is_dir():
        pytest.skip(f"no data set at {source}")
    listing = datasets.DATASETS[name](source)
    assert {split: len(items) for split, items in listing.splits.items()} == {
        "lsp": {"train": 1000, "test": 1000},
        "lsp_extended": {"train": 10000},
    }[name]
    loaded = map(datasets._tried(listing.load), listing.splits["train"][:300])
    samples = datasets._samples(loaded, Counter(), tqdm(disable=True))
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
