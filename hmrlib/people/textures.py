"""Surfaces of places and furniture, made and not loaded.

Noise with a natural 1 / f spectrum, dead leaves (discs that occlude one another, as things in
pictures do), bricks, planks, grass, facades. Each is kept with its mipmaps, so that what is far
away does not flicker.
"""

from functools import lru_cache

import numpy as np

from hmrlib.people.fabric import tile_noise
from hmrlib.render.textures import mipmap, mipmap_levels

SIDE = 256  # pixels of a texture
LEVELS = 9  # 256, 128, ... 1


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


STARTS = mipmap_levels(SIDE, SIDE)[0][:, 0].astype(np.uint32)
TEXELS = mipmap_levels(SIDE, SIDE)[1]
