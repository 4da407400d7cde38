"""Speed of the network and of a training step, beside the bare encoder, in one run.

    python benchmarks/network.py [--encoder ResNet50V2] [--size 224] [--batch 32] [--seconds 60]
    python benchmarks/network.py --overfit --out DIR
    python benchmarks/network.py --strangers --out DIR
    python benchmarks/network.py --shipped --out DIR [--photographs RECORDS]

The first measures images a second: inference (image to vertices, and to three Thetas) and a
training step (with body, losses, adversary) against the encoder's own forward pass and its own
training step with a plain loss, alternating, so that a busy machine is as busy for both. A
table goes to `benchmarks/network.md`. The second learns 64 rendered people by heart, the
third learns from eight thousand and is asked about others; some minutes each on two cores. Their
errors go to `benchmarks/network_overfit.md` and `benchmarks/network_strangers.md`, beside those of
the mean body. The fourth asks the network that comes with the package about the same others, and
about photographs that it was not trained on (`hmr data convert lsp LSP RECORDS`):
`benchmarks/network_shipped.md`. Interrupted, the same command goes on.
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

from hmrlib.data.pipeline import MixedDataset
from hmrlib.evaluation.validation import compare, recover_batch, table
from hmrlib.geometry import axis_angle_to_matrix
from hmrlib.io import atomic_write
from hmrlib.network.hmr import HMR, KEYPOINTS
from hmrlib.people import render_people
from hmrlib.skeleton import JOINT_NAMES, KEYPOINT_SETS, POSES, pose_from_degrees
from hmrlib.training.checkpoint import load_model
from hmrlib.training.config import read_config
from hmrlib.training.trainer import build_model, train

HERE = Path(__file__).parent
TFLOPS = {"H100": 790, "H200": 790}  # dense bfloat16 that a card reaches in practice


def batch_of(count, size):
    """A batch as `MixedDataset` makes them; the labels are those of nobody."""
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
    hmr = HMR(config.network, config.encoder_weights)
    encoder = hmr.encoder
    encoder.compile(jit_compile=jit)
    bare = bare_training(HMR(config.network, config.encoder_weights).encoder, jit)
    model = build_model(config)
    floats = images.astype("float32")
    return {
        "inference, bare encoder": lambda: encoder.predict_on_batch(floats),
        "inference, image to vertices": lambda: hmr.predict_on_batch(images),
        "training, bare encoder": lambda: bare.train_on_batch(images, target),
        "training, with body, losses, adversary": lambda: model.train_on_batch(batch),
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
    """Learn 64 people by heart; a table of what is left goes to `benchmarks/network_overfit.md`."""
    people = options.out / "people"
    render_people(64, 5, people, size=128, workers=0)
    config = read_config(
        encoder="EfficientNetLite0",
        freeze_norm=True,
        size=64,
        dropout=0.0,
        batch_size=32,
        steps=1200,
        checkpoint_every=100,
        validate_every=10**6,
        learning_rate=2e-4,
        regressor_rate=1e-3,
        warmup=50,
        cosine=True,
        clip_norm=1.0,
        joints_3d=5000.0,  # a square of metres: 10 mm would else weigh next to nothing
        adversarial=0.0,
        weight_decay=0.0,
        augmentation=None,
    )
    rows = learn(config, people, people, options.out / "overfit")
    write_errors(
        "network_overfit.md",
        "64 rendered people, learned by heart: the errors on the very people that were trained on, "
        f"{config.steps} steps of {config.batch_size} (`python benchmarks/network.py --overfit`).",
        config,
        rows,
    )


def strangers(options):
    """Learn from 8192 people, be asked about 384 others: `benchmarks/network_strangers.md`."""
    people, others = options.out / "many", options.out / "others"
    render_people(8192, 11, people, size=128)
    render_people(384, 12, others, size=128)
    config = read_config(HERE.parent / "notebooks" / "params" / "tiny.yml")
    rows = learn(config, people, others, options.out / "tiny")
    write_errors(
        "network_strangers.md",
        "8192 rendered people to learn from, errors on 384 others, "
        f"{config.steps} steps of {config.batch_size}: `hmr train --config "
        "notebooks/params/tiny.yml` (`python benchmarks/network.py --strangers`).",
        config,
        rows,
    )


def shipped(options):
    """Ask the package's own network; a table goes to `benchmarks/network_shipped.md`."""
    others = options.out / "strangers"
    hmr = load_model()
    render_people(384, 12, others, size=hmr.size)
    asked = {"Rendered people": others}
    if options.photographs:
        asked["Photographs of Leeds Sports Pose, keypoints alone"] = options.photographs
    text = (
        f"The network that comes with the package: {hmr.config.encoder}, {hmr.size} px, "
        "trained as `notebooks/params/shipped.yml` and its card (`hmr model info`) say, asked "
        "about people and photographs that it was not trained on "
        "(`python benchmarks/network.py --shipped`).\n"
    )
    for name, folder in asked.items():
        mixed = MixedDataset(folder, 64, crop=hmr.size, split="train", once=True)
        count = sum(map(len, mixed.sources))
        text += f"\n{name} ({count}):\n\n{table(compare(hmr, mixed))}\n"
        text += f"\n{limbs(hmr, mixed)}\n"
    folder = options.out / "standing"
    with atomic_write(options.out / "standing.npz") as file:
        np.savez(file, pose=standing_poses(4000))
    render_people(768, 13, folder, size=hmr.size, library=options.out / "standing.npz")
    text += f"\n{standing(hmr, folder)}\n"
    print(text)
    (HERE / "network_shipped.md").write_text(text, "utf-8")


STRAIGHT = 10.0  # degrees, that a knee of who stands may be bent
UPRIGHT = 25.0  # degrees, that a hip of who stands may be turned


def standing(hmr, folder):
    """A table of what the network makes of people who stand: are legs straight, sizes apart?

    Stature is that of the body at rest, of its betas alone. Proportion: from hip to ankle, by the
    distance from the hips' middle to the neck.
    """
    mixed = MixedDataset(folder, 64, crop=hmr.size, split="train", once=True)
    batches = [mixed[step] for step in range(len(mixed))]
    found = [recover_batch(hmr, batch) for batch in batches]
    betas = [np.concatenate([batch["betas"] for batch in batches])]
    betas.append(np.concatenate([one.betas for one in found]))
    pose = np.concatenate([batch["pose"] for batch in batches])
    turned = [ops.convert_to_numpy(axis_angle_to_matrix(pose))]
    turned.append(np.concatenate([one.rotations for one in found]))
    knees, hips = (
        [JOINT_NAMES.index(f"{side}_{joint}") for side in ("left", "right")]
        for joint in ("knee", "hip")
    )
    true, ours = (angles(each) for each in turned)  # (N, 24) degrees
    stands = (true[:, knees] < STRAIGHT).all(axis=1) & (true[:, hips] < UPRIGHT).all(axis=1)
    apart = angles(np.swapaxes(turned[0], 2, 3) @ turned[1])[stands][:, knees]
    sizes = [proportions(hmr.body, each[stands]) for each in betas]
    rows = {
        "knees bent, degrees: true": f"{true[stands][:, knees].mean():.1f}",
        "knees bent, degrees: network": f"{ours[stands][:, knees].mean():.1f}",
        "knees' error, degrees": f"{apart.mean():.1f}",
    }
    for name, own, theirs in zip(("stature", "leg by trunk"), *sizes, strict=True):
        ratio, correlation = theirs.std() / own.std(), np.corrcoef(own, theirs)[0, 1]
        rows[f"{name}: spread, network by true"] = f"{ratio:.2f}"
        rows[f"{name}: correlation with the true"] = f"{correlation:.2f}"
    lines = ["| | |", "|:--|--:|", *(f"| {name} | {cell} |" for name, cell in rows.items())]
    return "\n".join([f"Rendered people who stand ({stands.sum()} of {len(stands)}):", "", *lines])


def standing_poses(count):
    """People who stand at ease: arms anywhere, trunk and legs nearly straight. (count, 24, 3)."""
    rng = np.random.default_rng(0)
    poses = np.repeat(pose_from_degrees(POSES["standing"])[None], count, axis=0)
    loose = np.full(24, 0.05)  # radians
    loose[[JOINT_NAMES.index(f"{side}_shoulder") for side in ("left", "right")]] = 0.5
    loose[[JOINT_NAMES.index(f"{side}_elbow") for side in ("left", "right")]] = 0.4
    loose[0] = 0
    return (poses + rng.normal(size=poses.shape) * loose[:, None]).astype(np.float32)


def angles(matrices):
    """By how much rotations (..., 3, 3) turn, degrees (...)."""
    cosine = (np.trace(matrices, axis1=-2, axis2=-1) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def proportions(body, betas):
    """Stature, metres, and the leg's length by the trunk's, of bodies at rest: (N,) each."""
    rest = body(betas, np.zeros((len(betas), 24, 3), np.float32))
    vertices, joints = ops.convert_to_numpy(rest.vertices), ops.convert_to_numpy(rest.joints)
    hip, ankle, neck = (
        joints[:, JOINT_NAMES.index(name)] for name in ("left_hip", "left_ankle", "neck")
    )
    middle = (hip + joints[:, JOINT_NAMES.index("right_hip")]) / 2
    leg, trunk = np.linalg.norm(hip - ankle, axis=1), np.linalg.norm(neck - middle, axis=1)
    return np.ptp(vertices[..., 1], axis=1), leg / trunk


LIMBS = ("ankle", "knee", "hip", "wrist", "elbow", "shoulder")


def limbs(hmr, mixed):
    """A table of PCK of 12 limb points: of each iteration's body and, if there are, of the maps.

    A point is right within a part of the torso, from the left shoulder to the right hip; the mean
    is over points, not over people.
    """
    names = KEYPOINT_SETS[KEYPOINTS].names[:12]
    found, true = {}, []
    for batch in (mixed[step] for step in range(len(mixed))):
        places = {
            f"body, step {n}": stage.keypoints_2d
            for n, stage in enumerate(hmr.recover(batch["image"]), 1)
        }
        if hmr.config.keypoint_maps:
            features = hmr.encode(ops.convert_to_tensor(batch["image"]))
            places["keypoint maps"] = ops.convert_to_numpy(hmr.located(features))
        for who, points in places.items():
            found.setdefault(who, []).append((points[:, :12] + 1) * hmr.size / 2)
        true.append(batch["keypoints_2d"][:, :12])
    true = np.concatenate(true)
    ends = [names.index("left_shoulder"), names.index("right_hip")]
    torso = np.linalg.norm(true[:, ends[0], :2] - true[:, ends[1], :2], axis=-1)[:, None]
    known = (true[..., 2] > 0) & (true[:, ends, 2] > 0).all(axis=1)[:, None]
    columns = {f"all, {within}": (within, "") for within in (0.2, 0.5)}
    columns |= {f"{limb}s, 0.2": (0.2, limb) for limb in LIMBS}
    lines = [f"| PCK, % | {' | '.join(columns)} |", "|:--" + "|--:" * len(columns) + "|"]
    for who, points in found.items():
        off = np.linalg.norm(np.concatenate(points) - true[..., :2], axis=-1) / torso
        cells = [
            100 * (off < within)[known & [limb in name for name in names]].mean()
            for within, limb in columns.values()
        ]
        lines.append(f"| {who} | {' | '.join(f'{cell:.1f}' for cell in cells)} |")
    return "\n".join(lines)


def learn(config, people, others, run):
    """Train, or go on; returns name -> errors on the others, the mean body's and the network's."""
    hmr = train(config, [people], run, resume=(run / "last.npz").exists(), progress=True)
    mixed = MixedDataset(others, 64, crop=config.size, once=True)
    limit = {"the true body, best weak-perspective camera": {"reprojection": camera_limit(mixed)}}
    return compare(hmr, mixed) | limit


def camera_limit(mixed):
    """What reprojection error is left, pixels, if all but the camera's perspective is known."""
    errors = []
    for batch in (mixed[step] for step in range(len(mixed))):
        for points, space in zip(batch["keypoints_2d"], batch["keypoints_3d"], strict=True):
            known = points[:, 2] > 0
            centre = (space[known, :2].mean(0), points[known, :2].mean(0))
            x, y = (a[known, :2] - c for a, c in zip((space, points), centre, strict=True))
            scale = (x * y).sum() / (x * x).sum()
            errors.append(np.linalg.norm(scale * x - y, axis=-1).mean())
    return float(np.nanmean(errors))


def write_errors(name, about, config, rows):
    text = f"{about} {config.encoder}, {config.size} px.\n\n{table(rows)}\n"
    print(text)
    (HERE / name).write_text(text, "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="ResNet50V2")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--compute", default="mixed_bfloat16")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--overfit", action="store_true")
    parser.add_argument("--strangers", action="store_true")
    parser.add_argument("--shipped", action="store_true")
    parser.add_argument("--photographs", type=Path, help="records of Leeds Sports Pose")
    parser.add_argument("--out", type=Path, help="keeps people and training, and goes on from them")
    options = parser.parse_args()
    options.out = options.out or Path(tempfile.mkdtemp())
    asked = {options.overfit: overfit, options.strangers: strangers, options.shipped: shipped}
    asked.get(True, rates)(options)
