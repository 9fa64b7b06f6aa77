"""Prints what `gfe encode --json` said of several runs side by side: compare.py NAME=FILE.json ..."""

import json
import sys

ROWS = [
    ("samples encoded", "succeeded", "{:.0f}"),
    ("mean loss", "loss_mean", "{:.6f}"),
    ("worst loss", "loss_worst", "{:.6f}"),
    ("mean gradient norm", "grad_norm_mean", "{:.1e}"),
    ("worst gradient norm", "grad_norm_worst", "{:.1e}"),
    ("evaluations per sample", "evaluations_per_sample", "{:.1f}"),
    ("work per sample, in forward passes", "units_per_sample", "{:.0f}"),
    ("seconds", "seconds", "{:.2f}"),
]

runs = [argument.split("=", 1) for argument in sys.argv[1:]]
told = []
for _, path in runs:
    with open(path) as file:
        told.append(json.load(file))
print(f"{'':36}" + "".join(f"{name:>12}" for name, _ in runs))
for title, key, form in ROWS:
    cells = ["-" if run[key] is None else form.format(run[key]) for run in told]
    print(f"{title:36}" + "".join(f"{cell:>12}" for cell in cells))
