"""Chaos: whatever ends a run, what it left is whole, and a rerun equals the undisturbed one.

    python -m tests.chaos [WRITER ...] [--kills 100] [--seed 0]

`make chaos` strikes every writer of files: kill -9 at a random moment, half of them by the clock
and half just before one of its operations on a file; a full disk; a folder that may not be written;
a second run into the same folder. It prints a table, and exits 1 if anything was lost.

Each run is a fork of this process, which has imported all that it needs, but has started nothing:
so that a run takes no longer than what it does.
"""

import argparse
import csv
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

import keras
import numpy as np
from PIL import Image

import hmrlib
from hmrlib import learn, report, skeleton
from hmrlib.body import files
from hmrlib.data import datasets, records
from hmrlib.io import FolderInUseError, locked
from hmrlib.io.files import LOCK
from hmrlib.motion import gather, prior
from hmrlib.network.hmr import HMR
from hmrlib.people import render_people
from hmrlib.people.dataset import Shard, render_shard
from hmrlib.prediction import Predictor
from hmrlib.prediction.folder import run as predict_files
from hmrlib.training import trainer
from hmrlib.training.config import TrainConfig
from hmrlib.training.logs import read_log
from tests import tiny_encoder  # noqa: F401, a small network by name
from tests.conftest import ROOT

# how a run ended
DONE, FAILED, IN_USE, NAMED = 0, 1, 3, 4
EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.listdir", "os.scandir")


class Writer(NamedTuple):
    """What writes files.

    Attributes:
        prepare: makes what it reads, in a folder that is there.
        run: of that folder and the one that it writes; the same call goes on after a kill.
        alone: a second run into the same folder is refused; else both may write.
        own: runs in this very process, so that a limit to its files is all that it meets.
        warm: what takes long, starts no thread, and is done in the process that forks.
    """

    prepare: callable
    run: callable
    alone: bool = True
    own: bool = True
    warm: callable = lambda folder: None


# --- the writers, on tiny settings ---


def nothing(inputs):
    """Reads what comes with the package."""


def a_model(vertices=400):
    """Random numbers in the form of a body model."""
    rng = np.random.default_rng(0)
    return {
        "v_template": rng.normal(size=(vertices, 3)),
        "shapedirs": rng.normal(size=(vertices, 3, 10)),
        "posedirs": rng.normal(size=(vertices, 3, 207)),
        "J_regressor": np.full((24, vertices), 1 / vertices),
        "weights": np.full((vertices, 24), 1 / 24),
        "kintree_table": np.stack([skeleton.PARENTS, np.arange(24)]).astype(np.int64),
        "f": rng.integers(vertices, size=(2 * vertices, 3)),
    }


def write_single(inputs, out):
    """Everything that is written as one file: models, meshes, figures, priors, settings."""
    out.mkdir(exist_ok=True)
    model = files.check_model(a_model())
    for suffix in ("npz", "obj", "ply", "glb"):
        files.write_model(out / f"body.{suffix}", model)
    files.export_for_peers(model, out)
    prior.save_prior(out / "prior.npz", prior.load_prior())
    TrainConfig().save(out / "config.yml")


def some_pictures(inputs):
    """A data set of ten people in pictures of noise."""
    rng = np.random.default_rng(0)
    people = []
    for i in range(10):
        picture = Image.fromarray(rng.integers(0, 256, (60, 40, 3)).astype(np.uint8))
        picture.save(inputs / f"{i}.png")
        points = np.column_stack([rng.uniform(5, 35, (17, 2)), np.ones(17)]).tolist()
        person = {"image": f"{i}.png", "keypoints": points, "box": [5, 5, 30, 30]}
        people.append(person | {"split": ("train", "test")[i // 8]})
    labels = {"keypoints": "coco-17", "people": people}
    (inputs / "labels.json").write_text(json.dumps(labels), "utf-8")


def convert(inputs, out):
    datasets.convert("folder", inputs, out, shard=2, threads=2, progress=False)


def render(inputs, out):
    render_people(4, 3, out, size=48, workers=0, shard=1, validation=1)


def compile_renderer(folder):
    """Or every fork would fetch what numba has compiled."""
    poses = np.stack([skeleton.pose_from_degrees(pose) for pose in skeleton.POSES.values()])
    render_shard(poses, Shard(0, 0, 2, str(folder / "train-0.tfrecord"), None, 48))


def some_clips(inputs):
    """Three clips as AMASS has them, and one that cannot be read."""
    rng = np.random.default_rng(0)
    for i in range(3):
        poses = 0.1 * rng.normal(size=(20, 156))
        place = np.tile([0, 0, 1.0], (20, 1))
        clip = {"poses": poses, "trans": place, "mocap_framerate": 60.0}
        np.savez(inputs / f"01_0{i}.npz", **clip)
    (inputs / "02_01.bvh").write_text("nothing")


def gather_clips(inputs, out):
    gather.build_library(inputs, out, hmrlib.load_body())


def learn_stages(inputs, out):
    """The stages of `hmr body build`, with little to compute in them."""
    folder = out / "stages"
    with locked(folder):
        stages = learn.Stages(folder)
        for seed, name in enumerate(("mesh", "population", "shape", "weights", "correctives")):
            made = np.random.default_rng(seed).normal(size=(500, 100))
            stages.run(name, lambda made=made: {"made": made})
    files.write_model(out / "body.npz", a_model(), dtype=np.float16)


def some_notebooks(inputs):
    """Two of them, and a report's text."""
    from tests.report import test_report

    for name in ("notebooks/params", "report"):
        (inputs / name).mkdir(parents=True)
    save = test_report.SAVE + "save_number('square', x**2)"
    test_report.write_notebook(inputs / "notebooks" / "01_number.ipynb", "x = 3", save)
    save = test_report.SAVE + test_report.PICTURE + "save_figure('grey', image, caption='Grey.')"
    test_report.write_notebook(inputs / "notebooks" / "02_picture.ipynb", "shade = 0.5", save)
    test_report.write_parameters(inputs, "01_number: {x: 40}")
    for name in ("report.typ", "colours.css", "style.css", "references.bib", "wide.lua"):
        shutil.copy(ROOT / "report" / name, inputs / "report")
    text = "---\ntitle: Chaos\nlang: en\n---\n\n{{number:square}}\n\n{{figure:grey 40%}}\n"
    (inputs / "report" / "report.md").write_text(text, "utf-8")


def make_report(inputs, out):
    shutil.copytree(inputs, out, dirs_exist_ok=True)
    report.run(out)


def some_records(inputs):
    """Pictures of people to learn from, and poses: made by a fork, for it needs the body."""
    from tests.sample_people import write_people

    write_people(inputs / "records", train=8, validation=4, size=48)
    poses = [skeleton.pose_from_degrees(pose) for pose in skeleton.POSES.values()]
    np.savez(inputs / "poses.npz", pose=np.array(poses, np.float32))


def train(inputs, out):
    config = TrainConfig(
        encoder="TinyEncoder",
        encoder_weights=None,
        size=32,
        hidden=16,
        batch_size=4,
        steps=6,
        learning_rate=1e-3,
        checkpoint_every=1,
        validate_every=2,
        overlays=1,
        poses=str(inputs / "poses.npz"),
    )
    resume = (out / "last.npz").exists()
    trainer.train(config, [inputs / "records"], out, resume, progress=False)


def some_photographs(inputs):
    """Three pictures of noise, and a file that is none."""
    rng = np.random.default_rng(0)
    for i in range(3):
        picture = Image.fromarray(rng.integers(0, 256, (60, 40, 3)).astype(np.uint8))
        picture.save(inputs / f"{i}.png")
    (inputs / "words.png").write_text("nothing")


def predict(inputs, out):
    """A folder's people by a network that has learned nothing, in given boxes."""
    keras.utils.set_random_seed(0)
    model = HMR(encoder="TinyEncoder", encoder_weights=None, size=32, hidden=16)
    boxes = {f"{i}.png": [[5, 5, 35, 55]] for i in range(3)}
    predictor, save = Predictor(model, refine=False), ("json", "npz")
    predict_files([inputs], out, predictor, save, progress=False, boxes=boxes)


WRITERS = {
    "files": Writer(nothing, write_single, alone=False),
    "convert": Writer(some_pictures, convert),
    "render": Writer(nothing, render, warm=compile_renderer),
    "mocap": Writer(some_clips, gather_clips),
    "stages": Writer(nothing, learn_stages),
    "report": Writer(some_notebooks, make_report, own=False),
    "train": Writer(some_records, train),
    "predict": Writer(some_photographs, predict),
}


# --- one run ---


def start(work, out, strike=None, limit=None, count=None):
    """Begin `work(out)` in a fork; returns its process id.

    Args:
        strike: kill it before the so many-th of its operations on a file below `out`.
        limit: bytes that no file may exceed.
        count: a file that gets the number of those operations.
    """
    number = os.fork()
    if number:
        return number
    status, free = FAILED, resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        warnings.simplefilter("ignore")
        operations = watch(str(out), strike)
        resource.setrlimit(resource.RLIMIT_FSIZE, (free[0] if limit is None else limit, free[1]))
        work(out)
        status = DONE
        if count:
            Path(count).write_text(str(len(operations)))
    except BaseException as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, free)
        Path(f"{out}.log").write_text(traceback.format_exc(), "utf-8")
        if isinstance(error, FolderInUseError):
            status = IN_USE
        elif isinstance(error, OSError) and "could not be written" in str(error):
            status = NAMED
    finally:
        os._exit(status)


def watch(folder, strike):
    """Keep a list of this process' operations on files below `folder`; die before one of them."""
    operations = []

    def hook(event, arguments):
        path = arguments[0] if event in EVENTS else None
        if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(folder + os.sep):
            operations.append(event)
            if len(operations) == strike:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return operations


def ended(number):
    """Wait for a run; how it ended, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


# --- what it left ---


def contents(out):
    """Path -> what a file holds, of all that a run left; raises if one of them is not whole."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_dir() or is_remains(name):
            continue
        try:
            found[name] = read(path)
        except Exception as error:
            raise AssertionError(f"{name} is not whole: {error!r}") from error
    return found


def is_remains(name):
    """What a killed run leaves under a name of no meaning, until the next one."""
    return name.endswith((".tmp", LOCK)) or ".running/" in name or "events.out" in name


def remains(out):
    """Files that nobody will ever want."""
    names = [path.relative_to(out).as_posix() for path in out.rglob("*")]
    return [n for n in names if n.endswith((".tmp", ".running", LOCK))]


def read(path):
    """A file's content, without how long it took and when: whatever raises is not whole."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name != "seconds"}
        texts = {name for name, a in arrays.items() if a.dtype.kind == "U" and not a.ndim}
        return {name: parsed(a.item()) if name in texts else a for name, a in arrays.items()}
    if path.suffix == ".npy":
        return {"array": np.load(path, allow_pickle=False)}
    if path.suffix == ".keras":
        assert zipfile.ZipFile(path).testzip() is None
        return None
    if path.suffix == ".csv":
        return read_log(path)
    if path.suffix == ".tfrecord":
        with warnings.catch_warnings(action="error"):
            assert all(True for _ in records.Records([path]))
    if path.suffix in (".json", ".ipynb"):
        value = json.loads(path.read_text("utf-8"))
        return None if path.suffix == ".ipynb" else parsed(json.dumps(value))
    if path.suffix in (".html", ".pdf", ".typ", ".log") or path.name == "errors.md":
        assert path.stat().st_size or path.suffix == ".log"
        return None  # they hold times
    if path.suffix == ".jpg":
        with Image.open(path) as picture:
            picture.load()  # raises where it is cut off
        return None  # pixels hang on the last digits, those on who else is in the batch
    return path.read_bytes()


def parsed(text):
    """Text that may be JSON, without how many `seconds` anything took."""
    try:
        return json.loads(re.sub(r'"seconds": [0-9.]+', '"seconds": 0', text))
    except ValueError:
        return text


def difference(one, other):
    """What two contents differ in, or None; floats by no more than sums in another order do."""
    if one.keys() != other.keys():
        return f"other files: {sorted(one.keys() ^ other.keys())}"
    for name, value in one.items():
        if not isinstance(value, dict) or not isinstance(other[name], dict):
            if value != other[name]:
                return name
        elif value.keys() != other[name].keys():
            return name
        else:
            for key, array in value.items():
                if not same(array, other[name][key]):
                    return f"{name}, {key}"
    return None


def same(one, other):
    if isinstance(one, np.ndarray) and one.dtype.kind == "f":
        return one.shape == other.shape and np.allclose(one, other, 1e-4, 1e-6, equal_nan=True)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return np.isclose(one, other, rtol=1e-4, atol=2e-6)
    return np.array_equal(one, other)


# --- the blows ---


class Trial:
    """A writer, in a folder of its own, and what it leaves when nothing disturbs it.

    Attributes:
        faults: sentences, of whatever was lost.
    """

    def __init__(self, name, folder, seed=0):
        self.name, self.writer, self.folder = name, WRITERS[name], Path(folder)
        self.random, self.faults = random.Random(f"{seed} {name}"), []
        self.folder.mkdir(parents=True)
        inputs = self.folder / "inputs"
        inputs.mkdir()
        self.run = lambda out: self.writer.run(inputs, out)
        self.writer.warm(self.folder)
        # in a fork, too: this process must start nothing
        self.expect(ended(start(lambda out: self.writer.prepare(inputs), inputs)), DONE, inputs)
        out, count, began = self.folder / "undisturbed", self.folder / "count", time.monotonic()
        if self.expect(ended(start(self.run, out, count=count)), DONE, out):
            self.operations, self.undisturbed = int(count.read_text()), contents(out)
        self.seconds = time.monotonic() - began

    def expect(self, status, wanted, out):
        if status != wanted:
            log = Path(f"{out}.log")
            tail = log.read_text("utf-8", errors="replace")[-1500:] if log.exists() else ""
            self.faults.append(
                f"{self.name}, {out.name}: ended with {status}, not {wanted}\n{tail}"
            )
        return status == wanted

    def check(self, out, what):
        """What is on the disk is whole; the rerun works, equals the undisturbed, leaves nothing."""
        before = len(self.faults)
        try:
            if out.exists():
                contents(out)
            if self.expect(ended(start(self.run, out)), DONE, out):
                if found := difference(self.undisturbed, contents(out)):
                    self.faults.append(f"{self.name}, {what}: the rerun differs in {found}")
                if left := remains(out):
                    self.faults.append(f"{self.name}, {what}: left {left}")
        except AssertionError as error:
            self.faults.append(f"{self.name}, {what}: {error}")
        return len(self.faults) == before

    def kill(self, number):
        """One kill -9, and the rerun; returns whether all was well."""
        out = self.folder / f"kill{number}"
        if number % 2:
            moment = self.random.randint(1, self.operations)
            process, what = start(self.run, out, strike=moment), f"killed before {moment}"
        else:
            moment = self.random.uniform(0, self.seconds)
            process, what = start(self.run, out), f"killed after {moment:.3f} s"
            time.sleep(moment)
            os.kill(process, signal.SIGKILL)
        if ended(process) not in (DONE, -signal.SIGKILL):  # it may have been over already
            self.expect(FAILED, DONE, out)
        well = self.check(out, what)
        if well:
            shutil.rmtree(out, ignore_errors=True)
        return well

    def fill(self, number):
        """A disk that is full after some bytes; named, and the rerun goes on when there is room."""
        largest = max(path.stat().st_size for path in self.folder.glob("undisturbed/**/*"))
        limit = int(largest ** self.random.random())
        out = self.folder / f"full{number}"
        status = ended(start(self.run, out, limit=limit))
        if status != DONE:
            self.expect(status, NAMED, out)
        if left := remains(out):
            self.faults.append(f"{self.name}, a full disk: left {left}")
        return self.check(out, f"no file above {limit} bytes")

    def shut(self):
        """A folder that may not be written: named, and nothing is changed. None: not tried."""
        if not self.writer.own:  # it begins with files of the checkout that it writes into
            return None
        out = self.folder / "shut"
        out.mkdir()
        with read_only(out) as possible:
            if not possible:
                return None
            well = self.expect(ended(start(self.run, out)), NAMED, out)
        return well and list(out.iterdir()) == []

    def share(self):
        """Two runs into one folder: the second is refused, or both are whole."""
        out = self.folder / "shared"
        first = start(self.run, out)
        while self.writer.alone and not list(out.rglob(LOCK)):
            if os.waitid(os.P_PID, first, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break
        if self.writer.alone:  # it stops in the middle
            os.kill(first, signal.SIGSTOP)
        second = ended(start(self.run, out))
        os.kill(first, signal.SIGCONT)
        ends = sorted([ended(first), second])  # stopped before it had the lock, it is the second
        if ends != [DONE, IN_USE if self.writer.alone else DONE]:
            self.faults.append(f"{self.name}, two writers: they ended with {ends}")
            return False
        return self.check(out, "two writers")


@contextmanager
def read_only(folder):
    """A folder that nobody may write into, even root, if that can be had; yields whether."""
    if os.geteuid() != 0:
        folder.chmod(0o500)
        try:
            yield True
        finally:
            folder.chmod(0o700)
        return
    mounted = (
        shutil.which("mount")
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)], capture_output=True
        ).returncode
    )
    try:
        yield bool(mounted)
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def strike(name, folder, kills, seed=0):
    """All blows to one writer: a row of the table, and what was lost."""
    began = time.monotonic()
    trial = Trial(name, folder, seed)
    row = {"writer": name}
    if not trial.faults:
        row["kills"] = score(trial.kill(number) for number in range(kills))
        full = max(kills // 5, 1)
        row["full disk"] = (
            score(trial.fill(number) for number in range(full)) if trial.writer.own else "-"
        )
        row["read-only"] = {True: "named", False: "LOST", None: "-"}[trial.shut()]
        row["two writers"] = {True: "refused" if trial.writer.alone else "whole", False: "LOST"}[
            trial.share()
        ]
    row["a run, s"] = f"{trial.seconds:.2f}"
    row["all, s"] = f"{time.monotonic() - began:.0f}"
    return row, trial.faults


def score(results):
    results = list(results)
    return f"{sum(results)} of {len(results)}"


def main(arguments=None):
    """See the top of the file; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("writers", nargs="*", help=f"of {', '.join(WRITERS)}; all if none")
    parser.add_argument("--kills", type=int, default=100, help="of each, 100 by default")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    faults, table = [], csv.writer(sys.stdout, delimiter="|")
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        for name in options.writers or WRITERS:
            row, lost = strike(name, Path(folder) / name, options.kills, options.seed)
            faults += lost
            if name == (options.writers or list(WRITERS))[0]:
                table.writerow(row)
            table.writerow(row.values())
            sys.stdout.flush()
    print("\n".join(["", *faults, f"{len(faults)} faults" if faults else "nothing was lost"]))
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
