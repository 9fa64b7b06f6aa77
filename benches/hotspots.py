"""What part of an encoding is matrix products, and how fast these are: hotspots.py [--repeats N]. Needs Linux's perf.

1,000 digits on one thread. `perf record` tells what part of the samples of a run fell into faer's products (its kernels and what packs for
them); units counted by gfe over that part of its CPU time are the speed of the decoder's products, a little too low a figure:
products of Hessians are no units and count as time. In every turn the best plain product of the decoder's shapes is timed
as well, by NumPy (OpenBLAS) and by faer (`cargo bench --bench products -- plain`).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for library in ("OPENBLAS", "OMP", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

import numpy as np

import machine
import table

DIGITS, COUNT = "target/datasets/mnist-test.h5:/images", 1000
# How the functions of private-gemm-x86 and nano-gemm, which faer multiplies with, are called.
KERNELS = ("gemm_v0_", "private_gemm", "nano_gemm", "millikernel")
CASES = {
    r"ptc, mixed precision, \|grad\| <= 1e-5": ("float32", ["--t-end", "inf", "--edm-tol", "0", "--gtol", "1e-5"]),
    "amd, double precision, dt_max 100": ("float64", ["--solver", "amd", "--gtol", "0", "--set", "method.dt_max=100"]),
}


def share(flags, folder):
    """Part of the time in products, CPU seconds, and units of one run under perf."""
    command = ["target/release/gfe", "encode", DIGITS, "-m", "tests/data/mnist_decoder.safetensors", "-o", f"{folder}/codes.h5"]
    command += ["--rows", f"0..{COUNT}", "--threads", "1", "--force", "--json", "--fail-above", "1", *flags]
    told, _, _ = machine.measured(["perf", "record", "-q", "-F", "997", "-o", f"{folder}/perf.data", "--", *command])
    _, spent, _ = machine.measured(command)
    report = ["perf", "report", "-i", f"{folder}/perf.data", "--stdio", "--sort", "symbol", "-F", "overhead,symbol", "-g", "none"]
    lines = subprocess.run(report, capture_output=True, text=True, check=True).stdout.splitlines()
    parts = [line.split("%", 1) for line in lines if "%" in line and not line.startswith("#")]
    products = sum(float(part) for part, name in parts if any(kernel in name for kernel in KERNELS)) / 100
    summary = json.loads(told)
    return products, spent, summary["units_per_sample"] * summary["samples"] + summary["units_shared"]


def numpy_best(precision, least=0.05):
    """GFLOP/s of NumPy's forward passes, the best of several numbers of columns."""
    random, best = np.random.default_rng(1), 0.0
    for columns in (64, 256, 1024, 2560):
        shapes = list(zip(table.SIZES[1:], table.SIZES))
        pairs = [(random.standard_normal((m, k)).astype(precision), random.standard_normal((k, columns)).astype(precision)) for m, k in shapes]
        into = [np.empty((m, columns), precision) for m, _ in shapes]
        calls, begin = 0, time.process_time()
        while (passed := time.process_time() - begin) < least:
            for (w, h), to in zip(pairs, into):
                np.matmul(w, h, out=to)
            calls += 1
        best = max(best, 1e-9 * table.UNIT * columns * calls / passed)
    return best


def faer_best():
    """GFLOP/s of faer's, by precision."""
    subprocess.run(["cargo", "bench", "--quiet", "--bench", "products", "--", "plain", "--quick"], check=True, capture_output=True)
    found = list(table.benchmarks(Path("target/criterion")))
    return {name: table.best_plain(found, kind, "") for name, kind in (("float32", "f32"), ("float64", "f64"))}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    how = parser.parse_args()
    if how.repeats < 5:
        parser.error("a median takes 5 repeats or more")
    before = machine.describe()
    runs = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(how.repeats):
            faer = faer_best()
            for name, (precision, flags) in CASES.items():
                products, spent, units = share(flags, folder)
                rate = 1e-9 * table.UNIT * units / spent
                plain = max(faer[precision], numpy_best(precision))
                runs[name].append((products, units / COUNT, rate, rate / products, plain, rate / products / plain))
    print(f"{how.repeats} turns. {machine.in_words(before)}.\n")
    print("| 1,000 digits | units a digit | GFLOP/s of units, everything included | part of the time in products | products, GFLOP/s | best plain one | of it |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, own in runs.items():
        products, units, rate, speed, plain, part = map(statistics.median, zip(*own))
        least, most = min(run[-1] for run in own), max(run[-1] for run in own)
        print(f"| {name} | {units:.0f} | {rate:.1f} | {products:.0%} | {speed:.0f} | {plain:.0f} | {part:.0%} [{least:.0%}, {most:.0%}] |")


if __name__ == "__main__":
    sys.exit(main())
