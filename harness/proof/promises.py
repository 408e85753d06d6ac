"""One method on one network: whether it can act there, and which promises it breaks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from harness.method import Method
from harness.proof.conformance import MERGE_TOLERANCE, STEPS, CannotActError, random_network, violations
from harness.train.run import describe


@dataclass(frozen=True, slots=True)
class MethodCheck:
    """What became of one method on one network."""

    refusal: str | None
    """Why it cannot act on this network, in the words of its ``ValueError``; None where it can."""
    violations: tuple[str, ...]
    """One sentence a broken promise."""


def check(method: type[Method], backbone: str, size: int, briefly: bool = False) -> MethodCheck:
    """Adapt, train for a few steps, merge and resume, on fixed random weights and the method's default settings.

    Args:
        method: the class under test.
        backbone: as for ``build_model``.
        size: side of the square images, in pixels.
        briefly: as for ``violations``.

    Raises:
        RequestError: there is no such backbone.
    """
    build = partial(random_network, backbone, size)
    build()
    try:
        return MethodCheck(None, tuple(violations(method, build, size=size, briefly=briefly)))
    except CannotActError as error:
        return MethodCheck(str(error), ())
    except Exception as error:  # noqa: BLE001  (a plugin may fail in any way, and the next one is to be checked)
        return MethodCheck(None, (f"raised {describe(error)}",))


def promises(method: type[Method]) -> Iterator[str]:
    """What ``check`` finds kept where it finds nothing, in words; a method promises more than another."""
    yield "the head starts with the values that it has for every method"
    if method.preserves_function:
        yield "before its first step the network gives the pretrained logits bit for bit"
    if method.expected_trainable is not Method.expected_trainable:
        yield "as many scalars train as its formula says"
    yield "each tensor that trains stands in one optimiser group, each frozen one in none"
    yield f"each tensor that trains has changed after {STEPS} steps"
    moving = ", running statistics of batch norms excepted" if method.batch_norm == "train" else ""
    yield f"frozen tensors and buffers are bit for bit as before{moving}"
    if method.merge is not Method.merge:
        yield f"merged into plain layers, no logit differs by more than {MERGE_TOLERANCE:g} of the largest"
    yield "a deep copy can be merged without a change of the original"
    yield "interrupted and resumed from a checkpoint, the next step is the same bit for bit"
