"""Picture of how the intervals of a posterior hold: their coverage, and the error by how sure they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.models import PosteriorFacts
from tune.report import drawing
from tune.report.drawing import BEST, INK, TRIAL

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@drawing.styled
def calibration(facts: PosteriorFacts) -> Figure:
    """Draw the coverage of intervals against their probability, and the RMSE by decile of certainty.

    Parameters
    ----------
    facts : PosteriorFacts
        Those of the validation ratings.

    Returns
    -------
    Figure
    """
    figure = drawing.new(8.4, 3.6)
    coverage, deciles = facts["coverage"], facts["deciles"]
    if coverage is None or deciles is None:
        return drawing.note(figure, "There were no validation ratings.")
    left, right = figure.subplots(1, 2)
    levels, shares = [float(level) for level in coverage], list(coverage.values())
    left.plot([0.4, 1], [0.4, 1], color=INK, lw=0.8, ls=":")
    left.plot(levels, shares, "o", color=TRIAL)
    for level, share in zip(levels, shares, strict=True):
        left.annotate(f"{share:.1%}", (level, share), xytext=(6, -12), textcoords="offset points")
    left.set(
        title="Intervals that hold", xlabel="probability of the interval", ylabel="share of ratings inside"
    )
    places = range(1, len(deciles) + 1)
    right.plot(places, [each["rmse"] for each in deciles], "o-", color=TRIAL, label="RMSE")
    right.plot(places, [each["deviation"] for each in deciles], "s--", color=BEST, label="standard deviation")
    right.set(
        title="Error by certainty", xlabel="tenth of the ratings, the surest first", ylabel="rating units"
    )
    right.legend()
    for axes in (left, right):
        drawing.tidy(axes)
    drawing.whole(right)
    return figure
