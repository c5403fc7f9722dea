"""The comparison of a study's trials: pictures, importances, the page, and the files beside it."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser

import click
import matplotlib as mpl
import numpy as np
import pytest
from click.testing import CliRunner
from trials import end

from toolkit.commands.train import train
from toolkit.config import WALSConfig
from tune.commands import main
from tune.metric import SearchMetric
from tune.report import drawing, html, scales, summary, table, write_report
from tune.report.importance import importances
from tune.report.pictures import pictures
from tune.results import best_first
from tune.space import Choices, Fixed, Interval
from tune.spec import SearchSpec
from tune.study import Study

SPACE = {
    "factors": {"low": 8, "high": 64, "scale": "log"},
    "iterations": 20,
    "regularization": {"low": 0.1, "high": 2.0, "scale": "log"},
    "regularization_exponent": {"low": 0.3, "high": 0.8},
    "momentum": {"low": 0.01, "high": 0.9, "scale": "reverse_log"},
    "bias": {"choices": ["mean", "full"]},
}


def spec_of(space=None, **keys):
    return SearchSpec.from_dict({"space": SPACE if space is None else space, **keys})


def made_up_trials(n, spec, *, seed=0, failing=0.05, diverging=0.0):
    """Return trials as a search would end them: RMSE falls by iteration, regularization matters most.

    A part fails, a part diverges; those that are worse than most so far are stopped early.
    """
    rng = np.random.default_rng(seed)
    trials, clock = [], 1_700_000_000.0
    for number in range(1, n + 1):
        sampled = {name: drawn(domain, rng) for name, domain in spec.space.items()}
        sampled = {name: value for name, value in sampled.items() if value is not None}
        config = spec.config(sampled).to_dict()
        end = 0.9 + 0.03 * math.log(config["regularization"] / 0.6) ** 2 + 0.004 * rng.standard_normal()
        end += 0.006 * math.log(config["factors"] / 40) ** 2 + 0.02 * (config["bias"] == "mean")
        length = config["iterations"]
        valid = [end + 0.5 * math.exp(-0.5 * step) for step in range(1, length + 1)]
        failed, stopped = rng.random() < failing, None
        if rng.random() < diverging:
            valid = [end * 2**step for step in range(length)]
        elif number > 5 and end > 0.93:
            stopped, valid = "halving", valid[: 5 + int(rng.integers(4))]
        elif rng.random() < 0.2:
            stopped, valid = "plateau", valid[:-3] or valid
        ranking = dict.fromkeys(spec.metric.keys, 0.4 - 0.2 * (valid[-1] - 0.9))
        history = {"valid_rmse": valid, "train_rmse": [v - 0.1 for v in valid], "seconds": [0.1] * len(valid)}
        history |= {key: [0.4 - 0.2 * (v - 0.9) for v in valid] for key in spec.metric.keys}
        clock += float(rng.uniform(1, 3))
        trials.append(
            {
                "trial": f"trial-{number:03d}",
                "number": number,
                "run_id": f"{number:032x}",
                "status": "FAILED" if failed else "FINISHED",
                "stopped": None if failed else stopped,
                "valid_rmse": None if failed else valid[-1],
                "train_rmse": None if failed else valid[-1] - 0.1,
                "ranking": {} if failed else ranking,
                "iterations": 2 if failed else len(valid),
                "seconds": 0.1 * len(valid),
                "history": {key: each[:2] for key, each in history.items()} if failed else history,
                "sampled": sampled,
                "config": config,
                "source": "random" if number <= 8 else "tpe",
                "reason": f"SolverError: row {number} of the users is singular" if failed else None,
                "started": clock - 2.0,
                "ended": clock,
                "attempts": 1,
                "trace": "Traceback: it was singular" if failed else None,
                "system": {"backend": "numba", "device": "cpu", "host": "laptop", "peak_bytes": 210_000_000},
            }
        )
    return sorted(trials, key=lambda trial: trial["valid_rmse"] or math.inf)


def drawn(domain, rng):
    if isinstance(domain, Fixed):
        return None
    if isinstance(domain, Choices):
        return domain.values[rng.integers(len(domain.values))]
    low, high = domain.bounds
    if domain.scale == "linear":
        raw = rng.uniform(low, high)
    else:
        raw = math.exp(rng.uniform(math.log(low), math.log(high)))
    return round(raw) if domain.integer else float(raw)


FACTS = {
    "status": "finished",
    "dataset": "data/my ratings/dataset",
    "digest": "4f6cbb81",
    "counts": {"ratings": 100_000, "users": 943},
    "tracking_uri": "postgresql://me:hush@db/mlflow",
    "seconds": 63.0,
    "versions": {"python": "3.11.4", "ray": "2.56.0"},
}
NOTHING = {"failing": 1.0}
ONE = {"factors": {"low": 2, "high": 8}}


def page_of(trials, spec, *, name="first", **facts):
    return html.page(name=name, facts={**FACTS, **facts}, spec=spec, trials=trials)


class Page(HTMLParser):
    """Notes which elements open, with their attributes, and the text outside of them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.shown, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "input", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.shown.append(data)

    def named(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


# Importances


def test_importances_find_what_the_loss_was_made_of_and_add_up_to_one():
    spec = spec_of()
    found = importances(made_up_trials(40, spec), spec.space, spec.metric)
    assert next(iter(found)) == "regularization"
    assert sum(found.values()) == pytest.approx(1)
    assert set(found) == set(SPACE) - {"iterations"}
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert all(type(part) is float for part in found.values())


def test_importances_of_equal_trials_are_equal_and_touch_no_global_state():
    spec = spec_of()
    trials = made_up_trials(20, spec)
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    assert importances(trials, spec.space, spec.metric) == importances(trials, spec.space, spec.metric)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


@pytest.mark.parametrize("n", [0, 3])
def test_fewer_than_four_finished_trials_have_no_importances(n):
    spec = spec_of()
    trials = made_up_trials(n, spec, failing=0) + made_up_trials(9, spec, failing=1)
    assert importances(trials, spec.space, spec.metric) == {}


def test_one_trial_that_diverged_is_not_all_there_is_to_explain():
    spec = spec_of()
    trials = made_up_trials(40, spec, failing=0)
    before = importances(trials, spec.space, spec.metric)
    worst = trials[-1]["valid_rmse"]
    trials[-1]["valid_rmse"] = 1e9
    after = importances(trials, spec.space, spec.metric)
    assert worst < 1e9
    assert after["regularization"] == pytest.approx(before["regularization"], abs=0.15)


def test_importances_leave_out_trials_outside_of_the_space_and_without_a_figure():
    spec = spec_of()
    trials = made_up_trials(12, spec, failing=0)
    expected = importances(trials[2:], spec.space, spec.metric)
    trials[0]["config"]["factors"] = 1000
    trials[1]["valid_rmse"] = math.nan
    assert importances(trials, spec.space, spec.metric) == expected


def test_importances_of_one_hyperparameter_and_of_equal_trials():
    spec = spec_of(ONE)
    trials = made_up_trials(6, spec, failing=0)
    assert importances(trials, spec.space, spec.metric) == {"factors": 1.0}
    for trial in trials:
        trial["valid_rmse"] = 0.9
    assert importances(trials, spec.space, spec.metric) == {"factors": 0.0}
    assert importances(trials, {"factors": Fixed(3)}, spec.metric) == {}


# Scales


@pytest.mark.parametrize(
    ("domain", "places"),
    [
        (Interval(1.0, 5.0), {1.0: 0, 2.0: 0.25, 5.0: 1, 9.0: 1, -1.0: 0}),
        (Interval(0.01, 1.0, "log"), {0.01: 0, 0.1: 0.5, 1.0: 1}),
        (Interval(0.01, 1.0, "reverse_log"), {0.01: 0, 0.91: 0.5, 1.0: 1}),
        (Interval(2, 2, integer=True), {2: 0.5}),
        (Choices(("a", "b")), {"a": 0.25, "b": 0.75}),
        (Fixed(3), {3: 0.5}),
    ],
)
def test_positions_are_on_the_scale_that_was_searched(domain, places):
    for value, place in places.items():
        assert scales.Scale(domain).position(value) == pytest.approx(place)


@pytest.mark.parametrize("value", [None, math.nan, "c", True])
def test_what_is_no_value_has_no_position(value):
    assert math.isnan(scales.Scale(Interval(0.0, 1.0)).position(value))
    assert math.isnan(scales.Scale(Choices(("a", "b"))).position("c"))


@pytest.mark.parametrize(
    "domain",
    [
        Interval(low, high, scale)
        for low, high in [(1e-4, 1e3), (0.3, 0.8), (8, 64), (9.99, 10), (1e-9, 1e-8)]
        for scale in ("linear", "log", "reverse_log")
    ],
)
def test_ticks_begin_and_end_the_axis_and_do_not_touch(domain):
    ticks = scales.Scale(domain).ticks()
    at = [place for place, _ in ticks]
    assert (at[0], at[-1]) == (0, 1)
    assert min(b - a for a, b in itertools.pairwise(at)) > 0.08
    assert len(ticks) <= 13


def test_ticks_of_whole_numbers_are_whole():
    labels = [label for _, label in scales.Scale(Interval(1, 4, integer=True)).ticks()]
    assert labels == ["1", "2", "3", "4"]


# Pictures


@pytest.mark.parametrize(
    ("n", "kind", "space", "metric"),
    [
        (0, {}, None, "rmse"),
        (1, {"failing": 0}, None, "rmse"),
        (1, NOTHING, None, "rmse"),
        (7, NOTHING, None, "ndcg@10"),
        (24, {"diverging": 0.2}, None, "rmse"),
        (24, {}, None, "recall@5"),
        (24, {}, ONE, "rmse"),
    ],
)
def test_every_picture_can_be_drawn(n, kind, space, metric):
    spec = spec_of(space, metric=metric)
    before = dict(mpl.rcParams)
    drawn = pictures(spec, made_up_trials(n, spec, **kind))
    assert list(drawn) == ["history", "curves", "importances", "slices", "parallel"]
    for name, picture in drawn.items():
        assert Page(drawing.svg(picture.figure, name, picture.description)).open == []
        file = io.BytesIO()
        drawing.png(picture.figure, file)
        assert file.getvalue().startswith(b"\x89PNG")
    assert dict(mpl.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


def test_pictures_bear_figures_that_are_none():
    spec = spec_of()
    trials = made_up_trials(8, spec, failing=0)
    trials[0]["history"]["valid_rmse"][3] = None
    trials[1]["history"]["valid_rmse"][-1] = trials[1]["valid_rmse"] = math.nan
    trials[2]["history"] = {}
    trials[3]["history"]["valid_rmse"] = [math.inf] * 4
    trials[4]["config"] = {}
    for trial in (trials[5], trials[6]):
        trial["valid_rmse"], trial["train_rmse"] = math.inf, None
    for name, picture in pictures(spec, trials).items():
        assert "<svg" in drawing.svg(picture.figure, name, picture.description)


def test_pictures_of_a_space_where_all_is_fixed_say_so():
    spec = spec_of()
    fixed = {name: Fixed(1) for name in spec.space}
    drawn = pictures(spec, made_up_trials(5, spec, failing=0))
    again = {**drawn, **pictures(_with(spec, fixed), made_up_trials(5, spec, failing=0))}
    assert "Every hyperparameter was fixed." in drawing.svg(again["parallel"].figure, "p", "x")
    assert "Every hyperparameter was fixed." in drawing.svg(again["slices"].figure, "s", "x")


def _with(spec, space):
    import dataclasses

    return dataclasses.replace(spec, space=space)


def test_equal_trials_make_equal_pictures():
    spec = spec_of()
    trials = made_up_trials(10, spec)
    first, second = (
        {name: drawing.svg(each.figure, name, "") for name, each in pictures(spec, trials).items()}
        for _ in range(2)
    )
    assert first == second


def test_numbers_that_people_read_are_not_rounded_with_the_coordinates():
    spec = spec_of()
    trials = made_up_trials(10, spec, failing=0)
    shown = drawing.svg(pictures(spec, trials)["parallel"].figure, "parallel", "RMSE 0.12345")
    assert f"valid RMSE {trials[0]['valid_rmse']:.4f}" in shown
    assert 'aria-label="RMSE 0.12345"' in shown
    assert not re.findall(r'd="[^"]*\d\.\d{3}', shown)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_window_leaves_out_what_is_far_worse_and_nothing_else(mode):
    sign = 1 if mode == "min" else -1
    values = [sign * (0.9 + 0.001 * n) for n in range(20)]
    low, high = drawing.window([*values, sign * 1e6, math.nan], mode=mode)
    assert low < min(values)
    assert high > max(values)
    assert max(abs(low), abs(high)) < 1
    assert drawing.window([], mode=mode) == (0, 1)
    low, high = drawing.window([0.9], mode=mode)
    assert low < 0.9 < high


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


# Page


def test_page_is_whole_and_asks_nothing_of_any_network():
    spec = spec_of(trials=24)
    text = page_of(made_up_trials(24, spec), spec)
    page = Page(text)
    assert page.open == []
    assert [
        name for name, _ in page.tags if name in {"link", "img", "iframe", "object", "image", "base"}
    ] == []
    links = [value for _, attrs in page.tags for key, value in attrs.items() if key.endswith(("href", "src"))]
    assert all(value.startswith("#") for value in links)
    assert not re.search(r"url\((?!#)|@import", text)
    policy = next(attrs["content"] for attrs in page.named("meta") if "http-equiv" in attrs)
    assert policy.startswith("default-src 'none'")
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {value[1:] for value in links} | set(re.findall(r"url\(#([^)]+)\)", text))
    assert targets <= set(ids)


def test_page_shows_the_study_and_hides_its_secrets():
    spec = spec_of(trials=24)
    trials = made_up_trials(24, spec, failing=0.3)
    shown = " ".join(Page(page_of(trials, spec)).shown)
    for text in ("first", "finished", "4f6cbb81", "100,000 ratings", "24 of 24", "3.11.4", "numba on cpu"):
        assert text in shown
    assert trials[0]["trial"] in shown
    assert "of the users is singular" in shown
    assert "Traceback: it was singular" in shown
    assert "startup_trials:" in shown
    assert "hush" not in shown
    assert "postgresql://me:***@db/mlflow" in shown


def test_page_escapes_whatever_comes_from_elsewhere():
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
    spec = spec_of(trials=5)
    trials = made_up_trials(5, spec, failing=0)
    for each in trials:
        each |= {"trial": evil, "source": evil, "stopped": evil}
        each["config"]["bias"] = evil
        each["system"] |= {"backend": evil, "host": evil, "device": evil}
    trials[-1] |= {"status": "FAILED", "reason": evil, "trace": evil}
    facts = dict.fromkeys(("status", "dataset", "digest", "tracking_uri", "experiment"), evil)
    text = page_of(trials, spec, name=evil, **facts, versions={evil: evil}, counts={evil: evil})
    clean = Page(page_of(made_up_trials(5, spec, failing=0), spec))
    page = Page(text)
    assert len(page.named("script")) == len(clean.named("script")) == 1
    assert page.named("img") == []
    assert not any(key.startswith("on") for _, attrs in page.tags for key in attrs)


@pytest.mark.parametrize("kind", [{}, NOTHING])
@pytest.mark.parametrize("n", [0, 1])
def test_page_of_next_to_nothing(n, kind):
    spec = spec_of()
    page = Page(html.page(name="first", facts={}, spec=spec, trials=made_up_trials(n, spec, **kind)))
    assert page.open == []
    assert len(page.named("svg")) == 5


def test_the_command_that_the_page_shows_trains_the_best_configuration():
    spec = spec_of(seed=7)
    trials = made_up_trials(9, spec)
    text = page_of(trials, spec)
    command = re.search(r'<pre id="train">(.*?)</pre>', text, re.DOTALL)[1]
    words = shlex.split(command.replace("&#x27;", "'"))
    assert words[:3] == ["walslab", "train", "data/my ratings/dataset"]
    with train.make_context("train", words[2:]) as context:
        given = context.params
    fields = WALSConfig.valid()
    assert {name: given[name] for name in fields} == trials[0]["config"]
    assert given["seed"] == 7


def test_table_of_the_page_has_the_trials_best_first_and_reads_without_a_script():
    spec = spec_of(metric="ndcg@10")
    trials = made_up_trials(30, spec, failing=0.2)
    page = Page(page_of(trials[::-1], spec))
    rows = [attrs for attrs in page.named("tr") if "data-s" in attrs]
    assert len(rows) == 30
    assert rows[0]["class"] == "best"
    assert rows[-1]["class"] == "failed"
    assert all(attrs["scope"] == "col" for attrs in page.named("th"))
    shown = "\n".join(page.shown)
    ranked = [each["trial"] for each in best_first(trials, spec.metric)]
    assert [shown.index(f"\n{name}\n") for name in ranked] == sorted(
        shown.index(f"\n{name}\n") for name in ranked
    )


@pytest.mark.slow
def test_page_of_many_trials_stays_small():
    spec = spec_of({**SPACE, "iterations": 200}, trials=500)
    assert len(page_of(made_up_trials(500, spec), spec)) < 3_000_000


# Files


def test_report_is_eight_files_and_replaces_those_of_before(tmp_path):
    spec = spec_of()
    trials = made_up_trials(12, spec)
    trials[0]["seconds"] = math.nan
    folder = tmp_path / "new" / "a b"
    for _ in range(2):
        paths = write_report(folder, name="first", facts=FACTS, spec=spec, trials=trials)
    names = ["curves.png", "history.png", "importances.png", "parallel.png", "report.html", "slices.png"]
    assert sorted(path.name for path in paths) == [*names, "trials.csv", "trials.json"]
    assert sorted(folder.iterdir()) == sorted(paths)
    rows = list(csv.DictReader(io.StringIO((folder / "trials.csv").read_text(encoding="utf-8"))))
    assert [row["trial"] for row in rows] == [each["trial"] for each in best_first(trials, spec.metric)]
    assert float(rows[0]["config.regularization"]) == trials[0]["config"]["regularization"]
    assert float(rows[0]["valid_rmse"]) == trials[0]["valid_rmse"]
    assert rows[0]["seconds"] == ""
    assert rows[0]["system.host"] == "laptop"
    told = json.loads((folder / "trials.json").read_text(encoding="utf-8"))
    assert told[1] == trials[1]
    assert told[0]["seconds"] is None


def test_report_that_cannot_be_drawn_leaves_that_of_before(tmp_path, monkeypatch):
    spec = spec_of()
    write_report(tmp_path, name="first", facts={}, spec=spec, trials=[])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(drawing, "svg", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(tmp_path, name="other", facts={}, spec=spec, trials=made_up_trials(5, spec))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_csv_of_no_trials_has_its_heading():
    assert table.to_csv([], SearchMetric("ndcg", 5)).count("\n") == 1
    assert "valid_ndcg_5" in table.to_csv([], SearchMetric("ndcg", 5))


def test_the_layer_below_needs_neither_ray_nor_mlflow(repo_root):
    program = "import sys, tune.report.html; print([n for n in ('ray', 'mlflow') if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repo_root, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


# Command


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Make a study of made-up trials below the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def make(n, *, kind=None, **keys):
        spec = spec_of(trials=max(n, 1), **keys)
        facts = {"name": "first", "spec": spec.to_dict(), "seconds": 12.0, **FACTS}
        made = Study.create(
            tmp_path / "studies" / "first", **{k: v for k, v in facts.items() if k != "status"}
        )
        for each in made_up_trials(n, spec, **(kind or {})):
            end(made, each)
        made.update(status="finished")
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
    study(n, kind=kind)
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
    assert set(told) == {"study", "status", "trials"}
    assert [each["trial"] for each in told["trials"]] == [each["trial"] for each in made.trials()]
    keys = {"trial", "run_id", "status", "valid_rmse", "iterations", "seconds", "config"}
    assert set(told["trials"][0]) == keys
    assert len(json.loads(run("--json", "-n", "2").stdout)["trials"]) == 2


def test_report_of_the_command_is_a_page(study, tmp_path):
    study(12)
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
