"""The rule by which ratings are held out: at random, by time, or as the input says."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from toolkit.errors import ConfigError
from toolkit.inputs import checked_number, checked_word

Kind = Literal["random", "per-user", "temporal", "per-user-last", "given"]
KINDS: tuple[Kind, ...] = ("random", "per-user", "temporal", "per-user-last", "given")


@dataclass(frozen=True, kw_only=True)
class SplitRule:
    """The rule by which ratings are held out.

    Attributes
    ----------
    kind : str
        ``random``: drawn from all ratings. ``per-user``: drawn from the ratings of each user. ``temporal``:
        the latest of all ratings for the test, the latest of the others for validation. ``per-user-last``:
        the latest of each user's ratings for the test, the latest of his others for validation. ``given``:
        the input says it; where it names no validation ratings, they are drawn from those for training.
    valid, test : float
        Below 1 a share of the ratings (per-user kinds: of each user's), otherwise a whole number of them.
    seed : int
        Another seed gives another split; with times it decides among ratings at the same time.
    """

    kind: Kind = "random"
    valid: float = 0.1
    test: float = 0.1
    seed: int = 0

    def check(self) -> None:
        """Refuse a rule that cannot be followed.

        Raises
        ------
        ConfigError
            Naming the option.
        """
        checked_word("--split", self.kind, KINDS)
        for name, amount in (("valid", self.valid), ("test", self.test)):
            number = isinstance(amount, int | float) and not isinstance(amount, bool)
            if not number or not 0 <= amount < math.inf or (amount >= 1 and amount != int(amount)):
                raise ConfigError(
                    f"--{name} must be a share, at least 0 and below 1, or a whole number of ratings, but "
                    f"got {amount!r}"
                )
        if self.valid < 1 and self.test < 1 and self.valid + self.test >= 1:
            raise ConfigError(
                f"--valid and --test must leave ratings to train on, but got {self.valid} + {self.test}"
            )
        if checked_number("--seed", self.seed, 0) >= 2**64:
            raise ConfigError(f"--seed must be at least 0 and below 2**64, but got {self.seed!r}")

    @property
    def needs_times(self) -> bool:
        """Whether the times of the ratings decide."""
        return self.kind in {"temporal", "per-user-last"}

    @property
    def by_user(self) -> bool:
        """Whether the ratings of each user are split apart from those of the others."""
        return self.kind.startswith("per-user")

    def totals(self, n: int) -> tuple[int, int]:
        """Return how many of `n` ratings are for validation and for the test.

        Raises
        ------
        ConfigError
            When no rating is left to train on.
        """
        n_valid, n_test = _amount(self.valid, n), 0 if self.kind == "given" else _amount(self.test, n)
        if n_valid + n_test >= max(n, 1):
            raise ConfigError(
                f"--valid and --test must leave ratings to train on, but {self.valid:.15g} and "
                f"{self.test:.15g} of {n} ratings are {n_valid} and {n_test}"
            )
        return n_valid, n_test

    def record(self) -> dict[str, Any]:
        """Return the rule for the manifest."""
        return {**asdict(self), "seed": int(self.seed)}


def _amount(amount: float, n: int) -> int:
    return int(amount) if amount >= 1 else round(amount * n)
