"""A motion of the body as files for other programs: AMASS's `.npz`, BVH, glTF.

A motion is pose (T, 24, 3) axis-angle, translation (T, 3) metres and betas (n,) of one person, told
in the body's own frame: y up. T frames, J = 24 joints.
"""

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from hmrlib.body import gltf
from hmrlib.body.files import ModelFileError
from hmrlib.io import atomic_write
from hmrlib.motion.clips import OWN_BODY
from hmrlib.skeleton import JOINT_NAMES

SUFFIXES = (".npz", ".bvh", ".glb")
Z_UP = Rotation.from_euler("x", 90, degrees=True)  # from y up to AMASS's z up
CENTIMETRES = 100.0
END_SITE = 0.05  # metres, of the bones that end a chain: BVH wants one, the body has none


def save_motion(path, body, pose, translation, betas=None, fps=30.0):
    """Write a motion by its suffix: see `write_amass`, `write_bvh`, `write_animated_glb`.

    Returns:
        Path of the file.

    Raises:
        ModelFileError: another suffix, or arrays that do not fit together.
        OSError: nothing can be written there.
    """
    path = Path(path)
    writers = {".npz": write_amass, ".bvh": write_bvh, ".glb": write_animated_glb}
    if path.suffix.lower() not in writers:
        raise ModelFileError(f"{path}: a motion is written as {', '.join(writers)}")
    pose, translation = np.asarray(pose, float), np.asarray(translation, float)
    betas = np.zeros(0) if betas is None else np.asarray(betas, float)
    frames = len(pose)
    if not frames or pose.shape != (frames, 24, 3) or translation.shape != (frames, 3):
        raise ModelFileError(
            f"{path}: expected a pose (T, 24, 3) and a translation (T, 3), found {pose.shape} and "
            f"{translation.shape}"
        )
    finite = all(np.isfinite(array).all() for array in (pose, translation, betas))
    if not finite or betas.ndim != 1 or not 0 < fps < np.inf:
        raise ModelFileError(f"{path}: expected finite numbers, betas (n,) and frames a second")
    writers[path.suffix.lower()](path, body, pose, translation, betas, float(fps))
    return path


def write_amass(path, body, pose, translation, betas, fps):
    """`.npz` in AMASS's layout (Mahmood et al. 2019), z up: poses (T, 72), trans, betas, rate.

    As there, the pelvis stands at J0 + trans, with J0 its place at rest. For the open body, whose
    betas and J0 are not SMPL's, `surface_model_type` is "hmrlib": `clips.read_amass` then takes
    both from its own body.
    """
    pelvis = rest_joints(body, betas)[0]
    turned = pose.copy()
    turned[:, 0] = (Z_UP * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    arrays = {
        "poses": turned.reshape(len(pose), -1),
        "trans": Z_UP.apply(translation + pelvis) - pelvis,
        "betas": betas,
        "mocap_framerate": np.float64(fps),
        "gender": np.array("neutral"),
        "surface_model_type": np.array(OWN_BODY),
    }
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)


def write_bvh(path, body, pose, translation, betas, fps):
    """BVH: the 24 joints by name, centimetres, y up, rotations as Z, X, Y in degrees.

    The root's channels hold its place itself, as its OFFSET is zero.
    """
    joints, parents = rest_joints(body, betas), body.parents
    lines = ["HIERARCHY"]
    _hierarchy(lines, 0, np.zeros(3), joints, parents, "")
    order = _depth_first(parents)
    turns = Rotation.from_rotvec(pose[:, order].reshape(-1, 3))
    angles = _euler(turns).reshape(len(pose), -1)  # (T, 72)
    angles = np.unwrap(angles, axis=0, period=360)  # so that programs may go on between frames
    places = CENTIMETRES * (translation + joints[0])
    lines += ["MOTION", f"Frames: {len(pose)}", f"Frame Time: {1 / fps:.9f}"]
    lines += [
        " ".join(f"{value:.5f}" for value in row) for row in np.concatenate([places, angles], 1)
    ]
    with atomic_write(path) as file:
        file.write(("\n".join(lines) + "\n").encode())


def write_animated_glb(path, body, pose, translation, betas, fps):
    """glTF binary: one skin, and an animation that has a key only where it needs one."""
    motion = pose, translation, fps
    model = {
        "v_template": body.v_template,
        "shapedirs": body.shapedirs,
        "J_regressor": body.J_regressor,
        "weights": body.weights,
        "f": body.faces,
        "parents": np.array(body.parents),
    }
    data = gltf.encode_glb(model, betas, num_targets=0, motion=motion)
    with atomic_write(path) as file:
        file.write(data)


def rest_joints(body, betas):
    """(24, 3) metres, the joints of a body of these betas at rest."""
    regressor = body.J_regressor
    shaped = body.v_template + body.shapedirs[..., : len(betas)] @ np.asarray(betas, float)
    return np.asarray(regressor @ shaped)


def _depth_first(parents):
    """The joints in the order in which a BVH file has them: each before what hangs on it."""
    order, waiting = [], [0]
    while waiting:
        joint = waiting.pop()
        order.append(joint)
        waiting += [
            child for child, parent in reversed(list(enumerate(parents))) if parent == joint
        ]
    return order


def _hierarchy(lines, joint, offset, joints, parents, indent):
    """A joint's lines and those of all below it, appended."""
    channels = "CHANNELS 3 Zrotation Xrotation Yrotation"
    if joint == 0:
        channels = "CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation"
    lines += [
        f"{indent}{'ROOT' if joint == 0 else 'JOINT'} {JOINT_NAMES[joint]}",
        f"{indent}{{",
        f"{indent}  OFFSET {_triple(offset)}",
        f"{indent}  {channels}",
    ]
    children = [child for child, parent in enumerate(parents) if parent == joint]
    for child in children:
        _hierarchy(lines, child, joints[child] - joints[joint], joints, parents, indent + "  ")
    if not children:
        bone = joints[joint] - joints[parents[joint]]
        tip = END_SITE * bone / max(np.linalg.norm(bone), 1e-9)
        lines += [f"{indent}  End Site", f"{indent}  {{", f"{indent}    OFFSET {_triple(tip)}"]
        lines.append(f"{indent}  }}")
    lines.append(f"{indent}}}")


def _triple(metres):
    return " ".join(f"{CENTIMETRES * value:.6f}" for value in metres)


def _euler(turns):
    """Rotations -> (N, 3) degrees about z, then the new x, then the new y."""
    m = turns.as_matrix()
    x = np.arcsin(m[:, 2, 1].clip(-1, 1))
    locked = np.abs(m[:, 2, 1]) > 1 - 1e-9  # z and y turn about one axis: y alone says it
    z = np.where(locked, np.arctan2(m[:, 1, 0], m[:, 0, 0]), np.arctan2(-m[:, 0, 1], m[:, 1, 1]))
    y = np.where(locked, 0.0, np.arctan2(-m[:, 2, 0], m[:, 2, 2]))
    return np.degrees(np.stack([z, x, y], axis=-1))
