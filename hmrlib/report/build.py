"""The documents: texts with the notebooks' figures and numbers, as HTML and PDF."""

import io
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import hmrlib
from hmrlib.io import extra
from hmrlib.report.figures import format_number, format_table
from hmrlib.report.store import SAVED, ReportError, read_json, write
from hmrlib.report.tables import benchmark, cell, published, setting

COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
PLACEHOLDER = re.compile(r"\{\{ *(\w+): *([\w.]+)(?: +([^{}]*?))? *\}\}")
TABLES = {"bench": benchmark, "cell": cell, "published": published, "setting": setting}


class Embedded(NamedTuple):
    """How a figure stands inside a document: pixels of its width at most, and Pillow's options."""

    width: int
    format: str
    options: dict


WEB = Embedded(1100, "WEBP", {"quality": 82, "method": 5})  # below 8 MB each, as the PDFs
PRINT = {"format": "JPEG", "options": {"quality": 85, "subsampling": 0, "optimize": True}}
PRINT_DPI = 200


class Document(NamedTuple):
    """A text report/NAME.md, and how it is set: report/NAME.html and report/NAME.pdf.

    `template` and `style` are files in report/: pandoc's template for typst, and the HTML's CSS,
    which takes its colours from colours.css. `inches` is how wide the template lets a figure be.
    `options` are pandoc's, for both; `page` are those for the HTML alone.
    """

    name: str
    template: str
    inches: float
    style: str = "style.css"
    options: tuple = ()
    page: tuple = ()


PAPER = (
    "--citeproc",
    "--bibliography=report/references.bib",
    "--metadata=link-citations:true",
    "--lua-filter=report/wide.lua",
)
DOCUMENTS = (
    Document("report", "report.typ", 6.9, options=PAPER),
    Document("atlas", "atlas.typ", 5.8, options=("--table-of-contents", "--toc-depth=2")),
    Document(
        "slides",
        "slides.typ",
        12,
        "slides.css",
        options=("--lua-filter=report/slides.lua",),
        page=("--template=report/slides.pandoc",),
    ),
)


def build(root="."):
    """Set each of DOCUMENTS whose text is in report/, and write report/play.html.

    An element <div data-hmr-viewer> in the HTML becomes a live viewer of the open body.

    Returns:
        The paths of what was written: of each document the HTML, then the PDF.

    Raises:
        ReportError: no text is there, or one asks for what no notebook has saved.
    """
    root = Path(root).resolve()
    found = [one for one in DOCUMENTS if (root / "report" / f"{one.name}.md").exists()]
    if not found:
        raise ReportError(f"{root / 'report'} has none of {', '.join(d.name for d in DOCUMENTS)}")
    written = []
    for document in found:
        written += [_html(root, document), _pdf(root, document)]
    return written


def _html(root, document):
    """Write a document's HTML: one file that opens anywhere, also without a network."""
    from hmrlib.body import files
    from hmrlib.skeleton import POSES, pose_from_degrees
    from hmrlib.viewing import live

    text = fill(root, document.name, lambda record: str(_embedded(root, record, WEB)))
    options = ["--embed-resources", "--mathml", "--section-divs"]
    options += [f"--css=report/{name}" for name in ("colours.css", document.style)]
    options += document.page
    page = _pandoc(root, document, text, "html5", *options)
    if "data-hmr-viewer" in page:
        model = files.read_model(files.OPEN_BODY)  # and no other: the report is to be passed on
        begin = {"pose": pose_from_degrees(POSES["waving"]), "color": "clothed"}
        write(root / "report" / "play.html", live.page(model, begin=begin))
        page = live.make_live(page, model)
    path = root / "report" / f"{document.name}.html"
    write(path, page)
    return path


def _pdf(root, document):
    """Write a document's PDF."""
    with extra("notebooks"):
        import typst

    form = Embedded(round(PRINT_DPI * document.inches), **PRINT)

    def place(record):  # typst's paths begin at its root
        return f"/{_embedded(root, record, form).relative_to(root).as_posix()}"

    text = fill(root, document.name, place)
    template = f"--template=report/{document.template}"
    source = root / "build" / "report" / f"{document.name}.typ"
    write(source, _pandoc(root, document, text, "typst", template))
    path = root / "report" / f"{document.name}.pdf"
    write(path, typst.compile(source, root=root, ignore_system_fonts=True))
    return path


def _pandoc(root, document, text, writer, *options):
    """A document's text in another form; options name files as seen from the checkout."""
    with extra("notebooks"):
        import pypandoc

    # or a table with long lines would get columns as wide as its source's
    options = ("--columns=1000", "--standalone", "--fail-if-warnings", *document.options, *options)
    return pypandoc.convert_text(
        text, writer, "markdown", extra_args=list(options), cworkdir=str(root)
    )


def _embedded(root, record, form):
    """The path of a figure as a document embeds it.

    An SVG stays as it is, and so does a figure with transparency where `form` has none.
    """
    from PIL import Image

    figure = root / "figures" / record["file"]
    if figure.suffix == ".svg":
        return figure
    name = f"{record['sha256'][:20]}-{form.width}.{form.format.lower()}"
    made = root / "build" / "report" / "embedded" / name
    if not made.exists():
        with Image.open(figure) as image:
            if image.has_transparency_data and form.format == "JPEG":
                return figure
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        image.thumbnail((form.width, 4 * form.width), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        image.save(buffer, form.format, **form.options)
        write(made, buffer.getvalue())
    return made


def fill(root, name, place=lambda record: f"figures/{record['file']}"):
    """The text report/NAME.md with its placeholders replaced.

    {{figure:NAME}}, {{figure:NAME 60%}}  the figure with its number and caption
    {{table:NAME}}         a table that a notebook saved, with its number and caption
    {{label:NAME}}         in the caption of any other table: its number
    {{ref:NAME}}           "Figure 3" or "Table 1", with a link; counted as they appear
    {{number:NAME}}        a number with its unit; {{value:NAME}} without
    {{bench:NAME 2}}       the second table of benchmarks/NAME.md
    {{cell:NAME 2 | row | column}}  one cell of it
    {{card:training.seed}} what the card of the network that ships says
    {{run:version}}        of the package; {{run:setting}} and {{run:date}}, the day, of the runs;
                           {{run:authors}} of CITATION.cff; {{run:table}} of notebooks
    {{published:NAME}}     a table of report/published.yml
    {{setting:shipped.steps}}  of notebooks/params/shipped.yml; {{setting:default.steps}}

    What a notebook was to save that failed becomes a gap that says so.

    Args:
        root: the checkout.
        name: a document's.
        place: from a figure's record in the manifest to where the reader of the text finds it.

    Raises:
        ReportError: the text asks for what no notebook has saved, and none has failed; or refers
            to a figure or table that it does not have.
    """
    root = Path(root)
    text = COMMENT.sub("", (root / "report" / f"{name}.md").read_text("utf-8"))
    return PLACEHOLDER.sub(_Filling(root, name, text, place), text)


class _Filling:
    """From a placeholder to what it stands for."""

    def __init__(self, root, name, text, place):
        manifest = read_json(root / "figures" / "manifest.json")
        saved = {kind: read_json(root / "report" / file) for kind, file in SAVED.items()}
        runs = manifest.get("notebooks", {})
        self.root, self.file, self.place = root, f"{name}.md", place
        self.failed = [name for name, record in runs.items() if "failed" in record]
        self.labels = _numbered(text, self.file)
        self.saved = saved | {"figure": manifest.get("figures", {}), "value": saved["number"]}
        self.facts = _facts(root, runs)

    def __call__(self, match):
        kind, name, more = match.groups()
        if kind in self.saved:
            return self._saved(kind, name, more, match.group())
        if kind in TABLES:
            found = TABLES[kind](self.root, name, *([more] if more else []))
            return PLACEHOLDER.sub(self, found)
        known = {"label": self.labels, "ref": self.labels, "run": self.facts}
        if kind == "card":
            known["card"] = _card()
        if name not in known.get(kind, {}):
            among = ", ".join(known.get(kind, known)) or "none"
            raise ReportError(f"{self.file} asks for {match.group()}, which is unknown: {among}")
        found = known[kind][name]
        if kind == "label":
            return f"[**{found}**]{{#shown-{name}}}"
        if kind == "ref":
            return f"[{found}](#shown-{name})"
        return found

    def _saved(self, kind, name, more, asked):
        """Markdown of what a notebook saved, or a gap."""
        record = self.saved[kind].get(name)
        if record is None and self.failed:  # any of them may have been to save it
            return self._gap(kind, name, self.failed)
        if record is None:
            known = ", ".join(self.saved[kind]) or "none"
            raise ReportError(f"{self.file} asks for {asked}, which no notebook has saved: {known}")
        if record["notebook"] in self.failed:
            return self._gap(kind, name, [record["notebook"]])
        if kind == "figure":
            caption = f"**{self.labels[name]}** {record['caption']}"
            return f"![{caption}]({self.place(record)}){{#shown-{name} width={more or '100%'}}}"
        if kind == "table":
            caption = f"[**{self.labels[name]}**]{{#shown-{name}}} {record['caption']}"
            return f"{format_table(record)}\n\n: {caption}"
        return format_number(record, unit=kind == "number")

    def _gap(self, kind, name, notebooks):
        """Markdown in the place of what is missing, as notebooks failed."""
        what = "number" if kind == "value" else kind
        target = f"#shown-{name} " if name in self.labels else ""
        why = f"missing: the {what} `{name}`, as {' or '.join(notebooks)} failed"
        return f"[**[{why}]**]{{{target}.gap}}"


def _numbered(text, file):
    """{name: "Figure 3" or "Table 1"} of a text's figures and tables, in their order."""
    words = {"figure": "Figure", "table": "Table", "label": "Table"}
    counts, labels = dict.fromkeys(words.values(), 0), {}
    for kind, name, _ in PLACEHOLDER.findall(text):
        if kind in words:
            if name in labels:
                raise ReportError(f"{file} has two figures or tables named {name}")
            counts[words[kind]] += 1
            labels[name] = f"{words[kind]}\N{NO-BREAK SPACE}{counts[words[kind]]}"
    return labels


def _facts(root, runs):
    """What {{run:...}} knows."""
    settings = {record["setting"] for record in runs.values() if "setting" in record}
    dates = [record["date"] for record in runs.values() if "date" in record]
    return {
        "version": hmrlib.__version__,
        "setting": " and ".join(sorted(settings)),
        "date": max(dates, default="undated"),
        "authors": _authors(root),
        "table": _table(runs),
    }


@cache
def _card():
    """{"training.seed": "0", ...}: the settings and the card of the network that ships."""
    from hmrlib.training.checkpoint import describe_model

    about, flat = describe_model(), {}
    for part, entries in (about["card"] | {"settings": about["settings"]}).items():
        entries = entries.items() if isinstance(entries, dict) else [("", entries)]
        for name, value in entries:
            text = f"{value:,}" if isinstance(value, int) else str(value)
            flat[f"{part}.{name}".rstrip(".")] = text
    return flat


def _authors(root):
    """Who CITATION.cff names, with commas; "" without one."""
    import yaml

    path = root / "CITATION.cff"
    people = yaml.safe_load(path.read_text("utf-8"))["authors"] if path.exists() else []
    parts = [(p.get("given-names"), p.get("family-names"), p.get("name")) for p in people]
    return ", ".join(" ".join(filter(None, part)) for part in parts)


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
