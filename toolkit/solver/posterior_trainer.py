"""Sampling a posterior one sample at a time, by the methods of a `Trainer`, for a search to drive it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from toolkit.arrays import Array
from toolkit.config import SolverName, WALSConfig
from toolkit.errors import ConfigError
from toolkit.predictor import Side
from toolkit.solver.factors import Factors
from toolkit.solver.posterior_mean import PosteriorMean
from toolkit.solver.sampler import Sampler, SamplerState
from toolkit.solver.training_ratings import TrainingRatings

_SIDES = ("user_factors", "user_bias", "item_factors", "item_bias")
_SUM = "sum_"


class PosteriorTrainer:
    """A chain whose factors are the mean of its samples so far; an iteration is a sample.

    The first iteration also does the sweeps before the first sample that counts.

    Parameters
    ----------
    data : TrainingRatings
        The ratings; many may share one.
    config : WALSConfig
        The hyperparameters; ``iterations`` is the number of samples.
    seed : int, default 0
        Of all that is drawn.
    burn_in : int, default 10
        Sweeps that do not count.

    Attributes
    ----------
    factors : Factors
        The mean factors of all samples, on the device of `data`; before the first one, the start.
    solver : {"exact"}
        How rows are solved.

    Raises
    ------
    ConfigError
        As `toolkit.solver.sampler.Sampler`.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> from toolkit import Backend, WALSConfig
    >>> from toolkit.solver import TrainingData
    >>> ratings = sp.random_array((30, 20), density=0.3, rng=0, format="csr")
    >>> data = TrainingData(ratings, backend=Backend.require("numpy"))
    >>> trainer = PosteriorTrainer(data, WALSConfig(factors=4))
    >>> trainer.step()
    >>> trainer.factors.iterations
    1
    """

    solver: SolverName = "exact"

    def __init__(
        self, data: TrainingRatings, config: WALSConfig, *, seed: int = 0, burn_in: int = 10
    ) -> None:
        self.data, self.config, self._burn_in = data, config, burn_in
        self._sampler = Sampler(data, config, seed=seed)
        self._mean = PosteriorMean(self._sampler)
        self.factors = self._sampler.factors

    def step(self) -> None:
        """Draw a sample, and take it into the mean.

        Raises
        ------
        SolverError
            When a row has no finite draw.
        """
        with self.data.backend.one_blas_thread():
            while self._sampler.sweeps < self._burn_in:
                self._sampler.sweep()
            self._sampler.sweep()
            self._mean.add()
            self._take_mean()

    def _take_mean(self) -> None:
        mean = self._mean.factors().mapped(self.data.backend.asarray)
        self.factors = replace(mean, iterations=self._mean.n)

    def finished(self, factors: Factors) -> Factors:
        """Return the factors: nothing is left to solve."""
        return factors

    def train_rmse(self) -> float:
        """Return the RMSE of the mean factors on the training ratings."""
        return self.data.rmse(self.factors)

    def host_factors(self, factors: Factors | None = None) -> Factors:
        """Return the current factors, or earlier ones, in host memory."""
        return (factors or self.factors).mapped(self.data.backend.to_numpy)

    def host_state(self) -> dict[str, Array]:
        """Return, by name and in host memory, what `restore` takes back."""
        state = self._sampler.host_state()
        return {
            "sweeps": np.array(state.sweeps),
            "noise": np.array(state.noise),
            "samples": np.array(self._mean.n),
            **dict(zip(_SIDES, (*state.users, *state.items), strict=True)),
            **{_SUM + name: values for name, values in self._mean.host_sums().items()},
        }

    def restore(self, state: Mapping[str, Array]) -> None:
        """Continue from where another one of the same arguments was: every later sample has the same bits.

        Raises
        ------
        ConfigError
            When the state is of other sizes, or lacks something.
        """
        try:
            users, items = (Side(*(state[name] for name in names)) for names in (_SIDES[:2], _SIDES[2:]))
            self._sampler.restore(SamplerState(int(state["sweeps"]), float(state["noise"]), users, items))
            sums = [name for name in state if name.startswith(_SUM)]
            self._mean.restore(int(state["samples"]), {name[len(_SUM) :]: state[name] for name in sums})
        except KeyError as error:
            raise ConfigError(f"a state without {error} continues no sampling") from error
        if self._mean.n:
            self._take_mean()
