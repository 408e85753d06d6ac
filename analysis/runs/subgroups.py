"""The subgroups of test cases that a sweep declares, from the metadata that a run keeps of its cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analysis.comparison.evidence import Evidence
from analysis.comparison.subgroups import SubgroupFindings, subgroup_findings
from harness.run.directory import RunDirectory
from harness.run.sweep_records import SUBGROUPS, evaluations_of


def subgroups_in(runs: Sequence[RunDirectory], evidence: Evidence) -> tuple[SubgroupFindings, ...]:
    """The methods by each declared column of metadata, dataset by dataset; empty where none is declared.

    Args:
        runs: that the evidence is from.
        evidence: of the comparison on the test split.
    """
    found = {
        (dataset, column): one
        for run in runs
        for dataset, column in _declared(run, evidence)
        if (one := _of(run, evidence, dataset, column)) is not None
    }
    return tuple(found.values())


def _declared(run: RunDirectory, evidence: Evidence) -> Iterator[tuple[str, str]]:
    spec = run.spec()
    for entry in spec.get("evaluate", []):
        columns = entry.get("options", {}).get("subgroups")
        if entry["kind"] == SUBGROUPS and isinstance(columns, list):
            for dataset in evidence.datasets:
                if entry in evaluations_of(spec, dataset):
                    yield from ((dataset, str(column)) for column in columns)


def _of(run: RunDirectory, evidence: Evidence, dataset: str, column: str) -> SubgroupFindings | None:
    known = run.cases(dataset)
    if known is None or column not in known.columns:
        return None
    values = dict(zip(known["case_id"].to_list(), known[column].to_list(), strict=True))
    return subgroup_findings(evidence, dataset, column, values)
