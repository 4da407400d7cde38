"""Bodies of many people at once, in NumPy: from betas and pose to vertices and keypoints."""

from functools import cache, lru_cache
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from numba import njit
from scipy.spatial.transform import Rotation

from hmrlib.body.files import default_path, read_model
from hmrlib.body.keypoints import keypoint_matrix, landmark_vertices
from hmrlib.data import records
from hmrlib.people.measures import coarsen, measure
from hmrlib.skeleton import PARENTS


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


COLUMNS = 512  # numbers of the bodies' vertices that are computed for all people together


@lru_cache(maxsize=1)
def body_arrays():
    """The arrays of `load_body()`, by the names that `Body` has for them, without Keras."""
    model = read_model(default_path())
    return SimpleNamespace(faces=model["f"], **model)


# Fewer vertices do where fewer pixels are: FEW for people seen at no more than NEAR pixels a metre.
NEAR, FEW = 160, 2400


@cache
def measurements(count=None):
    """`BodyMeasurements` of the shipped body, with all its vertices or with fewer."""
    return measure(body_arrays()) if count is None else coarsen(measurements(), count)


@lru_cache(maxsize=1)
def _equations():
    """The body's arrays as `pose_people` uses them.

    Returns:
        joints at rest (24, 3) and their directions (24, 3, 10); the `_Skin` of all vertices; that
        of the FEW of distant people, with the landmarks' vertices behind them; how many landmarks;
        and the matrix of the keypoints.
    """
    body = body_arrays()
    template = body.J_regressor @ body.v_template
    directions = np.stack([body.J_regressor @ body.shapedirs[..., s] for s in range(10)], -1)
    landmarks = landmark_vertices(body.v_template, body.weights)
    few = np.concatenate([measurements(FEW).kept, landmarks])
    return (
        (template, directions),
        _Skin.of(body, np.arange(len(body.v_template))),
        _Skin.of(body, few),
        len(landmarks),
        keypoint_matrix(records.KEYPOINTS),
    )


class _Skin(NamedTuple):
    """How some of the body's vertices, V, follow shape and pose.

    Attributes:
        matrix: (1 + 10 + 207, 3 V) template, shape and pose directions.
        movers, weights: (V, n) the joints that move a vertex, those that do so most first.
    """

    matrix: np.ndarray
    movers: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, body, vertices):
        """Those with these numbers."""
        parts = (body.v_template[..., None], body.shapedirs[..., :10], body.posedirs)
        matrix = np.concatenate([part[vertices].reshape(3 * len(vertices), -1).T for part in parts])
        weights = body.weights[vertices]
        most = int((weights > 0).sum(1).max())
        movers = np.argsort(-weights, axis=1, kind="stable")[:, :most]
        weights = np.take_along_axis(weights, movers, 1)
        return cls(
            np.ascontiguousarray(matrix, np.float32),
            movers.astype(np.uint8),
            weights.astype(np.float32),
        )

    def posed(self, features, transforms):
        """Vertices (P, V, 3) of people: (P, 218) factors of the matrix, and transforms."""
        vertices = np.empty((len(features), self.matrix.shape[1]), np.float32)
        _product(features, self.matrix, vertices)
        vertices = vertices.reshape(len(features), len(self.movers), 3)
        rotations, translations = (part.astype(np.float32) for part in transforms)
        _skin(vertices, self.movers, self.weights, rotations, translations)
        return vertices


@lru_cache(maxsize=1)
def thickness():
    """How deep below the skin each keypoint lies on the mean body, (K,) metres."""
    mean = pose_people([{"betas": np.zeros(10), "pose": np.zeros((24, 3))}])
    points, skin = mean["keypoints"][0], mean["vertices"][0]
    return np.array([np.linalg.norm(skin - point, axis=1).min() for point in points])


def pose_people(people):
    """Pose the bodies of people: `Body` in NumPy, which workers need not wait for.

    Args:
        people: list of dicts with betas (10,) and pose (24, 3).

    Returns:
        dict of arrays, P people: vertices (P, V, 3), few (P, FEW, 3) of them, joints (P, 24, 3),
        keypoints (P, 22, 3), pelvis (P, 3), where the root joint is at rest, and transforms:
        rotations (P, 24, 3, 3), translations (P, 24, 3) of `joint_transforms`.
    """
    posed = pose_coarsely(people)
    return posed | {"vertices": all_vertices(posed, np.arange(len(people)))}


def pose_coarsely(people):
    """The same without `vertices`; and features (P, 218), from which `all_vertices` has them."""
    (template, directions), _, skin, landmarks, to_keypoints = _equations()
    count = len(people)
    betas = np.array([person["betas"] for person in people], float)
    poses = np.array([person["pose"] for person in people], float)
    turns = Rotation.from_rotvec(poses.reshape(-1, 3)).as_matrix().reshape(-1, 24, 3, 3)
    rest = template + np.einsum("kcs,bs->bkc", directions, betas)  # (P, 24, 3)
    joints, *transforms = joint_transforms(turns, rest, PARENTS)
    features = np.ones((count, len(skin.matrix)), np.float32)
    features[:, 1:11] = betas
    features[:, 11:] = (turns[:, 1:] - np.eye(3)).reshape(count, -1)
    few = skin.posed(features, transforms)
    points = np.concatenate([joints, few[:, -landmarks:]], 1)
    return {
        "features": features,
        "few": few[:, :-landmarks],
        "joints": joints,
        "keypoints": to_keypoints.astype(float) @ points,
        "pelvis": rest[:, 0],
        "transforms": tuple(transforms),
    }


def all_vertices(posed, rows):
    """All vertices (n, V, 3) of some of the posed people."""
    transforms = [part[rows] for part in posed["transforms"]]
    return _equations()[1].posed(posed["features"][rows], transforms)


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


@njit(nogil=True, cache=True, error_model="numpy")
def _skin(vertices, movers, weights, rotations, translations):
    """Linear blend skinning (SMPL, eq. 7) of bodies (P, V, 3) at rest, in place."""
    blend = np.empty((3, 4), np.float32)
    for p in range(vertices.shape[0]):
        for v in range(vertices.shape[1]):
            blend[:] = 0
            for n in range(movers.shape[1]):
                joint, weight = movers[v, n], weights[v, n]
                if weight == 0:
                    break
                for i in range(3):
                    for j in range(3):
                        blend[i, j] += weight * rotations[p, joint, i, j]
                    blend[i, 3] += weight * translations[p, joint, i]
            x, y, z = vertices[p, v, 0], vertices[p, v, 1], vertices[p, v, 2]
            for i in range(3):
                vertices[p, v, i] = (
                    blend[i, 0] * x + blend[i, 1] * y + blend[i, 2] * z + blend[i, 3]
                )
