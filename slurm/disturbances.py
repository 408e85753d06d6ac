"""What a site can do to a sweep: jobs preempted, suspended, killed and requeued, nodes drained and lost."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psutil

from harness.core.errors import RequestError
from harness.core.lease import expire
from harness.launch.slurm.files import SlurmFiles
from harness.launch.starting import is_worker
from harness.run.directory import RunDirectory
from harness.work.reporting import report_is_current
from slurm.cluster import LittleCluster
from slurm.training_watch import JobAttempt, TrainingWatch, how_it_ended

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
    "suspended": 3.0,
    "drained": 1.0,
    "scancel -s KILL": 1.0,
    "node's slurmd lost": 1.0,
    "node lost": 1.0,
    "controller restarted": 1.0,
    "cancelled by hand": 0.5,
}
"""What is done to a sweep, and how often in relation to the others; each of them once before any of them twice."""
GOES_ON = frozenset({"suspended", "node's slurmd lost", "controller restarted"})
"""Kinds under which a training may simply go on; by every other one, the attempt that it hits ends."""

EFFECT_SECONDS = 60.0
"""How long a disturbance may take to end the attempt that it was meant for."""
GONE_SECONDS = 15.0
"""How long no job may be in the queue before the sweep command is given again."""
FEW_SECONDS = 45.0
"""How long half of the jobs may be missing before."""
COMMAND_SECONDS = 1800.0
"""What the sweep command may take; where nothing but the report is left, it writes that itself."""
LIMIT_SECONDS = 45.0
"""How long a shortened time limit stands: Slurm looks at limits every 30 s."""
SUSPENDED_SECONDS = 45.0
"""How long a job stays suspended where nobody takes its trial over: other workers have trials of their own."""
SERVICE_SECONDS = 10.0
"""How often nodes and jobs are looked at that Slurm keeps out of service."""


@dataclass(slots=True)
class Struck:
    """A disturbance whose effect is not known yet."""

    kind: str
    attempt: JobAttempt
    at: float
    """Seconds since the epoch."""
    due: float
    """When it must have had an effect, on the monotonic clock."""


@dataclass
class Chaos:
    """A sweep on a cluster, and what was done to it.

    Attributes:
        hits: disturbances that struck a trial in training, by kind.
        misses: the others.
        taken_over: suspended trials that another worker had taken over before their own was resumed.
    """

    cluster: LittleCluster
    run: RunDirectory
    command: Sequence[str]
    environment: dict[str, str]
    rng: random.Random
    kinds: Sequence[str]
    workers: int
    watch: TrainingWatch
    hits: Counter[str] = field(default_factory=Counter)
    misses: Counter[str] = field(default_factory=Counter)
    taken_over: int = 0
    launches: int = 0

    def __post_init__(self) -> None:
        self._struck: list[Struck] = []
        self._lost: list[tuple[str, float]] = []
        self._drained: list[tuple[str, float]] = []
        self._suspended: list[tuple[str, JobAttempt, float]] = []
        self._limited: list[tuple[str, float]] = []
        self._controller_back: float | None = None
        self._serviced = self._seen = self._enough = time.monotonic()
        self._acts: dict[str, Callable[[str, str, JobAttempt], bool]] = {
            "preempted": self._preempt,
            "worker killed": self._kill_worker,
            "job killed": self._kill_job,
            "time limit": self._end_time,
            "requeued by hand": lambda number, node, attempt: self._control("scontrol", "requeue", number),
            "suspended": self._suspend,
            "drained": self._drain,
            "scancel -s KILL": lambda number, node, attempt: self._control("scancel", "--signal=KILL", number),
            "node's slurmd lost": lambda number, node, attempt: self._lose_node(node, hard=False),
            "node lost": lambda number, node, attempt: self._lose_node(node, hard=True),
            "controller restarted": self._restart_controller,
            "cancelled by hand": lambda number, node, attempt: self._control("scancel", number),
        }

    def launch(self) -> None:
        """Run the sweep command, as a user would; it returns when the jobs are submitted.

        Raises:
            RequestError: it failed.
        """
        done = self.cluster.run(self.command, environment=self.environment, timeout=COMMAND_SECONDS)
        self.launches += 1
        self._seen = self._enough = time.monotonic()
        if done.returncode != 0:
            raise RequestError(f"the sweep command ended with code {done.returncode}: {done.stderr.strip()[-800:]}")

    def disturb(self, most: int, pause: float, trials: int, say: Callable[[str], None]) -> None:
        """Disturb the sweep until it is done.

        Args:
            most: number of disturbances that hit, after which it is left alone.
            pause: mean seconds between them; exponentially distributed, so that no moment is spared.
            trials: how many the sweep has; where they end so fast that some disturbances would come too late, these
                come earlier.
            say: told of each.
        """
        try:
            self._disturb(most, pause, trials, say)
        finally:
            # Also where it was interrupted: a suspended job cannot be ended.
            self._restore(all_of_it=True)
        self._judge(say, all_of_it=True)

    def _disturb(self, most: int, pause: float, trials: int, say: Callable[[str], None]) -> None:
        following = time.monotonic() + self.rng.expovariate(1 / pause)
        while not ended(self.run):
            time.sleep(0.2)
            training = self.watch.look()
            self._judge(say)
            self._restore()
            if self._controller_back is not None:
                self._seen = self._enough = time.monotonic()
                continue
            jobs = self._jobs("R", "%i %N")
            self._keep_going(len(jobs) + len(self._jobs("PD,CF,CG,S", "%i %T")), say)
            count = sum(self.hits.values())
            share = sum(trial.finished for trial in self.run.trials()) / trials
            late = share > (count + 1) / (most + 1)
            if count + len(self._struck) >= most or not (late or time.monotonic() > following):
                continue
            struck = {one.attempt.job for one in self._struck}
            within = [(job, node) for job, node in jobs if job in training and job not in struck]
            if within:
                job, node = self.rng.choice(within)
                if self._strike(job, node, training[job]):
                    following = time.monotonic() + self.rng.expovariate(1 / pause)

    def _strike(self, number: str, node: str, attempt: JobAttempt) -> bool:
        begun = {one.kind for one in self._struck}
        kinds = [kind for kind in self.kinds if kind not in self.hits and kind not in begun]
        # One that never hits is not tried for ever before the others.
        kinds = [kind for kind in kinds if self.misses[kind] < 5] or list(self.kinds)
        kind = self.rng.choices(kinds, weights=[KINDS[name] for name in kinds])[0]
        at = time.time()
        if not self._acts[kind](number, node, attempt):
            return False
        seconds = LIMIT_SECONDS + EFFECT_SECONDS if kind == "time limit" else EFFECT_SECONDS
        self._struck.append(Struck(kind, attempt, at, time.monotonic() + seconds))
        return True

    def _judge(self, say: Callable[[str], None], all_of_it: bool = False) -> None:
        """Find out which disturbances have hit a trial in training, and which have not."""
        for one in list(self._struck):
            hit = self._hit(one)
            if hit is None and (all_of_it or time.monotonic() > one.due):
                hit = False
            if hit is None:
                continue
            self._struck.remove(one)
            (self.hits if hit else self.misses)[one.kind] += 1
            say(f"{sum(self.hits.values())} hits: {one.kind}" if hit else f"{one.kind}: hit no trial in training")

    def _hit(self, one: Struck) -> bool | None:
        """Whether a disturbance hit; None while that is open."""
        if one.kind in GOES_ON:
            return self.watch.was_training(one.attempt, one.at) if self._is_over(one) else None
        attempts = [one.attempt]
        if one.kind == "time limit":
            # It comes when Slurm looks at limits next; the job may have begun another trial by then.
            attempts = self.watch.trained(one.attempt.job, one.attempt.restart)
        ends = [(attempt, how_it_ended(attempt)) for attempt in attempts]
        hit = [(attempt, end) for attempt, end in ends if end not in (None, "finished")]
        for attempt, end in hit:
            if end == "died":
                # Nobody on another node can know that; what would follow is two minutes of waiting.
                expire(attempt.lease_path)
        if hit:
            return True
        return False if one.kind != "time limit" and ends[0][1] == "finished" else None

    def _is_over(self, one: Struck) -> bool:
        if one.kind == "controller restarted":
            return self._controller_back is None
        if one.kind == "suspended":
            return all(attempt != one.attempt for _, attempt, _ in self._suspended)
        return not self._lost

    def _keep_going(self, living: int, say: Callable[[str], None]) -> None:
        """Run the sweep command again where jobs were cancelled or killed for good, as a user would."""
        now = time.monotonic()
        if living:
            self._seen = now
        if living > self.workers // 2:
            self._enough = now
        if now - self._seen > GONE_SECONDS or now - self._enough > FEW_SECONDS:
            say(f"{living} jobs are left; the sweep command is given again")
            self.launch()

    def _jobs(self, state: str, form: str) -> list[tuple[str, str]]:
        # By 12_3, never by a task's own number: that of an array's last task stands for all of the array.
        name = SlurmFiles(self.run).launch()["job_name"]
        words = ["squeue", "--noheader", "--array", f"--name={name}", f"--states={state}", f"--format={form}"]
        rows = (line.strip().partition(" ") for line in self.cluster.run(words).stdout.splitlines())
        return [(label, rest) for label, _, rest in rows if rest]

    def _preempt(self, number: str, node: str, attempt: JobAttempt) -> bool:
        words = ["--partition=high", "--exclusive", f"--nodelist={node}", "--job-name=urgent", "--wrap=sleep 5"]
        self.cluster.submit(*words, "--output=/dev/null")
        return True

    def _kill_worker(self, number: str, node: str, attempt: JobAttempt) -> bool:
        return self._kill(node, lambda process: process.pid == attempt.pid and is_worker(process))

    def _kill_job(self, number: str, node: str, attempt: JobAttempt) -> bool:
        return self._kill(node, lambda process: "submitit.core._submit" in process.cmdline())

    def _kill(self, node: str, chosen: Callable[[psutil.Process], bool]) -> bool:
        for process in self.cluster.processes(node):
            try:
                found = psutil.Process(process.pid)
                if chosen(found):
                    found.kill()
                    return True
            except psutil.NoSuchProcess:
                continue
        return False

    def _end_time(self, number: str, node: str, attempt: JobAttempt) -> bool:
        self._limited.append((number, time.monotonic() + LIMIT_SECONDS))
        return self._control("scontrol", "update", f"jobid={number}", "TimeLimit=1")

    def _suspend(self, number: str, node: str, attempt: JobAttempt) -> bool:
        """Suspend a job beyond its lease: that is made as old as it would be in two minutes."""
        if not self._control("scontrol", "suspend", number):
            return False
        self._suspended.append((number, attempt, time.monotonic() + SUSPENDED_SECONDS))
        for _ in range(30):
            if _is_stopped(attempt.pid):
                expire(attempt.lease_path)
                return True
            time.sleep(0.1)
        return False

    def _drain(self, number: str, node: str, attempt: JobAttempt) -> bool:
        if not self._control("scontrol", "update", f"nodename={node}", "state=drain", "reason=chaos"):
            return False
        self._drained.append((node, time.monotonic() + BLIND_SECONDS))
        return self._control("scontrol", "requeue", number)

    def _lose_node(self, node: str, hard: bool) -> bool:
        # A frozen process cannot be killed.
        if self._lost or self._suspended:
            return False
        self.cluster.lose(node, hard=hard)
        self._lost.append((node, time.monotonic() + BLIND_SECONDS))
        return True

    def _restart_controller(self, number: str, node: str, attempt: JobAttempt) -> bool:
        # In order: killed hard, Slurm 22.05 forgets the jobs of the last seconds and hands out their numbers again.
        self.cluster.kill_controller(hard=False)
        self._controller_back = time.monotonic() + BLIND_SECONDS
        return True

    def _control(self, *words: str) -> bool:
        return self.cluster.run(list(words)).returncode == 0

    def _restore(self, all_of_it: bool = False) -> None:
        now = time.monotonic()
        if self._controller_back is not None and (all_of_it or now > self._controller_back):
            self.cluster.start_controller()
            self._controller_back = None
        for node, due in list(self._lost):
            if all_of_it or now > due:
                self._lost.remove((node, due))
                self.cluster.restore(node, wait=False)
        if self._controller_back is not None:
            return
        for number, attempt, due in list(self._suspended):
            taken_over = how_it_ended(attempt) == "succeeded"
            if all_of_it or now > due or taken_over:
                self._suspended.remove((number, attempt, due))
                self._control("scontrol", "resume", number)
                self.taken_over += taken_over
        for node, due in list(self._drained):
            if all_of_it or now > due:
                self._drained.remove((node, due))
                self._control("scontrol", "update", f"nodename={node}", "state=resume")
        if now - self._serviced > SERVICE_SECONDS:
            self._serviced = now
            self._service()

    def _service(self) -> None:
        """What a site's staff does: Slurm keeps nodes out that came back with a step still running, and holds jobs."""
        away = {node for node, _ in self._lost + self._drained}
        for node, state in self.cluster.node_states().items():
            if node not in away and state.startswith(("down", "drain")) and not state.endswith("*"):
                self._control("scontrol", "update", f"nodename={node}", "state=resume")
        for number, due in list(self._limited):
            # Else each later start of the job would have a minute as well.
            if time.monotonic() > due:
                self._limited.remove((number, due))
                self._control("scontrol", "update", f"jobid={number}", f"TimeLimit={MINUTES}")
        for number, reason in self._jobs("PD", "%i %r"):
            if "held" in reason.lower():
                self._control("scontrol", "release", number)
        suspended = {number for number, _, _ in self._suspended}
        for number, _ in self._jobs("S", "%i %T"):
            if number not in suspended:
                self._control("scontrol", "resume", number)


def _is_stopped(pid: int) -> bool:
    try:
        # Slurm stops processes by signals or, in control groups of version 1, freezes them.
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_DISK_SLEEP)
    except psutil.NoSuchProcess:
        return False


def ended(run: RunDirectory) -> bool:
    """Whether every trial is finished and the last job has written the report of all of them to its end."""
    return all(trial.finished for trial in run.trials()) and report_is_current(run)
