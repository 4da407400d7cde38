"""AMASS: poses of SMPL's kin, which need no retargeting."""

from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from hmrlib.io import ArchiveError, read_npz
from hmrlib.motion.clips.motion import checked_rate
from hmrlib.motion.skeletons import UPS, MocapError

LIBRARY_FPS = 30.0
SMPL_PELVIS = (0.0, -0.22, 0.03)
"""Metres, where SMPL's bodies have their pelvis at rest: y is -0.21 for women, -0.24 for men."""
OWN_BODY = "hmrlib"  # as `surface_model_type` of a file: betas and pelvis are our own body's
_MODEL = "surface_model_type"
_RATE_NAMES = ("mocap_framerate", "mocap_frame_rate", "framerate", "frame_rate", "fps")


class Poses(NamedTuple):
    """A clip of poses: pose (T, 24, 3) axis-angle, translation (T, 3) metres, betas (10,).

    The betas are the file's where they are of the body's own shape space, else 0.
    """

    pose: np.ndarray
    translation: np.ndarray
    betas: np.ndarray


def read_amass(path, fps=LIBRARY_FPS, body=None, up="z"):
    """A clip of AMASS (Mahmood et al. 2019): poses of SMPL's kin, which need no retargeting.

    A body turns about its pelvis, which in SMPL's files is not the origin: there the pelvis is at
    J0 + trans, with J0 its place at rest. So with U that turns the vertical to y, the pelvis of
    the result is at U (J0 + trans), and its translation U (J0 + trans) - J0', with J0' that of the
    body it is for.

    Args:
        path: `.npz` with poses (T, 66 or more) or (T, 22 or more, 3) axis-angle, or root_orient
            (T, 3) and pose_body (T, 63); trans (T, 3) metres; and mocap_framerate,
            mocap_frame_rate or fps. The first 22 joints are SMPL's; of 72 numbers also its hands;
            fingers are left at rest. What else the file holds is not read, and objects never.
        fps: frames a second of the result; the nearest frames are taken.
        body: `hmrlib.Body` that the result is for; one whose pelvis is where SMPL's is is taken for
            SMPL's kin, and J0 = J0' is its pelvis with the file's betas. For another (the open
            body) J0 is `SMPL_PELVIS` and J0' its own, unless the file was written by hmrlib
            (`motion.export`), for the same body. None: SMPL's mean body.
        up: the file's vertical axis, a name in `UPS`.

    Returns:
        `Poses`, y up.

    Raises:
        MocapError: no such file, or not such arrays.
    """
    fps = checked_rate(fps)
    arrays = _amass_arrays(path)
    poses, translation, rate = arrays["poses"], arrays["trans"], checked_rate(arrays["rate"], path)
    if poses.ndim == 3 and poses.shape[2] == 3:  # joint by joint
        poses = poses.reshape(len(poses), 3 * poses.shape[1])
    if poses.ndim != 2 or poses.shape[1] < 66 or translation.shape != (len(poses), 3):
        raise MocapError(f"{path}: poses {poses.shape} and trans {translation.shape} do not fit")
    sane = (np.abs(poses) < 1000).all() and (np.abs(translation) < 1e6).all()  # radians, metres
    if not len(poses) or not sane:
        raise MocapError(f"{path}: no frames, or NaN, infinity or numbers of no motion among them")
    if up not in UPS:
        raise MocapError(f"{path}: up {up!r}; expected one of {', '.join(UPS)}")
    frames = np.rint(np.arange(int((len(poses) - 1) / rate * fps + 1e-6) + 1) / fps * rate)
    poses, translation = poses[frames.astype(int)], translation[frames.astype(int)]
    pose, known = np.zeros((len(poses), 24, 3)), 24 if poses.shape[1] == 72 else 22
    pose[:, :known] = poses[:, : 3 * known].reshape(-1, known, 3)
    upright = Rotation.from_matrix(UPS[up])
    pose[:, 0] = (upright * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    recorded, ours, betas = _pelvises(body, arrays["betas"], arrays["own"])
    return Poses(pose, upright.apply(recorded + translation) - ours, betas)


def _pelvises(body, betas, own):
    """The pelvis at rest that a recording means, that of our body, and our body's betas (10,)."""
    smpl, kept = np.array(SMPL_PELVIS), np.zeros(10)
    if body is None:
        return smpl, smpl, kept
    regressor = body.J_regressor.toarray()[0] @ body.v_template  # (3,)
    if np.linalg.norm(regressor - smpl) > 0.05 and not own:
        return smpl, regressor, kept
    count = min(len(betas), body.shapedirs.shape[2], len(kept))
    kept[:count] = betas[:count]
    directions = np.einsum("v,vcs->cs", body.J_regressor.toarray()[0], body.shapedirs[..., :count])
    pelvis = regressor + directions @ kept[:count]
    return pelvis, pelvis, kept


def _amass_arrays(path):
    """poses, trans, rate and betas of a file; objects in it are not opened."""
    names = {"poses", "root_orient", "pose_body", "trans", "betas", _MODEL, *_RATE_NAMES}
    try:
        found = read_npz(path, lambda file: np.array("objects"), names.__contains__)
    except (ArchiveError, OSError, MemoryError) as error:
        raise MocapError(f"{path}: expected a clip of AMASS, an .npz ({error})") from error
    with np.errstate(invalid="ignore"):  # NaN is looked for below
        numbers = {n: np.asarray(a, float) for n, a in found.items() if a.dtype.kind in "fiu"}
    body = ("root_orient", "pose_body")
    if "poses" not in found and all(numbers.get(n, np.zeros(0)).ndim == 2 for n in body):
        halves = [numbers[n] for n in body]
        if len(halves[0]) == len(halves[1]):
            numbers["poses"] = np.concatenate(halves, axis=1)
    rates = {
        float(numbers[n].ravel()[0]) for n in _RATE_NAMES if n in numbers and numbers[n].size == 1
    }
    if not {"poses", "trans"} <= set(numbers) or len(rates) != 1:
        raise MocapError(
            f"{path}: expected numbers in poses, trans and mocap_framerate; found "
            f"{', '.join(f'{n} {a.dtype} {a.shape}' for n, a in found.items()) or 'none of them'}"
            + (f", frame rates {sorted(rates)}" if len(rates) > 1 else "")
        )
    betas = numbers.get("betas", np.zeros(0)).ravel()[:10]
    betas = betas if (np.abs(betas) < 100).all() else np.zeros(0)
    return {
        "poses": numbers["poses"],
        "trans": numbers["trans"],
        "rate": rates.pop(),
        "betas": betas,
        "own": found.get(_MODEL, np.array(0)).ravel()[:1].tolist() == [OWN_BODY],
    }
