"""Pruning removes what is asked for, once, and leaves the best, the refit, and a study that still works."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from recorded_studies import CONFIG, ended, make_store, make_study, runs_of
from trials import result

from cluster.cli import main
from toolkit.errors import ConfigError, StudyError
from tune.record import MlflowRecord, PruneRule, client_of, finish_parent, plan_pruning, prune, trial_factors
from tune.record.artifacts import local_path
from tune.record.pruning import pruned_trials
from tune.record.runs import children
from tune.study import Study


@pytest.fixture(scope="module")
def store(tmp_path_factory, empty_store):
    return make_store(tmp_path_factory.mktemp("store"), empty_store)


FIGURES = {1: 0.9, 3: 0.7, 4: 0.8, 5: 0.95}


def recorded(store, folder, figures=FIGURES):
    """Return a study of five trials, or fewer: the third is the best, the second failed."""
    made = make_study(store, folder)
    ended(made, *(result(f"trial-00{n}", rmse, config=CONFIG.to_dict()) for n, rmse in figures.items()))
    failed = result("trial-002", None, "FAILED", reason="singular", trace="it was", history={})
    ended(made, failed, with_factors=False)
    assert MlflowRecord(made).close() == 0
    made.update(status="finished")
    return made


@pytest.fixture
def study(store, tmp_path):
    return recorded(store, tmp_path)


@pytest.fixture(scope="module")
def unpruned(store, tmp_path_factory):
    """A study of which nobody removes anything."""
    return recorded(store, tmp_path_factory.mktemp("unpruned"))


@pytest.fixture(scope="module")
def pruned(store, tmp_path_factory):
    """A study of which the best trial alone was kept, as it was before, and what was removed."""
    made = recorded(store, tmp_path_factory.mktemp("pruned"))
    folders, figures = artifacts(made), figures_of(made)
    assert all(folder.is_dir() for folder in folders.values())
    return SimpleNamespace(
        study=made, folders=folders, figures=figures, removals=prune(made, PruneRule(keep=1))
    )


def figures_of(study):
    return {trial["trial"]: trial["valid_rmse"] for trial in study.trials()}


def names(removals):
    return [removal.trial for removal in removals]


def artifacts(study):
    return {
        run.info.run_name: local_path(run.info.artifact_uri)
        for run in children(client_of(study), study, deleted=True)
    }


def invoke(*arguments, code=0):
    done = CliRunner().invoke(main, ["prune", *map(str, arguments)], catch_exceptions=code == 0)
    assert done.exit_code == code, done.output
    return done


@pytest.mark.parametrize(
    ("rule", "removed"),
    [
        (PruneRule(keep=2), ["trial-001", "trial-002", "trial-005"]),
        (PruneRule(keep=9), []),
        (PruneRule(failed=True), ["trial-002"]),
        (PruneRule(older_than=0.0), ["trial-001", "trial-002", "trial-004", "trial-005"]),
        (PruneRule(older_than=1e12), []),
    ],
    ids=["keep", "keep more than there are", "failed", "old", "none is old"],
)
def test_rule_names_the_trials(unpruned, rule, removed):
    assert names(plan_pruning(unpruned, rule)) == removed


def test_nothing_is_left_of_a_trial_but_its_figures(pruned):
    study, folders = pruned.study, pruned.folders
    assert names(pruned.removals) == ["trial-001", "trial-002", "trial-004", "trial-005"]
    assert pruned.removals[0].n_bytes > 0
    assert {name for name, folder in folders.items() if folder.exists()} == {"trial-003"}
    assert not any(folder.parent.exists() for name, folder in folders.items() if name != "trial-003")
    again = Study.open(study.path)
    assert figures_of(again) == pruned.figures
    kept = {trial["trial"]: trial_factors(again, trial) for trial in again.trials()}
    assert [name for name, factors in kept.items() if factors is not None] == ["trial-003"]
    parent = client_of(study).get_run(study.facts["parent_run_id"])
    assert parent.data.tags["walslab.pruned"] == "4"


@pytest.mark.usefixtures("undrawn")
def test_pruned_study_is_recorded_and_reported_as_before(pruned):
    study = pruned.study
    assert MlflowRecord(study).close() == 0
    finish_parent(study, "FINISHED")
    assert sorted(runs_of(study)) == ["trial-003"]
    parent = client_of(study).get_run(study.facts["parent_run_id"])
    assert parent.data.metrics["n_done"] == 4


def test_trial_that_mlflow_did_not_have_yet_is_not_written_after_it_was_pruned(study):
    ended(study, result("trial-006", 0.99, config=CONFIG.to_dict()))
    prune(study, PruneRule(keep=2))
    assert not study.factors_folder("trial-006").exists()
    assert MlflowRecord(study).close() == 0
    assert sorted(runs_of(study)) == ["trial-003", "trial-004"]


def test_twice_is_once(pruned):
    before = pruned.study.journal.path.read_bytes()
    assert prune(pruned.study, PruneRule(keep=1)) == []
    assert pruned.study.journal.path.read_bytes() == before


@pytest.mark.parametrize(
    ("method", "after"),
    [
        ("delete_run", False),
        ("delete_run", True),
        ("set_tag", False),
        pytest.param("set_tag", True, marks=pytest.mark.slow),  # all is done then, as after a whole pruning
    ],
)
def test_kill_half_way_loses_nothing_and_the_next_pruning_ends_it(
    store, tmp_path, monkeypatch, method, after
):
    study = recorded(store, tmp_path, {1: 0.9, 3: 0.7})
    original, calls = getattr(MlflowClient, method), []

    def killed(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == (2 if method == "delete_run" else 1):
            if after:
                original(self, *args, **kwargs)
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(MlflowClient, method, killed)
    with pytest.raises(KeyboardInterrupt):
        prune(study, PruneRule(keep=1))
    monkeypatch.undo()
    assert MlflowRecord(Study.open(study.path)).close() == 0
    prune(study, PruneRule(keep=1))
    assert sorted(runs_of(study)) == ["trial-003"]
    assert pruned_trials(study) == {"trial-001", "trial-002"}
    assert {name for name, folder in artifacts(study).items() if folder.exists()} == {"trial-003"}


def test_store_that_lets_nobody_delete_is_told_and_the_others_are_removed(store, tmp_path, monkeypatch):
    from tune.record import pruning

    study = recorded(store, tmp_path, {1: 0.9, 3: 0.7})
    delete, refused = pruning.delete_artifacts, runs_of(study)["trial-001"].info.artifact_uri

    def refusing(client, uri, *arguments):
        if uri == refused:
            raise PermissionError("not allowed")
        delete(client, uri, *arguments)

    monkeypatch.setattr(pruning, "delete_artifacts", refusing)
    with pytest.raises(StudyError, match=r"1 of 2 trials could not be pruned \(trial-001: not allowed\)"):
        prune(study, PruneRule(keep=1))
    assert sorted(runs_of(study)) == ["trial-001", "trial-003"]
    monkeypatch.undo()
    assert names(prune(study, PruneRule(keep=1))) == ["trial-001"]


def test_study_that_runs_is_refused(unpruned):
    with unpruned.locked():
        other = Study.open(unpruned.path)
        with pytest.raises(StudyError):
            prune(other, PruneRule(keep=1))
    assert len(runs_of(unpruned)) == 5


def test_study_at_an_address_is_pruned_there(store, memory):
    made = make_study(store, "memory://studies")
    with made.locked():
        made.update()  # the parent run was noted here alone
        ended(made, *(result(f"trial-00{n}", 0.7 + n, config=CONFIG.to_dict()) for n in (1, 2)))
        # The factors of the second are not in MLflow yet, but at the address.
        made.journal.append("recorded", trial="trial-001")
    assert any("/factors/trial-002/" in path for path in memory.store)
    assert names(prune(Study.open(made.where), PruneRule(keep=1))) == ["trial-002"]
    assert not any("/factors/trial-002/" in path for path in memory.store)
    again = Study.open(made.where)
    assert pruned_trials(again) == {"trial-002"}
    assert [trial["trial"] for trial in again.trials()] == ["trial-001", "trial-002"]


@pytest.mark.parametrize("rule", [{}, {"keep": 2, "failed": True}])
def test_exactly_one_rule_is_needed(rule):
    with pytest.raises(ConfigError, match="exactly one rule"):
        PruneRule(**rule)


# The command


def test_command_says_what_it_would_remove_and_removes_it_when_told_to_and_no_member_of_a_refit(study):
    study.keep_refit({"trial": "trial-003", "members": [["trial-003", 0.5], ["trial-005", 0.5]]})
    shown = invoke(study.path, "--keep", 2)
    assert "would remove 2 of 5 trials" in shown.stdout
    assert "trial-001, trial-002" in shown.stdout
    assert "never removed (best, refit): trial-003, trial-005" in shown.stdout
    assert "add --yes" in shown.stdout
    assert len(runs_of(study)) == 5
    told = json.loads(invoke(study.path, "--keep", 2, "--yes", "--json").stdout.splitlines()[-1])
    assert told["bytes"] > 0
    assert told | {"bytes": 0} == {
        "study": study.where,
        "removed": True,
        "trials": ["trial-001", "trial-002"],
        "bytes": 0,
        "protected": ["trial-003", "trial-005"],
    }
    assert sorted(runs_of(study)) == ["trial-003", "trial-004", "trial-005"]
    assert "no trial to remove" in invoke(study.path, "--keep", 2, "--yes").stdout


@pytest.mark.parametrize(
    "arguments",
    [(), ("--keep", 1, "--failed"), ("--keep", 0), ("--older-than", "soon"), ("--older-than", 30)],
)
def test_command_refuses_what_it_cannot_read(unpruned, arguments):
    invoke(unpruned.path, *arguments, code=2)
    assert len(runs_of(unpruned)) == 5


@pytest.mark.parametrize(("age", "removed"), [("30d", 5), ("0m", 5), ("99999w", 0)])
def test_command_reads_ages(unpruned, age, removed):
    # The made-up trials ended in 1970; the best stays.
    told = json.loads(invoke(unpruned.path, "--older-than", age, "--json").stdout.splitlines()[-1])
    assert (told["removed"], len(told["trials"])) == (False, max(0, removed - 1))


def test_results_list_pruned_trials(pruned):
    done = CliRunner().invoke(main, ["results", str(pruned.study.path), "--json"], catch_exceptions=False)
    assert len(json.loads(done.stdout.splitlines()[-1])["trials"]) == 5
