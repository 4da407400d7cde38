"""Shape space and joint regressor, learned from a population of bodies in the rest pose.

Follows section 4 of M. Loper et al., "SMPL: A Skinned Multi-Person Linear Model", SIGGRAPH Asia
2015: the shape blend shapes are the principal components of the registered bodies, and the joint
regressor is a sparse non-negative least squares fit from vertices to joints.
"""

from dataclasses import dataclass

import numpy as np
from scipy import linalg, optimize, sparse
from tqdm.auto import tqdm

from hmrlib.learn.makehuman import reflect
from hmrlib.skeleton import JOINT_MIRROR, JOINT_NAMES


@dataclass(frozen=True)
class ShapeSpace:
    """A linear space of body shapes: ``v_template + shapedirs @ betas``.

    Attributes:
        v_template: (V, 3) mean body, metres.
        shapedirs: (V, 3, S) displacement at one standard deviation, metres; each beta has unit
            variance over the population.
        std: (S,) standard deviation along each unit direction: sqrt of the eigenvalues of the
            bodies' covariance.
        explained: (S,) share of the population's total variance, largest first.
    """

    v_template: np.ndarray
    shapedirs: np.ndarray
    std: np.ndarray
    explained: np.ndarray


def shape_space(bodies: np.ndarray, mirror: np.ndarray, components: int) -> ShapeSpace:
    """Principal components of N mirror-symmetric bodies.

    The bodies are taken as they stand, pelvis joint at the origin, and not shifted to the best
    fit: that is the point the model turns about, so that beta never moves the root.

    The bodies are symmetric, so the left half says everything: the right half doubles every
    variance off the midline and adds nothing. The components are found in the (N, N) matrix of
    inner products, which is smaller than the covariance, and are mirrored exactly at the end.
    Each is turned so that a positive beta makes the body larger (its inner product with the mean
    body is positive); one that does neither has its first large entry positive (`signs`).

    Args:
        bodies: (N, V, 3) vertices in metres.
        mirror: (V,) vertex on the other side, its own inverse.
        components: S, at most N - 1.
    """
    if not 1 <= components < len(bodies):
        raise ValueError(
            f"Expected between 1 and {len(bodies) - 1} components for {len(bodies)} bodies, "
            f"found {components}."
        )
    mean = bodies.mean(axis=0, dtype=np.float64)
    mean = (mean + reflect(mean[mirror])) / 2
    midline = mirror == np.arange(len(mirror))
    left = np.flatnonzero(np.arange(len(mirror)) <= mirror)  # one of each pair
    scale = np.where(midline[left], 1.0, np.sqrt(2.0))[:, None]
    x = (bodies[:, left] - mean[left]) * scale  # (N, L, 3) float64
    x = x.reshape(len(bodies), -1)
    gram = x @ x.T / (len(bodies) - 1)
    total = np.trace(gram)
    last = len(bodies) - 1
    variance, u = linalg.eigh(gram, subset_by_index=[last - components + 1, last])
    variance, u = variance[::-1], u[:, ::-1]
    # Columns of x^T u have length sqrt(variance (N - 1)); one beta is one standard deviation.
    half = (x.T @ u / np.sqrt(len(bodies) - 1)).reshape(len(left), 3, components) / scale[..., None]
    half *= signs(mean[left] * scale**2, half)
    half[midline[left], 0] = 0
    shapedirs = np.empty((*mean.shape, components))
    shapedirs[mirror[left]] = half * np.array([-1.0, 1.0, 1.0])[:, None]
    shapedirs[left] = half
    return ShapeSpace(mean, shapedirs, np.sqrt(variance), variance / total)


def signs(mean: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """1 or -1 (S,) for directions (L, 3, S): the sign of the inner product with ``mean`` (L, 3).

    Of a direction that stands on the mean body at right angles, up to rounding, the first entry
    that is at least half of the largest decides.
    """
    flat = directions.reshape(-1, directions.shape[-1])
    larger = mean.ravel() @ flat / np.linalg.norm(mean) / np.linalg.norm(flat, axis=0)
    big = np.abs(flat) > 0.5 * np.abs(flat).max(axis=0)
    first = flat[big.argmax(axis=0), np.arange(flat.shape[1])]
    return np.where(np.where(np.abs(larger) > 1e-7, larger, first) < 0, -1.0, 1.0)


def fit_betas(space: ShapeSpace, bodies: np.ndarray, count: int) -> np.ndarray:
    """Least-squares betas (N, count) of bodies (N, V, 3), by projection on the components."""
    flat = (bodies - space.v_template).reshape(len(bodies), -1)
    directions = space.shapedirs.reshape(flat.shape[1], -1)[:, :count]
    return flat @ directions / space.std[:count] ** 2


def shape_error(space: ShapeSpace, bodies: np.ndarray, count: int) -> np.ndarray:
    """Distance (N, V) in metres between bodies and their reconstruction from ``count`` betas."""
    betas = fit_betas(space, bodies, count)
    rebuilt = space.v_template + np.einsum("vcs,ns->nvc", space.shapedirs[..., :count], betas)
    return np.linalg.norm(bodies - rebuilt, axis=-1)


def joint_regressor(
    bodies: np.ndarray,
    joints: np.ndarray,
    mirror: np.ndarray,
    nearest: int = 400,
    progress: str | None = None,
) -> sparse.csc_array:
    """Find each joint as a convex combination of a few vertices around it.

    For joint j, minimise the squared distance over all bodies between the joint and the weighted
    vertices, weights non-negative (C. Lawson and R. Hanson, "Solving Least Squares Problems",
    1974, chapter 23) and summing to one. Most weights come out zero. Left joints are fitted and
    right ones are their mirror images; rows of joints on the midline are made symmetric.

    Args:
        bodies: (N, V, 3) vertices in the rest pose, metres.
        joints: (N, 24, 3) their joints, metres.
        mirror: (V,) vertex on the other side.
        nearest: how many vertices around the joint, on the mean body, may take part.
        progress: a label for the progress bar; None for silence.

    Returns:
        (24, V) sparse, rows summing to one.
    """
    mean, mean_joints = bodies.mean(axis=0, dtype=np.float64), joints.mean(axis=0)
    regressor = np.zeros((len(JOINT_NAMES), len(mean)))
    for j, name in enumerate(tqdm(JOINT_NAMES, desc=progress, disable=progress is None)):
        if name.startswith("right_"):
            regressor[j] = regressor[JOINT_MIRROR[j]][mirror]  # left joints come first
            continue
        distance = np.linalg.norm(mean - mean_joints[j], axis=1).round(9)
        ids = np.argsort(distance, kind="stable")[:nearest]  # of two as near, the first
        if JOINT_MIRROR[j] == j:
            ids = np.union1d(ids, mirror[ids])
        row = _convex_fit(bodies[:, ids], joints[:, j])
        regressor[j, ids] = row
        if JOINT_MIRROR[j] == j:
            regressor[j] = (regressor[j] + regressor[j][mirror]) / 2
    regressor[regressor.round(9) < 1e-4] = 0
    return sparse.csc_array(regressor / regressor.sum(axis=1, keepdims=True))


def _convex_fit(points: np.ndarray, goals: np.ndarray) -> np.ndarray:
    """Non-negative weights (K,) that sum to one and take points (N, K, 3) nearest to goals (N, 3).

    With weights summing to one, sum_k w_k p_k - g = sum_k w_k (p_k - g): the residual is linear
    in w without a constant. Its normal matrix is (K, K) whatever N, and a Cholesky factor of it
    is the least squares problem in small.
    """
    residual = (points.astype(np.float64) - goals[:, None]).transpose(0, 2, 1)  # (N, 3, K)
    residual = residual.reshape(-1, points.shape[1])
    normal = residual.T @ residual / len(points)
    normal += 1e-9 * np.trace(normal) / len(normal) * np.eye(len(normal))
    factor = linalg.cholesky(normal)
    stiff = 100 * np.sqrt(np.trace(normal))  # the row that asks for sum(w) = 1
    a = np.vstack([factor, np.full(len(normal), stiff)])
    weights, _ = optimize.nnls(a, np.append(np.zeros(len(normal)), stiff), maxiter=50 * len(a))
    return weights / weights.sum()
