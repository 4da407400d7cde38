"""The body fitted to a person's landmarks, from the network's answer on.

The network sees the whole person at once and is seldom far off; landmarks say exactly where a hand
is, and nothing of the body between. So the network's answer is where the fit begins, and what is
known of bodies (joint limits, a prior over poses, betas near the mean) fills in the rest:

    E = sum_k w_k rho(|pi(x_k) - y_k|^2 / sigma^2)            landmarks in the picture
      + sum_k u_k rho((z_k - d_k)^2 / delta^2)                their depths, relative to each other
      + limits(theta) + prior(theta) + lambda |beta|^2

pi is the pinhole camera of the whole picture, rho Geman and McClure's: a landmark that is far off
counts as wrong. `hmrlib.fitting.improve` goes down, for all people at once.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hmrlib import fitting
from hmrlib.fitting import Stage
from hmrlib.prediction.landmarks import LANDMARK_NAMES, torso_length

OFFSETS = Path(__file__).parent / "assets" / "landmarks.json"

STAGES = (
    Stage("place", sigma=2.0, depth=0.4, place_alone=True, steps=6),
    Stage("pose", sigma=1.0, depth=0.2, limits=1.0, prior=2e-3, betas=1e-2, steps=10),
    Stage(
        "details",
        sigma=0.5,
        depth=0.1,
        limits=1.0,
        prior=1e-3,
        betas=1e-2,
        bounded=True,
        steps=10,
    ),
)
SIGMA = 0.3  # of the torso in the picture
LEAST_SCORE = 0.5  # of landmarks that are trusted
LEAST_SEEN = 0.3  # mean visibility of the shoulders, or of shoulders, hips, elbows and knees
MOST_OFF = 0.35  # of the torso: landmarks that no body reaches
MOST_APART = 0.2  # of the torso: the visible limbs' median, where two looks disagree
_APART = 0.1  # of the torso: a landmark that two looks saw so far apart counts half
_UNSEEN = 0.2  # weight of a landmark that is not visible, which is a good guess all the same
_OUTSIDE = 0.01  # and of one that lies outside of the picture, which is a guess of nothing seen

# the site of `fitting.SITE_NAMES` that moves with each landmark; where on it, OFFSETS says
_SITES = {
    "eye_inner": "eye", "eye_outer": "eye", "mouth": "nose", "pinky": "hand", "index": "hand",
    "thumb": "hand", "toe": "big_toe",
}  # fmt: skip
_WEIGHTS = {"eye": 0.2, "ear": 0.3, "mouth": 0.2, "nose": 0.3, "hand": 0.25, "big_toe": 0.4}
_WEIGHTS |= {"heel": 0.4}


def _site(name):
    side, _, rest = name.partition("_")
    site = _SITES.get(rest, rest or name)
    return site if site == "nose" else f"{side}_{site}"


SITES = tuple(map(_site, LANDMARK_NAMES))
WEIGHTS = np.array([_WEIGHTS.get(name.split("_", 1)[-1], 1.0) for name in SITES])
_HIPS, _SHOULDERS, _CORE = (
    [LANDMARK_NAMES.index(f"{side}_{name}") for name in names for side in ("left", "right")]
    for names in (("hip",), ("shoulder",), ("shoulder", "hip", "elbow", "knee"))
)
_BONES = [
    tuple(LANDMARK_NAMES.index(f"{side}_{name}") for name in pair)
    for side in ("left", "right")
    for pair in (
        ("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"),
        ("shoulder", "hip"),
    )
]  # fmt: skip


class Refined(NamedTuple):
    """Bodies fitted to landmarks, or the network's where that was not to be trusted.

    Attributes:
        pose: (N, 24, 3) axis-angle, the root's in the camera's frame.
        betas: (N, n). translation: (N, 3) metres.
        refined: (N,) bool; False: the network's answer, as it came.
        note: N strings: why it was given back, or "".
        energy, energy_before: (N,) E of this body and of the network's.
    """

    pose: np.ndarray
    betas: np.ndarray
    translation: np.ndarray
    refined: np.ndarray
    note: list
    energy: np.ndarray
    energy_before: np.ndarray


@lru_cache(maxsize=1)
def landmark_offsets():
    """(33, 3) metres from `SITES` to where the landmarks are, along their joints' axes at rest."""
    return np.array(json.loads(OFFSETS.read_text("utf-8"))["offsets"])


@lru_cache(maxsize=1)
def _prior():
    from hmrlib.motion.prior import load_prior

    return load_prior()


def refine(body, pose, betas, translation, camera, landmarks, *, stages=STAGES, trace=None):
    """Fit the body to landmarks, from the network's answer on.

    Three ways are tried, and the one of least energy kept: from the network's answer; from its pose
    turned as the landmarks' torso is, for where it took the front for the back; and from a relaxed
    body turned so.

    Args:
        body: `hmrlib.Body`.
        pose: (N, 24, 3) axis-angle, the root's in the camera's frame (x right, y down, z away).
        betas: (N, n). translation: (N, 3) metres.
        camera: (N, 3) focal length, cx, cy in pixels of the whole picture.
        landmarks: N `Landmarks`.
        stages: of `fitting.Stage`.
        trace: a list that receives after each stage its name and a `fitting.Fit` of the N people.

    Returns:
        `Refined`.

    Raises:
        hmrlib.fitting.FittingError: shapes that do not fit, or numbers that are not finite.
    """
    count = len(landmarks)
    pose, betas, translation = (np.asarray(a, float) for a in (pose, betas, translation))
    if not count:
        return Refined(pose, betas, translation, np.zeros(0, bool), [], np.zeros(0), np.zeros(0))
    camera = np.broadcast_to(np.asarray(camera, float), (count, 3))
    problem = _problem_of(body, landmarks, camera)
    starts = [(pose, betas, translation), *_lifted_starts(body, pose, betas, problem, camera)]
    ways = len(starts)
    start = [np.concatenate(arrays) for arrays in zip(*starts, strict=True)]
    tiled = {name: np.concatenate([array] * ways) for name, array in problem.items()}
    del tiled["world"]
    sight = fitting.Sight(names=SITES, offsets=landmark_offsets(), **tiled)
    steps = [] if trace is not None else None
    fit, before = fitting.improve(
        body, sight, np.concatenate([camera] * ways), start, stages, _prior(), steps
    )
    best = fit.energy.reshape(ways, count).argmin(axis=0) * count + np.arange(count)
    if trace is not None:
        trace += [(name, fitting.Fit(*(array[best] for array in part))) for name, part in steps]
    fit = fitting.Fit(*(array[best] for array in fit))
    before = before[:count]
    notes = [
        _doubt(*told)
        for told in zip(
            landmarks, _residual(fit, landmarks, camera), fit.energy, before, strict=True
        )
    ]
    good = np.array([not note for note in notes])

    def choose(new, old):
        return np.where(good.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    return Refined(
        choose(fit.pose, pose), choose(fit.betas, betas), choose(fit.translation, translation),
        good, notes, np.where(good, fit.energy, before), before,
    )  # fmt: skip


def _problem_of(body, landmarks, camera):
    """What goes into `fitting.Sight`, and the landmarks in the body's own metres."""
    xy, world, visibility, apart = (
        np.stack([getattr(one, name) for one in landmarks]).astype(float)
        for name in ("xy", "world", "visibility", "apart")
    )
    outside = ((xy < 0) | (xy > 2 * camera[:, None, 1:])).any(axis=-1)  # of the picture
    seen = np.where(outside, _OUTSIDE, np.maximum(visibility, _UNSEEN)) * WEIGHTS  # (N, 33)
    seen /= 1 + (apart / _APART) ** 2
    world = world * _growth(body, world)[:, None, None]
    return {
        "keypoints": xy, "weights": seen, "sigma": SIGMA * torso_length(xy), "depth": world[..., 2],
        "depth_weights": DEPTH * seen, "world": world,
    }  # fmt: skip


DEPTH = 0.3  # weight of a landmark's depth, of the weight of its place in the picture


def _rest_points(body):
    """(33, 3) metres, the landmarks on the mean body at rest."""
    template, _ = fitting.sites(body)
    places = np.array([template[fitting.SITE_NAMES.index(name)] for name in SITES])
    return places + landmark_offsets()


def _growth(body, world):
    """(N,) by how much the landmarks' metres are to be stretched to have the mean body's bones."""
    own = _rest_points(body)
    ends = np.array(_BONES)
    lengths = np.linalg.norm(own[ends[:, 0]] - own[ends[:, 1]], axis=-1)
    theirs = np.linalg.norm(world[:, ends[:, 0]] - world[:, ends[:, 1]], axis=-1)
    return np.clip(np.median(lengths / np.maximum(theirs, 0.05), axis=1), 0.6, 1.7)


def _lifted_starts(body, pose, betas, problem, camera):
    """Two bodies a person that stand and turn as the landmarks' torso does: the network's, relaxed.

    The torso's rotation is that which brings four points of it at rest onto the landmarks in space
    (Kabsch 1976), its place where those are seen.
    """
    from scipy.spatial.transform import Rotation

    own, world = _rest_points(body), problem["world"]
    torso = _HIPS + _SHOULDERS
    root = np.stack([_kabsch(own[torso], points[torso]) for points in world])  # (N, 3, 3)
    middle = _seen_from(problem["keypoints"], world, problem["weights"], camera)
    pelvis, _ = fitting.sites(body)
    hips = own[_HIPS].mean(axis=0) - pelvis[0]
    translation = middle - root @ hips - pelvis[0]
    turned = pose.copy()
    turned[:, 0] = Rotation.from_matrix(root).as_rotvec()
    relaxed = np.repeat(_relaxed_pose()[None], len(pose), axis=0)
    relaxed[:, 0] = turned[:, 0]
    return (turned, betas, translation), (relaxed, np.zeros_like(betas), translation)


@lru_cache(maxsize=1)
def _relaxed_pose():
    """(24, 3) axis-angle of the pose in which every joint has its relaxed angles."""
    from scipy.spatial.transform import Rotation

    twist = fitting.RELAXED * fitting.TWIST_AXIS
    swing = fitting.RELAXED - twist
    return (Rotation.from_rotvec(swing) * Rotation.from_rotvec(twist)).as_rotvec()


def _kabsch(own, seen):
    """The rotation (3, 3) that brings points (K, 3) onto others, their means aside."""
    u, _, vt = np.linalg.svd((seen - seen.mean(axis=0)).T @ (own - own.mean(axis=0)))
    u[:, 2] *= np.sign(np.linalg.det(u @ vt))  # no reflection
    return u @ vt


def _seen_from(xy, world, weights, camera):
    """(N, 3): where points in space (N, K, 3) must be moved to be seen at xy, by least squares.

    (X + t) / (Z + tz) f = u - c is linear in t.
    """
    moved = []
    for pixels, points, weight, (focal, *center) in zip(xy, world, weights, camera, strict=True):
        ray = (pixels - center) / focal  # (K, 2)
        rows = np.zeros((len(ray), 2, 3))
        rows[:, 0, 0] = rows[:, 1, 1] = 1
        rows[:, :, 2] = -ray
        values = ray * points[:, 2:] - points[:, :2]
        weight = np.sqrt(weight)[:, None]
        t = np.linalg.lstsq(
            (rows * weight[..., None]).reshape(-1, 3), (values * weight).ravel(), rcond=None
        )[0]
        if t[2] < 0.3:  # noise may put a tiny person behind the camera
            t = np.array([*(ray.mean(axis=0) * 5), 5.0])
        moved.append(t)
    return np.array(moved)


def _residual(fit, landmarks, camera):
    """(N,) median distance of the limbs' landmarks from the body's, parts of the torso."""
    xy = np.stack([one.xy for one in landmarks])
    seen = camera[:, None, :1] * fit.points[..., :2] / np.maximum(fit.points[..., 2:], 0.1)
    away = np.linalg.norm(seen + camera[:, None, 1:] - xy, axis=-1)
    limbs = WEIGHTS == 1
    return np.median(away[:, limbs], axis=1) / torso_length(xy)


def _doubt(landmarks, residual, energy, before):
    """Why the fit to some landmarks is not to be trusted, in words, or ""."""
    if landmarks.score < LEAST_SCORE:
        return f"the landmarks are not trusted: their network's score is {landmarks.score:.2f}"
    limbs = (WEIGHTS == 1) & (landmarks.visibility > 0.5)
    apart = np.median(landmarks.apart[limbs]) if limbs.any() else 0.0
    if apart > MOST_APART:
        return f"the landmarks are not trusted: two looks saw them {apart:.2f} of the torso apart"
    seen = landmarks.visibility[_CORE].mean()
    if max(seen, landmarks.visibility[_SHOULDERS].mean()) < LEAST_SEEN:  # a portrait will do
        return f"too little of the person is seen: {seen:.0%} of shoulders, hips, elbows and knees"
    if not residual < MOST_OFF:
        return f"no body reaches the landmarks: they are {residual:.2f} of the torso off"
    if not energy <= before:
        return "the fit did not improve on the network's answer"
    return ""
