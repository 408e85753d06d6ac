"""The studies of a run that was trained before, for commands that use its kept models and train nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from harness.core.errors import RequestError
from harness.core.identity import differences
from harness.plugins import Catalogue, discover
from harness.run.code import plugin_folders
from harness.run.directory import RunDirectory
from harness.spec.sections import SweepSpec
from harness.studies.loading import check_evaluations
from harness.studies.planner import Planner
from harness.studies.study import Roots, Study


def catalogue_of(run: RunDirectory, spec: SweepSpec, trusted: bool, plugins: Sequence[Path]) -> Catalogue:
    """The plugins that a run, perhaps a stranger's, needs.

    Args:
        run: the run directory.
        spec: its specification.
        trusted: whether the plugins that the run names may be imported.
        plugins: folders whose plugins are imported in their place.

    Raises:
        RequestError: the run names plugins that nobody trusts, or a folder of them is missing.
    """
    if spec.plugins and not (trusted or plugins):
        raise RequestError(
            f"{run.path}: names plugins in {', '.join(spec.plugins)}, whose code would run here; "
            "add --code if you trust them, or --plugins DIR to use others"
        )
    return discover(list(plugins) or plugin_folders(spec.plugins))


def reopened(
    run: RunDirectory,
    spec: SweepSpec,
    roots: Roots,
    trusted: bool,
    plugins: Sequence[Path],
    datasets: Collection[str] | None = None,
) -> list[Study]:
    """The studies of a run, which have to be as they were when they were trained. Nothing is written into the run.

    Args:
        run: the run directory.
        spec: its specification, perhaps with further evaluations.
        roots: where images are on this machine.
        trusted: whether the plugins that the run names may be imported.
        plugins: folders whose plugins are imported in their place.
        datasets: the only ones to open, by label; None for all.

    Raises:
        RequestError: the run names plugins that nobody trusts, a dataset is not here, or something has changed.
    """
    catalogue = catalogue_of(run, spec, trusted, plugins)
    check_evaluations(spec, catalogue, lambda *keys: ".".join(map(str, keys)))
    studies = Planner(spec, catalogue, run, roots).studies(datasets)
    for study in studies:
        changed = differences(study.folder.description()["identity"], study.identity) if study.folder.exists else []
        if changed:
            raise RequestError(
                f"{study.name}: {changed[0]} since it was trained; undo the change, or use --code of its run"
            )
    return studies
