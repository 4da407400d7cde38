"""Studies: one question each, answered by small trainings that differ in one setting.

A study is data: `Variant`s, each some changes to a common small setting. Every variant is trained
from several seeds, and judged on people that it never saw. What a run measured is one JSON file, so
that finished runs are kept, and a run that two studies have in common is made once; a table and a
plot come of these files alone.

OUT/NAME/
  VARIANT-SEED.json   settings, records, errors and seconds of one training
  table.md, plot.png  what they say together
"""

import dataclasses
import gc
import json
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from hmrlib.evaluation.validation import ERRORS
from hmrlib.io import atomic_write, locked
from hmrlib.training.config import read_config

SEEDS = (0, 1, 2)
TOLERANCE = 10.0  # degrees beyond a limit that count as broken
MEASURES = ERRORS | {
    "beyond_limits": "joints beyond limits, %",
    "photographs_pck": "PCK at 0.2 on photographs, %",
}
# 150 steps of 32 pictures of 64 pixels, on from ImageNet's weights
SMALL = {
    "encoder": "EfficientNetLite0",
    "freeze_norm": True,
    "size": 64,
    "rotation": "6d",
    "batch_size": 32,
    "steps": 150,
    "learning_rate": 4e-4,
    "regressor_rate": 5e-4,
    "warmup": 15,
    "cosine": True,
    "clip_norm": 1.0,
    "hidden": 512,
    "dropout": 0.0,
    "reprojection": 600.0,
    "maps": 600.0,
    "joints_3d": 600.0,
    "smpl": 600.0,
    "adversarial": 0.0,
    "augmentation": {"shift": 5, "rotation": 15},
}


class StudyError(ValueError):
    """No such study, or its folder holds something else; the message says what there is."""


@dataclass(frozen=True)
class Variant:
    """One row of a study.

    Attributes:
        title: in the table.
        changes: to the common setting, by names of `TrainConfig`.
        learned: what it is trained on: "people" (rendered), "photographs", or both, half and half.
        times: steps, as a multiple of the common setting's.
        weights: whether the encoder begins from the file of weights that is given.
    """

    title: str
    changes: dict = dataclasses.field(default_factory=dict)
    learned: tuple[str, ...] = ("people",)
    times: float = 1.0
    weights: bool = False

    def lacks(self, data):
        """What it needs and `data`, a `StudyData`, has not; "" where nothing is missing."""
        if "photographs" in self.learned and not data.photographs:
            return "records of photographs (--records)"
        return "a file of weights (--weights)" if self.weights and data.weights is None else ""


@dataclass(frozen=True)
class Study:
    """A question, and the trainings that answer it.

    Attributes:
        question: what the table answers.
        variants: key -> `Variant`, in the table's order.
        measures: names of `MEASURES`; the first is the one that the study is about.
        law: over the pictures seen: fit a power law, and say what ten times more would give.
    """

    question: str
    variants: dict[str, Variant]
    measures: tuple[str, ...] = ("pa_mpjpe", "mpjpe", "pck")
    law: bool = False


class StudyData(NamedTuple):
    """What there is to learn from.

    Attributes:
        people: folder of rendered records, with a split "validation" that judges all.
        photographs: folders of records of photographs, with pseudo poses or without.
        weights: path of a ResNet50V2's `.weights.h5`, or None.
    """

    people: str | Path
    photographs: tuple = ()
    weights: str | None = None


def _settings(name, values, titles=None, **others):
    """A variant for each value of one setting."""
    titles = titles or [str(value) for value in values]
    return {
        str(value): Variant(title, {name: value, **others})
        for value, title in zip(values, titles, strict=True)
    }


_POINTS = {"joints_3d": 0.0, "smpl": 0.0}  # nothing but keypoints in the picture
_ADVERSARY = {"adversarial": 10.0, "discriminator_rate": 1e-3}  # to 600 what HMR's 1 is to 60
_RANDOM = {"encoder_weights": None, "freeze_norm": False}
_PSEUDO = {"pseudo_3d": True}
_PHOTOS, _BOTH = ("photographs",), ("photographs", "people")

STUDIES = {
    "adversary": Study(
        "Does the adversary keep joints within their limits, and what does it cost?",
        {
            "points_off": Variant("2D keypoints alone", _POINTS),
            "points_on": Variant("2D keypoints, adversary", _POINTS | _ADVERSARY),
            "all_off": Variant("all labels"),
            "all_on": Variant("all labels, adversary", _ADVERSARY),
        },
        ("beyond_limits", "pa_mpjpe", "mpjpe"),
    ),
    "iterations": Study(
        "How many corrections does the regressor need?", _settings("iterations", (1, 2, 3, 5))
    ),
    "dropout": Study(
        "How much dropout between the regressor's layers?",
        _settings("dropout", (0.0, 0.25, 0.5, 0.75)),
    ),
    "data": Study(
        "2D annotations, pseudo poses, rendered people: what teaches most?",
        {
            "2d": Variant("photographs, 2D alone", _POINTS, _PHOTOS),
            "pseudo": Variant("photographs, pseudo poses", _PSEUDO, _PHOTOS),
            "people": Variant("rendered people"),
            "all": Variant("all of them", _PSEUDO, _BOTH),
        },
        ("pa_mpjpe", "mpjpe", "pck", "photographs_pck"),
    ),
    "share": Study(
        "Which share of a batch should be rendered people?",
        {
            "0": Variant("0", _PSEUDO, _PHOTOS),
            "half": Variant("1/2", _PSEUDO, _BOTH),
            "1": Variant("1"),
        },
        ("pa_mpjpe", "mpjpe", "pck", "photographs_pck"),
    ),
    "rotation": Study(
        "Rotations as axis-angle, or by six numbers?",
        _settings("rotation", ("axis_angle", "6d"), ("axis-angle", "6D")),
    ),
    "distance": Study(
        "L1 or L2 for points in space and rotations, at the same weights?",
        _settings("distance", ("l2", "l1"), ("L2", "L1")),
    ),
    "maps": Study(
        "Keypoint maps, or the mean feature alone?",
        _settings("keypoint_maps", (False, True), ("mean feature", "keypoint maps")),
        ("pck", "pa_mpjpe", "mpjpe"),
    ),
    "encoder": Study(
        "Which encoder, and how much do its first weights matter?",
        {
            "lite": Variant("EfficientNetLite0, ImageNet"),
            "lite_random": Variant("EfficientNetLite0, random", _RANDOM),
            "resnet_random": Variant("ResNet50V2, random", _RANDOM | {"encoder": "ResNet50V2"}),
            "resnet": Variant("ResNet50V2, from a file", {"encoder": "ResNet50V2"}, weights=True),
        },
    ),
    "resolution": Study(
        "How large should the crop be?",
        {
            str(size): Variant(
                f"{size} px",
                {"size": size, "augmentation": {"shift": round(size / 12), "rotation": 15}},
            )
            for size in (32, 48, 64, 96)
        },
    ),
    "pictures": Study(
        "How do errors fall with the pictures seen, and what would ten times more give?",
        {f"{times:g}": Variant(f"x{times:g}", times=times) for times in (0.125, 0.25, 0.5, 1, 2)},
        law=True,
    ),
}


def find_study(name):
    """A study of `STUDIES`.

    Raises:
        StudyError: there is none of that name.
    """
    if name not in STUDIES:
        raise StudyError(f"there is no study {name!r}: choose from {', '.join(STUDIES)}")
    return STUDIES[name]


# --- running -------------------------------------------------------------------------------------


def run_study(study, out, data, setting=None, seeds=SEEDS, tell=print):
    """Make every training of a study that is not finished.

    Args:
        study: `Study`.
        out: folder of this study.
        data: `StudyData`.
        setting: dict, changes to `SMALL`.
        seeds: one training of each variant for each.
        tell: function of a line of text, called before each training; on a screen a bar says how
            long the rest will take.

    Returns:
        key -> list of what each seed measured, see `MEASURES`; variants that `data` does not
        suffice for are left out, and told.

    Raises:
        StudyError: the folder holds runs of other settings or records; or nothing can be run.
        KeyboardInterrupt: after Ctrl-C; the same call goes on from there.
    """
    out = Path(out)
    todo = {}
    for key, variant in study.variants.items():
        if lack := variant.lacks(data):
            tell(f"left out: {variant.title}, which needs {lack}")
        else:
            todo |= {(key, seed): variant for seed in seeds}
    measured = {key: [] for key, _ in todo}
    with locked(out):
        for (key, seed), variant in tqdm(todo.items(), unit="training", disable=None):
            config = settings_of(variant, data, setting, seed)
            path = out / f"{key}-{seed}.json"
            measured[key].append(_one(path, variant, config, data, tell))
    if not measured:
        raise StudyError("no variant of this study can be run: give what the lines above name")
    return measured


def settings_of(variant, data, setting, seed):
    """The checked settings of one run: the small ones, with a variant's changes and a seed."""
    settings = SMALL | (setting or {}) | variant.changes | {"seed": seed}
    settings["steps"] = max(1, round(settings["steps"] * variant.times))
    settings["warmup"] = min(settings["warmup"], settings["steps"] // 4)
    if variant.learned == _BOTH:
        count = len(data.photographs)
        settings["shares"] = (*[1 / count] * count, 1.0)
    if variant.weights:
        settings["encoder_weights"] = str(data.weights)
    return read_config(**settings)


def _one(path, variant, config, data, tell):
    """What one training measured, from a file or from the training itself."""
    folders = [*(data.photographs if "photographs" in variant.learned else ())]
    folders += [data.people] if "people" in variant.learned else []
    run = {
        "settings": dataclasses.asdict(config),
        "learned": [Path(folder).name for folder in folders],
        "records": _sizes([data.people, *data.photographs]),
    }
    run = json.loads(json.dumps(run))  # as a file gives it back
    if path.exists():
        found = read_run(path)
        if differ := [name for name in run if found[name] != run[name]]:
            raise StudyError(
                f"{path} is of other {' and '.join(differ)}; take another --out, or remove it"
            )
        return found["measured"]
    found = _in_another_study(path, run)
    if found is None:
        tell(f"{path.parent.name}: {variant.title}, seed {config.seed}")
        began = time.monotonic()
        measured = measure(_train(config, folders), data, config.batch_size)
        gc.collect()  # networks hold themselves in circles
        found = run | {"measured": measured, "seconds": round(time.monotonic() - began, 1)}
    with atomic_write(path) as file:
        file.write((json.dumps(found, indent=1) + "\n").encode())
    return found["measured"]


def _in_another_study(path, run):
    """The same run of a study beside this one, or None."""
    for other in sorted(path.parent.parent.glob(f"*/*-{run['settings']['seed']}.json")):
        found = read_run(other)
        if all(found[name] == run[name] for name in run):
            return found
    return None


def _train(config, folders):
    """The network after all steps: without `train`'s checkpoints, for it is a matter of minutes."""
    import keras

    from hmrlib.data.feed import Feed
    from hmrlib.training.trainer import build_model, open_data

    model = build_model(config)
    with closing(Feed(open_data(config, folders)[0], 0, config.steps)) as feed:
        stop = keras.callbacks.TerminateOnNaN()
        past = model.fit(feed, shuffle=False, verbose=0, callbacks=[stop]).history
    if not np.isfinite(past["loss"]).all():
        raise StudyError(f"the loss is no number any more, with {config}: take a lower rate")
    return model.hmr


def _sizes(folders):
    """Names of the folders and how many samples they hold, to know them again by."""
    from hmrlib.data.records import open_records

    return {Path(folder).name: len(open_records(folder, "train")) for folder in folders}


def read_run(path):
    """The file of a run, as a dict of `settings`, `records`, `measured` and `seconds`.

    Raises:
        StudyError: it is damaged.
    """
    try:
        found = json.loads(Path(path).read_text("utf-8"))
        numbers = [float(value) for value in found["measured"].values()]
        if not numbers or not {"settings", "learned", "records", "seconds"} <= found.keys():
            raise ValueError("no numbers, or no settings")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StudyError(
            f"{path} is no run of a study ({error!r:.200}): remove it, and it is made again"
        ) from error
    return found


def measure(hmr, data, batch_size=32):
    """Errors of a network on people whom it never saw, the split "validation".

    Args:
        hmr: `HMR`.
        data: `StudyData`.

    Returns:
        dict by names of `MEASURES`; what no label tells is left out.
    """
    from hmrlib.data.pipeline import MixedDataset
    from hmrlib.evaluation.validation import validate

    options = {"crop": hmr.size, "split": "validation", "once": True}
    people = MixedDataset(str(data.people), batch_size, **options)
    found = validate(hmr, people)
    beyond = [
        beyond_limits(hmr.recover(people[i]["image"], *_box(hmr, people[i]))[-1].rotations)
        for i in range(len(people))
    ]
    found["beyond_limits"] = 100 * float(np.concatenate(beyond).mean())
    if data.photographs:
        folders = dict.fromkeys(map(str, data.photographs), 1.0)
        own = [validate(hmr, MixedDataset(folder, batch_size, **options)) for folder in folders]
        found["photographs_pck"] = float(np.mean([errors["pck"] for errors in own]))
    return {name: found[name] for name in MEASURES if np.isfinite(found.get(name, np.nan))}


def _box(hmr, batch):
    from hmrlib.camera import crop_box

    return [np.asarray(crop_box(batch, hmr.size))] if hmr.box_input else []


def beyond_limits(rotations, tolerance=TOLERANCE):
    """Which joints are bent farther than humans can, by `hmrlib.skeleton.joint_limits`.

    Args:
        rotations: (B, 24, 3, 3) relative to the parents; the root has no limits.
        tolerance: degrees beyond a limit that are forgiven.

    Returns:
        (B, 23) bool.
    """
    from hmrlib import skeleton
    from hmrlib.motion.prior import pose_angles

    least, _, most = skeleton.joint_limits()[1:]
    angles = np.asarray(pose_angles(rotations)).reshape(-1, 23, 3)
    over = np.maximum(angles - most[1:], least[1:] - angles)
    return over.max(axis=2) > np.radians(tolerance)


# --- what the runs say ---------------------------------------------------------------------------


class Interval(NamedTuple):
    """A mean over seeds, and its 95 % interval by Student's t; NaN with one seed alone."""

    mean: float
    low: float
    high: float


def interval(values):
    """`Interval` of (N,) numbers, one a seed: mean -+ t(0.975, N - 1) s / sqrt(N)."""
    from scipy.stats import t

    values = np.asarray(values, float)
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, np.nan, np.nan)
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return Interval(mean, mean - float(half), mean + float(half))


def read_study(study, out, seeds=SEEDS):
    """What the finished runs in a folder measured, as `run_study` returns it.

    Raises:
        StudyError: a file is damaged, or no variant is finished.
    """
    out, measured = Path(out), {}
    for key in study.variants:
        paths = [out / f"{key}-{seed}.json" for seed in seeds]
        if all(path.exists() for path in paths):
            measured[key] = [read_run(path)["measured"] for path in paths]
    if not measured:
        raise StudyError(f"{out} holds no finished variant: `hmr study` makes them")
    return measured


class PowerLaw(NamedTuple):
    """error = floor + scale n^-exponent, of n pictures."""

    floor: float
    scale: float
    exponent: float

    def __call__(self, n):
        """The error after `n` pictures."""
        return self.floor + self.scale * np.asarray(n, float) ** -self.exponent


def fit_power_law(n, errors):
    """The law of least squares with floor, scale >= 0 and exponent 0.02 to 3.

    Args:
        n: (N,) > 0, N >= 3.
        errors: (N,).

    Returns:
        `PowerLaw`.

    Raises:
        StudyError: fewer than three points.
    """
    from scipy.optimize import minimize_scalar, nnls

    n, errors = np.asarray(n, float), np.asarray(errors, float)
    if len(set(n)) < 3:
        raise StudyError(f"a power law needs three numbers of pictures, found {len(set(n))}")

    def solve(exponent):  # the other two are linear
        return nnls(np.stack([np.ones_like(n), (n / n.max()) ** -exponent], axis=1), errors)

    grid = np.geomspace(0.02, 3, 60)
    i = int(np.argmin([solve(exponent)[1] for exponent in grid]))
    near = grid[max(i - 1, 0)], grid[min(i + 1, len(grid) - 1)]
    options = {"bounds": near, "method": "bounded", "options": {"xatol": 1e-6}}
    exponent = float(minimize_scalar(lambda e: solve(e)[1], **options).x)
    floor, scale = solve(exponent)[0]
    return PowerLaw(float(floor), float(scale * n.max() ** exponent), exponent)


def seen(study, setting=None):
    """key -> pictures seen by a training of each variant of a study."""
    settings = SMALL | (setting or {})
    return {
        key: settings["batch_size"] * max(1, round(settings["steps"] * variant.times))
        for key, variant in study.variants.items()
    }


def laws(study, measured, setting=None):
    """A `PowerLaw` of the first measure for each seed."""
    pictures = seen(study, setting)
    n = [pictures[key] for key in measured]
    rows = np.array([[one[study.measures[0]] for one in runs] for runs in measured.values()])
    return [fit_power_law(n, errors) for errors in rows.T]


def table(study, measured, setting=None):
    """The study's table in Markdown: mean and 95 % interval of each measure, a row a variant.

    Args:
        measured: of `run_study` or `read_study`.
        setting: as for `run_study`.
    """
    names = _known(study, measured)
    heads = [MEASURES[name] for name in names]
    if study.law:
        heads = ["pictures seen", *heads]
    lines = [f"| | {' | '.join(heads)} |", "|:--" + "|--:" * len(heads) + "|"]
    pictures = seen(study, setting)
    for key, runs in measured.items():
        cells = [f"{pictures[key]:,}"] if study.law else []
        cells += [_cell(interval([run[name] for run in runs])) for name in names]
        lines.append(f"| {study.variants[key].title} | {' | '.join(cells)} |")
    left = [v.title for key, v in study.variants.items() if key not in measured]
    count = len(next(iter(measured.values())))
    text = [study.question, "\n".join(lines), _how(setting, count)]
    text += [f"Left out: {'; '.join(left)}."] if left else []
    text += [_law_text(study, measured, setting)] if study.law else []
    return "\n\n".join(text) + "\n"


def _known(study, measured):
    """Those of its measures that every run has."""
    runs = [run for own in measured.values() for run in own]
    return [name for name in study.measures if all(name in run for run in runs)]


def _cell(one):
    if np.isnan(one.low):
        return f"{one.mean:.1f}"
    return f"{one.mean:.1f} ({one.low:.1f} to {one.high:.1f})"


def _how(setting, seeds):
    s = SMALL | (setting or {})
    between = " and the 95 % interval of Student's t over them" if seeds > 1 else ""
    return (
        f"Small setting, where the row does not say otherwise: {s['encoder']}, {s['size']} px, "
        f"{s['steps']} steps of {s['batch_size']} pictures. Mean of {seeds} seeds{between}; "
        "rendered people whom no training saw."
    )


def _law_text(study, measured, setting):
    found = laws(study, measured, setting)
    ten = 10 * max(seen(study, setting)[key] for key in measured)
    more = interval([float(law(ten)) for law in found])
    exponents = interval([law.exponent for law in found])
    return (
        f"Power law, error = a + b n^-c, fitted to each seed's runs: c = {exponents.mean:.2f}, "
        f"a = {interval([law.floor for law in found]).mean:.1f}. Ten times more, {ten:,} pictures, "
        f"would give {MEASURES[study.measures[0]]}: {_cell(more)}."
    )


def plot(study, measured, figure=None, setting=None):
    """A panel for each measure: every seed a dot, the mean and its interval; returns the figure."""
    from matplotlib import pyplot as plt

    names = _known(study, measured)
    size = (3.0 * len(names) + 0.8, 0.45 * len(measured) + 1.3)
    figure = figure or plt.figure(figsize=(size[0], 2.8) if study.law else size)
    axes = np.atleast_1d(figure.subplots(1, len(names), sharey=not study.law))
    for axis, name in zip(axes, names, strict=True):
        values = [[run[name] for run in runs] for runs in measured.values()]
        draw = _draw_law if study.law else _draw_rows
        draw(axis, study, measured, values, setting)
        axis.set_ylabel(MEASURES[name]) if study.law else axis.set_xlabel(MEASURES[name])
    if study.law:
        _draw_fits(axes[0], study, measured, setting)
    return figure


def _draw_rows(axis, study, measured, values, setting):
    for row, own in enumerate(values):
        one = interval(own)
        axis.plot(own, [row] * len(own), "o", color="0.6", markersize=4)
        axis.errorbar(one.mean, row, xerr=_error(one), fmt="D", color="C0", capsize=3)
    axis.set_yticks(range(len(measured)), [study.variants[key].title for key in measured])
    axis.set_ylim(len(measured) - 0.5, -0.5)


def _draw_law(axis, study, measured, values, setting):
    pictures = seen(study, setting)
    for key, own in zip(measured, values, strict=True):
        one = interval(own)
        axis.plot([pictures[key]] * len(own), own, "o", color="0.6", markersize=4)
        axis.errorbar(pictures[key], one.mean, yerr=_error(one), fmt="D", color="C0", capsize=3)
    axis.set(xlabel="pictures seen", xscale="log")


def _draw_fits(axis, study, measured, setting):
    pictures = [seen(study, setting)[key] for key in measured]
    n = np.geomspace(min(pictures), 10 * max(pictures), 100)
    for law in laws(study, measured, setting):
        axis.plot(n, law(n), color="C1", linewidth=1)


def _error(one):
    """Half lengths of an interval for `errorbar`, or None without one."""
    if np.isnan(one.low):
        return None
    return [[one.mean - one.low], [one.high - one.mean]]


def save_study(study, measured, out, setting=None):
    """Write `out`/table.md and plot.png; returns their paths."""
    from matplotlib import pyplot as plt

    out = Path(out)
    paths = out / "table.md", out / "plot.png"
    with atomic_write(paths[0]) as file:
        file.write(table(study, measured, setting).encode())
    figure = plot(study, measured, setting=setting)
    with atomic_write(paths[1]) as file:
        figure.savefig(file, dpi=150, format="png", bbox_inches="tight")
    plt.close(figure)
    return paths
