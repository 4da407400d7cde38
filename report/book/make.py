"""The book: executed notebooks, the API and the cards, as HTML that needs no network.

    python report/book/make.py [NAME ...]    # `make book`; NAME: these notebooks alone

What `make report` left in build/report, and the texts beside this file, are put together in
build/book/source; Sphinx makes build/book/html of it, whose index.html opens from a file. Nothing
is executed.
"""

import argparse
import contextlib
import io
import json
import pkgutil
import shutil
import sys
from pathlib import Path

import hmrlib
from hmrlib.cli import main as hmr

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CARDS = {
    "The network": ["model", "info"],
    "The body": ["body", "info"],
    "Data sets": ["data", "convert", "list"],
}


class BookError(RuntimeError):
    """What the book is made of is not there."""


def notebooks(root, names=()):
    """{name: path} of the notebooks as the last `make report` executed them, in their order.

    Raises:
        BookError: one has not been run, or its run failed; or a name is none of theirs.
    """
    manifest = json.loads((root / "figures" / "manifest.json").read_text("utf-8"))
    runs = manifest["notebooks"]
    known = sorted(path.stem for path in root.glob("notebooks/[0-9][0-9]_*.ipynb"))
    if unknown := set(names) - set(known):
        raise BookError(f"no notebook: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    wanted = [name for name in known if name in names or not names]
    folders = {n: root / "build" / "report" / runs.get(n, {}).get("setting", "") for n in wanted}
    found = {name: folder / name / f"{name}.ipynb" for name, folder in folders.items()}
    if missing := [name for name, path in found.items() if not path.exists()]:
        raise BookError(f"not executed: {', '.join(missing)}. Run `make report` first")
    return found


def gather(root, source, names=(), api=None):
    """Put what Sphinx is to read into the folder `source`, which is made anew.

    Args:
        root: the checkout.
        source: where to put it.
        names: of the notebooks to take; all, if none is named.
        api: {room: names of its modules} to describe; those of `rooms`, if not given.
    """
    found = notebooks(root, names)
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(HERE, source, ignore=shutil.ignore_patterns("make.py", "__pycache__"))
    (source / "notebooks").mkdir()
    for path in found.values():
        shutil.copy(path, source / "notebooks")
    (source / "api").mkdir()
    for room, modules in (api or rooms()).items():
        (source / "api" / f"{room}.md").write_text(api_page(room, modules), "utf-8")
    (source / "cards.md").write_text(cards(root), "utf-8")


def rooms():
    """{room: names of its modules} of hmrlib, each with the room itself first."""
    found = {"hmrlib": ["hmrlib"]}
    for module in pkgutil.walk_packages(hmrlib.__path__, "hmrlib."):
        room = ".".join(module.name.split(".")[:2])
        found.setdefault(room, []).append(module.name)
    return found


def api_page(room, modules):
    """Markdown that has autodoc describe a room's modules."""
    parts = [f"# {room}\n"]
    for module in modules:
        if module != room:
            parts.append(f"## {module}\n")
        parts.append(f"```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n```\n")
    return "\n".join(parts)


def cards(root):
    """What the commands say of network, body and data sets, and the README of licences."""
    parts = ["# Cards: the network, the body, the data\n"]
    for title, command in CARDS.items():
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            hmr(command)
        line = "hmr " + " ".join(command)
        parts.append(f"## {title}\n\n`{line}` says:\n\n```text\n{said.getvalue()}```\n")
    readme = (root / "README.md").read_text("utf-8")
    return "\n".join([*parts, readme[readme.index("## Data, licences, patents") :]])


def main(arguments=None):
    """Build the book; returns Sphinx's exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="these notebooks alone")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "book")
    options = parser.parse_args(arguments)
    try:
        from sphinx.cmd.build import main as sphinx
    except ModuleNotFoundError:
        print('Sphinx is not installed: pip install -e ".[book]"', file=sys.stderr)
        return 1
    source, pages = options.out / "source", options.out / "html"
    try:
        gather(ROOT, source, options.names)
    except BookError as error:
        print(error, file=sys.stderr)
        return 1
    status = sphinx(["-q", "-b", "html", str(source), str(pages)])
    print(pages / "index.html")
    return status


if __name__ == "__main__":
    sys.exit(main())
