"""The command `hmr`: what it prints, what it returns."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import trimesh
from scipy import sparse

import hmrlib
from hmrlib import skeleton
from hmrlib.body import files
from hmrlib.cli import main


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """A tetrahedron with SMPL's arrays, and a card."""
    rng = np.random.default_rng(0)
    parents = np.array(skeleton.PARENTS)
    model = {
        "v_template": np.array([[0, 0, 0], [1, 0, 0], [0, 1.5, 0], [0, 0, 1]], np.float32),
        "shapedirs": rng.normal(size=(4, 3, 10)).astype(np.float32),
        "posedirs": rng.normal(size=(4, 3, 207)).astype(np.float32),
        "J_regressor": sparse.csc_matrix(np.full((24, 4), 0.25, np.float32)),
        "weights": np.full((4, 24), 1 / 24, np.float32),
        "kintree_table": np.stack([parents, np.arange(24)]).astype(np.int64),
        "parents": parents.astype(np.int64),
        "f": np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32),
        "card": np.array(json.dumps({"licence": "CC0 1.0", "errors": {"ten_betas_mm": 6.25}})),
    }
    path = tmp_path_factory.mktemp("model") / "tetrahedron.npz"
    files.write_model(path, model)
    return path


def test_info_prints_counts_and_the_card(model_file, capsys):
    assert main(["body", "info", str(model_file)]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for line in ("vertices 4", "faces 4", "joints 24", "betas 10", "mean height 1.500 m"):
        assert line in lines
    assert "licence CC0 1.0" in lines and "ten betas mm 6.25" in lines


def test_info_takes_the_body_from_the_environment(model_file, capsys, monkeypatch):
    monkeypatch.setenv("HMR_BODY", str(model_file))
    assert main(["body", "info"]) == 0
    assert "tetrahedron.npz" in capsys.readouterr().out


def test_a_network_says_what_it_learned_from(capsys):
    assert main(["model", "info"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for line in ("learned from", "keypoint maps True", "encoder EfficientNetLite0"):
        assert line in lines


@pytest.mark.parametrize("suffix", ["npz", "obj", "ply", "glb"])
def test_export_writes_one_file(model_file, tmp_path, capsys, suffix):
    folder = tmp_path / "new"
    command = ["body", "export", "--format", suffix, "--body", str(model_file), str(folder)]
    assert main(command) == 0
    (path,) = folder.iterdir()
    assert capsys.readouterr().out.strip() == str(path)
    if suffix == "npz":
        assert files.read_model(path)["v_template"].shape == (4, 3)
    else:
        mesh = trimesh.load_mesh(path)
        assert len(mesh.faces) == 4


def test_export_pkl_is_what_the_relatives_look_for(model_file, tmp_path):
    command = ["body", "export", "--format", "pkl", "--body", str(model_file), str(tmp_path)]
    assert main(command) == 0
    written = files.read_model(tmp_path / "smpl" / "SMPL_NEUTRAL.pkl")
    np.testing.assert_array_equal(
        written["posedirs"], files.read_model(model_file)["posedirs"], strict=True
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["body", "info", "missing.npz"], "missing.npz: no such file"),
        (["report"], "run this in a checkout"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"hmr: error: [^\n]+\n", error) and message in error


@pytest.mark.parametrize(
    ("arguments", "listed"), [([], "predict"), (["body"], "export"), (["data"], "convert")]
)
def test_without_a_command_those_there_are_are_listed(arguments, listed, capsys):
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert re.search(rf"^ +{listed} ", told.err, re.MULTILINE) and not told.out
    assert re.fullmatch(r"hmr.*: error: which (COMMAND|ACTION)\?", told.err.splitlines()[-1])


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["evaluate", "--protocol", "list"], "h36m_p1"),
        (["study", "--list"], "adversary"),
        (["data", "convert", "list"], "mpi_inf_3dhp"),
    ],
)
def test_what_may_be_typed_is_listed_as_it_is_typed(arguments, name, capsys):
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.split(" ")[0] == name for line in lines) == 1
    assert all(len(line) <= 100 for line in lines)


def test_debug_shows_where_it_came_from(capsys):
    assert main(["--debug", "body", "info", "missing.npz"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_unknown_format_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["body", "export", "--format", "fbx", str(tmp_path)])
    assert "glb" in capsys.readouterr().err


def test_help_loads_nothing_of_weight():
    code = (
        "import sys\nfrom hmrlib.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'numpy', 'keras', 'tensorflow', 'scipy'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[]"
    assert "report" in result.stdout and "body" in result.stdout


def test_runs_as_a_module():
    command = [sys.executable, "-m", "hmrlib.cli", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == f"hmrlib {hmrlib.__version__}"
