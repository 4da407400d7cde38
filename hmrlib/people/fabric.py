"""What cloth and hair look like close by: patterns, prints, folds, strands."""

from functools import lru_cache

import numpy as np
from numba import njit
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from hmrlib.render.textures import Mipmap, halve_picture, mipmap, mipmap_levels

TEXTURE = 256  # pixels of a cloth's picture, which covers one metre by one metre
SHADES = 32  # brightness steps of each color in a cloth's palette
PATTERNS = (
    *("plain", "melange", "denim", "knit", "stripes", "bars", "pinstripe", "check", "gingham"),
    *("dots", "blossom", "camouflage", "block", "print", "number", "shirt", "zip"),
)


def tile_noise(shape, slope, seed, across=1.0):
    """Noise that tiles, with a spectrum 1 / f^slope: (H, W), mean 0, deviation 1.

    Args:
        across: stretches it: 0.3 makes features long from top to bottom.
    """
    rng = np.random.default_rng(seed)
    fy = np.fft.fftfreq(shape[0])[:, None] * shape[0]
    fx = np.fft.rfftfreq(shape[1])[None] * shape[1] * across
    size = np.maximum(np.hypot(fx, fy), 1e-9)
    spectrum = size**-slope * np.exp(2j * np.pi * rng.random((shape[0], shape[1] // 2 + 1)))
    spectrum *= rng.rayleigh(size=spectrum.shape)
    spectrum[0, 0] = 0
    image = np.fft.irfft2(spectrum, shape)
    return image / image.std()


@lru_cache(maxsize=256)
def pattern(kind, variant):
    """A cloth's picture before it has colors: (TEXTURE, TEXTURE) uint8.

    The number is 32 times the color's place in the palette (0 to 7), plus a shade (0 to 31, 16 is
    the color itself). Rows go up the body, columns around it.

    Args:
        kind: one of `PATTERNS`.
        variant: any whole number; other sizes, other prints.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in PATTERNS:
        raise ValueError(f"unknown pattern {kind!r}; known are {', '.join(PATTERNS)}")
    rng = np.random.default_rng([variant, PATTERNS.index(kind)])
    n = TEXTURE
    y, x = np.mgrid[0:n, 0:n] / n  # metres
    region = np.zeros((n, n), int)
    shade = 1.6 * tile_noise((n, n), 1.6, rng) + 0.7 * rng.normal(size=(n, n))

    def often(low, high):  # a whole number of repeats, so that it tiles
        return int(rng.integers(low, high))

    if kind == "melange":
        shade += 2.2 * rng.normal(size=(n, n)) + 2 * tile_noise((n, n), 0.5, rng, 0.2)
    elif kind == "denim":
        shade += 1.6 * tile_noise((n, n), 0.3, rng, 0.15) + 3.5 * tile_noise((n, n), 2.2, rng)
        shade -= 5 * (np.abs((x * 4) % 1 - 0.5) > 0.49)
    elif kind == "knit":
        shade += 3 * np.sin(2 * np.pi * x * often(40, 64)) + rng.normal(size=(n, n))
    elif kind == "stripes":
        repeats = often(7, 34)
        region[(y * repeats) % 1 < rng.uniform(0.2, 0.6)] = 1
        if rng.random() < 0.3:
            region[((y * repeats + 0.5) % 1 < 0.12)] = 2
    elif kind == "bars":
        region[(x * often(8, 24)) % 1 < rng.uniform(0.3, 0.55)] = 1
    elif kind == "pinstripe":
        region[(x * often(28, 50)) % 1 < 0.16] = 1
    elif kind in ("check", "gingham"):
        repeats = often(6, 18) if kind == "check" else often(16, 40)
        wide = rng.uniform(0.3, 0.5)
        across, up = (x * repeats) % 1 < wide, (y * repeats) % 1 < wide
        region[:] = across.astype(int) + up
        if kind == "check":
            region[((x * repeats + 0.7) % 1 < 0.07) | ((y * repeats + 0.7) % 1 < 0.07)] = 3
    elif kind == "dots":
        repeats = often(14, 40)
        px, py = (x * repeats) % 1 - 0.5, (y * repeats) % 1 - 0.5
        region[np.hypot(px, py) < rng.uniform(0.18, 0.32)] = 1
    elif kind == "blossom":
        fine = tile_noise((n, n), rng.uniform(1.0, 1.5), rng)
        other = tile_noise((n, n), 1.2, rng)
        region[fine > 0.9] = 1
        region[(fine > 1.5) | (other > 1.6)] = 2
        region[other < -1.5] = 3
    elif kind == "camouflage":
        for i in range(1, 4):
            region[tile_noise((n, n), 1.7, rng) > 0.6] = i
    elif kind == "block":
        edge = rng.uniform(0.30, 0.42)
        region[(y > edge) & (y < 0.7)] = 1
        region[np.abs(y - edge) < rng.uniform(0.0, 0.02)] = 2
    elif kind == "print":
        _paste(region, _emblem(rng), rng.uniform(0.30, 0.36), 0.0, rng.uniform(0.12, 0.26))
        if rng.random() < 0.3:
            _paste(region, _emblem(rng), 0.33, 0.5, 0.28)
    elif kind == "number":
        number = str(rng.integers(1, 100))
        _paste(region, _lettering(number), 0.28, 0.0, 0.18)
        _paste(region, _lettering(number), 0.30, 0.5, 0.26)
        if rng.random() < 0.5:
            region[np.abs((x + 0.25) % 0.5 - 0.0) < 0.03] = 2
    elif kind in ("shirt", "zip"):
        middle = np.minimum(x, 1 - x)
        if kind == "shirt":
            shade -= 4 * (np.abs(middle - 0.017) < 0.004)
            shade += 10 * ((middle < 0.006) & ((y * 11) % 1 < 0.1))
            if rng.random() < 0.5:
                region[(x * often(20, 44)) % 1 < 0.2] = 1
        else:
            region[middle < 0.006] = 1
            shade -= 5 * (np.abs(middle - 0.01) < 0.004)
        pocket = (np.abs(np.abs((x + 0.5) % 1 - 0.5) - 0.10) < 0.05) & (np.abs(y - 0.02) < 0.004)
        shade -= 6 * pocket
    return (32 * region + np.clip(np.rint(16 + shade), 0, 31)).astype(np.uint8)


def _lettering(text):
    """Text as a mask, cropped to its ink."""
    font = ImageFont.load_default(96)
    image = Image.new("L", (96 * len(text) + 40, 160))
    ImageDraw.Draw(image).text((20, 20), text, 255, font=font)
    return np.asarray(image.crop(image.getbbox())) > 127


def _emblem(rng):
    """A made-up logo: a shape, or syllables, or both."""
    syllables = ("ka", "lo", "ri", "no", "va", "te", "su", "mo", "pe", "zu", "an", "or")
    word = "".join(rng.choice(syllables, rng.integers(1, 4))).upper()
    letters = _lettering(word)
    if rng.random() < 0.4:
        return letters
    size = letters.shape[1]
    image = Image.new("L", (size, size))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.integers(1, 4)):
        corners = [tuple(p) for p in rng.uniform(0, size, (rng.integers(3, 6), 2))]
        if rng.random() < 0.5:
            pen.polygon(corners, 255)
        else:
            pen.ellipse([*np.min(corners, 0), *np.max(corners, 0)], 0, 255, int(size / 9))
    if rng.random() < 0.5:
        return np.asarray(image) > 127
    return np.concatenate([np.asarray(image) > 127, np.zeros((size // 9, size), bool), letters])


def _paste(region, mask, up, around, width):
    """Put a mask into the picture of a cloth: center `up`, `around`, and `width`, in metres."""
    columns = max(4, round(width * TEXTURE))
    rows = max(3, round(columns * mask.shape[0] / mask.shape[1]))
    image = Image.fromarray(mask).convert("L").resize((columns, rows), Image.Resampling.BOX)
    ink = np.asarray(image)[::-1] > 110  # the picture's rows go up
    i = (np.arange(rows) + round(up * TEXTURE) - rows // 2) % TEXTURE
    j = (np.arange(columns) + round(around * TEXTURE) - columns // 2) % TEXTURE
    region[np.ix_(i, j)] = np.where(ink, 1, region[np.ix_(i, j)])


def dye(kind, variant, colors, step=1):
    """A cloth's texture: (n, n, 3) uint8 sRGB, n = TEXTURE / step, one metre by one metre.

    Args:
        kind, variant: of `pattern`.
        colors: up to 8 sRGB colors (0 to 1); regions without one take the last.
        step: leave out pixels where the picture is seen from afar.
    """
    return (255 * _palette(colors)).astype(np.uint8)[pattern(kind, variant)[::step, ::step]]


def _palette(colors):
    """Colors (n, 3) and `SHADES` of each: (256, 3) sRGB, 0 to 1."""
    colors = np.array([*colors, *[colors[-1]] * (8 - len(colors))])  # (8, 3)
    return np.clip(colors[:, None] * BRIGHTNESS[:, None], 0, 1).reshape(-1, 3)


BRIGHTNESS = (1 + (np.arange(SHADES) - 16) * 0.022).astype(np.float32)


def tinted(indices, step, colors, brightness):
    """A cloth's picture (n, n), every `step`th pixel, in colors (8 or fewer, 3): a `Mipmap`.

    brightness: (S,); number k of the picture is color k // S, as bright as shade k % S.
    """
    side = len(indices) // step
    levels, size = mipmap_levels(side, side)
    texels = np.empty(size, np.uint32)
    _color_in(indices, step, np.asarray(colors, np.float32), brightness, texels, levels)
    return Mipmap(texels, levels)


@njit(nogil=True, cache=True)
def _color_in(indices, step, colors, brightness, texels, levels):
    table, full = np.empty(256, np.uint32), np.float32(255)
    for k in range(256):
        color = colors[min(k // brightness.shape[0], colors.shape[0] - 1)]
        texel = np.uint32(0)
        for c in range(3):
            value = color[c] * brightness[k % brightness.shape[0]] * full
            texel |= np.uint32(min(max(value, np.float32(0)), full)) << np.uint32(8 * c)
        table[k] = texel
    side = indices.shape[1] // step
    for i in range(side):
        for j in range(side):
            texels[i * side + j] = table[indices[i * step, j * step]]
    halve_picture(texels, levels)


@lru_cache(maxsize=16)
def folds(variant, step=1):
    """Folds of cloth as a height map, one metre by one metre: (n, n) about 0 to 1, tiles."""
    n = TEXTURE // step
    rng = np.random.default_rng([7, variant])
    total = np.zeros((n, n))
    for angle in rng.uniform(-0.9, 0.9, 3) + np.pi * (rng.random(3) < 0.25):
        fy, fx = np.fft.fftfreq(n)[:, None] * n, np.fft.rfftfreq(n)[None] * n
        along = np.cos(angle) * fx - np.sin(angle) * fy
        across = np.sin(angle) * fx + np.cos(angle) * fy
        band = np.exp(-(((np.hypot(along * 2.6, across) - 9) / 5) ** 2))
        spectrum = band * np.exp(2j * np.pi * rng.random(band.shape))
        ridge = np.fft.irfft2(spectrum, (n, n))
        ridge /= ridge.std()
        total += np.maximum(ridge, 0) ** 1.3 - 0.35 * np.abs(ridge)
    total = ndimage.gaussian_filter(total, n / 256, mode="wrap")
    low, high = np.percentile(total, [2, 98])
    return np.clip((total - low) / (high - low), -0.2, 1.2).astype(np.float32)


@lru_cache(maxsize=512)
def relief(variant, depth, step):
    """`folds` as a bump map, `depth` metres deep."""
    return mipmap(np.float32(depth) * folds(variant, step))


@lru_cache(maxsize=8)
def strands(variant):
    """Hair: its brightness (64, 64) uint8, places in `STRENGTHS`, tiles; and as a bump map."""
    noise = tile_noise((64, 64), 0.9, [3, variant], 0.12)
    brightness = np.clip(np.rint(128 * (1 + 0.22 * noise)), 0, 255).astype(np.uint8)
    return brightness, mipmap((0.0004 * noise).astype(np.float32))


STRENGTHS = (np.arange(256) / 128).astype(np.float32)  # of a color of hair
