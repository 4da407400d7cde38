"""From what each sample sees to a picture: fragments, textures, light, shadows; compiled by numba.

A fragment is what one surface gives to one pixel: all the pixel's samples that see the same face,
or, where `merge` allows it, the same mesh at about the same depth.  Colour is worked out once a
fragment, in loops that run over plain arrays and so on vectors of fragments:

    find_fragments  group the samples of each pixel
    interpolate     normal, colour, depth and place in the texture, from the vertices
    apply_texture   colour and bumps from pictures that cover the mesh
    light           sky, sun, shadows, gloss
    composite       encode for display, average, and lay over the background

Textures are filtered in encoded values, light is computed in linear ones.  As in the rasteriser,
arguments are trusted and the GIL is released.

A picture is the same bytes on every processor: no function is compiled with `fastmath`, by which
the compiler fuses and reorders sums, one way for this width of vectors and another for that.
"""

import numpy as np
from numba import njit

from hmrlib.render.rasterizer import (
    NOTHING,
    ONE,
    SHIFT,
    SUBPIXEL,
    ZERO,
    edges,
    flat,
    project,
    rasterize,
    rasterize_depth,
    unpacked,
    vertex_normals,
    weights,
    weld,
)

# Rows of the table of fragments' values.
NORMAL, ALBEDO, LIGHT, POSITION = 0, 3, 6, 9
DEPTH, SUNLIT, OPEN = 12, 13, 14
U, V, DENSITY = 15, 16, 17
ROWS = 18

HALF = np.float32(0.5)
FULL = np.float32(255)
# Sums of whole numbers are the same in every order, so they may run on vectors; so many make one.
UNIT = np.float32(1 << 16)
METRE, FARTHEST = np.float32(1 << 12), np.float32(1 << 12)
TILE = 4  # texels of the sun's map that share an entry of its coarse map
REACH = 14  # texels, at most, that a half-shadow spreads to each side
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


def _spiral(count):
    """Points (2, count) spread evenly over the unit disc: Vogel's spiral."""
    steps = np.arange(count) + 0.5
    around = np.pi * (3 - 5**0.5) * steps
    points = np.sqrt(steps / count) * np.stack([np.cos(around), np.sin(around)])
    return points.astype(np.float32)


# Where to look around a point for what hides it from the sun, and from the sky.
FEW, MANY = _spiral(8), _spiral(16)  # multiples of eight run on vectors


@njit(nogil=True, cache=True, error_model="numpy")
def place(mesh, bits, index, first_vertex, first_face, table, same, geometry):
    """Copy a mesh into the arrays that hold all meshes of a scene, and compute its normals.

    Args:
        mesh: vertices (V, 3), faces (F, 3), normals (V or 0, 3), colors (V or 1, 3), uv (V or 0,
            2), labels (F or 0,).
        bits: of the vertices (V, 3) uint32.
        index: of the mesh.
        first_vertex, first_face: where its own are to begin.
        table, same: scratch for `weld`.
        geometry: vertices, faces, normals, colors, uv, labels, mesh of each face.
    """
    vertices, faces, normals, colors, uv, labels = mesh
    to_vertices, to_faces, to_normals, to_colors, to_uv, to_labels, to_mesh = geometry
    uniform, with_uv, with_labels = colors.shape[0] == 1, uv.shape[0] > 0, labels.shape[0] > 0
    end = first_vertex + vertices.shape[0]
    if normals.shape[0]:
        _copy(normals, to_normals[first_vertex:end])
    else:
        smooth_normals(vertices, faces, bits, with_uv, table, same, to_normals[first_vertex:end])
    _copy(vertices, to_vertices[first_vertex:end])
    if uniform:
        for v in range(first_vertex, end):
            for k in range(3):
                to_colors[v, k] = colors[0, k]
    else:
        _copy(colors, to_colors[first_vertex:end])
    if with_uv:
        _copy(uv, to_uv[first_vertex:end])
    last = first_face + faces.shape[0]
    _copy(faces, to_faces[first_face:last])
    moved = to_faces[first_face:last].reshape(faces.size)
    for k in range(faces.size):
        moved[k] += np.uint32(first_vertex)
    to_mesh[first_face:last] = index
    if with_labels:
        to_labels[first_face:last] = labels
    else:
        to_labels[first_face:last] = -1


@njit(nogil=True, cache=True, error_model="numpy")
def smooth_normals(vertices, faces, bits, with_uv, table, same, normals):
    """Normals of a mesh, across the seams of its texture too if it has `uv`; see `place`."""
    if with_uv:
        weld(bits, table, same)
        vertex_normals(vertices, faces, same, normals)
    else:
        vertex_normals(vertices, faces, same[:0], normals)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _copy(given, to):
    """Copy an array in one go, and not row by row."""
    to.reshape(to.size)[:] = given.reshape(given.size)


def _finder(supersample):
    """`find_fragments` for one number of samples; knowing it, the compiler makes it faster."""
    num_samples = supersample * supersample

    @njit(nogil=True, cache=True, error_model="numpy")
    def find_fragments(box, width, merge, orthographic, samples, mesh_of, fragments, pixels):
        """Group the samples of each pixel of `box` into fragments; return how many there are.

        Args:
            box: pixels, top, bottom, left, right; the samples begin at row `top`.
            width: of the picture, in pixels.
            merge: up to which difference of nearness, as a part of it unless `orthographic`,
                samples of one mesh make one fragment; below 0, only samples of one face do.
            samples: from `rasterize`.
            mesh_of: (F,) mesh of each face.
            fragments: pixel, count of samples, face, place (N, 2) in the picture.
            pixels: results in `box`: nearness (h, w) of the nearest sample, -inf where none sees
                anything; which one it is; and how many see something.
        """
        front, which, covered = pixels
        pixel, count, face_of, place_of = fragments[0], fragments[1], fragments[2], fragments[3]
        top, bottom, left, right = box
        empty = np.float32(-np.inf)
        corner = SUBPIXEL // 2  # the middle of the pixel's first sample
        middle = ((supersample - 1) << SHIFT) // 2  # from there to the middle of all samples
        near_of, seen_face = np.empty(num_samples, np.float32), np.empty(num_samples, np.uint32)
        found = 0
        front[: bottom - top, left:right] = empty
        covered[: bottom - top, left:right] = 0
        if supersample == 1:
            for row in range(top, bottom):
                for column in range(left, right):
                    sample = samples[row - top, column]
                    if sample != NOTHING:
                        front[row - top, column], f = unpacked(sample)
                        which[row - top, column], covered[row - top, column] = 0, 1
                        pixel[found] = row * width + column
                        count[found] = 1
                        face_of[found] = f
                        place_of[found, 0] = (column << SHIFT) + corner
                        place_of[found, 1] = (row << SHIFT) + corner
                        found += 1
            return found
        for row in range(top, bottom):
            first_row = (row - top) * supersample
            for column in range(left, right):
                first_column, either = column * supersample, NOTHING
                for k in range(num_samples):
                    either |= samples[first_row + k // supersample, first_column + k % supersample]
                if either == NOTHING:
                    continue
                nearest, farthest = empty, np.float32(np.inf)
                best, seen = 0, 0
                for k in range(num_samples):
                    i, j = first_row + k // supersample, first_column + k % supersample
                    sample = samples[i, j]
                    near, seen_face[k] = unpacked(sample)
                    near_of[k] = near if sample != NOTHING else empty
                    best = k if near_of[k] > nearest else best
                    seen += near_of[k] > empty
                    nearest, farthest = max(nearest, near_of[k]), min(farthest, near_of[k])
                front[row - top, column], which[row - top, column] = nearest, best
                covered[row - top, column] = seen
                x0 = ((column * supersample) << SHIFT) + corner
                y0 = ((row * supersample) << SHIFT) + corner
                if farthest > empty:
                    first_face, alike = seen_face[0], True
                    for k in range(1, num_samples):
                        alike &= seen_face[k] == first_face
                    if not alike and nearest - farthest <= (
                        merge if orthographic else merge * nearest
                    ):
                        alike = True
                        for k in range(num_samples):
                            alike &= mesh_of[seen_face[k]] == mesh_of[first_face]
                    if alike:
                        pixel[found] = row * width + column
                        count[found] = num_samples
                        face_of[found] = first_face
                        place_of[found, 0] = x0 + middle
                        place_of[found, 1] = y0 + middle
                        found += 1
                        continue
                taken = 0
                for k in range(num_samples):
                    if (taken >> k) & 1 or near_of[k] == empty:
                        continue
                    f = seen_face[k]
                    mesh = mesh_of[f]
                    limit = merge if orthographic else merge * near_of[k]
                    members, x, y = 1, k % supersample, k // supersample
                    for other in range(k + 1, num_samples):
                        if (taken >> other) & 1 or near_of[other] == empty:
                            continue
                        other_x, other_y = other % supersample, other // supersample
                        other_face = seen_face[other]
                        if other_face == f or (
                            abs(near_of[other] - near_of[k]) <= limit
                            and mesh_of[other_face] == mesh
                        ):
                            taken |= 1 << other
                            members += 1
                            x += other_x
                            y += other_y
                    pixel[found] = row * width + column
                    count[found] = members
                    face_of[found] = f
                    place_of[found, 0] = x0 + (x << SHIFT) // members
                    place_of[found, 1] = y0 + (y << SHIFT) // members
                    found += 1
        return found

    return find_fragments


_find_1, _find_2, _find_4 = _finder(1), _finder(2), _finder(4)


@njit(nogil=True, cache=True, error_model="numpy")
def interpolate(
    found, fragments, geometry, position, screen, camera, supersample, textured, decoding
):
    """Normal, colour and depth of each fragment, from its face's vertices.

    Where `textured`, also the place in the texture, and how much of the texture's area falls on a
    pixel: for all, as what it is for a mesh without `uv` is never looked at.
    """
    face_of, place_of, values = fragments[2], fragments[3], fragments[4]
    faces, normals, colors, uv = geometry[1], geometry[2], geometry[3], geometry[4]
    orthographic = camera[2]
    per_pixel = np.float32((supersample * SUBPIXEL) ** 2)
    last = np.float32(decoding.shape[0] - 1)
    normal_x, normal_y, normal_z = values[NORMAL], values[NORMAL + 1], values[NORMAL + 2]
    red, green, blue = values[ALBEDO], values[ALBEDO + 1], values[ALBEDO + 2]
    depths, uniform = values[DEPTH], colors.shape[0] == 1
    for g in range(found):
        f = face_of[g]
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        weight_a, weight_b, weight_c, depth, outer, inverse_area = weights(
            position, screen, a, b, c, place_of[g, 0], place_of[g, 1], orthographic
        )
        depths[g] = depth
        side = ONE if outer else -ONE
        x = weight_a * normals[a, 0] + weight_b * normals[b, 0] + weight_c * normals[c, 0]
        y = weight_a * normals[a, 1] + weight_b * normals[b, 1] + weight_c * normals[c, 1]
        z = weight_a * normals[a, 2] + weight_b * normals[b, 2] + weight_c * normals[c, 2]
        normal_x[g], normal_y[g], normal_z[g] = side * x, side * y, side * z
        if textured:
            u, v = uv[a, 0], uv[a, 1]
            pu, pv, qu, qv = uv[b, 0] - u, uv[b, 1] - v, uv[c, 0] - u, uv[c, 1] - v
            values[U, g] = u + weight_b * pu + weight_c * qu
            values[V, g] = v + weight_b * pv + weight_c * qv
            values[DENSITY, g] = abs(pu * qv - pv * qu) * inverse_area * per_pixel
        if not uniform:
            x = weight_a * colors[a, 0] + weight_b * colors[b, 0] + weight_c * colors[c, 0]
            y = weight_a * colors[a, 1] + weight_b * colors[b, 1] + weight_c * colors[c, 1]
            z = weight_a * colors[a, 2] + weight_b * colors[b, 2] + weight_c * colors[c, 2]
            red[g] = decoding[np.uint32(x * last + HALF)]
            green[g] = decoding[np.uint32(y * last + HALF)]
            blue[g] = decoding[np.uint32(z * last + HALF)]
    if uniform:
        red[:found] = decoding[int(colors[0, 0] * last + HALF)]
        green[:found] = decoding[int(colors[0, 1] * last + HALF)]
        blue[:found] = decoding[int(colors[0, 2] * last + HALF)]
    for g in range(found):
        x, y, z = normal_x[g], normal_y[g], normal_z[g]
        scale = ONE / np.sqrt(x * x + y * y + z * z + np.float32(1e-30))
        normal_x[g], normal_y[g], normal_z[g] = x * scale, y * scale, z * scale


@njit(nogil=True, cache=True, error_model="numpy")
def picture_levels(image, texels, levels):
    """A picture (h, w, 3) uint8 and its halved copies, as packed texels; see `Mipmap`."""
    height, width = image.shape[:2]
    for i in range(height):
        for j in range(width):
            texels[i * width + j] = (
                np.uint32(image[i, j, 0])
                | (np.uint32(image[i, j, 1]) << np.uint32(8))
                | (np.uint32(image[i, j, 2]) << np.uint32(16))
            )
    halve_picture(texels, levels)


@njit(nogil=True, cache=True, error_model="numpy")
def halve_picture(texels, levels):
    """Fill the smaller levels of a picture from its first one."""
    even, carry = np.uint32(0xFF00FF), np.uint32(0x20002)
    two, eight = np.uint32(2), np.uint32(8)
    for level in range(1, levels.shape[0]):
        above, from_height, from_width = levels[level - 1]
        here, height, width = levels[level]
        for i in range(height):
            first = above + min(2 * i, from_height - 1) * from_width
            second = above + min(2 * i + 1, from_height - 1) * from_width
            upper, lower = texels[first : first + from_width], texels[second : second + from_width]
            out = texels[here + i * width : here + (i + 1) * width]
            if from_width % 2 == 0:
                _halve_rows(upper.view(np.uint64), lower.view(np.uint64), out)
                continue
            for j in range(width):
                left, right = min(2 * j, from_width - 1), min(2 * j + 1, from_width - 1)
                p, q, r, s = upper[left], upper[right], lower[left], lower[right]
                red_blue = (p & even) + (q & even) + (r & even) + (s & even) + carry
                green = (
                    ((p >> eight) & even)
                    + ((q >> eight) & even)
                    + ((r >> eight) & even)
                    + ((s >> eight) & even)
                    + carry
                )
                out[j] = ((red_blue >> two) & even) | (((green >> two) & even) << eight)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _halve_rows(upper, lower, out):
    """Two rows of texels as one of half the width, by vectors: two neighbours are one uint64."""
    even, carry = np.uint64(0xFF00FF00FF00FF), np.uint64(0x20002)
    two, eight, half = np.uint64(2), np.uint64(8), np.uint64(32)
    for j in range(out.shape[0]):
        p, q = upper[j], lower[j]
        red_blue = (p & even) + (q & even)
        green = ((p >> eight) & even) + ((q >> eight) & even)
        red_blue += (red_blue >> half) + carry
        green += (green >> half) + carry
        out[j] = np.uint32(((red_blue >> two) & even) | (((green >> two) & even) << eight))


@njit(nogil=True, cache=True, error_model="numpy")
def slope_levels(heights, texels, levels):
    """The slopes of heights (h, w) along u and v, a texture's width being 1, and halved copies."""
    height, width = heights.shape
    for i in range(height):
        above, below = (i - 1) % height, (i + 1) % height
        for j in range(width):
            before, after = (j - 1) % width, (j + 1) % width
            texels[i * width + j, 0] = (heights[i, after] - heights[i, before]) * (HALF * width)
            texels[i * width + j, 1] = (heights[below, j] - heights[above, j]) * (HALF * height)
    for level in range(1, levels.shape[0]):
        above, from_height, from_width = levels[level - 1]
        here, height, width = levels[level]
        for i in range(height):
            first = above + min(2 * i, from_height - 1) * from_width
            second = above + min(2 * i + 1, from_height - 1) * from_width
            for j in range(width):
                left, right = min(2 * j, from_width - 1), min(2 * j + 1, from_width - 1)
                for k in range(2):
                    texels[here + i * width + j, k] = np.float32(0.25) * (
                        texels[first + left, k]
                        + texels[first + right, k]
                        + texels[second + left, k]
                        + texels[second + right, k]
                    )


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
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


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def four_texels(u, v, level):
    """The four texels around a point of a picture that repeats, and how far it lies between them.

    Args:
        u, v: the point; 1 is the whole picture.
        level: the picture's first texel, its height and width, uint32.

    Returns:
        which texels: upper left, upper right, lower left, lower right; and two numbers, 0 to 255,
        of 256 parts.
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
    return (
        upper + left,
        upper + right,
        lower + left,
        lower + right,
        fixed_x & parts,
        fixed_y & parts,
    )


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
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


@njit(nogil=True, cache=True, error_model="numpy")
def sort_by_mesh(found, fragments, mesh_of, order, starts):
    """Which fragments each mesh has: `order[starts[m]:starts[m + 1]]`, in the order they came in.

    Args:
        order: (N,) result; starts: (M + 1,) result.
    """
    face_of = fragments[2]
    count = starts.shape[0] - 1
    starts[:] = 0
    if count == 1:
        starts[1] = found
        order[:found] = np.arange(found)
        return
    for g in range(found):
        starts[mesh_of[face_of[g]]] += 1
    total = 0
    for m in range(count + 1):
        starts[m], total = total, total + starts[m]
    for g in range(found):
        m = mesh_of[face_of[g]]
        order[starts[m]] = g
        starts[m] += 1
    for m in range(count, 0, -1):
        starts[m] = starts[m - 1]
    starts[0] = 0


@njit(nogil=True, cache=True, error_model="numpy")
def apply_texture(rows, fragments, geometry, decoding, picture, bump):
    """Multiply the colour of a mesh's fragments by its texture, and tilt their normals by bumps.

    Bumps follow Mikkelsen, "Bump mapping unparametrized surfaces on the GPU" (2010): the normal
    is lessened by the gradient of the height along the surface.

    Args:
        rows: (n,) which fragments are its own.
        decoding: sRGB's inverse curve as a table.
        picture, bump: texels and levels; of no size if there is none.
    """
    face_of, values = fragments[2], fragments[4]
    vertices, faces, uv = geometry[0], geometry[1], geometry[4]
    texels, levels = picture
    slopes, slope_levels = bump
    fraction, half = np.uint32(FRACTION), np.uint32(1 << (FRACTION - 1))
    for n in range(rows.shape[0]):
        g = rows[n]
        u, v, density = values[U, g], values[V, g], values[DENSITY, g]
        if texels.shape[0]:
            red, green, blue = mix_texels(texels, four_texels(u, v, _level(density, levels)))
            values[ALBEDO, g] *= decoding[(red + half) >> fraction]
            values[ALBEDO + 1, g] *= decoding[(green + half) >> fraction]
            values[ALBEDO + 2, g] *= decoding[(blue + half) >> fraction]
        if slopes.shape[0] and density > 0:
            p, q, r, s, x, y = four_texels(u, v, _level(density, slope_levels))
            x, y = np.float32(x) * np.float32(1 / 256), np.float32(y) * np.float32(1 / 256)
            part_p, part_q = (ONE - x) * (ONE - y), x * (ONE - y)
            part_r, part_s = (ONE - x) * y, x * y
            slope_u = (
                part_p * slopes[p, 0]
                + part_q * slopes[q, 0]
                + part_r * slopes[r, 0]
                + part_s * slopes[s, 0]
            )
            slope_v = (
                part_p * slopes[p, 1]
                + part_q * slopes[q, 1]
                + part_r * slopes[r, 1]
                + part_s * slopes[s, 1]
            )
            # The face's edges in the world, their normal, and the edges in the texture.
            f = face_of[g]
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            px, py, pz, qx, qy, qz, nx, ny, nz = edges(vertices, a, b, c)
            pu, pv = uv[b, 0] - uv[a, 0], uv[b, 1] - uv[a, 1]
            qu, qv = uv[c, 0] - uv[a, 0], uv[c, 1] - uv[a, 1]
            # Heights along the two edges, and from them the gradient in the face's plane.
            rise_p, rise_q = slope_u * pu + slope_v * pv, slope_u * qu + slope_v * qv
            square = nx * nx + ny * ny + nz * nz
            scale = ONE / max(square, np.float32(1e-30))
            gx, gy, gz = (
                (rise_p * (qy * nz - qz * ny) + rise_q * (ny * pz - nz * py)) * scale,
                (rise_p * (qz * nx - qx * nz) + rise_q * (nz * px - nx * pz)) * scale,
                (rise_p * (qx * ny - qy * nx) + rise_q * (nx * py - ny * px)) * scale,
            )
            outer = (
                values[NORMAL, g] * nx + values[NORMAL + 1, g] * ny + values[NORMAL + 2, g] * nz > 0
            )
            side = ONE if outer else -ONE
            x = values[NORMAL, g] - side * gx
            y = values[NORMAL + 1, g] - side * gy
            z = values[NORMAL + 2, g] - side * gz
            scale = ONE / np.sqrt(x * x + y * y + z * z)
            values[NORMAL, g], values[NORMAL + 1, g] = x * scale, y * scale
            values[NORMAL + 2, g] = z * scale


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _irradiance(sky, k, x, y, z):
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


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _sunlit(x, y, z, shadow):
    """How much of the sun is seen from a point, 0 to 1, by percentage-closer soft shadows.

    Fernando, "Percentage-closer soft shadows" (2005): the mean distance of what stands between
    the point and the sun gives the width of the half-shadow, over which the map is averaged.

    Args:
        x, y, z: in the sun's view: column and row of the map, nearness to the sun.
        shadow: map (r, r) of nearness; coarse map, of the nearest thing around each TILE of
            texels; the tangent of half the sun's angle, times texels a metre; texels a metre;
            nearness of the nearest thing; and texels that a half-shadow spreads at most.
    """
    nearness, coarse, widening, density, nearest, most = shadow
    size = nearness.shape[0]
    # What lies within a texel of the surface itself throws no shadow on it.
    bias = np.float32(0.7) / density
    if not (x >= 0 and y >= 0 and x < size and y < size):
        return ONE
    if coarse[np.uint32(y) // np.uint32(TILE), np.uint32(x) // np.uint32(TILE)] <= z + bias:
        return ONE
    end = np.float32(size - 1)
    reach = min(max(widening * (nearest - z), np.float32(1.2)), most)
    blockers, total = np.int32(0), np.int32(0)
    around_x, around_y = FEW[0], FEW[1]
    for k in range(around_x.shape[0]):
        column = min(max(x + reach * around_x[k], ZERO), end)
        row = min(max(y + reach * around_y[k], ZERO), end)
        near = nearness[np.uint32(row), np.uint32(column)]
        blocked = near > z + bias
        off = np.int32(min(near - z, FARTHEST) * METRE)
        blockers = np.int32(blockers + (np.int32(1) if blocked else np.int32(0)))
        total = np.int32(total + (off if blocked else np.int32(0)))
    if blockers == 0:
        return ONE
    if blockers == around_x.shape[0]:
        return ZERO
    above = np.float32(total) / (np.float32(blockers) * METRE)
    reach = min(max(widening * above, np.float32(0.8)), most)
    slack = z + bias + np.float32(0.35) * reach / density
    if reach < np.float32(2.5):
        return _share_lit(nearness, x - HALF, y - HALF, reach, slack, FEW)
    return _share_lit(nearness, x - HALF, y - HALF, reach, slack, MANY)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _share_lit(nearness, x, y, reach, slack, spiral):
    """The part of a disc of the sun's map that is not nearer to the sun than `slack`."""
    end = np.float32(nearness.shape[0] - 2)
    lit, around_x, around_y = np.int32(0), spiral[0], spiral[1]
    for k in range(around_x.shape[0]):
        column = min(max(x + reach * around_x[k], ZERO), end)
        row = min(max(y + reach * around_y[k], ZERO), end)
        i, j = np.uint32(row), np.uint32(column)
        part_x, part_y = column - np.float32(j), row - np.float32(i)
        below, right = i + np.uint32(1), j + np.uint32(1)
        p = ZERO if nearness[i, j] > slack else ONE
        q = ZERO if nearness[i, right] > slack else ONE
        r = ZERO if nearness[below, j] > slack else ONE
        s = ZERO if nearness[below, right] > slack else ONE
        upper, lower = p + part_x * (q - p), r + part_x * (s - r)
        lit = np.int32(lit + np.int32((upper + part_y * (lower - upper)) * UNIT))
    return np.float32(lit) / (np.float32(around_x.shape[0]) * UNIT)


@njit(nogil=True, cache=True, error_model="numpy")
def _coarsen(nearness, reach, coarse):
    """Of each TILE x TILE texels, and those within `reach` of them, the nearest to the sun."""
    tiles = coarse.shape[0]
    own = np.full((tiles, tiles), np.float32(-np.inf))
    for i in range(nearness.shape[0]):
        line = own[i // TILE]
        for tile in range(tiles):
            best = line[tile]
            for j in range(tile * TILE, (tile + 1) * TILE):
                best = max(best, nearness[i, j])
            line[tile] = best
    around = int(reach) // TILE + 1
    wide = np.empty((tiles, tiles), np.float32)
    for i in range(tiles):  # along the rows, then along the columns
        wide[i] = own[i]
        for k in range(max(i - around, 0), min(i + around + 1, tiles)):
            for j in range(tiles):
                wide[i, j] = max(wide[i, j], own[k, j])
    for i in range(tiles):
        for j in range(tiles):
            best = wide[i, j]
            for k in range(max(j - around, 0), min(j + around + 1, tiles)):
                best = max(best, wide[i, k])
            coarse[i, j] = best


@njit(nogil=True, cache=True, error_model="numpy")
def _locate(found, fragments, camera):
    """Where in the world each fragment is."""
    places, values = flat(fragments[3]), fragments[4]
    pose, intrinsics, orthographic = camera
    scale, depths = ONE / intrinsics[0], values[DEPTH]
    to_x, to_y, to_z = values[POSITION], values[POSITION + 1], values[POSITION + 2]
    for g in range(found):
        depth = depths[g]
        spread = scale if orthographic else scale * depth
        x = (np.float32(places[2 * g]) * np.float32(1 / SUBPIXEL) - intrinsics[1]) * spread
        y = (np.float32(places[2 * g + 1]) * np.float32(1 / SUBPIXEL) - intrinsics[2]) * spread
        x, y, z = x - pose[0, 3], y - pose[1, 3], depth - pose[2, 3]
        to_x[g] = pose[0, 0] * x + pose[1, 0] * y + pose[2, 0] * z
        to_y[g] = pose[0, 1] * x + pose[1, 1] * y + pose[2, 1] * z
        to_z[g] = pose[0, 2] * x + pose[1, 2] * y + pose[2, 2] * z


@njit(nogil=True, cache=True, error_model="numpy")
def _shadows(found, fragments, direction, sun_view, shadow):
    """How much of the sun each fragment sees."""
    values = fragments[4]
    pose, intrinsics = sun_view
    # The point steps out of its own surface, or the surface's slope would hide it from the sun.
    offset = np.float32(1.5) / shadow[3]
    for g in range(found):
        nx, ny, nz = values[NORMAL, g], values[NORMAL + 1, g], values[NORMAL + 2, g]
        if nx * direction[0] + ny * direction[1] + nz * direction[2] <= 0:
            values[SUNLIT, g] = ZERO
            continue
        x = values[POSITION, g] + offset * nx
        y = values[POSITION + 1, g] + offset * ny
        z = values[POSITION + 2, g] + offset * nz
        column = intrinsics[0] * (pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z) + intrinsics[1]
        row = intrinsics[0] * (pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z) + intrinsics[2]
        near = -(pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z)
        values[SUNLIT, g] = _sunlit(column, row, near, shadow)


@njit(nogil=True, cache=True, error_model="numpy")
def _openness(found, fragments, front, box, camera, supersample, radius):
    """How open to the sky each fragment is, from what is seen beside it in the picture.

    Ambient occlusion in screen space, with the estimator of McGuire et al., "The alchemy
    screen-space ambient obscurance algorithm" (2011).
    """
    nearness, stride = front.reshape(front.size), np.int32(front.shape[1])
    upper, lower = np.int32(box[0]), np.int32(box[1] - 1)
    first, last = np.int32(box[2]), np.int32(box[3] - 1)
    around_x, around_y, empty = FEW[0], FEW[1], np.float32(-np.inf)
    place_of, values = fragments[3], fragments[4]
    pose, intrinsics, orthographic = camera
    shrink = ONE / np.float32(supersample)
    scale = ONE / (intrinsics[0] * shrink)  # of the picture's pixels, as all that follows
    center_x, center_y = intrinsics[1] * shrink, intrinsics[2] * shrink
    shrink *= np.float32(1 / SUBPIXEL)
    square = radius * radius
    for g in range(found):
        nx, ny, nz = values[NORMAL, g], values[NORMAL + 1, g], values[NORMAL + 2, g]
        # In the camera's frame.
        across = pose[0, 0] * nx + pose[0, 1] * ny + pose[0, 2] * nz
        down = pose[1, 0] * nx + pose[1, 1] * ny + pose[1, 2] * nz
        away = pose[2, 0] * nx + pose[2, 1] * ny + pose[2, 2] * nz
        depth = values[DEPTH, g]
        spread = scale if orthographic else scale * depth
        column = np.float32(place_of[g, 0]) * shrink
        row = np.float32(place_of[g, 1]) * shrink
        x, y = (column - center_x) * spread, (row - center_y) * spread
        reach = radius / spread
        hidden = np.int32(0)
        for k in range(around_x.shape[0]):  # without a branch, so that it runs on vectors
            j, i = np.int32(column + reach * around_x[k]), np.int32(row + reach * around_y[k])
            at_j, at_i = min(max(j, first), last), min(max(i, upper), lower)
            near = nearness[np.uint32((at_i - upper) * stride + at_j)]
            other = -near if orthographic else ONE / near
            other_spread = scale if orthographic else scale * other
            dx = (np.float32(j) + HALF - center_x) * other_spread - x
            dy = (np.float32(i) + HALF - center_y) * other_spread - y
            dz = other - depth
            distance = dx * dx + dy * dy + dz * dz
            above = dx * across + dy * down + dz * away - np.float32(0.05) * radius
            fade = ONE - distance / square
            part = fade * above / np.sqrt(distance + np.float32(1e-9))
            met = (at_j == j) & (at_i == i) & (near > empty) & (above > 0) & (distance < square)
            hidden = np.int32(hidden + (np.int32(part * UNIT) if met else np.int32(0)))
        share = np.float32(hidden) / (np.float32(around_x.shape[0]) * UNIT)
        values[OPEN, g] = max(ONE - np.float32(3.2) * share, np.float32(0.15))


@njit(nogil=True, cache=True, error_model="numpy")
def _diffuse(found, values, sky, lights, wrap):
    """Light on each fragment: from the sky, as far as it is open, and from all lights."""
    for g in range(found):
        x, y, z = values[NORMAL, g], values[NORMAL + 1, g], values[NORMAL + 2, g]
        clear = values[OPEN, g]
        values[LIGHT, g] = clear * max(_irradiance(sky, 0, x, y, z), ZERO)
        values[LIGHT + 1, g] = clear * max(_irradiance(sky, 1, x, y, z), ZERO)
        values[LIGHT + 2, g] = clear * max(_irradiance(sky, 2, x, y, z), ZERO)
    inverse_wrap = ONE / (ONE + wrap)
    for n in range(lights.shape[0]):
        dx, dy, dz = lights[n, 0, 0], lights[n, 0, 1], lights[n, 0, 2]
        red, green, blue = lights[n, 1, 0], lights[n, 1, 1], lights[n, 1, 2]
        for g in range(found):
            cosine = (
                values[NORMAL, g] * dx + values[NORMAL + 1, g] * dy + values[NORMAL + 2, g] * dz
            )
            lit = max((cosine + wrap) * inverse_wrap, ZERO) * values[SUNLIT, g]
            values[LIGHT, g] += lit * red
            values[LIGHT + 1, g] += lit * green
            values[LIGHT + 2, g] += lit * blue
    for g in range(found):
        values[LIGHT, g] *= values[ALBEDO, g]
        values[LIGHT + 1, g] *= values[ALBEDO + 1, g]
        values[LIGHT + 2, g] *= values[ALBEDO + 2, g]


@njit(nogil=True, cache=True, error_model="numpy")
def _gloss(found, fragments, mesh_of, gloss, sky, lights, camera):
    """Add what the surface mirrors of the lights and, blurred, of the sky.

    Blinn's half vector with Schlick's rational stand-in for the power and his Fresnel term
    ("An inexpensive BRDF model for physically-based rendering", 1994).
    """
    face_of, values = fragments[2], fragments[4]
    pose, orthographic = camera[0], camera[2]
    ex = -(pose[0, 0] * pose[0, 3] + pose[1, 0] * pose[1, 3] + pose[2, 0] * pose[2, 3])
    ey = -(pose[0, 1] * pose[0, 3] + pose[1, 1] * pose[1, 3] + pose[2, 1] * pose[2, 3])
    ez = -(pose[0, 2] * pose[0, 3] + pose[1, 2] * pose[1, 3] + pose[2, 2] * pose[2, 3])
    base = np.float32(0.04)
    powers = np.float32(4) * np.float32(2) ** (np.float32(5) * gloss)
    for g in range(found):
        shine = gloss[mesh_of[face_of[g]]]
        if shine == 0:
            continue
        x, y, z = values[NORMAL, g], values[NORMAL + 1, g], values[NORMAL + 2, g]
        vx, vy, vz = (
            ex - values[POSITION, g],
            ey - values[POSITION + 1, g],
            ez - values[POSITION + 2, g],
        )
        if orthographic:
            vx, vy, vz = -pose[2, 0], -pose[2, 1], -pose[2, 2]
        scale = ONE / np.sqrt(vx * vx + vy * vy + vz * vz)
        vx, vy, vz = vx * scale, vy * scale, vz * scale
        facing = max(x * vx + y * vy + z * vz, ZERO)
        # Fresnel's rise towards the edge, weaker on a rough surface.
        rest = ONE - facing
        fresnel = base + shine * (ONE - base) * rest * rest * rest * rest * rest
        rx, ry, rz = (
            np.float32(2) * facing * x - vx,
            np.float32(2) * facing * y - vy,
            np.float32(2) * facing * z - vz,
        )
        mirrored = fresnel * values[OPEN, g]
        for k in range(3):
            values[LIGHT + k, g] += mirrored * max(_irradiance(sky, k, rx, ry, rz), ZERO)
        power = powers[mesh_of[face_of[g]]]
        for n in range(lights.shape[0]):
            lx, ly, lz = lights[n, 0, 0], lights[n, 0, 1], lights[n, 0, 2]
            cosine = x * lx + y * ly + z * lz
            if cosine <= 0 or values[SUNLIT, g] == 0:
                continue
            hx, hy, hz = vx + lx, vy + ly, vz + lz
            half = (x * hx + y * hy + z * hz) / np.sqrt(hx * hx + hy * hy + hz * hz)
            half = max(half, ZERO)
            peak = half / (power - power * half + half)
            rest = ONE - max(vx * hx + vy * hy + vz * hz, ZERO) / np.sqrt(
                hx * hx + hy * hy + hz * hz
            )
            fresnel = base + (ONE - base) * rest * rest * rest * rest * rest
            strength = fresnel * (power + np.float32(8)) * np.float32(0.125) * peak * cosine
            strength *= values[SUNLIT, g]
            for k in range(3):
                values[LIGHT + k, g] += strength * lights[n, 1, k]


@njit(nogil=True, cache=True, error_model="numpy")
def composite(found, fragments, opacity, supersample, encoding, image):
    """Encode the fragments' light for display and lay each pixel's mean over what `image` holds."""
    pixel, count, values = fragments[0], fragments[1], fragments[4]
    light_red, light_green, light_blue = values[LIGHT], values[LIGHT + 1], values[LIGHT + 2]
    share = opacity / np.float32(supersample * supersample)
    last = np.float32(encoding.shape[0] - 1)
    with_alpha = image.shape[2] == 4
    pixels = image.reshape((image.shape[0] * image.shape[1], image.shape[2]))
    if supersample == 1 and opacity == 1 and not with_alpha:  # nothing to average or to lay over
        for g in range(found):
            shown = pixels[np.uint32(pixel[g])]
            shown[0] = np.uint8(encoding[np.uint32(min(light_red[g], ONE) * last + HALF)] + HALF)
            shown[1] = np.uint8(encoding[np.uint32(min(light_green[g], ONE) * last + HALF)] + HALF)
            shown[2] = np.uint8(encoding[np.uint32(min(light_blue[g], ONE) * last + HALF)] + HALF)
        return
    g = 0
    while g < found:
        here = pixel[g]
        red = green = blue = covered = ZERO
        while True:
            samples = np.float32(count[g])
            red += samples * encoding[np.uint32(min(light_red[g], ONE) * last + HALF)]
            green += samples * encoding[np.uint32(min(light_green[g], ONE) * last + HALF)]
            blue += samples * encoding[np.uint32(min(light_blue[g], ONE) * last + HALF)]
            covered += samples
            g += 1
            if g == found or pixel[g] != here:
                break
        cover = share * covered
        shown = pixels[np.uint32(here)]
        if with_alpha:
            scale, rest = ONE / covered, ZERO
            shown[3] = np.uint8(FULL * cover + HALF)
        else:
            scale, rest = share, ONE - cover
        shown[0] = np.uint8(red * scale + np.float32(shown[0]) * rest + HALF)
        shown[1] = np.uint8(green * scale + np.float32(shown[1]) * rest + HALF)
        shown[2] = np.uint8(blue * scale + np.float32(shown[2]) * rest + HALF)


@njit(nogil=True, cache=True, error_model="numpy")
def write_buffers(
    found,
    top,
    width,
    supersample,
    opacity,
    samples,
    fragments,
    pixels,
    geometry,
    first_faces,
    position,
    screen,
    orthographic,
    to,
):
    """What each pixel shows: of its samples, the one that sees the nearest surface.

    Args:
        found: number of fragments, by which the pixels are known in which something is seen.
        top: row of the picture at which samples and pixels begin.
        width: of the picture, in pixels.
        first_faces: (M,) of the meshes.
        to: alpha (H, W), depth (H, W), face (H, W), barycentric (H, W, 3), mesh (H, W), parts
            (H, W); written only where something is seen; those not wanted have no size.
    """
    front, which, covered = pixels
    pixel = fragments[0]
    faces, labels, mesh_of = geometry[1], geometry[5], geometry[6]
    alpha, depth, face_out, barycentric, mesh_out, parts = to
    share = opacity / np.float32(supersample * supersample)
    last = -1
    for g in range(found):
        if pixel[g] == last:
            continue
        last = pixel[g]
        row = np.int64(np.uint32(last) // np.uint32(width))  # much quicker than of 64 bits
        column = last - row * width
        nearest, sample = front[row - top, column], np.int64(which[row - top, column])
        at_i = (row - top) * supersample + sample // supersample
        at_j = column * supersample + sample % supersample
        _, f = unpacked(samples[at_i, at_j])
        mesh = mesh_of[f]
        if alpha.shape[0]:
            alpha[row, column] = share * np.float32(covered[row - top, column])
        if depth.shape[0]:
            depth[row, column] = -nearest if orthographic else ONE / nearest
        if face_out.shape[0]:
            face_out[row, column] = f - first_faces[mesh]
        if mesh_out.shape[0]:
            mesh_out[row, column] = mesh
        if parts.shape[0]:
            parts[row, column] = labels[f]
        if barycentric.shape[0]:
            weight_a, weight_b, weight_c, _, _, _ = weights(
                position,
                screen,
                faces[f, 0],
                faces[f, 1],
                faces[f, 2],
                (at_j << SHIFT) + SUBPIXEL // 2,
                ((at_i + top * supersample) << SHIFT) + SUBPIXEL // 2,
                orthographic,
            )
            barycentric[row, column, 0] = weight_a
            barycentric[row, column, 1] = weight_b
            barycentric[row, column, 2] = weight_c


@njit(nogil=True, cache=True, error_model="numpy")
def begin(geometry, meshes, camera, size, box, supersample, merge, textured, decoding, scratch):
    """Rasterise all meshes, find the fragments and interpolate: the first half of drawing.

    Args:
        geometry: of all meshes: vertices, faces, normals, colors, uv, labels, mesh of each face.
        meshes: first face (M + 1,) of each, and whether it is two-sided (M,).
        camera: pose (3, 4), intrinsics (3,) in samples, orthographic.
        size: width and height of the picture, in pixels.
        box: pixels to draw: top, bottom, left, right.
        supersample: samples along each side of a pixel.
        merge: see `find_fragments`.
        textured: see `interpolate`.
        decoding: sRGB's inverse curve as a table.
        scratch: position and screen from `project`, samples, fragments, pixels.

    Returns:
        the number of fragments.
    """
    faces, mesh_of = geometry[1], geometry[6]
    first_faces, two_sided = meshes
    position, screen, samples, fragments, pixels = scratch
    top, bottom, left, right = box
    rows = (bottom - top) * supersample
    samples[:rows, left * supersample : right * supersample] = NOTHING
    for m in range(two_sided.shape[0]):
        rasterize(
            position,
            screen,
            faces[first_faces[m] : first_faces[m + 1]],
            first_faces[m],
            two_sided[m],
            camera[2],
            top * supersample,
            size[0] * supersample,
            rows,
            samples,
        )
    if supersample == 1:
        found = _find_1(box, size[0], merge, camera[2], samples, mesh_of, fragments, pixels)
    elif supersample == 2:
        found = _find_2(box, size[0], merge, camera[2], samples, mesh_of, fragments, pixels)
    else:
        found = _find_4(box, size[0], merge, camera[2], samples, mesh_of, fragments, pixels)
    interpolate(
        found, fragments, geometry, position, screen, camera, supersample, textured, decoding
    )
    return found


@njit(nogil=True, cache=True, error_model="numpy")
def finish(
    found,
    geometry,
    gloss,
    camera,
    size,
    box,
    supersample,
    lighting,
    shadow,
    opacity,
    encoding,
    scratch,
    image,
):
    """Light the fragments and lay them over `image`: the second half of drawing.

    Args:
        found: number of fragments.
        gloss: (M,) of the meshes.
        lighting: sky (10, 3), lights (L, 2, 3) (the unit direction towards each and its colour),
            wrap, radius of ambient occlusion (0 for none).
        shadow: of the first light, from `shadow_map`; a map of no size if there is none.
    """
    fragments, pixels = scratch[3], scratch[4]
    values = fragments[4]
    sky, lights, wrap, radius = lighting
    sun_view, shadow_map = shadow
    shines = gloss.max() > 0
    if shadow_map[0].shape[0] or shines:
        _locate(found, fragments, camera)
    if shadow_map[0].shape[0]:
        _shadows(found, fragments, lights[0, 0], sun_view, shadow_map)
    else:
        values[SUNLIT, :found] = ONE
    if radius > 0:
        _openness(found, fragments, pixels[0], box, camera, supersample, radius)
    else:
        values[OPEN, :found] = ONE
    _diffuse(found, values, sky, lights, wrap)
    if shines:
        _gloss(found, fragments, geometry[6], gloss, sky, lights, camera)
    composite(found, fragments, opacity, supersample, encoding, image)


@njit(nogil=True, cache=True, error_model="numpy")
def map_shadows(geometry, meshes, pose, softness, margin, sun_view, scratch, samples, coarse):
    """What the sun sees: nearness to it, in a map that holds all meshes.

    Args:
        pose: (3, 4) from the world to the sun's view, without a translation.
        softness: tangent of half the sun's angle.
        margin: texels to leave free on each side.
        sun_view: result: pose (3, 4) and intrinsics (3,): texels a metre, column, row.
        scratch: position, screen.
        samples: the map, as for `rasterize_depth`.
        coarse: result, see `_sunlit`.

    Returns:
        the map as `_sunlit` wants it.
    """
    vertices, faces = geometry[0], geometry[1]
    first_faces, two_sided = meshes
    position, screen = scratch
    size = samples.shape[0]
    left, right, top, bottom, nearest, farthest = _extent(vertices, pose)
    extent = max(right - left, bottom - top, np.float32(1e-3))
    density = np.float32(size - 2 * margin) / extent
    intrinsics = sun_view[1]
    intrinsics[0] = density
    intrinsics[1] = HALF * size - density * HALF * (left + right)
    intrinsics[2] = HALF * size - density * HALF * (top + bottom)
    sun_view[0][:] = pose
    project(vertices, pose, intrinsics, True, position, screen)
    samples[:] = -np.inf
    for m in range(two_sided.shape[0]):
        rasterize_depth(
            position,
            screen,
            faces[first_faces[m] : first_faces[m + 1]],
            0,
            two_sided[m],
            True,
            0,
            size,
            size,
            samples,
        )
    widening = softness * density
    most = min(max(widening * np.float32(1.5) * (nearest - farthest), ONE), np.float32(REACH))
    most = max(most, np.float32(1.2))
    _coarsen(samples, most, coarse)
    return samples, coarse, widening, density, nearest, most


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"nnan", "nsz"})
def _extent(vertices, pose):
    """Least and largest x and y of what the sun sees, largest and least nearness.

    Without NaN, and whatever a zero's sign, minima and maxima are the same in every order.
    """
    left = top = farthest = np.float32(np.inf)
    right = bottom = nearest = np.float32(-np.inf)
    points = flat(vertices)
    for v in range(vertices.shape[0]):
        px, py, pz = points[3 * v], points[3 * v + 1], points[3 * v + 2]
        x = pose[0, 0] * px + pose[0, 1] * py + pose[0, 2] * pz
        y = pose[1, 0] * px + pose[1, 1] * py + pose[1, 2] * pz
        near = -(pose[2, 0] * px + pose[2, 1] * py + pose[2, 2] * pz)
        left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
        nearest, farthest = max(nearest, near), min(farthest, near)
    return left, right, top, bottom, nearest, farthest


@njit(nogil=True, cache=True, error_model="numpy")
def map_contact(geometry, ground, grid, spare):
    """How much of the sky the bodies close to the ground hide from each place on it.

    The lowest height above each cell of a grid is blurred at three scales: what is nearer to
    the ground than a scale darkens the ground within about that distance.

    Args:
        ground: plane (4,), and two axes (2, 3) along it.
        grid: (n, n) result, 1 where the sky is open, 0 where it is hidden.
        spare: (2, n, n) scratch.

    Returns:
        place of the grid: cells a metre (0 if nothing is near the ground), and where its corner
        lies along the two axes.
    """
    vertices, faces = geometry[0], geometry[1]
    plane, axes = ground
    size = grid.shape[0]
    highest = np.float32(0.6)
    left = top = np.float32(np.inf)
    right = bottom = np.float32(-np.inf)
    for v in range(vertices.shape[0]):
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        if plane[0] * x + plane[1] * y + plane[2] * z - plane[3] < highest:
            along = axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z
            across = axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z
            left, right = min(left, along), max(right, along)
            top, bottom = min(top, across), max(bottom, across)
    if left > right:
        return ZERO, ZERO, ZERO
    border = np.float32(0.45)
    left, top = left - border, top - border
    density = np.float32(size) / max(right + border - left, bottom + border - top)
    lowest, blurred = spare[0], spare[1]
    lowest[:] = highest
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x, y, z = vertices[a, 0], vertices[a, 1], vertices[a, 2]
        if plane[0] * x + plane[1] * y + plane[2] * z - plane[3] > highest:
            continue
        third = np.float32(1 / 3)
        x = third * (vertices[a, 0] + vertices[b, 0] + vertices[c, 0])
        y = third * (vertices[a, 1] + vertices[b, 1] + vertices[c, 1])
        z = third * (vertices[a, 2] + vertices[b, 2] + vertices[c, 2])
        height = plane[0] * x + plane[1] * y + plane[2] * z - plane[3]
        if height < highest:
            j = int(density * (axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z - left))
            i = int(density * (axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z - top))
            if 0 <= i < size and 0 <= j < size:
                lowest[i, j] = min(lowest[i, j], height)
    grid[:] = ONE
    for scale, strength in ((0.05, 0.5), (0.14, 0.45), (0.4, 0.35)):
        reach = np.float32(scale)
        for i in range(size):
            for j in range(size):
                blurred[i, j] = max(ONE - max(lowest[i, j], ZERO) / reach, ZERO)
        radius = max(int(HALF * reach * density + HALF), 1)
        for _ in range(2):
            _box_blur(blurred, radius)
        # A line of samples through thin things leaves gaps; what is left of full cover counts.
        for i in range(size):
            for j in range(size):
                grid[i, j] *= ONE - np.float32(strength) * min(np.float32(2.5) * blurred[i, j], ONE)
    return density, left, top


@njit(nogil=True, cache=True, error_model="numpy")
def _box_blur(picture, radius):
    """Replace (n, n) by its mean over squares of 2 radius + 1 cells, empty beyond the border."""
    size = picture.shape[0]
    line = np.empty(size, np.float32)
    scale = ONE / np.float32(2 * radius + 1)
    for i in range(size):
        line[:] = picture[i]
        total = ZERO
        for j in range(min(radius, size)):
            total += line[j]
        for j in range(size):
            if j + radius < size:
                total += line[j + radius]
            if j - radius - 1 >= 0:
                total -= line[j - radius - 1]
            picture[i, j] = total * scale
    total_of = np.zeros(size, np.float32)
    copy = picture.copy()
    for i in range(min(radius, size)):
        total_of += copy[i]
    for i in range(size):
        if i + radius < size:
            total_of += copy[i + radius]
        if i - radius - 1 >= 0:
            total_of -= copy[i - radius - 1]
        picture[i] = total_of * scale


@njit(nogil=True, cache=True, error_model="numpy")
def darken_ground(
    sight,
    grid,
    supersample,
    lighting,
    normal,
    shadow,
    encoding,
    decoding,
    covered,
    box,
    rows,
    image,
):
    """Darken the picture where the bodies keep sun and sky from the ground.

    Args:
        sight: (6, 3) what a pixel (x, y, 1) sees of the ground, in homogeneous coordinates:
            column, row and nearness in the sun's map, column and row in the grid; and the divisor
            of all, which is positive where the ground is seen.
        grid: (n, n) from `map_contact`.
        normal: (3,) of the ground.
        lighting, shadow: as for `finish`.
        encoding, decoding: sRGB's curve and its inverse, as tables.
        covered: how many samples of each pixel of `box` the meshes cover already.
        box: top, bottom, left, right.
        rows: of the picture to work on, first and end.
        image: (H, W, 3), changed in place.
    """
    sky, lights, _, _ = lighting
    shadow_map = shadow[1]
    all_samples = supersample * supersample
    top, bottom, left, right = box
    cells = np.float32(grid.shape[0] - 1)
    nx, ny, nz = normal[0], normal[1], normal[2]
    cosine = ZERO
    if shadow_map[0].shape[0] > 0:
        cosine = max(nx * lights[0, 0, 0] + ny * lights[0, 0, 1] + nz * lights[0, 0, 2], ZERO)
    from_sky, from_sun = np.empty(3, np.float32), np.zeros(3, np.float32)
    for k in range(3):
        from_sky[k] = max(_irradiance(sky, k, nx, ny, nz), np.float32(1e-6))
        if cosine > 0:
            from_sun[k] = cosine * lights[0, 1, k]
        total = from_sky[k] + from_sun[k]
        from_sky[k], from_sun[k] = from_sky[k] / total, from_sun[k] / total
    step, last = np.float32(DECODING_STEPS), np.float32(encoding.shape[0] - 1)
    size = np.float32(shadow_map[0].shape[0])
    width = image.shape[1]
    for row in range(rows[0], rows[1]):
        y = np.float32(row) + HALF
        start_u, start_v = sight[0, 1] * y + sight[0, 2], sight[1, 1] * y + sight[1, 2]
        start_z = sight[2, 1] * y + sight[2, 2]
        start_s, start_t = sight[3, 1] * y + sight[3, 2], sight[4, 1] * y + sight[4, 2]
        start_w = sight[5, 1] * y + sight[5, 2]
        # The columns in which this row meets the sun's map, and the grid.
        begin, end = width, 0
        if cosine > 0:
            begin, end = _meets(sight, 0, 1, start_u, start_v, start_w, size, width)
        first, after = _meets(sight, 3, 4, start_s, start_t, start_w, cells, width)
        begin, end = min(begin, first), max(end, after)
        for column in range(begin, end):
            x = np.float32(column) + HALF
            divisor = start_w + sight[5, 0] * x
            if divisor <= np.float32(1e-9):
                continue
            within = top <= row < bottom and left <= column < right
            if within and covered[row - top, column] == all_samples:
                continue
            scale = ONE / divisor
            lit = clear = ONE
            if cosine > 0:
                lit = _sunlit(
                    (start_u + sight[0, 0] * x) * scale,
                    (start_v + sight[1, 0] * x) * scale,
                    (start_z + sight[2, 0] * x) * scale,
                    shadow_map,
                )
            u, v = (start_s + sight[3, 0] * x) * scale, (start_t + sight[4, 0] * x) * scale
            if u > 0 and v > 0 and u < cells and v < cells:
                i, j = np.uint32(v), np.uint32(u)
                v, u = v - np.float32(i), u - np.float32(j)
                below, beside = i + np.uint32(1), j + np.uint32(1)
                upper = grid[i, j] + u * (grid[i, beside] - grid[i, j])
                lower = grid[below, j] + u * (grid[below, beside] - grid[below, j])
                clear = upper + v * (lower - upper)
            if lit == ONE and clear == ONE:
                continue
            for k in range(3):
                factor = from_sky[k] * clear + from_sun[k] * lit
                light = decoding[np.uint32(np.float32(image[row, column, k]) * step)]
                shown = encoding[np.uint32(factor * light * last + HALF)]
                image[row, column, k] = np.uint8(shown + HALF)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _meets(sight, across, along, start_u, start_v, start_w, size, width):
    """The columns, half open, between which a row of the picture may see into a map.

    Where the divisor w is positive, u / w < size is u - size w < 0, linear in the column, and so
    are the other three sides of the map.
    """
    begin, end = np.float32(-1), np.float32(width + 1)
    for side in range(4):
        which, start = (across, start_u) if side < 2 else (along, start_v)
        bound, sign = (ZERO, ONE) if side % 2 == 0 else (size, -ONE)
        here = sign * (start - bound * start_w)
        slope = sign * (sight[which, 0] - bound * sight[5, 0])
        if slope > 0:
            begin = max(begin, -here / slope)
        elif slope < 0:
            end = min(end, -here / slope)
        elif here <= 0:
            end = begin
    begin = min(max(begin - ONE, ZERO), np.float32(width))
    return int(begin), int(min(max(end + ONE, ZERO), np.float32(width)))
