"""From MakeHuman's base mesh to the model's mesh: 6,890 vertices, 13,776 triangles.

Every step works on the left half of the body, with one border: the midline. What is done there
is mirrored at the end, so the result is symmetric by construction. The steps, in order:

1. `left_half`   keep the quads on the left of the midline;
2. `cut_pockets` remove the eye socket and the inside of the mouth, pockets behind an edge loop;
3. `refine`      halve the quads that are too long (calves), along a smooth curve;
4. `triangulate` split each quad along its better diagonal;
5. `cap_eye`, `cap_mouth` close the holes: the front of the eyeball, and a seam between the lips;
6. `decimate`    collapse edges by quadric error, flip edges, until the count is right;
7. `reflect_half` glue the half to its mirror image.

A `Surface` holds no coordinates but a sparse matrix: each of its vertices is a fixed weighted
mean of base vertices (nearly always just one of them). So the same mesh fits *every* MakeHuman
body, ``select @ base_vertices``, and MakeHuman's linear targets stay linear.

What is as good but for the last bits of a float must not be chosen by them, or the mesh would
depend on the processor. So what is compared is rounded (`DIGITS`), and of equals the first counts;
and rows whose order says nothing have one order (`canonical_faces`).

Lengths are in metres, the person's left is +x. ``n`` counts the vertices of a surface, ``K`` the
bodies that it is judged on, 19158 is the size of the base topology.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import pairwise

import numpy as np
from numba import njit
from scipy import sparse
from scipy.sparse import csgraph
from scipy.spatial import ConvexHull, cKDTree
from scipy.spatial.distance import cdist

NUM_VERTICES = 6890  # SMPL's own counts; a closed surface of genus 0 has F = 2V - 4
NUM_FACES = 13776

# An edge on each loop behind which a pocket begins. The base topology is fixed, so ids may be.
EYE_LOOP = (13352, 13353)  # 28 vertices, the inner rim of the left eyelids
MOUTH_LOOP = (418, 419)  # 38 vertices, where the lips meet

# The length of edge (m) that we would like, by the nearest joint cube. The last entry whose key
# begins the cube's name, "joint-" and the side left out, holds.
EDGE_LENGTH = {
    "": 0.025,
    "pelvis": 0.018,
    "upper-leg": 0.019,
    "shoulder": 0.020,
    "elbow": 0.017,
    "knee": 0.020,
    "ankle": 0.017,
    "foot": 0.014,
    "toe": 0.009,
    "hand": 0.012,
    "finger": 0.0078,
    "head": 0.012,
    "jaw": 0.0075,
    "mouth": 0.007,
    "tongue": 0.007,
    "eye": 0.007,
    "upperlid": 0.006,
    "lowerlid": 0.006,
}
EYELID_EDGE_LENGTH = 0.0016  # on the rim of the lids
LIP_EDGE_LENGTH = 0.0012  # where the lips meet
DETAIL = 2.5  # at most so many of MakeHuman's own edges, which are finest at ears and nostrils
GRADING = 0.15  # how much the wanted length may change in a metre along the surface
REFINE = 1.5  # strips of quads longer than this, in units of the wanted length, are halved
LONGEST = 1.8  # a collapse may not make an edge longer than this, in units of the wanted length

SPREAD = 0.01  # the cost of moving a vertex along the surface, beside moving it away from it
MAX_VALENCE = 9
MIN_QUALITY = 0.25  # of a triangle (see `triangle_quality`) that a collapse may leave
MIN_TURN = 0.5  # cosine of the angle by which a collapse may turn a triangle
FLIP_ROUNDS = 10
MIN_GAIN = 0.02  # in the worse triangle's quality, for an edge to be flipped
MAX_FOLD = 0.97  # cosine of the fold at an edge that may be flipped

DIGITS = 9  # decimals that lengths (m), costs and ratios are compared by


@dataclass(frozen=True)
class Surface:
    """A mesh on the base topology.

    Attributes:
        select: (n, 19158) sparse, rows sum to one; vertices are ``select @ base_vertices``.
        faces: (F, 3) or (F, 4) vertex ids, counter-clockwise seen from outside.
        border: (n,) bool, True on the midline.
    """

    select: sparse.csr_array
    faces: np.ndarray
    border: np.ndarray

    def positions(self, bodies: np.ndarray) -> np.ndarray:
        """The vertices (K, n, 3) of bodies (K, 19158, 3)."""
        return np.stack([self.select @ body for body in bodies])


@dataclass(frozen=True)
class Mesh:
    """The model's mesh.

    Vertices are numbered left half, midline, right half; the right half repeats the order of the
    left, and each block keeps the order of the base mesh.

    Attributes:
        select: (6890, 19158) sparse, rows sum to one; vertices are ``select @ base_vertices``.
        faces: (13776, 3) triangles, counter-clockwise seen from outside; closed, genus 0. The left
            half's first, ordered by `canonical_faces`, then their mirror images.
        mirror: (6890,) the vertex on the other side; midline vertices are their own.
    """

    select: sparse.csr_array
    faces: np.ndarray
    mirror: np.ndarray


def build_mesh(bodies, quads, groups, mirror) -> Mesh:
    """Make the model's mesh (see the module's text for the steps).

    Args:
        bodies: (K, 19158, 3) bodies that the mesh must suit, exactly symmetric, in one pose. A
            handful of different ones will do.
        quads: (13378, 4) faces of the base mesh's body.
        groups: name -> base vertices; the joint cubes and the left eyeball are used.
        mirror: (19158,) the base mesh's mirror.

    Raises:
        ValueError: the input is not MakeHuman's base mesh, or the count cannot be reached.
    """
    *_, (_, half) = build_half(bodies, quads, groups, mirror)
    return reflect_half(half, mirror)


def build_half(bodies, quads, groups, mirror) -> Iterator[tuple[str, Surface]]:
    """The left half of the mesh, step by step; arguments as for `build_mesh`.

    Yields:
        The step's name and the half after it. `reflect_half` makes a whole mesh of any of them.
    """
    half = left_half(bodies, quads, mirror)
    yield "half", half
    eye, mouth = edge_loop(quads, *EYE_LOOP), edge_loop(quads, *MOUTH_LOOP)
    half = cut_pockets(half, [eye, mouth])
    yield "cut", half
    half = refine(half, bodies, wanted_edge_lengths(half, bodies, groups, eye, mouth))
    yield "refined", half
    half = triangulate(half, bodies)
    half = cap_eye(half, bodies, eye, groups["helper-l-eye"])
    half = cap_mouth(half, bodies, mouth)
    yield "capped", half
    wanted = wanted_edge_lengths(half, bodies, groups, eye, mouth)
    yield "decimated", decimate(half, bodies, wanted, NUM_VERTICES)


def left_half(bodies, quads, mirror) -> Surface:
    """Keep the quads left of the midline, and the vertices they use."""
    x = bodies.mean(axis=0)[:, 0]
    midline = mirror == np.arange(len(mirror))
    if np.abs(bodies[:, midline, 0]).max() > 1e-6:
        raise ValueError(
            "Expected bodies whose midline lies at x = 0; the bodies are not symmetric."
        )
    select = sparse.eye_array(len(mirror), format="csr")
    left = x.round(DIGITS) > 0
    return _compact(select, quads[(left | midline)[quads].all(axis=1)], midline)


def edge_loop(quads, first, second) -> list[int]:
    """Walk straight on from the edge (first, second), across vertices of valence 4, to its start.

    At such a vertex the way straight on is the one neighbour that shares no quad with the edge
    one comes along.
    """
    loop = [first, second]
    while True:
        before, here = loop[-2:]
        around = quads[(quads == here).any(axis=1)]
        behind = around[(around == before).any(axis=1)]
        ahead = np.setdiff1d(around, behind)
        sides = {q[(np.flatnonzero(q == here)[0] + k) % 4] for q in around for k in (1, 3)}
        straight = sides.intersection(ahead.tolist())
        if len(around) != 4 or len(straight) != 1:
            raise ValueError(
                f"The edge loop from {first} ends at {here}: not MakeHuman's base mesh."
            )
        following = int(straight.pop())
        if following == first:
            return loop
        loop.append(following)


def cut_pockets(half: Surface, loops) -> Surface:
    """Cut along the loops (base vertices) and keep the largest piece."""
    rows = _rows_of(half)
    fence = {frozenset((rows.get(a), rows.get(b))) for loop in loops for a, b in _ring(loop)}
    pairs = [
        faces for edge, faces in _edges(half.faces).items() if len(faces) == 2 and edge not in fence
    ]
    a, b = np.array(pairs).T
    count = len(half.faces)
    graph = sparse.coo_array((np.ones(len(a)), (a, b)), shape=(count, count))
    _, piece = csgraph.connected_components(graph, directed=False)
    keep = piece == np.bincount(piece).argmax()
    return _compact(half.select, half.faces[keep], half.border)


def refine(half: Surface, bodies, wanted) -> Surface:
    """Halve, one after another, the strips of quads that are too long for the ``wanted`` edges.

    A strip runs through opposite sides of its quads; its rungs are those sides. (Around a calf a
    strip is a ring and its rungs point down the leg.) The new vertex on a rung lies on the curve
    through its four neighbours in line, p = 9/16 (a + b) - 1/16 (a' + b'): the four-point scheme
    of Dyn, Levin and Gregory, 1987.
    """
    while True:
        rungs, excess = _longest_strip(half, bodies, wanted)
        if excess < REFINE:
            return half
        half = _halve_strip(half, rungs)
        wanted = np.concatenate([wanted, wanted[rungs].mean(axis=1)])


def _longest_strip(half: Surface, bodies, wanted) -> tuple[np.ndarray, float]:
    """The rungs (R, 2) of the strip that is longest beside what is wanted, and how much so."""
    ends = np.stack([half.faces, np.roll(half.faces, -1, axis=1)], axis=-1)  # (F, 4, 2)
    ends, side, uses = np.unique(
        np.sort(ends.reshape(-1, 2), axis=1), axis=0, return_inverse=True, return_counts=True
    )
    opposite = side.reshape(-1, 2, 2).transpose(0, 2, 1).reshape(-1, 2)  # sides 0 and 2, 1 and 3
    graph = sparse.coo_array((np.ones(len(opposite)), opposite.T), shape=(len(ends), len(ends)))
    _, strip = csgraph.connected_components(graph, directed=False)
    crossing = strip[side.reshape(-1, 4)]
    crossing = crossing[crossing[:, 0] == crossing[:, 1], 0]
    at_a_hole = strip[(uses == 1) & ~half.border[ends].all(axis=1)]
    points = half.positions(bodies).mean(axis=0)
    length = np.linalg.norm(points[ends[:, 0]] - points[ends[:, 1]], axis=1)
    excess = np.bincount(strip, length / wanted[ends].mean(axis=1)) / np.bincount(strip)
    excess[np.concatenate([crossing, at_a_hole])] = 0  # these stay as they are
    excess = excess.round(DIGITS)
    return ends[strip == excess.argmax()], excess.max()


def _halve_strip(half: Surface, rungs) -> Surface:
    in_line, count = _in_line(half.faces), len(half.border)
    rows, new = [], {}
    for a, b in rungs.tolist():
        row = half.select[[a]] / 2 + half.select[[b]] / 2
        beyond = in_line.get((b, a)), in_line.get((a, b))
        if None not in beyond:
            outer = half.select[[beyond[0]]] + half.select[[beyond[1]]]
            row = 9 / 8 * row - outer / 16
        new[frozenset((a, b))] = count + len(rows)
        rows.append(row)
    faces = []
    for face in half.faces.tolist():
        turns = (face[k:] + face[:k] for k in (0, 1))
        a, b, c, d = next((t for t in turns if frozenset(t[:2]) in new), (None,) * 4)
        if a is None:
            faces.append(face)
        else:
            p, q = new[frozenset((a, b))], new[frozenset((c, d))]
            faces += [[a, p, q, d], [p, b, c, q]]
    select = sparse.vstack([half.select, *rows], format="csr")
    return Surface(
        select, np.array(faces), np.concatenate([half.border, half.border[rungs].all(axis=1)])
    )


def triangulate(half: Surface, bodies) -> Surface:
    """Split each quad along the diagonal that leaves the better worst triangle, over all bodies."""
    points = half.positions(bodies)
    a, b = half.faces[:, [0, 1, 2, 0, 2, 3]], half.faces[:, [0, 1, 3, 1, 2, 3]]
    worst = [
        triangle_quality(points, pair.reshape(-1, 3)).reshape(len(points), -1, 2).min(axis=(0, 2))
        for pair in (a, b)
    ]
    better = np.round(worst[0] - worst[1], DIGITS) >= 0
    faces = np.where(better[:, None], a, b).reshape(-1, 3)
    return Surface(half.select, faces, half.border)


def cap_eye(half: Surface, bodies, loop, eyeball) -> Surface:
    """Close the eye with the front of the eyeball.

    The rim's vertices are paired, upper lid to lower lid. Between the two of a pair run points
    2 mm apart that lie on the eyeball: the straight line from lid to lid, projected from the
    eyeball's centre onto its convex hull. Each is a weighted mean of three eyeball vertices.
    """
    points = half.positions(bodies).mean(axis=0)
    ball = bodies.mean(axis=0)[eyeball]
    hull = ConvexHull(ball)
    centre = (ball.min(axis=0) + ball.max(axis=0)) / 2
    rows = _rows_of(half)
    rim = [rows[v] for v in loop]
    count = len(rim) // 2
    turns = [np.roll(rim, -k) for k in range(count)]
    upper, lower = min(  # the way to fold the rim that brings both lids' x together
        ((turn[:count], turn[: count - 1 : -1]) for turn in turns),
        key=lambda fold: np.square(points[fold[0], 0] - points[fold[1], 0]).sum().round(DIGITS),
    )
    columns, extra = [], []
    for u, v in zip(upper, lower, strict=True):
        steps = int(round(np.linalg.norm(points[u] - points[v]) / 0.002 - 0.5, DIGITS))
        column = [u]
        for t in (np.arange(steps) + 0.5) / max(steps, 1):
            ray = (1 - t) * points[u] + t * points[v] - centre
            corners, weights = _exit_point(hull, ball, centre, ray)
            column.append(len(points) + len(extra))
            entries = (weights, ([0, 0, 0], eyeball[corners]))
            extra.append(sparse.coo_array(entries, shape=(1, half.select.shape[1])).tocsr())
        columns.append([*column, v])
    select = sparse.vstack([half.select, *extra], format="csr")
    border = np.concatenate([half.border, np.zeros(len(extra), dtype=bool)])
    return _add_strips(Surface(select, half.faces, border), bodies, columns)


def cap_mouth(half: Surface, bodies, loop) -> Surface:
    """Close the mouth with a strip of triangles from the upper to the lower lip."""
    points, rows = half.positions(bodies).mean(axis=0), _rows_of(half)
    lips = [rows.get(v) for v in loop]
    right = lips.index(None)  # the left of the loop is one run between two midline vertices
    run = [v for v in lips[right:] + lips[:right] if v is not None]
    corner = int(points[run, 0].round(DIGITS).argmax())
    return _add_strips(half, bodies, [run[corner::-1], run[corner:]])


def wanted_edge_lengths(half: Surface, bodies, groups, eye, mouth) -> np.ndarray:
    """(n,) the length of edge (m) wanted at each vertex.

    That of the nearest joint cube, or of the lids' rim or the seam of the lips; made to change
    gradually: at most by GRADING metres a metre along the surface.
    """
    body = bodies.mean(axis=0)
    names = [name for name in groups if re.match("joint-(?!ground|.*target)", name)]
    centres = np.array([body[groups[name]].mean(axis=0) for name in names])
    plain = [re.sub("joint-([lr]-)?", "", name) for name in names]
    by_joint = np.array(
        [
            [length for part, length in EDGE_LENGTH.items() if name.startswith(part)][-1]
            for name in plain
        ]
    )
    points = half.select @ body
    wanted = by_joint[cdist(points, centres).round(DIGITS).argmin(axis=1)]
    rows = _rows_of(half)
    wanted[[rows[v] for v in eye]] = EYELID_EDGE_LENGTH
    wanted[[rows[v] for v in mouth if v in rows]] = LIP_EDGE_LENGTH

    a, b = np.array([tuple(edge) for edge in _edges(half.faces)]).T
    a, b = np.concatenate([a, b]), np.concatenate([b, a])
    length = np.linalg.norm(points[a] - points[b], axis=1)
    wanted = np.minimum(wanted, DETAIL * np.bincount(a, length) / np.bincount(a))
    step = GRADING * length
    while (too_long := wanted[a] > wanted[b] + step + 1e-9).any():
        np.minimum.at(wanted, a[too_long], (wanted[b] + step)[too_long])
    return wanted


def decimate(half: Surface, bodies, wanted, num_vertices) -> Surface:
    """Collapse edges, cheapest first, until the whole mesh would have ``num_vertices``.

    Of collapses that cost the same up to rounding, the one with the lowest u, then v, comes first.

    A collapse moves vertex u onto its neighbour v. Its cost is u's quadric at v's place, in the
    mean over the bodies: the squared distances to the planes of the triangles that u stands for
    (Garland and Heckbert, "Surface simplification using quadric error metrics", 1997), plus
    SPREAD^2 times the squared distances to the vertices that it stands for, which evens out the
    triangles where the surface is flat; all in units of the wanted length, so that what is small
    counts where short edges are wanted.

    A collapse must keep the surface a surface (link condition), leave no vertex with more than
    MAX_VALENCE neighbours and, in every body, no triangle turned or thin; midline vertices move
    along the midline only. Now and then edges are flipped to even out the triangles.
    """
    points = half.positions(bodies)
    faces, border = half.faces.copy(), half.border
    quadrics = vertex_quadrics(points, faces, wanted)
    alive = np.ones(points.shape[1], dtype=bool)
    total = 2 * np.count_nonzero(~border) + np.count_nonzero(border)
    stages = 2 * np.geomspace(total / 2, num_vertices / 2, 8)[1:].round().astype(int)
    settled = 5 * num_vertices // 4  # below this the midline keeps an even number of vertices
    for stage in stages:
        faces = _collapse(faces, points, quadrics, border, wanted, alive, stage, settled)
        faces = _flip(faces, points, border)
    total = 2 * np.count_nonzero(alive & ~border) + np.count_nonzero(alive & border)
    if total != num_vertices:
        raise ValueError(f"Expected to reach {num_vertices} vertices, stopped at {total}.")
    return _compact(half.select, canonical_faces(faces), border)


def reflect_half(half: Surface, mirror) -> Mesh:
    """Glue the left half to its mirror image along the midline."""
    left, midline = np.flatnonzero(~half.border), np.flatnonzero(half.border)
    order = np.concatenate([left, midline])
    own = np.empty(len(order), dtype=np.int64)  # half's vertex -> mesh vertex
    own[order] = np.arange(len(order))
    twin = np.where(half.border, own, own + len(order))
    rows = canonical_faces(own[half.faces])
    faces = np.concatenate([rows, _from_smallest(twin[order][rows][:, ::-1])])

    here, there = half.select[order], half.select[left]
    # Same order of summation on both sides: the result is symmetric to the last bit.
    there = sparse.csr_array((there.data, mirror[there.indices], there.indptr), shape=there.shape)
    select = sparse.vstack([here, there], format="csr")
    twins = np.concatenate([twin[order], own[left]])
    return Mesh(select, faces, twins)


def canonical_faces(faces) -> np.ndarray:
    """The same faces (F, 3) or (F, 4) in the one order that their vertices alone decide.

    Each starts at its smallest vertex and keeps its orientation; rows are in ascending order.
    """
    faces = _from_smallest(faces)
    return faces[np.lexsort(faces.T[::-1])]


def triangle_quality(points, faces) -> np.ndarray:
    """4 sqrt(3) area / (sum of squared sides): 1 for an equilateral triangle, 0 for a flat one.

    Args:
        points: (..., n, 3).
        faces: (F, 3).

    Returns:
        (..., F)
    """
    a, b, c = (points[..., faces[:, k], :] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=-1) / 2
    sides = sum(np.square(d).sum(axis=-1) for d in (b - a, c - b, a - c))
    return 4 * np.sqrt(3) * area / np.maximum(sides, 1e-30)


def self_intersections(points, faces) -> np.ndarray:
    """Pairs of triangles of one mesh that cut through each other.

    Two triangles intersect exactly when a side of one pierces the other (coplanar overlap apart).
    A side is not held against a triangle that it shares a vertex with. Only triangles whose
    boxes overlap are compared; neighbours in space are found with a k-d tree.

    Args:
        points: (n, 3).
        faces: (F, 3).

    Returns:
        (P, 2) ids of faces, each pair once, lower first.
    """
    corners = points[faces]  # (F, 3, 3)
    low, high = corners.min(axis=1), corners.max(axis=1)
    centre, radius = (low + high) / 2, np.linalg.norm(high - low, axis=1) / 2
    tree = cKDTree(centre)
    near = tree.query_ball_point(centre, radius + radius.max(), return_sorted=False)
    first = np.repeat(np.arange(len(faces)), [len(ids) for ids in near])
    second = np.concatenate(near).astype(np.int64)
    keep = first != second
    for axis in range(3):
        keep &= (low[first, axis] <= high[second, axis]) & (low[second, axis] <= high[first, axis])
    first, second = first[keep], second[keep]

    hit = np.zeros(len(first), dtype=bool)
    a, b, c = corners[second].transpose(1, 0, 2)
    for k in range(3):
        ends = faces[first][:, [k, (k + 1) % 3]]
        apart = (ends[:, :, None] != faces[second][:, None, :]).all(axis=(1, 2))
        hit |= apart & _pierces(points[ends[:, 0]], points[ends[:, 1]], a, b, c)
    pairs = np.stack([first[hit], second[hit]], axis=1)
    return np.unique(np.sort(pairs, axis=1), axis=0)


def distance_to_surface(queries, points, faces, candidates=24) -> np.ndarray:
    """Distance of each query (Q, 3) to the mesh; among the triangles with the nearest centres.

    Exact when the nearest triangle is one of the ``candidates``; otherwise a little too large.

    Returns:
        (Q,)
    """
    corners = points[faces]
    near = cKDTree(corners.mean(axis=1)).query(queries, candidates)[1]
    a, b, c = corners[near].transpose(2, 0, 1, 3)  # (Q, C, 3)
    p = queries[:, None]
    squares = []
    for start, end in ((a, b), (b, c), (c, a)):
        along = end - start
        t = ((p - start) * along).sum(axis=-1) / np.maximum((along**2).sum(axis=-1), 1e-30)
        foot = start + np.clip(t, 0, 1)[..., None] * along
        squares.append(((p - foot) ** 2).sum(axis=-1))
    normal = np.cross(b - a, c - a)
    area = np.maximum((normal**2).sum(axis=-1), 1e-30)
    u = (np.cross(b - p, c - p) * normal).sum(axis=-1) / area  # barycentric
    v = (np.cross(c - p, a - p) * normal).sum(axis=-1) / area
    inside = (u >= 0) & (v >= 0) & (u + v <= 1)
    height = ((p - a) * normal).sum(axis=-1) ** 2 / area
    return np.sqrt(np.where(inside, height, np.min(squares, axis=0)).min(axis=1))


def _pierces(p, q, a, b, c) -> np.ndarray:
    """Whether the segments p q pierce the triangles a b c; all (P, 3). Moeller, Trumbore 1997."""
    direction, u, v = q - p, b - a, c - a
    normal = np.cross(u, v)
    slope = -np.einsum("px,px->p", direction, normal)
    with np.errstate(divide="ignore", invalid="ignore"):  # parallel ones yield no comparison
        t = np.einsum("px,px->p", p - a, normal) / slope
        across = np.cross(p - a, direction)
        s = np.einsum("px,px->p", v, across) / slope
        r = -np.einsum("px,px->p", u, across) / slope
        return (t >= 0) & (t <= 1) & (s >= 0) & (r >= 0) & (s + r <= 1)


def _compact(select, faces, border) -> Surface:
    """Drop the vertices that no face uses."""
    used = np.unique(faces)
    return Surface(select[used], np.searchsorted(used, faces), border[used])


def _from_smallest(faces) -> np.ndarray:
    """Each face turned so that its smallest vertex comes first."""
    corners = faces.argmin(axis=1)[:, None] + np.arange(faces.shape[1])
    return np.take_along_axis(faces, corners % faces.shape[1], axis=1)


def _rows_of(half: Surface) -> dict[int, int]:
    """base vertex -> vertex of the half, for the vertices that are base vertices themselves."""
    single = np.flatnonzero(np.diff(half.select.indptr) == 1)
    return dict(
        zip(half.select.indices[half.select.indptr[single]].tolist(), single.tolist(), strict=True)
    )


def _ring(loop):
    return zip(loop, [*loop[1:], loop[0]], strict=True)


def _edges(faces) -> dict[frozenset, list[int]]:
    """edge -> the faces at it, in order of first appearance."""
    edges: dict[frozenset, list[int]] = {}
    for i, face in enumerate(faces.tolist()):
        for edge in _ring(face):
            edges.setdefault(frozenset(edge), []).append(i)
    return edges


def _in_line(quads) -> dict[tuple[int, int], int]:
    """(a, b) -> the vertex straight on beyond b, where b has four quads around it."""
    around: dict[int, dict[int, int]] = {}
    for face in quads.tolist():
        for k in range(4):  # seen from face[k], the quad lies between next and previous
            around.setdefault(face[k], {})[face[(k + 1) % 4]] = face[k - 1]
    return {
        (a, b): turn[turn[a]]
        for b, turn in around.items()
        if len(turn) == 4 and set(turn) == set(turn.values())
        for a in turn
    }


def _exit_point(hull, ball, centre, ray) -> tuple[np.ndarray, np.ndarray]:
    """Corners (3,) and weights (3,) of the point where a ray from the centre leaves the hull."""
    corners = ball[hull.simplices] - centre  # (F, 3, 3)
    weights = np.linalg.solve(
        corners.transpose(0, 2, 1), np.broadcast_to(ray, (len(corners), 3))[..., None]
    )[..., 0]
    inside = weights.min(axis=1).round(DIGITS)
    face = inside.argmax()  # all weights positive, up to rounding, in the one triangle that is hit
    return hull.simplices[face], np.maximum(weights[face], 0) / np.maximum(weights[face], 0).sum()


def _add_strips(half: Surface, bodies, chains) -> Surface:
    """Fill the gaps between successive chains of vertices with triangles.

    Of all ways to zip two chains together, the one whose cross edges are shortest in sum of
    squares (dynamic programming). Orientation follows the mesh around the hole.
    """
    points = half.positions(bodies).mean(axis=0)
    strips = []
    for left, right in pairwise(chains):
        square = np.square(points[left][:, None] - points[right][None]).sum(axis=2)
        best = np.full(square.shape, np.inf)
        best[0, 0] = 0
        for i, j in np.ndindex(*square.shape):
            if i + j:
                came = min(best[i - 1, j] if i else np.inf, best[i, j - 1] if j else np.inf)
                best[i, j] = round(came + square[i, j], 2 * DIGITS)
        i, j = len(left) - 1, len(right) - 1
        while i or j:
            if j == 0 or (i and best[i - 1, j] <= best[i, j - 1]):
                strips.append((left[i - 1], left[i], right[j]))
                i -= 1
            else:
                strips.append((left[i], right[j], right[j - 1]))
                j -= 1
    strips = np.array([face for face in strips if len(set(face)) == 3])  # chains may share an end
    taken = {edge for face in half.faces.tolist() for edge in _ring(face)}
    if any(edge in taken for face in strips.tolist() for edge in _ring(face)):
        strips = strips[:, ::-1]
    return Surface(half.select, np.concatenate([half.faces, strips]), half.border)


def vertex_quadrics(points, faces, wanted) -> np.ndarray:
    """(n, K, 4, 4) quadrics Q: the error of moving a vertex by d is [d, 1] Q [d, 1].

    Each is written about the vertex's own place, where the planes meet: the terms stay as small
    as the errors that they add up to, and rounding with them.
    """
    bodies, count = points.shape[:2]
    a, b, c = (points[:, faces[:, k]] for k in range(3))  # (K, F, 3)
    normal = np.cross(b - a, c - a)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-30)
    per_face = np.einsum("kfi,kfj->fkij", normal, normal)
    quadrics = np.zeros((count, bodies, 4, 4))
    quadrics[..., :3, :3] = SPREAD**2 * np.eye(3)  # of |d|^2
    for k in range(3):
        np.add.at(quadrics[..., :3, :3], faces[:, k], per_face)
    return quadrics / wanted[:, None, None, None] ** 2


@njit(cache=True)
def collapse_cost(quadrics, points, u, v):
    """Mean over the bodies of [d, 1] Q_u [d, 1] with d = p_v - p_u, rounded."""
    total = 0.0
    d = np.ones(4)
    for k in range(points.shape[0]):
        d[:3] = points[k, v] - points[k, u]
        for i in range(4):
            for j in range(4):
                total += quadrics[u, k, i, j] * d[i] * d[j]
    return round(total / points.shape[0], DIGITS)


@njit(cache=True)
def add_quadric(quadrics, points, u, v):
    """Add Q_u to Q_v, written about p_v: [x, 1] = [[I, p_v - p_u], [0, 1]] [d, 1]."""
    shift = np.eye(4)
    for k in range(points.shape[0]):
        shift[:3, 3] = points[k, v] - points[k, u]
        for i in range(4):
            for j in range(4):
                total = 0.0
                for m in range(4):
                    for n in range(4):
                        total += shift[m, i] * quadrics[u, k, m, n] * shift[n, j]
                quadrics[v, k, i, j] += total


@njit(cache=True)
def _shape(points, k, a, b, c):
    """Unit normal, quality of one triangle in body k."""
    u, v = points[k, b] - points[k, a], points[k, c] - points[k, a]
    w = v - u
    n = np.array([u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]])
    double_area = np.sqrt((n * n).sum())
    sides = (u * u).sum() + (v * v).sum() + (w * w).sum()
    return n / max(double_area, 1e-30), 2 * np.sqrt(3.0) * double_area / max(sides, 1e-30)


@njit(cache=True)
def _ring_of(v, faces, at):
    """Neighbours of v, each once."""
    ring = [0 for _ in range(0)]
    for f in at[v]:
        for x in faces[f]:
            if x != v and x not in ring:
                ring.append(x)
    return ring


@njit(cache=True)
def _may_collapse(u, v, faces, at, points, border, wanted):
    if border[u] and not border[v]:
        return False
    ring_u, ring_v = _ring_of(u, faces, at), _ring_of(v, faces, at)
    common = [x for x in ring_u if x in ring_v]
    shared = 0  # faces at the edge u v
    for f in at[u]:
        shared += v in faces[f]
    on_border = shared == 1
    if border[u] and border[v] and not on_border:
        return False
    if len(common) != shared:  # link condition
        return False
    for x in common:  # each loses a neighbour; in the whole mesh none may fall below four
        if len(at[x]) <= (2 if border[x] else 4):
            return False
    faces_v = len(at[u]) + len(at[v]) - 2 * shared
    if (2 * faces_v if border[v] else faces_v) > MAX_VALENCE or faces_v < (2 if border[v] else 4):
        return False
    for x in ring_u:
        if x != v and x not in common:
            if border[v] and border[x] and not border[u]:
                return False  # a chord from midline to midline would meet its own mirror image
            d = points[:, x] - points[:, v]
            longest = LONGEST * max(wanted[x], wanted[v])
            if (d * d).sum() > points.shape[0] * longest**2:  # in the mean over the bodies
                return False
    for f in at[u]:
        a, b, c = faces[f]
        if v in (a, b, c):
            continue
        for k in range(points.shape[0]):
            before, q_before = _shape(points, k, a, b, c)
            after, q_after = _shape(
                points, k, v if a == u else a, v if b == u else b, v if c == u else c
            )
            least = min(MIN_QUALITY, q_before) - 1e-9
            if (before * after).sum() < MIN_TURN or q_after < least:
                return False
    return True


@njit(cache=True)
def _faces_at(faces, count):
    at = [[0 for _ in range(0)] for _ in range(count)]
    for f in range(len(faces)):
        for x in faces[f]:
            at[x].append(f)
    return at


@njit(cache=True)
def _collapse(faces, points, quadrics, border, wanted, alive, target, settled):
    """Collapse until the mirrored mesh would have ``target`` vertices; returns the faces left.

    Changes ``quadrics`` and ``alive`` in place.
    """
    count = points.shape[1]
    at = _faces_at(faces, count)
    dead = np.zeros(len(faces), dtype=np.bool_)
    stamp = np.zeros(count, dtype=np.int64)  # an entry of the heap is stale when a stamp moved on
    total = 0
    for x in range(count):
        if alive[x]:
            total += 1 if border[x] else 2
    heap = [(collapse_cost(quadrics, points, 0, 0), 0, 0, 0) for _ in range(0)]
    for u in range(count):
        if alive[u]:
            for v in _ring_of(u, faces, at):
                heap.append((collapse_cost(quadrics, points, u, v), u, v, 0))
    heapify(heap)
    while total > target and len(heap):
        _, u, v, mark = heappop(heap)
        if not (alive[u] and alive[v]) or mark != stamp[u] + stamp[v]:
            continue
        # A midline vertex counts once, others twice, and the target is even: late on, one of the
        # midline may go only while the total is odd.
        if border[u] and total % 2 == 0 and total < settled:
            continue
        if total == target + 1 and not border[u]:
            continue
        if not _may_collapse(u, v, faces, at, points, border, wanted):
            continue
        for f in at[u]:
            if v in faces[f]:
                dead[f] = True
                for x in faces[f]:
                    if x != u:
                        at[x].remove(f)
            else:
                for i in range(3):
                    if faces[f, i] == u:
                        faces[f, i] = v
                at[v].append(f)
        at[u].clear()
        alive[u] = False
        total -= 1 if border[u] else 2
        add_quadric(quadrics, points, u, v)
        ring = _ring_of(v, faces, at)
        ring.append(v)
        for x in ring:
            stamp[x] += 1
        for x in ring:
            for y in _ring_of(x, faces, at):
                heappush(heap, (collapse_cost(quadrics, points, x, y), x, y, stamp[x] + stamp[y]))
                if y not in ring:
                    heappush(
                        heap, (collapse_cost(quadrics, points, y, x), y, x, stamp[x] + stamp[y])
                    )
    return faces[~dead]


@njit(cache=True)
def _flip(faces, points, border):
    """Flip the edges of flat pairs of triangles where that makes the worse of the two better."""
    at = _faces_at(faces, points.shape[1])
    for _ in range(FLIP_ROUNDS):
        for f in range(len(faces)):
            for i in range(3):
                a, b, c = faces[f, i], faces[f, (i + 1) % 3], faces[f, (i + 2) % 3]
                g = -1
                for h in at[b]:
                    if h != f and a in faces[h]:
                        g = h
                if g < 0:
                    continue
                d = faces[g].sum() - a - b
                if len(at[a]) <= (2 if border[a] else 4) or len(at[b]) <= (2 if border[b] else 4):
                    continue
                if (border[c] and border[d]) or d in _ring_of(c, faces, at):
                    continue
                if (2 * len(at[c]) + 2 if border[c] else len(at[c]) + 1) > MAX_VALENCE:
                    continue
                if (2 * len(at[d]) + 2 if border[d] else len(at[d]) + 1) > MAX_VALENCE:
                    continue
                gain, allowed = 0.0, True
                for k in range(points.shape[0]):
                    n, q0 = _shape(points, k, a, b, c)
                    m, q1 = _shape(points, k, b, a, d)
                    n2, q2 = _shape(points, k, c, a, d)
                    m2, q3 = _shape(points, k, c, d, b)
                    flat = min((n * m).sum(), (n2 * m2).sum(), (n * n2).sum(), (m * m2).sum())
                    if flat < MAX_FOLD:
                        allowed = False
                        break
                    gain += min(q2, q3) - min(q0, q1)
                if allowed and gain > MIN_GAIN * points.shape[0]:
                    faces[f] = np.array([c, a, d])
                    faces[g] = np.array([c, d, b])
                    at[a].remove(g)
                    at[b].remove(f)
                    at[c].append(g)
                    at[d].append(f)
                    break
    return faces
