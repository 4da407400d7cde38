"""Tables of people: what is wrong in one is named."""

import re

import pytest
import yaml

from hmrlib.io.settings import ConfigError
from hmrlib.people.draws import TABLES, read_table
from hmrlib.people.schema import SCHEMAS


def test_every_table_has_a_schema():
    assert {path.stem for path in TABLES.iterdir()} == set(SCHEMAS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_our_own_tables_are_right(name):
    assert read_table(TABLES / f"{name}.yml") == yaml.safe_load(
        (TABLES / f"{name}.yml").read_text("utf-8")
    )


GONE = object()


@pytest.mark.parametrize(
    ("name", "keys", "value", "message"),
    [
        ("garments", ["upper", "tank", "sleve"], 0.1, "upper.tank: unknown sleve; known are"),
        ("garments", ["upper", "tank", "sleeve"], GONE, "upper.tank: sleeve missing"),
        ("garments", ["lower", "jeans", "leg"], "long", "leg: expected a number or [low, high]"),
        ("garments", ["lower", "jeans", "leg"], [0.9, 0.1], "a number or [low, high], found [0.9"),
        ("garments", ["lower", "jeans", "ease"], True, "ease: expected a number, found True"),
        ("garments", ["lower", "jeans", "ease"], float("nan"), "must be finite, found nan"),
        ("garments", ["hats"], {}, "garments.yml.hats: expected names with entries"),
        ("garments", ["hats", "cap", "brim"], 3, "brim: expected entries reach, span, found 3"),
        ("garments", ["styles", "sport", "lower"], {"jeens": 1}, "unknown jeens; known are"),
        ("garments", ["hair", "bob", "nape"], GONE, "hair.bob: hair has an ease and a nape"),
        ("dyes", ["skin"], [], "dyes.yml.skin: expected a list of at least 2"),
        ("dyes", ["eyes", 0], [0.1, 1.2, 0.3], "eyes[0]: expected three numbers from 0 to 1"),
        ("dyes", ["cloth", 3, "chance"], -1, "cloth[3].chance: expected a number that is not neg"),
        ("environments", ["kinds", "woods", "path"], GONE, "woods: a place outdoors has a ground"),
        ("environments", ["paths"], {"sand": 0}, "paths: expected names with numbers"),
        ("environments", ["rows", "trees"], GONE, "rows.of: unknown trees"),
        ("furniture", ["table", "boxes", 0], [0, 1], "boxes[0]: expected six numbers"),
        ("furniture", ["table", "stands"], ["roof"], "stands[0]: expected one of indoors"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, name, keys, value, message):
    table = yaml.safe_load((TABLES / f"{name}.yml").read_text("utf-8"))
    *above, last = keys
    entry = table
    for key in above:
        entry = entry[key]
    if value is GONE:
        del entry[last]
    else:
        entry[last] = value
    path = tmp_path / f"{name}.yml"
    path.write_text(yaml.safe_dump(table))
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_table(path)


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "\x00"])
def test_what_is_no_table_is_refused(tmp_path, text):
    path = tmp_path / "dyes.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"dyes\.yml"):
        read_table(path)
