"""Not Slurm: a stand-in that runs jobs as processes of this machine.

For machines without Slurm, and for states that a real cluster does not produce on demand: a preemption now, two copies
of one job, a finished job that runs again, a silent controller. What it prints and when it refuses was compared with
Slurm 22.05, and ``test_stand_in.py`` does so again wherever Slurm is installed. There is no daemon: all state lies in
files of one folder and changes under a lock; whoever submits starts what may start, and so does each job at its end.
"""

from .control import StandIn
from .install import install
from .settings import Partition, Settings

__all__ = ["Partition", "Settings", "StandIn", "install"]
