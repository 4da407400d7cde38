"""Which poses people take: a pool of them, and how one person comes out of it."""

from functools import lru_cache

import numpy as np
from scipy.spatial.transform import Rotation

from hmrlib.body.kinematics import joint_motions
from hmrlib.motion.library import read_poses
from hmrlib.people.bodies import body_arrays
from hmrlib.people.draws import pick
from hmrlib.people.measures import J
from hmrlib.people.recipe import rounded
from hmrlib.skeleton import JOINT_MIRROR, PARENTS, POSES, pose_from_degrees

STANDING = "standing"  # in place of a library's path: `standing_poses`
_AT_EASE = ("hip", "knee", "ankle", "foot", "spine1", "spine2", "spine3")  # what is then at rest


@lru_cache(maxsize=4)
def pose_pool(library=None, count=4000):
    """Poses to draw from: (N, 24, 3) axis-angle, each with the root as it stands on the ground.

    A quarter are hand-made ones, loosened: motion capture, and so the prior, hardly ever sits.

    Args:
        library: a `.npz` with `pose` (N, 24, 3), as `hmr data mocap` writes it: as many of its
            poses come in addition, with the root's rotation that they have. "standing": as many
            `standing_poses`. None: no others.
        count: how many of the prior's and the hand-made ones together.

    Raises:
        PoseError: the library has no such array, or one that is not finite.
        FileNotFoundError: there is no such file.
    """
    from hmrlib.motion.prior import load_prior  # takes Keras along

    rng = np.random.default_rng(0)
    handmade = np.stack([pose_from_degrees(pose) for pose in POSES.values()])
    loosened = handmade[rng.integers(len(handmade), size=count // 4)]
    loosened[:, 1:] += rng.normal(0, 0.12, (len(loosened), 23, 3))
    drawn = load_prior().sample(count - len(loosened), 0)
    pool = _on_its_feet(np.concatenate([drawn, loosened]))
    if library is None:
        return pool
    if str(library) == STANDING:
        return np.concatenate([pool, standing_poses(pool)])
    poses = read_poses(library)
    poses = poses[np.random.default_rng(0).permutation(len(poses))[:count]]
    return np.concatenate([pool, poses]).astype(np.float32)


def standing_poses(pool, seed=0):
    """The same people on their feet: arms and heads of a pool, trunks upright, legs straight.

    Most people in photographs stand, but hardly one in fifty frames of motion capture, and so of
    the prior, has both knees within 15 degrees of straight.

    Args:
        pool: (N, 24, 3) axis-angle, radians.
        seed: of how legs and spine are turned.

    Returns:
        (N, 24, 3) float32, the root as it stands on the ground: knees are bent by 5 degrees in
        the mean, hips and spine turned by about as much.
    """
    rng = np.random.default_rng([seed, 1])
    upright = pose_from_degrees(POSES["standing"])
    poses = np.array(pool, float)
    for name, joint in J.items():
        if name.endswith(_AT_EASE):
            turn = rng.normal(0, np.radians(3), (len(poses), 3))
            if name.endswith("knee"):
                turn = turn * [0, 0.5, 0.5] + [1, 0, 0] * abs(turn) * 2
            elif name.endswith("hip"):
                turn *= [2, 2, 1]
            poses[:, joint] = upright[joint] + turn
    poses[:, 0] = 0
    return _on_its_feet(poses)


def _on_its_feet(poses):
    """Turn the root of poses (N, 24, 3) so that the body stands over its feet, if it can.

    A prior does not know the root's rotation. The mean of the joints is brought above the ankles
    where that needs less than half a right angle; otherwise the trunk stays upright.
    """
    body = body_arrays()
    joints = np.asarray(body.J_regressor @ body.v_template, float)
    rest = np.broadcast_to(joints, (len(poses), 24, 3))
    rotations = Rotation.from_rotvec(poses.reshape(-1, 3)).as_matrix().reshape(-1, 24, 3, 3)
    place = joint_motions(rotations, rest, PARENTS).joints
    ankles = place[:, [J["left_ankle"], J["right_ankle"]]].mean(1)
    up = place[:, [J["spine1"], J["spine3"], J["head"]]].mean(1) - ankles
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    angle = np.arccos(np.clip(up[:, 1], -1, 1))
    axis = np.cross(up, [0, 1, 0])
    axis /= np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-9)
    turn = Rotation.from_rotvec(axis * np.where(angle < np.pi / 4, 0.85 * angle, 0)[:, None])
    poses = np.array(poses, np.float32)
    poses[:, 0] = (turn * Rotation.from_rotvec(poses[:, 0])).as_rotvec()
    return poses


def draw_body(rng, pool):
    """What `Person` has of a body: betas (10,), pose (24, 3), and how high it floats, metres."""
    spread = 1.0 if rng.random() < 0.85 else 1.6
    betas = np.clip(spread * rng.normal(size=10), -3.5, 3.5)
    pose = pool[rng.integers(len(pool))].astype(float)
    if rng.random() < 0.5:
        pose = pose[list(JOINT_MIRROR)] * [1, -1, -1]
    pose[1:] += rng.normal(0, 0.03, (23, 3))
    how, lift = rng.random(), 0.0
    if how < 0.05:  # lying
        axis = pick(rng, ((-1, 0, 0), (1, 0, 0), (0, 0, 1), (0, 0, -1)))
        tilt = np.radians(90 + 8 * rng.normal()) * np.array(axis)
    elif how < 0.08:  # on its head, or in mid air
        tilt = Rotation.from_euler("zxy", rng.normal([180, 0, 0], [25, 25, 180]), degrees=True)
        tilt, lift = tilt.as_rotvec(), rng.exponential(0.2)
    elif how < 0.14:  # leaping, falling, leaning
        tilt, lift = np.radians(18) * rng.normal(size=3), rng.exponential(0.25)
    else:
        tilt = np.radians(4) * rng.normal(size=3)
    facing = rng.normal(0, 50) if rng.random() < 0.6 else rng.uniform(-180, 180)
    root = Rotation.from_rotvec([[0, np.radians(facing), 0], tilt, pose[0]])
    pose[0] = (root[0] * root[1] * root[2]).as_rotvec()
    return rounded({"betas": betas.round(4), "pose": pose.round(4), "lift": lift})
