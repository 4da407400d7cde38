"""Where people stand: rooms, streets, fields, woods, and the light there.

What is usual stands in `tables/environments.yml`. World frame: metres, y up, ground at y = 0. Light
is linear; pictures are 8-bit sRGB.
"""

import numpy as np

from hmrlib.people.draws import clamp, number, pick, table
from hmrlib.people.recipe import (
    Ambient,
    Bounds,
    Environment,
    Glow,
    Path,
    Rect,
    Row,
    Sky,
    SunLight,
    rounded,
)

PROFILES = 64  # different rows of each kind
FAR = 1e4  # metres: where a wall stands that is not there
SURFACES = ("floor", "ceiling", "west", "east", "south", "north", "path", "edge", "stain")
WALLS = SURFACES[2:6]
NORMALS = np.array([(0, 1, 0), (0, -1, 0), (1, 0, 0), (-1, 0, 0), (0, 0, 1), (0, 0, -1)], float)
ENVIRONMENTS = tuple(table("environments")["kinds"])


def draw_environment(kind, rng):
    """A place of a kind.

    Args:
        kind: one of `ENVIRONMENTS`.
        rng: `numpy.random.Generator`.

    Returns:
        `Environment`; the person stands near the origin.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in ENVIRONMENTS:
        raise ValueError(
            f"unknown kind of environment {kind!r}; known are {', '.join(ENVIRONMENTS)}"
        )
    is_room = kind in table("environments")["rooms"]
    return rounded(_indoors(kind, rng) if is_room else _outdoors(kind, rng))


def _texture(rng, weights):
    """One of some textures, in one of its two variants."""
    return pick(rng, weights) + ("/2" if rng.random() < 0.5 else "")


def _tint(rng, spread=0.08, low=0.75, high=1.15):
    """A tint (3,) that makes one texture many: brightness, and a little color."""
    return rng.uniform(low, high) * np.exp(spread * rng.normal(size=3))


def _wall_color(rng):
    """The tint of a painted wall: mostly near white, at times a muted color."""
    if rng.random() < 0.6:
        return np.array([1.0, 0.98, 0.94]) * _tint(rng, 0.03, 0.8, 1.2)
    return _tint(rng, 0.3, 0.3, 0.9)


# --- rooms ----------------------------------------------------------------------------------


def _indoors(kind, rng):
    rooms = table("environments")["rooms"]
    room, height = rooms[kind], number(rng, rooms[kind]["height"])
    low, high = np.array([-4, 1.2, -4.5]), np.array([-1.2, 4, -0.7])
    west, east, south = room["times"] * rng.uniform(low, high)
    bounds = Bounds(0.0, height, west, east, south, rng.uniform(4.0, 7))
    paint = _wall_color(rng)
    wall = [_texture(rng, room["wall"]), paint]
    walls = {name: wall for name in WALLS}
    if kind == "room" and rng.random() < 0.35:
        walls[pick(rng, WALLS)] = [_texture(rng, rooms["second"]), _tint(rng)]
    floors = {
        "floor": [_texture(rng, room["floor"]), _tint(rng, 0.12, 0.6, 1.1)],
        "ceiling": ["plaster", [1.1, 1.1, 1.08]],
        "path": [pick(rng, ("carpet", "planks")), _tint(rng, 0.35, 0.4, 1.1)],
    }
    path = Path()
    if rng.random() < 0.2:
        path = Path(rng.uniform(0.6, 1.5), 1.0, 0.0, rng.uniform(-0.4, 0.4))
    ends = (bounds.south, bounds.north), (bounds.west, bounds.east)
    rects = [
        rect
        for side in (2, 3, 4, 5)
        for rect in _fitted_wall(rng, side, *ends[side // 4], 0.55 * paint)
    ]
    glow, sun, ambient = _room_light(rng, bounds)
    return Environment(
        bounds, floors | walls, tuple(rects), (), path, glow, 0.0, sun, ambient, kind=kind
    )


def _fitted_wall(rng, side, low, high, skirting):
    """Windows, pictures, doors and shelves along a wall, and its skirting board."""
    fittings = table("environments")["fittings"]
    weights = {name: fitting["weight"] for name, fitting in fittings.items()}
    at, rects = low + rng.uniform(0.1, 0.8), []
    while at < high - 1.0:
        name = pick(rng, weights)
        width = min(number(rng, fittings[name]["width"]), high - at - 0.1)
        if name != "none":
            rects.append(_fitting(rng, name, side, at, width))
        at += width + rng.uniform(0.2, 1.5)
    board = Rect(side, low, 0.0, high - low, 0.1, 0.2, skirting, 0, [1, 1, 1], 0, 1)
    return [*rects, board]


def _fitting(rng, name, side, left, width):
    if name == "window":
        low, height, light = rng.uniform([0.7, 1.0, 0.9], [1.0, 1.4, 2.2])
        tint = np.array([0.9, 0.97, 1.05]) * _tint(rng, 0.05)
        return Rect(side, left, low, width, height, 0.05, [0.8, 0.8, 0.8], light, tint, 0, 1)
    if name == "door":
        wood = _tint(rng, 0.2, 0.3, 1.0)
        return Rect(side, left, 0.0, width, 2.05, 0.07, wood * 0.5, 0, wood, "panels", 1.2)
    if name == "picture":
        low, height, metres = rng.uniform([1.2, 0.3, 0.6], [1.6, 0.8, 2])
        frame, tint = _tint(rng, 0.1, 0.05, 0.7), _tint(rng, 0.3, 0.4, 1.0)
        return Rect(side, left, low, width, height, 0.03, frame, 0, tint, "clutter", metres)
    frame, tint = _tint(rng, 0.15, 0.1, 0.5), _tint(rng, 0.1, 0.5, 1.0)
    height = rng.uniform(0.8, 2.1)
    return Rect(side, left, 0.0, width, height, 0.03, frame, 0, tint, "shelves", 2.2)


def _room_light(rng, bounds):
    """From a lamp under the ceiling or a window in a side wall: `Glow`, `SunLight`, `Ambient`."""
    if rng.random() < 0.5:
        warm = rng.uniform(0, 1)
        at = [bounds.west, bounds.south], [bounds.east, 2.0]
        x, z = rng.uniform(*at) * [0.5, 0.6]
        source = np.array([x, bounds.ceiling - 0.2, z])
    else:
        warm = rng.uniform(-0.4, 0.3)
        z = rng.uniform(bounds.south, bounds.north) * 0.6
        source = np.array([pick(rng, (bounds.west, bounds.east)), 1.8, z])
    color = np.array([1 + 0.22 * warm, 1.0, 1 - 0.30 * warm])
    toward = source - [0, 0.9, 0]
    toward = toward / np.linalg.norm(toward)
    sun = SunLight(toward, rng.uniform(0.35, 0.8) * color, rng.uniform(8, 25))
    bounce = rng.uniform(0.42, 0.62) * color
    slope = np.outer(bounce, [0.30 * toward[0], 0.14, 0.30 * toward[2]])
    return Glow(*source, 0.9, 0.35), sun, Ambient(bounce, slope)


# --- outdoors -------------------------------------------------------------------------------


def _outdoors(kind, rng):
    place = table("environments")["kinds"][kind]
    surfaces = {"floor": [_texture(rng, place["ground"]), _tint(rng, 0.07, 0.7, 1.1)]}
    ceiling, south, rects = 5.0, -FAR, ()
    if "wall" in place and rng.random() < place["wall"]["chance"]:
        wall = place["wall"]
        ceiling, south = number(rng, wall["height"]), number(rng, wall["south"])
        texture = _texture(rng, wall["of"])
        is_painted = texture.startswith(("plaster", "facade"))
        paint = _wall_color(rng) if is_painted else _tint(rng)
        surfaces |= {name: [texture, paint] for name in WALLS}
        if texture.startswith(("bricks", "plaster", "concrete")):
            rects = _openings(rng)
    path = Path()
    if rng.random() < place["path"]:
        is_line = kind == "court"
        path = _path(rng, is_line)
        surfaces["path"] = ["plaster", [1.0, 1.0, 1.0]]
        if not is_line:
            surfaces["path"] = [_texture(rng, table("environments")["paths"]), _tint(rng)]
        surfaces["edge"] = ["concrete", [1.1, 1.1, 1.1]]
    sky, sun, ambient = _weather(rng, "snow" in surfaces["floor"][0])
    return Environment(
        Bounds(0.0, ceiling, -FAR, FAR, south, FAR),
        surfaces,
        rects,
        _far_rows(rng, place["rows"]) if "rows" in place else (),
        path,
        Glow(),
        np.exp(rng.uniform(np.log(0.0004), np.log(0.006))),
        sun,
        ambient,
        sky,
        kind,
    )


def _openings(rng):
    """Doors and windows in a wall outdoors."""
    at, rects = rng.uniform(-9, -6), []
    while at < 9:
        width = rng.uniform(0.9, 2.4)
        if rng.random() < 0.45:
            texture = pick(rng, ("facade", "panels", "clutter", "shelves"))
            low, height, metres = pick(rng, (0.0, 0.9)), rng.uniform(1.2, 2.2), rng.uniform(1.2, 5)
            frame, tint = _tint(rng, 0.15, 0.2, 0.8), _tint(rng, 0.2, 0.3, 0.9)
            rects.append(Rect(4, at, low, width, height, 0.08, frame, 0, tint, texture, metres))
        at += width + rng.uniform(0.5, 3)
    return tuple(rects)


def _far_rows(rng, rows):
    """Rows of trees or houses, each about twice as far away as the one before it."""
    kinds, distance = table("environments")["rows"], rows["distance"] * rng.uniform(0.7, 2.2)
    made = []
    for _ in range(rows["count"]):
        texture = _texture(rng, rows["of"])
        name = texture.split("/")[0]
        height = number(rng, kinds[name]["height"]) * max(1.0, distance / 18)
        paint = _wall_color(rng) if name == "facade" else _tint(rng, 0.1, 0.6, 1.05)
        variant, rough = rng.integers(PROFILES), rng.uniform(0.7, 1.3)
        profile = kinds[name]["profile"]
        made.append(Row(distance, height, texture, profile, variant, rough, paint))
        distance *= rng.uniform(1.6, 2.6)
    return tuple(made)


def _path(rng, is_line):
    turn, distance = rng.uniform(0, np.pi), rng.uniform(-3, 3)
    width, edge = (0.05, 0.0) if is_line else (rng.uniform(0.6, 2.5), pick(rng, (0.0, 0.08)))
    return Path(width, np.cos(turn), np.sin(turn), distance, edge)


def _weather(rng, has_snow):
    """`Sky`, `SunLight` and `Ambient`; a low sun is redder, a clear sky bluer."""
    weathers = table("environments")["weathers"]
    name = pick(rng, {name: weather["weight"] for name, weather in weathers.items()})
    weather, is_dusk = weathers[name], name == "dusk"
    height, turn, blue = number(rng, weather["height"]), rng.uniform(0, 2 * np.pi), weather["blue"]
    level = np.cos(height)
    direction = np.array([level * np.sin(turn), np.sin(height), level * np.cos(turn)])
    low = clamp(1 - height / 0.6, 0, 1)
    sun = weather["sun"] * np.array([1.0, 0.95 - 0.2 * low, 0.86 - 0.42 * low])
    light = weather["sky"] * np.array([1 - 0.16 * blue, 1.0, 1 + 0.26 * blue])
    zenith = np.array([0.62 - 0.42 * blue, 0.70 - 0.28 * blue, 0.78 - 0.02 * blue])
    horizon = np.array([0.80 - 0.12 * blue, 0.84 - 0.06 * blue, 0.88 + 0.02 * blue])
    cloud = np.array([0.92, 0.93, 0.95])
    if is_dusk:
        zenith, horizon = np.array([0.30, 0.36, 0.50]), np.array([0.95, 0.72, 0.50])
        cloud = np.array([0.85, 0.66, 0.56])
    back = 0.25 * (light + sun * direction[1]) * (2.6 if has_snow else 1)  # from the ground
    slope = np.zeros((3, 3))
    slope[:, 1] = (light - back) / 2
    sky = Sky(
        zenith,
        horizon,
        [number(rng, weather["clouds"]), rng.uniform(0.42, 0.62), 0.0],
        [_texture(rng, ("clouds",)), rng.random(), rng.random()],
        cloud,
    )
    softness = rng.uniform(0.5, 4)
    return sky, SunLight(direction, sun, softness), Ambient((light + back) / 2, slope)


def light_on(environment, normals):
    """Light that falls on surfaces without shadow: (N, 3) linear for (N, 3) unit normals."""
    ambient = np.asarray(environment.ambient.a) + normals @ np.asarray(environment.ambient.b).T
    facing = np.maximum(normals @ np.asarray(environment.sun.direction), 0)
    return np.maximum(ambient, 0) + facing[:, None] * np.asarray(environment.sun.color)
