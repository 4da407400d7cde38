"""The course's documents: their links, symbols, exercises and names are there."""

import importlib
import re
from itertools import pairwise

import nbformat
import pytest

from tests.conftest import ROOT

COURSE = ROOT / "notebooks" / "course"
DOCUMENTS = sorted(COURSE.glob("*.md"))
NOTEBOOKS = {path.stem[:2]: path for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")}
GREEK = "alpha beta gamma delta varepsilon epsilon zeta eta theta kappa lambda mu nu xi pi rho"
GREEK += " sigma tau varphi phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega"
SYMBOL = re.compile(rf"\\(?:{'|'.join(GREEK.split())})(?![a-zA-Z])|\\mathcal\s*\{{?\s*[A-Z]")
FORMULA = re.compile(r"\$\$.+?\$\$|\$[^$]+\$", re.DOTALL)


def markdown(path):
    cells = nbformat.read(path, 4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def symbols_in(text):
    """The Greek and calligraphic symbols of a text's formulas, as LaTeX without braces."""
    formulas = " ".join(FORMULA.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)))
    return {re.sub(r"[{\s]", "", symbol) for symbol in SYMBOL.findall(formulas)}


def exercises(path):
    text = markdown(path).partition("## Exercises")[2]
    return set(re.findall(r"^(\d+)\. ", text, re.MULTILINE))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text("utf-8")):
        assert (path.parent / target).exists(), target


def test_symbols_are_found():
    assert symbols_in(r"the \phi and $\boldsymbol\beta, {\mathcal W}$") == {r"\beta", r"\mathcalW"}


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.values()), ids=lambda path: path.stem)
def test_symbols_of_notebooks_are_in_the_table(path):
    table = symbols_in((COURSE / "symbols.md").read_text("utf-8"))
    assert not symbols_in(markdown(path)) - table


@pytest.mark.parametrize("name", ["cheat_sheet", "glossary", "syllabus", "instructor"])
def test_symbols_of_documents_are_in_the_table(name):
    table = symbols_in((COURSE / "symbols.md").read_text("utf-8"))
    assert not symbols_in((COURSE / f"{name}.md").read_text("utf-8")) - table


def test_cheat_sheet_fits_on_a_page():
    """On A4, with margins of 2 cm."""
    pypandoc = pytest.importorskip("pypandoc", reason="makes typst of Markdown")
    typst = pytest.importorskip("typst", reason="sets pages")
    page = "---\npapersize: a4\nmargin: {x: 2cm, y: 2cm}\n---\n\n"
    text = page + (COURSE / "cheat_sheet.md").read_text("utf-8")
    source = pypandoc.convert_text(text, "typst", "markdown", ["--standalone"])
    pages = typst.compile(source.encode(), format="svg", ignore_system_fonts=True)
    assert isinstance(pages, bytes), f"{len(pages)} pages"


def test_names_in_code_exist():
    names = re.findall(r"`(hmrlib\.[\w.]+)`", (COURSE / "symbols.md").read_text("utf-8"))
    assert len(names) > 30
    for name in names:
        assert exists(name), name


def exists(name):
    """Whether a dotted name is a module, or something in one."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return hasattr(importlib.import_module(module), attribute)
    return True


@pytest.mark.parametrize("name", ["syllabus", "instructor"])
def test_exercises_exist(name):
    named = re.findall(r"\b(\d\d)\.(\d)\b", (COURSE / f"{name}.md").read_text("utf-8"))
    assert named
    for notebook, number in named:
        assert number in exercises(NOTEBOOKS[notebook]), f"{notebook}.{number}"


def test_syllabus_has_every_notebook():
    text = (COURSE / "syllabus.md").read_text("utf-8")
    linked = re.findall(r"\(\.\./(\w+\.ipynb)\)", text)
    assert linked == [path.name for _, path in sorted(NOTEBOOKS.items())]


def test_notebooks_lead_to_the_next():
    """The first notebook that is named behind "Next" is the one that follows."""
    for path, following in pairwise(path for _, path in sorted(NOTEBOOKS.items())):
        named = re.findall(r"\d\d_[a-z_]+", markdown(path).rpartition("**Next")[2])
        assert named[:1] in ([], [following.stem]), path.stem
