"""A photograph goes in, a person comes out: reading, boxes, crops, drawing, files."""

import json

import matplotlib.cbook
import numpy as np
import pytest
import skimage.data
import trimesh
from PIL import Image

import hmrlib
from hmrlib.camera import Camera, full_image_camera
from hmrlib.data.pipeline import affine, invert_affine, warp
from hmrlib.io.images import ImageError
from hmrlib.prediction import PredictionError, photograph
from hmrlib.prediction.landmarks import LANDMARK_NAMES
from hmrlib.prediction.person import People, make_people, weak_camera
from hmrlib.skeleton import JOINT_NAMES, POSES, pose_from_degrees
from tests.conftest import ROOT

HOPPER = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
BOX = [60, 20, 460, 1000]


@pytest.fixture(scope="module")
def body():
    return hmrlib.load_body()


@pytest.fixture(scope="module")
def hopper():
    return hmrlib.predict(HOPPER, boxes=[BOX], focal=900.0, refine=False)


def standing(body, translations, image=None):
    """People who stand before a camera of 320 x 240 pixels."""
    pose = pose_from_degrees(POSES["waving"])
    pose[0] = [np.pi, 0, 0]  # upright before a camera whose y points down
    count = len(translations)
    betas = np.zeros((count, 10))
    betas[:, 0] = 1.0
    camera = Camera(np.eye(3), np.zeros(3), 300.0, (320, 240))
    image = np.full((240, 320, 3), 200, np.uint8) if image is None else image
    return make_people(
        body,
        np.tile(pose, (count, 1, 1)),
        betas,
        translations,
        camera=[camera] * count,
        box=[np.array([100.0, 20, 200, 220])] * count,
        square=[np.array([150.0, 120, 240])] * count,
        image=[image] * count,
    )


# --- the function -----------------------------------------------------------------------------


def test_predict_is_a_function_of_the_package_and_a_room_has_its_parts():
    from hmrlib.prediction import Person, predict

    assert hmrlib.predict is predict
    assert "predict" in dir(hmrlib) and Person.__name__ == "Person"


def test_the_readmes_first_lines_leave_an_overlay_and_a_figure(tmp_path, monkeypatch):
    lines = (ROOT / "README.md").read_text("utf-8").split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(lines, {})
    with Image.open("overlay.png") as overlay:
        assert overlay.size == (512, 512)  # the astronaut's
    assert len(trimesh.load_scene("person.glb").geometry) == 1


def test_everybody_is_found_and_fitted_and_the_network_stays_beside():
    (person,) = hmrlib.predict(skimage.data.astronaut())
    assert person.refined and person.note == "" and person.landmarks.score > 0.5
    assert not person.network.refined and person.network.network is None
    limbs = ["left_shoulder", "right_shoulder", "left_elbow", "right_elbow"]
    seen = person.landmarks.xy[[LANDMARK_NAMES.index(name) for name in limbs]]
    off, before = (
        np.linalg.norm(who.keypoints_2d(limbs) - seen, axis=1).mean()
        for who in (person, person.network)
    )
    assert off < 15 and off < 0.5 * before  # pixels of 512


@pytest.mark.parametrize("columns", [2, 3])  # without and with a confidence
def test_keypoints_of_a_caller_take_the_landmarks_place(columns):
    (person,) = hmrlib.predict(skimage.data.astronaut())
    points = np.column_stack([person.keypoints_2d("coco-17"), np.ones(17)])
    moved = np.add(points, [30, 0, 0])[None, :, :columns]
    (found,) = hmrlib.predict(skimage.data.astronaut(), keypoints=moved, names="coco-17")
    off = found.keypoints_2d("coco-17")[5:7] - person.keypoints_2d("coco-17")[5:7]
    assert (off[:, 0] > 15).all()


def test_nobody_there_is_told(tmp_path):
    Image.new("RGB", (300, 200), (90, 120, 160)).save(tmp_path / "sky.png")
    with pytest.raises(PredictionError, match=r"sky\.png: nobody was found; give boxes"):
        hmrlib.predict(tmp_path / "sky.png")


def test_a_person_comes_out(hopper):
    assert isinstance(hopper, People) and len(hopper) == 1
    person = hopper[0]
    assert person.image.shape == (*person.camera.size[::-1], 3) == (600, 512, 3)
    assert person.vertices.shape == (6890, 3) and person.joints.shape == (24, 3)
    assert person.pose.shape == (24, 3) and person.theta.shape == (85,)
    assert person.camera.focal == 900.0 and person.focal_from == "given"
    assert len(person.iterations) == 3
    np.testing.assert_allclose(person.iterations[-1]["pose"], person.pose)
    np.testing.assert_allclose(person.theta[3:75], person.pose.ravel())
    np.testing.assert_allclose(person.theta[:3], person.iterations[-1]["camera"], atol=1e-5)


def test_from_far_away_the_person_is_where_the_network_saw_it_in_the_crop():
    (person,) = hmrlib.predict(HOPPER, boxes=[BOX], focal=200_000.0, refine=False)
    x, y, side = person.square
    assert side == pytest.approx(980)
    scale, *shift = person.iterations[-1]["camera"]
    inside = scale * (person.keypoints_3d("lsp-14") - person.translation)[:, :2] + np.multiply(
        scale, shift
    )
    wanted = np.array([x, y]) + inside * side / 2
    off = np.linalg.norm(person.keypoints_2d("lsp-14") - wanted, axis=1) / side
    assert off.max() < 0.005  # weak perspective knows no depth within the body


def test_weak_camera_is_the_way_back():
    weak, center, side = np.array([0.9, 0.1, -0.2]), np.array([210.0, 130.0]), 180.0
    camera = full_image_camera(weak, center, side, (320, 240), 400.0)
    found = weak_camera(camera.translation, [*center, side], camera)
    np.testing.assert_allclose(found, weak, atol=1e-12)


def test_several_people_and_every_kind_of_source_agree(hopper):
    with Image.open(HOPPER) as picture:
        sources = [picture.copy(), np.asarray(picture), np.asarray(picture) / 255.0]
    for source in sources:
        found = hmrlib.predict(source, boxes=[BOX, [100, 50, 400, 600]], focal=900.0, refine=False)
        assert len(found) == 2 and found.source == ""
        np.testing.assert_allclose(found[0].theta, hopper[0].theta, atol=2e-3)


def test_a_lying_photograph_is_turned_upright_first(hopper, tmp_path):
    with Image.open(HOPPER) as picture:
        exif = Image.Exif()
        exif[0x0112] = 6  # stored turned to the left
        turned = picture.transpose(Image.Transpose.ROTATE_90)
        turned.save(tmp_path / "phone.png", exif=exif)
    found = hmrlib.predict(tmp_path / "phone.png", boxes=[BOX], focal=900.0, refine=False)
    assert found.image.shape == (600, 512, 3)
    np.testing.assert_allclose(found[0].theta, hopper[0].theta, atol=1e-4)


# --- focal length -----------------------------------------------------------------------------


def with_exif(path, size=(400, 300), **tags):
    exif = Image.Exif()
    block = exif.get_ifd(photograph.EXIF_BLOCK)
    for name, value in tags.items():
        block[getattr(photograph, name)] = value
    Image.new("RGB", size).save(path, exif=exif)
    return photograph.read_photograph(path)


def test_focal_length_from_exif(tmp_path):
    path = tmp_path / "photo.jpg"
    found = with_exif(path, FOCAL_35MM=26)
    assert found.focal == pytest.approx(26 / 43.267 * 500, rel=1e-4) and found.focal_from == "EXIF"
    # 5 mm, 4000 pixels to a centimetre, and the picture was made 10 times smaller
    found = with_exif(path, FOCAL_LENGTH=5.0, PLANE_X=4000.0, PLANE_UNIT=3, PIXELS_X=4000)
    assert found.focal == pytest.approx(5 * 400 / 10)
    assert found.focal_from == "EXIF"


@pytest.mark.parametrize("tags", [{}, {"FOCAL_35MM": 0}, {"FOCAL_35MM": 60000}])
def test_without_exif_the_diagonal_is_assumed_and_said(tmp_path, tags):
    found = with_exif(tmp_path / "photo.jpg", **tags)
    assert found.focal == pytest.approx(500) and found.focal_from.startswith("assumed")


@pytest.mark.parametrize("focal", [0, -3.0, float("nan"), "wide"])
def test_a_focal_length_is_a_positive_number(focal):
    with pytest.raises(PredictionError, match="focal length"):
        hmrlib.predict(HOPPER, boxes=[BOX], focal=focal, refine=False)


# --- crops ------------------------------------------------------------------------------------


def test_the_crop_is_that_of_training():
    image = np.random.default_rng(0).integers(0, 255, (200, 260, 3), np.uint8)
    center, side = photograph.crop_square([60, 40, 140, 190])
    assert side == pytest.approx(150)
    way = affine(np.array([100.0, 115.0]), 96 / side, 0.0, False, np.array([48.0, 48.0]))
    expected = warp(image, invert_affine(way), 96)
    np.testing.assert_array_equal(photograph.crop(image, center, side, 96), expected)


def test_a_large_person_is_reduced_with_all_pixels():
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (40, 30, 3), np.uint8)
    small = np.asarray(Image.fromarray(small).resize((300, 400), Image.Resampling.BICUBIC))
    large = np.asarray(Image.fromarray(small).resize((1500, 2000), Image.Resampling.BICUBIC))
    speckled = np.clip(large + rng.normal(0, 40, large.shape), 0, 255).astype(np.uint8)
    expected = photograph.crop(small, np.array([150.0, 210.0]), 300.0, 96).astype(float)
    found = photograph.crop(speckled, np.array([750.0, 1050.0]), 1500.0, 96)
    assert np.abs(found - expected).mean() < 5  # a bilinear look would keep 40's noise, 20


def test_a_crop_beyond_the_picture_is_black():
    image = np.full((1000, 800, 3), 255, np.uint8)
    part = photograph.crop(image, np.array([0.0, 500.0]), 1000.0, 64)
    assert (part[:, :31] == 0).all() and (part[:, 33:] == 255).all()


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[600, 10, 700, 100]], "outside of the picture, 512 x 600"),
        ([[10, 10, 10, 50]], "no extent"),
        ([[10, 10, np.nan, 50]], "expected boxes"),
        ([[1, 2, 3]], "expected boxes"),
        ("left", "expected boxes"),
        ([], "expected boxes"),
    ],
)
def test_bad_boxes_are_told(boxes, message):
    with pytest.raises(PredictionError, match=message):
        hmrlib.predict(HOPPER, boxes=boxes, refine=False)


def test_what_is_no_picture_is_told(tmp_path):
    (tmp_path / "words.jpg").write_text("no picture")
    with pytest.raises(ImageError, match=r"words\.jpg: not an image"):
        hmrlib.predict(tmp_path / "words.jpg", boxes=[BOX], refine=False)
    with pytest.raises(FileNotFoundError):
        hmrlib.predict(tmp_path / "missing.jpg", boxes=[BOX], refine=False)
    for wrong in (np.zeros((3, 3, 3, 3)), np.full((9, 9), 7.0), np.zeros((0, 4, 3), np.uint8), 3):
        with pytest.raises(PredictionError, match="expected"):
            hmrlib.predict(wrong, boxes=[[0, 0, 5, 5]], refine=False)


@pytest.mark.parametrize("kind", ["grey", "column", "rgba", "16 bits", "bool"])
def test_arrays_of_any_form(kind):
    grey = np.random.default_rng(0).integers(0, 255, (20, 30), np.uint8)
    array = {
        "grey": grey,
        "column": grey[..., None],
        "rgba": np.dstack([grey] * 3 + [np.full_like(grey, 255)]),
        "16 bits": grey.astype(np.uint16) << 8,
        "bool": grey > 100,
    }[kind]
    image = photograph.read_photograph(array).image
    assert image.shape == (20, 30, 3) and image.dtype == np.uint8
    if kind != "bool":
        np.testing.assert_array_equal(image[..., 1], grey)


# --- looks ------------------------------------------------------------------------------------


def test_who_is_nearer_hides_who_is_behind(body):
    near, far = standing(body, [[0.0, 0.3, 3.0], [0.1, 0.3, 4.0]])
    image = near.image
    one = np.asarray(People([near], image).overlay()).astype(int)
    for order in ([near, far], [far, near]):
        both = np.asarray(People(order, image).overlay()).astype(int)
        inside = np.abs(one - 200).sum(-1) > 30
        # the colours go by place in the list; where the near one is, the far one changes nothing
        first = np.asarray(People([order[0]], image).overlay()).astype(int)
        drawn = np.abs(both - first).sum(-1) > 30
        hidden = (drawn & inside).sum() / inside.sum()
        assert hidden < 0.04 if order[0] is near else hidden > 0.5


def test_nobody_leaves_the_picture_as_it_is():
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(People([], image).overlay()), image)


def test_views_show_front_side_and_top_in_one_scale(body):
    (person,) = standing(body, [[0.3, 0.2, 3.0]])
    views = person.views((120, 160), occlusion=False)
    assert list(views) == ["front", "side", "top"]

    def extent(name):
        shown = (np.asarray(views[name]) < 250).any(-1)
        return np.ptp(np.flatnonzero(shown.any(0))), np.ptp(np.flatnonzero(shown.any(1)))

    width, height, depth = np.ptp(person.vertices, axis=0)
    scale = extent("front")[1] / height
    np.testing.assert_allclose(extent("front")[0], scale * width, atol=3)
    np.testing.assert_allclose(extent("side"), [scale * depth, scale * height], atol=3)
    np.testing.assert_allclose(extent("top"), [scale * width, scale * depth], atol=4)


def test_turntable_and_table(body):
    (person,) = standing(body, [[0.0, 0.3, 3.0]])
    assert len(person.turntable(3, size=(60, 100), occlusion=False)) == 3
    lines = person.table().splitlines()
    assert len(lines) == 25
    numbers = np.array([[float(x) for x in line.split()[1:4]] for line in lines[1:]])
    np.testing.assert_allclose(numbers, person.pose, atol=5e-4)


# --- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["obj", "ply"])
def test_a_mesh_is_read_back_upright(body, tmp_path, suffix):
    (person,) = standing(body, [[0.3, 0.2, 3.0]])
    mesh = trimesh.load_mesh(person.save(tmp_path / f"p.{suffix}"), process=False)
    joints = body.J_regressor @ mesh.vertices  # of the posed mesh: the same function of both
    expected = body.J_regressor @ person.upright()
    np.testing.assert_allclose(joints - joints[0], expected - expected[0], atol=1e-3)
    assert mesh.vertices[:, 1].argmax() in np.flatnonzero(
        person.upright()[:, 1] > np.quantile(person.upright()[:, 1], 0.99)
    )


def test_glb_joints_are_read_back(body, tmp_path):
    (person,) = standing(body, [[0.3, 0.2, 3.0]])
    scene = trimesh.load_scene(person.save(tmp_path / "p.glb"))
    joints = np.array([scene.graph.get(name)[0][:3, 3] for name in JOINT_NAMES])
    expected = (person.joints - person.joints[0]) * [1, -1, -1]
    np.testing.assert_allclose(joints - joints[0], expected, atol=1e-3)


def test_json_and_npz_hold_what_was_found(body, tmp_path):
    (person,) = standing(body, [[0.3, 0.2, 3.0]])
    told = json.loads(person.save(tmp_path / "p.json").read_text())
    np.testing.assert_allclose(told["theta"], person.theta, atol=1e-5)
    np.testing.assert_allclose(told["joints"], person.joints, atol=1e-3)
    assert told["keypoints"]["names"][0] == "nose" and told["camera"]["focal"] == 300
    with np.load(person.save(tmp_path / "p.npz")) as arrays:
        posed = body(arrays["betas"][None], arrays["pose"][None], arrays["translation"][None])
        np.testing.assert_allclose(posed.joints[0], person.joints, atol=1e-3)
        np.testing.assert_allclose(arrays["vertices"], person.vertices, atol=1e-5)


def test_another_suffix_is_refused(body, tmp_path):
    (person,) = standing(body, [[0.3, 0.2, 3.0]])
    with pytest.raises(PredictionError, match=r"p\.fbx: a person is written as \.glb"):
        person.save(tmp_path / "p.fbx")
