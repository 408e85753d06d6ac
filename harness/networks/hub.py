"""Weights of a repository of the Hugging Face Hub: downloaded once into the Hub's own cache, read from there."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import RequestError, one_line, shortened
from harness.core.extras import install
from harness.networks.config_file import NAME as CONFIG
from harness.networks.references import HUB

_REPOSITORY = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


@dataclass(frozen=True)
class HubFiles:
    """Files of a repository in the cache."""

    weights: Path
    config: Path | None


def check_hub(reference: str) -> tuple[str, str | None]:
    """Repository and revision of ``hf-hub:ORG/NAME`` or ``hf-hub:ORG/NAME@REVISION``; nothing is downloaded.

    Raises:
        RequestError: it is written in another way, or the package that downloads is missing.
    """
    match = _REPOSITORY.fullmatch(reference.removeprefix(HUB))
    if match is None:
        raise RequestError(
            f"backbone.weights: {shortened(reference)}: expected {HUB}ORG/NAME, such as {HUB}timm/resnet50.a1_in1k"
        )
    try:
        import huggingface_hub  # noqa: F401
    except ImportError as error:
        raise RequestError(f"backbone.weights: {shortened(reference)} needs timm; {install('timm')}") from error
    return match[1], match[2]


def hub_files(reference: str) -> HubFiles:
    """The files of a repository, from the cache where they are there, else downloaded into it.

    Cached files are never checked for updates. A resumed run therefore uses the weights that it started with, and needs
    no network.

    Raises:
        RequestError: it is written in another way, there is no such repository, or no network.
    """
    repository, revision = check_hub(reference)
    return _cached(repository, revision) or _downloaded(reference, repository, revision)


def _names() -> tuple[str, str]:
    """Names of weights in a repository, of which the first that it has is taken."""
    from huggingface_hub.constants import PYTORCH_WEIGHTS_NAME, SAFETENSORS_SINGLE_FILE

    return SAFETENSORS_SINGLE_FILE, PYTORCH_WEIGHTS_NAME


def _cached(repository: str, revision: str | None) -> HubFiles | None:
    from huggingface_hub import try_to_load_from_cache

    def find(name: str) -> Path | None:
        found = try_to_load_from_cache(repository, name, revision=revision)
        return Path(found) if isinstance(found, str) else None

    # The configuration comes before the weights, so where these are there it is, too, if there is one.
    weights = next((path for path in map(find, _names()) if path is not None), None)
    return None if weights is None else HubFiles(weights, find(CONFIG))


def _downloaded(reference: str, repository: str, revision: str | None) -> HubFiles:
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    def fetch(name: str) -> Path | None:
        try:
            return Path(hf_hub_download(repository, name, revision=revision))
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError:
            return None

    # What it tries again is its own affair: what comes of it is one line.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        config = fetch(CONFIG)
        weights = next((path for path in map(fetch, _names()) if path is not None), None)
    except GatedRepoError as error:
        raise RequestError(
            f"backbone.weights: {reference} asks for an agreement; accept it there and log in"
        ) from error
    except RepositoryNotFoundError as error:
        raise RequestError(
            f"backbone.weights: the Hub has no {reference}, or it is private; correct the name"
        ) from error
    except RevisionNotFoundError as error:
        raise RequestError(f"backbone.weights: {reference}: the repository has no such revision; correct it") from error
    except Exception as error:
        # A broken connection can raise anything.
        unreachable = isinstance(error, LocalEntryNotFoundError)
        reason = "no connection to it" if unreachable else one_line(str(error))[:160] or type(error).__name__
        raise RequestError(
            f"backbone.weights: cannot download {reference} ({reason}); where there is a network, "
            f"`python -m harness.networks fetch SWEEP` puts it into {constants.HF_HUB_CACHE}"
        ) from error
    if weights is None:
        raise RequestError(
            f"backbone.weights: {reference} has neither {' nor '.join(_names())}; name another, or a file"
        )
    return HubFiles(weights, config)
