"""Settings of the process are MLflow's while they are needed, and what they were afterwards."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading

import pytest

from toolkit.files import process_settings, uncollected

NAME, FORCED = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """No variables of MLflow; alembic's logger as a notebook may have it."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    before = logging.getLogger("alembic").level
    logging.getLogger("alembic").setLevel(logging.DEBUG)
    yield
    logging.getLogger("alembic").setLevel(before)


def test_settings_hold_inside_and_are_put_back_after_an_error():
    @process_settings()
    def fail():
        assert os.environ[NAME] == "2"
        assert logging.getLogger("alembic").level == logging.WARNING
        raise ValueError("inside")

    before = dict(os.environ)
    with pytest.raises(ValueError, match="inside"):
        fail()
    assert dict(os.environ) == before
    assert logging.getLogger("alembic").level == logging.DEBUG


def test_variables_of_the_user_hold_but_passwords_are_never_printed(monkeypatch):
    monkeypatch.setenv(NAME, "9")
    monkeypatch.setenv(FORCED, "false")
    with process_settings():
        assert (os.environ[NAME], os.environ[FORCED]) == ("9", "true")
    assert (os.environ[NAME], os.environ[FORCED]) == ("9", "false")


def test_variables_that_ray_sets_and_handlers_are_put_back():
    handler = signal.getsignal(signal.SIGTERM)
    with process_settings():
        os.environ["RAY_MADE_UP"] = "1"
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert "RAY_MADE_UP" not in os.environ
    assert signal.getsignal(signal.SIGTERM) is handler


def test_variables_of_others_are_left_alone():
    with process_settings():
        os.environ["SOMETHING_ELSE"] = "kept"
    assert os.environ.pop("SOMETHING_ELSE") == "kept"


def test_the_last_of_several_threads_puts_them_back():
    inside, may_leave = threading.Event(), threading.Event()

    def other():
        with process_settings():
            inside.set()
            may_leave.wait(60)

    thread = threading.Thread(target=other)
    with process_settings():
        thread.start()
        assert inside.wait(60)
    assert os.environ[NAME] == "2"
    may_leave.set()
    thread.join()
    assert NAME not in os.environ


def test_it_decorates():
    @process_settings()
    def retries():
        return os.environ[NAME]

    assert (retries(), retries()) == ("2", "2")
    assert NAME not in os.environ


def test_the_garbage_collector_is_afterwards_as_it_was():
    with uncollected():
        assert not gc.isenabled()
        with uncollected():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
