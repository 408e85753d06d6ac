"""Baselines that fine-tune: phases, averages, penalties and learning rates, seen through their training steps."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from jobs import CATALOGUE, Digits, job, run, run_in_pieces
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.method import Method
from harness.networks.architectures import build_extractor
from harness.networks.backbones import Model, build_model, set_training_mode
from harness.proof.comparison import trial_differences
from harness.proof.conformance import random_network
from harness.space.parameters import defaults
from harness.train.schedule import schedule_factor
from harness.train.step import StepContext, build_optimizer

CPU = torch.device("cpu")


def batch(number: int, size: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(number)
    return torch.randn(size, 3, 16, 16, generator=generator), torch.arange(size) % 4


class Drawn:
    """Batches by the number that they are asked for."""

    def draw(self, side: str, size: int, number: int) -> tuple[Tensor, Tensor]:
        assert side == "train"
        return batch(1_000 + number, size)

    def first(self, size: int) -> tuple[Tensor, Tensor]:
        raise AssertionError("not asked for by any of these methods")

    def all(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        raise AssertionError("not asked for by any of these methods")


class Run:
    """A method at work on a small network, two epochs of five steps."""

    def __init__(self, name: str, build: Callable[[], Model] = random_network, **hp: Any) -> None:
        cls = CATALOGUE.all(Method)[name].cls
        self.hp: dict[str, Any] = {**defaults(cls.space), **hp}
        self.method: Method = cls()
        self.model = build()
        self.pretrained = self.tensors()
        self.method.adapt(self.model, self.hp)
        self.context = StepContext(
            model=self.model,
            optimizer=build_optimizer(self.hp["optimizer"], self.method.param_groups(self.model, self.hp)),
            criterion=nn.CrossEntropyLoss(),
            device=CPU,
            precision=None,
            scaler=None,
            clip_norm=None,
            batches=Drawn(),
            steps_per_epoch=5,
            total_steps=10,
        )

    def tensors(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.model.state_dict().items()}

    def step(self) -> float:
        if self.context.step % self.context.steps_per_epoch == 0:
            set_training_mode(self.model, self.method.batch_norm)
        loss = self.method.training_step(self.context, *batch(self.context.step))
        self.context.step += 1
        return loss.item()

    @property
    def rates(self) -> dict[str, float]:
        return {group["name"]: group["lr"] for group in self.context.optimizer.param_groups}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("name", ["lp_ft", "wise_ft"])
def test_the_probe_leaves_the_backbone_alone_and_then_everything_trains(name: str) -> None:
    run_ = Run(name, probe=0.4, lr=1e-3, head_lr=1e-2, warmup=0.0, weight_decay=0.1)
    state = run_.context.optimizer.state
    head = {id(parameter) for parameter in run_.model.head.parameters()}
    for step in range(4):
        run_.step()
        assert run_.rates["head"] == 1e-2 * schedule_factor(step, 4, 0.0)
        assert {id(parameter) for parameter in state} == head
    after_probe = run_.tensors()
    assert changed(run_.pretrained, after_probe) == {"head.weight", "head.bias"}
    for step in range(4, 10):
        run_.step()
        expected = 1e-3 * schedule_factor(step - 4, 6, 0.0)
        assert run_.rates == {"backbone": expected, "head": expected}
        # All of them have taken as many steps: the head's optimiser began anew.
        assert {int(entry["step"]) for entry in state.values()} == {step - 3}
    trained = {parameter for parameter, _ in run_.model.named_parameters()}
    statistics = {name for name, _ in run_.model.named_buffers()}
    assert changed(after_probe, run_.tensors()) == trained | (statistics if name == "lp_ft" else set())


def test_the_probe_is_that_of_a_linear_probe() -> None:
    two_phases, probe = Run("lp_ft", probe=0.8, warmup=0.0), Run("linear_probe", weight_decay=1e-4)
    for step in range(8):
        probe.context.optimizer.param_groups[0]["lr"] = 1e-3 * schedule_factor(step, 8, 0.0)
        assert two_phases.step() == pytest.approx(probe.step(), abs=1e-6)
    assert torch.allclose(two_phases.model.head.weight, probe.model.head.weight, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "hp"),
    [
        ("lp_ft", {"probe": 0.4}),
        ("wise_ft", {"probe": 0.3, "points": 5, "lr": 1e-3}),
        ("auto_rgn", {}),
        ("l2_sp", {"optimizer": "sgd", "lr": 0.01}),
        ("random_features", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_interrupted_trial_ends_bit_identically(
    tmp_path: Path, digits: Digits, method: str, hp: dict[str, Any]
) -> None:
    made = job(digits, method, hp=hp)
    whole, result = run(made, tmp_path / "whole")
    assert result["status"] == "done", result
    assert trial_differences(whole, run_in_pieces(made, tmp_path / "pieces", 2)) == []


def averaged() -> tuple[Run, dict[str, Tensor], dict[str, Tensor]]:
    """A WiSE-FT after its training, its two ends: pretrained weights with the probe's head, and fine-tuned ones."""
    tested = Run("wise_ft", probe=0.4, lr=1e-2, points=5)
    for _ in range(4):
        tested.step()
    start = tested.tensors()
    for _ in range(6):
        tested.step()
    return tested, start, tested.tensors()


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_the_average_with_the_best_score_is_kept(share: float) -> None:
    tested, start, end = averaged()
    parameters = [name for name, _ in tested.model.named_parameters()]
    wanted = {name: torch.lerp(start[name], end[name], share) for name in parameters}

    def score() -> float:
        return -sum(float((p.detach() - wanted[name]).norm()) for name, p in tested.model.named_parameters())

    # A resumed trial knows the probe's head from its checkpoint alone.
    resumed = CATALOGUE.all(Method)["wise_ft"].cls()
    resumed.adapt(random_network(), tested.hp)
    resumed.load_state(tested.method.state())
    resumed.finish(tested.model, score)
    found = tested.tensors()
    assert all(torch.equal(found[name], wanted[name]) for name in parameters)
    assert changed(end, found) <= set(parameters)


def test_of_equal_averages_the_fine_tuned_network_stays() -> None:
    tested, _, end = averaged()
    tested.method.finish(tested.model, lambda: 0.5)
    assert changed(end, tested.tensors()) == set()
    unfinished = Run("wise_ft")
    unfinished.method.finish(unfinished.model, lambda: pytest.fail("there is no second end yet"))
    assert changed(unfinished.pretrained, unfinished.tensors()) == set()


def test_a_finished_trial_scores_no_less_than_its_best_epoch(tmp_path: Path, digits: Digits) -> None:
    folder, result = run(job(digits, "wise_ft", hp={"lr": 1e-3}), tmp_path)
    assert result["status"] == "done", result
    epochs = [json.loads(line) for line in (folder.path / "curve.jsonl").read_text().splitlines()]
    best = max(line["val"]["balanced_accuracy"] for line in epochs)
    assert result["metrics"]["val"]["balanced_accuracy"] >= best


def test_l2_sp_pulls_the_backbone_to_its_start_and_the_head_to_zero() -> None:
    alpha, beta, lr = 0.3, 0.05, 0.1
    plain = Run("full_finetune", optimizer="sgd", lr=lr, weight_decay=0.0)
    pulled = Run("l2_sp", optimizer="sgd", lr=lr, alpha=alpha, beta=beta, weight_decay=0.0)
    generator = torch.Generator().manual_seed(0)
    moved = {name: 0.01 * torch.randn(p.shape, generator=generator) for name, p in plain.model.named_parameters()}
    for tested in (plain, pulled):
        with torch.no_grad():
            for name, parameter in tested.model.named_parameters():
                parameter.add_(moved[name])
    at = plain.tensors()
    assert plain.step() == pulled.step()
    for name, parameter in pulled.model.named_parameters():
        pull = -lr * alpha * moved[name] if name.startswith("backbone.") else -10 * lr * beta * at[name]
        difference = parameter.detach() - plain.model.get_parameter(name).detach()
        assert torch.allclose(difference, pull, rtol=1e-3, atol=1e-6), name


def test_rates_fall_layer_by_layer() -> None:
    rates = list(Run("layerwise_decay", lr=1e-2, decay=0.7).rates.items())
    assert [name for name, _ in rates[:2]] == ["conv1", "layer1.0"] and rates[-1] == ("head", pytest.approx(0.1))
    blocks = [rate for _, rate in rates[:-1]]
    assert blocks == pytest.approx([1e-2 * 0.7**depth for depth in range(len(blocks), 0, -1)])
    assert len(blocks) == 10
    # The 63 parts of a DenseNet-121 are spread over as many powers as 20 would have.
    dense = list(Run("layerwise_decay", lambda: build_model("densenet121", None, 4, 0)[0], decay=0.7).rates.values())
    assert len(dense) == 64 and dense[0] == pytest.approx(1e-4 * 0.7**20)
    assert dense[:-2] == pytest.approx([0.7 ** (20 / 63) * rate for rate in dense[1:-1]])
    flat, full = Run("layerwise_decay", decay=1.0), Run("full_finetune")
    for _ in range(2):
        assert flat.step() == full.step()
    assert changed(flat.tensors(), full.tensors()) == set()


def test_auto_rgn_follows_the_relative_gradient_norms() -> None:
    tested = Run("auto_rgn", lr=1e-2)
    expected = relative_gradients(tested)
    largest = max(expected.values())
    tested.step()
    rates = tested.rates
    assert rates == pytest.approx({name: 1e-2 * rgn / largest for name, rgn in expected.items()}, rel=1e-3)
    assert max(rates.values()) == 1e-2 > 5 * min(rates.values())
    assert not any("bn" in name for name in rates) and "head.bias" in rates
    # Measuring moves no statistics: they have seen one batch.
    assert {int(m.num_batches_tracked) for m in tested.model.modules() if isinstance(m, _BatchNorm)} == {2}
    for _ in range(4):
        tested.step()
        assert tested.rates == rates
    # At the start of the next epoch they are measured anew, and the schedule's factor stays.
    for group in tested.context.optimizer.param_groups:
        group["lr"] = 0.5 * group["peak_lr"]
    expected = relative_gradients(tested)
    largest = max(expected.values())
    tested.step()
    assert tested.rates == pytest.approx({name: 5e-3 * rgn / largest for name, rgn in expected.items()}, rel=1e-3)
    assert tested.rates != pytest.approx({name: rate / 2 for name, rate in rates.items()}, rel=1e-3)


def relative_gradients(tested: Run) -> dict[str, float]:
    """RGN of every tensor that trains, over the five extra batches of the running step."""
    found: dict[str, float] = {}
    model = copy.deepcopy(tested.model).train()
    for number in range(5):
        loss = nn.functional.cross_entropy(model(tested.context.extra_batch(8, number)[0]), batch(0)[1])
        model.zero_grad()
        loss.backward()
        for name, p in model.named_parameters():
            if p.requires_grad:
                assert p.grad is not None
                found[name] = found.get(name, 0.0) + float(p.grad.norm() / p.detach().norm())
    return found


def test_from_scratch_draws_what_the_architecture_draws() -> None:
    torch.manual_seed(3)
    tested = Run("from_scratch")
    torch.manual_seed(3)
    fresh = build_extractor("resnet20", None).module.state_dict()
    assert changed(fresh, dict(tested.model.backbone.state_dict())) == set()
    torch.manual_seed(4)
    assert "backbone.conv1.weight" in changed(tested.tensors(), Run("from_scratch").tensors())


def test_random_features_have_settled_norms() -> None:
    tested = Run("random_features")
    batches = [batch(number, 16)[0] for number in range(3)]
    tested.method.prepare(tested.model.eval(), iter(batches))
    norm: Any = tested.model.backbone.get_submodule("bn1")
    convolution = tested.model.backbone.get_submodule("conv1")
    with torch.no_grad():
        means = torch.stack([convolution(images).mean((0, 2, 3)) for images in batches])
        features = tested.model.backbone(batches[0])
    assert torch.allclose(norm.running_mean, means.mean(0), atol=1e-5)
    assert norm.momentum == 0.1 and not norm.training
    assert features.isfinite().all() and features.std() < 10
    settled = tested.tensors()
    for _ in range(2):
        tested.step()
    assert changed(settled, tested.tensors()) == {"head.weight", "head.bias"}
