"""What a reader must know before believing a number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from analysis.runs.study_summary import StudySummary
from analysis.runs.summary import Summary
from analysis.stats.scopes import listed
from harness.pages.cards import leak_sentences
from harness.pages.overlaps import overlap_warnings

FEW_CASES = 30
"""Test cases of a class below which intervals over cases were seen to undercover."""


def flags(summary: Summary) -> list[str]:
    """One sentence a reservation, general ones first, then by dataset and method."""
    return [
        *_general(summary),
        *(flag for dataset in summary.datasets for flag in _of_dataset(summary, dataset)),
    ]


def told_together(sentences: Iterable[str], datasets: Collection[str]) -> list[str]:
    """Reservations, each once: what is said alike of several datasets names them all."""
    about: dict[str, list[str]] = {}
    for sentence in dict.fromkeys(sentences):
        place, _, text = sentence.partition(": ")
        if text and place in datasets:
            about.setdefault(text, []).append(place)
        else:
            about[sentence] = []
    return [f"{listed(places)}: {text}" if places else text for text, places in about.items()]


def _general(summary: Summary) -> Iterator[str]:
    open_studies = len(summary.absent) + sum(1 for study in summary.studies if study.missing)
    total = len(summary.absent) + len(summary.studies)
    cap = summary.cap_hours
    if open_studies and summary.exhausted and cap is not None:
        hours = float(cap)
        yield f"The budget of {hours:g} device-hours is used up; the run ended before everything was done."
    if open_studies:
        yield f"The run is not finished: {open_studies} of {total} studies miss something (see Progress)."
    if summary.failures:
        yield f"{_trials(len(summary.failures))} failed; every one is listed under Failures."
    if summary.overlaps is not None:
        yield from overlap_warnings(summary.overlaps)
    if summary.outside:
        yield (
            f"{_trials(summary.outside)} confirmed another configuration than the chosen one, or an "
            "undeclared seed; they count in the ledger and not in the comparison."
        )
    if summary.untimed_attempts:
        yield f"{summary.untimed_attempts} attempts have unreadable leases: the ledger lacks their time."
    if summary.environment is not None and summary.environment["dirty"]:
        yield "The code had uncommitted changes when the run was launched."
    if len(summary.devices) > 1:
        yield f"Times come from {len(summary.devices)} kinds of device and are not comparable as they stand."
    for name, spent in summary.set_aside.items():
        yield (
            f"{spent.dataset}: {_trials(spent.trials)} of {spent.method} with other code, data or settings, or all of "
            f"which had failed, were set aside ({name}); {spent.confirmed} of them had test results. The ledger counts "
            "them."
        )
    for dataset, method in summary.removed:
        yield f"{dataset}: the sweep no longer names {method}; its trainings count in the ledger only."


def _of_dataset(summary: Summary, dataset: str) -> Iterator[str]:
    studies = summary.of(dataset)
    confirmed = {study.method: study.seeds for study in studies if study.seeds}
    if len(set(confirmed.values())) > 1:
        usual = Counter(confirmed.values()).most_common(1)[0][0]
        odd = "; ".join(
            f"{method}: {', '.join(map(str, seeds))}" for method, seeds in confirmed.items() if seeds != usual
        )
        yield (
            f"{dataset}: not all methods were confirmed on the same seeds (others on {', '.join(map(str, usual))}; "
            f"{odd}); a pair is compared on the seeds that both have."
        )
    budgets = {study.method: study.search.declared for study in studies}
    if len(set(budgets.values())) > 1:
        sets = "; ".join(f"{method}: {trials}" for method, trials in budgets.items())
        yield f"{dataset}: the methods were given different numbers of search trials ({sets})."
    begun = {spent.method: spent.slots for spent in summary.ledger if spent.dataset == dataset}
    if summary.exhausted and len(set(begun.values())) > 1:
        sets = "; ".join(f"{method}: {slots}" for method, slots in begun.items())
        yield f"{dataset}: the budget ended while the methods had unequal numbers of search slots ({sets})."
    card = summary.cards.get(dataset)
    if card is not None:
        if card.get("leaks", {}).get("any"):
            yield from (f"{dataset}: {sentence}" for sentence in leak_sentences(card))
        counts = zip(card["classes"], card["counts"]["test"], strict=True)
        few = [f"{name} ({count})" for name, count in counts if count < FEW_CASES]
        if few:
            yield f"{dataset}: fewer than {FEW_CASES} test cases of {', '.join(few)}."
    for study in studies:
        for text in _of_study(study, summary.metric):
            yield f"{dataset}, {study.method}: {text}"


def _of_study(study: StudySummary, metric: str) -> Iterator[str]:
    if study.prior is not None:
        run, known, trials = study.prior["run"].rpartition("/")[2], study.prior["observations"], study.prior["trials"]
        yield (
            f"the search began from {known} slots of the run {run} ({_trials(trials)}, {study.prior['steps']:,} "
            "steps), which its own budget does not count."
        )
        if study.prior["different"]:
            yield f"the run {run} differs from this one: {'; '.join(study.prior['different'])}."
    if study.confirm.failed:
        yield f"{study.confirm.failed} of {study.confirm.declared} confirm seeds failed, the means lack them."
    overlap = sorted(set(study.seeds) & set(study.search_seeds))
    if overlap:
        yield f"confirmed on seeds that the search had used ({', '.join(map(str, overlap))})."
    for score in study.scores.values():
        if score.undefined:
            yield f"{score.metric} is undefined in {score.undefined} of {len(score.values)} seeds."
    score = study.scores[metric]
    if score.mean is not None and score.sd is None:
        yield "one seed only: neither a standard deviation nor an interval exists."
    if score.sd == 0:
        yield (
            f"all {len(score.values)} seeds gave the same {metric}: either no training learned anything, or the seed "
            "does not reach it."
        )


def _trials(number: int) -> str:
    return "1 trial" if number == 1 else f"{number} trials"
