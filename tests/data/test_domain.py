"""Splits by domain: nothing of a tested site is trained on, and the rest of the split is a grouped one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import RequestError
from harness.data.decoded import COLUMNS, DecodedDataset
from harness.data.domain import IN_BOTH, NO_DOMAIN, Domain, make_domain_split
from harness.data.split import Split, in_distribution_rows
from harness.dataset import MetadataColumn

ROSENDAHL = Domain("site", ("rosendahl",))


def dataset(
    sites: Sequence[str | None], groups: Sequence[str] | None = None, column: MetadataColumn | None = None
) -> DecodedDataset:
    case_ids = [f"case/{number:05d}" for number in range(len(sites))]
    columns = dict.fromkeys(COLUMNS, case_ids) | {"cluster": list(groups or case_ids), "official": [None] * len(sites)}
    column = column or MetadataColumn("site", "category")
    kind = pl.String if column.kind == "category" else pl.Float64
    return DecodedDataset(
        images=np.zeros((len(sites), 1, 1, 3), dtype=np.uint8),
        labels=np.arange(len(sites), dtype=np.int64) % 2,
        records=pl.DataFrame(columns, schema=dict.fromkeys(COLUMNS, pl.String)),
        classes=("a", "b"),
        fingerprint="of no consequence",
        metadata=pl.DataFrame() if column.absent else pl.DataFrame({column.name: sites}, schema={column.name: kind}),
        columns=(column,),
    )


sites = st.lists(st.sampled_from(["rosendahl", "vidir", "vienna", None]), min_size=60, max_size=120)


@given(sites, st.integers(0, 9), st.integers(2, 40))
def test_no_group_of_a_tested_site_is_trained_on_and_every_case_is_accounted_for(
    values: list[str | None], seed: int, size: int
) -> None:
    groups = [f"g{number // 2 % size}" if number % 5 else f"alone{number}" for number in range(len(values))]
    data = dataset(values, groups)
    try:
        split = make_domain_split(data, ROSENDAHL, seed)
    except RequestError as refused:
        assert str(refused).startswith(("split.", "grouped split:"))
        return
    site, group = dict(zip(data.case_ids, values, strict=True)), dict(zip(data.case_ids, groups, strict=True))
    held = (*split.train, *split.val, *split.in_distribution)
    assert {case for case in data.case_ids if site[case] == "rosendahl"} == set(split.test)
    assert {site[case] for case in held} <= {"vidir", "vienna"}
    sides = [{group[case] for case in side} for side in (split.train, split.val, split.in_distribution, split.test)]
    assert all(a.isdisjoint(b) for k, a in enumerate(sides) for b in sides[k + 1 :])
    assert len(held) + len(split.test) + sum(split.left_out.values()) == len(values)
    assert split.left_out.get(NO_DOMAIN, 0) == values.count(None)
    assert Split.from_json(split.to_json()) == split


def test_cases_of_a_group_in_both_domains_are_left_out_and_counted() -> None:
    groups = [f"g{number}" for number in range(60)]
    groups[0] = groups[30]  # one lesion with an image in each domain
    split = make_domain_split(dataset(["rosendahl"] * 20 + ["vidir"] * 40, groups), ROSENDAHL, 0)
    assert split.left_out == {IN_BOTH: 1}
    assert "case/00030" not in (*split.train, *split.val, *split.in_distribution, *split.test)
    assert (len(split.train), len(split.val), len(split.in_distribution), len(split.test)) == (24, 6, 9, 20)


def test_another_seed_draws_the_training_side_anew_and_tests_the_same() -> None:
    data = dataset(["rosendahl"] * 20 + ["vidir"] * 40)
    first, second = (make_domain_split(data, ROSENDAHL, seed) for seed in (0, 1))
    assert first.test == second.test and first.train != second.train and first.digest != second.digest


def test_the_reference_is_part_of_the_digest_and_a_split_without_one_keeps_its_own() -> None:
    split = Split("grouped", 0, ("a",), ("b",), ("c",))
    content = json.dumps({"train": ["a"], "val": ["b"], "test": ["c"]}, sort_keys=True)
    assert split.digest == hashlib.sha256(content.encode()).hexdigest()
    assert replace(split, in_distribution=("d",)).digest != split.digest
    data = dataset(["rosendahl"] * 20 + ["vidir"] * 40)
    made = make_domain_split(data, ROSENDAHL, 0)
    assert [data.case_ids[row] for row in in_distribution_rows(made, data)] == sorted(made.in_distribution)


@pytest.mark.parametrize(("data", "domain", "what"), [
    (dataset(["x"] * 60), Domain("site", ("x",)), "split.by: site has one value, 'x'"),
    (dataset([None] * 60), Domain("site", ("x",)), "split.by: site has no value"),
    (dataset(["x", "y"] * 30), Domain("sites", ("x",)), "no column of metadata 'sites'; did you mean 'site'?"),
    (dataset(["xx", "yy"] * 30), Domain("site", ("xxx",)), "split.test.0: site has no value 'xxx'; did you mean 'xx'?"),
    (dataset(["x", "y"] * 30), Domain("site", ("x", "y")), "split.test: names all of x, y"),
    (dataset(["x"] * 60 + ["y"] * 3), Domain("site", ("x",)), "split.test: 3 images of other domains are too few"),
    (dataset([1.0] * 60, column=MetadataColumn("age", "number")), Domain("age", ("x",)), "age is a number"),
    (dataset([None] * 60, column=MetadataColumn("site", "category", "is not there")), ROSENDAHL, "site: is not there"),
])  # fmt: skip
def test_what_cannot_be_split_is_refused_in_one_line(data: DecodedDataset, domain: Domain, what: str) -> None:
    with pytest.raises(RequestError) as caught:
        make_domain_split(data, domain, 0)
    assert what in str(caught.value) and "\n" not in str(caught.value)
