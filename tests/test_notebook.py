"""The notebook of the examples: committed without outputs, and it runs in a real kernel."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import nbformat
import pytest

NOTEBOOK = Path(__file__).resolve().parent.parent / "examples" / "first_study.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_notebook_is_valid_and_has_no_outputs(notebook):
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in code_of(notebook))
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


def test_what_the_notebook_imports_is_there(notebook):
    for cell in code_of(notebook):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, name.name) for name in node.names)


@pytest.mark.slow
@pytest.mark.integration
def test_the_notebook_runs_in_a_kernel(notebook, tmp_path, monkeypatch):
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WALSLAB_STUDIES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    # Files of their own in place of Jupyter's in the home directory, and sockets in place of open ports.
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    client = NotebookClient(
        notebook,
        timeout=900,
        kernel_manager_class=AsyncKernelManager,
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    kinds = [output.data.keys() for cell in code_of(notebook) for output in cell.outputs if "data" in output]
    assert sum("image/png" in kind for kind in kinds) == 5
    shown = "".join(
        output.data.get("text/html", "")
        for cell in code_of(notebook)
        for output in cell.outputs
        if "data" in output
    )
    assert "mean and biases alone" in shown
    assert "8 of 8 trials" in shown
    told = "".join(
        output.text for cell in code_of(notebook) for output in cell.outputs if output.get("name") == "stderr"
    )
    assert "trials: 100%" in told
    assert "Warning" not in told
