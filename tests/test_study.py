"""The directory of a study: found by name or path, whole after a kill, ordered by what trials reached."""

from __future__ import annotations

import json
import os

import forks
import pytest
from forks import Forked
from trials import end, result

from toolkit.errors import SpecError, StudyError
from tune.record import client_of
from tune.spec import SearchSpec
from tune.study import Study

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
        ('{"format": "walslab-study", "format_version": 2}', "version 4, but states walslab-study 2"),
        ("{}", "must be of format walslab-study version 4, but states None None"),
    ],
)
def test_damaged_study_is_refused_by_name(study, text, message):
    (study.path / "study.json").write_text(text, encoding="utf-8")
    with pytest.raises(StudyError, match=message):
        Study.open("first")


@pytest.mark.parametrize("name", ["study.json", "state.json", "refit.json"])
@pytest.mark.parametrize("kind", ["directory", "loop", "latin-1", "nested", "number"])
def test_file_of_facts_that_cannot_be_read_is_named(study, name, kind):
    path = study.path / name
    path.unlink(missing_ok=True)
    if kind == "directory":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    else:
        text = {"latin-1": b'{"name": "caf\xe9"}', "nested": b"[" * 10**5, "number": b"7"}[kind]
        path.write_bytes(text)
    with pytest.raises(StudyError, match=rf"first/{name} (cannot be read|is not valid|must hold)"):
        Study.open("first")


@pytest.mark.parametrize(
    ("name", "facts", "problem"),
    [
        ("study.json", {"spec": 7}, "study.json was damaged: 'spec' must be an object, but is 7"),
        ("study.json", {"counts": {"users": "9"}}, "'counts' must be an object of whole numbers"),
        ("study.json", {"id": None}, "'id' must be text, but is None"),
        ("state.json", {"seconds": "long"}, "state.json was damaged: 'seconds' must be a number"),
    ],
)
def test_fact_of_another_kind_is_named(study, name, facts, problem):
    path = study.path / name
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**before, **facts}))
    with pytest.raises(StudyError, match=problem):
        Study.open("first")


def test_missing_fact_is_named_with_its_file(study):
    facts = json.loads((study.path / "study.json").read_text())
    del facts["spec"]
    (study.path / "study.json").write_text(json.dumps(facts))
    damaged = Study.open("first")
    for look in (lambda: damaged.spec, damaged.trials, lambda: damaged.data, damaged.best):
        with pytest.raises(StudyError, match=r"study.json has no '\w+': restore that file"):
            look()


def test_study_that_is_a_link_to_itself_is_no_study(folder):
    (folder / "studies").mkdir()
    (folder / "studies" / "first").symlink_to(folder / "studies" / "first")
    with pytest.raises(StudyError, match="there is no study 'first'"):
        Study.open("first")
    with pytest.raises(StudyError, match="is no study"):
        Study.create("studies/first")


# One writer for each file


def test_refit_while_a_run_ends_loses_neither(study):
    with study.locked():
        study.update(status="running")
        refit = Study.open("first")  # as it was before the run ended
        study.update(status="finished", seconds=1.5)
        refit.keep_refit({"trial": "trial-001", "test_rmse": 0.9})
    for each in (study, refit, Study.open("first")):
        assert each.status() == "finished"
    facts = Study.open("first").facts
    assert (facts["status"], facts["seconds"], facts["refit"]["trial"]) == ("finished", 1.5, "trial-001")


def test_what_was_asked_is_never_written_again(study):
    before = (study.path / "study.json").read_bytes()
    study.change(trials=9, concurrency=2)
    study.update(status="finished")
    study.keep_refit({"trial": "trial-001"})
    assert (study.path / "study.json").read_bytes() == before
    assert (Study.open("first").spec.trials, study.asked_spec["trials"]) == (9, 3)


def test_state_is_changed_by_the_process_that_holds_the_study_alone(study):
    other = Study.open("first")
    with study.locked():
        with pytest.raises(StudyError, match=r"is being run by process \d+ of"):
            other.update(status="finished")
        with pytest.raises(StudyError, match="is being run by process"):
            other.change(trials=9)
        study.update(seconds=7.0)
    other.update(status="finished")
    assert Study.open("first").facts["seconds"] == 7.0
    with pytest.raises(StudyError, match=r"a study's state has .*, but got refit"):
        study.update(refit={})


def test_number_of_trials_is_absolute(study):
    study.update(status="finished")
    study.change(trials=3)
    assert study.facts["status"] == "finished"
    for _ in range(2):
        study.change(trials=8)
        assert study.spec.trials == 8
        assert study.facts["status"] == "interrupted"
    with pytest.raises(StudyError, match="has 8 trials already, and 3 are fewer"):
        study.change(trials=3)


def test_what_may_change_is_checked_and_the_rest_is_refused_by_name(study):
    study.change(concurrency=4, resources={"cpu": 2, "gpu": 0}, max_seconds=60, max_failures="none")
    spec = Study.open("first").spec
    assert (spec.concurrency, spec.cpu, spec.max_seconds, spec.max_failures) == (4, 2, 60, None)
    with pytest.raises(StudyError, match="keeps its seed, space, or its trials could not be compared"):
        study.change(seed=7, space={}, trials=9)
    with pytest.raises(SpecError, match=r"(?s)study first, changed has 1 mistake.*max_seconds"):
        study.change(max_seconds=-1)
    assert Study.open("first").spec == spec


# Looking


LOOKING = """
import sys
from tune.study import Study
print("looking", flush=True)
while True:
    Study.open(sys.argv[1]).status()
"""


def test_look_never_refuses_a_start(study):
    with Forked(LOOKING, study.path) as process:
        assert process.stdout.readline() == "looking\n"
        for _ in range(300):
            with study.locked():
                pass


def test_status_tells_a_run_from_a_kill_without_the_lock(study):
    assert study.status() == "interrupted"
    with study.locked():
        study.update(status="running")
        assert Study.open("first").status() == "running"
    assert Study.open("first").status() == "interrupted"


def test_run_that_ends_between_two_looks_has_not_been_interrupted(study, monkeypatch):
    study.update(status="running")
    other = Study.open("first")

    def end_now():
        study.update(status="finished")
        return False

    monkeypatch.setattr(other.location, "is_locked", end_now)
    assert other.status() == "finished"


def test_study_of_another_user_can_be_looked_at_and_not_changed(study):
    end(study, result("trial-001"))
    with study.locked():
        study.update(status="running")
        for path in [study.path, *study.path.iterdir()]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        code = (
            "import sys; from tune.study import Study; study = Study.open(sys.argv[1])\n"
            "print(study.status(), len(study.trials()))\n"
            "try: study.update(status='failed')\n"
            "except Exception as error: print(error)"
        )
        if os.geteuid() == 0:
            code = "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n" + code
            for parent in study.path.parents:
                if parent.is_relative_to("/tmp") or parent.is_relative_to("/dev/shm"):
                    parent.chmod(parent.stat().st_mode | 0o055)
        done = forks.run(code, study.path, cwd="/", imports=["tune.study", "tune.study.study"])
        assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert told[0] == "running 1"
    assert "study first cannot be changed: Permission denied" in told[1]


def test_changed_facts_are_on_disk_and_leave_nothing_beside(study):
    study.update(status="finished", seconds=1.5)
    assert Study.open("first").facts["status"] == "finished"
    assert sorted(p.name for p in study.path.iterdir()) == [".lock", ".running", "state.json", "study.json"]


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


@pytest.mark.parametrize("line", ["", "\x00\x00\x00", '{"event": "en', '{"event": "ended", "version": 1'])
def test_lines_that_a_kill_or_a_power_cut_left_are_passed_over(study, line):
    end(study, result("trial-001", 1.0))
    path = study.path / "journal.jsonl"
    path.write_text(f"{line}\n{path.read_text()}{line}\n")
    assert order(study) == ["trial-001"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("null", "it must be a JSON object, but is NoneType"),
        ("7", "it must be a JSON object, but is int"),
        ("[]", "it must be a JSON object, but is list"),
        ("{}", "'version' must be 1, but is None"),
        ('{"event": "run", "version": 2}', "'version' must be 1, but is 2, of a newer walslab"),
        ('{"event": "sung", "version": 1}', "'event' must be one of proposed, .*, but is 'sung'"),
        ('{"event": "run", "version": 1}', "'trial' is missing; 'run_id' is missing"),
        (
            '{"event": "run", "version": 1, "trial": 7, "run_id": null}',
            "'trial' must be text, but is 7; 'run_id' must be text, but is None",
        ),
    ],
)
def test_line_of_another_shape_is_refused_by_file_and_line(study, line, problem):
    end(study, result("trial-001", 1.0))
    with study.journal.path.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(
        StudyError, match=rf"journal.jsonl, line 2, is no event .*: {problem}; .*remove the line"
    ):
        study.trials()


def test_event_outside_the_contract_is_not_written(study):
    with pytest.raises(StudyError, match="'event' must be one of"):
        study.journal.append("sung", trial="trial-001")
    with pytest.raises(StudyError, match="'sampled' is missing"):
        study.journal.append("proposed", trial="trial-001", number=1, source="random")
    assert not study.journal.path.exists()


ADDING = """
import itertools
from tune.study import Study
from trials import end, result
study = Study.open("first")
for n in itertools.count():
    end(study, result(f"trial-{n}", 1.0, reason="x" * 5000))
    print(n, flush=True)
"""


def test_killed_process_loses_no_trial_that_it_told_of(study):
    with Forked(ADDING) as process:
        for told in process.stdout:
            if int(told) == 20:
                process.kill()
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
