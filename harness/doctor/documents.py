"""Damaged or lost files that say what the run and its studies are."""

from __future__ import annotations

from collections.abc import Iterator

from harness import run_files
from harness.doctor.finding import Finding
from harness.doctor.json_files import WORDS, lacking, read
from harness.file_checks import is_png
from harness.identity import configuration_hash
from harness.reading_ahead import each
from harness.run_files import Document
from harness.store import RunDirectory, StudyFolder

REWRITTEN = "the sweep command writes it again"


def examine(run: RunDirectory) -> Iterator[Finding]:
    """Everything that is wrong with them; what is missing is no damage, because the sweep makes it again."""
    for found in each(lambda document: list(_document(run, document)), run_files.documents(run)):
        yield from found
    for found in each(lambda study: list(_choice(study)), run.studies()):
        yield from found
    for path in run_files.card_pictures(run):
        if not is_png(path):
            yield _aside("torn", run, Document(path, ()), WORDS["torn"])


def _document(run: RunDirectory, document: Document) -> Iterator[Finding]:
    fault, content = read(document.path, document.required)
    if fault == "missing":
        if document.expected:
            yield Finding("missing", document.path, WORDS[fault], f"{REWRITTEN} by itself", by="sweep")
    elif fault is not None:
        yield _aside(fault, run, document, WORDS[fault] + lacking(content, document.required))


def _choice(study: StudyFolder) -> Iterator[Finding]:
    path = study.chosen_path
    fault, chosen = read(path)
    if fault is not None:
        return
    own = configuration_hash(chosen.get("hyperparameters") or {}, chosen.get("schedule", ()))
    if own != chosen.get("configuration"):
        remedy = f"--fix sets it aside; {REWRITTEN}"
        what = "names another configuration than its hyperparameters are"
        yield Finding("other version", path, what, remedy, aside=(path,), damage=True)


def _aside(fault: str, run: RunDirectory, document: Document, what: str) -> Finding:
    path = document.path
    return Finding(fault, path, what, f"--fix sets it aside; {REWRITTEN}", aside=(path,), damage=True)
