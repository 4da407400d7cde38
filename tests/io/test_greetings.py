"""What an engine says while it is imported: off the terminal, and never lost where it matters."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# an engine that greets as TensorFlow does, past Python
GREETS = "import os\nos.write(2, b'hello from C++\\n')\n"
CONFIG = "class config:\n    list_physical_devices = staticmethod(lambda: [])\n"


def run(code, folder=None, **environment):
    """A process of its own in which `folder` comes first on the path; without `make`'s setting."""
    given = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    given["PYTHONPATH"] = os.pathsep.join(filter(None, [folder and str(folder), str(ROOT)]))
    return subprocess.run(
        [sys.executable, "-c", code], env=given | environment, capture_output=True, text=True
    )


QUIET = """
from hmrlib.io.greetings import quiet_engine
with quiet_engine():
    import tensorflow
"""


@pytest.fixture
def engine(tmp_path):
    """Writes a module `tensorflow`; returns the folder that has it."""

    def write(source):
        (tmp_path / "tensorflow.py").write_text(source)
        return tmp_path

    return write


def test_a_greeting_is_not_shown_and_what_comes_later_is(engine):
    later = "import os\nos.write(2, b'later\\n')"
    done = run(QUIET + later, engine(GREETS + CONFIG))
    assert (done.returncode, done.stderr) == (0, "later\n")


def test_an_import_that_fails_shows_all_that_was_said(engine):
    done = run(QUIET, engine(GREETS + "raise ImportError('no such driver')"))
    assert done.returncode == 1
    assert "hello from C++" in done.stderr and "no such driver" in done.stderr


def test_an_import_that_ends_the_program_shows_all_that_was_said(engine):
    done = run(QUIET, engine(GREETS + "os.abort()"))
    assert done.returncode < 0 or done.returncode > 2
    assert "hello from C++" in done.stderr


def test_an_interrupted_import_says_nothing(engine):
    code = QUIET.replace("with", "import contextlib\nwith contextlib.suppress(KeyboardInterrupt),")
    done = run(code, engine(GREETS + "raise KeyboardInterrupt"))
    assert (done.returncode, done.stderr) == (0, "")


def test_threads_take_turns_and_the_terminal_comes_back():
    code = """
import os
from concurrent.futures import ThreadPoolExecutor
from hmrlib.io.greetings import kept_off_terminal

def load(_):
    with kept_off_terminal():
        os.write(2, b"hello")

with ThreadPoolExecutor(4) as threads:
    list(threads.map(load, range(8)))
os.write(2, b"later")
"""
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "later")


@pytest.mark.parametrize(("flags", "quiet"), [([], True), (["--debug"], False)])
def test_a_command_shows_tensorflows_greetings_only_if_asked(flags, quiet):
    """The real ones: it is imported by `hmr model info`."""
    code = f"from hmrlib.cli import main; raise SystemExit(main({[*flags, 'model', 'info']!r}))"
    done = run(code, KERAS_BACKEND="tensorflow")
    assert done.returncode == 0 and "licence" in done.stdout
    assert (done.stderr == "") == quiet
