"""Clothes, hair and skin for a body: geometry with a shape of its own, and what is printed on it.

Nothing here knows a vertex number. `measure` reads a body once: how far along the arm or the leg
each vertex lies, how high, where the face is. A garment is then a *signed field* on the mean body,
positive where the cloth is: `min(hem, neckline, cuffs)`. `cut` slices the mesh exactly along the
field's zero, and `drape` hangs the piece on a posed body: smoothed across hollows, held off the
skin, looser the further it is from its seams, sagging towards the ground. Skirts and coats below
the waist bridge the legs, so they are tubes around both (`measure_tube`), skinned to the hips.
`wear` dresses one person by a recipe.

Large products are summed up by einsum, which unlike BLAS does it alike on every processor, by any
number of threads.

Frame: metres, y up, the body faces +z and its left is +x. V = vertices of the body.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage, sparse

from hmrlib.body.keypoints import landmark_vertices
from hmrlib.render import ambient_occlusion
from hmrlib.render.rasterizer import flat, vertex_normals
from hmrlib.render.scene import Mesh, Mipmap, mipmap, mipmap_levels
from hmrlib.render.shading import halve_picture
from hmrlib.skeleton import JOINT_NAMES

TEXTURE = 256  # pixels of a cloth's picture, which covers one metre by one metre
SHADES = 32  # brightness steps of each colour in a cloth's palette
RIM = 0.0005  # metres: a hem's inner edge ends this far from the skin
NOISES = 24  # smooth random fields on the mean body, to wrinkle and to blotch
TUBE_ANGLES, TUBE_RINGS = 40, 14
J = {name: i for i, name in enumerate(JOINT_NAMES)}


@dataclass(frozen=True, eq=False)
class Tailor:
    """What `measure` found on the mean body; lengths in metres, one value a vertex unless said.

    Attributes:
        body: the `Body`.
        kept: (V,) which of the body's vertices these are; all, unless it was made coarser.
        faces: (F, 3) uint32, of the kept vertices.
        vertices: (V, 3) the mean body in its rest pose; joints: (24, 3).
        height: above the hip joints; torso: the shoulders' height above them, one number.
        arm: how far beyond the shoulder joint, along the arm; negative in the trunk.
        leg: how far below the hip joint, along the leg.
        limb: 0 trunk and head, 1 left arm, 2 right arm, 3 left leg, 4 right leg.
        turn: (5, V) angle around the axis of each limb, radians, 0 in front (arms: above).
        girth: (5,) circumference of each limb.
        head: (V, 3) position relative to the head's centre, in head heights.
        face: the head's height in metres, one number; eyes: (2, 3) as `head`; nose: (3,).
        open: how much of the sky a vertex of the mean body sees, 0 to 1.
        noise: (NOISES, V) smooth, about standard normal.
        tube: (TUBE_RINGS, TUBE_ANGLES, 3) what lies furthest out there; see `measure_tube`.
        tube_shape, skull_shape: (TUBE_RINGS, TUBE_ANGLES, 3, S), (3, S) how betas move them.
        smoothing: part of the rounds of smoothing that are as much as all on the whole body.
    """

    body: object
    kept: np.ndarray
    faces: np.ndarray
    vertices: np.ndarray
    joints: np.ndarray
    height: np.ndarray
    torso: float
    arm: np.ndarray
    leg: np.ndarray
    limb: np.ndarray
    turn: np.ndarray
    girth: np.ndarray
    head: np.ndarray
    face: float
    eyes: np.ndarray
    nose: np.ndarray
    open: np.ndarray
    noise: np.ndarray
    tube: np.ndarray
    tube_shape: np.ndarray
    skull_shape: np.ndarray
    smoothing: float = 1.0


def measure(body):
    """Read a body's landmarks from its template and weights.

    Args:
        body: a `hmrlib.body.model.Body`, at rest with its arms out to the sides.

    Returns:
        `Tailor`.
    """
    v, weights = body.v_template.astype(np.float64), body.weights
    joints = np.asarray(body.J_regressor @ v)
    hips = (joints[J["left_hip"], 1] + joints[J["right_hip"], 1]) / 2
    shoulders = (joints[J["left_shoulder"], 1] + joints[J["right_shoulder"], 1]) / 2
    height = v[:, 1] - hips

    def share(*names):
        return weights[:, [J[name] for name in names]].sum(1)

    arm, leg = np.full(len(v), -np.inf), np.full(len(v), -np.inf)
    limb, turn = np.zeros(len(v), int), np.zeros((5, len(v)))
    girth = np.zeros(5)
    trunk_center = np.array([0.0, 0.0, joints[[J["spine1"], J["spine2"], J["spine3"]], 2].mean()])
    is_trunk = share("pelvis", "spine1", "spine2", "spine3") > 0.5
    trunk_radius = np.hypot(v[is_trunk, 0], v[is_trunk, 2] - trunk_center[2]).mean()
    turn[0] = np.arctan2(v[:, 0], v[:, 2] - trunk_center[2])
    girth[0] = 2 * np.pi * trunk_radius
    for side, sign in (("left", 1), ("right", -1)):
        start, end = joints[J[f"{side}_shoulder"]], joints[J[f"{side}_wrist"]]
        axis = (end - start) / np.linalg.norm(end - start)
        along = np.einsum("vc,c->v", v - start, axis)
        own = v[:, 0] * sign >= 0
        arm[own] = along[own]
        belongs = share(f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist", f"{side}_hand") > 0.5
        off = v - start - along[:, None] * axis
        radius = np.linalg.norm(off[belongs], axis=1).mean()
        number = 1 if sign > 0 else 2
        limb[belongs] = number
        turn[number] = np.arctan2(off[:, 2], off[:, 1])
        girth[number] = 2 * np.pi * radius

        start, end = joints[J[f"{side}_hip"]], joints[J[f"{side}_ankle"]]
        axis = (end - start) / np.linalg.norm(end - start)
        along = np.einsum("vc,c->v", v - start, axis)
        leg[own] = along[own]
        belongs = share(f"{side}_hip", f"{side}_knee", f"{side}_ankle", f"{side}_foot") > 0.5
        off = v - start - along[:, None] * axis
        radius = np.linalg.norm(off[belongs & (along < 0.85)], axis=1).mean()
        number = 3 if sign > 0 else 4
        limb[belongs] = number
        turn[number] = np.arctan2(off[:, 0], off[:, 2])
        girth[number] = 2 * np.pi * radius

    marks = landmark_vertices(body.v_template, weights)
    skull = v[share("head") > 0.5]
    face = np.ptp(skull[:, 1])
    center = np.array([0.0, skull[:, 1].min() + 0.55 * face, (skull.min(0) + skull.max(0))[2] / 2])
    head = (v - center) / face
    rng = np.random.default_rng(0)
    noise = np.empty((NOISES, len(v)))
    for i in range(NOISES):  # sums of plane waves, 8 to 40 cm long
        waves = rng.normal(size=(24, 3)) * rng.uniform(15, 80, (24, 1)) / np.sqrt(3)
        phases = np.einsum("vc,wc->vw", v, waves) + rng.uniform(0, 2 * np.pi, 24)
        noise[i] = np.cos(phases).sum(1) / np.sqrt(12)
    tube = measure_tube(v, height, arm)
    return Tailor(
        body=body,
        kept=np.arange(len(v)),
        faces=np.ascontiguousarray(body.faces, np.uint32),
        vertices=v,
        joints=joints,
        height=height,
        torso=float(shoulders - hips),
        arm=arm,
        leg=leg,
        limb=limb,
        turn=turn,
        girth=girth,
        head=head,
        face=float(face),
        eyes=head[marks[2:4]],
        nose=head[marks[1]],
        open=np.minimum(ambient_occlusion(body.v_template, body.faces), 1),
        noise=noise.astype(np.float32),
        tube=v[tube],
        tube_shape=body.shapedirs[tube],
        skull_shape=body.shapedirs[head[:, 1] > -0.2].mean(0),
    )


def coarsen(tailor, count):
    """The same measures at `count` of the body's vertices, for people who are small in a picture.

    Edges are collapsed as when the body was made, so that the shape stays with few, and the head
    keeps more of them than its size would give it.

    Args:
        tailor: from `measure`.

    Returns:
        `Tailor`.

    Raises:
        ValueError: the body cannot do with so few.
    """
    from hmrlib.learn.mesh import Surface, decimate

    whole = Surface(
        sparse.eye_array(len(tailor.vertices), format="csr"),
        tailor.faces.astype(np.int64),
        np.zeros(len(tailor.vertices), bool),
    )
    wanted = np.where(tailor.head[:, 1] > -0.55, 1.0, 2.0)  # only their proportion matters
    # counted twice, as `decimate` takes a surface for a half
    coarse = decimate(whole, tailor.vertices[None], wanted, 2 * count)
    rows = coarse.select.indices
    return replace(
        tailor,
        kept=tailor.kept[rows],
        faces=coarse.faces.astype(np.uint32),
        noise=np.ascontiguousarray(tailor.noise[:, rows]),
        turn=tailor.turn[:, rows],
        smoothing=tailor.smoothing * len(coarse.faces) / len(tailor.faces),
        **{
            name: getattr(tailor, name)[rows]
            for name in ("vertices", "height", "arm", "leg", "limb", "head", "open")
        },
    )


# --- cutting --------------------------------------------------------------------------------


class Cut(NamedTuple):
    """A piece cut out of the body's mesh. W welded vertices; U vertices, split at texture seams.

    Attributes:
        ends: (W, 2) the two body vertices between which a welded vertex lies; share: (W,) of the
            second.
        faces: (F, 3) of the welded vertices, rim included.
        split: (U,) the welded vertex of each; split_faces: (F, 3); uv: (U, 2) metres.
        rim: (W,) true for the inner edge of a hem.
        first, near: compressed rows: `near[first[i]:first[i + 1]]` are vertex i's neighbours.
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
    first: np.ndarray
    near: np.ndarray
    depth: np.ndarray
    covered: np.ndarray
    whole: int
    beyond: np.ndarray


def cut(tailor, field, hidden_from=0.03):
    """Slice the body's mesh along the zero of a field, as marching triangles do.

    Args:
        tailor: from `measure`.
        field: (V,) positive where the cloth is, metres.
        hidden_from: body vertices deeper in the cloth than this are counted as covered.

    Returns:
        `Cut`.

    Raises:
        ValueError: the field is positive nowhere: no cloth is left.
    """
    faces = tailor.faces.astype(np.int64)
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
    first = np.searchsorted(pairs[:, 0], np.arange(len(ends) + 1))
    welded, owner = np.concatenate([welded, rim_faces]), np.concatenate([owner, rim_owner])
    split, split_faces, uv = _unroll(tailor, ends, share, welded, faces[owner])
    return Cut(
        ends.astype(np.uint32),
        share.astype(np.float32),
        np.ascontiguousarray(welded, np.uint32),
        split.astype(np.uint32),
        np.ascontiguousarray(split_faces, np.uint32),
        uv.astype(np.float32),
        rim,
        first.astype(np.uint32),
        pairs[:, 1].astype(np.uint32),
        depth.astype(np.float32),
        field > hidden_from,
        len(kept),
        np.where(f0 > 0, unique[:, 1], unique[:, 0]).astype(np.uint32),
    )


def _unroll(tailor, ends, share, faces, of_body):
    """Texture coordinates: each limb is unrolled by itself, and cut open where it closes."""
    limb = np.sort(tailor.limb[of_body], 1)[:, 1]  # of most of its corners

    def blend(values):
        low, high = values[ends[:, 0]], values[ends[:, 1]]
        return low * (1 - share) + high * share

    girth = tailor.girth[limb][:, None]
    # around a limb by its angle: blend as a point on the circle, so that no blend crosses the cut
    phase = [np.arctan2(blend(np.sin(turn)), blend(np.cos(turn))) for turn in tailor.turn]
    phase = np.stack(phase)[limb[:, None], faces] / (2 * np.pi)  # (F, 3)
    phase = np.where(np.ptp(phase, axis=1)[:, None] > 0.5, phase % 1, phase)
    u = phase * girth
    torso, hips = tailor.torso, blend(tailor.height)
    arm = blend(tailor.arm)
    is_arm = ((limb == 1) | (limb == 2))[:, None]
    v = np.where(is_arm, torso - arm[faces], hips[faces])
    u = np.where(is_arm, u + 0.25, u)  # sleeves take the picture's side, where nothing is printed
    key = (faces.astype(np.int64) * 5 + limb[:, None]) * 1000 + np.round(u * 50).astype(int) + 500
    _, index, inverse = np.unique(key, return_index=True, return_inverse=True)
    uv = np.stack([u.ravel(), v.ravel()], 1)[index]
    return faces.ravel()[index], inverse.reshape(-1, 3), uv


# --- draping --------------------------------------------------------------------------------


@njit(nogil=True, cache=True, error_model="numpy")
def unit_normals(vertices, faces, normals):
    """Vertex normals of unit length: sums of the faces' normals, weighted by area."""
    vertex_normals(vertices, faces, np.empty(0, np.uint32), normals)
    row = flat(normals)
    for v in range(normals.shape[0]):
        x, y, z = row[3 * v], row[3 * v + 1], row[3 * v + 2]
        scale = np.float32(1) / np.sqrt(x * x + y * y + z * z + np.float32(1e-20))
        row[3 * v], row[3 * v + 1], row[3 * v + 2] = x * scale, y * scale, z * scale


@njit(nogil=True, cache=True, error_model="numpy")
def drape(surface, normals, cut, piece, noise, hang, hair, tight, down, smoothing):
    """Hang a cut piece on a posed body.

    Args:
        surface: (V, 3) of the posed body and what it wears so far; the piece is added to it.
        normals: (V, 3) of the body, of unit length.
        cut: ends, share, faces, split, first, near, rim, whole, beyond of a `Cut`.
        piece: fall, taper of a `Piece`.
        noise: (V,), see `Tailor`.
        hang: metres that the cloth wants to stand off, metres more a metre of fall, height of its
            wrinkles in metres, and metres that it hangs lower where it faces down.
        hair: it grows out of the skin, whereas cloth ends in an edge.
        tight: what is under it, toes or ears, must not show: it is drawn straight, then blown up.
        down: (3,) unit vector.
        smoothing: rounds in which the cloth draws straight over hollows.

    Returns:
        vertices (U, 3) and unit normals (U, 3), split at the seams of the texture.
    """
    ends, share, faces, split, first, near, rim, whole, beyond = cut
    fall, taper = piece
    count = ends.shape[0]
    base = np.zeros((count, 4), np.float32)  # by fours, as the processor takes them
    normal = np.empty((count, 3), np.float32)
    off = np.empty(count, np.float32)
    zero, one, keep = np.float32(0), np.float32(1), np.float32(0.1)
    ease, growth, wrinkle, sag = hang
    least = np.float32(0.0008 if hair else 0.004)
    for i in range(count):
        a, b, s = ends[i, 0], ends[i, 1], share[i]
        r = one - s
        for k in range(3):
            base[i, k] = surface[a, k] * r + surface[b, k] * s
            normal[i, k] = normals[a, k] * r + normals[b, k] * s
        x, y, z = normal[i, 0], normal[i, 1], normal[i, 2]
        length = one / np.sqrt(x * x + y * y + z * z + np.float32(1e-12))
        normal[i, 0], normal[i, 1], normal[i, 2] = x * length, y * length, z * length
        bump = wrinkle * noise[a] * (np.float32(0.35) + min(3 * fall[i], one))
        off[i] = ease + growth * fall[i] + bump
        if hair:
            off[i] = least + off[i] * taper[i]
    out, other = base.copy(), base.copy()
    for _ in range(smoothing):
        for i in range(count):
            begin, end = first[i], first[i + 1]
            if begin == end:
                continue
            x, y, z, w = zero, zero, zero, zero
            for j in range(begin, end):
                n = near[j]
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
        lower = sag * min(4 * fall[i], one) * max(x * down[0] + y * down[1] + z * down[2], zero)
        move = zero
        if not tight:
            stands = (
                (out[i, 0] - base[i, 0]) * x
                + (out[i, 1] - base[i, 1]) * y
                + (out[i, 2] - base[i, 2]) * z
            )
            move = max(stands + off[i], least) - stands
        for k in range(3):
            out[i, k] += move * normal[i, k] + lower * down[k]
    unit_normals(out, faces, normal)
    if tight:
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


# --- what the garments are ------------------------------------------------------------------


def upper_field(tailor, hem, sleeve, neck, opening=0.0):
    """Shirts, sweaters, jackets: (V,) positive inside.

    Args:
        hem: height of the lower edge above the hip joints.
        sleeve: length beyond the shoulder joint; below zero the armhole cuts into the trunk.
        neck: radius of the neckline, metres; below 0.06 a collar climbs up the neck.
        opening: half the width of an open front, metres.
    """
    v, joints = tailor.vertices, tailor.joints
    center = joints[J["neck"]] + [0, -0.012, 0.012]
    off = (v - center) / [1.0, 1.25, 1.15]
    climb = max(0.06 - neck, 0) * 3
    off[:, 1] = np.minimum(off[:, 1] - climb, 0)
    neckline = np.linalg.norm(off, axis=1) - max(neck, 0.06)
    neckline = np.minimum(neckline, center[1] + 0.035 + climb - v[:, 1])
    if climb:
        neckline = center[1] + climb - v[:, 1] + 0.4 * (center[2] - v[:, 2])
    field = np.minimum(neckline, tailor.height - hem)
    field = np.minimum(field, sleeve - tailor.arm)
    if opening:
        front = np.where(v[:, 2] > tailor.joints[J["spine2"], 2], np.abs(v[:, 0]) - opening, np.inf)
        field = np.minimum(field, front)
    return field


def lower_field(tailor, waist, leg):
    """Trousers and shorts: `waist` above the hip joints, `leg` below them."""
    field = np.minimum(waist - tailor.height, leg - tailor.leg)
    return np.where((tailor.limb == 1) | (tailor.limb == 2), -0.1, field)


def briefs_field(tailor, waist):
    """Briefs: what lies above two slanting leg holes."""
    slant = tailor.height + 0.03 - 0.55 * np.abs(tailor.vertices[:, 0]) + 0.03
    field = np.minimum(waist - tailor.height, slant + 0.05)
    return np.where((tailor.limb == 1) | (tailor.limb == 2), -0.1, field)


def shoe_field(tailor, collar):
    """Shoes and socks: what lies lower than `collar` metres above the ankle joints."""
    ankle = tailor.joints[[J["left_ankle"], J["right_ankle"]], 1].mean()
    return collar - (tailor.vertices[:, 1] - ankle)


def hair_field(tailor, hairline, nape, ears=True):
    """Hair: all of the head that is not face.

    Args:
        hairline: angle of the face's cone, degrees: 50 grows low, 75 recedes.
        nape: how far down the hair goes behind, head heights below the head's centre.
        ears: leave the ears free.
    """
    off = tailor.head
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
    return field * tailor.face


def beard_field(tailor, top):
    """A beard: the chin and the cheeks below `top`, head heights, mouth left free."""
    off = tailor.head
    mouth = np.hypot(off[:, 0] / 0.10, (off[:, 1] - tailor.nose[1] + 0.15) / 0.035) - 1
    field = np.minimum(top - off[:, 1], off[:, 2] - 0.02)
    field = np.minimum(field, off[:, 1] + 0.56)
    return np.minimum(field, 0.05 * mouth) * tailor.face


def cap_field(tailor, level, tilt):
    """Caps: the head above a plane at `level` head heights that rises by `tilt` forwards."""
    off = tailor.head
    return (off[:, 1] - level - tilt * off[:, 2]) * tailor.face


def measure_tube(vertices, height, arm):
    """Which vertices of the mean body lie furthest out, seen from its axis, ring by ring.

    Rings run from the waist down to the ankles.

    Returns:
        (TUBE_RINGS, TUBE_ANGLES) vertex indices.
    """
    top, bottom = 0.16, height.min() + 0.07
    angles = np.arange(TUBE_ANGLES) * (2 * np.pi / TUBE_ANGLES)
    outward = np.stack([np.sin(angles), np.zeros_like(angles), np.cos(angles)], 1)
    index = np.empty((TUBE_RINGS, TUBE_ANGLES), int)
    for i, level in enumerate(np.linspace(top, bottom, TUBE_RINGS)):
        band = np.flatnonzero((np.abs(height - level) < 0.05) & (arm < 0.02))
        reach = np.einsum("vc,ac->va", vertices[band], outward)
        index[i] = band[reach.round(9).argmax(0)]  # of two as far out, the first
    return index


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
def tube_piece(tailor, top, hem, opening=0.0):
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
    uv = np.stack([(turn - (turn > 0.5)) * 0 + turn * tailor.girth[0], height], -1).reshape(-1, 2)
    grid = np.stack([i, j % angles], -1).reshape(-1, 2)
    deep = (tailor.height < top - 0.03) & (tailor.height > hem + 0.06) & (tailor.arm < 0.0)
    return Tube(
        np.ascontiguousarray(faces, np.uint32), uv.astype(np.float32), grid.astype(np.int32), deep
    )


def drape_tube(tailor, betas, rotations, translations, top, hem, ease, flare, pleats, phase):
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
    full_top, full_bottom = 0.16, tailor.height.min() + 0.07
    levels = np.linspace(top, hem, TUBE_RINGS)
    place = np.clip((full_top - levels) / (full_top - full_bottom), 0, 1) * (TUBE_RINGS - 1)
    low = np.minimum(place.astype(int), TUBE_RINGS - 2)
    rest = tailor.tube + tailor.tube_shape[..., : len(betas)] @ betas
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

    hips, knees = tailor.joints[J["left_hip"], 1], tailor.joints[J["left_knee"], 1]
    y = levels + hips
    thigh = _smoothstep((hips + 0.03 - y) / 0.14)
    shank = 0.5 * _smoothstep((knees - y) / 0.15 + 0.5)
    spine = _smoothstep((y - hips - 0.10) / 0.12)
    left = _smoothstep(points[..., 0] / 0.22 + 0.5)
    weights = np.empty((len(_TUBE_JOINTS), TUBE_RINGS, TUBE_ANGLES))
    weights[0] = spine[:, None]
    weights[1] = ((1 - spine) * (1 - thigh))[:, None]
    for first, share in ((2, left), (4, 1 - left)):
        weights[first] = (thigh * (1 - shank))[:, None] * share
        weights[first + 1] = (thigh * shank)[:, None] * share
    return skin(points, weights, rotations[_TUBE_JOINTS], translations[_TUBE_JOINTS])


# what moves a tube: the trunk, and each side's thigh and shank
_TUBE_JOINTS = [
    J[name] for name in ("spine1", "pelvis", "left_hip", "left_knee", "right_hip", "right_knee")
]


def skin(points, weights, rotations, translations):
    """Linear blend skinning of rest points (..., 3) by n joints' weights (n, ...)."""
    blend = np.tensordot(weights, rotations, (0, 0))  # (..., 3, 3)
    shift = np.tensordot(weights, translations, (0, 0))
    return np.einsum("...ij,...j->...i", blend, points) + shift


def joint_transforms(turns, rest, parents):
    """Joints of posed bodies, and the way from rest to the pose (SMPL, eq. 3 and 4), in NumPy.

    Args:
        turns: (B, 24, 3, 3) of the pose; rest: (B, 24, 3) joints; parents: 24 numbers.

    Returns:
        joints (B, 24, 3), rotations (B, 24, 3, 3), translations (B, 24, 3).
    """
    world, joints = turns.copy(), rest.copy()
    for joint, parent in enumerate(parents):
        if parent >= 0:
            world[:, joint] = world[:, parent] @ turns[:, joint]
            bone = rest[:, joint] - rest[:, parent]
            joints[:, joint] = joints[:, parent] + (world[:, parent] @ bone[..., None])[..., 0]
    return joints, world, joints - (world @ rest[..., None])[..., 0]


def _smoothstep(x):
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


# --- what is printed on them ----------------------------------------------------------------

PATTERNS = (
    *("plain", "melange", "denim", "knit", "stripes", "bars", "pinstripe", "check", "gingham"),
    *("dots", "blossom", "camouflage", "block", "print", "number", "shirt", "zip"),
)


def tile_noise(shape, slope, seed, across=1.0):
    """Noise that tiles, with a spectrum 1 / f^slope: (H, W), mean 0, deviation 1.

    Args:
        across: stretches it: 0.3 makes features long from top to bottom.
    """
    rng = np.random.default_rng(seed)
    fy = np.fft.fftfreq(shape[0])[:, None] * shape[0]
    fx = np.fft.rfftfreq(shape[1])[None] * shape[1] * across
    size = np.maximum(np.hypot(fx, fy), 1e-9)
    spectrum = size**-slope * np.exp(2j * np.pi * rng.random((shape[0], shape[1] // 2 + 1)))
    spectrum *= rng.rayleigh(size=spectrum.shape)
    spectrum[0, 0] = 0
    image = np.fft.irfft2(spectrum, shape)
    return image / image.std()


@lru_cache(maxsize=256)
def pattern(kind, variant):
    """A cloth's picture before it has colours: (TEXTURE, TEXTURE) uint8.

    The number is 32 times the colour's place in the palette (0 to 7), plus a shade (0 to 31, 16 is
    the colour itself). Rows go up the body, columns around it.

    Args:
        kind: one of `PATTERNS`.
        variant: any whole number; other sizes, other prints.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in PATTERNS:
        raise ValueError(f"unknown pattern {kind!r}; known are {', '.join(PATTERNS)}")
    rng = np.random.default_rng([variant, PATTERNS.index(kind)])
    n = TEXTURE
    y, x = np.mgrid[0:n, 0:n] / n  # metres
    region = np.zeros((n, n), int)
    shade = 1.6 * tile_noise((n, n), 1.6, rng) + 0.7 * rng.normal(size=(n, n))

    def often(low, high):  # a whole number of repeats, so that it tiles
        return int(rng.integers(low, high))

    if kind == "melange":
        shade += 2.2 * rng.normal(size=(n, n)) + 2 * tile_noise((n, n), 0.5, rng, 0.2)
    elif kind == "denim":
        shade += 1.6 * tile_noise((n, n), 0.3, rng, 0.15) + 3.5 * tile_noise((n, n), 2.2, rng)
        shade -= 5 * (np.abs((x * 4) % 1 - 0.5) > 0.49)
    elif kind == "knit":
        shade += 3 * np.sin(2 * np.pi * x * often(40, 64)) + rng.normal(size=(n, n))
    elif kind == "stripes":
        repeats = often(7, 34)
        region[(y * repeats) % 1 < rng.uniform(0.2, 0.6)] = 1
        if rng.random() < 0.3:
            region[((y * repeats + 0.5) % 1 < 0.12)] = 2
    elif kind == "bars":
        region[(x * often(8, 24)) % 1 < rng.uniform(0.3, 0.55)] = 1
    elif kind == "pinstripe":
        region[(x * often(28, 50)) % 1 < 0.16] = 1
    elif kind in ("check", "gingham"):
        repeats = often(6, 18) if kind == "check" else often(16, 40)
        wide = rng.uniform(0.3, 0.5)
        across, up = (x * repeats) % 1 < wide, (y * repeats) % 1 < wide
        region[:] = across.astype(int) + up
        if kind == "check":
            region[((x * repeats + 0.7) % 1 < 0.07) | ((y * repeats + 0.7) % 1 < 0.07)] = 3
    elif kind == "dots":
        repeats = often(14, 40)
        px, py = (x * repeats) % 1 - 0.5, (y * repeats) % 1 - 0.5
        region[np.hypot(px, py) < rng.uniform(0.18, 0.32)] = 1
    elif kind == "blossom":
        fine = tile_noise((n, n), rng.uniform(1.0, 1.5), rng)
        other = tile_noise((n, n), 1.2, rng)
        region[fine > 0.9] = 1
        region[(fine > 1.5) | (other > 1.6)] = 2
        region[other < -1.5] = 3
    elif kind == "camouflage":
        for i in range(1, 4):
            region[tile_noise((n, n), 1.7, rng) > 0.6] = i
    elif kind == "block":
        edge = rng.uniform(0.30, 0.42)
        region[(y > edge) & (y < 0.7)] = 1
        region[np.abs(y - edge) < rng.uniform(0.0, 0.02)] = 2
    elif kind == "print":
        _paste(region, _emblem(rng), rng.uniform(0.30, 0.36), 0.0, rng.uniform(0.12, 0.26))
        if rng.random() < 0.3:
            _paste(region, _emblem(rng), 0.33, 0.5, 0.28)
    elif kind == "number":
        number = str(rng.integers(1, 100))
        _paste(region, _lettering(number), 0.28, 0.0, 0.18)
        _paste(region, _lettering(number), 0.30, 0.5, 0.26)
        if rng.random() < 0.5:
            region[np.abs((x + 0.25) % 0.5 - 0.0) < 0.03] = 2
    elif kind in ("shirt", "zip"):
        middle = np.minimum(x, 1 - x)
        if kind == "shirt":
            shade -= 4 * (np.abs(middle - 0.017) < 0.004)
            shade += 10 * ((middle < 0.006) & ((y * 11) % 1 < 0.1))
            if rng.random() < 0.5:
                region[(x * often(20, 44)) % 1 < 0.2] = 1
        else:
            region[middle < 0.006] = 1
            shade -= 5 * (np.abs(middle - 0.01) < 0.004)
        pocket = (np.abs(np.abs((x + 0.5) % 1 - 0.5) - 0.10) < 0.05) & (np.abs(y - 0.02) < 0.004)
        shade -= 6 * pocket
    return (32 * region + np.clip(np.rint(16 + shade), 0, 31)).astype(np.uint8)


def _lettering(text):
    """Text as a mask, cropped to its ink."""
    font = ImageFont.load_default(96)
    image = Image.new("L", (96 * len(text) + 40, 160))
    ImageDraw.Draw(image).text((20, 20), text, 255, font=font)
    return np.asarray(image.crop(image.getbbox())) > 127


def _emblem(rng):
    """A made-up logo: a shape, or syllables, or both."""
    syllables = ("ka", "lo", "ri", "no", "va", "te", "su", "mo", "pe", "zu", "an", "or")
    word = "".join(rng.choice(syllables, rng.integers(1, 4))).upper()
    letters = _lettering(word)
    if rng.random() < 0.4:
        return letters
    size = letters.shape[1]
    image = Image.new("L", (size, size))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.integers(1, 4)):
        corners = [tuple(p) for p in rng.uniform(0, size, (rng.integers(3, 6), 2))]
        if rng.random() < 0.5:
            pen.polygon(corners, 255)
        else:
            pen.ellipse([*np.min(corners, 0), *np.max(corners, 0)], 0, 255, int(size / 9))
    if rng.random() < 0.5:
        return np.asarray(image) > 127
    return np.concatenate([np.asarray(image) > 127, np.zeros((size // 9, size), bool), letters])


def _paste(region, mask, up, around, width):
    """Put a mask into the picture of a cloth: centre `up`, `around`, and `width`, in metres."""
    columns = max(4, round(width * TEXTURE))
    rows = max(3, round(columns * mask.shape[0] / mask.shape[1]))
    image = Image.fromarray(mask).convert("L").resize((columns, rows), Image.Resampling.BOX)
    ink = np.asarray(image)[::-1] > 110  # the picture's rows go up
    i = (np.arange(rows) + round(up * TEXTURE) - rows // 2) % TEXTURE
    j = (np.arange(columns) + round(around * TEXTURE) - columns // 2) % TEXTURE
    region[np.ix_(i, j)] = np.where(ink, 1, region[np.ix_(i, j)])


def dye(kind, variant, colors, step=1):
    """A cloth's texture: (n, n, 3) uint8 sRGB, n = TEXTURE / step, one metre by one metre.

    Args:
        kind, variant: of `pattern`.
        colors: up to 8 sRGB colours (0 to 1); regions without one take the last.
        step: leave out pixels where the picture is seen from afar.
    """
    return (255 * _palette(colors)).astype(np.uint8)[pattern(kind, variant)[::step, ::step]]


def _palette(colors):
    """Colours (n, 3) and `SHADES` of each: (256, 3) sRGB, 0 to 1."""
    colors = np.array([*colors, *[colors[-1]] * (8 - len(colors))])  # (8, 3)
    return np.clip(colors[:, None] * _BRIGHTNESS[:, None], 0, 1).reshape(-1, 3)


_BRIGHTNESS = (1 + (np.arange(SHADES) - 16) * 0.022).astype(np.float32)


def _tinted(indices, step, colors, brightness):
    """A cloth's picture (n, n), every `step`th pixel, in colours (8 or fewer, 3): a `Mipmap`.

    brightness: (S,); number k of the picture is colour k // S, as bright as shade k % S.
    """
    side = len(indices) // step
    levels, size = mipmap_levels(side, side)
    texels = np.empty(size, np.uint32)
    _color_in(indices, step, np.asarray(colors, np.float32), brightness, texels, levels)
    return Mipmap(texels, levels)


@njit(nogil=True, cache=True)
def _color_in(indices, step, colors, brightness, texels, levels):
    table, full = np.empty(256, np.uint32), np.float32(255)
    for k in range(256):
        color = colors[min(k // brightness.shape[0], colors.shape[0] - 1)]
        texel = np.uint32(0)
        for c in range(3):
            value = color[c] * brightness[k % brightness.shape[0]] * full
            texel |= np.uint32(min(max(value, np.float32(0)), full)) << np.uint32(8 * c)
        table[k] = texel
    side = indices.shape[1] // step
    for i in range(side):
        for j in range(side):
            texels[i * side + j] = table[indices[i * step, j * step]]
    halve_picture(texels, levels)


@lru_cache(maxsize=16)
def folds(variant, step=1):
    """Folds of cloth as a height map, one metre by one metre: (n, n) about 0 to 1, tiles."""
    n = TEXTURE // step
    rng = np.random.default_rng([7, variant])
    total = np.zeros((n, n))
    for angle in rng.uniform(-0.9, 0.9, 3) + np.pi * (rng.random(3) < 0.25):
        fy, fx = np.fft.fftfreq(n)[:, None] * n, np.fft.rfftfreq(n)[None] * n
        along = np.cos(angle) * fx - np.sin(angle) * fy
        across = np.sin(angle) * fx + np.cos(angle) * fy
        band = np.exp(-(((np.hypot(along * 2.6, across) - 9) / 5) ** 2))
        spectrum = band * np.exp(2j * np.pi * rng.random(band.shape))
        ridge = np.fft.irfft2(spectrum, (n, n))
        ridge /= ridge.std()
        total += np.maximum(ridge, 0) ** 1.3 - 0.35 * np.abs(ridge)
    total = ndimage.gaussian_filter(total, n / 256, mode="wrap")
    low, high = np.percentile(total, [2, 98])
    return np.clip((total - low) / (high - low), -0.2, 1.2).astype(np.float32)


@lru_cache(maxsize=512)
def _relief(variant, depth, step):
    """`folds` as a bump map, `depth` metres deep."""
    return mipmap(np.float32(depth) * folds(variant, step))


@lru_cache(maxsize=8)
def strands(variant):
    """Hair: its brightness (64, 64) uint8, places in `_STRENGTHS`, tiles; and as a bump map."""
    noise = tile_noise((64, 64), 0.9, [3, variant], 0.12)
    brightness = np.clip(np.rint(128 * (1 + 0.22 * noise)), 0, 255).astype(np.uint8)
    return brightness, mipmap((0.0004 * noise).astype(np.float32))


_STRENGTHS = (np.arange(256) / 128).astype(np.float32)  # of a colour of hair


# --- skin -----------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def skin_masks(tailor):
    """Where the skin differs, (6, V) from 0 to 1: flush, lips, brows, white and iris of the eyes,
    beard; and how much light reaches it, (V, 3).
    """
    x, y, z = tailor.head.T
    front = _smoothstep((z - 0.15) / 0.1)
    nose = tailor.nose
    masks = {}
    mouth = ((x / 0.125) ** 2 + ((y - nose[1] + 0.165) / 0.042) ** 2) ** 0.5
    masks["lips"] = front * _smoothstep((1.1 - mouth) / 0.35)
    brows, white, iris = 0.0, 0.0, 0.0
    for eye in tailor.eyes:
        dx, dy = x - eye[0], y - eye[1]
        arch = 0.095 - 1.2 * (dx - np.sign(eye[0]) * 0.02) ** 2
        brows = brows + np.exp(-((dx / 0.095) ** 6) - ((dy - arch) / 0.022) ** 2)
        white = white + _smoothstep(1.4 - ((dx / 0.055) ** 2 + (dy / 0.020) ** 2))
        iris = iris + _smoothstep(1.6 - ((dx / 0.026) ** 2 + (dy / 0.024) ** 2))
    masks["brows"], masks["white"], masks["iris"] = front * brows, front * white, front * iris
    cheeks = np.exp(-(((np.abs(x) - 0.19) / 0.09) ** 2) - ((y - nose[1]) / 0.09) ** 2) * front
    tip = np.exp(-np.sum((tailor.head - nose) ** 2, 1) / 0.08**2)
    ears = _smoothstep((np.abs(x) - 0.31) / 0.04) * (np.abs(y) < 0.2)
    flush = cheeks + tip + 0.8 * ears
    for side in ("left", "right"):
        for name, size in (("knee", 0.07), ("elbow", 0.05), ("hand", 0.06), ("foot", 0.08)):
            off = tailor.vertices - tailor.joints[J[f"{side}_{name}"]]
            flush = flush + 0.6 * np.exp(-np.sum(off**2, 1) / size**2)
    masks["flush"] = np.clip(flush, 0, 1)
    masks["beard"] = (
        front
        * _smoothstep((nose[1] - 0.02 - y) / 0.06)
        * _smoothstep((0.33 - np.abs(x)) / 0.1)
        * (y > -0.62)
    )
    names = ("flush", "lips", "brows", "white", "iris", "beard")
    light = 0.62 + 0.38 * np.minimum(tailor.open, 1)[:, None] ** [0.7, 0.85, 0.9]  # red in hollows
    return (
        np.stack([np.clip(masks[name], 0, 1) for name in names]).astype(np.float32),
        light.astype(np.float32),
    )


# albedo of skin from the lightest to the darkest, sRGB
_SKIN = np.array(
    [
        (0.92, 0.76, 0.68),
        (0.86, 0.68, 0.57),
        (0.77, 0.58, 0.46),
        (0.64, 0.45, 0.34),
        (0.47, 0.32, 0.24),
        (0.33, 0.22, 0.17),
    ]
)


def skin_colors(tailor, tone, flush, iris, brows, lips, stubble, blotches):
    """The skin of the whole body: (V, 3) sRGB, 0 to 1, darker where little sky is seen.

    Args:
        tone: 0, the lightest skin, to 1, the darkest; flush: -1 to 1, paler or redder.
        iris, brows: sRGB colours; lips: 0 to 1, how much they differ; stubble: 0 to 1.
        blotches: index of a noise field.
    """
    at = tone * (len(_SKIN) - 1)
    low = min(int(at), len(_SKIN) - 2)
    base = _SKIN[low] + (at - low) * (_SKIN[low + 1] - _SKIN[low])
    base = base * [1 + 0.03 * flush, 1 - 0.02 * flush, 1 - 0.03 * flush]
    masks, openness = skin_masks(tailor)
    colors = np.empty((len(openness), 3), np.float32)
    _paint_skin(
        masks,
        openness,
        tailor.noise[blotches % NOISES],
        tailor.noise[(blotches + 7) % NOISES],
        np.array(
            [
                base,
                0.22 * (1 - 0.6 * tone) * np.array([0.25, -0.6, -0.5]),
                base * [0.86, 0.60, 0.60],
                np.asarray(brows),
                [0.80, 0.77, 0.74],
                iris,
                0.55 * np.asarray(brows) + 0.25 * base,
            ],
            np.float32,
        ),
        np.array([0, 0, 0.45 + 0.5 * lips, 0.75, 0.8, 0.9, stubble], np.float32),
        colors,
    )
    return colors


@njit(nogil=True, cache=True, error_model="numpy")
def _paint_skin(masks, openness, coarse, fine, palette, strength, colors):
    """Lay the marks over the skin, one after another; see `skin_colors`."""
    for v in range(colors.shape[0]):
        value = 1 + np.float32(0.02) * coarse[v] + np.float32(0.012) * fine[v]
        marked = masks[1:, v].max() > 0  # few are: the face's
        for k in range(3):
            color = palette[0, k] * value * (1 + masks[0, v] * palette[1, k])
            if marked:
                for m in range(1, 6):
                    row = m + 1
                    share = min(masks[m, v], np.float32(1)) * strength[row]
                    color += (palette[row, k] - color) * share
            colors[v, k] = min(max(color * openness[v, k], np.float32(0)), np.float32(1))


# --- dressing -------------------------------------------------------------------------------


class Piece(NamedTuple):
    """A `Cut` with its texture coordinates (U, 2), how far it falls, (W,) metres, how light it
    lies, (U, 3), and a taper, (W,): 0 at its edge, 1 from five centimetres on."""

    cut: Cut
    uv: np.ndarray
    fall: np.ndarray
    shade: np.ndarray
    taper: np.ndarray


@lru_cache(maxsize=1024)
def piece(tailor, kind, *shape):
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
    made = cut(tailor, fields[kind](tailor, *shape), 0.012 if kind == "shoes" else 0.03)
    if kind == "upper":
        is_arm = (tailor.limb == 1) | (tailor.limb == 2)
        fall = np.where(is_arm, tailor.arm, tailor.torso - 0.16 - tailor.height)
    elif kind == "lower":
        fall = tailor.leg
    elif kind == "hair":  # what hangs behind the neck
        fall = (-0.2 - tailor.head[:, 1]) * tailor.face
    else:
        fall = np.zeros(len(tailor.leg))
    fall = np.clip(fall, 0, 0.9)

    def blend(values):
        low, high = values[made.ends[:, 0]], values[made.ends[:, 1]]
        return (low * (1 - made.share) + high * made.share).astype(np.float32)

    rim = 0.85 if kind in ("hair", "beard") else 0.45
    shade = np.where(made.rim, rim, 0.72 + 0.28 * blend(tailor.open))[made.split]
    shade = np.repeat(shade.astype(np.float32)[:, None], 3, 1)
    taper = _smoothstep(made.depth / 0.05).astype(np.float32)
    return Piece(made, made.uv * (5 if kind in ("hair", "beard") else 1), blend(fall), shade, taper)


def wear(tailor, outfit, points, betas, rotations, translations, down, step=1):
    """One person, dressed.

    Args:
        tailor: from `measure`.
        outfit: the recipe, a dict of
            skin: arguments of `skin_colors`;
            garments: from the innermost to the outermost, dicts of kind and shape (see `piece`;
                "tube": top, hem, opening), ease and growth (metres off the skin, and more a
                metre of fall), sag, smoothing, wrinkle (metres), noise, folds (variant),
                fold_depth (metres), gloss, and pattern, variant, colors of `dye`;
                hair has color and strands instead of a pattern;
            extras: dicts of kind ("bun", "ponytail", "brim") and color, see `_extra`.
        points: (V, 3) float32, the posed body's vertices that the tailor keeps, metres.
        betas: (n,) the same person's shape.
        rotations, translations: of `joint_transforms`, of this person.
        down: (3,) unit vector towards the ground.
        step: of `dye`, larger where the person is small in the picture.

    Returns:
        list of `render.Mesh`; the first is the skin.
    """
    faces = tailor.faces
    normals = np.empty_like(points)
    unit_normals(points, faces, normals)
    skin_tones = skin_colors(tailor, **outfit["skin"])
    covered = np.zeros(len(points), bool)
    surface = points.copy()  # of what is worn so far
    worn = []
    down = np.asarray(down, np.float32)
    for garment in outfit["garments"]:
        if garment["kind"] == "tube":
            made = tube_piece(tailor, *garment["shape"])
            covered |= made.covered
            worn.append(_hang(tailor, garment, made, betas, rotations, translations, step))
            continue
        made = piece(tailor, garment["kind"], *garment["shape"])
        covered |= made.cut.covered
        worn.append(_put_on(tailor, garment, made, surface, normals, down, step))
    for extra in outfit.get("extras", ()):
        worn.append(_extra(tailor, extra, betas, rotations, translations))
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


def _put_on(tailor, garment, made, surface, normals, down, step):
    """Drape one piece over `surface`, which then includes it; see `wear`."""
    cut = made.cut
    hang = (garment["ease"], *(garment.get(name, 0.0) for name in ("growth", "wrinkle", "sag")))
    vertices, smooth = drape(
        surface,
        normals,
        (
            *(cut.ends, cut.share, cut.faces, cut.split, cut.first, cut.near),
            *(cut.rim, cut.whole, cut.beyond),
        ),
        (made.fall, made.taper),
        tailor.noise[garment.get("noise", 0) % NOISES],
        tuple(np.float32(value) for value in hang),
        "strands" in garment,
        garment["kind"] == "shoes" or garment["shape"][2:] == [0],
        down,
        max(1, round(garment.get("smoothing", 3) * tailor.smoothing)),
    )
    cloth = _cloth(garment, made.uv, made.shade, step)
    return Mesh.trusted(vertices, cut.split_faces, normals=smooth, **cloth)


def _cloth(garment, uv, shade, step):
    """Texture, relief and shade of a piece, as arguments of `Mesh.trusted`."""
    if "strands" in garment:
        brightness, bump = strands(garment["strands"])
        return {
            "uv": uv,
            "texture": _tinted(brightness, 1, [garment["color"]], _STRENGTHS),
            "bump": bump,
            "gloss": 0.15,
            "colors": shade,
        }
    return {
        "uv": uv,
        "texture": _tinted(
            pattern(garment["pattern"], garment["variant"]), step, garment["colors"], _BRIGHTNESS
        ),
        "bump": _relief(garment["folds"] % 12, garment["fold_depth"], max(2, step)),
        "gloss": garment.get("gloss", 0.0),
        "colors": shade,
    }


def _hang(tailor, garment, made, betas, rotations, translations, step):
    """Hang a skirt or the lower part of a dress or coat; see `wear`."""
    top, hem = garment["shape"][:2]
    ring = drape_tube(
        tailor,
        betas,
        rotations,
        translations,
        top,
        hem,
        garment["ease"],
        garment.get("growth", 0.1),
        garment.get("pleats", 7),
        garment.get("phase", 0.0),
    )
    points = ring[made.grid[:, 0], made.grid[:, 1]].astype(np.float32)
    shade = np.repeat((1 - 0.25 * made.grid[:, :1] / TUBE_RINGS).astype(np.float32), 3, 1)
    cloth = _cloth(garment, made.uv, shade, step)
    return Mesh.trusted(points, made.faces, two_sided=True, **cloth)


def _extra(tailor, extra, betas, rotations, translations):
    """What sits rigidly on the head: "bun", "ponytail", or a hat's "brim" (reach, span, tilt)."""
    kind = extra["kind"]
    if kind == "brim":
        points, faces = _brim(extra["reach"], extra["span"], extra["level"], extra["tilt"])
    else:
        points, faces = _ball()
        size, at = {
            "bun": ((0.20, 0.20, 0.20), (0.0, 0.28, -0.52)),
            "ponytail": ((0.13, 0.62, 0.15), (0.0, -0.22, -0.62)),
        }[kind]
        points = points * size * extra.get("size", 1.0) + at
    center = (tailor.vertices - tailor.head * tailor.face)[0]
    rest = points * tailor.face + center + tailor.skull_shape[:, : len(betas)] @ betas
    placed = rest @ rotations[J["head"]].T + translations[J["head"]]
    return Mesh(placed, faces, extra["color"], gloss=0.2, two_sided=kind == "brim")


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
