"""Draw bodies: a rasteriser that needs neither a GPU nor a display.

For figures, `render` draws one body and returns all that can be known about each pixel, and
`render_batch` draws many on all cores.  For pictures to learn from, `render_scene` and
`render_scenes` draw several meshes with textures under a sky and a sun that throws shadows.  All
share one core.

Colours are sRGB, as floats in [0, 1] or as uint8.  Light is computed in linear values and encoded
for display; pictures are laid over one another in encoded values, as image programs do, so that
`image` over a background equals the transparent picture pasted onto it.
"""

from typing import NamedTuple

import numpy as np

from hmrlib.camera import Camera
from hmrlib.render import scene, shadows
from hmrlib.render.lights import (
    STUDIO,
    Lights,
    Sun,
    even_directions,
    irradiance,
    sky,
    sky_of_picture,
)
from hmrlib.render.scene import CLAY, Mesh, Rendering, Scene, render_scene, render_scenes
from hmrlib.render.textures import Mipmap, mipmap

__all__ = [
    "CLAY",
    "STUDIO",
    "Lights",
    "Mesh",
    "Mipmap",
    "Rendering",
    "Scene",
    "Sun",
    "Surface",
    "ambient_occlusion",
    "irradiance",
    "mipmap",
    "render",
    "render_batch",
    "render_scene",
    "render_scenes",
    "sky",
    "sky_of_picture",
]


class Surface(NamedTuple):
    """How `render` shows the surface of a body.

    Attributes:
        smooth: shade with vertex normals; otherwise every face is flat.
        alpha: opacity of the body, 0 to 1.
        parts: (F,) whole-number labels of faces, such as body parts; they end up in
            `Rendering.parts`.
        two_sided: draw also the faces that are turned away, for surfaces that are not closed.
    """

    smooth: bool = True
    alpha: float = 1.0
    parts: np.ndarray | None = None
    two_sided: bool = False


def render(
    vertices,
    faces,
    camera: Camera,
    colors=None,
    lights: Lights = STUDIO,
    background=None,
    supersample=2,
    **surface,
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
        surface: fields of `Surface`: smooth, alpha, parts, two_sided.

    Raises:
        ValueError: an argument has the wrong shape, or values that are not finite or out of range.
        TypeError: a name that is no field of `Surface`.
    """
    drawn = render_batch(
        scene.check_vertices(vertices, "(V, 3)")[None],
        faces,
        camera,
        colors,
        lights,
        background,
        supersample,
        buffers=True,
        threads=1,
        **surface,
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
    buffers=False,
    threads=None,
    **surface,
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
        supersample: as for `render`.
        buffers: return not only the image but all of `Rendering`; takes longer.
        threads: how many to use; None is one a core.
        surface: fields of `Surface`, of all bodies.

    Returns:
        `Rendering` with a leading axis B.

    Raises:
        ValueError: as for `render`.
    """
    vertices = scene.check_vertices(vertices, "(B, V, 3)")
    faces = scene.check_faces(faces, vertices.shape[1])
    scene.check_supersample(supersample)
    surface = Surface(**surface)
    if not 0 <= surface.alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1], found {surface.alpha}.")
    num_bodies, num_faces = len(vertices), len(faces)
    labels = _labels(surface.parts, num_faces)
    albedo = _albedo(colors, num_bodies, vertices.shape[1], num_faces, surface.smooth)
    if not surface.smooth:
        vertices, faces, albedo = _split(vertices, faces, albedo)

    cameras = _one_each("cameras", cameras, Camera, num_bodies)
    lights = _one_each("lights", lights, Lights, num_bodies)
    width, height = cameras[0].size
    if any(camera.size != (width, height) for camera in cameras):
        raise ValueError("all cameras of a batch must have the same picture size.")
    backgrounds = scene.check_backgrounds(backgrounds, num_bodies, height, width)
    wanted = tuple(scene.BUFFERS) if buffers else ()
    image = np.empty((num_bodies, height, width, 4 if backgrounds is None else 3), np.uint8)
    seen = {name: scene.blank_buffer(name, (num_bodies, height, width)) for name in wanted}

    def draw(i, space):
        body = Mesh.trusted(
            vertices[i], faces, albedo[i % len(albedo)], two_sided=surface.two_sided, **labels
        )
        background = None if backgrounds is None else backgrounds[i % len(backgrounds)]
        camera, lamps = cameras[i % len(cameras)], lights[i % len(lights)]
        drawn = scene.draw_scene(
            Scene([body], camera, lamps, background=background, occlusion=0),
            supersample,
            wanted,
            image[i],
            space,
            surface.alpha,
            surface.smooth and supersample < 4,  # the finest pictures shade every face by itself
        )
        for name in wanted:
            if getattr(drawn, name) is not None:
                seen[name][i] = getattr(drawn, name)

    scene.for_each(draw, num_bodies, threads)
    if not labels:
        seen.pop("parts", None)
    return Rendering(image, **seen)


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
    vertices = scene.check_vertices(vertices, "(V, 3)")
    faces = scene.check_faces(faces, len(vertices))
    forward = even_directions(directions)
    right = np.cross(forward, np.where(np.abs(forward[:, 1:2]) < 0.9, [[0, 1, 0]], [[1, 0, 0]]))
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    center = (vertices.min(0) + vertices.max(0)) / 2
    radius = np.linalg.norm(vertices - center, axis=1).max()
    rotations = np.stack([right, np.cross(forward, right), forward], 1)  # (D, 3, 3)
    poses = np.concatenate([rotations, -(rotations @ center)[..., None]], 2)
    focal = 0.49 * resolution / max(radius, 1e-9)
    return shadows.sky_seen(
        vertices, faces, poses.astype(np.float32), np.float32(focal), resolution
    )


def _split(vertices, faces, albedo):
    """Give faces vertices of their own, as neighbours are not to share a shade."""
    if albedo.shape[1] == vertices.shape[1]:
        albedo = albedo[:, faces.ravel()]
    elif albedo.shape[1] > 1:
        albedo = np.repeat(albedo, 3, 1)
    vertices = vertices[:, faces.ravel()]
    return vertices, np.arange(faces.size, dtype=np.uint32).reshape(-1, 3), albedo


def _labels(parts, num_faces):
    """Labels of faces as `Mesh` takes them, if there are any."""
    if parts is None:
        return {}
    parts = np.asarray(parts)
    if parts.shape != (num_faces,) or parts.dtype.kind not in "iu":
        raise ValueError(
            f"parts must be {num_faces} whole numbers, one a face; "
            f"found {parts.dtype} {parts.shape}."
        )
    return {"labels": parts.astype(np.int32)}


def _albedo(colors, num_bodies, num_vertices, num_faces, smooth):
    """Colours (1 or B, V or F or 1, 3)."""
    colors = scene.srgb("colors", CLAY if colors is None else colors)
    if colors.shape == (3,):
        colors = colors[None]
    if colors.shape in ((1, 3), (num_bodies, 1, 3)):
        return np.ascontiguousarray(colors.reshape(-1, 1, 3))
    if colors.ndim == 2:
        colors = colors[None]
    if colors.shape == (1, num_faces, 3) and num_faces != num_vertices:
        if smooth:
            raise ValueError("colors of faces, (F, 3), can only be drawn flat: smooth=False.")
    elif colors.shape not in ((1, num_vertices, 3), (num_bodies, num_vertices, 3)):
        raise ValueError(
            f"colors must be (3,), (V, 3) = ({num_vertices}, 3) or (F, 3) = ({num_faces}, 3), "
            f"or one such (V, 3) a body; found {colors.shape}."
        )
    return np.ascontiguousarray(colors)


def _one_each(name, given, kind, num_bodies):
    """A list of one, for all bodies, or of one a body."""
    each = list(given) if isinstance(given, list | tuple) else [given]
    if any(not isinstance(one, kind) for one in each) or len(each) not in (1, num_bodies or 1):
        raise ValueError(
            f"{name} must be one {kind.__name__} or {num_bodies} of them, found {len(each)} "
            f"of {', '.join(sorted({type(one).__name__ for one in each})) or 'nothing'}."
        )
    return each
