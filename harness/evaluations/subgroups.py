"""Results by subgroup: the test predictions divided by a column of metadata; nothing more is scored."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
from pydantic import Field, field_validator

from harness.core.errors import RequestError, suggestion
from harness.core.plugin_options import Options
from harness.evaluation import Evaluation, EvaluationFacts, EvaluationSet, Opened

FEWEST = 10
"""Test cases of a subgroup; a score of fewer says next to nothing."""


class SubgroupOptions(Options):
    """What the test side is divided by."""

    subgroups: tuple[str, ...] = Field(min_length=1, examples=[["sex", "age_decade"]])
    """Columns of metadata: a category, or a number's bands of ten such as ``age_decade``."""
    least: int = Field(FEWEST, ge=2, le=1_000_000)
    """Fewest test cases of a subgroup; a column with a smaller one is refused before anything trains."""

    @field_validator("subgroups")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for index, name in enumerate(value):
            if name in value[:index]:
                raise ValueError(f"lists {name!r} twice; remove one")
        return value


class Subgroups(Evaluation):
    """The test split by subgroup: sex, age, site or another column of metadata; its predictions are divided later."""

    name = "subgroups"
    Options = SubgroupOptions

    def check(self, facts: EvaluationFacts) -> None:
        """Refuse a column that is unknown, that is a number, or that has too small a subgroup."""
        for index, name in enumerate(self._options.subgroups):
            place = f"subgroups.{index}"
            if name in facts.absent:
                raise RequestError(f"{place}: {name}: {facts.absent[name]}")
            known = [column for column in facts.test.columns if column not in ("case_id", "group")]
            if name not in known:
                usable = [column for column in known if facts.test[column].dtype == pl.String]
                why = suggestion(name, usable) if usable else f"; {facts.dataset} has no metadata"
                raise RequestError(f"{place}: there is no column of metadata {name!r}{why}")
            if facts.test[name].dtype != pl.String:
                raise RequestError(f"{place}: {name} is a number; write {name}_decade for its bands of ten")
            counts = _counts(facts, name)
            if len(counts) < 2:
                raise RequestError(f"{place}: the test cases have {len(counts)} values of {name}; two are needed")
            value, smallest = counts[0]
            if smallest < self._options.least:
                raise RequestError(
                    f"{place}: {name} {value!r} has {smallest} test cases of {facts.dataset}, fewer than "
                    f"{self._options.least}; take another column, or lower `least` and read its score with care"
                )

    def words(self, facts: EvaluationFacts) -> str:
        """The smallest subgroup of each column, and the cases without a value."""
        parts = []
        for name in self._options.subgroups:
            value, smallest = _counts(facts, name)[0]
            missing = facts.test[name].null_count()
            parts.append(f"{name}: smallest {value!r} with {smallest} test cases, {missing} without a value")
        return "; ".join(parts)

    def sets(self, opened: Opened) -> Iterator[EvaluationSet]:
        """None: the cases are those of the test split, which have been scored."""
        return iter(())

    @property
    def _options(self) -> SubgroupOptions:
        assert isinstance(self.options, SubgroupOptions)
        return self.options


def _counts(facts: EvaluationFacts, column: str) -> list[tuple[str, int]]:
    """Test cases of each value, the fewest first."""
    counts = facts.test[column].drop_nulls().value_counts()
    return sorted(counts.iter_rows(), key=lambda entry: (entry[1], entry[0]))
