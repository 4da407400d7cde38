"""How a network is judged: on every sample of some records, beside the mean body.

No error means much alone. A body that ignores the picture, the mean Theta for everybody, is what
any network must beat; `compare` puts it beside.
"""

import keras
import numpy as np
from keras import ops

from hmrlib.camera import crop_box
from hmrlib.evaluation import metrics
from hmrlib.network.hmr import HMR

ERRORS = {
    "pa_mpjpe": "PA-MPJPE, mm",
    "mpjpe": "MPJPE, mm",
    "pve": "PVE, mm",
    "reprojection": "keypoints, px",
    "pck": "PCK at 0.2, %",
}


def recover_batch(hmr, batch):
    """The last `Estimate` of each person of a batch, NumPy arrays.

    Args:
        hmr: `HMR`.
        batch: of `MixedDataset`; `features`, as `hmr.encode` gives them, may stand for `image`.
    """
    if "features" in batch:
        last = hmr.embody(hmr.regress(ops.convert_to_tensor(batch["features"])))[-1]
        return keras.tree.map_structure(ops.convert_to_numpy, last)
    box = ops.convert_to_numpy(crop_box(batch, hmr.size)) if hmr.box_input else None
    return hmr.recover(batch["image"], box, len(batch["image"]))[-1]


def validate(hmr, mixed, process=(0, 1)):
    """Errors on every sample of a `MixedDataset(once=True)`, or of a list of such batches.

    Args:
        process: process_index, process_count: they share the batches; each has `hmr` for itself.

    Returns:
        dict: mpjpe, pa_mpjpe (mm, of the samples that know all `metrics.EVALUATED` points), pve
        (mm, of those that know pose and shape), reprojection (pixels of the crop), pck (% of the
        known keypoints), each NaN if no sample knows enough; and samples_3d, how many count for
        mpjpe.
    """
    found = {name: [] for name in ERRORS}
    count = len(metrics.EVALUATED)
    for step in range(process[0], len(mixed), process[1]):
        batch = mixed[step]
        last = recover_batch(hmr, batch)
        points, space = batch["keypoints_2d"], batch["keypoints_3d"][:, :count]
        whole = space[..., 3].all(axis=1)
        if whole.any():
            pair = last.keypoints[whole, :count], space[whole, :, :3]
            found["mpjpe"].extend(1000 * metrics.mpjpe(*pair))
            found["pa_mpjpe"].extend(1000 * metrics.pa_mpjpe(*pair))
        whole = batch["has_pose"] * batch["has_betas"] * (1 - batch["pseudo_3d"]) > 0
        if whole.any():
            true = hmr.body(batch["betas"][whole], batch["pose"][whole])
            pair = (last.vertices[whole], last.joints[whole]), map(ops.convert_to_numpy, true)
            found["pve"].extend(1000 * metrics.pve(*pair))
        pixels = (last.keypoints_2d + 1) * hmr.size / 2
        pair = pixels, points[..., :2], points[..., 2]
        found["reprojection"].extend(metrics.reprojection_error(*pair))
        found["pck"].extend(100 * metrics.pck(*pair))
    known = [np.array(values)[np.isfinite(values)] for values in found.values()]
    sums = np.array([[values.sum(), len(values)] for values in known])
    if process[1] > 1:
        from jax.experimental.multihost_utils import process_allgather

        sums = process_allgather(sums).sum(axis=0)
    means = {
        name: float(total / count) if count else float("nan")
        for name, (total, count) in zip(found, sums, strict=True)
    }
    return means | {"samples_3d": int(sums[0, 1])}


def mean_model(hmr):
    """A network of the same settings that answers the mean Theta, whatever it sees."""
    mean = HMR(hmr.config, encoder_weights=None, body=hmr.body)
    mean.regressor.mean_theta.assign(hmr.regressor.mean_theta)
    for weight in mean.regressor.layers[-1].weights:
        weight.assign(ops.zeros_like(weight))  # no correction
    return mean


def compare(hmr, mixed):
    """name -> errors, see `validate`: of the mean Theta for everybody, and of the network."""
    judged = {"the mean Θ for everybody": mean_model(hmr), "the network": hmr}
    return {name: validate(model, mixed) for name, model in judged.items()}


def table(rows):
    """Errors as a Markdown table; an error that nobody has gets no column.

    Args:
        rows: name -> errors, as `compare` gives them.
    """
    known = [
        name for name in ERRORS if any(np.isfinite(row.get(name, np.nan)) for row in rows.values())
    ]
    lines = [
        f"| | {' | '.join(ERRORS[name] for name in known)} |",
        "|:--" + "|--:" * len(known) + "|",
    ]
    for name, row in rows.items():
        cells = (f"{row[key]:.3g}" if np.isfinite(row.get(key, np.nan)) else "" for key in known)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
