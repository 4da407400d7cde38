"""Figures: bodies drawn by the rasteriser, laid out by matplotlib.

Functions take arrays and return an image, an axis or a figure; none shows or saves anything.
`use_style()` once at the top of a notebook gives all figures one look.
"""

from math import ceil
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.ticker import MaxNLocator

from hmrlib.camera import Camera, frame
from hmrlib.data.pipeline import affine, apply_affine, invert_affine, warp
from hmrlib.data.records import KEYPOINTS, what_is_known
from hmrlib.render import CLAY, STUDIO, ambient_occlusion, render
from hmrlib.skeleton import BONES, JOINT_NAMES, KEYPOINT_SETS

STYLE = Path(__file__).with_name("hmrlib.mplstyle")
# Okabe and Ito's colours, distinct also to colour-blind eyes: "Color Universal Design" (2008).
PALETTE = tuple(
    to_rgb(code)
    for code in (
        *("#0072B2", "#D55E00", "#009E73", "#CC79A7"),
        *("#E69F00", "#56B4E9", "#F0E442", "#555555"),
    )
)
SIDE_COLORS = {"left": "#0072B2", "right": "#D55E00", "middle": "#333333"}
NO_VALUE = (0.6, 0.6, 0.6)
INK = (0.13, 0.16, 0.22)
EDGE_SAMPLES = 3  # along each side of a pixel, where edges are drawn


def use_style():
    """Give all figures that follow the project's look."""
    matplotlib.style.use(STYLE)


def snapshot(
    vertices,
    faces,
    view="front",
    colors=None,
    size=(360, 480),
    zoom_to=None,
    background=(1.0, 1.0, 1.0),
    edges=False,
    smooth=True,
    occlusion=True,
):
    """A picture of a body.

    Args:
        vertices: (V, 3) metres.
        faces: (F, 3) triangles, or (F, 4) quads.
        view: "front", "three-quarter", "side", "back", degrees around the body, or a `Camera`,
            which then also says size, zoom and whether rays are parallel; give bodies that are to
            be compared the same one.
        colors: (3,), (V, 3), or, if not `smooth`, (F, 3); sRGB; None is clay.
        size: (width, height) in pixels.
        zoom_to: vertices (indices or a mask) that fill the picture; None is all.
        background: a colour, an image (H, W, 3), or None for a transparent picture.
        edges: draw the mesh's edges; of quads, not their diagonals.
        smooth: smooth shading, or flat faces.
        occlusion: darken hollows; takes some 0.1 s.

    Returns:
        (H, W, 3) uint8, or (H, W, 4) if the background is None.

    Raises:
        ValueError: as `hmrlib.render.render` and `hmrlib.camera.frame`.
    """
    vertices, faces = np.asarray(vertices, float), np.asarray(faces)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2:
        raise ValueError(
            f"a body is vertices (V, 3) and faces (F, 3), found {vertices.shape}, {faces.shape}."
        )
    if isinstance(view, Camera):
        camera = view
    else:
        shown = vertices if zoom_to is None else vertices[zoom_to]
        camera = frame(shown, view, size)
    colors = np.asarray(CLAY if colors is None else colors, float)
    is_quad = faces.shape[1] == 4
    if is_quad:
        if len(colors) == len(faces) != len(vertices):
            colors = np.tile(colors, (2, 1))
        faces = np.concatenate([faces[:, :3], faces[:, [0, 2, 3]]])
    if occlusion:
        light = 0.45 + 0.55 * ambient_occlusion(vertices, faces)[:, None]  # (V, 1)
        if colors.shape == (len(faces), 3) != vertices.shape:
            light = light[faces].mean(1)
        colors = colors * light
    if not edges:
        return render(
            vertices, faces, camera, colors, STUDIO, background, supersample=4, smooth=smooth
        ).image
    return _with_edges(vertices, faces, is_quad, camera, colors, background, smooth)


def _with_edges(vertices, faces, is_quad, camera, colors, background, smooth):
    """The body with its edges as fine lines; those behind the surface do not show."""
    scale = EDGE_SAMPLES
    width, height = camera.size
    large = Camera(
        camera.rotation,
        camera.translation,
        camera.focal * scale,
        (width * scale, height * scale),
        camera.center * scale,
        camera.orthographic,
    )
    drawn = render(vertices, faces, large, colors, STUDIO, None, supersample=1, smooth=smooth)
    seen = drawn.face >= 0
    face, weights = drawn.face[seen], drawn.barycentric[seen]  # (N,), (N, 3)
    # Distance of a sample from the edge opposite each corner: weight times height over that edge.
    corners = large.project(vertices)[0][faces]  # (F, 3, 2)
    opposite = np.roll(corners, 1, 1) - np.roll(corners, -1, 1)  # (F, 3, 2)
    area = np.abs(opposite[:, 0, 0] * opposite[:, 1, 1] - opposite[:, 0, 1] * opposite[:, 1, 0])
    heights = area[:, None] / np.maximum(np.linalg.norm(opposite, axis=-1), 1e-9)
    distance = weights * heights[face]  # (N, 3)
    if is_quad:  # a quad's diagonal is no edge; it lies opposite another corner in its two halves
        first = face < len(faces) // 2
        distance[first, 1] = distance[~first, 2] = np.inf
    distance = distance.min(1)
    line = np.clip(0.5 + 0.35 * scale - distance, 0, 1)[:, None]  # 0.7 pixels wide
    image = drawn.image.astype(np.float32)
    image[seen, :3] += 0.6 * line * (255 * np.array(INK) - image[seen, :3])
    image[..., :3] *= image[..., 3:] / 255  # premultiplied, so that averages are right
    image = image.reshape(height, scale, width, scale, 4).mean((1, 3))
    cover = image[..., 3:] / 255
    if background is None:
        image[..., :3] /= np.maximum(cover, 1e-6)
        return np.rint(image).astype(np.uint8)
    background = np.asarray(background)
    behind = background if background.dtype == np.uint8 else 255.0 * background
    return np.rint(image[..., :3] + (1 - cover) * behind).astype(np.uint8)


def overlay(image, vertices, faces, camera, colors=PALETTE[5], alpha=0.85, supersample=4):
    """A body laid over the photograph that it was found in.

    Args:
        image: (H, W, 3) uint8 or floats in [0, 1].
        vertices: (V, 3) metres, in the world of the camera; or (N, V, 3), several people, of whom
            those farther away are drawn first.
        faces: (F, 3).
        camera: a `Camera` whose size is that of the image.
        colors: of the surface, as for `render`.
        alpha: opacity; at 1 the photograph is hidden where the body is.
        supersample: as for `render`.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: the image does not have the camera's size, or as `hmrlib.render.render`.
    """
    image = np.asarray(image)
    if image.shape != (*camera.size[::-1], 3):
        width, height = camera.size
        raise ValueError(
            f"the camera sees {width} x {height} pixels: expected an image "
            f"({height}, {width}, 3), found {image.shape}."
        )
    people = np.asarray(vertices, float)
    people = people[None] if people.ndim == 2 else people
    depth = [camera.project(person)[1].mean() for person in people]
    for i in np.argsort(depth)[::-1]:
        drawn = render(
            people[i], faces, camera, colors, background=image, supersample=supersample, alpha=alpha
        )
        image = drawn.image
    return image


def turntable(vertices, faces, count=8, size=(240, 400), elevation=8.0, **options):
    """Pictures all around a body, in one scale.

    Args:
        vertices, faces: of the body; metres.
        count: how many, evenly around, from the front towards its left.
        size: (width, height) of each, in pixels.
        elevation: degrees that the camera stands above the horizon.
        options: of `snapshot`.

    Returns:
        list of (H, W, 3) uint8.
    """
    vertices = np.asarray(vertices, float)
    middle = (vertices.min(0) + vertices.max(0)) / 2
    radius = np.linalg.norm((vertices - middle)[:, [0, 2]], axis=1).max()
    around = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    rings = [  # a cylinder that the turning body never leaves
        middle + np.stack([radius * np.cos(around), 0 * around + y, radius * np.sin(around)], 1)
        for y in (vertices[:, 1] - middle[1]).min() * np.array([1, -1])
    ]
    cylinder = np.concatenate(rings)
    return [
        snapshot(
            vertices,
            faces,
            frame(cylinder, 360 * i / count, size, margin=0.02, elevation=elevation),
            **options,
        )
        for i in range(count)
    ]


def distance_colors(vertices, reference, vmax=None, cmap="viridis"):
    """How far each vertex is from where it should be, as colours; `color_bar` names them.

    Args:
        vertices, reference: (V, 3) metres.
        vmax: the distance at the map's end, in millimetres; None is the largest.
        cmap: as for `scalar_colors`.

    Returns:
        colours (V, 3), and distances (V,) in millimetres.

    Raises:
        ValueError: the two do not have one shape.
    """
    vertices, reference = np.asarray(vertices, float), np.asarray(reference, float)
    if vertices.shape != reference.shape or vertices.shape[-1:] != (3,):
        raise ValueError(
            f"both must have one shape (V, 3), found {vertices.shape} and {reference.shape}."
        )
    distance = 1000 * np.linalg.norm(vertices - reference, axis=-1)
    return scalar_colors(distance, cmap, 0.0, vmax), distance


def joint_bars(axis, values, names=JOINT_NAMES, label="error in mm", spread=None):
    """One bar a joint, from the head down; left blue, right orange, the middle dark.

    Args:
        axis: to draw on.
        values: (J,), NaN for a joint without a value.
        names: (J,) "left_…", "right_…" or other; the two sides of a joint share a row.
        label: of the values' axis, with their unit.
        spread: (J,) half-lengths of whiskers, e.g. standard deviations, or None.

    Returns:
        the axis.

    Raises:
        ValueError: not as many values as names.
    """
    values = np.asarray(values, float)
    spread = None if spread is None else np.asarray(spread, float)
    if values.shape != (len(names),) or (spread is not None and spread.shape != values.shape):
        raise ValueError(f"expected {len(names)} values, one a name, found {values.shape}.")
    rows = {}
    for i, name in enumerate(names):
        side, _, joint = name.partition("_")
        if side not in ("left", "right"):
            side, joint = "middle", name
        rows.setdefault(joint, []).append((side, i))
    for row, members in enumerate(rows.values()):
        height = 0.8 / len(members)
        for k, (side, i) in enumerate(members):
            place = row + (k - (len(members) - 1) / 2) * height
            whisker = None if spread is None else spread[i]
            axis.barh(place, values[i], height, color=SIDE_COLORS[side], xerr=whisker, ecolor="0.4")
    axis.set_yticks(range(len(rows)), [joint.replace("_", " ") for joint in rows])
    axis.set(xlabel=label, ylim=(len(rows) - 0.4, -0.6))
    axis.grid(visible=False, axis="y")
    shown = {side for members in rows.values() for side, _ in members}
    handles = [plt.Rectangle((0, 0), 1, 1, color=SIDE_COLORS[s]) for s in SIDE_COLORS if s in shown]
    if len(handles) > 1:
        axis.legend(handles, [side for side in SIDE_COLORS if side in shown])
    return axis


def show_images(images, titles=None, columns=None, height=2.6, labels=None):
    """Pictures side by side in a clean grid.

    Args:
        images: pictures (H, W, 3 or 4), all of one size or not.
        titles: one above each picture.
        columns: pictures a row; None puts up to six in one row.
        height: of a row, in inches.
        labels: one on the left of each row.

    Returns:
        the figure.
    """
    images = list(images)
    if not images:
        raise ValueError("there are no images to show.")
    if titles is not None and len(titles) != len(images):
        raise ValueError(f"{len(images)} images need as many titles, found {len(titles)}.")
    columns = columns or min(len(images), 6)
    rows = ceil(len(images) / columns)
    if labels is not None and len(labels) != rows:
        raise ValueError(f"{rows} rows need as many labels, found {len(labels)}.")
    aspect = max(np.shape(image)[1] / np.shape(image)[0] for image in images)
    row_height = height + (0.25 if titles is not None else 0)
    figure, axes = plt.subplots(
        rows, columns, squeeze=False, figsize=(columns * height * aspect, rows * row_height)
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.0, hspace=0.0)
    for i, axis in enumerate(axes.ravel()):
        if i >= len(images):
            axis.set_axis_off()
            continue
        show_image(images[i], axis)
        if titles is not None:
            axis.set_title(titles[i])
        if labels is not None and i % columns == 0:
            axis.set_ylabel(labels[i // columns])
    return figure


def show_image(image, axis=None):
    """One picture on an axis without frame or ticks, in whose data coordinates are pixels.

    Pixel (column i, row j) covers [i, i + 1) x [j, j + 1), as `hmrlib.camera` counts them.
    """
    image = np.asarray(image)
    if image.ndim not in (2, 3):
        raise ValueError(f"an image has shape (H, W) or (H, W, channels), found {image.shape}.")
    axis = plt.subplots()[1] if axis is None else axis
    height, width = image.shape[:2]
    axis.imshow(image, extent=(0, width, height, 0))
    axis.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
    axis.spines[:].set_visible(False)
    axis.grid(False)
    return axis


def scalar_colors(values, cmap="viridis", vmin=None, vmax=None):
    """Numbers as colours, for maps of errors or weights.

    Args:
        values: (...,) numbers; NaN becomes grey.
        cmap: a matplotlib colour map; viridis and cividis are safe for colour-blind eyes.
        vmin, vmax: the values at the ends of the map; None is the smallest, the largest.

    Returns:
        (..., 3) sRGB in [0, 1].
    """
    values = np.asarray(values, float)
    finite = np.isfinite(values)
    if vmin is None:
        vmin = values[finite].min() if finite.any() else 0.0
    if vmax is None:
        vmax = values[finite].max() if finite.any() else 1.0
    if vmax < vmin:
        raise ValueError(f"vmax {vmax} is smaller than vmin {vmin}.")
    unit = (np.where(finite, values, vmin) - vmin) / ((vmax - vmin) or 1.0)
    colors = matplotlib.colormaps[cmap](np.clip(unit, 0, 1))[..., :3]
    return np.where(finite[..., None], colors, NO_VALUE)


def label_colors(labels):
    """Whole numbers as colours: those of `PALETTE`, again and again.

    Args:
        labels: (...,) whole numbers; negative ones become grey.

    Returns:
        (..., 3) sRGB in [0, 1].
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be whole numbers, found {labels.dtype}.")
    return np.where((labels < 0)[..., None], NO_VALUE, np.array(PALETTE)[labels % len(PALETTE)])


def color_bar(figure, cmap="viridis", vmin=0.0, vmax=1.0, label="", axes=None):
    """A colour bar to the right of a figure of pictures, or of the given axes.

    Returns:
        the bar's axis.
    """
    scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(vmin, vmax), cmap)
    axes = figure.axes if axes is None else axes
    bar = figure.colorbar(scale, ax=axes, label=label, shrink=0.8, aspect=30, pad=0.02)
    bar.outline.set_visible(False)
    return bar.ax


def flow(axis, labels, loop=None, note="", colors=None):
    """A chain of named boxes, one feeding the next, as layers of a network are drawn.

    Args:
        axis: 2D.
        labels: what stands in each box; may have several lines.
        loop: (from, to), indices of boxes that a second arrow joins, above; to may stand earlier.
        note: written on that arrow.
        colors: one a box; None: all light grey.

    Returns:
        the axis.
    """
    arrow = {"arrowstyle": "-|>", "color": "0.35", "shrinkA": 0, "shrinkB": 0}
    colors = ["0.92"] * len(labels) if colors is None else colors
    for i, (label, color) in enumerate(zip(labels, colors, strict=True)):
        axis.add_patch(plt.Rectangle((i - 0.38, -0.5), 0.76, 1, facecolor=color, edgecolor="0.35"))
        axis.text(i, 0, label, ha="center", va="center", fontsize=7)
        if i:
            axis.annotate("", (i - 0.38, 0), (i - 0.62, 0), arrowprops=arrow)
    if loop is not None:
        start, end = loop
        axis.plot([start, start, end], [0.5, 0.85, 0.85], color="0.35", linewidth=1)
        axis.annotate("", (end, 0.5), (end, 0.85), arrowprops=arrow)
        axis.text((start + end) / 2, 0.9, note, ha="center", va="bottom", fontsize=7)
    axis.set(xlim=(-0.5, len(labels) - 0.5), ylim=(-0.6, 1.3))
    axis.set_axis_off()
    return axis


def architecture(hmr, discriminator):
    """A network and its adversary as four chains of boxes, learned ones blue, with tensor shapes.

    All numbers in the boxes are read off the two.

    Args:
        hmr: `hmrlib.network.hmr.HMR`.
        discriminator: `hmrlib.network.discriminator.Discriminator`.

    Returns:
        matplotlib Figure.
    """
    maps = {}  # of each side, the most channels
    for layer in hmr.encoder.layers:
        side, channels = (*layer.output.shape, 0, 0)[1:4:2]
        if channels and "pad" not in layer.name and side < hmr.size:
            maps[side] = max(channels, maps.get(side, 0))
    features, length = hmr.encoder.output_shape[-1], hmr.regressor.length
    hidden = hmr.config.hidden
    vertices, _, entries = hmr.body.posedirs.shape
    joints, count = len(hmr.body.parents), len(KEYPOINT_SETS[KEYPOINTS].names)
    mesh = f"{vertices} × 3"
    judged, channels = discriminator.joints.kernel.shape
    heads = [
        "→".join(str(layer.units) for layer in part)
        for part in (discriminator.pose, discriminator.shape)
    ]
    size = f"{hmr.size} × {hmr.size} × 3"
    dense, conv = f"dense, ReLU\n{hidden}", f"1×1 conv, ReLU\n{judged} × {channels}"
    chains = {
        "encoder": [
            f"picture\n{size}",
            *(f"{side} × {side}\n× {channels}" for side, channels in maps.items()),
            f"mean: φ\n{features}",
        ],
        "regressor": [
            *(f"φ, Θ\n{features} + {length}", dense, dense, f"dense: ΔΘ\n{length}"),
            f"Θ: camera 3,\npose {length - 13},\nshape β 10",
        ],
        "body": [
            *(f"shape β 10\npose R\n{joints} × 3 × 3", f"shape blend\nshapes\n{mesh}"),
            *(f"joints J(β)\n{joints} × 3", f"pose blend\nshapes of {entries}\n{mesh}"),
            *(f"skinning\n{mesh}", f"keypoints\n{count} × 3", f"camera\n{count} × 2"),
        ],
        "discriminator": [
            *(f"R: {judged} × 9\nshape β 10", conv, conv),
            f"joint by joint: {judged}\nall: {heads[0]}\nshape: {heads[1]}",
            f"answers\n{judged + 2}",
        ],
    }
    figure, axes = plt.subplots(len(chains), 1, figsize=(7.6, 4.4))
    for axis, (name, labels) in zip(axes, chains.items(), strict=True):
        learned = [0 < i < len(labels) - 1 and name != "body" for i in range(len(labels))]
        colors = ["#d6e6f4" if blue else "0.92" for blue in learned]
        loop = (len(labels) - 1, 0) if name == "regressor" else None
        note = f"{hmr.config.iterations} times" if loop else ""
        flow(axis, labels, loop, note, colors).set_title(name, loc="left", y=0.78)
    return figure


def draw_skeleton(
    axis,
    joints,
    camera=None,
    bones=BONES,
    names=JOINT_NAMES,
    linewidth=2.0,
    with_names=False,
    hollow=None,
):
    """Draw joints and bones: the person's left blue, right orange, the middle dark.

    Args:
        axis: 3D for points in space (y is drawn upwards), else 2D, perhaps over a picture.
        joints: (J, 3) metres, or (J, 2) pixels; NaN leaves a joint and its bones out.
        camera: projects (J, 3) onto a 2D axis.
        bones: pairs of indices into joints.
        names: (J,) "left_…", "right_…" or other.
        linewidth: of bones, in points.
        with_names: write each joint's name beside it.
        hollow: (J,) true for points to be drawn as rings, such as those that cannot be seen.

    Returns:
        the axis.
    """
    joints = np.asarray(joints, float)
    if joints.ndim != 2 or joints.shape[1] not in (2, 3) or len(joints) != len(names):
        raise ValueError(
            f"joints must have shape ({len(names)}, 3) or ({len(names)}, 2) to go with "
            f"{len(names)} names, found {joints.shape}."
        )
    in_space = axis.name == "3d"
    if camera is not None and joints.shape[1] == 3:
        joints, _ = camera.project(joints)
    if joints.shape[1] != (3 if in_space else 2):
        raise ValueError(
            "a 3D axis needs joints (J, 3); a 2D axis needs joints (J, 2), or a camera."
        )
    sides = [name.partition("_")[0] for name in names]
    colors = [SIDE_COLORS.get(side, SIDE_COLORS["middle"]) for side in sides]
    for parent, child in bones:
        axis.plot(
            *joints[[parent, child]].T,
            color=colors[child],
            linewidth=linewidth,
            solid_capstyle="round",
            zorder=3,
        )
    rings = np.zeros(len(joints), bool) if hollow is None else np.asarray(hollow, bool)
    drawn = np.flatnonzero(np.isfinite(joints).all(1))
    axis.scatter(
        *joints[drawn].T,
        s=(2.2 * linewidth) ** 2,
        c=["white" if rings[i] else colors[i] for i in drawn],
        edgecolors=[colors[i] if rings[i] else "white" for i in drawn],
        linewidths=np.where(rings[drawn], linewidth / 2, 0.6),
        zorder=4,
    )
    if with_names:
        for point, name in zip(joints, names, strict=True):
            if np.isfinite(point).all():
                axis.text(*point, f" {name}", fontsize=6, va="center", zorder=5)
    if in_space:
        limits = np.array([axis.get_xlim(), axis.get_ylim(), axis.get_zlim()])  # (3, 2)
        middle, span = limits.mean(1, keepdims=True), np.ptp(limits, axis=1, keepdims=True)
        limits = middle + np.maximum(span, 0.4 * span.max()) * [-0.5, 0.5]  # no flat boxes
        axis.set(xlim=limits[0], ylim=limits[1], zlim=limits[2], xlabel="x", ylabel="y", zlabel="z")
        axis.view_init(elev=12, azim=25, vertical_axis="y")
        axis.set_aspect("equal")  # after the vertical axis is known
        for ticks in (axis.xaxis, axis.yaxis, axis.zaxis):
            ticks.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    return axis


def draw_sample(axis, sample, body=None, context=1.45, window=None, resolution=256, opacity=0.6):
    """A sample of the records with its labels: box, keypoints (rings where hidden), mesh.

    Args:
        axis: 2D.
        sample: as `hmrlib.data.records` reads it.
        body: `Body`, drawn over the picture where pose and camera are known; None leaves it out.
        context: what is shown, in sides of the box.
        window: show instead the image's first so many pixels, a crop's side for example.
        resolution: of the picture, pixels.
        opacity: of the body.

    Returns:
        the axis.
    """
    middle, length = sample["center"], context * sample["size"]
    if window is not None:
        middle, length = np.full(2, window / 2), window
    where = affine(middle, resolution / length, 0.0, False, np.full(2, resolution / 2))  # (2, 3)
    image = warp(sample["image"], invert_affine(where), resolution, fill=(238, 238, 238))
    labels = apply_affine(sample, where)
    if body is not None and labels["has_pose"] and labels["has_camera"]:
        out = body(*(labels[name][None] for name in ("betas", "pose", "translation")))
        focal, *middle = labels["camera"]
        camera = Camera(np.eye(3), np.zeros(3), focal, image.shape[1::-1], middle)
        vertices = np.asarray(out.vertices)[0]
        if vertices[:, 2].min() > 0:  # a body that reaches behind the camera has no picture
            image = render(
                vertices, body.faces, camera, background=image, supersample=4, alpha=opacity
            ).image
    show_image(image, axis)
    for color, linewidth in (("black", 1.6), ("white", 0.8)):
        side = float(labels["size"])
        box = plt.Rectangle(labels["center"] - side / 2, side, side, fill=False, color=color)
        axis.add_patch(box).set_linewidth(linewidth)
    keypoints = KEYPOINT_SETS[KEYPOINTS]
    points = labels["keypoints_2d"]
    pelvis = points[keypoints.names.index("pelvis"), 2] > 0
    without = KEYPOINT_SETS["cocoplus-19"].bones  # of the same first 19 points
    points = np.where(points[:, 2:] > 0, points[:, :2], np.nan)
    draw_skeleton(
        axis,
        points,
        bones=keypoints.bones if pelvis else without,
        names=keypoints.names,
        linewidth=1.3,
        hollow=labels["occluded"],
    )
    axis.set(xlim=(0, resolution), ylim=(resolution, 0))
    return axis


def contact_sheet(samples, columns=6, body=None, titles=True, inches=1.7):
    """Samples of the records in a grid, each with its labels: see `draw_sample`.

    Args:
        samples: as `hmrlib.data.records` reads them.
        columns: samples a row.
        body: `Body`, to draw those whose pose is known.
        titles: write each one's id and what is known of it.
        inches: side of a picture.

    Returns:
        the figure.

    Raises:
        ValueError: there are no samples.
    """
    samples = list(samples)
    if not samples:
        raise ValueError("there are no samples to show.")
    rows = ceil(len(samples) / columns)
    columns = min(columns, len(samples))
    size = (columns * inches, rows * (inches + (0.3 if titles else 0)))
    figure, axes = plt.subplots(rows, columns, squeeze=False, figsize=size)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.0, hspace=0.0)
    for axis in axes.ravel()[len(samples) :]:
        axis.set_axis_off()
    for axis, sample in zip(axes.ravel(), samples, strict=False):
        draw_sample(axis, sample, body)
        if titles:
            known = " ".join(_SHORT.get(name, name) for name in what_is_known(sample))
            axis.set_title(f"{sample['source']} {sample['id']}\n{known}", fontsize=5.5)
    return figure


_SHORT = {
    "keypoints_2d": "2D",
    "keypoints_3d": "3D",
    "pose": "θ",
    "betas": "β",
    "pseudo_3d": "(pseudo)",
    "segmentation": "mask",
}
