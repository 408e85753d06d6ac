"""Claiming the next piece of what is left to do in a run directory.

Nobody hands out work: every worker looks at the folders, in the same order, and claims what is free.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from harness.core.errors import RequestError
from harness.core.lease import Lease, given_back
from harness.core.many_files import each
from harness.run.directory import PlanToken, RunDirectory
from harness.run.index import ResultIndex
from harness.run.spent import STOPPED_BY_ERROR
from harness.run.trial import TrialFolder
from harness.run.trial_records import TrialRequest, repeated
from harness.space.conditions import check_configuration
from harness.studies.jobs import job_of, source_job
from harness.studies.study import Source, Study
from harness.work.attempts import deaths_in_a_row, give_up, must_wait, progress_token
from harness.work.budget import Budget
from harness.work.claims import Candidate, ClaimedTrial, Proposal, check_request, request_of
from harness.work.open_work import OpenWork
from harness.work.others import Others
from harness.work.state import StudyState

if TYPE_CHECKING:
    from harness.spec.sections import SweepSpec


class PlanChanged(RequestError):
    """The run is planned anew, or was: what this process knows of its studies may not hold any more."""

    def __init__(self) -> None:
        super().__init__("the run was planned anew while this process ran; run the same command again")


class Scheduler(OpenWork):
    """Claims the next trial of a list of studies, and records what follows from their results.

    Args:
        studies: all of the sweep.
        retries: how often a trial that kills its worker is begun again.
        threads: of the processor, for a trial.
        budget: the cap of the run, if it has one.
        index: of the run's results, which says what was read before; not kept.
        follows: whether the plan that the studies are of is the run's still.
        others: what is known of trials that others have; None where each question looks at all of them.
    """

    def __init__(
        self,
        studies: Sequence[Study],
        retries: int,
        threads: int = 1,
        budget: Budget | None = None,
        index: ResultIndex | None = None,
        follows: Callable[[], bool] = lambda: True,
        others: Others | None = None,
    ) -> None:
        super().__init__(studies, budget, index, others)
        self._retries, self._threads, self._follows, self._others = retries, threads, follows, others

    @classmethod
    def of(
        cls,
        run: RunDirectory,
        spec: SweepSpec,
        studies: Sequence[Study],
        threads: int = 1,
        index: ResultIndex | None = None,
        plan: PlanToken | None = None,
        others: Others | None = None,
    ) -> Scheduler:
        """The scheduler of a run, as its specification has it; reads the index of its results if none is given.

        Args:
            run: the run directory.
            spec: its specification.
            studies: all of the sweep.
            threads: of the processor, for a trial.
            index: of the run's results.
            plan: what ``run.plan`` gave before ``spec`` and ``studies`` were read; nothing is claimed, and nothing
                recorded, under another.
            others: as for the class; of that plan.
        """
        budget, known = Budget.of(run, spec), index or ResultIndex(run)
        return cls(studies, spec.launch.retries, threads, budget, known, lambda: run.plan() == plan, others)

    @contextmanager
    def look(self) -> Iterator[None]:
        """One look of a worker at the run: what it knows of others' trials answers where it can.

        Raises:
            OSError: the file of the news cannot be read.
        """
        if self._others is None:
            yield
            return
        states = {state.study.folder.path: state for state in self.states}
        with self._others.look() as items:
            for trial, item in items:
                state = states.get(trial.parent.parent)
                place = None if state is None else state.study.folder.place_of(trial)
                if state is not None and place is not None:
                    state.learn(place, item)
            yield

    def tell_claimed(self, taken: ClaimedTrial) -> None:
        """Tell other workers of a trial that this process runs now."""
        if self._others is not None:
            self._others.claimed(taken.folder, taken.request["hyperparameters"])

    def tell_ended(self, taken: ClaimedTrial) -> None:
        """Tell other workers of a trial that this process has finished or given back."""
        if self._others is not None:
            self._others.ended(taken.folder)

    def doubtful_in(self) -> float:
        """Seconds until a trial may be free whose worker is probably gone; infinite where none is known."""
        return math.inf if self._others is None else self._others.doubtful_in()

    def claim_next(self, seconds_left: float = math.inf) -> ClaimedTrial | None:
        """Claim a trial; None when everything left is done by others, waits for others, or nothing is left.

        Args:
            seconds_left: how long this worker may still run; none is claimed that could neither end nor be
                interrupted by then.

        Raises:
            PlanChanged: the run is planned anew.
        """
        if seconds_left <= 0 or self.halted() is not None:
            return None
        for source in self._open_sources():
            if not self._affords("source", ""):
                return None
            taken = self._claim_source(source)
            if taken is not None:
                return taken
        for state in self._in_turn():
            if self._ready(state.study) and state.fits(seconds_left):
                for candidate in self._candidates(state):
                    if not self._affords(candidate.begins, state.study.name):
                        break
                    taken = self._claim(state, candidate)
                    if taken is not None:
                        return taken
                # Where all that a new choice asks for is finished or taken, no claim records it.
                self._record_choice(state)
        return None

    def record(self) -> None:
        """Record what follows from the results so far: what each search chose, and that the budget is used up.

        Raises:
            PlanChanged: the run is planned anew.
        """
        each(self._record_choice, self.states)
        if self._budget is not None and self.exhausted() is not None:
            self._check_plan()
            self._budget.note(self.states)

    def claim_slot(self, study: str, slot: int, seed: int, proposal: Proposal) -> ClaimedTrial | None:
        """Claim a search trial for the driver of an engine; None when it is finished, somebody runs it, or the budget
        does not allow it (``exhausted`` tells when that will not change).

        What the slot was once asked to run it runs again: then the recorded configuration counts, not the proposal.

        Args:
            study: name of the study.
            slot: the slot, from 0 on; slot 0 must run the default configuration.
            seed: one of ``search.seeds``.
            proposal: what to run.

        Raises:
            PlanChanged: the run is planned anew.
            ValueError: there is no such study, slot or seed, or the configuration is not of the study's space.
        """
        state = self.state(study)
        if slot not in range(state.study.slots) or seed not in state.study.search.seeds:
            raise ValueError(f"{study}: no search trial of slot {slot} with seed {seed}")
        check_configuration(state.study.space, proposal.hyperparameters)
        if not self._affords("search", study):
            return None
        already = state.asked(slot)
        if already is not None:
            proposal = replace(proposal, hyperparameters=already.hyperparameters)
        folder = state.study.folder.search_trial(slot, seed)
        return self._claim(state, Candidate("search", slot, seed, folder, proposal=proposal))

    def claimable(self, most: int = 64) -> int:
        """How many trials could be claimed now, within a look as far as is known; counted up to ``most``."""
        if self._budget is not None and not self._anything_affordable():
            return 0
        others = self._others
        if others is None or not others.looking:
            free = (folder for folder in self._free() if (lease := folder.lease()) is None or lease.dead)
            return sum(1 for _ in islice(free, most))
        with others.only_known():
            return sum(1 for _ in islice((one for one in self._free() if not others.probably_has(one)), most))

    def _claim(self, state: StudyState, candidate: Candidate) -> ClaimedTrial | None:
        study = state.study
        lease = self._lease(candidate.folder)
        if lease is None:
            return None
        folder = candidate.folder.held(lease)
        with given_back(lease, STOPPED_BY_ERROR):
            if candidate.stage == "confirm":
                # No confirm trial is begun whose choice is not on the disk; the claim has looked at the plan.
                state.record_choice()
            if not folder.has_request():
                folder.write_request(request_of(state, candidate, self._threads))
            request = folder.request()
            check_request(study, folder, request)
        job = job_of(study, request)
        judge = None if candidate.slot is None else state.judge(candidate.slot, candidate.seed)
        taken = ClaimedTrial(folder, lease, request, job, f"{study.name} {candidate.stage} {folder.name}", judge)
        return None if self._given_up(taken) else taken

    def _claim_source(self, source: Source) -> ClaimedTrial | None:
        lease = self._lease(source.folder)
        if lease is None:
            return None
        folder = source.folder.held(lease)
        request: TrialRequest = {
            "stage": "source",
            "slot": None,
            "seed": source.seed,
            "method": source.method.name,
            "dataset": source.dataset.dataset.name,
            "hyperparameters": source.hyperparameters,
            "conditioned_on": [],
            "threads": self._threads,
            "identity": source.identity,
        }
        with given_back(lease, STOPPED_BY_ERROR):
            folder.write_request(request)
        taken = ClaimedTrial(folder, lease, request, source_job(source), f"source {source.dataset.dataset.name}")
        return None if self._given_up(taken) else taken

    def _lease(self, folder: TrialFolder) -> Lease | None:
        if self._others is not None and self._others.has(folder):
            return None
        progress = progress_token(folder)
        current = folder.lease() if self._others is None else self._others.view(folder)
        lease = None if must_wait(folder, progress, current) else folder.claim(progress=progress)
        # After the claim: ``RunDirectory.withdraw_plan`` says why.
        if lease is None:
            return None
        with given_back(lease, STOPPED_BY_ERROR):
            follows = self._follows()
        if not follows:
            lease.release("the run is planned anew")
            raise PlanChanged
        return lease

    def _record_choice(self, state: StudyState) -> None:
        if state.unrecorded():
            self._check_plan()
            state.record_choice()

    def _check_plan(self) -> None:
        """Raise PlanChanged unless the plan that the studies are of is the run's still."""
        if not self._follows():
            raise PlanChanged

    def _given_up(self, taken: ClaimedTrial) -> bool:
        """Record a trial that kills every worker that takes it up; deaths with progress between do not count."""
        if taken.lease.number == 1:
            return False
        with given_back(taken.lease, STOPPED_BY_ERROR):
            deaths = deaths_in_a_row(taken.folder.attempts()[:-1], taken.lease.content["progress"])
        verdict = give_up(deaths, self._retries)
        if verdict is None:
            return False
        taken.folder.finish(
            {**repeated(taken.request), "status": "failed", "cause": verdict.cause, "message": verdict.message}
        )
        taken.lease.release("given up")
        return True
