"""Encodes digits with every solver and prints what each costs and reaches, as a Markdown table: solvers.py GFE [ROWS]."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

gfe, rows = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "0..40"
model, digits = "tests/data/mnist_decoder.safetensors", "tests/data/mnist_test_200.h5"
# What each is for and promises, in a few words.
SOLVERS = [
    ("ptc", "", "the code: default", "the minimum of loss + \\|z - z0\\|²/(2 t_end), to edm_tol or gtol"),
    ("ptc", "--t-end inf", "the code, without a horizon", "a minimum of the loss"),
    ("ptc", "--hessian exact --edm-tol 0", "large residuals, last digits", "the same to gtol; quadratic at the end"),
    ("amd", "", "the authors' results", "the loss falls at every step, forced ones aside"),
    ("amd", "--flow nesterov --set restart=true", "decoders without Jacobian-vector products", "the same"),
    ("tsit5", "", "the trajectory, many samples", "local error within rtol, atol"),
    ("tsit45", "", "the trajectory, a check of tsit5", "the same"),
    ("bdf", "", "the trajectory of stiff flows, small tolerances", "the same"),
    ("esdirk34", "", "stiff flows, L-stable", "the same"),
    ("tr_bdf2", "", "stiff flows, L-stable, loose tolerances", "the same"),
    ("rk4", "--steps 2000", "a grid that is known before", "order 4 in the step, if it is stable"),
    ("euler", "--steps 10000", "comparison", "order 1 in the step, if it is stable"),
]
print("| `--solver` | for | guarantees | units a sample | samples a second | mean loss | worst gradient norm |")
print("| --- | --- | --- | --- | --- | --- | --- |")
with tempfile.TemporaryDirectory() as folder:
    output = str(Path(folder) / "codes.h5")
    for solver, flags, purpose, promise in SOLVERS:
        command = [gfe, "encode", digits, "-m", model, "-o", output, "--rows", rows, "--force", "--json", "--solver", solver]
        ran = subprocess.run(command + flags.split(), capture_output=True, text=True, check=True)
        told = json.loads(ran.stdout)
        assert told["succeeded"] == told["samples"], told
        with h5py.File(output) as file:
            assert np.isfinite(file["z"][:]).all()
        print(
            f"| `{' '.join([solver, flags]).strip()}` | {purpose} | {promise} | {told['units_per_sample']:.0f} "
            f"| {told['samples_per_second']:.3g} | {told['loss_mean']:.5f} | {told['grad_norm_worst']:.0e} |",
            flush=True,
        )
