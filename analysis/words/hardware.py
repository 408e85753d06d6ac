"""On what trainings ran, how long, and with which software."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.comparison.phrases import counted, listed
from analysis.runs.conduct import Conduct
from harness.pages.contents import count, number
from harness.run.records import EnvironmentRecord, MachineRecord

_STAGES = {
    "source": "backbones trained first",
    "search": "search",
    "again": "re-evaluation",
    "confirm": "confirmation",
    "repeat": "repetitions",
    "other": "outside the comparison",
}


def hardware_sentences(conduct: Conduct) -> Iterator[str]:
    """Devices, machines and hours; what is not known is not said."""
    machines = dict.fromkeys(machine_phrase(one["machine"]) for one in conduct.environments if one["machine"])
    if conduct.devices:
        where = f", launched on {'; and on '.join(machines)}" if machines else ""
        yield f"Trials ran on {listed(list(conduct.devices))}{where}."
    if conduct.trials and conduct.seconds:
        digits = 2 if conduct.device_hours >= 1 else 4
        parts = [f"{_STAGES.get(stage, stage)} {number(own / 3600, digits)}" for stage, own in conduct.seconds.items()]
        failed = f", of which {count(conduct.failed)} failed," if conduct.failed else ""
        yield (
            f"{counted(conduct.trials, 'trial')}{failed} took {number(conduct.device_hours, digits)} device-hours in "
            f"all ({', '.join(parts)}), work that failed, was interrupted or was repeated included."
        )


def software_sentences(conduct: Conduct) -> Iterator[str]:
    """Version of the code and of the packages, one sentence for each run that was launched otherwise."""
    yield from dict.fromkeys(_software(one) for one in conduct.environments)


def machine_phrase(machine: MachineRecord) -> str:
    """What a run was launched on."""
    bytes_ = machine.get("memory_bytes")
    parts = [machine.get("system"), machine.get("processor"), machine.get("cpu")]
    parts += [counted(machine.get("cores") or 0, "core"), f"{number(bytes_ / 1e9, 1)} GB" if bytes_ else None]
    return ", ".join([*filter(None, parts), ", ".join(machine.get("gpus") or ()) or "no GPU"])


def commit_phrase(environment: EnvironmentRecord) -> str:
    """The commit of the code; empty where it is not known."""
    changed = " with uncommitted changes" if environment["dirty"] else ""
    return f"{environment['commit']}{changed}" if environment["commit"] else ""


def packages_phrase(environment: EnvironmentRecord) -> str:
    """Packages and their versions."""
    return ", ".join(f"{name} {version}" for name, version in sorted(environment["packages"].items()))


def _software(environment: EnvironmentRecord) -> str:
    commit = commit_phrase(environment)
    code = f" at commit {commit}" if commit else ""
    packages = packages_phrase(environment)
    return f"The code{code} ran under Python {environment['python']}{f' with {packages}' if packages else ''}."
