"""Training on ratings that stay in the shards of a dataset: read in turn, or by the workers of a cluster."""

from __future__ import annotations

from toolkit.sharded.cluster_runner import ClusterRunner, on_cluster
from toolkit.sharded.held_out import ShardedHeldOut
from toolkit.sharded.joined import join_splits
from toolkit.sharded.memory import MemoryPlan, available_memory, plan_memory
from toolkit.sharded.parts import OpenSource, Source
from toolkit.sharded.rated import map_ratings, mapped_file
from toolkit.sharded.ratings import ShardedRatings
from toolkit.sharded.stream_runner import Runner, StreamRunner

__all__ = [
    "ClusterRunner",
    "MemoryPlan",
    "OpenSource",
    "Runner",
    "ShardedHeldOut",
    "ShardedRatings",
    "Source",
    "StreamRunner",
    "available_memory",
    "join_splits",
    "map_ratings",
    "mapped_file",
    "on_cluster",
    "plan_memory",
]
