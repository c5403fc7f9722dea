"""What the screen cannot show is escaped, in every command: the work is done by then."""

from __future__ import annotations

import os

import forks
import pytest

COMMAND = "from cluster.cli import main; main(prog_name='walslab')"
IMPORTS = ("cluster.cli", "toolkit.backends.numba")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("output")
    lines = [f"用户{u},Zoë{i},{1 + (u * i) % 5}" for u in range(12) for i in range(9)]
    (made / "u.csv").write_text("user,item,rating\n" + "\n".join(lines) + "\n", encoding="utf-8")
    titles = "\n".join(["item,title", *(f"Zoë{i},電影 {i}" for i in range(9))])
    (made / "t.csv").write_text(titles, encoding="utf-8")
    return made


def test_a_command_without_a_standard_output_ends_well(folder):
    program = f"import sys; sys.stdout = None; {COMMAND}"
    done = forks.run(program, "doctor", "--json", cwd=folder, imports=IMPORTS)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("encoding", ["ascii", pytest.param("cp1252", marks=pytest.mark.slow)])
def test_commands_end_well_on_a_screen_that_is_not_utf8(folder, encoding):
    def walslab(*arguments):
        env = {**os.environ, "PYTHONIOENCODING": encoding}
        done = forks.run(COMMAND, *arguments, cwd=folder, env=env, imports=IMPORTS)
        assert done.returncode == 0, done.stderr
        return done.stdout

    out = f"ds-{encoding}"
    walslab("ingest", "u.csv", "--out", out)
    model = f"m-{encoding}"
    assert r"\u7528\u6237" in walslab("train", out, "--out", model, "--factors", "2", "--iterations", "1")
    assert r"\u96fb\u5f71" in walslab("recommend", model, "--user", "用户3", "--titles", "t.csv")
    walslab("similar", model, "--item", "Zoë3", "--titles", "t.csv")
    walslab("explain", model, "--user", "用户3", "--item", "Zoë3", "--titles", "t.csv")
