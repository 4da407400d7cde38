"""What the tables of people hold, and a check that says which entry is wrong.

A schema is a function that checks a value; a dict of schemas, one a key, where `key?` may be
missing; or `each(schema)`, for names of one's own. `check` follows it through a table.
"""

from hmrlib.io.settings import ConfigError

PLACES = ("indoors", "outdoors", "front")  # where furniture stands


class TableError(ConfigError):
    """A table that says nothing of use; the message names the entry and what was expected."""


_MOST = 1e6  # no length, weight or chance is as large


def _is_number(value):
    return type(value) in (int, float) and abs(value) < _MOST


def _one(expected, holds):
    """A schema for what holds for a value."""

    def schema(value, where):
        if not holds(value):
            raise TableError(f"{where}: expected {expected}, found {value!r}")

    return schema


def _numbers(count):
    return lambda value: (
        isinstance(value, list) and len(value) == count and all(map(_is_number, value))
    )


def _is_weights(value):
    return (
        isinstance(value, dict)
        and all(_is_number(weight) and weight >= 0 for weight in value.values())
        and all(isinstance(name, str) for name in value)
        and (not value or sum(value.values()) > 0)
    )


number = _one("a number", _is_number)
share = _one("a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1)
weight = _one("a number that is not negative", lambda value: _is_number(value) and value >= 0)
length = _one(
    "a number or [low, high]",
    lambda value: _is_number(value) or (_numbers(2)(value) and value[0] <= value[1]),
)
color = _one(
    "three numbers from 0 to 1",
    lambda value: _numbers(3)(value) and min(value) >= 0 and max(value) <= 1,
)
box = _one("six numbers: x, y, z, width, height, depth", _numbers(6))
weights = _one("names with numbers, not negative and not all zero", _is_weights)
flag = _one("true or false", lambda value: isinstance(value, bool))
name = _one("a name", lambda value: isinstance(value, str))
place = _one(f"one of {', '.join(PLACES)}", lambda value: value in PLACES)


def each(schema):
    """Any names, at least one, each with what the schema asks for."""

    def entries(value, where):
        if not isinstance(value, dict) or not value:
            raise TableError(f"{where}: expected names with entries, found {value!r}")
        for key, entry in value.items():
            check(entry, schema, f"{where}.{key}")

    return entries


def rows(schema, least=1):
    """A list, each of what the schema asks for."""

    def entries(value, where):
        if not isinstance(value, list) or len(value) < least:
            raise TableError(f"{where}: expected a list of at least {least}, found {value!r}")
        for i, entry in enumerate(value):
            check(entry, schema, f"{where}[{i}]")

    return entries


def check(value, schema, where):
    """Compare a value with a schema.

    Raises:
        TableError: an entry that is missing, unknown or of another kind.
    """
    if callable(schema):
        return schema(value, where)
    if not isinstance(value, dict):
        raise TableError(f"{where}: expected entries {', '.join(schema)}, found {value!r}")
    known = {key.removesuffix("?"): entry for key, entry in schema.items()}
    if unknown := sorted(map(str, set(value) - set(known))):
        raise TableError(f"{where}: unknown {', '.join(unknown)}; known are {', '.join(known)}")
    if missing := [key for key in schema if not key.endswith("?") and key not in value]:
        raise TableError(f"{where}: {', '.join(missing)} missing")
    for key, entry in value.items():
        check(entry, known[key], f"{where}.{key}")


_BY_WEARER = {"feminine": weight, "masculine": weight}
_CLOTH = {
    "ease": number, "growth": number, "fold_depth": number, "plain": share, "gloss?": share,
    "patterns": weights,
}  # fmt: skip
_WALL = {"chance": share, "south": length, "height": length, "of": weights}
_ROOM = {"wall": weights, "floor": weights, "height": length, "times": number}

SCHEMAS = {
    "garments": {
        "styles": each({"chance": _BY_WEARER, "lower": weights, "upper": weights}),
        "lower": each({"leg": length, **_CLOTH}),
        "upper": each({"sleeve": length, "neck?": number, "layered?": flag, **_CLOTH}),
        "hats": each(
            {
                "level": number, "tilt": number, "ease": number, "fold_depth": number,
                "gloss?": share, "brim?": {"reach": length, "span": number},
            }
        ),
        "hair": each({"chance": _BY_WEARER, "ease?": length, "nape?": length, "hangs?": flag}),
    },
    "dyes": {
        "cloth": rows({"color": color, "chance": weight}),
        "hair": {"dark": rows(color), "light": rows(color)},
        "eyes": rows(color),
        "skin": rows(color, least=2),
    },
    "environments": {
        "kinds": each(
            {
                "chance": weight, "ground?": weights, "path?": share, "wall?": _WALL,
                "rows?": {"count": number, "distance": number, "of": weights},
            }
        ),
        "rooms": {"room": _ROOM, "hall": _ROOM, "second": weights},
        "fittings": each({"weight": weight, "width": length}),
        "rows": each({"height": length, "profile": name}),
        "weathers": each(
            {
                "weight": weight, "sun": weight, "sky": weight, "blue": weight, "clouds": length,
                "height": length,
            }
        ),
        "paths": weights,
    },
    "furniture": each({"stands": rows(place, least=0), "seat?": number, "boxes": rows(box, 0)}),
}  # fmt: skip


def check_table(table, kind):
    """Compare a table with `SCHEMAS[kind]`, and names in it with what they stand for.

    Raises:
        TableError: an entry that is missing, unknown or of another kind.
    """
    file = f"{kind}.yml"
    check(table, SCHEMAS[kind], file)
    if kind == "garments":
        for style, entry in table["styles"].items():
            for part in ("lower", "upper"):
                _known(entry[part], table[part], f"{file}.styles.{style}.{part}")
        for kind_of_hair, entry in table["hair"].items():
            if kind_of_hair != "bald" and not {"ease", "nape"} <= set(entry):
                raise TableError(f"{file}.hair.{kind_of_hair}: hair has an ease and a nape")
    if kind == "environments":
        for place, entry in table["kinds"].items():
            where = f"{file}.kinds.{place}"
            if place not in table["rooms"] and not {"ground", "path"} <= set(entry):
                raise TableError(f"{where}: a place outdoors has a ground and a path")
            if "rows" in entry:
                _known(entry["rows"]["of"], table["rows"], f"{where}.rows.of")


def _known(names, those, where):
    if unknown := sorted(set(names) - set(those)):
        raise TableError(f"{where}: unknown {', '.join(unknown)}; known are {', '.join(those)}")
