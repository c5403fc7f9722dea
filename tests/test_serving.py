"""A model behind HTTP, by `mlflow models serve`: answers, refusals, and what no request may do to it."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from forks import WITHOUT_OURS, Forked
from mlflow.pyfunc.scoring_server import get_cmd
from processes import free_port, wait_for
from scipy.sparse import csr_matrix

from toolkit.config import RunOptions, WALSConfig
from toolkit.models import WALS
from toolkit.serving import limits, write_mlflow_model

ITEMS = np.arange(11) * 7 + 100
JSON = "application/json"
GIVEN = [{"item": 100, "rating": 5}, {"item": 107, "rating": 1}]


@pytest.fixture(scope="module")
def model(made_up_ratings):
    config = WALSConfig(factors=3, iterations=4, pattern_weight=0.2)
    ratings = made_up_ratings(whole=True)
    model = WALS(config, RunOptions(threads=1)).fit(ratings, item_ids=ITEMS)
    model.titles = np.array([f"Film {n}" for n in range(len(ITEMS))])
    return model


@pytest.fixture(scope="module")
def directory(model, tmp_path_factory):
    """The MLflow model that is served."""
    folder = tmp_path_factory.mktemp("served")
    model.save(folder / "model")
    write_mlflow_model(folder / "model", folder / "mlflow")
    return folder / "mlflow"


# `uvicorn`, without importing MLflow anew.
SERVER = f"""
{WITHOUT_OURS}
import runpy
sys.argv[0] = "uvicorn"
runpy.run_module("uvicorn", run_name="__main__")
"""


@pytest.fixture(scope="module")
def port(directory, tmp_path_factory):
    """The port of a server that knows nothing of walslab but what lies in the model."""
    folder = tmp_path_factory.mktemp("elsewhere")
    port = free_port()
    # What `mlflow models serve --env-manager local` runs, in tests/test_readme_runs.py, too.
    command, environment = get_cmd(str(directory), port, "127.0.0.1", nworkers=1)
    environment = {name: value for name, value in environment.items() if name != "PYTHONPATH"}
    environment["MLFLOW_DISABLE_TELEMETRY"] = "true"
    uvicorn, *arguments = shlex.split(command)
    assert uvicorn == "uvicorn"
    options = {"cwd": folder, "env": environment, "imports": ["uvicorn", "mlflow.pyfunc"]}
    log = folder / "log"
    with log.open("w") as told:

        def answers():
            assert process.poll() is None, log.read_text()
            return pinged(port)

        with Forked(SERVER, *arguments, stdout=told, stderr=told, **options) as process:
            wait_for(answers)
            yield port
            # Nothing killed it in between.
            assert process.poll() is None, log.read_text()


def pinged(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def ask(port, body, content_type=JSON, **headers):
    """Return status and text of an answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    try:
        kind = {"Content-Type": content_type} if content_type else {}
        connection.request("POST", "/invocations", data, {**kind, **headers})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def answers(port, rows, **params):
    status, text = ask(port, {"dataframe_records": rows, "params": params})
    assert status == 200, text
    return json.loads(text)["predictions"]


@pytest.mark.integration
def test_answers_are_those_of_the_model(port, model):
    rows = [{"user": 4}, {"user": 4, "item": 121}, {"ratings": GIVEN}, {"user": 99}, {"user": 99, "item": 5}]
    known, rated, new, unknown, nothing = answers(port, rows, n=3)
    ids, scores = model.recommend(4, 3)
    assert known == {
        "user": 4,
        "user_is": "known",
        "items": [
            {"item": i, "score": pytest.approx(score, rel=1e-5), "title": f"Film {(i - 100) // 7}"}
            for i, score in zip(ids.tolist(), scores.tolist(), strict=True)
        ],
    }
    assert rated["rating"] == pytest.approx(model.predict(4, 121)[0], rel=1e-5)
    row = np.zeros((1, len(ITEMS)))
    row[0, :2] = 5, 1
    own = csr_matrix(row)
    best = model.best_of(model.fold_in(own), 3, hidden=[own])
    assert new["user_is"] == "new"
    assert [found["item"] for found in new["items"]] == model.items.ids[best.items[0]].tolist()
    np.testing.assert_allclose([found["score"] for found in new["items"]], best.scores[0], rtol=1e-4)
    best = model.best_of(model.factors.average_user, 3)
    assert [found["item"] for found in unknown["items"]] == model.items.ids[best.items[0]].tolist()
    assert (nothing["user_is"], nothing["item_is"]) == ("unknown", "unknown")
    assert nothing["rating"] == pytest.approx(model.predict(99, 5, unknown="average")[0], rel=1e-5)


@pytest.mark.integration
def test_every_form_of_a_table_is_answered_alike(port):
    rows = [{"user": 1}, {"user": 2, "item": 107}, {"ratings": GIVEN}]
    split = {
        "columns": ["user", "item", "ratings"],
        "data": [[1, None, None], [2, 107, None], [None, None, GIVEN]],
    }
    found = [
        ask(port, body)
        for body in (
            {"dataframe_records": rows},
            {"inputs": rows},
            {"instances": rows},
            {"dataframe_split": split},
        )
    ]
    assert found == [(200, json.dumps({"predictions": answers(port, rows)}))] * 4
    # A byte order mark and another encoding of Unicode are JSON, too; so is text with half a character.
    one = {"inputs": [{"user": 1}]}
    for data in (json.dumps(one).encode("utf-16"), b"\xef\xbb\xbf" + json.dumps(one).encode()):
        assert ask(port, data)[0] == 200
    assert ask(port, one, "Application/JSON; charset=UTF-8")[0] == 200


USER = [{"user": 1}]
REFUSED = {
    "empty body": (b"", "must be JSON"),
    "no JSON": (b"hello", "must be JSON"),
    "cut short": (b'{"inputs": [', "must be JSON"),
    "not UTF-8": (b'{"inputs": [{"user": "\xff"}]}', "must be JSON"),
    "half a character": ({"inputs": [{"user": "\ud800"}]}, "utf-8"),
    "digits": (b'{"inputs": [{"user": ' + b"1" * 5000 + b"}]}", "4300 digits"),
    "NaN": (b'{"inputs": [{"ratings": [{"item": 100, "rating": NaN}]}]}', "finite"),
    "1e400": (b'{"inputs": [{"ratings": [{"item": 100, "rating": 1e400}]}]}', "from 1 to 5, but is inf"),
    "1e300": ({"inputs": [{"ratings": [{"item": 100, "rating": 1e300}]}]}, "from 1 to 5, but is 1e.300"),
    "deep": (b"[" * 100_000, "too deep"),
    "deep user": (b'{"inputs": [{"user": ' + b"[" * 900 + b"]" * 900 + b"}]}", "whole number or text"),
    "deep objects": (b'{"inputs": ' + b'{"user": ' * 900 + b"1" + b"}" * 901, "whole number or text"),
    "list": (USER, "must be a JSON object"),
    "null": (None, "must be a JSON object"),
    "nothing": ({}, "has none"),
    "two tables": ({"inputs": USER, "instances": USER}, "exactly one"),
    "chat": ({"messages": []}, "exactly one"),
    "unknown field": ({"inputs": USER, "parms": {}}, "unknown field 'parms' .did you mean 'params'"),
    "no rows": ({"inputs": []}, "at least one row"),
    "empty row": ({"inputs": [{}]}, "at least one row"),
    "null row": ({"inputs": [None]}, "list of objects"),
    "empty split": ({"dataframe_split": {"columns": [], "data": []}}, "at least one row"),
    "wrong split": ({"dataframe_split": [1]}, "columns and data"),
    "ragged split": ({"dataframe_split": {"columns": ["user"], "data": [[1, 2]]}}, "1 values"),
    "same columns": ({"dataframe_split": {"columns": ["user", "user"], "data": [[1, 2]]}}, "different"),
    "unknown column": ({"inputs": [{"usr": 1}]}, "unknown column 'usr' .did you mean 'user'"),
    "many columns": ({"inputs": [{f"c{n}": n} for n in range(5000)]}, "unknown column"),
    "unknown parameter": ({"inputs": USER, "params": {"kk": 1}}, "unknown parameter 'kk'"),
    "word of another library": (
        {"inputs": USER, "params": {"k": 3}},
        "unknown parameter 'k' .it is called n.; valid are n, exclude_seen, interval",
    ),
    "parameters": ({"inputs": USER, "params": [1]}, "params must be an object"),
    "n 0": ({"inputs": USER, "params": {"n": 0}}, "from 1 to 1,000, but is 0"),
    "n -1": ({"inputs": USER, "params": {"n": -1}}, "but is -1"),
    "n 1001": ({"inputs": USER, "params": {"n": 1001}}, "but is 1001"),
    "n huge": ({"inputs": USER, "params": {"n": 10**300}}, "from 1 to 1,000"),
    "n text": ({"inputs": USER, "params": {"n": "5"}}, "but is '5'"),
    "n true": ({"inputs": USER, "params": {"n": True}}, "but is True"),
    "exclude_seen": ({"inputs": USER, "params": {"exclude_seen": "no"}}, "true or false"),
    "nobody": ({"inputs": [{"item": 100}]}, "must have a user or ratings"),
    "user 1.5": ({"inputs": [{"user": 1.5}]}, "whole number or text"),
    "user list": ({"inputs": [{"user": [1]}]}, "whole number or text"),
    "ratings": ({"inputs": [{"ratings": {"100": 4}}]}, "must be a list"),
    "rating text": ({"inputs": [{"ratings": [{"item": 100, "rating": "5"}]}]}, "but is '5'"),
    "rated twice": ({"inputs": [{"ratings": [*GIVEN, {"item": "100", "rating": 2}]}]}, "item once"),
    "rows": ({"inputs": USER * (limits.ROWS + 1)}, "at most 10,000 rows"),
    "rows × n": ({"inputs": USER * 1000, "params": {"n": 1000}}, "at most 200,000"),
    "many ratings": ({"inputs": [{"ratings": GIVEN * 50_001}]}, "at most 100,000 ratings"),
}


@pytest.mark.integration
@pytest.mark.parametrize(("body", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_bad_request_is_refused_with_its_reason(port, body, reason):
    status, text = ask(port, body)
    assert status == 400, text
    told = json.loads(text)
    assert not set(told) - {"error_code", "message", "sqlstate", "error_class"}
    # The request itself is not repeated.
    assert len(told["message"]) < 500
    assert re.search(reason, told["message"]), told["message"]


@pytest.mark.integration
@pytest.mark.parametrize("kind", [None, "text/csv", "text/plain", "application/vnd.apache.parquet", "é"])
def test_other_formats_are_refused(port, kind):
    status, text = ask(port, b"user\n1\n", kind)
    assert status == 415
    assert "the content type must be application/json" in json.loads(text)["message"]


@pytest.mark.integration
def test_a_large_body_is_refused_before_it_is_read(port):
    for head in (
        b"Content-Length: 50000000000\r\n\r\n",
        # Without a length, what has come is counted.
        b"Transfer-Encoding: chunked\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(
                b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + head
            )
            if b"chunked" in head:
                chunk = b"%x\r\n%s\r\n" % (1 << 20, b" " * (1 << 20))
                for _ in range(limits.BODY // (1 << 20) + 1):
                    connection.sendall(chunk)
            answer = b""
            while not answer.endswith(b"}") and (came := connection.recv(1000)):
                answer += came
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"at most 16,777,216 bytes" in answer
    assert ask(port, {"inputs": USER})[0] == 200


@pytest.mark.integration
def test_a_client_that_goes_or_stalls_holds_nobody_up(port):
    stalled = []
    for at in range(20):
        connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        connection.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b'Content-Length: 1000\r\n\r\n{"inputs": [{"user": 1'
        )
        if at % 2:
            connection.close()
        else:
            stalled.append(connection)
    assert ask(port, {"inputs": USER})[0] == 200
    for connection in stalled:
        connection.close()


@pytest.mark.integration
def test_requests_at_once_are_answered_as_one_by_one(port):
    rng = np.random.default_rng(0)
    bodies = [
        {
            "inputs": [{"user": int(rng.integers(20))}, {"ratings": GIVEN[: at % 2 + 1]}],
            "params": {"n": 1 + at % 5},
        }
        for at in range(80)
    ]
    alone = [ask(port, body) for body in bodies]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda body: ask(port, body), bodies))
    assert together == alone
    assert {status for status, _ in alone} == {200}


@pytest.mark.integration
@pytest.mark.slow
def test_it_answers_where_only_its_requirements_are(directory, model, tmp_path):
    """In a new virtual environment, with neither walslab nor this folder on the path."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        pytest.skip("uv is not there to make an environment with")
    python = tmp_path / "environment" / "bin" / "python"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(tmp_path / "environment")], check=True)
    install = [uv, "pip", "install", "-q", "--python", str(python), "-r", str(directory / "requirements.txt")]
    subprocess.run(install, check=True, timeout=900)
    program = """
        import json, sys
        import mlflow.pyfunc, pandas as pd

        model = mlflow.pyfunc.load_model(sys.argv[1])
        rows = [{"user": 4}, {"user": 4, "item": 121}, {"ratings": json.loads(sys.argv[2])}, {"user": 99}]
        answers = model.predict(pd.DataFrame(rows), {"n": 3})
        import toolkit
        absent = [name for name in ("numba", "ray", "dask", "optuna", "cupy") if name in sys.modules]
        print(json.dumps([answers, toolkit.__file__, absent]))
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), "-c", textwrap.dedent(program), str(directory), json.dumps(GIVEN)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (known, rated, new, unknown), file, loaded = json.loads(done.stdout.splitlines()[-1])
    assert Path(file).is_relative_to(directory)
    assert loaded == []
    assert [found["item"] for found in known["items"]] == model.recommend(4, 3)[0].tolist()
    assert rated["rating"] == pytest.approx(model.predict(4, 121)[0], rel=1e-5)
    assert (new["user_is"], unknown["user_is"]) == ("new", "unknown")
