"""Motion capture: the readers against an independent computation, and retargeting."""

import os
import re
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import hmrlib
from hmrlib import fitting, skeleton
from hmrlib.body import files
from hmrlib.cli import main
from hmrlib.motion import clips, gather, skeletons
from hmrlib.motion.retarget import retarget
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
    motion = clips.read_bvh(path, unit=0.01, up="y")
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
    motion = clips.read_amc(path, unit="CMU", up="y")
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
    metres = clips.read_bvh(bvh[0], unit=0.01, up="y")
    other = replace(metres, positions=metres.positions / unit, rest=metres.rest / unit)
    assert skeletons.find_unit(other)[0] == pytest.approx(unit)


def test_the_rate_of_a_bvh_can_be_given(bvh):
    bvh[0].write_text(bvh[0].read_text().replace("0.05", "0"))
    with pytest.raises(skeletons.MocapError, match=r"frame time 0; expected .* `fps` tells it"):
        clips.read_bvh(bvh[0], unit=0.01, up="y")
    assert clips.read_bvh(bvh[0], unit=0.01, up="y", fps=24).fps == 24
    with pytest.raises(skeletons.MocapError, match="'fast' frames a second"):
        clips.read_bvh(bvh[0], unit=0.01, up="y", fps="fast")


def test_resampling_keeps_ends_and_bones(bvh):
    motion = clips.read_bvh(bvh[0], unit=0.01, up="y")
    slow = clips.resampled(motion, 20 / 3)
    np.testing.assert_allclose(slow.positions, motion.positions[[0, 3]], atol=1e-9)
    same = clips.resampled(motion, motion.fps)
    np.testing.assert_allclose(same.positions, motion.positions, atol=1e-9)
    np.testing.assert_allclose(same.rotations, motion.rotations, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[: len(t) // 2], "expected a BVH file|damaged"),
        (lambda t: t.replace("\n", "\n1 ", t.count("\n")), "damaged"),
        (lambda t: t[: t.index("0.05") + 30], "not one that is whole"),
        (lambda t: t[: t.index("0.05") + 5], "0 frames"),
        (lambda t: t.replace("Zrotation", "Wrotation"), "unknown channel"),
        (lambda t: t.replace("}", "", 1), "damaged"),
        (lambda t: t.replace("0.05", "zero"), "no number"),
        (lambda t: t.replace("0.05\n", "0.05\nnan "), "13 channels, found frame 1 of 14"),
        (lambda t: f"{t[: t.rindex(' ')]} nan\n", "expected no NaN"),
        (lambda t: f"{t[: t.rindex(' ')]} -inf\n", "expected no NaN"),
        (lambda t: f"{t[: t.rindex(' ')]} 1e300\n", "nothing over"),
        (lambda t: t.replace("OFFSET 10.0", "OFFSET inf"), "expected no NaN"),
        (lambda t: t.replace("-45.0", "-45,0"), "decimal comma"),
        (lambda t: t.replace("CHANNELS 1", "CHANNELS 1000000000"), "channels of one joint"),
        (lambda t: t.replace("0.05", "0"), "frame time 0"),
        (lambda t: t.replace("0.05", "1e-30"), "frame time 1e-30"),
        (lambda t: t.replace("0.05", "1e6"), "frame time 1e6"),
        (lambda t: t.replace("0.05", "nan"), "expected no NaN"),
        (lambda t: t.replace("MOTION", "ROOT B { OFFSET 0 0 0 }\nMOTION"), "roots do not add up"),
    ],
)
def test_damaged_bvh_is_refused(bvh, change, message):
    path, _ = bvh
    path.write_text(change(path.read_text()))
    with pytest.raises(skeletons.MocapError, match=message) as caught:
        clips.read_bvh(path)
    assert "clip.bvh" in str(caught.value)


def test_damaged_amc_is_refused(tmp_path):
    path = tmp_path / "07_01.amc"
    with pytest.raises(skeletons.MocapError, match="no such file"):
        clips.read_motion(tmp_path / "gone.bvh")
    path.write_text("1\nroot 0 0 0 0 0 0\n")
    with pytest.raises(skeletons.MocapError, match=r"its skeleton 07\.asf beside it, found 0"):
        clips.read_amc(path)
    (tmp_path / "07.asf").write_text(ASF)
    for text, message in (
        ("", "0 frames"),
        ("1\nroot 0 0 0 0 0 0\nrfemur 1 2 3\n", "rfemur"),
        ("1\nroot 0 0 0 0 0\n", "line 2"),
        ("1\nroot 0 0 0 0 0 x\n", "line 2"),
        ("1\nroot 0 0 0 0 0 0\nltibia 3\n2\nroot 0 0 0 0 0 0\n3\n", "lacks.*ltibia"),
        ("1\nroot 0 0 0 0 0 nan\n", "NaN"),
        ("1\nroot 0 0 0 0 0 0\n2\nroot 0 0 0 0 0 inf\n3\n", "line 4.*infinity"),
    ):
        path.write_text(text)
        with pytest.raises(skeletons.MocapError, match=message):
            clips.read_amc(path)
    (tmp_path / "07.asf").write_text(ASF.replace(":hierarchy", ":other"))
    with pytest.raises(skeletons.MocapError, match="lacks hierarchy"):
        clips.read_amc(path)


def test_unknown_skeleton_is_told_what_was_found(bvh):
    motion = clips.read_bvh(bvh[0], unit=0.01, up="y")
    with pytest.raises(skeletons.MocapError, match=r"Hips, Thigh, Shin.*Give `joints`"):
        skeletons.joint_map(motion)
    with pytest.raises(skeletons.MocapError, match="not ours"):
        skeletons.joint_map(motion, {"left_leg": "Thigh"})
    with pytest.raises(skeletons.MocapError, match="the motion has no"):
        skeletons.joint_map(motion, {"left_hip": "Oberschenkel"})
    with pytest.raises(skeletons.MocapError, match="too few joints"):
        retarget(motion, hmrlib.load_body(), {"left_hip": "Thigh", "left_knee": "Shin"})


def test_mirrored_poses_mirror_the_joints():
    body = hmrlib.load_body()
    pose = skeleton.pose_from_degrees(skeleton.POSES["waving"])[None]
    pose[:, 0] = (0.3, 0.5, -0.2)
    joints, mirrored = (
        np.asarray(body(pose=p).joints[0]) for p in (pose, gather.mirrored_pose(pose))
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
    motion = clips.Motion(skeleton.JOINT_NAMES, skeleton.PARENTS, joints, turns, 30.0, rest)
    return body, motion


def test_retargeting_finds_the_body_in_its_own_motion():
    body, motion = own_motion()
    joints = {name: name for name in skeleton.JOINT_NAMES}
    made = retarget(motion, body, joints)
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
    library, table = gather.build_library(folder, out, body)
    with np.load(library) as file:
        assert file["pose"].shape == (40, 24, 3)  # half the rate, and the mirror images
        assert file["mirrored"].sum() == 20 and list(file["clip_names"]) == ["01_01.npz"]
        # z up becomes y up, and the pelvis, 0.22 m below SMPL's origin, is where it was
        pelvis = file["translation"][:20] + body.J_regressor.toarray()[0] @ body.v_template
        np.testing.assert_allclose(pelvis, np.tile([0, 1.03, 0.22], (20, 1)), atol=1e-6)
        first = file["pose"][0]
    upright = Rotation.from_euler("x", -90, degrees=True) * Rotation.from_rotvec(poses[0, :3])
    np.testing.assert_allclose(
        Rotation.from_rotvec(first[0]).as_matrix(), upright.as_matrix(), atol=1e-6
    )
    np.testing.assert_allclose(first[1:22], poses[0, 3:66].reshape(21, 3), atol=1e-6)
    assert "01_02.npz" in table and "02_01.bvh" in table
    kept = out / "clips" / "01_01.npz.npz"
    made = kept.stat().st_mtime_ns
    assert gather.build_library(folder, out, body)[1] == table
    assert "skipped" not in gather.build_library(folder / "01_01.npz", out, body)[1]
    assert kept.stat().st_mtime_ns == made, "what was made is not made again"
    with pytest.raises(skeletons.MocapError, match=r"no \.amc, \.bvh or \.npz"):
        gather.build_library(tmp_path / "empty", out, body)


# --- motion as programs write it ---------------------------------------------------------------

MIDDLE = {  # our own figure: metres from the parent, y up, facing +z
    "pelvis": (None, (0, 0, 0)),
    "spine1": ("pelvis", (0, 0.11, 0)),
    "spine2": ("spine1", (0, 0.12, -0.01)),
    "spine3": ("spine2", (0, 0.12, 0)),
    "neck": ("spine3", (0, 0.15, 0)),
    "head": ("neck", (0, 0.1, 0.01)),
}
SIDE = {
    "collar": ("spine3", (0.04, 0.08, 0)),
    "shoulder": ("collar", (0.13, 0.01, 0)),
    "elbow": ("shoulder", (0.29, 0, 0)),
    "wrist": ("elbow", (0.25, 0, 0.01)),
    "hip": ("pelvis", (0.09, -0.05, 0)),
    "knee": ("hip", (0.01, -0.42, 0)),
    "ankle": ("knee", (0, -0.4, -0.01)),
    "foot": ("ankle", (0, -0.06, 0.13)),
}
HUMANIK = "{}Shoulder {}Arm {}ForeArm {}Hand {}UpLeg {}Leg {}Foot"
XSENS = "{}Collar {}Shoulder {}Elbow {}Wrist {}Hip {}Knee {}Ankle {}Toe"
RIGIFY = "{p}spine {p}spine.001 {p}spine.002 {p}spine.003 {p}spine.004 {p}spine.006"
BIPED = "{p}Pelvis,{p}Spine,{p}Spine1,{p}Spine2,{p}Neck,{p}Head"
BIPED_SIDE = (
    "{p}{} Clavicle,{p}{} UpperArm,{p}{} Forearm,{p}{} Hand,{p}{} Thigh,{p}{} Calf,{p}{} Foot"
)
# who writes it: family, the names of MIDDLE, of SIDE, for left and right, and how it is written
PROGRAMS = {
    "mixamo": (
        "humanik",
        "mixamorig:Hips Spine Spine1 Spine2 Neck Head".replace(" ", " mixamorig:"),
        f"mixamorig:{HUMANIK} {{}}ToeBase".replace(" ", " mixamorig:"),
        ("Left", "Right"),
        {},
    ),
    "motionbuilder": (
        "humanik",
        "Hips Spine Spine1 Spine2 Neck Head",
        f"{HUMANIK} {{}}ToeBase",
        ("Left", "Right"),
        {"unit": 0.0254},
    ),
    "rokoko": (
        "humanik",
        "Hips Spine Spine2 Spine3 Neck Head",
        "{}Shoulder {}Arm {}ForeArm {}Hand {}Thigh {}Shin {}Foot {}Toe",
        ("Left", "Right"),
        {"unit": 1.0},
    ),
    "lafan1": (  # all bones lie along x at rest
        "humanik",
        "Hips Spine Spine1 Spine2 Neck Head",
        f"{HUMANIK} {{}}Toe",
        ("Left", "Right"),
        {"rest": "along x"},
    ),
    "cgspeed": (
        "humanik",
        "Hips LowerBack Spine Spine1 Neck Head",
        f"{HUMANIK} {{}}ToeBase",
        ("Left", "Right"),
        {"unit": 0.0254 / 0.45},
    ),
    "xsens": ("xsens", "Hips Chest Chest2 Chest4 Neck Head", XSENS, ("Left", "Right"), {}),
    "bandai-namco": (  # a still joint above the hips
        "bandai-namco",
        "Hips Spine Belly Chest Neck Head",
        "Shoulder_{} UpperArm_{} LowerArm_{} Hand_{} UpperLeg_{} LowerLeg_{} Foot_{} Toes_{}",
        ("L", "R"),
        {"above": "joint_Root"},
    ),
    "biped": (
        "biped",
        BIPED.replace("{p}", "Bip01 "),
        f"{BIPED_SIDE},{{p}}{{}} Toe0".replace("{p}", "Bip01 "),
        ("L", "R"),
        {"above": "Bip01"},
    ),
    "biped in metres, z up": (
        "biped",
        BIPED.replace("{p}", "Bip001_"),
        f"{BIPED_SIDE},{{p}}{{}} Toe0".replace("{p}", "Bip001 ").replace(" ", "_"),
        ("L", "R"),
        {"unit": 1.0, "up": "z"},
    ),
    "rigify": (
        "rigify",
        RIGIFY.replace("{p}", "DEF-"),
        "DEF-shoulder.{} DEF-upper_arm.{} DEF-forearm.{} DEF-hand.{} "
        "DEF-thigh.{} DEF-shin.{} DEF-foot.{} DEF-toe.{}",
        ("L", "R"),
        {"unit": 1.0, "up": "z"},
    ),
    "older rigify": (
        "rigify",
        "hips spine belly chest neck head",
        "shoulder.{} upper_arm.{} forearm.{} hand.{} thigh.{} shin.{} foot.{} toe.{}",
        ("L", "R"),
        {"unit": 1.0, "up": "z"},
    ),
    "unity": (
        "unity",
        "Hips Spine Chest UpperChest Neck Head",
        "{}Shoulder {}UpperArm {}LowerArm {}Hand {}UpperLeg {}LowerLeg {}Foot {}Toes",
        ("Left", "Right"),
        {"unit": 0.001},
    ),
    "unreal": (
        "unreal",
        "pelvis spine_01 spine_02 spine_03 neck_01 head",
        "clavicle_{} upperarm_{} lowerarm_{} hand_{} thigh_{} calf_{} foot_{} ball_{}",
        ("l", "r"),
        {"up": "z"},
    ),
    "smpl": (
        "smpl",
        "Pelvis Spine1 Spine2 Spine3 Neck Head",
        "{}_Collar {}_Shoulder {}_Elbow {}_Wrist {}_Hip {}_Knee {}_Ankle {}_Foot",
        ("L", "R"),
        {"unit": 1.0},
    ),
    "smplx": (
        "smplx",
        "pelvis spine1 spine2 spine3 neck head",
        "{}_collar {}_shoulder {}_elbow {}_wrist {}_hip {}_knee {}_ankle {}_foot",
        ("left", "right"),
        {"unit": 1.0},
    ),
    "genesis 8": (
        "daz",
        "hip abdomenLower abdomenUpper chestLower neckLower head",
        "{}Collar {}ShldrBend {}ForearmBend {}Hand {}ThighBend {}Shin {}Foot {}Toe",
        ("l", "r"),
        {},
    ),
    "motive": (
        "daz",
        "Skeleton_Hip Skeleton_Ab Skeleton_Belly Skeleton_Chest Skeleton_Neck Skeleton_Head",
        "{}Shoulder {}UArm {}FArm {}Hand {}Thigh {}Shin {}Foot {}Toe".replace("{}", "Skeleton_{}"),
        ("L", "R"),
        {"unit": 0.001},
    ),
    "valve's biped": (  # its root stands where the pelvis is
        "biped",
        "Bip01 Bip01_Spine Bip01_Spine1 Bip01_Spine4 Bip01_Neck1 Bip01_Head1",
        f"{BIPED_SIDE},{{p}}{{}} Toe0".replace("{p}", "Bip01 ").replace(" ", "_"),
        ("L", "R"),
        {"unit": 0.0254, "up": "z"},
    ),
    "beat": (
        "humanik",
        "Hips Spine Spine1 Spine2 Neck Head",
        "{}Shoulder {}Arm {}Arm1 {}Hand {}UpLeg {}Leg {}Foot {}ToeBase",
        ("L", "R"),
        {},
    ),
    "sides at the end": (
        "humanik",
        "Hips Spine Spine1 Spine2 Neck Head",
        "Shoulder.{} Arm.{} ForeArm.{} Hand.{} UpLeg.{} Leg.{} Foot.{} Toe.{}",
        ("L", "R"),
        {"unit": 1.0, "up": "z"},
    ),
    "vroid": (
        "unity",
        "{p}Hips {p}Spine {p}Chest {p}UpperChest {p}Neck {p}Head".replace("{p}", "J_Bip_C_"),
        "{}_Shoulder {}_UpperArm {}_LowerArm {}_Hand {}_UpperLeg {}_LowerLeg {}_Foot {}_ToeBase",
        ("J_Bip_L", "J_Bip_R"),
        {"unit": 1.0},
    ),
    "nobody knows": (None, "a b c d e f", "g{} h{} i{} j{} k{} l{} m{} n{}", ("1", "2"), {}),
}


def figure(size=1.0):
    """name -> (parent, offset (3,) metres) of all joints."""
    joints = {name: (parent, size * np.array(offset)) for name, (parent, offset) in MIDDLE.items()}
    for side, sign in (("left", 1), ("right", -1)):
        for name, (parent, offset) in SIDE.items():
            parent = parent if parent in MIDDLE else f"{side}_{parent}"
            joints[f"{side}_{name}"] = parent, size * np.array(offset) * [sign, 1, 1]
    return joints


def theirs(middle, side, words):
    """Our name -> a program's; names are parted by commas where spaces belong to them."""

    def parted(names):
        return names.split("," if "," in names else " ")

    names = dict(zip(MIDDLE, parted(middle), strict=True))
    for ours, word in zip(("left", "right"), words, strict=True):
        named = parted(side.replace("{}", word))
        names |= {f"{ours}_{n}": name for n, name in zip(SIDE, named, strict=True)}
    return names


def moving(joints, frames=8, start=(0.4, 0.95, -0.3), lying=False):
    """Local turns and the places (T, 3) of all joints, where somebody moves a little."""
    rng, turns, world, places = np.random.default_rng(3), {}, {}, {}
    for name, (parent, offset) in joints.items():
        turns[name] = Rotation.from_rotvec(0.25 * rng.normal(size=(frames, 3)))
        if parent is None:
            if lying:
                turns[name] = Rotation.from_euler("x", -90, degrees=True) * turns[name]
            world[name], places[name] = turns[name], np.tile(np.array(start, float), (frames, 1))
        else:
            world[name] = world[parent] * turns[name]
            places[name] = places[parent] + world[parent].apply(offset)
    return turns, places


def write_figure(path, names, joints=None, unit=0.01, up="y", rest="T", above=None, **moved):
    """Write our figure as a program would; returns where its joints are, in metres, y up."""
    joints = joints or figure()
    turns, places = moving(joints, **moved)
    own = {name: Rotation.identity() for name in joints}  # the axes of each joint at rest
    if rest == "along x":
        for parent, offset in joints.values():
            if parent is not None and own[parent].magnitude() == 0:
                own[parent] = Rotation.align_vectors([offset], [[1, 0, 0]])[0]
    if rest == "turned":  # facing -z
        own = dict.fromkeys(joints, Rotation.from_euler("y", 180, degrees=True))
    lay = Rotation.from_matrix(skeletons.UPS[up]).inv()
    children = {n: [m for m, (parent, _) in joints.items() if parent == n] for n in joints}
    lines, columns, order = ["HIERARCHY"], [], "ZXY"
    rotation = " ".join(f"{axis}rotation" for axis in order)
    position = "Xposition Yposition Zposition"
    frames = len(places["pelvis"])

    def emit(name, word):
        parent, offset = joints[name]
        at = own[parent].inv().apply(offset) if parent else np.zeros(3)
        at = lay.apply(at) / unit
        moves = f"6 {position} {rotation}" if parent is None else f"3 {rotation}"
        lines.extend([f"{word} {names[name]}", "{", f"OFFSET {at[0]:.9f} {at[1]:.9f} {at[2]:.9f}"])
        lines.append(f"CHANNELS {moves}")
        if parent is None:
            columns.append(lay.apply(places[name]) / unit)
        turn = (own[parent].inv() if parent else Rotation.identity()) * turns[name] * own[name]
        columns.append((lay * turn * lay.inv()).as_euler(order, degrees=True))
        for child in children[name]:
            emit(child, "JOINT")
        if not children[name]:
            lines.append("End Site { OFFSET 0 0 0 }")
        lines.append("}")

    if above:
        lines.extend([f"ROOT {above}", "{", "OFFSET 0 0 0", f"CHANNELS 6 {position} {rotation}"])
        columns.append(np.zeros((frames, 6)))
    emit("pelvis", "JOINT" if above else "ROOT")
    lines += ["}"] if above else []
    lines += ["MOTION", f"Frames: {frames}", "Frame Time: 0.033333"]
    lines += [" ".join(f"{v:.9f}" for v in row) for row in np.concatenate(columns, axis=1)]
    path.write_text("\n".join(lines) + "\n")
    return places


@pytest.mark.parametrize("program", PROGRAMS)
def test_joints_are_where_the_program_has_them(program, tmp_path):
    family, middle, side, words, written = PROGRAMS[program]
    names = theirs(middle, side, words)
    places = write_figure(tmp_path / "a.bvh", names, **written)
    motion = clips.read_bvh(tmp_path / "a.bvh")  # unit and vertical found, with no warning
    if family is None:
        joints = names
        with pytest.raises(skeletons.MocapError, match="no known skeleton"):
            skeletons.joint_map(motion)
    else:
        found, joints = skeletons.joint_map(motion)
        assert found == family
    points, rest = skeletons.mapped(motion, joints)
    missing = {"spine1", "spine2", "spine3"} - set(points)
    assert set(places) - set(points) <= missing, "families name spines in ways of their own"
    for ours in set(points) - {"spine1", "spine2", "spine3"}:
        np.testing.assert_allclose(points[ours], places[ours], atol=1e-5, err_msg=ours)
    if written.get("rest") != "along x":
        assert rest["left_hip"][0] > rest["right_hip"][0], "faces +z at rest"
        assert rest["neck"][1] > rest["left_hip"][1] > rest["left_ankle"][1]


def test_a_family_is_taken_where_its_proportions_are(tmp_path):
    names = theirs("Hips Chest Belly Chest2 Neck Head", XSENS, ("Left", "Right"))
    joints = figure()
    write_figure(tmp_path / "own.bvh", names, joints)
    family, found = skeletons.joint_map(clips.read_bvh(tmp_path / "own.bvh"))
    assert family == "biovision" and found["left_wrist"] == "LeftWrist"
    # without the thorax and the last third of the forearms it is CMU's conversion
    for side in ("left", "right"):
        joints[f"{side}_collar"] = ("spine3", np.zeros(3))
        joints[f"{side}_wrist"] = (f"{side}_elbow", 0.64 * joints[f"{side}_wrist"][1])
    joints["neck"] = ("spine3", np.array([0, 0.05, 0]))
    places = write_figure(tmp_path / "short.bvh", names, joints)
    motion = clips.read_bvh(tmp_path / "short.bvh")
    family, found = skeletons.joint_map(motion)
    points, _ = skeletons.mapped(motion, found)
    assert family == "cmu-bvh"
    raised = np.linalg.norm(points["left_elbow"] - places["left_elbow"], axis=1)
    np.testing.assert_allclose(raised, 0.11, atol=1e-6)
    # names alone are not enough
    joints["left_knee"] = ("left_hip", np.array([0, -0.05, 0]))
    joints["right_knee"] = ("right_hip", np.array([0, -0.05, 0]))
    write_figure(tmp_path / "odd.bvh", names, joints)
    motion = clips.read_bvh(tmp_path / "odd.bvh", unit="cm", up="y")
    with pytest.raises(skeletons.MocapError, match=r"names alone are those of cmu-bvh, biovision"):
        skeletons.joint_map(motion)
    assert skeletons.joint_map(motion, "biovision")[1]["left_knee"] == "LeftKnee", "said by hand"


def test_a_rest_pose_that_faces_elsewhere_turns_nobody(tmp_path):
    body = hmrlib.load_body()
    names = theirs("Hips Chest Belly Chest2 Neck Head", XSENS, ("Left", "Right"))
    for rest in ("T", "turned"):
        places = write_figure(tmp_path / f"{rest}.bvh", names, rest=rest)
        motion = clips.read_bvh(tmp_path / f"{rest}.bvh")
        assert skeletons.joint_map(motion)[0] == "biovision"
        made = retarget(motion, body)
        joints = np.asarray(body(made.betas, made.pose, made.translation).joints)
        for side in ("left", "right"):
            hip = joints[:, skeleton.JOINT_NAMES.index(f"{side}_hip")]
            away = np.linalg.norm(hip - places[f"{side}_hip"], axis=1)
            assert np.median(away) < 0.04, f"{rest}, {side}: {away} m"
    # of some limbs alone, no trunk can be told
    legs = {n: names[n] for n in names if n.split("_")[-1] in ("pelvis", "hip", "knee", "ankle")}
    assert retarget(motion, body, legs).error.mean() < 0.02


MIXAMO = theirs(*PROGRAMS["mixamo"][1:4])


def test_the_unit_does_not_depend_on_where_somebody_is(tmp_path):
    for metres in (0, 5, 50):
        places = write_figure(tmp_path / "a.bvh", MIXAMO, above="Root", start=(metres, 0.95, 0))
        text = (tmp_path / "a.bvh").read_text()
        motion = clips.read_bvh(tmp_path / "a.bvh")
        assert "CHANNELS 6" in text and not motion.notes
        for ours, name in MIXAMO.items():
            found = motion.positions[:, motion.names.index(name)]
            np.testing.assert_allclose(found, places[ours], atol=1e-5)


def test_a_unit_is_said_where_it_is_not_sure_and_can_be_given(tmp_path):
    path = tmp_path / "dm.bvh"
    write_figure(path, MIXAMO, unit=0.1)
    with pytest.warns(skeletons.MocapWarning, match=r"legs are 0\.8.* dm, which was taken.*CMU"):
        guessed = clips.read_bvh(path)
    assert "dm.bvh" in guessed.notes[0]
    for unit in ("dm", 0.1, "0.1"):
        given = clips.read_bvh(path, unit=unit)
        np.testing.assert_allclose(given.positions, guessed.positions)
    write_figure(path, MIXAMO, figure(0.7))  # a child in centimetres, no giant in inches
    assert np.ptp(clips.read_bvh(path).rest[:, 1]) == pytest.approx(0.7 * 1.53, abs=0.01)
    for unit in ("furlong", "nan", -1, 0, [1]):
        with pytest.raises(skeletons.MocapError, match="metres a unit of length"):
            clips.read_bvh(path, unit=unit)
    write_figure(path, MIXAMO, unit=1e-5)
    with pytest.raises(skeletons.MocapError, match="no person's"):
        clips.read_bvh(path)


@pytest.mark.parametrize("up", skeletons.UPS)
def test_the_vertical_is_found_or_given(up, tmp_path):
    path = tmp_path / "a.bvh"
    places = write_figure(path, MIXAMO, up=up)
    found, given = clips.read_bvh(path), clips.read_bvh(path, up=up)
    np.testing.assert_allclose(found.positions, given.positions, atol=1e-12)
    head = found.positions[:, found.names.index("mixamorig:Head")]
    np.testing.assert_allclose(head, places["head"], atol=1e-5)
    with pytest.raises(skeletons.MocapError, match="expected one of y, z"):
        clips.read_bvh(path, up="w")


def test_somebody_who_lies_is_not_stood_up(tmp_path):
    path = tmp_path / "a.bvh"
    places = write_figure(path, MIXAMO, lying=True, start=(0, 0.1, 3))
    with pytest.warns(
        skeletons.MocapWarning, match="rest pose stands along y, people in the motion"
    ):
        motion = clips.read_bvh(path)
    head = motion.positions[:, motion.names.index("mixamorig:Head")]
    np.testing.assert_allclose(head, places["head"], atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        str.lower,
        str.upper,
        lambda t: "\ufeff" + t,
        lambda t: t.replace("\n", "\r\n"),
        lambda t: t.replace(" ", "\t").replace("\n", " \n\n"),
        lambda t: t.replace("End Site", "End Site LeftNub").replace("{", "\n{\n"),
        lambda t: "# made by hand\n" + t.replace("MOTION", "// so\nMOTION # now\n"),
        lambda t: t.replace("OFFSET 0.0 -45.0 0.0", "OFFSET 0 -4.5e1 0E0"),
        lambda t: t.replace("Frames: 4\nFrame Time: 0.05", "Frame Time:  5e-2\nFrames:4"),
    ],
)
def test_bvh_may_be_spelt_in_many_ways(bvh, change):
    path, _ = bvh
    expected = clips.read_bvh(path, unit=0.01, up="y")
    text = change(path.read_text())
    for coding in ("utf-8", "utf-16"):
        path.write_bytes(text.removeprefix("\ufeff" * (coding == "utf-16")).encode(coding))
        motion = clips.read_bvh(path, unit=0.01, up="y")
        np.testing.assert_array_equal(motion.positions, expected.positions)
        assert [n.lower() for n in motion.names] == [n.lower() for n in expected.names]


@pytest.mark.parametrize(
    ("change", "frames", "message"),
    [
        (lambda t: t.replace("Frames: 4", "Frames: 3"), 4, "declares 3 frames and holds 4"),
        (lambda t: t.replace("Frames: 4", "Frames: 5"), 4, "declares 5 frames and holds 4"),
        (lambda t: t.replace("Frames: 4", f"Frames: {10**30}"), 4, "frames and holds 4"),
        (lambda t: t[:-40], 3, "last line is no whole frame.*|declares 4 frames and holds 3"),
        (lambda t: t[: t.rindex(" ")] + " -", 3, "last line is no whole frame"),
    ],
)
def test_all_whole_frames_are_taken(bvh, change, frames, message):
    path, _ = bvh
    whole = clips.read_bvh(path, unit=0.01, up="y")
    path.write_text(change(path.read_text()))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        motion = clips.read_bvh(path, unit=0.01, up="y")
    np.testing.assert_array_equal(motion.positions, whole.positions[:frames])
    assert any(re.search(message, str(warning.message)) for warning in caught)
    assert len(caught) == len(motion.notes)


def test_position_channels_of_other_joints_replace_offsets_unless_all_are_zero(bvh):
    path, _ = bvh
    text = path.read_text().replace("CHANNELS 1 X", "CHANNELS 4 Xposition Yposition Zposition X")
    head, motion = text.split("0.05\n")
    rows = [line.split() for line in motion.splitlines()]
    for place, expected in (("0 0 0", 45), ("0 -30 40", 50)):
        lines = [" ".join([*row[:9], place, *row[9:]]) for row in rows]
        path.write_text(head + "0.05\n" + "\n".join(lines) + "\n")
        played = clips.read_bvh(path, unit=1, up="y")
        np.testing.assert_allclose(played.bone_lengths()[:, 2], expected)


def test_joints_of_one_name_are_told_apart(bvh):
    path, _ = bvh
    path.write_text(path.read_text().replace("JOINT Spine", "JOINT Shin"))
    with pytest.warns(skeletons.MocapWarning, match="'Shin#2'"):
        motion = clips.read_bvh(path, unit=0.01, up="y")
    assert len(set(motion.names)) == 6


def test_memory_follows_from_the_size_of_a_file(tmp_path):
    path = tmp_path / "a.bvh"
    head = "HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\nCHANNELS 1 Xrotation\n"
    motion = "MOTION\nFrames: 1\nFrame Time: 0.03\n"
    chain = "".join(f"JOINT j{n} {{ OFFSET 0 1 0\n" for n in range(3000))
    path.write_text(head + chain + "}" * 3001 + motion + "0\n")
    assert len(clips.read_bvh(path, unit=0.001, up="y").names) == 3001, "no recursion"
    path.write_text(head + chain + "}" * 3001 + motion + "0\n" * 30_000)
    with pytest.raises(skeletons.MocapError, match="of which few move"):
        clips.read_bvh(path)
    path.write_text(head + 2 * chain + "}" * 6001 + motion + "0\n")
    with pytest.raises(skeletons.MocapError, match="more than 4096 joints"):
        clips.read_bvh(path)


def bones_of_a_person(scale=1.0, length="0.45", angle="deg", more=()):
    """An ASF of the bones that CMU's and HDM05's have; a `more` is one more bone at the fingers."""
    side = {"hipjoint": ("root", (1.6, -1.2, 0)), "femur": ("hipjoint", (0, -7.2, 0))}
    side |= {"tibia": ("femur", (0, -7.1, 0)), "foot": ("tibia", (0, -0.6, 2.1))}
    side |= {"clavicle": ("thorax", (3, 1, 0)), "humerus": ("clavicle", (5.1, 0, 0))}
    side |= {"radius": ("humerus", (2.9, 0, 0)), "wrist": ("radius", (1.45, 0, 0))}
    bones = {"lowerback": ("root", (0, 2, 0)), "upperback": ("lowerback", (0, 2, 0))}
    bones |= {"thorax": ("upperback", (0, 2.1, 0)), "lowerneck": ("thorax", (0, 1.6, 0))}
    bones |= {"upperneck": ("lowerneck", (0, 1.6, 0)), "head": ("upperneck", (0, 1.7, 0))}
    for word, sign in (("l", 1), ("r", -1)):
        for name, (parent, vector) in side.items():
            parent = parent if parent in ("root", "thorax") else word + parent
            bones[word + name] = parent, np.array(vector) * [sign, 1, 1]
    bones |= dict.fromkeys(more, ("lwrist", (0.5, 0, 0)))
    text = f":version 1.10\n:units\n  length {length}\n  angle {angle}\n:root\n  axis XYZ\n"
    text += "  order TX TY TZ RX RY RZ\n  position 0 0 0\n  orientation 0 0 0\n:bonedata\n"
    for name, (_, vector) in bones.items():
        size = np.linalg.norm(vector)
        x, y, z = np.array(vector) / size
        text += f"begin\n name {name}\n direction {x} {y} {z}\n length {scale * size}\n"
        text += " axis 0 0 0 XYZ\n dof rx\nend\n"
    text += ":hierarchy\nbegin\n"
    text += "\n".join(f"{parent} {name}" for name, (parent, _) in bones.items()) + "\nend\n"
    frame = f"root 0 {16 * scale} 0 0 0 0\n" + "".join(f"{name} 1\n" for name in bones)
    return text, "".join(f"{n}\n{frame}" for n in (1, 2, 3))


@pytest.mark.parametrize(
    ("scale", "length", "message"),
    [
        (1.0, "0.45", None),
        (5.644, "2.54", "the one that the file states"),
        (5.644, "1.0", "is cm, which was taken"),
        (0.05644, "1.0", "is m, which was taken"),
    ],
)
def test_the_unit_of_an_asf_is_believed_where_it_can_be(scale, length, message, tmp_path):
    skeleton_text, motion_text = bones_of_a_person(scale, length)
    (tmp_path / "07.asf").write_text(skeleton_text)
    (tmp_path / "07_01.amc").write_text(motion_text)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        motion = clips.read_amc(tmp_path / "07_01.amc")
    said = " ".join(str(warning.message) for warning in caught)
    assert message in said if message and length != "2.54" else not said
    assert skeletons.joint_map(motion)[0] == "cmu-asf"
    assert np.ptp(motion.rest[:, 1]) == pytest.approx(27.1 * 0.0254 / 0.45, rel=0.001)


def test_asf_and_amc_as_others_write_them(tmp_path):
    skeleton_text, text = bones_of_a_person(more=("lfingersend", "begin"))
    for name in ("HDM_bd.asf", "HDM_bk.ASF"):
        (tmp_path / name).write_bytes(skeleton_text.replace("\n", "\r\n").encode())
    path = tmp_path / "HDM_bd_01-01_01_120.amc"
    path.write_text(text)
    (tmp_path / "HDM_bk_01-01_01_120.AMC").write_text(text)
    motion = clips.read_amc(path)
    assert motion.fps == 120 and {"lfingersend", "begin"} < set(motion.names)
    assert len(clips.read_motion(tmp_path / "HDM_bk_01-01_01_120.AMC").positions) == 3
    with pytest.warns(skeletons.MocapWarning, match="cut off and was left out; 2 were taken"):
        path.write_text(text[:-9])
        assert len(clips.read_amc(path).positions) == 2
    degrees = clips.read_amc(tmp_path / "HDM_bk_01-01_01_120.AMC")
    path.write_text(":RADIANS\n" + text.replace(" 1\n", f" {np.radians(1):.17g}\n"))
    np.testing.assert_allclose(clips.read_amc(path).positions, degrees.positions, atol=1e-9)
    circle = skeleton_text.replace("lfemur ltibia", "lfemur ltibia\nltibia lfemur")
    (tmp_path / "HDM_bd.asf").write_text(circle)
    with pytest.raises(
        skeletons.MocapError, match="lfemur has two parents, or is its own ancestor"
    ):
        clips.read_amc(path)
    for bad, message in (
        (skeleton_text.replace("length 0.45", "length nan"), "NaN"),
        (skeleton_text.replace("length 0.45", "length 0"), "unit of length is 0"),
        (skeleton_text.replace(" dof rx", " dof sideways", 1), "degree of freedom"),
        (skeleton_text.replace("XYZ", "XYW"), "damaged"),
        (skeleton_text.replace("root lowerback", "root tail"), "bonedata has no tail"),
        (skeleton_text.replace(" name lfemur", "", 1), "missing or too short"),
        (skeleton_text.replace("begin", "begin\nbegin"), None),
    ):
        (tmp_path / "HDM_bd.asf").write_text(bad)
        if message:
            with pytest.raises(skeletons.MocapError, match=message):
                clips.read_amc(path)


# --- AMASS --------------------------------------------------------------------------------------


def smpl_like(folder):
    """The open body with its origin where SMPL has it."""
    model = files.read_model(files.OPEN_BODY)
    model["v_template"] = model["v_template"] + np.float32([0, -0.22, 0.03])
    files.write_model(folder / "smpl_like.npz", model)
    return hmrlib.load_body(folder / "smpl_like.npz")


def clip_of(poses=(4, 156), seed=5, **more):
    rng = np.random.default_rng(seed)
    clip = {"poses": 0.2 * rng.normal(size=poses), "trans": rng.normal(size=(poses[0], 3))}
    return clip | {"mocap_framerate": 30.0, "betas": np.zeros(16)} | more


def test_amass_puts_every_vertex_where_it_was(tmp_path):
    body, betas = smpl_like(tmp_path), np.array([[1.5, -0.8, 0.6]])
    clip = clip_of(betas=np.pad(betas[0], (0, 13)))
    np.savez(tmp_path / "a.npz", **clip)
    recorded = np.zeros((4, 24, 3))
    recorded[:, :22] = clip["poses"][:, :66].reshape(4, 22, 3)
    there = np.asarray(body(betas.repeat(4, 0), recorded, clip["trans"]).vertices)  # z up
    pose, translation, _ = clips.read_amass(tmp_path / "a.npz", body=body)
    here = np.asarray(body(betas.repeat(4, 0), pose, translation).vertices)
    np.testing.assert_allclose(here, there @ skeletons.UPS["z"].T, atol=1e-5)
    library, _ = gather.build_library(tmp_path, tmp_path / "out", body)
    with np.load(library) as file:
        np.testing.assert_allclose(file["betas"][0, :3], betas[0], atol=1e-6)
        np.testing.assert_allclose(file["translation"][:4], translation, atol=1e-6)
    # without a body SMPL's mean one is meant
    np.savez(tmp_path / "b.npz", **clip | {"betas": np.zeros(16)})
    np.testing.assert_allclose(
        clips.read_amass(tmp_path / "b.npz")[1],
        clips.read_amass(tmp_path / "b.npz", body=body)[1],
        atol=5e-4,
    )
    y_up = clips.read_amass(tmp_path / "b.npz", up="y")[1]
    np.testing.assert_allclose(y_up, clip["trans"], atol=1e-12)


@pytest.mark.parametrize(
    "more",
    [
        {"poses": np.zeros((4, 165)), "labels": np.array([["A", None]], object)},
        {"poses": np.zeros((4, 72))},
        {"poses": np.zeros((4, 52, 3))},
        {"mocap_framerate": np.array([30.0]), "gender": b"male"},
        {"mocap_framerate": np.int64(30), "mocap_frame_rate": 30.0},
        {"betas": np.array([None], object)},
        {"root_orient": np.zeros((4, 3)), "pose_body": np.zeros((4, 63)), "poses": None},
    ],
)
def test_amass_as_it_comes(more, tmp_path):
    clip = {name: value for name, value in (clip_of() | more).items() if value is not None}
    np.savez(tmp_path / "a.npz", **clip)
    pose, translation, _ = clips.read_amass(tmp_path / "a.npz")
    assert pose.shape == (4, 24, 3) and translation.shape == (4, 3)


BAD_CLIPS = {
    "nothing.npz": {"gender": "male", "betas": np.zeros(16)},
    "no rate.npz": clip_of() | {"mocap_framerate": np.zeros(0)},
    "two rates.npz": clip_of(fps=60.0),
    "fast.npz": clip_of(mocap_framerate=1e12),
    "slow.npz": clip_of(mocap_framerate=1e-9),
    "nan rate.npz": clip_of(mocap_framerate=np.nan),
    "text rate.npz": clip_of(mocap_framerate="60"),
    "nan.npz": clip_of(trans=np.full((4, 3), np.nan)),
    "huge.npz": clip_of() | {"poses": np.full((4, 156), 1e308)},
    "ragged.npz": clip_of() | {"poses": np.array([[1.0], [1.0, 2.0]], object)},
    "text.npz": clip_of() | {"poses": np.array([["a"] * 156] * 4)},
    "complex.npz": clip_of() | {"poses": np.zeros((4, 156), complex)},
    "flat.npz": clip_of() | {"poses": np.zeros(156)},
    "none.npz": clip_of(poses=(0, 156)),
    "short.npz": clip_of(trans=np.zeros((3, 3))),
}


def test_one_bad_clip_of_any_kind_ends_nothing(tmp_path, capsys):
    folder, out = tmp_path / "clips", tmp_path / "clips" / "out"
    folder.mkdir()
    for name, clip in BAD_CLIPS.items():
        np.savez(folder / name, **clip)
        with pytest.raises(skeletons.MocapError, match=name):
            clips.read_amass(folder / name)
    np.savez(folder / "good.npz", **clip_of())
    write_figure(folder / "strange.bvh", theirs(*PROGRAMS["nobody knows"][1:4]))
    (folder / "a folder.bvh").mkdir()
    (folder / "empty.bvh").write_text("")
    (folder / "alone.amc").write_bytes(bytes(range(256)))
    (folder / "no zip.npz").write_bytes(b"PK\x03\x04 and no more")
    np.savez_compressed(folder / "bomb.npz", poses=np.zeros((40_000, 156)), fps=30.0)
    with zipfile.ZipFile(folder / "liar.npz", "w") as archive, archive.open("poses.npy", "w") as f:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**12, 156)}
        np.lib.format.write_array_header_1_0(f, header)
    bad = {
        *BAD_CLIPS,
        "a folder.bvh",
        "strange.bvh",
        "empty.bvh",
        "alone.amc",
        "no zip.npz",
        "bomb.npz",
        "liar.npz",
    }
    assert main(["data", "mocap", str(folder), str(out)]) == 0
    table = capsys.readouterr().out
    assert f"{len(bad)} of {len(bad) + 1} clips were skipped" in table
    reasons = dict(line.split("`: ") for line in table.splitlines() if line.startswith("- skipped"))
    assert {name.removeprefix("- skipped `") for name in reasons} == bad
    assert all(name.removeprefix("- skipped `") in reason for name, reason in reasons.items())
    # a second run does not take up what the first wrote below the folder
    assert main(["data", "mocap", str(folder), str(out)]) == 0
    assert f"{len(bad)} of {len(bad) + 1} clips" in capsys.readouterr().out


def test_whatever_a_reader_raises_is_a_skip(tmp_path, monkeypatch):
    """Faults of our own or of a library below, which nobody foresaw, end no run either."""
    for name in ("a.npz", "b.npz"):
        np.savez(tmp_path / name, **clip_of())
    read = clips.read_amass

    def fails(path, *given):
        if path.name == "a.npz":
            raise KeyError("what?")
        return read(path, *given)

    monkeypatch.setattr(gather, "read_amass", fails)
    _, table = gather.build_library(tmp_path, tmp_path / "out", hmrlib.load_body())
    assert "skipped `a.npz`" in table and "a.npz: KeyError: 'what?'" in table


# --- what is kept, and what is said of files ----------------------------------------------------


def test_a_clip_is_made_again_when_what_it_was_made_from_has_changed(tmp_path):
    folder, out = tmp_path / "clips", tmp_path / "out"
    folder.mkdir()
    np.savez(folder / "a.npz", **clip_of(poses=(31, 156)))
    body, other = hmrlib.load_body(), smpl_like(tmp_path)

    def made(body=body, fps=30.0, **options):
        library, _ = gather.build_library(folder, out, body, fps, **options)
        with np.load(library) as file:
            return file["pose"], file["translation"], float(file["fps"])

    first = made()
    kept = out / "clips" / "a.npz.npz"
    stamp = kept.stat().st_mtime_ns
    made()
    assert kept.stat().st_mtime_ns == stamp
    pose, _, fps = made(fps=15.0)
    assert fps == 15 and len(pose) == 2 * 16
    assert np.abs(made(up="y")[1] - first[1]).max() > 0.1
    assert np.abs(made(joints={"*.npz": {"up": "y"}})[1] - first[1]).max() > 0.1
    assert np.abs(made(other)[1] - first[1]).max() > 0.01
    np.testing.assert_array_equal(made()[0], first[0])
    np.savez(folder / "a.npz", **clip_of(poses=(31, 156), seed=6))
    assert np.abs(made()[0] - first[0]).max() > 0.1
    with np.load(kept) as file:
        clip = {name: file[name] for name in file.files if name != "key"}
    np.savez(kept, **clip | {"pose": np.zeros((31, 24, 3))})  # as an earlier version left it
    assert np.abs(made()[0]).max() > 0.1
    kept.write_bytes(kept.read_bytes()[:100])
    assert np.abs(made()[0]).max() > 0.1


def test_files_are_told_apart_by_patterns(tmp_path):
    rules = gather.read_rules(
        {"dances/*": {"unit": "inch", "up": "z"}, "*.bvh": {"left_hip": "Hip"}, "*.amc": "cmu-asf"},
        {"unit": "cm", "up": None},
    )
    assert gather.rule_for(rules, "dances/a.bvh") == {"unit": "inch", "up": "z"}
    assert gather.rule_for(rules, "x/b.bvh") == {
        "unit": "cm",
        "up": None,
        "joints": {"left_hip": "Hip"},
    }
    assert gather.rule_for(rules, "c.amc")["joints"] == "cmu-asf"
    assert gather.rule_for(rules, "d.npz") == {"unit": "cm", "up": None}
    assert gather.read_rules({"left_hip": "Hip"}, {})[0] == ("*", {"joints": {"left_hip": "Hip"}})
    for joints, message in (
        ({"*.bvh": {"unit": "furlong"}}, r"pattern '\*\.bvh': unit 'furlong'"),
        ({"*.bvh": {"up": "sideways"}}, "up 'sideways'"),
        ({"*.amc": {"fps": "fast"}}, "'fast' frames a second"),
        ({"*.bvh": "martian"}, "unknown skeleton 'martian'"),
        ({"*.bvh": {"left_leg": "Hip"}}, "not ours"),
        ({"*.bvh": 3}, "expected a map of joints"),
        ({"left_hip": 3}, "'left_hip': expected a joint's name"),
        ({"left_hip": {"Hip": "half"}}, "expected a joint's name"),
        ({"left_hip": {}}, "expected a joint's name"),
        ({"left_hip": ["Hip"]}, "expected a joint's name"),
        ({"left_hip": {"Hip": 10**400}}, "expected a joint's name"),
        ({"left_hip": {"Hip": float("nan")}}, "expected a joint's name"),
        ({"left_hip": "Hip+w"}, "expected a joint's name"),
        ([1, 2], "expected a map of joints"),
    ):
        with pytest.raises(skeletons.MocapError, match=message):
            gather.build_library(tmp_path, tmp_path / "out", None, joints=joints)
    for fps in (0, -1, np.nan, np.inf, 1e9, "fast"):
        with pytest.raises(skeletons.MocapError, match="frames a second"):
            gather.build_library(tmp_path, tmp_path / "out", None, fps)


def test_the_command_takes_unit_axis_and_patterns(tmp_path, capsys):
    clips, out = tmp_path / "clips", tmp_path / "out"
    clips.mkdir()
    for name in ("a.npz", "b.npz"):
        np.savez(clips / name, **clip_of())
    (tmp_path / "joints.json").write_text('\ufeff{"a.*": {"up": "z"}}', "utf-8")
    given = ["--joints", str(tmp_path / "joints.json"), "--unit", "m", "--up", "y"]
    assert main(["data", "mocap", str(clips), str(out), *given]) == 0
    with np.load(out / "library.npz") as library:
        first, second = library["translation"][:8].reshape(2, 4, 3)
    assert np.abs(first - second).max() > 0.1, "one z up, the other y up"
    capsys.readouterr()
    assert main(["data", "mocap", str(clips), str(out), "--unit", "furlong"]) == 2
    assert "unit 'furlong': expected one of m, dm, cm" in capsys.readouterr().err
    for text, message in (
        (b"{no JSON", "expected JSON"),
        (b"[" * 100_000, "expected JSON"),
        (b"\xff", "expected JSON"),
        (b'{"a.*": {"up": "w"}}', "up 'w'"),
    ):
        (tmp_path / "joints.json").write_bytes(text)
        assert main(["data", "mocap", str(clips), str(out), *given]) == 2
        told = capsys.readouterr().err
        assert "joints.json: " in told and message in told


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
    motion = clips.read_motion(CMU / clip)
    assert motion.bone_lengths().std(axis=0).max() < 1e-9
    lowest = motion.positions[..., 1].min(axis=1)
    assert abs(np.median(lowest)) < 0.12, "feet near the floor"
    assert 1.2 < np.ptp(motion.positions[..., 1], axis=1).max() < 2.3
    points, _ = skeletons.mapped(motion, skeletons.joint_map(motion)[1])
    thigh = np.linalg.norm(points["left_hip"] - points["left_knee"], axis=-1)
    assert 0.3 < thigh.mean() < 0.55


@needs_cmu
def test_real_recordings_are_retargeted():
    body = hmrlib.load_body()
    for clip in ("asfamc/16/16_15.amc", "bvh/motionbuilder/007_04.bvh"):
        motion = clips.read_motion(CMU / clip)
        motion = clips.resampled(motion, 6)
        made = retarget(motion, body)
        assert made.error.mean() < 0.025
        angles = np.asarray(fitting.pose_angles(made.pose))[:, 1:]
        beyond = np.maximum(fitting.LEAST[1:] - angles, angles - fitting.MOST[1:])
        assert np.degrees(beyond.max()) < 20 and np.degrees(np.maximum(beyond, 0).mean()) < 0.5
