"""How the trainings of run directories were made: for the methods section, the data statement and the checklists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from analysis.runs.study_summary import StudySummary
from analysis.runs.summary import Summary
from harness.run.data_records import Card, OverlapsRecord
from harness.run.record_values import Space
from harness.run.records import EnvironmentRecord
from harness.run.sweep_records import AugmentationRecord, SweepRecord

OPTIMIZER = "optimizer"
"""The hyperparameter that names the optimiser where the sweep file names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """What is known of the trainings beside their results."""

    spec: SweepRecord
    """The sweep as resolved; of several runs that of the first."""
    spaces: Mapping[str, Space] = field(default_factory=dict)
    """Method → search space."""
    augmentation: Mapping[str, AugmentationRecord] = field(default_factory=dict)
    """Dataset → largest random changes of its training images, as the sweep file has them in the end; one that is
    absent is not known."""
    heads: frozenset[str] = frozenset()
    """Methods that trained the head alone, on features that were computed once."""
    cards: Mapping[str, Card] = field(default_factory=dict)
    """Dataset → facts about it."""
    overlaps: Sequence[OverlapsRecord] = ()
    """Images that datasets share, or that a backbone sees."""
    environments: Sequence[EnvironmentRecord] = ()
    """Where each run was launched."""
    devices: Sequence[str] = ()
    """The kinds of device that trials ran on."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Stage → device-seconds, work that failed, died, was repeated or was set aside included."""
    trials: int = 0
    """All of them, failed ones too."""
    failed: int = 0

    @property
    def device_hours(self) -> float:
        """Of all stages."""
        return sum(self.seconds.values()) / 3600

    @property
    def optimisers(self) -> dict[str, tuple[str, ...]]:
        """Method → kinds of optimiser that its hyperparameters allow, where the sweep file names none for all."""
        if self.spec["train"].get("optimizer") is not None:
            return {}
        return {method: _kinds(space) for method, space in self.spaces.items() if OPTIMIZER in space}


def conduct_of(summaries: Sequence[Summary]) -> Conduct:
    """How the trainings of at least one run were made; what several runs used is added up."""
    studies = [study for summary in summaries for study in summary.studies]
    spent = [one for summary in summaries for one in (*summary.ledger, *summary.set_aside.values())]
    stages = sorted({stage for one in spent for stage in one.seconds})
    other = {study.method for study in studies if not study.on_features}
    return Conduct(
        spec=summaries[0].spec,
        spaces={study.method: study.space for study in studies},
        augmentation=dict(_augmentations(summaries[0].spec, studies)),
        heads=frozenset({study.method for study in studies} - other),
        cards={label: card for summary in summaries for label, card in summary.cards.items()},
        overlaps=[summary.overlaps for summary in summaries if summary.overlaps is not None],
        environments=[summary.environment for summary in summaries if summary.environment is not None],
        devices=sorted({device for summary in summaries for device in summary.devices}),
        seconds={stage: sum(one.seconds.get(stage, 0.0) for one in spent) for stage in stages},
        trials=sum(one.trials for one in spent),
        failed=sum(one.failed for one in spent),
    )


def _kinds(space: Space) -> tuple[str, ...]:
    own = space[OPTIMIZER]
    return tuple(map(str, own["choices"])) if own["kind"] == "Choice" else (str(own["default"]),)


def _augmentations(spec: SweepRecord, studies: Sequence[StudySummary]) -> Iterator[tuple[str, AugmentationRecord]]:
    changes = spec["train"].get("augment")
    if changes is False:
        return
    for study in studies:
        if study.augmentation is not None:
            changed: AugmentationRecord = {**study.augmentation}
            if isinstance(changes, Mapping):
                changed.update({name: value for name, value in changes.items() if name in changed})  # type: ignore[typeddict-item]
            yield study.dataset, changed
