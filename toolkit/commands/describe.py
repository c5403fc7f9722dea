"""``walslab describe``: what is in a dataset."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.commands.output import console, emit, json_option
from toolkit.files import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.table import Table

    from toolkit.datasets import FileEntry, RatingsDataset

_BAR = 40  # characters of the longest bar
_LISTED = 5  # source files, and rejected rows


@click.command()
@click.argument("dataset", metavar="DIR")
@click.option("--verify", is_flag=True, help="Compare every file with its checksum first.")
@click.option(
    "--plot",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Draw histogram and long tails to FILE, which ends in .png or .svg.",
)
@json_option
def describe(dataset: str, *, verify: bool, plot: Path | None, as_json: bool) -> None:
    """Show counts, density, split, source, rating histogram, long tails and shards of the dataset in DIR.

    DIR may be an address, such as s3://bucket/ml-20m. The histogram counts all ratings: train, valid and
    test. The long tails show which share of the training ratings the most rated items have, and the users who
    rate most. One shard is in memory at a time.

    \b
    Examples:
      walslab describe data/ml-100k/dataset --verify
      walslab describe data/ml-100k/dataset --plot ml-100k.png
    """
    from toolkit.datasets import RatingsDataset, check_picture, draw, statistics

    if plot:
        check_picture(plot)
    data = RatingsDataset.open(dataset, verify=verify)
    screen = console(as_json=as_json)
    counts = {kind: data.training_counts(kind) for kind in ("items", "users")}
    bars = statistics.histogram(data)
    tails = {kind: statistics.long_tail(each) for kind, each in counts.items()}
    quantiles = {kind: statistics.quantiles(counts[f"{kind}s"]) for kind in ("user", "item")}
    density = data.counts["ratings"] / (data.n_users * data.n_items)
    _print_facts(screen, data, density=density, verified=verify)
    _print_rejections(screen, data.manifest)
    _print_bars(
        screen,
        "ratings by value, of train, valid and test",
        [((bar["label"], f"{bar['ratings']:,}"), bar["ratings"]) for bar in bars],
    )
    for kind, tail in tails.items():
        _print_bars(
            screen,
            f"training ratings of the top {kind} (Gini {tail['gini']:.2f}, median {tail['median']:,.0f}, "
            f"most {tail['most']:,})",
            [((f"top {at['top']:.0%}", f"{at['n']:,}"), at["share"]) for at in tail["curve"]],
            whole=1,
        )
    _print_tables(screen, data, quantiles)
    if plot:
        name = "/".join(data.where.split("/")[-2:])
        title = f"{name}: {data.counts['ratings']:,} ratings, density {density:.2%}"
        draw(plot, title, bars, counts)
        screen.print(f"picture: {plot}", soft_wrap=True)
    if as_json:
        copied = ("split", "source", "rejections", "created", "versions")
        emit(
            {
                **data.counts,
                "dataset": dataset,
                "digest": data.digest,
                "derived": data.derived,
                "verified": verify,
                "density": density,
                **{key: data.manifest.get(key) for key in copied},
                "duplicates_policy": data.manifest.get("duplicates"),
                "transform": data.manifest.get("transform"),
                "rating_statistics": data.manifest.get("ratings"),
                "histogram": bars,
                "quantiles": quantiles,
                "long_tail": tails,
                "files": data.manifest["files"],
                "plot": None if plot is None else str(plot),
            }
        )


def _print_facts(screen: Console, data: RatingsDataset, *, density: float, verified: bool) -> None:
    from rich.table import Table

    counts, manifest = data.counts, data.manifest
    split = dict(manifest["split"])
    kind = split.pop("kind", "unknown")
    policies = manifest.get("duplicates"), _dict(manifest.get("rejections")).get("policy")
    merged, rejected = (f" (policy: {each})" if isinstance(each, str) else "" for each in policies)
    transform = manifest.get("transform", "none")
    transform = transform if isinstance(transform, str) and transform != "none" else None
    facts = Table.grid(padding=(0, 2))
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    rows = {
        "ratings": f"{counts['ratings']:,} of {data.n_users:,} users and {data.n_items:,} items, "
        f"density {density:.2%}",
        "train": f"{counts['train']:,}   valid {counts['valid']:,}   test {counts['test']:,}",
        "split": ", ".join(
            [
                f"{kind}",
                *(f"{key.replace('_', ' ')} {_number(value, plain=True)}" for key, value in split.items()),
            ]
        ),
        "sample": "; ".join(_steps(data)) or None,
        "source": ", ".join(_sources(manifest["source"])) or "unknown",
        "duplicates": f"{_number(counts.get('duplicates', 0))} merged{merged}",
        "rejected": f"{_number(counts.get('rejected', 0))} rows{rejected}",
        "transform": f"{transform}, after duplicates were merged" if transform else None,
        "digest": data.digest + (", every file verified" if verified else ""),
        "written": f"{manifest.get('created', 'at an unknown time')}",
        "versions": ", ".join(f"{name} {each}" for name, each in _dict(manifest.get("versions")).items()),
    }
    for label, value in rows.items():
        if value is not None:
            facts.add_row(label, _plain(screen, value))
    screen.print(facts)


def _steps(data: RatingsDataset) -> Iterator[str]:
    for step in data.derived:
        share, seed = _number(step.get("users"), plain=True), _number(step.get("seed"), plain=True)
        yield f"{share} of the users of {step['digest']}, seed {seed}"


def _sources(source: dict[str, Any]) -> Iterator[str]:
    files = source.get("files")
    files = [file for file in files if isinstance(file, dict)] if isinstance(files, list) else []
    for file in files[:_LISTED]:
        yield f"{file.get('name', file.get('path', 'a file'))} ({_size(file.get('bytes'))})"
    if len(files) > _LISTED:
        yield f"and {len(files) - _LISTED} more files"
    if "delimiter" in source:
        yield f"delimiter {source['delimiter']!r}"


def _print_rejections(screen: Console, manifest: dict[str, Any]) -> None:
    rejections = _dict(manifest.get("rejections"))
    reasons, samples = _dict(rejections.get("reasons")), rejections.get("samples")
    samples = [each for each in samples if isinstance(each, dict)] if isinstance(samples, list) else []
    if reasons:
        table = _table("rejected because", "rows")
        for reason, count in reasons.items():
            table.add_row(_plain(screen, reason), _plain(screen, _number(count)))
        screen.print()
        screen.print(table)
    for each in samples[:_LISTED]:
        file = str(each.get("file", "?")).rsplit("/", 1)[-1]  # a folder would push the row off the line
        where, why = f"{file}:{each.get('line', '?')}", each.get("reason", "?")
        screen.print(
            _plain(screen, f"  {where}: {why}: {each.get('text', '')}"),
            no_wrap=True,
            overflow="crop" if screen.options.ascii_only else "ellipsis",
        )


def _print_bars(
    screen: Console, title: str, rows: list[tuple[tuple[str, str], float]], whole: float | None = None
) -> None:
    """Print a bar for each row, with its share of `whole`, or of the sum of all rows."""
    total = whole or sum(value for _, value in rows) or 1
    longest = whole or max((value for _, value in rows), default=1) or 1
    widths = [max((len(cells[column]) for cells, _ in rows), default=0) for column in (0, 1)]
    room = screen.width - sum(widths) - len("      100.0%")
    block, sliver = ("#", ".") if screen.options.ascii_only else ("█", "▏")
    screen.print()
    screen.print(title)
    for (label, number), value in rows:
        filled = round(max(min(_BAR, room), 0) * value / longest)
        bar = block * filled or (sliver if value and room > 0 else "")
        line = f"  {label:>{widths[0]}}  {number:>{widths[1]}}  {value / total:>6.1%}  {bar}"
        screen.print(line.rstrip(), no_wrap=True, overflow="crop")


def _print_tables(screen: Console, data: RatingsDataset, quantiles: dict[str, dict[str, int]]) -> None:
    from toolkit.datasets import SHARDS

    table = _table("training ratings", *next(iter(quantiles.values())))
    for name, each in quantiles.items():
        table.add_row(
            f"of a {name}" if name == "user" else f"of an {name}", *(f"{n:,}" for n in each.values())
        )
    screen.print()
    screen.print(table)
    table = _table("files", "number", "rows", "ratings", "bytes")
    kinds: dict[str, list[FileEntry]] = {}
    for entry in data.manifest["files"]:
        # Files that a later version may add are listed with their bytes.
        kinds.setdefault(re.sub(r"-\d+(?=\.npz$)", "-*", entry["path"]), []).append(entry)
    for kind, entries in kinds.items():
        shards = entries if kind.removesuffix("-*.npz") in SHARDS else []
        rows: object = sum(entry["stop"] - entry["start"] for entry in shards) or entries[0].get("rows", "")
        ratings = _number(sum(entry["nnz"] for entry in shards)) if shards else ""
        size = sum(entry["bytes"] for entry in entries)
        table.add_row(_plain(screen, kind), f"{len(entries):,}", _number(rows), ratings, f"{size:,}")
    screen.print()
    screen.print(table)


def _table(first: str, *others: str) -> Table:
    from rich.table import Table

    table = Table(first, box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="")
    for header in others:
        table.add_column(header, justify="right")
    return table


def _plain(screen: Console, value: object) -> str:
    """Return a text from a file in characters that this screen can show, without any that control it."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(value))
    return text.encode(screen.encoding, "backslashreplace").decode(screen.encoding)


def _number(value: object, *, plain: bool = False) -> str:
    if isinstance(value, float):
        return f"{value:.15g}"
    return f"{value:,}" if isinstance(value, int) and not plain else f"{value}"


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _size(value: object) -> str:
    return size_text(value) if isinstance(value, int) else "unknown size"
