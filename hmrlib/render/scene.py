"""Scenes: several meshes with textures under sky and sun, drawn in batches over the cores."""

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod

import numpy as np

from hmrlib.camera import Camera
from hmrlib.render import rasterizer, shading, shadows, textures
from hmrlib.render.lights import Lights, Sun, ambient_polynomial, irradiance_polynomial
from hmrlib.render.textures import Mipmap, mipmap

CLAY = (0.84, 0.81, 0.77)
SUPERSAMPLE = (1, 2, 4)
MOST_SAMPLES = 1 << 20  # in memory at a time, for each thread; larger pictures are drawn in bands
BUFFERS = {  # name -> type, and what stands where nothing is seen
    "alpha": (np.float32, 0),
    "depth": (np.float32, np.inf),
    "face": (np.int32, -1),
    "barycentric": (np.float32, 0),
    "parts": (np.int32, -1),
    "mesh": (np.int32, -1),
}


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
        sky: (9, 3) harmonics of the light from all around, see `lights.sky`; or `Lights`, which
            throw no shadows.
        sun: `Sun`, or None; beside `Lights` there is none.
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
    sky: np.ndarray | Lights
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
        sky = self.sky if isinstance(self.sky, Lights) else np.asarray(self.sky, float)
        if isinstance(sky, Lights) and self.sun is not None:
            raise ValueError("a scene is lit by Lights, or by a sky and a sun: leave one out.")
        if not isinstance(sky, Lights) and (sky.shape != (9, 3) or not np.isfinite(sky).all()):
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


def render_scene(scene, supersample=2, buffers=tuple(BUFFERS)) -> Rendering:
    """Draw a scene.

    Args:
        scene: `Scene`.
        supersample: samples along each side of a pixel: 1, 2 or 4.
        buffers: which of `Rendering`'s arrays to return beside the image; each takes time.

    Raises:
        ValueError: not a scene, an unknown number of samples, or an unknown buffer.
    """
    return render_scenes([scene], supersample, threads=1, buffers=buffers)[0]


def render_scenes(scenes, supersample=2, threads=None, buffers=tuple(BUFFERS)) -> list[Rendering]:
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
        drawn[i] = draw_scene(scenes[i], supersample, buffers, drawn[i], space)

    for_each(draw, len(scenes), threads)
    return drawn


def _blank_images(scenes):
    """An image of undefined content for each scene: parts of one array if all are of one shape,
    since the system hands out much memory at once much faster than little by little."""
    shapes = [(*scene.camera.size[::-1], 4 if scene.background is None else 3) for scene in scenes]
    if len(set(shapes)) == 1:
        return list(np.empty((len(scenes), *shapes[0]), np.uint8))
    return [np.empty(shape, np.uint8) for shape in shapes]


def draw_scene(scene, supersample, buffers, image, space, opacity=1.0, merge=True) -> Rendering:
    """Draw a scene into an image, in bands that fit into memory.

    Args:
        scene, supersample, buffers: as for `render_scene`.
        image: (H, W, 3 or 4) uint8 of undefined content.
        space: `workspace`.
        opacity: of the meshes, 0 to 1.
        merge: shade once a pixel and mesh, and not once a pixel and face.
    """
    width, height = scene.camera.size
    geometry = _placed(scene.meshes, space)
    projected = _projection(space, len(geometry.vertices))
    image[:] = 0 if scene.background is None else scene.background
    if not any(len(mesh.labels) for mesh in scene.meshes):
        buffers = [name for name in buffers if name != "parts"]
    out = {name: blank_buffer(name, (height, width)) for name in buffers}
    shadow = shadows.NO_SHADOW
    if scene.sun is not None and scene.meshes:
        samples = _sun_samples(space, max(width, height))
        shadow = shadows.shadow_map(scene.sun, geometry, projected, samples)
    ground = None
    if scene.ground is not None:
        ground = shadows.ground_seen(scene.ground, scene.camera, geometry, projected, shadow)
    view = _view(scene.camera, supersample)
    rasterizer.project(geometry.vertices, view, projected)
    picture = _Picture(scene, geometry, projected, view, supersample, merge, shadow, ground)

    top, bottom, left, right = _bounds(projected, supersample, width, height)
    band = max(1, min(height, MOST_SAMPLES // (width * supersample**2)))
    starts = list(range(top, bottom, band)) or [0]
    for first in starts:
        box = shading.Box(first, min(first + band, bottom), left, right)
        samples, pixels, fragments = picture.visible(box, space)
        hits, surface = picture.surface(fragments, space)
        if ground is not None:
            rows = 0 if first == starts[0] else first, height if first == starts[-1] else box.bottom
            shadows.darken_ground(
                ground,
                picture.lighting,
                shadow,
                textures.ENCODING,
                textures.DECODING,
                pixels.covered == supersample**2,
                box,
                rows,
                image,
            )
        light = picture.light(fragments, hits, surface, pixels, box, space)
        shading.composite(
            fragments, light, np.float32(opacity), supersample, textures.ENCODING, image
        )
        picture.write(box, fragments, pixels, opacity, out, space)
    return Rendering(image, **out)


@dataclass(frozen=True, eq=False)
class _Picture:
    """A scene made ready to be drawn, and the steps of drawing a band of it."""

    scene: Scene
    geometry: shading.Geometry
    projected: rasterizer.Projection
    view: rasterizer.View
    supersample: int
    merge: bool
    shadow: shadows.ShadowMap
    ground: shadows.Ground | None

    @cached_property
    def lighting(self):
        return _lighting(self.scene)

    @cached_property
    def gloss(self):
        """(M,) of the meshes."""
        return np.array([mesh.gloss for mesh in self.scene.meshes], np.float32)

    def visible(self, box, space):
        """What is seen in a box: `ZBuffer`, `Pixels` and `Fragments`."""
        width, s = self.scene.camera.size[0], self.supersample
        rows, columns = box.bottom - box.top, width * s
        samples = _samples(space, rows * s, columns)
        samples.inverse_depth[:, box.left * s : box.right * s] = rasterizer.NOTHING
        orthographic, geometry = self.view.orthographic, self.geometry
        rasterizer.rasterize(
            geometry.faces,
            geometry.mesh_of_face,
            geometry.two_sided,
            self.projected,
            orthographic,
            box.top * s,
            samples,
        )
        pixels = shading.Pixels(
            workspace(space, "pixel's depth", (rows, width), np.float32),
            workspace(space, "pixel's face", (rows, width), np.uint32),
            workspace(space, "pixel's sample", (rows, width), np.uint8),
            workspace(space, "pixel's count", (rows, width), np.uint8),
        )
        fragments = _fragments(space, rows * s * columns)
        # Beyond a slope of 4 between neighbouring pixels, surfaces are taken for different ones.
        limit = np.float32(4 / self.scene.camera.focal if self.merge else -1)
        found = shading.find_fragments[s](
            box, limit, orthographic, samples, geometry.mesh_of_face, pixels, fragments
        )
        return samples, pixels, shading.Fragments(*(each[:found] for each in fragments))

    def surface(self, fragments, space):
        """`Hits` and `Surface` of fragments, textures and bump maps applied."""
        geometry, count = self.geometry, len(fragments.face)
        hits = self._hits(fragments, space)
        normal = workspace(space, "normal", (3, count), np.float32)
        shading.blend(fragments.face, hits.weights, geometry.faces, geometry.normals, normal)
        shading.turn_to_viewer(hits.side, normal)
        albedo = workspace(space, "albedo", (3, count), np.float32)
        if len(geometry.colors) == 1:
            albedo[:] = _linear(geometry.colors.T)
        else:
            shading.blend(fragments.face, hits.weights, geometry.faces, geometry.colors, albedo)
            albedo[:] = _linear(albedo)
        self._apply_textures(fragments, hits, albedo, normal, space)
        position = workspace(space, "position", (3, 0), np.float32)
        if len(self.shadow.inverse_depth) or self.gloss.any():
            position = workspace(space, "position", (3, count), np.float32)
            shading.locate(fragments, hits.depth, self.view, position)
        sun, ambient = workspace(space, "visibility", (2, count), np.float32)
        return hits, shading.Surface(position, normal, albedo, sun, ambient)

    def _hits(self, fragments, space):
        count = len(fragments.face)
        hits = shading.Hits(
            workspace(space, "weights", (3, count), np.float32),
            *workspace(space, "hits", (3, count), np.float32),
        )
        orthographic = self.view.orthographic
        shading.intersect(fragments, self.geometry.faces, self.projected, orthographic, hits)
        return hits

    def _apply_textures(self, fragments, hits, albedo, normal, space):
        meshes, geometry = self.scene.meshes, self.geometry
        textured = [
            m for m, mesh in enumerate(meshes) if len(mesh.texture.texels) or len(mesh.bump.texels)
        ]
        if not textured:
            return
        places = textures.Places(*workspace(space, "places", (3, len(fragments.face)), np.float32))
        area = np.float32((self.supersample * rasterizer.SUBPIXEL) ** 2)
        textures.find_places(fragments.face, hits, geometry.faces, geometry.uv, area, places)
        mesh_of = geometry.mesh_of_face[fragments.face].astype(np.int16)
        order = np.argsort(mesh_of, kind="stable").astype(np.uint32)
        ends = np.cumsum(np.bincount(mesh_of, minlength=len(meshes))).tolist()
        for m in textured:
            rows = order[ends[m - 1] if m else 0 : ends[m]]
            texture, bump = meshes[m].texture, meshes[m].bump
            if len(texture.texels):
                textures.apply_texture(
                    rows, places, texture.texels, texture.levels, textures.DECODING, albedo
                )
            if len(bump.texels):
                textures.apply_bumps(
                    rows, places, bump.texels, bump.levels, fragments.face, geometry, normal
                )

    def light(self, fragments, hits, surface, pixels, box, space):
        """Light (3, N) from each fragment to the camera."""
        surface.sun_visibility.fill(1)
        surface.ambient_visibility.fill(1)
        if len(self.shadow.inverse_depth):
            shadows.sun_visibility(surface, self.lighting.directions[0], self.shadow)
        if self.scene.occlusion > 0:
            shadows.ambient_visibility(
                fragments,
                hits.depth,
                surface,
                pixels,
                box,
                self.view,
                self.supersample,
                np.float32(self.scene.occlusion),
            )
        light = workspace(space, "light", (3, len(hits.depth)), np.float32)
        shading.diffuse(surface, self.lighting, light)
        if self.gloss.any():
            gloss = self.gloss[self.geometry.mesh_of_face[fragments.face]]
            shading.add_gloss(surface, gloss, self.view, self.lighting, light)
        return light

    def write(self, box, fragments, pixels, opacity, out, space):
        """Write what the nearest sample of each pixel sees into the arrays (H, W) of `out`."""
        if not out:
            return
        geometry, s = self.geometry, self.supersample
        width = self.scene.camera.size[0]
        at = fragments.pixel  # those in which something is seen, some of them twice
        inverse_depth, face, sample, covered = (
            each.reshape(-1).take(at - box.top * width) for each in pixels
        )
        mesh = geometry.mesh_of_face.take(face)

        def put(name, make):
            if name in out:
                picture = out[name]
                picture.reshape(-1, *picture.shape[2:])[at] = make()

        put("alpha", lambda: np.float32(opacity) / np.float32(s * s) * covered)
        put("depth", lambda: -inverse_depth if self.view.orthographic else 1 / inverse_depth)
        put("mesh", lambda: mesh)
        put("face", lambda: face - geometry.first_faces.take(mesh))
        put("parts", lambda: geometry.labels.take(face))
        put("barycentric", lambda: self._barycentric(at, sample, face, space))

    def _barycentric(self, pixel, sample, face, space):
        """Weights (N, 3) of the corners of faces, in the middles of samples of pixels."""
        width, s = self.scene.camera.size[0], self.supersample
        x, y = pixel % width * s + sample % s, pixel // width * s + sample // s
        x = x * rasterizer.SUBPIXEL + rasterizer.HALF
        y = y * rasterizer.SUBPIXEL + rasterizer.HALF
        return self._hits(shading.Fragments(pixel, x, face, x, y), space).weights.T


def _lighting(scene):
    """`shading.Lighting` of a scene."""
    sun, lights = scene.sun, scene.sky
    if isinstance(lights, Lights):
        directions, up = lights.directions, np.array([0, 1, 0], np.float32)
        if not lights.in_world:
            # The viewer's axes as rows, in the world: right, up (the camera's y points down), back.
            viewer = (scene.camera.rotation * np.array([[1], [-1], [-1]])).astype(np.float32)
            directions, up = directions @ viewer, viewer[1]
        sky = ambient_polynomial(lights.sky, lights.ground, up)
        return shading.Lighting(sky, directions, lights.colors, np.float32(lights.wrap))
    sky, none = irradiance_polynomial(scene.sky), np.zeros((0, 3), np.float32)
    if sun is None:
        return shading.Lighting(sky, none, none, np.float32(0))
    return shading.Lighting(sky, sun.direction[None], sun.color[None], np.float32(0))


def _linear(colors):
    """Linear light of sRGB colours in [0, 1]."""
    last = np.float32(len(textures.DECODING) - 1)
    return textures.DECODING[(colors * last + np.float32(0.5)).astype(np.intp)]


def _view(camera, supersample):
    """A `Camera` for compiled functions, in samples."""
    pose = np.empty((3, 4), np.float32)
    pose[:, :3], pose[:, 3] = camera.rotation, camera.translation
    values = np.array([camera.focal, *camera.center], np.float32) * np.float32(supersample)
    return rasterizer.View(pose, *values, camera.orthographic)


def _bounds(projected, supersample, width, height):
    """Pixels (top, bottom, left, right; half open) outside which nothing can be seen."""
    if not len(projected.x):
        return 0, 0, 0, 0
    left, right = int(projected.x.min()), int(projected.x.max())
    top, bottom = int(projected.y.min()), int(projected.y.max())
    if left == rasterizer.OUTSIDE:
        return 0, height, 0, width
    pixel = supersample << rasterizer.SHIFT
    return (
        min(max(top // pixel, 0), height),
        min(max(bottom // pixel + 1, 0), height),
        min(max(left // pixel, 0), width),
        min(max(right // pixel + 1, 0), width),
    )


def blank_buffer(name, shape):
    """One of `BUFFERS` for a picture of `shape` in which nothing is seen."""
    dtype, nothing = BUFFERS[name]
    return np.full((*shape, 3) if name == "barycentric" else shape, nothing, dtype)


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


def _placed(meshes, space):
    """`shading.Geometry` of all meshes, with their normals."""
    if len(meshes) == 1:
        return _placed_alone(meshes[0], space)
    first_vertices = list(accumulate((len(mesh.vertices) for mesh in meshes), initial=0))
    first_faces = list(accumulate((len(mesh.faces) for mesh in meshes), initial=0))
    num_vertices, num_faces = first_vertices[-1], first_faces[-1]
    # One colour for all, often white under textures, need not be interpolated.
    colors = [mesh.colors for mesh in meshes]
    uniform = bool(meshes) and all(len(c) == 1 and (c == colors[0]).all() for c in colors)
    labelled = any(len(mesh.labels) for mesh in meshes)
    geometry = shading.Geometry(
        workspace(space, "vertices", (num_vertices, 3), np.float32),
        workspace(space, "normals", (num_vertices, 3), np.float32),
        workspace(space, "faces", (num_faces, 3), np.uint32),
        workspace(space, "colors", (1 if uniform else num_vertices, 3), np.float32),
        workspace(space, "uv", (num_vertices, 2), np.float32),
        workspace(space, "labels", (num_faces if labelled else 0,), np.int32),
        workspace(space, "mesh of face", (num_faces,), np.int32),
        np.array(first_faces),
        np.array([mesh.two_sided for mesh in meshes], bool),
    )
    for i, mesh in enumerate(meshes):
        own_faces = slice(first_faces[i], first_faces[i + 1])
        if labelled:
            geometry.labels[own_faces] = mesh.labels if len(mesh.labels) else -1
        geometry.mesh_of_face[own_faces] = i
        faces = geometry.faces[own_faces]
        faces[:] = mesh.faces
        own = slice(first_vertices[i], first_vertices[i + 1])
        geometry.vertices[own] = mesh.vertices
        if len(mesh.normals):
            geometry.normals[own] = mesh.normals
        else:
            with_seams, vertices = len(mesh.uv) > 0, geometry.vertices[own]
            _smooth_normals(vertices, faces, with_seams, geometry.normals[own], space)
        faces += np.uint32(first_vertices[i])
        if len(mesh.uv):
            geometry.uv[own] = mesh.uv
        geometry.colors[slice(None) if uniform else own] = mesh.colors
    return geometry


def _placed_alone(mesh, space):
    """The same for the only mesh of a scene: its own arrays do, but for what it lacks."""
    normals, count = mesh.normals, len(mesh.faces)
    parts = mesh.vertices, mesh.faces, mesh.colors, mesh.uv, mesh.labels
    # For memory that is read-only, everything would be compiled anew.
    vertices, faces, colors, uv, labels = (
        part if part.flags.writeable else part.copy() for part in parts
    )
    if len(normals):
        normals = normals if normals.flags.writeable else normals.copy()
    else:
        normals = workspace(space, "normals", vertices.shape, np.float32)
        _smooth_normals(vertices, faces, len(uv) > 0, normals, space)
    mesh_of_face = workspace(space, "mesh of face", (count,), np.int32)
    mesh_of_face.fill(0)
    spans, two_sided = np.array([0, count]), np.array([mesh.two_sided], bool)
    return shading.Geometry(
        vertices, normals, faces, colors, uv, labels, mesh_of_face, spans, two_sided
    )


def _smooth_normals(vertices, faces, with_seams, normals, space):
    """Normals of a mesh, across the seams of its texture too, where it has one."""
    count = len(vertices) if with_seams else 0
    same = workspace(space, "same", (count,), np.uint32)
    if count:
        table = workspace(space, "table", (2 << count.bit_length(),), np.int32)
        rasterizer.weld(vertices.view(np.uint32), table, same)
    rasterizer.vertex_normals(vertices, faces, same, normals)


def _projection(space, count):
    """`rasterizer.Projection` of so many vertices, to be filled."""
    x, y = workspace(space, "projected", (2, count), np.int32)
    return rasterizer.Projection(x, y, *workspace(space, "projected, wide", (4, count), np.float32))


def _samples(space, rows, columns, name="samples"):
    """`rasterizer.ZBuffer` of undefined content."""
    shape = rows, columns + rasterizer.LANES
    return rasterizer.ZBuffer(
        workspace(space, f"{name}' depth", shape, np.float32),
        workspace(space, f"{name}' face", shape, np.uint32),
    )


def _sun_samples(space, longest_side):
    """The sun's map; its texels are about as fine as the picture's pixels."""
    size = 1 << int(np.clip(np.ceil(np.log2(1.1 * longest_side)), 7, 10))
    return _samples(space, size, size, "sun's samples")


def _fragments(space, most):
    """`shading.Fragments` with room for so many."""
    pixel, count, x, y = workspace(space, "fragments", (4, most), np.int32)
    face = workspace(space, "fragments' face", (most,), np.uint32)
    return shading.Fragments(pixel, count, face, x, y)


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
    """None, or uint8 pictures (1 or count, H, W, 3)."""
    if backgrounds is None:
        return None
    backgrounds = np.asarray(backgrounds)
    if backgrounds.dtype != np.uint8:
        backgrounds = np.rint(255 * srgb("background", backgrounds)).astype(np.uint8)
    picture = (height, width, 3)
    if backgrounds.shape == (3,):
        return np.broadcast_to(backgrounds, (1, *picture))
    if backgrounds.shape == picture:
        return backgrounds[None]
    if backgrounds.shape == (count, *picture):
        return backgrounds
    raise ValueError(
        f"the background must be a colour (3,) or an image {picture}, or one image a body; "
        f"found {backgrounds.shape}."
    )
