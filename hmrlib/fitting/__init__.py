"""Fitting: the pose, shape and place of the body that explain given keypoints.

`fit_points` explains points in space (motion capture), `fit_keypoints` points in a picture
(SMPLify, Bogo et al. 2016). Both minimise, for every body of a batch by itself,

    E = sum_k w_k rho(|x_k(theta, beta, t) - y_k|^2 / s^2)      the keypoints
      + limits(theta) + prior(theta) + lambda |beta|^2          what is known of people

by damped Gauss-Newton steps (Levenberg-Marquardt), all bodies at once. Keypoints need no mesh: each
moves rigidly with a joint, so that forward kinematics gives their places and, in closed form, their
derivatives. A joint's rotation is held as its angles of swing and twist, in which the limits of
`skeleton.JOINT_LIMITS` are plain bounds; the root's is a free rotation.

Frame: that of the keypoints in space, or the camera's (x right, y down, z forward). Metres,
radians, pixels. B = batch, K = keypoints, S = sites, n = shape coefficients.
"""

from functools import lru_cache, partial
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from scipy.optimize import least_squares
from tqdm.auto import tqdm

from hmrlib import geometry, skeleton
from hmrlib.body import keypoints as body_keypoints
from hmrlib.body.model import joint_locations

TWIST_AXIS, LEAST, RELAXED, MOST = (np.float32(a) for a in skeleton.joint_limits())  # (24, 3)
NUM_JOINTS = len(skeleton.JOINT_NAMES)
# points of the skin that motion capture has and no keypoint set: the first joint carries it, and it
# is the foremost point of the skin of all of them
_EXTREMES = {"toe": ("foot",), "thumb": ("wrist", "hand")}
SITE_NAMES = (
    *skeleton.JOINT_NAMES,
    *body_keypoints.LANDMARK_NAMES,
    *(f"{side}_{name}" for name in _EXTREMES for side in ("left", "right")),
    *body_keypoints.FEET_NAMES,
)
SITE_OWNERS = (  # the joint that carries each site; a joint's place is carried by its parent
    *np.maximum(skeleton.PARENTS, 0).tolist(),
    *[skeleton.JOINT_NAMES.index("head")] * len(body_keypoints.LANDMARK_NAMES),
    *(
        skeleton.JOINT_NAMES.index(f"{side}_{joints[0]}")
        for joints in _EXTREMES.values()
        for side in ("left", "right")
    ),
    *(
        skeleton.JOINT_NAMES.index(name.split("_")[0] + ("_ankle" if "heel" in name else "_foot"))
        for name in body_keypoints.FEET_NAMES
    ),
)

_NOT_ROOT = np.float32(np.arange(NUM_JOINTS) > 0)[:, None]  # (24, 1)
# how hard an angle pulls towards its relaxed value: the narrower its limits, the harder
_TENSION = np.float32(25 / (MOST - LEAST) ** 2)  # (24, 3), the root's 0
LIMIT = 0.05  # radians beyond a limit that weigh as much as a keypoint that is off by its scale
START_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-2, 1e-6, 1e6


class Fit(NamedTuple):
    """What a fit found, as NumPy arrays.

    Attributes:
        pose: (B, 24, 3) axis-angle; the root's in the frame of the keypoints.
        betas: (B, n).
        translation: (B, 3) metres: the body's vertices are body(betas, pose) + translation.
        points: (B, K, 3) metres, the body's own keypoints.
        rotations: (B, 24, 3, 3), of the joints in the world.
        energy: (B,), the least value found of E.
    """

    pose: np.ndarray
    betas: np.ndarray
    translation: np.ndarray
    points: np.ndarray
    rotations: np.ndarray
    energy: np.ndarray


@lru_cache(maxsize=4)
def sites(body):
    """Where the points that can be fitted are on the body at rest.

    Returns:
        template (S, 3) metres and shapedirs (n, S, 3), of `SITE_NAMES`.
    """
    mean, weights = body.v_template, body.weights
    skin = list(body_keypoints.landmark_vertices(mean, weights))
    for name in _EXTREMES:
        for side in ("left", "right"):
            chain = [f"{side}_{joint}" for joint in _EXTREMES[name]]
            carried = weights[:, [skeleton.JOINT_NAMES.index(joint) for joint in chain]].sum(axis=1)
            skin.append(np.where(carried > 0.5, mean[:, 2], -np.inf).argmax())  # the foremost
    skin += list(body_keypoints.feet_vertices(mean, weights))
    regressor = body.J_regressor.toarray()  # (24, V)
    template = np.concatenate([regressor @ mean, mean[skin]])
    shapedirs = body.shapedirs.transpose(2, 0, 1)  # (n, V, 3)
    shapedirs = np.concatenate([regressor @ shapedirs, shapedirs[:, skin]], axis=1)
    return template.astype("float32"), shapedirs.astype("float32")


# --- one step -------------------------------------------------------------------------------


class State(NamedTuple):
    """Unknowns: angles (B, 24, 3), root (B, 3, 3), translation (B, 3), betas (B, n)."""

    angles: Any
    root: Any
    translation: Any
    betas: Any


class _Seen(NamedTuple):
    """What the bodies are to explain.

    Attributes:
        points: (B, K, 3) metres, or (B, K, 2) pixels, or (B, K, 4) pixels, a depth relative to the
            other points' in metres, and the weight of that.
        weights: (B, K), 0 where unknown.
        scale: (B, 1, 1) metres or pixels: how far off counts 1.
        camera: (B, 3) focal, cx, cy in pixels; None for points in space.
    """

    points: Any
    weights: Any
    scale: Any
    camera: Any = None


def kinematics(state, rest, owner):
    """Sites (B, S, 3) of a state, their derivatives (B, S, 3, 72 + 3 + n), the joints' rotations.

    Args:
        rest: template (24 + S, 3), shapedirs (n, 24 + S, 3): the joints, then the sites.
        owner: (S,) the joint that carries each site.
    """
    template, shapedirs = rest
    count = state.betas.shape[1]
    places = joint_locations(template, shapedirs[:count], state.betas)
    joints, places = places[:, :NUM_JOINTS], places[:, NUM_JOINTS:]
    rotations, axes = _turns(state.angles)
    rotations = ops.concatenate([state.root[:, None], rotations[:, 1:]], axis=1)
    world = _world_rotations(rotations)
    parents = np.maximum(skeleton.PARENTS, 0)
    bones = joints - ops.take(joints, parents, axis=1)
    bones = _times(ops.take(world, parents, axis=1), bones)  # the root's is zero
    posed = _sum_along_chains(bones) + (joints[:, :1] + state.translation[:, None])
    carrier = ops.take(world, owner, axis=1)  # (B, S, 3, 3)
    points = ops.take(posed, owner, axis=1) + _times(
        carrier, places - ops.take(joints, owner, axis=1)
    )

    # d point / d angle = axis x (point - joint), where the joint carries the point
    axes = ops.matmul(world, axes)  # (B, 24, 3, 3), columns in the world
    turns = ops.matmul(ops.swapaxes(axes, 2, 3), ops.convert_to_tensor(_CROSS_ROWS))
    turns = ops.reshape(turns, (-1, 3 * NUM_JOINTS, 3, 3))  # [axis]x, transposed
    turns = ops.transpose(turns, (0, 2, 3, 1))  # (B, 3, 3, 72)
    centers = ops.repeat(ops.swapaxes(posed, 1, 2), 3, axis=2)[:, :, None]  # (B, 3, 1, 72)
    turning = ops.matmul(points, ops.reshape(turns, (-1, 3, 9 * NUM_JOINTS)))
    turning = ops.reshape(turning, (-1, len(owner), 3, 3 * NUM_JOINTS))
    turning = turning - ops.sum(turns * centers, axis=1)[:, None]
    carried = np.repeat(_carries(owner), 3, axis=1)[:, None]  # (S, 1, 72)
    derivatives = [
        turning * ops.convert_to_tensor(carried),
        ops.broadcast_to(ops.eye(3), (*ops.shape(points), 3)),
    ]
    if count:
        derivatives.append(_growing(world, shapedirs[:count], owner))
    return points, ops.concatenate(derivatives, axis=-1), world


def _times(matrices, vectors):
    return ops.sum(matrices * vectors[..., None, :], axis=-1)


def _world_rotations(rotations):
    """Each joint's rotation in the world, (B, 24, 3, 3), generation by generation."""
    world, order = rotations[:, :1], [0]
    while len(order) < NUM_JOINTS:
        children = [k for k in range(NUM_JOINTS) if k not in order and skeleton.PARENTS[k] in order]
        parents = [order.index(skeleton.PARENTS[k]) for k in children]
        turned = ops.matmul(ops.take(world, parents, axis=1), ops.take(rotations, children, axis=1))
        world, order = ops.concatenate([world, turned], axis=1), order + children
    return ops.take(world, np.argsort(order), axis=1)


def _sum_along_chains(parts):
    """The sum of what each joint adds, (B, 24, ...), from the root down to each joint."""
    shape = (-1, NUM_JOINTS, int(np.prod(parts.shape[2:])))
    chains = ops.convert_to_tensor(_carries(range(NUM_JOINTS)))  # (24, 24)
    return ops.reshape(ops.matmul(chains, ops.reshape(parts, shape)), (-1, *parts.shape[1:]))


def _carries(owner):
    """(S, 24) ones where a joint's turning moves a site: its owner and all above it."""
    carries = np.zeros((len(owner), NUM_JOINTS), np.float32)
    for site, joint in enumerate(owner):
        while joint >= 0:
            carries[site, joint] = 1
            joint = skeleton.PARENTS[joint]
    return carries


# [u]x = sum_k u_k _CROSS[k]: the matrices of the cross products with the axes
_CROSS = np.float32(
    [
        [[0, 0, 0], [0, 0, -1], [0, 1, 0]],
        [[0, 0, 1], [0, 0, 0], [-1, 0, 0]],
        [[0, -1, 0], [1, 0, 0], [0, 0, 0]],
    ]
)
_CROSS_ROWS = _CROSS.transpose(0, 2, 1).reshape(3, 9)
_TWIST_CROSS = np.tensordot(TWIST_AXIS, _CROSS, axes=1)  # (24, 3, 3)


def _turns(angles):
    """What `geometry.swing_twist_to_matrix` says of angles (B, 24, 3), and its derivative.

    A twist turns about its own axis. A swing comes before it: its axis is the right Jacobian of
    the rotation vector, seen through the twist.

    Returns:
        rotations (B, 24, 3, 3); the axes, at each joint's end, about which it turns as its angles
        grow, (B, 24, 3, 3), the identity where all of them are zero.
    """
    twist_axis = ops.convert_to_tensor(TWIST_AXIS)
    twist = angles * twist_axis
    swing = angles - twist
    cross = ops.matmul(swing, ops.reshape(ops.convert_to_tensor(_CROSS), (3, 9)))
    cross = ops.reshape(cross, (-1, NUM_JOINTS, 3, 3))
    # b is noise near zero, where its matrix is as good as zero, too
    squared = ops.sum(swing**2, axis=-1)[..., None, None] + 1e-12
    angle = ops.sqrt(squared)
    sine = ops.sin(angle) / angle
    a = 2 * (ops.sin(angle / 2) / angle) ** 2
    b = (1 - sine) / squared
    twice = ops.matmul(cross, cross)
    swung = ops.eye(3) + sine * cross + a * twice
    right = ops.eye(3) - a * cross + b * twice
    # about one axis of the joint: Rodrigues' formula with matrices that are known
    turn = ops.sum(twist, axis=-1)[..., None, None]
    about = ops.convert_to_tensor(_TWIST_CROSS)
    along = ops.sin(turn) * about
    back = ops.eye(3) + (1 - ops.cos(turn)) * ops.convert_to_tensor(_TWIST_CROSS @ _TWIST_CROSS)
    axes = ops.matmul(back - along, right) * (1 - twist_axis)[:, None, :]
    return ops.matmul(swung, back + along), axes + ops.eye(3) * twist_axis[:, None, :]


def _growing(world, shapedirs, owner):
    """d sites / d betas (B, S, 3, n): each bone's growth, carried along the chain."""
    directions = ops.transpose(shapedirs, (1, 2, 0))  # (S, 3, n)
    joints, parents = directions[:NUM_JOINTS], np.maximum(skeleton.PARENTS, 0)
    growth = joints - ops.take(joints, parents, axis=0)  # the root's is zero
    moved = ops.matmul(ops.take(world, parents, axis=1), growth)  # (B, 24, 3, n)
    moved = joints[0] + _sum_along_chains(moved)
    growth = directions[NUM_JOINTS:] - ops.take(directions, owner, axis=0)
    carrier = ops.take(world, owner, axis=1)
    return ops.take(moved, owner, axis=1) + ops.matmul(carrier, growth)


def _evaluate(state, moved, matrix, seen, terms, prior):
    """The energy at a state, and what a Gauss-Newton step needs.

    Args:
        moved: `kinematics`, all but the state given.
        matrix: (K, S) from sites to keypoints; None: they are the same.
        seen: `_Seen`.
        terms: dict of scalars, the weights of the other terms.
        prior: arrays of `prior.Prior.mixture`, or None.

    Returns:
        E (B,), half its gradient (B, N), half its curvature (B, N, N); N = 72 + 3 + n.
    """
    target, weight, scale, camera = seen
    points, jacobian, _ = moved(state)
    unknowns = jacobian.shape[-1]
    if matrix is not None:
        matrix = ops.convert_to_tensor(matrix)
        jacobian = ops.reshape(jacobian, (-1, points.shape[1], 3 * unknowns))
        jacobian = ops.reshape(ops.matmul(matrix, jacobian), (-1, matrix.shape[0], 3, unknowns))
        points = ops.matmul(matrix, points)  # (B, K, 3)
    lifted = None
    if camera is not None:
        lifted = points[..., 2:], jacobian[..., 2:, :]
        points, jacobian = _project(points, jacobian, camera)
    energy, gradient, curvature = _pull(
        (points - target[..., : points.shape[-1]]) / scale,
        jacobian / scale[..., None],
        weight,
        camera is not None,
    )
    if camera is not None and target.shape[-1] > 2:
        more = _pull_depth(*lifted, target[..., 2:3], target[..., 3], terms["depth"])
        energy, gradient, curvature = (
            a + b for a, b in zip((energy, gradient, curvature), more, strict=True)
        )

    # joint limits and the relaxed pose are parabolas in the angles, the betas' prior in the betas
    least, relaxed, most, tension = map(ops.convert_to_tensor, (LEAST, RELAXED, MOST, _TENSION))
    beyond = state.angles - ops.minimum(ops.maximum(state.angles, least), most)  # (B, 24, 3)
    away = state.angles - relaxed
    limit, relax = terms["limits"] / LIMIT**2, terms["relaxed"] * tension
    energy = energy + ops.sum(limit * beyond**2 + relax * away**2, axis=(1, 2))
    energy = energy + terms["betas"] * ops.sum(state.betas**2, axis=1)
    slope = ops.reshape(limit * beyond + relax * away, (-1, 3 * NUM_JOINTS))
    outside = ops.cast(ops.abs(beyond) > 0, "float32")
    stiffness = ops.reshape(limit * outside + relax, (-1, 3 * NUM_JOINTS))
    still = ops.zeros_like(state.translation)
    gradient = gradient + ops.concatenate([slope, still, terms["betas"] * state.betas], axis=1)
    diagonal = [stiffness, still, terms["betas"] * ops.ones_like(state.betas)]
    curvature = curvature + _diagonal(ops.concatenate(diagonal, axis=1))
    if prior is not None:
        value, slope, bend = gaussian_mixture(ops.reshape(state.angles[:, 1:], (-1, 69)), *prior)
        energy = energy + terms["prior"] * value
        rest = unknowns - 3 * NUM_JOINTS
        gradient = gradient + terms["prior"] / 2 * ops.pad(slope, ((0, 0), (3, rest)))
        curvature = curvature + terms["prior"] / 2 * ops.pad(bend, ((0, 0), (3, rest), (3, rest)))
    return energy, gradient, curvature


def _pull(residual, jacobian, weight, robust):
    """Half-quadratic form of sum_k w_k rho(|r_k|^2): E (B,), half gradient, half curvature.

    rho is the square, or, if `robust`, Geman and McClure's (1987): what is far off counts as 1,
    however far.

    Args:
        residual: (B, K, D), jacobian: (B, K, D, N), weight: (B, K).
    """
    squared = ops.sum(residual**2, axis=-1)  # (B, K)
    if robust:
        energy = ops.sum(weight * squared / (1 + squared), axis=-1)
        weight = weight / (1 + squared) ** 2
    else:
        energy = ops.sum(weight * squared, axis=-1)
    root = ops.sqrt(weight)[..., None]  # (B, K, 1)
    rows = residual.shape[1] * residual.shape[2]
    residual = ops.reshape(root * residual, (-1, rows, 1))
    jacobian = ops.reshape(root[..., None] * jacobian, (-1, rows, jacobian.shape[-1]))
    turned = ops.swapaxes(jacobian, 1, 2)
    return energy, ops.matmul(turned, residual)[..., 0], ops.matmul(turned, jacobian)


def _pull_depth(depth, jacobian, target, weight, scale):
    """The same of depths relative to each other: what is common to all points is not asked for.

    Args:
        depth: (B, K, 1), jacobian: (B, K, 1, N), target: (B, K, 1) metres; weight: (B, K);
        scale: (), metres: how far off counts as an outlier.
    """
    share = weight / (ops.sum(weight, axis=1, keepdims=True) + 1e-6)  # (B, K)
    away = depth - target
    away = away - ops.sum(share[..., None] * away, axis=1, keepdims=True)
    mean = ops.sum(share[..., None, None] * jacobian, axis=1, keepdims=True)
    return _pull(away / scale, (jacobian - mean) / scale, weight, robust=True)


def gaussian_mixture(x, log_weights, means, precisions, log_dets):
    """-log p(x) of a mixture of Gaussians, its gradient, and a curvature that bounds it.

    The curvature is the mean of the components' precisions, weighted by their responsibilities:
    never negative, and a step with it never raises -log p (it is the M step's, Dempster et al.
    1977).

    Args:
        x: (B, D); log_weights (M,), means (M, D), precisions (M, D, D), log_dets (M,) of them.

    Returns:
        (B,), (B, D), (B, D, D).
    """
    log_weights, means, precisions, log_dets = (
        ops.convert_to_tensor(array, dtype="float32")
        for array in (log_weights, means, precisions, log_dets)
    )
    away = x[:, None] - means  # (B, M, D)
    pull = ops.einsum("mde,bme->bmd", precisions, away)
    exponent = log_weights + (log_dets - ops.sum(away * pull, axis=-1)) / 2  # (B, M)
    constant = x.shape[1] / 2 * np.log(2 * np.pi)
    total = ops.logsumexp(exponent, axis=1)
    share = ops.exp(exponent - total[:, None])  # responsibilities
    return (
        constant - total,
        ops.einsum("bm,bmd->bd", share, pull),
        ops.einsum("bm,mde->bde", share, precisions),
    )


def _project(points, jacobian, camera):
    """Pixels (B, K, 2) of points in the camera's frame, and their derivatives (B, K, 2, N)."""
    focal, center = camera[:, None, :1], camera[:, None, 1:]  # (B, 1, 1), (B, 1, 2)
    depth = ops.maximum(points[..., 2:], 0.1)  # what is behind the camera is drawn in front of it
    ratio = points[..., :2] / depth
    pixels = focal * ratio + center
    slope = jacobian[..., :2, :] - ratio[..., None] * jacobian[..., 2:, :]
    return pixels, (focal / depth)[..., None] * slope


def _diagonal(vector):
    return vector[..., None] * ops.eye(vector.shape[-1])


def _step(state, found, damping, free, evaluate):
    """One damped Gauss-Newton step for every body; those that it would harm stay where they are.

    Args:
        found: E, gradient, curvature at the state; damping: (B,); free: (N,) ones and zeros.

    Returns:
        state, found, damping, and by how much (B,) the step was to lower E.
    """
    energy, gradient, curvature = found
    scale = ops.diagonal(curvature, axis1=1, axis2=2) + 1e-3
    system = curvature * free * free[:, None] + _diagonal(damping[:, None] * scale + (1 - free))
    factor = ops.cholesky(system)
    half = ops.solve_triangular(factor, (-gradient * free)[..., None], lower=True)
    change = ops.solve_triangular(ops.swapaxes(factor, 1, 2), half, lower=False)[..., 0]
    turned = ops.reshape(change[:, : 3 * NUM_JOINTS], (-1, NUM_JOINTS, 3))
    tried = State(
        state.angles + turned * ops.convert_to_tensor(_NOT_ROOT),
        ops.matmul(state.root, geometry.axis_angle_to_matrix(turned[:, 0])),
        state.translation + change[:, 72:75],
        state.betas + change[:, 75:],
    )
    tried_found = evaluate(tried)
    better = tried_found[0] < energy  # (B,)

    def keep(new, old):
        chosen = ops.reshape(better, (-1,) + (1,) * (len(new.shape) - 1))
        return ops.where(chosen, new, old)

    state = State(*(keep(new, old) for new, old in zip(tried, state, strict=True)))
    found = tuple(keep(new, old) for new, old in zip(tried_found, found, strict=True))
    damping = ops.clip(ops.where(better, damping / 5, damping * 4), LEAST_DAMPING, MOST_DAMPING)
    promised = -ops.sum(gradient * free * change, axis=1)
    return state, found, damping, promised


# --- fitting --------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def _compiled(owner, matrix, backend):
    """`_evaluate`, `_step` and `_place`, compiled where the backend can.

    Args:
        owner: tuple, of the sites; matrix: nested tuples (K, S), or None.
    """
    matrix = None if matrix is None else np.array(matrix, "float32")
    moved = partial(kinematics, owner=owner)
    if backend == "tensorflow":
        import tensorflow as tf

        # XLA makes one pass over memory of the kinematics, but its matrix products and Cholesky
        # factors of many small matrices are several times slower than TensorFlow's own
        moved = tf.function(moved, jit_compile=True, autograph=False)
    place = partial(_place, moved, matrix)

    def evaluate(state, rest, *problem):
        return _evaluate(state, partial(moved, rest=rest), matrix, *problem)

    def step(state, found, damping, free, rest, *problem):
        return _step(state, found, damping, free, lambda tried: evaluate(tried, rest, *problem))

    if backend == "tensorflow":
        evaluate, step, place = (tf.function(f, autograph=False) for f in (evaluate, step, place))
    elif backend == "jax":
        import jax

        evaluate, step, place = jax.jit(evaluate), jax.jit(step), jax.jit(place)
    return evaluate, step, place


CHUNKS = (256, 32, 4)  # bodies at a time; functions are compiled for these sizes alone
_LEAST_GAIN = 0.01  # of the energy, in a step: less is an end
_STRAGGLERS = 0.05
_TORSO = ("left_hip", "right_hip", "left_shoulder", "right_shoulder", "neck", "pelvis", "thorax")
_TORSO += ("mid_hip",)
_FARTHEST = 1e6  # metres or pixels; beyond it float32 has no centimetres left
STEPS = 20  # at most; most bodies need fewer
_SCALE_3D = 0.01  # metres; a point in space that is off by this counts 1
_RELAXED_3D = 0.01  # weight of the pull to the relaxed pose, in which unseen joints end up


def fit_points(
    body,
    points,
    names="smpl-24",
    weights=None,
    betas=None,
    start=None,
    offsets=None,
    limits=1.0,
    steps=STEPS,
    progress=False,
):
    """The pose and place of a body whose keypoints lie at given points in space.

    Args:
        body: `hmrlib.Body`.
        points: (B, K, 3) metres; NaN where a point is unknown.
        names: a set of `skeleton.KEYPOINT_SETS`, or K names: of keypoints, or of `SITE_NAMES`.
        weights: (K,) or (B, K), how much each point counts; 0 where it is unknown. None: 1.
        betas: (n,) or (B, n), the shape, which stays as it is; None: the mean body. See
            `fit_shape`.
        start: (B, 24, 3) pose to begin from; None: relaxed, turned like the points' torso.
        offsets: (K, 3) metres, from each site to the point that is really seen, along the axes of
            the joint that carries it; None: 0.
        limits: weight of the joint limits (`skeleton.JOINT_LIMITS`), bounds that give way; a point
            that is off by a centimetre weighs 1.
        steps: most Gauss-Newton steps.
        progress: show a bar.

    Returns:
        `Fit`.

    Raises:
        FittingError: shapes that do not fit, an unknown name, infinite numbers, or no point at all
            in a frame.
    """
    points, weights, names = _checked(points, weights, names, 3)
    model = _model(body, names, offsets)
    betas = _repeated("betas", np.zeros(1) if betas is None else betas, (len(points),))
    known = betas
    if (betas == betas[0]).all():  # one person: fixed in the rest pose, n unknowns less
        template, shapedirs = model.rest
        template = template + np.tensordot(betas[0], shapedirs[: betas.shape[1]], axes=1)
        model = model._replace(rest=(template, shapedirs))
        betas = betas[:, :0]
    if start is None:
        state = _torso_start(model, points, weights, betas, names)
    else:
        pose = _repeated("start", start, (len(points), NUM_JOINTS, 3))
        state = _state(pose, betas)
    terms = {"limits": limits, "relaxed": _RELAXED_3D, "betas": 0.0, "prior": 0.0}
    free = np.zeros(75 + betas.shape[1])
    free[:75] = 1
    seen = _Seen(points, weights, np.full((len(points), 1, 1), _SCALE_3D, "float32"))
    fit = _descend(
        state, model, seen, terms, free, steps, centred=start is not None, progress=progress
    )
    return fit._replace(betas=known)


def pose_angles(pose):
    """Swing and twist angles (B, 24, 3) of poses, radians, tensors; the root's are zero.

    Args:
        pose: (B, 24, 3) axis-angle, or (B, 24, 3, 3) matrices.
    """
    pose = ops.convert_to_tensor(pose, dtype="float32")
    is_matrix = len(pose.shape) == 4
    to_quaternion = (
        geometry.matrix_to_quaternion if is_matrix else geometry.axis_angle_to_quaternion
    )
    return geometry.swing_twist_from_quaternion(
        to_quaternion(pose), TWIST_AXIS
    ) * ops.convert_to_tensor(_NOT_ROOT)


def beyond_limits(pose):
    """By how much each angle is beyond `skeleton.JOINT_LIMITS`: (B, 24, 3) radians, tensors.

    0 within them, and for the root, which has none. Differentiable.

    Args:
        pose: (B, 24, 3) axis-angle, or (B, 24, 3, 3) matrices.
    """
    angles = pose_angles(pose)
    least, most = map(ops.convert_to_tensor, (LEAST, MOST))
    return ops.maximum(ops.maximum(least - angles, angles - most), 0.0)


def fit_shape(body, lengths, num_betas=10, scale=0.01):
    """The shape whose bones have given lengths, no farther from the mean than they ask for.

    Minimises sum_b (|x_i(beta) - x_j(beta)| - l_b)^2 / scale_b^2 + |beta|^2 over the body at rest.

    Args:
        body: `hmrlib.Body`.
        lengths: dict from a pair of `SITE_NAMES` to the distance between them at rest, metres.
        num_betas: n.
        scale: metres, one or one a length; a length off by this counts as much as a beta of 1.

    Returns:
        (n,) betas.

    Raises:
        FittingError: an unknown name, or a length that is not positive.
    """
    unknown = {name for pair in lengths for name in pair} - set(SITE_NAMES)
    if unknown or not lengths:
        raise FittingError(f"no sites {sorted(unknown)}; known are {', '.join(SITE_NAMES)}")
    wanted = np.array(list(lengths.values()), float)
    if not (np.isfinite(wanted).all() and (wanted > 0).all()):
        raise FittingError(f"lengths must be positive, found {wanted.min():g}")
    template, shapedirs = sites(body)
    ends = np.array([[SITE_NAMES.index(name) for name in pair] for pair in lengths])
    bones = template[ends[:, 1]] - template[ends[:, 0]]  # (bones, 3)
    growth = (shapedirs[:, ends[:, 1]] - shapedirs[:, ends[:, 0]])[:num_betas]  # (n, bones, 3)

    def residual(betas):
        found = np.linalg.norm(bones + np.tensordot(betas, growth, axes=1), axis=-1)
        return np.concatenate([(found - wanted) / np.asarray(scale), betas])

    return least_squares(residual, np.zeros(len(growth))).x


# SMPLify's weights of pose prior and betas (Bogo et al. 2016, and their code), stage by stage, told
# for sigma = 100 pixels of a person some 400 pixels tall
_SIGMA, _PERSON = 100.0, 400.0
_STAGES = ((404.0, 100.0), (404.0, 50.0), (57.4, 10.0), (4.78, 5.0))
_LIMITS_2D = 0.02


def fit_keypoints(
    body,
    keypoints,
    camera,
    prior,
    names="union-22",
    num_betas=10,
    sigma=None,
    limits=_LIMITS_2D,
    stages=_STAGES,
    trace=None,
):
    """The body whose keypoints are seen where they are annotated in pictures (SMPLify).

    First the torso, stiff, is brought in front of the camera, facing it and facing away; both go
    through all stages, in each of which prior and betas get looser, and the better one is kept.

    Args:
        body: `hmrlib.Body`.
        keypoints: (B, K, 2) pixels, NaN where unknown; or (B, K, 3) with a confidence, 0 = unknown
            (OpenPose's may exceed 1 by a little).
        camera: (3,) or (B, 3): focal length, cx, cy in pixels.
        prior: `hmrlib.motion.prior.Prior`, or None to see what comes out without.
        names: a set of `skeleton.KEYPOINT_SETS`, such as "openpose-25" for what
            `hmrlib.data.openpose.read_openpose` reads, or K names.
        num_betas: how many shape coefficients to find, at most those that the body has.
        sigma: pixels at which a keypoint begins to count as an outlier; None: a quarter of the
            person's size in the picture.
        limits: weight of the joint limits; 0 leaves them out.
        stages: pairs of weights, of the prior and of the betas; at most `STEPS` steps each.
        trace: a list that receives the `Fit` after each stage, the torso's first.

    Returns:
        `Fit`, in the camera's frame (x right, y down, z forward).

    Raises:
        FittingError: shapes that do not fit, an unknown name, infinite or out-of-range numbers, or
            fewer than two keypoints of the torso in a picture.
    """
    keypoints, num_betas = _float32("keypoints", keypoints), min(num_betas, body.num_betas)
    confidence = None
    if keypoints.ndim == 3 and keypoints.shape[2] == 3:
        keypoints, confidence = keypoints[..., :2], keypoints[..., 2]
    keypoints, weights, names = _checked(keypoints, confidence, names, 2)
    count = len(keypoints)
    camera = _repeated("camera", camera, (count, 3))
    if not (camera[:, 0] > 0).all():
        raise FittingError(f"the focal length must be positive, found {camera[:, 0].min():g}")
    if sigma is None:
        known = np.where(weights[..., None] > 0, keypoints, np.nan)
        size = (np.nanmax(known, axis=1) - np.nanmin(known, axis=1)).max(axis=1)  # (B,)
        sigma = np.maximum(size, 1) * _SIGMA / _PERSON
    if not (np.isfinite(sigma).all() and np.min(sigma) > 0):
        raise FittingError(f"sigma must be a positive number of pixels, found {np.min(sigma):g}")
    sigma = np.broadcast_to(np.float32(sigma), (count,))[:, None, None]
    model = _model(body, names)

    betas = np.zeros((count, num_betas), "float32")
    torso = weights * np.isin(names, _TORSO)
    if ((torso > 0).sum(axis=1) < 2).any():
        short = int(((torso > 0).sum(axis=1) < 2).argmax())
        raise FittingError(f"picture {short} shows fewer than two keypoints of the torso")
    ways = [_in_front(model, keypoints, torso, camera, betas, away) for away in (False, True)]
    state = State(*(ops.concatenate(pair, axis=0) for pair in zip(*ways, strict=True)))
    twice = partial(np.concatenate, axis=0)
    keypoints, weights, torso, camera, sigma = (
        twice([array, array]) for array in (keypoints, weights, torso, camera, sigma)
    )
    seen = _Seen(keypoints, torso, sigma, camera)
    free = np.concatenate([[1.0] * 3, [0.0] * 69, [1.0] * 3, [0.0] * num_betas])
    terms = {"limits": limits, "relaxed": 1e-4, "betas": 1.0, "prior": 0.0}
    mixture = None if prior is None else prior.mixture
    fit = _descend(state, model, seen, terms, free, prior=mixture)
    _note(trace, fit)
    seen, free = seen._replace(weights=weights), np.ones(75 + num_betas)
    for loose, shape in stages:
        terms["prior"] = (loose / _SIGMA) ** 2
        terms["betas"] = (shape / _SIGMA) ** 2
        state = _state(fit.pose, fit.betas)._replace(
            translation=ops.convert_to_tensor(fit.translation)
        )
        fit = _descend(state, model, seen, terms, free, prior=mixture)
        _note(trace, fit)
    return _better_half(fit)


class Stage(NamedTuple):
    """One descent of `improve`: the weights of its terms, as they count against the keypoints'.

    Attributes:
        name: for a trace.
        sigma: times the given sigma: keypoints farther off than that begin to count as outliers.
        depth: metres; a depth farther off than that begins to count as an outlier.
        limits, prior, betas, relaxed: see `fit_points` and `fit_keypoints`.
        place_alone: move and turn the body stiff.
        bounded: end with every angle within its limits, by a last small turn.
        steps: most Gauss-Newton steps.
    """

    name: str
    sigma: float = 1.0
    depth: float = 0.2
    limits: float = 0.02
    prior: float = 0.0
    betas: float = 0.0
    relaxed: float = 0.0
    place_alone: bool = False
    bounded: bool = False
    steps: int = 20


class Sight(NamedTuple):
    """What `improve` is to explain, in pictures of B people.

    Attributes:
        keypoints: (B, K, 2) pixels; NaN where unknown.
        names, weights, offsets: see `fit_points`.
        sigma: (B,) or (), pixels, see `Stage`.
        depth: (B, K) metres away from the viewer, relative to each other; None: unknown.
        depth_weights: (B, K), how much each depth counts; 0 where unknown.
    """

    keypoints: Any
    names: Any = "coco-17"
    weights: Any = None
    offsets: Any = None
    sigma: Any = 50.0
    depth: Any = None
    depth_weights: Any = None


def improve(body, sight, camera, start, stages, prior=None, trace=None):
    """Bodies that are near already, brought to where their keypoints are seen.

    Args:
        body: `hmrlib.Body`.
        sight: `Sight`.
        camera: (B, 3) focal length, cx, cy in pixels.
        start: pose (B, 24, 3), betas (B, n), translation (B, 3), in the camera's frame.
        stages: `Stage`s, one after the other.
        prior: `hmrlib.motion.prior.Prior`, or None.
        trace: a list that receives after each stage its name and the `Fit`.

    Returns:
        `Fit`, its energy that of the last stage; and (B,) that energy at the start. No step raises
        a stage's own energy; only what `bounded` turns back may.

    Raises:
        FittingError: shapes that do not fit, an unknown name, infinite numbers.
    """
    keypoints, weights, names = _checked(sight.keypoints, sight.weights, sight.names, 2)
    count = len(keypoints)
    pose = _repeated("pose", start[0], (count, NUM_JOINTS, 3))
    betas = _repeated("betas", start[1], (count,))[:, : body.num_betas]
    translation = _repeated("translation", start[2], (count, 3))
    camera = _repeated("camera", camera, (count, 3))
    sigma = np.broadcast_to(np.float32(sight.sigma), (count,))
    if not ((sigma > 0).all() and np.isfinite(sigma).all() and (camera[:, 0] > 0).all()):
        raise FittingError("sigma and focal length must be positive numbers of pixels")
    if sight.depth is not None:
        more = [
            _repeated(name, getattr(sight, name), keypoints.shape[:2])
            for name in ("depth", "depth_weights")
        ]
        keypoints = np.concatenate([keypoints, np.stack(more, axis=-1)], axis=-1)
    model = _model(body, names, sight.offsets)
    to_tensor = partial(ops.convert_to_tensor, dtype="float32")
    rest = tuple(map(to_tensor, model.rest))
    mixture = None if prior is None else tuple(map(to_tensor, prior.mixture))
    parts, before, begin = [], [], 0
    while begin < count:
        size = _chunk(count - begin)
        part = np.minimum(np.arange(begin, begin + size), count - 1)  # filled up with the last
        kind = model.owner, model.matrix, keras.backend.backend()
        begin_at, *tools = _compiled_walk(*kind)
        here = begin_at(to_tensor(pose[part]), to_tensor(betas[part]))
        here = here._replace(translation=to_tensor(translation[part]))
        given = keypoints, weights, sigma[:, None, None], camera
        seen = _Seen(*(to_tensor(array[part]) for array in given))
        (_, energy), *ends = _in_stages(here, stages, tools, rest, seen, mixture)
        before.append(ops.convert_to_numpy(energy)[: count - begin])
        parts.append([])
        for state, energy in ends if trace is not None else ends[-1:]:
            points, rotations, found = tools[-1](state, rest)
            fit = Fit(found, state.betas, state.translation, points, rotations, energy)
            parts[-1].append([ops.convert_to_numpy(array)[: count - begin] for array in fit])
        begin += size
    merged = [
        [np.concatenate(arrays) for arrays in zip(*fits, strict=True)]
        for fits in zip(*parts, strict=True)
    ]
    if trace is not None:
        trace += [(stage.name, Fit(*fit)) for stage, fit in zip(stages, merged, strict=True)]
    return Fit(*merged[-1]), np.concatenate(before)


def _in_stages(here, stages, tools, rest, seen, mixture):
    """What `improve` does for a chunk: the start, then each stage's end, with their energies."""
    evaluate, walk, _ = tools
    num_betas = here.betas.shape[1]
    begin = here
    found = []
    for stage in stages:
        free = np.ones(75 + num_betas)
        free[3:72] = free[75:] = not stage.place_alone
        names = ("limits", "relaxed", "betas", "prior", "depth")
        terms = {name: ops.convert_to_tensor(np.float32(getattr(stage, name))) for name in names}
        given = rest, seen._replace(scale=seen.scale * stage.sigma), terms, mixture
        free = ops.convert_to_tensor(free, dtype="float32")
        here, reached = walk(here, free, ops.convert_to_tensor(stage.steps, dtype="int32"), *given)
        if stage.bounded:
            here = here._replace(angles=_within_limits(here.angles))
            reached = evaluate(here, *given)
        found.append((here, reached[0]))
    return [(begin, evaluate(begin, *given)[0]), *found]


@lru_cache(maxsize=16)
def _compiled_walk(owner, matrix, backend):
    """`_state`, `_evaluate`, `_walk_inside` and `_place`, compiled, see `_compiled`."""
    evaluate, step, place = _compiled(owner, matrix, backend)
    walk, begin = partial(_walk_inside, evaluate, step), _state
    if backend == "tensorflow":
        import tensorflow as tf

        walk, begin = (tf.function(f, autograph=False) for f in (walk, begin))
    elif backend == "jax":
        import jax

        walk, begin = jax.jit(walk), jax.jit(begin)
    return begin, evaluate, walk, place


def _walk_inside(evaluate, step, here, free, steps, *given):
    """`_walk` as one computation: calling a compiled function for each step costs as much again."""

    def goes_on(k, promising, *_):
        return ops.logical_and(k < steps, promising)

    def go(k, _, here, found, damping):
        energy = ops.abs(found[0]) + 1e-6
        here, found, damping, promised = step(here, found, damping, free, *given)
        share = ops.mean(ops.cast(promised > _LEAST_GAIN * energy, "float32"))
        return k + 1, share >= _STRAGGLERS, here, found, damping

    found = evaluate(here, *given)
    damping = START_DAMPING * ops.ones_like(found[0])
    begin = 0 * steps, steps > 0, here, tuple(found), damping
    _, _, here, found, _ = ops.while_loop(goes_on, go, begin)
    return here, found


def _within_limits(angles):
    least, most = ops.convert_to_tensor(LEAST), ops.convert_to_tensor(MOST)
    return ops.minimum(ops.maximum(angles, least), most)


def _in_front(model, keypoints, torso, camera, betas, away):
    """A relaxed body before the camera, as large, as high and as slanted as the torso is seen."""
    count = len(keypoints)
    turn = np.diag([-1.0, -1, 1] if away else [1.0, -1, -1])  # the body's y up, the picture's down
    own = _relaxed_points(model, betas[:1]) @ turn.T  # (K, 3)
    use = torso[..., None] / torso.sum(axis=1)[:, None, None]
    middle = (use * own).sum(axis=1)  # (B, 3)
    seen = (use * keypoints).sum(axis=1)  # (B, 2)
    ours, theirs = own - middle[:, None], keypoints - seen[:, None]  # (B, K, 3 and 2)
    # the similarity of the plane that maps one onto the other, as complex numbers
    ours_2d, theirs_2d = (a[..., 0] + 1j * a[..., 1] for a in (ours, theirs))
    ratio = (use[..., 0] * np.conj(ours_2d) * theirs_2d).sum(axis=1)
    spread = [np.sqrt((use[..., 0] * abs(a) ** 2).sum(axis=1)) for a in (ours_2d, theirs_2d)]
    size = np.maximum(spread[1], 1e-3) / np.maximum(spread[0], 1e-3)  # pixels a metre
    angle = np.angle(ratio)
    tilt = np.zeros((count, 3, 3))
    tilt[:, 0, 0] = tilt[:, 1, 1] = np.cos(angle)
    tilt[:, 1, 0], tilt[:, 0, 1], tilt[:, 2, 2] = np.sin(angle), -np.sin(angle), 1
    depth = np.clip(camera[:, 0] / size, 0.3, 1e3)
    place = np.concatenate(
        [(seen - camera[:, 1:]) / camera[:, :1] * depth[:, None], depth[:, None]], axis=1
    )
    translation = place - np.einsum("bij,bj->bi", tilt, middle)
    return State(
        ops.convert_to_tensor(np.repeat(RELAXED[None], count, axis=0)),
        ops.convert_to_tensor((tilt @ turn).astype("float32")),
        ops.convert_to_tensor(translation.astype("float32")),
        ops.convert_to_tensor(betas),
    )


def _better_half(fit):
    """Of two fits for each body, one after the other in the batch, the one with less energy."""
    count = len(fit.energy) // 2
    second = np.flatnonzero(fit.energy[count:] < fit.energy[:count])
    chosen = np.arange(count)
    chosen[second] += count
    return Fit(*(array[chosen] for array in fit))


def _note(trace, fit):
    if trace is not None:
        trace.append(_better_half(fit))


class FittingError(ValueError):
    """Keypoints that cannot be fitted; the message says what was expected."""


def _float32(name, value):
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
            return np.array(value, "float32")
    except (TypeError, ValueError, OverflowError) as error:
        raise FittingError(f"{name} must be numbers in rows of one length: {error}") from error


def _checked(points, weights, names, dimensions):
    """float32 points (B, K, D) without NaN, weights (B, K), names."""
    points = _float32("points", points)
    names = skeleton.names_of(names)
    if points.ndim != 3 or points.shape[1:] != (len(names), dimensions):
        raise FittingError(
            f"keypoints must have the shape (B, {len(names)}, {dimensions}) to go with "
            f"{len(names)} names, found {points.shape}"
        )
    if not len(points):
        raise FittingError("expected at least one frame, found none")
    if (abs(points) > _FARTHEST).any():
        raise FittingError(
            f"points must be within {_FARTHEST:g} metres or pixels, or NaN where they are unknown; "
            f"found {abs(points[~np.isnan(points)]).max():g}"
        )
    weights = np.ones(points.shape[:2]) if weights is None else _float32("weights", weights)
    weights = _repeated("weights", weights, points.shape[:2])
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise FittingError("weights must be finite and not negative")
    unknown = ~np.isfinite(points).all(axis=-1)
    points[unknown], weights[unknown] = 0, 0
    empty = np.flatnonzero(~(weights > 0).any(axis=1))
    if empty.size:
        raise FittingError(f"frame {empty[0]} has no known keypoint")
    return points, weights, names


def _repeated(name, array, shape):
    """A float32 copy (B, ...) of an array with or without its batch axis; all finite."""
    array = _float32(name, array)
    if not np.isfinite(array).all():
        raise FittingError(f"{name} must be finite, found NaN or infinity")
    if array.ndim == max(len(shape), 2) - 1:
        array = array[None]
    wanted = shape if len(shape) > 1 else (shape[0], array.shape[-1])
    if (
        array.ndim != len(wanted)
        or array.shape[1:] != wanted[1:]
        or len(array) not in (1, shape[0])
    ):
        raise FittingError(f"{name} must have the shape {wanted}, found {array.shape}")
    return np.repeat(array, shape[0], axis=0) if len(array) != shape[0] else array.copy()


class _Model(NamedTuple):
    """What moves: rest and owner for `kinematics`, and the matrix (K, S) as nested tuples, from
    sites to keypoints; None where they are the same."""

    rest: tuple
    owner: tuple
    matrix: tuple | None


def _model(body, names, offsets=None):
    """`_Model` of keypoints by name."""
    template, shapedirs = sites(body)
    if set(names) <= set(SITE_NAMES):
        used, matrix = [SITE_NAMES.index(name) for name in names], None
    else:
        matrix = body_keypoints.keypoint_matrix(names, SITE_NAMES)  # (K, S)
        used = np.flatnonzero(matrix.any(axis=0))
        matrix = tuple(map(tuple, matrix[:, used].tolist()))
    places = template[used]
    if offsets is not None:
        if matrix is not None:
            raise FittingError(f"offsets belong to sites, one each; sites are {SITE_NAMES}")
        places = places + np.asarray(offsets, "float32")
    rest = (
        np.concatenate([template[:NUM_JOINTS], places]),
        np.concatenate([shapedirs[:, :NUM_JOINTS], shapedirs[:, used]], axis=1),
    )
    return _Model(rest, tuple(SITE_OWNERS[site] for site in used), matrix)


def _state(pose, betas):
    """Unknowns at a pose (B, 24, 3), at the origin."""
    pose = ops.convert_to_tensor(pose, dtype="float32")
    return State(
        pose_angles(pose),
        geometry.axis_angle_to_matrix(pose[:, 0]),
        ops.zeros((pose.shape[0], 3)),
        ops.convert_to_tensor(betas, dtype="float32"),
    )


def _place(moved, matrix, state, rest):
    """Keypoints (B, K, 3), joints' rotations (B, 24, 3, 3) in the world, pose (B, 24, 3)."""
    points, _, world = moved(state, rest=rest)
    if matrix is not None:
        points = ops.matmul(ops.convert_to_tensor(matrix), points)
    rotations = geometry.swing_twist_to_matrix(state.angles, TWIST_AXIS)
    rotations = ops.concatenate([state.root[:, None], rotations[:, 1:]], axis=1)
    return points, world, geometry.matrix_to_axis_angle(rotations)


def _relaxed_points(model, betas):
    """Keypoints (K, 3) of the relaxed body of one shape (1, n), NumPy."""
    state = _state(np.zeros((1, NUM_JOINTS, 3)), betas)
    state = state._replace(angles=ops.convert_to_tensor(RELAXED[None]))
    points, _, _ = _place(
        partial(kinematics, owner=model.owner),  # once: compiling would take longer
        None if model.matrix is None else np.array(model.matrix, "float32"),
        state,
        tuple(map(ops.convert_to_tensor, model.rest)),
    )
    return ops.convert_to_numpy(points)[0].astype(float)


def _torso_start(model, points, weights, betas, names):
    """Relaxed, turned and shifted so that the torso (or all, if it is not seen) fits (Kabsch)."""
    own = _relaxed_points(model, betas[:1])  # (K, 3)
    of_torso = np.isin(names, _TORSO)
    use = weights * of_torso
    use = np.where(((use > 0).sum(axis=1) >= 3)[:, None], use, weights)[..., None].astype(float)
    mean = (use * own).sum(axis=1) / use.sum(axis=1)  # (B, 3)
    seen = (use * points).sum(axis=1) / use.sum(axis=1)
    covariance = np.einsum("bki,bkj->bij", use * (points - seen[:, None]), own - mean[:, None])
    root = np.asarray(geometry.nearest_rotation(covariance))  # (B, 3, 3)
    return State(
        ops.convert_to_tensor(np.repeat(RELAXED[None], len(points), axis=0)),
        ops.convert_to_tensor(root.astype("float32")),
        ops.convert_to_tensor((seen - np.einsum("bij,bj->bi", root, mean)).astype("float32")),
        ops.convert_to_tensor(betas),
    )


def _chunk(count):
    """How many bodies to fit at once, of so many that are left."""
    if count >= CHUNKS[0]:
        return CHUNKS[0]
    return min(size for size in CHUNKS if size > CHUNKS[-1] or count <= CHUNKS[-1])


def _walk(here, evaluate, step, free, steps, given):
    """Gauss-Newton steps from a state on, until next to none promises much: state, found."""
    found = evaluate(here, *given)
    damping = START_DAMPING * ops.ones((len(found[0]),))
    for _ in range(steps):
        energy = np.abs(np.asarray(found[0])) + 1e-6
        here, found, damping, promised = step(here, found, damping, free, *given)
        if (np.asarray(promised) > _LEAST_GAIN * energy).mean() < _STRAGGLERS:
            break
    return here, found


def _descend(
    state, model, seen, terms, free, steps=STEPS, prior=None, centred=False, progress=False
):
    """Gauss-Newton steps for all bodies, a chunk at a time; -> `Fit`.

    Args:
        state: `State` to begin from; model: `_Model`; seen: `_Seen`.
        terms, prior: see `_evaluate`; free: (N,) 1 for the unknowns that move.
        centred: first bring the mean of the body's keypoints onto that of the points.
    """
    to_tensor = partial(ops.convert_to_tensor, dtype="float32")
    rest = tuple(map(to_tensor, model.rest))
    free, terms = to_tensor(free), {name: to_tensor(value) for name, value in terms.items()}
    prior = None if prior is None else tuple(map(to_tensor, prior))
    count, fits, begin = len(seen.points), [], 0
    with tqdm(total=count, desc="fitting", unit="frame", disable=not progress) as bar:
        while begin < count:
            size = _chunk(count - begin)
            kind = model.owner, model.matrix, keras.backend.backend()
            evaluate, step, place = _compiled(*kind)
            part = np.minimum(np.arange(begin, begin + size), count - 1)  # filled up with the last
            here = State(*(ops.take(array, part, axis=0) for array in state))
            part_seen = _Seen(*(None if a is None else to_tensor(a[part]) for a in seen))
            given = rest, part_seen, terms, prior
            if centred:
                points, weights = part_seen[:2]
                away = ops.sum(weights[..., None] * (points - place(here, rest)[0]), axis=1)
                total = ops.sum(weights, axis=1, keepdims=True)
                here = here._replace(translation=here.translation + away / total)
            here, found = _walk(here, evaluate, step, free, steps, given)
            points, rotations, pose = place(here, rest)
            fit = Fit(pose, here.betas, here.translation, points, rotations, found[0])
            fits.append([ops.convert_to_numpy(array)[: count - begin] for array in fit])
            bar.update(len(fits[-1][0]))
            begin += size
    return Fit(*(np.concatenate(arrays) for arrays in zip(*fits, strict=True)))
