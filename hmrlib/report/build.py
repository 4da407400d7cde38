"""The report: its text with the notebooks' figures and numbers, as HTML and PDF."""

import re
from pathlib import Path

import hmrlib
from hmrlib.io import extra
from hmrlib.report.figures import format_number
from hmrlib.report.store import ReportError, read_json, write

COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
PLACEHOLDER = re.compile(r"\{\{ *(\w+): *(\w+)(?: +(\d+%))? *\}\}")


def build(root="."):
    """Set report/report.md as HTML and PDF, and write report/play.html.

    An element <div data-hmr-viewer> in the HTML becomes a live viewer of the open body.

    Returns:
        The paths of the HTML and of the PDF.

    Raises:
        ReportError: the text asks for a figure or a number that no notebook has saved.
    """
    with extra("notebooks"):
        import pypandoc
        import typst

    from hmrlib.body import files
    from hmrlib.skeleton import POSES, pose_from_degrees
    from hmrlib.viewing import live

    root = Path(root).resolve()
    report, scratch = root / "report", root / "build" / "report"
    scratch.mkdir(parents=True, exist_ok=True)
    options = ["--standalone", "--fail-if-warnings", "--table-of-contents", "--toc-depth=2"]
    html, pdf = report / "hmrlib.html", report / "hmrlib.pdf"

    page = pypandoc.convert_text(
        fill(root, figures=str(root / "figures")),
        "html5",
        "markdown",
        extra_args=[
            *options,
            "--embed-resources",  # one file that opens anywhere, also without a network
            "--mathml",
            "--section-divs",
            f"--css={report / 'style.css'}",
        ],
    )
    if "data-hmr-viewer" in page:
        model = files.read_model(files.OPEN_BODY)  # and no other: the report is to be passed on
        begin = {"pose": pose_from_degrees(POSES["waving"])}
        write(report / "play.html", live.page(model, begin=begin))
        page = live.make_live(page, model)
    write(html, page)

    source = pypandoc.convert_text(
        fill(root, figures="/figures"),  # typst's paths begin at its root
        "typst",
        "markdown",
        extra_args=[*options, f"--template={report / 'template.typ'}"],
    )
    document = scratch / "hmrlib.typ"
    write(document, source)
    write(pdf, typst.compile(document, root=root, ignore_system_fonts=True))
    return html, pdf


def fill(root, figures):
    """The report's text with its placeholders replaced.

    {{figure:NAME}} or {{figure:NAME 60%}} becomes the figure with its caption, {{number:NAME}} the
    number with its unit, {{value:NAME}} without, {{run:version}} the package's version,
    {{run:setting}} the setting and {{run:table}} the table of notebooks. What a notebook was to
    save that failed becomes a gap that says so.

    Args:
        root: the checkout.
        figures: where the figures are, as the reader of the text will look for them.

    Raises:
        ReportError: the text asks for what no notebook has saved, and none has failed.
    """
    root = Path(root)
    manifest = read_json(root / "figures" / "manifest.json")
    values = read_json(root / "report" / "numbers.json")
    runs = manifest.get("notebooks", {})
    failed = [name for name, record in runs.items() if "failed" in record]
    settings = {record["setting"] for record in runs.values() if "setting" in record}
    facts = {
        "version": hmrlib.__version__,
        "setting": " and ".join(sorted(settings)),
        "table": _table(runs),
    }

    def replacement(match):
        kind, name, width = match.groups()
        known = {
            "figure": manifest.get("figures", {}),
            "number": values,
            "value": values,
            "run": facts,
        }
        record = known.get(kind, {}).get(name)
        if kind != "run" and kind in known:
            if record is None and failed:  # it was never saved: any of them may have been to do so
                return _gap(kind, name, failed)
            if record is not None and record["notebook"] in failed:
                return _gap(kind, name, [record["notebook"]])
        if record is None:
            raise ReportError(
                f"report.md asks for {match.group()}, which no notebook has saved; "
                f"known: {', '.join(known[kind]) or 'none' if kind in known else ', '.join(known)}"
            )
        if kind == "figure":
            return f"![{record['caption']}]({figures}/{record['file']}){{width={width or '100%'}}}"
        return record if kind == "run" else format_number(record, unit=kind == "number")

    text = COMMENT.sub("", (root / "report" / "report.md").read_text("utf-8"))
    return PLACEHOLDER.sub(replacement, text)


def _gap(kind, name, notebooks):
    """Markdown in the place of a figure or a number that is missing, as notebooks failed."""
    what = "figure" if kind == "figure" else "number"
    return f"[**[missing: the {what} `{name}`, as {' or '.join(notebooks)} failed]**]{{.gap}}"


def _table(runs):
    """The notebooks of the report as a Markdown table."""
    lines = ["| notebook | setting | time | commit |", "|:--|:--|--:|:--|"]
    for name, record in runs.items():
        if "failed" in record:
            lines.append(f"| `{name}` | **failed** | | |")
            continue
        commit = f"`{record['commit'][:8]}`" if record["commit"] else "unknown"
        if record["commit"] and not record["clean"]:
            commit += ", with changes"
        seconds = f"{record['seconds']:.0f}\N{NO-BREAK SPACE}s"
        lines.append(f"| `{name}` | {record['setting']} | {seconds} | {commit} |")
    return "\n".join(lines)
