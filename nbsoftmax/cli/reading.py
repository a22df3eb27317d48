"""Where commands read their input: samples from files of all formats or standard input, and models."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from nbsoftmax.cli.offsets import check_order
from nbsoftmax.cli.options import COLUMNS, ENCODING, TEXT, columns_named, names_in
from nbsoftmax.cli.output import warn
from nbsoftmax.cli.reading_progress import ReadingProgress
from nbsoftmax.cli.several import refuse_several
from nbsoftmax.errors import InputError, InputValueError, counted, plain

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from nbsoftmax.data.columnar import ColumnarFile
    from nbsoftmax.data.dialect import TextOptions
    from nbsoftmax.data.source import Source
    from nbsoftmax.data.tables import Request
    from nbsoftmax.data.text import TextFile
    from nbsoftmax.encoding import AnyEncoding, Column, TableOptions
    from nbsoftmax.models.softmax import SoftmaxModel


ZERO_BASED = "svmlight_zero_based"  # in the metadata of a model: whether the features were numbered from 0


class Data(NamedTuple):
    """Samples as they were read; None for what was not read or is not in the file."""

    X: Any  # (n_samples, n_features)
    y: Any = None  # (n_samples,)
    feature_names: tuple[str, ...] | None = None
    sample_weight: Any = None  # (n_samples,)
    offset: Any = None  # (n_samples, n_offsets)
    encoding: AnyEncoding | None = None
    zero_based: bool | None = None  # whether the features of an svmlight file are numbered from 0
    columns: dict[str, Column] | None = None  # from which an encoding has made X
    groups: Any = None  # (n_samples,), the column of --cluster


class Trained(Protocol):
    """What samples are read for: a model, or the problem of a fit."""

    @property
    def n_features(self) -> int: ...  # noqa: D102
    @property
    def feature_names(self) -> tuple[str, ...] | None: ...  # noqa: D102
    @property
    def classes(self) -> Any: ...  # noqa: D102
    @property
    def encoding(self) -> AnyEncoding | None: ...  # noqa: D102


def read_data(
    arguments: argparse.Namespace, *, labels: bool, model: Trained | None = None, zero_based: bool | None = None
) -> Data:
    """Read the samples that the arguments name.

    Parameters
    ----------
    arguments : argparse.Namespace
        With `data`, `drop`, `zero_based` and the options of text; with `target` and `labels` if labels are read;
        `sample_weight` if the command has it.
    labels : bool
        Whether labels are read, too.
    model : SoftmaxModel or Problem, optional
        What the samples are for: a file of columns is read by its feature names, or those that its encoding needs.
    zero_based : bool, optional
        Whether the features of an svmlight file are numbered from 0; by default as those of the model.
    """
    from nbsoftmax.data import source

    refuse_several(arguments.data)
    with (
        ReadingProgress(arguments) as progress,
        source.opened(arguments.data, progress) as data,
        source.recognised(data, progress) as (content, kind),
    ):
        check_options(arguments, data.name, kind, labels=labels)
        return read_content(arguments, content, kind, labels=labels, model=model, zero_based=zero_based)


def read_content(
    arguments: argparse.Namespace,
    content: Source,
    kind: str,
    *,
    labels: bool,
    model: Trained | None,
    zero_based: bool | None = None,
) -> Data:
    """Read the samples of a source whose format is known; the parameters are those of `read_data`."""
    if kind in {"npy", "sparse npz"}:
        return _read_features(arguments, content, kind, labels)
    if kind == "svmlight":
        return _read_svmlight(arguments, content, labels, model, zero_based)
    if kind == "npz":
        return _read_npz(arguments, content, labels)
    return _read_table(arguments, content, kind, labels, model)


def read_model(path: Path, data: Path | None = None) -> SoftmaxModel:
    """Read a model. If `data` is the model instead, the error says that the two are in the wrong order."""
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
        raise InputValueError(f"{data} is a model and {path} is not; give the model first, then the data.") from None


def with_numbering(model: SoftmaxModel, zero_based: bool | None) -> SoftmaxModel:
    """The model of a fit, which knows whether the features of its svmlight file are numbered from 0."""
    if zero_based is None:
        return model
    return replace(model, training={**(model.training or {}), ZERO_BASED: zero_based})


def as_classes(y: Any, classes: Any, *, name: str = "y") -> Any:
    """Return labels read from a file as the model's classes with the same text; an error calls them `name`.

    A text file does not contain the type of its labels: if those of a part of the data are all digits, they are read as
    integers, although the classes of the whole data are text.
    """
    from nbsoftmax import validation

    known, given = classes.tolist(), y.tolist()
    place = {label: k for k, label in enumerate(known)}
    number = {text: place[label] for text, label in validation.by_text(known).items()}
    found = [number.get(str(label)) for label in given]
    if None not in found:
        return classes[found]
    odd = given[found.index(None)]
    if type(odd) is not type(known[0]) and any(k is not None for k in found):
        raise validation.unknown_label(odd, known, name=name)
    return y  # `validation.codes_of` reports the label


def weights_of(arguments: argparse.Namespace) -> str | None:
    """Return the column, array or file of sample weights, if the command takes one and it is given."""
    name: str | None = getattr(arguments, "sample_weight", None)
    return name


def require_labels(arguments: argparse.Namespace, name: str) -> None:
    """Refuse a file of features alone, if no file of labels is given."""
    if arguments.labels is None:
        raise InputValueError(f"{name} has no labels; give them with --labels FILE.npy.")


def _read_features(arguments: argparse.Namespace, data: Source, kind: str, labels: bool) -> Data:
    """Read features from one .npy file, or .npz file of scipy.sparse, and labels and weights from other .npy files."""
    from nbsoftmax.data import arrays, source, sparse

    X = arrays.read_npy(data) if kind == "npy" else sparse.read_npz(data)
    if labels:
        require_labels(arguments, data.name)
    weights = weights_of(arguments)
    inputs = [str(arguments.data), str(arguments.labels) if labels else None, weights]
    if inputs.count(source.STDIN) > 1:
        raise InputValueError("- is given for two inputs, but standard input holds one; give files.")
    sample_weight = None if weights is None else arrays.read_npy(weights)
    return Data(X, arrays.read_npy(arguments.labels) if labels else None, None, sample_weight)


def _read_svmlight(
    arguments: argparse.Namespace, data: Source, labels: bool, model: Trained | None, zero_based: bool | None
) -> Data:
    """Read features and labels from an svmlight file, and weights from a .npy file."""
    from nbsoftmax.data import arrays, sparse

    for option in ("target", "labels"):
        if labels and getattr(arguments, option) is not None:
            raise InputValueError(f"{data.name} is an svmlight file, whose lines begin with the labels: no --{option}.")
    n_features = None if model is None else model.n_features
    if zero_based is None:
        zero_based = (getattr(model, "training", None) or {}).get(ZERO_BASED)
    if arguments.zero_based:
        zero_based = True
    X, y, begins_at_0 = sparse.read_svmlight(data, n_features=n_features, zero_based=zero_based)
    weights = weights_of(arguments)
    weight = None if weights is None else arrays.read_npy(weights)
    return Data(X, y if labels else None, None, weight, zero_based=begins_at_0)


def _read_npz(arguments: argparse.Namespace, data: Source, labels: bool) -> Data:
    """Read features, labels and weights from the arrays of a .npz file."""
    from nbsoftmax.data import arrays

    target = (arguments.target or "y") if labels else None
    X, y, sample_weight = arrays.read_npz(data, target=target, weight=weights_of(arguments))
    return Data(X, y, None, sample_weight)


def check_options(arguments: argparse.Namespace, name: str, kind: str, *, labels: bool) -> None:
    """Raise an error if an option is given that data of this kind do not have."""
    from nbsoftmax.data import source

    for option in (*COLUMNS, "cluster", *ENCODING) if kind not in source.TABLES else ():
        if getattr(arguments, option, None) not in (None, False, [], "error"):
            shown = option.replace("_", "-")
            raise InputValueError(
                f"--{shown} is for columns of files such as CSV and Parquet, but {name} holds arrays."
            )
    if kind != "text":
        for option in TEXT:
            if getattr(arguments, option) is not None:
                raise InputValueError(f"--{option} is for text such as CSV, but {name} is not text; leave it out.")
    if labels and kind in {"npz", *source.TABLES} and arguments.labels is not None:
        raise InputValueError(f"--labels is for .npy data, but {name} contains its own labels; use --target.")
    if labels and kind in {"npy", "sparse npz"} and arguments.target is not None:
        raise InputValueError(f"--target names a column or an array, but {name} has none; use --labels FILE.npy.")
    if kind != "svmlight" and getattr(arguments, "zero_based", None):
        raise InputValueError(f"--zero-based is for svmlight files, and {name} is none; leave it out.")


def _read_table(arguments: argparse.Namespace, data: Source, kind: str, labels: bool, model: Trained | None) -> Data:
    """Read features, labels and weights from the columns of a text, Parquet or Arrow file."""
    from nbsoftmax.data import encoded_tables, tables

    file, request = table_of(arguments, data, kind, labels=labels, model=model)
    if model is None:
        options, formula = table_options(arguments, file.columns), getattr(arguments, "formula", None)
        with shown_warnings():
            if formula is None:
                found = encoded_tables.read_any(file, request, options)
            else:
                found = encoded_tables.read_formula(file, request, formula, options)
        warn_of_row_counters(found.row_counters, file.columns, request, formula=formula is not None)
        for name in found.suspects:
            warn(
                f"the column {name!r}, which only numbers the rows, is used as a feature; --drop {shlex.quote(name)} "
                "leaves it out."
            )
    elif (encoding := encoded_tables.encoding_for_file(file, model.encoding, model.feature_names)) is None:
        found = encoded_tables.EncodedTable(tables.read(file, request))
    else:
        found = encoded_tables.read_encoded(file, request, encoding)
        warn_of_unknown(found.unknown)
    groups = None if request.group is None else encoded_tables.groups(file, request.group, found.kept)
    warn_of_dropped(found.n_dropped)
    table = found.table
    check_order(request.offset, model, table.y)
    given = table.X, table.y, table.feature_names, table.weight, table.offset, found.encoding
    return Data(*given, columns=found.columns, groups=groups)


def warn_of_row_counters(
    names: tuple[str, ...], columns: tuple[str, ...], request: Request, *, formula: bool = False
) -> None:
    """Warn of columns that are left out, because they only number the rows or have no name."""
    unnamed = ("",) if "" in columns and request.features is None and "" not in request.names else ()
    for name in (*unnamed, *names):
        what = f"the column {name!r}, which only numbers the rows," if name else "a column without a name"
        if not name:
            to_use = "name it in the header"
        elif formula:
            to_use = "name it in the formula to use it"
        else:
            to_use = f"--features {shlex.quote(name)}, with the others, uses it"
        warn(f"{what} is left out; {to_use}.")


@contextmanager
def shown_warnings() -> Iterator[None]:
    """Show warnings as lines of the command."""
    import warnings

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for one in caught:
        warn(str(one.message))


def warn_of_dropped(n: int) -> None:
    """Warn of rows that are left out."""
    if n:
        warn(f"{counted(n, 'row')} with missing values left out.")


def warn_of_unknown(unknown: Any) -> None:
    """Warn of levels that the model does not know."""
    from nbsoftmax.encoding.reports import unknown_message

    if unknown:
        warn(unknown_message(unknown))


def table_options(arguments: argparse.Namespace, columns: Sequence[str]) -> TableOptions:
    """What the options say of columns that are not numbers."""
    from nbsoftmax.encoding import TableOptions

    return TableOptions(
        categorical=columns_named(arguments.categorical, columns),
        missing=arguments.missing,
        indicators=arguments.indicators,
        dates=arguments.dates,
        drop_first=arguments.drop_first,
    )


def table_of(
    arguments: argparse.Namespace, data: Source, kind: str, *, labels: bool, model: Trained | None = None
) -> tuple[TextFile | ColumnarFile, Request]:
    """Open a file of columns, and say which of them are wanted; the parameters are those of `read_data`."""
    from nbsoftmax.data import tables
    from nbsoftmax.validation import first_repeated

    with suppress(ImportError):
        import pandas  # noqa: F401  pyarrow imports it within a call in which a Ctrl-C would be lost
    target, weight = _target(arguments, model) if labels else None, weights_of(arguments)
    given = {option: getattr(arguments, option, None) or () for option in COLUMNS}
    wanted = {name for values in given.values() for name in columns_named(values, ())}
    group = getattr(arguments, "cluster", None)
    wanted |= {name for name in (target, weight, group) if name is not None}
    if model is not None:
        trained = model.feature_names if model.encoding is None else model.encoding.columns
        wanted |= set(trained or ())
    file = tables.file_of(data, kind, text_options(arguments), wanted)
    named = {option: columns_named(values, file.columns) for option, values in given.items()}
    named["id"] = columns_named(given["id"], ())  # as in the header of the output
    twice = first_repeated(names_in(given["offset"], file.columns))
    if twice is not None:
        raise InputValueError(f"--offset names {plain(twice)} twice; give one column for each class.")
    request = tables.Request(
        target=target,
        features=(named["features"] or None) if model is None else trained,
        weight=weight,
        group=group,
        offset=named["offset"],
        keep=named["id"],
        drop=named["drop"],
        chosen=model is None,
        labels=() if model is None else {str(label) for label in model.classes.tolist()},
        columns=getattr(arguments, "column_effects", False),
    )
    if labels and request.target is None:
        raise InputValueError(
            f"name the column of labels with --target NAME; the columns of {data.name} are "
            f"{tables.listed(file.columns)}."
        )
    return file, request


def _target(arguments: argparse.Namespace, model: Trained | None) -> str | None:
    """The column of labels: that of --target, of --formula or of the formula of a model."""
    from nbsoftmax.encoding import FormulaEncoding
    from nbsoftmax.encoding.formula.library import response_of

    target: str | None = arguments.target
    if getattr(arguments, "formula", None) is not None:
        if arguments.features is not None:
            raise InputValueError("--formula and --features both name the features; give one of them.")
        response = response_of(arguments.formula)
        if target not in (None, response):
            raise InputValueError(f"--target is {target!r}, but the formula has the classes {response!r}; give one.")
        return response
    if target is None and model is not None and isinstance(model.encoding, FormulaEncoding):
        return model.encoding.response
    return target


def has_intercept(encoding: AnyEncoding | None) -> bool:
    """Whether a model with this encoding has an intercept: without a formula that says otherwise, it has."""
    from nbsoftmax.encoding import FormulaEncoding

    return encoding.intercept if isinstance(encoding, FormulaEncoding) else True


def text_options(arguments: argparse.Namespace) -> TextOptions:
    """Return what the options say of a text file."""
    from nbsoftmax.data.dialect import TextOptions

    given = {option: getattr(arguments, option) for option in TEXT}
    null = given.pop("null")
    return TextOptions(**given, null=None if null is None else tuple(null))
