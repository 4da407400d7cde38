"""From a photograph to people: boxes, crops, the network, the fit, the camera of the whole picture.

people = predict("street.jpg")            # a list of `Person`, see `hmrlib.prediction.person`
people.overlay().save("overlay.png")
"""

from functools import lru_cache

import numpy as np

from hmrlib.camera import Camera, full_image_camera
from hmrlib.prediction.person import People, axis_angles, make_people
from hmrlib.prediction.photograph import (
    PredictionError,
    check_boxes,
    crop,
    crop_square,
    read_photograph,
)
from hmrlib.training.checkpoint import load_model


class Predictor:
    """Network and body, loaded once, for any number of photographs.

    Args:
        model: an `HMR`, or the path of one as for `hmrlib.load_model`; None: the one that comes
            with the package.
    """

    def __init__(self, model=None):
        is_path = model is None or not hasattr(model, "recover")
        self.model = load_model(model) if is_path else model
        self.body = self.model.body

    def __call__(self, source, boxes=None, focal=None):
        """The people of one photograph; see `predict`."""
        photograph = read_photograph(source, focal)
        boxes = check_boxes(boxes, photograph.image.shape, photograph.source)
        return self.recover([photograph], [boxes])[0]

    def recover(self, photographs, boxes):
        """The network's answers for several photographs, all their crops in one batch.

        Args:
            photographs: list of `Photograph`.
            boxes: a list of (N, 4), pixels, one a photograph.

        Returns:
            a list of `People`, one a photograph.
        """
        of = [i for i, some in enumerate(boxes) for _ in some]
        boxes = np.concatenate([np.reshape(some, (-1, 4)) for some in boxes])
        if not len(boxes):
            return [People([], photo.image, photo.source) for photo in photographs]
        squares = [crop_square(box) for box in boxes]
        size = self.model.size
        crops = [
            crop(photographs[i].image, *square, size) for i, square in zip(of, squares, strict=True)
        ]
        photos = [photographs[i] for i in of]
        places = np.array(
            [_place(photo, *square) for photo, square in zip(photos, squares, strict=True)]
        )
        stages = self.model.recover(np.stack(crops), places if self.model.box_input else None)
        cameras = [
            full_image_camera(weak, *square, photo.image.shape[1::-1], photo.focal)
            for weak, square, photo in zip(stages[-1].camera, squares, photos, strict=True)
        ]
        poses = [axis_angles(stage.rotations) for stage in stages]
        people = make_people(
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
            iterations=_guesses(stages, poses),
        )
        return [
            People(
                [p for p, k in zip(people, of, strict=True) if k == i], photo.image, photo.source
            )
            for i, photo in enumerate(photographs)
        ]


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


@lru_cache(maxsize=2)
def shared_predictor(model=None):
    """The `Predictor` that `predict` uses, loaded once for each model."""
    return Predictor(model)


def predict(source, *, boxes=None, focal=None, model=None):
    """The people in a photograph.

        people = hmrlib.predict("street.jpg")
        people[0].overlay()

    Args:
        source: a photograph: a file's name, its bytes, a PIL image, or an array (H, W, 3).
        boxes: (N, 4) left, top, right, bottom of each person, pixels of the upright picture.
        focal: of the lens, pixels; None: from EXIF, else the picture's diagonal.
        model: an `HMR` or the path of one; None: the one that comes with the package.

    Returns:
        `People`, a list of `Person`.

    Raises:
        PredictionError: nobody is there, or a box is outside of the picture.
        hmrlib.io.images.ImageError: not a picture that can be read.
        OSError: there is no such file.
    """
    predictor = shared_predictor(model)
    if boxes is None:
        raise PredictionError(
            "give boxes=[[left, top, right, bottom]] around the people, in pixels"
        )
    return predictor(source, boxes, focal)
