"""What a command says when it does not do as asked."""

from __future__ import annotations

UNREACHABLE = "Unable to contact slurm controller (connect failure)"


class Refused(Exception):
    """A command fails.

    Attributes:
        lines: what it prints on standard error, whole lines.
        code: its exit code.
    """

    def __init__(self, *lines: str, code: int = 1) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.code = code


def not_submitted(reason: str, *before: str) -> Refused:
    """What sbatch says when the controller refuses a job."""
    return Refused(*(f"sbatch: error: {line}" for line in (*before, f"Batch job submission failed: {reason}")))
