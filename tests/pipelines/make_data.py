"""Makes data.h5 in FOLDER: ROWS digits, of which 1% have a NaN, 1% a value out of the loss's range, and 1% are constant."""

import sys

import h5py
import numpy as np

folder, digits, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
with h5py.File(digits) as file:
    images = np.resize(file["images"][:], (rows, 28, 28)).astype("f4")
images[13::100, 5, 5] = np.nan
images[47::100, 9, 9] = 1.5
images[71::100] = 0.25
with h5py.File(f"{folder}/data.h5", "w") as file:
    file.create_dataset("images", data=images, chunks=(10, 28, 28))
