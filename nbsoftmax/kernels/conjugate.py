"""The vector operations of conjugate gradients for many parameters, each in one pass that changes arrays in place.

    curvature_along    s . H s                                        the curvature along a search direction s
    advance            d <- d - a s,   r <- r - a H s,   r . z        the step, and the residual after it
    next_search        s <- z + b s                                   the next search direction

with H s = p / S + c s for the product p of the backend and the penalty's curvature c. The preconditioner is diagonal
for features from which a mean x is subtracted, with the intercept b in the last column:

    z_j = M_j (r_j - x_j r_b)   for all columns, x_b = 0;        then   z_b <- z_b - sum_j x_j z_j

and from z its mean over the classes is subtracted. The caller adds the last sum. Arrays are (K, n), flat; c and x are
(n,). NumPy would make three to ten passes for each of these, most of them with a new array, which takes longer than
products with sparse data.

Ranges of columns are tasks. The sums of each are written to `partial`, so that the caller adds them in order.
"""

from nbsoftmax.kernels.lang.simd import filled, lanes, load, load_part, store, store_part, sum_of
from nbsoftmax.kernels.row_tiles import aligned
from nbsoftmax.kernels.runtime.jit import inlined, jit, part
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


@inlined
def times_hessian(product, s, divisor, curvature):
    """H s from vectors of the product of the backend."""
    return product / divisor + curvature * s


@jit
def curvature_along(todo, search, product, divisor, curvature, n_classes, columns, partial):
    """Write the parts of s . H s to `partial`."""
    n, width = curvature.size, lanes(search)
    task = take(todo)
    while task >= 0:
        low, size = bounds_of(task, columns, n)
        total = filled(search, 0)
        for k in range(n_classes):
            for c in range(low, low + size, width):
                few, at = min(width, low + size - c), k * n + c
                s = load_part(search, at, few, 0.0)
                total += s * times_hessian(
                    load_part(product, at, few, 0.0), s, divisor, load_part(curvature, c, few, 0.0)
                )
        partial[task] = sum_of(total)
        task = take(todo)


@jit
def advance(  # the arrays of conjugate gradients
    todo,
    direction,
    residual,
    search,
    product,
    divisor,
    curvature,
    inverse,
    centre,
    corner,
    step,
    n_classes,
    columns,
    means,
    shifts,
    partial,
):
    """Subtract `step` times `search` from `direction`, and `step` times H s from `residual`.

    `inverse` is M, `centre` is x, and `corner`, (K,), is r_b after the step. The mean of the first z over the classes
    is written to `means` (n,), the parts of sum_j x_j z_j to `shifts`, (n_tasks, K), and those of r . z to `partial`.
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
            shift = filled(residual, 0)
            for c in range(0, size, width):
                few, at = min(width, size - c), k * n + low + c
                s = load_part(search, at, few, 0.0)
                store_part(direction, at, load_part(direction, at, few, 0.0) - s * step, few)
                q = times_hessian(load_part(product, at, few, 0.0), s, divisor, load_part(curvature, low + c, few, 0.0))
                r = load_part(residual, at, few, 0.0) - q * step
                store_part(residual, at, r, few)
                x = load_part(centre, low + c, few, 0.0)
                r = r - x * corner[k]
                z = load_part(inverse, at, few, 0.0) * r
                total += r * z
                shift += x * z
                store(sums, c, load(sums, c) + r)
                store(products, c, load(products, c) + z)
            shifts[task * n_classes + k] = sum_of(shift)
        for c in range(0, size, width):
            few, mean = min(width, size - c), load(products, c) / n_classes
            store_part(means, low + c, mean, few)
            total = total - mean * load(sums, c)
        partial[task] = sum_of(total)
        task = take(todo)


@jit
def next_search(todo, search, residual, inverse, centre, corner, factor, n_classes, columns, means):
    """Replace `search` by z + factor * search, with the first z of `advance` and its `means`."""
    n, width = means.size, lanes(search)
    task = take(todo)
    while task >= 0:
        low, size = bounds_of(task, columns, n)
        for k in range(n_classes):
            for c in range(low, low + size, width):
                few, at = min(width, low + size - c), k * n + c
                r = load_part(residual, at, few, 0.0) - load_part(centre, c, few, 0.0) * corner[k]
                z = load_part(inverse, at, few, 0.0) * r - load_part(means, c, few, 0.0)
                store_part(search, at, z + load_part(search, at, few, 0.0) * factor, few)
        task = take(todo)
