"""From scratch, and random features: what the network's shape gives without its pretrained weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from harness.api import Fixed, Float, Hyperparameters, Model, NotDefinedError, Space, build_extractor

from .full_finetune import FullFinetune
from .linear_probe import LinearProbe


class FromScratch(FullFinetune):
    """Forget the pretrained weights and train the whole network from random ones.

    Says what pretraining is worth (Raghu et al. 2019, "Transfusion: understanding transfer learning for medical
    imaging"). The initial values are those that the architecture itself draws, another set for each seed of the
    trial; ``head_lr_ratio`` is 1, because nothing is further along than the head. Batch norms train, statistics
    included.

    It gets the epochs of all other methods. Trained from random weights a network needs more: give it a sweep of
    its own with longer training before calling pretraining useful. Where the sweep names pretrained weights, images
    are normalised as those weights expect, the same for all methods; with ``weights: null`` every method gets the
    mean and standard deviation of the training images.

    Trains: every parameter of the backbone (23,508,032 for ResNet-50) and the head.
    """

    name = "from_scratch"
    preserves_function = False
    space: ClassVar[Space] = {
        **FullFinetune.space,
        "lr": Float(1e-3, 1e-5, 1e-2, log=True),
        "head_lr_ratio": Fixed(1.0),
    }

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Draw new weights and let every tensor train.

        Raises:
            NotDefinedError: the network has no name by which to build it anew.
        """
        _reinitialise(model)
        super().adapt(model, hp)


class RandomFeatures(LinearProbe):
    """Train the head on a frozen backbone of random weights: the floor below every other method.

    What is above it comes from weights, pretrained or trained, and not from the shape of the network (Saxe et al.
    2011, "On random weights and unsupervised feature learning"). The initial values are those that the
    architecture draws; the running statistics of the batch norms are then measured once on up to 50 batches of
    training images, without which activations would grow from block to block. Hyperparameters as for
    ``linear_probe``.

    Trains: nothing of the backbone; the head.
    """

    name = "random_features"
    preserves_function = False

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Draw new weights and freeze them.

        Raises:
            NotDefinedError: the network has no name by which to build it anew.
            ValueError: ``l2`` is not positive.
        """
        _reinitialise(model)
        super().adapt(model, hp)

    def prepare(self, model: Model, batches: Iterator[Tensor]) -> None:
        """Measure the statistics of the batch norms: the mean over the batches."""
        norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
            norm.train()
        with torch.no_grad():
            for images in batches:
                model.backbone(images)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


def _reinitialise(model: Model) -> None:
    if not model.name:
        raise NotDefinedError("this network has no name by which it could be built anew")
    model.backbone.load_state_dict(build_extractor(model.name, None)[0].state_dict())
