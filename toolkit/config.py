"""Hyperparameters, which identify a model (`WALSConfig`), and where and how it is trained (`RunOptions`)."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from toolkit.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Range:
    """The valid values of a number, both ends included.

    Attributes
    ----------
    low, high : float
        Smallest and largest valid value.
    integer : bool
        Whether only whole numbers are valid.
    optional : bool
        Whether there may be no number: None, which is written ``none`` in words.
    """

    low: float
    high: float
    integer: bool = False
    optional: bool = False

    def problem(self, value: object) -> str | None:
        """Return what is wrong with `value`, or None."""
        if self.optional and _is_none(value):
            return None
        kind = numbers.Integral if self.integer else numbers.Real
        if isinstance(value, bool) or not isinstance(value, kind):
            return f"must be {'a whole number' if self.integer else 'a number'}, but got {_text(value)}"
        # A whole number is compared as it is: as a float it could be rounded into the range.
        number: Any = value
        if not self.integer:
            try:
                number = float(number)
            except OverflowError:
                number = math.inf
        # NaN is in no range.
        if not self.low <= number <= self.high:
            return f"must be between {self.low:g} and {self.high:g}, but got {_text(value)}"
        return None

    def cast(self, value: Any) -> int | float | None:
        """Return a valid value as the plain Python number that JSON can hold, or None for no number."""
        return None if _is_none(value) else self.number(value)

    def number(self, value: Any) -> int | float:
        """Return a valid number as the plain Python number that JSON can hold."""
        return int(value) if self.integer else float(value)


@dataclass(frozen=True)
class Choice:
    """The valid words of an option."""

    words: tuple[str, ...]

    def problem(self, value: object) -> str | None:
        """Return what is wrong with `value`, or None."""
        if isinstance(value, str) and value in self.words:
            return None
        hint = did_you_mean(value, self.words) if isinstance(value, str) else ""
        return f"must be one of {', '.join(self.words)}, but got {_text(value)}{hint}"

    def cast(self, value: Any) -> str:
        """Return a valid value as a plain string."""
        return str(value)


def _is_none(value: object) -> bool:
    return value is None or (isinstance(value, str) and value == "none")


def _text(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # Python writes no whole number of more than 4300 digits
        return "a number of thousands of digits"


def _parameter(default: Any, valid: Range | Choice, help_: str) -> Any:
    return dataclasses.field(default=default, metadata={"valid": valid, "help": help_})


class _Checked:
    """Base of frozen dataclasses whose fields are checked when they are made; all mistakes are reported."""

    def __post_init__(self) -> None:
        problems = []
        for f in dataclasses.fields(self):  # type: ignore[arg-type]
            value, valid = getattr(self, f.name), f.metadata["valid"]
            if problem := valid.problem(value):
                problems.append(f"{f.name} {problem}")
            else:
                object.__setattr__(self, f.name, valid.cast(value))
        if problems:
            raise ConfigError("; ".join(problems))


@dataclass(frozen=True, kw_only=True)
class WALSConfig(_Checked):
    """The hyperparameters of weighted alternating least squares: they identify a model.

    No other place has defaults or valid ranges. ``docs/objective.md`` states the objective.

    Raises
    ------
    ConfigError
        When values are out of range; the text names every one of them.

    Examples
    --------
    >>> from toolkit import WALSConfig
    >>> config = WALSConfig(factors=8, regularization=0.5)
    >>> config.replace(factors=16).factors
    16
    >>> WALSConfig(factors=-1)
    Traceback (most recent call last):
    ...
    toolkit.errors.ConfigError: factors must be between 0 and 1024, but got -1
    """

    factors: int = _parameter(
        32, Range(0, 1024, integer=True), "k, number of latent factors; 0: mean and biases alone"
    )
    iterations: int = _parameter(20, Range(1, 10_000, integer=True), "number of solves of both sides")
    regularization: float = _parameter(0.05, Range(0, 1e6), "λ, weight of the L2 penalty")
    regularization_exponent: float = _parameter(
        1.0, Range(0, 2), "ν, the penalty of a row grows with its number of ratings to this power"
    )
    regularization_offset: float = _parameter(
        240.0, Range(0, 1e9), "n0, is added to the number of ratings of each row in its penalty, λ (n + n0)^ν"
    )
    bias_regularization: float | None = _parameter(
        5.0,
        Range(0, 1e6, optional=True),
        "λ_b, the penalty of each bias, whatever its number of ratings; none: that of the factors",
    )
    unobserved_weight: float = _parameter(
        0.0, Range(0, 1e6), "w0, pull of unobserved pairs to the bias prediction"
    )
    observed_weight: float = _parameter(1.0, Range(0, 1e6), "weight of an observed rating, on top of w0")
    weight_exponent: float = _parameter(
        0.0, Range(0, 10), "observed weight falls with the item's number of ratings to this power"
    )
    bias: Literal["none", "mean", "full"] = _parameter(
        "full",
        Choice(("none", "mean", "full")),
        "none, mean (global), or full (global, user and item, fitted jointly)",
    )

    pattern_weight: float = _parameter(0.5, Range(0, 1e6), "how much the factors also explain who rated what")
    momentum: float = _parameter(
        0.0, Range(0, 0.99), "heavy-ball acceleration: each side repeats this share of its last change"
    )
    scale: Literal["none", "standard"] = _parameter(
        "standard",
        Choice(("none", "standard")),
        "standard: the objective measures ratings in standard deviations from their mean, so that "
        "hyperparameters mean the same in every unit; none: ratings as they are",
    )
    clip: Literal["none", "scale"] = _parameter(
        "scale",
        Choice(("none", "scale")),
        "scale: predictions are clipped to the smallest and largest training rating",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unobserved_weight + self.observed_weight == 0:
            raise ConfigError(
                "unobserved_weight and observed_weight must not both be 0: no rating would count"
            )

    @classmethod
    def valid(cls) -> dict[str, Range | Choice]:
        """Return each hyperparameter's valid values, in declaration order."""
        return {f.name: f.metadata["valid"] for f in dataclasses.fields(cls)}

    @classmethod
    def help(cls) -> dict[str, str]:
        """Return each hyperparameter's one-line explanation, in declaration order."""
        return {f.name: f.metadata["help"] for f in dataclasses.fields(cls)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> WALSConfig:
        """Return the config that a mapping of hyperparameters gives; defaults fill the gaps.

        Raises
        ------
        ConfigError
            When keys are unknown, with the nearest valid one of each, or values are out of range.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(f"hyperparameters must be a mapping of names to values, but got {values!r:.60}")
        valid = cls.valid()
        unknown = [
            f"unknown hyperparameter {k!r}{did_you_mean(str(k), valid)}" for k in values if k not in valid
        ]
        if not unknown:
            return cls(**values)
        wrong = [
            f"{name} {problem}"
            for name, value in values.items()
            if name in valid and (problem := valid[name].problem(value))
        ]
        raise ConfigError(f"{'; '.join(unknown + wrong)}; valid are {', '.join(valid)}")

    def to_dict(self) -> dict[str, int | float | str | None]:
        """Return the hyperparameters as plain Python values, which `from_dict` reads back."""
        # Not `dataclasses.asdict`, which copies every value deeply: a search asks for it twice a trial.
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def replace(self, **changes: Any) -> WALSConfig:
        """Return a config with some hyperparameters changed; raises `ConfigError` as `from_dict`."""
        return self.from_dict({**self.to_dict(), **changes})


BACKENDS = ("auto", "numpy", "numba", "cupy", "cuda")
GPU_BACKENDS = ("cupy", "cuda")
SolverName: TypeAlias = Literal["auto", "exact", "cg"]


@dataclass(frozen=True, kw_only=True)
class RunOptions(_Checked):
    """Where and how a model is trained; no option identifies the model.

    ``threads=0`` means every processor that this process may use.

    Raises
    ------
    ConfigError
        When values are out of range; the text names every one of them.

    Examples
    --------
    >>> from toolkit import RunOptions
    >>> RunOptions(seed=1, backend="numpy")
    RunOptions(seed=1, backend='numpy', threads=0, dtype='float32', solver='auto')
    """

    seed: int = _parameter(0, Range(0, 2**63 - 1, integer=True), "seed of the random start")
    backend: Literal["auto", "numpy", "numba", "cupy", "cuda"] = _parameter(
        "auto",
        Choice(BACKENDS),
        "array backend; auto takes cupy where a GPU is usable, or else numba; cuda is cupy with kernels of "
        "our own, which have not run on a device yet",
    )
    threads: int = _parameter(
        0, Range(0, 4096, integer=True), "CPU threads; 0 means all this process may use"
    )
    dtype: Literal["float32", "float64"] = _parameter(
        "float32", Choice(("float32", "float64")), "precision of factors and solves"
    )
    solver: Literal["auto", "exact", "cg"] = _parameter(
        "auto",
        Choice(("auto", "exact", "cg")),
        "how rows are solved: exact; cg, a few steps of conjugate gradients, and exactly at the end (numba "
        "alone); auto takes cg where it is faster",
    )


# The TensorFlow tutorial trains special cases of the model: bias=none, regularization_exponent=0, scale=none.
_TUTORIAL = WALSConfig(
    iterations=20,
    regularization_exponent=0.0,
    regularization_offset=0.0,
    bias_regularization=None,
    bias="none",
    pattern_weight=0.0,
    scale="none",
    clip="none",
)
# benchmarks/quality.py measured these values, now rounded, on the validation ratings of its first split.
_MEASURED = WALSConfig(iterations=40)
PRESETS: dict[str, WALSConfig] = {
    "default": WALSConfig(),
    "ml-100k": _MEASURED.replace(
        factors=20, iterations=18, regularization=0.047, regularization_offset=75.0, pattern_weight=1.2
    ),
    "ml-1m": _MEASURED.replace(
        factors=42, regularization=0.03, regularization_offset=200.0, pattern_weight=0.6
    ),
    # Never fitted to MovieLens 20M: extrapolated from what benchmarks/scaling.py measured on MovieLens 1M,
    # with a rank that is a judgement. docs/ablation.md says how much that may lose.
    "ml-20m": _MEASURED.replace(
        factors=64,
        regularization=0.5,
        regularization_exponent=0.62,
        regularization_offset=0.0,
        bias_regularization=None,
        pattern_weight=1.0,
    ),
    # For sampling (docs/posterior.md), where the penalty is that of the pattern factors alone. Chosen on the
    # validation ratings of the first splits of MovieLens 100K and 1M together.
    "posterior": WALSConfig(
        factors=48,
        regularization=8.0,
        regularization_exponent=0.0,
        regularization_offset=0.0,
        pattern_weight=2.0,
    ),
    "tutorial-default": _TUTORIAL.replace(
        factors=5, regularization=0.07, unobserved_weight=0.01, observed_weight=1.0, weight_exponent=0.08
    ),
    "tutorial-tuned": _TUTORIAL.replace(
        factors=34, regularization=9.83, unobserved_weight=0.001, observed_weight=189.8, weight_exponent=1.0
    ),
}
