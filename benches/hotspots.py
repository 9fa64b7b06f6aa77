"""What part of an encoding is matrix products, and how fast these are: hotspots.py [--repeats N]. Needs Linux's perf.

1,000 digits on one thread. `perf record` tells what part of the samples of a run fell into faer's products (its kernels and what packs for
them); units counted by gfe over that part of its CPU time are the speed of the decoder's products, a little too low a figure:
products of Hessians are no units and count as time. In every turn the best plain product of the decoder's shapes is timed
as well, by NumPy (OpenBLAS), and by faer and ndarray (`cargo bench --bench products -- plain`).
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import machine
import plain
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


def best_plain():
    """GFLOP/s of the best plain product, by precision: faer's, ndarray's and NumPy's."""
    subprocess.run(["cargo", "bench", "--quiet", "--bench", "products", "--", "plain", "--quick"], check=True, capture_output=True)
    found = list(table.benchmarks(Path("target/criterion")))
    numpy = plain.best(plain.table(["numpy"]))
    return {name: max(table.best_plain(found, kind, ""), numpy[name]) for name, kind in (("float32", "f32"), ("float64", "f64"))}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=machine.repeats, default=5)
    how = parser.parse_args()
    before = machine.describe()
    runs = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(how.repeats):
            best = best_plain()
            for name, (precision, flags) in CASES.items():
                products, spent, units = share(flags, folder)
                rate = 1e-9 * plain.UNIT * units / spent
                runs[name].append((products, units / COUNT, rate, rate / products, best[precision], rate / products / best[precision]))
    print(f"{how.repeats} turns. {machine.in_words(before)}.\n")
    print("| 1,000 digits | units a digit | GFLOP/s of units, everything included | part of the time in products | products, GFLOP/s | best plain one | of it |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, own in runs.items():
        products, units, rate, speed, most_of_plain, part = map(statistics.median, zip(*own))
        least, most = min(run[-1] for run in own), max(run[-1] for run in own)
        print(f"| {name} | {units:.0f} | {rate:.1f} | {products:.0%} | {speed:.0f} | {most_of_plain:.0f} | {part:.0%} [{least:.0%}, {most:.0%}] |")


if __name__ == "__main__":
    sys.exit(main())
