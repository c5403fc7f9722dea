"""The commands of the README run as they stand, on made-up ratings in the place of MovieLens."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
# These lines install something, need a network, or do not end by themselves.
NOT_RUN = ("pip ", "walslab fetch", "walslab ui")


def shell_blocks():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)


def u_data(path):
    """Write a file like u.data of MovieLens 100K, with ids from 1 on, tabs and times."""
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(300, 3)), rng.normal(size=(200, 3))
    with path.open("w", encoding="utf-8") as file:
        for user in range(300):
            for item in rng.choice(200, 40, replace=False):
                rating = int(np.clip(np.rint(3.5 + users[user] @ items[item] / 2), 1, 5))
                file.write(f"{user + 1}\t{item + 1}\t{rating}\t{890_000_000 + user}\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    here = tmp_path_factory.mktemp("readme")
    (here / "data/ml-100k").mkdir(parents=True)
    u_data(here / "data/ml-100k/u.data")
    return here


@pytest.fixture(scope="module")
def environment():
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "WALSLAB_", "RAY_"))}
    return {**clean, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.integration
@pytest.mark.slow
def test_steps_of_the_readme(folder, environment):
    (steps,) = [block for block in shell_blocks() if "walslab fetch" in block]
    lines = [line for line in steps.splitlines() if line and not line.startswith(NOT_RUN)]
    assert len(lines) >= 5
    for line in lines:
        done = subprocess.run(
            ["sh", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert "for user 196" in done.stdout

    (served,) = [block for block in shell_blocks() if "models serve" in block]
    server, request = served.split("curl", 1)
    process = subprocess.Popen(
        ["sh", "-c", server.replace("mlflow models", "exec mlflow models")],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen("http://127.0.0.1:5001/ping", timeout=5):
                    break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.5)
        done = subprocess.run(["sh", "-c", f"curl {request}"], capture_output=True, text=True, check=True)
        (answer,) = json.loads(done.stdout)["predictions"]
        assert answer["user_is"] == "new"
        assert len(answer["items"]) == 3
    finally:
        process.terminate()
        process.wait(30)
