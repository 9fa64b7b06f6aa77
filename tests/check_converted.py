"""A converted file opens in xarray with both engines: shape, dimensions and type of `data`."""

import sys

import xarray

path, shape, dims, dtype = sys.argv[1:]
for engine in ("h5netcdf", "netcdf4"):
    with xarray.open_dataset(path, engine=engine) as data:
        values = data["data"]
        assert values.shape == tuple(map(int, shape.split(","))), values.shape
        assert values.dims == tuple(dims.split(",")), values.dims
        assert values.dtype == dtype, values.dtype
