"""What README.md says to type does what it says: every snippet, every command."""

import os
import re
import subprocess
import sys

import pytest
from PIL import Image
from skimage import data

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text("utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
PROGRAMS = ("hmr", "make", "pip", "conda", "source", "apt")
# what its names stand for
MEANT = {"PHOTOS...": "street.jpg"}
NOT_RUN = {
    "make": "lists targets; tests/test_ground.py",
    "make report": "takes minutes: tests/test_notebooks.py runs the notebooks",
    "make test": "is this",
    "make book": "takes minutes: tests/report/test_book.py makes one of few pages",
    "make lab": "a server, until it is stopped: tests/viewing/test_browser.py",
    "make app": "a server, until it is stopped: tests/viewing/test_app.py",
    'pip install -e ".[notebooks]"': "installs",
    'pip install -e ".[viewers]"': "installs",
    'pip install -e ".[predict]"': "installs",
    'pip install -e ".[train]"': "installs",
    'pip install -e ".[people]"': "installs",
    "pip install -e .": "installs",
    "pip install --no-deps anny==0.6.2": "installs",
    "conda env create -f environment.yml": "installs; tests/test_ground.py reads the file",
    "conda activate hmrlib": "needs the one before",
    "source <(hmr completion bash)": "tests/test_completion.py",
    "hmr completion zsh > _hmr": "tests/test_completion.py",
}


def commands():
    """Every line of a shell block, and every `command`, without comments."""
    lines = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line for block in lines for line in block.splitlines()]
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    lines += re.findall(r"`([^`\n]+)`", prose)
    lines = [re.sub(r"\s+# .*", "", line).strip() for line in lines]
    return sorted({line for line in lines if line.split(" ")[0] in PROGRAMS})


def run(command, folder):
    """A process in a folder that has a photograph; what opens a browser opens none."""
    Image.fromarray(data.astronaut()).save(folder / "street.jpg")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg", "BROWSER": "true %s"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def test_every_command_is_run_or_has_a_reason():
    assert set(NOT_RUN) <= set(commands())
    assert len(SNIPPETS) >= 2 and len(commands()) > len(NOT_RUN)


@pytest.mark.slow
@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda text: text.split("\n\n")[1][:20])
def test_snippet_runs_as_it_stands(snippet, tmp_path):
    run([sys.executable, "-c", snippet], tmp_path)
    for name in re.findall(r'save\("([^"]+)"\)', snippet):
        assert (tmp_path / name).stat().st_size > 1000, name


@pytest.mark.slow
@pytest.mark.parametrize("command", [each for each in commands() if each not in NOT_RUN])
def test_command_runs_as_it_stands(command, tmp_path):
    program, *words = [MEANT.get(word, word) for word in command.split()]
    assert program == "hmr"
    done = run([sys.executable, "-m", "hmrlib.cli", *words], tmp_path)
    said = "Traceback|^[EIW]0000|^INFO:"
    assert done.stdout and not re.search(said, done.stderr, re.MULTILINE)


def test_it_begins_with_a_photograph_and_its_body_and_three_lines():
    """The picture is one that a notebook made, and the lines are of the same photograph."""
    beginning = README.split("##")[0]
    figure, snippet = beginning.index("figures/photo_and_body.png"), beginning.index("```python")
    assert figure < snippet
    assert "astronaut()" in SNIPPETS[0]
    code = [line for line in SNIPPETS[0].splitlines() if line and "import" not in line]
    assert len(code) == 3
