"""From recipes to samples, in the order in which data flows: bodies, dressed, in a scene, rendered,
through the lens, labelled."""

from dataclasses import replace

import numpy as np

from hmrlib.data import records
from hmrlib.people.bodies import pose_people
from hmrlib.people.labels import make_sample
from hmrlib.people.lens import camera_effects
from hmrlib.people.scene import PERSON, SIZE, arrange, build_scene
from hmrlib.render.scene import render_scenes

LEAST_SEEN = 5  # keypoints; where fewer are, the crop is wider and what hides them left out


def render_samples(recipes, size=SIZE, photographs=None):
    """Samples from recipes; the same recipe always gives the same sample.

    Args:
        recipes: list of `Recipe`.
        size: side of the pictures, pixels.
        photographs: the folder that the recipes' photographs lie in.

    Yields:
        samples as `data.records` keeps them; the image is the bytes of a JPEG.

    Raises:
        ValueError: a recipe asks for what is not known.
    """
    recipes = list(recipes)
    people = [person for recipe in recipes for person in recipe.people]
    posed = pose_people(people)  # all at once, as their vertices are: that is several times faster
    ends = np.cumsum([len(recipe.people) for recipe in recipes])
    layouts = [
        arrange(recipe, posed, np.arange(end - len(recipe.people), end), size)
        for recipe, end in zip(recipes, ends, strict=True)
    ]
    near = [row for layout in layouts for row in layout.near]
    vertices = dict(zip(near, posed.vertices(near), strict=True))
    for recipe, layout in zip(recipes, layouts, strict=True):
        built = build_scene(recipe, posed, layout, vertices, photographs)
        sample = photograph(recipe, *built)
        if (sample["keypoints_2d"][:, 2] > sample["occluded"]).sum() < LEAST_SEEN:
            camera = replace(recipe.camera, zoom=max(recipe.camera.zoom, 1.25), shift=[0, 0])
            aside = replace(recipe, camera=camera)
            wider = arrange(aside, posed, layout.rows, size)
            near = dict(zip(wider.near, posed.vertices(wider.near), strict=True))
            built = build_scene(aside, posed, wider, near, photographs)
            sample = photograph(recipe, *_person_alone(*built))
        yield sample


def photograph(recipe, scene, known):
    """The sample of a scene: rendered, through the recipe's lens, and labelled.

    Args:
        recipe: `Recipe`; scene, known: from `build_scene`.
    """
    [rendering] = render_scenes([scene], supersample=2, threads=1, buffers=("depth", "mesh"))
    soft = max(scene.camera.size[0] / known.side, 1) - 1  # what had to be enlarged is soft
    image = camera_effects(rendering.image, recipe.lens, 0.4 * soft)
    jpeg = records.encode_jpeg(image, recipe.lens.quality)
    return make_sample(recipe, scene, known, rendering, jpeg)


def _person_alone(scene, known):
    """The same scene without all that may hide the person."""
    own = np.flatnonzero(known.owners[:-1] == PERSON)
    owners = np.append(known.owners[own], np.uint8(0))
    meshes = [scene.meshes[i] for i in own]
    return replace(scene, meshes=meshes), known._replace(owners=owners)
