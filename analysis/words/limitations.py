"""The paragraph on limitations: what the design did not vary, and what is therefore not claimed."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.comparison.compare import Analysis
from analysis.comparison.phrases import counted, listed
from analysis.stats.cautions import FEW_REPLICATES, POPULATION_DATASETS
from harness.run.records import SweepRecord


def limitations_paragraph(analysis: Analysis, spec: SweepRecord | None) -> str:
    """A paragraph for the discussion of a paper; empty where nothing was compared.

    Args:
        analysis: what was done.
        spec: the sweep as resolved; None where the results do not come from a sweep.
    """
    if not analysis.of("primary"):
        return ""
    return " ".join(("Limitations.", *_design(analysis, spec), *_amount(analysis)))


def _design(analysis: Analysis, spec: SweepRecord | None) -> Iterator[str]:
    several = len(analysis.evidence.datasets) > 1
    of = "of each dataset" if several else "of the dataset"
    if spec is None:
        yield (
            f"The results hold for the training and test images {of} that they were computed with; whether these were "
            "drawn anew is not known here."
        )
        yield "How the methods were tuned is not known here either; another search may choose other configurations."
        return
    yield (
        f"One division {of} into training, validation and test images was used: the verdicts say nothing of methods "
        "that are trained on other images, which may rank otherwise."
    )
    yield (
        f"Each method was tuned by one search{' on each dataset' if several else ''}, and one configuration was "
        "confirmed: a difference may belong to the configurations that were found and not to the methods, and the "
        "intervals do not contain what a new search would change."
    )
    yield "Each method started from one network; from another one the methods may rank otherwise."


def _amount(analysis: Analysis) -> Iterator[str]:
    evidence = analysis.evidence
    if len(evidence.datasets) < POPULATION_DATASETS:
        yield f"Nothing is said of datasets other than {listed(evidence.datasets)}."
    fewest = min((one.pair.replicates for one in analysis.of("primary") if one.pair.estimate is not None), default=0)
    if 0 < fewest < FEW_REPLICATES:
        yield f"With {counted(fewest, 'seed')} little is known of how much a result changes from training to training."
    narrow = [one.pair.dataset for one in analysis.of("primary") if one.pair.interval == "t_over_seeds"]
    if narrow:
        names = listed([name for name in dict.fromkeys(narrow) if name is not None])
        yield f"On {names} nothing is said of new test cases."
