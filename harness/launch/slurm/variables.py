"""Which environment variables are Slurm's."""

SLURM_PREFIXES = (
    *("SLURM_", "SLURMD_", "SBATCH_", "SALLOC_", "SRUN_", "SATTACH_", "SBCAST_", "SUBMITIT_", "PMI"),
    *("SQUEUE_", "SCANCEL_", "SCONTROL_", "SINFO_", "SACCT", "SSTAT_", "SPRIO_", "SSHARE_", "SREPORT_", "SDIAG_"),
)
"""How the names of variables begin that give options to Slurm's commands, or tell a job what it is."""
