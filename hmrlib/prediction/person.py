"""What comes out: a person with pose, shape and place in the photograph, to be drawn and saved.

Frame: the camera's of the whole picture, metres, x right, y down, z away from the viewer. What is
saved as a mesh, or shown to be turned, is upright: y up, the camera looks along -z.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from hmrlib.body.kinematics import posed_body
from hmrlib.camera import Camera
from hmrlib.io import atomic_write
from hmrlib.prediction.photograph import PredictionError
from hmrlib.skeleton import JOINT_NAMES, KEYPOINT_SETS

SUFFIXES = (".glb", ".obj", ".ply", ".json", ".npz")
UPRIGHT = np.array([1.0, -1.0, -1.0])  # half a turn about x: the camera's y points down


@dataclass(frozen=True, eq=False)
class Person:
    """A person in a photograph.

    Attributes:
        vertices: (V, 3), joints: (24, 3) metres, in the camera's frame of the whole picture.
        pose: (24, 3) axis-angle, radians; the first is the whole body's, in the camera's frame.
        betas: (n,), as many as were recovered.
        translation: (3,) metres: vertices = body(betas, pose) + translation.
        camera: pinhole `Camera` of the whole picture; `focal_from` says where its focal length
            comes from.
        box: (4,) left, top, right, bottom around the person, pixels.
        square: (3,) middle and side of the square that the network saw, pixels.
        body: the `hmrlib.Body` it is.
        image: (H, W, 3) uint8, the picture; source: its file's name, or "".
        score: how sure the detector was, 0 to 1; 1 where the box was given.
        landmarks: `Landmarks`, or None.
        iterations: the network's guesses, each a dict of `pose` (24, 3), `betas`, and `camera`
            (3,), weak perspective in the square; the last is `network`'s.
        network: the `Person` that the network alone says; None if this is that one.
        refined: whether this is the body fitted to the landmarks; `note`: why it is not.
    """

    vertices: np.ndarray
    joints: np.ndarray
    pose: np.ndarray
    betas: np.ndarray
    translation: np.ndarray
    camera: Camera
    box: np.ndarray
    square: np.ndarray
    body: Any = field(repr=False)
    image: np.ndarray | None = field(default=None, repr=False)
    source: str = ""
    score: float = 1.0
    landmarks: Any = None
    iterations: tuple = field(default=(), repr=False)
    network: "Person | None" = field(default=None, repr=False)
    refined: bool = False
    note: str = ""
    focal_from: str = "given"

    def __repr__(self):
        how = "refined" if self.refined else "network alone"
        x, y, z = self.joints[0]
        return f"Person({self.source or 'an array'}, {how}, pelvis at {x:.2f} {y:.2f} {z:.2f} m)"

    @property
    def weak_camera(self):
        """(3,) weak perspective (s, tx, ty) in the square, as the network says it."""
        return weak_camera(self.translation, self.square, self.camera)

    @property
    def theta(self):
        """(85,): weak perspective camera (3), pose (72), betas (10), as in the paper."""
        betas = np.zeros(10)
        betas[: len(self.betas)] = self.betas[:10]
        return np.concatenate([self.weak_camera, self.pose.ravel(), betas])

    def keypoints_3d(self, names="coco-17"):
        """(K, 3) metres in the camera's frame; names: as for `keypoints_2d`."""
        points = self.body.posed_keypoints(self.betas[None], self.pose[None], names)
        return np.asarray(points, float)[0] + self.translation

    def keypoints_2d(self, names="coco-17"):
        """Where the body's keypoints are in the picture.

        Args:
            names: a set of `skeleton.KEYPOINT_SETS`, or a sequence of names.

        Returns:
            (K, 2) pixels of the whole picture.
        """
        return self.camera.project(self.keypoints_3d(names))[0]

    # --- looks ------------------------------------------------------------------------------

    def overlay(self, **options):
        """The body over its photograph: a PIL image; see `draw.overlay`."""
        return People([self], self.image, self.source).overlay(**options)

    def views(self, size=(360, 480), **options):
        """The body from the "front" (the camera), the "side" and the "top": a dict of PIL images.

        Args:
            size: (width, height) of each, pixels.
            options: see `viewing.figures.snapshot`.
        """
        from hmrlib.prediction import draw

        return draw.views([self], size, **options)

    def turntable(self, count=8, **options):
        """Pictures all around the body: a list of arrays; see `viewing.figures.turntable`."""
        from hmrlib.viewing import figures

        return figures.turntable(self.upright(), self.body.faces, count, **options)

    def show(self, **options):
        """The body with sliders; see `hmrlib.show`."""
        from hmrlib.viewing.show import show

        return show(self.body, self.betas, self.upright_pose(), **options)

    def upright(self):
        """(V, 3) the vertices with y up, the pelvis at the origin."""
        return (self.vertices - self.joints[0]) * UPRIGHT

    def upright_pose(self):
        """(24, 3) the pose with its root told in a frame with y up."""
        pose = np.array(self.pose, float)
        turn = Rotation.from_rotvec([np.pi, 0, 0])
        pose[0] = (turn * Rotation.from_rotvec(pose[0])).as_rotvec()
        return pose

    # --- words and files --------------------------------------------------------------------

    def table(self):
        """The 72 numbers of the pose as text: a line a joint, and its angle in degrees."""
        lines = [f"{'joint':<16} {'axis times angle, radians':<26} degrees"]
        for name, vector in zip(JOINT_NAMES, self.pose, strict=True):
            numbers = " ".join(f"{value:7.3f}" for value in vector)
            lines.append(f"{name:<16} {numbers:<26} {np.degrees(np.linalg.norm(vector)):7.0f}")
        return "\n".join(lines)

    def to_dict(self, names="coco-17"):
        """All that is known but the mesh, of plain numbers and words, for JSON."""
        camera, numbers = self.camera, _rounded
        found = {
            "source": self.source,
            "refined": self.refined,
            "note": self.note,
            "theta": numbers(self.theta),
            "pose": numbers(self.pose),
            "betas": numbers(self.betas),
            "translation": numbers(self.translation),
            "camera": {
                "focal": camera.focal,
                "focal_from": self.focal_from,
                "center": camera.center.tolist(),
                "size": list(camera.size),
            },
            "box": numbers(self.box),
            "square": numbers(self.square),
            "score": float(self.score),
            "joint_names": list(JOINT_NAMES),
            "joints": numbers(self.joints),
            "keypoints": {
                "set": names,
                "names": list(KEYPOINT_SETS[names].names),
                "pixels": numbers(self.keypoints_2d(names)),
            },
            "iterations": [
                {name: numbers(value) for name, value in guess.items()} for guess in self.iterations
            ],
        }
        if self.landmarks is not None:
            found["landmarks"] = {
                "pixels": numbers(self.landmarks.xy),
                "visibility": numbers(self.landmarks.visibility),
            }
        if self.network is not None:
            alone = self.network
            found["network"] = {"theta": numbers(alone.theta), "betas": numbers(alone.betas)}
        return found

    def save(self, path):
        """Write the person, upright where it is a mesh.

        Args:
            path: .glb (with skeleton and shapes), .obj or .ply (the mesh): y up, at the body's own
                origin. .json: theta, betas, camera, keypoints; .npz: the same as arrays, and the
                vertices: in the camera's frame.

        Returns:
            Path of the file.

        Raises:
            PredictionError: another suffix.
            OSError: nothing can be written there.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            raise PredictionError(
                f"{path}: a person is written as {', '.join(SUFFIXES)}; .bvh is for a motion"
            )
        if suffix == ".json":
            with atomic_write(path) as file:
                file.write(json.dumps(self.to_dict(), indent=1).encode())
        elif suffix == ".npz":
            with atomic_write(path) as file:
                np.savez_compressed(file, **self._arrays())
        else:
            self.body.save(path, self.betas, self.pose, frame="camera")
        return path

    def _arrays(self):
        camera = self.camera
        return {
            "theta": self.theta,
            "pose": self.pose,
            "betas": self.betas,
            "translation": self.translation,
            "vertices": self.vertices.astype(np.float32),
            "joints": self.joints,
            "keypoints_2d": self.keypoints_2d("coco-17"),
            "camera": np.array([camera.focal, *camera.center]),
            "image_size": np.array(camera.size),
            "box": self.box,
            "square": self.square,
        }


class People(list):
    """The people of one picture, a list of `Person`, and the picture itself.

    Attributes:
        image: (H, W, 3) uint8; source: the file's name, or "".
    """

    def __init__(self, people=(), image=None, source=""):
        super().__init__(people)
        self.image, self.source = image, source

    def overlay(self, **options):
        """All of them over the photograph, who is nearer in front: a PIL image."""
        from hmrlib.prediction import draw

        if self.image is None:
            raise PredictionError("there is no photograph to draw them over")
        return Image.fromarray(draw.overlay(self.image, list(self), **options))

    def views(self, size=(400, 400), **options):
        """All of them from the front, side and top, as they stand in the room; a dict."""
        from hmrlib.prediction import draw

        return draw.views(list(self), size, **options)

    def network(self):
        """The same people as the network alone says they are."""
        alone = [person.network or person for person in self]
        return People(alone, self.image, self.source)


def make_people(body, poses, betas, translations, posed=None, **fields):
    """`Person`s of poses and shapes; one call of the body for all.

    Args:
        body: `hmrlib.Body`.
        poses: (N, 24, 3) axis-angle; betas: (N, n); translations: (N, 3) metres.
        posed: vertices (N, V, 3) and joints (N, 24, 3) without the translations, if known.
        fields: lists of N of the other attributes.

    Returns:
        list of N.
    """
    if not len(poses):
        return []
    poses, betas, translations = (np.asarray(a, float) for a in (poses, betas, translations))
    vertices, joints = posed_body(body, betas, poses) if posed is None else posed
    vertices, joints = vertices + translations[:, None], joints + translations[:, None]
    arrays = vertices, joints, poses, betas, translations
    names = ("vertices", "joints", "pose", "betas", "translation")
    return [
        Person(
            **{name: array[i] for name, array in zip(names, arrays, strict=True)},
            **{name: values[i] for name, values in fields.items()},
            body=body,
        )
        for i in range(len(poses))
    ]


def axis_angles(matrices):
    """Rotation matrices (..., 3, 3) -> axis-angle (..., 3), in NumPy."""
    matrices = np.asarray(matrices, float)
    turns = Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_rotvec()
    return turns.reshape(matrices.shape[:-1])


def weak_camera(translation, square, camera):
    """(3,) weak perspective (s, tx, ty) of a body in a square: `full_image_camera`'s inverse."""
    pixels_a_metre = camera.focal / translation[2]
    offset = (np.asarray(square[:2]) - camera.center) / pixels_a_metre
    return np.array([2 * pixels_a_metre / square[2], *(translation[:2] - offset)])


def _rounded(array):
    """As nested lists, in single precision's digits: a file for people to read, too."""
    return np.round(np.asarray(array, float), 6).tolist()
