"""What walslab changes of a Dask cluster: how often workers look at themselves, and the way of arrays."""

from __future__ import annotations

import threading

import pytest

from toolkit.engines import WAITS, Cluster, Words

WORDS = Words("start it again", "or give it less", "put it where all see it")
# How often a worker measures its event loop, in milliseconds, by Dask's defaults.
TICK = 20.0
# The worker is in this process.
first_ended, seen = threading.Event(), []


@pytest.fixture
def client():
    """A client of one worker with two threads, all in this process."""
    from distributed import Client, LocalCluster

    alone = {"processes": False, "dashboard_address": ":0", "n_workers": 1, "threads_per_worker": 2}
    with LocalCluster(**alone) as cluster, Client(cluster) as client:
        yield client


def set_to_default(dask_worker):
    dask_worker.periodic_callbacks["tick"].callback_time = TICK


def looks(dask_worker):
    """Return how often a worker looks at itself; Dask itself changes how often it tells of itself."""
    every = {name: look.callback_time for name, look in dask_worker.periodic_callbacks.items()}
    return {name: every[name] for name in ("tick", "profile", "memory_monitor") if name in every}


def look_on(number):
    from distributed import get_worker

    if number:
        first_ended.wait()
    seen.append(looks(get_worker()))
    if number == 2:
        raise OSError("this task fails")


def test_a_worker_looks_at_itself_less_often_until_its_last_task_has_ended(client):
    client.run(set_to_default)
    (before,) = client.run(looks).values()
    with pytest.raises(OSError, match="this task fails"):
        Cluster(client, WORDS).map(look_on, range(3), first_ended.set)
    assert len(seen) >= 3
    assert all(each.pop("tick") >= 10 * TICK for each in seen)
    assert all(each.items() <= before.items() for each in seen)
    (after,) = client.run(looks).values()
    assert after == before


def test_arrays_pass_through_the_scheduler_only_where_a_worker_is_out_of_reach(client, monkeypatch):
    cluster, asked = Cluster(client, WORDS), []
    gather = client.scheduler.gather
    monkeypatch.setattr(client.scheduler, "gather", lambda **keys: asked.append(1) or gather(**keys))
    assert cluster.reach_workers()
    assert cluster.map(abs, [-2, 3], lambda: None) == [2, 3]
    assert not asked
    monkeypatch.setattr(WAITS, "reach", 0.0)
    assert not cluster.reach_workers()
    assert cluster.map(abs, [-4], lambda: None) == [4]
    assert asked
