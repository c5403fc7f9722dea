"""Pages that are notebooks: their blocks run in order, and print what they say."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = ("python.md", "other-libraries.md", "posterior.md", "ray-tune.md")


def cells(page):
    """Return (code, what it prints) of each block of ours; None where nothing is said."""
    found = []
    text = (DOCS / page).read_text(encoding="utf-8")
    for language, body in re.findall(r"```(python|text)\n(.*?)```", text, flags=re.DOTALL):
        if language == "python":
            found.append([body, None])
        else:
            assert found[-1][1] is None, "two outputs of one block"
            found[-1][1] = body
    return found


@pytest.fixture
def folder(tmp_path, empty_store, monkeypatch):
    """An empty folder with a record; what a page leaves in the process goes with it."""
    import mlflow

    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WALSLAB_STUDIES"):
        monkeypatch.setenv(name, "")  # whatever the page sets is undone
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    yield
    mlflow.set_tracking_uri(None)
    if ray := sys.modules.get("ray"):
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", PAGES)
def test_the_page_runs_as_it_stands(page, capsys):
    names, wrong = {"__name__": "__main__"}, []
    for number, (code, said) in enumerate(cells(page)):
        exec(compile(code, f"{page}, cell {number}", "exec"), names)
        printed = capsys.readouterr().out
        if printed != (said or ""):
            wrong.append((number, printed))
    assert wrong == []


@pytest.mark.parametrize("page", PAGES)
def test_what_the_page_imports_of_ours_is_exported(page):
    """What a page does with it, a slow test runs; that exports exist, test_layers.py sees."""
    exports = json.loads((DOCS.parent / "tests" / "exports.json").read_text(encoding="utf-8"))
    trees = [ast.parse(code) for code, _ in cells(page)]
    imports = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = {(node.module, alias.name) for node in imports for alias in node.names}
    ours = {(module, name) for module, name in names if module.partition(".")[0] in {"toolkit", "tune"}}
    assert ours
    assert {(module, name) for module, name in ours if name not in exports.get(module, ())} == set()


def test_there_are_cells_to_run():
    assert len(cells("python.md")) >= 12
    assert len(cells("posterior.md")) >= 4
    assert len(cells("other-libraries.md")) >= 5
    assert len(cells("ray-tune.md")) >= 8
