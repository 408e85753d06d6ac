"""The one record that answers the items of every checklist."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.comparison.compare import Analysis, analyse
from analysis.comparison.evidence import Evidence
from analysis.runs.conduct import Conduct, conduct_of
from analysis.runs.evidence import evidence_of, shifts_in
from analysis.runs.summary import Summary, summarise
from analysis.words.flags import flags, told_together
from harness.run import frames
from harness.run.cells import confirm_trials, searches_by_cell
from harness.run.directory import RunDirectory
from harness.run.links import refuse_links
from harness.studies.declaration import Locked, locked


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a comparison."""

    analysis: Analysis
    conduct: Conduct | None = None
    """How the trainings were made; None, as all that follows, where results come from somebody's tables."""
    summary: Summary | None = None
    locked: Locked | None = None
    """What was declared at the first launch."""
    shifts: tuple[str, ...] = ()
    """What models were scored on beside the test split."""
    kept: int = 0
    """Confirmed models that were kept."""

    @property
    def datasets(self) -> tuple[str, ...]:
        """Labels of the datasets that have a card."""
        cards = {} if self.conduct is None else self.conduct.cards
        return tuple(name for name in self.analysis.evidence.datasets if name in cards)

    @property
    def reservations(self) -> tuple[str, ...]:
        """What is to be known before any answer is believed, first of all whether the run is finished."""
        own = [] if self.summary is None else flags(self.summary)
        said = (*own, *(caution.sentence for caution in self.analysis.cautions))
        return tuple(told_together(said, self.analysis.evidence.datasets))


def known_of_run(run: RunDirectory) -> Known:
    """What a run directory knows, finished or not; it is only read.

    Raises:
        RequestError: there is none.
        TornFileError: a file of it is not readable.
        NoPlainFileError: a link is in the place of one of its files.
    """
    run.require()
    refuse_links(run)
    records = frames.read(run)
    summary = summarise(run, records)
    evidence = evidence_of([run], [records])
    cells = searches_by_cell(run).values()
    trials = [one for searches in cells for one in confirm_trials(searches)]
    return Known(
        analysis=analyse(evidence),
        conduct=conduct_of([summary]),
        summary=summary,
        locked=locked(run),
        shifts=tuple(dict.fromkeys(shift.name for shift in shifts_in([run], [records], evidence))),
        kept=sum(one.folder.trained_path.exists() for one in trials),
    )


def known_of_tables(evidence: Evidence) -> Known:
    """What somebody's tables say."""
    return Known(analysis=analyse(evidence))
