"""Bars of progress: who sees them, what they say, and that nobody else sees anything."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from small_models import CONFIG, OPTIONS
from trials import result

from toolkit import progress_bars
from toolkit.errors import ConfigError
from toolkit.models import WALS
from toolkit.progress_bars import bars_are_wanted, shown_iterations, shown_steps
from tune.spec import SearchSpec
from tune.study_progress import StudyProgress

RATINGS = sp.csr_matrix(np.arange(1.0, 13.0).reshape(4, 3))
SPEC = SearchSpec.from_dict({"space": {"factors": {"low": 2, "high": 8}}, "trials": 3})


@pytest.fixture
def notebook(monkeypatch):
    """Let this process pass for the kernel of a notebook without ipywidgets."""
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)


# Who sees them


def test_nobody_watches_a_process_whose_errors_go_to_a_file():
    assert not bars_are_wanted(None)


@pytest.mark.parametrize("place", ["notebook", "terminal"])
def test_bars_are_for_notebooks_and_terminals_unless_said_otherwise(place, request):
    request.getfixturevalue(place)
    assert bars_are_wanted(None)
    assert not bars_are_wanted(False)


def test_a_terminal_with_ipython_is_no_notebook(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=object))
    assert not progress_bars.in_notebook()


@pytest.mark.parametrize("wrong", ["yes", 1, 0.5])
def test_what_is_neither_true_nor_false_is_refused_before_any_work(wrong):
    with pytest.raises(ConfigError, match="progress must be True, False, or None"):
        shown_steps(wrong)
    model = WALS(CONFIG, OPTIONS)
    with pytest.raises(ConfigError, match="progress must be True, False, or None"):
        model.fit(RATINGS, progress=wrong)
    assert model.history == ()


# What they say


def test_stages_follow_one_another_in_a_bar_that_is_gone_at_the_end(capsys):
    with shown_steps(True) as show:
        for done in range(3):
            show("reading", done, 2)
        show("writing", 0, 1)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "reading: 100%" in printed.err
    assert "writing:   0%" in printed.err
    assert printed.err.rpartition("\r")[2] == ""
    assert printed.err.split("\r")[-2].isspace()


def test_a_function_is_called_in_place_of_a_bar(capsys):
    told = []
    with shown_steps(lambda *step: told.append(step)) as show:
        show("reading", 0, 1)
    assert told == [("reading", 0, 1)]
    assert capsys.readouterr().err == ""


def test_without_a_bar_nothing_is_said(capsys):
    with shown_steps(None) as show:
        show("reading", 1, 1)
    with shown_iterations(None, 3) as advance:
        assert advance is None
    assert capsys.readouterr() == ("", "")


def test_the_bar_of_a_training_counts_iterations_and_names_the_error(monkeypatch):
    told = []

    class Bar:
        n = 0

        def __init__(self, name, total, **options):
            told.append((name, total))

        def set_postfix_str(self, text, **options):
            told.append(text)

        def update(self):
            self.n += 1

        def close(self):
            told.append((self.n, self.total))

    monkeypatch.setattr(progress_bars, "new_bar", Bar)
    model = WALS(CONFIG, OPTIONS).fit(RATINGS, valid=RATINGS, progress=True)
    assert told[0] == ("training", CONFIG.iterations)
    assert told[-1] == (CONFIG.iterations, CONFIG.iterations)
    assert told[1:-1] == [f"valid RMSE {each['valid_rmse']:.4f}" for each in model.history]


def test_progress_is_no_parameter_of_the_model():
    assert "progress" not in WALS().get_params()


def test_a_study_in_a_notebook_shows_a_bar_with_the_best_trial(notebook, capsys):
    run = SimpleNamespace(results=[], best=None, spec=SPEC, outcome="finished", exhausted=None, running={})
    shown = StudyProgress()
    shown.begin(run)
    for number, figure in ((1, 0.91), (2, 0.93)):
        ended = result(f"trial-{number:03d}", figure)
        run.results.append(ended)
        run.best = run.best or ended
        shown.ended(run, ended)
    shown.end()
    lines = capsys.readouterr().err.split("\r")
    assert "trials:   0%" in lines[1]
    assert "2/" in lines[-1]
    assert "best 0.9100 (trial-001)" in lines[-1]
