"""Training: from settings and records to a trained network; can be interrupted at any step.

OUT/
  config.yml          the settings
  run.json            records, commit, versions of packages
  last.npz, best.npz  checkpoints: weights, optimizer, random states, step
  log.csv             every loss, every step
  validation.csv      errors on the validation split
  events.out...       the same for TensorBoard, and overlays
  model.keras         the best network, when the training is over
  model.npz           the same in half precision, to be shared
"""

import gc
import json
import os
import platform
import tempfile
from contextlib import closing, nullcontext
from importlib.metadata import version
from pathlib import Path

import keras
from keras import ops

import hmrlib
from hmrlib.data.feed import Feed
from hmrlib.data.pipeline import NONE, Augmentation, MixedDataset
from hmrlib.data.records import RecordError, Records, find_shards, finished
from hmrlib.io import atomic_write, commit_of, locked
from hmrlib.network.discriminator import Discriminator
from hmrlib.network.hmr import HMR
from hmrlib.training.adversarial import AdversarialModel, build_optimizer
from hmrlib.training.callbacks import Checkpoint, LossLog, Run, Validation
from hmrlib.training.checkpoint import (
    TrainingError,
    load_checkpoint,
    load_model,
    load_run,
    read_about,
    save_model,
)
from hmrlib.training.config import ConfigError, read_config
from hmrlib.training.distribution import distribute, gather, single_process

# drawn from the prior once: to draw for each batch would take longer than its pictures
PRIOR_POSES = 4096


def train(config, records, out, resume=False, progress=None, callbacks=()):
    """Train, from the beginning or from the last checkpoint on.

    Ctrl-C ends it after the present step, with a checkpoint; a second one at once. Of several
    processes, see `hmrlib.training.distribution`, it may come to any: all end after the same step.
    Each of them needs the records and `out`, so that all resume from the same checkpoint; the first
    one writes.

    Args:
        config: `TrainConfig`.
        records: folders of records; their split "train" is learned, "validation" watched.
        out: folder, see above; made if it does not exist.
        resume: go on from `out`/last.npz.
        progress: show a bar; None: where there is a screen.
        callbacks: of Keras, to look on, such as `hmrlib.training.live.LiveCurves`.

    Returns:
        the network, `HMR`, as it is at the end.

    Raises:
        TrainingError: records or checkpoint do not fit; or a loss is not finite any more.
        hmrlib.io.FolderInUseError: another training writes into `out`.
        OSError: the disk is full, or such; the last checkpoint is kept.
        KeyboardInterrupt: after Ctrl-C, when the checkpoint is written.
    """
    writes = os.environ.get("KERAS_DISTRIBUTION_PROCESS_ID", "0") == "0"
    with locked(out) if writes else nullcontext():
        return _begin(config, records, Path(out), resume, progress, callbacks)


def _begin(config, records, out, resume, progress, callbacks):
    """Look at what `out` holds, and train; see `train`."""
    last = out / "last.npz"
    if last.exists() and not resume:
        raise TrainingError(f"{out} holds a training: go on with --resume, or take another folder")
    if resume and not last.exists():
        raise TrainingError(f"{out} holds no checkpoint (last.npz) to resume from")
    if resume and (differ := config.differences(read_config(out / "config.yml"))):
        raise ConfigError(
            f"the training in {out} has other settings: {', '.join(differ)}; they must be the same"
        )
    with single_process():
        return _train(config, records, out, resume, progress, callbacks)


def _train(config, records, out, resume, progress, callbacks):
    """The training, shared as `distribute` says; see `train`."""
    share = distribute(config)
    mixed, watched = open_data(config, records, share[:2])
    with share.scope or nullcontext():
        model = build_model(config, bare=resume)
    about = {"step": 0, "best": None, "waited": 0}
    if resume:
        stored = load_checkpoint(out / "last.npz", model)
        about = {name: stored[name] for name in about} | _best_kept(out, stored)
    first = share.index == 0
    if first:
        if not resume:  # of a run that was killed before its first checkpoint
            (out / "best.npz").unlink(missing_ok=True)
        config.save(out / "config.yml")
        _write_json(out / "run.json", describe_run(records))
    todo = config.steps - about["step"]
    if todo > 0 and not (config.patience and about["waited"] >= config.patience):
        with closing(Run(config, out, share, progress, about)) as run:
            _fit(model, run, mixed, watched, callbacks)
        about = run.about
    with single_process():
        if first:
            best = load_run(out)
            _save_keras(out / "model.keras", best)
            # to be shared: names of the records' folders, not where they lie
            origin = describe_run(records) | {"records": [Path(folder).name for folder in records]}
            save_model(out / "model.npz", best, run=origin, best=about["best"])
        return model.hmr if share.scope is None else gather(model.hmr)


def _fit(model, run, mixed, watched, callbacks):
    """The steps that are left; KeyboardInterrupt after Ctrl-C."""
    checkpoint = Checkpoint(run)
    beside = [LossLog(run), *([Validation(run, watched)] if watched else []), checkpoint]
    steps = run.config.steps - run.step
    with closing(Feed(mixed, run.step, steps)) as feed, checkpoint.interruptible():
        try:
            model.fit(feed, callbacks=[*beside, *callbacks], shuffle=False, verbose=0)
        except Exception:
            if feed.error:  # TensorFlow made its own error of it
                raise feed.error from None
            raise
    # TensorFlow's threads that fetch ahead must end before Python, whose end waits for them
    gc.collect()
    if checkpoint.interrupted:
        raise KeyboardInterrupt


def build_model(config, bare=False):
    """The network and its discriminator, compiled, with their first weights.

    Args:
        config: `TrainConfig`.
        bare: weights at random, whatever the settings say: a checkpoint's will follow.

    Returns:
        `AdversarialModel`.
    """
    keras.utils.set_random_seed(config.seed)
    given = None if bare or config.start_from else config.encoder_weights
    hmr, discriminator = HMR(config.network, encoder_weights=given), Discriminator()
    hmr.encoder.trainable = not config.freeze_encoder
    model = AdversarialModel(hmr, discriminator, config)
    model.compile(
        build_optimizer(hmr, discriminator, config),
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    model.optimizer.build(model.trainable_variables)
    if config.start_from and not bare:
        _take_weights(hmr, config.start_from)
    return model


def _best_kept(out, stored):
    """How good `out`/best.npz is, where that is another network than `stored`, the last, says.

    As it is after a kill between the two in the days when `last` was written first.
    """
    path = out / "best.npz"
    best = read_about(path) if path.exists() else {"step": 0, "best": None}
    return {"best": best["best"]} if best["step"] <= stored["step"] else {}


def _take_weights(hmr, path):
    """Set a network's weights to those of a trained one; of another one, the encoder's alone."""
    other = load_model(None if path == "shipped" else path)
    pairs = list(zip(hmr.variables, other.variables, strict=False))
    if [v.shape for v in other.variables] != [v.shape for v in hmr.variables]:
        if other.config.encoder != hmr.config.encoder:
            raise ConfigError(
                f"start_from: {path} has another encoder, {other.config.encoder}; the settings "
                f"say {hmr.config.encoder}"
            )
        ours, theirs = hmr.encoder.variables, other.encoder.variables
        pairs = list(zip(ours, theirs, strict=False))
        if [v.shape for v in ours] != [v.shape for v in theirs]:  # one has maps, the other not
            named = {variable.path: variable for variable in theirs}
            pairs = [(v, named[v.path]) for v in ours if v.path in named]
    for variable, array in pairs:
        variable.assign(ops.convert_to_numpy(array.value))


def open_data(config, records, process=(0, 1)):
    """The training's `MixedDataset`, and that of the validation split, or None where there is none.

    Args:
        process: process_index, process_count: which part of each training batch is this one's.

    Raises:
        TrainingError: nothing to learn 3D from, or no real poses for the adversary.
        hmrlib.data.records.RecordError: no records.
    """
    records = [str(folder) for folder in records]
    if config.shares and len(config.shares) != len(records):
        raise ConfigError(f"{len(config.shares)} shares for {len(records)} folders of records")
    if config.adversarial and config.poses is None:
        raise TrainingError(
            'the adversary needs real poses: poses: "prior", or the path of a library (`hmr data '
            "mocap`); adversarial: 0 goes without"
        )
    sizes = [_known(folder, "train") for folder in records]
    total = sum(size["samples"] for size in sizes)
    if not any(size["3d"] for size in sizes) and config.poses is None:
        raise TrainingError(
            f"none of the {total} records has any 3D label, and there are no real poses either: "
            "the network could learn monsters only. Give poses, or records with 3D"
        )
    shares = config.shares or [max(size["samples"], 1) for size in sizes]
    sources = dict(zip(records, shares, strict=True))
    poses = config.poses if config.adversarial else None
    if poses == "prior":
        from hmrlib.motion.prior import load_prior

        poses = load_prior().sample(PRIOR_POSES, config.seed)
    augmentation = NONE if config.augmentation is None else Augmentation(**config.augmentation)
    options = {"seed": config.seed, "crop": config.size}
    mixed = MixedDataset(
        sources,
        config.batch_size,
        augmentation=augmentation,
        poses=poses,
        split="train",
        **options,
    )
    mixed = mixed.for_process(*process)
    watched = []
    for folder in records:
        try:
            watched += find_shards(folder, "validation")
        except RecordError:
            continue
    if not watched:
        return mixed, None
    return mixed, MixedDataset(Records(watched), config.batch_size, once=True, **options)


def _known(folder, split):
    """How many samples a folder has, and how many of them know 3D keypoints or a pose."""
    summaries = [finished(path) or {} for path in find_shards(folder, split)]
    known = [summary.get("known", {}) for summary in summaries]
    return {
        "samples": sum(summary.get("samples", 0) for summary in summaries),
        "3d": sum(k.get("keypoints_3d", 0) + k.get("pose", 0) for k in known),
    }


def describe_run(records):
    """Where a training comes from: records, commit, versions, machine."""
    commit, clean = commit_of(Path(hmrlib.__file__).parent)
    packages = ("keras", "numpy", keras.backend.backend())
    return {
        "records": [str(folder) for folder in records],
        "hmrlib": hmrlib.__version__,
        "commit": commit,
        "clean": clean,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def _save_keras(path, hmr):
    """Keras saves by name alone: elsewhere, then whole."""
    with tempfile.TemporaryDirectory() as folder, atomic_write(path) as file:
        hmr.save(Path(folder) / path.name)
        file.write((Path(folder) / path.name).read_bytes())


def _write_json(path, content):
    with atomic_write(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())
