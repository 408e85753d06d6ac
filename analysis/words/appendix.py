"""What somebody needs who wants the same numbers again: versions, hashes, splits, seeds, settings.

Tables of search spaces, chosen hyperparameters and p values are in other modules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, TypeAlias

from analysis.comparison.draws import cells_on, splits_of
from analysis.comparison.evidence import Cell, Evidence
from analysis.comparison.phrases import listed, network_phrase, plain, seeds_phrase
from analysis.words.hardware import commit_phrase, machine_phrase, packages_phrase
from harness.pages.contents import Facts, PageSection, count
from harness.run.data_records import Card
from harness.run.record_values import SplitSide
from harness.run.records import EnvironmentRecord
from harness.run.study_records import ChoiceRecord, StudyRecord
from harness.run.sweep_records import SweepRecord

_SIDES: tuple[SplitSide, ...] = ("train", "val", "test")
_Part: TypeAlias = Literal["split", "train", "search", "confirm", "launch"]
_PROTOCOL: tuple[_Part, ...] = ("split", "train", "search", "confirm", "launch")
Study = tuple[StudyRecord, ChoiceRecord | None]
"""What ``study.json`` and ``chosen.json`` hold; None while nothing is chosen."""


def appendix(
    evidence: Evidence,
    spec: SweepRecord | None,
    environment: EnvironmentRecord | None,
    cards: Mapping[str, Card],
    studies: Iterable[Study] = (),
) -> list[PageSection]:
    """The sections of the appendix for which there are facts.

    Args:
        evidence: of the comparison.
        spec: the sweep as resolved; None where there is none.
        environment: as ``harness.core.environment`` records it; None where it is not known.
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
    return [PageSection(title, (), (facts,)) for title, facts in parts.items() if facts.pairs]


def environment_facts(environment: EnvironmentRecord | None, evidence: Evidence) -> Facts:
    """Commit, versions, machine; the devices are those that the trials name."""
    pairs = [] if environment is None else list(_recorded(environment))
    devices = sorted({device for cell in evidence.cells.values() for device in cell.devices})
    if devices:
        pairs.append(("Devices of the trials", ", ".join(devices)))
    return Facts(tuple(pairs))


def _recorded(environment: EnvironmentRecord) -> Iterator[tuple[str, str]]:
    if commit := commit_phrase(environment):
        yield "Commit", commit
    yield "Python", environment["python"]
    if packages := packages_phrase(environment):
        yield "Packages", packages
    if environment["machine"]:
        yield "Launched on", machine_phrase(environment["machine"])


def data_facts(cards: Mapping[str, Card]) -> Facts:
    """Fingerprint of the decoded data, and of the split with the size of its sides."""
    pairs = []
    for label, card in sorted(cards.items()):
        split = card["split"]
        counted_in = {side: card["sides"][side] if "sides" in card else sum(card["counts"][side]) for side in _SIDES}
        sizes = ", ".join(f"{side} {count(images)}" for side, images in counted_in.items())
        pairs.append(
            (
                label,
                f"{card['title']}; data {card['fingerprint']}; split {split['kind']}, seed {split['seed']}, "
                f"{split['digest']}; images: {sizes}",
            )
        )
    return Facts(tuple(pairs))


def seed_facts(evidence: Evidence) -> Facts:
    """Seeds of each dataset, methods with the same ones together, and what became of them; the splits of seeds where
    there are several.
    """
    pairs = []
    for dataset in evidence.datasets:
        said: dict[str, list[str]] = {}
        for method in evidence.methods:
            cell = evidence.cells.get((dataset, method))
            said.setdefault("not begun" if cell is None else _seeds(cell), []).append(method)
        whole = len(said) == 1 and len(evidence.methods) > 1
        parts = (f"{'all methods' if whole else listed(methods)}: {fate}" for fate, methods in said.items())
        pairs.append((dataset, "; ".join((*parts, *_splits(cells_on(evidence, dataset))))))
    return Facts(tuple(pairs))


def _splits(cells: Mapping[str, Cell]) -> Iterator[str]:
    for split in splits_of(cells):
        seeds = {seed for cell in cells.values() for seed, own in cell.splits.items() if own == split}
        yield f"split {split}: {seeds_phrase(sorted(seeds))}"


def settings_facts(spec: SweepRecord | None) -> Facts:
    """Every setting of the sweep, defaults included."""
    if spec is None:
        return Facts(())
    methods = {
        label: network_phrase(own)
        for label, entry in spec["methods"].items()
        if (own := entry.get("backbone")) is not None
    }
    pairs = [("Backbone", network_phrase(spec["backbone"]))]
    pairs += [(f"Backbone of {label}", network) for label, network in sorted(methods.items())]
    said = {part: spec[part] for part in _PROTOCOL if part in spec}
    if "split" in said and spec["split"].get("kind") is None:
        said["split"] = {**spec["split"], "kind": "official where the publisher split by patient or else grouped"}
    pairs += [(part.capitalize(), plain(value)) for part, value in said.items()]
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
