"""The options of the command line as a page of the site, from the parser of the command line itself."""

import argparse

from mkdocs.structure.files import File

from nbsoftmax.cli.parser import COMMANDS, DESCRIPTION, EPILOG, build_parser

INTRODUCTION = f"""\
# The commands and their options

{DESCRIPTION} [The command line](../command-line.md) explains data, files and exit codes.

{EPILOG}

"""


def on_files(files, config):
    """Add the page."""
    files.append(File.generated(config, "reference/command-line.md", content=page()))
    return files


def page():
    """The page in Markdown."""
    parsers = build_parser()[1]
    return INTRODUCTION + "".join(section(parsers[name], what) for name, what, *_ in COMMANDS)


def section(parser, what):
    """A command: what it does, how it is called, and tables of its arguments."""
    groups = "".join(table(group) for group in parser._action_groups if group._group_actions)
    does = sentence(parser.description or what)
    return f"## {parser.prog}\n\n{does}\n\n```text\n{parser.format_usage()}```\n\n{groups}"


def table(group):
    """The arguments of a group."""
    title = sentence(group.title).removesuffix(".")
    rows = "".join(row(action) for action in group._group_actions if action.help != argparse.SUPPRESS)
    return f"**{escaped(title)}**\n\n| argument | meaning | default |\n|---|---|---|\n{rows}\n"


def row(action):
    """One argument."""
    names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.metavar or action.dest}`"
    value = " ".join(action.metavar) if isinstance(action.metavar, tuple) else action.metavar or action.dest.upper()
    if action.choices:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    takes_value = action.option_strings and action.nargs != 0
    given = action.default not in (None, False, [], (), argparse.SUPPRESS)
    default = f"`{action.default}`" if given else ("required" if action.required and action.option_strings else "")
    return f"| {names}{f' `{value}`' if takes_value else ''} | {escaped(action.help or '')} | {default} |\n"


def sentence(text):
    """A phrase with a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def escaped(text):
    """Text without Markdown in it."""
    return "".join("\\" + letter if letter in "\\`*_|<[]" else letter for letter in text % {})
