"""The sections of the sweep file that say what a confirmation draws anew: the splits, the seeds, the searches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, Tag, model_validator
from pydantic_core import PydanticCustomError

from harness.core.replicates import Drawn, Replicate
from harness.spec.domains import Column, Tested
from harness.spec.forms import LARGEST_SEED, MOST_SEEDS, Label, Section, Seed, Seeds, by_kind, fault
from harness.spec.search import SearchSpec

FIRST_CONFIRM_SEED = 1000
MOST_FOLDS = 50
PUBLISHED = (
    "its publisher's split (the default here, because it is by patient) cannot be drawn anew; name no split.seeds and "
    "take split out of confirm.vary, or write `split: {kind: grouped}`"
)
"""Why a dataset is refused whose replicates would draw splits."""
FEWEST_SEARCHES = 3
"""Fewer of several do not tell how much a result changes from search to search (docs/designs.md)."""

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=10, max_length=2000)]


def ascending(looks: list[int]) -> list[int]:
    """Refuse a number that does not come after the one before it."""
    for index in range(1, len(looks)):
        if looks[index] <= looks[index - 1]:
            raise fault([index], f"{looks[index]} comes after {looks[index - 1]}; list each once, in ascending order")
    return looks


Looks = Annotated[
    list[Annotated[int, Field(ge=2, le=MOST_SEEDS)]], Field(min_length=1, max_length=100), AfterValidator(ascending)
]


def with_the_seed(drawn: list[Drawn]) -> list[Drawn]:
    """Refuse what is listed twice, and replicates that share a seed."""
    for index, what in enumerate(drawn):
        if what in drawn[:index]:
            raise fault([index], f"{what} is listed twice; remove one")
    if "seed" not in drawn:
        raise fault([], f"every replicate is a new training, so the seed varies too; write [seed, {', '.join(drawn)}]")
    return drawn


class SplitSpec(Section):
    """How each dataset is divided into 64 % training, 16 % validation and 20 % test."""

    kind: Literal["grouped", "random", "official", "domain"] | None = Field(
        None,
        description="grouped keeps a known patient or lesion, and duplicates, on one side; official is the "
        "publisher's; domain tests on other sites than it trains on (by, test); null: official where the publisher "
        "split by patient, else grouped.",
    )
    by: Column | None = Field(
        None, description="domain: the column of metadata that tells the domains apart.", examples=["site"]
    )
    test: Tested | None = Field(
        None,
        description="domain: the values of that column that are the test side; several lists make a task of each.",
        examples=[["rosendahl"]],
    )
    seed: Seed = Field(0, description="Seed of the split, or of the first of several.")
    seeds: Seeds | None = Field(
        None,
        description="Seeds of several splits, which the replicates take in turn; null: one for each replicate, from "
        "split.seed on, if confirm.vary has split; else split.seed alone.",
    )
    folds: Annotated[int, Field(ge=2, le=MOST_FOLDS)] | None = Field(
        None,
        description="Number of folds, instead of seeds: every case is tested in exactly one. The replicates take the "
        "folds in turn.",
    )
    tune: Literal["first", "each"] = Field(
        "first",
        description="first: the first split alone is searched; each: every split has a search of its own, which sees "
        "only its own training and validation images.",
    )
    near_duplicates: bool = Field(
        False, description="Also keep mirrored, re-encoded and brightened copies on one side of a grouped split."
    )
    allow_leakage: Reason | None = Field(
        None,
        description="Why images or patients may be on two sides, or a backbone be trained on test images first, in a "
        "sentence that the report repeats; without one such a sweep is refused.",
    )

    @model_validator(mode="before")
    @classmethod
    def _one_way(cls, given: Any) -> Any:
        """One seed or several are the same fact: the first of ``seeds`` is ``seed``."""
        if not isinstance(given, Mapping) or given.get("seeds") is None:
            return given
        if given.get("folds") is not None:
            raise fault(["folds"], "several seeds and folds are two ways to draw splits; keep one")
        seeds = given["seeds"]
        first = seeds[0] if isinstance(seeds, list) and seeds else None
        if "seed" in given and given["seed"] != first:
            raise fault(["seed"], f"split.seeds begins with {first}; remove split.seed")
        return {**given, "seed": first} if isinstance(first, int) else given

    @model_validator(mode="after")
    def _whole_domain(self) -> SplitSpec:
        for key, value in (("by", self.by), ("test", self.test)):
            if self.kind == "domain" and value is None:
                example = "by: site" if key == "by" else "test: [rosendahl]"
                raise fault([key], f"is missing: a split by domain needs it, for example `{example}`")
            if self.kind != "domain" and value is not None:
                raise fault([key], "belongs to a split by domain; write kind: domain, or remove it")
        return self

    def identity(self) -> dict[str, object]:
        """All of it that is not as it always was, for declarations, which are compared."""
        idle = {"seeds": self.seeds is None, "folds": self.folds is None, "tune": self.tune == "first"}
        idle |= {"by": self.by is None, "test": self.test is None}
        return self.model_dump(mode="json", exclude={name for name, without in idle.items() if without})


class ConfirmSpec(Section):
    """How the chosen configurations are confirmed on the test split, with fresh seeds."""

    seeds: Annotated[
        Annotated[int, Field(ge=1, le=MOST_SEEDS), Tag("<count>")] | Annotated[Seeds, Tag("<list>")],
        by_kind({int: "<count>", (list, tuple): "<list>"}, "a number of seeds or a list of seeds"),
    ] = Field(10, description="Number of seeds (from 1000 on, without those of the search), or a list of them.")
    repeat: bool = Field(
        True,
        description="Train the first seed of each study a second time, to see how much two such trainings differ.",
    )
    vary: Annotated[list[Drawn], Field(min_length=1, max_length=3), AfterValidator(with_the_seed)] | None = Field(
        None,
        description="What each replicate draws anew: its seed; with split, the sides of the dataset; with search, the "
        "configuration, from a search of its own or from a resample of the slots of one. null: all that the splits and "
        "searches allow; a publisher's split cannot be drawn anew.",
    )
    keep: Literal["none", "chosen", "all"] = Field(
        "none",
        description="Which confirmed models keep what their training changed, so that they can be scored on further "
        "images later: none, those of the chosen configurations, or all, repetitions among them.",
    )
    control: Label | None = Field(None, description="Label of the method that all others are compared with.")
    twin: bool = Field(
        False,
        description="Run the control a second time under another name (CONTROL_twin), with a search of its own; the "
        "report says how often it was called better or worse than itself.",
    )
    family: Literal["vs_control", "all_pairs"] | None = Field(
        None,
        description="The comparisons that claims are about and that the correction covers; null, never stored: "
        "vs_control if a control is named, else all_pairs.",
    )
    correction: Literal["holm", "bonferroni", "none"] = Field(
        "holm", description="Correction of the p-values for the number of comparisons."
    )
    margin: Annotated[float, Field(ge=1e-6, le=100)] | None = Field(
        None,
        description="Difference of the metric that counts as practically equal; null: nothing is called equivalent.",
    )
    looks: Looks | None = Field(
        None,
        description="Numbers of seeds at which the results will be looked at; null: once, when all seeds are done.",
    )

    @model_validator(mode="before")
    @classmethod
    def _declare_family(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or given.get("family") is not None:
            return given
        return {**given, "family": "all_pairs" if given.get("control") is None else "vs_control"}

    def seed_list(self, tuning: Sequence[int]) -> tuple[int, ...]:
        """The seeds to confirm on, none of which is among the tuning seeds."""
        if not isinstance(self.seeds, int):
            return tuple(self.seeds)
        candidates, taken = range(FIRST_CONFIRM_SEED, FIRST_CONFIRM_SEED + self.seeds + len(tuning)), set(tuning)
        return tuple(seed for seed in candidates if seed not in taken)[: self.seeds]


@dataclass(frozen=True, slots=True)
class Replication:
    """Which replicates confirm a method on a dataset, as the sections of a sweep file say it together.

    Attributes:
        split: how datasets are divided.
        search: how methods are tuned.
        confirm: how the chosen configurations are confirmed.
    """

    split: SplitSpec
    search: SearchSpec
    confirm: ConfirmSpec

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each replicate."""
        return self.confirm.seed_list(self.search.tuning_seeds)

    @property
    def varied(self) -> tuple[Drawn, ...]:
        """What a replicate draws anew: what the file says, else all that can be."""
        if self.confirm.vary is not None:
            return tuple(self.confirm.vary)
        one_split = self.split.kind == "official" or len(self.split.seeds or (0, 1)) == 1 or len(self.seeds) < 2
        if not one_split or self._several_splits:
            return "seed", "split", "search"
        return ("seed", "search") if self.search.repeats > 1 else ("seed",)

    @property
    def _several_splits(self) -> bool:
        """Whether the file names several splits."""
        return self.split.folds is not None or len(self.split.seeds or ()) > 1

    def with_kind(self, kind: str) -> Replication:
        """The same for a dataset whose split is of a kind that the file leaves open."""
        return replace(self, split=self.split.model_copy(update={"kind": kind}))

    @property
    def splits(self) -> tuple[int, ...]:
        """What tells the splits of a dataset apart, the first one first; empty where all replicates share one."""
        if "split" not in self.varied:
            return ()
        if self.split.folds is not None:
            return tuple(range(self.split.folds))
        return tuple(self.split.seeds or range(self.split.seed, self.split.seed + len(self.seeds)))

    @property
    def searches(self) -> int:
        """How many searches each method has on each dataset."""
        return len(self.splits) if self.split.tune == "each" else self.search.repeats

    @property
    def resampled(self) -> bool:
        """Whether a replicate takes the configuration that a resample of its search's slots would have chosen.

        So it is where one search serves all. Several searches show by themselves how far they differ, and each gives
        its replicates what it chose.
        """
        return "search" in self.varied and self.searches == 1 and len(self.seeds) > 1

    @property
    def numbers(self) -> range:
        """The numbers of the searches."""
        return range(self.search.first, self.search.first + self.searches)

    def of_search(self, number: int) -> tuple[Replicate, ...]:
        """The replicates that a search confirms; all searches and all splits take turns.

        Args:
            number: one of ``numbers``.
        """
        splits = self.splits or (None,)
        every = [Replicate(seed, splits[turn % len(splits)]) for turn, seed in enumerate(self.seeds)]
        return tuple(every[number - self.search.first :: self.searches])

    def tuned_on(self, number: int) -> int | None:
        """The split whose training and validation images a search sees, as ``splits`` tells it."""
        if not self.splits:
            return None
        return self.splits[number - self.search.first if self.split.tune == "each" else 0]

    def faults(self) -> Iterator[PydanticCustomError]:
        """What cannot be, and what no verdict could rest on; each at the key to change."""
        number, varied, split, repeats = len(self.seeds), self.varied, self.split, self.search.repeats
        if split.folds is not None and split.kind == "domain":
            yield fault(["split", "folds"], "the test side of a split by domain is given; name seeds, or remove this")
        if self._several_splits and "split" not in varied:
            yield fault(["confirm", "vary"], "split.seeds or split.folds names several splits; add split, or name one")
        if "split" in varied and split.kind == "official":
            yield fault(
                ["confirm", "vary"],
                "the publisher's split cannot be drawn anew; take split.kind: grouped, or take split out of vary",
            )
        if "split" in varied and len(self.splits) < 2:
            yield fault(["confirm", "vary"], "one split is not varied; name more seeds of splits, or take split out")
        if len(self.splits) > number:
            key = "folds" if split.folds is not None else "seeds"
            yield fault(
                ["split", key], f"{len(self.splits)} splits for {number} replicates; raise confirm.seeds or lower this"
            )
        if split.folds is not None and number % split.folds:
            yield fault(
                ["confirm", "seeds"],
                f"{number} replicates do not divide evenly among {split.folds} folds; take a multiple of {split.folds}",
            )
        if split.seed > LARGEST_SEED - number:
            yield fault(["split", "seed"], "leaves no room for the seeds of further splits; take a smaller one")
        yield from self._faults_of_search(number, varied, repeats)

    def _faults_of_search(self, number: int, varied: Sequence[Drawn], repeats: int) -> Iterator[PydanticCustomError]:
        if self.split.tune == "each" and self.split.folds is None and self.split.seeds is None:
            yield fault(["split", "tune"], "each needs several splits; name split.seeds or split.folds")
        if self.split.tune == "each" and repeats > 1:
            yield fault(["search", "repeats"], "with split.tune: each, every split has one search already; remove it")
        if "search" not in varied and self.searches > 1:
            yield fault(["confirm", "vary"], f"there are {self.searches} searches; add search")
        if self.searches > number:
            yield fault(["search", "repeats"], f"{repeats} searches for {number} replicates; raise confirm.seeds")
        if "search" in varied and "split" not in varied and repeats == 1:
            yield fault(
                ["confirm", "vary"],
                "one search on one split cannot carry a claim about new searches; set search.repeats to at least "
                f"{FEWEST_SEARCHES}, or vary the split, too",
            )
        if 1 < repeats < FEWEST_SEARCHES:
            yield fault(
                ["search", "repeats"],
                f"{repeats} searches do not tell how far searches differ; take at least {FEWEST_SEARCHES}, or one with "
                "new splits",
            )
