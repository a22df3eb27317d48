"""Time to an accuracy of whole fits, ours beside scikit-learn's solvers: python -m perf fit

    suboptimality = (J - J*) / J*,    J = mean loss + l2/2 ||coef||^2,    l2 = 1 / (C m)

or, of problems with `l1` in their names, with l1 ||coef||_1, l1 = 1 / (C m), beside saga alone, which has it too. J is
evaluated in NumPy's float64 at what a fit returns, never by the contestant; J* is certified by `optimum`.
A time is that of the fastest single fit that reaches the target, checks of the input and all else included:

- scikit-learn's with tol=0 and the least `max_iter` that does, found to a tenth: nobody pays for knowing when to stop.
- ours with `tol` at the target, and tightened where that falls short: we pay for our own proof of convergence. Beside
  that stands when such a fit was at the target by the history that it keeps, which is what compares with theirs.

Solvers are searched one after the other on the same data; then the fits that count take turns.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import nbsoftmax as nbs
from nbsoftmax.training.trainer import SOLVERS
from perf import peers
from perf.report import Results, at_least
from perf.timing import UNSTEADY, Times, settle

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
TARGETS = (1e-3, 1e-6, 1e-9)
JUDGED = 1e-6  # the target of the ratios
REFERENCE = 1e-12  # the optimum is known at least as well, relative to itself
FINEST = 3e-14  # once below, `tol` of ours is not tightened any more
WITHIN, MOST_STEPS = 0.1, 4  # how well the least max_iter is found
THEIRS = ("lbfgs", "newton-cg", "newton-cholesky", "sag", "saga")
CONDITION = 1e4  # of the synthetic problems' covariance
SEARCHES = 20  # a fit is repeated, in turns, until it has taken this part of the cap

HEADER = [
    "solver",
    *(f"{t:.0e}" for t in TARGETS),
    f"best scikit-learn / it at {JUDGED:.0e}: proven, there",
    "bar: reached",
]
ABOUT = (
    "Made by `python -m perf fit`; do not edit. Seconds of the fastest single fit whose objective is within the "
    "column's share of its minimum: medians, ± half of the range where the fit was repeated. `nbsoftmax` alone is the "
    "default; X is float64. Ours is asked for that `tol` and pays for its own proof of convergence; scikit-learn's "
    "solvers get the least `max_iter` that reaches it, found to a tenth, and prove nothing. What compares with that is "
    "when a fit of ours was there, by its history: the second of two ratios. '> 60 s: 1e-04' is a fit of 60 s, or as "
    "long as the cap allowed, that reached only 1e-04; 'ends at 1e-04' a solver that went no further by itself; '>= 8' "
    "a ratio to a fit that the cap kept from the target. The minimum is certified in NumPy, by the gradient's norm and "
    "strong convexity; with l1 by the duality gap of our own solver, which the tests hold against NumPy's. "
    f"{UNSTEADY}"
)
TITLE, TITLE_L1 = "Speed of whole fits", "Speed of whole fits with an l1 penalty"


# --- problems -----------------------------------------------------------------------------------------


class Task(NamedTuple):
    """A problem: how to make X and labels, scikit-learn's C, and the ratio to its best solver to reach."""

    name: str
    make: Callable[[int], tuple[Any, Any] | None]
    C: float
    bar: float
    l1: bool = False  # whether the penalty is l1


def correlated(m: int, n_features: int, n_classes: int, *, condition: float, seed: int = 0) -> tuple[Any, Any]:
    """Gaussian X (m, N) whose covariance has this condition number, and labels (m,) from a true softmax model.

    The covariance is Q diag(spectrum) Q^T, a geometric spectrum of mean 1 mixed by a random orthogonal Q; the true
    logits have variance 4.
    """
    rng = np.random.default_rng(seed)
    spectrum = np.geomspace(1.0, condition, n_features)
    spectrum /= spectrum.mean()
    mixing, _ = np.linalg.qr(rng.standard_normal((n_features, n_features)))
    X = (rng.standard_normal((m, n_features)) * np.sqrt(spectrum)) @ mixing.T
    z = X @ rng.standard_normal((n_features, n_classes))
    z *= 2 / z.std(axis=0)
    return X, np.argmax(z + rng.gumbel(size=z.shape), axis=1)  # Gumbel noise: class k with probability softmax(z)_k


def real(name: str, scale: int, *, standardised: bool) -> tuple[Any, Any] | None:
    """One of the data sets beside the repository, every `scale`-th row; None if it is not there."""
    path = DATA / f"{name}.npz"
    if not path.exists():
        return None
    with np.load(path) as file:
        X, y = file["X"][::scale].astype(np.float64), file["y"][::scale]
    if standardised:
        spread = X.std(axis=0)
        X = (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return X, y


def synthetic(m: int, n: int, k: int, bar: float, *, l1: bool = False, condition: float = CONDITION) -> Task:
    """Correlated columns, or independent ones for a condition of 1; `scale` divides the rows."""
    name = f"{'l1-' * l1}{m}x{n}x{k}{'-independent' * (condition == 1)}"
    return Task(name, lambda scale: correlated(m // scale, n, k, condition=condition), 1.0, bar, l1)


def tasks() -> Iterator[Task]:
    """All problems, with the bars of the raw and the synthetic ones."""
    for name, bar in (("letterrecognition", 10.0), ("satellite", 5.0), ("dna", 5.0)):
        for form in ("raw", "standardised"):
            for C in (1.0, 100.0):
                make = partial(real, name, standardised=form == "standardised")
                yield Task(f"{name}-{form}-C{C:g}", make, C, bar if form == "raw" and C == 1 else 0.0)
    yield synthetic(200_000, 54, 7, 15.0)
    yield synthetic(20_000, 784, 10, 20.0)
    yield Task("l1-dna-raw-C1", partial(real, "dna", standardised=False), 1.0, 10.0, l1=True)
    yield synthetic(20_000, 784, 10, 10.0, l1=True, condition=1.0)
    yield synthetic(20_000, 784, 10, 0.0, l1=True)


def chosen_tasks(names: list[str] | None) -> list[Task]:
    """The problems whose names begin with one of these; all of them for None."""
    every = list(tasks())
    for name in names or []:
        if not any(task.name.startswith(name) for task in every):
            raise SystemExit(f"no problem begins with {name!r}; there are {', '.join(t.name for t in every)}")
    return [task for task in every if names is None or task.name.startswith(tuple(names))]


# --- the objective and its minimum, in NumPy ----------------------------------------------------------


def cost(X: Any, y: Any, coef: Any, intercept: Any, l2: float, l1: float = 0.0) -> tuple[float, Any]:
    """J, and the probabilities (m, K), in float64; y holds class indices."""
    z = X @ coef.T + intercept
    z -= z.max(axis=1, keepdims=True)
    at_label = z[np.arange(len(y)), y]
    a = np.exp(z, out=z)
    total = a.sum(axis=1, keepdims=True)
    value = np.mean(np.log(total[:, 0]) - at_label) + l2 / 2 * np.vdot(coef, coef) + l1 * np.abs(coef).sum()
    a /= total
    return float(value), a


def optimum(X: Any, y: Any, l2: float) -> tuple[float, float]:
    """J at the minimum, and how far, relative to it, the true minimum may lie below.

    The point is ours; the proof is not. With g(coef) = min over the intercepts of J, which is l2-strongly convex,

        g - J* <= ||grad g||^2 / (2 l2),    grad g = dJ/dcoef where dJ/dintercept = 0

    so Newton's method sets the intercepts to their best, to rounding, before the gradient is taken. The answer is
    never less than float64's eps, to which J itself is known.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it ends; how well is judged below
        model = nbs.Trainer(solver="newton-cg", l2=l2, tol=1e-20).fit(X, y).model  # until float64 ends it
    coef, intercept = np.array(model.coef), np.array(model.intercept)
    one_hot = np.eye(len(intercept))[y]
    for _ in range(3):
        a = cost(X, y, coef, intercept, l2)[1]
        curvature = np.diag(a.mean(axis=0)) - a.T @ a / len(a)
        intercept -= np.linalg.lstsq(curvature, (a - one_hot).mean(axis=0), rcond=1e-12)[0]
    value, a = cost(X, y, coef, intercept, l2)
    gradient = (a - one_hot).T @ X / len(y) + l2 * coef
    bound = float(np.vdot(gradient, gradient)) / (2 * l2)
    return value, max(bound / value, float(np.finfo(float).eps))


def optimum_of_l1(X: Any, y: Any, l1: float) -> tuple[float, float]:
    """As `optimum`, where the penalty is l1: J at a point of ours, and its duality gap."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = nbs.Trainer(l1=l1, tol=1e-12).fit(X, y)
    value, _ = cost(X, y, result.model.coef, result.model.intercept, 0.0, l1)
    return value, max(result.gap / value, float(np.finfo(float).eps))


# --- contestants --------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """What one fit returned."""

    coef: Any
    intercept: Any
    ended: bool  # short of the cap, and no other setting would take it further
    path: list[tuple[float, float]]  # (seconds, J) of its iterations, where the solver tells


@dataclass
class Attempt:
    """All fits with one setting: `max_iter` of theirs, `tol` of ours."""

    setting: float
    suboptimality: float
    ended: bool
    path: list[tuple[float, float]]
    seconds: list[float]
    # Seconds until `JUDGED` was reached, of every repetition; all of a fit without a history.
    there: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Seconds."""
        return float(np.median(self.seconds))


@dataclass
class Contestant:
    """A solver on one problem, and all that was tried with it."""

    name: str
    fit: Callable[[Any], Outcome] = field(repr=False)
    proves: bool = False  # whether the settings are tolerances, which a target must not exceed
    attempts: dict[float, Attempt] = field(default_factory=dict)

    def winner(self, target: float) -> Attempt | None:
        """The fastest attempt that reaches the target."""
        reached = [a for a in self.attempts.values() if a.suboptimality <= target]
        if self.proves:
            reached = [a for a in reached if a.setting <= target]
        return min(reached, key=lambda a: a.median, default=None)

    def least_seconds(self, target: float) -> float:
        """Until the target; if it was not reached, a bound: the longest fit, or inf if the solver gave up."""
        winner = self.winner(target)
        if winner:
            return winner.median
        if any(a.ended for a in self.attempts.values()):
            return float("inf")
        return max((a.median for a in self.attempts.values()), default=0.0)

    def cell(self, target: float) -> str:
        """An entry of the table."""
        winner = self.winner(target)
        if winner:
            times = Times(winner.median, min(winner.seconds), max(winner.seconds))
            return f"{winner.median:.3g} s {times.around if len(winner.seconds) > 1 else ''}".rstrip()
        best = min(a.suboptimality for a in self.attempts.values())
        longest = max(a.median for a in self.attempts.values())
        ended = any(a.ended for a in self.attempts.values())
        return f"ends at {best:.0e}" if ended else f"> {longest:.2g} s: {best:.0e}"


@dataclass
class Contest:
    """A problem and its contestants."""

    task: Task
    X: Any
    y: Any
    cap: float
    l1: float = 0.0
    l2: float = 0.0
    best: float = 0.0  # J*
    known_to: float = 0.0
    contestants: list[Contestant] = field(default_factory=list)

    def __post_init__(self) -> None:
        strength = 1 / (self.task.C * len(self.y))
        if self.task.l1:
            self.l1 = strength
            self.best, self.known_to = optimum_of_l1(self.X, self.y, self.l1)
        else:
            self.l2 = strength
            self.best, self.known_to = optimum(self.X, self.y, self.l2)

    def attempt(self, who: Contestant, setting: float) -> Attempt:
        """Fit once more with this setting."""
        settle()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a fit was stopped early is what we asked for
            start = time.perf_counter()
            outcome = who.fit(setting)
            seconds = time.perf_counter() - start
        if setting not in who.attempts:
            value, _ = cost(self.X, self.y, outcome.coef, outcome.intercept, self.l2, self.l1)
            if not value >= self.best * (1 - max(REFERENCE, self.known_to)):
                raise peers.DisagreementError(f"{who.name} ends at {value!r}, below the minimum {self.best!r}.")
            path = [(s, max(j / self.best - 1, 0.0)) for s, j in outcome.path]
            who.attempts[setting] = Attempt(setting, max(value / self.best - 1, 0.0), outcome.ended, path, [])
        who.attempts[setting].seconds.append(seconds)
        near = (s for s, j in outcome.path if j / self.best - 1 <= JUDGED)
        who.attempts[setting].there.append(next(near, seconds))
        return who.attempts[setting]

    def ours(self, solver: str) -> None:
        """Search `tol` for every target, from the target itself downwards."""

        def fit(tol: float) -> Outcome:
            # The callback is the cap; it costs less than a microsecond an iteration.
            stop = [lambda at: at.seconds > self.cap]
            trainer = nbs.Trainer(solver=solver, l1=self.l1, l2=self.l2, tol=tol, callbacks=stop)
            result = trainer.fit(self.X, self.y)
            history = result.history
            path = list(zip(history["seconds"].tolist(), history["objective"].tolist(), strict=True))
            ended = result.seconds <= self.cap and (not result.converged or tol <= FINEST)
            return Outcome(result.model.coef, result.model.intercept, ended, path)

        who = Contestant(peers.OURS if solver == "auto" else f"{peers.OURS} {solver}", fit, proves=True)
        for target in TARGETS:
            tol, last = target, self.attempt(who, target)
            while last.suboptimality > target and not last.ended and last.median <= self.cap:
                tol /= 10
                last = self.attempt(who, tol)
            if last.suboptimality > target:
                break
        self.contestants.append(who)

    def theirs(self, solver: str) -> None:
        """Search `max_iter`: doubled up to the last target or the cap, then, for every target, in between."""
        from sklearn.linear_model import LogisticRegression

        def fit(max_iter: int) -> Outcome:
            penalty = {"l1_ratio": 1.0} if self.task.l1 else {}
            given = {"C": self.task.C, "solver": solver, "random_state": 0, **penalty}
            model = LogisticRegression(tol=0, max_iter=max_iter, **given)
            model.fit(self.X, self.y)
            return Outcome(model.coef_, model.intercept_, bool(model.n_iter_.max() < max_iter), [])

        who = Contestant(f"scikit-learn {solver}", fit)
        n = 1
        last = self.attempt(who, n)
        while last.suboptimality > TARGETS[-1] and not last.ended and last.median < 0.9 * self.cap:
            n = max(n + 1, min(2 * n, int(n * self.cap / last.median)))
            last = self.attempt(who, n)
        for target in TARGETS:
            for _ in range(MOST_STEPS):
                reached = min((n for n, a in who.attempts.items() if a.suboptimality <= target), default=1)
                short = max((n for n in who.attempts if n < reached), default=0)
                if reached - short <= max(1, WITHIN * reached):
                    break
                self.attempt(who, between(who.attempts[short], who.attempts[reached], target))
        self.contestants.append(who)

    def repeat(self, rounds: int) -> None:
        """The fits that count, in turns, each until it has taken its share of the cap."""
        for _ in range(rounds - 1):
            for who in self.contestants:
                for winner in {w.setting: w for t in TARGETS if (w := who.winner(t))}.values():
                    if sum(winner.seconds) < self.cap / SEARCHES:
                        self.attempt(who, winner.setting)

    def body(self) -> list[list[str]]:
        """The table: a solver a row; the bars are those of the default of ours."""
        mine = self.contestants[0]
        peer = [c for c in self.contestants if not c.name.startswith(peers.OURS)]
        best = min((c.least_seconds(JUDGED) for c in peer), default=np.inf)
        bounded = not any(c.winner(JUDGED) and c.least_seconds(JUDGED) == best for c in peer)
        rows = []
        for who in self.contestants:
            ratio = f"{'>= ' * bounded}{self.ratio(best, who, JUDGED):.2f}" if peer and who.winner(JUDGED) else "-"
            if who.proves and ratio != "-":
                ratio += f", {self.ratio_there(best, who):.2f}"
            rows.append([who.name, *map(who.cell, TARGETS), ratio, "-"])
        bars = []
        if self.task.bar and peer:
            bars.append(at_least(self.task.bar, self.ratio(best, mine, JUDGED), "best scikit-learn, proven"))
            bars.append(at_least(self.task.bar, self.ratio_there(best, mine), "the same, there"))
        for lbfgs in (c for c in peer if c.name == "scikit-learn lbfgs"):
            least = min(self.ratio(lbfgs.least_seconds(t), mine, t) for t in TARGETS)
            bars.append(at_least(1, least, "its lbfgs at every target"))
        rows[0][-1] = "; ".join(f"{b.text}: {b.value:.2f} {'yes' if b.reached else 'NO'}" for b in bars) or "-"
        return rows

    @staticmethod
    def ratio(seconds: float, who: Contestant, target: float) -> float:
        """How much faster than `seconds` a contestant is; 0 if it does not reach the target."""
        return seconds / who.least_seconds(target) if who.winner(target) else 0.0

    @staticmethod
    def ratio_there(seconds: float, who: Contestant) -> float:
        """`ratio` at `JUDGED`, by when the fit was there rather than by when it ended."""
        winner = who.winner(JUDGED)
        return seconds / float(np.median(winner.there)) if winner else 0.0

    def numbers(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "problem": self.task.name,
            "shape": [*self.X.shape, int(self.y.max()) + 1],
            "C": self.task.C,
            "optimum": self.best,
            "optimum_known_to": self.known_to,
            "solvers": [
                {
                    "solver": c.name,
                    "seconds": {f"{t:.0e}": w.median if (w := c.winner(t)) else None for t in TARGETS},
                    "attempts": [vars(a) for a in sorted(c.attempts.values(), key=lambda a: a.setting)],
                }
                for c in self.contestants
            ],
        }


def between(short: Attempt, reached: Attempt, target: float) -> int:
    """The `max_iter` at which log(suboptimality), taken as linear, meets the target, away from both ends."""
    low, high, aim = (np.log(max(s, 1e-16)) for s in (short.suboptimality, reached.suboptimality, target))
    share = float(np.clip((low - aim) / (low - high), 0.1, 0.9))
    n = round(short.setting + share * (reached.setting - short.setting))
    return int(min(max(n, short.setting + 1), reached.setting - 1))


def newton_cholesky_seconds(X: Any, n_classes: int, rate: float) -> float:
    """The least that one of its iterations takes: the blocks of the Hessian, and its factor, as matrix products."""
    (m, n), size = X.shape, n_classes * (X.shape[1] + 1)
    return float(n_classes * (n_classes + 1) * m * n**2 + size**3 / 3) / rate


def run(
    results: Results, rounds: int, scale: int, names: list[str] | None, solvers: list[str] | None, cap: float
) -> None:
    """Measure and print; `scale` divides the rows. The default of ours always takes part."""
    smooth = [name for name in SOLVERS if name != "prox-newton"]  # that one is for l1
    ours = [name for name in smooth if solvers is None or name in ("auto", *solvers)]
    theirs = [name for name in THEIRS if solvers is None or name in solvers]
    results.about = ABOUT
    print("scikit-learn liblinear has no softmax regression and is skipped")
    chosen = chosen_tasks(names)
    results.title = TITLE_L1 if all(task.l1 for task in chosen) else TITLE
    for task in chosen:
        data = task.make(scale)
        if data is None:
            print(f"\n{task.name}: the data are not in ../shared/data, skipped")
            continue
        contest = Contest(task, *data, cap)
        for solver in ("auto",) if task.l1 else ours:
            try:
                contest.ours(solver)
            except nbs.InputValueError as refusal:
                print(f"\n{task.name}: {solver} is skipped: {refusal}")
        for solver in theirs if find_spec("sklearn") else ():
            if task.l1 and solver != "saga":
                continue
            if solver == "newton-cholesky":
                one = newton_cholesky_seconds(contest.X, int(contest.y.max()) + 1, results.limits["gemm float64"])
                if one > cap:
                    print(f"\n{task.name}: an iteration of {solver} takes {one:.2g} s at the least, skipped")
                    continue
            contest.theirs(solver)
        contest.repeat(rounds)
        how = "bound" if contest.known_to <= REFERENCE else f"bound, which is above {REFERENCE:.0e}"
        title = f"{task.name}: {' x '.join(map(str, contest.numbers()['shape']))}, C = {task.C:g}"
        results.add_table(f"{title}; optimum known to {contest.known_to:.0e} by a {how}", HEADER, contest.body())
        results.fits.append(contest.numbers())


def plot(fits: list[dict[str, Any]], path: str) -> None:
    """Suboptimality over seconds, a panel a problem: ours by the history of one fit, theirs a fit a point."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    columns = min(4, len(fits))
    rows = -(-len(fits) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(max(7, 4.2 * columns), 3.2 * rows + 0.9),
        layout="constrained",
        squeeze=False,
        sharey=True,
    )
    names = list(dict.fromkeys(s["solver"] for fit in fits for s in fit["solvers"]))
    handles: dict[str, Any] = {}
    for axis, fit in zip(axes.flat, fits, strict=False):
        for solver in reversed(fit["solvers"]):  # ours last, on top
            name = solver["solver"]
            ours = name.startswith(peers.OURS)
            attempts = solver["attempts"]
            points = attempts[0]["path"] if ours else [(np.median(a["seconds"]), a["suboptimality"]) for a in attempts]
            x, y = np.array(sorted(points)).reshape(-1, 2).T
            y = np.maximum(np.minimum.accumulate(y), 1e-13)  # the best that was reached by then
            (handles[name],) = axis.plot(
                x, y, "-" if ours else "o--", ms=3, lw=2.8 if name == peers.OURS else 1.3, label=name,
                color="black" if name == peers.OURS else f"C{names.index(name)}",
            )  # fmt: skip
        for target in TARGETS:
            axis.axhline(target, color="grey", lw=0.6, ls=":")
        axis.set(xscale="log", yscale="log", ylim=(5e-14, 10))
        axis.set_title(fit["problem"], fontsize=10)
    for axis in axes.flat[len(fits) :]:
        axis.set_visible(False)
    figure.supxlabel("seconds")
    figure.supylabel("suboptimality (J - J*) / J*")
    figure.legend(handles=[handles[name] for name in names], loc="outside upper center", ncols=min(5, len(names)))
    figure.savefig(path, dpi=110)
    plt.close(figure)
