"""The solutions to the notebooks' exercises: complete, stripped, short, and they run."""

import ast
import re

import nbformat
import pytest

from hmrlib import report
from tests.conftest import ROOT

SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))
MAX_LINES = 10


@pytest.fixture(params=SOLUTIONS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def cells(path):
    return nbformat.read(path, 4).cells


def text_of(cells):
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def exercises(name):
    """The numbers of a notebook's exercises, as strings, in their order."""
    text = text_of(nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4).cells)
    return re.findall(r"^(\d+)\. ", text.partition("## Exercises")[2], re.MULTILINE)


def test_every_notebook_with_exercises_has_one():
    asking = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb") if exercises(path.stem)}
    assert asking and asking == {path.stem for path in SOLUTIONS}


def test_answers_every_exercise_of_its_notebook(path, cells):
    asked = exercises(path.stem)
    assert asked
    assert re.findall(r"^## Exercise (\d+)$", text_of(cells), re.MULTILINE) == asked


def test_each_exercise_is_told_shown_and_answered(cells):
    text = text_of(cells)
    for number, exercise in enumerate(re.split(r"^## Exercise \d+$", text, flags=re.MULTILINE)[1:]):
        assert exercise.lstrip().startswith("*"), f"exercise {number + 1} is not restated"
        assert "**Answer" in exercise, f"exercise {number + 1} has no answer in words"


def test_claims_are_asserted(cells):
    """Every exercise has code, and most have an `assert` that holds what the answer says."""
    asserted, number = {}, None
    for cell in cells:
        if heading := re.match(r"## Exercise (\d+)$", cell.source, re.MULTILINE):
            number = heading.group(1)
            asserted[number] = None
        elif number and cell.cell_type == "code":
            found = any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(cell.source)))
            asserted[number] = bool(asserted[number]) or found
    assert None not in asserted.values(), asserted
    assert sum(asserted.values()) >= 0.75 * len(asserted), asserted


def test_is_stripped_and_short(cells):
    """Imports do not count."""
    for cell in cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
            lines = len([line for line in cell.source.splitlines() if line.strip()])
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    lines -= node.end_lineno - node.lineno + 1
            assert lines <= MAX_LINES, cell.source


def test_has_parameters(path):
    assert report.declared_parameters(path)


@pytest.mark.notebooks
def test_runs_without_a_warning(path, tmp_path):
    """In a folder of its own, with the parameters of its own cell, which are small."""
    folder = tmp_path / "notebooks"
    (folder / "params").mkdir(parents=True)
    (folder / "params" / "fast.yml").write_text("common: {}\n", "utf-8")
    (folder / path.name).write_bytes(path.read_bytes())
    folders, failures = report.execute(tmp_path, "fast")
    assert not failures, failures[path.stem]
    for cell in nbformat.read(folders[path.stem] / path.name, 4).cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr", output.text
