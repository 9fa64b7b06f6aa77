"""Writes digits.h5: the UCI optical digits, from the copy that comes with scikit-learn.

    python3 -m venv ENV && ENV/bin/pip install scikit-learn==1.9.1 h5py==3.16.0
    ENV/bin/python datasets/digits.py datasets/digits.h5
"""

import sys

import h5py
import numpy as np
from sklearn.datasets import load_digits

SOURCE = "Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (its test part, 1797 images), as in scikit-learn"
LICENSE = "CC BY 4.0"
CITATION = (
    "Alpaydin, E. & Kaynak, C. (1998). Optical Recognition of Handwritten Digits. "
    "UCI Machine Learning Repository. https://doi.org/10.24432/C50P49"
)


def main(path):
    digits = load_digits()
    images = digits.images.astype(np.uint8)
    if images.shape != (1797, 8, 8) or images.max() != 16 or not np.array_equal(images, digits.images):
        raise SystemExit(f"expected 1797 images of 8 x 8 whole numbers from 0 to 16, found {images.shape}")
    with h5py.File(path, "w", libver=("earliest", "v110")) as file:
        file.attrs["source"] = SOURCE
        file.attrs["license"] = LICENSE
        file.attrs["citation"] = CITATION
        for name, length in zip(("sample", "y", "x"), images.shape):
            file.create_dataset(name, data=np.arange(length, dtype=np.int32)).make_scale(name)
        for name, data, dims in (
            ("images", images, ("sample", "y", "x")),
            ("labels", digits.target.astype(np.uint8), ("sample",)),
        ):
            dataset = file.create_dataset(name, data=data, compression="gzip", compression_opts=9, shuffle=True)
            for axis, dim in enumerate(dims):
                dataset.dims[axis].attach_scale(file[dim])
        file["images"].attrs["long_name"] = "ink in each cell of an 8 x 8 grid, 0 to 16"
        file["labels"].attrs["long_name"] = "the digit written"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: digits.py OUT.h5")
    main(sys.argv[1])
