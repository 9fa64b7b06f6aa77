"""The methods that encode.py compares: each finds codes of images, and says what it did."""

import json
import tempfile
import time

import h5py
import numpy
import torch

import machine
import scipy_codes
import torch_codes
from torch_codes import Rules

RATES = [0.1, 0.3, 1.0, 3.0]
WIDTHS = [1000, 250, 100]
DT_MAX = [10, 100, 300]


class Method:
    """`find(data, count)` gives codes of the first `count` images, CPU seconds, and units of work in all."""

    def __init__(self, name, text, find, most=None, peer_of=None):
        # `most`: images that it is measured on, where it is too slow for all; `peer_of`: the method of gfe that is the same.
        self.name, self.text, self.find, self.most, self.peer_of = name, text, find, most, peer_of
        self.tuned = ""


class Data:
    """Images [N, D] in both precisions, a decoder, and where the files are."""

    def __init__(self, path, model, count):
        self.path, self.model = path, model
        with h5py.File(path) as file:
            images = file["images"][:count].reshape(-1, torch_codes.DATA)
        self.double = images.astype(numpy.float64) / (255.0 if images.dtype == numpy.uint8 else 1.0)
        self.single = torch.from_numpy(self.double.astype(numpy.float32))
        self.torch_model = torch_codes.stored(model)
        self.layers = [
            (weight.double().numpy(), bias.double().numpy()) for weight, bias in torch_codes.Decoder(self.torch_model).layers
        ]


def by_torch(name, text, encode, width=None, **more):
    """A method that encodes images in batches of `width`; in one batch without. It may be told another width."""

    def find(data, count, width=width):
        decoder = torch_codes.Decoder(data.torch_model)
        begin = time.process_time()
        codes = [encode(decoder, y)[0] for y in data.single[:count].split(width or count)]
        spent = time.process_time() - begin
        return torch.cat(codes).double().numpy(), spent, decoder.units

    return Method(name, text, find, **more)


def tune_width(method, data, count):
    """Takes the batch width that costs least."""
    plain = method.find
    widths = [width for width in WIDTHS if width <= count] or [count]
    # The least of three turns: what else the machine does makes a run slower, never faster.
    turns = [[plain(data, count, width)[1] for width in widths] for _ in range(3)]
    best = widths[numpy.min(turns, axis=0).argmin()]
    method.find = lambda data, count: plain(data, count, best)
    method.tuned = f", batches of {best}"


def tune_adam(method, data, count):
    """Takes the rate that ends lowest."""
    losses = {}
    for rate in RATES:
        codes = torch_codes.adam(torch_codes.Decoder(data.torch_model), data.single[:count], rate)[0]
        losses[rate] = judge(data, codes.double().numpy())["loss"]
    best = min(losses, key=losses.get)
    method.find = by_torch("", "", lambda decoder, y: torch_codes.adam(decoder, y, best)).find
    method.tuned = f", rate {best}"


def by_scipy(name, text, find_one, most, **more):
    def find(data, count):
        begin = time.process_time()
        codes, units = scipy_codes.each(data.layers, data.double[:count], find_one)
        return codes, time.process_time() - begin, units

    return Method(name, text, find, most=most, **more)


def by_gfe(name, text, program, flags, most=None):
    """The whole command: it reads the images and writes an HDF5 file."""

    def find(data, count):
        with tempfile.TemporaryDirectory() as folder:
            output = f"{folder}/codes.h5"
            command = [program, "encode", f"{data.path}:/images", "-m", data.model, "-o", output, "--rows", f"0..{count}"]
            command += ["--threads", "1", "--json", "--fail-above", "1", *flags]
            told, spent = machine.run(command)
            with h5py.File(output) as file:
                codes = file["z"][:].astype(numpy.float64)
        told = json.loads(told)
        units = told["units_per_sample"] * told["samples"] + told["units_shared"]
        return codes, spent, units

    return Method(name, text, find, most=most)


def judge(data, codes):
    """Mean loss, and mean and largest norm of its gradient, at codes [B, d] of the first B images, all in double precision."""
    h, slopes, y = codes, [], data.double[: len(codes)]
    for weight, bias in data.layers[:-1]:
        a = h @ weight.T + bias
        h = numpy.where(a > 0, a, numpy.expm1(numpy.minimum(a, 0)))
        slopes.append(numpy.where(a > 0, 1.0, h + 1.0))
    weight, bias = data.layers[-1]
    x = h @ weight.T + bias
    losses = (numpy.logaddexp(0, x) - y * x).mean(1)
    delta = (1 / (1 + numpy.exp(-x)) - y) / x.shape[1]
    for (weight, _), slope in zip(data.layers[:0:-1], slopes[::-1]):
        delta = (delta @ weight) * slope
    norms = numpy.linalg.norm(delta @ data.layers[0][0], axis=1)
    return {"loss": losses.mean(), "grad_norm_mean": norms.mean(), "grad_norm_max": norms.max()}


def methods(program, gtol):
    """Every method, gfe's own first, and what tunes some of them."""
    steady = ["--t-end", "inf", "--edm-tol", "0", "--gtol", str(gtol)]
    found = [by_gfe("gfe-ptc", "gfe, ptc", program, ["--solver", "ptc", *steady])]
    found += [
        # The authors' rule alone ends a sample, as it does theirs.
        by_gfe(f"gfe-amd-{dt}", f"gfe, amd, dt_max {dt}", program, ["--solver", "amd", "--gtol", "0", "--set", f"method.dt_max={dt}"])
        for dt in DT_MAX
    ]
    found += [by_gfe("gfe-bdf", "gfe, bdf to t = 1e4", program, ["--solver", "bdf", "--gtol", "0"], most=20)]
    rules = lambda every, as_gfe=False: Rules(float("inf"), gtol, 0.0, every, as_gfe)
    gauss_newton = lambda *how: lambda decoder, y: torch_codes.gauss_newton(decoder, y, rules(*how))
    fresh = by_torch("torch-gn", "PyTorch, Gauss-Newton, a fresh Hessian for every step", gauss_newton(1))
    secant = by_torch("torch-gn-secant", "the same with gfe's secant updates, a fresh one every 4 steps", gauss_newton(4))
    as_gfe = by_torch("torch-gn-as-gfe", "the same with all that gfe reuses: one every 12 steps, one at z0 for all", gauss_newton(12, True))
    adam = by_torch("torch-adam", "PyTorch, Adam, 200 steps", lambda decoder, y: torch_codes.adam(decoder, y, 0.3))
    found += [fresh, secant, as_gfe, adam, by_torch("torch-lbfgs", "PyTorch, L-BFGS, one batch", torch_codes.lbfgs)]
    for width, most in [(1000, None), (250, None), (100, None), (16, 96), (5, 50)]:
        for dt in DT_MAX:
            encode = lambda decoder, y, dt=dt: torch_codes.amd(decoder, y, dt_max=float(dt))
            text = f"authors' AMD, batches of {width}, dt_max {dt}"
            found.append(by_torch(f"amd-{width}-{dt}", text, encode, width, most=most, peer_of=f"gfe-amd-{dt}"))
    found += [
        by_scipy("scipy-lbfgsb", "SciPy, L-BFGS-B", scipy_codes.l_bfgs_b(gtol), 40),
        by_scipy("scipy-trust", "SciPy, trust-exact with Gauss-Newton Hessians", scipy_codes.trust_exact(gtol), 40),
        by_scipy("scipy-bdf", "SciPy, solve_ivp BDF to t = 1e4", scipy_codes.bdf(1e4, 1e-6, 1e-8), 20, peer_of="gfe-bdf"),
    ]
    tuning = {"torch-gn": tune_width, "torch-gn-secant": tune_width, "torch-gn-as-gfe": tune_width, "torch-adam": tune_adam}
    return found, tuning
