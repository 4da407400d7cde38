"""Rooms of the package: imports go one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hmrlib

PACKAGE = Path(hmrlib.__file__).parent

# a room imports only what stands before it, and itself
ORDER = (
    *("__init__", "io", "skeleton", "geometry", "camera", "body", "network", "fitting"),
    *("motion", "data", "render", "evaluation", "training"),
    *("learn", "people", "viewing", "prediction", "report", "cli"),
)

HEAVY = ("keras", "tensorflow", "jax", "torch", "numba", "scipy", "matplotlib", "PIL")


def room_of(module):
    """`io` of `hmrlib.io.files`; a name of the package itself counts as `__init__`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ORDER else "__init__"


def imports(path):
    """Modules of hmrlib that a file imports, also inside functions, with the line."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((name, node.lineno) for name in names if name.split(".")[0] == "hmrlib")


def files():
    """Files of the package, each with its room."""
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        yield path, inside.parts[0].removesuffix(".py")


def test_every_room_is_in_the_order():
    assert {room for _, room in files()} <= set(ORDER)


def test_arrows_go_down():
    upward = [
        f"{path.relative_to(PACKAGE)}:{line}: {room} imports {module}"
        for path, room in files()
        for module, line in imports(path)
        if ORDER.index(room_of(module)) > ORDER.index(room)
    ]
    assert not upward, "\n".join(upward)


@pytest.mark.parametrize("room", [room for room in ORDER if (PACKAGE / room).is_dir()])
def test_a_room_says_what_it_is_for(room):
    text = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text("utf-8")))
    assert text is not None
    assert len(text.splitlines()) >= 3


@pytest.mark.parametrize("module", ["hmrlib", "hmrlib.io.commit", "hmrlib.skeleton"])
def test_loads_nothing_heavy(module):
    code = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not loaded
