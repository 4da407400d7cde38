"""What is known of a picture, as `data.records` keeps it: labels that are true."""

import numpy as np

from hmrlib.people.bodies import thickness
from hmrlib.people.scene import PERSON


def make_sample(recipe, scene, known, rendering, jpeg):
    """The sample of a rendered scene.

    Args:
        recipe: `Recipe`; scene, known: from `build_scene`; rendering: `Rendering`, with depth and
            mesh; jpeg: `Jpeg` of the picture behind the lens.

    Returns:
        dict, as `data.records` keeps it.
    """
    camera = scene.camera
    points = known.keypoints @ camera.rotation.T + camera.translation  # (22, 3)
    points = points.astype(np.float32)
    keypoints, occluded = _keypoints(points, camera, rendering, known.owners)
    low, high = known.box
    return {
        "image": jpeg,
        "center": (low + high) / 2,
        "size": max((high - low).max(), camera.size[0] / 4),  # of the nearly hidden as well
        "keypoints_2d": keypoints,
        "occluded": occluded,
        "keypoints_3d": np.column_stack([points, np.ones(len(points))]),
        "pose": known.pose,
        "betas": known.betas,
        "translation": known.translation,
        "camera": np.array([camera.focal, *camera.center]),
        "segmentation": known.owners[rendering.mesh],  # -1, nothing, takes the last
        "source": "synthetic",
        "id": f"{recipe.seed}-{recipe.index}",
        "recipe": recipe.to_json(),
    }


def _keypoints(points, camera, rendering, owners):
    """x, y in pixels and whether they lie in the picture, (22, 3); and whether something hides
    them, (22,) uint8. points: (22, 3) float32, metres, in the camera's frame."""
    depth = points[:, 2].astype(float)
    pixels = points[:, :2] * (camera.focal / depth)[:, None] + camera.center
    inside = ((pixels >= 0) & (pixels < camera.size)).all(1) & (depth > 0.05)
    x, y = np.where(inside[:, None], pixels, 0).astype(int).T
    owner = np.where(inside, owners[rendering.mesh[y, x]], 0)
    behind = points[:, 2] - rendering.depth[y, x]
    least = np.where(owner == PERSON, 1.4 * thickness() + 0.06, 0.0)
    hidden = (owner > 0) & (behind > least)
    return np.column_stack([pixels, inside]), hidden.astype(np.uint8)
