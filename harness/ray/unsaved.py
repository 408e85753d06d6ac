"""What Tune would save of its own state, and is not to: searches go on from the run directory."""

from __future__ import annotations

from typing import Any, Self


class Unsaved:
    """Stays one object in this process, and leaves nothing in what Tune writes of it."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self
