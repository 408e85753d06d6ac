"""What an export of a run is: one class in a file, built in or a user's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.core.pluggable import Pluggable

if TYPE_CHECKING:
    import polars as pl

    from harness.export.trials import ExportedTrial
    from harness.run.directory import RunDirectory


@dataclass(frozen=True, slots=True)
class ExportedRun:
    """A run as an export reads it."""

    directory: RunDirectory
    """The run directory, for what is not given here; an export only reads it."""

    @property
    def name(self) -> str:
        """Name of the run: that of its directory."""
        return self.directory.path.name

    def trials(self) -> Iterator[ExportedTrial]:
        """Every trial that was begun, study by study, with a progress bar on standard error.

        Raises:
            TornFileError: a file of a trial is not readable.
        """
        from harness.export.trials import all_trials

        return all_trials(self.directory)

    def table(self) -> pl.DataFrame:
        """One row a trial, with a column ``hp_NAME`` for each hyperparameter.

        Raises:
            TornFileError: a file of a trial is not readable.
        """
        from harness.export.table import table

        return table(self.directory)


class Export(Pluggable, ABC):
    """A run in the format of another tool: ``python -m harness.export RUN --to NAME DEST``.

    The docstring of the class is its help: the first line stands in the list of exports. A package that only the export
    needs is imported in ``write``; where it is missing, the command says how to install it.
    """

    kind = "export"
    updates: ClassVar[bool] = False
    """Whether the destination may exist, and is then brought up to date."""
    repeatable: ClassVar[bool] = False
    """Whether two exports of the same run are the same bytes."""

    @classmethod
    def fault(cls) -> str | None:
        """What the list of exports lacks."""
        return None if cls.documented() else "has no docstring, which is its help"

    @abstractmethod
    def write(self, run: ExportedRun, destination: Path) -> str:
        """Write the run.

        Args:
            run: the run, which is only read.
            destination: absolute path of a file or folder in a folder that exists; it does not exist itself unless the
                export ``updates``. What an export that fails leaves there is removed.

        Returns:
            One line that says where the export is and how to look at it.

        Raises:
            RequestError: the destination is nothing that this export can write to.
        """
