"""Which domains are tested: other sites, scanners or hospitals than those that are trained on."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from harness.spec.forms import Name, Section, fault

MOST_DOMAINS = 100

Column = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Together = Annotated[list[Name], Field(min_length=1, max_length=MOST_DOMAINS)]
"""Values of a column that are tested together."""


def _in_lists(given: Any) -> Any:
    """``[a, b]`` tests both together, and ``[[a], [b]]`` one after the other; both are kept as lists of lists."""
    if given == "each":
        raise fault([], "write every domain as a list of its own, such as [[a], [b]]; the dataset's card lists them")
    if isinstance(given, list) and given and not any(isinstance(one, list) for one in given):
        return [given]
    return given


def _distinct(given: list[list[str]]) -> list[list[str]]:
    for index, one in enumerate(given):
        if len(set(one)) < len(one):
            raise fault([index], "lists a domain twice; remove one")
        if any(set(one) == set(other) for other in given[:index]):
            raise fault([index], f"{', '.join(one)} is tested twice; remove one")
    return given


Tested: TypeAlias = Annotated[
    list[Together],
    Field(min_length=1, max_length=MOST_DOMAINS),
    BeforeValidator(_in_lists, json_schema_input_type=Together | list[Together]),
    AfterValidator(_distinct),
]


class DomainSpec(Section):
    """A split by domain of one dataset, where the sweep's other datasets are split otherwise."""

    by: Column = Field(description="The column of metadata that tells the domains apart.", examples=["site"])
    test: Tested = Field(
        description="Values of that column that are the test side; several lists make a task of each.",
        examples=[["rosendahl"]],
    )
