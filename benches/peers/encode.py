"""CPU of encoding digits: gfe beside PyTorch, the authors' algorithm and SciPy, in alternation, on one thread.

Run by the Python of benches/peers/setup.sh (`make bench-peers` does both):

    target/peers/python benches/peers/encode.py --gfe target/release/gfe

The first `--digits` digits of the MNIST test set, the decoder of tests/data/mnist_decoder.safetensors, cross entropy, every code
from z0 = 0. CPU is user and system time. That of gfe is the whole command, which starts, reads the images and writes an HDF5
file; that of the others is the encoding alone, in this process, with all images in memory. Slow methods see the first few digits,
and their time is scaled up. Rates and widths of batches are chosen before anything is timed. All codes are judged in the
same way: loss and gradient anew in double precision.

A unit is a forward pass, a product with the transposed Jacobian or one with the Jacobian, of one sample; GFLOP/s are those of
units, so what they fall short of the plain products, printed below the table, was spent on everything else.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

# First: it keeps the libraries below to one thread.
import plain

import numpy
import scipy
import torch

import machine
from methods import Data, judge, methods

COLUMNS = [
    "method", "digits", "CPU seconds of {count}", "times gfe's ptc", "times the same by gfe", "units a digit", "GFLOP/s",
    "mean loss", "mean norm of grad", "largest",
]  # fmt: skip


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gfe", default="target/release/gfe", help="the program")
    parser.add_argument("--data", default="target/datasets/mnist-test.h5", help="digits, as datasets/fetch.sh makes them")
    parser.add_argument("--model", default="tests/data/mnist_decoder.safetensors")
    parser.add_argument("--digits", type=int, default=1000)
    parser.add_argument("--repeats", type=machine.repeats, default=5)
    parser.add_argument("--gtol", type=float, default=1e-5)
    parser.add_argument("--methods", nargs="+", help="names, or beginnings of names such as amd-1000; gfe-ptc always takes part")
    parser.add_argument("--list", action="store_true", help="print the names of the methods")
    parser.add_argument("--json", default="target/peers/encode.json", help="write the figures here")
    return parser.parse_args()


def measure(chosen, data, how, keep):
    """Every run of every method, and how good its codes are; hands rows to `keep` after every turn."""
    runs = {method.name: [] for method in chosen}
    quality = {}
    for repeat in range(how.repeats):
        for method in chosen:
            count = min(method.most or how.digits, how.digits)
            codes, spent, units = method.find(data, count)
            runs[method.name].append(spent * how.digits / count)
            quality[method.name] = {**judge(data, codes), "digits": count, "units": units / count}
            print(f"{repeat + 1}: {method.name} {runs[method.name][-1]:.2f} s", file=sys.stderr, flush=True)
        rows = [row(method, runs, quality, how.digits) for method in chosen]
        keep(rows)
    return rows


def ratio(runs, name, other):
    """The median over repeats of what `name` took in units of `other`."""
    return statistics.median(mine / theirs for mine, theirs in zip(runs[name], runs[other]))


def row(method, runs, quality, count):
    """What is known of a method, for `count` digits."""
    own, found = runs[method.name], quality[method.name]
    middle = statistics.median(own)
    per_digit = middle / count
    return {
        "name": method.name,
        "text": method.text + method.tuned,
        "digits": found["digits"],
        "cpu_seconds": own,
        "median": middle,
        "times_ptc": ratio(runs, method.name, "gfe-ptc"),
        "times_same": ratio(runs, method.name, method.peer_of) if method.peer_of in runs else None,
        "units": found["units"],
        "gflops": 1e-9 * plain.UNIT * found["units"] / per_digit,
        **{key: found[key] for key in ("loss", "grad_norm_mean", "grad_norm_max")},
    }


def printed(rows, count):
    heads = [head.format(count=count) for head in COLUMNS]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for row in rows:
        cells = [
            row["text"],
            str(row["digits"]),
            f"{row['median']:.2f} [{min(row['cpu_seconds']):.2f}, {max(row['cpu_seconds']):.2f}]",
            f"{row['times_ptc']:.2f}",
            f"{row['times_same']:.2f}" if row["times_same"] else "",
            f"{row['units']:.0f}",
            f"{row['gflops']:.1f}",
            f"{row['loss']:.5f}",
            f"{row['grad_norm_mean']:.1e}",
            f"{row['grad_norm_max']:.1e}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def described():
    """The machine, and which libraries multiply."""
    blas = numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]
    told = torch.__config__.show()
    mkl = next((line.strip(" -") for line in told.splitlines() if "Math Kernel Library" in line), "without MKL")
    return {
        **machine.describe(),
        "torch": torch.__version__,
        "torch_blas": mkl,
        "torch_instructions": torch.backends.cpu.get_cpu_capability(),
        "numpy": numpy.__version__,
        "numpy_blas": f"{blas['name']} {blas['version']}",
        "scipy": scipy.__version__,
        "threads": torch.get_num_threads(),
    }


def main():
    how = arguments()
    torch.set_num_threads(1)
    found, tuning = methods(how.gfe, how.gtol)
    if how.list:
        print("\n".join(f"{method.name:18} {method.text}" for method in found))
        return
    wanted = lambda name: not how.methods or name == "gfe-ptc" or any(name.startswith(begin) for begin in how.methods)
    chosen = [method for method in found if wanted(method.name)]
    if unknown := [begin for begin in how.methods or [] if not any(method.name.startswith(begin) for method in found)]:
        sys.exit(f"no method is called {unknown[0]}...: --list prints their names")
    data = Data(how.data, how.model, how.digits)
    how.digits = len(data.double)
    before = described()
    products = [plain.table()]
    for method in chosen:
        if method.name in tuning:
            tuning[method.name](method, data, how.digits)

    def keep(rows, **more):
        # After every turn, so that what was measured outlives an interruption.
        Path(how.json).parent.mkdir(parents=True, exist_ok=True)
        report = {"settings": vars(how), "machine": before, "plain": products, "rows": rows, **more}
        Path(how.json).write_text(json.dumps(report, indent=1))

    rows = measure(chosen, data, how, keep)
    products.append(plain.table())
    after = described()
    start = statistics.median(start_seconds(how) for _ in range(how.repeats))
    print(printed(rows, how.digits))
    print(f"\nCPU seconds: median [least, most] of {how.repeats} runs in turn; ratios: medians of those of each turn.")
    print(f"Of gfe's, {start:.2f} s is what the command takes for 2 digits. One thread. {machine.in_words(before)} before,")
    print(f"{', '.join(f'{load:.2f}' for load in after['load'])} after. PyTorch {before['torch']} ({before['torch_blas']}; ")
    print(f"{before['torch_instructions']}), NumPy {before['numpy']} ({before['numpy_blas']}), SciPy {before['scipy']}.\n")
    best = {precision: max(plain.best(table)[precision] for table in products) for precision in products[0]}
    print(plain.printed(products[1]))
    print(f"\nBest plain product before or after: {best['float32']:.0f} in float32, {best['float64']:.0f} in float64.")
    keep(rows, load_after=after["load"], start_seconds=start, best=best)


def start_seconds(how):
    """CPU seconds of gfe for two digits: what it takes to start, read and write."""
    return methods(how.gfe, how.gtol)[0][0].find(Data(how.data, how.model, 2), 2)[1]


if __name__ == "__main__":
    main()
