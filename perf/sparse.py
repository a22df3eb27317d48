"""Loss and gradient of sparse data, compared with scikit-learn: python -m perf sparse

The columns are distributed as the words of a text: the j-th most frequent one has a probability proportional to 1 / j.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from nbsoftmax import validation
from nbsoftmax.backends.sparse import SparseBackend
from perf.peers import OURS, TOLERANCE
from perf.report import Results, Row, at_least
from perf.timing import Times, interleave, n_cores

# m, N, K, stored numbers: as 20 newsgroups, RCV1 with 53 topics, and one-hot and hashed columns.
SHAPES = ((11_314, 130_107, 20, 1_300_000), (100_000, 47_236, 53, 6_200_000), (400_000, 65_536, 7, 4_900_000))
PEER = "scikit-learn"
LEAST_SPEED_UP, LEAST_SCALING = 6.0, 1.7


def problem(m: int, n_features: int, n_classes: int, n_numbers: int, dtype: str) -> tuple[Any, Any, Any]:
    """Random CSR rows (m, N) with about `n_numbers` numbers, labels, and parameters."""
    from scipy.sparse import csr_array

    rng = np.random.default_rng(0)
    frequency = np.cumsum(1 / np.arange(1, n_features + 1))
    ranks = rng.permutation(n_features)
    drawn = n_numbers
    while True:  # until so many are left without the duplicates
        rows = np.repeat(np.arange(m), rng.poisson(drawn / m, m))
        columns = ranks[np.searchsorted(frequency, rng.random(rows.size) * frequency[-1])]
        X = csr_array((np.ones(rows.size, dtype), (rows, columns)), shape=(m, n_features))
        X.sum_duplicates()
        if X.nnz > 0.97 * n_numbers:
            break
        drawn = round(drawn * 1.02 * n_numbers / X.nnz)
    X.data[:] = rng.uniform(0.1, 1.0, X.nnz)
    params = rng.normal(size=(n_classes, n_features + 1)) / 10
    return validation.features(X), rng.integers(0, n_classes, m), params


def backend(X: Any, y: Any, n_classes: int, n_threads: int | None = None) -> SparseBackend:
    """The sums over the rows of X."""
    target = validation.weighted_targets(
        y, len(y), n_classes, X.dtype, sample_weight=None, class_weight=None, label_smoothing=0.0
    )
    return SparseBackend(X, target, offset=np.empty((0, 0), X.dtype), fit_intercept=True, n_threads=n_threads)


def peer(X: Any, y: Any, params: Any) -> Callable[[], Any]:
    """The loss and gradient of scikit-learn's LogisticRegression, with all cores."""
    from scipy.sparse import csr_matrix
    from sklearn._loss import HalfMultinomialLoss
    from sklearn.linear_model._linear_loss import LinearModelLoss

    loss = LinearModelLoss(base_loss=HalfMultinomialLoss(n_classes=params.shape[0]), fit_intercept=True)
    coef, rows, labels = np.asfortranarray(params.astype(X.dtype)), csr_matrix(X), y.astype(X.dtype)
    return lambda: loss.loss_gradient(coef, rows, labels, l2_reg_strength=0.0, n_threads=n_cores())


def agree(ours: tuple[float, Any], other: tuple[float, Any], y: Any) -> None:
    """Stop if the mean loss or the gradients differ by more than rounding errors of the dtype."""
    loss, gradient = ours[0] / len(y), ours[1] / len(y)
    tolerance = TOLERANCE[str(other[1].dtype)]
    if (
        abs(loss - other[0]) > tolerance * loss
        or np.abs(gradient - other[1]).max() > tolerance * np.abs(gradient).max()
    ):
        raise RuntimeError(f"{OURS} and {PEER} do not agree.")


def run(results: Results, rounds: int, scale: int) -> None:
    """Measure loss + gradient, Hessian-vector products and numbers of threads; `scale` divides the rows."""
    evaluations, products, threads = [], [], []
    for m, n_features, n_classes, n_numbers in SHAPES:
        for dtype in ("float64", "float32"):
            X, y, params = problem(m // scale, n_features, n_classes, n_numbers // scale, dtype)
            times = measure(X, y, params, rounds)
            name = f"{X.shape[0]} x {n_features} x {n_classes}, {X.nnz / 1e6:.2g} M"
            ours, flops = times[OURS], 4.0 * X.nnz * n_classes
            for rows, other in ((evaluations, PEER), (threads, "one thread")):
                rows.append(Row(name, dtype, {OURS: ours, other: times[other]}, other, times[other].median, flops))
            product = {OURS: times["product"], "loss + grad": ours}
            products.append(Row(name, dtype, product, "loss + grad", ours.median))
            evaluations[-1].bars.append(at_least(LEAST_SPEED_UP, times[PEER].median / ours.median, PEER))
            threads[-1].bars.append(at_least(LEAST_SCALING, times["one thread"].median / ours.median, "one thread"))
    results.add("Loss + gradient of sparse data", evaluations)
    results.add("Hessian-vector product of sparse data, against loss + gradient", products)
    results.add(f"{n_cores()} threads against 1, loss + gradient of sparse data", threads)


def measure(X: Any, y: Any, params: Any, rounds: int) -> dict[str, Times]:
    """Time an evaluation with all threads, with one, and by scikit-learn; and a Hessian-vector product."""
    together, alone, v = backend(X, y, len(params)), backend(X, y, len(params), 1), params[::-1].copy()
    other = peer(X, y, params)
    agree(together.loss_and_grad(params), other(), y)
    together.hess_vec(params, v)  # the next ones use the probabilities of the first
    calls: dict[str, Callable[[], Any]] = {
        OURS: lambda: together.loss_and_grad(params),
        "one thread": lambda: alone.loss_and_grad(params),
        "product": lambda: together.hess_vec(params, v),
        PEER: other,
    }
    return interleave(calls, rounds)
