"""A trial's folder: who runs it, and what came out."""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack, cast

from harness.core import lease as leases
from harness.core.clock import server_now
from harness.core.files import (
    NoPlainFileError,
    TornFileError,
    encode_json,
    inside,
    open_stream,
    parse_json,
    read_with_status,
    write_atomic,
    write_exclusive,
)
from harness.run import trial_records
from harness.run.spent import STOPPED_BY_ERROR, Spent, recorded, spent
from harness.run.trial_contents import CURVE, MODEL, PREDICTIONS, RESULT, TRAINED, TrialContents

if TYPE_CHECKING:
    import polars as pl

EVALUATIONS = "evaluations"
SEALED = (CURVE, PREDICTIONS, MODEL, TRAINED)
"""Files of which a result holds the digests, beside those of its evaluations."""


class ReplacedFileError(TornFileError):
    """A file beside a result is not the one that the result was made with."""


@dataclass(frozen=True, slots=True)
class TrialFolder(TrialContents):
    """One training: who runs it, how far it is, what came out."""

    def held(self, lease: leases.Lease) -> TrialFolder:
        """The same folder for the owner of ``lease``: each of its writes raises LeaseLost once that is lost."""
        return replace(self, fence=lease.check)

    def claim(self, **facts: Unpack[leases.LeaseRecord]) -> leases.Lease | None:
        """Claim the trial for this process; None when it is finished or a living process runs it."""
        self.create()
        if self.finished:
            return None
        lease = leases.claim(self.path, **facts)
        if lease is None:
            return None
        # Its last owner may have finished between the two looks.
        with leases.given_back(lease, STOPPED_BY_ERROR):
            finished = self.finished
        if finished:
            lease.release("already finished")
            return None
        return lease

    @property
    def finished(self) -> bool:
        """Whether the result is in."""
        return self.result_path.exists()

    @property
    def claimed(self) -> bool:
        """Whether any process ever claimed it."""
        return self.path.is_dir() and leases.latest_number(self.path) > 0

    def lease(self, clock: Callable[[Path], float] = server_now) -> leases.LeaseView | None:
        """Its current lease; None when nobody claimed it.

        Args:
            clock: as for ``harness.core.lease.view``.
        """
        return leases.view(self.path, clock) if self.path.is_dir() else None

    def attempts(self) -> list[leases.AttemptRecord]:
        """Every attempt, oldest first."""
        return leases.history(self.path) if self.path.is_dir() else []

    def write_evaluation(self, name: str, frame: pl.DataFrame) -> None:
        """Write predictions for images besides the test split.

        ``set`` (str), ``severity`` (int64, 0 where there is none), then columns as ``write_predictions`` has them.
        """
        self.evaluations_folder()
        write_atomic(self.evaluation_path(name), _parquet(frame), self.fence)

    def evaluations_folder(self) -> Path:
        """The folder of evaluations, made if it is not there; whoever scores a kept model holds its lease."""
        folder = self.path / EVALUATIONS
        refuse_link(folder)
        folder.mkdir(exist_ok=True)
        return folder

    def evaluation_path(self, name: str) -> Path:
        """Path of the predictions of an evaluation."""
        return inside(self.path / EVALUATIONS, f"{name}.parquet")

    def evaluation(self, name: str, as_sealed: bool = True) -> pl.DataFrame:
        """The predictions of an evaluation, by its name in the trial's result.

        Args:
            name: such as ``corruptions``.
            as_sealed: refuse those that the trial's result was not made with.

        Raises:
            FileNotFoundError: the model was not scored on it.
            ReplacedFileError: they are not those that the trial's result was made with.
        """
        from harness.core.frame_files import parse_parquet

        path = self.evaluation_path(name)
        refuse_link(path.parent)
        _, content = read_with_status(path)
        if as_sealed:
            self.check_sealed(sealed_name(name), content)
        return parse_parquet(content)

    def evaluation_names(self) -> list[str]:
        """Evaluations whose predictions are there, by name."""
        try:
            return sorted(Path(name).stem for name in os.listdir(self.path / EVALUATIONS) if name.endswith(".parquet"))  # noqa: PTH208
        except FileNotFoundError:
            return []

    def write_predictions(self, frame: pl.DataFrame) -> None:
        """Write the test predictions: ``case_id``, ``group`` (str), ``label`` (int64), ``logit_0`` … (float64).

        With several labels an image: ``label_0`` … (int64, 0 or 1) in place of ``label``.
        """
        write_atomic(self.predictions_path, _parquet(frame), self.fence)

    def predictions(self, as_sealed: bool = True) -> pl.DataFrame:
        """The test predictions of a confirm trial.

        Args:
            as_sealed: refuse those that the trial's result was not made with.

        Raises:
            FileNotFoundError: the trial opened no test split.
            ReplacedFileError: they are not those that the trial's result was made with.
        """
        from harness.core.frame_files import parse_parquet

        _, content = read_with_status(self.predictions_path)
        if as_sealed:
            self.check_sealed(PREDICTIONS, content)
        return parse_parquet(content)

    def check_sealed(self, name: str, content: bytes) -> None:
        """Raise ReplacedFileError where a file of a finished trial holds other content than its result was made with.

        Results from before digests were recorded, and those that cannot be read, accuse nothing.
        """
        result = parse_json(self.content(RESULT) or b"") or {}
        sealed = (result.get("files") or {}).get(name)
        if sealed is not None and sealed != digest(content):
            raise ReplacedFileError(self.path / name)

    def finish(self, result: Mapping[str, object]) -> bool:
        """Commit the result; False when another process did so before.

        It is put together from parts of ``harness.run.trial_records`` (``repeated``, ``Trained`` or ``Failed``,
        ``Circumstances``), and has the form of a ``TrialResult`` when it is read.

        It gets what all attempts cost under ``spent``, and under ``files`` the SHA-256 of what lies beside it.
        """
        history = self.attempts()
        if history and not history[-1].get("released"):
            # The lease of the attempt that ends now was renewed up to ten seconds ago.
            history[-1]["last_seen"] = max(time.time(), history[-1]["last_seen"])
        whole = {**result, "files": self.digests(_evaluated(result)), "spent": spent(history, finished=True)._asdict()}
        first = write_exclusive(self.result_path, encode_json(whole), fence=self.fence)
        self.checkpoint_path.unlink(missing_ok=True)
        return first

    def add_evaluations(
        self, added: Sequence[trial_records.EvaluationRecord], test_reference: Literal["", "in_distribution"]
    ) -> None:
        """Record in the result of a finished trial what its kept model scored afterwards; nothing else changes.

        Records of the same evaluations are replaced. The caller holds the lease of ``evaluations_folder``.

        Args:
            added: the records.
            test_reference: the set that the test side is compared with; empty where it is the reference.

        Raises:
            TornFileError: the result is not readable.
        """
        result = self.result()
        names = {record["evaluation"] for record in added}
        kept = [record for record in result.get("evaluations", []) if record["evaluation"] not in names]
        whole = {**result, "evaluations": [*kept, *added], "test_reference": test_reference}
        files = {**result.get("files", {}), **self.digests(names)}
        write_atomic(self.result_path, encode_json({**whole, "files": files}), self.fence)

    def digests(self, evaluations: Iterable[str] = ()) -> dict[str, str]:
        """SHA-256, in hexadecimal, of the files that a result rests on, by name, as they are now.

        Args:
            evaluations: those whose predictions are among them, beside ``SEALED``.
        """
        found = {}
        for name in (*SEALED, *map(sealed_name, sorted(evaluations))):
            try:
                with open_stream(self.path / name) as stream:
                    found[name] = hashlib.file_digest(stream, "sha256").hexdigest()
            except FileNotFoundError:
                continue
        return found

    def result(self) -> trial_records.TrialResult:
        """What came out.

        Raises:
            TornFileError: the file is not readable.
            FileNotFoundError: the trial is not finished.
        """
        return self.result_in(self.read_result()[1])

    def result_in(self, content: bytes) -> trial_records.TrialResult:
        """What came out, as the file of the result holds it.

        Raises:
            TornFileError: it is no result.
        """
        result = trial_records.RESULT.parse(content)
        if result is None:
            raise TornFileError(self.result_path)
        return result

    def outcome_in(self, content: bytes, metric: str) -> trial_records.TrialOutcome:
        """How the trial came out, as the file of the result holds it: a part of ``result_in``, in half the time.

        Args:
            content: of the file.
            metric: whose validation score is read, if there is one.

        Raises:
            TornFileError: it is no result.
        """
        outcome = trial_records.outcome_form(metric).parse(content)
        if outcome is None:
            raise TornFileError(self.result_path)
        return outcome

    def result_status(self) -> os.stat_result:
        """Times, size and number of the file of the result.

        Raises:
            FileNotFoundError: the trial is not finished.
        """
        # Ten thousand paths put together by ``pathlib`` take as long as the answers.
        return os.stat(f"{self.path}/{RESULT}")  # noqa: PTH116

    def read_result(self) -> tuple[os.stat_result, bytes]:
        """The file of the result: its status before it was read, and what it holds.

        Raises:
            FileNotFoundError: the trial is not finished.
        """
        return read_with_status(f"{self.path}/{RESULT}")

    def result_line(self) -> bytes | None:
        """What the file of the result holds, as JSON on one line; None where there is none."""
        content = self.content(RESULT)
        return None if content is None else on_one_line(content)

    def spent(self) -> Spent:
        """What the attempts so far cost; of a finished trial as its result says, without looking at leases.

        Raises:
            TornFileError: the result is not readable.
        """
        if not self.finished:
            return spent(self.attempts(), finished=False)
        return recorded(self.result()) or spent(self.attempts(), finished=True)


def sealed_name(evaluation: str) -> str:
    """How a result names the file of an evaluation's predictions."""
    return f"{EVALUATIONS}/{evaluation}.parquet"


def refuse_link(path: Path) -> None:
    """Raise NoPlainFileError where a link is in the place of a folder of the run."""
    if path.is_symlink():
        raise NoPlainFileError(path, "a link where a folder of the run belongs")


def _evaluated(result: Mapping[str, object]) -> set[str]:
    records = cast("list[trial_records.EvaluationRecord]", result.get("evaluations", []))
    return {record["evaluation"] for record in records}


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def digest(content: bytes) -> str:
    """SHA-256, in hexadecimal, as a result holds it of the files beside it."""
    return hashlib.sha256(content).hexdigest()


def on_one_line(content: bytes) -> bytes:
    """The same JSON without line breaks."""
    # A JSON string holds none, so what surrounds one is blank.
    return b"".join(map(bytes.strip, content.splitlines()))
