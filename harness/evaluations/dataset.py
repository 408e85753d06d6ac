"""Another dataset, with a map of its classes to those that the model knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from harness.core.errors import RequestError, suggestion
from harness.core.plugin_options import Options
from harness.evaluation import (
    Evaluation,
    EvaluationFacts,
    EvaluationSet,
    ExternalDataset,
    ExternalFacts,
    Images,
    Opened,
)

NO_PARTNER = "of a class without partner ({})"


class OtherDatasetOptions(Options):
    """Which dataset, and what its classes mean."""

    dataset: str = Field(examples=["ham10000_other_site"])
    """Name of the dataset plugin."""
    classes: dict[str, str] | None = None
    """Its classes → those of the dataset that models are trained on; several may mean one. A class that is not listed
    has no partner, and its cases are left out. By default classes of the same name mean the same."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the dataset plugin."""


class OtherDataset(Evaluation):
    """Another dataset, whose classes are mapped to those that models know; classes without partner are left out."""

    name = "dataset"
    Options = OtherDatasetOptions

    @property
    def datasets(self) -> Sequence[ExternalDataset]:
        """The one that the options name."""
        return (ExternalDataset(self._options.dataset, self._options.options),)

    def check(self, facts: EvaluationFacts) -> None:
        """Refuse a map that names an unknown class, and a dataset of which no class has a partner."""
        external = facts.external[self._options.dataset]
        if facts.multi_label or external.multi_label:
            which = facts.dataset if facts.multi_label else self._options.dataset
            raise RequestError(f"dataset: images of {which} may bear several labels, which cannot be mapped")
        for theirs, ours in (self._options.classes or {}).items():
            if theirs not in external.classes:
                known = suggestion(theirs, external.classes)
                raise RequestError(f"classes: {self._options.dataset} has no class {theirs!r}{known}")
            if ours not in facts.classes:
                known = suggestion(ours, facts.classes)
                raise RequestError(f"classes.{theirs}: {facts.dataset} has no class {ours!r}{known}")
        if not self._partners(external.classes, facts.classes):
            raise RequestError(
                f"classes: no class of {self._options.dataset} ({', '.join(external.classes)}) has the name of one of "
                f"{facts.dataset} ({', '.join(facts.classes)}); map them, for example `classes: {{theirs: ours}}`"
            )

    def images(self, facts: EvaluationFacts) -> int:
        """Those of classes with a partner."""
        external = facts.external[self._options.dataset]
        return int(np.isin(external.labels, [*self._partners(external.classes, facts.classes)]).sum())

    def words(self, facts: EvaluationFacts) -> str:
        """What the classes mean, and which of them are left out."""
        external: ExternalFacts = facts.external[self._options.dataset]
        partners = self._partners(external.classes, facts.classes)
        mapped = ", ".join(f"{external.classes[k]} → {facts.classes[v]}" for k, v in partners.items())
        counts = np.bincount(external.labels, minlength=len(external.classes))
        left = [f"{name} ({counts[k]})" for k, name in enumerate(external.classes) if k not in partners]
        return f"{mapped}" + (f"; left out, without partner: {', '.join(left)}" if left else "")

    def sets(self, opened: Opened) -> Iterator[EvaluationSet]:
        """One set, of all cases whose class has a partner."""
        name = self._options.dataset
        cases = opened.external[name]
        partners = self._partners(cases.classes, opened.test.classes)
        rows = np.flatnonzero(np.isin(cases.labels, [*partners]))
        meaning = np.zeros(len(cases.classes), dtype=np.int64)
        meaning[[*partners]] = [*partners.values()]
        left = dict(opened.left_out[name])
        for label, theirs in enumerate(cases.classes):
            count = int((cases.labels == label).sum())
            if label not in partners and count:
                left[NO_PARTNER.format(theirs)] = count

        def batches(size: int) -> Iterator[Images]:
            for start in range(0, len(rows), size):
                some = rows[start : start + size]
                yield np.concatenate([cases.pixels(row, row + 1) for row in some.tolist()])

        yield EvaluationSet(
            name=opened.name,
            severity=0,
            reference=opened.reference,
            case_ids=[cases.case_ids[row] for row in rows],
            groups=[cases.groups[row] for row in rows],
            labels=meaning[cases.labels[rows]],
            batches=batches,
            left_out=left,
        )

    def _partners(self, theirs: Sequence[str], ours: Sequence[str]) -> Mapping[int, int]:
        """Label there → label here."""
        given = self._options.classes
        named = given if given is not None else {name: name for name in theirs if name in ours}
        return {theirs.index(name): ours.index(meant) for name, meant in named.items()}

    @property
    def _options(self) -> OtherDatasetOptions:
        assert isinstance(self.options, OtherDatasetOptions)
        return self.options
