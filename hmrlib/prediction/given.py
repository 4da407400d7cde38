"""What a caller knows already: people's boxes or keypoints, in COCO's, OpenPose's or our own JSON.

All are read into the same form, a picture's name -> its people:

    boxes = read_boxes("boxes.json")             # {"street.jpg": (N, 4)}
    points, names = read_keypoints("coco.json")  # {"street.jpg": (N, 17, 3)}, "coco-17"
"""

import json
from pathlib import Path, PureWindowsPath

import numpy as np

from hmrlib.data.openpose import SETS, read_openpose
from hmrlib.prediction.photograph import PredictionError

MOST_BYTES = 2**28
OPENPOSE_END = "_keypoints"  # what OpenPose puts behind a picture's name


def read_boxes(path):
    """Boxes out of a JSON file.

    Args:
        path: {"street.jpg": [[left, top, right, bottom], ...]}, or COCO's annotations (`images`
            and `annotations` with `bbox`, which is left, top, width, height).

    Returns:
        dict, a picture's name -> (N, 4) left, top, right, bottom.

    Raises:
        PredictionError: no such file, or neither of the two.
    """
    told = _read(path)
    try:
        if isinstance(told, dict) and isinstance(told.get("annotations"), list):
            found = _of_pictures(told, "bbox", 4)
            return {name: np.c_[b[:, :2], b[:, :2] + b[:, 2:]] for name, b in found.items()}
        return {str(name): _numbers(boxes, 4) for name, boxes in told.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PredictionError(
            f'{path}: expected {{"picture.jpg": [[left, top, right, bottom], ...]}}, or COCO\'s '
            f"annotations ({error!s:.200})"
        ) from error


def read_keypoints(path):
    """Keypoints out of OpenPose's or COCO's JSON.

    Args:
        path: a folder of OpenPose's files, NAME_keypoints.json for NAME.jpg, or one of them; or
            COCO's annotations, a JSON file with `images` and `annotations` with `keypoints`.

    Returns:
        dict, a picture's name -> (N, K, 3) pixels and confidence; and the name of their set. From
        OpenPose's files the names have no suffix.

    Raises:
        PredictionError, hmrlib.data.openpose.OpenPoseError: none of these.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob(f"*{OPENPOSE_END}.json"))
        if not files:
            raise PredictionError(f"{path}: expected OpenPose's NAME{OPENPOSE_END}.json in it")
        found = {_stem(file): read_openpose(file) for file in files}
    else:
        told = _read(path)
        if isinstance(told, dict) and isinstance(told.get("annotations"), list):
            try:
                flat = _of_pictures(told, "keypoints", 51)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise PredictionError(
                    f"{path}: expected COCO's annotations, with 17 keypoints ({error!s:.200})"
                ) from error
            return {name: points.reshape(-1, 17, 3) for name, points in flat.items()}, "coco-17"
        found = {_stem(path): read_openpose(path)}
    counts = {points.shape[1] for points in found.values() if len(points)} or {25}
    if len(counts) > 1:
        raise PredictionError(f"{path}: some files have 25 points a person, others 18")
    return found, SETS[counts.pop()]


def of_picture(given, path):
    """What is given for a picture, by its path, name, or name without suffix; or None.

    A name that is given with folders is also known without them, if it is the only one.
    """
    if given is None:
        return None
    path = Path(path)
    last = [name for name in given if PureWindowsPath(name).name == path.name]
    names = (str(path), path.as_posix(), path.name, path.stem, *(last if len(last) == 1 else ()))
    return next((given[name] for name in names if name in given and len(given[name])), None)


def _of_pictures(told, key, width):
    """COCO's annotations: a picture's file name -> (N, width), of those that have the key."""
    names = {image["id"]: str(image["file_name"]) for image in told["images"]}
    found = {}
    for annotation in told["annotations"]:
        values = annotation.get(key)
        if values is not None and np.any(values):  # all zeros: nobody set any point
            found.setdefault(names[annotation["image_id"]], []).append(values)
    if not found:
        raise ValueError(f"no annotation has a {key}")
    return {name: _numbers(rows, width) for name, rows in found.items()}


def _numbers(rows, width):
    array = np.array(rows, float)
    if array.ndim != 2 or array.shape[1] != width or not np.isfinite(array).all():
        raise ValueError(f"expected rows of {width} finite numbers, found {rows!s:.100}")
    return array


def _read(path):
    path = Path(path)
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        raise PredictionError(f"{path}: it has more than {MOST_BYTES >> 20} MiB")
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise PredictionError(f"{path}: there is no such file") from None
    except (ValueError, RecursionError) as error:
        raise PredictionError(f"{path}: expected JSON ({error!s:.200})") from error


def _stem(path):
    return Path(path).stem.removesuffix(OPENPOSE_END)
