"""Notebooks in, report out: run for real on small notebooks."""

import hashlib
import json
import re
import shutil
import subprocess
import sys

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from PIL import Image

from hmrlib import report
from hmrlib.cli import main
from hmrlib.report import figures
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

SAVE = "from hmrlib.report import save_figure, save_number\n"
PICTURE = "import numpy as np\nimage = np.full((4, 6, 3), shade)\n"
TEXT = """---
title: A test
subtitle: hmrlib {{run:version}}
lang: en
---

# Numbers

$x^2$ is {{number:square}}, or {{value:square}}. <!-- {{number:not_yet}} -->

{{figure:grey 40%}}

{{run:table}}
"""


def write_notebook(path, parameters, *code):
    cells = [nbformat.v4.new_markdown_cell("# Goal"), nbformat.v4.new_code_cell(parameters)]
    cells[1].metadata["tags"] = ["parameters"]
    cells += [nbformat.v4.new_code_cell(source) for source in code]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


@pytest.fixture
def checkout(tmp_path):
    """Two notebooks and a report's text, with the real template and style."""
    (tmp_path / "notebooks" / "params").mkdir(parents=True)
    (tmp_path / "report").mkdir()
    for name in ("report.typ", "colours.css", "style.css", "references.bib", "wide.lua"):
        shutil.copy(ROOT / "report" / name, tmp_path / "report")
    (tmp_path / "report" / "report.md").write_text(TEXT, "utf-8")
    write_notebook(
        tmp_path / "notebooks" / "01_number.ipynb",
        "x = 1.0",
        "import matplotlib, os\nassert 'inline' in matplotlib.get_backend()\n"
        "assert os.environ['KERAS_BACKEND'] == 'tensorflow'\n"
        + SAVE
        + "save_number('square', x**2, unit='mm', digits=1)",
    )
    write_notebook(
        tmp_path / "notebooks" / "02_picture.ipynb",
        "shade: float = 0.5",
        SAVE + PICTURE + "save_figure('grey', image, caption='Grey.')",
    )
    write_parameters(tmp_path, "01_number: {x: 40.0}")
    return tmp_path


def write_parameters(root, text):
    (root / "notebooks" / "params" / "fast.yml").write_text(text, "utf-8")


def read(path):
    return json.loads(path.read_text("utf-8"))


def words(path):
    """A text without its line breaks, wherever they were set."""
    return path.read_text("utf-8").replace("\n", " ")


def test_run_builds_the_report_and_resumes(checkout, capsys):
    html, pdf = report.run(checkout)

    page = html.read_text("utf-8")
    assert "1,600.0\N{NO-BREAK SPACE}mm, or 1,600.0." in page
    assert "data:image/webp;base64" in page and "<math" in page and "Grey." in page
    assert "http" not in page.replace("http://www.w3.org/", "")  # opens without a network
    assert pdf.read_bytes().startswith(b"%PDF")

    manifest, values = (
        read(checkout / "figures" / "manifest.json"),
        read(checkout / "report" / "numbers.json"),
    )
    assert manifest["notebooks"]["01_number"]["parameters"] == {"x": 40.0}
    assert manifest["notebooks"]["01_number"]["setting"] == "fast"
    assert values["square"]["value"] == 1600.0 and values["square"]["notebook"] == "01_number"
    grey = manifest["figures"]["grey"]
    data = (checkout / "figures" / "grey.png").read_bytes()
    assert grey["sha256"] == hashlib.sha256(data).hexdigest()
    assert (grey["notebook"], grey["size"]) == ("02_picture", [6, 4])
    executed = nbformat.read(checkout / "build/report/fast/01_number/01_number.ipynb", 4)
    assert "square = 1,600.0" in executed.cells[-1].outputs[0].text
    assert "widgets" not in executed.metadata

    # Again: nothing has changed, nothing runs, all is still there.
    ran_at = (checkout / "build/report/fast/02_picture/run.json").stat().st_mtime_ns
    capsys.readouterr()
    report.run(checkout)
    assert capsys.readouterr().err.count("nothing has changed") == 2
    assert manifest == read(checkout / "figures" / "manifest.json")

    # Other parameters for the first, and a new name in the second, run alone: that one is replaced.
    write_parameters(checkout, "01_number: {x: 3.0}")
    notebook = checkout / "notebooks" / "02_picture.ipynb"
    notebook.write_text(notebook.read_text("utf-8").replace("'grey'", "'mid_grey'"), "utf-8")
    text = checkout / "report" / "report.md"
    text.write_text(TEXT.replace("figure:grey", "figure:mid_grey"), "utf-8")
    report.run(checkout, only="02_picture")
    assert (checkout / "build/report/fast/02_picture/run.json").stat().st_mtime_ns > ran_at
    assert {path.name for path in (checkout / "figures").iterdir()} == {
        "manifest.json",
        "mid_grey.png",
    }
    assert "removed figures/grey.png" in capsys.readouterr().out
    assert read(checkout / "report" / "numbers.json") == values  # 01 was not asked for

    report.run(checkout)
    assert read(checkout / "report" / "numbers.json")["square"]["value"] == 9.0


def test_the_pdf_holds_pictures_no_finer_than_print(checkout, monkeypatch):
    """A wide one as a JPEG of 200 dpi across a page's text; one with transparency as it is."""
    monkeypatch.setenv("HMR_REPORT_DIR", str(checkout / "run"))
    (checkout / "run").mkdir()
    wide = np.linspace(0, 1, 3000 * 60 * 3).reshape(60, 3000, 3)
    glass = np.full((5, 2000, 4), 0.5)
    report.save_figure("wide", wide, "Wide.")
    report.save_figure("glass", glass, "Glass.")
    record = {"setting": "fast", "seconds": 1, "commit": None}
    (checkout / "run" / "run.json").write_text(json.dumps(record), "utf-8")
    report.collect(checkout, {"02_picture": checkout / "run"})
    text = "---\ntitle: Two\nlang: en\n---\n\n{{figure:wide}}\n\n{{figure:glass}}\n"
    (checkout / "report" / "report.md").write_text(text, "utf-8")
    _, pdf = report.build(checkout)
    data = pdf.read_bytes()
    widths = {int(width) for width in re.findall(rb"/Width (\d+)", data)}
    assert widths == {1380, 2000} and data.count(b"DCTDecode") == 1


def test_a_failing_notebook_leaves_a_gap_and_stops_no_other(checkout, monkeypatch, capsys):
    """Here the first fails; the second runs, and the report is built around the gap."""
    number = checkout / "notebooks" / "01_number.ipynb"
    right = number.read_text("utf-8")
    write_notebook(number, "x = 1.0", "print('so far')", "x / 0")
    monkeypatch.chdir(checkout)
    assert main(["report"]) == 1
    error = capsys.readouterr().err
    assert "ZeroDivisionError" in error and "x / 0" in error
    kept = checkout / "build/report/fast/01_number.failed/01_number.ipynb"
    summary = error[error.index("1 of 2 failed: 01_number") :]  # the last that is said
    assert "ZeroDivisionError" in summary and str(kept) in summary
    *_, before, last = (c for c in nbformat.read(kept, 4).cells if c.cell_type == "code")
    assert before.outputs[0].text == "so far\n"
    assert [output.ename for output in last.outputs] == ["ZeroDivisionError"]

    manifest = read(checkout / "figures" / "manifest.json")
    assert manifest["figures"]["grey"]["notebook"] == "02_picture"
    assert (checkout / "figures" / "grey.png").exists()
    page = words(checkout / "report" / "report.html")
    assert page.count("missing: the number <code>square</code>, as 01_number failed") == 2
    assert "data:image/webp;base64" in page and ">failed<" in page
    typst = words(checkout / "build" / "report" / "report.typ")
    assert typst.count("as 01\\_number failed") == 2
    assert (checkout / "report" / "report.pdf").read_bytes().startswith(b"%PDF")

    # Another notebook run alone mends nothing.
    assert main(["report", "--only", "02_picture"]) == 0
    assert "as 01_number failed" in words(checkout / "report" / "report.html")

    # Mended, it runs alone, and all is there.
    number.write_text(right, "utf-8")
    assert main(["report"]) == 0
    assert "02_picture: nothing has changed" in capsys.readouterr().err
    assert not kept.exists()
    page = words(checkout / "report" / "report.html")
    assert "missing:" not in page and "1,600.0" in page


def test_what_failed_after_a_good_run_is_a_gap_and_no_old_result(checkout, capsys):
    report.run(checkout)
    write_notebook(checkout / "notebooks" / "02_picture.ipynb", "shade = 1", "shade / 0")
    with pytest.raises(report.NotebookError, match="1 of 2 failed: 02_picture"):
        report.run(checkout)
    page = words(checkout / "report" / "report.html")
    assert "missing: the figure <code>grey</code>, as 02_picture failed" in page
    assert "data:image/webp;base64" not in page and "1,600.0" in page


def test_a_kernel_that_dies_is_a_notebook_that_failed(checkout, capsys):
    write_notebook(checkout / "notebooks" / "01_number.ipynb", "x = 1", "import os\nos._exit(3)")
    folders, failures = report.execute(checkout)
    assert list(folders) == ["02_picture"] and list(failures) == ["01_number"]
    assert "died" in failures["01_number"]


def test_interrupt_keeps_the_finished_notebooks(checkout, capsys):
    """A real interrupt, sent by the second notebook to the run that executes it."""
    write_notebook(
        checkout / "notebooks" / "02_picture.ipynb",
        "shade = 1",
        "import os, signal, time\nos.kill(os.getppid(), signal.SIGINT)\ntime.sleep(60)",
    )
    # what a shell starts in the background hears no interrupt: begin as from a terminal
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from hmrlib.cli import main; raise SystemExit(main(['report']))"
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=checkout,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 130, process.stderr
    assert "Finished notebooks are kept" in process.stderr
    assert (checkout / "build/report/fast/01_number/run.json").exists()
    assert not (checkout / "build/report/fast/02_picture").exists()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("01_number: {y: 1}", "01_number does not declare y; .* has x"),
        ("common: {seed: 1}", "no notebook declares seed"),
        ("03_missing: {}", "no existing notebook: 03_missing"),
    ],
)
def test_unknown_parameter_is_an_error(checkout, parameters, message):
    write_parameters(checkout, parameters)
    with pytest.raises(report.ReportError, match=message):
        report.execute(checkout)
    assert not (checkout / "build").exists()


def test_common_parameters_go_where_they_are_declared(checkout):
    write_parameters(checkout, "common: {x: 2.0}\n02_picture: {shade: 0.1}")
    plan = report.load_parameters(checkout, "fast")
    assert plan == {"01_number": {"x": 2.0}, "02_picture": {"shade": 0.1}}


def test_unknown_notebook_or_setting_is_an_error(checkout):
    with pytest.raises(report.ReportError, match="no notebook named 07"):
        report.execute(checkout, only="07")
    with pytest.raises(report.ReportError, match=r"no notebooks/params/full\.yml"):
        report.execute(checkout, "full")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """As in a report run, whose folder this is."""
    monkeypatch.setenv("HMR_REPORT_DIR", str(tmp_path))
    return tmp_path


def test_two_notebooks_may_not_share_a_name(tmp_path, monkeypatch):
    folders = {name: tmp_path / name for name in ("01_a", "02_b")}
    for run in folders.values():
        monkeypatch.setenv("HMR_REPORT_DIR", str(run))
        report.save_number("count", 3)
    with pytest.raises(report.ReportError, match="01_a and 02_b both save a number named count"):
        report.collect(tmp_path, folders)
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize("save", ["number", "figure"])
def test_one_notebook_may_not_save_a_name_twice(folder, save):
    def once():
        if save == "number":
            report.save_number("twice", 1)
        else:
            report.save_figure("twice", np.zeros((2, 2)), "Black.")

    once()
    with pytest.raises(report.ReportError, match=f"saved a {save} named twice already"):
        once()


def test_outside_a_run_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("HMR_REPORT_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    image = report.save_figure("picture", np.zeros((2, 3, 3)), "Black.")
    report.save_number("error", np.float32(-3.14159), "mm", note="held out")
    assert image.size == (3, 2)
    assert capsys.readouterr().out == "error = \N{MINUS SIGN}3.14\N{NO-BREAK SPACE}mm (held out)\n"
    assert not list(tmp_path.iterdir())


def test_large_image_is_brought_below_the_limit(folder, monkeypatch):
    monkeypatch.setattr(figures, "MAX_FIGURE_BYTES", 30_000)
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    report.save_figure("noise", noise, "Noise.")
    path = folder / "noise.png"
    assert path.stat().st_size <= 30_000
    with Image.open(path) as image:
        assert list(image.size) == read(folder / "noise.figure.json")["size"] != [200, 200]


@pytest.mark.parametrize("format", ["png", "jpg"])
def test_image_that_cannot_be_made_small_enough_is_an_error(folder, monkeypatch, format):
    monkeypatch.setattr(figures, "MAX_FIGURE_BYTES", 5_000)
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    with pytest.raises(report.ReportError, match="cannot be brought below"):
        report.save_figure("noise", noise, "Noise.", format)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("format", ["png", "jpg", "svg"])
def test_figure_has_the_same_bytes_at_every_run(tmp_path, monkeypatch, format):
    written = []
    for run in ("a", "b"):
        (tmp_path / run).mkdir()
        monkeypatch.setenv("HMR_REPORT_DIR", str(tmp_path / run))
        figure, axis = plt.subplots()
        axis.plot([0, 1], [1, 0])
        assert report.save_figure("line", figure, "A line.", format) is None
        plt.close(figure)
        written.append((tmp_path / run / f"line.{format}").read_bytes())
    assert written[0] == written[1]


def test_small_image_is_stored_exactly(folder):
    image = np.arange(5 * 7 * 4, dtype=np.uint8).reshape(5, 7, 4)
    report.save_figure("exact", image, "Colours.")
    with Image.open(folder / "exact.png") as written:
        np.testing.assert_array_equal(np.asarray(written), image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Name", np.zeros((2, 2)), "x"), "no name"),
        (("name", np.zeros((2, 2)), " "), "caption is empty"),
        (("name", np.zeros((2, 2, 5)), "x"), r"found \(2, 2, 5\)"),
        (("name", np.full((2, 2), 1.5), "x"), "in 0..1"),
        (("name", np.full((2, 2), np.nan), "x"), "finite"),
        (("name", np.zeros((2, 2), np.int64), "x"), "found int64"),
        (("name", np.zeros((2, 2)), "x", "gif"), "found 'gif'"),
        (("name", np.zeros((2, 2)), "x", "svg"), "only a matplotlib Figure"),
    ],
)
def test_bad_figures_are_refused(arguments, message):
    with pytest.raises(report.ReportError, match=message):
        report.save_figure(*arguments)


@pytest.mark.parametrize("value", [np.nan, np.inf, [1, 2], "3", None, True])
def test_bad_numbers_are_refused(value):
    with pytest.raises(report.ReportError, match="expected one finite number"):
        report.save_number("name", value)


def test_bounds_are_kept_with_the_number(folder):
    report.save_number("error", 2.5, "mm", expect=(0, 3))
    report.save_number("count", np.int64(7), expect=(7, 7))
    assert read(folder / "error.number.json")["expect"] == [0, 3]
    assert report.within(read(folder / "count.number.json"))
    assert not report.within({"value": 4, "expect": [0, 3]}) and report.within({"value": 4})


@pytest.mark.parametrize("value", [-0.1, 3.1])
def test_a_number_outside_its_bounds_stops_a_report_run(folder, value):
    with pytest.raises(report.ReportError, match=r"number error: .* is not within 0 to 3"):
        report.save_number("error", value, expect=(0, 3))
    assert not list(folder.iterdir())


def test_a_reader_who_changes_something_is_told_of_the_bounds(capsys, monkeypatch):
    monkeypatch.delenv("HMR_REPORT_DIR", raising=False)
    report.save_number("error", 4.0, expect=(0, 3))
    assert "number error: 4 is not within 0 to 3" in capsys.readouterr().out


@pytest.mark.parametrize("expect", [3, (1, 0), (0, np.nan), ("a", "b"), (0, 1, 2)])
def test_bad_bounds_are_refused(expect):
    with pytest.raises(report.ReportError, match=r"expect must be \(low, high\)"):
        report.save_number("error", 1.0, expect=expect)


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"value": 13776, "digits": 2, "unit": ""}, "13,776"),
        ({"value": 3.657, "digits": 2, "unit": "mm"}, "3.66\N{NO-BREAK SPACE}mm"),
        ({"value": -0.5, "digits": 1, "unit": "%"}, "\N{MINUS SIGN}0.5\N{NO-BREAK SPACE}%"),
    ],
)
def test_numbers_read_well(record, text):
    assert report.format_number(record) == text


@pytest.mark.parametrize(
    "placeholder", ["{{number:missing}}", "{{figure:missing}}", "{{run:missing}}", "{{typo:x}}"]
)
def test_unknown_placeholder_is_an_error(checkout, placeholder):
    (checkout / "report" / "report.md").write_text(placeholder, "utf-8")
    with pytest.raises(report.ReportError, match=r"no notebook has saved|which is unknown"):
        report.fill(checkout, "report")
