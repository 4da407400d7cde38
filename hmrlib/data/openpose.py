"""OpenPose's JSON files: the people that it saw in one picture (Cao et al. 2019)."""

import json

import numpy as np

SETS = {25: "openpose-25", 18: "openpose-18"}  # points -> `skeleton.KEYPOINT_SETS`
MOST_BYTES = 2**24  # a crowd of hundreds takes one


class OpenPoseError(ValueError):
    """A file is not what OpenPose writes; the message says what was expected."""


def read_openpose(path):
    """The people of one picture, as OpenPose's `--write_json` wrote them.

        keypoints = read_openpose("photo_keypoints.json")
        fit_keypoints(body, keypoints, camera, prior, names="openpose-25")

    Both names of the body's points are known, `pose_keypoints_2d` and the older `pose_keypoints`.
    Faces and hands are left aside.

    Returns:
        (N, K, 3) float32: pixels and a confidence, 0, 0, 0 where a point was not seen. K is 25
        ("openpose-25", BODY_25) or 18 ("openpose-18", COCO); N may be 0.

    Raises:
        OpenPoseError: no such file, no JSON of OpenPose's, another model's points (MPI has 15), a
            number that is not finite, or places in parts of the picture, not in pixels.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise OpenPoseError("it has more than 16 MiB")
        read = json.loads(data.decode("utf-8-sig"))
        people = [_person(person) for person in _list(read, "people")]
        seen = [person for person in people if len(person)]
        counts = sorted({len(person) for person in seen}) or [25]
        if len(counts) > 1 or counts[0] not in SETS:
            raise OpenPoseError(f"expected 25 or 18 points for each person, found {counts}")
        keypoints = np.zeros((len(people), counts[0], 3), np.float32)
        for row, person in zip(keypoints, people, strict=True):
            row[: len(person)] = person
    except (OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise OpenPoseError(f"{path}: expected OpenPose's JSON of a picture: {error}") from error
    known = keypoints[keypoints[..., 2] > 0]
    if len(known) and abs(known[:, :2]).max() <= 1:
        raise OpenPoseError(
            f"{path}: its places are parts of the picture; write pixels (--keypoint_scale 0)"
        )
    return keypoints


def _list(value, name):
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise OpenPoseError(f"there is no list {name!r} in it")
    return found


def _person(person):
    """(K, 3); K is 0 for somebody of whom only face or hands were seen."""
    older = isinstance(person, dict) and "pose_keypoints" in person
    values = _list(person, "pose_keypoints" if older else "pose_keypoints_2d")
    if len(values) % 3 or not all(type(value) in (int, float) for value in values):
        raise OpenPoseError("expected three numbers for each point")
    points = np.array(values, float).reshape(-1, 3)
    with np.errstate(over="ignore"):
        finite = np.isfinite(points.astype(np.float32)).all()
    if not finite or (points[:, 2] < 0).any():
        raise OpenPoseError("expected finite numbers, and confidences from 0 on")
    points[points[:, 2] == 0] = 0
    return points
