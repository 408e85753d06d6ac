"""Bring a run directory and a sweep file together: what is new, what goes on, what is stale, what is damaged."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from harness.core.console import Console
from harness.core.errors import RequestError
from harness.core.files import TornFileError, encode_json, read_with_status
from harness.core.identity import differences
from harness.core.lease import Lease, LeaseRecord, hold
from harness.core.many_files import each
from harness.data.decoding_bar import DecodingBar
from harness.data.metadata import case_table
from harness.data.pictures import sample_grid
from harness.doctor import fixing
from harness.doctor.examination import damage, new_damage
from harness.doctor.finding import Finding
from harness.networks.backbones import build_model, loaded_state
from harness.pages.overlaps import overlap_notes, overlap_warnings
from harness.plugins import Catalogue
from harness.run.directory import RunDirectory
from harness.run.index import ResultIndex
from harness.run.study_folder import StudyFolder
from harness.run.trial import TrialFolder
from harness.spec.sections import SweepSpec
from harness.studies.declaration import declaration, declare
from harness.studies.overlaps import find_overlaps
from harness.studies.planner import Planner
from harness.studies.study import Roots, Study
from harness.train.checkpoint import DamagedCheckpointError


def plan_run(
    run: RunDirectory,
    spec: SweepSpec,
    catalogue: Catalogue,
    roots: Roots,
    console: Console,
    rerun_stale: bool,
    repair: bool,
    retry_failed: bool = False,
    index: ResultIndex | None = None,
) -> list[Study]:
    """Prepare the data, and record the specification and its studies in the run directory.

    Args:
        rerun_stale: set studies aside whose identity changed, instead of stopping.
        repair: set damaged files aside, instead of stopping.
        retry_failed: set studies aside of which every trial failed.
        index: of the run's results, if it was read before.

    Raises:
        RequestError: stale studies, damaged files, a budget below what already ran, data that do not fit, a backbone
            that sees tested images, or workers that still run a study that is to be set aside.
    """
    index = index or ResultIndex(run)
    with DecodingBar(console) as bar:
        planner = Planner(spec, catalogue, run, roots, bar.update)
        studies = planner.studies()
        overlaps = find_overlaps(spec, studies, roots.cache, bar.update)
    for line in overlap_notes(overlaps):
        _print(console, f"note: {line}")
    for line in overlap_warnings(overlaps):
        _print(console, f"warning: {line}")
    with console.status("loading pretrained weights"):
        _load_weights(studies, console)
    with hold(run.lock_folder) as lock, _Change(run, lock) as change:
        if repair:
            change.begin()
        fix(run, repair, console, index)
        failed = _all_failed(run) if retry_failed else []
        stale = _stale(studies, {folder.name for folder in failed})
        if not rerun_stale:
            _refuse_stale(run, stale, console)
        _check_budget(studies, {folder.name for folder in (*failed, *stale)})
        if failed or stale or _is_new(run, spec, studies):
            change.begin()
        reasons = {folder.path: "failed" for folder in failed} | {folder.path: "stale" for folder in stale}
        _refuse_living(run, [*failed, *stale])
        for folder in (*failed, *stale):
            index.forget(folder)
            change.makes_it()
            _print(console, f"set aside as {reasons[folder.path]}: {run.set_study_aside(folder)}")
        change.makes_it()
        # Of several searches of a dataset the first one's split is the dataset's.
        for prepared in {study.dataset.label: study.dataset for study in reversed(studies)}.values():
            run.write_split(prepared.label, prepared.split.to_json())
            for name, split in prepared.others.items():
                run.write_split(prepared.label, split.to_json(), name)
            if len(prepared.data.metadata.columns):
                run.write_cases(prepared.label, case_table(prepared.data))
            run.write_card(prepared.label, planner.card(prepared), sample_grid(prepared.data, prepared.split))
        run.write_overlaps(overlaps)
        for study in studies:
            if study.prior is not None:
                study.folder.write_prior(study.prior.to_json())
            study.folder.describe(study.description())
        declare(run, declaration(spec, studies))
        run.write_spec(spec.model_dump(mode="json"))
    _name_leftovers(run, studies, console)
    return studies


def _load_weights(studies: Sequence[Study], console: Console) -> None:
    """Download weights that are not there yet: once and here, so that workers find them."""
    # A network that this run trains first does not exist yet.
    starts = {(study.backbone, study.weights, study.normalisation) for study in studies if not study.source}
    for name, weights, normalisation in sorted(starts, key=str):
        build_model(name, weights, 2, 0, normalisation)
        loaded = None if weights is None else loaded_state(name, weights)[1]
        if loaded is not None and loaded.reading is not None:
            _print(console, f"weights: {loaded.summary()}")


def fix(run: RunDirectory, repair: bool, console: Console, index: ResultIndex) -> None:
    """Look for damaged files; set them aside with ``repair``, as ``harness.doctor`` does.

    Args:
        run: the run directory.
        repair: read everything, and set aside what is damaged.
        console: told what was set aside.
        index: of the run's results; without ``repair`` it tells what need not be read again, and learns what was.

    Raises:
        TornFileError: a file is damaged and ``repair`` is off, or a living worker has its trial.
    """
    left: Iterable[Finding] = new_damage(run, index)
    if repair:
        left = fixing.fix(run, damage(run), lambda line: _print(console, line))
    for finding in left:
        raise DamagedCheckpointError(finding.place) if finding.place.suffix == ".pt" else TornFileError(finding.place)
    index.save()


class _Change:
    """A change of what workers follow: withdrawn while it is made, and published, or taken back where nothing was done.

    A process that dies meanwhile leaves a plan that nobody follows; the next sweep command makes the change.

    Args:
        run: the run directory.
        lock: the lease of its lock, which another process has taken over if this one slept for too long.
    """

    def __init__(self, run: RunDirectory, lock: Lease) -> None:
        self._run, self._lock, self._begun, self._made = run, lock, False, False

    def __enter__(self) -> _Change:
        return self

    def begin(self) -> None:
        """From here on workers keep no trial that they claim."""
        self._check()
        if not self._begun:
            self._run.withdraw_plan()
            self._begun = True

    def makes_it(self) -> None:
        """From here on something is changed."""
        self._check()
        self._made = True

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self._begun or not self._lock.held:
            return
        if kind is None:
            self._run.publish_plan()
        elif not self._made:
            self._run.restore_plan()

    def _check(self) -> None:
        if not self._lock.held:
            raise RequestError(
                f"{self._run.path}: another process has planned this run while this one slept; "
                "run the same command again"
            )


def _is_new(run: RunDirectory, spec: SweepSpec, studies: Sequence[Study]) -> bool:
    """Whether workers would follow something else than now."""
    plan = run.plan()
    if plan is None or plan.changing:
        return True
    wanted: dict[Path, object] = {run.spec_path: spec.model_dump(mode="json")}
    wanted |= {study.folder.description_path: study.description() for study in studies}
    return any(not path.exists() or read_with_status(path)[1] != encode_json(value) for path, value in wanted.items())


def _stale(studies: Sequence[Study], without: Collection[str]) -> dict[StudyFolder, list[str]]:
    """What has changed in each study that is not what it was planned as; those ``without`` are set aside anyway."""
    found = {}
    for study in studies:
        if study.name in without:
            continue
        if study.folder.exists:
            changed = differences(study.folder.description()["identity"], study.identity)
        else:
            changed = _undescribed(study)
        if changed:
            found[study.folder] = changed
    return found


def _refuse_stale(run: RunDirectory, stale: Mapping[StudyFolder, list[str]], console: Console) -> None:
    if not stale:
        return
    for folder, changed in stale.items():
        _print(console, f"stale: {folder.name}: {'; '.join(changed)}")
    raise RequestError(
        f"{run.path}: {len(stale)} stale {'study' if len(stale) == 1 else 'studies'} (listed above); "
        "undo the change, use another --run-dir, or run them again with --stale rerun (the old ones are kept)"
    )


def _refuse_living(run: RunDirectory, folders: Sequence[StudyFolder]) -> None:
    """Raise RequestError where a living worker has a trial of one of these studies, or the backbone that it needs."""
    trials = [(folder, trial) for folder in folders for trial in (*_source_of(run, folder), *folder.every_trial())]
    leases = each(lambda pair: None if pair[1].finished else pair[1].lease(), trials)
    living = [(folder, view) for (folder, _), view in zip(trials, leases, strict=True) if view and not view.dead]
    if not living:
        return
    owners = list(dict.fromkeys(_owner(view.content) for _, view in living))
    shown = ", ".join(owners[:3]) + (f" and {len(owners) - 3} more" if len(owners) > 3 else "")
    jobs = any("slurm_job" in view.content for _, view in living)
    end = "the same command with --cancel" if jobs else "Ctrl-C in the terminal of their sweep, or kill those processes"
    raise RequestError(
        f"{run.path}: {living[0][0].name} cannot be set aside while {len(living)} of its trials "
        f"{'run' if len(living) > 1 else 'runs'} ({shown}); end them first ({end}), then run the same command again"
    )


def _source_of(run: RunDirectory, folder: StudyFolder) -> list[TrialFolder]:
    """The backbone that the run trains first for a study; none where it trains none, or the description is lost."""
    weights = folder.description()["backbone"]["weights"] if folder.exists else None
    return [run.source(weights["source"][:16])] if isinstance(weights, Mapping) else []


def _owner(lease: LeaseRecord) -> str:
    job = lease.get("slurm_job")
    return f"process {lease.get('pid', '?')} on {lease.get('hostname', '?')}" + (f", job {job}" if job else "")


def _all_failed(run: RunDirectory) -> list[StudyFolder]:
    """Studies of which every finished trial has failed.

    Single trials are not run again: later asks were conditioned on their failure.
    """
    found = []
    for folder in run.studies():
        finished = [trial for trial in folder.trials("search") if trial.finished]
        if finished and all(trial.result()["status"] == "failed" for trial in finished):
            found.append(folder)
    return found


def _undescribed(study: Study) -> list[str]:
    """What is wrong with a study that lost its description: trials that were made in another way than now."""
    trials = list(study.folder.every_trial())
    requests = [(trial.stage, trial.request()) for trial in trials if trial.has_request()]
    others = sum(not study.asks_for(stage, asked) for stage, asked in requests)
    return [f"{others} of its trials ran with other code, data or settings"] if others else []


def _check_budget(studies: Sequence[Study], without: Collection[str]) -> None:
    """Raise RequestError where a study got more slots before; those ``without`` begin anew."""
    for study in studies:
        if (
            study.name not in without
            and study.folder.exists
            and study.slots < (before := study.folder.description()["search_slots"])
        ):
            if study.leader is not None:
                raise RequestError(
                    f"search.sizes: {study.name} was given {before} slots of its own before; a budget can only grow, "
                    "or use another --run-dir"
                )
            raise RequestError(
                f"search.trials: {study.slots} is below the {before} slots that {study.name} was given before; "
                "a budget can only grow, or use another --run-dir"
            )


def _name_leftovers(run: RunDirectory, studies: Sequence[Study], console: Console) -> None:
    current = {study.name for study in studies}
    for folder in run.studies():
        if folder.name not in current:
            _print(console, f"note: {folder.name} is not in the sweep file any more; its results stay in the report")


def _print(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True, highlight=False, markup=False)
