"""Run the notebooks, each in a folder of its own; and the viewers in a browser."""

import ast
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import hmrlib
from hmrlib.io import commit_of, extra, locked
from hmrlib.report.build import build
from hmrlib.report.figures import encoded, keep_figure, keep_record
from hmrlib.report.store import BROWSER, PLAY, ReportError, as_json, collect, read_json, write

PATIENCE = 3600  # seconds that a kernel may take to start, or to hand over a cell's last output
ANSI_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# A kernel that writes what its libraries say past Python (TensorFlow's greetings) into a file, its
# first argument, and not into the notebook. Errors of Python are in the notebook all the same.
LAUNCH = """
import os, runpy, sys
os.dup2(os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT), 2)
sys.argv.append("--IPKernelApp.capture_fd_output=False")
runpy.run_module("ipykernel_launcher", run_name="__main__")
"""


class NotebookError(RuntimeError):
    """Notebooks failed; the message says which, and where the executed ones are kept."""


def run(root=".", setting="fast", only=None, force=False):
    """Execute the notebooks, gather what they saved, build the report.

    A notebook that fails keeps no other from running, nor the report from being built: there, what
    it was to save is marked as missing.

    Args:
        root: the checkout, the folder that has notebooks/ and report/.
        setting: "fast" or "full", the name of a file in notebooks/params.
        only: a notebook's name, or "browser" (see `photograph`); the others keep the figures and
            numbers of their last run.
        force: run notebooks again that nothing has changed for.

    Returns:
        The paths of the documents, HTML and PDF of each.

    Raises:
        ReportError: something does not fit together; nothing has been written by then.
        NotebookError: notebooks failed; the report has been built without what they save, and the
            finished ones are kept for the next run.
    """
    folders, failures = {}, {}
    if only != BROWSER:
        folders, failures = execute(root, setting, only, force)
    if only in (None, BROWSER):
        try:
            folders |= photograph(root, setting, force)
        except NotebookError as error:
            failures[BROWSER] = _tell(BROWSER, error)
    collect(root, folders, failures)
    documents = build(root)
    if failures:
        listed = "\n\n".join(failures.values())
        raise NotebookError(
            f"{len(failures)} of {len(folders) + len(failures)} failed: {', '.join(failures)}. "
            "What they save is marked as missing in\n"
            + "\n".join(map(str, documents))
            + f"\n\n{listed}"
        )
    return documents


def _tell(name, error):
    """Show at once why a notebook failed; returns the end of it, for the end of the run."""
    print(f"\n{error}\n", file=sys.stderr)
    return str(error).rstrip().rpartition("\n\n")[2]


def execute(root=".", setting="fast", only=None, force=False):
    """Run the notebooks in order, in `setting`, skipping those that nothing has changed for.

    Returns:
        folders: a dict from the name of each notebook that finished to the folder of what it left;
        failures: a dict from the name of each that failed to what it failed of, and where it lies.

    Raises:
        ReportError: no such notebook or setting, or parameters that do not fit.
    """
    from tqdm import tqdm

    root = Path(root).resolve()
    plan = load_parameters(root, setting)
    if only is not None:
        if only not in plan:
            raise ReportError(f"no notebook named {only}: there are {', '.join(plan)}")
        plan = {only: plan[only]}
    on_screen = sys.stderr.isatty()
    folders, failures = {}, {}
    home = root / "build" / "report" / setting
    progress = tqdm(plan.items(), unit="notebook", disable=not on_screen)
    with locked(home), progress:
        for name, parameters in progress:
            folder = home / name
            _recover(folder)
            before = read_json(folder / "run.json")
            inputs = _fingerprint(root, name, parameters)
            if not force and before.get("inputs") == inputs:
                progress.write(f"{name}: nothing has changed, kept", file=sys.stderr)
                folders[name] = folder
                continue
            expected = f", about {before['seconds']:.0f} s" if before else ""
            progress.write(f"{name}: running in the {setting} setting{expected}", file=sys.stderr)
            began = _Began(time.monotonic(), *commit_of(root))
            try:
                running = _run_notebook(root, name, parameters, folder, on_screen)
            except NotebookError as error:
                failures[name] = _tell(name, error)
                continue
            record = _finish(running, folder, setting, parameters, began, inputs)
            folders[name] = folder
            progress.write(f"{name}: done in {record['seconds']:.0f} s", file=sys.stderr)
    return folders, failures


def photograph(root=".", setting="fast", force=False):
    """Use the viewers in a real browser; what it shows is kept as of a notebook named "browser".

    Skipped when nothing has changed. Without a browser, or without the notebook that it opens, the
    figures of the last run stay as they are.

    Returns:
        A dict from "browser" to the folder of what it left; {} if it could not run.

    Raises:
        NotebookError: a viewer did not do what it should.
    """
    from hmrlib.viewing import browser

    root = Path(root).resolve()
    notebook = root / "notebooks" / f"{PLAY}.ipynb"
    if not notebook.exists():
        return {}
    if lack := browser.missing():
        print(f"{BROWSER}: its figures stay as they are; {lack}", file=sys.stderr)
        return {}
    home = root / "build" / "report" / setting
    with locked(home):
        return _photograph(root, setting, home / BROWSER, force)


def _photograph(root, setting, folder, force):
    """See `photograph`; `folder` is where what it leaves goes."""
    from PIL import Image

    from hmrlib.viewing import browser

    _recover(folder)
    before = read_json(folder / "run.json")
    inputs = _fingerprint(root, PLAY, {})
    if not force and before.get("inputs") == inputs:
        print(f"{BROWSER}: nothing has changed, kept", file=sys.stderr)
        return {BROWSER: folder}
    print(f"{BROWSER}: opening the viewers, about a minute or two", file=sys.stderr)
    running = _new_running(folder)
    began = _Began(time.monotonic(), *commit_of(root))
    try:
        pictures, numbers = browser.photograph(root / "notebooks")
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise NotebookError(f"{error}\n\n{BROWSER} failed: {reason}") from error
    for name, (png, caption) in pictures.items():
        image = Image.open(io.BytesIO(png), formats=["PNG"]).convert("RGB")
        keep_figure(running, name, *encoded(name, image, "png"), caption)
    for name, (value, unit, note) in numbers.items():
        record = {"value": float(value), "unit": unit, "digits": 2, "note": note}
        keep_record(running, "number", name, record)
    _finish(running, folder, setting, {}, began, inputs)
    return {BROWSER: folder}


def _new_running(folder):
    """A folder to run in, of a new name: a kernel outlives a killed run, and writes, for a while.

    It gets the name `folder` by `_take_place` when it has its run.json, and so all.
    """
    running = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.running")
    running.mkdir(parents=True)
    return running


class _Began(NamedTuple):
    """When a run began, by `time.monotonic`; on which commit, and whether nothing was changed."""

    time: float
    commit: str | None
    clean: bool


def _finish(running, folder, setting, parameters, began, inputs):
    """Write a run's record, which is returned, and let the run take its place."""
    record = {
        "setting": setting,
        "parameters": parameters,
        "seconds": round(time.monotonic() - began.time, 1),
        "commit": began.commit,
        "clean": began.clean,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "inputs": inputs,
    }
    write(running / "run.json", as_json(record))
    _take_place(running, folder)
    return record


def _take_place(running, folder):
    shutil.rmtree(folder, ignore_errors=True)
    running.rename(folder)


def _recover(folder):
    """Let a run take its place that had finished when it was killed; remove the others' remains."""
    for running in folder.parent.glob(f"{folder.name}.*running"):
        if (running / "run.json").exists():
            _take_place(running, folder)
        else:
            shutil.rmtree(running, ignore_errors=True)


def load_parameters(root, setting):
    """The parameters of every notebook in a setting: a dict of dicts, in the notebooks' order.

    notebooks/params/SETTING.yml maps a notebook's name to its parameters; those under `common` go
    to every notebook that declares them. Papermill only warns of a parameter that a notebook does
    not declare, and then the run is not the one that was asked for: here it is an error.
    """
    import yaml

    root = Path(root)
    notebooks = {path.stem: path for path in sorted(root.glob("notebooks/[0-9][0-9]_*.ipynb"))}
    path = root / "notebooks" / "params" / f"{setting}.yml"
    if not notebooks or not path.exists():
        raise ReportError(
            f"{root} has no notebooks/NN_NAME.ipynb or no notebooks/params/{setting}.yml: "
            "run this in a checkout of hmrlib"
        )
    given = yaml.safe_load(path.read_text("utf-8")) or {}
    common = given.pop("common", None) or {}
    if unknown := given.keys() - notebooks.keys():
        raise ReportError(f"{path.name} names no existing notebook: {', '.join(sorted(unknown))}")
    declared = {name: declared_parameters(notebook) for name, notebook in notebooks.items()}
    if unknown := common.keys() - set().union(*declared.values()):
        raise ReportError(f"{path.name}: no notebook declares {', '.join(sorted(unknown))}")
    plan = {}
    for name in notebooks:
        own = given.get(name) or {}
        if unknown := own.keys() - declared[name]:
            raise ReportError(
                f"{path.name}: {name} does not declare {', '.join(sorted(unknown))}; its cell "
                f"tagged 'parameters' has {', '.join(sorted(declared[name])) or 'nothing'}"
            )
        plan[name] = {key: common[key] for key in common if key in declared[name]} | own
    return plan


def declared_parameters(notebook):
    """The set of names that a notebook's cell tagged `parameters` assigns."""
    cells = json.loads(Path(notebook).read_text("utf-8"))["cells"]
    source = "\n".join(
        "".join(cell["source"])
        for cell in cells
        if "parameters" in cell["metadata"].get("tags", [])
    )
    targets = []
    for node in ast.parse(source).body:
        targets += node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _run_notebook(root, name, parameters, folder, on_screen):
    """Run one notebook in a folder of its own, which is returned and not yet `folder`."""
    with extra("notebooks"):
        import papermill
        from papermill.exceptions import PapermillExecutionError

    running, failed = _new_running(folder), folder.with_suffix(".failed")
    shutil.rmtree(failed, ignore_errors=True)
    try:
        with _kernel_of_this_python(running):
            papermill.execute_notebook(
                root / "notebooks" / f"{name}.ipynb",
                running / f"{name}.ipynb",
                parameters,
                kernel_name="python3",
                language="python",
                cwd=root / "notebooks",
                progress_bar={"desc": name, "leave": False} if on_screen else False,
                start_timeout=PATIENCE,
                iopub_timeout=PATIENCE,
                store_widget_state=False,  # megabytes that no one looks at
            )
    except (PapermillExecutionError, RuntimeError) as error:  # the latter of a kernel that died
        running.rename(failed)
        text = ANSI_COLOUR.sub("", str(error)).strip()
        raise NotebookError(
            f"{text}\n\n{name} failed: {text.splitlines()[-1]}\n"
            f"It is kept, up to the cell that failed and with its traceback, as\n"
            f"{failed / name}.ipynb"
        ) from error
    return running


@contextmanager
def _kernel_of_this_python(folder):
    """Make "python3" the name of a kernel of the very Python that runs this, in a clean state.

    Whatever kernels, IPython start-up files and Keras settings the user has stay out of the run.
    """
    before = os.environ.get("JUPYTER_PATH")
    with tempfile.TemporaryDirectory() as home:
        kernel = Path(home, "kernels", "python3")
        kernel.mkdir(parents=True)
        options = ["-f", "{connection_file}", "--IPKernelApp.log_level=CRITICAL"]
        spec = {
            "argv": [sys.executable, "-c", LAUNCH, str(folder / "kernel.log"), *options],
            "display_name": "Python 3",
            "language": "python",
            "env": {
                "HMR_REPORT_DIR": str(folder),
                "IPYTHONDIR": home,
                "KERAS_BACKEND": _keras_backend(),
                "MPLBACKEND": "module://matplotlib_inline.backend_inline",
                "PYTHONHASHSEED": "0",
                "TQDM_DISABLE": "1",  # no one watches, and bars are no results
            },
        }
        (kernel / "kernel.json").write_text(json.dumps(spec), "utf-8")
        os.environ["JUPYTER_PATH"] = home
        try:
            yield
        finally:
            if before is None:
                del os.environ["JUPYTER_PATH"]
            else:
                os.environ["JUPYTER_PATH"] = before


def _fingerprint(root, name, parameters):
    """A hash of all that a notebook's results depend on."""
    package = Path(hmrlib.__file__).parent
    files = [root / "notebooks" / f"{name}.ipynb", root / "requirements.lock"]
    files += [path for path in package.rglob("*") if "__pycache__" not in path.parts]
    digest = hashlib.sha256()
    for path in sorted(path for path in files if path.is_file()):
        digest.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    environment = [_keras_backend(), os.environ.get("HMR_BODY")]
    digest.update(json.dumps([parameters, environment, sys.version], sort_keys=True).encode())
    return digest.hexdigest()


def _keras_backend():
    return os.environ.get("KERAS_BACKEND", "tensorflow")
