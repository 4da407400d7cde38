"""Pictures of recovered people: over their photograph, and from where no camera stood."""

import numpy as np
from PIL import Image

from hmrlib.camera import Camera, frame
from hmrlib.render import render
from hmrlib.viewing.figures import PALETTE, snapshot

# soft tints of the palette's colours, first the sky blue that bodies have everywhere else
TINTS = tuple(tuple(0.35 + 0.65 * np.array(PALETTE[i])) for i in (5, 4, 2, 3, 0, 1, 6))
UPRIGHT = np.array([1.0, -1.0, -1.0])


def together(people):
    """Several people as one mesh: vertices (N V, 3), faces (N F, 3), colours (N V, 3).

    One mesh, so that the rasteriser's depth says at each pixel who is in front.
    """
    vertices = np.concatenate([person.vertices for person in people])
    starts = np.cumsum([0, *(len(person.vertices) for person in people[:-1])])
    faces = [person.body.faces + s for person, s in zip(people, starts, strict=True)]
    colors = [
        np.tile(TINTS[i % len(TINTS)], (len(person.vertices), 1)) for i, person in enumerate(people)
    ]
    return vertices, np.concatenate(faces), np.concatenate(colors)


def overlay(image, people, alpha=0.9, supersample=2):
    """People laid over the photograph they are in; who is nearer hides who is behind.

    Args:
        image: (H, W, 3) uint8.
        people: list of `Person`s, all of this picture's size; none gives the picture back.
        alpha: opacity, 0 to 1.
        supersample: as for `hmrlib.render.render`.

    Returns:
        (H, W, 3) uint8.
    """
    if not people:
        return np.array(image)
    vertices, faces, colors = together(people)
    return render(
        vertices,
        faces,
        people[0].camera,
        colors,
        background=image,
        supersample=supersample,
        alpha=alpha,
    ).image


def views(people, size=(400, 400), **options):
    """People from the front (where the camera is), from their left and from above.

    Args:
        people: list of `Person`s.
        size: (width, height) of each picture, pixels.
        options: of `viewing.figures.snapshot`.

    Returns:
        dict of PIL images: "front", "side", "top"; all in one scale.
    """
    if not people:
        return {}
    vertices, faces, colors = together(people)
    upright = (vertices - vertices.mean(0)) * UPRIGHT
    options = {"colors": colors} | options
    cameras = {
        "front": frame(upright, "front", size, orthographic=True),
        "side": frame(upright, "side", size, orthographic=True),
        "top": frame(upright, "front", size, elevation=89.0, orthographic=True),
    }
    scale = min(camera.focal for camera in cameras.values())
    return {
        name: Image.fromarray(snapshot(upright, faces, _scaled(camera, scale), **options))
        for name, camera in cameras.items()
    }


def _scaled(camera, focal):
    """The same orthographic view, pixels a metre."""
    return Camera(camera.rotation, camera.translation, focal, camera.size, orthographic=True)
