"""The contract of a method plugin: how a pretrained network is changed, and which of its tensors train."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from harness.core.pluggable import Pluggable
from harness.space.parameters import Fixed, Float, Parameter, Space, Value

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.networks.backbones import Model
    from harness.train.step import StepContext

Hyperparameters = Mapping[str, Value]


def optimiser_space(lr: Float, head_lr: float = 1e-3, weight_decay: float = 1e-4) -> dict[str, Parameter]:
    """The hyperparameters that every gradient-trained method shares.

    ``lr`` is the peak learning rate of the method's own tensors, ``head_lr`` that of the new classification head,
    ``weight_decay`` is applied to every trained tensor unless the method says otherwise.
    """
    return {
        "lr": lr,
        "head_lr": Fixed(head_lr),
        "weight_decay": Fixed(weight_decay),
        "optimizer": Fixed("adamw", allowed=("adamw", "sgd")),
    }


@dataclass
class ParamGroup:
    """Tensors that share a learning rate and a weight decay."""

    name: str
    params: list[nn.Parameter]
    lr: float
    """Peak learning rate; the schedule multiplies it by a factor in [0, 1]."""
    weight_decay: float
    options: dict[str, Any] = field(default_factory=dict)


class NotDefinedError(ValueError):
    """What a method does has no meaning on this network, as curvature tuning of ReLUs where there is none.

    The message is the reason in one line, without the method's name and without the network's. It holds for the
    hyperparameters that were given: a stage that one network has, another may lack.
    """


class Method(Pluggable, ABC):
    """One way to adapt a pretrained network.

    The docstring of a subclass gives the source, the equations and what trains. One instance serves one trial.
    """

    kind = "method"
    required = ("space",)

    space: ClassVar[Space]
    batch_norm: ClassVar[Literal["frozen", "train"]] = "frozen"
    """``frozen`` keeps every batch norm in evaluation mode: its running statistics never move."""
    preserves_function: ClassVar[bool] = True
    """Whether the adapted network computes exactly the pretrained features before its first step."""

    capturable: ClassVar[bool] = True
    """Whether the ``training_step`` of the same class does the same operations at every step and never looks at a
    tensor's values, so that a GPU may record it once and replay it, and the network be compiled. A class that has its
    own ``training_step`` and does not say so is neither."""

    @classmethod
    def fault(cls) -> str | None:
        """That there is no docstring."""
        if cls.documented():
            return None
        return "has no docstring; write its source, equations and what trains, its first line is in lists and reports"

    @abstractmethod
    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Change ``model.backbone`` in place and leave ``requires_grad`` on exactly the tensors that train.

        The head is new, equal for all methods, and trains unless the method freezes it. Random initial values come
        from torch's global generator, which the harness has seeded from the trial's seed.

        Raises:
            NotDefinedError: what it does is not defined on this network. A sweep that names the pair is refused
                before it is launched, and the table of methods and networks says so.
            ValueError: the hyperparameters do not fit this network, or one another.
        """

    def param_groups(self, model: Model, hp: Hyperparameters) -> list[ParamGroup]:
        """Optimiser groups: the method's own tensors at ``lr``, the head at ``head_lr``."""
        head = {id(parameter) for parameter in model.head.parameters()}
        own = [p for p in model.parameters() if p.requires_grad and id(p) not in head]
        decay = float(hp["weight_decay"])
        groups = [ParamGroup("backbone", own, float(hp["lr"]), decay)] if own else []
        trained_head = [p for p in model.head.parameters() if p.requires_grad]
        return [*groups, ParamGroup("head", trained_head, float(hp["head_lr"]), decay)]

    def prepare(self, model: Model, batches: Iterator[Tensor]) -> None:
        """Look at training images before the first step, for instance to measure the scale of activations.

        Called once, and not again when a trial is resumed: what was learned belongs into buffers or ``state``.

        Args:
            model: adapted, on the device, in evaluation mode.
            batches: up to 50 batches of training images, normalised and not augmented, always the same.
        """

    def fit(self, context: StepContext) -> bool:
        """Train in one go from ``context.batches``, where no steps are needed; False, the default, trains by steps."""
        return False

    def finish(self, model: Model, score: Callable[[], float]) -> None:
        """Change the network once more after its best epoch was restored, for instance by averaging weights.

        Args:
            model: in evaluation mode.
            score: the validation score of the model as it then is; higher is better.
        """

    def meta_fraction(self, hp: Hyperparameters) -> float:
        """Share of the training images that ``context.meta_batch`` draws from and no training batch contains.

        In [0, 1); 0 for no meta side. It is stratified and keeps clusters whole; validation and test images
        are never in it.
        """
        return 0.0

    def training_step(self, context: StepContext, images: Tensor, labels: Tensor) -> Tensor:
        """One optimiser step on a batch; returns the detached loss.

        Args:
            context: model, loss, optimiser and precision of the trial.
            images: float, shape (batch, 3, size, size), augmented and normalised, on the device. Where the class has
                neither a ``training_step`` nor a ``finish`` of its own, batch norms are frozen and no parameter of the
                backbone trains, it is given features, (batch, d), unless the sweep says ``features: each_step``.
            labels: int64, shape (batch,).
        """
        loss = context.loss(images, labels)
        context.backward_and_step(loss)
        return loss.detach()

    def merge(self, model: Model) -> None:
        """Fold what was learned into plain layers, in place, without changing the function; for inference."""

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int | None:
        """Number of trained scalars without the head, from the source's formula; None promises nothing.

        Args:
            model: unchanged, and it stays so.
            hp: as for ``adapt``.

        Raises:
            NotDefinedError: as ``adapt``. Launching asks it for each value that the search may choose.
        """
        return None

    def state(self) -> dict[str, Any]:
        """What the method itself must remember between steps; tensors and plain data, kept in the checkpoint."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state`` gave, its tensors on the trial's device."""


def trainable(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Names and tensors that train."""
    return ((name, p) for name, p in module.named_parameters() if p.requires_grad)
