"""Scenes: several meshes with textures under sky and sun, drawn in batches over the cores."""

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from math import prod

import numpy as np
from numba import njit

from hmrlib.camera import Camera
from hmrlib.render import rasterizer, shading
from hmrlib.render.lights import Sun, irradiance_polynomial

CLAY = (0.84, 0.81, 0.77)
SUPERSAMPLE = (1, 2, 4)
MOST_SAMPLES = 1 << 20  # in memory at a time, for each thread; larger pictures are drawn in bands
SHADOW_MARGIN = shading.REACH + 2  # texels of the sun's map, so that half-shadows end within it
BUFFERS = ("alpha", "depth", "face", "barycentric", "mesh", "parts")
CONTACT_CELLS = 48  # along each side of the grid that darkens the ground under feet

NO_SHADOW = (
    (np.zeros((3, 4), np.float32), np.zeros(3, np.float32)),
    (
        np.empty((0, 0), np.float32),
        np.empty((0, 0), np.float32),
        np.float32(0),
        np.float32(1),
        np.float32(0),
        np.float32(0),
    ),
)


@dataclass(frozen=True, eq=False)
class Rendering:
    """What the camera saw; for `render_batch` every array has a leading axis B.

    With supersampling, all but `image` and `alpha` speak of the nearest surface that any sample
    of the pixel met.

    Attributes:
        image: (H, W, 3) uint8; (H, W, 4) with straight alpha if there was no background.
        alpha: (H, W) float32, the covered part of the pixel times the body's opacity.
        depth: (H, W) float32 metres along the viewing direction; inf where nothing is seen.
        face: (H, W) int32, index of the face seen, in its mesh; -1 where nothing is seen.
        barycentric: (H, W, 3) float32, weights of that face's vertices; 0 where nothing is seen.
        parts: (H, W) label of the face seen; -1 where nothing is seen, or where the mesh has no
            labels; None if there are no labels at all.
        mesh: (H, W) int32, index of the mesh seen; -1 where nothing is seen.
    """

    image: np.ndarray
    alpha: np.ndarray | None = None
    depth: np.ndarray | None = None
    face: np.ndarray | None = None
    barycentric: np.ndarray | None = None
    parts: np.ndarray | None = None
    mesh: np.ndarray | None = None


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
        texels = np.empty(size, np.uint32)
        shading.picture_levels(np.ascontiguousarray(picture), texels, levels)
    else:
        if not np.isfinite(picture).all():
            raise ValueError("a bump map's heights must be finite.")
        texels = np.empty((size, 2), np.float32)
        shading.slope_levels(np.ascontiguousarray(picture, np.float32), texels, levels)
    return Mipmap(texels, levels)


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


_NO_TEXTURE = Mipmap(np.empty(0, np.uint32), np.zeros((1, 3), np.int64))
_NO_BUMP = Mipmap(np.empty((0, 2), np.float32), np.zeros((1, 3), np.int64))
_NOTHING = {
    "uv": np.empty((0, 2), np.float32),
    "texture": _NO_TEXTURE,
    "bump": _NO_BUMP,
    "gloss": 0.0,
    "labels": np.empty(0, np.int32),
    "two_sided": False,
    "normals": np.empty((0, 3), np.float32),
}


@dataclass(frozen=True, eq=False)
class Mesh:
    """A surface in a scene.

    Attributes:
        vertices: (V, 3) metres.
        faces: (F, 3) vertex indices, counterclockwise seen from outside.
        colors: (3,) or (V, 3) sRGB, as floats in [0, 1] or uint8; a texture is multiplied by it.
            None is clay, or white under a texture.
        uv: (V, 2) place of each vertex in texture and bump map: u counts along their rows, v
            down their columns, 1 being the whole picture; beyond it the picture repeats.
            Vertices are doubled where a seam runs.
        texture: (h, w, 3) uint8 sRGB, or `mipmap` of it.
        bump: (h, w) heights in metres over the surface, or `mipmap` of them.
        gloss: 0 matt; 0.3 skin; 1 polished.
        labels: (F,) whole numbers, such as body parts; they end up in `Rendering.parts`.
        two_sided: draw also the faces that are turned away, for surfaces that are not closed.
        normals: (V, 3) of any length; None computes smooth ones, across the seams of `uv`
            where vertices stand at exactly the same place.

    Raises:
        ValueError: an argument has the wrong shape, or values that are not finite or out of range.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray | None = None
    uv: np.ndarray | None = None
    texture: np.ndarray | Mipmap | None = None
    bump: np.ndarray | Mipmap | None = None
    gloss: float = 0.0
    labels: np.ndarray | None = None
    two_sided: bool = False
    normals: np.ndarray | None = None

    def __post_init__(self):
        vertices = check_vertices(self.vertices, "(V, 3)")
        faces = check_faces(self.faces, len(vertices))
        colors = self.colors
        if colors is None:
            colors = CLAY if self.texture is None else (1.0, 1.0, 1.0)
        colors = np.atleast_2d(srgb("colors", colors))
        if colors.shape not in ((1, 3), vertices.shape):
            raise ValueError(
                f"colors must be (3,) or (V, 3) = {vertices.shape}, found {np.shape(self.colors)}."
            )
        given = {"uv": self.uv, "normals": self.normals}
        for name, columns in (("uv", 2), ("normals", 3)):
            values = given[name]
            if values is None:
                given[name] = np.empty((0, columns), np.float32)
                continue
            values = np.ascontiguousarray(values, np.float32)
            if values.shape != (len(vertices), columns) or not np.isfinite(values).all():
                raise ValueError(
                    f"{name} must be finite and ({len(vertices)}, {columns}), one a vertex; "
                    f"found shape {values.shape}."
                )
            given[name] = values
        if self.uv is None and not (self.texture is None and self.bump is None):
            raise ValueError("a texture or a bump map needs uv, the place of each vertex in it.")
        if not 0 <= self.gloss <= 1:
            raise ValueError(f"gloss must lie in [0, 1], found {self.gloss}.")
        labels = np.empty(0, np.int32) if self.labels is None else np.asarray(self.labels)
        if (
            self.labels is not None and labels.shape != (len(faces),)
        ) or labels.dtype.kind not in "iu":
            raise ValueError(
                f"labels must be {len(faces)} whole numbers, one a face; "
                f"found {labels.dtype} {labels.shape}."
            )
        for name, value in {
            "vertices": vertices,
            "faces": faces,
            "colors": colors,
            "uv": given["uv"],
            "normals": given["normals"],
            "texture": _prepared("texture", self.texture, _NO_TEXTURE),
            "bump": _prepared("bump", self.bump, _NO_BUMP),
            "labels": np.ascontiguousarray(labels, np.int32),
        }.items():
            object.__setattr__(self, name, value)

    @classmethod
    def trusted(cls, vertices, faces, colors, **more):
        """The same without checks and copies, for arrays that are known to be right.

        Args:
            vertices, normals, uv, colors: float32, colors in [0, 1]; faces: uint32; texture and
                bump: `Mipmap`; all C-contiguous. What is left out is as for the class.
        """
        mesh = object.__new__(cls)
        vars(mesh).update(_NOTHING, vertices=vertices, faces=faces, colors=colors, **more)
        return mesh


def _prepared(name, given, empty):
    """A texture or bump map as `Mipmap`."""
    if given is None:
        return empty
    given = given if isinstance(given, Mipmap) else mipmap(given)
    if given.texels.dtype != empty.texels.dtype:
        raise ValueError(f"{name}: a texture is uint8 (h, w, 3), a bump map floats (h, w).")
    return given


@dataclass(frozen=True, eq=False)
class Scene:
    """What is to be drawn.

    Attributes:
        meshes: list of `Mesh`.
        camera: gives the picture its size.
        sky: (9, 3) harmonics of the light from all around; see `lights.sky`.
        sun: `Sun`, or None.
        ground: (4,) a, b, c, d: the plane a x + b y + c z = d in the world, (a, b, c) pointing up.
            It is not drawn: the background's own ground darkens where bodies keep sun and sky
            from it.  None is no ground.
        background: a colour (3,), an image (H, W, 3), or None for a transparent picture.
        occlusion: metres within which surfaces keep the sky from one another; 0 for not at all.

    Raises:
        ValueError: an argument has the wrong type or shape, or values that are not finite.
    """

    meshes: list
    camera: Camera
    sky: np.ndarray
    sun: Sun | None = None
    ground: np.ndarray | None = None
    background: np.ndarray | None = None
    occlusion: float = 0.2

    def __post_init__(self):
        if any(not isinstance(mesh, Mesh) for mesh in self.meshes):
            raise ValueError("meshes must be a list of Mesh.")
        if not isinstance(self.camera, Camera):
            raise ValueError(f"camera must be a Camera, found {type(self.camera).__name__}.")
        if not (self.sun is None or isinstance(self.sun, Sun)):
            raise ValueError(f"sun must be a Sun or None, found {type(self.sun).__name__}.")
        sky = np.asarray(self.sky, float)
        if sky.shape != (9, 3) or not np.isfinite(sky).all():
            raise ValueError(f"sky must be finite and (9, 3), found shape {sky.shape}.")
        if not 0 <= self.occlusion < np.inf:
            raise ValueError(f"occlusion must be a radius in metres >= 0, found {self.occlusion}.")
        ground = self.ground
        if ground is not None:
            ground = np.asarray(ground, float)
            length = np.linalg.norm(ground[:3]) if ground.shape == (4,) else 0.0
            if not (np.isfinite(ground).all() and length > 0):
                raise ValueError(
                    f"ground must be a plane (a, b, c, d) with an upward normal, found {ground}."
                )
            if self.background is None:
                raise ValueError("a ground needs a background on which its shadows fall.")
            object.__setattr__(self, "ground", ground / length)
        width, height = self.camera.size
        background = check_backgrounds(self.background, 1, height, width)
        object.__setattr__(self, "background", None if background is None else background[0])
        object.__setattr__(self, "sky", sky)


def render_scene(scene, supersample=2, buffers=BUFFERS) -> Rendering:
    """Draw a scene.

    Args:
        scene: `Scene`.
        supersample: samples along each side of a pixel: 1, 2 or 4.
        buffers: which of `Rendering`'s arrays to return beside the image; each takes time.

    Raises:
        ValueError: not a scene, an unknown number of samples, or an unknown buffer.
    """
    return render_scenes([scene], supersample, threads=1, buffers=buffers)[0]


def render_scenes(scenes, supersample=2, threads=None, buffers=BUFFERS) -> list[Rendering]:
    """Draw many scenes on all cores; each picture equals the one that `render_scene` draws.

    Args:
        scenes: list of `Scene`; sizes may differ.
        supersample, buffers: as for `render_scene`.
        threads: how many to use; None is one a core.

    Raises:
        ValueError: as for `render_scene`.
    """
    scenes = list(scenes)
    unknown = set(buffers) - set(BUFFERS)
    if unknown:
        raise ValueError(f"unknown buffers {sorted(unknown)}: choose from {', '.join(BUFFERS)}.")
    check_supersample(supersample)
    for scene in scenes:
        if not isinstance(scene, Scene):
            raise ValueError(f"scenes must be a list of Scene, found {type(scene).__name__}.")
    drawn = _blank_images(scenes)  # images to begin with, then what they become

    def draw(i, space):
        drawn[i] = _draw_scene(scenes[i], supersample, space, buffers, drawn[i])

    for_each(draw, len(scenes), threads)
    return drawn


def _blank_images(scenes):
    """An image of undefined content for each scene: parts of one array if all are of one shape,
    since the system hands out much memory at once much faster than little by little."""
    shapes = [(*scene.camera.size[::-1], 4 if scene.background is None else 3) for scene in scenes]
    if len(set(shapes)) == 1:
        return list(np.empty((len(scenes), *shapes[0]), np.uint8))
    return [np.empty(shape, np.uint8) for shape in shapes]


def _draw_scene(scene, supersample, space, buffers, image):
    """`render_scene` in a workspace, into an image."""
    meshes = scene.meshes
    first_faces = list(accumulate((len(mesh.faces) for mesh in meshes), initial=0))
    geometry = _placed(meshes, first_faces, space)
    spans = np.array(first_faces), np.array([mesh.two_sided for mesh in meshes], bool)
    width, height = scene.camera.size
    sun, shadow = scene.sun, NO_SHADOW
    lights = np.zeros((0, 2, 3), np.float32)
    if sun is not None:
        lights = np.stack([sun.direction, sun.color])[None]
        if meshes:
            shadow = _shadow(sun, geometry, spans, max(width, height), space)
    radius = np.float32(scene.occlusion)
    sky = irradiance_polynomial(scene.sky)
    lighting = (sky, lights, np.float32(0), radius)
    image[:] = 0 if scene.background is None else scene.background
    if not any(len(mesh.labels) for mesh in meshes):
        buffers = [name for name in buffers if name != "parts"]
    to = new_buffers((height, width), buffers) if buffers else None
    draw(
        geometry,
        meshes,
        spans,
        scene.camera,
        lighting,
        shadow,
        scene.ground,
        1.0,
        supersample,
        True,
        space,
        image,
        to,
    )
    if not buffers:
        return Rendering(image)
    named = dict(zip(BUFFERS, to, strict=True))
    return Rendering(image, **{name: named[name] for name in buffers})


def draw(
    geometry,
    meshes,
    spans,
    camera,
    lighting,
    shadow,
    ground,
    opacity,
    supersample,
    merge,
    space,
    image,
    buffers,
):
    """Draw placed meshes over `image`, in bands that fit into memory.

    Args:
        geometry: arrays of all meshes; see `shading.begin`.
        meshes: list of `Mesh`, for textures and gloss; empty if none has any.
        spans: first face (M + 1,) of each mesh, and whether it is two-sided (M,).
        camera: `Camera`.
        lighting, shadow: see `shading.finish`.
        ground: (4,) or None.
        opacity: 0 to 1.
        supersample: samples along each side of a pixel.
        merge: shade once a pixel and mesh, and not once a pixel and face.
        space: workspace.
        image: (H, W, 3 or 4) uint8, the background on entry.
        buffers: from `new_buffers`, or None.
    """
    height, width = image.shape[:2]
    count = len(geometry[0])
    position = workspace(space, "position", (count, 2), np.int32)
    screen = workspace(space, "screen", (count, 4), np.float32)
    lens = _camera_arrays(camera, supersample)
    if ground is not None:
        grid = workspace(space, "contact", (CONTACT_CELLS, CONTACT_CELLS), np.float32)
        spare = workspace(space, "contact spare", (2, *grid.shape), np.float32)
        axes = _axes(ground, 0).astype(np.float32)
        place = shading.map_contact(geometry, (ground.astype(np.float32), axes), grid, spare)
        view = (camera.rotation, camera.position, camera.focal, camera.center, camera.orthographic)
        pose, intrinsics = shadow[0]
        sight = _ground_seen(ground, view, (pose, tuple(intrinsics.tolist())), axes, place)
    rasterizer.project(geometry[0], *lens, position, screen)
    top, bottom, left, right = rasterizer.bounds(position, supersample, width, height)
    gloss = np.array([mesh.gloss for mesh in meshes] or [0], np.float32)
    textured = [
        m for m, mesh in enumerate(meshes) if len(mesh.texture.texels) or len(mesh.bump.texels)
    ]
    # Beyond a slope of 4 between neighbouring pixels, surfaces are taken for different ones.
    limit = np.float32(4 / camera.focal if merge else -1)
    band = max(1, min(height, MOST_SAMPLES // (width * supersample**2)))
    rows, columns = band * supersample, width * supersample
    samples = workspace(space, "samples", (rows, columns + rasterizer.LANES), np.uint64)
    fragments = _fragments(space, rows * columns)
    pixels = _pixels(space, (band, width))
    order = workspace(space, "order", (rows * columns,), np.uint32)
    shares = np.empty(len(meshes) + 1, np.int64)  # of the fragments, each mesh's
    scratch = position, screen, samples, fragments, pixels
    starts = list(range(top, bottom, band)) or [0]
    for first in starts:
        box = first, min(first + band, bottom), left, right
        found = shading.begin(
            geometry,
            spans,
            lens,
            (width, height),
            box,
            supersample,
            limit,
            bool(textured),
            shading.DECODING,
            scratch,
        )
        if textured:
            shading.sort_by_mesh(found, fragments, geometry[6], order, shares)
            ends = shares.tolist()
        for m in textured:
            mesh = meshes[m]
            shading.apply_texture(
                order[ends[m] : ends[m + 1]],
                fragments,
                geometry,
                shading.DECODING,
                (mesh.texture.texels, mesh.texture.levels),
                (mesh.bump.texels, mesh.bump.levels),
            )
        if ground is not None:
            shading.darken_ground(
                sight,
                grid,
                supersample,
                lighting,
                ground[:3].astype(np.float32),
                shadow,
                shading.ENCODING,
                shading.DECODING,
                pixels[2],
                box,
                (0 if first == starts[0] else first, height if first == starts[-1] else box[1]),
                image,
            )
        shading.finish(
            found,
            geometry,
            gloss,
            lens,
            (width, height),
            box,
            supersample,
            lighting,
            shadow,
            np.float32(opacity),
            shading.ENCODING,
            scratch,
            image,
        )
        if buffers is not None:
            shading.write_buffers(
                found,
                first,
                width,
                supersample,
                np.float32(opacity),
                samples,
                fragments,
                pixels,
                geometry,
                spans[0],
                position,
                screen,
                camera.orthographic,
                buffers,
            )


def new_buffers(shape, wanted=BUFFERS):
    """One array for each of BUFFERS, for pictures of `shape` in which nothing is seen; those not
    wanted have no size."""
    whole = np.int32
    kinds = (np.float32, 0), (np.float32, np.inf), (whole, -1), (np.float32, 0), (whole, -1)
    made = []
    for name, (dtype, nothing) in zip(BUFFERS, (*kinds, (whole, -1)), strict=True):
        size = shape if name in wanted else (0,) * len(shape)
        made.append(np.full((*size, 3) if name == "barycentric" else size, nothing, dtype))
    return tuple(made)


def _shadow(sun, geometry, spans, longest_side, space):
    """The sun's map for `shading.finish`; its texels are about as fine as the picture's pixels."""
    size = 1 << int(np.clip(np.ceil(np.log2(1.1 * longest_side)), 7, 10))
    count = len(geometry[0])
    scratch = (
        workspace(space, "position", (count, 2), np.int32),
        workspace(space, "screen", (count, 4), np.float32),
    )
    samples = workspace(space, "sun's map", (size, size + rasterizer.LANES), np.float32)
    away = -sun.direction
    pose = np.zeros((3, 4), np.float32)
    pose[:2, :3], pose[2, :3] = _axes(away, 1), away
    view = np.zeros((3, 4), np.float32), np.zeros(3, np.float32)
    tiles = size // shading.TILE
    coarse = workspace(space, "sun's coarse map", (tiles, tiles), np.float32)
    softness = np.float32(np.tan(np.radians(sun.softness) / 2))
    return view, shading.map_shadows(
        geometry, spans, pose, softness, SHADOW_MARGIN, view, scratch, samples, coarse
    )


@njit(nogil=True, cache=True, error_model="numpy")
def _axes(normal, first):
    """Two unit vectors (2, 3) that span the plane with this normal.

    The first is normal to axis number `first` of the world as well, or to the next one, should
    the normal be near to that axis.
    """
    if abs(normal[first]) >= 0.9:
        first = 1 - first
    other = np.zeros(3)
    other[first] = 1
    axes = np.empty((2, 3))
    axes[0] = _cross(normal, other)
    axes[0] /= np.sqrt((axes[0] ** 2).sum())
    axes[1] = _cross(normal, axes[0])
    return axes


@njit(nogil=True, cache=True, error_model="numpy")
def _cross(u, v):
    """The cross product of two vectors (3,)."""
    return np.array(
        [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]]
    )


@njit(nogil=True, cache=True, error_model="numpy")
def _ground_seen(ground, view, sun_view, axes, grid_place):
    """What a pixel sees of the ground, (6, 3); see `shading.darken_ground`.

    A pixel (x, y, 1) sees the plane's point M (x, y, 1) in homogeneous coordinates, and places
    in maps are linear in the point, so each is a homography of the picture.

    Args:
        ground: (4,) the plane.
        view: of the camera: rotation, position, focal length, centre, orthographic.
        sun_view: see `shading.map_shadows`; axes, grid_place: of and from `shading.map_contact`.
    """
    rotation, eye, focal, center, orthographic = view
    normal, height = ground[:3], ground[3]
    x, y = center[0], center[1]
    right, down, forward = rotation[0], rotation[1], rotation[2]
    point = np.zeros((4, 3))
    if orthographic:
        start = np.stack((right / focal, down / focal, eye - (x * right + y * down) / focal), 1)
        distance = -_times(normal, start)
        distance[2] += height
        point[:3] = start + np.outer(forward, distance / (normal * forward).sum())
        point[3, 2] = 1
    else:
        ahead = forward - (x * right + y * down) / focal
        rays = np.stack((right / focal, down / focal, ahead), 1)
        above = height - (normal * eye).sum()
        point[:3] = np.outer(eye, _times(normal, rays)) + above * rays
        point[3] = _times(normal, rays)
        point *= np.sign(above)  # the divisor's sign then tells what lies in front
    (pose, (density, column, row)), (cells, along, across) = sun_view, grid_place
    to_map = np.zeros((6, 4))
    to_map[:2, :3] = density * pose[:2, :3]
    to_map[0, 3], to_map[1, 3] = column, row
    to_map[2, :3] = -pose[2, :3]
    to_map[3:5, :3] = cells * axes
    to_map[3, 3], to_map[4, 3] = -cells * along - 0.5, -cells * across - 0.5
    to_map[5, 3] = 1
    seen = np.empty((6, 3), np.float32)
    for k in range(6):
        seen[k] = _times(to_map[k], point)
    return seen


@njit(nogil=True, cache=True, error_model="numpy")
def _times(row, matrix):
    """The product of (n,) and (n, m), summed up in order, as BLAS on some processors does not."""
    total = row[0] * matrix[0]
    for k in range(1, row.shape[0]):
        total = total + row[k] * matrix[k]
    return total


def _camera_arrays(camera, supersample):
    pose = np.empty((3, 4), np.float32)
    pose[:, :3], pose[:, 3] = camera.rotation, camera.translation
    intrinsics = np.array([camera.focal, *camera.center], np.float32) * np.float32(supersample)
    return pose, intrinsics, camera.orthographic


# Workspaces: memory to draw in, kept from one picture to the next, since the system takes longer
# to hand out fresh memory than a small picture takes to be drawn.
_SPARE_SPACES = deque(maxlen=os.cpu_count() or 1)


def for_each(draw, count, threads):
    """Call `draw(i, space)` for every i < count; calls that run together share no workspace."""
    threads = min(threads or os.cpu_count() or 1, count)
    numbers = iter(range(count))

    def work():
        try:
            space = _SPARE_SPACES.pop()
        except IndexError:
            space = {}
        try:
            for i in numbers:  # each number goes to one thread
                draw(i, space)
        except BaseException:
            for _ in numbers:  # nobody goes on
                pass
            raise
        finally:
            _SPARE_SPACES.append(space)

    if threads <= 1:
        work()
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()  # raises what a thread raised


def workspace(space, name, shape, dtype):
    """An array of the workspace, of undefined content; what had this name before is lost."""
    memory, view = space.get(name, (None, None))
    if view is None or view.shape != shape:
        size = prod(shape)
        if memory is None or memory.size < size:
            memory = np.empty(size + size // 4, dtype)
        view = memory[:size].reshape(shape)
        space[name] = memory, view
    return view


def _placed(meshes, first_faces, space):
    """All meshes in the arrays that `shading.begin` takes, with their normals."""
    if len(meshes) == 1:
        return _placed_alone(meshes[0], space)
    first_vertices = list(accumulate((len(mesh.vertices) for mesh in meshes), initial=0))
    geometry = _geometry(space, first_vertices[-1], first_faces[-1])
    for i, mesh in enumerate(meshes):
        parts = (mesh.vertices, mesh.faces, mesh.normals, mesh.colors, mesh.uv, mesh.labels)
        table, same = _welding(space, 0 if len(mesh.normals) else len(mesh.vertices))
        bits = mesh.vertices.view(np.uint32)
        shading.place(parts, bits, i, first_vertices[i], first_faces[i], table, same, geometry)
    # One colour for all, often white under textures, need not be interpolated.
    colors = [mesh.colors for mesh in meshes]
    if colors and all(len(c) == 1 and (c == colors[0]).all() for c in colors):
        geometry = *geometry[:3], geometry[3][:1], *geometry[4:]
    return geometry


def _placed_alone(mesh, space):
    """The same for the only mesh of a scene: its own arrays do, but for what it lacks."""
    normals, labels = mesh.normals, mesh.labels
    if not len(normals):
        normals = workspace(space, "normals", mesh.vertices.shape, np.float32)
        table, same = _welding(space, len(mesh.vertices))
        bits = mesh.vertices.view(np.uint32)
        shading.smooth_normals(
            mesh.vertices, mesh.faces, bits, len(mesh.uv) > 0, table, same, normals
        )
    if not len(labels):
        labels = workspace(space, "labels", (len(mesh.faces),), np.int32)
        labels.fill(-1)
    mesh_of = workspace(space, "mesh of face", (len(mesh.faces),), np.int32)
    mesh_of.fill(0)
    parts = (mesh.vertices, mesh.faces, normals, mesh.colors, mesh.uv, labels, mesh_of)
    # For memory that is read-only, everything would be compiled anew.
    return tuple(part if part.flags.writeable else part.copy() for part in parts)


def _welding(space, count):
    """Scratch for `rasterizer.weld` of so many vertices."""
    table = workspace(space, "table", (2 << count.bit_length(),), np.int32)
    return table, workspace(space, "same", (count,), np.uint32)


def _geometry(space, num_vertices, num_faces):
    """Vertices, faces, normals, colors, uv, labels and mesh of each face, to be filled."""
    return (
        workspace(space, "vertices", (num_vertices, 3), np.float32),
        workspace(space, "faces", (num_faces, 3), np.uint32),
        workspace(space, "normals", (num_vertices, 3), np.float32),
        workspace(space, "colors", (num_vertices, 3), np.float32),
        workspace(space, "uv", (num_vertices, 2), np.float32),
        workspace(space, "labels", (num_faces,), np.int32),
        workspace(space, "mesh of face", (num_faces,), np.int32),
    )


def _pixels(space, shape):
    """Nearness, sample and count of samples, for `shading.begin`."""
    return (
        workspace(space, "pixel's nearness", shape, np.float32),
        workspace(space, "pixel's sample", shape, np.uint8),
        workspace(space, "pixel's count", shape, np.uint8),
    )


def _fragments(space, most):
    """Pixel, count, face, place and values of up to `most` fragments."""
    # Rows that lie a multiple of 4096 bytes apart would push each other out of the cache.
    stride = -(-most // 1024) * 1024 + 48
    return (
        workspace(space, "pixel", (most,), np.int32),
        workspace(space, "count", (most,), np.int32),
        workspace(space, "fragment's face", (most,), np.uint32),
        workspace(space, "place", (most, 2), np.int32),
        workspace(space, "values", (shading.ROWS, stride), np.float32),
    )


def check_supersample(supersample):
    """Refuse an unknown number of samples."""
    if supersample not in SUPERSAMPLE:
        raise ValueError(f"supersample must be one of {SUPERSAMPLE}, found {supersample}.")


def check_vertices(vertices, shape):
    """Vertices as float32."""
    vertices = np.asarray(vertices)
    if vertices.ndim != shape.count(",") + 1 or vertices.shape[-1] != 3 or not vertices.shape[-2]:
        raise ValueError(f"vertices must have shape {shape}, found {vertices.shape}.")
    if not np.isfinite(vertices).all():
        raise ValueError("vertices hold values that are not finite (NaN or infinity).")
    return np.ascontiguousarray(vertices, np.float32)


def check_faces(faces, num_vertices):
    """Faces as uint32; unsigned, as numba then spares itself a test for negative indices."""
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


def srgb(name, values):
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


def check_backgrounds(backgrounds, count, height, width):
    """None, or uint8 pictures (1 or count, H or 1, W or 1, 3)."""
    if backgrounds is None:
        return None
    backgrounds = np.asarray(backgrounds)
    if backgrounds.dtype != np.uint8:
        backgrounds = np.rint(255 * srgb("background", backgrounds)).astype(np.uint8)
    picture = (height, width, 3)
    if backgrounds.shape == (3,):
        return backgrounds.reshape(1, 1, 1, 3)
    if backgrounds.shape == picture:
        return backgrounds[None]
    if backgrounds.shape == (count, *picture):
        return backgrounds
    raise ValueError(
        f"the background must be a colour (3,) or an image {picture}, or one image a body; "
        f"found {backgrounds.shape}."
    )
