"""People that never were: pictures of dressed bodies in made-up places, with all that is known.

Every sample comes from a *recipe*, a dict of plain numbers and names that JSON can hold:

    people      betas, pose, outfit and place of each; the first is the one the labels speak of
    place       where they are, and its light          `render.backgrounds`
    objects     furniture, plants and poles, some of them in front
    camera      where the photographer stands, and what part of the photograph is kept
    lens        focus, motion, exposure, colour, noise, and the JPEG's quality

`draw_recipe(seed, index)` draws one, `picture` turns recipes into samples as `data.records` keeps
them, `render_people` makes a whole data set, on all cores or on many machines. The same seed gives
the same recipes, and a recipe the same picture, to the byte, whoever draws it, in whichever order
and by however many threads (see `render.shading`, `clothes` and `_rounded` for how).

World frame: metres, y up, the ground at y = 0, the first person at the origin, the camera at +z.
In `segmentation` 1 is the person, 2 are other people, 3 are objects.
"""

import contextlib
import gc
import json
import math
import warnings
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import orjson
from numba import njit
from PIL import Image
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from hmrlib.body.files import default_path, read_model
from hmrlib.body.keypoints import keypoint_matrix, landmark_vertices
from hmrlib.camera import Camera
from hmrlib.data import records
from hmrlib.io import atomic_write, locked
from hmrlib.io.images import ImageError, below, load, to_rgb
from hmrlib.motion.library import read_poses
from hmrlib.people import backgrounds, clothes
from hmrlib.render.lights import Sun, sky_of_picture
from hmrlib.render.scene import Mesh, Mipmap, Scene, mipmap_levels, render_scenes
from hmrlib.skeleton import JOINT_MIRROR, KEYPOINT_SETS, PARENTS, POSES, pose_from_degrees

SIZE = 224
SHARD = 256  # samples
BATCH = 64  # samples whose bodies are posed together
COLUMNS = 512  # numbers of the bodies' vertices that are computed for all people together
# Samples that are made together, step by step, and not one after the other: what does the same
# thing again finds its code and its tables in the processor's caches, and takes a tenth less.
GROUP = 16
PHOTOGRAPH = 640  # pixels of the made-up photograph's height, from which the picture is cropped
NAMES = KEYPOINT_SETS["union-22"].names
PERSON, OTHER, OBJECT = 1, 2, 3
GRAIN = 32  # of the noise's numbers, one deviation
DIGITS = 7  # decimals of a recipe's numbers
LEAST_SEEN = 5  # keypoints; where fewer are, the crop is wider and what hides them left out
J = clothes.J


# --- recipes: the body ----------------------------------------------------------------------


@lru_cache(maxsize=4)
def pose_pool(library=None, count=4000):
    """Poses to draw from: (N, 24, 3) axis-angle, each with the root as it stands on the ground.

    A quarter are hand-made ones, loosened: motion capture, and so the prior, hardly ever sits.

    Args:
        library: a `.npz` with `pose` (N, 24, 3), as `hmr data mocap` writes it: as many of its
            poses come in addition, with the root's rotation that they have. None: no others.
        count: how many of the prior's and the hand-made ones together.

    Raises:
        PoseError: the library has no such array, or one that is not finite.
        FileNotFoundError: there is no such file.
    """
    from hmrlib.motion.prior import load_prior  # takes Keras along

    rng = np.random.default_rng(0)
    handmade = np.stack([pose_from_degrees(pose) for pose in POSES.values()])
    loosened = handmade[rng.integers(len(handmade), size=count // 4)]
    loosened[:, 1:] += rng.normal(0, 0.12, (len(loosened), 23, 3))
    drawn = load_prior().sample(count - len(loosened), 0)
    pool = _on_its_feet(np.concatenate([drawn, loosened]))
    if library is None:
        return pool
    poses = read_poses(library)
    poses = poses[np.random.default_rng(0).permutation(len(poses))[:count]]
    return np.concatenate([pool, poses]).astype(np.float32)


def _on_its_feet(poses):
    """Turn the root of poses (N, 24, 3) so that the body stands over its feet, if it can.

    A prior does not know the root's rotation. The mean of the joints is brought above the ankles
    where that needs less than half a right angle; otherwise the trunk stays upright.
    """
    body = _body()
    joints = np.asarray(body.J_regressor @ body.v_template, float)
    rest = np.broadcast_to(joints, (len(poses), 24, 3))
    rotations = Rotation.from_rotvec(poses.reshape(-1, 3)).as_matrix().reshape(-1, 24, 3, 3)
    place, _, _ = clothes.joint_transforms(rotations, rest, PARENTS)
    ankles = place[:, [J["left_ankle"], J["right_ankle"]]].mean(1)
    up = place[:, [J["spine1"], J["spine3"], J["head"]]].mean(1) - ankles
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    angle = np.arccos(np.clip(up[:, 1], -1, 1))
    axis = np.cross(up, [0, 1, 0])
    axis /= np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-9)
    turn = Rotation.from_rotvec(axis * np.where(angle < np.pi / 4, 0.85 * angle, 0)[:, None])
    poses = np.array(poses, np.float32)
    poses[:, 0] = (turn * Rotation.from_rotvec(poses[:, 0])).as_rotvec()
    return poses


def _draw_body(rng, pool):
    """betas (10,), pose (24, 3), how high it floats, and turns (2, 3), not yet in the pose."""
    spread = 1.0 if rng.random() < 0.85 else 1.6
    betas = np.minimum(np.maximum(spread * rng.normal(size=10), -3.5), 3.5)
    pose = pool[rng.integers(len(pool))].astype(float)
    if rng.random() < 0.5:
        pose = pose[list(JOINT_MIRROR)] * [1, -1, -1]
    pose[1:] += rng.normal(0, 0.03, (23, 3))
    how = rng.random()
    lift = 0.0
    if how < 0.05:  # lying
        axis = [(-1, 0, 0), (1, 0, 0), (0, 0, 1), (0, 0, -1)][rng.integers(4)]
        tilt = np.radians(90 + 8 * rng.normal()) * np.array(axis)
    elif how < 0.08:  # on its head, or in mid air
        tilt = Rotation.from_euler("zxy", rng.normal([180, 0, 0], [25, 25, 180]), degrees=True)
        tilt, lift = tilt.as_rotvec(), rng.exponential(0.2)
    elif how < 0.14:  # leaping, falling, leaning
        tilt, lift = np.radians(18) * rng.normal(size=3), rng.exponential(0.25)
    else:
        tilt = np.radians(4) * rng.normal(size=3)
    facing = rng.normal(0, 50) if rng.random() < 0.6 else rng.uniform(-180, 180)
    turns = [0, np.radians(facing), 0], tilt
    return {"betas": betas.round(4), "pose": pose, "lift": lift, "turns": turns}


def _turn_bodies(people):
    """Put the turns of many people into the roots of their poses: first the tilt, then facing."""
    facing, tilt = np.array([person.pop("turns") for person in people]).transpose(1, 0, 2)
    roots = Rotation.from_rotvec([person["pose"][0] for person in people])
    roots = Rotation.from_rotvec(facing) * Rotation.from_rotvec(tilt) * roots
    for person, root in zip(people, roots.as_rotvec(), strict=True):
        person["pose"][0] = root
        person["pose"] = person["pose"].round(4)


# --- recipes: clothes -----------------------------------------------------------------------

# hues of cloth as sold: (weight, sRGB); muted, mostly dark, some white
_DYES = (
    (16, (0.09, 0.09, 0.10)),
    (9, (0.22, 0.23, 0.25)),
    (6, (0.48, 0.48, 0.49)),
    (12, (0.84, 0.84, 0.82)),
    (11, (0.10, 0.14, 0.26)),
    (7, (0.26, 0.36, 0.52)),
    (4, (0.45, 0.58, 0.72)),
    (6, (0.55, 0.12, 0.13)),
    (3, (0.75, 0.24, 0.16)),
    (4, (0.22, 0.30, 0.20)),
    (3, (0.16, 0.36, 0.28)),
    (5, (0.60, 0.51, 0.39)),
    (4, (0.34, 0.24, 0.17)),
    (3, (0.80, 0.68, 0.42)),
    (2, (0.85, 0.62, 0.16)),
    (3, (0.72, 0.50, 0.53)),
    (2, (0.42, 0.22, 0.40)),
    (2, (0.20, 0.48, 0.52)),
)
_DYE_WEIGHTS = np.cumsum([weight for weight, _ in _DYES])
_DYE_COLORS = np.array([color for _, color in _DYES])


def _dyes(rng, count):
    """`count` colours of cloth (count, 3)."""
    rows = np.searchsorted(_DYE_WEIGHTS, rng.random(count) * _DYE_WEIGHTS[-1], "right")
    varied = np.exp(rng.normal(size=(count, 4)) * [0.12, 0.07, 0.07, 0.07])
    colors = _DYE_COLORS[rows] * varied[:, :1] * varied[:, 1:]
    return np.minimum(np.maximum(colors, 0.03), 0.92).round(3)


def _one_of(rng, chances):
    """A key of {key: chance}, whose chances sum to one."""
    draw = rng.random()
    for key, chance in chances.items():
        draw -= chance
        if draw < 0:
            return key
    return key


def _print(rng, *kinds, plain=0.5):
    """pattern, variant and colors of a cloth: plain, or one of `kinds`."""
    kind = "plain" if rng.random() < plain or not kinds else kinds[rng.integers(len(kinds))]
    colors = rng.dyes(4)
    ground = colors[0].tolist()
    if max(abs(a - b) for a, b in zip(ground, colors[1], strict=True)) < 0.15:
        colors[1] = 0.85 if sum(ground) < 1.5 else 0.12  # a print must differ from its ground
    return {"pattern": kind, "variant": int(rng.integers(12)), "colors": colors}


def _cloth(rng, ease, growth, depth=0.004):
    """What all garments have, with the given looseness; see `clothes.wear`."""
    loose = math.exp(0.35 * rng.normal())
    return {
        "ease": ease * math.exp(0.25 * rng.normal()),
        "growth": growth * loose,
        "sag": 0.5 * growth * loose * 0.2,
        "smoothing": int(rng.integers(3, 7)),
        "wrinkle": 0.004 * rng.uniform(0.3, 1.3),
        "noise": int(rng.integers(clothes.NOISES)),
        "folds": int(rng.integers(12)),
        "fold_depth": round(depth * rng.uniform(0.5, 1.6), 3),
    }


def _grid(value, step):
    """Hems lie on a coarse grid, so that pieces once cut serve again."""
    return round(round(value / step) * step, 3)


def _sleeve(length):
    """The nearest of the sleeves that are cut."""
    return min((-0.04, 0.0, 0.10, 0.16, 0.22, 0.32, 0.46), key=lambda cut: abs(cut - length))


_HAIR = ((0.05, 0.04, 0.04), (0.10, 0.07, 0.05), (0.20, 0.13, 0.08), (0.33, 0.22, 0.13))
_LIGHT_HAIR = ((0.55, 0.42, 0.26), (0.68, 0.56, 0.38), (0.42, 0.20, 0.11), (0.52, 0.51, 0.50))


def draw_outfit(rng):
    """Skin, hair and clothes for one person: the recipe that `clothes.wear` follows."""
    rng = rng if isinstance(rng, _Dice) else _Dice(rng)
    tone = rng.beta(1.3, 1.7)
    light = tone < 0.5 and rng.random() < 0.45
    palette = _LIGHT_HAIR if light else _HAIR
    hair = np.array(palette[rng.integers(len(palette))]) * np.exp(0.15 * rng.normal())
    if tone > 0.6:
        hair = np.array(_HAIR[0]) * rng.uniform(0.8, 1.6)
    if rng.random() < 0.08:
        hair = np.array([0.6, 0.6, 0.6]) * rng.uniform(0.6, 1.2)
    hair = np.minimum(np.maximum(hair, 0.02), 0.8)
    feminine = rng.random() < 0.5
    eyes = [(0.16, 0.10, 0.07), (0.22, 0.30, 0.36), (0.24, 0.28, 0.18)][
        rng.integers(3) if tone < 0.4 else 0
    ]
    outfit = {
        "skin": {
            "tone": tone,
            "flush": min(max(rng.normal(0, 0.6), -1.5), 1.5),
            "iris": eyes,
            "brows": np.minimum(hair, 0.3) * 0.8,
            "lips": rng.uniform(0, 0.9) if feminine else rng.uniform(0, 0.3),
            "stubble": 0.0 if feminine or rng.random() < 0.5 else rng.uniform(0.1, 0.5),
            "blotches": int(rng.integers(clothes.NOISES)),
        },
        "garments": [],
        "extras": [],
    }
    worn = outfit["garments"]
    chances = {"casual": 0.42, "smart": 0.16, "sport": 0.24, "coat": 0.12, "bare": 0.06}
    if feminine:
        chances = {"casual": 0.36, "smart": 0.14, "sport": 0.20, "coat": 0.10, "bare": 0.06}
        chances |= {"dress": 0.07, "skirt": 0.07}
    style = _one_of(rng, chances)
    if style == "bare":
        _draw_bare(rng, worn, feminine)
    elif style == "dress":
        _draw_dress(rng, worn)
    else:
        _draw_lower(rng, worn, style)
        _draw_upper(rng, worn, style)
    if style != "bare" or rng.random() < 0.2:
        _draw_shoes(rng, worn, style)
    _draw_head(rng, outfit, hair, feminine, style)
    return outfit


def _draw_lower(rng, worn, style):
    if style == "skirt":
        print_ = _print(rng, "check", "stripes", "dots", "blossom", "melange", plain=0.55)
        hem = _grid(-rng.uniform(0.16, 0.75), 0.04)
        cloth = _cloth(rng, 0.012, 0.0) | {"growth": rng.uniform(0.05, 0.4)}
        worn.append({"kind": "tube", "shape": [0.16, hem], **cloth, **print_, **_pleats(rng)})
        return
    kinds = {
        "casual": ("jeans", "jeans", "trousers", "shorts", "chinos", "leggings"),
        "smart": ("trousers", "trousers", "chinos"),
        "sport": ("shorts", "shorts", "track", "leggings"),
        "coat": ("trousers", "jeans", "chinos"),
    }[style]
    kind = kinds[rng.integers(len(kinds))]
    leg = (0.78, 0.78, 0.84, 0.72)[rng.integers(4)]
    if kind == "shorts":
        leg = rng.uniform(0.16, 0.46)
    ease, growth, depth = {
        "jeans": (0.005, 0.02, 0.004),
        "trousers": (0.009, 0.035, 0.005),
        "chinos": (0.008, 0.03, 0.005),
        "shorts": (0.010, 0.08, 0.005),
        "track": (0.010, 0.03, 0.006),
        "leggings": (0.002, 0.0, 0.001),
    }[kind]
    if kind == "jeans":
        blue = np.array([0.20, 0.27, 0.39]) * np.exp(0.45 * rng.normal())
        color = blue if rng.random() < 0.8 else np.full(3, rng.uniform(0.08, 0.3))
        print_ = {
            "pattern": "denim",
            "variant": int(rng.integers(12)),
            "colors": [np.minimum(np.maximum(color, 0.05), 0.8)],
        }
    elif kind == "shorts":
        print_ = _print(rng, "check", "camouflage", "block", "blossom", "zip", plain=0.75)
    elif kind == "leggings":
        print_ = _print(rng, "melange", "block", plain=0.8)
    else:
        print_ = _print(rng, "melange", "pinstripe", "zip", plain=0.8)
    worn.append(
        {"kind": "lower", "shape": [_grid(rng.uniform(0.06, 0.14), 0.04), _grid(leg, 0.06)]}
        | _cloth(rng, ease, growth, depth)
        | print_
        | {"gloss": 0.15 if kind in ("track", "leggings") and rng.random() < 0.4 else 0.0}
    )


def _draw_upper(rng, worn, style):
    kind = {
        "casual": ("t_shirt", "t_shirt", "long", "sweater", "shirt", "tank", "jacket"),
        "smart": ("shirt", "shirt", "sweater", "blazer"),
        "sport": ("t_shirt", "t_shirt", "jersey", "tank", "long", "track"),
        "skirt": ("t_shirt", "shirt", "sweater", "long", "tank"),
        "coat": ("long", "sweater", "shirt"),
    }[style]
    kind = kind[rng.integers(len(kind))]
    tucked = rng.random() < (0.6 if style == "smart" else 0.15)
    hem = 0.08 if tucked else _grid(-rng.uniform(0.0, 0.10), 0.04)
    if style == "skirt":  # which hangs free of the body, and of what lies between them
        hem = 0.12
    neck = _grid(rng.uniform(0.07, 0.11), 0.02)
    sleeve, ease, growth, depth = {
        "t_shirt": (rng.uniform(0.08, 0.20), 0.008, 0.05, 0.005),
        "jersey": (rng.uniform(0.12, 0.22), 0.012, 0.05, 0.005),
        "tank": (-rng.uniform(0.0, 0.06), 0.005, 0.03, 0.004),
        "long": (rng.uniform(0.42, 0.48), 0.006, 0.025, 0.004),
        "shirt": ((0.16, 0.30, 0.46, 0.46)[rng.integers(4)], 0.010, 0.045, 0.006),
        "sweater": (rng.uniform(0.44, 0.48), 0.014, 0.035, 0.006),
        "jacket": (0.46, 0.018, 0.04, 0.006),
        "blazer": (0.46, 0.016, 0.03, 0.004),
        "track": (0.46, 0.014, 0.03, 0.006),
    }[kind]
    print_ = {
        "t_shirt": lambda: _print(rng, "print", "print", "stripes", "melange", "block", plain=0.4),
        "jersey": lambda: _print(rng, "number", "block", "bars", "stripes", plain=0.15),
        "tank": lambda: _print(rng, "print", "number", "stripes", plain=0.6),
        "long": lambda: _print(rng, "stripes", "melange", "print", "block", plain=0.55),
        "shirt": lambda: _print(rng, "shirt", "check", "gingham", "bars", "shirt", plain=0.15),
        "sweater": lambda: _print(rng, "knit", "melange", "stripes", "block", plain=0.2),
        "jacket": lambda: _print(rng, "zip", "denim", "camouflage", plain=0.3),
        "blazer": lambda: _print(rng, "shirt", "melange", "pinstripe", plain=0.4),
        "track": lambda: _print(rng, "zip", "block", plain=0.2),
    }[kind]()
    if kind in ("shirt", "blazer", "jacket"):
        neck = 0.04
    layered = kind in ("jacket", "blazer", "track") or style == "coat"
    if layered:
        inner = _print(rng, "stripes", "print", "melange", "shirt", plain=0.6)
        shape = [hem if hem > 0 else -0.04, 0.12, 0.08, 0.0]
        worn.append({"kind": "upper", "shape": shape, **_cloth(rng, 0.005, 0.02), **inner})
    opening = (0.03, 0.06)[rng.integers(2)] if layered and rng.random() < 0.6 else 0.0
    if style == "coat":
        print_ = _print(rng, "melange", "zip", "check", plain=0.55)
        hem_ = _grid(-rng.uniform(0.2, 0.6), 0.04)
        cloth = _cloth(rng, 0.022, 0.03, 0.005)
        shape = [0.0, 0.46, 0.04, opening]
        worn.append({"kind": "upper", "shape": shape, **cloth, **print_})
        flare = {"growth": rng.uniform(0.04, 0.16), "ease": 0.03}
        worn.append(
            {
                "kind": "tube",
                "shape": [0.12, hem_, opening],
                **cloth,
                **print_,
                **flare,
                **_pleats(rng),
            }
        )
        return
    if layered:
        hem = min(hem, -0.02)
    worn.append(
        {"kind": "upper", "shape": [hem, _sleeve(sleeve), neck, opening]}
        | _cloth(rng, ease, growth, depth)
        | print_
        | {"gloss": 0.12 if kind in ("jersey", "track") else 0.0}
    )


def _pleats(rng):
    return {"pleats": int(rng.integers(4, 12)), "phase": rng.uniform(0, 6.28)}


def _draw_dress(rng, worn):
    print_ = _print(rng, "blossom", "dots", "stripes", "check", "block", "melange", plain=0.4)
    cloth = _cloth(rng, 0.005, 0.015, 0.003)
    sleeve = (-0.04, 0.12, 0.30, 0.46)[rng.integers(4)]
    shape = [0.12, _sleeve(sleeve), _grid(rng.uniform(0.07, 0.12), 0.02), 0.0]
    worn.append({"kind": "upper", "shape": shape, **cloth, **print_})
    hem = _grid(-rng.uniform(0.2, 0.85), 0.04)
    flare = {"growth": rng.uniform(0.05, 0.4), "ease": 0.014}
    worn.append({"kind": "tube", "shape": [0.16, hem], **cloth, **print_, **flare, **_pleats(rng)})


def _draw_bare(rng, worn, feminine):
    """Swimwear, gymnasts' suits, shorts without a shirt."""
    cloth = _cloth(rng, 0.002, 0.0, 0.001)
    if feminine or rng.random() < 0.3:
        print_ = _print(rng, "block", "blossom", "stripes", "dots", plain=0.5)
        worn.append({"kind": "briefs", "shape": [0.10], **cloth, **print_})
        hem = 0.06 if rng.random() < 0.6 else 0.26
        shape = [hem, -0.05, 0.12, 0.0]
        worn.append({"kind": "upper", "shape": shape, **cloth, **print_})
    else:
        print_ = _print(rng, "block", "zip", "blossom", plain=0.6)
        shape = [0.08, _grid(rng.uniform(0.16, 0.46), 0.06)]
        worn.append({"kind": "lower", "shape": shape, **_cloth(rng, 0.01, 0.06), **print_})


def _draw_shoes(rng, worn, style):
    if rng.random() < 0.06:
        return
    if rng.random() < 0.5:
        color = [[0.85, 0.85, 0.84]] if rng.random() < 0.6 else [[0.1, 0.1, 0.1]]
        sock = {"pattern": "knit", "variant": 0, "colors": color}
        shape = [_grid(rng.uniform(0.04, 0.16), 0.06)]
        worn.insert(0, {"kind": "shoes", "shape": shape, **_cloth(rng, 0.003, 0.0, 0.002), **sock})
        worn[0]["smoothing"] = 16
    dark = rng.random() < (0.85 if style in ("smart", "coat") else 0.4)
    color = np.minimum(np.maximum(rng.dyes(1)[0] * (0.6 if dark else 1.2), 0.04), 0.9)
    if not dark and rng.random() < 0.5:
        color = np.full(3, rng.uniform(0.6, 0.85))
    shape = [(-0.01, 0.0, 0.02, 0.08)[rng.integers(4)]]
    shoe = {"pattern": "plain", "variant": int(rng.integers(12)), "colors": [color]}
    worn.append({"kind": "shoes", "shape": shape, **_cloth(rng, 0.012, 0.0, 0.002), **shoe})
    worn[-1] |= {"smoothing": 26, "gloss": (0.0, 0.1, 0.4)[rng.integers(3)]}


def _draw_head(rng, outfit, color, feminine, style):
    strand = {"color": color, "strands": int(rng.integers(8)), "noise": int(rng.integers(24))}
    base = {"smoothing": 4, "wrinkle": 0.006, **strand}
    chances = {"short": 0.58, "crop": 0.22, "bald": 0.1, "bob": 0.07, "bun": 0.03}
    if feminine:
        chances = {"long": 0.36, "bob": 0.2, "bun": 0.14, "ponytail": 0.2, "short": 0.1}
    style_ = _one_of(rng, chances)
    hairline = _grid(rng.uniform(54, 68), 4)
    worn = outfit["garments"]
    hat = rng.random() < (0.16 if style in ("sport", "casual", "coat") else 0.05)
    if style_ in ("short", "crop", "bun", "ponytail"):
        ease = {"short": rng.uniform(0.010, 0.028), "crop": 0.004}.get(style_, 0.007)
        shape = [hairline, _grid(rng.uniform(0.24, 0.36), 0.04)]
        worn.append({"kind": "hair", "shape": shape, "ease": 0.006 if hat else ease, **base})
    elif style_ in ("bob", "long"):
        nape = _grid(rng.uniform(0.45, 0.7) if style_ == "bob" else rng.uniform(0.9, 1.5), 0.2)
        shape = [hairline, nape, 0]
        ease = 0.008 if hat else rng.uniform(0.012, 0.03)
        worn.append(
            {"kind": "hair", "shape": shape, "ease": ease, **base}
            | {"growth": 0.16, "smoothing": 7}
        )
    if style_ in ("bun", "ponytail"):
        outfit["extras"].append({"kind": style_, "color": color, "size": rng.uniform(0.8, 1.2)})
    if not feminine and rng.random() < 0.14:
        shape = [_grid(rng.uniform(-0.27, -0.18), 0.04)]
        worn.append({"kind": "beard", "shape": shape, "ease": rng.uniform(0.003, 0.014), **base})
    if hat:
        kind = ("cap", "beanie", "hat", "helmet")[rng.integers(4)]
        print_ = _print(rng, "knit", "melange", plain=0.6)
        level, tilt = {
            "cap": (0.10, 0.12),
            "beanie": (0.02, 0.30),
            "hat": (0.14, 0.06),
            "helmet": (0.06, 0.25),
        }[kind]
        ease = {"cap": 0.014, "beanie": 0.016, "hat": 0.02, "helmet": 0.03}[kind]
        cloth = _cloth(rng, ease, 0.0, 0.003 if kind != "helmet" else 0.0)
        worn.append({"kind": "cap", "shape": [level, tilt], **cloth, **print_, "wrinkle": 0.001})
        worn[-1]["gloss"] = 0.6 if kind == "helmet" else 0.0
        if kind in ("cap", "hat"):
            span, reach = (70, 0.36) if kind == "cap" else (180, rng.uniform(0.15, 0.35))
            outfit["extras"].append(
                {"kind": "brim", "span": span, "reach": reach, "level": level + 0.02, "tilt": tilt}
                | {"color": print_["colors"][0]}
            )


class _Dice:
    """A `numpy.random.Generator` for recipes: single numbers are drawn many at a time, fast."""

    def __init__(self, generator):
        self._generator = generator
        self._shares, self._deviations, self._dyes = [], [], ()

    def __getattr__(self, name):
        return getattr(self._generator, name)

    def random(self, size=None):
        if size is not None:
            return self._generator.random(size)
        if not self._shares:
            self._shares = self._generator.random(256).tolist()
        return self._shares.pop()

    def normal(self, mean=0.0, deviation=1.0, size=None):
        if size is not None or isinstance(mean, list):
            return self._generator.normal(mean, deviation, size)
        if not self._deviations:
            self._deviations = self._generator.normal(size=64).tolist()
        return mean + deviation * self._deviations.pop()

    def uniform(self, low, high):
        return low + (high - low) * self.random()

    def integers(self, low, high=None):
        low, high = (0, low) if high is None else (low, high)
        return low + int((high - low) * self.random())

    def dyes(self, count):
        """`count` colours of cloth (count, 3)."""
        if len(self._dyes) < count:
            self._dyes = _dyes(self._generator, 24)
        taken, self._dyes = self._dyes[:count], self._dyes[count:]
        return taken


# --- recipes: everything else ---------------------------------------------------------------


# the kinds of `backgrounds.KINDS`, and how often each comes
_PLACES = dict(
    zip(backgrounds.KINDS, (0.26, 0.06, 0.16, 0.12, 0.14, 0.08, 0.12, 0.06), strict=True)
)


def draw_recipe(seed, index, pool=None, photographs=()):
    """The recipe of one sample.

    Args:
        seed, index: whole numbers; the same two always give the same recipe (with the same pool).
        pool: (N, 24, 3) poses to draw from; None: `pose_pool()`.
        photographs: names of pictures to use as backgrounds for most samples.

    Returns:
        dict of numbers, names, lists and dicts, as JSON holds them.
    """
    pool = pose_pool() if pool is None else pool
    return orjson.loads(_as_json(*_draw_recipes(seed, [index], pool, photographs)))


def _draw_recipes(seed, indices, pool, photographs):
    """The same of many, with arrays in them, which `picture` takes as well; for speed."""
    recipes = [_draw_recipe(seed, index, pool, photographs) for index in indices]
    _turn_bodies([person for recipe in recipes for person in recipe["people"]])
    return [_rounded(recipe) for recipe in recipes]


def _rounded(value):
    """A recipe's numbers to `DIGITS` decimals: the last bit of a float64, which may differ from one
    processor to another (NumPy has a sine for each kind of vectors), is not a part of it."""
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    if isinstance(value, float):
        return round(float(value), DIGITS)
    return value.round(DIGITS) if isinstance(value, np.ndarray) else value


def _draw_recipe(seed, index, pool, photographs):
    """One of them, but for what `_turn_bodies` does to its people."""
    rng = _Dice(np.random.default_rng([seed, index]))
    place = backgrounds.draw_place(_one_of(rng, _PLACES), rng)
    west, east, south, _ = place["bounds"][2:]
    people = [_draw_body(rng, pool) | {"outfit": draw_outfit(rng), "at": [0.0, 0.0]}]
    camera = _draw_camera(rng, place)
    company = _one_of(rng, {0: 0.68, 1: 0.18, 2: 0.09, 3: 0.05})
    for _ in range(company):
        near = rng.random() < 0.35
        turn, off = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 0.8)
        at = (
            [off * np.sin(turn), off * np.cos(turn)]
            if near
            else [rng.uniform(-2.6, 2.6), rng.uniform(-5, 0.6)]
        )
        at = [min(max(at[0], west + 0.4), east - 0.4), min(max(at[1], south + 0.4), 2.0)]
        people.append(_draw_body(rng, pool) | {"outfit": draw_outfit(rng), "at": at})
    recipe = {
        "seed": int(seed),
        "index": int(index),
        "people": people,
        "place": place,
        "objects": _draw_objects(rng, place, camera),
        "camera": camera,
        "lens": _draw_lens(rng, camera),
    }
    if len(photographs) and rng.random() < 0.8:
        recipe["photograph"] = {
            "name": str(photographs[rng.integers(len(photographs))]),
            "at": rng.random(2),
            "side": rng.uniform(0.4, 1.0),
            "flip": bool(rng.random() < 0.5),
        }
    return recipe


def _as_json(recipe):
    """A recipe as text; its numbers come back unchanged."""
    options = orjson.OPT_SERIALIZE_NUMPY
    return orjson.dumps(recipe, default=lambda value: value.tolist(), option=options).decode()


def _draw_camera(rng, place):
    """Where the photographer stands, and the crop around the person."""
    fov = min(max(rng.normal(50, 12), 22.0), 80.0)
    # of the photograph's height that a person takes
    share = min(max(rng.beta(2.2, 2.2), 0.15), 0.95)
    distance = 1.75 / (2 * np.tan(np.radians(fov) / 2) * share)
    turn = rng.normal(0, 0.25)
    low, high = 0.25, 1.6
    height = rng.normal(1.45, 0.22) if rng.random() < 0.72 else rng.uniform(low, 2.6)
    if not place["sky"]:
        _, ceiling, west, east, _, north = place["bounds"]
        distance = min(distance, north - 0.2)
        turn = max(turn, np.arctan2(west + 0.2, distance))
        turn = min(turn, np.arctan2(east - 0.2, distance))
        height = min(height, ceiling - 0.2)
    off = np.radians(fov) * 0.5 * (1 - share)
    kind = rng.random()
    zoom = rng.uniform(1.15, 1.6) if kind > 0.14 else rng.uniform(0.45, 0.95)
    return {
        "fov": fov,
        "distance": max(distance, 1.1),
        "turn": turn,
        "height": max(height, low * high),
        "aim": [off * rng.uniform(-0.9, 0.9), off * rng.uniform(-0.6, 0.6)],  # radians beside it
        "roll": rng.normal(0, 2.5) if rng.random() < 0.85 else rng.normal(0, 25),  # degrees
        "zoom": zoom,  # the crop's side over the person's
        "shift": rng.normal(0, 0.06, 2) + ([0, -0.22 * (1 - zoom)] if zoom < 1 else [0, 0]),
    }


def _draw_lens(rng, camera):
    exposure = np.exp(rng.normal(0.05, 0.22))
    night = rng.random() < 0.07
    balance = np.exp(rng.normal(0, 0.035, 3))
    return {
        "exposure": exposure * (0.7 if night else 1),
        "balance": balance / balance.mean(),
        "contrast": rng.normal(1.06, 0.10),
        "saturation": min(max(rng.normal(1.02, 0.16), 0.0 if rng.random() < 0.03 else 0.5), 1.4),
        "vignette": rng.uniform(0, 0.35) if rng.random() < 0.5 else 0.0,
        "coarse": _one_of(rng, {1: 0.3, 2: 0.42, 3: 0.18, 4: 0.10}),  # the background's blur
        "blur": abs(rng.normal(0.3, 0.22)),  # pixels, of everything
        "motion": rng.normal(0, 2.2, 2) if rng.random() < 0.12 else [0.0, 0.0],  # pixels
        "noise": rng.gamma(2.0, 1.1) * (1.8 if night else 0.8),  # of 255, in the middle greys
        "grain": int(rng.integers(1 << 16)),
        "quality": int(min(max(rng.normal(82, 12), 35), 96)),
    }


def _draw_objects(rng, place, camera):
    """A seat, should the pose need one; furniture around; at times something in front."""
    objects = [
        {
            "kind": "seat",
            "style": ("box", "stool", "chair", "bench")[rng.integers(4)],
            **_material(rng),
        }
    ]
    west, east, south, _ = place["bounds"][2:]
    indoors = not place["sky"]
    for _ in range(rng.poisson(1.6 if indoors else 0.7)):
        kinds = (
            ("table", "chair", "box", "plant", "cabinet", "sofa")
            if indoors
            else ("box", "plant", "pole", "bench", "fence")
        )
        side = (-1, 1)[rng.integers(2)]
        x = min(max(side * rng.uniform(0.7, 3.0), west + 0.4), east - 0.4)
        z = min(max(rng.uniform(-5, 0.3), south + 0.4), 2.0)
        if abs(x) < 0.6 and z > -0.7:
            continue
        objects.append(
            {
                "kind": kinds[rng.integers(len(kinds))],
                "at": [x, z],
                "turn": rng.uniform(0, 6.28),
                "size": rng.uniform(0.8, 1.25),
                **_material(rng),
            }
        )
    if rng.random() < 0.2:
        kinds = ("table", "box", "plant", "pole", "chair", "cabinet", "bench")
        along = rng.uniform(0.2, 0.65)
        aside = (-1, 1)[rng.integers(2)] * rng.uniform(0.12, 0.4)
        x = along * camera["distance"] * np.sin(camera["turn"]) + aside
        z = along * camera["distance"] * np.cos(camera["turn"])
        objects.append(
            {
                "kind": kinds[rng.integers(len(kinds))],
                "at": [x, z],
                "turn": rng.uniform(0, 6.28),
                "size": rng.uniform(0.6, 1.0),
                **_material(rng),
            }
        )
    return objects


def _material(rng):
    name = ("planks", "panels", "plaster", "concrete", "carpet", "plaster")[rng.integers(6)]
    color = np.array([1.0, 1, 1]) if name in ("planks", "panels") else rng.dyes(1)[0] * 1.3
    return {
        "texture": name,
        "color": np.minimum(np.maximum(color * rng.uniform(0.6, 1.2), 0.05), 1.0),
        "variant": int(rng.integers(1 << 16)),
    }


# --- from recipes to samples ----------------------------------------------------------------


@lru_cache(maxsize=1)
def _body():
    """The arrays of `load_body()`, by the names that `Body` has for them, without Keras."""
    model = read_model(default_path())
    return SimpleNamespace(faces=model["f"], **model)


# Fewer vertices do where fewer pixels are: FEW for people seen at no more than NEAR pixels a metre.
# The same for the clothes' pictures: up to so many pixels a metre, every so manyth of theirs.
NEAR, FEW = 160, 2400
STEPS = ((100, 4), (180, 2))


@cache
def _tailor(count=None):
    return clothes.measure(_body()) if count is None else clothes.coarsen(_tailor(), count)


@lru_cache(maxsize=1)
def _equations():
    """The body's arrays as `pose_people` uses them.

    Returns:
        joints at rest (24, 3) and their directions (24, 3, 10); the `_Skin` of all vertices; that
        of the FEW of distant people, with the landmarks' vertices behind them; how many landmarks;
        and the matrix of the keypoints.
    """
    body = _body()
    template = body.J_regressor @ body.v_template
    directions = np.stack([body.J_regressor @ body.shapedirs[..., s] for s in range(10)], -1)
    landmarks = landmark_vertices(body.v_template, body.weights)
    few = np.concatenate([_tailor(FEW).kept, landmarks])
    return (
        (template, directions),
        _Skin.of(body, np.arange(len(body.v_template))),
        _Skin.of(body, few),
        len(landmarks),
        keypoint_matrix(records.KEYPOINTS),
    )


class _Skin(NamedTuple):
    """How some of the body's vertices, V, follow shape and pose.

    Attributes:
        matrix: (1 + 10 + 207, 3 V) template, shape and pose directions.
        movers, weights: (V, n) the joints that move a vertex, those that do so most first.
    """

    matrix: np.ndarray
    movers: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, body, vertices):
        """Those with these numbers."""
        parts = (body.v_template[..., None], body.shapedirs[..., :10], body.posedirs)
        matrix = np.concatenate([part[vertices].reshape(3 * len(vertices), -1).T for part in parts])
        weights = body.weights[vertices]
        most = int((weights > 0).sum(1).max())
        movers = np.argsort(-weights, axis=1, kind="stable")[:, :most]
        weights = np.take_along_axis(weights, movers, 1)
        return cls(
            np.ascontiguousarray(matrix, np.float32),
            movers.astype(np.uint8),
            weights.astype(np.float32),
        )

    def posed(self, features, transforms):
        """Vertices (P, V, 3) of people: (P, 218) factors of the matrix, and transforms."""
        vertices = np.empty((len(features), self.matrix.shape[1]), np.float32)
        _product(features, self.matrix, vertices)
        vertices = vertices.reshape(len(features), len(self.movers), 3)
        rotations, translations = (part.astype(np.float32) for part in transforms)
        _skin(vertices, self.movers, self.weights, rotations, translations)
        return vertices


@lru_cache(maxsize=1)
def _thickness():
    """How deep below the skin each keypoint lies on the mean body, (K,) metres."""
    mean = pose_people([{"betas": np.zeros(10), "pose": np.zeros((24, 3))}])
    points, skin = mean["keypoints"][0], mean["vertices"][0]
    return np.array([np.linalg.norm(skin - point, axis=1).min() for point in points])


def pose_people(people):
    """Pose the bodies of people: `Body` in NumPy, which workers need not wait for.

    Args:
        people: list of dicts with betas (10,) and pose (24, 3).

    Returns:
        dict of arrays, P people: vertices (P, V, 3), few (P, FEW, 3) of them, joints (P, 24, 3),
        keypoints (P, 22, 3), pelvis (P, 3), where the root joint is at rest, and transforms:
        rotations (P, 24, 3, 3), translations (P, 24, 3) of `clothes.joint_transforms`.
    """
    posed = _pose_coarsely(people)
    return posed | {"vertices": _all_vertices(posed, np.arange(len(people)))}


def _pose_coarsely(people):
    """The same without `vertices`; and features (P, 218), from which `_all_vertices` has them."""
    (template, directions), _, skin, landmarks, to_keypoints = _equations()
    count = len(people)
    betas = np.array([person["betas"] for person in people], float)
    poses = np.array([person["pose"] for person in people], float)
    turns = Rotation.from_rotvec(poses.reshape(-1, 3)).as_matrix().reshape(-1, 24, 3, 3)
    rest = template + np.einsum("kcs,bs->bkc", directions, betas)  # (P, 24, 3)
    joints, *transforms = clothes.joint_transforms(turns, rest, PARENTS)
    features = np.ones((count, len(skin.matrix)), np.float32)
    features[:, 1:11] = betas
    features[:, 11:] = (turns[:, 1:] - np.eye(3)).reshape(count, -1)
    few = skin.posed(features, transforms)
    points = np.concatenate([joints, few[:, -landmarks:]], 1)
    return {
        "features": features,
        "few": few[:, :-landmarks],
        "joints": joints,
        "keypoints": to_keypoints.astype(float) @ points,
        "pelvis": rest[:, 0],
        "transforms": tuple(transforms),
    }


def _all_vertices(posed, rows):
    """All vertices (n, V, 3) of some of the posed people."""
    transforms = [part[rows] for part in posed["transforms"]]
    return _equations()[1].posed(posed["features"][rows], transforms)


@njit(nogil=True, cache=True, error_model="numpy")
def _product(rows, matrix, out):
    """The matrix product of (P, n) and (n, m), n even: each number summed up in order.

    BLAS does it in an order that depends on the processor, on its threads and on P. Columns are
    taken a few at a time, so that they stay in the processor's cache for all rows.
    """
    width = matrix.shape[1]
    for begin in range(0, width, COLUMNS):
        end = min(begin + COLUMNS, width)
        for p in range(rows.shape[0]):
            total = out[p, begin:end]
            total[:] = 0
            for k in range(0, rows.shape[1], 2):  # two at a time: half as often read and written
                a, b = rows[p, k], rows[p, k + 1]
                first, second = matrix[k, begin:end], matrix[k + 1, begin:end]
                for j in range(end - begin):
                    total[j] = (total[j] + a * first[j]) + b * second[j]


@njit(nogil=True, cache=True, error_model="numpy")
def _skin(vertices, movers, weights, rotations, translations):
    """Linear blend skinning (SMPL, eq. 7) of bodies (P, V, 3) at rest, in place."""
    blend = np.empty((3, 4), np.float32)
    for p in range(vertices.shape[0]):
        for v in range(vertices.shape[1]):
            blend[:] = 0
            for n in range(movers.shape[1]):
                joint, weight = movers[v, n], weights[v, n]
                if weight == 0:
                    break
                for i in range(3):
                    for j in range(3):
                        blend[i, j] += weight * rotations[p, joint, i, j]
                    blend[i, 3] += weight * translations[p, joint, i]
            x, y, z = vertices[p, v, 0], vertices[p, v, 1], vertices[p, v, 2]
            for i in range(3):
                vertices[p, v, i] = (
                    blend[i, 0] * x + blend[i, 1] * y + blend[i, 2] * z + blend[i, 3]
                )


def place_camera(camera, outline, size):
    """The camera of a recipe, aimed at a person: what is kept of the photograph.

    Args:
        camera: the recipe's dict.
        outline: (3, N) points from all over the person, in the world, metres.
        size: of the picture's side, pixels.

    Returns:
        `Camera`, the side of the crop in pixels of the photograph, and the box (2, 2) of the
        points in the picture: its least and its largest x and y.
    """
    rotation, position, focal, corner, side, box = _aim(
        outline,
        *(camera[name] for name in ("turn", "distance", "height", "roll", "fov", "zoom")),
        tuple(camera["aim"]),
        tuple(camera["shift"]),
        size,
    )
    view = Camera(rotation, -rotation @ position, focal, (size, size), -corner)
    return view, side, box


@njit(nogil=True, cache=True, error_model="numpy")
def _aim(outline, turn, distance, height, roll, fov, zoom, aim, shift, size):
    """See `place_camera`.

    Returns:
        rotation (3, 3) and position (3,) of the camera, focal length, the crop's corner (2,) from
        the photograph's middle, pixels of the crop; side and box.
    """
    target = np.empty(3)
    for k in range(3):
        target[k] = (outline[k].min() + outline[k].max()) / 2
    eye = np.array([distance * np.sin(turn), height, distance * np.cos(turn)])
    forward = target - eye
    forward /= np.sqrt((forward**2).sum())
    yaw = np.arctan2(forward[0], -forward[2]) + aim[0]
    pitch = min(max(np.arcsin(forward[1]) + aim[1], -1.35), 1.35)
    rotation = _look(yaw, pitch, np.radians(roll))
    seen = np.empty((3, outline.shape[1]))
    for k in range(3):
        axis = rotation[k]
        seen[k] = axis[0] * outline[0] + axis[1] * outline[1] + axis[2] * outline[2]
        seen[k] -= (axis * eye).sum()
    back = max(0.45 - seen[2].min(), 0.0)  # nobody stands in the lens
    eye = eye - rotation[2] * back
    focal = PHOTOGRAPH / (2 * np.tan(np.radians(fov) / 2))
    low, high = np.empty(2), np.empty(2)  # from the photograph's middle
    for k in range(2):
        seen[k] *= focal / (seen[2] + back)
        low[k], high[k] = seen[k].min(), seen[k].max()
    extent = (high - low).max()
    side = extent * zoom
    corner = (low + high) / 2 + np.array(shift) * extent - side / 2
    scale = size / side
    box = scale * np.stack((low - corner, high - corner))
    return rotation, eye, focal * scale, corner * scale, side, box


@njit(nogil=True, cache=True, error_model="numpy")
def _look(yaw, pitch, roll):
    """World to camera: it looks along -z, turned right by yaw, up by pitch, and rolled; radians."""
    a, b, d, e = np.sin(yaw), np.cos(yaw), np.sin(pitch), np.cos(pitch)
    forward, right = np.array([a * e, d, -b * e]), np.array([b, 0.0, a])
    down = np.array([d * a, -e, -d * b])  # forward x right
    c, s = np.cos(roll), np.sin(roll)
    return np.stack((c * right + s * down, c * down - s * right, forward))


def picture(recipes, size=SIZE, photographs=None):
    """Samples from recipes; the same recipe always gives the same sample.

    Args:
        recipes: list of dicts, see `draw_recipe`.
        size: side of the pictures, pixels.
        photographs: the folder that the recipes' photographs lie in.

    Yields:
        samples as `data.records` keeps them; the image is the bytes of a JPEG.

    Raises:
        ValueError: a recipe asks for what is not known.
    """
    recipes = list(recipes)
    counts = [len(recipe["people"]) for recipe in recipes]
    starts = np.cumsum([0, *counts])
    posed = _pose_coarsely([person for recipe in recipes for person in recipe["people"]])
    layouts = [
        arrange(recipe, posed, np.arange(first, first + count), size)
        for recipe, first, count in zip(recipes, starts, counts, strict=False)
    ]
    near = [row for layout in layouts for row in layout.near]
    posed["vertices"] = dict(zip(near, _all_vertices(posed, near), strict=True))
    roots = _roots_seen(posed, layouts)
    for begin in range(0, len(recipes), GROUP):
        some = slice(begin, begin + GROUP)
        built = _furnish(recipes[some], posed, layouts[some], roots[some], photographs)
        samples = finish(recipes[some], built)
        for recipe, layout, sample in zip(recipes[some], layouts[some], samples, strict=True):
            if (sample["keypoints_2d"][:, 2] > sample["occluded"]).sum() < LEAST_SEEN:
                whole = recipe["camera"] | {
                    "zoom": max(recipe["camera"]["zoom"], 1.25),
                    "shift": [0, 0],
                }
                aside = recipe | {"camera": whole}
                wider = arrange(aside, posed, layout.rows, size)
                posed["vertices"] |= zip(wider.near, _all_vertices(posed, wider.near), strict=True)
                root = _roots_seen(posed, [wider])
                [(scene, seen)] = _furnish([aside], posed, [wider], root, photographs)
                [sample] = finish([recipe], [_alone(scene, seen)])
            yield sample


def _alone(scene, seen):
    """The same scene without all that may hide the person."""
    own = np.flatnonzero(seen["owners"][:-1] == PERSON)
    meshes = [scene.meshes[i] for i in own]
    return replace(scene, meshes=meshes), seen | {
        "owners": np.append(seen["owners"][own], np.uint8(0))
    }


def build_scene(recipe, posed, rows, size=SIZE, photographs=None):
    """The scene of one recipe, ready to be drawn.

    Args:
        recipe: see `draw_recipe`.
        posed: from `pose_people`; rows: which of it are this recipe's people.
        size, photographs: as for `picture`.

    Returns:
        `Scene`, and a dict of what is known of it: owners (PERSON, OTHER or OBJECT of each
        mesh), keypoints (22, 3) in the world, pose, betas, translation, box (2, 2), side.
    """
    layouts = [arrange(recipe, posed, rows, size)]
    return _furnish([recipe], posed, layouts, _roots_seen(posed, layouts), photographs)[0]


class Layout(NamedTuple):
    """Where the people of a recipe and their photographer are; n people.

    Attributes:
        rows: (n,) which of the posed people they are.
        shifts: (n, 3) float32, how far each is moved from where it was posed.
        outline: (3, N) points of the first one, in the world.
        camera: `Camera`; box (2, 2), side: as for `place_camera`.
        shown: (i, density) of those in the picture, `rows[i]`, seen at `density` pixels a metre.
    """

    rows: np.ndarray
    shifts: np.ndarray
    outline: np.ndarray
    camera: Camera
    box: np.ndarray
    side: float
    shown: list

    @property
    def near(self):
        """Rows of those who are drawn with all their vertices."""
        return [int(self.rows[i]) for i, density in self.shown if density > NEAR]


def arrange(recipe, posed, rows, size):
    """The `Layout` of a recipe's people, `rows` of the posed ones; size: of the picture."""
    place = recipe["place"]
    at = np.array([person["at"] for person in recipe["people"]])  # x and z, (n, 2)
    lowest = posed["few"][rows, :, 1].min(1)
    shifts = np.empty((len(rows), 3), np.float32)
    shifts[:, [0, 2]] = at - posed["joints"][rows, 0][:, [0, 2]]
    shifts[:, 1] = [person["lift"] for person in recipe["people"]] - lowest
    some = posed["few"][rows, ::2].astype(float) + shifts[:, None]  # to a pixel the same
    outlines = np.ascontiguousarray(some.transpose(0, 2, 1))
    camera, side, box = place_camera(recipe["camera"], outlines[0], size)
    if not place["sky"]:  # the photographer stays in the room
        camera, before = _stay_inside(camera, place["bounds"]), camera
        if camera is not before:
            pixels, _ = camera.project(outlines[0].T)  # NaN is behind the camera
            box = np.stack([np.fmin.reduce(pixels), np.fmax.reduce(pixels)])
    pelvis = posed["joints"][rows, 0] + shifts
    density = camera.focal / (pelvis @ camera.rotation[2] + camera.translation[2])  # pixels a metre
    shown = [(i, density[i]) for i in range(len(rows)) if not i or _in_sight(camera, outlines[i])]
    return Layout(rows, shifts, outlines[0], camera, box, side, shown)


def _roots_seen(posed, layouts):
    """The first persons' root rotations as their cameras see them, (n, 3) axis-angle."""
    turns = [
        layout.camera.rotation @ posed["transforms"][0][layout.rows[0], 0] for layout in layouts
    ]
    return Rotation.from_matrix(turns, assume_valid=True).as_rotvec()


def _furnish(recipes, posed, layouts, roots, photographs):
    """`build_scene` of layouts, with the first persons' roots from `_roots_seen`: a list."""
    pairs = list(zip(recipes, layouts, strict=True))
    around = [_surroundings(recipe, layout.camera, photographs) for recipe, layout in pairs]
    dressed = [_dress(recipe, posed, layout) for recipe, layout in pairs]
    things = [_things(recipe, posed, layout) for recipe, layout in pairs]
    scenes = []
    for layout, (background, sky, sun), worn, parts in zip(
        layouts, around, dressed, things, strict=True
    ):
        meshes = [mesh for person in worn for mesh in person] + parts
        scenes.append(Scene(meshes, layout.camera, sky, sun, (0, 1, 0, 0), background))
    known = [
        _known(recipe, posed, layout, root, [len(person) for person in worn], len(parts))
        for (recipe, layout), root, worn, parts in zip(pairs, roots, dressed, things, strict=True)
    ]
    return list(zip(scenes, known, strict=True))


def _dress(recipe, posed, layout):
    """The meshes of each person in sight, the first one's first."""
    shifts, dressed = layout.shifts, []
    for i, density in layout.shown:
        row, person = layout.rows[i], recipe["people"][i]
        is_near = density > NEAR
        rotations, translations = (part[row] for part in posed["transforms"])
        worn = clothes.wear(
            _tailor(None if is_near else FEW),
            person["outfit"],
            posed["vertices" if is_near else "few"][row] + shifts[i],
            np.asarray(person["betas"]),
            rotations,
            translations + shifts[i],
            (0, -1, 0),
            next((step for most, step in STEPS if density <= most), 1),
        )
        dressed.append(worn)
    return dressed


def _things(recipe, posed, layout):
    """The meshes of a recipe's objects."""
    joints = posed["joints"][layout.rows[0]] + layout.shifts[0]
    parts = [_thing(thing, layout.outline, joints) for thing in recipe["objects"]]
    return [mesh for part in parts for mesh in part]


def _known(recipe, posed, layout, root, of_people, of_objects):
    """What `build_scene` says of a scene; of_people, of_objects: how many meshes each has."""
    row, person, camera, shift = (
        layout.rows[0],
        recipe["people"][0],
        layout.camera,
        layout.shifts[0],
    )
    owners = [PERSON] * of_people[0] + [OTHER] * sum(of_people[1:]) + [OBJECT] * of_objects
    pelvis = posed["pelvis"][row]
    return {
        "owners": np.array([*owners, 0], np.uint8),
        "keypoints": posed["keypoints"][row].astype(np.float64) + shift,
        "pose": np.concatenate([root[None], person["pose"][1:]]),
        "betas": person["betas"],
        "translation": camera.rotation @ (pelvis + shift) + camera.translation - pelvis,
        "box": np.minimum(np.maximum(layout.box, 0), camera.size[0]),
        "side": layout.side,
    }


def _in_sight(camera, outline):
    """Whether something of a body, or near it, is in the picture; nobody stands in the lens."""
    pixels, depth = camera.project(outline.T[::4])
    if depth.min() < 0.6:
        return False
    low, high = pixels.min(0), pixels.max(0)
    margin = 0.15 * (high - low)
    return bool((high > -margin).all() and (low < camera.size + margin).all())


def _stay_inside(camera, bounds):
    """The camera, moved into the room if moving away from a close person took it out."""
    low = np.array([bounds[2], bounds[0], bounds[4]]) + 0.05
    high = np.array([bounds[3], bounds[1], bounds[5]]) - 0.05
    position = np.minimum(np.maximum(camera.position, low), high)
    if (position == camera.position).all():
        return camera
    return Camera(
        camera.rotation, -camera.rotation @ position, camera.focal, camera.size, camera.center
    )


def _surroundings(recipe, camera, photographs):
    """Background (H, W, 3), the sky's harmonics and the sun of a recipe."""
    place, lens = recipe["place"], recipe["lens"]
    toward = np.array([camera.position - [0, 1, 0], [0, 2, 0]])
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    photograph = None
    if "photograph" in recipe:
        photograph = _crop(photographs, camera.size, **recipe["photograph"])
    if photograph is not None:
        sky = sky_of_picture(photograph)
        sky = (
            sky
            * (
                0.72
                * lens["exposure"]
                / max(sky[0].mean() * 0.282 * np.sqrt(4 * np.pi) * 0.28, 1e-3)
            )
            * 0.5
        )
        tint = np.clip(sky[0] / max(sky[0].mean(), 1e-6), 0.6, 1.5)
        sun = Sun(place["sun"]["direction"], 0.35 * lens["exposure"] * tint, 12)
        return photograph, sky, sun
    light = backgrounds.light_on(place, toward).mean()
    exposure = 1.05 * lens["exposure"] / light
    background = backgrounds.paint(place, camera, exposure, lens["coarse"])
    a, b = np.asarray(place["ambient"]["a"]), np.asarray(place["ambient"]["b"])  # (3,), (3, 3)
    sky = np.zeros((9, 3))
    sky[0] = np.pi * a / 0.886227
    sky[[3, 1, 2]] = np.pi * b.T / (2 * 0.511664)
    color = np.asarray(place["sun"]["color"]) * exposure
    sun = (
        Sun(place["sun"]["direction"], color, place["sun"]["softness"]) if color.max() > 0 else None
    )
    return background, sky * exposure, sun


@lru_cache(maxsize=64)
def _photograph(path):
    """A photograph, upright, at most 640 pixels along a side; None if it cannot be read."""
    try:
        image = to_rgb(load(path, reduce_to=(640, 640)))
    except (OSError, ImageError):
        return None
    image.thumbnail((640, 640))
    return image


def _crop(folder, size, name, at, side, flip):
    """A square of a photograph as background (H, W, 3), or None if the file cannot be read."""
    image = _photograph(str(below(folder or ".", name, links=True)))
    if image is None or min(image.size) < 32:
        return None
    length = side * min(image.size)
    left, top = (a * (whole - length) for a, whole in zip(at, image.size, strict=True))
    box = (left, top, left + length, top + length)
    square = np.asarray(image.resize(size, Image.Resampling.BILINEAR, box))
    return np.ascontiguousarray(square[:, ::-1] if flip else square)


def find_photographs(folder):
    """Names of the pictures in a folder and below, sorted.

    Raises:
        FileNotFoundError: there is no such folder, or no picture in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of photographs")
    names = [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")
    ]
    if not names:
        raise FileNotFoundError(f"{folder}: no .jpg, .jpeg, .png or .webp in it")
    return sorted(names)


def finish(recipes, built):
    """Draw scenes, put them through the lens, and write down what is known: the samples.

    Args:
        recipes: list of dicts; built: of each the scene, and what is known of it, as from
            `build_scene`.

    Returns:
        list of samples, as `picture` yields them.
    """
    scenes = [scene for scene, _ in built]
    drawn = render_scenes(scenes, supersample=2, threads=1, buffers=("depth", "mesh"))
    images = []
    for recipe, (scene, seen), shown in zip(recipes, built, drawn, strict=True):
        soft = max(scene.camera.size[0] / seen["side"], 1) - 1  # what had to be enlarged is soft
        images.append(through_lens(shown.image, recipe["lens"], 0.4 * soft))
    files = [
        records.encode_jpeg(image, recipe["lens"]["quality"])
        for recipe, image in zip(recipes, images, strict=True)
    ]
    everything = zip(recipes, built, drawn, files, strict=True)
    return [_sample(recipe, *pair, shown, file) for recipe, pair, shown, file in everything]


def _sample(recipe, scene, seen, drawn, file):
    """A sample as `data.records` keeps it, of a picture that is drawn, and a `Jpeg` already."""
    camera = scene.camera
    points = seen["keypoints"] @ camera.rotation.T + camera.translation  # (22, 3)
    points = points.astype(np.float32)
    focal, (cx, cy) = camera.focal, camera.center
    keypoints, hidden, segmentation = _labels(
        points, (focal, cx, cy), drawn.depth, drawn.mesh, seen["owners"], _thickness()
    )
    low, high = seen["box"]
    return {
        "image": file,
        "center": (low + high) / 2,
        "size": max((high - low).max(), camera.size[0] / 4),  # of the nearly hidden as well
        "keypoints_2d": keypoints,
        "occluded": hidden,
        "keypoints_3d": np.column_stack([points, np.ones(len(points))]),
        "pose": seen["pose"],
        "betas": seen["betas"],
        "translation": seen["translation"],
        "camera": np.array([focal, cx, cy]),
        "segmentation": segmentation,
        "source": "synthetic",
        "id": f"{recipe['seed']}-{recipe['index']}",
        "recipe": _as_json(recipe),
    }


@njit(nogil=True, cache=True, error_model="numpy")
def _labels(points, lens, depth, mesh, owners, thickness):
    """Keypoints and segmentation of a picture, as `data.records` keeps them.

    Args:
        points: (22, 3) float32, metres, in the camera's frame.
        lens: focal length and centre (cx, cy), pixels.
        depth: (H, W) metres; mesh: (H, W) which mesh is seen, -1 none; both of `Rendering`.
        owners: of each mesh, PERSON, OTHER or OBJECT; and 0, of nothing.
        thickness: (22,) metres, from `_thickness`.

    Returns:
        x, y in pixels and whether they lie in the picture, (22, 3); whether something hides the
        keypoint, (22,) uint8; whose each pixel is, (H, W) uint8.
    """
    focal, center_x, center_y = lens
    height, width = depth.shape
    keypoints = np.empty((points.shape[0], 3))
    hidden = np.zeros(points.shape[0], np.uint8)
    for k in range(points.shape[0]):
        scale = focal / points[k, 2]
        x, y = points[k, 0] * scale + center_x, points[k, 1] * scale + center_y
        inside = x >= 0 and x < width and y >= 0 and y < height and points[k, 2] > 0.05
        keypoints[k, 0], keypoints[k, 1], keypoints[k, 2] = x, y, inside
        seen = mesh[int(y), int(x)] if inside else -1
        if seen < 0:
            continue
        behind = points[k, 2] - depth[int(y), int(x)]
        own = owners[seen] == PERSON
        hidden[k] = behind > (1.4 * thickness[k] + 0.06 if own else 0.0)
    segmentation = np.empty((height, width), np.uint8)
    for i in range(height):
        for j in range(width):
            segmentation[i, j] = owners[mesh[i, j]]  # -1 takes the last
    return keypoints, hidden, segmentation


# --- furniture ------------------------------------------------------------------------------

# boxes (x, y, z of the middle, then the extents), metres, for things of usual size
_FURNITURE = {
    "table": [(0, 0.73, 0, 1.2, 0.04, 0.7)]
    + [(x, 0.355, z, 0.06, 0.71, 0.06) for x in (-0.55, 0.55) for z in (-0.3, 0.3)],
    "chair": [(0, 0.45, 0, 0.42, 0.04, 0.42), (0, 0.74, -0.2, 0.42, 0.45, 0.03)]
    + [(x, 0.215, z, 0.04, 0.43, 0.04) for x in (-0.19, 0.19) for z in (-0.19, 0.19)],
    "stool": [(0, 0.43, 0, 0.36, 0.04, 0.36)]
    + [(x, 0.205, z, 0.04, 0.41, 0.04) for x in (-0.14, 0.14) for z in (-0.14, 0.14)],
    "box": [(0, 0.25, 0, 0.5, 0.5, 0.5)],
    "bench": [
        (0, 0.43, 0, 1.5, 0.06, 0.4),
        (-0.6, 0.2, 0, 0.08, 0.4, 0.36),
        (0.6, 0.2, 0, 0.08, 0.4, 0.36),
    ],
    "cabinet": [(0, 0.48, 0, 0.9, 0.96, 0.45), (0, 0.97, 0, 0.94, 0.03, 0.48)],
    "sofa": [
        (0, 0.22, 0, 1.8, 0.44, 0.8),
        (0, 0.6, -0.34, 1.8, 0.46, 0.16),
        (-0.85, 0.33, 0, 0.14, 0.62, 0.8),
        (0.85, 0.33, 0, 0.14, 0.62, 0.8),
    ],
    "fence": [(0, y, 0, 3.0, 0.09, 0.03) for y in (0.25, 0.55, 0.85)]
    + [(x, 0.5, 0, 0.09, 1.0, 0.07) for x in (-1.5, -0.5, 0.5, 1.5)],
    "pole": [(0, 1.8, 0, 0.09, 3.6, 0.09)],
}
_CORNERS = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_SIDES = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))


def _boxes(boxes):
    """Boxes (N, 6) as one mesh with texture coordinates in metres: arguments of `Mesh`."""
    boxes = np.asarray(boxes, float)
    corners = boxes[:, None, :3] + _CORNERS * boxes[:, None, 3:]  # (N, 8, 3)
    sides = corners[:, np.array(_SIDES)]  # (N, 6, 4, 3)
    a, b, d = sides[:, :, 0], sides[:, :, 1], sides[:, :, 3]
    normals = np.cross(b - a, d - a)
    width, height = (np.linalg.norm(edge, axis=-1) for edge in (b - a, d - a))
    unit = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float)
    uv = unit * np.stack([width, height], -1)[:, :, None] + 0.37 * boxes[:, None, None, :2]
    faces = _quads(len(boxes) * 6)
    return {
        "vertices": sides.reshape(-1, 3),
        "faces": faces,
        "uv": uv.reshape(-1, 2),
        "normals": np.repeat(normals.reshape(-1, 3), 4, 0),
    }


def _quads(count):
    """Faces (2 count, 3) of quads that have four vertices each."""
    first = 4 * np.arange(count)[:, None]
    faces = np.concatenate([first + np.array(half) for half in ((0, 1, 2), (0, 2, 3))])
    return faces.astype(np.uint32)


@lru_cache(maxsize=64)
def _surface(name):
    """A texture of `backgrounds` for furniture, and how many metres it covers."""
    numbers, stack = backgrounds.textures()
    number, metres = numbers[name]
    return Mipmap(stack[number], mipmap_levels(backgrounds.SIDE, backgrounds.SIDE)[0]), metres


def _thing(thing, outline, joints):
    """Meshes of one object; a seat only where someone sits."""
    kind = thing["kind"]
    if kind == "plant":
        return _plant(thing)
    if kind == "seat":
        return _seat(thing, outline, joints)
    part = _furniture(kind)
    size = thing["size"]
    stretch = [size, 1.0, size] if kind in ("fence", "pole") else [size] * 3
    return [_placed(part, thing, stretch, thing["turn"], [thing["at"][0], 0, thing["at"][1]])]


@cache
def _furniture(kind):
    return _boxes(_FURNITURE[kind])


def _placed(part, thing, stretch, turn, at):
    """Boxes as a `Mesh`: stretched, turned, and put at a place."""
    c, s = np.cos(turn), np.sin(turn)
    rotation = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    texture, metres = _surface(thing["texture"])
    color = np.array([thing["color"]], np.float32)
    return Mesh.trusted(
        ((part["vertices"] * stretch) @ rotation.T + at).astype(np.float32),
        part["faces"],
        np.minimum(np.maximum(color, 0), 1),
        normals=((part["normals"] / np.asarray(stretch)) @ rotation.T).astype(np.float32),
        uv=(part["uv"] / metres).astype(np.float32),
        texture=texture,
    )


def _seat(thing, outline, joints):
    """What a sitting person sits on; nothing for anybody else."""
    hips = joints[[J["left_hip"], J["right_hip"]]]
    knees = joints[[J["left_knee"], J["right_knee"]]]
    ankles = joints[[J["left_ankle"], J["right_ankle"]]]
    upright = joints[J["neck"], 1] - joints[0, 1] > 0.25
    level = np.abs(knees[:, 1] - hips[:, 1]).max() < 0.22
    below = (hips[:, 1] - ankles[:, 1]).min() > 0.22
    if not (upright and level and below):
        return []
    x, y, z = outline - hips.mean(0)[:, None] * [[1], [0], [1]]
    top = y[(np.hypot(x, z) < 0.16) & (y > 0.1)].min() + 0.015
    forward = (knees - hips).mean(0)
    turn = np.arctan2(forward[0], forward[2])
    style = thing["style"]
    part = _furniture(style)
    height = {"box": 0.5, "stool": 0.45, "chair": 0.47, "bench": 0.46}[style]
    at = hips.mean(0) * [1, 0, 1] + [-0.02 * np.sin(turn), 0, -0.02 * np.cos(turn)]
    return [_placed(part, thing, [0.9, top / height, 0.9], turn, at)]


def _plant(thing):
    """A bush: leaves about a middle, on a pot or on the ground."""
    rng = np.random.default_rng(thing["variant"])
    count = int(rng.integers(90, 260))
    size = thing["size"]
    reach, high = rng.uniform(0.2, 0.5) * size, rng.uniform(0.5, 1.5) * size
    middle = rng.normal(size=(count, 3)) * [0.4, 0.3, 0.4]
    middle *= np.array([reach, high, reach]) * 1.3
    middle[:, 1] = np.maximum(middle[:, 1] + 0.62 * high, 0.05)
    length = rng.uniform(0.03, 0.11)
    along = rng.normal(size=(count, 3))
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.cross(along, rng.normal(size=(count, 3)))
    across *= 0.3 * length / np.linalg.norm(across, axis=1, keepdims=True)
    along *= length
    points = np.stack([middle - along, middle + across, middle + along, middle - across], 1)
    faces = _quads(count)
    green = np.array([0.20, 0.33, 0.14]) * np.exp(0.25 * rng.normal(size=3))
    shade = 0.55 + 0.45 * np.clip(middle[:, 1] / high, 0, 1)
    colors = np.clip(green * shade[:, None] * np.exp(0.15 * rng.normal(size=(count, 1))), 0, 1)
    points = points.reshape(-1, 3) + np.array([thing["at"][0], 0, thing["at"][1]])
    normals = np.repeat(np.cross(across, along), 4, 0)
    points, colors, normals = (
        values.astype(np.float32) for values in (points, np.repeat(colors, 4, 0), normals)
    )
    leaves = Mesh.trusted(points, faces, colors, normals=normals, two_sided=True, gloss=0.2)
    pot = _boxes([(0, 0.16 * size, 0, 0.3 * size, 0.32 * size, 0.3 * size)])
    at = [thing["at"][0], 0, thing["at"][1]]
    return [leaves, _placed(pot, thing, [1, 1, 1], thing["turn"], at)]


# --- the lens -------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _grain():
    """Noise of a sensor, (3, 512, 512) int8: a little softened, deviation `GRAIN`; tiles."""
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(512, 512, 3)) * 0.75 + rng.normal(size=(512, 512, 1)) * 0.65
    noise = noise + 0.45 * (np.roll(noise, 1, 0) + np.roll(noise, 1, 1))
    noise = np.clip(np.rint(noise * (GRAIN / noise.std())), -127, 127).astype(np.int8)
    return np.ascontiguousarray(noise.transpose(2, 0, 1))


def through_lens(image, lens, soft=0.0):
    """Blur, colour, vignette and noise of a recipe's lens, for the whole picture alike.

    Args:
        image: (H, W, 3) uint8; lens: the recipe's dict; soft: pixels of more blur.

    Returns:
        (H, W, 3) uint8.
    """
    out = np.empty_like(image)
    _develop(
        image,
        np.hypot(lens["blur"], soft),
        np.array(lens["motion"], np.float32),
        np.array(lens["balance"], np.float32),
        np.float32(lens["contrast"]),
        np.float32(lens["saturation"]),
        np.float32(lens["vignette"]),
        np.float32(lens["noise"]),
        _grain(),
        lens["grain"],
        out,
    )
    return out


@njit(nogil=True, cache=True, error_model="numpy")
def _develop(
    image, sigma, motion, balance, contrast, saturation, vignette, noise, grain, seed, out
):
    """See `through_lens`; sigma: of the blur, pixels.

    Rows are taken as (3 W,) numbers, so that loops run on vectors.
    """
    height, width = image.shape[:2]
    radius = min(int(np.ceil(2.2 * sigma)), 6) if sigma > 0.2 else 0
    bell = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-3)) ** 2)
    kernel = (bell / bell.sum()).astype(np.float32)
    length = 3 * width
    source, result = image.reshape(height, length), out.reshape(height, length)
    taps = 1 + int(2 * np.sqrt(motion[0] ** 2 + motion[1] ** 2))
    share = np.float32(1) / np.float32(taps)
    rows = np.empty((height, length), np.float32)  # blurred along
    line = np.empty(length + 6 * radius, np.float32)
    middle_part = line[3 * radius : 3 * radius + length]
    for i in range(height):
        if taps == 1:
            for j in range(length):
                middle_part[j] = source[i, j]
        else:
            middle_part[:] = 0
            for t in range(taps):
                part = np.float32(t) / (taps - 1) - np.float32(0.5)
                row = min(max(i + int(np.rint(part * motion[1])), 0), height - 1)
                aside = int(np.rint(part * motion[0]))
                for j in range(width):
                    column = 3 * min(max(j + aside, 0), width - 1)
                    for k in range(3):
                        middle_part[3 * j + k] += share * source[row, column + k]
        for t in range(radius):
            for k in range(3):
                line[3 * t + k] = middle_part[k]
                line[length + 3 * (radius + t) + k] = middle_part[length - 3 + k]
        here = rows[i]
        for j in range(length):
            here[j] = kernel[0] * line[j]
        for t in range(1, 2 * radius + 1):
            weight, moved = kernel[t], line[3 * t : 3 * t + length]
            for j in range(length):
                here[j] += weight * moved[j]
    middle, zero, full = np.float32(118), np.float32(0), np.float32(255)
    noise /= np.float32(GRAIN)
    half, base, slope = np.float32(0.5), np.float32(0.55), np.float32(0.04)
    of_red, of_green, of_blue = np.float32(0.3), np.float32(0.59), np.float32(0.11)
    total = np.empty(length, np.float32)
    planes = np.empty((3, width), np.float32)
    red, green, blue = planes[0], planes[1], planes[2]
    grains = np.empty((3, width), np.float32)
    for i in range(height):
        if radius:
            total[:] = 0
            for t in range(-radius, radius + 1):
                weight, other = kernel[t + radius], rows[min(max(i + t, 0), height - 1)]
                for j in range(length):
                    total[j] += weight * other[j]
        else:
            total[:] = rows[i]
        for j in range(width):
            red[j], green[j], blue[j] = total[3 * j], total[3 * j + 1], total[3 * j + 2]
        shift = (i + seed) & 511
        for k in range(3):
            at, column = 0, (seed >> 8) & 255
            while at < width:  # the noise's picture repeats
                run = min(512 - column, width - at)
                part_of, part_in = grain[k, shift, column : column + run], grains[k, at : at + run]
                for j in range(run):
                    part_in[j] = part_of[j]
                at, column = at + run, 0
        y = (np.float32(i) - half * height) / np.float32(height)
        for j in range(width):
            x = (np.float32(j) - half * width) / np.float32(width)
            fade = 1 - vignette * np.float32(2) * (x * x + y * y)
            r, g, b = red[j], green[j], blue[j]
            gray = of_red * r + of_green * g + of_blue * b
            strength = noise * (base + slope * np.sqrt(gray))
            r = (gray + (r - gray) * saturation) * balance[0] * fade
            g = (gray + (g - gray) * saturation) * balance[1] * fade
            b = (gray + (b - gray) * saturation) * balance[2] * fade
            r = middle + (r - middle) * contrast + strength * grains[0, j]
            g = middle + (g - middle) * contrast + strength * grains[1, j]
            b = middle + (b - middle) * contrast + strength * grains[2, j]
            red[j] = min(max(r, zero), full)
            green[j] = min(max(g, zero), full)
            blue[j] = min(max(b, zero), full)
        for j in range(width):
            result[i, 3 * j] = np.uint8(red[j])
            result[i, 3 * j + 1] = np.uint8(green[j])
            result[i, 3 * j + 2] = np.uint8(blue[j])


# --- whole data sets ------------------------------------------------------------------------

VALIDATION = 10**9  # number of the first person to validate on
DRAWING = 6  # goes up when the same recipe comes out as another picture: folders hold one kind
SETTINGS = "synthetic.json"  # in the data set's folder: what its samples were made from


def render_people(
    n,
    seed,
    out,
    photographs=None,
    library=None,
    size=SIZE,
    scheduler=None,
    workers=None,
    shard=SHARD,
    validation=0,
):
    """Make a data set of `n` people: shards and an index, as `data.records` keeps them.

    Sample i is the same whatever `n`, the number of workers or of machines. Finished shards are
    kept: the same call goes on where an interrupted one stopped.

    On this machine nothing listens to the network. A Dask scheduler takes any code from whoever
    reaches its port, so that one for many machines has to ask for a certificate: start it, and its
    workers, with `--tls-ca-file`, `--tls-cert` and `--tls-key`, set the same in Dask's
    configuration here (`distributed.comm.tls`), and give its address as `tls://HOST:PORT`.

    Args:
        n: how many samples, of the split "train".
        seed: whole number >= 0.
        out: folder; made if it is not there.
        photographs: folder of pictures to put behind most people; None: made-up places alone.
            On other machines it must lie at the same path, as must `out`.
        library: `.npz` of poses, see `pose_pool`.
        size: side of the pictures, pixels.
        scheduler: address of a Dask scheduler; None makes all on this machine.
        workers: processes on this machine; None is one a core, 0 renders in this process.
        shard: samples in a shard.
        validation: how many more, of other people, for the split "validation".

    Returns:
        the index, see `records.write_index`.

    Raises:
        ValueError: a number out of range, or a folder that holds other samples.
        FileNotFoundError: no such folder of photographs, or library.
        hmrlib.io.FolderInUseError: another run writes into `out`.
    """
    if n < 1 or int(n) != n or seed < 0 or int(seed) != seed:
        raise ValueError(f"expected n >= 1 and seed >= 0, whole numbers; found n={n}, seed={seed}")
    if validation < 0 or int(validation) != validation:
        raise ValueError(f"expected a whole number of people to validate on, found {validation}")
    if n > VALIDATION:
        raise ValueError(f"from {VALIDATION} on people are for validation; found n={n}")
    if shard < 1 or int(shard) != shard:
        raise ValueError(f"expected shards of at least one sample, found {shard}")
    if not 32 <= size <= 2048:
        raise ValueError(f"expected a size of 32 to 2048 pixels, found {size}")
    if photographs is not None:
        find_photographs(photographs)  # raises before anything is started
    if library is not None and not Path(library).is_file():
        raise FileNotFoundError(f"{library}: no such pose library; `hmr data mocap` makes one")
    out = Path(out)
    settings = {"drawing": DRAWING, "seed": seed, "size": size, "shard": shard}
    settings |= {"photographs": str(photographs or ""), "library": str(library or "")}
    with locked(out):
        _same_settings(out, settings)
        tasks = []
        for split, begin, total in (("train", 0, n), ("validation", VALIDATION, validation)):
            for number, first in enumerate(range(0, total, shard)):
                path, count = out / f"{split}-{number:05d}.tfrecord", min(shard, total - first)
                done = records.finished(path)
                if done is None or done["samples"] + sum(done["skipped"].values()) != count:
                    tasks.append((seed, begin + first, count, str(path), photographs, size))
        total = n + validation
        with tqdm(
            total=total, initial=total - sum(task[2] for task in tasks), unit="sample"
        ) as progress:
            for count in _run(tasks, library, scheduler, workers):
                progress.update(count)
        return records.write_index(
            out, source="hmrlib's synthetic people", licence="CC0 1.0", seed=seed, size=size
        )


def _same_settings(out, settings):
    """Keep the settings beside the samples; a folder made from others is not added to."""
    path = out / SETTINGS
    if path.exists():
        found = json.loads(path.read_text("utf-8"))
        if found != settings:
            raise ValueError(
                f"{out} holds samples of other settings: {found}, asked for {settings}. "
                "Give another folder, or delete this one"
            )
    elif any(out.glob("*.tfrecord")):
        raise ValueError(f"{out} holds records that are not synthetic people; give another folder")
    with atomic_write(path) as file:
        file.write(json.dumps(settings).encode())


def _run(tasks, library, scheduler, workers):
    """Make all shards, here or by Dask; yields the number of samples of each."""
    if not tasks:
        return
    pool = pose_pool(library)  # once, and here: so workers need no Keras, which takes long to load
    if scheduler is None:
        yield from render_shards(pool, tasks, workers)
    else:
        yield from _by_dask(pool, tasks, scheduler)


def render_shards(pool, tasks, workers=None):
    """Make shards by processes of this machine, which open no port.

    joblib's processes do not run the caller's script again, as those of `multiprocessing` do, so
    that it needs no `if __name__ == "__main__":`.

    Args:
        pool: (N, 24, 3) poses.
        tasks: list of the other arguments of `render_shard`.
        workers: how many processes; None is one a core, 0 none but this one.

    Yields:
        the number of samples of each, as they are finished.
    """
    from joblib import Parallel, cpu_count, delayed, parallel_config

    workers = min(cpu_count() if workers is None else workers, len(tasks))
    options = {"inner_max_num_threads": 1, "idle_worker_timeout": 60}
    with warnings.catch_warnings(), parallel_config("loky", **options):
        # one whose caches have grown by much is replaced, which is no matter
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given")
        made = Parallel(max(workers, 1), return_as="generator_unordered", max_nbytes=None)
        yield from made(delayed(render_shard)(pool, *task) for task in tasks)


def _by_dask(pool, tasks, scheduler):
    """The same by the workers of a Dask scheduler at an address."""
    try:
        from distributed import Client, as_completed
    except ModuleNotFoundError as error:
        raise ValueError('a scheduler needs Dask: pip install "hmrlib[cluster]"') from error
    with Client(scheduler) as client:
        pool = client.scatter(pool, broadcast=True)
        futures = [client.submit(render_shard, pool, *task, pure=False) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:  # of an interrupt or an error: what has not begun never does
            client.cancel(futures)


def render_shard(pool, seed, first, count, path, photographs, size):
    """Make one shard; returns its number of samples."""
    names = find_photographs(photographs) if photographs else ()

    def samples():
        for begin in range(first, first + count, BATCH):
            end = min(begin + BATCH, first + count)
            recipes = _draw_recipes(seed, range(begin, end), pool, names)
            yield from picture(recipes, size, photographs)

    with _no_garbage_collection():
        return records.write_shard(path, samples())["samples"]


@contextlib.contextmanager
def _no_garbage_collection():
    """Recipes are thousands of objects, none in a cycle: to look for cycles takes 4 % longer."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
