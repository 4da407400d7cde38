"""Dress a posed body: hang its clothes and hair, and color its skin; `wear` is one person.

`drape` hangs a piece on a body: smoothed across hollows, held off the skin, looser the further it
is from its seams, sagging towards the ground. Tubes are skinned to the hips (`drape_tube`).
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit

from hmrlib.body.kinematics import Weights, linear_blend_skinning
from hmrlib.body.surface import smoothstep
from hmrlib.people.fabric import BRIGHTNESS, STRENGTHS, pattern, relief, strands, tinted
from hmrlib.people.garments import piece, tube_piece
from hmrlib.people.measures import NOISES, TUBE_ANGLES, TUBE_RINGS, J
from hmrlib.people.skin import skin_colors
from hmrlib.render.rasterizer import vertex_normals
from hmrlib.render.scene import Mesh

RIM = 0.0005  # metres: a hem's inner edge ends this far from the skin


@njit(nogil=True, cache=True, error_model="numpy")
def unit_normals(vertices, faces, normals):
    """Vertex normals of unit length: sums of the faces' normals, weighted by area."""
    vertex_normals(vertices, faces, np.empty(0, np.uint32), normals)
    row = normals.reshape(normals.size)
    for v in range(normals.shape[0]):
        x, y, z = row[3 * v], row[3 * v + 1], row[3 * v + 2]
        scale = np.float32(1) / np.sqrt(x * x + y * y + z * z + np.float32(1e-20))
        row[3 * v], row[3 * v + 1], row[3 * v + 2] = x * scale, y * scale, z * scale


class Hang(NamedTuple):
    """How a piece hangs; lengths in metres.

    Attributes:
        ease: that it wants to stand off; growth: that it stands off more a metre of fall.
        wrinkle: the height of its wrinkles; sag: that it hangs lower where it faces down.
        smoothing: rounds in which the cloth draws straight over hollows.
        hair: it grows out of the skin, whereas cloth ends in an edge.
        tight: what is under it, toes or ears, must not show: it is drawn straight, then blown up.
    """

    ease: float
    growth: float
    wrinkle: float
    sag: float
    smoothing: int
    hair: bool
    tight: bool


@njit(nogil=True, cache=True, error_model="numpy")
def drape(surface, normals, noise, piece, hang, down):
    """Hang a cut piece on a posed body.

    Args:
        surface: (V, 3) of the posed body and what it wears so far; the piece is added to it.
        normals: (V, 3) of the body, of unit length.
        noise: (V,), see `BodyMeasurements`.
        piece: `Piece`; hang: `Hang`.
        down: (3,) unit vector.

    Returns:
        vertices (U, 3) and unit normals (U, 3), split at the seams of the texture.
    """
    cut, fall, taper = piece.cut, piece.fall, piece.taper
    ends, share, split, rim, beyond = cut.ends, cut.share, cut.split, cut.rim, cut.beyond
    indptr, indices, whole = cut.indptr, cut.indices, cut.whole
    count = ends.shape[0]
    base = np.zeros((count, 4), np.float32)  # by fours, as the processor takes them
    normal = np.empty((count, 3), np.float32)
    off = np.empty(count, np.float32)
    zero, one, keep = np.float32(0), np.float32(1), np.float32(0.1)
    least = np.float32(0.0008 if hang.hair else 0.004)
    for i in range(count):
        a, b, s = ends[i, 0], ends[i, 1], share[i]
        r = one - s
        for k in range(3):
            base[i, k] = surface[a, k] * r + surface[b, k] * s
            normal[i, k] = normals[a, k] * r + normals[b, k] * s
        x, y, z = normal[i, 0], normal[i, 1], normal[i, 2]
        length = one / np.sqrt(x * x + y * y + z * z + np.float32(1e-12))
        normal[i, 0], normal[i, 1], normal[i, 2] = x * length, y * length, z * length
        bump = hang.wrinkle * noise[a] * (np.float32(0.35) + min(3 * fall[i], one))
        off[i] = hang.ease + hang.growth * fall[i] + bump
        if hang.hair:
            off[i] = least + off[i] * taper[i]
    out, other = base.copy(), base.copy()
    for _ in range(hang.smoothing):
        for i in range(count):
            begin, end = indptr[i], indptr[i + 1]
            if begin == end:
                continue
            x, y, z, w = zero, zero, zero, zero
            for j in range(begin, end):
                n = indices[j]
                x += out[n, 0]
                y += out[n, 1]
                z += out[n, 2]
                w += out[n, 3]
            scale = (one - keep) / np.float32(end - begin)
            other[i, 0] = keep * out[i, 0] + x * scale
            other[i, 1] = keep * out[i, 1] + y * scale
            other[i, 2] = keep * out[i, 2] + z * scale
            other[i, 3] = keep * out[i, 3] + w * scale
        out, other = other, out
    for i in range(count):
        x, y, z = normal[i, 0], normal[i, 1], normal[i, 2]
        if rim[i]:
            for k in range(3):
                out[i, k] = base[i, k] + np.float32(RIM) * normal[i, k]
            continue
        lower = (
            hang.sag * min(4 * fall[i], one) * max(x * down[0] + y * down[1] + z * down[2], zero)
        )
        move = zero
        if not hang.tight:
            stands = (
                (out[i, 0] - base[i, 0]) * x
                + (out[i, 1] - base[i, 1]) * y
                + (out[i, 2] - base[i, 2]) * z
            )
            move = max(stands + off[i], least) - stands
        for k in range(3):
            out[i, k] += move * normal[i, k] + lower * down[k]
    unit_normals(out, cut.faces, normal)
    if hang.tight:
        for i in range(count):
            if not rim[i]:
                for k in range(3):
                    out[i, k] += off[i] * normal[i, k]
    for i in range(whole):
        for k in range(3):
            surface[ends[i, 0], k] = out[i, k]
    # What is worn over a hem must clear it: the body's vertices beyond it rise as far as it does.
    risen = np.zeros(surface.shape[0], np.float32)
    for h in range(beyond.shape[0]):
        i, v = whole + h, beyond[h]
        rise = zero
        for k in range(3):
            rise += (out[i, k] - base[i, k]) * normal[i, k]
        if rise > risen[v]:
            for k in range(3):
                surface[v, k] += (rise - risen[v]) * normals[v, k]
            risen[v] = rise
    vertices = np.empty((split.shape[0], 3), np.float32)
    smooth = np.empty((split.shape[0], 3), np.float32)
    for u in range(split.shape[0]):
        w = split[u]
        for k in range(3):
            vertices[u, k], smooth[u, k] = out[w, k], normal[w, k]
    return vertices, smooth


def drape_tube(measured, betas, rotations, translations, top, hem, ease, flare, pleats, phase):
    """The vertices of a tube around the legs.

    At rest it hangs from the widest line above; it then moves with the hips and the thighs, each
    side with its own leg, the middle with the mean of both.

    Args:
        betas: (n,) this person's shape.
        rotations, translations: (24, 3, 3), (24, 3): from rest to the pose, see
            `joint_transforms`.
        top, hem: metres above the hip joints.
        ease: metres that it stands off at the top; flare: metres more a metre below.
        pleats: how many run down; phase: where the first is, radians.

    Returns:
        (TUBE_RINGS, TUBE_ANGLES, 3) metres.
    """
    full_top, full_bottom = 0.16, measured.height.min() + 0.07
    levels = np.linspace(top, hem, TUBE_RINGS)
    place = np.clip((full_top - levels) / (full_top - full_bottom), 0, 1) * (TUBE_RINGS - 1)
    low = np.minimum(place.astype(int), TUBE_RINGS - 2)
    rest = measured.tube + measured.tube_shape[..., : len(betas)] @ betas
    mix = (place - low)[:, None, None]
    rest = rest[low] * (1 - mix) + rest[low + 1] * mix
    angles = np.arange(TUBE_ANGLES) * (2 * np.pi / TUBE_ANGLES)
    outward = np.stack([np.sin(angles), np.cos(angles)], 1)
    center = rest[..., [0, 2]].mean(1, keepdims=True)
    radius = ((rest[..., [0, 2]] - center) * outward).sum(-1)
    radius = np.maximum.accumulate(radius, 0)
    below = (top - levels)[:, None]
    wave = np.sin(pleats * angles + phase)
    wave = wave + 0.5 * np.sin((pleats // 2 + 1) * angles + 2.3 * phase)
    radius = radius + ease + flare * below + (0.02 + 0.05 * flare) * wave * below
    points = np.empty_like(rest)
    points[..., [0, 2]] = center + radius[..., None] * outward
    points[..., 1] = rest[..., 1].mean(1, keepdims=True)

    hips, knees = measured.joints[J["left_hip"], 1], measured.joints[J["left_knee"], 1]
    y = levels + hips
    thigh = smoothstep((hips + 0.03 - y) / 0.14)
    shank = 0.5 * smoothstep((knees - y) / 0.15 + 0.5)
    spine = smoothstep((y - hips - 0.10) / 0.12)
    left = smoothstep(points[..., 0] / 0.22 + 0.5)
    weights = np.empty((len(_TUBE_JOINTS), TUBE_RINGS, TUBE_ANGLES))
    weights[0] = spine[:, None]
    weights[1] = ((1 - spine) * (1 - thigh))[:, None]
    for first, share in ((2, left), (4, 1 - left)):
        weights[first] = (thigh * (1 - shank))[:, None] * share
        weights[first + 1] = (thigh * shank)[:, None] * share
    weights = Weights.of(weights.reshape(len(weights), -1).T)
    motions = rotations[None, _TUBE_JOINTS], translations[None, _TUBE_JOINTS]
    hung = linear_blend_skinning(points.reshape(1, -1, 3), weights, *motions)
    return hung.reshape(points.shape)


# what moves a tube: the trunk, and each side's thigh and shank
_TUBE_JOINTS = [
    J[name] for name in ("spine1", "pelvis", "left_hip", "left_knee", "right_hip", "right_knee")
]


def wear(measured, outfit, points, betas, rotations, translations, down, step=1):
    """One person, dressed.

    Args:
        measured: from `measure`.
        outfit: an `Outfit`.
        points: (V, 3) float32, the posed body's vertices that the measured keeps, metres.
        betas: (n,) the same person's shape.
        rotations, translations: of `joint_transforms`, of this person.
        down: (3,) unit vector towards the ground.
        step: of `dye`, larger where the person is small in the picture.

    Returns:
        list of `render.Mesh`; the first is the skin.
    """
    faces = measured.faces
    normals = np.empty_like(points)
    unit_normals(points, faces, normals)
    skin_tones = skin_colors(measured, **vars(outfit.skin))
    covered = np.zeros(len(points), bool)
    surface = points.copy()  # of what is worn so far
    worn = []
    down = np.asarray(down, np.float32)
    for garment in outfit.garments:
        if garment.kind == "tube":
            made = tube_piece(measured, *garment.shape)
            covered |= made.covered
            worn.append(_hang(measured, garment, made, betas, rotations, translations, step))
            continue
        made = piece(measured, garment.kind, *garment.shape)
        covered |= made.cut.covered
        worn.append(put_on(measured, garment, made, surface, normals, down, step))
    for extra in outfit.extras:
        worn.append(_extra(measured, extra, betas, rotations, translations))
    seen = np.empty_like(faces)
    seen = seen[: _uncovered(faces, covered, seen)]
    skin = Mesh.trusted(points, seen, skin_tones, normals=normals, gloss=0.25)
    return [skin, *worn]


@njit(nogil=True, cache=True)
def _uncovered(faces, covered, out):
    """Copy the faces that have a vertex in sight; returns how many there are."""
    count = 0
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        out[count, 0], out[count, 1], out[count, 2] = a, b, c
        count += not (covered[a] and covered[b] and covered[c])
    return count


def put_on(measured, garment, made, surface, normals, down, step=1):
    """Drape one piece over `surface`, which then includes it; see `wear`."""
    hang = Hang(
        *(np.float32(value) for value in (garment.ease, garment.growth)),
        *(np.float32(value) for value in (garment.wrinkle, garment.sag)),
        max(1, round(garment.smoothing * measured.smoothing)),
        garment.strands is not None,
        garment.kind == "shoes" or list(garment.shape[2:]) == [0],
    )
    noise = measured.noise[garment.noise % NOISES]
    vertices, smooth = drape(surface, normals, noise, made, hang, down)
    cloth = _cloth(garment, made.uv, made.shade, step)
    return Mesh.trusted(vertices, made.cut.split_faces, normals=smooth, **cloth)


def _cloth(garment, uv, shade, step):
    """Texture, relief and shade of a piece, as arguments of `Mesh.trusted`."""
    if garment.strands is not None:
        brightness, bump = strands(garment.strands)
        return {
            "uv": uv,
            "texture": tinted(brightness, 1, [garment.color], STRENGTHS),
            "bump": bump,
            "gloss": 0.15,
            "colors": shade,
        }
    return {
        "uv": uv,
        "texture": tinted(
            pattern(garment.pattern, garment.variant), step, garment.colors, BRIGHTNESS
        ),
        "bump": relief(garment.folds % 12, garment.fold_depth, max(2, step)),
        "gloss": garment.gloss,
        "colors": shade,
    }


def _hang(measured, garment, made, betas, rotations, translations, step):
    """Hang a skirt or the lower part of a dress or coat; see `wear`."""
    top, hem = garment.shape[:2]
    ring = drape_tube(
        measured,
        betas,
        rotations,
        translations,
        top,
        hem,
        garment.ease,
        garment.growth,
        garment.pleats,
        garment.phase,
    )
    points = ring[made.grid[:, 0], made.grid[:, 1]].astype(np.float32)
    shade = np.repeat((1 - 0.25 * made.grid[:, :1] / TUBE_RINGS).astype(np.float32), 3, 1)
    cloth = _cloth(garment, made.uv, shade, step)
    return Mesh.trusted(points, made.faces, two_sided=True, **cloth)


def _extra(measured, extra, betas, rotations, translations):
    """What sits rigidly on the head: "bun", "ponytail", or a hat's "brim" (reach, span, tilt)."""
    kind = extra.kind
    if kind == "brim":
        points, faces = _brim(extra.reach, extra.span, extra.level, extra.tilt)
    else:
        points, faces = _ball()
        size, at = {
            "bun": ((0.20, 0.20, 0.20), (0.0, 0.28, -0.52)),
            "ponytail": ((0.13, 0.62, 0.15), (0.0, -0.22, -0.62)),
        }[kind]
        points = points * size * extra.size + at
    center = (measured.vertices - measured.head * measured.face)[0]
    rest = points * measured.face + center + measured.skull_shape[:, : len(betas)] @ betas
    placed = rest @ rotations[J["head"]].T + translations[J["head"]]
    return Mesh(placed, faces, extra.color, gloss=0.2, two_sided=kind == "brim")


@lru_cache(maxsize=1)
def _ball(rows=9, columns=14):
    """A unit sphere: (N, 3) points and (F, 3) faces."""
    i, j = np.meshgrid(np.linspace(0, np.pi, rows), np.arange(columns + 1), indexing="ij")
    turn = 2 * np.pi * j / columns
    points = np.stack([np.sin(i) * np.sin(turn), np.cos(i), np.sin(i) * np.cos(turn)], -1)
    return points.reshape(-1, 3), _grid_faces(rows, columns + 1)


def _grid_faces(rows, columns):
    number = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:]
    faces = np.stack([a, c, d, a, d, b], -1).reshape(-1, 3)
    return np.ascontiguousarray(faces, np.uint32)


def _brim(reach, span, level, tilt):
    """A hat's brim, in head heights: `span` degrees to each side of the front."""
    turn = np.radians(np.linspace(-span, span, 25))
    out = np.linspace(0, 1, 3)[:, None]
    ahead = reach * (np.cos(turn) ** 2 if span < 120 else np.ones_like(turn))
    x = np.sin(turn) * (0.38 + ahead * out * (0.4 if span < 120 else 1))
    z = np.cos(turn) * (0.46 + ahead * out) + 0.02
    y = level + tilt * z - 0.10 * out * ahead * 2
    return np.stack([x, y, z], -1).reshape(-1, 3), _grid_faces(3, 25)
