"""Reads exported problems and a work-precision file with xarray: check_studies.py PROBLEMS WORK_PRECISION."""

import sys

import h5py
import numpy as np
import xarray as xr

problems, work = sys.argv[1:]
with h5py.File(problems) as file:
    names = [name for name, item in file.items() if isinstance(item, h5py.Group)]
assert len(names) >= 12 and "robertson" in names, names
for name in names:
    with xr.open_dataset(problems, group=name) as problem:
        assert problem.z.dims == ("t", "component")
        assert np.isfinite(problem.z.values).all() and (np.diff(problem.t) > 0).all()
        assert problem.t[-1] == problem.attrs["t_end"]
        assert problem.eigenvalues_real.dims == ("t", "component")
        if "published" in problem:
            size = np.abs(problem.z).max("t")
            assert (np.abs(problem.z[-1] - problem.published) / size).max() < 1e-11, name
with xr.open_dataset(problems, group="quadratic-1e4") as quadratic:
    rates = 10.0 ** -np.arange(5)
    assert np.allclose(quadratic.z, 1 - np.exp(-rates * quadratic.t.values[:, None]), rtol=1e-12, atol=1e-14)
    assert np.allclose(-quadratic.eigenvalues_real[0], rates, rtol=1e-12) and (quadratic.minimizer == 1).all()
with xr.open_dataset(work, group="runs") as runs:
    frame = runs.to_dataframe()
assert set(frame.solver) == {"ptc", "tsit5", "bdf"} and set(frame.problem) == {"mlp", "robertson"}
assert (frame.status.isin(["converged", "horizon_reached"])).all()
assert not ((frame.problem == "robertson") & (frame.solver != "bdf")).any()
assert (frame.error < 100 * frame.tolerance).all() and (frame.evaluations > 0).all() and (frame.cpu_seconds > 0).all()
for (_, _), part in frame.groupby(["problem", "solver"]):
    assert part.sort_values("tolerance").error.is_monotonic_increasing, part
with xr.open_dataset(work, group="profile_trajectory_evaluations") as profile:
    assert ((profile.fraction > 0) & (profile.fraction <= 1) & (profile.ratio >= 1)).all()
