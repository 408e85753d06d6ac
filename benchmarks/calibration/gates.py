"""What is promised of the statistics: one gate a promise, and the counts that it is judged by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from analysis.stats.cautions import FEW_REPLICATES, VERDICT_REPLICATES
from analysis.stats.split_cautions import ENOUGH_TO_RESAMPLE
from benchmarks.calibration import first_order, posterior, subgroups, twins
from benchmarks.calibration.judging import Case, Gate, record
from benchmarks.calibration.model import ALPHA, COVERAGE, Row

TWIN_LIMITS = (ALPHA, 0.08)
"""Share of twins that may be called different, and the upper end of its 95 % interval at 400 sweeps."""
FAMILY_UPPER = 0.065
"""The upper end of the interval of the share of sweeps with a false claim, from 2,000 sweeps on."""
ENOUGH_SWEEPS, ENOUGH_TWINS = 2000, 400
"""From so many on the upper end is judged; fewer sweeps leave it too far away."""


def judged(rows: Sequence[Row]) -> list[Row]:
    """Every gate that the rows have a count for, as a record."""
    return [record(gate, cases) for gate in GATES if (cases := list(gate.cases(rows)))]


def _of(rows: Sequence[Row], part: str, fewest: int = 1) -> Iterator[Row]:
    return (row for row in rows if row["part"] == part and row["seeds"] >= fewest)


def _family(rows: Sequence[Row]) -> Iterator[Case]:
    for row in _of(rows, "null", VERDICT_REPLICATES):
        if row["required"]:
            for name, rate in row["false_claims"].items():
                label = f"{row['scenario']}, {row['seeds']} seeds, {name.replace('_', ' ')}"
                yield Case.of_share(label, rate, row["repetitions"])


def _twins(wanted: Callable[[str, int], bool]) -> Callable[[Sequence[Row]], Iterator[Case]]:
    def found(rows: Sequence[Row]) -> Iterator[Case]:
        for row in _of(rows, "twins"):
            for own in row["drawn_anew"]:
                if wanted(own["what"], own["trials"]):
                    label = f"{own['what']}: {row['seeds']} replicates, searches of {own['trials']}"
                    yield Case.of_share(label, own["false_claims"], row["repetitions"])

    return found


def _is_flagged(what: str, trials: int) -> bool:
    """Whether a report flags that the search is small (``small_search``)."""
    return what == twins.RESAMPLED and trials < ENOUGH_TO_RESAMPLE


def _coverage(few: bool) -> Callable[[Sequence[Row]], Iterator[Case]]:
    def found(rows: Sequence[Row]) -> Iterator[Case]:
        for row in rows:
            if (row["seeds"] < VERDICT_REPLICATES) != few:
                continue
            where = f"{row['seeds']} replicates"
            if row["part"] == "null" and row["required"] and not row["careful"]:
                yield Case.of_mean(
                    f"{row['scenario']}, {where}", row["coverage"], row["coverage_error"], row["repetitions"]
                )
                fixed = row["coverage_fixed_datasets"]
                yield Case.of_share(f"{row['scenario']}, average, {where}", fixed, row["repetitions"])
            elif row["part"] in ("splits", "searches"):
                yield Case.of_share(f"{row['name']}, {where}", row["coverage"], row["repetitions"])

    return found


def _covered(row: Row, label: str) -> Iterator[Case]:
    yield Case.of_mean(label, row["coverage"], row["coverage_error"], row["repetitions"])
    yield Case.of_share(f"average, {label}", row["coverage_fixed_datasets"], row["repetitions"])


def _scores(rows: Sequence[Row]) -> Iterator[Case]:
    for row in _of(rows, "scores", VERDICT_REPLICATES):
        for name, coverage in row["coverage"].items():
            # Methods of one sweep share its cases.
            yield Case.of_share(f"true accuracy {name}, {row['seeds']} seeds", coverage, row["repetitions"])


def _outside(rows: Sequence[Row]) -> Iterator[Case]:
    for row in _of(rows, "scores"):
        yield Case.of_share(f"{row['seeds']} seeds", row["outside"] / row["intervals"], row["intervals"])


def _one_source(rows: Sequence[Row]) -> Iterator[Case]:
    for row in _of(rows, "sources", VERDICT_REPLICATES):
        for name in ("once", "bounded"):
            label = f"{row['labels']} labels, {row['seeds']} seeds, {name}"
            yield Case.of_share(label, row["false_claims"][name], row["repetitions"])


def _few_groups(rows: Sequence[Row]) -> Iterator[Case]:
    for row in _of(rows, "null", VERDICT_REPLICATES):
        if row["careful"]:
            yield from _covered(row, f"{row['seeds']} seeds")


def _first_order(rows: Sequence[Row]) -> Iterator[Case]:
    for row in _of(rows, "first order", VERDICT_REPLICATES):
        for name, coverage in row["coverage"].items():
            label = f"{name}, {row['seeds']} seeds of SD {row['seed_sd']}"
            yield Case.of_mean(label, coverage, row["coverage_error"][name], row["repetitions"])


def _width(rows: Sequence[Row]) -> Iterator[Case]:
    for row in _of(rows, "first order", FEW_REPLICATES):
        beside = row["macro_f1_beside_bootstrap"]
        if row["seeds"] == FEW_REPLICATES:
            share = beside["width"] / beside["bootstrap_width"]
            yield Case.of_mean(
                f"macro-F1, {row['seeds']} seeds of SD {row['seed_sd']}", share, 0.0, beside["repetitions"]
            )


def _under_shift(rows: Sequence[Row]) -> Iterator[Case]:
    for row in _of(rows, "shifts", VERDICT_REPLICATES):
        for name, coverage in row["coverage"].items():
            if name not in ("without cases", "new domains", "independent"):
                label = f"{row['name']}, {name}, {row['seeds']} replicates"
                yield Case.of_mean(label, coverage, row["coverage_error"][name], row["repetitions"])


def _new_domains(rows: Sequence[Row]) -> Iterator[Case]:
    for row in _of(rows, "shifts"):
        if "new domains" in row["coverage"]:
            label = f"{row['name']}, {row['seeds']} domains"
            yield Case.of_share(label, row["coverage"]["new domains"], row["repetitions"])


def _shift_family(rows: Sequence[Row]) -> Iterator[Case]:
    for row in _of(rows, "shifts", VERDICT_REPLICATES):
        if row["false_claims"] is not None:
            yield Case.of_share(f"{row['name']}, {row['seeds']} replicates", row["false_claims"], row["repetitions"])


def _subgroups(*wanted: str) -> Callable[[Sequence[Row]], Iterator[Case]]:
    def found(rows: Sequence[Row]) -> Iterator[Case]:
        for row in _of(rows, "subgroups", VERDICT_REPLICATES):
            for name in wanted:
                label = f"{name} of {row['groups']}, {row['shape']}, {row['seeds']} seeds"
                yield Case.of_share(label, row["coverage"][name], row["repetitions"])

    return found


def _false_gap(rows: Sequence[Row]) -> Iterator[Case]:
    for row in _of(rows, "subgroups", VERDICT_REPLICATES):
        if row["shape"] == subgroups.EQUAL:
            yield Case.of_share(f"{row['groups']}, {row['seeds']} seeds", row["gap_claimed"], row["repetitions"])


def _curves(rows: Sequence[Row]) -> Iterator[Case]:
    for row in _of(rows, "sizes", VERDICT_REPLICATES):
        for name, coverage in row["coverage"].items():
            # Where the control never reaches the score, the end that is open covers by itself.
            if name == "area" or row["needed"] is not None:
                yield Case.of_share(f"{name}, {row['lead']}, {row['seeds']} seeds", coverage, row["repetitions"])


def _network_changes(rows: Sequence[Row]) -> Iterator[Case]:
    for row in _of(rows, "networks", VERDICT_REPLICATES):
        yield Case.of_mean(_on_networks(row), row["coverage"], row["coverage_error"], row["repetitions"])


def _false_on_networks(what: str) -> Callable[[Sequence[Row]], Iterator[Case]]:
    def found(rows: Sequence[Row]) -> Iterator[Case]:
        for row in _of(rows, "networks", VERDICT_REPLICATES):
            if row[what] is not None:
                yield Case.of_share(_on_networks(row), row[what], row["repetitions"])

    return found


def _on_networks(row: Row) -> str:
    return f"{row['networks']} networks, {row['shape']}, {row['seeds']} seeds"


def _posterior(rows: Sequence[Row]) -> Iterator[Case]:
    for row in _of(rows, "posterior", FEW_REPLICATES):
        for own in row["bins"]:
            if own["count"] < posterior.FEWEST_OF_BIN:
                continue
            label = f"{own['of']}, stated {own['stated']}, {row['seeds']} seeds"
            yield Case.of_mean(label, own["came_true"] - own["mean_stated"], own["error"], own["count"])


def _equivalence(rows: Sequence[Row]) -> Iterator[Case]:
    for row in _of(rows, "power", VERDICT_REPLICATES):
        yield Case.of_share(f"{row['seeds']} seeds", row["equivalent_at_margin"], row["repetitions"])


def _power(rows: Sequence[Row]) -> Iterator[Case]:
    for row in _of(rows, "power"):
        for name, planned in row["planned"].items():
            error = float(np.sqrt(planned * (1 - planned) / row["repetitions"]))
            yield Case.of_mean(f"{name}, {row['seeds']} seeds", row["found"][name] - planned, error, row["repetitions"])


GATES = (
    Gate(
        "family-wise false claims of a report, no difference anywhere",
        "at most .05; upper end at most .065 at 2,000",
        _family,
        highest=ALPHA,
        most_upper=FAMILY_UPPER,
        enough=ENOUGH_SWEEPS,
    ),
    Gate(
        "a method called different from itself, replicates with new split and search",
        "at most .05; upper end at most .08 at 400",
        _twins(lambda what, trials: what != twins.ONLY_SEEDS and not _is_flagged(what, trials)),
        highest=TWIN_LIMITS[0],
        most_upper=TWIN_LIMITS[1],
        enough=ENOUGH_TWINS,
    ),
    Gate(
        f"the same where replicates resample a search of fewer than {ENOUGH_TO_RESAMPLE} trials",
        "none: the report flags it",
        _twins(_is_flagged),
        highest=ALPHA,
        promised=False,
    ),
    Gate(
        "the same with new seeds alone: the price of that design",
        "none: the report says that the verdict is about the chosen configurations",
        _twins(lambda what, trials: what == twins.ONLY_SEEDS),
        highest=ALPHA,
        promised=False,
    ),
    Gate(
        "coverage of differences and averages, from three replicates on",
        ".935 to .97",
        _coverage(few=False),
        lowest=COVERAGE[0],
        careful_above=COVERAGE[1],
    ),
    Gate(
        "the same with two replicates, which carry no verdict",
        ".935 to .97",
        _coverage(few=True),
        lowest=COVERAGE[0],
        careful_above=COVERAGE[1],
    ),
    Gate("coverage of single scores", ".935 to .97", _scores, lowest=COVERAGE[0], careful_above=COVERAGE[1]),
    Gate("intervals of scores outside the metric's range", "none", _outside, highest=0.0),
    Gate("false claims with several labels of one source", "at most .05", _one_source, highest=ALPHA),
    Gate("coverage with 12 groups of 25 images", "at least .935", _few_groups, lowest=COVERAGE[0]),
    Gate(
        "coverage of metrics that are right to first order",
        ".93 to .97",
        _first_order,
        lowest=first_order.FIRST_ORDER_COVERAGE[0],
        careful_above=first_order.FIRST_ORDER_COVERAGE[1],
    ),
    Gate("their width, the crossed bootstrap's as 1", "at most .8", _width, careful_above=first_order.WIDEST),
    Gate(
        "coverage under a shift: differences, drops, corruption error",
        ".935 to .97",
        _under_shift,
        lowest=COVERAGE[0],
        careful_above=COVERAGE[1],
    ),
    Gate(
        "coverage of a claim about new domains, each of six or more held out",
        "at least .935",
        _new_domains,
        lowest=COVERAGE[0],
    ),
    Gate(
        "false claims of one question about a shift, no difference anywhere",
        "at most .05; upper end at most .065 at 2,000",
        _shift_family,
        highest=ALPHA,
        most_upper=FAMILY_UPPER,
        enough=ENOUGH_SWEEPS,
    ),
    Gate(
        "coverage of the worst subgroup and of the gap",
        ".935 to .97",
        _subgroups("worst", "gap"),
        lowest=COVERAGE[0],
        careful_above=COVERAGE[1],
    ),
    Gate(
        "coverage of the difference of two methods' worst subgroups",
        "at least .935",
        _subgroups("difference of the worst"),
        lowest=COVERAGE[0],
    ),
    Gate("a gap claimed between subgroups that are equal", "at most .05", _false_gap, highest=ALPHA),
    Gate(
        "coverage of the area under a learning curve and of images needed",
        ".935 to .97",
        _curves,
        lowest=COVERAGE[0],
        careful_above=COVERAGE[1],
    ),
    Gate(
        "coverage of the change of a difference from network to network",
        ".935 to .97",
        _network_changes,
        lowest=COVERAGE[0],
        careful_above=COVERAGE[1],
    ),
    Gate(
        "a difference said to change from network to network where it does not",
        "at most .05",
        _false_on_networks("false_changes"),
        highest=ALPHA,
    ),
    Gate(
        "a method called better on each network where it is not on one",
        "at most .05",
        _false_on_networks("false_everywhere"),
        highest=ALPHA,
    ),
    Gate(
        "posterior probabilities: came true minus stated",
        f"within {posterior.MOST_OFF:g}, by what is stated",
        _posterior,
        lowest=-posterior.MOST_OFF,
        highest=posterior.MOST_OFF,
    ),
    Gate("called equivalent at the margin", "at most .05", _equivalence, highest=ALPHA),
    Gate("power found minus power planned", "within .03", _power, lowest=-0.03, highest=0.03),
)
