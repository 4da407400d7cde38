"""How the room's functions are compiled by numba.

All release the GIL and none uses numba's own threads, so any number of Python threads may draw at
the same time. None is compiled with `fastmath`, by which the compiler fuses and reorders sums, one
way for this width of vectors and another for that: a picture is the same bytes on every processor.

A function is compiled when it is first called from Python, with all that it calls. So passes that
not every picture needs are called from Python, each by itself.
"""

from numba import njit

_OPTIONS = {"nogil": True, "cache": True, "error_model": "numpy", "no_cfunc_wrapper": True}

compiled = njit(**_OPTIONS)
# called by compiled functions alone, and made part of them
inlined = njit(**_OPTIONS, no_cpython_wrapper=True, forceinline=True)
