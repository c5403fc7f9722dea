"""How manifests are read, and what is wrong with one by the schema of what reads it."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import compose_pydantic
import jsonschema
import kubernetes_validate
import pydantic
import yaml

ROOT = Path(__file__).resolve().parent.parent
MANIFESTS = ROOT / "cluster" / "manifests"
KUBERNETES = "1.35"
PINNED = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())

ALL = sorted(
    path.relative_to(MANIFESTS).as_posix()
    for path in MANIFESTS.rglob("*")
    if path.is_file() and path.name != ".env"
)
YAML = [name for name in ALL if name.endswith(".yaml")]
PAGES = [name for name in ALL if name.endswith(".md")]
DOCKERFILES = [name for name in ALL if name.endswith("Dockerfile")]
RAY_UP = [name for name in YAML if name.startswith("ray-up/")]


def read(name):
    return (MANIFESTS / name).read_text(encoding="utf-8")


def changed(name, right, wrong):
    """Return the text of a file with one thing put in the place of another."""
    text = read(name)
    assert right in text
    return text.replace(right, wrong, 1)


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def walk(value, path=()):
    """Yield every value of a document with the keys that lead to it."""
    yield path, value
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield from walk(inner, (*path, key))


# Schemas

# Fields of ray.io/v1 in KubeRay 1.7; `!` marks one that must be there. A string stands for the type that
# Kubernetes, or KubeRay, gives the field.
POD, CONTAINER, STRINGS = "PodTemplateSpec", "a field of Container", "map of strings"
AUTOSCALER = {
    "resources": CONTAINER,
    "image": str,
    "imagePullPolicy": CONTAINER,
    "securityContext": CONTAINER,
    "idleTimeoutSeconds": int,
    "upscalingMode": {"Default", "Aggressive", "Conservative"},
    "version": {"v1", "v2"},
    "env": CONTAINER,
    "envFrom": CONTAINER,
    "volumeMounts": CONTAINER,
    "command": CONTAINER,
    "args": CONTAINER,
}
HEAD = {
    "template!": POD,
    "headService": dict,
    "enableIngress": bool,
    "resources": STRINGS,
    "labels": STRINGS,
    "rayStartParams": STRINGS,
    "serviceType": {"ClusterIP", "NodePort", "LoadBalancer"},
}
WORKERS = {
    "groupName!": str,
    "replicas": int,
    "minReplicas!": int,
    "maxReplicas!": int,
    "numOfHosts": int,
    "idleTimeoutSeconds": int,
    "suspend": bool,
    "resources": STRINGS,
    "labels": STRINGS,
    "rayStartParams": STRINGS,
    "template!": POD,
    "scaleStrategy": {"workersToDelete": [str]},
}
CLUSTER = {
    "upgradeStrategy": {"type": {"Recreate", "None"}},
    "authOptions": {"mode": {"disabled", "token"}, "secretName": str, "enableK8sTokenAuth": bool},
    "suspend": bool,
    "managedBy": str,
    "autoscalerOptions": AUTOSCALER,
    "headServiceAnnotations": STRINGS,
    "enableInTreeAutoscaling": bool,
    "gcsFaultToleranceOptions": dict,
    "headGroupSpec!": HEAD,
    "rayVersion": str,
    "workerGroupSpecs": [WORKERS],
}
JOB = {
    "activeDeadlineSeconds": int,
    "backoffLimit": int,
    "rayClusterSpec": CLUSTER,
    "submitterPodTemplate": POD,
    "metadata": STRINGS,
    "clusterSelector": STRINGS,
    "submitterConfig": {"backoffLimit": int},
    "managedBy": str,
    "deletionStrategy": dict,
    "entrypoint": str,
    "runtimeEnvYAML": str,
    "jobId": str,
    "submissionMode": {"K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"},
    "entrypointResources": str,
    "entrypointNumCpus": float,
    "entrypointNumGpus": float,
    "ttlSecondsAfterFinished": int,
    "preRunningDeadlineSeconds": int,
    "shutdownAfterJobFinishes": bool,
    "suspend": bool,
}
METADATA = {"name!": str, "namespace!": str, "labels": STRINGS, "annotations": STRINGS}
TOP = {"apiVersion!": {"ray.io/v1"}, "metadata!": METADATA}
KUBERAY = {
    "RayCluster": {**TOP, "kind!": str, "spec!": CLUSTER},
    "RayJob": {**TOP, "kind!": str, "spec!": JOB},
}


def kuberay_mistakes(value, kind, where):
    if isinstance(kind, dict) and isinstance(value, dict):
        return object_mistakes(value, kind, where)
    if isinstance(kind, list) and isinstance(value, list):
        return [m for n, one in enumerate(value) for m in kuberay_mistakes(one, kind[0], f"{where}[{n}]")]
    if kind == POD:
        template = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": value}
        return kubernetes_mistakes(template, where)
    if kind == CONTAINER:
        container = {"name": "x", where.rpartition(".")[2]: value}
        return kuberay_mistakes({"spec": {"containers": [container]}}, POD, where)
    if isinstance(kind, set):
        right = value in kind
    elif kind == STRINGS:
        right = isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
    else:
        right = isinstance(value, kind) if isinstance(kind, type) else False
        right = right and (kind is bool or not isinstance(value, bool))
    return [] if right else [f"{where} must be {kind}, but got {value!r}"]


def object_mistakes(value, kind, where):
    fields = {name.rstrip("!"): inner for name, inner in kind.items()}
    needed = [name[:-1] for name in kind if name.endswith("!")]
    wrong = [f"{where}.{name} is missing" for name in needed if name not in value]
    wrong += [f"{where}.{name} is unknown" for name in value if name not in fields]
    for name in value.keys() & fields:
        wrong += kuberay_mistakes(value[name], fields[name], f"{where}.{name}")
    return wrong


def kubernetes_mistakes(document, where):
    return [f"{where}: {mistake}" for mistake in _kubernetes_mistakes(json.dumps(document))]


@functools.cache
def _kubernetes_mistakes(text):
    """Return the mistakes of a document, as JSON. What a test did not change is checked once."""
    try:
        kubernetes_validate.validate(json.loads(text), KUBERNETES, strict=True)
    except jsonschema.ValidationError as error:
        return [f"{error.json_path}: {error.message}"]
    return []


def ray_up_mistakes(config):
    from ray.autoscaler._private.util import prepare_config, validate_config

    try:
        validate_config(prepare_config(config))
    except (jsonschema.ValidationError, ValueError, AssertionError, KeyError) as error:
        return [str(error)]
    return []


def compose_mistakes(config):
    try:
        compose_pydantic.ComposeSpecification(**config)
    except pydantic.ValidationError as error:
        return [str(error)]
    wrong = []
    for name, service in config["services"].items():
        wrong += (
            [f"{name} depends on {one}" for one in set(service["depends_on"]) - set(config["services"])]
            if ("depends_on" in service)
            else []
        )
        networks = set(service.get("networks", ["default"])) - {*config["networks"], "default"}
        wrong += [f"{name}: no network {one}" for one in networks]
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            there = (
                (MANIFESTS / "mlflow" / source).is_file() if source[0] == "." else source in config["volumes"]
            )
            wrong += [] if there else [f"{name}: no volume {source}"]
        if "build" in service:
            context = MANIFESTS / "mlflow" / service["build"]["context"]
            wrong += (
                [] if (context / service["build"]["dockerfile"]).is_file() else [f"{name}: no Dockerfile"]
            )
    return wrong


def schema_mistakes(name, text):
    if name in RAY_UP:
        return ray_up_mistakes(yaml.safe_load(text))
    if name.endswith("compose.yaml"):
        return compose_mistakes(yaml.safe_load(text))
    wrong = []
    for n, document in enumerate(documents(text)):
        kind = document["kind"]
        if kind in KUBERAY:
            wrong += kuberay_mistakes(document, KUBERAY[kind], kind)
        else:
            wrong += kubernetes_mistakes(document, f"document {n}")
    return wrong
