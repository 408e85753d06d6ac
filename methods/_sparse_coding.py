"""Sparse coding: rows of a matrix as sums of few atoms that all rows have in common."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

PENALTY = 1e-3
"""Weight of the absolute values of codes, as the authors of filter subspace tuning have it."""

_ROUNDS = 10
_ENOUGH = 1 << 14
"""Rows that the atoms are found on, evenly spaced, where there are more."""
_QUICK, _LAST = 5, 20
"""Steps of an encoding: in each round, which starts from the codes of the one before, and for the final codes."""


def sparse_codes(samples: Tensor, atoms: int) -> tuple[Tensor, Tensor]:
    """Codes Z and atoms D of unit length that make ½ ‖X - Z D‖² + ``PENALTY`` · ‖Z‖₁ small.

    Ten rounds of encoding and of a pass over the atoms by block coordinate descent (Mairal et al. 2009, "Online
    dictionary learning for sparse coding"), from random orthogonal atoms of torch's global generator; then all rows
    are encoded.

    Args:
        samples: X, (n, d).
        atoms: m, at least 1; may be above d.

    Returns:
        Z (n, m) and D (m, d), in the dtype of the samples.
    """
    dictionary = nn.init.orthogonal_(torch.empty(atoms, samples.shape[1])).to(samples)
    dictionary = nn.functional.normalize(dictionary, dim=1)
    some = samples[:: -(-len(samples) // _ENOUGH)]
    codes = some.new_zeros(len(some), atoms)
    for _ in range(_ROUNDS):
        codes = encode(some, dictionary, codes, _QUICK)
        dictionary = _better_atoms(some, codes, dictionary)
    return encode(samples, dictionary, samples.new_zeros(len(samples), atoms), _LAST), dictionary


def encode(samples: Tensor, dictionary: Tensor, codes: Tensor, steps: int) -> Tensor:
    """Codes nearer to the least ½ ‖X - Z D‖² + ``PENALTY`` · ‖Z‖₁, by FISTA (Beck and Teboulle 2009).

    Args:
        samples: X, (n, d).
        dictionary: D, (m, d).
        codes: where to start, (n, m).
        steps: how many.
    """
    # Rows are long this way: a third of the time.
    gram, projections, codes = dictionary @ dictionary.T, dictionary @ samples.T, codes.T.contiguous()
    rate = 1 / float(torch.linalg.matrix_norm(gram, 2))
    ahead, momentum = codes, 1.0
    for _ in range(steps):
        moved = torch.addmm(projections, gram, ahead, alpha=-1).mul_(rate).add_(ahead)
        nearer = nn.functional.softshrink(moved, PENALTY * rate)
        following = (1 + math.sqrt(1 + 4 * momentum * momentum)) / 2
        ahead = torch.lerp(codes, nearer, 1 + (momentum - 1) / following)
        codes, momentum = nearer, following
    return codes.T.contiguous()


def _better_atoms(samples: Tensor, codes: Tensor, dictionary: Tensor) -> Tensor:
    """Each atom in turn the best of unit length for these codes; one that no code uses stays."""
    among, target, dictionary = codes.T @ codes, codes.T @ samples, dictionary.clone()
    for number in range(len(dictionary)):
        wanted = target[number] - among[number] @ dictionary + among[number, number] * dictionary[number]
        length = wanted.norm()
        if length > 0:
            dictionary[number] = wanted / length
    return dictionary
