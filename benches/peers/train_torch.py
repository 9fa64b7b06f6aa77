"""CPU per training image: gfe beside PyTorch encoders, in the same training, on one thread.

Run by the Python of benches/peers/setup.sh:

    target/peers/python benches/peers/train_torch.py --gfe target/release/gfe

The training is that of datasets/mnist.toml: a decoder 20-150-300-600-784 with ELU, cross entropy, Adam, mini-batches of 16,
a horizon t_end = 1e4, every code from z0 = 0. It sees the first `--images` digits, without validation. The encoders:

gauss-newton  batched Levenberg-Marquardt of torch_codes.py; done by gfe's own rule, an estimated distance to the minimum of
              1e-3 on two steps that went as predicted, or by |grad| <= gtol. With `--every k` the Hessian is computed at every
              k-th accepted step.
amd           the method authors' adaptive minimize-distance flow: one step size for the mini-batch.

CPU is user and system time of the process. An encoder's is measured in this process, from the first mini-batch of an epoch to
its last, optimizer included. gfe's is that of a run of all epochs less that of a run of the first, so that start, reading and
what it does after the last epoch drop out; PyTorch's counts the same epochs. Runs alternate.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import h5py
import numpy
import torch
from torch import nn

from torch_codes import DATA, Decoder, Rules, amd, gauss_newton, initial


def train(encode, images, how):
    """CPU seconds, mean loss at the codes, and steps per image of every epoch."""
    model = initial(how.seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=how.learning_rate, fused=True)
    order = torch.Generator().manual_seed(how.seed)
    table = []
    for _ in range(how.epochs):
        begin, total, steps = time.process_time(), 0.0, 0
        for ids in torch.randperm(len(images), generator=order).split(16):
            y = images[ids]
            z, taken = encode(Decoder(model), y)
            loss = nn.functional.binary_cross_entropy_with_logits(model(z), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total, steps = total + loss.item() * len(ids), steps + taken
        table.append((time.process_time() - begin, total / len(images), steps / len(images)))
    return table


def gfe(program, epochs, how):
    """CPU seconds of a whole run, and what it said of every epoch."""
    with tempfile.TemporaryDirectory() as folder:
        settings = [
            f"data.input={how.data}:/images",
            f"data.rows=0..{how.images}",
            "data.validation=0",
            f"epochs={epochs}",
            f"learning_rate={how.learning_rate}",
            f"seed={how.seed}",
        ]
        command = [program, "train", "datasets/mnist.toml", "-o", f"{folder}/model.safetensors", "--threads", "1"]
        command += ["--t-end", str(how.t_end)]
        for setting in settings:
            command += ["--set", setting]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            sys.exit(done.stderr)
    lines = [line for line in done.stderr.splitlines() if line.startswith("epoch ")]
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in lines]
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, losses


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gfe", default="target/release/gfe", help="the program")
    parser.add_argument("--data", default="target/datasets/mnist-train.h5", help="digits, as datasets/fetch.sh makes them")
    parser.add_argument("--images", type=int, default=1008)
    parser.add_argument("--epochs", type=int, default=3, help="the first is not counted")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--every", type=int, nargs="+", default=[1], help="ages at which Gauss-Newton's Hessian is renewed")
    parser.add_argument("--gtol", type=float, default=1e-9)
    parser.add_argument("--edm-tol", type=float, default=1e-3)
    parser.add_argument("--t-end", type=float, default=1e4)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--amd", type=int, default=0, help="epochs of the authors' encoder to measure, once")
    parser.add_argument("--no-gfe", action="store_true")
    parser.add_argument("--json", help="write the figures here")
    return parser.parse_args()


def main():
    how = arguments()
    torch.set_num_threads(1)
    with h5py.File(how.data) as file:
        images = file["images"][: how.images].reshape(-1, DATA)
    images = torch.from_numpy(images.astype(numpy.float32) / (255.0 if images.dtype == numpy.uint8 else 1.0))
    counted = (how.epochs - 1) * how.images
    cost, losses, notes = {}, {}, {}
    for repetition in range(how.repetitions):
        for every in how.every:
            name = f"torch gauss-newton, fresh every {every}"
            rules = Rules(how.t_end, how.gtol, how.edm_tol, every)
            table = train(lambda decoder, y: gauss_newton(decoder, y, rules), images, how)
            cost.setdefault(name, []).append(1e3 * sum(row[0] for row in table[1:]) / counted)
            losses[name], notes[name] = [row[1] for row in table], f"{table[-1][2]:.1f} steps"
        if not how.no_gfe:
            first, _ = gfe(how.gfe, 1, how)
            whole, losses["gfe"] = gfe(how.gfe, how.epochs, how)
            cost.setdefault("gfe", []).append(1e3 * (whole - first) / counted)
        print(f"repetition {repetition + 1}: " + ", ".join(f"{name} {all[-1]:.2f} ms" for name, all in cost.items()), flush=True)
    if how.amd:
        epochs, how.epochs = how.epochs, how.amd
        table = train(lambda decoder, y: amd(decoder, y, how.t_end), images, how)
        how.epochs = epochs
        cost["torch amd"] = [1e3 * sum(row[0] for row in table) / how.amd / how.images]
        losses["torch amd"], notes["torch amd"] = [row[1] for row in table], f"{table[-1][2]:.1f} steps"
    own = statistics.median(cost["gfe"]) if "gfe" in cost else float("nan")
    print(f"\nCPU ms per training image, median [least, most] of {how.repetitions}; gfe's as a part of it; mean loss of each epoch")
    for name, all in cost.items():
        middle = statistics.median(all)
        told = " ".join(f"{loss:.4f}" for loss in losses[name])
        print(f"{name:36} {middle:7.2f} [{min(all):.2f}, {max(all):.2f}] {own / middle:6.2f}   {told}   {notes.get(name, '')}")
    if how.json:
        with open(how.json, "w") as file:
            json.dump({"cost_ms": cost, "losses": losses}, file, indent=1)


if __name__ == "__main__":
    main()
