"""Compute the polynomial coefficients of `nbsoftmax.kernels.lang.vmath`: python -m perf.minimax

    exp(r) = 1 + r + r^2 E(r)                        |r| <= ln(2)/2
    log(1 + f) = 2 s + s R(s^2),  s = f / (2 + f)    1 + f in [sqrt(1/2), sqrt(2)]

E and R are minimax polynomials for the error relative to the function, computed with 50 digits by Lawson's algorithm:
weighted least squares on Chebyshev points, where the weights grow with the error until it is the same everywhere.
"""

from mpmath import cos, exp, expm1, log, lu_solve, matrix, mp, mpf, nstr, pi, sqrt

mp.dps = 50


def minimax(function, scale, low, high, degree, rounds=60):
    """Coefficients, lowest first, of the p that minimises max |p - function| * scale on [low, high]; and this error."""
    n = 8 * (degree + 1)
    points = [(low + high) / 2 + (high - low) / 2 * cos(pi * (2 * i + 1) / (2 * n)) for i in range(n)]
    values = [function(x) for x in points]
    scales = [scale(x) for x in points]
    weights = [mpf(1) / n] * n
    for _ in range(rounds):
        A, b = matrix(degree + 1, degree + 1), matrix(degree + 1, 1)
        for x, value, unit, weight in zip(points, values, scales, weights, strict=True):
            powers = [x**d * unit for d in range(degree + 1)]
            for i in range(degree + 1):
                b[i] += weight * powers[i] * value * unit
                for j in range(degree + 1):
                    A[i, j] += weight * powers[i] * powers[j]
        c = lu_solve(A, b)
        errors = [
            abs(sum(c[d] * x**d for d in range(degree + 1)) - v) * u
            for x, v, u in zip(points, values, scales, strict=True)
        ]
        total = sum(w * e for w, e in zip(weights, errors, strict=True))
        weights = [w * e / total for w, e in zip(weights, errors, strict=True)]
    return list(c), max(errors)


def main():
    """Print the four tables of coefficients, each with its error in units of eps of its dtype."""
    half = log(2) / 2
    tiny = mpf(10) ** -12

    def exp_tail(r):
        return (expm1(r) - r) / r**2 if abs(r) > tiny else mpf(1) / 2

    def log_tail(z):  # z = s^2, and s = f / (2 + f)
        s = sqrt(z)
        return (log((1 + s) / (1 - s)) - 2 * s) / s if z > tiny else 2 * z / 3

    top = ((sqrt(2) - 1) / (sqrt(2) + 1)) ** 2
    for name, digits, eps, exp_degree, log_degree in (("float64", 20, 2.0**-52, 9, 6), ("float32", 11, 2.0**-23, 4, 2)):
        c, error = minimax(exp_tail, lambda r: r**2 / exp(r), -half, half, exp_degree)
        print(f"{name} exp, error {nstr(error / eps, 3)} eps:", *(nstr(x, digits) for x in c), sep="\n    ")
        # R has no constant term: fit R(z) / z.
        c, error = minimax(lambda z: log_tail(z) / z, lambda z: z / 2, top / 10**6, top, log_degree)
        print(f"{name} log, error {nstr(error / eps, 3)} eps:", *(nstr(x, digits) for x in c), sep="\n    ")


if __name__ == "__main__":
    main()
