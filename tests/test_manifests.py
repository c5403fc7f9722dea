"""The manifests: valid by the schemas of what reads them, pinned, without passwords, true to each other."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import compose_pydantic
import jsonschema
import kubernetes_validate
import pydantic
import pytest
import yaml

import cluster.cli
import toolkit
import toolkit.commands
import tune.commands
from tune.spec import SearchSpec

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
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except jsonschema.ValidationError as error:
        return [f"{where}: {error.json_path}: {error.message}"]
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
    text = read(name)
    assert right in text
    assert schema_mistakes(name, text.replace(right, wrong, 1)) != []


# Secrets

SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY")
INLINE = re.compile(r"://[^/\s@]+:[^/\s@]+@|\b\w*(?:PASSWORD|SECRET|TOKEN|ACCESS_KEY)\w*=[^\s$…]")


def secret_mistakes(name, text):
    """Return what looks like a password in the file; templates may hold REPLACE-ME, or nothing."""
    found = [f"{name}: {match[0]}" for match in INLINE.finditer(text)]
    if not name.endswith(".yaml"):
        return found
    for path, value in walk(documents(text)):
        where = f"{name}: {'.'.join(map(str, path))}"
        if "env_vars" in path or (isinstance(value, str) and re.search(r"\benv_vars\b", value)):
            found.append(f"{where}: shown in Ray's logs")
        if isinstance(value, dict) and SECRET.search(str(value.get("name", ""))) and "value" in value:
            found.append(f"{where}: written out")
        if isinstance(value, str) and isinstance(path[-1], str) and SECRET.search(path[-1]):
            taken = re.fullmatch(r"\$\{\w+:\?.+\}", value) or (
                value == "REPLACE-ME" and ".example." in f".{name}."
            )
            found += [] if taken else [f"{where}: written out"]
    return found


@pytest.mark.parametrize("name", ALL)
def test_no_file_holds_a_secret(name):
    assert secret_mistakes(name, read(name)) == []


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("mlflow/compose.yaml", "${POSTGRES_PASSWORD:?set it in .env}", "mlflow"),
        ("mlflow/compose.yaml", "${POSTGRES_PASSWORD:?set it in .env}", "${POSTGRES_PASSWORD:-mlflow}"),
        ("mlflow/compose.yaml", "mlflow@postgres:5432", "mlflow:mlflow@postgres:5432"),
        ("mlflow/basic_auth.ini", "mlflow@postgres:5432", "mlflow:mlflow@postgres:5432"),
        ("mlflow/env.example", "AWS_SECRET_ACCESS_KEY=", "AWS_SECRET_ACCESS_KEY=abc"),
        ("mlflow/secrets.example.yaml", "AWS_ACCESS_KEY_ID: REPLACE-ME", "AWS_ACCESS_KEY_ID: abc"),
        (
            "mlflow/kubernetes.yaml",
            "valueFrom: {secretKeyRef: {name: mlflow, key: POSTGRES_PASSWORD}}",
            "value: mlflow",
        ),
        ("kuberay/rayjob.yaml", "  backoffLimit: 3", "  runtimeEnvYAML: 'env_vars: {A: b}'"),
        ("ray-up/aws.yaml", "RAY_AUTH_MODE=token", "RAY_AUTH_TOKEN=token"),
    ],
)
def test_secret_is_found(name, right, wrong):
    text = read(name)
    assert right in text
    assert secret_mistakes(name, text.replace(right, wrong, 1)) != []


def test_every_key_that_is_asked_of_a_secret_is_in_its_template():
    for folder in ("kuberay", "mlflow"):
        texts = [read(name) for name in YAML if name.startswith(f"{folder}/")]
        every = [value for text in texts for _, value in walk(documents(text)) if isinstance(value, dict)]
        kept = {s["metadata"]["name"]: set(s["stringData"]) for s in every if s.get("kind") == "Secret"}
        asked = {(v["secretKeyRef"]["name"], v["secretKeyRef"]["key"]) for v in every if "secretKeyRef" in v}
        assert asked
        assert [(name, key) for name, key in asked if key not in kept[name]] == []
        assert {v["secretRef"]["name"] for v in every if "secretRef" in v} <= set(kept)


def test_compose_file_asks_for_what_its_template_lists():
    listed = set(re.findall(r"(?m)^(\w+)=$", read("mlflow/env.example")))
    assert set(re.findall(r"\$\{(\w+)", read("mlflow/compose.yaml"))) == listed
    (secret,) = documents(read("mlflow/secrets.example.yaml"))
    assert set(secret["stringData"]) == listed


def test_passwords_of_mlflow_reach_the_head_alone():
    for name, at in (("kuberay/raycluster.yaml", "spec"), ("kuberay/rayjob.yaml", "rayClusterSpec")):
        spec = documents(read(name))[-1]["spec"]
        spec = spec if at == "spec" else spec[at]
        assert "walslab-mlflow" in json.dumps(spec["headGroupSpec"])
        assert "walslab-mlflow" not in json.dumps(spec["workerGroupSpecs"])
    for name in RAY_UP:
        config = yaml.safe_load(read(name))
        assert "walslab-mlflow" in json.dumps(config["initialization_commands"])
        assert "walslab-mlflow" not in json.dumps(config["available_node_types"]["gpu"])


# Versions and images


def image_mistakes(name, text):
    images = [
        value
        for path, value in walk(documents(text))
        if path and path[-1] in {"image", "head_image", "worker_image"}
    ]
    wrong = [f"{name} names no image"] if not images and "example" not in name else []
    for image in images:
        pinned = re.fullmatch(
            r"(?:[\w./-]+/)?(?P<what>[\w-]+):(?P<tag>\d[\w.-]*)(@sha256:[0-9a-f]{64})?", image
        )
        of = {"walslab": f"{toolkit.__version__}-[cg]pu", "walslab-mlflow": PINNED["mlflow"]}
        if not pinned or not re.fullmatch(of.get(pinned["what"], ".*"), pinned["tag"]):
            wrong.append(f"{name}: {image}")
    return wrong


@pytest.mark.parametrize("name", YAML)
def test_images_are_pinned(name):
    assert image_mistakes(name, read(name)) == []


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("kuberay/raycluster.yaml", ":0.1.0-gpu", ":latest"),
        ("kuberay/raycluster.yaml", ":0.1.0-gpu", ":0.0.9-gpu"),
        ("kuberay/raycluster.yaml", ":0.1.0-gpu", ""),
        ("mlflow/compose.yaml", "walslab-mlflow:3.17.2", "walslab-mlflow:3.16.0"),
        ("ray-up/aws.yaml", "walslab:0.1.0-cpu", "walslab:cpu"),
    ],
)
def test_image_that_is_not_pinned_is_found(name, right, wrong):
    text = read(name)
    assert right in text
    assert image_mistakes(name, text.replace(right, wrong, 1)) != []


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
    text = read(name)
    assert right in text
    assert version_mistakes(text.replace(right, wrong, 1)) != []


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


# Commands


def accepted(command, name, arguments):
    with command.make_context(name, list(arguments)):
        pass


def walslab_accepts(words):
    """Parse `walslab …` or `python -m PACKAGE …`, and what stands after `--`, without running it."""
    groups = {"toolkit": toolkit.commands.main, "tune": tune.commands.main, "cluster": cluster.cli.main}
    if words[:2] == ["python", "-m"]:
        group, words = groups[words[2]], words[3:]
    else:
        group, words = cluster.cli.main, words[1:]
    parent = click.Context(group, **group.context_settings)
    command = group.get_command(parent, words[0])
    with command.make_context(words[0], words[1:], parent=parent):
        pass
    if "--" in words:
        walslab_accepts(["walslab", *words[words.index("--") + 1 :]])


def test_entrypoint_of_the_job_is_a_command_of_walslab():
    entrypoint = documents(read("kuberay/rayjob.yaml"))[1]["spec"]["entrypoint"]
    walslab_accepts(shlex.split(entrypoint))
    with pytest.raises(click.UsageError, match="--nam"):
        walslab_accepts(shlex.split(entrypoint.replace("--name", "--nam")))


def shell_lines(text):
    return "".join(re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)).splitlines()


def test_command_lines_of_the_pages_are_accepted():
    lines = [line for name in PAGES for line in shell_lines(read(name)) if line.startswith("walslab ")]
    assert len(lines) == 2
    for line in lines:
        walslab_accepts(shlex.split(line, comments=True))


def test_search_of_the_job_is_a_valid_specification(tmp_path):
    config, _ = documents(read("kuberay/rayjob.yaml"))
    path = tmp_path / "search.yaml"
    path.write_text(config["data"]["search.yaml"], encoding="utf-8")
    spec = SearchSpec.load(path)
    (group,) = documents(read("kuberay/raycluster.yaml"))[0]["spec"]["workerGroupSpecs"]
    assert spec.concurrency * spec.gpu == group["maxReplicas"]


def server_commands():
    compose = yaml.safe_load(read("mlflow/compose.yaml"))["services"]["mlflow"]["command"]
    (deployment,) = (d for d in documents(read("mlflow/kubernetes.yaml")) if d["kind"] == "Deployment")
    return compose, deployment["spec"]["template"]["spec"]["containers"][0]["command"]


@pytest.mark.slow
def test_mlflow_takes_the_options_that_its_server_is_started_with():
    from mlflow.cli import cli

    commands = server_commands()
    for words in commands:
        assert words[:2] == ["mlflow", "server"]
        accepted(cli.commands["server"], "server", words[2:])
        assert "--app-name=basic-auth" in words
    with pytest.raises(click.UsageError):
        accepted(cli.commands["server"], "server", [*commands[0][2:], "--allow-hosts=x"])


def test_both_mlflow_servers_are_started_alike():
    hosts = "--allowed-hosts="
    one, other = ([word for word in words if not word.startswith(hosts)] for words in server_commands())
    assert one == other


@pytest.mark.parametrize("name", RAY_UP)
def test_ray_takes_the_options_that_nodes_are_started_with(name):
    from ray.scripts.scripts import start

    config = yaml.safe_load(read(name))
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        (line,) = (line for line in config[key] if "ray start" in line)
        words = shlex.split(line.partition("ray start")[2])
        accepted(start, "start", words)
        with pytest.raises(click.UsageError):
            accepted(start, "start", [*words, "--num-cpu=0"])


# Files beside each other


def test_kubernetes_holds_the_files_that_compose_mounts():
    for document in documents(read("mlflow/kubernetes.yaml")):
        if document["kind"] == "ConfigMap":
            assert {name: read(f"mlflow/{name}") for name in document["data"]} == document["data"]
        if document["kind"] == "Deployment":
            (bucket,) = document["spec"]["template"]["spec"]["initContainers"]
            compose = yaml.safe_load(read("mlflow/compose.yaml"))["services"]["bucket"]["command"]
            assert bucket["command"] == compose
            compile(compose[-1], "bucket", "exec")


def pods(text):
    """Yield every pod of a file with the volumes that its claims give it."""
    for document in documents(text):
        claims = document.get("spec", {}).get("volumeClaimTemplates", [])
        for _, value in walk(document):
            if isinstance(value, dict) and "containers" in value:
                yield value, {claim["metadata"]["name"] for claim in claims}


def mount_mistakes(text):
    wrong = []
    for pod, claims in pods(text):
        containers = [*pod["containers"], *pod.get("initContainers", [])]
        mounted = {mount["name"] for one in containers for mount in one.get("volumeMounts", [])}
        wrong += mounted ^ ({volume["name"] for volume in pod.get("volumes", [])} | claims)
    return wrong


KINDS_WITH_PODS = ["kuberay/raycluster.yaml", "kuberay/rayjob.yaml", "mlflow/kubernetes.yaml"]


@pytest.mark.parametrize("name", KINDS_WITH_PODS)
def test_mounts_name_volumes_that_the_pod_has(name):
    assert mount_mistakes(read(name)) == []


def test_mount_without_a_volume_is_found():
    text = read("mlflow/kubernetes.yaml")
    assert mount_mistakes(text.replace("{name: data, mountPath", "{name: date, mountPath", 1)) != []


def test_every_container_runs_as_a_user_without_privileges_and_says_what_it_needs():
    every = [pod for name in KINDS_WITH_PODS for pod, _ in pods(read(name))]
    assert len(every) == 8
    for pod in every:
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in (*pod["containers"], *pod.get("initContainers", [])):
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


def page_mistakes(name, text):
    places = ((MANIFESTS / name).parent, MANIFESTS, ROOT)
    links = re.findall(r"\]\(([^)]+)\)", text)
    named = re.findall(r"(?<![\w~/-])((?:[\w-]+/)*[\w.-]+\.(?:yaml|ini|sql|txt|py|example))(?!\w|\.\w)", text)
    named += re.findall(r"((?:[\w-]+/)*Dockerfile)\b", text)
    missing = [link for link in links if not (places[0] / link).is_file()]
    return missing + [one for one in named if not any((place / one).is_file() for place in places)]


@pytest.mark.parametrize("name", PAGES)
def test_page_names_files_that_exist(name):
    assert page_mistakes(name, read(name)) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("kuberay/rayjob.yaml", "kuberay/job.yaml"),
        ("(ray-up/README.md)", "(rayup/README.md)"),
        ("-f cluster/manifests/Dockerfile", "-f manifests/Dockerfile"),
    ],
)
def test_file_that_is_not_there_is_found(right, wrong):
    text = read("README.md")
    assert right in text
    assert page_mistakes("README.md", text.replace(right, wrong, 1)) != []


def test_every_file_is_named_by_the_page_of_its_folder():
    for name in set(ALL) - set(PAGES):
        pages = read((Path(name).parent / "README.md").as_posix()) + read("README.md")
        others = "".join(read(other) for other in YAML if Path(other).parent == Path(name).parent)
        assert Path(name).name in pages + others, name


# Dockerfiles


def instructions(text):
    joined = re.sub(r"\\\n", " ", re.sub(r"(?m)^ *#.*\n", "", text))
    return [tuple(line.strip().partition(" ")[::2]) for line in joined.splitlines() if line.strip()]


def dockerfile_mistakes(text):
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")}
    wrong, stages, users = [], {}, {}
    stage = None
    for word, rest in instructions(text):
        if word == "FROM":
            image, _, stage = rest.partition(" AS ")
            if image not in stages and not re.fullmatch(r"[\w./-]+:\d[\w.-]*", image):
                wrong.append(f"{image} is neither pinned nor a stage")
            stages[stage] = image
        elif word == "COPY" and "--from=" not in rest:
            sources = shlex.split(rest)[:-1]
            wrong += [f"no {one} in the build" for one in sources if one not in allowed]
            wrong += [f"no {one} here" for one in sources if not (ROOT / one).exists()]
        elif word == "COPY" and rest.partition("--from=")[2].split()[0] not in stages:
            wrong.append(f"no stage for {rest}")
        elif word == "USER":
            users[stage] = rest
        elif word in {"ADD", "ARG"}:
            wrong.append(f"{word} is not used here")
        for command in re.findall(r"pip install (.*?)(?:&&|$)", rest):
            wrong += pip_mistakes(command)
    final = [s for s in stages if s not in stages.values() and f"--from={s} " not in text]
    wrong += [
        f"{s or 'the image'} runs as {users.get(s, 'root')}" for s in final if users.get(s) != "1000:1000"
    ]
    return wrong


def pip_mistakes(command):
    words = shlex.split(command)
    if "--no-deps" in words:
        return []
    wrong = [] if "--constraint constraints.txt" in command else [f"{command}: not constrained"]
    wrong += [f"{word}: pip's own index only" for word in words if "index" in word or word == "-i"]
    wanted = [word for word in words if not word.startswith("-") and not word.endswith(".txt")]
    for word in wanted:
        package, _, version = word.partition("==")
        if (version and PINNED.get(package, version) != version) or not (version or package in PINNED):
            wrong.append(f"{word}: not pinned, or otherwise than in constraints.txt")
    return wrong


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dockerfile_is_pinned_copies_what_is_there_and_ends_without_root(name):
    assert dockerfile_mistakes(read(name)) == []


def test_image_has_a_target_for_each_kind_of_node():
    assert set(re.findall(r"(?m)^FROM base AS (.+)$", read("Dockerfile"))) == {"wheel", "cpu", "gpu"}
    used = {re.search(r"-([cg]pu)$", v)[1] for n in YAML for _, v in walk(documents(read(n))) if is_ours(v)}
    assert used == {"cpu", "gpu"}


def is_ours(value):
    return isinstance(value, str) and re.fullmatch(r"\S+/walslab:\S+", value) is not None


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("python:3.11-slim-trixie", "python:latest"),
        ("python:3.11-slim-trixie", "python"),
        ("COPY tune tune", "COPY tuning tuning"),
        ("COPY tune tune", "COPY docs docs"),
        ("gcsfs==2026.10.1", "gcsfs"),
        ("s3fs boto3", "s3fs==2020.1.0 boto3"),
        ("--constraint constraints.txt hatchling", "hatchling"),
        ("--from=wheel", "--from=whee"),
        ('USER 1000:1000\nCMD ["walslab", "--help"]\n\n', "\n"),
        ("USER 1000:1000", "USER root"),
    ],
)
def test_broken_dockerfile_is_refused(right, wrong):
    text = read("Dockerfile")
    assert right in text
    assert dockerfile_mistakes(text.replace(right, wrong, 1)) != []


def test_image_installs_what_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = re.findall(r'python -c "(.+?)" > (\w+)\.txt', read("Dockerfile"))
    assert [name for _, name in lines] == ["cluster", "gpu"]
    for code, extra in lines:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        first = project["dependencies"] if extra == "cluster" else []
        assert done.stdout.splitlines() == first + project["optional-dependencies"][extra]
