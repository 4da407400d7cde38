"""A place seen through a camera, with one ray a pixel, so that horizon, ground and walls agree
with the person in front."""

from functools import lru_cache

import numpy as np
from numba import njit

from hmrlib.people.environment import NORMALS, PROFILES, SURFACES, light_on
from hmrlib.people.fabric import tile_noise
from hmrlib.people.textures import LEVELS, SIDE, STARTS, TEXELS, textures
from hmrlib.render.shading import DECODING, ENCODING, FRACTION, four_texels, mix_texels

PROFILE = 1024  # directions around, in which rows of trees or houses have their heights
ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _look_up(texels, texture, starts, u, v, span, red, green, blue, table):
    """Texture at (u, v), in periods, where a pixel spans `span` texels: linear color, tinted."""
    level, side = 0, np.uint32(SIDE)
    while span > np.float32(1.3) and level < LEVELS - 1:
        span *= HALF
        side >>= np.uint32(1)
        level += 1
    first = np.uint32(texture) * np.uint32(TEXELS) + starts[level]
    r, g, b = mix_texels(texels, four_texels(u, v, (first, side, side)))
    fraction = np.uint32(FRACTION)
    return table[r >> fraction] * red, table[g >> fraction] * green, table[b >> fraction] * blue


@njit(nogil=True, cache=True, error_model="numpy")
def _meet_box(y, rotation, position, pixel, cx, outdoor, bounds, row, sides):
    """Where the rays of a row of pixels meet the planes of a place; written for vectors.

    Args:
        y: of the row, a metre ahead.
        row: (6, W) result: direction, 3; how many times it to the plane, 1e9 if there is none; the
            ray's length over its part normal to the plane, at most 5; the direction's length.
        sides: (W,) result: 0 floor, 1 ceiling, 2 -x, 3 +x, 4 -z, 5 +z, -1 none of them.
    """
    px, py, pz = position[0], position[1], position[2]
    roof = bounds[1] if outdoor else np.float32(1e30)  # walls end there
    a, b, c = rotation[0, 0], rotation[0, 1], rotation[0, 2]
    along = rotation[1] * y + rotation[2]
    e, f, g = along[0], along[1], along[2]
    none = np.float32(1e9)
    for j in range(sides.shape[0]):
        x = (np.float32(j) + HALF - cx) * pixel
        dx, dy, dz = a * x + e, b * x + f, c * x + g
        ty = ((bounds[0] if dy < 0 else bounds[1]) - py) / dy
        tx = ((bounds[2] if dx < 0 else bounds[3]) - px) / dx
        tz = ((bounds[4] if dz < 0 else bounds[5]) - pz) / dz
        is_flat = (ty > 0) & (ty < none) & ((dy < 0) | (not outdoor))
        t = ty if is_flat else none
        side = np.int32(0 if dy < 0 else 1) if is_flat else np.int32(-1)
        cosine = abs(dy)
        hits = (tx > 0) & (tx < t) & (py + tx * dy <= roof)
        t = tx if hits else t
        side = np.int32(2 if dx < 0 else 3) if hits else side
        cosine = abs(dx) if hits else cosine
        hits = (tz > 0) & (tz < t) & (py + tz * dy <= roof)
        t = tz if hits else t
        side = np.int32(4 if dz < 0 else 5) if hits else side
        cosine = abs(dz) if hits else cosine
        length = np.sqrt(dx * dx + dy * dy + dz * dz)
        row[0, j], row[1, j], row[2, j], row[3, j] = dx, dy, dz, t
        row[4, j] = min(length / max(cosine, np.float32(0.05)), np.float32(5))
        row[5, j] = length
        sides[j] = side


@njit(nogil=True, cache=True, error_model="numpy")
def _cast(image, rotation, position, focal, cx, cy, stack, starts, table, encoding, world):
    """Picture a place; `world` as `_pack` makes it."""
    (
        outdoor,
        bounds,
        number,
        scale,
        tint,
        light,
        rects,
        first_rect,
        layers,
        profiles,
        path,
        sky,
        sun,
        glow,
        haze,
    ) = world
    height, width = image.shape[0], image.shape[1]
    flat = stack.reshape(stack.size)
    last = np.float32(encoding.shape[0] - 1)
    px, py, pz = position[0], position[1], position[2]
    pixel = ONE / focal
    tallest = np.empty(layers.shape[0], np.float32)
    for k in range(layers.shape[0]):
        tallest[k] = profiles[k].max() * layers[k, 1]
    texels_each = ONE / scale * (pixel * np.float32(256 * 0.6))  # a metre away, seen from the front
    periods = ONE / scale
    hit_u = np.float32(0)
    hit_v = np.float32(0)
    stain = ONE
    row = np.empty((6, width), np.float32)
    sides = np.empty(width, np.int32)
    for i in range(height):
        y = (np.float32(i) + HALF - cy) * pixel
        _meet_box(y, rotation, position, pixel, cx, outdoor, bounds, row, sides)
        for j in range(width):
            dx, dy, dz, t, stretch, length = (
                row[0, j],
                row[1, j],
                row[2, j],
                row[3, j],
                row[4, j],
                row[5, j],
            )
            side = sides[j]
            r, g, b = np.float32(0), np.float32(0), np.float32(0)
            flat_length = np.sqrt(dx * dx + dz * dz) + np.float32(1e-9)
            distance = t
            done = False
            if outdoor:  # rows of trees or houses, nearest first
                turn, place = ZERO, np.uint32(PROFILE)
                for k in range(layers.shape[0]):
                    reach = layers[k, 0] / flat_length
                    if reach >= t or layers[k, 0] <= 0:
                        continue
                    y_hit = py + reach * dy
                    if y_hit <= 0 or y_hit >= tallest[k]:
                        continue
                    if place == PROFILE:  # now that it is needed
                        turn = np.arctan2(dx, dz) * np.float32(0.15915494)
                        place = np.uint32((turn - np.floor(turn)) * np.float32(PROFILE))
                        place &= np.uint32(PROFILE - 1)
                    if y_hit < profiles[k, place] * layers[k, 1]:
                        texture = int(layers[k, 2])
                        u = turn * np.float32(6.2831853) * layers[k, 0] / layers[k, 3]
                        v = y_hit / layers[k, 3]
                        texels = reach * pixel / layers[k, 3] * np.float32(256)
                        r, g, b = _look_up(
                            flat,
                            texture,
                            starts,
                            u,
                            v,
                            texels,
                            layers[k, 4],
                            layers[k, 5],
                            layers[k, 6],
                            table,
                        )
                        distance = reach
                        done = True
                        break
            if not done and side >= 0:
                hx, hy, hz = px + t * dx, py + t * dy, pz + t * dz
                if side < 2:
                    hit_u, hit_v = hx, hz
                elif side < 4:
                    hit_u, hit_v = hz, hy
                else:
                    hit_u, hit_v = hx, hy
                kind = side
                if side == 0 and path[0] > 0:
                    off = hx * path[1] + hz * path[2] - path[3]
                    if abs(off) < path[0]:
                        kind = 6
                    elif path[4] > 0 and abs(abs(off) - path[0]) < path[4]:
                        kind = 7
                texture = number[kind]
                texels = t * texels_each[kind] * stretch
                r, g, b = _look_up(
                    flat,
                    texture,
                    starts,
                    hit_u * periods[kind],
                    hit_v * periods[kind],
                    texels,
                    tint[kind, 0],
                    tint[kind, 1],
                    tint[kind, 2],
                    table,
                )
                if side == 0:  # large stains, so that the tiling does not show
                    if j % 4 == 0 or sides[j - 1] != 0:  # they hardly change between pixels
                        _, stain, _ = _look_up(
                            flat,
                            number[8],
                            starts,
                            hit_u * np.float32(0.06),
                            hit_v * np.float32(0.06),
                            ONE,
                            ONE,
                            ONE,
                            ONE,
                            table,
                        )
                        stain = np.float32(0.88) + np.float32(0.5) * stain
                    r, g, b = r * stain, g * stain, b * stain
                emitted = False
                for k in range(first_rect[side], first_rect[side + 1]):
                    ru = (hit_u - rects[k, 1]) / rects[k, 3]
                    rv = (hit_v - rects[k, 2]) / rects[k, 4]
                    if ru < 0 or ru > 1 or rv < 0 or rv > 1:
                        continue
                    rim_u = min(ru, 1 - ru) * rects[k, 3]
                    rim_v = min(rv, 1 - rv) * rects[k, 4]
                    if min(rim_u, rim_v) < rects[k, 5]:
                        r, g, b = rects[k, 6], rects[k, 7], rects[k, 8]
                    elif rects[k, 9] > 0:  # a window: what is outside
                        up = np.float32(0.55) + np.float32(0.45) * rv
                        r = rects[k, 9] * up * rects[k, 10]
                        g = rects[k, 9] * up * rects[k, 11]
                        b = rects[k, 9] * up * rects[k, 12]
                        emitted = True
                    else:
                        r, g, b = _look_up(
                            flat,
                            int(rects[k, 13]),
                            starts,
                            ru * rects[k, 3] / rects[k, 14] + rects[k, 1],
                            rv * rects[k, 4] / rects[k, 14],
                            texels * scale[kind] / rects[k, 14],
                            rects[k, 10],
                            rects[k, 11],
                            rects[k, 12],
                            table,
                        )
                if not emitted:
                    shade = ONE
                    if not outdoor:  # corners are darker; light falls off from where it comes in
                        corner = min(hy - bounds[0], bounds[1] - hy)
                        if side < 2:
                            corner = np.float32(1e9)
                        corner = min(
                            corner,
                            np.float32(1e9)
                            if 2 <= side < 4
                            else min(hx - bounds[2], bounds[3] - hx),
                        )
                        corner = min(
                            corner,
                            np.float32(1e9) if side >= 4 else min(hz - bounds[4], bounds[5] - hz),
                        )
                        shade = ONE - np.float32(0.35) / (ONE + np.float32(4) * corner)
                        off = (hx - glow[0]) ** 2 + (hy - glow[1]) ** 2 + (hz - glow[2]) ** 2
                        shade *= glow[4] + glow[3] / (ONE + off * np.float32(0.12))
                    elif side >= 2:
                        shade = ONE - np.float32(0.3) / (ONE + np.float32(3) * max(hy, ZERO))
                    r, g, b = (
                        r * light[side, 0] * shade,
                        g * light[side, 1] * shade,
                        b * light[side, 2] * shade,
                    )
                done = True
            if not done:
                length = ONE / length
                up = max(dy * length, ZERO)
                fade = ONE - (ONE - up) * (ONE - up) * (ONE - up)
                r = sky[1, 0] + (sky[0, 0] - sky[1, 0]) * fade
                g = sky[1, 1] + (sky[0, 1] - sky[1, 1]) * fade
                b = sky[1, 2] + (sky[0, 2] - sky[1, 2]) * fade
                if sky[2, 0] > 0:
                    tilt = ONE / (up + np.float32(0.12))
                    _, cg, _ = _look_up(
                        flat,
                        int(sky[3, 0]),
                        starts,
                        dx * length * tilt * np.float32(0.11) + sky[3, 1],
                        dz * length * tilt * np.float32(0.11) + sky[3, 2],
                        pixel * tilt * np.float32(30),
                        np.float32(1),
                        np.float32(1),
                        np.float32(1),
                        table,
                    )
                    cover = min(max((cg - sky[2, 1]) * np.float32(5), ZERO), ONE) * sky[2, 0]
                    r += (sky[4, 0] - r) * cover
                    g += (sky[4, 1] - g) * cover
                    b += (sky[4, 2] - b) * cover
                toward = (dx * sun[0] + dy * sun[1] + dz * sun[2]) * length
                if toward > np.float32(0.7) and sun[3] > 0:
                    bright = (toward - np.float32(0.7)) * np.float32(1 / 0.3)
                    bright *= bright
                    bright *= bright * sun[3]
                    r, g, b = (
                        r + bright,
                        g + bright * np.float32(0.9),
                        b + bright * np.float32(0.75),
                    )
            elif outdoor:
                veil = distance * haze  # 1 - exp(-x), by the series of exp(x)
                veil *= ONE + veil * (HALF + veil * np.float32(1 / 6))
                veil = veil / (ONE + veil) if veil < np.float32(1e9) else ONE
                r += (sky[1, 0] - r) * veil
                g += (sky[1, 1] - g) * veil
                b += (sky[1, 2] - b) * veil
            image[i, j, 0] = np.uint8(encoding[np.uint32(min(max(r, ZERO), ONE) * last)])
            image[i, j, 1] = np.uint8(encoding[np.uint32(min(max(g, ZERO), ONE) * last)])
            image[i, j, 2] = np.uint8(encoding[np.uint32(min(max(b, ZERO), ONE) * last)])


_LIT = np.concatenate([NORMALS, [(0, 0.35, 0.94)]])  # and what stands far away


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


def _pack(place, exposure):
    """A place as the arrays that `_cast` takes."""
    numbers, _ = textures()
    outdoor = bool(place["sky"])
    number, scale = np.zeros(9, np.int64), np.ones(9, np.float32)
    tint = np.ones((9, 3), np.float32)
    for i, name in enumerate(SURFACES):
        texture, color = place["surfaces"].get(name, ["concrete", [1, 1, 1]])
        number[i], scale[i] = numbers[texture]
        tint[i] = color
    number[8] = numbers["clouds"][0]
    *light, side_light = light_on(place, _LIT) * exposure
    rects = [
        [numbers[value][0] if isinstance(value, str) else value for value in rect]
        for rect in sorted(place["rects"], key=lambda rect: rect[0])  # by wall
    ]
    rects = np.array(rects, np.float32).reshape(-1, 15)
    rects[:, 9] *= exposure
    layers = np.zeros((len(place["layers"]), 7), np.float32)
    profiles = np.ones((max(len(layers), 1), PROFILE), np.float32)
    for i, (distance, tall, name, profile, variant, rough, *paint) in enumerate(place["layers"]):
        texture, metres = numbers[name]
        layers[i] = [
            distance,
            tall,
            texture,
            metres * max(1, distance / 30),
            *(np.array(paint) * side_light),
        ]
        edge, moved = _profile(profile, variant)
        profiles[i] = np.maximum(edge + np.float32(rough) * moved, np.float32(0.15))
    sky = np.zeros((5, 3), np.float32)
    if outdoor:
        zenith, horizon, clouds, (cloud, *at), cloud_color = place["sky"]
        sky[:] = [zenith, horizon, clouds, [numbers[cloud][0], *at], cloud_color]
        sky[[0, 1, 4]] *= exposure
    strength = float(np.max(place["sun"]["color"])) * exposure * 0.5
    sun = np.array([*place["sun"]["direction"], strength if outdoor else 0], np.float32)
    return (
        outdoor,
        np.array(place["bounds"], np.float32),
        number,
        scale,
        tint,
        np.array(light, np.float32),
        rects,
        np.searchsorted(rects[:, 0], np.arange(7)),
        layers,
        profiles,
        np.array(place["path"], np.float32),
        sky,
        sun,
        np.array(place["glow"], np.float32),
        np.float32(place["haze"]),
    )


def render_environment(place, camera, exposure=1.0, coarse=1):
    """A picture of a place.

    Args:
        place: from `draw_environment`.
        camera: a pinhole `Camera` above the ground, inside the room if the place is one.
        exposure: linear light is multiplied by it.
        coarse: cast a ray for every so many pixels along each side, and interpolate; for what is
            out of focus anyway.

    Returns:
        (H, W, 3) uint8.
    """
    width, height = camera.size
    small = np.empty((-(-height // coarse), -(-width // coarse), 3), np.uint8)
    _cast(
        small,
        camera.rotation.astype(np.float32),
        camera.position.astype(np.float32),
        np.float32(camera.focal / coarse),
        np.float32(camera.center[0] / coarse),
        np.float32(camera.center[1] / coarse),
        textures()[1],
        STARTS,
        DECODING,
        ENCODING,
        _pack(place, exposure),
    )
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
