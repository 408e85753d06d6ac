"""The limitations: what the design did not vary, and what is therefore not claimed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analysis.comparison.compare import Analysis
from analysis.comparison.draws import cells_on, searches_of, splits_of, tuning_cautions
from analysis.comparison.evidence import Evidence
from analysis.comparison.phrases import counted, listed
from analysis.stats.cautions import FEW_REPLICATES, POPULATION_DATASETS
from harness.run.sweep_records import SweepRecord

_UNITS = (
    ("replicate", "seed", "training to training"),
    ("split", "split", "split to split"),
    ("search", "search", "search to search"),
)
"""What may be few, its noun, and what changes from one to the next."""


def limitations(analysis: Analysis, spec: SweepRecord | None) -> tuple[str, ...]:
    """Sentences for the discussion of a paper; none where nothing was compared.

    Args:
        analysis: what was done.
        spec: the sweep as resolved; None where the results do not come from a sweep.
    """
    return (*_design(analysis, spec), *_amount(analysis)) if analysis.of("primary") else ()


def _design(analysis: Analysis, spec: SweepRecord | None) -> Iterator[str]:
    evidence = analysis.evidence
    several = [name for name in evidence.datasets if splits_of(cells_on(evidence, name))]
    yield from _splits(evidence, several, spec)
    searched = [name for name in evidence.datasets if _searched(analysis, name)]
    yield from _searches(evidence, searched, spec)
    changing = [name for name in evidence.datasets if name not in evidence.one_test_side]
    tuned = [name for name in changing if any(tuning_cautions(cells_on(evidence, name)))]
    if tuned:
        yield (
            f"On {listed(tuned)} configurations were tuned on images that are among the test images of other splits, "
            "which may favour methods with more to tune."
        )
    if spec is not None:
        yield "Each method started from one network; from another one the methods may rank otherwise."


def _splits(evidence: Evidence, several: Sequence[str], spec: SweepRecord | None) -> Iterator[str]:
    rest = [name for name in evidence.datasets if name not in several]
    if rest and spec is None:
        yield (
            f"The results hold for the training and test images {_of(evidence, rest)} that they were computed with; "
            "whether these were drawn anew is not known here."
        )
    elif rest:
        yield (
            f"One split {_of(evidence, rest)} into training, validation and test images was used: the verdicts say "
            "nothing of methods that are trained on other images, which may rank otherwise."
        )
    fixed = [name for name in several if name in evidence.one_test_side]
    drawn = [name for name in several if name not in evidence.one_test_side]
    if drawn:
        yield (
            f"All splits {_of(evidence, drawn)} are of the same images, so nothing is said of images from elsewhere; "
            "they overlap, and the correction for that is an approximation."
        )
    if fixed:
        yield (
            f"All training sets {_of(evidence, fixed)} are of the same images, and all are tested on the same ones of "
            "other domains, so nothing is said of domains that were not tested; the training sets overlap, and the "
            "correction for that is an approximation."
        )


def _searches(evidence: Evidence, searched: Sequence[str], spec: SweepRecord | None) -> Iterator[str]:
    rest = [name for name in evidence.datasets if name not in searched]
    if not rest:
        return
    if spec is None:
        yield "How the methods were tuned is not known here either; another search may choose other configurations."
        return
    where = f" on {listed(rest)}" if searched else " on each dataset" if len(rest) > 1 else ""
    most = max(searches_of(cells_on(evidence, name)) for name in rest)
    if most > 1:
        yield (
            f"A method had up to {most} searches{where}, but they were not independent in both methods of each pair: "
            "what a new search would change is not in the intervals."
        )
        return
    yield (
        f"Each method was tuned by one search{where}, and one configuration was confirmed: a difference may belong to "
        "the configurations that were found and not to the methods, and the intervals do not contain what a new search "
        "would change."
    )


def _of(evidence: Evidence, names: Sequence[str]) -> str:
    if len(names) < len(evidence.datasets):
        return f"of {listed(names)}"
    return "of each dataset" if len(names) > 1 else "of the dataset"


def _searched(analysis: Analysis, dataset: str) -> bool:
    """Whether every interval on a dataset draws the search anew."""
    made = [one.pair for one in analysis.of("primary", dataset) if one.pair.interval is not None]
    return bool(made) and all(pair.drawn.search for pair in made)


def _amount(analysis: Analysis) -> Iterator[str]:
    evidence = analysis.evidence
    if len(evidence.sources) < POPULATION_DATASETS:
        yield f"Nothing is said of datasets other than {listed(list(dict.fromkeys(evidence.in_file)))}."
    made = [one.pair for one in analysis.of("primary") if one.pair.estimate is not None]
    for unit, noun, change in _UNITS:
        fewest = min((pair.replicates for pair in made if pair.unit == unit), default=0)
        if 0 < fewest < FEW_REPLICATES:
            yield f"With {counted(fewest, noun)} little is known of how much a result changes from {change}."
    narrow = [pair.dataset for pair in made if pair.interval == "t_over_seeds"]
    if narrow:
        names = listed([name for name in dict.fromkeys(narrow) if name is not None])
        yield f"On {names} nothing is said of new test cases."
