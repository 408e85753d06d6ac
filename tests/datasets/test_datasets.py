"""The digits that scikit-learn brings, and what loading every dataset plugin costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from archives import REPOSITORY, dataset
from pydantic import ValidationError


def test_digits_come_complete_and_in_full_range(tmp_path: Path) -> None:
    records = dataset("digits").records(tmp_path)
    assert len(records) == 1797
    assert records[42].case_id == "digits/0042"
    pixels = np.stack([record.image.load() for record in records])
    assert pixels.shape == (1797, 8, 8)
    assert set(np.unique(pixels)) == set(np.rint(np.arange(17) * 255 / 16).astype(int))


def test_some_digits_keep_their_case_ids_and_get_new_labels(tmp_path: Path) -> None:
    every = {record.case_id: record for record in dataset("digits").records(tmp_path)}
    some = dataset("digits", classes=[7, 1])
    assert some.classes == ("7", "1")
    records = some.records(tmp_path)
    assert {every[record.case_id].label: record.label for record in records} == {7: 0, 1: 1}
    assert len(records) == sum(record.label in (1, 7) for record in every.values())


@pytest.mark.parametrize("classes", [[3], [1, 1], [0, 10], ["0", "1"]])
def test_senseless_digits_are_refused(classes: list[object]) -> None:
    with pytest.raises(ValidationError):
        dataset("digits", classes=classes)


def test_loading_the_plugins_imports_nothing_heavy() -> None:
    program = (
        "import importlib, pathlib, sys, types\n"
        "package = types.ModuleType('listed')\n"
        "package.__path__ = ['datasets']\n"
        "sys.modules['listed'] = package\n"
        "names = sorted(path.stem for path in pathlib.Path('datasets').glob('[!_]*.py'))\n"
        "plugins = [importlib.import_module(f'listed.{name}') for name in names]\n"
        "assert plugins[names.index('medmnist')].PathMNIST().classes[0] == 'adipose'\n"
        "heavy = ('torch', 'sklearn', 'polars', 'matplotlib', 'medmnist.dataset')\n"
        "assert {'brain_mri', 'image_folder', 'isic2018'} < {*names}\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
