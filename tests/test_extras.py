"""What `pip install hmrlib` alone gives, and what says which extra it lacks."""

import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hmrlib.io import extra
from tests.conftest import ROOT
from tests.test_ground import EXTRAS, PROJECT

COMES_WITH = {"h5py": "keras", "IPython": "ipywidgets", "traitlets": "ipywidgets"}
COMES_WITH |= {"packaging": "keras", "jupyter_server": "jupyterlab", "tornado": "jupyterlab"}
# looked for where they may be missing, with an answer of their own; engines, which Keras names
OPTIONAL = {"io/foreign.py": {"cdflib"}, "viewing/show.py": {"IPython"}}
OPTIONAL |= {"viewing/browser.py": {"playwright"}}
ENGINES = {"jax", "torch"}


def names_of(requirements):
    """Distributions that a list of requirements brings, those of other extras among them."""
    found = set()
    for requirement in map(Requirement, requirements):
        if requirement.name == PROJECT["name"]:
            found |= names_of([each for name in requirement.extras for each in EXTRAS[name]])
        else:
            found.add(canonicalize_name(requirement.name))
    return found


def third_party(node, given=()):
    """(module, the extras named by the `with extra(...)` around its import)."""
    if isinstance(node, ast.With):
        call = node.items[0].context_expr
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "extra":
            given = (*given, call.args[0].value)
    modules = []
    if isinstance(node, ast.Import):
        modules = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        modules = [node.module]
    for module in modules:
        if module.split(".")[0] not in {*sys.stdlib_module_names, "hmrlib"}:
            yield module, given
    for child in ast.iter_child_nodes(node):
        yield from third_party(child, given)


FILES = sorted((ROOT / "hmrlib").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_imported_is_required(path):
    """Of third parties a file imports what all have, or says by which extra it comes."""
    distributions = packages_distributions() | {"google": ["protobuf"]}
    known = OPTIONAL.get(path.relative_to(ROOT / "hmrlib").as_posix(), set()) | ENGINES
    for module, given in third_party(ast.parse(path.read_text("utf-8"))):
        top = module.split(".")[0]
        if top in known:
            continue
        brought = names_of(PROJECT["dependencies"])
        brought = brought.union(*(names_of(EXTRAS[name]) for name in given))
        owner = distributions[COMES_WITH.get(top, top)]
        assert {canonicalize_name(name) for name in owner} & brought, f"{module}, {given}"


def test_an_extra_is_named():
    said = r'nothing is not installed: pip install "hmrlib\[people\]"'
    with pytest.raises(ModuleNotFoundError, match=said), extra("people"):
        import nothing.at_all  # noqa: F401
    with pytest.raises(ModuleNotFoundError, match=r"^No module named"), extra("people"):
        import hmrlib.n  # noqa: F401


LEAN = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in MISSING:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
MISSING = set(TOPS)
sys.meta_path.insert(0, Missing())
import numpy as np
import hmrlib
"""


def lean(code, *arguments):
    """Run code where only the packages are that everybody has; returns the finished process."""
    only_extras = {name for name in names_of([f"hmrlib[{','.join(EXTRAS)}]"])}
    only_extras -= names_of(PROJECT["dependencies"]) | {"protobuf", "torch"}
    tops = [
        top
        for top, owners in packages_distributions().items()
        if {canonicalize_name(owner) for owner in owners} <= only_extras | {"ipython"}
    ]
    code = LEAN.replace("TOPS", repr(tops)) + code
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True
    )


def test_a_lean_installation_has_body_network_prediction_and_pages(tmp_path):
    done = lean(
        "import pathlib, webbrowser\n"
        "webbrowser.open = lambda url: True\n"
        "body = hmrlib.load_body()\n"
        "posed = body(np.zeros((1, 10)), np.zeros((1, 24, 3)))\n"
        "body.save(sys.argv[1])\n"
        "import hmrlib.prediction\n"
        "model = hmrlib.load_model()\n"
        "model.recover(np.zeros((1, model.size, model.size, 3), np.uint8))\n"
        "print(pathlib.Path(hmrlib.show(body)).stat().st_size)",
        tmp_path / "body.glb",
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 100_000 and (tmp_path / "body.glb").exists()


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("import hmrlib.people.recipe", "people"),
        ("import hmrlib.viewing.viewer", "viewers"),
        ("import hmrlib.viewing.app", "notebooks"),
        ("from hmrlib.training.logs import EventLog; EventLog(None, 0)", "train"),
        ("from hmrlib.data.feed import usable_cores; usable_cores()", "train"),
    ],
)
def test_what_needs_more_names_the_extra(code, name):
    done = lean(code)
    assert done.returncode == 1
    assert re.search(rf'pip install "hmrlib\[{name}\]"', done.stderr), done.stderr
