"""Run directories whose confirm trials were scored beside the test split; every number is made up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from harness.core.files import write_json
from harness.metrics.table import evaluate, general
from harness.run.directory import RunDirectory
from harness.run.study_folder import StudyFolder

LEVELS = {"control": 1.2, "gpaf": 1.9, "lora_c": 1.25}
SEEDS = tuple(range(1000, 1006))
SETS = ("gaussian_noise", "defocus_blur", "contrast")
SEVERITIES = (1, 3, 5)


def logits(
    level: float, seed: int, name: str, cases: int, fall: float = 0.0, kind: str = "", classes: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Shape (cases, classes), and labels: the same hard cases for all, more or less damaged."""
    labels = np.arange(cases) % classes
    hard = np.random.default_rng([7, cases]).normal(size=(cases, classes))
    own = np.random.default_rng([seed, *name.encode()])
    values = hard + 0.6 * own.normal(size=(cases, classes)) + 0.1 * own.normal()
    if kind:
        values = values + 0.5 * np.random.default_rng([3, *kind.encode()]).normal(size=(cases, classes))
        values = values + 0.3 * np.random.default_rng([seed, *name.encode(), *kind.encode()]).normal(size=values.shape)
    values[np.arange(cases), labels] += level - fall
    return values, labels


def frame(values: np.ndarray, labels: np.ndarray, set_name: str, severity: int, prefix: str = "case") -> pl.DataFrame:
    columns: dict[str, Any] = {
        "set": [set_name] * len(labels),
        "severity": np.full(len(labels), severity, dtype=np.int64),
        "case_id": [f"{prefix} {case:03d}" for case in range(len(labels))],
        "group": [f"{prefix} patient {case:03d}" for case in range(len(labels))],
        "label": labels,
    }
    return pl.DataFrame(columns | {f"logit_{k}": one for k, one in enumerate(values.T)})


def record(
    evaluation: str,
    kind: str,
    set_name: str,
    severity: int,
    values: np.ndarray,
    labels: np.ndarray,
    fingerprint: str = "f00d",
) -> dict[str, Any]:
    found = evaluate(values, labels)
    left_out = {"no class of the same name: odd": 3} if kind == "dataset" else {}
    return {
        "evaluation": evaluation, "kind": kind, "set": set_name, "severity": severity, "reference": "test",
        "cases": len(labels), "scores": {name: found[name] for name in general()}, "left_out": left_out,
        "fingerprint": fingerprint,
    }  # fmt: skip


def write_shifted(
    builder: Callable[..., Any],
    *,
    levels: Mapping[str, float] = LEVELS,
    datasets: Sequence[str] = ("alpha",),
    seeds: Sequence[int] = SEEDS,
    cases: int = 240,
    evaluations: Sequence[str] = ("corruptions", "elsewhere"),
    domain: Sequence[str] = (),
    splits: int = 1,
    name: str = "run",
    withhold: Callable[[str, int, str], bool] = lambda method, seed, evaluation: False,
    fingerprint: Callable[[str, int], str] = lambda method, seed: "f00d",
    copies: Callable[[int], int] = lambda split: 0,
    only: Sequence[int] = (0, 1, 2),
) -> RunDirectory:
    """A run in which ``corruptions`` are damaged test images and ``elsewhere`` is an external dataset.

    Args:
        withhold: (method, seed, evaluation) → whether its predictions are missing.
        fingerprint: (method, seed) → of the images that it was scored on.
        copies: split → how many of the last images of ``elsewhere`` are trained on there, so that they are left out.
        only: the classes that ``elsewhere`` has.
    """
    made = builder(list(levels), list(datasets), "balanced_accuracy", name)
    spec = dict(made.run.spec())
    if evaluations:
        spec["evaluate"] = [{"name": own, "kind": "dataset" if own == "elsewhere" else own} for own in evaluations]
    if domain:
        spec["split"] = {"kind": "domain", "seed": 0, "by": "site", "test": [list(domain)]}
    if splits > 1:
        spec["split"] = {**spec["split"], "seeds": list(range(splits))}
    write_json(made.run.path / "spec.json", spec)
    for dataset in datasets:
        made.card(dataset)
        _card(made.run, dataset, domain)
        for method, level in levels.items():
            study: StudyFolder = made.study(method, dataset, seeds=seeds)
            if splits > 1:
                _replicates(study, seeds, splits)
            made.searched(study, [0.8, 0.84, 0.82])
            made.choose(study, 1, 0.84)
            for place, seed in enumerate(seeds):
                folder = study.confirm_trial("c0ffee", seed, place % splits if splits > 1 else None)
                folder.create()
                test = logits(level, seed, method + dataset, cases)
                own: list[dict[str, Any]] = []
                for evaluation in evaluations:
                    found = list(_sets(evaluation, level, seed, method + dataset, cases))
                    if evaluation == "elsewhere":
                        kept = 180 - copies(place % splits)
                        found = [(what, _of_classes(one, only, kept), prefix) for what, one, prefix in found]
                    own += [record(*one[0], *one[1], fingerprint(method, seed)) for one in found]
                    if not withhold(method, seed, evaluation):
                        folder.write_evaluation(
                            evaluation, pl.concat([frame(*one[1], *one[0][2:4], one[2]) for one in found])
                        )
                made.extra = {"evaluations": own}
                if domain:
                    inner = logits(level + 0.6, seed, method + dataset, 150)
                    own.append(record("in_distribution", "domain", "in_distribution", 0, *inner))
                    folder.write_evaluation("in_distribution", frame(*inner, "in_distribution", 0, "inner"))
                    made.extra = {"evaluations": own, "test_reference": "in_distribution"}
                made.predicted(folder, seed, *test)
            made.extra = {}
    run: RunDirectory = made.run
    return run


def _of_classes(
    predicted: tuple[np.ndarray, np.ndarray], classes: Sequence[int], most: int
) -> tuple[np.ndarray, np.ndarray]:
    values, labels = (one[:most] for one in predicted)
    kept = np.isin(labels, classes)
    return values[kept], labels[kept]


def _sets(evaluation: str, level: float, seed: int, name: str, cases: int):  # type: ignore[no-untyped-def]
    if evaluation == "corruptions":
        for kind in SETS:
            for severity in SEVERITIES:
                values = logits(level, seed, name, cases, 0.15 * severity, f"{kind} {severity}")
                yield ("corruptions", "corruptions", kind, severity), values, "case"
    else:
        values = logits(level, seed, name, 180, 0.5, "elsewhere")
        yield ("elsewhere", "dataset", "elsewhere", 0), values, "other"


def _card(run: RunDirectory, dataset: str, domain: Sequence[str]) -> None:
    card = dict(run.cards()[dataset])
    card["classes"] = ["nevus", "melanoma", "keratosis"]
    card["counts"] = {"train": [120, 60, 60], "val": [32, 16, 16], "test": [80, 80, 80]}
    card["sides"] = {"train": 240, "val": 64, "test": 240}
    card["images"] = 544
    if domain:
        card["split"] = {**card["split"], "kind": "domain", "in_distribution": 150}
    write_json(run.path / "cards" / f"{dataset}.json", card)


def _replicates(study: StudyFolder, seeds: Sequence[int], splits: int) -> None:
    description = dict(study.description())
    description["replicates"] = [
        {"seed": seed, "split": place % splits, "digest": f"split {place % splits}"} for place, seed in enumerate(seeds)
    ]
    description["overlap"] = 0.31
    study.describe(description)  # type: ignore[arg-type]


def with_subgroups(run: RunDirectory, columns: dict[str, Callable[[int], str | None]]) -> RunDirectory:
    """The same with metadata of its cases: column → value by case."""
    spec = dict(run.spec())
    entry = {"name": "subgroups", "kind": "subgroups", "options": {"subgroups": list(columns)}}
    write_json(run.path / "spec.json", {**spec, "evaluate": [*spec.get("evaluate", []), entry]})
    names = [f"case {case:03d}" for case in range(240)]
    for dataset in spec["datasets"]:
        made = {name: [value(case) for case in range(240)] for name, value in columns.items()}
        run.write_cases(dataset, pl.DataFrame({"case_id": names, "group": names, **made}))
    return run
