"""Write the formulas of the site as MathML, so that a page needs no script to show them."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

# pymdownx.arithmatex writes \( … \) into a span and \[ … \] into a div, escaped for HTML.
_FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)


def on_page_content(content: str, **_: Any) -> str:
    """Return a page with MathML in the place of every formula."""
    return _FORMULA.sub(_mathml, content)


def _mathml(formula: re.Match[str]) -> str:
    latex = html.unescape(formula["latex"]).strip()
    # The converter does not know `aligned`. `align*` looks the same on a page.
    latex = latex.replace("{aligned}", "{align*}")
    block = formula["tag"] == "div"
    mathml = convert(latex, display="block" if block else "inline")
    return f'<div class="formula">{mathml}</div>' if block else mathml
