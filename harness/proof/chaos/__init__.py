"""Disturb a sweep in every way a machine can, and show that it ends as if nothing had happened.

``python -m harness.chaos SWEEP``
"""

from harness.proof.chaos.sweep_command import UNLIMITED_RETRIES, run_undisturbed

__all__ = ["UNLIMITED_RETRIES", "run_undisturbed"]
