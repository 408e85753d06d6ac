"""What readers ask for by name of the sections of a sweep file that are part of a study's identity."""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

from harness.core.json_form import Within


class TrainIdentity(TypedDict):
    """The section ``train``."""

    epochs: Annotated[int, Within(ge=1, lt=2**31)]


class SearchIdentity(TypedDict):
    """The section ``search``, without what may change while a study goes on."""

    metric: str
    pruner: NotRequired[str]
