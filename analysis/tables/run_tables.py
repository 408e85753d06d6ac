"""The tables of the report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from analysis.runs.spaces import domain_phrase, value_phrase
from analysis.runs.study_summary import SeedScore, StudySummary, optimism, shown_hyperparameters
from analysis.runs.summary import Summary
from analysis.stats.estimate import Estimate
from analysis.stats.scopes import listed
from harness.pages.contents import NOT_AVAILABLE, PageTable, count, number

_MEGABYTE, _GIGA = 1e6, 1e9
SCOPE = (
    "Scope: seeds only. The interval covers retraining on this data, scored on this test set; "
    "it says nothing about new cases."
)


def scores(summary: Summary) -> PageTable:
    """Primary metric: mean, standard deviation, interval, seeds and parameters of each study."""
    # An interval over seeds takes replicates for independent, and splits overlap.
    several = list(dict.fromkeys(study.dataset for study in summary.studies if study.splits > 1))
    said = SCOPE
    if several:
        said += (
            f" On {', '.join(several)} there is none: replicates have different splits, which overlap; the main table "
            "has intervals that allow for that."
        )

    def row(study: StudySummary) -> tuple[str, ...]:
        score = study.scores[summary.metric]
        return (
            study.method,
            number(score.mean),
            number(score.sd),
            NOT_AVAILABLE if study.dataset in several else _span(score.over_seeds),
            f"{len(study.seeds)} of {study.confirm.declared}",
            _counts(study.trainable),
            _counts(study.head),
        )

    return PageTable(
        name="scores",
        caption=f"{summary.measure.label} on the test split, over the confirm seeds.",
        head=("Method", "Mean", "SD", "95 % t interval", "Seeds", "Trained parameters", "Head"),
        align="lrrrrrr",
        groups=_by_dataset(summary, row, [NOT_AVAILABLE] * 6),
        note=f"{said} SD: sample standard deviation over seeds. Trained parameters do not count the head, "
        "which every method trains. Rows are in the order of the sweep file.",
    )


def other_metrics(summary: Summary) -> PageTable:
    """Every metric: mean and standard deviation."""

    def row(study: StudySummary) -> tuple[str, ...]:
        return (study.method, *(_mean_sd(study.scores[name]) for name in summary.metrics))

    lower = listed([facts.label for facts in summary.metrics.values() if not facts.higher_is_better])

    return PageTable(
        name="metrics",
        caption="All metrics on the test split: mean (SD) over the confirm seeds.",
        head=("Method", *(facts.label for facts in summary.metrics.values())),
        align="l" + "r" * len(summary.metrics),
        groups=_by_dataset(summary, row, [NOT_AVAILABLE] * len(summary.metrics)),
        note=f"Scope: seeds only. {lower}: lower is better. {NOT_AVAILABLE}: not confirmed yet, or undefined in at "
        "least one seed.",
    )


def search(summary: Summary) -> PageTable:
    """What the search found and what became of it on fresh seeds."""

    def row(study: StudySummary) -> tuple[str, ...]:
        chosen = study.chosen
        return (
            study.method,
            NOT_AVAILABLE if chosen is None else str(chosen["slot"]),
            number(study.default_value),
            number(None if chosen is None else chosen["value"]),
            number(None if chosen is None else chosen.get("expected")),
            number(study.confirmed_value),
            number(study.scores[summary.metric].mean),
            number(optimism(study, summary.measure)),
        )

    return PageTable(
        name="search",
        caption=f"The search by {summary.measure.label}: default and chosen configuration.",
        head=(
            "Method",
            "Chosen slot",
            "Default, validation",
            "Chosen, validation",
            "Expected",
            "Fresh seeds, validation",
            "Fresh seeds, test",
            "Optimism",
        ),
        align="lrrrrrrr",
        groups=_by_dataset(summary, row, [NOT_AVAILABLE] * 7),
        note="The default configuration is slot 0. Expected: by a model of all scores, or as the mean "
        "with a further tuning seed, where that has chosen. "
        "Optimism: the chosen configuration's validation score in the search, or what was expected of it, "
        "less its mean validation score on fresh seeds, with the sign turned where lower is better: "
        "positive means that the search promised more than a retraining gives.",
    )


def hyperparameters(summary: Summary) -> PageTable:
    """Each method's search space, its default and what was chosen on each dataset."""
    rows: dict[tuple[str, str, str, str], dict[str, str]] = {}
    for study in summary.studies:
        chosen = shown_hyperparameters(study)
        for name, parameter in study.space.items():
            key = (study.method, name, domain_phrase(parameter), value_phrase(parameter["default"]))
            rows.setdefault(key, {})[study.dataset] = chosen.get(name, NOT_AVAILABLE)
    groups = tuple(
        (
            method,
            tuple(
                (*key[1:], *(values.get(dataset, NOT_AVAILABLE) for dataset in summary.datasets))
                for key, values in sorted(rows.items())
                if key[0] == method
            ),
        )
        for method in dict.fromkeys(key[0] for key in rows)
    )
    return PageTable(
        name="hyperparameters",
        caption="Search spaces, defaults and chosen values.",
        head=("Hyperparameter", "Searched", "Default", *(f"Chosen, {name}" for name in summary.datasets)),
        align="llr" + "r" * len(summary.datasets),
        groups=groups,
    )


def networks(summary: Summary) -> PageTable:
    """What the confirmed networks of each study cost, whatever its budget was."""

    def row(study: StudySummary) -> tuple[str, ...]:
        figures = study.cost.figures
        before = figures["multiply_adds_before"]
        return (
            study.method,
            _counts(figures["own"]),
            _counts(figures["norm"]),
            _counts(study.head),
            _each(figures["percent"], 1, 3),
            _each(figures["storage_bytes"], _MEGABYTE, 2),
            _each(figures["optimizer_bytes"], _MEGABYTE, 2),
            _each(before, _GIGA, 3),
            _each(figures["multiply_adds"], _GIGA, 3),
            number(None if study.cost.peak_bytes is None else study.cost.peak_bytes / _MEGABYTE, 0),
            number(study.cost.step_seconds, 4),
            number(summary.relative_step(study), 2),
        )

    return PageTable(
        name="networks",
        caption="What the adapted networks cost.",
        head=(
            "Method",
            "Own",
            "Norms",
            "Head",
            "% of backbone",
            "Storage, MB",
            "Optimiser, MB",
            "GMACs before",
            "GMACs",
            "Peak, MB",
            "s a step",
            "× full fine-tuning",
        ),
        align="l" + "r" * 11,
        groups=_by_dataset(summary, row, [NOT_AVAILABLE] * 11),
        note="Trained parameters: own (added, or pretrained weights that train), scales and shifts of norms, head; "
        "the percentage is of own and norms. Storage: what a task needs beside the pretrained file, head included. "
        "Optimiser: its state. GMACs: 10⁹ multiply-adds of one image through the convolutions "
        "and linear layers of the unchanged and of the adapted backbone, not merged; norms, activations and the head "
        "are not counted. Peak: of the accelerator's memory. "
        "Seconds a step: training time by steps, validation included; it is compared with full fine-tuning's where "
        "both ran on one kind of device with as many threads. MB: 10⁶ bytes.",
    )


def progress(summary: Summary) -> PageTable:
    """How far each study is, and its failures by cause."""

    def row(study: StudySummary) -> tuple[str, ...]:
        return (
            study.method,
            study.state,
            *(
                text
                for stage in (study.search, study.confirm)
                for text in (f"{stage.done} of {stage.declared}", _causes(stage.causes))
            ),
            "; ".join(study.missing) or "nothing",
        )

    absent = ("not begun", NOT_AVAILABLE, "", NOT_AVAILABLE, "", "everything")
    groups = _by_dataset(summary, row, absent)
    return PageTable(
        name="progress",
        caption="Progress of each study; failures by cause.",
        head=("Method", "State", "Search done", "Search failed", "Confirm done", "Confirm failed", "Missing"),
        align="llrlrll",
        groups=groups,
    )


def failures(summary: Summary) -> PageTable:
    """Every trial that failed for good."""
    return PageTable(
        name="failures",
        caption="Failed trials.",
        head=("Trial", "Cause", "Attempts", "Message"),
        align="llrl",
        groups=(
            (
                "",
                tuple(
                    (row["trial"], row["cause"] or "unknown", count(row["attempts"]), row["message"] or "")
                    for row in summary.failures
                ),
            ),
        ),
    )


def _by_dataset(
    summary: Summary, row: Callable[[StudySummary], tuple[str, ...]], absent: Sequence[str]
) -> tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]:
    """A row for every method on every dataset, in the order of the sweep; ``absent`` follows the name of a method that
    has not begun."""
    groups = []
    for dataset in summary.datasets:
        rows = {study.method: row(study) for study in summary.of(dataset)}
        groups.append((dataset, tuple(rows.get(method) or (method, *absent) for method in summary.methods)))
    return tuple(groups)


def _span(over_seeds: Estimate | None) -> str:
    if over_seeds is None or over_seeds.low is None:
        return NOT_AVAILABLE
    return f"[{number(over_seeds.low)}, {number(over_seeds.high)}]"


def _mean_sd(score: SeedScore) -> str:
    if score.mean is None:
        return NOT_AVAILABLE
    return f"{number(score.mean, 3)} ({number(score.sd, 3)})"


def _counts(values: Iterable[float]) -> str:
    return " / ".join(map(count, values)) or NOT_AVAILABLE


def _each(values: Iterable[float], unit: float, digits: int) -> str:
    return " / ".join(number(value / unit, digits) for value in values) or NOT_AVAILABLE


def _causes(causes: Mapping[str, int]) -> str:
    return ", ".join(f"{cause} {times}" for cause, times in causes.items()) or "none"
