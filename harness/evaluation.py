"""The contract of an evaluation: what a confirmed model is scored on besides its test split.

An evaluation yields named sets of images with their labels. The harness normalises the images, has the model score
them, and keeps the logits beside those of the test split. What an evaluation may see is opened for confirm trials
alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from harness.core.pluggable import Pluggable
from harness.core.plugin_options import Options

if TYPE_CHECKING:
    import polars as pl
    import torch

    from harness.networks.backbones import Model

Images: TypeAlias = npt.NDArray[np.uint8]
"""Shape (n, size, size, 3), RGB."""

SEVERITIES = (1, 2, 3, 4, 5)

Reference = Literal["test", "in_distribution"]
"""The set that others are compared with: the test side, or the held-out part of the training domains."""


@dataclass(frozen=True, slots=True)
class ExternalDataset:
    """Another dataset that an evaluation needs; the harness decodes it as those of the sweep."""

    dataset: str
    """Name of the plugin."""
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cases:
    """Images that no training has seen, in a fixed order, with what is known of them."""

    case_ids: tuple[str, ...]
    groups: tuple[str, ...]
    """The patient or lesion of each, or what else belongs together."""
    labels: npt.NDArray[np.int64]
    """Shape (n,), or (n, classes) of 0 and 1 where an image may bear several classes."""
    classes: tuple[str, ...]
    """What the labels mean: the classes of their own dataset."""
    pixels: Callable[[int, int], Images]
    """Copies of the images from one number up to another."""

    def __len__(self) -> int:
        return len(self.case_ids)

    def batches(self, size: int) -> Iterator[Images]:
        """All images in order."""
        return (self.pixels(start, min(start + size, len(self))) for start in range(0, len(self), size))


@dataclass(frozen=True, slots=True)
class Opened:
    """What a confirmed model's evaluations may see, and the model."""

    name: str
    """What the sweep file calls the evaluation."""
    modality: str
    """Of the dataset."""
    test: Cases
    in_distribution: Cases | None
    """The held-out part of the training domains; None but in a split by domain."""
    external: Mapping[str, Cases]
    """The datasets that the evaluation asked for, by the name of their plugin: without the copies of images that the
    model may have seen."""
    left_out: Mapping[str, Mapping[str, int]]
    """Of each of these, how many cases were left out, by reason."""
    model: Model
    """In evaluation mode; maps normalised images to logits."""
    device: torch.device
    normalised: Callable[[Images], torch.Tensor]
    """Images as the model takes them: float, (n, 3, size, size), on its device."""

    @property
    def reference(self) -> Reference:
        """What sets from elsewhere are compared with."""
        return "test" if self.in_distribution is None else "in_distribution"


@dataclass(frozen=True, slots=True)
class ExternalFacts:
    """What can be said of an external dataset before anything trains."""

    classes: tuple[str, ...]
    multi_label: bool
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EvaluationFacts:
    """What an evaluation is checked against before anything trains: no image of any test side is among it."""

    dataset: str
    """Label of the dataset that models are trained on."""
    modality: str
    classes: tuple[str, ...]
    multi_label: bool
    test: pl.DataFrame
    """The test cases: ``case_id``, ``group``, and the columns of metadata, bands of ten of numbers among them."""
    in_distribution: int
    """Held-out cases of the training domains."""
    absent: Mapping[str, str]
    """Columns of metadata that the raw files at hand lack, with the reason."""
    external: Mapping[str, ExternalFacts]


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """One set of images that a model is scored on."""

    name: str
    severity: int
    """1 to 5; 0 where there is none."""
    reference: Reference
    """The set that it is compared with."""
    case_ids: Sequence[str]
    groups: Sequence[str]
    labels: npt.NDArray[np.int64]
    """Of the classes that the model was trained on; shape (n,), or (n, classes) of 0 and 1."""
    batches: Callable[[int], Iterator[Images]]
    """The images, in the order of the cases, as many at a time as it is asked for."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Cases that are in no set, by reason."""


# The class attribute of the same name hides the model inside the class.
EvaluationOptions = Options


class Evaluation(Pluggable, ABC):
    """What a confirmed model is scored on besides its test split.

    In a sweep file the plugin's name is a key, and its value the option of the same name: ``{corruptions: medical}``
    is the plugin ``corruptions`` with the option ``corruptions: medical``.

    Args:
        options: as the sweep file gives them; None for the defaults.
    """

    kind = "evaluation"
    Options: ClassVar[type[Options]] = Options

    def __init__(self, options: EvaluationOptions | None = None) -> None:
        self.options = self.Options() if options is None else options

    @classmethod
    def fault(cls) -> str | None:
        """That there is no docstring."""
        return None if cls.documented() else "has no docstring; its first line is in lists"

    @property
    def datasets(self) -> Sequence[ExternalDataset]:
        """Other datasets that it needs."""
        return ()

    def check(self, facts: EvaluationFacts) -> None:
        """Refuse what cannot be evaluated, before anything trains.

        Raises:
            RequestError: its options do not fit this dataset; the message begins with the dotted key of the option and
                a colon, such as ``classes.naevus: …``.
        """
        return

    def images(self, facts: EvaluationFacts) -> int:
        """How many images one model is scored on; what a plan says of the cost rests on it."""
        return 0

    def words(self, facts: EvaluationFacts) -> str:
        """What a user should know of it before anything trains, as a clause; empty for nothing."""
        return ""

    @abstractmethod
    def sets(self, opened: Opened) -> Iterator[EvaluationSet]:
        """The sets, in an order that depends on the options alone.

        What they hold depends on the options and the cases alone, so that every method is scored on the same images;
        on the model only where that is the point, as in an attack.
        """
