"""Checks error bars against numpy: Hessians by differences of an independent decoder, covariances by inverses.

Run: python check_uncertainty.py MODEL.safetensors ENCODED.h5 INPUT.h5 DATASET [SIGMA]; a dense decoder of values with tanh between its
layers. With SIGMA, a dataset beside the other (inf where a value is missing), the loss is gaussian; without it is mse, with the errors of
the model file.
"""

import json
import sys

import h5py
import numpy as np
from safetensors import safe_open

TAU, STEP = 1e4, 1e-4


def decoder(path):
    with safe_open(path, "np") as file:
        metadata = json.loads(file.metadata()["gfe.decoder"])
        scale = json.loads(file.metadata()["gfe.training"])["scale"]
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    assert metadata["activation"] == "tanh" and metadata["output"] == "values", metadata
    names = sorted((name for name in tensors if name.endswith("weight") and not name.startswith("gfe.")), key=lambda n: int(n.split(".")[-2]))
    layers = [(tensors[name], tensors[name.replace("weight", "bias")]) for name in names]

    def decode(z):
        for i, (weight, bias) in enumerate(layers):
            z = z @ weight.T + bias
            if i + 1 < len(layers):
                z = np.tanh(z)
        return z

    return decode, scale, tensors.get("gfe.noise")


def differences(function, z):
    """Central differences of the fourth order along each latent: [d, ...]."""
    steps = STEP * np.eye(len(z))
    return np.stack([(8.0 * (function(z + s) - function(z - s)) - (function(z + 2 * s) - function(z - 2 * s))) / (12.0 * STEP) for s in steps])


def close(name, found, expected, tolerance):
    error = np.max(np.abs(found - expected)) / np.max(np.abs(expected))
    assert error < tolerance, f"{name}: {found}, not {expected}"
    return error


def main(model, encoded, data, dataset, sigma=None):
    decode, scale, noise = decoder(model)
    with h5py.File(encoded) as file:
        rows = file["sample"][:]
        out = {name: file[name][:] for name in ("z", "z_std", "z_cov", "h_min", "h_max", "dof", "chi2", "n_valid", "status")}
    with h5py.File(data) as file:
        y = file[dataset][:].reshape(file[dataset].shape[0], -1)[rows] * scale
        errors = file[sigma][:][rows] * scale if sigma else None
    worst = 0.0
    for b in range(len(rows)):
        z, values = out["z"][b], y.shape[1]
        variance = errors[b] ** 2 if sigma else noise ** 2
        w = 1.0 / variance if sigma else np.ones(values)
        half = 0.5 if sigma else 1.0
        loss_slopes = lambda z: 2.0 * half * w * (decode(z) - y[b]) / values
        slope = lambda z: differences(decode, z) @ loss_slopes(z)
        h = differences(slope, z)
        h = 0.5 * (h + h.T)
        mu = np.linalg.eigvalsh(h)
        a = np.linalg.inv(h + np.eye(len(z)) / TAU)
        if sigma:
            covariance = a / values
        else:
            j, second = differences(decode, z), 2.0 / values
            spread = second**2 * (j * variance) @ j.T + second * variance.mean() / TAU * np.eye(len(z))
            covariance = a @ spread @ a
        valid = np.isfinite(variance)
        assert out["n_valid"][b] == valid.sum()
        # Differences of differences are good to some 1e-8 of the largest eigenvalue, of which the smallest is 1e-2 or more.
        worst = max(
            worst,
            close("h_max", out["h_max"][b], mu[-1], 1e-6),
            close("h_min", out["h_min"][b], mu[0], 1e-4),
            close("dof", out["dof"][b], np.trace(h @ a), 1e-6),
            close("z_cov", out["z_cov"][b], covariance, 1e-4),
            close("z_std", out["z_std"][b], np.sqrt(np.diag(covariance)), 1e-4),
            close("chi2", out["chi2"][b], (((y[b] - decode(z)) ** 2 / variance)[valid]).sum(), 1e-9),
        )
    print(f"{len(rows)} rows: within {worst:.1e}")


if __name__ == "__main__":
    if not 5 <= len(sys.argv) <= 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
