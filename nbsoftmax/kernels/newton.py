"""One step of Newton's method for a small problem, from the rows of X to the next point, in one call.

    d = -H^-1 grad J,    w <- w + t d    with t = 1, or shorter if that does not decrease J sufficiently (Armijo)

Directions that add the same vector to the weights of all classes change no probability. A step therefore sums to 0 over
the classes: d_K = -(d_1 + ... + d_(K-1)), and H is needed only for these K - 1 classes. With L = K, h_i the weight of
sample i, a_i its probabilities and l2_j the penalty of feature j, the block of classes k and l of that matrix is

    sum_i h_i q_ikl x_i x_i^T / S + (1 + [k = l]) diag(l2)
    q_ikk = a_k (1 - a_k) + 2 a_k a_L + a_L (1 - a_L),    q_ikl = a_L (a_k + a_l + 1 - a_L) - a_k a_l

It is scaled to a unit diagonal and eliminated without exchanges of rows, as in Cholesky's method.

Layout: `x` holds the features in rows of `width` numbers, one for each sample and zeros up to a multiple of SAMPLES.
The last feature, of the intercepts, is 1, or 0 without intercepts; rows of zeros fill up to a multiple of FEATURES.
`targets` (K, width) are weighted. So all loops run over whole vectors of samples. Everything is float64.
"""

from math import inf, isfinite, sqrt

from nbsoftmax.kernels.lang.simd import filled, fma, lanes, larger, load, spread, store, sum_of, where
from nbsoftmax.kernels.lang.vmath import exp_of_difference, log1p
from nbsoftmax.kernels.row_tiles import aligned
from nbsoftmax.kernels.rows import below, without_largest
from nbsoftmax.kernels.runtime.jit import jit, part

# Samples and features come in groups: four vectors of any CPU, and the width of a tile of `products`.
SAMPLES, FEATURES = 32, 4
# What a call returns in the first numbers of `out`: the objective at the new point, the Euclidean norm of its gradient,
# sum_j ||grad_j||^2 / (2 l2_j), the Newton decrement at the old point, and what happened.
VALUE, NORM, RIDGE, DECREMENT, OUTCOME, NUMBERS = 0, 1, 2, 3, 4, 5
# What happened: a step; no decrease although the direction is right; no direction, since H is singular or not finite.
MOVED, STUCK, FAILED = 0.0, 1.0, 2.0
# A pivot of the matrix with unit diagonal that may consist of rounding errors.
LEAST_PIVOT = 1e-11
# A curvature that counts as 0. The constants of the line search are those of `solvers.tools.line_search.backtrack`.
LEAST_CURVATURE = 1e-100
DECREASE, NOISE, MOST_TRIALS = 1e-4, 16 * 2.0**-52, 40


@part
def products(u, n_u, x, n_x, width, triangle, out, stride):
    """out[p * stride + q] = sum_i u[p, i] x[q, i]; if `triangle`, only for q >= p. Tiles are 2 x FEATURES."""
    for q in range(0, n_x, FEATURES):
        for p in range(0, min(n_u, q + FEATURES) if triangle else n_u, 2):
            first, second = p * width, (p + 1) * width
            s0, s1, s2, s3 = filled(x, 0), filled(x, 0), filled(x, 0), filled(x, 0)
            t0, t1, t2, t3 = filled(x, 0), filled(x, 0), filled(x, 0), filled(x, 0)
            for i in range(0, width, lanes(x)):
                a, b, at = load(u, first + i), load(u, second + i), q * width + i
                x0, x1, x2, x3 = load(x, at), load(x, at + width), load(x, at + 2 * width), load(x, at + 3 * width)
                s0, s1, s2, s3 = fma(a, x0, s0), fma(a, x1, s1), fma(a, x2, s2), fma(a, x3, s3)
                t0, t1, t2, t3 = fma(b, x0, t0), fma(b, x1, t1), fma(b, x2, t2), fma(b, x3, t3)
            o = p * stride + q
            out[o], out[o + 1], out[o + 2], out[o + 3] = sum_of(s0), sum_of(s1), sum_of(s2), sum_of(s3)
            o += stride
            out[o], out[o + 1], out[o + 2], out[o + 3] = sum_of(t0), sum_of(t1), sum_of(t2), sum_of(t3)


@part
def logits(x, width, n, params, pi, a, ai):
    """Write the logits of one class for all samples: params[pi ...] . x, the features in order."""
    step = lanes(x)
    for i in range(0, width, 4 * step):
        z0, z1, z2, z3 = filled(x, 0), filled(x, 0), filled(x, 0), filled(x, 0)
        for j in range(n):
            w, at = spread(params[pi + j]), j * width + i
            z0, z1 = fma(load(x, at), w, z0), fma(load(x, at + step), w, z1)
            z2, z3 = fma(load(x, at + 2 * step), w, z2), fma(load(x, at + 3 * step), w, z3)
        store(a, ai + i, z0)
        store(a, ai + i + step, z1)
        store(a, ai + i + 2 * step, z2)
        store(a, ai + i + 3 * step, z3)


@part
def cross_entropy(a, targets, width, n_classes, e):
    """Sum of the losses; replaces the logits `a` by probabilities, and writes the gradient of the losses to `e`.

    As `rows.cross_entropy_tiles` does, with the samples in lanes.
    """
    total = filled(a, 0)
    for i in range(0, width, lanes(a)):
        c = load(a, i)
        for k in range(1, n_classes):
            c = larger(c, load(a, k * width + i))
        s, rest, mass, rest_mass, dot = filled(a, 0), filled(a, 0), filled(a, 0), filled(a, 0), filled(a, 0)
        for k in range(n_classes):
            z, t = load(a, k * width + i), load(targets, k * width + i)
            exponential = exp_of_difference(z, c)
            store(a, k * width + i, exponential)
            s += exponential
            mass += t
            rest = where(z < c, rest + exponential, rest)
            rest_mass = where(z < c, rest_mass + t, rest_mass)
            dot += where(t > 0.0, t * below(z, c), 0.0)
        rest = without_largest(s, rest)
        total += mass * log1p(rest) - dot
        inverse = 1.0 / s
        factor = mass * inverse
        own = rest_mass - rest * factor
        sole = where(s < 2.0, filled(a, 1), 2.0)  # the term of a unique maximum is 1; no term is 2
        for k in range(n_classes):
            at = k * width + i
            exponential = load(a, at)
            store(e, at, where(exponential == sole, own, fma(exponential, factor, -load(targets, at))))
            store(a, at, exponential * inverse)
    return sum_of(total)


@part
def evaluate(x, targets, width, n_classes, n, l2s, total, params, pi, a, e, sums, out, gi):
    """Return J at params[pi ...]; write its gradient to out[gi ...], its norms to `out`, probabilities to `a`."""
    for k in range(n_classes):
        logits(x, width, n, params, pi + k * n, a, k * width)
    value = cross_entropy(a, targets, width, n_classes, e) / total
    stride = (n + FEATURES - 1) // FEATURES * FEATURES
    products(e, n_classes, x, stride, width, False, sums, stride)
    squares, ridge, penalty = 0.0, 0.0, 0.0
    for j in range(n):
        of_feature = 0.0
        for k in range(n_classes):
            w = params[pi + k * n + j]
            g = sums[k * stride + j] / total + l2s[j] * w
            out[gi + k * n + j] = g
            of_feature += g * g
            penalty += l2s[j] * w * w
        squares += of_feature
        if j < n - 1 and of_feature > 0:
            ridge += of_feature / (2 * l2s[j])
    out[VALUE], out[NORM], out[RIDGE] = value + 0.5 * penalty, sqrt(squares), ridge
    return value + 0.5 * penalty


@part
def weigh(x, targets, width, n_classes, n, a, k, l, u):  # noqa: E741
    """Multiply every feature by h q_kl: see the formulas above."""
    last = n_classes - 1
    for i in range(0, width, lanes(x)):
        h, others, others_k = filled(x, 0), filled(x, 0), filled(x, 0)
        for m in range(n_classes):
            h += load(targets, m * width + i)
            each = load(a, m * width + i)
            if m != last:
                others += each
            if m != k:
                others_k += each
        a_k, a_l, a_last = load(a, k * width + i), load(a, l * width + i), load(a, last * width + i)
        if k == l:
            q = h * (a_k * (others_k + 2.0 * a_last) + a_last * others)
        else:
            q = h * (a_last * (a_k + a_l + others) - a_k * a_l)
        for j in range(n):
            store(u, j * width + i, load(x, j * width + i) * q)


@part
def hessian(x, targets, width, n_classes, n, l2s, total, a, u, sums, matrix, stride):
    """Write the upper triangle of the matrix above, (K - 1) n rows of `stride` numbers."""
    padded = (n + FEATURES - 1) // FEATURES * FEATURES
    for k in range(n_classes - 1):
        for l in range(k, n_classes - 1):  # noqa: E741
            weigh(x, targets, width, n_classes, padded, a, k, l, u)
            products(u, padded, x, padded, width, True, sums, padded)
            for p in range(n):
                row = (k * n + p) * stride + l * n
                for q in range(p, n):
                    value = sums[p * padded + q] / total
                    matrix[row + q] = value
                    if k != l:
                        matrix[(k * n + q) * stride + l * n + p] = value
                matrix[row + p] += l2s[p] * (2.0 if k == l else 1.0)


@part
def solve(matrix, order, stride, scale, solution):
    """Solve for the right-hand side in column `order`; return whether the matrix is positive definite."""
    for r in range(order):
        diagonal = matrix[r * stride + r]
        scale[r] = 1.0 / sqrt(diagonal) if diagonal > LEAST_CURVATURE else 1.0
        if not diagonal > LEAST_CURVATURE and matrix[r * stride + order] == 0.0:
            matrix[r * stride + r] = 1.0  # a feature that is always 0, or no intercept
    for r in range(order):
        for c in range(r, order):
            matrix[r * stride + c] *= scale[r] * scale[c]
        matrix[r * stride + order] *= scale[r]
    width = lanes(matrix)
    for p in range(order):
        pivot = matrix[p * stride + p]
        if not LEAST_PIVOT < pivot < inf:
            return False
        for r in range(p + 1, order):
            factor = spread(-matrix[p * stride + r] / pivot)
            for c in range(r // width * width, stride, width):
                at = r * stride + c
                store(matrix, at, fma(factor, load(matrix, p * stride + c), load(matrix, at)))
    solution[:] = 0.0
    for p in range(order - 1, -1, -1):
        done = filled(matrix, 0)
        for c in range(p // width * width, stride, width):
            done = fma(load(matrix, p * stride + c), load(solution, c), done)
        solution[p] = (matrix[p * stride + order] - sum_of(done)) / matrix[p * stride + p]
    for r in range(order):
        solution[r] *= scale[r]
    return True


@jit
def newton_step(x, targets, l2s, total, point, known, want_step, proba, out):
    """Evaluate J at a point; if `want_step`, make a Newton step from there.

    `point` and `out` begin with the NUMBERS above. Then follow K n numbers each: the parameters, the gradient, and in
    `out` the direction. If `known`, `point` is the result of the last call, and `proba` (K, width) has not changed
    since; otherwise only its parameters are read. Without a step, `out` describes the same point.
    """
    n_classes, width = targets.shape
    n, size = l2s.size, n_classes * l2s.size
    x, targets, a = x.reshape(-1), targets.reshape(-1), proba.reshape(-1)
    padded = (n + FEATURES - 1) // FEATURES * FEATURES
    at, gi, di = NUMBERS, NUMBERS + size, NUMBERS + 2 * size
    e, sums = aligned((n_classes + 1) * width, x), aligned((max(n_classes, padded) + 1) * padded, x)
    out[:di] = point[:di]
    if not known:
        evaluate(x, targets, width, n_classes, n, l2s, total, point, at, a, e, sums, out, gi)
    if not want_step:
        return
    value, norm, order, last = out[VALUE], out[NORM], size - n, size - n
    stride = (order // 8 + 1) * 8
    matrix, scale, solution = aligned(order * stride, x), aligned(order, x), aligned(stride, x)
    matrix[:] = 0.0
    hessian(x, targets, width, n_classes, n, l2s, total, a, aligned(padded * width, x), sums, matrix, stride)
    for r in range(order):
        matrix[r * stride + order] = out[gi + last + r % n] - out[gi + r]
    out[DECREMENT], out[OUTCOME] = inf, FAILED
    if not solve(matrix, order, stride, scale, solution):
        return
    slope = 0.0
    out[di + last : di + size] = 0.0
    for r in range(order):
        out[di + r] = solution[r]
        out[di + last + r % n] -= solution[r]
    for i in range(size):
        slope += out[gi + i] * out[di + i]
    if not -inf < slope <= 0:
        return
    out[DECREMENT], out[OUTCOME] = -slope / 2, STUCK
    length = 1.0
    for trial in range(MOST_TRIALS):
        for i in range(size):
            out[at + i] = point[at + i] + length * out[di + i]
        new = evaluate(x, targets, width, n_classes, n, l2s, total, out, at, a, e, sums, out, gi)
        if trial == 0 and new <= value + DECREASE * slope + NOISE * abs(value):
            out[OUTCOME] = STUCK if new >= value and out[NORM] >= norm else MOVED
            return
        if new <= value + DECREASE * length * slope and new < value:
            out[OUTCOME] = MOVED
            return
        rise = new - value - length * slope  # the minimum of the parabola through both values, and this slope
        best = -slope * length**2 / (2 * rise) if isfinite(rise) and rise > 0 else 0.0
        length = min(max(best, 0.1 * length), 0.5 * length)
