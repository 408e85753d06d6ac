"""How many confirm trials are scored by each evaluation of a sweep, and what scores the others."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from harness.core.files import TornFileError
from harness.core.many_files import each
from harness.run.directory import RunDirectory
from harness.run.study_folder import StudyName
from harness.run.sweep_records import SUBGROUPS, SweepRecord, domains_in, evaluations_of
from harness.run.trial import TrialFolder
from harness.studies.overview import RunOverview, StudyOverview

IN_DISTRIBUTION = "in_distribution"
"""What every split by domain is evaluated on beside its test side."""


@dataclass(frozen=True, slots=True)
class EvaluationState:
    """How far one evaluation is."""

    name: str
    confirm_trials: int
    """That are to be scored, repetitions not counted."""
    trained: int
    """Of these, those that are done."""
    scored: int
    """Of the trained ones, those with predictions of it."""
    kept: int
    """Of the trained ones, those with a kept model."""
    scorable: int
    """Of the trained ones that are not scored, those with a kept model."""
    command: str | None
    """What scores the kept models; None where it would score none."""

    @property
    def lacking(self) -> int:
        """Trained trials that are not scored."""
        return self.trained - self.scored

    def to_json(self) -> dict[str, object]:
        """As plain data."""
        return {**asdict(self), "lacking": self.lacking}

    @property
    def words(self) -> str:
        """The same in a sentence."""
        kept = {0: "none has", 1: "1 has"}.get(self.kept, f"{self.kept} have")
        said = f"{self.scored} of {self.confirm_trials} confirm trials scored, {kept} a kept model"
        remedies = []
        if self.scorable:
            remedies.append(f"score the {self.scorable} whose model was kept with `{self.command}`")
        if self.lacking > self.scorable:
            lost = self.lacking - self.scorable
            remedies.append(f"{lost} kept no model (confirm.keep) and would have to be trained again")
        if remedies:
            said += f"; {self.lacking} {'lacks' if self.lacking == 1 else 'lack'} it: {'; '.join(remedies)}"
        return f"evaluation {self.name}: {said}"


class _Seen(NamedTuple):
    """What is there of a trained trial."""

    scored: frozenset[str]
    kept: bool


class EvaluationReader:
    """Reads how far the evaluations of a run are, again and again.

    It imports nothing that makes images, so that it cannot tell whether other code or data would make others now;
    ``harness.evaluate`` can.

    Args:
        run: the run directory.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._results: dict[str, tuple[int, frozenset[str]]] = {}

    def read(self, overview: RunOverview) -> tuple[EvaluationState, ...]:
        """Each evaluation that has images to score, in the order of the sweep file.

        Args:
            overview: of the run, read a moment ago.
        """
        spec = self._run.spec()
        asked: dict[str, list[StudyOverview]] = {}
        for part in overview.studies:
            for name in _scored_on(spec, StudyName.of(part.name).dataset):
                asked.setdefault(name, []).append(part)
        trials = {trial.path: trial for parts in asked.values() for part in parts for trial in part.confirmed}
        seen = dict(zip(trials, each(self._look, list(trials.values())), strict=True))
        command = f"python -m harness.evaluate {shlex.quote(str(self._run.path))}"
        command += " --code" if spec.get("plugins") else ""
        return tuple(
            _state(
                name,
                sum(part.replicates for part in parts),
                [seen[trial.path] for part in parts for trial in part.confirmed],
                command,
            )
            for name, parts in asked.items()
        )

    def _look(self, trial: TrialFolder) -> _Seen:
        # Whoever scores a kept model later replaces the result, so that one that was read is not read for good.
        present = trial.evaluation_names()
        return _Seen(self._recorded(trial).intersection(present), trial.trained_path.exists())

    def _recorded(self, trial: TrialFolder) -> frozenset[str]:
        """The evaluations that the result of a trial has records of; none where it cannot be read."""
        try:
            changed, key = trial.result_path.stat().st_mtime_ns, str(trial.path)
            if self._results.get(key, (None,))[0] != changed:
                records = trial.result().get("evaluations", ())
                self._results[key] = changed, frozenset(record["evaluation"] for record in records)
        except (FileNotFoundError, TornFileError):  # the study is set aside now, or says itself that it is damaged
            return frozenset()
        return self._results[key][1]


def _scored_on(spec: SweepRecord, dataset: str) -> list[str]:
    """The evaluations of the models of a dataset that score images."""
    own = [entry["name"] for entry in evaluations_of(spec, dataset) if entry["kind"] != SUBGROUPS]
    return [IN_DISTRIBUTION, *own] if domains_in(spec, dataset)[1] else own


def _state(name: str, wanted: int, trained: Sequence[_Seen], command: str) -> EvaluationState:
    scorable = sum(one.kept and name not in one.scored for one in trained)
    return EvaluationState(
        name=name,
        confirm_trials=wanted,
        trained=len(trained),
        scored=sum(name in one.scored for one in trained),
        kept=sum(one.kept for one in trained),
        scorable=scorable,
        command=command if scorable else None,
    )
