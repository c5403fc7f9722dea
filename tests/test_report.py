"""The page of a report, and the files beside it."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shlex

import pytest
from command_lines import parameters
from markup import Page
from matplotlib.figure import Figure
from trials import FACTS, NOTHING, ONE, SPACE, made_up_trials, spec_of

from toolkit.config import WALSConfig
from tune.report import drawing, html, table, write_report
from tune.spec import SearchMetric
from tune.study import best_first


def page_of(trials, spec, *, name="first", **facts):
    return html.page(name=name, facts={**FACTS, **facts}, spec=spec, trials=trials)


# Page


@pytest.fixture(scope="module")
def usual():
    """The page of a usual study, and its trials, the best last."""
    # Each searched hyperparameter is a tenth of a second to draw.
    spec = spec_of(ONE, trials=12, seed=7, metric="ndcg@10")
    trials = made_up_trials(12, spec, failing=0.3)[::-1]
    return page_of(trials, spec), trials, spec


@pytest.fixture(scope="module")
def evil():
    """The page of a study where whatever comes from elsewhere is markup."""
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
    spec = spec_of({**ONE, "bias": SPACE["bias"]}, trials=5)
    trials = made_up_trials(5, spec, failing=0)
    for each in trials:
        each |= {"trial": evil, "source": evil, "stopped": evil}
        each["config"]["bias"] = evil
        each["system"] |= {"backend": evil, "host": evil, "device": evil}
    trials[-1] |= {"status": "FAILED", "reason": evil, "trace": evil}
    facts = dict.fromkeys(("status", "dataset", "digest", "tracking_uri", "experiment"), evil)
    return page_of(trials, spec, name=evil, **facts, versions={evil: evil}, counts={evil: evil})


@pytest.mark.parametrize("kind", ["usual", "evil"])
def test_page_is_whole_and_asks_nothing_of_any_network(usual, evil, kind):
    text = {"usual": usual[0], "evil": evil}[kind]
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


def test_page_shows_the_study_and_hides_its_secrets(usual):
    text, trials, _ = usual
    shown = " ".join(Page(text).shown)
    for text in ("first", "finished", "4f6cbb81", "100,000 ratings", "12 of 12", "3.11.4", "numba on cpu"):
        assert text in shown
    assert trials[0]["trial"] in shown
    assert "of the users is singular" in shown
    assert "Traceback: it was singular" in shown
    assert "startup_trials:" in shown
    assert "hush" not in shown
    assert "postgresql://me:***@db/mlflow" in shown


def test_page_escapes_whatever_comes_from_elsewhere(usual, evil):
    clean = Page(usual[0])
    page = Page(evil)
    assert len(page.named("script")) == len(clean.named("script")) == 1
    assert page.named("img") == []
    assert not any(key.startswith("on") for _, attrs in page.tags for key in attrs)


@pytest.mark.parametrize(("n", "kind"), [(0, {}), (1, {}), (1, NOTHING)])
def test_page_of_next_to_nothing(n, kind):
    spec = spec_of(ONE)
    page = Page(html.page(name="first", facts={}, spec=spec, trials=made_up_trials(n, spec, **kind)))
    assert page.open == []
    assert len(page.named("svg")) == 5


def test_trials_that_failed_for_one_reason_are_named_as_far_as_there_is_room():
    spec = spec_of(ONE)
    trials = made_up_trials(11, spec, failing=0)
    for each in trials[1:]:
        each |= {"status": "FAILED", "reason": "no memory", "trace": None}
    shown = "\n".join(Page(page_of(trials, spec)).shown)
    assert "10 ×\nno memory" in shown
    assert " and 2 more\n" in shown


def test_the_command_that_the_page_shows_trains_the_best_configuration(usual):
    text, trials, spec = usual
    command = re.search(r'<pre id="train">(.*?)</pre>', text, re.DOTALL)[1]
    words = shlex.split(command.replace("&#x27;", "'"))
    assert words[:3] == ["walslab", "train", "data/my ratings/dataset"]
    given = parameters(words[1:])
    fields = WALSConfig.valid()
    assert (
        WALSConfig.from_dict({name: given[name] for name in fields}).to_dict()
        == best_first(trials, spec.metric)[0]["config"]
    )
    assert given["seed"] == 7


def test_table_of_the_page_has_the_trials_best_first_and_reads_without_a_script(usual):
    text, trials, spec = usual
    page = Page(text)
    rows = [attrs for attrs in page.named("tr") if "data-s" in attrs]
    assert len(rows) == 12
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


def test_report_is_eight_files_drawn_once_and_replaces_those_of_before(tmp_path, monkeypatch):
    spec, draw, drawn = spec_of(ONE), Figure.savefig, []

    def counting(self, *args, **kwargs):
        drawn.append(self)
        draw(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", counting)
    trials = made_up_trials(5, spec)
    trials[0]["seconds"] = math.nan
    folder = tmp_path / "new" / "a b"
    for _ in range(2):
        paths = write_report(folder, name="first", facts=FACTS, spec=spec, trials=trials)
    assert len(drawn) == len(set(drawn)) == 10
    assert (folder / "history.svg").read_text(encoding="utf-8").startswith("<?xml")
    names = ["curves.svg", "history.svg", "importances.svg", "parallel.svg", "report.html", "slices.svg"]
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
    spec = spec_of(ONE)
    write_report(tmp_path, name="first", facts={}, spec=spec, trials=[])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(drawing, "embedded", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(tmp_path, name="other", facts={}, spec=spec, trials=made_up_trials(1, spec))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_csv_of_no_trials_has_its_heading():
    assert table.to_csv([], SearchMetric("ndcg", 5)).count("\n") == 1
    assert "valid_ndcg_5" in table.to_csv([], SearchMetric("ndcg", 5))
