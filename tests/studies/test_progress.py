"""How far a study is follows from its design and its results alone, by laws that hold for any of these."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import made_up_records
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.files import encode_json
from harness.core.replicates import Replicate
from harness.run.outcome import Outcome
from harness.run.record_values import Status
from harness.run.study_folder import Place, StudyFolder
from harness.run.study_records import ChoiceRecord
from harness.run.trial_records import TrialResult
from harness.spec.search import SearchSpec
from harness.studies.choice import Searched
from harness.studies.progress import StudyDesign, StudyProgress
from harness.studies.reading import StudyReader
from harness.studies.results import TrialResults, read_begun

METRICS = ("balanced_accuracy", "nll")
SCORES = st.sampled_from([0.1, 0.2, 0.3, 0.4])


@st.composite
def designs(draw: st.DrawFn) -> StudyDesign:
    top = draw(st.integers(0, 3))
    seeds = draw(st.sampled_from([(0,), (0, 3), (2, 0, 5)]))
    slots = draw(st.integers(1, 4))
    varied = draw(st.booleans())
    return StudyDesign(
        slots=slots,
        seeds=seeds,
        first_alone=draw(st.booleans()),
        metric=draw(st.sampled_from(METRICS)),
        choose="top_k" if top else "best",
        reevaluations=min(top, slots),
        further_seed=max(seeds) + 1 if top else None,
        replicates=tuple(Replicate(1000 + turn, turn if varied else None) for turn in range(draw(st.integers(1, 3)))),
        repeat=draw(st.booleans()),
        resampled=draw(st.booleans()),
    )


def name_of(slot: int) -> str:
    return f"c{slot}"


def progress_of(design: StudyDesign, results: Mapping[Place, Outcome]) -> StudyProgress:
    """The progress of a study that chooses the slot with the best score."""
    return StudyProgress(design, results, lambda: choice_of(design, StudyProgress(design, results).ranked()))


def choice_of(design: StudyDesign, ranked: Sequence[int]) -> ChoiceRecord:
    """The best slot; where each replicate has its own choice, the first takes the best, the second the next, …."""
    own = {
        str(one.seed): {"slot": slot, "configuration": name_of(slot), "hyperparameters": {}}
        for turn, one in enumerate(design.replicates)
        for slot in [ranked[turn % len(ranked)]]
    }
    further = {"replicates": own} if design.resampled else {}
    chosen = {"slot": ranked[0], "configuration": name_of(ranked[0]), "of": design.slots, "rule": design.choose}
    return cast(ChoiceRecord, made_up_records.choice(**chosen, **further))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[StudyDesign, dict[Place, Outcome]]:
    """A study, and how each trial would end that it could come to have."""
    design = draw(designs())
    slots, further = range(design.slots), design.further_seed
    tuned = [Place.search(slot, seed) for slot in slots for seed in design.seeds]
    following = [] if further is None else [Place.again(slot, further) for slot in slots]
    for slot in slots:
        following += [Place.confirm(name_of(slot), one) for one in design.replicates]
        following.append(Place.repeat(name_of(slot), design.replicates[0]))
    first = {Place.search(slot, design.seeds[0]) for slot in slots} if design.first_alone else set()
    world = {}
    for place in (*tuned, *following):
        kinds: list[Status] = ["done", "done", "failed", *(["pruned"] if place in first else [])]
        status = draw(st.sampled_from(kinds))
        world[place] = Outcome(status, draw(SCORES) if status == "done" else None)
    return design, world


@st.composite
def some_results(draw: st.DrawFn) -> tuple[StudyDesign, dict[Place, Outcome], list[Place]]:
    """A study with some of its results, in the order in which they come in."""
    design, world = draw(worlds())
    order = draw(st.permutations(list(world)))
    return design, world, order[: draw(st.integers(0, len(order)))]


def open_trials(progress: StudyProgress) -> list[Place]:
    return [place for slot in range(progress.design.slots) for _, place in progress.open_trials(slot)]


@settings(max_examples=200, deadline=None)
@given(some_results())
def test_the_stages_follow_each_other_and_the_counts_agree(
    drawn: tuple[StudyDesign, dict[Place, Outcome], list[Place]],
) -> None:
    design, world, there = drawn
    results = {place: world[place] for place in there}
    progress = progress_of(design, results)
    assert not progress.complete() or progress.may_choose()
    assert not progress.may_choose() or progress.searched()
    assert progress.searched() == (progress.first_open() == design.slots)
    assert not progress.hopeless() or progress.best_score() is None
    assert progress.may_choose() or not progress.confirm_trials()
    assert progress.left() >= 0 and progress.complete() == (progress.left() == 0)
    # What may run and what is finished have nothing in common; nothing else keeps a slot from being finished.
    waiting = open_trials(progress)
    assert not set(waiting) & results.keys() and set(waiting) <= set(progress.trials())
    assert bool(waiting) != progress.searched()
    wanted = [place for slot in range(design.slots) for _, place in progress.slot_trials(slot)]
    unfinished = [place for place in wanted if place not in results]
    assert set(waiting) <= set(unfinished) and (design.first_alone or waiting == unfinished)
    assert len(set(progress.trials())) == len(progress.trials()) <= progress.total()
    ended = progress.ended()
    assert ended.total() == sum(place in results for place in progress.trials())


@settings(max_examples=200, deadline=None)
@given(some_results())
def test_more_results_undo_nothing(drawn: tuple[StudyDesign, dict[Place, Outcome], list[Place]]) -> None:
    """One that sees the results come in says what one says that sees them at once."""
    design, world, there = drawn
    results: dict[Place, Outcome] = {}
    watching = progress_of(design, results)
    before = (False, False, False, set[int]())
    for place in there:
        results[place] = world[place]
        slots = {slot for slot in range(design.slots) if watching.slot_finished(slot)}
        now = (watching.searched(), watching.may_choose(), watching.complete(), slots)
        assert all(then <= later for then, later in zip(before, now, strict=True))
        before = now
    fresh = progress_of(design, dict(results))
    for ask in (
        StudyProgress.trials, StudyProgress.total, StudyProgress.complete, StudyProgress.ended,
        StudyProgress.best_score, StudyProgress.ranked, StudyProgress.again, StudyProgress.hopeless, open_trials,
    ):  # fmt: skip
        assert ask(watching) == ask(fresh)


@settings(max_examples=100, deadline=None)
@given(worlds(), st.randoms(use_true_random=False))
def test_whatever_runs_first_the_study_comes_to_the_same_end(
    world: tuple[StudyDesign, dict[Place, Outcome]], random: object
) -> None:
    design, outcomes = world
    results: dict[Place, Outcome] = {}
    progress = progress_of(design, results)
    while not progress.complete():
        free = [place for place in (*open_trials(progress), *progress.following()) if place not in results]
        place = random.choice(free)  # type: ignore[attr-defined]
        results[place] = outcomes[place]
    in_order: dict[Place, Outcome] = {}
    other = progress_of(design, in_order)
    while left := [place for place in (*open_trials(other), *other.following()) if place not in in_order]:
        in_order[left[0]] = outcomes[left[0]]
    assert results == in_order and progress.trials() == other.trials() and progress.left() == 0


def searched(design: StudyDesign, results: Mapping[Place, TrialResult]) -> Searched:
    """What a choice is made of, from whole results."""
    outcomes = {place: outcome(result, design.metric) for place, result in results.items()}
    search = SearchSpec(
        seeds=list(design.seeds), choose="top_k" if design.further_seed else "best", top=max(2, design.reevaluations)
    )
    return Searched("m@small", StudyProgress(design, outcomes), results.__getitem__, {}, search)


def outcome(result: TrialResult, metric: str) -> Outcome:
    metrics = result.get("metrics")
    score = None if metrics is None else metrics["val"].get(metric)
    return Outcome(result["status"], cast("float | None", score))


def whole(place: Place, result: Outcome, metric: str) -> TrialResult:
    slot = None if place.part == "confirm" else int(place.name[:4])
    record = made_up_records.result(
        stage="confirm" if slot is None else "search",
        slot=slot,
        hyperparameters={"slot": slot if slot is not None else -1},
        status=result.status,
        metrics={"val": {} if result.score is None else {metric: result.score}},
    )
    return cast("TrialResult", record)


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_the_choice_depends_on_the_search_alone(world: tuple[StudyDesign, dict[Place, Outcome]]) -> None:
    design, outcomes = world
    everything = {place: whole(place, result, design.metric) for place, result in outcomes.items()}
    tuned = {place: result for place, result in everything.items() if place.part != "confirm"}
    choice = searched(design, tuned).choice()
    assert choice == searched(design, everything).choice()
    progress = searched(design, tuned).progress
    assert (choice is None) == progress.hopeless()
    if choice is not None:
        assert choice["slot"] in progress.ranked() and choice["hyperparameters"] == {"slot": choice["slot"]}
        assert design.agrees_with(choice)
        if not choice.get("again"):
            assert choice["slot"] == progress.ranked()[0] and choice["value"] == progress.best_score()
    # Without one result that it rests on, there is none.
    rests_on = [place for slot in range(design.slots) for _, place in progress.slot_trials(slot)]
    for place in (*rests_on, *(place for _, place in progress.reevaluations())):
        assert searched(design, {one: result for one, result in tuned.items() if one != place}).choice() is None


def written(
    folder: Path, design: StudyDesign, results: Mapping[Place, Outcome], chosen: ChoiceRecord | None
) -> StudyFolder:
    """The folder of a study with these results."""
    study = StudyFolder(folder / "m@small")
    splits = [{**one._asdict(), "digest": "d"} for one in design.replicates if one.split is not None]
    pruner = "median" if design.first_alone else "none"
    study.describe(
        made_up_records.study(
            search_slots=design.slots,
            search_seeds=list(design.seeds),
            choose=design.choose,
            reevaluation={"slots": design.reevaluations, "seed": design.further_seed},
            confirm_seeds=[one.seed for one in design.replicates],
            **({"replicates": splits} if splits else {}),
            **({"resampled": True} if design.resampled else {}),
            backbone={"name": "resnet20", "weights": None},
            identity={"search": {"metric": design.metric, "pruner": pruner}, "train": {"epochs": 4}},
        )
    )
    for place, result in results.items():
        trial = study.trial(place)
        trial.create()
        trial.result_path.write_bytes(encode_json(whole(place, result, design.metric)))
    if chosen is not None:
        study.choose(chosen)
    return study


@settings(max_examples=25, deadline=None)
@given(some_results())
def test_the_status_and_a_scheduler_say_the_same(
    drawn: tuple[StudyDesign, dict[Place, Outcome], list[Place]],
) -> None:
    """Read from a folder: as soon as the choice is recorded, whoever reads says what the results say."""
    design, world, there = drawn
    told = progress_of(design, {place: world[place] for place in there})
    chosen = choice_of(design, told.ranked()) if told.may_choose() and not told.hopeless() else None
    with tempfile.TemporaryDirectory() as folder:
        study = written(Path(folder), design, {place: world[place] for place in there}, chosen)
        assert StudyDesign.recorded(study.description(), design.repeat) == design
        results = TrialResults(study, design.metric)
        read_begun([results])
        assert results.read.keys() == set(there)
        looked_for = StudyProgress(design, results, lambda: chosen)
        overview = StudyReader(study, design.repeat).read(0.0)
    assert overview is not None
    for progress in (told, looked_for):
        ended = progress.ended()
        assert (overview.complete, overview.total) == (progress.complete(), progress.total())
        assert (overview.done, overview.pruned) == (ended["done"] + ended["pruned"], ended["pruned"])
        assert (overview.failed, overview.left) == (ended["failed"], progress.left())
        assert overview.best == progress.best_score()


def test_a_choice_of_another_search_does_not_count() -> None:
    design = StudyDesign(3, (0,), False, "nll", "top_k", 2, 1, (Replicate(1000),), False)
    choice = made_up_records.choice(of=3, rule="top_k", again={"0": 0.5, "1": None})

    def counts(**changes: object) -> bool:
        return design.agrees_with({**choice, **changes})  # type: ignore[typeddict-item]

    assert counts() and not counts(of=2) and not counts(rule="best")
    assert not counts(again={"0": 0.5, "1": None, "2": 0.4}), "an earlier one had trained more slots again"


def trained(design: StudyDesign, scores: Sequence[float | None]) -> StudyProgress:
    outcomes = [Outcome("failed" if score is None else "done", score) for score in scores]
    return progress_of(design, {Place.search(slot, 0): one for slot, one in enumerate(outcomes)})


def test_equal_slots_are_ranked_by_their_number_and_lower_is_better_where_it_is() -> None:
    design = StudyDesign(4, (0,), False, "nll", "top_k", 2, 1, (Replicate(1000),), False)
    progress = trained(design, [0.7, None, 0.2, 0.2])
    assert progress.ranked() == [2, 3, 0] and progress.best_score() == 0.2
    assert progress.reevaluations() == [(2, Place.again(2, 1)), (3, Place.again(3, 1))]
    assert not progress.may_choose() and progress.confirm_trials() == [] and progress.total() == 4 + 2 + 1


def test_a_search_that_failed_has_nothing_to_confirm() -> None:
    design = StudyDesign(2, (0,), False, "nll", "top_k", 2, 1, (Replicate(1000), Replicate(1001)), True)
    progress = trained(design, [None, None])
    assert progress.hopeless() and progress.complete() and progress.total() == 2 and progress.following() == []
