"""The 24 joints of the model and the weights that bind its skin to them.

MakeHuman's default rig has 163 bones, a good share of them in the face. The model has the 24
joints of SMPL (M. Loper et al., "SMPL: A Skinned Multi-Person Linear Model", SIGGRAPH Asia 2015),
so joints are placed as blends of MakeHuman's, and bones are merged.
"""

import numpy as np
from scipy import sparse

from hmrlib.body.surface import smoothstep
from hmrlib.learn import makehuman
from hmrlib.skeleton import JOINT_MIRROR, JOINT_NAMES

# Each joint is a blend of MakeHuman's joint centres, "l-" and "r-" understood for the pairs. The
# blends put the spine's joints at SMPL's relative heights. MakeHuman's hips are wide: centres of
# real hips lie some 17 to 18 cm apart, and a tenth of the other side brings them there.
JOINT_BLENDS = {
    "pelvis": {"pelvis": 0.5, "spine-3": 0.5},
    "hip": {"upper-leg": 0.9, "opposite upper-leg": 0.1},
    "knee": {"knee": 1.0},
    "ankle": {"ankle": 1.0},
    "foot": {"toe-2-1": 0.5, "toe-3-1": 0.5},
    "spine1": {"spine-3": 0.5, "spine-2": 0.5},
    "spine2": {"spine-2": 0.5, "spine-1": 0.5},
    "spine3": {"spine-1": 1.0},
    "neck": {"neck": 1.0},
    "head": {"head": 1.0},
    "collar": {"clavicle": 0.5, "scapula": 0.5},
    "shoulder": {"shoulder": 1.0},
    "elbow": {"elbow": 1.0},
    "wrist": {"hand": 1.0},
    "hand": {"finger-3-1": 0.4, "finger-4-1": 0.4, "hand": 0.2},
}

# Bone (without side and trailing numbers) -> joint (without side). Bones that are not listed go
# with their parent's joint. "trunk" is divided by height afterwards, see `_split_trunk`.
_BONE_TO_JOINT = {
    "root": "trunk", "spine": "trunk", "pelvis": "trunk", "breast": "trunk",
    "clavicle": "collar", "shoulder": "collar", "upperarm": "shoulder", "lowerarm": "elbow",
    "wrist": "wrist", "metacarpal": "wrist", "finger1": "wrist",
    "finger2": "hand", "finger3": "hand", "finger4": "hand", "finger5": "hand",
    "upperleg": "hip", "lowerleg": "knee", "foot": "ankle",
    "toe1": "foot", "toe2": "foot", "toe3": "foot", "toe4": "foot", "toe5": "foot",
    "neck": "neck", "head": "head",
}  # fmt: skip
_TRUNK_JOINTS = ("pelvis", "spine1", "spine2", "spine3")


def model_joints(names: list[str], points: np.ndarray) -> np.ndarray:
    """The model's 24 joints (N, 24, 3), from MakeHuman's joint centres (N, Q, 3), metres."""
    blend = np.zeros((len(JOINT_NAMES), len(names)))
    for j, joint in enumerate(JOINT_NAMES):
        side, _, kind = joint.rpartition("_")
        near, far = {"left": ("l-", "r-"), "right": ("r-", "l-"), "": ("", "")}[side]
        for centre, share in JOINT_BLENDS[kind].items():
            _, opposite, centre = centre.rpartition("opposite ")
            blend[j, names.index((far if opposite else near) + centre)] += share
    return np.einsum("jq,nqc->njc", blend, points)


def merge_bones(assets: makehuman.Assets, select: sparse.sparray, joints: np.ndarray, vertices):
    """MakeHuman's 163 bones merged to the 24 joints: weights (V, 24), rows sum to one.

    Args:
        assets: MakeHuman's base mesh and tables.
        select: (V, 19158) the model's vertices as means of base vertices.
        joints, vertices: (24, 3) and (V, 3) of the average body in the rest pose, metres.
    """
    kinds: list[str] = []
    for bone, parent in zip(assets.bones, assets.bone_parents, strict=True):
        stem, _, side = bone.partition(".")
        stem = stem.split("-")[0]  # "finger2-1" -> "finger2", "toe1-1" -> "toe1"
        if not stem.startswith(("finger", "toe")):
            stem = stem.rstrip("0123456789")  # "spine05" -> "spine"
        joint = _BONE_TO_JOINT.get(stem)
        if joint is None:
            kinds.append(kinds[parent])
        else:
            prefix = {"L": "left_", "R": "right_"}.get(side, "") if joint != "trunk" else ""
            kinds.append(prefix + joint)
    columns = [*JOINT_NAMES, "trunk"]
    entries = (np.ones(len(kinds)), (np.arange(len(kinds)), [columns.index(k) for k in kinds]))
    merge = sparse.coo_array(entries, shape=(len(kinds), len(columns)))
    merged = np.maximum((select @ assets.bone_weights @ merge).toarray(), 0)
    weights, trunk = merged[:, :-1], merged[:, -1]

    # MakeHuman leaves most of the shoulder girdle with the spine. Of what both hold, r is the
    # collars' share; r (2 - r) makes the collar bones carry the skin that lies over them.
    collars = [JOINT_NAMES.index("left_collar"), JOINT_NAMES.index("right_collar")]
    girdle = weights[:, collars].sum(axis=1)
    boost = 2 - girdle / np.maximum(girdle + trunk, 1e-12)
    weights[:, collars] *= boost[:, None]
    trunk = trunk - girdle * (boost - 1)
    for joint, share in zip(_TRUNK_JOINTS, _split_trunk(joints, vertices).T, strict=True):
        weights[:, JOINT_NAMES.index(joint)] += trunk * share
    return weights / weights.sum(axis=1, keepdims=True)


def smooth_weights(weights, vertices, faces, mirror, iterations: int = 8) -> np.ndarray:
    """Even out steps in the weights, then keep at most four a vertex, exactly mirrored.

    Each pass moves a vertex's weights half-way to the mean over its neighbours, nearer ones
    counting more. Rows sum to one; the right side is the mirror image of the left.

    Args:
        weights: (V, 24).
        vertices: (V, 3) metres; faces: (F, 3); mirror: (V,) vertex on the other side.
    """
    neighbours = edge_averages(vertices, faces)
    for _ in range(iterations):
        weights = (weights + neighbours @ weights) / 2
    weights = (weights + weights[mirror][:, list(JOINT_MIRROR)]) / 2
    # Strictly more than the fifth largest: of two equals (left and right on the midline) either
    # both stay or both go. Rounded, so that no last bit decides.
    weights = weights.round(9)
    fifth = np.sort(weights, axis=1)[:, -5:-4]
    weights = np.where(weights > fifth + 1e-6, weights, 0)
    weights = np.where(weights > 1e-3, weights, 0)
    return weights / weights.sum(axis=1, keepdims=True)


def edge_averages(vertices: np.ndarray, faces: np.ndarray) -> sparse.csr_array:
    """Sparse (V, V) matrix of means over neighbours, weighted by one over edge length."""
    a, b = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).T
    length = np.linalg.norm(vertices[a] - vertices[b], axis=1)
    shape = (len(vertices), len(vertices))
    matrix = sparse.coo_array((1 / length, (a, b)), shape=shape).tocsr()  # each edge twice
    matrix = matrix + matrix.T
    return sparse.diags_array(1 / np.asarray(matrix.sum(axis=1)).ravel()) @ matrix


def _split_trunk(joints: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Shares (V, 4) of pelvis, spine1, spine2, spine3, by smooth steps across the joints' heights.

    Every step is as wide as the shorter of the two vertebral segments that it parts.
    """
    levels = np.array([joints[JOINT_NAMES.index(name), 1] for name in (*_TRUNK_JOINTS, "neck")])
    gaps = np.diff(levels)
    above = [np.ones(len(vertices))]
    for i in (1, 2, 3):
        width = min(gaps[i - 1], gaps[i])
        above.append(smoothstep((vertices[:, 1] - levels[i]) / width + 0.5))
    above.append(np.zeros(len(vertices)))
    return np.stack([above[i] - above[i + 1] for i in range(4)], axis=1)
