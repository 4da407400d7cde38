"""From what each sample sees to a picture: fragments, light and colour; compiled by numba.

A fragment is what one surface gives to one pixel: all the pixel's samples that see the same face,
or, where `merge` allows it, the same mesh at about the same depth.  Colour is worked out once a
fragment, in passes over plain arrays of N fragments:

    find_fragments  group the samples of each pixel
    intersect       where on their faces they lie
    blend           normals and colours, from the vertices
    diffuse         light from the sky and from lights on a matt surface
    add_gloss       what a smooth one mirrors
    composite       encode for display, average, and lay over the background

Light is computed in linear values.  As in the rasteriser, arguments are trusted.
"""

from typing import NamedTuple

import numpy as np

from hmrlib.render.jit import compiled, inlined
from hmrlib.render.rasterizer import (
    NOTHING,
    ONE,
    OUTSIDE,
    SHIFT,
    SUBPIXEL,
    ZERO,
    hit,
    wide_hit,
)

HALF = np.float32(0.5)
FULL = np.float32(255)


class Geometry(NamedTuple):
    """All meshes of a scene in one: V vertices, F faces.

    Attributes:
        vertices, normals: (V, 3) float32, normals of any length.
        faces: (F, 3) uint32.
        colors: (V or 1, 3) float32 sRGB in [0, 1].
        uv: (V or 0, 2) float32.
        labels: (F,) int32, -1 where a mesh has none; or of no size if none has any.
        mesh_of_face: (F,) int32.
        first_faces: (M + 1,) of each mesh; two_sided: (M,) bool.
    """

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    colors: np.ndarray
    uv: np.ndarray
    labels: np.ndarray
    mesh_of_face: np.ndarray
    first_faces: np.ndarray
    two_sided: np.ndarray


class Box(NamedTuple):
    """Pixels to draw, half open."""

    top: int
    bottom: int
    left: int
    right: int


class Pixels(NamedTuple):
    """What each pixel of the rows of a box shows, each array (h, W).

    Attributes:
        inverse_depth: float32, of the nearest sample; NOTHING where none sees a face.
        face: uint32, which that sees; undefined where none does.
        sample: uint8, which one that is.
        covered: uint8, how many samples see a face.
    """

    inverse_depth: np.ndarray
    face: np.ndarray
    sample: np.ndarray
    covered: np.ndarray


class Fragments(NamedTuple):
    """Surfaces seen in pixels, each array (N,), in the order of the pixels.

    Attributes:
        pixel: int32, row times the picture's width plus column.
        count: int32, of samples.
        face: uint32.
        x, y: int32, the mean of the samples' places in the picture, in SUBPIXELths of a sample.
    """

    pixel: np.ndarray
    count: np.ndarray
    face: np.ndarray
    x: np.ndarray
    y: np.ndarray


class Hits(NamedTuple):
    """Where on their faces fragments lie; float32.

    Attributes:
        weights: (3, N) of the face's corners, correct in perspective.
        depth: (N,) metres.
        side: (N,) 1 where the outer side is seen, or -1.
        inverse_area: (N,) see `rasterizer.Hit`.
    """

    weights: np.ndarray
    depth: np.ndarray
    side: np.ndarray
    inverse_area: np.ndarray


class Surface(NamedTuple):
    """What fragments are like and what reaches them; float32.

    Attributes:
        position: (3, N) in the world; of no size if no pass wants it.
        normal: (3, N) unit, towards the viewer's side.
        albedo: (3, N) linear colour.
        sun_visibility, ambient_visibility: (N,) how much of the first light and of the sky is seen
            from there, 0 to 1.
    """

    position: np.ndarray
    normal: np.ndarray
    albedo: np.ndarray
    sun_visibility: np.ndarray
    ambient_visibility: np.ndarray


class Lighting(NamedTuple):
    """Light on a scene; float32, linear.

    Attributes:
        sky: (10, 3) polynomial of the normal; see `lights.irradiance_polynomial`.
        directions: (L, 3) unit, towards each light; colors: (L, 3).
        wrap: how far light reaches around a body, 0 to 1.
    """

    sky: np.ndarray
    directions: np.ndarray
    colors: np.ndarray
    wrap: np.float32


def _finder(supersample):
    """`find_fragments` for one number of samples; knowing it, the compiler makes it faster."""
    num_samples = supersample * supersample
    middle = ((supersample - 1) << SHIFT) // 2  # from the first sample's to that of all

    @compiled
    def find_fragments(box, limit, orthographic, samples, mesh_of_face, pixels, fragments):
        """Group the samples of each pixel of `box` into fragments; return how many there are.

        Args:
            box: `Box`; the samples and pixels begin at row `top`.
            limit: up to which difference of inverse depth, as a part of it unless `orthographic`,
                samples of one mesh make one fragment; below 0, only samples of one face do.
            samples: `ZBuffer`.
            mesh_of_face: (F,).
            pixels: `Pixels`, filled within `box`.
            fragments: `Fragments`, with room for all samples.
        """
        inverse_depth, face = samples
        pixel_depth, pixel_face, pixel_sample, pixel_covered = pixels
        to_pixel, to_count, to_face, to_x, to_y = fragments
        top, bottom, left, right = box
        width, found = pixel_covered.shape[1], np.uint32(0)
        near_of, face_of = np.empty(num_samples, np.float32), np.empty(num_samples, np.uint32)
        for row in range(top, bottom):
            i = np.uint32(row - top)  # unsigned, so that numba tests for no negative index
            first_row = i * np.uint32(supersample)
            for column in range(left, right):
                j, first_column = np.uint32(column), np.uint32(column * supersample)
                nearest = NOTHING
                for k in range(num_samples):
                    down, across = np.uint32(k // supersample), np.uint32(k % supersample)
                    near = inverse_depth[first_row + down, first_column + across]
                    nearest = max(nearest, near)
                pixel_depth[i, j], pixel_covered[i, j] = nearest, 0
                if nearest == NOTHING:
                    continue
                best, seen, alike = num_samples, 0, True
                for k in range(num_samples):
                    down, across = np.uint32(k // supersample), np.uint32(k % supersample)
                    near_of[k] = inverse_depth[first_row + down, first_column + across]
                    face_of[k] = face[first_row + down, first_column + across]
                    best = min(best, k if near_of[k] == nearest else num_samples)
                    seen += 1 if near_of[k] > NOTHING else 0
                    alike &= face_of[k] == face_of[0]
                pixel_face[i, j], pixel_sample[i, j] = face_of[best], best
                pixel_covered[i, j] = seen
                corner_x = ((column * supersample) << SHIFT) + SUBPIXEL // 2
                corner_y = ((row * supersample) << SHIFT) + SUBPIXEL // 2
                if alike and seen == num_samples:  # as is most often the case
                    to_pixel[found], to_count[found] = row * width + column, num_samples
                    to_face[found] = face_of[0]
                    to_x[found], to_y[found] = corner_x + middle, corner_y + middle
                    found += np.uint32(1)
                    continue
                grouped = 0  # bits of the samples that belong to a fragment already
                for k in range(num_samples):
                    if (grouped >> k) & 1 or near_of[k] == NOTHING:
                        continue
                    f, mesh = face_of[k], mesh_of_face[face_of[k]]
                    reach = limit if orthographic else limit * near_of[k]
                    members, x, y = 0, 0, 0
                    for other in range(k, num_samples):
                        if (grouped >> other) & 1 or near_of[other] == NOTHING:
                            continue
                        if face_of[other] == f or (
                            abs(near_of[other] - near_of[k]) <= reach
                            and mesh_of_face[face_of[other]] == mesh
                        ):
                            grouped |= 1 << other
                            members += 1
                            x += other % supersample
                            y += other // supersample
                    to_pixel[found] = row * width + column
                    to_count[found], to_face[found] = members, f
                    # the samples' middles, on average
                    x, y = np.uint32(x << SHIFT), np.uint32(y << SHIFT)
                    x, y = x // np.uint32(members), y // np.uint32(members)
                    to_x[found], to_y[found] = corner_x + x, corner_y + y
                    found += np.uint32(1)
        return found

    return find_fragments


find_fragments = {supersample: _finder(supersample) for supersample in (1, 2, 4)}


@compiled
def intersect(fragments, faces, projected, orthographic, hits):
    """Find where on their faces fragments lie: fill `Hits`."""
    face_of, place_x, place_y = fragments.face, fragments.x, fragments.y
    x, y, near = projected.x, projected.y, projected.inverse_depth
    weights, depth, side, inverse_area = hits
    for g in range(face_of.shape[0]):
        f = face_of[g]
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        if x[a] == OUTSIDE or x[b] == OUTSIDE or x[c] == OUTSIDE:
            met = wide_hit((a, b, c), place_x[g], place_y[g], projected, orthographic)
        else:
            met = hit(
                (x[a], y[a], near[a]),
                (x[b], y[b], near[b]),
                (x[c], y[c], near[c]),
                place_x[g],
                place_y[g],
                orthographic,
            )
        weights[0, g], weights[1, g], weights[2, g] = met.weights
        depth[g], inverse_area[g] = met.depth, met.inverse_area
        side[g] = ONE if met.outer else -ONE


@compiled
def blend(face_of, weights, faces, values, out):
    """The vertices' values (V, 3) at fragments, by the weights (3, N) of their faces' corners.

    Args:
        face_of: (N,); out: (3, N) result.
    """
    for g in range(face_of.shape[0]):
        f = face_of[g]
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        weight_a, weight_b, weight_c = weights[0, g], weights[1, g], weights[2, g]
        for k in range(3):
            out[k, g] = weight_a * values[a, k] + weight_b * values[b, k] + weight_c * values[c, k]


@compiled
def turn_to_viewer(side, normal):
    """Bring normals (3, N) to unit length, turned round where their side (N,) is -1."""
    for g in range(side.shape[0]):
        x, y, z = normal[0, g], normal[1, g], normal[2, g]
        scale = side[g] / np.sqrt(x * x + y * y + z * z + np.float32(1e-30))
        normal[0, g], normal[1, g], normal[2, g] = x * scale, y * scale, z * scale


@compiled
def locate(fragments, depth, view, position):
    """Where in the world fragments are: position (3, N), from their depth (N,) in a `View`."""
    pose, focal, center_x, center_y, orthographic = view
    place_x, place_y, scale = fragments.x, fragments.y, ONE / focal
    for g in range(depth.shape[0]):
        spread = scale if orthographic else scale * depth[g]
        x = (np.float32(place_x[g]) * np.float32(1 / SUBPIXEL) - center_x) * spread
        y = (np.float32(place_y[g]) * np.float32(1 / SUBPIXEL) - center_y) * spread
        x, y, z = x - pose[0, 3], y - pose[1, 3], depth[g] - pose[2, 3]
        for k in range(3):
            position[k, g] = pose[0, k] * x + pose[1, k] * y + pose[2, k] * z


@inlined
def irradiance(sky, k, x, y, z):
    """Light from the sky on a surface with normal x, y, z; see `lights.irradiance_polynomial`."""
    return (
        sky[0, k]
        + sky[1, k] * x
        + sky[2, k] * y
        + sky[3, k] * z
        + x * (sky[4, k] * x + sky[5, k] * y + sky[6, k] * z)
        + y * (sky[7, k] * y + sky[8, k] * z)
        + sky[9, k] * z * z
    )


@compiled
def diffuse(surface, lighting, light):
    """Light (3, N) that matt fragments give back: the sky's, as far as it is seen, and lights'."""
    sky, directions, colors, wrap = lighting
    _, normal, albedo, sun_visibility, ambient_visibility = surface
    inverse_wrap = ONE / (ONE + wrap)
    for g in range(light.shape[1]):
        x, y, z = normal[0, g], normal[1, g], normal[2, g]
        clear, sunlit = ambient_visibility[g], sun_visibility[g]
        red = clear * max(irradiance(sky, 0, x, y, z), ZERO)
        green = clear * max(irradiance(sky, 1, x, y, z), ZERO)
        blue = clear * max(irradiance(sky, 2, x, y, z), ZERO)
        for n in range(directions.shape[0]):
            cosine = x * directions[n, 0] + y * directions[n, 1] + z * directions[n, 2]
            lit = max((cosine + wrap) * inverse_wrap, ZERO) * sunlit
            red += lit * colors[n, 0]
            green += lit * colors[n, 1]
            blue += lit * colors[n, 2]
        light[0, g] = red * albedo[0, g]
        light[1, g] = green * albedo[1, g]
        light[2, g] = blue * albedo[2, g]


@compiled
def add_gloss(surface, gloss, view, lighting, light):
    """Add what the surface mirrors of the lights and, blurred, of the sky.

    Blinn's half vector with Schlick's rational stand-in for the power and his Fresnel term
    ("An inexpensive BRDF model for physically-based rendering", 1994).

    Args:
        gloss: (N,) of each fragment, 0 to 1.
        light: (3, N), changed in place.
    """
    pose, orthographic = view.pose, view.orthographic
    sky, lights, colors, _ = lighting
    position, normal, _, sun_visibility, ambient_visibility = surface
    ex = -(pose[0, 0] * pose[0, 3] + pose[1, 0] * pose[1, 3] + pose[2, 0] * pose[2, 3])
    ey = -(pose[0, 1] * pose[0, 3] + pose[1, 1] * pose[1, 3] + pose[2, 1] * pose[2, 3])
    ez = -(pose[0, 2] * pose[0, 3] + pose[1, 2] * pose[1, 3] + pose[2, 2] * pose[2, 3])
    base = np.float32(0.04)
    last_shine, power = ZERO, ONE
    for g in range(gloss.shape[0]):
        shine = gloss[g]
        if shine == 0:
            continue
        if shine != last_shine:
            last_shine = shine
            power = np.float32(4) * np.float32(2) ** (np.float32(5) * shine)
        x, y, z = normal[0, g], normal[1, g], normal[2, g]
        vx, vy, vz = -pose[2, 0], -pose[2, 1], -pose[2, 2]
        if not orthographic:
            vx, vy = ex - position[0, g], ey - position[1, g]
            vz = ez - position[2, g]
        scale = ONE / np.sqrt(vx * vx + vy * vy + vz * vz)
        vx, vy, vz = vx * scale, vy * scale, vz * scale
        facing = max(x * vx + y * vy + z * vz, ZERO)
        # Fresnel's rise towards the edge, weaker on a rough
        mirrored = ambient_visibility[g] * (
            base + shine * (ONE - base) * _fifth_power(ONE - facing)
        )
        twice = facing + facing
        rx, ry, rz = twice * x - vx, twice * y - vy, twice * z - vz
        for k in range(3):
            light[k, g] += mirrored * max(irradiance(sky, k, rx, ry, rz), ZERO)
        if sun_visibility[g] == 0:
            continue
        for n in range(lights.shape[0]):
            lx, ly, lz = lights[n, 0], lights[n, 1], lights[n, 2]
            cosine = x * lx + y * ly + z * lz
            if cosine <= 0:
                continue
            hx, hy, hz = vx + lx, vy + ly, vz + lz
            length = np.sqrt(hx * hx + hy * hy + hz * hz)
            half = max((x * hx + y * hy + z * hz) / length, ZERO)
            peak = half / (power - power * half + half)
            away = ONE - max(vx * hx + vy * hy + vz * hz, ZERO) / length
            fresnel = base + (ONE - base) * _fifth_power(away)
            strength = fresnel * (power + np.float32(8)) * np.float32(0.125) * peak * cosine
            strength *= sun_visibility[g]
            for k in range(3):
                light[k, g] += strength * colors[n, k]


@inlined
def _fifth_power(x):
    square = x * x
    return square * square * x


@compiled
def composite(fragments, light, opacity, supersample, encoding, image):
    """Encode the fragments' light for display and lay each pixel's mean over what `image` holds.

    Args:
        light: (3, N) linear.
        opacity: 0 to 1.
        encoding: `textures.ENCODING`.
        image: (H, W, 3 or 4) uint8, changed in place; of four channels, the last is opacity.
    """
    pixel, count = fragments.pixel, fragments.count
    share = opacity / np.float32(supersample * supersample)
    last = np.float32(encoding.shape[0] - 1)
    pixels = image.reshape((image.shape[0] * image.shape[1], image.shape[2]))
    found, g = light.shape[1], 0
    while g < found:
        here = pixel[g]
        red = green = blue = covered = ZERO
        while g < found and pixel[g] == here:
            samples = np.float32(count[g])
            red += samples * encoding[np.uint32(min(light[0, g], ONE) * last + HALF)]
            green += samples * encoding[np.uint32(min(light[1, g], ONE) * last + HALF)]
            blue += samples * encoding[np.uint32(min(light[2, g], ONE) * last + HALF)]
            covered += samples
            g += 1
        cover = share * covered
        if image.shape[2] == 4:
            scale, rest = ONE / covered, ZERO
            pixels[here, 3] = np.uint8(FULL * cover + HALF)
        else:
            scale, rest = share, ONE - cover
        pixels[here, 0] = np.uint8(red * scale + np.float32(pixels[here, 0]) * rest + HALF)
        pixels[here, 1] = np.uint8(green * scale + np.float32(pixels[here, 1]) * rest + HALF)
        pixels[here, 2] = np.uint8(blue * scale + np.float32(pixels[here, 2]) * rest + HALF)
