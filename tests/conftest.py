"""What every test finds: quiet engines, figures without a display, the notebooks' results."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

ROOT = Path(__file__).parents[1]
OF_RUNS = {"runs", "executed", "photographed", "notebook_numbers", "notebook_figures"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What asks for the notebooks' results is marked `notebooks`: their run takes many minutes."""
    for item in items:
        if OF_RUNS & set(getattr(item, "fixturenames", ())):
            item.add_marker("notebooks")


@pytest.fixture
def rng():
    """A generator of the test's own: what one test draws is nothing to another."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def runs():
    """What `report.execute` returns of the fast setting: folders, and failures.

    Runs what has changed since the last run, by `make report` or by the tests.
    """
    from hmrlib import report

    return report.execute(ROOT, "fast")


@pytest.fixture(scope="session")
def executed(runs):
    """Notebook's name -> the folder that its run left; those that failed have a test of theirs."""
    return runs[0]


@pytest.fixture(scope="session")
def photographed():
    """The same for the run "browser", which no notebook makes; {} where there is no browser."""
    from hmrlib import report

    return report.photograph(ROOT, "fast")


class Saved(dict):
    """Name -> what a notebook saved under it. What one that failed was to save skips the test, as
    the failure itself fails another one."""

    def __init__(self, saved, failures):
        super().__init__(saved)
        self.failures = failures

    def __missing__(self, name):
        if self.failures:
            pytest.skip(f"{name} is missing, as {', '.join(self.failures)} failed")
        raise KeyError(name)


@pytest.fixture(scope="session")
def notebook_numbers(runs):
    """Number's name -> its value, of all notebooks in the fast setting."""
    folders, failures = runs
    numbers = {
        path.name.removesuffix(".number.json"): json.loads(path.read_text("utf-8"))["value"]
        for folder in folders.values()
        for path in folder.glob("*.number.json")
    }
    return Saved(numbers, failures)


@pytest.fixture(scope="session")
def notebook_figures(runs):
    """Figure's name -> the folder that has it."""
    folders, failures = runs
    figures = {
        path.name.removesuffix(".figure.json"): folder
        for folder in folders.values()
        for path in folder.glob("*.figure.json")
    }
    return Saved(figures, failures)


@pytest.fixture(scope="session")
def assets():
    """MakeHuman's data, which `make` installs; without them, what learns from them is skipped."""
    from hmrlib.learn import makehuman

    try:
        return makehuman.read_assets()
    except makehuman.AssetsNotFoundError as error:
        pytest.skip(str(error))
