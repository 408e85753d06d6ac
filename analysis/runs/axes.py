"""Along which axes the tasks of a run go: training sizes, networks, and domains that are tested in turn."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.run.directory import RunDirectory
from harness.run.sweep_records import TaskRecord, tested_domains


@dataclass(frozen=True, slots=True)
class Axes:
    """What differs between tasks that are otherwise alike; each mapping is empty where nothing does.

    Attributes:
        sizes: what else the tasks are → their labels → training images; all sizes of one are different.
        networks: what else the tasks are → network → label.
        domains: what else the tasks are → label → the domains that it is tested on, in words.
        other_sizes: labels of tasks of which there is one with more training images, or with as many that comes first.
    """

    sizes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    networks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    domains: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    other_sizes: frozenset[str] = frozenset()


def axes_of(runs: Sequence[RunDirectory], datasets: Sequence[str]) -> Axes:
    """The axes of some runs that are reported together.

    Args:
        runs: their directories.
        datasets: labels in the order of the report.
    """
    tasks, tested = dict[str, TaskRecord](), dict[str, str]()
    images: dict[str, int] = {}
    for run in runs:
        spec = run.spec()
        for label, entry in spec["datasets"].items():
            task = entry.get("task")
            if task is not None and label in datasets:
                tasks.setdefault(label, task)
                tested.setdefault(label, ", ".join(tested_domains(spec, label)))
        for label, card in run.cards().items():
            sides = card.get("sides")
            images[label] = sum(card["counts"]["train"]) if sides is None else sides["train"]
    ordered = [label for label in datasets if label in tasks]
    sizes, networks = dict[str, dict[str, int]](), dict[str, dict[str, str]]()
    domains: dict[str, dict[str, str]] = {}
    other_sizes: set[str] = set()
    for name, labels in _alike(ordered, tasks, ("per_class", "fraction")):
        other_sizes |= {*labels} - {max(labels, key=lambda label: images.get(label, 0))}
        # Of two sizes that come to the same images, because a class has no more, the first stands for both.
        found = {number: label for label in reversed(labels) if (number := images.get(label)) is not None}
        sizes[name] = {label: number for number, label in sorted(found.items())}
    for name, labels in _alike(ordered, tasks, ("backbone",)):
        networks[name] = {str(tasks[label]["backbone"]): label for label in labels}
    for name, labels in _alike(ordered, tasks, ("domain",)):
        domains[name] = {label: tested[label] for label in labels}
    several = {name: own for name, own in sizes.items() if len(own) > 1}
    return Axes(several, networks, domains, frozenset(other_sizes))


def _alike(
    labels: Sequence[str], tasks: Mapping[str, TaskRecord], without: Sequence[str]
) -> Iterator[tuple[str, list[str]]]:
    """The tasks that differ in some members alone, at least two of them, with the name of what they have in common."""
    found: dict[Hashable, list[str]] = {}
    for label in labels:
        common = {key: value for key, value in tasks[label].items() if key not in without}
        found.setdefault(tuple(str(common.get(key)) for key in ("dataset", *_PARTS)), []).append(label)
    for own in found.values():
        if len(own) > 1:
            yield _name(tasks[own[0]], without), own


_PARTS = ("domain", "per_class", "fraction", "backbone")


def _name(task: TaskRecord, without: Sequence[str]) -> str:
    """``brain_mri``, or ``brain_mri (100 per class, resnet50)`` where other axes are fixed."""
    domain, size, fraction = task.get("domain"), task["per_class"], task["fraction"]
    said = {
        "domain": "" if domain is None else f"tested on {', '.join(domain)}",
        "per_class": "" if size is None else "all images" if size == "all" else f"{size:,} per class",
        "fraction": "" if fraction is None else f"{100 * fraction:g} % of the images",
        "backbone": task["backbone"] or "",
    }
    fixed = [words for part, words in said.items() if words and part not in without]
    return f"{task['dataset']} ({', '.join(fixed)})" if fixed else task["dataset"]
