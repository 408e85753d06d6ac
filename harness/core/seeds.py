"""Random streams derived by name, so that a stream depends on what it is for and on nothing that ran before."""

from __future__ import annotations

import hashlib
import json


def derive_seed(*names: str | int) -> int:
    """A seed in [0, 2**63) that depends on all of ``names`` and on nothing else."""
    digest = hashlib.sha256(json.dumps(names).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
