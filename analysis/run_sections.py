"""The sections of a report that a run directory gives beside the comparison: search, cost, progress, data, methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from analysis.cards import data_section, sample_picture
from analysis.comparison.evidence import Evidence
from analysis.comparison_sections import present
from analysis.contents import Facts, Figure, Item, Section
from analysis.figures.curves import learning_curves, stems
from analysis.figures.search import budget, importance
from analysis.runs import frames
from analysis.runs.summary import Summary
from analysis.tables import run_tables as tables
from analysis.words.appendix import appendix
from analysis.words.phrases import network_phrase
from harness.store import RunDirectory


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One run directory as read for a report."""

    run: RunDirectory
    summary: Summary
    trials: pl.DataFrame
    """As ``frames.trials`` gives them."""
    several: bool = False
    """Whether the report is of more runs than this one, so that sections and files bear its name."""

    def section(self, title: str, sentences: tuple[str, ...], *items: Item | None) -> Section:
        """A section that names the run where there are several."""
        return self.titled(Section(title, sentences, present(*items)))

    def titled(self, section: Section) -> Section:
        """The same section, with the run's name where there are several."""
        return replace(section, title=f"{section.title}: {self.run.path.name}") if self.several else section

    def stem(self, name: str) -> str:
        """The start of a figure's file name."""
        return f"{self.run.path.name}_{name}" if self.several else name


def early(facts: RunFacts) -> list[Section]:
    """How the configurations were chosen."""
    summary = facts.summary
    names = stems(facts.stem("curves"), summary.datasets)
    curves = frames.curves(facts.run, summary.metric)
    drawn = [learning_curves(curves, name, summary.metric, names[name]) for name in summary.datasets]
    return [
        facts.section(
            "Search",
            ("The search saw training and validation data; the fresh seeds alone opened the test split.",),
            tables.search(summary),
            tables.hyperparameters(summary),
            *budget(facts.trials, summary.metric, facts.stem("budget")),
            *importance(facts.trials, summary.metric, facts.stem("importance")),
            *drawn,
        )
    ]


def late(facts: RunFacts, evidence: Evidence, cost: Sequence[Figure] = ()) -> list[Section]:
    """Cost, progress, failures, methods, data and settings."""
    summary = facts.summary
    studies = [(study.description(), study.chosen()) for study in facts.run.studies()]
    settings = appendix(evidence, summary.spec, summary.environment, summary.cards, studies)
    return [
        facts.section("Cost", (), *cost, tables.networks(summary), tables.cost(summary)),
        facts.section("Scores", (), tables.scores(summary), tables.other_metrics(summary)),
        facts.section("Progress", (), tables.progress(summary)),
        facts.section("Failures", () if summary.failures else ("No trial has failed.",), tables.failures(summary)),
        facts.section("Methods", (), Facts(_method_facts(summary))),
        *map(facts.titled, _data_sections(facts.run, summary, facts.stem("sample"))),
        *map(facts.titled, settings),
    ]


def _method_facts(summary: Summary) -> tuple[tuple[str, str], ...]:
    own = {label: entry.get("backbone") for label, entry in summary.spec["methods"].items()}
    facts = {}
    for study in summary.studies:
        backbone = own.get(study.method)
        facts[study.method] = (
            f"{study.summary} (plugin {study.plugin}{'; ' + network_phrase(backbone) if backbone else ''})"
        )
    return tuple(facts.items())


def _data_sections(run: RunDirectory, summary: Summary, prefix: str) -> list[Section]:
    if not summary.cards:
        return [Section("Data", ("No card of a data set has been written yet.",), ())]
    sections, names = [], stems(prefix, summary.cards)
    for label, card in sorted(summary.cards.items()):
        png = run.card_picture(label)
        picture = None if png is None else sample_picture(label, card, png, names[label])
        sections.append(data_section(label, card, picture))
    return sections
