"""Keypoint maps: where in the picture each keypoint is, before anything is said of a body.

A mean over the last feature map knows what there is, and hardly where. So the last maps of stride
32, 16 and 8 are joined, from the coarsest up (Lin et al. 2017, feature pyramids), into one map of
logits a keypoint. Its softmax p is a distribution over places u of the crop, and tells

    x_k = sum_u p_k(u) u                              where (soft-argmax; Sun et al. 2018, eq. 2)
    s_k = sqrt(sum_u p_k(u) |u - x_k|^2)              how sure: the distribution's spread
    f_k = W sum_u p_k(u) F(u)                         what is seen there (Kocabas et al. 2021, PARE)

All three go to the regressor, and a loss holds x_k to the labels. The crop goes from -1 to 1.
B = batch, K = keypoints, H, W = the finest map's sides, C = `CHANNELS`.
"""

import keras
import numpy as np
from keras import layers, ops

CHANNELS = 128  # of the joined map
SEEN = 16  # numbers that say what is seen at a keypoint


def locate(pyramid, count):
    """Layers of Keras from feature maps to what the maps of `count` keypoints tell.

    Args:
        pyramid: tensors of Keras (B, h, w, c), the coarsest first.
        count: K.

    Returns:
        tensors of Keras, float32: what is seen (B, SEEN K), spreads (B, K), places (B, 2 K).
    """
    joined = None
    for level, features in enumerate(pyramid):
        lateral = layers.Conv2D(CHANNELS, 1, name=f"lateral{level}")(features)
        if joined is None:
            joined = lateral
            continue
        joined = layers.Add()([_enlarged(joined, lateral), lateral])
        joined = layers.Conv2D(CHANNELS, 3, padding="same", name=f"join{level}")(joined)
        joined = layers.ReLU()(layers.LayerNormalization(name=f"norm{level}")(joined))
    logits = layers.Conv2D(count, 1, dtype="float32", name="keypoint_maps")(joined)
    where, spread, seen = SoftArgmax(dtype="float32", name="soft_argmax")(logits, joined)
    seen = layers.Dense(SEEN, dtype="float32", name="seen")(seen)
    flat = layers.Flatten(dtype="float32")
    return flat(seen), spread, flat(where)


def _enlarged(features, like):
    """Bilinear; `layers.Resizing` would need TensorFlow, whatever the backend."""
    return ops.image.resize(features, like.shape[1:3])


@keras.saving.register_keras_serializable("hmrlib")
class SoftArgmax(layers.Layer):
    """Logits (B, H, W, K), features (B, H, W, C) -> places (B, K, 2), spreads (B, K), (B, K, C)."""

    def call(self, logits, features):
        """See the module: x, s, and the mean of the features under p."""
        height, width, count = logits.shape[1:]
        p = ops.softmax(ops.reshape(logits, (-1, height * width, count)), axis=1)
        features = ops.reshape(features, (-1, height * width, features.shape[-1]))
        u = ops.convert_to_tensor(grid(height, width))  # (H W, 2)
        where = ops.einsum("bpk,pd->bkd", p, u)
        square = ops.einsum("bpk,p->bk", p, ops.sum(u**2, axis=-1)) - ops.sum(where**2, axis=-1)
        spread = ops.sqrt(ops.maximum(square, 1e-6))
        return where, spread, ops.einsum("bpk,bpc->bkc", p, ops.cast(features, p.dtype))


def grid(height, width):
    """Middles of a map's cells, (height * width, 2) float32: x, y, the crop from -1 to 1."""
    y, x = ((2 * np.arange(n) + 1) / n - 1 for n in (height, width))
    return np.stack(np.meshgrid(x, y), -1).reshape(-1, 2).astype("float32")
