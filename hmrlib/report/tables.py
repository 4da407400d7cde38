"""Tables of the documents that no notebook makes: of benchmarks, and of what others published."""

import re
from pathlib import Path

import yaml

from hmrlib.report.store import ReportError

ROW = re.compile(r"^\|(.*)\|$", re.MULTILINE)
TABLE = re.compile(r"(?:^\|.*\|\n?)+", re.MULTILINE)
MEASURES = {"mpjpe": "MPJPE, mm", "pa_mpjpe": "PA-MPJPE, mm", "pck": "PCK, %"}


def benchmark(root, name, number):
    """The table of this number, from 1, in benchmarks/NAME.md, as it stands there.

    Raises:
        ReportError: there is no such file, or none of its tables has that number.
    """
    path = Path(root) / "benchmarks" / f"{name}.md"
    found = TABLE.findall(path.read_text("utf-8")) if path.exists() else []
    if not number.isdecimal() or not 1 <= int(number) <= len(found):
        raise ReportError(f"{path} has {len(found)} tables, and no table {number!r}")
    return found[int(number) - 1].strip()


def cell(root, name, where):
    """One cell of a benchmark's table; `where` is "number | head of its row | of its column".

    Raises:
        ReportError: there is no such table, row or column.
    """
    number, *where = [part.strip() for part in where.split("|")]
    heads, _, *rows = [
        [entry.strip() for entry in line.split("|")]
        for line in ROW.findall(benchmark(root, name, number))
    ]
    named = {row[0]: dict(zip(heads, row, strict=True)) for row in rows}
    row, column = where if len(where) == 2 else (None, None)
    if column not in named.get(row, {}):
        raise ReportError(
            f"benchmarks/{name}.md, table {number}, has no cell {where}: its rows are "
            f"{list(named)}, its columns {heads}"
        )
    return named[row][column]


def published(root, name):
    """A table of report/published.yml as Markdown, with citations; measures that it has alone.

    Raises:
        ReportError: there is no such table.
    """
    path = Path(root) / "report" / "published.yml"
    tables = yaml.safe_load(path.read_text("utf-8")) if path.exists() else {}
    if name not in tables:
        raise ReportError(f"{path} has no table {name!r}, but {', '.join(tables) or 'none'}")
    entries = tables[name]
    measures = [measure for measure in MEASURES if any(measure in entry for entry in entries)]
    heads = ["", "judged on", *(MEASURES[measure] for measure in measures), "how"]
    lines = [heads, [":--", ":--", *["--:"] * len(measures), ":--"]]
    for entry in entries:
        method = f"{entry['method']} [@{entry['cite']}]" if "cite" in entry else entry["method"]
        measured = [entry.get(measure, "") for measure in measures]
        lines.append([method, entry["judged_on"], *measured, entry["protocol"]])
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def setting(root, name):
    """A setting of a training, "shipped.steps" of notebooks/params/shipped.yml; "default.steps".

    Raises:
        ReportError: there is no such file or setting.
    """
    from hmrlib.training.config import ConfigError, read_config

    file, _, field = name.partition(".")
    path = Path(root) / "notebooks" / "params" / f"{file}.yml"
    try:
        value = getattr(read_config(None if file == "default" else path), field)
    except (ConfigError, AttributeError) as error:
        raise ReportError(f"no setting {name}: {error}") from error
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
