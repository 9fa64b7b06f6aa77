"""Codes by SciPy, a sample at a time, in double precision, from z0 = 0; derivatives in NumPy."""

import numpy
from scipy.integrate import solve_ivp
from scipy.optimize import minimize
from scipy.special import expit


class Sample:
    """The loss of one datum y [D] as a function of its code z [d], and its derivatives. Layers: pairs of W [out, in] and b."""

    def __init__(self, layers, y):
        self.layers, self.y, self.units = layers, y, 0

    def forward(self, z):
        """The logits, and the slope of every activation."""
        self.units += 1
        slopes, h = [], z
        for weight, bias in self.layers[:-1]:
            a = weight @ h + bias
            h = numpy.where(a > 0, a, numpy.expm1(numpy.minimum(a, 0)))
            slopes.append(numpy.where(a > 0, 1.0, h + 1.0))
        weight, bias = self.layers[-1]
        return weight @ h + bias, slopes

    def value_and_gradient(self, z):
        x, slopes = self.forward(z)
        self.units += 1
        loss = (numpy.logaddexp(0, x) - self.y * x).mean()
        delta = (expit(x) - self.y) / x.size
        for (weight, _), slope in zip(self.layers[:0:-1], slopes[::-1]):
            delta = (delta @ weight) * slope
        return loss, delta @ self.layers[0][0]

    def gradient(self, z):
        return self.value_and_gradient(z)[1]

    def hessian(self, z):
        """J^T diag(l'') J, the Gauss-Newton part of the Hessian."""
        x, slopes = self.forward(z)
        self.units += z.size
        jacobian = self.layers[0][0]
        for (weight, _), slope in zip(self.layers[1:], slopes):
            jacobian = weight @ (slope[:, None] * jacobian)
        probability = expit(x)
        return jacobian.T @ ((probability * (1 - probability) / x.size)[:, None] * jacobian)


def each(layers, images, find):
    """The codes of images [B, D], by `find` from a sample and z0, and the units that they took."""
    samples = [Sample(layers, y) for y in images]
    zero = numpy.zeros(layers[0][0].shape[1])
    codes = numpy.stack([find(sample, zero) for sample in samples])
    return codes, sum(sample.units for sample in samples)


def l_bfgs_b(gtol):
    options = {"maxiter": 10000, "maxfun": 20000, "gtol": gtol / 5, "ftol": 0}
    return lambda sample, z0: minimize(sample.value_and_gradient, z0, jac=True, method="L-BFGS-B", options=options).x


def trust_exact(gtol):
    """Newton's method in a trust region with the Gauss-Newton Hessian: the trust region of `trust-ncg`, solved exactly."""
    options = {"gtol": gtol, "maxiter": 1000}
    return lambda sample, z0: minimize(
        sample.value_and_gradient, z0, jac=True, hess=sample.hessian, method="trust-exact", options=options
    ).x


def bdf(t_end, rtol, atol):
    """The flow itself to t_end, its Jacobian minus the Gauss-Newton Hessian."""
    return lambda sample, z0: solve_ivp(
        lambda t, z: -sample.gradient(z),
        (0, t_end),
        z0,
        method="BDF",
        jac=lambda t, z: -sample.hessian(z),
        rtol=rtol,
        atol=atol,
        t_eval=[t_end],
    ).y[:, -1]
