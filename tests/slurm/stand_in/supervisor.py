"""The process that watches one start of a job: runs the script, keeps its time limit, ends it, writes down its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from .options import expanded
from .processes import FOLDER, JOB, end_all, find, of_job, send
from .scheduler import end, processors, schedule, stop, wake_later
from .settings import Settings, load_settings
from .state import Job, changing, look

POLL_SECONDS = 0.05


def supervise(folder: Path, label: str) -> None:
    """Run a job that the scheduler has set RUNNING, from its start to its end."""
    settings = load_settings(folder)
    with changing(folder) as state:
        [job] = state.named(label)
        started = find(os.getpid())
        job.supervisor = [os.getpid(), started.started if started else 0]
    marker = job.marker
    environment = job_environment(job, settings)
    environment |= {FOLDER: str(folder), JOB: marker}
    try:
        child = _run(job, environment)
    except OSError:
        # Slurm's own number for a script that could not be started.
        _finish(folder, label, -53, settings)
        return
    with changing(folder) as state:
        [job] = state.named(label)
        if job.marker == marker:
            job.shell = child.pid
    if _watch(folder, label, child, settings):
        end_all(lambda: of_job(folder, marker))
        _finish(folder, label, child.returncode, settings)


def job_environment(job: Job, settings: Settings) -> dict[str, str]:
    """The environment of a batch script: what sbatch was given, and Slurm's variables."""
    request = job.request
    given: dict[str, str] = json.loads((Path(request.spool) / "environment.json").read_text())
    values = {
        "SLURM_JOB_ID": job.id,
        "SLURM_JOBID": job.id,
        "SLURM_JOB_NAME": request.name,
        "SLURM_JOB_PARTITION": request.partition,
        "SLURM_JOB_ACCOUNT": request.account,
        "SLURM_JOB_QOS": request.qos,
        "SLURM_JOB_NODELIST": job.node,
        "SLURM_NODELIST": job.node,
        "SLURMD_NODENAME": job.node,
        "SLURM_NODEID": 0,
        "SLURM_NNODES": 1,
        "SLURM_JOB_NUM_NODES": 1,
        "SLURM_PROCID": 0,
        "SLURM_LOCALID": 0,
        "SLURM_GTIDS": 0,
        "SLURM_TASKS_PER_NODE": request.tasks or 1,
        "SLURM_CPUS_ON_NODE": processors(job),
        "SLURM_JOB_CPUS_PER_NODE": processors(job),
        "SLURM_SUBMIT_DIR": request.folder,
        "SLURM_SUBMIT_HOST": socket.gethostname(),
        "SLURM_CLUSTER_NAME": "stand-in",
    }
    if request.tasks:
        values |= {"SLURM_NTASKS": request.tasks, "SLURM_NPROCS": request.tasks}
    if request.cpus > 1:
        values["SLURM_CPUS_PER_TASK"] = request.cpus
    if job.starts > 1:
        values["SLURM_RESTART_COUNT"] = job.starts - 1
    if job.array is not None and job.task is not None:
        indices = request.indices
        values |= {
            "SLURM_ARRAY_JOB_ID": job.array,
            "SLURM_ARRAY_TASK_ID": job.task,
            "SLURM_ARRAY_TASK_COUNT": len(indices),
            "SLURM_ARRAY_TASK_MIN": indices[0],
            "SLURM_ARRAY_TASK_MAX": indices[-1],
        }
    if job.gpus:
        listed = ",".join(map(str, job.gpus))
        values |= {"CUDA_VISIBLE_DEVICES": listed, "SLURM_JOB_GPUS": listed, "SLURM_GPUS_ON_NODE": len(job.gpus)}
    return {**given, **{name: str(value) for name, value in values.items()}}


def file_values(job: Job) -> dict[str, str]:
    """What ``%j``, ``%A``, ``%a``, … mean in the names of a job's output files."""
    return {
        "j": str(job.id),
        "A": str(job.array or job.id),
        "a": str(4294967294 if job.task is None else job.task),
        "x": job.request.name,
        "N": job.node,
        "n": "0",
        "t": "0",
        "s": "4294967294",
    }


def _run(job: Job, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    request = job.request
    mode = "ab" if request.append else "wb"
    out, err = (Path(request.folder, expanded(name, file_values(job))) for name in (request.output, request.error))
    script = Path(request.spool) / "slurm_script"
    with out.open(mode) as stdout, err.open("ab" if err == out else mode) as stderr:
        return subprocess.Popen(
            [str(script), *request.arguments],
            cwd=request.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stdout if err == out else stderr,
            start_new_session=True,
        )


def _watch(folder: Path, label: str, child: subprocess.Popen[bytes], settings: Settings) -> bool:
    """Wait for the script's end; whether it is still this process that has to write it down.

    It is not where Slurm has lost sight of the node and thinks the job elsewhere.
    """
    while True:
        ended = child.poll() is not None
        [job] = look(folder).named(label)
        if job.supervisor is None or job.supervisor[0] != os.getpid():
            child.wait()
            return False
        if ended:
            return True
        if _due(job):
            with changing(folder) as state:
                _act(folder, state.named(label)[0], settings)
        time.sleep(POLL_SECONDS)


def _due(job: Job) -> bool:
    now = time.time()
    waiting = job.state == "COMPLETING" and not job.terminated
    return waiting or any(at is not None and at <= now for at in (job.signal_at, job.end_at, job.kill_at))


def _act(folder: Path, job: Job, settings: Settings) -> None:
    now = time.time()
    if job.supervisor is None or job.supervisor[0] != os.getpid():
        return
    if job.signal_at is not None and job.signal_at <= now:
        job.signal_at = None
        if job.request.signal:
            signal_job(folder, job, job.request.signal, "batch" if job.request.signal_shell else "steps")
    if job.end_at is not None and job.end_at <= now:
        job.end_at = None
        if job.state == "RUNNING":
            stop(job, job.end_as or "TIMEOUT", settings)
    if job.state == "COMPLETING" and not job.terminated:
        job.terminated = True
        send(of_job(folder, job.marker), signal.SIGCONT, signal.SIGTERM)
    if job.kill_at is not None and job.kill_at <= now:
        job.kill_at = None
        end_all(lambda: of_job(folder, job.marker))


def signal_job(folder: Path, job: Job, number: int, whom: Literal["batch", "steps", "full"]) -> None:
    """Send a signal to the batch shell (``batch``), to all steps (``steps``), or to everything (``full``)."""
    processes = of_job(folder, job.marker, steps_only=whom == "steps")
    send([process for process in processes if whom != "batch" or process.pid == job.shell], signal.Signals(number))


def _finish(folder: Path, label: str, code: int, settings: Settings) -> None:
    with changing(folder) as state:
        [job] = state.named(label)
        if job.supervisor is None or job.supervisor[0] != os.getpid():
            return
        again = end(job, code, settings)
    schedule(folder)
    if again:
        wake_later(folder, settings)
