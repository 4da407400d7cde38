"""Garments as pieces of the body's mesh.

A garment is a *signed field* on the mean body, positive where the cloth is:
`min(hem, neckline, cuffs)`. `cut` slices the mesh exactly along the field's zero. Skirts and coats
below the waist bridge the legs, so they are tubes around both (`tube_piece`).
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from hmrlib.body.surface import smoothstep
from hmrlib.people.measures import TUBE_ANGLES, TUBE_RINGS, J


class Cut(NamedTuple):
    """A piece cut out of the body's mesh. W welded vertices; U vertices, split at texture seams.

    Attributes:
        ends: (W, 2) the two body vertices between which a welded vertex lies; share: (W,) of the
            second.
        faces: (F, 3) of the welded vertices, rim included.
        split: (U,) the welded vertex of each; split_faces: (F, 3); uv: (U, 2) metres.
        rim: (W,) true for the inner edge of a hem.
        indptr, indices: compressed rows: `indices[indptr[i]:indptr[i + 1]]` are vertex i's
            neighbors.
        depth: (W,) the field: metres to the nearest hem.
        covered: (V,) body vertices that the cloth hides for sure.
        whole: how many of the welded vertices, the first ones, are vertices of the body.
        beyond: (n,) of each of the welded vertices that follow, those on the hem: the body vertex
            on the other side.
    """

    ends: np.ndarray
    share: np.ndarray
    faces: np.ndarray
    split: np.ndarray
    split_faces: np.ndarray
    uv: np.ndarray
    rim: np.ndarray
    indptr: np.ndarray
    indices: np.ndarray
    depth: np.ndarray
    covered: np.ndarray
    whole: int
    beyond: np.ndarray


def cut(measured, field, hidden_from=0.03):
    """Slice the body's mesh along the zero of a field, as marching triangles do.

    Args:
        measured: from `measure`.
        field: (V,) positive where the cloth is, metres.
        hidden_from: body vertices deeper in the cloth than this are counted as covered.

    Returns:
        `Cut`.

    Raises:
        ValueError: the field is positive nowhere: no cloth is left.
    """
    faces = measured.faces.astype(np.int64)
    field = np.where(np.abs(field) < 1e-4, 1e-4, field)
    inside = field[faces] > 0  # (F, 3)
    count = inside.sum(1)
    if not count.any():
        raise ValueError("the garment covers no face of the body; its hems cross one another")
    # turn each mixed face so that its odd vertex comes first; then the cases are two
    mixed = faces[(count == 1) | (count == 2)]
    odd_inside = inside[(count == 1) | (count == 2)]
    lone = odd_inside.sum(1) == 1
    odd = np.where(lone, odd_inside.argmax(1), (~odd_inside).argmax(1))
    rows = np.arange(len(mixed))
    a, b, c = (mixed[rows, (odd + k) % 3] for k in range(3))
    pairs = np.sort(np.stack([np.concatenate([a, a]), np.concatenate([b, c])], 1), 1)
    codes, which = np.unique(pairs @ [len(field), 1], return_inverse=True)
    unique = np.stack(np.divmod(codes, len(field)), 1)
    kept = np.flatnonzero(np.bincount(faces[inside], minlength=len(field)) > 0)
    number = np.full(len(field), -1)
    number[kept] = np.arange(len(kept))
    f0, f1 = field[unique[:, 0]], field[unique[:, 1]]
    ends = np.concatenate([np.stack([kept, kept], 1), unique])
    share = np.concatenate([np.zeros(len(kept)), f0 / (f0 - f1)])
    ab, ac = which[: len(a)] + len(kept), which[len(a) :] + len(kept)
    n = number
    pieces = [
        n[faces[count == 3]],
        np.stack([n[a], ab, ac], 1)[lone],
        np.stack([ab, n[b], n[c]], 1)[~lone],
        np.stack([ab, n[c], ac], 1)[~lone],
    ]
    owner = np.concatenate(
        [
            np.flatnonzero(count == 3),
            *([np.flatnonzero((count == 1) | (count == 2))[m] for m in (lone, ~lone, ~lone)]),
        ]
    )
    welded = np.concatenate(pieces)
    hem = np.concatenate([np.stack([ac, ab], 1)[lone], np.stack([ab, ac], 1)[~lone]])
    depth = field[ends[:, 0]] * (1 - share) + field[ends[:, 1]] * share

    # a rim: the hem's edge turned in towards the skin
    hem_points, at = np.unique(hem, return_inverse=True)
    at = at.reshape(hem.shape) + len(ends)
    rim_faces = np.concatenate(
        [
            np.stack([hem[:, 0], hem[:, 1], at[:, 1]], 1),
            np.stack([hem[:, 0], at[:, 1], at[:, 0]], 1),
        ]
    )
    rim_owner = np.tile(
        np.concatenate([np.flatnonzero((count == 1) | (count == 2))[m] for m in (lone, ~lone)]), 2
    )
    ends = np.concatenate([ends, ends[hem_points]])
    share = np.concatenate([share, share[hem_points]])
    depth = np.concatenate([depth, depth[hem_points]])
    rim = np.arange(len(ends)) >= len(ends) - len(hem_points)

    pairs = welded[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    on_hem = np.isin(np.arange(len(ends)), hem_points)
    crosses = on_hem[pairs].any(1)
    along = np.concatenate([hem, hem[:, ::-1]])
    pairs = np.concatenate(
        [
            pairs[~crosses],
            pairs[~crosses][:, ::-1],
            along,
            pairs[crosses & ~on_hem[pairs[:, 0]]],
            pairs[crosses & ~on_hem[pairs[:, 1]]][:, ::-1],
        ]
    )
    pairs = np.stack(np.divmod(np.unique(pairs @ [len(ends), 1]), len(ends)), 1)
    indptr = np.searchsorted(pairs[:, 0], np.arange(len(ends) + 1))
    welded, owner = np.concatenate([welded, rim_faces]), np.concatenate([owner, rim_owner])
    split, split_faces, uv = _unroll(measured, ends, share, welded, faces[owner])
    return Cut(
        ends.astype(np.uint32),
        share.astype(np.float32),
        np.ascontiguousarray(welded, np.uint32),
        split.astype(np.uint32),
        np.ascontiguousarray(split_faces, np.uint32),
        uv.astype(np.float32),
        rim,
        indptr.astype(np.uint32),
        pairs[:, 1].astype(np.uint32),
        depth.astype(np.float32),
        field > hidden_from,
        len(kept),
        np.where(f0 > 0, unique[:, 1], unique[:, 0]).astype(np.uint32),
    )


def _unroll(measured, ends, share, faces, of_body):
    """Texture coordinates: each limb is unrolled by itself, and cut open where it closes."""
    limb = np.sort(measured.limb[of_body], 1)[:, 1]  # of most of its corners

    def blend(values):
        low, high = values[ends[:, 0]], values[ends[:, 1]]
        return low * (1 - share) + high * share

    girth = measured.girth[limb][:, None]
    # around a limb by its angle: blend as a point on the circle, so that no blend crosses the cut
    phase = [np.arctan2(blend(np.sin(turn)), blend(np.cos(turn))) for turn in measured.turn]
    phase = np.stack(phase)[limb[:, None], faces] / (2 * np.pi)  # (F, 3)
    phase = np.where(np.ptp(phase, axis=1)[:, None] > 0.5, phase % 1, phase)
    u = phase * girth
    torso, hips = measured.torso, blend(measured.height)
    arm = blend(measured.arm)
    is_arm = ((limb == 1) | (limb == 2))[:, None]
    v = np.where(is_arm, torso - arm[faces], hips[faces])
    u = np.where(is_arm, u + 0.25, u)  # sleeves take the picture's side, where nothing is printed
    key = (faces.astype(np.int64) * 5 + limb[:, None]) * 1000 + np.round(u * 50).astype(int) + 500
    _, index, inverse = np.unique(key, return_index=True, return_inverse=True)
    uv = np.stack([u.ravel(), v.ravel()], 1)[index]
    return faces.ravel()[index], inverse.reshape(-1, 3), uv


def upper_field(measured, hem, sleeve, neck, opening=0.0):
    """Shirts, sweaters, jackets: (V,) positive inside.

    Args:
        hem: height of the lower edge above the hip joints.
        sleeve: length beyond the shoulder joint; below zero the armhole cuts into the trunk.
        neck: radius of the neckline, metres; below 0.06 a collar climbs up the neck.
        opening: half the width of an open front, metres.
    """
    v, joints = measured.vertices, measured.joints
    center = joints[J["neck"]] + [0, -0.012, 0.012]
    off = (v - center) / [1.0, 1.25, 1.15]
    climb = max(0.06 - neck, 0) * 3
    off[:, 1] = np.minimum(off[:, 1] - climb, 0)
    neckline = np.linalg.norm(off, axis=1) - max(neck, 0.06)
    neckline = np.minimum(neckline, center[1] + 0.035 + climb - v[:, 1])
    if climb:
        neckline = center[1] + climb - v[:, 1] + 0.4 * (center[2] - v[:, 2])
    field = np.minimum(neckline, measured.height - hem)
    field = np.minimum(field, sleeve - measured.arm)
    if opening:
        front = np.where(
            v[:, 2] > measured.joints[J["spine2"], 2], np.abs(v[:, 0]) - opening, np.inf
        )
        field = np.minimum(field, front)
    return field


def lower_field(measured, waist, leg):
    """Trousers and shorts: `waist` above the hip joints, `leg` below them."""
    field = np.minimum(waist - measured.height, leg - measured.leg)
    return np.where((measured.limb == 1) | (measured.limb == 2), -0.1, field)


def briefs_field(measured, waist):
    """Briefs: what lies above two slanting leg holes."""
    slant = measured.height + 0.03 - 0.55 * np.abs(measured.vertices[:, 0]) + 0.03
    field = np.minimum(waist - measured.height, slant + 0.05)
    return np.where((measured.limb == 1) | (measured.limb == 2), -0.1, field)


def shoe_field(measured, collar):
    """Shoes and socks: what lies lower than `collar` metres above the ankle joints."""
    ankle = measured.joints[[J["left_ankle"], J["right_ankle"]], 1].mean()
    return collar - (measured.vertices[:, 1] - ankle)


def hair_field(measured, hairline, nape, ears=True):
    """Hair: all of the head that is not face.

    Args:
        hairline: angle of the face's cone, degrees: 50 grows low, 75 recedes.
        nape: how far down the hair goes behind, head heights below the head's center.
        ears: leave the ears free.
    """
    off = measured.head
    direction = off / np.linalg.norm(off, axis=1, keepdims=True)
    face = np.array([0, -0.30, 0.95])
    face /= np.linalg.norm(face)
    cosine = np.einsum("vc,c->v", direction, face)
    cone = np.arccos(np.clip(cosine, -1, 1)) - np.radians(hairline)
    field = np.minimum(cone * 0.45, off[:, 1] + nape + 0.25 * np.maximum(off[:, 2] + 0.2, 0))
    field = np.minimum(field, np.minimum(0.55 - np.abs(off[:, 0]), 0.8 + off[:, 1] - 2 * off[:, 2]))
    if ears:
        sides = (np.abs(off[:, 0]) > 0.28) & (off[:, 1] < 0.08)
        field = np.where(sides, np.minimum(field, off[:, 1] - 0.02), field)
    return field * measured.face


def beard_field(measured, top):
    """A beard: the chin and the cheeks below `top`, head heights, mouth left free."""
    off = measured.head
    mouth = np.hypot(off[:, 0] / 0.10, (off[:, 1] - measured.nose[1] + 0.15) / 0.035) - 1
    field = np.minimum(top - off[:, 1], off[:, 2] - 0.02)
    field = np.minimum(field, off[:, 1] + 0.56)
    return np.minimum(field, 0.05 * mouth) * measured.face


def cap_field(measured, level, tilt):
    """Caps: the head above a plane at `level` head heights that rises by `tilt` forwards."""
    off = measured.head
    return (off[:, 1] - level - tilt * off[:, 2]) * measured.face


class Tube(NamedTuple):
    """The part of a skirt, dress or coat that hangs around both legs; see `drape_tube`.

    Attributes:
        faces: (F, 3) uint32; uv: (U, 2) metres; grid: (U, 2) ring and angle of each vertex.
        covered: (V,) body vertices that it hides.
    """

    faces: np.ndarray
    uv: np.ndarray
    grid: np.ndarray
    covered: np.ndarray


@lru_cache(maxsize=64)
def tube_piece(measured, top, hem, opening=0.0):
    """A tube from `top` to `hem`, metres above the hip joints; `opening` as for a coat, metres."""
    angles, rings = TUBE_ANGLES, TUBE_RINGS
    i, j = np.meshgrid(np.arange(rings), np.arange(angles + 1), indexing="ij")
    number = np.arange(i.size).reshape(i.shape)
    a, b = number[:-1, :-1], number[:-1, 1:]
    c, d = number[1:, :-1], number[1:, 1:]
    quads = np.stack([a, c, d, b], -1)
    if opening:
        gap = max(1, round(opening / 0.03))
        quads = quads[:, gap : angles - gap]
    quads = quads.reshape(-1, 4)
    faces = np.concatenate([quads[:, :3], quads[:, [0, 2, 3]]])
    height = np.linspace(top, hem, rings)[i]
    turn = j / angles
    uv = np.stack([(turn - (turn > 0.5)) * 0 + turn * measured.girth[0], height], -1).reshape(-1, 2)
    grid = np.stack([i, j % angles], -1).reshape(-1, 2)
    deep = (measured.height < top - 0.03) & (measured.height > hem + 0.06) & (measured.arm < 0.0)
    return Tube(
        np.ascontiguousarray(faces, np.uint32), uv.astype(np.float32), grid.astype(np.int32), deep
    )


class Piece(NamedTuple):
    """A `Cut` with its texture coordinates (U, 2), how far it falls, (W,) metres, how light it
    lies, (U, 3), and a taper, (W,): 0 at its edge, 1 from five centimetres on."""

    cut: Cut
    uv: np.ndarray
    fall: np.ndarray
    shade: np.ndarray
    taper: np.ndarray


@lru_cache(maxsize=1024)
def piece(measured, kind, *shape):
    """The piece of a kind, cut once for each shape; see the fields' functions for its numbers.

    Raises:
        ValueError: an unknown kind.
    """
    fields = {
        "upper": upper_field,
        "lower": lower_field,
        "briefs": briefs_field,
        "shoes": shoe_field,
        "hair": hair_field,
        "beard": beard_field,
        "cap": cap_field,
    }
    if kind not in fields:
        raise ValueError(f"unknown kind of clothes {kind!r}; known are {', '.join(fields)}")
    made = cut(measured, fields[kind](measured, *shape), 0.012 if kind == "shoes" else 0.03)
    if kind == "upper":
        is_arm = (measured.limb == 1) | (measured.limb == 2)
        fall = np.where(is_arm, measured.arm, measured.torso - 0.16 - measured.height)
    elif kind == "lower":
        fall = measured.leg
    elif kind == "hair":  # what hangs behind the neck
        fall = (-0.2 - measured.head[:, 1]) * measured.face
    else:
        fall = np.zeros(len(measured.leg))
    fall = np.clip(fall, 0, 0.9)

    def blend(values):
        low, high = values[made.ends[:, 0]], values[made.ends[:, 1]]
        return (low * (1 - made.share) + high * made.share).astype(np.float32)

    rim = 0.85 if kind in ("hair", "beard") else 0.45
    shade = np.where(made.rim, rim, 0.72 + 0.28 * blend(measured.open))[made.split]
    shade = np.repeat(shade.astype(np.float32)[:, None], 3, 1)
    taper = smoothstep(made.depth / 0.05).astype(np.float32)
    return Piece(made, made.uv * (5 if kind in ("hair", "beard") else 1), blend(fall), shade, taper)
