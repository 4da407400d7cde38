"""Frames out of a video file, and into one: PyAV, which has FFmpeg's libraries with it."""

from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hmrlib.io import atomic_write, extra
from hmrlib.io.images import LARGEST
from hmrlib.prediction.photograph import PredictionError

VIDEOS = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".mts")
FPS = 30.0  # where a file does not say


class Frame(NamedTuple):
    """One frame of a video: its number, counted with those that are damaged, and (H, W, 3)."""

    number: int
    image: np.ndarray


class Reader:
    """The frames of a video, one after another, upright.

        reader = Reader("walk.mp4")
        for number, image in reader: ...
        reader.damaged, reader.fps

    Attributes:
        fps: frames a second.
        length: how many frames the file says it has, 0 if it does not say.
        damaged: how many could not be read so far; they are left out.
    """

    def __init__(self, path):
        """
        Raises:
            PredictionError: no video that can be read, or one without pictures in it.
            ModuleNotFoundError: PyAV is not installed.
            OSError: there is no such file.
        """
        self.path, self.damaged = Path(path), 0
        with self._open() as (_, stream):
            self.fps = float(stream.average_rate or stream.guessed_rate or FPS)
            self.length = int(stream.frames)
        if not 1 <= self.fps <= 1000:
            self.fps = FPS

    def __iter__(self):
        """`Frame`s. Raises PredictionError if there is not a single whole one."""
        self.damaged, number = 0, 0
        with self._open() as (container, stream):
            for packet in self._packets(container, stream):
                try:
                    decoded = packet.decode()
                except _av().error.FFmpegError:
                    decoded = [None]
                for frame in decoded:
                    if frame is None or frame.is_corrupt:
                        self.damaged += 1
                    else:
                        yield Frame(number, _upright(frame))
                    number += 1
        if number == self.damaged:
            raise PredictionError(f"{self.path}: a video without a whole frame")

    def _packets(self, container, stream):
        """The stream's packets, up to where the file is damaged beyond repair."""
        packets = container.demux(stream)
        while True:
            try:
                yield next(packets)
            except StopIteration:
                return
            except _av().error.FFmpegError:
                self.damaged += 1
                return

    @contextmanager
    def _open(self):
        av = _av()
        if not self.path.is_file():
            raise FileNotFoundError(2, "No such file", str(self.path))
        try:
            container = av.open(str(self.path.resolve()))
        except (av.error.FFmpegError, ValueError) as error:
            raise PredictionError(f"{self.path}: not a video that can be read ({error})") from error
        with container:
            if not container.streams.video:
                raise PredictionError(f"{self.path}: there are no pictures in this file")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            if stream.width * stream.height > LARGEST:
                raise PredictionError(
                    f"{self.path}: its frames are too large, {stream.width} x {stream.height}"
                )
            yield container, stream


def _av():
    with extra("predict"):
        import av

    av.logging.set_level(av.logging.PANIC)  # what is damaged is counted, not printed
    return av


def _upright(frame):
    """A frame as it is to be seen: phones store the turn beside the pixels."""
    image = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


@contextmanager
def writer(path, fps, size):
    """Write a video, whole or not at all; gives a function that takes each frame (H, W, 3) uint8.

    Args:
        path: `.mp4`; H.264, else MPEG-4.
        fps: frames a second.
        size: (width, height); one pixel less is written where a side is odd.
    """
    av = _av()
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    width, height = (int(side) // 2 * 2 for side in size)
    with atomic_write(path) as file, av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if codec == "libx264":
            stream.options = {"crf": "18", "preset": "veryfast"}

        def write(image):
            image = np.ascontiguousarray(image[:height, :width])
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame))

        yield write
        container.mux(stream.encode())
