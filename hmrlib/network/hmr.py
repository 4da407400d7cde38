"""HMR, assembled: image -> encoder -> regressor -> Theta -> body -> keypoints in the picture.

Kanazawa, Black, Jacobs, Malik: "End-to-end Recovery of Human Shape and Pose", 2018.

    model = hmrlib.load_model()              # or HMR() for an untrained one
    stages = model(images)                   # list of three `Estimate`s, the last is the best

Frame: the camera's, metres, x right, y down, z forward. The crop of the image goes from -1 to 1.
B = batch, V = vertices, K = 22 keypoints ("union-22").
"""

from dataclasses import asdict, replace
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from hmrlib.body.model import load_body
from hmrlib.camera import project
from hmrlib.network.config import NetworkConfig
from hmrlib.network.encoder import build_encoder
from hmrlib.network.regressor import Regressor, split_theta
from hmrlib.skeleton import KEYPOINT_SETS

KEYPOINTS = "union-22"
NUM_KEYPOINTS = len(KEYPOINT_SETS[KEYPOINTS].names)


class ModelError(ValueError):
    """An image, or a file of a model, is not what HMR takes; the message says what is."""


class Estimate(NamedTuple):
    """What HMR recovers at one iteration.

    Attributes:
        theta: (B, 85), or (B, 157) with 6D rotations: camera, rotations, betas.
        camera: (B, 3) weak perspective (s, tx, ty): the crop's x = s (X + tx), y = s (Y + ty).
        rotations: (B, 24, 3, 3), the first is the whole body's in the camera's frame.
        betas: (B, 10).
        vertices: (B, V, 3) metres; joints: (B, 24, 3); keypoints: (B, K, 3).
        keypoints_2d: (B, K, 2), the keypoints in the crop, from -1 to 1.
    """

    theta: Any
    camera: Any
    rotations: Any
    betas: Any
    vertices: Any
    joints: Any
    keypoints: Any
    keypoints_2d: Any


@keras.saving.register_keras_serializable("hmrlib")
class HMR(keras.Model):
    """Human mesh recovery.

    Args:
        config: `NetworkConfig`; None is the paper's.
        encoder_weights: "imagenet", None, or a file; see `build_encoder`.
        body: the `Body` it recovers; None is `load_body()`. Not stored with the model.
        settings: of `config`, those that are to be others.
    """

    def __init__(self, config=None, encoder_weights="imagenet", body=None, name="hmr", **settings):
        super().__init__(name=name, dtype="float32")
        self.config = config = replace(config or NetworkConfig(), **settings)
        self.size, self.box_input = config.size, config.box_input
        self.body = load_body() if body is None else body
        count = NUM_KEYPOINTS * config.keypoint_maps
        self.encoder = build_encoder(
            config.encoder, encoder_weights, config.size, config.compute, count
        )
        self.regressor = Regressor(config, dtype="float32", name="regressor")
        self.regressor.build((None, self.encoder.output_shape[-1] + 3 * self.box_input + 2 * count))
        self.built = True
        if keras.backend.backend() == "tensorflow":
            self.jit_compile = False  # XLA's convolutions are slower than TensorFlow's on a CPU

    def call(self, inputs, training=False):
        """Recover one person from each crop, within a graph; `recover` is for plain use.

        Args:
            inputs: images (B, size, size, 3) RGB, uint8 from 0 to 255 or floats from 0 to 1.
                With `box_input` a pair: images, and boxes (B, 3), ((cx - px), (cy - py), b) / focal
                with the crop's centre c, the principal point p and the crop's side b in pixels.
            training: dropout and batch statistics on.

        Returns:
            list of `iterations` `Estimate`s of the backend's tensors.
        """
        return self.embody(self.regress(self.encode(inputs, training), training))

    def encode(self, inputs, training=False):
        """What the regressor sees of the picture, (B, F), or (B, F + 3) with `box_input`."""
        images, box = inputs if self.box_input else (inputs, None)
        scale = 1.0 if keras.backend.standardize_dtype(images.dtype) == "uint8" else 255.0
        training = training and not self.config.freeze_norm
        features = self.encoder(ops.cast(images, "float32") * scale, training=training)
        if self.box_input:
            features = ops.concatenate([features, ops.cast(box, "float32")], axis=-1)
        return features

    def regress(self, features, training=False):
        """Features, as `encode` gives them -> list of `iterations` Thetas (B, D)."""
        miss = (lambda theta: self.miss(features, theta)) if self.config.keypoint_maps else None
        return self.regressor(features, training=training, miss=miss)

    def located(self, features):
        """Where the keypoint maps see each keypoint, (B, K, 2), the crop from -1 to 1."""
        end = self.encoder.output_shape[-1]  # the places come last
        return ops.reshape(features[:, end - 2 * NUM_KEYPOINTS : end], (-1, NUM_KEYPOINTS, 2))

    def miss(self, features, theta):
        """From the guess' keypoints to the maps', (B, 2 K); no gradient flows to the guess."""
        camera, rotations, betas = split_theta(ops.stop_gradient(theta), self.config.rotation)
        guess = project(self.body.posed_keypoints(betas, rotations, KEYPOINTS), camera)
        return ops.reshape(self.located(features) - guess, (-1, 2 * NUM_KEYPOINTS))

    def recover(self, images, box=None, batch_size=32):
        """Recover one person from each crop.

        Args:
            images: (N, size, size, 3) RGB, uint8 from 0 to 255 or floats from 0 to 1.
            box: (N, 3), with `box_input` alone; see `call`.
            batch_size: how many to compute at once.

        Returns:
            list of `iterations` `Estimate`s of NumPy arrays.

        Raises:
            ModelError: images of another shape or type, values out of range, or no `box`.
        """
        images = _check_images(images, self.size)
        if self.box_input and np.shape(box) != (len(images), 3):
            raise ModelError(
                "this model takes the crop's place as an input, box (N, 3) for N images; found "
                f"{None if box is None else np.shape(box)}"
            )
        parts = []
        for start in range(0, len(images), batch_size):
            inputs = images[start : start + batch_size]
            if self.box_input:
                inputs = (inputs, np.asarray(box[start : start + batch_size], np.float32))
            parts.append(self.predict_on_batch(inputs))
        return keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)

    def embody(self, thetas):
        """Thetas (B, D) of n iterations -> n `Estimate`s; one call of the body for all."""
        count = len(thetas)
        theta = ops.concatenate(thetas, axis=0)  # (n B, D)
        camera, rotations, betas = split_theta(theta, self.config.rotation)
        posed = self.body(betas, rotations)
        points = self.body.keypoints(posed, KEYPOINTS)
        every = Estimate(theta, camera, rotations, betas, *posed, points, project(points, camera))
        parts = [ops.split(value, count, axis=0) for value in every]
        return [Estimate(*stage) for stage in zip(*parts, strict=True)]

    def get_config(self):
        """The settings; weights and body are stored elsewhere."""
        return {**asdict(self.config), "encoder_weights": None, "name": self.name}


def _check_images(images, size):
    """Images as an array of uint8, or of float32 from 0 to 1."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[1:] != (size, size, 3) or not len(images):
        raise ModelError(
            f"expected images (N, {size}, {size}, 3), found {images.shape}: cut out each person's "
            "square box and resize it to that"
        )
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise ModelError(
            f"expected images of uint8 (0 to 255) or floats (0 to 1), found {images.dtype}"
        )
    low, high = images.min(), images.max()
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # NaN fails, too
        raise ModelError(f"expected floats from 0 to 1, or uint8; found {low:g} to {high:g}")
    return images.astype(np.float32)
