"""Files of networks: checkpoints, from which a training goes on, and models, to be shared.

A checkpoint is one `.npz` of all that a training needs to go on to the very same end; a model one
of the network's weights in half precision, with its settings and where it comes from.
"""

import json
from pathlib import Path

import keras
import numpy as np
from keras import ops

from hmrlib.io import atomic_write
from hmrlib.network.hmr import HMR, ModelError

SHIPPED = Path(__file__).parents[1] / "network" / "assets" / "hmr.npz"


class TrainingError(ValueError):
    """A training cannot begin, go on or be read; the message says why and what to do."""


def save_checkpoint(path, game, about):
    """Write all that a training needs to go on: whole, or not at all.

    Args:
        path: `.npz`.
        game: `Game`, compiled and built.
        about: what else to keep, for JSON: step, best error, ...

    Raises:
        OSError: the disk is full, or such; what was at `path` before is still there.
    """
    arrays, names = {}, {}
    for group, variables in _state(game).items():
        names[group] = [variable.path for variable in variables]
        for i, variable in enumerate(variables):
            arrays[f"{group}/{i}"] = ops.convert_to_numpy(variable.value)
    about = json.dumps({**about, "names": names, "settings": game.hmr.settings})
    try:
        with atomic_write(path) as file:
            np.savez(file, about=about, **arrays)
    except OSError as error:
        kept = " The one before is kept." if Path(path).exists() else ""
        raise OSError(
            error.errno, f"the checkpoint could not be written ({error.strerror}).{kept}", str(path)
        ) from error


def load_checkpoint(path, game):
    """Set a game's state to that of a checkpoint; returns what `about` was.

    Raises:
        TrainingError: missing, damaged, or of another network.
    """
    groups = _state(game)
    about, arrays = _read_checkpoint(path, list(groups))
    for group, variables in groups.items():
        shapes = [tuple(array.shape) for array in arrays[group]]
        if shapes != [tuple(variable.shape) for variable in variables]:
            raise TrainingError(
                f"{path} is of another network: its {group} has {len(shapes)} arrays "
                f"({about['settings']}), here are {len(variables)} ({game.hmr.settings})"
            )
    for group, variables in groups.items():
        for variable, array in zip(variables, arrays[group], strict=True):
            variable.assign(array)
    return about


def _read_checkpoint(path, groups):
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            about = json.loads(str(archive["about"]))
            arrays = {
                group: [archive[f"{group}/{i}"] for i in range(len(about["names"][group]))]
                for group in groups
            }
    except FileNotFoundError:
        raise TrainingError(f"there is no checkpoint {path}") from None
    except Exception as error:  # zipfile, NumPy and json each have their own
        raise TrainingError(f"the checkpoint {path} is damaged: {error!r}") from error
    return about, arrays


def _state(game):
    """Everything that changes in training; the data's state is the step alone, see `Mix`."""
    groups = {"hmr": game.hmr.variables, "discriminator": game.adversary.variables}
    return groups | {"optimizer": game.optimizer.variables}


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
    hmr = HMR(encoder_weights=None, **about["settings"])
    for variable, array in zip(hmr.variables, arrays["hmr"], strict=True):
        variable.assign(array)
    return hmr, about


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
    about = json.dumps({**about, "names": names, "settings": hmr.settings})
    with atomic_write(path) as file:
        np.savez_compressed(file, about=about, **arrays)


def load_model(path=None, **settings):
    """A trained HMR.

    Args:
        path: a folder that `hmr train` wrote (its best checkpoint), a model `.npz` that it left
            there, a `.keras` file, or weights `.weights.h5`; None is the model that comes with the
            package.
        settings: of `HMR`, for a `.weights.h5`, which does not hold them.

    Raises:
        ModelError: no such file, or one of another model.
        TrainingError: a folder without a training, or a damaged `.npz`.
    """
    path = SHIPPED if path is None else Path(path)
    if path.is_dir():
        return load_run(path)
    if not path.is_file():
        raise ModelError(f"no model at {path}: expected a run's folder, .npz, .keras or .h5 file")
    if path.suffix == ".npz":
        return _revive(path)[0]
    try:
        if path.suffix == ".keras":
            return keras.saving.load_model(path, compile=False)
        model = HMR(**{"encoder_weights": None, **settings})
        model.load_weights(path)
    except Exception as error:  # each format and backend raises something else
        raise ModelError(f"{path} holds no HMR of these settings: {error}") from error
    return model
