"""A trial's training as one would write it by hand, without the harness: the other side of the overhead benchmark."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.core.seeds import derive_seed
from harness.data.augment import augment
from harness.data.normalisation import training_normalisation
from harness.data.split import indices
from harness.networks.backbones import build_model
from harness.train.job import TrialJob
from harness.train.speed.few_places import use_products
from harness.train.speed.folding import FoldedNorms

Logits = npt.NDArray[np.float64]


def bare_training(job: TrialJob) -> list[Logits]:
    """The training of a trial as one would write it by hand; float64 validation logits of each epoch.

    It keeps the best tensors in memory, as whoever validates after each epoch does, and writes nothing.
    """
    classes = len(job.data.classes)
    model, normalisation = build_model(job.backbone, job.weights, classes, job.seed, job.normalisation)
    if job.weights is None:
        normalisation = training_normalisation(job.data, job.split)
    torch.manual_seed(derive_seed("adapt", job.seed))
    method, train = job.method(), job.train
    method.adapt(model, job.hyperparameters)
    # On both sides: they are part of the arithmetic, in its last bits, and none of what the harness costs.
    model = model.to(memory_format=torch.channels_last)
    made_up = torch.randn(2, 3, *job.data.images.shape[1:3]).to(memory_format=torch.channels_last)
    use_products(model, made_up)
    if method.batch_norm == "frozen":
        FoldedNorms(model.eval(), made_up)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (normalisation.mean, normalisation.std))
    pixels, labels = torch.from_numpy(np.array(job.data.images)), torch.from_numpy(np.array(job.data.labels))
    training, validation, _ = (torch.from_numpy(side) for side in indices(job.split, job.data))
    policy = job.augmentation()
    steps = len(training) // train.batch_size
    total = steps * train.epochs
    rising = train.warmup_steps(total)

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))

    groups = method.param_groups(model, job.hyperparameters)
    optimizer = torch.optim.AdamW(
        [{"params": g.params, "lr": g.lr, "weight_decay": g.weight_decay} for g in groups], fused=True
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    criterion = nn.CrossEntropyLoss(label_smoothing=train.label_smoothing)

    def images(positions: torch.Tensor) -> torch.Tensor:
        scaled = pixels[positions].permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last)
        return scaled.div_(255)

    history: list[Logits] = []
    best_score, best = -math.inf, {}
    for epoch in range(train.epochs):
        model.train()
        for module in model.modules():
            if isinstance(module, _BatchNorm) and method.batch_norm == "frozen":
                module.eval()
        shuffle = torch.Generator().manual_seed(derive_seed("order", job.seed, epoch))
        order = training[torch.randperm(len(training), generator=shuffle)]
        loss_sum = 0.0
        for index in range(steps):
            batch = order[index * train.batch_size : (index + 1) * train.batch_size]
            inputs = images(batch)
            if policy is not None:
                draws = torch.Generator().manual_seed(derive_seed("augment", job.seed, epoch * steps + index))
                inputs = augment(inputs, policy, draws)
            loss = criterion(model((inputs - mean) / std), labels[batch])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            scheduler.step()
            loss_sum += loss.item()
        model.eval()
        with torch.inference_mode():
            chunks = [model((images(part) - mean) / std) for part in torch.split(validation, train.eval_batch_size)]
        logits = torch.cat(chunks).double().numpy()
        history.append(logits)
        score = _balanced_accuracy(logits, labels[validation].numpy())
        if score > best_score:
            best_score, best = score, {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(best)
    return history


def _balanced_accuracy(logits: Logits, labels: npt.NDArray[np.int64]) -> float:
    correct = logits.argmax(axis=1) == labels
    return float(np.mean([correct[labels == label].mean() for label in np.unique(labels)]))
