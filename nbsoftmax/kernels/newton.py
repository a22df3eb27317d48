"""One step of Newton's method for a small problem, from the rows of X to the next point, in one call.

    d = -H^-1 grad J,    w <- w + t d    with t = 1, or shorter if that does not decrease J sufficiently (Armijo)

Directions that add the same vector to the weights of all classes change no probability. A step therefore sums to 0 over
the classes: d_K = -(d_1 + ... + d_(K-1)), and H is needed only for these K - 1 classes. With L = K, h_i the weight of
sample i, a_i its probabilities and l2_j the penalty of feature j, the block of classes k and l of that matrix is

    sum_i h_i q_ikl x_i x_i^T / S + (1 + [k = l]) diag(l2)
    q_ikk = a_k (1 - a_k) + 2 a_k a_L + a_L (1 - a_L),    q_ikl = a_L (a_k + a_l + 1 - a_L) - a_k a_l

It is scaled to a unit diagonal and eliminated without exchanges of rows, as in Cholesky's method.

Layout: `x` (n_blocks, n_padded, width) holds blocks of samples, which stay in a cache. Their features are rows of
`width` numbers, one for each sample, with zeros up to a multiple of SAMPLES: all loops run over whole vectors. The last
feature, of the intercepts, is 1, or 0 without intercepts; rows of zeros fill up to a multiple of FEATURES. `targets`
(n_blocks, K, width) are weighted. Everything is float64.

Tasks have some of the blocks each, and write their sums to rows of `partial`, which one task adds in order.
"""

from math import inf, isfinite, sqrt

from nbsoftmax.kernels.lang.simd import add_sums_of, filled, fma, lanes, larger, load, spread, store, sum_of, where
from nbsoftmax.kernels.lang.vmath import exp_of_difference, log1p
from nbsoftmax.kernels.row_tiles import aligned
from nbsoftmax.kernels.rows import below, without_largest
from nbsoftmax.kernels.runtime.jit import jit, part
from nbsoftmax.kernels.runtime.phases import end_task, take_in_order

# Samples and features come in groups: four vectors of any CPU, and the width of a tile of `products`.
SAMPLES, FEATURES = 32, 4
# The first numbers of `out`: the objective at the new point, the Euclidean norm of its gradient, sum_j ||grad_j||^2 /
# (2 l2_j), the Newton decrement at the old point, what happened, the number of trials before this one, and its length.
VALUE, NORM, RIDGE, DECREMENT, OUTCOME, TRIAL, LENGTH, NUMBERS = 0, 1, 2, 3, 4, 5, 6, 8
# What happened: a step; no decrease although the direction is right; no direction, since H is singular or not finite;
# the trial was too long, and a shorter one is to be evaluated.
MOVED, STUCK, FAILED, SHORTER = 0.0, 1.0, 2.0, 3.0
# Phases of a step. The evaluation of a point has the last two.
CURVATURES, DIRECTION, LOSSES, TOTALS = 0, 1, 2, 3
# Rows that are subtracted from the rows below at a time.
PIVOTS = 4
# A pivot of the matrix with unit diagonal that may consist of rounding errors.
LEAST_PIVOT = 1e-11
# A curvature that counts as 0. The constants of the line search are those of `solvers.tools.line_search.backtrack`.
LEAST_CURVATURE = 1e-100
DECREASE, NOISE, MOST_TRIALS = 1e-4, 16 * 2.0**-52, 40


@part
def products(u, n_u, x, xi, n_x, width, n, triangle, out, oi, stride):
    """Add sum_i u[p, i] x[xi + q * width + i], i < n, to out[oi + p * stride + q]; if `triangle`, only for q >= p.

    Tiles are 2 x FEATURES.
    """
    for q in range(0, n_x, FEATURES):
        for p in range(0, min(n_u, q + FEATURES) if triangle else n_u, 2):
            first, second = p * width, (p + 1) * width
            s0, s1, s2, s3 = filled(x, 0), filled(x, 0), filled(x, 0), filled(x, 0)
            t0, t1, t2, t3 = filled(x, 0), filled(x, 0), filled(x, 0), filled(x, 0)
            for i in range(0, n, lanes(x)):
                a, b, at = load(u, first + i), load(u, second + i), xi + q * width + i
                x0, x1, x2, x3 = load(x, at), load(x, at + width), load(x, at + 2 * width), load(x, at + 3 * width)
                s0, s1, s2, s3 = fma(a, x0, s0), fma(a, x1, s1), fma(a, x2, s2), fma(a, x3, s3)
                t0, t1, t2, t3 = fma(b, x0, t0), fma(b, x1, t1), fma(b, x2, t2), fma(b, x3, t3)
            o = oi + p * stride + q
            add_sums_of(s0, s1, s2, s3, out, o)
            add_sums_of(t0, t1, t2, t3, out, o + stride)


@part
def logits(x, xi, width, n_samples, n, params, pi, a, ai):
    """Write the logits of one class for the samples of a block: params[pi ...] . x, the features in order."""
    step = lanes(x)
    for i in range(0, n_samples, 4 * step):
        z0, z1, z2, z3 = filled(x, 0), filled(x, 0), filled(x, 0), filled(x, 0)
        for j in range(n):
            w, at = spread(params[pi + j]), xi + j * width + i
            z0, z1 = fma(load(x, at), w, z0), fma(load(x, at + step), w, z1)
            z2, z3 = fma(load(x, at + 2 * step), w, z2), fma(load(x, at + 3 * step), w, z3)
        store(a, ai + i, z0)
        store(a, ai + i + step, z1)
        store(a, ai + i + 2 * step, z2)
        store(a, ai + i + 3 * step, z3)


@part
def cross_entropy(a, targets, ai, width, n_samples, n_classes, e):
    """Sum of the losses; replaces the logits a[ai ...] by probabilities, and writes the gradient of the losses to `e`.

    As `rows.cross_entropy_tiles` does, with the samples in lanes.
    """
    total = filled(a, 0)
    for i in range(0, n_samples, lanes(a)):
        c = load(a, ai + i)
        for k in range(1, n_classes):
            c = larger(c, load(a, ai + k * width + i))
        s, rest, mass, rest_mass, dot = filled(a, 0), filled(a, 0), filled(a, 0), filled(a, 0), filled(a, 0)
        for k in range(n_classes):
            at = ai + k * width + i
            z, t = load(a, at), load(targets, at)
            exponential = exp_of_difference(z, c)
            store(a, at, exponential)
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
            at = ai + k * width + i
            exponential = load(a, at)
            store(e, k * width + i, where(exponential == sole, own, fma(exponential, factor, -load(targets, at))))
            store(a, at, exponential * inverse)
    return sum_of(total)


@part
def samples_of(block, width, n_samples):
    """Number of samples of a block, with those that are 0."""
    return min(width, (n_samples - block * width + SAMPLES - 1) // SAMPLES * SAMPLES)


@part
def losses(x, targets, blocks, width, n_samples, n_classes, n, params, pi, a, e, sums, si):
    """Add the losses of some blocks at params[pi ...] to sums[si], and their gradient, (K, n_padded), after it."""
    padded = (n + FEATURES - 1) // FEATURES * FEATURES
    for block in range(blocks[0], blocks[1]):
        xi, ai, few = block * padded * width, block * n_classes * width, samples_of(block, width, n_samples)
        for k in range(n_classes):
            logits(x, xi, width, few, n, params, pi + k * n, a, ai + k * width)
        sums[si] += cross_entropy(a, targets, ai, width, few, n_classes, e)
        products(e, n_classes, x, xi, padded, width, few, False, sums, si + 1, padded)


@part
def totals(sums, stride, n_tasks, n_classes, n, l2s, total, out, pi, gi):
    """Write J at the parameters out[pi ...], its gradient and the norms to `out`, given the sums of all tasks."""
    padded = (n + FEATURES - 1) // FEATURES * FEATURES
    value, squares, ridge, penalty = sums[0], 0.0, 0.0, 0.0
    for task in range(1, n_tasks):
        value += sums[task * stride]
    for j in range(n):
        of_feature = 0.0
        for k in range(n_classes):
            w, at = out[pi + k * n + j], 1 + k * padded + j
            g = sums[at]
            for task in range(1, n_tasks):
                g += sums[task * stride + at]
            g = g / total + l2s[j] * w
            out[gi + k * n + j] = g
            of_feature += g * g
            penalty += l2s[j] * w * w
        squares += of_feature
        if j < n - 1 and of_feature > 0:
            ridge += of_feature / (2 * l2s[j])
    out[VALUE], out[NORM], out[RIDGE] = value / total + 0.5 * penalty, sqrt(squares), ridge


@part
def others(targets, a, ai, width, n_samples, n_classes, out):
    """Write 1 - a_k, as a sum, to row k of `out`, and the weights of the samples to the last row, for a block."""
    for i in range(0, n_samples, lanes(a)):
        h = filled(a, 0)
        for k in range(n_classes):
            h += load(targets, ai + k * width + i)
            rest = filled(a, 0)
            for m in range(n_classes):
                if m != k:
                    rest += load(a, ai + m * width + i)
            store(out, k * width + i, rest)
        store(out, n_classes * width + i, h)


@part
def weigh(x, xi, rest, a, ai, width, n_samples, n_classes, n, k, l, u):  # noqa: E741
    """Multiply every feature of a block by h q_kl: see the formulas above."""
    last = n_classes - 1
    for i in range(0, n_samples, lanes(x)):
        a_k, a_l, h = load(a, ai + k * width + i), load(a, ai + l * width + i), load(rest, n_classes * width + i)
        a_last, rest_last = load(a, ai + last * width + i), load(rest, last * width + i)
        if k == l:
            q = h * (a_k * (load(rest, k * width + i) + 2.0 * a_last) + a_last * rest_last)
        else:
            q = h * (a_last * (a_k + a_l + rest_last) - a_k * a_l)
        for j in range(n):
            store(u, j * width + i, load(x, xi + j * width + i) * q)


@part
def curvatures(x, targets, blocks, width, n_samples, n_classes, n, a, rest, u, sums, si):
    """Add what some blocks give to the upper triangles of the blocks of the matrix above to sums[si ...]."""
    padded = (n + FEATURES - 1) // FEATURES * FEATURES
    for block in range(blocks[0], blocks[1]):
        xi, ai, few, o = block * padded * width, block * n_classes * width, samples_of(block, width, n_samples), si
        others(targets, a, ai, width, few, n_classes, rest)
        for k in range(n_classes - 1):
            for l in range(k, n_classes - 1):  # noqa: E741
                weigh(x, xi, rest, a, ai, width, few, n_classes, padded, k, l, u)
                products(u, padded, x, xi, padded, width, few, True, sums, o, padded)
                o += padded * padded


@part
def hessian(sums, sums_stride, n_tasks, n_classes, n, l2s, total, matrix, stride):
    """Write the upper triangle of the matrix above, (K - 1) n rows of `stride` numbers, given the sums of all tasks."""
    padded = (n + FEATURES - 1) // FEATURES * FEATURES
    o = 0
    for k in range(n_classes - 1):
        for l in range(k, n_classes - 1):  # noqa: E741
            for p in range(n):
                row = (k * n + p) * stride + l * n
                for q in range(p, n):
                    at = o + p * padded + q
                    value = sums[at]
                    for task in range(1, n_tasks):
                        value += sums[task * sums_stride + at]
                    value /= total
                    matrix[row + q] = value
                    if k != l:
                        matrix[(k * n + q) * stride + l * n + p] = value
                matrix[row + p] += l2s[p] * (2.0 if k == l else 1.0)
            o += padded * padded


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
    for first in range(0, order, PIVOTS):
        last = min(first + PIVOTS, order)
        for p in range(first, last):
            pivot = matrix[p * stride + p]
            if not LEAST_PIVOT < pivot < inf:
                return False
            for r in range(p + 1, last):
                factor = spread(-matrix[p * stride + r] / pivot)
                for c in range(r // width * width, stride, width):
                    at = r * stride + c
                    store(matrix, at, fma(factor, load(matrix, p * stride + c), load(matrix, at)))
        p0, p1, p2, p3 = first * stride, (first + 1) * stride, (first + 2) * stride, (first + 3) * stride
        for r in range(last, order):
            f0 = spread(-matrix[p0 + r] / matrix[p0 + first])
            f1 = spread(-matrix[p1 + r] / matrix[p1 + first + 1])
            f2 = spread(-matrix[p2 + r] / matrix[p2 + first + 2])
            f3 = spread(-matrix[p3 + r] / matrix[p3 + first + 3])
            for c in range(r // width * width, stride, width):
                at = r * stride + c
                value = fma(f1, load(matrix, p1 + c), fma(f0, load(matrix, p0 + c), load(matrix, at)))
                store(matrix, at, fma(f3, load(matrix, p3 + c), fma(f2, load(matrix, p2 + c), value)))
    solution[:] = 0.0
    for p in range(order - 1, -1, -1):
        done = filled(matrix, 0)
        for c in range(p // width * width, stride, width):
            done = fma(load(matrix, p * stride + c), load(solution, c), done)
        solution[p] = (matrix[p * stride + order] - sum_of(done)) / matrix[p * stride + p]
    for r in range(order):
        solution[r] *= scale[r]
    return True


@part
def direction(sums, sums_stride, n_tasks, n_classes, n, l2s, total, out, gi, di):
    """Write the Newton direction to out[di ...]; the outcome is STUCK until a trial decreases J, or FAILED."""
    size, order = n_classes * n, (n_classes - 1) * n
    stride = (order // 8 + 1) * 8
    matrix, scale, solution = aligned(order * stride, sums), aligned(order, sums), aligned(stride, sums)
    matrix[:] = 0.0
    hessian(sums, sums_stride, n_tasks, n_classes, n, l2s, total, matrix, stride)
    for r in range(order):
        matrix[r * stride + order] = out[gi + order + r % n] - out[gi + r]
    out[DECREMENT], out[OUTCOME] = inf, FAILED
    if not solve(matrix, order, stride, scale, solution):
        return
    slope = 0.0
    out[di + order : di + size] = 0.0
    for r in range(order):
        out[di + r] = solution[r]
        out[di + order + r % n] -= solution[r]
    for i in range(size):
        slope += out[gi + i] * out[di + i]
    if -inf < slope <= 0:
        out[DECREMENT], out[OUTCOME], out[TRIAL], out[LENGTH] = -slope / 2, STUCK, 0.0, 1.0


@part
def judge(point, out):
    """Set the outcome of a trial, by Armijo's rule; if it is SHORTER, also the length of the next trial."""
    value, new, slope, length = point[VALUE], out[VALUE], -2.0 * out[DECREMENT], out[LENGTH]
    if out[TRIAL] == 0.0 and new <= value + DECREASE * slope + NOISE * abs(value):
        out[OUTCOME] = STUCK if new >= value and out[NORM] >= point[NORM] else MOVED
        return
    if new <= value + DECREASE * length * slope and new < value:
        out[OUTCOME] = MOVED
        return
    rise = new - value - length * slope  # the minimum of the parabola through both values, and this slope
    best = -slope * length**2 / (2 * rise) if isfinite(rise) and rise > 0 else 0.0
    out[TRIAL] += 1.0
    out[LENGTH] = min(max(best, 0.1 * length), 0.5 * length)
    out[OUTCOME] = SHORTER if out[TRIAL] < MOST_TRIALS else STUCK


@jit
def newton_step(todo, edges, n_samples, x, targets, l2s, total, a, partial, is_trial, point, out):
    """Evaluate J at a point; or make a Newton step from a point and evaluate J there.

    `point` and `out` begin with the NUMBERS above. Then follow K n numbers each: the parameters, the gradient, and in
    `out` the direction. `a` (n_blocks, K, width) are probabilities, `partial` (n_tasks, ...) scratch memory.

    With all phases (`edges`), `point` was evaluated last, and `out` begins as a copy of it. With the last two, J is
    evaluated at the parameters in `out`. If the outcome is SHORTER, `out` has the parameters of another trial.
    """
    n_blocks, n_classes, width = targets.shape
    n_tasks, stride = partial.shape
    n, size = l2s.size, n_classes * l2s.size
    padded, n_pairs = x.shape[1], n_classes * (n_classes - 1) // 2
    x, targets, a, partial = x.reshape(-1), targets.reshape(-1), a.reshape(-1), partial.reshape(-1)
    pi, gi, di = NUMBERS, NUMBERS + size, NUMBERS + 2 * size
    rest, u = aligned((n_classes + 1) * width, x), aligned(max(n_classes + 1, padded) * width, x)
    task, phase = take_in_order(todo, edges, 0)
    while task >= 0:
        if phase in (CURVATURES, LOSSES):
            si, blocks = task * stride, (task * n_blocks // n_tasks, (task + 1) * n_blocks // n_tasks)
            if phase == CURVATURES:
                partial[si : si + n_pairs * padded * padded] = 0.0
                curvatures(x, targets, blocks, width, n_samples, n_classes, n, a, rest, u, partial, si)
            elif out[OUTCOME] != FAILED:
                partial[si : si + 1 + n_classes * padded] = 0.0
                losses(x, targets, blocks, width, n_samples, n_classes, n, out, pi, a, u, partial, si)
        else:
            if phase == DIRECTION:
                direction(partial, stride, n_tasks, n_classes, n, l2s, total, out, gi, di)
            elif out[OUTCOME] != FAILED:
                totals(partial, stride, n_tasks, n_classes, n, l2s, total, out, pi, gi)
                if is_trial:
                    judge(point, out)
            if out[OUTCOME] == (STUCK if phase == DIRECTION else SHORTER):
                for i in range(size):
                    out[pi + i] = point[pi + i] + out[LENGTH] * out[di + i]
        end_task(todo)
        task, phase = take_in_order(todo, edges, phase)
    return task
