"""Every reader against mutated files, and against those that once broke it; see `tests.fuzz`."""

import copy
import json
import mmap
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT

pytest.importorskip("resource", reason="needs limits as Unix has them")
if not Path("/proc/self/clear_refs").exists():
    pytest.skip("needs /proc, as Linux has it", allow_module_level=True)

from tests import fuzz, fuzz_mutations
from tests.fuzz_readers import READERS, Reader

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tallies(tmp_path_factory):
    """Reader's name -> `Tally` as a dict, made by a process that may fork: no engine runs in it."""
    path = tmp_path_factory.mktemp("fuzz") / "tallies.json"
    command = [sys.executable, "-m", "tests.fuzz", "--few", "--minutes", "600", "--json", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert path.exists(), done.stderr[-2000:]
    return {tally["reader"]: tally for tally in json.loads(path.read_text())}


@pytest.mark.parametrize("name", READERS)
def test_a_changed_file_is_read_or_refused_by_name(tallies, name):
    tally = tallies[name]
    assert not tally["failures"], "\n".join(fuzz.kinds(fuzz.Tally(**tally)))
    assert tally["accepted"] + tally["refused"] == tally["tried"] >= READERS[name].few


# --- the harness itself: what it has to notice ---------------------------------------------------


class Named(ValueError):
    """What a reader of these tests may raise."""


def _busy(seconds=np.inf):
    began = time.process_time()
    while time.process_time() < began + seconds:
        pass


def _fill(size):
    """Use so many bytes that are new to the process; malloc might give some that it had before."""
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for page in range(0, size, mmap.PAGESIZE):
            memory[page] = 1


def _warn():
    warnings.warn("this is not our own", RuntimeWarning, stacklevel=1)


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (lambda: {}["key"], "KeyError"),
        (lambda: {"a": [1.0, np.array([1, np.nan])]}, "not finite"),
        (lambda: _fill(3 * 2**24), "MiB of memory"),  # at twice the limit the parent steps in
        (lambda: _busy(0.12), "s of processor time"),
        (_busy, "more than 0.2 s of processor time"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "died of SIGSEGV"),
        (lambda: sys.exit(1), "stopped the process"),
        (_warn, "RuntimeWarning: this is not our own"),
    ],
)
def test_it_notices(monkeypatch, fault, what):
    # each limit alone, so that a busy machine is not taken for a second fault
    limit = {"memory": ("BYTES", 2**25), "time": ("SECONDS", 0.1)}.get(what.split()[-1])
    if limit:
        monkeypatch.setattr(fuzz, *limit)

    def read(path):
        size = path.stat().st_size
        if size > 4:
            raise Named(size)
        return fault() if size < 4 else 1.0

    reader = Reader("broken", lambda: [{"a.txt": b"0000"}], (fuzz_mutations.of_bytes,), read, ())
    monkeypatch.setattr(Reader, "errors", (Named,))
    tally = fuzz.fuzz(reader, range(12))
    sizes = [len(fuzz.make_input(reader, index)["a.txt"]) for index in range(12)]
    small = [index for index, size in enumerate(sizes) if size < 4]
    assert small and {failure["index"] for failure in tally.failures} == set(small)
    assert all(what in failure["what"] for failure in tally.failures)
    assert tally.tried == 12 and tally.refused == sum(size > 4 for size in sizes)


@pytest.mark.parametrize("name", ["bvh", "coco", "amass", "body_pkl", "lsp", "shard", "picture"])
def test_an_input_is_a_function_of_seed_reader_and_index(name):
    reader = READERS[name]
    first = [fuzz.make_input(reader, index) for index in range(20)]
    assert first == [fuzz.make_input(reader, index) for index in range(20)]
    assert first != [fuzz.make_input(reader, index, seed=1) for index in range(20)]
    assert len({next(iter(files.values())) for files in first}) > 10


def test_an_input_does_not_hang_on_those_before_it():
    rng, values = random.Random(0), copy.deepcopy(fuzz_mutations.VALUES)
    for _ in range(500):
        fuzz_mutations.of_tree(rng, {"a": [{"b": 1, "c": [2, 3]}], "d": {"e": "f"}})
    assert values == fuzz_mutations.VALUES
