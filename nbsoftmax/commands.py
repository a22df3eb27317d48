"""What the commands of the command line do, a function each: read files, call the library, print, write files.

Each takes the parsed arguments and returns an exit code. With --json what it prints is one JSON object, or for
`predict` one a line; a number that is not finite is null.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from nbsoftmax.model import SoftmaxModel
    from nbsoftmax.trainer import FitResult

DEMO_SEED = 0
DEMO_HELD_OUT = 0.25
DEMO_L2 = 1e-4


def demo(arguments: argparse.Namespace) -> int:
    """Train on the digits."""
    import numpy as np

    from nbsoftmax.callbacks import ProgressBar
    from nbsoftmax.data import digits
    from nbsoftmax.trainer import Trainer

    X, y = digits.load()
    X /= 16  # pixels from 0 to 1
    order = np.random.default_rng(DEMO_SEED).permutation(len(y))
    held_out, train = np.split(order, [round(DEMO_HELD_OUT * len(y))])
    arguments.out.mkdir(parents=True, exist_ok=True)
    said = (
        f"UCI hand-written digits: {len(train)} to train on, {len(held_out)} held out; the first run compiles kernels."
    )
    if not arguments.json:
        print(said)
    result = Trainer(l2=DEMO_L2, callbacks=[ProgressBar()]).fit(X[train], y[train])
    report = _scores(result.model, X[held_out], y[held_out])
    model_file, picture = arguments.out / "digits-model.npz", arguments.out / "digits-model.png"
    result.model.save(model_file)
    drawn = True
    try:
        from nbsoftmax.plots import save_digits_picture

        save_digits_picture(result, picture)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        drawn = False
    _say(
        arguments,
        [
            *_report(result),
            f"held-out accuracy: {report['accuracy']:.4f}",
            f"held-out log-loss: {report['log_loss']:.4f}",
            f"model:   {model_file}",
            f"picture: {picture}"
            if drawn
            else 'picture: none, matplotlib is not installed (pip install "nbsoftmax[plot]")',
        ],
        _as_dict(result)
        | {
            "accuracy": report["accuracy"],
            "log_loss": report["log_loss"],
            "model": str(model_file),
            "picture": str(picture) if drawn else None,
        },
    )
    return _exit_code(result)


def fit(arguments: argparse.Namespace) -> int:
    """Train a model and save it."""
    import warnings

    import numpy as np

    from nbsoftmax import check
    from nbsoftmax.callbacks import JsonLines, ProgressBar
    from nbsoftmax.path import as_in_sklearn
    from nbsoftmax.trainer import ConvergenceWarning, Trainer

    _writable(arguments.out)
    X, y, names, weight = _read(arguments, labels=True, weights=arguments.sample_weight)
    l2 = arguments.l2
    if arguments.C is not None:
        C = check.number("--C", arguments.C, low=0.0, low_open=True)
        l2 = float(as_in_sklearn(C, len(X) if weight is None else np.sum(weight), 0.0, np.unique(y).size)[1])
    callbacks: list[Any] = [] if arguments.quiet else [ProgressBar()]
    if arguments.log is not None:
        callbacks.append(JsonLines(arguments.log))
    trainer = Trainer(
        solver=arguments.solver,
        l1=arguments.l1,
        l2=l2,
        grouped=arguments.grouped,
        tol=arguments.tol,
        max_iter=arguments.max_iter,
        max_seconds=arguments.max_seconds,
        validation_fraction=arguments.validation,
        early_stopping=arguments.early_stopping,
        learning_rate=arguments.learning_rate,
        batch_size=arguments.batch_size,
        random_state=arguments.seed,
        fit_intercept=not arguments.no_intercept,
        label_smoothing=arguments.label_smoothing,
        class_weight=arguments.class_weight,
        dtype=arguments.dtype,
        n_threads=arguments.threads,
        device=arguments.device,
        device_memory=arguments.device_memory,
        callbacks=callbacks,
    )
    mean, scale = np.zeros(1), np.ones(1)
    if arguments.standardize:
        X = check.design(X, dtype=arguments.dtype)
        mean, scale = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
        if arguments.no_intercept:
            mean[:] = 0.0  # without an intercept there is nowhere for the means to go
        scale[scale == 0] = 1.0
        X = ((X - mean) / scale).astype(X.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # `_report` says it
        result = trainer.fit(X, y, sample_weight=weight, checkpoint=arguments.checkpoint, resume=arguments.resume)
    model = replace(result.model, feature_names=names)
    if arguments.standardize:
        coef = model.coef / scale
        training = (model.training or {}) | {"standardized": True}
        model = replace(model, coef=coef, intercept=model.intercept - (coef * mean).sum(axis=1), training=training)
    model.save(arguments.out)
    lines, facts = _report(result), _as_dict(result)
    if "validation_loss" in result.history and result.n_iter > 0:
        losses = result.history["validation_loss"]
        facts["validation_loss"] = float(losses.min() if arguments.early_stopping else losses[-1])
        lines.append(f"held-out log-loss: {facts['validation_loss']:.4f}")
    _say(arguments, [*lines, f"model: {arguments.out}"], facts | {"model": str(arguments.out)})
    return _exit_code(result)


def cv(arguments: argparse.Namespace) -> int:
    """Choose the strength of the penalty."""
    import warnings

    import numpy as np

    from nbsoftmax.cross_validation import cross_validate, summary
    from nbsoftmax.trainer import ConvergenceWarning

    if arguments.out is not None:
        _writable(arguments.out)
    X, y, names, _ = _read(arguments, labels=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # `_report` says it of the fit that counts
        found = cross_validate(
            X,
            y,
            Cs=10 if arguments.Cs is None else arguments.Cs,
            l1_ratio=arguments.l1_ratio,
            folds=arguments.folds,
            refit="one-standard-error" if arguments.one_standard_error else "best",
            random_state=arguments.seed,
            class_weight=arguments.class_weight,
            device=arguments.device,
        )
    mean, error = summary(found.log_loss)
    lines = [f"{'C':>10}   log-loss  std. error   accuracy"]
    marked = {found.best: ["best"]}
    marked.setdefault(found.one_standard_error, []).append("one standard error")
    for i in np.argsort(found.Cs, kind="stable").tolist():
        numbers = f"{mean[i]:10.4f} {error[i]:11.4f} {found.accuracy[i].mean():10.4f}"
        line = f"{'(not fitted: hopeless)':>33}" if np.isnan(mean[i]) else numbers
        lines.append(f"{found.Cs[i]:10.4g} {line}  {', '.join(marked.get(i, []))}".rstrip())
    lines += _report(found.result)
    facts: dict[str, Any] = {
        "Cs": found.Cs.tolist(),
        "log_loss": found.log_loss.tolist(),
        "accuracy": found.accuracy.tolist(),
        "best": found.best,
        "one_standard_error": found.one_standard_error,
    }
    facts |= _as_dict(found.result)
    if arguments.out is not None:
        replace(found.result.model, feature_names=names).save(arguments.out)
        lines.append(f"model: {arguments.out}")
        facts["model"] = str(arguments.out)
    _say(arguments, lines, facts)
    return 0


def predict(arguments: argparse.Namespace) -> int:
    """Label data."""
    import csv

    from nbsoftmax.model import SoftmaxModel

    model = SoftmaxModel.load(arguments.model)
    X = _read(arguments, labels=False, model=model)[0]
    if arguments.top_k is not None:
        labels, proba = model.top_k(X, arguments.top_k)
        header = [f"{what}_{k + 1}" for k in range(arguments.top_k) for what in ("label", "proba")]
        rows: Iterator[list[Any]] = (
            [cell for pair in zip(label.tolist(), p.tolist(), strict=True) for cell in pair]
            for label, p in zip(labels, proba, strict=True)
        )
    elif arguments.proba:
        proba = model.predict_proba(X)
        header = ["label", *(f"proba_{label}" for label in model.classes.tolist())]
        best = model.classes[proba.argmax(axis=1)].tolist()
        rows = ([label, *p.tolist()] for label, p in zip(best, proba, strict=True))
    else:
        header = ["label"]
        rows = ([label] for label in model.predict(X).tolist())
    with _output(arguments.out) as file:
        if arguments.json:
            for row in rows:
                print(_json(dict(zip(header, row, strict=True))), file=file)
        else:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Accuracy, log-loss and confusion on labelled data."""
    from nbsoftmax.model import SoftmaxModel

    model = SoftmaxModel.load(arguments.model)
    X, y, *_ = _read(arguments, labels=True, model=model)
    report = _scores(model, X, _as_classes(y, model.classes))
    confusion = report["confusion"]
    names = [str(label) for label in model.classes.tolist()]
    width = max(9, *map(len, names))
    lines = [
        f"samples:  {len(y)}",
        f"accuracy: {report['accuracy']:.4f}",
        f"log-loss: {report['log_loss']:.4f}",
        f"\n{'class':>{width}}  precision     recall    samples",
    ]
    for k, name in enumerate(names):
        right, predicted, actual = confusion[k, k], confusion[:, k].sum(), confusion[k].sum()
        shares = [f"{right / n:10.4f}" if n else f"{'-':>10}" for n in (predicted, actual)]
        lines.append(f"{name:>{width}} {shares[0]} {shares[1]} {actual:10d}")
    cell = max(4, *map(len, names), len(str(confusion.max()))) + 1
    lines.append("\nconfusion matrix (rows: true, columns: predicted)")
    lines.append(" " * width + "".join(f"{name:>{cell}}" for name in names))
    for k, name in enumerate(names):
        lines.append(f"{name:>{width}}" + "".join(f"{n:{cell}d}" for n in confusion[k]))
    facts = {"samples": len(y), **report, "confusion": confusion.tolist(), "classes": model.classes.tolist()}
    _say(arguments, lines, facts)
    return 0


def inspect(arguments: argparse.Namespace) -> int:
    """What is in a model."""
    import numpy as np

    from nbsoftmax import check
    from nbsoftmax.model import SoftmaxModel

    model = SoftmaxModel.load(arguments.model)
    top = check.count("--top", arguments.top)
    names = model.feature_names or tuple(f"x{j}" for j in range(model.n_features))
    classes = model.classes.tolist()
    absent = int((model.coef == 0).all(axis=0).sum())
    biggest = {
        str(label): [
            {"feature": names[j], "weight": float(row[j])}
            for j in np.argsort(-np.abs(row), kind="stable")[:top].tolist()
        ]
        for label, row in zip(classes, model.coef, strict=True)
    }
    listed = ", ".join(map(str, classes[:10])) + (f" and {len(classes) - 10} more" if len(classes) > 10 else "")
    lines = [
        f"classes:  {model.n_classes} ({listed})",
        f"features: {model.n_features}{'' if model.feature_names else ' (without names)'}, {absent} of them not used",
    ]
    if model.training is not None:
        lines += ["", "how it was trained"]
        width = max(map(len, model.training))
        lines += [f"  {name:{width}}  {_number(value)}" for name, value in model.training.items()]
    width = max(5, *(len(str(label)) for label in classes))
    lines += ["", f"{'class':>{width}}  intercept  biggest weights"]
    for label, b in zip(classes, model.intercept.tolist(), strict=True):
        weights = ", ".join(f"{w['feature']} {w['weight']:+.4g}" for w in biggest[str(label)])
        lines.append(f"{label!s:>{width}}  {b:9.4g}  {weights}")
    facts = {
        "n_classes": model.n_classes,
        "n_features": model.n_features,
        "classes": classes,
        "feature_names": None if model.feature_names is None else list(model.feature_names),
        "features_not_used": absent,
        "intercept": model.intercept.tolist(),
        "biggest_weights": biggest,
        "training": model.training,
    }
    _say(arguments, lines, facts)
    return 0


def plot(arguments: argparse.Namespace) -> int:
    """Draw a model, how good it is on data, or the log of a fit."""
    from nbsoftmax import check
    from nbsoftmax.model import SoftmaxModel

    _writable(arguments.out)
    try:
        import matplotlib

        matplotlib.use("Agg")
        from nbsoftmax import plots
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        print('nbsoftmax: pictures need matplotlib; install it with: pip install "nbsoftmax[plot]"', file=sys.stderr)
        return 1
    needs_data = arguments.kind in {"reliability", "confusion", "decision"}
    if needs_data != (arguments.data is not None):
        wanted = "needs labelled data" if needs_data else "takes no data"
        raise check.InputValueError(f"plot {arguments.kind} {wanted}; see nbsoftmax plot --help.")
    display: Any
    if arguments.kind == "convergence":
        display = plots.ConvergenceDisplay.from_log(arguments.source)
    else:
        model = SoftmaxModel.load(arguments.source)
        if arguments.kind == "coefficients":
            shape = None if arguments.image_shape is None else _shape(arguments.image_shape)
            display = plots.CoefficientDisplay.from_model(model, image_shape=shape)
        else:
            X, y, *_ = _read(arguments, labels=True, model=model)
            kinds: dict[str, Any] = {
                "reliability": plots.ReliabilityDisplay,
                "confusion": plots.ConfusionDisplay,
                "decision": plots.DecisionDisplay,
            }
            display = kinds[arguments.kind].from_model(model, X, _as_classes(y, model.classes))
    try:
        display.figure_.savefig(arguments.out, dpi=150)
    except ValueError as error:  # an ending that matplotlib does not know
        raise check.InputValueError(f"--out {arguments.out}: {error}") from None
    _say(arguments, [f"picture: {arguments.out}"], {"picture": str(arguments.out)})
    return 0


def convert(arguments: argparse.Namespace) -> int:
    """Write a model as ONNX."""
    from nbsoftmax import check
    from nbsoftmax.model import SoftmaxModel

    if arguments.out.suffix.lower() != ".onnx":
        raise check.InputValueError(f"{arguments.out} is no name of an ONNX file; end it in .onnx.")
    model = SoftmaxModel.load(arguments.model)
    try:
        model.to_onnx(arguments.out, dtype=arguments.dtype)
    except ImportError as error:
        print(f"nbsoftmax: {error}", file=sys.stderr)
        return 1
    _say(arguments, [f"ONNX: {arguments.out}"], {"onnx": str(arguments.out)})
    return 0


def bench(arguments: argparse.Namespace) -> int:
    """What this machine reaches on random data."""
    import statistics
    import time

    import numpy as np

    from nbsoftmax import check
    from nbsoftmax.functional import softmax
    from nbsoftmax.model import SoftmaxModel
    from nbsoftmax.objective import Objective

    m, n = check.count("--samples", arguments.samples), check.count("--features", arguments.features)
    k = check.count("--classes", arguments.classes, low=2)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((m, n), np.dtype(arguments.dtype))
    y = rng.integers(0, k, m)
    z, out = rng.standard_normal((m, k), X.dtype), np.empty((m, k), X.dtype)
    threads = check.n_threads(arguments.threads)
    objective = Objective(X, y, n_classes=k, n_threads=threads, device=arguments.device)
    params = rng.normal(size=objective.shape) / np.sqrt(n)
    model = SoftmaxModel(params[:, :-1], params[:, -1], np.arange(k))
    products = 2.0 * m * n * k
    work: dict[str, tuple[Callable[[], Any], float, int]] = {
        "softmax": (lambda: softmax(z, out=out), 0.0, 2 * z.nbytes),
        "loss": (lambda: objective.value(params), products, X.nbytes),
        "loss + gradient": (lambda: objective.value_and_grad(params), 2 * products, X.nbytes),
        "predict": (lambda: model.predict(X), products, X.nbytes),
    }
    lines = [
        f"{m} samples, {n} features, {k} classes, {arguments.dtype}",
        f"{'':>16} {'ms':>9} {'GB/s':>7} {'GFLOP/s':>8}",
    ]
    facts: dict[str, Any] = {}
    for name, (call, flops, n_bytes) in work.items():
        call()
        seconds: list[float] = []
        while len(seconds) < 5 or (sum(seconds) < 0.5 and len(seconds) < 1000):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        median = statistics.median(seconds)
        facts[name] = {"seconds": median, "bytes": n_bytes, "flops": flops}
        rate = f"{flops / median / 1e9:8.1f}" if flops else f"{'-':>8}"
        lines.append(f"{name:>16} {median * 1e3:9.3f} {n_bytes / median / 1e9:7.1f} {rate}")
    _say(arguments, lines, facts)
    return 0


# --- what several of them do ----------------------------------------------------------------------


def _say(arguments: argparse.Namespace, lines: list[str], facts: dict[str, Any]) -> None:
    print(_json(facts) if arguments.json else "\n".join(lines))


def _json(facts: Any) -> str:
    import numpy as np

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(name): plain(entry) for name, entry in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(entry) for entry in value]
        if isinstance(value, np.generic):
            value = value.item()
        return None if isinstance(value, float) and not np.isfinite(value) else value

    return json.dumps(plain(facts), allow_nan=False)


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _exit_code(result: FitResult) -> int:
    return 130 if result.reason == "interrupted" else 0


def _report(result: FitResult) -> list[str]:
    state = "converged" if result.converged else f"NOT converged: {result.reason}"
    return [
        f"{state} after {result.n_iter} iterations and {result.seconds:.2f} s ({result.solver})",
        f"objective {result.objective:.8g}, gradient norm {result.grad_norm:.3g}, "
        f"distance to the minimum {result.gap:.3g} ({result.gap_kind})",
    ]


def _as_dict(result: FitResult) -> dict[str, Any]:
    names = (
        "converged",
        "reason",
        "n_iter",
        "objective",
        "grad_norm",
        "gap",
        "gap_kind",
        "seconds",
        "solver",
        "account",
    )
    return {name: getattr(result, name) for name in names}


def _as_classes(y: Any, classes: Any) -> Any:
    """Labels of a file as the model's classes that read the same: a text file does not know their kind.

    A part of the data whose labels all look like numbers is read as integers, where the whole was text.
    """
    by_text = {str(label): k for k, label in enumerate(classes.tolist())}
    found = [by_text.get(str(label)) for label in y.tolist()]
    return y if None in found else classes[found]  # what is unknown is named by `check.positions`


def _scores(model: SoftmaxModel, X: Any, y: Any) -> dict[str, Any]:
    import numpy as np

    from nbsoftmax import check
    from nbsoftmax.functional import cross_entropy
    from nbsoftmax.model import confusion

    truth = check.codes_of(y, model.classes, n_samples=len(check.some_samples(X)))
    logits = model.decision_function(X)
    predicted = logits.argmax(axis=1)
    return {
        "accuracy": float(np.mean(predicted == truth)),
        "log_loss": cross_entropy(logits, truth),
        "confusion": confusion(truth, predicted, model.n_classes),
    }


# --- files ------------------------------------------------------------------------------------------


def _writable(out: Path) -> None:
    """Refuse a path that cannot be written, before the work and not after it."""
    from nbsoftmax import check

    if not out.absolute().parent.is_dir():
        raise check.InputValueError(f"the folder of --out {out} does not exist; make it first.")
    if out.is_dir():
        raise check.InputValueError(f"--out {out} is a folder; name a file, for example model.npz in it.")


def _shape(text: str) -> tuple[int, int]:
    from nbsoftmax import check

    height, _, width = text.lower().partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise check.InputValueError(f"--image-shape is {text!r}, expected height x width, for example 8x8.")
    return int(height), int(width)


def _read(
    arguments: argparse.Namespace, *, labels: bool, model: SoftmaxModel | None = None, weights: str | None = None
) -> tuple[Any, Any, tuple[str, ...] | None, Any]:
    """Features, labels, feature names and sample weights from the files that the arguments name."""
    import numpy as np

    from nbsoftmax import check
    from nbsoftmax.data import arrays, csv

    kind = arguments.data.suffix.lower()
    if kind == ".npy":
        X = arrays.read_npy(arguments.data)
        if labels and arguments.labels is None:
            raise check.InputValueError(f"{arguments.data} has no labels; give them with --labels FILE.npy.")
        weight = None if weights is None else arrays.read_npy(weights)
        return X, arrays.read_npy(arguments.labels) if labels else None, None, weight
    if labels and arguments.labels is not None:
        raise check.InputValueError(f"--labels goes with .npy data, but {arguments.data} has its own; use --target.")
    if kind == ".npz":
        X, y = arrays.read_npz(arguments.data, target=(arguments.target or "y") if labels else None)
        weight = None if weights is None else arrays.read_npz(arguments.data, target=weights)[1]
        return X, y, None, weight
    target = arguments.target if labels else None
    if labels and target is None:
        raise check.InputValueError("name the column of labels with --target NAME.")
    table = csv.read(arguments.data, target=target, features=None if model is None else model.feature_names)
    if weights is None:
        return table.X, table.y, table.feature_names, None
    if weights not in table.feature_names:
        raise check.InputValueError(f"{arguments.data} has no column {weights!r} for --sample-weight; name one it has.")
    j = table.feature_names.index(weights)
    names = tuple(name for name in table.feature_names if name != weights)
    return np.delete(table.X, j, axis=1), table.y, names, table.X[:, j]


@contextmanager
def _output(path: Path | None) -> Iterator[Any]:
    if path is None:
        yield sys.stdout
        return
    with open(path, "w", newline="", encoding="utf-8") as file:
        yield file
