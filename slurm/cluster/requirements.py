"""What a machine must have before a little cluster can start, each lack in one line."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from harness.core.errors import RequestError, one_line

PROGRAMS = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "scontrol": "slurm-client",
    "ip": "iproute2",
    "mount": "mount",
    "nsenter": "util-linux",
    "unshare": "util-linux",
}
"""Program to Debian package."""

ACCOUNTING_PROGRAMS = {
    "slurmdbd": "slurmdbd",
    "sacctmgr": "slurm-client",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
}
"""The same, needed with accounting only."""

PLUGINS = {"select_cons_tres.so": "slurm-wlm-basic-plugins"}
ACCOUNTING_PLUGINS = {"accounting_storage_mysql.so": "slurm-wlm-mysql-plugin"}

_SEARCH_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))


def program(name: str) -> str:
    """The full path of a program; system folders are searched even where the user's PATH lacks them.

    Raises:
        RequestError: it is not installed.
    """
    path = shutil.which(name, path=_SEARCH_PATH)
    if path is None:
        package = {**PROGRAMS, **ACCOUNTING_PROGRAMS}.get(name, name)
        raise RequestError(f"little cluster: no program {name}; install it: apt-get install {package}")
    return path


def missing_packages(accounting: bool) -> list[str]:
    """The Debian packages that are not installed, in alphabetical order."""
    programs = {**PROGRAMS, **(ACCOUNTING_PROGRAMS if accounting else {})}
    plugins = {**PLUGINS, **(ACCOUNTING_PLUGINS if accounting else {})}
    missing = {package for name, package in programs.items() if shutil.which(name, path=_SEARCH_PATH) is None}
    # Only Debian's own folder is known; elsewhere the daemon's log says which plugin it lacks.
    folders = list(Path("/usr/lib").glob("*/slurm-wlm"))
    if folders or missing:
        present = {file.name for folder in folders for file in folder.glob("*.so")}
        missing |= {package for name, package in plugins.items() if name not in present}
    return sorted(missing)


def obstacle(accounting: bool = True) -> str | None:
    """Why a little cluster cannot start on this machine, in one line with the remedy; None where it can."""
    packages = missing_packages(accounting)
    if packages:
        return f"not installed; apt-get install --no-install-recommends {' '.join(packages)}"
    if os.geteuid() != 0:
        return (
            "needs root, for its own network, mounts and host names (an ordinary user would have none of them: "
            "one host name for all nodes, no memory limits, open ports); give the command as root, or in a container"
        )
    if not Path("/etc/slurm").is_dir():
        return "no folder /etc/slurm to mount the cluster's configuration on; make an empty one: mkdir /etc/slurm"
    command = [program("unshare"), "--net", "--mount", "--uts", program("mount"), "-t", "tmpfs", "none", "/mnt"]
    trial = subprocess.run(command, capture_output=True, text=True, check=False)
    if trial.returncode != 0:
        reason = one_line(trial.stderr) or f"exit code {trial.returncode}"
        return f"this machine lets root make no namespaces ({reason}); in a container, give it CAP_SYS_ADMIN"
    return None


def require(accounting: bool) -> None:
    """Refuse where a little cluster cannot start.

    Raises:
        RequestError: what is missing, and the remedy.
    """
    reason = obstacle(accounting)
    if reason is not None:
        raise RequestError(f"little cluster: {reason}")
