"""Read a stranger's pickle without running it.

A pickle is a program: plain `pickle.load` calls whatever the file names. SMPL's own files are
pickles, often with `chumpy` objects inside. `load` runs nothing: it admits a short list of names,
notes what the file asks of them, and builds the arrays itself from the notes. `load_torch` reads
the weights in a PyTorch file in the same way.
"""

import pickle
import re

import numpy as np
from scipy import sparse


class ModelFileError(ValueError):
    """A body model cannot be read or written; the message says what was expected and found."""


class UnsafePickleError(ModelFileError):
    """A pickle asks for something that no body model needs. Nothing of it was run."""


# (module, name) -> what it stands for. Exact pairs: a prefix or a dotted name would let
# `numpy.load` or `numpy.os.system` through.
_ADMITTED = {
    **{
        (f"numpy.{core}.{module}", name): kind
        for core in ("core", "_core")  # NumPy 1 and 2
        for module, name, kind in [
            ("multiarray", "_reconstruct", "array"),
            ("multiarray", "scalar", "scalar"),
            ("numeric", "_frombuffer", "buffer"),
        ]
    },
    ("numpy", "ndarray"): "type",
    ("numpy", "dtype"): "dtype",
    **{
        (f"scipy.sparse.{prefix}{form}", f"{form}_matrix"): form
        for prefix in ("", "_")  # SciPy before and after 1.8
        for form in ("csc", "csr", "coo")
    },
    ("chumpy.ch", "Ch"): "chumpy",
    ("chumpy.reordering", "Select"): "select",
    ("_codecs", "encode"): "bytes",  # how Python 3 writes bytes for Python 2
    ("copy_reg", "_reconstructor"): "object",  # how protocols 0 and 1 write any object
    ("copyreg", "_reconstructor"): "object",
    **{
        (module, name): "type"
        for module in ("__builtin__", "builtins")  # Python 2 and 3
        for name in ("object", "set", "bytes")  # chumpy's book-keeping, never looked at
    },
}


def load(file):
    """What a pickle holds: dicts, lists, strings, numbers, NumPy arrays and SciPy matrices.

    Args:
        file: binary file, from Python 2 or 3, any protocol. Arrays of numbers or strings, csc,
            csr and coo matrices, and chumpy's `Ch` and `Select`, which come back as arrays.

    Raises:
        UnsafePickleError: it asks for another name.
        ModelFileError: it is damaged, or an array in it is malformed.
    """
    try:
        return _build(_RecordingUnpickler(file, encoding="latin1").load())  # Python 2's strings
    except ModelFileError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise ModelFileError(
            f"the pickle is damaged or truncated, copy it again ({error!r})"
        ) from error


# what a PyTorch file of weights asks for, and the number types of its storages
_ADMITTED_BY_TORCH = {
    ("collections", "OrderedDict"): "dict",
    ("torch._utils", "_rebuild_tensor_v2"): "tensor",
}
_STORAGES = {"FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8"}
_TORCH_MAGIC = 0x1950A86A20F9469CFC6C


def load_torch(file):
    """The weights in a PyTorch file, name -> array, read without PyTorch.

    Args:
        file: binary file, a `state_dict` as `torch.save` wrote it before PyTorch 1.6: five pickles
            (magic number, version, byte sizes, the dict, the storages' keys), then for each storage
            its number of entries and the entries.

    Raises:
        UnsafePickleError: it asks for a name that weights do not need.
        ModelFileError: it is damaged, or of another form.
    """
    try:
        if _TorchUnpickler(file).load() != _TORCH_MAGIC:
            raise ModelFileError("expected weights as PyTorch before 1.6 wrote them")
        _TorchUnpickler(file).load(), _TorchUnpickler(file).load()  # version, sizes of types
        weights = _TorchUnpickler(file).load()
        types = {record.args[0].key: record.args[0].dtype for record in weights.values()}
        storages = {}
        for key in _TorchUnpickler(file).load():
            dtype = np.dtype(types[key])
            (count,) = np.frombuffer(file.read(8), "<i8")
            storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype, count)
        return {name: _tensor(record, storages) for name, record in weights.items()}
    except ModelFileError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise ModelFileError(
            f"the file of weights is damaged or truncated, get it again ({error!r})"
        ) from error


def _tensor(record, storages):
    """The array that `_rebuild_tensor_v2(storage, offset, shape, strides, ...)` stands for."""
    storage, offset, shape, strides = record.args[:4]
    flat = storages[storage.key]
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if 0 in shape or min(offset, *shape, *strides, 0) < 0 or last >= len(flat):
        raise ModelFileError(f"expected entries 0 to {len(flat) - 1}, found one at {last}")
    bytes_apart = [step * flat.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(flat[offset:], shape, bytes_apart, writeable=False)


class _Record:
    """A request of a pickle, noted but not carried out: what for, its arguments, its state."""

    kind = None
    state = None

    def __new__(cls, *args, **kwargs):
        record = super().__new__(cls)
        record.args = args
        return record

    def __setstate__(self, state):
        self.state = state


class _RecordingUnpickler(pickle.Unpickler):
    """Builds lists, dicts, strings and numbers; everything else becomes a `_Record`.

    No function or class of NumPy, SciPy or anyone else is ever handed to the pickle, so it has
    nothing to call. Each name gets a fresh class: what a pickle does to one, it does to itself.
    """

    def find_class(self, module, name):
        kind = _ADMITTED.get((module, name))
        if kind is None:
            raise UnsafePickleError(
                f"expected only NumPy arrays, SciPy matrices and chumpy arrays, found a request "
                f"for {module}.{name}. Nothing was run. Do not trust this file; get the model "
                "from its authors, or convert it to .npz where it was made"
            )
        return type(name, (_Record,), {"kind": kind})


class _TorchUnpickler(_RecordingUnpickler):
    """The same for weights: their names are others, and storages come by persistent id."""

    def find_class(self, module, name):
        if module == "torch" and name in _STORAGES:
            return type(name, (_Record,), {"dtype": _STORAGES[name]})
        kind = _ADMITTED_BY_TORCH.get((module, name))
        if kind is None:
            raise UnsafePickleError(
                f"expected only weights, found a request for {module}.{name}. Nothing was run. Do "
                "not trust this file"
            )
        # a class of our own with room for attributes: PyTorch hangs `_metadata` on its dict
        return type(name, (dict if kind == "dict" else _Record,), {"kind": kind})

    def persistent_load(self, pid):
        _, storage, key = pid[:3]
        return type("Storage", (), {"key": key, "dtype": storage.dtype})


def _build(value):
    """The array, matrix or number that a `_Record` stands for, within lists and dicts too."""
    if isinstance(value, dict):
        return {name: _build(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_build(item) for item in value)
    if not isinstance(value, _Record):
        return value
    args, state = value.args, value.state
    match value.kind:
        case "array":
            shape, dtype, fortran, data = state[-4:]
            return _array(data, dtype, shape, "F" if fortran else "C")
        case "buffer":
            return _array(*args)
        case "scalar":
            return _array(args[1], args[0], (), "C")[()]
        case "object":
            instance = args[0]()
            instance.state = state
            return _build(instance)
        case "csc" | "csr":
            parts = tuple(_build(state[name]) for name in ("data", "indices", "indptr"))
            make = {"csc": sparse.csc_matrix, "csr": sparse.csr_matrix}[value.kind]
            matrix = make(parts, shape=state.get("_shape") or state["shape"])
            matrix.check_format(full_check=True)  # indices in range: compiled code trusts them
            return matrix
        case "coo":
            coords = state.get("coords") or (state["row"], state["col"])
            parts = (_build(state["data"]), tuple(_build(c) for c in coords))
            return sparse.coo_matrix(parts, shape=state.get("_shape") or state["shape"])
        case "chumpy":
            return _build(state["x"])
        case "select":
            chosen = _build(state["a"]).ravel()[_build(state["idxs"])]
            return chosen.reshape(state.get("preferred_shape", chosen.shape))
    return value


def _array(data, dtype, shape, order):
    dtype = _dtype(dtype)
    if dtype.hasobject:
        if shape == () and len(data) == 1:  # how .npz wraps one object
            return _build(data[0])
        raise ModelFileError(f"expected arrays of numbers, found an object array of shape {shape}")
    if isinstance(data, _Record) and data.kind == "bytes":
        data = data.args[0]
    if isinstance(data, str):  # Python 2 had no other bytes
        data = data.encode("latin1")
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _dtype(record):
    """Numbers and strings only: a structured type could hide pointers among the bytes."""
    code, order = record.args[0], record.state[1] if record.state else "="
    if not re.fullmatch(r"[<>|=]?(b1|[iu][1248]|f[248]|O8?|[SU][0-9]+)", code):
        raise ModelFileError(f"expected arrays of numbers, found the type {code!r}")
    return np.dtype(code).newbyteorder(order)
