r"""Formulas as MathML, which browsers typeset without scripts: `$...$` and `$$...$$` in Markdown.

pymdownx.arithmatex finds the formulas, so that code with dollars stays as it is, and writes `\(...\)` and `\[...\]`.
"""

import html
import re

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
UNKNOWN = re.compile(r"<mi>(\\|&</mi>)|<mo />")  # left as text; \operatorname of something else than letters
# What browsers space as operators between two operands, and is none: names of functions, signs, bars.
CORRECTIONS = [
    (re.compile(r'<mo>(\w{2,})</mo>(?=<mo stretchy="false">&#x00028;)'), r"<mi>\1</mi>"),
    (
        re.compile(r"<mi>(log|exp)</mi>(?!<mo[^>]*>&#x00028;)"),
        r'<mspace width="0.17em" />\g<0><mspace width="0.17em" />',
    ),
    (re.compile(r"(<mo[^>]*>&#x(?:00028|0003D|0002C);</mo>)<mo>(?=&#x02212;)"), r'\1<mo form="prefix">'),
    (re.compile(r'<mo stretchy="false">(?=&#x0007C;)'), '<mo stretchy="false" lspace="0" rspace="0">'),
]


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
    for pattern, replacement in CORRECTIONS:
        math = pattern.sub(replacement, math)
    return f'<{element} class="formula">{math}</{element}>'
