"""What a sweep would run: studies, slots, trials, search spaces."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from harness.core.console import Console
from harness.core.errors import RequestError
from harness.core.origin import one_source
from harness.data.options import with_options
from harness.data.split import kind_for
from harness.dataset import Dataset
from harness.method import Method
from harness.plugins import Catalogue
from harness.search import make_sampler
from harness.space.conditions import condition_in_words
from harness.space.parameters import Choice, Fixed, Parameter
from harness.spec.replicates import PUBLISHED, Replication
from harness.spec.sections import SweepSpec
from harness.spec.space_forms import method_space


def print_preview(spec: SweepSpec, catalogue: Catalogue) -> None:
    """Print a row for each study and the number of trials, from the sweep file alone."""
    console = Console()
    table = spaces_table(spec, catalogue)
    console.print(table)
    for line in dataset_lines(spec, catalogue):
        console.print(line, highlight=False, markup=False)
    each = len(spec.replication.seeds) + spec.confirm.repeat
    total = sum(_search_trials(spec, slots) + each for slots in _slots(spec, catalogue))
    # Counted as the plan counts, which is printed above.
    first = {source.model_dump_json(): source for _, source in spec.sources()}.values()
    epochs = max([spec.train.epochs, *(spec.train.merged(source.train).epochs for source in first)])
    backbones = f", {len(first)} of them for backbones that are trained first" if first else ""
    console.print(f"{total + len(first)} trials of at most {epochs} epochs{backbones}; nothing was started")


def dataset_lines(spec: SweepSpec, catalogue: Catalogue) -> Iterator[str]:
    """Where the images of each dataset come from and how it is divided, and which labels count once."""
    sources: dict[str, list[str]] = {}
    for label, entry in {spec.in_file(label): entry for label, entry in spec.datasets.items()}.items():
        plugin = catalogue.find(Dataset, entry.dataset, f"datasets.{label}")
        dataset = with_options(plugin.cls, entry.options, lambda *_, label=label: f"datasets.{label}")
        kind = "domain" if entry.domain else kind_for(spec.split.kind, dataset)
        why = "" if spec.split.kind else ", its publisher's, which is by patient" if kind == "official" else ""
        near = (
            "; near-duplicates stay where the publisher put them"
            if kind == "official" and spec.split.near_duplicates
            else ""
        )
        replication = spec.replication.with_kind(kind)
        if kind == "official" and replication.splits:
            raise RequestError(f"datasets.{label}: {PUBLISHED}")
        yield f"{label}: source {dataset.source}; {_splits(replication, kind)}{why}{near}"
        sources.setdefault(dataset.source, []).append(label)
    for source, labels in sources.items():
        if len(labels) > 1:
            yield one_source(labels, source, [spec.in_file(label) for label in labels])


def _splits(replication: Replication, kind: str) -> str:
    """How many splits of a kind the replicates take in turn."""
    count = max(1, len(replication.splits))
    if replication.split.folds is not None and count > 1:
        return f"{count} {kind} folds"
    return f"{count} {kind} splits" if count > 1 else f"{kind} split"


def spaces_table(spec: SweepSpec, catalogue: Catalogue) -> Table:
    """A row for each method on each dataset: its trials by stage, and what is searched."""
    confirm, repeats = len(spec.replication.seeds), int(spec.confirm.repeat)
    table = Table(box=None, pad_edge=False)
    table.add_column("study", overflow="fold")
    for column in ("slots", "search", "confirm", "again"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("searched", overflow="fold")
    slots = iter(_slots(spec, catalogue))
    for dataset in spec.datasets:
        for label in spec.methods:
            space = _space(spec, catalogue, label)
            searched = ", ".join(f"{name} {_domain(p)}" for name, p in space.items() if not isinstance(p, Fixed))
            number = next(slots)
            trials = (number, _search_trials(spec, number), confirm, repeats)
            leader = spec.tuned_as(dataset)
            searched = searched if leader is None else f"nothing: as chosen for {label}@{leader}"
            table.add_row(f"{label}@{dataset}", *map(str, trials), searched or "nothing")
    return table


def _search_trials(spec: SweepSpec, slots: int) -> int:
    """Trials of all searches of a method on a dataset, those of the best slots on a further seed included."""
    again = 0 if spec.search.further_seed is None else min(spec.search.top, slots)
    return spec.replication.searches * (slots * len(spec.search.seeds) + again)


def _slots(spec: SweepSpec, catalogue: Catalogue) -> list[int]:
    return [
        0
        if spec.tuned_as(dataset)
        else make_sampler(_space(spec, catalogue, label), spec.search, f"{label}@{dataset}", catalogue=catalogue).slots
        for dataset in spec.datasets
        for label in spec.methods
    ]


def _space(spec: SweepSpec, catalogue: Catalogue, label: str) -> dict[str, Parameter]:
    entry = spec.methods[label]
    plugin = catalogue.find(Method, entry.method, f"methods.{label}")
    return method_space(plugin.cls.space, entry.hyperparameters, spec.train, f"methods.{label}")


def _domain(parameter: Parameter) -> str:
    if isinstance(parameter, Fixed):
        return repr(parameter.default)
    if isinstance(parameter, Choice):
        domain = "{" + ", ".join(map(str, parameter.choices)) + "}"
    else:
        domain = f"[{parameter.low:g}, {parameter.high:g}]{' log' if parameter.log else ''}"
    return domain + condition_in_words(parameter)
