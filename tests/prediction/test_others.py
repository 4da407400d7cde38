"""Results of SPIN, 4D-Humans and AMASS, in the form in which they write them."""

import io
import pickle

import joblib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import hmrlib
from hmrlib.cli import main
from hmrlib.io import safe_pickle
from hmrlib.motion import export
from hmrlib.motion.clips.amass import SMPL_PELVIS
from hmrlib.prediction import PredictionError, others
from hmrlib.skeleton import POSES, pose_from_degrees


@pytest.fixture(scope="module")
def body():
    return hmrlib.load_body()


def waving(count):
    pose = np.tile(pose_from_degrees(POSES["waving"]), (count, 1, 1))
    pose[:, 0] = [np.pi, 0, 0]
    pose[:, 18, 1] += np.linspace(0, 1, count)
    return pose


def spin(path, count=3, **changes):
    arrays = {
        "pred_joints": np.zeros((count, 17, 3)),
        "pose": waving(count).reshape(count, 72),
        "betas": np.zeros((count, 10)),
        "camera": np.tile([0.9, 0.1, -0.05], (count, 1)),
    }
    np.savez(path, **(arrays | changes))
    return path


def tracks(path, count=12, **dump):
    """As PHALP's tracker writes it: one person throughout, but for two frames, and one at times."""
    turns = Rotation.from_rotvec(waving(count).reshape(-1, 3)).as_matrix().reshape(count, 24, 3, 3)
    frames = {}
    for i in range(count):
        smpl = {
            "global_orient": turns[i, :1].astype("float32"),
            "body_pose": turns[i, 1:].astype("float32"),
            "betas": np.zeros(10, "float32"),
        }
        there = [1] if i < 3 else [1, 2]
        frames[f"frames/{i:06d}.jpg"] = {
            "time": i,
            "shot": 0,
            "frame_path": f"frames/{i:06d}.jpg",
            "tid": there,
            "tracked_time": [1 if i in (5, 6) else 0, 0][: len(there)],
            "smpl": [smpl] * len(there),
            "camera": [np.array([0.1, 0.2, 40.0 + k], "float32") for k in range(len(there))],
            "size": [[480, 640]] * len(there),
            "mask": [[{"size": [480, 640], "counts": "abc"}]] * len(there),
            "conf": [np.float32(0.9)] * len(there),
        }
    joblib.dump(frames, path, **dump)
    return path


def test_spin(body, tmp_path):
    people = others.read_results(spin(tmp_path / "spin.npz"), body)
    assert len(people) == 3
    np.testing.assert_allclose(people[2].pose, waving(3)[2], atol=1e-6)
    # the pelvis is where SPIN's weak camera has SMPL's
    s, x, y = 0.9, 0.1, -0.05
    expected = 112 + 112 * s * np.add(SMPL_PELVIS[:2], [x, y])
    np.testing.assert_allclose(people[0].keypoints_2d("smpl-24")[0], expected, atol=0.2)
    np.testing.assert_allclose(people[0].theta[3:75], waving(3)[0].ravel(), atol=1e-6)
    people[0].save(tmp_path / "p.glb")


@pytest.mark.parametrize("dump", [{"compress": 3}, {}, {"compress": 3, "protocol": 4}])
def test_4d_humans(body, tmp_path, dump):
    one, two = others.read_results(tracks(tmp_path / "demo_walk.pkl", **dump), body)
    assert len(one) == 12 and len(two) == 9 and two.start == 3
    assert one.seen.tolist() == [i not in (5, 6) for i in range(12)]
    np.testing.assert_allclose(one.pose, waving(12), atol=1e-5)
    focal = 5000 / 256 * 640
    assert one.camera.size == (640, 480) and one.camera.focal == focal
    pelvis = one.camera.project(one.joints()[0, 0])[0]
    place = np.add(SMPL_PELVIS, [0.1, 0.2, 40])
    np.testing.assert_allclose(pelvis, focal * place[:2] / place[2] + [320, 240], atol=0.1)
    two.save(tmp_path / "two.bvh")


def test_amass(body, tmp_path):
    pose = waving(10)
    pose[:, 0] = np.linspace(0, 2, 10)[:, None] * [0, 1, 0]
    translation = np.linspace(0, 1, 10)[:, None] * [0, 0, 3.0]
    path = export.save_motion(tmp_path / "clip.npz", body, pose, translation, np.zeros(10), 30)
    (track,) = others.read_results(path, body)
    upright = track.joints() * [1, -1, -1]
    wanted = np.asarray(body(None, pose, translation).joints)
    away = upright - wanted
    np.testing.assert_allclose(away, np.broadcast_to(away[0, 0], away.shape), atol=1e-3)
    pixels, depth = track.camera.project(track.joints())
    assert (depth > 0.5).all() and ((pixels > 0) & (pixels < [640, 480])).all()


def test_hmr_results_writes_what_was_read(tmp_path, capsys):
    spin(tmp_path / "spin.npz", 2)
    out = tmp_path / "out"
    assert main(["results", str(tmp_path / "spin.npz"), "--out", str(out), "--save", "obj"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["person_0.obj", "person_1.obj"]
    assert main(["results", str(tracks(tmp_path / "t.pkl")), "--out", str(out)]) == 0
    assert {"track_0.npz", "track_1.bvh", "track_1.glb"} <= {p.name for p in out.iterdir()}
    capsys.readouterr()
    assert main(["results", str(tmp_path / "missing.npz"), "--out", str(out)]) == 2
    assert "there is no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pose": np.zeros((3, 71))}, "expected SPIN's pose"),
        ({"betas": np.zeros((2, 10))}, "3 poses, betas"),
        ({"camera": np.zeros((3, 3))}, "no positive scale"),
        ({"pose": np.full((3, 72), np.nan)}, "NaN"),
    ],
)
def test_what_is_not_of_spin_is_told(body, tmp_path, changes, message):
    with pytest.raises(PredictionError, match=message):
        others.read_results(spin(tmp_path / "spin.npz", **changes), body)


def test_what_is_not_of_4d_humans_is_told(body, tmp_path):
    path = tmp_path / "t.pkl"
    for content in ({}, {"a": 3}, [1, 2], {"a": {"time": 0, "tid": [1]}}):
        joblib.dump(content, path)
        with pytest.raises(PredictionError, match=r"t\.pkl: (expected|nobody)"):
            others.read_results(path, body)
    path.write_bytes(tracks(path).read_bytes()[:-300])
    with pytest.raises(safe_pickle.ModelFileError, match="damaged"):
        others.read_results(path, body)
    with pytest.raises(PredictionError, match=r"expected \.npz"):
        (tmp_path / "a.txt").write_text("")
        others.read_results(tmp_path / "a.txt", body)


class Hostile:
    def __reduce__(self):
        return (exec, ("raise SystemExit",))


def test_a_hostile_file_runs_nothing(body, tmp_path):
    path = tmp_path / "t.pkl"
    path.write_bytes(pickle.dumps({"a": Hostile()}))
    with pytest.raises(safe_pickle.UnsafePickleError, match="Nothing was run"):
        others.read_results(path, body)


def test_joblib_arrays_of_any_order_and_what_claims_too_much():
    arrays = {"f": np.asfortranarray(np.arange(12.0).reshape(3, 4)), "s": np.array(3.0)}
    arrays |= {"e": np.zeros((0, 3)), "i": np.arange(5, dtype=">i4")}
    file = io.BytesIO()
    joblib.dump(arrays, file, compress=3)
    file.seek(0)
    for name, array in safe_pickle.load_joblib(file).items():
        np.testing.assert_array_equal(array, arrays[name])
    file = io.BytesIO()
    joblib.dump(np.zeros(2**26, "float64"), file, compress=9)  # 512 MiB of nothing
    file.seek(0)
    with pytest.raises(safe_pickle.ModelFileError, match="unfolds"):
        safe_pickle.load_joblib(file)
