"""Training sizes, networks and domains held out in turn: conditions that are dataset labels of one evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up import logits, made_up
from made_up_replicates import OVERLAP

from analysis.comparison.combined import Combined
from analysis.comparison.compare import analyse
from analysis.comparison.evidence import Evidence
from analysis.comparison.held_out_domains import on_new_domains
from analysis.comparison.networks import on_networks
from analysis.comparison.training_sizes import CurveFindings, curve_findings
from analysis.figures.sizes import size_curves
from analysis.stats.interaction import interaction
from analysis.stats.learning_curve import area_weights
from analysis.stats.resampled import mean_over_splits
from analysis.stats.twoway import two_way
from analysis.tables import axes as tables
from analysis.words.axes import curve_sentences, network_sentences

SIZES = {"alpha at 25": 25, "alpha at 100": 100, "alpha at 400": 400}
SEEDS = tuple(range(1000, 1006))


def conditions(levels: dict[str, dict[str, float]], **changes: object) -> Evidence:
    """Label → method → level, over the same test cases."""
    plan = {"family": "vs_control", "control": "control", "metrics": ("accuracy",), "metric": "accuracy", **changes}
    parts = {label: made_up(own, (label,), SEEDS, **plan) for label, own in levels.items()}  # type: ignore[arg-type]
    first = next(iter(parts.values()))
    return replace(
        first,
        datasets=tuple(levels),
        cells={place: cell for part in parts.values() for place, cell in part.cells.items()},
        predictions=lambda dataset: parts[dataset].predictions(dataset),
        classes={label: part.classes[label] for label, part in parts.items()},
        provenance={label: replace(part.about(label), source="alpha") for label, part in parts.items()},
    )


def right(level: float, label: str, method: str) -> np.ndarray:
    made = [logits(level, seed, 240, method + label) for seed in SEEDS]
    return np.array([values.argmax(axis=1) == labels for values, labels in made], dtype=np.float64)


CURVES = {
    "alpha at 25": {"control": 0.6, "gpaf": 1.3},
    "alpha at 100": {"control": 1.3, "gpaf": 1.9},
    "alpha at 400": {"control": 1.9, "gpaf": 2.4},
}


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return conditions(CURVES)


@pytest.fixture(scope="module")
def curves(evidence: Evidence) -> CurveFindings:
    found = curve_findings(evidence, "alpha", SIZES)
    assert found is not None
    return found


def test_areas_and_their_difference_are_two_way_analyses_of_weighted_tables(curves: CurveFindings) -> None:
    weights = area_weights((25, 100, 400))
    tables = {
        name: np.tensordot(weights, [right(own[name], label, name) for label, own in CURVES.items()], 1)
        for name in ("control", "gpaf")
    }
    expected = two_way(tables["gpaf"] - tables["control"])
    (difference,) = curves.differences
    assert difference.estimate.estimate == pytest.approx(expected.estimate, abs=1e-12)
    assert (difference.estimate.low, difference.estimate.high) == pytest.approx((expected.low, expected.high), abs=1e-7)
    assert difference.p_adjusted is not None and difference.p_adjusted < 0.01 and difference.family == 1
    assert {one.method: one.estimate.estimate for one in curves.areas} == pytest.approx(
        {name: table.mean() for name, table in tables.items()}
    )


def test_images_saved_are_read_from_the_controls_curve_and_what_it_never_reaches_is_said(
    curves: CurveFindings, evidence: Evidence
) -> None:
    by_size = {int(one.needed.size): one.needed for one in curves.saved}
    # At 25 images gpaf is as good as the control at 100, whose level is the same; at 400 it is better than all.
    needed = by_size[25]
    assert needed.estimate is not None and needed.low is not None and needed.high is not None
    assert 50 < needed.low < 100 < needed.high < 250 and needed.saved == pytest.approx(needed.estimate - 25)
    assert (by_size[400].reached, by_size[400].estimate, by_size[400].high) == (False, None, None)
    said = " ".join(curve_sentences(curves, evidence.plan))
    assert "To score as gpaf does, control needed" in said
    assert "more than 400 images in place of those with 400 images (not reached" in said
    table = tables.images_saved(curves, evidence.plan, "alpha")
    assert table is not None and table.groups[0][1][2][2] == "not reached with 400"


def test_the_curves_are_shown(curves: CurveFindings, evidence: Evidence) -> None:
    (figure,) = size_curves(curves, evidence.plan, "sizes_alpha")
    assert figure.svg.startswith(b"<?xml") and "by number of training images" in figure.caption
    assert [row[0] for row in tables.areas(curves, evidence.plan, "alpha").groups[0][1]] == ["control", "gpaf"]
    assert len(curves.points) == 6


def test_one_size_is_no_curve_and_two_of_one_size_are_refused(evidence: Evidence) -> None:
    assert curve_findings(evidence, "alpha", {"alpha at 25": 25}) is None
    with pytest.raises(ValueError, match="not different"):
        curve_findings(evidence, "alpha", {"alpha at 25": 25, "alpha at 100": 25})


def test_where_splits_vary_a_sum_rests_on_one_number_a_split() -> None:
    whole = conditions(CURVES)
    cells = {
        place: replace(cell, splits={seed: f"split {at}" for at, seed in enumerate(cell.seeds)})
        for place, cell in whole.cells.items()
    }
    split = replace(whole, cells=cells, overlap=dict.fromkeys(whole.datasets, OVERLAP))
    found = Combined(split, tuple(SIZES)).estimate({("alpha at 400", "gpaf"): 1.0, ("alpha at 400", "control"): -1.0})
    own = whole.cells["alpha at 400", "gpaf"].scores["accuracy"]
    other = whole.cells["alpha at 400", "control"].scores["accuracy"]
    values = np.array([(own[seed] or 0) - (other[seed] or 0) for seed in SEEDS])
    expected = mean_over_splits(values, range(len(SEEDS)), OVERLAP)
    assert found is not None and (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


NETWORKS = {
    "alpha on resnet": {"control": 1.0, "gpaf": 1.8, "lora_c": 1.05},
    "alpha on convnext": {"control": 1.5, "gpaf": 1.5, "lora_c": 1.55},
}


def test_a_difference_that_only_one_network_has_is_an_interaction() -> None:
    evidence = conditions(NETWORKS)
    labels = {"alpha": {"resnet": "alpha on resnet", "convnext": "alpha on convnext"}}
    found = {one.first: one for one in on_networks(analyse(evidence), labels)}
    gpaf, lora = found["gpaf"], found["lora_c"]
    assert gpaf.everywhere is None and gpaf.p_adjusted is not None and gpaf.p_adjusted < 0.01
    assert lora.p_adjusted is not None and lora.p_adjusted > 0.05 and gpaf.family == 2
    change = right(1.8, "alpha on resnet", "gpaf") - right(1.0, "alpha on resnet", "control")
    change -= right(1.5, "alpha on convnext", "gpaf") - right(1.5, "alpha on convnext", "control")
    assert gpaf.interaction.change.estimate == pytest.approx(change.mean())
    assert gpaf.interaction.p == pytest.approx(two_way(change).p_value(), rel=1e-5)
    said = network_sentences(list(found.values()), evidence.plan)
    assert "is not the same on every network: better on resnet and inconclusive on convnext" in said[0]
    assert "changes from network to network" in said[0] and "was not shown to change" in said[1]
    table = tables.networks(list(found.values()), evidence.plan)
    assert table is not None and table.groups[0][1][0][3] == "differs"


@pytest.mark.slow
def test_without_an_interaction_one_is_claimed_as_seldom_as_promised() -> None:
    rng = np.random.default_rng(0)
    claimed = 0
    for _ in range(400):
        case = rng.normal(size=(1, 60))
        tables_of = [0.1 + case + 0.1 * rng.normal(size=(5, 1)) + 0.5 * rng.normal(size=(5, 60)) for _ in range(3)]
        found = interaction(3, lambda a, b, own=tables_of: two_way(own[a] - own[b]))
        claimed += found.p is not None and found.p <= 0.05
    assert 0.01 * 400 < claimed < 0.075 * 400


def test_an_interaction_needs_two_conditions() -> None:
    with pytest.raises(ValueError, match="two conditions"):
        interaction(1, lambda a, b: two_way(np.zeros((2, 2))))


def domains(number: int) -> tuple[Evidence, dict[str, str]]:
    names = {f"alpha without {place}": f"site {place}" for place in range(number)}
    levels = {label: {"control": 1.2 + 0.05 * at, "gpaf": 1.6 + 0.05 * at} for at, label in enumerate(names)}
    return conditions(levels), names


def test_few_domains_carry_no_claim_about_new_ones() -> None:
    evidence, names = domains(3)
    analysis = analyse(evidence)
    (one,) = on_new_domains(analysis, names)
    assert one.estimate is None and one.caution is not None and "3 domains cannot speak" in one.caution.sentence
    table = tables.held_out_domains(analysis, names, [one], "alpha")
    assert table.head[1:6] == ("site 0", "site 1", "site 2", "Mean", "Worst")
    assert "cannot speak for domains that were not tried" in table.note


def test_six_domains_are_a_sample_whose_trainings_share_images() -> None:
    evidence, names = domains(6)
    analysis = analyse(evidence)
    (one,) = on_new_domains(analysis, names)
    known = [own.pair.estimate.estimate for own in analysis.of("primary") if own.pair.estimate is not None]
    expected = mean_over_splits(np.array(known), range(6), 1 / 5)
    assert one.estimate is not None and (one.estimate.low, one.estimate.high) == (expected.low, expected.high)
    apart = np.std(known, ddof=1) / np.sqrt(6)
    assert expected.standard_error == pytest.approx(apart * np.sqrt(1 + 6 / 5))
