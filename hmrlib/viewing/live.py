"""The kernel-free viewer: a body that a browser shapes and poses by itself.

`pack` makes a model small enough to travel inside a page, and `page` makes a page that opens
anywhere, also without a network. `hmrlib.viewing.viewer.Live` shows the same in a notebook. The
JavaScript is in `js/`; `npm ci && npm run build` there makes `viewer.bundle.js` from it.
"""

import base64
import gzip
import html
import json
import struct
from pathlib import Path

import matplotlib
import numpy as np

from hmrlib import skeleton
from hmrlib.body.gltf import largest_weights
from hmrlib.body.keypoints import landmark_vertices
from hmrlib.body.surface import face_masks, head_frame, smoothstep
from hmrlib.motion.prior import load_prior
from hmrlib.render import CLAY, STUDIO, ambient_occlusion
from hmrlib.skeleton import JOINT_NAMES, POSES, pose_from_degrees
from hmrlib.viewing.figures import SIDE_COLORS

BUNDLE = Path(__file__).with_name("viewer.bundle.js")
NUM_BETAS = 10  # sliders, unless a body is given with more
NUM_SAMPLES = 64  # poses that a page can draw from


def _vec3(values):
    """GLSL's way to write three numbers."""
    return f"vec3({', '.join(f'{value:.6f}' for value in values)})"


def _lights(lights):
    """GLSL that adds what comes from each light (see `hmrlib.render.shading`)."""
    return "\n  ".join(
        f"light += {_vec3(color)} * max((dot(n, {_vec3(direction)}) + {lights.wrap:.6f}) "
        f"/ {1 + lights.wrap:.6f}, 0.0);"
        for direction, color in zip(lights.directions, lights.colors, strict=True)
    )


# looks, of this viewer and of the explorer
FLOOR_COLOR, SHADOW_COLOR, EDGE_COLOR = "#dfe3e8", "#c6ccd4", "#22304a"
FACE = (  # part, sRGB, how much of it is laid over the clay
    ("lips", (0.80, 0.66, 0.60), 0.35),
    ("brows", (0.45, 0.36, 0.30), 0.45),
    ("white", (0.93, 0.91, 0.88), 0.9),
    ("iris", (0.25, 0.20, 0.17), 0.9),
)
CLOTH = (0.38, 0.5, 0.57)  # sRGB, dark enough to stand out from what is behind
FLOOR_RADIUS = 0.95  # metres
SHADOW_SLANT = (0.06, -0.1)  # metres along x and z, a metre of height
VIEW = {"eye": [0.8, 1.6, 5.9], "target": [0, 0.95, 0], "fov": 25}  # also for raised arms
GROUPS = {
    "trunk": ("pelvis", "spine1", "spine2", "spine3", "neck", "head"),
    **{
        f"{side} {limb}": tuple(f"{side}_{joint}" for joint in joints)
        for side in ("left", "right")
        for limb, joints in {
            "arm": ("collar", "shoulder", "elbow", "wrist", "hand"),
            "leg": ("hip", "knee", "ankle", "foot"),
        }.items()
    },
}

# The rasteriser's light: a shade for each vertex, encoded as sRGB.
VERTEX_SHADER = f"""
attribute vec3 albedo;
varying vec3 shade;
void main() {{
  vec3 n = normalize(normalMatrix * normal);
  vec3 light = mix({_vec3(STUDIO.ground)}, {_vec3(STUDIO.sky)}, 0.5 + 0.5 * n.y);
  {_lights(STUDIO)}
  vec3 c = min(albedo * light, 1.0);
  shade = mix(12.92 * c, 1.055 * pow(c, vec3(1.0 / 2.4)) - 0.055, step(0.0031308, c));
  gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0);
}}"""
FRAGMENT_SHADER = """
varying vec3 shade;
void main() { gl_FragColor = vec4(shade, 1.0); }"""


def bone_color(name):
    """Of the bone that ends in the joint of this name."""
    return SIDE_COLORS.get(name.partition("_")[0], SIDE_COLORS["middle"])


def joint_limits():
    """The usual range of each joint's axis-angle components, (24, 3, 2) degrees.

    For orientation, not as a hard limit: the table behind it speaks of swing and twist, which
    agree with axis-angle for turns about one axis. The root is free.
    """
    _, least, _, most = skeleton.joint_limits()  # (24, 3) radians, the root's infinite
    degrees = np.degrees(np.stack([least, most], axis=-1))
    return np.clip(np.rint(degrees), -180, 180)


def preset_poses():
    """Name -> pose (24, 3), radians: at rest, and those of `skeleton.POSES`."""
    poses = {"rest": np.zeros((len(JOINT_NAMES), 3))}
    return poses | {name: pose_from_degrees(degrees) for name, degrees in POSES.items()}


def preset_bodies(model, num_betas=NUM_BETAS):
    """Name -> betas (S,): the mean, and 2.5 standard deviations along stature and along girth.

    Stature is measured from sole to crown, girth as the volume that stature does not explain;
    both change with the betas nearly as straight lines, whose gradients are the directions.
    """
    template, directions = model["v_template"], model["shapedirs"][..., :num_betas]
    ends = template[:, 1].argmax(), template[:, 1].argmin()
    stature = directions[ends[0], 1] - directions[ends[1], 1]  # (S,)
    corners = template[model["f"]]  # (F, 3, 3)
    volume = np.zeros(directions.shape[2])
    for k in range(3):  # of the volume's six-fold, sum of a . (b x c), by each corner
        normal = np.cross(corners[:, (k + 1) % 3], corners[:, (k + 2) % 3])
        volume += np.einsum("fc,fcs->s", normal, directions[model["f"][:, k]])
    tall = stature / max(np.linalg.norm(stature), 1e-9)
    heavy = volume - (volume @ tall) * tall
    heavy = heavy / max(np.linalg.norm(heavy), 1e-9)
    ways = {"tall": tall, "short": -tall, "heavy": heavy, "slight": -heavy}
    return {"mean": 0 * tall} | {name: 2.5 * way for name, way in ways.items()}


def clothed(model):
    """Colours of a body in a plain T-shirt and shorts, with a face, on clay: (V, 3) sRGB, 0 to 1.

    The body stands as in its file, y up, its arms out to the sides.
    """
    v = model["v_template"]
    joints = dict(zip(JOINT_NAMES, np.asarray(model["J_regressor"] @ v), strict=True))
    sleeve = joints["left_shoulder"][0] + 0.14 - np.abs(v[:, 0])  # metres, positive inside
    hem = v[:, 1] - joints["left_hip"][1] / 2 - joints["left_knee"][1] / 2
    off_neck = (v - joints["neck"]) / [1, 1.3, 1.2]
    neckline = np.linalg.norm(off_neck, axis=1) - 0.085
    below_head = joints["neck"][1] - v[:, 1]
    inside = np.minimum.reduce([sleeve, hem, neckline, below_head])
    share = smoothstep(0.5 + inside / 0.025)[:, None]  # a soft edge hides the triangles'
    colors = (1 - share) * CLAY + share * CLOTH
    masks = _face(model)
    for name, color, strength in FACE:
        share = strength * np.clip(masks[name], 0, 1)[:, None]
        colors = (1 - share) * colors + share * color
    return colors


def _face(model):
    """Where lips, brows and the eyes' white and iris are, see `body.surface.face_masks`."""
    v, weights = model["v_template"], model["weights"]
    head, _ = head_frame(v, weights[:, JOINT_NAMES.index("head")] > 0.5)
    _, nose, *eyes = head[landmark_vertices(v, weights)[:4]]
    return face_masks(head, eyes, nose)


def pack(model, reference=None, num_betas=NUM_BETAS):
    """A body model for the browser: gzip of a JSON header and the arrays it lists.

    Blend shapes go in half precision (within 0.1 mm), pose correctives without the zeros:
    for each joint the vertices that it changes, and their (9, 3) values.

    Args:
        model: dict of arrays as `files.read_model` returns it.
        reference: (V, 3) vertices in metres whose distance can be shown as colours, or None.
        num_betas: how many shape coefficients to take along.

    Returns:
        bytes, the same for the same model.

    Raises:
        ValueError: the reference is not (V, 3) and finite.
    """
    template, faces = model["v_template"], model["f"]
    count, joints = len(template), model["weights"].shape[1]
    shapedirs = model["shapedirs"][..., :num_betas]
    influences = int((model["weights"] > 0).sum(axis=1).max())
    skin_joints, skin_weights = largest_weights(model["weights"], influences)
    regressor = model["J_regressor"]
    # (V, 3, 207) -> (23, V, 9, 3)
    posedirs = model["posedirs"].reshape(count, 3, joints - 1, 9).transpose(2, 0, 3, 1)
    changed = posedirs.any(axis=(2, 3))  # (23, V)
    index = np.uint16 if count <= 2**16 else np.uint32
    arrays = {
        "template": template.astype(np.float32),
        "shapedirs": shapedirs.transpose(2, 0, 1).astype(np.float16),  # (S, V, 3)
        "J_template": (regressor @ template).astype(np.float32),
        "J_shapedirs": np.stack([regressor @ s for s in shapedirs.transpose(2, 0, 1)]),
        "skin_weights": skin_weights.astype(np.float32),
        "pose_counts": changed.sum(axis=1).astype(np.uint32),
        "pose_values": posedirs[changed].astype(np.float16),  # (P, 9, 3)
        "pose_vertices": np.nonzero(changed)[1].astype(index),
        "faces": faces.astype(index),
        "samples": load_prior().sample(NUM_SAMPLES, seed=0).astype(np.float16),
        "skin_joints": skin_joints.astype(np.uint8),
        "occlusion": np.rint(255 * ambient_occlusion(template, faces)).astype(np.uint8),
        "clothed": np.rint(255 * clothed(model)).astype(np.uint8),
        "ramp": matplotlib.colormaps["viridis"](np.linspace(0, 1, 32), bytes=True)[:, :3],
        "parents": model["parents"].astype(np.int8),
    }
    if reference is not None:
        arrays["reference"] = check_reference(reference, count).astype(np.float32)
    listed, offset = [], 0
    for name, array in arrays.items():
        entry = {"name": name, "dtype": array.dtype.name, "size": array.size, "offset": offset}
        listed.append(entry)
        offset += array.nbytes + -array.nbytes % 4  # every array starts at a multiple of 4
    header = {
        "names": JOINT_NAMES,
        "num_betas": shapedirs.shape[2],
        "influences": influences,
        "limits": joint_limits().tolist(),
        "groups": [[name, [JOINT_NAMES.index(j) for j in of]] for name, of in GROUPS.items()],
        "poses": {name: rounded(pose) for name, pose in preset_poses().items()},
        "bodies": {k: rounded(v) for k, v in preset_bodies(model, num_betas).items()},
        "bone_colors": [bone_color(name) for name in JOINT_NAMES],
        "clay": CLAY,
        "shaders": [VERTEX_SHADER, FRAGMENT_SHADER],
        "floor": {"radius": FLOOR_RADIUS, "color": FLOOR_COLOR},
        "shadow": {"slant": SHADOW_SLANT, "color": SHADOW_COLOR},
        "edges": EDGE_COLOR,
        "view": VIEW,
    }
    # offsets count from the start, which the header's own length moves: leave room for them
    room = len(json.dumps(header | {"arrays": listed})) + 16 * len(listed)
    start = 4 + room + -room % 4
    for entry in listed:
        entry["offset"] += start
    text = json.dumps(header | {"arrays": listed}).ljust(start - 4).encode()
    body = b"".join(a.tobytes() + bytes(-a.nbytes % 4) for a in arrays.values())
    return gzip.compress(struct.pack("<I", len(text)) + text + body, 9, mtime=0)


def rounded(array):
    """As a flat list, to four decimals: a page must not be larger than what it shows."""
    return np.round(np.asarray(array, float), 4).ravel().tolist()


def _plain(value):
    return rounded(value) if np.ndim(value) else value


def check_reference(reference, count):
    """`reference` as an array (V, 3).

    Raises:
        ValueError: it is not finite, or not of this body's V = `count` vertices.
    """
    reference = np.asarray(reference, float)
    if reference.shape != (count, 3) or not np.isfinite(reference).all():
        raise ValueError(
            f"the reference must be finite vertices ({count}, 3), one for each of this body's; "
            f"found shape {reference.shape}"
        )
    return reference


def make_live(text, model, **options):
    """An HTML page whose elements <div data-hmr-viewer> become viewers.

    Such an element's `data-hmr-viewer` may hold JSON of what to begin with: see `page`.

    Args:
        text: of the page, with one `</body>`.
        model: dict of arrays as `files.read_model` returns it.
        options: of `pack`.

    Returns:
        the page, with all that it needs inside.
    """
    data = base64.b64encode(pack(model, **options)).decode()
    script = BUNDLE.read_text("utf-8").replace("</script", "<\\/script")
    inside = (
        f'<script type="text/plain" data-hmr-body>{data}</script>\n'
        f'<script type="module">{script}</script>\n'
    )
    before, found, after = text.rpartition("</body>")
    if not found:
        raise ValueError("the page has no </body>, before which the viewer would go")
    return before + inside + found + after


def page(model, title="A body to play with", begin=None, **options):
    """A whole page with one live viewer, in one file: no kernel, no server, no network.

    Args:
        model: dict of arrays as `files.read_model` returns it. The page carries the model; one
            made of a licensed file may be passed on only as that licence allows.
        title: of the page.
        begin: what to begin with: `betas` (S,), `pose` (24, 3) radians, and options as of
            `hmrlib.viewing.show.show`. Without a pose the body stands at ease.
        options: of `pack`.

    Returns:
        the page's HTML.
    """
    title = html.escape(title)
    begin = html.escape(json.dumps({k: _plain(v) for k, v in (begin or {}).items()}))
    text = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 74rem; margin: 0 auto; padding: 1rem; }}
h1 {{ font-size: 1.3rem; font-weight: 500; margin: 0 0 .6rem; }}
p {{ margin: .7rem 0; }}
.hmr-stage {{ min-height: min(80vh, 760px) !important; }}
/* on a phone, room for the sliders below */
@media (max-width: 620px) {{ .hmr-stage {{ min-height: 52vh !important; }} }}
</style>
</head>
<body>
<h1>{title}</h1>
<div data-hmr-viewer="{begin}"><noscript>The body is computed by the page's script: please allow
JavaScript.</noscript></div>
<p>Drag to turn, scroll to come closer, drag with the right button to move. Everything is computed
in this page: it works from a file, without a network.</p>
</body>
</html>
"""
    return make_live(text, model, **options)
