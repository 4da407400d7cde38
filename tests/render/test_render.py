"""The rasteriser, against a slow reference and against geometry."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hmrlib.camera import Camera, frame, look_at
from hmrlib.render import (
    STUDIO,
    Lights,
    Mesh,
    Scene,
    Sun,
    ambient_occlusion,
    irradiance,
    mipmap,
    render,
    render_batch,
    render_scene,
    render_scenes,
    sky,
    sky_of_picture,
)
from hmrlib.render.shadows import columns_seen

# Even light: what is seen is the surface's own colour.
EVEN = Lights(np.zeros((0, 3)), np.zeros((0, 3)), sky=(1, 1, 1), ground=(1, 1, 1))
FRONT = look_at((0, 0, 4), (0, 0, 0), fov=40, size=(64, 48))


def sphere(subdivisions=3):
    """A unit icosphere, made by halving the edges of an octahedron."""
    vertices = np.array(
        [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], float
    )
    faces = np.array(
        [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
    )
    for _ in range(subdivisions):
        corners = vertices[faces]  # (F, 3, 3)
        middles = (corners + np.roll(corners, -1, 1)) / 2
        middles /= np.linalg.norm(middles, axis=-1, keepdims=True)
        a, b, c = corners.swapaxes(0, 1)
        ab, bc, ca = middles.swapaxes(0, 1)
        soup = np.stack([a, ab, ca, ab, b, bc, ca, bc, c, ab, bc, ca], 1).reshape(-1, 3)
        vertices, faces = np.unique(soup.round(9), axis=0, return_inverse=True)
        faces = faces.reshape(-1, 3)
    return vertices, faces


def triangle_facing(z, size=1.0, center=(0.0, 0.0)):
    x, y = center
    return [[x - size, y - size, z], [x + size, y - size, z], [x, y + size, z]]


def reference(vertices, faces, camera):
    """Depth (H, W), face (H, W) and weights (H, W, 3) by one ray a pixel against every triangle."""
    width, height = camera.size
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x_y = (np.stack([columns, rows], -1) - camera.center) / camera.focal
    corners = vertices[faces] @ camera.rotation.T + camera.translation  # (F, 3, 3)
    flat = np.zeros((height, width, 1))
    if camera.orthographic:
        origin, direction = np.concatenate([x_y, flat], -1), np.array([0.0, 0, 1])
    else:
        origin, direction = np.zeros(3), np.concatenate([x_y, flat + 1], -1)
    depth = np.full((height, width), np.inf)
    face = np.full((height, width), -1)
    weights = np.zeros((height, width, 3))
    for f, (a, b, c) in enumerate(corners):
        normal = np.cross(b - a, c - a)
        facing = direction @ normal
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = ((a - origin) @ normal) / facing
        hit = origin + distance[..., None] * direction
        part = np.stack(
            [np.cross(q - p, hit - p) @ normal for p, q in ((b, c), (c, a), (a, b))], -1
        ) / (normal @ normal)
        near = -np.inf if camera.orthographic else 0.01
        closer = (part >= 0).all(-1) & (facing < 0) & (distance > near) & (distance < depth)
        depth[closer], face[closer], weights[closer] = distance[closer], f, part[closer]
    return depth, face, weights


def scene(rng, count, nearest=-3.0):
    """Loose triangles of all sizes, turned towards the camera or away."""
    centers = rng.uniform([-2, -1.5, -nearest * -1], [2, 1.5, 2.5], (count, 1, 3))
    sizes = rng.uniform(0.05, 1.0, (count, 1, 1))
    vertices = (centers + sizes * rng.normal(size=(count, 3, 3))).reshape(-1, 3)
    return vertices, np.arange(3 * count).reshape(-1, 3)


@pytest.mark.parametrize("orthographic", [False, True])
def test_parity_with_rays(orthographic):
    vertices, faces = scene(np.random.default_rng(3), 60)
    camera = Camera(
        FRONT.rotation,
        FRONT.translation,
        14 if orthographic else 60,
        (64, 48),
        (30, 25),
        orthographic,
    )
    drawn = render(vertices, faces, camera, supersample=1)
    depth, face, weights = reference(vertices, faces, camera)
    assert (face >= 0).mean() > 0.3
    same = drawn.face == face
    # Positions are snapped to 1/256 pixel, so a ray that grazes an edge may differ.
    assert same.mean() > 0.995
    seen = same & (face >= 0)
    flat = np.abs(np.cross(*(vertices[faces][:, 1:] - vertices[faces][:, :1]).swapaxes(0, 1))[:, 2])
    steady = seen & (flat[face] > 0.05)  # a triangle seen edge-on magnifies the snapping
    np.testing.assert_allclose(drawn.depth[steady], depth[steady], atol=0.02)
    np.testing.assert_allclose(drawn.barycentric[steady], weights[steady], atol=0.02)
    assert np.isinf(drawn.depth[drawn.face < 0]).all()
    np.testing.assert_array_equal(drawn.barycentric[drawn.face < 0], 0)


def test_interpolation_is_correct_in_perspective():
    """A floor that runs to the distance: halfway up the picture is not halfway along the floor."""
    vertices = np.array([[-1, -1, 3], [1, -1, 3], [1, -1, -40], [-1, -1, -40.0]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    drawn = render(vertices, faces, FRONT, supersample=1)
    seen = drawn.face >= 0
    points = np.einsum("nc,ncd->nd", drawn.barycentric[seen], vertices[faces[drawn.face[seen]]])
    rows, columns = np.nonzero(seen)
    pixels, depth = FRONT.project(points)
    np.testing.assert_allclose(pixels, np.stack([columns, rows], 1) + 0.5, atol=0.02)
    np.testing.assert_allclose(depth, drawn.depth[seen], rtol=2e-3)


def test_a_triangle_that_reaches_behind_the_camera_is_cut():
    """The same floor, begun behind the viewer, covers what the visible part alone covers."""
    faces = np.array([[0, 1, 2], [0, 2, 3]])

    def floor(start):
        return np.array([[-1.03, -1, start], [1.07, -1, start], [1.07, -1, -40], [-1.03, -1, -40]])

    behind, visible = floor(9.0), floor(3.9)
    cut = render(behind, faces, FRONT, supersample=1)
    whole = render(visible, faces, FRONT, supersample=1)
    assert (cut.face >= 0).sum() > 500
    assert ((cut.face >= 0) == (whole.face >= 0)).mean() > 0.99
    both = (cut.face >= 0) & (whole.face >= 0)
    np.testing.assert_allclose(cut.depth[both], whole.depth[both], rtol=5e-3)
    _, face, weights = reference(behind, faces, FRONT)
    assert (cut.face == face).mean() > 0.995
    same = (cut.face == face) & (face >= 0)
    np.testing.assert_allclose(cut.barycentric[same], weights[same], atol=1e-3)


def test_all_behind_or_beside_the_camera_is_an_empty_picture():
    vertices, faces = sphere(1)
    for center in ((0, 0, 9), (50, 0, 0), (0, -50, 0)):
        drawn = render(vertices + center, faces, FRONT, background=(1.0, 0.5, 0.0))
        assert (drawn.face == -1).all() and (drawn.alpha == 0).all()
        np.testing.assert_array_equal(drawn.image, np.broadcast_to([255, 128, 0], (48, 64, 3)))


def test_inside_a_body_with_the_camera():
    vertices, faces = sphere(2)
    camera = look_at((0, 0, 0), (0, 0, -1), fov=60, size=(32, 32))
    assert (render(vertices, faces, camera).face == -1).all()  # only its inner side
    drawn = render(vertices, faces, camera, two_sided=True)
    assert (drawn.face >= 0).all()
    assert drawn.face.max() < len(faces)
    np.testing.assert_allclose(drawn.depth[15:17, 15:17], 1, atol=0.05)


def test_a_vertex_lands_on_its_pixel():
    rng = np.random.default_rng(1)
    for orthographic in (False, True):
        for _ in range(10):
            tip = rng.uniform([-1, -0.8, -1], [1, 0.8, 1])
            camera = frame([[-1.2, -1, 0], [1.2, 1, 0]], size=(80, 60), orthographic=orthographic)
            small = 0.02 * np.array([[-1, -1, 0], [1, -1, 0], [0, 1, 0]]) + tip
            rows, columns = np.nonzero(render(small, [[0, 1, 2]], camera, supersample=4).alpha)
            pixel = camera.project(tip)[0]
            assert np.abs(np.array([columns.mean(), rows.mean()]) + 0.5 - pixel).max() < 0.75


def test_nearer_surfaces_hide_farther_ones_in_any_order():
    near, far = triangle_facing(1.0, 0.4), triangle_facing(-1.0, 1.5)
    red, blue = [(1.0, 0, 0)] * 3, [(0, 0, 1.0)] * 3
    pictures = []
    for bodies in ([(near, red), (far, blue)], [(far, blue), (near, red)]):
        vertices, colors = (np.concatenate(x) for x in zip(*bodies, strict=True))
        pictures.append(
            render(vertices, np.arange(6).reshape(2, 3), FRONT, colors, EVEN, (1.0, 1, 1)).image
        )
    np.testing.assert_array_equal(*pictures)
    np.testing.assert_array_equal(pictures[0][24, 32], (255, 0, 0))
    np.testing.assert_array_equal(pictures[0][32, 44], (0, 0, 255))


def test_faces_turned_away_are_seen_only_if_two_sided():
    vertices, away = triangle_facing(0.0), [[0, 2, 1]]
    assert (render(vertices, away, FRONT).alpha == 0).all()
    toward = render(vertices, [[0, 1, 2]], FRONT)
    both = render(vertices, away, FRONT, two_sided=True)
    np.testing.assert_array_equal(both.alpha, toward.alpha)
    assert np.abs(both.image.astype(int) - toward.image).max() <= 1  # corners in another order
    np.testing.assert_array_equal(both.face, toward.face)


@pytest.mark.parametrize("orthographic", [False, True])
def test_the_silhouette_of_a_sphere_has_the_area_of_its_disc(orthographic):
    vertices, faces = sphere(5)
    camera = Camera(FRONT.rotation, (0, 0, 3), 40, (128, 128), orthographic=orthographic)
    radius = 40 if orthographic else 40 / np.sqrt(3**2 - 1)  # tan of the cone that touches it
    area = render(vertices, faces, camera, supersample=4).alpha.sum()
    assert area == pytest.approx(np.pi * radius**2, rel=3e-3)


def test_supersampling_brings_the_edge_closer_to_the_truth():
    vertices = np.array(triangle_facing(0.0, 1.1))
    truth = render(vertices, [[0, 1, 2]], Camera(FRONT.rotation, (0, 0, 4), 16 * 60, (1024, 768)))
    truth = truth.alpha.reshape(48, 16, 64, 16).mean((1, 3))
    small = Camera(FRONT.rotation, (0, 0, 4), 60, (64, 48))
    errors = [
        np.abs(render(vertices, [[0, 1, 2]], small, supersample=s).alpha - truth).mean()
        for s in (1, 2, 4)
    ]
    assert errors[1] < 0.7 * errors[0] and errors[2] < 0.7 * errors[1]


def test_neighbours_leave_no_cracks_and_cover_no_pixel_twice():
    """A closed surface seen from outside has no hole, whatever falls on its edges."""
    vertices, faces = sphere(4)
    cover = render(vertices, faces, FRONT, supersample=1).alpha
    rows = cover.any(1)
    inner = [np.flatnonzero(row) for row in cover[rows]]
    assert all(len(found) == found[-1] - found[0] + 1 for found in inner)


def test_alpha_is_laid_over_the_background_exactly():
    vertices, faces = sphere(3)
    background = np.random.default_rng(2).integers(0, 256, (48, 64, 3), np.uint8)
    color = np.array([0.2, 0.6, 0.4])
    drawn = render(vertices, faces, FRONT, color, EVEN, background, alpha=0.35)
    cover = drawn.alpha[..., None].astype(float)
    assert cover.max() == pytest.approx(0.35) and 0 < cover[cover > 0].min() < 0.1
    expected = cover * 255 * color + (1 - cover) * background
    assert np.abs(drawn.image - expected).max() < 0.51 + 0.1  # rounded once; the table's step
    np.testing.assert_array_equal(drawn.image[cover[..., 0] == 0], background[cover[..., 0] == 0])


def test_the_transparent_picture_pasted_is_the_picture_over_the_background():
    vertices, faces = sphere(3)
    background = np.random.default_rng(2).integers(0, 256, (48, 64, 3), np.uint8)
    over = render(vertices, faces, FRONT, background=background).image
    free = render(vertices, faces, FRONT)
    assert free.image.shape == (48, 64, 4)
    np.testing.assert_array_equal(free.image[..., 3], np.floor(255 * free.alpha + 0.5))
    pasted = free.alpha[..., None] * free.image[..., :3] + (1 - free.alpha[..., None]) * background
    assert np.abs(pasted - over).max() <= 1
    assert (free.image[free.alpha == 0] == 0).all()


def test_colours_reach_the_picture():
    """Under even white light a surface shows its own colour; a vertex colour is interpolated."""
    rng = np.random.default_rng(5)
    for color in rng.uniform(0, 1, (10, 3)):
        drawn = render(triangle_facing(0.0), [[0, 1, 2]], FRONT, color, EVEN, (0.0, 0, 0))
        assert np.abs(drawn.image[24, 32] - 255 * color).max() < 1
    as_bytes = render(
        triangle_facing(0.0),
        [[0, 1, 2]],
        FRONT,
        np.array([10, 128, 250], np.uint8),
        EVEN,
        (0, 0, 0),
    )
    assert np.abs(as_bytes.image[24, 32].astype(int) - (10, 128, 250)).max() <= 1
    corners = np.eye(3)
    drawn = render(triangle_facing(0.0), [[0, 1, 2]], FRONT, corners, EVEN, (0, 0, 0), 1)
    seen = drawn.face >= 0
    assert np.abs(drawn.image[seen] - 255 * drawn.barycentric[seen]).max() < 1


def test_lambert_and_gamma():
    """One light, no wrap: linear light is the cosine, and sRGB's curve encodes it."""
    for angle in (0.0, 40.0, 75.0, 120.0):
        towards = np.radians(angle)
        lights = Lights(
            [(np.sin(towards), 0, np.cos(towards))], [(1, 1, 1)], (0, 0, 0), (0, 0, 0), wrap=0
        )
        drawn = render(triangle_facing(0.0), [[0, 1, 2]], FRONT, (1.0, 1, 1), lights, (0, 0, 1.0))
        linear = max(np.cos(towards), 0)
        encoded = 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
        assert np.abs(drawn.image[24, 32] - 255 * encoded).max() < 1.1


def test_lights_come_with_the_camera_or_stay_in_the_world():
    vertices, faces = sphere(3)
    views = [frame(vertices, view, (48, 48)) for view in ("front", "back")]
    front, back = (render(vertices, faces, view).image for view in views)
    assert np.abs(front.astype(int) - back).max() <= 3
    fixed = Lights(STUDIO.directions, STUDIO.colors, STUDIO.sky, STUDIO.ground, 0.15, in_world=True)
    front_fixed, back_fixed = (render(vertices, faces, view, lights=fixed).image for view in views)
    assert np.abs(front.astype(int) - front_fixed).max() <= 1
    assert back_fixed[24, 24, :3].mean() < 0.8 * front_fixed[24, 24, :3].mean()


def test_smooth_and_flat_shading():
    vertices, faces = sphere(1)
    smooth = render(vertices, faces, FRONT, supersample=1)
    flat = render(vertices, faces, FRONT, supersample=1, smooth=False)
    np.testing.assert_array_equal(smooth.face, flat.face)
    for f in np.unique(flat.face[flat.face >= 0]):
        assert len(np.unique(flat.image[flat.face == f], axis=0)) <= 2  # rounding alone
    assert len(np.unique(smooth.image[smooth.face >= 0], axis=0)) > 100


def test_colours_and_labels_of_faces():
    vertices, faces = sphere(1)
    labels = np.arange(len(faces)) % 5
    colors = np.eye(5, 3)[labels]
    drawn = render(vertices, faces, FRONT, colors, EVEN, supersample=1, smooth=False, parts=labels)
    np.testing.assert_array_equal(drawn.parts[drawn.face < 0], -1)
    seen = drawn.face >= 0
    np.testing.assert_array_equal(drawn.parts[seen], labels[drawn.face[seen]])
    np.testing.assert_array_equal(drawn.image[seen][:, :3], 255 * np.eye(5, 3)[drawn.parts[seen]])


def test_degenerate_triangles_draw_nothing():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 0, 0.0]])
    drawn = render(vertices, [[0, 1, 2], [0, 0, 1], [0, 3, 3]], FRONT, two_sided=True)
    assert (drawn.alpha == 0).all()
    assert (render(vertices, np.zeros((0, 3), int), FRONT).alpha == 0).all()


def test_a_picture_drawn_in_bands_is_the_same(monkeypatch):
    vertices, faces = sphere(3)
    whole = render(vertices, faces, FRONT)
    monkeypatch.setattr("hmrlib.render.scene.MOST_SAMPLES", 64 * 4 * 5)
    bands = render(vertices, faces, FRONT)
    for name in ("image", "alpha", "depth", "face", "barycentric"):
        np.testing.assert_array_equal(getattr(bands, name), getattr(whole, name))


def batch(rng, count=7):
    vertices, faces = sphere(2)
    bodies = vertices * rng.uniform(0.3, 1.2, (count, 1, 3)) + rng.uniform(-0.5, 0.5, (count, 1, 3))
    cameras = [frame(body, rng.uniform(0, 360), (40, 50)) for body in bodies]
    colors = rng.uniform(0, 1, bodies.shape)
    backgrounds = rng.integers(0, 256, (count, 50, 40, 3), np.uint8)
    return bodies, faces, cameras, colors, backgrounds


@pytest.mark.parametrize("threads", [1, 4])
def test_a_batch_equals_its_pictures(threads):
    bodies, faces, cameras, colors, backgrounds = batch(np.random.default_rng(6))
    drawn = render_batch(
        bodies, faces, cameras, colors, backgrounds=backgrounds, buffers=True, threads=threads
    )
    for i, body in enumerate(bodies):
        alone = render(body, faces, cameras[i], colors[i], background=backgrounds[i])
        for name in ("image", "alpha", "depth", "face", "barycentric"):
            np.testing.assert_array_equal(getattr(drawn, name)[i], getattr(alone, name))
    again = render_batch(bodies, faces, cameras, colors, backgrounds=backgrounds, threads=threads)
    np.testing.assert_array_equal(again.image, drawn.image)
    assert vars(again) == {"image": again.image} | dict.fromkeys(
        ("alpha", "depth", "face", "barycentric", "parts", "mesh")
    )


def test_batches_drawn_at_the_same_time_do_not_disturb_each_other():
    bodies, faces, cameras, colors, backgrounds = batch(np.random.default_rng(7), 20)

    def draw(_):
        return render_batch(bodies, faces, cameras, colors, backgrounds=backgrounds).image

    alone = draw(0)
    with ThreadPoolExecutor(4) as pool:
        for image in pool.map(draw, range(8)):
            np.testing.assert_array_equal(image, alone)


def test_an_empty_batch():
    drawn = render_batch(np.zeros((0, 4, 3)), [[0, 1, 2]], FRONT)
    assert drawn.image.shape == (0, 48, 64, 4)


def test_ambient_occlusion_is_open_outside_and_dark_inside():
    vertices, faces = sphere(3)
    assert ambient_occlusion(vertices, faces).min() > 0.97
    # A cup: a small sphere turned inside out, in the hollow of whose wall no sky is seen.
    inner = len(vertices)
    both = np.concatenate([vertices, 0.6 * vertices])
    cup = np.concatenate([faces, faces[:, ::-1] + inner])
    assert ambient_occlusion(both, cup)[inner:].max() < 0.03


BAD = [
    ({"vertices": np.zeros((5, 2))}, r"vertices must have shape \(V, 3\), found \(5, 2\)"),
    ({"vertices": np.zeros((2, 6, 3))}, r"vertices must have shape \(V, 3\)"),
    ({"vertices": np.zeros((0, 3))}, r"vertices must have shape \(V, 3\)"),
    ({"vertices": np.full((6, 3), np.nan)}, "not finite"),
    ({"faces": [[0, 1, 6]]}, "only vertices 0 to 5"),
    ({"faces": [[0, -1, 2]]}, "only vertices 0 to 5"),
    ({"faces": [[0, 1]]}, r"faces must be whole numbers of shape \(F, 3\)"),
    ({"faces": [[0.0, 1.0, 2.0]]}, "faces must be whole numbers"),
    ({"colors": (1.0, 2.0, 0.0)}, r"floats in \[0, 1\] or uint8; found values from 0 to 2"),
    ({"colors": np.ones((5, 3))}, "colors must be"),
    ({"colors": np.ones((8, 3))}, "only be drawn flat"),
    ({"colors": "red"}, "colors must be finite sRGB"),
    ({"colors": np.full((6, 3), np.nan)}, "colors must be finite"),
    ({"lights": "sun"}, "lights must be one Lights"),
    ({"camera": None}, "cameras must be one Camera"),
    ({"background": np.zeros((64, 48, 3), np.uint8)}, r"an image \(48, 64, 3\)"),
    ({"supersample": 3}, "supersample must be one of"),
    ({"alpha": 1.5}, "alpha must lie"),
    ({"alpha": np.nan}, "alpha must lie"),
    ({"parts": np.zeros(7, int)}, "parts must be 8 whole numbers"),
    ({"parts": np.zeros(8)}, "parts must be 8 whole numbers"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input_is_refused(change, message):
    vertices, faces = sphere(0)
    good = {"vertices": vertices, "faces": faces, "camera": FRONT}
    with pytest.raises(ValueError, match=message):
        render(**(good | change))


def test_an_unknown_setting_is_named():
    vertices, faces = sphere(0)
    with pytest.raises(TypeError, match="'opacity'"):
        render(vertices, faces, FRONT, opacity=0.5)


def test_bad_batches_are_refused():
    vertices, faces = sphere(0)
    bodies = np.stack([vertices] * 3)
    with pytest.raises(ValueError, match=r"vertices must have shape \(B, V, 3\)"):
        render_batch(vertices, faces, FRONT)
    with pytest.raises(ValueError, match="one Camera or 3 of them, found 2"):
        render_batch(bodies, faces, [FRONT, FRONT])
    other = look_at((0, 0, 4), (0, 0, 0), size=(10, 10))
    with pytest.raises(ValueError, match="same picture size"):
        render_batch(bodies, faces, [FRONT, FRONT, other])
    with pytest.raises(ValueError, match="only vertices 0 to 5"):
        ambient_occlusion(vertices, [[0, 1, 9]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"directions": [(0, 0, 0)]}, "not zero"),
        ({"directions": [(0, 0, 1), (1, 0, 0)]}, r"must both be \(L, 3\)"),
        ({"colors": [(-1, 0, 0)]}, ">= 0"),
        ({"sky": (1, 1)}, "sky and ground"),
        ({"wrap": 2}, "wrap"),
    ],
)
def test_bad_lights_are_refused(change, message):
    good = {"directions": [(0, 0, 1)], "colors": [(1, 1, 1)], "sky": (0, 0, 0), "ground": (0, 0, 0)}
    Lights(**good)
    with pytest.raises(ValueError, match=message):
        Lights(**(good | change))


# Scenes

WHITE = sky((1, 1, 1), (1, 1, 1), (1, 1, 1))  # even light, as EVEN
BLACK = np.zeros((9, 3))


def quad(half=1.0, z=0.0):
    """A square that faces +z, u to the right and v downwards."""
    x_y = np.array([[-1, 1], [1, 1], [1, -1], [-1, -1]])
    uv = (x_y * (1, -1) + 1) / 2
    return np.column_stack([half * x_y, np.full(4, z)]), np.array([[0, 2, 1], [0, 3, 2]]), uv


def square_on(size):
    """The quad fills the picture exactly."""
    return Camera(np.diag([1, -1, -1.0]), (0, 0, 3), size / 2, (size, size), orthographic=True)


def decoded(image):
    shown = np.asarray(image) / 255
    return np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)


def directions_and_areas(count=20_000):
    """Points spread evenly over the sphere, by another rule than the one under test."""
    rng = np.random.default_rng(0)
    side = int(np.sqrt(count))
    z, around = np.meshgrid(np.arange(side), np.arange(side))
    z = 1 - 2 * (z + rng.uniform(size=z.shape)) / side
    around = 2 * np.pi * (around + rng.uniform(size=z.shape)) / side
    radius = np.sqrt(1 - z**2)
    points = np.stack([radius * np.cos(around), z, radius * np.sin(around)], -1).reshape(-1, 3)
    return points, 4 * np.pi / len(points)


def integrated(light, normals):
    """Irradiance over pi by summing over the sphere; `light` (N, 3) of its points."""
    points, area = directions_and_areas()
    return np.maximum(normals @ points.T, 0) @ light * area / np.pi


def test_light_from_the_sky_agrees_with_its_integral():
    zenith, horizon, ground = (0.2, 0.4, 0.9), (0.8, 0.7, 0.6), (0.2, 0.15, 0.1)
    points, _ = directions_and_areas()
    up = points[:, 1:2]
    fade = np.sqrt(np.clip(up, 0, 1))
    light = np.where(up > 0, horizon + fade * np.subtract(zenith, horizon), ground)
    normals = np.random.default_rng(1).normal(size=(50, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    found = irradiance(sky(zenith, horizon, ground), normals)
    # Nine harmonics are good to about 1 % of the brightest: Ramamoorthi and Hanrahan.
    assert np.abs(found - integrated(light, normals)).max() < 0.02
    np.testing.assert_allclose(irradiance(WHITE, normals), 1, atol=2e-3)


def test_light_from_a_panorama_agrees_with_its_integral():
    rows, columns = 48, 96
    latitude = np.pi * (0.5 - (np.arange(rows) + 0.5) / rows)
    longitude = 2 * np.pi * ((np.arange(columns) + 0.5) / columns - 0.5)

    def light(x, y, z):  # as seen along x, y, z; red in front, green to the right, blue above
        return np.stack([0.5 - 0.5 * z, 0.5 + 0.5 * x, 0.5 + 0.5 * y * y], -1)

    flat = np.cos(latitude)[:, None]
    picture = light(
        flat * np.sin(longitude),
        np.sin(latitude)[:, None] + 0 * longitude,
        -flat * np.cos(longitude),
    )
    points, _ = directions_and_areas()
    normals = points[::400]
    found = irradiance(sky_of_picture(picture, panorama=True), normals)
    assert np.abs(found - integrated(light(*points.T), normals)).max() < 0.01
    # A photograph and its mirror image behind the viewer: no difference from front to back.
    photograph = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    coefficients = sky_of_picture(photograph)
    front, back = irradiance(coefficients, [[0, 0, -1.0], [0, 0, 1.0]])
    np.testing.assert_allclose(front, back, atol=0.02)
    mean = decoded(photograph).mean((0, 1))
    np.testing.assert_allclose(irradiance(coefficients, [[1.0, 0, 0]])[0], mean, atol=0.1)


@pytest.mark.parametrize("supersample", [1, 2])
def test_a_textured_quad_shows_the_texture(supersample):
    """Enlarged, its pixels are the bilinear mean of the texels around, across the border too."""
    texture = np.random.default_rng(3).integers(0, 256, (8, 12, 3), np.uint8)
    vertices, faces, uv = quad()
    size = 96
    for repeats, offset in ((1, 0.0), (1, -3.3), (2, 0.4)):
        mesh = Mesh(vertices, faces, uv=repeats * uv + offset, texture=texture)
        drawn = render_scene(Scene([mesh], square_on(size), WHITE, occlusion=0), supersample)
        place = repeats * (np.arange(size) + 0.5) / size + offset
        x, y = place * 12 - 0.5, place * 8 - 0.5
        left, top = np.floor(x).astype(int), np.floor(y).astype(int)
        x, y = (x - left)[None, :, None], (y - top)[:, None, None]

        def texels(i, j):
            return texture[np.ix_(i % 8, j % 12)].astype(float)

        upper = texels(top, left) * (1 - x) + texels(top, left + 1) * x
        lower = texels(top + 1, left) * (1 - x) + texels(top + 1, left + 1) * x
        expected = upper * (1 - y) + lower * y
        error = drawn.image[..., :3] - expected
        assert np.abs(error).max() < 2  # places between texels have 8 bits
        assert abs(error.mean()) < 0.02
        assert (drawn.image[..., 3] == 255).all()


def test_a_texture_seen_small_is_averaged():
    fine = np.zeros((256, 256, 3), np.uint8)
    fine[(np.indices((256, 256)).sum(0) % 2) == 1] = 200
    vertices, faces, uv = quad()
    for prepared in (fine, mipmap(fine)):
        mesh = Mesh(vertices, faces, uv=uv, texture=prepared)
        image = render_scene(Scene([mesh], square_on(50), WHITE, occlusion=0), 1).image[..., :3]
        assert np.abs(image.astype(int) - 100).max() <= 2


def test_colours_tint_a_texture():
    texture = np.full((4, 4, 3), 180, np.uint8)
    vertices, faces, uv = quad()
    mesh = Mesh(vertices, faces, (1.0, 0.5, 0.0), uv, texture)
    image = render_scene(Scene([mesh], square_on(16), WHITE, occlusion=0)).image[8, 8, :3]
    expected = decoded(180) * decoded(255 * np.array([1.0, 0.5, 0]))
    np.testing.assert_allclose(decoded(image), expected, atol=0.006)


def test_bumps_tilt_the_normal_as_their_heights_say():
    size, height = 128, 0.04
    y, x = np.mgrid[:size, :size] * (2 * np.pi / size)
    bump = height * np.sin(2 * x) * np.cos(y)
    vertices, faces, uv = quad()
    sun = Sun((0.5, 0.3, 1.0), (1, 1, 1))
    mesh = Mesh(vertices, faces, (1.0, 1, 1), uv, bump=bump)
    image = render_scene(Scene([mesh], square_on(size), BLACK, sun, occlusion=0), 1).image
    x, y = x + np.pi / size, y + np.pi / size  # pixels' middles; the quad is 2 metres wide
    along_x = height * 2 * np.pi * np.cos(2 * x) * np.cos(y)
    along_y = height * np.pi * np.sin(2 * x) * np.sin(y)  # v points down
    normal = np.stack([-along_x, -along_y, np.ones_like(x)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    expected = normal @ sun.direction
    found = decoded(image[..., 0])
    inner = slice(4, -4)
    assert np.abs(found - expected)[inner, inner].max() < 0.03
    assert expected.std() > 0.05


def test_normals_are_smooth_across_a_seam_of_the_texture():
    vertices, faces = sphere(2)
    sewn = Mesh(vertices, faces, (0.8, 0.8, 0.8))
    loose, split = vertices[faces].reshape(-1, 3), np.arange(3 * len(faces)).reshape(-1, 3)
    cut = Mesh(loose, split, (0.8, 0.8, 0.8), uv=np.zeros((len(loose), 2)))
    given = Mesh(loose, split, (0.8, 0.8, 0.8), normals=loose)
    light = sky((1, 1, 1), (0.5, 0.5, 0.5), (0, 0, 0))
    images = [
        render_scene(Scene([mesh], FRONT, light, background=(0, 0, 0))).image.astype(int)
        for mesh in (sewn, cut, given)
    ]
    assert np.abs(images[0] - images[1]).max() <= 1
    assert np.abs(images[0] - images[2]).max() <= 10  # a sphere's own normals


def test_meshes_hide_one_another_in_any_order():
    vertices, faces = sphere(4)
    centers = np.array([[-0.4, 0, 0], [0.4, 0.1, -0.5]])
    labels = np.arange(len(faces)) % 3 + 5
    meshes = [
        Mesh(vertices + centers[0], faces, (1.0, 0, 0), labels=labels),
        Mesh(vertices + centers[1], faces, (0.0, 0, 1)),
    ]
    drawn = render_scene(Scene(meshes, FRONT, WHITE, occlusion=0), 1)
    # Where rays meet the two spheres.
    columns, rows = np.meshgrid(np.arange(64) + 0.5, np.arange(48) + 0.5)
    rays = np.stack([columns - 32, rows - 24, np.full_like(rows, FRONT.focal)], -1) / FRONT.focal
    middle = centers @ FRONT.rotation.T + FRONT.translation  # (2, 3)
    along, square = rays @ middle.T, (rays**2).sum(-1, keepdims=True)
    root = along**2 - square * ((middle**2).sum(-1) - 1)
    with np.errstate(invalid="ignore"):
        depth = np.where(root > 0, (along - np.sqrt(root)) / square, np.inf)
    expected = np.where(np.isfinite(depth.min(-1)), depth.argmin(-1), -1)
    assert (drawn.mesh == expected).mean() > 0.985  # an icosphere is a little smaller
    same = (drawn.mesh == expected) & (expected >= 0)
    np.testing.assert_allclose(drawn.depth[same], depth.min(-1)[same], atol=0.15)
    np.testing.assert_array_equal(drawn.parts[drawn.mesh == 1], -1)
    first = drawn.mesh == 0
    np.testing.assert_array_equal(drawn.parts[first], labels[drawn.face[first]])
    assert drawn.face.max() < len(faces)
    swapped = render_scene(Scene(meshes[::-1], FRONT, WHITE, occlusion=0), 1)
    np.testing.assert_array_equal(swapped.image, drawn.image)
    np.testing.assert_array_equal(swapped.mesh == 0, drawn.mesh == 1)


def plate(height, half=0.3):
    """A horizontal square above the origin, seen from both sides."""
    x_z = half * np.array([[-1, 1], [1, 1], [1, -1], [-1, -1]])
    vertices = np.column_stack([x_z[:, 0], np.full(4, height), x_z[:, 1]])
    return Mesh(vertices, [[0, 1, 2], [0, 2, 3]], two_sided=True)


@pytest.mark.parametrize("orthographic", [False, True])
@pytest.mark.parametrize("supersample", [1, 2])
def test_a_shadow_lies_on_the_ground_where_geometry_says(orthographic, supersample):
    sun = Sun((0.5, 1.0, 0.25), (0.6, 0.6, 0.6), softness=0.1)
    light = sky((0.4, 0.4, 0.4), (0.4, 0.4, 0.4), (0.4, 0.4, 0.4))
    camera = look_at((0.3, 4, 4), (0, 0, 0), fov=40, size=(160, 120))
    if orthographic:
        camera = Camera(camera.rotation, camera.translation, 30, (160, 120), None, True)
    ground = 0.2
    background = np.full(3, 128, np.uint8)
    scene = Scene([plate(1.2)], camera, light, sun, (0, 2, 0, 2 * ground), background)
    drawn = render_scene(scene, supersample)
    x, z = np.meshgrid(np.linspace(-1.5, 1, 41), np.linspace(-1, 1, 41))
    points = np.stack([x, np.full_like(x, ground), z], -1)
    pixels = np.floor(camera.project(points)[0]).astype(int)  # (41, 41, 2)
    shown = decoded(drawn.image[pixels[..., 1], pixels[..., 0], 0]) / decoded(128)
    hidden = drawn.alpha[pixels[..., 1], pixels[..., 0]] > 0
    # From the ground towards the sun, 1 metre higher up.
    distance = np.maximum(np.abs(x + 0.5), np.abs(z + 0.25)) - 0.3  # from the shadow's edge
    sunny = 0.6 * sun.direction[1]
    np.testing.assert_allclose(shown[(distance > 0.08) & ~hidden], 1, atol=0.01)
    inside = (distance < -0.08) & ~hidden
    assert inside.sum() > 20
    np.testing.assert_allclose(shown[inside], 0.4 / (0.4 + sunny), atol=0.015)


def test_no_column_is_missed_in_which_a_row_meets_a_map():
    rng, width, size = np.random.default_rng(0), 64, 32.0
    columns, found = np.arange(width) + 0.5, 0
    for _ in range(300):
        sight = rng.normal(size=(6, 3)).astype(np.float32) * [0.5, 1, 8]
        sight = sight.astype(np.float32)
        u, v, w = (sight[k, 0] * columns + sight[k, 2] for k in (0, 1, 5))
        inside = (w > 0) & (u > 0) & (v > 0) & (u < size * w) & (v < size * w)
        begin, end = columns_seen(*sight[[0, 1, 5]], np.float32(0), size, width)
        assert not inside[:begin].any() and not inside[end:].any()
        found += inside.any()
    assert found > 20


def test_half_shadows_grow_with_the_suns_angle_and_with_distance():
    camera = look_at((0, 5, 0.01), (0, 0, 0), fov=40, size=(200, 200))

    def half_lit(height, softness):
        """Pixels of the shadow's edge."""
        sun = Sun((1, 1, 0), (1, 1, 1), softness)
        background = np.full((200, 200, 3), 200, np.uint8)
        scene = Scene([plate(height, 0.6)], camera, BLACK, sun, (0, 1, 0, 0), background, 0)
        drawn = render_scene(scene, 1)
        shown = drawn.image[..., 0]
        return ((shown > 5) & (shown < 195) & (drawn.alpha == 0)).sum()

    assert half_lit(1.0, 0.5) < 0.6 * half_lit(1.0, 3) < 0.36 * half_lit(1.0, 9)
    assert half_lit(0.4, 4) < 0.6 * half_lit(1.2, 4)


def test_bodies_shade_one_another():
    """The sun stands above two spheres: the lower one's top is dark, unless it is alone."""
    vertices, faces = sphere(4)
    meshes = [Mesh(vertices * 0.5 + (0, y, 0), faces, (1.0, 1, 1)) for y in (-0.5, 0.9)]
    camera = look_at((0, 1.2, 4), (0, -0.5, 0), fov=30, size=(120, 120))
    sun = Sun((0, 1, 0), (1, 1, 1), softness=1)
    both = render_scene(Scene(meshes, camera, BLACK, sun, background=(0, 0, 0), occlusion=0))
    alone = render_scene(Scene(meshes[:1], camera, BLACK, sun, background=(0, 0, 0), occlusion=0))
    column, row = np.floor(camera.project([0, 0.0, 0.1])[0]).astype(int)
    assert both.image[row, column].max() < 10 and alone.image[row, column].min() > 230
    # The lone sphere does not shade itself: light is the cosine.
    seen = (alone.mesh == 0) & (alone.alpha == 1)
    points = np.einsum(
        "nc,ncd->nd",
        alone.barycentric[seen],
        np.asarray(meshes[0].vertices)[faces[alone.face[seen]]],
    )
    cosine = np.maximum((points[:, 1] + 0.5) / 0.5, 0)
    assert np.abs(decoded(alone.image[seen][:, 0]) - cosine).mean() < 0.02


def test_occlusion_darkens_hollows_and_feet_darken_the_ground():
    vertices, faces, _ = quad(1.0)
    wall, floor = vertices, vertices[:, [0, 2, 1]] * (1, 1, -1) + (0, -1, 1)
    meshes = [Mesh(wall, faces, (1.0, 1, 1)), Mesh(floor, faces, (1.0, 1, 1), two_sided=True)]
    camera = look_at((0, 2.5, 3.5), (0, -0.6, 0.3), fov=40, size=(120, 120))
    open_, closed = (
        render_scene(Scene(meshes, camera, WHITE, background=(0, 0, 0), occlusion=radius)).image
        for radius in (0, 0.3)
    )
    edge, middle = (
        tuple(np.floor(camera.project(p)[0]).astype(int)[::-1])
        for p in ([0, -0.97, 0.0], [0, 0.3, 0])
    )
    assert open_[edge].min() == 255 and closed[edge].max() < 225
    assert closed[middle].min() > 250

    background = np.full((120, 120, 3), 200, np.uint8)
    camera = look_at((0, 2, 3), (0, 0, 0), fov=40, size=(120, 120))
    shown = []
    vertices, faces = sphere(3)
    for height in (0.1, 0.9):
        ball = Mesh(0.1 * vertices + (0, height, 0), faces)
        scene = Scene([ball], camera, WHITE, None, (0, 1, 0, 0), background)
        image = render_scene(scene).image
        column, row = np.floor(camera.project([0, 0, 0.12])[0]).astype(int)
        shown.append(image[row, column, 0])
        np.testing.assert_array_equal(image[:, :20], 200)
    assert shown[0] < 185 and shown[1] == 200


def test_gloss_shows_the_sun_where_it_is_mirrored():
    vertices, faces = sphere(4)
    sun = Sun((0, 0, 1), (0.5, 0.5, 0.5))
    images = []
    for gloss in (0.0, 0.6):
        mesh = Mesh(vertices, faces, (0.2, 0.2, 0.2), gloss=gloss)
        scene = Scene([mesh], FRONT, BLACK, sun, background=(0, 0, 0), occlusion=0)
        images.append(decoded(render_scene(scene).image[..., 0]))
    added = images[1] - images[0]
    row, column = np.unravel_index(added.argmax(), added.shape)
    assert abs(row + 0.5 - 24) < 3 and abs(column + 0.5 - 32) < 3  # towards camera and sun alike
    assert added.max() > 0.05 and added.min() > -0.01


def scenes_for_tests(rng, count=6):
    vertices, faces = sphere(3)
    uv = np.arctan2(vertices[:, :2], 1)
    texture = rng.integers(0, 256, (32, 32, 3), np.uint8)
    bump = 0.01 * rng.normal(size=(16, 16))
    scenes = []
    for i in range(count):
        size = (40 + 10 * (i % 3), 50)
        meshes = [
            Mesh(vertices * 0.5 + rng.normal(0, 0.4, 3), faces, None, uv, texture, bump, gloss=0.4),
            Mesh(vertices * 0.4 + rng.normal(0, 0.4, 3), faces, (0.3, 0.5, 0.7), gloss=0.1),
        ][: i % 3]
        background = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
        camera = look_at((1, 1.5, 4), (0, 0, 0), size=size)
        sun = Sun(rng.normal(size=3), (0.8, 0.8, 0.7), 2) if i % 2 else None
        scenes.append(Scene(meshes, camera, WHITE / 2, sun, (0, 1, 0, -0.5), background))
    return scenes


@pytest.mark.parametrize("threads", [1, 4])
def test_scenes_drawn_together_equal_scenes_drawn_alone(threads):
    scenes = scenes_for_tests(np.random.default_rng(8))
    together = render_scenes(scenes, threads=threads)
    for scene, drawn in zip(scenes, together, strict=True):
        alone = render_scene(scene)
        for name in ("image", "alpha", "depth", "face", "barycentric", "mesh"):
            np.testing.assert_array_equal(getattr(drawn, name), getattr(alone, name))
    np.testing.assert_array_equal(together[0].image, scenes[0].background)  # without a mesh
    only = render_scenes(scenes, threads=threads, buffers=("depth", "mesh"))
    for drawn, wanted in zip(only, together, strict=True):
        np.testing.assert_array_equal(drawn.depth, wanted.depth)
        np.testing.assert_array_equal(drawn.mesh, wanted.mesh)
        assert drawn.alpha is None and drawn.face is None and drawn.barycentric is None


def test_a_scene_drawn_in_bands_is_the_same(monkeypatch):
    scene = scenes_for_tests(np.random.default_rng(9))[5]
    scene = Scene(
        scene.meshes, scene.camera, scene.sky, scene.sun, scene.ground, scene.background, 0
    )
    whole = render_scene(scene)
    monkeypatch.setattr("hmrlib.render.scene.MOST_SAMPLES", 60 * 4 * 7)
    bands = render_scene(scene)
    for name in ("image", "depth", "mesh"):
        np.testing.assert_array_equal(getattr(bands, name), getattr(whole, name))


BAD_MESHES = [
    ({"vertices": np.full((6, 3), np.inf)}, "not finite"),
    ({"faces": [[0, 1, 6]]}, "only vertices 0 to 5"),
    ({"colors": np.ones((5, 3))}, r"colors must be \(3,\) or \(V, 3\)"),
    ({"uv": np.zeros((5, 2))}, r"uv must be finite and \(6, 2\)"),
    ({"uv": np.full((6, 2), np.nan)}, "uv must be finite"),
    ({"normals": np.zeros((6, 2))}, r"normals must be finite and \(6, 3\)"),
    ({"texture": np.zeros((4, 4, 3), np.uint8)}, "needs uv"),
    ({"uv": np.zeros((6, 2)), "texture": np.zeros((4, 4, 3))}, "must be uint8"),
    ({"uv": np.zeros((6, 2)), "texture": np.zeros((4, 4))}, "texture: a texture is uint8"),
    ({"uv": np.zeros((6, 2)), "bump": np.full((4, 4), np.nan)}, "heights must be finite"),
    ({"gloss": 2}, "gloss must lie"),
    ({"labels": np.zeros(7, int)}, "labels must be 8 whole numbers"),
    ({"labels": np.zeros(8)}, "labels must be 8 whole numbers"),
]


@pytest.mark.parametrize(("change", "message"), BAD_MESHES)
def test_bad_meshes_are_refused(change, message):
    vertices, faces = sphere(0)
    with pytest.raises(ValueError, match=message):
        Mesh(**({"vertices": vertices, "faces": faces} | change))


BAD_SCENES = [
    ({"meshes": ["body"]}, "list of Mesh"),
    ({"camera": None}, "camera must be a Camera"),
    ({"sky": np.zeros((3, 9))}, r"sky must be finite and \(9, 3\)"),
    ({"sun": (0, 1, 0)}, "sun must be a Sun"),
    ({"ground": (0, 1, 0)}, "ground must be a plane"),
    ({"ground": (0, 0, 0, 1)}, "ground must be a plane"),
    ({"background": None, "ground": (0, 1, 0, 0)}, "a ground needs a background"),
    ({"background": np.zeros((64, 48, 3), np.uint8)}, r"an image \(48, 64, 3\)"),
    ({"occlusion": -1}, "occlusion must be"),
]


@pytest.mark.parametrize(("change", "message"), BAD_SCENES)
def test_bad_scenes_are_refused(change, message):
    good = {"meshes": [], "camera": FRONT, "sky": WHITE, "background": (0, 0, 0)}
    with pytest.raises(ValueError, match=message):
        Scene(**(good | change))


def test_bad_skies_suns_and_requests_are_refused():
    with pytest.raises(ValueError, match="direction"):
        Sun((0, 0, 0), (1, 1, 1))
    with pytest.raises(ValueError, match="color"):
        Sun((0, 1, 0), (1, -1, 1))
    with pytest.raises(ValueError, match="softness"):
        Sun((0, 1, 0), (1, 1, 1), 100)
    with pytest.raises(ValueError, match="zenith, horizon and ground"):
        sky((1, 1), (1, 1, 1), (1, 1, 1))
    with pytest.raises(ValueError, match="zenith, horizon and ground"):
        sky((1, 1, np.nan), (1, 1, 1), (1, 1, 1))
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        sky_of_picture(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="horizontal"):
        sky_of_picture(np.zeros((4, 4, 3)), forward=(0, 1, 0))
    scene = Scene([], FRONT, WHITE)
    with pytest.raises(ValueError, match="list of Scene"):
        render_scenes([None])
    with pytest.raises(ValueError, match="supersample must be one of"):
        render_scene(scene, 3)
    with pytest.raises(ValueError, match=r"unknown buffers \['normal'\]"):
        render_scenes([scene], buffers=("normal",))
