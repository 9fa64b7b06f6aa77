"""Simulated spectra of three blended lines, with truth. Run: python simulate.py OUT.h5 [N] [SEED]; needs numpy, scipy, h5py."""

import sys

import numpy as np
from scipy.special import voigt_profile

CONFIG = {
    "grid": {"first": 640.0, "last": 690.0, "count": 501},
    "unit": "nm",
    "lines": 3,
    "center": {"lower": 645.0, "upper": 670.0},
    "amplitude": {"default": 1.0, "scale": 1.0},
    "sigma": {"default": 0.5, "scale": 0.25},
    "gamma": {"default": 0.1, "scale": 0.2},
    "continuum": {"degree": 1, "default": 1.0, "scale": 0.3},
}
P = {"sep": (1.5, 4.0), "snr": (20, 1000)}


def simulate(n, seed, P=P, CONFIG=CONFIG):
    rng = np.random.default_rng(seed)
    grid = CONFIG["grid"]
    lam = np.linspace(grid["first"], grid["last"], grid["count"])
    z = rng.uniform(0.0, 0.02, n)
    res = rng.uniform(0.1, 0.3, n)
    K = 3
    amp = CONFIG["amplitude"]["default"] * np.exp(rng.uniform(-0.8, 0.8, (n, K)))
    sig = CONFIG["sigma"]["default"] * np.exp(CONFIG["sigma"]["scale"] * rng.normal(size=(n, K)).clip(-2, 2))
    gam = CONFIG["gamma"]["default"] * np.exp(CONFIG["gamma"]["scale"] * rng.normal(size=(n, K)).clip(-2, 2))
    if CONFIG["gamma"].get("free", "each") == "shared":
        gam[:] = gam[:, :1]
    if CONFIG["gamma"].get("free", "each") == "none":
        gam[:] = CONFIG["gamma"]["default"]
    if CONFIG["sigma"].get("free", "each") == "shared":
        sig[:] = sig[:, :1]
    a = (1 + z)[:, None]
    total = np.sqrt((sig * a) ** 2 + res[:, None] ** 2)
    sep = rng.uniform(*P["sep"], (n, K - 1)) * 0.5 * (total[:, 1:] + total[:, :-1]) / a
    first = rng.uniform(650.0, 662.0, n)
    cen = first[:, None] + np.concatenate([np.zeros((n, 1)), np.cumsum(sep, 1)], 1)
    order = rng.permuted(np.tile(np.arange(K), (n, 1)), axis=1)
    cont = np.stack([rng.normal(1.0, 0.1, n), rng.normal(0, 0.1, n)], 1)
    t = 2 * (lam - lam[0]) / (lam[-1] - lam[0]) - 1
    clean = cont[:, :1] + cont[:, 1:] * t
    lines = sum(amp[:, k, None] * voigt_profile(lam - cen[:, k, None] * a, total[:, k, None], gam[:, k, None] * a) for k in range(K))
    clean = clean + lines
    snr = np.exp(rng.uniform(*np.log(P["snr"]), n))
    ref = lines.max(1)
    sigma = (ref / snr)[:, None] + 0 * lam
    y = clean + sigma * rng.normal(size=clean.shape)
    cols, names = [], []
    for k in range(K):
        for nm, v in (("amplitude", amp), ("center", cen), ("sigma", sig), ("gamma", gam)):
            f = CONFIG.get(nm, {}).get("free", "each")
            if f == "each":
                cols.append(v[:, k]); names.append(f"{nm}_{k+1}")
    for nm, v in (("sigma", sig), ("gamma", gam)):
        if CONFIG[nm].get("free", "each") == "shared":
            cols.append(v[:, 0]); names.append(nm)
    cols += [cont[:, 0], cont[:, 1]]; names += ["continuum_0", "continuum_1"]
    return dict(lam=lam, y=y, sigma=sigma, clean=clean, context=np.stack([z, res], 1), truth=np.stack(cols, 1), names=names, snr=snr, sep=sep)
