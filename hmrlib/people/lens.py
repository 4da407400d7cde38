"""What a camera adds to a picture: blur, motion, color, vignette and noise."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit

from hmrlib.people.draws import clamp, pick
from hmrlib.people.recipe import Lens, rounded

GRAIN = 32  # of the noise's numbers, one deviation


def draw_lens(rng):
    """Draw a `Lens`; a few pictures are taken at night."""
    night = rng.random() < 0.07
    balance = np.exp(rng.normal(0, 0.035, 3))
    least = 0.0 if rng.random() < 0.03 else 0.5  # of the saturation
    lens = Lens(
        exposure=np.exp(rng.normal(0.05, 0.22)) * (0.7 if night else 1),
        balance=balance / balance.mean(),
        contrast=rng.normal(1.06, 0.10),
        saturation=clamp(rng.normal(1.02, 0.16), least, 1.4),
        vignette=rng.uniform(0, 0.35) if rng.random() < 0.5 else 0.0,
        coarse=pick(rng, {1: 0.3, 2: 0.42, 3: 0.18, 4: 0.10}),
        blur=abs(rng.normal(0.3, 0.22)),
        motion=rng.normal(0, 2.2, 2) if rng.random() < 0.12 else [0.0, 0.0],
        noise=rng.gamma(2.0, 1.1) * (1.8 if night else 0.8),
        grain=rng.integers(1 << 16),
        quality=int(clamp(rng.normal(82, 12), 35, 96)),
    )
    return rounded(lens)


@lru_cache(maxsize=1)
def _grain():
    """Noise of a sensor, (3, 512, 512) int8: a little softened, deviation `GRAIN`; tiles."""
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(512, 512, 3)) * 0.75 + rng.normal(size=(512, 512, 1)) * 0.65
    noise = noise + 0.45 * (np.roll(noise, 1, 0) + np.roll(noise, 1, 1))
    noise = np.clip(np.rint(noise * (GRAIN / noise.std())), -127, 127).astype(np.int8)
    return np.ascontiguousarray(noise.transpose(2, 0, 1))


class Effects(NamedTuple):
    """A `Lens` for `_develop`: blur is the deviation, pixels; grain which part of the noise."""

    blur: float
    motion: np.ndarray
    balance: np.ndarray
    contrast: float
    saturation: float
    vignette: float
    noise: float
    grain: int


def camera_effects(image, lens, soft=0.0):
    """Blur, color, vignette and noise of a recipe's lens, for the whole picture alike.

    Args:
        image: (H, W, 3) uint8; lens: the recipe's `Lens`; soft: pixels of more blur.

    Returns:
        (H, W, 3) uint8.
    """
    out = np.empty_like(image)
    effects = Effects(
        np.hypot(lens.blur, soft),
        np.array(lens.motion, np.float32),
        np.array(lens.balance, np.float32),
        np.float32(lens.contrast),
        np.float32(lens.saturation),
        np.float32(lens.vignette),
        np.float32(lens.noise) / np.float32(GRAIN),
        lens.grain,
    )
    _develop(image, effects, _grain(), out)
    return out


@njit(nogil=True, cache=True, error_model="numpy")
def _develop(image, effects, grain, out):
    """See `camera_effects`.

    Rows are taken as (3 W,) numbers, so that loops run on vectors.
    """
    sigma, motion, balance = effects.blur, effects.motion, effects.balance
    contrast, saturation, noise = effects.contrast, effects.saturation, effects.noise
    vignette, seed = effects.vignette, effects.grain
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
