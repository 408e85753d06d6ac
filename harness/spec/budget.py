"""The parts of the sweep file that are about intent and means: what is to be shown, and what it may cost."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from harness.spec.forms import Section

Hypothesis = Annotated[str, StringConstraints(strip_whitespace=True, min_length=10, max_length=2000)]


class BudgetSpec(Section):
    """What the run may cost, failed and repeated work included."""

    device_hours: Annotated[float, Field(ge=1e-6, le=1e9)] | None = Field(
        None,
        description="Hours that workers may hold trials, summed over workers; when they are used up, no further trial "
        "begins. null: no limit.",
    )

    @property
    def seconds(self) -> float | None:
        """The limit in device-seconds."""
        return None if self.device_hours is None else 3600.0 * self.device_hours
