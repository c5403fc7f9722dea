"""Options that several commands have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click import Context, Parameter

executor_option = click.option(
    "--in-process",
    is_flag=True,
    help="One trial after another in this process, each on all processors, without Ray.",
)


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
