"""A job from its submission to its end: taken by the cluster, its log as it is written, and how it ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from cluster import authentication, handover, working_dir
from cluster.errors import JobError
from cluster.job import Job
from cluster.job_client import job_client
from toolkit.files import error_text

# Between looks at a job whose log broke off, and how long it may be out of reach, in seconds.
_PAUSE, _PATIENCE = 2.0, 120.0
# The log is asked for anew after so many seconds without a word.
_SILENCE = 60.0
# What Ray packs and sends, these tell file by file.
_LOUD = ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk")


class Submission:
    """A job that a cluster took.

    Parameters
    ----------
    job : Job
        What to submit.
    warn : callable
        Given words of warning.

    Attributes
    ----------
    id : str
        What Ray calls it.

    Raises
    ------
    JobError
        When the cluster is out of reach, wants a token that is not at hand, or does not take the job.
    """

    def __init__(self, job: Job, warn: Callable[[str], None]) -> None:
        self._written = 0
        # Before Ray is imported, which reads its mode of authentication then.
        authentication.prepare(job.address)
        for name in _LOUD:
            logging.getLogger(name).setLevel(logging.ERROR)
        if warning := working_dir.check(Path(job.working_dir)):
            warn(f"note: {warning}")
        pointer: dict[str, str] = {}
        try:
            self._client: Any = job_client(job.address)
            self._pointer = pointer = handover.put(self._client, job.environment)
            self.id: str = self._client.submit_job(
                entrypoint=job.entrypoint,
                runtime_env={"working_dir": job.working_dir, "env_vars": pointer, **job.runtime_env},
            )
        except JobError:
            raise
        except Exception as error:  # of Ray, of what it sends requests with, or of the packing
            if pointer:
                handover.withdraw(self._client, pointer)
            late = "; it may have begun: `ray job list` tells" if isinstance(error, TimeoutError) else ""
            raise JobError(
                f"the Ray job server at {job.shown_address} did not take the job: "
                f"{error_text(error, job.address)}{late}"
            ) from error

    def follow(self, write: Callable[[str], None]) -> None:
        """Write the job's log until it ends; a connection that breaks is made anew.

        Parameters
        ----------
        write : callable
            Given each new piece of the log.

        Raises
        ------
        JobError
            With the job's own exit code, when it did not succeed; or when the job server is gone.
        """
        try:
            info = self._ended(write)
        except KeyboardInterrupt:
            raise JobError(
                f"no longer following: the job goes on; `ray job logs --follow {self.id}` follows it, and "
                f"`ray job stop {self.id}` ends it",
                exit_code=130,
            ) from None
        handover.withdraw(self._client, self._pointer)
        if info.status != "SUCCEEDED":
            # The rest of the message repeats the log, which was followed.
            message = (info.message or "no reason given").splitlines()[0]
            raise JobError(
                f"job {self.id} ended {info.status}: {message}", exit_code=info.driver_exit_code or 1
            )

    def _ended(self, write: Callable[[str], None]) -> Any:
        """Return what Ray says of the job once it ended."""
        lost_at = None
        while True:
            try:
                asyncio.run(self._tail(write))
                info = self._client.get_job_info(self.id)
                lost_at = None
            except JobError:
                raise
            except Exception as error:  # a connection that broke raises errors of three libraries
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > _PATIENCE:
                    raise JobError(
                        f"the job server has not answered for {_PATIENCE:.0f} s ({error}); job {self.id} may "
                        f"go on: `ray job status {self.id}` tells, once the server is back"
                    ) from error
            else:
                if info.status.is_terminal():
                    return info
            time.sleep(_PAUSE)

    async def _tail(self, write: Callable[[str], None]) -> None:
        """Write what is new of the log, which comes from its beginning each time."""
        seen = 0
        logs = aiter(self._client.tail_job_logs(self.id))
        # A connection that broke without a word would be silent for ever; a job may be silent for hours.
        while (text := await _next_or_none(logs)) is not None:
            seen += len(text)
            if seen > self._written:
                new = text[max(0, len(text) - (seen - self._written)) :]
                self._written = seen
                try:
                    write(new)
                except Exception as error:
                    raise JobError(
                        f"the log of job {self.id} cannot be shown: {error}; the job goes on"
                    ) from error


async def _next_or_none(pieces: AsyncIterator[str]) -> str | None:
    """Return the next piece; None at the end, or when none has come for a while."""
    try:
        return await asyncio.wait_for(anext(pieces), _SILENCE)
    except (StopAsyncIteration, TimeoutError):
        return None
