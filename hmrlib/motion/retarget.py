"""Motion of a skeleton onto the body.

A motion file moves a skeleton of its own: other joints, other bone lengths, another rest pose. What
carries over is where the joints go, so a clip is first played (forward kinematics of *its*
skeleton), and then the body is fitted to the positions (`hmrlib.fitting`).

Frames: metres, y up; at rest the person faces +z. T frames, J joints of the file's skeleton.
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from hmrlib import fitting
from hmrlib.motion.skeletons import LIMBS_AND_TORSO, MocapError, joint_map, mapped
from hmrlib.skeleton import JOINT_NAMES


class Retargeted(NamedTuple):
    """A clip on our body.

    Attributes:
        pose: (T, 24, 3) axis-angle; betas: (n,); translation: (T, 3) metres.
        errors: dict from our points to (T,) metres, how far ours is from the skeleton's.
        offsets: (34, 3) metres, from our sites to where the skeleton has them.
    """

    pose: np.ndarray
    betas: np.ndarray
    translation: np.ndarray
    errors: dict[str, np.ndarray]
    offsets: np.ndarray

    @property
    def error(self):
        """(T,) metres, the mean over `LIMBS_AND_TORSO`."""
        return np.mean([self.errors[n] for n in LIMBS_AND_TORSO if n in self.errors], axis=0)


_SIDES = ("left", "right")
_LIMBS = [
    (f"{side}_{a}", f"{side}_{b}")
    for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
    for side in ("left", "right")
]
_TRUNK = [  # no bones: how far apart they are changes a little with the pose
    ("left_hip", "right_hip"),
    ("left_shoulder", "right_shoulder"),
    ("left_hip", "left_shoulder"),
    ("right_hip", "right_shoulder"),
]
# What turns the pelvis, the chest and the extremities must keep its place in them, or a constant
# turn could hide in the offsets.
_PELVIS = ("pelvis", "left_hip", "right_hip", "spine1")
_EXTREMITIES = ("foot", "toe", "hand", "thumb", "head", "nose", "top", "eye")  # last words of names
# Skeletons whose rest pose has the trunk upright (and, in CMU's, feet flat, palms down and the face
# forward), as ours has: there these points are where the rest pose has them.
_AT_REST = {
    "cmu-asf": (*_PELVIS, "neck", "foot", "toe", "hand", "thumb", "head", "nose", "top"),
    "cmu-bvh": (*_PELVIS, "neck", "foot", "toe", "head", "nose", "top"),
    "biovision": (*_PELVIS, "neck", "head", "top"),
    "daz": (*_PELVIS, "neck", "eye"),
}
_SLIGHT = 0.2  # how much the points count that are not of limbs and torso
_STUDIED = 64  # frames, spread over the clip, from which offsets are found
_ROUNDS = 2
_STEPS = 12


def retarget(motion, body, joints=None, betas=None):
    """Move our body as a motion moves its skeleton.

    1. The shape: that whose bones are as long as the skeleton's.
    2. The offsets: a skeleton has its hips, its shoulders, its toes elsewhere in the pelvis, the
       trunk, the feet than we have. They come from the two rest poses, or, on some frames, poses
       and (constant) offsets are found in turns.
    3. All frames, with joint limits; those that got stuck begin again from their neighbour's pose.

    Args:
        motion: `Motion`; joints: see `joint_map`.
        body: `hmrlib.Body`.
        betas: (n,) of this person; None finds them.

    Returns:
        `Retargeted`; its errors are told without the offsets, from joint to joint.

    Raises:
        MocapError: as `joint_map`, or fewer than four bones of limbs and torso are known.
    """
    family, joints = joint_map(motion, joints)
    points, rest = mapped(motion, joints)
    bones = [pair for pair in (*_LIMBS, *_TRUNK) if set(pair) <= set(points)]
    if len(bones) < 4:
        raise MocapError(f"too few joints of the limbs are mapped: {', '.join(points)}")
    count = len(motion.positions)
    target = np.full((count, len(fitting.SITE_NAMES), 3), np.nan)
    for name, place in points.items():
        target[:, fitting.SITE_NAMES.index(name)] = place
    betas = _bones_shape(body, points, bones) if betas is None else betas
    # of a known family roughly is enough; but a file of it may have been turned since
    alike = _AT_REST.get(family, (*_PELVIS, "neck"))
    alike = alike if _stands(rest, 0.7 if family in _AT_REST else 0.94) else ()
    given = _given_offsets(points, rest, alike, body, betas)

    some = np.unique(np.linspace(0, count - 1, _STUDIED).astype(int))
    options = {"names": fitting.SITE_NAMES, "betas": betas, "steps": _STEPS}
    fit, offsets, weights = _fit_with_offsets(body, target[some], points, given, options)

    nearest = np.abs(np.arange(count)[:, None] - some).argmin(axis=1)
    start = fit.pose[_stand_in(fit.energy)][nearest]
    again = partial(fitting.fit_points, body, offsets=offsets, weights=weights, **options)
    fit = _unstuck(again(target, start=start), again, target)
    away = np.linalg.norm(_without(fit, offsets) - target, axis=-1)
    errors = {name: away[:, fitting.SITE_NAMES.index(name)] for name in points}
    return Retargeted(fit.pose, np.asarray(betas), fit.translation, errors, offsets)


def _bones_shape(body, points, bones):
    """The betas (n,) of a body whose bones are as long as the skeleton's are at the median."""
    lengths = {(a, b): np.median(np.linalg.norm(points[a] - points[b], axis=-1)) for a, b in bones}
    scale = [0.01 if pair in _LIMBS else 0.02 for pair in bones]
    return fitting.fit_shape(body, lengths, scale=scale)


def _fit_with_offsets(body, target, points, given, options):
    """Poses and constant offsets of some frames, in turns.

    Args:
        target: (T, S, 3), NaN where the skeleton has no such point; points: from `mapped`.
        given: offsets (3,) by index of the site, from `_given_offsets`, where they begin.
        options: of `fitting.fit_points`.

    Returns:
        the `Fit`, the offsets (S, 3) and the weights (S,) of the sites.
    """
    offsets, weights = np.zeros((len(fitting.SITE_NAMES), 3)), np.zeros(len(fitting.SITE_NAMES))
    for site, name in enumerate(fitting.SITE_NAMES):
        offsets[site] = given.get(site, 0.0)
        weights[site] = 1.0 if name in LIMBS_AND_TORSO else _SLIGHT if site in given else 0.0
    start = None
    for _ in range(_ROUNDS):
        fit = fitting.fit_points(
            body, target, offsets=offsets, weights=weights, start=start, **options
        )
        start = fit.pose
        away = target - _without(fit, offsets)
        turns = fit.rotations[:, fitting.SITE_OWNERS]  # (T, S, 3, 3)

        def median(site, toward, away=away, turns=turns):  # in the axes of the joint that carries
            return np.median(np.einsum("tcd,tc->td", turns[:, site], away[:, toward]), axis=0)

        for site, name in enumerate(fitting.SITE_NAMES):
            kind = name.split("_")[-1]
            if kind == "eye" and name in points and site not in given:  # the head was relaxed
                offsets[site], weights[site] = median(site, site), _SLIGHT
            elif kind == "shoulder" and name in points:  # how wide they are, nothing else
                offsets[site, 0] = median(site, site)[0]
            elif kind in _EXTREMITIES and site in given:  # wherever the skeleton has its joint
                offsets[site] = given[site] + median(site, fitting.SITE_OWNERS[site])
    return fit, offsets, weights


def _stands(rest, least):
    """Whether a rest pose stands upright and faces +z, as ours does: by the least cosine."""

    def turned(there, here, axis):  # cosine of the angle to an axis, of both sides' mean
        bone = np.mean([rest[a] - rest[b] for a, b in zip(there, here, strict=True)], axis=0)
        return bone[axis] / max(np.linalg.norm(bone), 1e-9)

    hips, knees, shoulders = ([f"{s}_{n}" for s in _SIDES] for n in ("hip", "knee", "shoulder"))
    if not {*hips, *knees, *shoulders} <= set(rest):
        return False
    across = min(turned(pair[:1], pair[1:], 0) for pair in (hips, shoulders))
    return min(across, turned(shoulders, hips, 1), turned(hips, knees, 1)) > least


def _given_offsets(points, rest, at_rest, body, betas):
    """Offsets (3,) by index of the site: of the trunk and of extremities, as far as known.

    Args:
        points, rest: from `mapped`; at_rest: which sites of the two rest poses correspond.
    """
    template, shapedirs = fitting.sites(body)
    ours = template + np.tensordot(betas, shapedirs[: len(betas)], axes=1)  # (S, 3)
    ours = dict(zip(fitting.SITE_NAMES, ours, strict=True))

    def from_middle(places, pair, name):
        return places[name] - (places[f"left_{pair}"] + places[f"right_{pair}"]) / 2

    offsets = {}
    for site, name in enumerate(fitting.SITE_NAMES):
        kind = name.split("_")[-1]
        if name not in points:
            continue
        if name in at_rest and kind not in _EXTREMITIES:
            pair = "hip" if name in _PELVIS else "shoulder"
            offsets[site] = from_middle(rest, pair, name) - from_middle(ours, pair, name)
        elif kind in _EXTREMITIES or name == "spine1":
            owner = JOINT_NAMES[fitting.SITE_OWNERS[site]]
            if owner not in points or (kind == "eye" and kind not in at_rest):
                continue
            bone = ours[name] - ours[owner]
            if kind in at_rest:
                offsets[site] = rest[name] - rest[owner] - bone
            else:  # as long as theirs, in our direction
                length = np.median(np.linalg.norm(points[name] - points[owner], axis=-1))
                offsets[site] = (length / np.linalg.norm(bone) - 1) * bone
    return offsets


def _without(fit, offsets):
    """Our sites (T, S, 3) themselves, where a fit gives what lies at an offset from them."""
    turns = fit.rotations[:, fitting.SITE_OWNERS]
    return fit.points - np.einsum("tscd,sd->tsc", turns, offsets)


def _stand_in(energy):
    """For each frame, itself, or the nearest whose energy does not stand out: indices (T,)."""
    good = np.flatnonzero(energy <= 3 * np.median(energy) + 1)
    frames = np.arange(len(energy))
    return good[np.abs(good - frames[:, None]).argmin(axis=1)]


def _unstuck(fit, again, target):
    """Frames whose energy stands out begin once more, from the nearest frame that does not."""
    other = _stand_in(fit.energy)
    stuck = np.flatnonzero(other != np.arange(len(other)))
    if not stuck.size:
        return fit
    new = again(target[stuck], start=fit.pose[other[stuck]])
    better = new.energy < fit.energy[stuck]
    fit = fitting.Fit(*(array.copy() for array in fit))
    for old, found in zip(fit, new, strict=True):
        old[stuck[better]] = found[better]
    return fit
