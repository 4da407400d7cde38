"""Read and write body models: SMPL's .npz and .pkl, OBJ and PLY meshes, glTF figures."""

import json
import os
import pickle
from contextlib import suppress
from pathlib import Path

import numpy as np
from scipy import sparse

from hmrlib.body import gltf
from hmrlib.io import ArchiveError, atomic_write, read_npz, safe_pickle
from hmrlib.io.safe_pickle import ModelFileError

OPEN_BODY = Path(__file__).with_name("assets") / "body.npz"
NUM_JOINTS = 24
REQUIRED = (
    "v_template",
    "shapedirs",
    "posedirs",
    "J_regressor",
    "weights",
    "kintree_table",
    "f",
)

# joints -> the model that has so many
_RELATIVES = {5: "FLAME, a head", 16: "MANO, a hand", 52: "SMPL-H", 55: "SMPL-X"}


# --- reading --------------------------------------------------------------------------------


def default_path(path=None):
    """The model meant by `path`: itself, or else $HMR_BODY, or else the open body."""
    return Path(path or os.environ.get("HMR_BODY") or OPEN_BODY)


def read_model(path):
    """Read a body model in SMPL's layout.

    V vertices (any number), S shape coefficients (10, 300, any), F triangles, 24 joints. Floats
    of any width come back as float32.

    Args:
        path: a `.npz`, or a `.pkl` as SMPL is distributed (Python 2 or 3, with chumpy or without);
            upper case is the same.

    Returns:
        dict of plain arrays. v_template (V, 3), shapedirs (V, 3, S) and posedirs (V, 3, 207) in
        metres; J_regressor, scipy csc (24, V); weights (V, 24); kintree_table (2, 24) as in the
        file; parents (24,) int64, -1 for the root; f (F, 3) int32. Strings and plain finite arrays
        under other names (`card`, `bs_type`, `J`) are kept as they are, anything else is left out.

    Raises:
        safe_pickle.UnsafePickleError: a pickle asks for more than arrays and matrices.
        ModelFileError: the file is missing, damaged, or its arrays do not make up such a model.
    """
    path = Path(path)
    readers = {".npz": _read_npz, ".pkl": _read_pickle}
    read = readers.get(path.suffix.lower())
    if read is None:
        raise ModelFileError(f"{path}: expected a model file .npz or .pkl, found {path.suffix!r}")
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file. Check the path (and HMR_BODY, if it is set)")
    try:
        return check_model(read(path))
    except ModelFileError as error:
        raise type(error)(f"{path}: {error}") from error.__cause__
    except (ArchiveError, OSError, MemoryError) as error:
        raise ModelFileError(f"{path}: cannot be read: {error}") from error


def check_model(model):
    """A body model as `read_model` returns it, from a dict of arrays.

    J_regressor may be sparse or dense, (24, V) or (V, 24).

    Raises:
        ModelFileError: something is missing, or the arrays do not fit together.
    """
    if not isinstance(model, dict):
        raise ModelFileError(f"expected a dict of arrays, found {type(model).__name__}")
    missing = [name for name in REQUIRED if name not in model]
    if missing:
        found = ", ".join(sorted(map(str, model))) or "nothing"
        raise ModelFileError(f"expected SMPL's arrays; missing {', '.join(missing)}; found {found}")
    extras = {name: value for name, value in model.items() if name not in (*REQUIRED, "parents")}
    floats = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights")
    model = {name: _numbers(name, model[name]) for name in REQUIRED}
    regressor, wanted = model["J_regressor"], (NUM_JOINTS, *model["v_template"].shape[:1])
    if regressor.shape != wanted == regressor.shape[::-1]:  # some write it the other way round
        model["J_regressor"] = regressor.T
    _check_shapes(model)  # before a sparse matrix is unfolded to the shape that it declares
    for name in REQUIRED:
        if sparse.issparse(model[name]):
            model[name] = model[name].toarray()
    for name in ("kintree_table", "f"):
        model[name] = _integers(name, model[name])
    for name in floats:
        with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is infinite
            model[name] = np.array(model[name], np.float32, order="C")
        if not np.isfinite(model[name]).all():
            bad = tuple(np.argwhere(~np.isfinite(model[name]))[0].tolist())
            raise ModelFileError(f"expected finite numbers; {name}{list(bad)} is NaN or infinite")

    sums = model["weights"].sum(axis=1)
    wrong = np.flatnonzero(abs(sums - 1) > 1e-3)  # half precision is within 5e-4
    if wrong.size or model["weights"].min() < 0:
        raise ModelFileError(
            "expected weights >= 0 whose rows sum to 1; found a smallest weight of "
            f"{model['weights'].min():g} and {wrong.size} rows that sum to something else"
            + (f" (row {wrong[0]}: {sums[wrong[0]]:g})" if wrong.size else "")
        )
    num_vertices = len(model["v_template"])
    if model["f"].size == 0 or model["f"].min() < 0 or model["f"].max() >= num_vertices:
        raise ModelFileError(
            f"expected triangles (f) of the vertices 0 to {num_vertices - 1}, found "
            + (f"{model['f'].min()} to {model['f'].max()}" if model["f"].size else "none")
        )
    model["f"] = model["f"].astype(np.int32)
    model["J_regressor"] = sparse.csc_matrix(model["J_regressor"])
    model["parents"] = _parents(model["kintree_table"])
    for name, value in extras.items():
        value = _extra(value)
        if value is not None:
            model[str(name)] = value
    if "card" in model:
        _check_card(model["card"])
    return model


def _numbers(name, value):
    """`value`, an array of numbers or a sparse matrix of them."""
    is_array = isinstance(value, np.ndarray) or sparse.issparse(value)
    if not is_array or value.dtype.kind not in "fiu":
        found = value.dtype if is_array else type(value).__name__
        raise ModelFileError(f"expected {name} to be an array of numbers, found {found}")
    return value


def _integers(name, array):
    """Whole numbers, which some files hold as floats (1234.0), as integers."""
    if array.dtype.kind != "f":
        return array
    with np.errstate(invalid="ignore"):  # NaN, infinity and what no integer holds
        integers = array.astype(np.int64)
    if not np.array_equal(integers, array):
        raise ModelFileError(f"expected {name} to be an array of integers, found fractions or NaN")
    return integers


def _extra(value):
    """A string or a finite array that may stay in the model, or None."""
    if isinstance(value, np.ndarray) and value.shape == () and value.dtype.kind == "U":
        with suppress(ValueError):  # no characters
            value = str(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return value if np.isfinite(value).all() else None
    return value if isinstance(value, str) else None


def _check_card(card):
    """What a model says of itself is JSON, a dict."""
    try:
        whole = isinstance(json.loads(card), dict)
    except (ValueError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise ModelFileError("expected the card to be an object of JSON, found something else")


def _check_shapes(model):
    joints = model["kintree_table"].shape[-1] if model["kintree_table"].ndim else 0
    if joints != NUM_JOINTS:
        relative = _RELATIVES.get(joints)
        raise ModelFileError(
            f"expected SMPL's {NUM_JOINTS} joints, found {joints}"
            + (f": this looks like {relative}" if relative else "")
            + ". Its pose, joints and betas mean other things here; convert it to SMPL first"
        )
    if model["posedirs"].shape[-1:] == (93,):
        raise ModelFileError(
            "expected 207 pose correctives (rotation matrices), found 93: this looks like STAR, "
            "which drives them by quaternions and beta. Use SMPL's file"
        )
    vertices = model["v_template"].shape[0] if model["v_template"].ndim else 0
    expected = {
        "v_template": (vertices, 3),
        "shapedirs": (vertices, 3, "S"),
        "posedirs": (vertices, 3, 9 * (NUM_JOINTS - 1)),
        "J_regressor": (NUM_JOINTS, vertices),
        "weights": (vertices, NUM_JOINTS),
        "kintree_table": (2, NUM_JOINTS),
        "f": ("F", 3),
    }
    for name, shape in expected.items():
        found = model[name].shape
        fits = len(found) == len(shape) and all(
            n == wanted or isinstance(wanted, str) for n, wanted in zip(found, shape, strict=True)
        )
        if not fits:
            wanted = ", ".join(map(str, shape))
            raise ModelFileError(
                f"expected {name} of shape ({wanted}), found {found}; "
                f"v_template has {vertices} vertices and all arrays must be of one model"
            )


def _parents(kintree_table):
    """(24,) parent of each joint. The root's entry is not read: files have 4294967295 or -1."""
    parents = kintree_table[0].astype(np.int64)
    parents[0] = -1
    children = kintree_table[1].astype(np.int64)
    orphans = [j for j in range(1, NUM_JOINTS) if not 0 <= parents[j] < j]
    if orphans or children.tolist() != list(range(NUM_JOINTS)):
        raise ModelFileError(
            "expected kintree_table to be a tree: a row of parents, each before its child, and "
            f"the row 0 to {NUM_JOINTS - 1}; found parents {parents.tolist()} of "
            f"{children.tolist()}"
        )
    return parents


def _read_npz(path):
    # some files hold a sparse matrix as a pickled object: it goes the same safe way
    return read_npz(path, safe_pickle.load)


def _read_pickle(path):
    with open(path, "rb") as file:
        return safe_pickle.load(file)


# --- writing --------------------------------------------------------------------------------


def write_model(path, model, dtype=np.float32):
    """Write a body model; the suffix says how. The same model gives the same bytes.

    `.npz`: compressed, J_regressor dense, so that nothing needs to be pickled. `.pkl`: as SMPL's
    files, plain arrays and a csc J_regressor, protocol 2. `.glb`: a figure that can be posed, see
    `write_glb`. `.obj`, `.ply`: the mesh of v_template.

    Args:
        model: dict of arrays as `read_model` returns it; checked before anything is written.
        dtype: of shapedirs and posedirs in .npz and .pkl. np.float16 halves the file and moves
            vertices by some hundredths of a millimetre; the other arrays, whose rounding would
            move joints, always stay in single precision.

    Raises:
        ModelFileError: an unknown suffix, or arrays that do not fit together.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".glb":
        write_glb(path, model)
    elif suffix in (".obj", ".ply"):
        write_mesh(path, model["v_template"], model["f"])
    elif suffix in (".npz", ".pkl"):
        model = check_model(model)
        arrays = {name: value for name, value in model.items() if name != "parents"}
        arrays["shapedirs"] = model["shapedirs"].astype(dtype)
        arrays["posedirs"] = model["posedirs"].astype(dtype)
        arrays["kintree_table"] = model["kintree_table"].astype(np.uint32)  # -1 is 4294967295
        arrays["f"] = model["f"].astype(np.uint32)
        with atomic_write(path) as file:
            if suffix == ".npz":
                arrays["J_regressor"] = model["J_regressor"].toarray()
                np.savez_compressed(file, **arrays)
            else:
                file.write(_pickled(arrays))
    else:
        raise ModelFileError(f"{path}: expected .npz, .pkl, .glb, .obj or .ply")


def _pickled(arrays):
    """Protocol 2, and NumPy's old module name, which both NumPy 1 and 2 can load."""
    data = pickle.dumps(arrays, protocol=2)
    return data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def write_mesh(path, vertices, faces, colors=None):
    """Write a triangle mesh as `.obj` (text, micrometres) or `.ply` (binary).

    Args:
        vertices: (V, 3) metres.
        faces: (F, 3) integers from 0.
        colors: (V, 3) red, green, blue from 0 to 1, or None.

    Raises:
        ModelFileError: another suffix, shapes that do not fit, or vertices that are not finite.
    """
    path = Path(path)
    vertices, faces = np.asarray(vertices, np.float32), np.asarray(faces, np.int32)
    colors = np.zeros((len(vertices), 0)) if colors is None else np.asarray(colors, np.float64)
    allowed = [(len(vertices), 3), (len(vertices), 0)]
    if vertices.shape[1:] != (3,) or faces.shape[1:] != (3,) or colors.shape not in allowed:
        raise ModelFileError(
            "expected vertices (V, 3), faces (F, 3) and colors (V, 3), found "
            f"{vertices.shape}, {faces.shape} and {colors.shape}"
        )
    if not np.isfinite(vertices).all():
        raise ModelFileError(f"{path}: expected finite vertices, found NaN or infinity")
    if path.suffix.lower() == ".obj":
        lines = ["v " + " ".join(f"{x:.6f}" for x in row) for row in np.hstack([vertices, colors])]
        lines += ["f {} {} {}".format(*row) for row in faces + 1]  # OBJ counts from 1
        data = ("\n".join(lines) + "\n").encode()
    elif path.suffix.lower() == ".ply":
        data = _ply(vertices, faces, colors)
    else:
        raise ModelFileError(f"{path}: expected a mesh file .obj or .ply")
    with atomic_write(path) as file:
        file.write(data)


def _ply(vertices, faces, colors):
    vertex = [(axis, "<f4") for axis in "xyz"]
    vertex += [(name, "u1") for name in ("red", "green", "blue")[: colors.shape[1]]]
    vertex_table = np.empty(len(vertices), vertex)
    columns = [*vertices.T, *np.rint(255 * colors).astype(np.uint8).T]
    for (name, _), column in zip(vertex, columns, strict=True):
        vertex_table[name] = column
    face_table = np.empty(len(faces), [("count", "u1"), ("corners", "<i4", 3)])
    face_table["count"], face_table["corners"] = 3, faces
    types = {"<f4": "float", "u1": "uchar"}
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(vertices)}",
        *(f"property {types[kind]} {name}" for name, kind in vertex),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header\n",
    ]
    return "\n".join(header).encode() + vertex_table.tobytes() + face_table.tobytes()


def write_glb(path, model, betas=None, num_targets=10, pose=None):
    """Write a figure that Blender or three.js can pose: see `gltf.encode_glb` for what is in it.

    Args:
        model: dict of arrays as `read_model` returns it.
        betas: (n,) the shape that is built into mesh and skeleton; None: the mean body.
        num_targets: how many betas become shape targets (sliders), fewer if the model has fewer.
        pose: (24, 3) radians by which the figure's joints are turned; None: at rest.

    Raises:
        ModelFileError: arrays that do not fit together.
        ValueError: a pose of another shape, or betas that the model does not have.
    """
    data = gltf.encode_glb(check_model(model), betas, num_targets, pose)
    with atomic_write(path) as file:
        file.write(data)


def export_for_peers(model, directory):
    """Write the model where other packages look for SMPL's files.

    They load the folder DIR with these lines:

        smplx.create("DIR", model_type="smpl", gender="neutral")
        smplfitter.np.BodyModel("smpl", "neutral", model_root="DIR/smpl")
        body_models.smpl.numpy.SMPL(model_path="DIR/smpl/SMPL_NEUTRAL.pkl")

    (smplfitter also finds DIR in the environment variable SMPLFITTER_BODY_MODELS.) smplx reads 10
    betas of a file with fewer than 300, and of its joints use `[:, :24]`: the others are vertices
    picked by their numbers in SMPL's own mesh.

    Args:
        model: dict of arrays as `read_model` returns it.
        directory: DIR; made if it does not exist.

    Returns:
        list of the paths written.
    """
    folder = Path(directory) / "smpl"
    folder.mkdir(parents=True, exist_ok=True)
    names = ("SMPL_NEUTRAL.pkl", "basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl")
    for name in names:
        write_model(folder / name, model)
    # smplfitter insists on this file; all zeros mean that there is no child template
    with atomic_write(folder / "kid_template.npy") as file:
        np.save(file, np.zeros_like(model["v_template"]))
    return [folder / name for name in (*names, "kid_template.npy")]
