"""What a sweep would run: studies, slots, trials, search spaces. Shown by ``--dry-run``."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from harness.plugins import Catalogue
from harness.search import make_engine
from harness.space import Choice, Fixed, Parameter, override
from harness.spec import SweepSpec


def print_preview(spec: SweepSpec, catalogue: Catalogue) -> None:
    """Print a row for each study and the number of trials."""
    confirm, repeats = len(spec.confirm.seed_list(spec.search.seeds)), int(spec.confirm.repeat)
    table = Table(box=None, pad_edge=False)
    for column in ("study", "slots", "search trials", "confirm trials", "repeated", "searched"):
        table.add_column(column, overflow="fold")
    total = 0
    for dataset in spec.datasets:
        for label, entry in spec.methods.items():
            plugin = catalogue.method(entry.method, f"methods.{label}")
            space = override(plugin.cls.space, entry.hyperparameters, f"methods.{label}")
            slots = make_engine(space, spec.search, f"{label}@{dataset}").slots
            trials = slots * len(spec.search.seeds)
            total += trials + confirm + repeats
            searched = ", ".join(f"{name} {_domain(p)}" for name, p in space.items() if not isinstance(p, Fixed))
            numbers = [str(number) for number in (slots, trials, confirm, repeats)]
            table.add_row(f"{label}@{dataset}", *numbers, searched or "nothing")
    console = Console()
    console.print(table)
    console.print(f"{total} trials of at most {spec.train.epochs} epochs; nothing was started")


def _domain(parameter: Parameter) -> str:
    if isinstance(parameter, Fixed):
        return repr(parameter.default)
    if isinstance(parameter, Choice):
        return "{" + ", ".join(map(str, parameter.choices)) + "}"
    return f"[{parameter.low:g}, {parameter.high:g}]{' log' if parameter.log else ''}"
