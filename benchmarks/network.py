"""Speed of the network and of a training step, beside the bare encoder, in one run.

    python benchmarks/network.py [--encoder ResNet50V2] [--size 224] [--batch 32] [--seconds 60]
    python benchmarks/network.py --overfit

The first measures images a second: inference (image to vertices, and to three Thetas) and a
training step (with body, losses, adversary) against the encoder's own forward pass and its own
training step with a plain loss, alternating, so that a busy machine is as busy for both. A
table goes to `benchmarks/network.md`. The second learns 64 rendered people by heart, some
minutes on two cores, and prints the errors that are left.
"""

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import ops

from hmrlib.data.pipeline import Mix
from hmrlib.network.discriminator import Discriminator
from hmrlib.network.hmr import HMR
from hmrlib.training.config import read_config
from hmrlib.training.game import Game, build_optimizer
from hmrlib.training.trainer import train, validate

HERE = Path(__file__).parent
TFLOPS = {"H100": 790, "H200": 790}  # dense bfloat16 that a card reaches in practice


def batch_of(count, size):
    """A batch as `Mix` makes them; the labels are those of nobody."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.normal(0, 0.3, (count, *shape)).astype("float32")

    known = np.ones(count, "float32")
    batch = {
        "keypoints_2d": normal(22, 3) * size + size / 2,
        "keypoints_3d": normal(22, 4),
        "pose": normal(24, 3),
        "betas": normal(10),
        "camera": normal(3),
        "mocap_pose": normal(24, 3),
        "mocap_betas": normal(10),
        "pseudo_3d": 0 * known,
        **dict.fromkeys(("has_pose", "has_betas", "has_camera"), known),
        "image": rng.integers(0, 255, (count, size, size, 3), np.uint8),
    }
    batch["keypoints_2d"][..., 2] = batch["keypoints_3d"][..., 3] = 1
    return batch


def bare_training(encoder, jit):
    """The encoder's own training step: mean of its features as the loss, the same optimizer."""
    inputs = keras.Input(encoder.input_shape[1:], dtype="uint8")
    features = encoder(ops.cast(inputs, "float32"))
    model = keras.Model(inputs, ops.mean(features, axis=-1))
    model.compile("adam", "mse", jit_compile=jit)
    return model


def contestants(config):
    """name -> function that handles one batch, in pairs of ours and the encoder's."""
    jit = False if keras.backend.backend() == "tensorflow" else "auto"
    batch = batch_of(config.batch_size, config.size)
    images, target = batch["image"], np.zeros(config.batch_size, "float32")
    hmr = HMR(**config.model)
    encoder = hmr.encoder
    encoder.compile(jit_compile=jit)
    bare = bare_training(HMR(**config.model).encoder, jit)
    game = Game(HMR(**config.model), Discriminator(), config)
    game.compile(build_optimizer(game.hmr, game.adversary, config), jit_compile=jit)
    floats = images.astype("float32")
    return {
        "inference, bare encoder": lambda: encoder.predict_on_batch(floats),
        "inference, image to vertices": lambda: hmr.predict_on_batch(images),
        "training, bare encoder": lambda: bare.train_on_batch(images, target),
        "training, with body, losses, adversary": lambda: game.train_on_batch(batch),
    }


def measure(functions, seconds):
    """name -> the shortest time of one call; the functions take turns."""
    for function in functions.values():
        function(), function()  # compiles
    best = dict.fromkeys(functions, np.inf)
    stop = time.perf_counter() + seconds
    rounds = 0
    while time.perf_counter() < stop or rounds < 3:
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            best[name] = min(best[name], time.perf_counter() - start)
        rounds += 1
    return best


def rates(options):
    config = read_config(
        encoder=options.encoder,
        encoder_weights=None,
        size=options.size,
        batch_size=options.batch,
        compute=options.compute,
    )
    best = measure(contestants(config), options.seconds)
    names = list(best)
    lines = [
        f"{options.encoder}, {options.size} px, batch {options.batch}, {options.compute}, "
        f"{keras.backend.backend()} on {platform.machine()}, {os.cpu_count()} cores, best of "
        f"alternating calls; `python benchmarks/network.py`.",
        "",
        "| what | images/s | of the bare encoder's |",
        "|:--|--:|--:|",
    ]
    for bare, ours in (names[:2], names[2:]):
        for name in (bare, ours):
            share = f"{best[bare] / best[name]:.0%}"
            lines.append(f"| {name} | {options.batch / best[name]:.1f} | {share} |")
    lines += ["", *gpu_lines(options.batch / best[names[3]], options)]
    text = "\n".join(lines) + "\n"
    print(text)
    (HERE / "network.md").write_text(text, "utf-8")


def gpu_lines(rate, options):
    """What fraction of the card that is, or that there is none."""
    if keras.backend.backend() == "jax":
        import jax

        kind = jax.devices()[0].device_kind
        peak = next((TFLOPS[name] for name in TFLOPS if name in kind), None)
        if peak and options.encoder == "ResNet50V2":
            work = 3 * 2 * 3.5e9 * (options.size / 224) ** 2  # forward and twice that backward
            return [f"{kind}: {rate * work / 1e12:.0f} TFLOP/s, {rate * work / peak / 1e12:.0%}."]
    return ["No GPU was at hand for this run; the rate on one has not been measured."]


def overfit(options):
    """Learn 64 people by heart; what is left is printed."""
    from hmrlib.data.synthetic import render_people

    folder = options.out or Path(tempfile.mkdtemp())
    size, people = 64, folder / "people"
    render_people(64, 5, people, size=2 * size, workers=0)
    config = read_config(
        encoder="EfficientNetLite0",
        freeze_norm=True,
        size=size,
        hidden=512,
        dropout=0.0,
        batch_size=64,
        steps=1200,
        checkpoint_every=100,
        validate_every=10**6,
        learning_rate=5e-4,
        warmup=50,
        cosine=True,
        clip_norm=1.0,
        adversarial=0.0,
        weight_decay=0.0,
        augmentation=None,
    )
    run = folder / "run"
    hmr = train(config, [people], run, resume=(run / "last.npz").exists(), progress=True)
    errors = validate(hmr, Mix(people, 64, crop=size, once=True))
    print(f"PA-MPJPE {errors['pa_mpjpe']:.1f} mm, MPJPE {errors['mpjpe']:.1f} mm,", end=" ")
    print(f"reprojection {errors['reprojection']:.2f} px of a crop of {size}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="ResNet50V2")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--compute", default="mixed_bfloat16")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--overfit", action="store_true")
    parser.add_argument("--out", type=Path, help="keeps the overfitted run, and goes on from it")
    options = parser.parse_args()
    overfit(options) if options.overfit else rates(options)
