"""The benchmark of decoded data runs anywhere, and both of its sides see the same pixels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import ROOT, environment


@pytest.mark.slow
def test_the_benchmark_runs_and_both_sides_see_the_same_pixels(tmp_path: Path) -> None:
    # Bounds are loose because the machine may be busy: the ratios on a quiet one are in benchmarks/results.
    out = tmp_path / "data.json"
    few = ["--synthetic", "--images", "200", "--size", "64", "--pairs", "2", "--opened", "3000", "--workers", "2"]
    command = [sys.executable, "-m", "benchmarks.data", *few, "--out", str(out), "--work-dir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(tmp_path / "cache"), capture_output=True, text=True, timeout=300
    )
    # 0 also says that opening took at most the milliseconds allowed.
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(out.read_text())["rows"]
    ratios = [n for n, row in enumerate(rows) if "/ DataLoader" in row["measure"]]
    assert [rows[n]["measure"] for n in ratios] == [
        "decoding / DataLoader",
        "epoch / DataLoader, not augmented",
        "epoch / DataLoader, augmented",
    ]
    work = [rows[n + 1] for n in ratios]
    assert {row["measure"] for row in work} == {"the same, work of the processor"}
    # An epoch that need not decode takes less work than one that does.
    assert work[1]["median"] > 1
    assert [row["same_pixels"] for row in rows if "same_pixels" in row] == [True]
    assert [path.name for path in tmp_path.iterdir()] == ["data.json"]
