"""Compares encoded spectra with the truth that simulate.py left beside them.

Run: python judge.py LINES.h5 SPECTRA.h5. For every spectrum the lines are matched (the best of all permutations), and
(z - z_true)^T C^-1 (z - z_true) is held against the 99.7% quantile of chi-squared with d degrees of freedom, with C the
covariance in the output. Each of the others has to be visible without the truth, by a chi2 of p < 1e-3 or by more than one
minimum. Exits with 1 if fewer than 95% are within, or one of the others is silently wrong. Of the silent ones it is told where the
truth itself lies beyond the same quantile, by chi2(truth) - chi2(minimum): noise that no encoder can undo.
"""

import itertools
import json
import sys

import h5py
import numpy as np
from scipy.stats import chi2


def unbounded(latent, p):
    """The coordinate of the flow at the physical value p, as the plugin interface defines it."""
    default, scale = latent["default"], latent["scale"]
    lower, upper = float(latent["lower"]), float(latent["upper"])
    if latent["transform"] == "log":
        return np.log((p - lower) / (default - lower)) / scale
    if latent["transform"] == "logit":
        logit = lambda x: np.log((x - lower) / (upper - x))
        return (logit(p) - logit(default)) / scale
    return (p - default) / scale


def main(lines, spectra):
    with h5py.File(lines) as file:
        decoder = json.loads(file["entry/process/decoder/data"][()])
        z, cov, chi, valid, status, minima = (file[name][:] for name in ("z", "z_cov", "chi2", "n_valid", "status", "minima"))
        sample = file["sample"][:]
    with h5py.File(spectra) as file:
        truth, chi_truth = file["truth"][:][sample], file["chi2_truth"][:][sample]
    latents = decoder["latents"]
    u_true = np.stack([unbounded(latent, truth[:, r]) for r, latent in enumerate(latents)], 1)
    names = [latent["name"] for latent in latents]
    of_line = {}
    for r, name in enumerate(names):
        kind, _, number = name.rpartition("_")
        if kind != "continuum":
            of_line.setdefault(int(number), []).append(r)
    numbers = sorted(of_line)
    centers = {k: names.index(f"center_{k}") for k in numbers}

    limit = chi2.ppf(0.997, len(names))
    distance = np.full(len(z), np.inf)
    for i in range(len(z)):
        if status[i] not in (0, 1) or not np.isfinite(cov[i]).all():
            continue
        for order in itertools.permutations(numbers):
            moved = z[i].copy()
            shift = u_true[i].copy()
            for k, other in zip(numbers, order):
                for a, b in zip(of_line[k], of_line[other]):
                    # A logit center has a default of its own: the truth is taken over by its physical value.
                    shift[a] = unbounded(latents[a], truth[i, b])
            d = moved - shift
            distance[i] = min(distance[i], d @ np.linalg.solve(cov[i], d))
    within = distance <= limit
    p = chi2.sf(chi, valid - len(names))
    misfit, ambiguous = p < 1e-3, minima > 1
    noise = chi_truth - chi > limit
    silent = ~within & ~misfit & ~ambiguous
    print(f"{len(z)} spectra, {(status == 0).sum()} converged; {within.sum()} within the 99.7% region of {limit:.1f}")
    print(f"others: {(~within).sum()}, of which {(~within & misfit).sum()} misfit, {(~within & ~misfit & ambiguous).sum()} with "
          f"another minimum, {silent.sum()} silent "
          f"({(silent & noise).sum()} by their noise)")
    print(f"of those within: {(within & misfit).sum()} misfit, {(within & ambiguous).sum()} with another minimum")
    quantiles = [np.mean(distance <= chi2.ppf(q, len(names))) for q in (0.5, 0.9, 0.99)]
    print(f"within the 50%, 90% and 99% regions: {', '.join(f'{100 * q:.1f}%' for q in quantiles)}")
    for i in np.flatnonzero(~within):
        print(f"  row {sample[i]}: distance {distance[i]:.1f}, p {p[i]:.2g}, minima {minima[i]}, status {status[i]}")
    return int(silent.sum() > 0 or within.mean() < 0.95)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
