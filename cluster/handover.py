"""Variables handed to a job out of sight: a runtime environment's are in Ray's logs and process lists.

The client puts them into the cluster's key-value store, through the job server's upload of packages, under a
name that is drawn at random; the job takes them out, and away, before it does anything else. Whoever may run
code on the cluster could read them until then, as he could the job's memory afterwards.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from typing import Any

from cluster.errors import JobError
from toolkit.files import HANDED_OVER

# Names what was handed over; itself no secret.
POINTER = "WALSLAB_HANDOVER"
_FORMAT = "walslab-handover"
_EMPTY = b"taken back"
_PATIENCE = 60.0  # seconds that the head node's store has to answer


def put(client: Any, variables: Mapping[str, str]) -> dict[str, str]:
    """Hand variables over to the job that is submitted next.

    Parameters
    ----------
    client : ray.job_submission.JobSubmissionClient
    variables : mapping of str to str

    Returns
    -------
    dict of str to str
        What the job's own environment must hold to find them.

    Raises
    ------
    JobError
        When the job server does not take them.
    """
    if not variables:
        return {}
    name = f"_ray_pkg_{secrets.token_hex(16)}.zip"
    # Should the upload fail, Ray shows how it begins.
    content = json.dumps({"format": _FORMAT, "variables": dict(variables)}).encode()
    # Ray has no other way in.
    answer = client._do_request("PUT", f"/api/packages/gcs/{name}", data=content)  # noqa: SLF001
    if answer.status_code != 200:
        raise JobError(
            f"the job server did not take {', '.join(variables)} (HTTP {answer.status_code}): set them in "
            "the environment of the cluster's nodes, and submit without"
        )
    return {POINTER: f"gcs://{name}"}


def withdraw(client: Any, pointer: Mapping[str, str]) -> None:
    """Take back what `put` gave for a job that has ended, or never began; where that fails, nothing."""
    for name in pointer.values():
        with contextlib.suppress(OSError, RuntimeError):
            path = name.removeprefix("gcs://")
            client._do_request("PUT", f"/api/packages/gcs/{path}", data=_EMPTY)  # noqa: SLF001 - as above


def take() -> None:
    """Take up what was handed to this job; once.

    Raises
    ------
    JobError
        When it is not there.
    """
    pointer = os.environ.pop(POINTER, None)
    if pointer is None:
        return
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    store, key = GcsClient(address=os.environ["RAY_ADDRESS"]), pointer.encode()
    content = store.internal_kv_get(key, None, timeout=_PATIENCE)
    if content in {None, _EMPTY}:
        raise JobError(
            "the variables that this job was submitted with were taken before, or the head node was started "
            "anew since: submit it again"
        )
    store.internal_kv_del(key, False, None, timeout=_PATIENCE)  # noqa: FBT003 - Ray's: no prefix
    variables = json.loads(content)["variables"]
    os.environ.update(variables)
    os.environ[HANDED_OVER] = " ".join(variables)
