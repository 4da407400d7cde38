"""The texts in report/ and the README: what they refer to is there, and no number is typed."""

import json
import re
import shutil

import pytest
import yaml

from hmrlib import report
from tests.conftest import ROOT

NAMES = [document.name for document in report.DOCUMENTS]
# what looks like a number and is a name, a constant of the field or of a licence
NAMED = r"""
    ResNet50V2 | ResNet-v2 | EfficientNet-Lite0
    | Human3\.6M | 3DPW | MPI-INF-3DHP | [236]D\b | HMR2\.0
    | 4D-Humans | SAM\ 3D\ Body | Apache-2\.0 | CC0(\ 1\.0)? | US\ [\d,]+\b | 3\.1\d\b
    | (19|20)\d\d\b | EIA-\d+ | L[12]\b
"""
SPOKEN = [  # in Markdown, these hold no number that a run could have made
    r"\A---.*?^---$",  # settings of the document; its abstract is read by itself
    r"<!--.*?-->",
    r"```.*?```",
    r"`[^`]*`",
    r"\{\{.*?\}\}",
    r"\$\$.*?\$\$",
    r"\$[^$]*\$",
    r"!?\[[^\]]*\]\([^)]*\)",
    r"\[\^\w+\](:.*?(?=\n\n|\Z))?",  # footnotes and what they cite
    r"\[?@\w+[^\]]*\]?",
    r"\{[#.\w\s=\"%-]*\}",
]


def source(name):
    return (ROOT / "report" / f"{name}.md").read_text("utf-8")


def typed_numbers(text):
    """Words with a digit that nobody made but the writer."""
    for pattern in SPOKEN:
        text = re.sub(pattern, " ", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(NAMED, " ", text, flags=re.VERBOSE)
    return re.findall(r"\S*\d\S*", text)


def test_typed_numbers_are_found():
    text = "An error of 12.5 mm, {{number:x}}, $10$ betas, `f(3)`, in 2018 by SAM 3D Body [@a2018]."
    assert typed_numbers(text) == ["12.5"]


@pytest.mark.parametrize("path", ["report/report.md", "report/slides.md", "README.md"])
def test_no_number_is_typed(path):
    text = (ROOT / path).read_text("utf-8")
    assert typed_numbers(text) == []
    if text.startswith("---"):
        assert typed_numbers(text.split("---")[1]) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_reference_and_link_resolves(name):
    """References to figures and tables, and links to sections."""
    text = report.fill(ROOT, name)
    assert "{{" not in re.sub(r"\$.*?\$", "", text, flags=re.DOTALL)
    targets = set(re.findall(r"\{#([\w-]+)", text))
    linked = set(re.findall(r"\]\(#([\w-]+)\)", text))
    assert linked <= targets
    heads = re.findall(r"^#+ (.*?)(?: \{.*\})?$", text, re.MULTILINE)
    for words in re.findall(r"(?<![\^!\]])\[([A-Z][\w ,]+)\](?![({\[:])", text):
        assert words.replace("\n", " ") in heads, words


def test_the_paper_refers_to_all_that_it_shows():
    text = source("report")
    shown = set(re.findall(r"\{\{(?:figure|table|label):(\w+)", text))
    assert shown == set(re.findall(r"\{\{ref:(\w+)", text))
    assert len(shown) > 20


def test_every_citation_has_its_entry_and_every_entry_is_cited():
    entries = re.findall(
        r"^@\w+\{(\w+),", (ROOT / "report/references.bib").read_text("utf-8"), re.M
    )
    assert len(set(entries)) == len(entries)
    cited = set(re.findall(r"@([a-z]+\d{4})\b", report.fill(ROOT, "report")))
    assert cited == set(entries)


def test_published_errors_say_where_they_come_from():
    tables = yaml.safe_load((ROOT / "report/published.yml").read_text("utf-8"))
    for entry in (entry for entries in tables.values() for entry in entries):
        assert {"method", "year", "judged_on", "protocol"} <= entry.keys()
        typed = [v for k, v in entry.items() if k in ("mpjpe", "pa_mpjpe", "pck")]
        ours = all(isinstance(value, str) and value.startswith("{{cell:") for value in typed)
        assert typed and ours != ("cite" in entry), entry


@pytest.mark.parametrize(
    ("placeholder", "message"),
    [
        ("{{bench:none 1}}", "has 0 tables"),
        ("{{bench:network_shipped 9}}", "no table '9'"),
        ("{{cell:network_shipped 1 | nobody | PVE, mm}}", "no cell"),
        ("{{published:none}}", "no table 'none'"),
        ("{{setting:shipped.none}}", "no setting shipped.none"),
        ("{{ref:none}}", "which is unknown"),
        ("{{table:none}}", "no notebook has saved"),
        ("{{label:one}} {{label:one}}", "two figures or tables named one"),
    ],
)
def test_bad_placeholders_are_named(tmp_path, placeholder, message):
    for folder in ("benchmarks", "notebooks/params"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.md").write_text(placeholder, "utf-8")
    with pytest.raises(report.ReportError, match=message):
        report.fill(tmp_path, "report")


def test_a_table_is_kept_and_set(tmp_path, monkeypatch):
    monkeypatch.setenv("HMR_REPORT_DIR", str(tmp_path / "run"))
    report.save_table("sizes", {"who": ["Ada", "Ben"], "m": [1.7, -1.0]}, "Sizes.", digits=1)
    record = {"setting": "fast", "commit": None, "seconds": 1.0, "date": "2026-11-28"}
    (tmp_path / "run" / "run.json").write_text(json.dumps(record), "utf-8")
    (tmp_path / "notebooks").mkdir()
    report.collect(tmp_path, {"01_sizes": tmp_path / "run"})
    kept = json.loads((tmp_path / "report" / "tables.json").read_text("utf-8"))
    assert kept["sizes"]["notebook"] == "01_sizes"
    (tmp_path / "report" / "report.md").write_text("{{ref:sizes}}\n\n{{table:sizes}}", "utf-8")
    text = report.fill(tmp_path, "report")
    assert text.startswith("[Table\N{NO-BREAK SPACE}1](#shown-sizes)")
    assert "| Ada | 1.7 |\n| Ben | \N{MINUS SIGN}1.0 |" in text and "Sizes." in text


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1], "b": [1, 2]}, "equally long"),
        ({"a": [float("nan")]}, "words and finite numbers"),
        ({}, "equally long"),
    ],
)
def test_bad_tables_are_refused(columns, message):
    with pytest.raises(report.ReportError, match=message):
        report.save_table("name", columns, "Bad.")


@pytest.mark.slow
def test_built_files_are_whole_and_small(tmp_path):
    for folder in ("report", "figures", "benchmarks", "notebooks/params"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "CITATION.cff", tmp_path)
    written = report.build(tmp_path)
    assert len(written) == 2 * len(NAMES)
    for path in written:
        if path.suffix == ".html":
            assert path.stat().st_size <= 8e6, path.name
            page = path.read_text("utf-8")
            assert not re.search(
                r'(?:src|href)="(?!data:|#|https?:|[\w.]+\.html|[^"]*mailto)', page
            )
