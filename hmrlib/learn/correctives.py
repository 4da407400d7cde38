"""Pose correctives: the blend shapes that make linear blend skinning imitate a better deformer.

SMPL learns its pose blend shapes from scans (Loper et al. 2015, sections 3 and 5). This body has
no scans, so the target is computed (`TargetDeformer`): dual quaternion skinning whose twist is
spread along the limbs, relaxed as rigidly as possible. The correctives are then the linear map from
the 207 entries of R - I to offsets of the rest pose that brings linear blend skinning closest to
that target. **Every error measured here is the imitation of our own deformer, not of people.**

What is chosen, a ray's target or a side of a threshold, is chosen after rounding (`DIGITS`), and of
equals the first: the last bits of a float, which are the processor's, decide nothing.

Plain NumPy arrays. Lengths are metres; y is up, the body faces +z, its left is +x. V vertices,
F triangles, N poses, 24 joints in the order of `hmrlib.skeleton.JOINT_NAMES`. Poses are local
rotations relative to the T-pose.
"""

import os
from typing import NamedTuple

import numba
import numpy as np
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.spatial.transform import Rotation
from tqdm.auto import tqdm

from hmrlib.body import kinematics
from hmrlib.body.surface import smoothstep, vertex_normals
from hmrlib.skeleton import JOINT_LIMITS, JOINT_MIRROR, JOINT_NAMES, PARENTS

NUM_JOINTS = len(JOINT_NAMES)
NUM_FEATURES = 9 * (NUM_JOINTS - 1)
DIGITS, CLOSE = 9, 1e-9  # decimals that are compared; what is nearer than that is equal
FLIP = np.array([-1.0, 1.0, 1.0])  # the mirror image of a point: x changes its sign
RIDGE = 1e-4  # how much smaller correctives are preferred; between 1e-5 and 1e-3 it hardly matters


def _silent(progress):
    """Whether to leave out the bar: also by TQDM_DISABLE, which `hmr report` sets, unwatched."""
    return not progress or "TQDM_DISABLE" in os.environ


class TwistSpread(NamedTuple):
    """How the twist of a limb runs along its bone.

    child: the joint at the bone's far end.
    start: the share of the bone's own twist that its skin has at the near end; 1 at the far end.
    runs_up: whether the child's twist about this bone runs up its skin.
    """

    child: str
    start: float
    runs_up: bool


TWIST_SPREAD = {
    # the deltoid and the hip follow part of the twist; the elbow's skin follows none of pronation
    "left_shoulder": TwistSpread("left_elbow", 0.4, False),
    "left_elbow": TwistSpread("left_wrist", 0.0, True),
    "left_hip": TwistSpread("left_knee", 0.3, False),
    "left_knee": TwistSpread("left_ankle", 0.0, True),
    "neck": TwistSpread("head", 0.0, True),
}


def sample_poses(count, seed, kind="natural"):
    """Random poses within `JOINT_LIMITS`; the root stays at rest.

    Args:
        count: N.
        seed: of the generator; the same seed gives the same poses.
        kind: "natural": every joint bends at once. Each angle is drawn about its relaxed value
            from a normal distribution, all independent; the limits lie 2.5 standard deviations
            away and cut it, so that about one of the 69 angles is at its limit in each pose.
            "single": pose n bends joint 1 + n % 23 alone, uniformly within its limits.

    Returns:
        (N, 24, 3) rotation vectors.
    """
    if kind not in ("natural", "single"):
        raise ValueError(f'kind is "natural" or "single", not {kind!r}')
    rng = np.random.default_rng(seed)
    pose = np.zeros((count, NUM_JOINTS, 3))
    for j in range(1, NUM_JOINTS):
        limits = JOINT_LIMITS[JOINT_NAMES[j].replace("right_", "left_")]
        least, relaxed, most = np.radians([limits.x, limits.y, limits.z]).T
        if kind == "natural":
            u = np.clip(rng.standard_normal((count, 3)) / 2.5, -1, 1)
            angle = relaxed + u * np.where(u > 0, most - relaxed, relaxed - least)
        else:
            alone = np.arange(count) % (NUM_JOINTS - 1) + 1 == j
            angle = rng.uniform(least, most, (count, 3)) * alone[:, None]
        twist = angle * [axis == limits.twist for axis in "xyz"]
        turn = Rotation.from_rotvec(angle - twist) * Rotation.from_rotvec(twist)
        mirrored = JOINT_NAMES[j].startswith("right_")
        pose[:, j] = turn.as_rotvec() * (-FLIP if mirrored else 1)
    return pose


def rotation_matrices(pose):
    """Rotation vectors (N, 24, 3) -> matrices (N, 24, 3, 3)."""
    pose = np.asarray(pose, float)
    return Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(*pose.shape, 3)


def mirror_features():
    """order (207,), sign (207,): the mirrored pose has the features `features[:, order] * sign`."""
    joints = np.array(JOINT_MIRROR[1:]) - 1
    order = np.arange(NUM_FEATURES).reshape(-1, 9)[joints].ravel()
    return order, np.tile(np.outer(FLIP, FLIP).ravel(), NUM_JOINTS - 1)


# ------------------------------------------------------------------------------------ skinning


def blend_skinning(v_template, joints, weights, rotations, posedirs=None, chunk=32):
    """Linear blend skinning with pose blend shapes (Loper et al. 2015, equations 2 and 9).

    Args:
        v_template: (V, 3); joints: (24, 3); weights: (V, 24); rotations: (N, 24, 3, 3).
        posedirs: (V, 3, 207), or None for plain skinning.

    Returns:
        (N, V, 3).
    """
    movers = kinematics.Weights.of(np.asarray(weights, float))
    out = np.empty((len(rotations), *v_template.shape))
    for start in range(0, len(rotations), chunk):
        part, posed = rotations[start : start + chunk], out[start : start + chunk]
        posed[:] = v_template
        if posedirs is not None:
            offsets = kinematics.pose_feature(part) @ posedirs.reshape(-1, NUM_FEATURES).T
            posed += offsets.reshape(posed.shape)
        _, *motions = kinematics.joint_motions(part, joints, PARENTS)
        kinematics.linear_blend_skinning(posed, movers, *motions)
    return out


class TargetDeformer:
    """What the correctives imitate: dual quaternions with spread twist, relaxed to be rigid.

    1. Dual quaternion skinning (Kavan et al. 2008), each limb's twist spread as in `TWIST_SPREAD`.
    2. As-rigid-as-possible relaxation (Sorkine and Alexa 2007) from there: a fixed number of
       local and global steps. Rotations of neighbours are drawn together (Levi and Gotsman 2015),
       struts through the body keep its thickness, springs hold each vertex near step 1: weak where
       joints blend, strong where one joint owns the vertex. Vertices `RINGS` edges away from any
       blend stay where step 1 put them.

    Folds are not kept from touching: behind a knee or an elbow bent past a right angle the skin
    passes into itself, as it does under any skinning.
    """

    ITERATIONS = 5
    SPRING = (0.015, 0.8)  # at a full blend and at a rigid vertex, in the Laplacian's diagonal
    BENDING = 0.02  # metres: the reach over which rotations are drawn together
    STRUT = 0.3  # strength of a strut of one median edge's length
    RINGS = 3

    def __init__(self, v_template, faces, joints, weights):
        self.v_template = np.ascontiguousarray(v_template, float)
        self.joints = np.asarray(joints, float)
        self.weights = np.ascontiguousarray(weights, float)
        self._prepare_twist()
        self._prepare_relaxation(np.asarray(faces, np.int64))

    def deform(self, rotations, chunk=32, progress=False):
        """Pose the body: rotations (N, 24, 3, 3) -> vertices (N, V, 3)."""
        rotations = np.asarray(rotations, float)
        out = np.empty((len(rotations), *self.v_template.shape))
        with tqdm(total=len(out), desc="target", unit="pose", disable=_silent(progress)) as bar:
            for start in range(0, len(out), chunk):
                vertices, frames = self._skin(rotations[start : start + chunk], spread=True)
                out[start : start + chunk] = self._relax(vertices, frames)
                bar.update(len(vertices))
        return out

    def dual_quaternion_skinning(self, rotations, spread=False, chunk=32):
        """Step 1 alone, or with `spread=False` the plain dual quaternions of Kavan et al."""
        parts = range(0, len(rotations), chunk)
        return np.concatenate([self._skin(rotations[s : s + chunk], spread)[0] for s in parts])

    def _prepare_twist(self):
        self.child = np.full(NUM_JOINTS, -1)
        self.start = np.zeros(NUM_JOINTS)
        self.runs_up = np.zeros(NUM_JOINTS, bool)
        self.axis = np.zeros((NUM_JOINTS, 3))
        self.along = np.zeros((NUM_JOINTS, len(self.v_template)))  # 0 at the joint, 1 at its child
        for name, spread in TWIST_SPREAD.items():
            j, child = JOINT_NAMES.index(name), JOINT_NAMES.index(spread.child)
            sides = {(j, child), (JOINT_MIRROR[j], JOINT_MIRROR[child])}
            for j, child in sides:
                bone = self.joints[child] - self.joints[j]
                self.child[j], self.start[j], self.runs_up[j] = child, spread.start, spread.runs_up
                self.axis[j] = bone / np.linalg.norm(bone)
                t = np.clip((self.v_template - self.joints[j]) @ bone / (bone @ bone), 0, 1)
                self.along[j] = smoothstep(t)

    def _prepare_relaxation(self, faces):
        edges = _cotangent_weights(self.v_template, faces)
        diagonal = edges.sum(axis=1)
        rigidity = self.weights.max(axis=1)
        soft, hard = self.SPRING
        self.spring = diagonal * (soft + (hard - soft) * smoothstep((rigidity - 0.6) / 0.4))
        self.free = rigidity.round(DIGITS) < 0.98
        for _ in range(self.RINGS):
            self.free = self.free | (abs(edges) @ self.free > 0)
        self.moved = np.flatnonzero(self.free)
        self.near = np.flatnonzero(self.free | (abs(edges) @ self.free > 0))
        self.edges = (edges + struts(self.v_template, faces, self.STRUT)).tocsr()
        self.edges.sort_indices()
        laplacian = sparse.diags_array(self.edges.sum(axis=1) + self.spring) - self.edges
        # dense on purpose: the struts fill a sparse factor, and many poses share one BLAS call
        self.factor = cho_factor(laplacian.tocsr()[self.moved][:, self.moved].toarray())

    def _skin(self, rotations, spread):
        """Vertices (N, V, 3) and the rotation of each, (N, V, 3, 3)."""
        posed, world, _ = kinematics.joint_motions(rotations, self.joints, PARENTS)
        quats = Rotation.from_matrix(world.reshape(-1, 3, 3)).as_quat()
        twist = self._twist(rotations) * spread
        return _dual_quaternions(
            self.v_template, self.weights, self.joints, quats.reshape(-1, NUM_JOINTS, 4), posed,
            twist, self.axis, self.along,
        )  # fmt: skip

    def _twist(self, rotations):
        """(N, 24, 2) radians: what each bone's near end must lose, what its far end must gain."""
        flat = Rotation.from_matrix(rotations.reshape(-1, 3, 3))
        quats = flat.as_quat(canonical=True).reshape(-1, NUM_JOINTS, 4)
        twist = np.zeros((len(rotations), NUM_JOINTS, 2))
        for j in np.flatnonzero(self.child >= 0):
            for joint, end in ((j, 0), (self.child[j], 1)):
                about_bone = quats[:, joint, :3] @ self.axis[j]
                twist[:, j, end] = 2 * np.arctan2(about_bone, quats[:, joint, 3])
        return twist * np.stack([1 - self.start, self.runs_up], axis=1)

    def _relax(self, vertices, frames):
        anchors = vertices.copy()
        graph = (self.edges.indptr, self.edges.indices, self.edges.data)
        shape = (len(self.moved), len(vertices), 3)
        for _ in range(self.ITERATIONS):
            _fit_rotations(vertices, frames, self.v_template, self.near, *graph, self.BENDING**2)
            right = _right_side(
                vertices, frames, anchors, self.v_template, self.free, self.moved, self.spring,
                *graph,
            )  # fmt: skip
            solved = cho_solve(self.factor, right.reshape(shape[0], -1), check_finite=False)
            vertices[:, self.moved] = solved.reshape(shape).transpose(1, 0, 2)
        return vertices


def _cotangent_weights(v, faces):
    """(V, V) edge weights of the Laplacian, kept positive so that its matrix stays definite."""
    graph = sparse.csr_array((len(v), len(v)))
    for i, j, apex in (faces.T, np.roll(faces.T, 1, axis=0), np.roll(faces.T, 2, axis=0)):
        a, b = v[i] - v[apex], v[j] - v[apex]
        cotangent = (a * b).sum(1) / np.linalg.norm(np.cross(a, b), axis=1)
        graph = graph + sparse.csr_array((cotangent / 2, (i, j)), graph.shape)
    graph = graph + graph.T
    graph.data = np.clip(graph.data, 0.1, 3.0)
    return graph


def struts(v, faces, strength, tilt=0.6):
    """(V, V) weak edges through the body: from each vertex to what it sees inwards, five rays."""
    corners, inward = v[faces], -vertex_normals(v, faces)
    helper = np.where(np.abs(inward[:, :1]).round(DIGITS) < 0.8, [[1.0, 0, 0]], [[0, 1.0, 0]])
    side = np.cross(inward, helper)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    other = np.cross(inward, side)
    graph = sparse.csr_array((len(v), len(v)))
    median_edge = np.median(np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2))
    for a, b in ((0, 0), (tilt, 0), (-tilt, 0), (0, tilt), (0, -tilt)):
        ray = inward + a * side + b * other
        seen = _first_seen(v, faces, ray / np.linalg.norm(ray, axis=1, keepdims=True))
        i = np.flatnonzero(seen >= 0)
        length = np.linalg.norm(v[i] - v[seen[i]], axis=1)
        long = (length - 2 * median_edge).round(DIGITS) > 0
        i, length = i[long], length[long]
        weight = strength * median_edge / length
        graph = graph + sparse.csr_array((weight, (i, seen[i])), graph.shape)
    return graph + graph.T


@numba.njit(cache=True, parallel=True)
def _first_seen(v, faces, rays):
    """For each vertex the nearest corner of the face that its ray meets first, or -1.

    A ray along the midline runs into the edge between two faces, and meets both: either leads to
    the same corner.
    """
    seen = np.full(len(v), -1)
    for i in numba.prange(len(v)):
        ray, first = (rays[i, 0], rays[i, 1], rays[i, 2]), np.inf
        for f in range(len(faces)):
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            if a == i or b == i or c == i:
                continue
            # Moeller and Trumbore 1997
            e1, e2, origin = _minus(v[b], v[a]), _minus(v[c], v[a]), _minus(v[i], v[a])
            p = _cross(ray, e2)
            determinant = _dot(e1, p)
            if abs(determinant) < 1e-15:
                continue
            u = _dot(origin, p) / determinant
            if u < -CLOSE or u > 1 + CLOSE:
                continue
            q = _cross(origin, e1)
            w, t = _dot(ray, q) / determinant, _dot(e2, q) / determinant
            if w < -CLOSE or u + w > 1 + CLOSE or t < 1e-6 or t > first - CLOSE:
                continue
            first = t
            nearest = max(u, w, 1 - u - w) - CLOSE
            seen[i] = len(v)
            for corner, share in ((a, 1 - u - w), (b, u), (c, w)):
                if share >= nearest and corner < seen[i]:
                    seen[i] = corner
    return seen


@numba.njit(cache=True, inline="always")
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@numba.njit(cache=True, inline="always")
def _minus(a, b):
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


@numba.njit(cache=True, inline="always")
def _cross(a, b):
    x, y = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2]
    return x, y, a[0] * b[1] - a[1] * b[0]


@numba.njit(cache=True)
def _multiply(a, b, out):
    """Product of two quaternions (x, y, z, w)."""
    out[0] = a[3] * b[0] + a[0] * b[3] + a[1] * b[2] - a[2] * b[1]
    out[1] = a[3] * b[1] + a[1] * b[3] + a[2] * b[0] - a[0] * b[2]
    out[2] = a[3] * b[2] + a[2] * b[3] + a[0] * b[1] - a[1] * b[0]
    out[3] = a[3] * b[3] - a[0] * b[0] - a[1] * b[1] - a[2] * b[2]


@numba.njit(cache=True)
def _to_matrix(q, out):
    x, y, z, w = q
    out[0, 0], out[1, 1], out[2, 2] = y * y + z * z, x * x + z * z, x * x + y * y
    out[0, 1], out[0, 2], out[1, 2] = w * z - x * y, -w * y - x * z, w * x - y * z
    out[1, 0], out[2, 0], out[2, 1] = -w * z - x * y, w * y - x * z, -w * x - y * z
    for c in range(3):
        for d in range(3):
            out[c, d] = (c == d) - 2 * out[c, d]


@numba.njit(cache=True, parallel=True)
def _dual_quaternions(v, weights, joints, quats, posed, twist, axis, along):
    """Dual quaternion skinning; each joint's quaternion first turns by the vertex's share of twist.

    The dual part is half of translation * rotation (Kavan et al. 2008, equation 5); the blend is
    normalised (their equation 6). Quaternions are brought to the side of the strongest joint's.
    """
    vertices = np.empty((len(quats), len(v), 3))
    frames = np.empty((len(quats), len(v), 3, 3))
    for n in numba.prange(len(quats)):
        turn, quat, first = np.empty(4), np.empty(4), np.empty(4)
        shift, dual_j = np.zeros(4), np.empty(4)
        real, dual = np.empty(4), np.empty(4)
        matrix = np.empty((3, 3))
        for i in range(len(v)):
            real[:] = 0
            dual[:] = 0
            strongest = np.argmax(weights[i])  # of mirror twins, equal to the bit, the first
            for rank in range(-1, weights.shape[1]):
                j = strongest if rank < 0 else rank
                if weights[i, j] == 0 or rank == strongest:
                    continue
                t = along[j, i]
                half = (twist[n, j, 1] * t - twist[n, j, 0] * (1 - t)) / 2
                turn[:3] = axis[j] * np.sin(half)
                turn[3] = np.cos(half)
                _multiply(quats[n, j], turn, quat)
                if rank < 0:
                    first[:] = quat
                elif _dot(quat, first) + quat[3] * first[3] < 0:
                    quat *= -1
                _to_matrix(quat, matrix)
                for c in range(3):  # x -> matrix (x - joint) + posed joint
                    shift[c] = posed[n, j, c] - _dot(matrix[c], joints[j])
                _multiply(shift, quat, dual_j)
                real += weights[i, j] * quat
                dual += weights[i, j] / 2 * dual_j
            norm = np.sqrt(_dot(real, real) + real[3] * real[3])
            real /= norm
            dual /= norm
            _to_matrix(real, matrix)
            quat[:3] = -real[:3]
            quat[3] = real[3]
            _multiply(dual, quat, shift)
            for c in range(3):
                vertices[n, i, c] = _dot(matrix[c], v[i]) + 2 * shift[c]
            shift[3] = 0
            frames[n, i] = matrix
    return vertices, frames


@numba.njit(cache=True)
def _turn_towards(covariance, frame):
    """Turn `frame`, in place, to the rotation nearest to `covariance` (Mueller et al. 2016)."""
    for _ in range(8):
        ox = oy = oz = along = 0.0
        for k in range(3):
            ox += frame[1, k] * covariance[2, k] - frame[2, k] * covariance[1, k]
            oy += frame[2, k] * covariance[0, k] - frame[0, k] * covariance[2, k]
            oz += frame[0, k] * covariance[1, k] - frame[1, k] * covariance[0, k]
            for c in range(3):
                along += frame[c, k] * covariance[c, k]
        scale = 1 / (abs(along) + 1e-12)
        angle = scale * np.sqrt(ox * ox + oy * oy + oz * oz)
        if angle < 1e-9:
            return
        ox, oy, oz = ox * scale / angle, oy * scale / angle, oz * scale / angle
        s, c = np.sin(angle), np.cos(angle)
        for k in range(3):
            x, y, z = frame[0, k], frame[1, k], frame[2, k]
            dot = (ox * x + oy * y + oz * z) * (1 - c)
            frame[0, k] = x * c + (oy * z - oz * y) * s + ox * dot
            frame[1, k] = y * c + (oz * x - ox * z) * s + oy * dot
            frame[2, k] = z * c + (ox * y - oy * x) * s + oz * dot


@numba.njit(cache=True, parallel=True)
def _fit_rotations(vertices, frames, v, near, indptr, indices, data, bending):
    """The local step (Sorkine and Alexa 2007, equation 5), neighbours' last rotations added."""
    for n in numba.prange(len(vertices)):
        old = frames[n].copy()
        covariance = np.empty((3, 3))
        for i in near:
            covariance[:] = 0
            for e in range(indptr[i], indptr[i + 1]):
                j, weight = indices[e], data[e]
                for c in range(3):
                    stretch = weight * (vertices[n, j, c] - vertices[n, i, c])
                    for d in range(3):
                        covariance[c, d] += stretch * (v[j, d] - v[i, d])
                        covariance[c, d] += weight * bending * old[j, c, d]
            _turn_towards(covariance, frames[n, i])


@numba.njit(cache=True, parallel=True)
def _right_side(vertices, frames, anchors, v, free, moved, spring, indptr, indices, data):
    """Right side of the global step (Sorkine and Alexa 2007, equation 8): (moved, N, 3)."""
    right = np.empty((len(moved), len(vertices), 3))
    for n in numba.prange(len(vertices)):
        for row in range(len(moved)):
            i = moved[row]
            for c in range(3):
                total = spring[i] * anchors[n, i, c]
                for e in range(indptr[i], indptr[i + 1]):
                    j, weight = indices[e], data[e]
                    for d in range(3):
                        both = frames[n, i, c, d] + frames[n, j, c, d]
                        total += weight / 2 * both * (v[i, d] - v[j, d])
                    if not free[j]:
                        total += weight * vertices[n, j, c]
                right[row, n, c] = total
    return right


# ------------------------------------------------------------------------------------ learning


def feature_support(weights):
    """(V, 24) bool: whose rotations a vertex listens to: its joints, their parents and children."""
    owned = np.asarray(weights) > 0
    support = owned.copy()
    for j in range(1, NUM_JOINTS):
        support[:, j] |= owned[:, PARENTS[j]]
        support[:, PARENTS[j]] |= owned[:, j]
    support[:, 0] = False  # the root's rotation bends nothing
    return support


class LeastSquares:
    """Vertex error of linear blend skinning as a function of the correctives.

    With A the blended linear part of a vertex, r = target - skinned template and f the features,
    the vertex's correctives P (3, k) minimise, over the poses and their mirror images,

        mean |r - A P f|^2 + ridge |P|^2.

    No matrix is inverted: at a candy wrapper A is singular, and says nothing there. Vertices do not
    share unknowns; those with the same support share features, so they are solved in batches, and
    only one of each mirror pair is.
    """

    BATCH = 200

    def __init__(self, v_template, joints, weights, mirror, rotations, target):
        self.v_template, self.mirror, self.target = v_template, np.asarray(mirror), target
        self.movers = kinematics.Weights.of(np.asarray(weights, float))
        _, *self.motions = kinematics.joint_motions(rotations, joints, PARENTS)
        features = kinematics.pose_feature(rotations)
        order, sign = mirror_features()
        self.features = np.concatenate([features, features[:, order] * sign])  # (2N, 207)
        kept = np.flatnonzero(np.arange(len(self.mirror)) <= self.mirror)
        supports, which = np.unique(feature_support(weights)[kept], axis=0, return_inverse=True)
        self.batches = []
        for g, support in enumerate(supports):
            columns = np.flatnonzero(np.repeat(support[1:], 9))
            members = kept[which == g]
            for start in range(0, len(members) if len(columns) else 0, self.BATCH):
                self.batches.append((members[start : start + self.BATCH], columns))

    def terms(self, members):
        """A^T A (v, 2N, 3, 3), A^T r (v, 2N, 3) and the sum of |r|^2 (v,) of some vertices."""
        squared, pulled, energy = [], [], 0.0
        for side, flip in ((members, np.ones(3)), (self.mirror[members], FLIP)):
            movers = kinematics.Weights(*(part[side] for part in self.movers))
            blended = kinematics.blended_motions(movers, *self.motions)
            blended = np.ascontiguousarray(blended.swapaxes(0, 1))  # (v, N, 3, 4)
            linear, offset = blended[..., :3], blended[..., 3]
            skinned = np.einsum("vncd,vd->vnc", linear, self.v_template[side]) + offset
            residual = self.target[:, side].transpose(1, 0, 2) - skinned
            squared.append((linear.swapaxes(2, 3) @ linear) * np.outer(flip, flip))
            pulled.append(np.einsum("vncd,vnc->vnd", linear, residual) * flip)
            energy = energy + (residual**2).sum(axis=(1, 2))
        return np.concatenate(squared, axis=1), np.concatenate(pulled, axis=1), energy

    def assemble(self, solve, description, progress):
        """posedirs (V, 3, 207) of `solve(members, columns) -> (v, 3, k)`, exactly symmetric."""
        posedirs = np.zeros((len(self.mirror), 3, NUM_FEATURES))
        for members, columns in tqdm(self.batches, desc=description, disable=_silent(progress)):
            posedirs[np.ix_(members, range(3), columns)] = solve(members, columns)
        order, sign = mirror_features()
        image = posedirs[self.mirror][:, :, order] * sign * FLIP[:, None]
        vertex = np.arange(len(self.mirror))
        midline = (vertex == self.mirror)[:, None, None]
        other = (vertex > self.mirror)[:, None, None]
        return np.where(midline, (posedirs + image) / 2, np.where(other, image, posedirs))


def solve_closed_form(problem, ridge=RIDGE, progress=False):
    """The minimum by the normal equations of each vertex: posedirs (V, 3, 207)."""

    def solve(members, columns):
        squared, pulled, _ = problem.terms(members)
        features = problem.features[:, columns]
        n, k = features.shape
        products = (features[:, :, None] * features[:, None, :]).reshape(n, k * k)
        normal = np.empty((len(members), 3, k, 3, k))
        for c in range(3):
            for d in range(c, 3):
                block = (squared[:, :, c, d] @ products).reshape(-1, k, k)
                normal[:, c, :, d] = normal[:, d, :, c] = block
        normal = normal.reshape(-1, 3 * k, 3 * k) + ridge * n * np.eye(3 * k)
        right = pulled.swapaxes(1, 2) @ features  # (v, 3, k)
        return np.linalg.solve(normal, right.reshape(-1, 3 * k, 1)).reshape(-1, 3, k)

    return problem.assemble(solve, "closed form", progress)


def solve_gradient(problem, ridge=RIDGE, steps=20, progress=False):
    """The same minimum by gradients: conjugate gradients (Hestenes and Stiefel 1952), full batch.

    The features are whitened first, so that a few steps suffice; every vertex has its own step
    length, for vertices share no unknowns.

    Returns:
        posedirs (V, 3, 207), and the loss before each step and after the last (steps + 1,): the
        mean squared vertex error plus the ridge's term, in square metres.
    """
    loss = np.zeros(steps + 1)

    def solve(members, columns):
        squared, pulled, energy = problem.terms(members)
        features = problem.features[:, columns]
        n, k = features.shape
        factor = np.linalg.cholesky(features.T @ features + ridge * n * np.eye(k))
        white = solve_triangular(factor, features.T, lower=True)  # (k, 2N)
        unwhiten = solve_triangular(factor, np.eye(k), lower=True)
        penalty = ridge * n * unwhiten @ unwhiten.T

        def hessian(x):
            pushed = np.einsum("vncd,vdn->vcn", squared, x @ white, optimize=True)
            return pushed @ white.T + x @ penalty

        right = pulled.swapaxes(1, 2) @ white.T  # minus the gradient at zero, (v, 3, k)
        solution, downhill = np.zeros_like(right), right.copy()
        direction, norm = right.copy(), (right**2).sum(axis=(1, 2))
        share = np.where(problem.mirror[members] == members, 0.5, 1.0)
        loss[0] += share @ energy
        for step in range(1, steps + 1):
            curved = hessian(direction)
            # a vertex that has arrived has no direction left: its step is zero, not 0 / 0
            length = norm / np.maximum((direction * curved).sum(axis=(1, 2)), 1e-300)
            solution += length[:, None, None] * direction
            downhill -= length[:, None, None] * curved
            last, norm = norm, (downhill**2).sum(axis=(1, 2))
            direction = downhill + (norm / np.maximum(last, 1e-300))[:, None, None] * direction
            loss[step] += share @ (energy - (solution * (right + downhill)).sum(axis=(1, 2)))
        return solution @ unwhiten

    posedirs = problem.assemble(solve, "gradient", progress)
    return posedirs, loss / (len(problem.mirror) * len(problem.target))


def evaluate(deformer, rotations, posedirs, target=None):
    """Mean vertex distance to the target deformer, in millimetres.

    Args:
        deformer: `TargetDeformer` of the body, of any shape.
        rotations: (N, 24, 3, 3), poses that were not learned from.
        posedirs: (V, 3, 207).
        target: (N, V, 3), what the deformer makes of these poses; None computes it.

    Returns:
        dict: "lbs", "dqs" and "correctives" (linear blend skinning with them), each the mean over
        poses and vertices; "joints", the same three of the vertices that each joint owns most.
    """
    if target is None:
        target = deformer.deform(rotations)
    v_template, joints, weights = deformer.v_template, deformer.joints, deformer.weights
    posed = {
        "lbs": blend_skinning(v_template, joints, weights, rotations),
        "dqs": deformer.dual_quaternion_skinning(rotations),
        "correctives": blend_skinning(v_template, joints, weights, rotations, posedirs),
    }
    owner = np.argmax(weights.round(DIGITS), axis=1)
    report = {"joints": {name: {} for name in JOINT_NAMES}}
    for kind, vertices in posed.items():
        error = 1000 * np.linalg.norm(vertices - target, axis=2).mean(axis=0)  # (V,)
        report[kind] = float(error.mean())
        for j, name in enumerate(JOINT_NAMES):
            if np.any(owner == j):
                report["joints"][name][kind] = float(error[owner == j].mean())
    return report


def learn_correctives(
    v_template, faces, joints, weights, mirror, *, poses=900, held_out=200, seed=0, shapes=(),
    progress=True,
):  # fmt: skip
    """Learn the pose correctives of a body, by gradients and in closed form, and measure them.

    One third of the training poses bend a single joint, the rest are natural (`sample_poses`); each
    is learned from together with its mirror image. The held-out poses are natural ones from another
    seed. The solution with the smaller held-out error is returned; within a nanometre, the first.

    Args:
        v_template: (V, 3) in the T-pose, exactly mirror-symmetric; faces: (F, 3).
        joints: (24, 3); weights: (V, 24), rows sum to one.
        mirror: (V,) each vertex's mirror image.
        poses, held_out: how many to learn from, to measure on.
        seed: of the poses.
        shapes: other bodies (v_template, joints) to measure on, learned from none of them.

    Returns:
        posedirs (V, 3, 207), exactly mirror-symmetric, and a report: `evaluate`'s entries for the
        held-out poses; "method", the one returned; "held_out_mm" of both methods; "difference_mm",
        the largest entry between the two solutions; "loss", the gradient method's curve, in square
        metres; "shapes", one `evaluate` without "joints" a shape.

    Raises:
        ValueError: arrays that do not fit together.
    """
    _check(v_template, faces, joints, weights, mirror)
    single = sample_poses(poses // 3, (seed, 0), "single")
    natural = sample_poses(poses - poses // 3, (seed, 1))
    learned = rotation_matrices(np.concatenate([single, natural]))
    unseen = rotation_matrices(sample_poses(held_out, (seed, 2)))
    deformer = TargetDeformer(v_template, faces, joints, weights)
    problem = LeastSquares(
        v_template, joints, weights, mirror, learned, deformer.deform(learned, progress=progress)
    )
    target = deformer.deform(unseen, progress=progress)
    by_gradient, loss = solve_gradient(problem, progress=progress)
    solutions = {
        "gradient": by_gradient,
        "closed form": solve_closed_form(problem, progress=progress),
    }
    reports = {name: evaluate(deformer, unseen, p, target) for name, p in solutions.items()}
    method = min(reports, key=lambda name: round(reports[name]["correctives"], 6))
    difference = np.abs(by_gradient - solutions["closed form"]).max()
    report = reports[method] | {
        "method": method,
        "held_out_mm": {name: r["correctives"] for name, r in reports.items()},
        "difference_mm": float(1000 * difference),
        "loss": loss.tolist(),
        "shapes": [],
    }
    for shaped, shaped_joints in shapes:
        other = TargetDeformer(shaped, faces, shaped_joints, weights)
        measured = evaluate(other, unseen, solutions[method])
        report["shapes"].append({k: measured[k] for k in ("lbs", "dqs", "correctives")})
    return solutions[method], report


def _check(v_template, faces, joints, weights, mirror):
    count = len(v_template)
    wanted = {
        "v_template": (np.shape(v_template), (count, 3)),
        "faces": (np.shape(faces), (len(faces), 3)),
        "joints": (np.shape(joints), (NUM_JOINTS, 3)),
        "weights": (np.shape(weights), (count, NUM_JOINTS)),
        "mirror": (np.shape(mirror), (count,)),
    }
    for name, (found, expected) in wanted.items():
        if found != expected:
            raise ValueError(f"{name} has shape {found}, expected {expected}")
    if not np.allclose(np.sum(weights, axis=1), 1, atol=1e-5):
        raise ValueError("weights: each vertex's row must sum to one; normalise them first")
    mirror = np.asarray(mirror)
    if np.any(mirror[mirror] != np.arange(count)):
        raise ValueError("mirror: the mirror image of a mirror image must be the vertex itself")
    gap = np.abs(np.asarray(v_template)[mirror] * FLIP - v_template).max()
    if gap > 1e-5:
        raise ValueError(f"v_template is {gap * 1000:.3g} mm from its mirror image; expected 0")
