"""How trials came out in a few figures, and the command that shows them."""

from __future__ import annotations

import json
import math
import re

import click
import pytest
from click.testing import CliRunner
from markup import Page
from trials import FACTS, NOTHING, ONE, end, made_up_trials, spec_of

from tune.commands import main
from tune.report import summary
from tune.spec import SearchMetric
from tune.study import Study

# Summary


def trial(number=1, **changes):
    spec = spec_of(metric=changes.pop("metric", "rmse"))
    return {
        **made_up_trials(1, spec, failing=0)[0],
        "number": number,
        "trial": f"trial-{number:03d}",
        **changes,
    }


def test_spread_is_of_finished_trials_with_a_figure():
    trials = [trial(n, valid_rmse=v) for n, v in enumerate((1.0, 3.0, 2.0, math.nan), 1)]
    trials.append(trial(5, status="FAILED", valid_rmse=0.1))
    found = summary.Spread.of(trials, SearchMetric())
    assert (found.best, found.median, found.worst, found.deviation, found.n) == (1, 2, 3, 1, 3)
    ranked = [trial(n, metric="ndcg@5", ranking={"valid_ndcg_5": n / 10}) for n in (1, 2, 4)]
    found = summary.Spread.of(ranked, SearchMetric("ndcg", 5))
    assert (found.best, found.median, found.worst) == (0.4, 0.2, 0.1)
    assert summary.Spread.of(trials[:1], SearchMetric()).deviation is None
    assert summary.Spread.of(trials[4:], SearchMetric()) is None


def test_failures_that_differ_in_numbers_alone_are_one():
    reasons = [
        "row 3 is singular\nmore",
        "no memory",
        None,
        "row 71 is singular",
        " ",
        "row 1e-3 is singular",
    ]
    trials = [trial(n, status="FAILED", reason=reason) for n, reason in enumerate(reasons, 1)]
    assert summary.failures([*trials, trial(9)]) == [
        ("row 3 is singular", ["trial-001", "trial-004", "trial-006"]),
        ("no reason is known", ["trial-003", "trial-005"]),
        ("no memory", ["trial-002"]),
    ]


def test_stops_are_counted_by_what_stopped():
    stopped = ["plateau", None, "halving", "halving"]
    assert summary.stops([trial(n, stopped=each) for n, each in enumerate(stopped, 1)]) == {
        "halving": 2,
        "plateau": 1,
    }


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([], ""),
        ([None, math.nan], "  "),
        ([1.0, 1.0], "▁▁"),
        ([None, 8.0, 1.0], " █▁"),
        ([float(n) for n in range(8)], "▁▂▃▄▅▆▇█"),
        ([9.0, 8.0] * 20 + [1.0], None),
    ],
)
def test_sparkline(values, line):
    found = summary.sparkline(values, 8)
    assert len(found) == min(8, len(values))
    assert line in {None, found}
    assert summary.sparkline(values, 8, ascii_only=True).isascii()


def test_sparkline_ends_with_the_last_value():
    assert summary.sparkline([5.0] * 99 + [1.0], 10) == "█████████▁"


# Command


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Make a study of made-up trials below the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def make(n, *, kind=None, **keys):
        spec = spec_of(trials=max(n, 1), **keys)
        facts = {"name": "first", "spec": spec.to_dict(), "seconds": 12.0, **FACTS}
        state = {"status", "seconds"}
        made = Study.create(
            tmp_path / "studies" / "first", **{k: v for k, v in facts.items() if k not in state}
        )
        for each in made_up_trials(n, spec, **(kind or {})):
            end(made, each)
        made.update(status="finished", seconds=facts["seconds"])
        return made

    return make


def run(*arguments, code=0, encoding="utf-8"):
    found = CliRunner(charset=encoding).invoke(main, ["results", "first", *arguments])
    assert found.exit_code == code, found.output
    return found


@pytest.mark.parametrize("metric", ["rmse", "ndcg@10"])
def test_results_show_the_best_ten_and_how_they_compare_on_80_columns(study, metric):
    study(30, metric=metric, kind={"failing": 0.2})
    lines = run().stdout.splitlines()
    assert sum(line.strip().startswith("trial-") for line in lines) == 10
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    text = "\n".join(line.rstrip() for line in lines)
    assert "the best 10 of 30" in text
    assert re.search(r"valid \S+: best \d\.\d{4}, median .*, worst .*, sd of top 10 ", text)
    assert re.search(r"best so far: \d\.\d{4} [▁▂▃▄▅▆▇█ ]+ \d\.\d{4}", text)
    assert re.search(r"\d+ stopped early\*: \d+ by halving, \d+ by plateau; \d failed", text)
    assert re.search(r"\d failed, trial-\d+ first: SolverError: row \d+ of the users is singular", text)


@pytest.mark.parametrize(("arguments", "shown"), [(["-n", "3"], 3), (["--all"], 12), ([], 10)])
def test_results_show_as_many_as_asked_for(study, arguments, shown):
    study(12)
    assert run(*arguments).stdout.count("\n trial-") == shown


def test_results_on_a_stream_of_ascii_are_ascii(study):
    study(12)
    line = next(line for line in run(encoding="ascii").stdout.splitlines() if "best so far" in line)
    assert line.isascii()
    assert "#" in line


@pytest.mark.parametrize(("n", "kind"), [(0, {}), (3, NOTHING)])
def test_results_of_a_study_where_nothing_finished(study, n, kind):
    study(n, kind=kind, space=ONE)
    text = run("--report", "first.html").stdout
    assert f"{n} failed" in text
    assert "best so far" not in text


def test_reasons_do_not_command_the_terminal(study):
    made = study(1, kind=NOTHING)
    end(made, {**made.trials()[0], "reason": "bad \x1b[31mred[/b]"})
    text = run().stdout
    assert "\x1b" not in text
    assert "bad \\x1b[31mred[/b]" in text


def test_json_has_all_trials_unless_told_otherwise(study):
    made = study(12)
    told = json.loads(run("--json").stdout)
    assert set(told) == {"study", "status", "baselines", "at_edge", "trials"}
    assert [each["trial"] for each in told["trials"]] == [each["trial"] for each in made.trials()]
    keys = {"trial", "run_id", "status", "valid_rmse", "iterations", "seconds", "config"}
    assert set(told["trials"][0]) == keys
    assert len(json.loads(run("--json", "-n", "2").stdout)["trials"]) == 2


def test_report_of_the_command_is_a_page(study, tmp_path):
    study(3, space=ONE)
    assert "report: first.html" in run("--report", "first.html").stdout
    text = (tmp_path / "first.html").read_text(encoding="utf-8")
    assert Page(text).open == []
    assert "finished" in text
    assert "exists already" in run("--report", "first.html", code=2).output
    run("--report", "first.html", "--overwrite", "-n", "1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.html", "studies"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--report", "gone/first.html"], "needs the folder gone, which does not exist"),
        (["--report", "first.pdf"], "must name a file that ends in .html"),
        (["--report", "folder.html"], "is a directory"),
        (["-n", "3", "--all"], "-n and --all exclude each other"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_printed(study, tmp_path, arguments, problem):
    study(3)
    (tmp_path / "folder.html").mkdir()
    found = run(*arguments, code=click.UsageError.exit_code)
    assert problem in found.output
    assert found.stdout == ""
