"""Compares a loss of `gfe evaluate` with that of principal components by numpy: check_pca.py FILE SPLIT LATENT LOSS."""

import sys

import h5py
import numpy

path, split, latent, loss = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
images = h5py.File(path)["images"][:].reshape(-1, 64) / 16.0
train, test = images[:split], images[split:]
mean = train.mean(axis=0)
directions = numpy.linalg.svd(train - mean, full_matrices=False)[2][:latent]
left = (test - mean) - (test - mean) @ directions.T @ directions
expected = (left**2).mean()
assert abs(loss - expected) < 1e-9 * expected, f"{loss}, but numpy has {expected}"
