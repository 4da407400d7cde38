"""Packages that not every installation has: the extras of pyproject.toml."""

from contextlib import contextmanager


@contextmanager
def extra(name):
    """Around imports that only `pip install "hmrlib[NAME]"` is sure to bring; says so without it.

    Raises:
        ModuleNotFoundError: one of them is not there.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = str(error.name)
        if missing.partition(".")[0] == "hmrlib":
            raise
        text = f'{missing} is not installed: pip install "hmrlib[{name}]" brings it'
        raise ModuleNotFoundError(text, name=missing) from error
