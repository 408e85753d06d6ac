"""What ``CUDA_VISIBLE_DEVICES`` shows, as CUDA reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import RequestError
from harness.core.visible_gpus import devices_of, take_device
from harness.launch import this_machine
from harness.launch.slurm.files import SlurmFiles
from harness.launch.slurm.job import SlurmJob
from harness.launch.slurm.profile import Profile
from harness.run.directory import RunDirectory

MIG = ["MIG-11111111-0000-0000-0000-000000000000", "MIG-22222222-0000-0000-0000-000000000000"]


@pytest.mark.parametrize(
    ("value", "devices"),
    [
        (None, ["cuda:0", "cuda:1"]),
        ("0", ["cuda:0"]),
        ("0,1,2", ["cuda:0", "cuda:1", "cuda:2"]),
        (" 3 , 1 ", ["cuda:0", "cuda:1"]),
        ("GPU-aa,GPU-bb", ["cuda:0", "cuda:1"]),
        ("", []),
        ("NoDevFiles", []),
        ("-1", []),
        ("0,-1,1", ["cuda:0"]),
        ("0,,1", ["cuda:0"]),
        ("0,GPU-aa", ["cuda:0"]),
        ("1,1", []),
        ("1,01", []),
        (MIG[0], ["cuda:0"]),
        (",".join(MIG), MIG),
        (f"{MIG[0]},{MIG[0]}", []),
        ("MIG-GPU-aa/1/0,MIG-GPU-aa/2/0", ["MIG-GPU-aa/1/0", "MIG-GPU-aa/2/0"]),
    ],
)
def test_devices_are_those_that_cuda_shows(value: str | None, devices: list[str]) -> None:
    assert devices_of(value, 2) == devices


def test_torch_reads_the_variable_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own reader, which needs no GPU; MIG instances it leaves to CUDA, and several on a line are ours to part."""
    from torch.cuda import _parse_visible_devices

    for value in ("0", "0,1,2", " 3 , 1 ", "GPU-aa,GPU-bb", "NoDevFiles", "-1", "0,-1,1", "1,1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert len(devices_of(value, 2)) == len(_parse_visible_devices()), value


def test_a_worker_of_a_mig_instance_sees_that_one_alone() -> None:
    environment = {"CUDA_VISIBLE_DEVICES": ",".join(MIG)}
    assert take_device("cuda:1", environment) == "cuda:1" and environment["CUDA_VISIBLE_DEVICES"] == ",".join(MIG)
    assert take_device(MIG[1], environment) == "cuda:0" and environment["CUDA_VISIBLE_DEVICES"] == MIG[1]


def job(folder: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, **profile: Any) -> SlurmJob:
    """One start of a job on node n3 whose profile and environment are these."""
    files = SlurmFiles(RunDirectory(folder))
    asked = Profile(time=30, grace=10, **profile).model_dump(mode="json")
    roots = {"data": str(folder), "cache": str(folder)}
    files.write_launch(
        {"job_name": "n", "workers": 1, "threads": 1, "trials_per_device": 1, "profile": asked, "roots": roots}
    )
    for name, value in {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n3", "CUDA_VISIBLE_DEVICES": visible}.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    return SlurmJob(RunDirectory(folder))


@pytest.mark.parametrize("visible", ["NoDevFiles", ""])
def test_a_job_without_its_gpu_says_so_and_ends(visible: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match=rf"CUDA_VISIBLE_DEVICES is '{visible}': .* no GPU on n3"):
        job(tmp_path, monkeypatch, visible, gpus=1).run()
    (record,) = SlurmFiles(RunDirectory(tmp_path)).jobs()
    assert record.content["state"] == "refused" and "no GPU on n3" in record.content["reason"]


def test_a_job_has_a_place_for_each_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def places(visible: str | None, **profile: Any) -> tuple[int, list[str]]:
        pool = job(tmp_path, monkeypatch, visible, **profile)._pool()
        return pool.count, list(pool.devices)

    assert places(",".join(MIG), gpus=2) == (2, MIG)
    assert places("4,7", gpus=2) == (2, ["cuda:0", "cuda:1"])
    assert places(None, gpus=2) == (2, ["cuda:0", "cuda:1"])
    assert places("NoDevFiles") == (1, ["cpu"])


def test_the_local_launcher_uses_every_mig_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(MIG))
    assert this_machine.available_devices() == MIG
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert this_machine.available_devices() == ["cuda:0"]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "NoDevFiles")
    assert this_machine.available_devices() == ["cpu"] == this_machine._shown_devices()
