"""What a site can do to a sweep: jobs preempted, killed and requeued, nodes lost, the controller gone."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psutil

from harness.errors import RequestError
from harness.launch.slurm_files import SlurmFiles
from harness.launch.starting import is_worker
from harness.reporting import report_is_current
from harness.store import RunDirectory
from slurm.cluster import LittleCluster

MINUTES = 30
"""Time limit of the jobs."""
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
LIMIT_SECONDS = 45.0
"""How long a shortened time limit stands: Slurm looks at limits every 30 s."""
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
        self._limited: list[tuple[str, float]] = []
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
        return self._kill(node, is_worker)

    def _kill_job(self, number: str, node: str) -> bool:
        return self._kill(node, lambda process: "submitit.core._submit" in process.cmdline())

    def _kill(self, node: str, chosen: Callable[[psutil.Process], bool]) -> bool:
        found = []
        for process in self.cluster.processes(node):
            try:
                if chosen(psutil.Process(process.pid)):
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
        self._limited.append((number, time.monotonic() + LIMIT_SECONDS))
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
        for number, due in list(self._limited):
            # Else each later start of the job would have a minute as well.
            if time.monotonic() > due:
                self._limited.remove((number, due))
                self._control("scontrol", "update", f"jobid={number}", f"TimeLimit={MINUTES}")
        for number, reason in self._jobs("PD", "%A %r"):
            if "held" in reason:
                self._control("scontrol", "release", number)


def ended(run: RunDirectory) -> bool:
    """Whether every trial is finished and the last job has written the report of all of them to its end."""
    return all(trial.finished for trial in run.trials()) and report_is_current(run)
