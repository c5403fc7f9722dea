"""The command line as such: help, errors, exit codes, imports, and the commands that need no dataset."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys

import click
import forks
import pytest
from click.testing import CliRunner
from command_lines import parameters

import toolkit
from cluster.cli import main
from cluster.job import FORWARDED
from toolkit.commands import LazyGroup, emit
from tune.spec import default_text

COMMANDS = main.list_commands(click.Context(main))
ADDRESS = "http://127.0.0.1:8265"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder, and an environment that names no store and no cluster."""
    monkeypatch.chdir(tmp_path)
    for name in (*FORWARDED, "RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(*arguments, code):
    """Return what a command that must fail wrote: nothing but words for its user, on standard error."""
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.fixture
def python(repo_root, folder):
    """Return a function that runs Python in a process of its own, with the packages at hand."""

    def python(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(repo_root)}
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env=environment,
        )

    return python


# Help


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_shows_an_example_and_the_json_option(name):
    result = run(name, "--help")
    assert result.exit_code == 0, result.output
    assert "\n  Example:\n    walslab " in result.stdout or "\n  Examples:\n    walslab " in result.stdout
    assert f"    walslab {name} " in result.stdout or result.stdout.rstrip().count(f"walslab {name}\n")
    assert "--json" in result.stdout
    short = run(name, "-h")
    assert (short.exit_code, short.stdout) == (0, result.stdout), repr(short.exception)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_is_taken_by_its_command(name):
    command = main.get_command(click.Context(main), name)
    lines = [line.strip() for line in (command.help or "").splitlines()]
    examples = [line for line in lines if line.startswith("walslab ")]
    words = [shlex.split(example)[1:] for example in examples]
    # What comes next may be another command.
    assert words[0][0] == name
    for each in words:
        parameters(each)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name):
    command = main.get_command(click.Context(main), name)
    unexplained = [p.name for p in command.params if isinstance(p, click.Option) and not p.help]
    assert unexplained == []


def test_help_lists_the_commands_in_the_order_of_the_work():
    shown = run("--help").stdout.partition("Commands:\n")[2]
    listed = [line.split()[0] for line in shown.splitlines() if line.startswith("  ") and line[2] != " "]
    assert listed == COMMANDS
    for earlier, later in zip(
        ("fetch", "ingest", "train", "tune", "refit", "recommend", "submit"),
        ("ingest", "train", "tune", "refit", "recommend", "submit", "doctor"),
        strict=True,
    ):
        assert listed.index(earlier) < listed.index(later)


def test_version_is_the_packages():
    assert run("--version").stdout == f"walslab, version {toolkit.__version__}\n"


HELP = """
import sys
from cluster.cli import main
heavy = ("pandas", "dask", "distributed", "pyarrow", "ray", "mlflow", "optuna", "scipy", "cupy")
for arguments in (["--help"], ["tune", "--help"], ["tune", "--print-spec"]):
    sys.argv = ["walslab", *arguments]
    try:
        main()
    except SystemExit as end:
        print(arguments, end.code, [name for name in heavy if name in sys.modules], file=sys.stderr)
"""


def test_help_imports_nothing_heavy(python):
    done = python("-c", HELP)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "['--help'] 0 []",
        "['tune', '--help'] 0 []",
        "['tune', '--print-spec'] 0 []",
    ]


# What ``python -m`` does.
MODULE = (
    "import runpy, sys; del sys.argv[0]; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)


@pytest.mark.parametrize("package", ["toolkit", "tune", "cluster"])
def test_packages_run_as_modules_and_show_their_help_by_both_names(package):
    short, long = (forks.run(MODULE, package, option, imports=["cluster.cli"]) for option in ("-h", "--help"))
    assert long.returncode == 0, long.stderr
    assert long.stdout.startswith(f"Usage: python -m {package} [OPTIONS] COMMAND [ARGS]...")
    assert (short.stdout, short.stderr, long.stderr) == (long.stdout, "", "")


def test_module_leaves_with_the_exit_code_and_one_line():
    done = forks.run(MODULE, "toolkit", "recommend", "no such model", "--user", "1")
    assert done.returncode == 2
    assert done.stderr == (
        "walslab: error: no such model is not a walslab-model directory: it has no model.json\n"
    )


# Errors and exit codes


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("recomend", "No such command 'recomend' (did you mean 'recommend'?)."),
        ("xyz", "No such command 'xyz'."),
    ],
)
def test_unknown_command_is_answered_with_the_nearest(name, message):
    assert f"Error: {message}\n" in refused(name, code=2)


def test_unknown_option_is_answered_with_the_nearest():
    assert "--user" in refused("recommend", "model", "--usr", "1", code=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "nowhere", "--out", "model"), "nowhere"),
        (("train", "nowhere", "--out", "model", "--factors", "-1"), "factors must be between 0 and 1024"),
        (("train", "nowhere", "--out", "."), "exists already: choose another path, or overwrite it"),
        (("train", "nowhere", "--out", "file", "--overwrite"), "is a file"),
        (("train", "nowhere", "--out", ".", "--overwrite"), "holds other things (it has no model.json)"),
        (("train", "nowhere", "--out", "model", "--posterior", "--keep", "999"), "nowhere"),
        (("recommend", "nowhere", "--user", "1"), "nowhere is not a walslab-model directory"),
        (("export", "file", "--out", "exported"), "file is not a walslab-model directory"),
        (("tune", "nowhere", "--spec", "gone.yaml"), "cannot read the specification gone.yaml: No such file"),
        (("tune", "nowhere", "--name", "a"), "nowhere"),
    ],
    ids=str,
)
def test_bad_input_is_told_in_one_line(folder, arguments, message):
    (folder / "file").write_text("a file")
    told = refused(*arguments, code=2)
    assert told.startswith("walslab: error: ")
    assert message in told
    assert told.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["file"]


@pytest.mark.parametrize("arguments", [("resume", "gone"), ("results", "gone"), ("refit", "gone", "--json")])
def test_study_that_is_not_there_is_a_failure(arguments):
    assert refused(*arguments, code=1) == "walslab: error: there is no study 'gone'\n"


def test_mistakes_of_a_specification_are_listed(folder):
    (folder / "search.yaml").write_text("trails: 3\nspace: {factors: {low: -1, high: 9}}\n")
    told = refused("tune", "nowhere", "--spec", "search.yaml", code=2)
    assert told.startswith("walslab: error: search.yaml has 2 mistake(s):\n  trails: unknown key")
    assert "\n  space.factors.low must be between 0 and 1024, but got -1\n" in told


@pytest.mark.parametrize("name", ["train", "recommend", "export", "refit", "submit", "tune"])
def test_missing_argument_is_bad_usage(name):
    assert "Missing " in refused(name, code=2)


def failing(error):
    @click.group(cls=LazyGroup, lazy={"fail": f"{__name__}:unused"})
    def group():
        raise error

    return CliRunner().invoke(group, ["fail", "--help"])


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(13, "Permission denied", "/x"), "[Errno 13] Permission denied: '/x'"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
    ],
)
def test_what_the_machine_refuses_is_told_in_one_line(monkeypatch, error, told):
    monkeypatch.setattr(LazyGroup, "get_command", lambda *_: click.Command("fail"))
    result = failing(error)
    assert (result.exit_code, result.stderr) == (1, f"walslab: error: {told}\n")


def test_mistakes_of_ours_keep_their_traceback(monkeypatch):
    monkeypatch.setattr(LazyGroup, "get_command", lambda *_: click.Command("fail"))
    assert isinstance(failing(ZeroDivisionError()).exception, ZeroDivisionError)


def test_json_holds_no_nan(capsys):
    emit({"a": [1.5, float("nan")], "b": {"c": (float("inf"), "nan", None, True)}})
    assert json.loads(capsys.readouterr().out) == {"a": [1.5, None], "b": {"c": [None, "nan", None, True]}}


# tune


def test_default_specification_is_printed_as_it_is(repo_root, folder):
    shown = run("tune", "--print-spec")
    assert shown.exit_code == 0
    assert (
        shown.stdout
        == default_text()
        == (repo_root / "tune" / "spec" / "default.yaml").read_text(encoding="utf-8")
    )
    assert list(folder.iterdir()) == []


# submit


def dry_run(*arguments, address=ADDRESS):
    result = run("submit", "--address", address, "--dry-run", "--json", "--", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1]), result.output


def test_dry_run_prints_the_equal_line_and_submits_nothing(repo_root, monkeypatch):
    monkeypatch.chdir(repo_root)
    command = ["tune", "/shared/ml", "--trials", "5", "--studies", "/shared/studies", "--name", "a"]
    result = run("submit", "--address", ADDRESS, "--dry-run", "--", *command)
    assert result.exit_code == 0
    words = shlex.join(command)
    assert result.stdout == f"ray job submit --address {ADDRESS} --working-dir . -- python -m tune {words}\n"


def test_command_is_run_by_the_package_that_has_it(repo_root, monkeypatch):
    monkeypatch.chdir(repo_root)
    told, _ = dry_run("ingest", "a.csv", "--out", "b")
    assert told == {
        "submission_id": None,
        "address": ADDRESS,
        "command": f"ray job submit --address {ADDRESS} --working-dir . -- "
        "python -m toolkit ingest a.csv --out b",
    }


HOSTILE = [
    "a b",
    "it's",
    'say "no"',
    "x; rm -rf y",
    "$(id)",
    "`id`",
    "a&b|c>d",
    "*",
    "[/red]",
    ":smile:",
    "ü\n",
    "",
]


@pytest.mark.parametrize("path", HOSTILE)
def test_hostile_paths_are_quoted(path):
    told, output = dry_run("tune", path, "--name", path)
    assert shlex.split(told["command"])[-4:] == ["tune", path, "--name", path]
    # What is shown to people is the same, to the letter.
    assert f"{told['command']}\n" in output
    entrypoint = told["command"].partition(" -- python -m tune ")[2]
    echoed = subprocess.run(["sh", "-c", f"printf '%s|' {entrypoint}"], capture_output=True, check=True)
    assert echoed.stdout.decode() == f"tune|{path}|--name|{path}|"


def test_variables_are_named_and_their_values_not_shown(monkeypatch):
    for name in FORWARDED:
        monkeypatch.setenv(name, f"s3cret of {name}")
    monkeypatch.setenv("UNRELATED", "s3cret")
    told, output = dry_run("tune", "a", address="http://ann:s3cret@127.0.0.1:8265")
    assert "s3cret" not in output
    assert told["address"] == "http://ann:***@127.0.0.1:8265"
    assert f"handed over: {', '.join(FORWARDED)}\n" in output
    assert "UNRELATED" not in output


@pytest.mark.parametrize(
    ("command", "hint"), [("tun", " (did you mean 'tune'?)"), ("doctor", ""), ("rm", ""), ("submit", "")]
)
def test_what_is_no_command_for_a_cluster_is_refused(command, hint):
    told = refused("submit", "--address", ADDRESS, "--dry-run", "--", command, "-rf", "/", code=2)
    assert "after --, name a walslab command to run on the cluster, but got" in told.replace("\n", " ")
    assert f"{command!r}{hint}" in told


def test_address_may_come_from_rays_variable(monkeypatch):
    assert "--address" in refused("submit", "--dry-run", "--", "tune", "a", code=2)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")
    assert "--address http://127.0.0.1:1 " in run("submit", "--dry-run", "--", "tune", "a").stdout


# doctor


def test_doctor_tells_every_finding_with_its_mending(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:s3cret@127.0.0.1:1")
    result = run("doctor", "--json")
    told = json.loads(result.stdout.splitlines()[-1])
    assert result.exit_code == 1
    assert told["ok"] is False
    assert {frozenset(check) for check in told["checks"]} == {frozenset(("name", "ok", "detail", "fix"))}
    assert {check["name"] for check in told["checks"] if not check["ok"]} == {"ray address", "mlflow store"}
    assert all((check["fix"] is None) == check["ok"] for check in told["checks"])
    assert "s3cret" not in result.output


def test_doctor_is_content_where_all_is_well(folder):
    result = run("doctor", "--json")
    told = json.loads(result.stdout.splitlines()[-1])
    assert result.exit_code == 0, result.output
    assert told["ok"] is True
    assert {"python", "numpy", "gpu", "ray", "mlflow store"} <= {check["name"] for check in told["checks"]}
    assert list(folder.iterdir()) == []


def test_doctor_says_a_bad_finding_with_its_way_out_to_people(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    result = run("doctor")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    (at,) = [n for n, line in enumerate(lines) if line.startswith("bad ")]
    assert "RAY_ADDRESS=127.0.0.1:1: " in lines[at]
    assert lines[at + 1] == "      → start that cluster, or unset RAY_ADDRESS"


def test_a_mean_of_factors_far_from_that_of_the_samples_is_told():
    from toolkit.commands import posterior_text

    facts = dict.fromkeys(("effective_samples", "r_hat", "coverage")) | {"samples": 9, "noise": 0.1}
    assert "take fewer factors" in posterior_text(facts | {"valid_rmse": 0.5, "mean_factors_rmse": 0.6})
    for samples, means in ((0.5, 0.505), (None, None)):
        near = facts | {"valid_rmse": samples, "mean_factors_rmse": means}
        assert "take fewer factors" not in posterior_text(near)
