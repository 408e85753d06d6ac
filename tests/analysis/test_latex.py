from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from analysis.comparison.compare import analyse
from analysis.tables import latex
from analysis.tables.files import comma_separated, markdown, write_tables
from analysis.tables.latex_layout import LONG_TEXT
from analysis.tables.latex_text import escape
from harness.core.errors import RequestError
from harness.pages.contents import Marked, PageFigure, PageTable
from tests.analysis.made_up import every_table, made_up

pdflatex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
NASTY = (
    r"\end{document} 50 % of $x_1^2$ & #3 {a}~b <c> \"quoted\" `tick` -- '' ,, [0.1, 0.2] *star* a|b",
    "−0.5 ± 0.1 ≤ 3 × 10⁻⁹ – naïve Łódź Erdős Ångström groß señor ½ µm αβγ Ω 中文 🙂 日本 x₁ † ‡ §",
    "0123456789abcdef" * 12,
)
TOKEN = r"\\[A-Za-z]+(?![A-Za-z])|\\[\\{}$&#%_^~'`\"=.]|\{|\}|\$[^$%&#]+\$|\^\{|[ !\"'()*+,\-./0-9:;=?@A-Z\[\]a-z]"


def one_cell(*texts: str) -> PageTable:
    rows = tuple((text, Marked(text, bold=True), Marked(text, underline=True)) for text in texts)
    return PageTable(texts[0], ("A", texts[0][:9], "C"), "lrl", ((texts[-1], rows),), note=texts[0], name="nasty")


def compiled(source: str, folder: Path) -> str:
    """The log; a warning about what does not fit on the page is in it."""
    (folder / "paper.tex").write_text(source, encoding="ascii")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
    log = (folder / "paper.log").read_text(errors="replace")
    assert done.returncode == 0, [line for line in log.splitlines() if line.startswith(("!", "l."))]
    return log


@given(st.text(max_size=60))
@example(NASTY[0])
@example(NASTY[1])
@example("ﬁ ＆ ™ ² ̈ ẫ \x00 \u2028")
def test_any_text_becomes_ascii_in_which_nothing_is_a_command_by_accident(text: str) -> None:
    escaped = escape(text)

    assert escaped.isascii()
    assert escaped.isprintable()
    depth = 0
    # Each piece is one that escape makes on purpose; a lone special sign matches none.
    assert re.fullmatch(f"(?:{TOKEN})*", escaped), escaped
    for brace in re.findall(r"(?<!\\)[{}]", re.sub(r"\\[\\{}]", "", escaped)):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    assert not re.search(r"--|''|,,|(?<!\{)\[|(?<!\{)\*", escaped)


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=20))
def test_what_ascii_says_is_still_there(text: str) -> None:
    names = {"textbackslash": "\\", "textasciicircum": "^", "textasciitilde": "~", "textless": "<", "textgreater": ">"}
    names |= {"textbar": "|", "textasciigrave": "`", "allowbreak": ""}
    back = re.sub(r"\{\\char34\}", '"', escape(text))
    back = re.sub(r"\\([a-z]+)\{\}|\\([{}$&#%_])|\{([\[\]*])\}|\{\}", lambda hit: _sign(hit, names), back)

    assert back == " ".join(text.split())


def _sign(hit: re.Match[str], names: dict[str, str]) -> str:
    return names[hit[1]] if hit[1] else hit[2] or hit[3] or ""


@pytest.mark.slow
@pdflatex
def test_texts_of_every_kind_compile(tmp_path: Path) -> None:
    blocks = ["".join(map(chr, range(start, start + 24))) for start in range(32, 0x2300, 24) if start < 0xD000]

    log = compiled(latex.document([one_cell(*NASTY), one_cell(*blocks)], [], NASTY[0], NASTY), tmp_path)

    assert "Missing character" not in log


@pytest.mark.slow
@pdflatex
def test_a_page_of_a_paper_compiles_and_nothing_runs_off_it(tmp_path: Path) -> None:
    import matplotlib.figure

    names = ["control", "a_method_with_quite_a_long_name", *(f"adapter_{k}" for k in range(4))]
    levels = {name: 1.5 + 0.1 * place for place, name in enumerate(names)}
    datasets = [f"dataset_{k}" for k in range(8)]
    analysis = analyse(
        made_up(levels, datasets, range(6), cases=36, family="vs_control", control="control", metrics=("accuracy",),
                metric="accuracy", repeats={"control": 0.001})
    )  # fmt: skip
    failed = PageTable("Failed.", ("Trial", "Message"), "ll", (("", (("t", "CUDA out of memory " * 20 + "f" * 200),)),))
    drawing = io.BytesIO()
    matplotlib.figure.Figure(figsize=(12, 40)).savefig(drawing, format="pdf")
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "seeds_a.pdf").write_bytes(drawing.getvalue())
    figures = [
        PageFigure("Seeds & pairs.", "", "seeds_a", b"", b"", pdf=drawing.getvalue()),
        PageFigure("Not drawn for paper.", "", "missing", b"", b""),
    ]

    log = compiled(latex.document([*every_table(analysis), failed], figures, "A & B", ["Methods."]), tmp_path)

    assert not re.findall(r"Overfull|Float too large|Too many unprocessed", log)
    assert "seeds_a.pdf" in log


def test_a_table_too_wide_for_a_page_is_split_by_columns_and_keeps_its_first() -> None:
    head = ("Method", *(f"dataset {k}" for k in range(12)))
    rows = tuple((f"m{row}", *(f"{row}.{k:02} ± 0.012\n[0.800, 0.900]" for k in range(12))) for row in range(3))
    text = latex.table(PageTable("C.", head, "l" + "r" * 12, (("", rows),), note="N.", name="main"))

    floats = text.split(r"\begin{table}")[1:]
    assert len(floats) > 1
    assert all(all(f"m{row} & " in part for row in range(3)) for part in floats)
    for row in range(3):
        for k in range(12):
            assert text.count(f"{row}.{k:02} $") == 1
    assert text.count(r"\label{tab:main}") == 1
    assert text.count(r"\ContinuedFloat") == len(floats) - 1
    assert "N." in floats[-1]


def test_a_table_too_long_for_a_page_goes_on_with_the_heading_of_its_group() -> None:
    groups = (("short", (("s0", "1"),)), ("long", tuple((f"r{row}", str(row)) for row in range(150))))
    floats = latex.table(PageTable("C.", ("A", "B"), "lr", groups)).split(r"\begin{table}")[1:]

    assert len(floats) >= 3
    assert all(r"\textit{long}" in part for part in floats[1:])
    rows = [row for part in floats for row in re.findall(r"^r(\d+) & (\d+) ", part, re.MULTILINE)]
    assert rows == [(str(row), str(row)) for row in range(150)]


def test_long_text_is_set_as_paragraphs_and_marks_are_kept() -> None:
    text = latex.table(PageTable("C.", ("A", "Why"), "ll", (("", ((Marked("x", bold=True), "w " * LONG_TEXT),)),)))

    assert "p{" in text
    assert r"\textbf{\boldmath x}" in text
    assert latex.table(PageTable("C.", ("A",), "l", (("", ()),))) == ""


def test_the_files_of_a_table_say_what_it_shows(tmp_path: Path) -> None:
    rows = ((Marked("a|b,_c", bold=True), "−0.5\n[−1, 0]"), (Marked("<d>", underline=True), "n/a"))
    made = PageTable("Caption.", ("Method", "Value"), "lr", (("alpha", rows),), note="A *note*.", name="main")
    nameless = PageTable("No name.", ("A",), "l", (("", (("x",),)),))

    written = write_tables([made, nameless, PageTable("Empty.", ("A",), "l", (), name="empty")], tmp_path / "tables")

    assert [path.name for path in written] == ["main.tex", "main.csv", "main.md"]
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == ["main.csv", "main.md", "main.tex"]
    table = list(csv.reader(io.StringIO(written[1].read_text(encoding="utf-8"))))
    assert table == [["Group", "Method", "Value"], ["alpha", "a|b,_c", "-0.5 [-1, 0]"], ["alpha", "<d>", "n/a"]]
    assert written[0].read_text() == latex.table(made)
    assert written[2].read_text(encoding="utf-8") == markdown(made)
    assert comma_separated(made) == written[1].read_text(encoding="utf-8")


def test_markdown_shows_marks_and_escapes_texts() -> None:
    from markdown_it import MarkdownIt

    rows = ((Marked("a|b_c_", bold=True), "1 * 2 * 3"), (Marked("<d>", underline=True), "`e`"))
    made = PageTable("Caption *x*.", ("Method", "Value"), "lr", (("alpha", rows),), note="N.")

    page = MarkdownIt("commonmark").enable("table").render(markdown(made))

    assert re.sub(r"\s*style=\"[^\"]*\"", "", page).split("<tbody>")[1].replace("\n", "") == (
        "<tr><td><strong>a|b_c_</strong></td><td>1 * 2 * 3</td></tr>"
        "<tr><td><ins>&lt;d&gt;</ins></td><td>`e`</td></tr></tbody></table><p>N.</p>"
    )


def test_two_tables_of_one_name_and_a_folder_that_is_none_are_refused(tmp_path: Path) -> None:
    made = PageTable("C.", ("A",), "l", (("", (("x",),)),), name="main")
    (tmp_path / "file").touch()

    with pytest.raises(ValueError, match="one name"):
        write_tables([made, made], tmp_path)
    with pytest.raises(RequestError, match="not a folder"):
        write_tables([made], tmp_path / "file")
