"""MPII Human Pose."""

from pathlib import Path

import numpy as np

from hmrlib.data import records
from hmrlib.data.datasets.base import (
    MIN_POINTS,
    DataSetError,
    LeftOut,
    Listing,
    as_list,
    read_image,
    read_matlab,
    with_skips,
)
from hmrlib.data.datasets.crop import crop_to_person
from hmrlib.data.datasets.points import to_union
from hmrlib.data.records import Skip


def mpii(source, min_points=MIN_POINTS):
    """MPII Human Pose: some 29,000 people at everyday activities with public labels, 16 points.

        mpii/
          images/015601864.jpg ...
          mpii_human_pose_v1_u12_2/mpii_human_pose_v1_u12_1.mat     (or beside images/)
            RELEASE.annolist(i).image.name
            RELEASE.annolist(i).annorect(k).annopoints.point(j): x, y, id 0 to 15, is_visible
            RELEASE.img_train(i): 1 train, 0 test

    Splits as published: train; the test images carry no labels, and are counted as skipped.

    Source: Andriluka et al., CVPR 2014; human-pose.mpi-inf.mpg.de. Licence: the annotations are
    under the simplified BSD licence.
    """
    name = "mpii_human_pose_v1_u12_1.mat"
    nested = source / "mpii_human_pose_v1_u12_2" / name
    path = nested if nested.exists() else source / name
    release = read_matlab(path, "RELEASE")["RELEASE"]
    try:
        entries = as_list(release["annolist"])
        training = np.atleast_1d(release["img_train"]).astype(bool)
    except (KeyError, TypeError, ValueError) as error:
        raise DataSetError(f"{path}: expected RELEASE.annolist and .img_train") from error

    def load(index):
        if not training[index]:
            return [Skip("a test image: its labels are not public")]
        entry = entries[index]
        people = [one for one in as_list(entry["annorect"]) if isinstance(one, dict)]
        if not people:
            return [Skip("no person")]
        file = entry["image"]["name"]
        tried = with_skips(
            lambda one: [_mpii_person(source / "images", file, *one, min_points)],
            lambda one: f"{file}/{one[0]}",
        )
        return [tried(numbered)[0] for numbered in enumerate(people)]

    return Listing(
        {"train": list(range(len(entries)))}, load, lambda index: f"annolist({index + 1})"
    )


def _mpii_person(folder, file, number, person, min_points):
    points, hidden = np.zeros((16, 3)), np.zeros((16, 1))
    annotated = person.get("annopoints")
    for point in as_list(annotated["point"]) if isinstance(annotated, dict) else []:
        row = int(point["id"])
        if not 0 <= row < 16:
            raise LeftOut("a point that is none of the 16")
        points[row] = (point["x"] - 0.5, point["y"] - 0.5, 1)  # MATLAB counts from 1
        flag = str(point.get("is_visible", ""))  # "" for neck and head, which always are
        hidden[row] = flag == "0"
    if points[:, 2].sum() < min_points:
        raise LeftOut(f"fewer than {min_points} points")
    points = to_union(points, "mpii-16")
    center, size = records.box_around(points)
    sample = {
        "image": read_image(folder, file),
        "center": center,
        "size": size,
        "keypoints_2d": points,
        "occluded": to_union(hidden, "mpii-16")[:, 0],
        "source": "mpii",
        "id": f"{Path(file).stem}/{number}",
    }
    return crop_to_person(sample, by_hand=True)
