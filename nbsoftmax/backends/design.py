"""The rows of one dense array and the parameters of a linear model, as the kernels read them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from nbsoftmax.kernels.chunks import MOST_CHUNKS, chunks_of_samples
from nbsoftmax.kernels.lang.simd import lanes
from nbsoftmax.kernels.lang.tiles import panel_of
from nbsoftmax.kernels.linear import BLAS, DOTS, LOGIT, Rows, Weights, tiled_form, weights_of, whole_vectors
from nbsoftmax.kernels.predict import BEST, predict
from nbsoftmax.kernels.row_tiles import aligned
from nbsoftmax.kernels.runtime.blas import one_thread
from nbsoftmax.kernels.runtime.threads import EXP_WORK, launch
from nbsoftmax.validation import Float64s, Floats, finite_numbers

# From here on BLAS beats the register tiles: weights and gradient no longer stay in cache, and BLAS takes more rows
# at a time. Measured for 1000 features: tiles 2% faster with 500 classes, BLAS 25% faster with 1000.
BLAS_CLASSES, BLAS_FEATURES = 600, 64
# Reading a number of X takes as long as its multiply-adds with so many classes.
FEWEST_COLUMNS = 4


def difference(by_class: Floats, dtype: np.dtype[Any]) -> Floats:
    """The numbers of class 1, (2, ...), less those of class 0, for kernels with one logit for each sample."""
    with np.errstate(over="ignore", invalid="ignore"):  # the sums are then inf or NaN, as those of more classes
        result: Floats = (by_class[1] - by_class[0]).astype(dtype, copy=False)
    return result


class Design:
    """One float32 or float64 array of any strides, which is not copied, beside parameters for `n_classes` classes.

    Parameters
    ----------
    X : ndarray (n_samples, n_features)
    n_classes : int
    offset : ndarray (n_samples, n_classes) of the dtype of X, added to the logits; (0, 0) for none
    n_threads : int or None
        None: as many as Numba would use.
    form : int or None
        How kernels multiply: a form of `kernels.linear`. LOGIT is for two classes. None: TILES, DOTS or BLAS, which
        the shape decides.
    """

    def __init__(
        self, X: Floats, n_classes: int, offset: Floats, n_threads: int | None, form: int | None = None
    ) -> None:
        self.n_samples, self.n_features = X.shape
        self.n_classes, self.n_threads, self.dtype = n_classes, n_threads, X.dtype
        if any(stride % X.itemsize for stride in X.strides):  # a field of a packed record: not whole elements apart
            X = np.ascontiguousarray(X)
        self._X = X
        # The kernels count in elements from the first one: one compiled version for every layout.
        if not X.size:
            x = np.empty(1, X.dtype)
        else:  # for an array without gaps, `reshape` makes the same view in less time
            x = X.reshape(-1) if X.flags.c_contiguous else as_strided(X, (1,), (X.itemsize,))
        strides = [stride // X.itemsize for stride in X.strides]
        self.work = self.n_samples * (self.n_features + 1) * n_classes  # multiply-adds of one product
        if form == LOGIT and offset.size:
            offset = difference(offset.T, X.dtype)
        self.rows = Rows(x, *strides, self.n_samples, self.n_features, offset.reshape(-1))
        self._width = width = int(lanes(X))
        self.stride = 1 if form == LOGIT else whole_vectors.py_func(n_classes, X)
        if form is not None:
            self.form = form
        elif n_classes >= BLAS_CLASSES and self.n_features >= BLAS_FEATURES:
            self.form = BLAS
        else:
            self.form = tiled_form.py_func(self.n_features, n_classes, width)

    def weights(self, params: Float64s, *, fit_intercept: bool = True) -> Weights:
        """The parameters (n_classes, n_features + 1) in the dtype of X, laid out for the form of the products."""
        if self.form == LOGIT:
            both = difference(params, self.dtype)[None]
            return self._laid_out(both[:, :-1], both[:, -1] if fit_intercept else 0.0)
        return self._laid_out(params[:, :-1], params[:, -1] if fit_intercept else 0.0)

    def _laid_out(self, coef: Floats, intercept: Floats | float) -> Weights:
        n, k = self.n_features, len(coef)
        if self.form in (DOTS, LOGIT):
            length = -(-n // self._width) * self._width
            # Each vector of weights is read once for a few rows: vectors that cross cache lines took up to 16% longer.
            flat = aligned.py_func(k * length + k, self.rows.x)
            flat[:] = 0
            flat[: k * length].reshape(k, length)[:, :n] = coef
            flat[k * length :] = intercept
        else:
            flat, first = np.zeros((n + 1) * self.stride, self.dtype), 0
            while first < k:  # panels of classes; a single one for BLAS
                side = self.stride if self.form == BLAS else panel_of.py_func(first, self.stride, self._width)[1]
                last, at = min(first + side, k), first * (n + 1)
                w = flat[at : at + (n + 1) * side].reshape(n + 1, side)
                w[:n, : last - first] = coef[first:last].T
                w[n, : last - first] = intercept if isinstance(intercept, float) else intercept[first:last]
                first += side
        return weights_of(flat, self.stride, k, self.form)

    def n_chunks(self, most: int = MOST_CHUNKS) -> int:
        """Number of chunks of rows: a function of the shape alone, so that no result depends on the threads."""
        chunks: int = chunks_of_samples.py_func(self.n_samples, self.work, most)
        return chunks

    def cost(self, n_products: int) -> int:
        """About how many multiply-adds a pass over the rows takes, with so many products and the exponentials."""
        columns = max(self.n_classes, FEWEST_COLUMNS)
        return int(self.n_samples * (n_products * (self.n_features + 1) * columns + EXP_WORK * self.n_classes))

    def predict(
        self,
        coef: Float64s,
        intercept: Float64s,
        what: int,
        k: int = 1,
        *,
        with_proba: bool = False,
        names: tuple[str, ...] | None = None,
    ) -> tuple[Floats, NDArray[np.int64]]:
        """Logits, probabilities or their logarithms (n_samples, n_classes), in the dtype of X; or the best classes.

        Of `kernels.predict`, `what` is LOGITS, PROBA, LOG_PROBA; or BEST, which gives the `k` most probable classes
        (n_samples, k) as second result and, `with_proba`, their probabilities (n_samples, k) as first. `names` are
        those of the features, for the error.

        Raises
        ------
        InputValueError
            If X contains NaN or inf. The kernel notices it while it reads X: a check before it would read X twice.
        """
        columns = self.n_classes if what != BEST else k if with_proba else 0
        out = np.empty((self.n_samples, columns), self.dtype)
        best = np.empty((self.n_samples, k if what == BEST else 0), np.int64)
        weights, n_chunks = self._laid_out(coef, intercept), self.n_chunks()
        not_finite = np.zeros(1, np.bool_)
        arguments = self.rows, weights, what, k, n_chunks, out.reshape(-1), best.reshape(-1), not_finite
        self.run(predict, n_chunks, self.cost(1), *arguments)
        if not_finite[0]:  # in X; or in the parameters, or a product overflows
            finite_numbers(self._X, names=names)
        return out, best

    def run(self, kernel: Any, n_tasks: int, work: int, *arguments: Any) -> None:
        """Run a kernel: so many tasks, about `work` multiply-adds in all, on at most `n_threads` threads."""
        if self.form == BLAS:
            with one_thread():
                launch(kernel, n_tasks, work, self.n_threads, *arguments)
        else:
            launch(kernel, n_tasks, work, self.n_threads, *arguments)
