"""Reads an output over its parts; with a second output, compares every dataset and attribute with those of that one.

Without it a part of the first is gone, and its rows have to show it.
"""

import subprocess
import sys

import h5py
import netCDF4
import numpy as np
import xarray as xr

kept = sys.argv[1]
if len(sys.argv) == 3:
    whole = sys.argv[2]
    with h5py.File(kept) as a, h5py.File(whole) as b:
        assert set(a) == set(b), (set(a), set(b))
        virtual = [name for name in a if isinstance(a[name], h5py.Dataset) and a[name].is_virtual]
        assert {"sample", "z", "loss", "reconstruction", "number", "name", "trace_t"} <= set(virtual), virtual
        for name in b:
            if isinstance(b[name], h5py.Dataset):
                np.testing.assert_array_equal(a[name][()], b[name][()], err_msg=name)
                assert set(a[name].attrs) == set(b[name].attrs), name
        a_notes, b_notes = (file["entry/process/input/data"][()] for file in (a, b))
        assert a_notes == b_notes
        np.testing.assert_array_equal(a["entry/process/row_sha256"][()], b["entry/process/row_sha256"][()])
    for engine in ["h5netcdf", "netcdf4"]:
        with xr.open_dataset(kept, engine=engine) as a, xr.open_dataset(whole, engine=engine) as b:
            xr.testing.assert_identical(a.load(), b.load())
    with netCDF4.Dataset(kept) as file:
        assert file["z"].dimensions == ("sample", "latent")
    subprocess.run(["h5dump", "-d", "/loss", kept], check=True, stdout=subprocess.DEVNULL)
else:
    with h5py.File(kept) as file:
        lost = file["sample"][()] == -1
        assert 0 < lost.sum() < len(lost), lost
        assert np.isnan(file["z"][lost]).all() and np.isfinite(file["z"][~lost]).all()
        assert np.isnan(file["loss"][lost]).all() and np.isnan(file["reconstruction"][lost]).all()
        assert (file["status"][lost] == -128).all()
        assert (file["number"][lost] == -(2**31)).all() and (file["number"][~lost] >= 0).all()
        assert (file["steps"][lost] == 2**32 - 1).all()
