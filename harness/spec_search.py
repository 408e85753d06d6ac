"""The section of the sweep file that says how hyperparameters are tuned."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.spec_forms import Section, Seeds

MINIMISED = frozenset({"nll", "brier", "ece"})
"""The metrics of which less is better."""

Metric = Literal["accuracy", "balanced_accuracy", "auc", "macro_f1", "mcc", "kappa", "nll", "brier", "ece"]


class SearchSpec(Section):
    """How hyperparameters are tuned, with the same budget for every method."""

    engine: Literal["optuna"] = Field("optuna", description="The search library.")
    sampler: Literal["tpe", "random", "grid", "qmc"] = Field("tpe", description="How configurations are proposed.")
    pruner: Literal["none"] = Field("none", description="How unpromising trials are stopped early.")
    trials: int = Field(30, ge=1, description="Configurations (slots) a study; slot 0 is the method's default.")
    seeds: Seeds = Field(default=[0], description="Seeds on which each configuration is trained.")
    metric: Metric = Field("balanced_accuracy", description="Validation metric; nll, brier and ece are minimised.")
    startup: int = Field(10, ge=1, description="Configurations proposed at random before TPE models the history.")
    concurrency: int = Field(
        4,
        ge=1,
        description="Slot n is asked when all slots up to n - concurrency are finished, knowing just those.",
    )

    @property
    def minimised(self) -> bool:
        """Whether less of the metric is better."""
        return self.metric in MINIMISED
