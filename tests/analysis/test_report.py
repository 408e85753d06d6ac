from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt

from analysis.report import main, write_report
from analysis.report_files import ReportPaths

if TYPE_CHECKING:
    from tests.analysis.conftest import RunBuilder

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ALLOWED_TAGS = {
    *(
        "details",
        "summary",
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "header",
        "aside",
        "section",
        "h1",
        "h2",
        "p",
    ),
    *("figure", "figcaption", "div", "table", "thead", "tbody", "tr", "th", "td", "span", "ul", "li"),
    *("dl", "dt", "dd", "svg", "g", "path", "defs", "use", "clippath", "rect"),
    *("nav", "ol", "a", "strong", "u", "br", "script"),
}


class Page(HTMLParser):
    """Tags with their attributes, and the text of each table cell."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_cell = tag in ("td", "th")
        if self._in_cell:
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.cells[-1] += data


def test_report_states_the_numbers_their_scope_and_every_failure(report: ReportPaths) -> None:
    for path in (report.html, report.markdown):
        text = path.read_text()
        assert "retraining on this data, scored on this test set" in text
        assert "0.8070, 0.8322" in text
        assert "loss is not a number at step 17" in text
        assert "studies/gpaf@alpha/confirm/c0ffee-s1004" in text
        assert "confirm: no result for seeds 1000, 1001, 1002, 1003, 1004" in text
        # What was not shown to differ is not said to be equal.
        assert "inconclusive" in text
        assert not re.search(r"are equal|equal to|no difference|not different", text, re.IGNORECASE)


def test_results_hold_every_number_with_its_scope(report: ReportPaths) -> None:
    document = json.loads(report.results.read_text())

    score = next(
        entry
        for entry in document["scores"]
        if (entry["dataset"], entry["method"], entry["metric"]) == ("alpha", "bn_affine", "balanced_accuracy")
    )
    assert (score["n"], score["scope"], score["split"]) == (5, "seeds", "test")
    assert (score["mean"], score["low"], score["high"]) == pytest.approx((0.8196, 0.8070413804, 0.8321586196))
    assert score["values"] == {"1000": 0.812, "1001": 0.825, "1002": 0.809, "1003": 0.834, "1004": 0.818}
    assert len(document["scores"]) == 9 * 7
    assert {entry["state"] for entry in document["studies"]} == {"complete", "search unfinished", "not begun"}
    assert [entry["cause"] for entry in document["failures"]] == ["oom", "nan"]
    assert document["complete"] is False


WRITE_AND_TELL = """
import sys
from analysis.report import main
assert main(sys.argv[1:]) == 0
print(*sorted(sys.modules))
"""


def test_the_same_run_gives_the_same_bytes_in_any_process_without_training_code(
    builder: Callable[..., RunBuilder], tmp_path: Path
) -> None:
    made = builder(["bn_affine", "gpaf"], ["alpha"])
    for method, level in (("bn_affine", 0.0), ("gpaf", 0.02)):
        study = made.study(method, "alpha")
        made.searched(study, [0.8, 0.81, 0.79])
        made.choose(study, 1, 0.81)
        made.confirmed(study, {seed: value + level for seed, value in made.known_seeds.items()})
    contents, said = [], []
    for number, words in ((1, ["-m", "analysis.report"]), (2, ["-c", WRITE_AND_TELL])):
        out = tmp_path / f"out{number}"
        done = subprocess.run(
            [sys.executable, *words, str(made.run.path), "--out", str(out)],
            check=True,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": str(number)},
        )
        contents.append({path.relative_to(out): path.read_bytes() for path in out.rglob("*.*") if path.is_file()})
        said.append(done.stdout)

    assert contents[0] == contents[1]
    names = {str(path) for path in contents[0]}
    assert {"report.html", "report.md", "results.json", "paper.tex", "tables/main.tex", "tables/pairwise.csv"} <= names
    assert {f"figures/{stem}.{kind}" for stem in ("forest", "seeds_alpha") for kind in ("pdf", "png", "svg")} <= names

    loaded = said[1].split()
    assert {"matplotlib", "polars", "harness.run.directory"} <= set(loaded)
    assert not {"torch", "torchvision", "optuna", "ray", "matplotlib.pyplot"} & set(loaded)
    # What a run directory is, and nothing of what makes one.
    rooms = {name.split(".")[1] for name in loaded if name.startswith("harness.")}
    assert rooms <= {"core", "metrics", "pages", "run", "space", "studies"}
    assert {name for name in loaded if name.startswith("harness.studies.")} == {"harness.studies.declaration"}


def test_processes_that_share_the_work_write_the_same_bytes(builder: Callable[..., RunBuilder], tmp_path: Path) -> None:
    methods = [f"method_{number}" for number in range(8)]  # too many to share a panel
    made = builder(methods, ["alpha", "beta"])
    for dataset in ("alpha", "beta"):
        made.card(dataset)
        for number, method in enumerate(methods):
            study = made.study(method, dataset, slots=9)
            made.searched(study, [0.7 + 0.01 * slot for slot in range(9)])
            made.choose(study, 1, 0.71)
            made.confirmed(study, {seed: value + 0.01 * number for seed, value in made.known_seeds.items()})

    reports = [write_report(made.run, tmp_path / str(workers), workers).html.parent for workers in (1, 2)]

    first, second = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
        for folder in reports
    )
    names = {path.name for path in first}
    assert {"budget.png", "budget_2.svg", "curves_beta.pdf", "seeds_alpha.png", "results.json"} <= names
    assert first == second


def test_nothing_that_a_user_wrote_becomes_markup(builder: Callable[..., RunBuilder]) -> None:
    hostile = "<script>alert('1')<b> a|b $x_1$ [y](z) `c` & ]]>"
    made = builder([hostile], ["alpha"])
    spec = made.run.spec()
    spec["name"] = hostile
    spec["train"]["note"] = hostile
    made.run.write_spec(spec)
    made.card("alpha")
    study = made.study(hostile, "alpha")
    study.describe({**study.description(), "summary": hostile})
    made.searched(study, [0.8])
    made.fail(study.search_trial(1, 0), 1, 0, "bug", hostile + "\n</td></table><img src=x onerror=alert(1)>")
    made.choose(study, 0, 0.8)
    made.confirmed(study, made.known_seeds)

    paths = write_report(made.run)

    page = Page(paths.html.read_text())
    assert {tag for tag, _ in page.tags} <= ALLOWED_TAGS
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert hostile in page.cells
    rendered = Page(MarkdownIt("commonmark", {"html": True}).enable("table").render(paths.markdown.read_text()))
    assert {tag for tag, _ in rendered.tags} <= (ALLOWED_TAGS | {"em", "img"})
    # A script is the page's own or data, and a link leads to a section.
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert all(attributes.keys() <= {"type", "id"} for attributes in scripts) and len(scripts) <= 2
    assert all(str(attributes["href"]).startswith("#") for tag, attributes in page.tags if tag == "a")
    assert "script" not in {tag for tag, _ in rendered.tags}
    images = [str(attributes["src"]) for tag, attributes in rendered.tags if tag == "img"]
    assert images and all(source.startswith("figures/") for source in images)
    assert hostile in rendered.cells


def test_the_page_needs_nothing_else(report: ReportPaths) -> None:
    page = Page(report.html.read_text())

    links = [
        value for _, attributes in page.tags for name, value in attributes.items() if name.endswith(("href", "src"))
    ]
    assert links and all(value is not None and value.startswith("#") for value in links)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in links if value} <= set(ids)


@pytest.mark.usefixtures("no_figures")
def test_datasets_with_similar_labels_keep_their_own_figures(builder: Callable[..., RunBuilder]) -> None:
    made = builder(["probe"], ["a b", "a_b"])
    for dataset in ("a b", "a_b"):
        study = made.study("probe", dataset)
        made.choose(study, 0, 0.8)
        made.confirmed(study, made.known_seeds)

    folder = write_report(made.run).html.parent

    assert len(list((folder / "figures").glob("seeds_*.svg"))) == 2


@pytest.mark.usefixtures("no_figures")
def test_a_method_without_parameters_of_its_own_may_see_augmented_images(builder: Callable[..., RunBuilder]) -> None:
    """Only who was trained on features saw images as they are; one with steps of its own, or moving norms, did not."""
    made = builder(["probe", "norms"], ["alpha"])
    made.run.write_spec({**made.run.spec(), "train": {"epochs": 4, "batch_size": 16, "features": "once"}})
    for method, on_features in (("probe", True), ("norms", False)):
        made.extra = {"parameters": {"trainable": 0, "head": 1026, "total": 11_177_538}, "on_features": on_features}
        study = made.study(method, "alpha")
        made.choose(study, 0, 0.8)
        made.confirmed(study, made.known_seeds)

    text = write_report(made.run).html.with_suffix(".md").read_text()

    assert "Of probe the head alone was trained, on features of images without augmentation; the others were" in text


def test_a_run_that_has_only_begun_has_a_report(builder: Callable[..., RunBuilder]) -> None:
    paths = write_report(builder(["probe"], ["alpha"]).run)

    assert "not begun" in paths.html.read_text()
    assert json.loads(paths.results.read_text())["scores"] == []


def test_command_prints_where_the_report_is(
    builder: Callable[..., RunBuilder], capsys: pytest.CaptureFixture[str]
) -> None:
    run = builder(["probe"], ["alpha"]).run

    assert main([str(run.path)]) == 0

    assert Path(capsys.readouterr().out.strip()) == run.report / "report.html"
    assert (run.report / "report.html").exists()


@pytest.mark.usefixtures("no_figures")
def test_a_wrong_request_is_one_line_and_code_2(
    unfinished: RunBuilder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    torn = unfinished.run.study("gpaf@beta").search_trial(1, 0).path / "result.json"

    assert main([str(tmp_path / "empty")]) == 2
    assert main([str(unfinished.run.path), "--out", str(tmp_path / "file")]) == 2
    torn.write_text("{")
    assert main([str(unfinished.run.path)]) == 2

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "spec.json" in lines[0] and "--out" in lines[1] and "result.json" in lines[2]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [400, 1200])
def test_the_page_never_scrolls_sideways(report: ReportPaths, tmp_path: Path, width: int) -> None:
    text = report.html.read_text()
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<iframe id="f" style="border:0" width="{width}" height="800" srcdoc="{escape(text)}"></iframe>'
        '<p id="out"></p><script>document.getElementById("f").onload = e => {'
        "const d = e.target.contentDocument, boxes = [...d.querySelectorAll('.scroll')];"
        "d.querySelectorAll('details').forEach(fold => fold.open = true);"
        "document.getElementById('out').textContent = `page=${d.documentElement.scrollWidth} "
        "tables=${boxes.filter(b => b.scrollWidth > b.clientWidth).length}`}</script>"
    )
    assert CHROMIUM is not None
    seen = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--dump-dom",
            "--virtual-time-budget=5000",
            frame.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout
    measured = re.search(r'<p id="out">page=(\d+) tables=(\d+)', seen)

    assert measured is not None
    assert int(measured[1]) <= width
    # On a phone the wide tables scroll inside their own boxes; on a desktop nothing has to.
    assert (int(measured[2]) > 0) == (width == 400)
