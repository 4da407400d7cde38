"""Human3.6M."""

from importlib.util import find_spec

import numpy as np

from hmrlib.data.datasets.base import Listing, frames_of, remembered, require
from hmrlib.data.datasets.sequences import frame_name, make_sequence, studio_sample
from hmrlib.data.records import Skip
from hmrlib.io import foreign
from hmrlib.skeleton import KEYPOINT_SETS

_H36M_OF_32 = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]
_H36M_SPLITS = {"train": ("S1", "S5", "S6", "S7", "S8"), "test": ("S9", "S11")}


def h36m(source, every=10):
    """Human3.6M: 7 subjects with labels, 15 activities, 4 cameras in a studio.

        h36m/
          S1/MyPoseFeatures/D2_Positions/Directions 1.54138969.cdf         Pose (1, F, 64) pixels
          S1/MyPoseFeatures/D3_Positions_mono/Directions 1.54138969.cdf    Pose (1, F, 96) mm, in
          ...                                                              the camera's frame
          S1/Images/Directions 1.54138969/000000.jpg ...

    The images come as videos (S1/Videos/Directions 1.54138969.mp4); turn each into frames:

        ffmpeg -i "Videos/NAME.mp4" -q:v 2 -start_number 0 "Images/NAME/%06d.jpg"

    Splits as in protocols 1 and 2: S1, S5, S6, S7, S8 train; S9, S11 test. Of the 32 joints the 17
    that move are taken. The camera is found from the two kinds of positions; the lenses distort a
    little, which a pinhole does not know. A video of which no frames were extracted is counted as
    skipped. Needs the package cdflib: pip install "hmrlib[h36m]".

    Source: Ionescu et al., TPAMI 2014; vision.imar.ro/human3.6m, after registration. Licence: for
    academic use.

    Args:
        every: take each n-th frame of a video, 5 a second for 10.
    """
    splits = {split: [] for split in _H36M_SPLITS}
    for split, subjects in _H36M_SPLITS.items():
        for subject in subjects:
            folder = source / subject / "MyPoseFeatures" / "D3_Positions_mono"
            for path in sorted(folder.glob("*.cdf")):
                frames = frames_of(source / subject / "Images" / path.stem)
                frames = [frame for frame in frames if frame[0] % every == 0]
                splits[split] += [(path, *frame) for frame in frames] or [(path, 0, None)]
    if not any(splits.values()):
        require(source / "S1" / "MyPoseFeatures" / "D3_Positions_mono")

    def load(item):
        path, number, image = item
        if image is None:
            return [Skip("no frames extracted from the video", str(path))]
        name = f"{path.relative_to(source).parts[0]}/{path.stem}/{number}"
        return [studio_sample(_h36m_sequence(path), number, image, "h36m", name)]

    return Listing(splits, load, frame_name)


@remembered(keep=16)
def _h36m_sequence(path):
    if find_spec("cdflib") is None:
        raise ModuleNotFoundError('to read .cdf files: pip install "hmrlib[h36m]"')
    flat = require(path.parents[1] / "D2_Positions" / path.name)
    values = foreign.read("cdf", ["Pose"], flat, path)
    in_2d, in_3d = (
        np.asarray(value["Pose"]).reshape(-1, 32, axes)
        for value, axes in zip(values, (2, 3), strict=True)
    )
    names = list(KEYPOINT_SETS["h36m-17"].names)
    return make_sequence(names, in_2d[:, _H36M_OF_32], in_3d[:, _H36M_OF_32])
