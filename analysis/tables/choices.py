"""What each rule of choice takes from a search, what it promised, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.runs.study_summary import StudySummary
from analysis.runs.summary import Summary
from harness.pages.contents import NOT_AVAILABLE, PageTable, number
from harness.run.study_records import RuledRecord

RULES = {"best": "best score", "top_k": "best of the top after re-evaluation", "surrogate_mean": "best by a model"}


def choices(summary: Summary) -> PageTable | None:
    """A row for each rule of each study; None where no more than one rule could take anything in any of them."""
    groups = [(name, [row for study in summary.of(name) for row in _rows(study, summary)]) for name in summary.datasets]
    if all(len(_rules(study)) < 2 for study in summary.studies):
        return None
    return PageTable(
        name="choices",
        caption="What each rule takes from the same search, and how much too optimistic it was.",
        head=(
            "Method", "Rule", "Slot", "Promised, validation", "Further seed, validation", "Optimism, further seed",
            "Fresh seeds, validation", "Optimism, fresh seeds", "Fresh seeds, test", "Promised less test",
        ),
        align="llrrrrrrrr",
        groups=tuple((name, tuple(rows)) for name, rows in groups if rows),
        note="The rule with * has chosen; only its configuration was confirmed, so that other rules have fresh seeds "
        "where they take the same slot. Promised: the score of the slot, its mean with the further tuning seed, or "
        "what a model of all scores expects. Further seed: on which the best slots were trained once more; a rule "
        "that has not used it is not favoured by it. Optimism: what was promised less what came of it, with the sign "
        "turned where lower is better, so that positive is too optimistic, by luck of the seed. Promised less test "
        "mixes that with the difference between validation and test images.",
    )  # fmt: skip


def _rules(study: StudySummary) -> dict[str, RuledRecord]:
    # Where replicates have configurations of their own, no rule has one fresh score to be held against.
    return {} if study.chosen is None or len(study.configurations) > 1 else study.chosen.get("rules", {})


def _rows(study: StudySummary, summary: Summary) -> Iterator[tuple[str, ...]]:
    if study.chosen is None:
        return
    chosen, again = study.chosen, study.chosen.get("again", {})
    for rule, found in _rules(study).items():
        slot, promised = found["slot"], found.get("promised")
        if promised is None:
            continue
        further = None if rule == "top_k" else again.get(str(slot))
        same = slot == chosen["slot"]
        fresh = study.confirmed_value if same else None
        tested = study.scores[summary.metric].mean if same else None
        compared = [
            cell for value in (further, fresh, tested) for cell in (number(value), _less(promised, value, summary))
        ]
        used = "*" if rule == chosen.get("rule") else ""
        yield (study.method, f"{RULES.get(rule, rule)}{used}", str(slot), number(promised), *compared)


def _less(promised: float, came: float | None, summary: Summary) -> str:
    if came is None:
        return NOT_AVAILABLE
    return number(summary.measure.sign * (promised - came))
