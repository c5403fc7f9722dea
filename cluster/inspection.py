"""A cluster looked at from here: what its head and one worker say of themselves, beside what is here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

from cluster import probe
from cluster.errors import JobError
from cluster.job import Job
from cluster.submission import Submission
from toolkit.commands import Check

# Processes of one Ray cluster must have these alike. CuPy, only those with a GPU have.
_ALIKE = ("python", "ray", "numpy", "scipy", "numba")


def of_cluster(
    address: str,
    working_dir: str,
    here: Sequence[Check],
    warn: Callable[[str], None],
    *,
    dataset: str | None = None,
    studies: str | None = None,
    more: Sequence[str] = (),
) -> Iterator[Check]:
    """Run `cluster.probe` as a job, and yield what it found.

    Parameters
    ----------
    address, working_dir, more
        As of `cluster.job.Job.of_module`.
    here : sequence of Check
        What this machine has.
    warn : callable
        Given words of warning.
    dataset, studies : str, optional
        What a worker must be able to read, and to write.

    Raises
    ------
    JobError
        When the cluster is out of reach, or the job fails.
    """
    arguments = ["cluster.probe"]
    for option, value in (("--dataset", dataset), ("--studies", studies)):
        arguments += [option, value] if value else []
    log: list[str] = []
    submission = Submission(Job.of_module(address, working_dir, arguments, more), warn)
    submission.follow(log.append)
    _, mark, line = "".join(log).rpartition(probe.MARK)
    if not mark:
        raise JobError(f"job {submission.id} ended without telling what it found: {''.join(log)[-1000:]}")
    told = json.loads(line.splitlines()[0])
    versions = {check["name"]: check["detail"] for check in here}
    head = {check["name"]: check["detail"] for check in told["driver"]}
    for check in told["driver"]:
        detail = check["detail"]
        # Harms no job, but is worth knowing.
        if check["name"] in _ALIKE and versions.get(check["name"], detail) != detail:
            detail += f" (here: {versions[check['name']]})"
        yield Check(name=f"head {check['name']}", ok=check["ok"], detail=detail, fix=check["fix"])
    if told["worker"] is None:
        yield Check(
            name="worker",
            ok=True,
            detail="there is none now; with an autoscaler, ask again while a study runs",
            fix=None,
        )
        return
    yield Check(name="worker", ok=True, detail=told["worker_name"], fix=None)
    for check in told["worker"]:
        name, detail = check["name"], check["detail"]
        ok, fix = check["ok"], check["fix"]
        if name in _ALIKE and head.get(name, detail) != detail:
            ok, fix = False, "give all nodes the same image, or install them from the same constraints.txt"
            detail += f", but {head[name]} on the head"
        yield Check(name=f"worker {name}", ok=ok, detail=detail, fix=fix)
