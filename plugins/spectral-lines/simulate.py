"""Simulates spectra of three blended emission lines, with the truth beside them, for config.json of this folder.

Run: python simulate.py OUT.h5 [N] [SEED]; needs numpy, scipy and h5py. The profiles are scipy's, not the plugin's.

A spectrum has a linear continuum near 1 and three lines, numbered in no order. Neighbors are 2.5 to 4 standard deviations
apart, the deviation that of the Gaussian as observed (Doppler width and instrument in quadrature, the mean of the two); two
equal Gaussians closer than 2 have a single maximum. The noise is Gaussian with a known deviation that grows as the root of
the flux, as counted photons have it; the signal-to-noise ratio is that of the continuum in a pixel.
"""

import json
import pathlib
import sys

import h5py
import numpy as np
from scipy.special import voigt_profile

CONFIG = json.loads((pathlib.Path(__file__).parent / "config.json").read_text())

REDSHIFT = (0.0, 0.02)
RESOLUTION = (0.1, 0.3)
SIGNAL_TO_NOISE = (20.0, 1000.0)
SEPARATION = (2.5, 4.0)
LOG_AMPLITUDE = 0.7
FIRST_CENTER = (650.0, 662.0)


def simulate(n, seed):
    rng = np.random.default_rng(seed)
    grid, lines = CONFIG["grid"], CONFIG["lines"]
    wavelength = np.linspace(grid["first"], grid["last"], grid["count"])
    redshift, resolution = rng.uniform(*REDSHIFT, n), rng.uniform(*RESOLUTION, n)
    stretch = 1.0 + redshift[:, None]

    amplitude = CONFIG["amplitude"]["default"] * np.exp(rng.uniform(-LOG_AMPLITUDE, LOG_AMPLITUDE, (n, lines)))
    sigma, gamma = (CONFIG[name]["default"] * np.exp(CONFIG[name]["scale"] * rng.normal(size=(n, lines)).clip(-2.0, 2.0))
                    for name in ("sigma", "gamma"))
    observed = np.hypot(sigma * stretch, resolution[:, None])
    gaps = rng.uniform(*SEPARATION, (n, lines - 1)) * 0.5 * (observed[:, 1:] + observed[:, :-1]) / stretch
    center = rng.uniform(*FIRST_CENTER, (n, 1)) + np.concatenate([np.zeros((n, 1)), np.cumsum(gaps, 1)], 1)
    continuum = np.stack([rng.normal(1.0, 0.1, n), rng.normal(0.0, 0.1, n)], 1)

    t = 2.0 * (wavelength - wavelength[0]) / (wavelength[-1] - wavelength[0]) - 1.0
    clean = continuum[:, :1] + continuum[:, 1:] * t
    for k in range(lines):
        clean += amplitude[:, [k]] * voigt_profile(
            wavelength - center[:, [k]] * stretch, observed[:, [k]], gamma[:, [k]] * stretch)
    ratio = np.exp(rng.uniform(*np.log(SIGNAL_TO_NOISE), n))
    noise = np.sqrt(clean * continuum[:, :1]) / ratio[:, None]
    flux = clean + noise * rng.normal(size=clean.shape)

    order = rng.permuted(np.tile(np.arange(lines), (n, 1)), axis=1)
    parameters = [np.take_along_axis(a, order, axis=1) for a in (amplitude, center, sigma, gamma)]
    truth = np.concatenate([np.stack(parameters, axis=2).reshape(n, -1), continuum], axis=1)
    names = [f"{name}_{k + 1}" for k in range(lines) for name in ("amplitude", "center", "sigma", "gamma")]
    return {"wavelength": wavelength, "flux": flux, "sigma": noise, "redshift": redshift, "resolution": resolution,
            "chi2_truth": (((flux - clean) / noise) ** 2).sum(1), "truth": truth, "names": names + ["continuum_0", "continuum_1"], "signal_to_noise": ratio}


def write(path, spectra):
    with h5py.File(path, "w") as file:
        wavelength = file.create_dataset("wavelength", data=spectra["wavelength"])
        wavelength.attrs["units"] = CONFIG["unit"]
        wavelength.make_scale("wavelength")
        for name in ("flux", "sigma"):
            file[name] = spectra[name]
            file[name].dims[1].attach_scale(wavelength)
        for name in ("redshift", "resolution", "truth", "chi2_truth", "signal_to_noise"):
            file[name] = spectra[name]
        file["resolution"].attrs["units"] = CONFIG["unit"]
        file["truth"].attrs["names"] = spectra["names"]


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    count, seed = (int(argument) for argument in (sys.argv[2:] + ["1000", "1"][len(sys.argv) - 2:]))
    write(sys.argv[1], simulate(count, seed))
