"""Studies: a tiny one end to end, resumed; its table; intervals; the power law."""

import json
import re

import numpy as np
import pytest

from hmrlib import skeleton
from hmrlib.cli import main
from hmrlib.geometry import axis_angle_to_matrix
from hmrlib.training import studies
from hmrlib.training.checkpoint import load_model
from hmrlib.training.studies import Study, StudyData, StudyError, Variant
from tests import tiny_encoder  # noqa: F401, a small network by name
from tests.sample_people import write_people

TINY = {
    "pictures": 16,
    "encoder": "TinyEncoder",
    "encoder_weights": None,
    "start_from": None,
    "size": 32,
    "hidden": 16,
    "batch_size": 4,
    "steps": 2,
    "augmentation": None,
}
STUDY = Study(
    "How many corrections?",
    {
        "1": Variant("one", {"iterations": 1}),
        "2": Variant("two", {"iterations": 2}),
        "photographs": Variant("of photographs", learned=("photographs", "people")),
        "weights": Variant("of a file", weights=True),
    },
    ("pa_mpjpe", "beyond_limits"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    return StudyData(write_people(folder / "people", train=8, validation=4, size=48))


@pytest.fixture(scope="module")
def done(tmp_path_factory, data):
    """A study that is over: its folder, what it measured, what it told."""
    out, told = tmp_path_factory.mktemp("done") / "corrections", []
    return out, studies.run_study(STUDY, out, data, TINY, (0, 1), told.append), told


@pytest.mark.slow
def test_runs_every_variant_and_seed(done, data):
    out, measured, told = done
    assert list(measured) == ["1", "2"] and all(len(runs) == 2 for runs in measured.values())
    assert len([line for line in told if line.startswith("corrections: ")]) == 4
    assert {path.name for path in out.glob("*-*")} == {
        f"{key}-{seed}.json" for key in "12" for seed in (0, 1)
    }  # no training's folder is left
    run = studies.read_run(out / "2-1.json")
    assert run["settings"]["iterations"] == 2 and run["settings"]["seed"] == 1
    assert run["records"] == {"people": 8} and run["measured"] == measured["2"][1]
    pairs = [[one["pa_mpjpe"] for one in runs] for runs in measured.values()]
    assert len(np.unique(pairs)) == 4 and np.min(pairs) > 10  # mm: nobody is found after two steps


@pytest.mark.slow
def test_says_what_is_left_out(done):
    _, measured, told = done
    left = [line for line in told if line.startswith("left out")]
    assert "of photographs" in left[0] and "--records" in left[0]
    assert "of a file" in left[1] and "--weights" in left[1]
    assert "Left out: of photographs; of a file." in studies.table(STUDY, measured, TINY)


@pytest.mark.slow
def test_finished_runs_are_kept_and_the_others_made(done, data):
    out, measured, _ = done
    before = {path: path.read_bytes() for path in out.glob("*.json")}
    (out / "2-0.json").unlink()
    told = []
    again = studies.run_study(STUDY, out, data, TINY, (0, 1), told.append)
    assert [line for line in told if "left out" not in line] == ["corrections: two, seed 0"]
    np.testing.assert_allclose(
        again["2"][0]["pa_mpjpe"], measured["2"][0]["pa_mpjpe"], rtol=1e-3
    )  # the same seed, the same training
    for path, content in before.items():
        if path.name != "2-0.json":
            assert path.read_bytes() == content
    with pytest.raises(StudyError, match="is of other settings; take another --out"):
        studies.run_study(STUDY, out, data, TINY | {"steps": 3}, (0, 1), told.append)


@pytest.mark.slow
def test_photographs_are_half_of_each_batch(tmp_path, data):
    both = StudyData(data.people, (write_people(tmp_path / "photos", 4, 4, 48),))
    study = Study("?", {"both": STUDY.variants["photographs"]}, ("photographs_pck",))
    measured = studies.run_study(study, tmp_path / "out", both, TINY, (0,), lambda line: None)
    seen = studies.Seen(
        studies.settings_of(study.variants["both"], both, TINY, 0), tmp_path / "features"
    )
    samples = seen.to_learn(study.variants["both"], both, 16)
    assert len(samples["features"]) == 16
    parts = [seen.samples(folder, "train", 8) for folder in (*both.photographs, both.people)]
    np.testing.assert_array_equal(samples["pose"], np.concatenate([part["pose"] for part in parts]))
    assert 0 <= measured["both"][0]["photographs_pck"] <= 100


@pytest.mark.slow
def test_table_and_plot_are_of_the_files(done):
    out, _, _ = done
    measured = studies.read_study(STUDY, out, (0, 1))
    markdown, picture = studies.save_study(STUDY, measured, out, TINY)
    rows = re.findall(r"^\| (one|two) \| ([\d.]+) ", markdown.read_text("utf-8"), re.MULTILINE)
    for (title, shown), key in zip(rows, "12", strict=True):
        files = [json.loads((out / f"{key}-{seed}.json").read_text("utf-8")) for seed in (0, 1)]
        mean = np.mean([run["measured"]["pa_mpjpe"] for run in files])
        assert STUDY.variants[key].title == title and float(shown) == pytest.approx(mean, abs=0.051)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_damaged_or_missing_runs_are_told(tmp_path):
    with pytest.raises(StudyError, match="no finished variant"):
        studies.read_study(STUDY, tmp_path)
    for text in ("{", "[]", '{"measured": {}}', '{"measured": {"pck": "x"}}'):
        (tmp_path / "run.json").write_text(text, "utf-8")
        with pytest.raises(StudyError, match=r"run\.json is no run of a study"):
            studies.read_run(tmp_path / "run.json")


def test_a_bad_name_says_what_there_is(capsys):
    assert main(["study", "nothing"]) == 2
    error = capsys.readouterr().err
    assert "there is no study 'nothing'" in error and all(name in error for name in studies.STUDIES)


def test_list_tells_every_study(capsys):
    assert main(["study", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines if not line.startswith(" ")} == set(studies.STUDIES)


@pytest.mark.parametrize("name", list(studies.STUDIES))
def test_every_variant_is_a_training(name):
    """Its settings are valid, and it differs from the others, be it in what is learned."""
    study = studies.STUDIES[name]
    data = StudyData("people", ("photographs",), "resnet.weights.h5")
    made = [
        (studies.settings_of(v, data, None, 0), v.learned, v.share) for v in study.variants.values()
    ]
    assert all(one not in made[:i] for i, one in enumerate(made))
    assert set(study.measures) <= set(studies.MEASURES)


def test_the_regressor_begins_anew():
    """The network that ships has another width, so that its encoder alone is taken."""
    shipped = load_model().config
    assert studies.SMALL["encoder"] == shipped.encoder and studies.SMALL["size"] == shipped.size
    assert studies.SMALL["hidden"] != shipped.hidden


def test_results_that_come_with_the_package():
    """Every study has been made, of every variant that needs no file, from all seeds."""
    results = studies.read_results()
    assert list(results) == list(studies.STUDIES)
    for name, study in studies.STUDIES.items():
        assert list(results[name]) == [k for k, v in study.variants.items() if not v.weights]
        assert all(len(runs) == len(studies.SEEDS) for runs in results[name].values())
        assert studies.table(study, results[name]).count("\n| ") == 1 + len(results[name])
    about = json.loads(studies.RESULTS.read_text("utf-8"))["how"]
    assert about["setting"] == studies.SMALL  # what the tables say of it


@pytest.mark.parametrize("text", ["{", "[]", '{"measured": {"a": {"b": [{"pck": "x"}]}}}', None])
def test_damaged_results_are_told(tmp_path, text):
    if text is not None:
        (tmp_path / "studies.json").write_text(text, "utf-8")
    with pytest.raises(StudyError, match=r"studies\.json has no results of studies"):
        studies.read_results(tmp_path / "studies.json")


def test_interval_is_students_t():
    one = studies.interval([1.0, 2.0, 3.0])
    half = 4.302653 / np.sqrt(3)  # t(0.975) of two degrees of freedom, from a printed table
    np.testing.assert_allclose(one, (2, 2 - half, 2 + half), rtol=1e-6)
    assert np.isnan(studies.interval([1.0]).low)


@pytest.mark.parametrize(("floor", "scale", "exponent"), [(40, 900, 0.5), (0, 300, 0.2)])
def test_power_law_is_found_again(floor, scale, exponent):
    n = 1000 * 2.0 ** np.arange(5)
    law = studies.fit_power_law(n, floor + scale * n**-exponent)
    np.testing.assert_allclose(law, (floor, scale, exponent), rtol=1e-2, atol=0.2)
    np.testing.assert_allclose(
        law(10 * n[-1]), floor + scale * (10 * n[-1]) ** -exponent, rtol=1e-3
    )
    with pytest.raises(StudyError, match="three numbers of pictures, found 2"):
        studies.fit_power_law(n[:2], n[:2])


def test_table_of_pictures_tells_what_ten_times_more_would_give():
    study = studies.STUDIES["pictures"]
    pictures = studies.learned_from(study)
    measured = {
        key: [{"pa_mpjpe": floor + 900 * n**-0.5} for floor in (50, 51, 52)]
        for key, n in pictures.items()
    }
    text = studies.table(study, measured)
    expected = 51 + 900 * (10 * max(pictures.values())) ** -0.5
    found = re.search(r"PA-MPJPE, mm: ([\d.]+) \(", text).group(1)
    assert float(found) == pytest.approx(expected, abs=0.2)
    assert f"| all | {pictures['1']:,} |" in text


def test_limits():
    """A knee bent by 60 degrees is human, one bent forward by 60 is not; the rest is at ease."""
    pose = np.zeros((2, 24, 3), np.float32)
    knee = skeleton.JOINT_NAMES.index("left_knee")
    pose[:, knee, 0] = np.radians([60, -60])
    beyond = studies.beyond_limits(np.asarray(axis_angle_to_matrix(pose)))
    assert not beyond[0].any()
    assert beyond[1].nonzero()[0].tolist() == [knee - 1]
