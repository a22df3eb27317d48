r"""Formulas as MathML, which browsers typeset without scripts: `$...$` and `$$...$$` in Markdown.

pymdownx.arithmatex finds the formulas, so that code with dollars stays as it is, and writes `\(...\)` and `\[...\]`.
"""

import html
import re

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(content, **kwargs):
    """Replace the formulas of a page."""
    return FORMULA.sub(as_mathml, content)


def as_mathml(match):
    """One formula: within a line, or on lines of its own that scroll if the screen is narrow."""
    element, latex = match.groups()
    display = "block" if element == "div" else "inline"
    math = convert(html.unescape(latex).strip(), display=display)
    return f'<{element} class="formula">{math}</{element}>'
