"""Curvature Tuning: every ReLU becomes a smooth activation of trained curvature."""

from __future__ import annotations

from typing import ClassVar

from harness.api import (
    SITES,
    ActivationSite,
    Fixed,
    Float,
    Hyperparameters,
    Model,
    NotDefinedError,
    ParamGroup,
    Space,
    optimiser_space,
)

from .activation import Activation


class CurvatureTuning(Activation):
    """Replace each ReLU by a mixture of Swish and softplus whose curvature is trained (T-CT).

    Source: Hu et al. 2025, "Curvature Tuning: provable training-free model steering from a single parameter",
    arXiv 2502.07783, in its trained form, and the authors' code. Per channel, with β and c the sigmoids of two
    trained numbers,

        f(x) = c σ(β x / (1 - β)) x + (1 - c) (1 - β) softplus(x / (1 - β)),   c = 0.5 and β = ``beta`` at first.

    It tends to ReLU as β tends to 1 and is not ReLU at first. The source gives curvature to piecewise affine networks
    of ReLUs: other activations, ReLU6 among them, stay as they are (half of a MobileNetV3), and a network that has
    no ReLU has nothing to tune. The source trains the activations at 0.1 and the head
    at 0.001, with Adam; 0.1 is the default and the learning rate is searched around it. β and c are not decayed,
    which would pull both to 1/2; ``weight_decay`` is the head's. Batch norms keep their pretrained statistics. It is
    ``activation`` with ``kind: t_ct``, under a name of its own and for ReLUs alone.

    Trains: two scalars a channel of each ReLU (45,440 for ResNet-50) and the head.
    """

    name = "curvature_tuning"
    space: ClassVar[Space] = {
        "sites": Fixed("all", allowed=SITES),
        "beta": Fixed(0.8, within="(0, 1)"),
        **optimiser_space(Float(1e-1, 1e-3, 1.0, log=True)),
    }

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Freeze the backbone and replace the chosen ReLUs.

        Raises:
            NotDefinedError: none of the chosen activations is a ReLU, or as for ``activation``.
            ValueError: as for ``activation``.
        """
        super().adapt(model, _as_activation(hp))

    def param_groups(self, model: Model, hp: Hyperparameters) -> list[ParamGroup]:
        """The curvatures without weight decay, the head with it."""
        own, head = super().param_groups(model, hp)
        own.weight_decay = 0.0
        return [own, head]

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """Two scalars a channel of the chosen ReLUs."""
        return super().expected_trainable(model, _as_activation(hp))

    def replaced(self, model: Model, hp: Hyperparameters) -> list[ActivationSite]:
        """The ReLUs among the chosen activations; errors as for ``adapt``."""
        sites = super().replaced(model, hp)
        found = [site for site in sites if site.kind == "relu"]
        if not found:
            kinds = ", ".join(sorted({site.kind for site in sites}))
            raise NotDefinedError(f"it gives ReLUs a curvature, and the activations here are {kinds}")
        return found


def _as_activation(hp: Hyperparameters) -> Hyperparameters:
    return {**hp, "kind": "t_ct", "scale": "one"}
