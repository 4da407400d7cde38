"""Motions as files: AMASS's, BVH, glTF; read back, the joints are where they were."""

import json
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

import hmrlib
from hmrlib.body import gltf
from hmrlib.body.files import ModelFileError
from hmrlib.cli import main
from hmrlib.io import read_npz
from hmrlib.motion import clips, export
from hmrlib.skeleton import JOINT_NAMES, POSES, pose_from_degrees

FPS = 30.0
BETAS = np.array([1.5, -1.0, 0.5, 0, 0, 0, 0, 0, 0, 0.7])


@pytest.fixture(scope="module")
def body():
    return hmrlib.load_body()


@pytest.fixture(scope="module")
def clip(body):
    """A walk into a wave: pose, translation, and the joints (T, 24, 3)."""
    names = ["standing", "walking", "running", "waving", "bowing"]
    poses = np.stack([pose_from_degrees(POSES[name]) for name in names])
    poses[:, 0] += np.radians([[0, 0, 0], [0, 40, 0], [0, 95, 0], [20, 170, 0], [0, 260, 0]])
    times, frames = np.arange(len(poses)), np.linspace(0, len(poses) - 1, 61)
    pose = np.stack(
        [Slerp(times, Rotation.from_rotvec(poses[:, j]))(frames).as_rotvec() for j in range(24)], 1
    )
    pose[20:, 7] = [0.0, 0.0, 0.0]
    along = np.linspace(0, 1, 61)[:, None]
    translation = along * [1.5, 0, -0.7] + [0.2, 1.0, 0.4] + 0.1 * np.sin(6 * along)
    posed = body(BETAS[None], pose, translation)
    return pose, translation, np.asarray(posed.joints, float)


def save(body, clip, path):
    path.parent.mkdir(exist_ok=True)
    return export.save_motion(path, body, *clip[:2], BETAS, FPS)


def test_npz_is_read_back_by_the_reader_of_amass(body, clip, tmp_path):
    path = save(body, clip, tmp_path / "motion.npz")
    pose, translation, _ = clips.read_amass(path, FPS, body)
    joints = np.asarray(body(BETAS[None], pose, translation).joints)
    assert len(joints) == 61
    np.testing.assert_allclose(joints, clip[2], atol=1e-3)


def test_npz_has_the_fields_of_amass(body, clip, tmp_path):
    with np.load(save(body, clip, tmp_path / "motion.npz")) as arrays:
        assert arrays["poses"].shape == (61, 72) and arrays["trans"].shape == (61, 3)
        assert arrays["mocap_framerate"] == FPS and str(arrays["gender"]) == "neutral"
        # z is up: it stands about a metre above the floor, and the head is above the pelvis
        assert np.ptp(arrays["trans"][:, 2]) < 0.3 < np.ptp(arrays["trans"][:, 0])


def test_bvh_is_read_back(body, clip, tmp_path):
    motion = clips.read_bvh(save(body, clip, tmp_path / "motion.bvh"), unit="cm", up="y")
    assert motion.fps == pytest.approx(FPS, rel=1e-6)
    order = [motion.names.index(name) for name in JOINT_NAMES]
    np.testing.assert_allclose(motion.positions[:, order], clip[2], atol=1e-3)
    assert [motion.names[motion.parents[i]] for i in order[1:]] == [
        JOINT_NAMES[parent] for parent in body.parents[1:]
    ]


def test_bvh_tells_unit_and_axis_by_itself(body, clip, tmp_path):
    motion = clips.read_bvh(save(body, clip, tmp_path / "motion.bvh"))
    order = [motion.names.index(name) for name in JOINT_NAMES]
    np.testing.assert_allclose(motion.positions[:, order], clip[2], atol=1e-3)


def test_bvh_at_gimbal_lock(body, tmp_path):
    pose = np.zeros((3, 24, 3))
    turns = Rotation.from_euler("ZXY", [[30, 90, 0], [20, -90, 40], [10, 89.9999, 5]], degrees=True)
    pose[:, 16] = turns.as_rotvec()
    path = export.save_motion(tmp_path / "m.bvh", body, pose, np.zeros((3, 3)))
    motion = clips.read_bvh(path, unit="cm", up="y")
    joints = np.asarray(body(None, pose).joints)
    order = [motion.names.index(name) for name in JOINT_NAMES]
    np.testing.assert_allclose(motion.positions[:, order], joints, atol=1e-3)


def read_glb(path):
    """The document, and its accessors as arrays."""
    data = path.read_bytes()
    (length,) = struct.unpack("<I", data[12:16])
    document, binary = json.loads(data[20 : 20 + length]), data[28 + length :]
    columns = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}
    types = {5121: "u1", 5125: "<u4", 5126: "<f4"}
    arrays = []
    for accessor in document["accessors"]:
        view = document["bufferViews"][accessor["bufferView"]]
        array = np.frombuffer(
            binary,
            types[accessor["componentType"]],
            accessor["count"] * columns[accessor["type"]],
            view["byteOffset"],
        )
        arrays.append(array.reshape(accessor["count"], -1))
    return document, arrays


def play(document, arrays, times):
    """The nodes' places (T, 24, 3), by the rules of glTF alone."""
    nodes, (animation,) = document["nodes"], document["animations"]
    parents = {child: i for i, node in enumerate(nodes) for child in node.get("children", [])}
    local = {}
    for channel in animation["channels"]:
        sampler = animation["samplers"][channel["sampler"]]
        keys, values = arrays[sampler["input"]][:, 0], arrays[sampler["output"]]
        path, at = channel["target"]["path"], times.clip(keys[0], keys[-1])
        if path == "rotation" and len(keys) > 1:
            found = Slerp(keys, Rotation.from_quat(values))(at)
        elif path == "rotation":
            found = Rotation.from_quat(np.repeat(values, len(times), 0))
        else:
            found = np.stack([np.interp(at, keys, column) for column in values.T], 1)
        local[channel["target"]["node"], path] = found
    places, turns = {}, {}
    for i in range(24):  # parents come first
        node, parent = nodes[i], parents.get(i)
        moved = local.get((i, "translation"), np.tile(node["translation"], (len(times), 1)))
        turn = local[i, "rotation"]
        places[i] = moved if parent is None else places[parent] + turns[parent].apply(moved)
        turns[i] = turn if parent is None else turns[parent] * turn
    return np.stack([places[i] for i in range(24)], 1)


def test_glb_plays_the_motion_with_few_keys(body, clip, tmp_path):
    document, arrays = read_glb(save(body, clip, tmp_path / "motion.glb"))
    joints = play(document, arrays, np.arange(61) / FPS)
    np.testing.assert_allclose(joints, clip[2], atol=1e-3)
    (animation,) = document["animations"]
    counts = [len(arrays[sampler["input"]]) for sampler in animation["samplers"]]
    assert len(document["skins"]) == 1 and len(counts) == 25
    assert sum(counts) < 0.25 * 61 * 25  # the clip goes evenly from pose to pose
    assert "targets" not in document["meshes"][0]["primitives"][0]
    keys = {sampler["input"] for sampler in animation["samplers"]}
    for accessor, array in zip(document["accessors"], arrays, strict=True):
        if "min" in accessor:
            assert len(accessor["min"]) == len(accessor["max"]) == array.shape[1]
            np.testing.assert_array_equal(accessor["min"], array.min(axis=0))
            np.testing.assert_array_equal(accessor["max"], array.max(axis=0))
    assert all("min" in document["accessors"][key] for key in keys)  # the format asks for them


@pytest.mark.skipif(not shutil.which("blender"), reason="needs Blender")
@pytest.mark.parametrize("suffix", [".bvh", ".glb"])
def test_blender_sees_the_joints_where_they_are(body, clip, tmp_path, suffix):
    path, out = save(body, clip, tmp_path / f"motion{suffix}"), tmp_path / "joints.json"
    script = str(Path(__file__).with_name("blender_joints.py"))
    command = ["blender", "--background", "--factory-startup", "--python-exit-code", "1"]
    command += ["--python", script, "--", str(path), str(int(FPS)), str(out)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    frames = json.loads(out.read_text())
    x, y, z = np.array([[frame[name] for name in JOINT_NAMES] for frame in frames]).T
    np.testing.assert_allclose(np.stack([x, z, -y]).T, clip[2], atol=1e-3)  # its z is up


def test_keys_are_set_where_they_are_needed():
    line = np.concatenate([np.linspace(0, 1, 11), np.linspace(1, 0.5, 6)[1:]])[:, None]
    np.testing.assert_array_equal(gltf.sparse_keys(line, gltf.LINE, 1e-6), [0, 10, 15])
    np.testing.assert_array_equal(gltf.sparse_keys(0 * line, gltf.LINE, 1e-6), [0])


def test_hmr_data_mocap_takes_both(body, clip, tmp_path, capsys):
    few = [array[::8] for array in clip]
    save(body, few, tmp_path / "in" / "a.npz")
    save(body, few, tmp_path / "in" / "b.bvh")
    assert main(["data", "mocap", str(tmp_path / "in"), str(tmp_path / "out")]) == 0
    assert "| . | 2 |" in capsys.readouterr().out
    library = read_npz(tmp_path / "out" / "library.npz")
    for i, close in ((0, 1e-3), (1, 0.01)):  # a BVH's skeleton is fitted anew
        rows = (library["clip"] == i) & ~library["mirrored"]
        pose, translation = library["pose"][rows], library["translation"][rows]
        joints = np.asarray(body(library["betas"][i : i + 1], pose, translation).joints)
        assert np.linalg.norm(joints - few[2], axis=-1).mean() < close


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "m.fbx"}, "m.fbx: a motion is written as"),
        ({"pose": np.zeros((0, 24, 3))}, "expected a pose"),
        ({"pose": np.zeros((2, 22, 3))}, "expected a pose"),
        ({"pose": np.full((2, 24, 3), np.nan)}, "finite"),
        ({"fps": 0.0}, "frames a second"),
    ],
)
def test_what_is_no_motion_is_refused(body, tmp_path, change, message):
    given = {"path": "m.bvh", "pose": np.zeros((2, 24, 3)), "fps": 30.0} | change
    path = tmp_path / given["path"]
    with pytest.raises(ModelFileError, match=message):
        export.save_motion(path, body, given["pose"], np.zeros((2, 3)), fps=given["fps"])
    assert not path.exists()
