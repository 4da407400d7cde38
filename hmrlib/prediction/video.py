"""A video goes in, motions come out: who is whom from frame to frame, gaps, smoothing, files.

video = hmrlib.predict("walk.mp4")
video.tracks[0].save("walk.npz")       # AMASS's layout; or .bvh, .glb
video.overlay("overlay.mp4")
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from hmrlib.camera import Camera
from hmrlib.motion import export
from hmrlib.motion.smooth import (
    SIGMA,
    fill_places,
    fill_rotations,
    jitter,
    smooth_places,
    smooth_rotations,
)
from hmrlib.prediction import draw
from hmrlib.prediction.frames import Reader, writer
from hmrlib.prediction.person import UPRIGHT, make_people
from hmrlib.prediction.photograph import Photograph, PredictionError
from hmrlib.prediction.predictor import TOGETHER

GAP = 0.5  # seconds that somebody may be lost and be the same again
SHORTEST = 0.3  # seconds; who is seen for less is no track
SAME = 0.2  # overlap of two boxes of one person, intersection over union
POINTS = "union-22"  # by which a smoothed body is put back in its place


@dataclass(frozen=True, eq=False)
class Track:
    """One person's motion, in the camera's frame; F frames, without a gap.

    Attributes:
        start: number of the first frame.
        seen: (F,) whether the person was found there; the other frames were filled.
        pose: (F, 24, 3) axis-angle; translation: (F, 3) metres; betas: (n,), of all frames.
        raw: dict of `pose` and `translation` as they were before smoothing.
        camera: pinhole `Camera` of the frames; fps: frames a second; body: the `hmrlib.Body`.
    """

    start: int
    seen: np.ndarray
    pose: np.ndarray
    translation: np.ndarray
    betas: np.ndarray
    camera: Camera
    fps: float
    body: Any = field(repr=False)
    raw: dict = field(repr=False, default_factory=dict)

    def __len__(self):
        return len(self.pose)

    def joints(self, raw=False):
        """(F, 24, 3) metres, in the camera's frame."""
        pose, translation = self.pose, self.translation
        if raw:
            pose, translation = self.raw["pose"], self.raw["translation"]
        return joints_of(self.body, self.betas, pose) + translation[:, None]

    def jitter(self, raw=False):
        """Mean acceleration of the joints, m/s²; see `motion.smooth.jitter`."""
        return jitter(self.joints(raw), self.fps)

    def person(self, number, image=None):
        """The `Person` of a frame of the video, or None where the track does not reach."""
        i = number - self.start
        if not 0 <= i < len(self):
            return None
        x, y, z = self.translation[i]
        side = 2 * self.camera.focal / z  # two metres
        middle = np.array([x, y]) * self.camera.focal / z + self.camera.center
        (person,) = make_people(
            self.body,
            self.pose[i : i + 1],
            self.betas[None],
            self.translation[i : i + 1],
            camera=[self.camera],
            box=[np.array([*(middle - side / 2), *(middle + side / 2)])],
            square=[np.array([*middle, side])],
            image=[image],
        )
        return person

    def upright(self):
        """pose (F, 24, 3) and translation (F, 3) with y up, the lowest joint on the floor."""
        pose = np.array(self.pose)
        turn = Rotation.from_rotvec([np.pi, 0, 0])
        pose[:, 0] = (turn * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
        pelvis = export.rest_joints(self.body, self.betas)[0]
        translation = (self.translation + pelvis) * UPRIGHT - pelvis
        lowest = (self.joints()[..., 1] * UPRIGHT[1]).min()
        return pose, translation - [0, lowest, 0]

    def save(self, path):
        """Write the motion, upright: .npz in AMASS's layout, .bvh, or .glb with an animation.

        Raises:
            hmrlib.body.files.ModelFileError: another suffix.
        """
        return export.save_motion(path, self.body, *self.upright(), self.betas, self.fps)


@dataclass(frozen=True, eq=False)
class Video:
    """What came of a video.

    Attributes:
        source: the file; fps: frames a second; size: (width, height); frames: how many there are.
        damaged: how many could not be read.
        tracks: list of `Track`, the longest first.
    """

    source: str
    fps: float
    size: tuple
    frames: int
    damaged: int
    tracks: list

    def overlay(self, path, alpha=0.9):
        """Write the video again, with everybody's smoothed body over it: `.mp4`.

        Returns:
            Path of the file.
        """
        with writer(path, self.fps, self.size) as write:
            for number, image in Reader(self.source):
                people = [track.person(number) for track in self.tracks]
                people = [person for person in people if person is not None]
                write(draw.overlay(image, people, alpha, supersample=1))
        return Path(path)


def predict_video(path, predictor, focal=None, sigma=SIGMA, progress=True):
    """The motions of a video's people.

    Args:
        path: of a file that FFmpeg reads.
        predictor: `Predictor`.
        focal: of the lens, pixels; None: the frames' diagonal.
        sigma: of the smoothing, seconds; 0: none.

    Returns:
        `Video`.

    Raises:
        PredictionError: no video, one without a whole frame, or nobody in it.
    """
    reader = Reader(path)
    seen, waiting, size, count = [], [], None, 0
    with tqdm(total=reader.length or None, unit="frame", disable=not progress) as bar:
        for number, image in reader:
            if size is None:
                size = image.shape[1::-1]
            if image.shape[1::-1] != size:
                reader.damaged += 1
                continue
            waiting.append((number, image))
            if len(waiting) == TOGETHER:
                seen += _look(waiting, predictor, focal, path)
                waiting = []
            count = number + 1
            bar.update()
        if waiting:
            seen += _look(waiting, predictor, focal, path)
    groups = follow([(number, box) for number, box, _ in seen], reader.fps)
    tracks = [
        make_track([(seen[i][0], seen[i][2]) for i in group], predictor.body, reader.fps, sigma)
        for group in groups
    ]
    if not tracks:
        raise PredictionError(f"{path}: nobody was found in {count} frames")
    tracks.sort(key=len, reverse=True)
    return Video(str(path), reader.fps, size, count, reader.damaged, tracks)


def _look(frames, predictor, focal, path):
    """Everybody in some frames: list of (frame's number, box, what a track needs of a person)."""
    focal_from = "assumed: the picture's diagonal" if focal is None else "given"
    photographs, found, numbers = [], [], []
    for number, image in frames:
        pixels = float(np.hypot(*image.shape[:2]) if focal is None else focal)
        photograph = Photograph(image, pixels, focal_from, str(path))
        try:
            found.append(predictor.find(photograph))
        except PredictionError:  # nobody there
            continue
        photographs.append(photograph)
        numbers.append(number)
    if not found:
        return []
    people = predictor.answer(photographs, found)
    return [
        (number, person.box, _kept(person))
        for number, some in zip(numbers, people, strict=True)
        for person in some
    ]


def _kept(person):
    """What a track needs of a person: little, as a video has many frames."""
    names = ("pose", "betas", "translation", "camera")
    return {name: getattr(person, name) for name in names} | {"points": person.keypoints_2d(POINTS)}


def follow(boxes, fps, gap=GAP, shortest=SHORTEST):
    """Who is whom: boxes that overlap most from frame to frame, each at most once.

    Args:
        boxes: list of (frame's number, (4,) box), frames ascending.
        fps: frames a second.
        gap: seconds that somebody may be lost.
        shortest: seconds that somebody must be seen at least.

    Returns:
        list of lists of indices into `boxes`.
    """
    tracks = []
    by_frame = {}
    for i, (number, _) in enumerate(boxes):
        by_frame.setdefault(number, []).append(i)
    for number, new in by_frame.items():
        open_ = [track for track in tracks if number - boxes[track[-1]][0] <= max(gap * fps, 1)]
        overlap = np.array([[_overlap(boxes[t[-1]][1], boxes[i][1]) for i in new] for t in open_])
        taken = set()
        if len(open_):
            for row, column in zip(*linear_sum_assignment(-overlap), strict=True):
                if overlap[row, column] > SAME:
                    open_[row].append(new[column])
                    taken.add(column)
        tracks += [[i] for column, i in enumerate(new) if column not in taken]
    return [track for track in tracks if len(track) >= max(shortest * fps, 1)]


def _overlap(one, other):
    """Intersection over union of two boxes."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    inside = np.prod((high - low).clip(0))
    area = np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - inside
    return inside / max(area, 1e-9)


def make_track(found, body, fps, sigma=SIGMA):
    """One person's motion out of the frames in which they were found.

    Betas are the median of all frames; gaps are filled; rotations are smoothed (`motion.smooth`);
    then the body, which has changed a little, is put back where its keypoints were seen, and its
    places are smoothed.

    Args:
        found: list of (frame's number, dict of pose, betas, translation, points, camera).
        sigma: seconds; 0 leaves all as it is.
    """
    numbers = np.array([number for number, _ in found])
    start, count = int(numbers[0]), int(numbers[-1] - numbers[0]) + 1
    seen = np.zeros(count, bool)
    seen[numbers - start] = True
    camera = found[0][1]["camera"]

    def every(name):
        values = np.array([person[name] for _, person in found], float)
        spread = np.zeros((count, *values.shape[1:]))
        spread[numbers - start] = values
        return spread

    betas = np.median([person["betas"] for _, person in found], axis=0)
    pose = fill_rotations(every("pose"), seen)
    points = every("points").reshape(count, -1)
    points = fill_places(points, seen).reshape(count, -1, 2)
    raw = {"pose": pose, "translation": _in_place(body, betas, pose, points, camera)}
    translation = raw["translation"]
    if sigma > 0:
        pose = smooth_rotations(pose, fps, sigma)
        translation = smooth_places(_in_place(body, betas, pose, points, camera), fps, sigma)
    return Track(start, seen, pose, translation, betas, camera, fps, body, raw)


def _in_place(body, betas, pose, points, camera):
    """Where bodies must stand to be seen at their points: (F, 3), by linear least squares.

    A point X + t is seen at u = f (x, y) / z + c where f (X + t)_xy = (u - c) (Z + t_z).
    """
    places = np.asarray(body.posed_keypoints(betas[None], pose, POINTS), float)  # (F, K, 3)
    away = (points - camera.center) / camera.focal  # (F, K, 2)
    count = points.shape[1]
    left = np.zeros((len(pose), 2, count, 3))
    left[:, 0, :, 0] = left[:, 1, :, 1] = 1
    left[..., 2] = -away.transpose(0, 2, 1)
    right = (away * places[..., 2:] - places[..., :2]).transpose(0, 2, 1)  # (F, 2, K)
    left, right = left.reshape(len(pose), -1, 3), right.reshape(len(pose), -1)
    normal = np.einsum("fki,fkj->fij", left, left)
    return np.linalg.solve(normal, np.einsum("fki,fk->fi", left, right)[..., None])[..., 0]


def joints_of(body, betas, pose):
    """(F, 24, 3) metres, without translations."""
    return np.asarray(body.posed_keypoints(betas[None], pose, "smpl-24"), float)
