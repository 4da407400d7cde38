"""The rasteriser, against a slow reference and against geometry."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hmrlib.camera import Camera, frame, look_at
from hmrlib.render import STUDIO, Lights, ambient_occlusion, render, render_batch

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
    np.testing.assert_array_equal(both.image, toward.image)
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
    np.testing.assert_array_equal(front, front_fixed)
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
