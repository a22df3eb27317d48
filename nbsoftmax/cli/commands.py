"""What the commands of the command line do, a function each: read files, call the library, print, write files.

Each takes the parsed arguments and returns an exit code. With --json what it prints is one JSON object, or for
`predict` one a line; a number that is not finite is null.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsoftmax.errors import InputError, InputValueError

if TYPE_CHECKING:
    import argparse

    from nbsoftmax.models.softmax import SoftmaxModel
    from nbsoftmax.training.result import FitResult

DEMO_SEED = 0
DEMO_HELD_OUT = 0.25
DEMO_L2 = 1e-4
# What Python's advice calls the options of `fit`.
IN_OPTIONS = {
    "l2": "--l2",
    "tol": "--tol",
    "max_iter": "--max-iter",
    "max_seconds": "--max-seconds",
    "learning_rate": "--learning-rate",
    "checkpoint": "--checkpoint",
    "resume=True": "--resume",
    "scale the features": "scale the features (--standardize)",
    "use float64 data": "use --dtype float64",
}


def demo(arguments: argparse.Namespace) -> int:
    """Train on the digits."""
    import numpy as np

    from nbsoftmax.data import digits
    from nbsoftmax.files import check_writable
    from nbsoftmax.training.callbacks import ProgressBar
    from nbsoftmax.training.trainer import Trainer

    X, y = digits.load()
    X /= 16  # pixels from 0 to 1
    order = np.random.default_rng(DEMO_SEED).permutation(len(y))
    held_out, train = np.split(order, [round(DEMO_HELD_OUT * len(y))])
    arguments.out.mkdir(parents=True, exist_ok=True)
    model_file, picture = arguments.out / "digits-model.npz", arguments.out / "digits-model.png"
    check_writable(model_file)
    said = (
        f"UCI hand-written digits: {len(train)} to train on, {len(held_out)} held out; the first run compiles kernels."
    )
    if not arguments.json:
        print(said)
    with _warnings_of_a_fit() as warned:
        result = Trainer(l2=DEMO_L2, callbacks=[ProgressBar()]).fit(X[train], y[train])
    report = _scores(result.model, X[held_out], y[held_out])
    saved, code = _save(result, result.model, model_file)
    drawn = False
    try:
        from nbsoftmax.plots import save_digits_picture

        if code == 0:
            save_digits_picture(result, picture)
            drawn = True
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
    _say(
        arguments,
        [
            *_report(result),
            f"held-out accuracy: {report['accuracy']:.4f}",
            f"held-out log-loss: {report['log_loss']:.4f}",
            f"model:   {saved}",
            f"picture: {picture}"
            if drawn
            else 'picture: none, matplotlib is not installed (pip install "nbsoftmax[plot]")'
            if code == 0
            else "picture: none",
        ],
        _as_dict(result)
        | {
            "accuracy": report["accuracy"],
            "log_loss": report["log_loss"],
            "model": saved,
            "picture": str(picture) if drawn else None,
        },
    )
    return code or _exit_code(result, warned)


def fit(arguments: argparse.Namespace) -> int:
    """Train a model and save it."""
    import numpy as np

    from nbsoftmax import validation
    from nbsoftmax.problem import Problem
    from nbsoftmax.selection.path import as_in_sklearn
    from nbsoftmax.training.callbacks import JsonLines, ProgressBar
    from nbsoftmax.training.trainer import Trainer

    _check_outputs(arguments)
    if arguments.early_stopping is not None and arguments.validation is None:
        raise InputValueError("--early-stopping needs samples to judge by; hold some out with --validation.")
    X, y, names, weight = _read(arguments, labels=True, weights=arguments.sample_weight)
    problem = Problem.from_labels(
        X,
        y,
        sample_weight=weight,
        class_weight=arguments.class_weight,
        label_smoothing=arguments.label_smoothing,
        dtype=arguments.dtype,
    )
    del X
    if arguments.validation is not None:  # first of all: what follows is about the samples of the fit alone
        problem = problem.split(arguments.validation, arguments.seed)
    l2 = arguments.l2
    if arguments.C is not None:
        C = validation.number("--C", arguments.C, low=0.0, low_open=True)
        l2 = float(as_in_sklearn(C, problem.weight_sum, 0.0, problem.n_classes)[1])
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
        mean, scale = problem.X.mean(axis=0, dtype=np.float64), problem.X.std(axis=0, dtype=np.float64)
        if arguments.no_intercept:
            mean[:] = 0.0  # without an intercept there is nowhere for the means to go
        scale[scale == 0] = 1.0
        problem = problem.scaled(mean, scale)
    with _warnings_of_a_fit() as warned:
        result = trainer.fit(problem, checkpoint=arguments.checkpoint, resume=arguments.resume)
    model = replace(result.model, feature_names=names)
    if arguments.standardize:
        coef = model.coef / scale
        training = (model.training or {}) | {"standardized": True}
        model = replace(model, coef=coef, intercept=model.intercept - (coef * mean).sum(axis=1), training=training)
    saved, code = _save(result, model, arguments.out)
    lines, facts = _report(result), _as_dict(result)
    if "validation_loss" in result.history and result.n_iter > 0:
        losses = result.history["validation_loss"]
        facts["validation_loss"] = float(losses.min() if arguments.early_stopping else losses[-1])
        lines.append(f"held-out log-loss: {facts['validation_loss']:.4f}")
    _say(arguments, [*lines, f"model: {saved}"], facts | {"model": saved})
    return code or _exit_code(result, warned)


def cv(arguments: argparse.Namespace) -> int:
    """Choose the strength of the penalty."""
    import numpy as np

    from nbsoftmax.selection.cross_validation import cross_validate, summary

    _check_outputs(arguments)
    X, y, names, weight = _read(arguments, labels=True, weights=arguments.sample_weight)
    with _warnings_of_a_fit() as warned:  # of the folds' fits as well; the last is that of the fit that counts
        found = cross_validate(
            X,
            y,
            Cs=10 if arguments.Cs is None else arguments.Cs,
            l1_ratio=arguments.l1_ratio,
            sample_weight=weight,
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
        line = f"{'(skipped: loss already rising)':>33}" if np.isnan(mean[i]) else numbers
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
    code = 0
    if arguments.out is not None:
        saved, code = _save(found.result, replace(found.result.model, feature_names=names), arguments.out)
        lines.append(f"model: {saved}")
        facts["model"] = saved
    _say(arguments, lines, facts)
    chosen = found.Cs[found.one_standard_error if arguments.one_standard_error else found.best]
    return code or _exit_code(found.result, warned, f" Use nbsoftmax fit with --C {chosen:g} for that.")


def predict(arguments: argparse.Namespace) -> int:
    """Label data."""
    import csv

    _check_outputs(arguments)
    model = _load(arguments.model, arguments.data)
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
    if arguments.out is None and not arguments.json:
        _check_encoding(["".join(header), *map(str, model.classes.tolist())])
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
    model = _load(arguments.model, arguments.data)
    X, y, _, weight = _read(arguments, labels=True, model=model, weights=arguments.sample_weight)
    report = _scores(model, X, _as_classes(y, model.classes), weight)
    confusion = report["confusion"]
    names = [str(label) for label in model.classes.tolist()]
    width = max(9, *map(len, names))
    lines = [
        f"samples:  {len(y)}{'' if weight is None else ' (what follows is weighted)'}",
        f"accuracy: {report['accuracy']:.4f}",
        f"log-loss: {report['log_loss']:.4f}",
        f"\n{'class':>{width}}  precision     recall    samples",
    ]
    for k, name in enumerate(names):
        right, predicted, actual = confusion[k, k], confusion[:, k].sum(), confusion[k].sum()
        shares = [f"{right / n:10.4f}" if n else f"{'-':>10}" for n in (predicted, actual)]
        lines.append(f"{name:>{width}} {shares[0]} {shares[1]} {_number(actual):>10}")
    cell = max(4, *map(len, names), *(len(_number(n)) for n in confusion.flat)) + 1
    lines.append("\nconfusion matrix (rows: true, columns: predicted)")
    lines.append(" " * width + "".join(f"{name:>{cell}}" for name in names))
    for k, name in enumerate(names):
        lines.append(f"{name:>{width}}" + "".join(f"{_number(n):>{cell}}" for n in confusion[k]))
    facts = {"samples": len(y), **report, "confusion": confusion.tolist(), "classes": model.classes.tolist()}
    _say(arguments, lines, facts)
    return 0


def inspect(arguments: argparse.Namespace) -> int:
    """What is in a model."""
    import numpy as np

    from nbsoftmax import validation

    model = _load(arguments.model)
    top = validation.count("--top", arguments.top)
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
        f"features: {model.n_features}{'' if model.feature_names else ' (without names)'}, {absent} of them "
        "with all weights 0",
    ]
    if model.training is not None:
        lines += ["", "how it was trained"]
        width = max(map(len, model.training))
        lines += [f"  {name:{width}}  {_number(value)}" for name, value in model.training.items()]
    width = max(5, *(len(str(label)) for label in classes))
    lines += ["", f"{'class':>{width}}  intercept  largest weights"]
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
    _check_outputs(arguments)
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
        raise InputValueError(f"plot {arguments.kind} {wanted}; see nbsoftmax plot --help.")
    plots.picture_format(arguments.out)
    display: Any
    if arguments.kind == "convergence":
        display = plots.ConvergenceDisplay.from_log(arguments.source)
    else:
        model = _load(arguments.source, arguments.data)
        if arguments.kind == "coefficients":
            shape = None if arguments.image_shape is None else _shape(arguments.image_shape)
            display = plots.CoefficientDisplay.from_estimator(model, image_shape=shape)
        else:
            X, y, *_ = _read(arguments, labels=True, model=model)
            kinds: dict[str, Any] = {
                "reliability": plots.ReliabilityDisplay,
                "confusion": plots.ConfusionDisplay,
                "decision": plots.DecisionDisplay,
            }
            display = kinds[arguments.kind].from_estimator(model, X, _as_classes(y, model.classes))
    plots.save_picture(display.figure_, arguments.out, dpi=150)
    _say(arguments, [f"picture: {arguments.out}"], {"picture": str(arguments.out)})
    return 0


def convert(arguments: argparse.Namespace) -> int:
    """Write a model as ONNX."""
    from nbsoftmax.models.softmax import SoftmaxModel

    if arguments.out.suffix.lower() != ".onnx":
        raise InputValueError(f"{arguments.out} is no name of an ONNX file; end it in .onnx.")
    _check_outputs(arguments)
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

    from nbsoftmax import validation
    from nbsoftmax.functional import softmax
    from nbsoftmax.models.softmax import SoftmaxModel
    from nbsoftmax.objective import Objective

    m, n = validation.count("--samples", arguments.samples), validation.count("--features", arguments.features)
    k = validation.count("--classes", arguments.classes, low=2)
    size = np.dtype(arguments.dtype).itemsize
    needed = m * n * size + 2 * m * k * size + 8 * m
    validation.needs_memory(needed, f"{m} samples, {n} features and {k} classes take", "give fewer")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((m, n), np.dtype(arguments.dtype))
    y = rng.integers(0, k, m)
    z, out = rng.standard_normal((m, k), X.dtype), np.empty((m, k), X.dtype)
    threads = validation.n_threads(arguments.threads)
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
    text = _json(facts) if arguments.json else "\n".join(lines)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))  # labels that a terminal cannot show


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


@dataclass(frozen=True)
class _Warned:
    """What was warned of during a fit."""

    convergence: list[str] = field(default_factory=list)
    not_written: list[str] = field(default_factory=list)


@contextmanager
def _warnings_of_a_fit() -> Iterator[_Warned]:
    """Collect warnings of convergence and of files not written; print all but the former, each on a line."""
    import warnings

    from nbsoftmax.files import NotWrittenWarning
    from nbsoftmax.training.trainer import ConvergenceWarning

    warned = _Warned()

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, ConvergenceWarning):
            warned.convergence.append(str(message))
            return
        if issubclass(category, NotWrittenWarning):
            warned.not_written.append(str(message))
        _warn(" ".join(str(message).split()))

    with warnings.catch_warnings():
        warnings.simplefilter("always", ConvergenceWarning)
        warnings.simplefilter("always", NotWrittenWarning)
        warnings.showwarning = show
        yield warned


def _exit_code(result: FitResult, warned: _Warned, more_advice: str = "") -> int:
    """130 after Ctrl-C; 1 where the fit did not converge or a file could not be written; 0 otherwise."""
    if result.interrupted:
        return 130
    if not result.converged and warned.convergence:
        _warn(_in_options(warned.convergence[-1]) + more_advice)
        return 1
    return int(bool(warned.not_written))


def _in_options(advice: str) -> str:
    """What a warning of convergence advises, in the options of the command line."""
    said, lead, todo = advice.partition("What to do:")
    names = "|".join(map(re.escape, IN_OPTIONS))
    return said + lead + re.sub(rf"\b(?:{names})(?!\w)", lambda found: IN_OPTIONS[found[0]], todo)


def _report(result: FitResult) -> list[str]:
    state = "converged after" if result.converged else f"NOT converged: {result.reason}; stopped after"
    return [
        f"{state} {result.n_iter} iterations and {result.seconds:.2f} s ({result.solver})",
        f"objective {result.objective:.8g}, gradient norm {result.grad_norm:.3g}, "
        f"gap to the minimum {result.gap:.3g} ({result.gap_kind})",
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
    return y if None in found else classes[found]  # what is unknown is named by `validation.positions`


def _scores(model: SoftmaxModel, X: Any, y: Any, weight: Any = None) -> dict[str, Any]:
    from nbsoftmax import validation
    from nbsoftmax.functional import cross_entropy
    from nbsoftmax.models.softmax import accuracy, confusion

    truth = validation.codes_of(y, model.classes, n_samples=len(validation.some_samples(X)))
    logits = model.decision_function(X)
    predicted = logits.argmax(axis=1)
    log_loss = cross_entropy(logits, truth, sample_weight=weight)  # checks the weights
    if weight is not None and float(weight.max()) > 1e300 / len(weight):
        raise InputValueError(
            f"the largest weight is {float(weight.max()):g}, too large to add up {len(weight)}; divide all by it."
        )
    return {
        "accuracy": accuracy(predicted == truth, weight),
        "log_loss": log_loss,
        "confusion": confusion(truth, predicted, model.n_classes, weight),
    }


def _check_encoding(texts: list[str]) -> None:
    """Refuse to write a table that standard output cannot hold, before the first line and not in its middle."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    for text in texts:
        try:
            text.encode(encoding)
        except UnicodeEncodeError as error:
            raise InputValueError(
                f"standard output is {encoding}, which has no {text[error.start : error.end]!a} as in the label "
                f"{text!a}; write to --out FILE, which is UTF-8, or set PYTHONIOENCODING=utf-8."
            ) from None


# --- files ------------------------------------------------------------------------------------------


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Refuse an output that cannot be written, or that is another file of the command, before the work."""
    from nbsoftmax.files import check_writable, is_regular

    def named(*options: str) -> list[Path]:
        paths = (getattr(arguments, name, None) for name in options)
        return [path for path in paths if path is not None and str(path) != "-"]

    inputs = named("data", "labels", "model", "source", "config")
    weights = getattr(arguments, "sample_weight", None)  # a column, or a file
    if weights is not None and os.path.isfile(weights):
        inputs.append(Path(weights))
    seen = {os.path.realpath(path) for path in inputs}
    for path in named("out", "checkpoint", "log"):
        check_writable(path)
        if is_regular(path) and os.path.realpath(path) in seen:
            raise InputValueError(f"{path} is named twice, and would be written over; name another output.")
        seen.add(os.path.realpath(path))
    if arguments.command == "fit" and os.path.realpath(_partial(arguments.out)) in seen:
        raise InputValueError(
            f"{_partial(arguments.out)} is where an interrupted fit saves its model; name another file or --out."
        )


def _partial(out: Path) -> Path:
    """Where the model of an interrupted fit goes."""
    return out.with_name(f"{out.stem}.partial{out.suffix}")


def _save(result: FitResult, model: SoftmaxModel, out: Path) -> tuple[str | None, int]:
    """Save the model of a fit; return the name of its file, and the exit code.

    The model of an interrupted fit goes beside `out`, which may hold a better one: m.npz -> m.partial.npz. A model that
    cannot be written goes to the folder of temporary files, so that what was learned is not lost.
    """
    from nbsoftmax.files import is_regular, one_line

    target = _partial(out) if result.interrupted else out
    code = 130 if result.interrupted else 0
    try:
        if result.interrupted and not is_regular(out):
            raise OSError(f"interrupted, and nothing is written to {out}, which is no regular file")
        model.save(target)
    except OSError as error:
        kept = _save_elsewhere(model)
        where = f"the model is kept in {kept}" if kept else "no other folder can hold the model, which is lost"
        print(f"nbsoftmax: {one_line(error)}; {where}", file=sys.stderr)
        return kept, code or 1
    if result.interrupted:
        unchanged = f", {out} is as it was" if out.exists() else ""
        print(f"nbsoftmax: interrupted; the model so far is in {target}{unchanged}", file=sys.stderr)
    return str(target), code


def _save_elsewhere(model: SoftmaxModel) -> str | None:
    """Save a model in the folder of temporary files or in the current one; None if neither holds it."""
    import tempfile

    for folder in (None, "."):
        try:
            handle, name = tempfile.mkstemp(".npz", "nbsoftmax-", folder)
        except OSError:
            continue
        os.close(handle)
        try:
            model.save(name)
        except OSError:
            os.unlink(name)
        else:
            return name
    return None


def _shape(text: str) -> tuple[int, int]:

    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise InputValueError(f"--image-shape is {text!r}, expected height x width, for example 8x8.")
    return int(height), int(width)


def _load(path: Path, data: Path | None = None) -> SoftmaxModel:
    """The model of a file; where the data are one instead, the error says that the two are in the wrong order."""
    from nbsoftmax.models.softmax import SoftmaxModel

    try:
        return SoftmaxModel.load(path)
    except InputError:
        if data is None or not data.is_file():
            raise
        try:
            SoftmaxModel.load(data)
        except InputError:
            swapped = False
        else:
            swapped = True
        if not swapped:
            raise
        raise InputValueError(f"{data} is a model and {path} is none; give first the model, then the data.") from None


def _read(
    arguments: argparse.Namespace, *, labels: bool, model: SoftmaxModel | None = None, weights: str | None = None
) -> tuple[Any, Any, tuple[str, ...] | None, Any]:
    """Features, labels, feature names and sample weights from the files that the arguments name."""
    from nbsoftmax.data import arrays, csv, source

    with source.opened(arguments.data) as data:
        kind = source.kind(data)
        if kind != "csv" and arguments.drop:
            raise InputValueError(f"--drop is for columns of CSV files, but {data.name} holds arrays; cut them.")
        if kind == "npy":
            X = arrays.read_npy(data)
            if labels and arguments.labels is None:
                raise InputValueError(f"{data.name} has no labels; give them with --labels FILE.npy.")
            inputs = [str(arguments.data), str(arguments.labels) if labels else None, weights]
            if inputs.count(source.STDIN) > 1:
                raise InputValueError("- is given for two inputs, but standard input holds one; name files.")
            weight = None if weights is None else arrays.read_npy(weights)
            return X, arrays.read_npy(arguments.labels) if labels else None, None, weight
        if labels and arguments.labels is not None:
            raise InputValueError(f"--labels goes with .npy data, but {data.name} has its own; use --target.")
        if kind == "npz":
            X, y, weight = arrays.read_npz(data, target=(arguments.target or "y") if labels else None, weight=weights)
            return X, y, None, weight
        if labels and arguments.target is None:
            columns = csv.listed(csv.header(data))
            raise InputValueError(
                f"name the column of labels with --target NAME; the columns of {data.name} are {columns}."
            )
        table = csv.read(
            data,
            target=arguments.target if labels else None,
            features=None if model is None else model.feature_names,
            weight=weights,
            drop=arguments.drop,
            labels=() if model is None else {str(label) for label in model.classes.tolist()},
        )
    if model is None:
        for name in csv.row_counters(table):
            what = f"the column {name!r} merely counts the rows" if name else "a column has no name, as an index"
            _warn(f"{what}, and is used as a feature; --drop {shlex.quote(name)} leaves it out.")
    return table.X, table.y, table.feature_names, table.weight


def _warn(message: str) -> None:
    print(f"nbsoftmax: warning: {message}", file=sys.stderr)


@contextmanager
def _output(path: Path | None) -> Iterator[Any]:
    if path is None:
        yield sys.stdout
        return
    import io

    from nbsoftmax.files import whole_file

    with whole_file(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        yield text
        text.detach()  # flushes it, and leaves the file open
