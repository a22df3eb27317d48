"""Compilation of all kernels in advance, for later processes: the tasks that `nbsoftmax warmup` distributes.

A task calls one function on a small problem, and so compiles the few kernels that no other task needs. The fits of
`check` afterwards compile what is missing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from nbsoftmax import functional, validation
from nbsoftmax.kernels import delayed_stores
from nbsoftmax.kernels.linear import BLAS, DOTS, TILES
from nbsoftmax.kernels.sgd import Rule
from nbsoftmax.objective import Objective
from nbsoftmax.penalties import GroupLasso
from nbsoftmax.problem import Problem
from nbsoftmax.solvers.sgd import SGD
from nbsoftmax.solvers.tools.square_products import times_square
from nbsoftmax.training.trainer import Trainer

FEW, MANY = 3, 70  # numbers of classes: up to 64, kernels process several rows side by side
# Forms of the products and numbers of classes that kernels are compiled for.
FORMS = ((TILES, FEW), (DOTS, FEW), (TILES, MANY), (DOTS, MANY), (BLAS, MANY))


class Task(NamedTuple):
    """A function to call, for a dtype and for kernels of one form."""

    name: str
    dtype: str
    form: int = TILES
    n_classes: int = FEW


def tasks(dtype: str) -> list[Task]:
    """All tasks for data of a dtype, the longest first."""
    with_form = [Task(name, dtype, *form) for name in _WITH_FORM for form in FORMS]
    others = [name for name in (*_SPLIT, *_OTHERS) if name not in ("newton", "square", "l1") or dtype == "float64"]
    many = [Task(name, dtype, n_classes=MANY) for name in _MANY_CLASSES]
    return with_form + [Task(name, dtype) for name in others] + many


def run(task: Task) -> None:
    """Run a task."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (_WITH_FORM | _SPLIT | _OTHERS)[task.name](task)


def check(dtype: str) -> None:
    """Fits and predictions that combine kernels, with penalties and solvers that no task has."""
    X, y = _problem(Task("check", dtype))
    trainers = [
        Trainer(l2=0.1, max_iter=2),
        Trainer(l1=0.1, max_iter=2),
        Trainer(penalty=GroupLasso(0.1), max_iter=2),
        Trainer(l2=0.1, max_iter=2, solver="lbfgs"),
        Trainer(l2=0.1, max_iter=1, solver="sgd"),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for trainer in trainers:
            model = trainer.fit(X, y).model
            model.predict(X)
            model.predict_proba(X)


def _problem(task: Task, n_rows: int = 0, n_features: int = 5) -> tuple[Any, Any]:
    m = n_rows or max(40, task.n_classes)
    X = np.random.default_rng(0).normal(size=(m, n_features)).astype(task.dtype)
    return X, np.arange(m) % task.n_classes


def _backend(task: Task, X: Any, y: Any) -> Any:
    backend: Any = Objective(X, y, n_classes=task.n_classes).backend
    if not backend._block:
        backend._design.form = task.form
    return backend


def _params(backend: Any) -> Any:
    return np.zeros((backend.n_classes, backend.n_features + 1))


# --- one kernel for each form of the products -------------------------------------------------------


def _loss(task: Task) -> None:
    backend = _backend(task, *_problem(task))
    backend.loss_and_grad(_params(backend))


def _finite(task: Task) -> None:
    validation.all_finite(_problem(task)[0])


def _two_classes(task: Task) -> None:
    X, y = _problem(task)
    backend: Any = Objective(X, y > 0, n_classes=2).backend  # with kernels of their own
    backend.loss_and_grad(_params(backend))
    backend.hess_vec(_params(backend), _params(backend))


def _product(task: Task) -> None:
    backend = _backend(task, *_problem(task))
    backend.hess_vec(_params(backend), _params(backend))


def _gram(task: Task) -> None:
    backend = _backend(task, *_problem(task))
    backend.gram(_params(backend))


def _curvatures(task: Task) -> None:
    backend = _backend(task, *_problem(task))
    backend.curvatures(_params(backend))


def _predict(task: Task) -> None:
    backend = _backend(task, *_problem(task))
    params = _params(backend)
    backend._design.predict(params[:, :-1], params[:, -1], 0)


def _panels(task: Task) -> None:
    backend = _backend(task, *_problem(task, 64, 1300))  # a matrix so large that its panels are split over threads
    backend.gram(_params(backend))


def _descend(task: Task, n_rows: int = 64, n_features: int = 5) -> None:
    X, y = _problem(task, n_rows, n_features)
    backend = _backend(task, X, y)
    solver = SGD()
    state, order = solver.initial_state(_params(backend)), np.arange(n_rows)
    rule = Rule(0, 0.9, np.zeros(n_features), 1.0)
    backend.descend(state, order, n_rows, np.full(1, 1e-3), rule, 0)


def _descend_in_chunks(task: Task) -> None:
    _descend(task, 2**23 // (200 * task.n_classes) + 1, 200)  # batches so large that they are split over threads


_WITH_FORM: dict[str, Callable[[Task], None]] = {
    "loss": _loss,
    "product": _product,
    "gram": _gram,
    "descend": _descend,
    "descend_in_chunks": _descend_in_chunks,
    "curvatures": _curvatures,
    "predict": _predict,
    "panels": _panels,
}

# --- models so large that their classes are split over threads ----------------------------------------


def _split(task: Task, n_classes: int, n_features: int) -> None:
    task = task._replace(n_classes=n_classes)
    backend = _backend(task, *_problem(task, 2, n_features))
    backend.loss_and_grad(_params(backend))
    backend.hess_vec(_params(backend), _params(backend))


_SPLIT: dict[str, Callable[[Task], None]] = {
    "split_few": lambda task: _split(task, FEW, 600_000),
    "split_many": lambda task: _split(task, 8192, 1),
}

# --- functions of logits ------------------------------------------------------------------------------


def _of_logits(name: str) -> Callable[[Task], None]:
    function = getattr(functional, name)

    def compile_kernels(task: Task) -> None:
        function(_problem(task)[0])
        if name != "sigmoid":  # which has no axis
            function(_problem(task, 16, 16)[0], axis=0)

    return compile_kernels


def _cross_entropy(task: Task) -> None:
    z, y = _problem(task, n_features=task.n_classes)
    functional.cross_entropy_and_grad(z, y)


def _binary_cross_entropy(task: Task) -> None:
    z = _problem(task)[0][:, 0]
    functional.binary_cross_entropy_and_grad(z, np.arange(z.size) % 2)


def _long_rows(task: Task) -> None:
    z = _problem(task, 2, 2**15)[0]
    for function in (functional.softmax, functional.log_softmax, functional.logsumexp):
        function(z)
    z[0, :2] = np.finfo(z.dtype).max * np.array([1, -1])  # their difference overflows
    functional.cross_entropy_and_grad(z, np.array([1, 0]))
    functional.cross_entropy_and_grad(z, functional.softmax(np.zeros_like(z)))


def _large_gradient(task: Task) -> None:
    z, y = _problem(task, delayed_stores.LEAST_BYTES_PAST_CACHES // (FEW * np.dtype(task.dtype).itemsize) + 1, FEW)
    functional.cross_entropy_and_grad(z, y)


def _newton(task: Task) -> None:
    Trainer(l2=0.1, max_iter=1).fit(*_problem(task))  # in float64 also for float32 data


def _square(_: Task) -> None:
    times_square(np.zeros((2**6, 2**10)), np.zeros((2**10, 2**10)), None)


# --- sparse X --------------------------------------------------------------------------------------------


def _sparse_rows(task: Task, n_features: int = MANY) -> tuple[Any, Any]:
    from scipy.sparse import csr_array  # slow to import: loaded when it is used

    X, y = _problem(task, 2 * MANY, n_features)
    return csr_array(np.where(np.random.default_rng(1).uniform(size=X.shape) < 0.05, X, 0)), y


def _sparse(task: Task) -> None:
    from nbsoftmax.backends.sparse import SparseBackend

    X, y = _sparse_rows(task)
    problems = [Problem.from_labels(X, y)]
    if task.n_classes == FEW:
        problems.append(Problem.from_labels(X, y > 0))  # two classes have a kernel of their own
    for problem, block_bytes in product(problems, (2**22, 2**10)):  # one block of rows, and several
        options: dict[str, Any] = {"fit_intercept": True, "n_threads": None, "block_bytes": block_bytes}
        backend = SparseBackend(problem.X, problem.target, offset=problem.offset, **options)
        backend.loss_and_grad(_params(backend))
        backend.hess_vec(_params(backend), _params(backend))
        backend.curvatures(_params(backend))
        backend.margins(_params(backend), slice(0, 9))
        backend.frequent_gram(_params(backend), np.arange(9))
        if task.n_classes == FEW:
            backend.hessian(_params(backend))
    if task.n_classes == FEW:
        Trainer(penalty="firth", max_iter=1).fit(X[:, :FEW], y)  # a Gram matrix of each class


def _sparse_descend(task: Task) -> None:
    X, y = _sparse_rows(task)
    objective = Objective(X, y, n_classes=task.n_classes)
    state, order = SGD().initial_state(np.zeros(objective.shape)), np.arange(X.shape[0])
    objective.descend(state, order, order.size, np.full(1, 1e-3), kind=0, momentum=0.9, n_before=0)


def _l1(task: Task) -> None:
    X, y = _problem(task._replace(n_classes=8), n_features=50)
    for few in (X, X[:, :2]):  # models by products, and from the whole Hessian
        Trainer(l1=1e-4, max_iter=1).fit(few, y)


def _sparse_l1(task: Task) -> None:
    X, y = _sparse_rows(task)
    for grouped in (False, True):
        model = Trainer(l1=1e-3, grouped=grouped, max_iter=1).fit(X, y).model
    model.predict_proba(X)


def _conjugate(task: Task) -> None:
    X, y = _sparse_rows(task._replace(n_classes=MANY), 1000)  # kernels add up the vectors of so many parameters
    Trainer(l2=0.1, max_iter=1).fit(X, y)


def _partial(task: Task) -> None:
    X, y = _problem(task)
    possible = np.eye(task.n_classes, dtype=bool)[y]
    possible[:, 0] = True
    Trainer(l2=0.1, max_iter=1).fit(X, possible)
    X, y = _sparse_rows(task)
    Trainer(l2=0.1, max_iter=1).fit(X, np.eye(task.n_classes, dtype=bool)[y] | (np.arange(task.n_classes) == 0))


_OTHERS: dict[str, Callable[[Task], None]] = {
    "finite": _finite,
    "two_classes": _two_classes,
    "newton": _newton,
    "square": _square,
    "l1": _l1,
    "long_rows": _long_rows,
    "large_gradient": _large_gradient,
    "cross_entropy": _cross_entropy,
    "softmax": _of_logits("softmax"),
    "log_softmax": _of_logits("log_softmax"),
    "logsumexp": _of_logits("logsumexp"),
    "sigmoid": _of_logits("sigmoid"),
    "binary_cross_entropy": _binary_cross_entropy,
    "sparse": _sparse,
    "sparse_l1": _sparse_l1,
    "sparse_descend": _sparse_descend,
    "partial": _partial,
    "conjugate": _conjugate,
}
_MANY_CLASSES = ("sparse", "sparse_descend", "partial")  # which have other kernels for many classes
