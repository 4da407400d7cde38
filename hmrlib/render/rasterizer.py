"""The rasteriser: triangles in, what each sample sees out, compiled by numba.

    vertex_normals  smooth normals, across the seams of a texture too
    project         bring every vertex to the picture
    rasterize       for every sample, find the nearest triangle
    weights         where in its triangle a sample lies

`rasterize` writes a visibility buffer (nearness and face) and no colour: `hmrlib.render.shading`
works out colour once a pixel, however many triangles lie behind one another.  `rasterize_depth`,
the same but for the face, makes the map of what the sun sees.

Everything here trusts its arguments; `hmrlib.render` checks them.  All functions release the GIL
and none uses numba's own threads, so any number of Python threads may draw at the same time.
"""

import numpy as np
from numba import njit

NEAR = 0.01  # metres; a pinhole camera sees nothing that is nearer
SHIFT = 8  # positions are whole numbers of 1/256 of a sample, which makes edge tests exact
SUBPIXEL = 1 << SHIFT
HALF = SUBPIXEL // 2
GUARD = 1 << 29  # positions up to this size cannot overflow 64-bit edge functions
# Samples of a row that a small face is tested on together; rows are that much longer. A loop over 8
# would be unrolled before the compiler thinks of vectors, and then run on none.
LANES = 16
TALL = 64  # samples; up to that height edge functions of a face that narrow fit into 32 bits
OUTSIDE = np.int32(-(1 << 31))  # marks a vertex that is nearer than NEAR, or far beyond the picture

# numba would turn float32 into float64 beside a plain 1.0
ZERO, ONE = np.float32(0), np.float32(1)
NOTHING = np.uint64(0)  # a sample of the visibility buffer that sees no face


@njit(nogil=True, cache=True, error_model="numpy")
def vertex_normals(vertices, faces, same, normals):
    """Sum the normals of the faces around each vertex, weighted by area; not normalised.

    Args:
        vertices, faces: (V, 3), (F, 3).
        same: (V,) the first vertex at the same place, whose normal each vertex takes, from
            `weld`; or of no size.
        normals: (V, 3) result.
    """
    normals[:] = 0
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        _, _, _, _, _, _, nx, ny, nz = edges(vertices, a, b, c)
        if same.shape[0]:
            a, b, c = same[a], same[b], same[c]
        for v in (a, b, c):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for v in range(same.shape[0]):
        if same[v] != v:
            normals[v] = normals[same[v]]


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def edges(vertices, a, b, c):
    """A triangle's edges a to b and a to c, and their cross product: nine numbers."""
    ux, uy, uz = (
        vertices[b, 0] - vertices[a, 0],
        vertices[b, 1] - vertices[a, 1],
        vertices[b, 2] - vertices[a, 2],
    )
    vx, vy, vz = (
        vertices[c, 0] - vertices[a, 0],
        vertices[c, 1] - vertices[a, 1],
        vertices[c, 2] - vertices[a, 2],
    )
    return ux, uy, uz, vx, vy, vz, uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx


@njit(nogil=True, cache=True, error_model="numpy")
def weld(bits, table, same):
    """For each vertex, the first that stands at exactly the same place, by hashing.

    Args:
        bits: (V, 3) uint32, the positions' bits.
        table: (T,) int32 scratch, T a power of two and at least 2 V.
        same: (V,) uint32 result.
    """
    table[:] = -1
    mask = np.uint32(table.shape[0] - 1)
    for v in range(bits.shape[0]):
        x, y, z = bits[v, 0], bits[v, 1], bits[v, 2]
        mixed = np.uint32(x * np.uint32(73856093) ^ y * np.uint32(19349663))
        mixed = np.uint32(mixed ^ z * np.uint32(83492791))
        mixed = np.uint32((mixed ^ (mixed >> np.uint32(15))) * np.uint32(0x2C1B3C6D))
        slot = np.uint32((mixed ^ (mixed >> np.uint32(13))) & mask)
        while True:
            other = table[slot]
            if other < 0:
                table[slot] = v
                same[v] = v
                break
            if bits[other, 0] == x and bits[other, 1] == y and bits[other, 2] == z:
                same[v] = other
                break
            slot = np.uint32((slot + np.uint32(1)) & mask)


@njit(nogil=True, cache=True, error_model="numpy")
def project(vertices, pose, intrinsics, orthographic, position, screen):
    """Vertices in the picture.

    Args:
        vertices: (V, 3) metres.
        pose: (3, 4) rotation and translation from world to camera.
        intrinsics: (3,) focal length and principal point, in samples.
        orthographic: parallel rays.
        position: (V, 2) int32 result: x, y in SUBPIXELths of a sample, or OUTSIDE.
        screen: (V, 4) result: x and y in samples, not yet divided by the depth unless
            orthographic; nearness; depth.  Nearness is what is linear across a triangle in the
            picture and grows towards the camera: 1 / depth, or -depth if orthographic.
    """
    focal, center_x, center_y = intrinsics[0], intrinsics[1], intrinsics[2]
    snap, limit = np.float32(SUBPIXEL), np.float32(GUARD)
    nearest = np.float32(SUBPIXEL / NEAR)
    # As long rows: numba does not know how long a table's rows are, and so cannot tell that what
    # is written for one vertex is not read for the next, as loops on vectors need.
    points, to_screen, to_position = flat(vertices), flat(screen), flat(position)
    for v in range(vertices.shape[0]):
        px, py, pz = points[3 * v], points[3 * v + 1], points[3 * v + 2]
        x = pose[0, 0] * px + pose[0, 1] * py + pose[0, 2] * pz + pose[0, 3]
        y = pose[1, 0] * px + pose[1, 1] * py + pose[1, 2] * pz + pose[1, 3]
        z = pose[2, 0] * px + pose[2, 1] * py + pose[2, 2] * pz + pose[2, 3]
        divisor = ONE if orthographic else z
        to_screen[4 * v] = focal * x + center_x * divisor
        to_screen[4 * v + 1] = focal * y + center_y * divisor
        to_screen[4 * v + 2] = -z if orthographic else ONE / z
        to_screen[4 * v + 3] = z
    # A loop of its own, as the two together do not run on vectors of vertices.
    for v in range(vertices.shape[0]):
        scale = snap if orthographic else snap * to_screen[4 * v + 2]
        x, y = to_screen[4 * v] * scale, to_screen[4 * v + 1] * scale
        inside = (scale > 0) & (scale <= nearest) & (abs(x) <= limit) & (abs(y) <= limit)
        to_position[2 * v] = np.int32(np.rint(x)) if inside else OUTSIDE
        to_position[2 * v + 1] = np.int32(np.rint(y)) if inside else OUTSIDE


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def flat(table):
    """A table (n, m) as one row (n m,)."""
    return table.reshape(table.size)


@njit(nogil=True, cache=True, error_model="numpy")
def bounds(position, supersample, width, height):
    """Pixels (top, bottom, left, right; half open) outside which nothing can be seen."""
    left, top, right, bottom = np.int32(GUARD), np.int32(GUARD), np.int32(-GUARD), np.int32(-GUARD)
    places = flat(position)  # as in `project`
    for v in range(position.shape[0]):
        x, y = places[2 * v], places[2 * v + 1]
        left, right = min(left, x), max(right, x)
        top, bottom = min(top, y), max(bottom, y)
    if left == OUTSIDE:
        return 0, height, 0, width
    pixel = supersample << SHIFT
    return (
        min(max(top // pixel, 0), height),
        min(max(bottom // pixel + 1, 0), height),
        min(max(left // pixel, 0), width),
        min(max(right // pixel + 1, 0), width),
    )


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _span(start, step, inverse, begin, end):
    """Of the samples k, begin <= k < end, those where start + k step >= 0; inverse = 1 / step.

    A quotient that is not whole is at least 1 / step, 3e-8, away from a whole number.
    """
    if step > 0:
        return max(begin, np.int64(np.ceil(-start * inverse - 1e-9))), end
    if step < 0:
        return begin, min(end, np.int64(np.floor(-start * inverse + 1e-9)) + 1)
    return (begin, end) if start >= 0 else (begin, begin)


@njit(nogil=True, cache=True, error_model="numpy")
def _edges(screen, a, b, c, orthographic):
    """Edge functions (3, 3) of a triangle with a vertex OUTSIDE, in homogeneous coordinates.

    Olano and Greer, "Triangle scan conversion using 2D homogeneous coordinates" (1997): edge
    functions need no division by depth, so a triangle that reaches behind the camera need not be
    clipped.
    """
    ax, ay, az = np.float64(screen[a, 0]), np.float64(screen[a, 1]), np.float64(screen[a, 3])
    bx, by, bz = np.float64(screen[b, 0]), np.float64(screen[b, 1]), np.float64(screen[b, 3])
    cx, cy, cz = np.float64(screen[c, 0]), np.float64(screen[c, 1]), np.float64(screen[c, 3])
    aw, bw, cw = (1.0, 1.0, 1.0) if orthographic else (az, bz, cz)
    return (
        (cy * bw - cw * by, cw * bx - cx * bw, cx * by - cy * bx),
        (ay * cw - aw * cy, aw * cx - ax * cw, ax * cy - ay * cx),
        (by * aw - bw * ay, bw * ax - bx * aw, bx * ay - by * ax),
        ax * (cy * bw - cw * by) + ay * (cw * bx - cx * bw) + aw * (cx * by - cy * bx),
    )


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _packed(near, face):
    """A sample of the visibility buffer: of two, the larger number is the one in front.

    The bits of floats, read as whole numbers, are in the order of the floats where these are
    positive, and in the opposite one where they are not. Of faces as near, the first is in front.
    """
    bits = np.float32(near).view(np.int32)
    bits = np.uint32(bits ^ ((bits >> np.int32(31)) | np.int32(-0x80000000)))
    return (np.uint64(bits) << np.uint64(32)) | np.uint64(~np.uint32(face))


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def unpacked(sample):
    """Nearness and face of a sample that sees one."""
    bits, sign = np.uint32(sample >> np.uint64(32)), np.uint32(0x80000000)
    bits = bits ^ sign if bits & sign else ~bits
    return np.uint32(bits).view(np.float32), ~np.uint32(sample)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _combined(a, b, c, of_a, of_b, of_c):
    """The vertices' values, each times a whole number, summed up in single precision."""
    return np.float32(a) * of_a + np.float32(b) * of_b + np.float32(c) * of_c


def _rasterizer(with_faces):
    """`rasterize` and `rasterize_depth`, which differ in what a sample is."""

    @njit(nogil=True, cache=True, error_model="numpy")
    def fill(
        position,
        screen,
        faces,
        first_face,
        two_sided,
        orthographic,
        first_row,
        width,
        rows,
        samples,
    ):
        """Find what each sample sees: the nearest triangle whose outer side the camera faces.

        Args:
            position, screen: (V, 2), (V, 4) from `project`.
            faces: (F, 3) counterclockwise seen from outside.
            first_face: what to add to an index into `faces` before it is written.
            two_sided: see inner sides as well.
            first_row: the row of the picture, in samples, at which the samples begin.
            width, rows: the part of the samples in use.
            samples: result, (h, at least width + LANES): uint64, see `unpacked`, which the caller
                has cleared to NOTHING; for `rasterize_depth` float32 nearness, cleared to -inf.
        """
        last_row = first_row + rows - 1
        lanes, tall = np.int64(LANES << SHIFT), np.int64(TALL << SHIFT)
        for f in range(faces.shape[0]):
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            ax, ay = np.int64(position[a, 0]), np.int64(position[a, 1])
            bx, by = np.int64(position[b, 0]), np.int64(position[b, 1])
            cx, cy = np.int64(position[c, 0]), np.int64(position[c, 1])
            area = (cx - ax) * (by - ay) - (bx - ax) * (cy - ay)  # twice; y points down
            low_x, high_x = min(ax, bx, cx), max(ax, bx, cx)
            low_y, high_y = min(ay, by, cy), max(ay, by, cy)
            name = np.uint32(f + first_face)
            if low_x == OUTSIDE:
                fill_homogeneous(
                    screen, a, b, c, name, two_sided, orthographic, first_row, width, rows, samples
                )
                continue
            if area == 0 or (area < 0 and not two_sided):
                continue
            if area < 0:  # the inner side: turn it round
                area = -area
                b, c = c, b
                bx, by, cx, cy = cx, cy, bx, by
            # Samples lie at the middle of their cells.
            left = max((low_x + HALF - 1) >> SHIFT, 0)
            right = min((high_x - HALF) >> SHIFT, width - 1)
            top = max((low_y + HALF - 1) >> SHIFT, first_row)
            bottom = min((high_y - HALF) >> SHIFT, last_row)
            if left > right or top > bottom:  # between the samples
                continue

            # Edge functions: the weight of a vertex is proportional to the sample's distance from
            # the opposite edge.  They are linear, so a step to the next sample is one addition.
            x, y = (left << SHIFT) + HALF, (top << SHIFT) + HALF
            row_a = (bx - cx) * (y - cy) - (by - cy) * (x - cx)
            row_b = (cx - ax) * (y - ay) - (cy - ay) * (x - ax)
            row_c = (ax - bx) * (y - by) - (ay - by) * (x - bx)
            step_a, step_b, step_c = (cy - by) << SHIFT, (ay - cy) << SHIFT, (by - ay) << SHIFT
            down_a, down_b, down_c = (bx - cx) << SHIFT, (cx - ax) << SHIFT, (ax - bx) << SHIFT
            inverse_area = ONE / np.float32(area)
            near_a = screen[a, 2] * inverse_area
            near_b = screen[b, 2] * inverse_area
            near_c = screen[c, 2] * inverse_area
            # Nearness is linear in the picture too.
            slope = _combined(step_a, step_b, step_c, near_a, near_b, near_c)
            if high_x - low_x < lanes and high_y - low_y < tall:
                # Small: all samples that it may meet in a row are tested at once, on vectors.
                lane_a, lane_b, lane_c = np.int32(row_a), np.int32(row_b), np.int32(row_c)
                across_a, across_b, across_c = np.int32(step_a), np.int32(step_b), np.int32(step_c)
                for i in range(top - first_row, bottom - first_row + 1):
                    row = np.uint32(i)
                    near = _combined(lane_a, lane_b, lane_c, near_a, near_b, near_c)
                    for k in range(LANES):
                        n, j = np.int32(k), np.uint32(left + k)
                        outside = (
                            (lane_a + n * across_a)
                            | (lane_b + n * across_b)
                            | (lane_c + n * across_c)
                        ) < np.int32(0)
                        here = near + np.float32(k) * slope
                        if with_faces:
                            here = NOTHING if outside else _packed(here, name)
                            samples[row, j] = max(samples[row, j], here)
                        else:
                            seen = (not outside) & (here > samples[row, j])
                            samples[row, j] = here if seen else samples[row, j]
                    lane_a += np.int32(down_a)
                    lane_b += np.int32(down_b)
                    lane_c += np.int32(down_c)
                continue
            # Others are drawn from edge to edge of each row.
            inverse_a = 1 / step_a if step_a else 0.0
            inverse_b = 1 / step_b if step_b else 0.0
            inverse_c = 1 / step_c if step_c else 0.0
            for i in range(top - first_row, bottom - first_row + 1):
                row = np.uint32(i)
                near = _combined(row_a, row_b, row_c, near_a, near_b, near_c)
                begin, end = _span(row_a, step_a, inverse_a, 0, right - left + 1)
                begin, end = _span(row_b, step_b, inverse_b, begin, end)
                begin, end = _span(row_c, step_c, inverse_c, begin, end)
                for k in range(begin, end):
                    here, j = near + np.float32(k) * slope, np.uint32(left + k)
                    if with_faces:
                        samples[row, j] = max(samples[row, j], _packed(here, name))
                    else:
                        samples[row, j] = max(samples[row, j], here)
                row_a += down_a
                row_b += down_b
                row_c += down_c

    @njit(nogil=True, cache=True, error_model="numpy")
    def fill_homogeneous(
        screen, a, b, c, name, two_sided, orthographic, first_row, width, rows, samples
    ):
        """Rasterise a triangle with a vertex OUTSIDE, sample by sample."""
        edge_a, edge_b, edge_c, facing = _edges(screen, a, b, c, orthographic)
        if not (facing > 0 or (two_sided and facing < 0)):  # turned away, or degenerate
            return
        sign = 1.0 if facing > 0 else -1.0
        for i in range(rows):
            y = first_row + i + 0.5
            for j in range(width):
                x = j + 0.5
                weight_a = sign * (edge_a[0] * x + edge_a[1] * y + edge_a[2])
                weight_b = sign * (edge_b[0] * x + edge_b[1] * y + edge_b[2])
                weight_c = sign * (edge_c[0] * x + edge_c[1] * y + edge_c[2])
                total = weight_a + weight_b + weight_c
                if weight_a < 0 or weight_b < 0 or weight_c < 0 or total <= 0:
                    continue
                depth = (
                    weight_a * screen[a, 3] + weight_b * screen[b, 3] + weight_c * screen[c, 3]
                ) / total
                if depth < NEAR and not orthographic:
                    continue
                near = np.float32(-depth if orthographic else 1 / depth)
                if with_faces:
                    samples[i, j] = max(samples[i, j], _packed(near, name))
                else:
                    samples[i, j] = max(samples[i, j], near)

    return fill


rasterize, rasterize_depth = _rasterizer(True), _rasterizer(False)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def weights(position, screen, a, b, c, x, y, orthographic):
    """Where in the triangle a, b, c, drawn at x, y, the surface lies that is seen there.

    Args:
        x, y: in SUBPIXELths of a sample; just outside the triangle, the answer is clamped to it.

    Returns:
        the weights of a, b and c, correct in perspective; the depth; whether the triangle's
        outer side is seen; and one over twice the area that it would have in the picture, in
        square SUBPIXELths, if all of it were as near as this place.
    """
    if position[a, 0] == OUTSIDE or position[b, 0] == OUTSIDE or position[c, 0] == OUTSIDE:
        edge_a, edge_b, edge_c, facing = _edges(screen, a, b, c, orthographic)
        sign = 1.0 if facing > 0 else -1.0
        x_sample, y_sample = x / SUBPIXEL, y / SUBPIXEL
        wide_a = max(sign * (edge_a[0] * x_sample + edge_a[1] * y_sample + edge_a[2]), 0.0)
        wide_b = max(sign * (edge_b[0] * x_sample + edge_b[1] * y_sample + edge_b[2]), 0.0)
        wide_c = max(sign * (edge_c[0] * x_sample + edge_c[1] * y_sample + edge_c[2]), 0.0)
        scale = 1.0 / (wide_a + wide_b + wide_c)
        weight_a, weight_b = np.float32(wide_a * scale), np.float32(wide_b * scale)
        weight_c = np.float32(wide_c * scale)
        depth = weight_a * screen[a, 3] + weight_b * screen[b, 3] + weight_c * screen[c, 3]
        inverse_area = np.float32(1 / (abs(facing) * SUBPIXEL * SUBPIXEL))
        if not orthographic:
            inverse_area *= depth * depth * depth
        return weight_a, weight_b, weight_c, depth, facing > 0, inverse_area
    ax, ay = np.float32(position[a, 0] - x), np.float32(position[a, 1] - y)
    bx, by = np.float32(position[b, 0] - x), np.float32(position[b, 1] - y)
    cx, cy = np.float32(position[c, 0] - x), np.float32(position[c, 1] - y)
    weight_a = by * cx - bx * cy
    weight_b = cy * ax - cx * ay
    weight_c = ay * bx - ax * by
    outer = weight_a + weight_b + weight_c > ZERO
    if not outer:
        weight_a, weight_b, weight_c = -weight_a, -weight_b, -weight_c
    weight_a, weight_b, weight_c = max(weight_a, ZERO), max(weight_b, ZERO), max(weight_c, ZERO)
    total = weight_a + weight_b + weight_c
    part_a, part_b, part_c = (
        weight_a * screen[a, 2],
        weight_b * screen[b, 2],
        weight_c * screen[c, 2],
    )
    near = part_a + part_b + part_c
    if orthographic:
        scale = ONE / total
        return weight_a * scale, weight_b * scale, weight_c * scale, -near * scale, outer, scale
    scale = ONE / near
    depth = total * scale
    inverse_area = depth * depth * scale * screen[a, 2] * screen[b, 2] * screen[c, 2]
    return part_a * scale, part_b * scale, part_c * scale, depth, outer, inverse_area


@njit(nogil=True, cache=True, error_model="numpy")
def sky_seen(vertices, faces, poses, focal, resolution):
    """The part of the sky that each vertex sees; see `hmrlib.render.ambient_occlusion`.

    Args:
        vertices, faces: as for `rasterize`.
        poses: (D, 3, 4) rotations and translations that put the body before the camera.
        focal: pixels a metre.
        resolution: of the depth pictures.
    """
    normals = np.empty(vertices.shape, np.float32)
    vertex_normals(vertices, faces, np.empty(0, np.uint32), normals)
    position = np.empty((vertices.shape[0], 2), np.int32)
    screen = np.empty((vertices.shape[0], 4), np.float32)
    nearness = np.empty((resolution, resolution + LANES), np.float32)
    middle = np.float32(resolution / 2)
    intrinsics = np.array([focal, middle, middle], np.float32)
    seen = np.zeros(vertices.shape[0], np.float32)
    total = np.full(vertices.shape[0], np.float32(1e-20))
    # A vertex steps out of its own surface by the width of some samples.
    step = np.float32(2.0) / focal
    for d in range(poses.shape[0]):
        pose = poses[d]
        project(vertices, pose, intrinsics, True, position, screen)
        nearness[:] = -np.inf
        rasterize_depth(
            position, screen, faces, 0, False, True, 0, resolution, resolution, nearness
        )
        for v in range(vertices.shape[0]):
            x, y, z = normals[v, 0], normals[v, 1], normals[v, 2]
            length = np.sqrt(x * x + y * y + z * z) + np.float32(1e-30)
            right = (pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z) / length
            down = (pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z) / length
            cosine = -(pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z) / length
            if cosine <= 0:
                continue
            total[v] += cosine
            j = int(screen[v, 0] + right * step * focal)
            i = int(screen[v, 1] + down * step * focal)
            near = screen[v, 2] + cosine * step
            i, j = min(max(i, 0), resolution - 1), min(max(j, 0), resolution - 1)
            if near + np.float32(0.5) * step >= nearness[i, j]:
                seen[v] += cosine
    return seen / total
