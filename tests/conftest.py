"""What every test finds: quiet engines, figures without a display, the notebooks' results."""

import json
import os
from pathlib import Path

import pytest

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def executed():
    """Notebook's name -> the folder that its run in the fast setting left.

    Runs what has changed since the last run, by `make report` or by the tests.
    """
    from hmrlib import report

    return report.execute(ROOT, "fast")


@pytest.fixture(scope="session")
def photographed():
    """The same for the run "browser", which no notebook makes; {} where there is no browser."""
    from hmrlib import report

    return report.photograph(ROOT, "fast")


@pytest.fixture(scope="session")
def notebook_numbers(executed):
    """Number's name -> its value, of all notebooks in the fast setting."""
    return {
        path.name.removesuffix(".number.json"): json.loads(path.read_text("utf-8"))["value"]
        for folder in executed.values()
        for path in folder.glob("*.number.json")
    }


@pytest.fixture(scope="session")
def assets():
    """MakeHuman's data, which `make` installs; without them, what learns from them is skipped."""
    from hmrlib.body.learn import makehuman

    try:
        return makehuman.read_assets()
    except makehuman.AssetsNotFoundError as error:
        pytest.skip(str(error))
