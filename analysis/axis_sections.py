"""The sections of a report about training sizes, networks, and domains that are tested in turn."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.comparison.axes import AxisFindings
from analysis.comparison.compare import Analysis
from analysis.comparison_sections import present
from analysis.figures.curves import stems
from analysis.figures.sizes import size_curves
from analysis.tables import axes as tables
from analysis.words.axes import curve_sentences, held_out_sentences, network_sentences
from harness.core.parallel import HERE, Pool
from harness.pages.contents import Drawings, PageSection, folded


def axis_sections(found: AxisFindings, analysis: Analysis, pool: Pool = HERE) -> list[PageSection]:
    """Of each axis what was found, and its tables for the appendix; none where tasks go along none.

    Args:
        found: along each axis.
        analysis: that it is of.
        pool: draws the figures.
    """
    return list(_sections(found, analysis, pool))


def _sections(found: AxisFindings, analysis: Analysis, pool: Pool) -> Iterator[PageSection]:
    plan = analysis.evidence.plan
    if found.curves:
        names = stems("sizes", [one.dataset for one in found.curves])
        yield PageSection(
            "Training sizes",
            tuple(sentence for one in found.curves for sentence in curve_sentences(one, plan)),
            (Drawings(tuple(pool.submit(size_curves, one, plan, names[one.dataset]) for one in found.curves)),),
        )
        made = (
            table(one, plan, names[one.dataset])
            for one in found.curves
            for table in (tables.areas, tables.images_saved)
        )
        yield from folded(PageSection("Training sizes: tables", (), present(*made)))
    if found.networks:
        yield PageSection("Networks", network_sentences(found.networks, plan), ())
        yield from folded(PageSection("Networks: tables", (), present(tables.networks(found.networks, plan))))
    if found.held_out:
        names = stems("domains", [one.dataset for one in found.held_out])
        yield PageSection(
            "Domains held out in turn",
            tuple(sentence for one in found.held_out for sentence in held_out_sentences(one, plan)),
            (),
        )
        held = (tables.held_out_domains(analysis, one.domains, one.pairs, names[one.dataset]) for one in found.held_out)
        yield from folded(PageSection("Domains held out in turn: tables", (), present(*held)))
