"""Manifests hold no secret and name pinned images; a Dockerfile makes them of what is pinned here."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib

import pytest
import yaml
from manifest_checks import ALL, DOCKERFILES, PINNED, RAY_UP, ROOT, YAML, changed, documents, read, walk

import toolkit

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
    assert secret_mistakes(name, changed(name, right, wrong)) != []


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


# Images


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
    assert image_mistakes(name, changed(name, right, wrong)) != []


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
    assert dockerfile_mistakes(changed("Dockerfile", right, wrong)) != []


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
