"""``walslab submit``: run a walslab command as a job on a Ray cluster."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli import console, emit, json_option
from toolkit.errors import WalslabError

if TYPE_CHECKING:
    from cluster.job import Job


class SubmitError(WalslabError, RuntimeError):
    """A job cannot be submitted, or ended badly."""

    exit_code = 1


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--address",
    required=True,
    envvar="RAY_API_SERVER_ADDRESS",
    help="Job server of the cluster: http://HOST:8265.",
)
@click.option(
    "--working-dir", default=".", show_default=True, help="Folder to upload: the root of this repository."
)
@click.option("--dry-run", is_flag=True, help="Print the equal `ray job submit` line and stop.")
@json_option
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARGS]...")
def submit(
    address: str, working_dir: str, *, dry_run: bool, as_json: bool, arguments: tuple[str, ...]
) -> None:
    """Run a walslab COMMAND as a job on a Ray cluster, and follow its log.

    Paths in COMMAND are the cluster's. MLFLOW_TRACKING_URI and its like are passed on from this environment;
    their values are not printed.

    \b
    Example:
      walslab submit --address http://head:8265 -- tune /shared/ml-20m --trials 500
    """
    from cluster.job import Job

    job = Job.of(address, working_dir, arguments)
    screen = console(as_json=as_json)
    screen.print(job.shown, soft_wrap=True)
    submission_id = None if dry_run else _run(job, screen)
    if as_json:
        emit({"submission_id": submission_id, "address": job.shown_address, "command": job.shown})


def _run(job: Job, screen: Any) -> str:
    try:
        from ray.job_submission import JobStatus, JobSubmissionClient
    except ImportError as error:
        raise SubmitError(f"jobs need Ray's client: pip install 'walslab[cluster]' ({error})") from error
    try:
        client = JobSubmissionClient(job.address)
        submission_id: str = client.submit_job(
            entrypoint=job.entrypoint,
            runtime_env={"working_dir": job.working_dir, "env_vars": job.environment},
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        text = str(error).replace(job.address, job.shown_address)
        raise SubmitError(
            f"the Ray job server at {job.shown_address} did not take the job: {text}"
        ) from error

    async def follow() -> None:
        async for lines in client.tail_job_logs(submission_id):
            screen.print(lines, end="", soft_wrap=True)

    asyncio.run(follow())
    status = client.get_job_status(submission_id)
    if status != JobStatus.SUCCEEDED:
        # The rest of the message repeats the log, which was followed.
        message = (client.get_job_info(submission_id).message or "no reason given").splitlines()[0]
        raise SubmitError(f"job {submission_id} ended {status}: {message}")
    return submission_id
