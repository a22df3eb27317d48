"""The objective of softmax regression for users: it validates the data and the parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import ArrayLike

from nbsoftmax import validation
from nbsoftmax.errors import InputTypeError, InputValueError
from nbsoftmax.penalized_loss import ObjectiveOptions, PenalizedLoss
from nbsoftmax.penalties import Firth, Penalty, penalty_of
from nbsoftmax.problem import Problem
from nbsoftmax.validation import Float64s


class Objective(PenalizedLoss):
    """Penalised cross-entropy of a linear model, with gradient and Hessian-vector product.

        J(W, b) = (1 / S) sum_i L(W x_i + b + offset_i, y_i) + l2/2 ||W||^2 + l1 ||W||_1

    or, grouped, l1 sum_j ||W_:j||_2 instead of the last term, or any other `penalty` of W instead of both,
    with L as in `cross_entropy` (weights and label smoothing included) and S what its mean divides by. X is read
    once per evaluation, in its own dtype and layout; the logits never exist as an array. Values and gradients are
    float64 and the same, bit for bit, for every number of threads.

    Parameters
    ----------
    X : array_like or sparse matrix (n_samples, n_features)
        Finite. float32 and float64 arrays of any strides are used without a copy. A sparse matrix or array of SciPy is
        used without a copy if it is in CSR format with sorted indices, and never as a dense array.
    y : array_like
        Class indices, integers (n_samples,); or probabilities (n_samples, n_classes).
    n_classes : int, optional
        At least 2. Default: the largest class index + 1, or the columns of `y`.
    sample_weight : array_like (n_samples,), optional
    class_weight : array_like (n_classes,) or dict of class index to weight, optional
    l1, l2 : float
        Penalties on W; the intercept b is never penalised.
    grouped : bool
        Whether l1 penalises the n_classes weights of a feature together, by their Euclidean norm.
    penalty : Ridge, Lasso, ElasticNet, GroupLasso or an object with their methods `value` and `prox`, optional
        Instead of `l1`, `l2` and `grouped`: one of these, or a penalty of your own.
    bounds : (low, high), optional
        Bounds on W, each None, a number, (n_features,) or (n_classes, n_features); outside of them J is inf.
    penalty_weight : array_like (n_features,), optional
        Weight w_j >= 0 of each feature in the penalty, which becomes sum_j w_j (l2/2 ||W_:j||^2 + l1 ||W_:j||_1).
    fit_intercept : bool
        If false, the last column of `params` is ignored, and its gradient is 0.
    label_smoothing : float in [0, 1]
    offset : array_like (n_samples, n_classes), optional
        Added to the logits, with fixed coefficient 1.
    n_threads : int, optional
        Default: as many as Numba would use.
    device : {"cpu", "cuda", "auto"} or str
        Where the sums over rows are computed: "cuda:1" is the second GPU, "cuda:0,1" and "cuda:all" divide the rows
        among several, "auto" is the first GPU if there is one, and else the CPU. X may then be an array on the GPU that
        supports `__cuda_array_interface__` or DLPack (CuPy, PyTorch, JAX, Numba); it is not copied. y, weights and
        offset may be on the GPU too; they are copied to the host.
    device_memory : int, optional
        Bytes of each GPU to use; by default most of the free memory. An X that needs more is sent in parts at each
        evaluation.
    progress : callable, optional
        While X is copied to GPUs, called with the number of rows copied so far and the number of all rows.

    Raises
    ------
    InputValueError, InputTypeError
        For invalid input.
    DeviceMemoryError
        If a GPU does not have enough memory for what is needed besides X; evaluations may raise it too.

    Attributes
    ----------
    n_samples, n_features, n_classes, shape, weight_sum, separable_below, class_mass, backend
        As in `PenalizedLoss`, whose other methods are for solvers and validate nothing.
    """

    def __init__(  # noqa: PLR0913  all that defines the objective
        self,
        X: Any,
        y: ArrayLike,
        *,
        n_classes: int | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | ArrayLike | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        grouped: bool = False,
        penalty: Penalty | None = None,
        penalty_weight: ArrayLike | None = None,
        bounds: tuple[ArrayLike | None, ArrayLike | None] | None = None,
        fit_intercept: bool = True,
        label_smoothing: float = 0.0,
        offset: ArrayLike | None = None,
        n_threads: int | None = None,
        device: str = "cpu",
        device_memory: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        if progress is not None and not callable(progress):
            raise InputTypeError(f"progress is {progress!r}, expected a function of two numbers of rows.")
        options = ObjectiveOptions(
            penalty=penalty_of(penalty, l1, l2, grouped=grouped, weight=penalty_weight, bounds=bounds),
            fit_intercept=validation.flag("fit_intercept", fit_intercept),
            n_threads=validation.n_threads(n_threads),
            device=validation.device(device),
            device_memory=None if device_memory is None else validation.count("device_memory", device_memory),
        )
        if isinstance(options.penalty, Firth):
            raise InputValueError(
                "penalty is 'firth', which Objective does not compute; use Trainer.", parameter="penalty"
            )
        problem = Problem.from_indices(
            X,
            y,
            n_classes=n_classes,
            sample_weight=sample_weight,
            class_weight=class_weight,
            label_smoothing=label_smoothing,
            offset=offset,
            device=options.device,
        )
        super().__init__(problem, options, progress=progress)

    def value(self, params: ArrayLike) -> float:
        """J at `params`, float64 (n_classes, n_features + 1).

        Raises
        ------
        InputValueError, InputTypeError
            For `params` of another shape or with values that are not finite numbers; the other methods raise them too.
        """
        return super().value(validation.params(params, self.shape))

    def value_and_grad(self, params: ArrayLike) -> tuple[float, Float64s]:
        """J and its gradient, float64 of the shape of `params`, in one pass over X.

        Raises
        ------
        InputValueError
            With l1 > 0, or another penalty that has no gradient everywhere.
        """
        self._require_smooth("gradient")
        return super().value_and_grad(validation.params(params, self.shape))

    def value_and_subgrad(self, params: ArrayLike) -> tuple[float, Float64s]:
        """J and its subgradient of least norm, which is 0 at the minimum alone; without l1 it is the gradient.

        For a penalty of your own it is, in W, the proximal gradient mapping W - prox(W - grad, 1).
        """
        return super().value_and_subgrad(validation.params(params, self.shape))

    def hvp(self, params: ArrayLike, v: ArrayLike) -> Float64s:
        """The Hessian of J at `params` times `v`, float64 of the shape of `params`, in one pass over X.

        Raises
        ------
        InputValueError
            With l1 > 0, or another penalty that has no Hessian everywhere; and for partial labels.
        """
        self._require_smooth("Hessian")
        if not self.convex:
            raise InputValueError("the Hessian for partial labels is not supported; use value and value_and_grad.")
        return super().hvp(validation.params(params, self.shape), validation.params(v, self.shape, name="v"))

    def _require_smooth(self, what: str) -> None:
        if not self.penalty.is_smooth:
            raise InputValueError(
                f"the objective has no {what} everywhere, since the penalty is {self.penalty}; "
                "use value or value_and_subgrad, or l1=0."
            )
