"""Proposals: the same whether a study was resumed or not, inside the space, and better than chance."""

from __future__ import annotations

import importlib.util
import json
import math
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import StudyError
from tune.search import Proposer
from tune.spec import SearchSpec

SPACE = {
    "factors": {"low": 8, "high": 64, "scale": "log"},
    "regularization": {"low": 0.01, "high": 10.0, "scale": "log"},
    "regularization_exponent": {"low": 0.0, "high": 1.0},
    "pattern_weight": {"low": 0.1, "high": 3.0, "scale": "reverse_log"},
    "momentum": {"low": 0.5, "high": 0.5},
    "bias": {"choices": ["none", "mean", "full"]},
    "clip": {"choices": ["scale"]},
    "iterations": 5,
}
SEARCHED = ["factors", "regularization", "regularization_exponent", "pattern_weight", "bias"]


def spec_of(sampler="tpe", seed=0, space=SPACE, startup=4):
    return SearchSpec.from_dict(
        {"space": space, "sampler": sampler, "seed": seed, "startup_trials": startup, "trials": 30}
    )


def quadratic(sampled):
    """A loss in log space, with its minimum 0 at 20 factors and a regularization of 0.5."""
    return math.log(sampled["factors"] / 20) ** 2 + math.log(sampled["regularization"] / 0.5) ** 2


def run(proposer, numbers, loss=quadratic):
    """Ask for trials and tell their losses, one after the other; return the journal of it."""
    journal = []
    for number in numbers:
        sampled, source = proposer.ask(number)
        figure = loss(sampled)
        proposer.tell(number, figure)
        journal.append({"number": number, "sampled": sampled, "source": source, "loss": figure})
    return journal


def restored(spec, journal, concurrency=1, known=()):
    proposer = Proposer(spec, concurrency)
    for number, entry in enumerate(known):
        proposer.restore(-number, entry["sampled"], entry["loss"])
    for entry in json.loads(json.dumps(journal)):
        proposer.restore(
            entry["number"], entry["sampled"], entry["loss"], running=entry.get("running", False)
        )
    return proposer


def failing_often(sampled):
    return None if sampled["factors"] > 30 else quadratic(sampled)


# The same again


@given(
    st.sampled_from(["tpe", "random"]),
    st.integers(0, 2**40),
    st.integers(0, 14),
    st.sampled_from([quadratic, failing_often]),
)
@settings(max_examples=settings.default.max_examples // 3)
def test_resumed_study_proposes_what_an_unkilled_one_does(sampler, seed, kept, loss):
    spec = spec_of(sampler, seed)
    whole = run(Proposer(spec, 1), range(1, 16), loss)
    assert run(restored(spec, whole[:kept]), range(kept + 1, 16), loss) == whole[kept:]


@given(st.integers(0, 100), st.integers(1, 12))
@settings(max_examples=settings.default.max_examples // 3)
def test_resumed_study_with_trials_out_proposes_what_an_unkilled_one_does(seed, kept):
    """Two at once: each trial is told when the next but one is asked for."""
    spec = spec_of(seed=seed)
    proposer, out = Proposer(spec, 2), []
    for number in range(1, 14):
        out.append({"number": number, "sampled": proposer.ask(number)[0], "loss": None, "running": True})
        if number > 1:
            done = out[-2]
            done |= {"loss": quadratic(done["sampled"]), "running": False}
            proposer.tell(number - 1, done["loss"])
    # When trial kept + 1 was asked for, only the one before it was out.
    journal = [*out[: kept - 1], {**out[kept - 1], "loss": None, "running": True}]
    again = restored(spec, journal, 2)
    assert again.ask(kept + 1)[0] == out[kept]["sampled"]
    again.tell(kept, out[kept - 1]["loss"])
    if kept + 1 < len(out):
        assert again.ask(kept + 2)[0] == out[kept + 1]["sampled"]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_seed_decides_the_sequence(sampler):
    first, again = (run(Proposer(spec_of(sampler, 7), 1), range(1, 12)) for _ in range(2))
    assert first == again
    other = run(Proposer(spec_of(sampler, 8), 1), range(1, 12))
    assert all(one["sampled"] != two["sampled"] for one, two in zip(first, other, strict=True))


def test_fixed_values_and_what_was_drawn_for_others_change_no_later_random_proposal():
    spec = spec_of("random")
    plain, fixed = Proposer(spec, 1), Proposer(spec, 1)
    fixed.ask(1, {"factors": 9})
    fixed.ask(2)
    assert plain.ask(3) == fixed.ask(3)


# What is proposed


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize("concurrency", [1, 3])
def test_proposals_lie_in_the_space_and_are_plain(sampler, concurrency):
    spec = spec_of(sampler)
    proposer = Proposer(spec, concurrency)
    for entry in run(proposer, range(1, 13)):
        sampled = entry["sampled"]
        assert list(sampled) == SEARCHED
        assert json.loads(json.dumps(sampled)) == sampled
        assert {type(value) for value in sampled.values()} <= {int, float, str}
        config = spec.config(sampled)
        for name, domain in spec.space.items():
            assert domain.problem(getattr(config, name)) is None


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_source_is_the_sampler_after_the_first_trials(sampler):
    sources = [entry["source"] for entry in run(Proposer(spec_of(sampler, startup=4), 1), range(1, 8))]
    assert sources == ["random"] * 4 + [sampler] * 3


def test_trials_that_are_known_count_as_first_trials():
    spec = spec_of(startup=4)
    journal = run(Proposer(spec, 1), range(1, 4))
    proposer = restored(spec, [], known=journal)
    assert [entry["source"] for entry in run(proposer, (1, 2))] == ["random", "tpe"]


def test_trials_that_are_out_are_no_basis_for_a_model():
    proposer = Proposer(spec_of(startup=2), 8)
    asked = [proposer.ask(number) for number in range(1, 6)]
    assert {source for _, source in asked} == {"random"}
    for number in (4, 2):
        proposer.tell(number, 1.0)
    assert proposer.ask(6)[1] == "tpe"


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize("after", [0, 12])
def test_two_that_are_out_differ(sampler, after):
    proposer = Proposer(spec_of(sampler), 2)
    run(proposer, range(1, after + 1))
    assert proposer.ask(after + 1)[0] != proposer.ask(after + 2)[0]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize("after", [0, 12])
def test_fixed_values_are_taken_and_the_others_filled_in(sampler, after):
    proposer = Proposer(spec_of(sampler), 1)
    run(proposer, range(1, after + 1))
    sampled, _ = proposer.ask(after + 1, {"factors": 50, "bias": "mean", "regularization": 0.123})
    assert list(sampled) == SEARCHED
    assert (sampled["factors"], sampled["bias"], sampled["regularization"]) == (50, "mean", 0.123)
    everything = {**sampled, "factors": 9}
    assert proposer.ask(after + 2, everything)[0] == everything


@pytest.mark.parametrize("domain", [{"low": 1, "high": 2}, {"choices": [1, 2]}], ids=str)
def test_space_of_one_hyperparameter_is_enough(domain):
    spec = spec_of(space={"factors": domain, "iterations": 3})
    journal = run(Proposer(spec, 1), range(1, 20), loss=lambda sampled: sampled["factors"])
    assert {entry["sampled"]["factors"] for entry in journal} == {1, 2}


# Learning


def test_model_beats_chance():
    def best(sampler, seed):
        space = {name: SPACE[name] for name in ("factors", "regularization")}
        journal = run(Proposer(spec_of(sampler, seed, space, startup=8), 1), range(1, 41))
        return min(entry["loss"] for entry in journal)

    by_chance, by_model = (mean(best(sampler, seed) for seed in range(2)) for sampler in ("random", "tpe"))
    assert by_model < 0.5 * by_chance


def test_what_is_known_is_learnt_from():
    spec = spec_of(startup=8)
    known = run(Proposer(spec_of("random", seed=1), 1), range(1, 31))
    informed = run(restored(spec, [], known=known), range(1, 9))
    blind = run(Proposer(spec, 1), range(1, 9))
    assert mean(entry["loss"] for entry in informed) < mean(entry["loss"] for entry in blind)


def test_failures_are_avoided():
    """Where the loss falls towards the part that fails, a sampler that forgets failures would go there."""

    def failed(seed):
        space = {name: SPACE[name] for name in ("factors", "regularization")}
        journal = run(
            Proposer(spec_of(seed=seed, space=space, startup=10), 1),
            range(1, 41),
            lambda sampled: None if sampled["factors"] > 22 else quadratic(sampled),
        )
        flags = [entry["sampled"]["factors"] > 22 for entry in journal]
        return mean(flags[:10]), mean(flags[10:])

    before, after = zip(*(failed(seed) for seed in range(2)), strict=True)
    assert mean(after) < 0.7 * mean(before)


def test_a_figure_that_is_not_finite_is_a_failure():
    def sampled(failure):
        def loss(sampled):
            return failure if sampled["factors"] > 22 else quadratic(sampled)

        return [entry["sampled"] for entry in run(Proposer(spec_of(startup=3), 1), range(1, 10), loss)]

    assert sampled(math.nan) == sampled(math.inf) == sampled(None)


def test_where_nearly_all_fail_they_are_not_taken_for_good():
    proposer = Proposer(spec_of(startup=2), 1)
    journal = run(proposer, range(1, 12), loss=lambda _: None)
    assert {entry["source"] for entry in journal} == {"random"}
    assert [entry["source"] for entry in run(proposer, (12, 13, 14))] == ["random", "random", "tpe"]


def test_trial_is_told_once_and_one_that_nobody_asked_for_never():
    proposer = Proposer(spec_of(startup=1), 1)
    proposer.tell(1, 1.0)
    proposer.ask(1)
    proposer.tell(1, None)
    proposer.tell(1, 2.0)
    assert proposer.ask(2)[1] == "random"


# Gaussian process


def test_missing_pytorch_is_told_with_the_way_out(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))
    spec = spec_of("gp")
    with pytest.raises(StudyError, match="needs PyTorch, which is not installed: `pip install torch`"):
        Proposer(spec, 1)


@pytest.mark.slow
def test_gaussian_process_resumes_fills_in_and_takes_failures():
    pytest.importorskip("torch")
    spec = spec_of("gp")
    whole = run(Proposer(spec, 2), range(1, 9), failing_often)
    assert [entry["source"] for entry in whole] == ["random"] * 4 + ["gp"] * 4
    again = restored(spec, whole[:6], 2)
    assert run(again, (7, 8), failing_often) == whole[6:]
    assert again.ask(9)[0] != again.ask(10)[0]
    assert again.ask(11, {"factors": 10})[0]["factors"] == 10
