"""Real data sets into records: `hmr data convert NAME SOURCE OUT`.

One function a data set. Its docstring draws the layout that its authors publish, says how to get
it and under which licence; it lists what there is, and `convert` writes it, shard by shard. None of
the data sets comes with hmrlib.

What the files of a data set say is not trusted. A name in them is looked for below its folder
(`images.below`); MATLAB's files are read in a process of their own (`foreign`); a picture or person
of whom anything is not as it should be is skipped, and counted with the reason.

Keypoints go by name to the records' 22 (`point_names`). A person far larger than the
network's input is stored cropped and reduced, with its labels and camera (`crop_to_person`).
"""

import json
import os
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache, wraps
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from hmrlib.data import records
from hmrlib.data.pipeline import apply_affine, rest_pelvis
from hmrlib.data.records import SampleError, Skip
from hmrlib.io import ArchiveError, foreign, images, locked, read_npz, safe_pickle
from hmrlib.skeleton import KEYPOINT_SETS, correspondence

MAX_BOX = 270  # a larger box is reduced to this side, pixels
CONTEXT = 2.4  # stored around the box, in its sides: what the largest augmentation can show
MIN_POINTS = 6  # a person of whom fewer points are known is left out, where boxes are annotated
SHARD = 500  # images a shard
POINTS_MARGIN = 1.1  # side of a box that is taken from points, in what they span
FAR = 1e7  # pixels that no picture has
SPLITS = {  # the words for them in names of files, and what they are here
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


class DataSetError(ValueError):
    """The folder is not such a data set; the message says what was expected."""


class LeftOut(Exception):
    """Raised while a sample is made: it is left out and counted under this reason."""


class Listing(NamedTuple):
    """What a data set holds: `splits` {split: items}, and `load`, item -> samples and `Skip`s.

    `name`: item -> what it is called where it is skipped.
    """

    splits: dict
    load: object
    name: object = str


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
        hmrlib.io.FolderInUseError: another run writes into `out`.
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
    except foreign.ForeignFileError as error:
        raise DataSetError(f"{error}. {_how_to_obtain(name)}") from error
    about = {
        "source": name,
        "licence": LICENCES[name],
        "options": options,
        "images": {split: len(items) for split, items in listing.splits.items()},
        "shard": shard,
    }
    with locked(out):
        _check_same(out, about)
        records.write_index(out, **about)
        total = sum(map(len, listing.splits.values()))
        bar = tqdm(total=total, desc=name, unit="images", disable=not progress)
        with bar, ThreadPoolExecutor(threads or os.cpu_count()) as pool:
            tried = _tried(listing.load, listing.name)
            for split, items in listing.splits.items():
                for number, first in enumerate(range(0, len(items), shard)):
                    chunk = items[first : first + shard]
                    path = out / f"{split}-{number:05d}.tfrecord"
                    if records.finished(path) is None:
                        notes = Counter()
                        stream = _samples(pool.map(tried, chunk), notes, bar)
                        records.write_shard(path, stream, notes=notes)
                    else:
                        bar.update(len(chunk))
        return records.write_index(out, **about)


def _check_same(out, about):
    """Records that lie there already must come from the same source in the same way."""
    index = out / "index.json"
    if index.exists():
        before = read_json(index)
        before = before if isinstance(before, dict) else {}
        for field, value in json.loads(json.dumps(about)).items():
            if before.get(field) != value:
                raise DataSetError(
                    f"{out}: holds records of other {field} ({before.get(field)}, now {value}); "
                    "take another folder, or remove this one"
                )
    elif any(out.glob("*.tfrecord")):
        raise DataSetError(f"{out}: holds records of unknown origin; take another folder")


def _tried(load, name=str):
    """`load`, with what may be wrong with one image or person turned into counted skips."""

    def tried(item):
        try:
            # what is too large for its type becomes infinite, which the schema refuses
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                return load(item)
        except LeftOut as reason:
            return [Skip(str(reason), name(item)[:200])]
        except images.ImageError as error:
            return [Skip(error.reason, f"{name(item)}: {error.detail}"[:200])]
        except SampleError as error:
            return [Skip("breaks the schema", str(error))]
        except (safe_pickle.UnsafePickleError, ModuleNotFoundError, MemoryError):
            raise
        except Exception as error:  # there may be anything in the place of anything
            return [Skip("labels that are not as they should be", f"{name(item)}: {error!r}"[:200])]

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


def crop_to_person(sample, by_hand=False, upright=False):
    """A sample as it is stored: cropped around its person, and reduced if that is large.

    Args:
        sample: with `image` as the bytes of a file. A JPEG of which most is needed, and at its
            own size, is kept bit by bit.
        by_hand: its 2D points were set by hand, so one outside the picture is a slip and becomes
            unknown. (Projected points may well lie outside.)
        upright: whether its labels were drawn on the picture as its EXIF orientation turns it, or
            the (width, height) of the picture that they were drawn on.

    Raises:
        images.ImageError: the image is damaged, too large, or of a kind that is not read.
        SampleError: a label breaks the schema.
        LeftOut: the image does not show the box.
    """
    sample, notes = dict(sample), []
    box = np.array([*sample["center"], sample["size"]], float)
    if not (np.abs(box).max() < FAR and sample["size"] > 0):  # a NaN is not, either
        raise LeftOut("a box or points that are not finite, or of no extent")
    picture = images.load(sample["image"])
    turned = _is_turned(picture, upright)
    a_jpeg = picture.format == "JPEG" and picture.mode in ("RGB", "L") and not turned
    picture = images.to_rgb(picture, turned)
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
    if a_jpeg and scale == 1 and np.prod(high - low) > 0.6 * np.prod(size):
        image = records.Jpeg(sample["image"])
        image.shape = picture.size[::-1]
        return {**records.check_sample({**sample, "image": image}), "notes": notes}
    to = np.maximum((scale * (high - low)).astype(int), 1)
    box = (*low.tolist(), *np.minimum(low + to / scale, size).tolist())
    picture = picture.resize(to.tolist(), Image.Resampling.BICUBIC, box, reducing_gap=3.0)
    checked = records.check_sample({**sample, "image": np.asarray(picture)})
    affine = np.array([[scale, 0, -scale * low[0]], [0, scale, -scale * low[1]]])
    checked |= apply_affine(checked, affine)
    return {**checked, "notes": notes}


def _is_turned(picture, upright):
    """Whether labels were drawn on a picture turned as its EXIF orientation says."""
    number = images.orientation(picture)
    if isinstance(upright, bool):
        return upright and number != 1
    lying = number >= 5  # these change width and height
    return lying and tuple(upright) == picture.size[::-1] != picture.size


def read_image(folder, name):
    """The bytes of an image file, of a name that stands in a file or follows from one.

    Raises:
        LeftOut: it is not there, or the name leads out of the folder.
    """
    try:
        path = images.below(folder, name)
    except ValueError as error:
        told = "an image's name that leads out of its folder" if name else "no name of an image"
        raise LeftOut(told) from error
    try:
        if not path.is_file():
            raise LeftOut("no image")
        return path.read_bytes()
    except OSError as error:
        raise LeftOut("no image") from error


def read_json(path):
    """What a JSON file holds, in any of Unicode's encodings.

    Raises:
        DataSetError: it is no JSON.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataSetError(f"{path}: expected JSON ({error})") from error


def to_union(points, names):
    """(n, c) points of a named set -> (22, c) those of the records, zero where not in the set."""
    of, to = correspondence(names, records.KEYPOINTS)
    union = np.zeros((records.K, points.shape[1]), np.float32)
    with np.errstate(over="ignore"):  # what is infinite is refused later
        union[to] = np.asarray(points)[of]
    return union


_SIDED = re.compile(
    "(left|right|l|r)?(shoulder|elbow|wrist|hip|knee|ankle|eye|ear)(left|right|l|r)?"
)
_MIDDLE = {
    "tophead": "head_top",
    "topofhead": "head_top",
    "headtop": "head_top",
    "upperneck": "neck",
    "midhip": "pelvis",
}


def point_names(names):
    """The points' names of a tool or another data set, as hmrlib calls them.

    Sides and joints are recognized in "Left Shoulder", "l_shoulder", "LShoulder", "shoulder.L".
    CrowdPose's "head" is the top of it. A name of which nothing is known stays as it is, and its
    point is not used.
    """
    ours = tuple(_point_name(name) for name in names)
    with_top = ["head_top" if name == "head" else name for name in ours]
    crowdpose = sorted(with_top) == sorted(KEYPOINT_SETS["lsp-14"].names)
    return tuple(with_top) if crowdpose else ours


def _point_name(name):
    letters = re.sub("[^a-z0-9]", "", name.lower())
    sided = _SIDED.fullmatch(letters)
    if sided and bool(sided[1]) != bool(sided[3]):
        side = {"l": "left", "r": "right"}[(sided[1] or sided[3])[0]]
        return f"{side}_{sided[2]}"
    return _MIDDLE.get(letters, name.strip().lower().replace(" ", "_"))


def _named_points(names):
    """`point_names` of a list out of a file; None where it is no list of different names, or
    none of them is known."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    ours = point_names(names)
    known = set(ours) & set(KEYPOINT_SETS[records.KEYPOINTS].names)
    return ours if known and len(set(ours)) == len(ours) else None


def _numbers(value, what, shape):
    """Numbers out of a file as an array (shape); null becomes NaN.

    Raises:
        LeftOut: they are ragged, text, or of another shape.
    """
    try:
        array = np.array(value, float)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise LeftOut(f"{what} that are not numbers in rows of equal length") from error
    if array.shape == (np.prod(shape),):
        array = array.reshape(shape)  # all in one row
    if array.shape != shape:
        raise LeftOut(f"{what} of shape {array.shape}, not {shape}")
    return array


def _box_corners(box):
    """[left, top, width, height] -> (2, 3) its corners, as known points; none of no area.

    Raises:
        LeftOut: it is not four finite numbers.
    """
    if box is None or box == []:
        return np.zeros((0, 3))
    left, top, width, height = _numbers(box, "a box", (4,)).tolist()
    if not np.isfinite([left, top, width, height]).all():
        raise LeftOut("a box that is not finite")
    if not (width > 0 and height > 0):
        return np.zeros((0, 3))
    return np.array([[left, top, 1], [left + width, top + height, 1]])


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


def _labels(keep):
    """Decorates what reads the labels of a sequence: `keep` of them are remembered.

    However many threads ask, a file is read once, and not again if it is damaged: then all that
    belongs to it is left out.
    """

    def decorate(read):
        slots = lru_cache(keep)(lambda arguments, changed: (Lock(), []))

        @wraps(read)
        def remembered(*arguments):
            lock, kept = slots(arguments, arguments[0].stat().st_mtime_ns)
            with lock:
                if not kept:
                    kept.append(_result_or_error(read, arguments))
            result, error = kept[0]
            if isinstance(error, safe_pickle.UnsafePickleError | ModuleNotFoundError | MemoryError):
                raise error
            if error is not None:
                raise LeftOut("labels that cannot be read") from error
            return result

        return remembered

    return decorate


def _result_or_error(read, arguments):
    try:
        return read(*arguments), None
    except Exception as error:  # each library has its own for a damaged file
        return None, error


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


def _matlab(path, *names):
    return foreign.read("mat", names, _require(path))


def _list(value):
    """MATLAB's struct array or cell array, of which it makes no list where there is but one."""
    return value if isinstance(value, list) else [value]


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
    joints = _joints(source, (3, 14))
    guesses = _blazepose(source) if pseudo_3d else None

    def load(index):
        image = read_image(source / "images", f"im{index + 1:04d}.jpg")
        x, y, hidden = joints[:, :, index]
        if not (x.any() or y.any()):
            raise LeftOut("no joints")
        points = np.stack([x, y, np.ones(14)], 1)
        return [_sports(image, points, hidden, "lsp", index, guesses)]

    indices = np.arange(joints.shape[2]).tolist()
    return Listing({"train": indices[:1000], "test": indices[1000:]}, load, _sports_name)


def lsp_extended(source, pseudo_3d=False):
    """Leeds Sports Pose Extended: 10,000 photographs of parkour, gymnastics and athletics.

        lspet_dataset/
          images/im00001.jpg ... im10000.jpg
          joints.mat      joints (14, 3, 10000): x, y, and 1 where the joint is *visible*

    Published as training data alone; here every tenth photograph validates. A joint that is not
    visible is not annotated.

    Source: Johnson and Everingham, CVPR 2011; lspet_dataset.zip from the authors' page. Licence:
    none is stated; for research, and a citation is asked for.

    Args:
        pseudo_3d: as for `lsp`.
    """
    joints = _joints(source, (14, 3))
    guesses = _blazepose(source) if pseudo_3d else None

    def load(index):
        image = read_image(source / "images", f"im{index + 1:05d}.jpg")
        points = joints[:, :, index]
        if not (points[:, 2] > 0).any():
            raise LeftOut("no joints")
        hidden = np.zeros(14)
        return [_sports(image, points, hidden, "lsp_extended", index, guesses)]

    indices = np.arange(joints.shape[2])
    kept = indices % 10 == 9
    splits = {"train": indices[~kept].tolist(), "validation": indices[kept].tolist()}
    return Listing(splits, load, _sports_name)


def _joints(source, shape):
    """LSP's labels: (*shape, N)."""
    joints = _matlab(source / "joints.mat", "joints")["joints"]
    try:
        joints = np.asarray(joints)
    except ValueError:  # lists of several lengths
        joints = np.empty(0)
    if joints.shape[:-1] != shape or joints.dtype.kind not in "biuf":
        raise DataSetError(
            f"{source / 'joints.mat'}: expected joints {(*shape, 'N')}, found {joints.shape} "
            f"of {joints.dtype}"
        )
    return joints.astype(float)


def _sports_name(index):
    return f"im{index + 1:05d}"


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
        "id": _sports_name(index),
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
    shapes = {"world": (33, 3), "visibility": (33,), "score": ()}
    world, visibility, score = _arrays(source / "blazepose.npz", shapes)

    def guesses(index):
        known = (visibility[index] >= 0.5) & (score[index] >= 0.5)
        if not known.any():
            return {}
        points = np.concatenate([world[index], known[:, None]], 1)
        return {"keypoints_3d": to_union(points, _BLAZEPOSE_33.split()), "pseudo_3d": 1}

    return guesses


def _arrays(path, shapes):
    """The arrays of an .npz by these names, each (N, *shape)."""
    try:
        archive = read_npz(_require(path))
    except ArchiveError as error:
        raise DataSetError(f"{path}: {error}") from error
    missing = [name for name in shapes if name not in archive]
    if missing:
        raise DataSetError(f"{path}: expected {', '.join(shapes)}; missing {', '.join(missing)}")
    arrays = [archive[name] for name in shapes]
    for array, (name, shape) in zip(arrays, shapes.items(), strict=True):
        if array.shape != (*arrays[0].shape[:1], *shape) or array.dtype.kind not in "biuf":
            raise DataSetError(f"{path}: expected {name} {('N', *shape)}, found {array.shape}")
    return arrays


def coco(source, min_points=MIN_POINTS):
    """COCO keypoints 2017: some 150,000 people in photographs, 17 points each; or any of its form.

        coco/
          train2017/000000000009.jpg ...
          val2017/000000000139.jpg ...
          annotations/person_keypoints_train2017.json
          annotations/person_keypoints_val2017.json

    Splits as published: train2017 and val2017 (validation); the test labels are not public.
    Groups of people (`iscrowd`) and people with fewer points than `min_points` are skipped.

    Other people's labels in COCO's form are read too (CVAT, CrowdPose): any .json of such content
    in the folder or in one below it, its split by the word train, val or test in its name, or else
    in its folder's (train if there is none); any points that the categories name, see
    `point_names`. The images are looked for in folders of the same name, in images/, beside the
    .json and in the folder itself. Labels were drawn on a picture that EXIF turns if `width` and
    `height` say so. A box of no area is taken from the points.

    Source: Lin et al., ECCV 2014; cocodataset.org, no registration. Licence: annotations CC BY
    4.0; the images are Flickr's, under their owners' terms.
    """
    files = _coco_files(source)
    if not files:
        _require(source / "annotations" / "person_keypoints_train2017.json")
    splits = {}
    for file, labels in enumerate(files):
        keys = sorted(labels.people, key=lambda key: (str(type(key)), key))
        splits.setdefault(labels.split, []).extend((file, key) for key in keys)

    def load(item):
        labels, key = files[item[0]], item[1]
        image = labels.images.get(key)
        if key is None or image is None:
            called = f"{labels.path.name}: image {key}"
            return [Skip("an image that is not listed", called) for _ in labels.people[key]]
        read = cache(lambda: _coco_image(labels.folders, image.get("file_name")))
        tried = _tried(
            lambda numbered: [_coco_person(labels, image, read, *numbered, min_points)],
            lambda numbered: f"{labels.path.name}: annotations[{numbered[0]}]",
        )
        return [tried(numbered)[0] for numbered in labels.people[key]]

    return Listing(splits, load, lambda item: f"{files[item[0]].path.name}: image {item[1]}")


class _CocoFile(NamedTuple):
    """A file of COCO's form: images by id, (number, annotation) by image, names by category."""

    path: Path
    split: str
    folders: list
    images: dict
    people: dict
    names: dict


def _coco_files(source):
    """The files of COCO's form in a folder and the ones below it."""
    found = {}
    for path in sorted([*source.glob("*.json"), *source.glob("*/*.json")]):
        if b'"keypoints"' in path.read_bytes():  # COCO's other labels are large, and have none
            labels = read_json(path)
            fields = (labels.get(name) for name in ("images", "annotations"))
            if all(isinstance(field, list) for field in fields):
                found[path] = labels
    return [_coco_file(source, path, labels, len(found) == 1) for path, labels in found.items()]


def _coco_file(source, path, labels, alone):
    kind = path.stem.removeprefix("person_keypoints_")
    folders = [source / kind, source / "images" / kind, source / "images", path.parent, source]
    labels_in = (path.parent, source / "annotations")
    others = [entry for entry in source.iterdir() if entry.is_dir() and entry not in labels_in]
    folders += others if alone and len(others) == 1 else []
    people = {}
    for number, person in enumerate(labels["annotations"]):
        key = _key(person.get("image_id")) if isinstance(person, dict) else None
        people.setdefault(key, []).append((number, person))
    categories = labels.get("categories")
    names = {
        _key(category.get("id")): _named_points(category.get("keypoints"))
        for category in (categories if isinstance(categories, list) else [])
        if isinstance(category, dict)
    }
    listed = {_key(one.get("id")): one for one in labels["images"] if isinstance(one, dict)}
    folders = [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
    return _CocoFile(path, _split_of(path), folders, listed, people, names)


def _split_of(path):
    """The split that the name of a file says, or else its folder's."""
    for name in (path.stem, path.parent.name):
        for word in re.findall("[a-z]+", name.lower()):
            if word in SPLITS:
                return SPLITS[word]
    return "train"


def _key(value):
    """An id: 1, 1.0 and "1" are the same. None where it is no id."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | str) else None


def _coco_image(folders, name):
    """The bytes of an image, from the first of the folders that has it."""
    missing = LeftOut("no image")
    for folder in folders:
        try:
            return read_image(folder, name)
        except LeftOut as error:
            missing = error
    raise missing


def _coco_person(labels, image, read, number, person, min_points):
    if person.get("iscrowd"):
        raise LeftOut("a crowd")
    if not person.get("keypoints"):
        raise LeftOut("no keypoints")
    given = len(person["keypoints"]) // 3
    names = labels.names.get(_key(person.get("category_id")))
    if names is None and given == 17:
        names = KEYPOINT_SETS["coco-17"].names
    if names is None:
        raise LeftOut(f"{given} points, which no category names as points of a body")
    points = _numbers(person["keypoints"], "keypoints", (len(names), 3))
    flag = points[:, 2]  # 0 not labelled, 1 labelled but hidden, 2 visible
    if (flag > 0).sum() < min_points:
        raise LeftOut(f"fewer than {min_points} points")
    points = np.stack([points[:, 0] + 0.5, points[:, 1] + 0.5, flag > 0], 1)
    corners = _box_corners(person.get("bbox"))
    margin = 1.0 if len(corners) else POINTS_MARGIN
    center, size = records.box_around(np.concatenate([points, corners]), margin)
    sample = {
        "image": read(),
        "center": center,
        "size": size,
        "keypoints_2d": to_union(points, names),
        "occluded": to_union((flag == 1)[:, None], names)[:, 0],
        "source": "coco",
        "id": str(_key(person.get("id")) if "id" in person else f"{labels.path.name}/{number}"),
    }
    drawn_on = (image.get("width"), image.get("height"))
    return crop_to_person(sample, by_hand=True, upright=drawn_on)


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
    path = nested if nested.exists() else source / name
    release = _matlab(path, "RELEASE")["RELEASE"]
    try:
        entries = _list(release["annolist"])
        training = np.atleast_1d(release["img_train"]).astype(bool)
    except (KeyError, TypeError, ValueError) as error:
        raise DataSetError(f"{path}: expected RELEASE.annolist and .img_train") from error

    def load(index):
        if not training[index]:
            return [Skip("a test image: its labels are not public")]
        entry = entries[index]
        people = [one for one in _list(entry["annorect"]) if isinstance(one, dict)]
        if not people:
            return [Skip("no person")]
        file = entry["image"]["name"]
        tried = _tried(
            lambda one: [_mpii_person(source / "images", file, *one, min_points)],
            lambda one: f"{file}/{one[0]}",
        )
        return [tried(numbered)[0] for numbered in enumerate(people)]

    return Listing(
        {"train": list(range(len(entries)))}, load, lambda index: f"annolist({index + 1})"
    )


def _mpii_person(folder, file, number, person, min_points):
    points, hidden = np.zeros((16, 3)), np.zeros((16, 1))
    annotated = person.get("annopoints")
    for point in _list(annotated["point"]) if isinstance(annotated, dict) else []:
        row = int(point["id"])
        if not 0 <= row < 16:
            raise LeftOut("a point that is none of the 16")
        points[row] = (point["x"] - 0.5, point["y"] - 0.5, 1)  # MATLAB counts from 1
        flag = str(point.get("is_visible", ""))  # "" for neck and head, which always are
        hidden[row] = flag == "0"
    if points[:, 2].sum() < min_points:
        raise LeftOut(f"fewer than {min_points} points")
    points = to_union(points, "mpii-16")
    center, size = records.box_around(points)
    sample = {
        "image": read_image(folder, file),
        "center": center,
        "size": size,
        "keypoints_2d": points,
        "occluded": to_union(hidden, "mpii-16")[:, 0],
        "source": "mpii",
        "id": f"{Path(file).stem}/{number}",
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
        videos = [video for video in videos if re.fullmatch(r"video_\d{1,3}", video.name)]
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
        sequence = _3dhp_test(path) if video is None else _3dhp_train(path, video)
        name = f"{path.parent.relative_to(source)}/{'test' if video is None else video}/{number}"
        return [_studio_sample(sequence, number, image, "mpi_inf_3dhp", name)]

    return Listing({"train": train, "test": test}, load, _frame_name)


def _frame_name(item):
    """What a frame of a sequence is called where it is skipped, from (labels, ..., image)."""
    labels, *_, image = item
    return str(labels if image is None else Path(*image.parts[-3:]))


class Sequence(NamedTuple):
    """Labels of one camera's frames: names, (F, J, 2) pixels, (F, J, 3) m, camera, which count."""

    names: list
    points_2d: np.ndarray
    points_3d: np.ndarray
    camera: np.ndarray | None
    valid: np.ndarray


def _sequence(names, points_2d, millimetres, valid=None):
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is not finite
        points_2d = np.asarray(points_2d, np.float32).reshape(-1, len(names), 2)
        points_3d = np.asarray(millimetres, np.float32).reshape(-1, len(names), 3) / 1000
    if len(points_2d) != len(points_3d):
        raise DataSetError(f"{len(points_2d)} frames in 2D and {len(points_3d)} in 3D")
    valid = np.ones(len(points_2d), bool) if valid is None else np.asarray(valid).ravel() > 0
    if len(valid) != len(points_2d):
        raise DataSetError(f"{len(points_2d)} frames, and {len(valid)} marks of which are valid")
    finite = np.isfinite(points_2d).all((1, 2)) & np.isfinite(points_3d).all((1, 2))
    some = np.flatnonzero(valid & finite & (points_3d[..., 2] > 0).all(1))
    some = some[:: max(1, len(some) // 100)]
    camera = None
    if some.size:
        camera = fit_camera(points_2d[some].reshape(-1, 2), points_3d[some].reshape(-1, 3))
    return Sequence(names, points_2d, points_3d, camera, valid)


@_labels(keep=4)
def _3dhp_annotation(path):
    values = foreign.read("mat", ["annot2", "annot3"], path)
    return _list(values["annot2"]), _list(values["annot3"])


@_labels(keep=32)
def _3dhp_train(path, video):
    pixels, millimetres = _3dhp_annotation(path)
    return _sequence(_3DHP_28.split(), pixels[video], millimetres[video])


@_labels(keep=8)
def _3dhp_test(path):
    names = ["annot2", "annot3", "valid_frame"]  # MATLAB's version 7.3 is HDF5
    values = foreign.read("hdf5", names, path)
    return _sequence(_3DHP_17.split(), *(values[name] for name in names))


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
        "image": read_image(image.parent, image.name),
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
        return [_studio_sample(_h36m_sequence(path), number, image, "h36m", name)]

    return Listing(splits, load, _frame_name)


@_labels(keep=16)
def _h36m_sequence(path):
    if find_spec("cdflib") is None:
        raise ModuleNotFoundError('to read .cdf files: pip install "hmrlib[h36m]"')
    flat = _require(path.parents[1] / "D2_Positions" / path.name)
    values = foreign.read("cdf", ["Pose"], flat, path)
    in_2d, in_3d = (
        np.asarray(value["Pose"]).reshape(-1, 32, axes)
        for value, axes in zip(values, (2, 3), strict=True)
    )
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
                length = len(_3dpw_sequence(path)["cam_poses"])
            except (LeftOut, LookupError, TypeError):
                length = 1  # where the reason is counted
            splits[split] += [(path, frame) for frame in range(length)]
    if not any(splits.values()):
        _require(source / "sequenceFiles" / "train")

    def load(item):
        path, frame = item
        labels = _3dpw_sequence(path)
        image = source / "imageFiles" / path.stem / f"image_{frame:05d}.jpg"
        tried = _tried(
            lambda person: [_3dpw_person(labels, frame, person, image)],
            lambda person: f"{path.stem}/{person}/{frame}",
        )
        return [tried(person)[0] for person in range(len(labels["poses"]))]

    return Listing(splits, load, lambda item: f"{item[0].stem}/{item[1]}")


@_labels(keep=4)
def _3dpw_sequence(path):
    with open(path, "rb") as file:
        try:
            return safe_pickle.load(file)
        except safe_pickle.UnsafePickleError as error:
            raise safe_pickle.UnsafePickleError(f"{path}: {error}") from error


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
        "image": read_image(image.parent, image.name),
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

    It becomes a pose library and no records: see `motion.gather.build_library`. The published
    splits go by the first folder, which `clip_folders` keeps: HumanEva, MPI_HDM05, SFU and
    MPI_mosh validate, Transitions_mocap and SSM_synced test, the others train.

    Source: Mahmood et al., ICCV 2019; amass.is.tue.mpg.de, after registration. Licence: for
    non-commercial research.

    Returns:
        path of the library, and the table of what was taken and skipped.
    """
    from hmrlib.body.model import load_body
    from hmrlib.motion.gather import build_library

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

    Pixels are counted so that the first pixel's centre is (0.5, 0.5), in the picture as viewers and
    labelling tools show it: turned as its EXIF orientation says. A split is train, validation or
    test. A box of no area is taken from the points. All else is as in `hmrlib.data.records`.
    Licence: yours to say.
    """
    path = _require(source / "labels.json")
    labels = read_json(path)
    people = labels.get("people") if isinstance(labels, dict) else None
    if not isinstance(people, list) or "keypoints" not in labels:
        raise DataSetError(f'{path}: expected JSON {{"keypoints": ..., "people": [...]}}')
    names = _own_names(path, labels["keypoints"])
    splits = {}
    for number, person in enumerate(people):
        splits.setdefault(_own_split(person) or "train", []).append(number)

    def load(number):
        return [_own_person(source, number, people[number], names)]

    return Listing(splits, load, lambda number: f"labels.json: people[{number}]")


def _own_names(path, names):
    """The names of the points of one's own labels."""
    if isinstance(names, str) and names in KEYPOINT_SETS:
        return KEYPOINT_SETS[names].names
    ours = _named_points(names)
    if ours is None:
        raise DataSetError(
            f"{path}: expected keypoints to be one of {', '.join(KEYPOINT_SETS)}, or a list of "
            f"different names, some of them points of {records.KEYPOINTS}; found {names!r:.80}"
        )
    return ours


def _own_split(person):
    """train, validation or test; None where it is something else."""
    given = person.get("split") if isinstance(person, dict) else None
    return "train" if given is None else SPLITS.get(given) if isinstance(given, str) else None


def _own_person(source, number, person, names):
    if not isinstance(person, dict):
        raise LeftOut("a person that is no object of JSON")
    if _own_split(person) is None:
        raise LeftOut("a split that is none of train, validation and test")
    if person.get("keypoints") is None:
        raise LeftOut("no keypoints")
    count = len(names)
    points = _numbers(person["keypoints"], "keypoints", (count, 3))
    confidence = points[:, 2]  # of a detector: a little above 1 at times, -1 for what is not seen
    points[:, 2] = np.where(confidence <= 1.1, np.clip(confidence, 0, 1), confidence)
    image = read_image(source, person.get("image"))
    corners = _box_corners(person.get("box"))
    if not len(corners) and not (points[:, 2] > 0).any():
        raise LeftOut("neither a box nor a point")
    boxed = len(corners) > 0
    center, size = records.box_around(corners if boxed else points, 1.0 if boxed else POINTS_MARGIN)
    sample = {
        "image": image,
        "center": center,
        "size": size,
        "keypoints_2d": to_union(points, names),
        "source": source.name,
        "id": f"{person['image']}/{number}",
    }
    given = {name: value for name, value in person.items() if value is not None}
    if "occluded" in given:
        occluded = _numbers(given["occluded"], "occluded", (count, 1))
        sample["occluded"] = to_union(occluded, names)[:, 0]
    if "keypoints_3d" in given:
        points_3d = _numbers(given["keypoints_3d"], "keypoints_3d", (count, 4))
        sample["keypoints_3d"] = to_union(points_3d, names)
    for field in ("pose", "betas", "translation", "camera"):
        if field in given:
            sample[field] = _numbers(given[field], field, records.FLOATS[field])
    return crop_to_person(sample, upright=True)


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
