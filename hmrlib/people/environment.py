"""Where people stand: rooms, streets, fields, woods, and the light there.

World frame: metres, y up, ground at y = 0. Light is linear; pictures are 8-bit sRGB.
"""

import numpy as np

PROFILES = 64  # different rows of each kind
FAR = 1e4  # metres: where a wall stands that is not there
SURFACES = ("floor", "ceiling", "west", "east", "south", "north", "path", "edge", "stain")
NORMALS = np.array([(0, 1, 0), (0, -1, 0), (1, 0, 0), (-1, 0, 0), (0, 0, 1), (0, 0, -1)], float)
WEATHERS = ("sunny",) * 4 + ("hazy",) * 2 + ("overcast",) * 3 + ("dusk",)
THINGS = ("window",) * 7 + ("picture",) * 6 + ("door",) * 3 + ("shelf",) * 3 + ("none",) * 6
ENVIRONMENTS = ("room", "hall", "street", "wall", "meadow", "woods", "court", "abstract")


def draw_environment(kind, rng):
    """A place of a kind, as a recipe: plain numbers, strings and lists.

    Args:
        kind: one of `ENVIRONMENTS`.
        rng: `numpy.random.Generator`.

    Returns:
        dict: kind; bounds (floor, ceiling or the walls' upper edge, west, east, south, north),
        metres, the person standing near the origin; surfaces, texture and tint of each; rects on
        the walls (windows, doors, pictures); layers (rows of trees or houses far away); path; sky;
        and light: sun (direction to it, linear color, softness in degrees) and the ambient light
        a + b n that falls on a surface of normal n, before exposure.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in ENVIRONMENTS:
        raise ValueError(f"unknown kind of place {kind!r}; known are {', '.join(ENVIRONMENTS)}")
    place = _indoors(kind, rng) if kind in ("room", "hall") else _outdoors(kind, rng)
    place["kind"] = str(kind)
    return place


def _pick(rng, *names):
    name = names[rng.integers(len(names))]
    return name + ("/2" if rng.random() < 0.5 else "")


def _tint(rng, spread=0.08, low=0.75, high=1.15):
    """A tint (3,) that makes one texture many: brightness, and a little color."""
    return rng.uniform(low, high) * np.exp(spread * rng.normal(size=3))


def _wall_color(rng):
    """The tint of a painted wall: mostly near white, at times a muted color."""
    if rng.random() < 0.6:
        return (
            rng.uniform(0.8, 1.2) * np.array([1.0, 0.98, 0.94]) * np.exp(0.03 * rng.normal(size=3))
        )
    return rng.uniform(0.3, 0.9) * np.exp(0.3 * rng.normal(size=3))


def _indoors(kind, rng):
    large = kind == "hall"
    west, east = -rng.uniform(1.2, 4), rng.uniform(1.2, 4)
    south, north = -rng.uniform(0.7, 4.5), rng.uniform(4.0, 7)
    height = rng.uniform(2.35, 3.0)
    if large:
        west, east, south = 3 * west, 3 * east, 3 * south
        height = rng.uniform(4, 9)
    wall = _pick(rng, "plaster", "plaster", "plaster", "wallpaper", "concrete", "panels", "bricks")
    paint = _wall_color(rng)
    second = _pick(rng, "plaster", "shelves", "curtain", "panels", "bricks")
    accent = rng.integers(2, 6) if rng.random() < 0.35 else -1
    floor = _pick(rng, "planks", "planks", "panels", "carpet", "tiles", "concrete", "court")
    if large:
        wall = _pick(rng, "concrete", "panels", "bricks", "crowd", "plaster")
        floor = _pick(rng, "court", "planks", "concrete", "tiles")
    surfaces = {
        "floor": [floor, _tint(rng, 0.12, 0.6, 1.1)],
        "ceiling": ["plaster", [1.1, 1.1, 1.08]],
    }
    for number, name in enumerate(SURFACES[2:6], 2):
        surfaces[name] = [second, _tint(rng)] if number == accent else [wall, paint]
    surfaces["path"] = [_pick(rng, "carpet", "planks"), _tint(rng, 0.35, 0.4, 1.1)]
    spans = {2: (south, north), 3: (south, north), 4: (west, east), 5: (west, east)}
    rects = []
    for side, (low, high) in spans.items():
        at = low + rng.uniform(0.1, 0.8)
        while at < high - 1.0:
            thing = THINGS[rng.integers(len(THINGS))]
            width = {
                "window": rng.uniform(0.8, 2.0),
                "door": 0.9,
                "picture": rng.uniform(0.3, 1.0),
                "shelf": rng.uniform(0.7, 1.6),
                "none": 1.0,
            }[thing]
            width = min(width, high - at - 0.1)
            if thing == "window":
                rects.append(
                    [
                        side,
                        at,
                        rng.uniform(0.7, 1.0),
                        width,
                        rng.uniform(1.0, 1.4),
                        0.05,
                        *(0.8 * np.ones(3)),
                        rng.uniform(0.9, 2.2),
                        *(np.array([0.9, 0.97, 1.05]) * _tint(rng, 0.05)),
                        0,
                        1,
                    ]
                )
            elif thing == "door":
                wood = _tint(rng, 0.2, 0.3, 1.0)
                rects.append(
                    [side, at, 0.0, width, 2.05, 0.07, *(wood * 0.5), 0, *wood, "panels", 1.2]
                )
            elif thing == "picture":
                tall = rng.uniform(0.3, 0.8)
                frame = _tint(rng, 0.1, 0.05, 0.7)
                rects.append(
                    [
                        side,
                        at,
                        rng.uniform(1.2, 1.6),
                        width,
                        tall,
                        0.03,
                        *frame,
                        0,
                        *_tint(rng, 0.3, 0.4, 1.0),
                        "clutter",
                        rng.uniform(0.6, 2),
                    ]
                )
            elif thing == "shelf":
                rects.append(
                    [
                        side,
                        at,
                        0.0,
                        width,
                        rng.uniform(0.8, 2.1),
                        0.03,
                        *(_tint(rng, 0.15, 0.1, 0.5)),
                        0,
                        *_tint(rng, 0.1, 0.5, 1.0),
                        "shelves",
                        2.2,
                    ]
                )
            at += width + rng.uniform(0.2, 1.5)
        rects.append([side, low, 0.0, high - low, 0.1, 0.2, *(0.55 * paint), 0, 1, 1, 1, 0, 1])
    lamp = rng.random() < 0.5
    warm = rng.uniform(0, 1) if lamp else rng.uniform(-0.4, 0.3)
    color = np.array([1 + 0.22 * warm, 1.0, 1 - 0.30 * warm])
    if lamp:
        glow = np.array(
            [rng.uniform(west, east) * 0.5, height - 0.2, rng.uniform(south, 2.0) * 0.6]
        )
    else:
        side = (west, east)[rng.integers(2)]
        glow = np.array([side, 1.8, rng.uniform(south, north) * 0.6])
    toward = glow - [0, 0.9, 0]
    toward = toward / np.linalg.norm(toward)
    strength = rng.uniform(0.35, 0.8)
    bounce = (0.42 + 0.2 * rng.random()) * color
    return {
        "bounds": [0.0, height, west, east, south, north],
        "surfaces": surfaces,
        "rects": rects,
        "layers": [],
        "path": [rng.uniform(0.6, 1.5), 1.0, 0.0, rng.uniform(-0.4, 0.4), 0.0]
        if rng.random() < 0.2
        else [0.0] * 5,
        "sky": [],
        "glow": [*glow, 0.9, 0.35],
        "haze": 0.0,
        "sun": {"direction": toward, "color": strength * color, "softness": rng.uniform(8, 25)},
        "ambient": {
            "a": bounce,
            "b": [[c * f for f in (0.30 * toward[0], 0.14, 0.30 * toward[2])] for c in bounce],
        },
    }


def _outdoors(kind, rng):
    weather = WEATHERS[rng.integers(len(WEATHERS))]
    height = rng.uniform(0.35, 1.2) if weather != "dusk" else rng.uniform(0.08, 0.3)
    turn = rng.uniform(0, 2 * np.pi)
    direction = np.array(
        [np.cos(height) * np.sin(turn), np.sin(height), np.cos(height) * np.cos(turn)]
    )
    low_sun = min(max(1 - height / 0.6, 0), 1)
    sun = {"sunny": 1.0, "hazy": 0.45, "overcast": 0.0, "dusk": 0.5}[weather]
    sun = sun * np.array([1.0, 0.95 - 0.2 * low_sun, 0.86 - 0.42 * low_sun])
    blue = {"sunny": 1.0, "hazy": 0.4, "overcast": 0.08, "dusk": 0.5}[weather]
    sky_light = {"sunny": 0.30, "hazy": 0.5, "overcast": 0.80, "dusk": 0.35}[weather]
    sky_light = sky_light * np.array([1 - 0.16 * blue, 1.0, 1 + 0.26 * blue])
    zenith = np.array([0.62 - 0.42 * blue, 0.70 - 0.28 * blue, 0.78 - 0.02 * blue])
    horizon = np.array([0.80 - 0.12 * blue, 0.84 - 0.06 * blue, 0.88 + 0.02 * blue])
    if weather == "dusk":
        horizon, zenith = np.array([0.95, 0.72, 0.50]), np.array([0.30, 0.36, 0.50])
    grounds = {
        "street": ("asphalt", "pavement", "pavement", "concrete"),
        "wall": ("pavement", "asphalt", "concrete", "grass", "earth"),
        "meadow": ("grass", "meadow", "meadow", "grass", "sand", "snow", "earth"),
        "woods": ("earth", "leaves", "meadow", "grass"),
        "court": ("grass", "court", "grass", "asphalt", "sand"),
        "abstract": ("earth", "concrete"),
    }
    surfaces = {"floor": [_pick(rng, *grounds[kind]), _tint(rng, 0.07, 0.7, 1.1)]}
    bounds = [0.0, rng.uniform(1.8, 9.0), -FAR, FAR, -FAR, FAR]
    layers, path, rects = [], [0.0] * 5, []
    if kind in ("wall", "abstract") or (kind == "street" and rng.random() < 0.5):
        bounds[4] = -rng.uniform(0.8, 5.0) if kind != "street" else -rng.uniform(3, 12)
        wall = _pick(
            rng, "bricks", "plaster", "concrete", "panels", "facade", "leaves", "planks", "shelves"
        )
        if kind == "abstract":
            wall = _pick(rng, "clutter", "clutter", "trees", "leaves", "curtain", "trees")
            bounds[1], bounds[4] = 30.0, -rng.uniform(1, 6)
        if kind == "street":
            wall = _pick(rng, "facade", "bricks", "plaster", "facade")
            bounds[1] = rng.uniform(3, 14)
        paint = _wall_color(rng) if "plaster" in wall or "facade" in wall else _tint(rng)
        for name in SURFACES[2:6]:
            surfaces[name] = [wall, paint]
        at = rng.uniform(-9, -6)
        while at < 9 and wall.split("/")[0] in ("bricks", "plaster", "concrete"):
            width = rng.uniform(0.9, 2.4)
            if rng.random() < 0.45:
                frame = _tint(rng, 0.15, 0.2, 0.8)
                rects.append(
                    [
                        4,
                        at,
                        (0.0, 0.9)[rng.integers(2)],
                        width,
                        rng.uniform(1.2, 2.2),
                        0.08,
                        *frame,
                        0,
                        *_tint(rng, 0.2, 0.3, 0.9),
                        ("facade", "panels", "clutter", "shelves")[rng.integers(4)],
                        rng.uniform(1.2, 5),
                    ]
                )
            at += width + rng.uniform(0.5, 3)
    if kind in ("street", "court", "meadow", "woods", "wall"):
        rows = {"street": 3, "court": 2, "meadow": 2, "woods": 3, "wall": 1}[kind]
        distance = {"street": 9, "court": 14, "meadow": 16, "woods": 5, "wall": 25}[
            kind
        ] * rng.uniform(0.7, 2.2)
        for _ in range(rows):
            what = {
                "street": ("facade", "facade", "trees"),
                "court": ("crowd", "trees", "facade", "leaves"),
                "meadow": ("trees", "trees", "facade"),
                "woods": ("trees", "leaves"),
                "wall": ("trees", "facade"),
            }[kind]
            name = _pick(rng, *what)
            base = name.split("/")[0]
            tall = {
                "facade": rng.uniform(5, 16),
                "trees": rng.uniform(4, 12),
                "crowd": rng.uniform(3, 8),
                "leaves": rng.uniform(1, 3),
            }[base]
            tall *= max(1.0, distance / 18)
            paint = _wall_color(rng) if base == "facade" else _tint(rng, 0.1, 0.6, 1.05)
            profile = {"facade": "blocks", "trees": "crowns", "crowd": "flat", "leaves": "crowns"}[
                base
            ]
            layers.append(
                [
                    distance,
                    tall,
                    name,
                    profile,
                    int(rng.integers(PROFILES)),
                    rng.uniform(0.7, 1.3),
                    *paint,
                ]
            )
            distance *= rng.uniform(1.6, 2.6)
    if kind in ("street", "meadow", "woods", "court") and rng.random() < (
        0.9 if kind == "court" else 0.45
    ):
        turn = rng.uniform(0, np.pi)
        line = kind == "court"
        path = [
            0.05 if line else rng.uniform(0.6, 2.5),
            np.cos(turn),
            np.sin(turn),
            rng.uniform(-3, 3),
            0.0 if line else (0.0, 0.08)[rng.integers(2)],
        ]
        surfaces["path"] = (
            ["plaster", [1.0, 1.0, 1.0]]
            if line
            else [_pick(rng, "asphalt", "sand", "pavement", "earth", "concrete"), _tint(rng)]
        )
        surfaces["edge"] = ["concrete", [1.1, 1.1, 1.1]]
    clouds = {"sunny": rng.uniform(0.0, 0.7), "hazy": 0.5, "overcast": 0.9, "dusk": 0.6}[weather]
    down = 0.25 * (sky_light + sun * direction[1])  # what the ground gives back
    if "snow" in surfaces["floor"][0]:
        down = 2.6 * down
    return {
        "bounds": bounds,
        "surfaces": surfaces,
        "rects": rects,
        "layers": layers,
        "path": path,
        "sky": [
            zenith,
            horizon,
            [clouds, rng.uniform(0.42, 0.62), 0.0],
            [_pick(rng, "clouds"), rng.random(), rng.random()],
            np.array([0.92, 0.93, 0.95]) if weather != "dusk" else np.array([0.85, 0.66, 0.56]),
        ],
        "glow": [0.0] * 5,
        "haze": float(np.exp(rng.uniform(np.log(0.0004), np.log(0.006)))),
        "sun": {"direction": direction, "color": sun, "softness": rng.uniform(0.5, 4)},
        "ambient": {
            "a": (sky_light + down) / 2,
            "b": [[0.0, (s - d) / 2, 0.0] for s, d in zip(sky_light, down, strict=True)],
        },
    }


def light_on(place, normals):
    """Light that falls on surfaces without shadow: (N, 3) linear for (N, 3) unit normals."""
    ambient = np.asarray(place["ambient"]["a"]) + normals @ np.asarray(place["ambient"]["b"]).T
    facing = np.maximum(normals @ np.asarray(place["sun"]["direction"]), 0)
    return np.maximum(ambient, 0) + facing[:, None] * np.asarray(place["sun"]["color"])
