"""The held-out part of the training domains: what a drop on other domains is measured from."""

from __future__ import annotations

from collections.abc import Iterator

from harness.evaluation import Evaluation, EvaluationFacts, EvaluationSet, Opened


class InDistribution(Evaluation):
    """Held-out cases of the training domains; every split by domain has it, no sweep file names it."""

    name = "in_distribution"

    def images(self, facts: EvaluationFacts) -> int:
        """Each of them once."""
        return facts.in_distribution

    def sets(self, opened: Opened) -> Iterator[EvaluationSet]:
        """One set; nothing where the split is none by domain."""
        held = opened.in_distribution
        if held is not None:
            yield EvaluationSet(self.name, 0, "in_distribution", held.case_ids, held.groups, held.labels, held.batches)
