"""Fits with the default settings of both estimators: python -m perf defaults

`SoftmaxRegression` and every solver of scikit-learn's `LogisticRegression`, on the data sets of `python -m perf fit`,
raw and standardised, for several C. Nothing but C and the solver is set, so the accuracies differ: ours is proven,
scikit-learn's is that of its default tol, and the table has both.
"""

import signal
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from types import FrameType
from typing import Any

import numpy as np

import nbsoftmax as nbs
from perf.fit import THEIRS, newton_cholesky_seconds
from perf.optimum import cost
from perf.peers import OURS, for_each_class, two_rows_for_one
from perf.problems import correlated, real, scaled, small
from perf.report import Results
from perf.timing import interleave, settle

CS = (0.01, 1.0, 100.0)
# A solver of scikit-learn may take SLOWER times as long as ours, or LEAST_LIMIT seconds if that is more; longer fits
# are stopped. Fits of at most SHORT seconds are repeated.
SLOWER, LEAST_LIMIT, SHORT = 3.0, 0.3, 0.5
HEADER = [
    "problem",
    "C",
    "ours",
    "proven gap / J",
    "scikit-learn's fastest",
    "(J - ours) / J",
    "scikit-learn / ours",
    "gave up",
]
ABOUT = (
    "Made by `python -m perf defaults`; do not edit. Seconds of fits with default settings, medians if they are short. "
    "Ours prove a relative gap of at most 1e-6. scikit-learn's fastest solver is the fastest of all its solvers that "
    "ends by its default `tol`; the sixth column has the suboptimality of its result, relative to ours. '>= 3' is a "
    "ratio to solvers that were all stopped by a time limit. 'gave up' lists solvers that were faster than ours, but "
    "ended at the default `max_iter` without convergence, and the suboptimality of their results."
)


def problems(scale: int, names: list[str] | None) -> Iterator[tuple[str, Any, Any]]:
    """Generate name, X and labels of each problem."""
    makers: dict[str, Callable[[], Any]] = {}
    for name in ("letterrecognition", "satellite", "dna"):
        makers[name] = partial(real, name, scale, standardised=False)
    for name in ("iris", "wine", "breast_cancer", "digits"):
        makers[name] = partial(small, name, scale, standardised=False)
    for m, n, k in ((200_000, 54, 7), (20_000, 784, 10)):
        makers[f"{m}x{n}x{k}"] = partial(correlated, m // scale, n, k, condition=1e4)
    for name, make in makers.items():
        if names is not None and not name.startswith(tuple(names)):
            continue
        data = make()
        if data is None:
            print(f"{name}: skipped, since its data are not installed")
            continue
        X, y = data
        yield f"{name} raw", X, y
        yield f"{name} standardised", scaled(X), y


class _LimitError(Exception):
    """A fit took longer than its limit."""


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise _LimitError


def seconds_of(fit: Callable[[], Any], limit: float = 0.0) -> tuple[float, Any]:
    """Seconds and result of a call; inf and None if it takes longer than `limit` seconds (0: no limit)."""
    settle()
    signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, limit)
    start = time.perf_counter()
    try:
        result = fit()
        return time.perf_counter() - start, result
    except _LimitError:
        return np.inf, None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def theirs(X: Any, y: Any, C: float, solver: str, limit: float, rate: float) -> tuple[float, Any]:
    """Seconds of a fit by scikit-learn, and the model; inf and None if it takes longer than `limit` seconds."""
    from sklearn.linear_model import LogisticRegression

    model = partial(LogisticRegression, C=C, solver=solver, random_state=0)
    if solver == "newton-cholesky" and newton_cholesky_seconds(X, int(y.max()) + 1, rate) > limit:
        return np.inf, None
    if solver in ("sag", "saga"):  # compiled: no signal ends them
        epoch, _ = seconds_of(lambda: model(max_iter=1).fit(X, y))
        if epoch * model().max_iter > limit:
            most = max(1, int(limit / epoch))
            seconds, found = seconds_of(lambda: model(max_iter=most).fit(X, y))
            return (seconds, found) if found.n_iter_.max() < most else (np.inf, None)
    return seconds_of(lambda: model().fit(X, y), limit)


def line(title: str, X: Any, y: Any, C: float, cap: float, rounds: int, rate: float) -> list[str]:
    """One line of the table."""
    from sklearn.linear_model import LogisticRegression

    l2 = two_rows_for_one(y) / (C * len(y))
    fit = partial(nbs.SoftmaxRegression(C=C).fit, X, y)
    fit()  # so that no kernel is compiled or loaded in the time
    ours, model = seconds_of(fit)
    best = cost(X, y, *for_each_class(model), l2)[0]
    limit = min(max(SLOWER * ours, LEAST_LIMIT), cap)
    found = {solver: theirs(X, y, C, solver, limit, rate) for solver in THEIRS}
    ended = {s: t for s, (t, m) in found.items() if m is not None and m.n_iter_.max() < m.max_iter}
    excess = {s: cost(X, y, *for_each_class(m), l2)[0] / best - 1 for s, (_, m) in found.items() if m is not None}
    gave_up = [f"{s} {t:.3g} s: {excess[s]:.0e}" for s, (t, _) in found.items() if s not in ended and t < ours]
    cells = [f"{title}", f"{C:g}", f"{ours:.3g}", f"{model.gap_ / best:.0e}"]
    if not ended:
        return [*cells, "-", "-", f">= {limit / ours:.1f}", "; ".join(gave_up) or "-"]
    near = [s for s, t in ended.items() if t <= 1.5 * min(ended.values())]
    if max(ours, *(ended[s] for s in near)) <= SHORT:
        calls = {s: partial(LogisticRegression(C=C, solver=s, random_state=0).fit, X, y) for s in near}
        times = interleave({OURS: fit, **calls}, rounds)
        ours, ended = times[OURS].median, {s: times[s].median for s in near}
    fastest = min(ended, key=lambda s: ended[s])
    theirs_best = f"{fastest} {ended[fastest]:.3g}"
    cells[2] = f"{ours:.3g}"
    return [*cells, theirs_best, f"{excess[fastest]:.0e}", f"{ended[fastest] / ours:.2f}", "; ".join(gave_up) or "-"]


def run(results: Results, rounds: int, scale: int, names: list[str] | None, cap: float) -> None:
    """Run the benchmark, and print the table; `scale` divides the rows."""
    if not find_spec("sklearn"):
        print("scikit-learn is not installed")
        return
    results.about = ABOUT
    body = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fits that give up
        for title, X, y in problems(scale, names):
            for C in CS:
                body.append(line(title, X, y, C, cap, rounds, results.limits["gemm float64"]))
                print("  ".join(body[-1]), flush=True)
    results.add_table("Default settings", HEADER, body)
