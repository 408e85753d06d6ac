"""The comparison of methods as plain data: the member ``comparison`` of ``results.json``, and its JSON Schema.

``docs/results-json.md`` describes it; ``python -m analysis.comparison_results`` prints the schema.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analysis.comparison.claims import Claim, claims
from analysis.comparison.compare import Analysis
from analysis.comparison.draws import cells_on, splits_of
from analysis.comparison.evidence import Cell, Evidence
from analysis.comparison.new_datasets import on_new_datasets, ranks_of
from analysis.comparison.robustness import Robustness
from analysis.comparison.scores import MethodScore, Pair
from analysis.comparison.verdicts import Comparison
from analysis.result_models import (
    CellRecord,
    CheckRecord,
    ClaimRecord,
    ComparisonDocument,
    ComparisonRecord,
    ComponentsRecord,
    DatasetRecord,
    EffectsRecord,
    EquivalenceRecord,
    ExactTestRecord,
    Flag,
    IntervalRecord,
    NewDatasetsRecord,
    PlanRecord,
    RanksRecord,
    RepeatRecord,
    RobustnessRecord,
    ScoreRecord,
    SpreadRecord,
    TwinRecord,
)
from analysis.shift_models import WholeDocument
from analysis.stats.cautions import Caution, Refused
from analysis.stats.estimate import Estimate
from analysis.stats.paired import ExactTest
from analysis.stats.twoway import TwoWay
from analysis.words.findings import question
from harness.core.arguments import parse
from harness.core.errors import EXIT_DONE, run_command


def comparison_records(analysis: Analysis) -> dict[str, object]:
    """Everything that an analysis says, ready for JSON; every number is finite or None, and the order is that of the
    analysis."""
    evidence = analysis.evidence
    plan = evidence.plan
    document = ComparisonDocument(
        question=list(question(analysis)),
        plan=PlanRecord(
            metric=plan.metric,
            metrics=list(plan.metrics),
            family=plan.family,
            control=plan.control,
            correction=plan.correction,
            margin=plan.margin,
            alpha=plan.alpha,
            confidence=plan.confidence,
            looks=list(plan.looks),
            beforehand=plan.beforehand,
        ),
        datasets=[_dataset(analysis, name) for name in evidence.datasets],
        methods=list(evidence.methods),
        cells=[
            _cell(evidence.cells[dataset, method])
            for dataset in evidence.datasets
            for method in evidence.methods
            if (dataset, method) in evidence.cells
        ],
        comparisons=[comparison_record(one) for one in (*analysis.comparisons, *analysis.averages)],
        scores=[score_record(one, evidence) for one in analysis.scores],
        robustness=[_robustness(one) for one in analysis.robustness],
        twin=_twin(analysis),
        claims=[claim_record(one) for one in claims(analysis)],
        new_datasets=_new_datasets(analysis),
        ranks=_ranks(analysis),
        cautions=flag_records(analysis.cautions),
    )
    return document.model_dump(mode="json")


def schema() -> dict[str, object]:
    """JSON Schema (draft 2020-12) of what ``comparison_records`` returns, with what ``analysis.shift_results`` adds."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **WholeDocument.model_json_schema(mode="serialization"),
    }


def _dataset(analysis: Analysis, name: str) -> DatasetRecord:
    classes = analysis.evidence.classes.get(name)
    cases = [one.pair.cases for one in analysis.comparisons if one.pair.dataset == name and one.pair.cases is not None]
    about, splits = analysis.evidence.about(name), splits_of(cells_on(analysis.evidence, name))
    return DatasetRecord(
        name=name,
        classes=None if classes is None else list(classes),
        cases=max(cases, default=None),
        source=about.source,
        groups=about.groups,
        splits=max(1, len(splits)),
        overlap=analysis.evidence.overlap.get(name) if splits else None,
    )


def _cell(cell: Cell) -> CellRecord:
    return CellRecord(
        dataset=cell.dataset,
        method=cell.method,
        declared=list(cell.declared),
        done=list(cell.seeds),
        missing=list(cell.missing),
        failures={str(seed): cause for seed, cause in sorted(cell.failures.items())},
        devices=list(cell.devices),
        search_trials=cell.search_trials,
        repeats=[
            RepeatRecord(seed=one.seed, device=one.device, change=dict(sorted(one.change.items())))
            for one in cell.repeats
        ],
        origins=_by_seed(cell.origins),
        splits=_by_seed(cell.splits),
        tuned_on=_by_seed(cell.tuned_on),
        searches=_by_seed(cell.searches),
        flags=flag_records(cell.cautions),
    )


def _by_seed(values: Mapping[int, str]) -> dict[str, str]:
    return {str(seed): value for seed, value in sorted(values.items())}


def comparison_record(one: Comparison) -> ComparisonRecord:
    """One pair of methods."""
    pair, estimate = one.pair, one.pair.estimate
    exact = [test for test in (pair.sign_flip, pair.wilcoxon) if test is not None]
    effects = pair.effects
    return ComparisonRecord(
        dataset=pair.dataset,
        datasets=[pair.dataset] if pair.dataset is not None else list(pair.datasets),
        metric=pair.metric,
        a=pair.first,
        b=pair.second,
        role=one.role,
        declared=one.declared,
        scope=None if estimate is None else estimate.scope,
        interval=pair.interval,
        drawn_anew=[] if pair.interval is None else list(pair.drawn.names),
        splits=pair.splits,
        replicates=pair.replicates,
        seeds=list(pair.seeds),
        cases=pair.cases,
        units=_units(pair),
        difference=None if estimate is None else estimate.estimate,
        **_numbers(estimate),
        p=one.p,
        p_adjusted=one.p_adjusted,
        family=one.family,
        probability_of_other_sign=one.wrong,
        probability_within_margin=one.within_margin,
        equivalence=EquivalenceRecord(p=one.equivalence_p, p_adjusted=one.equivalence_p_adjusted),
        effects=None
        if effects is None
        else EffectsRecord(
            mean_difference=effects.mean_difference,
            d_z=effects.d_z,
            g_z=effects.g_z,
            probability_a_larger=effects.probability_larger,
            rank_biserial=effects.rank_biserial,
        ),
        sign_flip=_exact(pair.sign_flip),
        wilcoxon=_exact(pair.wilcoxon),
        over_seeds=interval_record(pair.over_seeds),
        variance=_components(estimate),
        detectable=one.detectable,
        repeat_noise=pair.repeat_noise,
        outcome=one.outcome,
        flags=flag_records((*one.cautions, *(caution for test in exact for caution in test.cautions))),
    )


def _new_datasets(analysis: Analysis) -> list[NewDatasetsRecord]:
    try:
        found = on_new_datasets(analysis)
    except Refused:
        return []
    return [
        NewDatasetsRecord(
            a=one.first,
            b=one.second,
            difference=interval_record(one.difference),
            drawn_anew=["new_datasets"],
            p_adjusted=one.p_adjusted,
            family=one.family,
            nemenyi_p=one.nemenyi_p,
        )
        for one in found
    ]


def _ranks(analysis: Analysis) -> RanksRecord | None:
    try:
        found = ranks_of(analysis)
    except Refused:
        return None
    if found is None:
        return None
    test = found.test
    return RanksRecord(
        datasets=test.datasets,
        mean_ranks=dict(zip(found.methods, test.mean_ranks, strict=True)),
        chi2=test.chi2,
        df=test.df,
        p_chi2=test.p_chi2,
        chi2_uncorrected=test.chi2_uncorrected,
        f=test.f,
        df_1=test.df,
        df_2=test.df_2,
        p_f=test.p_f,
        p_exact=test.p_exact,
    )


def _units(pair: Pair) -> int | None:
    return pair.estimate.mean_squares.cases if isinstance(pair.estimate, TwoWay) else None


def _components(estimate: Estimate | None) -> ComponentsRecord | None:
    if not isinstance(estimate, TwoWay):
        return None
    found = estimate.components
    return ComponentsRecord(seed=found.seed, case=found.case, interaction=found.interaction)


def _exact(test: ExactTest | None) -> ExactTestRecord | None:
    if test is None:
        return None
    return ExactTestRecord(
        statistic=test.statistic,
        p=test.p,
        floor=test.floor,
        pairs=test.pairs,
        zeros=test.zeros,
        patterns=test.patterns,
    )


def interval_record(estimate: Estimate | None) -> IntervalRecord | None:
    """An estimate with its interval; None where there is none."""
    if estimate is None:
        return None
    return IntervalRecord(estimate=estimate.estimate, **_numbers(estimate), p=estimate.p_value())


def _numbers(estimate: Estimate | None) -> dict[str, Any]:
    """What the record's fields of these names take, which checks them."""
    return {name: getattr(estimate, name, None) for name in ("low", "high", "confidence", "standard_error", "df")}


def score_record(one: MethodScore, evidence: Evidence) -> ScoreRecord:
    """One method on one dataset by one metric."""
    values = evidence.cells[one.dataset, one.method].scores.get(one.metric, {})
    spread = one.spread
    return ScoreRecord(
        dataset=one.dataset,
        method=one.method,
        metric=one.metric,
        values={str(seed): value for seed, value in sorted(values.items())},
        mean=one.mean,
        sd=one.sd,
        over_seeds=interval_record(one.over_seeds),
        over_seeds_and_cases=interval_record(one.over_both),
        over_splits=interval_record(one.over_splits),
        drawn_anew=[] if one.widest is None else list(one.drawn.names),
        variance=_components(one.over_both),
        spread=None
        if spread is None
        else SpreadRecord(
            seed_share=spread.seed_share,
            case_share=spread.case_share,
            interaction_share=spread.interaction_share,
            standard_error=spread.standard_error,
            standard_error_with_endless_seeds=spread.standard_error_with_endless_seeds,
        ),
    )


def _robustness(one: Robustness) -> RobustnessRecord:
    pair = one.comparison.pair
    return RobustnessRecord(
        dataset=pair.dataset,
        a=pair.first,
        b=pair.second,
        outcome=one.comparison.outcome,
        holds=one.holds,
        contradicted=one.contradicted,
        checks=[
            CheckRecord(
                what=check.what,
                metric=check.comparison.pair.metric,
                difference=None if check.comparison.pair.estimate is None else check.comparison.pair.estimate.estimate,
                p_adjusted=check.comparison.p_adjusted,
                outcome=check.comparison.outcome,
            )
            for check in one.checks
        ],
    )


def _twin(analysis: Analysis) -> TwinRecord | None:
    made = [one for one in analysis.itself if one.pair.estimate is not None]
    twin = analysis.evidence.twin
    if twin is None:
        return None
    control, name = twin.methods
    return TwinRecord(
        name=name,
        control=control,
        comparisons=len(made),
        different=sum(one.outcome in ("better", "worse") for one in made),
    )


def claim_record(one: Claim) -> ClaimRecord:
    """A claim and what became of it."""
    pair = one.comparison.pair
    return ClaimRecord(
        dataset=pair.dataset,
        metric=pair.metric,
        a=pair.first,
        b=pair.second,
        statement=one.statement,
        declared=one.comparison.declared,
        status=one.status,
        evidence=one.evidence,
        scope=one.scope,
        flags=flag_records(one.flags),
    )


def flag_records(cautions: Iterable[Caution]) -> list[Flag]:
    """Reservations, each once."""
    return [Flag(code=one.code, sentence=one.sentence) for one in dict.fromkeys(cautions)]


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m analysis.comparison_results``."""
    return argparse.ArgumentParser(prog="python -m analysis.comparison_results", description=__doc__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the JSON Schema."""
    parse(parser(), arguments)
    return run_command(_print_schema)


def _print_schema() -> int:
    # JSON has escapes of its own for what the reader of the output cannot show.
    plain = "utf" not in (sys.stdout.encoding or "utf-8").lower()
    print(json.dumps(schema(), indent=2, ensure_ascii=plain))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
