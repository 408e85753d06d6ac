"""Linear probe: a linear classifier on frozen features."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from harness.api import Fixed, Float, Hyperparameters, Method, Model, Space

if TYPE_CHECKING:
    from harness.api import StepContext

_BATCH = 256
"""Images a forward pass takes while features are gathered."""

_MAX_ITERATIONS = 10_000


class LinearProbe(Method):
    """Train the head and nothing else.

    The reference that says how far the pretrained features alone carry (Kornblith et al. 2019, "Do better
    ImageNet models transfer better?"). With features h(x) in R^d, logits = W h(x) + b; W and b train, h is
    the pretrained network with its batch norms in evaluation mode. A weak probe would flatter every other
    method, so its strength is searched.

    - ``solver`` ``sgd`` trains by steps, with ``optimizer``, ``head_lr`` and ``weight_decay``. As in the source, images
      are not augmented: their features are computed once. With ``train.features: each_step`` they are augmented.
    - ``solver`` ``lbfgs`` computes the features of all training images once, without augmentation, and minimises

          mean over images of loss(W h + b, y) + ``l2`` / 2 · ||W||²

      in float64 with L-BFGS until the gradient vanishes (or 10,000 iterations are over). The loss is the trial's:
      multinomial logistic, or one logistic loss a class where images bear several, their mean over classes; class
      weights and label smoothing included. It is scikit-learn's ``LogisticRegression(C=1 / (n l2))`` for n images.
      ``head_lr``, ``weight_decay`` and ``optimizer`` then say nothing, one epoch is all there is, and a sweep
      searches the strength: ``{solver: lbfgs, l2: {log: [1e-7, 10]}, head_lr: 0.001, weight_decay: 0.0}``.

    Trains: nothing of the backbone; the head's classes · (d + 1) scalars.
    """

    name = "linear_probe"
    space: ClassVar[Space] = {
        "solver": Fixed("sgd", allowed=("sgd", "lbfgs")),
        "l2": Fixed(1e-3, within="(0, 1e6]"),
        "head_lr": Float(1e-3, 1e-4, 1e-1, log=True),
        "weight_decay": Float(1e-4, 1e-6, 1e-1, log=True),
        "optimizer": Fixed("adamw", allowed=("adamw", "sgd")),
    }

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Freeze the backbone.

        Raises:
            ValueError: ``l2`` is not positive: where classes can be separated, there is then no minimum.
        """
        self._l2 = float(hp["l2"]) if hp["solver"] == "lbfgs" else None
        if self._l2 is not None and self._l2 <= 0:
            raise ValueError(f"linear_probe: l2={self._l2:g} must be above 0")
        model.backbone.requires_grad_(False)

    def fit(self, context: StepContext) -> bool:
        """Solve for the head where the solver is ``lbfgs``."""
        if self._l2 is None:
            return False
        features, labels = _features(context)
        weight, bias = _solve(features, labels, context.criterion, context.model.head.out_features, self._l2)
        with torch.no_grad():
            context.model.head.weight.copy_(weight)
            context.model.head.bias.copy_(bias)
        return True

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """None of the backbone's scalars."""
        return 0


def _features(context: StepContext) -> tuple[Tensor, Tensor]:
    """Features of every training image, float64 (n, d), in the precision in which they will be evaluated; labels."""
    if context.features is not None:
        features, targets = context.features()
        return features.to(context.device).double(), targets
    context.model.eval()
    found, labels = [], []
    with torch.no_grad():
        for images, targets in context.batches.all(_BATCH):
            with torch.autocast(context.device.type, context.precision, enabled=context.precision is not None):
                found.append(context.model.backbone(images).double())
            labels.append(targets)
    return torch.cat(found), torch.cat(labels)


def _solve(features: Tensor, labels: Tensor, criterion: nn.Module, classes: int, l2: float) -> tuple[Tensor, Tensor]:
    """The minimum, as weight (classes, d) and bias (classes,), float64 on the features' device."""
    from scipy.optimize import minimize

    # A copy, because a loss with class weights in float32 takes no float64 logits.
    loss_of = copy.deepcopy(criterion).double()
    # Centred and divided by one common number, features lead to the same minimum (b is not penalised, and the
    # penalty is divided along), in far fewer iterations.
    centre = features.mean(0)
    spread = (features - centre).square().mean().sqrt().clamp(min=1e-12)
    inputs = (features - centre) / spread
    shape = (classes, features.shape[1] + 1)

    def objective(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        values = torch.from_numpy(flat).to(features.device).view(shape).requires_grad_()
        weight, bias = values[:, :-1], values[:, -1]
        loss = loss_of(inputs @ weight.T + bias, labels) + l2 / (2 * spread**2) * weight.square().sum()
        (gradient,) = torch.autograd.grad(loss, values)
        return loss.item(), gradient.flatten().cpu().numpy()

    options = {"maxiter": _MAX_ITERATIONS, "maxfun": 2 * _MAX_ITERATIONS, "maxcor": 20, "ftol": 1e-14, "gtol": 1e-8}
    start = np.zeros(shape[0] * shape[1])
    found = torch.from_numpy(minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x)
    values = found.to(features.device).view(shape)
    weight = values[:, :-1] / spread
    return weight, values[:, -1] - weight @ centre
