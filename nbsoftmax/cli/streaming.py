"""`fit --stream`: files whose rows are read block by block in every pass, since they do not fit in memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsoftmax.cli.reading import (
    check_options,
    require_labels,
    shown_warnings,
    table_of,
    table_options,
    text_options,
    warn_of_row_counters,
    weights_of,
)
from nbsoftmax.cli.several import add_more, is_several
from nbsoftmax.errors import InputValueError, NoRowsError, listed

if TYPE_CHECKING:
    import argparse

    from nbsoftmax.data.block_source import BlockSource
    from nbsoftmax.data.dialect import TextFormat
    from nbsoftmax.data.tables import Request
    from nbsoftmax.models.softmax import SoftmaxModel
    from nbsoftmax.problem import ProblemInParts


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of data that are read block by block."""
    add_more(command, "more files of the same columns, read with --stream")
    group = command.add_argument_group("data larger than memory: Parquet, Arrow, CSV and .npy")
    add = group.add_argument
    add(
        "--stream",
        action="store_true",
        help="read DATA block by block in every pass; implied by several files, a folder, a pattern such as "
        "'train/*.parquet', and a Parquet or Arrow file larger than half of the memory",
    )
    add("--cache", type=Path, metavar="DIR", help="folder for a copy of the rows that needs no decoding")
    add("--batch-rows", type=int, metavar="N", help="rows of a block (default: as many as fit in 32 MiB)")


def is_streamed(arguments: argparse.Namespace) -> bool:
    """Whether the rows are read block by block; says so on standard error if no option asks for it."""
    if arguments.stream or arguments.more or is_several(arguments.data):
        return True
    for name in ("cache", "batch_rows"):
        if getattr(arguments, name) is not None:
            raise InputValueError(f"--{name.replace('_', '-')} is for data that are read block by block; add --stream.")
    if not _is_large(arguments.data):
        return False
    if not arguments.quiet:
        print(
            f"nbsoftmax: {arguments.data} takes more than half of the memory, so it is read block by block.",
            file=sys.stderr,
        )
    return True


def streamed_problem(arguments: argparse.Namespace, callbacks: Sequence[Any]) -> ProblemInParts:
    """The problem of the rows, after one pass over them, with validation data if they are given."""
    from nbsoftmax.problem import ProblemInParts
    from nbsoftmax.training.hooks import report_rows

    if arguments.firth:
        raise InputValueError(
            "--firth needs all rows in memory, but these are read block by block; give one file, without --stream."
        )
    if arguments.validation is not None:
        raise InputValueError(
            "--validation draws samples from rows in memory, but these are read block by block; give a file of "
            "other samples with --validation-data FILE."
        )
    refuse_formula(arguments)
    paths = [arguments.data, *arguments.more]
    source = opened_source(arguments, paths, cache=arguments.cache)
    problem = ProblemInParts.from_blocks(
        source,
        class_weight=arguments.class_weight,
        label_smoothing=arguments.label_smoothing,
        dtype=arguments.dtype,
        device=arguments.device,
        on_rows=partial(report_rows, callbacks),
    )
    if arguments.validation_data is None:
        return problem
    of_fit: dict[str, Any] = {"names": source.feature_names, "table": source.encoding, "classes": problem.classes}
    held_out = opened_source(arguments, [arguments.validation_data], **of_fit)
    return problem.with_validation_data(held_out)


def with_whole_labels(model: SoftmaxModel) -> SoftmaxModel:
    """The model with integers for labels that are whole floats, as files that are read at once have them."""
    return replace(model, classes=model.classes.astype("int64")) if model.classes.dtype.kind == "f" else model


def refuse_formula(arguments: argparse.Namespace) -> None:
    """Raise an error for --formula with rows that are read block by block."""
    if arguments.formula is not None:
        raise InputValueError(
            "--formula needs all rows in memory, for levels, means and knots, but these rows are read block by block; "
            "give one file without --stream, such as a sample of the rows, or --features and --target in the place of "
            "the formula."
        )


def opened_source(
    arguments: argparse.Namespace,
    paths: list[Path],
    *,
    cache: Path | None = None,
    names: Sequence[str] | None = None,
    table: Any = None,
    classes: Any = None,
) -> BlockSource:
    """Open files by the format, and the columns, of the first one.

    `names` are the features of a fit, `table` is its encoding and `classes` its classes, if these are known.
    """
    from nbsoftmax.data import source
    from nbsoftmax.data.named_files import files_of

    if any(str(path) == source.STDIN for path in paths):
        raise InputValueError("standard input can be read only once, but --stream reads in every pass; name a file.")
    files = files_of(paths)
    opened = partial(_opened, arguments, files, cache=cache, names=names, table=table, classes=classes)
    for file in files[:-1]:
        with suppress(NoRowsError):  # some programs write files without rows
            return opened(file)
    return opened(files[-1])


def _opened(
    arguments: argparse.Namespace,
    files: list[str],
    first_file: str,
    *,
    cache: Path | None,
    names: Sequence[str] | None,
    table: Any,
    classes: Any,
) -> BlockSource:
    """Open files by the format, and the columns, of this one, which must have rows."""
    from nbsoftmax.data import open_files, source
    from nbsoftmax.data.text import TextFile

    options: dict[str, Any] = {"batch_rows": getattr(arguments, "batch_rows", None), "cache": cache}
    with source.opened(Path(first_file)) as first, source.recognised(first) as (content, kind):
        check_options(arguments, first.name, kind, labels=True)
        if kind == "npy":
            _check_npy(arguments, first.name, cache)
            beside = {"target": arguments.labels, "weight": weights_of(arguments)}
            return open_files.open(files, format=kind, **beside, **options)
        if kind not in {"parquet", "arrow", "text"}:
            raise InputValueError(
                f"{first.name} cannot be read block by block ({kind}); give Parquet, Arrow, CSV or .npy files, or "
                "leave out --stream."
            )
        file, request = table_of(arguments, content, kind, labels=True)
        if names is None:
            names, counters = _features(file, request)
            warn_of_row_counters(counters, file.columns, request)
        elif table is not None:
            names = table.columns
        options["table"] = table or table_options(arguments, file.columns)
        options["format"] = kind
        expected = file.format if isinstance(file, TextFile) else None
        if expected is not None:
            options["format"] = _csv_format(expected)
        for path in files:
            if path != first_file:
                _check_form(arguments, path, first.name, kind, expected)
    beside = {"weight": request.weight, "offset": list(request.offset) or None, "classes": classes}
    with shown_warnings():
        return open_files.open(files, target=request.target, features=list(names or ()), **beside, **options)


def _check_npy(arguments: argparse.Namespace, name: str, cache: Path | None) -> None:
    """Refuse options that `.npy` files do not have."""
    require_labels(arguments, name)
    if getattr(arguments, "validation_data", None) is not None:
        raise InputValueError("--validation-data is for files of columns, which have their own labels.")
    if cache is not None:
        raise InputValueError("--cache is for files that must be decoded; .npy files are mapped: leave it out.")


def _check_form(arguments: argparse.Namespace, path: str, first: str, kind: str, expected: TextFormat | None) -> None:
    """Refuse a file of another kind, or a text file with another header, than the first one, which says how to read."""
    from nbsoftmax.data import source
    from nbsoftmax.data.arrow import NAMES
    from nbsoftmax.data.text import TextFile

    with source.opened(Path(path)) as data, source.recognised(data) as (content, own):
        if own != kind:
            ours, theirs = (NAMES.get(one, f"of the format {one}") for one in (own, kind))
            raise InputValueError(f"{data.name} is {ours}, but {first} is {theirs}; give files of one format.")
        if expected is None:
            return
        found = TextFile(content, text_options(arguments), set()).format
        if found.columns != expected.columns or found.n_header_lines != expected.n_header_lines:
            raise InputValueError(
                f"{data.name} has the columns {listed(found.columns)}, but {first} has {listed(expected.columns)}; "
                "give files with the same header, in the same order."
            )
        if found.separator != expected.separator and len(found.columns) > 1:
            raise InputValueError(
                f"{data.name} has the separator {found.separator!r}, but {first} has {expected.separator!r}; give the "
                "files one form."
            )


def _features(file: Any, request: Request) -> tuple[list[str], tuple[str, ...]]:
    """The features, without the columns that count the rows in the first batch, unless the request names them."""
    from nbsoftmax.data import encoded_tables, tables

    names = tables.columns_to_read(file, request)[0]
    if request.features is not None:
        return list(names), ()

    def counters(texts: set[str]) -> tuple[str, ...]:
        numbers = [name for name in names if name not in texts]
        return file.read(numbers, [], _counters) if numbers else ()

    found = encoded_tables.retried(set(file.not_numbers(names)), names, counters)
    left = [name for name in names if name not in found]
    return (left, found) if left else (list(names), ())


def _counters(batches: Iterator[Any]) -> tuple[str, ...]:
    """The columns of numbers that count the rows in the first batch."""
    from nbsoftmax.data.encoded_tables import counts_rows
    from nbsoftmax.validation.arrow_tables import floats_of

    first = next(batches)
    return tuple(name for name in first.schema.names if counts_rows(floats_of(first.column(name))))


def _csv_format(found: Any) -> Any:
    """The format of pyarrow's datasets that a `TextFormat` stands for."""
    from pyarrow import csv, dataset

    read, parse, convert = found.arrow_options({})
    missing = csv.ConvertOptions(
        null_values=convert.null_values, strings_can_be_null=True, decimal_point=convert.decimal_point
    )
    return dataset.CsvFileFormat(parse, convert_options=missing, read_options=read)


def _is_large(path: Path) -> bool:
    """Whether the columns of a Parquet or Arrow file take more than half of the memory of this machine."""
    from nbsoftmax.validation.size import machine_memory

    memory = machine_memory()
    try:
        if memory is None or not path.is_file():
            return False
        with open(path, "rb") as file:
            head = file.read(6)
    except (ValueError, OSError):  # the reader says what is wrong with a file
        return False
    size = path.stat().st_size if head.startswith((b"ARROW1", b"PAR1")) else 0
    if head.startswith(b"PAR1"):
        size = max(size, _decoded_size(path))
    return size > memory / 2


def _decoded_size(path: Path) -> int:
    """Bytes of all numbers of a Parquet file; 0 if it cannot be read."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return 0
    try:
        found = parquet.read_metadata(path)
    except (OSError, pyarrow.ArrowException):
        return 0
    return 8 * int(found.num_rows) * int(found.num_columns)
