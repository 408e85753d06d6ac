"""What is given to the stand-in and to a real cluster, to compare the answers."""

from __future__ import annotations

COMMANDS = [
    "sbatch --wrap=true --partition=nope",
    "sbatch --wrap=true --nosuch",
    "sbatch --wrap=true -Z3",
    "sbatch --comment",
    "sbatch --requeue=3 script",
    "sbatch --wrap=true --partition=short --time=60",
    "sbatch --wrap=true --time=0",
    "sbatch --wrap=true --time=abc",
    "sbatch --wrap=true --gres=gpu:a100:1",
    "sbatch --wrap=true --gpus-per-node=a100:1",
    "sbatch --wrap=true --gpus-per-node=9",
    "sbatch --wrap=true --gres=foo:1",
    "sbatch --wrap=true --array=0-9",
    "sbatch --wrap=true --array=x",
    "sbatch --wrap=true --array=5-2",
    "sbatch --wrap=true --mem=abc",
    "sbatch --wrap=true --mem=999G",
    "sbatch --wrap=true --cpus-per-task=99",
    "sbatch --wrap=true --cpus-per-task=x",
    "sbatch --wrap=true --constraint=nope",
    "sbatch --wrap=true --exclude=nope",
    "sbatch --wrap=true --account=nope",
    "sbatch --wrap=true --qos=nope",
    "sbatch --wrap=true --signal=FOO@3",
    "sbatch --wrap=true --dependency=nope:3",
    "sbatch --wrap=true --open-mode=x",
    "sbatch --wrap=true extra",
    "sbatch /nonexistent/script",
    "sbatch",
    "squeue --jobs=99999999",
    "squeue --nosuch",
    "scontrol requeue 99999999",
    "scontrol show job 99999999",
    "scontrol show partition nope",
    "scontrol show node nope",
    "scontrol nosuch",
    "scontrol show",
    "scancel",
    "scancel abc",
    "scancel 99999999",
    "sacct -j 99999999 --parsable2 --format=JobID,State",
    "sacct -j 1 --format=Nope",
    "sinfo --noheader --format=%P|%a|%l|%D|%T|%N|%G|%c|%m|%f",
    "sinfo --noheader --partition=short",
    "sinfo --version",
]
"""Command lines that are refused, or show what depends on no job."""

DIRECTIVES = r"""
--comment=x#y
--comment="x#y"
--comment="a b"c # rest
--comment='a"b'
--comment='a\\b \n'
--comment="a\"b"
--comment=''
--comment "q r" --job-name='it'"'"'s'
--comment=é$X`id`;|&
--comment="open
--comment=two words
--nosuch=3
-J -x --comment=-y --time=1:30 --partition=short
""".strip().splitlines()
"""What follows ``#SBATCH``."""
