"""Whether a training solves its rows exactly, or by steps of conjugate gradients."""

from __future__ import annotations

from toolkit.backends import Backend
from toolkit.config import RunOptions, SolverName, WALSConfig
from toolkit.errors import BackendError


def chosen_solver(solver: SolverName, config: WALSConfig, backend: Backend) -> SolverName:
    """Return ``"exact"`` or ``"cg"``.

    Parameters
    ----------
    solver : {"auto", "exact", "cg"}
        ``"auto"`` takes steps from the rank on at which they are faster. That is a higher one where the rows
        share a matrix, in whose basis they take their steps.
    config : WALSConfig
        The hyperparameters.
    backend : Backend
        Where the training runs.

    Raises
    ------
    BackendError
        When `solver` is ``"cg"`` and the backend takes no steps.
    ConfigError
        When `solver` is another word.
    """
    solver = RunOptions(solver=solver).solver
    if solver == "cg" and backend.steps_from is None:
        raise BackendError(
            f"solver cg is one of the numba backend, but this is {backend.name}: set solver to auto or "
            "exact, or backend to numba"
        )
    if solver == "exact" or backend.steps_from is None or not config.factors:
        return "exact"
    shared = bool(config.pattern_weight or config.unobserved_weight)
    return "cg" if solver == "cg" or config.factors >= backend.steps_from[shared] else "exact"
