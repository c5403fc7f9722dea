"""The MLflow model of a model: what is in it, and the model back."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import warnings

import forks
import mlflow
import mlflow.pyfunc
import numpy as np
import pytest
import yaml
from served_models import models_fixture, ratings_fixture, written_fixture  # noqa: F401 - fixtures

from toolkit.errors import ModelError
from toolkit.models import WALS, Model
from toolkit.serving import load_served, write_mlflow_model

# What lies in it


def test_requirements_are_exact_and_without_cuda(written):
    lines = (written["numbers"] / "requirements.txt").read_text().split()
    assert [line.partition("==")[0] for line in lines] == ["mlflow", "numpy", "pandas", "scipy"]
    assert lines[0] == f"mlflow=={mlflow.__version__}"
    whole = (written["numbers"] / "conda.yaml").read_text() + "".join(lines)
    assert not [name for name in ("cupy", "cuda", "ray", "numba", "dask", "walslab") if name in whole]


def test_nothing_is_pickled_and_no_path_of_this_machine_is_kept(written, tmp_path_factory):
    for place in (written["text"], written["titled"]):
        names = {file.name for file in place.rglob("*")}
        assert not [name for name in names if name.endswith((".pkl", ".pyc")) or name == "__pycache__"]
        for name in ("MLmodel", "conda.yaml", "python_env.yaml", "input_example.json"):
            text = (place / name).read_text()
            assert str(tmp_path_factory.getbasetemp()) not in text
            assert os.getcwd() not in text  # noqa: PTH109


# A process that has MLflow and pandas, and nothing of ours.
IMPORTS = f"""
import mlflow.pyfunc
import pandas as pd
{forks.WITHOUT_OURS}"""
IMPORTS += """
path = Path(sys.argv[1])
model = mlflow.pyfunc.load_model(str(path))
given = [{"item": 100, "rating": 4}]
rows = [{"user": 1}, {"user": 1, "item": 100}, {"ratings": given}, {"ratings": []}, {"user": "nobody"}]
model.predict(pd.DataFrame(rows, dtype=object), {"n": 3})
files = [m.__file__ for n, m in sys.modules.items() if n.partition(".")[0] == "toolkit"]
print(*sorted(Path(file).relative_to(path / "code").as_posix() for file in files))
"""


def test_the_code_in_it_is_what_answering_imports(written, tmp_path):
    """The import of a file that is not shipped would fail, or come from outside of the model."""
    model = written["pattern"]
    done = forks.run(IMPORTS, model, cwd=tmp_path, imports=["mlflow.pyfunc"])
    assert done.returncode == 0, done.stderr
    code = model / "code"
    # An answer of another test has left bytecode there, where Python writes any.
    files = (file for file in code.rglob("*") if file.is_file() and file.suffix != ".pyc")
    shipped = sorted(file.relative_to(code).as_posix() for file in files)
    assert done.stdout.split() == shipped
    assert not [name for name in shipped if name.endswith((".cu", ".h"))]
    rooms = {name.split("/")[1] for name in shipped}
    assert not rooms & {"commands", "engines", "fetching", "ingest", "recommending", "synth"}


def test_signature_example_and_facts(models, written):
    model = mlflow.models.Model.load(str(written["titled"]))
    assert {param.name: (param.dtype.name, param.default) for param in model.signature.params.params} == {
        "n": ("long", 10),
        "exclude_seen": ("boolean", True),
        "interval": ("double", 0.0),
    }
    assert model.signature.inputs.input_names() == ["user", "item", "ratings"]
    assert not model.signature.inputs.required_input_names()
    assert "title" in str(model.signature.outputs)
    assert "title" not in str(mlflow.models.Model.load(str(written["numbers"])).signature.outputs)
    text = mlflow.models.Model.load(str(written["text"])).signature
    assert [column.type.name for column in text.inputs.inputs[:2]] == ["string", "string"]
    facts = model.metadata["walslab"]
    assert (facts["users"], facts["items"], facts["titles"], facts["scale"]) == (15, 11, True, [1, 5])
    loaded = mlflow.pyfunc.load_model(str(written["titled"]))
    answers = loaded.predict(loaded.input_example, model.load_input_example_params(str(written["titled"])))
    assert [answer["user_is"] for answer in answers] == ["known", "known", "new"]


def test_the_digest_of_the_dataset_and_further_facts_are_kept(models, tmp_path):
    model = models["numbers"]
    model.dataset_digest = "sha256:abc"
    try:
        model.save(tmp_path / "model")
    finally:
        model.dataset_digest = None
    write_mlflow_model(tmp_path / "model", tmp_path / "served", example=False, metadata={"study": "first"})
    meta = yaml.safe_load((tmp_path / "served" / "MLmodel").read_text())
    assert meta["metadata"]["study"] == "first"
    assert meta["metadata"]["walslab"]["dataset_digest"] == "sha256:abc"
    assert not (tmp_path / "served" / "input_example.json").exists()


def test_writing_is_silent_and_leaves_mlflow_alone(models, tmp_path, monkeypatch, capfd):
    """No run, no store, no connection, no message, and nothing of the folder it is run in."""
    models["numbers"].save(tmp_path / "model")
    (tmp_path / "uv.lock").write_text("version = 1\n")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'mine'\nversion = '1'\n")
    monkeypatch.chdir(tmp_path)

    def connected(*_):
        pytest.fail("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", connected)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        write_mlflow_model(tmp_path / "model", tmp_path / "served")
    assert told == []
    assert capfd.readouterr() == ("", "")
    assert mlflow.active_run() is None
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model",
        "pyproject.toml",
        "served",
        "uv.lock",
    ]
    assert not {"uv.lock", "pyproject.toml"} & {path.name for path in (tmp_path / "served").iterdir()}


@pytest.mark.slow
def test_a_program_of_its_own_writes_in_silence(written, tmp_path):
    """Also what MLflow tells when it is imported and when the process ends."""
    program = (
        "import sys; from pathlib import Path; from toolkit.serving.mlflow_model import write_mlflow_model; "
        "write_mlflow_model(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    model = written["numbers"] / "artifacts" / "model"
    command = [sys.executable, "-c", program, str(model), str(tmp_path / "served")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# The model back


def test_the_model_comes_back_whole(models, written):
    for kind in ("numbers", "text", "titled", "pattern"):
        model = models[kind]
        back = load_served(written[kind])
        assert type(back) is type(model)
        user = model.users.id(4)
        for mine, other in zip(back.recommend(user), model.recommend(user), strict=True):
            np.testing.assert_array_equal(mine, other)
        assert isinstance(back.factors.users.bias, np.ndarray)


def test_what_is_not_ours_is_not_loaded(models, written, tmp_path):
    with pytest.raises(ModelError, match="not an MLflow model directory: it has no MLmodel"):
        load_served(tmp_path / "missing")
    (tmp_path / "MLmodel").write_text("flavors:\n  sklearn:\n    code: null\n  python_function: {}\n")
    with pytest.raises(ModelError, match=r"flavors: sklearn, python_function.*mlflow\.pyfunc\.load_model"):
        load_served(tmp_path)
    (tmp_path / "MLmodel").write_text("[1, 2")
    with pytest.raises(ModelError, match="cannot be read"):
        load_served(tmp_path)
    (tmp_path / "MLmodel").write_text("just text")
    with pytest.raises(ModelError, match="flavors: none"):
        load_served(tmp_path)
    (tmp_path / "MLmodel").write_bytes((written["numbers"] / "MLmodel").read_bytes())
    with pytest.raises(ModelError, match=r"model\.json"):
        load_served(tmp_path)


def test_only_a_complete_model_is_written_and_nothing_is_replaced(models, tmp_path):
    with pytest.raises(ModelError, match=r"model\.json"):
        write_mlflow_model(tmp_path / "missing", tmp_path / "served")
    models["numbers"].save(tmp_path / "model")
    (tmp_path / "served").mkdir()
    with pytest.raises(ModelError, match="exists already"):
        write_mlflow_model(tmp_path / "model", tmp_path / "served")
    assert isinstance(Model.load(tmp_path / "model"), WALS)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
