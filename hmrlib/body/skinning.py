"""Skinning: the rest-pose surface follows its joints, by linear blends or by dual quaternions.

Coordinates are *planes* here and inside the model: vertices are (B, 3, V), all x, then all y,
then all z. Skinning so becomes one matrix product with long rows, (12 B, K) x (K, V), which
runs at twice the speed of the (B, V, 3) layout under XLA. `K` = 24 joints.
"""

from keras import ops

from hmrlib import geometry


def linear_motions(rotations, translations, parents=None):
    """Each joint's motion as the twelve numbers [R_k | t_k] that linear blend skinning blends.

    (B, K, 3, 3) and (B, K, 3) metres -> (B, 12, K). Unlike dual quaternions they have no sign to
    choose, and need no `parents`.
    """
    affine = ops.concatenate([rotations, translations[..., None]], axis=-1)  # (B, K, 3, 4)
    return ops.reshape(ops.transpose(affine, (0, 2, 3, 1)), (-1, 12, rotations.shape[1]))


def linear_blend_skinning(vertices, motions, weights, blend):
    """v'_i = sum_k w_ki (R_k v_i + t_k): each vertex under the blend of its joints' motions.

    SMPL, eq. 7 (and 2). Blended rotations are no longer rotations: a joint that twists by 180
    degrees pinches the limb to a point.

    Args:
        vertices: (B, 3, V) in the rest pose, metres.
        motions: (B, 12, K), the `linear_motions` of G'_k (eq. 3).
        weights: (K, V), each column sums to one.
        blend: how to take sum_k w_ki m_k: `product`, or a faster one of `compiled`.

    Returns:
        (B, 3, V) posed vertices, metres.
    """
    blended = ops.reshape(blend(motions, weights), (-1, 3, 4, weights.shape[1]))
    turned = sum(blended[:, :, axis] * vertices[:, None, axis] for axis in range(3))
    return turned + blended[:, :, 3]


def dual_quaternion_motions(rotations, translations, parents):
    """Each joint's motion as the unit dual quaternion that dual quaternion skinning blends.

    q and -q are one rotation but blend differently (antipodality); each joint's sign is chosen
    to agree with its parent's, so that two joints that share vertices always blend along the
    shorter arc, and a twist that grows along a chain of joints may pass 180 degrees in all
    without a flip.

    (B, K, 3, 3), (B, K, 3) metres, and K parents before their children -> (B, 8, K).
    """
    quaternions = same_hemisphere(geometry.matrix_to_quaternion(rotations), parents)
    dual = geometry.rigid_to_dual_quaternion(quaternions, translations)  # (B, K, 8)
    return ops.transpose(dual, (0, 2, 1))


def dual_quaternion_skinning(vertices, motions, weights, blend):
    """Each vertex under the normalised blend of its joints' dual quaternions.

    Kavan et al. 2008, algorithm 1: the blend is always a rigid motion, so a twist keeps the
    limb's volume.

    Args:
        vertices, weights, blend: as in `linear_blend_skinning`.
        motions: (B, 8, K), from `dual_quaternion_motions`.

    Returns:
        (B, 3, V) posed vertices, metres.
    """
    blended = blend(motions, weights)  # (B, 8, V)
    length = ops.sqrt(ops.sum(blended[:, :4] ** 2, axis=1, keepdims=True))
    blended = blended / length
    # (1, 1, V) scalars and (B, 3, V) vectors of the real part (w, u) and the dual part (p, q)
    w, u = blended[:, :1], blended[:, 1:4]
    p, q = blended[:, 4:5], blended[:, 5:]
    rotated = vertices + 2 * _cross(u, _cross(u, vertices) + w * vertices)
    return rotated + 2 * (w * q - p * u + _cross(u, q))


def product(motions, weights):
    """sum_k m_k w_ki as one matrix product: (B, M, K) x (K, V) -> (B, M, V)."""
    return ops.tensordot(motions, weights, axes=1)


def same_hemisphere(quaternions, parents):
    """Flip the sign of each joint's quaternion where it points away from its parent's.

    (B, K, 4), parents before children -> (B, K, 4), the same rotations.
    """
    aligned = []
    for joint, parent in enumerate(parents):
        quaternion = quaternions[:, joint]
        if parent >= 0:
            agreement = ops.sum(quaternion * aligned[parent], axis=-1, keepdims=True)
            quaternion = ops.where(agreement < 0, -quaternion, quaternion)
        aligned.append(quaternion)
    return ops.stack(aligned, axis=1)


def _cross(a, b):
    """Cross product of planes: (B, 3, V) x (B, 3, V) -> (B, 3, V)."""
    ax, ay, az = a[:, 0], a[:, 1], a[:, 2]
    bx, by, bz = b[:, 0], b[:, 1], b[:, 2]
    return ops.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=1)


# name -> the joints' motions, and how a vertex follows their blend
SKINNINGS = {
    "lbs": (linear_motions, linear_blend_skinning),
    "dqs": (dual_quaternion_motions, dual_quaternion_skinning),
}
