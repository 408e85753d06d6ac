"""The sections of a report about evaluations beside the test split."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
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
from harness.pages.contents import Drawings, Item, PageSection, PageTable, folded


def shift_sections(found: Sequence[ShiftFindings], whole: Analysis, pool: Pool = HERE) -> list[PageSection]:
    """Of each shift what was found, and its tables for the appendix; empty where a run has none.

    Args:
        found: of each shift.
        whole: the comparison on the test split, whose reservations need no second mention.
        pool: draws the figures.
    """
    names = stems("", [one.shift.name for one in found])
    said = [caution.sentence for caution in whole.cautions]
    return [part for one in found for part in _sections(one, names[one.shift.name].strip("_"), said, pool)]


def subgroup_sections(
    groups: Sequence[SubgroupFindings], evidence: Evidence, other_sizes: Collection[str]
) -> list[PageSection]:
    """What was found of the subgroups of each dataset, and their tables for the appendix; empty where there are none.

    Args:
        groups: of each column of metadata on each dataset.
        evidence: of the comparison on the test split.
        other_sizes: datasets that are another one at a smaller training size: they have the same subgroups again,
            which are told in the appendix.
    """
    labels = stems("", [f"{one.dataset}_{one.column}" for one in groups])
    first = [one for one in groups if one.dataset not in other_sizes]
    rest = [one for one in groups if one.dataset in other_sizes]
    told = "Each dataset is shown with the most training images that it has; other training sizes are in the appendix."
    said, items = _told(first, labels, evidence)
    again, more = _told(rest, labels, evidence)
    title, parts = "Subgroups of the test cases", list[PageSection]()
    if first:
        parts.append(PageSection(title, (*said, told) if rest else said, ()))
        parts += folded(PageSection(f"{title}: tables", (), items))
    if rest:
        parts += folded(PageSection("Subgroups at other training sizes", again, more))
    return parts


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


def _told(
    groups: Sequence[SubgroupFindings], labels: Mapping[str, str], evidence: Evidence
) -> tuple[tuple[str, ...], tuple[Item, ...]]:
    """The sentences and the tables of some subgroups."""
    made = (tables.subgroups(one, evidence.plan, labels[f"{one.dataset}_{one.column}"].strip("_")) for one in groups)
    return tuple(text for one in groups for text in subgroup_sentences(one, evidence)), present(*made)
