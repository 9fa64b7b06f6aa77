"""How cost grows: with threads, with the number of samples, with the size of data and latent: scaling.py [PART ...] [--repeats N].

`threads`: CPU seconds on two threads over those on one, beside the same ratio of plain products of the decoder's shapes, and what
part of the time the threads that encode are busy.
`rows`: CPU, wall-clock time and peak memory of 1,000, 10,000 and 100,000 digits, file to file, beside those of encoding from
memory on as many threads.
`sizes`: CPU per sample of decoders of random weights with other numbers of values and of latents.
CPU seconds are user and system, of the whole command and all its threads; every part takes turns and gives medians.
"""

import argparse
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

# Before NumPy: it keeps its libraries to one thread.
import plain

import h5py
import numpy as np

import machine

GFE = Path("target/release/gfe")
MODEL = Path("tests/data/mnist_decoder.safetensors")
DIGITS = Path("target/bench/digits.h5")
LAYERS = [150, 300, 600]


def digits():
    """100,000 digits: those of MNIST's training and test sets, and the first of the former once more."""
    if not DIGITS.exists():
        DIGITS.parent.mkdir(parents=True, exist_ok=True)
        new = DIGITS.with_suffix(".new")
        with h5py.File(new, "w") as file:
            options = {"chunks": (250, 28, 28), "compression": "gzip", "shuffle": True}
            images = file.create_dataset("images", (100_000, 28, 28), "u1", **options)
            start = 0
            # Piece by piece: what this program needs counts as the peak memory of those that it starts.
            for part, count in [("train", 60_000), ("test", 10_000), ("train", 30_000)]:
                with h5py.File(f"target/datasets/mnist-{part}.h5") as source:
                    for first in range(0, count, 5000):
                        images[start + first : start + first + 5000] = source["images"][first : first + 5000].reshape(-1, 28, 28)
                start += count
        new.replace(DIGITS)
    return f"{DIGITS}:/images"


def encode(data, model, *flags):
    """CPU and wall-clock seconds of an encoding, its peak memory, what part of their time its threads that encode were busy, and
    what it says."""
    with tempfile.TemporaryDirectory(dir=DIGITS.parent) as folder:
        command = [GFE, "encode", data, "-m", model, "-o", f"{folder}/codes.h5", "--json", *flags]
        begin = time.perf_counter()
        with Watch() as watch:
            told, spent, peak = machine.measured(command, watch.start)
        return {"cpu": spent, "wall": time.perf_counter() - begin, "peak": peak, "busy": watch.busy(), **json.loads(told)}


class Watch:
    """Looks at the threads that encode, which the system calls `encode`, some fifty times a second."""

    def __init__(self):
        self.seen, self.stop, self.looking = {}, threading.Event(), None

    def start(self, process):
        self.looking = threading.Thread(target=self.look, args=(process,))
        self.looking.start()

    def look(self, process):
        while not self.stop.wait(0.02):
            for task in Path(f"/proc/{process}/task").glob("*"):
                try:
                    if (task / "comm").read_text().strip() == "encode":
                        ran = 1e-9 * int((task / "schedstat").read_text().split()[0])
                        self.seen.setdefault(task.name, []).append((time.perf_counter(), ran))
                except OSError:
                    pass  # it has ended

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop.set()
        if self.looking:
            self.looking.join()

    def busy(self):
        """CPU of these threads over the time between the first and the last look at each; NaN where none was seen twice."""
        spans = [(looks[-1][1] - looks[0][1], looks[-1][0] - looks[0][0]) for looks in self.seen.values() if len(looks) > 1]
        return sum(ran for ran, _ in spans) / sum(passed for _, passed in spans) if spans else float("nan")


def products(calls):
    """CPU seconds of plain products, so many times: 20 forward passes of 128 columns, and one of 2,560, as for Hessians."""
    few, many = (plain.operands("float32", columns) for columns in (128, 2560))
    begin = time.process_time()
    for _ in range(calls):
        for layers in [few] * 20 + [many]:
            plain.multiply(layers)
    return time.process_time() - begin


def span(values, digits=2):
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


def threads(repeats):
    data, calls = digits(), 100
    runs = {1: [], 2: []}
    plainly = {1: [], 2: []}
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(products, [1, 1]))
        for repeat in range(repeats):
            for count in (1, 2) if repeat % 2 == 0 else (2, 1):
                runs[count].append(encode(data, MODEL, "--rows", "0..4000", "--threads", str(count)))
                plainly[count].append(statistics.mean(pool.map(products, [calls] * count)))
    over = lambda what: [two / one for one, two in zip(what[1], what[2])]
    cpu = over({count: [run["cpu"] for run in own] for count, own in runs.items()})
    wall = [one["wall"] / two["wall"] for one, two in zip(runs[1], runs[2])]
    busy = [run["busy"] for run in runs[2]]
    shares = [mine / theirs for mine, theirs in zip(cpu, over(plainly))]
    yield "| | median [least, most] |"
    yield "| --- | --- |"
    yield f"| CPU of 4,000 digits on two threads over that on one | {span(cpu, 3)} |"
    yield f"| the same of plain products, two processes over one | {span(over(plainly), 3)} |"
    yield f"| the first over the second | {span(shares, 3)} |"
    yield f"| wall clock on one thread over that on two | {span(wall)} |"
    yield f"| time that the two threads that encode are busy | {span(busy, 3)} |"


def from_memory(digits, count):
    """What benches/stream.rs says of so many digits on so many threads."""
    command = ["cargo", "bench", "--quiet", "--bench", "stream", "--", "--digits", str(digits), "--threads", str(count)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def rows(repeats):
    data, counts, cores = digits(), (1000, 10_000, 100_000), os.cpu_count()
    runs = {count: [] for count in counts}
    pure = []
    from_memory(1000, cores)
    for _ in range(repeats):
        for count in counts:
            runs[count].append(encode(data, MODEL, "--rows", f"0..{count}", "--threads", str(cores)))
        pure.append(from_memory(20_000, cores))
    per_unit = lambda run, kind, count, units: 1e6 * run[kind] / count / units
    rates = {kind: [per_unit(run, kind, run["digits"], run["units_per_digit"]) for run in pure] for kind in ("cpu", "wall")}
    yield f"| digits, {cores} threads | CPU ms a digit | units a digit | µs of CPU a unit | over that from memory | µs of wall clock a unit | over that from memory | peak MiB |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for count, own in runs.items():
        each = [1e3 * run["cpu"] / count for run in own]
        units = own[0]["units_per_sample"]
        cells = [f"{count:,}", span(each, 3), f"{units:.1f}"]
        for kind in ("cpu", "wall"):
            mine = [per_unit(run, kind, count, units) for run in own]
            cells += [span(mine), span([a / b for a, b in zip(mine, rates[kind])], 3)]
        yield f"| {' | '.join(cells)} | {max(run['peak'] for run in own):.0f} |"
    yield f"| from memory | | {pure[0]['units_per_digit']:.1f} | {span(rates['cpu'])} | 1 | {span(rates['wall'])} | 1 | |"


def write_model(path, sizes):
    """A decoder of random weights, as a model file."""
    random, tensors = np.random.default_rng(1), {}
    for i, (inputs, outputs) in enumerate(zip(sizes, sizes[1:])):
        tensors[f"decoder.{2 * i}.weight"] = random.standard_normal((outputs, inputs)).astype("<f4") / np.float32(inputs**0.5)
        tensors[f"decoder.{2 * i}.bias"] = np.zeros(outputs, "<f4")
    about = {"decoder": "dense", "latent": sizes[0], "layers": sizes[1:], "activation": "elu", "output": "values"}
    head, at = {"__metadata__": {"gfe.decoder": json.dumps(about)}}, 0
    for name, tensor in tensors.items():
        head[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [at, at + tensor.nbytes]}
        at += tensor.nbytes
    text = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(tensor.tobytes() for tensor in tensors.values()))
    return tensors


def problem(folder, latent, values, samples=1024):
    """A decoder, and data that it made from random codes, with noise."""
    model, data = folder / f"{latent}-{values}.safetensors", folder / f"{latent}-{values}.h5"
    tensors = list(write_model(model, [latent, *LAYERS, values]).values())
    random = np.random.default_rng(2)
    h = random.standard_normal((samples, latent)).astype("f4")
    for i in range(0, len(tensors), 2):
        h = h @ tensors[i].T
        h = np.where(h > 0, h, np.expm1(h)) if i + 2 < len(tensors) else h
    with h5py.File(data, "w") as file:
        file["y"] = h + 0.1 * random.standard_normal(h.shape).astype("f4")
    return data, model


def sizes(repeats):
    first = (20, 784)
    cases = [*((20, values) for values in (196, 784, 3136, 12544)), *((latent, 784) for latent in (5, 10, 40, 80))]
    DIGITS.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DIGITS.parent) as folder:
        made = {case: problem(Path(folder), *case) for case in cases}
        runs = {case: [] for case in cases}
        for _ in range(repeats):
            for case, (data, model) in made.items():
                runs[case].append(encode(f"{data}:/y", model, "--threads", "1"))
    yield "| latents | values | weights | CPU ms a sample | over that of 20 and 784 | units a sample | µs of CPU a unit |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for case, own in runs.items():
        latent, values = case
        weights = sum((a + 1) * b for a, b in zip([latent, *LAYERS], [*LAYERS, values]))
        each = [1e3 * run["cpu"] / run["samples"] for run in own]
        over = [mine["cpu"] / other["cpu"] for mine, other in zip(own, runs[first])]
        units = own[0]["units_per_sample"]
        unit = [1e3 * value / units for value in each]
        yield f"| {latent} | {values} | {weights:,} | {span(each)} | {span(over)} | {units:.0f} | {span(unit)} |"


PARTS = {"threads": threads, "rows": rows, "sizes": sizes}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--repeats", type=machine.repeats, default=5)
    how = parser.parse_args()
    for name in how.parts or PARTS:
        if name not in PARTS:
            parser.error(f"{name} is none of {', '.join(PARTS)}")
        before = machine.describe()
        lines = "\n".join(PARTS[name](how.repeats))
        print(f"{name}: {how.repeats} turns. {machine.in_words(before)}.\n\n{lines}\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
