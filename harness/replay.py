"""Ask every search slot of a run again, from the history that it was conditioned on: ``python -m harness.replay RUN``.

An ask that comes out differently means that the history was edited, or that another version of Optuna now draws
differently from the same history.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.errors import EXIT_DONE, EXIT_SOME_FAILED, run_command
from harness.search import Asked, make_engine
from harness.space import from_json
from harness.spec_search import SearchSpec
from harness.store import RunDirectory, StudyFolder
from harness.study_state import slot_score


def replay(study: StudyFolder) -> tuple[int, list[int]]:
    """Number of slots asked so far, and those whose replayed configuration differs from the recorded one.

    Raises:
        RequestError: a file of the study is not readable.
    """
    description = study.description()
    search = SearchSpec.model_validate({**description["identity"]["search"], "trials": description["search_slots"]})
    engine = make_engine(from_json(description["space"]), search, study.name)
    history: list[Asked] = []
    differ = []
    for slot in range(description["search_slots"]):
        trials = [study.search_trial(slot, seed) for seed in description["search_seeds"]]
        if not all(trial.has_request() for trial in trials):
            break
        recorded = trials[0].request()["hyperparameters"]
        try:
            same = engine.ask(slot, history) == recorded
        except ValueError:  # the history holds a value that is not in the search space
            same = False
        if not same:
            differ.append(slot)
        results = [trial.result() if trial.finished else None for trial in trials]
        history.append(Asked(slot, recorded, slot_score(results, search.metric)))
    return len(history), differ


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; exit code 0 when every ask is the same again, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m harness.replay", description="Ask every search slot again.")
    parser.add_argument("run", type=Path, help="the run directory")
    arguments = parser.parse_args(argv)

    def command() -> int:
        run = RunDirectory(arguments.run)
        run.require()
        asked, different = 0, 0
        for study in run.studies():
            slots, differ = replay(study)
            asked, different = asked + slots, different + len(differ)
            for slot in differ:
                print(f"{study.name}: slot {slot}: the recorded configuration does not follow from its history")
        print(f"{asked} asks replayed, {different} differ")
        return EXIT_SOME_FAILED if different else EXIT_DONE

    return run_command(command)


if __name__ == "__main__":
    sys.exit(main())
