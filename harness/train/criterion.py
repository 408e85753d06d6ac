"""The training loss, by what the labels are: one class an image, or a 0 or 1 for each class."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional


class MultiLabelLoss(nn.Module):
    """Binary cross-entropy, the mean over cases and classes, in nats.

    Args:
        pos_weight: factor of the loss of each class where it is borne, float32, shape (classes,); None weights none.
        label_smoothing: s in [0, 0.5]; a label y becomes y (1 - s) + s / 2.
    """

    pos_weight: Tensor | None

    def __init__(self, pos_weight: Tensor | None, label_smoothing: float) -> None:
        super().__init__()
        self.register_buffer("pos_weight", pos_weight)
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss, a scalar, of float logits and labels of 0 and 1 of any dtype, both (batch, classes)."""
        targets = labels.to(logits.dtype) * (1 - self.label_smoothing) + self.label_smoothing / 2
        return functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=self.pos_weight)


def build_criterion(
    labels: Tensor, classes: int, class_weights: Literal["none", "balanced"], label_smoothing: float
) -> nn.Module:
    """The loss of a training, a function of (logits, labels), on the device of ``labels``.

    ``balanced`` weights with one label an image each class by n / (classes x its images); with several, what is
    borne by negatives / positives of the class, so that both together weigh the same.

    Args:
        labels: of the training side, int64, shape (n,), or (n, classes) of 0 and 1.
        classes: number of logits.
        class_weights: how classes are weighted.
        label_smoothing: probability mass taken from the label, in [0, 0.5].
    """
    balanced = class_weights == "balanced"
    if labels.ndim == 2:
        return MultiLabelLoss(_balance(labels) if balanced else None, label_smoothing)
    weight = None
    if balanced:
        counts = torch.bincount(labels, minlength=classes).float()
        # A class that training never shows gets no weight rather than an infinite one.
        weight = torch.where(counts > 0, counts.sum() / (len(counts) * counts.clamp(min=1)), 0.0)
    return nn.CrossEntropyLoss(weight, label_smoothing=label_smoothing)


def _balance(labels: Tensor) -> Tensor:
    positives = labels.sum(dim=0).float()
    negatives = len(labels) - positives
    # With nothing on one of the two sides there is nothing to balance.
    return torch.where((positives > 0) & (negatives > 0), negatives / positives.clamp(min=1), 1.0)
