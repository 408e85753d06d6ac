"""Disturb a sweep on a little Slurm cluster in every way a site can: ``python -m slurm.chaos SWEEP``.

The sweep runs once on this machine alone, undisturbed, and once on a cluster whose jobs are preempted, killed, run out
of time and are requeued, whose nodes are lost and whose controller dies. At the end every result, curve and prediction
must be bit-identical, no trial lost and none finished twice, and the report written by the last job.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from harness.chaos import UNLIMITED_RETRIES, run_undisturbed
from harness.errors import EXIT_DONE, EXIT_SOME_FAILED, RequestError, run_command
from harness.launch.slurm_files import SlurmFiles
from harness.reporting import report_is_current
from harness.run_comparison import repeated_work, run_differences
from harness.store import RunDirectory
from slurm.cluster import LittleCluster, Settings, obstacle

PROFILE = "partition: low\ncpus: 1\ntime: 30\ngrace: 10\ndevice: cpu\noptions: {exclusive: true}\n"
"""Of the jobs: on a partition that is preempted by another one, each on a node of its own."""

BLIND_SECONDS = 8.0
"""How long a node or the controller stays away."""
KINDS = {
    "preempted": 3.0,
    "worker killed": 3.0,
    "job killed": 1.0,
    "time limit": 1.0,
    "requeued by hand": 3.0,
    "node's slurmd lost": 1.0,
    "node lost": 1.0,
    "controller killed": 0.5,
    "cancelled by hand": 0.5,
}
"""What is done to a sweep, and how often in relation to the others; each of them once before any of them twice."""

GONE_SECONDS = 15.0
"""How long no job may be in the queue before the sweep command is given again."""
COMMAND_SECONDS = 1800.0
"""What the sweep command may take; where nothing but the report is left, it writes that itself."""
SERVICE_SECONDS = 10.0
"""How often nodes and jobs are looked at that Slurm keeps out of service."""


@dataclass
class Chaos:
    """A sweep on a cluster, and what was done to it."""

    cluster: LittleCluster
    run: RunDirectory
    command: Sequence[str]
    environment: dict[str, str]
    rng: random.Random
    kinds: Sequence[str]
    done: Counter[str] = field(default_factory=Counter)
    launches: int = 0

    def __post_init__(self) -> None:
        self._lost: list[tuple[str, float]] = []
        self._controller_back: float | None = None
        self._serviced = time.monotonic()
        self._acts: dict[str, Callable[[str, str], bool]] = {
            "preempted": self._preempt,
            "worker killed": self._kill_worker,
            "job killed": self._kill_job,
            "time limit": self._end_time,
            "requeued by hand": self._requeue,
            "node's slurmd lost": self._lose_node,
            "node lost": self._lose_node_hard,
            "controller killed": self._kill_controller,
            "cancelled by hand": self._cancel,
        }

    def launch(self) -> None:
        """Give the sweep command, as a user would; it returns when the jobs are submitted.

        Raises:
            RequestError: it failed.
        """
        done = self.cluster.run(self.command, environment=self.environment, timeout=COMMAND_SECONDS)
        self.launches += 1
        if done.returncode != 0:
            raise RequestError(f"the sweep command ended with code {done.returncode}: {done.stderr.strip()[-800:]}")

    def disturb(self, most: int, pause: float, trials: int, say: Callable[[str], None]) -> None:
        """Disturb the sweep until it is done.

        Args:
            most: number of disturbances, after which it is left alone.
            pause: mean seconds between them; exponentially distributed, so that no moment is spared.
            trials: how many the sweep has; where they end so fast that some disturbances would come too late, these
                come earlier.
            say: told of each.
        """
        following, seen = time.monotonic() + self.rng.expovariate(1 / pause), time.monotonic()
        while not ended(self.run):
            time.sleep(0.2)
            self._restore()
            if self._controller_back is not None:
                seen = time.monotonic()
                continue
            jobs = self._jobs("R", "%A %N")
            if jobs or self._jobs("PD,CF,CG,S", "%A %T"):
                seen = time.monotonic()
            elif time.monotonic() - seen > GONE_SECONDS:
                # Every job was cancelled or killed: what remains is to give the command again.
                say("no job is left; the sweep command is given again")
                self.launch()
                seen = time.monotonic()
            count = sum(self.done.values())
            share = sum(trial.finished for trial in self.run.trials()) / trials
            late = share > (count + 1) / (most + 1)
            if not jobs or count >= most or not (late or time.monotonic() > following):
                continue
            kind = self._disturb_one(jobs)
            if kind is not None:
                say(f"{count + 1}: {kind}")
                following = time.monotonic() + self.rng.expovariate(1 / pause)
        self._restore(all_of_it=True)

    def _disturb_one(self, jobs: list[tuple[str, str]]) -> str | None:
        number, node = self.rng.choice(jobs)
        kinds = [name for name in self.kinds if name not in self.done] or list(self.kinds)
        name = self.rng.choices(kinds, weights=[KINDS[name] for name in kinds])[0]
        if not self._acts[name](number, node):
            return None
        self.done[name] += 1
        return name

    def _jobs(self, state: str, form: str) -> list[tuple[str, str]]:
        name = SlurmFiles(self.run).launch()["job_name"]
        listed = self.cluster.run(["squeue", "--noheader", f"--name={name}", f"--states={state}", f"--format={form}"])
        rows = (line.strip().partition(" ") for line in listed.stdout.splitlines())
        return [(number, rest) for number, _, rest in rows if rest]

    def _preempt(self, number: str, node: str) -> bool:
        words = ["--partition=high", "--exclusive", f"--nodelist={node}", "--job-name=urgent", "--wrap=sleep 5"]
        self.cluster.submit(*words, "--output=/dev/null")
        return True

    def _kill_worker(self, number: str, node: str) -> bool:
        return self._kill(node, "harness.worker")

    def _kill_job(self, number: str, node: str) -> bool:
        return self._kill(node, "submitit.core._submit")

    def _kill(self, node: str, module: str) -> bool:
        found = []
        for process in self.cluster.processes(node):
            try:
                if module in psutil.Process(process.pid).cmdline():
                    found.append(process.pid)
            except psutil.NoSuchProcess:
                continue
        if not found:
            return False
        try:
            psutil.Process(self.rng.choice(found)).kill()
        except psutil.NoSuchProcess:
            return False
        return True

    def _end_time(self, number: str, node: str) -> bool:
        return self._control("scontrol", "update", f"jobid={number}", "TimeLimit=1")

    def _requeue(self, number: str, node: str) -> bool:
        return self._control("scontrol", "requeue", number)

    def _cancel(self, number: str, node: str) -> bool:
        return self._control("scancel", number)

    def _control(self, *words: str) -> bool:
        return self.cluster.run(list(words)).returncode == 0

    def _lose_node(self, number: str, node: str, hard: bool = False) -> bool:
        if self._lost:
            return False
        self.cluster.lose(node, hard=hard)
        self._lost.append((node, time.monotonic() + BLIND_SECONDS))
        return True

    def _lose_node_hard(self, number: str, node: str) -> bool:
        return self._lose_node(number, node, hard=True)

    def _kill_controller(self, number: str, node: str) -> bool:
        # In order: killed hard, Slurm 22.05 forgets the jobs of the last seconds and hands out their numbers again.
        self.cluster.kill_controller(hard=False)
        self._controller_back = time.monotonic() + BLIND_SECONDS
        return True

    def _restore(self, all_of_it: bool = False) -> None:
        now = time.monotonic()
        if self._controller_back is not None and (all_of_it or now > self._controller_back):
            self.cluster.start_controller()
            self._controller_back = None
        for node, due in list(self._lost):
            if all_of_it or now > due:
                self._lost.remove((node, due))
                self.cluster.restore(node, wait=False)
        if self._controller_back is None and now - self._serviced > SERVICE_SECONDS:
            self._serviced = now
            self._service()

    def _service(self) -> None:
        """What a site's staff does: Slurm keeps nodes out that came back with a step still running, and holds jobs."""
        away = {node for node, _ in self._lost}
        for node, state in self.cluster.node_states().items():
            if node not in away and state.startswith(("down", "drain")) and not state.endswith("*"):
                self._control("scontrol", "update", f"nodename={node}", "state=resume")
        for number, reason in self._jobs("PD", "%A %r"):
            if "held" in reason:
                self._control("scontrol", "release", number)


def ended(run: RunDirectory) -> bool:
    """Whether every trial is finished and the last job has written the report of all of them to its end."""
    return all(trial.finished for trial in run.trials()) and report_is_current(run)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; exit code 0 when the runs are identical, 1 when they differ."""
    parser = argparse.ArgumentParser(
        prog="python -m slurm.chaos",
        description="Disturb a sweep on a little Slurm cluster and compare the outcome with a local run, bit for bit.",
    )
    parser.add_argument("file", type=Path, metavar="SWEEP", help="sweep file; choose a small one, it runs twice")
    parser.add_argument("--disturbances", type=int, default=100, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--nodes", type=int, default=4, help="nodes of the cluster (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=4, help="jobs of the sweep (default: %(default)s)")
    parser.add_argument("--pause", type=float, default=6.0, help="mean seconds between them (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the disturbances (default: %(default)s)")
    parser.add_argument(
        "--without", action="append", default=[], choices=sorted(KINDS), metavar="KIND",
        help=f"leave out one kind; may be given again ({', '.join(KINDS)})",
    )  # fmt: skip
    parser.add_argument("--work-dir", type=Path, metavar="DIR", help="keep the runs here (default: a temporary folder)")
    parser.add_argument("--set", dest="assignments", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="folder of the raw archives")
    arguments = parser.parse_args(argv)
    return run_command(lambda: _chaos(arguments))


def _chaos(arguments: argparse.Namespace) -> int:
    missing = obstacle()
    if missing is not None:
        raise RequestError(f"no little cluster can run here: {missing}")
    if arguments.disturbances < 1 or arguments.pause <= 0:
        raise RequestError("--disturbances must be at least 1 and --pause above 0")
    if len(set(arguments.without)) == len(KINDS):
        raise RequestError("--without: leaves no kind of disturbance")
    extra = [word for assignment in arguments.assignments for word in ("--set", assignment)]
    if arguments.data_root is not None:
        extra += ["--data-root", str(arguments.data_root.absolute())]
    # A job and the local run must use as many threads: sums on a CPU depend on it in the last bit.
    extra += ["--set", "launch.threads=1"]
    with tempfile.TemporaryDirectory(prefix="gpaf-chaos-") as scratch:
        folder = (arguments.work_dir or Path(scratch)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise RequestError(f"--work-dir {folder}: not empty; chaos compares fresh runs")
        _say("undisturbed run")
        reference = run_undisturbed(arguments.file, folder / "undisturbed", [*extra, "--launcher", "local"])
        profile = folder / "profile.yaml"
        profile.write_text(PROFILE)
        settings = Settings(nodes=arguments.nodes, slurmd_timeout=5)
        with LittleCluster(settings=settings) as cluster:
            chaos = Chaos(
                cluster,
                RunDirectory(folder / "disturbed"),
                sweep_on_slurm(arguments.file, folder / "disturbed", profile, arguments.workers, extra),
                {name: value for name, value in os.environ.items() if name.startswith(("GPAF_", "PYTHON"))},
                random.Random(arguments.seed),
                [kind for kind in KINDS if kind not in arguments.without],
            )
            chaos.launch()
            chaos.disturb(arguments.disturbances, arguments.pause, sum(1 for _ in reference.trials()), _say)
    problems = repeated_work(chaos.run) + run_differences(reference, chaos.run)
    for problem in problems:
        print(problem)
    counts = ", ".join(f"{name} {count}" for name, count in chaos.done.most_common())
    attempts = sum(len(trial.attempts()) for trial in chaos.run.trials())
    trials = sum(1 for _ in chaos.run.trials())
    print(f"{sum(chaos.done.values())} disturbances ({counts}); {trials} trials, {attempts} attempts")
    print(f"the sweep command was given {chaos.launches} times")
    print(f"{'no difference' if not problems else f'{len(problems)} differences'} to the undisturbed run")
    enough = sum(chaos.done.values()) >= arguments.disturbances
    if not enough:
        print(f"the sweep ended before {arguments.disturbances} disturbances; choose one with longer trials")
    return EXIT_DONE if enough and not problems else EXIT_SOME_FAILED


def sweep_on_slurm(file: Path, run_dir: Path, profile: Path, workers: int, extra: Sequence[str]) -> list[str]:
    """The command line of a sweep on Slurm that may lose workers without limit."""
    settings = [f"launch.profile={profile}", f"launch.workers={workers}", f"launch.retries={UNLIMITED_RETRIES}"]
    words = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "harness.sweep", str(file), "--run-dir", str(run_dir), "--launcher", "slurm"]
    return [*command, *words, *extra]


def _say(text: str) -> None:
    print(f"{time.strftime('%T')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
