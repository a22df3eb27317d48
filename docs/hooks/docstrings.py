"""An extension of griffe: types and defaults of parameters as the docstrings and the signatures have them.

griffe reads the first choice of `cov : {"fisher", "sandwich"}` as the default, forgets what follows the braces, and
gives all names of `solver, tol, max_iter` the default and the type of the first. In this package defaults are in the
signatures only.
"""

import re

import griffe

TYPE = re.compile(r"^( *[*\w, ]+ : )(.+)$", re.MULTILINE)
CHOICES = re.compile(r"\{([^{}]+)\}")
TOGETHER = re.compile(r"^ *(\w+(?:, \w+)+)(?: : .+)?$", re.MULTILINE)
UNTYPED = re.compile(r"^ *(\w+(?:, \w+)+)$", re.MULTILINE)


def as_union(match):
    """`name : "a" | "b"` for `name : {"a", "b"}`, without Markdown, since types are shown as code."""
    name, kind = match.groups()
    return name + CHOICES.sub(lambda choices: " | ".join(choices[1].split(", ")), kind).replace("`", "")


class Docstrings(griffe.Extension):
    """Corrects the docstrings of the package after it has been read."""

    def on_package(self, *, pkg, loader, **kwargs):
        """Correct all docstrings."""
        correct(pkg)


def correct(parent):
    """Correct the docstrings of an object and of its members."""
    if parent.docstring is not None:
        parent.docstring.value = TYPE.sub(as_union, parent.docstring.value)
        if parent.is_class or parent.is_function:
            take_defaults(parent)
    for member in parent.members.values():
        if not member.is_alias:
            correct(member)


def take_defaults(parent):
    """Give parameters that are described together, but differ, the defaults and types of the signature."""
    signature = {parameter.name: parameter for parameter in parent.parameters}
    together = [names.split(", ") for names in TOGETHER.findall(parent.docstring.value)]
    if not any(len({str(signature[name].default) for name in names if name in signature}) > 1 for names in together):
        return
    untyped = {name for names in UNTYPED.findall(parent.docstring.value) for name in names.split(", ")}
    for section in parent.docstring.parsed:
        if section.kind is griffe.DocstringSectionKind.parameters:
            for described in section.value:
                if described.name in signature:
                    described.value = signature[described.name].default
                    if described.name in untyped:
                        described.annotation = signature[described.name].annotation
