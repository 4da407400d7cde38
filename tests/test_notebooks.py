"""Every notebook: how it is built, that it runs, and that the report's text fits what it saved."""

import ast
import json
import re

import nbformat
import pytest
import yaml

from hmrlib import report
from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAX_LINES = 12


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def cells(request):
    return nbformat.read(request.param, 4).cells


def test_names_begin_with_their_place():
    """00 is where to start; a number may be left free for a notebook to come."""
    numbers = [int(re.fullmatch(r"(\d\d)_[a-z0-9_]+", path.stem).group(1)) for path in NOTEBOOKS]
    assert numbers[0] == 0 and len(set(numbers)) == len(numbers)


def test_is_stripped(cells):
    for cell in cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


def test_begins_with_its_goal_and_ends_with_exercises(cells):
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ")
    assert "goal" in cells[0].source.lower()
    headings = re.findall(
        r"^#+ (.*)",
        "\n".join(cell.source for cell in cells if cell.cell_type == "markdown"),
        re.MULTILINE,
    )
    assert any("exercise" in heading.lower() for heading in headings[-2:])


def test_has_one_cell_of_parameters_with_nothing_derived(cells):
    (cell,) = (cell for cell in cells if "parameters" in cell.metadata.get("tags", []))
    assert cell.cell_type == "code"
    assert not re.search(r"\bimport\b|\(", re.sub(r"#.*", "", cell.source))


def test_cells_are_short(cells):
    """Imports do not count, and what is handed to the report one line, however it is wrapped."""
    for cell in cells:
        if cell.cell_type == "code":
            lines = len([line for line in cell.source.splitlines() if line.strip()])
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    lines -= node.end_lineno - node.lineno + 1
                elif is_saved(node):
                    lines -= node.end_lineno - node.lineno
            assert lines <= MAX_LINES, cell.source


def is_saved(node, names=("save_number", "save_figure")):
    """Whether a node of a cell's tree hands something to the report."""
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") in names


def test_most_numbers_come_with_the_bounds_that_the_text_stands_on(cells):
    calls = [
        node
        for cell in cells
        if cell.cell_type == "code"
        for node in ast.walk(ast.parse(cell.source))
        if is_saved(node, ("save_number",))
    ]
    bounded = [
        call for call in calls if len(call.args) > 5 or "expect" in {k.arg for k in call.keywords}
    ]
    assert len(bounded) >= len(calls) / 2


@pytest.mark.parametrize("setting", ["fast", "full"])
def test_settings_are_known_to_the_notebooks(setting):
    assert list(report.load_parameters(ROOT, setting)) == [path.stem for path in NOTEBOOKS]


def test_settings_set_the_same_parameters():
    fast, full = (
        yaml.safe_load((ROOT / "notebooks" / "params" / f"{setting}.yml").read_text("utf-8"))
        for setting in ("fast", "full")
    )
    assert {name: set(own or {}) for name, own in fast.items()} == {
        name: set(own or {}) for name, own in full.items()
    }


@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])
def test_runs_and_saves_what_it_shows(runs, name):
    folders, failures = runs
    assert name not in failures, failures[name]
    notebook = nbformat.read(folders[name] / f"{name}.ipynb", 4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    assert list(folders[name].glob("*.figure.json"))


def test_committed_figures_and_numbers_are_those_of_the_runs(runs, photographed):
    """Names, not values: the committed ones may stem from the full setting.

    Only where there is no browser, those of the run "browser" have nothing to be compared with; nor
    have those of a notebook that failed.
    """
    folders, failures = runs
    manifest = json.loads((ROOT / "figures" / "manifest.json").read_text("utf-8"))
    kinds = {"figure": manifest["figures"]}
    for kind, file in (("number", "numbers.json"), ("table", "tables.json")):
        kinds[kind] = json.loads((ROOT / "report" / file).read_text("utf-8"))
    for kind, committed in kinds.items():
        saved = {
            path.name.removesuffix(f".{kind}.json"): notebook
            for notebook, folder in (folders | photographed).items()
            for path in folder.glob(f"*.{kind}.json")
        }
        compared = {name: record["notebook"] for name, record in committed.items()}
        without = {*failures, *(() if photographed else (report.BROWSER,))}
        compared = {k: v for k, v in compared.items() if v not in without}
        assert compared == saved


def test_every_figure_has_its_record():
    manifest = json.loads((ROOT / "figures" / "manifest.json").read_text("utf-8"))
    files = {path.name for path in (ROOT / "figures").iterdir()} - {"manifest.json"}
    assert files == {record["file"] for record in manifest["figures"].values()}


@pytest.mark.parametrize("name", [document.name for document in report.DOCUMENTS])
def test_documents_find_every_figure_and_number(name):
    text = report.fill(ROOT, name)
    assert "{{" not in re.sub(r"\$.*?\$", "", text, flags=re.DOTALL)


def test_readme_shows_figures_that_exist_and_lists_every_notebook():
    readme = (ROOT / "README.md").read_text("utf-8")
    for figure in re.findall(r"\]\((figures/[^)]+)\)", readme):
        assert (ROOT / figure).exists(), figure
    assert re.findall(r"^\| `(\d\d_\w+)`", readme, re.MULTILINE) == [p.stem for p in NOTEBOOKS]
