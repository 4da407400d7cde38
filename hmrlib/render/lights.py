"""Lights."""

from dataclasses import dataclass

import numpy as np


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
