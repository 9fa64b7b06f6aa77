"""Checks with xarray and h5py that reconstructions of missing values are flagged: check_missing.py OUTPUT INPUT."""

import sys

import h5py
import numpy as np
import xarray as xr

output, source = sys.argv[1:]
with h5py.File(source) as file:
    missing = file["mask"][:] != 0
for engine in ("h5netcdf", "netcdf4"):
    with xr.open_dataset(output, engine=engine) as encoded:
        flags = encoded[encoded.reconstruction.ancillary_variables]
        assert flags.dims == encoded.reconstruction.dims and flags.dtype == np.int8
        meanings = dict(zip(flags.flag_values, flags.flag_meanings.split()))
        assert meanings == {0: "observed", 1: "missing"}
        assert np.array_equal(flags.values == 1, missing) and set(np.unique(flags)) == {0, 1}
        assert np.array_equal(encoded.n_valid.values, (~missing).sum(1))
        # Poisson's decoder gives log rates: what is written are rates.
        good = encoded.status.values <= 1
        assert (encoded.reconstruction.values[good] > 0).all() and not good.all()
        # The missing values alone, as a reader would take them.
        filled = encoded.reconstruction.where(flags == 1)
        assert np.isfinite(filled.values[good]).sum() == missing[good].sum()
with h5py.File(output) as file:
    flags = file["reconstruction_filled"]
    assert flags.compression == "gzip" and flags.fletcher32
