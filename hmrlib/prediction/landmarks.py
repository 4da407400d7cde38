"""People in a picture and their landmarks: BlazePose, offline.

Bazarevsky et al., "BlazePose: On-device Real-time Body Pose tracking", 2020. Two small networks:

    detector    a square of the picture -> faces, and for each the middle of the hips and a point
                from which the size and the inclination of the whole person follow
    landmarker  the person's square, turned upright -> 33 points, with depth and in metres

The networks come as LiteRT files (`assets/NOTICE`); what stands around them is written here from
the paper and from the networks' own shapes. A square is (x, y, side, angle): its middle and side in
pixels of the picture, and how far it is turned, radians, clockwise as the picture is seen; turned
back by that, its person stands upright.
"""

import os
import threading
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from hmrlib import skeleton
from hmrlib.io import extra
from hmrlib.io.greetings import kept_off_terminal
from hmrlib.prediction.photograph import PredictionError, check_boxes

ASSETS = Path(__file__).parent / "assets"
DETECTOR = ASSETS / "pose_detection.tflite"
LANDMARKER = ASSETS / "pose_landmark_full.tflite"

LANDMARK_NAMES = tuple(
    """
    nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear
    right_ear left_mouth right_mouth left_shoulder right_shoulder left_elbow right_elbow left_wrist
    right_wrist left_pinky right_pinky left_index right_index left_thumb right_thumb left_hip
    right_hip left_knee right_knee left_ankle right_ankle left_heel right_heel left_toe right_toe
    """.split()  # noqa: SIM905
)
_MIRROR = list(skeleton.mirror_order(LANDMARK_NAMES))
NUM_LANDMARKS = len(LANDMARK_NAMES)  # 33
_HIPS, _SHOULDERS, _EARS = (
    [LANDMARK_NAMES.index(f"{s}_{n}") for s in ("left", "right")]
    for n in ("hip", "shoulder", "ear")
)
_LIMBS = [
    i
    for i, name in enumerate(LANDMARK_NAMES)
    if name.split("_")[-1] in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
]

DETECTOR_SIDE, LANDMARKER_SIDE = 224, 256  # pixels, of the networks' inputs
_STRIDES = {8: 2, 16: 2, 32: 6}  # of the detector's grids -> anchors at each place of the grid
LEAST_SCORE = 0.5  # of a detection, and of landmarks that a detection led to
_SAME_FACE = 0.3  # overlap of two boxes of one face
_SAME_PERSON = 0.3  # of the torso: two people's limbs are farther apart
_FROM_DETECTION = 1.25  # side of the person's square, of twice the distance that the detector tells
_FROM_BOX = 1.4  # side of the person's square, of the box' longer side
_AROUND = 1.1  # side of what the detector sees of a box, of the person's square
_WINDOW, _HOT = 5, 0.3  # places of a heat map each way; how hot one must be to move a landmark
_PLACE = 0.25  # of a place of the heat map: where in it a landmark lies, measured
_HEAD_TOP = 0.53  # above the ears, of the way from the shoulders to them, measured
_TILE_OVERLAP, _LEAST_TILE = 1 / 3, 320  # of a tile's side; pixels
TILE_LEVELS = 2  # tiles of a half and of a quarter of the picture's longer side


class Landmarks(NamedTuple):
    """BlazePose's 33 points of one person, in the order of `LANDMARK_NAMES`.

    Attributes:
        xy: (33, 2) pixels of the picture.
        depth: (33,) depth in pixels, on the scale of x and y; 0 in the middle of the hips, + away.
        world: (33, 3) metres, x right, y down, z away; the middle of the hips is the origin.
        visibility: (33,) 0 to 1.
        score: 0 to 1, whether a person is there at all.
        box: (4,) x0, y0, x1, y1 around the person, pixels.
        apart: (33,) how far apart two looks saw it, parts of the torso; 0 where it is known.
    """

    xy: np.ndarray
    depth: np.ndarray
    world: np.ndarray
    visibility: np.ndarray
    score: float
    box: np.ndarray
    apart: np.ndarray


def find_people(image, *, boxes=None, keypoints=None, names="coco-17", tiles=True, model=None):
    """Everybody in a picture, by their landmarks.

    Args:
        image: (H, W, 3) uint8, upright.
        boxes: (N, 4) x0, y0, x1, y1 in pixels: where people are, instead of the detector.
        keypoints: (N, K, 2 or 3) x, y in pixels and a confidence (0 or NaN: unknown), of people
            whose points are known already. They take the place of the landmarks of the same name.
        names: what `keypoints` are: a set of `skeleton.KEYPOINT_SETS`, or K names.
        tiles: look for small people, too, in overlapping parts of large pictures; or how many times
            the picture's side is halved for that.
        model: file of another landmark network (lite or heavy); None: the full one, which ships.

    Returns:
        list of `Landmarks`: one a box or one a person of `keypoints`, in their order, however low
        its score; or those that the detector led to, the largest first.

    Raises:
        PredictionError: not such a picture, a box without extent or outside of it, keypoints of
            another shape, or a file that is no landmark network.
        ImportError: `ai-edge-litert` is not installed.
    """
    image = _checked_image(image)
    picture = Picture(image)
    model = LANDMARKER if model is None else Path(model)
    if keypoints is not None:
        points, names = checked_keypoints(keypoints, names)
        return [_from_keypoints(picture, person, names, model) for person in points]
    if boxes is not None:
        boxes = check_boxes(boxes, image.shape)
        return [_in_box(picture, box, model) for box in boxes]
    levels = TILE_LEVELS if tiles is True else int(tiles)
    squares = _detect_everywhere(picture, levels)
    found = [_look_again(picture, square, model) for square in squares]
    found = without_doubles([one for one in found if one.score >= LEAST_SCORE])
    return sorted(found, key=lambda one: -np.ptp(one.box.reshape(2, 2), axis=0).prod())


# --- the networks --------------------------------------------------------------------------------

_of_thread = threading.local()  # an interpreter serves one thread at a time


def _run(path, image):
    """What a network answers for an image (S, S, 3) of floats: its outputs without batch axis."""
    models = _of_thread.__dict__.setdefault("models", {})
    if path not in models:
        models[path] = _load(path)
    interpreter, given, outputs = models[path]
    interpreter.set_tensor(given, image[None].astype(np.float32))
    interpreter.invoke()
    return [interpreter.get_tensor(index)[0] for index in outputs]


def _load(path):
    with extra("predict"):
        from ai_edge_litert.interpreter import Interpreter

    if not Path(path).is_file():
        raise PredictionError(f"{path}: there is no such file")
    try:
        with kept_off_terminal():  # LiteRT tells of its delegate
            interpreter = Interpreter(str(path), num_threads=_threads())
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise PredictionError(f"{path}: not a network of LiteRT ({error!s:.100})") from error
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    detector = path == DETECTOR
    side = DETECTOR_SIDE if detector else LANDMARKER_SIDE
    sizes = [int(np.prod(output["shape"])) for output in outputs]
    wanted = [2254 * 12, 2254] if detector else [39 * 5, 1, 256 * 256, 64 * 64 * 39, 39 * 3]
    if list(inputs[0]["shape"]) != [1, side, side, 3] or sizes != wanted:
        raise PredictionError(
            f"{path}: not a landmark network of BlazePose (pose_landmark_*.tflite); its input is "
            f"{tuple(inputs[0]['shape'])}"
        )
    return interpreter, inputs[0]["index"], [output["index"] for output in outputs]


def _threads():
    return min(os.cpu_count() or 1, 4)  # more gain nothing with networks as small as these


def _sigmoid(x):
    return 1 / (1 + np.exp(-np.clip(x, -50, 50)))


# --- squares of a picture ------------------------------------------------------------------------


class Picture:
    """A picture of which turned squares are cut out at any scale."""

    def __init__(self, image):
        self.image = image
        self.size = np.array(image.shape[1::-1])  # width, height

    @cached_property
    def _reduced(self):
        return {1: Image.fromarray(self.image)}

    def cut(self, square, side):
        """A square of the picture, (side, side, 3) uint8, black outside.

        Where it shrinks, pixels are averaged first: a bilinear sample of a large photograph would
        see one pixel in many.
        """
        shrink = int(max(square[2] / side, 1))
        if shrink not in self._reduced:
            self._reduced[shrink] = self._reduced[1].reduce(shrink)
        back = affine(square, side) / shrink
        return np.asarray(
            self._reduced[shrink].transform(
                (side, side), Image.Transform.AFFINE, tuple(back.ravel()), Image.Resampling.BILINEAR
            )
        )


def affine(square, side):
    """(2, 3): from the pixels of a square's cut, (side, side), to those of the picture."""
    x, y, length, angle = square
    scale = length / side
    turn = scale * _rotation(angle)
    middle = np.array([x, y]) - turn @ [side / 2, side / 2]
    return np.column_stack([turn, middle])


def _rotation(angle):
    """(2, 2), clockwise where y points down."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _apply(matrix, points):
    return points @ matrix[:, :2].T + matrix[:, 2]


def _upright(base, top):
    """The angle of a square in which `top` stands above `base`."""
    x, y = top - base
    return float(np.arctan2(x, -y))


# --- the detector --------------------------------------------------------------------------------


class _Detection(NamedTuple):
    """score (); box (4,) x, y, width, height of the face; points (4, 2), hips and size first."""

    score: float
    box: np.ndarray
    points: np.ndarray


@cache
def anchors():
    """The middles (2254, 2) of the squares that the detector answers for, parts of its input.

    A single-shot detector (Liu et al., "SSD", 2016) with grids of 28, 14 and 7 places a side; all
    anchors are as large as the input, so that a middle is all there is to them.
    """
    middles = []
    for stride, number in _STRIDES.items():
        count = DETECTOR_SIDE // stride
        steps = (np.arange(count) + 0.5) / count
        y, x = np.meshgrid(steps, steps, indexing="ij")
        middles.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), number, axis=0))
    return np.concatenate(middles)


def decode(raw, logits):
    """The detector's answer as scores (2254,), boxes (2254, 4), points (2254, 4, 2).

    Boxes are x, y of the middle, width, height. All are parts of the input's side, told from the
    anchor's middle.
    """
    raw = raw.reshape(-1, 6, 2) / DETECTOR_SIDE
    places = raw + anchors()[:, None]
    boxes = np.concatenate([places[:, 0], raw[:, 1]], axis=1)
    return _sigmoid(logits.ravel()), boxes, places[:, 2:]


def _detect(picture, square):
    """People in one square of the picture: `_Detection`s in the picture's pixels."""
    image = picture.cut(square, DETECTOR_SIDE)
    scores, boxes, points = decode(*_run(DETECTOR, image / 127.5 - 1.0))
    good = scores >= LEAST_SCORE
    merged = merge_overlapping(scores[good], boxes[good], points[good])
    there = affine(square, 1)
    return [
        _Detection(
            score,
            np.concatenate([_apply(there, box[:2]), box[2:] * square[2]]),
            _apply(there, places),
        )
        for score, box, places in merged
    ]


def merge_overlapping(scores, boxes, points):
    """One of all that overlap: their mean, weighted by their scores, and the highest score."""
    merged = []
    order = np.argsort(-scores, kind="stable")
    while len(order):
        best = order[0]
        same = _overlap(boxes[best], boxes[order]) > _SAME_FACE
        same[0] = True
        group = order[same]
        weight = scores[group] / scores[group].sum()
        merged.append(
            (scores[best], weight @ boxes[group], np.tensordot(weight, points[group], axes=1))
        )
        order = order[~same]
    return merged


def _overlap(box, boxes):
    """Intersection over union of one box (x, y, width, height) with others (N, 4)."""
    least = np.maximum(box[:2] - box[2:] / 2, boxes[:, :2] - boxes[:, 2:] / 2)
    most = np.minimum(box[:2] + box[2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2)
    shared = np.maximum(most - least, 0).prod(axis=1)
    return shared / np.maximum(box[2:].prod() + boxes[:, 2:].prod(axis=1) - shared, 1e-12)


def _detect_everywhere(picture, levels):
    """Squares (x, y, side, angle) of people, found in the whole picture and in its tiles."""
    found = []
    for square in tile_squares(picture.size, levels):
        found += _detect(picture, square)
    whole = (*picture.size / 2, float(picture.size.max()))
    found += _detect_turned(picture, whole, found)
    found.sort(key=lambda one: -one.score)
    boxes = np.array([one.box for one in found]).reshape(-1, 4)
    chosen = []
    for i in range(len(found)):
        if not chosen or _overlap(boxes[i], boxes[chosen]).max() <= _SAME_FACE:
            chosen.append(i)
    return [_square_of_detection(found[i]) for i in chosen]


def _detect_turned(picture, place, found=()):
    """People in a square (x, y, side). The detector knows who stands: if nobody does, turn it."""
    here = _detect(picture, (*place, 0.0))
    for quarter in (1, 3, 2):
        if not here and not found:
            here = _detect(picture, (*place, quarter * np.pi / 2))
    return here


def tile_squares(size, levels):
    """Overlapping squares that cover a picture of a size (width, height), level by level."""
    squares = []
    for level in range(1, levels + 1):
        side = float(size.max()) / 2**level
        if side <= _LEAST_TILE:
            break
        middles = []
        for length in size.astype(float):
            count = int(np.ceil(max(length - side, 0) / (side * (1 - _TILE_OVERLAP)))) + 1
            ends = (side / 2, length - side / 2) if count > 1 else (length / 2, length / 2)
            middles.append(np.linspace(*ends, count))
        squares += [(x, y, side, 0.0) for y in middles[1] for x in middles[0]]
    return squares


def _square_of_detection(found):
    hips, end = found.points[:2]
    side = 2 * _FROM_DETECTION * max(np.linalg.norm(end - hips), 1.0)
    return (*hips, side, _upright(hips, end))


def _square_of_box(box):
    low, high = box[:2], box[2:]
    return (*(low + high) / 2, _FROM_BOX * max(high - low), 0.0)


# --- the landmarks -------------------------------------------------------------------------------


def _look(picture, square, model, mirrored=False):
    """The landmarks of the person in a square; `mirrored`: as its mirror image shows them."""
    image = picture.cut(square, LANDMARKER_SIDE)
    if mirrored:
        image = image[:, ::-1]
    raw, score, _, heatmaps, world = _run(model, image / 255.0)
    raw = raw.reshape(-1, 5)[:NUM_LANDMARKS].copy()
    world = world.reshape(-1, 3)[:NUM_LANDMARKS].copy()
    raw[:, :2] = sharpen(raw[:, :2], heatmaps[..., :NUM_LANDMARKS])
    if mirrored:
        raw, world = raw[_MIRROR], world[_MIRROR]
        raw[:, 0] = LANDMARKER_SIDE - raw[:, 0]
        world[:, 0] *= -1
    world[:, :2] = world[:, :2] @ _rotation(square[3]).T
    xy = _apply(affine(square, LANDMARKER_SIDE), raw[:, :2])
    depth = raw[:, 2] * square[2] / LANDMARKER_SIDE
    visibility = _sigmoid(raw[:, 3:].min(axis=1))  # visible, and within the square
    box, apart = _box_around(xy), np.zeros(NUM_LANDMARKS)
    return Landmarks(xy, depth, world, visibility, float(score[0]), box, apart)


def _look_again(picture, square, model):
    """Landmarks of a square that the first look turns, by the torso: the mean of two looks.

    The network knows people that stand. One look and its mirror image's err differently; where
    they disagree (`apart`), neither is to be trusted.
    """
    first = _look(picture, square, model)
    turned = (*square[:3], _torso_angle(first.xy))
    pair = [_look(picture, turned, model, mirrored) for mirrored in (False, True)]
    found = Landmarks(*(np.mean(values, axis=0) for values in zip(*pair, strict=True)))
    apart = np.linalg.norm(pair[0].xy - pair[1].xy, axis=1) / torso_length(found.xy)
    return found._replace(score=float(found.score), box=_box_around(found.xy), apart=apart)


def sharpen(xy, heatmaps):
    """Landmarks moved to where the network's own maps of them are hottest, nearby.

    Args:
        xy: (K, 2) pixels of the network's input.
        heatmaps: (h, w, K) logits, over the same square.

    Returns:
        (K, 2): the mean place, weighted by heat, of a window about each landmark; the landmark
        itself where its map stays cold or it lies outside.
    """
    rows, columns, count = heatmaps.shape
    stretch = LANDMARKER_SIDE / columns
    moved = xy.copy()
    for k in range(count):
        column, row = (xy[k] / stretch).astype(int)
        if not (0 <= column < columns and 0 <= row < rows):
            continue
        top, left = max(row - _WINDOW, 0), max(column - _WINDOW, 0)
        window = heatmaps[top : row + _WINDOW + 1, left : column + _WINDOW + 1, k]
        heat = _sigmoid(window)
        if heat.max() < _HOT:
            continue
        place = np.array(
            [
                heat.sum(axis=0) @ np.arange(left, left + heat.shape[1]),
                heat.sum(axis=1) @ np.arange(top, top + heat.shape[0]),
            ]
        )
        moved[k] = (place / heat.sum() + _PLACE) * stretch
    return moved


def _torso_angle(xy):
    return _upright(xy[_HIPS].mean(axis=0), xy[_SHOULDERS].mean(axis=0))


def torso_length(xy):
    """(...,) pixels from the hips' middle to the shoulders' of landmarks (..., 33, 2).

    A quarter of their extent at least: a torso that points at the viewer is short.
    """
    torso = xy[..., _HIPS, :].mean(axis=-2) - xy[..., _SHOULDERS, :].mean(axis=-2)
    extent = np.ptp(xy, axis=-2).max(axis=-1)
    return np.maximum(np.linalg.norm(torso, axis=-1), np.maximum(extent, 1.0) / 4)


def _box_around(xy):
    """(4,) around landmarks and the top of the head, of which the ears and shoulders tell."""
    ears = xy[_EARS].mean(axis=0)
    top = ears + _HEAD_TOP * (ears - xy[_SHOULDERS].mean(axis=0))
    points = np.concatenate([xy, top[None]])
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def _in_box(picture, box, model):
    """The person of a box. The detector, asked within it, says how the person is turned."""
    square = _square_of_box(box)
    around = (*square[:2], _AROUND * square[2])
    inside = [
        _square_of_detection(found)
        for found in _detect_turned(picture, around)
        if ((box[:2] < found.points[0]) & (found.points[0] < box[2:])).all()
    ]
    if inside:  # the one whose hips are nearest to the middle
        away = [np.hypot(x - square[0], y - square[1]) for x, y, _, _ in inside]
        square = (*square[:3], inside[int(np.argmin(away))][3])
    return _look_again(picture, square, model)


def _from_keypoints(picture, points, names, model):
    """The person of known keypoints (K, 3), which replace the landmarks of the same name."""
    known = points[:, 2] > 0
    where = {name: points[i, :2] for i, name in enumerate(names) if known[i]}
    low, high = points[known, :2].min(axis=0), points[known, :2].max(axis=0)
    box = np.concatenate([low, np.maximum(high, low + 1)])
    ends = [
        [where[f"{side}_{name}"] for side in ("left", "right") if f"{side}_{name}" in where]
        for name in ("hip", "shoulder")
    ]
    if all(ends):
        square = _square_of_box(box)
        turned = _upright(np.mean(ends[0], axis=0), np.mean(ends[1], axis=0))
        found = _look_again(picture, (*square[:3], turned), model)
    else:
        found = _in_box(picture, box, model)
    xy, visibility, apart = found.xy.copy(), found.visibility.copy(), found.apart.copy()
    for k, name in enumerate(LANDMARK_NAMES):
        if name in names and known[names.index(name)]:
            xy[k], apart[k] = where[name], 0.0
            visibility[k] = min(points[names.index(name), 2], 1.0)
    return found._replace(xy=xy, visibility=visibility, box=_box_around(xy), apart=apart)


def without_doubles(people):
    """Each person once: of two whose limbs lie in the same place, the one with the higher score."""
    kept = []
    for one in sorted(people, key=lambda one: -one.score):
        torso = np.linalg.norm(one.xy[_HIPS].mean(axis=0) - one.xy[_SHOULDERS].mean(axis=0))
        apart = [
            np.median(np.linalg.norm(one.xy[_LIMBS] - other.xy[_LIMBS], axis=1)) for other in kept
        ]
        if all(distance > _SAME_PERSON * torso for distance in apart):
            kept.append(one)
    return kept


# --- what is given -------------------------------------------------------------------------------


def _checked_image(image):
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise PredictionError(
            f"expected a picture (H, W, 3) of uint8, as `read_image` gives it; found {image.shape} "
            f"of {image.dtype}"
        )
    return np.ascontiguousarray(image)


def checked_keypoints(keypoints, names):
    """Keypoints that a caller gives, as `find_people` takes them.

    Returns:
        (N, K, 3) pixels and a confidence, all 0 where a point is unknown; and the K names.

    Raises:
        PredictionError: another shape, or of somebody fewer than two points are known.
    """
    names = skeleton.names_of(names)
    try:
        points = np.array(keypoints, float)
    except (TypeError, ValueError) as error:
        raise PredictionError(
            f"keypoints must be numbers in rows of one length: {error}"
        ) from error
    points = points[None] if points.ndim == 2 else points
    if points.ndim != 3 or points.shape[1] != len(names) or points.shape[2] not in (2, 3):
        raise PredictionError(
            f"keypoints must have the shape (N, {len(names)}, 2 or 3) to go with {len(names)} "
            f"names, found {points.shape}"
        )
    if points.shape[2] == 2:
        points = np.concatenate([points, np.ones((*points.shape[:2], 1))], axis=2)
    unknown = ~np.isfinite(points).all(axis=2) | (points[..., 2] <= 0)
    points[unknown] = 0
    for person, known in enumerate(~unknown):
        if known.sum() < 2:
            raise PredictionError(f"person {person} has fewer than two known keypoints")
    return points, names
