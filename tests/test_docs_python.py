"""Pages that are notebooks: their blocks run in order, and print what they say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import forks
import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
SLOW = ("other-libraries.md", "posterior.md", "ray-tune.md")
PAGES = ("python.md", *(pytest.param(page, marks=pytest.mark.slow) for page in SLOW))


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


@pytest.mark.integration
@pytest.mark.parametrize("page", PAGES)
def test_the_page_runs_as_it_stands(page, empty_store, tmp_path, monkeypatch):
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WALSLAB_STUDIES"):
        monkeypatch.delenv(name, raising=False)
    code = [f"{cell}\nprint('--- end of cell', {number})\n" for number, (cell, _) in enumerate(cells(page))]
    done = forks.run("".join(code), cwd=tmp_path, imports=["mlflow", "sklearn.model_selection", "tune.plots"])
    assert done.returncode == 0, done.stderr
    printed = re.split(r"--- end of cell \d+\n", done.stdout)[:-1]
    wanted = [said for _, said in cells(page)]
    assert [
        (number, text)
        for number, (text, said) in enumerate(zip(printed, wanted, strict=True))
        if text != (said or "")
    ] == []


def test_there_are_cells_to_run():
    assert len(cells("python.md")) >= 12
    assert len(cells("posterior.md")) >= 4
    assert len(cells("other-libraries.md")) >= 5
    assert len(cells("ray-tune.md")) >= 8
