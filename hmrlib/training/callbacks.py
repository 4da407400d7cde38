"""What goes on beside a training's steps: a log, validations, checkpoints; a callback each.

They share a `Run`, and of several processes each has its own: all count, validate and stop alike,
but only the first one writes.
"""

import os
import signal
import sys
import threading
from contextlib import contextmanager

import keras
import numpy as np
from keras import ops
from tqdm import tqdm

from hmrlib.camera import crop_box, crop_camera
from hmrlib.evaluation.validation import validate
from hmrlib.render import render
from hmrlib.training.adversarial import LOSSES
from hmrlib.training.checkpoint import TrainingError, save_checkpoint, sync_state
from hmrlib.training.distribution import gather, single_process
from hmrlib.training.logs import EventLog, append_row, cut_log, sync_log

LOGS = ("log.csv", "validation.csv")


class Run:
    """A training under way.

    Args:
        config: `TrainConfig`.
        out: folder.
        share: this process' `Share`.
        progress: show a bar; None: where there is a screen.
        about: dict of `step`, steps made; `best`, the lowest error of a validation, or None;
            `waited`, validations since.
    """

    def __init__(self, config, out, share, progress, about):
        self.config, self.out, self.share, self.about = config, out, share, dict(about)
        self.writes, self.events = share.index == 0, None
        self.progress = self.writes and (sys.stderr.isatty() if progress is None else progress)
        bar = {"total": config.steps, "initial": self.step, "unit": "step"}
        self.bar = tqdm(**bar, disable=not self.progress)
        if self.writes:
            for name in LOGS:
                cut_log(out / name, self.step)
            self.events = EventLog(out, self.step)

    @property
    def step(self):
        """Steps made so far."""
        return self.about["step"]

    def is_due(self, every):
        """Whether something is to be done after this step that is done `every` so many."""
        return self.step % every == 0 or self.step == self.config.steps

    def save(self, name, model):
        """Write a checkpoint, after all that was logged before it."""
        if self.writes:
            for log in LOGS:
                sync_log(self.out / log)
            save_checkpoint(self.out / name, model, self.about)

    def close(self):
        """Also when the training fails; Keras calls `on_train_end` only when it does not."""
        self.bar.close()
        if self.events:
            self.events.close()


class LossLog(keras.callbacks.Callback):
    """Counts the steps, and logs every loss of each."""

    def __init__(self, run):
        super().__init__()
        self.run = run

    def on_train_batch_end(self, batch, logs=None):
        run = self.run
        run.about["step"] += 1
        values = {name: float(logs[name]) for name in LOSSES}
        # Keras' "loss" is a mean since the beginning
        values = {"loss": sum(self.model.weight(name) * values[name] for name in LOSSES), **values}
        if not np.isfinite(values["loss"]):
            raise TrainingError(
                f"step {run.step}: the loss is {values['loss']} ({values}); the labels are finite, "
                "so the learning rate is too high. The last checkpoint is kept"
            )
        run.bar.update()
        run.bar.set_postfix(loss=f"{values['loss']:.3g}", refresh=False)
        if run.writes:
            append_row(run.out / "log.csv", {"step": run.step, **values})
            run.events.add(run.step, "loss", values)
            if run.is_due(run.config.checkpoint_every):
                run.events.add(run.step, "rate", self._rates())

    def _rates(self):
        sync_state(self.model)
        names = ("encoder", "regressor", "discriminator")
        sides = zip(names, self.model.optimizer.optimizers, strict=False)
        return {name: float(ops.convert_to_numpy(side.learning_rate)) for name, side in sides}


class Validation(keras.callbacks.Callback):
    """Looks at the validation split, keeps the best network, and stops when it gets no better.

    Args:
        run: `Run`.
        watched: `MixedDataset(once=True)`.
    """

    def __init__(self, run, watched):
        super().__init__()
        self.run, self.watched, self.copy = run, watched, None

    def on_train_batch_end(self, batch, logs=None):
        run, about = self.run, self.run.about
        if not run.is_due(run.config.validate_every):
            return
        errors = self._look()
        score = errors["pa_mpjpe"] if errors["samples_3d"] else errors["reprojection"]
        better = about["best"] is None or score < about["best"]
        about["best"] = score if better else about["best"]
        about["waited"] = 0 if better else about["waited"] + 1
        if better:  # before `last` says how good it is: a kill may come between
            run.save("best.npz", self.model)
        if run.config.patience and about["waited"] >= run.config.patience:
            self.model.stop_training = True

    def _look(self):
        """The network's errors, written down."""
        run = self.run
        sync_state(self.model)
        with single_process():
            hmr = self.model.hmr
            if run.share.scope is not None:
                hmr = self.copy = gather(hmr, self.copy)
            errors = validate(hmr, self.watched, run.share[:2])
            if run.writes:
                images = overlays(hmr, self.watched[0], run.config.overlays)
        if run.writes:
            append_row(run.out / "validation.csv", {"step": run.step, **errors})
            run.events.add(run.step, "validation", errors, images)
        if run.progress:
            text = ", ".join(f"{name} {value:.1f}" for name, value in errors.items())
            run.bar.write(f"step {run.step}: {text}", file=sys.stderr)
        return errors


class Checkpoint(keras.callbacks.Callback):
    """Writes `last.npz`, from which the training can go on; and ends it after Ctrl-C."""

    def __init__(self, run):
        super().__init__()
        self.run, self.asked, self.interrupted = run, False, False

    def ask(self, number=None, stack=None):
        """Ctrl-C: end the training after this step; or, the second time, at once."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        if self.run.share.count > 1:  # JAX takes this as the notice to end, tells all, finds a step
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self.interrupted = True

    @contextmanager
    def interruptible(self):
        """While it lasts, Ctrl-C is `ask`."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self.ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def on_train_batch_end(self, batch, logs=None):
        run = self.run
        if run.share.count > 1:
            from jax.experimental.multihost_utils import reached_preemption_sync_point

            self.interrupted = reached_preemption_sync_point(run.step)
        self.model.stop_training |= self.interrupted
        if self.model.stop_training or run.is_due(run.config.checkpoint_every):
            run.save("last.npz", self.model)


def overlays(hmr, batch, count):
    """The first pictures of a batch, each beside itself with the recovered body over it.

    Returns:
        list of (H, 2 W, 3) uint8.
    """
    images = batch["image"][:count]
    if not count:
        return []
    box = ops.convert_to_numpy(crop_box(batch, hmr.size))[:count] if hmr.box_input else None
    last = hmr.recover(images, box)[-1]
    pairs = []
    for i, image in enumerate(images):
        camera = crop_camera(last.camera[i], hmr.size)
        over = render(last.vertices[i], hmr.body.faces, camera, background=image).image
        pairs.append(np.hstack([image, over]))
    return pairs
