"""The numbers of a run, METHOD@DATASET: which one a command line means, and the trials behind it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from harness.core.errors import RequestError, suggestion
from harness.core.replicates import Replicate
from harness.run.directory import RunDirectory
from harness.run.study_folder import StudyFolder, StudyName
from harness.run.study_records import ReplicateChoice, choice_for, replicates_of
from harness.run.sweep_records import SweepRecord
from harness.run.trial import TrialFolder

CELL_FORM = "METHOD@DATASET, METHOD@DATASET:SEED or FIRST,SECOND@DATASET"


@dataclass(frozen=True, slots=True)
class CellName:
    """What a CELL of the command line means; every name is one of the run."""

    methods: tuple[str, ...]
    """One method, or two whose difference is meant, first minus second."""
    dataset: str
    seed: int | None = None
    """One trial of it; None for all."""

    @property
    def studies(self) -> tuple[str, ...]:
        """``METHOD@DATASET`` of each method."""
        return tuple(str(StudyName(method, self.dataset)) for method in self.methods)


def parse_cell(run: RunDirectory, text: str) -> CellName:
    """A CELL as written on a command line.

    Args:
        run: whose names it uses.
        text: of the form ``CELL_FORM``; labels hold neither ``@`` nor ``,`` nor ``:``.

    Raises:
        RequestError: it has another form, or names what the run does not have.
    """
    before, at, after = text.partition("@")
    dataset, colon, seed = after.partition(":")
    methods = tuple(before.split(","))
    if not at or not all((*methods, dataset)) or len(methods) > 2 or (colon and not seed.isdecimal()):
        raise RequestError(f"CELL {text}: not of the form {CELL_FORM}")
    if len(methods) == 2 and (colon or methods[0] == methods[1]):
        raise RequestError(f"CELL {text}: a difference has two methods and no seed; write FIRST,SECOND@DATASET")
    spec = run.spec()
    for kind, word, known in (
        *(("methods", method, _labels(run, spec, "methods")) for method in methods),
        ("datasets", dataset, _labels(run, spec, "datasets")),
    ):
        if word not in known:
            raise RequestError(f"CELL {text}: {word!r} is none of the {kind} of {run.path}{suggestion(word, known)}")
    begun = {StudyName.of(study.name)[:2] for study in run.studies()}
    for method in methods:
        if (method, dataset) not in begun:
            name = StudyName(method, dataset)
            raise RequestError(f"CELL {text}: {name} has not begun; run the sweep command again")
    return CellName(methods, dataset, int(seed) if colon else None)


def _labels(run: RunDirectory, spec: SweepRecord, kind: Literal["methods", "datasets"]) -> set[str]:
    # Studies that the sweep no longer names are in the run and may be looked into.
    found = (StudyName.of(study.name) for study in run.studies())
    return {*spec[kind], *(cell.method if kind == "methods" else cell.dataset for cell in found)}


@dataclass(frozen=True, slots=True)
class ConfirmTrial:
    """A replicate of a study, and the trial that is to be it."""

    replicate: Replicate
    choice: ReplicateChoice
    """What it is trained with."""
    folder: TrialFolder
    """Perhaps not there yet."""


def searches_by_cell(run: RunDirectory) -> dict[tuple[str, str], list[StudyFolder]]:
    """Method and dataset → their studies, one a search."""
    found: dict[tuple[str, str], list[StudyFolder]] = {}
    for name, study in sorted(((StudyName.of(study.name), study) for study in run.studies()), key=lambda one: one[0]):
        found.setdefault((name.method, name.dataset), []).append(study)
    return found


def confirm_trials(searches: Iterable[StudyFolder]) -> list[ConfirmTrial]:
    """The trials behind a number, one for each replicate, by seed, ascending; none of a search without a choice.

    Args:
        searches: the studies of its method on its dataset.

    Raises:
        TornFileError: a file of a study is not readable.
    """
    found = []
    for study in searches:
        chosen = study.chosen()
        if chosen is None:
            continue
        for one in replicates_of(study.description()):
            own = choice_for(chosen, one.seed)
            found.append(ConfirmTrial(one, own, study.confirm_trial(own["configuration"], one.seed, one.split)))
    return sorted(found, key=lambda trial: trial.replicate.seed)


def without_result(folder: TrialFolder) -> Literal["absent", "unfinished"]:
    """How far a trial is that has no result."""
    return "unfinished" if folder.has_request() or folder.attempts() else "absent"
