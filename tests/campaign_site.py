"""What makes trials of a round long enough to be hit, and does the harm that comes from within them.

The campaign puts it, as sitecustomize, before any other module of every process of a round.
"""

import faulthandler
import importlib.abc
import importlib.util
import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

# Where the tests run in the background, they and their children ignore it.
if os.environ.get("WALSLAB_TEST_INTERRUPT"):
    signal.signal(signal.SIGINT, signal.default_int_handler)
if os.environ.get("WALSLAB_TEST_STEP"):
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    SECONDS = float(os.environ["WALSLAB_TEST_STEP"])
    FAULT = json.loads(os.environ.get("WALSLAB_TEST_FAULT", "null"))


def first(path, text):
    """Tell whether nobody was here before, or somebody with the same text."""
    try:
        return Path(path).read_text() == text
    except FileNotFoundError:
        part = f"{path}.{os.getpid()}"
        Path(part).write_text(text)
        try:
            os.link(part, path)
        except FileExistsError:
            return first(path, text)
        else:
            return True


def due(trainer):
    if trainer.config.factors != FAULT["factors"] or trainer.iterations != FAULT["iteration"]:
        return False
    if FAULT["times"] is None:
        return True
    if not first(FAULT["marks"], repr(trainer.config)):
        return False
    for time_ in range(FAULT["times"]):
        try:
            os.close(os.open(f"{FAULT['marks']}-{time_}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        return True
    return False


def harm_trainer(module):
    once = module.Trainer.step

    def step(self):
        time.sleep(SECONDS)
        once(self)
        if FAULT and due(self):
            if FAULT["what"] == "raises":
                raise RuntimeError("made to fail")
            if FAULT["what"] == "memory":
                raise MemoryError("Unable to allocate 9.00 GiB")
            if FAULT["what"] == "dies":
                os._exit(1)
            side = self.factors.users
            self.factors = replace(self.factors, users=side._replace(factors=side.factors * float("nan")))

    module.Trainer.step = step


def setting(**values):
    def change(module):
        for name, value in values.items():
            setattr(module, name, value)

    return change


# A round need not wait for a minute.
record = {"_PATIENCE": 25.0}
CHANGES = {"toolkit.solver.trainer": harm_trainer}
if os.environ.get("WALSLAB_TEST_LIVE"):
    # Else no trial would be heard of, or shown, before it ends.
    CHANGES["tune.executors.trial_worker"] = setting(_SEGMENT_SECONDS=0.05)
    record["_LIVE_SECONDS"] = 0.05
CHANGES["tune.record.recorder"] = setting(**record)


class Changes(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        change = CHANGES.pop(name, None)
        if change is None:
            return None
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def execute_and_change(module):
            execute(module)
            change(module)

        spec.loader.exec_module = execute_and_change
        return spec


if os.environ.get("WALSLAB_TEST_STEP"):
    sys.meta_path.insert(0, Changes())
