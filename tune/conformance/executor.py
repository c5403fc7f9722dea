"""Suite for executors: what every executor must do with the trials of a study."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.sparse as sp

from toolkit.solver import Factors
from tune.executors import TrialRatings
from tune.search import StudyRun
from tune.spec import SearchSpec
from tune.study import Study

if TYPE_CHECKING:
    from pathlib import Path

    from tune.study import TrialResult

_SPACE = {
    "factors": {"low": 2, "high": 12, "scale": "log"},
    "regularization": {"low": 0.01, "high": 3.0, "scale": "log"},
    "iterations": 8,
}


class ExecutorConformance:
    """What every executor must do; override `execute`.

    Attributes
    ----------
    concurrency : int
        How many trials the runs allow at once.
    trains : bool
        Whether the executor trains on the ratings. One that replays figures does not, and has no factors.

    Examples
    --------
    >>> from tune.conformance import ExecutorConformance
    >>> from tune.executors import run_in_process
    >>> class TestInProcess(ExecutorConformance):
    ...     def execute(self, run, ratings):
    ...         run_in_process(run, ratings)
    """

    concurrency = 2
    trains = True

    def execute(self, run: StudyRun, ratings: TrialRatings) -> None:
        """Run the trials of a study on these ratings, until the study is over."""
        raise NotImplementedError

    def begin(self, study: Study, concurrency: int) -> StudyRun:
        """Return a run of a study; override it where the executor needs a clock of its own."""
        return StudyRun(study, concurrency)

    @pytest.fixture(autouse=True)
    def _studies_in(self, tmp_path: Path) -> None:
        self._folder, self._n_studies = tmp_path, 0

    def _study(self, **keys: Any) -> Study:
        asked = {"space": _SPACE, "trials": 4, "early_stopping": "none", "backend": "numpy", **keys}
        self._n_studies += 1
        spec = SearchSpec.from_dict(asked).to_dict()
        return Study.create(self._folder / f"study-{self._n_studies}", spec=spec)

    def _run(self, study: Study, concurrency: int | None = None) -> StudyRun:
        run = self.begin(study, concurrency or self.concurrency)
        try:
            self.execute(run, _ratings())
        finally:
            run.close()
        return run

    def test_every_trial_ends_once_and_is_kept(self) -> None:
        """All trials end, each is in the journal once, and the study is finished."""
        study = self._study()
        run = self._run(study)
        names = [f"trial-{number:03d}" for number in range(1, 5)]
        assert sorted(event["trial"] for event in study.journal.events("ended")) == names
        assert sorted(trial["trial"] for trial in run.results) == names
        assert (run.outcome, run.over, run.problem) == ("finished", True, None)
        assert run.running == {}

    def test_a_trial_reports_each_iteration_and_ends_with_the_last(self) -> None:
        """Without early stopping, a trial has as many figures as iterations, and ends with the last ones."""
        for trial in self._run(self._study()).results:
            history = trial["history"]
            assert {len(figures) for figures in history.values()} == {8}
            assert {"valid_rmse", "train_rmse", "seconds"} <= set(history)
            assert (trial["status"], trial["stopped"], trial["iterations"]) == ("FINISHED", None, 8)
            assert trial["valid_rmse"] == history["valid_rmse"][-1]
            assert trial["started"] <= trial["ended"]

    def test_what_halving_stops_ends_at_its_rung(self) -> None:
        """A trial that is not among the best ends after the iterations of a rung; others do them all."""
        stopping = {"grace_iterations": 2, "reduction_factor": 2}
        results = self._run(self._study(trials=12, early_stopping=stopping)).results
        halved = [trial for trial in results if trial["stopped"] == "halving"]
        assert halved
        assert {len(trial["history"]["seconds"]) for trial in halved} <= {2, 4}
        rest = [trial for trial in results if trial not in halved]
        assert {len(trial["history"]["seconds"]) for trial in rest} == {8}

    def test_what_a_scheduler_stops_ends_at_once(self) -> None:
        """A scheduler of Ray's has its verdict after each iteration, and a trial that it stops ends there."""
        stopping = {"class": "ray.tune.schedulers.ASHAScheduler", "grace_period": 3, "reduction_factor": 2}
        results = self._run(self._study(trials=12, early_stopping=stopping)).results
        ended = {trial["trial"]: len(trial["history"]["seconds"]) for trial in results}
        stopped = {trial["trial"] for trial in results if trial["stopped"] == "scheduler"}
        assert stopped
        assert {ended[name] for name in stopped} <= {3, 6}
        assert {ended[name] for name in ended if name not in stopped} == {8}

    def test_a_trial_with_patience_ends_with_its_best_iteration(self) -> None:
        """With patience, a trial has the figures of its best iteration, whatever came after it."""
        stopping = {"patience": 2, "reduction_factor": "none"}
        for trial in self._run(self._study(early_stopping=stopping)).results:
            errors = trial["history"]["valid_rmse"]
            assert trial["valid_rmse"] == min(errors)
            assert trial["iterations"] == 1 + errors.index(min(errors))

    def test_no_trial_begins_once_the_seconds_are_over(self) -> None:
        """A study whose `max_seconds` are over ends, and waits for what runs."""
        run = self._run(self._study(trials=5000, max_seconds=0.5))
        assert len(run.results) < 5000
        assert run.over
        assert run.running == {}

    def test_a_study_that_is_over_runs_nothing(self) -> None:
        """Executing a finished study once more changes nothing."""
        study = self._study(trials=2)
        before = _figures(self._run(study).results)
        lines = study.journal.path.read_bytes()
        assert _figures(self._run(study).results) == before
        assert study.journal.path.read_bytes() == lines

    def test_a_trial_that_was_cut_off_is_run_again(self) -> None:
        """A study goes on from its journal: what ended is kept, what was cut off runs under its number."""
        study = self._study(trials=3)
        run = self.begin(study, 1)
        cut_off = run.next()
        run.close()
        assert cut_off is not None
        results = {trial["trial"]: trial for trial in self._run(study).results}
        assert sorted(results) == ["trial-001", "trial-002", "trial-003"]
        assert results["trial-001"]["sampled"] == cut_off.sampled

    def test_one_at_a_time_the_same_study_comes_out_twice(self) -> None:
        """With one trial at a time, configurations and figures depend on the specification alone."""
        one, two = (self._run(self._study(trials=8, startup_trials=3), 1).results for _ in range(2))
        assert _figures(one) == _figures(two)

    def test_factors_are_kept_as_the_specification_says(self) -> None:
        """`keep_factors` says whose factors are in the study: those that the trial's figures are of."""
        if not self.trains:
            pytest.skip("this executor trains nothing")
        every, none, best = (self._study(keep_factors=keep) for keep in ("all", "none", "best"))
        for trial in self._run(every).results:
            assert Factors.load(every.factors_folder(trial["trial"])).iterations == trial["iterations"]
        self._run(none)
        assert not none.factors_folder("trial-001").parent.exists()
        winner = self._run(best).best
        assert winner is not None
        assert best.factors_folder(winner["trial"]).is_dir()


def _figures(results: list[TrialResult]) -> list[tuple[str, dict[str, Any], str | None, float | None]]:
    """Return what a trial is compared by, without times."""
    return sorted(
        ((trial["trial"], trial["sampled"], trial["stopped"], trial["valid_rmse"]) for trial in results),
        key=lambda entry: entry[0],
    )


@cache
def _ratings() -> TrialRatings:
    """Return noisy ratings of 40 users and 30 items with two tastes."""
    rng = np.random.default_rng(0)
    full = 3.5 + rng.standard_normal((40, 2)) @ rng.standard_normal((2, 30))
    full = np.clip(full + 0.5 * rng.standard_normal(full.shape), 1, 5).astype("float32")
    users, items = np.nonzero(rng.random(full.shape) < 0.5)
    held = rng.random(len(users)) < 0.2

    def chosen(mask: np.ndarray[Any, np.dtype[np.bool_]]) -> sp.coo_matrix:
        u, i = users[mask], items[mask]
        return sp.coo_matrix((full[u, i], (u, i)), full.shape)

    train = chosen(~held).tocsr()
    return {"train": train, "train_by_item": train.T.tocsr(), "valid": chosen(held)}
