"""The rasteriser: triangles in, a picture out, compiled by numba.

`draw` makes one picture in four steps, each a function below:

    shade       light every vertex (Gouraud), from smooth vertex normals
    project     bring every vertex to the picture
    rasterize   for every sample, find the nearest triangle and where in it the sample lies
    resolve     average the samples of each pixel and lay them over the background

The third step writes a visibility buffer (nearness, face, barycentric coordinates) and no colour,
so colour is worked out once a sample, however many triangles lie behind one another.

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
OUTSIDE = np.int32(-(1 << 31))  # marks a vertex that is nearer than NEAR, or far beyond the picture

# numba would turn float32 into float64 beside a plain 1.0
ZERO, ONE = np.float32(0), np.float32(1)


def _encoding_table() -> np.ndarray:
    """sRGB's transfer curve (IEC 61966-2-1): linear light in [0, 1] -> displayed value 0 to 255."""
    linear = np.linspace(0, 1, 4096)
    encoded = np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (255 * encoded).astype(np.float32)


ENCODING = _encoding_table()


@njit(nogil=True, cache=True, error_model="numpy")
def vertex_normals(vertices, faces, normals):
    """Sum the normals of the faces around each vertex, weighted by area; not normalised."""
    normals[:] = 0
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
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
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for v in (a, b, c):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})
def shade(normals, albedo, lights, ambient, wrap, encoding, shades):
    """Light that each vertex sends to the camera, encoded for display.

    Args:
        normals: (V, 3) of any length.
        albedo: (V, 3) linear.
        lights: (L, 2, 3) for each light, the unit direction towards it and its linear colour.
        ambient: (3, 3) the direction that is up, the sky's colour, the ground's.
        wrap: how far light reaches around the terminator, 0 (Lambert) to 1.
        encoding: sRGB's curve as a table.
        shades: (V, 3) result, 0 to 255.
    """
    last = np.float32(encoding.shape[0] - 1)
    half = np.float32(0.5)
    inverse_wrap = ONE / (ONE + wrap)
    for v in range(normals.shape[0]):
        x, y, z = normals[v, 0], normals[v, 1], normals[v, 2]
        scale = ONE / np.sqrt(x * x + y * y + z * z + np.float32(1e-30))
        x, y, z = x * scale, y * scale, z * scale
        sky = half + half * (x * ambient[0, 0] + y * ambient[0, 1] + z * ambient[0, 2])
        red = ambient[2, 0] + sky * (ambient[1, 0] - ambient[2, 0])
        green = ambient[2, 1] + sky * (ambient[1, 1] - ambient[2, 1])
        blue = ambient[2, 2] + sky * (ambient[1, 2] - ambient[2, 2])
        for light in range(lights.shape[0]):
            cosine = x * lights[light, 0, 0] + y * lights[light, 0, 1] + z * lights[light, 0, 2]
            lit = max((cosine + wrap) * inverse_wrap, ZERO)
            red += lit * lights[light, 1, 0]
            green += lit * lights[light, 1, 1]
            blue += lit * lights[light, 1, 2]
        shades[v, 0] = encoding[int(min(albedo[v, 0] * red, ONE) * last + half)]
        shades[v, 1] = encoding[int(min(albedo[v, 1] * green, ONE) * last + half)]
        shades[v, 2] = encoding[int(min(albedo[v, 2] * blue, ONE) * last + half)]


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
    for v in range(vertices.shape[0]):
        px, py, pz = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        x = pose[0, 0] * px + pose[0, 1] * py + pose[0, 2] * pz + pose[0, 3]
        y = pose[1, 0] * px + pose[1, 1] * py + pose[1, 2] * pz + pose[1, 3]
        z = pose[2, 0] * px + pose[2, 1] * py + pose[2, 2] * pz + pose[2, 3]
        divisor = ONE if orthographic else z
        screen[v, 0] = focal * x + center_x * divisor
        screen[v, 1] = focal * y + center_y * divisor
        screen[v, 2] = -z if orthographic else ONE / z
        screen[v, 3] = z
    # A loop of its own, as the two together do not run on vectors of vertices.
    for v in range(vertices.shape[0]):
        scale = snap if orthographic else snap * screen[v, 2]
        x, y = screen[v, 0] * scale, screen[v, 1] * scale
        inside = (scale > 0) & (scale <= nearest) & (abs(x) <= limit) & (abs(y) <= limit)
        position[v, 0] = np.int32(np.rint(x)) if inside else OUTSIDE
        position[v, 1] = np.int32(np.rint(y)) if inside else OUTSIDE


@njit(nogil=True, cache=True, error_model="numpy")
def rasterize(position, screen, faces, orthographic, first_row, width, rows, samples):
    """Find what each sample sees: the nearest triangle whose outer side is turned to the camera.

    Args:
        position, screen: (V, 2), (V, 4) from `project`.
        faces: (F, 3) counterclockwise seen from outside.
        first_row: the row of the picture, in samples, at which the buffers begin.
        width, rows: the part of the buffers in use.
        samples: results: nearness (h, w), which the caller has cleared to -inf; and, written only
            where something is seen, face (h, w) and barycentric (h, w, 2), the weights of the
            face's first two vertices, correct in perspective.
    """
    nearness, face, barycentric = samples
    last_row = first_row + rows - 1
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay = np.int64(position[a, 0]), np.int64(position[a, 1])
        bx, by = np.int64(position[b, 0]), np.int64(position[b, 1])
        cx, cy = np.int64(position[c, 0]), np.int64(position[c, 1])
        area = (cx - ax) * (by - ay) - (bx - ax) * (cy - ay)  # twice; y points down
        left, right = min(ax, bx, cx), max(ax, bx, cx)
        if left == OUTSIDE:
            _fill_homogeneous(screen, a, b, c, f, orthographic, first_row, width, rows, samples)
            continue
        if area <= 0:  # turned away, or degenerate
            continue
        # Samples lie at the middle of their cells.
        left = max((left + HALF - 1) >> SHIFT, 0)
        right = min((right - HALF) >> SHIFT, width - 1)
        top = max((min(ay, by, cy) + HALF - 1) >> SHIFT, first_row)
        bottom = min((max(ay, by, cy) - HALF) >> SHIFT, last_row)
        if left > right or top > bottom:
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
        for i in range(top - first_row, bottom - first_row + 1):
            weight_a, weight_b, weight_c = row_a, row_b, row_c
            for j in range(left, right + 1):
                if (weight_a | weight_b | weight_c) >= 0:
                    part_a, part_b = np.float32(weight_a) * near_a, np.float32(weight_b) * near_b
                    near = part_a + part_b + np.float32(weight_c) * near_c
                    if near > nearness[i, j]:
                        nearness[i, j] = near
                        face[i, j] = f
                        if orthographic:
                            barycentric[i, j, 0] = np.float32(weight_a) * inverse_area
                            barycentric[i, j, 1] = np.float32(weight_b) * inverse_area
                        else:
                            depth = ONE / near
                            barycentric[i, j, 0] = part_a * depth
                            barycentric[i, j, 1] = part_b * depth
                weight_a += step_a
                weight_b += step_b
                weight_c += step_c
            row_a += down_a
            row_b += down_b
            row_c += down_c


@njit(nogil=True, cache=True, error_model="numpy")
def _fill_homogeneous(screen, a, b, c, f, orthographic, first_row, width, rows, samples):
    """Rasterise a triangle with a vertex OUTSIDE, sample by sample, in homogeneous coordinates.

    Olano and Greer, "Triangle scan conversion using 2D homogeneous coordinates" (1997): edge
    functions need no division by depth, so a triangle that reaches behind the camera need not be
    clipped.
    """
    nearness, face, barycentric = samples
    ax, ay, az = np.float64(screen[a, 0]), np.float64(screen[a, 1]), np.float64(screen[a, 3])
    bx, by, bz = np.float64(screen[b, 0]), np.float64(screen[b, 1]), np.float64(screen[b, 3])
    cx, cy, cz = np.float64(screen[c, 0]), np.float64(screen[c, 1]), np.float64(screen[c, 3])
    aw, bw, cw = (1.0, 1.0, 1.0) if orthographic else (az, bz, cz)
    edge_a = (cy * bw - cw * by, cw * bx - cx * bw, cx * by - cy * bx)
    edge_b = (ay * cw - aw * cy, aw * cx - ax * cw, ax * cy - ay * cx)
    edge_c = (by * aw - bw * ay, bw * ax - bx * aw, bx * ay - by * ax)
    if not ax * edge_a[0] + ay * edge_a[1] + aw * edge_a[2] > 0:  # turned away, or degenerate
        return
    for i in range(rows):
        y = first_row + i + 0.5
        for j in range(width):
            x = j + 0.5
            weight_a = edge_a[0] * x + edge_a[1] * y + edge_a[2]
            weight_b = edge_b[0] * x + edge_b[1] * y + edge_b[2]
            weight_c = edge_c[0] * x + edge_c[1] * y + edge_c[2]
            total = weight_a + weight_b + weight_c
            if weight_a < 0 or weight_b < 0 or weight_c < 0 or total <= 0:
                continue
            weight_a, weight_b, weight_c = weight_a / total, weight_b / total, weight_c / total
            depth = weight_a * az + weight_b * bz + weight_c * cz
            if depth < NEAR and not orthographic:
                continue
            near = np.float32(-depth if orthographic else 1 / depth)
            if near > nearness[i, j]:
                nearness[i, j] = near
                face[i, j] = f
                barycentric[i, j, 0] = weight_a
                barycentric[i, j, 1] = weight_b


def _resolver(supersample):
    """`resolve` for one number of samples; knowing it, the compiler makes it twice as fast."""

    @njit(nogil=True, cache=True, error_model="numpy")
    def resolve(box, orthographic, opacity, faces, shades, samples, picture):
        """Average the samples of each pixel of `box` and lay them over what the picture holds.

        Args:
            box: pixels, top, bottom, left, right; the samples begin at row `top`.
            opacity, faces, shades: of the body.
            samples: from `rasterize`.
            picture: image, alpha, depth, face, barycentric, as for `draw`.
        """
        nearness, face, barycentric = samples
        image, alpha, depth_out, face_out, barycentric_out = picture
        top, bottom, left, right = box
        share = opacity / np.float32(supersample * supersample)
        empty = np.float32(-np.inf)
        with_buffers = alpha.shape[0] > 0
        with_alpha_channel = image.shape[2] == 4
        half = np.float32(0.5)
        for row in range(top, bottom):
            for column in range(left, right):
                red = green = blue = ZERO
                count = 0
                nearest = empty
                at_i, at_j = 0, 0
                for i in range((row - top) * supersample, (row - top + 1) * supersample):
                    for j in range(column * supersample, (column + 1) * supersample):
                        near = nearness[i, j]
                        if near == empty:
                            continue
                        count += 1
                        if near > nearest:
                            nearest = near
                            at_i, at_j = i, j
                        f = face[i, j]
                        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
                        u, v = barycentric[i, j, 0], barycentric[i, j, 1]
                        w = ONE - u - v
                        red += u * shades[a, 0] + v * shades[b, 0] + w * shades[c, 0]
                        green += u * shades[a, 1] + v * shades[b, 1] + w * shades[c, 1]
                        blue += u * shades[a, 2] + v * shades[b, 2] + w * shades[c, 2]
                if count == 0:
                    continue
                cover = share * np.float32(count)
                if with_alpha_channel:
                    scale, rest = ONE / np.float32(count), ZERO
                    image[row, column, 3] = np.uint8(np.float32(255) * cover + half)
                else:
                    scale, rest = share, ONE - cover
                image[row, column, 0] = np.uint8(red * scale + image[row, column, 0] * rest + half)
                image[row, column, 1] = np.uint8(
                    green * scale + image[row, column, 1] * rest + half
                )
                image[row, column, 2] = np.uint8(blue * scale + image[row, column, 2] * rest + half)
                if with_buffers:
                    alpha[row, column] = cover
                    depth_out[row, column] = -nearest if orthographic else ONE / nearest
                    face_out[row, column] = face[at_i, at_j]
                    barycentric_out[row, column, 0] = barycentric[at_i, at_j, 0]
                    barycentric_out[row, column, 1] = barycentric[at_i, at_j, 1]
                    barycentric_out[row, column, 2] = (
                        ONE - barycentric[at_i, at_j, 0] - barycentric[at_i, at_j, 1]
                    )

    return resolve


resolve_1, resolve_2, resolve_4 = _resolver(1), _resolver(2), _resolver(4)


@njit(nogil=True, cache=True, error_model="numpy")
def _bounds(position, supersample, width, height):
    """Pixels (top, bottom, left, right; half open) outside which nothing can be seen."""
    left, top, right, bottom = np.int32(GUARD), np.int32(GUARD), np.int32(-GUARD), np.int32(-GUARD)
    for v in range(position.shape[0]):
        left, right = min(left, position[v, 0]), max(right, position[v, 0])
        top, bottom = min(top, position[v, 1]), max(bottom, position[v, 1])
    if left == OUTSIDE:
        return 0, height, 0, width
    pixel = supersample << SHIFT
    return (
        min(max(top // pixel, 0), height),
        min(max(bottom // pixel + 1, 0), height),
        min(max(left // pixel, 0), width),
        min(max(right // pixel + 1, 0), width),
    )


@njit(nogil=True, cache=True, error_model="numpy")
def draw(
    vertices, faces, albedo, camera, lighting, opacity, supersample, encoding, scratch, picture
):
    """Draw one body over `image`.

    Args:
        vertices: (V, 3) float32.
        faces: (F, 3) uint32; unsigned, as numba then spares itself a test for negative indices.
        albedo: (V, 3) float32, linear.
        camera: pose (3, 4), intrinsics (3,) in samples, orthographic.
        lighting: lights (L, 2, 3), ambient (3, 3), wrap; see `shade`.
        opacity: 0 to 1.
        supersample: samples along each side of a pixel.
        encoding: sRGB's curve as a table.
        scratch: normals (V, 3), shades (V, 3), position (V, 2), screen (V, 4), and samples:
            nearness (h, w), face (h, w), barycentric (h, w, 2), where w is the picture's width in
            samples; a picture taller than h samples is drawn in bands.
        picture: image (H, W, 3 or 4) uint8, the background on entry; and alpha (H, W), depth
            (H, W), face (H, W), barycentric (H, W, 3), empty on entry, or of no size at all if
            they are not wanted.
    """
    pose, intrinsics, orthographic = camera
    lights, ambient, wrap = lighting
    normals, shades, position, screen, samples = scratch
    nearness = samples[0]
    vertex_normals(vertices, faces, normals)
    shade(normals, albedo, lights, ambient, wrap, encoding, shades)
    project(vertices, pose, intrinsics, orthographic, position, screen)
    height, width = picture[0].shape[:2]
    top, bottom, left, right = _bounds(position, supersample, width, height)
    band = nearness.shape[0] // supersample
    for first in range(top, bottom, band):
        end = min(first + band, bottom)
        rows = (end - first) * supersample
        nearness[:rows, left * supersample : right * supersample] = -np.inf
        rasterize(
            position,
            screen,
            faces,
            orthographic,
            first * supersample,
            width * supersample,
            rows,
            samples,
        )
        box = (first, end, left, right)
        if supersample == 1:
            resolve_1(box, orthographic, opacity, faces, shades, samples, picture)
        elif supersample == 2:
            resolve_2(box, orthographic, opacity, faces, shades, samples, picture)
        else:
            resolve_4(box, orthographic, opacity, faces, shades, samples, picture)


@njit(nogil=True, cache=True, error_model="numpy")
def sky_seen(vertices, faces, poses, focal, resolution):
    """The part of the sky that each vertex sees; see `hmrlib.render.ambient_occlusion`.

    Args:
        vertices, faces: as for `draw`.
        poses: (D, 3, 4) rotations and translations that put the body before the camera.
        focal: pixels a metre.
        resolution: of the depth pictures.
    """
    normals = np.empty(vertices.shape, np.float32)
    vertex_normals(vertices, faces, normals)
    position = np.empty((vertices.shape[0], 2), np.int32)
    screen = np.empty((vertices.shape[0], 4), np.float32)
    nearness = np.empty((resolution, resolution), np.float32)
    face = np.empty((resolution, resolution), np.uint32)
    barycentric = np.empty((resolution, resolution, 2), np.float32)
    samples = (nearness, face, barycentric)
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
        rasterize(position, screen, faces, True, 0, resolution, resolution, samples)
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
