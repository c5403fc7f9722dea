"""The sampling of a posterior: chains of sweeps, what is summed up of them, and the figures of each sweep."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolkit.config import RunOptions, WALSConfig
from toolkit.evaluation import rmse
from toolkit.figure_text import shown
from toolkit.inputs import require_callable
from toolkit.models.fitted import Training
from toolkit.models.placed import PlacedRatings
from toolkit.models.posterior import Posterior, PosteriorFacts, SampleProgress, SamplingPlan
from toolkit.models.sampling_state import SamplingState, identity_of, read_state, write_state
from toolkit.models.training import checked_patience
from toolkit.models.watched import Watched
from toolkit.progress_bars import shown_iterations
from toolkit.solver import (
    BaselineErrors,
    PosteriorMean,
    Sampler,
    observation_weights,
    stopping,
)

# Sweeps from one checkpoint to the next.
_EVERY = 10
# An RMSE of the running mean that falls by less, in units of the spread of the ratings, stands still.
_TOLERANCE = 1e-5


class Sampled(NamedTuple):
    """What sampling leaves.

    Attributes
    ----------
    training : Training
        With the mean factors of the first chain.
    history : list of SampleProgress
        The figures of each sweep.
    backend_name : str
        The backend that it ran on.
    baselines : BaselineErrors or None
        On the validation ratings; None where there are none.
    posterior : Posterior
    """

    training: Training
    history: list[SampleProgress]
    backend_name: str
    baselines: BaselineErrors | None
    posterior: Posterior


def sample(
    placed: PlacedRatings,
    config: WALSConfig,
    options: RunOptions,
    plan: SamplingPlan,
    *,
    checkpoint: Path | None,
    on_sample: Callable[[SampleProgress], None] | None,
    progress: bool | None,
) -> Sampled:
    """Run the chains of a posterior.

    Raises
    ------
    ConfigError
        When `plan` has a patience and there is no validation rating, `on_sample` is no function, `progress`
        is neither True, False nor None, or the checkpoint is of another sampling.
    ModelError
        When the checkpoint cannot be read.
    RatingsError, SolverError, BackendError
        As `toolkit.models.training.train`.
    """
    require_callable("on_sample", on_sample)
    checked_patience(plan.patience, placed)
    run = _Run(placed, (config, options, plan), checkpoint=checkpoint, on_sample=on_sample)
    with shown_iterations(progress, plan.chains * (plan.burn_in + plan.samples)) as advance:
        run.advance = advance
        for chain in range(run.state.chain, plan.chains):
            run.do_chain(chain)
    counts = placed.data.item_counts
    assert run.state.mean is not None  # noqa: S101 - the first chain leaves it
    training = Training(
        run.state.mean,
        placed.users,
        placed.items,
        placed.rated(checkpoint),
        counts,
        counts,
        dataset_digest=placed.dataset_digest,
    )
    return Sampled(training, run.state.history, placed.backend_name, run.baselines(), run.posterior())


class _Run:
    """The chains of one posterior, and where they are."""

    advance: Callable[[str], None] | None = None

    def __init__(
        self,
        placed: PlacedRatings,
        settings: tuple[WALSConfig, RunOptions, SamplingPlan],
        *,
        checkpoint: Path | None,
        on_sample: Callable[[SampleProgress], None] | None,
    ) -> None:
        config, options, plan = settings
        data = placed.data
        self._placed, self._data, self._config = placed, data, config
        self._seed, self._plan = options.seed, plan
        self._checkpoint, self._on_sample = checkpoint, on_sample
        self._pairs = placed.valid_pairs()
        scale = data.scale if config.clip == "scale" else None
        self._watched = Watched(data, self._pairs, options.seed, scale)
        self._identity = identity_of(placed, config, options, plan)
        self.state = SamplingState()
        if checkpoint is not None and checkpoint.exists():
            self.state = read_state(checkpoint, self._identity)
            self._watched.restore(self.state.watched)

    def do_chain(self, chain: int) -> None:
        """Do the sweeps that a chain has still to do."""
        plan, state = self._plan, self.state
        sampler = Sampler(self._data, self._config, seed=self._seed, chain=chain)
        mean = PosteriorMean(sampler) if chain == 0 else None
        if state.sampler is not None:
            sampler.restore(state.sampler)
            if mean is not None:
                mean.restore(max(0, sampler.sweeps - plan.burn_in), state.sums)
        while sampler.sweeps < plan.burn_in + (state.samples or plan.samples):
            self._sweep(chain, sampler, mean)
            if self._checkpoint is not None and sampler.sweeps % _EVERY == 0:
                self._save(chain, sampler, mean)
        if mean is not None:
            state.mean, state.samples = mean.factors(), mean.n
        state.chain, state.sampler, state.sums = chain + 1, None, {}
        if self._checkpoint is not None:
            self._save(chain + 1, None, None)

    def _sweep(self, chain: int, sampler: Sampler, mean: PosteriorMean | None) -> None:
        """Do one sweep of a chain, and take its draw in where it counts."""
        plan, state = self._plan, self.state
        began = time.perf_counter()
        sampler.sweep()
        n = sampler.sweeps - plan.burn_in
        if n > 0:
            if mean is not None:
                mean.add()
            if n in plan.kept_after(chain):
                state.kept.append((sampler.kept(), sampler.noise))
            self._watched.add(chain, sampler)
        self._report(chain, sampler, time.perf_counter() - began)
        if chain == 0 and n > 0 and self._stalled(n):
            state.samples = n

    def _stalled(self, n: int) -> bool:
        errors = [each["valid_rmse"] or math.nan for each in self.state.history[-n:]]
        return stopping.stalled(errors, self._plan.patience, _TOLERANCE * self._data.spread)

    def _report(self, chain: int, sampler: Sampler, seconds: float) -> None:
        draw = None if self._pairs is None else rmse(sampler.factors, *self._pairs, self._data.backend)
        burn_in = sampler.sweeps <= self._plan.burn_in
        self.state.history.append(
            {
                "iteration": sampler.sweeps,
                "train_rmse": sampler.fit_rmse,
                "valid_rmse": draw if burn_in else self._watched.rmse(),
                "seconds": seconds,
                "chain": chain,
                "burn_in": burn_in,
                "draw_rmse": draw,
                "noise": sampler.noise,
            }
        )
        if self.advance:
            valid = self.state.history[-1]["valid_rmse"]
            self.advance("" if valid is None else f"valid RMSE {shown(valid)}")
        if self._on_sample:
            self._on_sample(self.state.history[-1])

    def _save(self, chain: int, sampler: Sampler | None, mean: PosteriorMean | None) -> None:
        assert self._checkpoint is not None  # noqa: S101 - the callers ask
        state = self.state
        state.chain, state.watched = chain, self._watched.state()
        state.sampler = None if sampler is None else sampler.host_state()
        state.sums = {} if mean is None else mean.host_sums()
        write_state(self._checkpoint, state, self._identity)

    def baselines(self) -> BaselineErrors | None:
        """Return the errors of the simplest models on the validation ratings; None where there are none."""
        return None if self._pairs is None else self._placed.baselines().errors(self._pairs)

    def posterior(self) -> Posterior:
        """Return what is kept beside the mean factors."""
        plan, state, backend = self._plan, self.state, self._data.backend
        noise = float(np.sqrt(np.mean([h["noise"] ** 2 for h in state.history if not h["burn_in"]])))
        mean_rmse = None
        if self._pairs is not None and state.mean is not None:
            mean_rmse = rmse(state.mean.mapped(backend.asarray), *self._pairs, backend)
        r_hat, effective = self._watched.convergence()
        weights = observation_weights(self._data.item_counts, self._config)
        calibration = self._watched.calibration(noise / np.sqrt(weights))
        facts: PosteriorFacts = {
            "samples": state.samples,
            "burn_in": plan.burn_in,
            "chains": plan.chains,
            "noise": noise,
            "valid_rmse": self._watched.rmse(),
            "mean_factors_rmse": mean_rmse,
            "r_hat": r_hat,
            "effective_samples": effective,
            "coverage": None if calibration is None else calibration.coverage,
            "deciles": None if calibration is None else calibration.deciles,
        }
        kept, noises = zip(*state.kept, strict=True) if state.kept else ((), ())
        return Posterior(noise, facts, kept, noises)
