"""BitFit: only biases train."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from harness.api import Float, Hyperparameters, Method, Model, NotDefinedError, ParamGroup, Space, optimiser_space


class BitFit(Method):
    """Train the biases of the backbone and nothing else of it.

    Source: Ben Zaken et al. 2022, "BitFit: simple parameter-efficient fine-tuning for transformer-based masked
    language-models", arXiv 2106.10199, carried over to convolutional networks: b ← b - lr · u(∇L) for the shift
    of every norm, and for the biases of convolutions where they have any. In networks whose every convolution is
    followed by a batch norm they have none, and adding them would add nothing that beta cannot do. Biases are not
    decayed: that would pull them to 0 and not to their pretrained values; ``weight_decay`` is the head's. Batch
    norms keep their pretrained statistics.

    Trains: the biases (for ResNet-50 the 26,560 betas of its batch norms) and the head.
    """

    name = "bitfit"
    space: ClassVar[Space] = optimiser_space(Float(3e-3, 1e-3, 1e-2, log=True))

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Freeze everything but the biases.

        Raises:
            NotDefinedError: the network has none.
        """
        biases = _biases(model)
        if not biases:
            raise NotDefinedError("this network has no bias")
        model.backbone.requires_grad_(False)
        for bias in biases:
            bias.requires_grad_(True)

    def param_groups(self, model: Model, hp: Hyperparameters) -> list[ParamGroup]:
        """The biases without weight decay, the head with it."""
        biases, head = super().param_groups(model, hp)
        biases.weight_decay = 0.0
        return [biases, head]

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """One scalar an output channel of each layer that has a bias."""
        return sum(bias.numel() for bias in _biases(model))


def _biases(model: Model) -> list[nn.Parameter]:
    return [parameter for name, parameter in model.backbone.named_parameters() if name.split(".")[-1] == "bias"]
