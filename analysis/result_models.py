"""The shape of the comparison in ``results.json``; its JSON Schema follows from these models."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from analysis.comparison.claims import Status
from analysis.comparison.evidence import Family
from analysis.comparison.scores import Interval
from analysis.comparison.verdicts import Role
from analysis.stats.decisions import Verdict
from analysis.stats.estimate import Scope
from analysis.stats.multiplicity import Correction
from analysis.stats.scopes import Draw
from harness.core.origin import GroupState


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_finite)]
"""JSON has no infinity and no nan: what is not finite is null."""


class ResultModel(BaseModel):
    """Exactly these members."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Flag(ResultModel):
    """A reservation."""

    code: str = Field(description="Stable name for programs.")
    sentence: str = Field(description="The same for readers.")


class PlanRecord(ResultModel):
    """What was declared."""

    metric: str = Field(description="The primary metric.")
    metrics: list[str] = Field(description="Every metric compared, the primary one first.")
    family: Family = Field(description="Which pairs are the declared comparisons.")
    control: str | None = Field(description="The method that all others are compared with.")
    correction: Correction = Field(description="Of p values for the size of the family.")
    margin: Number = Field(description="Half width of the equivalence band, in units of the primary metric.")
    alpha: float = Field(description="Level of all tests.")
    confidence: float = Field(description="Coverage of all intervals.")
    looks: list[int] = Field(description="Numbers of seeds at which looks were planned; empty where nothing was said.")
    beforehand: bool = Field(description="Whether this was declared before there were results.")


class DatasetRecord(ResultModel):
    """A dataset of the comparison."""

    name: str
    classes: list[str] | None = Field(description="Null where they are not known or an image may have several.")
    cases: int | None = Field(description="Test cases behind the intervals; null without predictions.")
    source: str = Field(description="Where its images come from; datasets of one source count once.")
    groups: GroupState = Field(description="Whether patients or lesions are known; none: each image is its own unit.")
    splits: int = Field(description="Different splits that its results are from.")
    overlap: Number = Field(description="Test images for each training image of a split; null where there is one.")


class RepeatRecord(ResultModel):
    """A training that was run again with the same seed."""

    seed: int
    device: str | None
    change: dict[str, Number] = Field(description="Metric → distance between the two runs.")


class CellRecord(ResultModel):
    """One method on one dataset; one that was never begun is absent."""

    dataset: str
    method: str
    declared: list[int] = Field(description="Seeds that were to be run.")
    done: list[int] = Field(description="Seeds with a result.")
    missing: list[int] = Field(description="Declared seeds with neither a result nor a failure.")
    failures: dict[str, str] = Field(description="Seed → cause of what failed for good.")
    devices: list[str] = Field(description="Kinds of device.")
    search_trials: int | None = Field(
        description="Search trials it was given; null where it had no search of its own, or nothing is known."
    )
    repeats: list[RepeatRecord]
    origins: dict[str, str] = Field(description="Seed → where its trial is.")
    splits: dict[str, str] = Field(
        description="Seed → split that it was trained and tested on; empty if all share one."
    )
    tuned_on: dict[str, str] = Field(description="Seed → split that its configuration was searched on; likewise.")
    searches: dict[str, str] = Field(
        description="Seed → search, or resample of one, that chose its configuration; empty if one choice serves all."
    )
    flags: list[Flag]


class EquivalenceRecord(ResultModel):
    """Two one-sided tests against the margin; null without one, and for other metrics than the primary."""

    p: Number
    p_adjusted: Number


class EffectsRecord(ResultModel):
    """Effect sizes over the paired seeds."""

    mean_difference: Number = Field(description="a minus b, in units of the metric.")
    d_z: Number = Field(
        description="Mean over standard deviation of the differences; null for two seeds and without spread."
    )
    g_z: Number = Field(description="d_z with Hedges' correction; null where d_z is.")
    probability_a_larger: Number = Field(description="Share of seeds with a larger, ties one half.")
    rank_biserial: Number = Field(description="In [-1, 1].")


class ExactTestRecord(ResultModel):
    """A two-sided test over the paired seeds that assumes no distribution, not corrected."""

    statistic: Number
    p: Number
    floor: Number = Field(description="Smallest p value that it could give.")
    pairs: int
    zeros: int = Field(description="Differences that are exactly zero.")
    patterns: int | None = Field(
        description="Random sign patterns that p was counted over, beside the observed one; null where it is exact."
    )


class IntervalRecord(ResultModel):
    """A mean or a difference with Student's or Satterthwaite's interval."""

    estimate: Number
    low: Number
    high: Number
    confidence: Number
    standard_error: Number
    df: Number
    p: Number = Field(description="Two-sided, against zero, not corrected.")


class ComponentsRecord(ResultModel):
    """Variance components in squared units of the metric; estimates may lie below zero."""

    seed: Number
    case: Number
    interaction: Number


class ComparisonRecord(ResultModel):
    """One pair of methods, or its average over datasets; differences are a minus b."""

    dataset: str | None = Field(description="Null for an average over datasets.")
    datasets: list[str] = Field(description="The dataset, or those averaged over.")
    metric: str
    a: str
    b: str = Field(description="The control where the family has one.")
    role: Role
    declared: bool = Field(
        description="Whether it was declared and depends on nothing that was changed later; all else is exploratory."
    )
    scope: Scope | None = Field(description="What varies behind the interval; null where no comparison was possible.")
    interval: Interval | None = Field(description="How it was computed.")
    drawn_anew: list[Draw] = Field(
        description="What the interval and the outcome draw anew, on each dataset of an average; all else is held "
        "fixed. Empty where no comparison was possible."
    )
    splits: int = Field(description="Different splits behind the interval; of an average the most on any dataset.")
    replicates: int = Field(
        description="Independent draws behind the interval, of what there are fewest of: splits, shared searches, "
        "trainings; of an average the fewest on any dataset."
    )
    seeds: list[int] = Field(description="Seeds by which both are paired; empty for an average.")
    cases: int | None = Field(description="Test cases behind the interval.")
    units: int | None = Field(
        description="Units among the cases of a two-way interval: patients or lesions, or, where these are not known, "
        "sets of identical images."
    )
    difference: Number = Field(description="Null where no comparison was possible: flags say why.")
    low: Number
    high: Number
    confidence: Number
    standard_error: Number
    df: Number
    p: Number = Field(description="Two-sided, not corrected; Behrens-Fisher, and Student's t over seeds alone.")
    p_adjusted: Number = Field(description="Corrected for the family.")
    family: int = Field(description="Comparisons that p_adjusted is corrected for.")
    probability_of_other_sign: Number = Field(
        description="Posterior probability that the true difference is zero or has the other sign: half of p."
    )
    probability_within_margin: Number = Field(
        description="Posterior probability that the true difference is within the margin; null without a margin."
    )
    equivalence: EquivalenceRecord
    effects: EffectsRecord | None
    sign_flip: ExactTestRecord | None
    wilcoxon: ExactTestRecord | None
    over_seeds: IntervalRecord | None = Field(
        description="The narrower claim: retraining, on this very test set, or these; null where each replicate has a "
        "split of its own."
    )
    variance: ComponentsRecord | None = Field(description="Of the paired differences; two-way intervals only.")
    detectable: Number = Field(description="Smallest true difference found with 80 % power at the first step.")
    repeat_noise: Number = Field(description="Largest change that a repetition with the same seed showed.")
    outcome: Verdict = Field(description="Of a against b; inconclusive also where no comparison was possible.")
    flags: list[Flag]


class SpreadRecord(ResultModel):
    """What the variance of a mean score is made of; the shares sum to 1."""

    seed_share: Number
    case_share: Number
    interaction_share: Number
    standard_error: Number
    standard_error_with_endless_seeds: Number


class ScoreRecord(ResultModel):
    """One method on one dataset by one metric."""

    dataset: str
    method: str
    metric: str
    values: dict[str, Number] = Field(description="Seed → test score; null where the metric is undefined.")
    mean: Number = Field(description="Null where one seed leaves the metric undefined.")
    sd: Number = Field(description="Sample standard deviation over seeds: a spread, not an interval.")
    over_seeds: IntervalRecord | None
    over_seeds_and_cases: IntervalRecord | None = Field(
        description="Null without predictions, for other metrics, and over several splits."
    )
    over_splits: IntervalRecord | None = Field(description="Null over one split.")
    drawn_anew: list[Draw] = Field(description="What the widest of these intervals draws anew; empty without any.")
    variance: ComponentsRecord | None
    spread: SpreadRecord | None


class CheckRecord(ResultModel):
    """A verdict under other circumstances."""

    what: str
    metric: str
    difference: Number
    p_adjusted: Number
    outcome: Verdict


class RobustnessRecord(ResultModel):
    """A declared comparison by the primary metric, or an average, and its checks."""

    dataset: str | None
    a: str
    b: str
    outcome: Verdict
    holds: bool = Field(description="Every check gives the same outcome.")
    contradicted: bool = Field(description="A check says better where the verdict says worse, or the reverse.")
    checks: list[CheckRecord]


class ClaimRecord(ResultModel):
    """That a, as tuned here, scores better than b by the primary metric."""

    dataset: str | None
    metric: str
    a: str
    b: str
    statement: str
    declared: bool = Field(description="Otherwise the claim is exploratory: it depends on a later change.")
    status: Status
    evidence: str
    scope: str = Field(description="What the evidence holds for, and given what.")
    flags: list[Flag]


class TwinRecord(ResultModel):
    """How often the control was called better or worse than itself under another name, with a search of its own."""

    name: str
    control: str
    comparisons: int = Field(description="That could be made: one a dataset, and the average of several.")
    different: int = Field(description="Of these, called better or worse at the level alone, without correction.")


class NewDatasetsRecord(ResultModel):
    """A declared comparison by the primary metric as a claim about new datasets: each source is one observation."""

    a: str
    b: str
    difference: IntervalRecord | None = Field(description="Null where a dataset lacks one of the two.")
    drawn_anew: list[Draw]
    p_adjusted: Number
    family: int
    nemenyi_p: Number = Field(description="Of the mean ranks, corrected for all pairs; null below three methods.")


class RanksRecord(ResultModel):
    """Friedman's test of the methods' mean ranks by the primary metric, each source of datasets one observation."""

    datasets: int = Field(description="Sources: several datasets of one count once.")
    mean_ranks: dict[str, float] = Field(description="Method → mean rank, 1 is best; methods on every dataset alone.")
    chi2: Number = Field(description="Friedman's chi-squared, corrected for ties.")
    df: int = Field(description="Degrees of freedom of chi2.")
    p_chi2: Number
    chi2_uncorrected: Number = Field(description="Without the correction for ties.")
    f: Number = Field(description="Iman and Davenport's F from chi2; null where infinite: all datasets rank alike.")
    df_1: int
    df_2: int
    p_f: Number
    p_exact: Number = Field(description="Over all orders of the observed ranks; null where they are too many.")


class ComparisonDocument(ResultModel):
    """The member ``comparison`` of results.json; an absent number is null."""

    question: list[str] = Field(
        description="What the declared comparisons ask, then what they answer, in words; empty where there are none."
    )
    plan: PlanRecord
    datasets: list[DatasetRecord]
    methods: list[str]
    cells: list[CellRecord]
    comparisons: list[ComparisonRecord]
    scores: list[ScoreRecord]
    robustness: list[RobustnessRecord]
    twin: TwinRecord | None = Field(description="The control against itself; null without a twin.")
    claims: list[ClaimRecord]
    new_datasets: list[NewDatasetsRecord] = Field(description="Empty below six sources of datasets.")
    ranks: RanksRecord | None = Field(description="Null below six sources of datasets or three methods.")
    cautions: list[Flag] = Field(description="Reservations about the whole.")
