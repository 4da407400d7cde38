"""The reader's map: `make map` draws the rooms of hmrlib, and who imports whom, from the code."""

import ast
from pathlib import Path
from textwrap import wrap

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from tests.test_rooms import ORDER, PACKAGE, files, imports, room_of

OUT = Path(__file__).with_name("rooms.svg")
WIDTH = 100.0  # of the map
LEAST, LINES_A_UNIT = 14.0, 150  # a box's width: the least, and lines of code that add one
GAP, LINE, LETTERS = 3.0, 1.55, 1.85  # between boxes; a line of small print; its letters a unit
COLORS = {"core": "#DCE9F5", "workshop": "#F6E7D2", "door": "#E3F1E1"}
CORE = ("io", "skeleton", "geometry", "camera", "body", "network", "fitting", "evaluation")
CORE += ("training",)
DOORS = ("prediction", "report", "doctor", "cli")
LEGEND = (
    "A room imports what its arrows lead to, and what that imports; its width and number: lines of "
    "code.\nBlue: what a student reads. Sand: the workshops beside it. Green: where one comes in."
)


def read_rooms():
    """Room -> {module: lines}, and room -> the rooms that it imports."""
    modules, below = {}, {}
    for path, room in files():
        if room == "__init__":
            continue
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts[1:])
        name = name.removesuffix(".__init__")
        lines = len(path.read_text("utf-8").splitlines())
        modules.setdefault(room, {})[name if name != "__init__" else ""] = lines
        found = {room_of(module) for module, _ in imports(path)} - {room, "__init__"}
        below[room] = below.get(room, set()) | found
    return modules, below


def layers(below):
    """Rooms in rows: each stands one row above the highest that it imports."""
    height = {}
    for room in sorted(below, key=ORDER.index):  # what is imported comes first
        height[room] = 1 + max((height[other] for other in below[room]), default=-1)
    return [[r for r in below if height[r] == row] for row in range(max(height.values()) + 1)]


def reduced(below):
    """The imports that do not follow from others: a room needs what its rooms need."""
    reach = {}
    for room in sorted(below, key=ORDER.index):
        reach[room] = set(below[room]).union(*(reach[other] for other in below[room]))
    return {
        room: {
            other
            for other in others
            if not any(other in reach[between] for between in others - {other})
        }
        for room, others in below.items()
    }


def purpose(room):
    """The first sentence of a room's docstring."""
    path = PACKAGE / room / "__init__.py"
    path = path if path.exists() else PACKAGE / f"{room}.py"
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).replace("`", "")


def small_print(room, modules, width):
    """What stands in a box below its name: what it is for, and its files."""
    letters = int(LETTERS * (width - 2))
    names = sorted({name.split(".")[0] + "/" * ("." in name) for name in modules} - {""})
    names = [name for name in names if f"{name}/" not in names]
    return wrap(purpose(room), letters), wrap(", ".join(names), letters)


def place(rows, modules, arrows):
    """Boxes (left, bottom, width, height) by room, and the height of the map."""
    boxes, bottom = {}, 0.0
    for row in rows:
        sizes = {room: LEAST + sum(modules[room].values()) / LINES_A_UNIT for room in row}

        def middle(room):  # of what it stands on
            under = [boxes[other][0] + boxes[other][2] / 2 for other in arrows[room]]
            return sum(under) / len(under) if under else ORDER.index(room)

        row = sorted(row, key=middle)
        heights = [sum(map(len, small_print(r, modules[r], sizes[r]))) for r in row]
        height = 4.6 + LINE * max(heights)
        left = (WIDTH - sum(sizes.values()) - GAP * (len(row) - 1)) / 2
        for room in row:
            boxes[room] = (left, bottom, sizes[room], height)
            left += sizes[room] + GAP
        bottom += height + 5.0
    return boxes, bottom


def draw(path=OUT):
    """Write the map as an SVG."""
    modules, below = read_rooms()
    arrows = reduced(below)
    boxes, top = place(layers(below), modules, arrows)
    figure = plt.figure(figsize=(11, 11 * (top + 4) / (WIDTH + 2)))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(-1, WIDTH + 1), ylim=(-7, top - 3))
    axis.axis("off")
    for room, others in arrows.items():
        for other in others:
            draw_arrow(axis, boxes[room], boxes[other])
    for room, box in boxes.items():
        draw_box(axis, room, modules[room], box)
    axis.text(0, -3, LEGEND, va="top", fontsize=7.5)
    with matplotlib.rc_context({"svg.hashsalt": "rooms", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None}, facecolor="white")
    return figure


def draw_arrow(axis, upper, lower):
    """From the lower edge of a box to the upper edge of one that it imports."""
    spread = 0.35 * (upper[0] + upper[2] / 2 - lower[0] - lower[2] / 2)
    start = (upper[0] + upper[2] / 2 - min(max(spread, -0.4 * upper[2]), 0.4 * upper[2]), upper[1])
    end = (lower[0] + lower[2] / 2 + min(max(spread, -0.4 * lower[2]), 0.4 * lower[2]), 0)
    end = (end[0], lower[1] + lower[3])
    axis.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=9, color="#8A8F98", lw=1, zorder=0,
            shrinkA=0, shrinkB=0,
        )
    )  # fmt: skip


def draw_box(axis, room, modules, box):
    """A room: its name, its lines of code, what it is for, its files."""
    left, bottom, width, height = box
    kind = "core" if room in CORE else "door" if room in DOORS else "workshop"
    axis.add_patch(
        FancyBboxPatch(
            (left, bottom), width, height, boxstyle="round,pad=0,rounding_size=0.8",
            facecolor=COLORS[kind], edgecolor="#5B6472", lw=0.8,
        )
    )  # fmt: skip
    lines = sum(modules.values())
    axis.text(left + 1, bottom + height - 1, room, va="top", fontsize=11, weight="bold")
    axis.text(
        left + width - 1, bottom + height - 1.2, f"{lines:,}", va="top", ha="right", fontsize=8
    )
    told, names = small_print(room, modules, width)
    at = bottom + height - 3.6
    for style, part in (("italic", told), ("normal", names)):
        for line in part:
            axis.text(left + 1, at, line, va="top", fontsize=7, style=style)
            at -= LINE


if __name__ == "__main__":
    draw()
    print(f"{OUT}: {OUT.stat().st_size / 1000:.0f} kB")
