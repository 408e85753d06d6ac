"""The sections of a report about evaluations beside the test split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from analysis.comparison.compare import Analysis
from analysis.comparison.evidence import Evidence
from analysis.comparison.subgroups import SubgroupFindings
from analysis.comparison.under_shift import ShiftFindings
from analysis.comparison_sections import claims_table, present
from analysis.figures.comparisons import forest
from analysis.figures.curves import stems
from analysis.figures.shifts import severity_curves
from analysis.tables import shifts as tables
from analysis.tables.comparisons import averages, pairwise
from analysis.tables.main_table import main
from analysis.words.shifts import reservations, shift_paragraphs, subgroup_sentences
from harness.core.parallel import HERE, Pool
from harness.pages.contents import Drawings, PageSection, PageTable


def shift_sections(
    found: Sequence[ShiftFindings], groups: Sequence[SubgroupFindings], whole: Analysis, pool: Pool = HERE
) -> list[PageSection]:
    """One section a shift, and one of all subgroups; empty where a run has neither.

    Args:
        found: of each shift.
        groups: of each column of metadata on each dataset.
        whole: the comparison on the test split, whose reservations need no second mention.
        pool: draws the figures.
    """
    names = stems("", [one.shift.name for one in found])
    said = [caution.sentence for caution in whole.cautions]
    sections = [_section(one, names[one.shift.name].strip("_"), said, pool) for one in found]
    return [*sections, *_subgroups(groups, whole.evidence)]


def _section(found: ShiftFindings, stem: str, said: Sequence[str], pool: Pool) -> PageSection:
    analysis = found.analysis
    return PageSection(
        f"Under shift: {found.shift.name}",
        (*shift_paragraphs(found), *reservations(found, said)),
        present(
            *(() if analysis is None else _compared(analysis, found.shift.name, stem, pool)),
            tables.drops(found, stem),
            tables.corruption_errors(found, stem),
            _curves(found, stem, pool),
            tables.by_set(found, stem),
            tables.beyond_line(found, stem),
        ),
    )


def _compared(analysis: Analysis, name: str, stem: str, pool: Pool) -> Iterator[PageTable | Drawings]:
    """The tables and the figure that compare methods on the test split, by the scores under the shift."""
    yield replace(main(analysis, None), name=f"{tables.SHIFT_STEM}main_{stem}")
    yield Drawings((pool.submit(forest, analysis.primary, f"forest_{stem}"),))
    kinds = ((claims_table, f"{tables.SHIFT_STEM}claims_"), (pairwise, "pairwise_"), (averages, "averages_"))
    for made, prefix in kinds:
        table = made(analysis)
        yield replace(table, name=f"{prefix}{stem}", caption=f"{name}: {table.caption}")


def _curves(found: ShiftFindings, stem: str, pool: Pool) -> Drawings:
    names = stems(f"severity_{stem}", found.shift.evidence.datasets)
    plan, kinds = found.shift.evidence.plan, len(found.shift.sets)
    return Drawings(
        tuple(
            pool.submit(
                severity_curves,
                [one for one in found.by_severity if one.dataset == name],
                plan,
                f"{name}, {found.shift.name}",
                kinds,
                own,
            )
            for name, own in names.items()
        )
    )


def _subgroups(groups: Sequence[SubgroupFindings], evidence: Evidence) -> Iterator[PageSection]:
    if not groups:
        return
    labels = stems("", [f"{one.dataset}_{one.column}" for one in groups])
    shown = [(one, labels[f"{one.dataset}_{one.column}"].strip("_")) for one in groups]
    yield PageSection(
        "Subgroups of the test cases",
        tuple(sentence for one in groups for sentence in subgroup_sentences(one, evidence)),
        present(*(tables.subgroups(one, evidence.plan, stem) for one, stem in shown)),
    )
