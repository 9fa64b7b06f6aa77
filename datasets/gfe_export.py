"""Turns a PyTorch decoder into a model file of gfe: `save(module, path)`.

The module is a `torch.nn.Sequential` that takes codes [n, d] to samples, made of

    Linear, Conv2d, ConvTranspose2d, Upsample(mode="nearest", whole scale_factor), Flatten, Unflatten(1, (c, h, w)),
    Identity, Dropout (as in eval()), ReLU, LeakyReLU, ELU, SELU, GELU, SiLU, Softplus, Tanh, Sigmoid,
    Sequential, and residual blocks.

A residual block is a module with exactly two children, `main` and `shortcut`, whose output is main(h) + shortcut(h):
`main` is a Sequential, `shortcut` a Sequential or an Identity. What follows the sum is a layer of the Sequential around
it.

    class Residual(torch.nn.Module):
        def __init__(self, main, shortcut):
            super().__init__()
            self.main, self.shortcut = main, shortcut

        def forward(self, h):
            return self.main(h) + self.shortcut(h)

Linear layers with one kind of activation between them, and none after the last, become gfe's built-in dense decoder;
anything else becomes the plugin `conv`. A decoder trained by binary cross entropy ends without its Sigmoid and is saved
with output="logits"; with a Sigmoid at the end and a squared error (output="values", loss mse) it is saved as it is.

The file is a safetensors container: weights under PyTorch's names (`decoder.{2i}.weight` for dense), the architecture
in the metadata `gfe.decoder`, and eight codes `gfe.test.z` [8, d] with the module's own samples `gfe.test.x` [8, D], by
which a reader checks that it computes the same. A layer that cannot be had raises `Unsupported`, which names it and
says why. Needs torch alone.
"""

import copy
import ctypes
import functools
import json
import os
import struct
import sys

import torch
from torch import nn

TYPES = {torch.float32: ("F32", 4), torch.float64: ("F64", 8)}
PLAIN = {nn.ReLU: "relu", nn.SELU: "selu", nn.SiLU: "silu", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid",
         nn.Identity: "identity", nn.Dropout: "identity"}
SAMPLES = 8


class Unsupported(ValueError):
    """A layer that gfe does not have."""


def save(module, path, output="values"):
    """Writes `module` to `path`; `output` says what its values are: "values", "logits" or "log_rates"."""
    if output not in ("values", "logits", "log_rates"):
        raise ValueError(f'output is {output!r}: choose "values", "logits" or "log_rates"')
    parameter = next(module.parameters(), None)
    if parameter is not None and parameter.dtype not in TYPES:
        module = copy.deepcopy(module).float()
    was_training = module.training
    module.eval()
    try:
        layers = sequence(module, "the module")
        if output != "values" and layers and layers[-1] == "sigmoid":
            raise ValueError(f"the module ends with a Sigmoid, and output={output!r} applies one more: leave it away")
        latent = inputs(module)
        z, x = samples(module, latent)
    finally:
        module.train(was_training)
    tensors = weights(module)
    decoder = dense(layers, latent, output)
    if decoder is None:
        decoder = {"decoder": "conv", "config": {"latent": latent, "layers": layers, "output": output}}
    else:
        tensors = {f"decoder.{index // 2 * 2}.{name.rsplit('.', 1)[1]}": tensor
                   for index, (name, tensor) in enumerate(tensors.items())}
    write(path, tensors | {"gfe.test.z": z, "gfe.test.x": x}, {"gfe.decoder": json.dumps(decoder)})
    return decoder


def weights(module, prefix=""):
    """All tensors, under the names that they have in a Sequential without names of its own; weights before biases."""
    tensors = {}
    for place, child in enumerate(module.children()):
        if type(child).forward is nn.Sequential.forward:
            tensors |= weights(child, f"{prefix}{place}.")
        elif type(child) in LAYERS:
            tensors |= {f"{prefix}{place}.{name}": tensor for name, tensor in child.state_dict().items()}
        else:
            tensors |= weights(child.main, f"{prefix}{place}.main.")
            tensors |= weights(child.shortcut, f"{prefix}{place}.shortcut.")
    return tensors


def sequence(module, name):
    """The list of layers of a Sequential."""
    if type(module).forward is not nn.Sequential.forward:
        raise Unsupported(f"{name} is {kind(module)}: it has to be a torch.nn.Sequential")
    return [layer(child, f"layer {place}" if name == "the module" else f"{name}.{place}")
            for place, child in module.named_children()]


def kind(module):
    return f"a {type(module).__module__}.{type(module).__qualname__}"


def layer(module, name):
    """One layer as the configuration of the plugin `conv` writes it."""
    if module._forward_hooks or module._forward_pre_hooks:
        raise Unsupported(f"{name}, {kind(module)}, has hooks (as weight_norm sets them): remove them first")
    if type(module).forward is nn.Sequential.forward:
        return {"sequential": sequence(module, name)}
    make = LAYERS.get(type(module))
    if make is not None:
        return make(module, lambda reason: Unsupported(f"{name}, {kind(module)}: {reason}"))
    if is_residual(module):
        return residual(module, name)
    known = ", ".join(sorted(type.__name__ for type in LAYERS))
    raise Unsupported(f"{name} is {kind(module)}, which gfe does not have; it has {known}, Sequential, and residual "
                      "blocks with the two children `main` and `shortcut`")


def is_residual(module):
    names = {name for name, _ in module.named_children()}
    return names == {"main", "shortcut"} and not list(module.parameters(recurse=False))


def residual(module, name):
    options = {"main": sequence(module.main, f"{name}.main")}
    if type(module.shortcut) is not nn.Identity:
        options["shortcut"] = sequence(module.shortcut, f"{name}.shortcut")
    return {"residual": options}


def pair(value):
    """A size, as one number where both are equal."""
    height, width = (value, value) if isinstance(value, int) else value
    return height if height == width else [height, width]


def linear(module, refuse):
    return {"linear": {"out_features": module.out_features} | bias(module)}


def bias(module):
    return {} if module.bias is not None else {"bias": False}


def window(module, refuse):
    if module.groups != 1:
        raise refuse(f"groups is {module.groups}, only 1 can be had")
    if pair(module.dilation) != 1:
        raise refuse(f"dilation is {module.dilation}, only 1 can be had")
    if module.padding_mode != "zeros":
        raise refuse(f"padding_mode is {module.padding_mode!r}, only 'zeros' can be had")
    if isinstance(module.padding, str):
        raise refuse(f"padding is {module.padding!r}: give it in pixels")
    options = {"out_channels": module.out_channels, "kernel_size": pair(module.kernel_size)}
    options |= {"stride": pair(module.stride)} if pair(module.stride) != 1 else {}
    return options | ({"padding": pair(module.padding)} if pair(module.padding) != 0 else {})


def conv(module, refuse):
    return {"conv2d": window(module, refuse) | bias(module)}


def transpose(module, refuse):
    extra = pair(module.output_padding)
    options = window(module, refuse) | ({"output_padding": extra} if extra != 0 else {})
    return {"conv_transpose2d": options | bias(module)}


def upsample(module, refuse):
    if module.mode != "nearest":
        raise refuse(f"mode is {module.mode!r}, only 'nearest' can be had")
    scale = module.scale_factor
    if isinstance(scale, tuple):
        scale = scale[0] if len(set(scale)) == 1 else None
    if scale is None or scale != int(scale):
        raise refuse(f"scale_factor is {module.scale_factor} and size {module.size}, only a whole factor can be had")
    return {"upsample": {"scale_factor": int(scale)}}


def unflatten(module, refuse):
    if module.dim not in (1, -1) or len(module.unflattened_size) != 3:
        raise refuse(f"dim is {module.dim} and the size {tuple(module.unflattened_size)}, only dim 1 and three sizes "
                     "(channels, height, width) can be had")
    return {"unflatten": [int(size) for size in module.unflattened_size]}


def flatten(module, refuse):
    if module.start_dim != 1 or module.end_dim not in (-1, 3):
        raise refuse(f"start_dim is {module.start_dim} and end_dim {module.end_dim}, only Flatten() can be had")
    return "flatten"


def leaky_relu(module, refuse):
    return "leaky_relu" if module.negative_slope == 0.01 else {"leaky_relu": {"negative_slope": module.negative_slope}}


def elu(module, refuse):
    if module.alpha != 1.0:
        raise refuse(f"alpha is {module.alpha}, only 1 can be had")
    return "elu"


def gelu(module, refuse):
    if module.approximate != "none":
        raise refuse(f"approximate is {module.approximate!r}, only 'none' can be had")
    return "gelu"


def softplus(module, refuse):
    if module.beta != 1.0:
        raise refuse(f"beta is {module.beta}, only 1 can be had")
    return "softplus"


LAYERS = {nn.Linear: linear, nn.Conv2d: conv, nn.ConvTranspose2d: transpose, nn.Upsample: upsample, nn.Flatten: flatten,
          nn.Unflatten: unflatten, nn.LeakyReLU: leaky_relu, nn.ELU: elu, nn.GELU: gelu, nn.Softplus: softplus}
LAYERS |= {type: lambda module, refuse, name=name: name for type, name in PLAIN.items()}


def dense(layers, latent, output):
    """The built-in decoder's configuration, or None where the layers are no such decoder."""
    layers = [layer for layer in layers if layer not in ("identity", "flatten")]
    if layers and isinstance(layers[-1], dict) and "unflatten" in layers[-1]:
        layers.pop()
    linear, between = layers[0::2], layers[1::2]
    if len(layers) % 2 == 0 or len(set(map(str, between))) > 1 or not all(isinstance(name, str) for name in between):
        return None
    if not all(isinstance(layer, dict) and layer.keys() == {"linear"} for layer in linear):
        return None
    if any("bias" in layer["linear"] for layer in linear):
        return None
    return {"decoder": "dense", "latent": latent, "layers": [layer["linear"]["out_features"] for layer in linear],
            "activation": between[0] if between else "identity", "output": output}


def inputs(module):
    """d: what the first layer that says so takes."""
    for part in module.modules():
        if type(part) is nn.Linear:
            return part.in_features
        if type(part) is nn.Unflatten:
            size = 1
            for count in part.unflattened_size:
                size *= int(count)
            return size
    raise Unsupported("the module has no Linear and no Unflatten from which the length of a code could be told")


def samples(module, latent):
    """Codes and the module's own samples; layers are held to what is said of them on the way."""
    first = next(module.parameters(), torch.zeros(()))
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(SAMPLES, latent, generator=generator, dtype=torch.float64).to(first.dtype)

    def check_sum(name, block, arguments, result):
        expected = block.main(*arguments) + block.shortcut(*arguments)
        if expected.shape != result.shape or not torch.allclose(expected, result):
            raise Unsupported(f"layer {name}, {kind(block)}, does not give main(h) + shortcut(h), as residual blocks do")

    def check_row(name, linear, arguments, _):
        if arguments[0].dim() != 2:
            raise Unsupported(f"layer {name}, {kind(linear)}, acts on rows of an image: put a Flatten before it")

    hooks = []
    for name, part in module.named_modules():
        check = check_row if type(part) is nn.Linear else check_sum if is_residual(part) else None
        if check is not None:
            hooks.append(part.register_forward_hook(functools.partial(check, name)))
    try:
        with torch.no_grad():
            x = module(z.to(first.device))
    finally:
        for hook in hooks:
            hook.remove()
    return z, x.reshape(SAMPLES, -1)


def write(path, tensors, metadata):
    """A safetensors file, whole or not at all."""
    if sys.byteorder != "little":
        raise RuntimeError("this machine stores numbers with the high byte first; safetensors wants the low one first")
    header, parts, end = {"__metadata__": metadata}, [], 0
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        if tensor.dtype not in TYPES:
            tensor = tensor.to(torch.float32)
        code, size = TYPES[tensor.dtype]
        start, end = end, end + tensor.numel() * size
        header[name] = {"dtype": code, "shape": list(tensor.shape), "data_offsets": [start, end]}
        parts.append(ctypes.string_at(tensor.data_ptr(), end - start))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    partial = f"{path}.partial"
    with open(partial, "wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for part in parts:
            file.write(part)
    os.replace(partial, path)
