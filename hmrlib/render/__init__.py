"""Draw bodies: a rasteriser that needs neither a GPU nor a display.

`render` draws one body and returns all that can be known about each pixel; `render_batch` draws
many on all cores.  Colours are sRGB, as floats in [0, 1] or as uint8.  Light is computed in linear
values and encoded for display; pictures are laid over one another in encoded values, as image
programs do, so that `image` over a background equals the transparent picture pasted onto it.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np

from hmrlib.camera import Camera
from hmrlib.render import rasterizer
from hmrlib.render.lights import STUDIO, Lights

__all__ = ["CLAY", "STUDIO", "Lights", "Rendering", "ambient_occlusion", "render", "render_batch"]

CLAY = (0.84, 0.81, 0.77)
SUPERSAMPLE = (1, 2, 4)
MOST_SAMPLES = 1 << 21  # in memory at a time, for each thread; larger pictures are drawn in bands


@dataclass(frozen=True, eq=False)
class Rendering:
    """What the camera saw; for a batch every array has a leading axis B.

    With supersampling, `depth`, `face`, `barycentric` and `parts` speak of the nearest surface
    that any sample of the pixel met.

    Attributes:
        image: (H, W, 3) uint8; (H, W, 4) with straight alpha if there was no background.
        alpha: (H, W) float32, the covered part of the pixel times the body's opacity.
        depth: (H, W) float32 metres along the viewing direction; inf where nothing is seen.
        face: (H, W) int32, index of the face seen; -1 where nothing is seen.
        barycentric: (H, W, 3) float32, weights of that face's vertices; 0 where nothing is seen.
        parts: (H, W) label of the face seen; -1 where nothing is seen; None without labels.
    """

    image: np.ndarray
    alpha: np.ndarray | None = None
    depth: np.ndarray | None = None
    face: np.ndarray | None = None
    barycentric: np.ndarray | None = None
    parts: np.ndarray | None = None


def render(
    vertices,
    faces,
    camera: Camera,
    colors=None,
    lights: Lights = STUDIO,
    background=None,
    supersample=2,
    smooth=True,
    alpha=1.0,
    parts=None,
    two_sided=False,
) -> Rendering:
    """Draw one body.

    Args:
        vertices: (V, 3) metres.
        faces: (F, 3) vertex indices, counterclockwise seen from outside.
        camera: gives the picture its size.
        colors: of the surface: (3,), (V, 3) or (F, 3); None is clay.
        lights: see `Lights`.
        background: a colour (3,), an image (H, W, 3), or None for a transparent picture.
        supersample: samples along each side of a pixel: 1, 2 or 4.
        smooth: shade with vertex normals; otherwise every face is flat.
        alpha: opacity of the body, 0 to 1.
        parts: (F,) whole-number labels of faces, such as body parts; they end up in
            `Rendering.parts`.
        two_sided: draw also the faces that are turned away, for surfaces that are not closed.

    Raises:
        ValueError: an argument has the wrong shape, or values that are not finite or out of range.
    """
    drawn = render_batch(
        _vertices(vertices, "(V, 3)")[None],
        faces,
        camera,
        colors,
        lights,
        background,
        supersample,
        smooth,
        alpha,
        parts,
        two_sided,
        buffers=True,
        threads=1,
    )
    return Rendering(**{k: v if v is None else v[0] for k, v in vars(drawn).items()})


def render_batch(
    vertices,
    faces,
    cameras,
    colors=None,
    lights=STUDIO,
    backgrounds=None,
    supersample=2,
    smooth=True,
    alpha=1.0,
    parts=None,
    two_sided=False,
    buffers=False,
    threads=None,
) -> Rendering:
    """Draw many bodies of one topology, one a picture, on all cores.

    Each picture equals the one that `render` draws.

    Args:
        vertices: (B, V, 3) metres.
        faces: (F, 3).
        cameras: one camera, or one a body; all of the same picture size.
        colors: as for `render`, or (B, V, 3), or (B, 1, 3).
        lights: one set of lights, or one a body.
        backgrounds: as for `render`, or (B, H, W, 3).
        supersample, smooth, alpha, parts, two_sided: as for `render`.
        buffers: return not only the image but all of `Rendering`; takes longer.
        threads: how many to use; None is one a core.

    Returns:
        `Rendering` with a leading axis B.

    Raises:
        ValueError: as for `render`.
    """
    vertices = _vertices(vertices, "(B, V, 3)")
    faces = _faces(faces, vertices.shape[1])
    if supersample not in SUPERSAMPLE:
        raise ValueError(f"supersample must be one of {SUPERSAMPLE}, found {supersample}.")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1], found {alpha}.")
    num_bodies, num_faces = len(vertices), len(faces)
    if parts is not None:
        parts = np.asarray(parts)
        if parts.shape != (num_faces,) or parts.dtype.kind not in "iu":
            raise ValueError(
                f"parts must be {num_faces} whole numbers, one a face; "
                f"found {parts.dtype} {parts.shape}."
            )
    albedo = _albedo(colors, num_bodies, vertices.shape[1], num_faces, smooth)
    vertices, faces, albedo = _split(vertices, faces, albedo, smooth, two_sided)

    cameras = _one_each("cameras", cameras, Camera, num_bodies)
    lights = _one_each("lights", lights, Lights, num_bodies)
    width, height = cameras[0].size
    if any(camera.size != (width, height) for camera in cameras):
        raise ValueError("all cameras of a batch must have the same picture size.")
    backgrounds = _backgrounds(backgrounds, num_bodies, height, width)

    pixels = (num_bodies, height, width)
    image = np.empty((*pixels, 4 if backgrounds is None else 3), np.uint8)
    pixels = pixels if buffers else (num_bodies, 0, 0)
    cover = np.empty(pixels, np.float32)
    depth = np.empty(pixels, np.float32)
    face = np.empty(pixels, np.int32)
    barycentric = np.empty((*pixels, 3), np.float32)

    def draw(i, scratch):
        image[i] = 0 if backgrounds is None else backgrounds[i % len(backgrounds)]
        cover[i], depth[i], face[i], barycentric[i] = 0, np.inf, -1, 0
        camera = cameras[i % len(cameras)]
        rasterizer.draw(
            vertices[i],
            faces,
            albedo[i % len(albedo)],
            _camera_arrays(camera, supersample),
            _light_arrays(lights[i % len(lights)], camera),
            np.float32(alpha),
            supersample,
            rasterizer.ENCODING,
            scratch,
            (image[i], cover[i], depth[i], face[i], barycentric[i]),
        )

    def new_scratch():
        return _scratch(vertices.shape[1], height, width, supersample)

    _for_each(draw, num_bodies, new_scratch, threads)
    if not buffers:
        return Rendering(image)
    if two_sided:
        face = np.where(face < num_faces, face, face - num_faces)
    if parts is not None:
        parts = np.append(parts, -1)[face]  # face -1, where nothing is seen, takes the last
    return Rendering(image, cover, depth, face, barycentric, parts)


def ambient_occlusion(vertices, faces, directions=160, resolution=384):
    """How much of the sky each vertex sees: 1 in the open, towards 0 in a hollow.

    The body is drawn without perspective from directions all around; a vertex is lit from a
    direction if it lies on the surface that is seen from there.  Directions count by the cosine
    to the vertex normal, as for a diffuse surface under an even sky.

    Args:
        vertices: (V, 3).
        faces: (F, 3).
        directions: how many to look from.
        resolution: of each picture, in pixels along a side.

    Returns:
        (V,) float32 in [0, 1].

    Raises:
        ValueError: as for `render`.
    """
    vertices = _vertices(vertices, "(V, 3)")
    faces = _faces(faces, len(vertices))
    # Fibonacci's lattice on the sphere: even, and the same on every call.
    i = np.arange(directions) + 0.5
    z, around = 1 - 2 * i / directions, np.pi * (1 + 5**0.5) * i
    forward = np.stack([np.cos(around), np.sin(around), z], 1)
    forward[:, :2] *= np.sqrt(1 - z**2)[:, None]
    right = np.cross(forward, np.where(np.abs(forward[:, 1:2]) < 0.9, [[0, 1, 0]], [[1, 0, 0]]))
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    center = (vertices.min(0) + vertices.max(0)) / 2
    radius = np.linalg.norm(vertices - center, axis=1).max()
    rotations = np.stack([right, np.cross(forward, right), forward], 1)  # (D, 3, 3)
    poses = np.concatenate([rotations, -(rotations @ center)[..., None]], 2)
    focal = 0.49 * resolution / max(radius, 1e-9)
    return rasterizer.sky_seen(
        vertices, faces, poses.astype(np.float32), np.float32(focal), resolution
    )


def _for_each(draw, count, new_scratch, threads):
    """Call `draw(i, scratch)` for every i < count; calls that run together share no scratch."""
    threads = min(threads or os.cpu_count() or 1, count)
    if threads <= 1:
        scratch = new_scratch() if count else None
        for i in range(count):
            draw(i, scratch)
        return
    free = SimpleQueue()
    for _ in range(threads):
        free.put(new_scratch())

    def borrow(i):
        scratch = free.get()
        try:
            draw(i, scratch)
        finally:
            free.put(scratch)

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(borrow, range(count)):  # raises what a thread raised
            pass


def _scratch(num_vertices, height, width, supersample):
    """Working memory of `rasterizer.draw`."""
    rows = supersample * max(1, min(height, MOST_SAMPLES // (width * supersample**2)))
    samples = (rows, width * supersample)
    return (
        np.empty((num_vertices, 3), np.float32),
        np.empty((num_vertices, 3), np.float32),
        np.empty((num_vertices, 2), np.int32),
        np.empty((num_vertices, 4), np.float32),
        (
            np.empty(samples, np.float32),
            np.empty(samples, np.uint32),
            np.empty((*samples, 2), np.float32),
        ),
    )


def _camera_arrays(camera, supersample):
    pose = np.column_stack([camera.rotation, camera.translation]).astype(np.float32)
    intrinsics = np.array([camera.focal, *camera.center], np.float32) * np.float32(supersample)
    return pose, intrinsics, camera.orthographic


def _light_arrays(lights, camera):
    directions, up = lights.directions, np.array([0, 1, 0], np.float32)
    if not lights.in_world:
        # The viewer's axes as rows, in the world: right, up (the camera's y points down), back.
        viewer = (camera.rotation * np.array([[1], [-1], [-1]])).astype(np.float32)
        directions, up = directions @ viewer, viewer[1]
    return (
        np.stack([directions, lights.colors], 1),
        np.stack([up, lights.sky, lights.ground]),
        np.float32(lights.wrap),
    )


def _split(vertices, faces, albedo, smooth, two_sided):
    """Give faces vertices of their own where neighbours, or sides, are not to share a shade."""
    if not smooth:
        of_vertices = albedo.shape[1] == vertices.shape[1]
        albedo = albedo[:, faces.ravel()] if of_vertices else np.repeat(albedo, 3, 1)
        vertices = vertices[:, faces.ravel()]
        faces = np.arange(faces.size, dtype=np.uint32).reshape(-1, 3)
    if two_sided:
        faces = np.concatenate([faces, faces[:, ::-1] + np.uint32(vertices.shape[1])])
        vertices, albedo = np.tile(vertices, (1, 2, 1)), np.tile(albedo, (1, 2, 1))
    return vertices, faces, albedo


def _vertices(vertices, shape):
    vertices = np.asarray(vertices)
    if vertices.ndim != shape.count(",") + 1 or vertices.shape[-1] != 3 or not vertices.shape[-2]:
        raise ValueError(f"vertices must have shape {shape}, found {vertices.shape}.")
    if not np.isfinite(vertices).all():
        raise ValueError("vertices hold values that are not finite (NaN or infinity).")
    return np.ascontiguousarray(vertices, np.float32)


def _faces(faces, num_vertices):
    faces = np.asarray(faces)
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "iu":
        raise ValueError(
            f"faces must be whole numbers of shape (F, 3), found {faces.dtype} {faces.shape}."
        )
    if faces.size and (faces.min() < 0 or faces.max() >= num_vertices):
        raise ValueError(
            f"faces name vertices {faces.min()} to {faces.max()}, "
            f"but there are only vertices 0 to {num_vertices - 1}."
        )
    return np.ascontiguousarray(faces, np.uint32)


def _albedo(colors, num_bodies, num_vertices, num_faces, smooth):
    """Linear colours (1 or B, V or F, 3)."""
    colors = _srgb("colors", CLAY if colors is None else colors)
    if colors.shape == (3,):
        colors = np.broadcast_to(colors, (1, num_vertices, 3))
    elif colors.shape == (num_bodies, 1, 3):
        colors = np.broadcast_to(colors, (num_bodies, num_vertices, 3))
    elif colors.ndim == 2:
        colors = colors[None]
    if colors.shape == (1, num_faces, 3) and num_faces != num_vertices:
        if smooth:
            raise ValueError("colors of faces, (F, 3), can only be drawn flat: smooth=False.")
    elif colors.shape not in ((1, num_vertices, 3), (num_bodies, num_vertices, 3)):
        raise ValueError(
            f"colors must be (3,), (V, 3) = ({num_vertices}, 3) or (F, 3) = ({num_faces}, 3), "
            f"or one such (V, 3) a body; found {colors.shape}."
        )
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    return np.ascontiguousarray(linear, np.float32)


def _srgb(name, values):
    """Colours as float32 in [0, 1]."""
    values = np.asarray(values)
    if values.dtype == np.uint8:
        return values.astype(np.float32) / np.float32(255)
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite sRGB colours, found {values.dtype}.")
    values = values.astype(np.float32)
    if values.size and (values.min() < 0 or values.max() > 1):
        raise ValueError(
            f"{name} must be floats in [0, 1] or uint8; "
            f"found values from {values.min():g} to {values.max():g}."
        )
    return values


def _backgrounds(backgrounds, num_bodies, height, width):
    """None, or uint8 pictures (1 or B, H or 1, W or 1, 3)."""
    if backgrounds is None:
        return None
    backgrounds = np.asarray(backgrounds)
    if backgrounds.dtype != np.uint8:
        backgrounds = np.rint(255 * _srgb("background", backgrounds)).astype(np.uint8)
    picture = (height, width, 3)
    if backgrounds.shape == (3,):
        return backgrounds.reshape(1, 1, 1, 3)
    if backgrounds.shape == picture:
        return backgrounds[None]
    if backgrounds.shape == (num_bodies, *picture):
        return backgrounds
    raise ValueError(
        f"the background must be a colour (3,) or an image {picture}, or one image a body; "
        f"found {backgrounds.shape}."
    )


def _one_each(name, given, kind, num_bodies):
    """A list of one, for all bodies, or of one a body."""
    each = list(given) if isinstance(given, list | tuple) else [given]
    if any(not isinstance(one, kind) for one in each) or len(each) not in (1, num_bodies or 1):
        raise ValueError(
            f"{name} must be one {kind.__name__} or {num_bodies} of them, found {len(each)} "
            f"of {', '.join(sorted({type(one).__name__ for one in each})) or 'nothing'}."
        )
    return each
