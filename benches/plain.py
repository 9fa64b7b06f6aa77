"""What plain matrix products reach on this machine at the decoder's shapes, by NumPy and, where it is installed, PyTorch, on one
thread. Imported before NumPy, by programs that time anything: it keeps its libraries to one thread."""

import os
import time

for library in ("OMP", "MKL", "OPENBLAS"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

import numpy

SIZES = [20, 150, 300, 600, 784]
# Columns of a product: lanes, and lanes by directions of a Jacobian.
COLUMNS = [16, 64, 256, 1000, 1280, 20000]
# Multiplications and additions of one forward pass of one sample: what a unit of work is.
UNIT = 2 * sum(rows * columns for rows, columns in zip(SIZES[1:], SIZES))


def operands(precision, columns):
    """The weights, inputs and outputs of a forward pass of so many columns, layer by layer."""
    random, made = numpy.random.default_rng(1), []
    for outputs, inputs in zip(SIZES[1:], SIZES):
        weight = random.standard_normal((outputs, inputs)).astype(precision)
        h = random.standard_normal((inputs, columns)).astype(precision)
        made.append((weight, h, numpy.empty((outputs, columns), precision)))
    return made


def multiply(layers):
    """The products of a forward pass, by NumPy."""
    for weight, h, into in layers:
        numpy.matmul(weight, h, out=into)


def multiply_by_torch(layers):
    import torch

    for weight, h, into in layers:
        torch.mm(weight, h, out=into)


def seconds(product, least):
    """CPU seconds of one call, by as many as take `least` seconds."""
    product()
    calls, begin = 0, time.process_time()
    while (passed := time.process_time() - begin) < least:
        product()
        calls += 1
    return passed / calls


def rate(library, precision, columns, least=0.08):
    """GFLOP/s of forward passes of so many columns."""
    layers = operands(precision, columns)
    if library == "numpy":
        spent = seconds(lambda: multiply(layers), least)
    else:
        import torch

        layers = [tuple(map(torch.from_numpy, layer)) for layer in layers]
        spent = seconds(lambda: multiply_by_torch(layers), least)
    return 1e-9 * UNIT * columns / spent


def table(libraries=("torch", "numpy")):
    """GFLOP/s of forward passes, by precision, library and columns."""
    of = lambda precision, library: {columns: rate(library, precision, columns) for columns in COLUMNS}
    return {precision: {library: of(precision, library) for library in libraries} for precision in ("float32", "float64")}


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
    print(printed(table(["numpy"])))
