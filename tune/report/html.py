"""Page of the report: one HTML file that makes no request, and that reads without its script."""

from __future__ import annotations

import base64
import hashlib
import shlex
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from toolkit.figure_text import shown
from toolkit.files import mask, size_text
from tune.report import assets, drawing
from tune.report.pictures import Picture, pictures
from tune.report.scales import searched
from tune.report.study_remarks import baselines_of, remarks
from tune.report.summary import Spread, failed, failures, is_number, stops
from tune.report.trial_rows import table
from tune.spec import SearchMetric, SearchSpec
from tune.study import TrialResult, best_first, value

_FACTS = ("dataset", "digest", "tracking_uri", "experiment", "parent_run_id")
_DICTS = ("versions", "environment")
_NAMED = 8  # trials of one reason


def page(
    *,
    name: str,
    facts: Mapping[str, object],
    spec: SearchSpec,
    trials: Sequence[TrialResult],
    drawn: Mapping[str, Picture] | None = None,
) -> str:
    """Return the report of a study as HTML.

    Parameters
    ----------
    name : str
        Name of the study.
    facts : mapping
        Facts of ``study.json``: status, dataset, digest, tracking_uri, experiment, parent_run_id, seconds,
        and the mappings ``baselines``, ``versions`` and ``environment``. The page leaves out those that are
        missing, and masks secrets in addresses.
    spec : SearchSpec
        The resolved specification.
    trials : sequence of TrialResult
        In any order.
    drawn : mapping of str to Picture, optional
        The pictures; drawn here where not given.

    Returns
    -------
    str
        The page. All text from outside is escaped, and the browser runs no script but the page's own.
    """
    import yaml

    ranked = best_first(trials, spec.metric)
    drawn = pictures(spec, ranked, baselines_of(facts)) if drawn is None else drawn
    digest = base64.b64encode(hashlib.sha256(assets.SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    parts = [
        f"<header><h1>{escape(name)}</h1>",
        f'<p class="soft">{escape(_subtitle(facts, spec, ranked))}</p></header>',
        *_overview(facts, spec, ranked),
        '<div class="two">',
        *(_best(facts, spec, ranked[0]) if ranked and is_number(ranked[0], spec.metric) else ()),
        *(_figure(each, picture) for each, picture in drawn.items() if not picture.wide),
        "</div>",
        *(_figure(each, picture) for each, picture in drawn.items() if picture.wide),
        f"<section><h2>All trials</h2>{table(spec, ranked)}</section>",
        *_failures(ranked),
        '<div class="two"><section><h2>Specification</h2>',
        '<button type="button" class="copy" data-of="spec">Copy</button>',
        f'<pre id="spec">{escape(yaml.safe_dump(spec.to_dict(), sort_keys=False, allow_unicode=True))}</pre>',
        f"</section><section><h2>Environment</h2>{_environment(facts, ranked)}</section></div>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)}: walslab study</title><style>{assets.STYLE}</style></head>\n<body><main>\n"
        + "\n".join(parts)
        + f"\n</main><script>{assets.SCRIPT}</script></body></html>\n"
    )


def _subtitle(facts: Mapping[str, object], spec: SearchSpec, trials: Sequence[TrialResult]) -> str:
    status = facts.get("status", "unknown")
    ended = max((trial["ended"] for trial in trials), default=None)
    when = f", last trial ended {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(ended))}" if ended else ""
    return f"Study of {spec.metric.label}, {status}{when}"


def _overview(facts: Mapping[str, object], spec: SearchSpec, trials: Sequence[TrialResult]) -> Iterator[str]:
    spread = Spread.of(trials, spec.metric)
    stopped = stops(trials)
    by = f" ({', '.join(f'{n} by {what}' for what, n in stopped.items())})" if stopped else ""
    numbers = {
        "trials": f"{len(trials)} of {spec.trials}",
        f"stopped early{by}": f"{sum(stopped.values())}",
        "failed": f"{sum(map(failed, trials))}",
    }
    if spread:
        numbers |= {
            f"best {spec.metric.label}": shown(spread.best),
            "median": shown(spread.median),
            "worst": shown(spread.worst),
        }
        if spread.deviation is not None:
            numbers[f"sd of the best {spread.n}"] = shown(spread.deviation)
    if baselines := baselines_of(facts):
        numbers |= {
            "bias-only RMSE": shown(baselines["bias_rmse"]),
            "RMSE of the mean": shown(baselines["mean_rmse"]),
        }
    yield '<section aria-label="Overview">'
    terms = {key.replace("_", " "): facts[key] for key in _FACTS if facts.get(key)}
    if isinstance(counts := facts.get("counts"), Mapping):
        terms["counts"] = ", ".join(f"{_short(n)} {of.replace('_', ' ')}" for of, n in counts.items())
    yield _terms(terms)
    items = "".join(f"<li><b>{escape(number)}</b>{escape(label)}</li>" for label, number in numbers.items())
    yield f'<ul class="big">{items}</ul>'
    for remark in remarks(spec, trials, baselines):
        yield f"<p>{escape(remark)}.</p>"
    yield "</section>"


def _best(facts: Mapping[str, object], spec: SearchSpec, best: TrialResult) -> Iterator[str]:
    metric: SearchMetric = spec.metric
    names = searched(spec.space)
    config = best["config"]
    ordered = {**{name: config[name] for name in names if name in config}, **config}
    flags = [
        word
        for key, each in config.items()
        for word in (f"--{key.replace('_', '-')}", "none" if each is None else str(each))
    ]
    words = ["walslab", "train", str(facts.get("dataset", "DIR")), *flags, "--seed", str(spec.seed)]
    command = " ".join(map(shlex.quote, [*words, "--out", f"models/{best['trial']}"]))
    early = f", stopped early by {best['stopped']}" if best["stopped"] else ""
    yield f"<section><h2>Best: {escape(best['trial'])}, {metric.label} {value(best, metric):.6g}</h2>"
    yield f'<p class="soft">after {best["iterations"]} iterations{escape(early)}, {best["seconds"]:.1f} s</p>'
    yield _terms({key.replace("_", " "): _short(each) for key, each in ordered.items()})
    yield "<p>The same configuration again: "
    yield '<button type="button" class="copy" data-of="train">Copy</button></p>'
    yield f'<pre id="train">{escape(command)}</pre></section>'


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _figure(name: str, picture: Picture) -> str:
    return (
        f'<figure class="card{" wide" if picture.wide else ""}"><h2>{escape(picture.heading)}</h2>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(picture.heading)}">'
        f"{drawing.embedded(picture.document, name, picture.description)}</div>"
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )


def _failures(trials: Sequence[TrialResult]) -> Iterator[str]:
    groups = failures(trials)
    if groups:
        yield '<section><h2>Failures</h2><dl class="counts">'
        for reason, names in groups:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            told = f"{', '.join(names[:_NAMED])}{more}"
            yield f"<dt>{len(names)} ×</dt><dd>{escape(mask(reason))}"
            yield f'<br><span class="soft">{escape(told)}</span>'
            trace = next((trial["trace"] for trial in trials if trial["trial"] == names[0]), None)
            if trace:
                yield f"<details><summary>Traceback of {escape(names[0])}</summary>"
                yield f"<pre>{escape(mask(trace))}</pre></details>"
            yield "</dd>"
        yield "</dl></section>"


def _environment(facts: Mapping[str, object], trials: Sequence[TrialResult]) -> str:
    places = Counter(
        f"{system['backend']} on {system['device']}, host {system['host']}"
        for trial in trials
        if (system := trial["system"])
    )
    peak = max((system["peak_bytes"] for trial in trials if (system := trial["system"])), default=0)
    terms: dict[str, object] = {
        "trials ran": "; ".join(f"{place} ({n})" for place, n in places.most_common()),
        "peak memory of one": size_text(peak) if peak else "",
        "time of the search": f"{facts['seconds']:,.0f} s" if facts.get("seconds") else "",
        "time of training": f"{sum(trial['seconds'] for trial in trials):,.0f} s over all trials",
    }
    for key in _DICTS:
        if isinstance(more := facts.get(key), Mapping):
            terms |= more
    return _terms({key: each for key, each in terms.items() if each not in ("", None)})


def _terms(terms: Mapping[str, object]) -> str:
    rows = (f"<dt>{escape(str(key))}</dt><dd>{escape(mask(str(each)))}</dd>" for key, each in terms.items())
    return f"<dl>{''.join(rows)}</dl>"
