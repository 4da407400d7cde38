"""Batches made ahead, as `fit` takes them, on any backend of Keras."""

from concurrent.futures import ThreadPoolExecutor

import keras

from hmrlib.data import pipeline
from hmrlib.io import extra

FEW_CORES = 4  # up to here threads do: most of their time they are outside of Python's lock


class Feed(keras.utils.PyDataset):
    """The batches of a `MixedDataset` from step `first` on: `feed[0]` is a tuple of that one.

    They are made ahead on all cores, by processes where there are more than four. These are not
    Keras' own workers, which are copies of a process that has threads by then, skip a batch where
    `fit` looks at the first one and begins anew, and wait for ever for one of them that died.

    Args:
        mixed: `MixedDataset`.
        first: step.
        steps: how many; None is all until the first epoch's end, see `len(mixed)`.
        cores: how many to use; None is those that this process may have.

    Attributes:
        error: what making a batch raised, or None.
    """

    def __init__(self, mixed, first=0, steps=None, cores=None):
        super().__init__()
        self.mixed, self.first, self.error = mixed, first, None
        self.steps = len(mixed) - first if steps is None else steps
        cores = cores or usable_cores()
        self.ahead, self.futures = 2 * cores, {}
        if cores <= FEW_CORES:
            self.pool, self.make = ThreadPoolExecutor(cores), mixed.__getitem__
        else:
            self.pool, self.make = _processes(mixed, cores - 1), pipeline.make_batch

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        try:
            for step in range(index, min(index + self.ahead, self.steps)):
                if step not in self.futures:
                    self.futures[step] = self.pool.submit(self.make, self.first + step)
            return (self.futures.pop(index).result(),)
        except Exception as error:
            self.error = error
            raise

    def close(self):
        """Make no more; what is being made is waited for."""
        for future in self.futures.values():
            future.cancel()
        self.pool.shutdown()


def usable_cores():
    """How many cores this process may use."""
    with extra("train"):
        from joblib import cpu_count  # which knows a container's limit

    return cpu_count()


def _processes(mixed, count):
    """A pool of processes that have the data set and see no GPU.

    joblib's do not run the caller's script again, as those of `multiprocessing` do.
    """
    with extra("train"):
        from joblib.externals.loky import ProcessPoolExecutor

    blind = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"}
    return ProcessPoolExecutor(
        count, initializer=pipeline.begin_making, initargs=(mixed,), env=blind
    )
