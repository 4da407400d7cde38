"""Files: written whole or not at all, and read without trust.

`files` writes and locks, `archives` reads `.npz`, `safe_pickle` pickles that run nothing, `foreign`
MATLAB's and CDF's files in a process of their own, `images` pictures, upright, `settings` YAML;
`extras` names what is not installed, `greetings` keeps an engine's off the terminal. It imports
nothing else of hmrlib, and no library that takes long to load.
"""

from hmrlib.io.archives import ArchiveError, bounded_zip, read_npz
from hmrlib.io.commit import commit_of
from hmrlib.io.extras import extra
from hmrlib.io.files import FolderInUseError, atomic_write, locked, naming

__all__ = [
    "ArchiveError",
    "FolderInUseError",
    "atomic_write",
    "bounded_zip",
    "commit_of",
    "extra",
    "locked",
    "naming",
    "read_npz",
]
