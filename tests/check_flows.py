"""Compares codes and traces of gfe's integrators with SciPy's LSODA: check_flows.py DIGITS MODEL KIND FILE ...

KIND is `gradient` (to t = 1e4, with traces) or `nesterov` (to t = 1e3). The flow is written out here with numpy.
"""

import sys

import h5py
import numpy as np
import xarray as xr
from safetensors.numpy import load_file
from scipy.integrate import solve_ivp

data, model, kind, *files = sys.argv[1:]
weights = load_file(model)
layers = [(weights[f"decoder.{i}.weight"].astype(float), weights[f"decoder.{i}.bias"].astype(float)) for i in (0, 2, 4, 6)]
count, latent = 10, 20
with h5py.File(data) as file:
    digits = file["images"][:count].reshape(count, 784).astype(float)


def gradient(z, y):
    h, slopes = z, []
    for i, (w, b) in enumerate(layers):
        a = w @ h + b
        slopes.append(np.where(a > 0, 1.0, np.exp(np.minimum(a, 0))) if i < 3 else np.ones_like(a))
        h = np.where(a > 0, a, np.expm1(np.minimum(a, 0))) if i < 3 else a
    bar = (1 / (1 + np.exp(-h)) - y) / 784
    for (w, _), slope in zip(reversed(layers), reversed(slopes)):
        bar = (bar * slope) @ w
    return bar


def first_order(t, z, y):
    return -gradient(z, y)


def second_order(t, state, y):
    z, m = state[:latent], state[latent:]
    g = gradient(z, y)
    # The limit at t = 0, where m = 0: m grows like -g t / 4.
    return np.concatenate([m, -g / 4 if t == 0 else -3 / t * m - g])


def reference(y, times):
    flow, start = (first_order, latent) if kind == "gradient" else (second_order, 2 * latent)
    solved = solve_ivp(flow, (0, times[-1]), np.zeros(start), "LSODA", t_eval=times, args=(y,), rtol=1e-9, atol=1e-12)
    assert solved.success, solved.message
    return solved.y[:latent].T


times = np.array([0, 10, 100, 1e3, 1e4]) if kind == "gradient" else np.array([0, 1e3])
wanted = np.array([reference(y, times) for y in digits])
for path in files:
    with xr.open_dataset(path) as encoded:
        assert (encoded.status == 1).all(), encoded.status.values
        apart = np.linalg.norm(encoded.z.values - wanted[:, -1], axis=1) / np.linalg.norm(wanted[:, -1], axis=1)
        print(f"{path}: {apart.max():.1e}")
        assert apart.max() <= 1e-5, apart
        if "trace_z" in encoded:
            assert (encoded.trace_row_size == len(times)).all()
            trace = encoded.trace_z.values.reshape(count, len(times), latent)
            assert (encoded.trace_t.values.reshape(count, -1) == times).all()
            # Between steps by each method's own interpolant.
            off = np.linalg.norm(trace - wanted, axis=2) / np.linalg.norm(wanted[:, -1], axis=1)[:, None]
            print(f"  on the way {off.max():.1e}")
            assert off.max() <= 1e-5, off
