"""Motion capture: read ASF/AMC, BVH and AMASS-style .npz, and retarget it to the body.

A motion file moves a skeleton of its own: other joints, other bone lengths, another rest pose. What
carries over is where the joints go, so a clip is first played (forward kinematics of *its*
skeleton), and then the body is fitted to the positions (`hmrlib.fitting`).

Frames: metres, y up; at rest the person faces +z. T frames, J joints of the file's skeleton.
"""

import re
import time
import zipfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation
from tqdm.auto import tqdm

from hmrlib import fitting
from hmrlib.io import atomic_write
from hmrlib.skeleton import JOINT_MIRROR, JOINT_NAMES

INCH = 0.0254


class MocapError(ValueError):
    """A motion file cannot be read, or its skeleton is not understood; the message says why."""


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
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    positions: np.ndarray
    rotations: np.ndarray
    fps: float
    rest: np.ndarray

    def bone_lengths(self):
        """(T, J) metres from each joint to its parent, 0 for the root."""
        vectors = self.positions - self.positions[:, np.maximum(self.parents, 0)]
        return np.linalg.norm(vectors, axis=-1)


# --- BVH ------------------------------------------------------------------------------------


def read_bvh(path, unit=None):
    """Play a BVH file.

    Joints are its ROOT and JOINTs; an End Site is named after its joint: "LeftToe_end". Position
    channels take the place of an OFFSET; the root's is added where that brings the feet to the
    floor. As the format does not tell the unit of length, it is guessed from the skeleton's size
    (`guess_unit`).

    Args:
        path: a `.bvh` file.
        unit: metres a unit of length; None guesses.

    Returns:
        `Motion`.

    Raises:
        MocapError: no such file, or it is damaged or cut off.
    """
    text = _read_text(path)
    head, found, body = text.partition("MOTION")
    if "HIERARCHY" not in head or not found:
        raise MocapError(f"{path}: expected a BVH file with HIERARCHY and MOTION")
    names, parents, offsets, channels = _bvh_hierarchy(path, head)
    match = re.match(r"\s*Frames:\s*(\d+)\s*Frame Time:\s*(\S+)", body)
    if not match:
        raise MocapError(f"{path}: MOTION does not begin with 'Frames:' and 'Frame Time:'")
    count, width = int(match[1]), sum(map(len, channels))
    try:
        seconds = float(match[2])
        values = np.array(body[match.end() :].split(), float)
    except ValueError as error:
        raise MocapError(f"{path}: MOTION holds what is no number: {error}") from error
    if count == 0 or values.size != count * width or not seconds > 0:
        raise MocapError(
            f"{path}: expected {count} frames of {width} channels = {count * width} numbers, found "
            f"{values.size}; frame time {seconds:g}"
        )
    if not np.isfinite(values).all():
        raise MocapError(f"{path}: MOTION holds NaN or infinity")
    local, turn = _bvh_channels(values.reshape(count, width), offsets, channels)
    positions, rotations = _play(parents, local, turn)
    # files disagree on whether the root's OFFSET is to be added: the feet decide, by the floor
    lowest = np.median(positions[..., 1].min(axis=1))
    if abs(lowest - offsets[0, 1]) < abs(lowest):
        positions -= offsets[0]
    rest = _play(parents, offsets[None], np.tile(np.eye(3), (1, len(names), 1, 1)))[0][0]
    motion = Motion(tuple(names), tuple(parents), positions, rotations, 1 / seconds, rest)
    return _scaled(motion, guess_unit(motion, path) if unit is None else unit)


def _bvh_hierarchy(path, head):
    """names, parents, offsets (J, 3), and each joint's list of channels."""
    names, parents, offsets, channels, open_joints = [], [], [], [], []
    tokens = iter(head.split())
    try:
        for token in tokens:
            if token in ("ROOT", "JOINT", "End"):
                name = next(tokens)
                parent = open_joints[-1] if open_joints else -1
                names.append(f"{names[parent]}_end" if token == "End" else name)
                parents.append(parent)
                offsets.append([0.0, 0.0, 0.0])
                channels.append([])
            elif token == "{":
                open_joints.append(len(names) - 1)
            elif token == "}":
                open_joints.pop()
            elif token == "OFFSET":
                offsets[open_joints[-1]] = [float(next(tokens)) for _ in range(3)]
            elif token == "CHANNELS":
                channels[open_joints[-1]] = [next(tokens) for _ in range(int(next(tokens)))]
            elif token != "HIERARCHY":
                raise ValueError(f"unexpected word {token!r}")
    except (ValueError, IndexError, StopIteration, RuntimeError) as error:
        raise MocapError(f"{path}: HIERARCHY is damaged: {error or 'it ends early'}") from error
    wrong = [c for joint in channels for c in joint if not re.fullmatch("[XYZ](pos|rota)i?tion", c)]
    if open_joints or not names or wrong or parents.count(-1) != 1:
        raise MocapError(
            f"{path}: HIERARCHY is damaged: "
            + (f"unknown channel {wrong[0]!r}" if wrong else "braces or roots do not add up")
        )
    return names, parents, np.array(offsets), channels


def _bvh_channels(values, offsets, channels):
    """Each joint's translation (T, J, 3) and rotation (T, J, 3, 3), relative to its parent."""
    local = np.repeat(offsets[None], len(values), axis=0)
    turn = np.tile(np.eye(3), (*local.shape[:2], 1, 1))
    column = 0
    for joint, names in enumerate(channels):
        places = [(column + i, name) for i, name in enumerate(names)]
        column += len(names)
        for i, name in places:
            if name.endswith("position"):
                axis = "XYZ".index(name[0])
                local[:, joint, axis] = values[:, i] + (offsets[joint, axis] if joint == 0 else 0)
        turns = [(i, name[0]) for i, name in places if name.endswith("rotation")]
        for i, axis in turns:  # in the file's order, each about the axes that the last left
            angle = Rotation.from_euler(
                axis.lower(), values[:, i : i + 1], degrees=True
            ).as_matrix()
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


# --- ASF/AMC --------------------------------------------------------------------------------


def read_amc(path, skeleton=None, fps=30.0):
    """Play an AMC motion on its ASF skeleton.

    A joint here is the far *end* of an ASF bone, under the bone's name; "root" is where the first
    bones begin. At rest all rotations are the identity.

    Args:
        path: an `.amc` file.
        skeleton: its `.asf` file; None: the one beside it, `07.asf` for `07_02.amc`, or the only
            one in the folder.
        fps: frames a second; the format does not say. (CMU recorded 120 a second.)

    Returns:
        `Motion`.

    Raises:
        MocapError: no such file, a damaged one, or bones that the skeleton lacks.
    """
    path = Path(path)
    bones, unit, degrees = _read_asf(_beside(path) if skeleton is None else Path(skeleton))
    frames = _read_frames(path, bones)
    count, names = len(frames["root"]), list(bones)
    parents = tuple(names.index(bone.parent) if bone.parent else -1 for bone in bones.values())
    positions, rotations = np.empty((count, len(names), 3)), np.empty((count, len(names), 3, 3))
    for joint, (name, bone) in enumerate(bones.items()):
        shift, turn = np.zeros((count, 3)), np.tile(np.eye(3), (count, 1, 1))
        for kind, values in zip(bone.dof, frames.get(name, np.empty((count, 0))).T, strict=False):
            if kind[0] == "t":
                shift[:, "xyz".index(kind[1])] = values
            else:  # each turns about a fixed axis, after those before it
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
    motion = Motion(tuple(names), parents, positions, rotations, float(fps), rest)
    return _scaled(motion, unit)


class _Bone(NamedTuple):
    """A bone of an ASF file: rest vector (3,), axes (3, 3), degrees of freedom ("rx", ...)."""

    vector: np.ndarray
    axes: np.ndarray
    dof: tuple[str, ...]
    parent: str | None


def _read_asf(path):
    """Bones by name, parents first; metres a unit of length; whether angles are in degrees."""
    text = re.sub(r"#.*", "", _read_text(path))
    sections = {
        name.lower(): content
        for name, content in re.findall(r"^:(\w+)(.*?)(?=^:|\Z)", text, re.DOTALL | re.MULTILINE)
    }
    missing = {"units", "root", "bonedata", "hierarchy"} - set(sections)
    if missing:
        raise MocapError(f"{path}: expected an ASF skeleton; it lacks {', '.join(sorted(missing))}")
    try:
        length = float(re.search(r"length\s+(\S+)", sections["units"])[1])
        degrees = "rad" not in re.search(r"angle\s+(\S+)", sections["units"])[1].lower()
        root = sections["root"]
        dof = tuple(re.search(r"order\s+(.*)", root)[1].lower().split())
        turn = _numbers_after("orientation", root)
        axes = _asf_axes(re.search(r"axis\s+(\w+)", root)[1], turn, degrees)
        bones = {"root": _Bone(_numbers_after("position", root), axes, dof, None)}
        found = {}
        for block in re.findall(r"begin(.*?)end", sections["bonedata"], re.DOTALL):
            name = re.search(r"name\s+(\S+)", block)[1]
            direction = _numbers_after("direction", block)
            vector = direction * float(re.search(r"length\s+(\S+)", block)[1])
            order = re.search(r"axis(?:\s+\S+){3}\s+(\w+)", block)[1]
            dof = re.search(r"dof\s+(.*)", block)
            dof = tuple(dof[1].lower().split()) if dof else ()
            axes = _asf_axes(order, _numbers_after("axis", block), degrees)
            found[name] = (vector, axes, dof)
        for line in sections["hierarchy"].replace("begin", "").replace("end", "").splitlines():
            parent, *children = line.split() or [None]
            for child in children:
                if parent not in bones:
                    raise KeyError(f"{child} comes before its parent {parent}")
                bones[child] = _Bone(*found[child], parent)
    except (TypeError, ValueError, KeyError) as error:
        raise MocapError(f"{path}: the ASF skeleton is damaged ({error})") from error
    return bones, INCH / length, degrees


def _numbers_after(word, text):
    return np.array(re.search(rf"{word}((?:\s+\S+){{3}})", text)[1].split(), float)


def _asf_axes(order, angles, degrees):
    """A bone's own axes at rest (3, 3): turns about fixed axes, in the order that is written."""
    return Rotation.from_euler(order.lower(), angles, degrees=degrees).as_matrix()


def _read_frames(path, bones):
    """Name of a bone -> its values (T, degrees of freedom)."""
    frames, values = {name: [] for name, bone in bones.items() if bone.dof}, None
    count = 0
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        words = line.split()
        if not words or words[0][0] in "#:":
            continue
        if len(words) == 1 and words[0].isdigit():
            count += 1
            continue
        name, *values = words
        if name not in frames or len(values) != len(bones[name].dof) or not count:
            wanted = (
                f"{len(bones[name].dof)} values" if name in frames else "a bone of the skeleton"
            )
            raise MocapError(
                f"{path}, line {number}: {name!r} with {len(values)}: expected {wanted}"
            )
        try:
            frames[name].append([float(value) for value in values])
        except ValueError as error:
            raise MocapError(f"{path}, line {number}: {error}") from error
    uneven = [name for name, rows in frames.items() if rows and len(rows) != count]
    if count == 0 or uneven or not frames["root"]:
        raise MocapError(f"{path}: {count} frames, but {uneven or 'no root'} do not have as many")
    frames = {name: np.array(rows) for name, rows in frames.items() if rows}
    if not all(np.isfinite(rows).all() for rows in frames.values()):
        raise MocapError(f"{path}: NaN or infinity among its values")
    return frames


def _beside(path):
    """The skeleton of an AMC file that was given alone."""
    own = path.with_name(f"{path.stem.split('_')[0]}.asf")
    if own.is_file():
        return own
    found = sorted(path.parent.glob("*.asf"))
    if len(found) != 1:
        raise MocapError(f"{path}: expected its skeleton {own.name} beside it, found {len(found)}")
    return found[0]


# --- any of them ----------------------------------------------------------------------------

UNITS = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001, "inch": INCH, "CMU": INCH / 0.45}
REACH = 1.25  # metres from the root to the farthest tip


def read_motion(path, **options):
    """Play a clip by its suffix: `read_bvh` or `read_amc`, with their options."""
    readers = {".bvh": read_bvh, ".amc": read_amc}
    path = Path(path)
    if path.suffix.lower() not in readers:
        raise MocapError(f"{path}: expected a motion .bvh or .amc, found {path.suffix!r}")
    return readers[path.suffix.lower()](path, **options)


def guess_unit(motion, path="the motion"):
    """Metres a unit of length: the one of `UNITS` in which the skeleton has the size of people.

    Its longest chain of bones, from the root to the tip of a hand or a foot, is some 1.25 m.

    Raises:
        MocapError: it is not between 0.7 and 2 m in any unit.
    """
    lengths, reach = motion.bone_lengths()[0], np.zeros(len(motion.parents))
    for joint, parent in enumerate(motion.parents):
        reach[joint] = lengths[joint] + (reach[parent] if parent >= 0 else 0)
    longest = reach.max()
    unit = min(UNITS.values(), key=lambda metres: abs(np.log(max(longest, 1e-9) * metres / REACH)))
    if not 0.7 < longest * unit < 2:
        raise MocapError(f"{path}: a skeleton of {longest:g} units is no person's; give `unit`")
    return unit


def resampled(motion, fps):
    """The motion at another rate: positions linearly, rotations along the shortest arc.

    Args:
        fps: frames a second.
    """
    count = len(motion.positions)
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
    path = Path(path)
    if not path.is_file():
        raise MocapError(f"{path}: no such file")
    return path.read_text("utf-8", errors="replace")


# --- whose joint is which -------------------------------------------------------------------


def _both_sides(middle, sides, left, right):
    """A map with "left_x" and "right_x" for each x in `sides`; "{}" there becomes left, right."""
    joints = dict(middle)
    for ours, theirs in sides.items():
        for side, word in (("left", left), ("right", right)):
            if isinstance(theirs, dict):
                named = {name.format(word): share for name, share in theirs.items()}
            else:
                named = theirs.format(word)
            joints[f"{side}_{ours}"] = named
    return joints


_THORAX = {"Chest2+y": 1.1, "Chest2": -1.1}  # what the bone that is missing adds: 0.11 m
_FACE = {"upperneck": 1.0, "head+z": 1.0, "head": -1.0}  # in front of the skull's base
SKELETONS = {
    # The skeleton of CMU's database, as ASF/AMC: a joint is the far end of the bone of its name.
    "cmu-asf": _both_sides(
        {"pelvis": "root", "spine1": "lowerback", "spine2": "upperback", "spine3": "thorax"}
        | {"neck": "lowerneck", "head": "upperneck", "head_top": "head", "nose": _FACE},
        {"hip": "{}hipjoint", "knee": "{}femur", "ankle": "{}tibia", "foot": "{}foot"}
        | {"toe": "{}toes", "shoulder": "{}clavicle", "elbow": "{}humerus", "wrist": "{}wrist"}
        | {"hand": "{}fingers", "thumb": "{}thumb"},
        "l",
        "r",
    ),
    # A conversion of it to BVH that gave three bones no length: the thorax, and the lower third of
    # the forearms (in the ASF files always half as long as the upper part). They are put back.
    "cmu-bvh": _both_sides(
        {"pelvis": "Hips", "spine1": "Chest", "spine2": "Chest2"}
        | {"spine3": {"Chest2+y": 1.1, "Chest2": -0.1}, "neck": {"Neck": 1.0} | _THORAX}
        | {"head": {"Head": 1.0} | _THORAX, "head_top": {"Head_end": 1.0} | _THORAX}
        | {"nose": {"Head+z": 1.0} | _THORAX},
        {"hip": "{}Hip", "knee": "{}Knee", "ankle": "{}Ankle", "foot": "{}Toe", "toe": "{}Toe_end"}
        | {"shoulder": {"{}Shoulder": 1.0} | _THORAX, "elbow": {"{}Elbow": 1.0} | _THORAX}
        | {"wrist": {"{}Wrist": 1.5, "{}Elbow": -0.5} | _THORAX},
        "Left",
        "Right",
    ),
    # As Biovision's first files name joints; the ends of feet say nothing of where toes point.
    "biovision": _both_sides(
        {
            "pelvis": "Hips",
            "spine1": "Chest",
            "neck": "Neck",
            "head": "Head",
            "head_top": "Head_end",
        },
        {"hip": "{}Hip", "knee": "{}Knee", "ankle": "{}Ankle", "collar": "{}Collar"}
        | {"shoulder": "{}Shoulder", "elbow": "{}Elbow", "wrist": "{}Wrist", "hand": "{}Wrist_end"},
        "Left",
        "Right",
    ),
    # As DAZ Studio and Poser name joints.
    "daz": _both_sides(
        {"pelvis": "hip", "spine1": "abdomen", "spine2": "chest", "neck": "neck", "head": "head"},
        {"hip": "{}Thigh", "knee": "{}Shin", "ankle": "{}Foot", "foot": "{}Foot_end"}
        | {"collar": "{}Collar", "shoulder": "{}Shldr", "elbow": "{}ForeArm", "wrist": "{}Hand"}
        | {"hand": "{}Mid1", "thumb": "{}Thumb2_end"},
        "l",
        "r",
    )
    | {"left_eye": "leftEye", "right_eye": "rightEye"},
    # As Reallusion's Character Creator names them.
    "character-creator": _both_sides(
        {"pelvis": "CC_Base_Hip", "spine1": "CC_Base_Waist", "spine2": "CC_Base_Spine01"}
        | {"spine3": "CC_Base_Spine02", "neck": "CC_Base_NeckTwist01", "head": "CC_Base_Head"},
        {"hip": "CC_Base_{}_Thigh", "knee": "CC_Base_{}_Calf", "ankle": "CC_Base_{}_Foot"}
        | {"foot": "CC_Base_{}_ToeBase", "toe": "CC_Base_{}_MidToe1", "eye": "CC_Base_{}_Eye"}
        | {"collar": "CC_Base_{}_Clavicle", "shoulder": "CC_Base_{}_Upperarm"}
        | {"elbow": "CC_Base_{}_Forearm", "wrist": "CC_Base_{}_Hand", "hand": "CC_Base_{}_Mid1"}
        | {"thumb": "CC_Base_{}_Thumb3"},
        "L",
        "R",
    ),
}
"""Our point (`fitting.SITE_NAMES`) -> the skeleton's: a joint's name, or shares of several joints.
"Head+z" is the point 0.1 m from the joint Head along its own z axis."""

LIMBS_AND_TORSO = (
    *(
        f"{side}_{joint}"
        for joint in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
        for side in ("left", "right")
    ),
    "neck",
)
# joints that all skeletons put in one place; others get a constant offset, found for each skeleton
_HINGES = ("knee", "ankle", "elbow", "wrist")
_SLIGHT = 0.2  # how much the points count that are not of limbs and torso


def joint_map(motion, joints=None):
    """Which points of a motion are which of ours.

    Args:
        joints: a name in `SKELETONS`, or a dict like theirs; None: the first that fits the names.

    Returns:
        its name in `SKELETONS` ("" for one's own), and a dict like those there.

    Raises:
        MocapError: nothing fits, or the map names joints that the motion lacks.
    """
    if joints is None:
        known = [(n, m) for n, m in SKELETONS.items() if _sources(m) <= set(motion.names)]
        if not known:
            raise MocapError(
                f"no known skeleton ({', '.join(SKELETONS)}) has these joints: "
                f"{', '.join(motion.names)}. Give `joints`, a dict from our points "
                f"({', '.join(fitting.SITE_NAMES)}) to them"
            )
        return known[0]
    if isinstance(joints, str) and joints not in SKELETONS:
        raise MocapError(f"unknown skeleton {joints!r}; known are {', '.join(SKELETONS)}")
    name, joints = (joints, SKELETONS[joints]) if isinstance(joints, str) else ("", joints)
    strange = set(joints) - set(fitting.SITE_NAMES)
    missing = _sources(joints) - set(motion.names)
    if strange or missing:
        raise MocapError(
            f"the map names {sorted(strange)}, which are not ours ({', '.join(fitting.SITE_NAMES)})"
            if strange
            else f"the motion has no {sorted(missing)}; it has {', '.join(motion.names)}"
        )
    return name, joints


def _sources(joints):
    """The names of the motion's joints that a map speaks of."""
    parts = [[p] if isinstance(p, str) else list(p) for p in joints.values()]
    return {name.split("+")[0] for part in parts for name in part}


def mapped(motion, joints):
    """The motion's points by our names: dict -> (T, 3) metres, and the same at rest -> (3,)."""
    still = np.eye(3)[None, None].repeat(len(motion.names), axis=1)
    rest = replace(motion, positions=motion.rest[None], rotations=still)
    return _mapped(motion, joints), {n: p[0] for n, p in _mapped(rest, joints).items()}


def _mapped(motion, joints):
    index = {name: j for j, name in enumerate(motion.names)}

    def place(name):
        name, _, axis = name.partition("+")
        j = index[name]
        point = motion.positions[:, j]
        return point + 0.1 * motion.rotations[:, j, :, "xyz".index(axis)] if axis else point

    return {
        ours: place(theirs)
        if isinstance(theirs, str)
        else sum(share * place(name) for name, share in theirs.items())
        for ours, theirs in joints.items()
    }


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
    given = _given_offsets(points, rest, _AT_REST.get(family, ()), body, betas)
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
# what NumPy raises for a file that is missing, cut off, or something else
_BROKEN = (OSError, ValueError, EOFError, zipfile.BadZipFile)


def read_amass(path, fps=LIBRARY_FPS):
    """A clip of AMASS (Mahmood et al. 2019): poses of SMPL's kin, which need no retargeting.

    Args:
        path: `.npz` with poses (T, 72 or more) axis-angle, trans (T, 3) metres, z up, and
            mocap_framerate (or mocap_frame_rate). The first 22 joints are SMPL's; its fingers
            are left at rest.
        fps: frames a second of the result; the nearest frames are taken.

    Returns:
        pose (T', 24, 3), translation (T', 3): y up.

    Raises:
        MocapError: no such file, or not such arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            poses, translation = np.asarray(file["poses"], float), np.asarray(file["trans"], float)
            name = next(name for name in file.files if name.startswith("mocap_frame"))
            rate = float(file[name])
    except (*_BROKEN, KeyError, StopIteration) as error:
        raise MocapError(f"{path}: expected poses, trans and mocap_framerate ({error})") from error
    if poses.ndim != 2 or poses.shape[1] < 66 or translation.shape != (len(poses), 3):
        raise MocapError(f"{path}: poses {poses.shape} and trans {translation.shape} do not fit")
    if not (np.isfinite(poses).all() and np.isfinite(translation).all() and rate > 0):
        raise MocapError(f"{path}: NaN or infinity, or a frame rate of {rate:g}")
    frames = np.rint(np.arange(int((len(poses) - 1) / rate * fps + 1e-6) + 1) / fps * rate)
    poses, translation = poses[frames.astype(int)], translation[frames.astype(int)]
    pose = np.zeros((len(poses), 24, 3))
    pose[:, :22] = poses[:, :66].reshape(-1, 22, 3)
    upright = Rotation.from_euler("x", -90, degrees=True)  # z up -> y up
    pose[:, 0] = (upright * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    return pose, upright.apply(translation)


def mirrored_pose(pose):
    """The mirror image of poses (..., 24, 3): left and right swapped, x reflected."""
    return np.asarray(pose)[..., list(JOINT_MIRROR), :] * np.array([1.0, -1.0, -1.0])


def build_library(folder, out, body, fps=LIBRARY_FPS, joints=None):
    """Retarget every clip below a folder, and gather them into one pose library.

    A clip that cannot be used is skipped and reported. Each finished clip is kept in `out/clips`;
    the same call after an interruption goes on from there.

    Args:
        folder: with `.amc` (and their `.asf`), `.bvh`, AMASS `.npz`, at any depth.
        out: gets `library.npz` and `errors.md`. The library: pose (N, 24, 3), each frame and its
            mirror image; translation (N, 3) and error (N,) metres; clip (N,), mirrored (N,); of
            each clip clip_names, clip_folders, betas (C, 10); fps.
        joints: a map for skeletons that are not known, see `joint_map`.

    Returns:
        path of the library, and the table of errors as Markdown.

    Raises:
        MocapError: no clip is found, or none can be used.
    """
    folder, out = Path(folder), Path(out)
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".amc", ".bvh", ".npz"))
    if not paths:
        raise MocapError(f"{folder}: no .amc, .bvh or .npz below it")
    clips, skipped = {}, {}
    with tqdm(paths, desc="mocap", unit="clip") as bar:
        for path in bar:
            name = path.relative_to(folder).as_posix()
            kept = out / "clips" / f"{name}.npz"
            try:
                clips[name] = _kept_clip(kept) or _make_clip(kept, path, body, fps, joints)
            except MocapError as error:
                skipped[name] = str(error)
                tqdm.write(f"skipped: {error}")
            bar.set_postfix_str(name)
    if not clips:
        raise MocapError(f"{folder}: none of {len(paths)} clips could be used")
    _write_library(out / "library.npz", clips, fps)
    table = _error_table(clips, skipped)
    with atomic_write(out / "errors.md") as file:
        file.write(table.encode())
    return out / "library.npz", table


def _make_clip(kept, path, body, fps, joints):
    """Retarget one clip and keep it."""
    began = time.perf_counter()
    if path.suffix.lower() == ".npz":
        pose, translation = read_amass(path, fps)
        betas, errors, known = np.zeros(10), np.zeros((len(pose), 0)), []
    else:
        motion = read_motion(path)
        if abs(motion.fps - fps) > 0.5:
            motion = resampled(motion, fps)
        made = retarget(motion, body, joints)
        pose, translation, betas = made.pose, made.translation, made.betas
        known = list(made.errors)
        errors = np.stack([made.errors[name] for name in known], axis=1)
    clip = {
        "pose": pose.astype("float32"),
        "translation": translation.astype("float32"),
        "betas": betas.astype("float32"),
        "errors": errors.astype("float32"),  # (T, points) metres
        "points": np.array(known, "U32"),
        "seconds": np.float64(time.perf_counter() - began),
    }
    kept.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(kept) as file:
        np.savez_compressed(file, **clip)
    return clip


def _kept_clip(path):
    """A clip that an earlier run finished, or None."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except _BROKEN:
        return None


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
    notes = [f"- skipped `{name}`: {reason}" for name, reason in skipped.items()]
    notes.insert(0, "\nDistances from the file's joints to the body's, over limbs and torso.")
    return "\n".join([head, *rows, *notes]) + "\n"


def _limb_error(clip):
    limbs = np.isin(clip["points"], LIMBS_AND_TORSO)
    if not limbs.any():
        return np.full(len(clip["pose"]), np.nan, "float32")
    return clip["errors"][:, limbs].mean(axis=1)
