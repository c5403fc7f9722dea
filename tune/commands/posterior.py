"""The posterior that ends a study whose specification says ``posterior: true``."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import StudyError, WalslabError
from toolkit.figure_text import shown
from tune.commands.options import from_here, model_place
from tune.commands.refit_report import print_recommend, print_refit, refit_json

if TYPE_CHECKING:
    from rich.console import Console

    from toolkit.datasets import RatingsDataset
    from tune.refit import Refit
    from tune.study import Study


def sample_posterior(study: Study, data: RatingsDataset, screen: Console) -> dict[str, Any]:
    """Refit a finished study as ``walslab refit STUDY --posterior`` does, unless that was done; print it.

    What a killed process left is gone on with. A study that found a better trial since is sampled again.

    Parameters
    ----------
    study : Study
        A study that is finished; it is held meanwhile, so that two commands do not sample at once.
    data : RatingsDataset
        The dataset of the study.
    screen : Console

    Returns
    -------
    dict
        What ``refit --json`` prints.

    Raises
    ------
    StudyError
        When the model cannot be sampled, saved or recorded; with the way to go on.
    """
    from toolkit.commands import progress
    from tune.refit import SAMPLES, refit_best

    name, out = shlex.quote(study.reference), model_place(study)
    try:
        with study.locked():
            if done := _sampled_before(study):
                out = from_here(Path(study.facts["refit"]["model"]))
                screen.print(
                    f"\nthe posterior of {done.best['trial']} was sampled before: test RMSE "
                    f"{shown(done.test_rmse)}, model in {out}",
                    soft_wrap=True,
                )
                return refit_json(done, study, out)
            if replaces := out.exists():
                _require_own(study, out)
            screen.print(
                f"\nsampling the posterior of {study.best()['trial']}, as the specification asks; if this is "
                f"killed, `walslab resume {name}` goes on",
                soft_wrap=True,
            )
            with progress() as show:
                done = refit_best(study, data, out, overwrite=replaces, posterior=SAMPLES, progress=show)
    except WalslabError as error:
        raise StudyError(
            f"study {study.name} is finished, but its posterior is not: {error}; "
            f"go on by `walslab resume {name}`"
        ) from error
    print_refit(screen, done, out)
    print_recommend(screen, out, data)
    return refit_json(done, study, out)


def _sampled_before(study: Study) -> Refit | None:
    """Return the refit of the study, if it is the posterior of what is the best trial now."""
    from tune.refit import Refit

    refit, best = study.facts.get("refit") or {}, study.best()
    facts = refit.get("posterior")
    if not facts or refit["trial"] != best["trial"]:
        return None
    valid_rmse, test_rmse = facts["mean_factors_rmse"], refit["test_rmse"]
    return Refit(best, valid_rmse, test_rmse, baselines=refit["baselines"], posterior=facts)


def _require_own(study: Study, out: Path) -> None:
    """Refuse to replace a model that this step did not make: it has what the user asked a refit for."""
    from toolkit.models import Model

    model = Model.load(out)
    of_study = json.loads((out / "model.json").read_text(encoding="utf-8")).get("study") == study.name
    if not of_study or not model.posterior or model.posterior.samples or model.titles is not None:
        raise StudyError(
            f"{out} has a model that `walslab refit` or another command made: move it, or replace it by "
            f"`walslab refit {shlex.quote(study.reference)} --posterior --overwrite`"
        )
