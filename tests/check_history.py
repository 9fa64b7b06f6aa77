"""Reads the history of a training with xarray and h5py: check_history.py HISTORY, as written by tests/program/plot_training.rs."""

import json
import sys

import h5py
import numpy as np
import xarray as xr

path = sys.argv[1]
for engine in ["h5netcdf", "netcdf4"]:
    with xr.open_dataset(path, engine=engine) as run:
        assert run.loss.dims == ("record",) and run.sizes["record"] == 50
        assert run.images.dtype == np.int64 and (run.images == 16 * np.arange(1, 51)).all()
        assert run.seconds.attrs["units"] == "s" and run.loss.attrs["long_name"] == "training loss"
        assert np.isnan(run.loss[3]) and run.loss[0] == 1.0
        assert run.attrs["title"] == "" and run.attrs["gfe_history_version"] == "1"
        assert json.loads(run.attrs["settings"]) == {"seed": 2**64 - 1, "learning_rate": 5e-4}
    with xr.open_dataset(path, group="validation", engine=engine) as validation:
        assert validation.validation_loss.dims == ("record",)
        assert (validation.validation_loss == 0.5).all() and validation.sizes["record"] == 2
with h5py.File(path) as file:
    assert file["loss"].dims[0].keys() == ["record"]
    assert file["validation/validation_loss"].dims[0][0] == file["validation/record"]
