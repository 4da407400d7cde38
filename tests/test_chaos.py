"""Nothing is lost, whatever ends a run: some of the blows of `make chaos`."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

WRITERS = ("files", "convert", "render", "mocap", "stages")  # of trainings and notebooks: elsewhere


@pytest.mark.skipif(sys.platform != "linux", reason="forks, and counts on Linux' signals")
def test_nothing_is_lost():
    """In a process of its own: it forks, which this one's threads would not survive."""
    command = [sys.executable, "-m", "tests.chaos", *WRITERS, "--kills", "5"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr[-3000:]
    assert "nothing was lost" in result.stdout and "LOST" not in result.stdout
