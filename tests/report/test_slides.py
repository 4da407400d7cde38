"""The talk: one file that opens anywhere, a slide a page, with what is to be said."""

import re
import shutil

import pytest

from hmrlib import report
from hmrlib.viewing import browser
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

SLIDES = 15
NOTHING_SPILLS = """() => {
  const slide = document.querySelector(".shown"), frame = slide.getBoundingClientRect();
  const parts = [...slide.querySelectorAll("h1, p, li, table, pre, figure img, math, .column")];
  return parts.filter((part) => !part.closest(".live, .notes")).filter((part) => {
    const box = part.getBoundingClientRect();
    return box.bottom > frame.bottom + 1 || box.right > frame.right + 1 || box.top < frame.top - 1
      || part.scrollWidth > part.clientWidth + 1 && part.matches("pre, .column");
  }).map((part) => part.textContent || part.alt);
}"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of a talk that was built from the figures and numbers at hand."""
    root = tmp_path_factory.mktemp("talk")
    (root / "report").mkdir()
    for path in (ROOT / "report").glob("slides.*"):
        if path.suffix not in (".html", ".pdf"):
            shutil.copy(path, root / "report")
    for name in ("numbers.json", "colours.css"):
        shutil.copy(ROOT / "report" / name, root / "report")
    for folder in ("figures", "benchmarks"):
        shutil.copytree(ROOT / folder, root / folder)
    report.build(root)
    return root / "report"


@pytest.fixture(scope="module")
def page(built):
    if lack := browser.missing():
        pytest.skip(lack)
    with browser.chromium() as opened:
        page = browser.open_page(
            opened, (built / "slides.html").as_uri(), (1280, 720), offline=True
        )
        page.wait_for_function(
            "[...document.querySelectorAll('[data-hmr-viewer]')].every((host) => host.hmr)"
        )
        yield page


def at(page):
    return page.locator("nav output").inner_text()


def test_each_slide_has_one_thing_to_say():
    text = (ROOT / "report" / "slides.md").read_text("utf-8")
    _, *slides = re.split(r"^# ", re.sub(r"(?s)<!--.*?-->", "", text), flags=re.MULTILINE)
    assert len(slides) == SLIDES
    for slide in slides:
        notes = re.findall(r"(?s)^::: notes\n(.+?)\n:::$", slide, re.MULTILINE)
        words = [len(note.split()) for note in notes]
        # a minute's speech, by a slow and by a fast speaker
        assert len(words) == 1 and 60 < words[0] < 160, slide.splitlines()[0]


def test_the_pdf_has_a_page_a_slide(built):
    pages = re.findall(rb"/Type\s*/Page\b", (built / "slides.pdf").read_bytes())
    assert len(pages) == SLIDES  # also: nothing has run over onto another page
    source = (built.parent / "build" / "report" / "slides.typ").read_text("utf-8")
    assert "What next? The network" not in " ".join(source.split())  # notes are for the HTML


def test_the_page_carries_all_that_it_needs(built):
    page = (built / "slides.html").read_text("utf-8")
    assert len(page.encode()) <= 8e6
    assert page.count("<section") == page.count('<div class="notes"') == SLIDES
    assert page.count("data-hmr-viewer") - page.count("[data-hmr-viewer]") >= 2
    assert re.findall(r'<(?:script|img|link)[^>]*(?:src|href)="(?!data:)', page) == []


def test_keys_clicks_and_the_address_turn_slides(page):
    page.evaluate("location.hash = '#1'")
    page.keyboard.press("ArrowRight")
    page.keyboard.press(" ")
    page.keyboard.press("ArrowLeft")
    assert at(page) == f"2 / {SLIDES}"
    page.locator(".shown .live select").first.focus()
    page.keyboard.press("ArrowRight")  # the viewer's, not the talk's
    page.locator(".shown .hmr-stage").click()
    assert at(page) == f"2 / {SLIDES}"
    page.mouse.click(1200, 60)
    page.mouse.click(1200, 60)
    page.mouse.click(60, 60)
    assert at(page) == f"3 / {SLIDES}" and page.url.endswith("#3")
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    assert at(page) == f"{SLIDES} / {SLIDES}"
    page.evaluate("location.hash = '#4'")
    page.wait_for_function("document.querySelector('nav output').innerText.startsWith('4')")


def test_nothing_spills_over_a_slide(page):
    page.keyboard.press("Home")
    for number in range(1, SLIDES + 1):
        assert at(page).startswith(f"{number} /")
        assert page.evaluate(NOTHING_SPILLS) == [], number
        page.keyboard.press("PageDown")


def test_n_shows_the_notes_and_p_prints(page):
    page.keyboard.press("Home")
    notes = page.locator("section.shown .notes")
    assert not notes.is_visible()
    page.keyboard.press("n")
    assert notes.is_visible() and page.locator(".notes:visible").count() == 1
    page.keyboard.press("n")
    assert not notes.is_visible()
    page.evaluate("window.print = () => (window.printed = true)")
    page.keyboard.press("p")
    assert page.evaluate("window.printed")


@pytest.mark.parametrize("notes", [False, True])
def test_print_has_a_page_a_slide(page, tmp_path, notes):
    page.evaluate(f"document.documentElement.classList.toggle('with-notes', {str(notes).lower()})")
    page.pdf(path=tmp_path / "print.pdf", prefer_css_page_size=True)
    page.evaluate("document.documentElement.classList.remove('with-notes')")
    pages = re.findall(rb"/Type\s*/Page\b", (tmp_path / "print.pdf").read_bytes())
    assert len(pages) == SLIDES


def test_a_phone_shows_all_slides_in_a_column(page):
    page.set_viewport_size({"width": 390, "height": 844})
    try:
        assert page.locator("section:visible").count() == SLIDES
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    finally:
        page.set_viewport_size({"width": 1280, "height": 720})


def test_the_skinning_slide_begins_in_a_squat(page):
    pose = page.wait_for_function(
        "Math.max(...document.querySelector('[data-pose]').hmr.state.pose.map(Math.abs))"
    )
    assert pose.json_value() > 1  # radians


def test_no_request_leaves_and_nothing_fails(page):
    assert page.seen["requests"] == [] and page.seen["errors"] == []
