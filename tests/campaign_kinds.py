"""The kinds of faults of the campaign: what is made ready for each, what happens, and where it runs."""

from __future__ import annotations

import campaign_commands as commands
import campaign_faults as faults

HERE, RAY = "in-process", "ray"
# What is made ready and what happens; where the first, the second … of a kind runs.
KINDS = {
    "all killed": ((None, faults.killed), (HERE, RAY)),
    "driver killed": ((None, faults.driver_killed), (RAY,)),
    "worker killed": ((None, faults.worker_killed), (RAY,)),
    "killed while resumed": ((None, faults.killed_while_resumed), (HERE, RAY)),
    "Ctrl-C": ((None, faults.interrupted), (HERE, RAY)),
    "Ctrl-C twice": ((None, faults.interrupted_twice), (RAY, HERE)),
    "SIGTERM": ((None, faults.terminated), (RAY, HERE)),
    "trial raises": ((None, faults.failing("raises", "RuntimeError: made to fail")), (HERE, RAY)),
    "trial gives NaN": ((None, faults.failing("nan", "is not finite")), (RAY, HERE)),
    "trial out of memory": ((None, faults.failing("memory", "out of memory")), (HERE, RAY)),
    "trial's process ends": ((None, faults.dies), (RAY, HERE)),
    "MLflow away": ((faults.served, faults.server_away), (HERE, RAY)),
    "MLflow frozen": ((faults.served, faults.server_frozen), (HERE,)),
    "MLflow gone at the end": ((faults.served, faults.server_gone), (HERE,)),
    "MLflow gone at the start": ((faults.served, faults.server_not_there), (HERE,)),
    "disk full": ((faults.mounted, faults.disk_full), (HERE,)),
    "node lost": ((faults.clustered, faults.node_lost), (RAY,)),
    "made twice at once": ((None, commands.made_twice), (HERE, RAY)),
    "resumed twice at once": ((None, commands.resumed_twice), (HERE, RAY)),
    "tune or resume beside": ((None, commands.second_run), (RAY, HERE)),
    "refit beside": ((None, commands.refitted), (HERE, RAY)),
    "results beside": ((None, commands.looked_at), (RAY, HERE)),
    "prune beside": ((None, commands.pruned), (HERE, RAY)),
}
