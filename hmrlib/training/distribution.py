"""Several devices, several processes: each batch shared among them."""

import os
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import keras
from keras import ops

from hmrlib.network.hmr import HMR
from hmrlib.training.checkpoint import TrainingError


class Share(NamedTuple):
    """A process' part in a training.

    Attributes:
        index, count: its number, and how many there are.
        scope: the context to build the network in; None if no device shares with another.
    """

    index: int
    count: int
    scope: Any


def distribute(config):
    """Share each batch among devices, by the engines that Keras has for it.

    JAX: among all devices of all processes, if Keras' environment variables name them
    (KERAS_DISTRIBUTION_JOB_ADDRESSES, ..._NUM_PROCESSES, ..._PROCESS_ID: the same command on each
    machine), else among `config.devices` of this one. The weights come out as those of one process.

    TensorFlow: `MirroredStrategy` over `config.devices` GPUs of this machine (without any, parts of
    its processor, to try it); its strategy for several machines does not work under Keras 3. Here
    each device takes its own mean over what its part of the batch knows, and its own batch
    statistics.

    Returns:
        `Share`.

    Raises:
        TrainingError: the batch cannot be shared evenly, or the backend cannot share it.
    """
    processes = int(os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES", 1))
    if config.devices == 1 and processes == 1:
        return Share(0, 1, None)
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        if processes > 1 and not jax.distributed.is_initialized():
            keras.distribution.initialize()
        devices = keras.distribution.list_devices()
        devices = pick_devices(devices, 0 if processes > 1 else config.devices, config.batch_size)
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)
        )
        return Share(jax.process_index(), processes, nullcontext())
    if backend == "tensorflow" and processes == 1:
        import tensorflow as tf

        list_devices = tf.config.list_logical_devices
        names = [device.name for device in list_devices("GPU") or list_devices("CPU")]
        names = pick_devices(names, config.devices, config.batch_size)
        return Share(0, 1, tf.distribute.MirroredStrategy(names).scope())
    raise TrainingError(
        f"several {'processes' if processes > 1 else 'devices'} are not for {backend}: "
        "KERAS_BACKEND=jax can"
    )


def pick_devices(devices, count, batch_size):
    """The first `count` devices, or all if it is 0."""
    if count > len(devices):
        raise TrainingError(f"{count} devices are asked for, but there are {len(devices)}")
    devices = devices[: count or None]
    if batch_size % len(devices):
        raise TrainingError(
            f"a batch of {batch_size} cannot be shared by {len(devices)} devices evenly"
        )
    return devices


@contextmanager
def single_process():
    """While it lasts, what this process computes on JAX concerns no other device.

    Otherwise even a new variable is one that all processes make together, and a process that makes
    it alone waits for the others for ever.
    """
    shared = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(shared)


def gather(hmr, copy=None):
    """A network that is spread over devices, copied to one; into `copy`, where there is one."""
    copy = copy or HMR(hmr.config, encoder_weights=None, body=hmr.body)
    for variable, spread in zip(copy.variables, hmr.variables, strict=True):
        variable.assign(ops.convert_to_numpy(spread.value))
    return copy
