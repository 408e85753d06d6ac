"""``results.json``: every number of the report, for programs.

The document is an object with these members; a number that does not exist is null.

``version``
    1; raised when a member changes its meaning.
``name``, ``metric``, ``complete``
    of the sweep, the primary metric, and whether nothing is missing.
``own_metrics``
    only where plugins define some: a list of objects with ``name``, ``label``, ``phrase``, ``higher_is_better``,
    ``bounds`` (lowest and highest value, null where there is none), ``compared``.
``flags``
    a list of sentences: the reservations printed on top of the report.
``scores``
    a list, one object for each study and metric: ``dataset``, ``method``, ``metric``, ``split`` (always
    ``test``), ``scope`` (always ``seeds``: retraining on this data, scored on this test set), ``values``
    (seed → value), ``n`` (seeds in the mean), ``undefined`` (seeds whose value does not exist; any makes
    the mean null), ``mean``, ``sd`` (divisor n - 1), ``low`` and ``high`` (Student's t interval; null where
    replicates have different splits), ``confidence``.
``studies``
    a list, one object a study: ``dataset``, ``method``, ``plugin``, ``state``, ``missing`` (sentences),
    ``search``, ``again`` (the best slots on a further tuning seed) and ``confirm`` (``declared``, ``done``,
    ``failed``, ``causes``), ``prior`` (what an earlier run had found, where the search began from that: ``run``,
    ``observations``, ``trials``, ``steps``, ``device_seconds``, ``different``), ``chosen`` (``slot``, ``value``,
    ``hyperparameters``, ``configuration``, ``rule``;
    ``rules``: rule → ``slot`` that it takes and ``promised`` score; ``again``: slot → score on that seed),
    ``default_value``, ``confirmed_value``,
    ``searches``, ``splits`` (0: all replicates share one) and ``configurations`` (hashes of those that replicates are
    trained with), ``optimism``, ``trainable`` and ``head`` (lists of the distinct counts seen),
    ``median_train_seconds``,
    ``cost`` (lists of the distinct values seen of ``own``, ``norm``, ``percent``, ``storage_bytes``,
    ``optimizer_bytes``, ``multiply_adds``, ``multiply_adds_before``, as the result of a trial has them; and
    ``peak_bytes``, ``step_seconds``, ``relative_step``), ``space``. Studies that are not begun have
    only ``dataset``, ``method``, ``state`` and ``missing``.
``ledger``
    a list, one object a study and one (``method`` null) for backbones that were trained first:
    ``slots_declared``, ``known_before`` (slots of an earlier run), ``slots``, ``trials``, ``failed``, ``pruned``,
    ``steps``, ``attempts``,
    ``attempts_without_result``, ``interrupted``, ``died``, ``lost_seconds``, ``epochs``, ``seconds``
    (stage → device-seconds), ``confirmed`` (confirm trials with a result).
``set_aside``
    a list, the same for each study that was set aside, with the name of its folder under ``study``.
``failures``
    a list, one object a failed trial: ``trial``, ``dataset``, ``method``, ``stage``, ``cause``,
    ``message``, ``attempts``.
``datasets``, ``spec``, ``environment``
    the cards by label, the sweep as resolved, and where it was launched.
"""

from __future__ import annotations

from dataclasses import asdict

from analysis.runs.study_summary import SeedScore, StudySummary, optimism
from analysis.runs.summary import Summary

VERSION = 2


def results(summary: Summary, flags: list[str]) -> dict[str, object]:
    """The document that this module describes, ready for JSON."""
    absent = [
        {"dataset": dataset, "method": method, "state": "not begun", "missing": ["everything"]}
        for dataset, method in summary.absent
    ]
    return {
        "version": VERSION,
        "name": summary.spec["name"],
        "metric": summary.metric,
        **_defined_by_plugins(summary),
        "complete": summary.complete,
        "flags": flags,
        "scores": [_score(study, score) for study in summary.studies for score in study.scores.values()],
        "studies": [*(_study(study, summary) for study in summary.studies), *absent],
        "ledger": [asdict(spent) for spent in summary.ledger],
        "set_aside": [{"study": name, **asdict(spent)} for name, spent in summary.set_aside.items()],
        "failures": list(summary.failures),
        "datasets": summary.cards,
        "spec": summary.spec,
        "environment": summary.environment or {},
    }


def _defined_by_plugins(summary: Summary) -> dict[str, object]:
    own = [facts.to_json() for facts in summary.metrics.values() if facts.recorded_only]
    return {"own_metrics": own} if own else {}


def _score(study: StudySummary, score: SeedScore) -> dict[str, object]:
    # It takes replicates for independent, and splits overlap; the member ``comparison`` has one that allows for that.
    interval = None if study.splits > 1 else score.over_seeds
    return {
        "dataset": study.dataset,
        "method": study.method,
        "metric": score.metric,
        "split": "test",
        "scope": "seeds",
        "values": {str(seed): value for seed, value in score.values.items()},
        "n": len(score.values) - score.undefined,
        "undefined": score.undefined,
        "mean": score.mean,
        "sd": score.sd,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "confidence": interval.confidence if interval else None,
    }


def _study(study: StudySummary, summary: Summary) -> dict[str, object]:
    return {
        "dataset": study.dataset,
        "method": study.method,
        "plugin": study.plugin,
        "state": study.state,
        "missing": list(study.missing),
        "search": asdict(study.search),
        "again": asdict(study.again),
        "confirm": asdict(study.confirm),
        "searches": study.searches,
        "splits": study.splits,
        "configurations": [one["configuration"] for one in study.configurations],
        "prior": study.prior,
        "chosen": study.chosen,
        "default_value": study.default_value,
        "confirmed_value": study.confirmed_value,
        "optimism": optimism(study, summary.measure),
        "trainable": list(study.trainable),
        "head": list(study.head),
        "median_train_seconds": study.train_seconds,
        "cost": {
            **{name: list(values) for name, values in study.cost.figures.items()},
            "peak_bytes": study.cost.peak_bytes,
            "step_seconds": study.cost.step_seconds,
            "relative_step": summary.relative_step(study),
        },
        "space": study.space,
    }
