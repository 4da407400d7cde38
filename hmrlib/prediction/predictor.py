"""From a photograph to people: boxes, crops, the network, the fit, the camera of the whole picture.

people = predict("street.jpg")            # a list of `Person`, see `hmrlib.prediction.person`
people.overlay().save("overlay.png")
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hmrlib.camera import Camera, full_image_camera
from hmrlib.data import records
from hmrlib.prediction.frames import VIDEOS
from hmrlib.prediction.given import of_picture
from hmrlib.prediction.landmarks import checked_keypoints, find_people
from hmrlib.prediction.person import People, axis_angles, make_people
from hmrlib.prediction.photograph import (
    Photograph,
    PredictionError,
    boxes_around,
    check_boxes,
    crop,
    crop_square,
    read_photograph,
)
from hmrlib.training.checkpoint import load_model

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
UNREAD = (".heic", ".heif", ".avif")  # looked at in a folder, so that they are told of
TOGETHER = 8  # photographs whose people go through network and fit in one batch


class Found(NamedTuple):
    """Who is in one photograph, before the network has seen them.

    Attributes:
        boxes: (N, 4) pixels. scores: N floats. landmarks: N `Landmarks`, or N None.
    """

    boxes: np.ndarray
    scores: list
    landmarks: list


class Answer(NamedTuple):
    """What came of one photograph of several: its people, or a sentence that says why not."""

    source: str
    people: Any
    error: str


class Predictor:
    """Detector, network, fit and body, loaded once, for any number of photographs.

    Args:
        model: an `HMR`, or the path of one as for `hmrlib.load_model`; None: the one that comes
            with the package.
        refine: fit the body to the landmarks; else the network's answer is the last word.
        landmark_model: file of another landmark network, see `landmarks.find_people`.
    """

    def __init__(self, model=None, refine=True, landmark_model=None):
        is_path = model is None or not hasattr(model, "recover")
        self.model = load_model(model) if is_path else model
        self.body = self.model.body
        self.refine, self.landmark_model = refine, landmark_model

    def __call__(self, source, boxes=None, keypoints=None, names="coco-17", focal=None):
        """The people of one photograph; see `predict`."""
        photograph = read_photograph(source, focal)
        found = self.find(photograph, boxes, keypoints, names)
        return self.answer([photograph], [found])[0]

    def pictures(self, paths, boxes=None, keypoints=None, names="coco-17", focal=None):
        """The people of many photographs, some at a time; what one of them lacks ends nothing.

        Args:
            paths: of the files.
            boxes, keypoints: dicts, a file's name -> its people; others are looked for.
            names, focal: as for `predict`.

        Yields:
            an `Answer` for each path, in their order.
        """
        paths = list(paths)
        for start in range(0, len(paths), TOGETHER):
            read, errors = {}, {}
            for path in paths[start : start + TOGETHER]:
                known = of_picture(boxes, path), of_picture(keypoints, path)
                try:
                    photograph = read_photograph(path, focal)
                    read[path] = photograph, self.find(photograph, *known, names)
                except (ValueError, OSError) as error:
                    errors[path] = str(error)
            people = self.answer(*zip(*read.values(), strict=True)) if read else []
            people = dict(zip(read, people, strict=True))
            for path in paths[start : start + TOGETHER]:
                yield Answer(str(path), people.get(path), errors.get(path, ""))

    def find(self, photograph, boxes=None, keypoints=None, names="coco-17"):
        """Who is in a photograph: `Found`, by the detector, or as given.

        Raises:
            PredictionError: nobody is there, or what is given does not fit.
        """
        image, source = photograph.image, photograph.source
        if boxes is not None:
            boxes = check_boxes(boxes, image.shape, source)
        if boxes is not None and keypoints is None and not self.refine:
            return Found(boxes, [1.0] * len(boxes), [None] * len(boxes))
        options = {"model": self.landmark_model}
        if keypoints is not None:
            keypoints, names = checked_keypoints(keypoints, names)
            landmarks = find_people(image, keypoints=keypoints, names=names, **options)
            if boxes is None:
                boxes = check_boxes(boxes_around(keypoints), image.shape, source)
        elif boxes is not None:
            landmarks = find_people(image, boxes=boxes, **options)
        else:
            landmarks = find_people(image, **options)
            boxes = np.array([person.box for person in landmarks]).reshape(-1, 4)
        if len(boxes) != len(landmarks):
            raise PredictionError(
                f"{source or 'the picture'}: {len(boxes)} boxes and {len(landmarks)} people's "
                "keypoints: expected one box for each, or no boxes"
            )
        if not len(boxes):
            raise PredictionError(
                f"{source or 'the picture'}: nobody was found; give boxes=[[left, top, right, "
                "bottom]] if there is somebody"
            )
        return Found(boxes, [float(person.score) for person in landmarks], landmarks)

    def find_recorded(self, sample, annotated=False):
        """A record's photograph and its one person, where the record says that one is.

        Args:
            sample: of `hmrlib.data.records`, its picture still encoded.
            annotated: take the annotated points for the landmarks of the same name; else the box
                alone is told.

        Returns:
            `Photograph`, `Found`. The focal length is the record's, or the picture's diagonal.
        """
        image = records.decode_image(sample["image"])
        known = sample["has_camera"]
        focal = float(sample["camera"][0] if known else np.hypot(*image.shape[:2]))
        photograph = Photograph(image, focal, "the records' or the diagonal", sample["id"])
        if annotated:
            points = sample["keypoints_2d"][None]
            return photograph, self.find(photograph, keypoints=points, names=records.KEYPOINTS)
        half = sample["size"] / 2
        box = np.concatenate([sample["center"] - half, sample["center"] + half])
        return photograph, self.find(photograph, boxes=box[None])

    def answer(self, photographs, found):
        """Network and fit for several photographs, all their people in one batch.

        Args:
            photographs: list of `Photograph`; found: list of `Found`.

        Returns:
            a list of `People`, one a photograph.
        """
        people = self.recover(photographs, found)
        if self.refine:
            people = self.fit(people)
        groups, start = [], 0
        for photo, some in zip(photographs, found, strict=True):
            end = start + len(some.boxes)
            groups.append(People(people[start:end], photo.image, photo.source))
            start = end
        return groups

    def recover(self, photographs, found):
        """The network's answers: a list of `Person`, of all photographs' people in a row."""
        photos = [
            photo
            for photo, some in zip(photographs, found, strict=True)
            for _ in range(len(some.boxes))
        ]
        if not photos:
            return []
        boxes = np.concatenate([some.boxes for some in found])
        squares = [crop_square(box) for box in boxes]
        places = list(zip(photos, squares, strict=True))
        crops = [crop(photo.image, *square, self.model.size) for photo, square in places]
        where = np.array([_place(photo, *square) for photo, square in places])
        stages = self.model.recover(np.stack(crops), where if self.model.box_input else None)
        cameras = [
            full_image_camera(weak, *square, photo.image.shape[1::-1], photo.focal)
            for weak, (photo, square) in zip(stages[-1].camera, places, strict=True)
        ]
        poses = [axis_angles(stage.rotations) for stage in stages]
        return make_people(
            self.body,
            poses[-1],
            stages[-1].betas,
            [camera.translation for camera in cameras],
            posed=(stages[-1].vertices, stages[-1].joints),
            camera=[_at_origin(camera) for camera in cameras],
            box=boxes,
            square=[np.array([*center, side]) for center, side in squares],
            image=[photo.image for photo in photos],
            source=[photo.source for photo in photos],
            focal_from=[photo.focal_from for photo in photos],
            score=[score for some in found for score in some.scores],
            landmarks=[points for some in found for points in some.landmarks],
            iterations=_guesses(stages, poses),
        )

    def fit(self, people, trace=None):
        """The same people, their bodies fitted to their landmarks; the network's is kept beside.

        Args:
            people: list of `Person`, with landmarks.
            trace: a list that receives each stage's name and `fitting.Fit`; see `refine.refine`.

        Returns:
            list of `Person`; one whose landmarks are not to be trusted is the network's still, and
            its `note` says why.
        """
        from hmrlib.prediction.refine import refine

        if not people:
            return []
        fit = refine(
            self.body,
            np.stack([person.pose for person in people]),
            np.stack([person.betas for person in people]),
            np.stack([person.translation for person in people]),
            np.array([[p.camera.focal, *p.camera.center] for p in people]),
            [person.landmarks for person in people],
            trace=trace,
        )
        fitted = self.like(people, fit, network=people, refined=[True] * len(people))
        return [
            new if good else replace(old, network=old, note=note)
            for old, new, good, note in zip(people, fitted, fit.refined, fit.note, strict=True)
        ]

    def like(self, people, fit, **fields):
        """The same people with other bodies: pose, betas and translation of `fit`."""
        kept = {name: [getattr(person, name) for person in people] for name in KEPT}
        return make_people(self.body, fit.pose, fit.betas, fit.translation, **kept, **fields)


KEPT = ("camera", "box", "square", "image", "source", "focal_from", "score", "landmarks")
KEPT += ("iterations",)


def _place(photo, center, side):
    """Where the square lies in the full image, for networks that ask (CLIFF's input)."""
    principal = np.array(photo.image.shape[1::-1]) / 2
    return [*((center - principal) / photo.focal), side / photo.focal]


def _at_origin(camera):
    """The same camera, itself at the origin: its world is its own frame."""
    return Camera(np.eye(3), np.zeros(3), camera.focal, camera.size, camera.center)


def _guesses(stages, poses):
    """For each person the network's guesses, first to last."""
    return [
        tuple(
            {"pose": pose[i], "betas": stage.betas[i], "camera": stage.camera[i]}
            for stage, pose in zip(stages, poses, strict=True)
        )
        for i in range(len(poses[0]))
    ]


@lru_cache(maxsize=4)
def shared_predictor(model=None, refine=True):
    """The `Predictor` that `predict` uses, loaded once for each model."""
    return Predictor(model, refine)


def predict(
    source, *, boxes=None, keypoints=None, names="coco-17", refine=True, focal=None, model=None
):
    """The people in a photograph, in a folder of them, or in a video.

        people = hmrlib.predict("street.jpg")
        people[0].overlay()

    Args:
        source: a photograph: a file's name, its bytes, a PIL image, or an array (H, W, 3); or the
            name of a folder, or of a video (whose people are found by the detector alone).
        boxes: (N, 4) left, top, right, bottom of each person, pixels of the upright picture, in
            place of the detector. For a folder a dict, a file's name -> such boxes.
        keypoints: (N, K, 2 or 3) pixels, and a confidence, of each person's points, in place of the
            landmarks; 0 or NaN where one is unknown. Landmarks for the others are looked for around
            those that are known. For a folder a dict. `given.read_keypoints` reads COCO's and
            OpenPose's files.
        names: what the keypoints are: a set of `skeleton.KEYPOINT_SETS`, or K names.
        refine: fit the body to the landmarks, from the network's answer on; False: the network
            alone.
        focal: of the lens, pixels; None: from EXIF, else the picture's diagonal.
        model: an `HMR` or the path of one; None: the one that comes with the package.

    Returns:
        `People`, a list of `Person`. Of a folder an iterator of `Answer`: source, people, error.
        Of a video `hmrlib.prediction.video.Video`.

    Raises:
        PredictionError: nobody is there, or a box is outside of the picture.
        hmrlib.io.images.ImageError: not a picture that can be read.
        OSError: there is no such file.
    """
    predictor = shared_predictor(model, refine)
    given = {"boxes": boxes, "keypoints": keypoints, "names": names, "focal": focal}
    if not isinstance(source, str | Path):
        return predictor(source, **given)
    if Path(source).is_dir():
        return predictor.pictures(pictures_in(source), **given)
    if Path(source).suffix.lower() in VIDEOS:
        from hmrlib.prediction.video import predict_video

        return predict_video(source, predictor, focal)
    return predictor(source, **given)


def pictures_in(folder, more=()):
    """The pictures below a folder, and files of more suffixes, sorted by name.

    Raises:
        PredictionError: there are none.
    """
    found = sorted(
        path
        for path in Path(folder).rglob("*")
        if path.suffix.lower() in (*PICTURES, *UNREAD, *more) and not path.name.startswith(".")
    )
    if not found:
        raise PredictionError(f"{folder}: there are no pictures in it ({', '.join(PICTURES)})")
    return found
