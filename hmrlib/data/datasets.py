"""Real data sets into records: `hmr data convert NAME SOURCE OUT`.

One function a data set. Its docstring draws the layout that its authors publish, says how to get
it and under which licence; it lists what there is, and `convert` writes it, shard by shard. None of
the data sets comes with hmrlib.

Keypoints go by name to the records' 22 (`skeleton.correspondence`). A person far larger than the
network's input is stored cropped and reduced, with its labels and camera (`crop_to_person`).
"""

import io
import json
import os
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from inspect import signature
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.io import loadmat
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from hmrlib.body import safe_pickle
from hmrlib.data import records
from hmrlib.data.pipeline import apply_affine, rest_pelvis
from hmrlib.data.records import SampleError, Skip
from hmrlib.skeleton import KEYPOINT_SETS, correspondence

MAX_BOX = 270  # a larger box is reduced to this side, pixels
CONTEXT = 2.4  # stored around the box, in its sides: what the largest augmentation can show
MIN_POINTS = 6  # a person of whom fewer points are known is left out, where boxes are annotated
SHARD = 500  # images a shard


class DataSetError(ValueError):
    """The folder is not such a data set; the message says what was expected."""


class LeftOut(Exception):
    """Raised while a sample is made: it is left out and counted under this reason."""


class Listing(NamedTuple):
    """What a data set holds: `splits` {split: items}, and `load`, item -> samples and `Skip`s."""

    splits: dict
    load: object


# --- the way of every data set -------------------------------------------------------------------


def convert(name, source, out, shard=SHARD, threads=None, progress=True, **options):
    """Write a data set as records; a second call goes on where the first was stopped.

    Args:
        name: one of `DATASETS`.
        source: its folder, as the function's docstring draws it.
        out: the folder of records, made if need be.
        shard: images a shard.
        threads: that read and decode images; None is one a core.
        progress: show a bar.
        options: of the data set's function.

    Returns:
        the index, see `records.write_index`: samples, splits, what was skipped and why.

    Raises:
        DataSetError: an unknown name, a folder that is no such data set, or records in `out` that
            were made from something else.
    """
    if name not in DATASETS:
        raise DataSetError(f"unknown data set {name!r}; known are {', '.join(DATASETS)}")
    source, out = Path(source), Path(out)
    if not source.is_dir():
        raise DataSetError(f"{source}: no such folder. {_how_to_obtain(name)}")
    reader = DATASETS[name]
    unknown = set(options) - set(signature(reader).parameters)
    if unknown:
        raise DataSetError(f"{name} takes no option {', '.join(sorted(unknown))}")
    try:
        listing = reader(source, **options)
    except FileNotFoundError as error:
        message = f"{source}: expected {error.filename or error} there. {_how_to_obtain(name)}"
        raise DataSetError(message) from error
    about = {
        "source": name,
        "licence": LICENCES[name],
        "options": options,
        "images": {split: len(items) for split, items in listing.splits.items()},
        "shard": shard,
    }
    out.mkdir(parents=True, exist_ok=True)
    _check_same(out, about)
    records.write_index(out, **about)
    total = sum(map(len, listing.splits.values()))
    bar = tqdm(total=total, desc=name, unit="images", disable=not progress)
    with bar, ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        for split, items in listing.splits.items():
            for number, first in enumerate(range(0, len(items), shard)):
                chunk = items[first : first + shard]
                path = out / f"{split}-{number:05d}.tfrecord"
                if records.finished(path) is None:
                    notes = Counter()
                    stream = _samples(pool.map(_tried(listing.load), chunk), notes, bar)
                    records.write_shard(path, stream, notes=notes)
                else:
                    bar.update(len(chunk))
    return records.write_index(out, **about)


def _check_same(out, about):
    """Records that lie there already must come from the same source in the same way."""
    index = out / "index.json"
    if index.exists():
        before = json.loads(index.read_text("utf-8"))
        for field, value in json.loads(json.dumps(about)).items():
            if before.get(field) != value:
                raise DataSetError(
                    f"{out}: holds records of other {field} ({before.get(field)}, now {value}); "
                    "take another folder, or remove this one"
                )
    elif any(out.glob("*.tfrecord")):
        raise DataSetError(f"{out}: holds records of unknown origin; take another folder")


def _tried(load):
    """`load`, with what may be wrong with one image or person turned into counted skips."""

    def tried(item):
        try:
            return load(item)
        except LeftOut as reason:
            return [Skip(str(reason), str(item)[:200])]
        except SampleError as error:
            return [Skip("breaks the schema", str(error))]

    return tried


def _samples(loaded, notes, bar):
    """A stream of samples from lists of them; what was mended is counted in `notes`."""
    for samples in loaded:
        bar.update()
        for sample in samples:
            if isinstance(sample, dict):
                notes.update(sample.pop("notes", ()))
            yield sample


def _how_to_obtain(name):
    function = DATASETS[name].__name__
    return f"`python -m pydoc hmrlib.data.datasets.{function}` draws the layout and says who has it"


def crop_to_person(sample, by_hand=False):
    """A sample as it is stored: cropped around its person, and reduced if that is large.

    Args:
        sample: with `image` as the bytes of a file. A JPEG of which most is needed, and at its
            own size, is kept bit by bit.
        by_hand: its 2D points were set by hand, so one outside the picture is a slip and becomes
            unknown. (Projected points may well lie outside.)

    Raises:
        LeftOut: the image is damaged, or does not show the box.
    """
    sample, notes = dict(sample), []
    data = sample["image"]
    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
    except Exception as error:  # Pillow has many for a damaged file
        raise LeftOut("the image is damaged") from error
    size = np.array(picture.size)
    if by_hand:
        points = np.array(sample["keypoints_2d"], float)
        slip = (points[:, 2] > 0) & ~((points[:, :2] >= -1) & (points[:, :2] <= size + 1)).all(1)
        points[slip] = 0
        sample["keypoints_2d"] = points
        notes = ["a point outside the picture, left out"] * int(slip.sum())
    half = CONTEXT * sample["size"] / 2
    low = np.clip(np.floor(np.asarray(sample["center"]) - half), 0, size).astype(int)
    high = np.clip(np.ceil(np.asarray(sample["center"]) + half), 0, size).astype(int)
    if (high - low).min() < 2:
        raise LeftOut("the image does not show the box")
    scale = min(1.0, MAX_BOX / sample["size"])
    whole = scale == 1 and np.prod(high - low) > 0.6 * np.prod(size)
    if whole and picture.format == "JPEG" and picture.mode in ("RGB", "L"):
        return {**sample, "notes": notes}
    to = np.maximum((scale * (high - low)).astype(int), 1)
    box = (*low.tolist(), *np.minimum(low + to / scale, size).tolist())
    picture = picture.convert("RGB").resize(
        to.tolist(), Image.Resampling.BICUBIC, box, reducing_gap=3.0
    )
    checked = records.check_sample({**sample, "image": np.asarray(picture)})
    affine = np.array([[scale, 0, -scale * low[0]], [0, scale, -scale * low[1]]])
    checked |= apply_affine(checked, affine)
    return {**checked, "notes": notes}


def read_image(path):
    """The bytes of an image file.

    Raises:
        LeftOut: it is not there.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise LeftOut("no image") from error


def to_union(points, names):
    """(n, c) points of a named set -> (22, c) those of the records, zero where not in the set."""
    of, to = correspondence(names, records.KEYPOINTS)
    union = np.zeros((records.K, points.shape[1]), np.float32)
    union[to] = np.asarray(points)[of]
    return union


def fit_camera(points_2d, points_3d, within=5.0):
    """The pinhole that made (N, 2) pixels of (N, 3) points in its frame, by least squares.

    Points at the camera or behind it, and those with a NaN, have no picture and are left out.

    Returns:
        (3,) focal length and principal point, pixels; None if it misses by more than `within`
        pixels at the median, or fewer than three points are left: then they are no such pair.
    """
    points_2d, points_3d = np.asarray(points_2d, float), np.asarray(points_3d, float)
    seen = np.isfinite(points_2d).all(1) & np.isfinite(points_3d).all(1) & (points_3d[:, 2] > 1e-3)
    points_2d, points_3d = points_2d[seen], points_3d[seen]
    if len(points_2d) < 3:
        return None
    over_depth = points_3d[:, :2] / points_3d[:, 2:]
    zeros, ones = np.zeros(len(over_depth)), np.ones(len(over_depth))
    rows = [
        np.stack([over_depth[:, 0], ones, zeros], 1),
        np.stack([over_depth[:, 1], zeros, ones], 1),
    ]
    matrix, target = np.concatenate(rows), points_2d.T.ravel()
    camera = np.linalg.lstsq(matrix, target, rcond=None)[0]
    miss = np.abs(matrix @ camera - target)
    return camera.astype(np.float32) if np.median(miss) <= within and camera[0] > 0 else None


def _labels(read, *arguments):
    """`read(*arguments)`, the labels of a sequence; a file that is damaged is left out."""
    try:
        return read(*arguments)
    except (safe_pickle.UnsafePickleError, ModuleNotFoundError):
        raise
    except Exception as error:  # each library has its own for a damaged file
        raise LeftOut("labels that cannot be read") from error


def _frames(folder):
    """[(number, path)] of the images in a folder of frames, numbered from 0."""
    numbered = sorted(
        (int(found.group(1)), path)
        for path in [*folder.glob("*.jpg"), *folder.glob("*.png")]
        if (found := re.search(r"(\d+)\.\w+$", path.name))
    )
    first = 1 if numbered and numbered[0][0] == 1 else 0  # ffmpeg counts from 1 by default
    return [(number - first, path) for number, path in numbered]


def _require(path):
    if not path.exists():
        raise FileNotFoundError(2, "no such file", str(path))
    return path


def _matlab(path):
    return loadmat(_require(path), squeeze_me=True, struct_as_record=False)


# --- photographs with 2D keypoints ---------------------------------------------------------------


def lsp(source, pseudo_3d=False):
    """Leeds Sports Pose: 2,000 photographs of sport, 14 joints each.

        lsp_dataset/
          images/im0001.jpg ... im2000.jpg
          joints.mat      joints (3, 14, 2000): x, y, and 1 where the joint is *occluded*

    Splits as published: the first 1,000 train, the others test. Columns whose image is not there
    are skipped and counted.

    Source: Johnson and Everingham, BMVC 2010; lsp_dataset.zip from the authors' page. Licence:
    none is stated; for research, and a citation is asked for.

    Args:
        pseudo_3d: take guesses of BlazePose as 3D points, from a `blazepose.npz` beside the
            images; such samples are marked `pseudo_3d`. See `_blazepose`.
    """
    joints = _matlab(source / "joints.mat")["joints"]  # (3, 14, N)
    if joints.ndim != 3 or joints.shape[:2] != (3, 14):
        raise DataSetError(f"expected joints (3, 14, N) in joints.mat, found {joints.shape}")
    guesses = _blazepose(source) if pseudo_3d else None

    def load(index):
        image = read_image(source / "images" / f"im{index + 1:04d}.jpg")
        x, y, hidden = joints[:, :, index]
        if not (x.any() or y.any()):
            raise LeftOut("no joints")
        points = np.stack([x, y, np.ones(14)], 1)
        return [_sports(image, points, hidden, "lsp", index, guesses)]

    indices = np.arange(joints.shape[2]).tolist()
    return Listing({"train": indices[:1000], "test": indices[1000:]}, load)


def lsp_extended(source, pseudo_3d=False):
    """Leeds Sports Pose Extended: 10,000 photographs of parkour, gymnastics and athletics.

        lspet_dataset/
          images/im00001.jpg ... im10000.jpg
          joints.mat      joints (14, 3, 10000): x, y, and 1 where the joint is *visible*

    All of it trains. A joint that is not visible is not annotated.

    Source: Johnson and Everingham, CVPR 2011; lspet_dataset.zip from the authors' page. Licence:
    none is stated; for research, and a citation is asked for.

    Args:
        pseudo_3d: as for `lsp`.
    """
    joints = _matlab(source / "joints.mat")["joints"]  # (14, 3, N)
    if joints.ndim != 3 or joints.shape[:2] != (14, 3):
        raise DataSetError(f"expected joints (14, 3, N) in joints.mat, found {joints.shape}")
    guesses = _blazepose(source) if pseudo_3d else None

    def load(index):
        image = read_image(source / "images" / f"im{index + 1:05d}.jpg")
        points = joints[:, :, index]
        if not (points[:, 2] > 0).any():
            raise LeftOut("no joints")
        hidden = np.zeros(14)
        return [_sports(image, points, hidden, "lsp_extended", index, guesses)]

    return Listing({"train": list(range(joints.shape[2]))}, load)


def _sports(image, points, hidden, name, index, guesses):
    """A sample of LSP, from 14 points that MATLAB counts: the first pixel's centre is 1."""
    points = to_union(points - [0.5, 0.5, 0], "lsp-14")
    center, size = records.box_around(points)
    sample = {
        "image": image,
        "center": center,
        "size": size,
        "keypoints_2d": points,
        "occluded": to_union(hidden[:, None], "lsp-14")[:, 0],
        "source": name,
        "id": f"im{index + 1:05d}",
    }
    if guesses is not None:
        sample |= guesses(index)
    return crop_to_person(sample, by_hand=True)


_BLAZEPOSE_33 = (
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer "
    "left_ear right_ear left_mouth right_mouth left_shoulder right_shoulder left_elbow right_elbow "
    "left_wrist right_wrist left_pinky right_pinky left_index right_index left_thumb right_thumb "
    "left_hip right_hip left_knee right_knee left_ankle right_ankle left_heel right_heel "
    "left_toe right_toe"
)


def _blazepose(source):
    """BlazePose's guesses for the images of a folder, row i for image i + 1: index -> fields.

        blazepose.npz   world (N, 33, 3) metres, x right, y down, z away from the camera, from the
                        middle of the hips; visibility (N, 33); score (N,)

    A person scored below 0.5 and a point whose visibility is below 0.5 remain unknown.
    """
    with np.load(_require(source / "blazepose.npz"), allow_pickle=False) as archive:
        world, visibility, score = (archive[name] for name in ("world", "visibility", "score"))

    def guesses(index):
        known = (visibility[index] >= 0.5) & (score[index] >= 0.5)
        if not known.any():
            return {}
        points = np.concatenate([world[index], known[:, None]], 1)
        return {"keypoints_3d": to_union(points, _BLAZEPOSE_33.split()), "pseudo_3d": 1}

    return guesses


def coco(source, min_points=MIN_POINTS):
    """COCO keypoints 2017: some 150,000 people in photographs, 17 points each.

        coco/
          train2017/000000000009.jpg ...
          val2017/000000000139.jpg ...
          annotations/person_keypoints_train2017.json
          annotations/person_keypoints_val2017.json

    Splits as published: train2017 and val2017 (validation); the test labels are not public.
    Groups of people (`iscrowd`) and people with fewer points than `min_points` are skipped.

    Source: Lin et al., ECCV 2014; cocodataset.org, no registration. Licence: annotations CC BY
    4.0; the images are Flickr's, under their owners' terms.
    """
    splits, images = {}, {}
    for split, folder in (("train", "train2017"), ("validation", "val2017")):
        path = source / "annotations" / f"person_keypoints_{folder}.json"
        if not path.exists():
            continue
        labels = json.loads(path.read_text("utf-8"))
        paths = {image["id"]: source / folder / image["file_name"] for image in labels["images"]}
        people = {}
        for person in labels["annotations"]:
            people.setdefault(person["image_id"], []).append(person)
        splits[split] = sorted(people)
        images |= {image: (paths[image], people[image]) for image in people}
    if not splits:
        _require(source / "annotations" / "person_keypoints_train2017.json")

    def load(item):
        path, people = images[item]
        return [_tried(lambda one: [_coco_person(path, one, min_points)])(p)[0] for p in people]

    return Listing(splits, load)


def _coco_person(path, person, min_points):
    if person.get("iscrowd"):
        raise LeftOut("a crowd")
    points = np.array(person["keypoints"], float).reshape(17, 3)
    flag = points[:, 2]  # 0 not labelled, 1 labelled but hidden, 2 visible
    if (flag > 0).sum() < min_points:
        raise LeftOut(f"fewer than {min_points} points")
    points = np.stack([points[:, 0] + 0.5, points[:, 1] + 0.5, flag > 0], 1)
    left, top, width, height = person["bbox"]
    corners = [[left, top, 1], [left + width, top + height, 1]]
    center, size = records.box_around(np.concatenate([points, corners]), margin=1.0)
    sample = {
        "image": read_image(path),
        "center": center,
        "size": size,
        "keypoints_2d": to_union(points, "coco-17"),
        "occluded": to_union((flag == 1)[:, None], "coco-17")[:, 0],
        "source": "coco",
        "id": str(person["id"]),
    }
    return crop_to_person(sample, by_hand=True)


def mpii(source, min_points=MIN_POINTS):
    """MPII Human Pose: some 29,000 people at everyday activities with public labels, 16 points.

        mpii/
          images/015601864.jpg ...
          mpii_human_pose_v1_u12_2/mpii_human_pose_v1_u12_1.mat     (or beside images/)
            RELEASE.annolist(i).image.name
            RELEASE.annolist(i).annorect(k).annopoints.point(j): x, y, id 0 to 15, is_visible
            RELEASE.img_train(i): 1 train, 0 test

    Splits as published: train; the test images carry no labels, and are counted as skipped.

    Source: Andriluka et al., CVPR 2014; human-pose.mpi-inf.mpg.de. Licence: the annotations are
    under the simplified BSD licence.
    """
    name = "mpii_human_pose_v1_u12_1.mat"
    nested = source / "mpii_human_pose_v1_u12_2" / name
    release = _matlab(nested if nested.exists() else source / name)["RELEASE"]
    images = np.atleast_1d(release.annolist)
    training = np.atleast_1d(release.img_train)

    def load(index):
        if not training[index]:
            return [Skip("a test image: its labels are not public")]
        image = images[index]
        people = [one for one in np.atleast_1d(image.annorect) if hasattr(one, "_fieldnames")]
        if not people:
            return [Skip("no person")]
        path = source / "images" / str(image.image.name)
        tried = _tried(lambda one: [_mpii_person(path, *one, min_points)])
        return [tried(numbered)[0] for numbered in enumerate(people)]

    return Listing({"train": list(range(len(images)))}, load)


def _mpii_person(path, number, person, min_points):
    points, hidden = np.zeros((16, 3)), np.zeros((16, 1))
    annotated = getattr(person, "annopoints", None)
    for point in np.atleast_1d(getattr(annotated, "point", [])):
        points[int(point.id)] = (point.x - 0.5, point.y - 0.5, 1)  # MATLAB counts from 1
        flag = str(getattr(point, "is_visible", ""))  # "" for neck and head, which always are
        hidden[int(point.id)] = flag == "0"
    if points[:, 2].sum() < min_points:
        raise LeftOut(f"fewer than {min_points} points")
    points = to_union(points, "mpii-16")
    center, size = records.box_around(points)
    sample = {
        "image": read_image(path),
        "center": center,
        "size": size,
        "keypoints_2d": points,
        "occluded": to_union(hidden, "mpii-16")[:, 0],
        "source": "mpii",
        "id": f"{path.stem}/{number}",
    }
    return crop_to_person(sample, by_hand=True)


# --- with 3D joints ------------------------------------------------------------------------------

# MPI-INF-3DHP's 28 joints of the training files and 17 of the test files; what the records do not
# hold keeps a name of its own.
_3DHP_28 = (
    "spine3 spine4 spine2 spine pelvis neck head head_top left_clavicle left_shoulder left_elbow "
    "left_wrist left_hand right_clavicle right_shoulder right_elbow right_wrist right_hand "
    "left_hip left_knee left_ankle left_foot left_toe right_hip right_knee right_ankle right_foot "
    "right_toe"
)
_3DHP_17 = (
    "head_top neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist "
    "right_hip right_knee right_ankle left_hip left_knee left_ankle pelvis spine head"
)


def mpi_inf_3dhp(source, every=10):
    """MPI-INF-3DHP: 8 subjects before 14 cameras in a studio, 6 test sequences partly outdoors.

        mpi_inf_3dhp/
          S1/Seq1/annot.mat              annot2 {14} (F, 56) pixels, annot3 {14} (F, 84) mm in each
          ...                            camera's frame
          S8/Seq2/imageFrames/video_0/000000.jpg ...
          mpi_inf_3dhp_test_set/TS1/annot_data.mat      annot2, annot3, valid_frame
          mpi_inf_3dhp_test_set/TS1/imageSequence/img_000001.jpg ...

    The training images come as videos (imageSequence/video_0.avi); turn each into frames:

        ffmpeg -i imageSequence/video_0.avi -q:v 2 -start_number 0 imageFrames/video_0/%06d.jpg

    Splits as published: S1 to S8 train, TS1 to TS6 test; of the test set, frames that are not
    marked valid are skipped. The camera is found from annot2 and annot3. A sequence of which no
    frames were extracted is counted as skipped.

    Source: Mehta et al., 3DV 2017; vcai.mpi-inf.mpg.de/3dhp-dataset, after accepting its terms.
    Licence: for non-commercial research.

    Args:
        every: take each n-th training frame; the test set is taken whole.
    """
    train, test = [], []
    for path in sorted(source.glob("S*/Seq*/annot.mat")):
        videos = sorted(path.parent.glob("imageFrames/video_*"))
        train += [] if videos else [(path, None, 0, None)]
        for video in videos:
            frames = [frame for frame in _frames(video) if frame[0] % every == 0]
            train += [(path, int(video.name.split("_")[1]), *frame) for frame in frames]
    for path in sorted(source.glob("mpi_inf_3dhp_test_set/TS*/annot_data.mat")):
        test += [(path, None, *frame) for frame in _frames(path.parent / "imageSequence")]
    if not train and not test:
        _require(source / "S1" / "Seq1" / "annot.mat")

    def load(item):
        path, video, number, image = item
        if image is None:
            return [Skip("no frames extracted from the videos", str(path))]
        sequence = _labels(_3dhp_test, path) if video is None else _labels(_3dhp_train, path, video)
        name = f"{path.parent.relative_to(source)}/{'test' if video is None else video}/{number}"
        return [_studio_sample(sequence, number, image, "mpi_inf_3dhp", name)]

    return Listing({"train": train, "test": test}, load)


class Sequence(NamedTuple):
    """Labels of one camera's frames: names, (F, J, 2) pixels, (F, J, 3) m, camera, which count."""

    names: list
    points_2d: np.ndarray
    points_3d: np.ndarray
    camera: np.ndarray | None
    valid: np.ndarray


def _sequence(names, points_2d, millimetres, valid=None):
    points_2d = np.asarray(points_2d, np.float32).reshape(-1, len(names), 2)
    points_3d = np.asarray(millimetres, np.float32).reshape(-1, len(names), 3) / 1000
    if len(points_2d) != len(points_3d):
        raise DataSetError(f"{len(points_2d)} frames in 2D and {len(points_3d)} in 3D")
    valid = np.ones(len(points_2d), bool) if valid is None else np.asarray(valid).ravel() > 0
    some = np.flatnonzero(valid)[:: max(1, int(valid.sum()) // 100)]
    camera = None
    if some.size:
        camera = fit_camera(points_2d[some].reshape(-1, 2), points_3d[some].reshape(-1, 3))
    return Sequence(names, points_2d, points_3d, camera, valid)


@lru_cache(maxsize=4)
def _3dhp_annotation(path):
    return loadmat(path, squeeze_me=False)


@lru_cache(maxsize=32)
def _3dhp_train(path, video):
    annotation = _3dhp_annotation(path)
    return _sequence(
        _3DHP_28.split(), annotation["annot2"].ravel()[video], annotation["annot3"].ravel()[video]
    )


@lru_cache(maxsize=8)
def _3dhp_test(path):
    import h5py  # comes with Keras; these files are MATLAB's version 7.3, which is HDF5

    with h5py.File(path, "r") as file:
        parts = [np.asarray(file[name]) for name in ("annot2", "annot3", "valid_frame")]
    return _sequence(_3DHP_17.split(), *parts)


def _studio_sample(sequence, number, image, source, name):
    if number >= len(sequence.valid):
        raise LeftOut("a frame without labels")
    if not sequence.valid[number]:
        raise LeftOut("a frame that is marked as not valid")
    known = np.ones((len(sequence.names), 1))
    points_2d, points_3d = (
        to_union(np.concatenate([points[number], known], 1), sequence.names)
        for points in (sequence.points_2d, sequence.points_3d)
    )
    center, size = records.box_around(points_2d)
    sample = {
        "image": read_image(image),
        "center": center,
        "size": size,
        "keypoints_2d": points_2d,
        "keypoints_3d": points_3d,
        "source": source,
        "id": name,
    }
    if sequence.camera is not None:
        sample["camera"] = sequence.camera
    return crop_to_person(sample)


_H36M_OF_32 = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]
_H36M_SPLITS = {"train": ("S1", "S5", "S6", "S7", "S8"), "test": ("S9", "S11")}


def h36m(source, every=10):
    """Human3.6M: 7 subjects with labels, 15 activities, 4 cameras in a studio.

        h36m/
          S1/MyPoseFeatures/D2_Positions/Directions 1.54138969.cdf         Pose (1, F, 64) pixels
          S1/MyPoseFeatures/D3_Positions_mono/Directions 1.54138969.cdf    Pose (1, F, 96) mm, in
          ...                                                              the camera's frame
          S1/Images/Directions 1.54138969/000000.jpg ...

    The images come as videos (S1/Videos/Directions 1.54138969.mp4); turn each into frames:

        ffmpeg -i "Videos/NAME.mp4" -q:v 2 -start_number 0 "Images/NAME/%06d.jpg"

    Splits as in protocols 1 and 2: S1, S5, S6, S7, S8 train; S9, S11 test. Of the 32 joints the 17
    that move are taken. The camera is found from the two kinds of positions; the lenses distort a
    little, which a pinhole does not know. A video of which no frames were extracted is counted as
    skipped. Needs the package cdflib: pip install "hmrlib[h36m]".

    Source: Ionescu et al., TPAMI 2014; vision.imar.ro/human3.6m, after registration. Licence: for
    academic use.

    Args:
        every: take each n-th frame of a video, 5 a second for 10.
    """
    splits = {split: [] for split in _H36M_SPLITS}
    for split, subjects in _H36M_SPLITS.items():
        for subject in subjects:
            folder = source / subject / "MyPoseFeatures" / "D3_Positions_mono"
            for path in sorted(folder.glob("*.cdf")):
                frames = _frames(source / subject / "Images" / path.stem)
                frames = [frame for frame in frames if frame[0] % every == 0]
                splits[split] += [(path, *frame) for frame in frames] or [(path, 0, None)]
    if not any(splits.values()):
        _require(source / "S1" / "MyPoseFeatures" / "D3_Positions_mono")

    def load(item):
        path, number, image = item
        if image is None:
            return [Skip("no frames extracted from the video", str(path))]
        name = f"{path.relative_to(source).parts[0]}/{path.stem}/{number}"
        return [_studio_sample(_labels(_h36m_sequence, path), number, image, "h36m", name)]

    return Listing(splits, load)


@lru_cache(maxsize=16)
def _h36m_sequence(path):
    from cdflib import CDF

    flat = path.parents[1] / "D2_Positions" / path.name
    in_2d = np.asarray(CDF(_require(flat)).varget("Pose")).reshape(-1, 32, 2)
    in_3d = np.asarray(CDF(path).varget("Pose")).reshape(-1, 32, 3)
    names = list(KEYPOINT_SETS["h36m-17"].names)
    return _sequence(names, in_2d[:, _H36M_OF_32], in_3d[:, _H36M_OF_32])


_OPENPOSE_18 = (
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist "
    "right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear "
    "left_ear"
)


def threedpw(source):
    """3DPW: 60 videos from a moving phone outdoors, with SMPL's pose from body-worn sensors.

        3DPW/
          imageFiles/courtyard_arguing_00/image_00000.jpg ...
          sequenceFiles/train/courtyard_arguing_00.pkl ...
          sequenceFiles/validation/..., sequenceFiles/test/...
            poses [P] (F, 72), trans [P] (F, 3), jointPositions [P] (F, 72), betas [P], in the world
            poses2d [P] (F, 3, 18), campose_valid [P] (F,), cam_poses (F, 4, 4), cam_intrinsics

    Splits as published: train, validation, test. Frames whose camera is not marked valid are
    skipped. The root's rotation is taken into the camera frame; the translation puts the pelvis
    where the data has it, on the body of `load_body()`. The betas belong to SMPL's male and female
    models, not to a neutral one, so they stay in `recipe`. 2D points are OpenPose's detections;
    where it found nobody they are unknown.

    The .pkl files go through `safe_pickle`: nothing in them is run.

    Source: von Marcard et al., ECCV 2018; virtualhumans.mpi-inf.mpg.de/3DPW, after accepting its
    terms. Licence: for non-commercial research.
    """
    splits = {split: [] for split in ("train", "validation", "test")}
    for split in splits:
        for path in sorted((source / "sequenceFiles" / split).glob("*.pkl")):
            try:
                length = _labels(_3dpw_length, path)
            except LeftOut:
                length = 1  # where the reason is counted
            splits[split] += [(path, frame) for frame in range(length)]
    if not any(splits.values()):
        _require(source / "sequenceFiles" / "train")

    def load(item):
        path, frame = item
        labels = _labels(_3dpw_sequence, path)
        image = source / "imageFiles" / path.stem / f"image_{frame:05d}.jpg"
        tried = _tried(lambda person: [_3dpw_person(labels, frame, person, image)])
        return [tried(person)[0] for person in range(len(labels["poses"]))]

    return Listing(splits, load)


@lru_cache(maxsize=4)
def _3dpw_sequence(path):
    with open(path, "rb") as file:
        try:
            return safe_pickle.load(file)
        except safe_pickle.UnsafePickleError as error:
            raise safe_pickle.UnsafePickleError(f"{path}: {error}") from error


@cache
def _3dpw_length(path):
    return len(_3dpw_sequence(path)["cam_poses"])


def _3dpw_person(labels, frame, person, image):
    if frame >= len(labels["poses"][person]):
        raise LeftOut("a frame without labels")
    if not np.ravel(labels["campose_valid"][person])[frame]:
        raise LeftOut("a camera that is marked as not valid")
    pose = np.array(labels["poses"][person][frame], float).reshape(24, 3)
    joints = np.array(labels["jointPositions"][person][frame], float).reshape(24, 3)
    to_camera = np.asarray(labels["cam_poses"][frame], float)
    joints = joints @ to_camera[:3, :3].T + to_camera[:3, 3]
    root = Rotation.from_matrix(to_camera[:3, :3]) * Rotation.from_rotvec(pose[0])
    pose[0] = root.as_rotvec()
    if not (joints[:, 2] > 0).all():
        raise LeftOut("a person behind the camera")
    intrinsics = np.asarray(labels["cam_intrinsics"], float)
    camera = np.array([(intrinsics[0, 0] + intrinsics[1, 1]) / 2, *intrinsics[:2, 2]])
    pixels = camera[0] * joints[:, :2] / joints[:, 2:] + camera[1:]
    center, size = records.box_around(np.concatenate([pixels, np.ones((24, 1))], 1))
    detected = np.array(labels["poses2d"][person][frame], float).T  # (18, 3)
    known = np.concatenate([joints, np.ones((24, 1))], 1)
    betas = np.ravel(labels["betas"][person])[:10].tolist()
    sample = {
        "image": read_image(image),
        "center": center,
        "size": size,
        "keypoints_2d": to_union(detected, _OPENPOSE_18.split()),
        "keypoints_3d": to_union(known, "smpl-24"),
        "pose": pose,
        "translation": joints[0] - rest_pelvis(np.zeros(10)),
        "camera": camera,
        "source": "3dpw",
        "id": f"{image.parent.name}/{person}/{frame}",
        "recipe": json.dumps({"gender": str(labels["genders"][person]), "betas": betas}),
    }
    return crop_to_person(sample)


# --- poses without pictures ----------------------------------------------------------------------


def amass(source, out):
    """AMASS: more than 40 hours of motion capture as poses of SMPL's kin, without pictures.

        AMASS/
          CMU/01/01_01_poses.npz ...      poses (T, 156) axis-angle, trans (T, 3) metres, z up,
          ACCAD/Female1General_c3d/...    mocap_framerate; SMPL-H's layout, or SMPL-X's

    It becomes a pose library and no records: see `mocap.build_library`. The published splits go by
    the first folder, which `clip_folders` keeps: HumanEva, MPI_HDM05, SFU and MPI_mosh validate,
    Transitions_mocap and SSM_synced test, the others train.

    Source: Mahmood et al., ICCV 2019; amass.is.tue.mpg.de, after registration. Licence: for
    non-commercial research.

    Returns:
        path of the library, and the table of what was taken and skipped.
    """
    from hmrlib.body.model import load_body
    from hmrlib.data.mocap import build_library

    return build_library(source, out, load_body())


# --- one's own -----------------------------------------------------------------------------------


def folder(source):
    """Your own pictures: a folder of images and one JSON file.

        mine/
          labels.json
          any/name.jpg ...

        {"keypoints": "coco-17",           a set of `hmrlib.skeleton`, or a list of names
         "licence": "...",
         "people": [
           {"image": "any/name.jpg",       relative to the folder; several people may share one
            "keypoints": [[x, y, confidence], ...],
            "split": "train",              optional, as is all that follows; train by default
            "box": [left, top, width, height],
            "occluded": [0, 1, ...],
            "keypoints_3d": [[x, y, z, known], ...],
            "pose": [[...] x 24], "betas": [...], "translation": [...], "camera": [...]}]}

    Pixels are counted so that the first pixel's centre is (0.5, 0.5); all else is as in
    `hmrlib.data.records`. Licence: yours to say.
    """
    path = _require(source / "labels.json")
    try:
        labels = json.loads(path.read_text("utf-8"))
        names, people = labels["keypoints"], labels["people"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataSetError(
            f'{path}: expected JSON {{"keypoints": ..., "people": [...]}} ({error!r})'
        ) from error
    splits = {}
    for number, person in enumerate(people):
        splits.setdefault(person.get("split", "train"), []).append(number)

    def load(number):
        person = people[number]
        points = np.array(person["keypoints"], float)
        count = len(KEYPOINT_SETS[names]) if isinstance(names, str) else len(names)
        if points.shape != (count, 3):
            raise LeftOut(f"keypoints of shape {points.shape}, not ({count}, 3)")
        sample = {
            "image": read_image(source / person["image"]),
            "keypoints_2d": to_union(points, names),
            "source": source.name,
            "id": f"{person['image']}/{number}",
        }
        if "box" in person:
            left, top, width, height = person["box"]
            sample |= {
                "center": (left + width / 2, top + height / 2),
                "size": max(width, height),
            }
        elif (points[:, 2] > 0).any():
            sample["center"], sample["size"] = records.box_around(points)
        else:
            raise LeftOut("neither a box nor a point")
        if "occluded" in person:
            sample["occluded"] = to_union(np.array(person["occluded"])[:, None], names)[:, 0]
        if "keypoints_3d" in person:
            sample["keypoints_3d"] = to_union(np.array(person["keypoints_3d"], float), names)
        optional = ("pose", "betas", "translation", "camera")
        sample |= {name: person[name] for name in optional if name in person}
        return [crop_to_person(sample)]

    return Listing(splits, load)


DATASETS = {
    "lsp": lsp,
    "lsp_extended": lsp_extended,
    "coco": coco,
    "mpii": mpii,
    "mpi_inf_3dhp": mpi_inf_3dhp,
    "h36m": h36m,
    "3dpw": threedpw,
    "folder": folder,
}
LICENCES = {
    "lsp": "none stated; research use, citation asked for (Johnson and Everingham, BMVC 2010)",
    "lsp_extended": "none stated; research use, citation asked for (Johnson and Everingham, "
    "CVPR 2011)",
    "coco": "annotations CC BY 4.0; images under Flickr's terms",
    "mpii": "simplified BSD licence (annotations)",
    "mpi_inf_3dhp": "non-commercial research, terms of the authors",
    "h36m": "academic use, after registration",
    "3dpw": "non-commercial research, terms of the authors",
    "amass": "non-commercial research, after registration",
    "folder": "as its owner says",
}
# what the labels of each source know: fields of the records
KNOWN = {
    "lsp": ("keypoints_2d", "occluded"),
    "lsp_extended": ("keypoints_2d",),
    "coco": ("keypoints_2d", "occluded"),
    "mpii": ("keypoints_2d", "occluded"),
    "mpi_inf_3dhp": ("keypoints_2d", "keypoints_3d", "camera"),
    "h36m": ("keypoints_2d", "keypoints_3d", "camera"),
    "3dpw": ("keypoints_2d", "keypoints_3d", "camera", "pose"),
    "synthetic": ("keypoints_2d", "occluded", "keypoints_3d", "camera", "pose", "betas"),
}
