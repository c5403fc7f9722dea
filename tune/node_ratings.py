"""The ratings of trials: from an address, read once by every node that runs trials, or else by the driver."""

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
    from tune.training import TrialRatings

# A reader may end between being found and being asked.
_ATTEMPTS, _PAUSE = 5, 1.0
# Readers that this process uses: without a handle of the one that started it, a reader ends.
_held: list[Any] = []


def trial_ratings(data: RatingsDataset) -> TrialRatings:
    """Read what trials train and are judged on."""
    return {"train": data.train, "train_by_item": data.train_by_item, "valid": data.valid}


def ratings_for_ray(data: RatingsDataset) -> TrialRatings | RatingsAt:
    """Return the ratings for Ray: what has an address is read where it is needed, what has none here."""
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
        """Return the ratings as the object store of this node holds them, read by whoever asks first.

        Raises
        ------
        StudyError
            When this node cannot read them.
        """
        from ray.exceptions import OwnerDiedError, RayActorError

        for _ in range(_ATTEMPTS - 1):
            # A reader goes with the process that started it: the next to ask starts another.
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
            # In a list, so that what comes is the reference: the arrays are then mapped, not sent.
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
    """Holds a node's copy; an actor, so that the node has one."""

    def __init__(self, ratings: RatingsAt) -> None:
        self._ratings, self._reference = ratings, None

    def references(self) -> list[Any]:
        """Return the reference to the ratings, read on the first call."""
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
