"""Reading archives of arrays in no more memory than their size allows."""

import gc
import io
import math
import os
import zipfile
from contextlib import contextmanager

import numpy as np

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
    with _uncollected():
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


@contextmanager
def _uncollected():
    """No garbage collection meanwhile.

    NumPy reads headers by Python's own parser, which up to 3.11.7 and 3.12.1 raises SystemError
    when a collection in its midst runs something that parses, too (CPython's issue 106905).
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
