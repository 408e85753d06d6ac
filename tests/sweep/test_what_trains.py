"""A launch says what is odd about what a method trains, in a line, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from home import one_error
from tiny import run_inline, tiny_sweep

METHOD = '''
from harness.method import Method, ParamGroup

class Mine(Method):
    """A method of the user's own."""

    name = "mine"
    space = {}

    def adapt(self, model, hp):
        model.head.requires_grad_(HEAD)
        next(model.backbone.parameters()).requires_grad_(BELOW)

    def param_groups(self, model, hp):
        return [ParamGroup("all", [p for p in model.parameters() if p.requires_grad], 1e-3, 0.0)]
'''
PROMISE = """
    def expected_trainable(self, model, hp):
        return 0
"""


def swept(tmp_path: Path, cache: Path, head: bool, below: bool, extra: str = "", expect: int = 0) -> str:
    """What a sweep of a method says; the head and the first tensor of the backbone train as told."""
    (tmp_path / "plugins").mkdir()
    source = METHOD.replace("HEAD", str(head)).replace("BELOW", str(below)) + extra
    (tmp_path / "plugins" / "mine.py").write_text(source)
    file = tiny_sweep(
        tmp_path,
        plugins=["plugins"],
        methods=["mine"],
        train={"epochs": 1, "image_size": 8},
        search={"trials": 1, "seeds": [0]},
        confirm={"seeds": 1, "repeat": False},
    )
    return run_inline(file, tmp_path / "run", cache, report=False, expect=expect).stderr


def test_a_method_that_trains_nothing_is_refused(tmp_path: Path, shared_cache: Path) -> None:
    said = swept(tmp_path, shared_cache, head=False, below=False, expect=2)
    one_error(2, said, "methods.mine: cannot act on resnet20: it trains nothing, not even the head")


@pytest.mark.parametrize(("head", "below", "extra"), [(True, True, ""), (False, True, ""), (True, False, PROMISE)])
def test_what_is_meant_passes_without_a_word(
    tmp_path: Path, shared_cache: Path, head: bool, below: bool, extra: str
) -> None:
    assert "note: mine" not in swept(tmp_path, shared_cache, head, below, extra)


@pytest.mark.parametrize("extra", ["", PROMISE.replace("return 0", "return 432")])
def test_a_method_that_trains_the_head_alone_is_named(tmp_path: Path, shared_cache: Path, extra: str) -> None:
    said = swept(tmp_path, shared_cache, head=True, below=False, extra=extra)
    (note,) = [line for line in said.splitlines() if line.startswith("note: mine")]
    assert note == (
        "note: mine: nothing below the head trains on resnet20; if this is meant, let expected_trainable return 0"
    )
