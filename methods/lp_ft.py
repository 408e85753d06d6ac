"""LP-FT: a linear probe first, then full fine-tuning from its head."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from torch import Tensor

from harness.api import Fixed, Float, Hyperparameters, Method, Model, ParamGroup, Space

from ._probe_first import finetune_step, probe_step, probe_steps

if TYPE_CHECKING:
    from harness.api import StepContext


class LpFt(Method):
    """Train the head alone for a share of the steps, then the whole network at a small learning rate.

    Source: Kumar et al. 2022, "Fine-tuning can distort pretrained features and underperform out-of-distribution",
    arXiv 2202.10054. From a random head, the first gradients carry noise into the pretrained weights; from a
    trained one they do not.

    - The first ``probe`` of all steps: the head at ``head_lr``, on features of the untouched network with its
      batch norms in evaluation mode. The backbone has no gradient, no decay and no optimiser state.
    - The other steps: θ ← θ - lr · u(∇L) for every tensor, the head included, all at ``lr``.

    Each phase has a schedule of its own (linear warm-up over ``warmup`` of its steps, then all of ``train.schedule``,
    by default half a cosine to 0) and an optimiser that starts anew, as two trainings one after the other would.
    Differences from the source: the probe is trained by a fixed number of steps and not to convergence, because all
    methods get the same number; and the best epoch on validation is kept, whichever phase it is in.

    Trains: every parameter of the backbone (23,508,032 for ResNet-50) and the head.
    """

    name = "lp_ft"
    batch_norm: ClassVar[Literal["frozen", "train"]] = "train"
    space: ClassVar[Space] = {
        "probe": Fixed(0.3, within="[0, 1)"),
        "lr": Float(3e-5, 1e-6, 1e-3, log=True),
        "head_lr": Fixed(1e-3),
        "warmup": Fixed(0.05, within="[0, 1)"),
        "weight_decay": Fixed(1e-4),
        "optimizer": Fixed("adamw", allowed=("adamw", "sgd")),
    }

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Let every tensor train.

        Raises:
            ValueError: ``probe`` or ``warmup`` is no share of the steps.
        """
        self._share, self._warmup = float(hp["probe"]), float(hp["warmup"])
        for key, value in (("probe", self._share), ("warmup", self._warmup)):
            if not 0 <= value < 1:
                raise ValueError(f"{self.name}: {key}={value:g} must be at least 0 and below 1")
        model.backbone.requires_grad_(True)

    def param_groups(self, model: Model, hp: Hyperparameters) -> list[ParamGroup]:
        """The backbone at ``lr``, the head at ``head_lr``, which holds for the first phase."""
        decay = float(hp["weight_decay"])
        return [
            ParamGroup("backbone", list(model.backbone.parameters()), float(hp["lr"]), decay),
            ParamGroup("head", list(model.head.parameters()), float(hp["head_lr"]), decay),
        ]

    def training_step(self, context: StepContext, images: Tensor, labels: Tensor) -> Tensor:
        """A step of the phase that ``context.step`` is in; returns the detached loss."""
        first = probe_steps(self._share, context.total_steps)
        if context.step < first:
            return probe_step(context, images, labels, first, self._warmup)
        return finetune_step(context, images, labels, first, self._warmup, self.batch_norm == "frozen")

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """All scalars of the backbone."""
        return sum(parameter.numel() for parameter in model.backbone.parameters())
