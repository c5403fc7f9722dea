"""What is in a dataset, in figures and in a picture: how ratings spread over values, users and items."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toolkit.datasets.dataset import RatingsDataset

_Array = np.ndarray[Any, Any]
# Ratings that people give have few values: half stars up to 10 are 20.
_VALUES = 20
_BINS = 12
_TOP_PERCENT = (1, 5, 10, 20, 50)
_QUANTILES = {"least": 0, "a tenth below": 0.1, "median": 0.5, "a tenth above": 0.9, "most": 1}
_POINTS = 400  # of a curve in the picture
_COLOURS = {"items": "#0b6e99", "users": "#c8501e"}


def histogram(data: RatingsDataset) -> list[dict[str, Any]]:
    """Count the ratings of all three splits by value where there are few values, in bins otherwise.

    Reads one shard at a time, and reads them twice when bins are needed.

    Parameters
    ----------
    data : RatingsDataset
        The dataset.

    Returns
    -------
    list of dict
        ``label`` and ``ratings`` of each value or bin, in ascending order. A bin holds its lower edge, the
        last bin both.
    """
    low, high = math.inf, -math.inf
    counted: dict[float, int] = {}
    for values in _ratings(data):
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        if len(counted) <= _VALUES:
            for value, count in zip(*np.unique(values, return_counts=True), strict=True):
                counted[float(value)] = counted.get(float(value), 0) + int(count)
    if len(counted) <= _VALUES:
        return [{"label": f"{value:g}", "ratings": counted[value]} for value in sorted(counted)]
    edges = _round_edges(low, high)
    ratings = np.zeros(len(edges) - 1, np.int64)
    for values in _ratings(data):
        # In float32 like the ratings, so that a rating of 0.7 is not below the edge 0.7.
        bins = np.searchsorted(edges.astype(np.float32), values, side="right") - 1
        ratings += np.bincount(bins.clip(0, len(ratings) - 1), minlength=len(ratings))
    return [
        {"label": f"{a:.10g} to {b:.10g}", "ratings": int(count)}
        for (a, b), count in zip(itertools.pairwise(edges), ratings, strict=True)
    ]


def long_tail(counts: _Array) -> dict[str, Any]:
    """Measure how unevenly training ratings spread over items, or over users.

    Parameters
    ----------
    counts : array of int, shape (n,)
        Training ratings of each item or user.

    Returns
    -------
    dict
        ``gini`` (0 where all have as many, towards 1 where one has all), ``median``, ``most``, and ``curve``:
        the ``share`` of all ratings that the ``n`` of the ``top`` part with most ratings hold.
    """
    ascending = np.sort(counts).astype(np.float64)
    n, total = len(ascending), max(ascending.sum(), 1.0)
    held = np.cumsum(ascending[::-1]) / total
    sizes = {percent: -(-percent * n // 100) for percent in _TOP_PERCENT}
    return {
        "gini": gini(counts),
        "median": float(np.median(ascending)),
        "most": int(ascending[-1]),
        "curve": [
            {"top": percent / 100, "n": size, "share": float(held[size - 1])}
            for percent, size in sizes.items()
        ],
    }


def gini(counts: _Array) -> float:
    """Return the Gini coefficient of `counts`, shape (n,): 0 when all are equal, near 1 when one has all."""
    ascending = np.sort(counts).astype(np.float64)
    n = len(ascending)
    # Twice the area between the Lorenz curve and the diagonal, from the sorted counts.
    return float((2 * np.arange(1, n + 1) - n - 1) @ ascending / (n * max(ascending.sum(), 1.0)))


def quantiles(counts: _Array) -> dict[str, int]:
    """Return the least, the median and other quantiles of `counts`, rounded down."""
    return {label: int(np.quantile(counts, share)) for label, share in _QUANTILES.items()}


def check_plot(path: Path) -> None:
    """Refuse a picture that cannot be drawn, before any work is done.

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


def plot(path: Path, title: str, bars: list[dict[str, Any]], counts: dict[str, _Array]) -> None:
    """Draw the rating histogram and the long tails.

    Parameters
    ----------
    path : Path
        PNG or SVG file to write.
    title : str
        Heading.
    bars : list of dict
        As `histogram` returns.
    counts : dict of str to array of int
        Training ratings of each of the ``"items"`` and ``"users"``.
    """
    import matplotlib as mpl

    # Figures of their own, not pyplot's: nothing is left behind, and no display is looked for.
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
            ranks = np.unique(np.geomspace(1, max(len(descending), 1), _POINTS).astype(np.int64))
            ranks = ranks[: len(descending)]
            right.loglog(
                ranks,
                descending[ranks - 1],
                color=colour,
                lw=2,
                label=f"{len(counts[kind]):,} {kind}, Gini {gini(counts[kind]):.2f}",
            )
        right.set(xlim=1, xlabel="rank, most ratings first", ylabel="training ratings", title="Long tails")
        # After loglog, which sets its own.
        for axis in (left.yaxis, right.xaxis, right.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        right.legend(frameon=False, loc="best")
        for axes in (left, right):
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", color="#e3e6ea", lw=0.8)
            axes.set_axisbelow(True)
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)


def _ratings(data: RatingsDataset) -> Iterator[_Array]:
    """Yield the ratings of each shard that has some."""
    for kind in ("train/rows", "valid/rows", "test/rows"):
        for _, _, values in data.read_shards(kind):
            if len(values):
                yield values


def _round_edges(low: float, high: float) -> _Array:
    """Return the edges of about `_BINS` bins over `low` to `high`: multiples of 1, 2, 2.5 or 5 × 10^k."""
    power = 10.0 ** math.floor(math.log10((high - low) / _BINS))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10, 20) if power * factor * _BINS >= high - low)
    return np.arange(math.floor(low / step), math.ceil(high / step) + 1) * step
