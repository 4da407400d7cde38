"""The field's protocols: measures against independent implementations, and nobody left out."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation
from scipy.stats import bootstrap

import hmrlib
from hmrlib.cli import main
from hmrlib.data.records import write_shard
from hmrlib.evaluation import metrics, protocols
from hmrlib.evaluation.protocols import PROTOCOLS, Answer, Protocol, ProtocolError, judge, score
from hmrlib.skeleton import PARENTS
from tests.sample_people import write_people

pytestmark = pytest.mark.slow

SIZE = 64
STRANGERS = replace(PROTOCOLS["synthetic"], split="validation")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("people"), train=2, validation=7, size=SIZE)


@pytest.fixture(scope="module")
def body():
    return hmrlib.load_body()


def truth(body):
    """Somebody who knows everything."""

    def answer(batch):
        rotations = Rotation.from_rotvec(batch["pose"].reshape(-1, 3)).as_matrix()
        rotations = rotations.reshape(-1, 24, 3, 3).astype(np.float32)
        posed = body(batch["betas"], rotations)
        return Answer(
            batch["keypoints_2d"][..., :2],
            np.array(body.keypoints(posed, "union-22")),
            rotations,
            np.array(posed.vertices),
            np.array(posed.joints),
        )

    return answer


def failing(ask, row):
    """The same, but for one person of each batch, of whom nothing finite is said."""

    def answer(batch):
        found = Answer(*(np.array(part) for part in ask(batch)))
        for part in found:
            part[row] = np.nan
        return found

    return answer


# --- measures ------------------------------------------------------------------------------------


def test_part_angles_are_those_of_scipy():
    turns = Rotation.random(2 * 3 * 24, random_state=0).as_matrix().reshape(2, 3, 24, 3, 3)
    world = turns.copy()
    for joint in range(1, 24):
        world[:, :, joint] = world[:, :, PARENTS[joint]] @ turns[:, :, joint]
    parts = world[:, :, metrics.PARTS].reshape(2, -1, 3, 3)
    expected = (Rotation.from_matrix(parts[0]).inv() * Rotation.from_matrix(parts[1])).magnitude()
    np.testing.assert_allclose(metrics.part_angles(*turns).ravel(), expected, atol=1e-6)


def test_auc_is_the_mean_of_pck_over_thresholds():
    distances = np.random.default_rng(0).uniform(0, 0.25, (40, 14))
    curve = [(distances <= t).mean() for t in np.linspace(0, 0.15, 31)]
    assert metrics.auc(distances).mean() == pytest.approx(np.mean(curve))
    assert np.isnan(metrics.auc(np.array([np.nan, 0.1]))).tolist() == [True, False]


def test_acceleration_of_a_parabola():
    time = np.arange(9)[:, None, None] / 30
    still, thrown = np.zeros((9, 14, 3)), np.zeros((9, 14, 3)) + time**2 * [0, 4.9, 0]
    np.testing.assert_allclose(metrics.acceleration_errors(thrown, still, 30), 9.8, rtol=1e-3)


def test_interval_is_that_of_scipy():
    people = np.random.default_rng(0).gamma(2.0, 40.0, 300)
    found = score(people)
    expected = bootstrap(
        (people,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert found.mean == pytest.approx(people.mean())
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.1 * width)
    assert found.high == pytest.approx(expected.high, abs=0.1 * width)


def test_mean_is_over_points_and_resampling_over_people():
    values = np.array([[100.0, np.nan], [0.0, 0.0]])
    assert score(values).mean == pytest.approx(100 / 3)
    assert score(values).people == 2


# --- protocols -----------------------------------------------------------------------------------


def test_who_knows_everything_errs_nowhere(records, body):
    results = judge(STRANGERS, records, {"truth": truth(body)}, body, SIZE, batch_size=4)
    found = results.scores()["truth"]
    assert set(found) == set(PROTOCOLS["synthetic"].measures)
    assert len(results.ids) == 7
    for name, one in found.items():
        assert one.mean == pytest.approx(100 if "pck" in name else 0, abs=0.1), name
        assert (one.people, one.failed) == (7, 0)


def test_known_errors_are_found(records, body):
    def shifted(batch):
        found = truth(body)(batch)
        keypoints = found.keypoints_3d.copy()
        keypoints[:, 0] += [0.14, 0, 0]  # one of 14 points, by 140 mm
        pixels = batch["keypoints_2d"]
        torso = np.linalg.norm(pixels[:, 9, :2] - pixels[:, 2, :2], axis=-1)
        flat = found.keypoints_2d + np.stack([0.3 * torso, 0 * torso], -1)[:, None]
        return found._replace(keypoints_3d=keypoints, keypoints_2d=flat)

    found = judge(STRANGERS, records, {"he": shifted}, body, SIZE).scores()["he"]
    assert found["mpjpe"].mean == pytest.approx(10, abs=0.1)
    assert found["pck_0.2"].mean == 0 and found["pck_0.5"].mean == 100


def test_nobody_is_left_out(records, body):
    asked = {"whole": truth(body), "half": failing(truth(body), 0)}
    results = judge(STRANGERS, records, asked, body, SIZE, batch_size=4)
    found = results.scores()["half"]
    assert found["mpjpe"].failed == found["pve"].failed == found["mpjae"].failed == 2  # two batches
    assert not np.isfinite(found["mpjpe"].mean)
    assert found["pck_0.2"].mean == pytest.approx(100 * 5 / 7)  # wrong, not left out
    text = protocols.report(results)
    assert "half: 2 of 7 people got no finite answer for MPJPE" in text
    assert "nan" not in text


def test_photographs_need_no_body(records, body):
    flat = Protocol("flat", "x", ("pck_0.2", "box_0.1", "pckh"), split="validation")
    ask = {"truth": truth(body), "points": lambda batch: Answer(batch["keypoints_2d"][..., :2])}
    found = judge(flat, records, ask, body, SIZE).scores()
    assert all(one.mean == 100 for who in found.values() for one in who.values())


def test_actions_and_accelerations(records, body):
    clips = Protocol("clips", "x", ("mpjpe",), split="validation", action=r"^(\d+)-",
                     clip=r"^(\d+)-(\d+)$", fps=30.0)  # fmt: skip
    results = judge(clips, records, {"truth": truth(body)}, body, SIZE, batch_size=3)
    assert np.isnan(results.values["truth"]["acceleration"]).tolist() == [True, *[False] * 5, True]
    assert results.scores()["truth"]["acceleration"].mean == pytest.approx(0, abs=1)
    assert "| 1 |" in protocols.action_table(results, "mpjpe")


def test_smplify_on_true_points(records, body):
    ask = {"fit": protocols.smplify(body, None, SIZE)}
    found = judge(STRANGERS, records, ask, body, SIZE).scores()["fit"]
    assert found["pck_0.2"].mean > 95
    assert found["pa_mpjpe"].failed == 0


def test_measures_agree_with_others(records, body):
    """Somebody who errs at random, measured again sample by sample with SciPy alone."""
    rng = np.random.default_rng(0)
    kept = []

    def noisy(batch):
        exact = truth(body)(batch)
        turns = Rotation.from_matrix(exact.rotations.reshape(-1, 3, 3))
        noise = Rotation.from_rotvec(rng.normal(0, 0.2, (len(turns), 3)))
        flat, space, vertices, joints = (
            part + rng.normal(0, scale, part.shape)
            for part, scale in zip((exact.keypoints_2d, exact.keypoints_3d, exact.vertices,
                                    exact.joints), (8, 0.06, 0.02, 0.02), strict=True)
        )  # fmt: skip
        turned = (noise * turns).as_matrix().reshape(exact.rotations.shape)
        found = Answer(flat, space, turned, vertices, joints)
        kept.append((batch, exact, found))
        return found

    measures = (*PROTOCOLS["synthetic"].measures, "pckh", "box_0.1", "pck_3d", "auc")
    every = replace(STRANGERS, measures=measures, points=protocols.UNION)
    scores = judge(every, records, {"he": noisy}, body, SIZE).scores()["he"]
    again = {name: [] for name in ("mpjpe", "pa_mpjpe", "pve", "pck_0.2", "pckh", "box_0.1")}
    ((batch, exact, found),) = kept
    for k in range(len(batch["pose"])):
        one, other = found.keypoints_3d[k, :14], batch["keypoints_3d"][k, :14, :3]
        off = (one - one[2:4].mean(axis=0)) - (other - other[2:4].mean(axis=0))
        again["mpjpe"].append(1000 * np.linalg.norm(off, axis=-1))
        size = np.linalg.norm(other - other.mean(axis=0))
        standard, aligned, _ = procrustes(other, one)  # both of unit norm
        again["pa_mpjpe"].append(1000 * size * np.linalg.norm(standard - aligned, axis=-1))
        off = (found.vertices - found.joints[:, :1] - exact.vertices + exact.joints[:, :1])[k]
        again["pve"].append([1000 * np.linalg.norm(off, axis=-1).mean()])
        points, known = batch["keypoints_2d"][k, :, :2], batch["keypoints_2d"][k, :, 2] > 0
        away = np.linalg.norm(found.keypoints_2d[k] - points, axis=-1)[known]
        for name, reach, ends in (("pck_0.2", 0.2, (9, 2)), ("pckh", 0.5, (12, 13))):
            if known[list(ends)].all():
                length = np.linalg.norm(np.subtract(*points[list(ends)]))
                again[name].append(100 * (away <= reach * length))
        again["box_0.1"].append(100 * (away <= 0.1 * np.ptp(points[known], axis=0).max()))
    for name, values in again.items():
        assert scores[name].mean == pytest.approx(np.concatenate(values).mean(), rel=2e-3), name
    assert 0 < scores["box_0.1"].mean < 100 and 0 < scores["pckh"].mean < 100
    within = np.concatenate(again["mpjpe"])
    assert scores["pck_3d"].mean == pytest.approx(100 * (within <= 150).mean())
    assert scores["auc"].mean == pytest.approx(
        100 * np.mean([within <= most for most in np.linspace(0, 150, 31)]), rel=1e-3
    )


@pytest.mark.parametrize(
    ("name", "measures"),
    {
        "lsp": ("pck_0.2", "pck_0.5"),
        "lsp_extended": ("box_0.05", "box_0.1"),
        "coco": ("box_0.05", "box_0.1"),
        "mpii": ("pckh",),
        "3dpw": ("mpjpe", "pa_mpjpe", "pve", "mpjae"),
        "h36m_p1": ("mpjpe", "pa_mpjpe"),
        "h36m_p2": ("mpjpe", "pa_mpjpe"),
        "mpi_inf_3dhp": ("mpjpe", "pa_mpjpe", "pck_3d", "auc"),
        "synthetic": ("mpjpe", "pa_mpjpe", "pve", "mpjae"),
    }.items(),
)
def test_the_fields_protocols_are_there(name, measures):
    protocol = PROTOCOLS[name]
    assert set(measures) <= set(protocol.measures) <= set(protocols.MEASURES)
    assert set(protocol.points) <= set(protocols.UNION)
    for pattern, groups in ((protocol.action, 1), (protocol.clip, 2)):
        assert pattern is None or re.compile(pattern).groups == groups
    assert bool(protocol.clip) == bool(protocol.fps)


# --- bad input -----------------------------------------------------------------------------------


def test_other_people_or_points(records, body):
    with pytest.raises(ProtocolError, match=r"he answers keypoints_2d .* not the same people"):
        judge(STRANGERS, records, {"he": lambda batch: Answer(np.zeros((3, 22, 2)))}, body, SIZE)
    with pytest.raises(ProtocolError, match="another set of points"):
        ask = {"he": lambda batch: Answer(np.zeros((len(batch["pose"]), 17, 2)))}
        judge(STRANGERS, records, ask, body, SIZE)


def test_another_body(records, body):
    def ask(batch):
        found = truth(body)(batch)
        return found._replace(vertices=found.vertices[:, 1:])

    with pytest.raises(ProtocolError, match=r"he answers vertices .* not the same people"):
        judge(STRANGERS, records, {"he": ask}, body, SIZE)


def test_who_cannot_say_what_is_asked(records, body):
    space = replace(STRANGERS, measures=("mpjpe", "pa_mpjpe"))
    ask = {"he": lambda batch: Answer(batch["keypoints_2d"][..., :2])}
    with pytest.raises(ProtocolError, match=r"he answers nothing .*\(MPJPE, PA-MPJPE\)"):
        judge(space, records, ask, body, SIZE)


def test_labels_of_a_few_are_told_of(tmp_path, body):
    def some(sample):
        missing = ("pose", "betas") if sample["id"].endswith("1") else ()
        return {name: value for name, value in sample.items() if name not in missing}

    folder = write_people(tmp_path, 0, 3, SIZE, some)
    text = protocols.report(judge(STRANGERS, folder, {"he": truth(body)}, body, SIZE))
    assert "PVE: 2 of 3 people have the labels for it." in text
    assert "MPJPE: " not in text and "nan" not in text


def test_no_sample_of_the_protocol(records, body):
    with pytest.raises(ProtocolError, match="not one sample belongs to"):
        judge(Protocol("x", "x", ("mpjpe",), "validation", keep="S9"), records, {}, body, SIZE)
    with pytest.raises(ProtocolError, match=r"judged on the split 'test'.*hmr data convert"):
        judge("3dpw", records, {}, body, SIZE)


def test_labels_that_are_missing(tmp_path, body):
    def flat(sample):
        return {k: v for k, v in sample.items() if k not in ("keypoints_3d", "pose", "betas")}

    folder = write_people(tmp_path, 0, 3, SIZE, flat)
    with pytest.raises(ProtocolError, match=r"needs labels for MPJPE.*not one sample"):
        judge(STRANGERS, folder, {"mean": lambda batch: _guess(batch, body)}, body, SIZE)


def _guess(batch, body):
    count = len(batch["pose"])
    zeros = np.zeros
    return Answer(zeros((count, 22, 2)), zeros((count, 22, 3)),
                  np.tile(np.eye(3), (count, 24, 1, 1)), zeros((count, len(body.v_template), 3)),
                  zeros((count, 24, 3)))  # fmt: skip


def test_tables_are_kept(records, body, tmp_path):
    results = judge(STRANGERS, records, {"truth": truth(body)}, body, SIZE)
    path = protocols.save(results, tmp_path)
    assert path.read_text() == protocols.report(results)
    kept = json.loads(path.with_suffix(".json").read_text())
    assert kept["truth"]["mpjpe"]["people"] == 7
    with np.load(path.with_suffix(".npz")) as arrays:
        np.testing.assert_array_equal(arrays["truth/mpjpe"], results.values["truth"]["mpjpe"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--protocol", "lsq"], "there is no protocol 'lsq': choose from lsp, "),
        (["--protocol", "lsp"], "needs the data set's records"),
        (["--protocol", "lsp", "--rows", "me"], "--rows: ['me']; choose from mean, "),
        ([], "which records?"),
    ],
)
def test_commands_that_say_too_little(arguments, message, capsys):
    assert main(["evaluate", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_another_split_takes_the_place_of_an_empty_one(tmp_path, body, capsys):
    folder = write_people(tmp_path, 2, 3, SIZE)
    write_shard(folder / "test-00000.tfrecord", [])
    protocol = replace(STRANGERS, split="test", else_split="validation")
    assert len(judge(protocol, folder, {"truth": truth(body)}, body, SIZE).ids) == 3
    assert "'validation' takes its place" in capsys.readouterr().out


def test_landmarks_and_the_whole_way_are_judged_like_others(tmp_path):
    pytest.importorskip("ai_edge_litert", reason="runs the landmark networks")
    from hmrlib.prediction.judged import landmarks, refined

    hmr = hmrlib.load_model()
    folder = write_people(tmp_path, 0, 3, 256)
    ask = {"landmarks": landmarks(hmr), "network": protocols.network(hmr), "refined": refined(hmr)}
    results = judge(STRANGERS, folder, ask, hmr.body, hmr.size)
    scores = results.scores()
    assert scores["refined"]["pck_0.2"].mean > scores["network"]["pck_0.2"].mean
    assert scores["refined"]["pck_0.5"].mean > 80
    assert scores["refined"]["mpjpe"].failed == 0
    assert set(scores["landmarks"]) == {"mpjpe", "pa_mpjpe", "pck_0.2", "pck_0.5"}
    assert scores["landmarks"]["pck_0.5"].mean > 80
    assert scores["landmarks"]["pa_mpjpe"].mean < 150
    assert "PVE, mm, 50 %" in protocols.percentile_table(results)  # though the first has none


def test_points_that_blazepose_lacks_lie_between_others(body):
    pytest.importorskip("ai_edge_litert", reason="runs the landmark networks")
    from hmrlib.prediction import judged
    from hmrlib.prediction.landmarks import LANDMARK_NAMES
    from hmrlib.skeleton import correspondence

    rest = np.asarray(body.keypoints(body(), "union-22"))[0]
    turn, shift = Rotation.from_rotvec([0.3, -0.4, 2.0]).as_matrix(), [1.0, 2.0, 3.0]
    placed = 1.3 * rest @ turn.T + shift  # a similarity keeps what lies on a line
    of, to = correspondence("union-22", LANDMARK_NAMES)
    given = np.full((33, 3), np.nan)
    given[to] = placed[of]
    found = judged.as_union(given, judged.line_shares(body))
    off = np.linalg.norm(found - placed, axis=-1) / 1.3
    derived = [protocols.UNION.index(name) for name in ("neck", "head_top", "spine")]
    assert np.delete(off, [*derived, *range(19, 22)]).max() < 1e-6
    assert off[derived].max() < 0.12
