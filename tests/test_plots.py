"""Plots of a study: the pictures of its report, as figures that pyplot knows nothing of."""

from __future__ import annotations

import struct
import sys

import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from trials import ONE, end, made_up_trials, spec_of

import tune
from toolkit.errors import ConfigError
from tune import plots
from tune.report.pictures import pictures
from tune.study import Study

PICTURES = {
    "history": plots.optimization_history,
    "curves": plots.learning_curves,
    "importances": plots.hyperparameter_importances,
    "slices": plots.slices,
    "parallel": plots.parallel_coordinates,
}
BASELINES = {"mean_rmse": 1.1, "bias_rmse": 0.93, "damping": 3.0}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    spec = spec_of(ONE)
    made = Study.create(tmp_path_factory.mktemp("studies") / "first", spec=spec.to_dict())
    for trial in made_up_trials(6, spec):
        end(made, trial)
    made.update(baselines=BASELINES)
    return made


def content(figure):
    """Return the texts and the lines of a figure."""
    lines = [line.get_xydata().tolist() for line in figure.findobj(Line2D)]
    return [text.get_text() for text in figure.findobj(Text)], repr(lines)


def test_every_plot_is_a_picture_of_the_report(study):
    before = sys.modules.get("matplotlib.pyplot")
    assert {plot.__name__ for plot in PICTURES.values()} == set(plots.__all__)
    drawn = pictures(study.spec, study.trials(), BASELINES)
    for name, plot in PICTURES.items():
        figure = plot(study)
        assert isinstance(figure, Figure)
        assert content(figure) == content(drawn[name].figure)
    # Other tests of the process may have imported it.
    assert sys.modules.get("matplotlib.pyplot") is before
    assert before is None or before.get_fignums() == []


def test_a_notebook_shows_a_plot_at_its_size(study):
    figure = plots.optimization_history(study)
    png, shown = figure._repr_png_()
    width, height = struct.unpack(">II", png[16:24])
    assert (width, height) == pytest.approx((2 * shown["width"], 2 * shown["height"]), abs=2)
    assert shown["width"] == round(96 * figure.get_size_inches()[0])


def test_a_study_without_trials_says_so(tmp_path):
    empty = Study.create(tmp_path / "first", spec=spec_of().to_dict())
    for plot in PICTURES.values():
        (text,) = plot(empty).texts
        assert text.get_text().endswith(".") or "needed" in text.get_text()


def test_what_is_no_study_is_refused():
    for plot in PICTURES.values():
        with pytest.raises(ConfigError, match=r"study must be .*what Study.open or create_study returns"):
            plot("studies/first")


def test_plots_are_there_once_tune_is():
    assert tune.plots is plots
