"""MATLAB's and CDF's files, read in a process of their own.

The libraries that read them trust what the file says: one flipped bit in forty kills the process
with `loadmat`, and `cdflib` may never end. So a child reads the file, within limits of time and
memory that follow from its real size, and hands back numbers, text, lists and dicts: JSON, and
arrays in an .npz, which are read without trust. If it dies, that is an error with a name.

The child runs this very file as a script, which imports none of hmrlib: no TensorFlow, and nothing
of the program that called.
"""

import contextlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

# What a file may cost: so much, and so much more for each byte that it has
SECONDS, SECONDS_A_BYTE = 3, 10e-6  # of the processor
MEMORY, MEMORY_A_BYTE = 2**30, 100
PATIENCE = 20  # the clock may show so many times the processor's seconds, on a busy machine
INLINE = 16  # entries; a larger array goes into the .npz


class ForeignFileError(ValueError):
    """A file cannot be read: damaged, of another form, or larger inside than its size allows."""


def read(kind, names, *paths):
    """What some variables of a file hold.

    Args:
        kind: one of `READERS`.
        names: of the variables that are wanted; of HDF5, None: all the data sets there are.
        paths: files that exist; several are read by one process.

    Returns:
        {name: value} for one path, else a list of such. Arrays come as arrays, or as lists if they
        are small; MATLAB's structs as dicts, its cells and struct arrays as lists.

    Raises:
        ForeignFileError: a file is damaged, lacks a variable, or costs too much.
    """
    size = sum(os.stat(path).st_size for path in paths)
    seconds = SECONDS + SECONDS_A_BYTE * size
    limits = [int(seconds) + 1, int(MEMORY + MEMORY_A_BYTE * size)]
    from hmrlib.io import read_npz  # here, as the child has no hmrlib

    told = f"{' and '.join(map(str, paths))}: "
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out.npz")
        absolute = [os.path.abspath(path) for path in paths]
        request = json.dumps([kind, names, absolute, str(out), limits])
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "OPENBLAS_NUM_THREADS": "1",  # each thread would take of the memory
        }
        try:
            done = subprocess.run(
                [sys.executable, "-P", __file__, request],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=60 + PATIENCE * seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ForeignFileError(f"{told}reading it does not end; it is damaged") from error
        if done.returncode or not out.exists():
            raise ForeignFileError(f"{told}damaged: reading it ended the process that did")
        arrays = read_npz(out)
    tree = json.loads(arrays["tree"].tobytes())
    if isinstance(tree, str):  # what is wrong
        raise ForeignFileError(told + tree)
    values = [_decode(value, arrays) for value in tree]
    return values[0] if len(paths) == 1 else values


def _decode(value, arrays):
    if isinstance(value, list):
        return [_decode(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    return {name: _decode(item, arrays) for name, item in value["struct"].items()}


# --- in the child --------------------------------------------------------------------------------


def _mat(path, names):
    from scipy.io import loadmat

    return loadmat(
        path, squeeze_me=True, struct_as_record=False, variable_names=names, appendmat=False
    )


def _hdf5(path, names):
    import h5py

    values = {}
    with h5py.File(path, "r") as file:
        for name in _hdf5_names(file) if names is None else names:
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                continue
            data = file[name]  # the numbers of other files are none of its business
            if isinstance(data, h5py.Dataset) and not (data.external or data.is_virtual):
                values[name] = np.asarray(data)
    return values


def _hdf5_names(file):
    """All data sets, each once; links that lead elsewhere are not followed."""
    names = []
    file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
    return names


def _cdf(path, names):
    from cdflib import CDF

    file = CDF(path)
    return {name: np.asarray(file.varget(name)) for name in names}


READERS = {"mat": _mat, "hdf5": _hdf5, "cdf": _cdf}
_LIBRARIES = {"mat": "scipy.io", "hdf5": "h5py", "cdf": "cdflib"}


def _encode(value, arrays):
    """A value as JSON, its larger arrays put aside in `arrays`."""
    if hasattr(value, "_fieldnames"):  # MATLAB's struct
        fields = {name: _encode(getattr(value, name), arrays) for name in value._fieldnames}
        return {"struct": fields}
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "biuf" and (value.size > INLINE or value.ndim > 1):
            name = f"a{len(arrays)}"
            arrays[name] = value
            return {"array": name}
        if value.ndim == 0:  # a cell of one
            return _encode(value.item(), arrays)
        value = value.tolist() if value.dtype.kind in "biufU" else list(value)
    elif isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list):
        return [_encode(item, arrays) for item in value]
    return value if isinstance(value, str | int | float) else None


def _main():
    kind, names, paths, out, limits = json.loads(sys.argv[1])
    from hmrlib.io.extras import extra  # here, as the child has no hmrlib

    with extra("h36m"):
        importlib.import_module(_LIBRARIES[kind])  # which costs nothing of what the file may
    with contextlib.suppress(ImportError, ValueError, OSError):  # not everywhere
        _limit(*limits)
    arrays, tree = {}, []
    try:
        for path in paths:
            values = READERS[kind](path, names)
            missing = [name for name in names or () if name not in values]
            if missing:
                raise ValueError(f"expected {', '.join(missing)} in it")
            wanted = values if names is None else names
            tree.append({"struct": {name: _encode(values[name], arrays) for name in wanted}})
        arrays["tree"] = _bytes(tree)
    except MemoryError:
        arrays = {"tree": _bytes("damaged: it claims to hold more than its size allows")}
    except Exception as error:
        arrays = {"tree": _bytes(f"cannot be read ({error!r:.200})")}
    np.savez(out, **arrays)


def _bytes(tree):
    return np.frombuffer(json.dumps(tree).encode(), np.uint8)


def _limit(seconds, memory):
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    spent = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    for limit, value in ((resource.RLIMIT_CPU, int(spent) + seconds), (resource.RLIMIT_AS, memory)):
        resource.setrlimit(limit, (value, value))


if __name__ == "__main__":
    _main()
