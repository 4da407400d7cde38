"""`hmr doctor`: what it finds where all is well, and where something is not."""

import os
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest

from hmrlib import doctor
from hmrlib.cli import main
from tests.conftest import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "optional-dependencies"
]


def hmr_doctor(**environment):
    """`hmr doctor` in a process of its own."""
    code = "from hmrlib.cli import main; raise SystemExit(main(['doctor']))"
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def package(tmp_path):
    """A copy of the package's weights."""
    for name in (*doctor.WEIGHTS, f"{doctor.LANDMARKS}/NOTICE"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(doctor.PACKAGE / name, tmp_path / name)
    for path in (doctor.PACKAGE / doctor.LANDMARKS).glob("*.tflite"):
        shutil.copy(path, tmp_path / doctor.LANDMARKS)
    return tmp_path


def broken(findings):
    return [finding for finding in findings if finding.state == "broken"]


def test_a_good_installation_is_told_and_loads_no_engine():
    """In its parent, at least."""
    code = (
        "import sys; from hmrlib.cli import main; status = main(['doctor']); "
        "print(sorted({'tensorflow', 'keras', 'jax', 'torch', 'numba'} & set(sys.modules))); "
        "raise SystemExit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    *lines, loaded = done.stdout.splitlines()
    assert loaded == "[]" and lines[-1] == "Nothing that is needed is broken."
    for word in ("Python", "engine", "packages", "weights", "body", "machine"):
        assert any(word in line for line in lines if line.startswith("ok")), word


def test_a_broken_backend_is_told_with_what_to_do():
    done = hmr_doctor(KERAS_BACKEND="tensorfloor")
    assert done.returncode == 1 and done.stderr == ""
    assert "broken  engine tensorfloor: " in done.stdout and "1 broken" in done.stdout
    assert "-> set KERAS_BACKEND to one of tensorflow, jax, torch" in done.stdout


def test_a_backend_that_ends_its_process_is_told(tmp_path, monkeypatch):
    (tmp_path / "keras.py").write_text("import os\nos.write(2, b'no AVX here\\n')\nos.abort()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finding = doctor.look_at_engine()
    assert finding.state == "broken" and "no AVX here" in finding.what
    assert "pip install" in finding.advice


def test_whole_weights_are_well(package):
    (finding,) = doctor.look_at_weights(package)
    assert finding.state == "ok" and "5 files" in finding.what


@pytest.mark.parametrize(
    "name", ["network/assets/hmr.npz", "prediction/assets/pose_landmark_full.tflite"]
)
@pytest.mark.parametrize("harm", ["remove", "cut", "flip"])
def test_harmed_weights_are_named(package, name, harm):
    path = package / name
    whole = bytearray(path.read_bytes())
    if harm == "remove":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    else:
        whole[len(whole) // 2] ^= 1
        path.write_bytes(whole)
    (finding,) = broken(doctor.look_at_weights(package))
    assert str(path) in finding.what and f"git checkout -- {path}" in finding.advice
    assert ("missing" if harm == "remove" else "damaged") in finding.what


def test_a_bad_body_is_told(monkeypatch):
    monkeypatch.setenv("HMR_BODY", "nowhere.npz")
    finding = doctor.look_at_body()
    assert finding.state == "broken" and "nowhere.npz" in finding.what
    assert "HMR_BODY" in finding.advice


def test_an_extra_that_is_not_complete_is_a_note():
    ours = metadata.version("numpy")
    requirements = [
        f"numpy>={ours}",
        'no-such-package>=1.0; extra == "predict"',
        f'numpy>={ours}; extra == "train"',
        'hmrlib[train,predict]; extra == "people"',
    ]
    first, *notes = doctor.look_at_packages(requirements)
    assert first.state == "ok" and "train" in first.what and "predict" not in first.what
    assert [note.advice for note in notes] == [
        'pip install "hmrlib[predict]"',
        'pip install "hmrlib[people]"',
    ]
    assert all(note.state == "note" and "no-such-package" in note.what for note in notes)


@pytest.mark.parametrize("requirement", ["numpy>=999", "no-such-package>=1.0"])
def test_what_everybody_needs_is_broken_without(requirement):
    (finding,) = doctor.look_at_packages([requirement])
    assert finding.state == "broken" and f'pip install "{requirement}"' in finding.advice


def test_every_extra_for_users_is_looked_at():
    assert set(EXTRAS) - set(doctor.EXTRAS) == {"jax", "torch", "peers", "bench", "book", "test"}
    assert doctor.EXTRAS.keys() <= EXTRAS.keys()


def test_folders_that_cannot_be_written_are_told(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "numba"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file" / "keras"))
    states = {finding.state: finding.advice for finding in doctor.look_at_folders()}
    assert "NUMBA_CACHE_DIR" in states["broken"] and "KERAS_HOME" in states["note"]


def test_tools_that_are_not_there_are_notes(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("HMR_CHROMIUM", raising=False)
    found = doctor.look_at_tools()
    assert not broken(found)
    assert any("no Chromium" in note.what and "apt install" in note.advice for note in found)


def test_the_exit_status_is_1_only_for_what_is_needed(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")  # notes
    assert main(["doctor"]) == 0
    monkeypatch.setenv("HMR_BODY", "nowhere.npz")
    assert main(["doctor"]) == 1
    assert "nowhere.npz" in capsys.readouterr().out
