"""The report of a comparison: ``python -m analysis.report RUN [RUN …]``, or ``--table FILE`` for anyone's results.

It reads run directories or tables alone and writes ``report.html`` (one file that needs nothing else), ``report.md``,
``results.json`` (described in ``docs/results-json.md``), ``paper.tex``, ``tables/`` and ``figures/``. The same input
gives the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.contracts import ReportData
from analysis.imported.arguments import add_table_arguments, evidence_given, refuse_beside_run
from harness.core.arguments import parse, user_path
from harness.core.errors import EXIT_DONE, RequestError, run_command
from harness.core.output import say
from harness.core.parallel import HERE, Pool, cores
from harness.run.directory import RunDirectory
from harness.run.links import refuse_links

if TYPE_CHECKING:
    from analysis.comparison.compare import Analysis, DatasetFindings
    from analysis.comparison.evidence import Evidence
    from analysis.figures.predictions import ReducedPredictions
    from analysis.report_files import Report, ReportPaths
    from analysis.run_sections import RunFacts
    from harness.pages.contents import PageSection

MANY_TRIALS, MANY_CELLS = 4000, 16
"""Trials, and methods times datasets, from which on starting more processes is worth their seconds."""
MOST_WORKERS = 16
"""What one process does alone leaves no more of them anything to do."""


def write_report(
    run: RunDirectory, out: Path | None = None, workers: int | None = None, plugins: Sequence[Path] = ()
) -> ReportPaths:
    """Write the report of a run, finished or not, to ``out`` (by default the run's own report folder).

    Args:
        run: its directory.
        out: a folder, made where there is none.
        workers: processes that share the work, as ``parallel.Pool`` starts them; None for a core each where there is
            much to do. The report is the same.
        plugins: folders whose figures and tables are added; their code is executed.

    Raises:
        RequestError: the run directory is none, one of its files is torn, or ``out`` is not a folder.
        OSError: ``out`` cannot be written.
    """
    run.require()
    refuse_links(run)
    return _written(_of_runs([run], workers, plugins), out if out is not None else run.report)


def write_joint_report(runs: Sequence[RunDirectory], out: Path, plugins: Sequence[Path] = ()) -> ReportPaths:
    """Write one report of several runs, whose methods and datasets are united; ``plugins`` as for ``write_report``.

    Raises:
        RequestError: as for ``write_report``, or the runs do not go together.
        OSError: ``out`` cannot be written.
    """
    for run in runs:
        run.require()
        refuse_links(run)
    return _written(_of_runs(runs, plugins=plugins), out)


def write_table_report(evidence: Evidence, out: Path, plugins: Sequence[Path] = ()) -> ReportPaths:
    """Write the report of results that do not come from a run directory; ``plugins`` as for ``write_report``.

    Raises:
        RequestError: ``out`` is not a folder, or a file of predictions is not what it should be.
        OSError: ``out`` cannot be written.
    """
    from analysis.comparison_results import comparison_records
    from analysis.comparison_sections import (
        comparisons,
        findings,
        how_compared,
        limits,
        prediction_section,
        seed_section,
        supplement,
    )
    from analysis.report_files import Report, write
    from analysis.results import VERSION
    from analysis.words.appendix import appendix
    from analysis.words.flags import told_together
    from harness.pages.contents import folded, settled

    analysis, reduced = _analysed(evidence, HERE)()
    first, ours = [findings(analysis), limits(analysis)], how_compared(analysis)
    rest = [ours, comparisons(analysis), seed_section(analysis), prediction_section(reduced), supplement(analysis)]
    rest += appendix(evidence, None, None, {})
    sections = _with_plugins([*first, *folded(*rest)], len(first), ReportData(analysis), plugins)
    methods, datasets = _counted(len(evidence.methods), "method"), _counted(len(evidence.datasets), "dataset")
    report = Report(
        title=evidence.name,
        lead=f"{methods} on {datasets}, from {evidence.source}.",
        flags=told_together((caution.sentence for caution in analysis.cautions), evidence.datasets),
        sections=settled(sections),
        paragraphs=_paragraphs(first[0], ours, first[1]),
        results={"version": VERSION, "name": evidence.name, "comparison": comparison_records(analysis)},
    )
    return write(report, out)


def _written(report: Report, out: Path) -> ReportPaths:
    from analysis.report_files import write

    return write(report, out)


def _of_runs(runs: Sequence[RunDirectory], workers: int | None = None, plugins: Sequence[Path] = ()) -> Report:
    with Pool(_workers(runs) if workers is None else workers) as pool:
        return _composed(runs, pool, plugins)


def _with_plugins(
    sections: Sequence[PageSection], before: int, data: ReportData, folders: Sequence[Path]
) -> Sequence[PageSection]:
    if not folders:
        # The loader of plugins is needed for nothing else.
        return sections
    from analysis.plugin_sections import with_plugins

    return with_plugins(sections, before, data, folders)


def _workers(runs: Sequence[RunDirectory]) -> int:
    from harness.run import frames

    cells, trials = sum(len(run.studies()) for run in runs), sum(map(frames.declared, runs))
    return min(cores(), MOST_WORKERS) if cells >= MANY_CELLS or trials >= MANY_TRIALS else 1


def _composed(runs: Sequence[RunDirectory], pool: Pool, plugins: Sequence[Path]) -> Report:
    # These take a second to import; `--help` and a mistyped path should not wait for them.
    from analysis.axis_results import axis_records
    from analysis.axis_sections import axis_sections
    from analysis.comparison.axes import along
    from analysis.comparison.under_shift import findings_under
    from analysis.comparison_results import comparison_records
    from analysis.comparison_sections import (
        comparisons,
        cost_figures,
        data_section,
        findings,
        how_compared,
        limits,
        paid_section,
        prediction_section,
        seed_section,
        supplement,
    )
    from analysis.report_files import Report
    from analysis.results import VERSION, results
    from analysis.run_sections import RunFacts, cost, early, late
    from analysis.runs import trials_of
    from analysis.runs.axes import axes_of
    from analysis.runs.conduct import conduct_of
    from analysis.runs.costs import costs_of
    from analysis.runs.evidence import evidence_of, shifts_in
    from analysis.runs.subgroups import subgroups_in
    from analysis.runs.summary import summarise
    from analysis.shift_results import shift_records
    from analysis.shift_sections import shift_sections, subgroup_sections
    from analysis.words.flags import flags, told_together
    from harness.pages.contents import count, folded, settled
    from harness.run import frames

    records = [frames.read(run, pool) for run in runs]
    evidence = evidence_of(runs, records)
    # Begun first, because it takes longest and much waits for it.
    analysing = _analysed(evidence, pool)
    known = [
        RunFacts(run, summarise(run, own), own.trials, several=len(runs) > 1)
        for run, own in zip(runs, records, strict=True)
    ]
    searches = [section for facts in known for section in early(facts, pool)]
    analysis, reduced = analysing()
    predicted = prediction_section(reduced, pool)
    studies = [study for facts in known for study in facts.summary.studies]
    parameters = {study.method: " / ".join(map(count, study.trainable)) for study in studies if study.trainable}
    trained = {(study.dataset, study.method): study.trainable[0] for study in studies if study.trainable}
    pareto = cost_figures(analysis, trained, pool)
    paid = paid_section(analysis, costs_of([facts.summary for facts in known]), pool)
    shifts, groups = findings_under(shifts_in(runs, records, evidence)), subgroups_in(runs, evidence)
    axes = axes_of(runs, evidence.datasets)
    found = along(analysis, axes.sizes, axes.networks, axes.domains)
    conduct = conduct_of([facts.summary for facts in known])
    first = [findings(analysis, parameters, pool), limits(analysis, conduct.spec)]
    ours, data = how_compared(analysis, conduct), data_section(analysis, conduct)
    divided = subgroup_sections(groups, evidence, axes.other_sizes)
    further = [*axis_sections(found, analysis, pool), *shift_sections(shifts, analysis, pool), *divided]
    costs = [cost(facts, (pareto,) if facts is known[0] else ()) for facts in known]
    details = [section for facts in known for section in late(facts, evidence)]
    own = [ours, data, comparisons(analysis, pool), *(section for section in further if section.folded)]
    rest = folded(*own, seed_section(analysis, pool), *searches, paid, predicted, *details, supplement(analysis))
    shown = [*first, *(section for section in further if not section.folded), *costs]
    sections = _with_plugins([*shown, *rest], len(shown), ReportData(analysis, known), plugins)
    said = [sentence for facts in known for sentence in flags(facts.summary)]
    documents = [results(facts.summary, flags(facts.summary)) for facts in known]
    comparison = {**comparison_records(analysis), **axis_records(found), **shift_records(shifts, groups)}
    joint = {"version": VERSION, "name": evidence.name, "runs": documents, "comparison": comparison}
    panels = {cell: panel for run in runs for cell, panel in trials_of.panels(run).items()}
    return Report(
        title=evidence.name,
        lead=_lead(known, evidence),
        flags=told_together((*said, *(caution.sentence for caution in analysis.cautions)), evidence.datasets),
        sections=settled(sections),
        paragraphs=_paragraphs(first[0], ours, first[1], data, *further),
        results={**documents[0], "comparison": comparison} if len(known) == 1 else joint,
        trials=panels,
    )


def _analysed(evidence: Evidence, pool: Pool) -> Callable[[], tuple[Analysis, dict[str, ReducedPredictions]]]:
    """Begin the comparison; what is returned waits for it."""
    from analysis.comparison.compare import judged

    begun = {dataset: pool.submit(_on, evidence, dataset) for dataset in evidence.datasets}

    def finish() -> tuple[Analysis, dict[str, ReducedPredictions]]:
        found = {dataset: part() for dataset, part in begun.items()}
        reduced = {dataset: facts for dataset, (_, facts) in found.items() if facts is not None}
        return judged(evidence, [part for part, _ in found.values()]), reduced

    return finish


def _on(evidence: Evidence, dataset: str) -> tuple[DatasetFindings, ReducedPredictions | None]:
    """What one dataset says, and what the figures need of its predictions, which are large."""
    from analysis.comparison.compare import findings_on
    from analysis.comparison.pairs import DatasetValues
    from analysis.figures.predictions import reduced

    kept: list[ReducedPredictions | None] = []

    def keep(values: DatasetValues) -> None:
        kept.append(reduced(values))

    return findings_on(evidence, dataset, keep), kept[0]


def _lead(known: Sequence[RunFacts], evidence: Evidence) -> str:
    from analysis.comparison.phrases import network_phrase, tasks_phrase

    networks = dict.fromkeys(network_phrase(facts.summary.spec["backbone"]) for facts in known)
    complete = all(facts.summary.complete for facts in known)
    return (
        f"{_counted(len(evidence.methods), 'way')} to adapt {' and '.join(networks)} on "
        f"{tasks_phrase(len(evidence.datasets), len(set(evidence.in_file)))}. "
        f"This report is {'complete' if complete else 'preliminary: the run is not finished'}."
    )


def _paragraphs(found: PageSection, compared: PageSection, limited: PageSection, *further: PageSection) -> list[str]:
    """What ``paper.tex`` says, a paragraph each."""
    limitations = [" ".join(("Limitations.", *limited.sentences))] if limited.sentences else []
    rest = [text for section in further for text in section.sentences]
    return [*found.sentences, *compared.sentences, *limitations, *rest]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m analysis.report``."""
    result = argparse.ArgumentParser(prog="python -m analysis.report", description="Write the report of a comparison.")
    result.add_argument("runs", nargs="*", type=user_path, metavar="RUN", help="run directories, reported together")
    result.add_argument("--out", type=user_path, metavar="DIR", help="where to write (default for one run: RUN/report)")
    result.add_argument(
        "--plugins",
        action="append",
        default=[],
        type=user_path,
        metavar="DIR",
        help="a folder whose figures and tables are added; its code is executed",
    )
    add_table_arguments(result)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = parse(parser(), arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    if options.runs:
        refuse_beside_run(options)
        runs = [RunDirectory(path) for path in options.runs]
        if len(runs) == 1:
            say(str(write_report(runs[0], options.out, plugins=options.plugins).html))
            return EXIT_DONE
        if options.out is None:
            raise RequestError("several runs have no folder in common; name one for their report with --out")
        say(str(write_joint_report(runs, options.out, options.plugins).html))
        return EXIT_DONE
    if options.out is None and (options.table or options.predictions):
        raise RequestError("results from elsewhere have no folder of their own; name one with --out")
    evidence = evidence_given(options, "report")
    say(str(write_table_report(evidence, options.out, options.plugins).html))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
