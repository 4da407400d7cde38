"""How fast the viewers answer, in a real browser: `make bench`, or `python benchmarks/viewer.py`.

Needs Chromium. Prints a table and writes it to benchmarks/viewer.md; medians. A picture is there
when the graphics have finished it (reading a pixel waits for that). Subtracted from the time since
the event, in the row that says so, is the frame itself: the same picture drawn anew with nothing
changed. Stages are told in milliseconds since the event.
"""

import os
import statistics
import tempfile
from pathlib import Path

import nbformat

from hmrlib.body import files
from hmrlib.viewing import browser, live

EVENTS = 30  # single steps of a slider, each waited for
REST = 500  # milliseconds between them, for all that follows a picture
DRAG_SECONDS = 3
COMPOSED = "--disable-gpu-compositing"  # the page by the processor
CELLS = (
    "import hmrlib\nfrom hmrlib.viewing import viewer\nbody = hmrlib.load_body()",
    """import time
stages = open({stages!r}, "w", buffering=1)
for name in ("_slid", "_pose", "_put"):
    def timed(self, *given, plain=getattr(viewer.Explorer, name), name=name):
        print(name, 1000 * time.time(), file=stages)
        found = plain(self, *given)
        print(name + "_end", 1000 * time.time(), file=stages)
        return found
    setattr(viewer.Explorer, name, timed)
explorer = hmrlib.show(body)
explorer""",
)
STAGES = {  # of one step: name -> what of the page's or the kernel's times
    "the slider's message leaves the page": "sent",
    "the kernel's handler begins": "_slid",
    "the body is computed": "_pose_end",
    "the handler has sent the picture": "_put_end",
    "the picture's message reaches the page": "message",
    "draw call, in the next frame that the browser grants": "drawn",
    "the picture is finished": "finished",
}
# note when events come, when messages go and come, and the frames: with new vertices or without,
# when they are drawn and when finished; and keep what draws one
HOOK = """
window.log = { event: [], sent: [], message: [], frames: [], fresh: false };
window.now = () => performance.timeOrigin + performance.now();
for (const name of ["WebGLRenderingContext", "WebGL2RenderingContext"]) {
  const prototype = window[name].prototype;
  for (const method of ["bufferData", "bufferSubData"]) {
    const plain = prototype[method];
    prototype[method] = function (...given) {
      if (given.some((value) => value?.byteLength > 60000)) log.fresh = true;
      return plain.apply(this, given);
    };
  }
  const plain = prototype.drawElements;
  prototype.drawElements = function (...given) {
    if (!log.frame) {
      const frame = (log.frame = { drawn: now() });
      queueMicrotask(() => {
        this.readPixels(0, 0, 1, 1, this.RGBA, this.UNSIGNED_BYTE, new Uint8Array(4));
        log.frames.push({ ...frame, finished: now(), fresh: log.fresh });
        log.fresh = false;
        log.frame = null;
      });
    }
    return plain.apply(this, given);
  };
}
window.plainRequest = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = (callback) => plainRequest((time) => {
  callback(time);
  if (log.frame) log.redraw = callback;
});
for (const event of ["keydown", "pointermove"])
  addEventListener(event, () => log.event.push(now()), true);
const plainSend = WebSocket.prototype.send;
WebSocket.prototype.send = function (data) {
  log.sent.push(now());
  return plainSend.call(this, data);
};
window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", ({ data }) => {
      if (data.byteLength > 60000) log.message.push(now());
    });
  }
};
"""
DRAWN = "log.frames.some((frame) => frame.fresh && frame.drawn > log.event.at(-1))"
STEP = """(() => {
  const event = log.event.at(-1), after = (times) => times.find((time) => time > event);
  const frame = log.frames.find((frame) => frame.fresh && frame.drawn > event);
  return { event, sent: after(log.sent), message: after(log.message), ...frame };
})()"""
FRAME = """() => new Promise((resolve) => plainRequest((time) => {
  const begin = now();
  log.redraw(time);
  queueMicrotask(() => resolve(log.frames.at(-1).finished - begin));
}))"""


def kernel_path(chromium):
    """Figures of the explorer in JupyterLab by name, and the stages of one step by name."""
    with tempfile.TemporaryDirectory() as folder:
        stages = Path(folder, "stages")
        sources = [CELLS[0], CELLS[1].format(stages=str(stages))]
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        notebook = nbformat.v4.new_notebook(cells=cells)
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(notebook, Path(folder, "bench.ipynb"))
        with browser.jupyterlab(folder) as url:
            page = browser.open_page(chromium, "about:blank", (1280, 1000))
            page.add_init_script(HOOK)
            page.goto(url + "bench.ipynb")
            found, steps = _measure_explorer(page)
        kernel = [line.split() for line in stages.read_text().splitlines()]
    for step in steps:
        for name, time in reversed(kernel):  # so that the first after the event stays
            if float(time) > step["event"]:
                step[name] = float(time)
    medians = {
        name: statistics.median(step[key] - step["event"] for step in steps)
        for name, key in STAGES.items()
    }
    return found, medians


def _measure_explorer(page):
    found = {}
    browser.run_first(page)  # the imports
    start = page.evaluate("now()")
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-cell-and-select-next')")
    page.wait_for_function("log.frames.some((frame) => frame.fresh)")
    first = page.evaluate("log.frames.find((frame) => frame.fresh).finished")
    found["first picture after the imports, ms"] = first - start
    browser.settle_explorer(page)
    handle = page.locator(".hmr-explorer .noUi-handle").first
    handle.focus()
    page.wait_for_timeout(6 * REST)  # the kernel compiles its function meanwhile
    page.seen["received"].clear()
    steps = []
    for i in range(EVENTS):
        handle.press("ArrowRight" if i % 20 < 10 else "ArrowLeft")
        page.wait_for_function(DRAWN)
        page.wait_for_timeout(REST)
        steps.append(page.evaluate(STEP))
    received = sum(page.seen["received"]) / EVENTS
    frames = []
    for _ in range(EVENTS):
        frames.append(page.evaluate(FRAME))
        page.wait_for_timeout(REST / 5)
    frame = statistics.median(frames)
    drawn, finished = (
        statistics.median(step[name] - step["event"] for step in steps)
        for name in ("drawn", "finished")
    )
    found["slider to draw call, ms"] = drawn
    found["slider to finished picture, ms"] = finished
    found["the frame itself, drawn anew with nothing changed, ms"] = frame
    found["slider to finished picture, beyond the frame itself, ms"] = finished - frame
    found["bytes from the kernel for one update"] = received

    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    start, before = page.evaluate("[now(), log.frames.length]")
    step = 0
    while page.evaluate("now()") - start < 1000 * DRAG_SECONDS:
        step += 1
        page.mouse.move(x + 60 * (1 - abs(step % 60 / 30 - 1)), y)
    end = page.evaluate("log.event.at(-1)")
    page.mouse.up()
    browser.settle_explorer(page)
    pictures = page.evaluate(f"log.frames.slice({before}).filter((frame) => frame.fresh)")
    found[f"pictures in a drag of {DRAG_SECONDS} s"] = len(pictures)
    last = pictures[-1]["finished"] - end
    found["last picture after the last event of the drag, ms"] = max(0.0, last)
    return found, steps


def kernel_free(chromium):
    """Figures of the exported page, by name."""
    text = live.page(files.read_model(files.OPEN_BODY))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "page.html")
        path.write_text(text, "utf-8")
        page = browser.open_page(chromium, path.as_uri())
        browser.settle_live(page)
        scripts = page.evaluate(
            f"""() => {{
              const viewer = {browser.LIVE}, times = [];
              for (let i = 0; i < 200; i++) {{
                viewer.set({{
                  betas: Array.from({{ length: 10 }}, () => Math.random() - 0.5),
                  pose: Array.from({{ length: 72 }}, () => Math.random() - 0.5),
                }});
                viewer.vertices;
                times.push(viewer.timing.script);
              }}
              return times;
            }}"""
        )
    return {
        "script for all betas and angles with correctives, kernel-free, ms": statistics.median(
            scripts
        ),
        "exported page, MB": len(text.encode()) / 1e6,
    }


def main():
    if lack := browser.missing():
        raise SystemExit(lack)
    with browser.chromium() as chromium:
        free = kernel_free(chromium)
        paths = [kernel_path(chromium)]
        plain = browser.launch(chromium.browser_type, COMPOSED)
        paths.append(kernel_path(plain))
        plain.close()
    (found, stages), (found_plain, stages_plain) = paths
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    lines = [
        "# How fast the viewers answer",
        "",
        f"Written by `benchmarks/viewer.py`: {os.cpu_count()} cores, load {load:.1f}, software GL.",
        "Left: it draws the whole page of JupyterLab. Right: the body alone, as where a",
        "browser finds no graphics card. Medians.",
        "",
        "| kernel-free | |",
        "|:--|--:|",
        *(f"| {name} | {value:,.1f} |" for name, value in free.items()),
        "",
        "| explorer | GL draws the page | the body alone |",
        "|:--|--:|--:|",
        *(f"| {name} | {v:,.1f} | {found_plain[name]:,.1f} |" for name, v in found.items()),
        "",
        "| one step of a slider, ms since the event | GL draws the page | the body alone |",
        "|:--|--:|--:|",
        *(f"| {name} | {v:,.1f} | {stages_plain[name]:,.1f} |" for name, v in stages.items()),
    ]
    text = "\n".join(lines)
    print(text)
    Path(__file__).with_suffix(".md").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
