"""The SMPL function once more, in plain float64 NumPy and SciPy, as the paper writes it.

It is slow, loops over joints and vertices' layouts as (V, 3), and shares no code with hmrlib.
"""

import numpy as np
from scipy.spatial.transform import Rotation


def homogeneous_transforms(rotations, joints, parents):
    """G_k of eq. 4 as 4 x 4 matrices."""
    transforms = []
    for joint, parent in enumerate(parents):
        local = np.eye(4)
        local[:3, :3] = rotations[joint]
        local[:3, 3] = joints[joint] - (joints[parent] if parent >= 0 else 0)
        transforms.append(local if parent < 0 else transforms[parent] @ local)
    return np.array(transforms)


def posed_body(body, betas, pose, correctives=True):
    """One body: betas (S,), pose (72,) -> vertices (V, 3), joints (24, 3)."""
    rotations = Rotation.from_rotvec(pose.reshape(24, 3)).as_matrix()
    shaped = body.v_template + body.shapedirs[..., : len(betas)].astype(float) @ betas
    joints = body.J_regressor.toarray().astype(float) @ shaped
    if correctives:
        shaped = shaped + body.posedirs.astype(float) @ (rotations[1:] - np.eye(3)).ravel()
    world = homogeneous_transforms(rotations, joints, body.parents)
    rest = homogeneous_transforms(np.tile(np.eye(3), (24, 1, 1)), joints, body.parents)
    relative = world @ np.linalg.inv(rest)
    blended = np.einsum("vk,kij->vij", body.weights.astype(float), relative)
    homogeneous = np.concatenate([shaped, np.ones((len(shaped), 1))], axis=1)
    return np.einsum("vij,vj->vi", blended, homogeneous)[:, :3], world[:, :3, 3]
