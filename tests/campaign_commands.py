"""Two commands on one study: what a second command does to a study that runs, as a kind of fault."""

from __future__ import annotations

import json
import time

from campaign_faults import by_itself
from campaign_round import STEP_SECONDS, TRIALS, LateError

from tune.study import Study

HELD = "is being run by"


def running(round_, ended=None):
    """Start a study whose trials are slower than a command's imports; wait for a random moment.

    With `ended`, wait instead until so many trials have ended.
    """
    round_.environment["WALSLAB_TEST_STEP"] = str(12 * STEP_SECONDS)
    process = round_.tune()
    if ended is None:
        there = round_.wait(process, "during")
    else:
        round_.phase = "during"
        round_.until(process, lambda: round_.ended() >= ended)
        there = process.poll() is None
    if not there:
        raise LateError
    return process


def refused(round_, process, second, allowed=(HELD,)):
    """Expect that the second command is refused, or else that the study was over before it came."""
    code = round_.finish(second)
    if code == 0 and process.poll() == 0:
        raise LateError
    told = round_.told(second)
    round_.expect(code == 1 and any(text in told for text in allowed), f"exit code {code}: {told[-3000:]}")
    round_.expect("Traceback" not in told, told[-3000:])


def second_run(round_):
    """Run `tune` in the same words, or `resume`, while the study runs: it is refused."""
    process = running(round_)
    resumes = round_.rng.random() < 0.5
    second = round_.resume() if resumes else round_.tune()
    refused(round_, process, second)
    round_.fault("resume" if resumes else "tune")
    by_itself(round_, process)


def two_at_once(round_, start, allowed):
    """Start one command twice at the same moment: one of the two runs the study."""
    both = [start(), start()]
    codes = [round_.finish(each) for each in both]
    if codes == [0, 0]:  # one was over before the other began
        raise LateError
    round_.expect(sorted(codes) == [0, 1], f"exit codes are {codes}")
    for each, code in zip(both, codes, strict=True):
        told = round_.told(each)
        round_.expect(code == 0 or any(text in told for text in allowed), told[-3000:])
    round_.fault("at once")
    round_.complete(0 if 0 in codes else 1)


def made_twice(round_):
    """Run `tune` twice in the same words before there is a study."""
    round_.phase = "before"
    two_at_once(round_, round_.tune, (HELD, "there is a study"))


def resumed_twice(round_):
    """Kill a study, and resume it twice at the same moment."""
    round_.environment["WALSLAB_TEST_STEP"] = str(12 * STEP_SECONDS)
    process = round_.tune()
    if not round_.wait(process, "during"):
        raise LateError
    round_.signal_all(9)
    round_.finish(process)
    round_.note_before()
    two_at_once(round_, round_.resume, (HELD,))


def refitted(round_):
    """Refit the study while it runs, at the latest as it ends: both are kept."""
    # Early, or so that a refit of some seconds meets the end of the study.
    process = running(round_, int(round_.rng.choice([1, TRIALS // 2, TRIALS - 1])))
    second = round_.command("refit", "s", executor=False)
    code = round_.finish(second)
    round_.fault("refit")
    round_.expect(code == 0, f"exit code {code}: {round_.told(second)[-3000:]}")
    round_.files |= {"refit.json", "model"}
    by_itself(round_, process)
    printed = json.loads(round_.told(second).splitlines()[-1])
    study = Study.open(round_.study_folder)
    kept = study.facts.get("refit", {}).get("test_rmse")
    round_.expect(kept == printed["test_rmse"], f"the study keeps the refit {kept}, not {printed}")
    metrics = round_.client().get_run(study.facts["parent_run_id"]).data.metrics
    round_.expect(metrics.get("test_rmse") == printed["test_rmse"], f"MLflow has {metrics}")


def looked_at(round_):
    """Print results again and again from before the study is there until it is over."""
    round_.environment["WALSLAB_TEST_STEP"] = str(6 * STEP_SECONDS)
    process, seen = round_.tune(), []
    round_.phase = "during"
    while process.poll() is None:
        if not round_.begun():
            time.sleep(0.002)
            continue
        second = round_.command("results", "s", executor=False)
        code = round_.finish(second)
        round_.expect(code == 0, f"exit code {code}: {round_.told(second)[-3000:]}")
        found = json.loads(round_.told(second).splitlines()[-1])
        seen.append((len(found["trials"]), found["status"]))
        if process.poll() is None:
            round_.expect(found["status"] in {"running", "finished"}, f"results say {found['status']}")
    if not seen:
        raise LateError
    round_.expect([n for n, _ in seen] == sorted(n for n, _ in seen), f"trials went away: {seen}")
    round_.fault(f"{len(seen)} times results")
    by_itself(round_, process)


def pruned(round_):
    """Prune the study while it runs: that is refused, and a look at what would go is not."""
    process = running(round_, 1)
    look = round_.command("prune", "s", "--keep", "1", executor=False)
    second = round_.command("prune", "s", "--keep", "1", "--yes", executor=False)
    code = round_.finish(look)
    round_.expect(code == 0, f"exit code {code}: {round_.told(look)[-3000:]}")
    refused(round_, process, second)
    round_.fault("prune")
    by_itself(round_, process)
