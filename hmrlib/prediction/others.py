"""What other programs found: read, and shown, drawn and saved like what `predict` finds.

    SPIN        eval.py --result_file: an `.npz` of pose, betas and camera, one row a picture
    4D-Humans   track.py: a pickle by joblib of tracks, frame by frame; nothing of it is run
    AMASS       an `.npz` of poses, trans, betas and a rate

Their poses are of SMPL's skeleton. With SMPL itself as the body (`hmrlib.load_body("SMPL.npz")`)
all is as they meant it. On the open body, whose shape space is another, poses and places carry
over and betas do not: it is its mean body that is shown.
"""

from pathlib import Path

import numpy as np

from hmrlib.camera import Camera
from hmrlib.io import ArchiveError, read_npz, safe_pickle
from hmrlib.motion.clips import read_amass
from hmrlib.motion.clips.amass import SMPL_PELVIS
from hmrlib.motion.export import rest_joints
from hmrlib.prediction.person import UPRIGHT, People, axis_angles, make_people
from hmrlib.prediction.photograph import PredictionError
from hmrlib.prediction.video import Track

FOCAL = 5000.0  # pixels: what SPIN and 4D-Humans assume, for pictures of these sides
SPIN_SIDE, PHALP_SIDE = 224, 256
KIN = 0.05  # metres: a body whose pelvis is this near to SMPL's is taken for one of its kin
MOST = 1e4  # of radians, betas, metres: what a file may say
DISTANCE = 4.0  # metres, from the camera before which a clip of AMASS is put


def read_results(path, body=None, fps=30.0):
    """What one of these programs wrote, whichever it is.

    Args:
        path: `.npz` of SPIN or AMASS; `.pkl` of 4D-Humans.
        body: the `hmrlib.Body` to show it on; None: `hmrlib.load_body()`.
        fps: frames a second, of 4D-Humans' files, which do not say, and of what comes of AMASS's.

    Returns:
        of SPIN `People`, one `Person` a row; of the others a list of `Track`.

    Raises:
        PredictionError: none of these; the message says what was found.
        hmrlib.io.safe_pickle.UnsafePickleError: a pickle that asks for more than arrays.
    """
    from hmrlib.body.model import load_body

    path = Path(path)
    body = load_body() if body is None else body
    if not path.is_file():
        raise PredictionError(f"{path}: there is no such file")
    if path.suffix.lower() in (".pkl", ".pickle", ".joblib"):
        return read_4dhumans(path, body, fps)
    if path.suffix.lower() != ".npz":
        raise PredictionError(f"{path}: expected .npz (SPIN, AMASS) or .pkl (4D-Humans)")
    try:
        names = set(read_npz(path, lambda file: None, {"pose", "camera", "poses"}.__contains__))
    except ArchiveError as error:
        raise PredictionError(f"{path}: {error}") from error
    if {"pose", "camera"} <= names:
        return read_spin(path, body)
    return [read_amass_track(path, body, fps)]


def read_spin(path, body):
    """SPIN's results (Kolotouros et al. 2019): each row a person in a square of 224 pixels.

    Where the squares lay in the pictures is not in the file.
    """
    try:
        arrays = read_npz(path, wanted={"pose", "betas", "camera"}.__contains__)
        pose = _finite(arrays["pose"]).reshape(-1, 24, 3)
        betas, weak = _finite(arrays["betas"]), _finite(arrays["camera"])
        if not len(pose) == len(betas) == len(weak) > 0 or weak.shape[1:] != (3,):
            raise ValueError(f"{len(pose)} poses, betas {betas.shape}, cameras {weak.shape}")
        if not (weak[:, 0] > 1 / MOST).all():
            raise ValueError("a camera of no positive scale")
    except (ArchiveError, KeyError, ValueError, TypeError) as error:
        raise PredictionError(
            f"{path}: expected SPIN's pose (N, 72), betas (N, 10), camera (N, 3) ({error})"
        ) from error
    side = float(SPIN_SIDE)
    theirs = np.column_stack([weak[:, 1:], 2 * FOCAL / (side * weak[:, 0])])
    betas, translation = _on(body, betas, theirs)
    count, camera = len(pose), Camera(np.eye(3), np.zeros(3), FOCAL, (SPIN_SIDE, SPIN_SIDE))
    people = make_people(
        body,
        pose,
        betas,
        translation,
        camera=[camera] * count,
        box=[np.array([0, 0, side, side])] * count,
        square=[np.array([side / 2, side / 2, side])] * count,
        source=[f"{path}, row {i}" for i in range(count)],
    )
    return People(people, None, str(path))


def read_4dhumans(path, body, fps=30.0):
    """4D-Humans' tracks (Goel et al. 2023): `Track`s, the longest first; gaps are filled.

    The file has for each frame the tracks' numbers, SMPL's rotation matrices and betas, and a
    camera: the translation before a lens of 5000 pixels, in a picture reduced to 256.
    """
    try:
        with open(path, "rb") as file:
            frames = safe_pickle.load_joblib(file)
        found = {}
        for number, frame in enumerate(sorted(frames.values(), key=lambda frame: frame["time"])):
            people = zip(frame["tid"], frame["tracked_time"], frame["smpl"], strict=True)
            for i, (track, lost, smpl) in enumerate(people):
                if lost == 0:  # else only foretold
                    seen = (number, smpl, frame["camera"][i], frame["size"][i])
                    found.setdefault(int(track), []).append(seen)
        tracks = [_track(seen, body, fps) for seen in found.values()]
    except safe_pickle.ModelFileError as error:
        raise type(error)(f"{path}: {error}") from error
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise PredictionError(f"{path}: expected 4D-Humans' tracks ({error!r:.200})") from error
    if not tracks:
        raise PredictionError(f"{path}: nobody is tracked in it")
    return sorted(tracks, key=len, reverse=True)


def _track(seen, body, fps):
    """One person's frames: (number, smpl, camera, size)."""
    numbers = np.array([number for number, *_ in seen])
    matrices = [
        np.concatenate([_finite(s["global_orient"]), _finite(s["body_pose"])]) for _, s, *_ in seen
    ]
    pose = axis_angles(np.reshape(matrices, (-1, 24, 3, 3)))
    betas = np.median([_finite(smpl["betas"]) for _, smpl, *_ in seen], axis=0)
    theirs = np.array([_finite(camera) for *_, camera, _ in seen]).reshape(-1, 3)
    height, width = (int(side) for side in seen[0][3])
    focal = FOCAL / PHALP_SIDE * max(height, width)
    camera = Camera(np.eye(3), np.zeros(3), focal, (width, height))
    betas, translation = _on(body, betas[None], theirs)
    return filled(numbers, pose, translation, betas[0], camera, fps, body)


def filled(numbers, pose, translation, betas, camera, fps, body):
    """A `Track` of frames of these numbers, ascending; those between them are filled."""
    from hmrlib.motion.smooth import fill_places, fill_rotations

    start, count = int(numbers[0]), int(numbers[-1] - numbers[0]) + 1
    known = np.zeros(count, bool)
    known[numbers - start] = True
    every = np.zeros((count, 24, 3))
    places = np.zeros((count, 3))
    every[known], places[known] = pose, translation
    every, places = fill_rotations(every, known), fill_places(places, known)
    raw = {"pose": every, "translation": places}
    return Track(start, known, every, places, betas, camera, fps, body, raw)


def read_amass_track(path, body, fps=30.0):
    """A clip of AMASS as a `Track`, put before a camera from which all of it is seen."""
    clip = read_amass(path, fps, body)
    pelvis = rest_joints(body, clip.betas)[0]
    places = (clip.translation + pelvis) * UPRIGHT
    middle = (places.min(axis=0) + places.max(axis=0)) / 2
    reach = np.ptp(places, axis=0).max() + 2
    places = places - middle + [0, 0, DISTANCE + reach]
    pose = np.array(clip.pose, float)
    pose[:, 0] = axis_angles(np.diag(UPRIGHT) @ _matrices(pose[:, 0]))
    camera = Camera(np.eye(3), np.zeros(3), 480 * (DISTANCE + reach / 2) / reach, (640, 480))
    return filled(np.arange(len(pose)), pose, places - pelvis, clip.betas, camera, fps, body)


def _matrices(vectors):
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(vectors).as_matrix()


def _on(body, betas, translation):
    """SMPL's betas (N, n) and translations on a body: as they are on its kin; else betas of zero,
    and the pelvis where SMPL's was."""
    ours = rest_joints(body, np.zeros(0))[0]
    if np.linalg.norm(ours - SMPL_PELVIS) < KIN:
        return betas[:, : body.num_betas], translation
    return np.zeros((len(betas), 10)), translation + (np.array(SMPL_PELVIS) - ours)


def _finite(array):
    array = np.asarray(array, float)
    if not (np.abs(array) < MOST).all():  # NaN is not, either
        raise ValueError("NaN, infinity or numbers of no body")
    return array
