"""Proposes trials by Optuna's samplers, seeded anew for each trial, so that resuming changes nothing."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

from toolkit.errors import StudyError
from tune.spec import SearchSpec

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

Source = Literal["tpe", "gp", "random"]


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
    drawn, nor on the seconds that trials took.

    Parameters
    ----------
    spec : SearchSpec
    concurrency : int
        Trials at once. With more than one, TPE counts those that run as bad, so that it proposes others.

    Raises
    ------
    StudyError
        When the sampler is ``gp`` and PyTorch is not installed.
    """

    def __init__(self, spec: SearchSpec, concurrency: int) -> None:
        import optuna

        if spec.sampler == "gp" and importlib.util.find_spec("torch") is None:
            raise StudyError(
                "sampler gp needs PyTorch, which is not installed: `pip install torch`, or use `sampler: tpe`"
            )
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._spec = spec
        self._liar = concurrency > 1
        self._distributions = spec.distributions
        self._study = optuna.create_study()
        # Number of each running trial in Optuna's study, by its number in ours.
        self._optuna_number: dict[int, int] = {}
        self._ended = self._scored = 0

    def ask(self, number: int, fixed: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], Source]:
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
        source : {"tpe", "gp", "random"}
            What filled in those that are not fixed.
        """
        from optuna.samplers import PartialFixedSampler

        source = self._source()
        with _quiet():
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
            self._study.tell(optuna_number, self._counted(loss))

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
                state=TrialState.RUNNING if running else TrialState.COMPLETE,
                value=None if running else self._counted(loss),
                params={name: sampled[name] for name in self._distributions},
                distributions=self._distributions,
            )
        )

    def _counted(self, loss: float | None) -> float:
        """Return the loss as Optuna takes it: infinite sorts last with TPE, and GP clips it to the worst."""
        self._ended += 1
        if loss is None or not math.isfinite(loss):
            return math.inf
        self._scored += 1
        return loss

    def _source(self) -> Source:
        """Return the name of the sampler that proposes next.

        TPE takes the best tenth of the trials as good: where fewer than that have a loss, failures would
        count as good.
        """
        started = self._ended >= self._spec.startup_trials
        return self._spec.sampler if started and self._scored * 10 >= self._ended else "random"

    def _sampler(self, source: Source, number: int) -> BaseSampler:
        import numpy as np
        from optuna.samplers import GPSampler, RandomSampler, TPESampler

        seed = int(np.random.SeedSequence([self._spec.seed, number]).generate_state(1)[0])
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
