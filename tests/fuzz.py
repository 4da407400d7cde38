"""Feed every reader with mutations of small valid files: `make fuzz`, or `python -m tests.fuzz`.

    python -m tests.fuzz                        every reader: 100,000 inputs, or 10 minutes
    python -m tests.fuzz bvh asf --count 1000   these readers, so many inputs
    python -m tests.fuzz bvh --at 12345         one input, with its traceback (--keep FILE)

An input is a function of (seed, reader, index). A reader has to give numbers that are all finite,
or raise one of the errors that it names, and both within 5 s of processor time and 1 GiB of memory;
a warning that is not hmrlib's own counts as a failure, too. Each reader runs in a child process,
which is begun anew behind the input that it died of. Inputs that failed are written to build/fuzz;
once what they show is mended they belong in tests/fuzz_seeds/READER, from where `make test` reads
them again. It is for Linux: it needs `fork` and /proc.
"""

import argparse
import dataclasses
import faulthandler
import gc
import json
import mmap
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
from scipy import sparse

SECONDS, BYTES = 5.0, 2**30
SEEDS = Path(__file__).with_name("fuzz_seeds")
PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")
HUNG = 60  # seconds of wall clock in which the child used no processor


@dataclasses.dataclass
class Tally:
    """What became of the inputs of one reader.

    Attributes:
        tried, accepted, refused: numbers of inputs.
        seconds: of processor time, the slowest; bytes: of memory, the most that one took.
        failures: list of dicts: index, what, where.
    """

    reader: str
    tried: int = 0
    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0
    bytes: int = 0
    failures: list = dataclasses.field(default_factory=list)


def make_input(reader, index, seed=0):
    """Files of one input, {name: bytes}; the first is the one that is mutated.

    Args:
        index: from 0; below 0: the valid files themselves, from -1 on, then what was kept.
    """
    valid = reader.valid()
    if index < 0:
        return [*valid, *(files for _, files in kept(reader))][-1 - index]
    rng = random.Random(f"{seed}/{reader.name}/{index}")
    files, other = dict(rng.choice(valid)), rng.choice(valid)
    name = next(iter(files))
    files[name] = rng.choice(reader.mutations)(rng, files[name], next(iter(other.values())))
    return files


def kept(reader):
    """[(name, files)] of what was found before, from tests/fuzz_seeds."""
    found, valid = [], {}
    for files in reader.valid():
        name = next(iter(files))
        valid.setdefault(Path(name).suffix, (name, files))
    for path in sorted((SEEDS / reader.name).glob("*")):
        name, files = valid[path.suffix]
        found.append((path.name, {**files, name: path.read_bytes()}))
    return found


def verdict(reader, files):
    """What becomes of an input: ("accepted" | "refused" | what went wrong, where)."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        paths = [Path(folder, "files", name) for name in files]
        for path, data in zip(paths, files.values(), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        try:
            bad = not_finite(reader.read(paths[0]))
            found = ("not finite", bad) if bad else ("accepted", "")
        except reader.errors as error:
            found = "refused", type(error).__name__
        except Exception as error:
            return f"{type(error).__name__}: {str(error)[:100]}", _where(error)
    for one in caught:
        own = one.category is UserWarning and "site-packages" not in one.filename
        if not own and not one.category.__module__.startswith("hmrlib"):
            where = f"{Path(one.filename).name}:{one.lineno}"
            return f"{one.category.__name__}: {str(one.message)[:100]}", where
    return found


def _where(error):
    """The last line of hmrlib in a traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "hmrlib" in frame.filename] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"


def not_finite(value, at="", seen=None):
    """Where in what a reader gave a number is that is not finite, or ""."""
    seen = set() if seen is None else seen
    if isinstance(value, str | bytes | int | type(None)) or id(value) in seen:
        return ""
    seen.add(id(value))
    if sparse.issparse(value):
        value = value.data
    if isinstance(value, np.ndarray | np.generic | float) and np.asarray(value).dtype.kind in "fc":
        return "" if np.isfinite(value).all() else at or "it"
    if isinstance(value, np.ndarray):
        items = enumerate(value.ravel().tolist() if value.dtype.kind == "O" else ())
    elif isinstance(value, dict):
        items = value.items()
    elif dataclasses.is_dataclass(value):
        items = vars(value).items()
    elif isinstance(value, list | tuple | set):
        items = zip(getattr(value, "_fields", range(len(value))), value, strict=True)
    else:
        return ""
    found = (not_finite(item, f"{at}.{key}", seen) for key, item in items)
    return next((place for place in found if place), "")


# --- one child after another ---------------------------------------------------------------------

_STATE = struct.Struct("qqqqdq")  # place in the list of inputs, then as in `Tally`


def fuzz(reader, indices, seed=0, minutes=np.inf, keep=None):
    """Read inputs; returns a `Tally`.

    Args:
        indices: of the inputs, see `make_input`.
        minutes: stop after so many.
        keep: folder for the inputs that failed, some of each kind.
    """
    reader.warm()
    tally, seconds = Tally(reader.name), 60 * minutes
    shared, counts = mmap.mmap(-1, _STATE.size), Counter()
    place = 0
    while place < len(indices) and seconds > 0:
        shared[:], began = _STATE.pack(-1, 0, 0, 0, 0.0, 0), time.monotonic()
        with tempfile.TemporaryFile("w+") as log:
            died = _watch(_fork(reader, indices, place, seed, seconds, shared, log), shared)
            place, *numbers = _STATE.unpack(shared[:])
            log.seek(0)
            if place < 0:
                raise RuntimeError(f"{reader.name} does not take valid files: {died} {log.read()}")
            found = [json.loads(line) for line in log]
        seconds -= time.monotonic() - began
        _add(tally, *numbers)
        if died:
            if not found or found[-1]["index"] != indices[place]:
                found.append({"index": indices[place], "what": died, "where": ""})
            tally.tried, place = tally.tried + 1, place + 1
        tally.failures += found
        for failure in found:
            kind = failure["what"].split(":")[0], failure["where"]
            counts[kind] += 1
            if keep and counts[kind] <= 3:
                _keep(keep, reader, failure["index"], seed)
    return tally


def _add(tally, tried, accepted, refused, seconds, most):
    tally.tried, tally.accepted = tally.tried + tried, tally.accepted + accepted
    tally.refused, tally.bytes = tally.refused + refused, max(tally.bytes, most)
    tally.seconds = max(tally.seconds, seconds)


def _fork(reader, indices, place, seed, seconds, shared, log):
    """A child that reads inputs until it is done, out of time, or dead."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the engines' threads are idle
        child = os.fork()
    if child:
        return child
    try:
        gc.freeze()  # what the parent holds: to look through it would count as a reader's time
        faulthandler.disable()  # pytest's; what dies here is reported by `_watch`
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        _read_all(reader, indices, place, seed, seconds, shared, log)
    except BaseException as error:
        at = _STATE.unpack(shared[:])[0]
        line = {"index": indices[at], "what": f"stopped the process: {error!r}", "where": ""}
        print(traceback.format_exc() if at < 0 else json.dumps(line), file=log, flush=True)
        os._exit(1)
    os._exit(0)


def _engine_runs():
    module = sys.modules.get("tensorflow.python.eager.context")
    context = module and module.context_safe()
    return bool(context) and context._initialized


def _read_all(reader, indices, place, seed, seconds, shared, log):
    for number in range(len(reader.valid())):  # engines start; what is valid has to be taken
        found = verdict(reader, make_input(reader, -1 - number))
        if found[0] != "accepted":
            raise AssertionError(f"valid file {number} of {reader.name}: {found}")
    tried = accepted = refused = slowest = most = 0
    until = time.monotonic() + seconds
    while place < len(indices) and time.monotonic() < until:
        shared[:] = _STATE.pack(place, tried, accepted, refused, slowest, most)
        files, before, began = make_input(reader, indices[place], seed), _memory(), _processor()
        what, where = verdict(reader, files)
        used, took = _processor() - began, _memory("VmHWM") - before
        tried, accepted = tried + 1, accepted + (what == "accepted")
        refused += what == "refused"
        slowest, most = max(slowest, used), max(most, took)
        for fault in _faults(what, used, took):
            line = {"index": indices[place], "what": fault, "where": where}
            print(json.dumps(line), file=log, flush=True)
        place += 1
    shared[:] = _STATE.pack(place, tried, accepted, refused, slowest, most)


def _faults(what, seconds, took):
    faults = [] if what in ("accepted", "refused") else [what]
    faults += [f"{seconds:.1f} s of processor time"] if seconds > SECONDS else []
    return faults + ([f"{took / 2**20:.0f} MiB of memory"] if took > BYTES else [])


def _processor():
    """Seconds that this process and its finished children have computed."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def _memory(entry="VmRSS"):
    """Bytes in memory now, from where on "VmHWM" is the most."""
    if entry == "VmRSS":
        Path("/proc/self/clear_refs").write_text("5")
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(entry):
            return int(line.split()[1]) * 1024
    raise AssertionError(entry)


def _watch(child, shared):
    """Wait for the child's end, or bring it about; says what it died of, or None."""
    index, began, at, base = None, 0.0, 0.0, 0
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        now, (used, memory) = _STATE.unpack(shared[:])[0], _usage(child)
        if now != index:
            index, began, at, base = now, used, time.monotonic(), memory
        fault = None
        if used - began > 2 * SECONDS:
            fault = f"more than {2 * SECONDS:g} s of processor time"
        elif memory - base > 2 * BYTES:
            fault = f"more than {2 * BYTES / 2**20:.0f} MiB of memory"
        elif time.monotonic() - at > HUNG + 20 * (used - began):
            fault = "hangs"
        if fault and now >= 0:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return fault
        time.sleep(0.05)
    if os.WIFSIGNALED(status):
        return f"died of {signal.Signals(os.WTERMSIG(status)).name}"
    return "stopped the process" if os.WEXITSTATUS(status) else None


def _usage(pid):
    """Seconds of processor time and bytes of memory of a process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0, 0
    return sum(map(int, fields[11:15])) / TICK, int(fields[21]) * PAGE


def _keep(folder, reader, index, seed):
    """Write an input's changed file."""
    name, data = next(iter(make_input(reader, index, seed).items()))
    path = Path(folder, reader.name, f"{index}{Path(name).suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


# --- the table -----------------------------------------------------------------------------------


def row(tally):
    return (
        f"| {tally.reader:<14} | {tally.tried:>7,} | {tally.accepted:>8,} | {tally.refused:>7,} | "
        f"{len(tally.failures):>8,} | {tally.seconds:>9.2f} | {tally.bytes / 2**20:>9.0f} |"
    )


HEAD = (
    "| reader         |   tried | accepted | refused | failures | slowest s | most MiB |\n"
    "|:---------------|--------:|---------:|--------:|---------:|----------:|----------:|"
)


def kinds(tally):
    """The failures, gathered: lines of text."""
    groups = {}
    for failure in tally.failures:
        groups.setdefault((failure["what"].split(":")[0], failure["where"]), []).append(failure)
    return [
        f"  {tally.reader} {failures[0]['what']} ({where}): {len(failures)} times, --at "
        + " ".join(str(failure["index"]) for failure in failures[:3])
        for (_, where), failures in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]


def main(arguments=None):
    from tests.fuzz_readers import READERS

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.split(":")[0])
    parser.add_argument("readers", nargs="*", metavar="READER", help=", ".join(READERS))
    parser.add_argument("--count", type=int, default=100_000, help="inputs a reader")
    parser.add_argument("--few", action="store_true", help="as few inputs as `make test` reads")
    parser.add_argument("--minutes", type=float, default=10.0, help="at most, a reader")
    parser.add_argument("--first", type=int, default=0, help="index of the first input")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other inputs")
    parser.add_argument(
        "--at", type=int, help="read this input alone, here, and show its traceback"
    )
    parser.add_argument("--keep", type=Path, help="with --at: write the input to this file")
    parser.add_argument("--json", type=Path, help="write the tallies to this file, too")
    options = parser.parse_args(arguments)
    if unknown := set(options.readers) - set(READERS):
        parser.error(f"no reader {', '.join(unknown)}")
    chosen = [READERS[name] for name in options.readers or READERS]
    if options.at is not None:
        return _one(chosen[0], options)
    for reader in chosen:
        reader.warm()
        if _engine_runs():  # a child would have none of its threads, and wait for them for ever
            parser.error(f"{reader.name} starts TensorFlow before there is a child to read")
    print(HEAD, flush=True)
    tallies = []
    for reader in chosen:
        known = range(-len(reader.valid()) - len(kept(reader)), -len(reader.valid()))
        count = reader.few if options.few else options.count
        indices = [*known, *range(options.first, options.first + count)]
        tallies.append(fuzz(reader, indices, options.seed, options.minutes, "build/fuzz"))
        print("\n".join([row(tallies[-1]), *kinds(tallies[-1])]), flush=True)
    if options.json:
        options.json.write_text(json.dumps([dataclasses.asdict(tally) for tally in tallies]))
    return int(any(tally.failures for tally in tallies))


def _one(reader, options):
    files = make_input(reader, options.at, options.seed)
    name, data = next(iter(files.items()))
    if options.keep:
        options.keep.write_bytes(data)
    print(f"{name}, {len(data)} bytes: {data[:200]!r}")
    with tempfile.TemporaryDirectory() as folder:
        for each, content in files.items():
            Path(folder, each).parent.mkdir(parents=True, exist_ok=True)
            Path(folder, each).write_bytes(content)
        try:
            print(f"not finite: {not_finite(reader.read(Path(folder, name))) or 'nothing'}")
        except Exception:
            traceback.print_exc()
    return 0


if __name__ == "__main__":
    sys.exit(main())
