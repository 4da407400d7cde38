"""Pseudo poses: bodies fitted to annotated photographs, as labels to train on.

A photograph with annotated points says nothing of depth. The landmark network guesses it; the
annotated points take the place of its own in the picture, and the body is fitted to both
(`refine`). What comes of it is kept where it is likely to be right: the body's points are near the
annotated ones, its limbs lean the way that the guessed depths say, and no joint is bent too far.
All others stay as they were, points in the picture. Kept poses are marked `pseudo_3d`.

Joo et al., "Exemplar Fine-Tuning for 3D Human Model Fitting" (2021) showed how much such labels are
worth.
"""

import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from hmrlib import fitting, skeleton
from hmrlib.data import records
from hmrlib.data.datasets.points import torso_length
from hmrlib.io import atomic_write, locked
from hmrlib.prediction.landmarks import LANDMARK_NAMES
from hmrlib.prediction.predictor import TOGETHER, Predictor

UNION = skeleton.KEYPOINT_SETS[records.KEYPOINTS].names
LIMBS = UNION[:12]
_BONES = [
    (f"{side}_{upper}", f"{side}_{lower}")
    for side in ("left", "right")
    for upper, lower in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"),
                         ("elbow", "wrist"))
]  # fmt: skip
LEANS = 0.12  # metres of depth along a bone from which on it leans one way for sure


class PseudoError(ValueError):
    """Records that cannot be fitted; the message says why."""


class Limits(NamedTuple):
    """What a fit must reach to be kept.

    Attributes:
        residual: mean distance of the limbs' points from the annotated ones, at most, in torsos.
        against: bones, at most, that lean against the guessed depth.
        degrees: by which the worst joint is beyond its limits, at most.
    """

    residual: float = 0.2
    against: int = 1
    degrees: float = 5.0


class Judgement(NamedTuple):
    """How good a fit is: see `Limits`; and in words why it is not kept, or ""."""

    residual: float
    against: int
    degrees: float
    refused: str


def fit_records(source, out, limits=Limits(), predictor=None, progress=True):  # noqa: B008
    """Write records again, with the poses of those whose fit is kept.

    A finished shard is kept, so that the same call goes on where it was stopped.

    Args:
        source: a folder of records with points in the picture.
        out: another folder, made if need be.
        limits: `Limits`.
        predictor: `hmrlib.prediction.predictor.Predictor`; None: the one that ships.
        progress: show a bar.

    Returns:
        the index, see `records.write_index`; its `notes` count what was kept and why others were
        not. `fits.json` in `out` has every fit's `Judgement`, by the sample's id.

    Raises:
        PseudoError: `out` is `source`, or was made from other records or by other limits.
        records.RecordError: there are no records.
        hmrlib.io.FolderInUseError: another run writes into `out`.
    """
    source, out = Path(source), Path(out)
    if source.resolve() == out.resolve():
        raise PseudoError(f"{out}: give another folder than that of the records")
    shards = records.find_shards(source)
    about = {"source": f"pseudo poses of {source.name}", "limits": limits._asdict(),
             "shards": {path.name: path.stat().st_size for path in shards}}  # fmt: skip
    predictor = predictor or Predictor()
    with locked(out):
        _check_same(out, about)
        records.write_index(out, **about)
        total = sum(len(records.Records([path])) for path in shards)
        with tqdm(total=total, desc="fits", unit="people", disable=not progress) as bar:
            for path in shards:
                _fit_shard(path, out / path.name, limits, predictor, bar)
        _join_judgements(out, shards)
        _write_library(out)
        return records.write_index(out, **about)


def _fit_shard(path, to, limits, predictor, bar):
    read = records.Records([path])
    if records.finished(to) is not None and _judgements(to).exists():
        bar.update(len(read))
        return
    notes, judged = Counter(), {}

    def samples():
        for start in range(0, len(read), TOGETHER):
            chunk = [read.read(i, images=False)
                     for i in range(start, min(start + TOGETHER, len(read)))]  # fmt: skip
            yield from _fitted(chunk, limits, predictor, notes, judged)
            bar.update(len(chunk))

    records.write_shard(to, samples(), notes=notes)
    with atomic_write(_judgements(to)) as file:
        file.write(json.dumps({key: one._asdict() for key, one in judged.items()}).encode())


def _fitted(samples, limits, predictor, notes, judged):
    """The samples, some with a pose."""
    able = [sample for sample in samples if not sample["has_pose"] and _can_be_fitted(sample)]
    notes["has a pose already"] += sum(bool(sample["has_pose"]) for sample in samples)
    notes["too few points to fit"] += sum(
        not sample["has_pose"] and not _can_be_fitted(sample) for sample in samples
    )
    fits = {}
    if able:
        photographs, found = zip(
            *(predictor.find_recorded(sample, annotated=True) for sample in able), strict=True
        )
        fits = {
            id(sample): people[0]
            for sample, people in zip(able, predictor.answer(photographs, found), strict=True)
        }
    for sample in samples:
        person = fits.get(id(sample))
        if person is not None:
            judged[sample["id"]] = judge(person, sample["keypoints_2d"], limits)
            refused = judged[sample["id"]].refused
            notes[refused.split(":")[0] if refused else "kept"] += 1
            if not refused:
                sample = sample | labels_of(person, predictor.body)
        yield _encoded(sample)


def judge(person, keypoints, limits=Limits()):  # noqa: B008
    """Whether a fit is likely to be right.

    Args:
        person: a refined `Person`.
        keypoints: (22, 3) annotated points, pixels and confidence.
        limits: `Limits`.

    Returns:
        `Judgement`.
    """
    limbs = [UNION.index(name) for name in LIMBS]
    known = keypoints[limbs, 2] > 0
    points, seen = keypoints[limbs, :2], person.keypoints_2d("union-22")[limbs]
    residual = float(np.linalg.norm(seen - points, axis=-1)[known].mean() / torso_length(keypoints))
    against = _against(person)
    degrees = float(beyond_limits(person.pose[None]).max())
    if not person.refined:
        refused = f"not fitted: {person.note}"
    elif residual > limits.residual:
        refused = "far from the points"
    elif against > limits.against:
        refused = "leans against the depth"
    elif degrees > limits.degrees:
        refused = "beyond the joints' limits"
    else:
        refused = ""
    return Judgement(residual, against, degrees, refused)


def beyond_limits(pose):
    """How far each joint is beyond `skeleton.JOINT_LIMITS`, (N, 24) degrees; 0 within.

    Args:
        pose: (N, 24, 3) axis-angle.
    """
    off = np.asarray(fitting.beyond_limits(np.asarray(pose, np.float32)))
    return np.degrees(off).max(axis=-1)


def labels_of(person, body):
    """The labels of a record that a fitted person gives, marked as another model's guess."""
    posed = body(person.betas[None], person.pose[None])
    points = np.asarray(body.keypoints(posed, records.KEYPOINTS))[0] + person.translation
    return {
        "pose": person.pose,
        "betas": person.betas[:10],
        "translation": person.translation,
        "camera": np.array([person.camera.focal, *person.camera.center]),
        "keypoints_3d": np.concatenate([points, np.ones((len(points), 1))], axis=1),
        "has_pose": 1,
        "has_betas": 1,
        "has_camera": 1,
        "pseudo_3d": 1,
    }


def _encoded(sample):
    image = records.Jpeg(sample["image"])
    image.shape = records.image_shape(sample["image"])
    return sample | {"image": image}


def _can_be_fitted(sample):
    """A diagonal of the torso and six points of the limbs: less leaves the body free."""
    points = sample["keypoints_2d"]
    return torso_length(points) > 0 and (points[:12, 2] > 0).sum() >= 6


def _against(person):
    """How many bones lean one way in the fit and the other way by the guessed depths."""
    if person.landmarks is None:
        return 0
    guess = person.landmarks.world[:, 2]
    count = 0
    for upper, lower in _BONES:
        ends = [LANDMARK_NAMES.index(name) for name in (lower, upper)]
        own = [skeleton.JOINT_NAMES.index(name) for name in (lower, upper)]
        guessed, found = guess[ends[0]] - guess[ends[1]], np.subtract(*person.joints[own, 2])
        count += bool(min(abs(guessed), abs(found)) > LEANS and guessed * found < 0)
    return count


# --- what is beside the shards -------------------------------------------------------------------


def coverage(folder):
    """How many people of each bearing are kept: a Markdown table of a folder of `fit_records`."""
    kinds = {name: Counter() for name in ("upright", "leaning", "lying", "upside down")}
    for sample in records.open_records(folder):
        if sample["pseudo_3d"] and sample["has_pose"]:
            kinds[_bearing(sample["keypoints_3d"])][_facing(sample["keypoints_3d"])] += 1
    ways = ("towards", "sideways", "away")
    lines = [f"| kept | {' | '.join(ways)} |", "|:--|--:|--:|--:|"]
    lines += [
        f"| {name} | {' | '.join(f'{counts[way]:,}' for way in ways)} |"
        for name, counts in kinds.items()
    ]
    return "\n".join(lines)


def _middle(points, name):
    return points[[UNION.index(f"left_{name}"), UNION.index(f"right_{name}")], :3].mean(axis=0)


def _bearing(points):
    spine = _middle(points, "shoulder") - _middle(points, "hip")
    angle = np.degrees(np.arccos(-spine[1] / np.linalg.norm(spine)))  # y points down
    edges = {"upright": 30, "leaning": 60, "lying": 120, "upside down": 181}
    return next(name for name, edge in edges.items() if angle < edge)


def _facing(points):
    spine = _middle(points, "shoulder") - _middle(points, "hip")
    across = points[UNION.index("left_hip"), :3] - points[UNION.index("right_hip"), :3]
    forward = np.cross(across, spine)
    share = forward[2] / max(np.linalg.norm(forward), 1e-9)
    return "sideways" if abs(share) < 0.5 else ("away" if share > 0 else "towards")


def _judgements(path):
    return path.with_suffix(".fits")


def _join_judgements(out, shards):
    every = {}
    for path in shards:
        every |= json.loads(_judgements(out / path.name).read_text("utf-8"))
    with atomic_write(out / "fits.json") as file:
        file.write(json.dumps(every, indent=1).encode())


def _write_library(out):
    """The kept poses as `motion.library` reads them: the root from the camera's frame, whose y
    points down, into one whose y points up."""
    shards = [path for path in records.find_shards(out) if path.name.startswith("train-")]
    read = records.Records(shards) if shards else ()
    samples = (read.read(i, images=False) for i in range(len(read)))
    fitted = [sample for sample in samples if sample["pseudo_3d"] and sample["has_pose"]]
    if not fitted:
        return
    pose = np.stack([sample["pose"] for sample in fitted]).astype(np.float32)
    turn = Rotation.from_rotvec([np.pi, 0, 0])
    pose[:, 0] = (turn * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    with atomic_write(out / "poses.npz") as file:
        np.savez_compressed(file, pose=pose)


def _check_same(out, about):
    index = out / "index.json"
    if not index.exists():
        return
    try:
        told = json.loads(index.read_text("utf-8"))
    except ValueError as error:
        raise PseudoError(f"{index}: no JSON ({error}); take another folder") from error
    other = [name for name, value in about.items() if told.get(name) != value]
    if other:
        raise PseudoError(f"{out}: was made with other {', '.join(other)}; take another folder")
