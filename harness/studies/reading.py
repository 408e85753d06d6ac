"""How a run stands, read from its files alone: no plugin, no dataset and no network is loaded.

What was once seen finished is not read again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.core.clock import server_now
from harness.core.files import TornFileError
from harness.core.many_files import each
from harness.run.directory import PlanToken, RunDirectory
from harness.run.index import ResultIndex
from harness.run.study_folder import Place, StudyFolder, StudyName
from harness.run.study_records import ChoiceRecord, StudyRecord
from harness.run.sweep_records import SweepRecord, cap_hours, searches_in
from harness.run.trial import TrialFolder
from harness.run.trial_records import TrialResult
from harness.studies.halt import halt_reason
from harness.studies.overview import RunOverview, StudyOverview
from harness.studies.progress import StudyDesign, StudyProgress
from harness.studies.trials import Tally, Trials


class StudyReader:
    """Reads how one study stands, again and again.

    Args:
        folder: of the study.
        repeat: whether the training of the first confirm seed is run a second time.
        read: results of the study that were read before.
    """

    def __init__(self, folder: StudyFolder, repeat: bool, read: Mapping[Place, TrialResult] | None = None) -> None:
        self.folder, self._repeat = folder, repeat
        self._read = read or {}
        self._place = folder.path.stat().st_ino if read else None
        self._trials = Trials(folder.name)
        self._description: StudyRecord | None = None
        self.listed: dict[Place, TrialFolder] = {}

    def read(self, now: float) -> StudyOverview | None:
        """How the study stands; None while it is being planned or set aside.

        Args:
            now: the clock that leases are stamped with, as ``clock`` reads it.

        Raises:
            TornFileError: the description of the study is not readable.
        """
        try:
            trials = self._known_trials()
            # Listing ten thousand folders takes its time, so what was listed to be read ahead is not listed again.
            description, self._description = self._description or self._listed_anew(), None
        except FileNotFoundError:
            return None
        trials.damaged = []
        design = StudyDesign.recorded(description, self._repeat)
        epochs = int(description["identity"]["train"]["epochs"])
        listed, metric = self.listed, design.metric
        results = {place: trials.result(trial, metric, self._read.get(place)) for place, trial in listed.items()}
        progress = StudyProgress(design, results, cache(lambda: self._chosen(design)))
        counted = [place for place in progress.trials() if place in listed]
        tally = trials.tally(((listed[place], results[place]) for place in counted), epochs, now)
        # Confirm trials of an earlier choice, and slots that were cut off, have cost what they cost.
        inside = set(counted)
        rest = [place for place in listed if place not in inside]
        outside = trials.tally(((listed[place], results[place]) for place in rest), epochs, now)
        slots_begun = sum(
            progress.slot_finished(slot) or any(place in listed for _, place in progress.slot_trials(slot))
            for slot in range(design.slots)
        )
        weights, prior = description["backbone"]["weights"], description.get("prior")
        return StudyOverview(
            name=self.folder.name,
            total=progress.total(),
            done=tally.ended["done"] + tally.ended["pruned"],
            pruned=tally.ended["pruned"],
            interrupted=tally.interrupted,
            metric=metric,
            best=progress.best_score(),
            complete=progress.complete(),
            running=tuple(tally.running),
            failures=tuple(tally.failures),
            seconds=tuple(tally.seconds),
            spans=(*tally.spans, *outside.spans),
            damaged=tuple(dict.fromkeys(trials.damaged)),
            source=weights["source"] if isinstance(weights, Mapping) else None,
            leader=design.leader,
            replicates=len(design.replicates),
            confirmed=tuple(
                listed[place]
                for _, place in progress.confirm_trials()
                if (ended := results.get(place)) is not None and ended.status == "done"
            ),
            ledger=tally.ledger(
                outside,
                design.slots,
                slots_begun,
                0 if prior is None else prior["observations"],
            ),
        )

    def digests(self) -> dict[str, str]:
        """The digest of each result that was read, by the folder of the trial."""
        return self._trials.digests()

    def _known_trials(self) -> Trials:
        """What is known of the study's trials."""
        place = self.folder.path.stat().st_ino
        if place != self._place:
            # Another folder has taken the place of one that was set aside.
            self._place, self._trials, self._read = place, Trials(self.folder.name), {}
        return self._trials

    def ahead(self) -> list[tuple[Trials, TrialFolder, str]]:
        """The trials whose results ``read`` would have to read one by one, with the metric that counts."""
        try:
            known, description = self._known_trials(), self._listed_anew()
        except (FileNotFoundError, TornFileError):  # ``read`` says so
            return []
        self._description = description
        metric = str(description["identity"]["search"]["metric"])
        return [(known, trial, metric) for trial in known.unread(self.listed.values())]

    def _listed_anew(self) -> StudyRecord:
        self.listed = {}
        description = self.folder.description()
        self.listed = self.folder.listed()
        return description

    def _chosen(self, design: StudyDesign) -> ChoiceRecord | None:
        """What is confirmed; a search that has grown, or goes by another rule, chooses anew."""
        try:
            choice = self.folder.chosen()
        except TornFileError as error:
            self._trials.damaged.append(str(error.path))
            return None
        return choice if choice is not None and design.agrees_with(choice) else None


@dataclass(frozen=True, slots=True)
class Seen:
    """What whoever has just read a run need not look at again."""

    listed: Mapping[str, Sequence[TrialFolder]]
    """Trials that have begun, by the name of the study."""
    digests: Mapping[str, str]
    """Of the results that were there, by the folder of the trial (``trial_folder.digest``)."""


class RunReader:
    """Reads how a run stands, again and again.

    Args:
        run: the run directory.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._studies: dict[tuple[str, bool], StudyReader] = {}
        self._sources: dict[str, Trials] = {}
        self._elsewhere: dict[Path, float] = {}
        self._index: ResultIndex | None = None
        self._plan: PlanToken | None = None

    def read(self, now: float) -> RunOverview:
        """How the run stands.

        Args:
            now: the clock that leases are stamped with, as ``clock`` reads it.

        Raises:
            RequestError: no sweep was begun there, or what says what it is cannot be read.
        """
        plan = self._run.plan()
        if plan != self._plan:
            # Trials may have been set aside, after which others take their places.
            self._studies, self._sources, self._elsewhere, self._plan = {}, {}, {}, plan
        spec = self._run.spec()
        repeat = bool(spec["confirm"]["repeat"])
        searches = searches_in(spec)
        wanted = [
            StudyName(label, dataset, search)
            for dataset in spec["datasets"]
            for label in spec["methods"]
            for search in searches
        ]
        names = [str(one) for one in wanted]
        repeats = [repeat and one.search == searches.start for one in wanted]
        readers = [
            self._studies.setdefault((name, again), StudyReader(self._run.study(name), again))
            for name, again in zip(names, repeats, strict=True)
        ]
        self._read_ahead(readers, now)
        studies = [study for study in each(lambda reader: reader.read(now), readers) if study is not None]
        identities = dict.fromkeys(study.source for study in studies if study.source is not None)
        sources = {identity: self._source(identity, spec, now) for identity in identities}
        hopeless = {identity for identity, source in sources.items() if source.failures}
        without_choice = {study.name for study in studies if study.hopeless}
        blocked = tuple(study.name for study in studies if study.source in hopeless or study.leader in without_choice)
        finished = [study.complete or study.name in blocked for study in studies]
        complete = len(studies) == len(names) and all(finished)
        cap = cap_hours(spec)
        ended = self._run.exhausted()
        used_up = cap is not None and ended is not None and ended["cap"] == 3600.0 * cap and not complete
        leftovers = [study for study in self._run.studies() if study.name not in set(names)]
        halted = _halted(studies, {str(one): one.method for one in wanted})
        return RunOverview(
            name=str(spec["name"]),
            studies=tuple(studies),
            sources=tuple(sources.values()),
            blocked=blocked,
            leftovers=tuple(study.name for study in leftovers),
            complete=complete or halted is not None,
            cap=None if cap is None else 3600.0 * cap,
            spent_outside=self._outside(leftovers),
            exhausted=used_up and not any(part.running for part in (*studies, *sources.values())),
            halted=halted,
        )

    def seen(self) -> Seen:
        """What the last ``read`` has seen."""
        digests = {path: digest for reader in self._studies.values() for path, digest in reader.digests().items()}
        return Seen({reader.folder.name: list(reader.listed.values()) for reader in self._studies.values()}, digests)

    def _read_ahead(self, readers: Sequence[StudyReader], now: float) -> None:
        """All studies at once: the trials of one are too few to keep a slow file server busy."""
        if self._index is None:
            self._index = ResultIndex(self._run)
        waiting = [one for found in each(StudyReader.ahead, readers) for one in found]
        contents = self._index.contents([trial for _, trial, _ in waiting], now)
        found = [(*one, content) for one, content in zip(waiting, contents, strict=True) if content is not None]
        # Old results do not say what they cost, so that leases have to be read.
        index = self._index
        each(lambda one: one[0].take(one[1], one[3], one[2], index.digest(one[1], one[3])), found)
        self._index.save()

    def _source(self, identity: str, spec: SweepRecord, now: float) -> StudyOverview:
        folder = self._run.source(identity[:16])
        name = f"backbone {folder.name}"
        if folder.has_request():
            asked = folder.request()
            name = f"backbone {asked['method']} on {asked['dataset']}"
        metric = str(spec["search"]["metric"])
        trials = self._sources.setdefault(identity, Trials(name))
        trials.damaged = []
        result = trials.result(folder, metric)
        tally = trials.tally([(folder, result)], _source_epochs(spec), now)
        return StudyOverview(
            name=name,
            total=1,
            done=int(result is not None and result.failure is None),
            interrupted=tally.interrupted,
            metric=metric,
            best=None if result is None else result.score,
            complete=result is not None,
            running=tuple(tally.running),
            failures=tuple(tally.failures),
            seconds=tuple(tally.seconds),
            spans=tuple(tally.spans),
            damaged=tuple(dict.fromkeys(trials.damaged)),
            ledger=tally.ledger(Tally(), 1, tally.begun),
        )

    def _outside(self, leftovers: Sequence[StudyFolder]) -> float:
        """Device-seconds of trials that no study of the sweep file counts any more."""
        trials = [trial for study in leftovers for trial in study.every_trial()]
        for trial in (*trials, *self._run.trials_set_aside()):
            if trial.path not in self._elsewhere:
                # They change no more, but for one that was running when its study was taken out.
                self._elsewhere[trial.path] = trial.spent().seconds if trial.claimed else 0.0
        return sum(self._elsewhere.values())


def clock(folder: Path) -> float:
    """The clock that files in a folder are stamped with; this machine's own where nothing can be written there."""
    try:
        return server_now(folder)
    except OSError:
        return time.time()


def _halted(studies: Sequence[StudyOverview], labels: Mapping[str, str]) -> str | None:
    """Why it makes no sense to go on with these studies; ``labels`` are those of their methods, by their names."""
    if any(study.done for study in studies):
        return None
    failed: dict[str, list[tuple[str, str]]] = {label: [] for label in labels.values()}
    for study in studies:
        failed[labels[study.name]] += [(failure.cause, failure.message) for failure in study.failures]
    return halt_reason(failed)


def _source_epochs(spec: SweepRecord) -> int | None:
    """Epochs of the backbones that are trained first, as far as they agree."""
    own = spec.get("backbones", {}).values() or [spec["backbone"]]
    backbones = [*own, *(entry["backbone"] for entry in spec["methods"].values() if entry["backbone"])]
    given = [backbone["weights"] for backbone in backbones if isinstance(backbone["weights"], Mapping)]
    epochs = {int(weights["train"].get("epochs", spec["train"]["epochs"])) for weights in given}
    return epochs.pop() if len(epochs) == 1 else None
