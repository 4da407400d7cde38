"""How fast the viewers answer, in a real browser: `make bench`, or `python benchmarks/viewer.py`.

Needs Chromium. Prints a table and writes it to benchmarks/viewer.md. The kernel path is measured
from the event in the page to the draw call with the new vertices: what it costs beyond the frame
itself, which software GL draws afterwards. Medians.
"""

import os
import statistics
import tempfile
from pathlib import Path

import nbformat

from hmrlib.body import files
from hmrlib.viewing import browser, live

EVENTS = 40  # single steps of a slider, each waited for
DRAG_SECONDS = 3
CELLS = (
    "import hmrlib\nfrom hmrlib.viewing import viewer\nbody = hmrlib.load_body()",
    "explorer = hmrlib.show(body)\nexplorer",
)
# note when events come, when vertices go to the graphics card and when they are drawn
HOOK = """
window.log = { event: [], upload: [], draw: [] };
for (const name of ["WebGLRenderingContext", "WebGL2RenderingContext"]) {
  const prototype = window[name].prototype;
  for (const method of ["bufferData", "bufferSubData"]) {
    const plain = prototype[method];
    prototype[method] = function (...given) {
      if (given.some((value) => value?.byteLength > 60000)) log.upload.push(performance.now());
      return plain.apply(this, given);
    };
  }
  const plain = prototype.drawElements;
  prototype.drawElements = function (...given) {
    log.draw.push(performance.now());
    return plain.apply(this, given);
  };
}
for (const event of ["keydown", "pointermove"])
  addEventListener(event, () => log.event.push(performance.now()), true);
"""
DRAWN = """(() => {
  const event = log.event.at(-1), upload = log.upload.find((time) => time > event);
  return upload !== undefined && log.draw.some((time) => time > upload);
})()"""
LATENCY = """(() => {
  const event = log.event.at(-1), upload = log.upload.find((time) => time > event);
  return log.draw.find((time) => time > upload) - event;
})()"""


def kernel_path(chromium):
    """Figures of the explorer in JupyterLab, by name."""
    with tempfile.TemporaryDirectory() as folder:
        cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
        notebook = nbformat.v4.new_notebook(cells=cells)
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(notebook, Path(folder, "bench.ipynb"))
        with browser.jupyterlab(folder) as url:
            page = browser.open_page(chromium, "about:blank", (1280, 1000))
            page.add_init_script(HOOK)
            page.goto(url + "bench.ipynb")
            return _measure_explorer(page)


def _measure_explorer(page):
    found = {}
    browser.run_first(page)  # the imports
    start = page.evaluate("performance.now()")
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-cell-and-select-next')")
    page.wait_for_function("log.draw.length && log.upload.length")
    first = page.evaluate("log.draw.find((time) => time > log.upload[0])")
    found["first picture after the imports, ms"] = first - start
    browser.settle_explorer(page)
    handle = page.locator(".hmr-explorer .noUi-handle").first
    handle.focus()
    page.seen["received"].clear()
    latencies = []
    for i in range(EVENTS):
        handle.press("ArrowRight" if i % 20 < 10 else "ArrowLeft")
        page.wait_for_function(DRAWN)
        latencies.append(page.evaluate(LATENCY))
    found["slider to draw call, explorer, ms"] = statistics.median(latencies)
    found["bytes from the kernel for one update"] = sum(page.seen["received"]) / EVENTS

    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    start = page.evaluate("performance.now()")
    uploads = page.evaluate("log.upload.length")
    step = 0
    while page.evaluate("performance.now()") - start < 1000 * DRAG_SECONDS:
        step += 1
        page.mouse.move(x + 60 * (1 - abs(step % 60 / 30 - 1)), y)
    page.mouse.up()
    end = page.evaluate("performance.now()")
    browser.settle_explorer(page)
    found[f"pictures in a drag of {DRAG_SECONDS} s"] = (
        page.evaluate("log.upload.length") - uploads
    ) / 2  # positions and normals
    last = page.evaluate("log.upload.at(-1)")
    found["last picture after the end of the drag, ms"] = max(0.0, last - end)
    return found


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
        found = kernel_free(chromium) | kernel_path(chromium)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    lines = [
        "# How fast the viewers answer",
        "",
        f"Written by `benchmarks/viewer.py`: {os.cpu_count()} cores, software GL, load {load:.1f}.",
        "",
        "| what | median |",
        "|:--|--:|",
        *(f"| {name} | {value:,.1f} |" for name, value in found.items()),
    ]
    text = "\n".join(lines)
    print(text)
    Path(__file__).with_suffix(".md").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
