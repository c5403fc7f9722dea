"""Draw the figures of a report without a display: colours, style, and SVG alone or embedded in a page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_P = ParamSpec("_P")
_R = TypeVar("_R")

# Colours of Okabe and Ito, which people with any colour vision tell apart. Each also has its own marker.
TRIAL, BEST, FAILED = "#0072b2", "#d55e00", "#b5483a"
INK, FAINT, PAPER = "#1f2933", "#d9dee4", "#fffffe"
# Viridis from best to worst; its last tenth is too pale for white paper.
STEPS = tuple(mpl.colors.to_hex(mpl.colormaps["viridis"](x)) for x in np.linspace(0, 0.88, 8))
# In a page the colours are those of its theme, so that pictures follow it into the dark.
VARIABLES = {
    INK: "ink",
    FAINT: "faint",
    PAPER: "paper",
    TRIAL: "trial",
    BEST: "best",
    FAILED: "failed",
    **{colour: f"step-{n}" for n, colour in enumerate(STEPS)},
}
_DOTS = 96  # an inch in a notebook
_VIEW_BOX = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')
_STYLE: dict[str, object] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",  # text stays text: small, and readable by machines
    "svg.hashsalt": "walslab",
    "path.simplify_threshold": 0.3,
    "text.parse_math": False,  # a choice may hold a dollar sign
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), INK),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor"), PAPER),
    "legend.frameon": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
}


def styled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return a function that runs with the style of a report's pictures; matplotlib's settings stay."""
    decorated: Callable[_P, _R] = mpl.rc_context(_STYLE)(function)  # type: ignore[arg-type]
    return decorated


class ShownFigure(Figure):
    """A figure that a notebook shows, which of matplotlib's own it does only once pyplot is imported."""

    @styled
    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Return the picture at twice the dots of the size it is shown in, for screens that have them."""
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=2 * _DOTS)
        width, height = self.get_size_inches()
        return file.getvalue(), {"width": round(width * _DOTS), "height": round(height * _DOTS)}


def new(width: float = 6.6, height: float = 3.6) -> Figure:
    """Return an empty figure, in inches; pyplot knows nothing of it."""
    return ShownFigure(figsize=(width, height), layout="constrained")


def tidy(axes: Axes) -> None:
    """Remove the upper and the right side of the frame, and draw faint horizontal lines."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=FAINT, lw=0.7)
    axes.set_axisbelow(True)


def whole(axes: Axes) -> None:
    """Label the x axis with whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def note(figure: Figure, text: str) -> Figure:
    """Write in a figure why there is nothing to draw."""
    figure.text(0.5, 0.5, text, ha="center", va="center", wrap=True)
    return figure


def window(values: Sequence[float], *, mode: str) -> tuple[float, float]:
    """Return the ends of an axis that shows the best values well: those far worse than most are beyond it.

    Far is Tukey's outer fence, three interquartile ranges past the worse quartile.
    """
    figures = np.asarray(values, np.float64)
    figures = figures[np.isfinite(figures)]
    if not len(figures):
        return 0.0, 1.0
    q1, q3 = np.quantile(figures, [0.25, 0.75])
    if q3 > q1:
        far = 3 * (q3 - q1)
        figures = figures[figures <= q3 + far] if mode == "min" else figures[figures >= q1 - far]
    low, high = float(figures.min()), float(figures.max())
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 0.05
    return low - pad, high + pad


def steps(values: Sequence[float], *, mode: str) -> list[int]:
    """Return for each value the number of its colour in `STEPS`, 0 for the best; `window` is the range."""
    low, high = window(values, mode=mode)
    positions = (np.asarray(values, np.float64) - low) / (high - low)
    positions = np.nan_to_num(positions if mode == "min" else 1 - positions, nan=1.0).clip(0, 1)
    return [int(n) for n in np.minimum(positions * len(STEPS), len(STEPS) - 1)]


@styled
def document(figure: Figure) -> str:
    """Draw a figure; return it as an SVG document that stands alone, with the colours of white paper."""
    _lay_out(figure)
    file = io.StringIO()
    nothing: dict[str, None] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(file, format="svg", metadata=nothing)
    return file.getvalue()


def _lay_out(figure: Figure) -> None:
    """Find the places of a figure's axes once: to save it, matplotlib would draw it twice, once to no end."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    FigureCanvasSVG(figure)
    engine = figure.get_layout_engine()
    if engine and figure.axes:
        engine.execute(figure)
        figure.set_layout_engine("none")


def embedded(document: str, name: str, description: str) -> str:
    """Return a drawn figure as an ``<svg>`` for a page: ids of its own, the theme's colours, a description.

    Parameters
    ----------
    document : str
        The figure, as `document` drew it.
    name : str
        Prefix of the ids, so that several pictures fit in one page.
    description : str
        What it shows, for those who do not see it; plain text.
    """
    from html import escape

    text = document[document.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    used = set(re.findall(r'(?:xlink:href="|url\()#([\w-]+)', text))
    text = re.sub(r' id="([\w.-]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(xlink:href="|url\()#', rf"\g<1>#{name}-", text)
    text = re.sub(r"<[^>]+>", _smaller, text)
    text = re.sub(r"(?<=>)\s+(?=<)", "", text)
    head, body = text.split(">", 1)
    # In points, as matplotlib writes it: "0 0 475.2 259.2".
    width, height = (round(float(size)) for size in _VIEW_BOX.findall(head)[0])
    return (
        f'<svg viewBox="0 0 {width} {height}" style="max-width:{1.6 * width:.0f}px" role="img" '
        f'aria-label="{escape(description)}">{body}'
    )


def _smaller(tag: re.Match[str]) -> str:
    """Return a tag with numbers as precise as a screen is, and the colours of the page's theme."""
    text = re.sub(r"\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), tag[0])
    text = text.replace("\n", " ")
    return re.sub(r"#[0-9a-f]{6}", lambda m: f"var(--{VARIABLES[m[0]]})" if m[0] in VARIABLES else m[0], text)
