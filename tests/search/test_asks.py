"""Every ask is a function of what is recorded, and samplers do what their names say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.errors import RequestError
from harness.search import Asked, best_slots, choose, make_sampler
from harness.space.parameters import Choice, Fixed, Float, Int, Space, Value, defaults
from harness.spec.search import SearchSpec

SPACE: Space = {
    "lr": Float(1e-3, 1e-5, 1e-1, log=True),
    "rank": Choice(8, (1, 2, 4, 8, 16)),
    "depth": Int(3, 1, 6),
    "optimizer": Fixed("adamw"),
}
DISCRETE: Space = {"rank": Choice(8, (1, 2, 4, 8)), "depth": Int(3, 1, 4), "optimizer": Fixed("adamw")}


def spec(**settings: object) -> SearchSpec:
    return SearchSpec.model_validate(settings)


def ask(space: Space, search: SearchSpec, study: str, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
    """What an engine that has seen nothing yet asks."""
    return make_sampler(space, search, study).propose(slot, history)


def slot_count(space: Space, search: SearchSpec) -> int:
    return make_sampler(space, search, "m@d").slots


def prerequisites(slot: int, search: SearchSpec) -> range:
    return make_sampler(SPACE, search, "m@d").conditioning(slot)


def quality(hyperparameters: dict[str, object]) -> float:
    lr, depth = hyperparameters["lr"], hyperparameters["depth"]
    assert isinstance(lr, float) and isinstance(depth, int)
    return -abs(np.log10(lr) + 2.0) - 0.1 * abs(depth - 5)


def simulate(search: SearchSpec, study: str, slots: int) -> list[Asked]:
    """A search in which slots finish as early as the rules allow."""
    history: list[Asked] = []
    for slot in range(slots):
        known = [
            Asked(h.slot, h.hyperparameters, h.score if h.slot in prerequisites(slot, search) else None)
            for h in history
        ]
        hyperparameters = ask(SPACE, search, study, slot, known)
        history.append(Asked(slot, hyperparameters, quality(hyperparameters)))
    return history


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random", "qmc", "grid"])
def test_slot_0_is_the_default_and_asks_can_be_replayed(sampler: str) -> None:
    search = spec(sampler=sampler, trials=12, startup=3, concurrency=2)
    space = DISCRETE if sampler == "grid" else SPACE
    slots = 5 if sampler == "gp" else 12  # fitting takes a second
    history: list[Asked] = []
    asks_all = make_sampler(space, search, "m@d")
    for slot in range(slots):
        hyperparameters = ask(space, search, "m@d", slot, history)
        assert asks_all.propose(slot, history) == hyperparameters, "what an engine keeps changes what it asks"
        history.append(Asked(slot, hyperparameters, float(slot)))
        assert hyperparameters.keys() == space.keys() and hyperparameters["optimizer"] == "adamw"
    assert history[0].hyperparameters == defaults(space)
    again = [ask(space, search, "m@d", slot, history) for slot in reversed(range(slots))][::-1]
    assert again == [asked.hyperparameters for asked in history]
    other = [ask(space, search, "m@other", slot, history) for slot in range(slots)]
    assert other != again


@settings(max_examples=25, deadline=None)
@given(st.integers(5, 14), st.randoms(use_true_random=False))
def test_a_tpe_ask_ignores_what_it_may_not_know(slot: int, rng: object) -> None:
    # Whatever later slots have come to in the meantime, and in whatever order they are listed, the ask is the same.
    search = spec(sampler="tpe", trials=20, startup=3, concurrency=4)
    history = simulate(search, "m@d", slot)
    may_know = prerequisites(slot, search)
    blind = [Asked(h.slot, h.hyperparameters, h.score if h.slot in may_know else None) for h in history]
    shuffled = [*blind]
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert ask(SPACE, search, "m@d", slot, history) == ask(SPACE, search, "m@d", slot, shuffled)


def test_tpe_learns_more_than_random() -> None:
    def best(sampler: str, study: str) -> float:
        history = simulate(spec(sampler=sampler, trials=40, startup=8, concurrency=2), study, 40)
        return max(asked.score for asked in history if asked.score is not None)

    studies = [f"study{n}" for n in range(8)]
    assert np.mean([best("tpe", s) for s in studies]) > np.mean([best("random", s) for s in studies])


def test_a_new_hyperparameter_shifts_no_other() -> None:
    larger: Space = {"alpha": Float(0.5, 0.0, 1.0), **SPACE, "zeta": Int(2, 1, 1000, log=True)}
    for sampler, slots in (("random", 200), ("tpe", 10), ("gp", 10)):
        search = spec(sampler=sampler, trials=200)
        for slot in range(slots):
            asked = ask(larger, search, "m@d", slot, ())
            assert {name: asked[name] for name in SPACE} == ask(SPACE, search, "m@d", slot, ())


def test_random_values_cover_each_scale_evenly() -> None:
    space: Space = {
        "x": Float(0.5, 0.0, 1.0),
        "lr": Float(1e-3, 1e-4, 1.0, log=True),
        "n": Int(2, 1, 4),
        "width": Int(2, 1, 64, log=True),
        "kind": Choice("a", ("a", "b")),
    }
    asked = [ask(space, spec(sampler="random", trials=2001), "m@d", slot, ()) for slot in range(1, 2001)]
    shares = {
        "x": np.mean([0.25 <= float(one["x"]) < 0.5 for one in asked]),
        "lr": np.mean([1e-3 <= float(one["lr"]) < 1e-2 for one in asked]),
        "n": np.mean([one["n"] == 4 for one in asked]),
        "width": np.mean([int(one["width"]) <= 8 for one in asked]),
        "kind": np.mean([one["kind"] == "b" for one in asked]),
    }
    expected = {"x": 0.25, "lr": 0.25, "n": 0.25, "width": np.log(8.5 / 0.5) / np.log(64.5 / 0.5), "kind": 0.5}
    assert shares == pytest.approx(expected, abs=0.04)


def test_failed_slots_teach_nothing_but_do_not_stop_the_search() -> None:
    search = spec(sampler="tpe", trials=10, startup=2, concurrency=1)
    history = [Asked(slot, ask(SPACE, search, "m@d", 0, ()), None) for slot in range(4)]
    assert ask(SPACE, search, "m@d", 4, history).keys() == SPACE.keys()
    assert choose(history, SPACE, search, {}) is None


def test_the_grid_is_walked_completely_and_once() -> None:
    search = spec(sampler="grid", trials=100)
    slots = slot_count(DISCRETE, search)
    points = [ask(DISCRETE, search, "m@d", slot, ()) for slot in range(slots)]
    assert slots == 16 and len({tuple(point.items()) for point in points}) == 16
    with pytest.raises(RequestError, match=r"continuous range of 'lr'.*choice"):
        slot_count(SPACE, search)


def test_quasi_random_points_cover_more_evenly_than_random_ones() -> None:
    space: Space = {"x": Float(0.5, 0.0, 1.0), "y": Float(0.5, 0.0, 1.0)}

    def gap(sampler: str, study: str) -> float:
        asked = [ask(space, spec(sampler=sampler, trials=64), study, slot, ()) for slot in range(1, 33)]
        points = np.array([[p["x"], p["y"]] for p in asked], dtype=float)
        grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 21)] * 2), -1).reshape(-1, 1, 2)
        return float(np.linalg.norm(grid - points, axis=-1).min(axis=1).max())

    studies = [f"study{n}" for n in range(6)]
    mean: Callable[[str], float] = lambda sampler: float(np.mean([gap(sampler, s) for s in studies]))  # noqa: E731
    assert mean("qmc") < mean("random")


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "grid"])
def test_the_order_of_declaration_changes_no_ask(sampler: str) -> None:
    space = DISCRETE if sampler == "grid" else SPACE
    turned = dict(reversed(list(space.items())))
    search = spec(sampler=sampler, trials=6, startup=2, concurrency=1)
    history: list[Asked] = []
    for slot in range(6):
        asked = ask(space, search, "m@d", slot, history)
        assert ask(turned, search, "m@d", slot, history) == asked
        history.append(Asked(slot, asked, float(slot)))


def test_a_space_without_anything_to_search_has_one_slot() -> None:
    assert slot_count({"lr": Fixed(0.1)}, spec(trials=30)) == 1


def test_the_best_slot_is_chosen_and_the_earliest_of_equals() -> None:
    history = [Asked(0, {}, 0.5), Asked(1, {}, 0.9), Asked(2, {}, None), Asked(3, {}, 0.9)]
    chosen = choose(history, SPACE, spec(), {})
    assert chosen is not None and chosen.slot.slot == 1 and chosen.expected is None


def test_other_rules_than_the_best_score_are_less_optimistic() -> None:
    space: Space = {"x": Float(0.5, 0.0, 1.0), "kind": Choice("a", ("a", "b"))}
    regrets: dict[str, list[float]] = {"best": [], "top_k": [], "surrogate_mean": []}
    promises: dict[str, list[float]] = {rule: [] for rule in regrets}
    for study in range(8):
        noise, further = np.random.default_rng(study).normal(scale=0.1, size=(2, 30))
        asked = [ask(space, spec(sampler="random", trials=30), f"study{study}", slot, ()) for slot in range(30)]
        truth = [0.8 - (float(one["x"]) - 0.4) ** 2 - 0.2 * (one["kind"] == "b") for one in asked]
        history = [Asked(slot, asked[slot], truth[slot] + noise[slot]) for slot in range(30)]
        again = {entry.slot: truth[entry.slot] + further[entry.slot] for entry in best_slots(history, 8)}
        for rule in regrets:
            found = choose([*history, Asked(30, asked[0], None, pruned=True)], space, spec(choose=rule), again)
            assert found is not None and found.slot.score is not None
            regrets[rule].append(max(truth) - truth[found.slot.slot])
            promises[rule].append(found.promised - truth[found.slot.slot])
    for rule, share in (("top_k", 0.8), ("surrogate_mean", 0.5)):
        assert np.mean(regrets[rule]) < np.mean(regrets["best"])
        assert abs(np.mean(promises[rule])) < share * np.mean(promises["best"]), rule
