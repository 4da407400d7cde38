"""The body in NumPy, for all who need no gradient: forward kinematics and linear blend skinning.

The same equations as in `model`, one person as well as many, in the precision of what comes in.
Each number is summed up in one order, whatever the processor and its threads, so that what is
drawn or learned is the same everywhere.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit
from scipy.spatial.transform import Rotation


def forward_kinematics(rotations, offsets, parents):
    """G_k: each joint's motion is its own, carried along by all its ancestors (SMPL, eq. 4).

    Args:
        rotations: (..., K, 3, 3), each relative to the parent.
        offsets: (..., K, 3) from the parent to the joint, in the parent's axes; the root's place.
        parents: K integers, parents before children, -1 for a root.

    Returns:
        rotations (..., K, 3, 3) in the world, and positions (..., K, 3).
    """
    world, places = rotations.copy(), offsets.copy()
    for joint, parent in enumerate(parents):
        if parent >= 0:
            world[..., joint, :, :] = world[..., parent, :, :] @ rotations[..., joint, :, :]
            carried = (world[..., parent, :, :] @ offsets[..., joint, :, None])[..., 0]
            places[..., joint, :] = places[..., parent, :] + carried
    return world, places


class Motions(NamedTuple):
    """Where the joints are, and the way of each from the rest pose: x' = R x + t.

    Attributes:
        joints: (B, K, 3) metres, of the posed body.
        rotations: (B, K, 3, 3); translations: (B, K, 3) metres.
    """

    joints: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray


def joint_motions(rotations, rest, parents):
    """`Motions` of posed bodies: G and G' (SMPL, eq. 4 and 3).

    Args:
        rotations: (B, K, 3, 3) of the pose, each relative to the parent.
        rest: (B, K, 3) or (K, 3) joints in the rest pose, metres.
        parents: as in `forward_kinematics`.
    """
    rest = np.broadcast_to(rest, rotations.shape[:-1])
    offsets = rest.copy()
    for joint, parent in enumerate(parents):
        if parent >= 0:
            offsets[:, joint] = rest[:, joint] - rest[:, parent]
    world, joints = forward_kinematics(rotations, offsets, parents)
    return Motions(joints, world, joints - (world @ rest[..., None])[..., 0])


def pose_feature(rotations):
    """R - I of all joints but the root, row by row (in eq. 9): (B, K, 3, 3) -> (B, 9 (K - 1))."""
    return (rotations[:, 1:] - np.eye(3)).reshape(len(rotations), -1)


class Weights(NamedTuple):
    """Which joints move each vertex, the strongest first, and how much; 0 fills the rows up.

    Attributes:
        movers: (V, n) numbers of joints; shares: (V, n) skinning weights.
    """

    movers: np.ndarray
    shares: np.ndarray

    @classmethod
    def of(cls, weights):
        """From a table (V, K). A weight below zero, as some rigs have, is one, too."""
        most = max(1, int((weights != 0).sum(axis=1).max(initial=0)))
        movers = np.argsort(-np.abs(weights), axis=1, kind="stable")[:, :most]
        return cls(movers.astype(np.uint8), np.take_along_axis(weights, movers, axis=1))


def linear_blend_skinning(vertices, weights, rotations, translations):
    """v'_i = sum_k w_ki (R_k v_i + t_k) (SMPL, eq. 7), in place.

    Args:
        vertices: (B, V, 3) in the rest pose; they become the posed ones.
        weights: `Weights` of these vertices.
        rotations, translations: (B, K, 3, 3), (B, K, 3), from the rest pose.

    Returns:
        `vertices`. All arrays have one dtype, float32 or float64.
    """
    _skin(vertices, *weights, rotations, translations)
    return vertices


def posed_body(body, betas, pose):
    """A whole body: what `Body.__call__` computes with linear blend skinning, without an engine.

    Args:
        body: `Body`.
        betas: (B, n), n <= num_betas; pose: (B, 24, 3) axis-angle.

    Returns:
        vertices (B, V, 3) and joints (B, 24, 3), metres, float32.
    """
    betas, pose = np.asarray(betas, np.float32), np.asarray(pose, float)
    turns = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix()
    turns = turns.reshape(*pose.shape, 3).astype(np.float32)
    directions = body.shapedirs[..., : betas.shape[1]]
    # not by BLAS, whose threads go on waiting for work and take the cores from who comes next:
    # a photograph that was looked through right after a call took half as long again
    shaped = body.v_template + np.einsum("vcs,bs->bvc", directions, betas)
    rest = np.stack([body.J_regressor @ vertices for vertices in shaped])
    joints, *motions = joint_motions(turns, rest, body.parents)
    feature = pose_feature(turns).astype(np.float32)
    vertices = shaped + np.einsum("vcs,bs->bvc", body.posedirs, feature)
    return linear_blend_skinning(vertices, _weights_of(body), *motions), joints


@lru_cache(maxsize=4)
def _weights_of(body):
    return Weights.of(body.weights)


def blended_motions(weights, rotations, translations):
    """sum_k w_ki [R_k | t_k], which `linear_blend_skinning` applies: (B, V, 3, 4)."""
    out = np.empty((len(rotations), len(weights.shares), 3, 4), rotations.dtype)
    _blend_all(*weights, rotations, translations, out)
    return out


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _blend(movers, shares, rotations, translations, blend):
    blend[:] = 0
    for n in range(len(movers)):
        joint, weight = movers[n], shares[n]
        if weight == 0:
            break
        for i in range(3):
            for j in range(3):
                blend[i, j] += weight * rotations[joint, i, j]
            blend[i, 3] += weight * translations[joint, i]


@njit(nogil=True, cache=True, error_model="numpy")
def _blend_all(movers, shares, rotations, translations, out):
    for b in range(out.shape[0]):
        for v in range(out.shape[1]):
            _blend(movers[v], shares[v], rotations[b], translations[b], out[b, v])


@njit(nogil=True, cache=True, error_model="numpy")
def _skin(vertices, movers, shares, rotations, translations):
    blend = np.empty((3, 4), vertices.dtype)
    for b in range(vertices.shape[0]):
        for v in range(vertices.shape[1]):
            _blend(movers[v], shares[v], rotations[b], translations[b], blend)
            x, y, z = vertices[b, v, 0], vertices[b, v, 1], vertices[b, v, 2]
            for i in range(3):
                vertices[b, v, i] = (
                    blend[i, 0] * x + blend[i, 1] * y + blend[i, 2] * z + blend[i, 3]
                )
