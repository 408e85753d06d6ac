"""The path under which jobs that an earlier version submitted find their work."""

from harness.launch.slurm.job import run_worker

__all__ = ["run_worker"]
