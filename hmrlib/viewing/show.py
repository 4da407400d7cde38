"""`show(body)`: a body with sliders, in a notebook or as a page in the web browser."""

import tempfile
import webbrowser
from pathlib import Path

import numpy as np

from hmrlib.body.model import load_body
from hmrlib.skeleton import POSES, pose_from_degrees
from hmrlib.viewing import live

OPTIONS = (
    *("skeleton", "mesh", "ground", "turn", "correctives"),
    *("skinning", "color", "joint"),
)


def show(body=None, betas=None, pose=None, reference=None, kernel=True, **options):
    """Show a body with sliders for its shape and pose.

    In a notebook the result is a widget. Anywhere else, a page is written that needs no Python, and
    opened in the web browser.

    Args:
        body: a `Body`; None loads the open body (or $HMR_BODY).
        betas: (S,) to begin with, in standard deviations; None is the mean body.
        pose: (24, 3) or (72,) axis-angle, radians, to begin with; None stands at ease.
        reference: (V, 3) vertices in metres; their distance can then be shown as colours.
        kernel: True for the `Explorer`, whose pictures the kernel computes; False for `Live`,
            which also works on when the kernel is gone.
        options: what to begin with, by name: `skeleton`, `mesh`, `ground`, `turn` and `correctives`
            are switches; `skinning` is "lbs" or "dqs"; `color` is "clay", "clothed", "weights" (of
            `joint`, a number), "correctives", "skinning" or "error" (from the reference).

    Returns:
        `Explorer` or `Live`; outside a notebook the path of the page.

    Raises:
        ValueError: betas, pose or reference do not fit the body, or an unknown option.
    """
    if unknown := options.keys() - OPTIONS:
        raise ValueError(f"unknown {', '.join(unknown)}; known options are {', '.join(OPTIONS)}")
    body = load_body() if body is None else body
    if in_notebook():
        from hmrlib.viewing.viewer import Explorer, Live

        return (Explorer if kernel else Live)(body, betas, pose, reference, **options)
    betas, pose, _ = checked(body, betas, pose, reference)
    path = Path(tempfile.mkdtemp(prefix="hmrlib-")) / "body.html"
    begin = {"betas": betas, "pose": pose, **options}
    text = live.page(body.model, begin=begin, reference=reference, num_betas=len(betas))
    path.write_text(text, "utf-8")
    webbrowser.open(path.as_uri())
    return path


def in_notebook():
    """Whether this runs in a notebook's kernel."""
    try:
        from IPython import get_ipython
    except ModuleNotFoundError:
        return False
    return getattr(get_ipython(), "kernel", None) is not None


def checked(body, betas, pose, reference):
    """betas (S,), pose (24, 3) and reference (V, 3) or None, as float arrays that fit the body."""
    joints, most = len(body.parents), body.num_betas
    betas = np.zeros(0) if betas is None else np.asarray(betas, float).ravel()
    pose = pose_from_degrees(POSES["standing"]) if pose is None else pose
    pose = np.asarray(pose, float).ravel()
    if len(betas) > most:
        raise ValueError(f"betas: expected at most {most} numbers, found {len(betas)}")
    if len(pose) != 3 * joints:
        raise ValueError(f"pose: expected {3 * joints} numbers, found {len(pose)}")
    if not (np.isfinite(betas).all() and np.isfinite(pose).all()):
        raise ValueError("betas and pose must be finite numbers")
    if reference is not None:
        reference = live.check_reference(reference, len(body.v_template))
    sliders = max(len(betas), min(live.NUM_BETAS, most))
    return np.pad(betas, (0, sliders - len(betas))), pose.reshape(-1, 3), reference
