"""Options of the command line from a TOML file with a table for each command."""

from __future__ import annotations

import argparse
import difflib
import reprlib
import tomllib
from collections.abc import Collection, Mapping
from typing import Any


class OptionsError(Exception):
    """The options are wrong; the message says why."""


def with_config(commands: Mapping[str, argparse.ArgumentParser], argv: list[str]) -> list[str]:
    """Add the options from the command's table in the file given by --config, except those that `argv` overrides.

    Raises
    ------
    OptionsError
        If the file is not TOML, a table is not a command, an entry is not an option of its command or has the wrong
        type, or an option is given twice.
    """
    _refuse_nul(argv)
    end = argv.index("--") if "--" in argv else len(argv)
    words, paths = _without_config(argv[:end])
    rest = words + argv[end:]
    command = commands.get(rest[0]) if rest else None
    given = {} if command is None else _given(command, words)
    if len(paths) > 1:
        raise OptionsError(f"--config is given twice ({paths[0]} and {paths[1]}); give it once.")
    if not paths:
        return argv
    tables = _tables(paths[0])
    added: list[str] = []
    for table, entries in tables.items():
        where = f"--config {paths[0]}"
        if not isinstance(entries, dict):
            raise OptionsError(f"{where} has {table!r} outside of a table; put it under [fit], for example.")
        if table not in commands:
            raise OptionsError(f"{where} has the table [{table}], which is not a command{_close(table, commands)}.")
        actions = _settable(commands[table])
        seen: set[str] = set()
        for key, value in entries.items():
            name = key.replace("-", "_")
            if name not in actions:
                raise OptionsError(
                    f"{where} has {key!r} in [{table}], which is not an option of it{_close(name, actions)}; "
                    f"see nbsoftmax {table} --help."
                )
            if name in seen:
                raise OptionsError(f"{where} has {key!r} twice in [{table}], with - and with _; give it once.")
            seen.add(name)
            words = _as_words(actions[name], value, f"{where} has {key} = {reprlib.repr(value)} in [{table}]")
            if commands[table] is command and not given.keys() & _rivals(command, actions[name]):
                added += words
    _refuse_nul(added)
    # The last option ends a list such as that of --Cs, which would otherwise continue with the words after it.
    return [*rest[:1], *added, f"--config={paths[0]}", *rest[1:]]


def _refuse_nul(words: list[str]) -> None:
    for word in words:
        if "\0" in word:
            raise OptionsError(f"the argument {word!r} contains a NUL character, which a file name cannot contain.")


def _without_config(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the words without --config, and the files it names; a --config without a file is left for the parser."""
    rest: list[str] = []
    paths: list[str] = []
    i = 0
    while i < len(words):
        if words[i] == "--config" and i + 1 < len(words):
            i += 1
            paths.append(words[i])
        elif words[i].startswith("--config="):
            paths.append(words[i].removeprefix("--config="))
        else:
            rest.append(words[i])
        i += 1
    return rest, paths


def _given(command: argparse.ArgumentParser, words: list[str]) -> dict[str, str]:
    """Return the options among the words by the names of their values; raise an error if one is given twice."""
    given: dict[str, str] = {}
    for word in words:
        option = word.partition("=")[0]
        action = command._option_string_actions.get(option)
        if action is None:
            continue
        if action.dest in given and not isinstance(action, argparse._AppendAction):
            raise OptionsError(f"{option} is given twice; give it once.")
        given[action.dest] = option
    return given


def _tables(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise OptionsError(f"--config {path} cannot be read ({error.strerror}).") from None
    except (
        ValueError,
        RecursionError,
    ) as error:  # a number may be too long, or nesting too deep
        raise OptionsError(f"--config {path} is not valid TOML ({error}).") from None


def _settable(command: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    return {
        action.dest: action
        for action in command._actions
        if action.option_strings and action.dest not in {"help", "config"}
    }


def _rivals(command: argparse.ArgumentParser, action: argparse.Action) -> set[str]:
    """Return the options on the command line that override one of the file: the same one, and those that exclude it."""
    groups = [group._group_actions for group in command._mutually_exclusive_groups]
    return {action.dest} | {other.dest for group in groups if action in group for other in group}


def _as_words(action: argparse.Action, value: Any, has: str) -> list[str]:
    """Return an entry as words of the command line; `has` begins the message of an error."""
    option = action.option_strings[0]
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise OptionsError(f"{has}, expected true or false.")
        return [option] if value else []
    pair = action.nargs == 2
    several = pair or action.nargs == "+" or isinstance(action, argparse._AppendAction)
    values = value if several and isinstance(value, list) else [value]
    kinds: tuple[type, ...] = {float: (int, float), int: (int,)}.get(action.type, (str, int))  # type: ignore[call-overload]
    expected, plural = {float: ("a number", "numbers"), int: ("a whole number", "whole numbers")}.get(
        action.type,  # type: ignore[call-overload]
        ("text", "texts"),
    )
    if not values or any(isinstance(entry, bool) or not isinstance(entry, kinds) for entry in values):
        listed = f"a list of 2 {plural}" if pair else f"{expected} or a list of {plural}" if several else expected
        raise OptionsError(f"{has}, expected {listed}.")
    if pair and len(values) != 2:
        raise OptionsError(f"{has}, expected a list of 2 {plural}.")
    if action.choices is not None and value not in action.choices:
        raise OptionsError(f"{has}, expected one of {', '.join(map(repr, action.choices))}.")
    return [option, *map(str, values)] if action.nargs in ("+", 2) else [f"{option}={entry}" for entry in values]


def _close(name: str, names: Collection[str]) -> str:
    found = difflib.get_close_matches(name, list(names), 1)
    return f" (did you mean {found[0]!r}?)" if found else ""
