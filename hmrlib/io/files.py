"""Writing files so that nothing is lost, each whole or not at all, and one run to a folder.

All locks are the operating system's: they end with the process that holds them, however it ends.
"""

import errno
import os
import re
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import lock_descriptor

LOCK = ".lock"  # in a folder, while a run writes into it
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}  # a disk that takes no more


class FolderInUseError(OSError):
    """Another run writes into the folder."""


@contextmanager
def atomic_write(path):
    """A binary file that takes the name `path` once it is whole and on the disk.

    On an error it vanishes, and what was at `path` before is still there. What a killed process
    has left of the same file is removed.

    Raises:
        OSError: the disk is full, or nothing may be written there; the message names the file.
    """
    path = Path(path)
    _remove_left(path.parent, path.name)
    temporary, file = _open_temporary(path)
    try:
        with naming(path, temporary), file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if os.name == "nt":  # renames no open file; elsewhere the lock lasts until it has
                file.close()
            os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(folder):
    """Keep a folder to this run while it lasts; make it, and clear it of what killed runs left.

    Raises:
        FolderInUseError: another run has it, on this machine or on one that shares the disk.
        OSError: nothing may be written there.
    """
    folder = Path(folder)
    made, path = not os.path.exists(folder), folder / LOCK
    with naming(folder, path):
        folder.mkdir(parents=True, exist_ok=True)
        file = open(path, "ab")  # noqa: SIM115, closed at the end
    with file:
        if not _hold(file, otherwise=True) or not _is_at(path, file):
            raise FolderInUseError(
                f"another run is writing into {folder}: wait until it has ended, or take another "
                "folder"
            )
        try:
            _remove_left(folder)
            yield
        finally:
            with suppress(OSError):  # Windows removes no open file; the next run takes it over
                path.unlink()
            if made:
                with suppress(OSError):  # unless an error came before there was anything in it
                    folder.rmdir()


@contextmanager
def naming(path, temporary=None):
    """Make an OSError of writing `path`, or `temporary` in its stead, say which file and why."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            of_path = error.errno in FULL
        else:
            of_path = str(error.filename) in (str(path), str(temporary))
        if not of_path:
            raise
        kept = " The one before is kept" if temporary and os.path.isfile(path) else ""
        text = f"could not be written ({error.strerror}).{kept}"
        raise OSError(error.errno, text, str(path)) from error


def _open_temporary(path):
    """A new file beside `path`, locked, so that no one takes it for one that was left."""
    while True:
        temporary = path.with_name(f".{_shortened(path.name)}.{secrets.token_hex(8)}.tmp")
        with naming(path, temporary):
            # "+", or NumPy writes past it and does not say what was wrong
            file = open(temporary, "x+b")  # noqa: SIM115, the caller closes it
        if _hold(file, otherwise=True) and _is_at(temporary, file):
            return temporary, file
        file.close()  # somebody removes it this very moment


def _remove_left(folder, name=None):
    """Remove the temporary files, of `name` or of all, whose writers are no more."""
    pattern = ".+" if name is None else re.escape(_shortened(name))
    with suppress(OSError):  # no such folder, or none that may be read: writing will say so
        for left in os.scandir(folder):
            if re.fullmatch(rf"\.{pattern}\.[0-9a-f]+\.tmp", left.name):
                _remove_unless_held(left.path)


def _remove_unless_held(path):
    with suppress(OSError):  # it has just got its name, or is not ours to remove
        with open(path, "rb+") as file:
            if not _hold(file, otherwise=False):
                return
            if os.name != "nt":  # which removes no open file
                os.unlink(path)
                return
        os.unlink(path)


def _shortened(name):
    """Room for the rest of a temporary file's name: most disks take 255 bytes."""
    return name[:50]


def _hold(file, otherwise):
    """Lock an open file; False if another process has. `otherwise`: where there are no locks."""
    try:
        return lock_descriptor(file.fileno(), blocking=False)
    except OSError:
        return otherwise


def _is_at(path, file):
    """Whether an open file still has its name: it may have been removed before it was locked."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _sync_folder(folder):
    """Have a folder's list of names on the disk too, where the system can do that."""
    with suppress(OSError):  # Windows opens no folder
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
