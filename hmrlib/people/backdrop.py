"""A place seen through a camera, with one ray a pixel, so that horizon, ground and walls agree
with the person in front."""

from dataclasses import astuple
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit

from hmrlib.people.environment import NORMALS, PROFILES, SURFACES, light_on
from hmrlib.people.fabric import tile_noise
from hmrlib.people.textures import LEVELS, SIDE, STARTS, TEXELS, textures
from hmrlib.render.textures import DECODING, ENCODING, FRACTION, four_texels, mix_texels

PROFILE = 1024  # directions around, in which rows of trees or houses have their heights
ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
NONE = np.float32(1e9)  # metres, of what is not there
FLOOR, CEILING, WEST, EAST, SOUTH, NORTH, PATH, EDGE, STAIN = range(len(SURFACES))
_LIT = np.concatenate([NORMALS, [(0, 0.35, 0.94)]])  # and what stands far away


class View(NamedTuple):
    """A `Camera` in float32: rotation (3, 3), position (3,), focal and center in pixels."""

    rotation: np.ndarray
    position: np.ndarray
    focal: float
    center_x: float
    center_y: float


class Rects(NamedTuple):
    """n windows, pictures, doors on walls.

    Attributes:
        first: (7,) those of wall w are first[w] to first[w + 1].
        place: (n, 4) left, lower edge, width, height, metres; rim: (n,) of the frame, metres.
        frame, tint: (n, 3) linear colors; glow: (n,) light through a window, 0 for others.
        texture, period: (n,) its number, and how many metres it covers.
    """

    first: np.ndarray
    place: np.ndarray
    rim: np.ndarray
    frame: np.ndarray
    glow: np.ndarray
    tint: np.ndarray
    texture: np.ndarray
    period: np.ndarray


class Rows(NamedTuple):
    """n rows of trees or houses far away, the nearest first.

    Attributes:
        distance, texture, period: (n,), metres, number, metres that it covers.
        tint: (n, 3), in the light of the place; edge: (n, PROFILE) the heights around, metres.
        top: (n,) the highest of them.
    """

    distance: np.ndarray
    texture: np.ndarray
    period: np.ndarray
    tint: np.ndarray
    edge: np.ndarray
    top: np.ndarray


class Sky(NamedTuple):
    """Linear colors (3,); how much of it clouds cover, from which brightness of their texture on,
    the texture's number and offset (2,); direction to the sun (3,) and the brightness near it."""

    zenith: np.ndarray
    horizon: np.ndarray
    cloud: np.ndarray
    cover: float
    threshold: float
    texture: int
    offset: np.ndarray
    sun: np.ndarray
    bright: float


class World(NamedTuple):
    """A place as arrays.

    Attributes:
        outdoor: whether there is a sky, and no ceiling.
        bounds: (6,) metres: floor, ceiling, west, east, south, north.
        texture, period: (9,) of each of `SURFACES`, its number, and the metres that it covers.
        tint: (9, 3); light: (6, 3) that falls on floor, ceiling and walls.
        path: (5,) half its width, its normal's x and z, its distance, its edge's width.
        glow: (5,) where light comes in, x, y, z; how much, and how much is everywhere.
        haze: a metre.
    """

    outdoor: bool
    bounds: np.ndarray
    texture: np.ndarray
    period: np.ndarray
    tint: np.ndarray
    light: np.ndarray
    path: np.ndarray
    glow: np.ndarray
    haze: float
    rects: Rects
    rows: Rows
    sky: Sky


@njit(nogil=True, cache=True, error_model="numpy")
def _look_up(texels, number, u, v, span):
    """Linear color of a texture at (u, v), in periods; span: of one that a pixel covers."""
    level, side = 0, np.uint32(SIDE)
    span *= np.float32(SIDE)
    while span > np.float32(1.3) and level < LEVELS - 1:
        span *= HALF
        side >>= np.uint32(1)
        level += 1
    first = np.uint32(number) * np.uint32(TEXELS) + STARTS[level]
    r, g, b = mix_texels(texels, four_texels(u, v, (first, side, side)))
    fraction = np.uint32(FRACTION)
    return DECODING[r >> fraction], DECODING[g >> fraction], DECODING[b >> fraction]


@njit(nogil=True, cache=True, error_model="numpy")
def _meet_planes(ray, position, bounds, outdoor):
    """How many times a ray reaches a plane of the place, which one, and its part normal to it."""
    dx, dy, dz = ray
    px, py, pz = position
    roof = bounds[1] if outdoor else np.float32(1e30)  # walls end there
    t, side, cosine = NONE, -1, abs(dy)
    ty = ((bounds[0] if dy < 0 else bounds[1]) - py) / dy
    if ty > 0 and ty < NONE and (dy < 0 or not outdoor):
        t, side = ty, FLOOR if dy < 0 else CEILING
    tx = ((bounds[2] if dx < 0 else bounds[3]) - px) / dx
    if tx > 0 and tx < t and py + tx * dy <= roof:
        t, side, cosine = tx, WEST if dx < 0 else EAST, abs(dx)
    tz = ((bounds[4] if dz < 0 else bounds[5]) - pz) / dz
    if tz > 0 and tz < t and py + tz * dy <= roof:
        t, side, cosine = tz, SOUTH if dz < 0 else NORTH, abs(dz)
    return t, side, cosine


@njit(nogil=True, cache=True, error_model="numpy")
def _meet_rows(ray, height, rows, t):
    """The nearest row of trees or houses that a ray meets before `t`: its number or -1, how many
    times the ray it is away, and the direction as a part of a turn."""
    dx, dy, dz = ray
    level = np.sqrt(dx * dx + dz * dz) + np.float32(1e-9)
    turn, at = ZERO, np.uint32(PROFILE)
    for k in range(rows.distance.shape[0]):
        reach = rows.distance[k] / level
        y = height + reach * dy
        if reach >= t or y <= 0 or y >= rows.top[k]:
            continue
        if at == PROFILE:  # now that it is needed
            turn = np.arctan2(dx, dz) * np.float32(0.15915494)
            at = np.uint32((turn - np.floor(turn)) * np.float32(PROFILE)) & np.uint32(PROFILE - 1)
        if y < rows.edge[k, at]:
            return k, reach, turn
    return -1, t, turn


@njit(nogil=True, cache=True, error_model="numpy")
def _on_path(x, z, path):
    """Floor, path or the path's edge."""
    if path[0] > 0:
        off = x * path[1] + z * path[2] - path[3]
        if abs(off) < path[0]:
            return PATH
        if path[4] > 0 and abs(abs(off) - path[0]) < path[4]:
            return EDGE
    return FLOOR


@njit(nogil=True, cache=True, error_model="numpy")
def _room_shade(hit, side, bounds, glow):
    """Corners are darker, and light falls off from where it comes in."""
    x, y, z = hit
    corner = NONE
    if side >= 2:
        corner = min(y - bounds[0], bounds[1] - y)
    if not 2 <= side < 4:
        corner = min(corner, min(x - bounds[2], bounds[3] - x))
    if side < 4:
        corner = min(corner, min(z - bounds[4], bounds[5] - z))
    off = (x - glow[0]) ** 2 + (y - glow[1]) ** 2 + (z - glow[2]) ** 2
    shade = ONE - np.float32(0.35) / (ONE + np.float32(4) * corner)
    return shade * (glow[4] + glow[3] / (ONE + off * np.float32(0.12)))


@njit(nogil=True, cache=True, error_model="numpy")
def _find_rect(u, v, rects, side):
    """Number of the window, door or picture at a place of a wall, or -1."""
    found = -1
    for k in range(rects.first[side], rects.first[side + 1]):
        across, up = u - rects.place[k, 0], v - rects.place[k, 1]
        if 0 <= across <= rects.place[k, 2] and 0 <= up <= rects.place[k, 3]:
            found = k
    return found


@njit(nogil=True, cache=True, error_model="numpy")
def _rect_color(k, u, v, span, rects, texels):
    """Its color there, and whether it shines; span: metres that a pixel covers."""
    width, height = rects.place[k, 2], rects.place[k, 3]
    x, y = u - rects.place[k, 0], v - rects.place[k, 1]
    if min(min(x, width - x), min(y, height - y)) < rects.rim[k]:
        return (rects.frame[k, 0], rects.frame[k, 1], rects.frame[k, 2]), False
    shines = rects.glow[k] > 0
    if shines:  # a window: what is outside
        r = rects.glow[k] * (np.float32(0.55) + np.float32(0.45) * y / height)
        g, b = r, r
    else:
        period = rects.period[k]
        at = x / period + rects.place[k, 0]
        r, g, b = _look_up(texels, rects.texture[k], at, y / period, span / period)
    return (r * rects.tint[k, 0], g * rects.tint[k, 1], b * rects.tint[k, 2]), shines


@njit(nogil=True, cache=True, error_model="numpy")
def _sky_color(ray, pixel, sky, texels):
    """The sky in a direction of unit length; pixel: radians that one covers."""
    dx, dy, dz = ray
    up = max(dy, ZERO)
    fade = ONE - (ONE - up) * (ONE - up) * (ONE - up)
    cover, bright = ZERO, ZERO
    if sky.cover > 0:
        tilt = np.float32(0.11) / (up + np.float32(0.12))
        u, v = dx * tilt + sky.offset[0], dz * tilt + sky.offset[1]
        _, gray, _ = _look_up(texels, sky.texture, u, v, pixel * tilt)
        cover = min(max((gray - sky.threshold) * np.float32(5), ZERO), ONE) * sky.cover
    toward = dx * sky.sun[0] + dy * sky.sun[1] + dz * sky.sun[2]
    if toward > np.float32(0.7) and sky.bright > 0:
        bright = (toward - np.float32(0.7)) * np.float32(1 / 0.3)
        bright *= bright
        bright *= bright * sky.bright
    r = _mixed(_mixed(sky.horizon[0], sky.zenith[0], fade), sky.cloud[0], cover)
    g = _mixed(_mixed(sky.horizon[1], sky.zenith[1], fade), sky.cloud[1], cover)
    b = _mixed(_mixed(sky.horizon[2], sky.zenith[2], fade), sky.cloud[2], cover)
    return r + bright, g + bright * np.float32(0.9), b + bright * np.float32(0.75)


@njit(nogil=True, cache=True, error_model="numpy")
def _mixed(a, b, share):
    return a + (b - a) * share


@njit(nogil=True, cache=True, error_model="numpy")
def _cast(image, view, world, texels):
    """Picture a place, (H, W, 3) uint8 sRGB."""
    a, light, rows = view.rotation, world.light, world.rows
    outdoor, bounds, path, glow, haze = (
        world.outdoor,
        world.bounds,
        world.path,
        world.glow,
        world.haze,
    )
    rects, sky, texture, tint, metres = (
        world.rects,
        world.sky,
        world.texture,
        world.tint,
        world.period,
    )
    horizon = sky.horizon[0], sky.horizon[1], sky.horizon[2]
    px, py, pz = view.position[0], view.position[1], view.position[2]
    pixel = ONE / view.focal
    last = np.float32(ENCODING.shape[0] - 1)
    stain, stained = ONE, False
    for i in range(image.shape[0]):
        y = (np.float32(i) + HALF - view.center_y) * pixel
        ax, ay, az = a[1, 0] * y + a[2, 0], a[1, 1] * y + a[2, 1], a[1, 2] * y + a[2, 2]
        for j in range(image.shape[1]):
            x = (np.float32(j) + HALF - view.center_x) * pixel
            dx, dy, dz = a[0, 0] * x + ax, a[0, 1] * x + ay, a[0, 2] * x + az
            length = np.sqrt(dx * dx + dy * dy + dz * dz)
            t, side, cosine = _meet_planes((dx, dy, dz), (px, py, pz), bounds, outdoor)
            row, distance, turn = _meet_rows((dx, dy, dz), py, rows, t)
            on_floor = row < 0 and side == FLOOR
            if row >= 0:
                period = rows.period[row]
                u = turn * np.float32(2 * np.pi) * rows.distance[row] / period
                v, span = (py + distance * dy) / period, distance * pixel / period
                r, g, b = _look_up(texels, rows.texture[row], u, v, span)
                r, g, b = r * rows.tint[row, 0], g * rows.tint[row, 1], b * rows.tint[row, 2]
            elif side >= 0:
                hx, hy, hz = px + t * dx, py + t * dy, pz + t * dz
                u, v = (hx, hz) if side < 2 else (hz, hy) if side < 4 else (hx, hy)
                kind = _on_path(hx, hz, path) if side == FLOOR else side
                stretch = min(length / max(cosine, np.float32(0.05)), np.float32(5))
                span = np.float32(0.6) * pixel * t * stretch  # metres
                rect, shines = _find_rect(u, v, rects, side), False
                if rect >= 0:
                    (r, g, b), shines = _rect_color(rect, u, v, span, rects, texels)
                else:
                    each = ONE / metres[kind]
                    r, g, b = _look_up(texels, texture[kind], u * each, v * each, span * each)
                    r, g, b = r * tint[kind, 0], g * tint[kind, 1], b * tint[kind, 2]
                if side == FLOOR:  # large stains, so that the tiling does not show
                    if j % 4 == 0 or not stained:  # they hardly change between pixels
                        _, stain, _ = _look_up(
                            texels,
                            texture[STAIN],
                            u * np.float32(0.06),
                            v * np.float32(0.06),
                            ZERO,
                        )
                        stain = np.float32(0.88) + np.float32(0.5) * stain
                    r, g, b = r * stain, g * stain, b * stain
                if not shines:
                    shade = ONE
                    if not outdoor:
                        shade = _room_shade((hx, hy, hz), side, bounds, glow)
                    elif side >= 2:
                        shade = ONE - np.float32(0.3) / (ONE + np.float32(3) * max(hy, ZERO))
                    r, g, b = (
                        r * light[side, 0] * shade,
                        g * light[side, 1] * shade,
                        b * light[side, 2] * shade,
                    )
            else:
                toward = dx / length, dy / length, dz / length
                r, g, b = _sky_color(toward, pixel, sky, texels)
            stained = on_floor
            if outdoor and (row >= 0 or side >= 0):
                veil = distance * haze  # 1 - exp(-x), by the series of exp(x)
                veil *= ONE + veil * (HALF + veil * np.float32(1 / 6))
                veil = veil / (ONE + veil) if veil < NONE else ONE
                r = _mixed(r, horizon[0], veil)
                g = _mixed(g, horizon[1], veil)
                b = _mixed(b, horizon[2], veil)
            image[i, j, 0] = np.uint8(ENCODING[np.uint32(min(max(r, ZERO), ONE) * last)])
            image[i, j, 1] = np.uint8(ENCODING[np.uint32(min(max(g, ZERO), ONE) * last)])
            image[i, j, 2] = np.uint8(ENCODING[np.uint32(min(max(b, ZERO), ONE) * last)])


@lru_cache(maxsize=3 * PROFILES)
def _profile(kind, variant):
    """The upper edge of a row of trees or houses, (PROFILE,) of the mean height, and how much of
    it the row's roughness moves."""
    rng = np.random.default_rng([variant, 12])
    flat = np.zeros(PROFILE, np.float32)
    if kind == "flat":
        return flat + 1, flat
    around = np.arange(PROFILE)
    if kind == "blocks":
        edges = np.sort(rng.integers(0, PROFILE, 48))
        heights = rng.uniform(0.4, 1.5, 49)[np.searchsorted(edges, around)]
        return heights.astype(np.float32), flat
    smooth = tile_noise((2, PROFILE), 1.1, rng)[0]
    crowns = np.abs(np.sin(around * np.pi * 24 / PROFILE + smooth))
    return (0.75 + 0.3 * crowns).astype(np.float32), (0.22 * smooth).astype(np.float32)


def _rects(given, numbers, exposure):
    """A recipe's `Rect`s as arrays; numbers: of the textures, by name."""
    given = sorted(given, key=lambda rect: rect.side)

    def column(name, width=()):
        values = [getattr(rect, name) for rect in given]
        return np.array(values, np.float32).reshape(len(given), *width)

    glow = column("glow")
    glow *= exposure
    return Rects(
        first=np.searchsorted(column("side"), np.arange(7)),
        place=np.stack([column(name) for name in ("left", "low", "width", "height")], 1),
        rim=column("rim"),
        frame=column("frame", (3,)),
        glow=glow,
        tint=column("tint", (3,)),
        texture=np.array([numbers[r.texture][0] if r.texture else 0 for r in given], int),
        period=column("metres"),
    )


def _rows(given, numbers, light):
    """A recipe's `Row`s as arrays, in the light (3,) that falls on them."""
    count = len(given)
    distance, period = np.zeros(count, np.float32), np.zeros(count, np.float32)
    texture, top = np.zeros(count, int), np.zeros(count, np.float32)
    tint, edge = np.zeros((count, 3), np.float32), np.zeros((count, PROFILE), np.float32)
    for i, row in enumerate(given):
        texture[i], metres = numbers[row.texture]
        distance[i], period[i] = row.distance, metres * max(1, row.distance / 30)
        tint[i] = np.array(row.tint) * light
        outline, moved = _profile(row.profile, row.variant)
        outline = np.maximum(outline + np.float32(row.rough) * moved, np.float32(0.15))
        edge[i] = outline * np.float32(row.height)
        top[i] = edge[i].max()
    return Rows(distance, texture, period, tint, edge, top)


def _sky(environment, numbers, exposure):
    """The sky of a place; black where there is none."""
    black, sun, sky = np.zeros(3, np.float32), environment.sun, environment.sky
    direction = np.array(sun.direction, np.float32)
    if sky is None:
        return Sky(black, black, black, ZERO, ZERO, 0, black[:2], direction, ZERO)
    lit = [np.asarray(color, np.float32) for color in (sky.zenith, sky.horizon, sky.cloud)]
    for color in lit:
        color *= exposure
    cover, threshold, _ = sky.clouds
    texture, *offset = sky.drift
    return Sky(
        *lit,
        np.float32(cover),
        np.float32(threshold),
        numbers[texture][0],
        np.array(offset, np.float32),
        direction,
        np.float32(max(sun.color) * exposure * 0.5),
    )


def _world(environment, exposure):
    """A recipe's `Environment` as arrays."""
    numbers, _ = textures()
    texture, period = np.zeros(9, np.int64), np.ones(9, np.float32)
    tint = np.ones((9, 3), np.float32)
    for i, name in enumerate(SURFACES):
        kind, color = environment.surfaces.get(name, ["concrete", [1, 1, 1]])
        texture[i], period[i] = numbers[kind]
        tint[i] = color
    texture[STAIN] = numbers["clouds"][0]
    *light, far_light = light_on(environment, _LIT) * exposure
    return World(
        outdoor=environment.sky is not None,
        bounds=np.array(astuple(environment.bounds), np.float32),
        texture=texture,
        period=period,
        tint=tint,
        light=np.array(light, np.float32),
        path=np.array(astuple(environment.path), np.float32),
        glow=np.array(astuple(environment.glow), np.float32),
        haze=np.float32(environment.haze),
        rects=_rects(environment.rects, numbers, exposure),
        rows=_rows(environment.rows, numbers, far_light),
        sky=_sky(environment, numbers, exposure),
    )


def render_environment(environment, camera, exposure=1.0, coarse=1):
    """A picture of a place.

    Args:
        environment: from `draw_environment`.
        camera: a pinhole `Camera` above the ground, inside the room if the place is one.
        exposure: linear light is multiplied by it.
        coarse: cast a ray for every so many pixels along each side, and interpolate; for what is
            out of focus anyway.

    Returns:
        (H, W, 3) uint8.
    """
    width, height = camera.size
    small = np.empty((-(-height // coarse), -(-width // coarse), 3), np.uint8)
    view = View(
        camera.rotation.astype(np.float32),
        camera.position.astype(np.float32),
        np.float32(camera.focal / coarse),
        np.float32(camera.center[0] / coarse),
        np.float32(camera.center[1] / coarse),
    )
    _cast(small, view, _world(environment, exposure), textures()[1].reshape(-1))
    if coarse == 1:
        return small
    image = np.empty((height, width, 3), np.uint8)
    _enlarge(small, np.float32(coarse), image)
    return image


@njit(nogil=True, cache=True, error_model="numpy")
def _enlarge(small, times, image):
    """Blur a picture a little, and enlarge it so many times, bilinear between its pixels."""
    rows, columns = small.shape[:2]
    height, width = image.shape[:2]
    quarter = np.float32(0.25)
    source = small.reshape(rows, 3 * columns)
    soft = np.empty((rows, 3 * columns), np.float32)
    for i in range(rows):  # the blur of a binomial (1, 2, 1), down and along
        above, below = source[max(i - 1, 0)], source[min(i + 1, rows - 1)]
        for j in range(3 * columns):
            total = np.float32(above[j]) + np.float32(below[j]) + 2 * np.float32(source[i, j])
            soft[i, j] = quarter * total
    line = np.empty((columns, 3), np.float32)
    flat = line.reshape(3 * columns)
    left, share = np.empty(width, np.uint32), np.empty(width, np.float32)
    for j in range(width):
        x = min(max((np.float32(j) + HALF) / times - HALF, ZERO), columns - ONE)
        left[j] = min(np.uint32(x), np.uint32(max(columns - 2, 0)))
        share[j] = np.float32(x) - np.float32(left[j])
    after = np.uint32(min(columns - 1, 1))
    down = np.empty(3 * columns + 6, np.float32)
    for i in range(height):
        y = min(max((np.float32(i) + HALF) / times - HALF, ZERO), rows - ONE)
        k = min(int(y), max(rows - 2, 0))
        part, next_row = np.float32(y - k), min(k + 1, rows - 1)
        for j in range(3 * columns):
            down[j + 3] = soft[k, j] + part * (soft[next_row, j] - soft[k, j])
        for c in range(3):
            down[c], down[3 * columns + 3 + c] = down[3 + c], down[3 * columns + c]
        for j in range(3 * columns):
            flat[j] = quarter * (down[j] + down[j + 6]) + HALF * down[j + 3]
        for j in range(width):
            a = left[j]
            b = a + after
            for c in range(3):
                value = line[a, c] + share[j] * (line[b, c] - line[a, c])
                image[i, j, c] = np.uint8(value + HALF)
