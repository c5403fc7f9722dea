"""The manifests: valid by the schemas of what reads them, of the versions we run, true to each other."""

from __future__ import annotations

import re

import pytest
import yaml
from manifest_checks import ALL, KUBERNETES, PINNED, RAY_UP, YAML, changed, documents, read, schema_mistakes

# Schemas


@pytest.mark.parametrize("name", YAML)
def test_manifest_is_valid_by_the_schema_of_what_reads_it(name):
    assert schema_mistakes(name, read(name)) == []


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("kuberay/raycluster.yaml", "maxReplicas:", "maxReplica:"),
        ("kuberay/raycluster.yaml", "minReplicas: 0", 'minReplicas: "0"'),
        ("kuberay/raycluster.yaml", 'num-cpus: "0"', "num-cpus: 0"),
        ("kuberay/raycluster.yaml", "mode: token", "mode: tokens"),
        ("kuberay/raycluster.yaml", "groupName: gpu", "group: gpu"),
        ("kuberay/raycluster.yaml", "tolerations:", "toleration:"),
        ("kuberay/raycluster.yaml", "requests: {cpu: 500m", "request: {cpu: 500m"),
        ("kuberay/raycluster.yaml", "upscalingMode: Default", "upscalingMode: Fast"),
        ("kuberay/raycluster.yaml", "ray.io/v1", "ray.io/v1alpha1"),
        ("kuberay/rayjob.yaml", "shutdownAfterJobFinishes:", "shutdownAfterJobFinish:"),
        ("kuberay/rayjob.yaml", "backoffLimit: 3", "backoffLimit: three"),
        ("kuberay/rayjob.yaml", "submissionMode: K8sJobMode", "submissionMode: JobMode"),
        ("kuberay/rayjob.yaml", "mountPath: /etc/walslab", "mount: /etc/walslab"),
        ("kuberay/rayjob.yaml", "kind: ConfigMap", "kind: ConfigMap\nspec: {}"),
        ("kuberay/secrets.example.yaml", "stringData:", "strings:"),
        ("mlflow/kubernetes.yaml", "periodSeconds:", "seconds:"),
        ("mlflow/kubernetes.yaml", "policyTypes:", "policies:"),
        ("mlflow/kubernetes.yaml", "replicas: 1", "replicas: one"),
        ("mlflow/compose.yaml", "healthcheck:", "healthchecks:"),
        ("mlflow/compose.yaml", "condition: service_healthy", "condition: healthy"),
        ("mlflow/compose.yaml", "storage: {condition", "store: {condition"),
        ("mlflow/compose.yaml", "./basic_auth.ini:", "./auth.ini:"),
        ("mlflow/compose.yaml", "networks: [store]", "networks: [stores]"),
        ("mlflow/compose.yaml", "mlflow/Dockerfile", "mlflow/Containerfile"),
        ("ray-up/aws.yaml", "idle_timeout_minutes:", "idle_timeout:"),
        ("ray-up/aws.yaml", "min_workers: 0", "min_workers: none"),
        ("ray-up/aws.yaml", "head_node_type: head", "head_node_type: boss"),
        ("ray-up/aws.yaml", "worker_image:", "workers_image:"),
        ("ray-up/gcp.yaml", "    resources: {", "    resource: {"),
        ("ray-up/gcp.yaml", "container_name: walslab", "pull_before_run: true"),
        ("ray-up/gcp.yaml", "ssh_user:", "user:"),
    ],
)
def test_broken_manifest_is_refused(name, right, wrong):
    assert schema_mistakes(name, changed(name, right, wrong)) != []


# Versions

NAMED = {
    r"\bRay (\d[\d.]*\d)": PINNED["ray"],
    r"ray(?:\[\w+\])?==(\d[\d.]*\d)": PINNED["ray"],
    r'rayVersion: "(.+?)"': PINNED["ray"],
    r"MLflow (\d[\d.]*\d)": PINNED["mlflow"],
    r"Kubernetes (\d[\d.]*\d)": KUBERNETES,
    r"(?:for|, )KubeRay (\d[\d.]*\d)": "1.7.1",
    r"image: postgres:(\d+)": "17",
    r"PostgreSQL (\d+)": "17",
    r"seaweedfs:(\d[\d.]*\d)": "4.47",
    r"SeaweedFS (\d[\d.]*\d)": "4.47",
}


def version_mistakes(text):
    named = [(match[0], match[1], right) for how, right in NAMED.items() for match in re.finditer(how, text)]
    return [f"{where} is not {right}" for where, version, right in named if version != right]


@pytest.mark.parametrize("name", ALL)
def test_versions_that_a_file_names_are_those_it_is_checked_with(name):
    assert version_mistakes(read(name)) == []


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("kuberay/raycluster.yaml", 'rayVersion: "2.60.0"', 'rayVersion: "2.59.0"'),
        ("kuberay/rayjob.yaml", "Kubernetes 1.35", "Kubernetes 1.30"),
        ("ray-up/README.md", "==2.60.0", "==2.59.1"),
        ("mlflow/compose.yaml", "postgres:17", "postgres:18"),
        ("README.md", "MLflow 3.17.2", "MLflow 3.9"),
    ],
)
def test_other_version_is_found(name, right, wrong):
    assert version_mistakes(changed(name, right, wrong)) != []


# Beside each other


def test_both_kinds_of_cluster_are_the_same():
    alone = documents(read("kuberay/raycluster.yaml"))[0]["spec"]
    with_job = documents(read("kuberay/rayjob.yaml"))[1]["spec"]["rayClusterSpec"]
    pod = with_job["headGroupSpec"]["template"]["spec"]
    assert pod["volumes"].pop() == {"name": "search", "configMap": {"name": "walslab-first"}}
    assert pod["containers"][0]["volumeMounts"].pop()["name"] == "search"
    assert with_job == alone


def test_heads_do_no_numeric_work_and_workers_scale_from_none():
    head = documents(read("kuberay/raycluster.yaml"))[0]["spec"]
    assert head["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert [group["minReplicas"] for group in head["workerGroupSpecs"]] == [0]
    for name in RAY_UP:
        types = yaml.safe_load(read(name))["available_node_types"]
        assert types["head"]["resources"] == {"CPU": 0}
        assert types["gpu"]["min_workers"] == 0


def test_kubernetes_holds_the_files_that_compose_mounts():
    for document in documents(read("mlflow/kubernetes.yaml")):
        if document["kind"] == "ConfigMap":
            assert {name: read(f"mlflow/{name}") for name in document["data"]} == document["data"]
        if document["kind"] == "Deployment":
            (bucket,) = document["spec"]["template"]["spec"]["initContainers"]
            compose = yaml.safe_load(read("mlflow/compose.yaml"))["services"]["bucket"]["command"]
            assert bucket["command"] == compose
            compile(compose[-1], "bucket", "exec")
