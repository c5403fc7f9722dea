"""How many trials a cluster has room for: on its nodes, and on those that its autoscaler may start."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import threading

import pytest
import ray
import ray._private.state
from ray._private.node import Node
from ray.core.generated import autoscaler_pb2

from toolkit.errors import StudyError
from tune.executors import concurrency, connected, ray_session, started_ahead
from tune.executors.ray_session import may_grow_to, room
from tune.spec import SearchSpec

pytestmark = pytest.mark.usefixtures("settings_put_back")


def spec(**keys):
    resources = keys.pop("resources", {"cpu": 1, "gpu": 0.25})
    space = {"factors": {"low": 2, "high": 8}}
    return SearchSpec.from_dict({"space": space, "trials": 50, "resources": resources, **keys})


@pytest.fixture
def cluster(monkeypatch):
    """Return a function that says which nodes there are, and which groups the autoscaler knows."""

    def made(nodes, groups=None):
        listed = [{"Alive": True, "Resources": resources} for resources in nodes]
        monkeypatch.setattr(ray, "nodes", lambda: listed)
        config = None
        if groups is not None:
            config = autoscaler_pb2.ClusterConfig()
            for resources, most in groups:
                group = config.node_group_configs.add(max_count=most)
                group.resources.update(resources)
        monkeypatch.setattr(ray._private.state.state, "get_cluster_config", lambda: config)

    return made


HEAD = {"CPU": 0.0}
GPU_NODE = {"CPU": 8, "GPU": 1}


def test_room_is_that_of_single_nodes(cluster):
    cluster([HEAD, {"CPU": 3.0, "GPU": 1.0}, {"CPU": 8.0, "GPU": 1.0}])
    assert room(spec()) == 3 + 4
    assert may_grow_to(spec()) == 0
    assert concurrency(spec()) == 7
    assert concurrency(spec(concurrency=2)) == 2


def test_nodes_that_an_autoscaler_may_start_count(cluster):
    cluster([HEAD], [({"CPU": 4}, 1), (GPU_NODE, 8)])
    assert room(spec()) == 0
    assert may_grow_to(spec()) == 32
    assert concurrency(spec()) == 32
    assert concurrency(spec(trials=5)) == 5


def test_group_without_limit_is_no_reason_to_run_all_at_once(cluster):
    cluster([HEAD, {"CPU": 8.0, "GPU": 1.0}], [(GPU_NODE, -1)])
    assert may_grow_to(spec()) == math.inf
    assert concurrency(spec()) == 4
    cluster([HEAD], [(GPU_NODE, -1)])
    assert concurrency(spec()) == 1
    assert concurrency(spec(concurrency=16)) == 16


@pytest.mark.parametrize("groups", [None, [], [({"CPU": 8}, 4)], [(GPU_NODE, 0)]], ids=str)
def test_what_nobody_can_give_is_refused(cluster, groups):
    cluster([HEAD, {"CPU": 8.0}], groups)
    told = (
        r"each trial asks for 1 CPU \(resources.cpu\), 0.25 GPU .* no node .* has that: at most 8 CPU, 0 GPU"
    )
    with pytest.raises(StudyError, match=told):
        concurrency(spec())


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "localhost:{}"])
def test_cluster_that_is_not_there_is_waited_for_twenty_seconds(monkeypatch, closed_port, form):
    assert ray_session.ANSWERS_WITHIN == 20.0
    monkeypatch.setattr(ray_session, "ANSWERS_WITHIN", 0.0)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray waits without end"))
    address = form.format(closed_port)
    monkeypatch.setenv("RAY_ADDRESS", address)
    expected = f"at RAY_ADDRESS={address}: after 0 s, .*unset RAY_ADDRESS"
    with pytest.raises(StudyError, match=expected), connected():
        pass


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n", b"-ERR unknown command"])
def test_what_listens_and_is_no_ray_is_refused(monkeypatch, answer):
    monkeypatch.setattr(ray_session, "ANSWERS_WITHIN", 0.0)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray waits without end"))
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            there, _ = server.accept()
            with there:
                there.recv(100)
                there.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(StudyError, match="after 0 s, what listens there does not answer"), connected():
            pass


@pytest.mark.parametrize(
    "error",
    [
        Exception("The current node timed out during startup. This could happen"),
        ray.exceptions.RaySystemError("the raylet died"),
        RuntimeError(""),
    ],
    ids=lambda error: type(error).__name__,
)
def test_ray_that_does_not_start_is_an_error_with_a_way_on(monkeypatch, error):
    def init(**_):
        raise error

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))  # is changed, and put back
    monkeypatch.setattr(ray, "init", init)
    said = r"cannot start Ray on this machine: .*--executor in-process"
    with pytest.raises(StudyError, match=said), connected():
        pass


@pytest.fixture
def calls(monkeypatch):
    """What was asked of Ray, in its order; nothing is started."""
    made = []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))  # is changed, and put back
    monkeypatch.setattr(ray, "is_initialized", lambda: made[-1:] == ["init"])
    monkeypatch.setattr(ray, "init", lambda **_: made.append("init"))
    monkeypatch.setattr(ray, "shutdown", lambda: made.append("shutdown"))
    return made


def test_a_ray_that_was_started_ahead_is_the_one_a_study_gets_and_ends(calls):
    with started_ahead():
        with connected():
            assert calls == ["init"]
        assert calls == ["init", "shutdown"]
    assert calls == ["init", "shutdown"]


def test_a_ray_that_may_end_later_ends_last_and_in_no_thread_of_its_own(calls, monkeypatch):
    # Beside the end of a core worker, a dropped reference in another thread ends the whole process.
    ended = []
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append(threading.current_thread()))
    with contextlib.ExitStack() as later:
        with connected(later):
            pass
        assert ended == []
    assert ended == [threading.current_thread()]


def test_a_ray_that_was_started_ahead_ends_where_no_study_came(calls):
    with pytest.raises(RuntimeError, match="no study"), started_ahead():
        raise RuntimeError("no study")
    assert calls == ["init", "shutdown"]


def test_a_ray_that_did_not_start_ahead_is_told_where_it_is_needed(calls, monkeypatch):
    def init(**_):
        raise RuntimeError("no memory")

    monkeypatch.setattr(ray, "init", init)
    with started_ahead(), pytest.raises(StudyError, match="no memory"), connected():
        pass


def test_a_ray_that_ctrl_c_comes_before_ends(calls, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), started_ahead():  # noqa: PT012 - what the context does is tested
        monkeypatch.setattr(ray_session.Future, "result", interrupted)
        with connected():
            pass
    assert calls == ["init", "shutdown"]


class SlowNode(Node):
    """A node of Ray whose raylet does not answer in time; it starts nothing."""

    def __init__(self, killed):
        self._killed = killed
        raise Exception("The current node timed out during startup. This could happen")  # noqa: TRY002

    def kill_all_processes(self, *, wait, **_):
        assert wait
        self._killed.append(self)


@pytest.mark.parametrize("slow", [1, 2])
def test_a_ray_that_a_busy_machine_starts_too_slowly_is_started_once_more(calls, monkeypatch, slow):
    nodes, killed = [], []

    def init(**_):
        nodes.append("begun")
        if len(nodes) <= slow:
            SlowNode(killed)
        calls.append("init")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(StudyError, match="timed out") if slow == 2 else contextlib.nullcontext(), connected():
        assert calls == ["init"]
    # Nothing of what did not start is left.
    assert (len(nodes), len(killed)) == (2, slow)


def test_no_ray_is_started_ahead_of_one_that_runs(calls):
    with connected(), started_ahead(), connected():
        assert calls == ["init"]
