"""Recipes: all that one sample is made from, drawn from a seed and a number."""

import numpy as np

from hmrlib.io import extra
from hmrlib.people.environment import ENVIRONMENTS, draw_environment
from hmrlib.people.furniture import draw_objects
from hmrlib.people.lens import draw_lens
from hmrlib.people.outfits import Dice, draw_outfit, one_of
from hmrlib.people.poses import draw_body, pose_pool, turn_bodies

with extra("people"):
    import orjson

DIGITS = 7  # decimals of a recipe's numbers
# the kinds of `ENVIRONMENTS`, and how often each comes
_PLACES = dict(zip(ENVIRONMENTS, (0.26, 0.06, 0.16, 0.12, 0.14, 0.08, 0.12, 0.06), strict=True))


def draw_recipe(seed, index, pool=None, photographs=()):
    """The recipe of one sample.

    Args:
        seed, index: whole numbers; the same two always give the same recipe (with the same pool).
        pool: (N, 24, 3) poses to draw from; None: `pose_pool()`.
        photographs: names of pictures to use as backgrounds for most samples.

    Returns:
        dict of numbers, names, lists and dicts, as JSON holds them.
    """
    pool = pose_pool() if pool is None else pool
    return orjson.loads(as_json(*draw_recipes(seed, [index], pool, photographs)))


def draw_recipes(seed, indices, pool, photographs):
    """The same of many, with arrays in them, which `render_samples` takes as well; for speed."""
    recipes = [_draw_recipe(seed, index, pool, photographs) for index in indices]
    turn_bodies([person for recipe in recipes for person in recipe["people"]])
    return [_rounded(recipe) for recipe in recipes]


def _rounded(value):
    """A recipe's numbers to `DIGITS` decimals: the last bit of a float64, which may differ from one
    processor to another (NumPy has a sine for each kind of vectors), is not a part of it."""
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    if isinstance(value, float):
        return round(float(value), DIGITS)
    return value.round(DIGITS) if isinstance(value, np.ndarray) else value


def _draw_recipe(seed, index, pool, photographs):
    """One of them, but for what `turn_bodies` does to its people."""
    rng = Dice(np.random.default_rng([seed, index]))
    place = draw_environment(one_of(rng, _PLACES), rng)
    west, east, south, _ = place["bounds"][2:]
    people = [draw_body(rng, pool) | {"outfit": draw_outfit(rng), "at": [0.0, 0.0]}]
    camera = _draw_camera(rng, place)
    company = one_of(rng, {0: 0.68, 1: 0.18, 2: 0.09, 3: 0.05})
    for _ in range(company):
        near = rng.random() < 0.35
        turn, off = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 0.8)
        at = (
            [off * np.sin(turn), off * np.cos(turn)]
            if near
            else [rng.uniform(-2.6, 2.6), rng.uniform(-5, 0.6)]
        )
        at = [min(max(at[0], west + 0.4), east - 0.4), min(max(at[1], south + 0.4), 2.0)]
        people.append(draw_body(rng, pool) | {"outfit": draw_outfit(rng), "at": at})
    recipe = {
        "seed": int(seed),
        "index": int(index),
        "people": people,
        "place": place,
        "objects": draw_objects(rng, place, camera),
        "camera": camera,
        "lens": draw_lens(rng),
    }
    if len(photographs) and rng.random() < 0.8:
        recipe["photograph"] = {
            "name": str(photographs[rng.integers(len(photographs))]),
            "at": rng.random(2),
            "side": rng.uniform(0.4, 1.0),
            "flip": bool(rng.random() < 0.5),
        }
    return recipe


def as_json(recipe):
    """A recipe as text; its numbers come back unchanged."""
    options = orjson.OPT_SERIALIZE_NUMPY
    return orjson.dumps(recipe, default=lambda value: value.tolist(), option=options).decode()


def _draw_camera(rng, place):
    """Where the photographer stands, and the crop around the person."""
    fov = min(max(rng.normal(50, 12), 22.0), 80.0)
    # of the photograph's height that a person takes
    share = min(max(rng.beta(2.2, 2.2), 0.15), 0.95)
    distance = 1.75 / (2 * np.tan(np.radians(fov) / 2) * share)
    turn = rng.normal(0, 0.25)
    low, high = 0.25, 1.6
    height = rng.normal(1.45, 0.22) if rng.random() < 0.72 else rng.uniform(low, 2.6)
    if not place["sky"]:
        _, ceiling, west, east, _, north = place["bounds"]
        distance = min(distance, north - 0.2)
        turn = max(turn, np.arctan2(west + 0.2, distance))
        turn = min(turn, np.arctan2(east - 0.2, distance))
        height = min(height, ceiling - 0.2)
    off = np.radians(fov) * 0.5 * (1 - share)
    kind = rng.random()
    zoom = rng.uniform(1.15, 1.6) if kind > 0.14 else rng.uniform(0.45, 0.95)
    return {
        "fov": fov,
        "distance": max(distance, 1.1),
        "turn": turn,
        "height": max(height, low * high),
        "aim": [off * rng.uniform(-0.9, 0.9), off * rng.uniform(-0.6, 0.6)],  # radians beside it
        "roll": rng.normal(0, 2.5) if rng.random() < 0.85 else rng.normal(0, 25),  # degrees
        "zoom": zoom,  # the crop's side over the person's
        "shift": rng.normal(0, 0.06, 2) + ([0, -0.22 * (1 - zoom)] if zoom < 1 else [0, 0]),
    }
