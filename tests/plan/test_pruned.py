"""What a plan expects pruning to save is what the search's own rules leave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import environment, tiny_sweep

from harness.plan import __main__ as command
from harness.plan import pruned
from harness.plan.parts import Measured, Parts
from harness.plan.pruned import expect_pruned, expected_ends
from harness.plan.shapes import Shape, StudyShape
from harness.search.rungs import rung_epochs
from harness.spec.search import SearchSpec


def shape(slots: int, seeds: int = 1, epochs: int = 9) -> StudyShape:
    size = Shape(train=100, val=10, test=10, epochs=epochs, steps=10 * epochs, batch_size=10)
    return StudyShape(
        "a@b", "a", "b", size, slots=slots, search_trials=slots * seeds, confirm_trials=3, repeats=0, waits=1
    )


@pytest.mark.parametrize("pruner", ["asha", "hyperband", "median"])
@pytest.mark.parametrize("slots", [4, 12, 30])
def test_every_slot_ends_once_at_a_rung_or_at_the_end_and_anchors_at_the_end(
    pruner: str, slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruned, "_DRAWS", 1)
    search = SearchSpec.model_validate({"pruner": pruner, "first_rung": 2, "trials": slots})
    ends = expected_ends(search, 9, slots)
    assert sum(ends.values()) == pytest.approx(slots)
    assert set(ends) <= {*rung_epochs(search, 9), 9}
    # What is not yet finished when a slot begins decides nothing about it, the anchors among it.
    assert ends[9] >= min(slots, search.anchors + search.concurrency - 1)
    assert (len(ends) > 1) == (slots > 9)


def test_later_slots_end_like_those_that_are_played_through(monkeypatch: pytest.MonkeyPatch) -> None:
    search = SearchSpec(pruner="asha")
    whole = expected_ends(search, 9, 24)
    monkeypatch.setattr(pruned, "_SLOTS", 12)
    shorter = expected_ends(search, 9, 24)
    assert sum(shorter.values()) == pytest.approx(24) and set(shorter) <= {1, 3, 9}
    assert shorter[9] == pytest.approx(whole[9], abs=4)


def test_one_rung_is_as_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruned, "_DRAWS", 300)
    search = SearchSpec(pruner="asha", first_rung=1, reduction=2, anchors=0, concurrency=1, trials=4)
    # Of the n slots that a rung has seen, the best n // 2 go on, and always the best one.
    goes_on = 1 + 1 / 2 + 1 / 3 + 2 / 4
    ends = expected_ends(search, 2, 4)
    assert ends[2] == pytest.approx(goes_on, abs=0.15)
    assert ends[1] == pytest.approx(4 - goes_on, abs=0.15)


def test_time_follows_the_epochs_and_further_seeds_follow_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruned, "expected_ends", lambda search, epochs, slots: {3: 2.0, 9: 4.0})
    parts = (Parts(start=1.0, step=0.1), Parts(start=1.0, step=0.3))
    found = expect_pruned(
        SearchSpec(pruner="asha", seeds=[0, 1]), [shape(6, seeds=2)], {"a@b": Measured(parts=parts, origin="here")}
    )
    assert found is not None
    assert (found.steps, found.steps_left) == (12 * 90, 2 * 30 + 8 * 90)
    assert found.seconds == pytest.approx(12 * (1 + 90 * 0.2))
    assert found.seconds_left == pytest.approx(2 * (1 + 30 * 0.2) + 8 * (1 + 90 * 0.2))
    unknown = expect_pruned(SearchSpec(pruner="asha", seeds=[0, 1]), [shape(6, seeds=2)], {})
    assert unknown is not None and (unknown.steps_left, unknown.seconds) == (found.steps_left, None)
    for pruner in ("none", "patience"):
        assert expect_pruned(SearchSpec.model_validate({"pruner": pruner}), [shape(6)], {}) is None


def test_a_plan_says_it(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(shared_cache).items():
        monkeypatch.setenv(name, value)
    train = {"epochs": 9, "batch_size": 64, "image_size": 8}
    file = tiny_sweep(tmp_path, methods=["linear_probe"], search={"trials": 20, "pruner": "asha"}, train=train)
    assert command.main([str(file), "--no-probe"]) == 0
    assert "pruning leaves" in (said := " ".join(capsys.readouterr().out.split())) and "of the search's steps" in said
    assert command.main([str(file), "--no-probe", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    (study,) = plan["studies"]
    assert plan["pruned"]["steps"] == study["search_trials"] * study["steps"] / study["trials"]
    assert 0.3 < plan["pruned"]["steps_left"] / plan["pruned"]["steps"] < 0.8
    assert plan["pruned"]["seconds"] is None
