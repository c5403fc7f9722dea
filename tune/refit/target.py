"""Name and alias that a refitted model gets in MLflow's model registry, as the user asks for them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from toolkit.errors import ConfigError

Promote = Literal["better", "always"]


@dataclass(frozen=True)
class Target:
    """Name and alias of a model in the registry.

    Attributes
    ----------
    name : str
        Name of the registered model.
    alias : str or None
        Alias that the new version gets, if it may; None for a version without one.
    promote : {"better", "always"}
        Whether the alias moves only to a version that is better than the one that has it, or always.

    Raises
    ------
    ConfigError
        When MLflow takes no such name or alias.
    """

    name: str
    alias: str | None = None
    promote: Promote = "better"

    def __post_init__(self) -> None:
        if not self.name.strip() or re.search(r"[/:]", self.name):
            raise ConfigError(
                f"the name of a registered model must be without / and :, but got {self.name!r}"
            )
        if self.alias is not None and not re.fullmatch(
            r"(?!latest$|v\d+$)[\w-]{1,255}", self.alias, re.ASCII
        ):
            raise ConfigError(
                "an alias must be of letters, digits, _ and -, and not latest or v1, v2, …, but got "
                f"{self.alias!r}"
            )
