"""Seeds that learned next to nothing."""

from __future__ import annotations

from collections.abc import Sequence


def collapsed_seeds(values: Sequence[float], chance: float, errors: Sequence[float] | None = None) -> list[int]:
    """Positions of seeds that learned next to nothing.

    Such a seed kept less than a tenth of the median seed's advantage over chance, or its score is within two standard
    errors of it, as the score of a network that guesses at random is.

    Args:
        values: one score a seed, higher is better.
        chance: the score of a constant prediction, 1/K for balanced accuracy, 0.5 for AUC.
        errors: standard error of each score over its test cases, where known.

    Returns:
        Positions in ``values``, ascending.
    """
    ordered = sorted(values)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    kept = 0.1 * max(0.0, median - chance)
    limits = [max(kept, 2 * error) for error in errors or [0.0] * len(values)]
    # Rounding must not lift a constant prediction above chance.
    return [place for place, value in enumerate(values) if value <= chance + limits[place] + 1e-12]
