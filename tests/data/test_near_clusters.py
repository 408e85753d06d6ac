"""Near-duplicates that a split keeps together: looked for once, chained, and with the counts still exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from published import decoded
from test_audit import dataset, scenes

from harness.core.errors import RequestError
from harness.data import near_clusters
from harness.data.audit import audit
from harness.data.near_clusters import join_near_duplicates
from harness.data.split import exact_counts, make_split


def test_copies_share_a_cluster_and_are_looked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = scenes(40)
    # Image 0 has a mirrored copy, and that one a brighter copy.
    images = np.concatenate([plain, plain[:1, :, ::-1], np.clip(plain[:1, :, ::-1] * 1.1, 0, 255)])
    data = dataset(list(images), np.zeros(42, dtype=np.int64))
    calls: list[tuple[int, int]] = []
    joined = join_near_duplicates(data, tmp_path, lambda done, total: calls.append((done, total)))
    assert calls[-1][0] == calls[-1][1]
    assert joined.groups[40] == joined.groups[41] == joined.groups[0] == min(data.groups[row] for row in (0, 40, 41))
    assert joined.groups[1:40] == data.groups[1:40]
    assert joined.fingerprint == data.fingerprint
    assert joined.near_joined

    monkeypatch.setattr(near_clusters, "find_near", lambda *_: pytest.fail("looked for twice"))
    assert join_near_duplicates(data, tmp_path).groups == joined.groups
    (folder,) = tmp_path.glob("near-*")
    (folder / "clusters.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(RequestError, match="delete the folder"):
        join_near_duplicates(data, tmp_path)


def test_brain_mri_splits_exactly_with_its_mirrored_copies_together(shared_cache: Path) -> None:
    data = join_near_duplicates(decoded("brain_mri", shared_cache), shared_cache)
    split = make_split(data, "grouped", 0)
    assert (len(split.train), len(split.val), len(split.test)) == exact_counts(7019) == (4492, 1123, 1404)
    found = audit(data, split)
    assert len(found.near) > 10_000
    assert not any(pair.straddles for pair in found.near)
