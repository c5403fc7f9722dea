"""``walslab ingest``: ratings files to a dataset directory."""

from __future__ import annotations

import os
import resource
import shlex
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from toolkit.commands.options import SIZE
from toolkit.commands.output import console, emit, json_option
from toolkit.commands.rating_doubts import doubts_of_all, doubts_of_first
from toolkit.commands.step_progress import progress
from toolkit.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from toolkit.datasets import RatingsDataset
    from toolkit.ingest import RatingsSource

_FORMS = {"utf-16": "UTF-16", "sep": "sep=", "netflix": "blocks of an item", "matrix": "MatrixMarket"}


@click.command()
@click.argument("ratings", nargs=-1, required=True, metavar="RATINGS...")
@click.option(
    "--out", required=True, help="Dataset directory to make, or an address such as s3://bucket/mine."
)
@click.option("--delimiter", help="What separates fields: one character, tab, or '::'.  [default: detected]")
@click.option(
    "--header/--no-header", default=None, help="Whether line 1 names the columns.  [default: detected]"
)
@click.option(
    "--columns",
    help="User, item, rating and perhaps timestamp: names of the header (client,article,score) or positions "
    "(1,2,3,4). Without a header, names of the fields in their order (item,user,rating). With --wide, the "
    "user and the items (1,3-102).",
)
@click.option(
    "--quote",
    type=click.Choice(["double", "none"]),
    default="double",
    show_default=True,
    help='What quotes mean. double: a field in " may hold delimiters and line ends; none: nothing.',
)
@click.option(
    "--decimal",
    type=click.Choice(["point", "comma"]),
    default="point",
    show_default=True,
    help="What stands before the decimals of a rating.",
)
@click.option(
    "--wide", is_flag=True, help="Users are in rows and items in columns; an empty cell is no rating."
)
@click.option(
    "--no-rating",
    metavar="VALUE",
    help="With --wide: what else a cell without a rating holds (99); '' for nothing else.",
)
@click.option(
    "--ids",
    type=click.Choice(["auto", "integer", "text"]),
    default="auto",
    show_default=True,
    help="The kind of ids. auto: integers where all are, otherwise text; integer: any other is a bad row.",
)
@click.option(
    "--split",
    type=click.Choice(["random", "per-user", "temporal", "per-user-last"]),
    help="Which ratings are held out: drawn from all, drawn from each user's, the latest of all, or each "
    "user's latest.  [default: random]",
)
@click.option(
    "--valid",
    default=0.1,
    show_default=True,
    help="Held out for tuning: a share, or from 1 on a number of ratings (per-user: of each user's).",
)
@click.option(
    "--test", default=0.1, show_default=True, help="Held out for one test at the end: share or number."
)
@click.option(
    "--split-column", help="Column that says train, valid or test for each rating: a name or a position."
)
@click.option(
    "--split-file",
    "split_files",
    multiple=True,
    metavar="test=FILE",
    help="Ratings that are held out, of a published split: test=FILE or valid=FILE; may be repeated.",
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Another seed, another split."
)
@click.option(
    "--duplicates",
    "--aggregate",
    "duplicates",
    type=click.Choice(["last", "mean", "sum", "error"]),
    default="last",
    show_default=True,
    help="What becomes of several ratings of a pair. last: by a recognised column of times, otherwise in the "
    "order of lines and files; sum serves event logs.",
)
@click.option(
    "--transform",
    type=click.Choice(["none", "log1p"]),
    default="none",
    show_default=True,
    help="What is done to ratings once each pair has one. log1p: log(1 + rating), for seconds or counts.",
)
@click.option(
    "--bad-rows",
    type=click.Choice(["error", "drop"]),
    default="error",
    show_default=True,
    help="Stop at a row that is no rating, or leave such rows out, counted and sampled in the manifest.",
)
@click.option(
    "--memory",
    type=SIZE,
    help="Memory to take, such as 512MiB or 2GB.  [default: a quarter of the machine's]",
)
@click.option(
    "--shard-ratings",
    type=click.IntRange(min=1),
    help="Ratings of a shard, about; another number, another digest.  [default: half a million, more where "
    "there are more than 100 million]",
)
@click.option("--dask-scheduler", metavar="ADDRESS", help="Work on a Dask cluster, such as tcp://head:8786.")
@click.option(
    "--dask",
    type=click.Choice(["threads", "cuda"]),
    default="threads",
    show_default=True,
    help="Work in threads, or with a Dask worker on each GPU of this machine.",
)
@click.option(
    "--scratch",
    metavar="DIR",
    help="Where to work before the dataset is sent to an address.  [default: the system's temporary folder]",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing dataset.")
@json_option
def ingest(
    ratings: tuple[str, ...],
    out: str,
    delimiter: str | None,
    header: bool | None,
    columns: str | None,
    quote: str,
    decimal: str,
    no_rating: str | None,
    ids: str,
    split: str | None,
    valid: float,
    test: float,
    split_column: str | None,
    split_files: tuple[str, ...],
    seed: int,
    duplicates: str,
    transform: str,
    bad_rows: str,
    memory: int | None,
    shard_ratings: int | None,
    dask_scheduler: str | None,
    dask: str,
    scratch: str | None,
    *,
    wide: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Read RATINGS files, check them, number users and items, split, and write a dataset directory.

    RATINGS are files, patterns, directories, FILE.zip/MEMBER, or addresses such as s3://bucket/part-*.parquet:
    text with tab, '::', comma or another delimiter, with a header or without, plain or compressed, Parquet,
    JSON lines, Netflix's blocks or MatrixMarket. Ids may be numbers with gaps, or text. What is guessed is
    tested on the first lines, and refused where it is doubtful. Memory does not grow with the input.

    \b
    Examples:
      walslab ingest data/ml-100k/u.data --out data/ml-100k/dataset
      walslab ingest ratings-*.csv --columns client,article,score --out mine
      walslab ingest no-header.csv --columns item,user,rating --out mine
      walslab ingest ratings.csv --split temporal --bad-rows drop --out by-time
      walslab ingest u1.base --split-file test=u1.test --out published
      walslab ingest pivot.csv --wide --no-rating 99 --out jokes
      walslab ingest views/ --columns client,page,seconds --aggregate sum --transform log1p --out views-set
    """
    from toolkit.ingest import (
        RatingsSource,
        SplitRule,
        chosen_engine,
        example_ratings,
        ingest_ratings,
        keep_freed_memory,
    )

    began = time.perf_counter()
    keep_freed_memory()
    delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter or "", delimiter)
    given = bool(split_column or split_files)
    if given and split:
        raise ConfigError(
            "--split draws a split, and --split-file and --split-column name one: give one of them"
        )
    rule = SplitRule(kind="given" if given else split or "random", valid=valid, test=test, seed=seed)  # type: ignore[arg-type]
    rule.check()
    # Workers of a cluster are in folders of their own.
    written = _absolute if dask_scheduler is not None else str
    source = RatingsSource.detect(
        [written(path) for path in ratings],
        delimiter=delimiter,
        header=header,
        columns=[name.strip() for name in columns.split(",")] if columns else None,
        timestamp=rule.needs_times,
        split_column=split_column,
        split_files={name: [*map(written, paths)] for name, paths in _by_split(split_files).items()},
        ids=ids,  # type: ignore[arg-type]
        quotes=quote == "double",
        decimal="," if decimal == "comma" else ".",
        wide=wide,
        no_rating=no_rating,
    )
    screen = console(as_json=as_json)
    screen.print(_form_line(source), soft_wrap=True)
    if examples := example_ratings(source):
        screen.print("; ".join(examples), soft_wrap=True)
    for doubt in doubts_of_first(source):
        screen.print(doubt, soft_wrap=True)
    with chosen_engine(dask_scheduler, dask) as engine, progress() as show:
        data = ingest_ratings(
            source,
            out,
            split=rule,
            duplicates=duplicates,  # type: ignore[arg-type]
            transform=transform,  # type: ignore[arg-type]
            bad_rows=bad_rows,  # type: ignore[arg-type]
            memory_bytes=memory,
            shard_ratings=shard_ratings,
            engine=engine,
            overwrite=overwrite,
            scratch=scratch,
            progress=show,
        )
    seconds = time.perf_counter() - began
    _report(data, seconds, screen)
    place = shlex.quote(out)
    screen.print(
        f"\nNext:  walslab train {place} --preset tutorial-default --out models/first\n"
        f"       walslab tune {place}",
        soft_wrap=True,
    )
    if as_json:
        order = ("ratings", "users", "items", "train", "valid", "test", "rejected", "duplicates")
        emit(
            {
                "dataset": out,
                "digest": data.digest,
                **{key: data.counts[key] for key in order},
                "seconds": seconds,
                # Linux reports KiB, macOS bytes.
                "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                * (1 if sys.platform == "darwin" else 1024),
            }
        )


def _absolute(path: str) -> str:
    from toolkit.files import is_address

    return path if is_address(path) else os.path.abspath(path)  # noqa: PTH100 - a pattern is no Path


def _by_split(given: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the files of each split, from texts such as ``test=u1.test``."""
    files: dict[str, list[str]] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or name not in {"valid", "test"}:
            raise ConfigError(f"--split-file must be test=FILE or valid=FILE, but got {text!r}")
        files.setdefault(name, []).append(path)
    return files


def _form_line(source: RatingsSource) -> str:
    """Return the line that says how the files are read."""
    files = source.paths[0] if len(source.paths) == 1 else f"{len(source.paths)} files"
    header = "a header of counted columns" if source.counted else "a header" if source.header else "no header"
    forms = [_FORMS[form] for form in source.files[0].forms if form in _FORMS]
    form = "Parquet" if source.typed else ", ".join([*forms, f"delimiter {source.delimiter!r}, {header}"])
    if source.files[0].keys:
        return f"{files}: JSON lines with the keys {', '.join(source.files[0].keys)}"
    if source.wide:
        items = f"{len(source.items):,} items in columns"
        return f"{files}: {form}, users in column {source.columns[0] + 1}, {items}"
    time = source.spare_time if source.timestamp is None else source.timestamp
    positions = [*source.columns] + ([] if source.timestamp is None else [source.timestamp])
    names = "user, item and rating" if source.timestamp is None else "user, item, rating and timestamp"
    numbers = ", ".join(str(position + 1) for position in positions)
    line = f"{files}: {form}, {names} in columns {numbers} of {source.fields}"
    if source.timestamp is None and time is not None:
        line += f", times in column {time + 1}"
    return line


def _split_line(split: dict[str, Any]) -> str:
    parts = [part for part in ("valid", "test") if f"{part}_from" in split]
    return ", ".join([split["kind"], *(f"{part} from {split[f'{part}_from']}" for part in parts)])


def _duplicates_words(manifest: dict[str, Any]) -> str:
    if manifest["duplicates"] != "last":
        return str(manifest["duplicates"])
    by_time = manifest["source"]["timestamp"] is not None
    return f"last in {'time' if by_time else 'the order of lines and files, as no times are read'}"


def _report(data: RatingsDataset, seconds: float, screen: Console) -> None:
    counts, manifest = data.counts, data.manifest
    repeated = (
        f", {counts['duplicates']:,} duplicates ({_duplicates_words(manifest)})"
        if counts["duplicates"]
        else ""
    )
    if manifest["transform"] != "none":
        low, high = manifest["ratings"]["min"], manifest["ratings"]["max"]
        repeated += f", taken as {manifest['transform']}, from {low:.3g} to {high:.3g}"
    screen.print(
        f"{counts['ratings']:,} ratings of {counts['users']:,} users "
        f"and {counts['items']:,} items{repeated}\n"
        f"train {counts['train']:,}   valid {counts['valid']:,}   test {counts['test']:,}   "
        f"({_split_line(manifest['split'])})   in {seconds:.1f} s",
        soft_wrap=True,
    )
    if counts["rejected"]:
        screen.print(f"{counts['rejected']:,} bad rows left out:", soft_wrap=True)
        unit = "line" if manifest["source"]["delimiter"] else "row"
        for reason, count in manifest["rejections"]["reasons"].items():
            first = next(s for s in manifest["rejections"]["samples"] if s["reason"] == reason)
            example = f"{first['file']}, {unit} {first['line']}: {first['text']!r}"
            screen.print(
                f"  {count:,} × {reason}, such as {example}",
                soft_wrap=True,
            )
    for doubt in doubts_of_all(manifest):
        screen.print(doubt, soft_wrap=True)
    for name, facts in manifest["ids"].items():
        if "floats" in facts:
            screen.print(
                f"{name} such as {facts['floats']} are taken as whole numbers "
                "(--ids text keeps them as written)",
                soft_wrap=True,
            )
        if facts.get("integers") and facts["example"] is not None:
            screen.print(
                f"{name} are taken as text: {facts['integers']:,} ids are integers, but others, such as "
                f"{facts['example']!r}, are not (--ids integer makes those bad rows)",
                soft_wrap=True,
            )
    screen.print(f"dataset in {data.path}, digest {data.digest}", soft_wrap=True)
