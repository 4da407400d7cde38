"""From records to batches: mixed by shares, augmented, cropped to the network's input.

A batch is a pure function of the records, the settings, the seed and the step: nothing is shuffled
through a buffer, so training that resumes at step n gets the very batch it would have had.

    which samples   `MixedDataset`: each source's share of every batch, in a new order each epoch
    where to look   `draw_affines`: one similarity a sample: box -> crop, augmented
    labels          `apply_affine`: keypoints, pose, translation and camera go along; invertible
    pixels          decoded by Pillow, warped and recoloured once by numba, on all cores

`hmrlib.data.feed.Feed` makes batches ahead for `fit`. (Measured: one warp by TensorFlow's own
image operations takes five times the processor time.)

Pixels, camera frame and the fields of a sample are those of `hmrlib.data.records`.
"""

import signal
from collections import Counter
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numba
import numpy as np
from scipy.spatial.transform import Rotation

from hmrlib.body import files
from hmrlib.data.records import (
    FLAGS,
    FLOATS,
    KEYPOINTS,
    RecordError,
    Records,
    decode_image,
    decode_segmentation,
    open_records,
)
from hmrlib.motion.library import check_poses, read_poses
from hmrlib.skeleton import JOINT_MIRROR, KEYPOINT_SETS

SIZE = 224  # of the crop, pixels
POINT_MIRROR = np.array(KEYPOINT_SETS[KEYPOINTS].mirror)
LABELS = (*FLOATS, *FLAGS)
KNOWN_BY = ("keypoints_2d", "keypoints_3d", "has_pose", "has_betas", "has_camera")  # 0: unknown


@dataclass(frozen=True)
class Augmentation:
    """How far a sample is varied. The paper's are shift, scale and flip (section 4.1).

    Attributes:
        shift: of the crop's middle, pixels of the crop, each way.
        scale: (least, most) magnification; drawn evenly in its logarithm.
        rotation: about the optical axis, degrees, each way.
        flip: the part of the samples that is mirrored.
        gain: contrast and each channel's brightness vary by this factor, 0.2: from 0.8 to 1.25.
        offset: brightness added, grey levels of 255, each way.
        patches: at most so many rectangles hide a part of the crop.
        patch_size: (least, most) side of such a rectangle, parts of the crop.
    """

    shift: float = 20.0
    scale: tuple[float, float] = (0.8, 1.23)
    rotation: float = 30.0
    flip: float = 0.5
    gain: float = 0.2
    offset: float = 16.0
    patches: int = 1
    patch_size: tuple[float, float] = (0.1, 0.4)

    def __post_init__(self):
        amounts = (self.shift, self.rotation, self.gain, self.offset, self.patches)
        if not (0 < self.scale[0] <= self.scale[1] and 0 <= self.flip <= 1 and min(amounts) >= 0):
            raise ValueError(f"expected amounts >= 0, a flip of 0 to 1, scales > 0; found {self}")


PAPER = Augmentation(rotation=0.0, gain=0.0, offset=0.0, patches=0)
NONE = Augmentation(0.0, (1.0, 1.0), 0.0, 0.0, 0.0, 0.0, 0)


# --- one similarity a sample ---------------------------------------------------------------------


def draw_affines(rng, center, size, augmentation=NONE, crop=SIZE):
    """Draw for each box how it fills the crop: moved, scaled, turned, mirrored.

    Args:
        rng: np.random.Generator.
        center, size: (B, 2), (B,) the boxes, pixels.

    Returns:
        (B, 2, 3) similarities from the image's pixels to the crop's.
    """
    count, a = len(size), augmentation
    shift = rng.uniform(-a.shift, a.shift, (count, 2))
    scale = np.exp(rng.uniform(*np.log(a.scale), count))
    scale *= crop / np.asarray(size, float)
    angle = np.radians(rng.uniform(-a.rotation, a.rotation, count))
    mirrored = rng.uniform(size=count) < a.flip
    return affine(center, scale, angle, mirrored, crop / 2 + shift)


def affine(center, scale, angle, mirrored, target):
    """p -> scale R(angle) F (p - center) + target, where F mirrors x if `mirrored`.

    The angle is in radians, and turns x towards y: clockwise, as y points down. All (...,) but
    center and target (..., 2) pixels; returns (..., 2, 3).
    """
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    side = np.where(mirrored, -1.0, 1.0)
    linear = np.stack([np.stack([side * cos, -sin], -1), np.stack([side * sin, cos], -1)], -2)
    offset = target - np.einsum("...cd,...d->...c", linear, np.asarray(center, float))
    return np.concatenate([linear, offset[..., None]], -1)


def invert_affine(affine):
    """(..., 2, 3) -> (..., 2, 3), the way back."""
    inverse = np.linalg.inv(affine[..., :2])
    return np.concatenate([inverse, -inverse @ affine[..., 2:]], -1)


@lru_cache(maxsize=2)
def _pelvis_regressor(path):
    """Where a body's first joint is at rest: (3,), and its change with each beta, (3, 10)."""
    model = files.read_model(path)
    row = model["J_regressor"][0]
    change = np.stack([row @ model["shapedirs"][:, c, :10] for c in range(3)])[:, 0]  # (3, S)
    return (row @ model["v_template"])[0].astype(float), change.astype(float)


def rest_pelvis(betas):
    """(..., 10) -> (..., 3): the root joint at rest, metres, of the body of `load_body()`.

    The body's root turns about this point and not about the origin, so that `translation` depends
    on it when the picture is turned.
    """
    mean, change = _pelvis_regressor(files.default_path())
    betas = np.asarray(betas, float)
    count = min(betas.shape[-1], change.shape[1])
    return mean + betas[..., :count] @ change[:, :count].T


def apply_affine(sample, affine):
    """A sample's labels, as they are after its picture was moved, scaled, turned and mirrored.

    A picture turned about any of its points is what the camera would see if the scene were turned
    about the optical axis, and the principal point moved: with p = f (X, Y) / Z + c and
    p' = s R F p + b, the scene goes to X' = R F X, and the camera to f' = s f, c' = s R F c + b.
    In a mirrored picture left is right: points and joints swap, and every rotation is mirrored.

    `apply_affine(., invert_affine(affine))` takes all back.

    Args:
        sample: dict with all fields of the schema, one sample or stacked ones (..., fields);
            others than labels are left out.
        affine: (..., 2, 3) similarities, pixels to pixels.

    Returns:
        dict of the labels.
    """
    linear, offset = affine[..., :2], affine[..., 2]
    determinant = np.linalg.det(linear)
    scale, mirrored = np.sqrt(np.abs(determinant)), determinant < 0
    turn = np.zeros((*scale.shape, 3, 3))  # R F, of the camera frame
    turn[..., :2, :2] = linear / scale[..., None, None]
    turn[..., 2, 2] = 1

    def swap(points, order):
        flip = mirrored.reshape(*mirrored.shape, *[1] * (points.ndim - mirrored.ndim))
        return np.where(flip, np.take(points, order, axis=mirrored.ndim), points)

    def move(points):  # (..., K, 2)
        return np.einsum("...cd,...kd->...kc", linear, points) + offset[..., None, :]

    labels = {name: np.array(sample[name]) for name in LABELS}
    points = swap(labels["keypoints_2d"], POINT_MIRROR)
    points[..., :2] = np.where(points[..., 2:] > 0, move(points[..., :2]), 0)
    labels["keypoints_2d"] = points
    labels["occluded"] = swap(labels["occluded"], POINT_MIRROR)

    points = swap(labels["keypoints_3d"], POINT_MIRROR)
    points[..., :3] = np.einsum("...cd,...kd->...kc", turn, points[..., :3])
    labels["keypoints_3d"] = points

    labels["center"] = move(labels["center"][..., None, :])[..., 0, :].astype(np.float32)
    labels["size"] = (scale * labels["size"]).astype(np.float32)
    has_pose, has_camera = labels["has_pose"] > 0, labels["has_camera"] > 0
    labels["pose"] = _turn_pose(swap(labels["pose"], JOINT_MIRROR), turn, mirrored, has_pose)

    focal = scale * labels["camera"][..., 0]
    principal = move(labels["camera"][..., None, 1:])[..., 0, :]
    camera = np.concatenate([focal[..., None], principal], -1)
    labels["camera"] = np.where(has_camera[..., None], camera, 0).astype(np.float32)

    pelvis = rest_pelvis(labels["betas"])
    root = np.einsum("...cd,...d->...c", turn, pelvis + labels["translation"])
    placed = (has_pose & has_camera)[..., None]
    labels["translation"] = np.where(placed, root - pelvis, 0).astype(np.float32)
    return labels


def _turn_pose(pose, turn, mirrored, known):
    """Mirror each rotation (the joints have been swapped), then turn the root's."""
    pose = np.where(mirrored[..., None, None], pose * [1, -1, -1], pose)
    proper = turn * np.where(mirrored[..., None, None], [-1.0, 1, 1], 1)  # R alone
    root = Rotation.from_matrix(proper.reshape(-1, 3, 3)) * Rotation.from_rotvec(
        pose[..., 0, :].reshape(-1, 3)
    )
    pose[..., 0, :] = root.as_rotvec().reshape(pose[..., 0, :].shape)
    return np.where(known[..., None, None], pose, 0).astype(np.float32)


def draw_colours(rng, count, augmentation=NONE):
    """Draw (B, 2, 3): each channel's gain and offset, grey levels; a contrast is one gain for all.

    The contrast turns about the middle grey of 128.
    """
    limit = np.log1p(augmentation.gain)
    contrast = np.exp(rng.uniform(-limit, limit, (count, 1)))
    gain = contrast * np.exp(rng.uniform(-limit, limit, (count, 3)) / 2)
    light = rng.uniform(-augmentation.offset, augmentation.offset, (count, 1))
    return np.stack([gain, 128 * (1 - contrast) + light + 0 * gain], 1).astype(np.float32)


def draw_patches(rng, count, augmentation=NONE, crop=SIZE):
    """Draw (B, patches, 7): left, top, right, bottom in pixels of the crop, and a colour.

    Each is there for half of the samples; one that is not has no extent.
    """
    shape = (count, augmentation.patches)
    sides = rng.uniform(*augmentation.patch_size, (*shape, 2)) * crop
    middle = rng.uniform(0, crop, (*shape, 2))
    there = rng.uniform(size=(*shape, 1)) < 0.5
    low, high = np.rint(middle - sides / 2 * there), np.rint(middle + sides / 2 * there)
    colour = np.rint(rng.uniform(0, 255, (*shape, 3)))
    return np.concatenate([low, high, colour], -1).astype(np.float32)


def hide_behind(labels, patches):
    """Mark keypoints that a patch covers as occluded; they stay known."""
    points = labels["keypoints_2d"][..., None, :2]  # (B, K, 1, 2)
    low, high = patches[:, None, :, :2], patches[:, None, :, 2:4]
    covered = ((points >= low) & (points < high)).all(-1).any(-1)
    covered &= labels["keypoints_2d"][..., 2] > 0
    return {**labels, "occluded": labels["occluded"] | covered.astype(np.uint8)}


# --- pixels --------------------------------------------------------------------------------------


_AS_IT_IS = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)


def warp(image, back, crop=SIZE, colour=None, fill=(0, 0, 0), out=None):
    """The crop of an image: bilinear, and `fill` outside.

    Args:
        image: (H, W, 3) uint8, or the bytes of a JPEG file.
        back: (2, 3) from the crop's pixels to the image's.
        colour: gain and offset (2, 3) of each channel, in grey levels, or None.
        out: (crop, crop, 3) uint8 that is written into, or None.

    Returns:
        (crop, crop, 3) uint8.
    """
    image = decode_image(image) if isinstance(image, bytes) else image
    out = np.empty((crop, crop, 3), np.uint8) if out is None else out
    table = _AS_IT_IS
    if colour is not None:
        levels = np.arange(256)[:, None] * colour[0] + colour[1]  # (256, 3)
        table = np.clip(levels + 0.5, 0, 255).astype(np.uint8)
    _warp(image, np.asarray(back, float), table, np.array(fill, np.uint8), out)
    return out


@numba.njit(nogil=True, cache=True)
def _warp(image, back, table, fill, out):
    height, width, channels = image.shape
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            # the first pixel's centre is (0.5, 0.5); here it is the first one's index, 0
            x = back[0, 0] * (column + 0.5) + back[0, 1] * (row + 0.5) + back[0, 2] - 0.5
            y = back[1, 0] * (column + 0.5) + back[1, 1] * (row + 0.5) + back[1, 2] - 0.5
            if x < -0.5 or y < -0.5 or x > width - 0.5 or y > height - 0.5:
                for channel in range(channels):
                    out[row, column, channel] = fill[channel]
                continue
            x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
            left, top = int(x), int(y)
            right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
            dx, dy = np.float32(x - left), np.float32(y - top)
            for channel in range(channels):
                above = np.float32(image[top, left, channel])
                above += (np.float32(image[top, right, channel]) - above) * dx
                below = np.float32(image[bottom, left, channel])
                below += (np.float32(image[bottom, right, channel]) - below) * dx
                level = above + (below - above) * dy
                out[row, column, channel] = table[int(level + np.float32(0.5)), channel]


def warp_segmentation(segmentation, back, crop=SIZE):
    """The crop of a map of labels: each pixel takes the nearest one's, and 0 outside.

    Args:
        segmentation: (H, W) uint8, or the bytes of a PNG file.
        back: (2, 3) from the crop's pixels to the map's.

    Returns:
        (crop, crop) uint8.
    """
    if isinstance(segmentation, bytes):
        segmentation = decode_segmentation(segmentation)
    middle = np.arange(crop) + 0.5
    x, y = back[:, :1] * middle  # along a row
    down = back[:, 1:2] * middle + back[:, 2:]
    column = np.floor(x + down[0][:, None]).astype(int)
    row = np.floor(y + down[1][:, None]).astype(int)
    height, width = segmentation.shape
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return segmentation[row * inside, column * inside] * inside


def paint(image, patches, colour=None):
    """Cover a crop with patches (P, 7), see `draw_patches`, in place; in one colour, if given."""
    for patch in patches:
        left, top, right, bottom = patch[:4].clip(0).astype(int)
        image[top:bottom, left:right] = patch[4:] if colour is None else colour
    return image


# --- batches -------------------------------------------------------------------------------------


class MixedDataset:
    """Batches of samples from one or several sources; `mixed[step]` is always the same batch.

    A batch is a dict, B samples, all float32 but the image and index:

        image (B, crop, crop, 3) uint8; the labels of `records`, in the crop's pixels; flags as 0, 1
        affine (B, 2, 3)       from the crop's pixels back to the record's image
        index (B, 2) int32     which source, which of its records
        mocap_pose (B, 24, 3), mocap_betas (B, 10)   people who need no picture: the
                               discriminator's real samples; betas are drawn from N(0, 1)
        segmentation (B, crop, crop) uint8, has_segmentation (B,)   only if asked for: what is seen
                               where, in the records' numbers; 0 outside of the record's image,
                               under a patch, and where a record has none

    A record that cannot be read gives way to the next one of its source, and is counted in
    `skipped`; so is one whose picture turns out to be damaged, which is black, with nothing known.

    Args:
        sources: a folder of records or `Records`; or {folder or Records: share of each batch}.
        batch_size: B. Each share is met in every batch, to the nearest sample, at least one.
        seed: of order and augmentation.
        augmentation: None is `Augmentation()`, or `NONE` if `once`.
        poses: a pose library (.npz with `pose` (N, 24, 3)), such an array, or a prior with
            `sample(n, seed)`. None leaves the mocap fields out.
        crop: side of the crop, pixels.
        split: "train", "validation", "test" or None, where a source is a folder.
        once: each sample once, in order, the last batch perhaps smaller: to evaluate. Otherwise
            batches never end, and each source is shuffled anew whenever it has been seen.
        segmentation: bring it along.

    Raises:
        ValueError: shares that are not positive, more sources than samples in a batch.
        records.RecordError: a source has no records.
    """

    def __init__(
        self,
        sources,
        batch_size,
        seed=0,
        augmentation=None,
        poses=None,
        crop=SIZE,
        split=None,
        once=False,
        segmentation=False,
    ):
        if not isinstance(sources, dict):
            sources = {sources: 1.0}
        self.sources = [
            source if isinstance(source, Records) else open_records(source, split)
            for source in sources
        ]
        for source, name in zip(self.sources, sources, strict=True):
            if not len(source):
                raise RecordError(f"{name}: no whole record")
        self.batch_size, self.seed, self.crop, self.once = batch_size, seed, crop, once
        self.process, self.segmentation = (0, 1), segmentation
        self.counts = samples_of_each(list(sources.values()), batch_size)
        self.augmentation = (
            (NONE if once else Augmentation()) if augmentation is None else augmentation
        )
        self.poses = _given_poses(poses)
        self.skipped = Counter()

    def __len__(self):
        """Steps until every sample has been seen."""
        if self.once:
            return -(-sum(map(len, self.sources)) // self.batch_size)
        return max(
            -(-len(source) // count)
            for source, count in zip(self.sources, self.counts, strict=True)
        )

    def for_process(self, process_index, process_count):
        """The same of which `[step]` is but one process' part, where some share a batch evenly."""
        part = copy(self)
        part.process = process_index, process_count
        return part

    def plan(self, step):
        """Which samples make up a batch: (B, 2) int, source and record."""
        if self.once:
            ends = np.cumsum([len(source) for source in self.sources])
            place = np.arange(step * self.batch_size, min((step + 1) * self.batch_size, ends[-1]))
            number = np.searchsorted(ends, place, side="right")
            return np.stack([number, place - np.append(0, ends)[number]], 1)
        rows = []
        for number, count in enumerate(self.counts):
            for place in range(step * count, (step + 1) * count):
                epoch, place = divmod(place, len(self.sources[number]))
                order = _order(self.seed, number, epoch, len(self.sources[number]))
                rows.append((number, order[place]))
        return np.array(rows)

    def _read(self, number, index):
        """A sample whose image is still encoded; the next one that is whole, and its index."""
        source = self.sources[number]
        for tried in range(len(source)):
            place = (index + tried) % len(source)
            try:
                return source.read(place, images=False), place
            except RecordError as error:
                self.skipped[str(error)] += 1
        raise RecordError(f"{source.paths[0].parent}: not one record can be read")

    def fetch(self, step):
        """A batch whose pixels are still to be made.

        Returns:
            files (list of B pairs: encoded image, encoded segmentation or None), labels (dict),
            colours (B, 2, 3), patches (B, P, 7): see `draw_colours` and `draw_patches`.
        """
        plan = self.plan(step)
        read = [self._read(*row) for row in plan.tolist()]
        samples = [sample for sample, _ in read]
        plan[:, 1] = [place for _, place in read]
        stacked = {name: np.stack([sample[name] for sample in samples]) for name in LABELS}
        rng, count = np.random.default_rng([self.seed, 2, step]), len(samples)
        forth = draw_affines(rng, stacked["center"], stacked["size"], self.augmentation, self.crop)
        colours = draw_colours(rng, count, self.augmentation)
        patches = draw_patches(rng, count, self.augmentation, self.crop)
        labels = hide_behind(apply_affine(stacked, forth), patches)
        back = invert_affine(forth)
        labels |= {"affine": back, "index": plan}
        if self.poses is not None:
            labels["mocap_pose"] = self._draw_poses(rng, count)
            labels["mocap_betas"] = rng.normal(size=(count, 10))
        labels = {
            name: np.asarray(value, np.int32 if name == "index" else np.float32)
            for name, value in labels.items()
        }
        files = [(sample["image"], sample["segmentation"]) for sample in samples]
        return files, labels, colours, patches

    def _draw_poses(self, rng, count):
        if hasattr(self.poses, "sample"):
            return np.asarray(self.poses.sample(count, int(rng.integers(2**31))))
        return self.poses[rng.integers(len(self.poses), size=count)]

    def __getitem__(self, step):
        if not 0 <= step < (len(self) if self.once else np.inf):
            raise IndexError(f"there is no step {step}")
        encoded, labels, colours, patches = self.fetch(step)
        index, count = self.process
        mine = slice(*(len(encoded) * edge // count for edge in (index, index + 1)))
        encoded, colours, patches = encoded[mine], colours[mine], patches[mine]
        labels = {name: value[mine] for name, value in labels.items()}
        shape = (len(encoded), self.crop, self.crop)
        images = np.empty((*shape, 3), np.uint8)
        for i, (data, _) in enumerate(encoded):
            try:
                warp(data, labels["affine"][i], self.crop, colours[i], out=images[i])
                paint(images[i], patches[i])
            except RecordError as error:  # its checksum fits, so that it came as far as this
                self.skipped[str(error)] += 1
                images[i] = 0
                for name in KNOWN_BY:
                    labels[name][i] = 0
        if self.segmentation:
            maps = labels["segmentation"] = np.zeros(shape, np.uint8)
            known = [data is not None for _, data in encoded]
            labels["has_segmentation"] = np.array(known, np.float32)
            for i in np.flatnonzero(known):
                try:
                    maps[i] = warp_segmentation(encoded[i][1], labels["affine"][i], self.crop)
                    paint(maps[i], patches[i], colour=0)
                except RecordError as error:
                    self.skipped[str(error)] += 1
                    labels["has_segmentation"][i] = 0
        self._check_finite(labels)
        return {"image": images, **labels}

    def _check_finite(self, labels):
        for name, value in labels.items():
            if not np.isfinite(value).all():
                row = int(np.argwhere(~np.isfinite(value))[0][0])
                number, index = (int(i) for i in labels["index"][row])
                source = self.sources[number]
                sample = source.read(index, images=False)
                raise RecordError(
                    f"{source.paths[source.shard[index]]}: {name} of the sample "
                    f"{sample['source']}/{sample['id']} has NaN or infinity; take it out"
                )


@lru_cache(maxsize=16)
def _order(seed, number, epoch, count):
    """In which order an epoch meets the records of source `number`: (count,) int."""
    return np.random.default_rng([seed, 1, number, epoch]).permutation(count)


def samples_of_each(shares, batch_size):
    """How many samples of a batch each source gives: the largest remainders round up."""
    shares = np.array(shares, float)
    if not (np.isfinite(shares) & (shares > 0)).all():
        raise ValueError(f"expected shares that are positive numbers, found {shares.tolist()}")
    if len(shares) > batch_size:
        raise ValueError(f"{len(shares)} sources do not fit into a batch of {batch_size}")
    exact = shares / shares.sum() * batch_size
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: batch_size - counts.sum()]] += 1
    for missing in np.flatnonzero(counts == 0):
        counts[counts.argmax()] -= 1
        counts[missing] = 1
    return counts


def _given_poses(poses):
    """An array (N, 24, 3), None, or what draws poses by itself."""
    if isinstance(poses, str | Path):
        return read_poses(poses)
    if poses is None or hasattr(poses, "sample"):
        return poses
    return check_poses(np.asarray(poses))


# --- in a process of its own ---------------------------------------------------------------------

_mixed = None


def begin_making(mixed):
    """What a process does first that will `make_batch`es."""
    global _mixed
    _mixed = mixed
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who trains on them


def make_batch(step):
    """The batch of this step, in a process that has begun."""
    return _mixed[step]
