"""``walslab refit``: the best trial's model, trained on all but the test ratings."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from toolkit.cli import console, emit, json_option


@click.command()
@click.argument("study")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Model directory to write.  [default: model, in the study]"
)
@click.option(
    "--dataset", type=click.Path(path_type=Path), help="Where the study's dataset is now, if it was moved."
)
@click.option("--overwrite", is_flag=True, help="Replace an existing model directory.")
@json_option
def refit(study: str, out: Path | None, dataset: Path | None, *, overwrite: bool, as_json: bool) -> None:
    """Train the best configuration of STUDY on train + valid ratings, and test it once.

    \b
    Example:
      walslab refit first --out models/best
    """
    from toolkit.dataset import RatingsDataset
    from toolkit.model_files import check_target
    from tune.refitting import refit_best
    from tune.study import Study

    found = Study.open(study)
    if out is None:
        here = Path.cwd()
        out = found.path / "model"
        out = out.relative_to(here) if out.is_relative_to(here) else out
    check_target(out, overwrite=overwrite)
    data = RatingsDataset.open(dataset or found.facts["dataset"])
    screen = console(as_json=as_json)
    with screen.status("training on train + valid"):
        best, test_rmse = refit_best(found, data, out, overwrite=overwrite)
    shown = "none" if test_rmse is None else f"{test_rmse:.4f}"
    screen.print(
        f"{best['trial']}: valid RMSE {best['valid_rmse']:.4f}   refitted, test RMSE {shown}\nmodel in {out}"
    )
    words = shlex.join([str(out), "--user", str(data.user_ids[0])])
    screen.print(f"\nNext:  walslab recommend {words}", soft_wrap=True)
    if as_json:
        emit(
            {
                "model": str(out),
                "run_id": found.facts["parent_run_id"],
                "valid_rmse": best["valid_rmse"],
                "test_rmse": test_rmse,
                "registered": None,
            }
        )
