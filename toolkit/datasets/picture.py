"""The picture of a dataset: a histogram of its ratings, and the long tails of items and users."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from toolkit.arrays import IntArray
from toolkit.datasets.statistics import Bar, gini
from toolkit.errors import ConfigError

_CURVE_POINTS = 400
_COLOURS = {"items": "#0b6e99", "users": "#c8501e"}


def check_picture(path: Path) -> None:
    """Refuse a picture that cannot be drawn; call this before the work.

    Raises
    ------
    ConfigError
        When the name ends in neither .png nor .svg, or matplotlib is missing.
    """
    if path.suffix.lower() not in {".png", ".svg"}:
        raise ConfigError(f"--plot must name a file that ends in .png or .svg, but got {path}")
    try:
        import matplotlib as mpl  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"--plot needs matplotlib ({error}); `pip install matplotlib`") from error


def draw(path: Path, title: str, bars: list[Bar], counts: dict[str, IntArray]) -> None:
    """Draw the rating histogram and the long tails.

    Parameters
    ----------
    path : Path
        PNG or SVG file to write.
    title : str
        Heading of the picture.
    bars : list of Bar
        What `histogram` returned.
    counts : dict of str to array of int
        Training ratings of each of the ``"items"`` and ``"users"``.
    """
    import matplotlib as mpl

    # Not a figure of pyplot, which keeps its figures and looks for a display.
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    with mpl.rc_context({"svg.hashsalt": "walslab", "font.size": 10}):
        figure = Figure(figsize=(11, 4.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        figure.suptitle(title, parse_math=False)
        binned = any(" to " in entry["label"] for entry in bars)
        labels = [entry["label"] for entry in bars]
        left.bar(
            range(len(bars)),
            [entry["ratings"] for entry in bars],
            width=0.94 if binned else 0.8,
            color="#5b6b7b",
        )
        left.set_xticks(
            range(len(bars)),
            labels,
            rotation=40 if binned else 0,
            ha="right" if binned else "center",
            rotation_mode="anchor" if binned else None,
        )
        left.set(xlabel="rating", ylabel="ratings (train, valid and test)", title="Ratings by value")
        for kind, colour in _COLOURS.items():
            descending = np.sort(counts[kind])[::-1]
            descending = descending[descending > 0]  # a logarithm has no zero
            ranks = np.unique(np.geomspace(1, max(len(descending), 1), _CURVE_POINTS).astype(np.int64))
            ranks = ranks[: len(descending)]
            right.loglog(
                ranks,
                descending[ranks - 1],
                color=colour,
                lw=2,
                label=f"{len(counts[kind]):,} {kind}, Gini {gini(counts[kind]):.2f}",
            )
        right.set(xlim=1, xlabel="rank, most ratings first", ylabel="training ratings", title="Long tails")
        # After loglog, which sets formatters of its own.
        for axis in (left.yaxis, right.xaxis, right.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        right.legend(frameon=False, loc="best")
        for axes in (left, right):
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", color="#e3e6ea", lw=0.8)
            axes.set_axisbelow(True)
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
