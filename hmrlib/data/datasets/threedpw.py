"""3DPW."""

import json

import numpy as np
from scipy.spatial.transform import Rotation

from hmrlib.data import records
from hmrlib.data.datasets.base import (
    LeftOut,
    Listing,
    read_image,
    remembered,
    require,
    with_skips,
)
from hmrlib.data.datasets.crop import crop_to_person
from hmrlib.data.datasets.points import to_union
from hmrlib.data.pipeline import rest_pelvis
from hmrlib.io import safe_pickle

_OPENPOSE_18 = (
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist "
    "right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear "
    "left_ear"
)


def threedpw(source):
    """3DPW: 60 videos from a moving phone outdoors, with SMPL's pose from body-worn sensors.

        3DPW/
          imageFiles/courtyard_arguing_00/image_00000.jpg ...
          sequenceFiles/train/courtyard_arguing_00.pkl ...
          sequenceFiles/validation/..., sequenceFiles/test/...
            poses [P] (F, 72), trans [P] (F, 3), jointPositions [P] (F, 72), betas [P], in the world
            poses2d [P] (F, 3, 18), campose_valid [P] (F,), cam_poses (F, 4, 4), cam_intrinsics

    Splits as published: train, validation, test. Frames whose camera is not marked valid are
    skipped. The root's rotation is taken into the camera frame; the translation puts the pelvis
    where the data has it, on the body of `load_body()`. The betas belong to SMPL's male and female
    models, not to a neutral one, so they stay in `recipe`. 2D points are OpenPose's detections;
    where it found nobody they are unknown.

    The .pkl files go through `safe_pickle`: nothing in them is run.

    Source: von Marcard et al., ECCV 2018; virtualhumans.mpi-inf.mpg.de/3DPW, after accepting its
    terms. Licence: for non-commercial research.
    """
    splits = {split: [] for split in ("train", "validation", "test")}
    for split in splits:
        for path in sorted((source / "sequenceFiles" / split).glob("*.pkl")):
            try:
                length = len(_3dpw_sequence(path)["cam_poses"])
            except (LeftOut, LookupError, TypeError):
                length = 1  # where the reason is counted
            splits[split] += [(path, frame) for frame in range(length)]
    if not any(splits.values()):
        require(source / "sequenceFiles" / "train")

    def load(item):
        path, frame = item
        labels = _3dpw_sequence(path)
        image = source / "imageFiles" / path.stem / f"image_{frame:05d}.jpg"
        tried = with_skips(
            lambda person: [_3dpw_person(labels, frame, person, image)],
            lambda person: f"{path.stem}/{person}/{frame}",
        )
        return [tried(person)[0] for person in range(len(labels["poses"]))]

    return Listing(splits, load, lambda item: f"{item[0].stem}/{item[1]}")


@remembered(keep=4)
def _3dpw_sequence(path):
    with open(path, "rb") as file:
        try:
            return safe_pickle.load(file)
        except safe_pickle.UnsafePickleError as error:
            raise safe_pickle.UnsafePickleError(f"{path}: {error}") from error


def _3dpw_person(labels, frame, person, image):
    if frame >= len(labels["poses"][person]):
        raise LeftOut("a frame without labels")
    if not np.ravel(labels["campose_valid"][person])[frame]:
        raise LeftOut("a camera that is marked as not valid")
    pose = np.array(labels["poses"][person][frame], float).reshape(24, 3)
    joints = np.array(labels["jointPositions"][person][frame], float).reshape(24, 3)
    to_camera = np.asarray(labels["cam_poses"][frame], float)
    joints = joints @ to_camera[:3, :3].T + to_camera[:3, 3]
    root = Rotation.from_matrix(to_camera[:3, :3]) * Rotation.from_rotvec(pose[0])
    pose[0] = root.as_rotvec()
    if not (joints[:, 2] > 0).all():
        raise LeftOut("a person behind the camera")
    intrinsics = np.asarray(labels["cam_intrinsics"], float)
    camera = np.array([(intrinsics[0, 0] + intrinsics[1, 1]) / 2, *intrinsics[:2, 2]])
    pixels = camera[0] * joints[:, :2] / joints[:, 2:] + camera[1:]
    center, size = records.box_around(np.concatenate([pixels, np.ones((24, 1))], 1))
    detected = np.array(labels["poses2d"][person][frame], float).T  # (18, 3)
    known = np.concatenate([joints, np.ones((24, 1))], 1)
    betas = np.ravel(labels["betas"][person])[:10].tolist()
    sample = {
        "image": read_image(image.parent, image.name),
        "center": center,
        "size": size,
        "keypoints_2d": to_union(detected, _OPENPOSE_18.split()),
        "keypoints_3d": to_union(known, "smpl-24"),
        "pose": pose,
        "translation": joints[0] - rest_pelvis(np.zeros(10)),
        "camera": camera,
        "source": "3dpw",
        "id": f"{image.parent.name}/{person}/{frame}",
        "recipe": json.dumps({"gender": str(labels["genders"][person]), "betas": betas}),
    }
    return crop_to_person(sample)
