"""The networks that there are by name, with the names of their published weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from harness.networks.architectures import SMALL
from harness.networks.normalisation import TIMM


def published(pattern: str = "*") -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each network that matches, with its published weights: torchvision's, the small one, timm's if it is installed.

    Args:
        pattern: of the whole name, with ``*``, ``?`` and ``[…]`` as in a shell; without any, a part of the name.
    """
    from torchvision import models

    for name in (*models.list_models(module=models), SMALL):
        if matches(name, pattern):
            known = () if name == SMALL else models.get_model_weights(name).__members__
            yield name, tuple(member for member in known if member != "DEFAULT")
    tags: dict[str, list[str]] = {}
    timm = _timm()
    for entry in timm.list_pretrained() if timm else ():
        plain, _, tag = entry.partition(".")
        tags.setdefault(plain, []).append(tag)
    for plain in timm.list_models() if timm else ():
        if matches(TIMM + plain, pattern):
            yield TIMM + plain, tuple(tag for tag in tags.get(plain, ()) if tag)


def families(pattern: str = "*") -> Mapping[str, tuple[str, ...]]:
    """The networks that match by the module that builds them: those of one name their tensors much alike."""
    from torchvision import models

    found: dict[str, list[str]] = {"harness": [SMALL]}
    for name in models.list_models(module=models):
        found.setdefault(models.get_model_builder(name).__module__, []).append(name)
    timm = _timm()
    for module in timm.list_modules() if timm else ():
        found[f"timm.{module}"] = [TIMM + name for name in timm.list_models(module=module)]
    chosen = {family: tuple(name for name in names if matches(name, pattern)) for family, names in found.items()}
    return {family: names for family, names in chosen.items() if names}


def matches(name: str, pattern: str) -> bool:
    """Whether a name has a pattern's form, or contains it where it is a plain text."""
    return fnmatchcase(name, pattern) if set(pattern) & set("*?[") else pattern in name


def has_timm() -> bool:
    """Whether timm is installed."""
    return _timm() is not None


def _timm() -> Any:
    """timm, or None where it is not installed."""
    try:
        import timm
    except ImportError:
        return None
    return timm
