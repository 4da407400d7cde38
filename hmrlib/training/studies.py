"""Studies: one question each, answered by small trainings that differ in one setting.

A study is data: `Variant`s, each some changes to a common small setting. What is trained is the
regressor; the encoder is held, so that each picture needs to be seen by it but once, and a training
of a thousand steps takes a minute. Every variant is trained from several seeds, and judged on
people that it never saw. What a run measured is one JSON file, so that finished runs are kept, and
a run that two studies have in common is made once; a table and a plot come of these files alone.
What all of them measured in the small setting comes with the package, see `read_results`.

OUT/
  features/             what encoders saw, for all studies
  NAME/
    VARIANT-SEED.json   settings, records, errors and seconds of one training
    table.md, plot.png  what they say together
"""

import dataclasses
import functools
import gc
import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from hmrlib.evaluation.validation import ERRORS
from hmrlib.io import atomic_write, locked
from hmrlib.training.config import read_config

RESULTS = Path(__file__).parent / "assets" / "studies.json"
SEEDS = (0, 1, 2)
TOLERANCE = 10.0  # degrees beyond a limit that count as broken
MEASURES = ERRORS | {
    "beyond_limits": "joints beyond limits, %",
    "photographs_pck": "PCK at 0.2 on photographs, %",
}
SEEN_TOGETHER = 32
# the encoder of the network that comes with the package, and a regressor of another width, so that
# it begins anew
SMALL = {
    "pictures": 6144,  # that a training learns from, augmented before the encoder sees them
    "encoder": "EfficientNetLite0",
    "start_from": "shipped",
    "freeze_encoder": True,
    "freeze_norm": True,
    "size": 192,
    "rotation": "6d",
    "hidden": 512,
    "dropout": 0.0,
    "batch_size": 32,
    "steps": 800,
    "learning_rate": 5e-4,
    "warmup": 40,
    "cosine": True,
    "clip_norm": 1.0,
    "reprojection": 600.0,
    "maps": 0.0,
    "joints_3d": 600.0,
    "smpl": 600.0,
    "adversarial": 0.0,
    "augmentation": {"shift": 15, "rotation": 15},
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
        share: of the common setting's pictures, that it learns from.
        weights: whether the encoder begins from the file of weights that is given.
    """

    title: str
    changes: dict = dataclasses.field(default_factory=dict)
    learned: tuple[str, ...] = ("people",)
    share: float = 1.0
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
        law: over the pictures: fit a power law, and say what ten times more would give.
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
_IMAGENET = {"start_from": None}
_RANDOM = {"start_from": None, "encoder_weights": None}
_RESNET = {"encoder": "ResNet50V2"}
_FEW = 1 / 4  # of the pictures: other encoders have to see them, too
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
        "Which encoder, held as it is, and how much do its weights matter?",
        {
            "shipped": Variant("EfficientNetLite0, trained on people", share=_FEW),
            "imagenet": Variant("EfficientNetLite0, ImageNet", _IMAGENET, share=_FEW),
            "random": Variant("EfficientNetLite0, random", _RANDOM, share=_FEW),
            "resnet_random": Variant("ResNet50V2, random", _RANDOM | _RESNET, share=_FEW),
            "resnet": Variant(
                "ResNet50V2, from a file", _IMAGENET | _RESNET, share=_FEW, weights=True
            ),
        },
    ),
    "resolution": Study(
        "How large should the crop be, for an encoder that was trained at 192 pixels?",
        {
            str(size): Variant(
                f"{size} px",
                {"size": size, "augmentation": {"shift": round(size / 12.8), "rotation": 15}},
                share=_FEW,
            )
            for size in (96, 128, 160, 192)
        },
    ),
    "pictures": Study(
        "How do errors fall with the pictures, and what would ten times more give?",
        {
            f"{1 / part:g}": Variant(f"1/{part}" if part > 1 else "all", share=1 / part)
            for part in (16, 8, 4, 2, 1)
        },
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
        setting: dict, changes to `SMALL`, which are settings of a training and `pictures`.
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
    measured, pictures = {key: [] for key, _ in todo}, learned_from(study, setting)
    with locked(out):
        for (key, seed), variant in tqdm(todo.items(), unit="training", disable=None):
            config = settings_of(variant, data, setting, seed)
            path, count = out / f"{key}-{seed}.json", pictures[key]
            measured[key].append(_one(path, variant, count, config, data, tell))
    if not measured:
        raise StudyError("no variant of this study can be run: give what the lines above name")
    return measured


def settings_of(variant, data, setting, seed):
    """The checked settings of one run: the small ones, with a variant's changes and a seed."""
    settings = SMALL | (setting or {}) | variant.changes | {"seed": seed}
    del settings["pictures"]
    settings["warmup"] = min(settings["warmup"], settings["steps"] // 4)
    if variant.weights:
        settings["encoder_weights"] = str(data.weights)
    return read_config(**settings)


def _one(path, variant, count, config, data, tell):
    """What one training from `count` pictures measured, from a file or from the training itself."""
    run = {
        "settings": dataclasses.asdict(config),
        "learned": list(variant.learned),
        "pictures": count,
        "records": _sizes([data.people, *data.photographs]),
        "started_from": _sum_of_shipped() if config.start_from == "shipped" else None,
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
        seen = Seen(config, path.parent.parent / "features")
        measured = measure(_train(config, seen.to_learn(variant, data, count)), data, seen)
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


def _train(config, samples):
    """The network after all steps; every seed draws the samples in an order of its own."""
    import keras

    from hmrlib.training.trainer import build_model

    rng, count = np.random.default_rng(config.seed), len(samples["features"])
    epochs = -(-config.steps * config.batch_size // count)
    order = np.concatenate([rng.permutation(count) for _ in range(epochs)])

    def batches():
        for step in range(config.steps):
            rows = order[step * config.batch_size : (step + 1) * config.batch_size]
            yield ({name: values[rows] for name, values in samples.items()},)

    model = build_model(config)
    stop = keras.callbacks.TerminateOnNaN()
    options = {"steps_per_epoch": config.steps, "shuffle": False, "verbose": 0}
    past = model.fit(batches(), callbacks=[stop], **options).history
    if not np.isfinite(past["loss"]).all():
        raise StudyError(f"the loss is no number any more, with {config}: take a lower rate")
    return model.hmr


class Seen:
    """Samples with what an encoder saw in place of their pictures, kept in a folder.

    Args:
        config: `TrainConfig`; its encoder is the one that sees.
        folder: for the files; made if it does not exist.
    """

    def __init__(self, config, folder):
        self.config, self.folder, self.hmr = config, Path(folder), None

    def to_learn(self, variant, data, count):
        """What a variant learns from: `AdversarialModel`'s inputs, name -> (count, ...)."""
        folders = [*(data.photographs if "photographs" in variant.learned else ())]
        folders += [data.people] if "people" in variant.learned else []
        each = round(count / len(folders))
        parts = [self.samples(folder, "train", each) for folder in folders]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def samples(self, source, split, count=None):
        """The first samples of some records: augmented ones to learn from, or all to be judged on.

        Args:
            source: folder of records.
            split: "train" or "validation".
            count: of the augmented ones; the records begin anew when they have all been seen. None:
                each once, as it is.

        Returns:
            dict, name -> (N, ...) array: labels of `MixedDataset`, and `features`.
        """
        from hmrlib.data.pipeline import NONE, Augmentation, MixedDataset
        from hmrlib.io import read_npz

        config = self.config
        names = ("encoder", "encoder_weights", "start_from", "size", "keypoint_maps")
        key = [str(source), count, config.augmentation, *(getattr(config, n) for n in names)]
        key += [_sum_of_shipped()] if config.start_from == "shipped" else []
        key = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]
        path = self.folder / f"{Path(source).name}-{split}-{key}.npz"
        if path.exists():
            return read_npz(path)
        options = {"crop": config.size, "split": split}
        if count is None:
            mixed = MixedDataset(str(source), SEEN_TOGETHER, once=True, **options)
        else:
            changes = config.augmentation
            augmentation = NONE if changes is None else Augmentation(**changes)
            mixed = MixedDataset(
                str(source), SEEN_TOGETHER, 0, augmentation, _real_poses(), **options
            )
        steps = len(mixed) if count is None else -(-count // SEEN_TOGETHER)
        parts = [self._see(mixed[step]) for step in tqdm(range(steps), path.stem, disable=None)]
        found = {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            np.savez(file, **found)
        return found

    def _see(self, batch):
        """A batch without its pictures, but with features."""
        from hmrlib.training.trainer import build_model

        if self.hmr is None:
            self.hmr = build_model(self.config).hmr
        images = batch.pop("image").astype("float32")
        return batch | {"features": self.hmr.encoder.predict_on_batch(images)}


@functools.cache
def _sum_of_shipped():
    """By which the network that comes with the package is known."""
    from hmrlib.training.checkpoint import SHIPPED

    return hashlib.sha256(SHIPPED.read_bytes()).hexdigest()[:12]


@functools.cache
def _real_poses():
    """Poses for the adversary."""
    from hmrlib.motion.prior import load_prior

    return load_prior().sample(4096, 0)


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
        if not {"settings", "learned", "pictures", "records"} <= found.keys():
            raise ValueError("no settings")
        _check_numbers(found["measured"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise StudyError(
            f"{path} is no run of a study ({error!r:.200}): remove it, and it is made again"
        ) from error
    return found


def _check_numbers(measured):
    """Every measure is a finite number, and there is one."""
    for name, value in measured.items():
        if type(value) not in (int, float) or not abs(value) < 1e9:
            raise ValueError(f"{name} is {value!r:.50}")
    if not measured:
        raise ValueError("no numbers")


def measure(hmr, data, seen):
    """Errors of a network on people whom it never saw, the split "validation".

    Args:
        hmr: `HMR`.
        data: `StudyData`.
        seen: `Seen` by its encoder.

    Returns:
        dict by names of `MEASURES`; what no label tells is left out.
    """
    from hmrlib.evaluation.validation import recover_batch, validate

    people = seen.samples(data.people, "validation")
    found = validate(hmr, [people])
    found["beyond_limits"] = 100 * float(beyond_limits(recover_batch(hmr, people).rotations).mean())
    if data.photographs:
        judged = [seen.samples(folder, "validation") for folder in data.photographs]
        found["photographs_pck"] = float(np.mean([validate(hmr, [one])["pck"] for one in judged]))
    return {name: found[name] for name in MEASURES if np.isfinite(found.get(name, np.nan))}


def beyond_limits(rotations, tolerance=TOLERANCE):
    """Which joints are bent farther than humans can, by `hmrlib.skeleton.joint_limits`.

    Args:
        rotations: (B, 24, 3, 3) relative to the parents; the root has no limits.
        tolerance: degrees beyond a limit that are forgiven.

    Returns:
        (B, 23) bool.
    """
    from hmrlib import fitting

    over = np.asarray(fitting.beyond_limits(rotations))[:, 1:]
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


def read_results(path=RESULTS):
    """What all studies measured in the small setting, as `benchmarks/studies.py` gathers it.

    Returns:
        study's name -> as `run_study` returns it.

    Raises:
        StudyError: the file is missing or damaged.
    """
    try:
        found = json.loads(Path(path).read_text("utf-8"))["measured"]
        for runs in (runs for one in found.values() for runs in one.values()):
            for run in runs:
                _check_numbers(run)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise StudyError(f"{path} has no results of studies: {error!r:.200}") from error
    return found


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


def learned_from(study, setting=None):
    """key -> pictures that each variant of a study learns from."""
    count = (SMALL | (setting or {}))["pictures"]
    return {key: round(variant.share * count) for key, variant in study.variants.items()}


def laws(study, measured, setting=None):
    """A `PowerLaw` of the first measure for each seed."""
    pictures = learned_from(study, setting)
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
        heads = ["pictures", *heads]
    lines = [f"| | {' | '.join(heads)} |", "|:--" + "|--:" * len(heads) + "|"]
    pictures = learned_from(study, setting)
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
    shipped = " of the network that comes with the package" if s["start_from"] == "shipped" else ""
    return (
        f"Where the row does not say otherwise: the encoder{shipped} ({s['encoder']}, {s['size']} "
        f"px) is held, and a regressor learns {s['steps']} steps of {s['batch_size']} from "
        f"{s['pictures']:,} pictures. Mean of {seeds} seeds{between}; judged on rendered people "
        "whom no training saw."
    )


def _law_text(study, measured, setting):
    found = laws(study, measured, setting)
    ten = 10 * max(learned_from(study, setting)[key] for key in measured)
    more = interval([float(law(ten)) for law in found])
    exponents = interval([law.exponent for law in found])
    return (
        f"Power law, error = a + b n^-c, fitted to each seed's runs: c = {exponents.mean:.2f}, "
        f"a = {interval([law.floor for law in found]).mean:.1f}. Ten times more, {ten:,} pictures, "
        f"would give {MEASURES[study.measures[0]]}: {_cell(more)}."
    )


def plot(study, measured, figure=None, setting=None, count=None):
    """A panel for each measure: every seed a dot, the mean and its interval; returns the figure.

    Args:
        study, measured, setting: as for `table`.
        figure: of Matplotlib, or a part of one, to draw into; None is a new one.
        count: of measures; None is all.
    """
    from matplotlib import pyplot as plt

    names = _known(study, measured)[:count]
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
    pictures = learned_from(study, setting)
    for key, own in zip(measured, values, strict=True):
        one = interval(own)
        axis.plot([pictures[key]] * len(own), own, "o", color="0.6", markersize=4)
        axis.errorbar(pictures[key], one.mean, yerr=_error(one), fmt="D", color="C0", capsize=3)
    axis.set(xlabel="pictures", xscale="log")
    ticks = [pictures[key] for key in measured]
    axis.set_xticks(ticks, [f"{count:,}" for count in ticks], rotation=30)
    axis.minorticks_off()


def _draw_fits(axis, study, measured, setting):
    pictures = [learned_from(study, setting)[key] for key in measured]
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
