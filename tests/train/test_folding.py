"""Frozen batch norms in the convolutions before them: the same training to rounding, and the same network after it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jobs import CATALOGUE, CPU, Digits, job, run, runnable
from torch import Tensor, nn

from harness.method import Method
from harness.networks.backbones import Model
from harness.proof.conformance import random_network
from harness.run.trial import TrialFolder
from harness.space.parameters import defaults
from harness.train.job import Control
from harness.train.loop import Training
from harness.train.speed.folding import FoldedNorms


# Not GPAF's: its training makes much of a difference in the last bit, wherever it comes from.
@pytest.mark.parametrize(("method", "hp", "expected"), [("last_block", {}, 19), ("bn_affine", {}, 0)])
def test_folded_and_unfolded_trainings_agree(
    tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch, method: str, hp: dict[str, Any], expected: int
) -> None:
    made = job(digits, method, hp=hp, save_model=method == "last_block")
    counts = []
    real = FoldedNorms.__init__

    def counted(self: FoldedNorms, *given: Any) -> None:
        real(self, *given)
        counts.append(self.count)

    monkeypatch.setattr(FoldedNorms, "__init__", counted)
    folded, result = run(made, tmp_path / "folded")
    assert result["status"] == "done", result
    assert counts == [expected]
    monkeypatch.setattr(FoldedNorms, "__init__", lambda self, *given: setattr(self, "_folded", []))
    unfolded, _ = run(made, tmp_path / "unfolded")
    names = [f"logit_{k}" for k in range(3)]
    ours, theirs = (folder.predictions().select(names).to_numpy() for folder in (folded, unfolded))
    np.testing.assert_allclose(ours, theirs, atol=0.01 * np.abs(theirs).max())
    assert (ours == theirs).all() == (expected == 0)
    if made.save_model:
        import safetensors.torch

        tensors = [safetensors.torch.load_file(folder.model_path) for folder in (folded, unfolded)]
        assert tensors[0].keys() == tensors[1].keys()
        frozen = [name for name in tensors[0] if name.startswith("backbone.conv1") or "running" in name]
        assert frozen and all(torch.equal(tensors[0][name], tensors[1][name]) for name in frozen)


def test_folded_it_has_the_same_gradients_and_undone_it_is_the_same_network_to_the_last_bit(
    tmp_path: Path, digits: Digits
) -> None:
    folder = TrialFolder(tmp_path, "confirm")
    folder.create()
    training = Training(job(digits, "gpaf"), folder, CPU, Control())
    images = training.data.made_up()
    trained = [parameter for parameter in training.model.parameters() if parameter.requires_grad]

    def gradients() -> tuple[Tensor, ...]:
        return torch.autograd.grad(training.model(images).square().sum(), trained)

    of_folded = gradients()
    state = {name: tensor.clone() for name, tensor in training.model.state_dict().items()}
    with torch.no_grad():
        folded = training.model(images)
        training.unfold()
        plain = training.model(images)
    for ours, theirs in zip(of_folded, gradients(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))
    assert not torch.equal(folded, plain)
    torch.testing.assert_close(folded, plain, atol=1e-5, rtol=1e-5)
    assert list(state) == list(training.model.state_dict())
    assert all(torch.equal(state[name], tensor) for name, tensor in training.model.state_dict().items())
    assert not any("forward" in vars(module) for module in training.model.modules())


ADAPTING = [name for name, plugin in sorted(CATALOGUE.all(Method).items()) if plugin.cls.batch_norm == "frozen"]


@pytest.mark.parametrize("name", runnable(ADAPTING))
def test_whatever_a_method_trains_has_the_gradient_that_it_has_unfolded(name: str) -> None:
    """A convolution or norm into which a method puts a tensor of its own at each call is no frozen one.

    Folded before the first step, when what was added is still nothing: the features cannot tell.
    """
    cls = CATALOGUE.all(Method)[name].cls
    folded, images = random_network(), torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    cls().adapt(folded, defaults(cls.space))
    unfolded = copy.deepcopy(folded.eval())
    FoldedNorms(folded, images)

    def gradients(model: Model) -> tuple[Tensor | None, ...]:
        generator = torch.Generator().manual_seed(1)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        with torch.no_grad():
            for parameter in trained:
                parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
        return torch.autograd.grad(model(images).square().sum(), trained, allow_unused=True)

    found, expected = gradients(folded), gradients(unfolded)
    assert [gradient is None for gradient in found] == [False] * len(expected)
    ours, theirs = (torch.cat([g.flatten() for g in given if g is not None]) for given in (found, expected))
    # Rounded otherwise, some values lie on the other side of a ReLU.
    assert (ours - theirs).norm() <= 0.05 * theirs.norm()


class Twice(nn.Module):
    """A convolution whose output is normalised, and used as it is too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.norm.running_mean.fill_(3.0)  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        result: Tensor = (self.norm(y) + y).mean((2, 3))
        return result


def test_an_output_that_is_used_elsewhere_stays() -> None:
    model = Model(Twice(), 4, 2).eval()
    model.backbone.requires_grad_(False)
    images = torch.randn(2, 3, 8, 8)
    before = model(images)
    assert FoldedNorms(model, images).count == 0
    assert torch.equal(model(images), before)
