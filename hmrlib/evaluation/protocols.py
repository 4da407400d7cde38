"""The field's protocols: which samples, which points, which measures; and how sure the means are.

Whoever is judged is a function from a batch to an `Answer`, so that a network, a fit and the mean
body stand in one table. Nobody's sample is left out: an answer that is not finite counts as wrong
where shares are counted, and as failed, by number, where distances are averaged.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from keras import ops
from tqdm import tqdm

from hmrlib import fitting, geometry
from hmrlib.camera import crop_box
from hmrlib.data.pipeline import MixedDataset
from hmrlib.data.records import KEYPOINTS, RecordError, open_records
from hmrlib.evaluation import metrics
from hmrlib.evaluation.validation import mean_model
from hmrlib.io import atomic_write
from hmrlib.skeleton import JOINT_NAMES, KEYPOINT_SETS

UNION = KEYPOINT_SETS[KEYPOINTS].names
LIMBS = UNION[:12]
RESAMPLES = 1000  # of the bootstrap


class ProtocolError(ValueError):
    """Something cannot be judged: the message says what is missing."""


class Answer(NamedTuple):
    """What somebody says of the B people of a batch; None is: that he cannot say.

    Attributes:
        keypoints_2d: (B, 22, 2) `union-22`, pixels of the crop.
        keypoints_3d: (B, 22, 3) metres, the camera's frame, anywhere in it.
        rotations: (B, 24, 3, 3) relative to the parents, the first in the camera's frame.
        vertices, joints: (B, V, 3), (B, 24, 3) metres.
    """

    keypoints_2d: Any
    keypoints_3d: Any = None
    rotations: Any = None
    vertices: Any = None
    joints: Any = None


class Truth(NamedTuple):
    """The same of a batch's labels, NaN where they know nothing; and the sides that measure it."""

    keypoints_2d: np.ndarray
    keypoints_3d: np.ndarray
    rotations: np.ndarray
    vertices: np.ndarray | None
    joints: np.ndarray | None
    box: np.ndarray  # (B,) the larger side around the known points, pixels of the crop


# --- measures ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measure:
    """A measure of `Answer` against `Truth`.

    Attributes:
        title, unit: as a table writes them.
        needs: the field of `Answer` and `Truth` that it compares.
        of: function of the two, (B,) or (B, points): NaN where the truth is not known.
        share: of points that are right; what is not finite is then wrong.
    """

    title: str
    unit: str
    needs: str
    of: Callable
    share: bool = False


def _ends(first, second):
    first, second = UNION.index(first), UNION.index(second)
    return lambda truth: np.linalg.norm(
        truth.keypoints_2d[:, first] - truth.keypoints_2d[:, second], axis=-1
    )


TORSO, HEAD = _ends("left_shoulder", "right_hip"), _ends("neck", "head_top")


def _pck(within, length):
    """PCK: the share of points, %, that are nearer to the true one than a part of a length."""

    def of(answer, truth):
        off = np.linalg.norm(answer.keypoints_2d - truth.keypoints_2d, axis=-1)
        reach = within * length(truth)[:, None]
        right = np.where(np.isfinite(off), off, np.inf) <= reach
        known = np.isfinite(truth.keypoints_2d[..., 0]) & np.isfinite(reach)
        return np.where(known, 100.0 * right, np.nan)

    return of


def _whole(distances, answer, truth):
    """A measure of points in space, of the people whose 14 points are all known."""
    count = len(metrics.EVALUATED)
    predicted, true = answer.keypoints_3d[:, :count], truth.keypoints_3d[:, :count]
    known = np.isfinite(true).all(axis=(1, 2))
    failed = ~np.isfinite(predicted).all(axis=(1, 2))
    found = np.full(true.shape[:2], np.nan)
    found[known & failed] = np.inf
    use = known & ~failed
    if use.any():
        found[use] = distances(predicted[use], true[use])
    return found


def _mpjpe(answer, truth):
    return 1000 * _whole(metrics.joint_distances, answer, truth)


def _pa_mpjpe(answer, truth):
    return 1000 * _whole(metrics.aligned_joint_distances, answer, truth)


def _auc(answer, truth):
    return 100 * metrics.auc(_whole(metrics.joint_distances, answer, truth))


def _pck_3d(answer, truth):
    found = _whole(metrics.joint_distances, answer, truth)
    return np.where(np.isnan(found), np.nan, 100.0 * (found <= 0.15))


def _pve(answer, truth):
    found = np.full(len(truth.vertices), np.nan)
    known = np.isfinite(truth.vertices).all(axis=(1, 2))
    finite = np.isfinite(answer.vertices).all(axis=(1, 2))
    found[known & ~finite] = np.inf
    use = known & finite
    if use.any():
        pairs = [(who.vertices[use], who.joints[use]) for who in (answer, truth)]
        found[use] = 1000 * metrics.pve(*pairs)
    return found


def _mpjae(answer, truth):
    found = np.full((len(truth.rotations), len(metrics.PARTS)), np.nan)
    known = np.isfinite(truth.rotations).all(axis=(1, 2, 3))
    finite = np.isfinite(answer.rotations).all(axis=(1, 2, 3))
    found[known & ~finite] = np.inf
    use = known & finite
    found[use] = np.degrees(metrics.part_angles(answer.rotations[use], truth.rotations[use]))
    return found


MEASURES = {
    "pck_0.2": Measure("PCK@0.2", "%", "keypoints_2d", _pck(0.2, TORSO), share=True),
    "pck_0.5": Measure("PCK@0.5", "%", "keypoints_2d", _pck(0.5, TORSO), share=True),
    "pckh": Measure("PCKh@0.5", "%", "keypoints_2d", _pck(0.5, HEAD), share=True),
    "box_0.05": Measure(
        "PCK@0.05, box", "%", "keypoints_2d", _pck(0.05, lambda truth: truth.box), share=True
    ),
    "box_0.1": Measure(
        "PCK@0.1, box", "%", "keypoints_2d", _pck(0.1, lambda truth: truth.box), share=True
    ),
    "mpjpe": Measure("MPJPE", "mm", "keypoints_3d", _mpjpe),
    "pa_mpjpe": Measure("PA-MPJPE", "mm", "keypoints_3d", _pa_mpjpe),
    "pck_3d": Measure("PCK3D@150 mm", "%", "keypoints_3d", _pck_3d, share=True),
    "auc": Measure("AUC", "%", "keypoints_3d", _auc, share=True),
    "pve": Measure("PVE", "mm", "vertices", _pve),
    "mpjae": Measure("MPJAE", "°", "rotations", _mpjae),
}
ACCELERATION = Measure("Accel", "mm/s²", "keypoints_3d", None)


# --- protocols -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Protocol:
    """Who is asked about what.

    Attributes:
        title: of its table.
        about: what is done, and who does so; a sentence or two.
        measures: names of `MEASURES`.
        split: of the records.
        else_split: taken, and said, where `split` has no sample.
        points: names, of `union-22`, that are judged in the picture.
        keep: a pattern, of the samples' ids that count.
        action: a pattern whose group is a sample's action, for a table by action.
        clip: a pattern with two groups, of a sample's clip and frame, where frames follow one
            another; `fps` then gives accelerations.
    """

    title: str
    about: str
    measures: tuple[str, ...]
    split: str = "test"
    else_split: str | None = None
    points: tuple[str, ...] = UNION
    keep: str | None = None
    action: str | None = None
    clip: str | None = None
    fps: float | None = None


_SPACE = ("mpjpe", "pa_mpjpe")
_BODY = (*_SPACE, "pve", "mpjae")

PROTOCOLS = {
    "lsp": Protocol(
        "Leeds Sports Pose",
        "Twelve limb points; near is by the torso, left shoulder to right hip (Yang and Ramanan "
        "2013).",
        ("pck_0.2", "pck_0.5"),
        else_split="train",
        points=LIMBS,
    ),
    "lsp_extended": Protocol(
        "Leeds Sports Pose Extended, every tenth photograph",
        "Near is by the box around the known points, as HMR2.0 counts (Goel et al. 2023), and by "
        "the torso. Training leaves these photographs out: `hmr data convert` gives them to the "
        "split `validation`.",
        ("box_0.05", "box_0.1", "pck_0.2", "pck_0.5"),
        split="validation",
        points=KEYPOINT_SETS["lsp-14"].names,
    ),
    "coco": Protocol(
        "COCO, val2017",
        "Near is by the box around the known points (Goel et al. 2023).",
        ("box_0.05", "box_0.1"),
        split="validation",
        points=KEYPOINT_SETS["coco-17"].names,
    ),
    "mpii": Protocol(
        "MPII Human Pose",
        "PCKh (Andriluka et al. 2014), by half of the way from neck to head top: the annotated "
        "rectangle of the head is not in the records.",
        ("pckh",),
        split="validation",
        else_split="train",
        points=KEYPOINT_SETS["mpii-16"].names,
    ),
    "3dpw": Protocol(
        "3DPW, test",
        "14 joints, as HMR's successors do (Kolotouros et al. 2019).",
        _BODY,
        action=r"^([^/]*?)_\d+/",
        clip=r"^(.*)/(\d+)$",
        fps=30.0,
    ),
    "h36m_p1": Protocol(
        "Human3.6M, protocol 1",
        "Subjects 9 and 11, all four cameras, 14 joints (Kanazawa et al. 2018).",
        _SPACE,
        action=r"^S\d+/(\w+)",
    ),
    "h36m_p2": Protocol(
        "Human3.6M, protocol 2",
        "Subjects 9 and 11, the frontal camera alone, 14 joints (Kanazawa et al. 2018).",
        _SPACE,
        keep=r"60457274",
        action=r"^S\d+/(\w+)",
    ),
    "mpi_inf_3dhp": Protocol(
        "MPI-INF-3DHP, test",
        "PCK within 150 mm and the area under its curve (Mehta et al. 2017), centred between the "
        "hips, 14 joints.",
        (*_SPACE, "pck_3d", "auc"),
        action=r"^(TS\d+)",
    ),
    "synthetic": Protocol(
        "Rendered strangers",
        "People whom `hmr data render` draws from a seed of their own; all is known of them.",
        (*_BODY, "pck_0.2", "pck_0.5"),
        split="train",
        points=LIMBS,
    ),
}
SYNTHETIC = {"people": 2000, "seed": 12}  # of `hmr data render`


# --- who is judged -------------------------------------------------------------------------------


def network(hmr):
    """A network as one who is judged."""

    def answer(batch):
        box = ops.convert_to_numpy(crop_box(batch, hmr.size)) if hmr.box_input else None
        last = hmr.recover(batch["image"], box, len(batch["image"]))[-1]
        return Answer(
            (last.keypoints_2d + 1) * hmr.size / 2,
            last.keypoints,
            last.rotations,
            last.vertices,
            last.joints,
        )

    return answer


def mean_body(hmr):
    """The mean pose and shape for everybody, in the middle of the crop."""
    return network(mean_model(hmr))


def smplify(body, prior, size):
    """The body fitted to the true keypoints of the picture: how far these alone lead.

    People of whose torso fewer than two points are known cannot be fitted: NaN.
    """

    def answer(batch):
        points = batch["keypoints_2d"]
        has = batch["has_camera"][:, None] > 0
        guess = np.array([size * np.sqrt(2), size / 2, size / 2], np.float32)
        camera = np.where(has, batch["camera"], guess)
        torso = [UNION.index(f"{side}_{part}") for side in ("left", "right")
                 for part in ("hip", "shoulder")]  # fmt: skip
        use = (points[:, torso, 2] > 0).sum(axis=1) >= 2
        count, vertices = len(points), len(body.v_template)
        found = Answer(
            *(np.full((count, *shape), np.nan, np.float32) for shape in (
                (22, 2), (22, 3), (24, 3, 3), (vertices, 3), (24, 3)))
        )  # fmt: skip
        if use.any():
            fit = fitting.fit_keypoints(body, points[use], camera[use], prior)
            rotations = geometry.axis_angle_to_matrix(ops.convert_to_tensor(fit.pose))
            posed = body(fit.betas, rotations)
            keypoints = ops.convert_to_numpy(body.keypoints(posed, KEYPOINTS))
            keypoints = keypoints + fit.translation[:, None]
            focal, middle = camera[use][:, None, :1], camera[use][:, None, 1:]
            seen = focal * keypoints[..., :2] / keypoints[..., 2:] + middle
            parts = (seen, keypoints, rotations, posed.vertices, posed.joints)
            for whole, part in zip(found, parts, strict=True):
                whole[use] = ops.convert_to_numpy(part)
        return found

    return answer


# --- judging -------------------------------------------------------------------------------------


class Score(NamedTuple):
    """One measure of one who is judged.

    Attributes:
        mean, low, high: over all known points, and its 95 % interval by resampling people.
        percentiles: 50th, 90th and 95th of the people's own means.
        people: how many know enough; failed: how many of them got no finite answer.
    """

    mean: float
    low: float
    high: float
    percentiles: tuple[float, float, float]
    people: int
    failed: int


def score(values, seed=0):
    """A `Score`, from (N,) or (N, points) values: NaN where nothing is known, inf where failed.

    Raises:
        ProtocolError: nothing is known at all.
    """
    values = np.asarray(values, float).reshape(len(values), -1)
    known = ~np.isnan(values)
    counts = known.sum(axis=1)
    if not counts.any():
        raise ProtocolError("not one sample has the labels that this measure needs")
    values, counts = values[counts > 0], counts[counts > 0]
    sums = np.nansum(values, axis=1)
    failed = int(np.isinf(sums).sum())
    people = sums / counts
    low = high = np.inf
    if not failed:
        rng = np.random.default_rng(seed)
        drawn = rng.integers(len(sums), size=(RESAMPLES, len(sums)))
        means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
    quantiles = np.quantile(people, [0.5, 0.9, 0.95], method="nearest")
    mean = sums.sum() / counts.sum()
    return Score(
        float(mean), float(low), float(high), tuple(map(float, quantiles)), len(sums), failed
    )


class Results(NamedTuple):
    """Of a protocol: `values[who][measure]`, (N,) or (N, points), and the samples' `ids`."""

    protocol: Protocol
    ids: list[str]
    values: dict[str, dict[str, np.ndarray]]

    def scores(self, seed=0):
        """who -> measure -> `Score`."""
        return {
            who: {name: score(values, seed) for name, values in measures.items()}
            for who, measures in self.values.items()
        }


def judge(protocol, records, judged, body, size, batch_size=32, progress=False):
    """Ask everybody about every sample of a protocol.

    Args:
        protocol: a `Protocol`, or its name in `PROTOCOLS`.
        records: a folder of records.
        judged: name -> function from a batch, as `MixedDataset` makes it, to an `Answer`; its
            `samples` are the records as they are stored.
        body: `hmrlib.Body`, of the true pose and shape.
        size: of the crops, pixels.

    Returns:
        `Results`.

    Raises:
        ProtocolError: the records have no sample of the protocol, or none of the labels that its
            measures need; or an answer has another number of people or points than the truth.
    """
    protocol = PROTOCOLS[protocol] if isinstance(protocol, str) else protocol
    split = _split(protocol, records)
    if split != protocol.split:
        print(f"{protocol.title}: no sample of {protocol.split!r} here, {split!r} takes its place")
    mixed = MixedDataset(records, batch_size, crop=size, split=split, once=True)
    measures = {name: MEASURES[name] for name in protocol.measures}
    found = {who: {} for who in judged}
    motions = {who: [] for who in (*judged, "")}
    ids = []
    for step in tqdm(range(len(mixed)), "samples", unit="batch", disable=not progress):
        batch = mixed[step]
        samples = [mixed.sources[at].read(row, images=False) for at, row in batch["index"]]
        names = [sample["id"] for sample in samples]
        keep = np.array([not protocol.keep or bool(re.search(protocol.keep, n)) for n in names])
        if not keep.any():
            continue
        batch = {name: value[keep] for name, value in batch.items()}
        batch["samples"] = [one for one, kept in zip(samples, keep, strict=True) if kept]
        ids += [name for name, kept in zip(names, keep, strict=True) if kept]
        truth = _truth(batch, body, protocol)
        if protocol.clip:
            motions[""].append(truth.keypoints_3d[:, : len(metrics.EVALUATED)])
        for who, ask in judged.items():
            answer = ask(batch)
            _check(who, answer, truth)
            for name, measure in measures.items():
                if getattr(answer, measure.needs) is not None:
                    found[who].setdefault(name, []).append(measure.of(answer, truth))
            if protocol.clip and answer.keypoints_3d is not None:
                motions[who].append(answer.keypoints_3d[:, : len(metrics.EVALUATED)])
    if not ids:
        raise ProtocolError(f"{records}: not one sample belongs to {protocol.title}")
    values = {
        who: {name: np.concatenate(parts) for name, parts in lists.items()}
        for who, lists in found.items()
    }
    for who, measured in values.items():
        _check_known(who, measured, protocol, records)
    if protocol.clip:
        true = np.concatenate(motions[""])
        for who in judged:
            if motions[who]:
                parts = np.concatenate(motions[who])
                values[who]["acceleration"] = accelerations(protocol, ids, parts, true)
    return Results(protocol, ids, values)


def accelerations(protocol, ids, predicted, true):
    """mm / s^2 for each sample that has a neighbour on either side in its clip, else NaN.

    Both bodies are centred between the hips, as their place is not judged.
    """
    predicted, true = (metrics.centred(points) for points in (predicted, true))
    found = np.full(len(ids), np.nan)
    frames = {}
    for row, name in enumerate(ids):
        match = re.search(protocol.clip, name)
        if match and np.isfinite(true[row]).all():
            frames[match[1], int(match[2])] = row
    for (clip, frame), row in frames.items():
        rows = [frames.get((clip, frame - 1)), row, frames.get((clip, frame + 1))]
        if None in rows:
            continue
        if np.isfinite(predicted[rows]).all():
            pair = predicted[rows], true[rows]
            found[row] = 1000 * metrics.acceleration_errors(*pair, protocol.fps)[0]
        else:
            found[row] = np.inf
    return found


def _split(protocol, records):
    for split in (protocol.split, protocol.else_split):
        if split is None:
            continue
        try:
            if len(open_records(records, split)):
                return split
        except RecordError:
            continue
    raise ProtocolError(
        f"{records}: {protocol.title} is judged on the split {protocol.split!r}, of which there is "
        "no sample here; write them with `hmr data convert`"
    )


def _truth(batch, body, protocol):
    def known(values, flags):
        return np.where(flags, values, np.nan)

    points, space = batch["keypoints_2d"], batch["keypoints_3d"]
    every = known(points[..., :2], points[..., 2:] > 0)
    judged = np.isin(UNION, protocol.points)[:, None]
    real = batch["pseudo_3d"] <= 0  # a guess of another model is no truth
    has = real & (batch["has_pose"] > 0)
    rotations = ops.convert_to_numpy(geometry.axis_angle_to_matrix(batch["pose"]))
    vertices = joints = None
    if "pve" in protocol.measures:
        whole = (has & (batch["has_betas"] > 0))[:, None, None]
        posed = (ops.convert_to_numpy(part) for part in body(batch["betas"], batch["pose"]))
        vertices, joints = (known(part, whole) for part in posed)
    return Truth(
        known(every, judged),
        known(space[..., :3], (space[..., 3:] > 0) & real[:, None, None]),
        known(rotations, has[:, None, None, None]),
        vertices,
        joints,
        (_most(every) - -_most(-every)).max(axis=1),
    )


def _most(points):
    """The largest coordinates of the known points, (B, 2); NaN where none is known."""
    most = np.where(np.isnan(points), -np.inf, points).max(axis=1)
    return np.where(np.isfinite(most), most, np.nan)


def _check(who, answer, truth):
    for name in Answer._fields:
        given, true = getattr(answer, name), getattr(truth, name)
        if given is not None and true is not None and np.shape(given) != true.shape:
            raise ProtocolError(
                f"{who} answers {name} {np.shape(given)}, where the truth is {true.shape}: not the "
                "same people, or another set of points"
            )


def _check_known(who, measured, protocol, records):
    """There is something to average for each measure that somebody answered, and such a measure."""
    if not measured:
        wanted = ", ".join(MEASURES[name].title for name in protocol.measures)
        raise ProtocolError(
            f"{who} answers nothing that {protocol.title} measures ({wanted}): not even "
            f"{MEASURES[protocol.measures[0]].needs}"
        )
    for name, values in measured.items():
        if np.isnan(values).all():
            raise ProtocolError(
                f"{records}: {protocol.title} needs labels for {MEASURES[name].title}, of which "
                "not one sample has any"
            )


# --- tables --------------------------------------------------------------------------------------


def table(results, seed=0):
    """Everybody's means with their 95 % intervals, as Markdown; below it, of whom they are not."""
    scores = results.scores(seed)
    names = list(dict.fromkeys(name for measured in scores.values() for name in measured))
    lines = [_row("", *map(_heading, names)), _rule(len(names))]
    lines += [
        _row(who, *(_interval(measured.get(name)) for name in names))
        for who, measured in scores.items()
    ]
    lines += [
        f"\n{who}: {measured[name].failed} of {measured[name].people} people got no finite answer "
        f"for {_measure(name).title}."
        for who, measured in scores.items()
        for name in measured
        if measured[name].failed
    ]
    known = {name: one.people for measured in scores.values() for name, one in measured.items()}
    lines += [
        f"\n{_measure(name).title}: {count} of {len(results.ids)} people have the labels for it."
        for name, count in known.items()
        if count < len(results.ids)
    ]
    return "\n".join(lines)


def percentile_table(results):
    """What half, nine and nineteen of twenty people are better than: of distances and angles."""
    scores = results.scores()
    every = dict.fromkeys(name for measured in scores.values() for name in measured)
    names = [name for name in every if not _measure(name).share]
    if not names:
        return ""
    columns = [f"{_heading(name)}, {part} %" for name in names for part in (50, 90, 95)]
    lines = [_row("", *columns), _rule(len(columns))]
    for who, measured in scores.items():
        cells = [
            _number(value)
            for name in names
            for value in (measured[name].percentiles if name in measured else [np.nan] * 3)
        ]
        lines.append(_row(who, *cells))
    return "\n".join(lines)


def joint_table(results, name):
    """A measure of everybody, by point, left and right together; "" where it has no points."""
    points = UNION if _measure(name).needs == "keypoints_2d" else metrics.EVALUATED
    if name == "mpjae":
        points = [JOINT_NAMES[part] for part in metrics.PARTS]
    kinds = [point.removeprefix("left_").removeprefix("right_") for point in points]
    shown = {}
    for who, measured in results.values.items():
        if name in measured and measured[name].ndim == 2:
            for kind in dict.fromkeys(kinds):
                own = measured[name][:, [other == kind for other in kinds]]
                if not np.isnan(own).all():
                    shown.setdefault(kind, {})[who] = own[~np.isnan(own)].mean()
    if not shown:
        return ""
    lines = [_row(_heading(name), *shown), _rule(len(shown))]
    for who in results.values:
        lines.append(_row(who, *(_number(cells.get(who, np.nan)) for cells in shown.values())))
    return "\n".join(lines)


def action_table(results, name):
    """A measure of everybody, by action; "" where the protocol knows none."""
    pattern = results.protocol.action
    if not pattern:
        return ""
    found = [re.search(pattern, one) for one in results.ids]
    actions = np.array([match[1] if match else "other" for match in found])
    kinds = sorted(set(actions))
    lines = [_row(_heading(name), *kinds), _rule(len(kinds))]
    for who, measured in results.values.items():
        if name in measured:
            parts = (measured[name][actions == kind] for kind in kinds)
            cells = (part[~np.isnan(part)].mean() if not np.isnan(part).all() else np.nan
                     for part in parts)  # fmt: skip
            lines.append(_row(who, *map(_number, cells)))
    return "\n".join(lines)


def report(results):
    """All tables of a protocol, as Markdown."""
    protocol = results.protocol
    parts = [
        f"## {protocol.title}",
        f"{protocol.about} {len(results.ids)} people; 95 % intervals by resampling them "
        f"{RESAMPLES} times.",
        table(results),
        percentile_table(results),
        *(joint_table(results, name) for name in protocol.measures),
        *(action_table(results, name) for name in protocol.measures),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def save(results, folder):
    """Write the tables, all scores as JSON, and every person's values as `.npz`.

    Returns:
        the path of the tables, FOLDER/PROTOCOL.md.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = next((key for key, one in PROTOCOLS.items() if one is results.protocol), "protocol")
    scores = {
        who: {measure: one._asdict() for measure, one in measured.items()}
        for who, measured in results.scores().items()
    }
    arrays = {
        f"{who}/{measure}": values
        for who, measured in results.values.items()
        for measure, values in measured.items()
    }
    with atomic_write(folder / f"{name}.json") as file:
        file.write(json.dumps(scores, indent=1).encode())
    with atomic_write(folder / f"{name}.npz") as file:
        np.savez_compressed(file, ids=np.array(results.ids), **arrays)
    with atomic_write(folder / f"{name}.md") as file:
        file.write(report(results).encode())
    return folder / f"{name}.md"


def _measure(name):
    return ACCELERATION if name == "acceleration" else MEASURES[name]


def _heading(name):
    return f"{_measure(name).title}, {_measure(name).unit}"


def _row(*cells):
    return f"| {' | '.join(cells)} |"


def _rule(columns):
    return "|:--" + "|--:" * columns + "|"


def _number(value):
    return f"{value:.1f}" if np.isfinite(value) else ("failed" if np.isinf(value) else "")


def _interval(one):
    if one is None:
        return ""
    if one.failed:
        return "failed"
    return f"{one.mean:.1f} ({one.low:.1f} to {one.high:.1f})"
