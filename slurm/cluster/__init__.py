"""A small real Slurm cluster on one machine, for development and tests: ``python -m slurm.cluster --help``.

Real slurmctld, slurmdbd and slurmd processes, several nodes with pretended GPUs, partitions that preempt each other.
Everything runs in a network namespace that holds nothing but the loopback interface.
"""

from slurm.cluster.cluster import LittleCluster
from slurm.cluster.requirements import obstacle
from slurm.cluster.settings import Settings

__all__ = ["LittleCluster", "Settings", "obstacle"]
