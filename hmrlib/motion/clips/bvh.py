"""BVH: joints with offsets, and for each frame the values of their channels."""

import re
from collections import Counter

import numpy as np
from scipy.spatial.transform import Rotation

from hmrlib.body.kinematics import forward_kinematics
from hmrlib.motion.clips.motion import (
    LARGEST,
    MOST_JOINTS,
    RATES,
    Motion,
    check_size,
    checked_rate,
    parse_number,
    read_text,
    rest_positions,
    settled,
    warn,
)
from hmrlib.motion.skeletons import MocapError


def read_bvh(path, unit=None, up=None, fps=None):
    """Play a BVH file.

    Joints are its ROOT and JOINTs, names with spaces included; an End Site is named after its
    joint, "LeftToe_end", whatever else it is called. Position channels take the place of an OFFSET;
    the root's is added where that brings the feet to the floor. The format tells neither the unit
    of length nor the vertical axis: both are guessed (`skeletons.find_unit`, `skeletons.find_up`).

    Args:
        path: a `.bvh` file.
        unit: metres a unit of length, or a name in `UNITS`; None guesses.
        up: the file's vertical axis, a name in `UPS` ("y", "z", "-y", ...); None guesses.
        fps: frames a second; None: as the file says, in seconds a frame.

    Returns:
        `Motion`. `MocapWarning`s, and `notes`, say what was mended: all whole frames are taken,
        however many are declared.

    Raises:
        MocapError: no such file, or it is damaged, or holds NaN or infinity.
    """
    text = read_text(path)
    head, found, body = _parted(text)
    if not found:
        raise MocapError(f"{path}: expected a BVH file with HIERARCHY and MOTION")
    names, parents, offsets, channels = _bvh_hierarchy(path, head)
    values, rate, notes = _bvh_motion(path, body, sum(map(len, channels)), fps)
    check_size(path, len(names), len(values), values.size)
    if len(set(names)) < len(names):
        names, twice = _told_apart(names)
        notes.append(f"joints of one name: the later ones were renamed, as {twice!r}")
    local, turn = _bvh_channels(values, offsets, channels)
    rotations, positions = forward_kinematics(turn, local, parents)
    rest = rest_positions(parents, offsets)
    motion = Motion(tuple(names), tuple(parents), positions, rotations, rate, rest)
    motion = settled(path, motion, unit, up, notes, grounded=True)
    warn(motion)
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
        return parse_number(word) if word not in "{}" else float(word)

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
                if len(names) == MOST_JOINTS:
                    raise ValueError(f"more than {MOST_JOINTS} joints")
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


def _bvh_motion(path, body, width, fps=None):
    """The channels (T, width) of all whole frames, frames a second, and what there is to say."""
    heads, notes = {}, []
    pattern = re.compile(r"\s*(Frames|Frame\s*Time)\s*:?[ \t]*(\S+)", re.IGNORECASE)
    while (match := pattern.match(body)) and len(heads) < 2:
        heads["".join(match[1].lower().split())] = match[2]
        body = body[match.end() :]
    try:
        declared, stated = heads["frames"], heads["frametime"]
        rate = 1 / max(parse_number(stated), 1e-30) if fps is None else fps
    except KeyError as error:
        raise MocapError(
            f"{path}: MOTION does not begin with 'Frames:' and 'Frame Time:'"
        ) from error
    except ValueError as error:
        raise MocapError(f"{path}: MOTION begins with what is no number: {error}") from error
    if fps is None and not RATES[0] <= rate <= RATES[1]:
        raise MocapError(
            f"{path}: frame time {stated[:80]}; expected {1 / RATES[1]:g} to {1 / RATES[0]:g} "
            "seconds; `fps` tells it"
        )
    values, cut = _whole_frames(path, body, width)
    if cut:
        notes.append("its last line is no whole frame and was left out")
    if not declared.isdecimal() or len(declared) > 18 or int(declared) != len(values):
        notes.append(
            f"it declares {declared[:20]} frames and holds {len(values)}: these were taken"
        )
    return values, checked_rate(rate, path), notes


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
    if values is None or not (np.abs(values) <= LARGEST).all():
        try:
            for word in text.split():
                parse_number(word)
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
