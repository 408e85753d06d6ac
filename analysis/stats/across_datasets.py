"""Several datasets: the average over exactly these, and, where there are enough, a claim about new ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from analysis.stats.cautions import few_datasets, few_datasets_for_population, refuse, zero_variance
from analysis.stats.estimate import Estimate, mean_over_seeds, with_interval


def fixed_dataset_mean(estimates: Sequence[Estimate], confidence: float = 0.95) -> Estimate:
    """Unweighted average of one comparison over datasets that were tried, to be worded so.

    The datasets are independent, so the variance is ``sum(var_d) / D²`` with Satterthwaite's degrees of freedom
    ``sum(var_d)² / sum(var_d² / df_d)`` (Biometrics Bulletin 2, 1946).

    Args:
        estimates: one a dataset.
        confidence: coverage in (0, 1).

    Returns:
        Without a standard error if one of the estimates has none.

    Raises:
        ValueError: no estimate.
    """
    if not estimates:
        raise ValueError("needs at least one dataset")
    count = len(estimates)
    mean = math.fsum(entry.estimate for entry in estimates) / count
    known = [
        (entry.standard_error**2, entry.df)
        for entry in estimates
        if entry.standard_error is not None and entry.df is not None
    ]
    cautions = tuple(dict.fromkeys(caution for entry in estimates for caution in entry.cautions))
    if len(known) < count:
        return with_interval(mean, None, None, confidence, "fixed_datasets", cautions)
    total = math.fsum(variance for variance, _ in known)
    df = total**2 / math.fsum(variance**2 / df for variance, df in known)
    return with_interval(mean, math.sqrt(total) / count, df, confidence, "fixed_datasets", cautions)


def population_mean(differences: npt.ArrayLike, confidence: float = 0.95) -> Estimate:
    """Mean over datasets as a sample of all such datasets: Student's t over one mean difference a dataset.

    Args:
        differences: shape (datasets,), the mean over seeds of each dataset; at least six.
        confidence: coverage in (0, 1).

    Raises:
        Refused: fewer than six datasets.
    """
    count = int(np.size(differences))
    refuse(few_datasets_for_population(count))
    found = mean_over_seeds(np.asarray(differences, dtype=np.float64), confidence, scope="datasets")
    said = (few_datasets(count), zero_variance() if found.standard_error is None else None)
    return replace(found, cautions=tuple(caution for caution in said if caution is not None))
