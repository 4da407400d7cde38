"""Settings: frozen dataclasses that check their values, and the YAML files that hold them."""

import dataclasses
import math
from dataclasses import field
from typing import ClassVar

import yaml


class ConfigError(ValueError):
    """Settings that do not exist, or values that they cannot have."""


def above_0(default):
    """A field whose numbers are above 0; those of the others are at least 0."""
    return field(default=default, metadata={"above 0": True})


def one_of(default, *others):
    """A field that has one of these values."""
    return field(default=default, metadata={"one of": (default, *others)})


def check_settings(settings):
    """Bring each value to its field's type, and see that it keeps to its range.

    Args:
        settings: a dataclass; frozen ones call this in their `__post_init__`.

    Raises:
        ConfigError: a value of another type, not finite, or out of range.
    """
    for entry in dataclasses.fields(settings):
        value = _convert(entry.type, getattr(settings, entry.name))
        object.__setattr__(settings, entry.name, value)
        _check(entry, value)


def _convert(kind, value):
    """60 and "1e-5", which YAML takes for an integer and for a word, as the numbers they are."""
    if kind == tuple[float, ...] and isinstance(value, list | tuple | None):
        return tuple(_convert(float, number) for number in value or ())
    if kind not in (float, float | None) or not isinstance(value, str | int):
        return value
    try:
        return value if isinstance(value, bool) else float(value)
    except (ValueError, OverflowError):
        return value


def _check(entry, value):
    """Type and range of one setting."""
    name, kind, limits = entry.name, entry.type, entry.metadata
    numbers, inner = (value,), kind
    if kind == tuple[float, ...]:
        numbers, inner = value if isinstance(value, tuple) else (None,), float
    is_flag = isinstance(value, bool)
    if not all(isinstance(number, inner) for number in numbers) or (is_flag and kind is not bool):
        raise ConfigError(f"{name}: expected {kind}, found {value!r:.200}")
    allowed = limits.get("one of", (value,))
    if value not in allowed:
        raise ConfigError(f"{name}: expected {' or '.join(allowed)}, found {value!r:.200}")
    check_finite(name, value)
    for number in numbers:
        if is_flag or not isinstance(number, int | float):
            continue
        if number < 0 or (number == 0 and "above 0" in limits):
            least = "above 0" if "above 0" in limits else "at least 0"
            raise ConfigError(f"{name} must be {least}, found {number}")
        if number >= limits.get("below", math.inf):
            raise ConfigError(f"{name} must be below {limits['below']:g}, found {number}")


def check_finite(name, value):
    """No NaN or infinity, within lists and mappings too.

    Raises:
        ConfigError: there is one.
    """
    if isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            check_finite(name, item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{name} must be finite, found {value}")


MOST_YAML = 2**16  # bytes; a file of settings has two thousand


def read_yaml(path):
    """The `name: value` lines of a YAML file: numbers, text, yes and no, lists and mappings.

    Raises:
        ConfigError: the file is missing, not UTF-8, too long, or no mapping; it has a name twice, a
            name that is no text, an alias (a few of which unfold without end), or a number that is
            not finite.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_YAML + 1)
        if len(data) > MOST_YAML:
            raise ConfigError(f"{path}: expected a file of settings, found more than 64 KiB")
        settings = yaml.load(data.decode("utf-8-sig"), _Loader)
        settings = {} if settings is None else settings
        if not isinstance(settings, dict):
            raise ConfigError(f"{path}: expected `name: value` lines")
        for name, value in settings.items():
            check_finite(name, value)
    except RecursionError as error:
        raise ConfigError(f"cannot read the settings: {path} is nested too deeply") from error
    except ConfigError:
        raise
    except (OSError, ValueError, yaml.YAMLError) as error:  # another encoding is a ValueError
        raise ConfigError(f"cannot read the settings in {path}: {error!s:.500}") from error
    return settings


class _Loader(yaml.SafeLoader):
    """YAML without what settings do not need: aliases, dates, names that are no text or twice."""

    yaml_implicit_resolvers: ClassVar = {
        first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(
                None, None, "an alias (*name), write the value again", self.peek_event().start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        names = set()
        for entry, _ in node.value:
            name = self.construct_object(entry, deep=True)
            if not isinstance(name, str) or name in names:
                wrong = "is there twice" if isinstance(name, str) else "is no text"
                raise yaml.constructor.ConstructorError(
                    None, None, f"the name {name!r:.100} {wrong}", entry.start_mark
                )
            names.add(name)
        return super().construct_mapping(node, deep)
