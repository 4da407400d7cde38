"""Writing files so that nothing is lost, each whole or not at all, and one run to a folder; reading
archives of arrays in no more memory than their size allows.

All locks are the operating system's: they end with the process that holds them, however it ends.
"""

import errno
import io
import math
import os
import re
import secrets
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
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


# how much an archive may unfold to: zeros shrink to a thousandth, what people measure to a half
LEAST_ROOM, MOST_UNFOLDED = 2**28, 20


class ArchiveError(ValueError):
    """An `.npz` is no whole archive of arrays; the message says why."""


def read_npz(path, read_object=None, wanted=None):
    """The arrays of an `.npz`. Time and memory follow from the file's real size.

    NumPy's own reader takes the memory that an array declares before it looks whether it is there.

    Args:
        path: a path, or an open binary file.
        read_object: function of a binary file, for arrays of Python objects, which are pickles;
            None: they are refused.
        wanted: function of an array's name, whether to read it; None: all.

    Returns:
        dict, name -> array, writeable.

    Raises:
        ArchiveError: damaged, of another kind, or unfolds to more than 256 MiB and 20 times its
            size.
        OSError: there is no such file, or it may not be read.
    """
    with bounded_zip(path) as archive:
        try:
            members = {
                member.filename.removesuffix(".npy"): member for member in archive.infolist()
            }
            arrays = {
                name: _read_npy(archive, member)
                for name, member in members.items()
                if wanted is None or wanted(name)
            }
        except (ArchiveError, MemoryError):
            raise
        except Exception as error:  # zlib, zipfile, NumPy, and the system for a place below 0
            raise ArchiveError(f"the archive is damaged ({error!r:.200})") from error
    for name, array in arrays.items():
        if isinstance(array, io.BytesIO):
            if read_object is None:
                raise ArchiveError(f"{name} holds Python objects, which could run anything")
            arrays[name] = read_object(array)
    return arrays


@contextmanager
def bounded_zip(path):
    """A `zipfile.ZipFile` whose members together are not many times the archive's size."""
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # struct's, Unicode's and zipfile's own
        if isinstance(error, OSError) and error.filename is not None:  # it could not be opened
            raise
        raise ArchiveError(
            f"no whole archive: truncated, or another kind of file ({error!r:.200})"
        ) from error
    with archive:
        archive.fp.seek(0, os.SEEK_END)
        real = archive.fp.tell()
        unfolded = sum(member.file_size for member in archive.infolist())
        if unfolded > max(LEAST_ROOM, MOST_UNFOLDED * real):
            raise ArchiveError(f"the archive of {real} bytes would unfold to {unfolded}")
        kinds = {member.compress_type for member in archive.infolist()}
        if not kinds <= {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise ArchiveError("the archive is packed in a way that NumPy does not use")
        yield archive


def _read_npy(archive, member):
    """An array, or the file of the pickle in its place."""
    data = io.BytesIO(archive.read(member))
    version = np.lib.format.read_magic(data)
    if version > (2, 0):
        raise ArchiveError(f"{member.filename} is of NumPy's format {version}, which none writes")
    read_header = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
    shape, fortran, dtype = read_header(data)
    if dtype.hasobject:
        return data
    values = bytearray(data.read())
    declared = math.prod(shape) * dtype.itemsize
    if declared != len(values) or max(shape, default=0) > max(len(values), 2**16):
        raise ArchiveError(
            f"{member.filename} declares {shape} numbers of {dtype}, and holds {len(values)} bytes"
        )
    return np.ndarray(shape, dtype, values, order="F" if fortran else "C")
