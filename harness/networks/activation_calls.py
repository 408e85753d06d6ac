"""Which activation calls a network makes, and giving each a module of its own.

One forward pass with every call recorded shows what runs: a module that several calls share (the ReLU of a
torchvision ResNet block) and a call of a function (the last ReLU of its DenseNet) are then told from a module
that is called once. Only the modules whose own ``forward`` makes such calls are rewritten, one by one, with their
children taken as they are. The network around them stays what it was, so it may contain what no tracer can follow,
and names, order, classes and hooks of all that has parameters do not change.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

Kind = Literal[
    "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "silu", "gelu", "mish", "hardswish", "softplus"
]  # fmt: skip
"""What an activation computes. Gates (sigmoid, hard sigmoid, tanh) are no activations here."""


class _Form(NamedTuple):
    module: type[nn.Module]
    arguments: tuple[str, ...]
    """The function's arguments between ``input`` and ``inplace``; the module's constructor has the same."""
    functions: tuple[Callable[..., Any], ...]


_FORMS: dict[Kind, _Form] = {
    "relu": _Form(nn.ReLU, (), (F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)),
    "relu6": _Form(nn.ReLU6, (), (F.relu6,)),
    "leaky_relu": _Form(nn.LeakyReLU, ("negative_slope",), (F.leaky_relu, F.leaky_relu_)),
    "elu": _Form(nn.ELU, ("alpha",), (F.elu, F.elu_)),
    "selu": _Form(nn.SELU, (), (F.selu, F.selu_, torch.selu, torch.selu_)),
    "celu": _Form(nn.CELU, ("alpha",), (F.celu, F.celu_, torch.celu, torch.celu_)),
    "silu": _Form(nn.SiLU, (), (F.silu,)),
    "gelu": _Form(nn.GELU, ("approximate",), (F.gelu,)),
    "mish": _Form(nn.Mish, (), (F.mish,)),
    "hardswish": _Form(nn.Hardswish, (), (F.hardswish,)),
    "softplus": _Form(nn.Softplus, ("beta", "threshold"), (F.softplus,)),
}
_KIND_OF_MODULE: dict[type[nn.Module], Kind] = {form.module: kind for kind, form in _FORMS.items()}
_KIND_OF_FUNCTION: dict[Any, Kind] = {function: kind for kind, form in _FORMS.items() for function in form.functions}
_KIND_OF_METHOD: dict[Any, Kind] = {"relu": "relu", "relu_": "relu"}

Key = tuple[int, int]
"""A tensor at one moment: identity of the object and number of the in-place changes before."""


def kind_of(module: nn.Module) -> Kind | None:
    """What an activation module computes; None for every other module, subclasses of activations included."""
    return _KIND_OF_MODULE.get(type(module))


def arguments_of(module: nn.Module) -> tuple[float | str, ...]:
    """What an activation module of a known kind passes to torch's function, in its order, ``inplace`` left out."""
    kind = kind_of(module)
    return () if kind is None else tuple(getattr(module, name) for name in _FORMS[kind].arguments)


@dataclass(frozen=True, slots=True)
class ActivationCall:
    """One activation in one forward pass."""

    kind: Kind
    caller: nn.Module
    """The module whose ``forward`` makes the call."""
    module: nn.Module | None
    """The activation module that is called; None for a function."""
    input: Key
    shape: tuple[int, ...]


class CallRecorder(TorchFunctionMode):
    """Activation calls, what made each tensor, and which modules took it, over one forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[ActivationCall] = []
        self.makers: dict[Key, nn.Module] = {}
        """The innermost module at work when a function returned this tensor."""
        self.takers: dict[Key, list[nn.Module]] = {}
        """Modules that had this tensor as their first argument, in order of execution."""
        self._running: list[nn.Module] = []
        # An object's identity is its own only as long as it lives.
        self._alive: list[Tensor] = []

    def run(self, network: nn.Module, images: Tensor) -> Tensor:
        """Features of the images in evaluation mode without gradients; modes and buffers stay as they were."""
        modules = list(network.modules())
        modes = [module.training for module in modules]
        hooks: list[RemovableHandle] = []
        for module in modules:
            hooks.append(module.register_forward_pre_hook(self._enter, prepend=True, with_kwargs=True))
            hooks.append(module.register_forward_hook(self._leave))
        try:
            with torch.no_grad(), self:
                features: Tensor = network.eval()(images)
        finally:
            for hook in hooks:
                hook.remove()
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode
        return features

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        kind = _KIND_OF_FUNCTION.get(func)
        if kind is not None and kind_of(self._running[-1]) is None:
            self._note(kind, None, args[0] if args else named["input"])
        result = func(*args, **named)
        if isinstance(result, Tensor) and self._running:
            self._alive.append(result)
            # A function that returns what it was given (contiguous) has made nothing.
            self.makers.setdefault(_key(result), self._running[-1])
        return result

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        first = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
        if first is not None:
            self._alive.append(first)
            self.takers.setdefault(_key(first), []).append(module)
            kind = kind_of(module)
            if kind is not None:
                self._note(kind, module, first)
        self._running.append(module)

    def _leave(self, module: nn.Module, args: Any, result: Any) -> None:
        self._running.pop()

    def _note(self, kind: Kind, module: nn.Module | None, value: Tensor) -> None:
        self.calls.append(ActivationCall(kind, self._running[-1], module, _key(value), tuple(value.shape)))


def _key(tensor: Tensor) -> Key:
    return id(tensor), tensor._version


def separate_registrations(network: nn.Module) -> None:
    """Give every place at which an activation module is registered an instance of its own."""
    seen = set[int]()
    for parent in list(network.modules()):
        for name, child in list(parent._modules.items()):
            if child is None or kind_of(child) is None:
                continue
            if id(child) in seen:
                parent._modules[name] = child = copy.deepcopy(child)
            seen.add(id(child))


def callers_to_rewrite(calls: Iterable[ActivationCall]) -> list[nn.Module]:
    """Modules that call a function, or one activation module several times; in order of execution."""
    calls = list(calls)
    counts = Counter(id(call.module) for call in calls if call.module is not None)
    found = [call.caller for call in calls if call.module is None or counts[id(call.module)] > 1]
    return list({id(caller): caller for caller in found}.values())


def rewrite_calls(owner: nn.Module) -> None:
    """Make each activation call of ``owner.forward`` the call of a module ``act1``, ``act2``, … of its own.

    An activation module that ``forward`` calls once stays; numbers count every activation call. ``owner`` remains
    the same object with the same children but for the shared activations, in a subclass of its class whose
    ``forward`` is the trace of the old one; in it ``a += b`` makes a new tensor.

    Raises:
        ValueError: ``forward`` depends on data, differs between training and evaluation, or calls an activation
            with an argument that is computed.
    """
    graph = _trace(owner)
    nodes = [node for node in graph.nodes if _kind_of_node(owner, node) is not None]
    counts = Counter(node.target for node in nodes)
    numbers = range(1, len(nodes) + 1)
    changed = [
        (n, node) for n, node in zip(numbers, nodes, strict=True) if node.op != "call_module" or counts[node.target] > 1
    ]
    for number, node in changed:
        name = f"act{number}"
        while hasattr(owner, name):
            name += "_"
        owner.add_module(name, _module_of(owner, node))
        with graph.inserting_before(node):
            call = graph.call_module(name, (node.args[0] if node.args else node.kwargs["input"],))
        node.replace_all_uses_with(call)
        graph.erase_node(node)
    for place in {str(node.target) for _, node in changed if node.op == "call_module"}:
        # A deeper one may be an entry of a list whose other entries are known by their position.
        if "." not in place:
            delattr(owner, place)
    forward = type(fx.GraphModule(owner, graph)).forward
    kind = type(owner)
    owner.__class__ = type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})


class _ChildrenAsTheyAre(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def _trace(owner: nn.Module) -> fx.Graph:
    mode = owner.training
    sources = set[str]()
    try:
        for training in (True, False):
            owner.training = training
            graph = _ChildrenAsTheyAre().trace(owner)
            sources.add(graph.python_code("self").src)
    except Exception as error:
        # Tracing runs the module's own code with stand-ins for tensors, which can fail in any way.
        raise ValueError(f"its forward depends on the data ({type(error).__name__}: {error})") from error
    finally:
        owner.training = mode
    if len(sources) > 1:
        raise ValueError("its forward is another in training than in evaluation")
    return graph


def _kind_of_node(owner: nn.Module, node: fx.Node) -> Kind | None:
    if node.op == "call_module":
        return kind_of(owner.get_submodule(str(node.target)))
    if node.op == "call_method":
        return _KIND_OF_METHOD.get(node.target)
    return _KIND_OF_FUNCTION.get(node.target) if node.op == "call_function" else None


def _module_of(owner: nn.Module, node: fx.Node) -> nn.Module:
    if node.op == "call_module":
        return copy.deepcopy(owner.get_submodule(str(node.target)))
    kind = _kind_of_node(owner, node)
    assert kind is not None
    form = _FORMS[kind]
    values = {**dict(zip((*form.arguments, "inplace"), node.args[1:], strict=False)), **node.kwargs}
    given = {name: value for name, value in values.items() if name in form.arguments}
    if any(isinstance(value, fx.Node) for value in given.values()) or values.keys() - {*given, "inplace", "input"}:
        raise ValueError(f"it calls {kind} with an argument that is computed")
    return form.module(**given)
