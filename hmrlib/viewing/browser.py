"""A real browser, without a display: for pictures of the viewers, and for the tests.

Needs Playwright's Python package and Chromium (`apt install chromium`, or HMR_CHROMIUM=path).
Nothing here ever waits for a time to pass, only for things to happen.
"""

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

TIMEOUT = 120  # seconds to wait for anything; a busy machine is slow
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
def chromium(*flags):
    """Playwright's browser, with a window for each page asked of it by `open_page`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=[*FLAGS, *flags], timeout=1000 * TIMEOUT
        )
        try:
            yield browser
        finally:
            browser.close()


def open_page(browser, url, size=(1280, 860), **options):
    """A page in a window of its own, that may reach this machine alone.

    Its attribute `seen` gathers what it should not do: `errors`, lines on the console, and
    `requests`, addresses outside this machine (which are blocked).
    """
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, accept_downloads=True, **options
    )
    context.set_default_timeout(1000 * TIMEOUT)
    page = context.new_page()
    page.seen = {"errors": [], "requests": []}

    def complain(text):
        if not any(allowed in text for allowed in ALLOWED_ERRORS):
            page.seen["errors"].append(text)

    def request(found):
        if not found.url.startswith(LOCAL):
            page.seen["requests"].append(found.url)

    page.on("console", lambda message: message.type == "error" and complain(message.text))
    page.on("pageerror", lambda error: complain(str(error)))
    page.on("request", request)
    page.goto(url)
    return page


@contextmanager
def _server(*command, environment, ready):
    """Run a server, `{port}` in its arguments filled in; yields the port once `ready` answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", *(part.format(port=port) for part in command)]
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
def voila(notebook):
    """Voila on one notebook; yields its address."""
    with (
        _own_settings() as environment,
        _server(
            "voila",
            str(notebook),
            "--no-browser",
            "--Voila.ip=127.0.0.1",
            "--port={port}",
            environment=environment,
            ready="voila/static/voila.js",
        ) as port,
    ):
        yield f"http://127.0.0.1:{port}/"


# of the notebook in JupyterLab: [{done, error}], one for each cell of code that is not empty
CODE_CELLS = """[...window.jupyterapp.shell.currentWidget.content.model.cells]
  .filter((cell) => cell.type === "code" && cell.sharedModel.source.trim())
  .map((cell) => {
    const outputs = [...Array(cell.outputs.length).keys()].map((i) => cell.outputs.get(i).toJSON());
    const error = outputs.find((output) => output.output_type === "error");
    return {
      done: cell.executionCount !== null && cell.executionState !== "running",
      error: error ? error.traceback.join("\\n") : null,
    };
  })"""


def run_all(page):
    """Run all cells of the notebook that a page of `jupyterlab` shows, and wait for the end.

    Raises:
        RuntimeError: a cell failed.
    """
    page.wait_for_function(
        "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
    )
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_function(
        f"(() => {{ const cells = {CODE_CELLS}; return cells.some((cell) => "
        "cell.error) || cells.every((cell) => cell.done); })()"
    )
    for cell in page.evaluate(CODE_CELLS):
        if cell["error"]:
            raise RuntimeError(cell["error"])
