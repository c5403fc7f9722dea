"""What MLflow's server does with a request: checks it, and asks the model without a table of pandas.

MLflow 3 answers bodies of any size, unknown columns and nested JSON with 500, fills the memory, or ignores
them. Its table of pandas and its checks of it take several times the time of an answer. It has no hook for
either. So two names that its server looks up are replaced, and only in a process that `mlflow models serve`
has started. Where an MLflow lacks these names, its own functions serve the model.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

from toolkit.backends import keep_one_blas_thread
from toolkit.errors import ConfigError, WalslabError, did_you_mean
from toolkit.serving import limits
from toolkit.serving.requests import COLUMNS, OTHER_WORDS, PARAMS

# `mlflow models serve` sets it for the process of the server.
_SERVING = "__pyfunc_model_path__"
_RECORDS, _SPLIT = "dataframe_records", "dataframe_split"
_FORMATS = (_RECORDS, _SPLIT, "inputs", "instances")
_JSON = "application/json"
_log = logging.getLogger(__name__)

Columns: TypeAlias = Mapping[str, Sequence[Any]]


def install(answers: Callable[[Columns, Mapping[str, Any]], list[dict[str, Any]]]) -> None:
    """Have the server that this process will be ask the model directly; in other processes, do nothing.

    Parameters
    ----------
    answers : callable
        Takes the columns of a table and its parameters, as `toolkit.serving.answers.Answers` does.
    """
    if _SERVING not in os.environ:
        return
    import fastapi
    from mlflow.pyfunc import scoring_server

    try:
        before, response = scoring_server.invocations, scoring_server.InvocationsResponse
    except AttributeError:
        _log.warning("this version of MLflow serves without walslab's checks of form and size")
        return
    if getattr(before, "strict", False):
        return
    scoring_server.invocations = _strict(answers, response)
    keep_one_blas_thread()
    # MLflow makes the server after it has loaded the model, which calls this function.
    fastapi.FastAPI = _limited(fastapi.FastAPI)  # type: ignore[misc]


def parse(data: bytes) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the body of a request as its rows, each with the columns that it has, and its parameters.

    Raises
    ------
    ConfigError
        When the body is not JSON, has another form, or names a column or parameter that does not exist.
    """
    body = _loaded(data)
    names = ", ".join(_FORMATS)
    if not isinstance(body, dict):
        raise ConfigError(f"the body must be a JSON object with one of {names}, but is {_kind(body)}")
    given = [name for name in _FORMATS if name in body]
    if len(given) != 1:
        raise ConfigError(f"the body must have exactly one of {names}, but has {', '.join(given) or 'none'}")
    _refuse_unknown(body, (*given, "params"), "field")
    params = body.get("params")
    if params is not None and not isinstance(params, dict):
        raise ConfigError(f"params must be an object, but is {_kind(params)}")
    _refuse_unknown(params or {}, tuple(PARAMS), "parameter")
    table = body[given[0]]
    records = _of_split(table) if given[0] == _SPLIT else [table] if isinstance(table, dict) else table
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ConfigError(f"{given[0]} must be a list of objects, one for each row")
    if not records:
        raise ConfigError(f"{given[0]} must have at least one row")
    limits.require_at_most(limits.ROWS, len(records), "rows")
    for name in {name for record in records for name in record}:
        _refuse_unknown({name: None}, COLUMNS, "column")
    return records, params or {}


def _loaded(data: bytes) -> object:
    def no_number(text: str) -> NoReturn:
        raise ConfigError(f"numbers must be finite, but one is {text}")

    try:
        return json.loads(data, parse_constant=no_number)
    except RecursionError as error:
        raise ConfigError(
            "the body has lists or objects in one another that are too deep to be read"
        ) from error
    except ConfigError:
        raise
    except ValueError as error:
        # Text that is not UTF-8, and numbers with thousands of digits, end here, too.
        raise ConfigError(f"the body must be JSON: {error}") from error


def _of_split(table: object) -> list[dict[str, Any]]:
    shape = f"{_SPLIT} must be an object of columns and data, a list of names and a list of rows"
    if not isinstance(table, dict):
        raise ConfigError(f"{shape}, but is {_kind(table)}")
    _refuse_unknown(table, ("columns", "data", "index"), "field")
    columns, data = table.get("columns"), table.get("data")
    if not isinstance(columns, list) or not isinstance(data, list):
        raise ConfigError(f"{shape}, but they are {_kind(columns)} and {_kind(data)}")
    if not all(isinstance(name, str) for name in columns) or len(set(columns)) < len(columns):
        raise ConfigError(f"columns of {_SPLIT} must be different names")
    if not all(isinstance(row, list) and len(row) == len(columns) for row in data):
        raise ConfigError(
            f"each row of {_SPLIT} must be a list of {len(columns)} values, one for each column"
        )
    return [dict(zip(columns, row, strict=True)) for row in data]


def _refuse_unknown(given: dict[str, Any], valid: tuple[str, ...], kind: str) -> None:
    for name in given:
        if name not in valid:
            word = OTHER_WORDS.get(name) if kind == "parameter" else None
            hint = f" (it is called {word})" if word else did_you_mean(name[:80], valid)
            raise ConfigError(f"unknown {kind} {name[:80]!r}{hint}; valid are {', '.join(valid)}")


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _strict(answers: Callable[..., Any], response: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that answers a request in place of that of MLflow's server."""
    from mlflow.exceptions import MlflowException

    def answer(data: bytes, content_type: str | None, *_of_mlflow: object) -> Any:
        kind = (content_type or "").partition(";")[0].strip().lower()
        if kind != _JSON:
            reason = f"the content type must be {_JSON}, but is {kind[:80] or 'not given'}"
            return response(_error(reason), 415, _JSON)
        try:
            rows, params = parse(data)
            named = {name for row in rows for name in row}
            columns = {name: [row.get(name) for row in rows] for name in COLUMNS if name in named}
            return response(json.dumps({"predictions": answers(columns, params)}), 200, _JSON)
        except WalslabError as error:
            # The server answers 400 to this exception.
            raise MlflowException.invalid_parameter_value(str(error)) from error
        except RecursionError as error:
            raise MlflowException.invalid_parameter_value("the request has lists in lists") from error

    answer.strict = True  # type: ignore[attr-defined]
    return answer


def _error(reason: str) -> str:
    return json.dumps({"error_code": "BAD_REQUEST", "message": reason})


def _limited(application: Any) -> Any:
    """Return FastAPI's class of servers with a limit on the size of bodies."""

    class Limited(application):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.add_middleware(_SizeLimit)

    return Limited


class _TooLargeError(Exception):
    """A body is larger than the limit."""


class _SizeLimit:
    """ASGI middleware that answers 413 to a large body before it is in memory."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"")
        if length.isdigit() and int(length) > limits.BODY:
            await _too_large(send)
            return
        came = 0

        async def counted() -> Any:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > limits.BODY:
                raise _TooLargeError
            return message

        try:
            await self.app(scope, counted, send)
        except _TooLargeError:
            await _too_large(send)


async def _too_large(send: Any) -> None:
    body = _error(f"a request may have at most {limits.BODY:,} bytes: split it").encode()
    headers = [(b"content-type", _JSON.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
