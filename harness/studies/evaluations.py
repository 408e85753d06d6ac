"""The evaluations of a sweep: checked before anything trains, and given to the confirm trials of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from harness.core.errors import RequestError
from harness.core.identity import canonical_hash
from harness.data.copies import find_copies
from harness.data.decoded import DecodedDataset
from harness.data.metadata import case_table
from harness.data.options import read_options
from harness.data.split import Split, indices
from harness.dataset import Dataset
from harness.evaluation import Evaluation, EvaluationFacts, ExternalDataset, ExternalFacts
from harness.evaluations.in_distribution import InDistribution
from harness.plugins import Catalogue, Plugin
from harness.spec.evaluations import EvaluationSpec
from harness.spec.messages import Place

if TYPE_CHECKING:
    from harness.train.evaluations import ExternalCases, GivenEvaluation

NEAR = "nearly the same picture as a training or validation image"
_MOST_NAMED = 3


@dataclass(frozen=True, eq=False)
class _External:
    data: DecodedDataset
    copies_near: npt.NDArray[np.int64]
    """Shape (pairs, 2): a row of the dataset that is trained on, and one of this."""


@dataclass(frozen=True, eq=False)
class PlannedEvaluation:
    """An evaluation of the models of one dataset."""

    name: str
    evaluation: Evaluation
    fingerprint: str
    facts: EvaluationFacts
    """Of the first split."""
    data: DecodedDataset
    """The dataset that models are trained on."""
    external: Mapping[str, _External] = field(default_factory=dict)

    def given(self, split: Split) -> GivenEvaluation:
        """As a trial on a split is given it: without the copies of what that trial trains on."""
        # What only checks a sweep does without torch.
        from harness.train.evaluations import GivenEvaluation

        external = {name: _cases(one, split, self.data) for name, one in self.external.items()}
        return GivenEvaluation(self.name, self.evaluation, self.fingerprint, external)

    @property
    def external_data(self) -> list[DecodedDataset]:
        """The other datasets that it opens."""
        return [one.data for one in self.external.values()]

    @property
    def images(self) -> int:
        """How many images one model is scored on."""
        return self.evaluation.images(self.facts)

    @property
    def words(self) -> str:
        """What a user should know of it before anything trains; empty for nothing."""
        words = self.evaluation.words(self.facts)
        return f"{self.facts.dataset}: {self.name}: {words}" if words else ""


def read_evaluation(spec: EvaluationSpec, catalogue: Catalogue, place: Place) -> tuple[Plugin[Evaluation], Evaluation]:
    """The plugin of an entry, and the evaluation with its options.

    Args:
        spec: the entry.
        catalogue: the plugins found.
        place: says where a key of the entry was written.

    Raises:
        RequestError: there is no such plugin, or it takes no such options.
    """
    plugin = catalogue.find(Evaluation, spec.kind, place())
    return plugin, plugin.cls(read_options(plugin.cls, spec.options, place))


def external_datasets(
    entries: Sequence[EvaluationSpec], catalogue: Catalogue
) -> Iterator[tuple[str, ExternalDataset, Place]]:
    """Every dataset that evaluations need: what the evaluation is called, the dataset, and where it was written.

    Raises:
        RequestError: as ``read_evaluation``.
    """
    for index, spec in enumerate(entries):
        place = _place(index)
        for one in read_evaluation(spec, catalogue, place)[1].datasets:
            yield spec.name, one, place


class EvaluationPlanner:
    """Makes the evaluations of a sweep ready, dataset by dataset.

    Args:
        entries: of the sweep file.
        catalogue: the plugins found.
        prepared: decodes a dataset by the name of its plugin and its options; its third argument says where they are
            written.
        cache: folder of the decoded datasets.
        progress: as ``harness.studies.planner.Planner`` has it.
    """

    def __init__(
        self,
        entries: list[EvaluationSpec],
        catalogue: Catalogue,
        prepared: Callable[[str, Mapping[str, object], Place], DecodedDataset],
        cache: Path,
        progress: Callable[[str, int, int], None] | None,
    ) -> None:
        self._prepared, self._cache, self._progress = prepared, cache, progress
        self._entries = []
        for index, spec in enumerate(entries):
            place = _place(index)
            self._entries.append((spec, place, *read_evaluation(spec, catalogue, place)))

    def of(
        self, label: str, dataset: Dataset, data: DecodedDataset, splits: Sequence[Split]
    ) -> tuple[PlannedEvaluation, ...]:
        """The evaluations of the models of a dataset.

        Args:
            label: of the dataset.
            dataset: its plugin.
            data: decoded.
            splits: all that its trials are trained on, the first one first.

        Raises:
            RequestError: an evaluation does not fit the dataset, or an external dataset has images that a trial
                trains on.
        """
        first, cases = splits[0], case_table(data)
        found = []
        if first.in_distribution:
            facts = _facts(label, dataset, data, cases, first, {})
            found.append(
                PlannedEvaluation(
                    InDistribution.name, InDistribution(), canonical_hash(InDistribution.name), facts, data
                )
            )
        for spec, place, plugin, evaluation in self._entries:
            if spec.of is not None and label not in spec.of:
                continue
            external = {one.dataset: self._prepared(one.dataset, one.options, place) for one in evaluation.datasets}
            for split in splits:
                with_facts = _facts(label, dataset, data, cases, split, external)
                _check(evaluation, with_facts, place)
            looked = {name: self._looked(name, one, label, data, splits, place) for name, one in external.items()}
            fingerprint = canonical_hash(
                {
                    "kind": plugin.name,
                    "code": plugin.code,
                    "options": evaluation.options.model_dump(mode="json"),
                    "external": {name: one.fingerprint for name, one in external.items()},
                }
            )
            facts = _facts(label, dataset, data, cases, first, external)
            found.append(PlannedEvaluation(spec.name, evaluation, fingerprint, facts, data, looked))
        return tuple(found)

    def _looked(
        self,
        name: str,
        external: DecodedDataset,
        label: str,
        data: DecodedDataset,
        splits: Sequence[Split],
        place: Place,
    ) -> _External:
        """An external dataset, in which no image is identical to one that is trained on."""
        report = self._progress
        copies = find_copies(
            data,
            external,
            self._cache,
            None if report is None else lambda done, total: report(f"{name}: copies of {label}", done, total),
        )
        seen = np.unique(np.concatenate([_seen(split, data) for split in splits]))
        same = copies.identical[np.isin(copies.identical[:, 0], seen)]
        if len(same):
            pairs = [f"{external.case_ids[b]} = {data.case_ids[a]}" for a, b in same[:_MOST_NAMED].tolist()]
            more = f" and {len(same) - _MOST_NAMED} more" if len(same) > _MOST_NAMED else ""
            count = len(np.unique(same[:, 1]))
            raise RequestError(
                f"{place()}: {count} images of {name} are training or validation images of {label} ({', '.join(pairs)}"
                f"{more}); no model may have seen what it is evaluated on: take them out of one of the two"
            )
        return _External(external, copies.near)


def _place(index: int) -> Place:
    return lambda *keys: ".".join(("evaluate", str(index), *map(str, keys)))


def _check(evaluation: Evaluation, facts: EvaluationFacts, place: Place) -> None:
    try:
        evaluation.check(facts)
    except RequestError as error:
        raise RequestError(f"{place()}.{error}") from error


def _facts(
    label: str,
    dataset: Dataset,
    data: DecodedDataset,
    cases: pl.DataFrame,
    split: Split,
    external: Mapping[str, DecodedDataset],
) -> EvaluationFacts:
    return EvaluationFacts(
        dataset=label,
        modality=dataset.modality,
        classes=data.classes,
        multi_label=data.multi_label,
        test=cases[indices(split, data)[2].tolist()],
        in_distribution=len(split.in_distribution),
        absent={column.name: column.absent for column in data.columns if column.absent},
        external={name: ExternalFacts(one.classes, one.multi_label, one.labels) for name, one in external.items()},
    )


def _seen(split: Split, data: DecodedDataset) -> npt.NDArray[np.int64]:
    """Rows of what a training on a split sees."""
    train, val, _ = indices(split, data)
    return np.concatenate([train, val])


def _cases(one: _External, split: Split, data: DecodedDataset) -> ExternalCases:
    from harness.train.evaluations import ExternalCases

    near = one.copies_near[np.isin(one.copies_near[:, 0], _seen(split, data))]
    kept = np.setdiff1d(np.arange(len(one.data.labels), dtype=np.int64), near[:, 1])
    left = len(one.data.labels) - len(kept)
    return ExternalCases(one.data, kept, {NEAR: left} if left else {})


def words(planned: Iterable[PlannedEvaluation]) -> list[str]:
    """What a user should know of evaluations before anything trains, a line each; tasks of one dataset share theirs."""
    return list(dict.fromkeys(one.words for one in planned if one.words))
