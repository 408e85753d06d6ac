"""The section of the sweep file that says how hyperparameters are tuned."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from harness.spec_forms import Section, Seeds, fault

MINIMISED = frozenset({"nll", "brier", "ece"})
"""The metrics of which less is better."""

LEAST_ANCHORS = 4
"""Fewer anchors with a score do not tell how well ranks agree."""

Metric = Literal["accuracy", "balanced_accuracy", "auc", "macro_f1", "mcc", "kappa", "nll", "brier", "ece"]


class SearchSpec(Section):
    """How hyperparameters are tuned, with the same budget for every method."""

    engine: Literal["optuna"] = Field("optuna", description="The search library.")
    sampler: Literal["tpe", "gp", "random", "grid", "qmc"] = Field(
        "tpe", description="How configurations are proposed."
    )
    pruner: Literal["none", "median", "percentile", "asha", "hyperband", "patience"] = Field(
        "none", description="How unpromising trials are ended at a rung, before their last epoch."
    )
    first_rung: int = Field(1, ge=1, description="Epochs before the first rung.")
    reduction: int = Field(
        3, ge=2, description="asha, hyperband: one in so many goes on, to a rung so many times as far."
    )
    percentile: float = Field(25.0, gt=0, lt=100, description="percentile: the best so many percent go on.")
    patience: int = Field(3, ge=1, description="patience: rungs without a better score before a trial ends.")
    anchors: int = Field(
        5,
        ge=0,
        description="First slots that train to the end, to see whether early ranks agree with the final ones; a rung "
        "where they do not decides nothing. 0: every rung decides.",
    )
    trials: int = Field(30, ge=1, description="Configurations (slots) a study; slot 0 is the method's default.")
    seeds: Seeds = Field(default=[0], description="Seeds on which each configuration is trained.")
    metric: Metric = Field("balanced_accuracy", description="Validation metric; nll, brier and ece are minimised.")
    startup: int = Field(10, ge=1, description="Configurations proposed at random before tpe or gp models the history.")
    concurrency: int = Field(
        4,
        ge=1,
        description="Slot n is asked when all slots up to n - concurrency are finished, knowing just those.",
    )

    @field_validator("anchors")
    @classmethod
    def _enough_anchors(cls, anchors: int) -> int:
        if 0 < anchors < LEAST_ANCHORS:
            raise fault([], f"{anchors} do not tell how well ranks agree; take at least {LEAST_ANCHORS}, or 0")
        return anchors

    def identity(self) -> dict[str, Any]:
        """What of it decides the trials of a study; the number of slots may grow."""
        return self.model_dump(mode="json", exclude={"trials"})

    @property
    def minimised(self) -> bool:
        """Whether less of the metric is better."""
        return self.metric in MINIMISED
