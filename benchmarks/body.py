"""Speed of the body model, beside other packages that load the same file, in one run.

    python benchmarks/body.py [--quick]

Ours runs on each of Keras's backends, in a process of its own. Prints a table (milliseconds a
batch, the best of several calls), the largest difference between anybody's vertices and ours, and
how our best backend compares with the best of the others; writes all to `benchmarks/body.md` and
the plot to `benchmarks/body.svg`. What is not installed is left out, and said so.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import ops

import hmrlib
from hmrlib.body import files
from hmrlib.viewing.figures import PALETTE

HERE = Path(__file__).parent
BATCHES = (1, 32, 256, 1024)
BACKENDS = {"tensorflow": "tensorflow", "jax": "jax", "torch": "PyTorch"}
PATIENCE = 12.0  # seconds a call may take; larger batches of a slower one are left out


def ours(body):
    """name -> function (betas, pose) -> vertices, for every way to run our body here."""
    backend = keras.backend.backend()
    lbs, dqs = (waiting(body.compile(skinning=name)) for name in ("lbs", "dqs"))
    plain = waiting(partial(body, compiles=False))
    ways = {
        "compiled": lambda b, p: lbs(b, p).vertices,
        "compiled, DQS": lambda b, p: dqs(b, p).vertices,
        "as a user calls it": lambda b, p: waiting(body)(b, p).vertices,
        "not compiled": lambda b, p: plain(b, p).vertices,
        "compiled, with gradient": gradient(lambda b, p: lbs(b, p).vertices),
        "compiled, DQS, with gradient": gradient(lambda b, p: dqs(b, p).vertices),
    }
    if backend == "torch":  # which is never compiled
        ways = {name: way for name, way in ways.items() if name.startswith("compiled")}
        ways = {name.replace("compiled", "as it comes"): way for name, way in ways.items()}
    return {f"hmrlib, {BACKENDS[backend]}, {name}": way for name, way in ways.items()}


def on_backend(backend, is_quick):
    """The rows and differences of ours, measured on another backend by this very script."""
    if installed(backend) is None:
        print(f"left out: hmrlib on {backend} (not installed)")
        return {}, {}
    command = [sys.executable, __file__, "--ours", *(["--quick"] if is_quick else [])]
    environment = os.environ | {"KERAS_BACKEND": backend}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def waiting(function):
    """JAX returns before it has computed; the others do not."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    return lambda *inputs: jax.block_until_ready(function(*inputs))


def gradient(function):
    """(betas, pose) -> the gradient of sum(vertices^2) with respect to both."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        @tf.function(jit_compile=True)
        def both(betas, pose):
            with tf.GradientTape() as tape:
                tape.watch((betas, pose))
                loss = tf.reduce_sum(function(betas, pose) ** 2)
            return tape.gradient(loss, (betas, pose))

        return lambda b, p: both(tf.constant(b), tf.constant(p))
    if backend == "jax":
        import jax

        both = jax.jit(jax.grad(lambda b, p: ops.sum(function(b, p) ** 2), argnums=(0, 1)))
        return lambda b, p: jax.block_until_ready(both(b, p))
    return torch_gradient(function)


def torch_gradient(function):
    import torch

    def both(betas, pose):
        inputs = [torch.tensor(array, requires_grad=True) for array in (betas, pose)]
        return torch.autograd.grad((function(*inputs) ** 2).sum(), inputs)

    return both


def smplx_peer(folder):
    import smplx
    import torch

    models = {}

    def run(betas, pose):
        size = len(betas)
        if size not in models:
            models[size] = smplx.create(
                str(folder), model_type="smpl", gender="neutral", batch_size=size
            )
        betas, pose = torch.as_tensor(betas), torch.as_tensor(pose)
        out = models[size](betas=betas, body_pose=pose[:, 3:], global_orient=pose[:, :3])
        return out.vertices

    def forward(betas, pose):
        with torch.no_grad():
            return run(betas, pose)

    return {
        "smplx, PyTorch": forward,
        "smplx, PyTorch, with gradient": torch_gradient(run),
    }


def smplfitter_numpy_peer(folder):
    import smplfitter.np

    model = smplfitter.np.BodyModel("smpl", "neutral", model_root=str(folder / "smpl"))
    return {"smplfitter, NumPy": lambda b, p: model(p, b)["vertices"]}


def smplfitter_torch_peer(folder):
    import smplfitter.pt
    import torch

    model = smplfitter.pt.BodyModel("smpl", "neutral", model_root=str(folder / "smpl"))

    def forward(betas, pose):
        with torch.no_grad():
            return model(torch.as_tensor(pose), torch.as_tensor(betas))["vertices"]

    return {
        "smplfitter, PyTorch": forward,
        "smplfitter, PyTorch, with gradient": torch_gradient(lambda b, p: model(p, b)["vertices"]),
    }


def smplfitter_jax_peer(folder):
    import jax
    import smplfitter.jax

    model = smplfitter.jax.BodyModel("smpl", "neutral", model_root=str(folder / "smpl"))
    jitted = jax.jit(lambda b, p: model(p, b)["vertices"])
    return {"smplfitter, JAX": lambda b, p: jax.block_until_ready(jitted(b, p))}


def body_models_numpy_peer(folder):
    from body_models.smpl.numpy import SMPL

    return {"body-models, NumPy": body_models_forward(SMPL, folder)}


def body_models_torch_peer(folder):
    import torch
    from body_models.smpl.torch import SMPL

    run = body_models_forward(SMPL, folder)

    def forward(betas, pose):
        with torch.no_grad():
            return run(torch.as_tensor(betas), torch.as_tensor(pose))

    return {
        "body-models, PyTorch": forward,
        "body-models, PyTorch, with gradient": torch_gradient(run),
    }


def body_models_jax_peer(folder):
    import jax
    from body_models.smpl.jax import SMPL

    jitted = jax.jit(body_models_forward(SMPL, folder))
    return {"body-models, JAX": lambda b, p: jax.block_until_ready(jitted(b, p))}


def body_models_forward(model_class, folder):
    model = model_class(model_path=folder / "smpl" / "SMPL_NEUTRAL.pkl")

    def forward(betas, pose):
        pose = pose.reshape(-1, 24, 3)
        return model.forward_vertices(pose[:, 1:], pelvis_rotation=pose[:, 0], shape=betas)

    return forward


PEERS = (
    smplx_peer,
    smplfitter_numpy_peer,
    smplfitter_torch_peer,
    smplfitter_jax_peer,
    body_models_numpy_peer,
    body_models_torch_peer,
    body_models_jax_peer,
)


def best_time(function, seconds):
    """Seconds of the fastest call, the first two (one of them compiles) not counted."""
    function()
    function()
    times = []
    while sum(times) < seconds or len(times) < 3:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
        if times[-1] > PATIENCE:
            break
    return min(times)


def random_inputs(batch, num_betas=10):
    rng = np.random.default_rng(batch)
    betas = rng.normal(size=(batch, num_betas)).astype("float32")
    return betas, rng.normal(scale=0.4, size=(batch, 72)).astype("float32")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="batches of 1 and 32 only")
    parser.add_argument("--ours", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    batches = BATCHES[:2] if options.quick else BATCHES
    body = hmrlib.load_body()
    if options.ours:
        print(json.dumps(measure(ours(body), body, batches)))
        return
    rows, differences = {}, {}
    for backend in BACKENDS:
        found = on_backend(backend, options.quick)
        rows, differences = rows | found[0], differences | found[1]
    functions = {}
    with tempfile.TemporaryDirectory() as folder:
        files.export_for_peers(files.read_model(files.OPEN_BODY), folder)
        for peer in PEERS:
            try:
                functions |= peer(Path(folder))
            except ImportError as error:
                print(f"left out: {peer.__name__.removesuffix('_peer')} ({error})")
        found = measure(functions, body, batches)
    report(rows | found[0], differences | found[1], batches)


def measure(functions, body, batches):
    """name -> milliseconds per batch size; name -> metres off ours, over 100 random bodies."""
    betas, pose = random_inputs(100)
    references = {
        skinning: as_numpy(body(betas, pose, skinning=skinning, compiles=False).vertices)
        for skinning in ("lbs", "dqs")
    }
    rows, differences = {}, {}
    for name, function in functions.items():
        print(f"measuring {name}", file=sys.stderr, flush=True)
        rows[name], seconds = [], 0.0
        for i, batch in enumerate(batches):
            if i and seconds * batch / batches[i - 1] > PATIENCE:
                rows[name] += [None] * (len(batches) - i)
                break
            inputs = random_inputs(batch)
            seconds = best_time(lambda f=function, x=inputs: f(*x), 1.0)
            rows[name].append(1e3 * seconds)
        if "gradient" not in name:
            reference = references["dqs" if "DQS" in name else "lbs"]
            found = as_numpy(function(betas, pose))
            differences[name] = float(abs(found - reference).max())
    return rows, differences


def as_numpy(tensor):
    """Of any package; what has a gradient is cut from it."""
    return np.asarray(tensor.detach() if hasattr(tensor, "detach") else tensor)


def report(rows, differences, batches):
    header = ["ms a batch", *(f"B = {b}" for b in batches), "largest difference, m"]
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    for name, times in rows.items():
        cells = ["—" if t is None else f"{t:.2f}" if t < 10 else f"{t:.0f}" for t in times]
        difference = f"{differences[name]:.1e}" if name in differences else ""
        lines.append("| " + " | ".join([name, *cells, difference]) + " |")
    lines.append("")
    rows_alike = [n for n in rows if "gradient" not in n and "DQS" not in n]
    for i, batch in enumerate(batches):
        times = {n: rows[n][i] for n in rows_alike if rows[n][i]}
        mine = min((n for n in times if "hmrlib" in n), key=times.get, default=None)
        other = min((n for n in times if "hmrlib" not in n), key=times.get, default=None)
        if mine and other:
            factor = times[other] / times[mine]
            lines.append(f"- B = {batch}: {mine} is {factor:.1f} times as fast as {other}.")
    packages = ("keras", "tensorflow", "jax", "torch", "smplx", "smplfitter", "body-models")
    versions = ", ".join(f"{name} {installed(name)}" for name in packages if installed(name))
    lines += [
        "",
        f"{os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}; {versions}.",
    ]
    text = "\n".join(lines) + "\n"
    print("\n" + text)
    title = "# The body model's speed\n\nWritten by `python benchmarks/body.py`.\n\n"
    (HERE / "body.md").write_text(title + text + "\n![](body.svg)\n", encoding="utf-8")
    plot(rows, batches)


def installed(name):
    try:
        return version(name)
    except ImportError:
        return None


def plot(rows, batches):
    with plt.style.context("hmrlib.viewing.hmrlib"):
        plt.rcParams["svg.hashsalt"] = "hmrlib"
        figure, axis = plt.subplots(figsize=(7, 4.2), layout="constrained")
        packages = {}  # package -> how many of its lines there are already
        for name, times in rows.items():
            if any(word in name for word in ("gradient", "user", "not compiled")):
                continue
            known = [(b, b / t * 1e3) for b, t in zip(batches, times, strict=True) if t]
            package = name.split(",")[0]
            nth = packages[package] = packages.get(package, -1) + 1
            axis.plot(
                *zip(*known, strict=True),
                color=PALETTE[list(packages).index(package)],
                linestyle="-" if package == "hmrlib" else "--",
                marker="os^Dv*"[nth],
                label=name,
            )
        axis.set(xscale="log", yscale="log", xlabel="bodies in a batch", ylabel="bodies a second")
        axis.set_xticks(batches, batches)
        axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
        figure.savefig(HERE / "body.svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
