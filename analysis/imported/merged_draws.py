"""The draws of both tables brought together: whether methods can be paired by seed, and how much splits overlap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from analysis.imported.draws import LABELS, TableDraws, Training, named
from analysis.imported.file import shown
from analysis.stats.cautions import Caution
from harness.core.errors import RequestError

USUAL_OVERLAP = 0.2 / 0.64
"""Test images for each training image where a table does not say: those of a grouped split of the harness."""


class MergedDraws:
    """What every training drew anew.

    Args:
        tables: each file and what it says, the results before the predictions.

    Raises:
        RequestError: the tables contradict each other, only one of them says it of all trainings, or methods of one
            dataset cannot be paired because their splits differ.
    """

    def __init__(self, tables: Sequence[tuple[Path, TableDraws]]) -> None:
        self._tables = tables
        splits, searches = (self._united(name) for name in LABELS)
        self._searches: dict[tuple[str, str], dict[int, str]] = {}
        for (method, dataset, seed), search in searches.items():
            self._searches.setdefault((dataset, method), {})[seed] = search
        by_dataset: dict[str, dict[Training, str]] = {}
        for training, split in splits.items():
            by_dataset.setdefault(training[1], {})[training] = split
        self._splits: dict[str, dict[tuple[str, int], str]] = {}
        for dataset, own in by_dataset.items():
            self._check_pairing(dataset, own)
            if len(set(own.values())) > 1:
                self._splits[dataset] = {(method, seed): split for (method, _, seed), split in own.items()}
        self._assumed: list[str] = []

    def splits_of(self, dataset: str) -> dict[tuple[str, int], str]:
        """(method, seed) → split, in the order of the tables; empty where the dataset has one split."""
        return self._splits.get(dataset, {})

    def searches_of(self, dataset: str, method: str) -> dict[int, str]:
        """Seed → search; empty where one search served all seeds of the method."""
        found = self._searches.get((dataset, method), {})
        return found if len(set(found.values())) > 1 else {}

    def overlap(self, dataset: str, tested: Mapping[str, int]) -> float | None:
        """Test images for each training image, over all splits of which both are known; None where there is one split.

        Args:
            dataset: which.
            tested: split → test cases of its predictions, of those that have any.

        Raises:
            RequestError: the predictions of a split have another number of test cases than the tables say.
        """
        splits = tuple(dict.fromkeys(self.splits_of(dataset).values()))
        if not splits:
            return None
        train, test = 0, 0
        for split in splits:
            known, said = self._size(dataset, split, "train_cases"), self._size(dataset, split, "test_cases")
            cases = tested.get(split)
            if said is not None and cases is not None and said[0] != cases:
                raise RequestError(
                    f"{said[1]}, column 'test_cases': {said[0]} images on split {shown(split)!r} of {dataset}, but its "
                    f"predictions are of {cases}; correct the number, or leave it empty"
                )
            cases = cases if said is None else said[0]
            if known is not None and cases is not None:
                train, test = train + known[0], test + cases
        if not train:
            self._assumed.append(dataset)
            return USUAL_OVERLAP
        return test / train

    def cautions(self) -> Iterator[Caution]:
        """Reservations about what was assumed, once ``overlap`` was asked of all datasets."""
        if self._assumed:
            yield Caution(
                "assumed_overlap",
                f"The tables do not say how many images a split of {' and '.join(self._assumed)} trains and tests on "
                f"(train_cases, test_cases). {USUAL_OVERLAP:.3g} test images for each training image are assumed, as "
                "where 64 % of the images train and 20 % test; if there are more, intervals are too narrow.",
            )

    def _size(self, dataset: str, split: str, name: str) -> tuple[int, str] | None:
        """How many images, and where it is said."""
        key = (dataset, split, name)
        found = [table.sizes[key] for _, table in self._tables if key in table.sizes]
        if len({size for size, _ in found}) > 1:
            raise RequestError(
                f"{found[1][1]}, column {name!r}: {found[1][0]} images on split {shown(split)!r} of {dataset}, but "
                f"{found[0][0]} in {found[0][1]}; correct one of them"
            )
        return found[0] if found else None

    def _united(self, name: str) -> dict[Training, str]:
        """The labels that the tables give, ``split`` or ``search``; of all trainings or of none."""
        known: dict[Training, str] = {}
        for _, table in self._tables:
            for training, draw in table.trainings.items():
                label = draw.labels.get(name)
                if label is not None and known.setdefault(training, label) != label:
                    raise RequestError(
                        f"{draw.place}: the {name} of {named(training)}, is {shown(label)!r} here and "
                        f"{shown(known[training])!r} in {self._tables[0][0].name}; correct one of them"
                    )
        for path, table in self._tables if known else ():
            for training, draw in table.trainings.items():
                if training not in known:
                    raise RequestError(
                        f"{draw.place}: no {name} of {named(training)}, though the other table has a column {name!r}; "
                        f"add it to {path.name}"
                    )
        return known

    def _check_pairing(self, dataset: str, splits: Mapping[Training, str]) -> None:
        """Refuse a seed with another split in another method, and a method with one split where others have several."""
        by_seed: dict[int, tuple[str, str]] = {}
        by_method: dict[str, list[tuple[Training, str]]] = {}
        for training, split in splits.items():
            method, _, seed = training
            by_method.setdefault(method, []).append((training, split))
            first, other = by_seed.setdefault(seed, (method, split))
            if other != split:
                raise RequestError(
                    f"{self._place(training)}: {named(training)}, has the split {shown(split)!r}, but in {first} it "
                    f"has {shown(other)!r}; methods are paired by seed, so give a seed the same split in each of them"
                )
        numbers = {method: len({split for _, split in own}) for method, own in by_method.items()}
        most = max(numbers, key=lambda method: numbers[method])
        for method, own in by_method.items():
            # One training alone has one split, whatever was planned.
            if numbers[method] == 1 < numbers[most] and len(own) > 1:
                training, split = own[0]
                raise RequestError(
                    f"{self._place(training)}: {method} on {dataset} has the split {shown(split)!r} alone, but {most} "
                    f"has {numbers[most]} splits; add the other splits of {method}, or leave it out"
                )

    def _place(self, training: Training) -> str:
        return next(table.trainings[training].place for _, table in self._tables if training in table.trainings)
