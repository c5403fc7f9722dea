"""What manifests and their pages name is there: commands with their options, files, and volumes of a pod."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml
from command_lines import parameters
from manifest_checks import ALL, MANIFESTS, PAGES, RAY_UP, ROOT, YAML, changed, documents, read, walk

import cluster.cli
import toolkit.commands
import tune.commands
from tune.spec import SearchSpec

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
    parameters(words, group)
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


@pytest.mark.slow
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


# Pages


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
    assert page_mistakes("README.md", changed("README.md", right, wrong)) != []


def test_every_file_is_named_by_the_page_of_its_folder():
    for name in set(ALL) - set(PAGES):
        pages = read((Path(name).parent / "README.md").as_posix()) + read("README.md")
        others = "".join(read(other) for other in YAML if Path(other).parent == Path(name).parent)
        assert Path(name).name in pages + others, name


# Pods


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
