"""Whose joint is which: how programs name joints, in what unit they measure, and which way is up.

A motion file names its joints as the program that wrote it does, and says neither its unit of
length nor which axis is vertical. All three are found here: names by tables of the common families
(`SKELETONS`), taken only where the skeleton has the proportions that the family assumes; the unit
from the bones below the hips at rest; the vertical from how people stand in the rest pose and in
the motion.

J joints of the file's skeleton, T frames. Lengths are the file's own until the unit is known.
"""

import itertools
import re
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from hmrlib import fitting

INCH = 0.0254
UNITS = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001, "inch": INCH, "CMU": INCH / 0.45}
"""Metres a unit of length. CMU's database is in inches / 0.45."""

_TURNS = {"y": "x0", "z": "x-90", "x": "z90", "-y": "x180", "-z": "x90", "-x": "z-90"}
UPS = {
    up: Rotation.from_euler(turn[0], float(turn[1:]), degrees=True).as_matrix().round()
    for up, turn in _TURNS.items()
}
"""Axis of a file that is vertical -> rotation (3, 3) into our frame, y up."""


class MocapError(ValueError):
    """A motion file cannot be read, or its skeleton is not understood; the message says why."""


class MocapWarning(UserWarning):
    """A motion was read, but something in the file had to be mended or guessed."""


# --- the families -----------------------------------------------------------------------------


def _both_sides(middle, sides, left, right):
    """A map with "left_x" and "right_x" for each x in `sides`; "{}" there becomes left, right."""
    joints = dict(middle)
    for ours, theirs in sides.items():
        for side, word in (("left", left), ("right", right)):
            if isinstance(theirs, dict):
                named = {name.replace("{}", word): share for name, share in theirs.items()}
            else:
                named = theirs.replace("{}", word)
            joints[f"{side}_{ours}"] = named
    return joints


_THORAX = {"Chest2+y": 1.1, "Chest2": -1.1}  # what the bone that is missing adds: 0.11 m
_FACE = {"upperneck": 1.0, "head+z": 1.0, "head": -1.0}  # in front of the skull's base
SKELETONS = {
    # The skeleton of CMU's and HDM05's ASF/AMC: a joint is the far end of the bone of its name.
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
    # SMPL's and SMPL-X's own names, in full; below they are short.
    "smplx": _both_sides(
        {"pelvis": "pelvis", "spine1": "spine1", "spine2": "spine2", "spine3": "spine3"}
        | {"neck": "neck", "head": "head"},
        {"hip": "{}_hip", "knee": "{}_knee", "ankle": "{}_ankle", "foot": "{}_foot"}
        | {"collar": "{}_collar", "shoulder": "{}_shoulder", "elbow": "{}_elbow"}
        | {"wrist": "{}_wrist", "hand": "{}_hand|{}_middle1"},
        "left",
        "right",
    ),
    # Xsens MVN's BVH, and 100STYLE, which was recorded with it.
    "xsens": _both_sides(
        {"pelvis": "Hips", "spine1": "Chest", "spine2": "Chest2", "spine3": "Chest4|Chest3"}
        | {"neck": "Neck", "head": "Head", "head_top": "Head_end"},
        {"hip": "{}Hip", "knee": "{}Knee", "ankle": "{}Ankle", "foot": "{}Toe", "toe": "{}Toe_end"}
        | {"collar": "{}Collar", "shoulder": "{}Shoulder", "elbow": "{}Elbow", "wrist": "{}Wrist"}
        | {"hand": "{}Wrist_end"},
        "Left",
        "Right",
    ),
    # As Biovision's first files name joints; the ends of feet say nothing of where toes point.
    "biovision": _both_sides(
        {"pelvis": "Hips", "spine1": "Chest", "neck": "Neck", "head": "Head"}
        | {"head_top": "Head_end"},
        {"hip": "{}Hip", "knee": "{}Knee", "ankle": "{}Ankle", "foot": "{}Toe|{}Foot"}
        | {"collar": "{}Collar", "shoulder": "{}Shoulder", "elbow": "{}Elbow"}
        | {"wrist": "{}Wrist", "hand": "{}Wrist_end"},
        "Left",
        "Right",
    ),
    # As DAZ Studio (Genesis too) and Poser name joints; OptiTrack's Motive.
    "daz": _both_sides(
        {"pelvis": "hip", "spine1": "abdomen|abdomenLower|spine1|Ab"}
        | {"spine2": "abdomen2|abdomenUpper|spine2|chest", "spine3": "chestLower|spine3"}
        | {"neck": "neck|neckLower|neck1", "head": "head"}
        | {"left_eye": "leftEye|lEye", "right_eye": "rightEye|rEye"},
        {"hip": "{}Thigh|{}ThighBend", "knee": "{}Shin", "ankle": "{}Foot"}
        | {"foot": "{}Toe|{}Toes|{}Foot_end", "collar": "{}Collar|{}Shoulder"}
        | {"shoulder": "{}Shldr|{}ShldrBend|{}UpperArm|{}UArm"}
        | {"elbow": "{}ForeArm|{}ForearmBend|{}FArm", "wrist": "{}Hand"}
        | {"hand": "{}Mid1", "thumb": "{}Thumb2_end"},
        "l",
        "r",
    ),
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
    # MotionBuilder's HumanIK: Mixamo, Rokoko, LAFAN1, CMU's database as cgspeed converted it.
    "humanik": _both_sides(
        {"pelvis": "Hips", "spine1": "Spine|Spine1", "spine2": "Spine1|Spine2"}
        | {"spine3": "Spine3|Spine2|Chest", "neck": "Neck|Neck1", "head": "Head"}
        | {"head_top": "HeadTop_End|HeadEnd|Head_end"},
        {"hip": "{}UpLeg|{}Thigh|{}Leg", "knee": "{}Shin|{}LowLeg|{}Leg", "ankle": "{}Foot"}
        | {"foot": "{}ToeBase|{}Toe", "toe": "{}Toe_End|{}ToeEnd|{}ToeBase_end"}
        | {"collar": "{}Shoulder|{}Collar", "shoulder": "{}Arm|{}UpArm"}
        | {"elbow": "{}ForeArm|{}LowArm|{}Arm1", "wrist": "{}Hand"}
        | {"hand": "{}HandMiddle1|{}HandIndex1", "thumb": "{}HandThumb3"},
        "Left",
        "Right",
    ),
    # Unity's and VRM's names; those of Xsens's segments and of MakeHuman's own skeleton.
    "unity": _both_sides(
        {"pelvis": "Hips|Pelvis", "spine1": "Spine|L5", "spine2": "Chest|L3"}
        | {"spine3": "UpperChest|T8", "neck": "Neck|neck01", "head": "Head"}
        | {"head_top": "Head_end"},
        {"hip": "{}UpperLeg|{}upperleg01", "knee": "{}LowerLeg|{}lowerleg01", "ankle": "{}Foot"}
        | {"foot": "{}Toes|{}Toe|{}ToeBase|{}toe1-1", "toe": "{}Toes_end|{}Toe_end"}
        | {"collar": "{}Shoulder|{}Clavicle", "shoulder": "{}UpperArm|{}upperarm01"}
        | {"elbow": "{}LowerArm|{}ForeArm|{}lowerarm01", "wrist": "{}Hand|{}Wrist"},
        "Left",
        "Right",
    ),
    # Bandai Namco Research's Motiondataset.
    "bandai-namco": _both_sides(
        {"pelvis": "Hips", "spine1": "Spine", "spine3": "Chest", "neck": "Neck", "head": "Head"}
        | {"head_top": "Head_end"},
        {"hip": "UpperLeg_{}", "knee": "LowerLeg_{}", "ankle": "Foot_{}", "foot": "Toes_{}|Toe_{}"}
        | {"toe": "Toes_{}_end|Toe_{}_end", "collar": "Shoulder_{}", "shoulder": "UpperArm_{}"}
        | {"elbow": "LowerArm_{}|ForeArm_{}", "wrist": "Hand_{}"},
        "L",
        "R",
    ),
    # 3ds Max's Biped: "Bip01 L Thigh". Without a pelvis it is the root, "Bip01", that stands there.
    "biped": _both_sides(
        {"pelvis": "Pelvis|", "spine1": "Spine", "spine2": "Spine1"}
        | {"spine3": "Spine4|Spine3|Spine2", "neck": "Neck|Neck1", "head": "Head|Head1"}
        | {"head_top": "HeadNub|Head_end"},
        {"hip": "{} Thigh", "knee": "{} Calf", "ankle": "{} Foot", "foot": "{} Toe0"}
        | {"toe": "{} Toe0Nub|{} Toe0_end", "collar": "{} Clavicle", "shoulder": "{} UpperArm"}
        | {"elbow": "{} Forearm", "wrist": "{} Hand", "hand": "{} Finger2"},
        "L",
        "R",
    ),
    # Unreal's mannequin.
    "unreal": _both_sides(
        {"pelvis": "pelvis", "spine1": "spine_01", "spine2": "spine_02", "spine3": "spine_03"}
        | {"neck": "neck_01", "head": "head", "head_top": "head_end"},
        {"hip": "thigh_{}", "knee": "calf_{}", "ankle": "foot_{}", "foot": "ball_{}"}
        | {"toe": "ball_{}_end", "collar": "clavicle_{}", "shoulder": "upperarm_{}"}
        | {"elbow": "lowerarm_{}", "wrist": "hand_{}", "hand": "middle_01_{}"},
        "l",
        "r",
    ),
    # Blender's Rigify, the newer human and the older one.
    "rigify": _both_sides(
        {"pelvis": "hips|spine", "spine1": "spine.001|spine", "spine2": "spine.002"}
        | {"spine3": "spine.003|chest", "neck": "spine.004|neck", "head": "spine.006|head"}
        | {"head_top": "spine.006_end|head_end"},
        {"hip": "thigh.{}", "knee": "shin.{}", "ankle": "foot.{}", "foot": "toe.{}"}
        | {"toe": "toe.{}_end", "collar": "shoulder.{}", "shoulder": "upper_arm.{}"}
        | {"elbow": "forearm.{}", "wrist": "hand.{}", "hand": "f_middle.01.{}"},
        "L",
        "R",
    ),
    # SMPL's own names.
    "smpl": _both_sides(
        {"pelvis": "Pelvis", "spine1": "Spine1|Torso", "spine2": "Spine2|Spine"}
        | {"spine3": "Spine3|Chest", "neck": "Neck", "head": "Head"},
        {"hip": "{}_Hip", "knee": "{}_Knee", "ankle": "{}_Ankle", "foot": "{}_Foot|{}_Toe"}
        | {"collar": "{}_Collar|{}_Thorax", "shoulder": "{}_Shoulder", "elbow": "{}_Elbow"}
        | {"wrist": "{}_Wrist", "hand": "{}_Hand"},
        "L",
        "R",
    ),
}
"""Our point (`fitting.SITE_NAMES`) -> the skeleton's: a joint's name, or shares of several joints.
"Head+z" is the point 0.1 m from the joint Head along its own z axis; "Chest4|Chest3" the first of
these that there is. Upper case, spaces, dots and a prefix common to all names ("mixamorig:",
"Bip01 ", "DEF-") do not matter; where nothing fits, neither does how and where a name says left or
right ("UpLeg.L" for "LeftUpLeg"). `LIMBS_AND_TORSO` must be there, the other points may be missing.
"""

LIMBS_AND_TORSO = (
    *(
        f"{side}_{joint}"
        for joint in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
        for side in ("left", "right")
    ),
    "neck",
)
_ALSO_NEEDED = {
    "smplx": ("pelvis", "spine1", "spine2", "spine3"),
    "xsens": ("spine3",),
    "cmu-bvh": ("spine2",),
}
_SIDE_WORDS = {"l": "left", "left": "left", "r": "right", "right": "right", "c": "", "m": ""}
_MOST_WORDS = 12  # of a name that are looked at


def joint_map(motion, joints=None):
    """Which points of a motion are which of ours.

    Args:
        motion: `hmrlib.motion.clips.Motion`.
        joints: a name in `SKELETONS`, or a dict like theirs, with the motion's own names; None:
            the first that fits the names and the proportions.

    Returns:
        its name in `SKELETONS` ("" for one's own), and a dict like those there.

    Raises:
        MocapError: nothing fits, or the map names joints that the motion lacks.
    """
    if joints is None:
        return _known(motion)
    if isinstance(joints, str):
        if joints not in SKELETONS:
            raise MocapError(f"unknown skeleton {joints!r}; known are {', '.join(SKELETONS)}")
        for known in _spellings(motion.names):
            found, missing = _resolved(joints, motion, known)
            if not missing:
                return joints, found
        raise MocapError(f"{joints}: the motion has no {missing}; it has {_listed(motion)}")
    check_map(joints)
    missing = _sources(joints) - set(motion.names)
    if missing:
        raise MocapError(f"the motion has no {sorted(missing)}; it has {_listed(motion)}")
    return "", joints


def check_map(joints):
    """A map of one's own must be a dict from our points to names or shares of names.

    Raises:
        MocapError: it is not.
    """
    if not isinstance(joints, dict) or not joints:
        raise MocapError(f"expected a map of joints, a dict as in SKELETONS, found {joints!r:.80}")
    strange = sorted(str(name) for name in set(joints) - set(fitting.SITE_NAMES))
    if strange:
        raise MocapError(
            f"the map names {strange}, which are not ours ({', '.join(fitting.SITE_NAMES)})"
        )
    for ours, theirs in joints.items():
        shares = theirs if isinstance(theirs, dict) else {str(theirs): 1.0}
        named = isinstance(theirs, str | dict) and all(
            isinstance(name, str) and name.partition("+")[2] in ("", *"xyz") for name in shares
        )
        if not (shares and named and all(_is_number(share) for share in shares.values())):
            raise MocapError(
                f"the map's {ours!r}: expected a joint's name or {{name: share}}, found {theirs!r}"
            )


def _is_number(value):
    return type(value) in (int, float) and abs(value) < 1e6


def _listed(motion):
    names = ", ".join(motion.names)
    return names if len(names) < 2000 else f"{names[:2000]} ..."


def _known(motion):
    """The first family that fits, and its map in the motion's own names."""
    found, reasons = _families(motion)
    if found is None:
        raise MocapError(
            f"no known skeleton ({', '.join(SKELETONS)}) has these joints{reasons}: "
            f"{_listed(motion)}. Give `joints`, a dict from our points "
            f"({', '.join(fitting.SITE_NAMES)}) to them"
        )
    return found


def _families(motion):
    """(family, map) or None, and in words which families have the names but not the proportions."""
    odd = []
    for known, family in itertools.product(_spellings(motion.names), SKELETONS):
        joints, missing = _resolved(family, motion, known)
        if missing:
            continue
        if _proportions_fit(family, motion, joints):
            return (family, joints), ""
        odd.append(family)
    odd = list(dict.fromkeys(odd))
    return None, f" and proportions (the names alone are those of {', '.join(odd)})" if odd else ""


def _plain(name):
    return re.sub(r"[\W_]+", "", name).lower()


def _spellings(names):
    """Twice {plain name: name}: as they are, and also with the word for a side put otherwise."""
    known = {}
    for name in names:
        known.setdefault(_plain(name), name)
    yield known
    known = dict(known)
    for name in names:
        words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)[:_MOST_WORDS]
        for i, word in enumerate(words):
            side = _SIDE_WORDS.get(word.lower())
            others = words[:i] + words[i + 1 :]
            for place in range(len(words) if side is not None else 0):
                for spelt in (side, side[:1]):
                    new = "".join([*others[:place], spelt, *others[place:]])
                    known.setdefault(new.lower(), name)
    yield known


def _resolved(family, motion, known):
    """A family's map with the motion's own names, and which points that must be are missing."""
    table = SKELETONS[family]
    # with whatever program or person names begin: the prefix under which most is found
    knees = [_plain(name) for name in str(table["left_knee"]).split("|")]
    prefixes = {name[: -len(knee)] for name in known for knee in knees if name.endswith(knee)}
    best = {}
    for prefix in sorted(prefixes, key=lambda prefix: (len(prefix), prefix)):
        found = {ours: _translated(theirs, prefix, known) for ours, theirs in table.items()}
        found = {ours: theirs for ours, theirs in found.items() if theirs is not None}
        if len(found) > len(best):
            best = found
    best = {n: t for n, t in best.items() if n in LIMBS_AND_TORSO or _extends(t, motion)}
    needed = (*LIMBS_AND_TORSO, *_ALSO_NEEDED.get(family, ()))
    missing = [str(table[ours]) for ours in needed if ours not in best]
    limbs = [str(best.get(ours)) for ours in LIMBS_AND_TORSO]
    return best, missing or (["limbs of their own"] if len(set(limbs)) < len(limbs) else [])


def _translated(theirs, prefix, known):
    """A family's name or shares of names, with the motion's own; None if it lacks them."""
    if isinstance(theirs, dict):
        named = {_translated(name, prefix, known): share for name, share in theirs.items()}
        return None if None in named else named
    for name in theirs.split("|"):
        joint, plus, axis = name.partition("+")
        if prefix + _plain(joint) in known:
            return known[prefix + _plain(joint)] + plus + axis
    return None


def _extends(theirs, motion):
    """Whether a point says something: ends of chains often lie where their joint does."""
    name = next(iter(theirs)) if isinstance(theirs, dict) else theirs
    joint = motion.names.index(name.partition("+")[0])
    end = name.endswith("_end") and motion.parents[joint] >= 0
    return not end or np.any(motion.rest[joint] != motion.rest[motion.parents[joint]])


def _sources(joints):
    """The names of the motion's joints that a map speaks of."""
    parts = [[p] if isinstance(p, str) else list(p) for p in joints.values()]
    return {name.split("+")[0] for part in parts for name in part}


def _proportions_fit(family, motion, joints):
    """Whether limbs are as long beside each other as the family has them, and as people's are."""
    some = _thinned(motion)
    points = _mapped(some, joints)
    thigh, shin, upper, forearm = (
        _apart(points[f"left_{a}"], points[f"left_{b}"])
        + _apart(points[f"right_{a}"], points[f"right_{b}"])
        for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
    )
    if not min(thigh, shin, upper, forearm) > 0:
        return False
    if family == "cmu-bvh":  # the bones that it puts back must be missing
        known = {_plain(name): some.positions[:, j] for j, name in enumerate(some.names)}
        gap = _apart(known.get("leftcollar", np.inf), known["chest2"])
        if not (gap < 0.05 * thigh and forearm < 1.2 * upper):
            return False
    shares = np.array([shin / thigh, forearm / upper, upper / thigh])
    return bool((np.abs(np.log(shares / [1.0, 0.87, 0.7])) < np.log(2)).all())


def _apart(one, other):
    return np.median(np.linalg.norm(one - other, axis=-1))


def _thinned(motion, frames=64):
    """Some frames of a motion, spread over it."""
    some = np.unique(np.linspace(0, len(motion.positions) - 1, frames).astype(int))
    return replace(motion, positions=motion.positions[some], rotations=motion.rotations[some])


def mapped(motion, joints):
    """The motion's points by our names: dict -> (T, 3) metres, and the same at rest -> (3,)."""
    return _mapped(motion, joints), {n: p[0] for n, p in _mapped(at_rest(motion), joints).items()}


def at_rest(motion):
    """The motion's rest pose as a motion of one frame."""
    still = np.eye(3)[None, None].repeat(len(motion.names), axis=1)
    return replace(motion, positions=motion.rest[None], rotations=still)


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


# --- trunk and legs, whatever their names -------------------------------------------------------


class Parts(NamedTuple):
    """Joints by number: above the hips, the hips, the feet; the bones of each leg; their length.

    Attributes:
        top, hips, feet: joints, whose mean counts.
        legs: for each leg its joints, one after the other.
        usual: metres that such legs are long with most people.
    """

    top: list[int]
    hips: list[int]
    feet: list[int]
    legs: list[list[int]]
    usual: float


def parts(motion):
    """The trunk and the legs of a skeleton, by its names or else by its form; None without legs."""
    found = _families(motion)[0]
    if found is None:
        return _parts_by_form(motion)
    index = {name: j for j, name in enumerate(motion.names)}

    def joint(ours):
        theirs = found[1][ours]
        name = theirs if isinstance(theirs, str) else next(iter(theirs))
        return index[name.partition("+")[0]]

    legs = [[joint(f"{s}_{n}") for n in ("hip", "knee", "ankle")] for s in ("left", "right")]
    hips, _, feet = zip(*legs, strict=True)
    return Parts([joint("neck")], list(hips), list(feet), legs, 0.84)


def _parts_by_form(motion):
    """Below the hips hang two chains of one length, and above them one that branches."""
    children = [[] for _ in motion.parents]
    for j, parent in enumerate(motion.parents):
        if parent >= 0:
            children[parent].append(j)
    lengths = rest_lengths(motion)
    reach, tips, far = np.zeros(len(children)), np.ones(len(children), int), {}
    for j in reversed(range(len(children))):  # children come after their parents
        reach[j] = lengths[j]
        if children[j]:
            far[j] = max(children[j], key=reach.__getitem__)
            reach[j] += reach[far[j]]
            tips[j] = sum(tips[child] for child in children[j])
    branches = [motion.parents.index(-1)]
    while True:
        branches = [j for j in branches if reach[j] >= 0.3 * max(reach[b] for b in branches)]
        inner = [j for j in branches if children[j]]
        if len(branches) >= 3 or not inner:
            break
        first = min(inner, key=lambda j: (lengths[j], j))
        branches = [j for j in branches if j != first] + children[first]
    if len(branches) < 3:
        return None
    trunk = max(branches, key=lambda j: (tips[j], reach[j]))
    legs = sorted((j for j in branches if j != trunk), key=lambda j: -reach[j])[:2]
    if not 0.85 * reach[legs[0]] < reach[legs[1]]:
        return None
    chains = []
    for joint in legs:
        chains.append([joint])
        while chains[-1][-1] in far:
            chains[-1].append(far[chains[-1][-1]])
    above, inside = [], {trunk}
    for j, parent in enumerate(motion.parents):
        if j in inside or parent in inside:
            inside.add(j)
            above.append(j)
    return Parts(above, legs, [chain[-1] for chain in chains], chains, 1.02)


def rest_lengths(motion):
    """(J,) from each joint to its parent, at rest; 0 for the root.

    Where the rest pose says nothing (all in one point), the median over the motion's frames.
    """
    before = np.maximum(motion.parents, 0)
    lengths = np.linalg.norm(motion.rest - motion.rest[before], axis=-1)
    if lengths.any():
        return lengths
    some = _thinned(motion).positions
    return np.median(np.linalg.norm(some - some[:, before], axis=-1), axis=0)


# --- the unit of length -------------------------------------------------------------------------

_REACH = 1.25  # metres from the root to the farthest tip, where no legs are known
_SMALLER, _LARGER = np.log(1.3), np.log(1.15)  # people's spread about the usual: children, giants
_RARE = {"m": 0, "cm": 0, "mm": 0, "inch": 1, "CMU": 1, "dm": 3}  # what it costs to believe a unit
_CLOSE = 3  # a second unit that is no more unlikely than so is told
_STATED = "the one that the file states"


def find_unit(motion, path="the motion", stated=None):
    """The unit of length: the one in which the legs at rest are as long as people's.

    Args:
        motion: in its file's unit.
        stated: metres, what the file says of itself; believed where it can be true.

    Returns:
        metres a unit, and a sentence where another unit is nearly as likely, else None.

    Raises:
        MocapError: people are not of that size in any unit.
    """
    found, lengths = parts(motion), rest_lengths(motion)
    if found is None:
        what, usual, long = (
            "longest chain of bones",
            _REACH,
            _longest_chain(motion.parents, lengths),
        )
    else:
        what, usual = "legs", found.usual
        long = np.mean([_chain_length(chain, motion, lengths) for chain in found.legs])
    if not (np.isfinite(long) and long > 0):
        raise MocapError(f"{path}: the bones of its rest pose have no length; give `unit`")
    units = dict(UNITS) if stated is None else {_STATED: stated, **UNITS}
    rare = {name: cost + (stated is not None) for name, cost in _RARE.items()} | {_STATED: 0}
    costs = {}
    for name, metres in units.items():
        times = np.log(long * metres / usual)
        costs[name] = (times / (_LARGER if times > 0 else _SMALLER)) ** 2 / 2 + rare[name]
    best, *others = sorted(costs, key=costs.get)
    if not 0.4 < long * units[best] / usual < 1.7:
        raise MocapError(
            f"{path}: a skeleton whose {what} measure {long:g} is no person's in any of "
            f"{', '.join(UNITS)}; give `unit`"
        )
    second = next(n for n in others if not np.isclose(units[n], units[best], rtol=0.02))
    said = None
    if costs[second] - costs[best] < _CLOSE or (stated is not None and best != _STATED):
        said = (
            f"its {what} are {long * units[best]:.2f} m if the unit of length is {best}, which was "
            f"taken, and {long * units[second]:.2f} m if it is {second}; `unit` tells it"
        )
    return units[best], said


def _chain_length(chain, motion, lengths):
    """How long a chain of joints is at rest, bones between them included, the first's own not."""
    total = 0.0
    for upper, lower in itertools.pairwise(chain):
        while lower != upper and lower >= 0:
            total += lengths[lower]
            lower = motion.parents[lower]
    return total


def _longest_chain(parents, lengths):
    reach = np.zeros(len(parents))
    for joint, parent in enumerate(parents):
        reach[joint] = lengths[joint] + (reach[parent] if parent >= 0 else 0)
    return reach.max()


# --- which way is up ----------------------------------------------------------------------------


def find_up(motion):
    """Which axis of a motion is vertical.

    People stand and walk more than they lie: the mean direction from the feet over the hips to the
    neck tells. Where that of the rest pose differs, either the rest pose lies (in a file whose root
    turns it upright), or the person does: then the axis counts along which the lowest points are
    near 0, a floor.

    Returns:
        a name in `UPS`, and a sentence where that was not certain, else None.
    """
    found = parts(motion)
    if found is None:
        return "y", "no legs are known in it, so y was taken for the vertical; `up` tells it"
    standing, clear = _axis(_upwards(_thinned(motion).positions, found))
    resting = rest_up(motion)
    if resting is None:
        said = f"{standing} was taken for the vertical, hardly certain; `up` tells it"
        return standing, None if clear else said
    if not clear or standing == resting:
        return resting, None
    lengths = rest_lengths(motion)
    leg = np.mean([_chain_length(chain, motion, lengths) for chain in found.legs])
    floors = [_floor(motion, axis) / max(leg, 1e-9) for axis in (standing, resting)]
    axis = standing if floors[0] < floors[1] - 0.15 else resting
    return axis, (
        f"the rest pose stands along {resting}, people in the motion along {standing}; {axis} was "
        "taken for the vertical, as the floor lies there; `up` tells it"
    )


def rest_up(motion):
    """The axis along which the rest pose stands, a name in `UPS`; None if it does not stand."""
    found = parts(motion)
    axis, upright = ("y", False) if found is None else _axis(_upwards(motion.rest[None], found))
    return axis if upright else None


def _upwards(places, found):
    """(T, 3) from the feet to the neck, each half a unit vector; zero where it is bent double."""
    top, hips, feet = (
        places[:, joints].mean(axis=1) for joints in (found.top, found.hips, found.feet)
    )
    trunk, legs = top - hips, hips - feet
    trunk = trunk / np.maximum(np.linalg.norm(trunk, axis=1, keepdims=True), 1e-9)
    legs = legs / np.maximum(np.linalg.norm(legs, axis=1, keepdims=True), 1e-9)
    straight = np.sum(trunk * legs, axis=1, keepdims=True) > 0.3
    return np.where(straight, (trunk + legs) / 2, 0.0)


def _axis(directions):
    """The axis nearest to the mean of directions (T, 3), and whether that is clear."""
    mean = directions.mean(axis=0)
    along = np.abs(mean).argmax()
    sizes = np.sort(np.abs(mean))
    return ("-" if mean[along] < 0 else "") + "xyz"[along], bool(
        sizes[2] > 0.4 and sizes[2] > 1.5 * sizes[1]
    )


def _floor(motion, axis):
    """How far from 0 the lowest points are along an axis, with the root's offset or without it."""
    upwards = UPS[axis][1]
    lowest = np.median((motion.positions @ upwards).min(axis=1))
    return min(abs(lowest), abs(lowest - motion.rest[motion.parents.index(-1)] @ upwards))
