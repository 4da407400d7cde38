"""Pictures of recovered people: over their photograph, and from where no camera stood."""

import numpy as np
from PIL import Image

from hmrlib.camera import Camera, frame
from hmrlib.prediction.landmarks import LANDMARK_NAMES
from hmrlib.render import render
from hmrlib.viewing.figures import PALETTE, SIDE_COLORS, snapshot

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


_OF_A_SIDE = (
    *(("shoulder", "elbow"), ("elbow", "wrist"), ("wrist", "pinky"), ("wrist", "index")),
    *(("wrist", "thumb"), ("shoulder", "hip"), ("hip", "knee"), ("knee", "ankle")),
    *(("ankle", "heel"), ("ankle", "toe"), ("heel", "toe"), ("eye", "ear")),
)
LANDMARK_BONES = (
    *((f"left_{name}", f"right_{name}") for name in ("shoulder", "hip", "mouth")),
    *((f"{side}_{a}", f"{side}_{b}") for side in ("left", "right") for a, b in _OF_A_SIDE),
)


def landmarks(axis, person):
    """BlazePose's 33 landmarks on an axis that shows the picture: left blue, right orange.

    Args:
        axis: of matplotlib, its data coordinates pixels (`viewing.figures.show_image`).
        person: `Landmarks`; those that are not seen are pale.
    """
    index = {name: i for i, name in enumerate(LANDMARK_NAMES)}
    seen = 0.25 + 0.75 * person.visibility.clip(0, 1)
    for a, b in LANDMARK_BONES:
        pair = [index[a], index[b]]
        side = a.split("_")[0] if a.split("_")[0] == b.split("_")[0] else "middle"
        axis.plot(
            *person.xy[pair].T, color=SIDE_COLORS[side], alpha=float(seen[pair].min()), lw=1.6
        )
    colors = [SIDE_COLORS.get(name.split("_")[0], SIDE_COLORS["middle"]) for name in index]
    axis.scatter(*person.xy.T, s=9, c=colors, alpha=seen, edgecolors="w", linewidths=0.4, zorder=3)


def _scaled(camera, focal):
    """The same orthographic view, pixels a metre."""
    return Camera(camera.rotation, camera.translation, focal, camera.size, orthographic=True)
