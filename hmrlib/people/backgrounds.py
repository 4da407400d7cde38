"""Places for people to stand in: rooms, streets, fields, woods, drawn with one ray a pixel.

A place is a dict of plain numbers (a recipe: see `draw_place`), and `paint` pictures it through any
camera, so that horizon, ground and walls agree with the person in front. Textures are made, not
loaded: noise with a natural 1 / f spectrum, dead leaves (discs that occlude one another, as things
in pictures do), bricks, planks, grass, facades. Each is kept with its mipmaps, so that what is far
away does not flicker.

World frame: metres, y up, ground at y = 0. Light is linear; pictures are 8-bit sRGB.
"""

from functools import lru_cache

import numpy as np
from numba import njit

from hmrlib.people.clothes import tile_noise
from hmrlib.render.scene import mipmap, mipmap_levels
from hmrlib.render.shading import DECODING, ENCODING, FRACTION, four_texels, mix_texels

SIDE = 256  # pixels of a texture
LEVELS = 9  # 256, 128, ... 1
PROFILES = 64  # different rows of each kind
PROFILE = 1024  # directions around, in which rows of trees or houses have their heights


def _mix(a, b, share):
    share = np.asarray(share)[..., None]
    return np.asarray(a) * (1 - share) + np.asarray(b) * share


def dead_leaves(rng, colors, low=4, high=70, count=1400, side=SIDE, power=2.0):
    """Discs and boxes of random sizes that occlude one another: (side, side, 3) in [0, 1], tiles.

    Lee, Mumford and Huang, "Occlusion models for natural images" (2001): radii whose density falls
    with the third power give pictures the statistics of photographs.
    """
    image = np.zeros((side, side, 3))
    image[:] = colors[0]
    sizes = np.sort(low * (1 - rng.random(count) * (1 - (low / high) ** power)) ** (-1 / power))
    for size in sizes[::-1]:
        size = min(size, side / 2 - 1)
        color = np.clip(colors[rng.integers(len(colors))] * rng.uniform(0.6, 1.3), 0, 1)
        y, x = rng.uniform(0, side, 2)
        reach = int(size) + 1
        rows = np.arange(int(y) - reach, int(y) + reach + 1)
        columns = np.arange(int(x) - reach, int(x) + reach + 1)
        dy, dx = (rows - y)[:, None] / size, (columns - x)[None] / size
        angle, thin = rng.uniform(0, np.pi), rng.uniform(0.35, 1)
        u = np.cos(angle) * dx + np.sin(angle) * dy
        v = (np.cos(angle) * dy - np.sin(angle) * dx) / thin
        inside = u * u + v * v < 1
        patch = np.ix_(rows % side, columns % side)
        shade = (1 - 0.25 * v)[..., None]
        image[patch] = np.where(inside[..., None], np.clip(color * shade, 0, 1), image[patch])
    return image


def _greens(rng, count=12):
    light = 0.14 + 0.30 * rng.random((count, 1))
    return light * _mix([0.90, 1.0, 0.42], [0.62, 1.0, 0.52], rng.random(count))


def _clutter(rng, count=14):
    gray = rng.uniform(0.08, 0.75, (count, 1))
    return np.clip(gray * (1 + rng.normal(0, 0.11, (count, 3))), 0.02, 0.95)


def _rows(across, up, rng, gap=0.06, bond=0.5, spread=0.15):
    """Bricks, tiles or planks: brightness (SIDE, SIDE) and where the joints are."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    row = np.floor(y * up).astype(int)
    shifted = x * across + bond * (row % 2)
    column = np.floor(shifted).astype(int) % across
    value = 1 + spread * rng.normal(size=(up, across))[row, column]
    fx, fy = shifted % 1, (y * up) % 1
    joint = (fy < gap) | (fx < gap * across / up)
    return value, joint


def _facade(rng):
    """A wall with windows, three storeys of three metres."""
    image = np.ones((SIDE, SIDE, 3)) * (0.62 + 0.03 * tile_noise((SIDE, SIDE), 1.5, rng))[..., None]
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    fx, fy = (x * 4) % 1, (y * 3) % 1
    frame = (np.abs(fx - 0.5) < 0.27) & (np.abs(fy - 0.45) < 0.33)
    glass = (np.abs(fx - 0.5) < 0.23) & (np.abs(fy - 0.45) < 0.29) & (np.abs(fx - 0.5) > 0.015)
    image[frame] = 0.8
    lit = rng.random((3, 4))[np.floor(y * 3).astype(int), np.floor(x * 4).astype(int)]
    pane = _mix([0.10, 0.12, 0.15], [0.42, 0.48, 0.55], np.clip(lit * fy * 1.5, 0, 1))
    image[glass] = pane[glass]
    image[(fy < 0.03)] *= 0.8
    return image


def _shelves(rng):
    """Book shelves."""
    image = np.ones((SIDE, SIDE, 3)) * [0.12, 0.09, 0.07]
    for shelf in range(6):
        low = round(shelf * SIDE / 6)
        x = 0
        while x < SIDE:
            width = rng.integers(3, 9)
            top = low + 5 + rng.integers(22, 34)
            image[low + 5 : min(top, low + 40), x : x + width] = _clutter(rng, 1)[0]
            x += width + (rng.random() < 0.05) * 14
        image[low : low + 5] = [0.45, 0.33, 0.22]
    return image


def _crowd(rng):
    """Rows of people far away, out of focus."""
    image = np.ones((SIDE, SIDE, 3)) * 0.12
    for y in range(SIDE, -14, -13):
        for x in range(0, SIDE, 9):
            cx, cy = x + rng.integers(-2, 3), y + rng.integers(-2, 3)
            cloth, face = (
                rng.uniform(0.08, 0.8) + 0.07 * rng.normal(size=3),
                np.array([0.75, 0.55, 0.45]) * rng.uniform(0.4, 1.1),
            )
            columns = np.arange(cx - 4, cx + 5) % SIDE
            image[np.ix_(np.arange(cy - 12, cy - 2) % SIDE, columns)] = np.clip(cloth, 0, 1)
            head = np.ix_(np.arange(cy - 2, cy + 4) % SIDE, np.arange(cx - 2, cx + 3) % SIDE)
            image[head] = np.clip(face, 0, 1)
    return image


def _builders():
    """Texture's name -> (metres that it covers, function of a generator)."""

    def noise(slope, rng, across=1.0):
        return tile_noise((SIDE, SIDE), slope, rng, across)

    def plain(color, slope, amount, grain):
        def build(rng):
            value = 1 + amount * noise(slope, rng) + grain * rng.normal(size=(SIDE, SIDE))
            return np.asarray(color) * value[..., None]

        return build

    def grass(rng):
        mix = np.clip(0.5 + 0.3 * noise(1.3, rng), 0, 1)
        blades = 1 + 0.22 * noise(0.3, rng, 0.5) + 0.12 * rng.normal(size=(SIDE, SIDE))
        return _mix([0.30, 0.40, 0.16], [0.42, 0.46, 0.22], mix) * blades[..., None]

    def bricks(rng):
        value, joint = _rows(6, 20, rng, 0.12, 0.5, 0.14)
        image = np.array([0.55, 0.33, 0.26]) * (value + 0.08 * noise(0.8, rng))[..., None]
        return np.where(joint[..., None], [0.62, 0.59, 0.55], image)

    def tiles(count, gap, spread, color):
        def build(rng):
            value, joint = _rows(count, count, rng, gap, 0.0, spread)
            image = np.asarray(color) * (value + 0.05 * noise(1.2, rng))[..., None]
            return np.where(joint[..., None], image * 0.72, image)

        return build

    def planks(up):
        def build(rng):
            value, joint = _rows(2, up, rng, 0.04, 0.37, 0.10)
            grain = 1 + 0.10 * noise(1.1, rng, 8.0)
            image = np.array([0.58, 0.42, 0.28]) * (value * grain)[..., None]
            return np.where(joint[..., None], image * 0.6, image)

        return build

    def wallpaper(rng):
        x = np.mgrid[0:SIDE, 0:SIDE][1] / SIDE
        value = 1 + 0.06 * ((x * 12) % 1 < 0.5) + 0.03 * noise(1.5, rng)
        return np.array([0.74, 0.70, 0.62]) * value[..., None]

    def curtain(rng):
        x = np.mgrid[0:SIDE, 0:SIDE][1] / SIDE
        wave = np.sin(2 * np.pi * (x * 9 + 0.25 * noise(2.2, rng, 0.2)))
        return np.array([0.62, 0.58, 0.52]) * (1 + 0.28 * wave)[..., None]

    def leaves(rng):
        return dead_leaves(rng, _greens(rng), 3, 26, 2600)

    def trees(rng):
        image = dead_leaves(rng, _greens(rng) * 0.8, 3, 40, 1800)
        value = 1 + 0.45 * noise(1.8, rng)
        return image * np.clip(value, 0.15, 1.8)[..., None]

    return {
        "grass": (2.5, grass),
        "meadow": (
            4.0,
            lambda rng: (
                grass(rng) * _mix([1, 1, 1], [1.25, 1.1, 0.9], np.clip(noise(1.4, rng), 0, 1))
            ),
        ),
        "sand": (3.0, plain([0.72, 0.63, 0.49], 1.4, 0.07, 0.04)),
        "earth": (3.0, plain([0.45, 0.36, 0.28], 1.2, 0.16, 0.07)),
        "asphalt": (3.0, plain([0.36, 0.36, 0.37], 1.0, 0.08, 0.07)),
        "concrete": (4.0, plain([0.56, 0.55, 0.53], 1.6, 0.09, 0.03)),
        "snow": (5.0, plain([0.86, 0.88, 0.92], 1.8, 0.05, 0.02)),
        "court": (6.0, plain([0.62, 0.40, 0.30], 1.2, 0.04, 0.02)),
        "water": (
            6.0,
            lambda rng: np.array([0.25, 0.36, 0.42]) * (1 + 0.22 * noise(0.9, rng, 3.0))[..., None],
        ),
        "pavement": (2.4, tiles(6, 0.05, 0.08, [0.55, 0.53, 0.50])),
        "tiles": (1.8, tiles(5, 0.04, 0.03, [0.72, 0.70, 0.66])),
        "planks": (2.2, planks(14)),
        "panels": (2.4, planks(8)),
        "carpet": (3.0, plain([0.46, 0.42, 0.40], 0.7, 0.06, 0.06)),
        "plaster": (4.0, plain([0.78, 0.76, 0.72], 1.9, 0.035, 0.01)),
        "bricks": (1.5, bricks),
        "wallpaper": (2.0, wallpaper),
        "curtain": (2.0, curtain),
        "facade": (9.0, _facade),
        "shelves": (2.2, _shelves),
        "leaves": (2.5, leaves),
        "trees": (9.0, trees),
        "crowd": (9.0, _crowd),
        "clutter": (3.0, lambda rng: dead_leaves(rng, _clutter(rng), 5, 90, 900)),
        "clouds": (
            1.0,
            lambda rng: np.repeat(
                np.clip(0.5 + 0.22 * noise(1.9, rng, 0.5), 0, 1)[..., None], 3, 2
            ),
        ),
    }


@lru_cache(maxsize=1)
def textures():
    """All textures: names -> (number, metres), and the texels (T, 87381) of their `Mipmap`s.

    Each is made in two variants, `name` and `name/2`.
    """
    numbers, stack = {}, []
    for name, (metres, build) in _builders().items():
        for variant in ("", "/2"):
            rng = np.random.default_rng([len(stack), 11])
            image = np.clip(build(rng), 0, 1)
            numbers[name + variant] = (len(stack), metres)
            stack.append(mipmap(np.rint(255 * image).astype(np.uint8)).texels)
    return numbers, np.stack(stack)


_STARTS = mipmap_levels(SIDE, SIDE)[0][:, 0].astype(np.uint32)
TEXELS = mipmap_levels(SIDE, SIDE)[1]
ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _look_up(texels, texture, starts, u, v, span, red, green, blue, table):
    """Texture at (u, v), in periods, where a pixel spans `span` texels: linear colour, tinted."""
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


# --- places ---------------------------------------------------------------------------------

FAR = 1e4  # metres: where a wall stands that is not there
SURFACES = ("floor", "ceiling", "west", "east", "south", "north", "path", "edge", "stain")
NORMALS = np.array([(0, 1, 0), (0, -1, 0), (1, 0, 0), (-1, 0, 0), (0, 0, 1), (0, 0, -1)], float)
_LIT = np.concatenate([NORMALS, [(0, 0.35, 0.94)]])  # and what stands far away
WEATHERS = ("sunny",) * 4 + ("hazy",) * 2 + ("overcast",) * 3 + ("dusk",)
THINGS = ("window",) * 7 + ("picture",) * 6 + ("door",) * 3 + ("shelf",) * 3 + ("none",) * 6
KINDS = ("room", "hall", "street", "wall", "meadow", "woods", "court", "abstract")


def draw_place(kind, rng):
    """A place of a kind, as a recipe: plain numbers, strings and lists.

    Args:
        kind: one of `KINDS`.
        rng: `numpy.random.Generator`.

    Returns:
        dict: kind; bounds (floor, ceiling or the walls' upper edge, west, east, south, north),
        metres, the person standing near the origin; surfaces, texture and tint of each; rects on
        the walls (windows, doors, pictures); layers (rows of trees or houses far away); path; sky;
        and light: sun (direction to it, linear colour, softness in degrees) and the ambient light
        a + b n that falls on a surface of normal n, before exposure.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of place {kind!r}; known are {', '.join(KINDS)}")
    place = _indoors(kind, rng) if kind in ("room", "hall") else _outdoors(kind, rng)
    place["kind"] = str(kind)
    return place


def _pick(rng, *names):
    name = names[rng.integers(len(names))]
    return name + ("/2" if rng.random() < 0.5 else "")


def _tint(rng, spread=0.08, low=0.75, high=1.15):
    """A tint (3,) that makes one texture many: brightness, and a little colour."""
    return rng.uniform(low, high) * np.exp(spread * rng.normal(size=3))


def _wall_color(rng):
    """The tint of a painted wall: mostly near white, at times a muted colour."""
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


def paint(place, camera, exposure=1.0, coarse=1):
    """A picture of a place.

    Args:
        place: from `draw_place`.
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
        _STARTS,
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
