"""Threads that do jobs: in any number, side by side, and after Ctrl-C at any line."""

from __future__ import annotations

import gc
import threading
from functools import partial

import forks
import pytest
from processes import wait_for

from toolkit.job_threads import Job, JobThreads, stop

# Interrupts a call at each line of the code that waits, and sees whether threads still work afterwards.
INTERRUPTED = """
import linecache, queue, sys, threading, time
from toolkit import job_threads
from toolkit.backends import blas, side_by_side
from toolkit.engines import Threads, threads

FILES = {module.__file__ for module in (job_threads, blas, side_by_side, threads, queue, threading)}

def interrupt(call, at):
    lines = 0
    def trace(frame, event, _):
        nonlocal lines
        path = frame.f_code.co_filename
        # A "with" is a line once more when it ends, where no signal is looked at.
        ends = linecache.getline(path, frame.f_lineno).lstrip().startswith("with ")
        if event == "line" and not ends and (path in FILES or "concurrent" in path):
            lines += 1
            if lines == at:
                raise KeyboardInterrupt
        return trace
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False

running = 0
def task(seconds):
    global running
    running += 1
    time.sleep(seconds)
    running -= 1

def limited():
    with blas.one_blas_thread():
        task(0)

engine = Threads(2)
calls = {
    "map": lambda: engine.map(task, [0.001] * 4, lambda: None),
    "side by side": lambda: side_by_side.side_by_side(task, [0.001] * 4, 3),
    "blas": limited,
}
for name, call in calls.items():
    at = 1
    while interrupt(call, at):
        call()
        assert not running, (name, at)
        at += 1
    print(name, at)
"""


def test_ctrl_c_at_any_line_leaves_threads_that_work():
    with forks.Forked(INTERRUPTED) as process:
        assert process.wait(120) == 0, process.communicate()
        told = process.stdout.read().splitlines()
    assert [line.rpartition(" ")[0] for line in told] == ["map", "side by side", "blas"]
    assert all(int(line.rpartition(" ")[2]) > 10 for line in told)


def test_a_result_comes_once_and_an_error_is_raised():
    threads = JobThreads(2, "test")
    assert threads.give(Job(partial(divmod, 7, 2))).result() == (3, 1)
    with pytest.raises(ZeroDivisionError):
        threads.give(Job(partial(divmod, 7, 0))).result()


def test_a_job_that_was_cancelled_does_not_begin():
    threads, begun, go_on = JobThreads(1, "test"), threading.Event(), threading.Event()
    ended = []

    def first():
        begun.set()
        go_on.wait()
        ended.append("first")

    jobs = [threads.give(Job(first)), threads.give(Job(partial(ended.append, "second")))]
    begun.wait()
    threading.Timer(0.05, go_on.set).start()
    stop(jobs)
    assert ended == ["first"]
    threads.give(Job(partial(ended.append, "third"))).wait()
    assert ended == ["first", "third"]


def test_threads_are_as_many_as_have_work_and_end_with_their_owner():
    def named():
        return [thread for thread in threading.enumerate() if thread.name.startswith("counted-")]

    threads, go_on = JobThreads(2, "counted"), threading.Event()
    for _ in range(5):
        threads.give(Job(lambda: None)).wait()
    assert len(named()) == 1
    jobs = [threads.give(Job(go_on.wait)) for _ in range(3)]
    assert len(named()) == 2
    go_on.set()
    for job in jobs:
        job.wait()
    del threads
    gc.collect()
    wait_for(lambda: not named())
