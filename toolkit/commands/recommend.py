"""``walslab recommend``: the best items of a user, of some, or of all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from toolkit.commands.items import Items, model_argument, plain, titles_option
from toolkit.commands.output import console, emit, json_option, shown_rating
from toolkit.commands.step_progress import progress

if TYPE_CHECKING:
    from rich.console import Console

    from toolkit.arrays import IntArray
    from toolkit.backends import BackendName
    from toolkit.models import Model
    from toolkit.recommending import Asked, Report, Rule


@click.command()
@model_argument
@click.option("--user", metavar="ID", help="A user, as in the ratings file; the items are shown.")
@click.option(
    "--users",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The users of a file: one id a line; .csv, column user, user_id, clientId or the like; or .parquet, "
    "column user.",
)
@click.option("--all-users", is_flag=True, help="Every user of the model.")
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="With --users and --all-users: .parquet or .csv to write.",
)
@click.option("-n", default=10, show_default=True, type=click.IntRange(min=1), help="How many items.")
@click.option(
    "--exclude-seen/--include-seen",
    default=True,
    show_default=True,
    help="Leave out items that the user rated in training, or list them, too.",
)
@click.option(
    "--min-ratings",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Training ratings that an item must have to be recommended.",
)
@titles_option
@click.option("--explain", is_flag=True, help="With --user: the rating that speaks most for each item.")
@click.option(
    "--unknown",
    type=click.Choice(["error", "drop"]),
    default="error",
    show_default=True,
    help="Stop at a user whom the model has never seen, or leave such users out, counted.",
)
@click.option(
    "--backend",
    type=click.Choice(["auto", "numpy", "numba", "cupy"]),
    default="auto",
    show_default=True,
    help="Where it is computed; auto takes cupy where a GPU is usable, or else numba.",
)
@click.option(
    "--threads",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="CPU threads; 0: all of this machine, and on a Dask cluster one for each task.",
)
@click.option("--dask-scheduler", metavar="ADDRESS", help="Work on a Dask cluster, such as tcp://head:8786.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@json_option
def recommend(
    model: str,
    *,
    user: str | None,
    users: Path | None,
    all_users: bool,
    out: Path | None,
    n: int,
    exclude_seen: bool,
    min_ratings: int,
    titles: Path | None,
    explain: bool,
    as_json: bool,
    **batch: Any,
) -> None:
    """List the items that MODEL predicts a user would rate highest, or write those of many users to a file.

    MODEL is a directory, or models:/NAME@ALIAS or models:/NAME/VERSION of MLflow. The file has a row for each
    item: user, rank from 1, item, score (the predicted rating, unclipped), and title where titles are known.
    Memory does not grow with the number of users.

    \b
    Examples:
      walslab recommend models/first --user 196 -n 5
      walslab recommend models/first --user 196 --titles data/ml-100k/ml-100k.item --explain
      walslab recommend models/first --users clients.csv --out recs.parquet
      walslab recommend models:/films@champion --all-users --out recs.parquet --min-ratings 5
    """
    from toolkit.recommending import Rule
    from toolkit.serving import open_model

    if (user is not None) + (users is not None) + all_users != 1:
        raise click.UsageError("Name one of --user ID, --users FILE and --all-users.")
    if (user is None) != (out is not None):
        raise click.UsageError(
            "--user shows its items: leave --out away, or take --users FILE."
            if user is not None
            else "Missing option '--out': the file to write."
        )
    if explain and user is None:
        raise click.UsageError("--explain goes with --user; `walslab explain` says more of one prediction.")
    rule = Rule(n, exclude_seen=exclude_seen, min_ratings=min_ratings)
    if user is not None:
        _show(open_model(model), user, rule, titles, explain=explain, as_json=as_json)
    elif out is not None:
        _write(model, users, out, rule, titles, as_json=as_json, **batch)


def _show(fitted: Model, user: str, rule: Rule, titles: Path | None, *, explain: bool, as_json: bool) -> None:
    from toolkit.backends import Backend
    from toolkit.recommending import Ranker

    user_rows = fitted.users.rows(user)
    best = Ranker(fitted, rule, Backend(fitted.options.threads)).best(user_rows)
    items = Items(fitted, titles)
    real = best.items[0] >= 0
    recommended = list(zip(best.items[0][real].tolist(), best.scores[0][real].tolist(), strict=True))
    reasons = _reasons(fitted, user, [row for row, _ in recommended]) if explain else []
    texts = [_reason_text(items, reason) for reason in reasons] or [""] * len(recommended)
    heading = f"for user {plain(user)}, who rated {fitted.rated[user_rows].nnz:,} items in training"
    table = items.table(
        "predicted rating",
        ((row, shown_rating(score), text) for (row, score), text in zip(recommended, texts, strict=True)),
        "because of" if explain else "",
    )
    screen = console(as_json=as_json)
    screen.print(heading, soft_wrap=True)
    screen.print(table)
    _warn(screen, fitted.item_counts[best.items[0][real]], rule)
    if as_json:
        entries = [items.entry(row, score=score) for row, score in recommended]
        for entry, reason in zip(entries, reasons, strict=False):
            entry["because"] = None if reason is None else items.entry(reason[0], rating=reason[1])
        emit({"user": fitted.users.id(user_rows[0]), "items": entries})


def _reasons(fitted: Model, user: str, rows: list[int]) -> list[tuple[int, float] | None]:
    """Return the rated item that speaks most for each item, and its rating; None where none speaks for it."""
    return [
        (fitted.items.row(explained.items[0]), float(explained.ratings[0]))
        if len(explained.items) and explained.contributions[0] > 0
        else None
        for explained in fitted.explain_many(user, fitted.items.at(rows))
    ]


def _reason_text(items: Items, reason: tuple[int, float] | None) -> str:
    return "" if reason is None else f"{items.title(reason[0]) or items.name(reason[0])}, rated {reason[1]:g}"


def _warn(screen: Console, counts: IntArray, rule: Rule) -> None:
    """Print a warning where listed items have few ratings."""
    from toolkit.recommending import FEW_RATINGS

    few = int((counts < FEW_RATINGS).sum())
    if few and rule.min_ratings < FEW_RATINGS:
        screen.print(
            f"{few} of {len(counts)} have less than {FEW_RATINGS} ratings, which is little to go by: "
            f"--min-ratings {FEW_RATINGS} leaves such items out",
            soft_wrap=True,
        )


def _write(
    name: str,
    users: Path | None,
    out: Path,
    rule: Rule,
    titles: Path | None,
    *,
    unknown: Literal["error", "drop"],
    backend: BackendName,
    threads: int,
    dask_scheduler: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    from toolkit import recommending
    from toolkit.serving import open_model

    began = time.perf_counter()
    recommending.check_target(out, overwrite=overwrite)
    fitted = open_model(name)
    items = Items(fitted, titles)
    asked = (
        recommending.every_user(fitted.users)
        if users is None
        else recommending.read_users(users, fitted.users, unknown=unknown)
    )
    with (
        recommending.ranking(
            fitted, rule, backend=backend, threads=threads, scheduler=dask_scheduler, name=name
        ) as (rank, where),
        progress() as tell,
    ):
        report = recommending.recommend_to_file(
            fitted, asked.rows, out, rule, rank, titles=items.titles, overwrite=overwrite, progress=tell
        )
    seconds = time.perf_counter() - began
    screen = console(as_json=as_json)
    for line in _summary(report, asked, fitted, rule):
        screen.print(line, soft_wrap=True)
    screen.print(f"{out}, in {seconds:.1f} s on {where}", soft_wrap=True)
    if as_json:
        emit(
            {
                "out": str(out),
                **report._asdict(),
                "unknown": asked.unknown,
                "repeated": asked.repeated,
                "n": rule.n,
                "min_ratings": rule.min_ratings,
                "backend": where,
                "seconds": seconds,
            }
        )


def _summary(report: Report, asked: Asked, fitted: Model, rule: Rule) -> Iterator[str]:
    from toolkit.recommending import FEW_RATINGS

    yield (
        f"{report.rows:,} rows for {report.users:,} user{'s' * (report.users != 1)}, of {report.items:,} "
        f"different items ({report.items / max(1, len(fitted.items)):.1%} of all)"
    )
    if asked.unknown:
        yield f"users left out, whom the model has never seen: {asked.unknown:,}"
    if asked.repeated:
        yield f"users named again, each counted once: {asked.repeated:,}"
    if report.few_ratings and rule.min_ratings < FEW_RATINGS:
        yield (
            f"{report.few_ratings:.1%} of the rows are items of less than {FEW_RATINGS} ratings, which is "
            f"little to go by: --min-ratings {FEW_RATINGS} leaves such items out"
        )
