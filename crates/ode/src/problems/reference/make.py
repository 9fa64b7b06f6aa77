"""Writes the reference trajectories of the test problems that have no closed solution.

Run from anywhere, with Python 3 and `pip install numpy mpmath`, on a machine whose long double has 64 bits of mantissa:

    python make.py            # every problem
    python make.py hires mlp  # these

A file <name>.txt has a row per time: t z0 z1 ..., 17 digits; the last time is the end of the interval. A gradient flow
has one row more, at t = inf: the steady state that it tends to.

Method: Radau IIA with s stages, order 2s - 1 (Hairer & Wanner, Solving ODEs II, 2nd ed., section IV.5), full Newton
iterations in long double. The step is chosen by the highest Legendre coefficient of the slope within a step, an
estimate of order s. Every problem is solved with 7 stages and twice more, with a tighter tolerance and with 6 stages;
the largest difference, relative to the largest size of each component over the rows, must be below 1e-13 or nothing is
written. Constants with a decimal point are taken to the precision of long double, those of the networks are doubles.
"""

import sys
from pathlib import Path

import mpmath
import numpy as np

LD = np.longdouble
HERE = Path(__file__).parent
BOUND = 1e-13


def exact(number):
    """An mpmath number as a long double."""
    return LD(mpmath.nstr(number, 30))


class Radau:
    """Coefficients of Radau IIA with s stages: nodes c, the inverse of A, and the highest Legendre coefficient."""

    def __init__(self, s):
        with mpmath.workdps(60):
            # The nodes are the zeros of P_s - P_(s-1), moved from [-1, 1] to [0, 1].
            p, q = (mpmath.taylor(lambda x, n=n: mpmath.legendre(n, x), 0, n) for n in (s, s - 1))
            difference = [a - b for a, b in zip(p, q + [mpmath.mpf(0)])]
            roots = mpmath.polyroots(difference[::-1], maxsteps=500, extraprec=200)
            c = sorted((1 + mpmath.re(root)) / 2 for root in roots)
            powers = mpmath.matrix(s, s)
            integrals = mpmath.matrix(s, s)
            for i in range(s):
                for j in range(s):
                    powers[i, j] = c[i] ** j
                    integrals[i, j] = c[i] ** (j + 1) / (j + 1)
            a_inverse = powers * mpmath.inverse(integrals)
            # The slope within a step is sum_j x_j c^j; its last coefficient over that of Legendre's polynomial.
            leading = mpmath.binomial(2 * s - 2, s - 1)
            to_powers = mpmath.inverse(powers)
            self.s = s
            self.c = np.array([exact(x) for x in c])
            self.a_inverse = np.array([[exact(a_inverse[i, j]) for j in range(s)] for i in range(s)])
            self.highest = np.array([exact(to_powers[s - 1, j] / leading) for j in range(s)])


def solve(matrix, right):
    """Gaussian elimination with partial pivoting."""
    m = np.concatenate([matrix, right[:, None]], axis=1)
    n = len(right)
    for k in range(n):
        pivot = k + int(np.argmax(np.abs(m[k:, k])))
        if pivot != k:
            m[[k, pivot]] = m[[pivot, k]]
        m[k + 1 :, k:] -= np.outer(m[k + 1 :, k] / m[k, k], m[k, k:])
    x = np.zeros(n, LD)
    for k in reversed(range(n)):
        x[k] = (m[k, n] - m[k, k + 1 : n] @ x[k + 1 :]) / m[k, k]
    return x


def newton(method, problem, y, h, scale):
    """The stages less y, `[s, d]`, or None."""
    s, d = method.s, len(y)
    z = np.zeros((s, d), LD)
    before = np.inf
    matrix = np.zeros((s, d, s, d), LD)
    for _ in range(30):
        matrix[:] = 0
        for i in range(d):
            matrix[:, i, :, i] = method.a_inverse / h
        slopes = np.empty((s, d), LD)
        for i in range(s):
            slopes[i], jacobian = problem.slope(y + z[i]), problem.jacobian(y + z[i])
            matrix[i, :, i, :] -= jacobian
        right = slopes - method.a_inverse @ z / h
        change = solve(matrix.reshape(s * d, s * d), right.ravel()).reshape(s, d)
        if not np.all(np.isfinite(change)):
            return None
        z += change
        size = np.max(np.abs(change) / scale)
        if size < 1e-18 or (size < 1e-15 and size > before / 8):
            return z
        if size > 1e3 or (size > 1 and size > 2 * before):
            return None
        before = size
    return None


def integrate(problem, times, s, tol):
    """States at the times, the first of which is the start."""
    method = Radau(s)
    t, y = LD(times[0]), np.array(problem.z0, LD)
    states, largest, steps = [y], np.abs(y), 0
    h = LD(1e-8) * LD(times[1]) if problem.stiff else LD(1e-3) * LD(times[1])
    for goal in times[1:]:
        goal = LD(goal)
        while t < goal:
            rest = goal - t
            step = rest if rest <= h else min(h, rest / 2)
            # Nothing is known of the size of a component that starts at 0.
            floor = LD(1e-10) * largest + (LD(1e-12) if steps == 0 else LD(1e-30))
            scale = np.abs(y) + floor
            z = newton(method, problem, y, step, scale)
            if z is None:
                h = step / 4
                continue
            scale = np.maximum(scale, np.abs(y + z[-1]))
            estimate = np.max(np.abs(method.highest @ (method.a_inverse @ z)) / scale) / tol
            factor = 0.85 * max(float(estimate), 1e-30) ** (-1 / s)
            if estimate > 1:
                h = step * LD(max(0.1, factor))
                continue
            t = goal if step == rest else t + step
            y = y + z[-1]
            largest = np.maximum(largest, np.abs(y))
            # A step that was cut short for the sake of a row does not lower the next one.
            h = max(step * LD(min(5.0, factor)), h if step < h and factor > 1 else LD(0))
            steps += 1
        states.append(y)
    return np.array(states), steps


class Rosenbrock:
    z0, stiff, flow = (-1.2, 1.0), False, True
    times = [i * 0.5 for i in range(21)]

    def slope(self, z):
        x, y = z
        return np.array([2 * (1 - x) + 400 * x * (y - x * x), -200 * (y - x * x)])

    def jacobian(self, z):
        x, y = z
        return np.array([[-2 + 400 * y - 1200 * x * x, 400 * x], [400 * x, LD(-200)]])


def ratio(i, j):
    """An entry of a weight matrix, the same double as in Rust."""
    return ((i * 37 + j * 101) % 97) / 97 - 0.5


class Network:
    """-grad (1/D) sum l(x, y) of x = W2 tanh(W1 z + b1) + b2."""

    stiff, flow = False, True

    def slope(self, z):
        hidden = np.tanh(self.w1 @ z + self.b1)
        first, _ = self.loss(self.w2 @ hidden + self.b2)
        return -(self.w1.T @ ((1 - hidden**2) * (self.w2.T @ first)))

    def jacobian(self, z):
        hidden = np.tanh(self.w1 @ z + self.b1)
        first, second = self.loss(self.w2 @ hidden + self.b2)
        inner = (1 - hidden**2)[:, None] * self.w1
        decoder = self.w2 @ inner
        bend = -2 * hidden * (1 - hidden**2) * (self.w2.T @ first)
        return -(decoder.T @ (second[:, None] * decoder)) - self.w1.T @ (bend[:, None] * self.w1)

    def squares(self, x):
        return 2 * (x - self.y) / len(x), np.full(len(x), LD(2) / len(x))

    def bernoulli(self, x):
        sigma = 1 / (1 + np.exp(-x))
        return (sigma - self.y) / len(x), sigma * (1 - sigma) / len(x)


class Mlp(Network):
    z0 = (0.5, -0.5, 0.25, 0.0)

    def __init__(self):
        self.w1 = np.array([[4 * ratio(i * i, j * j + i) for j in range(4)] for i in range(16)], LD)
        self.b1 = np.array([ratio(i, 50) for i in range(16)], LD)
        self.w2 = np.array([[2 * ratio(i * i + 7, j * j + 3 * i) for j in range(16)] for i in range(12)], LD)
        self.b2 = np.array([ratio(i, 77) for i in range(12)], LD)
        self.y = np.array([ratio(i * i, 5) for i in range(12)], LD)
        self.loss = self.squares
        self.times = [i * 2.0 for i in range(21)]


class MlpBce(Mlp):
    def __init__(self):
        super().__init__()
        self.y = np.array([6, 2, 6, 5, 3, 5, 2, 3, 1, 7, 4, 2], LD) / 8
        self.loss = self.bernoulli
        self.times = [i * 5.0 for i in range(21)]


class RankDeficient(Network):
    z0 = (1.0, -1.0, 0.5)

    def __init__(self):
        left = [(4, 1), (-3, 2), (1, -5), (2, 3), (-1, 4), (5, -2)]
        right = [(2, -1, 1), (1, 3, -2)]
        self.w1 = np.array([[sum(a * b for a, b in zip(row, col)) / 16 for col in zip(*right)] for row in left], LD)
        self.b1 = np.zeros(6, LD)
        self.w2 = np.eye(6, dtype=LD)
        self.b2 = np.zeros(6, LD)
        self.y = np.array([0.5, -0.25, 0.75, 0.125, -0.5, 0.25], LD)
        self.loss = self.squares
        self.times = [i * 2.0 for i in range(21)]


class Robertson:
    """In z1 + z2 and z2: of all three, z3 is so large that its rounding reaches the 12th digit of the others."""

    z0, stiff, flow = (1.0, 0.0), True, False
    times = [0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 0.4] + [4.0 * 10.0**k for k in range(11)] + [1e11]

    def slope(self, z):
        both, b = z
        made = LD(3e7) * b * b
        return np.array([-made, LD("0.04") * (both - b) - LD(1e4) * b * (1 - both) - made])

    def jacobian(self, z):
        both, b = z
        made = LD(6e7) * b
        return np.array([[LD(0), -made], [LD("0.04") + LD(1e4) * b, -LD("0.04") - LD(1e4) * (1 - both) - made]])

    def complete(self, z):
        return np.array([z[0] - z[1], z[1], 1 - z[0]])


class Hires:
    z0, stiff, flow = (1.0, 0, 0, 0, 0, 0, 0, 0.0057), True, False
    times = [0.0, 1e-3, 1e-2, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 300.0, 310.0, 315.0, 318.0]
    times += [320.0, 321.0, 321.8122]

    def __init__(self):
        rates = ["1.71", "8.75", "10.03", "1.12", "1.745", "0.43", "8.32", "0.035", "0.69", "0.0007", "1.81"]
        rates = dict(zip("abcdefghijk", (LD(rate) for rate in rates)))
        m = np.zeros((8, 8), LD)
        m[0, 0], m[0, 1], m[0, 2] = -rates["a"], rates["f"], rates["g"]
        m[1, 0], m[1, 1] = rates["a"], -rates["b"]
        m[2, 2], m[2, 3], m[2, 4] = -rates["c"], rates["f"], rates["h"]
        m[3, 1], m[3, 2], m[3, 3] = rates["g"], rates["a"], -rates["d"]
        m[4, 4], m[4, 5], m[4, 6] = -rates["e"], rates["f"], rates["f"]
        m[5, 3], m[5, 4], m[5, 5], m[5, 6] = rates["i"], rates["a"], -rates["f"], rates["i"]
        m[6, 6], m[7, 6] = -rates["k"], rates["k"]
        self.linear, self.source = m, rates["j"]

    def slope(self, z):
        f = self.linear @ z
        f[0] += self.source
        f[5:] += 280 * z[5] * z[7] * np.array([-1, 1, -1])
        return f

    def jacobian(self, z):
        m = self.linear.copy()
        signs = np.array([-1, 1, -1])
        m[5:, 5] += 280 * z[7] * signs
        m[5:, 7] += 280 * z[5] * signs
        return m


class VanDerPol:
    """y'' = mu (1 - y^2) y' - y."""

    z0, stiff, flow = (2.0, 0.0), True, False
    times = [0.0, 1e-3, 1.0] + [100.0 * i for i in range(1, 21)]

    def slope(self, z):
        return np.array([z[1], 1000 * (1 - z[0] * z[0]) * z[1] - z[0]])

    def jacobian(self, z):
        return np.array([[LD(0), LD(1)], [-2000 * z[0] * z[1] - 1, 1000 * (1 - z[0] * z[0])]])


class VanDerPolScaled:
    """y1' = y2, y2' = ((1 - y1^2) y2 - y1) / 1e-6."""

    z0, stiff, flow = (2.0, 0.0), True, False
    times = [0.0, 1e-6, 1e-3] + [i / 10 for i in range(1, 21)]

    def slope(self, z):
        return np.array([z[1], 1000000 * ((1 - z[0] * z[0]) * z[1] - z[0])])

    def jacobian(self, z):
        return np.array([[LD(0), LD(1)], [1000000 * (-2 * z[0] * z[1] - 1), 1000000 * (1 - z[0] * z[0])]])


class Oregonator:
    z0, stiff, flow = (1.0, 2.0, 3.0), True, False
    times = [15.0 * i for i in range(25)]
    s, q, w = LD("77.27"), LD("8.375e-6"), LD("0.161")

    def slope(self, z):
        x, y, v = z
        return np.array([self.s * (y + x * (1 - self.q * x - y)), (v - (1 + x) * y) / self.s, self.w * (x - v)])

    def jacobian(self, z):
        x, y, _ = z
        s, w = self.s, self.w
        return np.array(
            [[s * (1 - 2 * self.q * x - y), s * (1 - x), LD(0)], [-y / s, -(1 + x) / s, 1 / s], [w, LD(0), -w]]
        )


class Brusselator:
    z0, stiff, flow = (1.5, 3.0), False, False
    times = [float(i) for i in range(21)]

    def slope(self, z):
        x, y = z
        return np.array([1 + x * x * y - 4 * x, 3 * x - x * x * y])

    def jacobian(self, z):
        x, y = z
        return np.array([[2 * x * y - 4, x * x], [3 - 2 * x * y, -x * x]])


PROBLEMS = {
    "rosenbrock": Rosenbrock,
    "rank-deficient": RankDeficient,
    "mlp": Mlp,
    "mlp-bce": MlpBce,
    "robertson": Robertson,
    "hires": Hires,
    "van-der-pol-1e3": VanDerPol,
    "van-der-pol-1e6": VanDerPolScaled,
    "oregonator": Oregonator,
    "brusselator": Brusselator,
}


def write(name):
    """Solves a problem three times and writes its file if the solutions agree."""
    problem = PROBLEMS[name]()
    end = problem.times[-1]
    # A gradient flow is at its steady state to all digits after a hundred thousand times the interval.
    times = problem.times + ([1e5 * end] if problem.flow else [])
    complete = getattr(problem, "complete", lambda z: z)

    def solution(s, tol):
        states, steps = integrate(problem, times, s, tol)
        return np.array([complete(z) for z in states]), steps

    states, steps = solution(7, 1e-11)
    size = np.max(np.abs(states), axis=0)
    error = 0.0
    for s, tol in ((7, 1e-12), (6, 1e-11)):
        other, _ = solution(s, tol)
        error = max(error, float(np.max(np.abs(other - states) / size)))
    print(f"{name}: {steps} steps, error {error:.1e}", flush=True)
    if problem.flow:
        values = np.linalg.eigvalsh(-problem.jacobian(states[-1]).astype(float))
        print(f"  eigenvalues at the minimum {values}, slope {np.max(np.abs(problem.slope(states[-1]))):.1e}")
    if not error < BOUND:
        sys.exit(f"{name}: the solutions differ by {error:.1e}, more than {BOUND:.0e}; nothing written")
    rows = zip(problem.times + ([float("inf")] if problem.flow else []), states)
    text = "".join(" ".join(f"{x:.16e}" for x in (t, *z)) + "\n" for t, z in rows)
    print("  " + text.splitlines()[len(problem.times) - 1])
    (HERE / f"{name}.txt").write_text(text)


for chosen in sys.argv[1:] or PROBLEMS:
    write(chosen)
