"""The run directory: everything that a sweep has produced, and its only state.

    RUN/spec.json                                  the resolved sweep file
    RUN/plan.json                                  the token of the plan that workers may follow now
    RUN/environment.json                           commit, versions, machine; written once
    RUN/declaration.json                           what was declared at the first launch; written once
    RUN/amendments/0001.json                       what a later launch declared instead, and when
    RUN/results.index                              results of finished trials once more, in one file; only saves time
    RUN/news.log                                   what workers tell one another (``harness.run.news``); only saves time
    RUN/exhausted.json                             that the budget was used up, and which
    RUN/environment.patch                          what differs from the commit, in files that git tracks
    RUN/splits/DATASET.json                        case ids of each side
    RUN/splits/DATASET+3.json                      likewise, of the split 3 that a replicate draws
    RUN/cases/DATASET.parquet                      what is known of each case beside its label: site, age, ...
    RUN/cards/DATASET.json, DATASET.png            facts about a dataset and a picture of it, for the report
    RUN/overlaps.json                              images that two datasets share, or a backbone sees, if any
    RUN/studies/METHOD@DATASET/study.json          what the study is, with its identity
    RUN/studies/METHOD@DATASET/prior.json          what an earlier run had found, where the search began from that
    RUN/studies/METHOD@DATASET/search/0003-s0/     a trial: slot 3, seed 0
    RUN/studies/METHOD@DATASET/again/0003-s1/      a trial: slot 3, one of the best, on a further tuning seed
    RUN/studies/METHOD@DATASET/chosen.json         the configuration that the search chose
    RUN/studies/METHOD@DATASET/confirm/HASH-s1000/ a trial: chosen configuration, fresh seed
    RUN/studies/METHOD@DATASET/confirm/HASH-s1001-k3/ likewise, on the split 3
    RUN/studies/METHOD@DATASET/confirm/HASH-s1000-again/ the same training a second time, to see what changes by itself
    RUN/studies/METHOD@DATASET+1/                  the second of several searches of a method on a dataset
    RUN/sources/HASH/                              a backbone that was trained here first
    RUN/code/HASH/                                 the code of a launch, which its workers import
    RUN/code/current                               the name of the last launch's, for Slurm jobs that begin
    RUN/workers/                                   what workers printed
    RUN/notices/                                   an empty file for each thing that the user was told (``notify``)
    RUN/ray/                                       who drives the search engine ``ray``, and what it has running
    RUN/stale/METHOD@DATASET.1/                    a study that was set aside
    RUN/set_aside/                                 damaged files, under the paths that they had, with a number
    RUN/report/                                    what ``analysis`` made of it

These names are known here and in ``harness.run.data_documents``, those of a study's folder in
``harness.run.study_folder`` and ``harness.run.measured_choices``, those inside a trial's folder in
``harness.run.trial_contents``, and nowhere else.
"""

from __future__ import annotations

import glob
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import RequestError
from harness.core.files import encode_json, inside, update, update_json, write_exclusive, write_json
from harness.core.many_files import each
from harness.run import records, sweep_records
from harness.run.data_documents import DataDocuments
from harness.run.study_folder import StudyFolder, StudyName, folders_in
from harness.run.trial import TrialFolder

if TYPE_CHECKING:
    pass

PATCH = "environment.patch"


@dataclass(frozen=True, slots=True)
class PlanToken:
    """What tells one plan of a run from every other one, an earlier one of the same content too."""

    token: str
    changing: bool = False
    """Whether somebody changes the plan at this moment, so that nothing may be claimed."""


class RunDirectory(DataDocuments):
    """Everything that a sweep has produced."""

    def create(self) -> None:
        """Make the folder.

        Raises:
            RequestError: something else stands there, or it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise RequestError(f"{self.path}: not a folder; choose another with --run-dir") from error
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise RequestError(f"{self.path}: cannot be read and written; change its permissions or use --run-dir")
        # A sweep that was killed, or met a full disk, at its beginning may go on.
        if not self.begun() and next(self.path.iterdir(), None) is not None:
            raise RequestError(f"{self.path}: holds other files and no run; choose an empty folder with --run-dir")

    @property
    def spec_path(self) -> Path:
        """Path of the resolved sweep specification."""
        return self.path / "spec.json"

    def begun(self) -> bool:
        """Whether a sweep was begun here, even if it was killed, or lost its specification, since."""
        # The lock is made first of all.
        return self.exists() or (self.path / "studies").exists() or (self.path / "lock").is_dir()

    def exists(self) -> bool:
        """Whether a sweep was begun here."""
        return self.spec_path.exists()

    def require(self) -> None:
        """Raise RequestError unless a sweep was begun here."""
        if not self.exists():
            raise RequestError(f"{self.path}: no run directory (it has no spec.json); give the folder of a sweep")

    def write_spec(self, spec: Mapping[str, object]) -> None:
        """Replace the resolved sweep specification, as its model is dumped."""
        update_json(self.spec_path, dict(spec))

    def spec(self) -> sweep_records.SweepRecord:
        """The resolved sweep specification."""
        self.require()
        return sweep_records.SWEEP.read(self.spec_path)

    def plan(self) -> PlanToken | None:
        """The plan that counts now; None in runs from before plans had a token.

        Raises:
            TornFileError: the file is not readable.
        """
        try:
            return PlanToken(**records.PLAN.read(self.plan_path))
        except FileNotFoundError:
            return None

    def withdraw_plan(self) -> None:
        """Let no worker keep a trial that it claims from now on; the caller holds the run's lock.

        A worker claims first and looks at the plan afterwards; whoever changes the plan withdraws it first and looks
        for claims afterwards. Thus at least one of the two sees the other.
        """
        before = self.plan()
        write_json(self.plan_path, asdict(PlanToken("" if before is None else before.token, changing=True)))

    def restore_plan(self) -> None:
        """Let the plan that was withdrawn count again, because nothing has changed."""
        before = self.plan()
        assert before is not None
        if before.token:
            write_json(self.plan_path, asdict(PlanToken(before.token)))
        else:
            self.plan_path.unlink()

    def publish_plan(self) -> None:
        """Let a new plan count: studies and specification are as workers may follow them."""
        write_json(self.plan_path, asdict(PlanToken(secrets.token_hex(16))))

    @property
    def plan_path(self) -> Path:
        """Path of the token of the plan that counts now."""
        return self.path / "plan.json"

    def write_environment(self, environment: Mapping[str, object], patch: bytes | None = None) -> None:
        """Record the environment of the first launch, and what its code differs in from the commit."""
        first = write_exclusive(self.path / "environment.json", encode_json(dict(environment)))
        if first and patch is not None:
            update(self.path / PATCH, patch)

    def environment(self) -> records.EnvironmentRecord:
        """The environment of the first launch."""
        return records.ENVIRONMENT.read(self.path / "environment.json")

    def declare(self, declaration: sweep_records.DeclarationRecord) -> None:
        """Lock what is declared; nothing happens where something is."""
        write_exclusive(self.declaration_path, encode_json(dict(declaration)))

    @property
    def declaration_path(self) -> Path:
        """Path of what was declared at the first launch."""
        return self.path / "declaration.json"

    def declaration(self) -> sweep_records.DeclarationRecord | None:
        """What was declared at the first launch; None in runs from before that was recorded."""
        path = self.declaration_path
        return sweep_records.DECLARATION.read(path) if path.exists() else None

    def amend(self, amendment: sweep_records.DeclarationRecord) -> None:
        """Record that a launch declared something else than the one before; the caller holds the run's lock."""
        folder = self.path / "amendments"
        folder.mkdir(exist_ok=True)
        write_exclusive(folder / f"{len(self.amendment_paths()) + 1:04d}.json", encode_json(dict(amendment)))

    def amendments(self) -> list[sweep_records.DeclarationRecord]:
        """Everything that was declared after the first launch, oldest first."""
        return [sweep_records.DECLARATION.read(path) for path in self.amendment_paths()]

    def amendment_paths(self) -> list[Path]:
        """Paths of the amendments, oldest first."""
        return sorted((self.path / "amendments").glob("[0-9][0-9][0-9][0-9].json"))

    @property
    def index_path(self) -> Path:
        """Where results of finished trials are kept together (``harness.run.index``)."""
        return self.path / "results.index"

    @property
    def news_path(self) -> Path:
        """Where workers tell one another what they do (``harness.run.news``)."""
        return self.path / "news.log"

    def first_to_tell(self, notice: str) -> bool:
        """Whether the user was not told of something yet; whoever asks tells it now, and nobody after.

        Args:
            notice: what it is, as a file may be called.
        """
        folder = self.path / "notices"
        folder.mkdir(exist_ok=True)
        return write_exclusive(inside(folder, notice), b"")

    def write_exhausted(self, facts: records.ExhaustedRecord) -> None:
        """Record that the budget is used up (``cap``, ``used``: device-seconds)."""
        update_json(self.path / "exhausted.json", dict(facts))

    def exhausted(self) -> records.ExhaustedRecord | None:
        """The last record of a budget that was used up; None where there is none."""
        path = self.path / "exhausted.json"
        return records.EXHAUSTED.read(path) if path.exists() else None

    def study(self, name: str) -> StudyFolder:
        """The folder of a study, whether it exists or not."""
        return StudyFolder(inside(self.path / "studies", name))

    def search_of(self, method: str, dataset: str, number: int = 0) -> StudyFolder:
        """The folder of a method's search on a dataset, both as labelled in the sweep file.

        Args:
            method: its label.
            dataset: its label.
            number: which of several searches, from 0 on.
        """
        return self.study(str(StudyName(method, dataset, number)))

    def studies(self) -> list[StudyFolder]:
        """Every study that was ever begun here, by name."""
        folders = self.study_folders()
        return [study for study, there in zip(folders, each(lambda study: study.exists, folders), strict=True) if there]

    def study_folders(self) -> list[StudyFolder]:
        """Every folder of a study, those too that lost their description."""
        return [StudyFolder(path) for path in folders_in(self.path / "studies")]

    def source(self, identity: str) -> TrialFolder:
        """The folder of a backbone that is trained here first."""
        return TrialFolder(inside(self.path / "sources", identity), "source")

    def sources(self) -> list[TrialFolder]:
        """Every backbone that was trained here."""
        return [TrialFolder(path, "source") for path in folders_in(self.path / "sources")]

    def trials(
        self, described: bool = True, listed: Mapping[str, Sequence[TrialFolder]] | None = None
    ) -> Iterator[TrialFolder]:
        """Every trial folder: sources, then studies by name, search before confirm before its repetitions.

        Args:
            described: leave out studies that lost their description.
            listed: those of studies that were listed a moment ago, by the study's name.
        """
        yield from self.sources()
        known, studies = listed or {}, self.studies() if described else self.study_folders()
        for trials in each(lambda study: known.get(study.name) or list(study.every_trial()), studies):
            yield from trials

    def studies_set_aside(self) -> list[StudyFolder]:
        """Every study that was set aside, by the name of its folder, which ends with a number."""
        return [StudyFolder(path) for path in folders_in(self.path / "stale")]

    def trials_set_aside(self) -> Iterator[TrialFolder]:
        """Every trial of a study that was set aside."""
        for study in self.studies_set_aside():
            yield from study.every_trial()

    def set_study_aside(self, study: StudyFolder) -> Path:
        """Move a stale study out of the way, losing nothing; returns its new place."""
        folder = self.path / "stale"
        folder.mkdir(exist_ok=True)
        number = sum(1 for _ in folder.glob(f"{study.name}.*")) + 1
        target = folder / f"{study.name}.{number}"
        study.path.rename(target)
        return target

    def set_aside(self, path: Path, copied: bool = False) -> Path:
        """Move, or copy, a file of the run to where it no longer counts, losing nothing; returns its new place."""
        target = self.path / "set_aside" / path.relative_to(self.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        number = sum(1 for _ in target.parent.glob(f"{glob.escape(target.name)}.*")) + 1
        place = target.with_name(f"{target.name}.{number}")
        return Path(shutil.copy2(path, place)) if copied else path.rename(place)

    @property
    def report(self) -> Path:
        """The folder of the report."""
        return self.path / "report"

    @property
    def workers(self) -> Path:
        """The folder of what workers print, and of what they are at; ``worker_log`` makes it."""
        return self.path / "workers"

    def worker_log(self, name: str) -> Path:
        """Where what a worker prints is kept."""
        self.workers.mkdir(exist_ok=True)
        return self.workers / f"{name}.log"

    def code_folder(self) -> Path:
        """The folder of copies of the code, made if it is not there."""
        # The lock shows that the folder is a run's, even if the launch ends here.
        folder = self.lock_folder.with_name("code")
        folder.mkdir(exist_ok=True)
        return folder

    def set_current_code(self, name: str) -> None:
        """Record which copy of the code jobs import that begin from now on."""
        update(self.code_folder() / "current", f"{name}\n".encode())

    def engine_folder(self, study: str = "") -> Path:
        """A folder for what drives an engine: the processes of the run, or the driver of one study."""
        folder = self.path / "ray" / study
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def report_page(self) -> Path:
        """The page of the report."""
        return self.report / "report.html"

    @property
    def report_results(self) -> Path:
        """The numbers of the report, for programs."""
        return self.report / "results.json"

    @property
    def report_state(self) -> Path:
        """The file that says which results the report shows; written when all else of it is."""
        return self.report / "state"

    @property
    def lock_folder(self) -> Path:
        """The folder whose lease serialises changes of the run's specification and of its report."""
        folder = self.path / "lock"
        folder.mkdir(parents=True, exist_ok=True)
        return folder
