"""Motion capture: the readers against an independent computation, and retargeting."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import hmrlib
from hmrlib import fitting, skeleton
from hmrlib.data import mocap
from tests.conftest import ROOT

# the recordings lie beside the project's checkout, in a folder of that name
CMU = Path(os.environ.get("HMR_MOCAP", ROOT.parent / "shared" / "data" / "mocap_cmu"))

BVH = """HIERARCHY
ROOT Hips
{{
  OFFSET 0.0 0.0 0.0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Thigh
  {{
    OFFSET 10.0 -5.0 0.0
    CHANNELS 3 Zrotation Yrotation Xrotation
    JOINT Shin
    {{
      OFFSET 0.0 -45.0 0.0
      CHANNELS 1 Xrotation
      End Site
      {{
        OFFSET 0.0 -42.0 3.0
      }}
    }}
  }}
  JOINT Spine
  {{
    OFFSET 0.0 50.0 0.0
    CHANNELS 3 Xrotation Yrotation Zrotation
    End Site
    {{
      OFFSET 0.0 30.0 0.0
    }}
  }}
}}
MOTION
Frames: {frames}
Frame Time: 0.05
{motion}
"""

ASF = """# a miniature
:version 1.10
:name mini
:units
  mass 1.0
  length 0.45
  angle deg
:root
  order TX TY TZ RX RY RZ
  axis XYZ
  position 0 0 0
  orientation 0 0 0
:bonedata
  begin
    id 1
    name lfemur
    direction 0.3 -0.95 0.1
    length 7.5
    axis 0 0 20 XYZ
    dof rx ry rz
    limits (-160.0 20.0)
           (-70.0 70.0)
           (-60.0 70.0)
  end
  begin
    id 2
    name ltibia
    direction 0.34 -0.94 0
    length 7.0
    axis 10 -5 20 XYZ
    dof rx
  end
  begin
    id 3
    name lfoot
    direction 0 0 1
    length 2.0
    axis 0 0 0 XYZ
  end
:hierarchy
  begin
    root lfemur
    lfemur ltibia
    ltibia lfoot
  end
"""


def homogeneous(rotation=None, translation=(0, 0, 0)):
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3) if rotation is None else rotation.as_matrix()
    matrix[:3, 3] = translation
    return matrix


@pytest.fixture
def bvh(tmp_path):
    """A file, and its channels (4, 13)."""
    values = np.random.default_rng(0).uniform(-80, 80, (4, 13))
    path = tmp_path / "clip.bvh"
    motion = "\n".join(" ".join(f"{v:.6f}" for v in row) for row in values)
    path.write_text(BVH.format(frames=4, motion=motion))
    return path, np.round(values, 6)


def test_bvh_is_played_as_products_of_4x4_matrices(bvh):
    path, values = bvh
    motion = mocap.read_bvh(path, unit=0.01)
    assert motion.names == ("Hips", "Thigh", "Shin", "Shin_end", "Spine", "Spine_end")
    assert motion.parents == (-1, 0, 1, 2, 0, 4) and motion.fps == pytest.approx(20)
    for frame, v in enumerate(values):
        # SciPy's capital letters: each turn about the axes that the last one left
        hips = homogeneous(Rotation.from_euler("ZXY", v[3:6], degrees=True), v[:3])
        turn = Rotation.from_euler("ZYX", v[6:9], degrees=True)
        thigh = hips @ homogeneous(turn, (10, -5, 0))
        shin = thigh @ homogeneous(Rotation.from_euler("X", v[9], degrees=True), (0, -45, 0))
        turn = Rotation.from_euler("XYZ", v[10:13], degrees=True)
        spine = hips @ homogeneous(turn, (0, 50, 0))
        tips = shin @ homogeneous(None, (0, -42, 3)), spine @ homogeneous(None, (0, 30, 0))
        expected = [hips, thigh, shin, tips[0], spine, tips[1]]
        expected = 0.01 * np.stack([matrix[:3, 3] for matrix in expected])
        np.testing.assert_allclose(motion.positions[frame], expected, atol=1e-9)


def test_asf_is_played_as_products_of_4x4_matrices(tmp_path):
    (tmp_path / "07.asf").write_text(ASF)
    values = np.random.default_rng(1).uniform(-60, 60, (3, 10))
    frames = []
    for n, row in enumerate(values):
        words = [str(value) for value in row]
        lines = [
            f"root {' '.join(words[:6])}",
            f"lfemur {' '.join(words[6:9])}",
            f"ltibia {words[9]}",
        ]
        frames += [str(n + 1), *lines]
    path = tmp_path / "07_01.amc"
    path.write_text("#!OML\n:FULLY-SPECIFIED\n:DEGREES\n" + "\n".join(frames) + "\n")
    motion = mocap.read_amc(path)
    assert motion.names == ("root", "lfemur", "ltibia", "lfoot")

    def fixed(angles):  # about fixed axes: x first
        return Rotation.from_euler("xyz", angles, degrees=True)

    for frame, v in enumerate(values):
        root = homogeneous(fixed(v[3:6]), v[:3])
        places, carried = [root], root
        for axes, angles, bone in (
            ((0, 0, 20), v[6:9], 7.5 * np.array([0.3, -0.95, 0.1])),
            ((10, -5, 20), (v[9], 0, 0), 7.0 * np.array([0.34, -0.94, 0])),
            ((0, 0, 0), (0, 0, 0), 2.0 * np.array([0, 0, 1])),
        ):
            own = fixed(axes)
            turned = homogeneous(own * fixed(angles) * own.inv())
            carried = carried @ turned @ homogeneous(None, bone)
            places.append(carried)
        expected = np.stack([matrix[:3, 3] for matrix in places]) * 0.0254 / 0.45
        np.testing.assert_allclose(motion.positions[frame], expected, atol=1e-9)


@pytest.mark.parametrize("unit", [1.0, 0.01, 0.001, 0.0254])
def test_the_unit_of_length_is_guessed(bvh, unit):
    metres = mocap.read_bvh(bvh[0], unit=0.01)
    other = mocap._scaled(metres, 1 / unit)
    assert mocap.guess_unit(other) == pytest.approx(unit)


def test_resampling_keeps_ends_and_bones(bvh):
    motion = mocap.read_bvh(bvh[0], unit=0.01)
    slow = mocap.resampled(motion, 20 / 3)
    np.testing.assert_allclose(slow.positions, motion.positions[[0, 3]], atol=1e-9)
    same = mocap.resampled(motion, motion.fps)
    np.testing.assert_allclose(same.positions, motion.positions, atol=1e-9)
    np.testing.assert_allclose(same.rotations, motion.rotations, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[: len(t) // 2], "expected a BVH file|damaged"),
        (lambda t: t.replace("Frames: 4", "Frames: 5"), "5 frames of 13 channels = 65 numbers"),
        (lambda t: t[:-40], "found"),
        (lambda t: t.replace("Zrotation", "Wrotation"), "unknown channel"),
        (lambda t: t.replace("}", "", 1), "damaged"),
        (lambda t: t.replace("0.05", "zero"), "no number"),
        (lambda t: t.replace("0.05\n", "0.05\nnan "), "expected 4 frames"),
    ],
)
def test_damaged_bvh_is_refused(bvh, change, message):
    path, _ = bvh
    path.write_text(change(path.read_text()))
    with pytest.raises(mocap.MocapError, match=message) as caught:
        mocap.read_bvh(path)
    assert "clip.bvh" in str(caught.value)


def test_damaged_amc_is_refused(tmp_path):
    path = tmp_path / "07_01.amc"
    with pytest.raises(mocap.MocapError, match="no such file"):
        mocap.read_motion(tmp_path / "gone.bvh")
    path.write_text("1\nroot 0 0 0 0 0 0\n")
    with pytest.raises(mocap.MocapError, match=r"its skeleton 07\.asf beside it, found 0"):
        mocap.read_amc(path)
    (tmp_path / "07.asf").write_text(ASF)
    for text, message in (
        ("", "0 frames"),
        ("1\nroot 0 0 0 0 0 0\nrfemur 1 2 3\n", "rfemur"),
        ("1\nroot 0 0 0 0 0\n", "line 2"),
        ("1\nroot 0 0 0 0 0 x\n", "line 2"),
        ("1\nroot 0 0 0 0 0 0\nltibia 3\n2\nroot 0 0 0 0 0 0\n", "ltibia"),
        ("1\nroot 0 0 0 0 0 nan\n", "NaN"),
    ):
        path.write_text(text)
        with pytest.raises(mocap.MocapError, match=message):
            mocap.read_amc(path)
    (tmp_path / "07.asf").write_text(ASF.replace(":hierarchy", ":other"))
    with pytest.raises(mocap.MocapError, match="lacks hierarchy"):
        mocap.read_amc(path)


def test_unknown_skeleton_is_told_what_was_found(bvh):
    motion = mocap.read_bvh(bvh[0], unit=0.01)
    with pytest.raises(mocap.MocapError, match=r"Hips, Thigh, Shin.*Give `joints`"):
        mocap.joint_map(motion)
    with pytest.raises(mocap.MocapError, match="not ours"):
        mocap.joint_map(motion, {"left_leg": "Thigh"})
    with pytest.raises(mocap.MocapError, match="the motion has no"):
        mocap.joint_map(motion, {"left_hip": "Oberschenkel"})
    with pytest.raises(mocap.MocapError, match="too few joints"):
        mocap.retarget(motion, hmrlib.load_body(), {"left_hip": "Thigh", "left_knee": "Shin"})


def test_mirrored_poses_mirror_the_joints():
    body = hmrlib.load_body()
    pose = skeleton.pose_from_degrees(skeleton.POSES["waving"])[None]
    pose[:, 0] = (0.3, 0.5, -0.2)
    joints, mirrored = (
        np.asarray(body(pose=p).joints[0]) for p in (pose, mocap.mirrored_pose(pose))
    )
    expected = joints[list(skeleton.JOINT_MIRROR)] * [-1, 1, 1]
    np.testing.assert_allclose(mirrored, expected, atol=2e-3)  # the body is nearly symmetric


def own_motion(frames=24):
    """The body itself as a motion, from walking to waving."""
    body = hmrlib.load_body()
    ends = [skeleton.pose_from_degrees(skeleton.POSES[name]) for name in ("walking", "waving")]
    share = np.linspace(0, 1, frames)[:, None, None]
    pose = (1 - share) * ends[0] + share * ends[1]
    pose[:, 0, 1] = 2 * share[:, 0, 0]
    translation = np.stack([0 * share[:, 0, 0], 0 * share[:, 0, 0] + 1, share[:, 0, 0]], axis=1)
    joints = np.asarray(body(None, pose, translation).joints, float)
    rest = np.asarray(body().joints[0], float)
    turns = np.tile(np.eye(3), (frames, 24, 1, 1))
    motion = mocap.Motion(skeleton.JOINT_NAMES, skeleton.PARENTS, joints, turns, 30.0, rest)
    return body, motion


def test_retargeting_finds_the_body_in_its_own_motion():
    body, motion = own_motion()
    joints = {name: name for name in skeleton.JOINT_NAMES}
    made = mocap.retarget(motion, body, joints)
    assert made.error.mean() < 0.005 and made.error.max() < 0.02
    assert np.abs(made.betas).max() < 0.5
    # which way limbs point, not how they are twisted: straight ones do not show it
    moved = np.asarray(body(None, made.pose, made.translation).joints)
    hinges = [skeleton.JOINT_NAMES.index(n) for n in ("left_knee", "right_wrist", "left_elbow")]
    assert np.linalg.norm(moved - motion.positions, axis=-1)[:, hinges].mean() < 0.01


def test_a_library_is_made_skips_what_it_must_and_goes_on(tmp_path):
    folder, out = tmp_path / "clips", tmp_path / "out"
    folder.mkdir()
    rng = np.random.default_rng(0)
    poses = 0.1 * rng.normal(size=(40, 156))
    good = {"poses": poses, "trans": np.tile([0, 0, 1.0], (40, 1)), "mocap_framerate": 60.0}
    np.savez(folder / "01_01.npz", **good)
    np.savez(folder / "01_02.npz", poses=poses)
    (folder / "02_01.bvh").write_text("nothing")
    body = hmrlib.load_body()
    library, table = mocap.build_library(folder, out, body)
    with np.load(library) as file:
        assert file["pose"].shape == (40, 24, 3)  # half the rate, and the mirror images
        assert file["mirrored"].sum() == 20 and list(file["clip_names"]) == ["01_01.npz"]
        # z up becomes y up
        np.testing.assert_allclose(
            file["translation"][:20], np.tile([0, 1.0, 0], (20, 1)), atol=1e-6
        )
        first = file["pose"][0]
    upright = Rotation.from_euler("x", -90, degrees=True) * Rotation.from_rotvec(poses[0, :3])
    np.testing.assert_allclose(
        Rotation.from_rotvec(first[0]).as_matrix(), upright.as_matrix(), atol=1e-6
    )
    np.testing.assert_allclose(first[1:22], poses[0, 3:66].reshape(21, 3), atol=1e-6)
    assert "01_02.npz" in table and "02_01.bvh" in table
    kept = out / "clips" / "01_01.npz.npz"
    made = kept.stat().st_mtime_ns
    assert mocap.build_library(folder, out, body)[1] == table
    assert kept.stat().st_mtime_ns == made, "what was made is not made again"
    with pytest.raises(mocap.MocapError, match=r"no \.amc, \.bvh or \.npz"):
        mocap.build_library(tmp_path / "empty", out, body)


needs_cmu = pytest.mark.skipif(
    not CMU.is_dir(), reason="the CMU recordings are not beside the project"
)


@needs_cmu
@pytest.mark.parametrize(
    "clip",
    [
        "asfamc/16/16_15.amc",
        "bvh/walkcycles/12_01.bvh",
        "bvh/dances_martial/martial_03.bvh",
        "bvh/motionbuilder/007_04.bvh",
    ],
)
def test_real_recordings_are_plausible(clip):
    motion = mocap.read_motion(CMU / clip)
    assert motion.bone_lengths().std(axis=0).max() < 1e-9
    lowest = motion.positions[..., 1].min(axis=1)
    assert abs(np.median(lowest)) < 0.12, "feet near the floor"
    assert 1.2 < np.ptp(motion.positions[..., 1], axis=1).max() < 2.3
    points, _ = mocap.mapped(motion, mocap.joint_map(motion)[1])
    thigh = np.linalg.norm(points["left_hip"] - points["left_knee"], axis=-1)
    assert 0.3 < thigh.mean() < 0.55


@needs_cmu
def test_real_recordings_are_retargeted():
    body = hmrlib.load_body()
    for clip in ("asfamc/16/16_15.amc", "bvh/motionbuilder/007_04.bvh"):
        motion = mocap.read_motion(CMU / clip)
        motion = mocap.resampled(motion, 6)
        made = mocap.retarget(motion, body)
        assert made.error.mean() < 0.025
        angles = np.asarray(fitting.pose_angles(made.pose))[:, 1:]
        beyond = np.maximum(fitting.LEAST[1:] - angles, angles - fitting.MOST[1:])
        assert np.degrees(beyond.max()) < 20 and np.degrees(np.maximum(beyond, 0).mean()) < 0.5
