"""Cameras: projection, framing, and what they refuse."""

import numpy as np
import pytest

from hmrlib.camera import VIEWS, Camera, frame, look_at


@pytest.fixture
def points():
    return np.random.default_rng(0).normal(size=(200, 3)) * [0.5, 0.9, 0.2] + [0.3, 1.0, -2.0]


def test_projection_is_the_pinhole_equation(points):
    camera = look_at((1.0, 2.0, 4.0), (0.2, 0.9, -1.0), fov=50, size=(640, 480))
    pixels, depth = camera.project(points)
    matrix = np.array([[camera.focal, 0, 320], [0, camera.focal, 240], [0, 0, 1]])
    homogeneous = np.einsum("cd,nd->nc", matrix @ camera.rotation, points - (1.0, 2.0, 4.0))
    np.testing.assert_allclose(pixels, homogeneous[:, :2] / homogeneous[:, 2:], atol=1e-9)
    np.testing.assert_allclose(depth, homogeneous[:, 2], atol=1e-12)
    np.testing.assert_allclose(camera.position, (1.0, 2.0, 4.0), atol=1e-12)


def test_axes_of_the_picture():
    """Seen from the front, the body's left (+x) is on the right, and up is up."""
    camera = look_at((0, 0, 5), (0, 0, 0), size=(100, 80))
    (center, left, head), depth = camera.project([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 1]])
    np.testing.assert_allclose(center, (50, 40))
    assert left[0] > 50 and left[1] == pytest.approx(40)
    assert head[1] < 40
    np.testing.assert_allclose(depth, [5, 5, 4])


def test_the_field_of_view_spans_the_height():
    camera = look_at((0, 0, 2), (0, 0, 0), fov=90, size=(300, 200))
    np.testing.assert_allclose(camera.project([0, 2, 0])[0], (150, 0), atol=1e-9)


def test_behind_the_camera_has_no_picture():
    camera = look_at((0, 0, 2), (0, 0, 0))
    pixels, depth = camera.project([[0, 0, 3.0], [0, 0, 2.0], [0, 0, 1.0]])
    assert np.isnan(pixels[:2]).all() and np.isfinite(pixels[2]).all()
    np.testing.assert_allclose(depth, [-1, 0, 1])


def test_orthographic_size_does_not_depend_on_depth():
    camera = Camera(np.diag([1, -1, -1]), (0, 0, 3), 100, (200, 200), orthographic=True)
    pixels, depth = camera.project([[0.5, 0.2, 0], [0.5, 0.2, -4]])
    np.testing.assert_allclose(pixels, [(150, 80)] * 2)
    np.testing.assert_allclose(depth, [3, 7])


@pytest.mark.parametrize("orthographic", [False, True])
@pytest.mark.parametrize("view", [*VIEWS, 217.0])
def test_frame_fills_the_picture_up_to_its_margin(points, view, orthographic):
    size, margin = (300, 400), 0.1
    camera = frame(points, view, size, margin, elevation=12, orthographic=orthographic)
    share = camera.project(points)[0] / size
    assert share.min() >= margin - 1e-9 and share.max() <= 1 - margin + 1e-9
    spans = share.max(0) - share.min(0)
    assert spans.max() == pytest.approx(1 - 2 * margin)  # it touches two opposite sides


def test_frame_looks_from_where_it_says():
    body = np.array([[-1.0, 0, 0], [1, 2, 0], [0, 0, 0.4]])
    assert frame(body, "front").position[2] > 1
    assert frame(body, "back").position[2] < -1
    assert frame(body, "side").position[0] > 1  # from the body's left
    assert frame(body, 90).position == pytest.approx(frame(body, "side").position)
    assert frame(body, "front", elevation=30).position[1] > 2


def test_frame_of_one_point_is_a_camera():
    pixels, depth = frame(np.zeros((1, 3)), size=(10, 20)).project(np.zeros(3))
    np.testing.assert_allclose(pixels, (5, 10))
    assert depth > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rotation": np.eye(4)}, r"rotation must be finite and of shape \(3, 3\)"),
        ({"rotation": np.diag([1, 1, -1])}, "not a rotation"),
        ({"rotation": 2 * np.eye(3)}, "not a rotation"),
        ({"translation": (0, np.nan, 0)}, "translation must be finite"),
        ({"focal": 0}, "focal must be a positive number"),
        ({"size": (10, 0)}, "size must be"),
        ({"size": (10.5, 10)}, "size must be"),
        ({"size": (10, 10, 3)}, "size must be"),
        ({"center": (1, 2, 3)}, "center must be"),
    ],
)
def test_bad_cameras_are_refused(change, message):
    good = {"rotation": np.eye(3), "translation": (0, 0, 1), "focal": 100, "size": (10, 10)}
    Camera(**good)
    with pytest.raises(ValueError, match=message):
        Camera(**(good | change))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"view": "top"}, "unknown view 'top': choose from front"),
        ({"view": np.inf}, "finite number of degrees"),
        ({"vertices": np.zeros((5, 2))}, "vertices must be finite"),
        ({"vertices": np.full((5, 3), np.nan)}, "vertices must be finite"),
        ({"vertices": np.zeros((0, 3))}, "vertices must be finite"),
        ({"margin": 0.5}, "margin"),
        ({"elevation": 90}, "elevation"),
        ({"fov": 180}, "fov"),
    ],
)
def test_bad_frames_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        frame(**({"vertices": np.zeros((5, 3))} | arguments))


def test_bad_directions_are_refused():
    with pytest.raises(ValueError, match="must not be zero"):
        look_at((0, 1, 0), (0, 1, 0))
    with pytest.raises(ValueError, match="parallel to `up`"):
        look_at((0, 1, 0), (0, 5, 0))
    with pytest.raises(ValueError, match=r"points must have shape \(..., 3\)"):
        look_at((0, 0, 1), (0, 0, 0)).project(np.zeros((4, 2)))


def test_a_camera_keeps_its_own_numbers():
    translation = np.array([0.0, 0, 1])
    camera = Camera(np.eye(3), translation, 100, (10, 10))
    translation[2] = 9
    assert camera.translation[2] == 1
    with pytest.raises(ValueError, match="read-only"):
        camera.translation[2] = 9
