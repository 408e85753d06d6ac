"""Brain MRI: the Kaggle archive as it is downloaded, and small archives of the same layout."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest
from archives import crossing, dataset, decoded, largest_deviation, picture, real, write_zip

from harness.core.errors import DataError
from harness.data.decoded import DecodedDataset
from harness.dataset import KaggleFile

ARCHIVE = "brain-tumor-mri-dataset.zip"


@pytest.fixture(scope="module")
def brain(shared_cache: Path) -> DecodedDataset:
    return decoded("brain_mri", real(ARCHIVE), shared_cache)


def test_it_is_complete_and_its_copies_are_found(brain: DecodedDataset) -> None:
    assert brain.images.shape == (7019, 32, 32, 3)
    assert Counter(brain.official) == {"train": 5708, "test": 1311}
    names = [brain.classes[label] for label in brain.labels]
    assert Counter(names) == {"glioma": 1621, "meningioma": 1645, "notumor": 1996, "pituitary": 1757}
    assert all(case.split("/")[1] == name for case, name in zip(brain.case_ids, names, strict=True))
    assert sum(count > 1 for count in Counter(brain.groups).values()) == 300
    sides = defaultdict(set)
    for group, side in zip(brain.groups, brain.official, strict=True):
        sides[group].add(side)
    assert sum(len(of) == 2 for of in sides.values()) == 189
    leaked = [g for g, side in zip(brain.groups, brain.official, strict=True) if side == "test" and "train" in sides[g]]
    assert len(leaked) == 216


def test_only_the_grouped_split_keeps_copies_together(brain: DecodedDataset) -> None:
    clusters = list(brain.groups)
    assert crossing(brain, "grouped", clusters) == ((4492, 1123, 1404), set())
    assert largest_deviation(brain, "grouped") < 0.01
    sizes, several = crossing(brain, "random", clusters)
    assert sizes == (4492, 1123, 1404) and len(several) > 50
    sizes, several = crossing(brain, "official", clusters)
    assert sizes == (4567, 1141, 1311) and len(several) == 189


ALL_CLASSES = {
    f"{side}/{name}/{number}.jpg": picture(40 * label + number)
    for side in ("Training", "Testing")
    for label, name in enumerate(("pituitary", "notumor", "meningioma", "glioma"))
    for number in range(2)
}


@pytest.mark.parametrize("top", ["", "brain tumour/"])
def test_an_archive_below_a_top_folder_is_the_same(tmp_path: Path, top: str) -> None:
    extra = {"README.md": "", "__MACOSX/Training/glioma/._0.jpg": "", f"{top}Training/glioma/.DS_Store": ""}
    write_zip(tmp_path / ARCHIVE, {f"{top}{name}": content for name, content in ALL_CLASSES.items()} | extra)
    data = decoded("brain_mri", tmp_path, tmp_path / "cache")
    assert data.case_ids == tuple(sorted(ALL_CLASSES))
    assert data.official == ("test",) * 8 + ("train",) * 8
    assert data.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3] * 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Training/gliom/9.jpg", r"unknown class folder 'gliom'; did you mean 'glioma'\?"),
        ("Validation/glioma/9.jpg", "Validation/glioma/9.jpg: expected Training/CLASS/IMAGE"),
        ("loose.jpg", "loose.jpg: expected Training/CLASS/IMAGE"),
    ],
)
def test_other_folders_are_refused(tmp_path: Path, name: str, message: str) -> None:
    write_zip(tmp_path / ARCHIVE, ALL_CLASSES | {name: picture(1)})
    with pytest.raises(DataError, match=message):
        dataset("brain_mri").records(tmp_path)


def test_the_download_is_the_archive_that_is_read() -> None:
    (download,) = dataset("brain_mri").downloads
    assert download == KaggleFile(ARCHIVE, "masoudnickparvar/brain-tumor-mri-dataset")
    assert dataset("brain_mri").files == (ARCHIVE,)
