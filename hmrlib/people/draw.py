"""`draw_recipe`: the recipe of one sample, from a seed and a number."""

import numpy as np

from hmrlib.people.draws import clamp, pick, table
from hmrlib.people.environment import draw_environment
from hmrlib.people.furniture import draw_objects
from hmrlib.people.lens import draw_lens
from hmrlib.people.outfits import draw_outfit
from hmrlib.people.poses import draw_body, pose_pool
from hmrlib.people.recipe import Person, Photograph, Photographer, Recipe, rounded


def draw_recipe(seed, index, pool=None, photographs=()):
    """The recipe of one sample.

    Args:
        seed, index: whole numbers; the same two always give the same recipe (with the same pool).
        pool: (N, 24, 3) poses to draw from; None: `pose_pool()`.
        photographs: names of pictures to use as backgrounds for most samples.

    Returns:
        `Recipe`.
    """
    pool = pose_pool() if pool is None else pool
    rng = np.random.default_rng([seed, index])
    kinds = {name: kind["chance"] for name, kind in table("environments")["kinds"].items()}
    environment = draw_environment(pick(rng, kinds), rng)
    camera = _draw_camera(rng, environment)
    company = pick(rng, {0: 0.68, 1: 0.18, 2: 0.09, 3: 0.05})
    places = [[0.0, 0.0], *(_beside(rng, environment.bounds) for _ in range(company))]
    return Recipe(
        int(seed),
        int(index),
        tuple(Person(**draw_body(rng, pool), outfit=draw_outfit(rng), at=at) for at in places),
        environment,
        draw_objects(rng, environment, camera),
        camera,
        draw_lens(rng),
        _draw_photograph(rng, photographs),
    )


def _beside(rng, bounds):
    """Where somebody else stands: x and z, in the room."""
    if rng.random() < 0.35:  # close to the first person
        turn, off = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 0.8)
        x, z = off * np.sin(turn), off * np.cos(turn)
    else:
        x, z = rng.uniform(-2.6, 2.6), rng.uniform(-5, 0.6)
    x, z = clamp(x, bounds.west + 0.4, bounds.east - 0.4), clamp(z, bounds.south + 0.4, 2.0)
    return rounded([x, z])


def _draw_camera(rng, environment):
    """Where the photographer stands, and the crop around the person."""
    fov = clamp(rng.normal(50, 12), 22.0, 80.0)
    share = clamp(rng.beta(2.2, 2.2), 0.15, 0.95)  # of the photograph's height that a person takes
    distance = 1.75 / (2 * np.tan(np.radians(fov) / 2) * share)
    turn = rng.normal(0, 0.25)
    height = rng.normal(1.45, 0.22) if rng.random() < 0.72 else rng.uniform(0.25, 2.6)
    if environment.sky is None:
        bounds = environment.bounds
        distance = min(distance, bounds.north - 0.2)
        turn = clamp(
            turn,
            np.arctan2(bounds.west + 0.2, distance),
            np.arctan2(bounds.east - 0.2, distance),
        )
        height = min(height, bounds.ceiling - 0.2)
    off = np.radians(fov) * 0.5 * (1 - share)
    zoom = rng.uniform(1.15, 1.6) if rng.random() > 0.14 else rng.uniform(0.45, 0.95)
    low = -0.22 * (1 - zoom) if zoom < 1 else 0  # close-ups are of the upper body
    camera = Photographer(
        fov,
        max(distance, 1.1),
        turn,
        max(height, 0.4),
        aim=[off * rng.uniform(-0.9, 0.9), off * rng.uniform(-0.6, 0.6)],
        roll=rng.normal(0, 2.5 if rng.random() < 0.85 else 25),
        zoom=zoom,
        shift=rng.normal([0, low], 0.06),
    )
    return rounded(camera)


def _draw_photograph(rng, names):
    """A square of one of the photographs for most samples, where there are any."""
    if not len(names) or rng.random() >= 0.8:
        return None
    name, flip = str(pick(rng, names)), bool(rng.random() < 0.5)
    return rounded(Photograph(name, rng.random(2), rng.uniform(0.4, 1.0), flip))
