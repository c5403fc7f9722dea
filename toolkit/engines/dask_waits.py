"""How long the parts of a Dask cluster may take: Dask itself would wait for some of them without end."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class DaskWaits:
    """Times in seconds, of which `WAITS` holds those that are in force.

    Attributes
    ----------
    connection, close : float
        For a scheduler to take a connection, and its end.
    answer : float
        For the scheduler to answer.
    workers_answer : float
        For all workers to answer, who look at files of a shared disk.
    reach : float
        For a worker to take a connection of this process.
    end : float
        For tasks that cannot be interrupted to end.
    without_workers : float
        For a worker to come while there is work and none, and for a result of a task that has ended.
    news : float
        From the last news of a cluster until it is looked at.
    silent_worker : float
        Without a word of a worker, until it gets nothing new, as long as others speak.
    first_task, slow_task : float
        For the first task of a half-step to end, and for any other at least, until it is given out again.
    """

    connection: float = 10.0
    close: float = 10.0
    answer: float = 10.0
    workers_answer: float = 60.0
    reach: float = 3.0
    end: float = 30.0
    without_workers: float = 60.0
    news: float = 2.0
    silent_worker: float = 10.0
    first_task: float = 60.0
    slow_task: float = 10.0


WAITS = DaskWaits()
