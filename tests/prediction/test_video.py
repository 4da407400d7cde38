"""Videos: frames in and out, who is whom, gaps, smoothing without lag, motions as files."""

import json

import matplotlib.cbook
import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

import hmrlib
from hmrlib.camera import Camera
from hmrlib.cli import main
from hmrlib.motion import clips, smooth
from hmrlib.prediction import PredictionError, frames, video
from hmrlib.skeleton import POSES, pose_from_degrees

pytestmark = pytest.mark.slow

FPS = 25.0


@pytest.fixture(scope="module")
def body():
    return hmrlib.load_body()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Forty frames of a photograph that shakes a little, 224 x 262 pixels."""
    path = tmp_path_factory.mktemp("clip") / "shaking.mp4"
    hopper = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    with Image.open(hopper) as picture:
        large = picture.resize((240, 280))
    rng = np.random.default_rng(0)
    with frames.writer(path, FPS, (224, 262)) as write:
        for left, top in rng.integers(0, 3, (40, 2)):
            write(np.asarray(large.crop((left, top, left + 224, top + 262))))
    return path


# --- smoothing --------------------------------------------------------------------------------


def swinging(count=100, speed=1.0):
    """Rotations (T, 2, 3) of a pendulum that swings `speed` times a second, and of one that turns
    evenly about another axis."""
    time = np.arange(count) / FPS
    swing = 0.8 * np.sin(2 * np.pi * speed * time)[:, None] * [0.6, 0.8, 0]
    even = Rotation.from_rotvec([0.3, 0.2, -0.4]) * Rotation.from_rotvec(
        time[:, None] * [0, 2.5, 0]
    )
    return np.stack([swing, even.as_rotvec()], 1)


def apart(one, other):
    """(T, J) radians."""
    turn = Rotation.from_rotvec(one.reshape(-1, 3)).inv() * Rotation.from_rotvec(
        other.reshape(-1, 3)
    )
    return turn.magnitude().reshape(one.shape[:-1])


def noisy(pose, sigma=0.05, seed=0):
    noise = np.random.default_rng(seed).normal(0, sigma, pose.shape)
    turns = Rotation.from_rotvec(pose.reshape(-1, 3)) * Rotation.from_rotvec(noise.reshape(-1, 3))
    return turns.as_rotvec().reshape(pose.shape)


def test_an_even_turn_passes_as_it_is_through_half_turns_too():
    clean = swinging()[:, 1:]
    np.testing.assert_allclose(apart(smooth.smooth_rotations(clean, FPS), clean), 0, atol=1e-6)


def test_smoothing_takes_noise_off_and_leaves_the_swing():
    clean = swinging()
    before, after = noisy(clean), smooth.smooth_rotations(noisy(clean), FPS)
    assert apart(after, clean).mean() < 0.55 * apart(before, clean).mean()
    assert np.abs(after[10:-10, 0]).max() > 0.9 * np.abs(clean[:, 0]).max()


def test_smoothing_does_not_lag():
    clean = swinging(200)
    after = smooth.smooth_rotations(noisy(clean), FPS)
    errors = [apart(after[10:-10], clean[10 + s : 190 + s])[:, 0].mean() for s in range(-5, 6)]
    assert np.argmin(errors) == 5  # no shift fits better than none


def test_weights_at_an_end_do_not_swing_out():
    times = np.arange(20) / FPS
    for at in (0, 1, 10, 19):
        weights = smooth.local_weights(times, times[at], 0.1)
        assert weights.sum() == pytest.approx(1) and np.abs(weights).max() < 0.7
        assert weights @ (3 + 2 * times) == pytest.approx(3 + 2 * times[at])


def test_gaps_are_filled_at_an_even_speed():
    clean = swinging(30)
    known = np.ones(30, bool)
    known[10:15] = False
    holed = np.where(known[:, None, None], clean, 9.0)
    filled = smooth.fill_rotations(holed, known)
    np.testing.assert_allclose(apart(filled[:, 1], clean[:, 1]), 0, atol=1e-6)
    assert (apart(filled, clean)[known] < 1e-6).all() and apart(filled, clean).max() < 0.3
    places = np.arange(30.0)[:, None] * [1, 2]
    np.testing.assert_allclose(smooth.fill_places(places * known[:, None], known), places)


def test_jitter_is_the_mean_acceleration():
    time = np.arange(9)[:, None, None] / FPS
    assert smooth.jitter(3 * time**2 * [[1.0, 0, 0]], FPS) == pytest.approx(6)
    assert smooth.jitter(np.zeros((2, 24, 3)), FPS) == 0


# --- tracks -----------------------------------------------------------------------------------


def test_two_who_pass_each_other_are_not_mixed_up():
    boxes = []
    for number in range(50):
        if number % 7 != 3:  # lost for a frame now and then
            boxes.append((number, np.array([4.0 * number, 0, 4 * number + 100, 200])))
        boxes.append((number, np.array([300 - 4.0 * number, 120, 400 - 4 * number, 320])))
    one, other = video.follow(boxes, FPS)
    assert len(one) == 43 and len(other) == 50
    assert {boxes[i][1][1] for i in one} == {0.0} and {boxes[i][1][1] for i in other} == {120.0}


def test_who_is_seen_for_a_moment_is_no_track_and_who_comes_back_late_is_new():
    box = np.array([0.0, 0, 100, 200])
    boxes = [(n, box) for n in [*range(20), *range(60, 80)]] + [(85, box + 500)]
    assert [len(track) for track in video.follow(boxes, FPS)] == [20, 20]
    assert video.follow([], FPS) == []


def found(body, count=60, noise=0.0, still=True, seed=0):
    """What a network would have seen of somebody waving, with noise; and the true motion."""
    rng, camera = np.random.default_rng(seed), Camera(np.eye(3), np.zeros(3), 500.0, (640, 480))
    pose = np.tile(pose_from_degrees(POSES["waving"]), (count, 1, 1))
    pose[:, 0] = [np.pi, 0, 0]
    if not still:
        pose[:, 18, 1] += 0.6 * np.sin(2 * np.pi * np.arange(count) / FPS)
    place = np.tile([0.1, 0.2, 4.0], (count, 1))
    seen = noisy(pose, noise, seed) if noise else pose
    points = np.asarray(body.posed_keypoints(None, pose, video.POINTS)) + place[:, None]
    pixels = camera.project(points)[0] + rng.normal(0, 20 * noise, (*points.shape[:2], 2))
    people = [
        (i + 3, {"pose": p, "betas": np.zeros(10), "points": u, "camera": camera})
        for i, (p, u) in enumerate(zip(seen, pixels, strict=True))
    ]
    return people, pose, place


def test_a_track_without_noise_is_where_the_points_were(body):
    people, pose, place = found(body)
    track = video.make_track(people[:20] + people[26:], body, FPS)
    assert track.start == 3 and len(track) == 60 and track.seen.sum() == 54
    np.testing.assert_allclose(track.translation, place, atol=1e-4)
    np.testing.assert_allclose(apart(track.pose, pose), 0, atol=1e-5)
    person = track.person(10)
    np.testing.assert_allclose(person.joints, track.joints()[7], atol=1e-5)
    assert track.person(2) is None and track.person(63) is None


def test_who_stands_still_jitters_a_fifth_and_nobody_lags(body):
    track = video.make_track(found(body, noise=0.03)[0], body, FPS)
    assert track.jitter() < track.jitter(raw=True) / 5
    people, pose, _ = found(body, 100, noise=0.03, still=False)
    track = video.make_track(people, body, FPS)
    errors = [apart(track.pose[10:-10, 18], pose[10 + s : 90 + s, 18]).mean() for s in range(-4, 5)]
    assert abs(np.argmin(errors) - 4) <= 1


def test_motions_are_read_back_within_a_millimetre(body, tmp_path):
    track = video.make_track(found(body, still=False)[0], body, FPS)
    upright = (track.joints() * [1, -1, -1]).copy()
    upright -= [0, upright[..., 1].min(), 0]
    pose, translation, _ = clips.read_amass(track.save(tmp_path / "m.npz"), FPS, body)
    joints = np.asarray(body(track.betas[None], pose, translation).joints)
    np.testing.assert_allclose(joints, upright, atol=1e-3)
    motion = clips.read_bvh(track.save(tmp_path / "m.bvh"), unit="cm", up="y")
    order = [motion.names.index(name) for name in hmrlib.skeleton.JOINT_NAMES]
    np.testing.assert_allclose(motion.positions[:, order], upright, atol=1e-3)


# --- frames -----------------------------------------------------------------------------------


def test_frames_are_what_was_written(tmp_path):
    path = tmp_path / "ramp.mp4"
    pictures = [np.full((48, 65, 3), 20 + 20 * i, np.uint8) for i in range(10)]
    with frames.writer(path, FPS, (65, 48)) as write:
        for picture in pictures:
            write(picture)
    reader = frames.Reader(path)
    read = list(reader)
    assert reader.fps == FPS and reader.damaged == 0 and [n for n, _ in read] == list(range(10))
    for picture, (_, image) in zip(pictures, read, strict=True):
        assert image.shape == (48, 64, 3)
        assert np.abs(image.astype(int) - picture[:, :64]).max() < 8


def test_what_is_no_video_is_told(tmp_path):
    (tmp_path / "words.mp4").write_text("no video")
    with pytest.raises(PredictionError, match=r"words\.mp4: not a video that can be read"):
        frames.Reader(tmp_path / "words.mp4")
    with pytest.raises(FileNotFoundError):
        frames.Reader(tmp_path / "missing.mp4")


def test_a_video_without_frames_is_told(tmp_path):
    path = tmp_path / "empty.mp4"
    with frames.writer(path, FPS, (64, 48)):
        pass
    with pytest.raises(PredictionError, match=r"empty\.mp4"):
        list(frames.Reader(path))


def test_a_corrupt_part_in_the_middle_is_counted(clip, tmp_path):
    data = bytearray(clip.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    (tmp_path / "hole.mp4").write_bytes(data)
    reader = frames.Reader(tmp_path / "hole.mp4")
    read = list(reader)
    assert 10 < len(read) < 40 and reader.damaged > 0
    assert len(read) + reader.damaged >= 40


# --- all of it --------------------------------------------------------------------------------


def test_hmr_predict_takes_a_video(clip, tmp_path, capsys):
    (tmp_path / "words.mp4").write_text("no video")
    out = tmp_path / "out"
    arguments = [str(clip), str(tmp_path / "words.mp4"), "--out", str(out), "--no-refine"]
    assert main(["predict", *arguments]) == 1
    told = capsys.readouterr()
    assert "1 of 2 done" in told.out and "words.mp4: not a video" in told.err
    folder = out / "shaking"
    files = {path.name for path in folder.iterdir()}
    assert files == {"done.json", "overlay.mp4", *(f"track_0.{s}" for s in ("npz", "bvh", "glb"))}
    assert (
        "40 frames, 0 damaged; 1 tracks"
        in json.loads((folder / "done.json").read_text())["sentence"]
    )
    assert len(list(frames.Reader(folder / "overlay.mp4"))) == 40
    with np.load(folder / "track_0.npz") as motion:
        assert motion["poses"].shape == (40, 72)


def test_somebody_in_a_shaking_video_stands_five_times_as_still(clip):
    (track,) = hmrlib.predict(clip, refine=False).tracks
    assert len(track) == 40 and track.jitter() < track.jitter(raw=True) / 5
