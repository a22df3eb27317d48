r"""Formulas as MathML, which browsers typeset without scripts: `$...$` and `$$...$$` in Markdown.

pymdownx.arithmatex finds the formulas, so that code with dollars stays as it is, and writes `\(...\)` and `\[...\]`.
"""

import html
import re

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
UNKNOWN = re.compile(r"<mi>(\\|&</mi>)")  # left as text
# Names of functions: those with an argument in brackets need no space, and those without need it.
NAME = re.compile(r'<mo>(\w{2,})</mo>(?=<mo stretchy="false">&#x00028;)')
ARGUMENT = re.compile(r'<mi>(log|exp)</mi>(?!<mo stretchy="false">&#x00028;)')
THIN_SPACE = '<mspace width="0.17em" />'


def on_page_content(content, **kwargs):
    """Replace the formulas of a page."""
    return FORMULA.sub(as_mathml, content)


def as_mathml(match):
    """One formula: within a line, or on lines of its own that scroll if the screen is narrow."""
    element, latex = match.groups()
    latex = html.unescape(latex).strip()
    math = convert(latex, display="block" if element == "div" else "inline")
    if UNKNOWN.search(math):
        raise PluginError(f"latex2mathml does not know a command or an environment of this formula: {latex}")
    math = NAME.sub(r"<mi>\1</mi>", math)
    math = ARGUMENT.sub(f"{THIN_SPACE}<mi>\\1</mi>{THIN_SPACE}", math)
    return f'<{element} class="formula">{math}</{element}>'
