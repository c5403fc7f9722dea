"""Brings the ratings to the trials: each node reads a dataset at an address once, the driver reads others."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from toolkit.datasets import RatingsDataset
from toolkit.errors import StudyError
from toolkit.files import handed_over, is_address

if TYPE_CHECKING:
    from tune.executors.laid_out import TrialRatings

# A reader may end between the moment a trial finds it and the moment the trial asks it.
_ATTEMPTS, _PAUSE = 5, 1.0
# Handles of the readers that this process uses, because Ray ends a reader that nobody holds.
_held: list[Any] = []


def require_valid(data: RatingsDataset) -> None:
    """Refuse a dataset without validation ratings.

    Raises
    ------
    StudyError
        When it has none.
    """
    if data.counts["valid"] == 0:
        raise StudyError(
            f"{data.where} has no validation ratings, and trials are judged by nothing else: "
            "ingest it again with --valid 0.1"
        )


def trial_ratings(data: RatingsDataset) -> TrialRatings:
    """Return the training and validation ratings of a dataset."""
    return {"train": data.train, "train_by_item": data.train_by_item, "valid": data.valid}


def ratings_for_ray(data: RatingsDataset) -> TrialRatings | RatingsAt:
    """Return the address of a dataset for the nodes to read, or its ratings where it is a local folder."""
    if is_address(data.where):
        return RatingsAt(data.where, data.digest, handed_over())
    return trial_ratings(data)


@dataclass(frozen=True)
class RatingsAt:
    """Where a node finds the ratings.

    Attributes
    ----------
    where : str
        Address of the dataset.
    digest : str
        What it must hold.
    environment : mapping of str to str
        Variables that reading it needs and the nodes do not have, such as the store's credentials.
    """

    where: str
    digest: str
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    def here(self) -> TrialRatings:
        """Return the ratings from the object store of this node; the first trial that asks has them read.

        Raises
        ------
        StudyError
            When this node cannot read them.
        """
        from ray.exceptions import OwnerDiedError, RayActorError

        for _ in range(_ATTEMPTS - 1):
            # A reader ends with the process that started it. The next attempt starts another one.
            with contextlib.suppress(RayActorError, OwnerDiedError):
                return self._read_here()
            time.sleep(_PAUSE)
        return self._read_here()

    def _read_here(self) -> TrialRatings:
        import ray
        from ray.exceptions import RayTaskError

        node = ray.get_runtime_context().get_node_id()
        reader = self._reader(node)
        try:
            # In a list, so that the reference comes back: the arrays are then mapped, not sent.
            (reference,) = ray.get(reader.references.remote())
            ratings: TrialRatings = ray.get(reference)
        except RayTaskError as error:
            name = next((n["NodeName"] for n in ray.nodes() if n["NodeID"] == node), node)
            raise StudyError(f"node {name} cannot read the ratings: {error.cause}") from error
        _held.append(reader)
        return ratings

    def _reader(self, node: str) -> Any:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        options = {
            "name": f"walslab-ratings-{self.digest}-{node}",
            "get_if_exists": True,
            "num_cpus": 0,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False),
        }
        return ray.remote(_Reader).options(**options).remote(self)


class _Reader:
    """An actor that holds the one copy of the ratings on a node."""

    def __init__(self, ratings: RatingsAt) -> None:
        self._ratings, self._reference = ratings, None

    def references(self) -> list[Any]:
        """Return the reference to the ratings, in a list; the first call reads them."""
        import ray

        if self._reference is None:
            os.environ.update(self._ratings.environment)
            data = RatingsDataset.open(self._ratings.where)
            if data.digest != self._ratings.digest:
                raise StudyError(
                    f"{self._ratings.where} has digest {data.digest} now, but the study is of "
                    f"{self._ratings.digest}: it was ingested anew; start a new study"
                )
            self._reference = ray.put(trial_ratings(data))
        return [self._reference]
