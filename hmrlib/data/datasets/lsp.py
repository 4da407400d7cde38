"""Leeds Sports Pose, and its extension."""

import numpy as np

from hmrlib.data import records
from hmrlib.data.datasets.base import (
    DataSetError,
    LeftOut,
    Listing,
    read_image,
    read_matlab,
    require,
)
from hmrlib.data.datasets.crop import crop_to_person
from hmrlib.data.datasets.points import reconcile, to_union
from hmrlib.io import ArchiveError, read_npz


def lsp(source, pseudo_3d=False, landmarks=False):
    """Leeds Sports Pose: 2,000 photographs of sport, 14 joints each.

        lsp_dataset/
          images/im0001.jpg ... im2000.jpg
          joints.mat      joints (3, 14, 2000): x, y, and 1 where the joint is *occluded*

    Splits as published: the first 1,000 train, the others test. Columns whose image is not there
    are skipped and counted.

    Source: Johnson and Everingham, BMVC 2010; lsp_dataset.zip from the authors' page. Licence:
    none is stated; for research, and a citation is asked for.

    Args:
        pseudo_3d: take guesses of BlazePose as 3D points, from a `blazepose.npz` beside the
            images; such samples are marked `pseudo_3d`. See `_blazepose`.
        landmarks: join the points of the split "train" with BlazePose's, see `points.reconcile`.
    """
    joints = _joints(source, (3, 14))
    guesses = _blazepose(source) if pseudo_3d else None
    seen = _seen(source) if landmarks else None

    def load(index):
        image = read_image(source / "images", f"im{index + 1:04d}.jpg")
        x, y, hidden = joints[:, :, index]
        if not (x.any() or y.any()):
            raise LeftOut("no joints")
        points = np.stack([x, y, np.ones(14)], 1)
        to_join = seen if index < 1000 else None
        return [_sports(image, points, hidden, "lsp", index, guesses, to_join)]

    indices = np.arange(joints.shape[2]).tolist()
    return Listing({"train": indices[:1000], "test": indices[1000:]}, load, _sports_name)


def lsp_extended(source, pseudo_3d=False, landmarks=False):
    """Leeds Sports Pose Extended: 10,000 photographs of parkour, gymnastics and athletics.

        lspet_dataset/
          images/im00001.jpg ... im10000.jpg
          joints.mat      joints (14, 3, 10000): x, y, and 1 where the joint is *visible*

    Published as training data alone; here every tenth photograph validates. A joint that is not
    visible is not annotated.

    Source: Johnson and Everingham, CVPR 2011; lspet_dataset.zip from the authors' page. Licence:
    none is stated; for research, and a citation is asked for.

    Args:
        pseudo_3d, landmarks: as for `lsp`. The points were annotated in haste: they are at twice
            the distance from BlazePose's that those of `lsp` are, and in one of fourteen
            photographs left and right are exchanged.
    """
    joints = _joints(source, (14, 3))
    guesses = _blazepose(source) if pseudo_3d else None
    seen = _seen(source) if landmarks else None

    def load(index):
        image = read_image(source / "images", f"im{index + 1:05d}.jpg")
        points = joints[:, :, index]
        if not (points[:, 2] > 0).any():
            raise LeftOut("no joints")
        hidden = np.zeros(14)
        to_join = None if kept[index] else seen
        return [_sports(image, points, hidden, "lsp_extended", index, guesses, to_join)]

    indices = np.arange(joints.shape[2])
    kept = indices % 10 == 9
    splits = {"train": indices[~kept].tolist(), "validation": indices[kept].tolist()}
    return Listing(splits, load, _sports_name)


def _joints(source, shape):
    """LSP's labels: (*shape, N)."""
    joints = read_matlab(source / "joints.mat", "joints")["joints"]
    try:
        joints = np.asarray(joints)
    except ValueError:  # lists of several lengths
        joints = np.empty(0)
    if joints.shape[:-1] != shape or joints.dtype.kind not in "biuf":
        raise DataSetError(
            f"{source / 'joints.mat'}: expected joints {(*shape, 'N')}, found {joints.shape} "
            f"of {joints.dtype}"
        )
    return joints.astype(float)


def _sports_name(index):
    return f"im{index + 1:05d}"


def _sports(image, points, hidden, name, index, guesses, seen=None):
    """A sample of LSP, from 14 points that MATLAB counts: the first pixel's centre is 1."""
    points = to_union(points - [0.5, 0.5, 0], "lsp-14")
    if seen is not None:
        points, _ = reconcile(points, seen(index))
    center, size = records.box_around(points)
    sample = {
        "image": image,
        "center": center,
        "size": size,
        "keypoints_2d": points,
        "occluded": to_union(hidden[:, None], "lsp-14")[:, 0],
        "source": name,
        "id": _sports_name(index),
    }
    if guesses is not None:
        sample |= guesses(index)
    return crop_to_person(sample, by_hand=True)


_BLAZEPOSE_33 = (
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer "
    "left_ear right_ear left_mouth right_mouth left_shoulder right_shoulder left_elbow right_elbow "
    "left_wrist right_wrist left_pinky right_pinky left_index right_index left_thumb right_thumb "
    "left_hip right_hip left_knee right_knee left_ankle right_ankle left_heel right_heel "
    "left_toe right_toe"
)


def _blazepose(source):
    """BlazePose's guesses for the images of a folder, row i for image i + 1: index -> fields.

        blazepose.npz   world (N, 33, 3) metres, x right, y down, z away from the camera, from the
                        middle of the hips; visibility (N, 33); score (N,)

    A person scored below 0.5 and a point whose visibility is below 0.5 remain unknown.
    """
    shapes = {"world": (33, 3), "visibility": (33,), "score": ()}
    world, visibility, score = _arrays(source / "blazepose.npz", shapes)

    def guesses(index):
        known = (visibility[index] >= 0.5) & (score[index] >= 0.5)
        if not known.any():
            return {}
        points = np.concatenate([world[index], known[:, None]], 1)
        return {"keypoints_3d": to_union(points, _BLAZEPOSE_33.split()), "pseudo_3d": 1}

    return guesses


def _seen(source):
    """BlazePose's points in the images of a folder: index -> (22, 3), 1 where it is sure.

    blazepose.npz   xy (N, 33, 2) pixels; visibility (N, 33); score (N,)
    """
    shapes = {"xy": (33, 2), "visibility": (33,), "score": ()}
    xy, visibility, score = _arrays(source / "blazepose.npz", shapes)

    def seen(index):
        known = (visibility[index] >= 0.5) & (score[index] >= 0.5)
        return to_union(np.concatenate([xy[index], known[:, None]], 1), _BLAZEPOSE_33.split())

    return seen


def _arrays(path, shapes):
    """The arrays of an .npz by these names, each (N, *shape)."""
    try:
        archive = read_npz(require(path))
    except ArchiveError as error:
        raise DataSetError(f"{path}: {error}") from error
    missing = [name for name in shapes if name not in archive]
    if missing:
        raise DataSetError(f"{path}: expected {', '.join(shapes)}; missing {', '.join(missing)}")
    arrays = [archive[name] for name in shapes]
    for array, (name, shape) in zip(arrays, shapes.items(), strict=True):
        if array.shape != (*arrays[0].shape[:1], *shape) or array.dtype.kind not in "biuf":
            raise DataSetError(f"{path}: expected {name} {('N', *shape)}, found {array.shape}")
    return arrays
