"""The shipped body keeps what it promises, and building one is repeatable and resumable."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

import hmrlib
from hmrlib import learn, skeleton
from hmrlib.body import files
from hmrlib.learn import correctives, mesh

pytestmark = pytest.mark.slow

TINY = replace(learn.FAST, drawn=500, population=140, held_out=20, poses=24, held_out_poses=6)


@pytest.fixture(scope="module")
def model():
    return files.read_model(files.OPEN_BODY)


@pytest.fixture(scope="module")
def card():
    return hmrlib.load_body(files.OPEN_BODY).card


@pytest.fixture(scope="module")
def mirror(model):
    """The vertex on the other side, found from the positions alone."""
    place = {tuple(vertex): i for i, vertex in enumerate((model["v_template"] + 0.0).tolist())}
    reflected = model["v_template"] * [-1, 1, 1] + 0.0
    return np.array([place[tuple(vertex)] for vertex in reflected.astype("float32").tolist()])


# --- the shipped body --------------------------------------------------------------------------


def test_mesh_is_closed_oriented_and_of_genus_0(model):
    vertices, faces = model["v_template"], model["f"]
    assert (len(vertices), len(faces)) == (6890, 13776)
    half_edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    pairs = {tuple(edge) for edge in half_edges.tolist()}
    assert len(pairs) == len(half_edges), "a half-edge twice: not oriented, or not a manifold"
    assert all((b, a) in pairs for a, b in pairs), "a half-edge without its twin: not closed"
    assert len(vertices) - len(pairs) // 2 + len(faces) == 2, "Euler: V - E + F = 2 - 2 genus"
    links = sparse.coo_array((np.ones(len(half_edges)), half_edges.T), shape=(6890, 6890))
    assert sparse.csgraph.connected_components(links)[0] == 1
    a, b, c = (vertices[faces[:, i]].astype(float) for i in range(3))
    assert np.einsum("fc,fc->", a, np.cross(b, c)) / 6 > 0.05, "inside out"


def test_faces_are_in_the_order_that_a_build_gives_them(model, mirror):
    left, right = np.split(model["f"], 2)
    np.testing.assert_array_equal(mesh.canonical_faces(left), left)
    for faces, twins in ((left, right), (right, left)):
        reflected = mirror[faces][:, ::-1]
        turned = [np.roll(face, -face.argmin()) for face in reflected]
        np.testing.assert_array_equal(turned, twins)


def test_everything_is_exactly_symmetric(model, mirror):
    joints = list(skeleton.JOINT_MIRROR)
    flip = np.array([-1, 1, 1])
    assert (mirror[mirror] == np.arange(6890)).all()
    faces = {frozenset(face) for face in model["f"].tolist()}
    assert {frozenset(face) for face in mirror[model["f"]].tolist()} == faces
    np.testing.assert_array_equal(model["shapedirs"][mirror] * flip[:, None], model["shapedirs"])
    order, sign = correctives.mirror_features()
    np.testing.assert_array_equal(
        model["posedirs"][mirror][:, :, order] * sign * flip[:, None], model["posedirs"]
    )
    np.testing.assert_allclose(model["weights"][mirror][:, joints], model["weights"], atol=1e-6)
    regressor = model["J_regressor"].toarray()
    np.testing.assert_allclose(regressor[joints][:, mirror], regressor, atol=1e-6)


def test_head_and_hands_do_not_cut_themselves(model):
    crossing = mesh.self_intersections(model["v_template"].astype(float), model["f"])
    owner = model["weights"].argmax(axis=1)
    parts = [skeleton.JOINT_NAMES.index(n) for n in ("head", "left_hand", "right_hand")]
    wrists = [skeleton.JOINT_NAMES.index(n) for n in ("left_wrist", "right_wrist")]
    touched = model["f"][np.unique(crossing)].ravel() if len(crossing) else np.zeros(0, int)
    assert not np.isin(owner[touched], parts + wrists).any()


def test_weights_and_regressor_are_convex_and_sparse(model):
    weights, regressor = model["weights"], model["J_regressor"]
    assert weights.min() >= 0 and (np.count_nonzero(weights, axis=1) <= 4).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    assert regressor.data.min() > 0 and regressor.nnz < 1000
    np.testing.assert_allclose(np.asarray(regressor.sum(axis=1)).ravel(), 1, atol=1e-6)


def test_shape_and_joint_errors_on_held_out_bodies(card):
    """As measured by the build on bodies that it did not learn from."""
    error = card["shape"]["held_out_error_mm"]
    assert error["10"] <= 6.5 and error["20"] <= 3.8
    joints = card["joint_regressor"]
    assert joints["held_out_error_mm"] <= 5
    assert all(joints["by_joint_mm"][f"{side}_{joint}"] <= 4
               for side in ("left", "right") for joint in ("knee", "elbow"))  # fmt: skip


def test_correctives_bring_lbs_near_its_target_on_poses_nobody_has_seen(model):
    v_template, weights = model["v_template"].astype(float), model["weights"].astype(float)
    weights /= weights.sum(axis=1, keepdims=True)
    joints = model["J_regressor"].astype(float) @ v_template
    deformer = correctives.TargetDeformer(v_template, model["f"], joints, weights)
    unseen = correctives.rotation_matrices(correctives.sample_poses(100, 20260101))
    error = correctives.evaluate(deformer, unseen, model["posedirs"].astype(float))
    assert error["lbs"] >= 3.5
    assert error["correctives"] <= 0.6


def test_the_card_says_what_a_user_must_know(card):
    assert card["licence"] == "CC0 1.0"
    for word in ("US 10,395,411", "US 11,017,577"):
        assert word in card["patents"]
    assert "NATICK/TR-15/007" in card["population"]["source"]
    assert card["known_flaws"]
    assert card["settings"]["population"] == learn.FULL.population


# --- building one ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(assets, tmp_path_factory):
    """A tiny body, built once: its path and the folder of its stages."""
    work = tmp_path_factory.mktemp("build")
    return learn.build(work / "one.npz", TINY, work=work), work


def test_two_builds_agree(built, tmp_path):
    path, _ = built
    one, two = (
        files.read_model(path),
        files.read_model(learn.build(tmp_path / "two.npz", TINY, work=tmp_path)),
    )
    np.testing.assert_array_equal(one["f"], two["f"])
    for name in ("v_template", "shapedirs", "posedirs", "weights"):
        np.testing.assert_allclose(one[name], two[name], atol=1e-6, err_msg=name)
    difference = abs(one["J_regressor"] - two["J_regressor"])
    assert difference.max() <= 1e-6


def test_finished_stages_are_not_made_again(built, capsys):
    path, work = built
    before = path.read_bytes()
    capsys.readouterr()
    assert learn.build(path, TINY, work=work).read_bytes() == before
    assert capsys.readouterr().out.count("done before") == 5


def test_an_interrupted_stage_keeps_the_ones_before_it(tmp_path):
    def stopped():
        raise KeyboardInterrupt

    stages = learn.Stages(tmp_path)
    stages.run("first", lambda: {"x": np.arange(3)})
    with pytest.raises(KeyboardInterrupt):
        stages.run("second", stopped)
    assert [path.name for path in tmp_path.iterdir()] == ["first.npz"]
    again = learn.Stages(tmp_path).run("first", stopped)
    np.testing.assert_array_equal(again["x"], np.arange(3))
    assert not list(learn.Stages(tmp_path, fresh=True).folder.iterdir())


def test_a_sketch_never_replaces_the_shipped_body(built, tmp_path, monkeypatch):
    _, work = built
    shipped = files.OPEN_BODY.read_bytes()
    assert learn.build(settings=TINY, work=work) == work / "sketch.npz"
    assert files.OPEN_BODY.read_bytes() == shipped
