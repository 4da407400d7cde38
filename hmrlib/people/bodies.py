"""Bodies of many people at once, in NumPy: from betas and pose to vertices and keypoints."""

from functools import cache, lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from numba import njit
from scipy.spatial.transform import Rotation

from hmrlib.body.files import default_path, read_model
from hmrlib.body.keypoints import keypoint_matrix, landmark_vertices
from hmrlib.body.kinematics import Weights, joint_motions, linear_blend_skinning, pose_feature
from hmrlib.data import records
from hmrlib.io import atomic_write, read_npz
from hmrlib.people.measures import coarsen, measure, select
from hmrlib.skeleton import PARENTS

COLUMNS = 512  # numbers of the bodies' vertices that are computed for all people together
# Fewer vertices do where fewer pixels are: for people seen at no more than NEAR pixels a metre.
NEAR = 160
COARSE = Path(__file__).parent / "assets" / "coarse.npz"  # see `write_coarse`


@lru_cache(maxsize=1)
def body_arrays():
    """The arrays of `load_body()`, by the names that `Body` has for them, without Keras."""
    model = read_model(default_path())
    return SimpleNamespace(faces=model["f"], **model)


@cache
def measurements(is_near=True):
    """`BodyMeasurements` of the shipped body: all its vertices, or the few for people far away."""
    if is_near:
        return measure(body_arrays())
    coarse = read_npz(COARSE)
    return select(measurements(), coarse["kept"], coarse["faces"])


def write_coarse(path=COARSE, count=2400):
    """Choose the few vertices anew: for after the shipped body has been learned again."""
    few = coarsen(measurements(), count)
    with atomic_write(path) as file:
        np.savez_compressed(file, kept=np.uint16(few.kept), faces=np.uint16(few.faces))


class Surface(NamedTuple):
    """How some of the body's vertices, V, follow shape and pose.

    Attributes:
        matrix: (1 + 10 + 207, 3 V) template, shape and pose directions.
        weights: `Weights`, float32.
    """

    matrix: np.ndarray
    weights: Weights

    @classmethod
    def of(cls, body, vertices):
        """Those with these numbers."""
        parts = (body.v_template[..., None], body.shapedirs[..., :10], body.posedirs)
        matrix = np.concatenate([part[vertices].reshape(3 * len(vertices), -1).T for part in parts])
        weights = Weights.of(body.weights[vertices].astype(np.float32))
        return cls(np.ascontiguousarray(matrix, np.float32), weights)

    def posed(self, features, rotations, translations):
        """Vertices (P, V, 3) of people: (P, 218) factors of the matrix, and their motions."""
        vertices = np.empty((len(features), self.matrix.shape[1]), np.float32)
        _product(features, self.matrix, vertices)
        motions = rotations.astype(np.float32), translations.astype(np.float32)
        vertices = vertices.reshape(len(features), len(self.weights.movers), 3)
        return linear_blend_skinning(vertices, self.weights, *motions)


class Equations(NamedTuple):
    """The body's arrays as `pose_people` uses them.

    Attributes:
        joints: (24, 3) at rest; directions: (24, 3, 10), how betas move them.
        surface: of all vertices; few: of those for people far away, the landmarks behind them.
        landmarks: how many; to_keypoints: (22, 24 + landmarks).
    """

    joints: np.ndarray
    directions: np.ndarray
    surface: Surface
    few: Surface
    landmarks: int
    to_keypoints: np.ndarray


@lru_cache(maxsize=1)
def _equations():
    body = body_arrays()
    directions = np.stack([body.J_regressor @ body.shapedirs[..., s] for s in range(10)], -1)
    landmarks = landmark_vertices(body.v_template, body.weights)
    few = np.concatenate([measurements(False).kept, landmarks])
    return Equations(
        body.J_regressor @ body.v_template,
        directions,
        Surface.of(body, np.arange(len(body.v_template))),
        Surface.of(body, few),
        len(landmarks),
        keypoint_matrix(records.KEYPOINTS).astype(float),
    )


class PosedPeople(NamedTuple):
    """P posed bodies, each about where its template stands; metres.

    Attributes:
        few: (P, W, 3) the vertices for people far away; joints: (P, 24, 3).
        keypoints: (P, 22, 3); pelvis: (P, 3), the root joint at rest.
        rotations, translations: (P, 24, 3, 3), (P, 24, 3), from rest to the pose.
        features: (P, 218) from which `vertices` has them.
    """

    few: np.ndarray
    joints: np.ndarray
    keypoints: np.ndarray
    pelvis: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray
    features: np.ndarray

    def vertices(self, rows=slice(None)):
        """All vertices of some of the people, (n, V, 3) float32."""
        motions = self.rotations[rows], self.translations[rows]
        return _equations().surface.posed(self.features[rows], *motions)


def pose_people(people):
    """Pose the bodies of people: `Body` in NumPy, which workers need not wait for.

    Args:
        people: list of `Person`, or anything with betas (10,) and pose (24, 3).

    Returns:
        `PosedPeople`.
    """
    equations, count = _equations(), len(people)
    betas = np.array([person.betas for person in people], float)
    poses = np.array([person.pose for person in people], float)
    turns = Rotation.from_rotvec(poses.reshape(-1, 3)).as_matrix().reshape(-1, 24, 3, 3)
    rest = equations.joints + np.einsum("kcs,bs->bkc", equations.directions, betas)  # (P, 24, 3)
    joints, *motions = joint_motions(turns, rest, PARENTS)
    features = np.ones((count, len(equations.few.matrix)), np.float32)
    features[:, 1:11] = betas
    features[:, 11:] = pose_feature(turns)
    few = equations.few.posed(features, *motions)
    points = np.concatenate([joints, few[:, -equations.landmarks :]], 1)
    keypoints = equations.to_keypoints @ points
    few = few[:, : -equations.landmarks]
    return PosedPeople(few, joints, keypoints, rest[:, 0], *motions, features)


@lru_cache(maxsize=1)
def thickness():
    """How deep below the skin each keypoint lies on the mean body, (22,) metres."""
    mean = pose_people([SimpleNamespace(betas=np.zeros(10), pose=np.zeros((24, 3)))])
    points, skin = mean.keypoints[0], mean.vertices()[0]
    return np.array([np.linalg.norm(skin - point, axis=1).min() for point in points])


@njit(nogil=True, cache=True, error_model="numpy")
def _product(rows, matrix, out):
    """The matrix product of (P, n) and (n, m), n even: each number summed up in order.

    BLAS does it in an order that depends on the processor, on its threads and on P. Columns are
    taken a few at a time, so that they stay in the processor's cache for all rows.
    """
    width = matrix.shape[1]
    for begin in range(0, width, COLUMNS):
        end = min(begin + COLUMNS, width)
        for p in range(rows.shape[0]):
            total = out[p, begin:end]
            total[:] = 0
            for k in range(0, rows.shape[1], 2):  # two at a time: half as often read and written
                a, b = rows[p, k], rows[p, k + 1]
                first, second = matrix[k, begin:end], matrix[k + 1, begin:end]
                for j in range(end - begin):
                    total[j] = (total[j] + a * first[j]) + b * second[j]
