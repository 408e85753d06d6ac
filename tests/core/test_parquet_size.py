"""What a Parquet file takes in memory is known before it is read."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.files import MOST_BYTES, NoPlainFileError
from harness.core.frame_files import read_parquet
from harness.core.parquet_size import expanded_bytes


def content(frame: pl.DataFrame, **options: object) -> bytes:
    stream = io.BytesIO()
    frame.write_parquet(stream, **options)  # type: ignore[arg-type]
    return stream.getvalue()


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "uncompressed"])
@pytest.mark.parametrize("rows", [0, 1, 10_000])
def test_no_table_takes_more_than_announced(rows: int, compression: str) -> None:
    logits = np.random.default_rng(0).normal(size=rows)
    ids = [f"case_{number:08d}" for number in range(rows)]
    frame = pl.DataFrame({"case_id": ids, "group": ["g"] * rows, "logit_0": logits})
    announced = expanded_bytes(content(frame, compression=compression, row_group_size=3000))
    assert frame.estimated_size() <= announced <= 5 * frame.estimated_size() + 4096


def test_a_bomb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    path.write_bytes(content(pl.DataFrame({"logit_0": np.zeros(20_000_000)})))
    assert path.stat().st_size < 1_000_000 and expanded_bytes(path.read_bytes()) > MOST_BYTES
    with pytest.raises(pl.exceptions.PolarsError, match="MB of memory"):
        read_parquet(path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    path, link = tmp_path / "theirs.parquet", tmp_path / "predictions.parquet"
    path.write_bytes(content(pl.DataFrame({"a": [1]})))
    link.symlink_to(path)
    with pytest.raises(NoPlainFileError, match="link"):
        read_parquet(link)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_files_are_refused_in_words(data: st.DataObject) -> None:
    whole = bytearray(content(pl.DataFrame({"case_id": ["a", "b", "c"], "logit_0": [0.1, 0.2, 0.3]})))
    for place, byte in data.draw(st.lists(st.tuples(st.integers(4, len(whole) - 9), st.integers(0, 255)), max_size=8)):
        whole[place] = byte
    del whole[data.draw(st.integers(0, len(whole))) or len(whole) :]
    try:
        assert expanded_bytes(bytes(whole)) >= 0
    except ValueError as error:
        assert str(error)
