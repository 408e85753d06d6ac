"""Damaged or lost files that say what the run and its studies are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.core.file_checks import is_parquet, is_png
from harness.core.identity import configuration_hash
from harness.core.many_files import each
from harness.doctor.finding import Finding
from harness.doctor.json_files import WORDS, read
from harness.run import inventory as run_files
from harness.run import records, study_records
from harness.run.directory import RunDirectory
from harness.run.inventory import Document
from harness.run.study_folder import StudyFolder

REWRITTEN = "the sweep command writes it again"


def examine(run: RunDirectory) -> Iterator[Finding]:
    """Everything that is wrong with them; what is missing is no damage, because the sweep makes it again."""
    plan = Document(run.plan_path, records.PLAN, expected=False)
    for found in each(lambda document: list(_document(document)), [plan, *run_files.documents(run)]):
        yield from found
    for found in each(lambda study: list(_choice(study)), run.studies()):
        yield from found
    for path in run_files.card_pictures(run):
        if not is_png(path):
            yield _aside("torn", path, WORDS["torn"])
    for path in run_files.case_tables(run):
        if not is_parquet(path):
            yield _aside("torn", path, WORDS["torn"])


def _document(document: Document) -> Iterator[Finding]:
    found = read(document.path, document.form)
    if found.fault == "missing":
        if document.expected:
            yield Finding("missing", document.path, found.what, f"{REWRITTEN} by itself", by="sweep")
    elif found.fault is not None:
        yield _aside(found.fault, document.path, found.what)


def _choice(study: StudyFolder) -> Iterator[Finding]:
    path = study.chosen_path
    found = read(path, study_records.CHOICE)
    if found.fault is not None:
        return
    chosen = found.value
    named = [chosen, *chosen.get("replicates", {}).values()]
    if any(
        configuration_hash(one["hyperparameters"], one.get("schedule", ())) != one["configuration"] for one in named
    ):
        remedy = f"--fix sets it aside; {REWRITTEN}"
        what = "names another configuration than its hyperparameters are"
        yield Finding("other version", path, what, remedy, aside=(path,), damage=True)


def _aside(fault: str, path: Path, what: str) -> Finding:
    return Finding(fault, path, what, f"--fix sets it aside; {REWRITTEN}", aside=(path,), damage=True)
