"""Formulas of the site as MathML, made while it is built: a page needs no script for them."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

# What pymdownx.arithmatex leaves: \( … \) in a span, \[ … \] in a div, escaped for HTML.
_FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)


def on_page_content(content: str, **_: Any) -> str:
    """Replace every formula of a page."""
    return _FORMULA.sub(_mathml, content)


def _mathml(found: re.Match[str]) -> str:
    latex = html.unescape(found["latex"]).strip()
    # The converter knows the outer environment only; on a page the two look alike.
    latex = latex.replace("{aligned}", "{align*}")
    block = found["tag"] == "div"
    mathml = convert(latex, display="block" if block else "inline")
    return f'<div class="formula">{mathml}</div>' if block else mathml
