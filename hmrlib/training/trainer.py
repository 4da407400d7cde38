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

import csv
import gc
import io
import json
import os
import platform
import signal
import sys
import tempfile
import threading
import time
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
from keras import ops
from PIL import Image
from tqdm import tqdm

import hmrlib
from hmrlib.camera import crop_box, crop_camera
from hmrlib.data.pipeline import NONE, Augmentation, Mix
from hmrlib.data.records import RecordError, Records, find_shards, finished
from hmrlib.evaluation.protocols import validate
from hmrlib.io import atomic_write, commit_of, locked, naming
from hmrlib.network.discriminator import Discriminator
from hmrlib.network.hmr import HMR
from hmrlib.render import render
from hmrlib.training.checkpoint import (
    TrainingError,
    load_checkpoint,
    load_model,
    load_run,
    read_about,
    save_checkpoint,
    save_model,
)
from hmrlib.training.config import ConfigError, read_config
from hmrlib.training.game import LOSSES, Game, build_optimizer


def train(config, records, out, resume=False, progress=None, callbacks=()):
    """Train, from the beginning or from the last checkpoint on.

    Ctrl-C ends it after the present step, with a checkpoint; a second one at once. Of several
    processes, see `distribute`, it may come to any: all end after the same step. Each of them
    needs the records and `out`, so that all resume from the same checkpoint; the first one writes.

    Args:
        config: `Config`.
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
    with alone():
        return _train(config, records, out, resume, progress, callbacks, *distribute(config))


def _train(config, records, out, resume, progress, callbacks, part, scope):
    """The training, shared as `distribute` says; see `train`."""
    mix, watched = open_data(config, records, part)
    keras.utils.set_random_seed(config.seed)
    with scope or nullcontext():
        given = {"encoder_weights": None} if resume or config.start_from else {}
        hmr = HMR(**config.model | given)
        game = Game(hmr, Discriminator(), config)
        game.compile(
            build_optimizer(hmr, game.adversary, config),
            jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
        )
        game.optimizer.build(game.trainable_variables)
    if config.start_from and not resume:
        _take_weights(hmr, config.start_from)
    about = {"step": 0, "best": None, "waited": 0}
    if resume:
        stored = load_checkpoint(out / "last.npz", game)
        about = {name: stored[name] for name in about} | _best_kept(out, stored)
    first = part[0] == 0
    if first:
        if not resume:  # of a run that was killed before its first checkpoint
            (out / "best.npz").unlink(missing_ok=True)
        config.save(out / "config.yml")
        _write_json(out / "run.json", describe_run(records))
    todo = config.steps - about["step"]
    if todo > 0 and not (config.patience and about["waited"] >= config.patience):
        keeper = Keeper(config, out, about, watched, part, scope is not None, progress)
        failures = []
        data = feed(mix, about["step"], todo, failures)
        with interruptible(keeper), closing(keeper):
            try:
                callbacks = [keeper, *callbacks]
                game.fit(data, steps_per_epoch=todo, callbacks=callbacks, shuffle=False, verbose=0)
            except Exception:
                if failures:  # TensorFlow made its own error of it
                    raise failures[0] from None
                raise
        # TensorFlow's threads that fetch ahead must end before Python, whose end waits for them
        gc.collect()
        about = keeper.about
        if keeper.interrupted:
            raise KeyboardInterrupt
    with alone():
        if first:
            best = load_run(out)
            _save_keras(out / "model.keras", best)
            # to be shared: names of the records' folders, not where they lie
            run = describe_run(records) | {"records": [Path(folder).name for folder in records]}
            save_model(out / "model.npz", best, run=run, best=about["best"])
        return hmr if scope is None else undivided(hmr)


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
        if other.settings["encoder"] != hmr.settings["encoder"]:
            raise ConfigError(
                f"start_from: {path} has another encoder, {other.settings['encoder']}; the "
                f"settings say {hmr.settings['encoder']}"
            )
        ours, theirs = hmr.encoder.variables, other.encoder.variables
        pairs = list(zip(ours, theirs, strict=False))
        if [v.shape for v in ours] != [v.shape for v in theirs]:  # one has maps, the other not
            named = {variable.path: variable for variable in theirs}
            pairs = [(v, named[v.path]) for v in ours if v.path in named]
    for variable, array in pairs:
        variable.assign(ops.convert_to_numpy(array.value))


def open_data(config, records, part=(0, 1)):
    """The training's `Mix`, and that of the validation split, or None where there is none.

    Args:
        part: this process' number, and how many share each batch of the training.

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

        poses = load_prior()
    augmentation = NONE if config.augmentation is None else Augmentation(**config.augmentation)
    options = {"seed": config.seed, "crop": config.size}
    mix = Mix(
        sources,
        config.batch_size,
        augmentation=augmentation,
        poses=poses,
        split="train",
        part=part,
        **options,
    )
    watched = []
    for folder in records:
        try:
            watched += find_shards(folder, "validation")
        except RecordError:
            continue
    if not watched:
        return mix, None
    return mix, Mix(Records(watched), config.batch_size, once=True, **options)


def _known(folder, split):
    """How many samples a folder has, and how many of them know 3D keypoints or a pose."""
    summaries = [finished(path) or {} for path in find_shards(folder, split)]
    known = [summary.get("known", {}) for summary in summaries]
    return {
        "samples": sum(summary.get("samples", 0) for summary in summaries),
        "3d": sum(k.get("keypoints_3d", 0) + k.get("pose", 0) for k in known),
    }


def feed(mix, first, steps, failures):
    """The batches from step `first` on, as `fit` takes them; `checked_batches` says the rest."""
    batches = partial(checked_batches, mix, first, steps, failures)
    if keras.backend.backend() != "tensorflow":
        return batches()
    import tensorflow as tf

    # no generator: under MirroredStrategy Keras takes a batch of it to look at, and begins anew
    kinds = {
        name: tf.TensorSpec((None, *value.shape[1:]), value.dtype)
        for name, value in mix[first].items()
    }
    data = tf.data.Dataset.from_generator(batches, output_signature=(kinds,))
    return data.prefetch(tf.data.AUTOTUNE)


def checked_batches(mix, first, steps, failures):
    """The batches from step `first` on.

    Raises:
        TrainingError: a label is not finite; the sample is named. This and any other error is kept
            in the list `failures`, too.
    """
    try:
        for batch in mix.batches(first, steps):
            for name, value in batch.items():
                if value.dtype.kind == "f" and not np.isfinite(value).all():
                    row = int(np.argwhere(~np.isfinite(value))[0][0])
                    source, index = (int(i) for i in batch["index"][row])
                    records = mix.sources[source]
                    sample = records.read(index, images=False)
                    raise TrainingError(
                        f"{records.paths[records.shard[index]]}: {name} of the sample "
                        f"{sample['source']}/{sample['id']} has NaN or infinity; take it out"
                    )
            yield (batch,)
    except Exception as error:
        failures.append(error)
        raise


class Keeper(keras.callbacks.Callback):
    """Keeps what a training makes: the log, checkpoints, validations, TensorBoard's events.

    Of several processes each counts, validates and stops alike, but only the first one writes.
    """

    def __init__(self, config, out, about, watched, part=(0, 1), shared=False, progress=None):
        super().__init__()
        self.config, self.out, self.about, self.watched = config, out, dict(about), watched
        self.part, self.shared, self.writes = part, shared, part[0] == 0
        self.progress = self.writes and (sys.stderr.isatty() if progress is None else progress)
        self.asked = self.interrupted = False
        self.rows, self.copy, self.events = [], None, None
        step, steps = self.about["step"], self.config.steps
        self.bar = tqdm(total=steps, initial=step, unit="step", disable=not self.progress)
        if not self.writes:
            return
        for name in ("log.csv", "validation.csv"):
            _cut_log(out / name, step)
        # not tensorboard's EventFileWriter: it would load TensorFlow wherever that is installed
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.told = out / f"events.out.tfevents.{time.time():.0f}.{step}"
        self.events = RecordWriter(open(self.told, "wb"))  # noqa: SIM115, closed at the end
        self._write(file_version="brain.Event:2")
        # TensorBoard forgets what another run, that was killed, said of the steps from here on
        self._write(step=step + 1, session_log={"status": "START"})

    def ask(self, number=None, stack=None):
        """Ctrl-C: end the training after this step; or, the second time, at once."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        if self.part[1] > 1:  # JAX takes this as the notice to end, tells all, and finds a step
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self.interrupted = True

    def on_train_batch_end(self, batch, logs=None):
        self.about["step"] = step = self.about["step"] + 1
        values = {name: float(logs[name]) for name in ("loss", *LOSSES)}
        # Keras' "loss" is a mean since the beginning
        values["loss"] = sum(self.model.weight(name) * values[name] for name in LOSSES)
        if not np.isfinite(values["loss"]):
            raise TrainingError(
                f"step {step}: the loss is {values['loss']} ({values}); the labels are finite, so "
                "the learning rate is too high. The last checkpoint is kept"
            )
        self.rows.append({"step": step, **values})
        self.bar.update()
        self.bar.set_postfix(loss=f"{values['loss']:.3g}", refresh=False)
        if self.part[1] > 1:
            from jax.experimental.multihost_utils import reached_preemption_sync_point

            self.interrupted = reached_preemption_sync_point(step)
        over = step == self.config.steps or self.interrupted
        looks = self.watched is not None and step % self.config.validate_every == 0
        if looks or over or step % self.config.checkpoint_every == 0:
            if hasattr(self.model, "jax_state_sync"):
                self.model.jax_state_sync()
            better = self._validate(step) if looks or (over and self.watched) else False
            if self.writes:
                self._write_log()
                if better:  # first: `last` says how good it is, and a kill may come between
                    save_checkpoint(self.out / "best.npz", self.model, self.about)
                save_checkpoint(self.out / "last.npz", self.model, self.about)
        patience = self.config.patience
        self.model.stop_training = over or bool(patience and self.about["waited"] >= patience)

    def close(self):
        """Also when the training fails; Keras calls `on_train_end` only when it does not."""
        self.bar.close()
        if self.events:
            with naming(self.told):
                self.events.close()

    def _validate(self, step):
        """Look at the validation split; returns whether the network is better than ever."""
        with alone():
            hmr = self.model.hmr
            if self.shared:
                hmr = self.copy = undivided(hmr, self.copy)
            errors = validate(hmr, self.watched, self.part)
            pictures = self.config.overlays if self.writes else 0
            images = overlays(hmr, self.watched[0], pictures)
        score = errors["pa_mpjpe"] if errors["samples_3d"] else errors["reprojection"]
        better = self.about["best"] is None or score < self.about["best"]
        self.about["best"] = score if better else self.about["best"]
        self.about["waited"] = 0 if better else self.about["waited"] + 1
        if self.writes:
            _append(self.out / "validation.csv", [{"step": step, **errors}])
            self._event(step, {f"validation/{name}": value for name, value in errors.items()})
            self._event(step, images=images)
        text = ", ".join(f"{name} {value:.1f}" for name, value in errors.items())
        self.bar.write(f"step {step}: {text}", file=sys.stderr) if self.progress else None
        return better

    def _write_log(self):
        _append(self.out / "log.csv", self.rows)
        for row in self.rows:
            self._event(
                row["step"], {f"loss/{name}": v for name, v in row.items() if name != "step"}
            )
        if self.rows:
            names = ("encoder", "regressor", "discriminator")
            rates = zip(names, self.model.optimizer.optimizers, strict=False)
            rates = {
                f"rate/{name}": float(ops.convert_to_numpy(side.learning_rate))
                for name, side in rates
            }
            self._event(self.about["step"], rates)
        with naming(self.told):
            self.events.flush()
        self.rows = []

    def _event(self, step, scalars=None, images=()):
        from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary()
        for tag, value in (scalars or {}).items():
            summary.value.add(tag=tag, simple_value=value)
        for i, image in enumerate(images):
            height, width = image.shape[:2]
            picture = Summary.Image(height=height, width=width, encoded_image_string=_png(image))
            summary.value.add(tag=f"overlay/{i}", image=picture)
        self._write(step=step, summary=summary)

    def _write(self, **event):
        from tensorboard.compat.proto.event_pb2 import Event

        self.events.write(Event(wall_time=time.time(), **event).SerializeToString())


def overlays(hmr, batch, count):
    """The first pictures of a batch, each beside itself with the recovered body over it.

    Returns:
        list of (H, 2 W, 3) uint8.
    """
    images = batch["image"][:count]
    box = ops.convert_to_numpy(crop_box(batch, hmr.size))[:count] if hmr.box_input else None
    last = hmr.recover(images, box)[-1] if count else None
    return [
        np.hstack(
            [
                image,
                render(
                    last.vertices[i],
                    hmr.body.faces,
                    crop_camera(last.camera[i], hmr.size),
                    background=image,
                ).image,
            ]
        )
        for i, image in enumerate(images)
    ]


@contextmanager
def interruptible(callback):
    """While it lasts, Ctrl-C is `callback.ask`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    before = signal.signal(signal.SIGINT, callback.ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# --- several devices ---------------------------------------------------------------------------


def distribute(config):
    """Share each batch among devices, by the engines that Keras has for it.

    JAX: among all devices of all processes, if Keras' environment variables name them
    (KERAS_DISTRIBUTION_JOB_ADDRESSES, ..._NUM_PROCESSES, ..._PROCESS_ID: the same command on each
    machine), else among `config.devices` of this one. The weights come out as those of one process.

    TensorFlow: `MirroredStrategy` over `config.devices` GPUs of this machine (without any, parts of
    its processor, to try it); its strategy for several machines does not work under Keras 3. Here
    each device takes its own mean over what its part of the batch knows, and its own batch
    statistics.

    Returns:
        this process' number and how many there are; and the context to build the network in, None
        if nothing is shared.

    Raises:
        TrainingError: the batch cannot be shared evenly, or the backend cannot share it.
    """
    processes = int(os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES", 1))
    if config.devices == 1 and processes == 1:
        return (0, 1), None
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        if processes > 1 and not jax.distributed.is_initialized():
            keras.distribution.initialize()
        devices = keras.distribution.list_devices()
        devices = _some(devices, 0 if processes > 1 else config.devices, config.batch_size)
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)
        )
        return (jax.process_index(), processes), nullcontext()
    if backend == "tensorflow" and processes == 1:
        import tensorflow as tf

        list_devices = tf.config.list_logical_devices
        names = [device.name for device in list_devices("GPU") or list_devices("CPU")]
        names = _some(names, config.devices, config.batch_size)
        return (0, 1), tf.distribute.MirroredStrategy(names).scope()
    raise TrainingError(
        f"several {'processes' if processes > 1 else 'devices'} are not for {backend}: "
        "KERAS_BACKEND=jax can"
    )


def _some(devices, count, batch_size):
    """The first `count` devices, or all if it is 0."""
    if count > len(devices):
        raise TrainingError(f"{count} devices are asked for, but there are {len(devices)}")
    devices = devices[: count or None]
    if batch_size % len(devices):
        raise TrainingError(
            f"a batch of {batch_size} cannot be shared by {len(devices)} devices evenly"
        )
    return devices


@contextmanager
def alone():
    """While it lasts, what this process computes on JAX concerns no other device.

    Otherwise even a new variable is one that all processes make together, and a process that makes
    it alone waits for the others for ever.
    """
    shared = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(shared)


def undivided(hmr, copy=None):
    """A network that is spread over devices, copied to one; into `copy`, where there is one."""
    copy = copy or HMR(encoder_weights=None, body=hmr.body, **hmr.settings)
    for variable, spread in zip(copy.variables, hmr.variables, strict=True):
        variable.assign(ops.convert_to_numpy(spread.value))
    return copy


# --- files -------------------------------------------------------------------------------------


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


def read_log(path):
    """A `.csv` of a training: column -> (N,) array. A line that is just being written is left.

    Raises:
        TrainingError: it is damaged.
        OSError: no such file, or it may not be read.
    """
    try:
        rows = list(csv.DictReader(_whole_lines(Path(path))))
        return {name: np.array([float(row[name]) for row in rows]) for name in (rows or [{}])[0]}
    except (ValueError, TypeError, csv.Error) as error:
        raise TrainingError(
            f"{path}: expected a line of numbers for each step ({error})"
        ) from error


def _whole_lines(path):
    lines = path.read_text("utf-8").splitlines(keepends=True)
    return lines if not lines or lines[-1].endswith("\n") else lines[:-1]


def _append(path, rows):
    """Add rows to a `.csv`, on the disk before any checkpoint that is of a later step."""
    if not rows:
        return
    with naming(path), open(path, "a+", newline="", encoding="utf-8") as file:
        file.seek(0)
        begun = next(csv.reader(file), [])  # a run of an earlier version lacks newer losses
        file.seek(0, os.SEEK_END)
        names = begun or rows[0].keys()
        writer = csv.DictWriter(file, names, extrasaction="ignore", lineterminator="\n")
        if not begun:
            writer.writeheader()
        writer.writerows(rows)
        file.flush()
        os.fsync(file.fileno())


def _cut_log(path, step):
    """Forget what was logged after `step`, those steps are going to be made again; or in part."""
    if not path.exists():
        return
    lines = _whole_lines(path)
    steps = [line.partition(",")[0] for line in lines[1:]]
    kept = [
        line
        for line, number in zip(lines[1:], steps, strict=True)
        if number.isdecimal() and int(number) <= step
    ]
    with atomic_write(path) as file:
        file.write("".join([*lines[:1], *kept]).encode())


def _save_keras(path, hmr):
    """Keras saves by name alone: elsewhere, then whole."""
    with tempfile.TemporaryDirectory() as folder, atomic_write(path) as file:
        hmr.save(Path(folder) / path.name)
        file.write((Path(folder) / path.name).read_bytes())


def _write_json(path, content):
    with atomic_write(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


def _png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()
