"""Furniture, plants and poles."""

from functools import cache, lru_cache

import numpy as np

from hmrlib.people.measures import J
from hmrlib.people.textures import SIDE, textures
from hmrlib.render.scene import Mesh, Mipmap, mipmap_levels


def draw_objects(rng, place, camera):
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
    numbers, stack = textures()
    number, metres = numbers[name]
    return Mipmap(stack[number], mipmap_levels(SIDE, SIDE)[0]), metres


def thing_meshes(thing, outline, joints):
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
