"""Table of all trials on the report's page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from toolkit.figure_text import shown
from tune.report.scales import searched
from tune.report.summary import failed, is_number
from tune.spec import SearchSpec
from tune.study import TrialResult

_TOOLS = """<div class="tools">
<label>Find <input id="find" type="search" placeholder="trial, word or value"></label>
<label>Status <select id="status"><option value="">all</option><option value="done">ran to the end</option>
<option value="stopped">stopped early</option><option value="failed">failed</option></select></label>
<span id="told" class="soft" role="status"></span></div>"""


def table(spec: SearchSpec, trials: Sequence[TrialResult]) -> str:
    """Return the table, and the tools that find and sort in it where the script runs.

    Parameters
    ----------
    spec : SearchSpec
        Which figures and hyperparameters have a column.
    trials : sequence of TrialResult
        In the order of the rows, best first.
    """
    metric = spec.metric
    names = list(searched(spec.space))
    figures = (*metric.keys, "valid_rmse", "train_rmse")
    heads = [
        "trial",
        *map(_words, figures),
        "iterations",
        "seconds",
        "end",
        "proposed by",
        *map(_words, names),
    ]
    cells = "".join(f'<th scope="col"{_text(head)}>{escape(head)}</th>' for head in heads)
    rows = []
    for place, trial in enumerate(trials):
        best = place == 0 and is_number(trial, metric)
        end = "failed" if failed(trial) else str(trial["stopped"] or "")
        state = "failed" if failed(trial) else "stopped" if trial["stopped"] else "done"
        found = {**trial["ranking"], "valid_rmse": trial["valid_rmse"], "train_rmse": trial["train_rmse"]}
        row = [
            f"<td>{escape(trial['trial'])}</td>",
            *(_cell(found.get(key), shown) for key in figures),
            _cell(trial["iterations"]),
            _cell(trial["seconds"], ".1f"),
            f'<td class="text">{escape(end)}</td>',
            f'<td class="text">{escape(trial["source"])}</td>',
            *(_cell(trial["config"].get(name)) for name in names),
        ]
        style = ' class="best"' if best else ' class="failed"' if failed(trial) else ""
        rows.append(f'<tr data-s="{state}"{style}>{"".join(row)}</tr>')
    return (
        f'{_TOOLS}<div class="scroll all" tabindex="0" role="region" aria-label="All trials">'
        f'<table id="trials"><thead><tr>{cells}</tr></thead><tbody>\n' + "\n".join(rows) + "\n"
        "</tbody></table></div>"
    )


def _words(name: str) -> str:
    return name.replace("_", " ").replace("rmse", "RMSE")


def _text(head: str) -> str:
    return ' class="text"' if head in {"end", "proposed by"} else ""


def _cell(value: object, form: str | Callable[[float], str] = ".4g") -> str:
    """Return a cell; a rounded number keeps the whole one, to sort by."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return '<td data-v=""></td>'
    if isinstance(value, float):
        text = format(value, form) if isinstance(form, str) else form(value)
        return f"<td>{text}</td>" if float(text) == value else f'<td data-v="{value!r}">{text}</td>'
    return f"<td>{escape(str(value))}</td>"
