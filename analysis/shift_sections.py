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
from harness.pages.contents import Drawings, PageSection, PageTable, folded


def shift_sections(
    found: Sequence[ShiftFindings], groups: Sequence[SubgroupFindings], whole: Analysis, pool: Pool = HERE
) -> list[PageSection]:
    """Of each shift, and of all subgroups, what was found, and the tables for the appendix; empty where a run has none.

    Args:
        found: of each shift.
        groups: of each column of metadata on each dataset.
        whole: the comparison on the test split, whose reservations need no second mention.
        pool: draws the figures.
    """
    names = stems("", [one.shift.name for one in found])
    said = [caution.sentence for caution in whole.cautions]
    sections = [part for one in found for part in _sections(one, names[one.shift.name].strip("_"), said, pool)]
    return [*sections, *_subgroups(groups, whole.evidence)]


def _sections(found: ShiftFindings, stem: str, said: Sequence[str], pool: Pool) -> Iterator[PageSection]:
    analysis, title = found.analysis, f"Under shift: {found.shift.name}"
    compared = () if analysis is None else (Drawings((pool.submit(forest, analysis.primary, f"forest_{stem}"),)),)
    yield PageSection(title, (*shift_paragraphs(found), *reservations(found, said)), compared)
    yield from folded(
        PageSection(
            f"{title}: tables",
            (),
            present(
                *(() if analysis is None else _compared(analysis, found.shift.name, stem)),
                tables.drops(found, stem),
                tables.corruption_errors(found, stem),
                _curves(found, stem, pool),
                tables.by_set(found, stem),
                tables.beyond_line(found, stem),
            ),
        )
    )


def _compared(analysis: Analysis, name: str, stem: str) -> Iterator[PageTable]:
    """The tables that compare methods on the test split, by the scores under the shift."""
    yield replace(main(analysis, None), name=f"{tables.SHIFT_STEM}main_{stem}")
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
        (),
    )
    made = present(*(tables.subgroups(one, evidence.plan, stem) for one, stem in shown))
    yield from folded(PageSection("Subgroups of the test cases: tables", (), made))
