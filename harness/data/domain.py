"""A split by domain: what is tested comes from other sites than what is trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.core.errors import RequestError, suggestion
from harness.data.decoded import DecodedDataset
from harness.data.split import Split, divide_near, exact_counts

NO_DOMAIN = "no value of the domain's column"
FEWEST = 7
"""Images of other domains; with fewer, the validation side would be empty."""
IN_BOTH = "of a group with cases in a test domain"


@dataclass(frozen=True, slots=True)
class Domain:
    """Which cases are the test side of a split by domain."""

    by: str
    """A column of metadata that is a category."""
    test: tuple[str, ...]
    """Its values that are tested on."""


def make_domain_split(data: DecodedDataset, domain: Domain, seed: int) -> Split:
    """Split a dataset by domain.

    The test side is every case of the test domains. The others are divided 64 / 16 / 20 by clusters and stratified by
    class, as a grouped split: into training, validation, and ``in_distribution``, which no training and no search sees
    and from which a drop is measured. Cases that share a cluster with a test case are left out, and so are cases
    without a domain. Depends on the column's values, the seed and the set of records alone; the test side does not
    depend on the seed.

    Raises:
        RequestError: no such column or value, one value alone, or too few cases of the other domains.
    """
    values = domain_values(data, domain)
    tested = np.array([value in domain.test for value in values])
    known = np.array([value is not None for value in values])
    clusters = {data.groups[row] for row in np.flatnonzero(tested)}
    kin = np.array([data.groups[row] in clusters for row in range(len(values))]) & ~tested
    left = {NO_DOMAIN: int((~known).sum()), IN_BOTH: int((kin & known).sum())}
    rest = np.flatnonzero(known & ~tested & ~kin)
    order = np.array(sorted(rest.tolist(), key=data.case_ids.__getitem__), dtype=np.int64)
    if len(order) < FEWEST:
        raise RequestError(
            f"split.test: {len(order)} images of other domains are too few for three sides; take at least {FEWEST}"
        )
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(f"split/domain/{seed}".encode()).digest()[:16]))
    sides = divide_near(data, order, exact_counts(len(order)), "grouped", rng)
    train, val, reference = (tuple(data.case_ids[row] for row in order[sides == side]) for side in range(3))
    return Split(
        kind="domain",
        seed=seed,
        train=train,
        val=val,
        test=tuple(sorted(data.case_ids[row] for row in np.flatnonzero(tested))),
        in_distribution=reference,
        left_out={reason: count for reason, count in left.items() if count},
    )


def domain_values(data: DecodedDataset, domain: Domain) -> Sequence[str | None]:
    """The domain of each case; None where it is not known.

    Raises:
        RequestError: there is no such column of categories, it has one value alone, or none of the name of a test
            domain; or nothing but the test domains.
    """
    column = next((one for one in data.columns if one.name == domain.by), None)
    if column is None:
        known = [one.name for one in data.columns if one.kind == "category" and not one.absent]
        has = suggestion(domain.by, known) if known else "; the dataset has no metadata"
        raise RequestError(f"split.by: there is no column of metadata {domain.by!r}{has}")
    if column.absent:
        raise RequestError(f"split.by: {domain.by}: {column.absent}")
    if column.kind != "category":
        raise RequestError(f"split.by: {domain.by} is a number; a domain is a category")
    values: list[str | None] = data.metadata[domain.by].to_list()
    found = sorted({value for value in values if value is not None})
    if len(found) < 2:
        only = f"one value, {found[0]!r}" if found else "no value"
        raise RequestError(f"split.by: {domain.by} has {only}; a domain to test on and another to train on are needed")
    for index, name in enumerate(domain.test):
        if name not in found:
            raise RequestError(f"split.test.{index}: {domain.by} has no value {name!r}{suggestion(name, found)}")
    if set(found) <= set(domain.test):
        raise RequestError(f"split.test: names all of {', '.join(found)}; leave a domain to train on")
    return values
