"""What a body is called with: shapes and values checked, with messages that say what was expected.

A batch of one goes with any batch; what has no batch axis counts as one.
"""

import numpy as np
from keras import ops
from scipy.spatial.transform import Rotation

from hmrlib.skeleton import JOINT_NAMES


class BodyInputError(ValueError):
    """An input to the body has a wrong shape or value; the message says what was expected."""


def checked(body, betas, pose, translation):
    """betas (B, n), pose, translation (B, 3): arrays or tensors, each of B or 1 bodies.

    Raises:
        BodyInputError: a wrong shape or batch size; NaN or infinity in an array or a list.
    """
    joints = len(body.parents)
    betas = _input("betas", betas, [(body.num_betas,)], at_most=True)
    pose_shapes = [(3 * joints,), (joints, 3), (joints, 3, 3)]
    pose = _input("pose", pose, pose_shapes)
    translation = _input("translation", translation, [(3,)])
    inputs = (betas, pose, translation)
    sizes = [tensor.shape[0] for tensor in inputs if tensor.shape[0] != 1]
    if len(set(sizes)) > 1:
        raise BodyInputError(
            "betas, pose and translation must have one batch size (or 1); "
            f"found {', '.join(str(tensor.shape[0]) for tensor in inputs)}"
        )
    return inputs


def _input(name, value, shapes, at_most=False):
    """`value` as an array or tensor (B, *shape) of one of the `shapes`; None becomes zeros."""
    if value is None:
        return np.zeros((1, *shapes[0]), dtype="float32")
    if ops.is_tensor(value):
        value = ops.cast(value, "float32")
    else:
        try:
            with np.errstate(over="ignore"):  # what float32 cannot hold is named as infinite
                value = np.asarray(value, dtype="float32")
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise BodyInputError(
                f"{name} must be numbers in rows of one length: {error}"
            ) from error
        if not np.isfinite(value).all():
            bad = np.argwhere(~np.isfinite(value))[0].tolist()
            raise BodyInputError(f"{name} has NaN or infinity, first at index {bad}")
    for shape in shapes:
        for found in (tuple(value.shape), (1, *value.shape)):
            fewer = at_most and len(found) == 2 and found[1] <= shape[0]
            if fewer or (len(found) == len(shape) + 1 and found[1:] == shape):
                return value if len(found) == len(value.shape) else value[None]
    wanted = " or ".join(f"(B, {', '.join(map(str, shape))})" for shape in shapes)
    raise BodyInputError(
        f"{name} must have the shape {wanted}{' or fewer' if at_most else ''}, "
        f"found {tuple(value.shape)}"
    )


def rotation_vectors(matrices):
    """Rotation matrices (24, 3, 3) -> axis-angle (24, 3) float64."""
    matrices = matrices.astype(float)
    off = abs(matrices @ matrices.swapaxes(1, 2) - np.eye(3)).max(axis=(1, 2))
    wrong = np.flatnonzero((off > 1e-2) | (np.linalg.det(matrices) < 0))
    if wrong.size:
        raise BodyInputError(f"pose has a matrix that is no rotation, of {JOINT_NAMES[wrong[0]]}")
    return Rotation.from_matrix(matrices).as_rotvec()
