"""Cameras: from points in metres to points in pixels.

The camera frame is OpenCV's: x to the right, y down, z forward (away from the viewer).  The world
is the body's frame: metres, y up, the body faces +z and its left is +x.

Pixels are measured from the image's upper left corner, so that pixel (column i, row j) covers
[i, i + 1) x [j, j + 1) and its centre is (i + 0.5, j + 0.5).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

_IDENTITY = np.eye(3)
VIEWS = {"front": 0.0, "three-quarter": 40.0, "side": 90.0, "back": 180.0}


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera, or an orthographic one.

    A world point X stands at (x, y, z) = `rotation @ X + translation` in the camera's frame and
    is seen at `focal * (x, y) / z + center`, or at `focal * (x, y) + center` if `orthographic`.

    Attributes:
        rotation: (3, 3) from world to camera.
        translation: (3,) metres.
        focal: focal length in pixels; for an orthographic camera, pixels a metre.
        center: (2,) principal point in pixels; None is the middle of the image.
        size: (width, height) in pixels.
        orthographic: parallel rays instead of rays through one point.

    Raises:
        ValueError: a wrong shape, a value that is not finite, a matrix that is not a rotation, or
            a focal length or size that is not positive.
    """

    rotation: np.ndarray
    translation: np.ndarray
    focal: float
    size: tuple[int, int]
    center: np.ndarray | None = None
    orthographic: bool = False

    def __post_init__(self):
        width, height = _size(self.size)
        center = (width / 2, height / 2) if self.center is None else self.center
        rotation = _constant("rotation", self.rotation, (3, 3))
        # Of orthonormal rows, the third is the first two's cross product, or its opposite.
        x, y, z = rotation.tolist()
        turns = (x[1] * y[2] - x[2] * y[1]) * z[0] + (x[2] * y[0] - x[0] * y[2]) * z[1]
        turns += (x[0] * y[1] - x[1] * y[0]) * z[2]
        if np.abs(rotation @ rotation.T - _IDENTITY).max() > 1e-4 or turns < 0:
            raise ValueError("rotation is not a rotation matrix: its rows must be orthonormal.")
        if not (np.isfinite(self.focal) and self.focal > 0):
            raise ValueError(f"focal must be a positive number of pixels, found {self.focal}.")
        for name, value in (
            ("size", (width, height)),
            ("rotation", rotation),
            ("translation", _constant("translation", self.translation, (3,))),
            ("focal", float(self.focal)),
            ("center", _constant("center", center, (2,))),
        ):
            object.__setattr__(self, name, value)

    @cached_property
    def position(self) -> np.ndarray:
        """Where the camera stands in the world, (3,) metres."""
        return _constant("position", -self.rotation.T @ self.translation, (3,))

    def project(self, points) -> tuple[np.ndarray, np.ndarray]:
        """Project world points.

        Args:
            points: (..., 3) metres.

        Returns:
            pixels (..., 2), and depth (...) along the viewing direction in metres.  A point that
            is not in front of a pinhole camera has no picture: its pixels are NaN.
        """
        points = np.asarray(points, float)
        if points.shape[-1:] != (3,):
            raise ValueError(f"points must have shape (..., 3), found {points.shape}.")
        x_y_z = points @ self.rotation.T + self.translation  # (..., 3)
        depth = x_y_z[..., 2]
        divisor = 1.0 if self.orthographic else np.where(depth > 0, depth, np.nan)[..., None]
        return self.focal * x_y_z[..., :2] / divisor + self.center, depth


def look_at(eye, target, up=(0.0, 1.0, 0.0), fov=35.0, size=(512, 512)) -> Camera:
    """A pinhole camera at `eye` that looks at `target`.

    Args:
        eye, target: (3,) world points in metres.
        up: (3,) the direction that points upwards in the picture.
        fov: the angle that the height of the picture spans, degrees.
        size: (width, height) in pixels.
    """
    eye, target = _constant("eye", eye, (3,)), _constant("target", target, (3,))
    if not 0 < fov < 180:
        raise ValueError(f"fov must lie between 0 and 180 degrees, found {fov}.")
    focal = _size(size)[1] / (2 * np.tan(np.radians(fov) / 2))
    rotation = _facing(target - eye, up)
    return Camera(rotation, -rotation @ eye, focal, size)


def frame(
    vertices,
    view="front",
    size=(512, 512),
    margin=0.05,
    elevation=0.0,
    fov=20.0,
    orthographic=False,
) -> Camera:
    """A camera that shows all of a body, as large as the picture allows.

    Args:
        vertices: (..., 3) the points to be shown, metres.
        view: "front", "three-quarter", "side" (from the body's left), "back", or degrees around
            the vertical axis, counted from the front towards the body's left.
        size: (width, height) in pixels.
        margin: the part of the picture left free on each side, 0 to 0.5.
        elevation: degrees that the camera stands above the horizon.
        fov: the angle that the height of the picture spans, degrees; small angles distort less.
        orthographic: parallel rays; `fov` is then not used.

    Raises:
        ValueError: an unknown view, no points, or a value out of range.
    """
    vertices = np.asarray(vertices, float)
    if vertices.shape[-1:] != (3,) or vertices.size == 0 or not np.isfinite(vertices).all():
        raise ValueError(f"vertices must be finite and (..., 3), found shape {vertices.shape}.")
    if not 0 <= margin < 0.5:
        raise ValueError(f"margin must lie in [0, 0.5), found {margin}.")
    if not -90 < elevation < 90:
        raise ValueError(f"elevation must lie between -90 and 90 degrees, found {elevation}.")
    if not 0 < fov < 180:
        raise ValueError(f"fov must lie between 0 and 180 degrees, found {fov}.")
    around, above = np.radians(_azimuth(view)), np.radians(elevation)
    towards_camera = np.array(
        [np.sin(around) * np.cos(above), np.sin(above), np.cos(around) * np.cos(above)]
    )
    rotation = _facing(-towards_camera, (0.0, 1.0, 0.0))
    x_y_z = vertices.reshape(-1, 3) @ rotation.T  # (N, 3)
    x_y, z = x_y_z[:, :2], x_y_z[:, 2:]
    half_size = np.array(_size(size)) / 2 * (1 - 2 * margin)  # (2,) pixels

    if orthographic:
        low, high = x_y.min(0), x_y.max(0)
        focal = (2 * half_size / np.maximum(high - low, 1e-6)).min()
        distance = 1.0 - z.min()  # any will do: parallel rays have no perspective
        shift = -(low + high) / 2
    else:
        # Seen inside the picture: |x + shift| <= slope * (z + distance) for every point.  Each
        # side of the picture is one plane that its outermost point touches.
        focal = size[1] / (2 * np.tan(np.radians(fov) / 2))
        slope = half_size / focal  # (2,)
        right, left = (x_y - slope * z).max(0), (-x_y - slope * z).max(0)
        distance = ((right + left) / (2 * slope)).max()
        distance = max(distance, 0.02 - z.min())  # one point alone would touch the camera
        shift = (left - right) / 2
    return Camera(rotation, [*shift, distance], focal, size, orthographic=orthographic)


def project(points, camera):
    """Weak perspective: (B, K, 3) metres and (B, 3) cameras -> (B, K, 2), the crop from -1 to 1."""
    scale, shift = camera[:, None, :1], camera[:, None, 1:]
    return scale * (points[..., :2] + shift)


def crop_camera(weak, size) -> Camera:
    """The camera of a crop, for drawing a recovered body over it.

    Args:
        weak: (3,) weak perspective (s, tx, ty): the crop's x, from -1 to 1, is s (X + tx).
        size: side of the crop, pixels.

    Returns:
        an orthographic `Camera` whose world is the camera's frame: x right, y down, z forward.
    """
    scale, x, y = np.asarray(weak, float)
    focal = max(scale, 1e-3) * size / 2  # an untrained network may say anything
    return Camera(np.eye(3), [x, y, 0], focal, (size, size), orthographic=True)


def full_image_camera(weak, center, side, size, focal=None, principal=None) -> Camera:
    """The pinhole camera in which a recovered body stands where its crop was in the full image.

    A weak-perspective camera of scale s shows a body as a pinhole camera of focal length f does
    from the distance at which f / z = s b / 2 pixels a metre, for a crop of b pixels. The depth
    is a guess as good as the focal length is known; the picture of the body hardly depends on it.

    Args:
        weak: (3,) weak perspective (s, tx, ty) of the crop.
        center, side: (2,), (): the crop's middle and side b in the full image, pixels.
        size: (width, height) of the full image.
        focal: pixels; None: the image's diagonal (as CLIFF guesses, Li et al. 2022).
        principal: (2,) pixels; None: the image's middle.

    Returns:
        `Camera` with an identity rotation; `translation` is the body's in the camera's frame.
    """
    scale, x, y = np.asarray(weak, float)
    width, height = _size(size)
    focal = float(np.hypot(width, height)) if focal is None else float(focal)
    principal = np.array([width / 2, height / 2] if principal is None else principal, float)
    pixels_a_metre = max(scale, 1e-3) * side / 2
    offset = (np.asarray(center, float) - principal) / pixels_a_metre
    translation = [x + offset[0], y + offset[1], focal / pixels_a_metre]
    return Camera(np.eye(3), translation, focal, (width, height), principal)


def crop_box(batch, size):
    """Where the crop lies in the full image, (B, 3), from the camera in the crop's pixels.

    CLIFF's input: the crop's middle relative to the principal point, and its side, over the focal
    length. Zero where the camera is not known.
    """
    from keras import ops  # alone here: the renderer needs no Keras

    focal, principal = batch["camera"][:, :1], batch["camera"][:, 1:]
    has = batch["has_camera"][:, None]
    focal = ops.where(has > 0, focal, ops.ones_like(focal))
    side = ops.full_like(focal, size)
    return has * ops.concatenate([size / 2 - principal, side], axis=-1) / focal


def _azimuth(view) -> float:
    """Degrees around the vertical axis."""
    if isinstance(view, str):
        if view not in VIEWS:
            raise ValueError(f"unknown view {view!r}: choose from {', '.join(VIEWS)} or an angle.")
        return VIEWS[view]
    if not np.isfinite(view):
        raise ValueError(f"the view's angle must be a finite number of degrees, found {view}.")
    return float(view)


def _facing(forward, up) -> np.ndarray:
    """The rotation (3, 3) from the world to a camera that looks along `forward`."""
    up = _constant("up", up, (3,))
    right = np.cross(forward, up)
    lengths = np.linalg.norm(forward), np.linalg.norm(right)
    if min(lengths) < 1e-9:
        raise ValueError("the viewing direction must not be zero or parallel to `up`.")
    forward, right = forward / lengths[0], right / lengths[1]
    return np.stack([right, np.cross(forward, right), forward])


def _size(size) -> tuple[int, int]:
    size = tuple(size)
    if len(size) != 2 or any(int(n) != n or n < 1 for n in size):
        raise ValueError(f"size must be (width, height) in whole pixels, found {size}.")
    return int(size[0]), int(size[1])


def _constant(name, value, shape) -> np.ndarray:
    """A read-only float64 copy of `value`, its shape and finiteness checked."""
    value = np.array(value, float)
    if value.shape != shape or not np.isfinite(value).all():
        raise ValueError(f"{name} must be finite and of shape {shape}, found {value.tolist()}.")
    value.setflags(write=False)
    return value
