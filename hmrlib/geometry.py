"""Rotations and rigid motions, in `keras.ops`: one code for TensorFlow, JAX and PyTorch.

Every function takes any number of leading axes, written `...`. A rotation comes as

==============  ==========  =====================================================
axis-angle      (..., 3)    unit axis times the angle in radians
matrix          (..., 3, 3) acts on column vectors: x' = R x
6D              (..., 6)    the first two columns of the matrix, one after the other
quaternion      (..., 4)    (w, x, y, z), unit length; q and -q are the same rotation
dual quaternion (..., 8)    real part (rotation), dual part (translation)
==============  ==========  =====================================================

All of them are safe to differentiate, also where the textbook formula divides by zero: there
a branch is replaced by its Taylor series *before* the division, since a `where` alone would
still pass the NaN of the branch not taken into the gradient.
"""

from keras import ops

_SMALL = 1e-4  # squared angle (or sine) below which two Taylor terms are exact in float32


def skew(vector):
    """The matrix [v]x of the cross product: [v]x u = v x u. (..., 3) -> (..., 3, 3)."""
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]
    zero = ops.zeros_like(x)
    return _matrix([[zero, -z, y], [z, zero, -x], [-y, x, zero]])


def _matrix(rows):
    """Nested lists of (...) arrays -> one (..., rows, columns) array."""
    return ops.stack([ops.stack(row, axis=-1) for row in rows], axis=-2)


def axis_angle_to_matrix(axis_angle):
    """Rodrigues' formula (SMPL, eq. 1). (..., 3) radians -> (..., 3, 3).

    R = I + sin(t)/t [w]x + (1 - cos t)/t^2 [w]x^2, with t = |w|. Exact and differentiable at
    t = 0; 1 - cos t is taken as 2 sin^2(t/2), which does not cancel for small angles.
    """
    squared = ops.sum(axis_angle**2, axis=-1)[..., None, None]
    small = squared < _SMALL
    angle = ops.sqrt(ops.where(small, ops.ones_like(squared), squared))
    a = ops.where(small, 1 - squared / 6, ops.sin(angle) / angle)
    b = ops.where(small, 0.5 - squared / 24, 2 * (ops.sin(angle / 2) / angle) ** 2)
    cross = skew(axis_angle)
    return ops.eye(3, dtype=axis_angle.dtype) + a * cross + b * ops.matmul(cross, cross)


def axis_angle_to_quaternion(axis_angle):
    """(cos t/2, sin(t/2)/t w). (..., 3) radians -> (..., 4), real part >= 0 for t <= pi."""
    squared = ops.sum(axis_angle**2, axis=-1, keepdims=True)
    small = squared < _SMALL
    angle = ops.sqrt(ops.where(small, ops.ones_like(squared), squared))
    real = ops.where(small, 1 - squared / 8, ops.cos(angle / 2))
    scale = ops.where(small, 0.5 - squared / 48, ops.sin(angle / 2) / angle)
    return ops.concatenate([real, scale * axis_angle], axis=-1)


def quaternion_to_axis_angle(quaternion):
    """Unit quaternion (..., 4) -> axis-angle (..., 3) with an angle in [0, pi].

    The angle is 2 atan2(|v|, w): unlike 2 acos(w) it keeps its precision near 0 and near pi.
    """
    # of q and -q take the one with w >= 0, which turns by at most pi
    quaternion = ops.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    real, vector = quaternion[..., :1], quaternion[..., 1:]
    squared = ops.sum(vector**2, axis=-1, keepdims=True)
    small = squared < _SMALL**2
    length = ops.sqrt(ops.where(small, ops.ones_like(squared), squared))
    # 2 asin(s)/s = 2 + s^2/3 + ... where s = |v| -> 0
    scale = ops.where(small, 2 + squared / 3, 2 * ops.arctan2(length, real) / length)
    return scale * vector


def quaternion_to_matrix(quaternion):
    """Unit quaternion (..., 4) -> rotation matrix (..., 3, 3)."""
    w, x, y, z = (quaternion[..., i] for i in range(4))
    return _matrix(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def matrix_to_quaternion(matrix):
    """Rotation matrix (..., 3, 3) -> unit quaternion (..., 4), sign not fixed.

    Four formulas exist, one dividing by each of |w|, |x|, |y|, |z|. At least one of those is
    >= 1/2: the formula with the largest divisor is taken (Shepperd 1978), so that no angle,
    pi included, loses precision.
    """
    m = [[matrix[..., i, j] for j in range(3)] for i in range(3)]
    squares = ops.stack(  # 4 w^2, 4 x^2, 4 y^2, 4 z^2
        [
            1 + m[0][0] + m[1][1] + m[2][2],
            1 + m[0][0] - m[1][1] - m[2][2],
            1 - m[0][0] + m[1][1] - m[2][2],
            1 - m[0][0] - m[1][1] + m[2][2],
        ],
        axis=-1,
    )
    wx, wy, wz = m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]
    xy, xz, yz = m[1][0] + m[0][1], m[0][2] + m[2][0], m[2][1] + m[1][2]
    w2, x2, y2, z2 = (squares[..., i] for i in range(4))
    # row k is 4 q_k (w, x, y, z)
    products = _matrix([[w2, wx, wy, wz], [wx, x2, xy, xz], [wy, xy, y2, yz], [wz, xz, yz, z2]])
    best = ops.one_hot(ops.argmax(squares, axis=-1), 4, dtype=matrix.dtype)[..., None]
    row = ops.sum(products * best, axis=-2)
    return row / ops.sqrt(ops.sum(row**2, axis=-1, keepdims=True))


def matrix_to_axis_angle(matrix):
    """Rotation matrix (..., 3, 3) -> axis-angle (..., 3), angle in [0, pi], stable at both ends."""
    return quaternion_to_axis_angle(matrix_to_quaternion(matrix))


def matrix_to_6d(matrix):
    """The first two columns of a rotation matrix: (..., 3, 3) -> (..., 6) (Zhou et al. 2019)."""
    return ops.concatenate([matrix[..., :, 0], matrix[..., :, 1]], axis=-1)


def matrix_from_6d(columns):
    """6D -> matrix by Gram-Schmidt: (..., 6) -> (..., 3, 3) (Zhou et al. 2019, eq. 15).

    Any six numbers give a rotation, unless the two halves are parallel or zero.
    """
    a, b = columns[..., :3], columns[..., 3:]
    x = a / ops.sqrt(ops.sum(a**2, axis=-1, keepdims=True))
    b = b - ops.sum(x * b, axis=-1, keepdims=True) * x
    y = b / ops.sqrt(ops.sum(b**2, axis=-1, keepdims=True))
    return ops.stack([x, y, ops.cross(x, y, axis=-1)], axis=-1)


def quaternion_conjugate(quaternion):
    """(w, -x, -y, -z): the inverse of a unit quaternion. (..., 4) -> (..., 4)."""
    return ops.concatenate([quaternion[..., :1], -quaternion[..., 1:]], axis=-1)


def quaternion_multiply(left, right):
    """Hamilton's product; as rotations, `right` acts first. (..., 4) x (..., 4) -> (..., 4)."""
    a, u = left[..., :1], left[..., 1:]
    b, v = right[..., :1], right[..., 1:]
    real = a * b - ops.sum(u * v, axis=-1, keepdims=True)
    return ops.concatenate([real, a * v + b * u + ops.cross(u, v, axis=-1)], axis=-1)


def swing_twist_to_matrix(angles, twist_axis):
    """Angles about a joint's three axes -> rotation matrix: first a twist, then a swing.

    Unlike Euler angles these have no gimbal lock within a joint's reach: the swing turns about an
    axis across the bone, and only at 180 degrees does it lose its direction.

    Args:
        angles: (..., 3) radians; along the twist axis the twist, the other two the rotation
            vector of the swing.
        twist_axis: (..., 3), broadcast; 1 at the axis of the twist, else 0.

    Returns:
        (..., 3, 3): swing @ twist.
    """
    angles = ops.convert_to_tensor(angles)
    twist = angles * ops.convert_to_tensor(twist_axis, dtype=angles.dtype)
    return ops.matmul(axis_angle_to_matrix(angles - twist), axis_angle_to_matrix(twist))


def swing_twist_from_quaternion(quaternion, twist_axis):
    """The inverse of `swing_twist_to_matrix`, from a unit quaternion (..., 4) -> (..., 3) radians.

    The twist lies in [-pi, pi], the swing turns by at most pi.
    """
    twist_axis = ops.convert_to_tensor(twist_axis, dtype=quaternion.dtype)
    real, vector = quaternion[..., :1], quaternion[..., 1:]
    along = ops.sum(vector * twist_axis, axis=-1, keepdims=True)
    squared = real**2 + along**2
    # a swing of 180 degrees hides the twist: none is as good as any
    lost = squared < _SMALL**2
    length = ops.sqrt(ops.where(lost, ops.ones_like(squared), squared))
    cosine = ops.where(lost, ops.ones_like(real), real / length)
    sine = ops.where(lost, ops.zeros_like(along), along / length)
    twist = ops.concatenate([cosine, sine * twist_axis], axis=-1)
    swing = quaternion_multiply(quaternion, quaternion_conjugate(twist))
    return quaternion_to_axis_angle(swing) + quaternion_to_axis_angle(twist)


def rigid_to_dual_quaternion(rotation, translation):
    """x' = R x + t as a unit dual quaternion q + e/2 (0, t) q (Kavan et al. 2008, eq. 2).

    (..., 4) unit quaternion and (..., 3) translation -> (..., 8).
    """
    pure = ops.concatenate([ops.zeros_like(translation[..., :1]), translation], axis=-1)
    return ops.concatenate([rotation, quaternion_multiply(pure, rotation) / 2], axis=-1)


def dual_quaternion_to_rigid(dual_quaternion):
    """Dual quaternion (..., 8), not of length 0 -> quaternion (..., 4), translation (..., 3).

    It is divided by the length of its real part first, as blending calls for.
    """
    real, dual = dual_quaternion[..., :4], dual_quaternion[..., 4:]
    length = ops.sqrt(ops.sum(real**2, axis=-1, keepdims=True))
    real, dual = real / length, dual / length
    translation = 2 * quaternion_multiply(dual, quaternion_conjugate(real))[..., 1:]
    return real, translation


def nearest_rotation(matrix):
    """The rotation R that maximises trace(R^T M), never a reflection (Kabsch 1976).

    (..., 3, 3) -> (..., 3, 3). Of M = sum_i y_i x_i^T it is the rotation that best turns points x
    onto y (their means aside), of a mean of rotations the nearest rotation to it.
    """
    u, _, vt = ops.svd(matrix)
    # flip the least significant axis where U V^T would be a reflection
    sign = ops.sign(ops.det(ops.matmul(u, vt)))
    flip = ops.stack([ops.ones_like(sign), ops.ones_like(sign), sign], axis=-1)
    return ops.matmul(u * flip[..., None, :], vt)


def procrustes(source, target):
    """The similarity that best maps `source` onto `target`, in the least-squares sense.

    Umeyama (1991): minimises sum_i |s R x_i + t - y_i|^2 over scale s > 0, rotation R (never
    a reflection) and translation t. It is the alignment of PA-MPJPE.

    Args:
        source, target: (..., N, 3) points in correspondence, N >= 3 and not all on a line.

    Returns:
        scale (...,), rotation (..., 3, 3), translation (..., 3); the aligned points are
        `scale * source @ rotation^T + translation`.
    """
    mean_source = ops.mean(source, axis=-2, keepdims=True)
    mean_target = ops.mean(target, axis=-2, keepdims=True)
    x, y = source - mean_source, target - mean_target
    covariance = ops.einsum("...nc,...nd->...cd", y, x)
    rotation = nearest_rotation(covariance)
    scale = ops.sum(rotation * covariance, axis=(-2, -1)) / ops.sum(x**2, axis=(-2, -1))
    moved = ops.einsum("...cd,...d->...c", rotation, mean_source[..., 0, :])
    return scale, rotation, mean_target[..., 0, :] - scale[..., None] * moved
