"""ISIC 2018 task 3: the archives as published."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from archives import crossing, dataset, decoded, largest_deviation, real

from harness.data.decoded import DecodedDataset
from harness.dataset import RemoteFile

FILES = tuple(f"ISIC2018_Task3_Training_{part}" for part in ("Input.zip", "GroundTruth.zip", "LesionGroupings.csv"))


@pytest.fixture(scope="module")
def isic(shared_cache: Path) -> DecodedDataset:
    return decoded("isic2018", real(*FILES), shared_cache)


def test_it_is_complete(isic: DecodedDataset) -> None:
    assert isic.classes == ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
    assert np.bincount(isic.labels).tolist() == [1113, 6705, 514, 327, 1099, 115, 142]
    assert set(isic.official) == {None}
    assert isic.case_ids[:2] == ("ISIC_0024306", "ISIC_0024307")
    lesions = Counter(isic.records["group"].to_list())
    assert (len(isic.case_ids), len(lesions), max(lesions.values())) == (10015, 7470, 6)
    # One lesion and its label, looked up by hand in the published tables.
    row = isic.rows["ISIC_0024307"]
    assert (isic.records["group"][row], isic.classes[isic.labels[row]]) == ("HAM_0003577", "NV")


def test_only_the_grouped_split_keeps_lesions_and_copies_together(isic: DecodedDataset) -> None:
    for names in (isic.records["group"].to_list(), list(isic.groups), isic.records["pixels"].to_list()):
        assert crossing(isic, "grouped", names) == ((6409, 1602, 2004), set())
    assert largest_deviation(isic, "grouped") < 0.01
    sizes, several = crossing(isic, "random", isic.records["group"].to_list())
    assert sizes == (6409, 1602, 2004) and len(several) > 500


def test_the_downloads_are_the_files_that_are_read() -> None:
    found = dataset("isic2018")
    assert found.files == FILES
    for name, download in zip(FILES, found.downloads, strict=True):
        assert isinstance(download, RemoteFile)
        assert (download.name, download.url.rpartition("/")[2]) == (name, name)
