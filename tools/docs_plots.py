"""Draw the plots of docs/benchmarks.md and docs/posterior.md from the tables of benchmarks/RESULTS.md.

    python tools/docs_plots.py

writes ``docs/assets/*.svg``. The plots show nothing that is not in a table there. The tests draw them again
and compare them with the committed files, so the same tables must give the same bytes everywhere. No plotting
library promises that, so this module writes SVG by hand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks/RESULTS.md"
ASSETS = ROOT / "docs/assets"
# These are Okabe and Ito's colours. walslab always has the first.
OURS, OTHERS, INK, FAINT = "#0072b2", "#9aa5b1", "#1f2933", "#d9dee4"
WIDTH, LABELS, ROW = 520, 178, 22  # CSS pixels: a telephone shows them at three quarters


@dataclass(frozen=True)
class Bar:
    """A bar of a plot: its label, its length, its spread (0 for none), and the text beside it."""

    label: str
    value: float
    text: str
    spread: float = 0.0

    @property
    def ours(self) -> bool:
        """Whether the bar shows walslab."""
        return self.label.startswith("walslab")


def table(results: str, *headings: str) -> list[list[str]]:
    """Return the cells of the first table below the last of some headings, each below the one before."""
    at = 0
    for heading in headings:
        at = results.index(heading, at)
    lines = results[at:].splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def bars(title: str, groups: Sequence[tuple[str, Sequence[Bar]]], *, start: float = 0.0) -> str:
    """Return a plot of horizontal bars, group below group, or of dots if the axis does not begin at 0."""
    most = max(bar.value + bar.spread for _, group in groups for bar in group)
    room = WIDTH - LABELS - 74

    def x(value: float) -> float:
        return LABELS + room * (value - start) / (most - start)

    y, parts = 44, []
    for heading, group in groups:
        if heading:
            parts.append(text(8, y + 10, heading, weight="bold"))
            y += ROW
        for bar in group:
            end, middle = x(bar.value), y + 8
            colour = OURS if bar.ours else OTHERS
            parts += [
                text(LABELS - 8, y + 12, bar.label, anchor="end"),
                # A bar that does not begin at 0 would have a length without meaning.
                f'<circle cx="{end:.1f}" cy="{middle}" r="5" fill="{colour}"/>'
                if start
                else f'<rect x="{LABELS}" y="{y}" width="{end - LABELS:.1f}" height="15" fill="{colour}"/>',
            ]
            if bar.spread:
                low, end = x(bar.value - bar.spread), x(bar.value + bar.spread)
                parts.append(
                    f'<path d="M{low:.1f} {middle}H{end:.1f}" stroke="{INK}" stroke-width="1.5" fill="none"/>'
                )
            parts.append(text(end + 9, y + 12, bar.text))
            y += ROW
        y += 10
    parts.append(f'<path d="M{LABELS} 38V{y - 10}" stroke="{INK}" fill="none"/>')
    return picture(title, y, parts)


def curves(title: str, across: str, lines: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> str:
    """Return a plot of curves over a logarithmic axis, with the x of every point written below it."""
    top, bottom, left, right = 56, 246, 54, WIDTH - 20
    xs = sorted({x for _, points in lines for x, _ in points})
    ys = [y for _, points in lines for _, y in points]
    low, high = math.floor(min(ys) * 10) / 10, math.ceil(max(ys) * 10) / 10

    def px(x: float) -> float:
        return left + (right - left) * math.log(x / xs[0]) / math.log(xs[-1] / xs[0])

    def py(y: float) -> float:
        return bottom - (bottom - top) * (y - low) / (high - low)

    parts = [text((left + right) / 2, bottom + 40, across, anchor="middle")]
    for step in range(round((high - low) / 0.2) + 1):
        y = low + 0.2 * step
        parts += [
            f'<path d="M{left} {py(y):.1f}H{right}" stroke="{FAINT}" fill="none"/>',
            text(left - 8, py(y) + 4, f"{y:.1f}", anchor="end"),
        ]
    parts += [text(px(x), bottom + 20, f"{x:g}", anchor="middle") for x in xs]
    for number, (label, points) in enumerate(lines):
        colour = OURS if number == 0 else "#d55e00"
        d = "L".join(f"{px(x):.1f} {py(y):.1f}" for x, y in points)
        parts.append(f'<path d="M{d}" stroke="{colour}" stroke-width="2" fill="none"/>')
        parts += [f'<circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
        at = right - 150
        parts += [
            f'<path d="M{at} {top + 20 * number}h24" stroke="{colour}" stroke-width="3" fill="none"/>',
            text(at + 32, top + 4 + 20 * number, label),
        ]
    return picture(title, bottom + 48, parts)


def panel(
    box: tuple[float, float, float, float],
    ends: tuple[float, float, float, float],
    words: tuple[str, str],
    ticks: Sequence[float],
    lines: Sequence[tuple[str, Sequence[tuple[float, float]]]],
) -> list[str]:
    """Return a small plot of curves over linear axes; the last one is drawn as points, without a line.

    Parameters
    ----------
    box : tuple of float
        Left, right, top and bottom, in pixels.
    ends : tuple of float
        Least and greatest x, least and greatest y.
    words : tuple of str
        Heading, and label of the x axis.
    ticks : sequence of float
        Numbers below the x axis.
    lines : sequence of (str, points)
        Each with its colour.
    """
    (left, right, top, bottom), (x0, x1, y0, y1) = box, ends

    def px(x: float) -> float:
        return left + (right - left) * (x - x0) / (x1 - x0)

    def py(y: float) -> float:
        return bottom - (bottom - top) * (y - y0) / (y1 - y0)

    parts = [
        text(left, top - 14, words[0], weight="bold"),
        text((left + right) / 2, bottom + 40, words[1], anchor="middle"),
    ]
    for step in range(round((y1 - y0) / 0.2) + 1):
        y = y0 + 0.2 * step
        parts += [
            f'<path d="M{left} {py(y):.1f}H{right}" stroke="{FAINT}" fill="none"/>',
            text(left - 6, py(y) + 4, f"{y:.1f}", anchor="end"),
        ]
    parts += [text(px(x), bottom + 20, f"{x:g}", anchor="middle") for x in ticks]
    for colour, points in lines[:-1]:
        d = "L".join(f"{px(x):.1f} {py(y):.1f}" for x, y in points)
        parts.append(f'<path d="M{d}" stroke="{colour}" stroke-width="2" fill="none"/>')
    colour, points = lines[-1]
    return parts + [f'<circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="4" fill="{colour}"/>' for x, y in points]


def text(x: float, y: float, words: str, *, anchor: str = "start", weight: str = "normal") -> str:
    """Return a line of text at a point."""
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-weight="{weight}">{escape(words)}</text>'
    )


def picture(title: str, height: int, parts: Sequence[str]) -> str:
    """Return a whole picture with a light background of its own, so that dark pages show it, too."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="13" fill="{INK}" role="img">'
    )
    paper = f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#fffffe"/>'
    return "\n".join(
        [
            head,
            f"<title>{escape(title)}</title>",
            paper,
            text(8, 24, title, weight="bold"),
            *parts,
            "</svg>\n",
        ]
    )


def quality(results: str) -> str:
    """Return the plot of the test RMSE of the tutorial's settings, of walslab and of cmfrec."""
    groups = []
    for data in ("MovieLens 100K", "MovieLens 1M"):
        group = []
        for model, _, rmse, _ in table(results, "## Quality", f"### {data}"):
            mean, deviation = (float(number) for number in rmse.split(" ± "))
            group.append(Bar(model, mean, f"{mean:.4f}", deviation))
        groups.append((data, group))
    return bars("Test RMSE, mean and sd of 5 random 90/10 splits", groups, start=0.8)


def solver(results: str) -> str:
    """Return the plot of the seconds an iteration takes on MovieLens 1M, by rank."""
    ranks: dict[str, list[Bar]] = {}
    for rank, contestant, seconds, *_ in table(results, "## Solver on a CPU", "### MovieLens 1M"):
        ranks.setdefault(rank, []).append(Bar(contestant, float(seconds), seconds))
    return bars("Seconds an iteration, MovieLens 1M, 2 threads", [(f"rank {k}", v) for k, v in ranks.items()])


def ingest(results: str) -> str:
    """Return the plot of the time of an ingest of 20 million ratings."""
    rows = table(results, "## Ingest")
    return bars(
        "Ingest of 20 million ratings, 2 cores",
        [("seconds, least of 3 rounds", [Bar(row[0], float(row[1]), row[1]) for row in rows])],
    )


def memory(results: str) -> str:
    """Return the plot of the peak memory of an ingest of 20 million ratings."""
    rows = table(results, "## Ingest")
    return bars(
        "Peak memory of that ingest",
        [("MiB", [Bar(row[0], float(row[5]), row[5]) for row in rows])],
    )


def samplers(results: str) -> str:
    """Return the plot of the best error so far of TPE and of random search, by number of trials."""
    begin = results.index("| sampler |")
    counts = [cell.strip() for cell in results[begin:].partition("\n")[0].strip("|").split("|")][1:-1]
    lines = []
    for name, *cells in table(results, "| sampler |"):
        means = [float(re.match(r"[\d.]+", cell)[0]) for cell in cells[:-1]]  # type: ignore[index]
        lines.append((name, list(zip(map(float, counts), means, strict=True))))
    return curves("Best RMSE so far, mean of 5 seeds, MovieLens 100K", "trials", lines)


def calibration(results: str) -> str:
    """Return the plot of how often intervals hold, and of the error by how sure a prediction is."""
    held = [
        (float(level.rstrip("%")) / 100, float(share.rstrip("%")) / 100)
        for level, share in table(results, "### Calibration", "Intervals")
    ]
    tenths = [tuple(map(float, row)) for row in table(results, "### Calibration", "Tenths")]
    rmse, deviation = ([(row[0], row[at]) for row in tenths] for at in (1, 2))
    parts = panel(
        (44, 232, 72, 232),
        (0.4, 1.0, 0.4, 1.0),
        ("Share of ratings inside", "probability of the interval"),
        (0.4, 0.6, 0.8, 1.0),
        [(OTHERS, [(0.4, 0.4), (1.0, 1.0)]), (OURS, held)],
    )
    parts += panel(
        (292, 508, 72, 232),
        (1, 10, 0.6, 1.2),
        ("RMSE (dots), deviation (line)", "tenth of the ratings, the surest first"),
        range(1, 11),
        [("#d55e00", deviation), (OURS, rmse)],
    )
    return picture("Intervals on the validation ratings of MovieLens 100K", 284, parts)


PLOTS = {
    "quality.svg": quality,
    "solver.svg": solver,
    "ingest.svg": ingest,
    "memory.svg": memory,
    "samplers.svg": samplers,
    "calibration.svg": calibration,
}


def drawn() -> dict[str, str]:
    """Return the SVG of every plot, by the name of its file."""
    results = RESULTS.read_text(encoding="utf-8")
    return {name: draw(results) for name, draw in PLOTS.items()}


if __name__ == "__main__":
    for name, svg in drawn().items():
        (ASSETS / name).write_text(svg, encoding="utf-8")
        print(ASSETS / name)
