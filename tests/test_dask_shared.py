"""What tasks of a Dask cluster share: whole again on the workers, and no array sent twice."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from toolkit.engines import Sender
from toolkit.predictor import Side


class Cluster:
    """Keeps what is scattered."""

    def __init__(self):
        self.sent = []

    def scatter(self, objects, _worker):
        self.sent.append(objects)
        return [SimpleNamespace(status="finished", data=each) for each in objects]


def side(n=5000):
    return Side(np.arange(4.0 * n).reshape(n, 4), np.arange(float(n)))


def whole(futures):
    head, *arrays = (future.data for future in futures)
    return head.whole(arrays)


def test_an_object_is_whole_again_with_arrays_that_can_be_written():
    given = {"fixed": side(), "small": np.arange(3), "text": "μ"}
    found = whole(Sender(Cluster().scatter).send(given, None))
    np.testing.assert_array_equal(found["fixed"].factors, given["fixed"].factors)
    np.testing.assert_array_equal(found["small"], given["small"])
    assert found["fixed"].factors.flags.writeable
    assert found["text"] == "μ"


def test_all_tasks_of_a_process_have_the_same_object():
    futures = Sender(Cluster().scatter).send({"fixed": side()}, "tcp://here")
    assert whole(futures) is whole(futures)


def test_arrays_of_the_last_object_are_not_sent_again():
    sender = Sender((cluster := Cluster()).scatter)
    users, items = side(), side(6000)
    sender.send([users], None)
    found = whole(sender.send([items, users], None))
    assert [each.shape for each in cluster.sent[1][1:]] == [(6000, 4), (6000,)]
    np.testing.assert_array_equal(found[1].factors, users.factors)
    sender.send([items], None)
    assert len(cluster.sent[2]) == 1
    sender.send([users], None)
    assert len(cluster.sent[3]) == 3


@pytest.mark.parametrize("lost", [True, False])
def test_what_is_lost_or_wanted_anew_is_sent_again(lost):
    sender, users = Sender((cluster := Cluster()).scatter), side()
    futures = sender.send([users], None)
    if lost:
        futures[1].status = "lost"
    again = sender.send([users], None, anew=not lost)
    assert len(cluster.sent[1]) == (2 if lost else 3)
    np.testing.assert_array_equal(whole(again)[0].factors, users.factors)
