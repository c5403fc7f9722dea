"""What models and studies show of themselves in a notebook: right, escaped, and without a script."""

from __future__ import annotations

import math

import numpy as np
import pytest
from markup import Page
from small_models import CONFIG, OPTIONS
from trials import end, made_up_trials, result, spec_of

from toolkit.models import WALS, Model, baseline_errors
from toolkit.notebook_html import line_chart
from tune.spec import SearchSpec
from tune.study import Study

HOSTILE = '<img src=x onerror="alert(1)">&'


@pytest.fixture(scope="module")
def ratings(made_up_ratings):
    return made_up_ratings()


@pytest.fixture(scope="module")
def model(ratings):
    return WALS(CONFIG, OPTIONS).fit(ratings, valid=ratings)


def shown(thing):
    page = Page(thing._repr_html_())
    assert page.open == []
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    return " ".join(page.shown)


# Models


def test_fit_measures_its_baselines_on_the_validation_ratings(model, ratings):
    assert model.baselines == baseline_errors(ratings, {"valid": ratings}, OPTIONS)["valid"]
    assert WALS(CONFIG, OPTIONS).fit(ratings).baselines is None


def test_a_model_shows_its_errors_beside_those_of_its_baselines(model):
    text = shown(model)
    assert repr(model) in text
    figures = (*model.baselines.values(), model.history[-1]["valid_rmse"], model.history[-1]["train_rmse"])
    assert all(f"{figure:.4f}" in text for figure in figures)
    assert all(name in text for name in model.config.to_dict())
    assert "valid RMSE by iteration" in text


def test_a_model_that_stopped_early_shows_the_iteration_that_it_keeps(ratings):
    model = WALS(CONFIG.replace(iterations=40), OPTIONS).fit(ratings, valid=ratings[::-1], patience=1)
    kept = model.history[model.factors.iterations - 1]
    assert model.ended_with == kept != model.history[-1]
    assert f"{kept['valid_rmse']:.4f}" in shown(model)


@pytest.mark.parametrize("kind", ["unfitted", "without validation", "from factors"])
def test_a_model_shows_what_it_has(kind, model, ratings):
    made = {
        "unfitted": lambda: WALS(CONFIG, OPTIONS),
        "without validation": lambda: WALS(CONFIG, OPTIONS).fit(ratings),
        "from factors": lambda: WALS.from_factors(model.factors, ratings),
    }[kind]()
    text = shown(made)
    assert repr(made) in text
    assert "baselines" not in text
    assert ("No figures of a training" in text) == (kind != "without validation")


def test_a_loaded_model_shows_the_same(model, tmp_path):
    model.save(tmp_path / "model")
    assert Model.load(tmp_path / "model")._repr_html_() == model._repr_html_()


# Charts


def test_a_chart_reaches_from_the_least_to_the_greatest():
    chart = line_chart([3.0, None, math.nan, 1.0, 2.0], "RMSE")
    (line,) = Page(chart).named("polyline")
    places = np.array([point.split(",") for point in line["points"].split()], float)
    assert places[:, 0].tolist() == [0, 180, 240]
    assert places[:, 1].tolist() == [0, 36, 18]
    assert "RMSE: from 3.0000 to 2.0000" in chart


@pytest.mark.parametrize("values", [[], [1.0], [None, math.inf]])
def test_fewer_than_two_figures_have_no_chart(values):
    assert line_chart(values, "RMSE") == ""


def test_equal_figures_are_a_flat_line():
    (line,) = Page(line_chart([1.0, 1.0], "RMSE")).named("polyline")
    assert line["points"] == "0.0,36.0 240.0,36.0"


# Studies


def study_of(folder, spec, trials, **facts):
    study = Study.create(folder, spec=spec.to_dict(), **facts)
    for trial in trials:
        end(study, trial)
    return study


def test_a_study_shows_its_best_trials_and_what_they_had_to_beat(tmp_path):
    spec = spec_of(trials=30)
    study = study_of(tmp_path / "first", spec, made_up_trials(24, spec, failing=0.1))
    study.update(baselines={"mean_rmse": 1.125, "bias_rmse": 0.9444, "damping": 3.0})
    text = shown(study)
    best = study.trials()
    assert "study first" in text
    assert "24 of 30 trials" in text
    assert "The best 10 of 24." in text
    assert "0.9444" in text
    assert "1.1250" in text
    assert best[0]["trial"] in text
    assert best[10]["trial"] not in text
    assert f"{best[0]['valid_rmse']:.4f}" in text
    rows = Page(study._repr_html_()).named("tr")
    assert len(rows) == 11
    assert rows[1] == {"class": "marked"}


@pytest.mark.parametrize("n", [0, 2])
def test_a_study_shows_itself_before_any_trial_has_finished(tmp_path, n):
    spec = SearchSpec.from_dict({"space": {"factors": {"low": 2, "high": 8}}, "trials": 3})
    failed = [result(f"trial-{at}", None, "FAILED", train_rmse=None) for at in range(n)]
    study = study_of(tmp_path / "first", spec, failed)
    text = shown(study)
    assert f"{n} of 3 trials" in text
    assert f"{n} failed" in text
    assert dict(*[row for row in Page(study._repr_html_()).named("tr") if row]) == {}


def test_what_a_study_shows_is_escaped(tmp_path):
    spec = SearchSpec.from_dict({"space": {"factors": {"low": 2, "high": 8}}, "trials": 3})
    name = HOSTILE.replace("/", "")
    study = study_of(tmp_path / name, spec, [result(HOSTILE, config={"factors": HOSTILE})])
    assert shown(study).count(HOSTILE) == 3


def test_a_study_is_a_table_with_a_row_for_each_trial(tmp_path):
    spec = spec_of(metric="ndcg@5")
    study = study_of(tmp_path / "first", spec, made_up_trials(8, spec, failing=0.3))
    frame, trials = study.to_pandas(), study.trials()
    assert frame["trial"].tolist() == [trial["trial"] for trial in trials]
    assert frame["config.factors"].tolist() == [trial["config"]["factors"] for trial in trials]
    assert {"config.factors": "int64", "seconds": "float64", "valid_rmse": "float64"}.items() <= dict(
        frame.dtypes.astype(str)
    ).items()
    assert {*spec.metric.keys, "system.backend", "status"} <= set(frame.columns)
    assert frame["valid_rmse"].isna().sum() == (frame["status"] == "FAILED").sum()


def test_a_study_without_trials_is_a_table_without_rows(tmp_path):
    frame = study_of(tmp_path / "first", spec_of(), []).to_pandas()
    assert len(frame) == 0
    assert "valid_rmse" in frame.columns
    assert repr(Study.open(tmp_path / "first")) == f"<Study {tmp_path / 'first'}>"
