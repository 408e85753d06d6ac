"""The files of a trial's folder: their names, what is asked, and what a training writes on its way.

There are ``trial.json`` (what to run), ``lease.NNNN`` (who runs it), ``curve.jsonl`` (a line an epoch),
``decisions.jsonl`` (a line a rung of the search), ``schedule.jsonl`` (where hyperparameters changed on the way: a line
a change), ``checkpoint.pt`` (while running), ``predictions.parquet`` (confirm), ``evaluations/NAME.parquet`` (confirm:
predictions for images besides the test split), ``result.json`` (its presence means finished), ``log.txt`` and, where
it was asked for, ``model.safetensors`` and ``trained.safetensors`` (what the training changed in the network).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from harness.core.files import (
    Fence,
    TornFileError,
    encode_json,
    is_too_much,
    read_with_status,
    write_atomic,
    write_exclusive,
)
from harness.core.json_form import Form
from harness.run import trial_records
from harness.run.record_values import Stage

_Line = TypeVar("_Line")

REQUEST, CURVE, DECISIONS, SCHEDULE = "trial.json", "curve.jsonl", "decisions.jsonl", "schedule.jsonl"
RESULT = "result.json"
CHECKPOINT = "checkpoint.pt"
PREDICTIONS, MODEL, TRAINED = "predictions.parquet", "model.safetensors", "trained.safetensors"


@dataclass(frozen=True, slots=True)
class TrialContents:
    """The files of one trial.

    Attributes:
        path: of the folder.
        stage: of the trial.
        fence: asked right before each write; ``TrialFolder.held`` gives it.
    """

    path: Path
    stage: Stage
    fence: Fence | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """Name of the folder, unique within stage and study."""
        return self.path.name

    def create(self) -> None:
        """Make the folder; harmless when it exists."""
        self.path.mkdir(parents=True, exist_ok=True)

    def write_request(self, request: trial_records.TrialRequest) -> None:
        """Record what is to run, once; a later attempt runs the same.

        After a power failure it may be gone as long as nothing else was written here: then the trial was not begun.
        """
        write_exclusive(self.request_path, encode_json(dict(request)), sync_name=False, fence=self.fence)

    @property
    def request_path(self) -> Path:
        """Path of ``trial.json``."""
        return self.path / REQUEST

    def request(self) -> trial_records.TrialRequest:
        """What is to run.

        Raises:
            TornFileError: the file is not readable.
            FileNotFoundError: nothing was asked yet.
        """
        return trial_records.REQUEST.read(self.request_path)

    def has_request(self) -> bool:
        """Whether ``trial.json`` exists."""
        return self.request_path.exists()

    def write_curve(self, lines: Sequence[trial_records.CurveLine]) -> None:
        """Replace the curve: one JSON object a line, one line an epoch."""
        write_atomic(self.curve_path, _lines(lines), self.fence)

    def curve(self) -> list[trial_records.CurveLine]:
        """The epochs so far; empty before the first ends."""
        return self._read_lines(CURVE, trial_records.CURVE)

    def write_decisions(self, decisions: Sequence[trial_records.DecisionLine]) -> None:
        """Replace the decisions of the search: one JSON object a line, one line a rung."""
        write_atomic(self.decisions_path, _lines(decisions), self.fence)

    def decisions(self) -> list[trial_records.DecisionLine]:
        """What the search decided at each rung so far (``harness.search.rungs.Decision``, and ``seconds`` trained)."""
        return self._read_lines(DECISIONS, trial_records.DECISION)

    def write_schedule(self, changes: Sequence[trial_records.ScheduleLine]) -> None:
        """Replace the schedule: one JSON object a line, one line a change of the hyperparameters."""
        write_atomic(self.schedule_path, _lines(changes), self.fence)

    def schedule(self) -> list[trial_records.ScheduleLine]:
        """The changes of the hyperparameters so far, beginning with those of epoch 0; empty where nothing changed."""
        return self._read_lines(SCHEDULE, trial_records.SCHEDULE)

    def _read_lines(self, name: str, form: Form[_Line]) -> list[_Line]:
        """The JSON objects of a file, a line each; empty where there is no such file.

        Raises:
            TornFileError: a line holds none.
        """
        content = self.content(name) or b""
        lines = [] if is_too_much(content) else [form.parse(line) for line in content.splitlines()]
        found = [line for line in lines if line is not None]
        if len(found) < len(lines) or (content and not lines):
            raise TornFileError(self.path / name)
        return found

    @property
    def decisions_path(self) -> Path:
        """Path of the decisions of the search."""
        return self.path / DECISIONS

    @property
    def schedule_path(self) -> Path:
        """Path of the changes of hyperparameters on the way."""
        return self.path / SCHEDULE

    @property
    def curve_path(self) -> Path:
        """Path of the curve."""
        return self.path / CURVE

    @property
    def checkpoint_path(self) -> Path:
        """Path of the checkpoint while the trial runs."""
        return self.path / CHECKPOINT

    @property
    def result_path(self) -> Path:
        """Path of the result."""
        return self.path / RESULT

    @property
    def log_path(self) -> Path:
        """Path of the trial's log."""
        return self.path / "log.txt"

    @property
    def model_path(self) -> Path:
        """Path of the saved model (safetensors)."""
        return self.path / MODEL

    @property
    def trained_path(self) -> Path:
        """Path of what the training changed in the network (safetensors)."""
        return self.path / TRAINED

    @property
    def predictions_path(self) -> Path:
        """Path of the test predictions."""
        return self.path / PREDICTIONS

    def names(self) -> frozenset[str]:
        """Names of the files in the folder; empty where there is none."""
        try:
            return frozenset(os.listdir(self.path))  # noqa: PTH208  (in a third of the time)
        except FileNotFoundError:
            return frozenset()

    def content(self, name: str) -> bytes | None:
        """What the file of this name holds; None where there is none.

        Raises:
            OSError: it cannot be read.
        """
        try:
            return read_with_status(f"{self.path}/{name}")[1]
        except FileNotFoundError:
            return None

    def sizes(self) -> dict[str, int]:
        """Bytes of each file, by name."""
        return {path.name: path.stat().st_size for path in self.path.iterdir() if path.is_file()}


def _lines(entries: Sequence[Mapping[str, object]]) -> bytes:
    return "".join(json.dumps(entry, sort_keys=True) + "\n" for entry in entries).encode()
