"""Makes inputs with h5py, and checks outputs with xarray, h5py and netCDF4: check_layout.py TASK FILE ..."""

import hashlib
import json
import sys

import h5py
import netCDF4
import numpy as np
import xarray as xr
from safetensors.numpy import load_file, save_file

task, path, *rest = sys.argv[1:]


def digits():
    with h5py.File(rest[0]) as file:
        return file["images"][:]


def make():
    """Images with a name and a label each, and coordinates on one axis."""
    images = digits()[:60].reshape(-1, 28, 28)
    with h5py.File(path, "w") as file:
        file["images"] = images
        file["labels"] = np.arange(60, dtype="i2") - 5
        file["name"] = [f"object {i} \N{GREEK SMALL LETTER MU}" for i in range(60)]
        file["wavelength"] = np.linspace(380.5, 750.25, 28)
        file["wavelength"].make_scale("wavelength")
        file["images"].dims[2].attach_scale(file["wavelength"])


def check():
    for engine in ("h5netcdf", "netcdf4"):
        with xr.open_dataset(path, engine=engine) as encoded:
            assert encoded.z.dims == ("sample", "latent"), encoded.z.dims
            assert encoded.z0.shape == (60, 20) and encoded.z0.min() >= 0 and encoded.z0.max() < 1
            assert encoded.reconstruction.dims == ("sample", "feature_0", "wavelength")
            assert np.allclose(encoded.wavelength, np.linspace(380.5, 750.25, 28))
            assert encoded.loss.dims == ("sample",) and "labels" in encoded.loss.coords
            assert (encoded.labels.values == np.arange(60) - 5).all() and encoded.labels.dtype == np.int16
            assert encoded.name.values[7] == "object 7 \N{GREEK SMALL LETTER MU}"
            sizes = encoded.trace_row_size.values
            assert (sizes == encoded.steps.values).all() and encoded.trace_row_size.sample_dimension == "obs"
            ends = np.cumsum(sizes)
            assert encoded.sizes["obs"] == ends[-1]
            assert np.array_equal(encoded.trace_loss.values[ends - 1], encoded.loss.values)
            assert np.array_equal(encoded.trace_t.values[ends - 1], encoded.t.values)
            assert (encoded.n_valid == 784).all() and np.isnan(encoded.chi2).all()
            assert (encoded.status == 0).all()
            mean, data = encoded.reconstruction.values, digits()[:60].reshape(-1, 28, 28)
            # The loss of what was written, in single precision, is the loss that was written.
            again = -np.mean(data * np.log(mean + 1e-30) + (1 - data) * np.log(1 - mean + 1e-30), axis=(1, 2))
            assert np.abs(again - encoded.loss).max() < 1e-4
    with netCDF4.Dataset(path) as file:
        assert file.dimensions["obs"].isunlimited() and file.variables["z"].dimensions == ("sample", "latent")
    with h5py.File(path) as file:
        assert file.attrs["gfe_layout_version"] == "1.0" and file.attrs["gfe_state"] == "complete"
        assert file["reconstruction"].compression == "gzip" and file["reconstruction"].fletcher32
        meanings = dict(zip(file["status"].attrs["flag_values"], file["status"].attrs["flag_meanings"].split()))
        assert meanings[0] == "converged" and meanings[8] == "bad_input"
        notes = {name: json.loads(note["data"][()]) for name, note in file["entry/process"].items() if isinstance(note, h5py.Group)}
        assert set(notes) == {"config", "input", "decoder", "environment", "layout", "messages"}, notes
        hashes = file["entry/process/row_sha256"][:]
        assert hashlib.sha256(hashes.tobytes()).hexdigest() == notes["input"]["rows_sha256"]
        assert notes["config"]["z0"] == "uniform" and notes["config"]["z0_seed"] == 4
        assert notes["input"]["shape"] == [28, 28] and len(notes["input"]["rows_sha256"]) == 64
        assert np.array_equal(file["entry/latent_plot/z"][:], file["z"][:])


def damage():
    """A NaN, an infinity and a value outside [0, 1], each in a row of its own."""
    images = digits().reshape(200, 784).astype("f8")
    images[3, 100], images[7, 0], images[50, 783] = np.nan, np.inf, 1.5
    with h5py.File(path, "w") as file:
        file["images"] = images.reshape(200, 28, 28)


def types():
    """The same zeros and ones in every type, rank and storage."""
    images = np.round(digits()[:4]).reshape(4, 784)
    kinds = {"f2": "f2", "f4": "f4", "f8": "f8", "big_f8": ">f8", "i1": "i1", "i2": "i2", "u1": "u1"}
    kinds |= {"big_u4": ">u4", "i8": "i8", "u8": "u8"}
    with h5py.File(path, "w") as file:
        for name, kind in kinds.items():
            file[name] = images.astype(kind)
        file["rank4"] = images.reshape(4, 2, 14, 28)
        file.create_dataset("gzip", data=images, chunks=(3, 100), compression="gzip", shuffle=True)


def empty():
    with h5py.File(path, "w") as file:
        file.create_dataset("images", (0, 28, 28), "f4")


def check_empty():
    for engine in ("h5netcdf", "netcdf4"):
        with xr.open_dataset(path, engine=engine) as encoded:
            assert encoded.z.shape == (0, 20) and encoded.reconstruction.shape == (0, 28, 28)
            assert encoded.sizes["obs"] == 0


def model():
    source, change = rest
    tensors, metadata = load_file(source), {}
    with open(source, "rb") as file:
        metadata = json.loads(file.read(int.from_bytes(file.read(8), "little")))["__metadata__"]
    if change == "shape":
        tensors["decoder.0.weight"] = np.ascontiguousarray(tensors["decoder.0.weight"][:, :10])
    elif change == "missing":
        tensors["other"] = tensors.pop("decoder.0.weight")
    else:
        metadata = {}
    save_file(tensors, path, metadata=metadata)


{
    "make": make,
    "check": check,
    "damage": damage,
    "types": types,
    "empty": empty,
    "check-empty": check_empty,
    "model": model,
}[task]()
