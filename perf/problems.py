"""Problems of the benchmark of whole fits: real data sets and synthetic ones, with their regularisation."""

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
CONDITION = 1e4  # condition number of the covariance of synthetic problems


class Task(NamedTuple):
    """A problem for whole fits."""

    name: str
    make: Callable[[int], tuple[Any, Any] | None]  # from the divisor of the rows to X and labels
    C: float  # of scikit-learn
    bar: float  # target: speed-up over scikit-learn's best solver; 0 for none
    l1: bool = False  # whether the penalty is l1


def correlated(m: int, n_features: int, n_classes: int, *, condition: float, seed: int = 0) -> tuple[Any, Any]:
    """Gaussian X (m, N) whose covariance has this condition number, and labels (m,) from a softmax model.

    The covariance is Q diag(spectrum) Q^T, with a geometric spectrum of mean 1 and a random orthogonal Q; the logits of
    the model have variance 4.
    """
    rng = np.random.default_rng(seed)
    spectrum = np.geomspace(1.0, condition, n_features)
    spectrum /= spectrum.mean()
    mixing, _ = np.linalg.qr(rng.standard_normal((n_features, n_features)))
    X = (rng.standard_normal((m, n_features)) * np.sqrt(spectrum)) @ mixing.T
    z = X @ rng.standard_normal((n_features, n_classes))
    z *= 2 / z.std(axis=0)
    return X, np.argmax(z + rng.gumbel(size=z.shape), axis=1)  # Gumbel noise: class k with probability softmax(z)_k


def wide(m: int, n_features: int, n_classes: int, scale: int) -> tuple[Any, Any]:
    """Standardised X (m, N) with more features than samples, N/10 factors plus noise, and labels from a softmax model.

    Every `scale`-th sample, but at least 20.
    """
    rng = np.random.default_rng(0)
    n_factors = n_features // 10
    common = rng.standard_normal((m, n_factors)) @ rng.standard_normal((n_factors, n_features)) / np.sqrt(n_factors)
    X = scaled(common / 2 + rng.standard_normal((m, n_features)))
    z = X @ rng.standard_normal((n_features, n_classes)) * 2 / np.sqrt(n_features)
    rows = slice(None, None, min(scale, m // 20))
    return X[rows], np.argmax(z + rng.gumbel(size=z.shape), axis=1)[rows]


def real(name: str, scale: int, *, standardised: bool) -> tuple[Any, Any] | None:
    """Load a data set from beside the repository, every `scale`-th row; None if it does not exist."""
    path = DATA / f"{name}.npz"
    if not path.exists():
        return None
    with np.load(path) as file:
        X, y = file["X"][::scale].astype(np.float64), file["y"][::scale]
    return (scaled(X) if standardised else X), y


def small(name: str, scale: int, *, standardised: bool = True) -> tuple[Any, Any] | None:
    """Load a data set of scikit-learn; all rows, whatever `scale` is. None without scikit-learn."""
    if not find_spec("sklearn"):
        return None
    from sklearn import datasets

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return (scaled(X) if standardised else X), y


def scaled(X: Any) -> Any:
    """Return X with columns of mean 0 and, unless constant, variance 1."""
    spread = X.std(axis=0)
    return (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def synthetic(m: int, n: int, k: int, bar: float, *, l1: bool = False, condition: float = CONDITION) -> Task:
    """Make a problem of Gaussian data; the features are independent if the condition number is 1."""
    name = f"{'l1-' * l1}{m}x{n}x{k}{'-independent' * (condition == 1)}"
    return Task(name, lambda scale: correlated(m // scale, n, k, condition=condition), 1.0, bar, l1)


def tasks() -> Iterator[Task]:
    """Generate all problems."""
    for name, bar in (("letterrecognition", 10.0), ("satellite", 5.0), ("dna", 5.0)):
        for form in ("raw", "standardised"):
            for C in (1.0, 100.0):
                make = partial(real, name, standardised=form == "standardised")
                yield Task(f"{name}-{form}-C{C:g}", make, C, bar if form == "raw" and C == 1 else 0.0)
    for name in ("iris", "wine", "breast_cancer", "digits"):
        yield Task(f"{name}-standardised-C1", partial(small, name), 1.0, 2.0)
    for shape in ((200, 5_000, 5), (80, 2_000, 2)):
        yield Task(f"wide-{'x'.join(map(str, shape))}", partial(wide, *shape), 1.0, 2.0)
    yield synthetic(200_000, 54, 7, 15.0)
    yield synthetic(20_000, 784, 10, 20.0)
    yield Task("l1-dna-raw-C1", partial(real, "dna", standardised=False), 1.0, 10.0, l1=True)
    yield synthetic(20_000, 784, 10, 10.0, l1=True, condition=1.0)
    yield synthetic(20_000, 784, 10, 0.0, l1=True)


def chosen_tasks(every: list[Task], names: list[str] | None) -> list[Task]:
    """Select the problems with one of these names, or whose names begin with one that is none; all for None."""
    for name in names or []:
        if not any(task.name.startswith(name) for task in every):
            raise SystemExit(f"no problem begins with {name!r}; there are {', '.join(t.name for t in every)}")
    if names is None:
        return every
    beginnings = tuple(name for name in names if all(task.name != name for task in every))
    return [task for task in every if task.name in names or task.name.startswith(beginnings)]
