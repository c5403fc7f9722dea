"""Suite for samplers: what everything must do that proposes hyperparameters."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from tune.spec import SearchSpec

if TYPE_CHECKING:
    from tune.search import Sampler

_SPACE = {
    "factors": {"low": 8, "high": 64, "scale": "log"},
    "regularization": {"low": 0.01, "high": 10.0, "scale": "log"},
    "pattern_weight": {"low": 0.1, "high": 3.0, "scale": "reverse_log"},
    "regularization_exponent": {"low": 0.0, "high": 1.0},
    "bias": {"choices": ["none", "mean", "full"]},
    "iterations": 5,
}
_N = 14


class SamplerConformance:
    """What every `tune.search.Sampler` must do; override `sampler`.

    Examples
    --------
    >>> from tune.conformance import SamplerConformance
    >>> from tune.search import Proposer
    >>> class TestTPE(SamplerConformance):
    ...     def sampler(self, spec, concurrency):
    ...         return Proposer(spec, concurrency)
    >>> TestTPE().test_proposals_are_inside_the_space()
    """

    def sampler(self, spec: SearchSpec, concurrency: int) -> Sampler:
        """Return a sampler that has proposed nothing yet, for so many trials at once."""
        raise NotImplementedError

    def _new(self, seed: int = 0, concurrency: int = 1) -> tuple[SearchSpec, Sampler]:
        spec = SearchSpec.from_dict({"space": _SPACE, "seed": seed, "startup_trials": 4, "trials": 99})
        return spec, self.sampler(spec, concurrency)

    def test_proposals_are_inside_the_space(self) -> None:
        """A proposal names every searched hyperparameter and no other, with values of its domain."""
        spec, sampler = self._new()
        for sampled in _proposals(sampler, range(1, _N)):
            assert set(sampled) == set(spec.distributions)
            config = spec.config(sampled)
            assert [
                problem for name in sampled if (problem := spec.space[name].problem(getattr(config, name)))
            ] == []

    def test_proposals_survive_the_journal(self) -> None:
        """JSON gives a proposal back as it was."""
        for sampled in _proposals(self._new()[1], range(1, _N)):
            assert json.loads(json.dumps(sampled)) == sampled

    def test_the_same_seed_proposes_the_same_and_another_seed_does_not(self) -> None:
        """Proposals depend on the seed and on what was told, and on nothing else."""
        one, again, other = (_proposals(self._new(seed)[1], range(1, _N)) for seed in (3, 3, 4))
        assert one == again
        assert one != other

    @pytest.mark.parametrize("kept", [0, 2, 9])
    def test_a_restored_sampler_goes_on_as_if_it_had_not_stopped(self, kept: int) -> None:
        """A sampler that takes over the trials of another one proposes what that one would have."""
        whole = _proposals(self._new()[1], range(1, _N))
        restored = self._new()[1]
        for number, sampled in enumerate(whole[:kept], 1):
            restored.restore(number, sampled, _loss(sampled))
        assert _proposals(restored, range(kept + 1, _N)) == whole[kept:]

    def test_a_trial_that_was_cut_off_can_be_restored_and_end(self) -> None:
        """A restored trial that runs is told of like one that was proposed."""
        proposer = self._new()[1]
        sampled, _ = proposer.ask(1)
        restored = self._new()[1]
        restored.restore(1, sampled, None, running=True)
        restored.tell(1, _loss(sampled))
        proposer.tell(1, _loss(sampled))
        assert restored.ask(2) == proposer.ask(2)

    def test_fixed_values_are_taken_as_they_are(self) -> None:
        """A starting point fixes some values; the sampler fills in the others."""
        spec, sampler = self._new()
        sampled, _ = sampler.ask(1, {"factors": 20, "bias": "mean"})
        assert (sampled["factors"], sampled["bias"]) == (20, "mean")
        assert set(sampled) == set(spec.distributions)

    @pytest.mark.parametrize("loss", [None, math.inf, math.nan])
    def test_failures_end_nothing(self, loss: float | None) -> None:
        """A study whose trials all fail still gets proposals."""
        sampler = self._new()[1]
        for number in range(1, _N):
            sampler.ask(number)
            sampler.tell(number, loss)

    def test_trials_that_run_at_once_are_not_the_same(self) -> None:
        """While trials run, another is proposed."""
        sampler = self._new(concurrency=6)[1]
        _proposals(sampler, range(1, 9))
        running = [sampler.ask(number)[0] for number in range(9, 15)]
        assert all(running.count(sampled) == 1 for sampled in running)

    def test_the_end_of_an_unknown_trial_is_nothing(self) -> None:
        """A sampler may be told of a trial that it knows nothing of, or twice of one."""
        sampler = self._new()[1]
        sampled, _ = sampler.ask(1)
        sampler.tell(1, _loss(sampled))
        sampler.tell(1, 0.0)
        sampler.tell(77, 0.0)
        assert sampler.ask(2) == _after_one(self._new()[1])


def _after_one(sampler: Sampler) -> tuple[dict[str, Any], str]:
    _proposals(sampler, range(1, 2))
    return sampler.ask(2)


def _loss(sampled: dict[str, Any]) -> float:
    """Return a loss with its minimum 0 at 20 factors and a regularization of 0.5."""
    return math.log(sampled["factors"] / 20) ** 2 + math.log(sampled["regularization"] / 0.5) ** 2


def _proposals(sampler: Sampler, numbers: range) -> list[dict[str, Any]]:
    """Ask for trials one after the other, tell the loss of each, and return them."""
    proposals = []
    for number in numbers:
        sampled, _ = sampler.ask(number)
        sampler.tell(number, _loss(sampled))
        proposals.append(sampled)
    return proposals
