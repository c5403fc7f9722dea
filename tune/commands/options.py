"""Options that several commands have, and what they mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click import Context, Parameter

    from toolkit.datasets import RatingsDataset
    from tune.study import Study


def executor_option(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where trials run; it gets them as one argument ``executor``."""
    names = click.option(
        "--executor",
        type=click.Choice(["auto", "ray", "in-process"]),
        default="auto",
        show_default=True,
        help="Many trials at once on Ray, or one after the other in this process, each on all processors. "
        "auto: Ray where RAY_ADDRESS is set, or the study asks for trials at once, resources or GPUs; "
        "otherwise what ends sooner.",
    )
    short = click.option(
        "--in-process", "executor", flag_value="in-process", help="The same as --executor in-process."
    )
    return names(short(command))


class NumberOr(click.ParamType):  # type: ignore[type-arg]
    """A number, or one word in its place.

    Parameters
    ----------
    word : str
        Such as ``auto`` or ``none``.
    """

    def __init__(self, word: str) -> None:
        self.word, self.name = word, f"N|{word}"

    def convert(self, value: object, param: Parameter | None, ctx: Context | None) -> int | float | str:
        """Return the word, an integer where the text is one, or a float."""
        text = str(value)
        if text == self.word:
            return text
        for number in (int, float):
            try:
                return number(text)
            except ValueError:
                continue
        raise click.BadParameter(f"{text!r} is neither a number nor {self.word!r}", ctx, param)


def dataset_of(study: Study, given: str | None, option: str = "--dataset DIR") -> RatingsDataset:
    """Return the dataset of a study: the one that was given, or the one where the study left it.

    Raises
    ------
    DatasetError
        When there is none; of a study, with the option that names another place.
    """
    from toolkit.datasets import RatingsDataset
    from toolkit.errors import DatasetError

    try:
        return RatingsDataset.open(given or study.facts["dataset"])
    except DatasetError as error:
        if given:
            raise
        raise DatasetError(
            f"the study's dataset: {error}; if it was moved, name its place by {option}"
        ) from error


def model_place(study: Study) -> Path:
    """Return where the model of a study goes: ``model`` in it; of one at an address, ``models/NAME`` here."""
    return from_here(study.path / "model" if study.location.is_permanent else Path("models", study.name))


def from_here(path: Path) -> Path:
    """Return a path as the user would write it: relative where it is below the current folder."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
