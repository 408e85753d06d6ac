"""GPAF with a random, frozen residual: a control."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from harness.api import Fixed, Float, Hyperparameters, Method, Model, PreservingActivation, Space

from .gpaf import Gpaf

_OWN = ("variant", "sharing", "sites", "scale", "execution")


class GpafRandom(Gpaf):
    """Put the activations of ``gpaf`` in place with random coefficients, and train the head alone.

    A control: what ``gpaf`` gains over it comes from learning Δ, and not from other activations as such. With the
    hyperparameters of ``gpaf``, every coefficient of Δ is drawn from N(0, ``amplitude``²), in units in which Δ is
    about as large as its input's scale, and stays. ``amplitude`` 0 is a linear probe.

    Trains: nothing of the backbone; the head.
    """

    name = "gpaf_random"
    preserves_function = False
    space: ClassVar[Space] = {
        **{name: Gpaf.space[name] for name in _OWN},
        "amplitude": Fixed(0.1, within="[0, 1e3]"),
        "head_lr": Float(1e-3, 1e-4, 1e-1, log=True),
        "weight_decay": Float(1e-4, 1e-6, 1e-1, log=True),
        "optimizer": Fixed("adamw", allowed=("adamw", "sgd")),
    }

    # The head alone trains, so that there is no penalty: steps as those of a linear probe, on features computed once.
    training_step = Method.training_step
    capturable = True

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Freeze the backbone with random activations.

        Raises:
            NotDefinedError: as for ``gpaf``.
            ValueError: as for ``gpaf``, or a negative amplitude.
        """
        amplitude = float(hp["amplitude"])
        if amplitude < 0:
            raise ValueError(f"gpaf_random: amplitude={amplitude:g} must not be negative")
        super().adapt(model, {**hp, "laplacian": False, "penalty": 0.0})
        activations = [module for module in model.modules() if isinstance(module, PreservingActivation)]
        # Shared coefficients are drawn once.
        for coefficients in dict.fromkeys(activation.coefficients for activation in activations):
            nn.init.normal_(coefficients, std=amplitude)
        model.backbone.requires_grad_(False)

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """None of the backbone's scalars."""
        return 0
