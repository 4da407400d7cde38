"""What a training writes down as it goes: `.csv` files, and TensorBoard's events."""

import csv
import io
import os
import time
from pathlib import Path

import numpy as np
from PIL import Image

from hmrlib.io import atomic_write, extra, naming
from hmrlib.training.checkpoint import TrainingError


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


def append_row(path, row):
    """Add a row to a `.csv`; what a file of an earlier version has no column for is left out."""
    with naming(path), open(path, "a+", newline="", encoding="utf-8") as file:
        file.seek(0)
        begun = next(csv.reader(file), [])
        file.seek(0, os.SEEK_END)
        writer = csv.DictWriter(file, begun or row, extrasaction="ignore", lineterminator="\n")
        if not begun:
            writer.writeheader()
        writer.writerow(row)


def cut_log(path, step):
    """Forget what was logged after `step`, those steps are going to be made again; or in part."""
    if not path.exists():
        return
    head, *lines = _whole_lines(path) or [""]
    numbers = [line.partition(",")[0] for line in lines]
    kept = [
        line
        for line, number in zip(lines, numbers, strict=True)
        if number.isdecimal() and int(number) <= step
    ]
    with atomic_write(path) as file:
        file.write("".join([head, *kept]).encode())


def sync_log(path):
    """Have a log on the disk, before a checkpoint that comes after its last row."""
    if path.exists():
        with naming(path), open(path, "rb+") as file:
            os.fsync(file.fileno())


def _whole_lines(path):
    lines = path.read_text("utf-8").splitlines(keepends=True)
    return lines if not lines or lines[-1].endswith("\n") else lines[:-1]


class EventLog:
    """TensorBoard's events of a training, from a step on.

    Args:
        out: folder.
        step: the last one that was made before.
    """

    def __init__(self, out, step):
        # not tensorboard's EventFileWriter: it would load TensorFlow wherever that is installed
        with extra("train"):
            from tensorboard.summary.writer.record_writer import RecordWriter

        self.path = out / f"events.out.tfevents.{time.time():.0f}.{step}"
        self.file = RecordWriter(open(self.path, "wb"))  # noqa: SIM115, closed at the end
        self._write(file_version="brain.Event:2")
        # TensorBoard forgets what another run, that was killed, said of the steps from here on
        self._write(step=step + 1, session_log={"status": "START"})

    def add(self, step, kind, scalars, images=()):
        """Write numbers {name: value} as `kind`/name, and pictures (H, W, 3) uint8."""
        with extra("train"):
            from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary()
        for name, value in scalars.items():
            summary.value.add(tag=f"{kind}/{name}", simple_value=value)
        for i, image in enumerate(images):
            height, width = image.shape[:2]
            picture = Summary.Image(height=height, width=width, encoded_image_string=_png(image))
            summary.value.add(tag=f"overlay/{i}", image=picture)
        self._write(step=step, summary=summary)

    def _write(self, **event):
        with extra("train"):
            from tensorboard.compat.proto.event_pb2 import Event

        with naming(self.path):
            self.file.write(Event(wall_time=time.time(), **event).SerializeToString())
            self.file.flush()

    def close(self):
        """Write what is left."""
        with naming(self.path):
            self.file.close()


def _png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()
