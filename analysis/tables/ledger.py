"""The tables of what a run has used: time by stage, and the budget ledger."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.runs.ledger import StudyCosts
from analysis.runs.summary import Summary
from harness.pages.contents import NOT_AVAILABLE, PageTable, count, number


def cost(summary: Summary) -> PageTable:
    """The budget of each study, with a total for each method where there are several datasets."""
    by_dataset: dict[str, list[StudyCosts]] = {}
    for spent in summary.ledger:
        by_dataset.setdefault(spent.dataset or "Backbones trained first", []).append(spent)
    medians = {(study.dataset, study.method): study.train_seconds for study in summary.studies}
    groups = [
        (dataset, tuple(_cost_row(spent, medians.get((dataset, spent.method or ""))) for spent in entries))
        for dataset, entries in by_dataset.items()
    ]
    datasets = {spent.dataset for spent in summary.ledger if spent.dataset is not None}
    if len(datasets) > 1:
        methods = dict.fromkeys(spent.method for spent in summary.ledger if spent.method is not None)
        groups.append(("All datasets", tuple(_cost_row(_total(summary.ledger, method), None) for method in methods)))
    return PageTable(
        name="cost",
        caption="Time of each study: all work, that which failed, died or was repeated included.",
        head=(
            "Method",
            "Search slots",
            "Trials",
            "Attempts",
            "Without result",
            "Epochs",
            "Median s a trial",
            "Search s",
            "Confirm s",
            "Other s",
            "Total s",
        ),
        align="lrrrrrrrrrr",
        groups=tuple(groups),
        note="Seconds: device-seconds, the time that workers held a trial, from the claim to the last sign "
        "of life, each in full where several share a device. Median: training time of trials that are done. "
        "Without result: attempts that died or still run. Other: confirm trials outside the comparison, "
        "and backbones that were trained first.",
    )


def ledger(summary: Summary) -> PageTable:
    """What each study had of the budget, and what of it was lost."""

    warm = any(spent.known_before for spent in summary.ledger)

    def row(spent: StudyCosts, label: str | None = None) -> tuple[str, ...]:
        return (
            label or spent.method or "all",
            f"{spent.slots} of {spent.slots_declared}" if spent.method is not None else NOT_AVAILABLE,
            *([count(spent.known_before)] if warm else []),
            *map(count, (spent.trials, spent.failed, spent.pruned, spent.steps, spent.attempts)),
            *map(count, (spent.interrupted, spent.died)),
            number(sum(spent.seconds.values()), 1),
            number(spent.lost_seconds, 1),
        )

    by_dataset: dict[str, list[tuple[str, ...]]] = {}
    for spent in summary.ledger:
        by_dataset.setdefault(spent.dataset or "Backbones trained first", []).append(row(spent))
    for name, spent in summary.set_aside.items():
        number_aside = name.rpartition(".")[2]
        by_dataset.setdefault(spent.dataset or "", []).append(row(spent, f"{spent.method}, set aside {number_aside}"))
    return PageTable(
        name="ledger",
        caption="The budget ledger: what each method was given on each dataset, and what became of it.",
        head=(
            "Method",
            "Slots",
            *(["Known before"] if warm else []),
            "Trials",
            "Failed",
            "Pruned",
            "Steps",
            "Attempts",
            "Interrupted",
            "Died",
            "Device s",
            "Lost s",
        ),
        align="l" + "r" * (11 if warm else 10),
        groups=tuple((dataset, tuple(rows)) for dataset, rows in by_dataset.items()),
        note="Failed, pruned, killed and repeated work counts in full. Interrupted: attempts that were told to stop "
        "and wrote a checkpoint; died: killed, preempted without notice, or crashed. Device s: the time that "
        "workers held a trial, from the claim to the last sign of life; lost: what dead attempts worked after their "
        "last checkpoints, told from the times of leases and checkpoints. Steps: of finished trials, each one once. "
        "Set aside: the trainings of an earlier version of the study, which no score counts."
        + (" Known before: slots of an earlier run that the search began from, counted nowhere else." if warm else ""),
    )


def _cost_row(spent: StudyCosts, median: float | None) -> tuple[str, ...]:
    seconds = spent.seconds
    return (
        spent.method or "all",
        f"{spent.slots} of {spent.slots_declared}" if spent.method is not None else NOT_AVAILABLE,
        count(spent.trials),
        count(spent.attempts),
        count(spent.attempts_without_result),
        count(spent.epochs),
        number(median, 1),
        number(seconds.get("search", 0.0) + seconds.get("again", 0.0), 1),
        number(seconds.get("confirm", 0.0), 1),
        number(seconds.get("other", 0.0) + seconds.get("source", 0.0), 1),
        number(sum(seconds.values()), 1),
    )


def _total(ledger: Iterable[StudyCosts], method: str) -> StudyCosts:
    own = [spent for spent in ledger if spent.method == method]
    stages = sorted({stage for spent in own for stage in spent.seconds})
    return StudyCosts(
        dataset=None,
        method=method,
        slots_declared=sum(spent.slots_declared for spent in own),
        known_before=sum(spent.known_before for spent in own),
        slots=sum(spent.slots for spent in own),
        trials=sum(spent.trials for spent in own),
        attempts=sum(spent.attempts for spent in own),
        attempts_without_result=sum(spent.attempts_without_result for spent in own),
        failed=sum(spent.failed for spent in own),
        pruned=sum(spent.pruned for spent in own),
        steps=sum(spent.steps for spent in own),
        interrupted=sum(spent.interrupted for spent in own),
        died=sum(spent.died for spent in own),
        lost_seconds=sum(spent.lost_seconds for spent in own),
        epochs=sum(spent.epochs for spent in own),
        seconds={stage: sum(spent.seconds.get(stage, 0.0) for spent in own) for stage in stages},
    )
