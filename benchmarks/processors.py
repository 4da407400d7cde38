"""Whether the processor shows in what is made: the fast body and a shard, under many settings.

    python benchmarks/processors.py [--only NAME ...] [--table FILE]

Each row is a run of its own in another process, told by environment variables to compute as some
other processor would: other kernels of OpenBLAS, NumPy with fewer vector instructions, Numba for a
plain CPU, other threads, the C library without fused multiply-add. A setting that this machine
cannot run is named and left out. All are held against the first, the machine as it comes:

- what is counted or chosen (faces, which bodies were kept, what has a weight) must be equal;
- numbers may differ by `BOUND`;
- a shard of synthetic people must be the same bytes.

Exits 1 where one is not. Two cores take about three minutes a row; finished rows are kept in
`build/processors` and made again when the code or the machine changes.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import threadpoolctl
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

ROOT = Path(__file__).parents[1]
WORK = ROOT / "build" / "processors"
BOUND = 1e-6  # metres, and shares of a weight
SAMPLES, SIZE = 8, 128  # of the shard: pictures, and their side in pixels

DISPATCHED = [name for name in __cpu_dispatch__ if __cpu_features__[name]]
NO_VECTORS = {"NPY_DISABLE_CPU_FEATURES": " ".join(DISPATCHED)}
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "NUMBA")}
NO_FUSING = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-FMA,-FMA4"}

# name -> environment, and the processor's features that it takes
SETTINGS = {
    "as it comes": ({}, ()),
    "OpenBLAS: Haswell": ({"OPENBLAS_CORETYPE": "Haswell"}, ("AVX2", "FMA3")),
    "OpenBLAS: Zen": ({"OPENBLAS_CORETYPE": "Zen"}, ("AVX2", "FMA3")),
    "OpenBLAS: SkylakeX": ({"OPENBLAS_CORETYPE": "SkylakeX"}, ("AVX512F", "AVX512BW")),
    "NumPy: SSE alone": (NO_VECTORS, ("SSE42",)),
    "Numba: generic": ({"NUMBA_CPU_NAME": "generic"}, ()),
    "one thread": (ONE_THREAD, ()),
    "all of an old one": (
        {"OPENBLAS_CORETYPE": "Nehalem", "NUMBA_CPU_NAME": "generic"}
        | NO_VECTORS | ONE_THREAD | NO_FUSING,
        ("SSE42",),
    ),
}  # fmt: skip
OWN = {name for change, _ in SETTINGS.values() for name in change}  # never taken from outside


def make(folder):
    """One row, in this process: the fast body's stages, a shard, and what computed them."""
    from hmrlib import learn
    from hmrlib.people import pose_pool
    from hmrlib.people.dataset import Shard, render_shard

    learn.build(folder / "body.npz", learn.FAST, work=folder / "stages")
    pool = pose_pool()
    render_shard(pool, Shard(0, 0, SAMPLES, folder / "shard.tfrecord", None, SIZE))
    (folder / "ran.json").write_text(json.dumps(what_runs()), encoding="utf-8")


def what_runs():
    """What computes in this process, as the libraries themselves say."""
    blas = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    kernels = sorted({str(pool.get("architecture")) for pool in blas})
    return {
        "OpenBLAS": ", ".join(kernels),
        "NumPy": DISPATCHED[-1] if DISPATCHED else "baseline",
        "Numba": numba.config.CPU_NAME or "host",
        "threads": f"{max(pool['num_threads'] for pool in blas)}/{numba.get_num_threads()}",
    }


def run(name, change):
    """The folder of a setting's results, made in a process of its own unless they are there."""
    digest = hashlib.sha256(json.dumps([name, change, platform.processor()]).encode())
    for path in sorted((ROOT / "hmrlib").rglob("*")):
        if path.suffix in (".py", ".npz"):
            digest.update(path.read_bytes())
    folder = WORK / digest.hexdigest()[:12]
    if not (folder / "ran.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        kept = {key: value for key, value in os.environ.items() if key not in OWN}
        environment = kept | {"TQDM_DISABLE": "1", "TF_CPP_MIN_LOG_LEVEL": "2"} | change
        command = [sys.executable, __file__, "--make", str(folder)]
        subprocess.run(command, env=environment, check=True)
    return folder


def stages(folder):
    """All arrays that the stages of a build left: (stage, name) -> array."""
    found = {}
    for path in sorted(folder.glob("stages/*/*.npz")):
        with np.load(path, allow_pickle=False) as archive:
            found |= {(path.stem, name): archive[name] for name in archive}
    return found


def compare(first, other):
    """Names of what is not equal, and name -> largest difference of what are numbers."""
    mine, theirs = stages(first), stages(other)
    assert mine.keys() == theirs.keys() and mine
    unequal, apart = [], {}
    for (stage, name), array in mine.items():
        twin = theirs[stage, name]
        if name in ("report", "explained") or name.endswith("_error"):
            continue  # measurements of the rest
        if array.shape != twin.shape or array.dtype.kind not in "f":
            if not np.array_equal(array, twin):
                unequal.append(name)
        else:
            apart[name] = float(np.abs(array - twin).max())
    shards = [hashlib.sha256((f / "shard.tfrecord").read_bytes()).digest() for f in (first, other)]
    return unequal, apart, shards[0] == shards[1]


def row(name, folder, first):
    """A line of the table, and whether all is within bounds."""
    ran = json.loads((folder / "ran.json").read_text("utf-8"))
    cells = [name, *ran.values()]
    if folder == first:
        return [*cells, "", "", "", "", ""], True
    unequal, apart, same_bytes = compare(first, folder)
    cells += ["differ" if "faces" in unequal else "equal"]
    cells += [", ".join(unequal) or "equal"]
    for names in (("v_template", "shapedirs", "posedirs"), ("weights", "J_regressor_data")):
        cells.append(f"{max(apart.get(name, np.inf) for name in names):.1g}")
    cells.append("equal" if same_bytes else "differ")
    return cells, not unequal and same_bytes and max(apart.values()) <= BOUND


def main():
    """Run the settings, print the table, and write it where all were run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--table", type=Path, help="a file for the table; all: processors.md here")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        make(options.make)
        return
    rows, broken, left_out = [], [], []
    first = run("as it comes", {})
    for name in dict.fromkeys(["as it comes", *options.only]):
        change, needed = SETTINGS[name]
        if not all(__cpu_features__.get(feature, False) for feature in needed):
            left_out.append(name)
            continue
        cells, good = row(name, run(name, change), first)
        print(*cells, "" if good else "<- out of bounds", sep=" | ", flush=True)
        rows.append(cells)
        broken += [] if good else [name]
    table = options.table or (Path(__file__).with_suffix(".md") if len(rows) > 1 else None)
    if table and len(options.only) == len(SETTINGS):
        table.write_text(as_text(rows, broken, left_out), encoding="utf-8")
    if broken:
        sys.exit(f"not the same on every processor: {'; '.join(broken)}")


def as_text(rows, broken, left_out):
    """The table in Markdown."""
    head = ["setting", "OpenBLAS", "NumPy", "Numba", "threads", "faces"]
    head += ["all that is chosen", "vertices (m)", "weights", f"{SAMPLES} samples"]
    lines = [
        f"{platform.machine()}; `make processors`. The fast body and a shard of synthetic people, "
        "made anew under each setting and held against the first row. Faces, choices (which bodies "
        "were kept, which vertices have a weight) and the shard's bytes must be equal; numbers may "
        f"differ by {BOUND:.0e}. Vertices: the largest difference in template and blend shapes; "
        "weights: in skinning weights and joint regressor. Threads: of OpenBLAS, of Numba.",
        "",
        "| " + " | ".join(head) + " |",
        "|:--" * len(head) + "|",
        *("| " + " | ".join(cells) + " |" for cells in rows),
        "",
    ]
    if left_out:
        lines += [f"Left out, since this machine cannot run them: {', '.join(left_out)}.", ""]
    if broken:
        lines += [f"**Out of bounds:** {', '.join(broken)}.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
