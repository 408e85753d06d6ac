"""What an export of a run is: one class in a file, built in or a user's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.core.pluggable import Pluggable

if TYPE_CHECKING:
    import polars as pl

    from harness.export.trials import ExportedTrial
    from harness.run.directory import RunDirectory


class ExportedRun:
    """A run as an export reads it.

    Args:
        directory: the run directory, for what is not given here; an export only reads it.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self._given: set[str] = set()

    @property
    def name(self) -> str:
        """Name of the run: that of its directory."""
        return self.directory.path.name

    @property
    def count(self) -> int:
        """How many trials ``trials`` has given so far, each counted once."""
        return len(self._given)

    def trials(self) -> Iterator[ExportedTrial]:
        """Every trial that was begun, study by study; while a sweep is followed, those that are new or have changed.

        A progress bar is shown on standard error, unless a sweep is followed.

        Raises:
            TornFileError: a file of a trial is not readable.
        """
        for trial in self._read():
            yield trial
            self._given.add(trial.stable_id)

    def _read(self) -> Iterator[ExportedTrial]:
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
    follows: ClassVar[bool] = False
    """Whether it can follow a sweep (``--follow``): ``write`` is then called again and again on one object, ``trials``
    of its run gives only what is new or has changed, and what was written of other trials stays. Nothing is doubled
    where an earlier export was killed at any moment. Only for an export that ``updates``."""
    repeatable: ClassVar[bool] = False
    """Whether two exports of the same run are the same bytes."""

    @classmethod
    def fault(cls) -> str | None:
        """What the list of exports lacks."""
        if cls.follows and not cls.updates:
            return "follows a sweep, and so must update its destination: set updates = True"
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
