"""The method keeps the promises of every method, and its gates do what the equations say."""

import torch
from gpaf_bench_stage_gates.stage_gates import Gate, StageGates

from harness.proof.conformance import violations


def test_stage_gates_keeps_its_promises() -> None:
    assert violations(StageGates) == []
    assert violations(StageGates, hp={"reduction": 16}) == []


def test_a_gate_scales_each_channel_by_the_equations() -> None:
    torch.manual_seed(0)
    gate, x = Gate(6, 2), torch.randn(3, 6, 4, 5)
    assert torch.equal(gate(x), x), "a new gate is the identity"
    torch.nn.init.normal_(gate.excite.weight)
    hidden = torch.relu(x.mean((2, 3)) @ gate.squeeze.weight.T + gate.squeeze.bias)
    factor = 2 / (1 + torch.exp(-(hidden @ gate.excite.weight.T + gate.excite.bias)))
    torch.testing.assert_close(gate(x), x * factor.reshape(3, 6, 1, 1))
