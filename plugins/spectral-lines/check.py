"""Checks libspectral-lines.so against scipy and against itself. Run: python check.py [LIBRARY]; needs numpy and scipy."""

import ctypes as ct
import json
import pathlib
import sys

import numpy as np
from scipy.special import voigt_profile, wofz

HERE = pathlib.Path(__file__).parent
OK, ERROR = 0, 2
SIZE, DOUBLES = ct.c_size_t, ct.POINTER(ct.c_double)


class Matrix(ct.Structure):
    _fields_ = [("data", DOUBLES), ("rows", SIZE), ("cols", SIZE), ("col_stride", SIZE)]


class Span(ct.Structure):
    _fields_ = [("data", ct.c_void_p), ("len", SIZE)]


class Version(ct.Structure):
    _fields_ = [("major", ct.c_uint32), ("minor", ct.c_uint32)]


class Host(ct.Structure):
    _fields_ = [("size", SIZE), ("version", Version), ("program", ct.c_char_p)]


class Entry(ct.Structure):
    _fields_ = [("magic", ct.c_uint64), ("size", SIZE), ("version", Version),
                ("get_factory", ct.CFUNCTYPE(ct.c_void_p, ct.c_char_p))]


class Instance(ct.Structure):
    _fields_ = [("table", ct.c_void_p), ("instance", ct.c_void_p)]


class Factory(ct.Structure):
    _fields_ = [("size", SIZE), ("count", ct.CFUNCTYPE(SIZE)), ("info", ct.CFUNCTYPE(ct.c_void_p, SIZE)),
                ("create", ct.CFUNCTYPE(ct.c_int32, ct.c_char_p, Span, ct.POINTER(Instance), Span))]


class Shape(ct.Structure):
    _fields_ = [(name, SIZE) for name in ("latent", "data", "params", "context", "tape")] + [
        ("output", ct.c_uint32), ("reserved", ct.c_uint32)]


class At(ct.Structure):
    _fields_ = [("size", SIZE), ("params_version", ct.c_uint64), ("params", Span), ("z", Matrix), ("context", Matrix)]


class Latent(ct.Structure):
    _fields_ = [("name", ct.c_char_p), ("unit", ct.c_char_p)] + [
        (name, ct.c_double) for name in ("lower", "upper", "scale", "default")] + [
        ("transform", ct.c_uint32), ("reserved", ct.c_uint32)]


ATP = ct.POINTER(At)


class Table(ct.Structure):
    _fields_ = [("size", SIZE), ("shape", ct.CFUNCTYPE(ct.c_int32, ct.c_void_p, ct.POINTER(Shape))),
                ("tensor", ct.c_void_p), ("scratch_len", ct.CFUNCTYPE(SIZE, ct.c_void_p, SIZE)),
                ("forward", ct.CFUNCTYPE(ct.c_int32, ct.c_void_p, ATP, Matrix, Matrix, Span)),
                ("vjp", ct.CFUNCTYPE(ct.c_int32, ct.c_void_p, ATP, Matrix, Matrix, Matrix, Span)),
                ("last_error", ct.CFUNCTYPE(ct.c_char_p, ct.c_void_p)), ("destroy", ct.CFUNCTYPE(None, ct.c_void_p)),
                ("extension", ct.CFUNCTYPE(ct.c_void_p, ct.c_void_p, ct.c_char_p))]


def extension_of(*arguments):
    class One(ct.Structure):
        _fields_ = [("size", SIZE), ("call", ct.CFUNCTYPE(ct.c_int32, ct.c_void_p, *arguments))]
    return One


EXTENSIONS = {
    "tangent": extension_of(ATP, Matrix, Matrix, Matrix, Span),
    "second-order": extension_of(ATP, Matrix, Matrix, Matrix, Matrix, Matrix, Span, Span),
    "latents": extension_of(SIZE, ct.POINTER(Latent)),
    "guess": extension_of(Span, Matrix, Matrix, Matrix, SIZE, Matrix),
}


def matrix(a):
    """A column-major view: `a` is [lanes, rows], each lane contiguous."""
    return Matrix(a.ctypes.data_as(DOUBLES), a.shape[1], a.shape[0], a.strides[0] // 8 if a.shape[0] else a.shape[1])


class Refused(Exception):
    pass


class Decoder:
    """The plugin with numpy arrays that have a lane per row."""

    def __init__(self, library=HERE / "libspectral-lines.so", config=None):
        entry = ct.CDLL(str(library)).gfe_plugin_entry
        entry.restype, entry.argtypes = ct.POINTER(Entry), [ct.POINTER(Host)]
        info = entry(ct.byref(Host(ct.sizeof(Host), Version(1, 0), b"check.py"))).contents
        assert info.magic == 0x474645504C554700
        factory = ct.cast(info.get_factory(b"gfe.decoder-factory/1"), ct.POINTER(Factory)).contents
        text = config if isinstance(config, bytes) else json.dumps(config).encode() if config is not None else b""
        made, message = Instance(), ct.create_string_buffer(400)
        status = factory.create(b"spectral-lines", Span(ct.cast(ct.c_char_p(text), ct.c_void_p), len(text)), ct.byref(made),
                                Span(ct.cast(message, ct.c_void_p), 400))
        if status != OK:
            raise Refused(message.value.decode())
        self.table, self.instance = ct.cast(made.table, ct.POINTER(Table)).contents, made.instance
        shape = Shape()
        assert self.table.shape(self.instance, ct.byref(shape)) == OK
        self.d, self.D, self.tape_rows, self.c = shape.latent, shape.data, shape.tape, shape.context
        self.calls = {key: ct.cast(self.table.extension(self.instance, f"gfe.decoder.{key}/1".encode()),
                                   ct.POINTER(kind)).contents.call for key, kind in EXTENSIONS.items()}
        self.latents = [self.latent(i) for i in range(self.d)]
        self.names = [latent.name.decode() for latent in self.latents]

    def latent(self, index):
        latent = Latent()
        self.answer(self.calls["latents"](self.instance, index, ct.byref(latent)))
        return latent

    def answer(self, status):
        if status != OK:
            raise Refused(self.table.last_error(self.instance).decode())

    def at(self, z, context):
        return ct.byref(At(ct.sizeof(At), 0, Span(None, 0), matrix(z), matrix(context)))

    def forward(self, z, context, x=None, tape=None):
        x = np.empty((len(z), self.D)) if x is None else x
        tape = np.empty((len(z), self.tape_rows)) if tape is None else tape
        self.answer(self.table.forward(self.instance, self.at(z, context), matrix(x), matrix(tape), Span(None, 0)))
        return x, tape

    def vjp(self, z, context, tape, x_bar):
        z_bar = np.empty((len(z), self.d))
        self.answer(self.table.vjp(self.instance, self.at(z, context), matrix(tape), matrix(x_bar), matrix(z_bar),
                                   Span(None, 0)))
        return z_bar

    def jvp(self, z, context, tape, z_dot):
        x_dot = np.empty((len(z_dot), self.D))
        self.answer(self.calls["tangent"](self.instance, self.at(z, context), matrix(tape), matrix(z_dot),
                                          matrix(x_dot), Span(None, 0)))
        return x_dot

    def hvp(self, z, context, tape, z_dot, x_bar, x_bar_dot):
        z_bar_dot = np.empty((len(z), self.d))
        self.answer(self.calls["second-order"](self.instance, self.at(z, context), matrix(tape), matrix(z_dot),
                                               matrix(x_bar), matrix(x_bar_dot), matrix(z_bar_dot), Span(None, 0),
                                               Span(None, 0)))
        return z_bar_dot

    def guess(self, y, w, context, start=0):
        z = np.empty((len(y), self.d))
        self.answer(self.calls["guess"](self.instance, Span(None, 0), matrix(context), matrix(y), matrix(w), start,
                                        matrix(z)))
        return z

    def column(self, name):
        return np.array([getattr(latent, name) for latent in self.latents])

    def physical(self, u):
        """The host's map from unbounded to physical coordinates, with its first and second derivative."""
        lower, upper, scale, default, kind = (self.column(name) for name in
                                              ("lower", "upper", "scale", "default", "transform"))
        with np.errstate(all="ignore"):
            growing = (default - lower) * np.exp(scale * u)
            share = 1.0 / (1.0 + np.exp(-(np.log((default - lower) / (upper - default)) + scale * u)))
            width = (upper - lower) * share * (1.0 - share)
            p = np.choose(kind, [default + scale * u, lower + growing, lower + (upper - lower) * share])
            first = np.choose(kind, [scale + 0 * u, scale * growing, scale * width])
            second = np.choose(kind, [0 * u, scale**2 * growing, scale**2 * width * (1.0 - 2.0 * share)])
        return p, first, second

    def unbounded(self, p):
        lower, upper, scale, default, kind = (self.column(name) for name in
                                              ("lower", "upper", "scale", "default", "transform"))
        with np.errstate(all="ignore"):
            logit = np.log((p - lower) / (upper - p)) - np.log((default - lower) / (upper - default))
            return np.choose(kind, [p - default, np.log((p - lower) / (default - lower)), logit]) / scale
