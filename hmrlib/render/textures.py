"""Textures and bump maps: pictures that cover a mesh, kept with their halved copies.

Textures are filtered in encoded values and decoded to linear ones, by the tables of sRGB's curve
that all of the room uses.
"""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from hmrlib.render.jit import compiled, inlined
from hmrlib.render.rasterizer import ONE, edges

HALF = np.float32(0.5)
DECODING_STEPS = 16  # of the table that decodes, for each step of 8 bits
FRACTION = 4  # bits that `mix_texels` has beyond the table


def to_linear(shown):
    """What is displayed, in [0, 1], as linear light, by sRGB's transfer curve (IEC 61966-2-1)."""
    return np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)


def _tables():
    """sRGB's transfer curve (IEC 61966-2-1), there and back, as tables.

    Encoding: linear light in [0, 1], in 4095 steps, to what is displayed, 0 to 255.  Decoding:
    what is displayed, in steps of 1 / DECODING_STEPS, to linear light.
    """
    linear = np.linspace(0, 1, 4096)
    encoded = np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    shown = np.linspace(0, 1, 255 * DECODING_STEPS + 1)
    return (255 * encoded).astype(np.float32), to_linear(shown).astype(np.float32)


ENCODING, DECODING = _tables()


@dataclass(frozen=True, eq=False)
class Mipmap:
    """A picture that covers a mesh, and its halved copies for where it is seen small.

    Williams, "Pyramidal parametrics" (1983).  Made by `mipmap`.

    Attributes:
        texels: (T,) uint32 packed colours, or (T, 2) float32 slopes of a bump map, of all levels.
        levels: (L, 3) first texel, height and width of each level.
    """

    texels: np.ndarray
    levels: np.ndarray


def mipmap(picture) -> Mipmap:
    """Prepare a texture or a bump map, once for all meshes that wear it.

    Args:
        picture: (h, w, 3) uint8 sRGB, or (h, w) floats, heights in metres.

    Raises:
        ValueError: neither of the two, or heights that are not finite.
    """
    picture = np.asarray(picture)
    is_color = picture.ndim == 3 and picture.shape[-1] == 3 and picture.dtype == np.uint8
    is_bump = picture.ndim == 2 and picture.dtype.kind == "f"
    if not (is_color or is_bump) or not picture.size:
        raise ValueError(
            "a texture must be uint8 (h, w, 3), a bump map floats (h, w); "
            f"found {picture.dtype} {picture.shape}."
        )
    levels, size = mipmap_levels(*picture.shape[:2])
    if is_color:
        texels, colors = np.empty(size, np.uint32), picture.reshape(-1, 3).astype(np.uint32)
        texels[: len(colors)] = colors[:, 0] | colors[:, 1] << 8 | colors[:, 2] << 16
        halve_picture(texels, levels)
        return Mipmap(texels, levels)
    if not np.isfinite(picture).all():
        raise ValueError("a bump map's heights must be finite.")
    return Mipmap(_slopes(picture.astype(np.float32), len(levels)), levels)


def _slopes(heights, num_levels):
    """The slopes of heights (h, w) along u and v, a texture's width being 1, of all levels."""
    along_u = (np.roll(heights, -1, 1) - np.roll(heights, 1, 1)) * np.float32(heights.shape[1] / 2)
    along_v = (np.roll(heights, -1, 0) - np.roll(heights, 1, 0)) * np.float32(heights.shape[0] / 2)
    level = np.stack([along_u, along_v], -1)
    levels = [level]
    for _ in range(1, num_levels):
        level = level[: level.shape[0] // 2 * 2, : level.shape[1] // 2 * 2]
        upper, lower = level[::2], level[1::2]
        level = upper[:, ::2] + upper[:, 1::2] + lower[:, ::2] + lower[:, 1::2]
        level = np.float32(0.25) * level
        levels.append(level)
    return np.concatenate([level.reshape(-1, 2) for level in levels])


@cache
def mipmap_levels(height, width):
    """`Mipmap.levels` of a picture, and the number of texels of them all."""
    levels, first = [], 0
    while True:
        levels.append((first, height, width))
        first += height * width
        if min(height, width) == 1:
            return np.array(levels, np.int64), first
        height, width = height // 2, width // 2


@compiled
def halve_picture(texels, levels):
    """Fill the smaller levels of a picture from its first one.

    Red and blue are reckoned in one number, as each has 16 bits of it.
    """
    even, carry = np.uint32(0xFF00FF), np.uint32(0x20002)
    two, eight = np.uint32(2), np.uint32(8)
    for level in range(1, levels.shape[0]):
        above, _, from_width = levels[level - 1]
        here, height, width = levels[level]
        for i in range(height):
            upper = texels[above + 2 * i * from_width :]
            lower = texels[above + (2 * i + 1) * from_width :]
            for j in range(width):
                p, q, r, s = upper[2 * j], upper[2 * j + 1], lower[2 * j], lower[2 * j + 1]
                red_blue = (p & even) + (q & even) + (r & even) + (s & even) + carry
                green = ((p >> eight) & even) + ((q >> eight) & even)
                green += ((r >> eight) & even) + ((s >> eight) & even) + carry
                texels[here + i * width + j] = ((red_blue >> two) & even) | (
                    ((green >> two) & even) << eight
                )


class Texels(NamedTuple):
    """The four texels around a place, by number, and how far it lies between them.

    Attributes:
        upper_left, upper_right, lower_left, lower_right: uint32.
        x, y: 0 to 255, of 256 parts.
    """

    upper_left: np.uint32
    upper_right: np.uint32
    lower_left: np.uint32
    lower_right: np.uint32
    x: np.uint32
    y: np.uint32


class Places(NamedTuple):
    """Where fragments lie in the pictures that cover their meshes, each array (N,) float32.

    For fragments of meshes without `uv`, they are undefined.

    Attributes:
        u, v: the place; 1 is the whole picture.
        density: how much of the picture's area falls on a pixel.
    """

    u: np.ndarray
    v: np.ndarray
    density: np.ndarray


@inlined
def _level(density, levels):
    """First texel, height and width of the level whose texels are about as large as a pixel.

    density: how much of the texture's area falls on a pixel.
    """
    crowd = density * np.float32(levels[0, 1] * levels[0, 2])
    level = 0
    while crowd > 2 and level + 1 < levels.shape[0]:
        crowd *= np.float32(0.25)
        level += 1
    return np.uint32(levels[level, 0]), np.uint32(levels[level, 1]), np.uint32(levels[level, 2])


@inlined
def four_texels(u, v, level):
    """The four texels around a point of a picture that repeats, and how far it lies between them.

    Args:
        u, v: the point; 1 is the whole picture.
        level: the picture's first texel, its height and width, uint32.

    Returns:
        `Texels`.
    """
    first, height, width = level
    one, eight, parts = np.uint32(1), np.uint32(8), np.uint32(0xFF)
    x = (u - np.floor(u)) * np.float32(width) + (np.float32(width) - HALF)  # up to twice the size
    y = (v - np.floor(v)) * np.float32(height) + (np.float32(height) - HALF)
    fixed_x, fixed_y = np.uint32(x * np.float32(256) + HALF), np.uint32(y * np.float32(256) + HALF)
    left, top = fixed_x >> eight, fixed_y >> eight
    left = left - width if left >= width else left
    top = top - height if top >= height else top
    right = left + one if left + one < width else np.uint32(0)
    bottom = top + one if top + one < height else np.uint32(0)
    upper, lower = first + top * width, first + bottom * width
    return Texels(
        upper + left,
        upper + right,
        lower + left,
        lower + right,
        fixed_x & parts,
        fixed_y & parts,
    )


@inlined
def mix_texels(texels, place):
    """The colour between the packed texels of `four_texels`: red, green, blue, 256 for each step.

    Red and blue are reckoned in one number, as each has 16 bits of it.
    """
    p, q, r, s, x, y = place
    even, parts, eight = np.uint32(0xFF00FF), np.uint32(0xFF), np.uint32(8)
    of_s = (x * y + np.uint32(128)) >> eight
    of_q, of_r = x - of_s, y - of_s
    of_p = np.uint32(256) - x - of_r
    p, q, r, s = texels[p], texels[q], texels[r], texels[s]
    red_blue = (p & even) * of_p + (q & even) * of_q + (r & even) * of_r + (s & even) * of_s
    green = (
        ((p >> eight) & parts) * of_p
        + ((q >> eight) & parts) * of_q
        + ((r >> eight) & parts) * of_r
        + ((s >> eight) & parts) * of_s
    )
    return red_blue & np.uint32(0xFFFF), green, red_blue >> np.uint32(16)


@compiled
def find_places(face_of, hits, faces, uv, pixel_area, places):
    """Fill the `Places` of fragments.

    Args:
        face_of: (N,) their faces; hits: their `shading.Hits`.
        faces, uv: of all meshes.
        pixel_area: of a pixel in the picture, in square SUBPIXELths.
    """
    to_u, to_v, density = places
    weights, inverse_area = hits.weights, hits.inverse_area
    for g in range(face_of.shape[0]):
        f = face_of[g]
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        u, v = uv[a, 0], uv[a, 1]
        pu, pv, qu, qv = uv[b, 0] - u, uv[b, 1] - v, uv[c, 0] - u, uv[c, 1] - v
        to_u[g] = u + weights[1, g] * pu + weights[2, g] * qu
        to_v[g] = v + weights[1, g] * pv + weights[2, g] * qv
        density[g] = abs(pu * qv - pv * qu) * inverse_area[g] * pixel_area


@compiled
def apply_texture(rows, places, texels, levels, decoding, albedo):
    """Multiply the colour of a mesh's fragments by its texture.

    Args:
        rows: (n,) which fragments are its own.
        places: `Places` of all.
        texels, levels: of the `Mipmap`.
        decoding: DECODING; albedo: (3, N), changed in place.
    """
    u, v, density = places
    fraction, half = np.uint32(FRACTION), np.uint32(1 << (FRACTION - 1))
    for n in range(rows.shape[0]):
        g = rows[n]
        place = four_texels(u[g], v[g], _level(density[g], levels))
        red, green, blue = mix_texels(texels, place)
        albedo[0, g] *= decoding[(red + half) >> fraction]
        albedo[1, g] *= decoding[(green + half) >> fraction]
        albedo[2, g] *= decoding[(blue + half) >> fraction]


@compiled
def apply_bumps(rows, places, slopes, levels, face_of, geometry, normal):
    """Tilt the normals of a mesh's fragments by its bump map.

    Mikkelsen, "Bump mapping unparametrized surfaces on the GPU" (2010): the normal is lessened by
    the gradient of the height along the surface.

    Args:
        rows, places: as for `apply_texture`.
        slopes, levels: of the `Mipmap`.
        face_of: (N,); geometry: `Geometry`.
        normal: (3, N) unit normals, changed in place.
    """
    vertices, faces, uv = geometry.vertices, geometry.faces, geometry.uv
    u, v, density = places
    for n in range(rows.shape[0]):
        g = rows[n]
        if density[g] <= 0:
            continue
        place = four_texels(u[g], v[g], _level(density[g], levels))
        slope_u, slope_v = _mix_slopes(slopes, place)
        # The face's edges in the world, their normal, and the edges in the texture.
        f = face_of[g]
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        (px, py, pz), (qx, qy, qz), (nx, ny, nz) = edges(vertices, a, b, c)
        pu, pv = uv[b, 0] - uv[a, 0], uv[b, 1] - uv[a, 1]
        qu, qv = uv[c, 0] - uv[a, 0], uv[c, 1] - uv[a, 1]
        # Heights along the two edges, and from them the gradient in the face's plane.
        rise_p, rise_q = slope_u * pu + slope_v * pv, slope_u * qu + slope_v * qv
        square = nx * nx + ny * ny + nz * nz
        scale = ONE / max(square, np.float32(1e-30))
        gx = (rise_p * (qy * nz - qz * ny) + rise_q * (ny * pz - nz * py)) * scale
        gy = (rise_p * (qz * nx - qx * nz) + rise_q * (nz * px - nx * pz)) * scale
        gz = (rise_p * (qx * ny - qy * nx) + rise_q * (nx * py - ny * px)) * scale
        outer = normal[0, g] * nx + normal[1, g] * ny + normal[2, g] * nz > 0
        side = ONE if outer else -ONE
        x, y = normal[0, g] - side * gx, normal[1, g] - side * gy
        z = normal[2, g] - side * gz
        scale = ONE / np.sqrt(x * x + y * y + z * z)
        normal[0, g], normal[1, g], normal[2, g] = x * scale, y * scale, z * scale


@inlined
def _mix_slopes(slopes, place):
    """The slopes (T, 2) between four texels."""
    x, y = np.float32(place.x) * np.float32(1 / 256), np.float32(place.y) * np.float32(1 / 256)
    part_p, part_q = (ONE - x) * (ONE - y), x * (ONE - y)
    part_r, part_s = (ONE - x) * y, x * y
    p, q, r, s = place.upper_left, place.upper_right, place.lower_left, place.lower_right
    along_u = part_p * slopes[p, 0] + part_q * slopes[q, 0]
    along_u = along_u + part_r * slopes[r, 0] + part_s * slopes[s, 0]
    along_v = part_p * slopes[p, 1] + part_q * slopes[q, 1]
    along_v = along_v + part_r * slopes[r, 1] + part_s * slopes[s, 1]
    return along_u, along_v
