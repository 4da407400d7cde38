"""The recipe of a sample: all that it is made from, as numbers and names, and as JSON.

    people        betas, pose, outfit and place of each; the first is whom the labels speak of
    environment   where they are, and its light
    objects       furniture, plants and poles, some of them in front
    camera        where the photographer stands, and what part of the photograph is kept
    lens          focus, motion, exposure, color, noise, and the JPEG's quality

A recipe holds no arrays: two are equal if their numbers are, and `from_json(to_json())` is the
same. World frame: metres, y up, the ground at y = 0, the first person at the origin, the camera at
+z. Colors are sRGB from 0 to 1, unless linear light is said.
"""

from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import ClassVar, get_args, get_origin, get_type_hints

import numpy as np

from hmrlib.io import extra

with extra("people"):
    import orjson

DIGITS = 7  # decimals of a recipe's numbers


@dataclass(frozen=True)
class Skin:
    """Arguments of `skin.skin_colors`: tone from 0, the lightest, to 1; flush from -1 to 1."""

    tone: float
    flush: float
    iris: list
    brows: list
    lips: float
    stubble: float
    blotches: int


@dataclass(frozen=True)
class Garment:
    """A piece of clothes, or hair.

    Attributes:
        kind: "upper", "lower", "briefs", "shoes", "hair", "beard", "cap", or "tube", which is a
            skirt or the lower part of a coat or dress.
        shape: arguments of the kind's field, see `garments.piece`; of a tube: top, hem, opening.
        ease: metres off the skin; growth: metres more a metre of fall.
        sag: metres that it hangs lower where it faces down; smoothing: rounds, see `dress.drape`.
        wrinkle: metres; noise: which field wrinkles it.
        folds: which folds, and fold_depth: how deep, metres; gloss: as of `Mesh`.
        pattern, variant, colors: of `fabric.dye`; hair has color and strands (which) instead.
        pleats: how many run down a tube, phase: where the first is, radians.
    """

    kind: str
    shape: list
    ease: float = 0.0
    growth: float = 0.0
    sag: float = 0.0
    smoothing: int = 3
    wrinkle: float = 0.0
    noise: int = 0
    gloss: float = 0.0
    folds: int = 0
    fold_depth: float = 0.0
    pattern: str = "plain"
    variant: int = 0
    colors: list | None = None
    color: list | None = None
    strands: int | None = None
    pleats: int = 7
    phase: float = 0.0


@dataclass(frozen=True)
class Extra:
    """What sits rigidly on the head: "bun" and "ponytail" have a size; a "brim" reaches so many
    head heights, spans so many degrees to each side, at a level, tilted."""

    kind: str
    color: list
    size: float = 1.0
    span: float = 0.0
    reach: float = 0.0
    level: float = 0.0
    tilt: float = 0.0


@dataclass(frozen=True)
class Outfit:
    """Skin, and what is worn from the innermost to the outermost."""

    skin: Skin
    garments: tuple[Garment, ...] = ()
    extras: tuple[Extra, ...] = ()


@dataclass(frozen=True)
class Person:
    """betas (10), pose (24, 3), metres that they float, and x and z where they are."""

    betas: list
    pose: list
    lift: float
    outfit: Outfit
    at: list


@dataclass(frozen=True)
class Bounds:
    """Metres; outdoors the ceiling is the walls' upper edge."""

    ROW: ClassVar = {}
    floor: float
    ceiling: float
    west: float
    east: float
    south: float
    north: float


@dataclass(frozen=True)
class Rect:
    """A window, door or picture on wall `side` (2 west, 3 east, 4 south, 5 north).

    Attributes:
        left, low, width, height: metres; rim: of its frame, metres.
        frame: linear color; glow: light through a window, 0 for others.
        tint: linear color of what is in it; texture: its name, metres: that the texture covers.
    """

    ROW: ClassVar = {"frame": 3, "tint": 3}
    side: int
    left: float
    low: float
    width: float
    height: float
    rim: float
    frame: list
    glow: float
    tint: list
    texture: str | int
    metres: float


@dataclass(frozen=True)
class Row:
    """A row of trees or houses far away.

    Attributes:
        distance, height: metres; texture: its name; profile: of its upper edge, "blocks", "crowns"
            or "flat", variant: which one, rough: how much of it; tint: linear color.
    """

    ROW: ClassVar = {"tint": 3}
    distance: float
    height: float
    texture: str
    profile: str
    variant: int
    rough: float
    tint: list


@dataclass(frozen=True)
class Path:
    """On the floor, where |x normal_x + z normal_z - distance| < half_width; metres."""

    ROW: ClassVar = {}
    half_width: float = 0.0
    normal_x: float = 0.0
    normal_z: float = 0.0
    distance: float = 0.0
    edge: float = 0.0


@dataclass(frozen=True)
class Glow:
    """Where light enters a room, metres; how strong it is near that, and everywhere."""

    ROW: ClassVar = {}
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    near: float = 0.0
    everywhere: float = 0.0


@dataclass(frozen=True)
class Sky:
    """Linear colors above, at the horizon and of clouds; clouds: how much they cover, from which
    brightness of their texture on; drift: the texture, and where it begins."""

    ROW: ClassVar = {}
    zenith: list
    horizon: list
    clouds: list
    drift: list
    cloud: list


@dataclass(frozen=True)
class SunLight:
    """Direction to it, linear color, softness in degrees."""

    direction: list
    color: list
    softness: float


@dataclass(frozen=True)
class Ambient:
    """a + b n is the light that falls on a surface of normal n: (3), (3, 3), linear."""

    a: list
    b: list


@dataclass(frozen=True)
class Environment:
    """A place: `surfaces` are texture and tint of each, `rows` the nearest first; indoors there is
    no sky; haze: a metre. Light is before exposure."""

    NAMES: ClassVar = {"rows": "layers"}
    bounds: Bounds
    surfaces: dict
    rects: tuple[Rect, ...]
    rows: tuple[Row, ...]
    path: Path
    glow: Glow
    haze: float
    sun: SunLight
    ambient: Ambient
    sky: Sky | None = field(default=None, metadata={"none": []})
    kind: str = ""


@dataclass(frozen=True)
class Object:
    """A piece of furniture, a plant, a pole; a "seat" stands only where somebody sits, and has a
    style. at: x and z, metres; turn: radians; size: 1 is usual."""

    kind: str
    texture: str
    color: list
    variant: int
    at: list | None = None
    turn: float = 0.0
    size: float = 1.0
    style: str | None = None


@dataclass(frozen=True)
class Photographer:
    """Where the camera stands, and the crop.

    Attributes:
        fov: degrees, of the whole photograph; distance, height: metres; turn: radians from +z.
        aim: radians beside the person, right and up; roll: degrees.
        zoom: the crop's side over the person's; shift: (2), in the person's sides.
    """

    fov: float
    distance: float
    turn: float
    height: float
    aim: list
    roll: float
    zoom: float
    shift: list


@dataclass(frozen=True)
class Lens:
    """What the camera does to the picture.

    Attributes:
        exposure, contrast, saturation: 1 is as it is; balance: (3) factors of the channels.
        vignette: how much darker the corners are.
        coarse: the background's blur, pixels; blur: of everything; motion: (2), pixels.
        noise: of 255, in the middle grays; grain: which; quality: of the JPEG.
    """

    exposure: float
    balance: list
    contrast: float
    saturation: float
    vignette: float
    coarse: int
    blur: float
    motion: list
    noise: float
    grain: int
    quality: int


@dataclass(frozen=True)
class Photograph:
    """A photograph as background: a square of it, `side` of its shorter side, at (2) parts."""

    name: str
    at: list
    side: float
    flip: bool


@dataclass(frozen=True)
class Recipe:
    """See the module."""

    NAMES: ClassVar = {"environment": "place"}
    seed: int
    index: int
    people: tuple[Person, ...]
    environment: Environment
    objects: tuple[Object, ...]
    camera: Photographer
    lens: Lens
    photograph: Photograph | None = None

    def to_json(self):
        """As text, which `from_json` reads."""
        return orjson.dumps(as_plain(self), option=orjson.OPT_SERIALIZE_NUMPY).decode()

    @classmethod
    def from_json(cls, text):
        """From the text of `to_json`.

        Raises:
            ValueError: it is no JSON, or lacks something, or holds what no recipe has.
        """
        try:
            plain = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"a recipe that is no JSON: {error}") from error
        return read_plain(cls, plain)


def as_plain(part):
    """A recipe, or a part of it, as dicts, lists, numbers and strings."""
    if hasattr(part, "ROW"):
        row = []
        for name, value in vars(part).items():
            row += value if name in part.ROW else [value]
        return row
    plain = {}
    for name, key, none, kind, is_many in _parts(type(part)):
        value = getattr(part, name)
        if value is None:
            value = none
        elif is_many:
            value = [as_plain(one) for one in value]
        elif kind is not None:
            value = as_plain(value)
        if value is not None:
            plain[key] = value
    return plain


def read_plain(cls, plain):
    """The recipe, or the part of the class `cls`, that `as_plain` made this from.

    Raises:
        ValueError: it lacks something, or holds what the class has not.
    """
    if hasattr(cls, "ROW"):
        plain = _row_as_dict(cls, plain)
    if not isinstance(plain, dict):
        raise ValueError(f"expected a {cls.__name__} as a JSON object, found {plain!r:.60}")
    given, values = dict(plain), {}
    for name, key, none, kind, is_many in _parts(cls):
        if key in given:
            value = given.pop(key)
            if is_many:
                value = tuple(read_plain(kind, one) for one in value)
            elif kind is not None:
                value = None if value == none else read_plain(kind, value)
            values[name] = value
        elif cls.__dataclass_fields__[name].default is MISSING:
            raise ValueError(f"a {cls.__name__} without {key!r}; found {', '.join(plain)}")
    if given:
        raise ValueError(f"a {cls.__name__} has no {', '.join(map(repr, given))}")
    return cls(**values)


def _row_as_dict(cls, row):
    """A part that JSON holds as a row of numbers, by names."""
    lengths = {f.name: cls.ROW.get(f.name, 0) for f in fields(cls)}
    if not isinstance(row, list) or len(row) != sum(max(n, 1) for n in lengths.values()):
        raise ValueError(f"expected a {cls.__name__} as {', '.join(lengths)}; found {row!r:.60}")
    found, at = {}, 0
    for name, length in lengths.items():
        found[name] = row[at : at + length] if length else row[at]
        at += max(length, 1)
    return found


@cache
def _parts(cls):
    """Of each field: its name, its name in JSON, what None is there, the dataclass that it holds
    or None, and whether many of them."""
    hints, names, found = get_type_hints(cls), getattr(cls, "NAMES", {}), []
    for f in fields(cls):
        hint = hints[f.name]
        is_many = get_origin(hint) is tuple
        if isinstance(hint, UnionType) or is_many:
            hint = get_args(hint)[0]
        kind = hint if is_dataclass(hint) else None
        found.append((f.name, names.get(f.name, f.name), f.metadata.get("none"), kind, is_many))
    return found


def rounded(value):
    """What is drawn, with arrays and NumPy's numbers, as a recipe has it: numbers to `DIGITS`.

    The last bit of a float64, which may differ from one processor to another (NumPy has a sine for
    each kind of vectors), is not a part of a recipe.
    """
    if isinstance(value, float):
        return round(float(value), DIGITS)
    if isinstance(value, np.ndarray):
        return value.round(DIGITS).tolist()
    if isinstance(value, tuple | list):
        return type(value)([rounded(part) for part in value])
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, np.integer):
        return int(value)
    if hasattr(value, "__dataclass_fields__"):
        return type(value)(**rounded(vars(value)))
    return value
