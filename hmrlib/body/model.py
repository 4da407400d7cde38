"""The SMPL-form body model: (betas, pose) -> a posed mesh and its joints.

Loper et al., "SMPL: A Skinned Multi-Person Linear Model", 2015. Each equation of section 3 is
one function below, and `Body` calls them in the paper's order:

    shaped   = T + B_S(beta)                    shape_blend_shapes            eq. 8
    joints   = J(beta)                          joint_locations               eq. 10
    R        = exp(theta)                       axis_angle_to_matrix          eq. 1
    T_P      = T + B_S(beta) + B_P(theta)       pose_blend_shapes             eq. 6, 9
    G, G'    = the joints' world motions        world_transforms, relative_…  eq. 4, 3
    M        = W(T_P, J, theta)                 linear_blend_skinning         eq. 5, 7

Frame: metres, y up, the body faces +z, its left is +x. B = batch, V = vertices, S = shape
coefficients, K = 24 joints. Inside, coordinates are planes (B, 3, V): see `skinning`.
"""

import json
import warnings
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from keras import ops
from scipy.spatial.transform import Rotation

from hmrlib import geometry
from hmrlib.body import compiled, files
from hmrlib.body.inputs import BodyInputError, checked, rotation_vectors
from hmrlib.body.keypoints import SOURCES, feet_vertices, keypoint_matrix, landmark_vertices
from hmrlib.body.skinning import SKINNINGS, product
from hmrlib.skeleton import JOINT_NAMES

_TURN = Rotation.from_rotvec([np.pi, 0, 0])  # y down, z forward -> y up, z backward: the same turn
FRAMES = ("auto", "body", "camera")


class BodyOutput(NamedTuple):
    """What a body returns.

    Attributes:
        vertices: (B, V, 3) metres.
        joints: (B, 24, 3) metres, the joints that move the mesh, in `skeleton.JOINT_NAMES`' order.
    """

    vertices: Any
    joints: Any


def shape_blend_shapes(betas, shapedirs):
    """B_S(beta) = sum_n beta_n S_n: offsets from the mean body to this one (eq. 8).

    Args:
        betas: (B, S), in standard deviations of the population.
        shapedirs: (S, ...), metres, e.g. (S, 3, V) or (S, 3 V).

    Returns:
        (B, ...) offsets, metres.
    """
    return ops.tensordot(betas, shapedirs, axes=1)


def joint_locations(J_template, J_shapedirs, betas):
    """J(beta) = regressor (T + B_S(beta)): where the joints are in the rest pose (eq. 10).

    Both the regressor and B_S are linear, so their product is taken once, when the model is
    loaded: J_template (K, 3) = regressor T, J_shapedirs (S, K, 3) = regressor S.

    Returns:
        (B, K, 3) metres.
    """
    return J_template + ops.tensordot(betas, J_shapedirs, axes=1)


def pose_feature(rotations):
    """R(theta) - R(theta*): how far each joint but the root is from rest (in eq. 9).

    (B, K, 3, 3) -> (B, 9 (K - 1)), zero in the rest pose theta* = 0.
    """
    joints = rotations.shape[1] - 1
    offsets = rotations[:, 1:] - ops.eye(3, dtype=rotations.dtype)
    return ops.reshape(offsets, (-1, 9 * joints))


def pose_blend_shapes(feature, posedirs):
    """B_P(theta) = sum_n (R_n(theta) - R_n(theta*)) P_n: what skinning gets wrong (eq. 9).

    Args:
        feature: (B, 207), from `pose_feature`.
        posedirs: (207, ...), metres, e.g. (207, 3, V) or (207, 3 V).

    Returns:
        (B, ...) offsets in the rest pose, metres.
    """
    return ops.tensordot(feature, posedirs, axes=1)


def world_transforms(rotations, joints, parents):
    """G_k: each joint's motion is its own rotation, carried along by all its ancestors (eq. 4).

    Args:
        rotations: (B, K, 3, 3), each relative to the parent.
        joints: (B, K, 3) in the rest pose, metres.
        parents: K integers, parents before children, -1 for the root.

    Returns:
        rotations (B, K, 3, 3) in the world, and positions (B, K, 3) of the posed joints, metres.
    """
    rotations, joints = ops.unstack(rotations, axis=1), ops.unstack(joints, axis=1)
    world = [rotations[0]]
    posed = [joints[0]]
    for joint, parent in enumerate(parents[1:], start=1):
        bone = joints[joint] - joints[parent]
        world.append(ops.matmul(world[parent], rotations[joint]))
        posed.append(posed[parent] + _rotate(world[parent], bone))
    return ops.stack(world, axis=1), ops.stack(posed, axis=1)


def relative_transforms(world, posed, joints):
    """G'_k = G_k(theta, J) G_k(theta*, J)^-1: from the rest pose straight to the world (eq. 3).

    In the rest pose no joint is turned, so G_k(theta*) only translates by j_k.

    Args:
        world, posed: from `world_transforms`.
        joints: (B, K, 3) in the rest pose, metres.

    Returns:
        rotations (B, K, 3, 3) and translations (B, K, 3).
    """
    return world, posed - _rotate(world, joints)


def _rotate(rotations, vectors):
    """R v: (..., 3, 3) x (..., 3) -> (..., 3)."""
    return ops.sum(rotations * ops.expand_dims(vectors, -2), axis=-1)


def posed_body(
    tensors, betas, pose, translation, parents, skinning="lbs", correctives=True,
    blend=product, join=compiled.side_by_side,
):  # fmt: skip
    """M(beta, theta) = W(T_P(beta, theta), J(beta), theta): the posed body (eq. 5).

    Args:
        tensors: of `compiled.tensors_of`; `parts` of the body's vertices, each with the joints and
            pose features that move it.
        betas: (B, S); pose: (B, 72) or (B, 24, 3) radians, or (B, 24, 3, 3); translation: (B, 3).
            Any of them may be of one body.
        parents: K integers; skinning, correctives: see `Body.__call__`.
        blend, join: how motions are blended, and the parts' vertices (B, 3, v) brought together;
            `compiled` has faster ways.

    Returns:
        `BodyOutput`.
    """
    betas, pose, translation = compiled.one_batch(betas, pose, translation)
    S = betas.shape[1]
    rotations = pose  # R, eq. 1
    if len(pose.shape) != 4:
        rotations = geometry.axis_angle_to_matrix(ops.reshape(pose, (-1, len(parents), 3)))
    joints = joint_locations(tensors["J_template"], tensors["J_shapedirs"][:S], betas)
    world, posed = world_transforms(rotations, joints, parents)
    motions_of, skin = SKINNINGS[skinning]
    motions = motions_of(*relative_transforms(world, posed, joints), parents)
    feature = pose_feature(rotations)
    vertices = []
    for part in tensors["parts"]:
        # T_P = T + B_S(beta) + B_P(theta), eq. 6: (B, 3 v)
        rest = part["template"] + shape_blend_shapes(betas, part["shapedirs"][:S])
        if correctives:
            features = ops.take(feature, part["features"], axis=1)
            rest = rest + pose_blend_shapes(features, part["posedirs"])
        rest = ops.reshape(rest, (-1, 3, part["weights"].shape[1]))
        moving = ops.take(motions, part["joints"], axis=2)
        vertices.append(skin(rest, moving, part["weights"], blend))  # eq. 7
    vertices = join(vertices)
    # (B, V, 3); of a transpose XLA makes a change of layout, and pays with a copy at the end
    vertices = ops.stack([vertices[:, axis] for axis in range(3)], axis=-1)
    return BodyOutput(vertices + translation[:, None], posed + translation[:, None])


class Body:
    """A body model in SMPL's form, held in memory; call it with betas and pose.

    Attributes:
        v_template: (V, 3) float32, metres; the mean body T in the rest pose.
        shapedirs: (V, 3, S), one direction a beta.
        posedirs: (V, 3, 207), one direction an entry of the pose feature.
        J_regressor: (24, V), scipy csc.
        weights: (V, 24), each row sums to one.
        faces: (F, 3) int32, counter-clockwise from outside.
        parents: 24 integers; kintree_table: (2, 24), as in the file.
        model: dict of all of these, as `files.read_model` gives them.
        card: dict, what the file says of itself (licence, data, errors); {} if it says nothing.
    """

    def __init__(self, model):
        """From the arrays of `files.read_model`."""
        self.model = model
        self.v_template = model["v_template"]
        self.shapedirs = model["shapedirs"]
        self.posedirs = model["posedirs"]
        self.J_regressor = model["J_regressor"]
        self.weights = model["weights"]
        self.faces = model["f"]
        self.kintree_table = model["kintree_table"]
        self.parents = tuple(int(parent) for parent in model["parents"])
        self.card = json.loads(str(model["card"])) if "card" in model else {}
        skin = self.v_template, self.weights
        self._landmarks = np.concatenate([landmark_vertices(*skin), feet_vertices(*skin)])  # (12,)
        self._all_tensors = compiled.tensors_of(self, [np.arange(len(self.v_template))])
        self._landmark_tensors = compiled.tensors_of(self, [self._landmarks])
        self._compiler = compiled.Compiler(self, posed_body)

    @property
    def num_betas(self):
        """How many shape coefficients the file has; fewer may be given."""
        return self.shapedirs.shape[2]

    def __repr__(self):
        vertices, faces = len(self.v_template), len(self.faces)
        return f"Body({vertices} vertices, {faces} faces, {self.num_betas} betas)"

    def __reduce__(self):
        """Copies and pickles are made of the arrays: what was compiled stays behind."""
        return Body, (self.model,)

    def __call__(
        self, betas=None, pose=None, translation=None, skinning="lbs", correctives=True,
        compiles=True,
    ):  # fmt: skip
        """M(beta, theta): the posed body (eq. 5).

        Args:
            betas: (B, n), any n up to `num_betas`; missing ones are zero. None: the mean body.
            pose: axis-angle (B, 72) or (B, 24, 3) radians, or rotation matrices (B, 24, 3, 3);
                the first is the whole body's. None: the rest pose.
            translation: (B, 3) metres, or None.
            skinning: "lbs", linear blends, or "dqs", dual quaternions.
            correctives: False leaves out the pose blend shapes B_P.
            compiles: whether the function may be compiled for inputs of a shape that comes again:
                many times faster, and equal but for the last bits. Once for each shape that takes
                some seconds: on TensorFlow at the second call, on JAX at the first.

            A batch of one goes with any B; without the batch axis it counts as one. Of arrays and
            lists any B will do: more than 256 bodies are computed so many at a time, so that a long
            motion takes no more memory than its vertices and joints need. (Tensors are computed at
            once and uncompiled, as they may be part of a graph; on JAX, if they are.)

        Returns:
            `BodyOutput` of the backend's tensors: vertices (B, V, 3) and joints (B, 24, 3).

        Raises:
            BodyInputError: a wrong shape, an unknown skinning, or NaN or infinity in an array or
                list. (Tensors are checked for their shape alone: values may not be there yet.)
        """
        inputs = self._checked(betas, pose, translation, skinning)
        options = {"parents": self.parents, "skinning": skinning, "correctives": correctives}
        forward = self._compiler.by_shape(inputs, **options) if compiles else None
        if forward is not None:
            return compiled.in_chunks(forward, inputs, of_one_size=True)
        return compiled.in_chunks(partial(posed_body, self._all_tensors, **options), inputs)

    def compile(self, skinning="lbs", correctives=True):
        """The same function compiled for every batch size: several times faster, same arguments.

        XLA on TensorFlow and JAX, a few seconds at the first call of each batch size (of arrays,
        256 is the largest). PyTorch runs as it is. Unlike a plain call it is compiled for tensors,
        too, and can be differentiated; on JAX in reverse only (`grad`, not `jvp`).

        Returns:
            function (betas, pose, translation=None) -> `BodyOutput`.
        """
        options = {"parents": self.parents, "skinning": skinning, "correctives": correctives}
        forward = self._compiler.compile(**options)
        if forward is None:
            forward = partial(posed_body, self._all_tensors, **options)

        def compiled_body(betas=None, pose=None, translation=None):
            inputs = self._checked(betas, pose, translation, skinning)
            return compiled.in_chunks(forward, inputs, of_one_size=True)

        return compiled_body

    def keypoints(self, output, names="union-22"):
        """The points that data sets annotate, on posed bodies.

        Args:
            output: `BodyOutput` for B bodies, of this body.
            names: a set of `skeleton.KEYPOINT_SETS`, or a sequence of names: joints, `thorax`,
                `spine`, `mid_hip`, and points of head and feet (see `body.keypoints`).

        Returns:
            (B, K, 3) metres, in the set's order; differentiable.

        Raises:
            ValueError: a set or a point is unknown.
        """
        landmarks = ops.take(output.vertices, self._landmarks, axis=1)  # (B, 12, 3)
        return _keypoints(output.joints, landmarks, names)

    def posed_keypoints(self, betas, pose, names="union-22"):
        """The keypoints of posed bodies whose other vertices nobody needs, as a loss in training.

        Equals `keypoints(self(betas, pose), names)`, and costs a small part of it.

        Args:
            betas, pose: as for a call.
            names: as for `keypoints`.

        Returns:
            (B, K, 3) metres.
        """
        inputs = self._checked(betas, pose, None)
        landmarks, joints = posed_body(self._landmark_tensors, *inputs, self.parents)
        return _keypoints(joints, landmarks, names)

    def save(self, path, betas=None, pose=None, frame="auto"):
        """Write the model (.npz, .pkl, .glb with skeleton and shapes) or its mesh (.obj, .ply).

        The file is written whole or not at all. See `files.write_model`. What one photograph gave:

            body.save("person.glb", found.betas[0], found.rotations[0])

        Args:
            path: its suffix says what is written; upper case is the same.
            betas: (n,) and pose: (24, 3) or (72,) radians or (24, 3, 3), of one body: a mesh is of
                that body; a `.glb` has the betas built in and its joints turned (glTF has no
                correctives).
            frame: where the pose's root is told. These formats have y up. "body": y up, too, as in
                motions and in this package's own poses; written as it is. "camera": y down, as
                `HMR.recover` and `fitting.fit_keypoints` tell it; written upright, by half a turn
                about x. "auto": of a body whose head is below its feet it is taken to be the
                camera's, else the body's own. (A handstand looks like a person before the camera:
                say which it is. With axis-angle, which both use, there is a warning.)

        Raises:
            BodyInputError: betas or pose of more than one body, or of a wrong shape; a matrix that
                is no rotation; an unknown frame.
            hmrlib.body.files.ModelFileError: another suffix, or one that holds no single body.
            OSError: nothing can be written there.
        """
        if frame not in FRAMES:
            raise BodyInputError(f"unknown frame {frame!r}: use one of {', '.join(FRAMES)}")
        if betas is None and pose is None:
            return files.write_model(path, self.model)
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in (".glb", ".obj", ".ply"):
            raise files.ModelFileError(
                f"{path}: one body in one pose is written as .glb, .obj or .ply; "
                "a model file holds all bodies, leave betas and pose out"
            )
        betas, pose, _ = map(ops.convert_to_numpy, self._checked(betas, pose, None))
        if max(len(betas), len(pose)) != 1 or not len(betas) or not len(pose):
            raise BodyInputError(
                f"expected betas and pose of one body, found {len(betas)} and {len(pose)}: of a "
                "motion save each frame by itself"
            )
        pose = self._upright(betas, pose, frame)
        if suffix == ".glb":
            return files.write_glb(path, self.model, betas[0].astype(float), pose=pose)
        return files.write_mesh(
            path, ops.convert_to_numpy(self(betas, pose).vertices[0]), self.faces
        )

    def _upright(self, betas, pose, frame):
        """The pose (24, 3) of one body, its root told in the body's own frame; see `save`."""
        is_matrix = pose.ndim == 4
        turns = rotation_vectors(pose[0]) if is_matrix else pose.reshape(-1, 3).astype(float)
        if frame == "auto":
            height = ops.convert_to_numpy(self(betas, turns).joints)[0, :, 1]
            feet = height[[JOINT_NAMES.index(f"{side}_ankle") for side in ("left", "right")]]
            frame = "camera" if height[JOINT_NAMES.index("head")] < feet.mean() else "body"
            if frame == "camera" and not is_matrix:
                warnings.warn(
                    "the head is below the feet, so the pose is taken to be told in the camera's "
                    'frame (y down), and written upright: say frame="camera" if it is, or '
                    'frame="body" if the body stands on its head',
                    stacklevel=3,
                )
        if frame == "camera":
            turns[0] = (_TURN * Rotation.from_rotvec(turns[0])).as_rotvec()
        return turns

    def _checked(self, betas, pose, translation, skinning="lbs"):
        if skinning not in SKINNINGS:
            raise BodyInputError(f"unknown skinning {skinning!r}: use one of {sorted(SKINNINGS)}")
        return checked(self, betas, pose, translation)


def _keypoints(joints, landmarks, names):
    """Joints (B, 24, 3) and landmarks (B, 12, 3) -> keypoints (B, K, 3)."""
    matrix = ops.convert_to_tensor(keypoint_matrix(names, SOURCES))  # (K, 24 + 12)
    return ops.matmul(matrix, ops.concatenate([joints, landmarks], axis=1))


def load_body(path=None):
    """Load a body model.

    Args:
        path: a model in SMPL's format, `.npz` or `.pkl`. None: the file named by the
            environment variable HMR_BODY, or else the open body that comes with the package.

    Returns:
        `Body`.

    Raises:
        hmrlib.body.files.ModelFileError: the file is missing, damaged, hostile, or no such model.
    """
    return Body(files.read_model(files.default_path(path)))
