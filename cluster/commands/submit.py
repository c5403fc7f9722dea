"""``walslab submit``: run a walslab command as a job on a Ray cluster."""

from __future__ import annotations

import click

from toolkit.commands import console, emit, json_option


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--address",
    required=True,
    envvar="RAY_API_SERVER_ADDRESS",
    help="Job server of the cluster: http://HOST:8265.",
)
@click.option(
    "--working-dir",
    default=".",
    show_default=True,
    help="Folder to upload; where it is not the root of this repository, the packages go with it.",
)
@click.option(
    "--env",
    "more",
    multiple=True,
    metavar="NAME",
    help="Hand over this variable, too, such as AWS_ACCESS_KEY_ID; may be repeated.",
)
@click.option("--no-wait", is_flag=True, help="Return as soon as the job is submitted.")
@click.option("--dry-run", is_flag=True, help="Print the equal `ray job submit` line and stop.")
@json_option
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARGS]...")
def submit(
    address: str,
    working_dir: str,
    more: tuple[str, ...],
    *,
    no_wait: bool,
    dry_run: bool,
    as_json: bool,
    arguments: tuple[str, ...],
) -> None:
    """Run a walslab COMMAND as a job on a Ray cluster, and follow its log.

    Paths in COMMAND are the cluster's. MLFLOW_TRACKING_URI and its like, WALSLAB_STUDIES, and what --env
    names are handed over from this environment; their values are not printed, and are in none of Ray's logs.
    A cluster that wants a token gets the one of RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token. The
    exit code is the job's own. A study whose job was lost goes on when the same line is submitted again.

    \b
    Example:
      walslab submit --address http://head:8265 -- tune s3://bucket/ml-20m --name a --studies s3://bucket/b
    """
    from cluster.job import Job

    job = Job.of_command(address, working_dir, arguments, more)
    screen = console(as_json=as_json)
    screen.print(job.shown, soft_wrap=True)
    if job.environment:
        screen.print(f"handed over: {', '.join(job.environment)}", soft_wrap=True)
    if lost := _lost_with_the_job(arguments, kept="WALSLAB_STUDIES" in job.environment):
        screen.print(lost, soft_wrap=True)
    submission_id = None
    if not dry_run:
        from cluster.submission import Submission

        submission = Submission(job, lambda text: screen.print(text, soft_wrap=True))
        submission_id = submission.id
        screen.print(f"job {submission_id}", soft_wrap=True)
        if not no_wait:
            submission.follow(lambda text: screen.print(text, end="", soft_wrap=True))
    if as_json:
        emit({"submission_id": submission_id, "address": job.shown_address, "command": job.shown})


def _lost_with_the_job(arguments: tuple[str, ...], *, kept: bool) -> str | None:
    """Return a warning about a study that nobody can take up again."""
    given = {word.partition("=")[0] for word in arguments}
    if arguments[0] != "tune" or ((kept or "--studies" in given) and "--name" in given):
        return None
    return (
        "note: after a loss this line begins anew; with --studies s3://bucket/studies (or a folder that all "
        "nodes share) and a --name, it would go on with its study"
    )
