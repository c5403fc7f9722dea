"""Our executors and samplers do what the suites for others ask of theirs."""

from __future__ import annotations

import dataclasses
import math

import pytest

from toolkit.files import process_settings
from tune.conformance import ExecutorConformance, SamplerConformance
from tune.executors import Recording, VirtualClock, run_in_process, run_simulated
from tune.search import Proposer, StudyRun


class TestInProcess(ExecutorConformance):
    def execute(self, run, ratings):
        run_in_process(run, ratings)

    # test_checkpoints.py compares studies bit for bit, and keeps factors.

    @pytest.mark.slow
    def test_one_at_a_time_the_same_study_comes_out_twice(self):
        super().test_one_at_a_time_the_same_study_comes_out_twice()

    @pytest.mark.slow
    def test_factors_are_kept_as_the_specification_says(self):
        super().test_factors_are_kept_as_the_specification_says()

    # As test_checkpoints.py does, and the simulator above all.

    @pytest.mark.slow
    def test_what_halving_stops_ends_at_its_rung(self):
        super().test_what_halving_stops_ends_at_its_rung()

    @pytest.mark.slow
    def test_what_a_scheduler_stops_ends_at_once(self):
        super().test_what_a_scheduler_stops_ends_at_once()

    @pytest.mark.slow
    def test_no_trial_begins_once_the_seconds_are_over(self):
        super().test_no_trial_begins_once_the_seconds_are_over()


class TestSimulator(ExecutorConformance):
    trains = False

    def begin(self, study, concurrency):
        self._clock = VirtualClock()
        return StudyRun(study, concurrency, clock=self._clock, in_background=False)

    def execute(self, run, ratings):
        def surface(config):
            end = 0.9 + 0.05 * math.log(config.regularization / 0.3) ** 2
            errors = [end + 0.1 * abs(n - 5) for n in range(1, 9)]
            return Recording({"valid_rmse": errors, "train_rmse": errors, "seconds": [1.0] * 8})

        run_simulated(run, surface, self._clock)


@pytest.mark.integration
@pytest.mark.slow
class TestOnRay(ExecutorConformance):
    @pytest.fixture(autouse=True, scope="class")
    @staticmethod
    def _ray():
        import ray

        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()

    def execute(self, run, ratings):
        from tune.executors import connected, run_on_ray

        with process_settings(), connected():
            run_on_ray(run, ratings)


@pytest.mark.parametrize("sampler_name", ["tpe", "random"])
class TestSamplers(SamplerConformance):
    @pytest.fixture(autouse=True)
    def _named(self, sampler_name):
        self._sampler_name = sampler_name

    def sampler(self, spec, concurrency):
        return Proposer(dataclasses.replace(spec, sampler=self._sampler_name), concurrency)
