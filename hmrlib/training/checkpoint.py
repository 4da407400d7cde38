"""Checkpoints: all that a training needs to go on to the very same end, in one `.npz`."""

import json
from pathlib import Path

import numpy as np
from keras import ops

from hmrlib.body.files import atomic_write
from hmrlib.network.hmr import HMR


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
    path = folder / ("best.npz" if (folder / "best.npz").exists() else "last.npz")
    about, arrays = _read_checkpoint(path, ["hmr"])
    hmr = HMR(encoder_weights=None, **about["settings"])
    for variable, array in zip(hmr.variables, arrays["hmr"], strict=True):
        variable.assign(array)
    return hmr
