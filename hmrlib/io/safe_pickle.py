"""Read a stranger's pickle without running it.

A pickle is a program: plain `pickle.load` calls whatever the file names. SMPL's own files are
pickles, often with `chumpy` objects inside. `load` runs nothing: it admits a short list of names,
notes what the file asks of them, and builds the arrays itself from the notes. `load_torch` reads
the weights in a PyTorch file in the same way, and `load_joblib` what joblib wrote.
"""

import io
import math
import pickle
import re
import struct
import zlib
from functools import partial
from typing import ClassVar, NamedTuple

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
        (f"scipy.sparse.{prefix}{form}", f"{form}_{kind}"): form
        for prefix in ("", "_")  # SciPy before and after 1.8
        for kind in ("matrix", "array")
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

    Time and memory follow from the file's real size, not from the sizes that it declares.

    Args:
        file: binary file, from Python 2 or 3, any protocol. Arrays of numbers or strings, csc,
            csr and coo matrices, and chumpy's `Ch` and `Select`, which come back as arrays.

    Raises:
        UnsafePickleError: it asks for another name.
        ModelFileError: it is damaged, an array in it is malformed, or it unfolds into far more
            than it holds.
    """
    try:
        data = file.read()
        return _Builder(len(data)).build(_RecordingUnpickler(io.BytesIO(data)).load())
    except ModelFileError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise ModelFileError(
            f"the pickle is damaged or truncated, copy it again ({error!r:.200})"
        ) from error


_JOBLIB_ARRAY = ("joblib.numpy_pickle", "NumpyArrayWrapper")
_MOST_UNFOLDED, _LEAST_ROOM = 50, 2**28  # of a packed file: many times its size, or bytes


def load_joblib(file):
    """The same of a file that joblib wrote, packed with zlib or not (`joblib.dump(x, path)`).

    Its arrays do not stand in the pickle but behind it, each where it is asked for.

    Raises:
        UnsafePickleError, ModelFileError: as `load`; packed otherwise than with zlib, or far more
            than the file's size.
    """
    try:
        data = file.read()
        if data[:1] == b"\x78":  # zlib
            most = max(_LEAST_ROOM, _MOST_UNFOLDED * len(data))
            unpack = zlib.decompressobj()
            data = unpack.decompress(data, most)
            if unpack.unconsumed_tail:
                raise ModelFileError(f"expected a file that unfolds to at most {most} bytes")
        return _Builder(len(data)).build(_JoblibUnpickler(io.BytesIO(data)).load())
    except ModelFileError:
        raise
    except Exception as error:
        raise ModelFileError(
            f"the file of joblib is damaged, truncated or packed in another way ({error!r:.200})"
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
        file = io.BytesIO(file.read())
        if _TorchUnpickler(file).load() != _TORCH_MAGIC:
            raise ModelFileError("expected weights as PyTorch before 1.6 wrote them")
        _TorchUnpickler(file).load(), _TorchUnpickler(file).load()  # version, sizes of types
        weights = _TorchUnpickler(file).load()
        types = {record.args[0].key: record.args[0].dtype for record in weights.values()}
        storages = {}
        for key in _TorchUnpickler(file).load():
            dtype = np.dtype(types[key])
            (count,) = np.frombuffer(file.read(8), "<i8").tolist()
            storages[key] = np.frombuffer(file.read(max(0, count) * dtype.itemsize), dtype, count)
            if dtype.kind == "f" and not np.isfinite(storages[key]).all():
                raise ModelFileError(f"expected finite weights, found NaN or infinity in {key!r}")
        return {name: _tensor(record, storages) for name, record in weights.items()}
    except ModelFileError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise ModelFileError(
            f"the file of weights is damaged or truncated, get it again ({error!r:.200})"
        ) from error


def _tensor(record, storages):
    """The array that `_rebuild_tensor_v2(storage, offset, shape, strides, ...)` stands for."""
    storage, offset, shape, strides = record.args[:4]
    flat = storages[storage.key]
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if 0 in shape or min(offset, *shape, *strides, 0) < 0 or last >= len(flat):
        raise ModelFileError(f"expected entries 0 to {len(flat) - 1}, found one at {last}")
    if math.prod(shape) > len(flat):  # by a stride of 0
        raise ModelFileError(f"expected at most {len(flat)} entries, found {math.prod(shape)}")
    bytes_apart = [step * flat.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(flat[offset:], shape, bytes_apart, writeable=False)


class _Record:
    """A request of a pickle, noted but not carried out: what for, its arguments, its state."""

    __slots__ = ("args", "kind", "state")

    def __init__(self, kind, args):
        self.kind, self.args, self.state = kind, args, None


class _Name:
    """What a pickle gets for an admitted name: calling it notes the call.

    Attributes:
        kind: what the name stands for; dtype: of a storage of PyTorch's.
    """

    __slots__ = ("dtype", "kind")

    def __init__(self, kind, dtype=None):
        self.kind, self.dtype = kind, dtype

    def __call__(self, *args):
        if len(args) > 9:  # no admitted name takes so many: many calls could share a long list
            raise ModelFileError(f"expected a few arguments for {self.kind}, found {len(args)}")
        return {} if self.kind == "dict" else _Record(self.kind, args)


class _Storage(NamedTuple):
    key: str
    dtype: str


# `hash` of nested tuples takes exponential time, and large integers can be chosen to collide
_MOST_KEY = 2**31


def _checked_key(key):
    if isinstance(key, str | bytes | bool | None | _Record):
        return
    if not isinstance(key, int) or abs(key) >= _MOST_KEY:
        raise ModelFileError(f"expected names as keys, found {type(key).__name__}")


def _whole_line(file):
    line = file.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    return line


class _RecordingUnpickler(pickle._Unpickler):
    """Builds lists, dicts, strings and numbers; everything else becomes a `_Record`.

    No function or class of NumPy, SciPy or anyone else is ever handed to the pickle, so it has
    nothing to call. It is the standard library's own in Python, not in C, so that keys are looked
    at before they are hashed, and no opcode takes memory for a size that it only declares.
    """

    dispatch: ClassVar = dict(pickle._Unpickler.dispatch)
    admitted = _ADMITTED
    wanted = "NumPy arrays, SciPy matrices and chumpy arrays"

    def __init__(self, file):
        super().__init__(file, encoding="latin1")  # Python 2's strings
        self._file_readline = lambda: _whole_line(file)

    def find_class(self, module, name):
        kind = self.admitted.get((module, name))
        if kind is None:
            raise UnsafePickleError(
                f"expected only {self.wanted}, found a request for {f'{module}.{name}'[:100]}. "
                "Nothing was run. Do not trust this file; get the model from its authors, or "
                "convert it to .npz where it was made"
            )
        return _Name(kind)

    def load_newobj(self):
        args = self.stack.pop()
        self.stack.append(self.stack.pop()(*args))

    def load_newobj_ex(self):
        self.stack.pop()  # keyword arguments, which no admitted name takes
        self.load_newobj()

    def load_build(self):
        state = self.stack.pop()
        if isinstance(self.stack[-1], _Record):
            self.stack[-1].state = state
        elif type(self.stack[-1]) is not dict:  # PyTorch hangs `_metadata` on its dict
            raise ModelFileError(f"expected no state for {type(self.stack[-1]).__name__}")

    def load_bytearray8(self):
        (size,) = struct.unpack("<Q", self.read(8))
        self.stack.append(bytearray(self.read(size)))

    def load_setitem(self):
        _checked_key(self.stack[-2])
        super().load_setitem()

    def load_pairs(self, load):
        for key in self.stack[::2]:
            _checked_key(key)
        load(self)

    def load_elements(self, load):
        for element in self.stack:
            _checked_key(element)
        load(self)

    dispatch[pickle.NEWOBJ[0]] = load_newobj
    dispatch[pickle.NEWOBJ_EX[0]] = load_newobj_ex
    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = partial(load_pairs, load=pickle._Unpickler.load_setitems)
    dispatch[pickle.DICT[0]] = partial(load_pairs, load=pickle._Unpickler.load_dict)
    dispatch[pickle.ADDITEMS[0]] = partial(load_elements, load=pickle._Unpickler.load_additems)
    dispatch[pickle.FROZENSET[0]] = partial(load_elements, load=pickle._Unpickler.load_frozenset)


class _TorchUnpickler(_RecordingUnpickler):
    """The same for weights: their names are others, and storages come by persistent id."""

    admitted = _ADMITTED_BY_TORCH
    wanted = "weights"

    def find_class(self, module, name):
        if module == "torch" and name in _STORAGES:
            return _Name("storage", _STORAGES[name])
        return super().find_class(module, name)

    def persistent_load(self, pid):
        _, storage, key = pid[:3]
        _checked_key(key)
        return _Storage(key, storage.dtype)


class _JoblibUnpickler(_RecordingUnpickler):
    """The same for joblib: behind a wrapper of an array come the array's bytes."""

    admitted = _ADMITTED | {_JOBLIB_ARRAY: "joblib", ("collections", "OrderedDict"): "dict"}

    def __init__(self, file):
        super().__init__(file)
        self._file = file

    def load_build(self):
        super().load_build()
        record = self.stack[-1]
        if isinstance(record, _Record) and record.kind == "joblib":
            self.stack[-1] = self._array(record.state)

    def _array(self, state):
        """The array whose bytes come next; as many as it declares must be there."""
        dtype, shape = _dtype(state["dtype"]), _shape(state["shape"])
        if dtype.hasobject:
            raise ModelFileError("expected arrays of numbers, found one of objects")
        if state.get("numpy_array_alignment_bytes") is not None:
            self._file.read(self._file.read(1)[0])  # so many bytes of nothing
        count = math.prod(shape)
        data = self._file.read(count * dtype.itemsize) if count else b""
        array = np.frombuffer(data, dtype, count).copy()  # an error if the file has ended
        if state["order"] == "F":
            return array.reshape(shape[::-1]).T
        return array.reshape(shape)

    dispatch: ClassVar = {**_RecordingUnpickler.dispatch, pickle.BUILD[0]: load_build}


class _Builder:
    """Builds what a pickle's notes stand for: each object once, and not much more than its file.

    A few bytes can name the same object, or the same long array, many times over.

    Attributes:
        size: of the file, bytes.
        room: how many bytes may still be copied, and how many objects a list may hold in all.
    """

    def __init__(self, size):
        self.size, self.room = size, 16 * size + 2**20
        self.built = {}  # id of an object -> it (kept alive), what became of it, objects within

    def build(self, value):
        """The array, matrix or number that a `_Record` stands for, within lists and dicts too."""
        if not isinstance(value, dict | list | tuple | _Record):
            return value
        if id(value) not in self.built:
            self.built[id(value)] = value, _UNFINISHED, 1
            made = self._made(value)
            self.built[id(value)] = value, made, self._count(value)
        made = self.built[id(value)][1]
        if made is _UNFINISHED:
            raise ModelFileError("expected a tree of arrays, found one that contains itself")
        return made

    def _count(self, value):
        """How many objects a list or dict holds, each counted as often as it is reached."""
        if isinstance(value, _Record):
            return 1
        items = value.values() if isinstance(value, dict) else value
        count = 1 + sum(self.built.get(id(item), (None, None, 1))[2] for item in items)
        if count > self.room:
            self._take_room(count)
        return count

    def _made(self, value):
        if isinstance(value, dict):
            return {name: self.build(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)([self.build(item) for item in value])
        args, state = value.args, value.state
        match value.kind:
            case "array":
                shape, dtype, fortran, data = state[-4:]
                return self._array(data, dtype, shape, "F" if fortran else "C")
            case "buffer":
                return self._array(*args)
            case "scalar":
                return self._array(args[1], args[0], (), "C")[()]
            case "object":
                instance = args[0]()
                instance.state = state
                return self.build(instance)
            case "csc" | "csr":
                return self._compressed(value.kind, state)
            case "coo":
                coords = state.get("coords") or (state["row"], state["col"])
                parts = (self._copied(state["data"]), tuple(map(self._copied, coords)))
                return sparse.coo_matrix(parts, shape=_shape(state.get("_shape") or state["shape"]))
            case "chumpy":
                return self.build(state["x"])
            case "select":
                return self._selected(state)
        return value

    def _compressed(self, form, state):
        parts = tuple(self._copied(state[name]) for name in ("data", "indices", "indptr"))
        make = {"csc": sparse.csc_matrix, "csr": sparse.csr_matrix}[form]
        matrix = make(parts, shape=_shape(state.get("_shape") or state["shape"]))
        matrix.check_format(full_check=True)  # indices in range: compiled code trusts them
        return matrix

    def _selected(self, state):
        numbers, chosen = self._copied(state["a"]).ravel(), self.build(state["idxs"])
        self._take_room(chosen.size * numbers.itemsize)
        chosen = numbers[chosen]
        return chosen.reshape(_shape(state.get("preferred_shape", chosen.shape)))

    def _copied(self, value):
        """An array that is about to be copied."""
        array = self.build(value)
        self._take_room(array.nbytes)
        return array

    def _take_room(self, size):
        self.room -= size
        if self.room < 0:
            raise ModelFileError(
                f"the pickle holds {self.size} bytes, and unfolds into many times more"
            )

    def _array(self, data, dtype, shape, order, axis_order=None):
        dtype, shape = _dtype(dtype), _shape(shape)
        if dtype.hasobject:
            if shape == () and len(data) == 1:  # how .npz wraps one object
                return self.build(data[0])
            raise ModelFileError(
                f"expected arrays of numbers, found an object array of shape {shape}"
            )
        if isinstance(data, _Record) and data.kind in ("bytes", "type"):
            data = data.args[0] if data.args else b""  # `bytes()`, of an array without numbers
        if isinstance(data, str):  # Python 2 had no other bytes
            self._take_room(len(data))
            data = data.encode("latin1")
        if max(shape, default=0) > max(self.size, 2**16):  # rows of nothing
            raise ModelFileError(f"expected an array of the file's size, found the shape {shape}")
        array = np.frombuffer(data, dtype)
        if axis_order is not None:  # of another order than C's and Fortran's
            return array.reshape(shape).transpose(axis_order)
        return array.reshape(shape, order=order)


_UNFINISHED = object()


def _shape(value):
    """A shape that a pickle gives: a few lengths, none negative."""
    lengths = value if isinstance(value, tuple | list) else (value,)
    if len(lengths) > 32 or not all(type(n) is int and 0 <= n < 2**40 for n in lengths):
        raise ModelFileError("expected the shape of an array, found something else")
    return tuple(lengths)


def _dtype(record):
    """Numbers and strings only: a structured type could hide pointers among the bytes."""
    code, order = record.args[0], record.state[1] if record.state else "="
    if not re.fullmatch(r"[<>|=]?(b1|[iu][1248]|f[248]|O8?|[SU][0-9]+)", code):
        raise ModelFileError(f"expected arrays of numbers, found the type {code!r:.40}")
    return np.dtype(code).newbyteorder(order)
