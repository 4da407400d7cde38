"""A body model as a glTF 2.0 binary file (.glb). Pure: arrays in, bytes out.

The format: Khronos Group, "glTF 2.0 Specification". Its frame is ours: metres, y up, facing +z.
"""

import json
import struct

import numpy as np
from scipy.spatial.transform import Rotation

from hmrlib.body.surface import vertex_normals
from hmrlib.skeleton import JOINT_NAMES

_COMPONENT_TYPES = {"uint8": 5121, "uint32": 5125, "float32": 5126}
_ELEMENT_TYPES = {(): "SCALAR", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}
_VERTICES, _INDICES = 34962, 34963  # what a buffer view is for: ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER


def encode_glb(model, betas=None, num_targets=10, pose=None, motion=None):
    """A skinned, shapeable figure.

    It carries: 24 named joint nodes, each a child of its parent, with inverse bind matrices; for
    each vertex the four largest skin weights, made to sum to one again (the open body has no more
    than four); smooth normals; one plain material; and a shape target `beta_k` for each of the
    first betas, whose weight is the beta.

    Two things glTF cannot say are left out: pose correctives, and that betas move the joints. So
    targets move the skin over a fixed skeleton; for another body, build its `betas` in.

    Args:
        model: dict of arrays as `files.read_model` returns it.
        betas: (n,) built into mesh and skeleton, or None: the mean body.
        num_targets: number of shape targets.
        pose: (24, 3) radians that the joint nodes are turned by, or None: at rest.
        motion: pose (T, 24, 3), translation (T, 3) metres and frames a second, which become an
            animation; see `_animation`.

    Returns:
        bytes of the file.
    """
    betas = np.zeros(0) if betas is None else np.asarray(betas, np.float64)
    directions = model["shapedirs"].astype(np.float64)
    if betas.ndim != 1 or len(betas) > directions.shape[2] or not np.isfinite(betas).all():
        raise ValueError(
            f"expected at most {directions.shape[2]} finite betas in one row, "
            f"found shape {betas.shape}"
        )
    pose = np.zeros((len(JOINT_NAMES), 3)) if pose is None else np.asarray(pose, np.float64)
    if pose.shape != (len(JOINT_NAMES), 3) or not np.isfinite(pose).all():
        raise ValueError(f"expected a finite pose ({len(JOINT_NAMES)}, 3), found {pose.shape}")
    vertices = model["v_template"] + directions[..., : len(betas)] @ betas  # (V, 3)
    joints = model["J_regressor"] @ vertices  # (24, 3)
    faces, parents = model["f"], model["parents"]
    normals = vertex_normals(vertices, faces)
    skin_joints, skin_weights = largest_weights(model["weights"])

    buffer = _Buffer()
    attributes = {
        "POSITION": buffer.add(vertices, "float32", _VERTICES, bounds=True),
        "NORMAL": buffer.add(normals, "float32", _VERTICES),
        "JOINTS_0": buffer.add(skin_joints, "uint8", _VERTICES),
        "WEIGHTS_0": buffer.add(skin_weights, "float32", _VERTICES),
    }
    targets = []
    for direction in directions[..., :num_targets].transpose(2, 0, 1):
        bend = vertex_normals(vertices + direction, faces) - normals
        targets.append(
            {
                "POSITION": buffer.add(direction, "float32", _VERTICES, bounds=True),
                "NORMAL": buffer.add(bend, "float32", _VERTICES),
            }
        )
    primitive = {
        "attributes": attributes,
        "indices": buffer.add(faces.ravel(), "uint32", _INDICES),
        "material": 0,
        "mode": 4,  # triangles
    }
    mesh = {"name": "body", "primitives": [primitive]}
    if targets:
        primitive["targets"] = targets
        mesh["weights"] = [0.0] * len(targets)
        mesh["extras"] = {"targetNames": [f"beta_{k}" for k in range(len(targets))]}

    # In the rest pose no joint is turned: its inverse bind matrix takes its position away.
    inverse_bind = np.tile(np.eye(4), (len(joints), 1, 1))  # (24, 4, 4)
    inverse_bind[:, :3, 3] = -joints
    columns_first = inverse_bind.transpose(0, 2, 1)

    root = len(joints)  # the joints are nodes 0 to 23, the mesh is the next
    animation = {}
    if motion is not None:
        animation = {"animations": [_animation(buffer, *motion, joints)]}
    document = {
        "asset": {"version": "2.0", "generator": "hmrlib"},
        **animation,
        "scene": 0,
        "scenes": [{"nodes": [0, root]}],
        "nodes": [*_joint_nodes(joints, parents, pose), {"name": "body", "mesh": 0, "skin": 0}],
        "meshes": [mesh],
        "skins": [
            {
                "name": "skeleton",
                "skeleton": 0,
                "joints": list(range(len(joints))),
                "inverseBindMatrices": buffer.add(columns_first, "float32"),
            }
        ],
        "materials": [
            {
                "name": "skin",
                "pbrMetallicRoughness": {
                    "baseColorFactor": [0.75, 0.62, 0.55, 1.0],
                    "metallicFactor": 0.0,
                    "roughnessFactor": 0.8,
                },
            }
        ],
        "buffers": [{"byteLength": len(buffer.data)}],
        "bufferViews": buffer.views,
        "accessors": buffer.accessors,
    }
    return _container(document, buffer.data)


def largest_weights(weights, count=4):
    """The `count` largest skin weights of each vertex, made to sum to one again.

    Returns:
        joints (V, count) int64, 0 where the weight is 0; weights (V, count) float64.
    """
    joints = np.argsort(-weights, axis=1, kind="stable")[:, :count]
    kept = np.take_along_axis(weights, joints, axis=1).astype(np.float64)
    return np.where(kept > 0, joints, 0), kept / kept.sum(axis=1, keepdims=True)


def _joint_nodes(joints, parents, pose):
    nodes = []
    for j, name in enumerate(JOINT_NAMES):
        offset = joints[j] - joints[parents[j]] if parents[j] >= 0 else joints[j]
        node = {"name": name, "translation": offset.tolist()}
        if pose[j].any():
            node["rotation"] = Rotation.from_rotvec(pose[j]).as_quat().tolist()  # x, y, z, w
        children = np.flatnonzero(parents == j).tolist()
        if children:  # the format allows no empty list
            node["children"] = children
        nodes.append(node)
    return nodes


# how far the motion between two keys may be from what it was: keys are set where it would be more.
# Along an arm and the trunk angles add up to less than a millimetre at the hand.
KEY_ANGLE, KEY_DISTANCE = 2e-4, 2e-4  # radians, metres


def _animation(buffer, pose, translation, fps, joints):
    """A motion as glTF's: for each joint that moves, the fewest keys from which it follows.

    Between keys glTF goes the shortest way at an even speed (slerp), and the root in a line. Some
    programs (Blender) turn in a line, too: there are so many keys that either way will do.

    Args:
        buffer: that gets the keys.
        pose: (T, 24, 3) radians; translation: (T, 3) metres; fps: frames a second.
        joints: (24, 3) metres, at rest.
    """
    samplers, channels = [], []

    def add(node, path, keys, values):
        times = buffer.add(keys / fps, "float32", bounds=True)
        output = buffer.add(values[keys], "float32")
        channels.append({"sampler": len(samplers), "target": {"node": node, "path": path}})
        samplers.append({"input": times, "output": output, "interpolation": "LINEAR"})

    places = joints[0] + np.asarray(translation, float)
    add(0, "translation", sparse_keys(places, LINE, KEY_DISTANCE), places)
    for j in range(len(JOINT_NAMES)):
        turns = Rotation.from_rotvec(np.asarray(pose, float)[:, j]).as_quat()  # (T, 4) x, y, z, w
        add(j, "rotation", sparse_keys(turns, TURNS, KEY_ANGLE), turns)
    return {"name": "motion", "samplers": samplers, "channels": channels}


def sparse_keys(values, between, tolerance):
    """The frames from which all others follow (Ramer 1972; Douglas and Peucker 1973).

    Args:
        values: (T, n).
        between: function (first (n,), last (n,), parts (F,)) -> (F, ..., n), and how far rows are
            from what it gives.
        tolerance: how far off a frame may be.

    Returns:
        numbers of frames, ascending, from the first to the last; one where all are alike.
    """
    interpolate, distance = between
    last = len(values) - 1
    if not (distance(values, values[:1]) > tolerance).any():
        return np.array([0])
    keys, waiting = {0, last}, [(0, last)]
    while waiting:
        a, b = waiting.pop()
        if b - a < 2:
            continue
        inner = np.arange(a + 1, b)
        guess = interpolate(values[a], values[b], (inner - a) / (b - a))
        off = distance(values[inner], guess)
        if off.max() > tolerance:
            worst = int(inner[off.argmax()])
            keys.add(worst)
            waiting += [(a, worst), (worst, b)]
    return np.array(sorted(keys))


def _turns_between(first, last, parts):
    """Unit quaternions (4,) and parts of the way -> (F, 2, 4), the shorter way round.

    The first of the two at an even speed (slerp), the second in a line, scaled.
    """
    cosine = first @ last
    last, cosine = (-last, -cosine) if cosine < 0 else (last, cosine)
    straight = np.stack([1 - parts, parts], 1)  # (F, 2)
    angle = np.arccos(min(cosine, 1.0))
    even = straight if angle < 1e-6 else np.sin(straight * angle) / np.sin(angle)
    turns = np.stack([even, straight], 1) @ np.stack([first, last])
    return turns / np.linalg.norm(turns, axis=-1, keepdims=True)


def _turned(one, others):
    """(F,) radians from unit quaternions (F, 4) to others (F, n, 4), the farthest, any sign."""
    one, others = one[:, None], others.reshape(len(others), -1, 4)
    apart = [np.linalg.norm(one - sign * others, axis=-1) for sign in (1, -1)]
    return 4 * np.arcsin((np.minimum(*apart).max(axis=1) / 2).clip(0, 1))


# for `sparse_keys`: values at parts of the way from one to another, and how far apart two are
TURNS = _turns_between, _turned
LINE = (
    lambda first, last, parts: first + parts[:, None] * (last - first),
    lambda one, other: np.linalg.norm(one - other, axis=1),
)


class _Buffer:
    """The binary part of a file, with the views and accessors that describe it."""

    def __init__(self):
        self.data = bytearray()
        self.views = []
        self.accessors = []

    def add(self, array, dtype, target=None, bounds=False):
        """Append an array; the number of its accessor. `bounds`: with minimum and maximum."""
        array = np.ascontiguousarray(array, np.dtype(dtype).newbyteorder("<"))
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": array.nbytes}
        if target is not None:
            view["target"] = target
        self.data += array.tobytes()
        self.data += bytes(-len(self.data) % 4)  # every array starts at a multiple of 4
        accessor = {
            "bufferView": len(self.views),
            "componentType": _COMPONENT_TYPES[dtype],
            "count": len(array),
            "type": _ELEMENT_TYPES[array.shape[1:]],
        }
        if bounds:
            columns = array.reshape(len(array), -1)  # of scalars they are lists of one
            accessor["min"] = columns.min(axis=0).tolist()
            accessor["max"] = columns.max(axis=0).tolist()
        self.views.append(view)
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def _container(document, data):
    """Header, JSON chunk, binary chunk; each a multiple of 4 bytes long."""
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    length = 12 + 8 + len(text) + 8 + len(data)
    return b"".join(
        [
            struct.pack("<4sII", b"glTF", 2, length),
            struct.pack("<I4s", len(text), b"JSON"),
            text,
            struct.pack("<I4s", len(data), b"BIN\0"),
            bytes(data),
        ]
    )
