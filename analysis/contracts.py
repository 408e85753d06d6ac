"""What a figure and a table of a report are, where a user adds them: one class in a file.

The figures and tables that belong to the report are functions, each with the part of the results that it needs, so that
several processes can share the work, and are put in their places by the sections. These here get everything, and are
drawn in the process that writes the report.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from harness.core.pluggable import Pluggable

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure as Canvas

    from analysis.comparison.compare import Analysis
    from analysis.run_sections import RunFacts

PLUGIN_STEM = "plugin_"
"""How the file names of all these begin: none of the report's own does."""
Cell = str | int | float | None
"""What is in a cell of a table; None is shown as n/a, as is a float that is not a number."""


@dataclass(frozen=True, slots=True)
class ReportData:
    """What a report is made from."""

    analysis: Analysis
    """The comparison: scores, declared differences and verdicts, and the evidence behind them."""
    runs: Sequence[RunFacts] = ()
    """Each run directory with its summary; empty where the results come from elsewhere."""

    @property
    def metric(self) -> str:
        """The primary metric."""
        return self.analysis.evidence.plan.metric

    @property
    def methods(self) -> Sequence[str]:
        """The methods, by their labels in the sweep file."""
        return self.analysis.evidence.methods

    @property
    def datasets(self) -> Sequence[str]:
        """The datasets, by their labels in the sweep file."""
        return self.analysis.evidence.datasets

    @property
    def trials(self) -> pl.DataFrame:
        """One row a trial, with a column ``run``; among others ``method``, ``dataset``, ``stage``, ``seed``,
        ``status``, ``chosen``, ``val_METRIC`` and ``test_METRIC``, ``hyperparameters`` (JSON), ``train_seconds``.
        """
        import polars as pl

        from harness.run.frames import no_trials

        parts = [(facts.run.path.name, facts.trials) for facts in self.runs] or [("", no_trials())]
        # Runs may have other metrics than one another.
        return pl.concat([trials.with_columns(pl.lit(name).alias("run")) for name, trials in parts], how="diagonal")

    def curves(self, metric: str | None = None) -> pl.DataFrame:
        """Validation scores by epoch (from 1) of the confirm trials of the chosen configurations that are done.

        Args:
            metric: whose; the primary one if None.

        Returns:
            One row an epoch: ``method``, ``dataset``, ``seed``, ``epoch``, ``value``; no row without run directories.
        """
        import polars as pl

        from harness.run.frames import curves, no_curves

        wanted = metric or self.metric
        return pl.concat([no_curves(), *(curves(facts.run, wanted, facts.trials) for facts in self.runs)])


@dataclass(frozen=True, slots=True)
class Drawing:
    """One drawing of a figure."""

    canvas: Canvas
    """A figure of matplotlib; the report writes it as SVG, PNG and PDF, and closes it."""
    caption: str
    """What is drawn, its scope and how many seeds and cases are behind it."""
    alt: str
    """The same for who cannot see it."""


@dataclass(frozen=True, slots=True)
class Rows:
    """One table."""

    caption: str
    head: Sequence[str]
    """A name for each column."""
    rows: Sequence[Sequence[Cell]]
    """As long as the head, each."""
    note: str = ""


class _Shown(Pluggable, ABC):
    """Something that a report shows."""

    required = ("title",)
    title: ClassVar[str]
    """Heading of its section, unless that is named."""
    section: ClassVar[str] = ""
    """Title of a section of the report, such as ``Search``; where there is none of it, one is added."""

    @classmethod
    def fault(cls) -> str | None:
        """A heading that is none."""
        if not all(isinstance(text, str) for text in (cls.title, cls.section)) or not cls.title.strip():
            return "has a title or section that is no text"
        return None


class Figure(_Shown):
    """A figure of the report.

    It is drawn in the report's style, 5 inches wide; a label may hold a dollar sign. One that raises is left out of the
    report, which says so.
    """

    kind = "figure"

    @abstractmethod
    def draw(self, data: ReportData) -> Iterable[Drawing] | None:
        """The drawings, one after the other; none, or None, where the figure does not apply.

        Args:
            data: what the report is made from; it is only read.
        """


class Table(_Shown):
    """A table of the report, which writes it as HTML, LaTeX, Markdown and CSV. One that raises is left out."""

    kind = "table"

    @abstractmethod
    def fill(self, data: ReportData) -> Iterable[Rows] | None:
        """The tables, one after the other; none, or None, where it does not apply.

        Args:
            data: what the report is made from; it is only read.
        """
