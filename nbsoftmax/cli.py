"""The command line: `nbsoftmax demo | fit | cv | predict | evaluate | convert`.

Exit codes: 0 done; 2 the input is wrong (one line on stderr); 130 interrupted (a fit that has begun saves what it
has); 1 anything else. Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbsoftmax.model import SoftmaxModel
    from nbsoftmax.trainer import FitResult
    from nbsoftmax.watch import Iteration

DEMO_SEED = 0
DEMO_HELD_OUT = 0.25
DEMO_L2 = 1e-4


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    arguments = _parser().parse_args(argv)
    from nbsoftmax.check import InputError

    try:
        code: int = arguments.run(arguments)
    except (
        InputError,
        FileExistsError,
        FileNotFoundError,
        IsADirectoryError,
        NotADirectoryError,
        PermissionError,
    ) as error:
        print(f"nbsoftmax: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # outside a fit: there is nothing to save
        print("nbsoftmax: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        sys.stderr.close()
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nbsoftmax",
        description="Softmax regression: train, predict, evaluate, export.",
        epilog="Exit codes: 0 done, 2 wrong input, 130 interrupted (a fit saves what it has), 1 anything else.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="train on the UCI hand-written digits and show what came out")
    demo.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="folder for model and picture (default: .)"
    )
    demo.set_defaults(run=_demo)

    fit = commands.add_parser("fit", help="train a model and save it")
    fit.add_argument("data", type=Path, help="CSV with a header; .npz with arrays X and y; or .npy of features")
    fit.add_argument("--target", metavar="NAME", help="column of labels (CSV), or array of labels (.npz; default: y)")
    fit.add_argument("--labels", type=Path, metavar="FILE", help=".npy of labels, for .npy data")
    fit.add_argument("--out", type=Path, required=True, metavar="MODEL", help="where to save the model (.npz)")
    solvers = ["auto", "newton-cg", "newton", "lbfgs", "gd", "sgd", "prox-newton"]
    fit.add_argument("--solver", default="auto", choices=solvers)
    strength = fit.add_mutually_exclusive_group()
    strength.add_argument("--l2", type=float, default=0.0, help="penalty l2/2 ||coef||^2 on the mean loss (default: 0)")
    strength.add_argument("--C", type=float, help="the same as scikit-learn counts it: l2 = 1 / (C * n_samples)")
    fit.add_argument("--l1", type=float, default=0.0, help="penalty l1 ||coef||_1, which makes zeros (default: 0)")
    fit.add_argument("--grouped", action="store_true", help="l1 on each feature's weights together: whole features go")
    fit.add_argument("--tol", type=float, default=1e-6, help="relative distance to the minimum (default: 1e-6)")
    fit.add_argument("--max-iter", type=int)
    fit.add_argument("--max-seconds", type=float)
    fit.add_argument("--checkpoint", type=Path, metavar="FILE", help="where to keep what the fit needs to go on")
    fit.add_argument("--resume", action="store_true", help="go on from --checkpoint, if it is there")
    fit.add_argument("--learning-rate", type=float, help="fixed step, for --solver gd; the first, for sgd")
    fit.add_argument("--batch-size", type=int, help="samples in a mini-batch, for --solver sgd (default: 32)")
    fit.add_argument("--seed", type=int, help="of the order of the samples, for --solver sgd (default: 0)")
    fit.add_argument("--no-intercept", action="store_true")
    fit.add_argument("--label-smoothing", type=float, default=0.0)
    fit.add_argument("--class-weight", choices=["balanced"])
    fit.add_argument("--dtype", choices=["float32", "float64"])
    fit.add_argument("--threads", type=int)
    fit.add_argument("--quiet", action="store_true", help="no progress")
    fit.set_defaults(run=_fit)

    cv = commands.add_parser("cv", help="choose the strength of the penalty by cross-validation")
    cv.add_argument("data", type=Path, help="as for fit")
    cv.add_argument("--target", metavar="NAME", help="as for fit")
    cv.add_argument("--labels", type=Path, metavar="FILE", help=".npy of labels, for .npy data")
    cv.add_argument("--Cs", type=float, nargs="+", metavar="C", help="(default: 10 from 1e-4 to 1e4)")
    cv.add_argument("--folds", type=int, default=5, help="stratified (default: 5)")
    cv.add_argument("--l1-ratio", type=float, default=0.0)
    cv.add_argument("--class-weight", choices=["balanced"])
    cv.add_argument("--one-standard-error", action="store_true", help="save the smallest C that is as good as the best")
    cv.add_argument("--seed", type=int, default=0)
    cv.add_argument("--out", type=Path, metavar="MODEL", help="where to save the model fitted to all samples (.npz)")
    cv.set_defaults(run=_cv)

    predict = commands.add_parser("predict", help="write labels or probabilities as CSV")
    predict.add_argument("model", type=Path)
    predict.add_argument("data", type=Path, help="CSV with the model's columns, .npy, or .npz with an array X")
    predict.add_argument("--out", type=Path, metavar="FILE", help="CSV to write (default: standard output)")
    what = predict.add_mutually_exclusive_group()
    what.add_argument("--proba", action="store_true", help="a probability for each class beside the label")
    what.add_argument("--top-k", type=int, metavar="K", help="the K most probable labels with their probabilities")
    predict.set_defaults(run=_predict)

    evaluate = commands.add_parser("evaluate", help="accuracy, log-loss, precision and recall, confusion matrix")
    evaluate.add_argument("model", type=Path)
    evaluate.add_argument("data", type=Path)
    evaluate.add_argument("--target", metavar="NAME", help="column or array of labels")
    evaluate.add_argument("--labels", type=Path, metavar="FILE", help=".npy of labels, for .npy data")
    evaluate.set_defaults(run=_evaluate)

    convert = commands.add_parser("convert", help="write a model as ONNX, for other runtimes")
    convert.add_argument("model", type=Path)
    convert.add_argument("out", type=Path, metavar="OUT", help="ONNX file to write (.onnx)")
    convert.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    convert.set_defaults(run=_convert)
    return parser


# --- commands -----------------------------------------------------------------------------------


def _demo(arguments: argparse.Namespace) -> int:
    import numpy as np

    from nbsoftmax.data import digits
    from nbsoftmax.trainer import Trainer

    X, y = digits.load()
    X /= 16  # pixels from 0 to 1
    order = np.random.default_rng(DEMO_SEED).permutation(len(y))
    held_out, train = np.split(order, [round(DEMO_HELD_OUT * len(y))])
    arguments.out.mkdir(parents=True, exist_ok=True)
    print(
        f"UCI hand-written digits: {len(train)} to train on, {len(held_out)} held out; the first run compiles kernels."
    )
    with _progress(quiet=False) as show:
        result = Trainer(l2=DEMO_L2, callbacks=[show]).fit(X[train], y[train])
    _report(result)
    report = _scores(result.model, X[held_out], y[held_out])
    print(f"held-out accuracy: {report['accuracy']:.4f}")
    print(f"held-out log-loss: {report['log_loss']:.4f}")
    model_file = arguments.out / "digits-model.npz"
    result.model.save(model_file)
    print(f"model:   {model_file}")
    picture = arguments.out / "digits-model.png"
    try:
        from nbsoftmax.plots import save_digits_picture

        save_digits_picture(result, picture)
        print(f"picture: {picture}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        print('picture: none, matplotlib is not installed (pip install "nbsoftmax[plot]")')
    return _exit_code(result)


def _fit(arguments: argparse.Namespace) -> int:
    import warnings

    from nbsoftmax import check
    from nbsoftmax.trainer import ConvergenceWarning, Trainer

    if not arguments.out.absolute().parent.is_dir():  # before the work, not after it
        raise check.InputValueError(f"the folder of --out {arguments.out} does not exist; make it first.")
    if arguments.out.is_dir():
        raise check.InputValueError(f"--out {arguments.out} is a folder; name a file, for example model.npz in it.")
    X, y, names = _read(arguments, labels=True)
    l2 = arguments.l2
    if arguments.C is not None:
        l2 = 1 / (check.number("--C", arguments.C, low=0.0, low_open=True) * len(X))
    with _progress(quiet=arguments.quiet) as show:
        trainer = Trainer(
            solver=arguments.solver,
            l1=arguments.l1,
            l2=l2,
            grouped=arguments.grouped,
            tol=arguments.tol,
            max_iter=arguments.max_iter,
            max_seconds=arguments.max_seconds,
            learning_rate=arguments.learning_rate,
            batch_size=arguments.batch_size,
            random_state=arguments.seed,
            fit_intercept=not arguments.no_intercept,
            label_smoothing=arguments.label_smoothing,
            class_weight=arguments.class_weight,
            dtype=arguments.dtype,
            n_threads=arguments.threads,
            callbacks=[show],
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # `_report` says it
            result = trainer.fit(X, y, checkpoint=arguments.checkpoint, resume=arguments.resume)
    model = result.model
    if names is not None:
        model = type(model)(model.coef, model.intercept, model.classes, names)
    model.save(arguments.out)
    _report(result)
    print(f"model: {arguments.out}")
    return _exit_code(result)


def _cv(arguments: argparse.Namespace) -> int:
    import warnings

    import numpy as np

    from nbsoftmax.cross_validation import cross_validate, summary
    from nbsoftmax.trainer import ConvergenceWarning

    X, y, names = _read(arguments, labels=True)
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
        )
    mean, error = summary(found.log_loss)
    print(f"{'C':>10}   log-loss  std. error   accuracy")
    marked = {found.best: ["best"]}
    marked.setdefault(found.one_standard_error, []).append("one standard error")
    for i in np.argsort(found.Cs, kind="stable").tolist():
        numbers = f"{mean[i]:10.4f} {error[i]:11.4f} {found.accuracy[i].mean():10.4f}"
        line = f"{'(not fitted: hopeless)':>33}" if np.isnan(mean[i]) else numbers
        print(f"{found.Cs[i]:10.4g} {line}  {', '.join(marked.get(i, []))}".rstrip())
    _report(found.result)
    if arguments.out is not None:
        model = found.result.model
        type(model)(model.coef, model.intercept, model.classes, names).save(arguments.out)
        print(f"model: {arguments.out}")
    return 0


def _exit_code(result: FitResult) -> int:
    return 130 if result.reason == "interrupted" else 0


def _predict(arguments: argparse.Namespace) -> int:
    import csv

    from nbsoftmax.model import SoftmaxModel

    model = SoftmaxModel.load(arguments.model)
    arguments.target = arguments.labels = None
    X, _, _ = _read(arguments, labels=False, model=model)
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
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    from nbsoftmax.model import SoftmaxModel

    model = SoftmaxModel.load(arguments.model)
    X, y, _ = _read(arguments, labels=True, model=model)
    report = _scores(model, X, _as_classes(y, model.classes))
    print(f"samples:  {len(y)}")
    print(f"accuracy: {report['accuracy']:.4f}")
    print(f"log-loss: {report['log_loss']:.4f}")
    confusion = report["confusion"]
    names = [str(label) for label in model.classes.tolist()]
    width = max(9, *map(len, names))
    print(f"\n{'class':>{width}}  precision     recall    samples")
    for k, name in enumerate(names):
        right, predicted, actual = confusion[k, k], confusion[:, k].sum(), confusion[k].sum()
        shares = [f"{right / n:10.4f}" if n else f"{'-':>10}" for n in (predicted, actual)]
        print(f"{name:>{width}} {shares[0]} {shares[1]} {actual:10d}")
    cell = max(4, *map(len, names), len(str(confusion.max()))) + 1
    print("\nconfusion matrix (rows: true, columns: predicted)")
    print(" " * width + "".join(f"{name:>{cell}}" for name in names))
    for k, name in enumerate(names):
        print(f"{name:>{width}}" + "".join(f"{n:{cell}d}" for n in confusion[k]))
    return 0


def _convert(arguments: argparse.Namespace) -> int:
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
    print(f"ONNX: {arguments.out}")
    return 0


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

    codes, seen = check.labels(y, n_samples=len(check.some_samples(X)))
    truth = check.positions(seen, model.classes)[codes]
    logits = model.decision_function(X)
    predicted = logits.argmax(axis=1)
    confusion = np.zeros((model.n_classes, model.n_classes), np.int64)
    np.add.at(confusion, (truth, predicted), 1)
    return {
        "accuracy": float(np.mean(predicted == truth)),
        "log_loss": cross_entropy(logits, truth),
        "confusion": confusion,
    }


def _report(result: FitResult) -> None:
    state = "converged" if result.converged else f"NOT converged: {result.reason}"
    print(
        f"{state} after {result.n_iter} iterations and {result.seconds:.2f} s ({result.solver})\n"
        f"objective {result.objective:.8g}, gradient norm {result.grad_norm:.3g}, "
        f"distance to the minimum {result.gap:.3g} ({result.gap_kind})"
    )


# --- data in and out ------------------------------------------------------------------------------


def _read(
    arguments: argparse.Namespace, *, labels: bool, model: SoftmaxModel | None = None
) -> tuple[Any, Any, tuple[str, ...] | None]:
    """Features, labels and feature names from the file that the arguments name."""
    from nbsoftmax import check
    from nbsoftmax.data import arrays, csv

    kind = arguments.data.suffix.lower()
    if kind == ".npy":
        X = arrays.read_npy(arguments.data)
        if labels and arguments.labels is None:
            raise check.InputValueError(f"{arguments.data} has no labels; give them with --labels FILE.npy.")
        return X, arrays.read_npy(arguments.labels) if labels else None, None
    if arguments.labels is not None:
        raise check.InputValueError(f"--labels goes with .npy data, but {arguments.data} has its own; use --target.")
    if kind == ".npz":
        X, y = arrays.read_npz(arguments.data, target=(arguments.target or "y") if labels else None)
        return X, y, None
    if labels and arguments.target is None:
        raise check.InputValueError("name the column of labels with --target NAME.")
    features = None if model is None else model.feature_names
    table = csv.read(arguments.data, target=arguments.target, features=features)
    return table.X, table.y, table.feature_names


@contextmanager
def _output(path: Path | None) -> Iterator[Any]:
    if path is None:
        yield sys.stdout
        return
    with open(path, "w", newline="", encoding="utf-8") as file:
        yield file


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[Iteration], None]]:
    """A callback that shows each iteration: a live line on a terminal with rich, plain lines now and then otherwise."""
    if quiet:
        yield lambda now: None
        return
    if sys.stderr.isatty():
        try:
            from rich.console import Console
            from rich.progress import Progress, SpinnerColumn, TextColumn
        except ModuleNotFoundError:
            pass
        else:
            columns = (SpinnerColumn(), TextColumn("{task.description}"))
            with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
                task = progress.add_task("compiling kernels")
                yield lambda now: progress.update(task, description=_line(now))
            return
    shown = 0.0

    def show(now: Iteration) -> None:
        nonlocal shown
        if now.iteration == 1 or now.seconds >= shown + 1:
            shown = now.seconds
            print(_line(now), file=sys.stderr, flush=True)

    yield show


def _line(now: Iteration) -> str:
    return (
        f"iteration {now.iteration:5d}  objective {now.objective:.8g}  gradient norm {now.grad_norm:.3g}  "
        f"{now.seconds:.1f} s"
    )
