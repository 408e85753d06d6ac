"""Images that bear several classes at once, or none: split, loss, training, and a sweep to its report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import job, run
from tiny import run_inline, tiny_sweep
from torch import nn

from harness.data.cache import prepare
from harness.data.decoded import DecodedDataset, describe
from harness.data.split import indices, make_split
from harness.dataset import ArrayImage, Dataset, Record
from harness.metrics.table import evaluate
from harness.plugins import discover
from harness.run.directory import RunDirectory
from harness.train.criterion import build_criterion

Array = npt.NDArray[np.int64]


# Split


def dataset(labels: Array, groups: Sequence[str]) -> DecodedDataset:
    n, classes = labels.shape
    image = ArrayImage(np.zeros((1, 1), dtype=np.uint8))
    records = [Record(f"case/{row:05d}", tuple(labels[row].tolist()), image) for row in range(n)]
    found, table = describe(records, groups, [bytes(32)] * n)
    names = tuple(f"finding{k}" for k in range(classes))
    return DecodedDataset(np.zeros((n, 1, 1, 3), dtype=np.uint8), found, table, names, "of no consequence")


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), kind=st.sampled_from(["random", "grouped"]), common=st.floats(0.05, 0.6))
def test_splits_are_exact_and_keep_each_finding_in_proportion(seed: int, kind: str, common: float) -> None:
    rng = np.random.default_rng(seed)
    n, rates = 3000, np.array([common, common / 2, common / 4, 0.02, 0.005])
    # Findings come together: whoever is ill has each of them three times as often.
    ill = rng.random((n, 1)) < 0.4
    labels = (rng.random((n, len(rates))) < np.where(ill, np.minimum(3 * rates, 0.95), rates / 4)).astype(np.int64)
    patients = np.sort(rng.integers(0, 1500, n))
    data = dataset(labels, [f"p{patient}" for patient in patients])
    split = make_split(data, kind, seed)  # type: ignore[arg-type]
    sides = indices(split, data)
    assert [len(rows) for rows in sides] == [1920, 480, 600]
    for rows in sides:
        distance = np.abs(labels[rows].mean(axis=0) - labels.mean(axis=0))
        # The rarest finding is a stratum of its own; the others follow from theirs by chance (in 240 splits of such
        # data the largest distance was 0.031, its median 0.010).
        assert distance.max() < 0.04
        assert distance[labels.sum(axis=0).argmin()] < 0.003
    if kind == "grouped":
        train, val, test = ({data.groups[row] for row in rows} for rows in sides)
        assert not (train & val or train & test or val & test)


# Loss


def test_the_loss_is_the_mean_of_what_each_finding_costs() -> None:
    logits = torch.tensor([[0.3, -2.0], [1.5, 0.2], [-0.7, 4.0]], requires_grad=True)
    labels = torch.tensor([[1, 0], [0, 0], [0, 1]])
    p = torch.sigmoid(logits).detach()

    def cost(y: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return -(weight * y * p.log() + (1 - y) * (1 - p).log()).mean()

    plain = build_criterion(labels, 2, "none", 0.0)
    torch.testing.assert_close(plain(logits, labels).detach(), cost(labels.float(), torch.ones(2)))
    evaluated = evaluate(logits.detach().double().numpy(), labels.numpy())["nll"]
    assert float(plain(logits, labels).detach()) == pytest.approx(evaluated, rel=1e-6)
    smooth = build_criterion(labels, 2, "none", 0.2)
    torch.testing.assert_close(smooth(logits, labels).detach(), cost(labels * 0.8 + 0.1, torch.ones(2)))
    # Two negatives for one positive of each finding.
    balanced = build_criterion(labels, 2, "balanced", 0.0)
    torch.testing.assert_close(balanced(logits, labels).detach(), cost(labels.float(), torch.full((2,), 2.0)))


@pytest.mark.parametrize("value", [0, 1])
def test_a_finding_that_training_shows_never_or_always_is_not_weighted(value: int) -> None:
    labels = torch.tensor([[1, value], [0, value], [0, value]])
    loss = build_criterion(labels, 2, "balanced", 0.1)
    logits = torch.zeros(3, 2, requires_grad=True)
    loss(logits, labels).backward()
    assert logits.grad is not None and bool(torch.isfinite(logits.grad).all())
    assert float(logits.grad[:, 1].abs().min()) == pytest.approx(0.45 / 6)


def test_with_one_label_an_image_the_loss_is_what_it_was() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    loss = build_criterion(labels, 3, "balanced", 0.1)
    assert isinstance(loss, nn.CrossEntropyLoss) and loss.weight is not None
    assert loss.weight.tolist() == pytest.approx([4 / 9, 4 / 3, 0.0])
    assert loss.label_smoothing == 0.1


# Training


class Corners(Dataset):
    """Noise in which up to four corners are bright, each of which is a class."""

    name = "corners"
    title = "Corners"
    modality = "drawings"
    licence = "CC0"
    citation = "none"
    multi_label = True

    @property
    def classes(self) -> tuple[str, ...]:
        return ("north-west", "north-east", "south-west", "south-east")

    @property
    def files(self) -> tuple[str, ...]:
        return ()

    def records(self, root: Path) -> Sequence[Record]:
        rng = np.random.default_rng(3)
        records = []
        for number in range(300):
            image = rng.integers(0, 100, (16, 16), dtype=np.uint8)
            label = tuple(int(bit) for bit in rng.integers(0, 2, 4))
            for corner, borne in enumerate(label):
                y, x = 8 * (corner // 2), 8 * (corner % 2)
                image[y : y + 8, x : x + 8] += np.uint8(120 * borne)
            records.append(Record(f"c{number:03d}", label, ArrayImage(image)))
        return records


def test_a_network_learns_which_findings_an_image_has(tmp_path: Path) -> None:
    data = prepare(Corners(), "code", 16, tmp_path, tmp_path)
    made = job(
        (Corners(), data, make_split(data, "grouped", 0)),
        "full_finetune",
        train={"epochs": 4, "batch_size": 32, "image_size": 16, "augment": False, "class_weights": "balanced"},
        hp={"lr": 0.01},
        metric="auc",
    )
    folder, result = run(made, tmp_path / "trial")
    assert result["status"] == "done", result["message"]
    assert result["metrics"]["test"]["auc"] > 0.9
    predictions = folder.predictions()
    names = [f"{kind}_{k}" for kind in ("label", "logit") for k in range(4)]
    assert predictions.columns == ["case_id", "group", *names]
    assert_scored(predictions, result["metrics"]["test"])


def assert_scored(predictions: pl.DataFrame, scores: dict[str, object]) -> None:
    """The scores of a result follow from its predictions."""
    logits = predictions.select("^logit_.*$").to_numpy()
    labels = predictions.select("^label_.*$")
    assert set(labels.dtypes) == {pl.Int64}
    assert json.loads(json.dumps(evaluate(logits, labels.to_numpy()))) == scores


# Plugins


PLUGIN = """
from harness.dataset import Dataset

class Stages(Dataset):
    name = title = modality = licence = citation = "stages"
    ordinal = multi_label = True
    classes, files = ("early", "late"), ()

    def records(self, root):
        return []
"""


@pytest.mark.parametrize("both", [True, False])
def test_a_dataset_cannot_be_ordinal_and_multi_label(tmp_path: Path, both: bool) -> None:
    (tmp_path / "stages.py").write_text(PLUGIN if both else PLUGIN.replace("ordinal = multi_label", "multi_label"))
    errors = [broken.error for broken in discover([tmp_path]).broken]
    expected = "TypeError: Stages is ordinal and multi_label; classes that occur together have no order"
    assert errors == [expected] * both


# A sweep


def test_a_sweep_over_chestmnist_ends_in_a_report(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for side, count in (("train", 200), ("val", 40), ("test", 60)):
        arrays[f"{side}_images"] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{side}_labels"] = (rng.random((count, 14)) < 0.2).astype(np.uint8)
    np.savez_compressed(tmp_path / "chestmnist.npz", **arrays)  # type: ignore[arg-type]
    file = tiny_sweep(
        tmp_path,
        datasets=["chestmnist"],
        methods=["linear_probe"],
        train={"epochs": 1, "image_size": 16, "class_weights": "balanced"},
        search={"trials": 1, "seeds": [0]},
        evaluate=[{"corruptions": "medical", "severities": [2]}],
        launch={"kind": "local", "workers": 1, "threads": 1},
    )
    run_path = tmp_path / "run"
    run_inline(file, run_path, tmp_path / "cache", "--data-root", str(tmp_path))
    found = RunDirectory(run_path)
    (study,) = found.studies()
    trials = list(study.trials("confirm"))
    assert len(trials) == 2
    for trial in trials:
        assert_scored(trial.predictions(), trial.result()["metrics"]["test"])
        damaged, records = trial.evaluation("corruptions"), trial.result()["evaluations"]
        assert {"gamma_up", "gaussian_noise"} < {record["set"] for record in records} and len(records) == 13
        for record in records:
            assert_scored(damaged.filter(pl.col("set") == record["set"]), record["scores"])
    card = found.cards()["chestmnist"]
    counts = np.array(list(card["counts"].values())).sum(axis=0)
    borne = np.concatenate([labels for name, labels in arrays.items() if "labels" in name]).sum(axis=0)
    assert counts.tolist() == borne.tolist()
    page = (run_path / "report" / "report.html").read_text()
    assert "atelectasis" in page and "ChestMNIST" in page
