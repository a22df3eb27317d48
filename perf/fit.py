"""Time of whole fits to a given accuracy, compared with the solvers of scikit-learn: python -m perf fit

    suboptimality = (J - J*) / J*,    J = mean loss + l2/2 ||coef||^2,    l2 = 1 / (C m)

Problems with `l1` in their names have the penalty l1 ||coef||_1, l1 = 1 / (C m), instead, and are compared with saga,
the only solver of scikit-learn for it. J is evaluated in NumPy's float64 for the returned model, never by the
contestant; `optimum` certifies J*. A time is that of the fastest single fit that reaches the target, including the
validation of the input:

- scikit-learn's fits have tol=0 and the smallest sufficient `max_iter`, found to 10%, so that they spend no time on
  stopping criteria.
- Ours have `tol` equal to the target, reduced if that is not sufficient, so that their time includes the proof of
  convergence. The time at which such a fit reached the target, by its history, is reported too; it is the one that
  compares with scikit-learn's.

The settings are searched solver by solver on the same data; then the fastest fits are repeated in turn.
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

import nbsoftmax as nbs
from nbsoftmax.solvers import NAMES
from perf import peers
from perf.optimum import cost, optimum, optimum_of_l1
from perf.problems import Task, chosen_tasks, tasks
from perf.report import Results, at_least
from perf.timing import UNSTEADY, Times, settle

TARGETS = (1e-3, 1e-6, 1e-9)
RATIO_TARGET = 1e-6  # the target for which ratios are computed
REFERENCE = 1e-12  # required relative accuracy of the optimum
FINEST = 3e-14  # below, our `tol` is not reduced further
WITHIN, MOST_STEPS = 0.1, 4  # relative accuracy of the smallest max_iter, and maximum of steps of its search
THEIRS = ("lbfgs", "newton-cg", "newton-cholesky", "sag", "saga")
SEARCHES = 20  # a fit is repeated until it has taken 1/SEARCHES of the time limit

HEADER = [
    "solver",
    *(f"{t:.0e}" for t in TARGETS),
    f"best scikit-learn / it at {RATIO_TARGET:.0e}: proven, reached",
    "bar: reached",
]
ABOUT = (
    "Made by `python -m perf fit`; do not edit. Seconds of the fastest single fit whose suboptimality is at most that "
    "of the column: medians, ± half of the range if the fit was repeated. `nbsoftmax` without a solver's name is the "
    "default; X is float64. Our fits have this `tol`, and their time includes the proof of convergence; scikit-learn's "
    "have the smallest sufficient `max_iter`, found to 10%, and prove nothing. The second of two ratios uses the time "
    "at which our fit reached the target, by its history, which compares with scikit-learn's. '> 60 s: 1e-04' is a fit "
    "of 60 s, or as long as the time limit allowed, that reached only 1e-04; 'ends at 1e-04' is a solver that stopped "
    "there by itself; '>= 8' is a ratio to a fit that the time limit stopped before the target. The minimum is "
    "certified in NumPy by the norm of the gradient and strong convexity; with l1 by the duality gap of our own "
    f"solver, which tests compare with NumPy. {UNSTEADY}"
)
TITLE, TITLE_L1 = "Speed of whole fits", "Speed of whole fits with an l1 penalty"


# --- contestants --------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """Result of one fit."""

    coef: Any
    intercept: Any
    ended: bool  # before the time limit, and no other setting would improve it
    path: list[tuple[float, float]]  # (seconds, J) of its iterations, if the solver has a history


@dataclass
class Attempt:
    """All fits with one setting: `max_iter` for scikit-learn, `tol` for ours."""

    setting: float
    suboptimality: float
    ended: bool
    path: list[tuple[float, float]]
    seconds: list[float]
    # Seconds until `RATIO_TARGET` was reached, for every repetition; for a fit without a history, until its end.
    reached: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median of the times in seconds."""
        return float(np.median(self.seconds))


@dataclass
class Contestant:
    """A solver on one problem, with all its attempts."""

    name: str
    fit: Callable[[Any], Outcome] = field(repr=False)
    proves: bool = False  # whether the settings are tolerances; only those of at most the target count
    attempts: dict[float, Attempt] = field(default_factory=dict)

    def winner(self, target: float) -> Attempt | None:
        """The fastest attempt that reaches the target."""
        reached = [a for a in self.attempts.values() if a.suboptimality <= target]
        if self.proves:
            reached = [a for a in reached if a.setting <= target]
        return min(reached, key=lambda a: a.median, default=None)

    def least_seconds(self, target: float) -> float:
        """Seconds until the target; if it was not reached, the longest fit as a bound, or inf if the solver ended."""
        winner = self.winner(target)
        if winner:
            return winner.median
        if any(a.ended for a in self.attempts.values()):
            return float("inf")
        return max((a.median for a in self.attempts.values()), default=0.0)

    def cell(self, target: float) -> str:
        """Entry of the table for a target."""
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

    @classmethod
    def of(cls, task: Task, scale: int, cap: float) -> "Contest | None":
        """The contest of a problem, or None if its data are not installed."""
        data = task.make(scale)
        if data is None:
            print(f"\n{task.name}: skipped, since its data are not installed")
        return None if data is None else cls(task, *data, cap)

    def attempt(self, who: Contestant, setting: float) -> Attempt:
        """Fit once more with this setting."""
        settle()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fits are stopped early on purpose
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
        near = (s for s, j in outcome.path if j / self.best - 1 <= RATIO_TARGET)
        who.attempts[setting].reached.append(next(near, seconds))
        return who.attempts[setting]

    def ours(self, solver: str) -> None:
        """Search our `tol` for every target: the target itself, then smaller ones."""

        def fit(tol: float) -> Outcome:
            # The callback implements the time limit; it takes less than a microsecond in an iteration.
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
        """Add a solver of scikit-learn."""
        from sklearn.linear_model import LogisticRegression

        def fit(max_iter: int) -> Outcome:
            penalty = {"l1_ratio": 1.0} if self.task.l1 else {}
            C = self.task.C * (1 if self.task.l1 else peers.two_rows_for_one(self.y))
            given = {"C": C, "solver": solver, "random_state": 0, **penalty}
            model = LogisticRegression(tol=0, max_iter=max_iter, **given)
            model.fit(self.X, self.y)
            return Outcome(*peers.for_each_class(model), bool(model.n_iter_.max() < max_iter), [])

        self.search(Contestant(f"scikit-learn {solver}", fit))

    def search(self, who: Contestant) -> None:
        """Search `max_iter`: double it up to the last target or the time limit, then refine it for every target."""
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
        """Repeat the fastest fits in turn, each until it has taken its share of the time limit."""
        for _ in range(rounds - 1):
            for who in self.contestants:
                for winner in {w.setting: w for t in TARGETS if (w := who.winner(t))}.values():
                    if sum(winner.seconds) < self.cap / SEARCHES:
                        self.attempt(who, winner.setting)

    def body(self) -> list[list[str]]:
        """Rows of the table, one for each solver; the bars are those of our default solver."""
        mine = self.contestants[0]
        peer = [c for c in self.contestants if not c.name.startswith(peers.OURS)]
        best = min((c.least_seconds(RATIO_TARGET) for c in peer), default=np.inf)
        bounded = not any(c.winner(RATIO_TARGET) and c.least_seconds(RATIO_TARGET) == best for c in peer)
        rows = []
        for who in self.contestants:
            has_ratio = peer and who.winner(RATIO_TARGET)
            ratio = f"{'>= ' * bounded}{self.ratio(best, who, RATIO_TARGET):.2f}" if has_ratio else "-"
            if who.proves and ratio != "-":
                ratio += f", {self.ratio_reached(best, who):.2f}"
            rows.append([who.name, *map(who.cell, TARGETS), ratio, "-"])
        bars = []
        if self.task.bar and peer and (mine.winner(RATIO_TARGET) or not bounded):  # otherwise nobody reached it
            bars.append(at_least(self.task.bar, self.ratio(best, mine, RATIO_TARGET), "best scikit-learn, proven"))
            bars.append(at_least(self.task.bar, self.ratio_reached(best, mine), "the same, reached"))
        for lbfgs in (c for c in peer if c.name == "scikit-learn lbfgs"):
            reached = [t for t in TARGETS if mine.winner(t) or lbfgs.winner(t)]
            if reached:
                least = min(self.ratio(lbfgs.least_seconds(t), mine, t) for t in reached)
                bars.append(at_least(1, least, "its lbfgs at every target"))
        rows[0][-1] = "; ".join(f"{b.text}: {b.value:.2f} {'yes' if b.reached else 'NO'}" for b in bars) or "-"
        return rows

    @staticmethod
    def ratio(seconds: float, who: Contestant, target: float) -> float:
        """How much faster than `seconds` a contestant is; 0 if it does not reach the target."""
        return seconds / who.least_seconds(target) if who.winner(target) else 0.0

    @staticmethod
    def ratio_reached(seconds: float, who: Contestant) -> float:
        """Like `ratio` at `RATIO_TARGET`, with the time at which the fit reached the target, not its whole time."""
        winner = who.winner(RATIO_TARGET)
        return seconds / float(np.median(winner.reached)) if winner else 0.0

    def numbers(self) -> dict[str, Any]:
        """All numbers, for JSON."""
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
    """Interpolate the `max_iter` for a target, with log(suboptimality) linear in between; never one of the two ends."""
    low, high, aim = (np.log(max(s, 1e-16)) for s in (short.suboptimality, reached.suboptimality, target))
    share = float(np.clip((low - aim) / (low - high), 0.1, 0.9))
    n = round(short.setting + share * (reached.setting - short.setting))
    return int(min(max(n, short.setting + 1), reached.setting - 1))


def newton_cholesky_seconds(X: Any, n_classes: int, rate: float) -> float:
    """Lower bound for an iteration of newton-cholesky: the blocks of the Hessian, and its factorisation."""
    (m, n), size = X.shape, n_classes * (X.shape[1] + 1)
    return float(n_classes * (n_classes + 1) * m * n**2 + size**3 / 3) / rate


def run(
    results: Results, rounds: int, scale: int, names: list[str] | None, solvers: list[str] | None, cap: float
) -> None:
    """Run the benchmark, and print the results; `scale` divides the rows. Our default solver always takes part."""
    smooth = ["auto", *(name for name in NAMES if name != "prox-newton")]  # which is for l1
    ours = [name for name in smooth if solvers is None or name in ("auto", *solvers)]
    theirs = [name for name in THEIRS if solvers is None or name in solvers]
    results.about = ABOUT
    print("scikit-learn liblinear has no softmax regression and is skipped")
    chosen = chosen_tasks(list(tasks()), names)
    results.title = TITLE_L1 if all(task.l1 for task in chosen) else TITLE
    for task in chosen:
        contest = Contest.of(task, scale, cap)
        if contest is not None:
            compete(contest, ours, theirs, results.limits["gemm float64"])
            report(results, contest, rounds)


def compete(contest: Contest, ours: list[str], theirs: list[str], rate: float) -> None:
    """Let these solvers take part that suit the problem; `rate` is that of matrix products on this machine."""
    task = contest.task
    for solver in ("auto",) if task.l1 else ours:
        try:
            contest.ours(solver)
        except nbs.InputValueError as refusal:
            print(f"\n{task.name}: {solver} is skipped: {refusal}")
    for solver in theirs if find_spec("sklearn") else ():
        if task.l1 and solver != "saga":
            continue
        if solver == "newton-cholesky":
            one = newton_cholesky_seconds(contest.X, int(contest.y.max()) + 1, rate)
            if one > contest.cap:
                print(f"\n{task.name}: an iteration of {solver} takes {one:.2g} s at the least, skipped")
                continue
        contest.theirs(solver)


def report(results: Results, contest: Contest, rounds: int) -> None:
    """Repeat the fastest fits, and add the table of the problem to the results."""
    contest.repeat(rounds)
    how = "bound" if contest.known_to <= REFERENCE else f"bound, which is above {REFERENCE:.0e}"
    title = f"{contest.task.name}: {' x '.join(map(str, contest.numbers()['shape']))}, C = {contest.task.C:g}"
    results.add_table(f"{title}; optimum known to {contest.known_to:.0e} by a {how}", HEADER, contest.body())
    results.fits.append(contest.numbers())


def plot(fits: list[dict[str, Any]], path: str) -> None:
    """Plot suboptimality over seconds for each problem: ours by the history of a fit, theirs with a point for a fit."""
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
        for solver in reversed(fit["solvers"]):  # ours is plotted last, on top
            name = solver["solver"]
            ours = name.startswith(peers.OURS)
            attempts = solver["attempts"]
            points = attempts[0]["path"] if ours else [(np.median(a["seconds"]), a["suboptimality"]) for a in attempts]
            x, y = np.array(sorted(points)).reshape(-1, 2).T
            y = np.maximum(np.minimum.accumulate(y), 1e-13)  # the best value so far
            (handles[name],) = axis.plot(
                x, y, "-" if ours else "o--", ms=3, lw=2.8 if name == peers.OURS else 1.3, label=name,
                color="black" if name == peers.OURS else f"C{names.index(name)}",
            )  # fmt: skip
        for target in TARGETS:
            axis.axhline(target, color="grey", lw=0.6, ls=":")
        axis.set(xscale="log", yscale="log", ylim=(5e-14, 10))
        axis.xaxis.set_minor_formatter("")  # within one decade, the labels of all ticks would overlap
        axis.set_title(fit["problem"], fontsize=10)
    for axis in axes.flat[len(fits) :]:
        axis.set_visible(False)
    figure.supxlabel("seconds")
    figure.supylabel("suboptimality (J - J*) / J*")
    figure.legend(handles=[handles[name] for name in names], loc="outside upper center", ncols=min(5, len(names)))
    figure.savefig(path, dpi=110)
    plt.close(figure)
