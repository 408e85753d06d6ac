"""A worker that is killed in the middle of an evaluation: the next one goes on, and nothing is trained twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import run_sweep, tiny_sweep

from harness.proof.comparison import run_differences
from harness.run.directory import RunDirectory

DEADLY = '''
"""An evaluation whose second set kills the process, once a marker."""

import os
import signal
from pathlib import Path

from harness.api import Evaluation, EvaluationSet


class Deadly(Evaluation):
    """The test images twice; the process is killed between the two where a file says so."""

    name = "deadly"

    def images(self, facts):
        return 2 * len(facts.test)

    def sets(self, opened):
        test = opened.test
        for name in ("first", "second"):
            marker = Path(os.environ["DEADLY"])
            if name == "second" and marker.exists():
                marker.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            yield EvaluationSet(name, 0, "test", test.case_ids, test.groups, test.labels, test.batches)
'''


def test_a_worker_that_is_killed_in_an_evaluation_is_succeeded(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    for name, kills in (("undisturbed", False), ("killed", True)):
        place = tmp_path / name
        (place / "mine").mkdir(parents=True)
        (place / "mine" / "deadly.py").write_text(DEADLY)
        marker = place / "marker"
        monkeypatch.setenv("DEADLY", str(marker))
        if kills:
            marker.touch()
        file = tiny_sweep(
            place, plugins=["mine"], evaluate=["deadly"], methods=["bn_affine"], launch={"workers": 1, "threads": 1}
        )
        run_sweep(file, place / "run", shared_cache)
        assert not marker.exists()
        runs.append(RunDirectory(place / "run"))
    trials = [trial for study in runs[1].studies() for trial in study.trials("confirm")]
    attempts = sorted(len(trial.attempts()) for trial in trials)
    assert attempts == [1, 2]
    (killed,) = [trial for trial in trials if len(trial.attempts()) == 2]
    assert "resumed after epoch 2, step 0" in killed.log_path.read_text()
    assert [line for line in run_differences(*runs) if "studies differ" not in line] == []
