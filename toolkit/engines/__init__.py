"""Engines: here lists of tasks run, on threads of this process or on the workers of a Dask cluster."""

from __future__ import annotations

from toolkit.engines.dask_cluster import Cluster, Words
from toolkit.engines.dask_connection import cluster_at, cluster_of_gpus
from toolkit.engines.dask_shared import Sender
from toolkit.engines.dask_spread import Spread
from toolkit.engines.dask_waits import WAITS
from toolkit.engines.threads import Engine, Threads, Tick

__all__ = [
    "WAITS",
    "Cluster",
    "Engine",
    "Sender",
    "Spread",
    "Threads",
    "Tick",
    "Words",
    "cluster_at",
    "cluster_of_gpus",
]
