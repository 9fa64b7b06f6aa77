"""Opens an encoded file with what scientists read such files with: check_readers.py FILE FIRST ROWS

xarray with both engines, h5netcdf, netCDF4, nexusformat, and h5dump of HDF5 1.10, which knows no newer format."""

import re
import subprocess
import sys

import h5netcdf
import h5py
import netCDF4
import nexusformat.nexus as nexus
import numpy as np
import xarray as xr

path, first, rows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with h5py.File(path) as file:
    z, loss, status = file["z"][:], file["loss"][:], file["status"][:]
    names = set(file) - {"entry", "timing"}
assert z.shape[0] == rows

for engine in ("h5netcdf", "netcdf4"):
    with xr.open_dataset(path, engine=engine) as data:
        assert data.sizes["sample"] == rows and list(data.sample.values) == list(range(first, first + rows))
        for row in (0, rows // 2, rows - 1):
            assert data.loss.sel(sample=first + row).item() == loss[row]
            assert np.array_equal(data.z.sel(sample=first + row).values, z[row])
        assert set(data.variables) >= names, names - set(data.variables)
        # Arithmetic and selection by another variable, as in a notebook.
        assert (data.loss.where(data.status <= 1, drop=True).sizes["sample"]) == (status <= 1).sum()

with h5netcdf.File(path, "r") as file:
    assert file.dimensions["sample"].size == rows and file.variables["z"].dimensions == ("sample", "latent")
    assert np.array_equal(file.variables["loss"][:], loss)

with netCDF4.Dataset(path) as file:
    assert file.dimensions["sample"].size == rows and file.variables["reconstruction"].dimensions[0] == "sample"
    assert np.array_equal(file.variables["loss"][:].filled(np.nan), loss, equal_nan=True)

root = nexus.nxload(path)
# By the chain of attributes `default`, as every NeXus viewer finds it.
entry = root[root.attrs["default"]]
plot = entry[entry.attrs["default"]]
assert isinstance(root, nexus.NXroot) and isinstance(entry, nexus.NXentry) and isinstance(plot, nexus.NXdata)
assert plot.nxsignal is not None and plot.nxsignal.shape[0] == rows, plot.nxsignal
assert root.plottable_data is not None and root.plottable_data.nxsignal.shape == plot.nxsignal.shape
for data in entry.NXdata:
    assert data.nxsignal is not None and len(data.nxaxes) == data.nxsignal.ndim, data.nxpath
    for axis, length in zip(data.nxaxes, data.nxsignal.shape):
        assert axis.shape == (length,), (data.nxpath, axis.nxname, axis.shape, length)
assert entry.NXprocess, "how the file came about"

version = subprocess.run(["h5dump", "--version"], capture_output=True, text=True, check=True).stdout
assert re.search(r"Version 1\.10\.", version), f"h5dump of HDF5 1.10 is needed, not {version}: see `make setup`"
header = subprocess.run(["h5dump", "-H", path], capture_output=True, text=True)
assert header.returncode == 0 and not header.stderr, header.stderr
assert all(f'DATASET "{name}"' in header.stdout for name in names)
whole = subprocess.run(["h5dump", path], capture_output=True, text=True)
assert whole.returncode == 0 and not whole.stderr, whole.stderr
dumped = subprocess.run(["h5dump", "-d", "/loss", "-y", "-w", "1", "-m", "%.17g", path], capture_output=True, text=True, check=True).stdout
values = [float(text) for text in re.search(r"DATA \{(.*?)\}", dumped, re.S).group(1).replace(",", " ").split()]
assert values == list(loss), "h5dump reads what h5py reads"
