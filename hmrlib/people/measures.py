"""A body measured as a tailor does: how far along the arm, how high, where the face is.

Nothing in this room knows a vertex number; all that clothes, hair and skin need to know of the
mesh stands in `BodyMeasurements`.

Frame: metres, y up, the body faces +z and its left is +x. V = vertices of the body.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from hmrlib.body.keypoints import landmark_vertices
from hmrlib.body.surface import head_frame
from hmrlib.render import ambient_occlusion
from hmrlib.skeleton import JOINT_NAMES

NOISES = 24  # smooth random fields on the mean body, to wrinkle and to blotch
TUBE_ANGLES, TUBE_RINGS = 40, 14
J = {name: i for i, name in enumerate(JOINT_NAMES)}


@dataclass(frozen=True, eq=False)
class BodyMeasurements:
    """What `measure` found on the mean body; lengths in metres, one value a vertex unless said.

    Attributes:
        body: the `Body`.
        kept: (V,) which of the body's vertices these are; all, unless it was made coarser.
        faces: (F, 3) uint32, of the kept vertices.
        vertices: (V, 3) the mean body in its rest pose; joints: (24, 3).
        height: above the hip joints; torso: the shoulders' height above them, one number.
        arm: how far beyond the shoulder joint, along the arm; negative in the trunk.
        leg: how far below the hip joint, along the leg.
        limb: 0 trunk and head, 1 left arm, 2 right arm, 3 left leg, 4 right leg.
        turn: (5, V) angle around the axis of each limb, radians, 0 in front (arms: above).
        girth: (5,) circumference of each limb.
        head: (V, 3) position relative to the head's center, in head heights.
        face: the head's height in metres, one number; eyes: (2, 3) as `head`; nose: (3,).
        open: how much of the sky a vertex of the mean body sees, 0 to 1.
        noise: (NOISES, V) smooth, about standard normal.
        tube: (TUBE_RINGS, TUBE_ANGLES, 3) what lies furthest out there; see `measure_tube`.
        tube_shape, skull_shape: (TUBE_RINGS, TUBE_ANGLES, 3, S), (3, S) how betas move them.
        smoothing: part of the rounds of smoothing that are as much as all on the whole body.
    """

    body: object
    kept: np.ndarray
    faces: np.ndarray
    vertices: np.ndarray
    joints: np.ndarray
    height: np.ndarray
    torso: float
    arm: np.ndarray
    leg: np.ndarray
    limb: np.ndarray
    turn: np.ndarray
    girth: np.ndarray
    head: np.ndarray
    face: float
    eyes: np.ndarray
    nose: np.ndarray
    open: np.ndarray
    noise: np.ndarray
    tube: np.ndarray
    tube_shape: np.ndarray
    skull_shape: np.ndarray
    smoothing: float = 1.0


def measure(body):
    """Read a body's landmarks from its template and weights.

    Args:
        body: a `hmrlib.body.model.Body`, at rest with its arms out to the sides.

    Returns:
        `BodyMeasurements`.
    """
    v, weights = body.v_template.astype(np.float64), body.weights
    joints = np.asarray(body.J_regressor @ v)
    hips = (joints[J["left_hip"], 1] + joints[J["right_hip"], 1]) / 2
    shoulders = (joints[J["left_shoulder"], 1] + joints[J["right_shoulder"], 1]) / 2
    height = v[:, 1] - hips

    def share(*names):
        return weights[:, [J[name] for name in names]].sum(1)

    arm, leg = np.full(len(v), -np.inf), np.full(len(v), -np.inf)
    limb, turn = np.zeros(len(v), int), np.zeros((5, len(v)))
    girth = np.zeros(5)
    trunk_center = np.array([0.0, 0.0, joints[[J["spine1"], J["spine2"], J["spine3"]], 2].mean()])
    is_trunk = share("pelvis", "spine1", "spine2", "spine3") > 0.5
    trunk_radius = np.hypot(v[is_trunk, 0], v[is_trunk, 2] - trunk_center[2]).mean()
    turn[0] = np.arctan2(v[:, 0], v[:, 2] - trunk_center[2])
    girth[0] = 2 * np.pi * trunk_radius
    for side, sign in (("left", 1), ("right", -1)):
        start, end = joints[J[f"{side}_shoulder"]], joints[J[f"{side}_wrist"]]
        axis = (end - start) / np.linalg.norm(end - start)
        along = np.einsum("vc,c->v", v - start, axis)
        own = v[:, 0] * sign >= 0
        arm[own] = along[own]
        belongs = share(f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist", f"{side}_hand") > 0.5
        off = v - start - along[:, None] * axis
        radius = np.linalg.norm(off[belongs], axis=1).mean()
        number = 1 if sign > 0 else 2
        limb[belongs] = number
        turn[number] = np.arctan2(off[:, 2], off[:, 1])
        girth[number] = 2 * np.pi * radius

        start, end = joints[J[f"{side}_hip"]], joints[J[f"{side}_ankle"]]
        axis = (end - start) / np.linalg.norm(end - start)
        along = np.einsum("vc,c->v", v - start, axis)
        leg[own] = along[own]
        belongs = share(f"{side}_hip", f"{side}_knee", f"{side}_ankle", f"{side}_foot") > 0.5
        off = v - start - along[:, None] * axis
        radius = np.linalg.norm(off[belongs & (along < 0.85)], axis=1).mean()
        number = 3 if sign > 0 else 4
        limb[belongs] = number
        turn[number] = np.arctan2(off[:, 0], off[:, 2])
        girth[number] = 2 * np.pi * radius

    marks = landmark_vertices(body.v_template, weights)
    head, face = head_frame(v, share("head") > 0.5)
    rng = np.random.default_rng(0)
    noise = np.empty((NOISES, len(v)))
    for i in range(NOISES):  # sums of plane waves, 8 to 40 cm long
        waves = rng.normal(size=(24, 3)) * rng.uniform(15, 80, (24, 1)) / np.sqrt(3)
        phases = np.einsum("vc,wc->vw", v, waves) + rng.uniform(0, 2 * np.pi, 24)
        noise[i] = np.cos(phases).sum(1) / np.sqrt(12)
    tube = measure_tube(v, height, arm)
    return BodyMeasurements(
        body=body,
        kept=np.arange(len(v)),
        faces=np.ascontiguousarray(body.faces, np.uint32),
        vertices=v,
        joints=joints,
        height=height,
        torso=float(shoulders - hips),
        arm=arm,
        leg=leg,
        limb=limb,
        turn=turn,
        girth=girth,
        head=head,
        face=float(face),
        eyes=head[marks[2:4]],
        nose=head[marks[1]],
        open=np.minimum(ambient_occlusion(body.v_template, body.faces), 1),
        noise=noise.astype(np.float32),
        tube=v[tube],
        tube_shape=body.shapedirs[tube],
        skull_shape=body.shapedirs[head[:, 1] > -0.2].mean(0),
    )


def coarsen(measured, count):
    """The same measures at `count` of the body's vertices, for people who are small in a picture.

    Edges are collapsed as when the body was made, so that the shape stays with few, and the head
    keeps more of them than its size would give it.

    Args:
        measured: from `measure`.

    Returns:
        `BodyMeasurements`.

    Raises:
        ValueError: the body cannot do with so few.
    """
    from hmrlib.learn.mesh import Surface, decimate

    whole = Surface(
        sparse.eye_array(len(measured.vertices), format="csr"),
        measured.faces.astype(np.int64),
        np.zeros(len(measured.vertices), bool),
    )
    wanted = np.where(measured.head[:, 1] > -0.55, 1.0, 2.0)  # only their proportion matters
    # counted twice, as `decimate` takes a surface for a half
    coarse = decimate(whole, measured.vertices[None], wanted, 2 * count)
    return select(measured, coarse.select.indices, coarse.faces)


def select(measured, rows, faces):
    """The same measures of some of the vertices; faces: (F, 3), of these."""
    return replace(
        measured,
        kept=measured.kept[rows],
        faces=faces.astype(np.uint32),
        noise=np.ascontiguousarray(measured.noise[:, rows]),
        turn=measured.turn[:, rows],
        smoothing=measured.smoothing * len(faces) / len(measured.faces),
        **{
            name: getattr(measured, name)[rows]
            for name in ("vertices", "height", "arm", "leg", "limb", "head", "open")
        },
    )


def measure_tube(vertices, height, arm):
    """Which vertices of the mean body lie furthest out, seen from its axis, ring by ring.

    Rings run from the waist down to the ankles.

    Returns:
        (TUBE_RINGS, TUBE_ANGLES) vertex indices.
    """
    top, bottom = 0.16, height.min() + 0.07
    angles = np.arange(TUBE_ANGLES) * (2 * np.pi / TUBE_ANGLES)
    outward = np.stack([np.sin(angles), np.zeros_like(angles), np.cos(angles)], 1)
    index = np.empty((TUBE_RINGS, TUBE_ANGLES), int)
    for i, level in enumerate(np.linspace(top, bottom, TUBE_RINGS)):
        band = np.flatnonzero((np.abs(height - level) < 0.05) & (arm < 0.02))
        reach = np.einsum("vc,ac->va", vertices[band], outward)
        index[i] = band[reach.round(9).argmax(0)]  # of two as far out, the first
    return index
