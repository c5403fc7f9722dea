"""The posterior distribution of a model: what is kept of it beside the mean factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from toolkit.errors import ConfigError
from toolkit.inputs import checked_number
from toolkit.models.training import Progress
from toolkit.solver import Factors

_SAMPLES = "samples"


class SampleProgress(Progress):
    """One sweep's figures: RMSE and noise in rating units, time in seconds.

    `train_rmse` is that of the draw, not clipped. `valid_rmse` is that of the mean of the predictions of all
    samples of the chain so far; before the first one, that of the draw.
    """

    chain: int
    burn_in: bool
    draw_rmse: float | None
    noise: float


@dataclass(frozen=True)
class SamplingPlan:
    """How many samples are drawn, and of what.

    Attributes
    ----------
    samples : int
        Sweeps of each chain that count.
    burn_in : int
        Sweeps of each chain before them, which do not count.
    chains : int
        Independent chains. The first one gives the mean factors; all of them show whether they agree.
    keep : int
        Samples that are kept for intervals, spread evenly.
    patience : int
        The first chain ends when so many samples have not lowered the validation RMSE; 0: never.

    Raises
    ------
    ConfigError
        When a number is no whole number, or too small.
    """

    samples: int
    burn_in: int
    chains: int
    keep: int
    patience: int

    def __post_init__(self) -> None:
        least = {"samples": 1, "burn_in": 1, "chains": 1, "keep": 0, "patience": 0}
        for name, value in least.items():
            object.__setattr__(self, name, checked_number(name, getattr(self, name), value))
        if self.keep > self.samples * self.chains:
            raise ConfigError(f"keep must be at most {self.samples * self.chains}, not {self.keep}")

    def kept_after(self, chain: int) -> frozenset[int]:
        """Return which samples of a chain are kept, the first one being 1."""
        own = self.keep // self.chains + (chain < self.keep % self.chains)
        return frozenset(-(-self.samples * at // own) for at in range(1, own + 1))


class Decile(TypedDict):
    """A tenth of the validation ratings, by the width of their intervals: mean width and RMSE."""

    deviation: float
    rmse: float


class PosteriorFacts(TypedDict):
    """How the posterior was sampled, and how well it holds on validation ratings.

    RMSE, noise and deviations are in rating units. What needs validation ratings is None without them.
    """

    samples: int
    burn_in: int
    chains: int
    noise: float
    valid_rmse: float | None
    mean_factors_rmse: float | None
    r_hat: float | None
    effective_samples: float | None
    coverage: dict[str, float] | None
    deciles: list[Decile] | None


@dataclass(frozen=True, eq=False)
class Posterior:
    """The posterior distribution beside the mean factors.

    Attributes
    ----------
    noise : float
        Standard deviation of a rating around its prediction, in rating units.
    facts : PosteriorFacts
        How it was sampled, and how well it holds.
    samples : sequence of Factors
        Draws of all factors that intervals are made of; empty where none were kept.
    noises : sequence of float
        The noise of each of the samples.
    """

    noise: float
    facts: PosteriorFacts
    samples: Sequence[Factors] = ()
    noises: Sequence[float] = ()

    def words(self) -> dict[str, Any]:
        """Return what a header says of it."""
        return {"noise": self.noise, "facts": self.facts, "noises": list(self.noises)}

    def save_samples(self, folder: Path) -> None:
        """Write the samples into a model directory."""
        for at, sample in enumerate(self.samples):
            own = folder / _SAMPLES / str(at)
            own.mkdir(parents=True)
            sample.save(own)

    @classmethod
    def read(cls, folder: Path, words: dict[str, Any]) -> Posterior:
        """Return the posterior of a model directory; the arrays of its samples stay in the files.

        Raises
        ------
        ModelError
            When a sample is missing or malformed.
        """
        noises = tuple(map(float, words["noises"]))
        samples = tuple(Factors.load(folder / _SAMPLES / str(at)) for at in range(len(noises)))
        return cls(float(words["noise"]), words["facts"], samples, noises)
