"""The ways to execute an activation: one operation as good as many, compiled, Triton's kernels, on a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from example_activations import BASES, EXTREMES, FORMULAS, activation, images, value_and_gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from harness.activations.base import PreservingActivation
from harness.activations.formulas import Execution, Formula
from harness.activations.fused import check_execution, choose_execution
from harness.activations.window import W4
from harness.core.errors import RequestError

ROOT = Path(__file__).parents[2]


@settings(max_examples=40, deadline=None)
@given(
    formula=st.sampled_from(list(FORMULAS.values())),
    base=st.sampled_from(list(BASES)),
    groups=st.sampled_from([1, 2, 6]),
    shape=st.sampled_from([(3, 6), (2, 6, 4), (2, 6, 4, 5), (1, 6, 1, 1), (0, 6, 2, 2), (7, 6, 3, 3)]),
    seed=st.integers(0, 2**31),
)
def test_the_fused_operation_equals_the_plain_one(
    formula: Formula, base: str, groups: int, shape: tuple[int, ...], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    plain = activation(formula, base, groups=groups).double()
    with torch.no_grad():
        plain.coefficients.copy_(torch.randn(plain.coefficients.shape, generator=generator))
    fused = activation(formula, base, "fused", groups=groups).double()
    fused.load_state_dict(plain.state_dict())
    for expected, result in zip(value_and_gradients(plain, x), value_and_gradients(fused, x), strict=True):
        assert torch.allclose(result, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)
def test_fused_in_parts_equals_plain_to_a_millionth(formula: Formula, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.activations.grid._PART", {"cpu": 100})
    plain, fused = activation(formula), activation(formula, execution="fused")
    nn.init.normal_(plain.coefficients, generator=torch.Generator().manual_seed(1))
    fused.load_state_dict(plain.state_dict())
    for layout in (torch.contiguous_format, torch.channels_last):
        x = images().to(memory_format=layout)
        for expected, result in zip(value_and_gradients(plain, x), value_and_gradients(fused, x), strict=True):
            assert (result - expected).norm() <= 1e-6 * expected.norm()


def test_coefficients_learn_the_same_where_the_input_needs_no_gradient() -> None:
    for formula in FORMULAS.values():
        module = activation(formula, execution="fused")
        nn.init.normal_(module.coefficients, generator=torch.Generator().manual_seed(1))
        value, _, expected = value_and_gradients(module, images())
        upstream = torch.randn(value.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64).float()
        assert torch.equal(torch.autograd.grad(module(images()), module.coefficients, upstream)[0], expected)


def test_the_fastest_execution_is_chosen_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    choose_execution.cache_clear()
    for there in (True, False):
        monkeypatch.setattr("harness.activations.fused.kernels_run_on", lambda device, there=there: there)
        for formula in FORMULAS.values():
            assert choose_execution(formula, "cuda", torch.bfloat16) == ("triton" if there else "fused")
            assert choose_execution(formula, "cuda", torch.float64) == "fused"
            assert choose_execution(formula, "cpu", torch.float32) == "fused"
        choose_execution.cache_clear()
    own, fused = activation(W4, execution="auto"), activation(W4, execution="fused")
    for ours, theirs in zip(value_and_gradients(own, images()), value_and_gradients(fused, images()), strict=True):
        assert torch.equal(ours, theirs)


def test_only_the_input_is_kept_for_the_backward_pass() -> None:
    def kept(execution: Execution) -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            sizes[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            activation(W4, execution=execution, channels=8)(torch.randn(2, 8, 32, 32, requires_grad=True))
        return sum(sizes.values())

    whole = 4 * 2 * 8 * 32 * 32
    assert whole <= kept("fused") <= 1.1 * whole
    assert kept("plain") > 4 * whole


@pytest.mark.slow
def test_the_compiled_operation_starts_as_its_base_and_equals_the_plain_one() -> None:
    try:
        check_execution("compiled", "cpu")
    except RequestError as error:
        pytest.skip(str(error))
    for base in ("relu", "hardswish"):
        plain, compiled = activation(W4, base), activation(W4, base, "compiled")
        for x in (images(*EXTREMES[:5]), images(channels=6).expand(4, 6, 5, 3)):
            expected = value_and_gradients(BASES[base], x)
            assert all(torch.equal(a, b) for a, b in zip(value_and_gradients(compiled, x), expected, strict=False))
        nn.init.normal_(plain.coefficients, generator=torch.Generator().manual_seed(1))
        compiled.load_state_dict(plain.state_dict())
        for expected, result in zip(
            value_and_gradients(plain, images()), value_and_gradients(compiled, images()), strict=True
        ):
            assert (result - expected).norm() <= 1e-6 * expected.norm()
    # The same kernels serve every site: torch gives up, silently, when there are too many.
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):  # type: ignore[attr-defined]
        for channels in range(7, 27, 2):
            value_and_gradients(activation(W4, execution="compiled", channels=channels), images(channels=channels))


@pytest.mark.slow
def test_the_triton_kernels_compute_the_same_in_its_interpreter() -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    script = Path(__file__).with_name("interpreted_kernels.py")
    # The interpreter warns where numbers overflow on their way to a right result.
    command = [sys.executable, "-W", "ignore::RuntimeWarning", str(script)]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "formulas", "one_channel_and_many", "extremes", "curvature", "laplacians", "splits"
    ]  # fmt: skip


@pytest.mark.cuda
@pytest.mark.parametrize("execution", ["fused", "compiled", "triton"])
def test_on_a_gpu_every_execution_equals_the_plain_one(execution: Execution) -> None:
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.bfloat16, 1e-2)):
        for layout in (torch.contiguous_format, torch.channels_last):
            x = torch.randn(8, 64, 14, 14, device="cuda", dtype=dtype).to(memory_format=layout)
            plain = activation(W4, channels=64).cuda()
            other = activation(W4, execution=execution, channels=64).cuda()
            upstream = torch.randn_like(x)
            for trained in (False, True):
                if trained:
                    nn.init.normal_(plain.coefficients)
                    other.load_state_dict(plain.state_dict())
                pairs = []
                for module in (plain, other):
                    leaf = x.clone().requires_grad_()
                    value = module(leaf)
                    pairs.append([value, *torch.autograd.grad(value, [leaf, module.coefficients], upstream)])
                for expected, result in zip(*pairs, strict=True):
                    assert (result.float() - expected.float()).norm() <= tolerance * expected.float().norm()
                if not trained:
                    assert torch.equal(pairs[0][0], pairs[1][0]) and torch.equal(pairs[0][1], pairs[1][1])


def test_an_execution_that_is_impossible_is_refused_in_one_line() -> None:
    with pytest.raises(RequestError, match="execution=triton: needs a CUDA device and triton, this is cpu; take fused"):
        activation(W4, execution="triton")(images())
    with pytest.raises(ValueError, match="6 channels cannot be shared out among 4 groups"):
        activation(W4, groups=4)
    with pytest.raises(ValueError, match=r"shape \(4, 1\), this site needs \(4, 6\)"):
        PreservingActivation(W4, 6, coefficients=nn.Parameter(torch.zeros(4, 1)))
