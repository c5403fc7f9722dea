"""The comparison of a study's trials: one page, pictures and tables, from plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.files import atomic
from tune.spec.search_spec import SearchSpec
from tune.study import TrialResult, best_first


def write_report(
    folder: Path, *, name: str, facts: Mapping[str, Any], spec: SearchSpec, trials: Sequence[TrialResult]
) -> list[Path]:
    """Write the report of a study.

    Parameters
    ----------
    folder : Path
        Where to; made if it is missing. Files of these names are replaced, each in one step.
    name : str
        Of the study.
    facts : mapping
        As `tune.report.html.page` takes.
    spec : SearchSpec
        The resolved specification.
    trials : sequence of TrialResult
        In any order; also none.

    Returns
    -------
    list of Path
        ``report.html``, ``trials.csv``, ``trials.json``, ``history.png``, ``curves.png``,
        ``importances.png``, ``slices.png`` and ``parallel.png``.
    """
    from tune.report import drawing, html, table
    from tune.report.pictures import pictures

    ranked = best_first(trials, spec.metric)
    drawn = pictures(spec, ranked)
    page = html.page(name=name, facts=facts, spec=spec, trials=ranked, drawn=drawn)
    texts = {
        "report.html": page,
        "trials.csv": table.to_csv(ranked, spec.metric),
        "trials.json": table.to_json(ranked),
    }
    for file, text in texts.items():
        # A lone surrogate, such as of an undecodable file name, must not cost the whole report.
        with atomic.file(folder / file, overwrite=True) as opened:
            opened.write(text.encode("utf-8", "backslashreplace"))
    for each, picture in drawn.items():
        with atomic.file(folder / f"{each}.png", overwrite=True) as opened:
            drawing.png(picture.figure, opened)
    return [folder / file for file in (*texts, *(f"{each}.png" for each in drawn))]
