"""Decoders and all their derivatives as PyTorch computes them, for `tests/torch.rs`.

    python compare_torch.py tests/golden           three small decoders, in single and in double precision
    python compare_torch.py --full FOLDER       both CIFAR-10 decoders at full size
    python compare_torch.py --time                 seconds of PyTorch for them, one thread

Every file is a model file written by datasets/gfe_export.py, with more tensors gfe.test.*: the directions z_dot, x_bar and
x_bar_dot, and x_dot = J z_dot, z_bar = J^T x_bar, z_bar_dot (the derivative of z_bar along z_dot and x_bar_dot), and
params_bar.NAME and params_bar_dot.NAME for every weight.
"""

import argparse
import json
import pathlib
import sys
import time

import torch
from torch import nn
from torch.func import functional_call, jvp, vjp

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "datasets"))
import gfe_export  # noqa: E402

LANES = 3


class Residual(nn.Module):
    """main(h) + shortcut(h)."""

    def __init__(self, main, shortcut):
        super().__init__()
        self.main, self.shortcut = main, shortcut

    def forward(self, h):
        return self.main(h) + self.shortcut(h)


def up_block(inputs, outputs):
    """Doubles the image's sides; a layer of its own follows the sum."""
    return Residual(
        nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, padding=1), nn.LeakyReLU(0.2),
                      nn.Conv2d(outputs, outputs, 3, padding=1)),
        nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 1)))


def residual(latent, side, first, second, third):
    """The authors' residual decoder for CIFAR-10: latent 64, side 4, channels 256, 128, 64."""
    return nn.Sequential(
        nn.Linear(latent, first * side * side), nn.Unflatten(1, (first, side, side)),
        up_block(first, second), nn.LeakyReLU(0.2), up_block(second, third), nn.LeakyReLU(0.2),
        nn.Upsample(scale_factor=2), nn.Conv2d(third, third, 3, padding=1), nn.LeakyReLU(0.2),
        nn.Conv2d(third, 3, 3, padding=1), nn.Sigmoid())


def transposed(latent, side, channels):
    """The authors' smaller one: latent 64, side 2, channels 128, 64, 32, 16."""
    layers = [nn.Linear(latent, channels[0] * side * side), nn.Unflatten(1, (channels[0], side, side))]
    for inputs, outputs in zip(channels, [*channels[1:], 3]):
        layers += [nn.ReLU(), nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)]
    return nn.Sequential(*layers, nn.Sigmoid())


def every():
    """Every kind of layer and activation."""
    return nn.Sequential(
        nn.Linear(5, 24), nn.Tanh(), nn.Linear(24, 36, bias=False), nn.SiLU(), nn.Unflatten(1, (4, 3, 3)),
        nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1), nn.SELU(),
        Residual(nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.GELU(),
                               Residual(nn.Sequential(nn.Conv2d(6, 6, 1, bias=False), nn.ELU()), nn.Identity())),
                 nn.Identity()),
        nn.Softplus(), nn.Upsample(scale_factor=3),
        nn.Sequential(nn.Conv2d(6, 4, (4, 3), stride=(2, 3), padding=(1, 2)), nn.LeakyReLU(), nn.Identity()),
        nn.ConvTranspose2d(4, 3, (2, 3), stride=(1, 2), padding=(0, 1), bias=False), nn.ReLU(),
        nn.Conv2d(3, 2, 2), nn.Sigmoid(), nn.Flatten(), nn.Linear(2 * 9 * 12, 10))


SMALL = {
    "residual": lambda: residual(6, 2, 12, 8, 4),
    "transposed": lambda: transposed(6, 1, [12, 8, 6, 4]),
    "every": every,
}
FULL = {
    "cifar_residual": lambda: residual(64, 4, 256, 128, 64),
    "cifar_transposed": lambda: transposed(64, 2, [128, 64, 32, 16]),
}


def bars(module, z, x_bar):
    """J^T x_bar and the parameter gradients, by name."""
    params = {name: param.detach() for name, param in module.named_parameters()}
    flat = lambda z, params: functional_call(module, params, z).reshape(len(z), -1)
    return vjp(flat, z, params)[1](x_bar)


def write(name, module, dtype, folder):
    """One file."""
    module = module.to(dtype)
    path = folder / f"{name}_{'f32' if dtype == torch.float32 else 'f64'}.safetensors"
    decoder = gfe_export.save(module, path)
    z = torch.randn(LANES, decoder["config"]["latent"], dtype=dtype)
    with torch.no_grad():
        x = module(z).reshape(LANES, -1)
    z_dot, x_bar, x_bar_dot = torch.randn_like(z), torch.randn_like(x), torch.randn_like(x)
    _, x_dot = jvp(lambda z: module(z).reshape(LANES, -1), (z,), (z_dot,))
    (z_bar, params_bar), (z_bar_dot, params_bar_dot) = jvp(
        lambda z, x_bar: bars(module, z, x_bar), (z, x_bar), (z_dot, x_bar_dot))
    tensors = dict(module.state_dict()) | {
        "gfe.test.z": z, "gfe.test.x": x, "gfe.test.z_dot": z_dot, "gfe.test.x_bar": x_bar,
        "gfe.test.x_bar_dot": x_bar_dot, "gfe.test.x_dot": x_dot, "gfe.test.z_bar": z_bar, "gfe.test.z_bar_dot": z_bar_dot}
    tensors |= {f"gfe.test.params_bar.{name}": bar for name, bar in params_bar.items()}
    tensors |= {f"gfe.test.params_bar_dot.{name}": bar for name, bar in params_bar_dot.items()}
    gfe_export.write(path, tensors, {"gfe.decoder": json.dumps(decoder)})
    if name in FULL:
        ours = json.loads((HERE / f"{name}.json").read_text())
        assert decoder["config"] == ours, f"{name}.json differs from {decoder['config']}"
    print(f"{path}: {path.stat().st_size} bytes")


def measure():
    """Seconds a sample of the forward pass and of one vjp, f64, 16 samples."""
    torch.set_num_threads(1)
    for name, make in FULL.items():
        module = make().double()
        z = torch.randn(16, 64, dtype=torch.float64)

        def seconds(call):
            call()
            start = time.perf_counter()
            for _ in range(3):
                call()
            return (time.perf_counter() - start) / 48

        def both():
            point = z.clone().requires_grad_()
            x = module(point)
            torch.autograd.grad(x, point, torch.ones_like(x))

        with torch.no_grad():
            forward = seconds(lambda: module(z))
        print(f"{name}: forward {1e3 * forward:.3f} ms, forward and vjp {1e3 * seconds(both):.3f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=pathlib.Path)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--time", action="store_true")
    options = parser.parse_args()
    if options.time:
        return measure()
    options.folder.mkdir(parents=True, exist_ok=True)
    for index, (name, make) in enumerate((FULL if options.full else SMALL).items()):
        for dtype in (torch.float64, torch.float32):
            torch.manual_seed(index)
            write(name, make(), dtype, options.folder)


if __name__ == "__main__":
    main()
