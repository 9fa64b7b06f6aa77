"""What plain matrix products reach on this machine at the decoder's shapes, by PyTorch and NumPy on one thread."""

import time

import numpy
import torch

SIZES = [20, 150, 300, 600, 784]
# Columns of a product: lanes, and lanes by directions of a Jacobian.
COLUMNS = [16, 64, 256, 1000, 1280, 20000]
# Multiplications and additions of one forward pass of one sample: what a unit of work is.
UNIT = 2 * sum(rows * columns for rows, columns in zip(SIZES[1:], SIZES))


def seconds(product, least):
    """CPU seconds of one call, by as many as take `least` seconds."""
    product()
    calls, begin = 0, time.process_time()
    while (passed := time.process_time() - begin) < least:
        product()
        calls += 1
    return passed / calls


def pass_seconds(library, precision, columns, least):
    """CPU seconds of the products of one forward pass of so many columns."""
    random = numpy.random.default_rng(1)
    whole = 0.0
    for outputs, inputs in zip(SIZES[1:], SIZES):
        weight = random.standard_normal((outputs, inputs)).astype(precision)
        h = random.standard_normal((inputs, columns)).astype(precision)
        into = numpy.empty((outputs, columns), precision)
        if library == "torch":
            weight, h, into = map(torch.from_numpy, (weight, h, into))
            whole += seconds(lambda: torch.mm(weight, h, out=into), least)
        else:
            whole += seconds(lambda: numpy.matmul(weight, h, out=into), least)
    return whole


def table(least=0.02):
    """GFLOP/s of a forward pass, by precision, library and columns."""
    figures = {}
    for precision in ("float32", "float64"):
        for library in ("torch", "numpy"):
            for columns in COLUMNS:
                spent = pass_seconds(library, precision, columns, least)
                figures.setdefault(precision, {}).setdefault(library, {})[columns] = 1e-9 * UNIT * columns / spent
    return figures


def best(figures):
    """The best of every precision, over libraries and columns."""
    return {
        precision: max(value for columns in libraries.values() for value in columns.values())
        for precision, libraries in figures.items()
    }


def printed(figures):
    lines = ["| GFLOP/s of plain products, columns: | " + " | ".join(map(str, COLUMNS)) + " |", "|" + " --- |" * (len(COLUMNS) + 1)]
    for precision, libraries in figures.items():
        for library, columns in libraries.items():
            lines.append(f"| {library}, {precision} | " + " | ".join(f"{value:.0f}" for value in columns.values()) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(printed(table()))
