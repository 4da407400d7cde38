"""Reading and writing body models: round trips, strangers' files, hostile files, glTF."""

import io
import json
import os
import pickle
import struct
import sys
import tracemalloc
import types
import zipfile
from contextlib import nullcontext

import numpy as np
import pytest
import trimesh
from scipy import sparse
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from hmrlib.body import files
from hmrlib.body.files import ModelFileError
from hmrlib.body.model import BodyInputError, load_body
from hmrlib.io import safe_pickle
from hmrlib.io.safe_pickle import UnsafePickleError
from hmrlib.skeleton import JOINT_NAMES, PARENTS

V, S = 80, 12


def make_model(seed=0):
    """A small model with every array filled: a closed convex mesh of V vertices, 24 joints."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(V, 3))
    vertices = directions / np.linalg.norm(directions, axis=1, keepdims=True) * [0.5, 0.9, 0.3]
    faces = ConvexHull(vertices).simplices
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inward = np.einsum("fd,fd->f", normals, corners[:, 0]) < 0
    faces[inward] = faces[inward, ::-1]
    regressor = np.zeros((24, V))
    weights = np.zeros((V, 24))
    for row in regressor:
        row[rng.choice(V, 5, replace=False)] = rng.dirichlet(np.ones(5))
    for row in weights:
        row[rng.choice(24, 4, replace=False)] = rng.dirichlet(np.ones(4))
    parents = np.array(PARENTS, np.int64)
    return {
        "v_template": vertices.astype(np.float32),
        "shapedirs": rng.normal(0, 0.02, (V, 3, S)).astype(np.float32),
        "posedirs": rng.normal(0, 0.002, (V, 3, 207)).astype(np.float32),
        "J_regressor": sparse.csc_matrix(regressor.astype(np.float32)),
        "weights": weights.astype(np.float32),
        "kintree_table": np.array([parents, np.arange(24)]).astype(np.uint32),
        "f": faces.astype(np.uint32),
    }


@pytest.fixture
def model():
    return make_model()


def assert_same(found, expected):
    for name in files.REQUIRED:
        a, b = (
            value.toarray() if sparse.issparse(value) else value
            for value in (found[name], expected[name])
        )
        np.testing.assert_array_equal(a, b, err_msg=name)


# --- round trips ------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npz", ".pkl"])
def test_round_trip_keeps_every_array_and_our_card(model, tmp_path, suffix):
    card = json.dumps({"licence": "CC0", "name": "körper"})
    path = tmp_path / f"body{suffix}"
    files.write_model(path, {**model, "card": card, "J": np.ones((24, 3))})
    found = files.read_model(path)
    assert_same(found, model)
    assert found["card"] == card
    np.testing.assert_array_equal(found["J"], np.ones((24, 3)))
    assert found["parents"].tolist() == list(PARENTS)
    assert found["kintree_table"].dtype == np.uint32
    assert found["kintree_table"][0, 0] == 4294967295
    assert sparse.isspmatrix_csc(found["J_regressor"])
    floats = [found[name].dtype for name in ("v_template", "shapedirs", "posedirs", "weights")]
    assert floats == [np.float32] * 4
    assert found["f"].dtype == np.int32
    assert found["v_template"].flags.writeable


@pytest.mark.parametrize("suffix", [".npz", ".pkl", ".glb", ".obj", ".ply"])
def test_the_same_model_gives_the_same_bytes(model, tmp_path, suffix):
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    files.write_model(first, model)
    reread = tmp_path / "model.npz"
    files.write_model(reread, model)
    files.write_model(second, files.read_model(reread))
    assert first.read_bytes() == second.read_bytes()
    if suffix == ".npz":  # no clock in the archive
        assert {item.date_time for item in zipfile.ZipFile(first).infolist()} == {
            (1980, 1, 1, 0, 0, 0)
        }


@pytest.mark.parametrize("suffix", [".npz", ".pkl"])
def test_half_precision_is_smaller_and_moves_vertices_by_less_than_a_tenth_of_a_millimetre(
    model, tmp_path, suffix
):
    files.write_model(tmp_path / f"single{suffix}", model)
    files.write_model(tmp_path / f"half{suffix}", model, dtype=np.float16)
    sizes = [(tmp_path / f"{name}{suffix}").stat().st_size for name in ("half", "single")]
    assert sizes[0] < 0.65 * sizes[1]
    half = files.read_model(tmp_path / f"half{suffix}")
    assert half["posedirs"].dtype == np.float32
    for name in ("v_template", "weights"):
        np.testing.assert_array_equal(half[name], model[name])
    betas = np.random.default_rng(1).normal(size=S)
    moved = (half["shapedirs"] - model["shapedirs"]) @ betas
    assert 0 < np.abs(moved).max() < 1e-4


def test_minus_one_for_the_root_and_double_precision_are_read(model, tmp_path):
    kintree = model["kintree_table"].astype(np.int64)
    kintree[0, 0] = -1
    double = {name: model[name].astype(np.float64) for name in ("v_template", "weights")}
    path = tmp_path / "body.npz"
    dense = model["J_regressor"].toarray()
    np.savez(path, **{**model, **double, "kintree_table": kintree, "J_regressor": dense})
    found = files.read_model(path)
    assert_same({**found, "kintree_table": model["kintree_table"]}, model)
    assert found["kintree_table"][0, 0] == -1
    assert found["parents"].tolist() == list(PARENTS)


def test_a_model_that_does_not_fit_together_is_not_written(model, tmp_path):
    with pytest.raises(ModelFileError, match="weights"):
        files.write_model(tmp_path / "body.npz", {**model, "weights": model["weights"][1:]})
    with pytest.raises(ModelFileError, match=r"expected .npz"):
        files.write_model(tmp_path / "body.fbx", model)
    assert os.listdir(tmp_path) == []


# --- strangers' files -------------------------------------------------------------------------


def python2(value):
    """A pickle as Python 2 wrote it at protocol 0, for str, arrays, csc matrices and dicts."""

    def text(data):
        return b"S" + repr(data)[1:].encode() + b"\n"

    if isinstance(value, str):
        return text(value.encode("latin1"))
    if isinstance(value, dict):
        items = b"".join(python2(name) + python2(item) + b"s" for name, item in value.items())
        return b"(d" + items
    if isinstance(value, tuple):
        return b"(" + b"".join(f"I{n}\n".encode() for n in value) + b"t"
    if isinstance(value, FakeChumpy):
        return new_object(type(value).__module__, type(value).__name__, vars(value))
    if sparse.issparse(value):
        state = {name: getattr(value, name) for name in ("data", "indices", "indptr")}
        state["_shape"] = value.shape
        return new_object("scipy.sparse.csc", "csc_matrix", state)
    order = b"I01\n" if value.flags.f_contiguous and value.ndim > 1 else b"I00\n"
    data = value.tobytes(order="A")
    dtype = b"cnumpy\ndtype\n(" + text(value.dtype.str[1:].encode()) + b"I0\nI1\ntR"
    dtype += b"(I3\n" + text(b"<") + b"NNNI-1\nI-1\nI0\ntb"
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\nt" + text(b"b") + b"tR"
    return empty + b"(I1\n" + python2(value.shape) + dtype + order + text(data) + b"tb"


def new_object(module, name, state):
    reconstruct = f"ccopy_reg\n_reconstructor\n(c{module}\n{name}\nc__builtin__\nobject\nNtR"
    return reconstruct.encode() + python2(state) + b"b"


class FakeChumpy:
    """A chumpy object as a pickle holds it: the state and the class's name, no library."""

    def __init__(self, **state):
        self.__dict__.update(state)


Ch = type("Ch", (FakeChumpy,), {"__module__": "chumpy.ch"})
Select = type("Select", (FakeChumpy,), {"__module__": "chumpy.reordering"})


def with_chumpy(model):
    """The model as SMPL is distributed: some arrays of chumpy, some picked out of larger ones."""
    v_template = model["v_template"].astype(np.float64)
    order = np.random.default_rng(2).permutation(v_template.size)
    shuffled = np.empty(v_template.size)
    shuffled[order] = v_template.ravel()
    return {
        **model,
        "shapedirs": Ch(x=model["shapedirs"].astype(np.float64)),
        "v_template": Select(a=Ch(x=shuffled), idxs=order, preferred_shape=(V, 3)),
        "posedirs": np.asfortranarray(model["posedirs"].astype(np.float64)),
        "bs_type": "lrotmin",
    }


@pytest.fixture
def fake_chumpy(monkeypatch):
    """Modules with chumpy's names, so that its objects can be pickled."""
    for module, attributes in [
        ("chumpy", {}),
        ("chumpy.ch", {"Ch": Ch}),
        ("chumpy.reordering", {"Select": Select}),
    ]:
        monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(**attributes))


def test_python2_pickle_with_chumpy_is_read_without_chumpy(model, tmp_path):
    path = tmp_path / "smpl.pkl"
    path.write_bytes(python2(with_chumpy(model)) + b".")
    found = files.read_model(path)
    assert_same(found, model)
    assert found["bs_type"] == "lrotmin"
    assert "chumpy" not in sys.modules


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("form", ["csc", "csr", "coo"])
def test_pickles_of_every_protocol_are_read(model, tmp_path, fake_chumpy, protocol, form):
    stranger = with_chumpy(model)
    stranger["J_regressor"] = model["J_regressor"].asformat(form)
    stranger["shapedirs"]._dirty_vars = {"x"}  # as chumpy has it
    stranger["training"] = {"gender": "f", "count": np.float64(3)}
    path = tmp_path / "smpl.pkl"
    path.write_bytes(pickle.dumps(stranger, protocol=protocol))
    assert_same(files.read_model(path), model)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_without_numbers_are_read(protocol):
    for empty in (np.zeros((3, 0)), np.zeros((0, 2), "f4", order="F"), np.zeros(0, "i8")):
        data = pickle.dumps({"empty": empty, "other": np.arange(3)}, protocol)
        read = safe_pickle.load(io.BytesIO(data))
        np.testing.assert_array_equal(read["empty"], empty, strict=True)
        np.testing.assert_array_equal(read["other"], np.arange(3))


@pytest.mark.parametrize("form", [sparse.csc_array, sparse.coo_array, sparse.csr_matrix, np.array])
def test_a_regressor_of_any_form_is_read_lying_or_standing(model, tmp_path, form):
    dense = model["J_regressor"].toarray()
    for regressor in (dense, dense.T):
        data = pickle.dumps({**model, "J_regressor": form(regressor)}, protocol=2)
        (tmp_path / "smpl.pkl").write_bytes(data)
        assert_same(files.read_model(tmp_path / "smpl.pkl"), model)


def test_npz_with_a_pickled_sparse_matrix_is_read(model, tmp_path):
    path = tmp_path / "smpl.npz"
    np.savez(path, **model)  # numpy wraps J_regressor in an object array
    assert_same(files.read_model(path), model)


def test_300_betas_are_all_kept(model, tmp_path):
    wide = np.random.default_rng(3).normal(size=(V, 3, 300)).astype(np.float32)
    files.write_model(tmp_path / "wide.npz", {**model, "shapedirs": wide})
    np.testing.assert_array_equal(files.read_model(tmp_path / "wide.npz")["shapedirs"], wide)


@pytest.mark.parametrize(
    ("joints", "name"),
    [(5, "FLAME"), (16, "MANO"), (52, "SMPL-H"), (55, "SMPL-X"), (30, "convert")],
)
def test_relatives_are_refused_by_name(model, joints, name):
    relative = {
        **model,
        "kintree_table": np.array([np.arange(joints) - 1, np.arange(joints)]),
        "weights": np.ones((V, joints)) / joints,
        "posedirs": np.zeros((V, 3, 9 * (joints - 1))),
        "J_regressor": np.ones((joints, V)) / V,
    }
    with pytest.raises(ModelFileError, match=f"24 joints, found {joints}.*{name}"):
        files.check_model(relative)


def test_star_is_refused_by_name(model):
    with pytest.raises(ModelFileError, match="STAR"):
        files.check_model({**model, "posedirs": np.zeros((V, 3, 93))})


def damaged(model, name, change):
    array = np.array(model[name].toarray() if sparse.issparse(model[name]) else model[name])
    return {**model, name: change(array)}


def put(index, value):
    def change(array):
        array[index] = value
        return array

    return change


MISFITS = {
    "vertices": ("shapedirs", lambda a: a[1:], r"shapedirs of shape \(80, 3, S\), found \(79, 3,"),
    "regressor": ("J_regressor", lambda a: a[:, 1:], r"J_regressor of shape \(24, 80\)"),
    "correctives": ("posedirs", lambda a: a[..., :200], r"posedirs of shape \(80, 3, 207\)"),
    "flat": ("v_template", lambda a: a.ravel(), r"v_template of shape"),
    "weights": ("weights", put((3, slice(None)), 0.5), r"rows sum to 1.*row 3: 12"),
    "negative": ("weights", put((3, slice(0, 2)), [-1, 2]), r"smallest weight of -1"),
    "faces": ("f", put((0, 0), V), r"vertices 0 to 79, found .* to 80"),
    "no faces": ("f", lambda a: a[:0], "found none"),
    "fractions as faces": ("f", lambda a: a + 0.25, "array of integers, found fractions"),
    "nan as faces": ("f", lambda a: a * np.nan, "array of integers, found fractions or NaN"),
    "nan": ("v_template", put((2, 1), np.nan), r"v_template\[2, 1\] is NaN"),
    "infinite": ("posedirs", put((0, 0, 0), np.inf), r"posedirs\[0, 0, 0\]"),
    "too large": ("shapedirs", lambda a: a.astype(float) * 1e300, r"shapedirs\[0, 0, 0\]"),
    "loop": ("kintree_table", put((0, 4), 7), "parents, each before its child"),
    "own parent": ("kintree_table", put((0, 4), 4), "parents, each before its child"),
    "two roots": ("kintree_table", put((0, 4), 2**32 - 1), "parents, each before its child"),
    "children": ("kintree_table", put((1, 4), 5), "the row 0 to 23"),
    "objects": ("weights", lambda a: a.astype(object), "numbers, found object"),
    "list": ("weights", lambda a: a.tolist(), "numbers, found list"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_arrays_that_do_not_fit_are_refused(model, case):
    name, change, message = MISFITS[case]
    with pytest.raises(ModelFileError, match=message):
        files.check_model(damaged(model, name, change))


def test_missing_arrays_missing_files_and_other_suffixes(model, tmp_path):
    files.check_model(model)
    del model["posedirs"]
    with pytest.raises(ModelFileError, match="missing posedirs; found J_regressor"):
        files.check_model(model)
    with pytest.raises(ModelFileError, match="no such file"):
        files.read_model(tmp_path / "nothing.pkl")
    with pytest.raises(ModelFileError, match=r"expected a model file .npz or .pkl"):
        files.read_model(tmp_path / "body.fbx")
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ModelFileError, match=r"list.pkl: expected a dict of arrays, found list"):
        files.read_model(tmp_path / "list.pkl")


@pytest.mark.parametrize("suffix", [".npz", ".pkl"])
@pytest.mark.parametrize("keep", [0, 1, 50, 0.5, 0.99])
def test_truncated_files(model, tmp_path, suffix, keep):
    path = tmp_path / f"body{suffix}"
    files.write_model(path, model)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    with pytest.raises(ModelFileError, match=f"body{suffix}.*truncated"):
        files.read_model(path)


def test_damaged_archive(model, tmp_path):
    path = tmp_path / "body.npz"
    files.write_model(path, model)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0xFF  # inside the compressed posedirs
    path.write_bytes(whole)
    with pytest.raises(ModelFileError, match="damaged"):
        files.read_model(path)


# --- hostile files ----------------------------------------------------------------------------


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


def hostile_calls(flag):
    return {
        "os.system": Call(os.system, f'echo ran > "{flag}"'),
        "eval": Call(eval, f"open({str(flag)!r}, 'w').close()"),
        "exec": Call(exec, f"open({str(flag)!r}, 'w').close()"),
        "numpy.save": Call(np.save, str(flag), 0),
    }


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("name", ["os.system", "eval", "exec", "numpy.save"])
def test_a_pickle_that_would_run_something_does_not(model, tmp_path, protocol, name):
    flag = tmp_path / "ran.npy"
    data = pickle.dumps({**model, "extra": hostile_calls(flag)[name]}, protocol=protocol)
    path = tmp_path / "hostile.pkl"
    path.write_bytes(data)
    with pytest.raises(UnsafePickleError, match="Nothing was run"):
        files.read_model(path)
    assert not flag.exists()
    pickle.loads(data)  # the file does what it threatens where nobody stops it
    assert flag.exists()


def test_a_hostile_object_inside_an_npz_does_not_run(model, tmp_path):
    flag = tmp_path / "ran"
    path = tmp_path / "hostile.npz"
    call = np.array(hostile_calls(flag)["os.system"], dtype=object)
    np.savez(path, **{**model, "J_regressor": call})
    with pytest.raises(UnsafePickleError, match=r"hostile.npz: .*\.system"):
        files.read_model(path)
    assert not flag.exists()


FORBIDDEN = [
    ("numpy", "load"),
    ("numpy", "ndarray.tofile"),
    ("numpy", "f2py.os.system"),
    ("numpy.core.multiarray", "_reconstruct.__globals__"),
    ("numpy.core.multiarray", "fromfile"),
    ("numpy._core.multiarray", "scalar.__class__"),
    ("numpy.testing._private.utils", "runstring"),
    ("numpy.testing", "rundocs"),
    ("scipy.sparse", "load_npz"),
    ("scipy.sparse._csc", "csc_matrix.__init__"),
    ("scipy.sparse.csc", "np.load"),
    ("chumpy", "os.system"),
    ("chumpy.ch", "os.system"),
    ("chumpy.ch.Ch", "Ch"),
    ("chumpy.optimization", "minimize"),
    ("builtins", "getattr"),
    ("builtins", "object.__reduce__"),
    ("__builtin__", "eval"),
    ("copyreg", "add_extension"),
    ("copyreg", "__newobj__"),
    ("_codecs", "lookup"),
    ("_codecs", "encode.__self__"),
    ("posix", "system"),
    ("hmrlib.io.safe_pickle", "_Record"),
]


@pytest.mark.parametrize(("module", "name"), FORBIDDEN)
def test_only_exact_names_are_admitted(module, name):
    def text(string):
        return b"\x8c" + bytes([len(string)]) + string.encode()

    dotted = b"\x80\x04" + text(module) + text(name) + b"\x93" + text("x") + b"\x85R."
    plain = f"c{module}\n{name}\n(S'x'\ntR.".encode()
    old_class = f"(S'x'\ni{module}\n{name}\n.".encode()
    for data in (dotted, plain, old_class):
        with pytest.raises(UnsafePickleError, match="found a request"):
            safe_pickle.load(io.BytesIO(data))


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
F8 = b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntR"


def array_state(shape, dtype, data):
    return b"(I1\n" + shape + dtype + b"I00\n" + data + b"tb."


ABUSES = {
    # admitted names with arguments that would harm the real ones
    "changing the class": b"cnumpy\nndarray\n(N(dS'__setstate__'\nS'x'\nstb.",
    "structured type": RECONSTRUCT
    + array_state(
        b"(I1\nt",
        b"cnumpy\ndtype\n(S'V8'\nI0\nI1\ntR(I3\nS'|'\nNNNI8\nI1\nI63\ntb",
        b"S'12345678'\n",
    ),
    "objects from bytes": RECONSTRUCT
    + array_state(b"(I1\nt", b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR", b"S'12345678'\n"),
    "too few bytes": RECONSTRUCT + array_state(b"(I100\nt", F8, b"S'12345678'\n"),
    "not bytes": RECONSTRUCT + array_state(b"(I1\nt", F8, b"I5\n"),
    "no state": RECONSTRUCT + b".",
    "a type from nowhere": b"cnumpy._core.multiarray\nscalar\n(S'f8'\nS'12345678'\ntR.",
    "rebuilding a string": b"ccopy_reg\n_reconstructor\n(S'x'\nNNtR.",
    "rebuilding for ever": b"ccopy_reg\n_reconstructor\n(ccopy_reg\n_reconstructor\nNNtR.",
    "chumpy of itself": b"cchumpy.ch\nCh\n)\x81p0\n(dS'x'\ng0\nsb.",
    "matrix without parts": b"cscipy.sparse.csc\ncsc_matrix\n)\x81(db.",
    "an extension code": b"\x82\x01.",
    "a persistent id": b"Pos.system\n.",
    "an out-of-band buffer": b"\x80\x05\x97.",
}


@pytest.mark.parametrize("case", ABUSES)
def test_admitted_names_cannot_be_abused(case):
    with pytest.raises(ModelFileError):
        safe_pickle.load(io.BytesIO(ABUSES[case]))
    array = np.arange(3.0)  # and later files are read as before
    np.testing.assert_array_equal(safe_pickle.load(io.BytesIO(pickle.dumps(array))), array)


def pushed(size, opcode, data=b"x"):
    """An opcode that declares `size` bytes and brings one."""
    return b"\x80\x05" + opcode + struct.pack("<Q", size) + data + b"."


NESTED_KEY = b")" + 60 * b"2\x86"  # a tuple of twice the tuple before: its hash takes 2^60 steps
LISTS = b"]q\x00" + b"".join(
    b"](" + 9 * bytes([ord("h"), n - 1]) + b"eq" + bytes([n]) for n in range(1, 40)
)
GREEDY = {
    # what C's unpickler takes time or memory for without end
    "bytes": pushed(2**40, pickle.BINBYTES8),
    "bytearray": pushed(2**33, pickle.BYTEARRAY8),
    "text": pushed(2**40, pickle.BINUNICODE8),
    "integer": b"\x8b" + struct.pack("<i", 2**31 - 1) + b".",
    "key": b"}" + NESTED_KEY + b"K\x01s.",
    "keys": b"}(" + NESTED_KEY + b"K\x01u.",
    "dict": b"(" + NESTED_KEY + b"K\x01d.",
    "set": b"\x80\x04\x8f(" + NESTED_KEY + b"\x90.",
    "frozenset": b"\x80\x04(" + NESTED_KEY + b"\x91.",
    "large integers as keys": b"}\x8a\x09" + (2**61 - 1).to_bytes(9, "little") + b"Ns.",
    "lists of lists": LISTS + b".",
    "a list in itself": b"]q\x00h\x00a.",
    "long arguments": b"cnumpy\ndtype\n(" + 100 * b"N" + b"tR.",
    "rows of nothing": RECONSTRUCT + array_state(b"(I99999999\nI0\nt", F8, b"S''\n"),
    "a shape of no number": RECONSTRUCT + array_state(LISTS, F8, b"S'12345678'\n"),
}


@pytest.mark.parametrize("case", GREEDY)
def test_a_pickle_takes_no_more_than_its_size(case):
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError):
            safe_pickle.load(io.BytesIO(GREEDY[case]))
        assert tracemalloc.get_traced_memory()[1] < 2**20 + 40 * len(GREEDY[case])
    finally:
        tracemalloc.stop()


def test_many_copies_of_one_array_are_refused(fake_chumpy):
    order, numbers = np.arange(2000), Ch(x=np.zeros(2000))
    for count, refused in ((3, False), (1000, True)):
        data = pickle.dumps([Select(a=numbers, idxs=order) for _ in range(count)], 2)
        with pytest.raises(ModelFileError, match="unfolds") if refused else nullcontext():
            safe_pickle.load(io.BytesIO(data))


def test_a_memo_may_have_any_number():
    for data in (b"Nr\xff\xff\xff\x0f.", b"Np99999999999\n."):  # no table of that length
        assert safe_pickle.load(io.BytesIO(data)) is None


@pytest.mark.parametrize("form", ["csc", "csr", "coo"])
def test_a_matrix_that_points_outside_itself_is_refused(form):
    matrix = sparse.eye(3, format=form)
    if form == "coo":
        matrix.coords[0][1] = 1000
    else:
        matrix.indices[1] = 1000
    with pytest.raises(ModelFileError):
        safe_pickle.load(io.BytesIO(pickle.dumps(matrix)))


# --- meshes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".obj", ".ply"])
@pytest.mark.parametrize("coloured", [False, True])
def test_meshes_are_read_back_by_another_library(model, tmp_path, suffix, coloured):
    path = tmp_path / f"mesh{suffix}"
    colors = np.random.default_rng(4).uniform(size=(V, 3)) if coloured else None
    files.write_mesh(path, model["v_template"], model["f"], colors)
    mesh = trimesh.load_mesh(path, process=False)
    np.testing.assert_allclose(mesh.vertices, model["v_template"], atol=5.1e-7)
    np.testing.assert_array_equal(mesh.faces, model["f"])
    assert mesh.is_watertight and mesh.volume > 0
    if coloured:
        found = mesh.visual.vertex_colors[:, :3] / 255
        np.testing.assert_allclose(found, colors, atol=0.51 / 255 if suffix == ".ply" else 1 / 255)


def test_meshes_that_do_not_fit_are_not_written(model, tmp_path):
    with pytest.raises(ModelFileError, match="colors"):
        files.write_mesh(tmp_path / "a.ply", model["v_template"], model["f"], np.ones((3, 3)))
    with pytest.raises(ModelFileError, match="vertices"):
        files.write_mesh(tmp_path / "a.ply", model["v_template"][:, :2], model["f"])
    with pytest.raises(ModelFileError, match=r"\.obj or \.ply"):
        files.write_mesh(tmp_path / "a.stl", model["v_template"], model["f"])
    assert os.listdir(tmp_path) == []


# --- glTF -------------------------------------------------------------------------------------


def lbs(vertices, joints, weights, rotations):
    """Linear blend skinning of one body, in double precision: the model's definition."""
    world = np.tile(np.eye(4), (24, 1, 1))
    for j, parent in enumerate(PARENTS):
        local = np.eye(4)
        local[:3, :3] = rotations[j]
        local[:3, 3] = joints[j] - (joints[parent] if j else 0)
        world[j] = local if j == 0 else world[parent] @ local
    world[:, :3, 3] -= np.einsum("jcd,jd->jc", world[:, :3, :3], joints)
    blended = np.einsum("vj,jcd->vcd", weights, world)
    return np.einsum("vcd,vd->vc", blended[:, :3, :3], vertices) + blended[:, :3, 3]


WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}
COMPONENTS = {5121: np.uint8, 5125: np.uint32, 5126: np.float32}


class Gltf:
    """A .glb read by the specification alone."""

    def __init__(self, data):
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        json_length, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON" and json_length % 4 == 0
        self.document = json.loads(data[20 : 20 + json_length])
        binary_length, kind = struct.unpack_from("<I4s", data, 20 + json_length)
        assert kind == b"BIN\0" and binary_length % 4 == 0
        self.binary = data[28 + json_length :]
        assert len(self.binary) == binary_length == self.document["buffers"][0]["byteLength"]

    def array(self, index):
        accessor = self.document["accessors"][index]
        view = self.document["bufferViews"][accessor["bufferView"]]
        dtype, width = COMPONENTS[accessor["componentType"]], WIDTHS[accessor["type"]]
        assert view["byteOffset"] % 4 == 0
        assert view["byteOffset"] + view["byteLength"] <= len(self.binary)
        assert view["byteLength"] == accessor["count"] * width * np.dtype(dtype).itemsize
        flat = np.frombuffer(
            self.binary, dtype, accessor["count"] * width, offset=view["byteOffset"]
        )
        array = flat.reshape((-1, width) if width > 1 else (-1,))
        if "min" in accessor:
            np.testing.assert_array_equal(array.min(axis=0), np.float32(accessor["min"]))
            np.testing.assert_array_equal(array.max(axis=0), np.float32(accessor["max"]))
        return array

    def pose(self, rotations, target_weights):
        """What a viewer draws: morph, then skin by the nodes' global transforms."""
        document = self.document
        mesh_node = next(node for node in document["nodes"] if "mesh" in node)
        primitive = document["meshes"][mesh_node["mesh"]]["primitives"][0]
        vertices = self.array(primitive["attributes"]["POSITION"]).astype(np.float64)
        for weight, target in zip(target_weights, primitive["targets"], strict=True):
            vertices = vertices + weight * self.array(target["POSITION"])
        skin = document["skins"][mesh_node["skin"]]
        inverse_bind = self.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4)
        motions = {}

        def visit(index, parent):
            node, local = document["nodes"][index], np.eye(4)
            local[:3, 3] = node.get("translation", (0, 0, 0))
            if index in skin["joints"]:
                local[:3, :3] = rotations[JOINT_NAMES.index(node["name"])]
            motions[index] = parent @ local
            for child in node.get("children", ()):
                visit(child, motions[index])

        for index in document["scenes"][document["scene"]]["nodes"]:
            visit(index, np.eye(4))
        matrices = np.stack(
            [motions[j] @ inverse_bind[k].T for k, j in enumerate(skin["joints"])]  # columns first
        )
        joints = self.array(primitive["attributes"]["JOINTS_0"])
        weights = self.array(primitive["attributes"]["WEIGHTS_0"])
        blended = np.einsum("vk,vkcd->vcd", weights, matrices[joints])
        return np.einsum("vcd,vd->vc", blended[:, :3, :3], vertices) + blended[:, :3, 3]


def read_glb(path):
    return Gltf(path.read_bytes())


def test_a_posed_glb_is_the_model_posed(model, tmp_path):
    rng = np.random.default_rng(5)
    rotations = Rotation.from_rotvec(rng.normal(0, 0.6, (24, 3))).as_matrix()
    betas = rng.normal(size=10)
    shape = np.einsum("vcs,s->vc", model["shapedirs"][..., :10].astype(np.float64), betas)
    rest_joints = model["J_regressor"] @ model["v_template"]

    files.write_model(tmp_path / "body.glb", model)  # betas as sliders: the skeleton stays
    found = read_glb(tmp_path / "body.glb").pose(rotations, betas)
    wanted = lbs(model["v_template"] + shape, rest_joints, model["weights"], rotations)
    np.testing.assert_allclose(found, wanted, atol=1e-5)

    files.write_glb(tmp_path / "shaped.glb", model, betas)  # betas built in: the model itself
    vertices = model["v_template"] + shape
    found = read_glb(tmp_path / "shaped.glb").pose(rotations, np.zeros(10))
    wanted = lbs(vertices, model["J_regressor"] @ vertices, model["weights"], rotations)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_one_body_is_saved_in_its_pose(tmp_path):
    body = load_body(files.OPEN_BODY)
    pose = np.random.default_rng(1).normal(0, 0.4, (24, 3))
    betas = np.array([1.0, -0.5])
    out = body(betas[None], pose[None], correctives=False)
    body.save(tmp_path / "posed.glb", betas, pose)
    nodes = read_glb(tmp_path / "posed.glb").document["nodes"]
    turned = Rotation.from_quat([node.get("rotation", [0, 0, 0, 1]) for node in nodes[:24]])
    np.testing.assert_allclose(turned.as_rotvec(), pose, atol=1e-6)
    scene = trimesh.load_scene(tmp_path / "posed.glb", process=False)
    places = np.stack([scene.graph[node["name"]][0][:3, 3] for node in nodes[:24]])
    np.testing.assert_allclose(places, out.joints[0], atol=1e-5)
    body.save(tmp_path / "posed.ply", betas, pose.ravel())
    mesh = trimesh.load(tmp_path / "posed.ply", process=False)
    np.testing.assert_allclose(mesh.vertices, body(betas[None], pose[None]).vertices[0], atol=1e-6)


def test_one_body_is_no_model(model, tmp_path):
    body = load_body(files.OPEN_BODY)
    with pytest.raises(ModelFileError, match="leave betas and pose out"):
        body.save(tmp_path / "body.npz", betas=[1.0])
    with pytest.raises(BodyInputError, match="of one body, found 2"):
        body.save(tmp_path / "body.obj", betas=np.zeros((2, 10)))
    with pytest.raises(BodyInputError, match="pose must have the shape"):
        body.save(tmp_path / "body.obj", pose=np.zeros(70))
    with pytest.raises(ValueError, match="finite pose"):
        files.write_glb(tmp_path / "body.glb", model, pose=np.zeros(72))
    assert not list(tmp_path.iterdir())


def test_glb_names_tree_targets_and_normals(model, tmp_path):
    files.write_model(tmp_path / "body.glb", model)
    glb = read_glb(tmp_path / "body.glb")
    nodes = glb.document["nodes"]
    assert tuple(node["name"] for node in nodes[:24]) == JOINT_NAMES
    tree = {child: j for j, node in enumerate(nodes) for child in node.get("children", ())}
    assert [tree.get(j, -1) for j in range(24)] == list(PARENTS)
    mesh = glb.document["meshes"][0]
    assert mesh["extras"]["targetNames"] == [f"beta_{k}" for k in range(10)]
    assert len(mesh["weights"]) == len(mesh["primitives"][0]["targets"]) == 10

    attributes = mesh["primitives"][0]["attributes"]
    vertices, normals = glb.array(attributes["POSITION"]), glb.array(attributes["NORMAL"])
    reference = trimesh.Trimesh(vertices, model["f"], process=False)
    expected = trimesh.geometry.weighted_vertex_normals(
        V, model["f"], reference.face_normals, reference.area_faces[:, None] * np.ones((1, 3))
    )
    np.testing.assert_allclose(normals, expected, atol=1e-5)
    target = mesh["primitives"][0]["targets"][3]
    bent = normals + glb.array(target["NORMAL"])
    np.testing.assert_allclose(np.linalg.norm(bent, axis=1), 1, atol=1e-5)
    indices = glb.array(mesh["primitives"][0]["indices"])
    np.testing.assert_array_equal(indices.reshape(-1, 3), model["f"])


def test_glb_is_read_by_another_library(model, tmp_path):
    files.write_model(tmp_path / "body.glb", model)
    scene = trimesh.load_scene(tmp_path / "body.glb", process=False)
    (mesh,) = scene.geometry.values()
    np.testing.assert_allclose(mesh.vertices, model["v_template"], atol=1e-7)
    np.testing.assert_array_equal(mesh.faces, model["f"])
    assert set(JOINT_NAMES) <= set(scene.graph.nodes)


def test_glb_keeps_the_four_largest_weights(model, tmp_path):
    weights = np.random.default_rng(6).dirichlet(np.ones(24), V).astype(np.float32)
    files.write_model(tmp_path / "body.glb", {**model, "weights": weights})
    glb = read_glb(tmp_path / "body.glb")
    attributes = glb.document["meshes"][0]["primitives"][0]["attributes"]
    joints, kept = glb.array(attributes["JOINTS_0"]), glb.array(attributes["WEIGHTS_0"])
    for row, row_joints, row_kept in zip(weights, joints, kept, strict=True):
        largest = np.sort(row)[:-5:-1].astype(np.float64)
        np.testing.assert_allclose(row_kept, largest / largest.sum(), rtol=1e-6)
        np.testing.assert_array_equal(row[row_joints], np.float32(largest))
    one_bone = np.eye(24, dtype=np.float32)[np.arange(V) % 24]
    files.write_model(tmp_path / "rigid.glb", {**model, "weights": one_bone})
    glb = read_glb(tmp_path / "rigid.glb")
    np.testing.assert_array_equal(glb.array(attributes["WEIGHTS_0"])[:, 1:], 0)
    np.testing.assert_array_equal(glb.array(attributes["JOINTS_0"])[:, 1:], 0)


def test_glb_refuses_betas_that_the_model_has_not(model, tmp_path):
    for betas in (np.zeros(S + 1), np.zeros((1, 10)), [np.nan]):
        with pytest.raises(ValueError, match="betas"):
            files.write_glb(tmp_path / "body.glb", model, betas)
    assert os.listdir(tmp_path) == []


# --- frames -----------------------------------------------------------------------------------

UPSIDE_DOWN = np.diag([1.0, -1, -1])  # a person upright before the camera, whose y points down


def is_upright(body, path):
    """Whether the head is above the feet in a mesh, or the root's y points up in a figure."""
    if path.suffix.lower() == ".glb":
        root = read_glb(path).document["nodes"][0].get("rotation", [0, 0, 0, 1])
        return Rotation.from_quat(root).as_matrix()[1, 1] > 0.99
    height = trimesh.load(path, process=False, force="mesh").vertices[:, 1]
    feet = body.weights[:, [7, 8]].sum(axis=1) > 0.5
    return height[body.weights[:, 15] > 0.5].mean() > height[feet].mean() + 1


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".glb", ".GLB"])
def test_what_a_photograph_gave_is_written_upright(tmp_path, suffix):
    body, path = load_body(), tmp_path / f"person{suffix}"
    matrices = np.tile(np.eye(3), (24, 1, 1))
    matrices[16] = Rotation.from_rotvec([0, 0, -1.2]).as_matrix()
    body.save(path, np.zeros(10), matrices)  # in the body's own frame
    assert is_upright(body, path)
    matrices[0] = UPSIDE_DOWN
    body.save(path, np.zeros((1, 10)), matrices[None])
    assert is_upright(body, path)
    body.save(path, pose=matrices, frame="camera")
    assert is_upright(body, path)
    body.save(path, pose=matrices, frame="body")
    assert not is_upright(body, path)


def test_a_handstand_and_a_person_before_the_camera_are_told_apart_by_the_user(tmp_path):
    body, path = load_body(), tmp_path / "person.obj"
    pose = np.zeros((24, 3))
    pose[0, 0] = np.pi
    with pytest.warns(UserWarning, match="the head is below the feet"):
        body.save(path, pose=pose)
    assert is_upright(body, path)
    body.save(path, pose=pose, frame="body")
    assert not is_upright(body, path)
    body.save(path, pose=0 * pose, frame="camera")
    assert not is_upright(body, path)


def test_poses_that_are_not_of_one_body_are_refused(tmp_path):
    body = load_body()
    mirrored = np.tile(np.diag([-1.0, 1, 1]), (24, 1, 1))
    for arguments, message in [
        ({"pose": np.zeros((10, 24, 3))}, "of one body, found 1 and 10"),
        ({"pose": np.zeros((0, 24, 3))}, "of one body, found 1 and 0"),
        ({"pose": mirrored}, "no rotation, of pelvis"),
        ({"pose": np.zeros(72), "frame": "world"}, "unknown frame 'world'"),
    ]:
        with pytest.raises(BodyInputError, match=message):
            body.save(tmp_path / "person.glb", **arguments)
    with pytest.raises(OSError, match="nowhere"):
        body.save(tmp_path / "nowhere" / "person.glb")
    assert not os.listdir(tmp_path)
