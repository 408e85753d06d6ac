"""What somebody needs who wants the same numbers again: versions, hashes, splits, seeds, settings.

Tables of search spaces, chosen hyperparameters and p values are in other modules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from analysis.comparison.evidence import Cell, Evidence
from analysis.contents import Facts, Section, count, number
from analysis.words.phrases import counted, listed, network_phrase, plain, seeds_phrase

_PROTOCOL = ("split", "train", "search", "confirm", "launch")
Study = tuple[Mapping[str, Any], Mapping[str, Any] | None]
"""What ``study.json`` and ``chosen.json`` hold; None while nothing is chosen."""


def appendix(
    evidence: Evidence,
    spec: Mapping[str, Any] | None,
    environment: Mapping[str, Any],
    cards: Mapping[str, Mapping[str, Any]],
    studies: Iterable[Study] = (),
) -> list[Section]:
    """The sections of the appendix for which there are facts.

    Args:
        evidence: of the comparison.
        spec: the sweep as resolved; None where there is none.
        environment: as ``harness.core.environment`` records it; may be empty.
        cards: label → card of each dataset; may be empty.
        studies: of the sweep; may be empty.
    """
    parts = {
        "Code and machine": environment_facts(environment, evidence),
        "Data and splits": data_facts(cards),
        "Seeds": seed_facts(evidence),
        "Settings": settings_facts(spec),
        "Identities": identity_facts(studies),
    }
    return [Section(f"Appendix: {title}", (), (facts,)) for title, facts in parts.items() if facts.pairs]


def environment_facts(environment: Mapping[str, Any], evidence: Evidence) -> Facts:
    """Commit, versions, machine; the devices are those that the trials name."""
    pairs = []
    if environment.get("commit"):
        changed = " with uncommitted changes" if environment.get("dirty") else ""
        pairs.append(("Commit", f"{environment['commit']}{changed}"))
    if environment.get("python"):
        pairs.append(("Python", str(environment["python"])))
    packages = environment.get("packages") or {}
    if packages:
        pairs.append(("Packages", ", ".join(f"{name} {version}" for name, version in sorted(packages.items()))))
    machine = environment.get("machine") or {}
    if machine:
        memory = f", {number(machine['memory_bytes'] / 1e9, 1)} GB" if machine.get("memory_bytes") else ""
        gpus = ", ".join(machine.get("gpus") or ()) or "no GPU"
        cores = counted(int(machine.get("cores") or 0), "core")
        pairs.append(
            ("Launched on", f"{machine.get('system')}, {machine.get('processor')}, {cores}{memory}, {gpus}"),
        )
    devices = sorted({device for cell in evidence.cells.values() for device in cell.devices})
    if devices:
        pairs.append(("Devices of the trials", ", ".join(devices)))
    return Facts(tuple(pairs))


def data_facts(cards: Mapping[str, Mapping[str, Any]]) -> Facts:
    """Fingerprint of the decoded data, and of the split with the size of its sides."""
    pairs = []
    for label, card in sorted(cards.items()):
        split = card["split"]
        sides = card.get("sides") or {side: sum(counts) for side, counts in card["counts"].items()}
        sizes = ", ".join(f"{side} {count(images)}" for side, images in sides.items())
        pairs.append(
            (
                label,
                f"{card['title']}; data {card['fingerprint']}; split {split['kind']}, seed {split['seed']}, "
                f"{split['digest']}; images: {sizes}",
            )
        )
    return Facts(tuple(pairs))


def seed_facts(evidence: Evidence) -> Facts:
    """Seeds of each dataset, methods with the same ones together, and what became of them."""
    pairs = []
    for dataset in evidence.datasets:
        said: dict[str, list[str]] = {}
        for method in evidence.methods:
            cell = evidence.cells.get((dataset, method))
            said.setdefault("not begun" if cell is None else _seeds(cell), []).append(method)
        whole = len(said) == 1 and len(evidence.methods) > 1
        parts = (f"{'all methods' if whole else listed(methods)}: {fate}" for fate, methods in said.items())
        pairs.append((dataset, "; ".join(parts)))
    return Facts(tuple(pairs))


def settings_facts(spec: Mapping[str, Any] | None) -> Facts:
    """Every setting of the sweep, defaults included."""
    if spec is None:
        return Facts(())
    methods = {
        label: network_phrase(entry["backbone"]) for label, entry in spec["methods"].items() if entry.get("backbone")
    }
    pairs = [("Backbone", network_phrase(spec["backbone"]))]
    pairs += [(f"Backbone of {label}", network) for label, network in sorted(methods.items())]
    pairs += [(part.capitalize(), plain(spec[part])) for part in _PROTOCOL if part in spec]
    return Facts(tuple(pairs))


def identity_facts(studies: Iterable[Study]) -> Facts:
    """Hash of each method's code, and the configuration that was chosen on each dataset."""
    pairs = []
    for description, chosen in studies:
        method = (description.get("identity") or {}).get("method")
        code = f", code {method['code']}" if isinstance(method, Mapping) and method.get("code") else ""
        choice = (
            f"configuration {chosen['configuration']} from slot {chosen['slot']}: {plain(chosen['hyperparameters'])}"
            if chosen is not None
            else "nothing chosen"
        )
        name = f"{description['label']} on {description['dataset']}"
        pairs.append((name, f"plugin {description['method']}{code}; {choice}"))
    return Facts(tuple(pairs))


def _seeds(cell: Cell) -> str:
    parts = [seeds_phrase(sorted(cell.seeds)) or "none done"]
    causes = sorted(cell.failures.items())
    if causes:
        parts.append(f"failed {', '.join(f'{seed} ({cause})' for seed, cause in causes)}")
    if cell.missing:
        parts.append(f"without result {seeds_phrase(cell.missing)}")
    if cell.repeats:
        parts.append(f"repeated {seeds_phrase(sorted(one.seed for one in cell.repeats))}")
    return ", ".join(parts)
