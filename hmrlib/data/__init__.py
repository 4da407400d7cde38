"""Photographs with labels: data sets of others, records, and the batches that training asks for.

`datasets` reads each data set's own form, `records` holds samples in shards, `pipeline` crops,
augments and mixes. It may import `motion`, and what is before that.
"""

from importlib import import_module
from types import ModuleType
from warnings import warn

# what stood here before it had a room of its own, so that older scripts go on: name -> where now
_MOVED = {
    "mocap": ("motion.clips", "motion.retarget", "motion.gather", "motion.skeletons"),
    "prior": ("motion.prior", "motion.library"),
    "synthetic": ("people", "people.dataset", "people.pictures", "people.scene"),
}


class _Moved(ModuleType):
    """A module by its old name; each thing in it is looked up where it is now."""

    def __getattr__(self, name):
        for place in self.places:
            found = getattr(import_module(f"hmrlib.{place}"), name, None)
            if found is not None and not isinstance(found, ModuleType):
                if name == "read_amass":  # which says the betas now, too
                    return lambda *args, **options: found(*args, **options)[:2]
                return found
        raise AttributeError(f"{self.__name__} has no {name!r}")


def __getattr__(name):
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    places = _MOVED[name]
    warn(f"hmrlib.data.{name} is now hmrlib.{places[0]}", DeprecationWarning, stacklevel=2)
    moved = _Moved(f"{__name__}.{name}")
    moved.places = places
    return moved
