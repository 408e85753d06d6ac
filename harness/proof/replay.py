"""Make every ask and decision of a run again, from what it was conditioned on: ``python -m harness.replay RUN``.

One that comes out differently means that the history was edited, or that another version of Optuna now answers
differently to the same history.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.core.arguments import parse, user_path
from harness.core.errors import EXIT_DONE, EXIT_SOME_FAILED, RequestError, run_command
from harness.core.output import say
from harness.metrics.facts import MetricFacts
from harness.metrics.table import facts_of, known_metrics
from harness.plugins import Catalogue, discover
from harness.run.directory import RunDirectory
from harness.run.links import refuse_links
from harness.run.outcome import outcome_of, seeds_of_slot
from harness.run.study_folder import StudyFolder
from harness.run.trial import TrialFolder
from harness.run.trial_records import DecisionLine
from harness.search import Asked, Sampler, find_sampler
from harness.search.rungs import Judge
from harness.search.slots import epoch_score, finished_slot
from harness.search.warm_start import recorded
from harness.space.parameters import Value, from_json
from harness.spec.search import SearchSpec


@dataclass
class Replayed:
    """What came of asking a study again."""

    asks: int = 0
    """Slots asked so far; a driver's asks cannot be made again."""
    different: list[int] = field(default_factory=list)
    """Slots whose recorded configuration does not follow from the history."""
    decisions: int = 0
    """Decisions at rungs so far; a driver's depend on the order in which results came in."""
    contradicted: list[tuple[int, int]] = field(default_factory=list)
    """(slot, epoch) of decisions that do not follow from the curves."""


def replay(study: StudyFolder, catalogue: Catalogue | None = None) -> Replayed:
    """Make the asks and decisions of a study again.

    Args:
        study: its folder.
        catalogue: has the sampler; None for the built-in ones.

    Raises:
        RequestError: a file of the study is not readable, or its sampler is not in the catalogue.
    """
    description = study.description()
    if "leader" in description:
        # It has no search; what it takes is replayed as that of the study that has.
        return Replayed()
    search = SearchSpec.model_validate({**description["identity"]["search"], "trials": description["search_slots"]})
    metric = facts_of(search.metric, known_metrics(description.get("metrics", ())), str(study.description_path))
    epochs = int(description["identity"]["train"]["epochs"])
    prior = recorded(study)
    known = () if prior is None else prior.observations
    plugin = find_sampler(search, catalogue, lambda *keys: f"{study.name}: {'.'.join(map(str, keys))}")
    engine = plugin.cls(from_json(description["space"]), search, study.name, known)
    found, history = Replayed(), list[Asked]()
    for slot in range(description["search_slots"]):
        trials = [study.search_trial(slot, seed) for seed in description["search_seeds"]]
        if not trials[0].has_request():
            break
        asked = trials[0].request()["hyperparameters"]
        if not engine.driven:
            found.asks += 1
            if not _asks(engine, slot, history, asked):
                found.different.append(slot)
        finished_before = [history[n] for n in engine.before(slot)]
        for decision in () if engine.driven else trials[0].decisions():
            found.decisions += 1
            judge = Judge(search, study.name, slot, finished_before)
            if _decide_again(judge, trials[0], decision, epochs, metric) != decision:
                found.contradicted.append((slot, decision["epoch"]))
        first = outcome_of(trials[0].result(), search.metric) if trials[0].finished else None
        trials = trials[: len(seeds_of_slot(search.seeds, first))]
        history.append(
            finished_slot(slot, trials[0], [trial.result() for trial in trials], search, metric)
            if all(trial.finished for trial in trials)
            else Asked(slot, asked)
        )
    return found


def _with_the_sampler_of(study: StudyFolder, catalogue: Catalogue | None) -> Catalogue | None:
    """The catalogue, where it has the sampler by which a study was searched.

    Raises:
        RequestError: it has not.
    """
    recorded = study.description()["identity"].get("sampler")
    if recorded is None or catalogue is not None:
        return catalogue
    name = recorded["name"]
    raise RequestError(f"{study.name}: the sampler {name!r} is not built in; name the folder of its file by --plugins")


def _asks(engine: Sampler, slot: int, history: Sequence[Asked], recorded: Mapping[str, Value]) -> bool:
    try:
        return engine.propose(slot, history) == recorded
    except RequestError:  # the history holds a value that is not in the search space
        return False


def _decide_again(
    judge: Judge, trial: TrialFolder, decision: DecisionLine, epochs: int, metric: MetricFacts
) -> DecisionLine | None:
    curve = trial.curve()[: decision["epoch"]]
    if len(curve) < decision["epoch"]:
        return None
    made = judge(epochs, curve[-1]["step"], [epoch_score(line, metric) for line in curve])
    return None if made is None else made.line(decision["seconds"])


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m harness.replay``."""
    result = argparse.ArgumentParser(prog="python -m harness.replay", description="Repeat every ask and decision.")
    result.add_argument("run", type=user_path, help="the run directory")
    result.add_argument("--plugins", action="append", default=[], type=user_path, metavar="DIR",
                        help="folder of a sampler that is not built in; may be repeated")  # fmt: skip
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; exit code 0 when all come out the same, 1 otherwise."""
    arguments = parse(parser(), argv)

    def command() -> int:
        run = RunDirectory(arguments.run)
        run.require()
        refuse_links(run)
        # What the run names is not imported unasked.
        catalogue = discover(arguments.plugins) if arguments.plugins else None
        asks, decisions, wrong = 0, 0, 0
        for study in run.studies():
            found = replay(study, _with_the_sampler_of(study, catalogue))
            asks, decisions = asks + found.asks, decisions + found.decisions
            wrong += len(found.different) + len(found.contradicted)
            for slot in found.different:
                say(f"{study.name}: slot {slot}: the recorded configuration does not follow from its history")
            for slot, epoch in found.contradicted:
                say(f"{study.name}: slot {slot}: the decision after epoch {epoch} does not follow from the curves")
        say(f"{asks} asks and {decisions} decisions replayed, {wrong} differ")
        return EXIT_SOME_FAILED if wrong else EXIT_DONE

    return run_command(command)


if __name__ == "__main__":
    sys.exit(main())
