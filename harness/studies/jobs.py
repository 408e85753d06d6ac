"""The training that a trial of a study, or of a backbone that is trained first, asks for."""

from __future__ import annotations

from harness.run.trial_records import TrialRequest
from harness.studies.study import Source, Study
from harness.train.job import TrialJob


def job_of(study: Study, request: TrialRequest) -> TrialJob:
    """The training of one of a study's trials.

    Args:
        study: as its plugins and data are now.
        request: what the trial is asked to run.
    """
    split = study.dataset.split_of(request.get("split"))
    # A repetition shows how far two such trainings differ; the test split says that.
    evaluated = request["stage"] == "confirm" and not request.get("repeat", False)
    kept = request["stage"] == "confirm" and (study.keep == "all" or (study.keep == "chosen" and evaluated))
    return TrialJob(
        stage=request["stage"],
        method=study.method.cls,
        hyperparameters=request["hyperparameters"],
        backbone=study.backbone,
        weights=study.weights if study.source is None else study.source.folder.model_path,
        dataset=study.dataset.dataset,
        data=study.dataset.data,
        split=split,
        train=study.train,
        metric=study.search.metric,
        further=study.further,
        seed=request["seed"],
        cache=study.dataset.cache,
        schedule=tuple(request.get("schedule", ())),
        study=study.folder.path,
        normalisation=study.normalisation,
        evaluations=tuple(one.given(split) for one in study.dataset.evaluations) if evaluated else (),
        keep=kept,
    )


def source_job(source: Source) -> TrialJob:
    """The training of a backbone, which keeps the network."""
    return TrialJob(
        stage="source",
        method=source.method,
        hyperparameters=source.hyperparameters,
        backbone=source.backbone,
        weights=None,
        dataset=source.dataset.dataset,
        data=source.dataset.data,
        split=source.dataset.split,
        train=source.train,
        metric=source.metric,
        further=source.further,
        seed=source.seed,
        save_model=True,
        cache=source.dataset.cache,
    )
