"""CPU per training image: gfe beside PyTorch encoders, in the same training, on one thread.

Run by the Python of benches/peers/setup.sh:

    target/peers/python benches/peers/train_torch.py --gfe target/release/gfe

The training is that of datasets/mnist.toml: a decoder 20-150-300-600-784 with ELU, cross entropy, Adam, mini-batches of 16,
a horizon t_end = 1e4, every code from z0 = 0. It sees the first `--images` digits, without validation. The encoders:

gauss-newton  batched Levenberg-Marquardt in single precision, a damping per sample (Nielsen's rule, as gfe's), the Jacobian
              by one chain of products for all samples and directions; done by gfe's own rule, an estimated distance to the
              minimum of 1e-3 on two steps that went as predicted, or by |grad| <= gtol. Samples that are done leave the batch.
              With `--every k` the Hessian is computed at every k-th accepted step and follows the secant updates of gfe between.
amd           the method authors' adaptive minimise-distance flow: one step size for the mini-batch, gradients by autograd.

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

LATENT, LAYERS, DATA = 20, [150, 300, 600, 784], 784


def decoder(seed):
    """The decoder with PyTorch's own initial weights."""
    torch.manual_seed(seed)
    parts, inputs = [], LATENT
    for outputs in LAYERS:
        parts += [nn.Linear(inputs, outputs), nn.ELU()]
        inputs = outputs
    return nn.Sequential(*parts[:-1])


class Point:
    """D and what is needed of it at the latents z [B, d] of data y [B, D]."""

    def __init__(self, layers, z, y, anchor):
        self.layers, self.z, self.y, self.anchor = layers, z, y, anchor
        self.slopes, h = [], z
        for weight, bias in layers[:-1]:
            a = torch.addmm(bias, h, weight.T)
            h = nn.functional.elu(a)
            self.slopes.append(torch.where(a > 0, 1.0, h + 1.0))
        weight, bias = layers[-1]
        x = torch.addmm(bias, h, weight.T)
        self.probability = torch.sigmoid(x)
        # In double precision: a step is judged by a difference of two of these.
        values = nn.functional.softplus(x).sub_(y * x).mean(dim=1, dtype=torch.float64)
        self.objective = values + 0.5 * anchor * z.square().sum(1)

    def gradient(self):
        """The gradient of the objective by a backward pass, [B, d]."""
        delta = (self.probability - self.y) / DATA
        for (weight, _), slope in zip(self.layers[:0:-1], self.slopes[::-1]):
            delta = (delta @ weight).mul_(slope)
        return delta @ self.layers[0][0] + self.anchor * self.z

    def derivatives(self):
        """The gradient, and J^T diag(l'') J + I/tau [B, d, d]: one product a layer for all samples and directions."""
        count = self.z.shape[0]
        weight = self.layers[0][0]
        jacobian = weight[:, None, :] * self.slopes[0].T[:, :, None]
        for (weight, _), slope in zip(self.layers[1:-1], self.slopes[1:]):
            jacobian = (weight @ jacobian.reshape(-1, count * LATENT)).view(-1, count, LATENT)
            jacobian *= slope.T[:, :, None]
        jacobian = (self.layers[-1][0] @ jacobian.reshape(-1, count * LATENT)).view(-1, count, LATENT)
        jacobian = jacobian.transpose(0, 1)
        gradient = torch.bmm(((self.probability - self.y) / DATA)[:, None, :], jacobian)[:, 0, :] + self.anchor * self.z
        root = (self.probability * (1 - self.probability) / DATA).sqrt_()
        jacobian *= root[:, :, None]
        hessian = jacobian.transpose(1, 2) @ jacobian
        hessian.diagonal(dim1=1, dim2=2).add_(self.anchor)
        return gradient, hessian

    def take(self, other, keep, slots):
        """Takes over the rows `keep` of `other` where `slots` holds."""
        for mine, theirs in zip(self.all(), other.all()):
            mine[slots] = theirs[keep]

    def all(self):
        return [self.z, self.probability, self.objective, *self.slopes]

    def only(self, keep):
        """The rows `keep` alone."""
        part = object.__new__(Point)
        part.layers, part.anchor, part.y = self.layers, self.anchor, self.y[keep]
        part.z, part.probability, part.objective, *part.slopes = [value[keep] for value in self.all()]
        return part


def bfgs(hessian, s, y):
    """Powell's damped update of every H [B, d, d] after Oren's and Luenberger's scaling, as gfe does it."""
    hs = torch.einsum("bij,bj->bi", hessian, s)
    shs, sy = (s * hs).sum(1), (s * y).sum(1)
    factor = (sy / shs).clamp(0.5, 1.0)
    hessian *= factor[:, None, None]
    hs, shs = hs * factor[:, None], shs * factor
    t = torch.where(sy >= 0.2 * shs, torch.ones_like(sy), 0.8 * shs / (shs - sy))
    r = t[:, None] * y + (1 - t)[:, None] * hs
    sr = (s * r).sum(1)
    hessian += r[:, :, None] * (r / sr[:, None])[:, None, :] - hs[:, :, None] * (hs / shs[:, None])[:, None, :]


def solve(matrix, right):
    """matrix^-1 right for a batch of positive definite matrices."""
    factor, _ = torch.linalg.cholesky_ex(matrix)
    return torch.cholesky_solve(right[:, :, None], factor)[:, :, 0]


@torch.no_grad()
def gauss_newton(layers, y, how, most=1000):
    """Codes of y [B, D], and the steps that they took."""
    anchor, count = 1.0 / how.t_end, y.shape[0]
    codes, steps = torch.zeros(count, LATENT), 0
    slot = torch.arange(count)
    now = Point(layers, torch.zeros(count, LATENT), y, anchor)
    gradient, hessian = now.derivatives()
    age = torch.zeros(count, dtype=torch.int64)
    close = torch.zeros(count, dtype=torch.int64)
    # gfe's first step: 30 over the curvature along the first gradient.
    norm = gradient.square().sum(1)
    damping = torch.einsum("bi,bij,bj->b", gradient, hessian, gradient) / norm / 30.0
    growth = torch.full((count,), 2.0)
    for _ in range(most):
        newton = solve(hessian, gradient)
        edm = 0.5 * DATA * (gradient * newton).sum(1)
        done = (gradient.square().sum(1) <= how.gtol**2) | ((edm <= how.edm_tol) & (close >= 1))
        stale = done & (age > 0)
        if stale.any():
            # What says that it is done has to be a fresh Hessian.
            part = now.only(stale)
            hessian[stale] = part.derivatives()[1]
            age[stale] = 0
            edm[stale] = 0.5 * DATA * (gradient[stale] * solve(hessian[stale], gradient[stale])).sum(1)
            done = (gradient.square().sum(1) <= how.gtol**2) | ((edm <= how.edm_tol) & (close >= 1))
        if done.any():
            codes[slot[done]] = now.z[done]
            left = ~done
            if not left.any():
                return codes, steps
            now, gradient, hessian, slot = now.only(left), gradient[left], hessian[left], slot[left]
            age, close, edm = age[left], close[left], edm[left]
            damping, growth = damping[left], growth[left]
        eye = torch.eye(LATENT)
        step = solve(hessian + damping[:, None, None] * eye, -gradient)
        predicted = 0.5 * (damping * step.square().sum(1) - (gradient * step).sum(1))
        trial = Point(layers, now.z + step, now.y, anchor)
        steps += slot.numel()
        actual = now.objective - trial.objective
        good = actual > 0
        ratio = (actual / predicted).float()
        # Nielsen, IMM-REP-1999-05, eq. 2.21.
        damping = torch.where(good, damping * (1 - (2 * ratio - 1) ** 3).clamp(min=1 / 3), damping * growth)
        growth = torch.where(good, 2.0, 2 * growth)
        close = torch.where(good, torch.where((edm <= how.edm_tol) & (ratio >= 0.5) & (ratio <= 2), close + 1, 0), close)
        if good.all():
            now = trial
        else:
            # A step that fails says where samples stop in single precision: at the rounding of the objective.
            stuck = ~good & (growth > 2.0**12)
            close = torch.where(stuck, 1, close)
            now.take(trial, good, good)
        age += good.long()
        stale = good & (age >= how.every)
        kept = good & ~stale
        if kept.any():
            ahead, updated = now.only(kept).gradient(), hessian[kept]
            bfgs(updated, step[kept], ahead - gradient[kept])
            gradient[kept], hessian[kept] = ahead, updated
        if stale.all():
            gradient, hessian = now.derivatives()
        elif stale.any():
            gradient[stale], hessian[stale] = now.only(stale).derivatives()
        age[stale] = 0
    codes[slot] = now.z
    return codes, steps


def amd(layers, y, how, dt_max=10.0, shrink=0.5, max_backtracks=20, armijo=1e-5, fallback=10.0):
    """The authors' encoder on MNIST: one step size for all of y [B, D], the loss summed over them."""
    model, tau = how.model, how.t_end

    def slope(z):
        z = z.detach().requires_grad_(True)
        loss = nn.functional.binary_cross_entropy_with_logits(model(z), y, reduction="none").mean(1)
        (gradient,) = torch.autograd.grad(loss.sum(), z)
        return loss.detach(), -gradient

    z, t, dt, steps = torch.zeros(y.shape[0], LATENT), 0.0, 1.0, 0
    loss, f = slope(z)
    means = [loss.mean().item()]
    while t < tau:
        for attempt in range(max_backtracks + 1):
            ahead = z + dt * f
            loss1, f1 = slope(ahead)
            steps += y.shape[0]
            fine = bool((loss - loss1 >= armijo * dt * dt_max * f1.square().sum(1)).all())
            if fine or attempt == max_backtracks:
                break
            dt *= shrink
        z, loss, f = ahead, loss1, f1
        t, dt = (t + dt, min(max(1.1 * dt, 1.0), dt_max, tau - t)) if fine else (t + fallback, 1.0)
        means.append(loss.mean().item())
        settled = (tau - t) / tau <= 0.98 and len(means) >= 5
        if settled and abs(numpy.gradient(means[-5:]).mean()) < 1e-5:
            break
    return z, steps


def train(encode, images, how):
    """CPU seconds, mean loss at the codes, and steps per image of every epoch."""
    model = decoder(how.seed)
    how.model = model
    optimizer = torch.optim.Adam(model.parameters(), lr=how.learning_rate, fused=True)
    order = torch.Generator().manual_seed(how.seed)
    table = []
    for _ in range(how.epochs):
        begin, total, steps = time.process_time(), 0.0, 0
        for ids in torch.randperm(len(images), generator=order).split(16):
            y = images[ids]
            layers = [(layer.weight.detach(), layer.bias.detach()) for layer in model if isinstance(layer, nn.Linear)]
            z, taken = encode(layers, y, how)
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
            how.every_list, how.every = how.every, every
            table = train(gauss_newton, images, how)
            how.every = how.every_list
            cost.setdefault(name, []).append(1e3 * sum(row[0] for row in table[1:]) / counted)
            losses[name], notes[name] = [row[1] for row in table], f"{table[-1][2]:.1f} steps"
        if not how.no_gfe:
            first, _ = gfe(how.gfe, 1, how)
            whole, losses["gfe"] = gfe(how.gfe, how.epochs, how)
            cost.setdefault("gfe", []).append(1e3 * (whole - first) / counted)
        print(f"repetition {repetition + 1}: " + ", ".join(f"{name} {all[-1]:.2f} ms" for name, all in cost.items()), flush=True)
    if how.amd:
        epochs, how.epochs = how.epochs, how.amd
        table = train(amd, images, how)
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
