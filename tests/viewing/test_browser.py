"""The viewers in a real browser: a page from a file, JupyterLab, the app.

Everything waits for what happens, never for a time; no latency is asserted (see
`benchmarks/viewer.py`), but messages, bytes and pixels are counted.
"""

import io
import json
from pathlib import Path

import matplotlib.cbook
import numpy as np
import pytest
import trimesh

import hmrlib
from hmrlib.body import files
from hmrlib.skeleton import JOINT_NAMES, POSES, pose_from_degrees
from hmrlib.viewing import browser, live
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

if lack := browser.missing():
    pytest.skip(lack, allow_module_level=True)

WALKING = pose_from_degrees(POSES["walking"])
LIVE = browser.LIVE


@pytest.fixture(scope="module")
def chromium():
    with browser.chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def body():
    return hmrlib.load_body(files.OPEN_BODY)


@pytest.fixture(scope="module")
def address(tmp_path_factory, body):
    """Of an exported page, a file."""
    path = tmp_path_factory.mktemp("page") / "play.html"
    path.write_text(live.page(body.model, begin={"betas": [1.0], "pose": WALKING}), "utf-8")
    return path.as_uri()


@pytest.fixture
def page(chromium, address):
    """The exported page, open, offline; it must not have complained when the test is over."""
    opened = browser.open_page(chromium, address, offline=True)
    browser.settle_live(opened)
    yield opened
    assert opened.seen["errors"] == [] and opened.seen["requests"] == []
    opened.context.close()


def vertices(page):
    return np.array(page.evaluate(f"Array.from({LIVE}.vertices)")).reshape(-1, 3)


def set_live(page, **change):
    page.evaluate(f"(change) => {LIVE}.set(change)", change)
    browser.settle_live(page)


def standing_on_ground(points):
    return points - [0, points[:, 1].min(), 0]


def drag(page, handle, pixels, steps=12):
    """Take a slider's handle and pull it sideways."""
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + pixels, y, steps=steps)
    page.mouse.up()


# --- the exported page ---


@pytest.mark.parametrize("skinning", ["lbs", "dqs"])
@pytest.mark.parametrize("correctives", [True, False])
def test_browser_computes_what_python_does(page, body, skinning, correctives):
    rng = np.random.default_rng(5)
    for pose in (*rng.normal(0, 0.6, (2, 24, 3)), np.zeros((24, 3)), 3 * np.eye(24, 3)):
        betas = rng.normal(size=10)
        options = {"skinning": skinning, "correctives": correctives}
        set_live(page, betas=betas.tolist(), pose=pose.ravel().tolist(), **options)
        expected = np.asarray(body(betas[None], pose[None], **options).vertices[0])
        assert np.abs(vertices(page) - expected).max() < 1e-4  # metres


def test_picture_is_our_rasterisers(page, body):
    for pose in (WALKING, pose_from_degrees(POSES["squatting"])):
        set_live(page, betas=[], pose=pose.ravel().tolist())
        seen = browser.silhouette(page.locator(".hmr-stage").screenshot())
        expected = browser.expected_silhouette(
            standing_on_ground(vertices(page)), body.faces, seen.shape[::-1]
        )
        assert browser.overlap(seen, expected) >= 0.98


def test_slider_moves_the_body_and_undo_takes_it_back(page):
    picture = browser.steady(page.locator(".hmr-stage"))
    slider = page.get_by_role("slider", name="β₀")
    slider.focus()
    for _ in range(10):
        slider.press("ArrowRight")
    browser.settle_live(page)
    assert page.evaluate(f"{LIVE}.state.betas[0]") == pytest.approx(1.5)
    changed = browser.steady(page.locator(".hmr-stage"))
    assert browser.overlap(browser.silhouette(changed), browser.silhouette(picture)) < 0.99
    box = slider.bounding_box()
    page.mouse.move(box["x"] + 0.69 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + box["height"] / 2, steps=15)
    page.mouse.up()
    assert page.evaluate(f"{LIVE}.state.betas[0]") < -1
    page.get_by_role("button", name="Undo").click()  # the whole drag
    browser.settle_live(page)
    assert page.evaluate(f"{LIVE}.state.betas[0]") == pytest.approx(1.5)
    page.get_by_role("button", name="Reset").click()
    browser.settle_live(page)
    again = browser.steady(page.locator(".hmr-stage"))
    assert browser.overlap(browser.silhouette(again), browser.silhouette(picture)) > 0.999


def test_events_between_two_frames_cost_one_frame(page):
    frames = page.evaluate(
        f"""() => {{
          const viewer = {LIVE}, before = viewer.timing.frames;
          for (let i = 0; i < 40; i++) viewer.set({{ betas: [i / 20] }});
          return before;
        }}"""
    )
    browser.settle_live(page)
    assert page.evaluate(f"{LIVE}.timing.frames") == frames + 1


def right_shin(page, body):
    """The place on the page, pixels, of the middle of the right shin of a body at rest."""
    set_live(page, betas=[], pose=[0] * 72, joint=0)
    joints = np.asarray(body().joints[0])
    lifted = standing_on_ground(np.vstack([vertices(page), joints]))[-24:]
    box = page.locator("canvas").bounding_box()
    size = int(box["width"]), int(box["height"])
    view = live.VIEW
    camera = hmrlib.camera.look_at(view["eye"], view["target"], fov=view["fov"], size=size)
    knee, ankle = (lifted[JOINT_NAMES.index(f"right_{name}")] for name in ("knee", "ankle"))
    x, y = camera.project((knee + ankle) / 2)[0]
    return box["x"] + x, box["y"] + y


def test_a_click_chooses_a_joint(page, body):
    page.mouse.click(*right_shin(page, body))
    assert page.evaluate(f"{LIVE}.state.joint") == JOINT_NAMES.index("right_knee")  # carries it


def test_the_wheel_zooms_to_the_pointer_and_reset_leads_back(page, body):
    shin = right_shin(page, body)
    stage = page.locator(".hmr-stage")
    far = browser.steady(stage)
    page.mouse.move(*shin)
    for _ in range(8):
        page.mouse.wheel(0, -200)
    near = browser.steady(stage, lambda picture: picture != far)
    assert browser.overlap(browser.silhouette(near), browser.silhouette(far)) < 0.8
    page.mouse.click(*shin)  # where it was
    assert page.evaluate(f"{LIVE}.state.joint") == JOINT_NAMES.index("right_knee")
    page.get_by_role("button", name="Reset").click()
    set_live(page, betas=[], pose=[0] * 72, joint=0)
    again = browser.silhouette(browser.steady(stage))
    assert browser.overlap(again, browser.silhouette(far)) > 0.999


@pytest.mark.parametrize("color", ["weights", "correctives", "skinning"])
def test_colours_and_bones_are_drawn(page, color):
    plain = page.locator(".hmr-stage").screenshot()
    set_live(page, color=color)
    colored = page.locator(".hmr-stage").screenshot()
    assert colored != plain and page.locator(".hmr-legend").is_visible()
    set_live(page, skeleton=True, mesh=True)
    assert page.locator(".hmr-stage").screenshot() != colored


def test_clothes_are_drawn_on_a_body_at_ease(page, chromium, body, tmp_path):
    plain = page.locator(".hmr-stage").screenshot()
    set_live(page, color="clothed")
    assert page.locator(".hmr-stage").screenshot() != plain
    assert not page.locator(".hmr-legend").is_visible()
    path = tmp_path / "given_nothing.html"
    path.write_text(live.page(body.model), "utf-8")
    other = browser.open_page(chromium, path.as_uri(), offline=True)
    browser.settle_live(other)
    pose = other.evaluate(f"{LIVE}.state.pose")
    np.testing.assert_allclose(pose, pose_from_degrees(POSES["standing"]).ravel(), atol=1e-4)
    other.context.close()


def test_bad_text_is_answered_by_a_sentence(page):
    page.get_by_text("As text, as a file").click()
    text, status = page.get_by_role("textbox"), page.locator(".hmr-status")
    before = vertices(page)
    for bad, sentence in (
        ('{"pose": [1, 2, 3]}', "pose: expected 72 numbers, found 3."),
        ("hello", 'This is not JSON: expected {"betas": […], "pose": […]}.'),
        ('{"betas": ["x"]}', "betas: expected numbers alone."),
        (json.dumps({"betas": [0.5] * 16}), "betas: expected at most 10 numbers, found 16."),
    ):
        text.fill(bad)
        page.get_by_role("button", name="Apply").click()
        assert status.inner_text() == sentence
    np.testing.assert_array_equal(vertices(page), before)
    text.fill(json.dumps({"betas": [0.25], "pose": WALKING.ravel().tolist()}))
    page.get_by_role("button", name="Apply").click()
    assert not status.is_visible()
    assert page.evaluate(f"{LIVE}.state.betas[0]") == 0.25


def test_files_hold_what_is_shown(page, body, tmp_path):
    page.get_by_text("As text, as a file").click()
    for name in ("OBJ", "GLB"):
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Save {name}").click()
        path = tmp_path / f"body.{name.lower()}"
        download.value.save_as(path)
        mesh = trimesh.load(path, force="mesh", process=False)
        np.testing.assert_allclose(mesh.vertices, vertices(page), atol=1e-6)
        np.testing.assert_array_equal(mesh.faces, body.faces)


def test_two_viewers_on_a_page_are_apart(chromium, body, tmp_path):
    two = "<body><div data-hmr-viewer></div><div data-hmr-viewer></div></body>"
    path = tmp_path / "two.html"
    path.write_text(live.make_live(two, body.model), "utf-8")
    page = browser.open_page(chromium, path.as_uri(), (1200, 1900), offline=True)
    frames = "[...document.querySelectorAll('[data-hmr-viewer]')].map((e) => e.hmr?.timing.frames)"
    page.wait_for_function(f"({frames}).every((count) => count > 0)")
    page.evaluate(f"{LIVE}.set({{ betas: [2] }})")
    browser.settle_live(page)
    first, second = (
        browser.silhouette(page.locator(".hmr-stage").nth(i).screenshot()) for i in (0, 1)
    )
    assert second.mean() > 0.02 and browser.overlap(first, second) < 0.97
    assert page.seen["errors"] == []
    page.context.close()


def test_a_phone_shows_the_body_and_the_first_sliders(chromium, address):
    page = browser.open_page(chromium, address, (390, 844), offline=True)
    browser.settle_live(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    slider = page.locator("input[type=range]").first.bounding_box()
    assert slider["y"] + slider["height"] < 844
    columns = np.flatnonzero(browser.silhouette(page.locator(".hmr-stage").screenshot()).any(0))
    assert columns.min() > 10 and columns.max() < 348  # of 358: both hands


@pytest.fixture
def blind(chromium):
    """A browser without WebGL."""
    opened = browser.launch(chromium.browser_type, "--disable-3d-apis")
    yield opened
    opened.close()


def test_without_webgl_a_sentence_stands_in_its_place(blind, address):
    page = browser.open_page(blind, address)
    sorry = page.locator(".hmr-sorry")
    sorry.wait_for()
    assert "WebGL is off or missing" in sorry.inner_text()
    assert page.get_by_role("slider", name="β₀").is_visible()


def test_without_javascript_a_sentence_stands_in_its_place(chromium, address):
    page = browser.open_page(chromium, address, java_script_enabled=False)
    assert "please allow" in page.locator("[data-hmr-viewer]").inner_text()
    page.context.close()


# --- JupyterLab ---


@pytest.fixture(scope="module")
def lab():
    with browser.jupyterlab(ROOT / "notebooks") as url:
        yield url


def test_start_here_runs_and_its_viewer_needs_no_kernel(chromium, lab):
    page = browser.open_page(chromium, lab + "00_start_here.ipynb")
    browser.run_all(page)
    browser.settle_live(page)
    assert [cell["stderr"] for cell in page.evaluate(browser.CODE_CELLS) if cell["stderr"]] == []
    slider = page.get_by_role("slider", name="β₀").first
    slider.focus()
    slider.press("ArrowRight")  # JupyterLab leaves the arrow keys to the slider
    assert page.evaluate(f"{LIVE}.state.betas[0]") == pytest.approx(0.05)
    assert page.seen["errors"] == [] and page.seen["requests"] == []
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.wait_for_function("!window.jupyterapp.shell.currentWidget.sessionContext.session")
    stage = page.locator(".hmr-stage").first
    before = stage.screenshot()
    for _ in range(20):
        slider.press("ArrowRight")
    browser.settle_live(page)
    assert page.evaluate(f"{LIVE}.state.betas[0]") == pytest.approx(1.05)
    assert stage.screenshot() != before
    # ipywidgets tells the console that no one listens any more
    assert all("Cannot send" in error for error in page.seen["errors"])
    page.context.close()


def test_explorer_in_the_notebook(chromium, lab, body):
    page = browser.open_page(chromium, lab + "11_play.ipynb", (1280, 1000))
    browser.run_all(page)
    explorer = page.locator(".hmr-explorer").first
    explorer.scroll_into_view_if_needed()
    seen = browser.silhouette(browser.settle_explorer(page))
    betas = np.zeros((1, 10))
    betas[0, 1] = 2.5  # as the notebook left it
    expected = standing_on_ground(np.asarray(body(betas, WALKING[None]).vertices[0]))
    expected = browser.expected_silhouette(expected, body.faces, seen.shape[::-1])
    assert browser.overlap(seen, expected) >= 0.98

    # a drag: the picture follows, and the kernel sends at most one picture an event
    page.seen["received"].clear()
    steps = 12
    drag(page, explorer.locator(".noUi-handle").first, 60, steps)
    after = browser.silhouette(browser.settle_explorer(page))
    assert browser.overlap(seen, after) < 0.98
    pictures = [size for size in page.seen["received"] if size > 50_000]
    assert 1 <= len(pictures) <= steps + 1
    assert sum(page.seen["received"]) / len(pictures) < 100_000  # bytes

    with page.expect_download() as download:
        explorer.get_by_role("button", name="Save OBJ").click()
    mesh = trimesh.load(
        io.BytesIO(download.value.path().read_bytes()), file_type="obj", process=False
    )
    assert len(mesh.vertices) == 6890

    assert page.seen["errors"] == [] and page.seen["requests"] == []
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.wait_for_function("!window.jupyterapp.shell.currentWidget.sessionContext.session")
    drag(page, explorer.locator(".noUi-handle").first, -30)
    explorer.locator(".hmr-link", has_text="kernel does not answer").wait_for()
    assert all("Cannot send" in error for error in page.seen["errors"])
    page.context.close()


# --- the app ---


@pytest.fixture(scope="module")
def app():
    """The app, with room for the page of each test: a kernel outlives a page that a test closes."""
    with browser.app(pages=8) as url:
        yield url


def test_app_serves_the_explorer_without_code(chromium, app):
    page = browser.open_page(chromium, app, (1050, 950))
    before = browser.settle_explorer(page)
    assert "import hmrlib" not in page.content()
    text = "document.querySelector('textarea').value"
    first = page.evaluate(text)
    drag(page, page.locator(".noUi-handle").nth(1), 50)
    page.wait_for_function(f"(first) => {text} !== first", arg=first)  # once the drag is over
    assert browser.settle_explorer(page) != before
    for bad, sentence in (
        ('{"pose": [0, 1]}', "pose: expected 72 numbers, found 2."),
        (json.dumps({"betas": [0.5] * 16}), "betas: expected at most 10 numbers, found 16."),
    ):
        page.locator("textarea").fill(bad)
        page.get_by_role("button", name="Apply").click()
        page.get_by_text(sentence).wait_for()
    assert page.seen["errors"] == [] and page.seen["requests"] == []
    page.context.close()


def test_app_fills_windows_from_a_phones_to_a_wide_one(chromium, app):
    page = browser.open_page(chromium, app, (1920, 1080))
    for width, height in ((1920, 1080), (1280, 800), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        seen = browser.silhouette(browser.settle_explorer(page))
        assert not seen[:, [0, -1]].any() and not seen[[0, -1]].any()  # the whole body
        stage = page.locator(".hmr-picture").bounding_box()
        assert stage["height"] < height and stage["x"] + stage["width"] < width
        sliders = page.locator(".hmr-explorer .widget-slider")
        boxes = [sliders.nth(i).bounding_box() for i in range(sliders.count())]
        ends = [box["x"] + box["width"] for box in boxes]
        assert width - 40 < max(ends) < width
    page.context.close()


def test_sliders_of_the_explorer_show_the_usual_range(chromium, app):
    page = browser.open_page(chromium, app)
    browser.settle_explorer(page)
    slider = page.locator(".hmr-explorer .hmr-y")

    def bar():
        style = "(row) => getComputedStyle(row).getPropertyValue('--low')"
        return float(slider.evaluate(style).strip("% "))

    def expected(joint):
        return 50 + live.joint_limits()[JOINT_NAMES.index(joint), 1, 0] / 3.6

    assert bar() == pytest.approx(expected("left_elbow"), abs=0.06)
    page.locator(".hmr-explorer select").nth(2).select_option("trunk: neck")
    page.wait_for_function(
        "(low) => Math.abs(parseFloat(getComputedStyle(document.querySelector("
        "'.hmr-explorer .hmr-y')).getPropertyValue('--low')) - low) < 0.06",
        arg=expected("neck"),
    )
    assert page.locator(".hmr-far").count() == 0
    page.locator("textarea").fill('{"betas": [2.5, 1]}')
    page.get_by_role("button", name="Apply").click()
    page.locator(".hmr-far .widget-readout", has_text="2.50").wait_for()
    assert page.locator(".hmr-far").count() == 1
    page.context.close()


def drop(page, name, data):
    """Let a file fall onto the place for photographs."""
    make = """([name, data]) => {
      const carried = new DataTransfer();
      carried.items.add(new File([Uint8Array.from(data)], name, { type: "image/jpeg" }));
      return carried;
    }"""
    carried = page.evaluate_handle(make, [name, list(data)])
    page.dispatch_event(".hmr-drop", "drop", {"dataTransfer": carried})


def test_a_photograph_dropped_into_the_app_becomes_a_body(chromium, app):
    page = browser.open_page(chromium, app, (1050, 1400))
    browser.settle_explorer(page)
    text = "document.querySelector('textarea').value"
    first = page.evaluate(text)
    drop(page, "words.jpg", b"no picture")
    page.locator(".hmr-says", has_text="not an image").wait_for()
    hopper = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    drop(page, "hopper.jpg", Path(hopper).read_bytes())
    page.locator(".hmr-says", has_text="One person in hopper.jpg").wait_for()
    page.wait_for_function("document.querySelector('.hmr-booth img').naturalWidth > 100")
    page.wait_for_function(f"(first) => {text} !== first", arg=first)
    fitted = page.evaluate(text)
    assert len(json.loads(fitted)["pose"]) == 72
    source = page.locator(".hmr-booth img").get_attribute("src")
    page.get_by_role("button", name="photograph").click()
    page.wait_for_function(
        "(old) => document.querySelector('.hmr-booth img').src !== old", arg=source
    )
    assert page.seen["errors"] == [] and page.seen["requests"] == []
    page.context.close()


def test_explorer_without_webgl_says_so(blind, app):
    page = browser.open_page(blind, app)
    page.locator(".hmr-link", has_text="WebGL is off or missing").wait_for()
