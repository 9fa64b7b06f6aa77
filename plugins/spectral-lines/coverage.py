"""Whether the error bars of lines are as long as they say, on spectra of known lines and known noise: config coverage.json of this folder.

Run: python coverage.py simulate OUT.h5 RATIO SPREAD [N] [SEED]
     python coverage.py judge LINES.h5 SPECTRA.h5 [check]

A latent of the truth is normal with mean 0 and standard deviation SPREAD in the coordinates of the flow: the prior for which a horizon
t_end = D SPREAD^2 stands, D the number of wavelengths. RATIO is the signal-to-noise ratio of the continuum in a pixel. The profiles are scipy's,
not the plugin's. The table row has the part of latents within one z_std, mean chi-squared of the truth by z_cov over its degrees of
freedom, the p of Kolmogorov and Smirnov for its distribution, the mean of dof, and of z_std over SPREAD. With `check` the exit code is 1
unless the first lies between 65% and 71% and p above 0.01. Needs numpy, scipy and h5py.
"""

import json
import pathlib
import sys

import h5py
import numpy as np
from scipy import stats
from scipy.special import expit, logit, voigt_profile

CONFIG = json.loads((pathlib.Path(__file__).parent / "coverage.json").read_text())
KINDS = ("amplitude", "center", "sigma", "gamma")


def physical(u):
    """Latents [n, 4 lines + 2] in their own units: [n, lines] for each kind, and the continuum."""
    lines = CONFIG["lines"]
    parts = u[:, : 4 * lines].reshape(len(u), lines, 4)
    told = {}
    for k, kind in enumerate(KINDS):
        own = CONFIG[kind]
        if kind == "center":
            width = own["upper"] - own["lower"]
            default = logit((np.array(own["default"]) - own["lower"]) / width)
            told[kind] = own["lower"] + width * expit(default + own["scale"] * parts[:, :, k])
        else:
            told[kind] = own["default"] * np.exp(own["scale"] * parts[:, :, k])
    own = CONFIG["continuum"]
    told["continuum"] = np.array([own["default"], 0.0]) + own["scale"] * u[:, 4 * lines :]
    return told


def simulate(path, ratio, spread, n="2000", seed="1"):
    rng, ratio, spread, n = np.random.default_rng(int(seed)), float(ratio), float(spread), int(n)
    grid = CONFIG["grid"]
    wavelength = np.linspace(grid["first"], grid["last"], grid["count"])
    redshift, resolution = rng.uniform(0.0, 0.02, n), rng.uniform(0.1, 0.3, n)
    stretch = 1.0 + redshift[:, None]
    u = spread * rng.normal(size=(n, 4 * CONFIG["lines"] + 2))
    truth = physical(u)
    t = 2.0 * (wavelength - wavelength[0]) / (wavelength[-1] - wavelength[0]) - 1.0
    clean = truth["continuum"][:, :1] + truth["continuum"][:, 1:] * t
    for k in range(CONFIG["lines"]):
        width = np.hypot(truth["sigma"][:, [k]] * stretch, resolution[:, None])
        apart = wavelength - truth["center"][:, [k]] * stretch
        clean += truth["amplitude"][:, [k]] * voigt_profile(apart, width, truth["gamma"][:, [k]] * stretch)
    sigma = np.sqrt(clean) / ratio
    with h5py.File(path, "w") as file:
        file["flux"], file["sigma"] = clean + sigma * rng.normal(size=clean.shape), sigma
        file["redshift"], file["resolution"], file["truth"] = redshift, resolution, u
        file["truth"].attrs.update(ratio=ratio, spread=spread)


def judge(codes, spectra, check=None):
    with h5py.File(codes) as file:
        z, std, cov, dof, status = (file[name][:] for name in ("z", "z_std", "z_cov", "dof", "status"))
        t_end = json.loads(file["entry/process/config/data"][()])["t_end"]
    with h5py.File(spectra) as file:
        truth, attributes = file["truth"][:], dict(file["truth"].attrs)
    lines = CONFIG["lines"]
    # Without a horizon lines may come in any order: both are sorted by their centers, and a center counts from its own default.
    order = np.argsort(physical(z)["center"], 1)
    columns = np.concatenate([(4 * order[:, :, None] + np.arange(4)).reshape(len(z), -1), np.tile([4 * lines, 4 * lines + 1], (len(z), 1))], 1)
    own = CONFIG["center"]
    default = logit((np.array(own["default"]) - own["lower"]) / (own["upper"] - own["lower"])) / own["scale"]
    apart = np.take_along_axis(z, columns, 1) - truth
    apart[:, 1 : 4 * lines : 4] += default[order] - default
    std = np.take_along_axis(std, columns, 1)
    cov = np.stack([c[np.ix_(i, i)] for c, i in zip(cov, columns)])
    found = (status <= 1) & np.isfinite(std).all(1)
    squares = np.einsum("bi,bi->b", apart, np.stack([np.linalg.solve(c, a) if good else a for c, a, good in zip(cov, apart, found)]))
    within = (np.abs(apart) <= std)[found].mean()
    p = stats.kstest(squares[found], stats.chi2(z.shape[1]).cdf).pvalue
    print(f"| {attributes['ratio']:g} | {t_end} | {found.sum()} of {len(z)} | {100 * within:.1f}% | "
          f"{squares[found].mean() / z.shape[1]:.3f} | {p:.2g} | {dof[found].mean():.2f} of {z.shape[1]} | "
          f"{std[found].mean() / attributes['spread']:.3f} |")
    return int(check == "check" and not (found.all() and 0.65 <= within <= 0.71 and p > 0.01))


if __name__ == "__main__":
    commands = {"simulate": (simulate, 3, 5), "judge": (judge, 2, 3)}
    command, least, most = commands.get(sys.argv[1] if len(sys.argv) > 1 else "", (None, 1, 0))
    if not least <= len(sys.argv) - 2 <= most:
        sys.exit(__doc__)
    sys.exit(command(*sys.argv[2:]))
