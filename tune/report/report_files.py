"""Files of a report: the page, the pictures and the tables, each written in one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from toolkit.files import atomic, uncollected
from toolkit.models import PosteriorFacts
from tune.spec import SearchSpec
from tune.study import TrialResult, best_first


def write_report(
    folder: Path, *, name: str, facts: Mapping[str, object], spec: SearchSpec, trials: Sequence[TrialResult]
) -> list[Path]:
    """Write the report of a study.

    Parameters
    ----------
    folder : Path
        Folder to write to; made if it is missing. Files of these names are replaced, each in one step.
    name : str
        Name of the study.
    facts : mapping
        Facts of the study, as `tune.report.html.page` takes them.
    spec : SearchSpec
        The resolved specification.
    trials : sequence of TrialResult
        In any order; also none.

    Returns
    -------
    list of Path
        ``report.html``, ``trials.csv``, ``trials.json``, ``history.svg``, ``curves.svg``,
        ``importances.svg``, ``slices.svg`` and ``parallel.svg``.
    """
    with uncollected():
        from tune.report import html, table
        from tune.report.pictures import pictures
        from tune.report.study_remarks import baselines_of

    ranked = best_first(trials, spec.metric)
    drawn = pictures(spec, ranked, baselines_of(facts))
    page = html.page(name=name, facts=facts, spec=spec, trials=ranked, drawn=drawn)
    texts = {
        "report.html": page,
        "trials.csv": table.to_csv(ranked, spec.metric),
        "trials.json": table.to_json(ranked),
        **{f"{each}.svg": picture.document for each, picture in drawn.items()},
    }
    for file, text in texts.items():
        # A lone surrogate, such as of an undecodable file name, must not cost the whole report.
        with atomic.file(folder / file, overwrite=True) as opened:
            opened.write(text.encode("utf-8", "backslashreplace"))
    return [folder / file for file in texts]


def calibration_picture(facts: PosteriorFacts) -> str:
    """Return a picture of how the intervals of a posterior hold, as an SVG document.

    Parameters
    ----------
    facts : PosteriorFacts
        Those of the validation ratings.
    """
    from tune.report import drawing
    from tune.report.calibration import calibration

    return drawing.document(calibration(facts))
