"""TensorBoard's event files: ``DEST/STUDY/STAGE/TRIAL/``, with curves by step, final scores and hyperparameters."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.export.contract import Export, ExportedRun
from harness.export.destination import own_folder

if TYPE_CHECKING:
    from harness.export.trials import ExportedTrial

VERSION = "brain.Event:2"
"""What the first event of a file says."""
HEADER_BYTES, FOOTER_BYTES = 12, 4
"""Around each event: its length as eight bytes, and a checksum of that; behind it a checksum of the event."""


class TensorBoard(Export):
    """TensorBoard's event files, a folder for each trial.

    `DEST/STUDY/STAGE/TRIAL/` has curves by step and, once the trial is finished, final scores and hyperparameters. In a
    folder of an earlier export, what is new is appended; the events of a trial that differs are written again.
    """

    name = "tensorboard"
    updates = True
    follows = True

    def write(self, run: ExportedRun, destination: Path) -> str:
        """Write the files or bring them up to date; says how to look at them."""
        import tensorboard  # noqa: F401  (torch's own message names it less clearly)

        own_folder(destination, self.name, run.name)
        for trial in run.trials():
            _write(trial, destination / trial.study / trial.stage / trial.name)
        return f"{destination}: {run.count} trials; tensorboard --logdir {shlex.quote(str(destination))}"


def _write(trial: ExportedTrial, folder: Path) -> None:
    """Bring the event file of a trial up to date: the file alone says what is in it."""
    wanted = list(_events(trial))
    folder.mkdir(parents=True, exist_ok=True)
    files = sorted(folder.glob("events.out.tfevents.*"))
    for older in files[:-1]:
        older.unlink()
    file = files[-1] if files else folder / f"events.out.tfevents.{round(trial.begun):010d}.0"
    known, size = _known(file) if files else ([], 0)
    keys = [_key(event) for event in wanted]
    if known == keys[: len(known)]:
        if files:
            _cut(file, size)
        _append(file, wanted[len(known) :])
        return
    # Whoever reads the old file on would miss what is written in its place, but looks for new ones.
    number = int(file.suffix[1:]) + 1 if file.suffix[1:].isdecimal() else 1
    replacing = folder / f"events.out.tfevents.{round(trial.begun):010d}.{number}"
    hidden = folder / "replacing"
    hidden.unlink(missing_ok=True)
    _append(hidden, wanted)
    hidden.rename(replacing)
    file.unlink()


def _events(trial: ExportedTrial) -> Iterator[Any]:
    """All events of a trial, in the order in which they happen."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from torch.utils.tensorboard.summary import hparams

    def scalar(name: str, value: float, step: int, moment: float) -> Any:
        return Event(wall_time=moment, step=step, summary=Summary(value=[Summary.Value(tag=name, simple_value=value)]))

    yield Event(wall_time=trial.begun, file_version=VERSION)
    for moment, (step, scalars) in zip(trial.epoch_ends, trial.epochs(), strict=True):
        for name, value in scalars.items():
            yield scalar(name, value, step, moment)
    if trial.result is None:
        return
    ended = trial.ended or trial.begun
    scores = {f"final/{name}": value for name, value in trial.scores().items()}
    asked = {name: value for name, value in trial.request["hyperparameters"].items() if value is not None}
    for summary in hparams({**asked, "study": trial.study, "stage": trial.stage}, scores):  # type: ignore[no-untyped-call]
        yield Event(wall_time=ended, summary=summary)
    for name, value in scores.items():
        yield scalar(name, value, 0, ended)


def _key(event: Any) -> tuple[object, ...]:
    """What an event says, apart from when it was written."""
    # The same hyperparameters may be other bytes; they belong to the trial and do not change.
    return (event.file_version, event.step, *((value.tag, value.simple_value) for value in event.summary.value))


def _known(path: Path) -> tuple[list[tuple[object, ...]], int]:
    """What the events of a file say, and the bytes that they take: an export that was killed may leave half of one."""
    from tensorboard.compat.proto.event_pb2 import Event

    content, place = path.read_bytes(), 0
    found: list[tuple[object, ...]] = []
    while True:
        start = place + HEADER_BYTES
        end = start + int.from_bytes(content[place : place + 8], "little")
        if len(content) < start or len(content) < end + FOOTER_BYTES:
            return found, place
        found.append(_key(Event.FromString(content[start:end])))
        place = end + FOOTER_BYTES


def _cut(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def _append(path: Path, events: list[Any]) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    with path.open("ab") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString())
