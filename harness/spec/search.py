"""The section of the sweep file that says how hyperparameters are tuned."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from harness.spec.forms import Name, PluginOf, Section, Seeds, fault

MOST_EPOCHS = 100_000
MOST_SLOTS = 10_000
MOST_REPEATS = 100
MOST_SEARCHES = 10_000

LEAST_ANCHORS = 4
"""Fewer anchors with a score do not tell how well ranks agree."""

Rule = Literal["best", "top_k", "surrogate_mean"]

_WITHOUT_EFFECT_ON_A_TRIAL = {"trials", "repeats", "first", "sizes", "choose", "top", "warm_start"}


class SearchSpec(Section):
    """How hyperparameters are tuned, with the same budget for every method."""

    engine: Annotated[Name, PluginOf("engine")] = Field(
        "optuna", description="What assigns configurations to slots: the sampler (optuna), or an engine such as ray."
    )
    sampler: Annotated[Name, PluginOf("sampler")] = Field(
        "tpe", description="How configurations are proposed: the name of a sampler."
    )
    pruner: Literal["none", "median", "percentile", "asha", "hyperband", "patience", "pbt"] = Field(
        "none",
        description="Rule that stops unpromising trials at a rung, before their last epoch. pbt, with the engine ray "
        "alone: they continue from the state of a better trial, with other hyperparameters.",
    )
    first_rung: int = Field(1, ge=1, le=MOST_EPOCHS, description="Epochs before the first rung.")
    reduction: int = Field(
        3,
        ge=2,
        le=1000,
        description="asha, hyperband: reduction factor N; the best 1/N continue, to a rung N times later.",
    )
    percentile: float = Field(25.0, ge=0.1, le=99.9, description="percentile: percentage of trials to keep.")
    patience: int = Field(
        3, ge=1, le=MOST_EPOCHS, description="patience: rungs without a better score before a trial ends."
    )
    anchors: int = Field(
        5,
        ge=0,
        le=MOST_SLOTS,
        description="Number of first slots that train to the end, to check whether early ranks agree with the final "
        "ones; a rung where they do not decides nothing. 0: every rung decides.",
    )
    trials: int = Field(
        30, ge=1, le=MOST_SLOTS, description="Configurations (slots) per study; slot 0 is the method's default."
    )
    repeats: int = Field(
        1,
        ge=1,
        le=MOST_REPEATS,
        description="Independent searches of each method on each dataset; the replicates take turns among them.",
    )
    first: int = Field(
        0,
        ge=0,
        le=MOST_SEARCHES,
        description="Number of the first search. Searches with other numbers draw other configurations, so that a "
        "further run can continue where the searches of an earlier one ended.",
    )
    sizes: Literal["each", "largest"] = Field(
        "each",
        description="If train lists several training sizes. each: every one has searches of its own; largest: the "
        "largest alone, and the smaller ones take what it chose.",
    )
    seeds: Seeds = Field(default=[0], description="Seeds on which each configuration is trained.")
    metric: Annotated[Name, PluginOf("metric")] = Field(
        "balanced_accuracy",
        description="Validation metric: a built-in one or a plugin's; each knows whether higher or lower is better.",
    )
    startup: int = Field(
        10, ge=1, le=MOST_SLOTS, description="Configurations proposed at random before tpe or gp models the history."
    )
    concurrency: int = Field(
        4,
        ge=1,
        le=MOST_SLOTS,
        description="Slot n is asked when all slots up to n - concurrency are finished, and depends on exactly those.",
    )

    warm_start: Name | None = Field(
        None,
        description="Run directory of an earlier sweep, relative to the sweep file or to the current folder: tpe or "
        "gp starts from what its searches have found.",
    )
    choose: Rule = Field(
        "best",
        description="Rule for the slot to confirm. best: the best score; top_k: the best mean, after the best slots "
        "are trained once more on a further tuning seed; surrogate_mean: the highest score that a model of all "
        "scores expects.",
    )
    top: int = Field(5, ge=2, le=MOST_SLOTS, description="top_k: number of best slots to train once more.")

    @field_validator("anchors")
    @classmethod
    def _enough_anchors(cls, anchors: int) -> int:
        if 0 < anchors < LEAST_ANCHORS:
            raise fault([], f"{anchors} do not tell how well ranks agree; take at least {LEAST_ANCHORS}, or 0")
        return anchors

    def identity(self) -> dict[str, object]:
        """What of it decides the trials of a study; the number of slots may grow, and one may choose anew."""
        return self.model_dump(mode="json", exclude=_WITHOUT_EFFECT_ON_A_TRIAL)

    def declared(self) -> dict[str, object]:
        """All of it that counts, for the declaration that is locked at the first launch."""
        idle = {
            "top": self.choose != "top_k",
            "warm_start": self.warm_start is None,
            "repeats": self.repeats == 1,
            "first": self.first == 0,
            "sizes": self.sizes == "each",
        }
        return self.model_dump(mode="json", exclude={name for name, without in idle.items() if without})

    @property
    def further_seed(self) -> int | None:
        """The tuning seed on which the best slots are trained once more; None where none is."""
        return max(self.seeds) + 1 if self.choose == "top_k" else None

    @property
    def tuning_seeds(self) -> list[int]:
        """Every seed on which something may be tuned, so that it cannot confirm."""
        return [*self.seeds, *([] if self.further_seed is None else [self.further_seed])]
