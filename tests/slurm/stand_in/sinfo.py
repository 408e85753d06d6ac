"""``sinfo``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .listing import duration, line, ranges
from .options import Option, parse
from .settings import Partition, Settings, load_settings
from .state import look

OPTIONS = {
    "Node": Option("N", value=False),
    "format": Option("o"),
    "noheader": Option("h", value=False),
    "partition": Option("p"),
}
DEFAULT = "%9P %.5a %.10l %.6D %.6t %N"
HEADER = {
    **{"P": "PARTITION", "R": "PARTITION", "a": "AVAIL", "l": "TIMELIMIT", "D": "NODES", "t": "STATE", "T": "STATE"},
    **{"N": "NODELIST", "G": "GRES", "c": "CPUS", "m": "MEMORY", "f": "AVAIL_FEATURES", "L": "DEFAULTTIME"},
}
SHORT = {"idle": "idle", "mixed": "mix"}


def sinfo(folder: Path, words: Sequence[str]) -> int:
    """List partitions with their nodes, or each node of each partition.

    Raises:
        Refused: an unknown option or field.
    """
    found, _ = parse("sinfo", OPTIONS, words)
    given = dict(found)
    settings = load_settings(folder)
    busy = {job.node for job in look(folder).jobs if job.state in ("RUNNING", "COMPLETING")}
    chosen = given["partition"].split(",") if "partition" in given else None
    form = given.get("format", "%N %T" if "Node" in given else DEFAULT)
    partitions = [partition for partition in settings.partitions if chosen is None or partition.name in chosen]
    if "noheader" not in given:
        print(line(form, HEADER))
    states = {node: "mixed" if node in busy else "idle" for node in settings.node_names}
    if "Node" in given:
        for node, state in states.items():
            for partition in partitions:
                print(line(form, _values(partition, settings, [node], state)))
        return 0
    for partition in partitions:
        # One line for each state, unless the format names nothing in which the nodes differ.
        apart = [[node for node in states if states[node] == state] for state in ("mixed", "idle")]
        groups = apart if any(field in form for field in ("T", "t", "N")) else [list(states)]
        for nodes in filter(None, groups):
            print(line(form, _values(partition, settings, nodes, states[nodes[0]])))
    return 0


def _values(partition: Partition, settings: Settings, nodes: list[str], state: str) -> dict[str, str]:
    numbers = ranges([int(node[1:]) for node in nodes])
    return {
        "P": partition.name + ("*" if partition == settings.partitions[0] else ""),
        "R": partition.name,
        "a": "up",
        "l": duration(60 * partition.max_minutes),
        "L": duration(60 * partition.default_minutes),
        "D": str(len(nodes)),
        "t": SHORT[state],
        "T": state,
        "N": nodes[0] if len(nodes) == 1 else f"n[{numbers}]",
        "G": settings.gres,
        "c": str(settings.cpus),
        "m": str(settings.memory),
        "f": ",".join(settings.features) or "(null)",
    }
