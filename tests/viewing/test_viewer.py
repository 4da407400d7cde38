"""The viewers, as far as they can be tested without a browser; `test_browser.py` uses them."""

import gzip
import hashlib
import json
import re
import struct

import numpy as np
import pytest
import trimesh

import hmrlib
from hmrlib.body import files
from hmrlib.body.keypoints import landmark_vertices
from hmrlib.render import CLAY
from hmrlib.render.textures import to_linear
from hmrlib.skeleton import JOINT_MIRROR, JOINT_NAMES, POSES, pose_from_degrees
from hmrlib.viewing import live, viewer
from tests.conftest import ROOT

JS = ROOT / "hmrlib" / "viewing" / "js"
WAVING = pose_from_degrees(POSES["waving"])


@pytest.fixture(scope="module")
def model():
    return files.read_model(files.OPEN_BODY)


@pytest.fixture(scope="module")
def body():
    return hmrlib.load_body(files.OPEN_BODY)


def unpacked(data):
    """Header, and arrays by name, of what `live.pack` wrote."""
    raw = gzip.decompress(data)
    (length,) = struct.unpack_from("<I", raw)
    header = json.loads(raw[4 : 4 + length])
    arrays = {
        entry["name"]: np.frombuffer(raw, entry["dtype"], entry["size"], entry["offset"])
        for entry in header["arrays"]
    }
    return header, arrays


def test_bundle_is_made_of_the_sources():
    digest = hashlib.sha256()
    for name in ("body.js", "viewer.js", "viewer.css", "package-lock.json"):
        digest.update((JS / name).read_text("utf-8").encode())
    first = live.BUNDLE.read_text("utf-8").splitlines()[0]
    assert digest.hexdigest() in first, "run `make viewer`"


def test_lock_names_no_registry():
    lock = json.loads((JS / "package-lock.json").read_text("utf-8"))
    assert not [name for name, entry in lock["packages"].items() if "resolved" in entry]


def test_pack_holds_the_model(model):
    data = live.pack(model)
    assert data == live.pack(model)
    header, arrays = unpacked(data)
    count = len(model["v_template"])
    np.testing.assert_array_equal(arrays["template"].reshape(-1, 3), model["v_template"])
    np.testing.assert_array_equal(arrays["faces"].reshape(-1, 3), model["f"])
    assert header["num_betas"] == 10 and tuple(header["names"]) == JOINT_NAMES
    weights = np.zeros((count, 24))
    rows = np.repeat(np.arange(count), header["influences"])
    np.add.at(weights, (rows, arrays["skin_joints"]), arrays["skin_weights"])
    np.testing.assert_allclose(weights, model["weights"], atol=1e-5)
    dense = np.zeros((23, count, 9, 3), np.float32)
    joints = np.repeat(np.arange(23), arrays["pose_counts"])
    dense[joints, arrays["pose_vertices"]] = arrays["pose_values"].reshape(-1, 9, 3)
    posedirs = dense.transpose(1, 3, 0, 2).reshape(count, 3, 207)
    np.testing.assert_allclose(posedirs, model["posedirs"], atol=1e-4)


def test_page_is_small_and_asks_for_nothing(model):
    page = live.page(model, begin={"pose": WAVING, "skeleton": True})
    assert len(page.encode()) < 6e6
    assert not re.findall(r"""(?:src|href)=["'](?!data:)|@import|url\(\s*["']?http""", page)
    begin = re.search(r'data-hmr-viewer="([^"]*)"', page).group(1).replace("&quot;", '"')
    assert json.loads(begin)["skeleton"] is True
    np.testing.assert_allclose(json.loads(begin)["pose"], WAVING.ravel(), atol=1e-4)


def test_page_needs_a_body_element(model):
    with pytest.raises(ValueError, match="no </body>"):
        live.make_live("<p>text</p>", model)


def test_limits_are_mirrored():
    limits = live.joint_limits()
    mirrored = limits[list(JOINT_MIRROR)]
    np.testing.assert_array_equal(mirrored[:, 0], limits[:, 0])
    np.testing.assert_array_equal(mirrored[:, 1:], -limits[:, 1:, ::-1])
    assert (limits[..., 0] < limits[..., 1]).all()


def test_groups_name_every_joint_once():
    assert sorted(name for names in live.GROUPS.values() for name in names) == sorted(JOINT_NAMES)


def test_presets_are_what_they_are_called(model, body):
    bodies = live.preset_bodies(model)
    assert all(len(betas) == 10 for betas in bodies.values())
    shapes = np.asarray(body(np.stack(list(bodies.values()))).vertices)
    size = {}
    for name, vertices in zip(bodies, shapes, strict=True):
        volume = trimesh.Trimesh(vertices, body.faces, process=False).volume
        size[name] = np.ptp(vertices[:, 1]), volume
    assert size["short"][0] < size["mean"][0] - 0.1 and size["tall"][0] > size["mean"][0] + 0.1
    for name in ("heavy", "slight"):
        assert abs(size[name][0] - size["mean"][0]) < 0.02
    assert size["slight"][1] < 0.85 * size["mean"][1] and size["heavy"][1] > 1.15 * size["mean"][1]


def test_text_goes_round():
    betas, pose = viewer.read_text(viewer.as_text([0.5, -1], WAVING), 10)
    np.testing.assert_array_equal(betas, [0.5, -1])
    np.testing.assert_allclose(pose, WAVING, atol=1e-4)
    betas, pose = viewer.read_text(json.dumps(WAVING.ravel().tolist()), 10)
    assert betas is None and pose.shape == (24, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pose = 3", "not JSON"),
        ("{}", "neither betas nor pose"),
        ("7", "neither betas nor pose"),
        ('{"pose": [1, 2, 3]}', "pose: expected 72 numbers, found 3"),
        ('{"betas": [1, 2, 3, 4]}', "betas: expected at most 3 numbers, found 4"),
        ('{"betas": ["tall"]}', "betas: expected numbers alone"),
        ('{"betas": [NaN]}', "betas: expected numbers alone"),
        ('{"pose": {"x": 1}}', "pose: expected numbers alone"),
    ],
)
def test_bad_text_is_told_in_a_sentence(text, message):
    with pytest.raises(ValueError, match=message):
        viewer.read_text(text, 3)


def test_show_outside_a_notebook_writes_a_page(body, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    path = hmrlib.show(body, betas=[1.0], pose=WAVING, skeleton=True)
    assert opened == [path.as_uri()]
    assert "data-hmr-body" in path.read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"betas": np.zeros(21)}, "at most 20 numbers, found 21"),
        ({"pose": np.zeros(66)}, "expected 72 numbers, found 66"),
        ({"betas": [np.nan]}, "finite"),
        ({"reference": np.zeros((10, 3))}, r"\(6890, 3\).*found shape \(10, 3\)"),
        ({"colour": "clay"}, "unknown colour"),
    ],
)
@pytest.mark.parametrize("kernel", [True, False])
def test_show_refuses_what_does_not_fit(body, arguments, message, kernel, monkeypatch):
    monkeypatch.setattr("hmrlib.viewing.show.in_notebook", lambda: True)
    with pytest.raises(ValueError, match=message):
        hmrlib.show(body, kernel=kernel, **arguments)


@pytest.fixture
def explorer(body):
    reference = np.asarray(body(None, WAVING[None]).vertices[0])
    return viewer.Explorer(body, pose=np.zeros((24, 3)), reference=reference)


def test_sliders_move_the_body(explorer, body):
    explorer.shape_sliders[2].value = 1.5
    explorer.joint_menu.value = JOINT_NAMES.index("right_knee")
    explorer.angle_sliders[0].value = 60
    pose = pose_from_degrees({"right_knee": (60, 0, 0)})
    expected = np.asarray(body([[0, 0, 1.5]], pose[None]).vertices[0])
    np.testing.assert_allclose(explorer.vertices, expected, atol=1e-5)
    shown = explorer.geometry.attributes["position"].array
    np.testing.assert_allclose(shown - [0, shown[0, 1] - expected[0, 1], 0], expected, atol=1e-5)
    assert abs(shown[:, 1].min()) < 1e-5  # it stands on the ground
    assert viewer.read_text(explorer.text_area.value, 10)[0][2] == 1.5


def test_a_change_is_sent_once_and_a_preset_too(explorer):
    sent = []
    position = explorer.geometry.attributes["position"]
    position.observe(lambda change: sent.append(change["new"].nbytes), "array")
    explorer.shape_sliders[0].value = 1
    assert sent == [6890 * 12]
    explorer.set(betas=np.arange(10) / 10, pose=WAVING)  # 13 sliders move
    assert len(sent) == 2


def test_a_page_that_has_drawn_gets_messages_and_one_that_loads_anew_the_last_picture(explorer):
    position = explorer.geometry.attributes["position"]
    explorer.browser_has_drawn()
    traits = []
    position.observe(traits.append, "array")
    before = position.get_state()["array"]["buffer"].tobytes()
    explorer.set(betas=[2], pose=WAVING)
    assert traits == []  # the browser would answer
    state = position.get_state()["array"]
    assert state["buffer"].tobytes() != before
    shown = np.frombuffer(state["buffer"], np.float32).reshape(-1, 3)
    np.testing.assert_allclose(np.ptp(shown, axis=0), np.ptp(explorer.vertices, axis=0), atol=1e-5)


def test_undo_takes_back_a_drag_as_one(explorer):
    for value in (0.5, 1.0, 1.5):
        explorer.shape_sliders[0].value = value
    explorer.set(pose=WAVING)
    explorer.undo()
    assert explorer.betas[0] == 1.5 and not explorer.pose.any()
    explorer.undo()
    assert not explorer.betas.any() and explorer.shape_sliders[0].value == 0
    explorer.undo()  # nothing left: nothing happens
    explorer.set(betas=[2])
    explorer.reset()
    assert not explorer.betas.any()


def test_terms_are_switched(explorer, body):
    explorer.set(pose=WAVING)
    explorer.correctives_box.value = False
    explorer.skinning_menu.value = "dqs"
    expected = np.asarray(body(None, WAVING[None], None, "dqs", False).vertices[0])
    np.testing.assert_allclose(explorer.vertices, expected, atol=1e-5)


def test_colours_say_what_they_are_called(explorer):
    albedo = explorer.geometry.attributes["albedo"]
    for kind in ("weights", "correctives", "skinning"):
        explorer.color_menu.value = kind
        assert np.isfinite(albedo.array).all()
    explorer.color_menu.value = "error"
    assert " mm" in explorer.legend.value
    far = np.linalg.norm(explorer.vertices - explorer.reference, axis=1).argmax()
    bright = albedo.array / explorer.occlusion
    assert bright[far, 0] > 10 * np.median(bright[:, 0])  # viridis ends in yellow
    explorer.set(pose=WAVING)  # there
    assert np.abs(albedo.array / explorer.occlusion - bright[bright.sum(1).argmin()]).max() < 0.01


def test_clothes_cover_trunk_and_thighs_alone(model, explorer):
    colors = live.clothed(model)
    cloth = np.abs(colors - live.CLOTH).max(axis=1) < 1e-6
    bare = np.abs(colors - CLAY).max(axis=1) < 1e-6
    most = np.array(JOINT_NAMES)[model["weights"].argmax(axis=1)]
    assert bare[np.isin(most, ["left_elbow", "right_wrist", "left_knee", "left_foot"])].all()
    behind = (
        model["v_template"][:, 2]
        < (model["J_regressor"] @ model["v_template"])[JOINT_NAMES.index("head"), 2]
    )
    assert not cloth[most == "head"].any() and bare[(most == "head") & behind].all()
    assert cloth[np.isin(most, ["pelvis", "spine1", "spine2"])].all()
    explorer.color_menu.value = "clothed"
    shown = explorer.geometry.attributes["albedo"].array / explorer.occlusion
    np.testing.assert_allclose(shown, to_linear(colors), atol=1e-6)
    assert explorer.legend.value == ""


def test_who_wears_clothes_has_a_face(model):
    dark = live.clothed(model).mean(axis=1) < np.mean(CLAY) - 0.3
    eyes = landmark_vertices(model["v_template"], model["weights"])[2:4]
    skin = np.array(JOINT_NAMES)[model["weights"].argmax(axis=1)] == "head"
    apart = np.linalg.norm(model["v_template"][:, None] - model["v_template"][eyes], axis=-1)
    assert dark[eyes].all() and apart.min(axis=1)[dark & skin].max() < 0.02  # metres


def test_without_a_pose_the_body_stands_at_ease(body):
    standing = pose_from_degrees(POSES["standing"])
    explorer = viewer.Explorer(body)
    np.testing.assert_array_equal(explorer.pose, standing)
    explorer.set(pose=WAVING)
    explorer.reset()
    np.testing.assert_array_equal(explorer.pose, standing)


def test_a_click_chooses_the_joint(explorer):
    shown = explorer.geometry.attributes["position"].array
    wrist = JOINT_NAMES.index("right_wrist")
    vertex = explorer.body.weights[:, wrist].argmax()
    explorer.pick(shown[vertex] - live.VIEW["target"])
    assert explorer.joint_menu.value == wrist


def test_bad_text_leaves_the_body_alone(explorer):
    explorer.set(betas=[1])
    explorer.text_area.value = '{"pose": [1]}'
    explorer.paste()
    assert "expected 72 numbers, found 1" in explorer.message.value
    assert explorer.betas[0] == 1
    explorer.text_area.value = '{"betas": [2]}'
    explorer.paste()
    assert explorer.message.value == "" and explorer.betas[0] == 2


def test_explorer_saves_what_it_shows(explorer, tmp_path):
    explorer.set(betas=[1], pose=WAVING)
    mesh = trimesh.load(explorer.save(tmp_path / "body.obj"), process=False)
    np.testing.assert_allclose(mesh.vertices, explorer.vertices, atol=1e-5)
    scene = trimesh.load(explorer.save(tmp_path / "body.glb"))
    assert "right_elbow" in scene.graph.nodes
    turn, place = scene.graph["right_elbow"][0][:3, :3], scene.graph["right_elbow"][0][:3, 3]
    assert np.abs(turn - np.eye(3)).max() > 0.5
    np.testing.assert_allclose(place, explorer.joints[19], atol=1e-4)
    with pytest.raises(files.ModelFileError, match=r"\.glb, \.obj or \.ply"):
        explorer.save(tmp_path / "body.npz")


def test_a_body_of_other_counts(model):
    """Half of the vertices, four betas: both viewers take what they find."""
    keep = np.arange(0, 6890, 2)
    place = np.full(6890, -1)
    place[keep] = np.arange(len(keep))
    faces = place[model["f"]]
    small = {
        **model,
        "v_template": model["v_template"][keep],
        "shapedirs": model["shapedirs"][keep][..., :4],
        "posedirs": model["posedirs"][keep],
        "weights": model["weights"][keep],
        "J_regressor": model["J_regressor"].toarray()[:, keep],
        "f": np.vstack([faces[(faces >= 0).all(axis=1)], [[0, 1, 2]]]),
    }
    other = hmrlib.Body(files.check_model(small))
    explorer = viewer.Explorer(other, betas=[1])
    assert len(explorer.shape_sliders) == 4 and explorer.vertices.shape == (3445, 3)
    assert unpacked(viewer.Live(other).data)[0]["num_betas"] == 4
    with pytest.raises(ValueError, match="at most 4"):
        explorer.set(betas=np.zeros(5))
