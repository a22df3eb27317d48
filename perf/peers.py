"""The contestants for each task: nbsoftmax, scikit-learn, PyTorch and JAX, as they are usually called.

    softmax           p = softmax(Z)
    cross_entropy     mean of the losses, and its gradient by Z
    linear            mean of the losses of X W^T + b, and its gradient (K, N + 1) by W and b, b last

Each function returns the contestants for one task. Their results must agree before they are timed (`agree`).
"""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import nbsoftmax as nbs
from perf.timing import n_cores

OURS = "nbsoftmax"
PEERS = {"scikit-learn": "sklearn", "PyTorch": "torch", "JAX": "jax"}
# Relative to the largest entry. In float32 the peers' sums over many rows are not more accurate.
TOLERANCE = {"float64": 1e-6, "float32": 2e-3}


class Contestant(NamedTuple):
    """One way to do a task: the call that is timed, and a function that converts its result to NumPy arrays."""

    call: Callable[[], Any]
    arrays: Callable[[Any], tuple[Any, ...]]


class DisagreementError(Exception):
    """The results of two contestants differ, so that their times cannot be compared."""


def installed() -> dict[str, str]:
    """Version of each peer that can be imported."""
    found = {}
    for name, module in PEERS.items():
        if importlib.util.find_spec(module) is not None:
            found[name] = importlib.import_module(module).__version__
    return found


def missing() -> list[str]:
    """Peers that are not installed and are skipped."""
    return [name for name, module in PEERS.items() if importlib.util.find_spec(module) is None]


def agree(contestants: dict[str, Contestant], tolerance: float) -> None:
    """Raise `DisagreementError` unless all results equal the first within `tolerance` of its largest entry."""
    (first, *others) = contestants
    expected = [np.array(a, np.float64) for a in contestants[first].arrays(contestants[first].call())]
    for name in others:
        outcome = contestants[name].arrays(contestants[name].call())
        for what, mine, other in zip(("first", "second")[: len(expected)], expected, outcome, strict=True):
            other = np.asarray(other, np.float64)  # noqa: PLW2901
            if mine.shape != other.shape:
                raise DisagreementError(f"{name} returns shape {other.shape}, {first} {mine.shape}.")
            error = np.max(np.abs(mine - other)) / max(np.max(np.abs(mine)), 1e-300)
            if not error <= tolerance:
                raise DisagreementError(
                    f"{name} differs from {first} by {error:.1e} in its {what} result; "
                    f"expected at most {tolerance:.0e}."
                )


def _torch() -> Any:
    import torch

    torch.set_num_threads(n_cores())
    return torch


def _jax() -> Any:
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax


def softmax(z: Any) -> dict[str, Contestant]:
    """Contestants for the softmax of rows; those with "out=" write to an existing array."""
    out, found = np.empty_like(z), installed()
    one = lambda p: (p,)  # noqa: E731
    contestants = {
        OURS: Contestant(lambda: nbs.softmax(z, out=out), one),
        f"{OURS}, new array": Contestant(lambda: nbs.softmax(z), one),
    }
    if "PyTorch" in found:
        torch = _torch()
        tz, tout = torch.from_numpy(z), torch.empty(z.shape, dtype=torch.from_numpy(z).dtype)
        contestants["PyTorch"] = Contestant(lambda: torch.softmax(tz, 1), one)
        contestants["PyTorch, out="] = Contestant(lambda: torch.softmax(tz, 1, out=tout), one)
    if "JAX" in found:
        jax = _jax()
        jz, f = jax.numpy.asarray(z), jax.jit(jax.nn.softmax)
        contestants["JAX"] = Contestant(lambda: f(jz).block_until_ready(), one)
    return contestants


def cross_entropy(z: Any, y: Any) -> dict[str, Contestant]:
    """Contestants for the mean cross-entropy of logits, and its gradient with respect to them."""
    m, n_classes = z.shape
    out, found = np.empty_like(z), installed()
    contestants = {
        OURS: Contestant(lambda: nbs.cross_entropy_and_grad(z, y, out=out), tuple),
        f"{OURS}, new array": Contestant(lambda: nbs.cross_entropy_and_grad(z, y), tuple),
    }
    if "scikit-learn" in found:
        from sklearn._loss import HalfMultinomialLoss

        loss, targets = HalfMultinomialLoss(n_classes=n_classes), y.astype(z.dtype)
        contestants["scikit-learn"] = Contestant(
            lambda: loss.loss_gradient(targets, z, n_threads=n_cores()), lambda r: (np.mean(r[0]), r[1] / m)
        )
        losses, gradient = np.empty(m, z.dtype), np.empty_like(z)
        contestants["scikit-learn, out="] = Contestant(
            lambda: loss.loss_gradient(targets, z, loss_out=losses, gradient_out=gradient, n_threads=n_cores()),
            lambda r: (np.mean(r[0]), r[1] / m),
        )
    if "PyTorch" in found:
        torch = _torch()
        tz, ty = torch.from_numpy(z).requires_grad_(), torch.from_numpy(y)

        def by_torch() -> Any:
            value = torch.nn.functional.cross_entropy(tz, ty)
            return value.detach(), *torch.autograd.grad(value, tz)

        contestants["PyTorch"] = Contestant(by_torch, tuple)
    if "JAX" in found:
        jax = _jax()
        jz, jy = jax.numpy.asarray(z), jax.numpy.asarray(y)
        f = jax.jit(jax.value_and_grad(_jax_cross_entropy))
        contestants["JAX"] = Contestant(lambda: jax.block_until_ready(f(jz, jy)), tuple)
    return contestants


def linear(X: Any, y: Any, params: Any) -> dict[str, Contestant]:
    """Contestants for the mean loss of a linear model and its gradient; params (K, N + 1) float64."""
    n_classes, found = params.shape[0], installed()
    objective = nbs.Objective(X, y, n_classes=n_classes)
    contestants = {OURS: Contestant(lambda: objective.value_and_grad(params), tuple)}
    if n_classes == 2:
        return contestants | _with_one_logit(X, y, params[1] - params[0])
    if "scikit-learn" in found:
        from sklearn._loss import HalfMultinomialLoss
        from sklearn.linear_model._linear_loss import LinearModelLoss

        model = LinearModelLoss(base_loss=HalfMultinomialLoss(n_classes=n_classes), fit_intercept=True)
        coef, targets = (
            params.astype(X.dtype).ravel(order="F"),
            y.astype(X.dtype),
        )  # in the layout of LogisticRegression
        contestants["scikit-learn"] = Contestant(
            lambda: model.loss_gradient(coef, X, targets, n_threads=n_cores()),
            lambda r: (r[0], r[1].reshape(n_classes, -1, order="F")),
        )
    if "PyTorch" in found:
        torch = _torch()
        tX, ty = torch.from_numpy(X), torch.from_numpy(y)
        weight = torch.from_numpy(params[:, :-1].astype(X.dtype)).requires_grad_()
        bias = torch.from_numpy(params[:, -1].astype(X.dtype)).requires_grad_()

        def by_torch() -> Any:
            value = torch.nn.functional.cross_entropy(torch.nn.functional.linear(tX, weight, bias), ty)
            return value.detach(), *torch.autograd.grad(value, (weight, bias))

        contestants["PyTorch"] = Contestant(by_torch, lambda r: (r[0], np.column_stack(r[1:])))
    if "JAX" in found:
        jax = _jax()
        jX, jy = jax.numpy.asarray(X), jax.numpy.asarray(y)
        pair = jax.numpy.asarray(params[:, :-1], X.dtype), jax.numpy.asarray(params[:, -1], X.dtype)
        f = jax.jit(jax.value_and_grad(lambda p, X, y: _jax_cross_entropy(X @ p[0].T + p[1], y)))
        contestants["JAX"] = Contestant(
            lambda: jax.block_until_ready(f(pair, jX, jy)), lambda r: (r[0], np.column_stack(r[1]))
        )
    return contestants


def _with_one_logit(X: Any, y: Any, w: Any) -> dict[str, Contestant]:
    """As `linear`, the peers for two classes: with the difference of the logits, and w (N + 1,) float64."""
    found, contestants, targets = installed(), {}, y.astype(X.dtype)

    def of_both(value: Any, gradient: Any) -> tuple[Any, Any]:
        return value, np.stack([-gradient, gradient])

    if "scikit-learn" in found:
        from sklearn._loss import HalfBinomialLoss
        from sklearn.linear_model._linear_loss import LinearModelLoss

        model, coef = LinearModelLoss(base_loss=HalfBinomialLoss(), fit_intercept=True), w.astype(X.dtype)
        contestants["scikit-learn"] = Contestant(
            lambda: model.loss_gradient(coef, X, targets, n_threads=n_cores()), lambda r: of_both(*r)
        )
    if "PyTorch" in found:
        torch = _torch()
        tX, ty = torch.from_numpy(X), torch.from_numpy(targets)
        weight = torch.from_numpy(w[:-1].astype(X.dtype)).requires_grad_()
        bias = torch.from_numpy(w[-1:].astype(X.dtype)).requires_grad_()

        def by_torch() -> Any:
            value = torch.nn.functional.binary_cross_entropy_with_logits(torch.mv(tX, weight) + bias, ty)
            return value.detach(), *torch.autograd.grad(value, (weight, bias))

        contestants["PyTorch"] = Contestant(by_torch, lambda r: of_both(r[0], np.concatenate(r[1:])))
    if "JAX" in found:
        jax = _jax()
        jX, jy = jax.numpy.asarray(X), jax.numpy.asarray(targets)
        pair = jax.numpy.asarray(w[:-1], X.dtype), jax.numpy.asarray(w[-1:], X.dtype)

        def mean_loss(p: Any, X: Any, y: Any) -> Any:
            z = X @ p[0] + p[1]
            return jax.numpy.mean(jax.nn.softplus(z) - y * z)

        f = jax.jit(jax.value_and_grad(mean_loss))
        contestants["JAX"] = Contestant(
            lambda: jax.block_until_ready(f(pair, jX, jy)), lambda r: of_both(r[0], np.concatenate(r[1]))
        )
    return contestants


def _jax_cross_entropy(z: Any, y: Any) -> Any:
    jax = _jax()
    log_proba = jax.nn.log_softmax(z)
    return -jax.numpy.mean(jax.numpy.take_along_axis(log_proba, y[:, None], axis=1))


def for_each_class(model: Any) -> tuple[Any, Any]:
    """Coefficients and intercepts of a model of scikit-learn, for each class also if there are two."""
    coef, intercept = model.coef_, model.intercept_
    if len(coef) == 1:
        return np.vstack([-coef, coef]) / 2, np.concatenate([-intercept, intercept]) / 2
    return coef, intercept


def two_rows_for_one(y: Any) -> int:
    """Return 2 for two classes, else 1: coefficients -w / 2 and w / 2 have half the ridge penalty of one row w."""
    return 2 if y.max() == 1 else 1
