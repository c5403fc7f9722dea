"""The checkpoint of a sampling: a directory that is complete or not there."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.arrays import Array
from toolkit.config import RunOptions, WALSConfig
from toolkit.errors import ConfigError, ModelError
from toolkit.files import atomic
from toolkit.models.checkpoint_reading import checked_history, reading_checkpoint
from toolkit.models.placed import PlacedRatings
from toolkit.models.posterior import SampleProgress, SamplingPlan
from toolkit.predictor import Side
from toolkit.solver import Factors, SamplerState

_STATE, _ARRAYS = "sampling.json", "arrays.npz"
_SAMPLER = ("user_factors", "user_bias", "item_factors", "item_bias")


@dataclass
class SamplingState:
    """Where the chains of a posterior are, in host memory.

    Attributes
    ----------
    chain : int
        The chain that is at work.
    sampler : SamplerState or None
        Where it is; None before its first sweep.
    sums : dict of str to array
        The sums of its draws, where it is the first one.
    mean : Factors or None
        The mean of the draws of the first chain, once it has ended.
    samples : int
        The samples of the first chain, once it has ended; 0 before.
    watched : dict of str to array
        The predictions that are summed up.
    kept : list of (Factors, float)
        Draws that are kept, and the noise of each.
    history : list of SampleProgress
    """

    chain: int = 0
    sampler: SamplerState | None = None
    sums: dict[str, Array] = field(default_factory=dict)
    mean: Factors | None = None
    samples: int = 0
    watched: dict[str, Array] = field(default_factory=dict)
    kept: list[tuple[Factors, float]] = field(default_factory=list)
    history: list[SampleProgress] = field(default_factory=list)


def identity_of(
    placed: PlacedRatings, config: WALSConfig, options: RunOptions, plan: SamplingPlan
) -> dict[str, Any]:
    """Return what a checkpoint must be of to be continued: whatever the numbers depend on."""
    return {
        "config": config.to_dict(),
        "seed": options.seed,
        "dtype": options.dtype,
        "backend": placed.backend_name,
        **dataclasses.asdict(plan),
        "ratings": placed.identity(),
    }


def write_state(path: Path, state: SamplingState, identity: dict[str, Any]) -> None:
    """Write a checkpoint in place of the one before."""
    arrays = {f"sum_{name}": array for name, array in state.sums.items()}
    arrays |= {f"watched_{name}": array for name, array in state.watched.items()}
    sampler = None
    if state.sampler is not None:
        sampler = {"sweeps": state.sampler.sweeps, "noise": state.sampler.noise}
        arrays |= dict(zip(_SAMPLER, (*state.sampler.users, *state.sampler.items), strict=True))
    words = {
        "identity": identity,
        "chain": state.chain,
        "sampler": sampler,
        "mean": state.mean is not None,
        "samples": state.samples,
        "noises": [noise for _, noise in state.kept],
        "history": state.history,
    }
    try:
        with atomic.directory(path, overwrite=True, holding=_STATE) as part:
            named = {f"kept-{at}": factors for at, (factors, _) in enumerate(state.kept)}
            for name, factors in (named | ({"mean": state.mean} if state.mean else {})).items():
                (part / name).mkdir()
                factors.save(part / name)
            np.savez(part / _ARRAYS, allow_pickle=False, **arrays)
            (part / _STATE).write_text(json.dumps(words) + "\n", encoding="utf-8")
    except FileExistsError as error:
        raise ModelError(str(error)) from error


def read_state(path: Path, identity: dict[str, Any]) -> SamplingState:
    """Return the checkpoint of a directory.

    Raises
    ------
    ConfigError
        When it is of another sampling.
    ModelError
        When it cannot be read.
    """
    with reading_checkpoint(path):
        words = json.loads((path / _STATE).read_text(encoding="utf-8"))
        changed = [name for name, value in identity.items() if words["identity"].get(name) != value]
        if changed:
            raise ConfigError(
                f"{path} is the checkpoint of a sampling of another {', '.join(changed)}: go on with the "
                "same, or remove it"
            )
        # Opened here: NumPy does not close a file that is no archive.
        with (path / _ARRAYS).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        kept = [Factors.load(path / f"kept-{at}").mapped(np.array) for at in range(len(words["noises"]))]
        mean = Factors.load(path / "mean").mapped(np.array) if words["mean"] else None
        sampler = None
        if words["sampler"] is not None:
            users, items = (Side(*(found[name] for name in names)) for names in (_SAMPLER[:2], _SAMPLER[2:]))
            sampler = SamplerState(words["sampler"]["sweeps"], words["sampler"]["noise"], users, items)
        return SamplingState(
            words["chain"],
            sampler,
            _of(found, "sum_"),
            mean,
            words["samples"],
            _of(found, "watched_"),
            list(zip(kept, words["noises"], strict=True)),
            checked_history(words["history"], SampleProgress.__annotations__),
        )


def _of(arrays: dict[str, Array], prefix: str) -> dict[str, Array]:
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
