from __future__ import annotations

from dataclasses import replace

from analysis.words.appendix import appendix
from harness.pages.contents import Facts
from tests.analysis.made_up import made_up

ENVIRONMENT = {
    "commit": "c0ffee",
    "dirty": True,
    "python": "3.11.7",
    "packages": {"torch": "2.15.0", "numpy": "2.4.6"},
    "machine": {"system": "Linux", "processor": "x86_64", "cores": 2, "memory_bytes": 16_000_000_000, "gpus": []},
}
CARD = {
    "title": "Made-up shapes",
    "fingerprint": "f00d",
    "split": {"kind": "grouped", "seed": 0, "digest": "abcd"},
    "counts": {"train": [1200, 60], "val": [32, 16], "test": [60, 12]},
}
SPEC = {
    "backbone": {"name": "resnet50", "weights": "IMAGENET1K_V2"},
    "methods": {"a": {"backbone": None}, "b": {"backbone": {"name": "resnet18", "weights": None}}},
    "split": {"kind": "grouped", "near_duplicates": False},
    "search": {"trials": 3, "seeds": [0, 1]},
}
STUDY = {"label": "a", "dataset": "alpha", "method": "probe", "identity": {"method": {"name": "probe", "code": "beef"}}}
CHOSEN = {"slot": 2, "configuration": "c0de", "hyperparameters": {"lr": 0.002, "rank": 8}}


def test_the_appendix_holds_what_is_needed_to_run_it_again() -> None:
    whole = made_up({"a": 1.5, "b": 1.9}, seeds=range(1000, 1003), repeats={"a": 0.0}, metrics=("balanced_accuracy",))
    cells = {key: cell for key, cell in whole.cells.items() if key != ("beta", "a")}
    cells["alpha", "b"] = replace(cells["alpha", "b"], declared=tuple(range(1000, 1005)), failures={1003: "oom"})
    evidence = replace(whole, cells=cells)
    studies = [(STUDY, CHOSEN), ({**STUDY, "label": "b"}, None)]
    sections = appendix(evidence, SPEC, ENVIRONMENT, {"alpha": CARD}, studies)
    facts = {
        section.title.removeprefix(""): dict(item.pairs)
        for section in sections
        for item in section.items
        if isinstance(item, Facts)
    }
    assert facts == {
        "Code and machine": {
            "Commit": "c0ffee with uncommitted changes",
            "Python": "3.11.7",
            "Packages": "numpy 2.4.6, torch 2.15.0",
            "Launched on": "Linux, x86_64, 2 cores, 16.0 GB, no GPU",
            "Devices of the trials": "cpu",
        },
        "Data and splits": {
            "alpha": "Made-up shapes; data f00d; split grouped, seed 0, abcd; images: train 1,260, val 48, test 72"
        },
        "Seeds": {
            "alpha": "a: 1000 to 1002, repeated 1000; b: 1000 to 1002, failed 1003 (oom), without result 1004",
            "beta": "a: not begun; b: 1000 to 1002",
        },
        "Settings": {
            "Backbone": "resnet50 (weights IMAGENET1K_V2)",
            "Backbone of b": "resnet18 (random weights)",
            "Split": "kind grouped; near_duplicates no",
            "Search": "seeds 0, 1; trials 3",
        },
        "Identities": {
            "a on alpha": "plugin probe, code beef; configuration c0de from slot 2: lr 0.002; rank 8",
            "b on alpha": "plugin probe, code beef; nothing chosen",
        },
    }


def test_without_a_sweep_only_the_seeds_remain() -> None:
    sections = appendix(made_up({"a": 1.5, "b": 1.9}, seeds=(1, 5), datasets=("alpha",), devices={}), None, None, {})
    assert [section.title for section in sections] == ["Code and machine", "Seeds"]
    assert sections[1].items == (Facts((("alpha", "all methods: 1 and 5"),)),)
