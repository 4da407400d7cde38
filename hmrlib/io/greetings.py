"""What an engine says while it is imported, kept off the terminal unless the import fails.

TensorFlow greets in C++, into file descriptor 2 and so past Python's `sys.stderr`, before its own
setting (TF_CPP_MIN_LOG_LEVEL) holds. What it says later, its errors, is not touched.
"""

import importlib.util
import os
import subprocess
import sys
import threading
from contextlib import contextmanager

ENGINE = "tensorflow"
_ONE = threading.Lock()  # the descriptor is the whole process'
_END = b"\0imported\0"
# A process of its own, so that nothing is lost where the import ends the whole program, as on a
# processor that the engine was not built for.
_KEEPER = f"""
import sys
said = sys.stdin.buffer.read()
if not said.endswith({_END!r}):
    sys.stderr.buffer.write(said)
"""


@contextmanager
def quiet_engine():
    """While it lasts, TensorFlow is imported without a word, by whoever asks for it first."""
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder:
    """Finds the engine as all others do, and has its import kept off the terminal."""

    looking = False

    def find_spec(self, name, path=None, target=None):
        if name != ENGINE or self.looking:
            return None
        self.looking = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.looking = False
        if spec is not None:
            spec.loader.exec_module = _quietly(spec.loader.exec_module)
        return spec


def _quietly(execute):
    def exec_module(module):
        with kept_off_terminal():
            execute(module)
            module.config.list_physical_devices()  # it complains of a missing GPU here

    return exec_module


@contextmanager
def kept_off_terminal():
    """Keep what is written to file descriptor 2; show it if the block fails, or the program ends.

    Nothing happens where there is no such descriptor. One thread at a time; what others write
    meanwhile is kept, too.
    """
    with _ONE, _kept():
        yield


@contextmanager
def _kept():
    try:
        terminal = os.dup(2)
    except OSError:
        yield
        return
    command = [sys.executable, "-E", "-S", "-c", _KEEPER]
    # a session of its own: Ctrl-C is for the program
    keeper = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    os.dup2(keeper.stdin.fileno(), 2)
    failed = True
    try:
        yield
        failed = False
    except KeyboardInterrupt:
        failed = False
        raise
    finally:
        if not failed:
            os.write(2, _END)
        os.dup2(terminal, 2)
        os.close(terminal)
        keeper.stdin.close()
        keeper.wait()
