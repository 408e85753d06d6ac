"""Which finished confirm trials lack an evaluation that their sweep asks for, and which of them can still be scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.run.trial import TrialFolder
from harness.run.trial_records import TrainedResult
from harness.studies.study import Study


@dataclass(frozen=True)
class Lacking:
    """A finished confirm trial without some evaluations."""

    study: Study
    trial: TrialFolder
    names: tuple[str, ...]
    kept: bool
    """Whether its model was kept."""


def lacking(studies: Sequence[Study]) -> Iterator[Lacking]:
    """Every such trial, in the order of the studies.

    An evaluation that was made otherwise than it would be now (other options, code or images), or whose predictions
    are gone, is lacking too.

    Raises:
        TornFileError: a result is not readable.
    """
    for study in studies:
        wanted = {one.name: one.fingerprint for one in study.dataset.evaluations if one.images}
        for trial in study.folder.trials("confirm") if wanted else ():
            if not trial.finished:
                continue
            result = trial.result()
            if result["status"] == "done" and study.asks_for("confirm", trial.request()):
                names = _lacking(result, wanted, trial)
                if names:
                    yield Lacking(study, trial, names, trial.trained_path.exists())


def still_lacking(one: Lacking) -> tuple[str, ...]:
    """Those of a trial's evaluations that it lacks now, in which another process may have been faster.

    Raises:
        TornFileError: its result is not readable.
    """
    wanted = {own.name: own.fingerprint for own in one.study.dataset.evaluations if own.name in one.names}
    result = one.trial.result()
    return _lacking(result, wanted, one.trial) if result["status"] == "done" else ()


def _lacking(result: TrainedResult, wanted: dict[str, str], trial: TrialFolder) -> tuple[str, ...]:
    present = trial.evaluation_names()
    records = [record for record in result.get("evaluations", ()) if record["evaluation"] in present]
    made = {record["evaluation"]: record["fingerprint"] for record in records}
    return tuple(name for name, fingerprint in wanted.items() if made.get(name) != fingerprint)


def words(found: Sequence[Lacking], run: object) -> list[str]:
    """What is lacking, and what would have to be done about it; a line each.

    Args:
        found: what ``lacking`` gave.
        run: path of the run directory.
    """
    lines = []
    for name in dict.fromkeys(name for one in found for name in one.names):
        some = [one for one in found if name in one.names]
        kept = sum(one.kept for one in some)
        lines.append(f"evaluation {name}: {len(some)} finished confirm trials lack it")
        if kept:
            lines[-1] += (
                f"; `python -m harness.evaluate {run}` scores the {kept} whose model was kept and trains nothing"
            )
        if kept < len(some):
            lines[-1] += (
                f"; {len(some) - kept} kept no model (confirm.keep) and would have to be trained again: "
                f"{', '.join(_places(one for one in some if not one.kept))}"
            )
    return lines


def _places(some: Iterator[Lacking]) -> list[str]:
    places = [f"{one.study.name}/{one.trial.name}" for one in some]
    return [*places[:3], *([f"and {len(places) - 3} more"] if len(places) > 3 else [])]
