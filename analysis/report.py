"""The report of a comparison: ``python -m analysis.report RUN [RUN …]``, or ``--table FILE`` for anyone's results.

It reads run directories or tables alone and writes ``report.html`` (one file that needs nothing else), ``report.md``,
``results.json`` (described in ``docs/results-json.md``), ``paper.tex``, ``tables/`` and ``figures/``. The same input
gives the same bytes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import EXIT_DONE, RequestError, run_command
from harness.store import RunDirectory

if TYPE_CHECKING:
    from analysis.comparison.compare import Analysis
    from analysis.comparison.evidence import Evidence
    from analysis.contents import Section
    from analysis.figures.predictions import ReducedPredictions
    from analysis.run_sections import RunFacts

PAPER_TABLES = (
    "main", "pairwise", "averages", "claims", "power", "search", "hyperparameters", "networks", "cost", "failures",
)  # fmt: skip
"""Tables of ``paper.tex``, which is meant to be read; the others lie in ``tables/``."""


@dataclass(frozen=True, slots=True)
class ReportPaths:
    """Where the parts of a report lie."""

    html: Path
    markdown: Path
    results: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report before it is written."""

    title: str
    lead: str
    flags: Sequence[str]
    sections: Sequence[Section]
    paragraphs: Sequence[str]
    """Of ``paper.tex``."""
    results: Mapping[str, Any]
    trials: Mapping[str, Any] | None = None
    """What a click on a cell of the page shows."""


def write_report(run: RunDirectory, out: Path | None = None) -> ReportPaths:
    """Write the report of a run, finished or not, to ``out`` (by default the run's own report folder).

    Raises:
        RequestError: the run directory is none, one of its files is torn, or ``out`` is not a folder.
        OSError: ``out`` cannot be written.
    """
    run.require()
    return _write(_of_runs([run]), out if out is not None else run.report)


def write_joint_report(runs: Sequence[RunDirectory], out: Path) -> ReportPaths:
    """Write one report of several runs, whose methods and datasets are united.

    Raises:
        RequestError: as for ``write_report``, or the runs do not go together.
        OSError: ``out`` cannot be written.
    """
    for run in runs:
        run.require()
    return _write(_of_runs(runs), out)


def write_table_report(evidence: Evidence, out: Path) -> ReportPaths:
    """Write the report of results that do not come from a run directory.

    Raises:
        RequestError: ``out`` is not a folder, or a file of predictions is not what it should be.
        OSError: ``out`` cannot be written.
    """
    from analysis.comparison_results import comparison_records
    from analysis.comparison_sections import findings, prediction_section, seed_section, supplement
    from analysis.results import VERSION
    from analysis.words.appendix import appendix

    analysis, reduced = _analysed(evidence)
    sections = [
        *findings(analysis, None, None),
        seed_section(analysis),
        prediction_section(reduced),
        supplement(analysis),
        *appendix(evidence, None, {}, {}),
    ]
    methods, datasets = _counted(len(evidence.methods), "method"), _counted(len(evidence.datasets), "data set")
    report = Report(
        title=evidence.name,
        lead=f"{methods} on {datasets}, from {evidence.source}.",
        flags=[caution.sentence for caution in analysis.cautions],
        sections=[section for section in sections if section.sentences or section.items],
        paragraphs=[text for section in sections[:2] for text in section.sentences],
        results={"version": VERSION, "name": evidence.name, "comparison": comparison_records(analysis)},
    )
    return _write(report, out)


def _of_runs(runs: Sequence[RunDirectory]) -> Report:
    # These take a second to import; `--help` and a mistyped path should not wait for them.
    from analysis.comparison_results import comparison_records
    from analysis.comparison_sections import cost_figures, findings, prediction_section, seed_section, supplement
    from analysis.contents import count
    from analysis.results import VERSION, results
    from analysis.run_sections import RunFacts, early, late
    from analysis.runs import frames, trials_of
    from analysis.runs.evidence import evidence_of
    from analysis.runs.summary import summarise
    from analysis.words.flags import flags

    records = [frames.read(run, os.cpu_count() or 1) for run in runs]
    known = [
        RunFacts(run, summarise(run, own), own.trials, several=len(runs) > 1)
        for run, own in zip(runs, records, strict=True)
    ]
    evidence = evidence_of(runs, records)
    analysis, reduced = _analysed(evidence)
    studies = [study for facts in known for study in facts.summary.studies]
    parameters = {study.method: " / ".join(map(count, study.trainable)) for study in studies if study.trainable}
    trained = {(study.dataset, study.method): study.trainable[0] for study in studies if study.trainable}
    first = findings(analysis, known[0].summary.spec, parameters)
    sections = [
        *first,
        seed_section(analysis),
        *(section for facts in known for section in early(facts)),
        prediction_section(reduced),
        *(
            section
            for place, facts in enumerate(known)
            for section in late(facts, evidence, cost_figures(analysis, trained) if place == 0 else ())
        ),
        supplement(analysis),
    ]
    said = [sentence for facts in known for sentence in flags(facts.summary)]
    documents = [results(facts.summary, flags(facts.summary)) for facts in known]
    comparison = comparison_records(analysis)
    joint = {"version": VERSION, "name": evidence.name, "runs": documents, "comparison": comparison}
    return Report(
        title=evidence.name,
        lead=_lead(known, evidence),
        flags=list(dict.fromkeys((*said, *(caution.sentence for caution in analysis.cautions)))),
        sections=[section for section in sections if section.sentences or section.items],
        paragraphs=[text for section in first for text in section.sentences],
        results={**documents[0], "comparison": comparison} if len(known) == 1 else joint,
        trials={cell: panel for run in runs for cell, panel in trials_of.panels(run).items()},
    )


def _analysed(evidence: Evidence) -> tuple[Analysis, dict[str, ReducedPredictions]]:
    from analysis.comparison.compare import analyse
    from analysis.comparison.pairs import DatasetValues
    from analysis.figures.predictions import reduced

    kept: dict[str, ReducedPredictions] = {}

    def keep(values: DatasetValues) -> None:
        facts = reduced(values)
        if facts is not None:
            kept[values.dataset] = facts

    return analyse(evidence, keep), kept


def _lead(known: Sequence[RunFacts], evidence: Evidence) -> str:
    from analysis.words.phrases import network_phrase

    networks = dict.fromkeys(network_phrase(facts.summary.spec["backbone"]) for facts in known)
    complete = all(facts.summary.complete for facts in known)
    return (
        f"{_counted(len(evidence.methods), 'way')} to adapt {' and '.join(networks)} on "
        f"{_counted(len(evidence.datasets), 'data set')}. "
        f"This report is {'complete' if complete else 'preliminary: the run is not finished'}."
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _write(report: Report, folder: Path) -> ReportPaths:
    from analysis import page
    from analysis.contents import Figure, Picture, Table, numbered
    from analysis.tables.files import write_tables
    from analysis.tables.latex import document
    from harness.files import write_atomic, write_json

    try:
        for part in ("figures", "tables"):
            (folder / part).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise RequestError(f"{folder}: not a folder; choose another with --out") from error
    sections = numbered(report.sections)
    items = [item for section in sections for item in section.items]
    for figure in (item for item in items if isinstance(item, Figure | Picture)):
        parts = {"png": figure.png}
        if isinstance(figure, Figure):
            parts |= {"svg": figure.svg, "pdf": figure.pdf}
        for suffix, content in parts.items():
            write_atomic(folder / "figures" / f"{figure.stem}.{suffix}", content)
    tables = [item for item in items if isinstance(item, Table)]
    write_tables(tables, folder / "tables")
    chosen = [table for table in tables if table.name in PAPER_TABLES]
    drawings = [item for item in items if isinstance(item, Figure)]
    paper = document(chosen, drawings, report.title, report.paragraphs)
    write_atomic(folder / "paper.tex", paper.encode())
    paths = ReportPaths(folder / "report.html", folder / "report.md", folder / "results.json")
    write_json(paths.results, dict(report.results))
    parts_of_page = (report.title, report.lead, report.flags, sections)
    write_atomic(paths.markdown, page.markdown(*parts_of_page).encode())
    write_atomic(paths.html, page.html(*parts_of_page, trials=report.trials).encode())
    return paths


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m analysis.report", description="Write the report of a comparison.")
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="run directories, taken together")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write (default for one run: RUN/report)")
    foreign = parser.add_argument_group("results from elsewhere (docs/import-results.md)")
    foreign.add_argument("--table", type=Path, metavar="FILE", help="results: method,dataset,seed,metric,value")
    foreign.add_argument(
        "--predictions", type=Path, metavar="FILE", help="predictions: method,dataset,seed,case_id,label,logit_0,…"
    )
    foreign.add_argument("--control", metavar="M", help="the method that all others are compared with (default: none)")
    foreign.add_argument("--correction", choices=("holm", "bonferroni", "none"), help="of the p values (default: holm)")
    foreign.add_argument("--margin", type=float, metavar="X", help="difference that counts as practically equal")
    foreign.add_argument("--metric", metavar="NAME", help="the primary metric, where the tables have several")
    foreign.add_argument(
        "--lower-is-better",
        action="append",
        metavar="NAME",
        help="a metric of the tables that is a loss; may be repeated",
    )
    foreign.add_argument("--name", metavar="TITLE", help="of the report (default: the file's)")
    options = parser.parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    given = {
        name: value
        for name in ("table", "predictions", "control", "correction", "margin", "metric", "lower_is_better", "name")
        if (value := getattr(options, name)) is not None
    }
    if options.runs:
        if given:
            option = next(iter(given)).replace("_", "-")
            raise RequestError(f"--{option} belongs to results from elsewhere; a run has that in its sweep file")
        runs = [RunDirectory(path) for path in options.runs]
        if len(runs) == 1:
            print(write_report(runs[0], options.out).html)
            return EXIT_DONE
        if options.out is None:
            raise RequestError("several runs have no folder in common; name one for their report with --out")
        print(write_joint_report(runs, options.out).html)
        return EXIT_DONE
    if options.table is None and options.predictions is None:
        raise RequestError("nothing to report; name a run directory, or a table of results with --table")
    if options.out is None:
        raise RequestError("results from elsewhere have no folder of their own; name one with --out")
    from analysis.imported.evidence import evidence_from_tables

    table, predictions = given.pop("table", None), given.pop("predictions", None)
    print(write_table_report(evidence_from_tables(table, predictions, **given), options.out).html)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
