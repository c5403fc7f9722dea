"""Check the surroundings that a search needs: Ray, Optuna, MLflow, and their addresses."""

from __future__ import annotations

import os
from collections.abc import Iterator

from toolkit.commands import Check, versions
from toolkit.files import process_settings
from tune.record import Tracking

_PATIENCE = 3  # seconds that the Ray address has to accept a connection, and to answer


def checks() -> Iterator[Check]:
    """Check Ray, Optuna and MLflow, the Ray address, and the tracking store."""
    yield from versions(("ray", "optuna", "mlflow"))
    yield _ray_address()
    yield _store()


def checks_of(study: str) -> Iterator[Check]:
    """Check what a study refers to, by the name of the study."""
    from tune.study import Study
    from tune.study_checks import study_checks

    yield from study_checks(Study.open(study))


def _ray_address() -> Check:
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        return Check(
            name="ray address",
            ok=True,
            detail="RAY_ADDRESS is not set: studies run on this machine",
            fix=None,
        )
    if address in {"auto", "local"}:  # words of Ray, with nothing to connect to before Ray itself looks
        return Check(name="ray address", ok=True, detail=f"RAY_ADDRESS={address}", fix=None)
    from tune.executors import require_ray

    try:
        require_ray(address, _PATIENCE)
        return Check(name="ray address", ok=True, detail=f"{address} answers", fix=None)
    except (OSError, ValueError) as error:
        return Check(
            name="ray address",
            ok=False,
            detail=f"RAY_ADDRESS={address}: {error}",
            fix="start that cluster, or unset RAY_ADDRESS",
        )


@process_settings()
def _store() -> Check:
    tracking = Tracking.from_environment()
    problem = tracking.problem()
    return Check(
        name="mlflow store",
        ok=problem is None,
        detail=problem or f"{tracking.shown}, experiment {tracking.experiment!r}",
        fix="start the server, or unset MLFLOW_TRACKING_URI" if problem else None,
    )
