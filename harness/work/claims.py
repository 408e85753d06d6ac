"""A trial that a worker may take, what it is asked to run, and one that is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.core.errors import RequestError
from harness.core.lease import Lease
from harness.run.study_records import choice_for
from harness.run.trial import TrialFolder
from harness.run.trial_records import TrialRequest
from harness.space.parameters import Value
from harness.studies.study import Schedule, Study
from harness.train.job import TrialJob, TrialJudge
from harness.work.state import StudyState


@dataclass(frozen=True)
class ClaimedTrial:
    """A claimed trial."""

    folder: TrialFolder
    lease: Lease
    request: TrialRequest
    job: TrialJob
    title: str
    judge: TrialJudge | None = None
    """Decides at the rungs of a search trial; None trains to the end."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the driver of an engine wants a slot to run."""

    hyperparameters: Mapping[str, Value]
    conditioned_on: Sequence[int] = ()
    """Slots whose results the engine knew when it proposed this."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trial of a study that could be claimed now."""

    stage: Literal["search", "confirm"]
    slot: int | None
    seed: int
    folder: TrialFolder
    repeats: TrialFolder | None = None
    """The finished trial whose training it runs once more, if it does."""
    proposal: Proposal | None = None
    """What a driver wants it to run, if one hands it out."""
    split: int | None = None
    """Which of several splits it is trained on (``harness.core.replicates``); None for the study's own."""
    reevaluates: bool = False
    """Whether it trains one of the best slots of a complete search on a further tuning seed."""

    @property
    def begins(self) -> Literal["search", "confirm"]:
        """What of its study begins with it, for the budget: what follows a complete search is part of confirming it."""
        return "confirm" if self.reevaluates else self.stage


def request_of(state: StudyState, candidate: Candidate, threads: int) -> TrialRequest:
    """What a trial is asked to run that nobody has asked before.

    Args:
        state: of its study.
        candidate: the trial.
        threads: of the processor, for the trial.
    """
    if candidate.repeats is not None:
        return {**candidate.repeats.request(), "repeat": True}
    study, stage, slot, seed = state.study, candidate.stage, candidate.slot, candidate.seed
    conditioned: Sequence[int] = ()
    schedule: Schedule = ()
    if candidate.reevaluates:
        assert slot is not None
        hyperparameters, schedule = state.as_trained(slot)
        conditioned = range(study.slots)
    elif candidate.proposal is not None:
        hyperparameters = dict(candidate.proposal.hyperparameters)
        conditioned = candidate.proposal.conditioned_on
    elif stage == "search":
        assert slot is not None
        hyperparameters = state.ask(slot)
        conditioned = state.engine.conditioning(slot)
    else:
        choice = state.choice()
        assert choice is not None
        chosen = choice_for(choice, seed)
        hyperparameters, schedule = dict(chosen["hyperparameters"]), chosen.get("schedule", ())
    request: TrialRequest = {
        "stage": stage,
        "study": study.name,
        "slot": slot,
        "seed": seed,
        "hyperparameters": hyperparameters,
        "conditioned_on": list(conditioned),
        "threads": threads,
        "identity": study.trial_identity(stage, hyperparameters, seed, schedule, candidate.split),
    }
    if candidate.split is not None:
        request["split"] = candidate.split
    if schedule:
        request["schedule"] = list(schedule)
    return request


def check_request(study: Study, folder: TrialFolder, request: TrialRequest) -> None:
    """Raise RequestError where a trial was once asked for with other code, data or settings than its study has now."""
    if not study.asks_for(folder.stage, request):
        raise RequestError(
            f"{folder.request_path}: it asks for other code, data or settings than its study has now; "
            "run `python -m harness.doctor RUN --fix`, which sets it aside"
        )
