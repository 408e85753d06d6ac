"""Which replicates a sweep has, on which splits they run, and which configuration each of them takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from planned import finish, planned_run
from tiny import run_inline, tiny_sweep

from harness.core.replicates import Replicate
from harness.data.split import Split
from harness.run.directory import RunDirectory
from harness.run.outcome import Outcome
from harness.run.study_folder import Place, StudyName, confirmed
from harness.run.study_records import choice_for
from harness.run.trial_records import TrialResult
from harness.spec.search import SearchSpec
from harness.studies.choice import Searched
from harness.studies.progress import StudyDesign, StudyProgress
from harness.studies.study import Study
from harness.work.claims import ClaimedTrial
from harness.work.scheduler import Scheduler

EVERYTHING = ["seed", "split", "search"]


def work(studies: Sequence[Study]) -> list[ClaimedTrial]:
    """Every trial of the studies, each ended with a score of its own."""
    scheduler, all_taken = Scheduler(studies, retries=1), list[ClaimedTrial]()
    while (taken := scheduler.claim_next()) is not None:
        finish(taken, 0.5 + len(all_taken) / 1000)
        all_taken.append(taken)
    return all_taken


def of_stage(all_taken: Sequence[ClaimedTrial], stage: str) -> list[ClaimedTrial]:
    return [taken for taken in all_taken if taken.request["stage"] == stage]


def test_replicates_draw_their_own_splits_and_the_search_sees_the_first_alone(
    tmp_path: Path, shared_cache: Path
) -> None:
    _, (study,) = planned_run(tmp_path, shared_cache, confirm={"seeds": 4, "vary": EVERYTHING}, split={"seed": 5})
    all_taken = work([study])
    assert {taken.job.split for taken in of_stage(all_taken, "search")} == {study.dataset.split}
    splits = {taken.request["seed"]: taken.job.split for taken in of_stage(all_taken, "confirm")}
    assert {seed: split.seed for seed, split in splits.items()} == {1000: 5, 1001: 6, 1002: 7, 1003: 8}
    assert len({split.digest for split in splits.values()}) == 4
    assert splits[1000] == study.dataset.split
    # A split is part of what a trial is: the same seed on another split is another trial.
    assert len({taken.request["identity"] for taken in of_stage(all_taken, "confirm")}) == 4
    names = {confirmed(taken.folder.name) for taken in of_stage(all_taken, "confirm")}
    assert {found[1] for found in names if found} == {Replicate(1000 + turn, 5 + turn) for turn in range(4)}


def test_nested_folds_test_every_case_once_and_never_tune_on_what_they_test(tmp_path: Path, shared_cache: Path) -> None:
    _, studies = planned_run(
        tmp_path, shared_cache, split={"folds": 3, "tune": "each"}, confirm={"seeds": 6}, search={"trials": 2}
    )
    assert [study.name for study in studies] == ["linear_probe@small", "linear_probe@small+1", "linear_probe@small+2"]
    tested: Counter[str] = Counter()
    for study in studies:
        all_taken = work([study])
        seen = {
            case for taken in of_stage(all_taken, "search") for case in (*taken.job.split.train, *taken.job.split.val)
        }
        for taken in of_stage(all_taken, "confirm"):
            assert not seen & set(taken.job.split.test)
            tested.update(taken.job.split.test)
    assert set(tested.values()) == {2}
    assert set(tested) == set(studies[0].dataset.data.case_ids)


def test_searches_are_independent_and_share_the_replicates(tmp_path: Path, shared_cache: Path) -> None:
    _, studies = planned_run(
        tmp_path,
        shared_cache,
        search={"trials": 3, "sampler": "random", "repeats": 3},
        confirm={"seeds": 6, "repeat": True},
    )
    asked = [[taken.request["hyperparameters"] for taken in of_stage(work([study]), "search")] for study in studies]
    assert asked[0][0] == asked[1][0] == asked[2][0], "slot 0 is the default in every search"
    assert len({str(configurations[1:]) for configurations in asked}) == 3
    assert [study.confirm_seeds for study in studies] == [(1000, 1003), (1001, 1004), (1002, 1005)]
    assert [study.repeat for study in studies] == [True, False, False]


def test_a_further_run_continues_with_searches_of_its_own(tmp_path: Path, shared_cache: Path) -> None:
    """Numbered anew, the same search draws other configurations; the repetition is of the first of each run."""
    asked = {}
    for first in (0, 2):
        folder = tmp_path / str(first)
        folder.mkdir()
        search = {"trials": 3, "sampler": "random", "repeats": 3, "first": first}
        _, studies = planned_run(folder, shared_cache, search=search, confirm={"seeds": 3, "repeat": True})
        assert [study.repeat for study in studies] == [True, False, False]
        for study in studies:
            tuned = of_stage(work([study]), "search")
            asked[first, study.name] = [taken.request["hyperparameters"] for taken in tuned]
    assert asked[0, "linear_probe@small+2"] == asked[2, "linear_probe@small+2"]
    drawn = {name: str(configurations[1:]) for (_, name), configurations in asked.items()}
    assert len(set(drawn.values())) == len(drawn) == 5


def searched(scores: Sequence[float | None], seeds: int) -> Searched:
    """A finished search with these validation scores and so many replicates."""
    replicates = tuple(Replicate(1000 + turn) for turn in range(seeds))
    design = StudyDesign(
        slots=len(scores), seeds=(0,), first_alone=False, metric="accuracy", choose="best", reevaluations=0,
        further_seed=None, replicates=replicates, repeat=False, resampled=True,
    )  # fmt: skip
    results = {
        Place.search(slot, 0): Outcome("failed" if score is None else "done", score)
        for slot, score in enumerate(scores)
    }

    def whole(place: Place) -> TrialResult:
        facts: Any = {"hyperparameters": {"lr": int(place.name[:4]) + 1.0}}
        return facts  # type: ignore[no-any-return]

    spec = SearchSpec.model_validate({"trials": len(scores), "metric": "accuracy"})
    return Searched("m@d", StudyProgress(design, results), whole, {}, spec)


def test_each_replicate_takes_what_a_bootstrap_of_the_slots_would_have_chosen() -> None:
    seeds, slots = 4000, 6
    choice = searched([0.5, 0.6, None, 0.8, 0.7, 0.1], seeds).choice()
    assert choice is not None
    taken = Counter(choice_for(choice, 1000 + turn)["slot"] for turn in range(seeds))
    # The k best slots are all missed by a draw of n out of n with probability (1 - k / n)^n.
    ranked, missed = [3, 4, 1, 0, 5], [(1 - k / slots) ** slots for k in range(slots)]
    # A draw of the failed slot alone is drawn anew.
    possible = 1 - (1 / slots) ** slots
    for place, slot in enumerate(ranked):
        expected = (missed[place] - missed[place + 1]) / possible
        assert taken[slot] / seeds == pytest.approx(expected, abs=4 * (expected / seeds) ** 0.5)
    assert taken[2] == 0


def test_further_replicates_leave_the_choices_of_the_others_as_they_are() -> None:
    few, many = (searched([0.5, 0.6, 0.4, 0.8], seeds).choice() for seeds in (5, 9))
    assert few is not None and many is not None
    assert few["replicates"].items() <= many["replicates"].items()
    design = searched([0.5] * 4, 9).progress.design
    assert design.agrees_with(many) and not design.agrees_with(few)


@pytest.mark.parametrize("name", [("m", "d", 0), ("lora_c", "brain.mri-2", 3)])
def test_names_of_studies_and_trials_are_read_back(name: tuple[str, str, int]) -> None:
    assert StudyName.of(str(StudyName(*name))) == name
    for replicate in (Replicate(1000), Replicate(7, 0), Replicate(2**53 - 1, 12)):
        for place in (Place.confirm("c0ffee", replicate), Place.repeat("c0ffee", replicate)):
            assert confirmed(place.name) == ("c0ffee", replicate)
    assert StudyName.of("m@d+x") == ("m", "d+x", 0)
    assert all(confirmed(odd) is None for odd in ("", "x", "-s1", "c0ffee-s", "c0ffee-s1-kx", "c0ffee-s1-k2-k3-k"))


SINGLE = {"confirm": {"seeds": 6}}
OFFICIAL = "the publisher's split cannot be drawn anew"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"confirm": {"seeds": 6, "vary": ["split"]}}, "write [seed, split]"),
        ({"confirm": {"seeds": 6, "vary": ["seed", "search"]}}, "cannot carry a claim about new searches"),
        ({**SINGLE, "search": {"repeats": 2}}, "2 searches do not tell how far searches differ; take at least 3"),
        ({"confirm": {"seeds": 1, "vary": ["seed", "split"]}}, "one split is not varied"),
        ({"confirm": {"seeds": 6, "vary": ["seed"]}, "split": {"seeds": [0, 1]}}, "confirm.vary: split.seeds"),
        ({"confirm": {"seeds": 3}, "split": {"seeds": [0, 1, 2, 3]}}, "4 splits for 3 replicates"),
        ({"confirm": {"seeds": 6, "vary": ["seed", "split"]}, "split": {"kind": "official"}}, OFFICIAL),
        ({**SINGLE, "split": {"seeds": [3, 4], "seed": 0}}, "split.seeds begins with 3"),
        ({**SINGLE, "split": {"seeds": [3, 4], "folds": 2}}, "two ways to draw splits"),
        ({**SINGLE, "split": {"folds": 4}}, "do not divide evenly among 4 folds; take a multiple of 4"),
        ({**SINGLE, "split": {"tune": "each"}}, "each needs several splits"),
        ({**SINGLE, "split": {"folds": 2, "tune": "each"}, "search": {"repeats": 3}}, "has one search already"),
        ({**SINGLE, "search": {"repeats": 7}}, "7 searches for 6 replicates"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_before_anything_begins(
    tmp_path: Path, shared_cache: Path, changes: dict[str, Any], said: str
) -> None:
    file = tiny_sweep(tmp_path, **changes)
    done = run_inline(file, tmp_path / "run", shared_cache, expect=2)
    line = done.stderr.strip()
    assert said in line and "\n" not in line
    assert not RunDirectory(tmp_path / "run").exists()


PATIENTS = '''"""Noise in two classes, of eight patients, whom its publisher kept together."""

import numpy as np

from harness.dataset import ArrayImage, Dataset, Record


class Patients(Dataset):
    """Eight patients with six images each. Licence: CC0 1.0."""

    name, title, modality, licence, citation = "patients", "Patients", "noise", "CC0 1.0", "none"
    classes, files, groups, official_by_patient = ("dark", "light"), (), "known", True

    def records(self, root):
        rng = np.random.default_rng(0)
        found = []
        for number in range(48):
            image = (rng.integers(0, 100, (8, 8)) + 120 * (number % 2)).astype(np.uint8)
            patient = number // 6
            side = "test" if patient < 2 else "train"
            found.append(Record(f"c{number:03d}", number % 2, ArrayImage(image), group=f"p{patient}", official=side))
        return found
'''


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"confirm": {"seeds": 9}, "split": {"kind": "grouped", "folds": 9}}, "datasets.patients: 9 folds: there are"),
        ({"confirm": {"seeds": 4, "vary": ["seed", "split"]}}, "datasets.patients: its publisher's split (the default"),
    ],
)
def test_what_the_data_do_not_allow_is_refused_in_one_line(
    tmp_path: Path, shared_cache: Path, changes: dict[str, Any], said: str
) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "patients.py").write_text(PATIENTS)
    file = tiny_sweep(tmp_path, plugins=["plugins"], datasets=["patients"], **changes)
    error = run_inline(file, tmp_path / "run", shared_cache, expect=2).stderr.splitlines()[-1]
    assert said in error
    assert not list((tmp_path / "run").rglob("trial.json"))


def test_a_dry_run_refuses_to_draw_a_published_split_anew_as_the_sweep_does(tmp_path: Path, shared_cache: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "patients.py").write_text(PATIENTS)
    file = tiny_sweep(
        tmp_path, plugins=["plugins"], datasets=["patients"], split={"seeds": [0, 1]}, confirm={"seeds": 2}
    )
    error = run_inline(file, tmp_path / "run", shared_cache, "--dry-run", expect=2).stderr.splitlines()[-1]
    assert "datasets.patients: its publisher's split" in error and "name no split.seeds" in error


def test_a_split_that_is_drawn_anew_for_a_seed_leaves_the_earlier_trial_and_adds_one(
    tmp_path: Path, shared_cache: Path
) -> None:
    run, (study,) = planned_run(tmp_path, shared_cache, confirm={"seeds": 2}, split={"seeds": [0, 1]})
    before = {taken.folder.path for taken in of_stage(work([study]), "confirm")}
    _, (changed,) = planned_run(tmp_path, shared_cache, confirm={"seeds": 2}, split={"seeds": [0, 9]})
    added = {taken.folder.path for taken in work([changed])}
    assert {path.name.partition("-s")[2] for path in added} == {"1001-k9"}
    assert {path.name.partition("-s")[2] for path in before} == {"1000-k0", "1001-k1"}
    assert isinstance(changed.dataset.split_of(9), Split)
    with pytest.raises(KeyError):
        changed.dataset.split_of(1)
    assert run.study("linear_probe@small").exists
