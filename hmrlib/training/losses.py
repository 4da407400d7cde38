"""The losses of HMR (Kanazawa et al. 2018, section 3), one function each.

What is trained is their sum, each with its weight of `TrainConfig`:

    term           weight         HMR    unit of the term
    reprojection   reprojection   60     half the crop's side, a coordinate
    maps           maps           (60)   the same; counts with `keypoint_maps` alone
    joints_3d      joints_3d      60     m^2, a coordinate; m with distance "l1"
    smpl           smpl           60     1: (a matrix' entry)^2 and (a beta)^2; |entry| with "l1"
    limits         limits         (0)    radian beyond the limits, summed over 69 angles
    adversarial    adversarial    1      1: (an answer)^2, summed over 25 answers
    discriminator  adversarial    1      the same; its own loss, no part of the network's
    weight_decay   weight_decay   1e-4   (a weight)^2, half the sum over both networks' kernels

The paper's losses are sums; here what labels say is a mean over the numbers that the batch knows,
so that a weight means the same for any batch. A mask of 1 and 0 (or a confidence) says what is
known, and a batch that knows nothing gives 0. B = batch, K = keypoints; sums are over both.
"""

from keras import ops

from hmrlib import fitting

DISTANCES = {"l1": ops.abs, "l2": ops.square}  # of each entry


def masked_mean(distance, difference, mask):
    """sum(mask * distance(difference)) / sum(mask), or 0 where the mask is empty.

    Args:
        distance: function of each entry, `ops.abs` or `ops.square`.
        difference: (...), prediction less label.
        mask: weights >= 0 that broadcast to (...).
    """
    mask = ops.broadcast_to(ops.cast(mask, difference.dtype), ops.shape(difference))
    # an unknown label may be anything: multiplied by 0, a NaN would still reach the gradient
    difference = ops.where(mask > 0, difference, ops.zeros_like(difference))
    return ops.sum(mask * distance(difference)) / ops.maximum(ops.sum(mask), 1e-6)


def reprojection(predicted, keypoints, visible):
    """sum v |x - x^|_1 / (2 sum v) (eq. 2): keypoints in the picture.

    Args:
        predicted, keypoints: (B, K, 2), the crop from -1 to 1.
        visible: v (B, K), confidence of each keypoint, 0 is unknown.
    """
    return masked_mean(ops.abs, predicted - keypoints, visible[..., None])


def located(places, keypoints, visible):
    """The same for where the keypoint maps see them; what lies outside the crop they cannot see.

    Args:
        places, keypoints: (B, K, 2), the crop from -1 to 1.
        visible: (B, K).
    """
    inside = ops.all(ops.abs(keypoints) < 1, axis=-1)
    return reprojection(places, keypoints, ops.where(inside, visible, ops.zeros_like(visible)))


def joints_3d(predicted, keypoints, known, hips=(2, 3), distance=ops.square):
    """sum w |X - X^|_2^2 / (3 sum w) (eq. 4): keypoints in space, both centred between the hips.

    With `ops.abs` it is sum w |X - X^|_1 / (3 sum w).

    Args:
        predicted, keypoints: (B, K, 3) metres.
        known: w (B, K), 1 or 0; a sample whose hips are not both known counts as unknown.
        hips: their indices among the keypoints.
        distance: of each coordinate, `ops.square` (HMR) or `ops.abs`.
    """
    left, right = hips
    centred = [x - (x[:, left, None] + x[:, right, None]) / 2 for x in (predicted, keypoints)]
    known = known * (known[:, left] * known[:, right])[:, None]
    return masked_mean(distance, centred[0] - centred[1], known[..., None])


def smpl_parameters(
    rotations, betas, true_rotations, true_betas, has_pose, has_betas, distance=ops.square
):
    """(sum p |R - R^|_F^2 / sum p + sum s |beta - beta^|_2^2 / sum s) / 226 (eq. 5).

    That is a mean over the 24 * 9 + 10 = 226 numbers of a body. The paper writes it for theta;
    matrices have no jumps.

    Args:
        rotations, true_rotations: (B, 24, 3, 3).
        betas, true_betas: (B, 10).
        has_pose, has_betas: p and s (B,), 1 or 0.
        distance: of the rotations' entries, `ops.square` (HMR) or `ops.abs`.
    """
    pose = masked_mean(distance, rotations - true_rotations, has_pose[:, None, None, None])
    shape = masked_mean(ops.square, betas - true_betas, has_betas[:, None])
    return (24 * 9 * pose + 10 * shape) / (24 * 9 + 10)


def limits(rotations):
    """E[sum_i max(0, l_i - a_i, a_i - m_i)]: joints bent farther than humans can; not the paper's.

    The adversary tells likely poses from others; a joint a few degrees too far escapes it.

    Args:
        rotations: (B, 24, 3, 3), a their 69 angles of swing and twist; l and m are the least and
            the most that `hmrlib.skeleton.JOINT_LIMITS` allow. The root has none.
    """
    return ops.mean(ops.sum(fitting.beyond_limits(rotations), axis=(1, 2)))


def adversarial(answers):
    """E[sum_i (D_i(Theta) - 1)^2] (eq. 6, LSGAN): how far the network's bodies are from passing.

    Args:
        answers: (B, 25), the discriminator's on the network's bodies.
    """
    return ops.mean(ops.sum((answers - 1) ** 2, axis=-1))


def discriminator(real, fake):
    """E[sum_i (D_i(real) - 1)^2] + E[sum_i D_i(fake)^2] (eq. 7): the discriminator's own loss.

    Args:
        real, fake: (B, 25) answers on real bodies and on the network's.
    """
    return adversarial(real) + ops.mean(ops.sum(fake**2, axis=-1))


def weight_decay(kernels):
    """1/2 sum |W|^2 over the kernels, biases and normalisation left out."""
    return sum(ops.sum(ops.cast(kernel, "float32") ** 2) for kernel in kernels) / 2
