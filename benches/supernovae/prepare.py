"""Clips the flux of the supernova spectra, and adds the halves of the bins by which codes are compared: prepare.py IN OUT."""

import sys

import h5py
import numpy as np

LIMIT = 10.0
# Bins of the first half and of the second in turn: single ones, and blocks.
WIDTHS = [1, 8, 32]

source, target = sys.argv[1:]
with h5py.File(source) as file, h5py.File(target, "w") as out:
    out.attrs.update(file.attrs)
    for name in ("sample", "wavelength", "object", "type", "subtype", "age"):
        file.copy(name, out)
    flux, seen = file["flux"][:], file["mask"][:]
    out.create_dataset("flux", data=np.clip(flux, -LIMIT, LIMIT), compression="gzip", compression_opts=1, shuffle=True)
    # 1 where observed: a weight, where gfe's masks are 1 where nothing is.
    out.create_dataset("weight", data=seen, compression="gzip", compression_opts=1)
    for axis, name in enumerate(("sample", "wavelength")):
        out[name].make_scale(name)
        for dataset in ("flux", "weight"):
            out[dataset].dims[axis].attach_scale(out[name])
    bins = np.arange(flux.shape[1])
    for width in WIDTHS:
        for half in (0, 1):
            out[f"hide_{width}_{half}"] = ((bins // width) % 2 == half).astype("u1")
    counted, clipped = seen.sum(), (np.abs(flux) > LIMIT).sum()
    print(f"{target}: {len(flux)} spectra of {len(set(out['object'][:]))} objects, "
          f"{counted / flux.size:.1%} of the bins observed, {clipped} clipped, {(seen.sum(0) == 0).sum()} bins never observed")
