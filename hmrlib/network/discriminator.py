"""The adversary: does this pose, does this shape belong to a human? (HMR, section 3.3)

Where only 2D keypoints are known, many bodies fit, most of them monsters. The discriminator is
trained to tell the network's bodies from real ones, and the network to pass. It is factorised by
what is known of bodies: a head for each joint's rotation (its limits), one for all rotations
together (which joints go together), one for the shape. So each head is small and needs little data.
"""

import keras
from keras import layers, ops

NUM_JOINTS = 23  # all but the root: how a person is turned to the camera tells nothing of human


@keras.saving.register_keras_serializable("hmrlib")
class Discriminator(keras.Model):
    """25 answers for each body: 23 for its joints, one for all joints, one for the shape.

    The target is 1 for real bodies, 0 for the network's (LSGAN: no sigmoid).
    """

    def __init__(self, **options):
        super().__init__(dtype="float32", **options)
        dense = layers.Dense
        # a Dense layer on the last axis is a 1 x 1 convolution, shared by all joints
        self.shared = [dense(32, "relu", name="conv1"), dense(32, "relu", name="conv2")]
        self.joints = layers.EinsumDense(
            "bjc,jc->bj", output_shape=(NUM_JOINTS,), bias_axes="j", name="joints"
        )
        self.pose = [
            dense(1024, "relu", name="pose1"),
            dense(1024, "relu", name="pose2"),
            dense(1, name="pose"),
        ]
        self.shape = [
            dense(10, "relu", name="shape1"),
            dense(5, "relu", name="shape2"),
            dense(1, name="shape"),
        ]
        self(ops.zeros((1, NUM_JOINTS, 3, 3)), ops.zeros((1, 10)))  # builds all layers

    def call(self, rotations, betas):
        """Rotation matrices (B, 23, 3, 3) and betas (B, 10) -> (B, 25)."""
        features = ops.reshape(rotations, (-1, NUM_JOINTS, 9))
        for layer in self.shared:
            features = layer(features)  # (B, 23, 32)
        pose = ops.reshape(features, (-1, NUM_JOINTS * 32))
        shape = betas
        for layer in self.pose:
            pose = layer(pose)
        for layer in self.shape:
            shape = layer(shape)
        return ops.concatenate([self.joints(features), pose, shape], axis=-1)

    def frozen(self, rotations, betas):
        """The same answers, but no gradient reaches the discriminator's own weights."""
        weights = [ops.stop_gradient(ops.convert_to_tensor(w)) for w in self.trainable_variables]
        return self.stateless_call(weights, [], rotations, betas)[0]
