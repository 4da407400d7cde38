"""The rasteriser: triangles in, what each sample sees out, compiled by numba.

    vertex_normals  smooth normals, across the seams of a texture too
    project         bring every vertex to the picture
    rasterize       for every sample, find the nearest triangle
    hit             where in its triangle a sample lies

`rasterize` fills a z-buffer (inverse depth and face) and works out no colour: `shading` does, once
a pixel, however many triangles lie behind one another.

Everything here trusts its arguments; `hmrlib.render` checks them.
"""

from typing import NamedTuple

import numpy as np

from hmrlib.render.jit import compiled, inlined

NEAR = 0.01  # metres; a pinhole camera sees nothing that is nearer
SHIFT = 8  # positions are whole numbers of 1/256 of a sample, which makes edge tests exact
SUBPIXEL = 1 << SHIFT
HALF = SUBPIXEL // 2
GUARD = 1 << 29  # positions up to this size cannot overflow 64-bit edge functions
OUTSIDE = np.int32(-(1 << 31))  # marks a vertex that is nearer than NEAR, or far beyond the picture
# Samples of a row that a small face is tested on together; rows are that much longer. A loop over 8
# would be unrolled before the compiler thinks of vectors, and then run on none.
LANES = 16
TALL = 64  # samples; up to that height edge functions of a face that narrow fit into 32 bits
NOTHING = np.float32(-np.inf)  # inverse depth of a sample that sees no face

# numba would turn float32 into float64 beside a plain 1.0
ZERO, ONE = np.float32(0), np.float32(1)


class View(NamedTuple):
    """A camera for compiled functions; floats are float32.

    Attributes:
        pose: (3, 4) rotation and translation from world to camera.
        focal: samples a metre at a depth of one metre, or at all depths if `orthographic`.
        center_x, center_y: principal point, in samples.
        orthographic: parallel rays.
    """

    pose: np.ndarray
    focal: np.float32
    center_x: np.float32
    center_y: np.float32
    orthographic: bool


class Projection(NamedTuple):
    """Vertices in the picture, each array (V,).

    Attributes:
        x, y: int32, SUBPIXELths of a sample, or OUTSIDE.
        wide_x, wide_y: float32, samples, not divided by the depth unless orthographic.
        inverse_depth: float32, what is linear across a triangle in the picture and grows towards
            the camera: 1 / depth, or -depth if orthographic.
        depth: float32, metres along the viewing direction.
    """

    x: np.ndarray
    y: np.ndarray
    wide_x: np.ndarray
    wide_y: np.ndarray
    inverse_depth: np.ndarray
    depth: np.ndarray


class ZBuffer(NamedTuple):
    """What samples see, each array (rows, columns + LANES); the last LANES are never looked at.

    Attributes:
        inverse_depth: float32, as in `Projection`; NOTHING where no face is seen.
        face: uint32; undefined where no face is seen.
    """

    inverse_depth: np.ndarray
    face: np.ndarray


class Hit(NamedTuple):
    """A place on a triangle, as a ray meets it.

    Attributes:
        weights: of the three corners, correct in perspective.
        depth: metres.
        outer: whether the triangle's outer side is seen.
        inverse_area: one over twice the area that the triangle would have in the picture, in square
            SUBPIXELths, if all of it were as near as this place.
    """

    weights: tuple[np.float32, np.float32, np.float32]
    depth: np.float32
    outer: bool
    inverse_area: np.float32


@compiled
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
        _, _, (x, y, z) = edges(vertices, a, b, c)
        if same.shape[0]:
            a, b, c = same[a], same[b], same[c]
        for v in (a, b, c):
            normals[v, 0] += x
            normals[v, 1] += y
            normals[v, 2] += z
    for v in range(same.shape[0]):
        if same[v] != v:
            for k in range(3):
                normals[v, k] = normals[same[v], k]


@inlined
def edges(vertices, a, b, c):
    """A triangle's edges a to b and a to c, and their cross product."""
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
    normal = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    return (ux, uy, uz), (vx, vy, vz), normal


@compiled
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


@compiled
def project(vertices, view, projected):
    """Bring vertices (V, 3), metres, to the picture of a `View`: fill a `Projection`."""
    pose, focal, center_x, center_y, orthographic = view
    to_x, to_y, to_wide_x, to_wide_y, to_inverse_depth, to_depth = projected
    limit, nearest = np.float32(GUARD), np.float32(SUBPIXEL / NEAR)
    for v in range(vertices.shape[0]):
        px, py, pz = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        x = pose[0, 0] * px + pose[0, 1] * py + pose[0, 2] * pz + pose[0, 3]
        y = pose[1, 0] * px + pose[1, 1] * py + pose[1, 2] * pz + pose[1, 3]
        z = pose[2, 0] * px + pose[2, 1] * py + pose[2, 2] * pz + pose[2, 3]
        divisor = ONE if orthographic else z
        wide_x, wide_y = focal * x + center_x * divisor, focal * y + center_y * divisor
        inverse_depth = -z if orthographic else ONE / z
        scale = np.float32(SUBPIXEL) * (ONE if orthographic else inverse_depth)
        x, y = wide_x * scale, wide_y * scale
        inside = (scale > 0) & (scale <= nearest) & (abs(x) <= limit) & (abs(y) <= limit)
        to_x[v] = np.int32(np.rint(x)) if inside else OUTSIDE
        to_y[v] = np.int32(np.rint(y)) if inside else OUTSIDE
        to_wide_x[v], to_wide_y[v] = wide_x, wide_y
        to_inverse_depth[v], to_depth[v] = inverse_depth, z


@compiled
def rasterize(faces, mesh_of_face, two_sided, projected, orthographic, first_row, samples):
    """Find what each sample sees: the nearest triangle whose outer side the camera faces.

    A sample on an edge belongs to both triangles that share it; the nearer one keeps it, or the
    first of two as near. So there are no cracks, and no rule is needed for who owns an edge.

    Args:
        faces: (F, 3) counterclockwise seen from outside.
        mesh_of_face, two_sided: (F,), (M,) of which meshes inner sides are seen as well.
        projected: `Projection`.
        orthographic: parallel rays.
        first_row: the row of the picture, in samples, at which the samples begin.
        samples: `ZBuffer`, changed in place.
    """
    place_x, place_y, inverse_depth = projected.x, projected.y, projected.inverse_depth
    nearest, seen = samples.inverse_depth, samples.face
    rows, width = nearest.shape[0], nearest.shape[1] - LANES
    last_row = first_row + rows - 1
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay = np.int64(place_x[a]), np.int64(place_y[a])
        bx, by = np.int64(place_x[b]), np.int64(place_y[b])
        cx, cy = np.int64(place_x[c]), np.int64(place_y[c])
        low_x, high_x = min(ax, bx, cx), max(ax, bx, cx)
        low_y, high_y = min(ay, by, cy), max(ay, by, cy)
        if low_x == OUTSIDE:
            see_inside = two_sided[mesh_of_face[f]]
            _rasterize_wide(f, (a, b, c), see_inside, projected, orthographic, first_row, samples)
            continue
        area = (cx - ax) * (by - ay) - (bx - ax) * (cy - ay)  # twice; y points down
        if area == 0 or (area < 0 and not two_sided[mesh_of_face[f]]):
            continue
        if area < 0:  # the inner side: turn it round
            area = -area
            b, c = c, b
            bx, by, cx, cy = cx, cy, bx, by
        name = np.uint32(f)
        # Samples lie at the middle of their cells.
        left, right = max((low_x + HALF - 1) >> SHIFT, 0), min((high_x - HALF) >> SHIFT, width - 1)
        top = max((low_y + HALF - 1) >> SHIFT, first_row)
        bottom = min((high_y - HALF) >> SHIFT, last_row)
        if left > right or top > bottom:  # between the samples
            continue

        # Edge functions: the weight of a vertex is proportional to the sample's distance from the
        # opposite edge. They are linear, so a step to the next sample is one addition; and so is
        # the inverse depth.
        x, y = (left << SHIFT) + HALF, (top << SHIFT) + HALF
        row_a = (bx - cx) * (y - cy) - (by - cy) * (x - cx)
        row_b = (cx - ax) * (y - ay) - (cy - ay) * (x - ax)
        row_c = (ax - bx) * (y - by) - (ay - by) * (x - bx)
        step_a, step_b, step_c = (cy - by) << SHIFT, (ay - cy) << SHIFT, (by - ay) << SHIFT
        scale = ONE / np.float32(area)
        near_a = inverse_depth[a] * scale
        near_b = inverse_depth[b] * scale
        near_c = inverse_depth[c] * scale
        slope = (
            np.float32(step_a) * near_a + np.float32(step_b) * near_b + np.float32(step_c) * near_c
        )
        small = high_x - low_x < LANES << SHIFT and high_y - low_y < TALL << SHIFT
        for i in range(top - first_row, bottom - first_row + 1):
            row = np.uint32(i)  # unsigned, so that numba tests for no negative index
            start = (
                np.float32(row_a) * near_a + np.float32(row_b) * near_b + np.float32(row_c) * near_c
            )
            if small:  # as many samples as it may meet, all at once, on vectors
                edge_a, edge_b, edge_c = np.int32(row_a), np.int32(row_b), np.int32(row_c)
                across_a, across_b, across_c = np.int32(step_a), np.int32(step_b), np.int32(step_c)
                for k in range(LANES):
                    n, column = np.int32(k), np.uint32(left + k)
                    edges_here = edge_a + n * across_a, edge_b + n * across_b, edge_c + n * across_c
                    near = start + np.float32(k) * slope
                    inside = (edges_here[0] | edges_here[1] | edges_here[2]) >= np.int32(0)
                    front = inside & (near > nearest[row, column])
                    nearest[row, column] = near if front else nearest[row, column]
                    seen[row, column] = name if front else seen[row, column]
            else:
                for k in range(right - left + 1):
                    n, column = np.int64(k), np.uint32(left + k)
                    near = start + np.float32(k) * slope
                    inside = (row_a + n * step_a | row_b + n * step_b | row_c + n * step_c) >= 0
                    if inside and near > nearest[row, column]:
                        nearest[row, column], seen[row, column] = near, name
            row_a += (bx - cx) << SHIFT
            row_b += (cx - ax) << SHIFT
            row_c += (ax - bx) << SHIFT


@compiled
def _rasterize_wide(f, corners, two_sided, projected, orthographic, first_row, samples):
    """Rasterise a triangle with a vertex OUTSIDE, over the whole picture; see `rasterize`."""
    rows, width = samples.inverse_depth.shape[0], samples.inverse_depth.shape[1] - LANES
    functions, facing = _wide_edges(corners, projected, orthographic)
    if not (facing > 0 or (two_sided and facing < 0)):  # turned away, or degenerate
        return
    for i in range(rows):
        for j in range(width):
            weights, depth = _wide_weights(
                functions, facing, corners, projected, j + 0.5, first_row + i + 0.5
            )
            total = weights[0] + weights[1] + weights[2]
            if min(weights[0], weights[1], weights[2]) < 0 or total <= 0:
                continue
            if depth < NEAR and not orthographic:
                continue
            near = np.float32(-depth if orthographic else 1 / depth)
            if near > samples.inverse_depth[i, j]:
                samples.inverse_depth[i, j], samples.face[i, j] = near, f


@inlined
def _wide_edges(corners, projected, orthographic):
    """Edge functions (3, 3) in homogeneous coordinates, and twice the volume they span.

    Olano and Greer, "Triangle scan conversion using 2D homogeneous coordinates" (1997): edge
    functions need no division by depth, so a triangle that reaches behind the camera need not be
    clipped.
    """
    a, b, c = corners
    ax, ay = np.float64(projected.wide_x[a]), np.float64(projected.wide_y[a])
    bx, by = np.float64(projected.wide_x[b]), np.float64(projected.wide_y[b])
    cx, cy = np.float64(projected.wide_x[c]), np.float64(projected.wide_y[c])
    aw = bw = cw = 1.0
    if not orthographic:
        aw, bw = np.float64(projected.depth[a]), np.float64(projected.depth[b])
        cw = np.float64(projected.depth[c])
    of_a = cy * bw - cw * by, cw * bx - cx * bw, cx * by - cy * bx
    of_b = ay * cw - aw * cy, aw * cx - ax * cw, ax * cy - ay * cx
    of_c = by * aw - bw * ay, bw * ax - bx * aw, bx * ay - by * ax
    return (of_a, of_b, of_c), ax * of_a[0] + ay * of_a[1] + aw * of_a[2]


@inlined
def _wide_weights(functions, facing, corners, projected, x, y):
    """Weights of the corners at x, y, in samples, not scaled to sum 1; and the depth there."""
    sign = 1.0 if facing > 0 else -1.0
    of_a, of_b, of_c = functions
    a, b, c = corners
    weight_a = sign * (of_a[0] * x + of_a[1] * y + of_a[2])
    weight_b = sign * (of_b[0] * x + of_b[1] * y + of_b[2])
    weight_c = sign * (of_c[0] * x + of_c[1] * y + of_c[2])
    depth = weight_a * projected.depth[a] + weight_b * projected.depth[b]
    depth += weight_c * projected.depth[c]
    return (weight_a, weight_b, weight_c), depth / (weight_a + weight_b + weight_c)


@compiled
def wide_hit(corners, x, y, projected, orthographic):
    """`hit` on a triangle with a vertex OUTSIDE; corners: three vertex indices."""
    a, b, c = corners
    functions, facing = _wide_edges(corners, projected, orthographic)
    weights, _ = _wide_weights(functions, facing, corners, projected, x / SUBPIXEL, y / SUBPIXEL)
    weight_a, weight_b, weight_c = max(weights[0], 0.0), max(weights[1], 0.0), max(weights[2], 0.0)
    scale = 1.0 / (weight_a + weight_b + weight_c)
    weight_a, weight_b = np.float32(weight_a * scale), np.float32(weight_b * scale)
    weight_c = np.float32(weight_c * scale)
    depth = weight_a * projected.depth[a] + weight_b * projected.depth[b]
    depth += weight_c * projected.depth[c]
    inverse_area = np.float32(1 / (abs(facing) * SUBPIXEL * SUBPIXEL))
    if not orthographic:
        inverse_area *= depth * depth * depth
    return Hit((weight_a, weight_b, weight_c), depth, facing > 0, inverse_area)


@inlined
def hit(a, b, c, x, y, orthographic):
    """Where in a triangle the surface lies that is seen at x, y.

    Args:
        a, b, c: the corners' x, y and inverse depth, as in `Projection`.
        x, y: in SUBPIXELths of a sample; just outside the triangle, the answer is clamped to it.
        orthographic: parallel rays.

    Returns:
        `Hit`.
    """
    (ax, ay, near_a), (bx, by, near_b), (cx, cy, near_c) = a, b, c
    ax, ay = np.float32(ax - x), np.float32(ay - y)
    bx, by = np.float32(bx - x), np.float32(by - y)
    cx, cy = np.float32(cx - x), np.float32(cy - y)
    weight_a, weight_b, weight_c = by * cx - bx * cy, cy * ax - cx * ay, ay * bx - ax * by
    outer = weight_a + weight_b + weight_c > ZERO
    sign = ONE if outer else -ONE
    weight_a, weight_b = max(sign * weight_a, ZERO), max(sign * weight_b, ZERO)
    weight_c = max(sign * weight_c, ZERO)
    total = weight_a + weight_b + weight_c
    # divided by the corners' depths, weights are correct in perspective
    part_a, part_b, part_c = weight_a * near_a, weight_b * near_b, weight_c * near_c
    near = part_a + part_b + part_c
    if orthographic:
        scale = ONE / total
        weights = weight_a * scale, weight_b * scale, weight_c * scale
        return Hit(weights, -near * scale, outer, scale)
    scale = ONE / near
    depth = total * scale
    inverse_area = depth * depth * scale * near_a * near_b * near_c
    return Hit((part_a * scale, part_b * scale, part_c * scale), depth, outer, inverse_area)
