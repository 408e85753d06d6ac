"""Methods on networks: a page each, checks of a user's own, and refusals before anything is launched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from home import one_error
from tiny import ROOT, environment, run_inline, tiny_sweep
from warm import warm

from harness.method import Method
from harness.networks.backbones import build_model
from harness.plugins import discover
from harness.proof.check_methods import main as check_methods
from harness.proof.matrix import NETWORKS, PAGE
from harness.proof.methods_pages import INDEX, described, index_row, measured
from harness.proof.methods_pages import main as methods_pages

PAGES = ROOT / "docs" / "methods"
CATALOGUE = discover()

PLUGIN = '''
"""Test methods."""

from harness.method import Method, optimiser_space
from harness.networks.sites import norm_sites
from harness.space.parameters import Choice, Float


class Kept(Method):
    """Trains the norms' shifts.

    y = gamma · x + beta
    """

    name = "kept"
    space = {"where": Choice("all", ("all", "late")), **optimiser_space(Float(1e-2, 1e-3, 1e-1, log=True))}

    def adapt(self, model, hp):
        model.backbone.requires_grad_(False)
        for site in norm_sites(model.backbone):
            site.module.bias.requires_grad_(True)

    def expected_trainable(self, model, hp):
        return sum(site.module.bias.numel() for site in norm_sites(model.backbone))


class Moved(Kept):
    """Changes the network that it says it keeps."""

    name = "moved"

    def adapt(self, model, hp):
        super().adapt(model, hp)
        for site in norm_sites(model.backbone):
            site.module.bias.data.add_(0.1)


class Refuses(Kept):
    """Acts on no network."""

    name = "refuses"

    def adapt(self, model, hp):
        raise ValueError("refuses: there is\\nno place for it here")


class Raises(Kept):
    """Has a bug in its step."""

    name = "raises"

    def training_step(self, context, images, labels):
        return undefined_name
'''


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "tests_own.py").write_text(PLUGIN)
    return folder


def test_the_pages_say_what_the_code_says() -> None:
    names = sorted(CATALOGUE.all(Method))
    assert sorted(path.name for path in PAGES.iterdir()) == sorted([*(f"{name}.md" for name in names), INDEX, PAGE])
    index = (PAGES / INDEX).read_text().splitlines()
    assert [line for line in index if line.startswith("| [")] == [index_row(CATALOGUE.all(Method)[n]) for n in names]
    stale = [n for n in names if not (PAGES / f"{n}.md").read_text().startswith(described(CATALOGUE.all(Method)[n]))]
    assert stale == [], "write them again: python -m harness.methods_pages"
    for name in names:
        page = (PAGES / f"{name}.md").read_text()
        assert "**Broken:**" not in page, name


def test_the_table_of_methods_and_networks_has_all_of_both_and_a_reason_where_it_has_no_yes() -> None:
    lines = (PAGES / PAGE).read_text().splitlines()
    head, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")]
    assert head == ["method", *(name.removeprefix("timm:") for name in NETWORKS)]
    assert [row[0] for row in rows] == [f"[`{name}`]({name}.md)" for name in sorted(CATALOGUE.all(Method))]
    reasons = {line[4:].partition("**")[0]: line for line in lines if line.startswith("- **")}
    assert {cell for row in rows for cell in row[1:]} == {"yes", *reasons}, "write it again: see its second line"
    assert "broken" not in " ".join(reasons.values())


def test_the_pages_numbers_are_those_of_the_code() -> None:
    networks = {name: build_model(name, None, 4, seed=0)[0] for name in ("resnet18", "resnet50")}
    text = measured(CATALOGUE.all(Method)["bn_affine"], networks)
    rows = [line for line in text.splitlines() if line.startswith(("| resnet", "- the head"))]
    assert len(rows) == 3 and "| resnet50 | 0 | 53,120 | 8,196 | 0.226 |" in rows[1]
    page = (PAGES / "bn_affine.md").read_text().splitlines()
    assert set(rows) <= set(page)


def test_a_users_methods_are_checked_by_one_command(plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (plugins / "torn.py").write_text("import no_such_module\n")
    assert check_methods(["--plugins", str(plugins)]) == 1
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert lines[0].startswith("torn: BROKEN:") and "no_such_module" in lines[0]
    assert "method kept: kept" in lines
    assert "method refuses: cannot act on resnet20: refuses: there is no place for it here" in lines
    assert (
        lines[lines.index("method moved: BROKEN") + 1] == "    preserves_function is set, but adapt changed the logits"
    )
    assert "NameError" in lines[lines.index("method raises: BROKEN") + 1]
    # The built-in ones are left alone.
    assert "lora_c" not in printed
    assert check_methods(["--plugins", str(plugins), "--method", "kept"]) == 0
    assert capsys.readouterr().out == "method kept: kept\n"


def test_wrong_requests_are_one_line(tmp_path: Path, plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, words in (
        (["--method", "lora_x"], ("--method", "did you mean 'lora_c'")),
        (["--backbone", "resnet19"], ("backbone.name", "did you mean 'resnet18'")),
        (["--plugins", str(empty)], ("--plugins", "no method in it")),
        (["--size", "1"], ("--size 1", "at least 8")),
    ):
        code = check_methods(arguments)
        one_error(code, capsys.readouterr().err, *words)
    code = methods_pages(["--plugins", str(plugins), "--out", str(plugins / "tests_own.py")])
    one_error(code, capsys.readouterr().err, "not a folder", "--out")


@pytest.mark.slow
def test_pages_of_a_users_methods_are_the_same_twice(plugins: Path, tmp_path: Path) -> None:
    outs = [tmp_path / "here", tmp_path / "elsewhere"]
    assert methods_pages(["--plugins", str(plugins), "--out", str(outs[0])]) == 0
    # In another process, of whose pages one is enough.
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "tests_own.py").write_text(PLUGIN.partition("class Moved")[0])
    words = ["-m", "harness.methods_pages", "--plugins", str(tmp_path / "one"), "--out", str(outs[1])]
    env = {**environment(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    subprocess.run(warm([sys.executable, *words]), check=True, cwd=tmp_path, env=env, timeout=300)
    contents = [{path.name: path.read_text() for path in out.iterdir()} for out in outs]
    assert contents[0]["kept.md"] == contents[1]["kept.md"]
    assert set(contents[1]["README.md"].splitlines()) < set(contents[0]["README.md"].splitlines())
    assert sorted(contents[0]) == ["README.md", "kept.md", "moved.md", "raises.md", "refuses.md"]
    kept, moved, refuses = (contents[0][f"{name}.md"] for name in ("kept", "moved", "refuses"))
    assert "| `lr` | `0.01` | 0.001 to 0.1, logarithmic |" in kept
    assert "| `where` | `all` | `all`, `late` |" in kept
    assert "| resnet50 | 0 | 26,560 | 8,196 | 0.113 | 0.14 MB | 4.087 | 4.087 |" in kept
    assert "- efficientnet_b0: yes" in kept
    assert "- as many scalars train as its formula says" in kept
    assert "- preserves_function is set, but adapt changed the logits" in moved
    assert refuses.count("no: refuses: there is no place for it here") == 5


def test_a_method_that_cannot_act_on_a_backbone_is_refused_before_the_launch(
    tmp_path: Path, shared_cache: Path
) -> None:
    file = tiny_sweep(
        tmp_path,
        backbone={"name": "mobilenet_v2", "weights": None},
        methods=["linear_probe", {"beside": {"method": "curvature_tuning"}}],
    )
    run = tmp_path / "run"
    refused = run_inline(file, run, shared_cache, expect=2)
    reason = "curvature_tuning is not defined on mobilenet_v2: it gives ReLUs a curvature, and the activations here are"
    one_error(2, refused.stderr, f"methods.beside: {reason}")
    # Before any image is looked at.
    assert not run.exists() and "decoding" not in refused.stderr
    planning = subprocess.run(
        warm([sys.executable, "-m", "harness.plan", str(file)]),
        env=environment(shared_cache), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    one_error(planning.returncode, planning.stderr, f"methods.beside: {reason}")


def test_a_value_that_a_search_may_choose_and_a_network_lacks_is_refused_before_the_launch(
    tmp_path: Path, shared_cache: Path
) -> None:
    file = tiny_sweep(tmp_path, methods=["linear_probe", {"surgical": {"stage": {"choice": [1, 2, 4]}}}])
    refused = run_inline(file, tmp_path / "run", shared_cache, expect=2)
    one_error(
        2,
        refused.stderr,
        "methods.surgical.stage: the search may choose 4, and surgical is not defined on resnet20 then: "
        "this network has no stage 4; it has [1, 2, 3]; give {choice: [...]} of what there is",
    )


def test_a_method_is_tried_on_a_network_that_is_still_to_be_trained(
    tmp_path: Path, shared_cache: Path, plugins: Path
) -> None:
    source = {"method": "full_finetune", "dataset": {"dataset": "digits", "classes": [0, 1]}, "train": {"epochs": 1}}
    file = tiny_sweep(
        tmp_path, plugins=[str(plugins)], backbone={"name": "resnet20", "weights": source}, methods=["kept", "refuses"]
    )
    refused = run_inline(file, tmp_path / "run", shared_cache, expect=2)
    one_error(2, refused.stderr, "methods.refuses: cannot act on resnet20: refuses: there is no place for it here")
