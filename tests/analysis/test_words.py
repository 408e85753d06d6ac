from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analysis.comparison.compare import Analysis, analyse
from analysis.comparison.evidence import DeclaredPlan, Evidence
from analysis.comparison.phrases import decimals, listed, network_phrase, p_phrase, seeds_phrase
from analysis.comparison.robustness import Check, Robustness
from analysis.comparison.scores import Pair
from analysis.comparison.verdicts import Comparison, averages, judge
from analysis.stats.cautions import few_seeds
from analysis.stats.estimate import mean_over_seeds
from analysis.words.findings import results_paragraphs
from analysis.words.methods import methods_paragraph
from harness.run.record_values import NetworkRecord
from tests.analysis.made_up import FORBIDDEN, against_control, made_up

NUMBER = r"(−?\d+(?:\.\d+)?)"
INTERVAL = rf"95 % interval {NUMBER} to {NUMBER}, adjusted (p [=<>] [\d.]+)"
PART = rf"difference {NUMBER}(?:, {INTERVAL})?"
OUTCOMES = {"higher": "better", "lower": "worse", "lower (better)": "better", "higher (worse)": "worse"}
SCORED = "|".join(map(re.escape, sorted(OUTCOMES, key=len, reverse=True)))
DECIDED = re.compile(rf"(\S+) scored {NUMBER} ({SCORED}) than (\S+) \({INTERVAL}\)")
EQUIVALENT = re.compile(rf"(\S+) and (\S+) \({PART}")
OPEN = re.compile(
    rf"(\S+) with (\S+) (?:was inconclusive )?\({PART}; "
    rf"(?:the study had 80 % power only for differences of at least {NUMBER})?"
)
REFUSED = re.compile(r"of (\S+) with (\S+?)(?=,| was possible| and of)")


def results_paragraph(analysis: Analysis) -> str:
    return " ".join(results_paragraphs(analysis))


def agrees(printed: str, value: float) -> bool:
    """Whether a printed number is the value, rounded to the printed places."""
    digits = len(printed.partition(".")[2])
    return abs(float(printed.replace("−", "-")) - value) <= 0.5 * 10**-digits + 1e-12


def interval_of(one: Comparison, turned: bool) -> tuple[float, float] | None:
    estimate = one.pair.estimate
    assert estimate is not None
    if estimate.low is None or estimate.high is None:
        return None
    return (-estimate.high, -estimate.low) if turned else (estimate.low, estimate.high)


def check_every_number(text: str, analysis: Analysis) -> None:
    """Each declared comparison is told once, with its own numbers, in the part on its dataset."""
    names = [f"On {name}, " for name in analysis.evidence.datasets] + ["On average over these "]
    groups = [analysis.of("primary", name) for name in analysis.evidence.datasets] + [list(analysis.averages)]
    starts = [text.find(name) for name in names] + [len(text)]
    for place, group in enumerate(groups):
        start = starts[place]
        assert (start >= 0) == bool(group)
        if not group:
            continue
        end = next(later for later in starts[place + 1 :] if later >= 0)
        found = dict(told(text[start:end]))
        assert set(found) == {(one.pair.first, one.pair.second) for one in group}
        for one in group:
            check_numbers(one, *found[one.pair.first, one.pair.second])


def told(text: str) -> Iterator[tuple[tuple[str, str], tuple[str, Sequence[str | None]]]]:
    """(first, second) → (outcome, its numbers as printed)."""
    for first, size, side, second, *numbers in DECIDED.findall(text):
        yield (first, second), (OUTCOMES[side], [size, *numbers])
    for sentence in re.findall(r"[Ee]quivalence within.*?\)\.", text):
        for first, second, *numbers in EQUIVALENT.findall(sentence):
            yield (first, second), ("equivalent", numbers)
    for match in OPEN.finditer(text):
        yield (match[1], match[2]), ("inconclusive", match.groups()[2:])
    for sentence in re.findall(r"[Nn]o comparison (of .*?) was possible\.", text):
        for first, second in REFUSED.findall(f"{sentence} was possible"):
            yield (first, second), ("not made", ())


def check_numbers(one: Comparison, outcome: str, numbers: Sequence[str | None]) -> None:
    estimate = one.pair.estimate
    if estimate is None:
        assert outcome == "not made"
        return
    assert outcome == one.outcome
    sized = outcome in ("better", "worse")
    size, low, high = (text or None for text in numbers[:3])
    assert size is not None and agrees(size, abs(estimate.estimate) if sized else estimate.estimate)
    ends = interval_of(one, turned=sized and estimate.estimate < 0)
    assert (ends is None) == (low is None)
    if ends is not None:
        assert low is not None and high is not None and agrees(low, ends[0]) and agrees(high, ends[1])
        # An end that is not zero is not printed as zero.
        assert all(
            float(text.replace("−", "-")) != 0 or abs(end) < 1e-6 for text, end in zip((low, high), ends, strict=True)
        )
        p = one.equivalence_p_adjusted if outcome == "equivalent" else one.p_adjusted
        assert p is not None and numbers[3] == p_phrase(p, 0.05)
    if outcome == "inconclusive" and one.detectable is not None:
        widest = 1.0 if one.pair.metric == "balanced_accuracy" else math.inf
        assert (numbers[4] is None) == (one.detectable > widest)
        assert numbers[4] is None or agrees(numbers[4], one.detectable)


@st.composite
def judged(draw: st.DrawFn) -> Analysis:
    """Analyses of score differences with small and large effects, some without spread, some pairs impossible."""
    family = draw(st.sampled_from(["vs_control", "all_pairs"]))
    methods = tuple(f"m{place}" for place in range(draw(st.integers(2, 4))))
    datasets = tuple(f"d{place}" for place in range(draw(st.integers(1, 3))))
    metric = draw(st.sampled_from(["balanced_accuracy", "nll", "dice"]))
    plan = DeclaredPlan(
        metric=metric, metrics=(metric,), family=family, control=methods[-1] if family == "vs_control" else None,
        margin=draw(st.sampled_from([None, 0.02])),
    )  # fmt: skip
    evidence = Evidence(
        name="drawn", source="drawn", plan=plan, datasets=datasets, methods=methods, cells={},
        predictions=lambda _: None,
    )  # fmt: skip
    pairs = []
    for dataset in datasets:
        for first, second in plan.pairs(methods):
            common = Pair(dataset=dataset, metric=metric, first=first, second=second, seeds=())
            kind = draw(st.sampled_from(["spread", "spread", "spread", "flat", "refused"]))
            refused = few_seeds(1)
            assert refused is not None
            if kind == "refused":
                pairs.append(replace(common, cautions=(refused,)))
                continue
            mean, sd = draw(st.sampled_from([-0.2, -0.004, 0.0, 0.011, 30.0])), draw(st.sampled_from([1e-4, 0.01, 5.0]))
            noise = np.random.default_rng(draw(st.integers(0, 99))).normal(mean, sd if kind == "spread" else 0.0, 6)
            estimate = mean_over_seeds(noise)
            made = replace(common, seeds=tuple(range(6)), replicates=6, interval="t_over_seeds", estimate=estimate)
            pairs.append(made)
    found = judge([*pairs, *averages(pairs, evidence, {})], evidence)
    return Analysis(
        evidence=evidence, scores=(), comparisons=tuple(one for one in found if one.pair.dataset is not None),
        averages=tuple(one for one in found if one.pair.dataset is None), robustness=(), exact_means={}, cautions=(),
    )  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(judged())
def test_each_declared_comparison_is_told_once_with_its_own_numbers(analysis: Analysis) -> None:
    text = results_paragraph(analysis)
    check_every_number(text, analysis)
    both = f"{methods_paragraph(analysis, None)} {text}"
    assert not FORBIDDEN.search(both)
    assert all(sentence[-1] not in ",;:" for sentence in both.split(". "))


@pytest.mark.parametrize(
    "evidence",
    [
        against_control(margin=None),
        against_control(group_size=2),
        made_up({"a": 1.5, "b": 1.9}, datasets=("alpha",), metrics=("balanced_accuracy",), margin=0.2),
        against_control(with_predictions=False, seeds=range(5), margin=0.1),
        against_control(metric="nll", metrics=("nll",), datasets=("alpha",)),
    ],
    ids=["two-way", "patients", "one pair", "seeds only", "lower is better"],
)
def test_results_of_whole_analyses(evidence: Evidence) -> None:
    analysis = analyse(evidence)
    text = results_paragraph(analysis)
    check_every_number(text, analysis)
    scope = "given this training set, these test cases"
    assert (scope in text) == all(one.pair.interval == "t_over_seeds" for one in analysis.of("primary"))
    assert not FORBIDDEN.search(text)


def test_a_difference_within_the_noise_of_repetition_is_left_open_for_that_reason() -> None:
    analysis = analyse(
        against_control(levels={"control": 1.5, "gpaf": 1.9}, datasets=("alpha",), repeats={"gpaf": 0.5})
    )
    one = analysis.of("primary")[0]
    assert one.p_adjusted is not None and one.p_adjusted < 0.05 and one.pair.estimate is not None
    size = f"{one.pair.estimate.estimate:.4g}"
    said = f"the difference ({size}) is not larger than what repeating the same training changes (0.5))."
    text = results_paragraph(analysis)
    assert said in text and "80 % power" not in text


def test_mixed_intervals_are_named_where_they_hold() -> None:
    whole = against_control(levels={"control": 1.5, "gpaf": 1.9})
    mixed = replace(whole, predictions=lambda name: whole.predictions(name) if name == "beta" else None)
    text = results_paragraph(analyse(mixed))
    assert (
        "retraining with new seeds, given this training set, these test cases and the configurations that were chosen "
        "(on alpha); retraining with new seeds and scoring new cases of the same source, given this training set, this "
        "split and the configurations that were chosen (on beta)" in text
    )
    assert "On alpha the analysis rests on one score for each seed" in methods_paragraph(analyse(mixed), None)


def test_comparisons_that_could_not_be_made_say_why() -> None:
    whole = against_control(levels={"control": 1.5, "gpaf": 1.9, "lora_c": 1.9})
    cells = {key: cell for key, cell in whole.cells.items() if key != ("beta", "control")}
    cells["alpha", "gpaf"] = replace(
        cells["alpha", "gpaf"],
        scores={name: {1000: values[1000]} for name, values in cells["alpha", "gpaf"].scores.items()},
        failures={1001: "oom"},
    )
    analysis = analyse(replace(whole, cells=cells))
    text, methods = results_paragraph(analysis), methods_paragraph(analysis, None)
    assert "No comparison of gpaf with control was possible. The two methods have 1 seed in common" in text
    assert (
        "On beta, no comparison of gpaf with control and of lora_c with control was possible. The two methods cannot "
        "be compared: there is nothing of control on this dataset." in text
    )
    assert (
        "On average over these 2 datasets, no comparison of gpaf with control was possible. The two methods were"
        in text
    )
    assert "Not begun: control on beta." in methods
    assert "Of 40 declared trainings 33 were done, 1 failed and 6 had no result yet." in methods


def test_many_comparisons_are_told_as_groups_that_name_every_pair() -> None:
    levels = {
        "control": 1.5,
        **{f"up{place}": 2.4 for place in range(8)},
        **{f"near{place}": 1.5 for place in range(8)},
    }
    analysis = analyse(against_control(levels=levels, datasets=("alpha",), cases=120, with_predictions=False))
    text = results_paragraph(analysis)
    by = {
        outcome: [one for one in analysis.of("primary") if one.outcome == outcome]
        for outcome in ("better", "inconclusive")
    }
    assert len(by["better"]) == len(by["inconclusive"]) == 8
    group = re.search(
        rf"up0, up1, up2, up3, up4, up5, up6 and up7 scored {NUMBER} to {NUMBER} higher than control "
        r"\(each adjusted p < 0.001\)",
        text,
    )
    assert group is not None
    sizes = [one.pair.estimate.estimate for one in by["better"] if one.pair.estimate is not None]
    assert agrees(group[1], min(sizes)) and agrees(group[2], max(sizes))
    still = re.search(
        r"8 comparisons were inconclusive \(near0, near1, near2, near3, near4, near5, near6 and near7 with control\): "
        rf"the study had 80 % power only for differences of at least {NUMBER} to {NUMBER}, depending on the pair",
        text,
    )
    assert still is not None
    found = [one.detectable for one in by["inconclusive"] if one.detectable is not None]
    assert agrees(still[1], min(found)) and agrees(still[2], max(found))


def test_a_verdict_that_another_look_reverses_is_called_so() -> None:
    analysis = analyse(against_control(levels={"control": 1.5, "gpaf": 1.9}, datasets=("alpha",)))
    one = analysis.of("primary")[0]
    assert one.outcome == "better"
    worse, unsure = replace(one, outcome="worse"), replace(one, outcome="inconclusive")
    checks = (
        Check(what="by macro_f1", comparison=worse),
        Check(what="the first half of the seeds", comparison=worse),
        Check(what="by auc", comparison=unsure),
    )
    said = "The verdict on gpaf against control on alpha is the opposite"
    reversed_ = replace(analysis, robustness=(Robustness(comparison=one, checks=checks),))
    assert f"{said} when judged by macro-F1 and with the first half of the seeds alone." in results_paragraph(reversed_)
    weaker = replace(analysis, robustness=(Robustness(comparison=one, checks=checks[2:]),))
    assert "opposite" not in results_paragraph(weaker)


@example(0.0504, 0.05)
@example(0.05 + 1e-12, 0.05)
@example(0.0001, 0.0001)
@example(0.0003, 0.0001)
@given(st.floats(0, 1), st.sampled_from([0.05, 0.01, 0.001, 0.0001]))
def test_a_printed_p_value_lies_on_its_own_side_of_alpha(p: float, alpha: float) -> None:
    sign, text = re.fullmatch(r"p ([=<>]) ([\d.]+)", p_phrase(p, alpha)).groups()  # type: ignore[union-attr]
    printed = float(text)
    if sign == "=":
        assert abs(printed - p) <= 0.0005 + 1e-12 and (printed <= alpha) == (p <= alpha) and printed > 0
    else:
        assert p < printed if sign == "<" else p > printed
        assert (p <= alpha) if sign == "<" and printed <= alpha else (p > alpha or printed > alpha)


def test_two_digits_of_the_half_width_are_shown_and_no_end_as_zero() -> None:
    def places(half: float, low: float) -> int:
        estimate = mean_over_seeds(np.array([0.0, 1.0]))
        error = estimate.standard_error
        assert error is not None and estimate.high is not None
        scale = half / (estimate.high - estimate.estimate)
        return decimals(replace(estimate, standard_error=error * scale, low=low, high=low + 2 * half))

    assert [places(half, half) for half in (13.0, 1.3, 0.13, 0.013, 0.0013, 1e-9)] == [0, 1, 2, 3, 4, 6]
    assert [places(0.013, low) for low in (0.0006, 0.0004, 0.00004, -0.0004, 0.0)] == [3, 4, 5, 4, 3]


def test_lists_and_ranges() -> None:
    assert [listed(["a", "b", "c"][:size]) for size in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert listed(["a, b", "c", "d"]) == "a, b; c and d"
    assert [seeds_phrase(seeds) for seeds in ([1, 2, 3], [1, 2], [1, 3, 9])] == ["1 to 3", "1 and 2", "1, 3 and 9"]


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (None, "resnet50 (random weights)"),
        ("IMAGENET1K_V2", "resnet50 (weights IMAGENET1K_V2)"),
        ("/home/ann/secret project/RadImageNet.pt", "resnet50 (weights RadImageNet.pt)"),
        ("hf-hub:timm/resnet50.a1_in1k", "resnet50 (weights hf-hub:timm/resnet50.a1_in1k)"),
        ({"dataset": {"dataset": "digits"}}, "resnet50 (trained in this run on digits)"),
    ],
)
def test_a_network_is_named_with_its_weights_and_without_anybodys_folders(weights: object, said: str) -> None:
    network: NetworkRecord = {"name": "resnet50", "weights": weights}
    assert network_phrase(network) == said


def test_a_normalisation_that_the_sweep_file_gives_is_said() -> None:
    network: NetworkRecord = {"name": "resnet50", "weights": "a.pt", "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.5, 1.0]}
    expected = "resnet50 (weights a.pt, images normalised by mean 0.5, 0.5, 0.5 and SD 0.25, 0.5, 1)"
    assert network_phrase(network) == expected
