"""``walslab recommend``: a user's best items."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.cli import console, emit, json_option


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--user", required=True, help="Id of a user, as in the ratings file.")
@click.option("-n", default=10, show_default=True, type=click.IntRange(min=1), help="How many items.")
@click.option("--include-seen", is_flag=True, help="Also list items that the user rated in training.")
@json_option
def recommend(model: Path, user: str, n: int, *, include_seen: bool, as_json: bool) -> None:
    """List the items that MODEL predicts a user would rate highest.

    \b
    Example:
      walslab recommend models/first --user 196 -n 5
    """
    from rich.table import Table

    from toolkit.model import Model

    fitted = Model.load(model)
    items, scores = fitted.recommend(user, n, exclude_seen=not include_seen)
    table = Table("item", "predicted rating", title=f"for user {user}")
    for item, score in zip(items, scores, strict=True):
        table.add_row(str(item), f"{score:.2f}")
    console(as_json=as_json).print(table)
    if as_json:
        pairs = zip(items.tolist(), scores.tolist(), strict=True)
        emit(
            {
                "user": fitted.users.ids[fitted.users.rows(user)[0]].item(),
                "items": [{"item": i, "score": s} for i, s in pairs],
            }
        )
