"""Images that two datasets share, and what of it a model may be scored on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from sklearn.datasets import load_sample_image

from harness.core.errors import RequestError
from harness.data.copies import find_copies
from harness.data.decoded import COLUMNS, DecodedDataset

SIDE = 64


def pieces(number: int, name: str = "china.jpg") -> npt.NDArray[np.uint8]:
    """Pieces of a photograph that do not overlap, shape (number, 64, 64, 3)."""
    photo = load_sample_image(name)
    rows, columns = photo.shape[0] // SIDE, photo.shape[1] // SIDE
    cut = photo[: rows * SIDE, : columns * SIDE].reshape(rows, SIDE, columns, SIDE, 3).swapaxes(1, 2)
    found: npt.NDArray[np.uint8] = cut.reshape(-1, SIDE, SIDE, 3)[-number:]
    return found


def dataset(images: npt.NDArray[np.uint8], name: str) -> DecodedDataset:
    ids = [f"{name}/{number}" for number in range(len(images))]
    pixels = [str(hash(image.tobytes())) for image in images]
    columns = dict.fromkeys(COLUMNS, ids) | {"pixels": pixels, "official": [None] * len(ids)}
    return DecodedDataset(
        images,
        np.arange(len(images), dtype=np.int64) % 2,
        pl.DataFrame(columns, schema=dict.fromkeys(COLUMNS, pl.String)),
        ("a", "b"),
        f"{hash(images.tobytes()):016x}" * 4,
    )


def test_copies_are_found_identical_or_nearly_so(tmp_path: Path) -> None:
    own, other = pieces(20), pieces(20, "flower.jpg")
    brighter = np.clip(own[3].astype(int) + 15, 0, 255).astype(np.uint8)
    external = np.concatenate([other, own[5:6], brighter[None], own[7:8, :, ::-1]])
    found = find_copies(dataset(own, "own"), dataset(external, "external"), tmp_path)
    assert found.identical.tolist() == [[5, 20]]
    assert found.near.tolist() == [[3, 21], [7, 22]]


def test_what_was_found_is_kept_and_damage_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, external = dataset(pieces(8), "own"), dataset(pieces(8)[:, :, ::-1].copy(), "external")
    first = find_copies(own, external, tmp_path)
    assert first.near.tolist() == [[row, row] for row in range(8)]
    monkeypatch.setattr("harness.data.copies.take_fingerprints", None)
    assert np.array_equal(find_copies(own, external, tmp_path).near, first.near)
    (kept,) = tmp_path.glob("copies-*/near.npy")
    kept.write_bytes(b"torn")
    with pytest.raises(RequestError, match="delete the folder and run the same command again"):
        find_copies(own, external, tmp_path)


def test_near_copies_of_what_a_model_was_trained_on_are_left_out_and_counted(tmp_path: Path) -> None:
    from harness.data.split import Split
    from harness.evaluations.dataset import OtherDataset
    from harness.plugins import Catalogue
    from harness.spec.evaluations import EvaluationSpec
    from harness.studies.evaluations import NEAR, EvaluationPlanner

    own = dataset(pieces(12), "own")
    mirrored = np.concatenate([own.images[:6, :, ::-1], pieces(6, "flower.jpg")])
    external = dataset(mirrored, "external")
    ids = own.case_ids
    split = Split("grouped", 0, train=ids[:4], val=ids[4:5], test=ids[5:])
    entry = EvaluationSpec.model_validate({"name": "other", "kind": "dataset", "options": {"dataset": "other"}})

    class Data:
        name = modality = "photographs"

    from harness.plugins import packaged

    catalogue: Catalogue = packaged()
    planner = EvaluationPlanner([entry], catalogue, lambda *_: external, tmp_path, None)
    (planned,) = planner.of("own", Data(), own, [split])  # type: ignore[arg-type]
    given = planned.given(split)
    # Of the mirrored copies five are of training and validation images; that of a test image stays.
    assert given.external["other"].left_out == {NEAR: 5}
    assert given.external["other"].rows.tolist() == [5, *range(6, 12)]
    assert isinstance(given.evaluation, OtherDataset)
