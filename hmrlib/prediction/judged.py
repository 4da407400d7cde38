"""The whole way from a photograph to a person, as one who is judged by a protocol."""

import math

import numpy as np
from scipy.spatial.transform import Rotation

from hmrlib.body.model import BodyOutput
from hmrlib.data import records
from hmrlib.data.pipeline import invert_affine
from hmrlib.evaluation.protocols import Answer
from hmrlib.prediction.photograph import Photograph
from hmrlib.prediction.predictor import Predictor


def refined(hmr, landmark_model=None):
    """The network's answer fitted to landmarks, of people whose boxes are known.

    The landmarks are looked for in the records' own pictures, the boxes are the annotated ones.

    Args:
        hmr: `HMR`.
        landmark_model: file of another landmark network; None: the one that ships.

    Returns:
        function of a batch, see `hmrlib.evaluation.protocols.judge`.
    """
    predictor = Predictor(hmr, refine=True, landmark_model=landmark_model)

    def answer(batch):
        seen = [_look(sample, predictor) for sample in batch["samples"]]
        people = [group[0] for group in predictor.answer(*zip(*seen, strict=True))]
        points = np.stack([person.keypoints_2d(records.KEYPOINTS) for person in people])
        to_crop = invert_affine(batch["affine"])
        vertices, joints, pose = (
            np.stack([getattr(person, name) for person in people])
            for name in ("vertices", "joints", "pose")
        )
        space = predictor.body.keypoints(BodyOutput(vertices, joints), records.KEYPOINTS)
        turns = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix()
        return Answer(
            points @ to_crop[:, :, :2].transpose(0, 2, 1) + to_crop[:, None, :, 2],
            np.asarray(space),
            turns.reshape(*pose.shape, 3),
            vertices,
            joints,
        )

    return answer


def _look(sample, predictor):
    image = records.decode_image(sample["image"])
    focal = float(sample["camera"][0]) if sample["has_camera"] else math.hypot(*image.shape[:2])
    photograph = Photograph(image, focal, "the records' or the diagonal", sample["id"])
    half = sample["size"] / 2
    box = np.concatenate([sample["center"] - half, sample["center"] + half])
    return photograph, predictor.find(photograph, boxes=box[None])
