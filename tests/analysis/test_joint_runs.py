"""Several run directories as one comparison: which go together, and what is a replicate of what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from analysis.comparison.compare import analyse
from analysis.runs.evidence import evidence_of
from harness.core.errors import RequestError
from tests.analysis.made_up import logits
from tests.analysis.test_run_evidence import CASES, SEEDS, Build, change_spec, confirmed, known, two_methods

if TYPE_CHECKING:
    from tests.analysis.conftest import RunBuilder


def test_two_sweeps_are_one_comparison_where_they_fit(builder: Build) -> None:
    first = two_methods(builder, name="first")
    second = builder(["control", "theirs"], ["alpha", "beta"], name="second")
    confirmed(second, "theirs", 1.0)
    confirmed(second, "control", 0.5, dataset="beta")
    for made in (first, second):
        counts = {side: [20, 20, 20] for side in ("train", "val", "test")}
        other_card(classes=["nevus", "melanoma", "keratosis"], counts=counts)(made)

    evidence = evidence_of([first.run, second.run])

    assert (evidence.methods, evidence.datasets) == (("control", "ours", "theirs"), ("alpha", "beta"))
    assert sorted(evidence.cells) == [("alpha", "control"), ("alpha", "ours"), ("alpha", "theirs"), ("beta", "control")]
    assert evidence.name == "made up"
    assert evidence.source == "run directories first, second"
    assert evidence.cells["alpha", "theirs"].origins[1000] == "second/studies/theirs@alpha/confirm/c0ffee-s1000"
    assert sorted(known(evidence.predictions("alpha")).logits["theirs"]) == [*SEEDS]
    assert len(list(analyse(evidence).of("primary", "alpha"))) == 2
    assert evidence.cautions == ()
    change_spec(second, "train", epochs=99)
    (caution,) = evidence_of([first.run, second.run]).cautions
    assert (caution.code, "train" in caution.sentence) == ("different_settings", True)


def same_seeds(made: RunBuilder) -> None:
    confirmed(made, "ours", 1.0)


def another_method(made: RunBuilder) -> None:
    study = confirmed(made, "ours", 1.0, seeds=(7, 8))
    described = study.description()
    study.describe({**described, "identity": {**described["identity"], "protocol": 2}})


def other_card(**changes: Any) -> Callable[[RunBuilder], None]:
    def change(made: RunBuilder) -> None:
        made.card("alpha")
        made.run.write_card("alpha", {**made.run.cards()["alpha"], **changes})

    return change


def other_split(made: RunBuilder) -> None:
    confirmed(made, "theirs", 1.0, seeds=(7, 8))
    other_card(split={"digest": "beef"})(made)


def test_runs_of_one_method_with_other_seeds_are_replicates_of_one_another(builder: Build) -> None:
    """Three runs, each with its own split, as a lab would repeat a study."""
    made = []
    for number, digest in enumerate(("aaaa", "bbbb", "cccc")):
        run = builder(["control", "ours"], ["alpha"], name=f"run{number}")
        seeds = tuple(range(1000 + 10 * number, 1002 + 10 * number))
        for method, level in (("control", 0.5), ("ours", 1.5)):
            confirmed(run, method, level, seeds=seeds)
        counts = {side: [20, 20, 20] for side in ("train", "val", "test")}
        classes = ["nevus", "melanoma", "keratosis"]
        sides = {"train": 192, "val": 48, "test": 60}
        other_card(classes=classes, counts=counts, sides=sides, split={"digest": digest})(run)
        made.append(run)
    evidence = evidence_of([one.run for one in made])
    cell = evidence.cells["alpha", "ours"]
    assert cell.seeds == (1000, 1001, 1010, 1011, 1020, 1021)
    assert cell.splits == {seed: "abc"[seed // 10 % 10] * 4 for seed in cell.seeds} == cell.tuned_on
    assert cell.searches == {}, "all runs confirmed the same configuration"
    assert evidence.overlap["alpha"] == 60 / 192
    assert len({cell.origins[seed].partition("/")[0] for seed in cell.seeds}) == 3
    # The predictions that are shown are those of one split.
    shown = known(evidence.predictions("alpha"))
    assert sorted(shown.logits["ours"]) == [1000, 1001] and not shown.cautions
    # Another configuration alone is no new search: the draws of searches of one number are the same.
    study = made[1].run.study("ours@alpha")
    made[1].choose(study, 0, 0.8, "beef00")
    for seed in (1010, 1011):
        made[1].predicted(study.confirm_trial("beef00", seed), seed, *logits(1.5, seed, CASES, "ours"))
    runs = [one.run for one in made]
    assert evidence_of(runs).cells["alpha", "ours"].searches == {}
    for number, one in enumerate(made):
        described = one.run.study("ours@alpha").description()
        one.run.study("ours@alpha").describe({**described, "search_number": number})
    varied = evidence_of(runs).cells["alpha", "ours"]
    assert [varied.searches[seed] for seed in varied.seeds] == ["0", "0", "1", "1", "2", "2"]


def test_more_seeds_of_one_split_in_another_run_are_more_seeds(builder: Build) -> None:
    first = two_methods(builder, name="first")
    second = builder(["control", "ours"], ["alpha"], name="second")
    for method, level in (("control", 0.5), ("ours", 1.5)):
        confirmed(second, method, level, seeds=(7, 8))
    for made in (first, second):
        made.card("alpha")
    cell = evidence_of([first.run, second.run]).cells["alpha", "ours"]
    assert cell.seeds == (7, 8, *SEEDS) and cell.splits == {} and cell.searches == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (same_seeds, "with the same confirm seeds \\(such as 1000\\), so that the two are not independent"),
        (another_method, "'ours' on 'alpha' is not the same as in .* \\(protocol: 1 → 2\\)"),
        (other_card(fingerprint="beef"), "'alpha' has another images than"),
        (other_split, "'alpha' has another split than .*, and no method was run on both"),
        (lambda made: change_spec(made, "search", metric="auc"), "declared metric auc, but"),
        (lambda made: change_spec(made, "confirm", family="all_pairs"), "declared family all_pairs, but"),
        (lambda made: change_spec(made, "confirm", control="ours"), "declared control ours, but"),
        (lambda made: change_spec(made, "confirm", correction="none"), "declared correction none, but"),
        (lambda made: change_spec(made, "confirm", margin=0.05), r"declared margin 0\.05, but"),
        (lambda made: change_spec(made, "confirm", looks=[5, 10]), "declared looks 5, 10, but"),
    ],
)
def test_runs_that_are_no_single_comparison_are_refused(
    builder: Build, change: Callable[[RunBuilder], None], words: str
) -> None:
    first, second = two_methods(builder, name="first"), builder(["control", "ours"], ["alpha"], name="second")
    for made in (first, second):
        made.card("alpha")
    evidence_of([first.run, second.run])
    change(second)

    with pytest.raises(RequestError, match=words) as caught:
        evidence_of([first.run, second.run])

    message = str(caught.value)
    assert message.startswith(f"{second.run.path}: ")
    assert f"{first.run.path}" in message
    assert "\n" not in message


def test_a_run_given_twice_is_refused(builder: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    made = builder(["control", "ours"], ["alpha"])
    monkeypatch.chdir(made.run.path.parent)

    with pytest.raises(RequestError, match="given twice"):
        evidence_of([made.run, type(made.run)(Path("run"))])
