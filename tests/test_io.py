"""Writing files: whole or not at all, and one run to a folder."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from hmrlib.io import FolderInUseError, atomic_write, locked
from tests.conftest import ROOT


def beside(code):
    """Another Python that runs `code` and then waits until its input ends; it has printed a line.

    (So that it is in the midst of what `code` began.)
    """
    code = f"import sys\nfrom hmrlib.io import *\n{code}"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout.readline() == "there\n"
    return process


def killed(process):
    process.kill()
    process.communicate()


WAIT = "print('there', flush=True); sys.stdin.read()"


def limited(size, action):
    """`action()` while no file may be longer than `size` bytes, as on a disk that is full."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        return action()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write(path, content=b"ours"):
    with atomic_write(path) as file:
        file.write(content)


def take(folder):
    with locked(folder):
        pass


# --- one file ---


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_write_keeps_the_old_file(tmp_path, error):
    path = tmp_path / "body.npz"
    path.write_bytes(b"old")
    with pytest.raises(error), atomic_write(path) as file:
        file.write(b"half of the new")
        raise error
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["body.npz"]


def test_a_whole_write_replaces_the_old_file(tmp_path):
    path = tmp_path / f"{'long' * 60}.npz"  # some disks take no more
    for content in (b"old", b"new"):
        write(path, content)
        assert path.read_bytes() == content
    assert os.listdir(tmp_path) == [path.name]


def test_what_a_killed_process_left_is_removed_and_no_more(tmp_path):
    path, other = tmp_path / "body.npz", tmp_path / "body.obj"
    for name in (".body.npz.1234.tmp", ".body.obj.12ab.tmp", ".body.npz.mine.tmp"):
        (tmp_path / name).write_bytes(b"left")
    write(path)
    assert sorted(os.listdir(tmp_path)) == [
        *(".body.npz.mine.tmp", ".body.obj.12ab.tmp", "body.npz")
    ]
    with locked(tmp_path):
        assert sorted(os.listdir(tmp_path)) == [".body.npz.mine.tmp", ".lock", "body.npz"]
    assert not other.exists()


def test_a_file_that_is_being_written_is_left_alone(tmp_path):
    """Two writers of one file: the last to finish has it, whole; a kill leaves the other's."""
    path = tmp_path / "body.npz"
    code = f"with atomic_write({str(path)!r}) as file:\n file.write(b'theirs'); {WAIT}"
    first, second = beside(code), beside(code)
    write(path)
    assert path.read_bytes() == b"ours" and len(os.listdir(tmp_path)) == 3
    first.communicate()
    assert first.returncode == 0 and path.read_bytes() == b"theirs"
    killed(second)
    write(path)
    assert os.listdir(tmp_path) == ["body.npz"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit to a file's size")
@pytest.mark.parametrize("limit", [0, 1, 100, 5_000, 9_990, 10_000, 10_100])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed, np.save])
def test_a_full_disk_is_named_and_keeps_the_old_file(tmp_path, limit, save):
    path = tmp_path / "arrays.npz"
    noise = np.random.default_rng(0).integers(0, 256, 10_000).astype(np.uint8)

    def write_noise():
        with atomic_write(path) as file:
            save(file, noise)

    with pytest.raises(OSError, match=r"could not be written \(File too large\).*arrays.npz"):
        limited(limit, write_noise)
    assert os.listdir(tmp_path) == []
    path.write_bytes(b"old")
    with pytest.raises(OSError, match=r"could not be written .*The one before is kept") as caught:
        limited(limit, write_noise)
    assert caught.value.errno == errno.EFBIG and path.read_bytes() == b"old"
    write_noise()
    assert os.listdir(tmp_path) == ["arrays.npz"]
    assert np.load(path) is not None


def test_a_folder_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "nowhere" / "body.npz"
    with pytest.raises(FileNotFoundError, match=r"could not be written .*nowhere.body.npz"):
        write(path)


def test_an_error_of_another_file_is_its_own(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, atomic_write(tmp_path / "shard"):
        (tmp_path / "picture.jpg").read_bytes()
    assert str(caught.value).startswith("[Errno 2] No such file") and os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such folders")
def test_a_folder_that_may_not_be_written_is_named(tmp_path):
    tmp_path.chmod(0o500)
    root = os.geteuid() == 0
    if root:  # who may write anywhere: for the moment nobody
        os.seteuid(65534)
    try:
        with pytest.raises(PermissionError, match=r"could not be written .*body.npz"):
            write(tmp_path / "body.npz")
        with pytest.raises(PermissionError, match=r"could not be written .*"):
            take(tmp_path)
    finally:
        if root:
            os.seteuid(0)
        tmp_path.chmod(0o700)


# --- one folder ---


def test_a_folder_belongs_to_one_run(tmp_path):
    out = tmp_path / "out"
    other = beside(f"with locked({str(out)!r}): {WAIT}")
    for _ in range(2):
        with pytest.raises(FolderInUseError, match=r"another run is writing into .*out: wait"):
            take(out)
    other.communicate()
    with locked(out):
        (out / "made").touch()
        with pytest.raises(FolderInUseError), locked(out):
            pass
    assert os.listdir(out) == ["made"]


def test_a_killed_run_frees_its_folder(tmp_path):
    killed(beside(f"with locked({str(tmp_path)!r}): {WAIT}"))
    take(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_run_that_wrote_nothing_leaves_no_folder(tmp_path):
    with pytest.raises(ValueError), locked(tmp_path / "out"):
        raise ValueError
    assert os.listdir(tmp_path) == []
    with pytest.raises(ValueError), locked(tmp_path):  # it was there
        raise ValueError
    assert tmp_path.exists()
