"""An input with attributes of every kind, and what has to come over to an encoding and to a copy of it.

usage: check_provenance.py make DATA | check ENCODED CONVERTED | change FILE DATASET INDEX BY
"""

import datetime
import sys

import h5py
import numpy as np
import xarray


def make(path):
    rng = np.random.default_rng(3)
    with h5py.File(path, "w") as file:
        file.attrs["title"] = "a survey"
        file.attrs["source"] = np.bytes_(b"telescope 7")
        file.attrs["huge"] = "x" * 60000
        group = file.create_group("group")
        flux = rng.uniform(0.0, 16.0, (20, 64))
        flux[11, 5] = np.nan
        flux = group.create_dataset("flux", data=flux)
        group["error"] = np.full((20, 64), 0.5)
        wavelength = group.create_dataset("wavelength", data=np.linspace(400.0, 700.0, 64))
        wavelength.make_scale("wavelength")
        wavelength.attrs["units"] = "nm"
        wavelength.attrs["frame"] = "rest"
        flux.dims[1].attach_scale(wavelength)
        flux.attrs["units"] = "erg/s"
        flux.attrs["valid_range"] = np.array([0.0, 16.0], "f4")
        flux.attrs["reference"] = wavelength.ref
        flux.attrs["region"] = np.array([wavelength.ref, flux.ref], dtype=h5py.ref_dtype)
        flux.attrs["lists"] = np.array([np.arange(3), np.arange(4)], dtype=object).astype(h5py.vlen_dtype(np.int32))
        flux.attrs["many"] = np.arange(5000.0)
        flux.attrs["grid"] = np.zeros((2, 2))
        flux.attrs["nothing"] = h5py.Empty("f8")
        flux.attrs["record"] = np.zeros((), [("a", "i4"), ("b", "f8")])
        flux.attrs["flag"] = True
        redshift = group.create_dataset("redshift", data=np.linspace(0.0, 1.0, 20).astype("f4"))
        redshift.attrs["long_name"] = "redshift of the host"
        redshift.attrs["units"] = "1"
        redshift.attrs["_FillValue"] = np.float32(-1.0)
        redshift.attrs["coordinates"] = "ra dec"
        redshift.attrs["huge"] = "y" * 5000
        name = group.create_dataset("name", data=[f"object {i}" for i in range(20)])
        name.attrs["comment"] = "Namen, auch größere"


def check(encoded, converted):
    with h5py.File(encoded) as file:
        assert file["reconstruction"].attrs["units"] == "erg/s"
        assert set(file["reconstruction"].attrs) == {"long_name", "units", "DIMENSION_LIST"}, set(file["reconstruction"].attrs)
        assert file["wavelength"].attrs["units"] == "nm" and file["wavelength"].attrs["frame"] == "rest"
        assert np.array_equal(file["wavelength"][:], np.linspace(400.0, 700.0, 64))
        redshift = file["redshift"]
        assert set(redshift.attrs) == {"long_name", "units", "_FillValue", "DIMENSION_LIST"}, set(redshift.attrs)
        assert redshift.attrs["_FillValue"].dtype == redshift.dtype == np.float32
        assert file["name"].attrs["comment"] == "Namen, auch größere"
        process = file["entry/process"]
        assert process["program"][()] == b"gfe" and process["version"][()].count(b".") == 2
        date = datetime.datetime.fromisoformat(process["date"][()].decode().replace("Z", "+00:00"))
        assert abs(datetime.datetime.now(datetime.timezone.utc) - date) < datetime.timedelta(hours=1)
        assert "huge" not in process["input/data"][()].decode()
    for engine in ("h5netcdf", "netcdf4"):
        with xarray.open_dataset(encoded, engine=engine) as data:
            assert data.wavelength.attrs["units"] == "nm"
            assert data.redshift.attrs["long_name"] == "redshift of the host"
            assert np.allclose(data.redshift, np.linspace(0.0, 1.0, 20), atol=1e-7)
            data.load()
    with h5py.File(converted) as file:
        assert file["data"].attrs["units"] == "erg/s" and file["wavelength"].attrs["units"] == "nm"
        assert file["data"].attrs["valid_range"].dtype == np.float32
        assert "many" not in file["data"].attrs and "reference" not in file["data"].attrs
    with xarray.open_dataset(converted) as data:
        data.load()


def change(path, dataset, at, by):
    with h5py.File(path, "r+") as file:
        values = file[dataset][:]
        values.flat[int(at)] = float(values.flat[int(at)]) + float(by)
        file[dataset][:] = values


{"make": make, "check": check, "change": change}[sys.argv[1]](*sys.argv[2:])
