"""What poses people take: a density over the body's angles, learned from motion capture.

`load_prior()` gives the one that ships. It is a mixture of Gaussians over the swing and twist
angles of the 23 joints below the root (`geometry.swing_twist_to_matrix`): 69 numbers in radians,
in which `skeleton.JOINT_LIMITS` are bounds. It says nothing of the root. `train` learns it again
from a pose library (`hmrlib.motion.gather.build_library`).
"""

import json
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import keras
import numpy as np
from keras import ops
from scipy.cluster.vq import kmeans2, vq
from scipy.special import logsumexp

import hmrlib
from hmrlib import fitting, geometry, skeleton
from hmrlib.body.model import world_transforms
from hmrlib.io import atomic_write, read_npz
from hmrlib.motion.library import PoseError

ASSET = Path(__file__).with_name("assets") / "pose_prior.npz"
_HUGE = 1e6
DIMENSIONS = 3 * (fitting.NUM_JOINTS - 1)  # 69
# what NumPy raises for a file that is missing, cut off, or something else
_BROKEN = (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile)
CREDIT = "mocap.cs.cmu.edu, funded by NSF EIA-0196217"


@dataclass(frozen=True, eq=False)
class Prior:
    """A mixture of M Gaussians over the angles (69,) of a pose.

    Attributes:
        weights: (M,), they sum to one.
        means: (M, 69) radians.
        covariances: (M, 69, 69).
        joints: (24, 3) metres, of the mean body at rest: what `sample` keeps apart.
        card: dict: data, credit, licence, errors, what is missing.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    joints: np.ndarray
    card: dict

    @cached_property
    def mixture(self):
        """Log weights, means, precisions and their log determinants, for `fitting`; float32."""
        log_dets = -np.linalg.slogdet(self.covariances)[1]
        precisions = np.linalg.inv(self.covariances)
        arrays = np.log(self.weights), self.means, precisions, log_dets
        return tuple(array.astype("float32") for array in arrays)

    def log_density(self, pose):
        """log p of poses, per radian of each of the 69 angles.

        Args:
            pose: (B, 24, 3) axis-angle, or (B, 24, 3, 3); the root has no part in it.

        Returns:
            (B,), of the backend's tensors; differentiable.
        """
        angles = pose_angles(pose)
        return -fitting.gaussian_mixture(angles, *self.mixture)[0]

    def sample(self, count, seed, spread=1.0):
        """Poses that people could take.

        Drawn from the mixture, brought within the joint limits, and drawn again where arms or legs
        pass through the body (tested on capsules, so that a touch is let through).

        Args:
            count: N; seed: of the generator, the same seed gives the same poses.
            spread: of the Gaussians; less than 1 for more ordinary poses.

        Returns:
            (N, 24, 3) float32 axis-angle, the root zero.
        """
        rng = np.random.default_rng(seed)
        factors = np.linalg.cholesky(self.covariances)
        angles, depth = np.zeros((count, DIMENSIONS)), np.full(count, np.inf)
        for _ in range(_TRIES):
            left = np.flatnonzero(depth > 0)
            if not left.size:
                break
            component = rng.choice(len(self.weights), size=len(left), p=self.weights)
            drawn = spread * rng.standard_normal((len(left), DIMENSIONS))
            for m in np.unique(component):
                mine = component == m
                drawn[mine] = self.means[m] + drawn[mine] @ factors[m].T
            drawn = np.clip(drawn, fitting.LEAST[1:].ravel(), fitting.MOST[1:].ravel())
            drawn = drawn.round(7)  # without the last bits, which differ between processors
            found = collision_depth(angles_pose(drawn), self.joints)
            better = found < depth[left]
            angles[left[better]], depth[left[better]] = drawn[better], found[better]
        return angles_pose(angles)


def load_prior(path=None):
    """The prior that ships, or one that `train` wrote.

    Raises:
        PoseError: no such file, it is damaged, or its numbers are no mixture of Gaussians.
    """
    path = Path(path or ASSET)
    try:
        arrays = read_npz(path)
        weights, means, factors, joints = (
            _finite(name, arrays[name]) for name in ("weights", "means", "factors", "joints")
        )
        count, triangle = len(weights), np.tril_indices(DIMENSIONS)
        shapes = (count,), (count, DIMENSIONS), (count, len(triangle[0])), (fitting.NUM_JOINTS, 3)
        found = tuple(array.shape for array in (weights, means, factors, joints))
        if found != shapes or not count or weights.min() <= 0:
            raise ValueError(f"its arrays are no mixture of Gaussians: their shapes are {found}")
        lower = np.zeros((count, DIMENSIONS, DIMENSIONS))
        lower[:, *triangle] = factors
        if (abs(np.diagonal(lower, axis1=1, axis2=2)) < 1e-4).any():
            raise ValueError("a Gaussian in it has no width")
        card = json.loads(str(arrays["card"]))
        if not isinstance(card, dict):
            raise ValueError("its card is no object of JSON")
        with np.errstate(all="ignore"):  # what does not fit into a number is found below
            covariances = lower @ lower.transpose(0, 2, 1)
            prior = Prior(weights / weights.sum(), means, covariances, joints, card)
            if not all(np.isfinite(array).all() for array in prior.mixture):
                raise ValueError("its Gaussians are too narrow or too wide to compute with")
        return prior
    except (*_BROKEN, IndexError, TypeError, RecursionError) as error:
        raise PoseError(f"{path}: expected a pose prior ({error})") from error


def _finite(name, array):
    """As float64, all of them finite, and of the size that angles, metres and weights have."""
    with np.errstate(invalid="ignore"):  # NaN fails the comparison
        numbers = array.astype(float) if array.dtype.kind in "fiu" else np.array(np.nan)
    if not (np.abs(numbers) < _HUGE).all():
        raise ValueError(f"{name} holds NaN, infinity, huge numbers or something else than numbers")
    return numbers


def save_prior(path, prior):
    """Write a prior: the covariances as Cholesky factors in half precision."""
    lower = np.linalg.cholesky(prior.covariances)[:, *np.tril_indices(DIMENSIONS)]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        np.savez_compressed(
            file,
            weights=prior.weights.astype("float32"),
            means=prior.means.astype("float16"),
            factors=lower.astype("float16"),
            joints=prior.joints.astype("float32"),
            card=np.array(json.dumps(prior.card)),
        )


def pose_angles(pose):
    """Axis-angle (B, 24, 3) or matrices (B, 24, 3, 3) -> angles of the joints (B, 69), tensors."""
    return ops.reshape(fitting.pose_angles(pose)[:, 1:], (-1, DIMENSIONS))


def angles_pose(angles):
    """Angles (B, 69) -> axis-angle (B, 24, 3), NumPy; the root is zero."""
    angles = np.reshape(angles, (-1, fitting.NUM_JOINTS - 1, 3)).astype("float32")
    matrices = geometry.swing_twist_to_matrix(angles, fitting.TWIST_AXIS[1:])
    pose = np.zeros((len(angles), fitting.NUM_JOINTS, 3), "float32")
    pose[:, 1:] = np.asarray(geometry.matrix_to_axis_angle(matrices))
    return pose


def mean_theta(poses, betas, scale=0.9):
    """The mean of a population of poses and shapes: the network's `read_mean_theta` reads it.

    A mean of axis-angle vectors is no mean of rotations: each joint's is the rotation nearest to
    the mean of its matrices (the chordal L2 mean, Hartley et al. 2013).

    Args:
        poses: (N, 24, 3) axis-angle; the root is replaced by half a turn about x, which brings
            the body, whose y points up, upright into the camera's frame, whose y points down.
        betas: (N, 10).
        scale: of the camera; HMR's 0.9 makes an adult about three quarters of the crop high.

    Returns:
        dict of lists: camera (3), pose (24, 3), betas (10).
    """
    matrices = geometry.axis_angle_to_matrix(ops.convert_to_tensor(poses, dtype="float32"))
    nearest = geometry.nearest_rotation(ops.mean(matrices, axis=0))
    pose = ops.convert_to_numpy(geometry.matrix_to_axis_angle(nearest))
    pose = np.concatenate([[[np.pi, 0, 0]], pose[1:]])
    return {
        "camera": [scale, 0.0, 0.0],
        "pose": np.round(pose, 5).tolist(),
        "betas": np.round(np.mean(betas, axis=0), 5).tolist(),
    }


# --- what must not meet -------------------------------------------------------------------------

_TRIES = 24
# capsules of the mean body: from, to (joints), how far beyond, radius in metres
_CAPSULES = {
    "left_flank": ("left_hip", "left_collar", 0.0, 0.1),
    "right_flank": ("right_hip", "right_collar", 0.0, 0.1),
    "belly": ("spine1", "spine3", 0.0, 0.1),
    "skull": ("head", "head", 0.0, 0.1),
    "left_thigh": ("left_hip", "left_knee", 0.0, 0.065),
    "right_thigh": ("right_hip", "right_knee", 0.0, 0.065),
    "left_shin": ("left_knee", "left_ankle", 0.0, 0.045),
    "right_shin": ("right_knee", "right_ankle", 0.0, 0.045),
    "left_forearm": ("left_elbow", "left_wrist", 0.0, 0.035),
    "right_forearm": ("right_elbow", "right_wrist", 0.0, 0.035),
    "left_hand": ("left_wrist", "left_hand", 0.06, 0.025),
    "right_hand": ("right_wrist", "right_hand", 0.06, 0.025),
}


def _may_not_meet():
    """Pairs of capsules: arms with all but themselves, legs with the other leg."""
    pairs = []
    for a in _CAPSULES:
        for b in _CAPSULES:
            arm = "forearm" in a or "hand" in a
            other_arm = "forearm" in b or "hand" in b
            leg = "shin" in a and ("shin" in b or "thigh" in b)
            if a[:5] == b[:5] and ((arm and other_arm) or leg):
                continue  # of one side
            if (arm and (a < b or not other_arm)) or (leg and a != b and (a < b or "thigh" in b)):
                pairs.append((list(_CAPSULES).index(a), list(_CAPSULES).index(b)))
    return np.array(pairs).T


def collision_depth(pose, joints):
    """How deep, at most, forearms, hands and shins sink into what they must not: (B,) metres.

    Args:
        pose: (B, 24, 3) axis-angle; joints: (24, 3) metres at rest.

    Returns:
        0 where nothing meets.
    """
    pose = ops.convert_to_tensor(pose, dtype="float32")
    rest = ops.broadcast_to(ops.convert_to_tensor(joints, dtype="float32"), ops.shape(pose))
    rotations = geometry.axis_angle_to_matrix(pose)
    posed = np.asarray(world_transforms(rotations, rest, skeleton.PARENTS)[1])
    index = skeleton.JOINT_NAMES.index
    begin = posed[:, [index(a) for a, _, _, _ in _CAPSULES.values()]]
    end = posed[:, [index(b) for _, b, _, _ in _CAPSULES.values()]]
    beyond, radius = np.array([[c[2], c[3]] for c in _CAPSULES.values()]).T
    axis = end - begin
    length = np.maximum(np.linalg.norm(axis, axis=-1, keepdims=True), 1e-9)
    end = end + beyond[:, None] * axis / length
    a, b = _may_not_meet()
    apart = _segment_distance(begin[:, a], end[:, a], begin[:, b], end[:, b])
    return np.maximum(radius[a] + radius[b] - apart, 0).max(axis=1)


def _segment_distance(p, p_end, q, q_end):
    """The distance between segments (..., 3); Ericson, "Real-Time Collision Detection", 5.1.9."""
    u, v, w = p_end - p, q_end - q, p - q
    a, b, c = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    d, e = (u * w).sum(-1), (v * w).sum(-1)
    s = np.clip((b * e - c * d) / np.maximum(a * c - b * b, 1e-9), 0, 1)
    t = (b * s + e) / np.maximum(c, 1e-9)
    t = np.clip(t, 0, 1)
    s = np.clip((b * t - d) / np.maximum(a, 1e-9), 0, 1)
    return np.linalg.norm(w + s[..., None] * u - t[..., None] * v, axis=-1)


# --- learning it --------------------------------------------------------------------------------

_EVERY = 6  # of the frames of the library: those between look alike
_CLUSTERS = 300
_FLATTEN = 0.6  # 0: frames count alike; 1: clusters of poses do, whatever their number of frames
_FLOOR = np.radians(1.5)  # least standard deviation of an angle
# what motion capture does not see, or hardly: the share of their limits' width that is added as a
# standard deviation. Hands (fingers) are not seen at all: they get only this.
_UNSEEN = {"hand": 0.17, "foot": 0.05, "wrist": 0.06, "neck": 0.02, "head": 0.02, "ankle": 0.02}


def read_library(path):
    """Angles (N, 69), clips' names (N,) and errors (N,) in metres, of a library by `gather`.

    Raises:
        PoseError: no such file, or not a pose library.
    """
    try:
        file = read_npz(path)
        pose, clip, names = _finite("pose", file["pose"]), file["clip"], file["clip_names"]
        error = file["error"]
    except _BROKEN as error:
        raise PoseError(f"{path}: expected a pose library of `hmr data mocap` ({error})") from error
    if pose.ndim != 3 or pose.shape[1:] != (fitting.NUM_JOINTS, 3) or clip.shape != pose.shape[:1]:
        raise PoseError(f"{path}: pose {pose.shape} and clip {clip.shape} do not fit")
    if error.dtype.kind != "f" or error.shape != clip.shape:
        raise PoseError(f"{path}: error {error.dtype} {error.shape} does not fit")
    if clip.dtype.kind not in "iu" or names.dtype.kind != "U" or names.ndim != 1:
        raise PoseError(f"{path}: expected clips' numbers and names, found others")
    if not len(clip) or clip.min() < 0 or clip.max() >= len(names):
        raise PoseError(f"{path}: expected clips of {len(names)} names, or there is none at all")
    return np.asarray(pose_angles(pose)), names[clip], error


def subject(clip_name):
    """Who moves in a clip: what its file's name begins with, "05" and "005" being one."""
    first = Path(clip_name).stem.split("_")[0]
    return str(int(first)) if first.isdigit() else first


def balanced_weights(angles, seed, clusters=_CLUSTERS, flatten=_FLATTEN):
    """Weights (N,), mean 1: common poses count less, so that walking does not drown the rest.

    Poses are put into clusters (k-means); a cluster of n frames counts n^(1 - flatten).
    """
    picked = np.random.default_rng(seed).permutation(len(angles))[:20_000]
    centres, _ = kmeans2(angles[picked], min(clusters, len(picked)), minit="points", rng=seed)
    label, _ = vq(angles, centres)
    sizes = np.bincount(label, minlength=len(centres))
    weights = sizes[label] ** -float(flatten)
    return weights / weights.mean()


def fit_mixture(angles, weights, components, seed, steps=30, shrink=300.0):
    """Expectation maximisation of a mixture of Gaussians, frames weighted.

    Args:
        angles: (N, D); weights: (N,), mean 1; components: M.
        shrink: how many frames' worth of the pooled covariance each component's is mixed with.

    Returns:
        weights (M,), means (M, D), covariances (M, D, D).
    """
    rng = np.random.default_rng(seed)
    angles, weights = np.asarray(angles, "float32"), np.asarray(weights, "float32")
    count, dimensions = angles.shape
    picked = rng.choice(count, min(count, 20_000), replace=False, p=weights / weights.sum())
    means, _ = kmeans2(angles[picked], components, minit="points", rng=seed)
    label, _ = vq(angles, means)
    share = np.zeros((count, components), "float32")
    share[np.arange(count), label] = 1
    before = -np.inf
    for _ in range(steps):
        mass = share * weights[:, None]  # (N, M)
        total = mass.sum(axis=0) + 1e-6
        means = mass.T @ angles / total[:, None]
        scatter = np.empty((components, dimensions, dimensions))
        for m in range(components):
            near = mass[:, m] > 1e-4
            away = (angles[near] - means[m]) * np.sqrt(mass[near, m : m + 1])
            scatter[m] = away.T @ away
        pooled = scatter.sum(axis=0) / total.sum()
        amount = (total + shrink)[:, None, None]
        covariances = (scatter + shrink * pooled) / amount + _FLOOR**2 * np.eye(dimensions)
        proportions = total / total.sum()
        logs = _component_logs(angles, proportions, means, covariances)  # (N, M)
        value = logsumexp(logs, axis=1)
        share = np.exp(logs - value[:, None])
        mean = np.average(value, weights=weights)
        if mean - before < 0.02:
            break
        before = mean
    return proportions, means.astype(float), covariances


def _component_logs(angles, proportions, means, covariances):
    """log (pi_m N(x_n; mu_m, Sigma_m)), (N, M)."""
    logs = np.empty((len(angles), len(means)), "float32")
    for m, covariance in enumerate(covariances):
        factor = np.linalg.cholesky(covariance)
        whiten = np.linalg.inv(factor).T.astype("float32")
        whitened = (angles - means[m].astype("float32")) @ whiten
        log_det = 2 * np.log(np.diagonal(factor)).sum()
        logs[:, m] = -0.5 * (np.einsum("nd,nd->n", whitened, whitened) + log_det)
    return logs + np.log(proportions) - angles.shape[1] / 2 * np.log(2 * np.pi)


def mixture_log_likelihood(angles, proportions, means, covariances):
    """log p(x_n), (N,)."""
    return logsumexp(_component_logs(angles, proportions, means, covariances), axis=1)


class Autoencoder(keras.Model):
    """A variational autoencoder of poses (Kingma and Welling 2014), the mixture's rival.

    A code z of a standard normal distribution is decoded to the mean of a Gaussian over angles.
    """

    def __init__(self, centre, width, seed, codes=24, hidden=256):
        """centre, width: (D,) mean and standard deviation of the angles, which it sees scaled."""
        super().__init__()
        self.centre, self.width, self.codes = np.float32(centre), np.float32(width), codes
        self.noise = keras.random.SeedGenerator(seed)
        self.encoder = self._perceptron(hidden, 2 * codes)
        self.decoder = self._perceptron(hidden, len(self.centre))
        self.log_scale = self.add_weight(shape=(len(self.centre),), initializer="zeros")

    @staticmethod
    def _perceptron(hidden, outputs):
        layers = [keras.layers.Dense(hidden, "elu"), keras.layers.Dense(hidden, "elu")]
        return keras.Sequential([*layers, keras.layers.Dense(outputs)])

    def call(self, angles):
        """(B, D) -> (B,): log weight of one draw of each pose's code; below log p in the mean."""
        x = (angles - self.centre) / self.width
        mean, log_spread = ops.split(self.encoder(x), 2, axis=-1)
        z = mean + ops.exp(log_spread) * keras.random.normal(ops.shape(mean), seed=self.noise)
        back = _normal_log(x, self.decoder(z), self.log_scale) - np.log(self.width).sum()
        divergence = _normal_log(z, mean, log_spread) - _normal_log(z, 0.0, ops.zeros(self.codes))
        return back - divergence

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return -ops.mean(y_pred)

    def decode(self, codes):
        """Codes (B, codes) -> the angles (B, D) that they stand for, NumPy."""
        return ops.convert_to_numpy(self.decoder(codes)) * self.width + self.centre


def _normal_log(x, mean, log_scale):
    """log N(x; mean, exp(log_scale)^2), summed over the last axis."""
    away = (x - mean) / ops.exp(log_scale)
    return -ops.sum(away**2 / 2 + log_scale + np.float32(np.log(2 * np.pi) / 2), axis=-1)


def fit_autoencoder(angles, weights, seed, epochs=40):
    """Learn an `Autoencoder`; frames are drawn as often as they weigh. See `fit_mixture`."""
    keras.utils.set_random_seed(seed)
    drawn = np.random.default_rng(seed).choice(
        len(angles), len(angles), p=weights / weights.sum(dtype=float)
    )
    model = Autoencoder(angles.mean(axis=0), angles.std(axis=0) + 1e-3, seed)
    model.compile(optimizer=keras.optimizers.Adam(2e-3))
    model.fit(np.float32(angles[drawn]), epochs=epochs, batch_size=128, verbose=0)
    return model


def autoencoder_log_likelihood(angles, model, draws=200):
    """log p(x_n), (N,), by the mean of many draws inside the logarithm (Burda et al. 2016)."""
    logs = np.stack([ops.convert_to_numpy(model(np.float32(angles))) for _ in range(draws)])
    return logsumexp(logs, axis=0) - np.log(draws)


def with_unseen(angles, seed):
    """Angles with a spread where the capture has none: hands drawn, feet and wrists loosened."""
    rng = np.random.default_rng(seed)
    angles = angles.reshape(-1, fitting.NUM_JOINTS - 1, 3).copy()
    for j, name in enumerate(skeleton.JOINT_NAMES[1:]):
        share = _UNSEEN.get(name.split("_")[-1], 0)
        width = share * (fitting.MOST - fitting.LEAST)[j + 1]
        if name.endswith("hand"):
            angles[:, j] = fitting.RELAXED[j + 1]
        angles[:, j] += width * rng.standard_normal(angles[:, j].shape)
    angles = np.clip(angles, fitting.LEAST[1:], fitting.MOST[1:])
    return angles.reshape(-1, DIMENSIONS).astype("float32")


def held_out_split(clips, seed, share=0.2):
    """(N,) mask of held-out frames: whole subjects, until they make up the share."""
    who = np.array([subject(name) for name in clips])
    names, counts = np.unique(who, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    chosen = order[: np.searchsorted(np.cumsum(counts[order]), share * len(clips)) + 1]
    return np.isin(who, names[chosen])


def train(library, out=None, components=32, seed=0):
    """Learn the prior from a pose library, and write it.

    The same library and seed give the same prior. First it is learned without some subjects, whose
    frames it is then judged by; what is written has learned from all.

    Args:
        library: path of a library that `gather.build_library` wrote.
        out: path, by default the package's own file.
        components: M.

    Returns:
        `Prior`; its card holds the held-out log likelihood.
    """
    angles, clips, errors = read_library(library)
    angles, clips = angles[::_EVERY], clips[::_EVERY]
    weights = balanced_weights(angles, seed)
    angles = with_unseen(angles, seed)
    away = held_out_split(clips, seed)
    judged = fit_mixture(angles[~away], weights[~away], components, seed)
    one = fit_mixture(angles[~away], weights[~away], 1, seed)
    vae = fit_autoencoder(angles[~away], weights[~away], seed)
    logs = {
        "training": mixture_log_likelihood(angles[~away], *judged),
        "held_out": mixture_log_likelihood(angles[away], *judged),
        "held_out_one_gaussian": mixture_log_likelihood(angles[away], *one),
        "held_out_autoencoder": autoencoder_log_likelihood(angles[away], vae),
    }
    scores = {
        name: round(float(np.average(value, weights=weights[part])), 2)
        for (name, value), part in zip(logs.items(), (~away, away, away, away), strict=True)
    }
    final = fit_mixture(angles, weights, components, seed)
    card = {
        "name": "hmrlib pose prior",
        "model": f"mixture of {components} Gaussians over {DIMENSIONS} swing and twist angles",
        "data": f"{len(np.unique(clips))} clips of CMU's motion capture, retargeted to the body",
        "clips": len(np.unique(clips)),
        "frames": len(errors) // 2,
        "retargeting_error_mm": round(1000 * float(np.nanmean(errors)), 1),
        "credit": CREDIT,
        "licence": "the clips are free to use, modify and redistribute; so are these parameters",
        "log_likelihood_nats": scores,
        "held_out_subjects": sorted({subject(name) for name in clips[away]}),
        "seed": seed,
        "missing": [
            "lying, swimming, babies and the old; hardly any sitting on chairs",
            "fingers, and wrists and feet in part: spread by hand, independent of all else",
            "the root: poses are told from the pelvis",
        ],
    }
    joints = fitting.sites(hmrlib.load_body())[0][: fitting.NUM_JOINTS]
    prior = Prior(*final, joints, card)
    save_prior(out or ASSET, prior)
    return load_prior(out)
