"""How long a trial takes, from the times of its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypedDict, final

from harness.plan.shapes import Shape, StudyShape

UNSEEN = 0.2
"""What a probe of a few steps does not see of whole trials (a machine that heats up or is shared, longer files, other
configurations): by this share the interval is wider than the probe's own extremes. ``benchmarks/plan.py``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Times of the parts of one trial, in seconds, as one configuration was measured on one device."""

    start: float = 0.0
    """Once a trial: build, adapt, load the data, look at training images beforehand, commit the result."""
    step: float = 0.0
    """An optimiser step."""
    epoch: float = 0.0
    """Once an epoch, beside steps and evaluation: its record, and what a checkpoint holds up."""
    case: float = 0.0
    """A case that is evaluated, its share of the metrics included."""
    finish: float = 0.0
    """A validation case, for what the method does after its best epoch."""
    feature: float = 0.0
    """An image, once a study, where features are computed once for all trials."""
    making: float = 0.0
    """An image of an evaluation, to make or read it; scoring it takes ``case``."""
    fit: float | None = None
    """A training image, where the method trains in one go; None where it makes steps."""

    def seconds(self, shape: Shape, confirm: bool, epochs: int | None = None) -> float:
        """Device-seconds of a trial of that size, with fewer epochs where it stops early."""
        epochs = shape.epochs if epochs is None else min(epochs, shape.epochs)
        after = shape.val * self.finish + (shape.test * self.case if confirm else 0.0)
        if self.fit is not None:
            return self.start + shape.train * self.fit + shape.val * self.case + after
        steps = shape.steps // shape.epochs * epochs
        return self.start + steps * self.step + epochs * (self.epoch + shape.val * self.case) + after


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured of one study."""

    parts: tuple[Parts, ...]
    """One entry a configuration or repetition."""
    origin: str
    """Where it comes from, in words."""
    running: float = 1.0
    """Share of the time, above 0 and at most 1, in which it had the processors that it could use; 1 where that is not
    known. On a machine that nobody else uses, the times would be about this share of what they are."""
    load: float | None = None
    """Processes that wanted a processor on average, for each processor, just before; None where that is not known."""
    warm_up: float = 0.0
    """Seconds that the first trial of a process takes longer."""
    peak_bytes: int | None = None
    checkpoint_bytes: int | None = None
    kept_bytes: int | None = None
    """Of what a confirmed model keeps (``confirm.keep``)."""
    epoch_bytes: float | None = None
    """Of a line of the curve."""
    result_bytes: int | None = None
    """Of all that a search trial writes beside its curve."""

    def to_json(self) -> dict[str, object]:
        """A form that ``from_json`` takes back."""
        return asdict(self)

    @classmethod
    def from_json(cls, given: Mapping[str, Any], origin: str) -> Measured:
        """What ``to_json`` wrote, perhaps in a file that somebody edited.

        Raises:
            TypeError, KeyError: it is something else.
        """
        parts = tuple(Parts(**entry) for entry in given["parts"])
        return cls(**{**given, "parts": parts, "origin": origin})


@final
class Answer(TypedDict):
    """What a probe has measured of one configuration: all that ``Measured`` has of it."""

    parts: list[dict[str, float]]
    running: float
    warm_up: float
    peak_bytes: int
    checkpoint_bytes: int
    kept_bytes: int
    epoch_bytes: float
    result_bytes: int


@final
class Refusal(TypedDict):
    """Why a configuration could not be measured."""

    failed: str


@dataclass(frozen=True, slots=True)
class Span:
    """A number that is not known exactly."""

    low: float
    middle: float
    high: float

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.middle + other.middle, self.high + other.high)

    def __mul__(self, factor: float) -> Span:
        return Span(self.low * factor, self.middle * factor, self.high * factor)


@dataclass(frozen=True, slots=True)
class Stops:
    """Where trials may end before their last epoch."""

    patience: int | None = None
    """Fewest epochs of any trial; None where training does not stop by itself."""
    rung: int | None = None
    """Epochs after which a search trial may be pruned; None where none is."""
    anchors: int = 0
    """First slots that are never pruned."""

    @property
    def any(self) -> bool:
        """Whether the numbers of a plan are upper bounds."""
        return self.patience is not None or self.rung is not None


def study_seconds(study: StudyShape, measured: Measured, stops: Stops) -> Span:
    """Device-seconds of a study.

    Its low end takes the fastest configuration, its high end the slowest, both wider by ``UNSEEN``. Where training may
    stop early, the low end lets every trial do so as soon as it can. Where others used the machine meanwhile, the high
    end assumes that they go on, and the rest that nobody does.
    """
    total = Span(0.0, 0.0, 0.0)
    seeds = study.search_trials // max(1, study.slots)
    kept = study.search_trials if stops.rung is None else min(study.search_trials, stops.anchors * seeds)
    stages = (
        (kept, False, stops.patience),
        (
            study.search_trials - kept,
            False,
            min(stops.rung or study.shape.epochs, stops.patience or study.shape.epochs),
        ),
        (study.reevaluations, False, stops.patience),
        (study.confirm_trials + study.repeats, True, stops.patience),
    )
    for trials, confirm, fewest in stages:
        whole = [parts.seconds(study.shape, confirm) for parts in measured.parts]
        short = [parts.seconds(study.shape, confirm, fewest) for parts in measured.parts]
        total += Span(min(short) * (1 - UNSEEN), sum(whole) / len(whole), max(whole) * (1 + UNSEEN)) * trials
    total += evaluation_seconds(study, measured)
    passes = [parts.feature * (study.shape.train + study.shape.val + study.shape.test) for parts in measured.parts]
    once = Span(min(passes) * (1 - UNSEEN), sum(passes) / len(passes), max(passes) * (1 + UNSEEN))
    total += once * study.networks
    return Span(total.low * measured.running, total.middle * measured.running, total.high)


def evaluation_seconds(study: StudyShape, measured: Measured) -> Span:
    """Device-seconds for scoring a study's confirmed models on images besides their test split; part of its own.

    No repetition is scored on these.
    """
    each = [study.evaluated * (parts.case + parts.making) for parts in measured.parts]
    return Span(min(each) * (1 - UNSEEN), sum(each) / len(each), max(each) * (1 + UNSEEN)) * study.confirm_trials


def wall_seconds(studies: Sequence[tuple[StudyShape, Span]], workers: int) -> Span:
    """Time until all is done, at least: the work divided among the workers, or the longest chain of trials that wait
    for each other, whichever takes longer.

    Args:
        studies: with their device-seconds; backbones that are trained first among them.
        workers: trials that run at the same time.
    """
    total = Span(0.0, 0.0, 0.0)
    for _, span in studies:
        total += span
    first = [span for study, span in studies if study.trained_first]
    chains = [span * (study.waits / study.trials) for study, span in studies if not study.trained_first]

    def longest(name: str) -> float:
        return max((getattr(span, name) for span in first), default=0.0) + max(
            (getattr(span, name) for span in chains), default=0.0
        )

    return Span(*(max(getattr(total, name) / workers, longest(name)) for name in ("low", "middle", "high")))
