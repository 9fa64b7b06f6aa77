"""Codes by PyTorch: what the programs beside this file have in common. One thread, single precision, from z0 = 0.

gauss_newton  batched Levenberg-Marquardt with a damping per sample (Nielsen's rule, as gfe's), the Jacobian by one chain of
              products for all samples and directions. Samples that are done leave the batch. The Hessian is computed at every
              `every`-th accepted step and follows secant updates between. With `as_gfe` it is gfe's method in all: the Jacobian
              at z0 = 0 once for all samples, a Hessian for 12 accepted steps, updates by rejected steps too.
amd           the method authors' adaptive minimize-distance flow: one step size for all samples, gradients by autograd.
adam, lbfgs   PyTorch's own optimizers of all codes at once.

Work is counted as gfe does: a forward pass, a product with the transposed Jacobian and one with the Jacobian are a unit each.
"""

import json
import struct
from dataclasses import dataclass

import numpy
import torch
from torch import nn

LATENT, LAYERS, DATA = 20, [150, 300, 600, 784], 784


def initial(seed):
    """The decoder with PyTorch's own initial weights."""
    torch.manual_seed(seed)
    parts, inputs = [], LATENT
    for outputs in LAYERS:
        parts += [nn.Linear(inputs, outputs), nn.ELU()]
        inputs = outputs
    return nn.Sequential(*parts[:-1])


def stored(path):
    """The decoder of a model file of gfe, its weights constant."""
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        head, bytes_of = json.loads(file.read(size)), file.read()
    kinds = {"F32": numpy.float32, "F64": numpy.float64}
    model = initial(0)
    weights = {}
    for name in model.state_dict():
        told = head[f"decoder.{name}"]
        values = numpy.frombuffer(bytes_of[slice(*told["data_offsets"])], kinds[told["dtype"]]).reshape(told["shape"])
        weights[name] = torch.from_numpy(values.astype(numpy.float32))
    model.load_state_dict(weights)
    return model.requires_grad_(False)


class Decoder:
    """A model's layers as pairs of weight [out, in] and bias, and the units of work done with them."""

    def __init__(self, model):
        self.model, self.units = model, 0
        self.layers = [(layer.weight.detach(), layer.bias.detach()) for layer in model if isinstance(layer, nn.Linear)]


@dataclass
class Rules:
    """When codes are done: see the options of gfe encode. `every`: accepted steps from one Hessian to the next."""

    t_end: float
    gtol: float
    edm_tol: float
    every: int = 1
    as_gfe: bool = False


class Point:
    """D and what is needed of it at the latents z [B, d] of data y [B, D]."""

    def __init__(self, decoder, z, y, anchor):
        self.decoder, self.z, self.y, self.anchor = decoder, z, y, anchor
        decoder.units += z.shape[0]
        self.slopes, h = [], z
        for weight, bias in decoder.layers[:-1]:
            a = torch.addmm(bias, h, weight.T)
            h = nn.functional.elu(a)
            self.slopes.append(torch.where(a > 0, 1.0, h + 1.0))
        weight, bias = decoder.layers[-1]
        x = torch.addmm(bias, h, weight.T)
        self.probability = torch.sigmoid(x)
        # In double precision: a step is judged by a difference of two of these.
        values = nn.functional.softplus(x).sub_(y * x).mean(dim=1, dtype=torch.float64)
        self.objective = values + 0.5 * anchor * z.square().sum(1)

    def gradient(self):
        """The gradient of the objective by a backward pass, [B, d]."""
        self.decoder.units += self.z.shape[0]
        layers = self.decoder.layers
        delta = (self.probability - self.y) / DATA
        for (weight, _), slope in zip(layers[:0:-1], self.slopes[::-1]):
            delta = (delta @ weight).mul_(slope)
        return delta @ layers[0][0] + self.anchor * self.z

    def shared_derivatives(self):
        """The same where all samples are at the same z, by the Jacobian of one."""
        first = self.only(slice(0, 1))
        _, hessian = first.derivatives()
        return self.gradient(), hessian.repeat(len(self.z), 1, 1)

    def derivatives(self):
        """The gradient, and J^T diag(l'') J + I/tau [B, d, d]: one product a layer for all samples and directions."""
        count, layers = self.z.shape[0], self.decoder.layers
        self.decoder.units += count * LATENT
        weight = layers[0][0]
        jacobian = weight[:, None, :] * self.slopes[0].T[:, :, None]
        for (weight, _), slope in zip(layers[1:-1], self.slopes[1:]):
            jacobian = (weight @ jacobian.reshape(-1, count * LATENT)).view(-1, count, LATENT)
            jacobian *= slope.T[:, :, None]
        jacobian = (layers[-1][0] @ jacobian.reshape(-1, count * LATENT)).view(-1, count, LATENT)
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
        part.decoder, part.anchor, part.y = self.decoder, self.anchor, self.y[keep]
        part.z, part.probability, part.objective, *part.slopes = [value[keep] for value in self.all()]
        return part


def bfgs(hessian, s, y, scaled=True):
    """Powell's damped update of every H [B, d, d] after Oren's and Luenberger's scaling, as gfe does it."""
    hs = torch.einsum("bij,bj->bi", hessian, s)
    shs, sy = (s * hs).sum(1), (s * y).sum(1)
    if scaled:
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


def falls(now, trial, gradient):
    """Which steps lower the objective; within the rounding of single precision, those that lower the gradient's norm."""
    actual = now.objective - trial.objective
    good = actual > 0
    unclear = actual.abs() <= 2.0**-23 * now.objective.abs()
    if unclear.any():
        part = trial.only(unclear)
        good[unclear] = part.gradient().square().sum(1) < gradient[unclear].square().sum(1)
    return actual, good, unclear


@torch.no_grad()
def gauss_newton(decoder, y, rules, most=1000):
    """Codes of y [B, D], and the steps that they took."""
    anchor, count = 1.0 / rules.t_end, y.shape[0]
    codes, steps = torch.zeros(count, LATENT), 0
    slot = torch.arange(count)
    now = Point(decoder, torch.zeros(count, LATENT), y, anchor)
    gradient, hessian = now.shared_derivatives() if rules.as_gfe else now.derivatives()
    age = torch.zeros(count, dtype=torch.int64)
    close = torch.zeros(count, dtype=torch.int64)
    # gfe's first step: 30 over the curvature along the first gradient.
    norm = gradient.square().sum(1)
    damping = torch.einsum("bi,bij,bj->b", gradient, hessian, gradient) / norm / 30.0
    growth = torch.full((count,), 2.0)
    by_edm = rules.edm_tol > 0
    eye = torch.eye(LATENT)
    edm = torch.full((count,), torch.inf)
    for _ in range(most):
        if by_edm:
            edm = 0.5 * DATA * (gradient * solve(hessian, gradient)).sum(1)
        small = gradient.square().sum(1) <= rules.gtol**2
        done = small | ((edm <= rules.edm_tol) & (close >= 1))
        stale = done & ~small & (age > 0)
        if stale.any():
            # What says that it is done has to be a fresh Hessian.
            hessian[stale] = now.only(stale).derivatives()[1]
            age[stale] = 0
            edm[stale] = 0.5 * DATA * (gradient[stale] * solve(hessian[stale], gradient[stale])).sum(1)
            done = small | ((edm <= rules.edm_tol) & (close >= 1))
        if done.any():
            codes[slot[done]] = now.z[done]
            left = ~done
            if not left.any():
                return codes, steps
            now, gradient, hessian, slot = now.only(left), gradient[left], hessian[left], slot[left]
            age, close, edm = age[left], close[left], edm[left]
            damping, growth = damping[left], growth[left]
        step = solve(hessian + damping[:, None, None] * eye, -gradient)
        predicted = 0.5 * (damping * step.square().sum(1) - (gradient * step).sum(1))
        trial = Point(decoder, now.z + step, now.y, anchor)
        steps += slot.numel()
        actual, good, unclear = falls(now, trial, gradient)
        ratio = torch.where(unclear & good, 1.0, (actual / predicted).float())
        # Nielsen, IMM-REP-1999-05, eq. 2.21.
        damping = torch.where(good, damping * (1 - (2 * ratio - 1) ** 3).clamp(min=1 / 3), damping * growth)
        growth = torch.where(good, 2.0, 2 * growth)
        close = torch.where(good, torch.where((edm <= rules.edm_tol) & (ratio >= 0.5) & (ratio <= 2), close + 1, 0), close)
        if good.all():
            now = trial
        else:
            # A step that fails says where samples stop in single precision: at the rounding of the objective.
            stuck = ~good & (growth > 2.0**12)
            close = torch.where(stuck, 1, close)
            now.take(trial, good, good)
        if rules.as_gfe and not good.all():
            # What a rejected step says of the curvature, unless it is another by orders of magnitude.
            failed = (~good).nonzero()[:, 0]
            change = trial.only(failed).gradient() - gradient[failed]
            s, own = step[failed], hessian[failed]
            near = (s * change).sum(1) <= 10 * torch.einsum("bi,bij,bj->b", s, own, s)
            failed, s, change, own = failed[near], s[near], change[near], own[near]
            bfgs(own, s, change, scaled=False)
            hessian[failed] = own
        age += good.long()
        stale = good & (age >= rules.every)
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


def values_and_gradients(decoder, z, y):
    """The loss of every sample [B], and its gradient [B, d], by autograd."""
    decoder.units += 2 * z.shape[0]
    z = z.detach().requires_grad_(True)
    loss = nn.functional.binary_cross_entropy_with_logits(decoder.model(z), y, reduction="none").mean(1)
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    return loss.detach(), gradient


def amd(decoder, y, t_end=1e4, dt_max=10.0, shrink=0.5, max_backtracks=20, armijo=1e-5, fallback=10.0):
    """The authors' encoder on MNIST: one step size for all of y [B, D], the loss summed over them. Codes and steps."""
    z, t, dt, steps = torch.zeros(y.shape[0], LATENT), 0.0, 1.0, 0
    loss, gradient = values_and_gradients(decoder, z, y)
    means = [loss.mean().item()]
    while t < t_end:
        for attempt in range(max_backtracks + 1):
            ahead = z - dt * gradient
            loss1, gradient1 = values_and_gradients(decoder, ahead, y)
            steps += y.shape[0]
            fine = bool((loss - loss1 >= armijo * dt * dt_max * gradient1.square().sum(1)).all())
            if fine or attempt == max_backtracks:
                break
            dt *= shrink
        z, loss, gradient = ahead, loss1, gradient1
        t += dt if fine else fallback
        dt = min(max(1.1 * dt, 1.0), dt_max, t_end - t) if fine else 1.0
        means.append(loss.mean().item())
        settled = (t_end - t) / t_end <= 0.98 and len(means) >= 5
        if settled and abs(numpy.gradient(means[-5:]).mean()) < 1e-5:
            break
    return z, steps


def adam(decoder, y, rate, steps=200):
    """Codes of y [B, D] after so many steps of Adam, all at once."""
    z = torch.zeros(y.shape[0], LATENT, requires_grad=True)
    optimizer = torch.optim.Adam([z], lr=rate, fused=True)
    for _ in range(steps):
        _, z.grad = values_and_gradients(decoder, z, y)
        optimizer.step()
    return z.detach(), steps * y.shape[0]


def lbfgs(decoder, y, iterations=300, history=20):
    """Codes of y [B, D] by L-BFGS of the sum of their losses, all at once, with a line search of the strong Wolfe conditions."""
    z = torch.zeros(y.shape[0], LATENT, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [z], max_iter=iterations, history_size=history, tolerance_grad=0, tolerance_change=0, line_search_fn="strong_wolfe"
    )
    evaluations = 0

    def closure():
        nonlocal evaluations
        evaluations += 1
        loss, z.grad = values_and_gradients(decoder, z, y)
        return loss.sum(dtype=torch.float64)

    optimizer.step(closure)
    return z.detach(), evaluations * y.shape[0]
