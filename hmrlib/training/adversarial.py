"""The network and its discriminator in one `keras.Model`, trained against each other.

Both sides learn at once. The network's loss sees a discriminator whose weights are held; the
discriminator's sees bodies through which no gradient flows back. So one sum of losses trains both,
with an optimizer each, and `fit` needs no loop of its own.
"""

import keras
from keras import ops

from hmrlib import geometry
from hmrlib.camera import crop_box, project
from hmrlib.network.hmr import KEYPOINTS
from hmrlib.network.regressor import split_theta
from hmrlib.training import losses

LOSSES = ("reprojection", "maps", "joints_3d", "smpl", "limits", "adversarial", "discriminator")
LOSSES += ("weight_decay",)


class LastValue(keras.metrics.Metric):
    """The value of the last batch; Keras' own metrics would give means since the epoch began."""

    def __init__(self, name):
        super().__init__(name=name)
        # the mean of all devices, should there be several
        self.last = self.add_variable((), "zeros", aggregation="mean", name="last")

    def update_state(self, value):
        """Forget what was."""
        self.last.assign(ops.cast(value, self.dtype))

    def result(self):
        """The value, as it came."""
        return ops.convert_to_tensor(self.last)


class AdversarialModel(keras.Model):
    """The network and its discriminator, trained together. Inputs are batches of `MixedDataset`.

    A batch may bring `features` (B, F), as `hmr.encode` gives them, in place of its `image`: for an
    encoder that is not trained (`hmr.encoder.trainable = False`), the features of a picture need to
    be computed but once.

    Args:
        hmr: `HMR`.
        discriminator: `Discriminator`.
        config: `TrainConfig`; its weights of the losses count.
    """

    def __init__(self, hmr, discriminator, config):
        super().__init__(dtype="float32")
        self.hmr, self.discriminator, self.config = hmr, discriminator, config
        discriminator.trainable = bool(config.adversarial)  # an optimizer wants gradients
        self.last_values = [LastValue(name) for name in LOSSES]
        self.built = True

    def call(self, batch, training=False):
        """All Thetas, the keypoints of the last, and, with maps, where those see the keypoints."""
        features = batch["features"] if "features" in batch else self._see(batch, training)
        thetas = self.hmr.regress(features, training)
        _, rotations, betas = split_theta(thetas[-1], self.hmr.config.rotation)
        keypoints = self.hmr.body.posed_keypoints(betas, rotations, KEYPOINTS)
        located = [self.hmr.located(features)] if self.hmr.config.keypoint_maps else []
        return thetas, keypoints, *located

    def _see(self, batch, training):
        images = batch["image"]
        inputs = (images, crop_box(batch, self.hmr.size)) if self.hmr.box_input else images
        return self.hmr.encode(inputs, training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The weighted sum of all terms, of both sides; a device's share of it, if it is one of n.

        TensorFlow adds up the gradients of its devices, and leaves it to the loss to be a mean.
        """
        terms = self.terms(x, *y_pred)
        total = 0.0
        for tracker in self.last_values:
            term = terms[tracker.name]
            tracker.update_state(term)
            total = total + self.weight(tracker.name) * term
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            total = total / tf.distribute.get_strategy().num_replicas_in_sync
        return total

    def weight(self, name):
        """Of a loss in the sum. Both sides of the adversary have one weight."""
        return getattr(self.config, "adversarial" if name == "discriminator" else name)

    def terms(self, batch, thetas, keypoints, located=None):
        """Every loss of `LOSSES`, by name, unweighted; one whose weight is 0 is 0.

        Args:
            batch: as `MixedDataset` makes them.
            thetas: list of (B, D), one an iteration.
            keypoints: (B, K, 3) of the last.
            located: (B, K, 2), where the keypoint maps see them, if there are maps.
        """
        config, zero, rotation = self.config, ops.zeros(()), self.hmr.config.rotation
        camera, rotations, betas = split_theta(thetas[-1], rotation)
        points, space = batch["keypoints_2d"], batch["keypoints_3d"]
        true = 1.0 if config.pseudo_3d else 1.0 - batch["pseudo_3d"]  # (B,)
        terms = dict.fromkeys(LOSSES, zero)
        in_crop = 2 * points[..., :2] / self.hmr.size - 1
        distance = losses.DISTANCES[config.distance]
        if config.reprojection:
            terms["reprojection"] = losses.reprojection(
                project(keypoints, camera), in_crop, points[..., 2]
            )
        if config.maps and located is not None:
            terms["maps"] = losses.located(located, in_crop, points[..., 2])
        if config.joints_3d:
            known = space[..., 3] * (true * ops.ones_like(batch["pseudo_3d"]))[:, None]
            terms["joints_3d"] = losses.joints_3d(
                keypoints, space[..., :3], known, distance=distance
            )
        if config.smpl:
            terms["smpl"] = losses.smpl_parameters(
                rotations,
                betas,
                geometry.axis_angle_to_matrix(batch["pose"]),
                batch["betas"],
                batch["has_pose"] * true,
                batch["has_betas"] * true,
                distance,
            )
        if config.limits:
            terms["limits"] = losses.limits(rotations)
        if config.adversarial:
            _, rotations, betas = split_theta(ops.concatenate(thetas, axis=0), rotation)
            fake = rotations[:, 1:], betas  # (3 B, 23, 3, 3): every iteration must look human
            real = geometry.axis_angle_to_matrix(batch["mocap_pose"][:, 1:]), batch["mocap_betas"]
            terms["adversarial"] = losses.adversarial(self.discriminator.frozen(*fake))
            terms["discriminator"] = losses.discriminator(
                self.discriminator(*real), self.discriminator(*map(ops.stop_gradient, fake))
            )
        if config.weight_decay:
            both = self.hmr.trainable_variables
            both = both + (self.discriminator.trainable_variables if config.adversarial else [])
            terms["weight_decay"] = losses.weight_decay(
                [variable for variable in both if variable.path.endswith("kernel")]
            )
        return terms


def build_optimizer(hmr, discriminator, config):
    """One Adam for each side, and one for the regressor where its rate is another."""

    def adam(rate):
        if config.cosine or config.warmup:
            falling = max(config.steps - config.warmup, 1)
            rate = keras.optimizers.schedules.CosineDecay(
                0.0 if config.warmup else rate,
                falling,
                alpha=0.0 if config.cosine else 1.0,
                warmup_target=rate if config.warmup else None,
                warmup_steps=config.warmup,
            )
        return keras.optimizers.Adam(rate, global_clipnorm=config.clip_norm)

    sides = {id(v): "discriminator" for v in discriminator.trainable_variables}
    sides |= {id(v): "regressor" for v in hmr.regressor.trainable_variables}
    rates = {
        "encoder": config.learning_rate,
        "regressor": config.learning_rate
        if config.regressor_rate is None
        else config.regressor_rate,
        "discriminator": config.discriminator_rate,
    }
    optimizers = {side: adam(rate) for side, rate in rates.items()}
    return keras.optimizers.MultiOptimizer(lambda v: optimizers[sides.get(id(v), "encoder")])
