"""A few people in pictures, drawn on a plain ground, as records: what the training tests learn."""

import numpy as np
from scipy.spatial.transform import Rotation

import hmrlib
from hmrlib import skeleton
from hmrlib.camera import Camera
from hmrlib.data.records import write_index, write_shard
from hmrlib.render import render_batch


def people(count, seed=0, size=96):
    """Samples of `hmrlib.data.records` with everything known."""
    rng = np.random.default_rng(seed)
    body = hmrlib.load_body()
    poses = np.stack([skeleton.pose_from_degrees(p) for p in skeleton.POSES.values()])
    pose = poses[rng.integers(len(poses), size=count)] + rng.normal(0, 0.12, (count, 24, 3))
    # upright in the camera's frame, and turned about the vertical
    turn = Rotation.from_rotvec(rng.uniform(-1.2, 1.2, (count, 1)) * [0, 1, 0])
    pose[:, 0] = (Rotation.from_rotvec([np.pi, 0, 0]) * turn).as_rotvec()
    betas = rng.normal(0, 0.8, (count, 10))
    translation = np.array([0.0, 0.0, 5.0]) + rng.normal(0, [0.1, 0.1, 0.4], (count, 3))
    posed = body(betas, pose, translation)
    vertices, points = np.asarray(posed.vertices), np.asarray(body.keypoints(posed))
    camera = Camera(np.eye(3), np.zeros(3), 2.0 * size, (size, size))
    ground = rng.integers(0, 255, (count, 1, 1, 3), np.uint8)
    images = render_batch(
        vertices,
        body.faces,
        camera,
        colors=rng.uniform(0.3, 0.9, (count, 1, 3)),
        backgrounds=np.broadcast_to(ground, (count, size, size, 3)),
    ).image
    for i in range(count):
        pixels, _ = camera.project(points[i])
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        yield {
            "image": images[i],
            "center": (low + high) / 2,
            "size": 1.25 * (high - low).max(),
            "keypoints_2d": np.column_stack([pixels, np.ones(len(pixels))]),
            "keypoints_3d": np.column_stack([points[i], np.ones(len(pixels))]),
            "pose": pose[i],
            "betas": betas[i],
            "translation": translation[i],
            "camera": [camera.focal, *camera.center],
            "source": "people",
            "id": f"{seed}-{i}",
        }


def write_people(folder, train=16, validation=8, size=96, change=dict):
    """A folder of records; `change` may take labels out of a sample, or spoil it."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count, seed in (("train", train, 0), ("validation", validation, 1)):
        if count:
            samples = (change(sample) for sample in people(count, seed, size))
            write_shard(folder / f"{split}-00000.tfrecord", samples)
    write_index(folder, source="people")
    return folder
