"""Processor time of the first picture on a machine that has compiled nothing yet.

    python benchmarks/cold_start.py [--tree PATH ...]

One row a tree: the seconds of processor time, of all threads, that the first plain `render()` and
then the first synthetic picture take, with numba's cache in a folder that begins empty. Each runs
in a process of its own, so that the second one finds in the cache what the first has compiled, as
a reader's would. Loading Keras and the body is not counted; importing the renderer is. Other
checkouts named by `--tree` are measured in the same run.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

RENDER = """
import time, numpy as np, hmrlib
from hmrlib.camera import frame
body = hmrlib.load_body()
vertices, faces = np.asarray(body.v_template), np.asarray(body.faces)
start = time.process_time()
from hmrlib.render import render
assert render(vertices, faces, frame(vertices, "front", (224, 224))).image.any()
print(time.process_time() - start)
"""

PEOPLE = """
import importlib, time, hmrlib
hmrlib.load_body()
start = time.process_time()
for name in ("hmrlib.people", "hmrlib.people.synthetic", "hmrlib.data.synthetic"):
    try:
        people = importlib.import_module(name)
    except ModuleNotFoundError:
        continue
    render = getattr(people, "render_samples", getattr(people, "picture", None))
    if render:
        break
[sample] = render([people.draw_recipe(0, 0)])
assert sample["image"]
print(time.process_time() - start)
"""


def seconds(code, tree, cache):
    """What a piece of code prints, run with the package of `tree` and numba's cache in `cache`."""
    environment = os.environ | {
        "PYTHONPATH": str(tree),
        "NUMBA_CACHE_DIR": str(cache),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=cache, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{tree}: {done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tree", type=Path, action="append", default=[], metavar="PATH")
    options = parser.parse_args()
    print("| tree | first render(), CPU-seconds | and first synthetic picture | sum |")
    print("|:--|--:|--:|--:|")
    for tree in [ROOT, *options.tree]:
        with tempfile.TemporaryDirectory() as cache:
            plain = seconds(RENDER, tree.resolve(), cache)
            people = seconds(PEOPLE, tree.resolve(), cache)
        name = tree.resolve().name
        print(f"| {name} | {plain:.1f} | {people:.1f} | {plain + people:.1f} |", flush=True)


if __name__ == "__main__":
    main()
