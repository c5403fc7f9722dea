"""Ray's client of a job server, with an end to each of its requests."""

from __future__ import annotations

from typing import Any

from cluster.errors import JobError

# How long a job server may take to accept a connection and to answer, in seconds, and the slowest line that a
# package is sent over, in bytes a second.
_CONNECT, _ANSWER, _SLOWEST = 20.0, 120.0, 1 << 17


def job_client(address: str) -> Any:
    """Return a client of a job server; Ray's own would wait for ever for one that hangs.

    Parameters
    ----------
    address : str
        URL of the job server.

    Returns
    -------
    ray.job_submission.JobSubmissionClient

    Raises
    ------
    JobError
        When Ray has no client, as its part for clusters is not installed.
    TimeoutError
        By any method of the client: when an answer does not come in time.
    """
    try:
        from ray.job_submission import JobSubmissionClient
        from requests import Timeout
    except ImportError as error:
        raise JobError(f"jobs need Ray's client: pip install 'walslab[cluster]' ({error})") from error

    class Client(JobSubmissionClient):  # type: ignore[misc]
        def _do_request(self, method: str, endpoint: str, *, data: bytes | None = None, **more: Any) -> Any:
            # What is sent has to be through within the first of the two.
            limits = (_CONNECT + len(data or b"") / _SLOWEST, _ANSWER)
            try:
                return super()._do_request(method, endpoint, data=data, timeout=limits, **more)
            except Timeout as error:
                raise TimeoutError(
                    f"no answer to {method} {endpoint} within {limits[1]:.0f} s: see that the cluster's head "
                    "is within reach and hangs nowhere"
                ) from error

    return Client(address)
