"""The report of a run: ``python -m analysis.report RUN [--out DIR]``.

It reads the run directory alone and writes ``report.html`` (one file that needs nothing else), ``report.md``,
``results.json`` (described in ``analysis.results``) and ``figures/``. The same run gives the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import EXIT_DONE, RequestError, run_command
from harness.store import RunDirectory

if TYPE_CHECKING:
    from analysis.contents import Figure, Section, Table
    from analysis.summary import Summary


@dataclass(frozen=True, slots=True)
class ReportPaths:
    """Where the parts of a report lie."""

    html: Path
    markdown: Path
    results: Path


def write_report(run: RunDirectory, out: Path | None = None) -> ReportPaths:
    """Write the report of a run, finished or not, to ``out`` (by default the run's own report folder).

    Raises:
        RequestError: the run directory is none, one of its files is torn, or ``out`` is not a folder.
        OSError: ``out`` cannot be written.
    """
    # These take a second to import; `--help` and a mistyped path should not wait for them.
    from analysis import page
    from analysis.contents import Figure, Picture, numbered
    from analysis.flags import flags
    from analysis.results import results
    from analysis.summary import summarise
    from harness.files import write_atomic, write_json

    run.require()
    summary = summarise(run)
    reservations = flags(summary)
    folder = out if out is not None else run.report
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise RequestError(f"{folder}: not a folder; choose another with --out") from error
    sections = numbered(_sections(run, summary))
    for figure in (item for section in sections for item in section.items if isinstance(item, Figure | Picture)):
        if isinstance(figure, Figure):
            write_atomic(folder / "figures" / f"{figure.stem}.svg", figure.svg)
        write_atomic(folder / "figures" / f"{figure.stem}.png", figure.png)
    paths = ReportPaths(folder / "report.html", folder / "report.md", folder / "results.json")
    write_json(paths.results, results(summary, reservations))
    parts = (str(summary.spec["name"]), _lead(summary), reservations, sections)
    write_atomic(paths.markdown, page.markdown(*parts).encode())
    write_atomic(paths.html, page.html(*parts).encode())
    return paths


def _lead(summary: Summary) -> str:
    backbone, methods, datasets = summary.spec["backbone"], summary.spec["methods"], summary.spec["datasets"]
    return (
        f"{len(methods)} ways to adapt {_network(backbone)} on {len(datasets)} "
        f"data set{'' if len(datasets) == 1 else 's'}. "
        f"This report is {'complete' if summary.complete else 'preliminary: the run is not finished'}."
    )


def _network(backbone: Mapping[str, Any]) -> str:
    """A backbone in words: its name and where its weights come from."""
    weights = backbone["weights"]
    if weights is None:
        origin = "random weights"
    elif isinstance(weights, Mapping):
        source = weights["dataset"]
        options = f", {_listed(source['options'])}" if source["options"] else ""
        origin = f"trained in this run on {source['dataset']}{options}"
    else:
        origin = f"weights {weights}"
    return f"{backbone['name']} ({origin})"


def _sections(run: RunDirectory, summary: Summary) -> list[Section]:
    from analysis import frames, tables
    from analysis.contents import Facts, Section
    from analysis.figures import learning_curves, seed_strip, stems

    metric = summary.metric
    strips, curve_names = stems("seeds", summary.datasets), stems("curves", summary.datasets)
    curves = frames.curves(run, metric)
    names = summary.datasets
    strip_figures = [seed_strip(summary.of(name), name, metric, strips[name]) for name in names]
    curve_figures = [learning_curves(curves, name, metric, curve_names[name]) for name in names]
    return [
        Section(
            "Scores",
            (
                "No comparison of methods is made here: each interval describes one method alone, and "
                "whether two of them overlap proves nothing about a difference.",
            ),
            _present(tables.scores(summary), *strip_figures, tables.other_metrics(summary)),
        ),
        Section(
            "Search",
            ("The search saw training and validation data; the fresh seeds alone opened the test split.",),
            _present(tables.search(summary), tables.hyperparameters(summary), *curve_figures),
        ),
        Section("Cost", (), _present(tables.networks(summary), tables.cost(summary))),
        Section("Progress", (), _present(tables.progress(summary))),
        Section(
            "Failures",
            () if summary.failures else ("No trial has failed.",),
            _present(tables.failures(summary)),
        ),
        Section("Methods", (), (Facts(_method_facts(summary)),)),
        *_data_sections(run, summary),
        Section("Protocol", (), (Facts(_protocol_facts(summary.spec)),)),
        Section("Environment", (), (Facts(_environment_facts(summary)),)),
    ]


def _data_sections(run: RunDirectory, summary: Summary) -> list[Section]:
    from analysis.cards import data_section, sample_picture
    from analysis.contents import Section
    from analysis.figures import stems

    if not summary.cards:
        return [Section("Data", ("No card of a data set has been written yet.",), ())]
    sections, names = [], stems("sample", summary.cards)
    for label, card in sorted(summary.cards.items()):
        png = run.card_picture(label)
        picture = None if png is None else sample_picture(label, card, png, names[label])
        sections.append(data_section(label, card, picture))
    return sections


def _present(*items: Table | Figure | None) -> tuple[Table | Figure, ...]:
    from analysis.contents import Table

    return tuple(item for item in items if item is not None and not (isinstance(item, Table) and item.empty))


def _method_facts(summary: Summary) -> tuple[tuple[str, str], ...]:
    own = {label: entry.get("backbone") for label, entry in summary.spec["methods"].items()}
    facts = {}
    for study in summary.studies:
        backbone = own.get(study.method)
        facts[study.method] = f"{study.summary} (plugin {study.plugin}{'; ' + _network(backbone) if backbone else ''})"
    return tuple(facts.items())


def _protocol_facts(spec: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (part.capitalize(), _listed(spec[part]))
        for part in ("backbone", "split", "train", "search", "confirm", "launch")
        if part in spec
    )


def _environment_facts(summary: Summary) -> tuple[tuple[str, str], ...]:
    known = [(name.capitalize(), _listed(value)) for name, value in sorted(summary.environment.items())]
    return (*known, ("Devices", ", ".join(summary.devices) or "none yet"))


def _listed(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {_listed(entry)}" for name, entry in sorted(value.items()))
    if isinstance(value, list):
        return ", ".join(map(_listed, value))
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "none"}[value]
    return str(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m analysis.report", description="Write the report of a run.")
    parser.add_argument("run", type=Path, metavar="RUN", help="the run directory")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: RUN/report)")
    options = parser.parse_args(arguments)

    def command() -> int:
        print(write_report(RunDirectory(options.run), options.out).html)
        return EXIT_DONE

    return run_command(command)


if __name__ == "__main__":
    sys.exit(main())
