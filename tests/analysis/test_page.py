"""The page: what it shows, and what its script does in a real browser."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from harness.pages import page
from harness.pages.contents import Marked, PageSection, PageTable, Row, folded, numbered

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = "</script><!--<script>alert(1)</script> & \u2028 \" '"
VALUES = ("0.8123", "n/a", "−0.0200", "1,234.5", "< 0.001", "0.0010", "12", "0.7 [0.1, 0.9]")
"""One a row, in the order of the report; the second group has them in reverse."""


def table(rows: Sequence[Sequence[str | Marked]], other: Sequence[Row] = (), number: int = 1) -> PageTable:
    groups = (("first", tuple(map(tuple, rows))), ("second", tuple(other)))
    return PageTable(caption="Values.", head=("Method", "Value"), align="lr", groups=groups, number=number)


def sections(*tables: PageTable, count: int = 1) -> list[PageSection]:
    parts = [PageSection(f"Part {place}", ("A sentence.",), tables if place == 0 else ()) for place in range(count)]
    return numbered(parts)


def panel(text: str) -> dict[str, Any]:
    return {
        "facts": [["Configuration", text]],
        "head": ["Seed", "Score"],
        "align": "rr",
        "rows": [["1000", "0.5"], ["1001", "0.25"]],
        "commands": [f"python -m analysis.trace RUN {text}"],
    }


class Reader(HTMLParser):
    """Tags, and the content of the element with the id ``trials``."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.embedded = ""
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._inside = dict(attrs).get("id") == "trials"

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        self.embedded += data if self._inside else ""


def in_browser(html: str, tmp_path: Path, steps: str, width: int = 1200) -> Any:
    """Run ``steps`` (JavaScript; ``d`` is the page's document, ``say`` takes the answer) and return the answer."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<iframe id="f" width="{width}" height="800" srcdoc="{escape(html)}"></iframe><pre id="out"></pre><script>'
        'document.getElementById("f").onload = e => { const d = e.target.contentDocument;'
        'const say = found => { document.getElementById("out").textContent = btoa(encodeURIComponent('
        f"JSON.stringify(found))) }};\n{steps}\n}}</script>"
    )
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--virtual-time-budget=5000"]
    seen = subprocess.run([CHROMIUM, *options, frame.as_uri()], capture_output=True, text=True, timeout=120).stdout
    answer = re.search(r'<pre id="out">([^<]+)', seen)
    assert answer is not None, "the page's steps ended with an error"
    return json.loads(unquote(base64.b64decode(answer[1]).decode()))


@settings(max_examples=20, deadline=None)
@given(text=st.text(max_size=40))
@example(text=HOSTILE)
def test_no_text_of_a_trial_ends_its_data(text: str) -> None:
    trials: Mapping[str, Any] = {f"gpaf@{text}": panel(text)}
    read = Reader(page.html("t", "l", (), sections(table([("a", "1")])), trials))
    assert json.loads(read.embedded) == trials
    assert read.tags.count("script") == 2


def test_marks_are_bold_and_underlined_in_both_formats_and_never_markup_of_their_own() -> None:
    rows = [
        (Marked("best", bold=True), "1"),
        (Marked("alike", underline=True), "2"),
        (Marked("<b>*x*</b>|", bold=True, underline=True, cell="m@d"), "3"),
    ]
    text = page.html("t", "l", (), sections(table(rows)))
    assert "<strong>best</strong>" in text and "<u>alike</u>" in text
    assert '<th scope="row" class="l" data-cell="m@d"><strong><u>&lt;b&gt;*x*&lt;/b&gt;|</u></strong></th>' in text

    source = page.markdown("t", "l", (), sections(table(rows)))
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").render(source)
    assert "<strong>best</strong>" in rendered and "<u>alike</u>" in rendered
    assert "<strong><u>&lt;b&gt;*x*&lt;/b&gt;|</u></strong>" in rendered


def test_a_long_report_lists_its_sections_and_a_short_one_does_not() -> None:
    long, short = (page.html("t", "l", (), sections(table([("a", "1")]), count=count)) for count in (6, 5))
    assert [f'href="#section-{k}"' in long and f'id="section-{k}"' in long for k in range(1, 7)] == [True] * 6
    assert "<nav" not in short


def with_appendix() -> str:
    """A page whose appendix was given first, with one note below three tables."""
    tables = [replace(table([(name, "1")]), note="Alike.") for name in "abc"]
    appendix = folded(*(PageSection(f"Detail {place}", (), (tables[place],)) for place in (0, 1)))
    open_ones = [PageSection(f"Part {place}", ("A sentence.",), tables[2:] if place == 0 else ()) for place in range(4)]
    return page.html("t", "l", (), numbered([*appendix, *open_ones]))


def test_the_appendix_comes_last_closed_and_is_one_entry_of_the_contents() -> None:
    text = with_appendix()
    assert re.findall(r"<h2>(\S+\. [^<]*)</h2>", text) == [
        "1. Part 0", "2. Part 1", "3. Part 2", "4. Part 3", "A1. Detail 0", "A2. Detail 1"
    ]  # fmt: skip
    assert text.count("<details>") == 2 and "<details open" not in text
    assert re.findall(r'<a href="#section-(\S+)">', text) == ["1", "2", "3", "4", "A1"]
    assert "Appendix, in 2 parts" in text


def test_a_note_is_read_once() -> None:
    text = with_appendix()
    assert text.count("Alike.") == 1 and text.index("Alike.") < text.index("Detail 0")
    assert text.count("The note below Table 1 holds here too.") == 2


@pytest.mark.slow
def test_the_appendix_opens_by_a_link_a_button_and_for_print(tmp_path: Path) -> None:
    steps = """
    const w = d.defaultView, open = () => [...d.querySelectorAll("details")].map(fold => fold.open);
    const button = d.querySelector("button.unfold");
    const seen = [open()];
    w.location.hash = "#section-A2";
    w.dispatchEvent(new Event("hashchange")); seen.push(open());
    button.click(); seen.push(open());
    button.click(); seen.push(open());
    w.dispatchEvent(new Event("beforeprint")); seen.push(open());
    say(seen);
    """
    assert in_browser(with_appendix(), tmp_path, steps) == [
        [False, False], [False, True], [True, True], [False, False], [True, True]
    ]  # fmt: skip


@pytest.fixture
def interactive() -> str:
    """A page with a table of two groups that may be filtered, a short one, and trials of one cell."""
    names = "abcdefgh"
    rows = [(Marked(name, cell=f"{name}@d"), value) for name, value in zip(names, VALUES, strict=True)]
    other = [(f"{name}2", value) for name, value in zip(names, reversed(VALUES), strict=True)]
    tables = (table(rows, other), table([("short", "1")], number=2))
    return page.html("t", "l", (), sections(*tables), {"a@d": panel(HOSTILE), "<b>@d": panel("never shown")})


@pytest.mark.slow
def test_a_click_on_a_head_sorts_each_group_by_itself(interactive: str, tmp_path: Path) -> None:
    steps = """
    const heads = [...d.querySelectorAll("table")[0].tHead.rows[0].cells];
    const column = () => [...d.querySelectorAll("table")[0].tBodies].map(
      body => [...body.rows].map(row => row.cells[row.cells.length - 1].textContent));
    const seen = [];
    const note = () => seen.push([heads.map(head => head.getAttribute("aria-sort")), column()]);
    note();
    for (let k = 0; k < 3; k += 1) { heads[1].querySelector("button").click(); note(); }
    heads[0].querySelector("button").click(); note();
    say(seen);
    """
    before, up, down, again, by_name = in_browser(interactive, tmp_path, steps)

    ascending = ["−0.0200", "< 0.001", "0.0010", "0.7 [0.1, 0.9]", "0.8123", "12", "1,234.5"]
    assert before[1] == [["first", *VALUES], ["second", *reversed(VALUES)]]
    assert up[0] == [None, "ascending"] and down[0] == [None, "descending"] and by_name[0] == ["ascending", None]
    assert up[1] == [["first", *ascending, "n/a"], ["second", *ascending, "n/a"]]
    assert down[1] == [["first", *reversed(ascending), "n/a"], ["second", *reversed(ascending), "n/a"]]
    assert again == before and by_name[1] == before[1]


@pytest.mark.slow
def test_the_filter_keeps_the_rows_that_hold_every_word(interactive: str, tmp_path: Path) -> None:
    steps = """
    const boxes = [...d.querySelectorAll("input[type=search]")];
    const shown = () => [...d.querySelectorAll("table")[0].rows]
      .filter(row => !row.hidden).map(row => row.cells[0].textContent);
    const type = text => { boxes[0].value = text; boxes[0].dispatchEvent(new Event("input")); return shown(); };
    say({boxes: boxes.map(box => box.getAttribute("aria-label")), one: type("SECOND 0.8"),
         count: d.querySelector("output").textContent, none: type("nowhere"), all: type("  ").length});
    """
    assert in_browser(interactive, tmp_path, steps) == {
        "boxes": ["Filter Table 1"], "one": ["Method", "second", "h2"], "count": "1 of 16 rows",
        "none": ["Method"], "all": 19,
    }  # fmt: skip


@pytest.mark.slow
def test_a_cell_with_trials_opens_them_and_gives_the_focus_back(interactive: str, tmp_path: Path) -> None:
    steps = """
    const cells = [...d.querySelectorAll("button.cell")];
    cells[0].focus();
    cells[0].click();
    const dialog = d.querySelector("dialog");
    const found = {cells: cells.map(cell => cell.textContent), open: dialog.open,
      name: d.getElementById(dialog.getAttribute("aria-labelledby")).textContent,
      inside: dialog.contains(d.activeElement),
      fact: dialog.querySelector("dd").textContent, command: dialog.querySelector("pre").textContent,
      rows: [...dialog.querySelectorAll("tbody tr")].map(row => [...row.cells].map(cell => cell.textContent))};
    dialog.querySelector(".close").click();
    say({...found, closed: !dialog.open, back: d.activeElement === cells[0], scripts: d.scripts.length});
    """
    assert in_browser(interactive, tmp_path, steps) == {
        "cells": ["a"], "open": True, "name": "Trials of a@d", "inside": True, "fact": HOSTILE,
        "command": f"python -m analysis.trace RUN {HOSTILE}", "rows": [["1000", "0.5"], ["1001", "0.25"]],
        "closed": True, "back": True, "scripts": 2,
    }  # fmt: skip


@pytest.mark.slow
def test_no_other_script_runs(interactive: str, tmp_path: Path) -> None:
    foreign = interactive.replace("</main>", "<script>document.title = 'taken over'</script></main>")
    assert foreign != interactive
    steps = """say([d.title, d.querySelectorAll("button.sort").length]);"""
    assert in_browser(foreign, tmp_path, steps) == ["t", 4]
