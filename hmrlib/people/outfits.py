"""What people wear: `draw_outfit` draws skin, hair and clothes for one person.

What is usual stands in `tables/garments.yml` and `tables/dyes.yml`.
"""

from dataclasses import replace
from math import exp

import numpy as np

from hmrlib.people.draws import clamp, dyes, grid, number, pick, table
from hmrlib.people.measures import NOISES
from hmrlib.people.recipe import Extra, Garment, Outfit, Skin, rounded

SLEEVES = (-0.04, 0.0, 0.10, 0.16, 0.22, 0.32, 0.46)  # that are cut, metres beyond the shoulder
DENIM = np.array([0.20, 0.27, 0.39])


def draw_outfit(rng):
    """Skin, hair and clothes for one person: an `Outfit`, which `dress.wear` follows."""
    who = pick(rng, ("feminine", "masculine"))
    tone = rng.beta(1.3, 1.7)
    hair = _hair_color(rng, tone)
    style = pick(rng, _chances("styles", who))
    garments = []
    if style == "bare":
        garments += _bare(rng, who)
    elif style == "dress":
        garments += _dress(rng)
    else:
        garments += [_lower(rng, style), *_upper(rng, style)]
    if style != "bare" or rng.random() < 0.2:
        socks, shoes = _footwear(rng, style)
        garments = socks + garments + shoes
    on_head, extras = _head(rng, who, style, hair)
    outfit = Outfit(_skin(rng, who, tone, hair), tuple(garments + on_head), tuple(extras))
    return rounded(outfit)


def _chances(name, who):
    return {kind: entry["chance"][who] for kind, entry in table("garments")[name].items()}


def _hair_color(rng, tone):
    colors = table("dyes")["hair"]
    if rng.random() < 0.08:  # gray
        return np.full(3, 0.6 * rng.uniform(0.6, 1.2))
    if tone > 0.6:
        return np.array(colors["dark"][0]) * rng.uniform(0.8, 1.6)
    palette = colors["light" if tone < 0.5 and rng.random() < 0.45 else "dark"]
    return np.clip(np.array(pick(rng, palette)) * exp(0.15 * rng.normal()), 0.02, 0.8)


def _skin(rng, who, tone, hair):
    eyes, feminine = table("dyes")["eyes"], who == "feminine"
    return Skin(
        tone=tone,
        flush=clamp(rng.normal(0, 0.6), -1.5, 1.5),
        iris=pick(rng, eyes) if tone < 0.4 else eyes[0],
        brows=np.minimum(hair, 0.3) * 0.8,
        lips=rng.uniform(0, 0.9 if feminine else 0.3),
        stubble=0.0 if feminine or rng.random() < 0.5 else rng.uniform(0.1, 0.5),
        blotches=rng.integers(NOISES),
    )


def cloth(rng, ease, growth, fold_depth=0.004):
    """Fields of a `Garment` that all cloth has, with the given looseness."""
    loose = growth * exp(0.35 * rng.normal())
    return {
        "ease": ease * exp(0.25 * rng.normal()),
        "growth": loose,
        "sag": 0.1 * loose,
        "smoothing": rng.integers(3, 7),
        "wrinkle": 0.004 * rng.uniform(0.3, 1.3),
        "noise": rng.integers(NOISES),
        "folds": rng.integers(12),
        "fold_depth": round(fold_depth * rng.uniform(0.5, 1.6), 3),
    }


def pattern_of(rng, plain, kinds):
    """pattern, variant and colors of a `Garment`: plain by that chance, or see `pick`."""
    colors = dyes(rng, 4)
    if np.abs(colors[0] - colors[1]).max() < 0.15:  # a print must differ from its ground
        colors[1] = 0.85 if colors[0].sum() < 1.5 else 0.12
    kind = "plain" if rng.random() < plain else pick(rng, kinds)
    return {"pattern": kind, "variant": rng.integers(12), "colors": colors}


def _tube(rng, top, hem, opening, looks):
    """A skirt, or the lower part of a coat or dress."""
    turns = {"pleats": rng.integers(4, 12), "phase": rng.uniform(0, 6.28)}
    return Garment("tube", [top, grid(hem, 0.04), opening], **(looks | turns))


def _lower(rng, style):
    if style == "skirt":
        looks = cloth(rng, 0.012, 0.0) | {"growth": rng.uniform(0.05, 0.4)}
        looks |= pattern_of(rng, 0.55, ("check", "stripes", "dots", "blossom", "melange"))
        return _tube(rng, 0.16, rng.uniform(-0.75, -0.16), 0.0, looks)
    tables = table("garments")
    name = pick(rng, tables["styles"][style]["lower"])
    kind = tables["lower"][name]
    shape = [grid(rng.uniform(0.06, 0.14), 0.04), grid(number(rng, kind["leg"]), 0.06)]
    looks = cloth(rng, kind["ease"], kind["growth"], kind["fold_depth"])
    looks |= pattern_of(rng, kind["plain"], kind["patterns"])
    if name == "jeans":
        blue = DENIM * exp(0.45 * rng.normal())
        color = blue if rng.random() < 0.8 else np.full(3, rng.uniform(0.08, 0.3))
        looks["colors"] = [np.clip(color, 0.05, 0.8)]
    return Garment("lower", shape, gloss=kind.get("gloss", 0.0), **looks)


def _upper(rng, style):
    """A shirt, perhaps with something over it."""
    tables = table("garments")
    kind = tables["upper"][pick(rng, tables["styles"][style]["upper"])]
    hem = grid(rng.uniform(-0.10, 0.0), 0.04)
    if rng.random() < (0.6 if style == "smart" else 0.15):  # tucked in
        hem = 0.08
    if style == "skirt":  # which hangs free of the body, and of what lies between them
        hem = 0.12
    layers, opening = [], 0.0
    if kind.get("layered") or style == "coat":
        looks = cloth(rng, 0.005, 0.02)
        looks |= pattern_of(rng, 0.6, ("stripes", "print", "melange", "shirt"))
        layers.append(Garment("upper", [hem if hem > 0 else -0.04, 0.12, 0.08, 0.0], **looks))
        opening = pick(rng, (0.03, 0.06)) if rng.random() < 0.6 else 0.0
        hem = min(hem, -0.02)
    if style == "coat":
        looks = cloth(rng, 0.022, 0.03, 0.005) | pattern_of(rng, 0.55, ("melange", "zip", "check"))
        flare = {"growth": rng.uniform(0.04, 0.16), "ease": 0.03}
        below = _tube(rng, 0.12, rng.uniform(-0.6, -0.2), opening, looks | flare)
        return [*layers, Garment("upper", [0.0, 0.46, 0.04, opening], **looks), below]
    neck = kind.get("neck") or grid(rng.uniform(0.07, 0.11), 0.02)
    looks = cloth(rng, kind["ease"], kind["growth"], kind["fold_depth"])
    looks |= pattern_of(rng, kind["plain"], kind["patterns"])
    shape = [hem, _sleeve(number(rng, kind["sleeve"])), neck, opening]
    return [*layers, Garment("upper", shape, gloss=kind.get("gloss", 0.0), **looks)]


def _sleeve(length):
    """The nearest of the sleeves that are cut."""
    return min(SLEEVES, key=lambda cut: abs(cut - length))


def _dress(rng):
    looks = cloth(rng, 0.005, 0.015, 0.003)
    looks |= pattern_of(rng, 0.4, ("blossom", "dots", "stripes", "check", "block", "melange"))
    sleeve = _sleeve(pick(rng, (-0.04, 0.12, 0.30, 0.46)))
    top = Garment("upper", [0.12, sleeve, grid(rng.uniform(0.07, 0.12), 0.02), 0.0], **looks)
    flare = {"growth": rng.uniform(0.05, 0.4), "ease": 0.014}
    return [top, _tube(rng, 0.16, rng.uniform(-0.85, -0.2), 0.0, looks | flare)]


def _bare(rng, who):
    """Swimwear, gymnasts' suits, shorts without a shirt."""
    if who == "feminine" or rng.random() < 0.3:
        looks = cloth(rng, 0.002, 0.0, 0.001)
        looks |= pattern_of(rng, 0.5, ("block", "blossom", "stripes", "dots"))
        hem = 0.06 if rng.random() < 0.6 else 0.26
        shape = [hem, -0.05, 0.12, 0.0]
        return [Garment("briefs", [0.10], **looks), Garment("upper", shape, **looks)]
    looks = cloth(rng, 0.01, 0.06) | pattern_of(rng, 0.6, ("block", "zip", "blossom"))
    return [Garment("lower", [0.08, grid(rng.uniform(0.16, 0.46), 0.06)], **looks)]


def _footwear(rng, style):
    """Socks and shoes, each a list of one or none."""
    if rng.random() < 0.06:
        return [], []
    socks = []
    if rng.random() < 0.5:
        color = np.array([0.85, 0.85, 0.84]) if rng.random() < 0.6 else np.full(3, 0.1)
        looks = cloth(rng, 0.003, 0.0, 0.002) | {"pattern": "knit", "colors": [color]}
        looks["smoothing"] = 16
        socks = [Garment("shoes", [grid(rng.uniform(0.04, 0.16), 0.06)], **looks)]
    dark = rng.random() < (0.85 if style in ("smart", "coat") else 0.4)
    color = np.clip(dyes(rng, 1)[0] * (0.6 if dark else 1.2), 0.04, 0.9)
    if not dark and rng.random() < 0.5:
        color = np.full(3, rng.uniform(0.6, 0.85))
    looks = cloth(rng, 0.012, 0.0, 0.002) | {"variant": rng.integers(12), "colors": [color]}
    looks |= {"smoothing": 26, "gloss": pick(rng, (0.0, 0.1, 0.4))}
    return socks, [Garment("shoes", [pick(rng, (-0.01, 0.0, 0.02, 0.08))], **looks)]


def _head(rng, who, style, color):
    """Hair, beard and hat, and what sits on the head."""
    name = pick(rng, _chances("hair", who))
    kind = table("garments")["hair"][name]
    has_hat = rng.random() < (0.16 if style in ("sport", "casual", "coat") else 0.05)
    hair = Garment("hair", [grid(rng.uniform(54, 68), 4)], color=color)
    hair = replace(hair, strands=rng.integers(8), noise=rng.integers(NOISES))
    hair = replace(hair, smoothing=4, wrinkle=0.006)
    worn, extras = [], []
    if name != "bald":
        hangs = kind.get("hangs", False)
        ease = (0.008 if hangs else 0.006) if has_hat else number(rng, kind["ease"])
        nape = grid(number(rng, kind["nape"]), 0.2 if hangs else 0.04)
        worn = [replace(hair, shape=[*hair.shape, nape], ease=ease)]
        if hangs:
            worn = [replace(worn[0], shape=[*worn[0].shape, 0], growth=0.16, smoothing=7)]
    if name in ("bun", "ponytail"):
        extras.append(Extra(name, color, rng.uniform(0.8, 1.2)))
    if who == "masculine" and rng.random() < 0.14:
        top, ease = grid(rng.uniform(-0.27, -0.18), 0.04), rng.uniform(0.003, 0.014)
        worn.append(replace(hair, kind="beard", shape=[top], ease=ease))
    if has_hat:
        hat = pick(rng, tuple(table("garments")["hats"].values()))
        looks = cloth(rng, hat["ease"], 0.0, hat["fold_depth"]) | {"wrinkle": 0.001}
        looks |= pattern_of(rng, 0.6, ("knit", "melange")) | {"gloss": hat.get("gloss", 0.0)}
        worn.append(Garment("cap", [hat["level"], hat["tilt"]], **looks))
        if "brim" in hat:
            extras.append(_brim(rng, hat, looks["colors"][0]))
    return worn, extras


def _brim(rng, hat, color):
    return Extra(
        "brim",
        color,
        span=hat["brim"]["span"],
        reach=number(rng, hat["brim"]["reach"]),
        level=hat["level"] + 0.02,
        tilt=hat["tilt"],
    )
