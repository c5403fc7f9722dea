"""Proposes trials by Optuna's samplers, seeded anew for each trial, so that resuming changes nothing."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from toolkit.errors import StudyError
from tune.spec import OwnSampler, SearchSpec

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class Sampler(Protocol):
    """Proposes trials, and learns from those that ended; `Proposer` is one."""

    def ask(self, number: int, fixed: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], str]:
        """Return the searched hyperparameters of a trial, as they are sampled, and what proposed them."""

    def tell(self, number: int, loss: float | None) -> None:
        """Note the loss that a trial ended with; None where it failed."""

    def restore(
        self, number: int, sampled: Mapping[str, Any], loss: float | None, *, running: bool = False
    ) -> None:
        """Take over a trial of an earlier process, which ended or is run again."""


class Proposer:
    """Proposes the trials of a study.

    A proposal depends on the specification, on the number of the trial, on the trials that ended before it,
    with their losses, and on those that run. It does not depend on how many random numbers this process has
    drawn, nor on the seconds that trials took. A sampler of one's own is made once in a run. After a resume,
    it knows the trials that ended, and has another seed.

    Parameters
    ----------
    spec : SearchSpec
    concurrency : int
        Trials at once. With more than one, TPE counts those that run as bad, so that it proposes others.

    Raises
    ------
    StudyError
        When the sampler is ``gp`` and PyTorch is not installed, or one of one's own that cannot be made here.
    """

    def __init__(self, spec: SearchSpec, concurrency: int) -> None:
        import optuna

        if spec.sampler == "gp" and importlib.util.find_spec("torch") is None:
            raise StudyError(
                "sampler gp needs PyTorch, which is not installed: `pip install torch`, or use `sampler: tpe`"
            )
        self._own = spec.sampler if isinstance(spec.sampler, OwnSampler) else None
        self._made: BaseSampler | None = None
        if self._own and (problems := list(self._own.problems(spec.seed))):
            raise StudyError("; ".join(f"sampler{problem}" for problem in problems))
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._spec = spec
        self._liar = concurrency > 1
        self._distributions = spec.distributions
        self._study = optuna.create_study()
        # Samplers that go through a grid call this at its end, and Optuna's own raises outside of its loop.
        vars(self._study)["stop"] = self._stop
        self._stopped = False
        # Number of each running trial in Optuna's study, by its number in ours.
        self._optuna_number: dict[int, int] = {}
        self._ended = self._scored = 0

    def ask(self, number: int, fixed: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], str]:
        """Propose a trial, which runs until `tell` notes its end.

        Parameters
        ----------
        number : int
            Its place in the order of proposals, from 1.
        fixed : mapping, optional
            Values to take as they are, in the form that is sampled; the sampler fills in the others.

        Returns
        -------
        sampled : dict
            Every searched hyperparameter, as `SearchSpec.config` takes it.
        source : str
            What filled in those that are not fixed: ``tpe``, ``gp``, ``random``, or the name of a class.

        Raises
        ------
        StudyError
            When a sampler of one's own fails, or has proposed all there is.
        """
        from optuna.samplers import PartialFixedSampler

        if self._stopped:
            raise StudyError(
                f"sampler {self._source()} has nothing left to propose: set `trials` to {number - 1}, or "
                "search a larger space"
            )
        source = self._source()
        with _quiet(), self._own_errors(number):
            sampler = self._sampler(source, number)
            self._study.sampler = PartialFixedSampler(dict(fixed), sampler) if fixed else sampler
            trial = self._study.ask(self._distributions)
        self._optuna_number[number] = trial.number
        # Taken once: Optuna copies them each time.
        params = trial.params
        return {name: _plain(params[name]) for name in self._distributions}, source

    def tell(self, number: int, loss: float | None) -> None:
        """Note how a trial ended.

        Parameters
        ----------
        number : int
            A trial that was proposed, or restored as running; for another, nothing happens.
        loss : float or None
            Smaller is better. None, NaN and infinite: it failed, which is worse than every loss.
        """
        optuna_number = self._optuna_number.pop(number, None)
        if optuna_number is not None:
            with _quiet(), self._own_errors(number):
                self._study.tell(optuna_number, **self._end(loss))

    def restore(
        self, number: int, sampled: Mapping[str, Any], loss: float | None, *, running: bool = False
    ) -> None:
        """Take over a trial of an earlier process; trials must come in the order of their numbers.

        Parameters
        ----------
        number : int
            Its place in the order of proposals.
        sampled : mapping
            What was proposed.
        loss : float or None
            As `tell` takes it; it means nothing for a trial that is `running`.
        running : bool, default False
            Whether the trial has not ended, and is run again.
        """
        from optuna.trial import TrialState, create_trial

        if running:
            self._optuna_number[number] = len(self._study.get_trials(deepcopy=False))
        self._study.add_trial(
            create_trial(
                **({"state": TrialState.RUNNING} if running else self._end(loss, by="value")),
                params={name: sampled[name] for name in self._distributions},
                distributions=self._distributions,
            )
        )

    def _end(self, loss: float | None, by: str = "values") -> dict[str, Any]:
        """Return a trial's end as Optuna takes it.

        A failed trial has an infinite loss, which sorts last with TPE, and which GP clips to the worst. For
        other samplers it has failed, which each of them must expect.
        """
        from optuna.trial import TrialState

        self._ended += 1
        if loss is not None and math.isfinite(loss):
            self._scored += 1
            return {"state": TrialState.COMPLETE, by: loss}
        if self._own:
            return {"state": TrialState.FAIL}
        return {"state": TrialState.COMPLETE, by: math.inf}

    def _stop(self) -> None:
        self._stopped = True

    @contextlib.contextmanager
    def _own_errors(self, number: int) -> Iterator[None]:
        """Say which sampler failed, and where, if it is one of one's own."""
        try:
            yield
        except Exception as error:
            if not self._own:
                raise
            raise StudyError(
                f"sampler {self._own.path} failed on trial {number} ({type(error).__name__}: {error})"
            ) from error

    def _source(self) -> str:
        """Return the name of the sampler that proposes next; one of one's own proposes all trials.

        TPE takes the best tenth of the trials as good: where fewer than that have a loss, failures would
        count as good.
        """
        if self._own:
            return self._own.name
        started = self._ended >= self._spec.startup_trials
        return str(self._spec.sampler) if started and self._scored * 10 >= self._ended else "random"

    def _sampler(self, source: str, number: int) -> BaseSampler:
        import numpy as np
        from optuna.samplers import GPSampler, RandomSampler, TPESampler

        seed = int(np.random.SeedSequence([self._spec.seed, number]).generate_state(1)[0])
        if self._own:
            self._made = self._made or self._own.make(seed)
            return self._made
        if source == "random":
            return RandomSampler(seed=seed)
        if source == "gp":
            return GPSampler(seed=seed, n_startup_trials=0)
        # Every other proposal models each hyperparameter by itself. The kernels of the joint model have one
        # width, which does not shrink where the good trials are close together: it can stay beside a narrow
        # optimum, or one at an end, for a hundred trials (docs/search.md).
        joint = number % 2 == 0
        return TPESampler(seed=seed, multivariate=joint, constant_liar=self._liar, n_startup_trials=0)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the warnings of Optuna about experimental samplers and infinite losses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it, for samplers give NumPy's numbers, too."""
    return value.item() if hasattr(value, "item") else value
