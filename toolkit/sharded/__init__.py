"""Training on ratings that stay in the shards of a dataset: read in turn, or by the workers of a cluster."""

from __future__ import annotations

from toolkit.sharded.cluster_runner import ClusterRunner, on_cluster
from toolkit.sharded.held_out import ShardedHeldOut
from toolkit.sharded.memory import MemoryPlan, plan_memory
from toolkit.sharded.parts import Source
from toolkit.sharded.rated import map_ratings
from toolkit.sharded.ratings import ShardedRatings
from toolkit.sharded.stream_runner import StreamRunner

__all__ = [
    "ClusterRunner",
    "MemoryPlan",
    "ShardedHeldOut",
    "ShardedRatings",
    "Source",
    "StreamRunner",
    "map_ratings",
    "on_cluster",
    "plan_memory",
]
