"""Figures: pictures of bodies, and their layout by matplotlib."""

import matplotlib
import numpy as np
import pytest

from hmrlib.camera import frame

matplotlib.use("agg")

from matplotlib import pyplot as plt

from hmrlib.viewing import figures


@pytest.fixture(autouse=True)
def own_style():
    with matplotlib.rc_context():
        figures.use_style()
        yield
    plt.close("all")


@pytest.fixture(scope="module")
def box():
    """A box of quads: vertices (8, 3), faces (6, 4)."""
    vertices = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    faces = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    return vertices * [0.5, 1, 0.3], np.array(faces)


def test_snapshot_fills_its_size_and_background(box):
    vertices, quads = box
    image = figures.snapshot(vertices, quads, size=(60, 80), background=(0.0, 0.0, 1.0))
    assert image.shape == (80, 60, 3) and image.dtype == np.uint8
    np.testing.assert_array_equal(image[0, 0], (0, 0, 255))
    assert image[40, 30].min() > 80
    assert figures.snapshot(vertices, quads, size=(60, 80), background=None).shape == (80, 60, 4)


def test_quads_are_drawn_as_their_triangles(box):
    vertices, quads = box
    triangles = np.concatenate([quads[:, :3], quads[:, [0, 2, 3]]])
    for view in ("front", "side", 200):
        np.testing.assert_array_equal(
            figures.snapshot(vertices, quads, view, size=(40, 50)),
            figures.snapshot(vertices, triangles, view, size=(40, 50)),
        )


def test_a_camera_may_be_given(box):
    vertices, quads = box
    camera = frame(vertices, "three-quarter", (50, 70))
    np.testing.assert_array_equal(
        figures.snapshot(vertices, quads, camera),
        figures.snapshot(vertices, quads, "three-quarter", size=(50, 70)),
    )


def test_zoom_fills_the_picture_with_the_chosen_vertices(box):
    vertices, quads = box
    top = vertices[:, 1] > 0
    whole = figures.snapshot(vertices, quads, size=(60, 60))
    close = figures.snapshot(vertices, quads, size=(60, 60), zoom_to=top)

    def body_width(image):
        return ((image < 250).all(-1)).any(0).sum()

    assert body_width(close) > 1.5 * body_width(whole)


def test_edges_are_dark_lines_where_edges_are(box):
    vertices, quads = box
    camera = frame(vertices, "front", (90, 120))
    options = {"occlusion": False, "colors": (0.9, 0.9, 0.9), "smooth": False}
    plain = figures.snapshot(vertices, quads, camera, **options).astype(int)
    lines = figures.snapshot(vertices, quads, camera, edges=True, **options).astype(int)
    corners = camera.project(vertices[quads[5]])[0]  # the front face
    left, top = np.ceil(corners.min(0)).astype(int)
    right, bottom = np.floor(corners.max(0)).astype(int)
    darker = plain - lines
    middle = (slice(top + 3, bottom - 3), slice(left + 3, right - 3))
    assert np.abs(darker[middle]).max() <= 1  # a quad's diagonal is not drawn
    assert darker[top + 3 : bottom - 3, left - 1 : left + 1].max(1).min() > 15
    triangles = np.concatenate([quads[:, :3], quads[:, [0, 2, 3]]])
    split = figures.snapshot(vertices, triangles, camera, edges=True, **options)
    assert (plain - split)[middle].max() > 15  # of triangles it is
    clear = figures.snapshot(vertices, quads, camera, edges=True, background=None, **options)
    cover = clear[..., 3:] / 255
    assert np.abs(cover * clear[..., :3] + (1 - cover) * 255 - lines).max() <= 2


def test_colours_of_faces_need_flat_shading(box):
    vertices, quads = box
    colors = figures.label_colors(np.arange(6))
    image = figures.snapshot(vertices, quads, colors=colors, smooth=False, size=(40, 40))
    hue = image[20, 20] / image[20, 20].max() - colors[5] / colors[5].max()
    assert np.abs(hue).max() < 0.25
    with pytest.raises(ValueError, match="only be drawn flat"):
        figures.snapshot(vertices, quads, colors=colors, size=(40, 40))


def test_snapshot_refuses_what_is_no_body(box):
    vertices, quads = box
    with pytest.raises(ValueError, match="a body is vertices"):
        figures.snapshot(vertices[None], quads)
    with pytest.raises(ValueError, match="unknown view"):
        figures.snapshot(vertices, quads, "below")
    with pytest.raises(ValueError, match="only vertices 0 to 7"):
        figures.snapshot(vertices, quads + 1)
    with pytest.raises(ValueError, match="not finite"):
        figures.snapshot(np.where(vertices > 0.9, np.nan, vertices), quads, frame(vertices))


def test_a_grid_of_images():
    images = [np.zeros((20, 10, 3), np.uint8)] * 5
    figure = figures.show_images(images, list("abcde"), columns=3, labels=["one", "two"])
    figure.canvas.draw()
    assert [axis.get_title() for axis in figure.axes] == ["a", "b", "c", "d", "e", ""]
    assert figure.axes[3].get_ylabel() == "two"
    assert not figure.axes[5].axison
    for bad, message in (
        (lambda: figures.show_images([]), "no images"),
        (lambda: figures.show_images(images, ["a"]), "as many titles"),
        (lambda: figures.show_images(images, labels=["a", "b"]), "as many labels"),
        (lambda: figures.show_image(np.zeros(3)), "an image has shape"),
    ):
        with pytest.raises(ValueError, match=message):
            bad()


def test_scalar_colours():
    colors = figures.scalar_colors([0.0, 5.0, 10.0, np.nan, 99.0], vmin=0, vmax=10)
    viridis = matplotlib.colormaps["viridis"]
    np.testing.assert_allclose(colors[[0, 1, 2, 4]], viridis([0.0, 0.5, 1.0, 1.0])[:, :3])
    np.testing.assert_allclose(colors[3], figures.NO_VALUE)
    assert figures.scalar_colors(np.full((4, 2), 3.0)).shape == (4, 2, 3)
    with pytest.raises(ValueError, match="smaller than vmin"):
        figures.scalar_colors([1.0], vmin=2, vmax=1)


def test_label_colours():
    colors = figures.label_colors([0, 1, -1, len(figures.PALETTE)])
    np.testing.assert_allclose(colors[0], colors[3])
    np.testing.assert_allclose(colors[2], figures.NO_VALUE)
    assert len({tuple(color) for color in figures.PALETTE}) == len(figures.PALETTE)
    with pytest.raises(ValueError, match="whole numbers"):
        figures.label_colors([0.5])


def test_a_colour_bar_names_its_range():
    figure = figures.show_images([np.zeros((20, 10, 3), np.uint8)] * 2)
    bar = figures.color_bar(figure, vmin=0, vmax=12, label="error in mm")
    figure.canvas.draw()
    assert bar.get_ylabel() == "error in mm" and bar.get_ylim() == (0, 12)


def test_skeletons_in_space_and_over_a_picture():
    joints = np.random.default_rng(0).normal(size=(24, 3))
    camera = frame(joints, size=(100, 120))
    axis = figures.show_image(np.zeros((120, 100, 3), np.uint8))
    assert figures.draw_skeleton(axis, joints, camera) is axis
    assert len(axis.lines) == 23
    pixels = camera.project(joints)[0]
    np.testing.assert_allclose(axis.lines[0].get_xydata(), pixels[[0, 1]])
    np.testing.assert_allclose(axis.collections[0].get_offsets(), pixels)
    assert axis.lines[0].get_color() == figures.SIDE_COLORS["left"]
    assert axis.lines[1].get_color() == figures.SIDE_COLORS["right"]
    pixels[3] = np.nan
    figures.draw_skeleton(axis, pixels, with_names=True)
    assert len(axis.texts) == 23
    space = plt.figure().add_subplot(projection="3d")
    figures.draw_skeleton(space, joints)
    space.figure.canvas.draw()
    with pytest.raises(ValueError, match="or a camera"):
        figures.draw_skeleton(axis, joints)
    with pytest.raises(ValueError, match="a 3D axis needs"):
        figures.draw_skeleton(space, pixels)
    with pytest.raises(ValueError, match="to go with 24 names"):
        figures.draw_skeleton(axis, joints[:10])


def test_samples_of_records_with_their_labels():
    from hmrlib.data import records
    from tests.data.test_records import make_sample

    points = np.zeros((records.K, 3))
    points[:4] = [(10, 10, 1), (20, 15, 1), (30, 20, 1), (30, 30, 1)]
    hidden = np.arange(records.K) == 1
    samples = [
        records.check_sample(make_sample(i, keypoints_2d=points, occluded=hidden)) for i in range(3)
    ]
    figure = figures.contact_sheet(samples, columns=2)
    assert len(figure.axes) == 4 and not figure.axes[3].axison
    assert "2D 3D θ β camera mask" in figure.axes[0].get_title()
    axis = figure.axes[0]
    where = axis.collections[0].get_offsets()
    box = 256 / 1.45  # pixels of the drawn box, of which the sample's is 40
    np.testing.assert_allclose(where, 128 + (points[:4, :2] - [32, 24]) * box / 40, rtol=1e-6)
    rings = axis.collections[0].get_facecolors()[:, :3].min(1) == 1
    np.testing.assert_array_equal(rings, [False, True, False, False])
    with pytest.raises(ValueError, match="no samples"):
        figures.contact_sheet([])


def test_an_overlay_covers_the_photograph_where_the_body_is(box):
    vertices, quads = box
    triangles = np.concatenate([quads[:, :3], quads[:, [0, 2, 3]]])
    photograph = np.random.default_rng(0).integers(0, 255, (60, 40, 3), np.uint8)
    camera = frame(vertices, size=(40, 60))
    image = figures.overlay(photograph, vertices, triangles, camera, alpha=1.0)
    corners = camera.project(vertices)[0]
    left, top = np.ceil(corners.min(0)).astype(int)
    right, bottom = np.floor(corners.max(0)).astype(int)
    np.testing.assert_array_equal(image[: top - 1], photograph[: top - 1])
    inside = image[top + 2 : bottom - 2, left + 2 : right - 2].astype(float)
    assert inside.std((0, 1)).max() < 25  # an even surface, where there was noise of 74
    half = figures.overlay(photograph, vertices, triangles, camera, alpha=0.5).astype(float)
    blend = (image.astype(float) + photograph) / 2
    assert np.abs(half - blend)[top + 2 : bottom - 2, left + 2 : right - 2].max() <= 2


def test_the_nearer_person_covers_the_other(box):
    vertices, quads = box
    triangles = np.concatenate([quads[:, :3], quads[:, [0, 2, 3]]])
    camera = frame(vertices, size=(40, 60))
    photograph = np.zeros((60, 40, 3), np.uint8)
    behind = vertices * 0.9 - [0, 0, 3]
    alone = figures.overlay(photograph, vertices, triangles, camera, alpha=1.0)
    for people in ([behind, vertices], [vertices, behind]):
        image = figures.overlay(photograph, people, triangles, camera, alpha=1.0)
        np.testing.assert_array_equal(image, alone)


def test_an_overlay_needs_the_cameras_size(box):
    vertices, quads = box
    camera = frame(vertices, size=(40, 60))
    with pytest.raises(ValueError, match=r"sees 40 x 60 pixels.*found \(40, 60, 3\)"):
        figures.overlay(np.zeros((40, 60, 3)), vertices, quads[:, :3], camera)


def test_a_turntable_keeps_one_scale(box):
    vertices, quads = box
    images = figures.turntable(vertices, quads, 4, size=(80, 100), elevation=0)
    assert len(images) == 4 and images[0].shape == (100, 80, 3)
    shown = [(image < 250).all(-1) for image in images]
    for mask in shown:
        assert not mask[:, [0, -1]].any() and not mask[[0, -1]].any()
    tall = [mask.any(1).sum() for mask in shown]
    assert max(tall) - min(tall) <= 6  # perspective
    wide = [mask.any(0).sum() for mask in shown]
    assert wide[0] == wide[2] > 1.4 * wide[1]  # the box is 1 wide and 0.6 deep


def test_distances_become_colours_in_millimetres():
    reference = np.zeros((3, 3))
    vertices = np.array([[0, 0, 0], [0, 0.003, 0.004], [0.01, 0, 0]])
    colors, distance = figures.distance_colors(vertices, reference, vmax=10)
    np.testing.assert_allclose(distance, [0, 5, 10])
    viridis = matplotlib.colormaps["viridis"]
    np.testing.assert_allclose(colors, viridis([0.0, 0.5, 1.0])[:, :3])
    with pytest.raises(ValueError, match=r"one shape \(V, 3\)"):
        figures.distance_colors(vertices, reference[:2])


def test_joint_bars_pair_the_sides():
    names = ("head", "left_knee", "right_knee", "left_elbow", "right_elbow")
    figure, axis = plt.subplots()
    assert figures.joint_bars(axis, [1, 2, 3, 4, np.nan], names, spread=[0.1] * 5) is axis
    figure.canvas.draw()
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["head", "knee", "elbow"]
    bars = [patch for patch in axis.patches if np.isfinite(patch.get_width())]
    assert [bar.get_width() for bar in bars] == [1, 2, 3, 4]
    left, right = bars[1], bars[2]
    assert matplotlib.colors.to_hex(left.get_facecolor()) == figures.SIDE_COLORS["left"].lower()
    assert left.get_y() + left.get_height() <= right.get_y() + 1e-9
    texts = [text.get_text() for text in axis.get_legend().get_texts()]
    assert texts == ["left", "right", "middle"]
    with pytest.raises(ValueError, match="expected 5 values"):
        figures.joint_bars(axis, [1, 2], names)


def test_flow_draws_a_box_for_each_name_and_the_loop():
    _, axis = plt.subplots()
    figures.flow(axis, ["x", "norm", "ReLU", "+"], (3, 0), "three times")
    texts = [text.get_text() for text in axis.texts if text.get_text()]
    assert texts == ["x", "norm", "ReLU", "+", "three times"]
    assert len(axis.patches) == 4
    (line,) = axis.lines
    assert line.get_xdata()[[0, -1]].tolist() == [3, 0]  # from the last back to the first
    with pytest.raises(ValueError, match="zip"):
        figures.flow(axis, ["x", "y"], colors=["0.5"])
