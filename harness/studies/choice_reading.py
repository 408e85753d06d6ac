"""What the files of a study say of its choice: what it still waits for, and whether it is by the present rule."""

from __future__ import annotations

from collections.abc import Mapping

from harness.run.directory import StudyFolder, TrialFolder
from harness.run.records import ChoiceRecord, StudyRecord


def reevaluations(
    folder: StudyFolder, description: StudyRecord, metric: str, scored: Mapping[int, float], searched: bool
) -> list[TrialFolder]:
    """The trials that train the best slots once more; before the search is complete, any as many.

    Args:
        folder: of the study.
        description: what ``study.json`` says.
        metric: the validation metric.
        scored: slot → its score, as the metric is read.
        searched: whether the search is complete.
    """
    # Runs from before there were any do not tell.
    told = description.get("reevaluation")
    if told is None or (seed := told["seed"]) is None:
        return []
    best = list(range(int(told["slots"])))
    if searched and best:
        from harness.metrics.table import METRICS

        sign = -1 if METRICS[metric] else 1
        best = sorted(scored, key=lambda slot: (sign * scored[slot], slot))[: len(best)]
    return [folder.reevaluation(slot, seed) for slot in best]


def is_present(chosen: ChoiceRecord | None, description: StudyRecord) -> bool:
    """Whether a choice is that of the present search: of as many slots, by the same rule, on as many re-evaluations."""
    if chosen is None or chosen.get("of") != int(description["search_slots"]):
        return False
    if not {"rule", "choose"} <= {*chosen, *description}:
        return True
    wanted = min(int(description["reevaluation"]["slots"]), int(description["search_slots"]))
    return bool(chosen["rule"] == description["choose"] and len(chosen.get("again", ())) <= wanted)
