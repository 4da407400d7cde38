"""Bring MakeHuman bodies from their A-pose to the T-pose in which the body model rests.

MakeHuman's bodies stand with arms hanging outwards, elbows bent and feet apart. If they were
compared like that, pose would leak into shape: a longer arm would also be a lower hand. So each
body is posed by linear blend skinning with MakeHuman's own rig and weights, about joints of its
own, until arms, fingers and legs point where they point on every other body.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial.transform import Rotation

from hmrlib.body import kinematics
from hmrlib.learn import makehuman, rig

# The arm is raised by about 50 degrees, and as in a living shoulder the girdle takes part of it.
CLAVICLE_LIFT = 10.0  # degrees, about the sternal end of the clavicle
SHOULDER_LIFT = 18.0  # degrees, of the shoulder blade with the deltoid, clavicle included
LEG_SPREAD = 3.0  # degrees between each leg and the vertical, seen from the front
THIGH_LEAN, SHANK_LEAN = 1.5, -4.0  # degrees forward, seen from the side: knees not locked
FINGER_SPREAD = {2: 7.0, 3: 1.5, 4: -4.0, 5: -10.0}  # degrees towards the thumb
FINGER_CURL = (4.0, 8.0, 12.0)  # degrees down at the three links, as relaxed fingers are
TOE_SPREAD = {1: -5.0, 2: -1.5, 3: 2.5, 4: 6.5, 5: 11.0}  # degrees outwards, so none touch


@dataclass(frozen=True)
class Ring:
    """The skin around a joint that `joint_centres` ties it to; lengths in metres.

    Vertices less than ``radius`` from the line through the joint towards ``towards`` (another
    joint; "up" is the vertical), and less than ``half_width`` from the joint along that line.
    ``back`` leaves out what lies before the joint: the spine keeps its distance from the back,
    whatever the belly does.
    """

    towards: str
    radius: float
    half_width: float
    back: bool = False


_RINGS = {
    "l-knee": Ring("l-upper-leg", 0.09, 0.02),
    "l-ankle": Ring("l-knee", 0.07, 0.02),
    "l-upper-leg": Ring("l-knee", 0.14, 0.03),
    "l-elbow": Ring("l-shoulder", 0.07, 0.02),
    "l-hand": Ring("l-elbow", 0.05, 0.02),
    "l-shoulder": Ring("l-elbow", 0.09, 0.03),
    "l-scapula": Ring("up", 0.07, 0.07),
    "l-clavicle": Ring("up", 0.06, 0.06),
    "pelvis": Ring("up", 0.22, 0.03),
    "spine-3": Ring("up", 0.22, 0.03, back=True),
    "spine-2": Ring("up", 0.22, 0.03, back=True),
    "spine-1": Ring("up", 0.22, 0.03, back=True),
    "neck": Ring("up", 0.10, 0.03),
}


@dataclass(frozen=True)
class Skeleton:
    """What it takes to pose any MakeHuman body: its points, where its joints are, its weights.

    Attributes:
        points: (V + Q, 19158) sparse; the V vertices to skin, then Q joint centres, as weighted
            means of base vertices.
        joint_names: Q names, those of MakeHuman's cubes: "pelvis", "l-knee", "r-knee", ...
        joint_offset: (Q, 3) added to the joint centres, metres; see `joint_centres`.
        weights: (V, D) skinning weights by the D segments that are moved as one.
    """

    points: sparse.csr_array
    joint_names: list[str]
    joint_offset: np.ndarray
    weights: np.ndarray


def build_skeleton(
    assets: makehuman.Assets, typical: np.ndarray, select: sparse.sparray
) -> Skeleton:
    """Joints tied to the skin, and weights for the chosen vertices.

    Args:
        assets: MakeHuman's base mesh and tables.
        typical: (19158, 3) an average body in the A-pose, metres.
        select: (V, 19158) the vertices to skin as weighted means of base vertices.
    """
    names, matrix, offset = joint_centres(assets, typical)
    points = sparse.vstack([select, matrix]).tocsr()
    return Skeleton(points, names, offset, segment_weights(assets, select))


def rest(points: np.ndarray, skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """Bring N bodies from the A-pose to the T-pose, in double precision.

    Args:
        points: (N, V + Q, 3) vertices and joint centres, as `Skeleton.points` orders them.

    Returns:
        vertices (N, V, 3) in the dtype of ``points`` and the model's joints (N, 24, 3), in
        metres, the pelvis joint at the origin.
    """
    count = len(skeleton.weights)
    vertices = points[:, :count].astype(np.float64)
    centres = points[:, count:] + skeleton.joint_offset
    rotations, translations = rest_transforms(skeleton.joint_names, centres)
    weights = kinematics.Weights.of(skeleton.weights)
    kinematics.linear_blend_skinning(vertices, weights, rotations, translations)
    centres = skin_joints(skeleton.joint_names, centres, rotations, translations)
    joints = rig.model_joints(skeleton.joint_names, centres)
    pelvis = joints[:, :1]
    return (vertices - pelvis).astype(points.dtype), joints - pelvis


def joint_centres(
    assets: makehuman.Assets, typical: np.ndarray
) -> tuple[list[str], sparse.csr_array, np.ndarray]:
    """All joints of MakeHuman's rig, those of trunk and limbs tied to the skin around them.

    MakeHuman gives each joint as the centre of a small cube that the targets move along with the
    skin. Not all targets do so well: at the largest and smallest height the knee's cube is left
    60 to 70 mm behind the knee, and from woman to man the upper spine's moves 35 mm in the chest.
    The joints in `_RINGS` are therefore taken from a ring of skin: its centroid, plus the
    offset that leads to the cube on a typical body.

    Args:
        assets: MakeHuman's base mesh and tables.
        typical: (19158, 3) an average body in the A-pose, metres.

    Returns:
        names (Q), a sparse matrix (Q, 19158) and offsets (Q, 3) such that the joints of a body
        are ``matrix @ base_vertices + offsets``.
    """
    names = [name.removeprefix("joint-") for name in assets.groups if name.startswith("joint-")]
    rows = [assets.groups[f"joint-{name}"] for name in names]
    centres = {name: typical[ids].mean(axis=0) for name, ids in zip(names, rows, strict=True)}
    offset = np.zeros((len(names), 3))
    body = typical[: makehuman.BODY_VERTICES]
    for name, ring in _RINGS.items():
        centre = centres[name]
        up = ring.towards == "up"
        axis = np.array([0.0, 1.0, 0.0]) if up else _unit(centres[ring.towards] - centre)
        along = (body - centre) @ axis
        radius = np.linalg.norm(body - centre - along[:, None] * axis, axis=1)
        along, radius = along.round(9), radius.round(9)  # a last bit moves nobody in or out
        chosen = (abs(along) < ring.half_width) & (radius < ring.radius)
        if ring.back:
            chosen &= body[:, 2] < centre[2]
        ids = np.flatnonzero(chosen)
        sides = {name: ids, name.replace("l-", "r-", 1): assets.mirror[ids]}
        for side, ids in sides.items():
            rows[names.index(side)] = ids
            offset[names.index(side)] = centres[side] - typical[ids].mean(axis=0)
    return names, averages(rows), offset


def averages(rows: list[np.ndarray]) -> sparse.csr_array:
    """Sparse (len(rows), 19158) matrix whose row i averages the base vertices rows[i]."""
    i = np.repeat(np.arange(len(rows)), [len(ids) for ids in rows])
    values = np.repeat([1 / len(ids) for ids in rows], [len(ids) for ids in rows])
    shape = (len(rows), makehuman.NUM_BASE_VERTICES)
    return sparse.coo_array((values, (i, np.concatenate(rows))), shape=shape).tocsr()


def segment_weights(assets: makehuman.Assets, select: sparse.sparray) -> np.ndarray:
    """Skinning weights (V, D) of the rig's 163 bones merged to the D segments that we move.

    Bones between two segments (say, the face between neck and jaw) go with the nearest moved
    segment above them. ``select`` (V, 19158) says which vertices to skin.
    """
    names = [name for name, *_ in _SEGMENTS]
    owner: list[int] = []
    for bone, parent in zip(assets.bones, assets.bone_parents, strict=True):
        stem, _, side = bone.partition(".")
        if stem in _BONE_TO_SEGMENT:
            owner.append(names.index(f"{side.lower()}-{_BONE_TO_SEGMENT[stem]}"))
        else:
            owner.append(owner[parent] if parent >= 0 else 0)
    merge = sparse.coo_array(
        (np.ones(len(owner)), (np.arange(len(owner)), owner)), shape=(len(owner), len(names))
    )
    return (select @ assets.bone_weights @ merge).toarray()


def rest_transforms(names: list[str], joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rigid motions that bring each body's segments from the A-pose to the T-pose.

    Args:
        names: Q joint names.
        joints: (N, Q, 3) joints of N bodies in the A-pose, metres.

    Returns:
        rotations: (N, D, 3, 3) and translations (N, D, 3): x' = R x + t for segment d. Right-hand
            segments are the mirror images of left-hand ones. The pelvis stays where it is.
    """
    at = {name: joints[:, i].astype(np.float64) for i, name in enumerate(names)}
    turned = _left_rotations({name[2:]: at[name] for name in at if name.startswith("l-")})
    identity = np.broadcast_to(np.eye(3), (len(joints), 3, 3))
    rotation, moved = {"trunk": identity}, {"trunk": at["pelvis"]}
    heads = {"trunk": at["pelvis"]}
    for name, parent, head in _SEGMENTS[1:]:
        side = name[:2]
        flip = np.diag([1.0 if side == "l-" else -1.0, 1.0, 1.0])
        rotation[name] = flip @ turned[name[2:]] @ flip
        heads[name] = at[side + head]
        arm = heads[name] - heads[parent]
        moved[name] = moved[parent] + np.einsum("ncd,nd->nc", rotation[parent], arm)
    order = [name for name, *_ in _SEGMENTS]
    rotations = np.stack([rotation[name] for name in order], axis=1)
    start = np.stack([heads[name] for name in order], axis=1)
    end = np.stack([moved[name] for name in order], axis=1)
    return rotations, end - np.einsum("ndij,ndj->ndi", rotations, start)


def skin_joints(names: list[str], joints: np.ndarray, rotations, translations) -> np.ndarray:
    """Carry the joints (N, Q, 3) along, each with the segment that ends in it."""
    order = [name for name, *_ in _SEGMENTS]
    segments = [name[:2] + _JOINT_OWNER.get(name[2:], "") for name in names]
    owner = [order.index(segment) if segment in order else 0 for segment in segments]
    r, t = rotations[:, owner], translations[:, owner]
    return np.einsum("nqij,nqj->nqi", r, joints) + t


# Segment: name, parent, joint it turns about. "upperarm-distal" shares the joint of
# "upperarm": they differ by a twist about the limb's axis only, and so do the forearm's two.
_LEFT_SEGMENTS = [
    ("clavicle", "trunk", "clavicle"),
    ("shoulder", "clavicle", "scapula"),
    ("upperarm", "shoulder", "shoulder"),
    ("upperarm-distal", "shoulder", "shoulder"),
    ("forearm", "upperarm-distal", "elbow"),
    ("forearm-distal", "upperarm-distal", "elbow"),
    ("hand", "forearm-distal", "hand"),
    *((f"finger{k}-1", "hand", f"finger-{k}-1") for k in (2, 3, 4, 5)),
    *((f"finger{k}-2", f"finger{k}-1", f"finger-{k}-2") for k in (2, 3, 4, 5)),
    *((f"finger{k}-3", f"finger{k}-2", f"finger-{k}-3") for k in (2, 3, 4, 5)),
    ("thigh", "trunk", "upper-leg"),
    ("shank", "thigh", "knee"),
    ("foot", "shank", "ankle"),
    *((f"toe{k}", "foot", f"toe-{k}-1") for k in (1, 2, 3, 4, 5)),
]
_SEGMENTS = [("trunk", None, "pelvis")] + [
    (side + name, parent if parent == "trunk" else side + parent, head)
    for side in ("l-", "r-")
    for name, parent, head in _LEFT_SEGMENTS
]
_BONE_TO_SEGMENT = {
    "clavicle": "clavicle", "shoulder01": "shoulder",
    "upperarm01": "upperarm", "upperarm02": "upperarm-distal",
    "lowerarm01": "forearm", "lowerarm02": "forearm-distal", "wrist": "hand",
    **{f"finger{k}-{i}": f"finger{k}-{i}" for k in (2, 3, 4, 5) for i in (1, 2, 3)},
    "upperleg01": "thigh", "upperleg02": "thigh",
    "lowerleg01": "shank", "lowerleg02": "shank", "foot": "foot",
    **{f"toe{k}-1": f"toe{k}" for k in (1, 2, 3, 4, 5)},
}  # fmt: skip
_JOINT_OWNER = {
    "scapula": "clavicle", "shoulder": "shoulder", "elbow": "upperarm-distal",
    "hand": "forearm-distal", "hand-2": "hand", "hand-3": "hand",
    **{f"finger-1-{i}": "hand" for i in (1, 2, 3, 4)},
    **{f"finger-{k}-1": "hand" for k in (2, 3, 4, 5)},
    **{f"finger-{k}-{i}": f"finger{k}-{i - 1}" for k in (2, 3, 4, 5) for i in (2, 3, 4)},
    "knee": "thigh", "ankle": "shank", "foot-1": "foot", "foot-2": "foot",
    **{f"toe-{k}-1": "foot" for k in (1, 2, 3, 4, 5)},
    **{f"toe-{k}-{i}": f"toe{k}" for k in (1, 2, 3, 4, 5) for i in (2, 3, 4)},
}  # fmt: skip


def _left_rotations(at: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """World rotation (N, 3, 3) of every left segment, from the left joints (N, 3) by name."""
    x, down = np.array([1.0, 0, 0]), np.array([0, -1.0, 0])
    out = {
        "clavicle": _turn("z", CLAVICLE_LIFT)[None].repeat(len(at["knee"]), 0),
        "shoulder": _turn("z", SHOULDER_LIFT)[None].repeat(len(at["knee"]), 0),
    }

    # Arm: straight to +x. The elbow's hinge, normal to the plane of the bent arm, ends vertical,
    # so that the elbow flexes forwards; the palm ends facing down. The twist between these two
    # and the shoulder is spread along the limb, as the real bones of the forearm do.
    upper, lower = _unit(at["elbow"] - at["shoulder"]), _unit(at["hand"] - at["elbow"])
    hinge = _unit(np.cross(upper, lower))
    knuckles = (at["finger-3-1"] + at["finger-4-1"]) / 2
    pointing = _unit(knuckles - at["hand"])
    palm = _unit(np.cross(at["finger-5-1"] - at["hand"], at["finger-2-1"] - at["hand"]))
    arm = _align(upper, hinge, x, down)
    plain = _swing(np.einsum("nij,nj->ni", out["shoulder"], upper), x) @ out["shoulder"]
    out["upperarm"] = _between(plain, arm, 0.4)
    out["upperarm-distal"] = _between(plain, arm, 0.9)
    elbow = _align(lower, hinge, x, down)
    wrist = _align(lower, palm, x, down)
    out["forearm"] = _between(elbow, wrist, 0.25)
    out["forearm-distal"] = _between(elbow, wrist, 0.75)
    out["hand"] = _align(pointing, palm, x, down)

    # Fingers: straight, slightly fanned in the plane of the palm and slightly curled.
    for k, spread in FINGER_SPREAD.items():
        for i in (1, 2, 3):
            link = _unit(at[f"finger-{k}-{i + 1}"] - at[f"finger-{k}-{i}"])
            goal = _turn("y", -spread) @ _turn("z", -FINGER_CURL[i - 1]) @ x
            carried = np.einsum("nij,nj->ni", out["hand"], link)
            out[f"finger{k}-{i}"] = _swing(carried, goal) @ out["hand"]

    # Legs: nearly vertical; the feet, flat in the A-pose, stay as they are.
    thigh, shank = _unit(at["knee"] - at["upper-leg"]), _unit(at["ankle"] - at["knee"])
    out["thigh"] = _swing(thigh, _turn("z", LEG_SPREAD) @ _turn("x", -THIGH_LEAN) @ down)
    out["shank"] = _swing(shank, _turn("z", LEG_SPREAD) @ _turn("x", -SHANK_LEAN) @ down)
    out["foot"] = np.broadcast_to(np.eye(3), out["thigh"].shape)
    for k, spread in TOE_SPREAD.items():
        out[f"toe{k}"] = np.broadcast_to(_turn("y", spread), out["thigh"].shape)
    return out


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def _turn(axis: str, degrees: float) -> np.ndarray:
    return Rotation.from_euler(axis, degrees, degrees=True).as_matrix()


def _swing(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smallest rotation (N, 3, 3) that turns unit vectors a (N, 3) onto b (3,)."""
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis, axis=-1, keepdims=True)
    angle = np.arctan2(sine, (a * b).sum(axis=-1, keepdims=True))
    return Rotation.from_rotvec(axis / np.maximum(sine, 1e-12) * angle).as_matrix()


def _align(a: np.ndarray, a2: np.ndarray, b: np.ndarray, b2: np.ndarray) -> np.ndarray:
    """The rotation (N, 3, 3) that turns a (N, 3) onto b (3,), and a2 as near to b2 as it goes."""

    def frame(first, second):
        third = _unit(np.cross(first, second))
        return np.stack([first, np.cross(third, first), third], axis=-1)

    return frame(b, b2) @ np.swapaxes(frame(a, a2), -1, -2)


def _between(start: np.ndarray, end: np.ndarray, t: float) -> np.ndarray:
    """Rotations (N, 3, 3) at the fraction t of the way from start to end."""
    step = Rotation.from_matrix(end @ np.swapaxes(start, -1, -2)).as_rotvec()
    return Rotation.from_rotvec(t * step).as_matrix() @ start
