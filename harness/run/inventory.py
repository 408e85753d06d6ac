"""All the files of a run directory, for those that look at every one: the doctor and the archive.

Beside ``harness.run.directory`` and ``harness.run.trial`` no other module knows these names.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import RequestError
from harness.core.files import NoPlainFileError
from harness.core.json_form import Form
from harness.core.many_files import each
from harness.run import data_records, records, study_records, sweep_records
from harness.run.directory import RunDirectory
from harness.run.measured_choices import determinism_paths, step_choice_paths
from harness.run.study_folder import StudyName
from harness.run.trial import EVALUATIONS, refuse_link


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON file of the run directory that is not a trial's."""

    path: Path
    form: Form[Any]
    """What it must hold."""
    expected: bool = True
    """Whether it has to be there."""


def documents(run: RunDirectory) -> list[Document]:
    """The JSON files that say what the run and its studies are; those of trials are not among them.

    The description of a study comes after the rest of it, because without one the study is not looked into.
    """
    root = run.path
    found = [
        Document(root / "environment.json", records.ENVIRONMENT),
        Document(run.declaration_path, sweep_records.DECLARATION),
        Document(root / "exhausted.json", records.EXHAUSTED, expected=False),
        Document(run.overlaps_path, data_records.OVERLAPS, expected=False),
        Document(run.spec_path, sweep_records.SWEEP),
        *(Document(path, sweep_records.DECLARATION) for path in run.amendment_paths()),
    ]
    studies = run.study_folders()
    datasets = dict.fromkeys(StudyName.of(study.name).dataset for study in studies)
    for folder, form in (("splits", data_records.SPLIT), ("cards", data_records.CARD)):
        paths = {root / folder / f"{dataset}.json" for dataset in datasets} | set((root / folder).glob("*.json"))
        found += [Document(path, form) for path in sorted(paths)]
    looked = each(lambda study: (bool(study.trials("confirm")), _measured(study.path)), studies)
    for study, (expected, measured) in zip(studies, looked, strict=True):
        found.append(Document(study.prior_path, study_records.PRIOR, expected=False))
        found.append(Document(study.chosen_path, study_records.CHOICE, expected=expected))
        found += measured
        found.append(Document(study.description_path, study_records.STUDY))
    return found


def plan_documents(run: RunDirectory) -> list[Path]:
    """What is planned and declared, as far as it is there: a request that is refused must leave all of it alone."""
    studies = [*run.study_folders(), *run.studies_set_aside()]
    found = [
        run.spec_path,
        run.declaration_path,
        *run.amendment_paths(),
        *(study.description_path for study in studies),
    ]
    return [path for path in found if path.exists()]


def _measured(study: Path) -> list[Document]:
    return [
        *(Document(path, records.STEP_CHOICE) for path in step_choice_paths(study)),
        *(Document(path, records.KERNEL_CHOICE) for path in determinism_paths(study)),
    ]


def card_pictures(run: RunDirectory) -> list[Path]:
    """The pictures of all datasets."""
    return sorted((run.path / "cards").glob("*.png"))


def case_tables(run: RunDirectory) -> list[Path]:
    """The tables of what is known of each case."""
    return sorted((run.path / "cases").glob("*.parquet"))


def folders(run: RunDirectory) -> list[Path]:
    """Every folder in which something is written while the run goes on."""
    names = ("splits", "cases", "cards", "studies", "sources", "workers", "notices", "code", "lock")
    fixed = [run.path / name for name in names]
    studies = [study.path for study in run.study_folders()]
    stages = [path / stage for path in studies for stage in ("search", "again", "confirm")]
    present = [path for path in (*fixed, *studies, *stages) if path.is_dir()]
    trials = [*run.trials(described=False)]
    confirmed = [trial.path / EVALUATIONS for trial in trials if trial.stage == "confirm"]
    return [run.path, *present, *(trial.path for trial in trials), *(path for path in confirmed if path.is_dir())]


def lease_folders(run: RunDirectory) -> list[Path]:
    """Folders beside those of trials whose lease says whose turn it is."""
    return [path for path in (run.path / "lock", run.path / "slurm" / "lock") if path.is_dir()]


def artefact(run: RunDirectory) -> dict[str, Path]:
    """What belongs into an archive of the run, by path inside it, sorted; no checkpoint and no model.

    Raises:
        RequestError: a link, a pipe or a device is among it, or a name that is no text.
    """
    inside = ("amendments", "cards", "cases", "code", "report", "sources", "splits", "stale", "studies")
    found = [run.path / entry.name for entry in os.scandir(run.path) if not entry.is_dir(follow_symlinks=False)]
    for folder in inside:
        refuse_link(run.path / folder)
        for place, folders, names in os.walk(run.path / folder):
            # A copy of the code has links to what lies beside a user's plugins, such as data.
            found += [Path(place, name) for name in names if not (folder == "code" and Path(place, name).is_symlink())]
            for name in folders if folder != "code" else ():
                refuse_link(Path(place, name))
    packed = {path.relative_to(run.path): path for path in found if path.suffix not in (".pt", ".safetensors")}
    for path in (run.index_path, run.news_path):
        packed.pop(path.relative_to(run.path), None)
    hidden = [name for name in packed if any(part.startswith(".") or part == "__pycache__" for part in name.parts)]
    kept = {name.as_posix(): packed[name] for name in sorted(packed.keys() - set(hidden))}
    for name, path in kept.items():
        if not stat.S_ISREG(path.lstat().st_mode):
            raise NoPlainFileError(path)
        if any(0xD800 <= ord(sign) <= 0xDFFF for sign in name):
            raise RequestError(f"{str(path)!r}: its name is no text in UTF-8; rename or remove it")
    return kept
