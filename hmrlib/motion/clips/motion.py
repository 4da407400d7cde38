"""A clip, played: what every reader of clips makes, and what the readers have in common."""

import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from hmrlib.body.kinematics import forward_kinematics
from hmrlib.motion import skeletons
from hmrlib.motion.skeletons import UNITS, UPS, MocapError, MocapWarning

RATES = (1.0, 10_000.0)  # frames a second that are believed
MOST_JOINTS = 4096
LARGEST = 1e9  # of numbers: sums and squares of them stay finite, in single precision too
# positions that a file may ask for beside the numbers it holds: joints that never move are free
_PLAYED_PER_NUMBER = 32


@dataclass(frozen=True, eq=False)
class Motion:
    """A clip, played.

    Attributes:
        names: J names: the file's joints, and the ends of chains.
        parents: J integers, parents before children, -1 for the root.
        positions: (T, J, 3) metres.
        rotations: (T, J, 3, 3) in the world: what each joint does to what hangs on it.
        fps: frames a second.
        rest: (J, 3) metres, where the joints are when no joint is turned.
        notes: what was mended or guessed when the file was read, each a sentence.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    positions: np.ndarray
    rotations: np.ndarray
    fps: float
    rest: np.ndarray
    notes: tuple[str, ...] = ()

    def bone_lengths(self):
        """(T, J) metres from each joint to its parent, 0 for the root."""
        vectors = self.positions - self.positions[:, np.maximum(self.parents, 0)]
        return np.linalg.norm(vectors, axis=-1)


def rest_positions(parents, offsets):
    """Where joints (J, 3) are, offsets (J, 3) from their parents, when no joint is turned."""
    return forward_kinematics(np.tile(np.eye(3), (len(offsets), 1, 1)), offsets, parents)[1]


def settled(path, motion, unit, up, notes, stated=None, grounded=False):
    """A motion as a file has it, in metres and y up, with what there is to say.

    Args:
        unit, up: as for `read_bvh`; notes: so far; stated: metres, the file's own word.
        grounded: take the root's place at rest away where that brings the feet to the floor.
    """
    metres = None if unit is None else metres_of(unit)
    if metres is None:
        metres, said = skeletons.find_unit(motion, path, stated)
        notes = [*notes, said]
    if up is None:
        up, said = skeletons.find_up(motion)
        notes = [*notes, said]
    elif up not in UPS:
        raise MocapError(f"{path}: up {up!r}; expected one of {', '.join(UPS)}")
    turn, rest_turn = UPS[up], UPS[skeletons.rest_up(motion) or up]
    positions, rest = motion.positions @ turn.T, motion.rest @ rest_turn.T
    if grounded:  # files disagree on whether the root's OFFSET is to be added
        offset = turn @ motion.rest[motion.parents.index(-1)]
        lowest = np.median(positions[..., 1].min(axis=1))
        if abs(lowest - offset[1]) < abs(lowest):
            positions = positions - offset
    return replace(
        motion,
        positions=positions * metres,
        rotations=turn @ motion.rotations @ rest_turn.T,
        rest=rest * metres,
        notes=tuple(f"{path}: {note}" for note in notes if note),
    )


def metres_of(unit):
    """Metres a unit of length, from a name in `UNITS` or a number."""
    if isinstance(unit, str) and unit in UNITS:
        return UNITS[unit]
    try:
        metres = parse_number(str(unit))
    except ValueError:
        metres = 0
    if not metres > 0:
        raise MocapError(
            f"unit {unit!r}: expected one of {', '.join(UNITS)}, or metres a unit of length"
        )
    return metres


def warn(motion):
    """Say as warnings, of the line that called the reader, what was mended or guessed."""
    for note in motion.notes:
        warnings.warn(note, MocapWarning, stacklevel=3)


def resampled(motion, fps):
    """The motion at another rate: positions linearly, rotations along the shortest arc.

    Args:
        fps: frames a second.
    """
    fps, count = checked_rate(fps), len(motion.positions)
    end = (count - 1) / motion.fps
    times = np.arange(int(np.floor(end * fps + 1e-6)) + 1) / fps * motion.fps  # in old frames
    before = np.minimum(times.astype(int), max(count - 2, 0))
    after, share = np.minimum(before + 1, count - 1), times - before
    weight = share[:, None, None]
    positions = (1 - weight) * motion.positions[before] + weight * motion.positions[after]
    turn = np.swapaxes(motion.rotations[before], -1, -2) @ motion.rotations[after]
    shape = turn.shape
    vectors = Rotation.from_matrix(turn.reshape(-1, 3, 3)).as_rotvec().reshape(shape[:-1])
    part = Rotation.from_rotvec((vectors * weight).reshape(-1, 3)).as_matrix().reshape(shape)
    return replace(
        motion, positions=positions, rotations=motion.rotations[before] @ part, fps=float(fps)
    )


def checked_rate(fps, path=""):
    """Frames a second as a float.

    Raises:
        MocapError: nobody records or plays so slowly or fast.
    """
    try:
        rate = float(fps)
    except (TypeError, ValueError, OverflowError):
        rate = np.nan
    if not RATES[0] <= rate <= RATES[1]:
        where = f"{path}: " if path else ""
        raise MocapError(
            f"{where}{fps!r:.40} frames a second; expected {RATES[0]:g} to {RATES[1]:g}"
        )
    return rate


def parse_number(word):
    """A number of the size that motions have.

    Raises:
        ValueError: it is none; the message says why.
    """
    try:
        value = float(word)
    except ValueError as error:
        comma = re.fullmatch(r"[-+]?\d*,\d+([eE][-+]?\d+)?", word)
        hint = ", a decimal comma where a point is expected" if comma else ""
        raise ValueError(f"{word[:80]!r} is no number{hint}") from error
    if not abs(value) <= LARGEST:
        raise ValueError(f"{word[:80]!r}: expected no NaN, no infinity, nothing over {LARGEST:g}")
    return value


def check_size(path, joints, frames, numbers):
    """Memory must follow from the size of a file: joints that never move could be many."""
    if joints > MOST_JOINTS or joints * frames > _PLAYED_PER_NUMBER * (numbers + 10_000):
        raise MocapError(
            f"{path}: {joints} joints, of which few move, in {frames} frames: no person's motion"
        )


def read_text(path):
    """A text file, with or without a byte order mark."""
    path = Path(path)
    if not path.is_file():
        raise MocapError(f"{path}: no such file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MocapError(f"{path}: cannot be read ({error.strerror or error})") from error
    coding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return data.decode(coding, errors="replace").replace("\r\n", "\n").replace("\r", "\n")
