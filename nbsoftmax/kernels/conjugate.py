"""The vector operations of conjugate gradients for many parameters, each in one pass that changes arrays in place.

    finish     q <- q / S + c v,      v . q                              the Hessian times v, with the penalty's part
    advance    d <- d - a s,   r <- r - a q,   r . z                     the step, and the residual after it
    turn       s <- z + b s                                              the next search direction

with z = M r minus its mean over the classes, for a diagonal M. Arrays are (K, n), flat; c is (n,). NumPy would make two
to eight passes for each of these, most of them with a new array, which takes longer than products with sparse data.

Ranges of columns are tasks. The sums of each are written to `partial`, so that the caller adds them in order.
"""

from nbsoftmax.kernels.lang.simd import filled, lanes, load, load_part, store, store_part, sum_of
from nbsoftmax.kernels.rows import aligned
from nbsoftmax.kernels.runtime.jit import jit, part
from nbsoftmax.kernels.runtime.threads import take

# Numbers of a task in each array, about, and columns of a task at least: a pass follows as many streams as there are
# arrays, and each begins anew with every class.
TASK_SIZE, LEAST_COLUMNS = 2**13, 128


def columns_of_task(n_classes):
    """Number of columns of a task: whole cache lines."""
    return max(LEAST_COLUMNS, TASK_SIZE // n_classes // 8 * 8)


@part
def bounds_of(task, columns, n):
    """First column of a task, and the number of its columns."""
    return task * columns, min(columns, n - task * columns)


@jit
def finish(todo, product, v, divisor, curvature, n_classes, columns, partial):
    """Divide `product` by a number, add `curvature` (n,) times v, and write the parts of v . product to `partial`."""
    n, width = curvature.size, lanes(v)
    task = take(todo)
    while task >= 0:
        low, size = bounds_of(task, columns, n)
        total = filled(v, 0)
        for k in range(n_classes):
            for c in range(low, low + size, width):
                few, at = min(width, low + size - c), k * n + c
                x = load_part(v, at, few, 0.0)
                q = load_part(product, at, few, 0.0) / divisor + load_part(curvature, c, few, 0.0) * x
                store_part(product, at, q, few)
                total += x * q
        partial[task] = sum_of(total)
        task = take(todo)


@jit
def advance(todo, direction, residual, search, product, inverse, step, n_classes, columns, means, partial):
    """Subtract `step` times `search` from `direction`, and `step` times `product` from `residual`.

    The mean of inverse * residual over the classes is written to `means` (n,), and the parts of residual . z to
    `partial`, with z = inverse * residual - means.
    """
    n, width = means.size, lanes(residual)
    sums, products = aligned(columns + width, residual), aligned(columns + width, residual)
    task = take(todo)
    while task >= 0:
        low, size = bounds_of(task, columns, n)
        sums[:] = 0.0
        products[:] = 0.0
        total = filled(residual, 0)
        for k in range(n_classes):
            for c in range(0, size, width):
                few, at = min(width, size - c), k * n + low + c
                d = load_part(direction, at, few, 0.0) - load_part(search, at, few, 0.0) * step
                store_part(direction, at, d, few)
                r = load_part(residual, at, few, 0.0) - load_part(product, at, few, 0.0) * step
                store_part(residual, at, r, few)
                z = load_part(inverse, at, few, 0.0) * r
                total += r * z
                store(sums, c, load(sums, c) + r)
                store(products, c, load(products, c) + z)
        for c in range(0, size, width):
            few, mean = min(width, size - c), load(products, c) / n_classes
            store_part(means, low + c, mean, few)
            total = total - mean * load(sums, c)
        partial[task] = sum_of(total)
        task = take(todo)


@jit
def turn(todo, search, residual, inverse, means, factor, n_classes, columns):
    """Replace `search` by z + factor * search, with z and `means` of `advance`."""
    n, width = means.size, lanes(search)
    task = take(todo)
    while task >= 0:
        low, size = bounds_of(task, columns, n)
        for k in range(n_classes):
            for c in range(low, low + size, width):
                few, at = min(width, low + size - c), k * n + c
                z = load_part(inverse, at, few, 0.0) * load_part(residual, at, few, 0.0) - load_part(means, c, few, 0.0)
                store_part(search, at, z + load_part(search, at, few, 0.0) * factor, few)
        task = take(todo)
