"""``walslab ingest``: ratings files to a dataset directory."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import click

from toolkit.cli import console, emit, json_option
from toolkit.errors import ConfigError


@click.command()
@click.argument("ratings", nargs=-1, required=True, metavar="RATINGS...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Dataset directory to make.")
@click.option("--delimiter", help="What separates fields: one character, tab, or '::'.  [default: detected]")
@click.option(
    "--header/--no-header", default=None, help="Whether line 1 names the columns.  [default: detected]"
)
@click.option(
    "--columns",
    help="User, item and rating: names of the header (client,article,score) or positions (1,2,3).",
)
@click.option("--valid", default=0.1, show_default=True, help="Share of ratings held out for tuning.")
@click.option(
    "--test", default=0.1, show_default=True, help="Share of ratings held out for one test at the end."
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Another seed, another split."
)
@click.option(
    "--duplicates",
    type=click.Choice(["last", "mean", "sum", "error"]),
    default="last",
    show_default=True,
    help="What becomes of several ratings of a pair.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing dataset.")
@json_option
def ingest(
    ratings: tuple[str, ...],
    out: Path,
    delimiter: str | None,
    header: bool | None,
    columns: str | None,
    valid: float,
    test: float,
    seed: int,
    duplicates: str,
    *,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Read RATINGS files, check them, number users and items, split, and write a dataset directory.

    Tab, '::', comma and other delimiters, with a header or without, plain or .gz, are recognised. Ids may be
    numbers with gaps, or text.

    \b
    Examples:
      walslab ingest data/ml-100k/u.data --out data/ml-100k/dataset
      walslab ingest ratings-*.csv --columns client,article,score --out mine
    """
    from toolkit.ingest import ingest_ratings
    from toolkit.source import RatingsSource

    began = time.perf_counter()
    delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter or "", delimiter)
    if delimiter is not None and len(delimiter) != 1 and delimiter != "::":
        raise ConfigError(f"--delimiter must be one character, tab, or '::', but got {delimiter!r}")
    wanted = [name.strip() for name in columns.split(",")] if columns else None
    source = RatingsSource.detect(ratings, delimiter=delimiter, header=header, columns=wanted)
    screen = console(as_json=as_json)
    files = source.paths[0] if len(source.paths) == 1 else f"{len(source.paths)} files"
    screen.print(
        f"{files}: delimiter {source.delimiter!r}, {'a' if source.header else 'no'} header, user, item "
        "and rating in "
        f"columns {', '.join(str(c + 1) for c in source.columns)} of {source.fields}",
        soft_wrap=True,
        markup=False,
    )
    with screen.status("reading") as status:
        data = ingest_ratings(
            source,
            out,
            valid=valid,
            test=test,
            seed=seed,
            duplicates=duplicates,  # type: ignore[arg-type]
            overwrite=overwrite,
            progress=status.update,
        )
    seconds = time.perf_counter() - began
    counts = data.counts
    repeated = f", {counts['duplicates']:,} duplicates ({duplicates})" if counts["duplicates"] else ""
    screen.print(
        f"{counts['ratings']:,} ratings of {counts['users']:,} users and {counts['items']:,} "
        f"items{repeated}\n"
        f"train {counts['train']:,}   valid {counts['valid']:,}   test {counts['test']:,}   in "
        f"{seconds:.1f} s\n"
        f"dataset in {out}, digest {data.digest}",
        soft_wrap=True,
    )
    screen.print(f"\nNext:  walslab train {out} --preset tutorial-default --out models/first", soft_wrap=True)
    screen.print(f"       walslab tune {out}", soft_wrap=True)
    if as_json:
        order = ("ratings", "users", "items", "train", "valid", "test", "rejected", "duplicates")
        emit(
            {
                "dataset": str(out),
                "digest": data.digest,
                **{key: counts[key] for key in order},
                "seconds": seconds,
                # Linux reports KiB.
                "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        )
