"""What the notebooks saved, gathered: figures/ and its manifest, numbers.json and tables.json."""

import hashlib
import json
from pathlib import Path

from hmrlib.io import atomic_write

BROWSER = "browser"  # the run that no notebook makes: see `photograph`
PLAY = "11_play"  # the notebook that it opens
SAVED = {"number": "numbers.json", "table": "tables.json"}  # in report/


class ReportError(ValueError):
    """Notebooks, parameters, figures, numbers or the report's text don't fit together."""


def collect(root, folders, failures=()):
    """Write figures/, its manifest.json, report/numbers.json and tables.json of finished notebooks.

    Notebooks that are not among `folders` keep what they saved in their last run, as long as they
    exist; that of notebooks that failed is kept as well, but the manifest says that these failed. A
    figure of the old manifest that no notebook has saved since is removed.

    Args:
        root: the checkout.
        folders: what `execute` returned; failures: names of notebooks that failed.

    Raises:
        ReportError: two notebooks have saved a figure, a number or a table under one name.
    """
    root = Path(root).resolve()
    old = read_json(root / "figures" / "manifest.json")
    kept = {
        name: record
        for name, record in old.get("notebooks", {}).items()
        if name not in folders and (root / "notebooks" / f"{_source(name)}.ipynb").exists()
    }
    runs = kept | {name: read_json(folder / "run.json") for name, folder in folders.items()}
    runs |= {name: {"failed": True} for name in failures}
    for record in runs.values():
        record.pop("inputs", None)  # of use to the next run alone
    figures = {k: v for k, v in old.get("figures", {}).items() if v["notebook"] in kept}
    saved = {}
    for kind, file in SAVED.items():
        before = read_json(root / "report" / file)
        saved[kind] = {k: v for k, v in before.items() if v["notebook"] in kept}
    images = {}
    for notebook, folder in folders.items():
        for path in sorted(folder.glob("*.figure.json")):
            record = {"notebook": notebook} | read_json(path)
            data = images[record["file"]] = (folder / record["file"]).read_bytes()
            record["sha256"] = hashlib.sha256(data).hexdigest()
            _add(figures, "figure", path, record)
        for kind, records in saved.items():
            for path in sorted(folder.glob(f"*.{kind}.json")):
                _add(records, kind, path, {"notebook": notebook} | read_json(path))

    for file, data in images.items():
        write(root / "figures" / file, data)
    files = {record["file"] for record in figures.values()}
    for record in old.get("figures", {}).values():
        stale = root / "figures" / record["file"]
        if record["file"] not in files and stale.exists():
            print(f"removed figures/{stale.name}, which no notebook saves any more")
            stale.unlink()
    manifest = {"notebooks": _sorted(runs), "figures": _sorted(figures)}
    write(root / "figures" / "manifest.json", as_json(manifest))
    for kind, file in SAVED.items():
        write(root / "report" / file, as_json(_sorted(saved[kind])))


def _source(name):
    """The notebook that a run of this name opens."""
    return PLAY if name == BROWSER else name


def _add(records, kind, path, record):
    name = path.name.split(".")[0]
    if name in records:
        raise ReportError(
            f"{records[name]['notebook']} and {record['notebook']} both save a {kind} named {name}"
        )
    records[name] = record


def _sorted(records):
    """By notebook, then by name."""
    return dict(sorted(records.items(), key=lambda item: (item[1].get("notebook", ""), item[0])))


def write(path, content):
    """Write bytes or text whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


def as_json(content):
    """Indented JSON, with a line's end."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def read_json(path):
    """A file's content, {} if there is no such file."""
    return json.loads(path.read_text("utf-8")) if path.exists() else {}
