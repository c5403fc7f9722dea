"""``walslab export``: a model in another tool's format."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.commands.items import model_argument
from toolkit.commands.output import console, emit, json_option


@click.command()
@model_argument
@click.option(
    "--format",
    "format_",
    type=click.Choice(["tutorial"]),
    default="tutorial",
    show_default=True,
    help="tutorial: row.npy, col.npy, user.npy, item.npy, as the TensorFlow WALS tutorial reads them.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory to write.")
@click.option("--overwrite", is_flag=True, help="Replace an existing directory.")
@json_option
def export(model: str, format_: str, out: Path, *, overwrite: bool, as_json: bool) -> None:
    """Write MODEL in the format of another tool.

    MODEL is a directory, or models:/NAME@ALIAS or models:/NAME/VERSION of MLflow.

    \b
    Example:
      walslab export models/first --format tutorial --out exported
    """
    from toolkit.models import export_tutorial
    from toolkit.serving import open_model

    shapes = export_tutorial(open_model(model), out, overwrite=overwrite)
    screen = console(as_json=as_json)
    for name, shape in shapes.items():
        screen.print(f"{out / name}.npy  {' x '.join(map(str, shape))}", soft_wrap=True)
    if as_json:
        emit(
            {
                "out": str(out),
                "format": format_,
                "shapes": {name: list(shape) for name, shape in shapes.items()},
            }
        )
