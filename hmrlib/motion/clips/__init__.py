"""Clips of motion capture: read ASF/AMC, BVH and AMASS's .npz.

Each format has a module of its own; what they make, a `Motion` in metres and y up (AMASS: poses),
is in `motion`. May import `skeletons`, and what stands before the room `motion`.
"""

from pathlib import Path

from hmrlib.motion.clips.amass import LIBRARY_FPS, OWN_BODY, SMPL_PELVIS, read_amass
from hmrlib.motion.clips.asf import read_amc, skeleton_beside
from hmrlib.motion.clips.bvh import read_bvh
from hmrlib.motion.clips.motion import RATES, Motion, checked_rate, metres_of, resampled
from hmrlib.motion.skeletons import MocapError

__all__ = [
    "LIBRARY_FPS",
    "OWN_BODY",
    "RATES",
    "SMPL_PELVIS",
    "Motion",
    "checked_rate",
    "metres_of",
    "read_amass",
    "read_amc",
    "read_bvh",
    "read_motion",
    "resampled",
    "skeleton_beside",
]


def read_motion(path, **options):
    """Play a clip by its suffix: `read_bvh` or `read_amc`, with their options."""
    readers = {".bvh": read_bvh, ".amc": read_amc}
    path = Path(path)
    if path.suffix.lower() not in readers:
        raise MocapError(f"{path}: expected a motion .bvh or .amc, found {path.suffix!r}")
    return readers[path.suffix.lower()](path, **options)
