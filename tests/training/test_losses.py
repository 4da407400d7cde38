"""The losses: against NumPy, masked, and each of them reaching what it is to train."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy.spatial.transform import Rotation

from hmrlib import geometry, skeleton
from hmrlib.camera import crop_box
from hmrlib.evaluation import metrics
from hmrlib.motion.prior import angles_pose
from hmrlib.network.discriminator import Discriminator
from hmrlib.network.hmr import HMR
from hmrlib.training import losses
from hmrlib.training.adversarial import LOSSES, AdversarialModel
from hmrlib.training.config import TrainConfig
from tests import tiny_encoder  # noqa: F401, a small network by name
from tests.gradients import gradient

B, K = 3, 22


def normal(rng, *shape):
    return rng.normal(size=shape).astype("float32")


def close(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=tolerance, atol=1e-6)


@pytest.mark.backends
def test_losses_equal_numpy(rng):
    x, y, seen = (
        normal(rng, B, K, 2),
        normal(rng, B, K, 2),
        rng.integers(0, 2, (B, K)).astype("float32"),
    )
    expected = np.abs(x - y)[seen > 0].mean()
    close(losses.reprojection(x, y, seen), expected)
    inside = (np.abs(y) < 1).all(-1) & (seen > 0)
    assert inside.any() and (seen > 0).sum() > inside.sum()
    close(losses.located(x, y, seen), np.abs(x - y)[inside].mean())

    x, y = normal(rng, B, K, 3), normal(rng, B, K, 3)
    known = np.ones((B, K), "float32")
    known[0, 2] = 0  # a hip: there is no middle to compare with
    known[1, 7] = 0
    a, b = x - x[:, 2:4].mean(1, keepdims=True), y - y[:, 2:4].mean(1, keepdims=True)
    rows = np.concatenate([np.delete((a - b)[1], 7, axis=0), (a - b)[2]])
    close(losses.joints_3d(x, y, known), (rows**2).mean())
    close(losses.joints_3d(x, y, known, distance=ops.abs), np.abs(rows).mean())

    r, q, s, t = (
        normal(rng, B, 24, 3, 3),
        normal(rng, B, 24, 3, 3),
        normal(rng, B, 10),
        normal(rng, B, 10),
    )
    has_pose, has_betas = np.array([1, 0, 1], "float32"), np.array([0, 0, 1], "float32")
    squares = 216 * ((r - q) ** 2)[[0, 2]].mean() + 10 * ((s - t) ** 2)[2].mean()
    close(losses.smpl_parameters(r, s, q, t, has_pose, has_betas), squares / 226)
    sizes = 216 * np.abs(r - q)[[0, 2]].mean() + 10 * ((s - t) ** 2)[2].mean()
    close(losses.smpl_parameters(r, s, q, t, has_pose, has_betas, ops.abs), sizes / 226)

    real, fake = normal(rng, B, 25), normal(rng, B, 25)
    close(losses.adversarial(fake), ((fake - 1) ** 2).sum(1).mean())
    expected = ((real - 1) ** 2).sum(1).mean() + (fake**2).sum(1).mean()
    close(losses.discriminator(real, fake), expected)
    close(losses.weight_decay([r, s]), ((r**2).sum() + (s**2).sum()) / 2)


@pytest.mark.backends
def test_limits_count_radians_beyond(rng):
    *_, relaxed, _ = skeleton.joint_limits()  # well within
    within = np.array(angles_pose(relaxed[1:].reshape(1, -1))[0])
    too_far = within.copy()
    knee, elbow = (skeleton.JOINT_NAMES.index(name) for name in ("left_knee", "right_elbow"))
    too_far[knee] = [np.radians(150), 0, 0]  # 10 degrees beyond
    too_far[elbow] = [0, np.radians(-20), 0]  # the wrong way: 20
    too_far[0] = [3, 0, 0]  # the root may turn as it likes
    matrices = geometry.axis_angle_to_matrix(ops.convert_to_tensor(np.stack([within, too_far])))
    close(losses.limits(matrices), np.radians(30) / 2, 1e-4)
    close(losses.limits(matrices[:1]), 0)
    slope = gradient(losses.limits, ops.convert_to_numpy(matrices))
    assert np.isfinite(slope).all()
    bent = np.abs(slope[1]).max(axis=(1, 2)) > 0
    assert np.flatnonzero(bent).tolist() == sorted([knee, elbow]) and not slope[0].any()


@pytest.mark.backends
def test_what_is_not_known_counts_nothing_even_if_it_is_nan(rng):
    x, y, seen = normal(rng, B, K, 2), normal(rng, B, K, 2), np.ones((B, K), "float32")
    seen[1] = 0
    y[1] = np.nan
    close(losses.reprojection(x, y, seen), np.abs(x - y)[[0, 2]].mean())
    slope = gradient(lambda z: losses.reprojection(z, ops.convert_to_tensor(y), seen), x)
    assert np.isfinite(slope).all() and (slope[1] == 0).all() and (slope[0] != 0).all()
    close(losses.reprojection(x, y, 0 * seen), 0)
    close(losses.joints_3d(normal(rng, B, K, 3), np.nan * normal(rng, B, K, 3), 0 * seen), 0)


def batch_of(rng, size):
    """A batch as `MixedDataset` makes them, of random labels."""
    names = {"keypoints_2d": (K, 3), "keypoints_3d": (K, 4), "pose": (24, 3), "betas": (10,)}
    names |= {"camera": (3,), "mocap_pose": (24, 3), "mocap_betas": (10,)}
    batch = {name: normal(rng, B, *shape) for name, shape in names.items()}
    batch["keypoints_2d"][..., 2] = batch["keypoints_3d"][..., 3] = 1
    flags = dict.fromkeys(("has_pose", "has_betas", "has_camera"), np.ones(B, "float32"))
    flags["pseudo_3d"] = np.zeros(B, "float32")
    images = rng.integers(0, 255, (B, size, size, 3), np.uint8)
    return {"image": images, **batch, **flags}


@pytest.fixture(scope="module")
def parts():
    keras.utils.set_random_seed(0)
    hmr = HMR(encoder="TinyEncoder", encoder_weights=None, size=32, hidden=8, keypoint_maps=True)
    bias = hmr.regressor.layers[-1].bias  # people who are bent, some joints beyond their limits
    bias.assign(keras.random.normal(bias.shape, stddev=0.2, seed=0))
    return hmr, Discriminator(), batch_of(np.random.default_rng(0), 32)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="takes TensorFlow's tape")
@pytest.mark.parametrize("name", LOSSES)
def test_each_weight_alone_trains_its_side_and_not_the_other(parts, name):
    import tensorflow as tf

    hmr, discriminator, batch = parts
    batch = {key: tf.constant(value) for key, value in batch.items()}
    alone = dict.fromkeys(LOSSES, 0.0) | {name: 1.0}
    alone["adversarial"] = alone.pop("discriminator") or alone["adversarial"]
    model = AdversarialModel(hmr, discriminator, TrainConfig(**alone))
    with tf.GradientTape(persistent=True) as tape:
        total = model.compute_loss(batch, y_pred=model(batch, training=True))
        terms = {tracker.name: tracker.result() for tracker in model.last_values}
        # both sides of the adversary have one weight: look at the one that is asked for
        asked = model.terms(batch, *model(batch, training=True))[name]
    weighted = sum(model.weight(key) * value for key, value in terms.items())
    np.testing.assert_allclose(total, weighted, rtol=1e-5)
    assert terms[name] > 0
    sides = {
        "encoder": hmr.encoder.trainable_variables,
        "regressor": hmr.regressor.trainable_variables,
        "discriminator": discriminator.trainable_variables,
    }
    reached = {
        side: any(g is not None and np.abs(g).max() > 0 for g in tape.gradient(asked, variables))
        for side, variables in sides.items()
    }
    assert reached == {
        "encoder": name != "discriminator",
        "regressor": name not in ("discriminator", "maps"),  # the maps come before it
        "discriminator": name == "discriminator",
    }


def test_pseudo_3d_is_left_out_unless_asked_for(parts):
    hmr, discriminator, batch = parts
    batch = batch | {"pseudo_3d": np.array([1, 1, 1], "float32")}
    for asked in (False, True):
        model = AdversarialModel(hmr, discriminator, TrainConfig(pseudo_3d=asked))
        terms = model.terms(batch, *model(batch))
        assert (float(terms["smpl"]) > 0) == asked and (float(terms["joints_3d"]) > 0) == asked
        assert float(terms["reprojection"]) > 0


def test_the_box_says_where_the_crop_lies(rng):
    batch = batch_of(rng, 32)
    batch["camera"] = np.array([[100, 16, 16], [50, 0, 32], [1, 1, 1]], "float32")
    batch["has_camera"] = np.array([1, 1, 0], "float32")
    expected = [[0, 0, 0.32], [0.32, -0.32, 0.64], [0, 0, 0]]
    close(crop_box(batch, 32), expected)


# --- metrics ---


def test_metrics_ignore_what_they_align(rng):
    true = normal(rng, 4, 14, 3)
    assert metrics.mpjpe(true + 5, true).max() < 1e-5
    turn = Rotation.random(random_state=0).as_matrix()
    moved = (3 * true @ turn.T + [1, 2, 3]).astype("float32")
    assert metrics.pa_mpjpe(moved, true).max() < 1e-5 < metrics.mpjpe(moved, true).min()
    mirrored = true * np.array([-1, 1, 1], "float32")
    assert metrics.pa_mpjpe(mirrored, true).min() > 0.05  # a reflection is no rotation


def test_metrics_equal_numpy(rng):
    true = normal(rng, 2, 14, 3)
    predicted = true + 0.1 * normal(rng, 2, 14, 3)
    a, b = (x - (x[:, 2] + x[:, 3])[:, None] / 2 for x in (predicted, true))
    np.testing.assert_allclose(
        metrics.mpjpe(predicted, true), np.linalg.norm(a - b, axis=-1).mean(-1), rtol=1e-5
    )
    for one, other, error in zip(predicted, true, metrics.pa_mpjpe(predicted, true), strict=True):
        x, y = one - one.mean(0), other - other.mean(0)
        turn, _ = Rotation.align_vectors(y, x)  # the same minimum, by quaternions
        turned = turn.apply(x)
        scale = (turned * y).sum() / (x**2).sum()
        expected = np.linalg.norm(scale * turned - y, axis=-1).mean()
        np.testing.assert_allclose(error, expected, rtol=1e-4)


def test_pve_equals_numpy_and_ignores_where_the_pelvis_is(rng):
    vertices, joints = normal(rng, 2, 50, 3), normal(rng, 2, 24, 3)
    changed = vertices + 0.1 * normal(rng, 2, 50, 3)
    moved = metrics.pve((changed + 5, joints + 5), (vertices, joints))
    expected = np.linalg.norm(changed - vertices, axis=-1).mean(-1)
    np.testing.assert_allclose(moved, expected, rtol=1e-4)
    other = metrics.pve((vertices, joints), (vertices, joints + np.array([0, 3, 4])))
    np.testing.assert_allclose(other, 5, rtol=1e-5)  # no body is where its pelvis is not


def test_pck_measures_by_the_torso():
    true = np.zeros((3, 14, 2))
    shoulder, hip = (metrics.EVALUATED.index(name) for name in ("left_shoulder", "right_hip"))
    true[:, shoulder] = [0, 10]  # a torso of 10
    seen = np.ones((3, 14))
    seen[0, 13] = seen[2, hip] = 0
    off = np.zeros(14)
    off[:4] = [1.9, 2.1, 100, 1]  # of them two are farther than 2
    off[13] = 100  # unknown in the first
    found = metrics.pck(true + np.stack([off, 0 * off], -1), true, seen)
    np.testing.assert_allclose(found, [11 / 13, 11 / 14, np.nan])


def test_reprojection_error_knows_what_is_hidden():
    true, seen = np.zeros((2, 4, 2)), np.array([[1, 1, 0, 0], [0, 0, 0, 0]])
    found = metrics.reprojection_error(true + np.array([3, 4]), true, seen)
    assert found[0] == 5 and np.isnan(found[1])
    with pytest.raises(ValueError, match="expected finite points"):
        metrics.mpjpe(np.zeros((14, 3)), np.zeros((14, 3)))
