"""What MLflow's server reads of a request before the model sees it, and what it refuses."""

from __future__ import annotations

import asyncio
import json

import fastapi
import pytest
from mlflow.exceptions import MlflowException

from toolkit.errors import ConfigError
from toolkit.serving import guard


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_records": [{"user": 1}, {"user": 2, "item": 3}]},
        {"inputs": [{"user": 1}, {"user": 2, "item": 3}]},
        {"instances": [{"user": 1}, {"user": 2, "item": 3}]},
        {"dataframe_split": {"columns": ["user", "item"], "data": [[1, None], [2, 3]]}},
        {"dataframe_split": {"columns": ["user", "item"], "data": [[1, None], [2, 3]], "index": [0, 1]}},
    ],
)
def test_tables_are_read_in_the_forms_of_mlflow(body):
    for params in ({}, {"params": {"n": 3}}):
        rows, given = guard.parse(json.dumps(body | params).encode())
        assert given == params.get("params", {})
        records = [{k: v for k, v in row.items() if v is not None} for row in rows]
        assert records == [{"user": 1}, {"user": 2, "item": 3}]


def test_an_object_is_a_table_of_one_row():
    assert guard.parse(b'{"inputs": {"user": 1}, "params": null}') == ([{"user": 1}], {})


@pytest.fixture
def server(monkeypatch):
    """MLflow's server in a process that serves."""
    from mlflow.pyfunc import scoring_server

    monkeypatch.setenv("__pyfunc_model_path__", "x")
    monkeypatch.setattr(guard, "keep_one_blas_thread", lambda: None)
    monkeypatch.setattr(fastapi, "FastAPI", fastapi.FastAPI)
    monkeypatch.setattr(scoring_server, "invocations", scoring_server.invocations)
    return scoring_server


def told(columns, params):
    """Answer with what was asked."""
    return [{"columns": columns, "params": params}]


def test_the_server_is_guarded_once_and_only_where_it_runs(server, monkeypatch):
    plain = server.invocations
    monkeypatch.delenv("__pyfunc_model_path__")
    guard.install(told)
    assert server.invocations is plain
    monkeypatch.setenv("__pyfunc_model_path__", "x")
    guard.install(told)
    guarded, application = server.invocations, fastapi.FastAPI
    guard.install(told)
    assert (server.invocations, fastapi.FastAPI) == (guarded, application)
    body = b'{"inputs": [{"user": 1}, {"user": 9007199254740993, "item": "\xc3\xa9"}], "params": {"n": 2}}'
    answer = guarded(body, "Application/JSON; charset=utf-8", "model", None)
    assert (answer.status, answer.mimetype) == (200, "application/json")
    (asked,) = json.loads(answer.response)["predictions"]
    # No table of pandas between: a large id beside an empty cell is whole.
    assert asked == {"columns": {"user": [1, 2**53 + 1], "item": [None, "é"]}, "params": {"n": 2}}
    for kind in (None, "text/csv", ""):
        answer = guarded(b"{}", kind, "model", None)
        assert (answer.status, answer.mimetype) == (415, "application/json")
    with pytest.raises(MlflowException, match="exactly one of"):
        guarded(b"{}", "application/json", "model", None)


@pytest.mark.parametrize(
    ("raised", "reason"),
    [(ConfigError("n must be"), "n must be"), (RecursionError(), "lists in lists")],
)
def test_a_request_that_the_model_refuses_is_answered_with_the_reason(server, raised, reason):
    def answers(*_):
        raise raised

    guard.install(answers)
    with pytest.raises(MlflowException) as refused:
        server.invocations(b'{"inputs": [{"user": 1}]}', "application/json", None, None)
    assert reason in refused.value.message
    assert refused.value.get_http_status_code() == 400


def test_an_mlflow_with_another_server_serves_without_a_guard(server, monkeypatch, caplog):
    monkeypatch.delattr(server, "invocations")
    application = fastapi.FastAPI
    guard.install(told)
    assert "serves without walslab's checks" in caplog.text
    assert fastapi.FastAPI is application


@pytest.mark.parametrize("length", [b"", b"16777217", b"5"])
def test_a_body_that_is_too_large_is_not_read(server, length):
    """With or without its length before it; a small one is."""
    guard.install(told)
    app = fastapi.FastAPI()
    read = []

    @app.post("/invocations")
    async def invocations(request: fastapi.Request):
        read.append(len(await request.body()))

    chunk = b"small" if length == b"5" else b" " * (1 << 20)
    scope = {"type": "http", "method": "POST", "path": "/invocations", "query_string": b""}
    scope["headers"] = [(b"content-length", length)] if length else []
    sent = []

    async def receive():
        return {"type": "http.request", "body": chunk, "more_body": length != b"5"}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == (200 if length == b"5" else 413)
    assert read == ([5] if length == b"5" else [])
