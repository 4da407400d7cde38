"""Motion capture: read ASF/AMC, BVH and AMASS-style .npz, and retarget it to the body.

A motion file moves a skeleton of its own: other joints, other bone lengths, another rest pose. What
carries over is where the joints go, so a clip is first played (forward kinematics of *its*
skeleton), and then the body is fitted to the positions (`hmrlib.fitting`).

Frames: metres, y up; at rest the person faces +z. T frames, J joints of the file's skeleton.
"""

import fnmatch
import hashlib
import json
import re
import time
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation
from tqdm.auto import tqdm

from hmrlib import fitting
from hmrlib.io import ArchiveError, atomic_write, locked, read_npz
from hmrlib.motion import skeletons
from hmrlib.motion.skeletons import (
    INCH,
    LIMBS_AND_TORSO,
    SKELETONS,
    UNITS,
    UPS,
    MocapError,
    MocapWarning,
    joint_map,
    mapped,
)
from hmrlib.skeleton import JOINT_MIRROR, JOINT_NAMES

__all__ = [
    "LIMBS_AND_TORSO",
    "SKELETONS",
    "UNITS",
    "UPS",
    "MocapError",
    "MocapWarning",
    "Motion",
    "Retargeted",
    "build_library",
    "guess_unit",
    "joint_map",
    "mapped",
    "mirrored_pose",
    "read_amass",
    "read_amc",
    "read_bvh",
    "read_joints",
    "read_motion",
    "resampled",
    "retarget",
]

RATES = (1.0, 10_000.0)  # frames a second that are believed
_MOST_JOINTS = 4096
_LARGEST = 1e9  # of numbers: sums and squares of them stay finite, in single precision too
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


# --- BVH ------------------------------------------------------------------------------------


def read_bvh(path, unit=None, up=None):
    """Play a BVH file.

    Joints are its ROOT and JOINTs, names with spaces included; an End Site is named after its
    joint, "LeftToe_end", whatever else it is called. Position channels take the place of an OFFSET;
    the root's is added where that brings the feet to the floor. The format tells neither the unit
    of length nor the vertical axis: both are guessed (`skeletons.find_unit`, `skeletons.find_up`).

    Args:
        path: a `.bvh` file.
        unit: metres a unit of length, or a name in `UNITS`; None guesses.
        up: the file's vertical axis, a name in `UPS` ("y", "z", "-y", ...); None guesses.

    Returns:
        `Motion`. `MocapWarning`s, and `notes`, say what was mended: all whole frames are taken,
        however many are declared.

    Raises:
        MocapError: no such file, or it is damaged, or holds NaN or infinity.
    """
    text = _read_text(path)
    head, found, body = _parted(text)
    if not found:
        raise MocapError(f"{path}: expected a BVH file with HIERARCHY and MOTION")
    names, parents, offsets, channels = _bvh_hierarchy(path, head)
    values, seconds, notes = _bvh_motion(path, body, sum(map(len, channels)))
    _check_size(path, len(names), len(values), values.size)
    if len(set(names)) < len(names):
        names, twice = _told_apart(names)
        notes.append(f"joints of one name: the later ones were renamed, as {twice!r}")
    local, turn = _bvh_channels(values, offsets, channels)
    positions, rotations = _play(parents, local, turn)
    rest = _play(parents, offsets[None], np.tile(np.eye(3), (1, len(names), 1, 1)))[0][0]
    motion = Motion(tuple(names), tuple(parents), positions, rotations, 1 / seconds, rest)
    motion = _settled(path, motion, unit, up, notes, grounded=True)
    _warn(motion)
    return motion


def _parted(text):
    """What stands before and after the word MOTION of a BVH file, comments left out."""
    text = re.sub(r"(?m)(?:^|(?<=\s))(?:#|//).*$", "", text)
    found = re.search(r"(?<![^\s}])MOTION\s+(?=Frame)", text, re.IGNORECASE)
    if not found or not re.match(r"\s*HIERARCHY\b", text, re.IGNORECASE):
        return text, False, ""
    return text[: found.start()], True, text[found.end() :]


def _bvh_hierarchy(path, head):
    """names, parents, offsets (J, 3), and each joint's list of channels."""
    names, parents, offsets, channels, open_joints = [], [], [], [], []
    words = re.findall(r"\n|[{}]|[^\s{}]+", head)
    place = 0

    def following():  # the next word, on this line or another
        nonlocal place
        while words[place] == "\n":
            place += 1
        place += 1
        return words[place - 1]

    def number():
        word = following()
        return _number(word) if word not in "{}" else float(word)

    try:
        while place < len(words):
            if words[place] == "\n":
                place += 1
                continue
            word = following()
            keyword = word.upper()
            if keyword in ("ROOT", "JOINT", "END"):
                name = [following()]
                while words[place] not in ("\n", "{"):
                    name.append(following())
                parent = open_joints[-1] if open_joints else -1
                if len(names) == _MOST_JOINTS:
                    raise ValueError(f"more than {_MOST_JOINTS} joints")
                name = " ".join(name).strip("'\"")
                names.append(f"{names[parent]}_end" if keyword == "END" else name)
                parents.append(parent)
                offsets.append([0.0, 0.0, 0.0])
                channels.append([])
            elif word == "{":
                open_joints.append(len(names) - 1)
            elif word == "}":
                open_joints.pop()
            elif keyword == "OFFSET":
                offsets[open_joints[-1]] = [number() for _ in range(3)]
            elif keyword == "CHANNELS":
                count = int(following())
                if not 0 <= count <= 9:
                    raise ValueError(f"{count} channels of one joint")
                channels[open_joints[-1]] = [following().lower() for _ in range(count)]
            elif keyword != "HIERARCHY":
                raise ValueError(f"unexpected word {word[:80]!r}")
    except (ValueError, IndexError) as error:
        why = "it ends early" if isinstance(error, IndexError) else error
        raise MocapError(f"{path}: HIERARCHY is damaged: {why}") from error
    kinds = "[xyz](posi?tion|rotai?tion|scale)"
    wrong = [c for joint in channels for c in joint if not re.fullmatch(kinds, c)]
    if open_joints or not names or wrong or parents.count(-1) != 1:
        raise MocapError(
            f"{path}: HIERARCHY is damaged: "
            + (f"unknown channel {wrong[0]!r}" if wrong else "braces or roots do not add up")
        )
    return names, parents, np.array(offsets), channels


def _number(word):
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
    if not abs(value) <= _LARGEST:
        raise ValueError(f"{word[:80]!r}: expected no NaN, no infinity, nothing over {_LARGEST:g}")
    return value


def _bvh_motion(path, body, width):
    """The channels (T, width) of all whole frames, the frame time, and what there is to say."""
    heads, notes = {}, []
    pattern = re.compile(r"\s*(Frames|Frame\s*Time)\s*:?[ \t]*(\S+)", re.IGNORECASE)
    while (match := pattern.match(body)) and len(heads) < 2:
        heads["".join(match[1].lower().split())] = match[2]
        body = body[match.end() :]
    try:
        declared, seconds = heads["frames"], _number(heads["frametime"])
    except KeyError as error:
        raise MocapError(
            f"{path}: MOTION does not begin with 'Frames:' and 'Frame Time:'"
        ) from error
    except ValueError as error:
        raise MocapError(f"{path}: MOTION begins with what is no number: {error}") from error
    if not RATES[0] <= 1 / max(seconds, 1e-30) <= RATES[1]:
        raise MocapError(
            f"{path}: frame time {seconds:g}; expected {1 / RATES[1]:g} to {1 / RATES[0]:g} seconds"
        )
    values, cut = _whole_frames(path, body, width)
    if cut:
        notes.append("its last line is no whole frame and was left out")
    if not declared.isdecimal() or len(declared) > 18 or int(declared) != len(values):
        notes.append(
            f"it declares {declared[:20]} frames and holds {len(values)}: these were taken"
        )
    return values, seconds, notes


def _whole_frames(path, text, width):
    """Numbers (T, width), and whether a last line that is no whole frame was left out.

    A frame is a line; where all numbers add up, lines may be broken anywhere.
    """
    if not width:
        raise MocapError(f"{path}: no joint has channels")
    values, cut = _numbers(text.split()), False
    if values is None or len(values) % width or not len(values):
        lines = [line.split() for line in text.splitlines() if line.strip()]
        if not lines:
            raise MocapError(f"{path}: MOTION holds 0 frames")
        if len(lines[-1]) < width or _numbers(lines[-1]) is None:
            lines.pop()
            cut = True
        wrong = next((n for n, line in enumerate(lines) if len(line) != width), None)
        if wrong is not None or not lines:
            found = (
                f"frame {wrong + 1} of {len(lines[wrong])}" if lines else "not one that is whole"
            )
            raise MocapError(f"{path}: expected frames of {width} channels, found {found}")
        words = [word for line in lines for word in line]
        values = _numbers(words)
    if values is None or not (np.abs(values) <= _LARGEST).all():
        try:
            for word in text.split():
                _number(word)
        except ValueError as error:
            raise MocapError(f"{path}: MOTION holds what is no number: {error}") from error
    return values.reshape(-1, width), cut


def _numbers(words):
    """An array of words' numbers, or None if one is none."""
    try:
        return np.array(words, float)
    except ValueError:
        return None


def _told_apart(names):
    """Names, of which later ones of a kind get a number; and one of these."""
    times, apart, known = Counter(), [], set(names)
    for name in names:
        times[name] += 1
        new = name
        while times[name] > 1 and new in known:
            new, times[name] = f"{name}#{times[name]}", times[name] + 1
        known.add(new)
        apart.append(new)
    return apart, next(new for new, name in zip(apart, names, strict=True) if new != name)


def _check_size(path, joints, frames, numbers):
    """Memory must follow from the size of a file: joints that never move could be many."""
    if joints > _MOST_JOINTS or joints * frames > _PLAYED_PER_NUMBER * (numbers + 10_000):
        raise MocapError(
            f"{path}: {joints} joints, of which few move, in {frames} frames: no person's motion"
        )


def _bvh_channels(values, offsets, channels):
    """Each joint's translation (T, J, 3) and rotation (T, J, 3, 3), relative to its parent."""
    local = np.repeat(offsets[None], len(values), axis=0)
    turn = np.tile(np.eye(3), (*local.shape[:2], 1, 1))
    column = 0
    for joint, names in enumerate(channels):
        places = [(column + i, name) for i, name in enumerate(names)]
        column += len(names)
        moves = [(i, "xyz".index(name[0])) for i, name in places if name[1:3] == "po"]
        # all 0: how far it is from its OFFSET; otherwise in place of it
        added = joint == 0 or not values[:, [i for i, _ in moves]].any()
        for i, axis in moves:
            local[:, joint, axis] = values[:, i] + (offsets[joint, axis] if added else 0)
        turns = [(i, name[0]) for i, name in places if name[1:3] == "ro"]
        for i, axis in turns:  # in the file's order, each about the axes that the last left
            angle = Rotation.from_euler(axis, values[:, i : i + 1], degrees=True).as_matrix()
            turn[:, joint] = turn[:, joint] @ angle
    return local, turn


def _play(parents, local, turn):
    """Forward kinematics: positions (T, J, 3) and world rotations (T, J, 3, 3)."""
    positions, rotations = np.empty_like(local), np.empty_like(turn)
    for joint, parent in enumerate(parents):
        if parent < 0:
            positions[:, joint], rotations[:, joint] = local[:, joint], turn[:, joint]
        else:
            carried = np.einsum("tcd,td->tc", rotations[:, parent], local[:, joint])
            positions[:, joint] = positions[:, parent] + carried
            rotations[:, joint] = rotations[:, parent] @ turn[:, joint]
    return positions, rotations


def _settled(path, motion, unit, up, notes, stated=None, grounded=False):
    """A motion as a file has it, in metres and y up, with what there is to say.

    Args:
        unit, up: as for `read_bvh`; notes: so far; stated: metres, the file's own word.
        grounded: take the root's place at rest away where that brings the feet to the floor.
    """
    metres = None if unit is None else _metres(unit)
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


def _metres(unit):
    """Metres a unit of length, from a name in `UNITS` or a number."""
    if isinstance(unit, str) and unit in UNITS:
        return UNITS[unit]
    try:
        metres = _number(str(unit))
    except ValueError:
        metres = 0
    if not metres > 0:
        raise MocapError(
            f"unit {unit!r}: expected one of {', '.join(UNITS)}, or metres a unit of length"
        )
    return metres


def _warn(motion):
    for note in motion.notes:
        warnings.warn(note, MocapWarning, stacklevel=3)


# --- ASF/AMC --------------------------------------------------------------------------------


def read_amc(path, skeleton=None, fps=None, unit=None, up=None):
    """Play an AMC motion on its ASF skeleton.

    A joint here is the far *end* of an ASF bone, under the bone's name; "root" is where the first
    bones begin. At rest all rotations are the identity.

    Args:
        path: an `.amc` file.
        skeleton: its `.asf` file; None: the one beside it whose name the motion's begins with,
            `07.asf` for `07_02.amc`, `HDM_bd.asf` for `HDM_bd_01-01_01_120.amc`, or the only one in
            the folder.
        fps: frames a second; the format does not say. None: HDM05's names do (`..._120.amc`); 30
            otherwise. (CMU recorded 120 a second.)
        unit, up: as for `read_bvh`. None: the unit that the ASF states (CMU's: inches / 0.45) if
            people of its size are believable, and the axis along which they stand.

    Returns:
        `Motion`, with all whole frames; see `read_bvh` for warnings.

    Raises:
        MocapError: no such file, a damaged one, or bones that the skeleton lacks.
    """
    path = Path(path)
    bones, stated, degrees = _read_asf(_beside(path) if skeleton is None else Path(skeleton))
    if fps is None:
        told = re.fullmatch(r"HDM_.+_(\d{2,3})", path.stem, re.IGNORECASE)
        fps = float(told[1]) if told else 30.0
    frames, count, degrees, notes = _read_frames(path, bones, degrees)
    _check_size(path, len(bones), count, sum(values.size for values in frames.values()))
    names = list(bones)
    index = {name: joint for joint, name in enumerate(names)}
    parents = tuple(index[bone.parent] if bone.parent else -1 for bone in bones.values())
    positions, rotations = np.empty((count, len(names), 3)), np.empty((count, len(names), 3, 3))
    for joint, (name, bone) in enumerate(bones.items()):
        shift, turn = np.zeros((count, 3)), np.tile(np.eye(3), (count, 1, 1))
        for kind, values in zip(bone.dof, frames.get(name, np.empty((count, 0))).T, strict=False):
            if kind[0] == "t":
                shift[:, "xyz".index(kind[1])] = values
            elif kind[0] == "r":  # each turns about a fixed axis, after those before it
                turn = (
                    Rotation.from_euler(kind[1], values[:, None], degrees=degrees).as_matrix()
                    @ turn
                )
        turn = bone.axes @ turn @ bone.axes.T  # (T, 3, 3) from the bone's axes to the world's
        if parents[joint] < 0:
            positions[:, joint], rotations[:, joint] = shift + bone.vector, turn
        else:
            rotations[:, joint] = rotations[:, parents[joint]] @ turn
            reach = rotations[:, joint] @ bone.vector
            positions[:, joint] = positions[:, parents[joint]] + reach
    rest = np.zeros((len(names), 3))
    for joint, bone in enumerate(bones.values()):
        rest[joint] = bone.vector + (rest[parents[joint]] if parents[joint] >= 0 else 0)
    motion = Motion(tuple(names), parents, positions, rotations, _rate(fps), rest)
    motion = _settled(path, motion, unit, up, notes, stated=stated)
    _warn(motion)
    return motion


class _Bone(NamedTuple):
    """A bone of an ASF file: rest vector (3,), axes (3, 3), degrees of freedom ("rx", ...)."""

    vector: np.ndarray
    axes: np.ndarray
    dof: tuple[str, ...]
    parent: str | None


def _read_asf(path):
    """Bones by name, parents first; metres a unit of length; whether angles are in degrees."""
    sections = {}
    for line in _read_text(path).splitlines():
        words = line.partition("#")[0].split()
        if words and words[0][0] == ":":
            lines = sections[words[0][1:].lower()] = [words[1:]]
        elif words and sections:
            lines.append(words)
    missing = {"units", "root", "bonedata", "hierarchy"} - set(sections)
    if missing:
        raise MocapError(f"{path}: expected an ASF skeleton; it lacks {', '.join(sorted(missing))}")
    try:
        units = _asf_entries(sections["units"])
        degrees = "rad" not in "".join(units.get("angle", ["deg"])).lower()
        length = _number(units.get("length", ["1.0"])[0])
        if not length > 0:
            raise ValueError(f"its unit of length is {length:g}")
        bones = {"root": _asf_root(_asf_entries(sections["root"]), degrees)}
        found = _asf_bones(sections["bonedata"], degrees)
        for parent, *children in filter(None, sections["hierarchy"]):
            for child in children:
                if parent not in bones:
                    raise ValueError(f"{child} comes before its parent {parent}")
                if child in bones:
                    raise ValueError(f"{child} has two parents, or is its own ancestor")
                if child not in found:
                    raise ValueError(f"bonedata has no {child}")
                bones[child] = found[child]._replace(parent=parent)
        if len(bones) > _MOST_JOINTS:
            raise ValueError(f"{len(bones)} bones; expected {_MOST_JOINTS} at most")
    except (ValueError, KeyError, IndexError) as error:
        why = (
            f"an entry is missing or too short: {error}"
            if isinstance(error, LookupError)
            else error
        )
        raise MocapError(f"{path}: the ASF skeleton is damaged ({why})") from error
    return bones, INCH / length, degrees


def _asf_entries(lines):
    """First word, in lower case, -> the others."""
    return {words[0].lower(): words[1:] for words in lines if words}


def _asf_root(entries, degrees):
    dof = _asf_dof(entries["order"])
    axes = _asf_axes(entries["axis"][0], entries["orientation"], degrees)
    return _Bone(_three(entries["position"]), axes, dof, None)


def _asf_bones(lines, degrees):
    """Name -> `_Bone` without a parent, of what stands between lines "begin" and "end"."""
    found, bone = {}, None
    for words in filter(None, lines):
        if words[0].lower() == "begin":
            bone = []
        elif words[0].lower() == "end" and bone is not None:
            entries, bone = _asf_entries(bone), None
            name = entries["name"][0]
            if name in found:
                raise ValueError(f"two bones are called {name}")
            vector = _three(entries["direction"]) * _number(entries["length"][0])
            axis = entries.get("axis", ["0", "0", "0", "XYZ"])
            axes = _asf_axes(axis[3], axis[:3], degrees)
            found[name] = _Bone(vector, axes, _asf_dof(entries.get("dof", [])), None)
        elif bone is not None:
            bone.append(words)
    return found


def _asf_dof(words):
    dof = tuple(word.lower() for word in words)
    wrong = [word for word in dof if not re.fullmatch("[tr][xyz]|l", word)]
    if wrong:
        raise ValueError(f"unknown degree of freedom {wrong[0]!r}")
    return dof


def _three(words):
    if len(words) < 3:
        raise ValueError(f"expected three numbers, found {' '.join(words)!r}")
    return np.array([_number(word) for word in words[:3]])


def _asf_axes(order, angles, degrees):
    """A bone's own axes at rest (3, 3): turns about fixed axes, in the order that is written."""
    return Rotation.from_euler(order.lower(), _three(angles), degrees=degrees).as_matrix()


def _read_frames(path, bones, degrees):
    """Name of a bone -> its values (T, degrees of freedom); T, whether in degrees, and notes."""
    frames, problem, notes = [], "", []
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        words = line.split()
        if not words or words[0][0] == "#":
            continue
        if problem:  # in a frame that is not the last
            raise MocapError(problem)
        if words[0][0] == ":":
            degrees = {":DEGREES": True, ":RADIANS": False}.get(words[0].upper(), degrees)
        elif len(words) == 1 and words[0].isdigit():
            lacking = frames and frames[0].keys() - frames[-1].keys()
            if lacking:
                raise MocapError(f"{path}, line {number}: the frame before lacks {sorted(lacking)}")
            frames.append({})
        else:
            problem = _amc_line(words, frames, bones)
            problem = problem and f"{path}, line {number}: {problem}"
    if frames and (problem or frames[0].keys() != frames[-1].keys()):
        frames.pop()
        notes.append(f"its last frame is cut off and was left out; {len(frames)} were taken")
    if not frames or "root" not in frames[0]:
        raise MocapError(problem or f"{path}: {len(frames)} frames, or a first one without root")
    values = {name: np.array([frame[name] for frame in frames]) for name in frames[0]}
    return values, len(frames), degrees, notes


def _amc_line(words, frames, bones):
    """Take a bone's values into the last frame; or what is wrong with them."""
    name, values = words[0], words[1:]
    dof = bones[name].dof if name in bones else ()
    if not dof or len(values) != len(dof) or not frames:
        wanted = f"{len(dof)} values" if dof else "a bone of the skeleton that moves"
        return f"{name[:80]!r} with {len(values)}: expected {wanted}"
    if name in frames[-1] or (len(frames) > 1 and name not in frames[0]):
        return f"{name!r} for the second time in a frame, or for the first time in a later one"
    try:
        frames[-1][name] = [_number(value) for value in values]
    except ValueError as error:
        return str(error)
    return ""


def _beside(path):
    """The skeleton of an AMC file that was given alone."""
    found = sorted(p for p in path.parent.glob("*") if p.suffix.lower() == ".asf")
    own = [p for p in found if re.match(rf"{re.escape(p.stem)}(?![A-Za-z0-9])", path.stem, re.I)]
    if not own and len(found) != 1:
        raise MocapError(
            f"{path}: expected its skeleton {path.stem.split('_')[0]}.asf beside it, found "
            f"{len(found)} others and none whose name its own begins with"
        )
    return max(own, key=lambda p: len(p.stem)) if own else found[0]


# --- any of them ----------------------------------------------------------------------------


def read_motion(path, **options):
    """Play a clip by its suffix: `read_bvh` or `read_amc`, with their options."""
    readers = {".bvh": read_bvh, ".amc": read_amc}
    path = Path(path)
    if path.suffix.lower() not in readers:
        raise MocapError(f"{path}: expected a motion .bvh or .amc, found {path.suffix!r}")
    return readers[path.suffix.lower()](path, **options)


def guess_unit(motion, path="the motion"):
    """Metres a unit of length of a motion that is in its file's: see `skeletons.find_unit`."""
    return skeletons.find_unit(motion, path)[0]


def _rate(fps, path=""):
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


def resampled(motion, fps):
    """The motion at another rate: positions linearly, rotations along the shortest arc.

    Args:
        fps: frames a second.
    """
    fps, count = _rate(fps), len(motion.positions)
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


def _scaled(motion, unit):
    return replace(motion, positions=motion.positions * unit, rest=motion.rest * unit)


def _read_text(path):
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


# --- retargeting ----------------------------------------------------------------------------


class Retargeted(NamedTuple):
    """A clip on our body.

    Attributes:
        pose: (T, 24, 3) axis-angle; betas: (n,); translation: (T, 3) metres.
        errors: dict from our points to (T,) metres, how far ours is from the skeleton's.
        offsets: (34, 3) metres, from our sites to where the skeleton has them.
    """

    pose: np.ndarray
    betas: np.ndarray
    translation: np.ndarray
    errors: dict[str, np.ndarray]
    offsets: np.ndarray

    @property
    def error(self):
        """(T,) metres, the mean over `LIMBS_AND_TORSO`."""
        return np.mean([self.errors[n] for n in LIMBS_AND_TORSO if n in self.errors], axis=0)


_SIDES = ("left", "right")
_LIMBS = [
    (f"{side}_{a}", f"{side}_{b}")
    for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
    for side in ("left", "right")
]
_TRUNK = [  # no bones: how far apart they are changes a little with the pose
    ("left_hip", "right_hip"),
    ("left_shoulder", "right_shoulder"),
    ("left_hip", "left_shoulder"),
    ("right_hip", "right_shoulder"),
]
# What turns the pelvis, the chest and the extremities must keep its place in them, or a constant
# turn could hide in the offsets.
_PELVIS = ("pelvis", "left_hip", "right_hip", "spine1")
_EXTREMITIES = ("foot", "toe", "hand", "thumb", "head", "nose", "top", "eye")  # last words of names
# Skeletons whose rest pose has the trunk upright (and, in CMU's, feet flat, palms down and the face
# forward), as ours has: there these points are where the rest pose has them.
_AT_REST = {
    "cmu-asf": (*_PELVIS, "neck", "foot", "toe", "hand", "thumb", "head", "nose", "top"),
    "cmu-bvh": (*_PELVIS, "neck", "foot", "toe", "head", "nose", "top"),
    "biovision": (*_PELVIS, "neck", "head", "top"),
    "daz": (*_PELVIS, "neck", "eye"),
}
_SLIGHT = 0.2  # how much the points count that are not of limbs and torso
_STUDIED = 64  # frames, spread over the clip, from which offsets are found
_ROUNDS = 2
_STEPS = 12


def retarget(motion, body, joints=None, betas=None):
    """Move our body as a motion moves its skeleton.

    1. The shape: that whose bones are as long as the skeleton's.
    2. The offsets: a skeleton has its hips, its shoulders, its toes elsewhere in the pelvis, the
       trunk, the feet than we have. They come from the two rest poses, or, on some frames, poses
       and (constant) offsets are found in turns.
    3. All frames, with joint limits; those that got stuck begin again from their neighbour's pose.

    Args:
        motion: `Motion`; joints: see `joint_map`.
        body: `hmrlib.Body`.
        betas: (n,) of this person; None finds them.

    Returns:
        `Retargeted`; its errors are told without the offsets, from joint to joint.

    Raises:
        MocapError: as `joint_map`, or fewer than four bones of limbs and torso are known.
    """
    family, joints = joint_map(motion, joints)
    points, rest = mapped(motion, joints)
    bones = [pair for pair in (*_LIMBS, *_TRUNK) if set(pair) <= set(points)]
    if len(bones) < 4:
        raise MocapError(f"too few joints of the limbs are mapped: {', '.join(points)}")
    count = len(motion.positions)
    target = np.full((count, len(fitting.SITE_NAMES), 3), np.nan)
    for name, place in points.items():
        target[:, fitting.SITE_NAMES.index(name)] = place
    if betas is None:
        lengths = {
            (a, b): np.median(np.linalg.norm(points[a] - points[b], axis=-1)) for a, b in bones
        }
        scale = [0.01 if pair in _LIMBS else 0.02 for pair in bones]
        betas = fitting.fit_shape(body, lengths, scale=scale)
    alike = _AT_REST.get(family, (*_PELVIS, "neck") if _stands(rest) else ())
    given = _given_offsets(points, rest, alike, body, betas)
    weights = np.array(
        [
            1.0 if name in LIMBS_AND_TORSO else _SLIGHT if site in given else 0.0
            for site, name in enumerate(fitting.SITE_NAMES)
        ]
    )
    options = {"names": fitting.SITE_NAMES, "weights": weights, "betas": betas, "steps": _STEPS}
    some = np.unique(np.linspace(0, count - 1, _STUDIED).astype(int))
    offsets = np.zeros((len(fitting.SITE_NAMES), 3))
    for site, offset in given.items():
        offsets[site] = offset
    start = None
    for _ in range(_ROUNDS):
        fit = fitting.fit_points(body, target[some], offsets=offsets, start=start, **options)
        start = fit.pose
        away = target[some] - _without(fit, offsets)
        turns = fit.rotations[:, fitting.SITE_OWNERS]  # (T, S, 3, 3)
        for site, name in enumerate(fitting.SITE_NAMES):
            kind, owner = name.split("_")[-1], fitting.SITE_OWNERS[site]
            if kind == "eye" and name in points and site not in given:  # the head was relaxed
                found = np.einsum("tcd,tc->td", turns[:, site], away[:, site])
                offsets[site], weights[site] = np.median(found, axis=0), _SLIGHT
            elif kind == "shoulder" and name in points:  # how wide they are, nothing else
                found = np.einsum("tcd,tc->td", turns[:, site], away[:, site])
                offsets[site, 0] = np.median(found[:, 0])
            elif kind in _EXTREMITIES and site in given:  # wherever the skeleton has its joint
                found = np.einsum("tcd,tc->td", turns[:, site], away[:, owner])
                offsets[site] = given[site] + np.median(found, axis=0)
    nearest = np.abs(np.arange(count)[:, None] - some).argmin(axis=1)
    start = fit.pose[_stand_in(fit.energy)][nearest]
    fit = fitting.fit_points(body, target, offsets=offsets, start=start, **options)
    fit = _unstuck(fit, partial(fitting.fit_points, body, offsets=offsets, **options), target)
    away = np.linalg.norm(_without(fit, offsets) - target, axis=-1)
    errors = {name: away[:, fitting.SITE_NAMES.index(name)] for name in points}
    return Retargeted(fit.pose, np.asarray(betas), fit.translation, errors, offsets)


def _stands(rest):
    """Whether a rest pose stands upright and faces +z, as ours does."""

    def turned(there, here, axis):  # cosine of the angle to an axis, of both sides' mean
        bone = np.mean([rest[a] - rest[b] for a, b in zip(there, here, strict=True)], axis=0)
        return bone[axis] / max(np.linalg.norm(bone), 1e-9)

    hips, knees, shoulders = ([f"{s}_{n}" for s in _SIDES] for n in ("hip", "knee", "shoulder"))
    across = min(turned(pair[:1], pair[1:], 0) for pair in (hips, shoulders))
    return min(across, turned(shoulders, hips, 1), turned(hips, knees, 1)) > 0.94


def _given_offsets(points, rest, at_rest, body, betas):
    """Offsets (3,) by index of the site: of the trunk and of extremities, as far as known.

    Args:
        points, rest: from `mapped`; at_rest: which sites of the two rest poses correspond.
    """
    template, shapedirs = fitting.sites(body)
    ours = template + np.tensordot(betas, shapedirs[: len(betas)], axes=1)  # (S, 3)
    ours = dict(zip(fitting.SITE_NAMES, ours, strict=True))

    def from_middle(places, pair, name):
        return places[name] - (places[f"left_{pair}"] + places[f"right_{pair}"]) / 2

    offsets = {}
    for site, name in enumerate(fitting.SITE_NAMES):
        kind = name.split("_")[-1]
        if name not in points:
            continue
        if name in at_rest and kind not in _EXTREMITIES:
            pair = "hip" if name in _PELVIS else "shoulder"
            offsets[site] = from_middle(rest, pair, name) - from_middle(ours, pair, name)
        elif kind in _EXTREMITIES or name == "spine1":
            owner = JOINT_NAMES[fitting.SITE_OWNERS[site]]
            if owner not in points or (kind == "eye" and kind not in at_rest):
                continue
            bone = ours[name] - ours[owner]
            if kind in at_rest:
                offsets[site] = rest[name] - rest[owner] - bone
            else:  # as long as theirs, in our direction
                length = np.median(np.linalg.norm(points[name] - points[owner], axis=-1))
                offsets[site] = (length / np.linalg.norm(bone) - 1) * bone
    return offsets


def _without(fit, offsets):
    """Our sites (T, S, 3) themselves, where a fit gives what lies at an offset from them."""
    turns = fit.rotations[:, fitting.SITE_OWNERS]
    return fit.points - np.einsum("tscd,sd->tsc", turns, offsets)


def _stand_in(energy):
    """For each frame, itself, or the nearest whose energy does not stand out: indices (T,)."""
    good = np.flatnonzero(energy <= 3 * np.median(energy) + 1)
    frames = np.arange(len(energy))
    return good[np.abs(good - frames[:, None]).argmin(axis=1)]


def _unstuck(fit, again, target):
    """Frames whose energy stands out begin once more, from the nearest frame that does not."""
    other = _stand_in(fit.energy)
    stuck = np.flatnonzero(other != np.arange(len(other)))
    if not stuck.size:
        return fit
    new = again(target[stuck], start=fit.pose[other[stuck]])
    better = new.energy < fit.energy[stuck]
    fit = fitting.Fit(*(array.copy() for array in fit))
    for old, found in zip(fit, new, strict=True):
        old[stuck[better]] = found[better]
    return fit


# --- the library ----------------------------------------------------------------------------

LIBRARY_FPS = 30.0
SMPL_PELVIS = (0.0, -0.22, 0.03)
"""Metres, where SMPL's bodies have their pelvis at rest: y is -0.21 for women, -0.24 for men."""
OWN_BODY = "hmrlib"  # as `surface_model_type` of a file: betas and pelvis are our own body's
_MODEL = "surface_model_type"
_RATE_NAMES = ("mocap_framerate", "mocap_frame_rate", "framerate", "frame_rate", "fps")


def read_amass(path, fps=LIBRARY_FPS, body=None, up="z"):
    """A clip of AMASS (Mahmood et al. 2019): poses of SMPL's kin, which need no retargeting.

    A body turns about its pelvis, which in SMPL's files is not the origin: there the pelvis is at
    J0 + trans, with J0 its place at rest. So with U that turns the vertical to y, the pelvis of
    the result is at U (J0 + trans), and its translation U (J0 + trans) - J0', with J0' that of the
    body it is for.

    Args:
        path: `.npz` with poses (T, 66 or more) axis-angle, or root_orient (T, 3) and pose_body
            (T, 63); trans (T, 3) metres; and mocap_framerate, mocap_frame_rate or fps. The first
            22 joints are SMPL's; of 72 numbers also its hands; fingers are left at rest. What else
            the file holds is not read, and objects never.
        fps: frames a second of the result; the nearest frames are taken.
        body: `hmrlib.Body` that the result is for; one whose pelvis is where SMPL's is is taken for
            SMPL's kin, and J0 = J0' is its pelvis with the file's betas. For another (the open
            body) J0 is `SMPL_PELVIS` and J0' its own, unless the file was written by hmrlib
            (`motion.export`), for the same body. None: SMPL's mean body.
        up: the file's vertical axis, a name in `UPS`.

    Returns:
        pose (T', 24, 3), translation (T', 3): y up.

    Raises:
        MocapError: no such file, or not such arrays.
    """
    return _read_amass(path, fps, body, up)[:2]


def _read_amass(path, fps, body, up):
    """As `read_amass`, and betas (10,) where they are of the body's own shape space, else 0."""
    fps = _rate(fps)
    arrays = _amass_arrays(path)
    poses, translation, rate = arrays["poses"], arrays["trans"], _rate(arrays["rate"], path)
    if poses.ndim != 2 or poses.shape[1] < 66 or translation.shape != (len(poses), 3):
        raise MocapError(f"{path}: poses {poses.shape} and trans {translation.shape} do not fit")
    sane = (np.abs(poses) < 1000).all() and (np.abs(translation) < 1e6).all()  # radians, metres
    if not len(poses) or not sane:
        raise MocapError(f"{path}: no frames, or NaN, infinity or numbers of no motion among them")
    if up not in UPS:
        raise MocapError(f"{path}: up {up!r}; expected one of {', '.join(UPS)}")
    frames = np.rint(np.arange(int((len(poses) - 1) / rate * fps + 1e-6) + 1) / fps * rate)
    poses, translation = poses[frames.astype(int)], translation[frames.astype(int)]
    pose, known = np.zeros((len(poses), 24, 3)), 24 if poses.shape[1] == 72 else 22
    pose[:, :known] = poses[:, : 3 * known].reshape(-1, known, 3)
    upright = Rotation.from_matrix(UPS[up])
    pose[:, 0] = (upright * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    recorded, ours, betas = _pelvises(body, arrays["betas"], arrays["own"])
    return pose, upright.apply(recorded + translation) - ours, betas


def _pelvises(body, betas, own=False):
    """The pelvis at rest that a recording means, that of our body, and our body's betas (10,)."""
    smpl, kept = np.array(SMPL_PELVIS), np.zeros(10)
    if body is None:
        return smpl, smpl, kept
    regressor = body.J_regressor.toarray()[0] @ body.v_template  # (3,)
    if np.linalg.norm(regressor - smpl) > 0.05 and not own:
        return smpl, regressor, kept
    count = min(len(betas), body.shapedirs.shape[2], len(kept))
    kept[:count] = betas[:count]
    directions = np.einsum("v,vcs->cs", body.J_regressor.toarray()[0], body.shapedirs[..., :count])
    pelvis = regressor + directions @ kept[:count]
    return pelvis, pelvis, kept


def _amass_arrays(path):
    """poses, trans, rate and betas of a file; objects in it are not opened."""
    names = {"poses", "root_orient", "pose_body", "trans", "betas", _MODEL, *_RATE_NAMES}
    try:
        found = read_npz(path, lambda file: np.array("objects"), names.__contains__)
    except (ArchiveError, OSError, MemoryError) as error:
        raise MocapError(f"{path}: expected a clip of AMASS, an .npz ({error})") from error
    with np.errstate(invalid="ignore"):  # NaN is looked for below
        numbers = {n: np.asarray(a, float) for n, a in found.items() if a.dtype.kind in "fiu"}
    body = ("root_orient", "pose_body")
    if "poses" not in found and all(numbers.get(n, np.zeros(0)).ndim == 2 for n in body):
        halves = [numbers[n] for n in body]
        if len(halves[0]) == len(halves[1]):
            numbers["poses"] = np.concatenate(halves, axis=1)
    rates = {
        float(numbers[n].ravel()[0]) for n in _RATE_NAMES if n in numbers and numbers[n].size == 1
    }
    if not {"poses", "trans"} <= set(numbers) or len(rates) != 1:
        raise MocapError(
            f"{path}: expected numbers in poses, trans and mocap_framerate; found "
            f"{', '.join(f'{n} {a.dtype} {a.shape}' for n, a in found.items()) or 'none of them'}"
            + (f", frame rates {sorted(rates)}" if len(rates) > 1 else "")
        )
    betas = numbers.get("betas", np.zeros(0)).ravel()[:10]
    betas = betas if (np.abs(betas) < 100).all() else np.zeros(0)
    return {
        "poses": numbers["poses"],
        "trans": numbers["trans"],
        "rate": rates.pop(),
        "betas": betas,
        "own": found.get(_MODEL, np.array(0)).ravel()[:1].tolist() == [OWN_BODY],
    }


def mirrored_pose(pose):
    """The mirror image of poses (..., 24, 3): left and right swapped, x reflected."""
    return np.asarray(pose)[..., list(JOINT_MIRROR), :] * np.array([1.0, -1.0, -1.0])


def read_joints(path):
    """What a JSON file says of skeletons, for `build_library`'s `joints`.

    Raises:
        MocapError: it is no JSON, or nothing that `build_library` takes.
    """
    try:
        joints = json.loads(Path(path).read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise MocapError(f"{path}: expected JSON ({error})") from error
    try:
        _rules(joints, {})
    except MocapError as error:
        raise MocapError(f"{path}: {error}") from error
    return joints


def build_library(folder, out, body, fps=LIBRARY_FPS, joints=None, unit=None, up=None):
    """Retarget every clip below a folder, and gather them into one pose library.

    A clip that cannot be used, whatever is wrong with it, is skipped and reported. Each finished
    clip is kept in `out/clips`, with a key of all that it was made from: the same call after an
    interruption goes on from there, and a clip whose file, skeleton, settings or body has changed
    is made again.

    Args:
        folder: with `.amc` (and their `.asf`), `.bvh`, AMASS `.npz`, at any depth.
        out: gets `library.npz` and `errors.md`. The library: pose (N, 24, 3), each frame and its
            mirror image; translation (N, 3) and error (N,) metres; clip (N,), mirrored (N,); of
            each clip clip_names, clip_folders, betas (C, 10); fps.
        joints: for skeletons that are not known, see `joint_map`: one map for all clips, the name
            of a family, or a dict from patterns ("*.bvh", "dances/*") to what holds for the files
            of that name: a map, or a dict of any of joints, unit, up, fps (the file's own frames a
            second, for `.amc`). The first pattern that fits counts.
        unit, up: of all clips whose pattern does not say, as for `read_bvh`; None guesses (AMASS is
            in metres, z up).

    Returns:
        path of the library, and the table of errors as Markdown.

    Raises:
        MocapError: no clip is found, none can be used, or `joints`, `unit`, `up` or `fps` are
            themselves wrong.
        FolderInUseError: another run writes into `out`.
    """
    folder, out, fps = Path(folder), Path(out), _rate(fps)
    rules = _rules(joints, {"unit": unit, "up": up})
    paths = [p for p in folder.rglob("*") if p.suffix.lower() in (".amc", ".bvh", ".npz")]
    paths = sorted(p for p in paths if not p.resolve().is_relative_to(out.resolve()))
    if not paths:
        raise MocapError(f"{folder}: no .amc, .bvh or .npz below it")
    with locked(out):
        clips, skipped = _clips(folder, paths, out, body, fps, rules)
        if not clips:
            reasons = "; ".join(list(skipped.values())[:3])
            raise MocapError(f"{folder}: none of {len(paths)} clips could be used: {reasons}")
        _write_library(out / "library.npz", clips, fps)
        table = _error_table(clips, skipped)
        with atomic_write(out / "errors.md") as file:
            file.write(table.encode())
    return out / "library.npz", table


def _clips(folder, paths, out, body, fps, rules):
    """Clips by name, kept or made, and by name why others were skipped."""
    clips, skipped, shape = {}, {}, _digest(body)
    with tqdm(paths, desc="mocap", unit="clip") as bar:
        for path in bar:
            name = path.relative_to(folder).as_posix()
            kept = out / "clips" / f"{name}.npz"
            try:
                rule = _rule(rules, name)
                key = _key(path, shape, fps, rule)
                clip = _kept_clip(kept, key)
                if made := clip is None:
                    clip = _make_clip(path, body, fps, rule)
            except Exception as error:  # whatever one clip does, the others go on
                why = (
                    str(error)
                    if isinstance(error, MocapError)
                    else f"{type(error).__name__}: {error}"
                )
                skipped[name] = why if why.startswith(str(path)) else f"{path}: {why}"
                tqdm.write(f"skipped: {skipped[name]}")
                continue
            if made:
                kept.parent.mkdir(parents=True, exist_ok=True)
                with atomic_write(kept) as file:
                    np.savez_compressed(file, key=key, **clip)
                for note in clip["notes"]:
                    tqdm.write(f"note: {note}")
            clips[name] = clip
            bar.set_postfix_str(name)
    return clips, skipped


_MADE_BY = 2  # raised when clips of the same file and settings come out otherwise
_RULES = ("joints", "unit", "up", "fps")


def _rules(joints, common):
    """(pattern, dict of `_RULES`) in order; `common` is what a pattern does not say.

    Raises:
        MocapError: a map, a unit or an axis that cannot be.
    """
    patterns = {"*": {"joints": joints}}
    if isinstance(joints, dict) and joints and all(set("*?[./") & set(key) for key in joints):
        patterns = {
            key: rule if isinstance(rule, dict) and set(rule) <= set(_RULES) else {"joints": rule}
            for key, rule in joints.items()
        } | ({} if "*" in joints else {"*": {}})
    rules = [(pattern, common | rule) for pattern, rule in patterns.items()]
    for pattern, rule in rules:
        try:
            _check_rule(**rule)
        except MocapError as error:
            raise (
                error if len(rules) == 1 else MocapError(f"pattern {pattern!r}: {error}")
            ) from None
    return rules


def _check_rule(joints=None, unit=None, up=None, fps=None):
    if isinstance(joints, str):
        if joints not in SKELETONS:
            raise MocapError(f"unknown skeleton {joints!r}; known are {', '.join(SKELETONS)}")
    elif joints is not None:
        skeletons.check_map(joints)
    if unit is not None:
        _metres(unit)
    if not (up is None or (isinstance(up, str) and up in UPS)):
        raise MocapError(f"up {up!r}; expected one of {', '.join(UPS)}")
    if fps is not None:
        _rate(fps)


def _rule(rules, name):
    """What holds for a clip: of the first pattern that fits its name below the folder."""
    return next(
        rule
        for pattern, rule in rules
        if fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(Path(name).name, pattern)
    )


def _digest(body):
    """Of all that a clip takes from a body."""
    digest = hashlib.sha256()
    for array in (body.v_template, body.shapedirs, body.weights, body.J_regressor.toarray()):
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _key(path, shape, fps, rule):
    """Names what a clip is made from: its file and skeleton, the settings, the body."""
    if not path.is_file():
        raise MocapError(f"{path}: no such file")
    digest = hashlib.sha256(json.dumps([_MADE_BY, fps, rule, shape], sort_keys=True).encode())
    for source in (path, _beside(path)) if path.suffix.lower() == ".amc" else (path,):
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    return digest.hexdigest()


def _make_clip(path, body, fps, rule):
    """Retarget one clip."""
    began, notes = time.perf_counter(), ()
    if path.suffix.lower() == ".npz":
        pose, translation, betas = _read_amass(path, fps, body, rule["up"] or "z")
        errors, known = np.zeros((len(pose), 0)), []
    else:
        options = {"unit": rule["unit"], "up": rule["up"]}
        if path.suffix.lower() == ".amc":
            options["fps"] = rule.get("fps")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MocapWarning)  # they are in its notes
            motion = read_motion(path, **options)
        notes = motion.notes
        if abs(motion.fps - fps) > 0.5:
            motion = resampled(motion, fps)
        made = retarget(motion, body, rule.get("joints"))
        pose, translation, betas = made.pose, made.translation, made.betas
        known = list(made.errors)
        errors = np.stack([made.errors[name] for name in known], axis=1)
    if not (np.isfinite(pose).all() and np.isfinite(translation).all()):
        raise MocapError(f"{path}: no finite pose explains it")
    return {
        "pose": pose.astype("float32"),
        "translation": translation.astype("float32"),
        "betas": betas.astype("float32"),
        "errors": errors.astype("float32"),  # (T, points) metres
        "points": np.array(known, "U32"),
        "notes": np.array(notes, "U"),
        "seconds": np.float64(time.perf_counter() - began),
    }


def _kept_clip(path, key):
    """A clip that an earlier run made from the same, or None."""
    try:
        clip = read_npz(path)
    except (ArchiveError, OSError, MemoryError):
        return None
    return clip if str(clip.pop("key", "")) == key and "notes" in clip else None


def _write_library(path, clips, fps):
    poses = [clip["pose"] for clip in clips.values()]
    translations = [clip["translation"] for clip in clips.values()]
    index = np.concatenate([np.full(len(pose), i) for i, pose in enumerate(poses)])
    pose, translation = np.concatenate(poses), np.concatenate(translations)
    errors = np.concatenate([_limb_error(clip) for clip in clips.values()])
    with atomic_write(path) as file:
        np.savez_compressed(
            file,
            pose=np.concatenate([pose, mirrored_pose(pose)]).astype("float32"),
            translation=np.concatenate([translation, translation * [-1, 1, 1]]).astype("float32"),
            clip=np.tile(index, 2).astype("int32"),
            error=np.tile(errors, 2).astype("float32"),
            mirrored=np.repeat([False, True], len(pose)),
            clip_names=np.array(list(clips)),
            clip_folders=np.array([Path(name).parent.as_posix() for name in clips]),
            betas=np.stack([clip["betas"] for clip in clips.values()]),
            fps=np.float64(fps),
        )


def _error_table(clips, skipped):
    """Markdown: for each folder clips, frames, errors in mm over limbs and torso, rate."""
    rows, folders = [], sorted({Path(name).parent.as_posix() for name in clips})
    for folder in [*folders, "all"]:
        inside = [c for n, c in clips.items() if folder in ("all", Path(n).parent.as_posix())]
        frames = sum(len(clip["pose"]) for clip in inside)
        seconds = sum(float(clip["seconds"]) for clip in inside)
        means = [1000 * _limb_error(clip) for clip in inside if clip["errors"].shape[1]]
        error = np.concatenate(means) if means else np.array([np.nan])
        worst = max((m.mean() for m in means), default=np.nan)
        rows.append(
            f"| {folder} | {len(inside)} | {frames:,} | {error.mean():.1f} | "
            f"{np.percentile(error, 95):.1f} | {worst:.1f} | {frames / max(seconds, 1e-9):,.0f} |"
        )
    head = (
        "| folder | clips | frames | mean joint error, mm | 95 % of frames below | worst clip | "
        "frames/s |\n|:--|--:|--:|--:|--:|--:|--:|"
    )
    notes = ["\nDistances from the file's joints to the body's, over limbs and torso."]
    if skipped:
        notes.append(f"\n{len(skipped)} of {len(skipped) + len(clips)} clips were skipped:\n")
    notes += [f"- skipped `{name}`: {reason}" for name, reason in skipped.items()]
    noted = [f"- `{name}`: {note}" for name, clip in clips.items() for note in clip["notes"]]
    notes += ["\nMended or guessed:\n", *noted] if noted else []
    return "\n".join([head, *rows, *notes]) + "\n"


def _limb_error(clip):
    limbs = np.isin(clip["points"], LIMBS_AND_TORSO)
    if not limbs.any():
        return np.full(len(clip["pose"]), np.nan, "float32")
    return clip["errors"][:, limbs].mean(axis=1)
