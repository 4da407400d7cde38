"""Your own pictures."""

import numpy as np

from hmrlib.data import records
from hmrlib.data.datasets.base import (
    SPLITS,
    DataSetError,
    LeftOut,
    Listing,
    as_numbers,
    read_image,
    read_json,
    require,
)
from hmrlib.data.datasets.crop import crop_to_person
from hmrlib.data.datasets.points import POINTS_MARGIN, box_corners, named_points, to_union
from hmrlib.skeleton import KEYPOINT_SETS


def folder(source):
    """Your own pictures: a folder of images and one JSON file.

        mine/
          labels.json
          any/name.jpg ...

        {"keypoints": "coco-17",           a set of `hmrlib.skeleton`, or a list of names
         "licence": "...",
         "people": [
           {"image": "any/name.jpg",       relative to the folder; several people may share one
            "keypoints": [[x, y, confidence], ...],
            "split": "train",              optional, as is all that follows; train by default
            "box": [left, top, width, height],
            "occluded": [0, 1, ...],
            "keypoints_3d": [[x, y, z, known], ...],
            "pose": [[...] x 24], "betas": [...], "translation": [...], "camera": [...]}]}

    Pixels are counted so that the first pixel's centre is (0.5, 0.5), in the picture as viewers and
    labelling tools show it: turned as its EXIF orientation says. A split is train, validation or
    test. A box of no area is taken from the points. All else is as in `hmrlib.data.records`.
    Licence: yours to say.
    """
    path = require(source / "labels.json")
    labels = read_json(path)
    people = labels.get("people") if isinstance(labels, dict) else None
    if not isinstance(people, list) or "keypoints" not in labels:
        raise DataSetError(f'{path}: expected JSON {{"keypoints": ..., "people": [...]}}')
    names = _own_names(path, labels["keypoints"])
    splits = {}
    for number, person in enumerate(people):
        splits.setdefault(_own_split(person) or "train", []).append(number)

    def load(number):
        return [_own_person(source, number, people[number], names)]

    return Listing(splits, load, lambda number: f"labels.json: people[{number}]")


def _own_names(path, names):
    """The names of the points of one's own labels."""
    if isinstance(names, str) and names in KEYPOINT_SETS:
        return KEYPOINT_SETS[names].names
    ours = named_points(names)
    if ours is None:
        raise DataSetError(
            f"{path}: expected keypoints to be one of {', '.join(KEYPOINT_SETS)}, or a list of "
            f"different names, some of them points of {records.KEYPOINTS}; found {names!r:.80}"
        )
    return ours


def _own_split(person):
    """train, validation or test; None where it is something else."""
    given = person.get("split") if isinstance(person, dict) else None
    return (
        "train" if given is None else SPLITS.get(given.lower()) if isinstance(given, str) else None
    )


def _own_person(source, number, person, names):
    if not isinstance(person, dict):
        raise LeftOut("a person that is no object of JSON")
    if _own_split(person) is None:
        raise LeftOut("a split that is none of train, validation and test")
    if person.get("keypoints") is None:
        raise LeftOut("no keypoints")
    count = len(names)
    points = as_numbers(person["keypoints"], "keypoints", (count, 3))
    confidence = points[:, 2]  # of a detector: a little above 1 at times, -1 for what is not seen
    points[:, 2] = np.where(confidence <= 1.1, np.clip(confidence, 0, 1), confidence)
    image = read_image(source, person.get("image"))
    corners = box_corners(person.get("box"))
    if not len(corners) and not (points[:, 2] > 0).any():
        raise LeftOut("neither a box nor a point")
    boxed = len(corners) > 0
    center, size = records.box_around(corners if boxed else points, 1.0 if boxed else POINTS_MARGIN)
    sample = {
        "image": image,
        "center": center,
        "size": size,
        "keypoints_2d": to_union(points, names),
        "source": source.name,
        "id": f"{person['image']}/{number}",
    }
    given = {name: value for name, value in person.items() if value is not None}
    if "occluded" in given:
        occluded = as_numbers(given["occluded"], "occluded", (count, 1))
        sample["occluded"] = to_union(occluded, names)[:, 0]
    if "keypoints_3d" in given:
        points_3d = as_numbers(given["keypoints_3d"], "keypoints_3d", (count, 4))
        sample["keypoints_3d"] = to_union(points_3d, names)
    for field in ("pose", "betas", "translation", "camera"):
        if field in given:
            sample[field] = as_numbers(given[field], field, records.FLOATS[field])
    return crop_to_person(sample, upright=True)
