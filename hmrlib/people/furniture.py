"""Furniture, plants and poles."""

from functools import cache, lru_cache

import numpy as np

from hmrlib.people.draws import clamp, dyes, pick, table
from hmrlib.people.measures import J
from hmrlib.people.recipe import Object, rounded
from hmrlib.people.textures import SIDE, textures
from hmrlib.render.scene import Mesh
from hmrlib.render.textures import Mipmap, mipmap_levels


def draw_objects(rng, environment, camera):
    """A seat, should the pose need one; furniture around; at times something in front."""
    objects = [Object("seat", style=pick(rng, _kinds("seat")), **_material(rng))]
    bounds, where = environment.bounds, "indoors" if environment.sky is None else "outdoors"
    for _ in range(rng.poisson(1.6 if where == "indoors" else 0.7)):
        x = pick(rng, (-1, 1)) * rng.uniform(0.7, 3.0)
        x = clamp(x, bounds.west + 0.4, bounds.east - 0.4)
        z = clamp(rng.uniform(-5, 0.3), bounds.south + 0.4, 2.0)
        if abs(x) >= 0.6 or z <= -0.7:  # not where the person is
            objects.append(_object(rng, where, [x, z], rng.uniform(0.8, 1.25)))
    if rng.random() < 0.2:
        along = rng.uniform(0.2, 0.65) * camera.distance
        aside = pick(rng, (-1, 1)) * rng.uniform(0.12, 0.4)
        at = [along * np.sin(camera.turn) + aside, along * np.cos(camera.turn)]
        objects.append(_object(rng, "front", at, rng.uniform(0.6, 1.0)))
    return rounded(tuple(objects))


@cache
def _kinds(where):
    """Kinds of furniture that stand there; "seat": that one may sit on."""
    kinds = table("furniture").items()
    return tuple(kind for kind, has in kinds if where in has["stands"] or where in has)


def _object(rng, where, at, size):
    turn = rng.uniform(0, 6.28)
    return Object(pick(rng, _kinds(where)), at=at, turn=turn, size=size, **_material(rng))


def _material(rng):
    name = pick(rng, {"planks": 1, "panels": 1, "plaster": 2, "concrete": 1, "carpet": 1})
    color = np.ones(3) if name in ("planks", "panels") else dyes(rng, 1)[0] * 1.3
    color = np.clip(color * rng.uniform(0.6, 1.2), 0.05, 1.0)
    return {"texture": name, "color": color, "variant": rng.integers(1 << 16)}


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
    numbers, stack = textures()
    number, metres = numbers[name]
    return Mipmap(stack[number], mipmap_levels(SIDE, SIDE)[0]), metres


def thing_meshes(thing, outline, joints):
    """Meshes of one object; a seat only where someone sits."""
    kind = thing.kind
    if kind == "plant":
        return _plant(thing)
    if kind == "seat":
        return _seat(thing, outline, joints)
    part = _furniture(kind)
    size = thing.size
    stretch = [size, 1.0, size] if kind in ("fence", "pole") else [size] * 3
    return [_placed(part, thing, stretch, thing.turn, [thing.at[0], 0, thing.at[1]])]


@cache
def _furniture(kind):
    kinds = table("furniture")
    if kind not in kinds:
        raise ValueError(f"unknown kind of furniture {kind!r}; known are {', '.join(kinds)}")
    return _boxes(kinds[kind]["boxes"])


def _placed(part, thing, stretch, turn, at):
    """Boxes as a `Mesh`: stretched, turned, and put at a place."""
    c, s = np.cos(turn), np.sin(turn)
    rotation = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    texture, metres = _surface(thing.texture)
    color = np.array([thing.color], np.float32)
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
    style = thing.style
    part = _furniture(style)
    height = table("furniture")[style]["seat"]
    at = hips.mean(0) * [1, 0, 1] + [-0.02 * np.sin(turn), 0, -0.02 * np.cos(turn)]
    return [_placed(part, thing, [0.9, top / height, 0.9], turn, at)]


def _plant(thing):
    """A bush: leaves about a middle, on a pot or on the ground."""
    rng = np.random.default_rng(thing.variant)
    count = int(rng.integers(90, 260))
    size = thing.size
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
    points = points.reshape(-1, 3) + np.array([thing.at[0], 0, thing.at[1]])
    normals = np.repeat(np.cross(across, along), 4, 0)
    points, colors, normals = (
        values.astype(np.float32) for values in (points, np.repeat(colors, 4, 0), normals)
    )
    leaves = Mesh.trusted(points, faces, colors, normals=normals, two_sided=True, gloss=0.2)
    pot = _boxes([(0, 0.16 * size, 0, 0.3 * size, 0.32 * size, 0.3 * size)])
    at = [thing.at[0], 0, thing.at[1]]
    return [leaves, _placed(pot, thing, [1, 1, 1], thing.turn, at)]
