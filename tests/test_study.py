"""The directory of a study: found by name or path, whole after a kill, ordered by what trials reached."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from trials import end, result

from toolkit.errors import StudyError
from tune.record.runs import client_of
from tune.spec.search_spec import SearchSpec
from tune.study.study import Study

SPEC = SearchSpec.from_dict({"space": {"factors": {"low": 2, "high": 8}}, "trials": 3})


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder: studies are looked up below it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def study(folder):
    return Study.create(folder / "studies" / "first", spec=SPEC.to_dict())


def order(study):
    return [trial["trial"] for trial in study.trials()]


# Making and finding


def test_new_study_is_running_and_empty(study):
    assert study.name == "first"
    assert study.facts["status"] == "running"
    assert study.trials() == []
    assert study.spec == SPEC


@pytest.mark.parametrize("name", ["first", "studies/first", "./studies/first/", "studies/../studies/first"])
def test_study_is_found_by_name_and_by_path(study, name):
    found = Study.open(name)
    assert found.facts == study.facts
    assert found.path == study.path
    assert found.path.is_absolute()


def test_study_elsewhere_is_found_by_path(folder):
    made = Study.create(folder / "other disk" / "it's [1]", spec=SPEC.to_dict())
    assert Study.open("other disk/it's [1]").path == made.path


def test_name_that_is_taken_is_refused_with_both_ways_out(study):
    with pytest.raises(StudyError, match=r"choose another --name, or .*`walslab resume"):
        Study.create(study.path)
    assert Study.open("first").facts == study.facts


def test_kill_while_a_study_is_made_leaves_the_name_free(folder, monkeypatch):
    def killed(*_):
        raise SystemExit  # what a kill is to the code that follows

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.rename", killed)
        with pytest.raises(SystemExit):
            Study.create(folder / "studies" / "first", spec=SPEC.to_dict())
    assert not (folder / "studies" / "first").exists()
    Study.create(folder / "studies" / "first", spec=SPEC.to_dict())


def test_folder_that_is_no_study_is_not_made_one_and_not_called_one(folder):
    (folder / "studies" / "notes").mkdir(parents=True)
    with pytest.raises(StudyError, match="exists already and is no study"):
        Study.create(folder / "studies" / "notes")
    with pytest.raises(StudyError, match="there is no study 'notes'"):
        Study.open("notes")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("frist", r"there is no study 'frist' \(did you mean 'first'\?\)$"),
        ("studies/firts", r"there is no study 'studies/firts' \(did you mean 'first'\?\)$"),
        ("xyz", "there is no study 'xyz': known are first, ml-1m$"),
    ],
)
def test_unknown_study_is_answered_with_those_there_are(study, folder, name, hint):
    Study.create(folder / "studies" / "ml-1m")
    with pytest.raises(StudyError, match=hint):
        Study.open(name)


def test_unknown_study_where_there_is_none_gets_no_hint():
    with pytest.raises(StudyError, match=r"there is no study 'first'$"):
        Study.open("first")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": "walslab-st', "study.json is not valid JSON"),
        ("[]", "study.json must hold a JSON object, but holds list"),
        ('{"format": "walslab-study", "format_version": 1}', "version 2, but states walslab-study 1"),
        ("{}", "must be of format walslab-study version 2, but states None None"),
    ],
)
def test_damaged_study_is_refused_by_name(study, text, message):
    (study.path / "study.json").write_text(text, encoding="utf-8")
    with pytest.raises(StudyError, match=message):
        Study.open("first")


def test_changed_facts_are_on_disk_and_leave_nothing_beside(study):
    study.update(status="finished", seconds=1.5)
    assert Study.open("first").facts["status"] == "finished"
    assert [path.name for path in study.path.iterdir()] == ["study.json"]


# Trials


def test_trials_are_ordered_by_what_they_reached(study):
    for trial in (
        result("trial-001", 0.95),
        result("trial-002", 0.9, stopped="halving"),
        result("trial-003", None, "FAILED", reason="singular"),
        result("trial-004", float("nan")),
        result("trial-005", 0.9),
        result("trial-006", float("inf")),
        result("trial-007", 0.92),
    ):
        end(study, trial)
    assert order(study) == [f"trial-00{n}" for n in (2, 5, 7, 1, 3, 4, 6)]
    assert study.best()["trial"] == "trial-002"


def test_the_last_record_of_a_trial_counts(study):
    end(study, result("trial-001", 0.8))
    end(study, result("trial-002", 0.9))
    end(study, result("trial-001", 0.95))
    assert order(study) == ["trial-002", "trial-001"]


def test_trials_come_back_as_they_were_added(study):
    added = result(
        "trial-001", 0.1 + 0.2, reason="rows\nand\u2028lines ü", config={"factors": 3, "bias": "full"}
    )
    end(study, added)
    assert Study.open("first").trials() == [added]
    assert len((study.path / "journal.jsonl").read_bytes().splitlines()) == 1


@pytest.mark.parametrize("cut", [1, 2, 40, 150])
def test_half_written_last_line_is_passed_over_and_spoils_no_later_one(study, cut):
    for n in (1, 2, 3):
        end(study, result(f"trial-00{n}", n))
    path = study.path / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    # Without its line end alone, the last line is whole.
    assert order(study) == [f"trial-00{n}" for n in ((1, 2, 3) if cut == 1 else (1, 2))]
    end(study, result("trial-004", 0.5))
    end(study, result("trial-003", 0.25))
    assert order(study) == ["trial-003", "trial-004", "trial-001", "trial-002"]


@pytest.mark.parametrize("line", ["", "null", "7", "[]", "{}", "\x00\x00\x00"])
def test_lines_that_are_no_trials_are_passed_over(study, line):
    (study.path / "journal.jsonl").write_text(
        f"{line}\n{json.dumps({'event': 'ended', **result('trial-001', 1.0)})}\n{line}\n"
    )
    assert order(study) == ["trial-001"]


ADDING = """
import itertools, sys
from tune.study.study import Study
sys.path.insert(0, sys.argv[1])
from trials import end, result
study = Study.open("first")
for n in itertools.count():
    end(study, result(f"trial-{n}", 1.0, reason="x" * 5000))
    print(n, flush=True)
"""


def test_killed_process_loses_no_trial_that_it_told_of(study, repo_root):
    command = [sys.executable, "-c", ADDING, str(repo_root / "tests")]
    environment = {**os.environ, "PYTHONPATH": str(repo_root)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for told in process.stdout:
            if int(told) == 20:
                process.send_signal(signal.SIGKILL)
    assert set(order(study)) >= {f"trial-{n}" for n in range(int(told) + 1)}
    end(study, result("trial-after", 0.5))
    assert study.best()["trial"] == "trial-after"


@pytest.mark.parametrize(
    ("trials", "reason"),
    [
        ([], "none has finished"),
        ([result("trial-001", None, "FAILED", reason="singular rows")], "singular rows"),
        ([result("trial-001", float("nan"))], "none has finished"),
    ],
    ids=["none", "failed", "nan"],
)
def test_study_without_a_finished_trial_has_no_best_and_says_why(study, trials, reason):
    for trial in trials:
        end(study, trial)
    with pytest.raises(StudyError, match=f"study first has no finished trial: {reason}"):
        study.best()


def test_study_killed_before_its_parent_run_was_made_says_what_to_do(tmp_path):
    study = Study.create(tmp_path / "early", name="early", tracking_uri="sqlite:///x.db", experiment="x")
    with pytest.raises(StudyError, match=r"killed before it began: `walslab resume .*` begins it"):
        client_of(study)
