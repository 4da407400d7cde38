"""MATLAB's and CDF's files: what they hold comes through whole, and what is damaged is named."""

import os
import subprocess
import sys

import cdflib
import h5py
import numpy as np
import pytest
from scipy.io import savemat

from hmrlib.io import foreign
from hmrlib.io.foreign import ForeignFileError


def test_structs_cells_text_and_numbers_come_through(tmp_path):
    rng = np.random.default_rng(0)
    cells = np.empty((2, 1), object)
    cells[0, 0], cells[1, 0] = rng.normal(size=(5, 6)), np.zeros((0, 0))
    points = np.array([{"x": 1.5, "id": 3}, {"x": np.nan, "id": 4}], object)
    value = {"name": "ü.jpg", "points": points, "one": {"x": 2.0}, "few": [1, 2, 3]}
    large = rng.normal(size=(3, 4, 50)).astype(np.float32)
    path = tmp_path / "a.mat"
    savemat(path, {"large": large, "cells": cells, "value": value, "other": 1})
    read = foreign.read("mat", ["value", "large", "cells"], path)
    assert set(read) == {"value", "large", "cells"}
    np.testing.assert_array_equal(read["large"], large, strict=True)
    np.testing.assert_array_equal(read["cells"][0], cells[0, 0])
    assert len(read["cells"][1]) == 0
    assert read["value"]["name"] == "ü.jpg" and read["value"]["one"] == {"x": 2.0}
    assert [point["id"] for point in read["value"]["points"]] == [3, 4]
    assert np.isnan(read["value"]["points"][1]["x"])
    assert np.array_equal(read["value"]["few"], [1, 2, 3])


def test_it_works_in_a_script_without_a_main_guard(tmp_path):
    savemat(tmp_path / "a.mat", {"a": np.eye(5)})
    (tmp_path / "script.py").write_text(
        "from hmrlib.io import foreign\n"
        "print(foreign.read('mat', ['a'], 'a.mat')['a'].sum())\n"
        "import sys; assert 'tensorflow' not in sys.modules\n"
    )
    # a folder of the user's may have any names
    (tmp_path / "scipy.py").write_text("raise ImportError('not the one')")
    command = [sys.executable, "-P", "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "5.0\n", done.stderr


def cdf(path):
    writer = cdflib.cdfwrite.CDF(str(path))
    spec = {
        "Variable": "Pose", "Data_Type": 44, "Num_Elements": 1, "Rec_Vary": True,
        "Dim_Sizes": [5, 64],
    }  # fmt: skip
    writer.write_var(spec, var_data=np.zeros((1, 5, 64), np.float32))
    writer.close()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="only the clock ends it there, which takes minutes")
def test_a_file_whose_reading_never_ends_is_named(tmp_path):
    cdf(tmp_path / "a.cdf")
    assert np.shape(foreign.read("cdf", ["Pose"], tmp_path / "a.cdf")["Pose"])[-2:] == (5, 64)
    data = bytearray((tmp_path / "a.cdf").read_bytes())
    data[772] ^= 32  # a count of records: cdflib goes round and round
    (tmp_path / "a.cdf").write_bytes(data)
    with pytest.raises(ForeignFileError, match=r"a\.cdf: .*damaged"):
        foreign.read("cdf", ["Pose"], tmp_path / "a.cdf")


def test_a_file_that_claims_to_be_larger_than_it_is_is_named(tmp_path):
    path = tmp_path / "a.mat"
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (2**31,), "f8", chunks=(2**20,))  # 16 GiB, none of it written
    assert path.stat().st_size < 10_000
    with pytest.raises(ForeignFileError, match=r"claims to hold more|cannot be read|damaged"):
        foreign.read("hdf5", ["a"], path)


def test_other_files_are_not_read_through_one(tmp_path):
    secret, path = tmp_path / "secret.bin", tmp_path / "a.mat"
    secret.write_bytes(b"\x01" * 80)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a"] = np.ones(10)
    with h5py.File(path, "w") as file:
        file.create_dataset("stored", (10,), "f8", external=[(str(secret), 0, 80)])
        file["linked"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/a")
        layout = h5py.VirtualLayout((10,), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "a", (10,))
        file.create_virtual_dataset("virtual", layout)
        file["own"] = np.arange(3.0)
    assert foreign.read("hdf5", ["own"], path)["own"] == [0, 1, 2]
    for name in ("stored", "linked", "virtual"):
        with pytest.raises(ForeignFileError, match=f"expected {name} in it"):
            foreign.read("hdf5", [name], path)


@pytest.mark.parametrize("data", [b"", b"MATLAB, but not much of it", b"\0" * 500])
def test_what_is_no_such_file_is_named(data, tmp_path):
    (tmp_path / "a.mat").write_bytes(data)
    with pytest.raises(ForeignFileError, match=r"a\.mat: .*(cannot be read|damaged)"):
        foreign.read("mat", ["joints"], tmp_path / "a.mat")
