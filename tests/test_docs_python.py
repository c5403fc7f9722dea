"""docs/python.md is one notebook: its blocks run in order, and print what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/python.md").read_text(encoding="utf-8")


def cells():
    """Return (code, what it prints) of each block; None where nothing is said."""
    found = []
    for language, body in re.findall(r"```(python|text)\n(.*?)```", PAGE, flags=re.DOTALL):
        if language == "python":
            found.append([body, None])
        else:
            assert found[-1][1] is None, "two outputs of one block"
            found[-1][1] = body
    return found


@pytest.mark.integration
def test_the_page_runs_as_it_stands(tmp_path, monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WALSLAB_STUDIES"):
        monkeypatch.delenv(name, raising=False)
    code = [f"{cell}\nprint('--- end of cell', {number})\n" for number, (cell, _) in enumerate(cells())]
    (tmp_path / "notebook.py").write_text("".join(code), encoding="utf-8")
    command = [sys.executable, "notebook.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    printed = re.split(r"--- end of cell \d+\n", done.stdout)[:-1]
    wanted = [said for _, said in cells()]
    assert [
        (number, text)
        for number, (text, said) in enumerate(zip(printed, wanted, strict=True))
        if text != (said or "")
    ] == []


def test_there_are_cells_to_run():
    assert len(cells()) >= 12
