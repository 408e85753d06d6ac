"""What ``backbone.weights`` names, told by its spelling: a file, a repository of the Hub, or published weights."""

from __future__ import annotations

from pathlib import Path

HUB = "hf-hub:"
"""What a repository of the Hugging Face Hub begins with, in timm's spelling: ``hf-hub:ORG/NAME``."""

READ = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar")
"""Endings of the files that are read."""

_NOT_READ = (".pkl", ".npz", ".npy", ".h5", ".hdf5", ".keras", ".onnx", ".gz", ".zip")


def is_hub(weights: str) -> bool:
    """Whether it names a repository of the Hub."""
    return weights.startswith(HUB)


def is_file(weights: str) -> bool:
    """Whether it is meant as a file: no published weights have such an ending or a slash in their name."""
    return not is_hub(weights) and ("/" in weights or Path(weights).suffix.lower() in (*READ, *_NOT_READ))


def is_readable_kind(weights: str) -> bool:
    """Whether a file has one of the endings that are read."""
    return Path(weights).suffix.lower() in READ
