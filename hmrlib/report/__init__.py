"""Notebooks in, report out.

In a notebook, `save_figure` and `save_number` hand a result to the report under a name.
`hmr report` runs the notebooks (`execute`), gathers what they saved (`collect`) and sets the
report's text around it (`build`):

    notebooks/01_NAME.ipynb, params/fast.yml  ->  build/report/fast/01_NAME/
    build/report/fast/*/                      ->  figures/*.png, figures/manifest.json,
                                                  report/numbers.json
    report/report.md and those                ->  report/hmrlib.html, report/hmrlib.pdf
    the open body                             ->  report/play.html, a page with a live viewer

A notebook's folder in build/ appears, complete, when the notebook has finished; the next run skips
the notebook while nothing that it depends on has changed. One that fails is kept as NAME.failed/;
the others run all the same, and the report says what is missing.
"""

import ast
import hashlib
import io
import json
import numbers
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import hmrlib
from hmrlib.io import atomic_write, commit_of, locked

BROWSER = "browser"  # the run that no notebook makes: see `photograph`
PLAY = "11_play"  # the notebook that it opens
MAX_FIGURE_BYTES = 300_000
PATIENCE = 3600  # seconds that a kernel may take to start, or to hand over a cell's last output
DPI = 200  # of matplotlib figures; 6.5 inches give 1300 pixels, sharp on paper and screen

NAME = re.compile(r"[a-z][a-z0-9_]*")
ANSI_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
PLACEHOLDER = re.compile(r"\{\{ *(\w+): *(\w+)(?: +(\d+%))? *\}\}")
# A kernel that writes what its libraries say past Python (TensorFlow's greetings) into a file, its
# first argument, and not into the notebook. Errors of Python are in the notebook all the same.
LAUNCH = """
import os, runpy, sys
os.dup2(os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT), 2)
sys.argv.append("--IPKernelApp.capture_fd_output=False")
runpy.run_module("ipykernel_launcher", run_name="__main__")
"""


class ReportError(ValueError):
    """Notebooks, parameters, figures, numbers or the report's text don't fit together."""


class NotebookError(RuntimeError):
    """Notebooks failed; the message says which, and where the executed ones are kept."""


# --- in a notebook ---


def save_figure(name, figure, caption, format="png"):
    """Hand a figure to the report under `name`. Outside a report run it only checks its input.

    PNGs are kept below 300 kB: first losslessly, then with a palette of 256 colours, then smaller.

    Args:
        name: lower-case letters, digits and underscores; no other figure may have it.
        figure: a matplotlib Figure, or an image (H, W), (H, W, 3) or (H, W, 4): uint8, or
            floats in 0..1.
        caption: Markdown; a sentence that says what to see.
        format: "png"; "jpg" for photographs; or "svg" for a matplotlib figure made of lines.

    Returns:
        None for a Figure, which matplotlib shows by itself; a PIL image for an image, so that the
        notebook shows it when the call is the last line of its cell.

    Raises:
        ReportError: a bad or repeated name, no caption, not an image, or too large a file.
    """
    _check_name(name)
    if not caption.strip():
        raise ReportError(f"figure {name}: the caption is empty")
    if format not in ("png", "jpg", "svg"):
        raise ReportError(f"figure {name}: format must be 'png', 'jpg' or 'svg', found {format!r}")
    is_matplotlib = hasattr(figure, "savefig")
    if format == "svg" and not is_matplotlib:
        raise ReportError(f"figure {name}: only a matplotlib Figure can be saved as svg")
    shown = None if is_matplotlib else _image(name, figure)
    folder = os.environ.get("HMR_REPORT_DIR")
    if folder:
        if format == "svg":
            data, size = _svg(name, figure)
        else:
            data, size = ENCODERS[format](name, _draw(figure) if is_matplotlib else shown)
        if len(data) > MAX_FIGURE_BYTES:
            raise ReportError(f"figure {name}: {len(data)} bytes, more than {MAX_FIGURE_BYTES}")
        file = f"{name}.{format}"
        _record(folder, "figure", name, {"file": file, "caption": caption.strip(), "size": size})
        _write(Path(folder) / file, data)
    return shown


def save_number(name, value, unit="", digits=2, note=""):
    """Print a number and hand it to the report under `name`.

    Args:
        name: lower-case letters, digits and underscores; no other number may have it.
        value: a finite real number, or an array or tensor of one.
        unit: "mm", "%", "ms", ...; "" for a count or a ratio.
        digits: decimals to print; integers are printed without.
        note: how it was measured, where the name does not say it.

    Raises:
        ReportError: a bad or repeated name, or not a finite number.
    """
    _check_name(name)
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise ReportError(f"number {name}: expected one finite number, found {value!r}")
    value = array.item()
    record = {"value": value, "unit": unit, "digits": digits, "note": note}
    print(f"{name} = {format_number(record)}" + (f" ({note})" if note else ""))
    folder = os.environ.get("HMR_REPORT_DIR")
    if folder:
        _record(folder, "number", name, record)


def format_number(record, unit=True):
    """A number's record as text: "13,776", "3.66 mm", "97.4 %" (with no-break spaces)."""
    digits = 0 if isinstance(record["value"], numbers.Integral) else record["digits"]
    text = f"{record['value']:,.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return f"{text}\N{NO-BREAK SPACE}{record['unit']}" if unit and record["unit"] else text


def _check_name(name):
    if not NAME.fullmatch(name):
        raise ReportError(f"{name!r} is no name: use lower-case letters, digits and underscores")


def _record(folder, kind, name, record):
    """Leave the record of a figure or a number in the notebook's folder."""
    path = Path(folder) / f"{name}.{kind}.json"
    if path.exists():
        raise ReportError(f"this notebook has saved a {kind} named {name} already")
    _write(path, _json(record))


def _image(name, array):
    """A PIL image of (H, W), (H, W, 3) or (H, W, 4); uint8, or floats in 0..1."""
    from PIL import Image

    array = np.asarray(array)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise ReportError(
            f"figure {name}: expected (H, W), (H, W, 3) or (H, W, 4), found {array.shape}"
        )
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ReportError(f"figure {name}: floats must be finite and in 0..1")
        array = np.round(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise ReportError(f"figure {name}: expected uint8 or floats in 0..1, found {array.dtype}")
    return Image.fromarray(array)


def _draw(figure):
    """A matplotlib figure as a PIL image."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    image = Image.open(buffer, formats=["PNG"])
    opaque = image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255)
    return image.convert("RGB") if opaque else image


def _png(name, image):
    """The PNG's bytes, and its (width, height) in pixels."""
    from PIL import Image

    for scale in (1.0, 0.8, 0.64, 0.5):
        size = tuple(round(scale * length) for length in image.size)
        resized = image if scale == 1 else image.resize(size, Image.Resampling.LANCZOS)
        for candidate in (resized, resized.quantize(256)):
            buffer = io.BytesIO()
            candidate.save(buffer, format="png", optimize=True)
            if buffer.tell() <= MAX_FIGURE_BYTES:
                return buffer.getvalue(), size
    raise ReportError(f"figure {name}: cannot be brought below {MAX_FIGURE_BYTES} bytes as a PNG")


def _open_image(data):
    """A PIL image from the bytes of a PNG."""
    from PIL import Image

    return Image.open(io.BytesIO(data), formats=["PNG"]).convert("RGB")


def _jpg(name, image):
    """The JPEG's bytes, and its (width, height) in pixels."""
    from PIL import Image

    for scale in (1.0, 0.8, 0.64, 0.5):
        size = tuple(round(scale * length) for length in image.size)
        resized = image if scale == 1 else image.resize(size, Image.Resampling.LANCZOS)
        for quality in (92, 84):
            buffer = io.BytesIO()
            resized.convert("RGB").save(buffer, format="jpeg", quality=quality)
            if buffer.tell() <= MAX_FIGURE_BYTES:
                return buffer.getvalue(), size
    raise ReportError(f"figure {name}: cannot be brought below {MAX_FIGURE_BYTES} bytes as a JPEG")


ENCODERS = {"png": _png, "jpg": _jpg}


def _svg(name, figure):
    """The SVG's bytes, the same at every run, and its (width, height) in points."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue(), [round(72 * inches) for inches in figure.get_size_inches()]


# --- running the notebooks ---


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
        The paths of the HTML and of the PDF.

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
    html, pdf = build(root)
    if failures:
        listed = "\n\n".join(failures.values())
        raise NotebookError(
            f"{len(failures)} of {len(folders) + len(failures)} failed: {', '.join(failures)}. "
            f"What they save is marked as missing in\n{html}\n{pdf}\n\n{listed}"
        )
    return html, pdf


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
            before = _read_json(folder / "run.json")
            inputs = _fingerprint(root, name, parameters)
            if not force and before.get("inputs") == inputs:
                progress.write(f"{name}: nothing has changed, kept", file=sys.stderr)
                folders[name] = folder
                continue
            expected = f", about {before['seconds']:.0f} s" if before else ""
            progress.write(f"{name}: running in the {setting} setting{expected}", file=sys.stderr)
            commit, clean = commit_of(root)
            start = time.monotonic()
            try:
                running = _run_notebook(root, name, parameters, folder, on_screen)
            except NotebookError as error:
                failures[name] = _tell(name, error)
                continue
            record = {
                "setting": setting,
                "parameters": parameters,
                "seconds": round(time.monotonic() - start, 1),
                "commit": commit,
                "clean": clean,
                "inputs": inputs,
            }
            _write(running / "run.json", _json(record))
            _take_place(running, folder)
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
    from hmrlib.viewing import browser

    _recover(folder)
    before = _read_json(folder / "run.json")
    inputs = _fingerprint(root, PLAY, {})
    if not force and before.get("inputs") == inputs:
        print(f"{BROWSER}: nothing has changed, kept", file=sys.stderr)
        return {BROWSER: folder}
    print(f"{BROWSER}: opening the viewers, about a minute or two", file=sys.stderr)
    running = _new_running(folder)
    commit, clean = commit_of(root)
    start = time.monotonic()
    try:
        pictures, numbers = browser.photograph(root / "notebooks")
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise NotebookError(f"{error}\n\n{BROWSER} failed: {reason}") from error
    for name, (png, caption) in pictures.items():
        data, size = _png(name, _open_image(png))
        _record(running, "figure", name, {"file": f"{name}.png", "caption": caption, "size": size})
        _write(running / f"{name}.png", data)
    for name, (value, unit, note) in numbers.items():
        record = {"value": float(value), "unit": unit, "digits": 2, "note": note}
        _record(running, "number", name, record)
    record = {
        "setting": setting,
        "parameters": {},
        "seconds": round(time.monotonic() - start, 1),
        "commit": commit,
        "clean": clean,
        "inputs": inputs,
    }
    _write(running / "run.json", _json(record))
    _take_place(running, folder)
    return {BROWSER: folder}


def _new_running(folder):
    """A folder to run in, of a new name: a kernel outlives a killed run, and writes, for a while.

    It gets the name `folder` by `_take_place` when it has its run.json, and so all.
    """
    running = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.running")
    running.mkdir(parents=True)
    return running


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


# --- gathering what they saved ---


def collect(root, folders, failures=()):
    """Write figures/, figures/manifest.json and report/numbers.json from finished notebooks.

    Notebooks that are not among `folders` keep the figures and numbers of their last run, as long
    as they exist; those of notebooks that failed are kept as well, but the manifest says that these
    failed. A figure of the old manifest that no notebook has saved since is removed.

    Args:
        root: the checkout.
        folders: what `execute` returned; failures: names of notebooks that failed.

    Raises:
        ReportError: two notebooks have saved a figure or a number under one name.
    """
    root = Path(root).resolve()
    old = _read_json(root / "figures" / "manifest.json")
    kept = {
        name: record
        for name, record in old.get("notebooks", {}).items()
        if name not in folders and (root / "notebooks" / f"{_source(name)}.ipynb").exists()
    }
    runs = kept | {name: _read_json(folder / "run.json") for name, folder in folders.items()}
    runs |= {name: {"failed": True} for name in failures}
    for record in runs.values():
        record.pop("inputs", None)  # of use to the next run alone
    old_numbers = _read_json(root / "report" / "numbers.json")
    figures = {k: v for k, v in old.get("figures", {}).items() if v["notebook"] in kept}
    values = {k: v for k, v in old_numbers.items() if v["notebook"] in kept}
    images = {}
    for notebook, folder in folders.items():
        for path in sorted(folder.glob("*.figure.json")):
            record = {"notebook": notebook} | _read_json(path)
            data = images[record["file"]] = (folder / record["file"]).read_bytes()
            record["sha256"] = hashlib.sha256(data).hexdigest()
            _add(figures, "figure", path, record)
        for path in sorted(folder.glob("*.number.json")):
            _add(values, "number", path, {"notebook": notebook} | _read_json(path))

    for file, data in images.items():
        _write(root / "figures" / file, data)
    files = {record["file"] for record in figures.values()}
    for record in old.get("figures", {}).values():
        stale = root / "figures" / record["file"]
        if record["file"] not in files and stale.exists():
            print(f"removed figures/{stale.name}, which no notebook saves any more")
            stale.unlink()
    manifest = {"notebooks": _sorted(runs), "figures": _sorted(figures)}
    _write(root / "figures" / "manifest.json", _json(manifest))
    _write(root / "report" / "numbers.json", _json(_sorted(values)))


def _source(name):
    """The notebook that a run of this name opens."""
    return PLAY if name == BROWSER else name


def _add(records, kind, path, record):
    name = path.name.split(".")[0]
    if name in records:
        raise ReportError(
            f"{records[name]['notebook']} and {record['notebook']} both save a {kind} named {name}"
        )
    records[name] = record


def _sorted(records):
    """By notebook, then by name."""
    return dict(sorted(records.items(), key=lambda item: (item[1].get("notebook", ""), item[0])))


# --- the report ---


def build(root="."):
    """Set report/report.md as HTML and PDF, and write report/play.html.

    An element <div data-hmr-viewer> in the HTML becomes a live viewer of the open body.

    Returns:
        The paths of the HTML and of the PDF.

    Raises:
        ReportError: the text asks for a figure or a number that no notebook has saved.
    """
    import pypandoc
    import typst

    from hmrlib.body import files
    from hmrlib.skeleton import POSES, pose_from_degrees
    from hmrlib.viewing import live

    root = Path(root).resolve()
    report, scratch = root / "report", root / "build" / "report"
    scratch.mkdir(parents=True, exist_ok=True)
    options = ["--standalone", "--fail-if-warnings", "--table-of-contents", "--toc-depth=2"]
    html, pdf = report / "hmrlib.html", report / "hmrlib.pdf"

    page = pypandoc.convert_text(
        fill(root, figures=str(root / "figures")),
        "html5",
        "markdown",
        extra_args=[
            *options,
            "--embed-resources",  # one file that opens anywhere, also without a network
            "--mathml",
            "--section-divs",
            f"--css={report / 'style.css'}",
        ],
    )
    if "data-hmr-viewer" in page:
        model = files.read_model(files.OPEN_BODY)  # and no other: the report is to be passed on
        begin = {"pose": pose_from_degrees(POSES["waving"])}
        _write(report / "play.html", live.page(model, begin=begin))
        page = live.make_live(page, model)
    _write(html, page)

    source = pypandoc.convert_text(
        fill(root, figures="/figures"),  # typst's paths begin at its root
        "typst",
        "markdown",
        extra_args=[*options, f"--template={report / 'template.typ'}"],
    )
    document = scratch / "hmrlib.typ"
    _write(document, source)
    _write(pdf, typst.compile(document, root=root, ignore_system_fonts=True))
    return html, pdf


def fill(root, figures):
    """The report's text with its placeholders replaced.

    {{figure:NAME}} or {{figure:NAME 60%}} becomes the figure with its caption, {{number:NAME}} the
    number with its unit, {{value:NAME}} without, {{run:version}} the package's version,
    {{run:setting}} the setting and {{run:table}} the table of notebooks. What a notebook was to
    save that failed becomes a gap that says so.

    Args:
        root: the checkout.
        figures: where the figures are, as the reader of the text will look for them.

    Raises:
        ReportError: the text asks for what no notebook has saved, and none has failed.
    """
    root = Path(root)
    manifest = _read_json(root / "figures" / "manifest.json")
    values = _read_json(root / "report" / "numbers.json")
    runs = manifest.get("notebooks", {})
    failed = [name for name, record in runs.items() if "failed" in record]
    settings = {record["setting"] for record in runs.values() if "setting" in record}
    facts = {
        "version": hmrlib.__version__,
        "setting": " and ".join(sorted(settings)),
        "table": _table(runs),
    }

    def replacement(match):
        kind, name, width = match.groups()
        known = {
            "figure": manifest.get("figures", {}),
            "number": values,
            "value": values,
            "run": facts,
        }
        record = known.get(kind, {}).get(name)
        if kind != "run" and kind in known:
            if record is None and failed:  # it was never saved: any of them may have been to do so
                return _gap(kind, name, failed)
            if record is not None and record["notebook"] in failed:
                return _gap(kind, name, [record["notebook"]])
        if record is None:
            raise ReportError(
                f"report.md asks for {match.group()}, which no notebook has saved; "
                f"known: {', '.join(known[kind]) or 'none' if kind in known else ', '.join(known)}"
            )
        if kind == "figure":
            return f"![{record['caption']}]({figures}/{record['file']}){{width={width or '100%'}}}"
        return record if kind == "run" else format_number(record, unit=kind == "number")

    text = COMMENT.sub("", (root / "report" / "report.md").read_text("utf-8"))
    return PLACEHOLDER.sub(replacement, text)


def _gap(kind, name, notebooks):
    """Markdown in the place of a figure or a number that is missing, as notebooks failed."""
    what = "figure" if kind == "figure" else "number"
    return f"[**[missing: the {what} `{name}`, as {' or '.join(notebooks)} failed]**]{{.gap}}"


def _table(runs):
    """The notebooks of the report as a Markdown table."""
    lines = ["| notebook | setting | time | commit |", "|:--|:--|--:|:--|"]
    for name, record in runs.items():
        if "failed" in record:
            lines.append(f"| `{name}` | **failed** | | |")
            continue
        commit = f"`{record['commit'][:8]}`" if record["commit"] else "unknown"
        if record["commit"] and not record["clean"]:
            commit += ", with changes"
        seconds = f"{record['seconds']:.0f}\N{NO-BREAK SPACE}s"
        lines.append(f"| `{name}` | {record['setting']} | {seconds} | {commit} |")
    return "\n".join(lines)


# --- files ---


def _write(path, content):
    """Write bytes or text whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


def _json(content):
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _read_json(path):
    """A file's content, {} if there is no such file."""
    return json.loads(path.read_text("utf-8")) if path.exists() else {}
