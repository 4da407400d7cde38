"""From recipes to samples: bodies, scenes, pictures, lens, labels."""

from dataclasses import replace

import numpy as np
from numba import njit

from hmrlib.data import records
from hmrlib.people.bodies import all_vertices, pose_coarsely, thickness
from hmrlib.people.lens import camera_effects
from hmrlib.people.recipe import as_json
from hmrlib.people.scene import PERSON, SIZE, arrange, furnish, roots_seen
from hmrlib.render.scene import render_scenes

# Samples that are made together, step by step, and not one after the other: what does the same
# thing again finds its code and its tables in the processor's caches, and takes a tenth less.
GROUP = 16
LEAST_SEEN = 5  # keypoints; where fewer are, the crop is wider and what hides them left out


def render_samples(recipes, size=SIZE, photographs=None):
    """Samples from recipes; the same recipe always gives the same sample.

    Args:
        recipes: list of dicts, see `draw_recipe`.
        size: side of the pictures, pixels.
        photographs: the folder that the recipes' photographs lie in.

    Yields:
        samples as `data.records` keeps them; the image is the bytes of a JPEG.

    Raises:
        ValueError: a recipe asks for what is not known.
    """
    recipes = list(recipes)
    counts = [len(recipe["people"]) for recipe in recipes]
    starts = np.cumsum([0, *counts])
    posed = pose_coarsely([person for recipe in recipes for person in recipe["people"]])
    layouts = [
        arrange(recipe, posed, np.arange(first, first + count), size)
        for recipe, first, count in zip(recipes, starts, counts, strict=False)
    ]
    near = [row for layout in layouts for row in layout.near]
    posed["vertices"] = dict(zip(near, all_vertices(posed, near), strict=True))
    roots = roots_seen(posed, layouts)
    for begin in range(0, len(recipes), GROUP):
        some = slice(begin, begin + GROUP)
        built = furnish(recipes[some], posed, layouts[some], roots[some], photographs)
        samples = finish(recipes[some], built)
        for recipe, layout, sample in zip(recipes[some], layouts[some], samples, strict=True):
            if (sample["keypoints_2d"][:, 2] > sample["occluded"]).sum() < LEAST_SEEN:
                whole = recipe["camera"] | {
                    "zoom": max(recipe["camera"]["zoom"], 1.25),
                    "shift": [0, 0],
                }
                aside = recipe | {"camera": whole}
                wider = arrange(aside, posed, layout.rows, size)
                posed["vertices"] |= zip(wider.near, all_vertices(posed, wider.near), strict=True)
                root = roots_seen(posed, [wider])
                [(scene, seen)] = furnish([aside], posed, [wider], root, photographs)
                [sample] = finish([recipe], [_alone(scene, seen)])
            yield sample


def _alone(scene, seen):
    """The same scene without all that may hide the person."""
    own = np.flatnonzero(seen["owners"][:-1] == PERSON)
    meshes = [scene.meshes[i] for i in own]
    return replace(scene, meshes=meshes), seen | {
        "owners": np.append(seen["owners"][own], np.uint8(0))
    }


def finish(recipes, built):
    """Draw scenes, put them through the lens, and write down what is known: the samples.

    Args:
        recipes: list of dicts; built: of each the scene, and what is known of it, as from
            `build_scene`.

    Returns:
        list of samples, as `render_samples` yields them.
    """
    scenes = [scene for scene, _ in built]
    drawn = render_scenes(scenes, supersample=2, threads=1, buffers=("depth", "mesh"))
    images = []
    for recipe, (scene, seen), shown in zip(recipes, built, drawn, strict=True):
        soft = max(scene.camera.size[0] / seen["side"], 1) - 1  # what had to be enlarged is soft
        images.append(camera_effects(shown.image, recipe["lens"], 0.4 * soft))
    files = [
        records.encode_jpeg(image, recipe["lens"]["quality"])
        for recipe, image in zip(recipes, images, strict=True)
    ]
    everything = zip(recipes, built, drawn, files, strict=True)
    return [_sample(recipe, *pair, shown, file) for recipe, pair, shown, file in everything]


def _sample(recipe, scene, seen, drawn, file):
    """A sample as `data.records` keeps it, of a picture that is drawn, and a `Jpeg` already."""
    camera = scene.camera
    points = seen["keypoints"] @ camera.rotation.T + camera.translation  # (22, 3)
    points = points.astype(np.float32)
    focal, (cx, cy) = camera.focal, camera.center
    keypoints, hidden, segmentation = _labels(
        points, (focal, cx, cy), drawn.depth, drawn.mesh, seen["owners"], thickness()
    )
    low, high = seen["box"]
    return {
        "image": file,
        "center": (low + high) / 2,
        "size": max((high - low).max(), camera.size[0] / 4),  # of the nearly hidden as well
        "keypoints_2d": keypoints,
        "occluded": hidden,
        "keypoints_3d": np.column_stack([points, np.ones(len(points))]),
        "pose": seen["pose"],
        "betas": seen["betas"],
        "translation": seen["translation"],
        "camera": np.array([focal, cx, cy]),
        "segmentation": segmentation,
        "source": "synthetic",
        "id": f"{recipe['seed']}-{recipe['index']}",
        "recipe": as_json(recipe),
    }


@njit(nogil=True, cache=True, error_model="numpy")
def _labels(points, lens, depth, mesh, owners, thickness):
    """Keypoints and segmentation of a picture, as `data.records` keeps them.

    Args:
        points: (22, 3) float32, metres, in the camera's frame.
        lens: focal length and center (cx, cy), pixels.
        depth: (H, W) metres; mesh: (H, W) which mesh is seen, -1 none; both of `Rendering`.
        owners: of each mesh, PERSON, OTHER or OBJECT; and 0, of nothing.
        thickness: (22,) metres, from `thickness`.

    Returns:
        x, y in pixels and whether they lie in the picture, (22, 3); whether something hides the
        keypoint, (22,) uint8; whose each pixel is, (H, W) uint8.
    """
    focal, center_x, center_y = lens
    height, width = depth.shape
    keypoints = np.empty((points.shape[0], 3))
    hidden = np.zeros(points.shape[0], np.uint8)
    for k in range(points.shape[0]):
        scale = focal / points[k, 2]
        x, y = points[k, 0] * scale + center_x, points[k, 1] * scale + center_y
        inside = x >= 0 and x < width and y >= 0 and y < height and points[k, 2] > 0.05
        keypoints[k, 0], keypoints[k, 1], keypoints[k, 2] = x, y, inside
        seen = mesh[int(y), int(x)] if inside else -1
        if seen < 0:
            continue
        behind = points[k, 2] - depth[int(y), int(x)]
        own = owners[seen] == PERSON
        hidden[k] = behind > (1.4 * thickness[k] + 0.06 if own else 0.0)
    segmentation = np.empty((height, width), np.uint8)
    for i in range(height):
        for j in range(width):
            segmentation[i, j] = owners[mesh[i, j]]  # -1 takes the last
    return keypoints, hidden, segmentation
