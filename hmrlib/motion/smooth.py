"""Smoothing a motion without lag, filling its gaps, and a measure of how it jitters.

What is fitted is local: around each frame a parabola through its neighbours, which count by a
Gaussian of their distance in time (Cleveland 1979; for rotations in the tangent space at the
result, as in a Karcher mean). A window that reaches as far ahead as back has no lag, and a parabola
takes nothing off a turn at an even or evenly growing speed, as an average would.

T frames; rotations are axis-angle (T, J, 3), places (T, 3).
"""

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

SIGMA = 0.1  # seconds, of the Gaussian
REACH = 3  # sigmas, each way
ROUNDS = 3  # of the mean in the tangent space


def local_weights(times, at, sigma):
    """How much each time counts for the value at another, by a local parabola.

    A straight line takes the parabola's place where one side has less than a sigma of neighbours:
    it would swing out there.

    Args:
        times: (T,) seconds. at: seconds. sigma: seconds.

    Returns:
        (T,); they sum to one.
    """
    away = (np.asarray(times, float) - at) / sigma
    gauss = np.where(np.abs(away) <= REACH, np.exp(-(away**2) / 2), 0)
    known = away[gauss > 0]
    degree = 2 if min(-known.min(initial=0), known.max(initial=0)) >= 1 - 1e-9 else 1
    degree = min(degree, max(len(known) - 1, 0))
    basis = away[:, None] ** np.arange(degree + 1)  # (T, degree + 1)
    normal = (basis * gauss[:, None]).T @ basis
    return np.linalg.solve(normal, (basis * gauss[:, None]).T)[0]


def smooth_places(places, fps, sigma=SIGMA):
    """(T, ...) -> (T, ...), each value from a parabola through its neighbours."""
    places = np.asarray(places, float)
    result = np.empty_like(places)
    for frame, near, weights in _windows(len(places), fps, sigma):
        result[frame] = np.tensordot(weights, places[near], 1)
    return result


def smooth_rotations(pose, fps, sigma=SIGMA):
    """The same for rotations (T, J, 3), axis-angle.

    The result R solves sum_k w_k log(R^-1 Q_k) = 0 over the neighbours Q_k, a mean on the manifold.
    """
    pose = np.asarray(pose, float)
    result = np.empty_like(pose)
    for frame, near, weights in _windows(len(pose), fps, sigma):
        count = len(near)
        others = Rotation.from_rotvec(pose[near].reshape(-1, 3))  # (K J)
        mean = Rotation.from_rotvec(pose[frame])  # (J)
        for _ in range(ROUNDS):
            back = Rotation.from_quat(np.tile(mean.inv().as_quat(), (count, 1)))
            away = (back * others).as_rotvec().reshape(count, -1, 3)
            mean = mean * Rotation.from_rotvec(np.tensordot(weights, away, 1))
        result[frame] = mean.as_rotvec()
    return result


def _windows(count, fps, sigma):
    """For each frame: its number, those of its neighbours, and how much these count."""
    times = np.arange(count) / fps
    reach = int(np.ceil(REACH * sigma * fps))
    for frame in range(count):
        near = np.arange(max(frame - reach, 0), min(frame + reach + 1, count))
        yield frame, near, local_weights(times[near], times[frame], sigma)


def fill_rotations(pose, known):
    """Rotations at frames where none is known: between their neighbours at an even speed.

    Args:
        pose: (T, J, 3) axis-angle. known: (T,) booleans, at least one of them true.
    """
    frames = np.flatnonzero(known)
    if len(frames) == 1:
        return np.repeat(pose[frames], len(pose), axis=0)
    inside = np.arange(len(pose)).clip(frames[0], frames[-1])
    filled = np.empty(np.shape(pose))
    for j in range(filled.shape[1]):
        filled[:, j] = Slerp(frames, Rotation.from_rotvec(pose[frames, j]))(inside).as_rotvec()
    return filled


def fill_places(places, known):
    """Places (T, n) where none is known: on the line between their neighbours."""
    frames = np.flatnonzero(known)
    every = np.arange(len(places))
    return np.stack([np.interp(every, frames, column[frames]) for column in places.T], axis=1)


def jitter(joints, fps):
    """Mean acceleration of joints (T, J, 3), metres: of somebody who stands still, all is error.

    Returns:
        metres a second squared; 0 for fewer than three frames.
    """
    joints = np.asarray(joints, float)
    if len(joints) < 3:
        return 0.0
    second = joints[2:] - 2 * joints[1:-1] + joints[:-2]
    return float(np.linalg.norm(second, axis=-1).mean() * fps**2)
