"""What keeps light away: the sun's map, ambient visibility, and the ground under bodies.

Each is compiled when a scene first asks for it; a plain picture needs none of them.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from hmrlib.render.jit import compiled, inlined
from hmrlib.render.rasterizer import (
    LANES,
    NOTHING,
    ONE,
    SUBPIXEL,
    ZERO,
    Projection,
    View,
    ZBuffer,
    project,
    rasterize,
    vertex_normals,
)
from hmrlib.render.shading import HALF, irradiance
from hmrlib.render.textures import DECODING_STEPS

# Sums of whole numbers are the same in every order, so they may run on vectors; so many make one.
UNIT = np.float32(1 << 16)
METRE, FARTHEST = np.float32(1 << 12), np.float32(1 << 12)
TILE = 4  # texels of the sun's map that share an entry of its coarse map
REACH = 14  # texels, at most, that a half-shadow spreads to each side
MARGIN = REACH + 2  # texels of the sun's map around all meshes, so that half-shadows end within it
CONTACT_CELLS = 48  # along each side of the grid that darkens the ground under feet
HIGHEST = np.float32(0.6)  # metres above the ground; what is higher does not darken it
BORDER = np.float32(0.45)  # metres around what is lower


def _spiral(count):
    """Points (2, count) spread evenly over the unit disc: Vogel's spiral."""
    steps = np.arange(count) + 0.5
    around = np.pi * (3 - 5**0.5) * steps
    points = np.sqrt(steps / count) * np.stack([np.cos(around), np.sin(around)])
    return points.astype(np.float32)


# Where to look around a point for what hides it from the sun, and from the sky.
FEW, MANY = _spiral(8), _spiral(16)  # multiples of eight run on vectors


class ShadowMap(NamedTuple):
    """What the sun sees; floats are float32.

    Attributes:
        sun: its `View`, orthographic; its focal length is the texels a metre.
        inverse_depth: (r, r) of the nearest thing; of no size if there is no sun.
        coarse: (r / TILE, r / TILE) of the nearest thing around each tile of texels.
        nearest: inverse depth of the nearest thing of all.
        widening: texels that a half-shadow grows a metre behind what throws it.
        most: texels that a half-shadow spreads at most.
    """

    sun: View
    inverse_depth: np.ndarray
    coarse: np.ndarray
    nearest: np.float32
    widening: np.float32
    most: np.float32


NO_SHADOW = ShadowMap(
    View(np.zeros((3, 4), np.float32), ONE, ZERO, ZERO, True),
    np.empty((0, 0), np.float32),
    np.empty((0, 0), np.float32),
    ZERO,
    ZERO,
    ZERO,
)


def shadow_map(sun, geometry, projected, samples):
    """Rasterise all meshes as the sun sees them.

    Args:
        sun: `lights.Sun`.
        geometry: `shading.Geometry`.
        projected, samples: scratch; samples (r, r + LANES), r a multiple of TILE.

    Returns:
        `ShadowMap`.
    """
    size = len(samples.inverse_depth)
    pose = np.zeros((3, 4), np.float32)
    pose[:2, :3], pose[2, :3] = plane_axes(-sun.direction, 1), -sun.direction
    # First by metres, to see how far the meshes reach.
    project(geometry.vertices, View(pose, ONE, ZERO, ZERO, True), projected)
    left, right = projected.wide_x.min(), projected.wide_x.max()
    top, bottom = projected.wide_y.min(), projected.wide_y.max()
    farthest, nearest = projected.inverse_depth.min(), projected.inverse_depth.max()
    density = np.float32(size - 2 * MARGIN) / max(right - left, bottom - top, np.float32(1e-3))
    half = HALF * np.float32(size)
    center_x = half - density * HALF * (left + right)
    center_y = half - density * HALF * (top + bottom)
    view = View(pose, density, center_x, center_y, True)
    project(geometry.vertices, view, projected)
    samples.inverse_depth.fill(NOTHING)
    rasterize(
        geometry.faces, geometry.mesh_of_face, geometry.two_sided, projected, True, 0, samples
    )
    widening = np.float32(np.tan(np.radians(sun.softness) / 2)) * density
    most = min(max(widening * np.float32(1.5) * (nearest - farthest), ONE), np.float32(REACH))
    most = max(most, np.float32(1.2))
    texels = np.ascontiguousarray(samples.inverse_depth[:, :size])
    coarse = _coarsen(texels, int(most) // TILE + 1)
    return ShadowMap(view, texels, coarse, nearest, widening, most)


def _coarsen(texels, around):
    """Of each TILE x TILE texels, and those of so many tiles around, the largest."""
    rows = texels.reshape(-1, TILE, len(texels)).max(1)
    tiles = np.maximum.reduce([rows[:, k::TILE] for k in range(TILE)])
    return ndimage.maximum_filter(tiles, 2 * around + 1, mode="nearest")


def plane_axes(normal, first):
    """Two unit vectors (2, 3) that span the plane with this normal (3,).

    The first is normal to axis number `first` of the world as well, or to the next one, should
    the normal be near to that axis.
    """
    if abs(normal[first]) >= 0.9:
        first = 1 - first
    across = _cross(normal, np.eye(3)[first])
    across /= np.sqrt((across**2).sum())
    return np.stack([across, _cross(normal, across)])


def _cross(u, v):
    """The cross product of two vectors (3,)."""
    (a, b, c), (d, e, f) = np.asarray(u, float).tolist(), np.asarray(v, float).tolist()
    return np.array([b * f - c * e, c * d - a * f, a * e - b * d])


@compiled
def sun_visibility(surface, direction, shadow):
    """Fill how much of the sun each fragment sees, 0 to 1.

    Args:
        surface: `shading.Surface`; direction: (3,) towards the sun; shadow: `ShadowMap`.
    """
    pose, focal, center_x, center_y, _ = shadow.sun
    position, normal = surface.position, surface.normal
    places = np.empty(normal.shape, np.float32)
    # The point steps out of its own surface, or the surface's slope would hide it from the sun.
    offset = np.float32(1.5) / focal
    for g in range(normal.shape[1]):
        nx, ny, nz = normal[0, g], normal[1, g], normal[2, g]
        x, y = position[0, g] + offset * nx, position[1, g] + offset * ny
        z = position[2, g] + offset * nz
        column = pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z
        row = pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z
        places[0, g], places[1, g] = focal * column + center_x, focal * row + center_y
        places[2, g] = -(pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z)
        if nx * direction[0] + ny * direction[1] + nz * direction[2] <= 0:
            places[2, g] = NOTHING
    _find_sunlit(places, shadow, surface.sun_visibility)


@compiled
def _find_sunlit(places, shadow, lit):
    """How much of the sun is seen from points, 0 to 1, by percentage-closer soft shadows.

    Fernando, "Percentage-closer soft shadows" (2005): the mean distance of what stands between
    the point and the sun gives the width of the half-shadow, over which the map is averaged.

    Args:
        places: (3, N) in the sun's view: column and row of the map, inverse depth; of the latter,
            NOTHING for a point that sees no sun.
        shadow: `ShadowMap`.
        lit: (N,) result.
    """
    sun, texels, coarse, nearest, widening, most = shadow
    size, focal = texels.shape[0], sun.focal
    # What lies within a texel of the surface itself throws no shadow on it.
    bias = np.float32(0.7) / focal
    end = np.float32(size - 1)
    around_x, around_y = FEW[0], FEW[1]
    for g in range(lit.shape[0]):
        x, y, z = places[0, g], places[1, g], places[2, g]
        lit[g] = ONE if z > NOTHING else ZERO
        if not (x >= 0 and y >= 0 and x < size and y < size) or z == NOTHING:
            continue
        if coarse[np.uint32(y) // np.uint32(TILE), np.uint32(x) // np.uint32(TILE)] <= z + bias:
            continue
        reach = min(max(widening * (nearest - z), np.float32(1.2)), most)
        blockers, total = np.int32(0), np.int32(0)
        for k in range(around_x.shape[0]):
            column = min(max(x + reach * around_x[k], ZERO), end)
            row = min(max(y + reach * around_y[k], ZERO), end)
            near = texels[np.uint32(row), np.uint32(column)]
            blocked = near > z + bias
            off = np.int32(min(near - z, FARTHEST) * METRE)
            blockers = np.int32(blockers + (np.int32(1) if blocked else np.int32(0)))
            total = np.int32(total + (off if blocked else np.int32(0)))
        if blockers == 0:
            continue
        if blockers == around_x.shape[0]:
            lit[g] = ZERO
            continue
        above = np.float32(total) / (np.float32(blockers) * METRE)
        reach = min(max(widening * above, np.float32(0.8)), most)
        slack = z + bias + np.float32(0.35) * reach / focal
        spiral = FEW if reach < np.float32(2.5) else MANY
        lit[g] = _share_lit(texels, x - HALF, y - HALF, reach, slack, spiral)


@inlined
def _share_lit(texels, x, y, reach, slack, spiral):
    """The part of a disc of the sun's map that is not nearer to the sun than `slack`."""
    end = np.float32(texels.shape[0] - 2)
    lit, around_x, around_y = np.int32(0), spiral[0], spiral[1]
    for k in range(around_x.shape[0]):
        column = min(max(x + reach * around_x[k], ZERO), end)
        row = min(max(y + reach * around_y[k], ZERO), end)
        i, j = np.uint32(row), np.uint32(column)
        part_x, part_y = column - np.float32(j), row - np.float32(i)
        below, right = i + np.uint32(1), j + np.uint32(1)
        p = ZERO if texels[i, j] > slack else ONE
        q = ZERO if texels[i, right] > slack else ONE
        r = ZERO if texels[below, j] > slack else ONE
        s = ZERO if texels[below, right] > slack else ONE
        upper, lower = p + part_x * (q - p), r + part_x * (s - r)
        lit = np.int32(lit + np.int32((upper + part_y * (lower - upper)) * UNIT))
    return np.float32(lit) / (np.float32(around_x.shape[0]) * UNIT)


@compiled
def ambient_visibility(fragments, depth, surface, pixels, box, view, supersample, radius):
    """Fill how open to the sky each fragment is, from what is seen beside it in the picture.

    Ambient occlusion in screen space, with the estimator of McGuire et al., "The alchemy
    screen-space ambient obscurance algorithm" (2011).

    Args:
        fragments, surface: `shading.Fragments`, `shading.Surface`; depth: (N,).
        pixels, box: of which the fragments are.
        view: `View` of the camera; supersample: samples along each side of a pixel.
        radius: metres within which surfaces keep the sky from one another.
    """
    pose, focal, center_x, center_y, orthographic = view
    place_x, place_y, normal = fragments.x, fragments.y, surface.normal
    visibility = surface.ambient_visibility
    stride, inverse_depth = np.int32(pixels.covered.shape[1]), pixels.inverse_depth
    inverse_depth = inverse_depth.reshape(inverse_depth.size)
    upper, lower = np.int32(box.top), np.int32(box.bottom - 1)
    first, last = np.int32(box.left), np.int32(box.right - 1)
    around_x, around_y = FEW[0], FEW[1]
    shrink = ONE / np.float32(supersample)
    scale = ONE / (focal * shrink)  # of the picture's pixels, as all that follows
    center_x, center_y = center_x * shrink, center_y * shrink
    shrink *= np.float32(1 / SUBPIXEL)
    square = radius * radius
    for g in range(depth.shape[0]):
        nx, ny, nz = normal[0, g], normal[1, g], normal[2, g]
        # In the camera's frame.
        across = pose[0, 0] * nx + pose[0, 1] * ny + pose[0, 2] * nz
        down = pose[1, 0] * nx + pose[1, 1] * ny + pose[1, 2] * nz
        away = pose[2, 0] * nx + pose[2, 1] * ny + pose[2, 2] * nz
        spread = scale if orthographic else scale * depth[g]
        column, row = np.float32(place_x[g]) * shrink, np.float32(place_y[g]) * shrink
        x, y = (column - center_x) * spread, (row - center_y) * spread
        reach = radius / spread
        hidden = np.int32(0)
        for k in range(around_x.shape[0]):  # without a branch, so that it runs on vectors
            j, i = np.int32(column + reach * around_x[k]), np.int32(row + reach * around_y[k])
            at_j, at_i = min(max(j, first), last), min(max(i, upper), lower)
            near = inverse_depth[np.uint32((at_i - upper) * stride + at_j)]
            other = -near if orthographic else ONE / near
            other_spread = scale if orthographic else scale * other
            dx = (np.float32(j) + HALF - center_x) * other_spread - x
            dy = (np.float32(i) + HALF - center_y) * other_spread - y
            dz = other - depth[g]
            distance = dx * dx + dy * dy + dz * dz
            above = dx * across + dy * down + dz * away - np.float32(0.05) * radius
            fade = ONE - distance / square
            part = fade * above / np.sqrt(distance + np.float32(1e-9))
            met = (at_j == j) & (at_i == i) & (near > NOTHING) & (above > 0) & (distance < square)
            hidden = np.int32(hidden + (np.int32(part * UNIT) if met else np.int32(0)))
        share = np.float32(hidden) / (np.float32(around_x.shape[0]) * UNIT)
        visibility[g] = max(ONE - np.float32(3.2) * share, np.float32(0.15))


class Ground(NamedTuple):
    """The ground as a pixel (x, y, 1) sees it, in homogeneous coordinates; float32.

    Attributes:
        sun_column, sun_row, sun_depth: (3,) place in the sun's map, and inverse depth there.
        column, row: (3,) place in the grid.
        divisor: (3,) of all of these; positive where the ground is seen.
        grid: (n, n) how much of the sky is open there, 0 to 1.
        normal: (3,) unit.
    """

    sun_column: np.ndarray
    sun_row: np.ndarray
    sun_depth: np.ndarray
    column: np.ndarray
    row: np.ndarray
    divisor: np.ndarray
    grid: np.ndarray
    normal: np.ndarray


def ground_seen(plane, camera, geometry, projected, shadow):
    """`Ground` of a scene.

    A pixel (x, y, 1) sees the plane's point M (x, y, 1) in homogeneous coordinates, and places
    in maps are linear in the point, so each is a homography of the picture.

    Args:
        plane: (4,) a, b, c, d: a x + b y + c z = d, the normal (a, b, c) of unit length.
        camera: `Camera`.
        geometry: `shading.Geometry`; projected: scratch.
        shadow: `ShadowMap`.
    """
    axes = plane_axes(plane[:3], 0)
    grid, (density, left, top) = _contact(plane, axes, geometry, projected)
    point = _points_seen(plane, camera)
    view = shadow.sun
    to_maps = np.zeros((6, 4))
    to_maps[:2, :3] = view.focal * view.pose[:2, :3]
    to_maps[:2, 3] = view.center_x, view.center_y
    to_maps[2, :3] = -view.pose[2, :3]
    to_maps[3:5, :3] = density * axes
    to_maps[3:5, 3] = -density * left - 0.5, -density * top - 0.5
    to_maps[5, 3] = 1
    seen = _product(to_maps, point).astype(np.float32)
    return Ground(*seen, grid, plane[:3].astype(np.float32))


def _points_seen(plane, camera):
    """The matrix (4, 3) from pixels (x, y, 1) to what they see of a plane; see `ground_seen`."""
    normal, height = plane[:3], plane[3]
    right, down, forward = camera.rotation
    (x, y), focal, eye = camera.center, camera.focal, camera.position
    start = (x * right + y * down) / focal
    point = np.zeros((4, 3))
    if camera.orthographic:
        start = np.stack([right / focal, down / focal, eye - start], 1)
        distance = -_product(normal, start)
        distance[2] += height
        point[:3] = start + forward[:, None] * (distance / (normal * forward).sum())
        point[3, 2] = 1
        return point
    rays = np.stack([right / focal, down / focal, forward - start], 1)
    above = height - (normal * eye).sum()
    point[3] = _product(normal, rays)
    point[:3] = eye[:, None] * point[3] + above * rays
    return point * np.sign(above)  # the divisor's sign then tells what lies in front


def _product(left, right):
    """A product of matrices, summed up in order, as BLAS on some processors does not."""
    return sum(left[..., k, None] * right[k] for k in range(len(right)))


def _contact(plane, axes, geometry, projected):
    """How much of the sky the bodies close to the ground hide from each place on it.

    The lowest height above each cell of a grid is blurred at three scales: what is nearer to
    the ground than a scale darkens the ground within about that distance.

    Returns:
        grid (n, n), 1 where the sky is open, 0 where it is hidden; and its place: cells a metre (0
        if nothing is near the ground), and where its corner lies along the two axes.
    """
    pose = np.zeros((3, 4), np.float32)  # the bodies as seen from the ground
    pose[:2, :3], pose[2] = axes, (*plane[:3], -plane[3])
    project(geometry.vertices, View(pose, ONE, ZERO, ZERO, True), projected)
    low = projected.depth < HIGHEST
    grid = np.ones((CONTACT_CELLS, CONTACT_CELLS), np.float32)
    if not low.any():
        return grid, (ZERO, ZERO, ZERO)
    along, across = projected.wide_x[low], projected.wide_y[low]
    left, top = along.min() - BORDER, across.min() - BORDER
    density = CONTACT_CELLS / max(along.max() + BORDER - left, across.max() + BORDER - top)
    lowest = np.full(grid.shape, HIGHEST)
    _find_lowest(geometry.faces, projected, density, left, top, lowest)
    for reach, strength in ((0.05, 0.5), (0.14, 0.45), (0.4, 0.35)):
        near = np.maximum(1 - np.maximum(lowest, 0) / np.float32(reach), 0)
        width = 2 * max(int(reach * density / 2 + 0.5), 1) + 1
        for _ in range(2):
            near = ndimage.uniform_filter(near, width, mode="constant")
        # A line of samples through thin things leaves gaps; what is left of full cover counts.
        grid *= 1 - np.float32(strength) * np.minimum(np.float32(2.5) * near, 1)
    return grid, (density, left, top)


@compiled
def _find_lowest(faces, projected, density, left, top, lowest):
    """Lessen each cell of `lowest` (n, n) to the height of the lowest face's middle above it."""
    size, third = lowest.shape[0], np.float32(1 / 3)
    x, y, height = projected.wide_x, projected.wide_y, projected.depth
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        middle = third * (height[a] + height[b] + height[c])
        if height[a] <= HIGHEST and middle < HIGHEST:
            j = int(density * (third * (x[a] + x[b] + x[c]) - left))
            i = int(density * (third * (y[a] + y[b] + y[c]) - top))
            if 0 <= i < size and 0 <= j < size:
                lowest[i, j] = min(lowest[i, j], middle)


@compiled
def darken_ground(ground, lighting, shadow, encoding, decoding, covered, box, rows, image):
    """Darken the picture where the bodies keep sun and sky from the ground.

    Args:
        ground, lighting, shadow: `Ground`, `shading.Lighting`, `ShadowMap` of the first light.
        encoding, decoding: `textures.ENCODING`, `textures.DECODING`.
        covered: (h, W) whether meshes cover a pixel of `box` wholly already.
        box: `shading.Box`.
        rows: of the picture to work on, first and end.
        image: (H, W, 3) uint8, changed in place.
    """
    sky, directions, colors, _ = lighting
    sun_column, sun_row, sun_depth, at_column, at_row, divisor_of, grid, normal = ground
    width, size, cells = image.shape[1], shadow.inverse_depth.shape[0], grid.shape[0] - 1
    top, bottom, left, right = box
    cosine = ZERO
    if size > 0:
        cosine = normal[0] * directions[0, 0] + normal[1] * directions[0, 1]
        cosine = max(cosine + normal[2] * directions[0, 2], ZERO)
    from_sky, from_sun = np.zeros(3, np.float32), np.zeros(3, np.float32)  # parts of all light
    for k in range(3):
        of_sky = max(irradiance(sky, k, normal[0], normal[1], normal[2]), np.float32(1e-6))
        of_sun = cosine * colors[0, k] if cosine > 0 else ZERO
        from_sky[k], from_sun[k] = of_sky / (of_sky + of_sun), of_sun / (of_sky + of_sun)
    step, last = np.float32(DECODING_STEPS), np.float32(encoding.shape[0] - 1)
    places, lit = np.empty((3, width), np.float32), np.ones(width, np.float32)
    clear = np.empty(width, np.float32)
    for row in range(rows[0], rows[1]):
        y = np.float32(row) + HALF
        begin, end = columns_seen(at_column, at_row, divisor_of, y, cells, width)
        if cosine > 0:
            first, after = columns_seen(sun_column, sun_row, divisor_of, y, size, width)
            begin, end = min(begin, first), max(end, after)
        if begin >= end:
            continue
        for column in range(begin, end):
            x = np.float32(column) + HALF
            divisor = _seen(divisor_of, x, y)
            within = top <= row < bottom and left <= column < right
            clear[column], places[0, column] = ONE, -ONE  # where the maps do not reach
            if divisor <= np.float32(1e-9) or (within and covered[row - top, column]):
                continue
            scale = ONE / divisor
            places[0, column] = _seen(sun_column, x, y) * scale
            places[1, column] = _seen(sun_row, x, y) * scale
            places[2, column] = _seen(sun_depth, x, y) * scale
            clear[column] = _between(
                grid, _seen(at_column, x, y) * scale, _seen(at_row, x, y) * scale
            )
        if cosine > 0:
            _find_sunlit(places[:, begin:end], shadow, lit[begin:end])
        for column in range(begin, end):
            if lit[column] == ONE and clear[column] == ONE:
                continue
            for k in range(3):
                factor = from_sky[k] * clear[column] + from_sun[k] * lit[column]
                light = decoding[np.uint32(np.float32(image[row, column, k]) * step)]
                shown = encoding[np.uint32(factor * light * last + HALF)]
                image[row, column, k] = np.uint8(shown + HALF)


@inlined
def _seen(what, x, y):
    """One of the places that `Ground` names, not yet divided."""
    return what[1] * y + what[2] + what[0] * x


@inlined
def _between(grid, u, v):
    """The bilinear mean of a grid (n, n) at column u, row v; 1 outside it."""
    end = np.float32(grid.shape[0] - 1)
    if not (u > 0 and v > 0 and u < end and v < end):
        return ONE
    i, j = np.uint32(v), np.uint32(u)
    v, u = v - np.float32(i), u - np.float32(j)
    below, beside = i + np.uint32(1), j + np.uint32(1)
    upper = grid[i, j] + u * (grid[i, beside] - grid[i, j])
    lower = grid[below, j] + u * (grid[below, beside] - grid[below, j])
    return upper + v * (lower - upper)


@compiled
def columns_seen(across, along, divisor, y, size, width):
    """The columns, half open, between which a row of the picture may see into a map.

    Where the divisor w is positive, u / w < size is u - size w < 0, linear in the column, and so
    are the other three sides of the map.

    Args:
        across, along, divisor: (3,) as in `Ground`, of the map's columns and of its rows.
        y: the row's middle.
        size: of the map; width: of the picture, in pixels.
    """
    begin, end = np.float32(-1), np.float32(width + 1)
    for side in range(4):
        which = across if side < 2 else along
        bound, sign = (ZERO, ONE) if side % 2 == 0 else (np.float32(size), -ONE)
        here = sign * (_seen(which, ZERO, y) - bound * _seen(divisor, ZERO, y))
        slope = sign * (which[0] - bound * divisor[0])
        if slope > 0:
            begin = max(begin, -here / slope)
        elif slope < 0:
            end = min(end, -here / slope)
        elif here <= 0:
            end = begin
    begin = min(max(begin - ONE, ZERO), np.float32(width))
    return int(begin), int(min(max(end + ONE, ZERO), np.float32(width)))


def sky_seen(vertices, faces, poses, focal, resolution):
    """The part of the sky that each vertex sees; see `hmrlib.render.ambient_occlusion`.

    Args:
        vertices, faces: (V, 3) float32, (F, 3) uint32.
        poses: (D, 3, 4) float32 rotations and translations that put the body before the camera.
        focal: pixels a metre.
        resolution: of the depth pictures.
    """
    count, faces = len(vertices), np.array(faces)
    normals = np.empty((count, 3), np.float32)
    vertex_normals(np.array(vertices), faces, np.empty(0, np.uint32), normals)
    normals /= np.sqrt((normals**2).sum(1, keepdims=True)) + np.float32(1e-30)
    projected = Projection(*np.empty((2, count), np.int32), *np.empty((4, count), np.float32))
    samples = ZBuffer(
        np.empty((resolution, resolution + LANES), np.float32),
        np.empty((resolution, resolution + LANES), np.uint32),
    )
    mesh_of_face, one_sided = np.zeros(len(faces), np.int32), np.array([False])
    middle = np.float32(resolution / 2)
    seen, total = np.zeros(count, np.float32), np.full(count, np.float32(1e-20))
    for pose in poses:
        project(vertices, View(pose, focal, middle, middle, True), projected)
        samples.inverse_depth.fill(NOTHING)
        rasterize(faces, mesh_of_face, one_sided, projected, True, 0, samples)
        right, down, away = (normals * row[:3] for row in pose)
        cosine = np.maximum(-(away[:, 0] + away[:, 1] + away[:, 2]), 0)
        # A vertex steps out of its own surface by the width of some samples.
        right = right[:, 0] + right[:, 1] + right[:, 2]
        down = down[:, 0] + down[:, 1] + down[:, 2]
        j = np.clip((projected.wide_x + 2 * right).astype(int), 0, resolution - 1)
        i = np.clip((projected.wide_y + 2 * down).astype(int), 0, resolution - 1)
        near = projected.inverse_depth + (cosine + np.float32(0.5)) * (2 / focal)
        total += cosine
        seen += np.where(near >= samples.inverse_depth[i, j], cosine, 0)
    return seen / total
