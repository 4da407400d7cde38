"""Whole data sets of synthetic people, by all cores or by many machines."""

import json
import warnings
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from hmrlib.data import records
from hmrlib.io import atomic_write, extra, locked
from hmrlib.people.draw import draw_recipe
from hmrlib.people.photographs import find_photographs
from hmrlib.people.pictures import render_samples
from hmrlib.people.poses import STANDING, pose_pool
from hmrlib.people.scene import SIZE

SHARD = 256  # samples
BATCH = 64  # samples whose bodies are posed together
VALIDATION = 10**9  # number of the first person to validate on
DRAWING = 7  # goes up when the same recipe comes out as another picture: folders hold one kind
SETTINGS = "synthetic.json"  # in the data set's folder: what its samples were made from


class Shard(NamedTuple):
    """What one shard is made from: samples first to first + count, written to a path."""

    seed: int
    first: int
    count: int
    path: str
    photographs: str | None = None
    size: int = SIZE


def render_people(
    n,
    seed,
    out,
    photographs=None,
    library=None,
    size=SIZE,
    scheduler=None,
    workers=None,
    shard=SHARD,
    validation=0,
):
    """Make a data set of `n` people: shards and an index, as `data.records` keeps them.

    Sample i is the same whatever `n`, the number of workers or of machines. Finished shards are
    kept: the same call goes on where an interrupted one stopped.

    On this machine nothing listens to the network. A Dask scheduler takes any code from whoever
    reaches its port, so that one for many machines has to ask for a certificate: start it, and its
    workers, with `--tls-ca-file`, `--tls-cert` and `--tls-key`, set the same in Dask's
    configuration here (`distributed.comm.tls`), and give its address as `tls://HOST:PORT`.

    Args:
        n: how many samples, of the split "train".
        seed: whole number >= 0.
        out: folder; made if it is not there.
        photographs: folder of pictures to put behind most people; None: made-up places alone.
            On other machines it must lie at the same path, as must `out`.
        library: `.npz` of poses, or "standing", see `pose_pool`.
        size: side of the pictures, pixels.
        scheduler: address of a Dask scheduler; None makes all on this machine.
        workers: processes on this machine; None is one a core, 0 renders in this process.
        shard: samples in a shard.
        validation: how many more, of other people, for the split "validation".

    Returns:
        the index, see `records.write_index`.

    Raises:
        ValueError: a number out of range, or a folder that holds other samples.
        FileNotFoundError: no such folder of photographs, or library.
        hmrlib.io.FolderInUseError: another run writes into `out`.
    """
    if n < 1 or int(n) != n or seed < 0 or int(seed) != seed:
        raise ValueError(f"expected n >= 1 and seed >= 0, whole numbers; found n={n}, seed={seed}")
    if validation < 0 or int(validation) != validation:
        raise ValueError(f"expected a whole number of people to validate on, found {validation}")
    if n > VALIDATION:
        raise ValueError(f"from {VALIDATION} on people are for validation; found n={n}")
    if shard < 1 or int(shard) != shard:
        raise ValueError(f"expected shards of at least one sample, found {shard}")
    if not 32 <= size <= 2048:
        raise ValueError(f"expected a size of 32 to 2048 pixels, found {size}")
    if photographs is not None:
        find_photographs(photographs)  # raises before anything is started
    if library is not None and str(library) != STANDING and not Path(library).is_file():
        raise FileNotFoundError(
            f"{library}: no such pose library; `hmr data mocap` makes one, or say {STANDING!r}"
        )
    out = Path(out)
    settings = {"drawing": DRAWING, "seed": seed, "size": size, "shard": shard}
    settings |= {"photographs": str(photographs or ""), "library": str(library or "")}
    with locked(out):
        _same_settings(out, settings)
        tasks = []
        for split, begin, total in (("train", 0, n), ("validation", VALIDATION, validation)):
            for number, first in enumerate(range(0, total, shard)):
                path, count = out / f"{split}-{number:05d}.tfrecord", min(shard, total - first)
                done = records.finished(path)
                if done is None or done["samples"] + sum(done["skipped"].values()) != count:
                    tasks.append(Shard(seed, begin + first, count, str(path), photographs, size))
        total = n + validation
        with tqdm(
            total=total, initial=total - sum(task.count for task in tasks), unit="sample"
        ) as progress:
            for count in _run(tasks, library, scheduler, workers):
                progress.update(count)
        return records.write_index(
            out, source="hmrlib's synthetic people", licence="CC0 1.0", seed=seed, size=size
        )


def _same_settings(out, settings):
    """Keep the settings beside the samples; a folder made from others is not added to."""
    path = out / SETTINGS
    if path.exists():
        found = json.loads(path.read_text("utf-8"))
        if found != settings:
            raise ValueError(
                f"{out} holds samples of other settings: {found}, asked for {settings}. "
                "Give another folder, or delete this one"
            )
    elif any(out.glob("*.tfrecord")):
        raise ValueError(f"{out} holds records that are not synthetic people; give another folder")
    with atomic_write(path) as file:
        file.write(json.dumps(settings).encode())


def _run(tasks, library, scheduler, workers):
    """Make all shards, here or by Dask; yields the number of samples of each."""
    if not tasks:
        return
    pool = pose_pool(library)  # once, and here: so workers need no Keras, which takes long to load
    if scheduler is None:
        yield from render_shards(pool, tasks, workers)
    else:
        yield from _by_dask(pool, tasks, scheduler)


def render_shards(pool, tasks, workers=None):
    """Make shards by processes of this machine, which open no port.

    joblib's processes do not run the caller's script again, as those of `multiprocessing` do, so
    that it needs no `if __name__ == "__main__":`.

    Args:
        pool: (N, 24, 3) poses.
        tasks: list of `Shard`.
        workers: how many processes; None is one a core, 0 none but this one.

    Yields:
        the number of samples of each, as they are finished.
    """
    with extra("people"):
        from joblib import Parallel, cpu_count, delayed, parallel_config

    workers = min(cpu_count() if workers is None else workers, len(tasks))
    options = {"inner_max_num_threads": 1, "idle_worker_timeout": 60}
    with warnings.catch_warnings(), parallel_config("loky", **options):
        # one whose caches have grown by much is replaced, which is no matter
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given")
        made = Parallel(max(workers, 1), return_as="generator_unordered", max_nbytes=None)
        yield from made(delayed(render_shard)(pool, task) for task in tasks)


def _by_dask(pool, tasks, scheduler):
    """The same by the workers of a Dask scheduler at an address."""
    with extra("cluster"):
        from distributed import Client, as_completed

    with Client(scheduler) as client:
        pool = client.scatter(pool, broadcast=True)
        futures = [client.submit(render_shard, pool, task, pure=False) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:  # of an interrupt or an error: what has not begun never does
            client.cancel(futures)


def render_shard(pool, shard):
    """Make one `Shard`; returns its number of samples."""
    photographs = shard.photographs
    names = find_photographs(photographs) if photographs else ()

    def samples():
        numbers = range(shard.first, shard.first + shard.count)
        for begin in range(0, shard.count, BATCH):
            batch = numbers[begin : begin + BATCH]
            recipes = [draw_recipe(shard.seed, i, pool, names) for i in batch]
            yield from render_samples(recipes, shard.size, photographs)

    return records.write_shard(shard.path, samples())["samples"]
