"""Feature extractors by name: torchvision's, timm's and the small ResNet, each without its classifier."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from harness.core.errors import RequestError, is_close, one_line, shortened, suggestion
from harness.core.extras import install
from harness.networks.normalisation import IMAGENET, TIMM, Normalisation, normalisation_of
from harness.networks.small_resnet import SmallResNet
from harness.networks.stem import check_small_stem, place_small_stem, split_stem

SMALL = "resnet20"


class Extractor(NamedTuple):
    """A network that maps float images (batch, 3, size, size) to (batch, features)."""

    module: nn.Module
    features: int
    normalisation: Normalisation
    """What the weights were trained with; ImageNet's for random weights."""


def check_names(name: str, weights: str | None) -> None:
    """Check the names of a model and its published weights, without a download.

    Raises:
        RequestError: there is no such model, or no such weights of it.
    """
    plain, stem = split_stem(name)
    if stem:
        check_small_stem(plain)
        if weights is not None:
            raise RequestError(
                f"backbone.weights: those published for {plain} have another first convolution than the small stem; "
                "leave them out, name a file of this network, or leave out backbone.stem"
            )
    elif name == SMALL:
        if weights is not None:
            raise RequestError(f"backbone.weights: there are none published for {SMALL}; leave them out or name a file")
    elif name.startswith(TIMM):
        _timm_name(name, weights)
    else:
        _weights_member(name, weights)


def build_extractor(name: str, weights: str | None) -> Extractor:
    """Build a network with published or random weights, drawn from torch's global CPU generator.

    Raises:
        RequestError: unknown names, a network without one closing linear layer, or no network for a download.
    """
    check_names(name, weights)
    if name == SMALL:
        return Extractor(SmallResNet(), SmallResNet.features, IMAGENET)
    plain, stem = split_stem(name)
    if stem:
        built = _build_torchvision(plain, None)
        place_small_stem(built.module)
        return built
    return _build_timm(name, weights) if name.startswith(TIMM) else _build_torchvision(name, weights)


def _build_torchvision(name: str, weights: str | None) -> Extractor:
    from torchvision import models

    member = _weights_member(name, weights)
    network: nn.Module = models.get_model(name, weights=None)
    normalisation = IMAGENET
    if member is not None:
        try:
            network.load_state_dict(_published_state(member))
        except RuntimeError as error:
            raise RequestError(
                f"backbone.weights: {weights} does not fit {name} in its standard form "
                f"({one_line(str(error))[:200]}); choose another of its weights"
            ) from error
        preset = member.transforms()
        normalisation = normalisation_of(preset.mean, preset.std)
    return Extractor(network, _strip_classifier(network, name), normalisation)


def _weights_member(name: str, weights: str | None) -> Any:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        remedy = "; timm's are written timm:NAME" if "." in name else suggestion(name, [*known, SMALL])
        raise RequestError(f"backbone.name: no model {shortened(name)!r}{remedy}")
    if weights is None:
        return None
    members = dict(models.get_model_weights(name).__members__)
    newest = members.pop("DEFAULT", None)
    if weights == "DEFAULT" and newest is not None:
        raise RequestError(
            f"backbone.weights: DEFAULT changes with torchvision's version; write {newest.name}, today's"
        )
    if weights not in members:
        raise RequestError(f"backbone.weights: {name} has no {weights!r}{suggestion(weights, members)}")
    return members[weights]


def _published_state(member: Any) -> Mapping[str, Tensor]:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / Path(member.url).name
    try:
        # torch announces a download on standard output, which belongs to the command.
        with redirect_stdout(sys.stderr):
            state = member.get_state_dict(progress=False, check_hash=True, weights_only=True, map_location="cpu")
    except Exception as error:
        # A damaged file and a broken connection can raise anything.
        reason = one_line(str(error))[:200] or type(error).__name__
        if file.is_file():
            raise RequestError(f"{file}: not readable ({reason}); delete it and run the command again") from error
        raise RequestError(
            f"backbone.weights: cannot download {member.name} ({reason}); "
            f"put {file.name} from {member.url} into {folder}"
        ) from error
    # The published DenseNets still carry the names of an older torchvision (norm.1 for norm1).
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)", r"\1", key): state[key] for key in state}


def _strip_classifier(network: nn.Module, name: str) -> int:
    place, last = list(network.named_modules())[-1]
    # Auxiliary classifiers make a network return a tuple in training mode.
    if not isinstance(last, nn.Linear) or getattr(network, "aux_logits", False):
        raise RequestError(
            f"backbone.name: {name} does not end in one linear classifier; choose another, such as resnet50"
        )
    network.set_submodule(place, nn.Identity())
    return last.in_features


def _build_timm(name: str, weights: str | None) -> Extractor:
    full, pretrained = _timm_name(name, weights)
    import timm

    try:
        network: Any = timm.create_model(full, pretrained=pretrained, num_classes=0)
    except (OSError, RuntimeError) as error:
        raise RequestError(f"backbone: timm cannot build {full} ({one_line(str(error))[:200]})") from error
    features = int(getattr(network, "head_hidden_size", network.num_features))
    preset = network.pretrained_cfg
    return Extractor(network, features, normalisation_of(preset["mean"], preset["std"]) if pretrained else IMAGENET)


def classifiers_of(name: str, backbone: nn.Module) -> tuple[str, ...]:
    """Where the classifier was in a network of ``build_extractor``; empty where there was none."""
    if name.startswith(TIMM):
        preset: Any = backbone.pretrained_cfg
        given = preset.get("classifier") or ()
        return (given,) if isinstance(given, str) else tuple(given)
    place, last = list(backbone.named_modules())[-1]
    return (place,) if isinstance(last, nn.Identity) else ()


def split_timm(name: str) -> tuple[str, str | None]:
    """A network of timm without its weights, and these: timm writes both as one name, ``timm:resnet50.a1_in1k``."""
    plain, dot, tag = name.partition(".")
    return plain, tag if dot else None


def _timm_name(name: str, weights: str | None) -> tuple[str, bool]:
    """What timm calls a network, and whether it is pretrained."""
    shown, plain = shortened(name), name.removeprefix(TIMM)
    if not plain or ":" in plain or "/" in plain:
        raise RequestError(f"backbone.name: {shown}: give the name of one of timm's own models, such as timm:resnet50")
    try:
        import timm
    except ImportError as error:
        raise RequestError(f"backbone.name: {shown} needs timm; {install('timm')}") from error
    plain, tag = split_timm(plain)
    known = timm.list_models()
    if plain not in known:
        close = suggestion(plain, known) if is_close(plain, known) else "; timm.list_models() lists them"
        raise RequestError(f"backbone.name: timm has no model {shortened(plain)!r}{close}")
    if tag is not None and weights not in (None, tag):
        raise RequestError(f"backbone.weights: {shown} names weights itself; leave out {weights!r} or '.{tag}'")
    wanted = tag if weights is None else weights
    if wanted is None:
        return plain, False
    tags = [entry.partition(".")[2] for entry in timm.list_pretrained(f"{plain}.*")]
    if wanted not in tags:
        raise RequestError(f"backbone.weights: {TIMM}{plain} has no {shortened(wanted)!r}{suggestion(wanted, tags)}")
    return f"{plain}.{wanted}", True
