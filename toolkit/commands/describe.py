"""``walslab describe``: what is in a dataset."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli import console, emit, json_option

if TYPE_CHECKING:
    from toolkit.dataset import RatingsDataset

_BINS = 10
_BAR = 40  # characters of the longest bar


@click.command()
@click.argument("dataset", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--verify", is_flag=True, help="Compare every file with its checksum.")
@json_option
def describe(dataset: Path, *, verify: bool, as_json: bool) -> None:
    """Show counts, density, rating histogram, long tails and shards of the dataset in DIR.

    \b
    Example:
      walslab describe data/ml-100k/dataset --verify
    """
    from rich.table import Table

    from toolkit.dataset import RatingsDataset

    data = RatingsDataset.open(dataset, verify=verify)
    screen = console(as_json=as_json)
    counts, split = data.counts, data.manifest["split"]
    density = counts["ratings"] / (data.n_users * data.n_items)
    screen.print(
        f"{counts['ratings']:,} ratings of {data.n_users:,} users and {data.n_items:,} items: density "
        f"{density:.2%}\n"
        f"train {counts['train']:,}   valid {counts['valid']:,}   test {counts['test']:,}   "
        f"({split['kind']} split, seed {split['seed']})\ndigest "
        f"{data.digest}{', verified' if verify else ''}\n"
    )
    histogram = _histogram(data)
    longest = max(entry["ratings"] for entry in histogram)
    screen.print("training ratings")
    for entry in histogram:
        bar = "█" * round(_BAR * entry["ratings"] / longest)
        screen.print(f"  {entry['label']:>12}  {bar:<{_BAR}} {entry['ratings']:,}")
    tails = {name: _quantiles(data, name) for name in ("user", "item")}
    table = Table("training ratings of a", *next(iter(tails.values())), title_justify="left")
    for name, quantiles in tails.items():
        table.add_row(name, *(f"{value:,}" for value in quantiles.values()))
    screen.print()
    screen.print(table)
    shards = Table("file", "rows", "ratings", "bytes")
    for entry in data.manifest["files"]:
        rows = f"{entry['start']:,} to {entry['stop'] - 1:,}" if "start" in entry else f"{entry['rows']:,}"
        shards.add_row(
            entry["path"], rows, f"{entry.get('nnz', ''):,}" if "nnz" in entry else "", f"{entry['bytes']:,}"
        )
    screen.print(shards)
    if as_json:
        emit(
            {
                "dataset": str(dataset),
                "digest": data.digest,
                **counts,
                "density": density,
                "split": split,
                "histogram": histogram,
                "quantiles": tails,
            }
        )


def _histogram(data: RatingsDataset) -> list[dict[str, Any]]:
    """Count training ratings by value where there are few values, in bins otherwise."""
    import numpy as np

    values, ratings = np.unique(data.train.data, return_counts=True)
    if len(values) <= _BINS:
        pairs = zip(values.tolist(), ratings.tolist(), strict=True)
        return [{"label": f"{value:g}", "ratings": count} for value, count in pairs]
    counted, edges = np.histogram(data.train.data, bins=_BINS)
    ranges = itertools.pairwise(edges)
    return [
        {"label": f"{a:.3g} to {b:.3g}", "ratings": int(count)}
        for (a, b), count in zip(ranges, counted, strict=True)
    ]


def _quantiles(data: RatingsDataset, name: str) -> dict[str, int]:
    import numpy as np

    counts = np.diff((data.train if name == "user" else data.train_by_item).indptr)
    return {
        label: int(np.quantile(counts, q))
        for label, q in (
            ("least", 0),
            ("a tenth below", 0.1),
            ("median", 0.5),
            ("a tenth above", 0.9),
            ("most", 1),
        )
    }
