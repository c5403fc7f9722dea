"""What a study starts from: presets, values, and what earlier studies found."""

from __future__ import annotations

import json
from dataclasses import asdict
from types import SimpleNamespace

import pytest

from toolkit.config import PRESETS
from toolkit.errors import StudyError
from tune.search import resolve
from tune.spec import SearchSpec
from tune.study import best_first

SPACE = {
    "factors": {"low": 8, "high": 64, "scale": "log"},
    "regularization": {"low": 0.1, "high": 2.0, "scale": "reverse_log"},
    "iterations": 15,
}


def spec_of(*start, space=SPACE, **keys):
    return SearchSpec.from_dict({"space": space, "start": list(start), **keys})


def trial(number, figure, *, stopped=None, status="FINISHED", iterations=15, ranking=None, **hyperparameters):
    config = PRESETS["default"].replace(**{"iterations": 15, "regularization": 2.0, **hyperparameters})
    return {
        "trial": f"trial-{number:03d}",
        "number": number,
        "status": status,
        "stopped": stopped,
        "valid_rmse": figure,
        "ranking": ranking or {},
        "iterations": iterations,
        "config": config.to_dict(),
    }


def study_of(*trials, name="first", digest="d", **keys):
    spec = SearchSpec.from_dict(keys)
    return SimpleNamespace(
        name=name, facts={"digest": digest}, spec=spec, trials=lambda: best_first(trials, spec.metric)
    )


def start_of(spec, *studies):
    def open_study(name):
        found = {study.name: study for study in studies}
        if name not in found:
            raise StudyError(f"there is no study {name!r}")
        return found[name]

    start = resolve(spec, "d", open_study)
    assert json.loads(json.dumps(asdict(start))) == asdict(start)
    return start


def sources(entries):
    return [entry["source"] for entry in entries]


def test_nothing_is_known_of_a_study_that_starts_from_nothing():
    start = start_of(spec_of())
    assert start.points == start.known == []


def test_preset_is_tried_with_its_values_moved_into_the_space():
    spec = spec_of("ml-100k")
    (point,) = start_of(spec).points
    assert point["source"] == "preset ml-100k"
    assert set(point["sampled"]) == {"factors", "regularization"}
    config = spec.config(point["sampled"])
    assert (config.factors, config.regularization, config.iterations) == (20, 0.1, 15)


def test_values_are_tried_as_they_are_and_need_not_be_all():
    spec = spec_of({"regularization": 0.3}, {"factors": 9})
    first, second = start_of(spec).points
    assert sources([first, second]) == ["point", "point"]
    assert spec.config(first["sampled"]).regularization == pytest.approx(0.3)
    assert second["sampled"] == {"factors": 9}


def test_trials_on_the_same_data_are_known():
    spec = spec_of("first")
    study = study_of(trial(1, 0.93, factors=9, regularization=0.4), trial(2, 0.91, factors=64))
    start = start_of(spec, study)
    assert start.points == []
    assert [(known["source"], known["loss"]) for known in start.known] == [
        ("study first trial-002", 0.91),
        ("study first trial-001", 0.93),
    ]
    config = spec.config(start.known[1]["sampled"])
    assert (config.factors, config.regularization) == (9, pytest.approx(0.4))


def test_rankings_are_known_as_losses():
    study = study_of(trial(1, 0.9, ranking={"valid_ndcg_10": 0.25}), metric="ndcg@10")
    start = start_of(spec_of("first", metric="ndcg@10"), study)
    assert [known["loss"] for known in start.known] == [-0.25]


def test_trial_that_was_stopped_early_or_failed_is_neither_known_nor_tried():
    study = study_of(
        trial(1, 0.9, stopped="halving", iterations=5),
        trial(2, 0.9, stopped="plateau", iterations=9),
        trial(3, None, status="FAILED"),
        trial(4, float("nan")),
        trial(5, 0.95, stopped="plateau", iterations=15),
    )
    start = start_of(spec_of("first"), study)
    assert sources(start.known) == ["study first trial-005"]
    assert start.points == []


def test_best_trials_of_another_space_are_tried_and_those_that_fit_are_known():
    # All but trial-006 have more factors than are searched, and are moved to the most that is.
    others = [trial(n, 0.9 + n / 100, factors=70, regularization=n / 10) for n in range(1, 6)]
    start = start_of(spec_of("first"), study_of(*others, trial(6, 0.99, factors=60, regularization=0.5)))
    assert sources(start.points) == [f"study first trial-00{n}" for n in (1, 2, 3)]
    assert {point["sampled"]["factors"] for point in start.points} == {64}
    assert sources(start.known) == ["study first trial-006"]


@pytest.mark.parametrize("other", [{"digest": "e"}, {"metric": "ndcg@10"}], ids=str)
def test_best_trials_on_other_data_or_by_another_metric_are_tried(other):
    study = study_of(
        *(trial(n, 1 - n / 100, factors=10 + n, ranking={"valid_ndcg_10": n / 100}) for n in range(1, 6)),
        **other,
    )
    start = start_of(spec_of("first"), study)
    assert start.known == []
    assert [point["sampled"]["factors"] for point in start.points] == [15, 14, 13]


def test_point_that_occurs_twice_is_tried_once():
    start = start_of(
        spec_of("ml-100k", {"factors": 9}, "first", {"factors": 9}, "ml-100k", "second"),
        study_of(trial(1, 0.9, factors=20), digest="e"),
        study_of(trial(1, 0.9, factors=20), digest="e", name="second"),
    )
    assert sources(start.points) == ["preset ml-100k", "point", "study first trial-001"]


def test_point_that_is_known_is_not_tried():
    spec = spec_of({"factors": 20, "regularization": 0.5}, "first", {"factors": 20})
    start = start_of(spec, study_of(trial(1, 0.9, factors=20, regularization=0.5)))
    assert sources(start.known) == ["study first trial-001"]
    assert [point["sampled"] for point in start.points] == [{"factors": 20}]


def test_word_that_is_not_searched_is_left_to_the_sampler():
    space = {**SPACE, "bias": {"choices": ["mean", "full"]}}
    (point,) = start_of(spec_of("tutorial-tuned", space=space)).points
    assert set(point["sampled"]) == {"factors", "regularization"}
    only = {"bias": {"choices": ["mean", "full"]}}
    assert start_of(spec_of("tutorial-tuned", space=only)).points == []


def test_unknown_name_is_told_with_what_could_have_been_written():
    with pytest.raises(StudyError) as raised:
        start_of(spec_of("ml-10k"))
    text = str(raised.value)
    assert text.startswith("start: 'ml-10k' is neither a preset (default, ml-100k, ml-1m, ")
    assert "(did you mean 'ml-100k'?)" in text
    assert "its name below studies/ or by its directory: there is no study 'ml-10k'" in text
