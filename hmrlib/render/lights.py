"""Lights: a photographer's lamps for figures; sky and sun for scenes.

The sky is given by the first nine spherical harmonics of the light that comes from each
direction, which determine the light on a matt surface to about 1 %: Ramamoorthi and Hanrahan, "An
efficient representation for irradiance environment maps" (2001), whose order and constants these
are.  All light is linear RGB; 1 from everywhere, or from a lamp or sun straight above a surface,
shows a white surface at full white.
"""

from dataclasses import dataclass

import numpy as np

from hmrlib.render.textures import DECODING, DECODING_STEPS


@dataclass(frozen=True, eq=False)
class Lights:
    """Directional lights over a hemisphere of ambient light.

    Directions and the ambient light's "up" are given in the viewer's frame, x right, y up, z
    towards the viewer, so that the light comes with the camera; or, with `in_world`, in the
    world's frame.  The two agree for a view from the front.

    Attributes:
        directions: (L, 3) towards each light; any length.
        colors: (L, 3) linear light; (1, 1, 1) shows a white surface at full white.
        sky, ground: (3,) linear ambient light from above and from below.
        wrap: how far light reaches around a body, from 0 (Lambert's law) to 1; softens the
            boundary between light and shade.
        in_world: the lights stand still when the camera moves.

    Raises:
        ValueError: a wrong shape, a direction of no length, or light that is negative.
    """

    directions: np.ndarray
    colors: np.ndarray
    sky: np.ndarray
    ground: np.ndarray
    wrap: float = 0.2
    in_world: bool = False

    def __post_init__(self):
        directions = np.array(self.directions, np.float32)
        colors = np.array(self.colors, np.float32)
        if np.shape(self.sky) != (3,) or np.shape(self.ground) != (3,):
            raise ValueError("sky and ground must be linear RGB colours of shape (3,).")
        ambient = np.array([self.sky, self.ground], np.float32)
        if directions.ndim != 2 or directions.shape[1] != 3 or colors.shape != directions.shape:
            raise ValueError(
                "directions and colors of lights must both be (L, 3), found "
                f"{directions.shape} and {colors.shape}."
            )
        lengths = np.linalg.norm(directions, axis=1, keepdims=True)
        if not (np.isfinite(lengths).all() and (lengths > 0).all()):
            raise ValueError("directions of lights must be finite and not zero.")
        light = np.concatenate([colors, ambient])
        if not (np.isfinite(light).all() and (light >= 0).all()):
            raise ValueError("the light of colors, sky and ground must be finite and >= 0.")
        if not 0 <= self.wrap <= 1:
            raise ValueError(f"wrap must lie in [0, 1], found {self.wrap}.")
        object.__setattr__(self, "directions", directions / lengths)
        object.__setattr__(self, "colors", colors)
        object.__setattr__(self, "sky", ambient[0])
        object.__setattr__(self, "ground", ambient[1])


# A photographer's three lights: a warm key from the upper left, a weak cool fill from the right,
# and a rim from behind that draws the outline.
STUDIO = Lights(
    directions=[(-0.75, 0.85, 0.7), (0.95, 0.1, 0.5), (0.45, 0.6, -0.8)],
    colors=[(0.92, 0.89, 0.84), (0.11, 0.12, 0.14), (0.35, 0.36, 0.39)],
    sky=(0.20, 0.21, 0.23),
    ground=(0.08, 0.075, 0.07),
    wrap=0.15,
)


@dataclass(frozen=True, eq=False)
class Sun:
    """Parallel light that throws shadows.

    Attributes:
        direction: (3,) towards the sun, in the world; any length.
        color: (3,) linear light.
        softness: the angle in degrees that the sun spans: 0.5 in a clear sky, more behind haze.
            Half-shadows grow with it and with the distance from what throws them.

    Raises:
        ValueError: a wrong shape or a value out of range.
    """

    direction: np.ndarray
    color: np.ndarray
    softness: float = 0.5

    def __post_init__(self):
        direction = np.array(self.direction, np.float32)
        color = np.array(self.color, np.float32)
        length = np.sqrt((direction**2).sum())
        if direction.shape != (3,) or not 0 < length < np.inf:
            raise ValueError(
                f"the sun's direction must be (3,), finite, not zero; found {direction}."
            )
        if color.shape != (3,) or not (np.isfinite(color).all() and (color >= 0).all()):
            raise ValueError(f"the sun's color must be (3,), finite and >= 0; found {color}.")
        if not 0 <= self.softness <= 90:
            raise ValueError(f"softness must lie between 0 and 90 degrees, found {self.softness}.")
        object.__setattr__(self, "direction", direction / length)
        object.__setattr__(self, "color", color)


def harmonics(directions):
    """The real spherical harmonics of orders 0 to 2.

    Args:
        directions: (..., 3) unit vectors.

    Returns:
        (..., 9), in the order (l, m) = (0, 0), (1, -1), (1, 0), (1, 1), (2, -2) to (2, 2).
    """
    x, y, z = np.moveaxis(np.asarray(directions, float), -1, 0)
    return np.stack(
        [
            np.full(x.shape, 0.282095),
            0.488603 * y,
            0.488603 * z,
            0.488603 * x,
            1.092548 * x * y,
            1.092548 * y * z,
            0.315392 * (3 * z**2 - 1),
            1.092548 * x * z,
            0.546274 * (x**2 - y**2),
        ],
        -1,
    )


def irradiance(sky, normals):
    """Light from the sky on matt surfaces, equation 13 of the paper, divided by pi.

    Args:
        sky: (9, 3).
        normals: (..., 3) unit vectors.

    Returns:
        (..., 3) linear light.
    """
    x, y, z = np.moveaxis(np.asarray(normals, float), -1, 0)
    ones = np.ones_like(x)
    terms = np.stack([ones, x, y, z, x * x, x * y, x * z, y * y, y * z, z * z], -1)
    return terms @ irradiance_polynomial(sky)


def ambient_polynomial(sky, ground, up):
    """Light (3,) from above and from below, as in `Lights`, in the form of
    `irradiance_polynomial`."""
    polynomial = np.zeros((10, 3), np.float32)
    polynomial[0] = (sky + ground) / 2
    polynomial[1:4] = np.outer(up, (sky - ground) / 2)
    return polynomial


def irradiance_polynomial(sky):
    """`irradiance` as a polynomial of the normal: coefficients (10, 3) of 1, x, y, z, xx, xy, xz,
    yy, yz, zz."""
    return (_POLYNOMIAL @ np.asarray(sky, float)).astype(np.float32)


def _polynomial():
    """Equation 13's constants (10, 9), divided by pi."""
    c1, c2, c3, c4, c5 = 0.429043, 0.511664, 0.743125, 0.886227, 0.247708
    constants = np.zeros((10, 9))
    constants[0, [0, 6]] = c4, -c5
    constants[[1, 2, 3], [3, 1, 2]] = 2 * c2
    constants[[4, 7], 8] = c1, -c1
    constants[[5, 6, 8], [4, 7, 5]] = 2 * c1
    constants[9, 6] = c3
    return constants / np.pi


_POLYNOMIAL = _polynomial()


def even_directions(count=1024):
    """Fibonacci's lattice on the sphere, (count, 3): even, and the same on every call."""
    i = np.arange(count) + 0.5
    z, around = 1 - 2 * i / count, np.pi * (1 + 5**0.5) * i
    radius = np.sqrt(1 - z**2)
    return np.stack([radius * np.cos(around), radius * np.sin(around), z], 1)


_DIRECTIONS = even_directions()
_PROJECTION = harmonics(_DIRECTIONS).T * (4 * np.pi / len(_DIRECTIONS))  # (9, N)


def sky(zenith, horizon, ground, up=(0.0, 1.0, 0.0)):
    """The harmonics of a sky that fades from the zenith to the horizon, over an even ground.

    Args:
        zenith, horizon, ground: (3,) linear light from straight above, from the horizon, and
            from below: what the ground reflects.
        up: (3,) the direction of the zenith.

    Returns:
        (9, 3).

    Raises:
        ValueError: light that is not (3,), or is negative or not finite.
    """
    shapes = [np.shape(color) for color in (zenith, horizon, ground)]
    colors = np.array([zenith, horizon, ground], float) if shapes == [(3,)] * 3 else np.empty(0)
    if not colors.size or not (np.isfinite(colors).all() and (colors >= 0).all()):
        raise ValueError("zenith, horizon and ground must be linear RGB (3,), finite and >= 0.")
    height = _DIRECTIONS @ (np.asarray(up, float) / np.linalg.norm(up))  # (N,)
    fade = np.sqrt(np.clip(height, 0, 1))[:, None]
    light = np.where(height[:, None] > 0, colors[1] + fade * (colors[0] - colors[1]), colors[2])
    return _PROJECTION @ light


def sky_of_picture(picture, forward=(0.0, 0.0, -1.0), panorama=False):
    """The harmonics of the surroundings that a picture shows, so that its light falls on a scene.

    Args:
        picture: (H, W, 3), uint8 sRGB or linear floats.  A photograph is wrapped around the front
            of the scene, and its mirror image around the back.
        forward: (3,) horizontal direction in the world in which the picture's middle is seen; y
            is up.
        panorama: the picture shows all directions already, longitude along its rows and latitude
            along its columns.

    Returns:
        (9, 3).

    Raises:
        ValueError: not a picture, or a `forward` that is not horizontal.
    """
    picture = np.asarray(picture)
    if picture.ndim != 3 or picture.shape[-1] != 3 or not picture.size:
        raise ValueError(f"the picture must have shape (H, W, 3), found {picture.shape}.")
    forward = np.asarray(forward, float)
    if forward.shape != (3,) or forward[1] != 0 or not 0 < np.linalg.norm(forward) < np.inf:
        raise ValueError(f"forward must be horizontal, (x, 0, z), found {forward}.")
    picture = picture[:: max(picture.shape[0] // 64, 1), :: max(picture.shape[1] // 64, 1)]
    if picture.dtype == np.uint8:
        picture = DECODING[::DECODING_STEPS][picture]
    if not (np.isfinite(picture).all() and (picture >= 0).all()):
        raise ValueError("the picture's light must be finite and >= 0.")
    if not panorama:  # front and back halves, each seen twice as wide
        half = picture.shape[1] // 2
        picture = np.concatenate(
            [picture[:, :half][:, ::-1], picture, picture[:, half:][:, ::-1]], 1
        )
    height, width = picture.shape[:2]
    latitude = np.pi * (0.5 - (np.arange(height) + 0.5) / height)  # top row: straight above
    longitude = 2 * np.pi * ((np.arange(width) + 0.5) / width - 0.5)  # to the right of forward
    forward = forward / np.linalg.norm(forward)
    right = np.array([-forward[2], 0, forward[0]])
    around = np.cos(longitude)[:, None] * forward + np.sin(longitude)[:, None] * right  # (W, 3)
    directions = np.cos(latitude)[:, None, None] * around + np.sin(latitude)[:, None, None] * [
        0,
        1,
        0,
    ]
    area = np.cos(latitude)[:, None] * (np.pi / height) * (2 * np.pi / width)  # steradians
    return np.einsum("hwk,hwc->kc", harmonics(directions), picture * area[..., None])
