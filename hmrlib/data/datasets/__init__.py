"""Real data sets into records: `hmr data convert NAME SOURCE OUT`.

One module a data set. Its function's docstring draws the layout that its authors publish, says how
to get it and under which licence; it lists what there is, and `convert` writes it, shard by shard.
None of the data sets comes with hmrlib.

What the files of a data set say is not trusted. A name in them is looked for below its folder
(`images.below`); MATLAB's files are read in a process of their own (`foreign`); a picture or person
of whom anything is not as it should be is skipped, and counted with the reason.

Keypoints go by name to the records' 22 (`point_names`). A person far larger than the
network's input is stored cropped and reduced, with its labels and camera (`crop_to_person`).
"""

import json
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from inspect import signature
from pathlib import Path

from tqdm import tqdm

from hmrlib.data import records
from hmrlib.data.datasets.amass import amass
from hmrlib.data.datasets.base import (
    DataSetError,
    LeftOut,
    Listing,
    read_json,
    remembered,
    with_skips,
)
from hmrlib.data.datasets.coco import coco
from hmrlib.data.datasets.crop import CONTEXT, MAX_BOX, crop_to_person
from hmrlib.data.datasets.folder import folder
from hmrlib.data.datasets.h36m import h36m
from hmrlib.data.datasets.lsp import lsp, lsp_extended
from hmrlib.data.datasets.mpi_inf_3dhp import mpi_inf_3dhp
from hmrlib.data.datasets.mpii import mpii
from hmrlib.data.datasets.points import fit_camera, point_names
from hmrlib.data.datasets.threedpw import threedpw
from hmrlib.io import foreign, locked

__all__ = [
    "CONTEXT",
    "DATASETS",
    "KNOWN",
    "LICENCES",
    "MAX_BOX",
    "DataSetError",
    "LeftOut",
    "Listing",
    "amass",
    "convert",
    "counted_samples",
    "crop_to_person",
    "fit_camera",
    "point_names",
    "remembered",
    "with_skips",
]

DATASETS = {
    "lsp": lsp,
    "lsp_extended": lsp_extended,
    "coco": coco,
    "mpii": mpii,
    "mpi_inf_3dhp": mpi_inf_3dhp,
    "h36m": h36m,
    "3dpw": threedpw,
    "folder": folder,
}
LICENCES = {
    "lsp": "none stated; research use, citation asked for (Johnson and Everingham, BMVC 2010)",
    "lsp_extended": "none stated; research use, citation asked for (Johnson and Everingham, "
    "CVPR 2011)",
    "coco": "annotations CC BY 4.0; images under Flickr's terms",
    "mpii": "simplified BSD licence (annotations)",
    "mpi_inf_3dhp": "non-commercial research, terms of the authors",
    "h36m": "academic use, after registration",
    "3dpw": "non-commercial research, terms of the authors",
    "amass": "non-commercial research, after registration",
    "folder": "as its owner says",
}
# what the labels of each source know: fields of the records
KNOWN = {
    "lsp": ("keypoints_2d", "occluded"),
    "lsp_extended": ("keypoints_2d",),
    "coco": ("keypoints_2d", "occluded"),
    "mpii": ("keypoints_2d", "occluded"),
    "mpi_inf_3dhp": ("keypoints_2d", "keypoints_3d", "camera"),
    "h36m": ("keypoints_2d", "keypoints_3d", "camera"),
    "3dpw": ("keypoints_2d", "keypoints_3d", "camera", "pose"),
    "synthetic": ("keypoints_2d", "occluded", "keypoints_3d", "camera", "pose", "betas"),
}
SHARD = 500  # images a shard


def convert(name, source, out, shard=SHARD, threads=None, progress=True, **options):
    """Write a data set as records; a second call goes on where the first was stopped.

    Args:
        name: one of `DATASETS`.
        source: its folder, as the function's docstring draws it.
        out: the folder of records, made if need be.
        shard: images a shard.
        threads: that read and decode images; None is one a core.
        progress: show a bar.
        options: of the data set's function.

    Returns:
        the index, see `records.write_index`: samples, splits, what was skipped and why.

    Raises:
        DataSetError: an unknown name, a folder that is no such data set, or records in `out` that
            were made from something else.
        hmrlib.io.FolderInUseError: another run writes into `out`.
    """
    if name not in DATASETS:
        raise DataSetError(f"unknown data set {name!r}; known are {', '.join(DATASETS)}")
    source, out = Path(source), Path(out)
    if not source.is_dir():
        raise DataSetError(f"{source}: no such folder. {_how_to_obtain(name)}")
    reader = DATASETS[name]
    unknown = set(options) - set(signature(reader).parameters)
    if unknown:
        raise DataSetError(f"{name} takes no option {', '.join(sorted(unknown))}")
    try:
        listing = reader(source, **options)
    except FileNotFoundError as error:
        message = f"{source}: expected {error.filename or error} there. {_how_to_obtain(name)}"
        raise DataSetError(message) from error
    except foreign.ForeignFileError as error:
        raise DataSetError(f"{error}. {_how_to_obtain(name)}") from error
    about = {
        "source": name,
        "licence": LICENCES[name],
        "options": options,
        "images": {split: len(items) for split, items in listing.splits.items()},
        "shard": shard,
    }
    with locked(out):
        _check_same(out, about)
        records.write_index(out, **about)
        total = sum(map(len, listing.splits.values()))
        bar = tqdm(total=total, desc=name, unit="images", disable=not progress)
        with bar, ThreadPoolExecutor(threads or os.cpu_count()) as pool:
            tried = with_skips(listing.load, listing.name)
            for split, items in listing.splits.items():
                for number, first in enumerate(range(0, len(items), shard)):
                    chunk = items[first : first + shard]
                    path = out / f"{split}-{number:05d}.tfrecord"
                    if records.finished(path) is None:
                        notes = Counter()
                        stream = counted_samples(pool.map(tried, chunk), notes, bar)
                        records.write_shard(path, stream, notes=notes)
                    else:
                        bar.update(len(chunk))
        return records.write_index(out, **about)


def _check_same(out, about):
    """Records that lie there already must come from the same source in the same way."""
    index = out / "index.json"
    if index.exists():
        before = read_json(index)
        before = before if isinstance(before, dict) else {}
        for field, value in json.loads(json.dumps(about)).items():
            if before.get(field) != value:
                raise DataSetError(
                    f"{out}: holds records of other {field} ({before.get(field)}, now {value}); "
                    "take another folder, or remove this one"
                )
    elif any(out.glob("*.tfrecord")):
        raise DataSetError(f"{out}: holds records of unknown origin; take another folder")


def counted_samples(loaded, notes, bar):
    """A stream of samples from lists of them; what was mended is counted in `notes`."""
    for samples in loaded:
        bar.update()
        for sample in samples:
            if isinstance(sample, dict):
                notes.update(sample.pop("notes", ()))
            yield sample


def _how_to_obtain(name):
    function = DATASETS[name].__name__
    return f"`python -m pydoc hmrlib.data.datasets.{function}` draws the layout and says who has it"
