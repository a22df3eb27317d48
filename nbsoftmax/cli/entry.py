"""The entry point of the command line: run one command, and turn its errors into a message and an exit code.

Exit codes: 0 done; 2 the input is wrong (one line on stderr); 130 interrupted (a fit saves its current model beside
--out, as m.partial.npz); 143 ended by SIGTERM (no unfinished file stays); 1 any other failure, such as a full disk, or
a fit that has not converged (its model is written).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from importlib import import_module
from typing import TYPE_CHECKING

from nbsoftmax.cli.config import OptionsError, with_config
from nbsoftmax.cli.parser import build_parser
from nbsoftmax.errors import InputError
from nbsoftmax.training.signals import removed_on_termination

if TYPE_CHECKING:
    import argparse

# Errors of the system about a file that the user named.
WRONG_FILE = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
# Options whose names are not those of the parameters that they set.
RENAMED = {"n_threads": "threads", "validation_fraction": "validation", "random_state": "seed"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    stdout_is_closed = sys.stdout is None
    with _no_closed_streams(), removed_on_termination():
        return _run(sys.argv[1:] if argv is None else list(argv), stdout_is_closed)


def _run(argv: list[str], stdout_is_closed: bool) -> int:
    parser, commands = build_parser()
    if not argv:
        parser.print_help()
        return 0
    try:
        arguments = parser.parse_args(with_config(commands, argv))
        if stdout_is_closed and arguments.command == "predict" and arguments.out is None:
            raise OptionsError("standard output is closed; write to --out FILE.")
        import_module("nbsoftmax.validation")  # NumPy and Numba, which may be missing or have wrong settings
    except (OptionsError, InputError, ImportError) as error:
        print(f"nbsoftmax: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("nbsoftmax: interrupted", file=sys.stderr)
        return 130
    return _attempt(arguments, commands[arguments.command])


def _attempt(arguments: argparse.Namespace, command: argparse.ArgumentParser) -> int:
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has closed it, as `head` does
        _discard_unwritable_output()
        return 1
    except (InputError, KeyboardInterrupt, MemoryError, OSError, ImportError) as error:  # an extra may be missing
        message, code = _failure(error, command)
        print(f"nbsoftmax: {message}", file=sys.stderr)
        _discard_unwritable_output()
    return code


def _failure(error: BaseException, command: argparse.ArgumentParser) -> tuple[str, int]:
    """Return the message and the exit code of an error."""
    from nbsoftmax.files import one_line

    if isinstance(error, InputError):
        return _by_option(one_line(error, longest=2000), error.parameter, command), 2
    if isinstance(error, KeyboardInterrupt):  # outside a fit: there is nothing to save
        return "interrupted", 130
    if isinstance(error, MemoryError):
        return f"there is not enough memory ({str(error) or 'none is left'})", 1
    return one_line(error, longest=2000), 2 if isinstance(error, WRONG_FILE) else 1


def _by_option(message: str, parameter: str | None, command: argparse.ArgumentParser) -> str:
    """Name the option of the command that sets a parameter, in the place of it if the message begins with it."""
    if parameter is None:
        return message
    option = f"--{RENAMED.get(parameter, parameter).replace('_', '-')}"
    if option not in command._option_string_actions:
        return message
    return option + message.removeprefix(parameter) if message.startswith(parameter) else f"{option}: {message}"


@contextmanager
def _no_closed_streams() -> Iterator[None]:
    """Replace standard output and standard error by /dev/null where the process was started without them."""
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        redirect_stdout(sys.stdout or nowhere),
        redirect_stderr(sys.stderr or nowhere),
    ):
        yield


def _discard_unwritable_output() -> None:
    """Discard the rest of standard output if it cannot be written; Python would print another error at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):  # an object in the place of standard output may have no file
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
