"""Landmarks alone, and the whole way from a photograph to a person, as those who are judged.

Both look for the landmarks in the records' own pictures, and are told the annotated box.
"""

from functools import partial

import numpy as np
from scipy.spatial.transform import Rotation

from hmrlib.body.model import BodyOutput
from hmrlib.data import records
from hmrlib.data.pipeline import invert_affine
from hmrlib.evaluation.protocols import Answer
from hmrlib.prediction.landmarks import LANDMARK_NAMES
from hmrlib.prediction.predictor import Predictor
from hmrlib.skeleton import KEYPOINT_SETS, correspondence

UNION = KEYPOINT_SETS[records.KEYPOINTS].names
_MIDDLES = {"pelvis": "hip", "thorax": "shoulder", "ears": "ear"}
_ON_LINES = {"spine": ("pelvis", "thorax"), "neck": ("thorax", "ears"),
             "head_top": ("thorax", "ears")}  # fmt: skip


def landmarks(hmr, landmark_model=None):
    """The landmark network alone: its points in the picture, and in space by its own metres.

    It knows neither pose nor shape, and is not asked about them.

    Args:
        hmr: `HMR`, whose body says where on a person the points lie that BlazePose lacks.
        landmark_model: file of another landmark network; None: the one that ships.

    Returns:
        function of a batch, see `hmrlib.evaluation.protocols.judge`.
    """
    predictor = Predictor(hmr, landmark_model=landmark_model)
    to_union = partial(as_union, shares=line_shares(hmr.body))

    def answer(batch):
        found = [predictor.find_recorded(sample)[1].landmarks[0] for sample in batch["samples"]]
        flat = np.stack([to_union(one.xy) for one in found])
        return Answer(_in_crops(flat, batch), np.stack([to_union(one.world) for one in found]))

    return answer


def line_shares(body):
    """How far along its line each point of `_ON_LINES` lies, on the mean body at rest."""
    rest = np.asarray(body.keypoints(body(), records.KEYPOINTS))[0]
    where = _with_middles(dict(zip(UNION, rest, strict=True)))
    shares = {}
    for name, (start, end) in _ON_LINES.items():
        line = where[end] - where[start]
        shares[name] = (where[name] - where[start]) @ line / (line @ line)
    return shares


def as_union(points, shares):
    """(33, c) landmarks -> (22, c) `union-22`: those of the same name, and others between them."""
    of, to = correspondence(LANDMARK_NAMES, UNION)
    where = _with_middles({UNION[j]: points[i] for i, j in zip(of, to, strict=True)})
    for name, (start, end) in _ON_LINES.items():
        where[name] = where[start] + shares[name] * (where[end] - where[start])
    return np.stack([where[name] for name in UNION])


def _with_middles(where):
    middles = {name: (where[f"left_{part}"] + where[f"right_{part}"]) / 2
               for name, part in _MIDDLES.items()}  # fmt: skip
    return where | middles


def refined(hmr, landmark_model=None):
    """The network's answer fitted to landmarks.

    Args:
        hmr: `HMR`.
        landmark_model: file of another landmark network; None: the one that ships.

    Returns:
        function of a batch, see `hmrlib.evaluation.protocols.judge`.
    """
    predictor = Predictor(hmr, refine=True, landmark_model=landmark_model)

    def answer(batch):
        seen = [predictor.find_recorded(sample) for sample in batch["samples"]]
        people = [group[0] for group in predictor.answer(*zip(*seen, strict=True))]
        points = np.stack([person.keypoints_2d(records.KEYPOINTS) for person in people])
        vertices, joints, pose = (
            np.stack([getattr(person, name) for person in people])
            for name in ("vertices", "joints", "pose")
        )
        space = predictor.body.keypoints(BodyOutput(vertices, joints), records.KEYPOINTS)
        turns = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix()
        return Answer(
            _in_crops(points, batch),
            np.asarray(space),
            turns.reshape(*pose.shape, 3),
            vertices,
            joints,
        )

    return answer


def _in_crops(points, batch):
    """(B, K, 2) pixels of the records' pictures -> of the crops."""
    to_crop = invert_affine(batch["affine"])
    return points @ to_crop[:, :, :2].transpose(0, 2, 1) + to_crop[:, None, :, 2]
