"""The color of skin: tone, flush, lips, brows, eyes, and how little light reaches hollows."""

from functools import lru_cache

import numpy as np
from numba import njit

from hmrlib.body.surface import face_masks, smoothstep
from hmrlib.people.draws import table
from hmrlib.people.measures import NOISES, J


@lru_cache(maxsize=4)
def skin_masks(measured):
    """Where the skin differs, (6, V) from 0 to 1: flush, lips, brows, white and iris of the eyes,
    beard; and how much light reaches it, (V, 3).
    """
    masks = face_masks(measured.head, measured.eyes, measured.nose)
    x, y, _ = measured.head.T
    nose, front = measured.nose, masks.pop("front")
    cheeks = np.exp(-(((np.abs(x) - 0.19) / 0.09) ** 2) - ((y - nose[1]) / 0.09) ** 2) * front
    tip = np.exp(-np.sum((measured.head - nose) ** 2, 1) / 0.08**2)
    ears = smoothstep((np.abs(x) - 0.31) / 0.04) * (np.abs(y) < 0.2)
    flush = cheeks + tip + 0.8 * ears
    for side in ("left", "right"):
        for name, size in (("knee", 0.07), ("elbow", 0.05), ("hand", 0.06), ("foot", 0.08)):
            off = measured.vertices - measured.joints[J[f"{side}_{name}"]]
            flush = flush + 0.6 * np.exp(-np.sum(off**2, 1) / size**2)
    masks["flush"] = np.clip(flush, 0, 1)
    masks["beard"] = (
        front
        * smoothstep((nose[1] - 0.02 - y) / 0.06)
        * smoothstep((0.33 - np.abs(x)) / 0.1)
        * (y > -0.62)
    )
    names = ("flush", "lips", "brows", "white", "iris", "beard")
    light = 0.62 + 0.38 * np.minimum(measured.open, 1)[:, None] ** [
        0.7,
        0.85,
        0.9,
    ]  # red in hollows
    return (
        np.stack([np.clip(masks[name], 0, 1) for name in names]).astype(np.float32),
        light.astype(np.float32),
    )


def skin_colors(measured, tone, flush, iris, brows, lips, stubble, blotches):
    """The skin of the whole body: (V, 3) sRGB, 0 to 1, darker where little sky is seen.

    Args:
        tone: 0, the lightest skin, to 1, the darkest; flush: -1 to 1, paler or redder.
        iris, brows: sRGB colors; lips: 0 to 1, how much they differ; stubble: 0 to 1.
        blotches: index of a noise field.
    """
    tones = np.array(table("dyes")["skin"])
    at = tone * (len(tones) - 1)
    low = min(int(at), len(tones) - 2)
    base = tones[low] + (at - low) * (tones[low + 1] - tones[low])
    base = base * [1 + 0.03 * flush, 1 - 0.02 * flush, 1 - 0.03 * flush]
    masks, openness = skin_masks(measured)
    colors = np.empty((len(openness), 3), np.float32)
    _paint_skin(
        masks,
        openness,
        measured.noise[blotches % NOISES],
        measured.noise[(blotches + 7) % NOISES],
        np.array(
            [
                base,
                0.22 * (1 - 0.6 * tone) * np.array([0.25, -0.6, -0.5]),
                base * [0.86, 0.60, 0.60],
                np.asarray(brows),
                [0.80, 0.77, 0.74],
                iris,
                0.55 * np.asarray(brows) + 0.25 * base,
            ],
            np.float32,
        ),
        np.array([0, 0, 0.45 + 0.5 * lips, 0.75, 0.8, 0.9, stubble], np.float32),
        colors,
    )
    return colors


@njit(nogil=True, cache=True, error_model="numpy")
def _paint_skin(masks, openness, coarse, fine, palette, strength, colors):
    """Lay the marks over the skin, one after another; see `skin_colors`."""
    for v in range(colors.shape[0]):
        value = 1 + np.float32(0.02) * coarse[v] + np.float32(0.012) * fine[v]
        marked = masks[1:, v].max() > 0  # few are: the face's
        for k in range(3):
            color = palette[0, k] * value * (1 + masks[0, v] * palette[1, k])
            if marked:
                for m in range(1, 6):
                    row = m + 1
                    share = min(masks[m, v], np.float32(1)) * strength[row]
                    color += (palette[row, k] - color) * share
            colors[v, k] = min(max(color * openness[v, k], np.float32(0)), np.float32(1))
