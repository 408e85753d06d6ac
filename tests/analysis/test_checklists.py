"""Every item of a checklist is answered with values of the run, or marked as the author's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from home import content, one_error
from made_up import made_up
from written_tables import result_rows

from analysis.checklist import KINDS, main, read_checklist, write_checklist
from analysis.checklists import results, training
from analysis.checklists.form import Checklist, ChecklistItem, Part, Reply, all_of, together
from analysis.checklists.known import Known, known_of_run, known_of_tables
from analysis.checklists.page import YOURS, fill, filled_sections
from analysis.comparison_sections import prediction_section
from analysis.runs.declared import declaration_section
from harness.metrics.table import built_in, known_metrics
from harness.pages.contents import Marked, PageTable

if TYPE_CHECKING:
    from tests.analysis.conftest import RunBuilder

ITEMS = {"claim2024": 44, "tripod_ai": 52, "metrics_reloaded": 17, "neurips": 15}
DOIS = {
    "claim2024": "doi:10.1148/ryai.240300",
    "tripod_ai": "doi:10.1136/bmj-2023-078378",
    "metrics_reloaded": "doi:10.1038/s41592-023-02151-z",
    "neurips": "NeurIPS 2024",
}
TERMS = {"metric": "balanced_accuracy", "control": "bn_affine", "family": "vs_control", "correction": "holm"}
DECLARED = {
    "hypotheses": ["gpaf is better than the control."],
    "comparison": {**TERMS, "margin": 0.01, "looks": None, "alpha": 0.05},
    "seeds": [1000, 1001, 1002, 1003, 1004], "repeat": False, "vary": ["seed", "split"],
    "search": {"trials": 3, "sampler": "tpe"}, "train": {}, "split": {}, "backbone": {},
    "datasets": {"alpha": {}, "beta": {}}, "slots": {},
    "methods": {name: {"method": "probe", "backbone": None, "space": {}} for name in ("bn_affine", "gpaf")},
}  # fmt: skip
RECORD = built_in()["sensitivity_at_specificity_90"].facts().to_json()
MAIN = [str(number) for number in range(1, 28)]


@pytest.fixture(scope="module")
def known(written_unfinished: RunBuilder) -> Known:
    return known_of_run(written_unfinished.run)


def rows_of(checklist: Checklist, known: Known) -> dict[str, list[str]]:
    """Number → its lines, the answer before what is left."""
    rows: dict[str, list[str]] = {}
    for section in filled_sections(checklist, known)[1]:
        for table in section.items:
            assert isinstance(table, PageTable)
            for number, _, answer in table.groups[0][1]:
                rows.setdefault(str(number), []).append(str(answer))
    return rows


def test_the_numbers_are_those_of_the_sources() -> None:
    assert sorted(ITEMS) == list(KINDS)
    for kind, count in ITEMS.items():
        checklist = read_checklist(kind)
        numbers = [item.number for item in checklist.items]
        assert len(numbers) == len(set(numbers)) == count
        assert DOIS[kind] in checklist.source
    assert [one.number for one in read_checklist("claim2024").items] == [str(number) for number in range(1, 45)]
    assert [one.number for one in read_checklist("neurips").items] == [str(number) for number in range(1, 16)]
    tripod = [one.number for one in read_checklist("tripod_ai").items]
    assert list(dict.fromkeys(re.sub(r"[a-g]$", "", number) for number in tripod)) == MAIN
    assert [number for number in tripod if number.startswith("12")] == [f"12{letter}" for letter in "abcdefg"]
    assert [number for number in tripod if number.startswith("18")] == [f"18{letter}" for letter in "abcdef"]


@pytest.mark.parametrize("kind", KINDS)
def test_each_item_is_answered_or_marked(known: Known, kind: str) -> None:
    checklist = read_checklist(kind)
    rows = rows_of(checklist, known)
    assert list(rows) == [item.number for item in checklist.items]
    for item in checklist.items:
        lines, reply = rows[item.number], None if item.tells is None else item.tells(known)
        marked = [line for line in lines if line.startswith(f"{YOURS}: ")]
        assert marked == ([f"{YOURS}: {item.you}"] if reply is None or item.also else [])
        answered = [line for line in lines if line not in marked]
        assert len(answered) == (reply is not None)
        for line in answered:
            assert "None" not in line and "n/a" not in line and "  " not in line


@pytest.mark.parametrize("kind", KINDS)
def test_marked_lines_stand_out_and_the_top_counts_them(known: Known, kind: str) -> None:
    checklist = read_checklist(kind)
    lead, sections = filled_sections(checklist, known)
    every = [one for part in checklist.parts for one in fill(part, known)]
    whole, left = sum(not one.left for one in every), sum(one.told is None for one in every)
    assert 0 < whole < len(every) and left
    some = len(every) - whole - left
    assert f"Of {len(every)} items the run answers {whole} in full and {some} in part; {left} are left to you." in lead
    tables = [item for section in sections for item in section.items if isinstance(item, PageTable)]
    cells = [cell for table in tables for row in table.groups[0][1] for cell in row if str(cell).startswith(YOURS)]
    assert cells and all(isinstance(cell, Marked) and cell.bold for cell in cells)


CHANGES: dict[str, tuple[Callable[[RunBuilder], None], str, str, str]] = {
    "licence": (lambda made: recard(made, licence="CC-BY-NC 9.9"), "claim2024", "43", "licence CC-BY-NC 9.9"),
    "split": (
        lambda made: recard(made, split={"kind": "random", "seed": 7, "digest": "abcd"}),
        "claim2024", "19", "at random, without regard to patients",
    ),
    "left out": (lambda made: recard(made, left_out={"no label": 41}), "claim2024", "8", "no label: 41"),
    "classes": (lambda made: recard(made, classes=["lesion", "nothing"]), "tripod_ai", "8a", "lesion, nothing"),
    "leak": (
        lambda made: recard(made, leaks={"any": True, "sentence": "9 patients are on two sides"}),
        "claim2024", "20", "9 patients are on two sides",
    ),
    "epochs": (lambda made: respec(made, "train", {"epochs": 77, "batch_size": 5}), "neurips", "6", "77 epochs"),
    "machine": (lambda made: remachine(made, python="3.99.1"), "claim2024", "23", "Python 3.99.1"),
    "margin": (
        lambda made: respec(made, "confirm", {**made.run.spec()["confirm"], "margin": 0.123}),
        "claim2024", "29", "±0.123",
    ),
    "patients": (lambda made: recard(made, group_state="none"), "metrics_reloaded", "FP4 (4)", "a unit of its own"),
    "labels": (lambda made: recard(made, multi_label=True), "tripod_ai", "15", "by a sigmoid"),
    "metadata": (
        lambda made: recard(made, metadata=[{"name": "age", "kind": "number", "missing": 31, "range": [1, 90]}]),
        "claim2024", "12", "age is missing for 31 images",
    ),
    "external": (
        lambda made: respec(made, "evaluate", [{"name": "noisy", "kind": "corruptions"}]),
        "claim2024", "33", "noisy (corruptions)",
    ),
    "subgroups": (
        lambda made: respec(made, "evaluate", [{"name": "by_sex", "kind": "subgroups"}]),
        "tripod_ai", "14", "Subgroups by metadata: by_sex",
    ),
    "weights": (
        lambda made: respec(made, "backbone", {"name": "resnet50", "weights": "IMAGENET1K_V2"}),
        "claim2024", "24", "resnet50 (weights IMAGENET1K_V2)",
    ),
}  # fmt: skip


def recard(made: RunBuilder, **changes: Any) -> None:
    made.run.write_card("beta", {**made.run.cards()["beta"], **changes})  # type: ignore[typeddict-item]


def respec(made: RunBuilder, section: str, value: object) -> None:
    made.run.write_spec({**made.run.spec(), section: value})


def remachine(made: RunBuilder, **changes: Any) -> None:
    path = next(made.run.path.glob("environment.*"))
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(("change", "kind", "number", "said"), CHANGES.values(), ids=CHANGES)
def test_answers_follow_the_facts_of_the_run(
    unfinished: RunBuilder, known: Known, change: Callable[[RunBuilder], None], kind: str, number: str, said: str
) -> None:
    checklist = read_checklist(kind)
    (item,) = (one for one in checklist.items if one.number == number)
    assert item.tells is not None

    def answer(facts: Known) -> str:
        reply = item.tells(facts)  # type: ignore[misc]
        return "" if reply is None else " ".join(reply.sentences)

    assert said not in answer(known)
    change(unfinished)
    assert said in answer(known_of_run(unfinished.run))


def test_what_is_missing_is_said(known: Known, builder: Callable[..., RunBuilder], tmp_path: Path) -> None:
    assert "The run is not finished" in " ".join(known.reservations)
    reply = results.scores(known)
    assert reply is not None and "Missing: metalr on alpha: not begun." in " ".join(reply.sentences)
    begun = builder(["probe"], ["alpha"]).run
    for kind in KINDS:
        out = tmp_path / f"{kind}.md"
        assert main([str(begun.path), "--kind", kind, "--out", str(out)]) == 0
        assert "The run is not finished" in out.read_text()


def test_a_declaration_is_told_with_its_changes(known: Known, unfinished: RunBuilder) -> None:
    assert training.declaration(known) is None
    unfinished.run.declare({"time": 0.0, "confirmed": 0, "declared": DECLARED})  # type: ignore[typeddict-item]
    now = known_of_run(unfinished.run)
    reply = training.declaration(now)
    assert reply is not None
    assert "were locked on 1970-01-01 00:00 UTC, before there was any test result." in reply.sentences[0]
    assert reply.sentences[1:] == ("Nothing was changed since.",)
    asked, drawn = results.asked(now), training.replicates(now)
    assert asked is not None and asked.sentences[0] == "Declared hypothesis 1: gpaf is better than the control."
    assert drawn is not None and drawn.sentences[0] == "Declared to be drawn anew for each replicate: seed, split."


def test_kept_models_are_counted(known: Known, unfinished: RunBuilder) -> None:
    reply = training.models(known)
    assert reply is not None and "No trained model was kept" in reply.sentences[0]
    unfinished.run.study("gpaf@beta").confirm_trial("c0ffee", 1001).trained_path.write_bytes(b"kept")
    reply = training.models(known_of_run(unfinished.run))
    assert reply is not None and reply.sentences[0].startswith("1 confirmed model")


def test_the_sections_that_answers_name_are_in_the_report(known: Known, report: Any, unfinished: RunBuilder) -> None:
    titles = set(re.findall(r"^## A?\d+\. (.*)$", report.markdown.read_text(), flags=re.MULTILINE))
    unfinished.run.declare({"time": 0.0, "confirmed": 0, "declared": DECLARED})  # type: ignore[typeddict-item]
    every = known_of_run(unfinished.run)
    named = {
        section
        for kind in KINDS
        for item in read_checklist(kind).items
        if item.tells is not None and (reply := item.tells(every)) is not None
        for section in reply.where
    }
    assert len(named) > 8
    # This run has neither a declaration nor predictions.
    titles |= {section.title for section in (prediction_section({}), *declaration_section(unfinished.run))}
    assert named <= titles


def test_tables_of_somebody_else_answer_what_they_can(tmp_path: Path) -> None:
    known = known_of_tables(made_up({"a": 1.5, "b": 1.9}, datasets=("alpha",), seeds=range(5)))
    checklist = read_checklist("claim2024")
    rows = rows_of(checklist, known)
    assert list(rows) == [item.number for item in checklist.items]
    assert rows["23"] == [f"{YOURS}: software and versions"]
    assert rows["37"][0].startswith("alpha, balanced accuracy, mean [95 % interval]: a 0.")
    table, out = tmp_path / "results.csv", tmp_path / "claim.md"
    rows_in = result_rows(made_up({"a": 1.5, "b": 1.9}, datasets=("alpha",), seeds=range(5)))
    lines = ["method,dataset,seed,metric,value", *(",".join(map(str, row.values())) for row in rows_in)]
    table.write_text("\n".join(lines))
    assert main(["--table", str(table), "--kind", "claim2024", "--out", str(out)]) == 0
    assert "We compared" in out.read_text()


@pytest.mark.parametrize("ending", ["md", "html"])
def test_nothing_that_a_user_wrote_becomes_markup(unfinished: RunBuilder, tmp_path: Path, ending: str) -> None:
    recard(unfinished, licence="<script>alert(1)</script> | [x](http://y) *z*")
    respec(unfinished, "name", "<b>name</b>")
    before, out = content(unfinished.run.path), tmp_path / f"list.{ending}"
    assert main([str(unfinished.run.path), "--kind", "claim2024", "--out", str(out)]) == 0
    text = out.read_text()
    assert "<script>alert(1)" not in text and "&lt;script&gt;alert(1)" in text
    assert "<b>name" not in text
    if ending == "md":
        assert r"\| \[x\](http://y) \*z\*" in text
    assert content(unfinished.run.path) == before


@pytest.mark.parametrize(("words", "said"), [
    (["RUN", "--kind", "claim2020", "--out", "OUT/a.md"], "invalid choice: 'claim2020'"),
    (["RUN", "--kind", "claim2024", "--out", "OUT/a.pdf"], "ends in neither .md nor .html"),
    (["RUN", "--kind", "claim2024", "--out", "OUT/no/a.md"], "there is no folder"),
    (["RUN", "--kind", "claim2024", "--out", "RUN/a.md"], "is inside the run directory"),
    (["OUT/none", "--kind", "claim2024", "--out", "OUT/a.md"], "no run directory"),
    (["--kind", "claim2024", "--out", "OUT/a.md"], "nothing to fill in"),
    (["RUN", "--margin", "0.1", "--kind", "claim2024", "--out", "OUT/a.md"], "--margin belongs to results from"),
])  # fmt: skip
def test_a_wrong_request_takes_one_line(
    written_unfinished: RunBuilder, tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"RUN": str(written_unfinished.run.path), "OUT": str(tmp_path)}
    given = [re.sub("RUN|OUT", lambda found: places[found[0]], word) for word in words]
    try:
        code = main(given)
    except SystemExit as stop:
        code = int(str(stop.code))
    one_error(code, capsys.readouterr().err, said)
    assert list(tmp_path.iterdir()) == []


def test_a_torn_file_takes_one_line(unfinished: RunBuilder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (unfinished.run.path / "cards" / "beta.json").write_text("{")
    out = tmp_path / "list.md"
    one_error(main([str(unfinished.run.path), "--kind", "neurips", "--out", str(out)]), capsys.readouterr().err, "beta")
    assert not out.exists()


def test_an_answer_without_a_sentence_and_an_item_without_words_are_refused(known: Known, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a sentence"):
        Reply(("",))
    with pytest.raises(ValueError, match="what is left to the author"):
        ChecklistItem("1", "what", "")
    assert together(None, None) is None
    both = all_of(lambda _: Reply(("one",), ("A",)), lambda _: None, lambda _: Reply(("two",), ("A", "B")))(known)
    assert both == Reply(("one", "two"), ("A", "B"))
    own = Checklist(title="own", source="nobody", parts=(Part("only", (ChecklistItem("1", "all", "it"),)),))
    assert rows_of(own, replace(known, summary=None)) == {"1": [f"{YOURS}: it"]}
    write_checklist(known, "neurips", tmp_path / "n.html")
    assert "NeurIPS paper checklist 2024: made up" in (tmp_path / "n.html").read_text()


def test_thresholds_that_validation_fixed_are_told(known: Known) -> None:
    evidence = known.analysis.evidence
    name = "sensitivity_at_specificity_90"
    plan = replace(evidence.plan, metrics=(*evidence.plan.metrics, name), known=known_metrics([RECORD]))
    asked = replace(known, analysis=replace(known.analysis, evidence=replace(evidence, plan=plan)))
    for facts, said in ((known, False), (asked, True)):
        reply = training.decision(facts)
        assert reply is not None
        assert ("each training fixed a threshold on its own validation images" in " ".join(reply.sentences)) == said
