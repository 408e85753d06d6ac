"""The sections of a report that a run directory gives beside the comparison: search, cost, progress, data, methods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import polars as pl

from analysis.comparison.evidence import Evidence
from analysis.comparison.phrases import network_phrase
from analysis.comparison_sections import present
from analysis.figures.budget import budget, parts, share_panels
from analysis.figures.curves import learning_curves, stems
from analysis.figures.search import importance
from analysis.runs.declared import declaration_section
from analysis.runs.summary import Summary
from analysis.tables import run_tables as tables
from analysis.tables.choices import choices
from analysis.tables.ledger import cost as cost_table
from analysis.tables.ledger import ledger
from analysis.tables.pruning import pruning
from analysis.words.appendix import appendix
from analysis.words.exactness import exactness_sentences
from harness.core.parallel import HERE, Pool
from harness.metrics.facts import MetricFacts
from harness.pages.cards import data_section, sample_picture
from harness.pages.contents import Drawings, Facts, Item, PageFigure, PageSection
from harness.run import frames, records
from harness.run.directory import RunDirectory
from harness.run.measured_choices import determinism_paths, step_choice_paths
from harness.run.study_folder import StudyName


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One run directory as read for a report."""

    run: RunDirectory
    summary: Summary
    trials: pl.DataFrame
    """As ``frames.trials`` gives them."""
    several: bool = False
    """Whether the report is of more runs than this one, so that sections and files bear its name."""

    def section(self, title: str, sentences: tuple[str, ...], *items: Item | None) -> PageSection:
        """A section that names the run where there are several."""
        return self.titled(PageSection(title, sentences, present(*items)))

    def titled(self, section: PageSection) -> PageSection:
        """The same section, with the run's name where there are several."""
        return replace(section, title=f"{section.title}: {self.run.path.name}") if self.several else section

    def stem(self, name: str) -> str:
        """The start of a figure's file name."""
        return f"{self.run.path.name}_{name}" if self.several else name


def early(facts: RunFacts, pool: Pool = HERE) -> list[PageSection]:
    """How the configurations were chosen; ``pool`` draws the figures."""
    summary = facts.summary
    return [
        facts.section(
            "Search",
            ("The search saw training and validation data; the fresh seeds alone opened the test split.",),
            tables.search(summary),
            choices(summary),
            pruning(facts.run),
            tables.hyperparameters(summary),
            *_search_figures(facts, pool),
        )
    ]


def _search_figures(facts: RunFacts, pool: Pool) -> Iterator[Drawings]:
    metric, trials = facts.summary.measure, facts.trials
    stem = facts.stem("budget")
    if share_panels(trials, metric.name):
        yield Drawings((pool.submit(budget, trials, metric, stem),))
    else:
        alone = [pool.submit(budget, part, metric, stem, 0.95, False) for part in parts(trials, metric.name)]
        yield Drawings(tuple(alone), stem)
    stem = facts.stem("importance")
    yield Drawings(tuple(pool.submit(importance, part, metric, stem) for part in parts(trials, metric.name)), stem)
    names = stems(facts.stem("curves"), facts.summary.datasets)
    own = {name: trials.filter(pl.col("dataset") == name) for name in facts.summary.datasets}
    yield Drawings(
        tuple(pool.submit(_curves, facts.run, own[name], name, metric, names[name]) for name in facts.summary.datasets)
    )


def _curves(
    run: RunDirectory, trials: pl.DataFrame, dataset: str, metric: MetricFacts, stem: str
) -> tuple[PageFigure, ...]:
    figure = learning_curves(frames.curves(run, metric.name, trials), dataset, metric, stem)
    return () if figure is None else (figure,)


def cost(facts: RunFacts, drawn: Sequence[Item] = ()) -> PageSection:
    """What each method cost; ``drawn`` comes first."""
    return facts.section("Cost", (), *drawn, cost_table(facts.summary))


def late(facts: RunFacts, evidence: Evidence) -> list[PageSection]:
    """Networks, budgets, progress, failures, methods, data and settings."""
    summary = facts.summary
    studies = [(study.description(), study.chosen()) for study in facts.run.studies()]
    settings = appendix(evidence, summary.spec, summary.environment, summary.cards, studies)
    return [
        facts.section(
            "Networks and budget",
            (*step_sentences(facts.run), *kernel_sentences(facts.run)),
            tables.networks(summary),
            ledger(summary),
        ),
        facts.section("Scores", (), tables.scores(summary), tables.other_metrics(summary)),
        facts.section("Progress", (), tables.progress(summary)),
        facts.section("Failures", () if summary.failures else ("No trial has failed.",), tables.failures(summary)),
        *map(facts.titled, declaration_section(facts.run)),
        facts.section("Methods", tuple(exactness_sentences(facts.trials)), Facts(_method_facts(summary))),
        *map(facts.titled, _data_sections(facts.run, summary, facts.stem("sample"))),
        *map(facts.titled, settings),
    ]


def step_sentences(run: RunDirectory) -> Iterator[str]:
    """Where a measurement decided whether steps are compiled: what it decided, and why."""
    for study in run.studies():
        method, dataset, _ = StudyName.of(study.name)
        for path in step_choice_paths(study.path):
            found = records.STEP_CHOICE.read(path)
            steps = "compiled" if found["choice"] == "compiled" else "not compiled"
            yield f"{method} on {dataset}, {found['device']}: steps {steps}, as measured once ({found['reason']})."


def kernel_sentences(run: RunDirectory) -> Iterator[str]:
    """Where a measurement decided whether a study runs on deterministic kernels: what it decided, and why."""
    for study in run.studies():
        method, dataset, _ = StudyName.of(study.name)
        for path in determinism_paths(study.path):
            found = records.KERNEL_CHOICE.read(path)
            taken = "deterministic" if found["choice"] else "no deterministic"
            yield f"{method} on {dataset}, {found['device']}: {taken} kernels, as measured once ({found['reason']})."


def _method_facts(summary: Summary) -> tuple[tuple[str, str], ...]:
    own = {label: entry.get("backbone") for label, entry in summary.spec["methods"].items()}
    facts = {}
    for study in summary.studies:
        backbone = own.get(study.method)
        facts[study.method] = (
            f"{study.summary} (plugin {study.plugin}{'; ' + network_phrase(backbone) if backbone else ''})"
        )
    return tuple(facts.items())


def _data_sections(run: RunDirectory, summary: Summary, prefix: str) -> list[PageSection]:
    if not summary.cards:
        return [PageSection("Data", ("No card of a dataset has been written yet.",), ())]
    sections, names = [], stems(prefix, summary.cards)
    for label, card in sorted(summary.cards.items()):
        png = run.card_picture(label)
        picture = None if png is None else sample_picture(label, card, png, names[label])
        sections.append(data_section(label, card, picture))
    return sections
