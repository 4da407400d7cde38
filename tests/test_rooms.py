"""Rooms of the package: imports go one way."""

import ast
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import hmrlib

PACKAGE = Path(hmrlib.__file__).parent
TESTS = Path(__file__).parent
NOTEBOOKS = sorted((TESTS.parent / "notebooks").glob("*.ipynb"))

# a room imports only what stands before it, and itself
ORDER = (
    *("__init__", "io", "skeleton", "geometry", "camera", "body", "network", "fitting"),
    *("motion", "data", "render", "evaluation", "training"),
    *("learn", "people", "viewing", "prediction", "report", "doctor", "cli"),
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


def test_the_map_shows_every_room():
    shown = (Path(__file__).with_name("rooms.svg")).read_text("utf-8")
    missing = (
        {room for _, room in files()} - {"__init__"} - set(re.findall(r">(\w+)</text>", shown))
    )
    assert not missing, "`make map` draws it anew"


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


# what Python and others have made public under such names
NOT_PRIVATE = ("_replace", "_asdict", "_fields", "_fieldnames", "_Unpickler", "_exit")
NOT_PRIVATE += ("_dirty_vars", "_initialized")  # of chumpy's pickles and TensorFlow's context


def private_names(tree, room=None):
    """Names with an underscore that a tree takes from a room of hmrlib that is not its own, or
    from an object that is not `self`; with the line."""
    own = {"self", "cls"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hmrlib":
            mine = room_of(node.module) == room
            own |= {alias.asname or alias.name for alias in node.names if mine}
            for alias in node.names:
                if alias.name.startswith("_") and not mine:
                    yield f"{node.lineno}: {node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            dunder = node.attr.startswith("__")
            mine = isinstance(node.value, ast.Name) and node.value.id in own
            if not (dunder or mine or node.attr in NOT_PRIVATE):
                yield f"{node.lineno}: {ast.unparse(node)}"


def test_no_room_uses_another_ones_private_names():
    used = [
        f"{path.relative_to(PACKAGE)}:{found}"
        for path, room in files()
        for found in private_names(ast.parse(path.read_text("utf-8")), room)
    ]
    assert not used, "\n".join(used)


def test_tests_use_public_names_alone():
    used = [
        f"{path.relative_to(TESTS)}:{found}"
        for path in sorted(TESTS.rglob("*.py"))
        for found in private_names(ast.parse(path.read_text("utf-8")))
    ]
    assert not used, "\n".join(used)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_use_public_names_alone(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    used = [found for source in code for found in private_names(ast.parse(source))]
    assert not used, "\n".join(used)


@pytest.mark.parametrize(
    "source",
    [
        "from hmrlib.io.files import _digest",
        "from hmrlib.body import model\nmodel._x",
        "thing._x",
        "import hmrlib\nhmrlib.Body()._built",
    ],
)
def test_private_names_are_seen(source):
    assert list(private_names(ast.parse(source), "viewing"))


def test_own_names_and_named_tuples_are_not_meant():
    source = "from hmrlib.viewing import live\nlive._x, self._x, fit._replace(a=1), fit.__dict__"
    assert not list(private_names(ast.parse(source), "viewing"))


@pytest.mark.parametrize(
    ("room", "name", "place"),
    [
        ("mocap", "read_bvh", "hmrlib.motion.clips"),
        ("mocap", "retarget", "hmrlib.motion.retarget"),
        ("prior", "load_prior", "hmrlib.motion.prior"),
        ("synthetic", "render_people", "hmrlib.people"),
    ],
)
def test_older_scripts_go_on(room, name, place):
    from hmrlib import data

    with pytest.warns(DeprecationWarning, match=f"hmrlib.data.{room} is now hmrlib"):
        moved = getattr(data, room)
    assert getattr(moved, name) is getattr(import_module(place), name)
    with pytest.raises(AttributeError, match="has no 'nothing'"):
        _ = moved.nothing


def parameters(function):
    """How many parameters a function has, `*args` and `**kwargs` as one each; not `self`, `cls`."""
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    gathered = (given.vararg is not None) + (given.kwarg is not None)
    return len(names) + gathered - (names[:1] in (["self"], ["cls"]))


def test_no_function_has_more_than_ten_parameters():
    functions = [
        (f"{path.relative_to(PACKAGE)}:{node.lineno}: {node.name}", node)
        for path, _ in files()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
    ]
    long = [where for where, node in functions if parameters(node) > 10]
    assert not long, "\n".join(long)
