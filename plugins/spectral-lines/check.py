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


REDSHIFTS = np.linspace(0.0, 0.03, 7)


def samples(decoder, lanes=7, seed=5):
    """Latents around the defaults, with narrow, broad, Lorentzian and Gaussian lines among them; and contexts."""
    rng = np.random.default_rng(seed)
    z = decoder.physical(rng.normal(size=(lanes, decoder.d)))[0]
    for name, values in (("sigma_1", [0.01, 0.3, 3.0]), ("gamma_2", [0.0, 1e-6, 5.0])):
        if name in decoder.names:
            z[:3, decoder.names.index(name)] = values
    return z, np.stack([REDSHIFTS[:lanes], rng.uniform(0.1, 0.3, lanes)], 1)


def reference(decoder, config, z, context):
    """x by scipy, straight from the formula of the README."""
    grid = config.get("grid", {"first": 640.0, "last": 690.0, "count": 501})
    wavelength = np.array(grid["wavelengths"]) if "wavelengths" in grid else np.linspace(
        grid["first"], grid["last"], grid["count"])
    value = {name: z[:, [i]] for i, name in enumerate(decoder.names)}
    t = 2.0 * (wavelength - wavelength[0]) / (wavelength[-1] - wavelength[0]) - 1.0
    x = sum(value[f"continuum_{j}"] * np.polynomial.Chebyshev.basis(j)(t) for j in range(config["continuum"]["degree"] + 1))
    stretch, resolution = 1.0 + context[:, :1], context[:, 1:]
    sign = -1.0 if config.get("kind") == "absorption" else 1.0
    for k in range(1, config["lines"] + 1):
        sigma, gamma = (value.get(f"{name}_{k}", value.get(name, config.get(name, {}).get("default")))
                        for name in ("sigma", "gamma"))
        x = x + sign * value[f"amplitude_{k}"] * voigt_profile(
            wavelength - value[f"center_{k}"] * stretch, np.hypot(sigma * stretch, resolution), gamma * stretch)
    return x


CONFIGS = [
    {"lines": 3, "continuum": {"degree": 2}},
    {"lines": 2, "kind": "absorption", "continuum": {"degree": 0}, "gamma": {"default": 0.2, "free": "shared"}},
    {"lines": 4, "continuum": {"degree": 1}, "sigma": {"default": 0.4, "free": "shared"},
     "gamma": {"default": 0.1, "free": "none"}, "center": {"lower": 645.0, "upper": 680.0}},
    {"lines": 1, "continuum": {"degree": 3}, "gamma": {"default": 0.1},
     "grid": {"wavelengths": list(np.r_[600.0:640.0:3.0, 640.0:660.0:0.07, 662.0:900.0:11.0])}},
]


def relative(a, b):
    return np.max(np.abs(a - b)) / np.max(np.abs(b))


def difference(central, exact, value):
    """The largest error of a lane relative to the derivative, or to what rounding of `value` hides."""
    size = np.maximum(np.max(np.abs(exact), axis=1), 1e-4 * np.max(np.abs(value), axis=1))
    return np.max(np.max(np.abs(central - exact), axis=1) / size)


def check_profile():
    """V against Re w everywhere, where the two regions of the approximation meet included."""
    decoder = Decoder(config={"lines": 1, "continuum": {"degree": 0}, "grid": {"first": 1.0, "last": 101.0, "count": 4001},
                              "center": {"lower": 50.0, "upper": 52.0}})
    wavelength, worst = np.linspace(1.0, 101.0, 4001), 0.0
    for sigma in (0.01, 0.1, 1.0, 3.0, 10.0):
        for gamma in (0.0, 1e-9, 1e-3, 0.1, 1.0, 9.0, 14.0, 15.0, 100.0):
            z = np.zeros((1, decoder.d))
            z[0, [decoder.names.index(n) for n in ("amplitude_1", "center_1", "sigma_1", "gamma_1")]] = 1, 51, sigma, gamma
            tape = decoder.forward(z, np.zeros((1, 2)))[1].reshape(5, -1)
            zeta = (wavelength - 51.0 + 1j * gamma) / (sigma * np.sqrt(2.0))
            w = wofz(zeta) / (sigma * np.sqrt(2.0 * np.pi))
            worst = max(worst, np.max(np.abs(tape[0] - w.real) / np.abs(w)))
    yield "Voigt profile against Re wofz, relative to |wofz|", worst, 1e-12


def check_derivatives(config, seed=1):
    decoder = Decoder(config=config)
    rng = np.random.default_rng(seed)
    z, context = samples(decoder)
    n, d = z.shape
    x, tape = decoder.forward(z, context)
    yield "forward against scipy", relative(x, reference(decoder, config, z, context)), 1e-12
    x_bar, z_dot = rng.normal(size=x.shape), z * rng.normal(size=z.shape)
    left = np.einsum("ij,ij->i", x_bar, decoder.jvp(z, context, tape, z_dot))
    size = np.einsum("ij,ij->i", np.abs(x_bar), np.abs(decoder.jvp(z, context, tape, z_dot)))
    right = np.einsum("ij,ij->i", decoder.vjp(z, context, tape, x_bar), z_dot)
    yield "<x_bar, J z_dot> = <J^T x_bar, z_dot>", np.max(np.abs(left - right) / size), 1e-12
    step, worst, worst_second = 2e-3, 0.0, 0.0
    for i, name in enumerate(decoder.names):
        unit = np.zeros_like(z)
        word, _, number = name.partition("_")
        widths = [n for n in (f"sigma_{number}", f"gamma_{number}", "sigma", "gamma") if n in decoder.names]
        unit[:, i] = 1.0 if word == "continuum" else z[:, i] if word != "center" else np.linalg.norm(
            np.c_[context[:, 1], z[:, [decoder.names.index(n) for n in widths]]], axis=1)
        shifts = {k: decoder.forward(np.ascontiguousarray(z + k * step * unit), context) for k in (-2, -1, 1, 2)}
        central = (8 * (shifts[1][0] - shifts[-1][0]) - (shifts[2][0] - shifts[-2][0])) / (12 * step)
        exact = decoder.jvp(z, context, tape, unit)
        worst = max(worst, difference(central, exact, x))
        bars = {k: decoder.vjp(np.ascontiguousarray(z + k * step * unit), context, shifts[k][1], x_bar) for k in shifts}
        central = (8 * (bars[1] - bars[-1]) - (bars[2] - bars[-2])) / (12 * step)
        exact = decoder.hvp(z, context, tape, unit, x_bar, np.zeros_like(x))
        worst_second = max(worst_second, difference(central, exact, decoder.vjp(z, context, tape, x_bar)))
    yield "jvp against central differences", worst, 1e-8
    yield "hvp against central differences of vjp", worst_second, 1e-7
    bar_dot = rng.normal(size=x.shape)
    both = decoder.hvp(z, context, tape, z_dot, x_bar, bar_dot)
    sum_ = decoder.hvp(z, context, tape, z_dot, x_bar, 0 * bar_dot) + decoder.vjp(z, context, tape, bar_dot)
    yield "hvp is linear in x_bar_dot", relative(both, sum_), 1e-13


def check_lanes():
    """Strides, lane by lane against all at once, several directions a lane, NaN, wrong shapes."""
    decoder = Decoder(config=CONFIGS[0])
    z, context = samples(decoder)
    n, d = z.shape
    x, tape = decoder.forward(z, context)
    wide = {key: np.full((n, rows + 3), 7.5) for key, rows in
            (("z", d), ("context", 2), ("x", decoder.D), ("tape", decoder.tape_rows))}
    wide["z"][:, :d], wide["context"][:, :2] = z, context
    decoder.forward(wide["z"][:, :d], wide["context"][:, :2], wide["x"][:, :decoder.D], wide["tape"][:, :decoder.tape_rows])
    yield "strides: same bits", not np.array_equal(wide["x"][:, :-3], x), 0
    yield "strides: nothing between columns", any(np.any(a[:, -3:] != 7.5) for a in wide.values()), 0
    alone = np.concatenate([decoder.forward(z[[i]], context[[i]])[0] for i in range(n)])
    yield "lanes: same bits alone", not np.array_equal(alone, x), 0
    z_dot = np.random.default_rng(2).normal(size=(3 * n, d))
    together = decoder.jvp(z, context, tape, z_dot)
    one = np.concatenate([decoder.jvp(z[[i]], context[[i]], tape[[i]], z_dot[3 * i:3 * i + 3]) for i in range(n)])
    yield "jvp: three directions a lane", not np.array_equal(together, one), 0
    broken = z.copy()
    for i in range(min(n, d)):
        broken[i, i] = np.nan
    y, tape_nan = decoder.forward(broken, context)
    yield "NaN in z: NaN in x", not all(np.isnan(y[i]).any() for i in range(n)), 0
    decoder.hvp(broken, context, tape_nan, z, y, y)
    fine = np.concatenate([np.nan * z[:1], z[1:]])
    yield "NaN in one lane alone", not np.array_equal(decoder.forward(fine, context)[0][1:], x[1:]), 0
    for what, call in (("z", lambda: decoder.forward(np.ascontiguousarray(z[:, 1:]), context)),
                       ("context", lambda: decoder.forward(z, context[1:])),
                       ("x", lambda: decoder.forward(z, context, x=np.empty((n, 3)))),
                       ("tape", lambda: decoder.vjp(z, context, tape[1:], x)),
                       ("x_bar", lambda: decoder.vjp(z, context, tape, x[1:])),
                       ("z_dot", lambda: decoder.jvp(z, context, tape, z_dot[1:])),
                       ("latent", lambda: decoder.latent(d))):
        try:
            call()
            refused = ""
        except Refused as error:
            refused = str(error)
        yield f"wrong shape of {what}: {refused}", what not in refused, 0


def check_guess():
    """Within the bounds, distinct, repeatable; spectra of noise, of zeros and with all masked among them."""
    decoder = Decoder(config=CONFIGS[0])
    z, context = samples(decoder)
    y = decoder.forward(z, context)[0]
    rng = np.random.default_rng(3)
    y[3], y[4] = 0.0, rng.normal(size=decoder.D)
    w = np.full_like(y, 1e4)
    w[5] = 0.0
    y[6, 100:120], w[6, 100:120] = np.nan, 0.0
    outside = nan = 0
    starts = []
    for weights in (w, np.empty((0, decoder.D))):
        lanes = slice(0, 5) if len(weights) == 0 else slice(None)
        for start in range(12):
            guess = decoder.guess(np.ascontiguousarray(y[lanes]), weights, np.ascontiguousarray(context[lanes]), start)
            nan += np.isnan(guess).sum()
            outside += np.sum((guess <= decoder.column("lower")) | (guess >= decoder.column("upper")))
            starts.append(guess[:3])
    yield "guess: finite", nan, 0
    yield "guess: inside the bounds", outside, 0
    yield "guess: the starts differ", sum(np.array_equal(starts[i], starts[j]) for i in range(12) for j in range(i)), 0
    yield "guess: the same again", not np.array_equal(decoder.guess(y, w, context, 3)[:3], starts[3]), 0


REFUSED = {
    b"[1]": "configuration must be an object",
    b"{": "not JSON",
    b'{"lines": 3,}': "not JSON",
    b'{"lines": 03}': "not JSON",
    b'{"lines": 1, "lines": 2}': "'lines' stands twice",
    b'{"line": 3}': "unknown key 'line'",
    b'{"sigma": {"defalt": 1}}': "unknown key 'defalt' in sigma",
    b'{"lines": 2.5}': "lines must be an integer",
    b'{"lines": "2"}': "lines must be a number, not a string",
    b'{"grid": {"first": 1}}': "grid needs first, last and count",
    b'{"grid": {"first": 2, "last": 1, "count": 9}}': "grid.last must be above",
    b'{"grid": {"wavelengths": [1, 3, 2]}}': "numbers that increase",
    b'{"sigma": {"default": -1}}': "sigma.default must be positive",
    b'{"gamma": {"free": "all"}}': 'one of "each", "shared", "none"',
    b'{"center": {"lower": 9, "upper": 8}}': "center.lower must be",
    b'{"center": {"default": [650]}}': "array of 3 numbers",
    b'{"kind": 3}': 'one of "emission", "absorption"',
    b'{"continuum": {"degree": 99}}': "from 0 to 8",
    b'{"unit": 3}': "unit must be a string",
    b"[" * 100: "nested deeper",
}


def check_errors():
    for text, expected in REFUSED.items():
        try:
            Decoder(config=text)
            message = "accepted"
        except Refused as error:
            message = str(error)
        yield f"{text[:50].decode()}: {message}", expected not in message, 0


def main():
    failed = 0
    checks = [("profile", check_profile())] + [(f"configuration {i}", check_derivatives(config))
                                               for i, config in enumerate(CONFIGS)]
    for title, check in [*checks, ("lanes", check_lanes()), ("guess", check_guess()), ("errors", check_errors())]:
        for what, value, limit in check:
            good = value <= limit
            failed += not good
            print(f"{'ok  ' if good else 'FAIL'} {title}: {what}" + (f": {value:.1e} (limit {limit:.0e})" if limit else ""))
    print(f"{failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
