"""From sbatch's options to a request, or to Slurm's refusal."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from pathlib import Path

from .options import Option, minutes
from .refusals import Refused, not_submitted
from .settings import Settings
from .state import Request

_VALUES = (
    *("account:A", "array:a", "chdir:D", "comment", "constraint:C", "cpus-per-gpu", "cpus-per-task:c", "dependency:d"),
    *("error:e", "exclude:x", "export", "gpus-per-node", "gres", "job-name:J", "mail-type", "mail-user", "mem"),
    *("mem-per-cpu", "mem-per-gpu", "nodelist:w", "nodes:N", "ntasks:n", "ntasks-per-node", "open-mode", "output:o"),
    *("partition:p", "qos:q", "signal", "time:t", "wckey", "wrap"),
)
OPTIONS = {
    **{text.partition(":")[0]: Option(text.partition(":")[2]) for text in _VALUES},
    **{name: Option(value=False) for name in ("no-requeue", "parsable", "requeue")},
}

INVALID_CODE = 255


def read_request(
    given: Mapping[str, str], settings: Settings, *, command: str | None, arguments: list[str], spool: Path
) -> Request:
    """What a job asks for.

    Args:
        given: options by their long names.
        settings: of the cluster.
        command: the script's path; None without one.
        arguments: those of the script.
        spool: where the script's copy will lie.

    Raises:
        Refused: in Slurm's words.
    """
    number, seconds, shell = _signal(given)
    partition = settings.partition(given.get("partition", settings.partitions[0].name))
    limit = partition.default_minutes if partition else 0
    if "time" in given:
        asked = minutes(given["time"])
        if asked is None:
            raise _invalid("time")
        limit = asked
    _check_memory(given, settings)
    cpus = _count(given, "cpus-per-task") or 1
    tasks = _count(given, "ntasks") or _count(given, "ntasks-per-node")
    if given.get("open-mode", "append")[:1] not in ("a", "t"):
        raise _invalid("open-mode")
    if partition is None:
        raise not_submitted("Invalid partition name specified", f"invalid partition specified: {given['partition']}")
    if not 0 < limit <= partition.max_minutes:
        raise not_submitted("Requested time limit is invalid (missing or exceeds some limit)")
    if cpus * (tasks or 1) > settings.cpus:
        raise not_submitted("More processors requested than permitted")
    indices, throttle = array_indices(given.get("array", ""), settings.max_array_size)
    output = given.get("output") or ("slurm-%A_%a.out" if indices else "slurm-%j.out")
    return Request(
        name=given.get("job-name", "wrap" if "wrap" in given else Path(command or "sbatch").name),
        comment=given.get("comment"),
        partition=partition.name,
        account=_known(given, "account", settings.accounts, "account or account/partition combination specified"),
        qos=_known(given, "qos", settings.qos, "qos specification"),
        folder=str(Path(given.get("chdir", ".")).absolute()),
        output=output,
        error=given.get("error") or output,
        append=given.get("open-mode", "t").startswith("a"),
        minutes=limit,
        signal=number,
        signal_seconds=seconds,
        signal_shell=shell,
        requeue="no-requeue" not in given,
        after=_dependencies(given.get("dependency", "")),
        gpus=_gpus(given, settings),
        cpus=cpus,
        tasks=tasks,
        excluded=_nodes(given.get("exclude", ""), settings, given.get("constraint", "")),
        throttle=throttle,
        indices=indices,
        command=command,
        arguments=arguments,
        spool=str(spool),
    )


def array_indices(text: str, max_array_size: int) -> tuple[list[int], int | None]:
    """Indices and how many may run at a time (``0-9%3``, ``1,4-6``, ``0-8:2``); none for an empty text.

    Raises:
        Refused: it is malformed, or an index is too large.
    """
    if not text:
        return [], None
    listed, percent, most = text.partition("%")
    indices: set[int] = set()
    for part in listed.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        first, last, step = (int(group or 0) for group in match.groups()) if match else (1, 0, 0)
        if match and match[2] is None:
            last = first
        indices |= set(range(first, last + 1, step or 1))
        if first > last or last >= max_array_size:
            raise not_submitted("Invalid job array specification")
    if percent and not most.isdecimal():
        raise not_submitted("Invalid job array specification")
    return sorted(indices), int(most) or None if percent else None


def signal_number(text: str) -> int | None:
    """The number of a signal's name, with or without SIG, or of its number; None for no signal."""
    if text.isdecimal():
        return int(text) if 0 < int(text) < signal.NSIG else None
    name = text.upper()
    try:
        return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"].value
    except KeyError:
        return None


def _signal(given: Mapping[str, str]) -> tuple[int | None, int, bool]:
    if "signal" not in given:
        return None, 0, False
    match = re.fullmatch(r"(?:([BR]+):)?(\w+)(?:@(\d{1,5}))?", given["signal"])
    number = signal_number(match[2]) if match else None
    if match is None or number is None or int(match[3] or 0) > 65535:
        raise _invalid("signal")
    return number, int(match[3] or 60), "B" in (match[1] or "")


def _gpus(given: Mapping[str, str], settings: Settings) -> int:
    text = given.get("gpus-per-node")
    if "gres" in given:
        kind, _, text = given["gres"].partition(":")
        if kind != "gpu":
            raise Refused("sbatch: error: Invalid generic resource (gres) specification")
    *kinds, number = (text if text is not None else "0").split(":")
    if not number.isdecimal():
        kinds, number = [*kinds, number], "1"
    if int(number) > settings.gpus or any(kind and kind != settings.gpu_type for kind in kinds):
        raise not_submitted("Requested node configuration is not available")
    return int(number)


def _check_memory(given: Mapping[str, str], settings: Settings) -> None:
    for name in ("mem", "mem-per-cpu", "mem-per-gpu"):
        match = re.fullmatch(r"(\d+)([KMGT]?)B?", given.get(name, "0"), re.IGNORECASE)
        if match is None:
            raise _invalid(name)
        mebibytes = int(match[1]) * {"K": 1 / 1024, "": 1, "M": 1, "G": 1024, "T": 1024**2}[match[2].upper()]
        if mebibytes > settings.memory:
            words = "Memory specification can not be satisfied"
            raise not_submitted("Requested node configuration is not available", words)


def _count(given: Mapping[str, str], name: str) -> int | None:
    if name not in given:
        return None
    if not given[name].isdecimal() or int(given[name]) == 0:
        raise Refused(f'sbatch: error: Invalid numeric value "{given[name]}" for --{name}.')
    return int(given[name])


def _known(given: Mapping[str, str], option: str, known: tuple[str, ...], words: str) -> str:
    value = given.get(option, known[0])
    if value not in known:
        raise not_submitted(f"Invalid {words}")
    return value


def _nodes(excluded: str, settings: Settings, constraint: str) -> list[str]:
    if any(feature not in settings.features for feature in re.split(r"[&|,]", constraint) if feature):
        raise not_submitted("Invalid feature specification")
    names = [name for name in excluded.split(",") if name]
    if not set(names) <= set(settings.node_names):
        raise not_submitted("Invalid node name specified")
    if set(names) == set(settings.node_names):
        raise not_submitted("Requested node configuration is not available")
    return names


def _dependencies(text: str) -> list[int]:
    if not text:
        return []
    match = re.fullmatch(r"afterany((?::\d+)+)", text)
    if match is None:
        # Of the other kinds, those that Slurm knows are refused too: the stand-in has afterany alone.
        raise not_submitted("Job dependency problem")
    return [int(number) for number in match[1].split(":")[1:]]


def _invalid(option: str) -> Refused:
    return Refused(f"sbatch: error: Invalid --{option} specification", code=INVALID_CODE)
