"""A study's folder: what it is, what its search chose, and the folders of its trials."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, get_args

from harness.core.files import inside, update_json
from harness.core.replicates import Replicate
from harness.run import study_records
from harness.run.record_values import Stage
from harness.run.trial import TrialFolder

AGAIN = "-again"
"""End of the name of a confirm trial's repetition; all before it is the name of the trial that it repeats."""


_CONFIRMED = re.compile(r"(.+)-s(\d{1,16})(?:-k(\d{1,16}))?", re.ASCII)


Part: TypeAlias = Literal["search", "again", "confirm"]


_STAGES: dict[Part, Stage] = {"search": "search", "again": "search", "confirm": "confirm"}
"""The folders of a study that hold trials, in the order in which these run, with the stage of each."""


class Place(NamedTuple):
    """Which trial of a study it is, by the names that lead to its folder; nothing is looked up."""

    part: Part
    name: str

    @classmethod
    def search(cls, slot: int, seed: int) -> Place:
        """A search trial."""
        return cls("search", f"{slot:04d}-s{seed}")

    @property
    def slot(self) -> int | None:
        """The slot of a search trial; None of any other."""
        number, mark, _ = self.name.partition("-s")
        return int(number) if self.part == "search" and mark and number.isdecimal() else None

    @classmethod
    def again(cls, slot: int, seed: int) -> Place:
        """A trial of one of the best slots on a further tuning seed."""
        return cls("again", f"{slot:04d}-s{seed}")

    @classmethod
    def confirm(cls, configuration: str, replicate: Replicate) -> Place:
        """A confirm trial; ``configuration`` is the hash of its hyperparameters."""
        split = "" if replicate.split is None else f"-k{replicate.split}"
        return cls("confirm", f"{configuration}-s{replicate.seed}{split}")

    @classmethod
    def repeat(cls, configuration: str, replicate: Replicate) -> Place:
        """The repetition of a confirm trial: the same training once more, from scratch."""
        return cls("confirm", cls.confirm(configuration, replicate).name + AGAIN)


class StudyName(NamedTuple):
    """A method on a dataset, by their labels, and which of its searches.

    As text ``METHOD@DATASET``, or ``METHOD@DATASET+1`` for the second of several searches.
    """

    method: str
    dataset: str
    search: int = 0

    @classmethod
    def of(cls, study: str) -> StudyName:
        """Of a study by its name; labels hold neither ``@`` nor ``+``."""
        method, _, rest = study.partition("@")
        dataset, _, number = rest.partition("+")
        # A folder may have any name.
        return cls(method, dataset, int(number)) if number.isdecimal() else cls(method, rest)

    def __str__(self) -> str:
        return f"{self.method}@{self.dataset}+{self.search}" if self.search else f"{self.method}@{self.dataset}"


def confirmed(name: str) -> tuple[str, Replicate] | None:
    """The configuration and the replicate of a confirm trial, or of its repetition, by the name of its folder.

    None where it is not the name of one: a folder may have any.
    """
    found = _CONFIRMED.fullmatch(name.removesuffix(AGAIN))
    if found is None:
        return None
    configuration, seed, split = found.groups()
    return configuration, Replicate(int(seed), None if split is None else int(split))


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """The search of one method on one dataset, and its confirmation."""

    path: Path

    @property
    def name(self) -> str:
        """``METHOD@DATASET``, both as labelled in the sweep file."""
        return self.path.name

    @property
    def description_path(self) -> Path:
        """Path of study.json."""
        return self.path / "study.json"

    @property
    def chosen_path(self) -> Path:
        """Path of the configuration that the search chose."""
        return self.path / "chosen.json"

    @property
    def prior_path(self) -> Path:
        """Path of prior.json."""
        return self.path / "prior.json"

    def write_prior(self, prior: study_records.PriorRecord) -> None:
        """Record what an earlier run had found."""
        self.path.mkdir(parents=True, exist_ok=True)
        update_json(self.prior_path, dict(prior))

    def prior(self) -> study_records.PriorRecord | None:
        """What an earlier run had found; None where the search began from nothing.

        Raises:
            TornFileError: the file is not readable.
        """
        return study_records.PRIOR.read(self.prior_path) if self.prior_path.exists() else None

    @property
    def exists(self) -> bool:
        """Whether the study was begun."""
        return self.description_path.exists()

    def describe(self, description: study_records.StudyRecord) -> None:
        """Record what the study is."""
        self.path.mkdir(parents=True, exist_ok=True)
        update_json(self.description_path, dict(description))

    def description(self) -> study_records.StudyRecord:
        """What the study is: label, method, dataset, search space, identity.

        Raises:
            TornFileError: the file is not readable.
        """
        return study_records.STUDY.read(self.description_path)

    def trial(self, place: Place) -> TrialFolder:
        """The folder of a trial, whether it exists or not."""
        return TrialFolder(inside(self.path / place.part, place.name), _STAGES[place.part])

    def place_of(self, path: Path) -> Place | None:
        """Which trial of this study a folder is of; None where it is of none."""
        part = next((part for part in get_args(Part) if part == path.parent.name), None)
        return None if part is None or path.parent.parent != self.path else Place(part, path.name)

    def search_trial(self, slot: int, seed: int) -> TrialFolder:
        """The folder of a search trial, whether it exists or not."""
        return self.trial(Place.search(slot, seed))

    def reevaluation(self, slot: int, seed: int) -> TrialFolder:
        """The folder of a trial that trains one of the best slots on a further tuning seed."""
        return self.trial(Place.again(slot, seed))

    def confirm_trial(self, configuration: str, seed: int, split: int | None = None) -> TrialFolder:
        """The folder of a confirm trial; ``configuration`` is the hash of its hyperparameters."""
        return self.trial(Place.confirm(configuration, Replicate(seed, split)))

    def repeat_trial(self, configuration: str, seed: int, split: int | None = None) -> TrialFolder:
        """The folder of a confirm trial's repetition: the same training once more, from scratch."""
        return self.trial(Place.repeat(configuration, Replicate(seed, split)))

    def trials(self, stage: Literal["search", "confirm"]) -> list[TrialFolder]:
        """Every trial folder of a stage that exists, by name; repetitions are not among them."""
        return [TrialFolder(path, stage) for path in folders_in(self.path / stage) if not path.name.endswith(AGAIN)]

    def repeats(self) -> list[TrialFolder]:
        """Every repetition of a confirm trial that exists, by name; their stage is "confirm"."""
        return [TrialFolder(path, "confirm") for path in folders_in(self.path / "confirm") if path.name.endswith(AGAIN)]

    def reevaluations(self) -> list[TrialFolder]:
        """Every trial of one of the best slots on a further tuning seed that exists; their stage is "search"."""
        return [TrialFolder(path, "search") for path in folders_in(self.path / "again")]

    def listed(self) -> dict[Place, TrialFolder]:
        """Every trial folder that exists: search before re-evaluations before confirm before its repetitions."""
        found: dict[Place, TrialFolder] = {}
        for part, stage in _STAGES.items():
            paths = folders_in(self.path / part)
            if part == "confirm":
                paths.sort(key=lambda path: path.name.endswith(AGAIN))
            found |= {Place(part, path.name): TrialFolder(path, stage) for path in paths}
        return found

    def every_trial(self) -> Iterator[TrialFolder]:
        """The trial folders of ``listed``."""
        yield from self.listed().values()

    def choose(self, choice: study_records.ChoiceRecord) -> None:
        """Record the configuration that the search chose."""
        update_json(self.chosen_path, dict(choice))

    def chosen(self) -> study_records.ChoiceRecord | None:
        """The configuration that the search chose; None while the search goes on.

        Raises:
            TornFileError: the file is not readable.
        """
        return study_records.CHOICE.read(self.chosen_path) if self.chosen_path.exists() else None


def folders_in(parent: Path) -> list[Path]:
    """The folders in a folder, by name; none where there is no such folder."""
    try:
        with os.scandir(parent) as entries:
            return [parent / name for name in sorted(entry.name for entry in entries if entry.is_dir())]
    except (FileNotFoundError, NotADirectoryError):
        return []
