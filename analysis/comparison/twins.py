"""What the report says of the control against itself: how often it was called better or worse than its twin."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.comparison.compare import Analysis, analyse
from analysis.comparison.evidence import Evidence
from analysis.comparison.verdicts import Comparison


def compared_with_itself(evidence: Evidence) -> Sequence[Comparison]:
    """The control's twin against the control, on each dataset and on average; empty without a twin.

    Each is judged alone by the primary metric at the level of the plan, without correction. The two are one method: if
    what the design varies were all that differs between them, 5 in 100 such comparisons would be called different.
    """
    if evidence.twin is None:
        return ()
    found: Analysis = analyse(evidence.twin)
    return (*found.of("primary"), *found.averages)
