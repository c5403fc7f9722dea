"""Parts of what an object shows of itself in a notebook: escaped, and readable on light and dark ground."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from toolkit.figure_text import shown

# Colours of the notebook where there is one, and grey and orange that show on both grounds: whether a theme
# is dark is not known here.
_STYLE = """
.walslab { max-width: 60em; line-height: 1.4; }
.walslab .name { font-family: monospace; overflow-wrap: anywhere; }
.walslab .soft { opacity: .75; }
.walslab table { border-collapse: collapse; color: inherit; font-size: inherit; margin: .5em 0;
  font-variant-numeric: tabular-nums; }
.walslab th, .walslab td { padding: .2em .7em; text-align: right; white-space: nowrap;
  border-bottom: 1px solid rgba(128, 128, 128, .4); }
.walslab th:first-child, .walslab td:first-child { text-align: left; }
.walslab tr.marked td { background: rgba(213, 94, 0, .15); }
.walslab .scroll { overflow-x: auto; }
.walslab svg { vertical-align: middle; margin: .4em .7em .4em 0; overflow: visible; }
.walslab summary { cursor: pointer; }
"""
_WIDTH, _HEIGHT = 240, 36


def card(title: str, soft: str, *parts: str) -> str:
    """Return a whole: a line in the type of code, a line of soft text, and parts below.

    Parameters
    ----------
    title, soft : str
        Plain text.
    *parts : str
        HTML.
    """
    line = f'<div class="soft">{escape(soft)}</div>' if soft else ""
    return (
        f'<div class="walslab"><style>{_STYLE}</style><div class="name">{escape(title)}</div>{line}'
        f"{''.join(parts)}</div>"
    )


def text(words: str) -> str:
    """Return a paragraph of plain text."""
    return f"<div>{escape(words)}</div>"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, marked: int | None = None) -> str:
    """Return a table.

    Parameters
    ----------
    heads : sequence of str
        Plain text over each column.
    rows : iterable of sequence of str
        Plain text.
    marked : int, optional
        Number of the row to set off.
    """
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    mark = ' class="marked"'
    body = "".join(
        f"<tr{mark if at == marked else ''}>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
        for at, row in enumerate(rows)
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def folded(summary: str, part: str) -> str:
    """Return HTML that a click unfolds below its plain summary."""
    return f"<details><summary>{escape(summary)}</summary>{part}</details>"


def line_chart(values: Sequence[float | None], name: str) -> str:
    """Return figures in their order as a small line, with the first and the last of them in words.

    Parameters
    ----------
    values : sequence of float or None
        None, NaN and infinity are left out.
    name : str
        What the figures are; plain text.

    Returns
    -------
    str
        In the colour of the text around it; empty with fewer than two figures.
    """
    known = [(at, value) for at, value in enumerate(values) if value is not None and math.isfinite(value)]
    if len(known) < 2:
        return ""
    low, high = min(value for _, value in known), max(value for _, value in known)
    across, up = _WIDTH / (len(values) - 1), _HEIGHT / ((high - low) or 1)
    points = " ".join(f"{at * across:.1f},{_HEIGHT - (value - low) * up:.1f}" for at, value in known)
    words = f"{name}: from {shown(known[0][1])} to {shown(known[-1][1])}"
    return (
        f'<div class="soft"><svg width="{_WIDTH}" height="{_HEIGHT}" aria-hidden="true"><polyline '
        f'points="{points}" fill="none" stroke="currentColor" stroke-width="1.5"/></svg>{escape(words)}</div>'
    )
