"""MPI-INF-3DHP."""

import re

from hmrlib.data.datasets.base import (
    Listing,
    as_list,
    frames_of,
    remembered,
    require,
)
from hmrlib.data.datasets.sequences import frame_name, make_sequence, studio_sample
from hmrlib.data.records import Skip
from hmrlib.io import foreign

# MPI-INF-3DHP's 28 joints of the training files and 17 of the test files; what the records do not
# hold keeps a name of its own.
_3DHP_28 = (
    "spine3 spine4 spine2 spine pelvis neck head head_top left_clavicle left_shoulder left_elbow "
    "left_wrist left_hand right_clavicle right_shoulder right_elbow right_wrist right_hand "
    "left_hip left_knee left_ankle left_foot left_toe right_hip right_knee right_ankle right_foot "
    "right_toe"
)
_3DHP_17 = (
    "head_top neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist "
    "right_hip right_knee right_ankle left_hip left_knee left_ankle pelvis spine head"
)


def mpi_inf_3dhp(source, every=10):
    """MPI-INF-3DHP: 8 subjects before 14 cameras in a studio, 6 test sequences partly outdoors.

        mpi_inf_3dhp/
          S1/Seq1/annot.mat              annot2 {14} (F, 56) pixels, annot3 {14} (F, 84) mm in each
          ...                            camera's frame
          S8/Seq2/imageFrames/video_0/000000.jpg ...
          mpi_inf_3dhp_test_set/TS1/annot_data.mat      annot2, annot3, valid_frame
          mpi_inf_3dhp_test_set/TS1/imageSequence/img_000001.jpg ...

    The training images come as videos (imageSequence/video_0.avi); turn each into frames:

        ffmpeg -i imageSequence/video_0.avi -q:v 2 -start_number 0 imageFrames/video_0/%06d.jpg

    Splits as published: S1 to S8 train, TS1 to TS6 test; of the test set, frames that are not
    marked valid are skipped. The camera is found from annot2 and annot3. A sequence of which no
    frames were extracted is counted as skipped.

    Source: Mehta et al., 3DV 2017; vcai.mpi-inf.mpg.de/3dhp-dataset, after accepting its terms.
    Licence: for non-commercial research.

    Args:
        every: take each n-th training frame; the test set is taken whole.
    """
    train, test = [], []
    for path in sorted(source.glob("S*/Seq*/annot.mat")):
        videos = sorted(path.parent.glob("imageFrames/video_*"))
        videos = [video for video in videos if re.fullmatch(r"video_\d{1,3}", video.name)]
        train += [] if videos else [(path, None, 0, None)]
        for video in videos:
            frames = [frame for frame in frames_of(video) if frame[0] % every == 0]
            train += [(path, int(video.name.split("_")[1]), *frame) for frame in frames]
    for path in sorted(source.glob("mpi_inf_3dhp_test_set/TS*/annot_data.mat")):
        test += [(path, None, *frame) for frame in frames_of(path.parent / "imageSequence")]
    if not train and not test:
        require(source / "S1" / "Seq1" / "annot.mat")

    def load(item):
        path, video, number, image = item
        if image is None:
            return [Skip("no frames extracted from the videos", str(path))]
        sequence = _3dhp_test(path) if video is None else _3dhp_train(path, video)
        name = f"{path.parent.relative_to(source)}/{'test' if video is None else video}/{number}"
        return [studio_sample(sequence, number, image, "mpi_inf_3dhp", name)]

    return Listing({"train": train, "test": test}, load, frame_name)


@remembered(keep=4)
def _3dhp_annotation(path):
    values = foreign.read("mat", ["annot2", "annot3"], path)
    return as_list(values["annot2"]), as_list(values["annot3"])


@remembered(keep=32)
def _3dhp_train(path, video):
    pixels, millimetres = _3dhp_annotation(path)
    return make_sequence(_3DHP_28.split(), pixels[video], millimetres[video])


@remembered(keep=8)
def _3dhp_test(path):
    names = ["annot2", "annot3", "valid_frame"]  # MATLAB's version 7.3 is HDF5
    values = foreign.read("hdf5", names, path)
    return make_sequence(_3DHP_17.split(), *(values[name] for name in names))
