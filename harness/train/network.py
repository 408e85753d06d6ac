"""A trial's network, as it is before the first step."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.core.seeds import derive_seed
from harness.data.normalisation import training_normalisation
from harness.method import Hyperparameters, Method
from harness.networks.backbones import Model, build_model
from harness.train.data import TrialData
from harness.train.job import TrialJob
from harness.train.speed.features import is_constant
from harness.train.speed.few_places import use_products
from harness.train.step import autocast_dtype


def build_network(
    job: TrialJob,
    method: Method,
    hyperparameters: Hyperparameters,
    device: torch.device,
    resident: Tensor | None = None,
) -> tuple[Model, TrialData]:
    """A trial's network before its first step, adapted and on the device, and the images that the trial may see.

    Args:
        job: of the trial.
        method: a new instance of its method.
        hyperparameters: to adapt it with.
        device: of the trial.
        resident: the dataset's images already on the device, if they are.
    """
    # One stream for the head, which is the same for all methods, and one for what the method adds.
    classes = len(job.data.classes)
    model, normalisation = build_model(job.backbone, job.weights, classes, job.seed, job.normalisation)
    torch.manual_seed(derive_seed("adapt", job.seed))
    method.adapt(model, hyperparameters)
    if job.weights is None and job.normalisation is None:
        # Pretrained weights expect the normalisation that they were trained with; random ones expect none.
        model.normalisation = normalisation = training_normalisation(job.data, job.split)
    data = TrialData.load(
        job.data,
        job.split,
        with_test=job.opens_test,
        normalisation=normalisation,
        device=device,
        resident=resident,
        balanced=job.train.sampling == "balanced",
        meta_fraction=method.meta_fraction(hyperparameters),
    )
    model = model.to(device).to(memory_format=torch.channels_last)
    if autocast_dtype(job.train, device) is None:
        use_products(model, data.made_up())
    return model, data


def folds(job: TrialJob, method: Method, model: Model) -> bool:
    """Whether a trial folds its network's frozen batch norms."""
    return method.batch_norm == "frozen" and not (job.train.features == "once" and is_constant(method, model))
