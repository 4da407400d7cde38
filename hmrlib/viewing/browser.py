"""A real browser, without a display: for pictures of the viewers, and for the tests.

Needs Playwright's Python package and Chromium (`apt install chromium`, or HMR_CHROMIUM=path).
Nothing here ever waits for a time to pass, only for things to happen.
"""

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

from hmrlib.io import extra

TIMEOUT = 600  # seconds to wait for anything; a busy machine is slow
FLAGS = (
    "--no-sandbox",  # which does not work for root
    "--use-angle=swiftshader",  # WebGL in software
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
    "--disable-component-update",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
)
# what a page on this machine may ask for
LOCAL = ("http://127.0.0.1:", "ws://127.0.0.1:", "file:", "data:", "blob:", "about:")
# pythreejs says this when it loads, and works all the same
ALLOWED_ERRORS = ("t.on is not a function",)


def find_chromium():
    """The path of Chromium or Chrome, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = [os.environ.get("HMR_CHROMIUM"), *(shutil.which(name) for name in names)]
    return next((path for path in found if path), None)


def missing():
    """What a browser run lacks, as a sentence; None if it lacks nothing."""
    try:
        import playwright  # noqa: F401
    except ModuleNotFoundError:
        return "no browser: pip install playwright (its own download of a browser is not needed)"
    if find_chromium() is None:
        return "no browser: install Chromium (apt install chromium), or set HMR_CHROMIUM"
    return None


@contextmanager
def chromium():
    """Playwright's browser; a process may have one of these at a time."""
    with extra("test"):
        from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = launch(playwright.chromium)
        try:
            yield browser
        finally:
            browser.close()


def launch(kind, *flags):
    """One more browser of a kind that Playwright gave (`browser.browser_type`), with more flags."""
    return kind.launch(
        executable_path=find_chromium(), args=[*FLAGS, *flags], timeout=1000 * TIMEOUT
    )


def open_page(browser, url, size=(1280, 860), **options):
    """A page in a window of its own, that may reach this machine alone.

    Its attribute `seen` gathers what it should not do: `errors`, lines on the console, and
    `requests`, addresses outside this machine; and `received`, the size in bytes of each message
    that came through a web socket, from a kernel.
    """
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, accept_downloads=True, **options
    )
    context.set_default_timeout(1000 * TIMEOUT)
    page = context.new_page()
    page.seen = {"errors": [], "requests": [], "received": []}

    def complain(text):
        if not any(allowed in text for allowed in ALLOWED_ERRORS):
            page.seen["errors"].append(text)

    def request(found):
        if not found.url.startswith(LOCAL):
            page.seen["requests"].append(found.url)

    page.on("console", lambda message: message.type == "error" and complain(message.text))
    page.on("pageerror", lambda error: complain(str(error)))
    page.on("request", request)
    received = page.seen["received"]
    page.on("websocket", lambda s: s.on("framereceived", lambda data: received.append(len(data))))
    answer = page.goto(url)
    if answer is not None and not answer.ok:  # None: a page that is a file
        raise RuntimeError(f"{url}: {answer.status} {answer.status_text}")
    return page


@contextmanager
def _server(*command, environment, ready):
    """Run a server, `{port}` in its arguments filled in; yields the port once `ready` answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, *(part.replace("{port}", str(port)) for part in command)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            _wait_for_answer(f"http://127.0.0.1:{port}/{ready}", process, log)
            yield port
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for_answer(url, process, log):
    until = time.monotonic() + TIMEOUT
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        time.sleep(0.1)
    log.seek(0)
    text = log.read().decode(errors="replace")[-3000:]
    raise RuntimeError(f"no answer from {url}; the server said:\n{text}")


@contextmanager
def _own_settings():
    """Environment for a Jupyter server that neither reads nor changes the user's settings."""
    with tempfile.TemporaryDirectory() as home:
        page_config = {
            "disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True},
            "exposeAppInBrowser": True,
        }
        config = Path(home, "config", "labconfig")
        config.mkdir(parents=True)
        (config / "page_config.json").write_text(json.dumps(page_config))
        own = {
            "JUPYTER_CONFIG_DIR": f"{home}/config",
            "JUPYTER_DATA_DIR": f"{home}/data",
            "JUPYTER_RUNTIME_DIR": f"{home}/runtime",
            "JUPYTERLAB_SETTINGS_DIR": f"{home}/settings",
            "JUPYTERLAB_WORKSPACES_DIR": f"{home}/workspaces",
            "IPYTHONDIR": f"{home}/ipython",
        }
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        yield os.environ | own | {"PYTHONPATH": path}


@contextmanager
def jupyterlab(notebooks):
    """JupyterLab on a copy of a folder of notebooks; yields the address of a single notebook,
    to be followed by its name."""
    with _own_settings() as environment, tempfile.TemporaryDirectory() as folder:
        for path in Path(notebooks).glob("*.ipynb"):
            shutil.copy(path, folder)
        with _server(
            "-m",
            "jupyterlab",
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
            "--port={port}",
            "--ServerApp.port_retries=0",
            "--IdentityProvider.token=",
            f"--ServerApp.root_dir={folder}",
            "--LabApp.expose_app_in_browser=True",
            "--LabApp.extension_manager=readonly",
            environment=environment,
            ready="api",
        ) as port:
            yield f"http://127.0.0.1:{port}/doc/tree/"


@contextmanager
def app(**options):
    """The explorer as `hmr app` serves it, with options of `hmrlib.viewing.app.serve`.

    Yields its address.
    """
    call = f"from hmrlib.viewing.app import serve; serve({{port}}, browser=False, **{options})"
    command = ("-c", call)
    with (
        _own_settings() as environment,
        _server(*command, environment=environment, ready="voila/static/voila.js") as port,
    ):
        yield f"http://127.0.0.1:{port}/"


# of the notebook in JupyterLab: {done, error, stderr} for each cell of code that is not empty
CODE_CELLS = """[...window.jupyterapp.shell.currentWidget.content.model.cells]
  .filter((cell) => cell.type === "code" && cell.sharedModel.source.trim())
  .map((cell) => {
    const outputs = [...Array(cell.outputs.length).keys()].map((i) => cell.outputs.get(i).toJSON());
    const error = outputs.find((output) => output.output_type === "error");
    return {
      done: cell.executionCount !== null && cell.executionState !== "running",
      stderr: outputs.filter((output) => output.name === "stderr").map((o) => o.text).join(""),
      error: error ? error.traceback.join("\\n") : null,
    };
  })"""


def run_first(page):
    """Run the first cell of the notebook that a page of `jupyterlab` shows, and wait for it."""
    _wait_for_kernel(page)
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-cell-and-select-next')")
    page.wait_for_function(f"({CODE_CELLS})[0].done")


def _wait_for_kernel(page):
    page.wait_for_function(
        "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
    )


def run_all(page):
    """Run all cells of the notebook that a page of `jupyterlab` shows, and wait for the end.

    Raises:
        RuntimeError: a cell failed.
    """
    _wait_for_kernel(page)
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_function(
        f"(() => {{ const cells = {CODE_CELLS}; return cells.some((cell) => "
        "cell.error) || cells.every((cell) => cell.done); })()"
    )
    for cell in page.evaluate(CODE_CELLS):
        if cell["error"]:
            raise RuntimeError(cell["error"])


# the kernel-free viewer within an element, or (in JupyterLab) the first on the page
LIVE = "[...document.querySelectorAll('*')].find((node) => node.hmr).hmr"


def settle_live(page):
    """Wait until the kernel-free viewer has drawn all that was asked of it."""
    page.wait_for_function(
        "(() => { const host = [...document.querySelectorAll('*')].find((node) => node.hmr);"
        " return host && host.hmr.timing.frames > 0 && !host.hmr.pending; })()"
    )


def settle_explorer(page):
    """Wait until the explorer's canvas shows a body and stands still: two pictures alike."""
    stage = page.locator(".hmr-explorer .hmr-picture").first
    stage.locator("canvas").wait_for()
    return steady(stage, lambda picture: silhouette(picture).mean() > 0.02)


def steady(stage, shows=lambda picture: True):
    """A picture (PNG's bytes) of an element that stands still, and that shows what it should."""
    until, before = time.monotonic() + TIMEOUT, None
    while time.monotonic() < until:
        picture = stage.screenshot()
        if picture == before and shows(picture):
            return picture
        before = picture
    raise RuntimeError("the viewer drew no body, or never came to rest")


def silhouette(png):
    """Where a viewer's picture shows the body, (H, W) bool.

    Clay is warm or dark, and what is behind it cool and light.
    """
    import numpy as np
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(png), formats=["PNG"]).convert("RGB")).astype(int)
    red, blue = pixels[..., 0], pixels[..., 2]
    return (red - blue >= 3) | (red < 180)  # the shadow, the darkest behind, has 198


def overlap(one, other):
    """Intersection over union of two silhouettes (H, W) bool."""
    return (one & other).sum() / (one | other).sum()


def expected_silhouette(vertices, faces, size):
    """What our rasteriser sees from where the viewers' camera stands at first, (H, W) bool."""
    from hmrlib.camera import look_at
    from hmrlib.render import render
    from hmrlib.viewing import live

    camera = look_at(live.VIEW["eye"], live.VIEW["target"], fov=live.VIEW["fov"], size=size)
    return render(vertices, faces, camera, supersample=2).alpha > 0.5


def photograph(notebooks):
    """Use the viewers in a real browser, and take their pictures.

    Args:
        notebooks: the folder of notebooks.

    Returns:
        pictures, name -> (PNG's bytes, caption); numbers, name -> (value, unit, note).

    Raises:
        RuntimeError: a cell failed, or a page asked for something outside this machine.
    """
    import numpy as np

    from hmrlib.body import files
    from hmrlib.body.model import Body
    from hmrlib.skeleton import POSES, pose_from_degrees
    from hmrlib.viewing import live

    model = files.read_model(files.OPEN_BODY)
    pose = pose_from_degrees(POSES["waving"])
    pictures, numbers = {}, {}
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        path = Path(folder, "play.html")
        path.write_text(live.page(model, begin={"pose": pose}), "utf-8")
        page = open_page(browser, path.as_uri(), (1180, 850), offline=True)
        settle_live(page)
        caption = "The kernel-free viewer in an exported page, opened from a file, offline."
        pictures["browser_page"] = page.screenshot(), caption
        shown = np.array(page.evaluate(f"Array.from({LIVE}.vertices)")).reshape(-1, 3)
        body = Body(model)
        here = np.asarray(body(None, np.round(pose, 4)[None]).vertices[0])
        error = 1e6 * np.abs(shown - here).max()
        numbers["browser_error"] = error, "µm", "browser against Python, largest of all vertices"
        picture = page.locator(".hmr-stage").screenshot()
        seen = silhouette(picture)
        lifted = here - [0, here[:, 1].min(), 0]
        expected = expected_silhouette(lifted, body.faces, seen.shape[::-1])
        note = "silhouette in the browser against our rasteriser's"
        numbers["browser_overlap"] = 100 * overlap(seen, expected), "%", note
        _check_quiet(page)

        with app() as url:
            page = open_page(browser, url, (1010, 930))
            settle_explorer(page)
            page.get_by_label("skeleton").check()
            page.get_by_label("mesh").check()
            page.locator(".hmr-explorer select").nth(1).select_option("sitting")
            settle_explorer(page)
            caption = "The explorer as a page without code: joints, bones and triangles."
            pictures["browser_app"] = page.screenshot(), caption
            _check_quiet(page)

        with jupyterlab(notebooks) as url:
            page = open_page(browser, url + "11_play.ipynb", (1180, 1000))
            run_all(page)
            page.locator(".hmr-explorer").first.scroll_into_view_if_needed()
            settle_explorer(page)
            caption = "The explorer in JupyterLab: each picture comes from Python."
            pictures["browser_lab"] = page.screenshot(), caption
            _check_quiet(page)
    return pictures, numbers


def _check_quiet(page):
    if page.seen["requests"] or page.seen["errors"]:
        raise RuntimeError(f"the page was not quiet: {page.seen['requests']} {page.seen['errors']}")
