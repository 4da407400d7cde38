"""Writing files: whole or not at all, and one run to a folder; reading archives, bounded."""

import ast
import errno
import gc
import os
import subprocess
import sys
import zipfile
from contextlib import contextmanager, suppress

import numpy as np
import pytest

from hmrlib.io import ArchiveError, FolderInUseError, atomic_write, locked, read_npz
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


# --- archives of arrays ---


def npy(shape, data, dtype="<f4"):
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}".ljust(118) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


def archive(path, content, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("a.npy", content)
    return path


def test_an_archive_is_read_as_numpy_reads_it(tmp_path):
    arrays = {
        "plain": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "text": np.array("körper"),
        "none": np.zeros((0, 3)),
        "scalar": np.float16(3),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        with open(tmp_path / "a.npz", "rb") as file:
            found = read_npz(file)
        assert list(found) == list(arrays)
        for name, array in read_npz(tmp_path / "a.npz").items():
            np.testing.assert_array_equal(array, arrays[name])
            assert array.dtype == np.asarray(arrays[name]).dtype and array.flags.writeable


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy((10**12,), b"1234"), r"declares \(1000000000000,\).*holds 4 bytes"),
        (npy((10**12, 0), b""), "declares"),
        (npy((1,), b"12345678"), "holds 8 bytes"),
        (npy((-1,), b"1234"), "holds 4 bytes"),
        (npy((1,), b"12345678", "|O"), "a holds Python objects"),
        (npy("(1,", b"1234"), "damaged"),
        (b"", "damaged"),
    ],
)
def test_an_array_that_is_not_what_it_declares_is_named(tmp_path, content, message):
    with pytest.raises(ArchiveError, match=message):
        read_npz(archive(tmp_path / "a.npz", content))


def test_an_archive_that_unfolds_to_far_more_than_its_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("hmrlib.io.archives.LEAST_ROOM", 2**20)
    path = archive(tmp_path / "a.npz", npy((2**18,), bytes(2**20)))
    with pytest.raises(ArchiveError, match="would unfold"):
        read_npz(path)


def test_what_is_no_archive_of_numpys_is_named(tmp_path):
    with pytest.raises(ArchiveError, match="does not use"):
        read_npz(archive(tmp_path / "a.npz", npy((1,), b"1234"), zipfile.ZIP_LZMA))
    (tmp_path / "b.npz").write_bytes(b"PK nothing")
    with pytest.raises(ArchiveError, match="no whole archive"):
        read_npz(tmp_path / "b.npz")
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "c.npz")


@contextmanager
def parsing_collections():
    """Garbage is collected at every turn, and each collection parses something."""

    def parse(*_):
        with suppress(SystemError):
            ast.parse("[(1, [2, (3, {4: 5})])]")

    before = gc.get_threshold()
    gc.callbacks.append(parse)
    gc.set_threshold(1)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(parse)


def test_an_archive_is_read_whatever_a_garbage_collection_does(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.arange(12.0).reshape(3, 4))
    with parsing_collections():
        found = read_npz(tmp_path / "a.npz")
    np.testing.assert_array_equal(found["a"], np.arange(12.0).reshape(3, 4))
    assert gc.isenabled()
