"""A user's figures and tables are in the report, and one that fails costs the report nothing else."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from home import Home

from analysis import report
from analysis.conformance import item_problems, plugin_problems
from analysis.contracts import Drawing, Figure, ReportData, Rows, Table
from analysis.report import main
from harness.pages.contents import Item, PageFigure, PageSection, PageTable
from harness.plugins import of_folders
from harness.run.directory import RunDirectory
from harness.work.reporting import report_is_current, shows_results

HOSTILE = "<script>alert(1)</script> a|b $x_1$ & 100 %"

CURVES = f'''
"""Learning curves of the chosen configurations."""

import polars as pl
from matplotlib.figure import Figure as Canvas

from harness.api import Drawing, Figure


class Curves(Figure):
    """Validation score by epoch, a line a method."""

    name = "my_curves"
    title = "Curves of my own"

    def draw(self, data):
        for (dataset,), own in sorted(data.curves().group_by(["dataset"])):
            canvas = Canvas(figsize=(5, 2.5))
            axes = canvas.subplots()
            for (method,), line in sorted(own.group_by(["method"])):
                mean = line.group_by("epoch").agg(pl.col("value").mean()).sort("epoch")
                axes.plot(mean["epoch"], mean["value"], marker="o", label="{HOSTILE}")
            axes.legend()
            caption = f"{{dataset}}: mean over {{own['seed'].n_unique()}} seeds. {HOSTILE}"
            yield Drawing(canvas, caption, "By epoch. {HOSTILE}")
'''

TRIALS = f'''
"""How long trials took."""

from harness.api import Rows, Table


class Seconds(Table):
    """A row a stage."""

    name = "my_seconds"
    title = "Seconds"
    section = "Search"

    def fill(self, data):
        rows = [
            (stage, len(own), own["train_seconds"].median() * 0 + 0.5, None, "{HOSTILE}")
            for (stage,), own in sorted(data.trials.group_by(["stage"]))
        ]
        yield Rows("Trials by stage. {HOSTILE}", ("Stage", "Trials", "Half", "Nothing", "Note"), rows)
'''

BROKEN = '''
"""Fails."""

import matplotlib.pyplot as plt

from harness.api import Figure


class Broken(Figure):
    """Fails after it has opened a canvas."""

    name = "my_broken"
    title = "Broken"

    def draw(self, data):
        plt.figure()
        raise ValueError("no <b>luck</b>")
'''


def write_plugins(folder: Path) -> None:
    (folder / "my_curves.py").write_text(CURVES)
    (folder / "my_seconds.py").write_text(TRIALS)
    (folder / "my_broken.py").write_text(BROKEN)


def data_of(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> tuple[ReportData, list[Item]]:
    """What the report of a run is made from, and its own figures and tables."""
    seen: list[tuple[ReportData, list[PageSection]]] = []
    monkeypatch.setattr(
        report, "_with_plugins", lambda sections, before, data, folders: seen.append((data, sections)) or sections
    )
    items = [item for section in report._of_runs([run]).sections for item in section.items]
    return seen[0][0], items


def test_the_report_of_a_sweep_has_the_figures_of_its_plugin_folders(home: Home) -> None:
    write_plugins(home.plugin.parent)
    done = home.sweep_with_workers(home.path / "again", 0, figures=True)
    run = RunDirectory(home.path / "again")
    page = run.report_page.read_text()
    captions = [unescape(re.sub("<.*?>", "", one)) for one in re.findall("<figcaption>(.*?)</figcaption>", page)]
    assert any(one.endswith(f". zero_one: mean over 1 seeds. {HOSTILE}") for one in captions)
    assert any(one.endswith(f". Trials by stage. {HOSTILE}") for one in captions)
    labels = [unescape(one) for one in re.findall('<svg role="img" aria-label="(.*?)"', page)]
    assert f"By epoch. {HOSTILE}" in labels
    titles = [unescape(one) for one in re.findall(r"<h2>\d+\. (.*?)</h2>", page)]
    assert {"Curves of my own", "Broken"} <= set(titles) and "Seconds" not in titles
    line = BROKEN[: BROKEN.index("raise")].count("\n") + 1
    said = f"The figure 'my_broken' is missing: my_broken.py: line {line}: ValueError: no <b>luck</b>."
    assert said in unescape(page) and "<b>luck" not in page
    complaints = done.stderr + "".join(one.read_text() for one in run.workers.glob("*.log"))
    assert f"my_broken.py: line {line}: ValueError" in complaints

    for suffix in ("svg", "png", "pdf"):
        assert (run.report / "figures" / f"plugin_my_curves.{suffix}").stat().st_size > 500
    names = {suffix: f"plugin_my_seconds.{suffix}" for suffix in ("tex", "csv", "md")}
    texts = {suffix: (run.report / "tables" / name).read_text() for suffix, name in names.items()}
    assert r"\$x\_\allowbreak{}1\$ \& 100 \%" in texts["tex"] and "<script" not in texts["md"]
    assert [row.split(",")[:5] for row in texts["csv"].splitlines()[1:]] == [
        ["", "confirm", "1", "0.5000", "n/a"],
        ["", "search", "1", "0.5000", "n/a"],
    ]
    paper = (run.report / "paper.tex").read_text()
    assert "plugin_my_curves" in paper and "tab:plugin-my-seconds" in paper

    # Whoever finds the plugins elsewhere knows the same report by their code, and a changed figure makes another.
    assert report_is_current(run)
    (home.plugin.parent / "my_curves.py").write_text(CURVES.replace("mean over", "average of"))
    assert not report_is_current(run)
    # A reading command looks at nothing in a folder that a run names.
    assert shows_results(run)
    (home.plugin.parent / "my_curves.py").write_text(f"# A comment.\n{CURVES}")
    assert report_is_current(run)
    home.plugin.parent.rename(home.path / "elsewhere")
    assert report_is_current(run), "a report without the plugins would show less"
    (home.path / "elsewhere").rename(home.plugin.parent)


def test_a_reader_executes_no_plugin_unless_it_is_named(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    write_plugins(home.plugin.parent)
    (home.plugin.parent / "trap.py").write_text("from harness.api import Table\nraise SystemExit('it ran')\n")
    out = home.path / "out"
    assert main([str(home.run), "--out", str(out)]) == 0
    assert "my_curves" not in (out / "report.html").read_text() and capsys.readouterr().err == ""

    assert main([str(home.run), "--out", str(out), "--plugins", str(home.plugin.parent)]) == 0
    page, said = unescape((out / "report.html").read_text()), capsys.readouterr().err.splitlines()
    assert "mean over 1 seeds" in page
    assert "trap.py cannot be used, and what it shows is missing: line 2: SystemExit: it ran." in page
    assert len(said) == 2 and {"'my_broken'" in one for one in said} == {True, False}

    assert main([str(home.run), "--out", str(out), "--plugins", str(home.path / "none")]) == 2


def test_figures_and_tables_keep_to_the_contract(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import pyplot

    data, own = data_of(RunDirectory(home.run), monkeypatch)
    assert {type(item) for item in own} >= {PageFigure, PageTable}
    assert item_problems(own) == []
    write_plugins(home.plugin.parent)
    found = of_folders([home.plugin.parent])
    assert plugin_problems(found.all(Figure)["my_curves"].cls, data) == []
    assert plugin_problems(found.all(Table)["my_seconds"].cls, data) == []
    with pytest.raises(ValueError, match="luck"):
        plugin_problems(found.all(Figure)["my_broken"].cls, data)
    assert pyplot.get_fignums() == []


def test_the_conformance_suite_notices_what_a_plugin_breaks(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import pyplot

    data, _ = data_of(RunDirectory(home.run), monkeypatch)

    class Dice(Figure):
        name, title, drawn = "dice", "Dice", 0

        def draw(self, data: ReportData) -> list[Drawing]:
            Dice.drawn += 1
            canvas, axes = pyplot.subplots()
            axes.set_title(str(Dice.drawn))
            return [Drawing(canvas, "A die.", "A die")]

    class Nothing(Table):
        name, title = "nothing", "Nothing"

        def fill(self, data: ReportData) -> None:
            return None

    class Untitled(Table):
        name, title = "untitled", " "

        def fill(self, data: ReportData) -> list[Rows]:
            return []

    assert plugin_problems(Dice, data) == ["drawn again from the same results it differs"]
    assert pyplot.get_fignums() == []
    assert plugin_problems(Nothing, data) == ["it shows nothing"]
    assert plugin_problems(Untitled, data) == ["it has a title or section that is no text"]


def test_a_report_of_tables_has_them_too(tmp_path: Path) -> None:
    """Without run directories there are no trials and no curves, and the plugins draw what there is."""
    folder = tmp_path / "mine"
    folder.mkdir()
    write_plugins(folder)
    rows = [f"m{method},d,{seed},accuracy,0.{method}{seed}\n" for method in (7, 8) for seed in range(5)]
    table, out = tmp_path / "results.csv", tmp_path / "out"
    table.write_text("method,dataset,seed,metric,value\n" + "".join(rows))
    words = ["--table", str(table), "--control", "m7", "--out", str(out), "--plugins", str(folder)]
    assert main(words) == 0
    page = unescape((out / "report.html").read_text())
    assert "ValueError: no <b>luck</b>" in page and "Curves of my own" not in page
