"""`hmr predict`: folders, files of boxes and keypoints, resuming, what is left out."""

import json
import re

import matplotlib.cbook
import numpy as np
import pytest
import trimesh
from PIL import Image

from hmrlib.cli import main
from hmrlib.prediction import PredictionError, given

HOPPER = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
BOX = [60, 20, 460, 600]


@pytest.fixture
def photographs(tmp_path):
    """A folder with one good photograph, small, one of the same stem below, and a bad file."""
    folder = tmp_path / "in"
    (folder / "more").mkdir(parents=True)
    with Image.open(HOPPER) as picture:
        picture.resize((256, 300)).save(folder / "hopper.jpg")
        picture.resize((256, 300)).save(folder / "more" / "hopper.png")
    (folder / "notes.txt").write_text("not looked at")
    (folder / "words.jpg").write_text("no picture")
    boxes = {name: [[30, 10, 230, 300]] for name in ("hopper.jpg", "hopper.png", "words.jpg")}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    return folder


def predict(*arguments):
    return main(["predict", *map(str, arguments), "--no-refine"])


def test_a_folder_with_one_bad_file_goes_on_and_tells(photographs, tmp_path, capsys):
    out, boxes = tmp_path / "out", tmp_path / "boxes.json"
    command = (photographs, "--out", out, "--boxes", boxes, "--save", "json,obj")
    assert predict(*command) == 1
    told = capsys.readouterr()
    assert "2 of 3 done" in told.out
    assert re.search(r"left out: .*words\.jpg: not an image", told.err)
    folders = sorted(path.name for path in out.iterdir() if path.is_dir())
    assert folders == ["hopper_jpg", "hopper_png"]
    files = {path.name for path in (out / "hopper_jpg").iterdir()}
    assert {"overlay.jpg", "person_0.json", "person_0.obj", "done.json"} <= files
    person = json.loads((out / "hopper_jpg" / "person_0.json").read_text())
    assert len(person["theta"]) == 85 and len(person["keypoints"]["pixels"]) == 17
    mesh = trimesh.load_mesh(out / "hopper_jpg" / "person_0.obj", process=False)
    assert len(mesh.vertices) == 6890
    # a second call does the bad one alone
    before = (out / "hopper_jpg" / "done.json").stat().st_mtime_ns
    assert predict(*command) == 1
    assert (out / "hopper_jpg" / "done.json").stat().st_mtime_ns == before
    # other settings, and all is done anew
    assert predict(*command, "--focal", 800) == 1
    assert (out / "hopper_jpg" / "done.json").stat().st_mtime_ns > before


def test_the_page_holds_everything_itself(photographs, tmp_path):
    out = tmp_path / "out"
    predict(photographs, "--out", out, "--boxes", tmp_path / "boxes.json")
    page = (out / "contact.html").read_text("utf-8")
    assert page.count("<article>") == 3 and "left out: not an image" in page
    assert page.count("data:image/jpeg;base64,") == 8  # photograph, body, side, top; of two
    assert not re.search(r'(src|href)="(?!data:)', page) and "<script" not in page


def test_one_photograph_prints_the_72_numbers(photographs, tmp_path, capsys):
    arguments = (photographs / "hopper.jpg", "--out", tmp_path / "out")
    assert predict(*arguments, "--boxes", tmp_path / "boxes.json") == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if re.match(r"(left|right|pelvis|spine|neck|head)", line)]
    person = json.loads((tmp_path / "out" / "hopper" / "person_0.json").read_text())
    numbers = [[float(word) for word in row.split()[1:4]] for row in rows]
    np.testing.assert_allclose(numbers, person["pose"], atol=6e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.jpg"], "missing.jpg: there is no such file"),
        (["in/words.jpg"], "words.jpg: not an image"),
        (["in/hopper.jpg", "--save", "fbx"], "cannot save .fbx"),
        (["in/hopper.jpg", "--boxes", "missing.json"], "missing.json: there is no such file"),
        (["in/hopper.jpg", "--boxes", "in/notes.txt"], "notes.txt: expected JSON"),
        (["empty"], "there are no pictures in it"),
    ],
)
def test_bad_input_is_one_clear_line(
    photographs, tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert predict(*arguments, "--out", "out") == 2
    error = capsys.readouterr().err
    assert re.search(r"hmr: error: [^\n]+\n$", error) and message in error


# --- what is given ----------------------------------------------------------------------------


def coco(path, **annotation):
    images = [{"id": 7, "file_name": "street.jpg"}, {"id": 8, "file_name": "nobody.jpg"}]
    annotations = [{"id": 1, "image_id": 7, "category_id": 1, **annotation}]
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


def test_boxes_of_coco_and_of_our_own(tmp_path):
    found = given.read_boxes(coco(tmp_path / "coco.json", bbox=[10, 20, 30, 50]))
    np.testing.assert_array_equal(found["street.jpg"], [[10, 20, 40, 70]])
    assert list(found) == ["street.jpg"]
    (tmp_path / "own.json").write_text('{"a.jpg": [[1, 2, 3, 4]]}')
    np.testing.assert_array_equal(given.read_boxes(tmp_path / "own.json")["a.jpg"], [[1, 2, 3, 4]])


def test_keypoints_of_coco_and_of_openpose(tmp_path):
    points = np.arange(51.0)
    found, names = given.read_keypoints(coco(tmp_path / "coco.json", keypoints=points.tolist()))
    np.testing.assert_array_equal(found["street.jpg"], points.reshape(1, 17, 3))
    assert names == "coco-17"
    folder = tmp_path / "openpose"
    folder.mkdir()
    person = {"pose_keypoints_2d": (np.arange(75.0) + 2).tolist()}
    (folder / "street_keypoints.json").write_text(json.dumps({"people": [person]}))
    found, names = given.read_keypoints(folder)
    assert names == "openpose-25" and found["street"].shape == (1, 25, 3)
    assert given.of_picture(found, "photos/street.jpg") is found["street"]
    assert given.of_picture(found, "photos/road.jpg") is None
    assert given.of_picture(None, "photos/road.jpg") is None


def test_names_with_folders_are_known_without_them_if_that_is_clear():
    found = {"train\\a.jpg": [1], "train/b.jpg": [2], "val/b.jpg": [3]}
    assert given.of_picture(found, "photos/a.jpg") == [1]
    assert given.of_picture(found, "val/b.jpg") == [3]
    assert given.of_picture(found, "photos/b.jpg") is None


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1, 2]",
        '{"a.jpg": [[1, 2, 3]]}',
        '{"a.jpg": "left"}',
        '{"annotations": [{"bbox": [1, 2, 3, 4], "image_id": 3}], "images": []}',
        '{"annotations": [{"bbox": [1, 2, null, 4], "image_id": 3}], "images": [{"id": 3}]}',
    ],
)
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "boxes.json"
    path.write_text(text)
    with pytest.raises(PredictionError, match=r"boxes\.json: expected"):
        given.read_boxes(path)
    with pytest.raises(ValueError, match=r"boxes\.json"):
        given.read_keypoints(path)
