"""An extension of griffe: types and defaults of parameters as the docstrings and the signatures have them.

griffe reads the first choice of `cov : {"fisher", "sandwich"}` as the default, forgets what follows the braces, gives
all names of `solver, tol, max_iter` the default and the type of the first, and reads `int, RandomState` and
`array_like (n_samples,)` as code. In this package defaults are in the signatures only.
"""

import re

import griffe

TYPE = re.compile(r"^( *[*\w, ]+ : )(.+)$", re.MULTILINE)
CHOICES = re.compile(r"\{([^{}]+)\}")
TOGETHER = re.compile(r"^ *(\w+(?:, \w+)+)(?: : .+)?$", re.MULTILINE)
UNTYPED = re.compile(r"^ *(\w+(?:, \w+)+)$", re.MULTILINE)
KINDS = griffe.DocstringSectionKind
SECTIONS = (KINDS.parameters, KINDS.attributes, KINDS.returns)


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
            correct_parameters(parent)
    for member in parent.members.values():
        if not member.is_alias:
            correct(member)


def correct_parameters(parent):
    """Give parameters the defaults of the signature, and types as they are written."""
    text = parent.docstring.value
    types = {name.strip(" *:"): kind.removesuffix(", optional") for name, kind in TYPE.findall(text)}
    signature = {parameter.name: parameter for parameter in parent.parameters}
    together = [names.split(", ") for names in TOGETHER.findall(text)]
    differ = any(len({str(signature[name].default) for name in names if name in signature}) > 1 for names in together)
    if not differ and not any("," in kind for kind in types.values()):
        return  # only what needs it is parsed here: griffe reports mistakes, also in private docstrings
    untyped = {name for names in UNTYPED.findall(text) for name in names.split(", ")}
    for section in parent.docstring.parsed:
        if section.kind in SECTIONS:
            for described in section.value:
                if isinstance(described.annotation, (griffe.ExprTuple, griffe.ExprCall)) and described.name in types:
                    described.annotation = types[described.name]
                if described.name in signature and section.kind is KINDS.parameters:
                    described.value = signature[described.name].default
                    if described.name in untyped:
                        described.annotation = signature[described.name].annotation
