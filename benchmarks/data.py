"""How fast people come: one function a row, the best of several rounds on all cores.

    python benchmarks/data.py [ROW ...]

Rows: see `ROWS`; none named is all, and then the table goes to `benchmarks/data.md` too. Other
work on the machine only makes a round slower, so the best one counts. Each row says what it must
reach and on which data it ran.
"""

import argparse
import os
import platform
import tempfile
import time
from contextlib import closing
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import hmrlib
from hmrlib.data import datasets, pipeline, records
from hmrlib.data.feed import Feed
from hmrlib.motion import clips, prior
from hmrlib.motion.retarget import retarget
from hmrlib.people import pose_pool
from hmrlib.people.dataset import SHARD, Shard, render_shards
from hmrlib.skeleton import JOINT_NAMES, PARENTS

SHARED = Path(__file__).parents[2] / "shared" / "data"
ROUNDS = 5


def best_rate(work, count, rounds=ROUNDS):
    """Items a second of the fastest of several rounds, and least processor time an item, ms."""
    best, least = 0.0, np.inf
    for _ in range(rounds):
        clock, processor = time.perf_counter(), time.process_time()
        work()
        best = max(best, count / (time.perf_counter() - clock))
        least = min(least, 1e3 * (time.process_time() - processor) / count)
    return f"{best:,.0f}/s, {least:.2f} ms of processor time each"


def some_records(folder, count=1000):
    """Records to read: LSP-extended where it is at hand, or else coloured noise; and their name."""
    source = SHARED / "lsp_extended"
    if source.is_dir():
        load = datasets.lsp_extended(source).load
        samples = [load(index)[0] for index in range(count)]
        for sample in samples:
            sample.pop("notes")
        name = f"{count} images of LSP-extended"
    else:
        rng, side = np.random.default_rng(0), 224
        waves = np.abs(np.fft.fftfreq(side)[:, None]) + np.abs(np.fft.rfftfreq(side)) + 1 / side
        samples = []
        for index in range(count):
            spectrum = np.fft.rfft2(rng.normal(size=(3, side, side))) / waves
            image = np.fft.irfft2(spectrum, (side, side)).transpose(1, 2, 0)
            image = np.uint8(np.clip(128 + 50 * image / image.std(), 0, 255))
            samples.append({"image": image, "center": (112, 112), "size": 180})
            samples[-1] |= {"source": "noise", "id": str(index)}
        name = f"{count} images of 1/f noise, 224 px"
    records.write_shard(folder / "train-00000.tfrecord", samples)
    return name


def feed(steps=16, batch_size=64):
    """Batches made ahead for a training, 224 px, all augmentations | >= 175 images/s"""
    with tempfile.TemporaryDirectory() as folder:
        name = some_records(Path(folder))
        mixed = pipeline.MixedDataset(folder, batch_size, poses=np.zeros((1000, 24, 3)))
        with closing(Feed(mixed, steps=10**6)) as batches:
            batches = iter(batches)
            for _ in range(4):  # the first ones compile, and fill the queue
                next(batches)
            rate = best_rate(lambda: [next(batches) for _ in range(steps)], steps * batch_size)
    return rate, f"{name}, batches of {batch_size}"


def reading():
    """Records read one by one, images left encoded | more than any training eats"""
    with tempfile.TemporaryDirectory() as folder:
        name = some_records(Path(folder))
        read = records.open_records(folder)
        return best_rate(lambda: [read.read(i, False) for i in range(len(read))], len(read)), name


def synthetic_people(shards=8, workers=None):
    """Finished samples of synthetic people, encoded into records | >= 250 samples/s on 2 cores"""
    workers = workers or os.cpu_count()
    pool = pose_pool()
    with tempfile.TemporaryDirectory() as folder:

        def work(first, shards, count=SHARD):
            tasks = [
                Shard(0, first + i * count, count, f"{folder}/{first + i}.tfrecord")
                for i in range(shards)
            ]
            list(render_shards(pool, tasks, workers))

        work(0, workers, 600)  # compiles, and cuts the clothes
        count = shards * SHARD
        best = 0.0
        for number in range(ROUNDS):
            clock = time.perf_counter()
            work(10_000 * (number + 1), shards)
            best = max(best, count / (time.perf_counter() - clock))
    return f"{best:,.0f}/s", f"{count:,} samples of 224 px, {workers} processes"


def retargeting(rounds=3):
    """Motion capture put onto the body, read to pose | >= 300 frames/s on 2 cores"""
    body = hmrlib.load_body()
    folder = SHARED / "mocap_cmu"
    if folder.is_dir():
        paths = ["asfamc/01/01_01.amc", "bvh/dances_martial/salsa_03.bvh", "asfamc/16/16_15.amc"]
        name = f"CMU's {', '.join(Path(path).stem for path in paths)}"
        joints = None

        def read():
            return [clips.read_motion(folder / path) for path in paths]
    else:
        poses = prior.load_prior().sample(9, 0)
        share = np.linspace(0, 8, 1000)[:, None, None]
        before = np.minimum(share.astype(int), 7).ravel()
        poses = poses[before] * (before + 1 - share[:, 0, 0])[:, None, None]
        places = np.asarray(body(None, poses).joints, float)
        turns, rest = np.tile(np.eye(3), (1000, 24, 1, 1)), np.asarray(body().joints[0], float)
        motion = clips.Motion(JOINT_NAMES, PARENTS, places, turns, 30.0, rest)
        name, joints = "1,000 frames of the body's own", {joint: joint for joint in JOINT_NAMES}

        def read():
            return [motion]

    def work():
        return [retarget(motion, body, joints) for motion in read()]

    made = work()  # compiles
    frames = sum(len(clip.pose) for clip in made)
    error = 1000 * np.concatenate([clip.error for clip in made]).mean()
    return best_rate(work, frames, rounds), f"{name}; {frames:,} frames, {error:.1f} mm"


ROWS = {
    "people": synthetic_people,
    "mocap": retargeting,
    "feed": feed,
    "records": reading,
}


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    options = parser.parse_args()
    unknown = set(options.rows) - set(ROWS)
    if unknown:
        parser.error(f"unknown row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    lines = [
        f"{os.cpu_count()} cores, {platform.machine()}; `python benchmarks/data.py`.\n",
        "| what | must reach | measured | on |",
        "|:--|:--|--:|:--|",
    ]
    print(*lines, sep="\n")
    for name in options.rows or ROWS:
        what, _, goal = ROWS[name].__doc__.partition(" | ")
        measured, data = ROWS[name]()
        lines.append(f"| {what} | {goal} | {measured} | {data} |")
        print(lines[-1], flush=True)
    if not options.rows:
        Path(__file__).with_suffix(".md").write_text("\n".join([*lines, ""]), "utf-8")


if __name__ == "__main__":
    main()
