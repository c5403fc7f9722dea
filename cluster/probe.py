"""What a cluster's nodes have, asked on the cluster itself: ``python -m cluster.probe``, as a job.

The last line of its log is `MARK` and one JSON object: ``{"driver": [check, ...], "worker": [check, ...] or
null, "worker_name": text}``.
"""

from __future__ import annotations

import argparse
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import toolkit.commands.machine_checks
import tune.doctor
from cluster import handover
from toolkit.commands import Check
from toolkit.errors import DatasetError, StudyError
from toolkit.files import as_path, handed_over, mask, strip_file_scheme

MARK = "walslab-probe "
_PATIENCE = 60.0  # seconds that a worker has to answer


def main() -> None:
    """Check the head, where the driver runs, and one worker, with a GPU where there is one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataset")
    parser.add_argument("--studies")
    asked = parser.parse_args()
    handover.take()
    driver = [*toolkit.commands.machine_checks.checks(), *tune.doctor.checks()]
    worker, name = _of_a_worker(asked.dataset, asked.studies)
    found = {"driver": driver, "worker": worker, "worker_name": name}
    print(MARK + json.dumps(found))  # noqa: T201 - this is what it is for


def _of_a_worker(dataset: str | None, studies: str | None) -> tuple[list[Check] | None, str]:
    import ray
    from ray.exceptions import GetTimeoutError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray.init(log_to_driver=False)
    nodes = [n for n in ray.nodes() if n["Alive"] and "node:__internal_head__" not in n["Resources"]]
    if not nodes:
        return None, ""
    node = max(nodes, key=lambda n: n["Resources"].get("GPU", 0))
    has_gpu = node["Resources"].get("GPU", 0) > 0
    task = ray.remote(checks_of_a_worker).options(
        num_cpus=0,
        # With a share of a GPU, Ray lets the process see it.
        num_gpus=0.01 if has_gpu else 0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
    )
    name, asked = str(node["NodeName"]), task.remote(dataset, studies, handed_over(), has_gpu=has_gpu)
    try:
        found: list[Check] = ray.get(asked, timeout=_PATIENCE)
    except GetTimeoutError:
        detail = f"{name} did not answer for {_PATIENCE:.0f} s"
        fix = "ask again when its GPU is not wholly taken by a study, or see `ray status` on the head"
        return [Check(name="answer", ok=False, detail=detail, fix=fix)], name
    return found, name


def checks_of_a_worker(
    dataset: str | None, studies: str | None, environment: dict[str, str], *, has_gpu: bool
) -> list[Check]:
    """Return the checks of the machine of this process; Ray says whether it has a GPU."""
    os.environ.update(environment)
    found = [*toolkit.commands.machine_checks.checks(), *toolkit.commands.machine_checks.versions(["ray"])]
    if has_gpu:
        found = [_must_be_usable(check) if check["name"] == "gpu" else check for check in found]
    if studies:
        found.append(_writable(studies))
    if dataset:
        found.append(_readable(dataset))
    return found


def _must_be_usable(gpu: Check) -> Check:
    if gpu["detail"] == "usable":
        return gpu
    fix = (
        "install walslab[gpu] on the GPU nodes (cluster/manifests/Dockerfile, target gpu), and see that "
        "nvidia-smi works there; or start the node with the number of GPUs that it has"
    )
    return Check(name="gpu", ok=False, detail=f"Ray says it has one, but: {gpu['detail']}", fix=fix)


def _writable(studies: str) -> Check:
    def write() -> None:
        folder = as_path(strip_file_scheme(studies), StudyError)
        if isinstance(folder, Path):
            folder.mkdir(parents=True, exist_ok=True)
        file = folder / f".walslab-{uuid.uuid4().hex}"
        file.write_bytes(b"walslab")
        file.unlink()

    return _tried("studies", studies, write)


def _readable(dataset: str) -> Check:
    def read() -> None:
        json.loads((as_path(dataset, DatasetError) / "manifest.json").read_bytes())

    return _tried("dataset", dataset, read)


def _tried(name: str, where: str, use: Callable[[], None]) -> Check:
    verb = {"studies": "written to", "dataset": "read"}[name]
    try:
        use()
    except Exception as error:  # noqa: BLE001 - whatever the store or the disk objects to
        text = f"{where} cannot be {verb}: {type(error).__name__}: {' '.join(str(error).split())}"
        fix = (
            "give the nodes the store's credentials (a role of the machine, a Secret, or --env NAME), or "
            "mount the folder on all of them"
        )
        return Check(name=name, ok=False, detail=mask(text), fix=fix)
    return Check(name=name, ok=True, detail=f"{mask(where)} can be {verb}", fix=None)


if __name__ == "__main__":
    main()
