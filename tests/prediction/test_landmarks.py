"""BlazePose offline: anchors and decoding, squares, people, landmarks where they should be."""

import hashlib
import re
import sys
from concurrent.futures import ThreadPoolExecutor

import matplotlib.cbook
import numpy as np
import pytest
from PIL import Image

import hmrlib
from hmrlib.camera import Camera
from hmrlib.prediction import PredictionError, landmarks
from hmrlib.prediction.landmarks import LANDMARK_NAMES, Landmarks, find_people
from hmrlib.render import render
from hmrlib.skeleton import JOINT_NAMES, POSES, pose_from_degrees

pytest.importorskip("ai_edge_litert", reason="runs the landmark networks")
HOPPER = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
FACE = [i for i, name in enumerate(LANDMARK_NAMES) if re.search("nose|eye|ear|mouth", name)]
LIMBS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
JOINTS = [f"{side}_{limb}" for limb in LIMBS for side in ("left", "right")]
OF_LANDMARKS = [LANDMARK_NAMES.index(name) for name in JOINTS]
OF_BODY = [JOINT_NAMES.index(name) for name in JOINTS]
MIRROR = list(hmrlib.skeleton.mirror_order(LANDMARK_NAMES))


@pytest.fixture(scope="module")
def hopper():
    return hmrlib.read_image(HOPPER)


@pytest.fixture(scope="module")
def found(hopper):
    return find_people(hopper)


@pytest.fixture(scope="module")
def walker():
    """A picture (480, 640, 3) of a rendered body that walks, and its joints (24, 2) in pixels."""
    body = hmrlib.load_body()
    pose = pose_from_degrees(POSES["walking"])
    pose[0] = [np.pi, 0, 0]
    posed = body(np.zeros((1, 10)), pose[None])
    camera = Camera(np.eye(3), [0.3, -0.2, 4.5], 700.0, (640, 480))
    vertices, joints = (np.asarray(array)[0] for array in posed)
    drawn = render(vertices, body.faces, camera, (0.8, 0.6, 0.5), background=(0.5, 0.5, 0.5))
    return drawn.image[..., :3], camera.project(joints)[0]


def canvas(height=480, width=640):
    return np.full((height, width, 3), 120, np.uint8)


def shoulder_width(one):
    ends = [LANDMARK_NAMES.index(f"{side}_shoulder") for side in ("left", "right")]
    return np.linalg.norm(np.subtract(*one.xy[ends]))


# --- the detector's form --------------------------------------------------------------------------


def test_there_is_an_anchor_for_each_answer_and_they_fill_the_input_evenly():
    places = landmarks.anchors()
    assert places.shape == (2254, 2)
    np.testing.assert_allclose(places.mean(axis=0), 0.5)
    coarse = places[28 * 28 * 2 + 14 * 14 * 2 :]  # six at each of 7 x 7 places
    np.testing.assert_allclose(coarse[0], [1 / 14, 1 / 14])
    np.testing.assert_allclose(coarse[6] - coarse[0], [1 / 7, 0])  # along a row first
    assert len(np.unique(coarse, axis=0)) == 49


def test_an_answer_of_zeros_is_each_anchor_itself_with_an_even_chance():
    scores, boxes, points = landmarks.decode(np.zeros((2254, 12)), np.zeros((2254, 1)))
    np.testing.assert_allclose(scores, 0.5)
    np.testing.assert_allclose(boxes[:, :2], landmarks.anchors())
    np.testing.assert_allclose(points, np.repeat(landmarks.anchors()[:, None], 4, axis=1))


def test_answers_are_pixels_of_the_input_from_the_anchor_on():
    raw = np.zeros((2254, 12))
    raw[7] = [22.4, -22.4, 112, 56, 0, 0, 224, 0, 0, 0, 0, 0]
    _, boxes, points = landmarks.decode(raw, np.zeros(2254))
    anchor = landmarks.anchors()[7]
    np.testing.assert_allclose(boxes[7], [*np.add(anchor, [0.1, -0.1]), 0.5, 0.25])
    np.testing.assert_allclose(points[7, 1], np.add(anchor, [1, 0]))


def test_overlapping_answers_become_their_weighted_mean_and_others_stay():
    boxes = np.array([[0.5, 0.5, 0.2, 0.2], [0.52, 0.5, 0.2, 0.2], [0.1, 0.1, 0.1, 0.1]])
    points = np.repeat(boxes[:, None, :2], 4, axis=1)
    merged = landmarks.merge_overlapping(np.array([0.9, 0.6, 0.7]), boxes, points)
    assert [score for score, _, _ in merged] == [0.9, 0.7]
    np.testing.assert_allclose(merged[0][1][0], (0.9 * 0.5 + 0.6 * 0.52) / 1.5)
    np.testing.assert_allclose(merged[0][2][3], merged[0][1][:2])


def test_a_cut_is_the_square_turned_back():
    height, width = 300, 400
    y, x = np.mgrid[:height, :width] + 0.5
    image = np.stack([x / 2, y / 2, 0 * x], axis=2).astype(np.uint8)
    square = (210.0, 140.0, 120.0, 0.6)
    cut = landmarks.Picture(image).cut(square, 60)
    there = landmarks.affine(square, 60)
    for column, row in ((5, 5), (30, 20), (50, 55)):
        place = there @ [column + 0.5, row + 0.5, 1]
        np.testing.assert_allclose(cut[row, column, :2], place / 2, atol=1.5)
    np.testing.assert_allclose(there @ [30, 30, 1], square[:2])
    assert (landmarks.Picture(image).cut((0, 0, 10, 0.0), 8)[0, 0] == 0).all()  # outside


def test_a_large_square_is_averaged_and_not_sampled():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (800, 800, 3), np.uint8)
    cut = landmarks.Picture(noise).cut((400, 400, 800, 0.0), 50)
    assert cut.std() < 15 < noise.std()


def test_tiles_cover_the_picture_and_small_pictures_have_none():
    assert landmarks.tile_squares(np.array([640, 480]), 2) == []
    size = np.array([2000, 900])
    squares = landmarks.tile_squares(size, 2)
    for side in {square[2] for square in squares}:
        covered = np.zeros(size[::-1] // 10, bool)
        for x, y, length, _ in squares:
            if length == side:
                low = np.floor(np.maximum([x - side / 2, y - side / 2], 0) / 10).astype(int)
                high = np.ceil(np.array([x + side / 2, y + side / 2]) / 10).astype(int)
                covered[low[1] : high[1], low[0] : high[0]] = True
        assert covered.all()
    assert {square[2] for square in squares} == {1000, 500}


def test_a_hot_place_of_its_map_draws_a_landmark():
    maps = np.full((64, 64, 2), -9.0)
    maps[20, 33, 0] = 9.0
    moved = landmarks.sharpen(np.array([[125.0, 85.0], [125.0, 85.0]]), maps)
    assert np.abs(moved[0] - [33.5 * 4, 20.5 * 4]).max() < 2
    np.testing.assert_array_equal(moved[1], [125, 85])  # a cold map says nothing
    outside = np.array([[-20.0, 300.0]] * 2)
    np.testing.assert_array_equal(landmarks.sharpen(outside, maps), outside)


# --- people ---------------------------------------------------------------------------------------


def test_a_portrait_is_found_with_its_face(found):
    assert len(found) == 1
    one = found[0]
    assert one.score > 0.9
    assert [np.shape(value) for value in one] == [(33, 2), (33,), (33, 3), (33,), (), (4,), (33,)]
    assert one.apart[FACE].max() < 0.1  # two looks agree
    nose, left, right = (
        one.xy[LANDMARK_NAMES.index(name)] for name in ("nose", "left_eye", "right_eye")
    )
    np.testing.assert_allclose(nose, [265, 235], atol=15)
    assert left[0] > nose[0] > right[0]  # her own left
    assert one.visibility[FACE].min() > 0.9
    assert one.visibility[LANDMARK_NAMES.index("left_ankle")] < 0.5  # out of the picture
    face, ankles = one.world[FACE, 1].mean(), one.world[27:29, 1].mean()
    assert face < -0.3 < 0.1 < ankles  # metres, y down


def test_landmarks_of_a_rendered_body_lie_at_its_joints(walker):
    image, joints = walker
    (one,) = find_people(image)
    torso = np.linalg.norm(joints[JOINT_NAMES.index("neck")] - joints[0])
    off = np.linalg.norm(one.xy[OF_LANDMARKS] - joints[OF_BODY], axis=1) / torso
    assert np.median(off) < 0.1
    assert (off < 0.2).mean() > 0.8
    low, high = joints.min(axis=0), joints.max(axis=0)
    assert (one.box[:2] < low + 10).all() and (one.box[2:] > high - 10).all()
    assert np.ptp(one.box.reshape(2, 2), axis=0)[1] < 1.3 * (high - low)[1]


def test_a_shifted_picture_has_shifted_landmarks(walker):
    image, _ = walker
    height, width, _ = image.shape
    (one,) = find_people(image)
    larger = canvas(height + 40, width + 60)
    larger[40:, 60:] = image
    (other,) = find_people(larger)
    assert np.abs(other.xy - one.xy - [60, 40]).max() < 0.3 * shoulder_width(one)
    np.testing.assert_allclose(other.box - one.box, [60, 40, 60, 40], atol=12)


def test_a_mirrored_picture_has_mirrored_landmarks(walker):
    image, _ = walker
    (one,) = find_people(image)
    (other,) = find_people(np.ascontiguousarray(image[:, ::-1]))
    xy = other.xy[MIRROR] * [-1, 1] + [image.shape[1], 0]
    off = np.linalg.norm(xy - one.xy, axis=1)
    assert np.median(off) < 0.1 * shoulder_width(one)
    world = other.world[MIRROR] * [-1, 1, 1]
    assert np.median(np.linalg.norm(world - one.world, axis=1)) < 0.06


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_person_has_turned_landmarks(walker, quarters):
    image, _ = walker
    (one,) = find_people(image)
    xy, world = one.xy, one.world[:, :2]
    for _ in range(quarters):  # against the clock: x, y -> y, width - x
        xy = np.stack([xy[:, 1], image.shape[1] - xy[:, 0]], axis=1)
        world = np.stack([world[:, 1], -world[:, 0]], axis=1)
        image = np.ascontiguousarray(np.rot90(image))
    (other,) = find_people(image)
    assert np.median(np.linalg.norm(other.xy - xy, axis=1)) < 0.15 * shoulder_width(one)
    assert np.median(np.linalg.norm(other.world[:, :2] - world, axis=1)) < 0.06


def test_two_people_are_two_and_the_larger_comes_first(walker):
    image, _ = walker
    small = np.asarray(Image.fromarray(image).resize((448, 336)))
    both = canvas(480, 640 + 448)
    both[:, :640], both[100:436, 640:] = image, small
    first, second = find_people(both)
    assert first.xy[:, 0].max() < 640 < second.xy[:, 0].min()


def test_a_person_who_is_found_twice_counts_once(found):
    again = found[0]._replace(xy=found[0].xy + 2, score=found[0].score - 0.01)
    apart = found[0]._replace(xy=found[0].xy + 400)
    kept = landmarks.without_doubles([again, found[0], apart])
    assert [one.score for one in kept] == [found[0].score] * 2


def test_small_people_are_found_in_tiles(walker):
    image, _ = walker
    small = np.asarray(Image.fromarray(image).resize((224, 168), Image.Resampling.LANCZOS))
    large = canvas(1000, 1400)
    large[700:868, 1000:1224] = small
    assert find_people(large, tiles=False) == []
    (one,) = find_people(large)
    assert (one.box > [1000, 690, 1000, 690]).all() and (one.box < [1224, 870, 1224, 870]).all()


def test_nobody_is_found_where_nobody_is():
    assert find_people(canvas()) == []


def test_boxes_take_the_detectors_place(walker):
    image, joints = walker
    box = [*joints.min(axis=0), *joints.max(axis=0)]
    one, nobody = find_people(image, boxes=[box, [0, 0, 100, 100]])
    torso = np.linalg.norm(joints[JOINT_NAMES.index("neck")] - joints[0])
    off = np.linalg.norm(one.xy[OF_LANDMARKS] - joints[OF_BODY], axis=1) / torso
    assert np.median(off) < 0.1 and one.score > 0.9
    assert isinstance(nobody, Landmarks) and nobody.score < 0.5


def test_known_keypoints_take_the_landmarks_place(walker):
    image, joints = walker
    names = (*JOINTS, "nose")
    keypoints = np.full((len(names), 3), np.nan)
    keypoints[:-1, :2], keypoints[:-1, 2] = joints[OF_BODY], 0.7
    (one,) = find_people(image, keypoints=keypoints, names=names)
    np.testing.assert_allclose(one.xy[OF_LANDMARKS], joints[OF_BODY])
    np.testing.assert_allclose(one.visibility[OF_LANDMARKS], 0.7)
    assert not one.apart[OF_LANDMARKS].any() and one.apart.any()
    (two,) = find_people(image, keypoints=keypoints[None, :, :2], names=names)
    np.testing.assert_allclose(two.xy, one.xy)
    nose = one.xy[LANDMARK_NAMES.index("nose")]  # unknown: the network's
    assert np.linalg.norm(nose - joints[JOINT_NAMES.index("head")]) < 30


def test_threads_find_the_same(hopper, found):
    with ThreadPoolExecutor(3) as pool:
        for people in pool.map(find_people, [hopper] * 3):
            np.testing.assert_array_equal(people[0].xy, found[0].xy)


# --- files and bad input --------------------------------------------------------------------------


def test_the_networks_are_those_that_the_notice_names():
    notice = (landmarks.ASSETS / "NOTICE").read_text("utf-8")
    for path in (landmarks.DETECTOR, landmarks.LANDMARKER):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in notice
    assert "Apache License" in (landmarks.ASSETS / "LICENSE-APACHE").read_text("utf-8")


def test_without_litert_one_is_told_how_to_get_it(hopper, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with ThreadPoolExecutor(1) as pool, pytest.raises(ImportError, match=r"hmrlib\[predict\]"):
        pool.submit(find_people, hopper).result()  # a thread that has no networks yet


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"image": np.zeros((9, 9), np.uint8)}, r"\(H, W, 3\) of uint8"),
        ({"image": np.zeros((9, 9, 3))}, "float64"),
        ({"boxes": [[900, 10, 990, 40]]}, "outside of the picture"),
        ({"boxes": [[50, 10, 40, 40]]}, "no extent"),
        ({"keypoints": np.zeros((1, 4, 3))}, "17"),
        ({"keypoints": np.full((1, 17, 3), np.nan)}, "fewer than two known"),
        ({"model": "no_such.tflite"}, "no such file"),
        ({"model": landmarks.DETECTOR.with_name("NOTICE")}, "not a network of LiteRT"),
    ],
)
def test_bad_input_is_named(hopper, given, message):
    with pytest.raises(PredictionError, match=message):
        find_people(**{"image": hopper, **given})


def test_another_network_is_no_landmark_network(hopper, tmp_path):
    path = tmp_path / "pose_landmark_heavy.tflite"
    path.write_bytes(landmarks.DETECTOR.read_bytes())
    with pytest.raises(PredictionError, match="not a landmark network"):
        find_people(hopper, model=path)
