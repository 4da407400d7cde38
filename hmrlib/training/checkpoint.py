"""Files of networks: checkpoints, from which a training goes on, and models, to be shared.

A checkpoint is one `.npz` of all that a training needs to go on to the very same end; a model one
of the network's weights in half precision, with its settings and where it comes from.
"""

import json
import shutil
import tempfile
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from pathlib import Path

import h5py  # comes with Keras
import keras
import numpy as np
from keras import ops

from hmrlib.io import atomic_write, bounded_zip, foreign, read_npz
from hmrlib.network.config import NetworkConfig
from hmrlib.network.hmr import HMR, ModelError

SHIPPED = Path(__file__).parents[1] / "network" / "assets" / "hmr.npz"


class TrainingError(ValueError):
    """A training cannot begin, go on or be read; the message says why and what to do."""


def save_checkpoint(path, model, about):
    """Write all that a training needs to go on: whole, or not at all.

    Args:
        path: `.npz`.
        model: `AdversarialModel`, compiled and built.
        about: what else to keep, for JSON: step, best error, ...

    Raises:
        OSError: the disk is full, or such; what was at `path` before is still there.
    """
    arrays, names = {}, {}
    for group, variables in _state(model).items():
        names[group] = [variable.path for variable in variables]
        for i, variable in enumerate(variables):
            arrays[f"{group}/{i}"] = ops.convert_to_numpy(variable.value)
    about = json.dumps({**about, "names": names, "settings": asdict(model.hmr.config)})
    with atomic_write(path) as file:
        np.savez(file, about=about, **arrays)


def load_checkpoint(path, model):
    """Set a model's state to that of a checkpoint; returns what `about` was.

    Raises:
        TrainingError: missing, damaged, or of another network.
    """
    groups = _state(model)
    about, arrays = _read_checkpoint(path, list(groups))
    for group, variables in groups.items():
        shapes = [tuple(array.shape) for array in arrays[group]]
        if shapes != [tuple(variable.shape) for variable in variables]:
            raise TrainingError(
                f"{path} is of another network: its {group} has {len(shapes)} arrays "
                f"({about['settings']}), here are {len(variables)} ({asdict(model.hmr.config)})"
            )
    for group, variables in groups.items():
        for variable, array in zip(variables, arrays[group], strict=True):
            variable.assign(array)
    return about


def read_about(path):
    """What was said about a checkpoint or a model when it was saved.

    Raises:
        TrainingError: missing or damaged.
    """
    return _read_checkpoint(path, [])[0]


def _read_checkpoint(path, groups):
    """What is said about it, and a list of arrays for each group; all checked, and finite."""
    try:
        arrays = read_npz(path, wanted=lambda name: name.partition("/")[0] in {"about", *groups})
        about = json.loads(str(arrays["about"]))
        found = {
            group: [arrays[f"{group}/{i}"] for i in range(len(about["names"][group]))]
            for group in groups
        }
        for group in groups:
            _check_finite(dict(zip(about["names"][group], found[group], strict=True)))
    except FileNotFoundError:
        raise TrainingError(f"there is no checkpoint {path}") from None
    except KeyError as error:
        raise TrainingError(
            f"{path} is a damaged checkpoint, or none of hmrlib's: it lacks {error}"
        ) from error
    except Exception as error:  # zipfile, NumPy and json each have their own
        raise TrainingError(f"the checkpoint {path} is damaged: {error!r:.500}") from error
    return about, found


def _check_finite(arrays):
    for name, array in arrays.items():
        numbers = array if array.dtype.kind in "fiub" else np.array(np.nan)
        with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is infinite
            finite = np.isfinite(numbers.astype(np.float32)).all()
        if not finite:
            raise ModelError(f"expected finite numbers, {name!s:.100} has NaN or infinity")


def _state(model):
    """Everything that changes in training; the data's state is the step alone."""
    sync_state(model)
    groups = {"hmr": model.hmr.variables, "discriminator": model.discriminator.variables}
    return groups | {"optimizer": model.optimizer.variables}


def sync_state(model):
    """Bring a model's variables up to date while it trains on JAX, which keeps them elsewhere."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def load_run(folder):
    """The best network of a training, or its last where nothing was validated.

    Raises:
        TrainingError: no training, or a damaged checkpoint.
    """
    folder = Path(folder)
    return _revive(folder / ("best.npz" if (folder / "best.npz").exists() else "last.npz"))[0]


def _revive(path):
    """The network of a checkpoint or a model, and what is said about it."""
    about, arrays = _read_checkpoint(path, ["hmr"])
    try:
        config = _read_settings(about.get("settings"))
        if path != SHIPPED:
            _check_shapes(config, [array.shape for array in arrays["hmr"]], ordered=True)
    except ValueError as error:
        raise TrainingError(f"{path}: {error}") from error
    hmr = HMR(config, encoder_weights=None)
    for variable, array in zip(hmr.variables, arrays["hmr"], strict=True):
        variable.assign(array)
    return hmr, about


def _read_settings(settings):
    """`NetworkConfig` out of a file, or a ValueError that says what is wrong with it."""
    known = [entry.name for entry in fields(NetworkConfig)]
    if not isinstance(settings, dict) or not settings.keys() <= set(known):
        found = sorted(map(str, settings)) if isinstance(settings, dict) else settings
        raise ModelError(f"expected settings among {', '.join(known)}, found {found!s:.200}")
    return NetworkConfig(**settings)


def _check_shapes(config, found, ordered):
    """The arrays that a file really holds are those of a network of these settings.

    The network is built without memory for its weights, so that settings cost nothing that the
    file has not brought: in a thread of its own, as Keras remembers what is still without.

    Args:
        found: shapes of the arrays.
        ordered: whether they come in the variables' order, the dropout's random states among them.
    """

    def shapes():
        with keras.StatelessScope(initialize_variables=False):
            hmr = HMR(config, encoder_weights=None)
        return [tuple(v.shape) for v in hmr.variables if ordered or "seed_generator" not in v.path]

    with ThreadPoolExecutor(1) as thread:
        expected = thread.submit(shapes).result()
    if found == expected or (not ordered and Counter(found) == Counter(expected)):
        return
    too_many, missing = Counter(found) - Counter(expected), Counter(expected) - Counter(found)
    raise ModelError(
        f"the weights are not of a network of these settings ({asdict(config)}): {len(found)} "
        f"arrays in place of {len(expected)}, such as {[*too_many, None][0]} for "
        f"{[*missing, None][0]}"
    )


def save_model(path, hmr, **about):
    """Write a network to be shared: `.npz`, kernels in half precision, all else in single.

    (Statistics of a batch normalisation may be beyond what half precision can hold.)

    Args:
        about: what else to say of it, for JSON: records, commit, errors...
    """
    arrays = {}
    for i, variable in enumerate(hmr.variables):
        array = ops.convert_to_numpy(variable.value)
        arrays[f"hmr/{i}"] = array.astype(np.float16) if array.ndim > 1 else array
    names = {"hmr": [variable.path for variable in hmr.variables]}
    about = json.dumps({**about, "names": names, "settings": asdict(hmr.config)})
    with atomic_write(path) as file:
        np.savez_compressed(file, about=about, **arrays)


def load_model(path=None, **settings):
    """A trained HMR.

    Args:
        path: a folder that `hmr train` wrote (its best checkpoint), a model `.npz` that it left
            there, a `.keras` file, or weights `.weights.h5`; None is the model that comes with the
            package.
        settings: of `NetworkConfig`, for a `.weights.h5`, which does not hold them.

    Raises:
        ModelError: no such file, or one of another model.
        TrainingError: a folder without a training, or a damaged `.npz`.
    """
    path = SHIPPED if path is None else Path(path)
    if path.is_dir():
        return load_run(path)
    if not path.is_file():
        raise ModelError(f"no model at {path}: expected a run's folder, .npz, .keras or .h5 file")
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return _revive(path)[0]
    try:
        if suffix == ".keras":
            return _read_keras(path)
        return _read_h5(path, settings)
    except Exception as error:  # each format and backend raises something else
        raise ModelError(f"{path} holds no HMR of these settings: {error!s:.1000}") from error


def describe_model(path=None):
    """What a model `.npz` says of itself: its settings, and its card or the run it comes from.

    Raises:
        TrainingError: missing or damaged.
    """
    about, _ = _read_checkpoint(SHIPPED if path is None else Path(path), [])
    return {name: value for name, value in about.items() if name != "names"}


def _read_keras(path):
    """Of a `.keras` file the settings and the weights; Keras would build whatever it names."""
    with bounded_zip(path) as archive, tempfile.TemporaryDirectory() as folder:
        if archive.getinfo("config.json").file_size > 2**20:
            raise ModelError("expected the settings of an HMR, found more than 1 MiB of them")
        model = json.loads(archive.read("config.json"))
        if not isinstance(model, dict) or model.get("registered_name") != "hmrlib>HMR":
            raise ModelError("it is another model")
        settings = dict(model["config"])
        for name in ("encoder_weights", "name"):
            settings.pop(name, None)
        weights = Path(folder, "model.weights.h5")
        with archive.open(weights.name) as source, open(weights, "wb") as target:
            shutil.copyfileobj(source, target)
        return _read_h5(weights, settings)


def _read_h5(path, settings):
    """An HMR whose weights are read in a process of their own, as a damaged HDF5 file may end it.

    What that process found is written again, and so Keras reads a file of ours.
    """
    config = _read_settings(settings)
    arrays = {name: np.asarray(array) for name, array in foreign.read("hdf5", None, path).items()}
    _check_finite(arrays)
    _check_shapes(config, [array.shape for array in arrays.values()], ordered=False)
    hmr = HMR(config, encoder_weights=None)
    with tempfile.TemporaryDirectory() as folder:
        clean = Path(folder, "clean.weights.h5")
        with h5py.File(clean, "w") as file:
            for name, array in arrays.items():
                file[name] = array
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Keras only warns of weights that it did not find
            hmr.load_weights(clean)
    return hmr
