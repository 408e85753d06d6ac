"""Stale identities: of a study whose code or settings changed since, and of trials that are not of their study."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import RequestError, one_line
from harness.core.identity import differences, trial_identity
from harness.doctor.finding import Finding
from harness.doctor.json_files import read
from harness.doctor.plugin_code import plugin_code
from harness.doctor.trial_files import AGAIN
from harness.method import Method
from harness.plugins import Plugin, builtin_folders, discover
from harness.run import study_records, sweep_records, trial_records
from harness.run.directory import RunDirectory
from harness.run.study_folder import StudyFolder, StudyName
from harness.run.trial import TrialFolder

if TYPE_CHECKING:
    from harness.spec.sections import SweepSpec

STALE = "undo the change, or run the sweep command with --stale rerun, which keeps the old study"


def examine_trials(study: StudyFolder) -> Iterator[Finding]:
    """Trials whose identity is not that of their study; a description that no trial agrees with is what is wrong."""
    found = read(study.description_path, study_records.STUDY)
    if found.fault is not None:
        return
    identity, agreeing, others = found.value["identity"], 0, []
    splits = {one["split"]: one["digest"] for one in found.value.get("replicates", ())}
    for trial in study.every_trial():
        request = read(trial.request_path, trial_records.REQUEST)
        if request.fault is not None:
            continue
        asked = request.value
        split = None
        if "split" in asked:
            split = splits.get(asked["split"])
            if split is None:
                # A replicate that was taken out of the sweep: nothing here tells what its split was.
                continue
        wanted = trial_identity(
            identity, asked["stage"], asked["hyperparameters"], asked["seed"], asked.get("schedule", ()), split
        )
        if wanted == asked["identity"]:
            agreeing += 1
        else:
            others.append(trial)
    if others and not agreeing:
        path, what = study.description_path, "no trial of the study was made as it says"
        remedy = "--fix sets it aside; the sweep command compares the trials with the present code and settings"
        yield Finding("stale", path, what, remedy, aside=(path,))
        return
    yield from (_odd(trial) for trial in others)


def _odd(trial: TrialFolder) -> Finding:
    files = (trial.result_path, trial.checkpoint_path, trial.curve_path, trial.predictions_path, trial.request_path)
    aside = tuple(path for path in files if path.exists())
    what = "its identity is not that of its study: it ran with other code, data or settings"
    return Finding("stale", trial.request_path, what, f"--fix sets it aside; {AGAIN}", aside=aside, trial=trial)


def examine_code(run: RunDirectory, imported: bool = False, plugins: Sequence[Path] = ()) -> Iterator[Finding]:
    """Studies whose code, search space or settings are not what the program and the specification are now.

    The data are not looked at; the sweep command does that.

    Args:
        run: the run directory, perhaps a stranger's.
        imported: import the plugins that the run names, and run their code; else files are compared, and of the search
            space nothing is said.
        plugins: folders of plugins to import in place of those.
    """
    from pydantic import ValidationError

    from harness.spec.sections import SweepSpec

    found = read(run.spec_path, sweep_records.SWEEP)
    if found.fault is not None:
        return
    try:
        spec = SweepSpec.model_validate(found.value)
    except ValidationError as error:
        problem = error.errors()[0]
        what = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}: it was written by another version, or edited"
        remedy = "--fix sets it aside; the sweep command writes it again"
        yield Finding("other version", run.spec_path, one_line(what), remedy, aside=(run.spec_path,))
        return
    folders = list(plugins) or [Path(folder) for folder in spec.plugins]
    if missing := next((folder for folder in folders if not folder.is_dir()), None):
        what = f"{missing}: no such plugin folder"
        yield Finding("plugins", run.spec_path, one_line(what), "put the folder back", by="user")
        return
    present = _by_import(folders) if imported or plugins else _by_files(folders)
    for study in run.studies():
        label, dataset, _ = StudyName.of(study.name)
        description = read(study.description_path, study_records.STUDY)
        if description.fault is not None or label not in spec.methods or dataset not in spec.datasets:
            continue
        try:
            now = present(spec, label, dataset)
        except RequestError as error:
            yield Finding("stale", study.path, one_line(str(error)), STALE, by="user")
            continue
        if isinstance(now, str):
            what = f"the code of {now} is in no file that says so; it was not compared"
            yield Finding("code", study.path, what, "--code imports what the run names, if you trust it", by="nobody")
            continue
        recorded = {part: value for part, value in description.value["identity"].items() if part in now}
        changed = differences(recorded, now)
        if changed:
            yield Finding("stale", study.path, "; ".join(changed), STALE, by="user")


def _by_import(folders: Sequence[Path]) -> Callable[[SweepSpec, str, str], Mapping[str, object] | str]:
    """What gives the present parts of the identity of a method on a dataset; or the plugin of which nobody can tell."""
    from harness.search import find_sampler
    from harness.spec.space_forms import method_space
    from harness.studies.planner import further_metrics, settings_identity

    catalogue = discover(folders)

    def present(spec: SweepSpec, label: str, dataset: str) -> Mapping[str, object]:
        entry = spec.methods[label]
        plugin = catalogue.find(Method, entry.method, f"methods.{label}")
        train = spec.training(dataset)
        space = method_space(plugin.cls.space, entry.hyperparameters, train, f"methods.{label}")
        sampler = find_sampler(spec.search, catalogue)
        return settings_identity(spec, train, plugin, space, sampler, further_metrics(catalogue, spec))

    return present


def _by_files(folders: Sequence[Path]) -> Callable[[SweepSpec, str, str], Mapping[str, object] | str]:
    from harness.search import Sampler, find_sampler
    from harness.studies.planner import settings_identity

    places = [*builtin_folders(), *folders]

    def sampler_of(spec: SweepSpec) -> Plugin[Sampler] | None:
        try:
            return find_sampler(spec.search)
        except RequestError:
            code = plugin_code(spec.search.sampler, folders)
            return None if code is None else Plugin(spec.search.sampler, Sampler, Path(), code)

    def present(spec: SweepSpec, label: str, dataset: str) -> Mapping[str, object] | str:
        name = spec.methods[label].method
        code, sampler = plugin_code(name, places), sampler_of(spec)
        if code is None:
            return name
        if sampler is None:
            return spec.search.sampler
        plugin: Plugin[Method] = Plugin(name, Method, Path(), code)
        known = settings_identity(spec, spec.training(dataset), plugin, {}, sampler)
        return {part: value for part, value in known.items() if part != "space"}

    return present
