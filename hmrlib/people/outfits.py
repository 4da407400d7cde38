"""What people wear: `draw_outfit` draws skin, hair and clothes for one person."""

import math

import numpy as np

from hmrlib.people.measures import NOISES

# hues of cloth as sold: (weight, sRGB); muted, mostly dark, some white
_DYES = (
    (16, (0.09, 0.09, 0.10)),
    (9, (0.22, 0.23, 0.25)),
    (6, (0.48, 0.48, 0.49)),
    (12, (0.84, 0.84, 0.82)),
    (11, (0.10, 0.14, 0.26)),
    (7, (0.26, 0.36, 0.52)),
    (4, (0.45, 0.58, 0.72)),
    (6, (0.55, 0.12, 0.13)),
    (3, (0.75, 0.24, 0.16)),
    (4, (0.22, 0.30, 0.20)),
    (3, (0.16, 0.36, 0.28)),
    (5, (0.60, 0.51, 0.39)),
    (4, (0.34, 0.24, 0.17)),
    (3, (0.80, 0.68, 0.42)),
    (2, (0.85, 0.62, 0.16)),
    (3, (0.72, 0.50, 0.53)),
    (2, (0.42, 0.22, 0.40)),
    (2, (0.20, 0.48, 0.52)),
)
_DYE_WEIGHTS = np.cumsum([weight for weight, _ in _DYES])
_DYE_COLORS = np.array([color for _, color in _DYES])


def _dyes(rng, count):
    """`count` colors of cloth (count, 3)."""
    rows = np.searchsorted(_DYE_WEIGHTS, rng.random(count) * _DYE_WEIGHTS[-1], "right")
    varied = np.exp(rng.normal(size=(count, 4)) * [0.12, 0.07, 0.07, 0.07])
    colors = _DYE_COLORS[rows] * varied[:, :1] * varied[:, 1:]
    return np.minimum(np.maximum(colors, 0.03), 0.92).round(3)


def one_of(rng, chances):
    """A key of {key: chance}, whose chances sum to one."""
    draw = rng.random()
    for key, chance in chances.items():
        draw -= chance
        if draw < 0:
            return key
    return key


def _print(rng, *kinds, plain=0.5):
    """pattern, variant and colors of a cloth: plain, or one of `kinds`."""
    kind = "plain" if rng.random() < plain or not kinds else kinds[rng.integers(len(kinds))]
    colors = rng.dyes(4)
    ground = colors[0].tolist()
    if max(abs(a - b) for a, b in zip(ground, colors[1], strict=True)) < 0.15:
        colors[1] = 0.85 if sum(ground) < 1.5 else 0.12  # a print must differ from its ground
    return {"pattern": kind, "variant": int(rng.integers(12)), "colors": colors}


def _cloth(rng, ease, growth, depth=0.004):
    """What all garments have, with the given looseness; see `wear`."""
    loose = math.exp(0.35 * rng.normal())
    return {
        "ease": ease * math.exp(0.25 * rng.normal()),
        "growth": growth * loose,
        "sag": 0.5 * growth * loose * 0.2,
        "smoothing": int(rng.integers(3, 7)),
        "wrinkle": 0.004 * rng.uniform(0.3, 1.3),
        "noise": int(rng.integers(NOISES)),
        "folds": int(rng.integers(12)),
        "fold_depth": round(depth * rng.uniform(0.5, 1.6), 3),
    }


def _grid(value, step):
    """Hems lie on a coarse grid, so that pieces once cut serve again."""
    return round(round(value / step) * step, 3)


def _sleeve(length):
    """The nearest of the sleeves that are cut."""
    return min((-0.04, 0.0, 0.10, 0.16, 0.22, 0.32, 0.46), key=lambda cut: abs(cut - length))


_HAIR = ((0.05, 0.04, 0.04), (0.10, 0.07, 0.05), (0.20, 0.13, 0.08), (0.33, 0.22, 0.13))
_LIGHT_HAIR = ((0.55, 0.42, 0.26), (0.68, 0.56, 0.38), (0.42, 0.20, 0.11), (0.52, 0.51, 0.50))


def draw_outfit(rng):
    """Skin, hair and clothes for one person: the recipe that `wear` follows."""
    rng = rng if isinstance(rng, Dice) else Dice(rng)
    tone = rng.beta(1.3, 1.7)
    light = tone < 0.5 and rng.random() < 0.45
    palette = _LIGHT_HAIR if light else _HAIR
    hair = np.array(palette[rng.integers(len(palette))]) * np.exp(0.15 * rng.normal())
    if tone > 0.6:
        hair = np.array(_HAIR[0]) * rng.uniform(0.8, 1.6)
    if rng.random() < 0.08:
        hair = np.array([0.6, 0.6, 0.6]) * rng.uniform(0.6, 1.2)
    hair = np.minimum(np.maximum(hair, 0.02), 0.8)
    feminine = rng.random() < 0.5
    eyes = [(0.16, 0.10, 0.07), (0.22, 0.30, 0.36), (0.24, 0.28, 0.18)][
        rng.integers(3) if tone < 0.4 else 0
    ]
    outfit = {
        "skin": {
            "tone": tone,
            "flush": min(max(rng.normal(0, 0.6), -1.5), 1.5),
            "iris": eyes,
            "brows": np.minimum(hair, 0.3) * 0.8,
            "lips": rng.uniform(0, 0.9) if feminine else rng.uniform(0, 0.3),
            "stubble": 0.0 if feminine or rng.random() < 0.5 else rng.uniform(0.1, 0.5),
            "blotches": int(rng.integers(NOISES)),
        },
        "garments": [],
        "extras": [],
    }
    worn = outfit["garments"]
    chances = {"casual": 0.42, "smart": 0.16, "sport": 0.24, "coat": 0.12, "bare": 0.06}
    if feminine:
        chances = {"casual": 0.36, "smart": 0.14, "sport": 0.20, "coat": 0.10, "bare": 0.06}
        chances |= {"dress": 0.07, "skirt": 0.07}
    style = one_of(rng, chances)
    if style == "bare":
        _draw_bare(rng, worn, feminine)
    elif style == "dress":
        _draw_dress(rng, worn)
    else:
        _draw_lower(rng, worn, style)
        _draw_upper(rng, worn, style)
    if style != "bare" or rng.random() < 0.2:
        _draw_shoes(rng, worn, style)
    _draw_head(rng, outfit, hair, feminine, style)
    return outfit


def _draw_lower(rng, worn, style):
    if style == "skirt":
        print_ = _print(rng, "check", "stripes", "dots", "blossom", "melange", plain=0.55)
        hem = _grid(-rng.uniform(0.16, 0.75), 0.04)
        cloth = _cloth(rng, 0.012, 0.0) | {"growth": rng.uniform(0.05, 0.4)}
        worn.append({"kind": "tube", "shape": [0.16, hem], **cloth, **print_, **_pleats(rng)})
        return
    kinds = {
        "casual": ("jeans", "jeans", "trousers", "shorts", "chinos", "leggings"),
        "smart": ("trousers", "trousers", "chinos"),
        "sport": ("shorts", "shorts", "track", "leggings"),
        "coat": ("trousers", "jeans", "chinos"),
    }[style]
    kind = kinds[rng.integers(len(kinds))]
    leg = (0.78, 0.78, 0.84, 0.72)[rng.integers(4)]
    if kind == "shorts":
        leg = rng.uniform(0.16, 0.46)
    ease, growth, depth = {
        "jeans": (0.005, 0.02, 0.004),
        "trousers": (0.009, 0.035, 0.005),
        "chinos": (0.008, 0.03, 0.005),
        "shorts": (0.010, 0.08, 0.005),
        "track": (0.010, 0.03, 0.006),
        "leggings": (0.002, 0.0, 0.001),
    }[kind]
    if kind == "jeans":
        blue = np.array([0.20, 0.27, 0.39]) * np.exp(0.45 * rng.normal())
        color = blue if rng.random() < 0.8 else np.full(3, rng.uniform(0.08, 0.3))
        print_ = {
            "pattern": "denim",
            "variant": int(rng.integers(12)),
            "colors": [np.minimum(np.maximum(color, 0.05), 0.8)],
        }
    elif kind == "shorts":
        print_ = _print(rng, "check", "camouflage", "block", "blossom", "zip", plain=0.75)
    elif kind == "leggings":
        print_ = _print(rng, "melange", "block", plain=0.8)
    else:
        print_ = _print(rng, "melange", "pinstripe", "zip", plain=0.8)
    worn.append(
        {"kind": "lower", "shape": [_grid(rng.uniform(0.06, 0.14), 0.04), _grid(leg, 0.06)]}
        | _cloth(rng, ease, growth, depth)
        | print_
        | {"gloss": 0.15 if kind in ("track", "leggings") and rng.random() < 0.4 else 0.0}
    )


def _draw_upper(rng, worn, style):
    kind = {
        "casual": ("t_shirt", "t_shirt", "long", "sweater", "shirt", "tank", "jacket"),
        "smart": ("shirt", "shirt", "sweater", "blazer"),
        "sport": ("t_shirt", "t_shirt", "jersey", "tank", "long", "track"),
        "skirt": ("t_shirt", "shirt", "sweater", "long", "tank"),
        "coat": ("long", "sweater", "shirt"),
    }[style]
    kind = kind[rng.integers(len(kind))]
    tucked = rng.random() < (0.6 if style == "smart" else 0.15)
    hem = 0.08 if tucked else _grid(-rng.uniform(0.0, 0.10), 0.04)
    if style == "skirt":  # which hangs free of the body, and of what lies between them
        hem = 0.12
    neck = _grid(rng.uniform(0.07, 0.11), 0.02)
    sleeve, ease, growth, depth = {
        "t_shirt": (rng.uniform(0.08, 0.20), 0.008, 0.05, 0.005),
        "jersey": (rng.uniform(0.12, 0.22), 0.012, 0.05, 0.005),
        "tank": (-rng.uniform(0.0, 0.06), 0.005, 0.03, 0.004),
        "long": (rng.uniform(0.42, 0.48), 0.006, 0.025, 0.004),
        "shirt": ((0.16, 0.30, 0.46, 0.46)[rng.integers(4)], 0.010, 0.045, 0.006),
        "sweater": (rng.uniform(0.44, 0.48), 0.014, 0.035, 0.006),
        "jacket": (0.46, 0.018, 0.04, 0.006),
        "blazer": (0.46, 0.016, 0.03, 0.004),
        "track": (0.46, 0.014, 0.03, 0.006),
    }[kind]
    print_ = {
        "t_shirt": lambda: _print(rng, "print", "print", "stripes", "melange", "block", plain=0.4),
        "jersey": lambda: _print(rng, "number", "block", "bars", "stripes", plain=0.15),
        "tank": lambda: _print(rng, "print", "number", "stripes", plain=0.6),
        "long": lambda: _print(rng, "stripes", "melange", "print", "block", plain=0.55),
        "shirt": lambda: _print(rng, "shirt", "check", "gingham", "bars", "shirt", plain=0.15),
        "sweater": lambda: _print(rng, "knit", "melange", "stripes", "block", plain=0.2),
        "jacket": lambda: _print(rng, "zip", "denim", "camouflage", plain=0.3),
        "blazer": lambda: _print(rng, "shirt", "melange", "pinstripe", plain=0.4),
        "track": lambda: _print(rng, "zip", "block", plain=0.2),
    }[kind]()
    if kind in ("shirt", "blazer", "jacket"):
        neck = 0.04
    layered = kind in ("jacket", "blazer", "track") or style == "coat"
    if layered:
        inner = _print(rng, "stripes", "print", "melange", "shirt", plain=0.6)
        shape = [hem if hem > 0 else -0.04, 0.12, 0.08, 0.0]
        worn.append({"kind": "upper", "shape": shape, **_cloth(rng, 0.005, 0.02), **inner})
    opening = (0.03, 0.06)[rng.integers(2)] if layered and rng.random() < 0.6 else 0.0
    if style == "coat":
        print_ = _print(rng, "melange", "zip", "check", plain=0.55)
        hem_ = _grid(-rng.uniform(0.2, 0.6), 0.04)
        cloth = _cloth(rng, 0.022, 0.03, 0.005)
        shape = [0.0, 0.46, 0.04, opening]
        worn.append({"kind": "upper", "shape": shape, **cloth, **print_})
        flare = {"growth": rng.uniform(0.04, 0.16), "ease": 0.03}
        worn.append(
            {
                "kind": "tube",
                "shape": [0.12, hem_, opening],
                **cloth,
                **print_,
                **flare,
                **_pleats(rng),
            }
        )
        return
    if layered:
        hem = min(hem, -0.02)
    worn.append(
        {"kind": "upper", "shape": [hem, _sleeve(sleeve), neck, opening]}
        | _cloth(rng, ease, growth, depth)
        | print_
        | {"gloss": 0.12 if kind in ("jersey", "track") else 0.0}
    )


def _pleats(rng):
    return {"pleats": int(rng.integers(4, 12)), "phase": rng.uniform(0, 6.28)}


def _draw_dress(rng, worn):
    print_ = _print(rng, "blossom", "dots", "stripes", "check", "block", "melange", plain=0.4)
    cloth = _cloth(rng, 0.005, 0.015, 0.003)
    sleeve = (-0.04, 0.12, 0.30, 0.46)[rng.integers(4)]
    shape = [0.12, _sleeve(sleeve), _grid(rng.uniform(0.07, 0.12), 0.02), 0.0]
    worn.append({"kind": "upper", "shape": shape, **cloth, **print_})
    hem = _grid(-rng.uniform(0.2, 0.85), 0.04)
    flare = {"growth": rng.uniform(0.05, 0.4), "ease": 0.014}
    worn.append({"kind": "tube", "shape": [0.16, hem], **cloth, **print_, **flare, **_pleats(rng)})


def _draw_bare(rng, worn, feminine):
    """Swimwear, gymnasts' suits, shorts without a shirt."""
    cloth = _cloth(rng, 0.002, 0.0, 0.001)
    if feminine or rng.random() < 0.3:
        print_ = _print(rng, "block", "blossom", "stripes", "dots", plain=0.5)
        worn.append({"kind": "briefs", "shape": [0.10], **cloth, **print_})
        hem = 0.06 if rng.random() < 0.6 else 0.26
        shape = [hem, -0.05, 0.12, 0.0]
        worn.append({"kind": "upper", "shape": shape, **cloth, **print_})
    else:
        print_ = _print(rng, "block", "zip", "blossom", plain=0.6)
        shape = [0.08, _grid(rng.uniform(0.16, 0.46), 0.06)]
        worn.append({"kind": "lower", "shape": shape, **_cloth(rng, 0.01, 0.06), **print_})


def _draw_shoes(rng, worn, style):
    if rng.random() < 0.06:
        return
    if rng.random() < 0.5:
        color = [[0.85, 0.85, 0.84]] if rng.random() < 0.6 else [[0.1, 0.1, 0.1]]
        sock = {"pattern": "knit", "variant": 0, "colors": color}
        shape = [_grid(rng.uniform(0.04, 0.16), 0.06)]
        worn.insert(0, {"kind": "shoes", "shape": shape, **_cloth(rng, 0.003, 0.0, 0.002), **sock})
        worn[0]["smoothing"] = 16
    dark = rng.random() < (0.85 if style in ("smart", "coat") else 0.4)
    color = np.minimum(np.maximum(rng.dyes(1)[0] * (0.6 if dark else 1.2), 0.04), 0.9)
    if not dark and rng.random() < 0.5:
        color = np.full(3, rng.uniform(0.6, 0.85))
    shape = [(-0.01, 0.0, 0.02, 0.08)[rng.integers(4)]]
    shoe = {"pattern": "plain", "variant": int(rng.integers(12)), "colors": [color]}
    worn.append({"kind": "shoes", "shape": shape, **_cloth(rng, 0.012, 0.0, 0.002), **shoe})
    worn[-1] |= {"smoothing": 26, "gloss": (0.0, 0.1, 0.4)[rng.integers(3)]}


def _draw_head(rng, outfit, color, feminine, style):
    strand = {"color": color, "strands": int(rng.integers(8)), "noise": int(rng.integers(24))}
    base = {"smoothing": 4, "wrinkle": 0.006, **strand}
    chances = {"short": 0.58, "crop": 0.22, "bald": 0.1, "bob": 0.07, "bun": 0.03}
    if feminine:
        chances = {"long": 0.36, "bob": 0.2, "bun": 0.14, "ponytail": 0.2, "short": 0.1}
    style_ = one_of(rng, chances)
    hairline = _grid(rng.uniform(54, 68), 4)
    worn = outfit["garments"]
    hat = rng.random() < (0.16 if style in ("sport", "casual", "coat") else 0.05)
    if style_ in ("short", "crop", "bun", "ponytail"):
        ease = {"short": rng.uniform(0.010, 0.028), "crop": 0.004}.get(style_, 0.007)
        shape = [hairline, _grid(rng.uniform(0.24, 0.36), 0.04)]
        worn.append({"kind": "hair", "shape": shape, "ease": 0.006 if hat else ease, **base})
    elif style_ in ("bob", "long"):
        nape = _grid(rng.uniform(0.45, 0.7) if style_ == "bob" else rng.uniform(0.9, 1.5), 0.2)
        shape = [hairline, nape, 0]
        ease = 0.008 if hat else rng.uniform(0.012, 0.03)
        worn.append(
            {"kind": "hair", "shape": shape, "ease": ease, **base}
            | {"growth": 0.16, "smoothing": 7}
        )
    if style_ in ("bun", "ponytail"):
        outfit["extras"].append({"kind": style_, "color": color, "size": rng.uniform(0.8, 1.2)})
    if not feminine and rng.random() < 0.14:
        shape = [_grid(rng.uniform(-0.27, -0.18), 0.04)]
        worn.append({"kind": "beard", "shape": shape, "ease": rng.uniform(0.003, 0.014), **base})
    if hat:
        kind = ("cap", "beanie", "hat", "helmet")[rng.integers(4)]
        print_ = _print(rng, "knit", "melange", plain=0.6)
        level, tilt = {
            "cap": (0.10, 0.12),
            "beanie": (0.02, 0.30),
            "hat": (0.14, 0.06),
            "helmet": (0.06, 0.25),
        }[kind]
        ease = {"cap": 0.014, "beanie": 0.016, "hat": 0.02, "helmet": 0.03}[kind]
        cloth = _cloth(rng, ease, 0.0, 0.003 if kind != "helmet" else 0.0)
        worn.append({"kind": "cap", "shape": [level, tilt], **cloth, **print_, "wrinkle": 0.001})
        worn[-1]["gloss"] = 0.6 if kind == "helmet" else 0.0
        if kind in ("cap", "hat"):
            span, reach = (70, 0.36) if kind == "cap" else (180, rng.uniform(0.15, 0.35))
            outfit["extras"].append(
                {"kind": "brim", "span": span, "reach": reach, "level": level + 0.02, "tilt": tilt}
                | {"color": print_["colors"][0]}
            )


class Dice:
    """A `numpy.random.Generator` for recipes: single numbers are drawn many at a time, fast."""

    def __init__(self, generator):
        self._generator = generator
        self._shares, self._deviations, self._dyes = [], [], ()

    def __getattr__(self, name):
        return getattr(self._generator, name)

    def random(self, size=None):
        if size is not None:
            return self._generator.random(size)
        if not self._shares:
            self._shares = self._generator.random(256).tolist()
        return self._shares.pop()

    def normal(self, mean=0.0, deviation=1.0, size=None):
        if size is not None or isinstance(mean, list):
            return self._generator.normal(mean, deviation, size)
        if not self._deviations:
            self._deviations = self._generator.normal(size=64).tolist()
        return mean + deviation * self._deviations.pop()

    def uniform(self, low, high):
        return low + (high - low) * self.random()

    def integers(self, low, high=None):
        low, high = (0, low) if high is None else (low, high)
        return low + int((high - low) * self.random())

    def dyes(self, count):
        """`count` colors of cloth (count, 3)."""
        if len(self._dyes) < count:
            self._dyes = _dyes(self._generator, 24)
        taken, self._dyes = self._dyes[:count], self._dyes[count:]
        return taken
