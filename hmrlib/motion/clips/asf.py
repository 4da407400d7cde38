"""ASF/AMC: a skeleton of bones in one file, their motion in another."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from hmrlib.body.kinematics import forward_kinematics
from hmrlib.motion.clips.motion import (
    MOST_JOINTS,
    Motion,
    check_size,
    checked_rate,
    parse_number,
    read_text,
    rest_positions,
    settled,
    warn,
)
from hmrlib.motion.skeletons import INCH, MocapError


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
    bones, stated, degrees = _read_asf(
        skeleton_beside(path) if skeleton is None else Path(skeleton)
    )
    if fps is None:
        told = re.fullmatch(r"HDM_.+_(\d{2,3})", path.stem, re.IGNORECASE)
        fps = float(told[1]) if told else 30.0
    frames, count, degrees, notes = _read_frames(path, bones, degrees)
    check_size(path, len(bones), count, sum(values.size for values in frames.values()))
    names = list(bones)
    index = {name: joint for joint, name in enumerate(names)}
    parents = tuple(index[bone.parent] if bone.parent else -1 for bone in bones.values())
    turn = np.stack(
        [_turned(bone, frames.get(name), degrees, count) for name, bone in bones.items()], 1
    )
    vectors = np.stack([bone.vector for bone in bones.values()])
    local = np.einsum("tjcd,jd->tjc", turn, vectors)  # a bone's end turns with the bone itself
    local[:, 0] = vectors[0] + _shift(bones["root"], frames["root"])
    rotations, positions = forward_kinematics(turn, local, parents)
    rest = rest_positions(parents, vectors)
    motion = Motion(tuple(names), parents, positions, rotations, checked_rate(fps), rest)
    motion = settled(path, motion, unit, up, notes, stated=stated)
    warn(motion)
    return motion


def _turned(bone, values, degrees, count):
    """What a bone's values (T, degrees of freedom) turn it by, (T, 3, 3), in the world's axes."""
    turn = np.tile(np.eye(3), (count, 1, 1))
    for kind, angles in zip(bone.dof, () if values is None else values.T, strict=False):
        if kind[0] == "r":  # each turns about a fixed axis, after those before it
            turn = Rotation.from_euler(kind[1], angles[:, None], degrees=degrees).as_matrix() @ turn
    return bone.axes @ turn @ bone.axes.T


def _shift(bone, values):
    """The translation (T, 3) among a bone's values (T, degrees of freedom)."""
    shift = np.zeros((len(values), 3))
    for kind, along in zip(bone.dof, values.T, strict=True):
        if kind[0] == "t":
            shift[:, "xyz".index(kind[1])] = along
    return shift


class _Bone(NamedTuple):
    """A bone of an ASF file: rest vector (3,), axes (3, 3), degrees of freedom ("rx", ...)."""

    vector: np.ndarray
    axes: np.ndarray
    dof: tuple[str, ...]
    parent: str | None


def _read_asf(path):
    """Bones by name, parents first; metres a unit of length; whether angles are in degrees."""
    sections = {}
    for line in read_text(path).splitlines():
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
        length = parse_number(units.get("length", ["1.0"])[0])
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
        if len(bones) > MOST_JOINTS:
            raise ValueError(f"{len(bones)} bones; expected {MOST_JOINTS} at most")
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
            vector = _three(entries["direction"]) * parse_number(entries["length"][0])
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
    return np.array([parse_number(word) for word in words[:3]])


def _asf_axes(order, angles, degrees):
    """A bone's own axes at rest (3, 3): turns about fixed axes, in the order that is written."""
    return Rotation.from_euler(order.lower(), _three(angles), degrees=degrees).as_matrix()


def _read_frames(path, bones, degrees):
    """Name of a bone -> its values (T, degrees of freedom); T, whether in degrees, and notes."""
    frames, problem, notes = [], "", []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
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
        frames[-1][name] = [parse_number(value) for value in values]
    except ValueError as error:
        return str(error)
    return ""


def skeleton_beside(path):
    """The skeleton of an AMC file that was given alone."""
    found = sorted(p for p in path.parent.glob("*") if p.suffix.lower() == ".asf")
    own = [p for p in found if re.match(rf"{re.escape(p.stem)}(?![A-Za-z0-9])", path.stem, re.I)]
    if not own and len(found) != 1:
        raise MocapError(
            f"{path}: expected its skeleton {path.stem.split('_')[0]}.asf beside it, found "
            f"{len(found)} others and none whose name its own begins with"
        )
    return max(own, key=lambda p: len(p.stem)) if own else found[0]
