"""Synthetic people: dressed, lit, placed and photographed, with labels that are true.

A *recipe* says all that a sample is made from (`recipe`; `draw` draws one from a seed, by what
`tables/*.yml` call usual). It becomes a body (`bodies`), dressed (`garments`, `dress`), in a place
(`environment`, `scene`), a picture behind a lens (`pictures`, `lens`) and labels (`labels`);
`dataset` makes many. It may import `learn`, and what is before that.

The same seed gives the same recipes, and a recipe the same picture, to the byte, whoever draws it,
in whichever order and by however many threads.
"""

from hmrlib.people.dataset import render_people
from hmrlib.people.draw import draw_recipe
from hmrlib.people.pictures import render_samples
from hmrlib.people.poses import pose_pool
from hmrlib.people.recipe import Recipe

__all__ = ["Recipe", "draw_recipe", "pose_pool", "render_people", "render_samples"]
