"""COCO, and what has its form."""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hmrlib.data import records
from hmrlib.data.datasets.base import (
    MIN_POINTS,
    SPLITS,
    DataSetError,
    LeftOut,
    Listing,
    as_numbers,
    read_image,
    read_json,
    require,
    with_skips,
)
from hmrlib.data.datasets.crop import crop_to_person
from hmrlib.data.datasets.points import POINTS_MARGIN, box_corners, named_points, to_union
from hmrlib.data.records import Skip
from hmrlib.skeleton import KEYPOINT_SETS


def coco(source, min_points=MIN_POINTS):
    """COCO keypoints 2017: some 150,000 people in photographs, 17 points each; or any of its form.

        coco/
          train2017/000000000009.jpg ...
          val2017/000000000139.jpg ...
          annotations/person_keypoints_train2017.json
          annotations/person_keypoints_val2017.json

    Splits as published: train2017 and val2017 (validation); the test labels are not public.
    Groups of people (`iscrowd`) and people with fewer points than `min_points` are skipped.

    Other people's labels in COCO's form are read too (CVAT, CrowdPose): any .json of such content
    in the folder or in one below it, its split by the word train, val or test in its name, or else
    in its folder's (train if there is none); any points that the categories name, see
    `point_names`. The images are looked for in folders of the same name, in images/, beside the
    .json and in the folder itself. Labels were drawn on a picture that EXIF turns if `width` and
    `height` say so. A box of no area is taken from the points.

    Source: Lin et al., ECCV 2014; cocodataset.org, no registration. Licence: annotations CC BY
    4.0; the images are Flickr's, under their owners' terms.
    """
    files = _coco_files(source)
    if not files:
        path = require(source / "annotations" / "person_keypoints_train2017.json")
        raise DataSetError(f"{path}: expected lists of images and of annotations with keypoints")
    splits = {}
    for file, labels in enumerate(files):
        keys = sorted(labels.people, key=lambda key: (str(type(key)), key))
        splits.setdefault(labels.split, []).extend((file, key) for key in keys)

    def load(item):
        labels, key = files[item[0]], item[1]
        image = labels.images.get(key)
        if key is None or image is None:
            called = f"{labels.path.name}: image {key}"
            return [Skip("an image that is not listed", called) for _ in labels.people[key]]
        read = cache(lambda: _coco_image(labels.folders, image.get("file_name")))
        tried = with_skips(
            lambda numbered: [_coco_person(labels, image, read, *numbered, min_points)],
            lambda numbered: f"{labels.path.name}: annotations[{numbered[0]}]",
        )
        return [tried(numbered)[0] for numbered in labels.people[key]]

    return Listing(splits, load, lambda item: f"{files[item[0]].path.name}: image {item[1]}")


_CODES = ("utf-8", "utf-16-le", "utf-16-be")  # of which JSON may be


class _CocoFile(NamedTuple):
    """A file of COCO's form: images by id, (number, annotation) by image, names by category.

    `others`: categories beside one that is called person, which are none: with points they may be.
    """

    path: Path
    split: str
    folders: list
    images: dict
    people: dict
    names: dict
    others: set


def _coco_files(source):
    """The files of COCO's form in a folder and the ones below it."""
    found = {}
    json = "*.[jJ][sS][oO][nN]"
    for path in sorted([*source.glob(json), *source.glob(f"*/{json}")]):
        # COCO's other labels are large, and have none
        if not any('"keypoints"'.encode(code) in path.read_bytes() for code in _CODES):
            continue
        labels = read_json(path)
        fields = ("images", "annotations")
        if isinstance(labels, dict) and all(isinstance(labels.get(f), list) for f in fields):
            found[path] = labels
    return [_coco_file(source, path, labels, len(found) == 1) for path, labels in found.items()]


def _coco_file(source, path, labels, alone):
    kind = path.stem.removeprefix("person_keypoints_")
    folders = [source / kind, source / "images" / kind, source / "images", path.parent, source]
    labels_in = (path.parent, source / "annotations")
    others = [entry for entry in source.iterdir() if entry.is_dir() and entry not in labels_in]
    folders += others if alone and len(others) == 1 else []
    people = {}
    for number, person in enumerate(labels["annotations"]):
        key = _key(person.get("image_id")) if isinstance(person, dict) else None
        people.setdefault(key, []).append((number, person))
    categories = labels.get("categories")
    categories = categories if isinstance(categories, list) else []
    categories = [category for category in categories if isinstance(category, dict)]
    names = {_key(one.get("id")): named_points(one.get("keypoints")) for one in categories}
    called = {_key(one.get("id")): str(one.get("name")).lower() for one in categories}
    others = {key for key in called if called[key] != "person" and "person" in called.values()}
    listed = {_key(one.get("id")): one for one in labels["images"] if isinstance(one, dict)}
    folders = [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
    return _CocoFile(path, _split_of(path), folders, listed, people, names, others)


def _split_of(path):
    """The split that the name of a file says, or else its folder's."""
    for name in (path.stem, path.parent.name):
        for word in re.findall("[a-z]+", name.lower()):
            if word in SPLITS:
                return SPLITS[word]
    return "train"


def _key(value):
    """An id: 1, 1.0 and "1" are the same. None where it is no id."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | str) else None


def _coco_image(folders, name):
    """The bytes of an image, from the first of the folders that has it."""
    missing = LeftOut("no image")
    for folder in folders:
        try:
            return read_image(folder, name)
        except LeftOut as error:
            missing = error
    raise missing


def _coco_person(labels, image, read, number, person, min_points):
    if _key(person.get("iscrowd")) not in (None, 0):
        raise LeftOut("a crowd")
    if not person.get("keypoints"):
        raise LeftOut("no keypoints")
    given, category = np.size(person["keypoints"]) // 3, _key(person.get("category_id"))
    names = labels.names.get(category)
    if names is None and given == 17 and category not in labels.others:
        names = KEYPOINT_SETS["coco-17"].names
    if names is None:
        raise LeftOut(f"{given} points, which no category names as points of a body")
    points = as_numbers(person["keypoints"], "keypoints", (len(names), 3))
    flag = points[:, 2]  # 0 not labelled, 1 labelled but hidden, 2 visible
    if (flag > 0).sum() < min_points:
        raise LeftOut(f"fewer than {min_points} points")
    points = np.stack([points[:, 0] + 0.5, points[:, 1] + 0.5, flag > 0], 1)
    corners = box_corners(person.get("bbox"))
    margin = 1.0 if len(corners) else POINTS_MARGIN
    center, size = records.box_around(np.concatenate([points, corners]), margin)
    sample = {
        "image": read(),
        "center": center,
        "size": size,
        "keypoints_2d": to_union(points, names),
        "occluded": to_union((flag == 1)[:, None], names)[:, 0],
        "source": "coco",
        "id": str(_key(person.get("id")) if "id" in person else f"{labels.path.name}/{number}"),
    }
    drawn_on = (image.get("width"), image.get("height"))
    return crop_to_person(sample, by_hand=True, upright=drawn_on)
