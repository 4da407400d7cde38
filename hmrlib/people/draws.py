"""Chance, and the tables that say what is likely."""

from functools import cache
from pathlib import Path

import numpy as np

from hmrlib.io.settings import read_yaml
from hmrlib.people.schema import check_table

TABLES = Path(__file__).parent / "tables"


@cache
def table(name):
    """The table `tables/NAME.yml`, as dicts and lists; see `read_table`."""
    return read_table(TABLES / f"{name}.yml")


def read_table(path):
    """A table of people, checked.

    Args:
        path: of a file with the name of one of `schema.SCHEMAS`, and `.yml`.

    Raises:
        hmrlib.io.settings.ConfigError: not YAML; see `read_yaml`.
        schema.TableError: not what such a table holds.
    """
    read = read_yaml(path)
    check_table(read, Path(path).stem)
    return read


def pick(rng, options):
    """One of a sequence, all as likely; of a dict of weights, the more likely the heavier."""
    if not isinstance(options, dict):
        return options[int(len(options) * rng.random())]
    rest = rng.random() * sum(options.values())
    for option, weight in options.items():
        rest -= weight
        if rest < 0:
            return option
    return option


def number(rng, value):
    """A number of a table: itself, or drawn evenly from [low, high]."""
    return rng.uniform(*value) if isinstance(value, list) else value


def clamp(value, low, high):
    """The nearest number between the two."""
    return min(max(value, low), high)


def grid(value, step):
    """The nearest multiple: hems lie on a coarse grid, so that pieces once cut serve again."""
    return round(round(value / step) * step, 3)


@cache
def _cloth():
    dyes = table("dyes")["cloth"]
    chances = np.cumsum([dye["chance"] for dye in dyes])
    return chances / chances[-1], np.array([dye["color"] for dye in dyes])


def dyes(rng, count):
    """Colors of cloth, (count, 3) sRGB."""
    chances, colors = _cloth()
    rows = np.searchsorted(chances, rng.random(count), "right")
    varied = np.exp(rng.normal(size=(count, 4)) * [0.12, 0.07, 0.07, 0.07])
    return np.minimum(np.maximum(colors[rows] * varied[:, :1] * varied[:, 1:], 0.03), 0.92)
