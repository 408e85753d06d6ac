"""Hyperparameters that count only at times, and those that must not exceed another, with every sampler."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_asks import ask, spec

from harness.core.errors import RequestError
from harness.search import Asked, make_sampler
from harness.space.conditions import broken, check_configuration, counts
from harness.space.parameters import Choice, Fixed, Float, Int, Space, defaults, from_json, searched, to_json
from harness.spec.space_forms import override

SPACE: Space = {
    "lr": Float(1e-3, 1e-5, 1e-1, log=True, at_most="head_lr"),
    "head_lr": Float(1e-2, 1e-4, 1.0, log=True),
    "optimizer": Choice("adamw", ("adamw", "sgd")),
    "momentum": Float(0.9, 0.5, 0.99, when={"optimizer": "sgd"}),
    "nesterov": Choice("no", ("no", "yes"), when={"optimizer": ("sgd",)}),
    "warm": Int(2, 1, 9, when={"nesterov": "yes"}),
}
NUMBERS: Space = {
    "lr": Float(1e-3, 1e-5, 1e-1, log=True, at_most="head_lr"),
    "head_lr": Float(1e-2, 1e-4, 1.0, log=True),
    "depth": Int(3, 1, 6),
    "optimizer": Fixed("adamw"),
}


def quality(asked: dict[str, Any]) -> float:
    return -abs(np.log10(asked["lr"]) + 2.0) - 0.1 * abs(asked.get("depth", 5) - 5) - (asked["optimizer"] == "sgd")


def run(space: Space, search: dict[str, Any], slots: int) -> list[Asked]:
    engine, history = make_sampler(space, spec(trials=slots, **search), "m@d"), list[Asked]()
    for slot in range(slots):
        asked = engine.propose(slot, history)
        check_configuration(space, asked)
        # What a fresh engine answers, in another process for instance, is the same.
        assert ask(space, engine.search, "m@d", slot, history) == asked
        history.append(Asked(slot, asked, quality(dict(asked)) if slot % 7 != 5 else None))
    return history


@pytest.mark.parametrize("sampler", ["random", "qmc", "tpe"])
def test_every_configuration_keeps_the_conditions(sampler: str) -> None:
    history = run(SPACE, {"sampler": sampler, "startup": 4, "concurrency": 2}, 16)
    asked = [dict(entry.hyperparameters) for entry in history]
    assert {one["optimizer"] for one in asked} == {"adamw", "sgd"}
    assert all(one["momentum"] == 0.9 for one in asked if one["optimizer"] == "adamw")
    assert len({one["momentum"] for one in asked if one["optimizer"] == "sgd"}) > 2
    assert all(one["lr"] <= one["head_lr"] for one in asked)
    # What does not count draws no further stream: without conditions the others have the same values.
    if sampler == "random":
        free: Space = {**SPACE, "momentum": Float(0.9, 0.5, 0.99)}
        again = [ask(free, spec(sampler="random", trials=16), "m@d", slot, ()) for slot in range(16)]
        assert [(one["lr"], one["optimizer"]) for one in again] == [(one["lr"], one["optimizer"]) for one in asked]


def test_a_grid_holds_each_allowed_configuration_once() -> None:
    space: Space = {
        "rank": Int(1, 1, 3, at_most="depth"),
        "depth": Int(2, 1, 3),
        "kind": Choice("a", ("a", "b")),
        "size": Choice(1, (1, 2, 3), when={"kind": "b"}),
    }
    engine = make_sampler(space, spec(sampler="grid", trials=100), "m@d")
    points = [engine.propose(slot, ()) for slot in range(engine.slots)]
    assert len(points) == len({tuple(sorted(point.items())) for point in points}) == 6 * (1 + 3)
    assert not any(broken(space, point) for point in points)


def test_cma_es_moves_towards_what_scored_best() -> None:
    history = run(NUMBERS, {"sampler": "cmaes", "concurrency": 3}, 60)
    scores = [quality(dict(entry.hyperparameters)) for entry in history]
    assert np.mean(scores[-14:]) > 0.5 * np.mean(scores[1:15]) and max(scores[-14:]) > max(scores[:15])
    # A generation of 4 + ⌊3 ln 3⌋ knows exactly the generations before it.
    engine = make_sampler(NUMBERS, spec(sampler="cmaes", pruner="asha", concurrency=3), "m@d")
    assert [len(engine.conditioning(slot)) for slot in (0, 1, 7, 8, 14, 15)] == [0, 0, 0, 8, 8, 15]
    assert [len(engine.prerequisites(slot)) for slot in (7, 8, 14)] == [5, 8, 12]
    first = [entry.hyperparameters for entry in history[1:8]]
    assert [engine.propose(slot, ()) for slot in range(1, 8)] == first


@pytest.mark.parametrize(
    ("space", "sampler", "message"),
    [
        ({**NUMBERS, "kind": Choice("a", ("a", "b"))}, "cmaes", r"needs numbers, and 'kind' is a choice; .*use tpe"),
        ({**NUMBERS, "x": Float(0.5, 0, 1, when={"depth": 3})}, "cmaes", r"'x' has a `when`; use tpe"),
        ({"lr": Float(0.1, 0.01, 1.0)}, "cmaes", r"m@d (searches|has) only 'lr'; use gp"),
        (SPACE, "gp", r"'momentum', which counts only at times; use tpe"),
    ],
)
def test_what_a_sampler_cannot_search_is_refused(space: Space, sampler: str, message: str) -> None:
    with pytest.raises(RequestError, match=rf"^search\.sampler: {sampler} .*{message}"):
        make_sampler(space, spec(sampler=sampler), "m@d")


def test_a_sweep_file_declares_conditions() -> None:
    given = {
        "momentum": {"uniform": [0.5, 0.99], "when": {"optimizer": ["sgd"]}},
        "lr": {"log": [1e-5, 1e-1], "at_most": "head_lr"},
    }
    plain: Space = {
        "lr": Float(1e-3, 1e-4, 1e-2, log=True),
        "head_lr": Fixed(0.01),
        "optimizer": Fixed("adamw", ("adamw", "sgd")),
        "momentum": Fixed(0.9),
    }
    space = override(plain, given, "methods.m")
    assert from_json(to_json(space)).keys() == space.keys() and to_json(from_json(to_json(space))) == to_json(space)
    # An optimizer that is fixed leaves nothing to search of what counts with another one.
    assert list(searched(space)) == ["lr"] and not counts(space, "momentum", defaults(space))
    assert list(searched(override(space, {"optimizer": "sgd"}, "m"))) == ["lr", "momentum"]
    # Another range keeps the conditions; spaces without any are described as before there were any.
    assert to_json(override(space, {"lr": {"log": [1e-4, 1e-3]}}, "m"))["lr"]["at_most"] == "head_lr"
    assert to_json(plain)["lr"] == {"kind": "Float", "default": 1e-3, "low": 1e-4, "high": 1e-2, "log": True}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"lr": {"log": [1e-5, 1], "at_most": "hed_lr"}},
            "m.lr: at_most: no such other hyperparameter 'hed_lr'; did you",
        ),
        ({"lr": {"log": [1e-5, 1], "at_most": "optimizer"}}, "m.lr: at_most: optimizer is not a number"),
        (
            {"lr": {"log": [1e-5, 1], "at_most": "depth", "default": 1.0}, "depth": 0},
            "m.lr: at_most depth: the default 1",
        ),
        ({"lr": {"log": [1e-5, 1], "at_most": 3}}, "m.lr: at_most needs the name of another"),
        ({"optimizer": {"choice": ["adamw"], "at_most": "lr"}}, "m.optimizer: at_most needs a range"),
        ({"lr": {"log": [1e-5, 1], "when": {"optimiser": "sgd"}}}, "m.lr: when: optimiser: no such hyperparameter"),
        ({"lr": {"log": [1e-5, 1], "when": {"depth": "sgd"}}}, "m.lr: when: depth: 'sgd' is not of the kind of 3"),
        ({"lr": {"log": [1e-5, 1], "when": {"head_lr": 0.1}}}, "m.lr: when: head_lr is a real number"),
        ({"lr": {"log": [1e-5, 1], "when": "sgd"}}, "m.lr: when needs a mapping such as"),
        ({"depth": {"int": [1, 3], "when": {"depth": 3}}}, "m.depth: when: it depends on itself"),
    ],
)
def test_a_condition_that_cannot_hold_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        override(NUMBERS, given, "m")
    assert str(caught.value).startswith(message), str(caught.value)
