from __future__ import annotations

import pytest
from made_up import made_up

from analysis.comparison.compare import analyse
from analysis.comparison.names import canonical, nearly_equal


@pytest.mark.parametrize(
    "other",
    [
        "lora-c", "LoRA_C", "lora c", "lora_c ", "lorac", "l\u043era_c", "lora\u200b_c", "\uff4cora_c", "lora\u2013c",
        "lora\xa0c", "\ufefflora_c", "lora\n_c",
    ],
)  # fmt: skip
def test_names_that_a_reader_takes_for_one_are_nearly_equal(other: str) -> None:
    assert nearly_equal(["lora_c", "gpaf", other]) == [("lora_c", other)]


def test_composed_and_decomposed_accents_are_nearly_equal_and_real_differences_are_not() -> None:
    assert nearly_equal(["caf\u00e9", "cafe\u0301"]) == [("caf\u00e9", "cafe\u0301")]
    different = [
        "r16",
        "r1_6",
        "r1",
        "lora",
        "lora+",
        "lora.c",
        "dora",
        "\u03b2",
        "-",
        "_",
        "\u200b",
        "lora",
        "C4.5",
        "C4.5+m",
    ]
    assert nearly_equal(different) == []
    assert all(canonical(name) for name in different)


def test_nearly_equal_methods_and_datasets_are_a_caution_of_the_report() -> None:
    evidence = made_up(
        {"lora": 1.5, "LoRA": 1.9, "l\u043era": 1.6}, datasets=("alpha", "Alpha"), seeds=range(3), cases=12
    )
    said = [one.sentence for one in analyse(evidence).cautions if one.code == "nearly_equal_names"]
    assert len(said) == 2
    assert "methods 'lora' and 'LoRA' and 'l\\u043era' differ in spelling alone" in said[0]
    assert "datasets 'alpha' and 'Alpha'" in said[1]
    assert not any(
        one.code == "nearly_equal_names" for one in analyse(made_up({"lora": 1.5, "gpaf": 1.9}, cases=12)).cautions
    )
