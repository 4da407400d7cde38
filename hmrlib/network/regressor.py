"""The regressor: features -> Theta by iterative error feedback (HMR, section 3.2).

Theta holds all that is to be recovered, 85 numbers: the camera (s, tx, ty), 24 rotations as
axis-angle (72), the shape (10). It is never guessed at once: from a mean Theta on, the regressor
looks at the features and at its present guess, and says by how much the guess is off,

    Theta_{t+1} = Theta_t + f([features, Theta_t]),    t = 0, 1, 2.

B = batch, F = features, D = length of Theta.
"""

import json
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from hmrlib import geometry

ROTATIONS = {"axis_angle": 3, "6d": 6}  # numbers a rotation takes
NUM_BETAS = 10
MEAN_THETA = Path(__file__).parent / "assets" / "mean_theta.json"


class Regressor(layers.Layer):
    """Iterative error feedback: FC 1024, dropout, FC 1024, dropout, FC D; weights are shared.

    Args:
        config: `NetworkConfig`.
    """

    def __init__(self, config, **options):
        super().__init__(**options)
        self.config = config
        self.length = 3 + 24 * ROTATIONS[config.rotation] + NUM_BETAS
        self.layers = [
            layers.Dense(config.hidden, "relu", name="fc1"),
            layers.Dropout(config.dropout),
            layers.Dense(config.hidden, "relu", name="fc2"),
            layers.Dropout(config.dropout),
            # small, so that an untrained network keeps to the mean (HMR's code: factor 0.01)
            layers.Dense(
                self.length,
                kernel_initializer=keras.initializers.VarianceScaling(0.01, "fan_avg", "uniform"),
                name="fc3",
            ),
        ]

    def build(self, shape):
        mean = read_mean_theta(self.config.rotation)
        self.mean_theta = self.add_weight(
            shape=mean.shape,
            initializer=lambda *args, **kwargs: ops.convert_to_tensor(mean),
            trainable=self.config.train_mean,
            name="mean_theta",
        )
        width = shape[-1] + self.length
        for layer in self.layers:
            layer.build((None, width))
            width = getattr(layer, "units", width)

    def call(self, features, training=False, miss=None):
        """(B, F) -> list of `iterations` tensors Theta (B, D), each better than the one before.

        Args:
            features: (B, F).
            training: dropout on.
            miss: function Theta (B, D) -> (B, M) of what the present guess still misses; it is
                seen at each iteration, and counts as M of the F that the layer is built for.
        """
        theta = ops.repeat(self.mean_theta[None], ops.shape(features)[0], axis=0)
        thetas = []
        for _ in range(self.config.iterations):
            seen = [features, theta] if miss is None else [features, miss(theta), theta]
            step = ops.concatenate(seen, axis=-1)  # (B, F + D)
            for layer in self.layers:
                step = layer(step, training=training)
            theta = theta + step
            thetas.append(theta)
        return thetas


def split_theta(theta, rotation="axis_angle"):
    """Theta (B, D) -> camera (B, 3), rotation matrices (B, 24, 3, 3), betas (B, 10)."""
    turns = ops.reshape(theta[:, 3:-NUM_BETAS], (-1, 24, ROTATIONS[rotation]))
    to_matrix = geometry.matrix_from_6d if rotation == "6d" else geometry.axis_angle_to_matrix
    return theta[:, :3], to_matrix(turns), theta[:, -NUM_BETAS:]


def read_mean_theta(rotation="axis_angle"):
    """The stored mean Theta, (85,) or (157,) float32; `motion.prior.mean_theta` made it."""
    stored = json.loads(MEAN_THETA.read_text("utf-8"))
    pose = np.array(stored["pose"], np.float32)  # (24, 3)
    if rotation == "6d":
        pose = geometry.matrix_to_6d(geometry.axis_angle_to_matrix(ops.convert_to_tensor(pose)))
    turns = ops.convert_to_numpy(pose).ravel()
    return np.concatenate([stored["camera"], turns, stored["betas"]]).astype(np.float32)
